//! WebSocket frames (RFC 6455), both ways, as a value that is fed bytes and asked for messages.
//!
//! Knows no socket and no clock, answers nothing by itself (who owns it replies to pings and closes), and offers no extension. The
//! header of a frame is `tungstenite`'s; its connection type is not used since it wants to own a stream, and its masking is private.

use crate::base::Str;
use bytes::{Buf, Bytes, BytesMut};
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The value of `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key` (section 4.2.2).
#[must_use]
pub fn accept_key(sec_websocket_key: &str) -> String {
    tungstenite::handshake::derive_accept_key(sec_websocket_key.as_bytes())
}

/// Which end of the connection we are: it decides who masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Server,
    Client,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Text(Str),
    Binary(Bytes),
    /// To be answered with a pong of the same bytes.
    Ping(Bytes),
    Pong(Bytes),
    /// Code and reason, if said. Nothing comes after it; to be answered with a close of the same code.
    Close(Option<(u16, Str)>),
}

/// The other end broke the protocol. `code` is what to close with (section 7.4.1); nothing comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    pub code: u16,
    pub what: &'static str,
}

impl Violation {
    fn protocol(what: &'static str) -> Self {
        Self { code: 1002, what }
    }
}

/// The reading half of one connection.
///
/// Cost: the bytes of a message that came in one frame are unmasked where they lie and never copied. Memory: one message and one frame of at
/// most `message_bytes_max` each, beside what was fed and not yet asked for.
#[derive(Debug)]
pub struct Socket {
    side: Side,
    message_bytes_max: usize,
    pending: BytesMut,
    /// Header of the frame whose payload is awaited, already taken off `pending`.
    frame: Option<Frame>,
    partial: Option<Partial>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    last: bool,
    mask: Option<[u8; 4]>,
    length: usize,
}

/// A message of which some fragments came.
#[derive(Debug)]
struct Partial {
    text: bool,
    bytes: BytesMut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Broken(Violation),
}

impl Socket {
    /// No message may be longer than `message_bytes_max`, in however many fragments.
    #[must_use]
    pub fn new(side: Side, message_bytes_max: usize) -> Self {
        Self {
            side,
            message_bytes_max,
            pending: BytesMut::new(),
            frame: None,
            partial: None,
            state: State::Open,
        }
    }

    /// Takes what the network brought. With nothing pending and the only reference to it, the buffer is taken over without a copy.
    /// After a close or a violation, bytes are thrown away.
    pub fn feed(&mut self, bytes: Bytes) {
        if self.state != State::Open {
            return;
        }
        if self.pending.is_empty() {
            match bytes.try_into_mut() {
                Ok(whole) => self.pending = whole,
                Err(shared) => self.pending.extend_from_slice(&shared),
            }
        } else {
            self.pending.extend_from_slice(&bytes);
        }
    }

    /// The next message; `None` when more bytes are needed, and for ever after a `Close`. A violation is told again at every call.
    pub fn next(&mut self) -> Result<Option<Message>, Violation> {
        match self.state {
            State::Open => {}
            State::Closed => return Ok(None),
            State::Broken(violation) => return Err(violation),
        }
        match self.step() {
            Ok(Some(Message::Close(said))) => {
                self.end(State::Closed);
                Ok(Some(Message::Close(said)))
            }
            Ok(message) => Ok(message),
            Err(violation) => {
                self.end(State::Broken(violation));
                Err(violation)
            }
        }
    }

    /// Bytes of messages that are not whole yet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.pending.len() + self.partial.as_ref().map_or(0, |p| p.bytes.len())
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.pending = BytesMut::new();
        self.partial = None;
    }

    fn step(&mut self) -> Result<Option<Message>, Violation> {
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => match self.header()? {
                    Some(frame) => *self.frame.insert(frame),
                    None => return Ok(None),
                },
            };
            if self.pending.len() < frame.length {
                return Ok(None);
            }
            self.frame = None;
            let mut payload = self.pending.split_to(frame.length);
            if let Some(mask) = frame.mask {
                apply_mask(&mut payload, mask);
            }
            if let Some(message) = self.payload(frame, payload)? {
                return Ok(Some(message));
            }
        }
    }

    /// Takes a frame's header off, once it is whole, and refuses what it may not say.
    fn header(&mut self) -> Result<Option<Frame>, Violation> {
        let mut cursor = Cursor::new(&self.pending[..]);
        let (header, length) = match FrameHeader::parse(&mut cursor) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(None),
            Err(_) => return Err(Violation::protocol("a reserved opcode")),
        };
        let taken = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::protocol("a reserved bit without an extension"));
        }
        // Section 5.2: the shortest form of a length must be used.
        if header.len(length) != taken {
            return Err(Violation::protocol(
                "a length that is not in its shortest form",
            ));
        }
        // Section 5.1: a client masks every frame, a server none.
        match (self.side, header.mask) {
            (Side::Server, None) => {
                return Err(Violation::protocol("a client's frame without a mask"));
            }
            (Side::Client, Some(_)) => {
                return Err(Violation::protocol("a server's frame with a mask"));
            }
            _ => {}
        }
        self.check_order(&header, length)?;
        self.pending.advance(taken);
        Ok(Some(Frame {
            opcode: header.opcode,
            last: header.is_final,
            mask: header.mask,
            length: usize::try_from(length).map_err(|_| TOO_BIG)?,
        }))
    }

    /// Sizes and fragments (sections 5.4 and 5.5).
    fn check_order(&self, header: &FrameHeader, length: u64) -> Result<(), Violation> {
        let begun = self.partial.as_ref();
        match header.opcode {
            OpCode::Control(_) if !header.is_final => {
                Err(Violation::protocol("a control frame in fragments"))
            }
            OpCode::Control(_) if length > 125 => Err(Violation::protocol(
                "a control frame of more than 125 bytes",
            )),
            OpCode::Control(_) => Ok(()),
            OpCode::Data(Data::Continue) if begun.is_none() => {
                Err(Violation::protocol("a continuation of nothing"))
            }
            OpCode::Data(Data::Text | Data::Binary) if begun.is_some() => {
                Err(Violation::protocol("a new message within another"))
            }
            OpCode::Data(_) => {
                let so_far = begun.map_or(0, |p| p.bytes.len() as u64);
                if so_far.saturating_add(length) > self.message_bytes_max as u64 {
                    Err(TOO_BIG)
                } else {
                    Ok(())
                }
            }
        }
    }

    fn payload(&mut self, frame: Frame, payload: BytesMut) -> Result<Option<Message>, Violation> {
        match frame.opcode {
            OpCode::Control(Control::Ping) => Ok(Some(Message::Ping(payload.freeze()))),
            OpCode::Control(Control::Pong) => Ok(Some(Message::Pong(payload.freeze()))),
            OpCode::Control(_) => close(&payload.freeze()).map(Some),
            OpCode::Data(Data::Continue) => {
                let Some(mut partial) = self.partial.take() else {
                    return Err(Violation::protocol("a continuation of nothing"));
                };
                partial.bytes.extend_from_slice(&payload);
                self.fragment(frame.last, partial)
            }
            OpCode::Data(kind) => self.fragment(
                frame.last,
                Partial {
                    text: kind == Data::Text,
                    bytes: payload,
                },
            ),
        }
    }

    fn fragment(&mut self, last: bool, partial: Partial) -> Result<Option<Message>, Violation> {
        if !last {
            self.partial = Some(partial);
            return Ok(None);
        }
        let bytes = partial.bytes.freeze();
        if !partial.text {
            return Ok(Some(Message::Binary(bytes)));
        }
        utf8(bytes).map(|text| Some(Message::Text(text)))
    }
}

const TOO_BIG: Violation = Violation {
    code: 1009,
    what: "a message over the limit",
};

/// Section 8.1.
fn utf8(bytes: Bytes) -> Result<Str, Violation> {
    Str::try_from(bytes).map_err(|_| Violation {
        code: 1007,
        what: "text that is not UTF-8",
    })
}

/// Section 5.5.1.
fn close(payload: &Bytes) -> Result<Message, Violation> {
    match payload.get(..2) {
        None if payload.is_empty() => Ok(Message::Close(None)),
        None => Err(Violation::protocol("half a close code")),
        Some(code) => {
            let code = u16::from_be_bytes([code[0], code[1]]);
            if !may_be_sent(code) {
                return Err(Violation::protocol("a close code that may not be sent"));
            }
            Ok(Message::Close(Some((code, utf8(payload.slice(2..))?))))
        }
    }
}

/// Section 7.4, and the registry (IANA, WebSocket Close Code Number Registry, read 2026-08): 1004 to 1006 and 1015 are never sent.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Section 5.3. Eight bytes at a time: a megabyte of prompt is masked too.
fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let mut copy = [0; 8];
        copy.copy_from_slice(word);
        word.copy_from_slice(&(u64::from_ne_bytes(copy) ^ wide).to_ne_bytes());
    }
    for (byte, m) in words
        .into_remainder()
        .iter_mut()
        .zip(mask.into_iter().cycle())
    {
        *byte ^= m;
    }
}

/// Appends a text message in one frame, as a server sends it.
pub fn write_text(text: &str, out: &mut BytesMut) {
    write_frame(OpCode::Data(Data::Text), text.as_bytes(), None, out);
}

/// As `write_text`, of bytes that the caller wrote as text.
pub fn write_text_bytes(text: &[u8], out: &mut BytesMut) {
    debug_assert!(std::str::from_utf8(text).is_ok(), "a text message is UTF-8");
    write_frame(OpCode::Data(Data::Text), text, None, out);
}

/// Appends a binary message in one frame, as a server sends it.
pub fn write_binary(bytes: &[u8], out: &mut BytesMut) {
    write_frame(OpCode::Data(Data::Binary), bytes, None, out);
}

/// Appends a ping. More than 125 bytes, which a control frame cannot hold, are cut off.
pub fn write_ping(bytes: &[u8], out: &mut BytesMut) {
    write_frame(
        OpCode::Control(Control::Ping),
        &bytes[..bytes.len().min(125)],
        None,
        out,
    );
}

/// Appends a pong, as for `write_ping`.
pub fn write_pong(bytes: &[u8], out: &mut BytesMut) {
    write_frame(
        OpCode::Control(Control::Pong),
        &bytes[..bytes.len().min(125)],
        None,
        out,
    );
}

/// Appends a close. A reason is cut, at a character, to the 123 bytes that fit.
pub fn write_close(code: u16, reason: &str, out: &mut BytesMut) {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = [0; 125];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + end].copy_from_slice(&reason.as_bytes()[..end]);
    write_frame(
        OpCode::Control(Control::Close),
        &payload[..2 + end],
        None,
        out,
    );
}

/// Appends a frame as a client sends it. `mask` must be unpredictable (section 5.3), so it is the caller's.
pub fn write_masked(message: &Message, mask: [u8; 4], out: &mut BytesMut) {
    let mut closing = BytesMut::new();
    let (opcode, payload): (_, &[u8]) = match message {
        Message::Text(text) => (OpCode::Data(Data::Text), text.as_bytes()),
        Message::Binary(bytes) => (OpCode::Data(Data::Binary), bytes),
        Message::Ping(bytes) => (OpCode::Control(Control::Ping), bytes),
        Message::Pong(bytes) => (OpCode::Control(Control::Pong), bytes),
        Message::Close(None) => (OpCode::Control(Control::Close), &[]),
        Message::Close(Some((code, reason))) => {
            closing.extend_from_slice(&code.to_be_bytes());
            closing.extend_from_slice(reason.as_bytes());
            (OpCode::Control(Control::Close), &closing)
        }
    };
    write_frame(opcode, payload, Some(mask), out);
}

fn write_frame(opcode: OpCode, payload: &[u8], mask: Option<[u8; 4]>, out: &mut BytesMut) {
    write_header(opcode, true, mask, payload.len(), out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask);
    }
}

fn write_header(
    opcode: OpCode,
    last: bool,
    mask: Option<[u8; 4]>,
    length: usize,
    out: &mut BytesMut,
) {
    let header = FrameHeader {
        is_final: last,
        opcode,
        mask,
        ..FrameHeader::default()
    };
    // 14 = the longest header there is.
    let mut bytes = Cursor::new([0_u8; 14]);
    header
        .format(length as u64, &mut bytes)
        .expect("14 bytes hold any header");
    let used = bytes.position() as usize;
    out.extend_from_slice(&bytes.get_ref()[..used]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn frame(opcode: OpCode, last: bool, payload: &[u8], out: &mut BytesMut) {
        let mask = [7, 0, 255, 90];
        write_header(opcode, last, Some(mask), payload.len(), out);
        let start = out.len();
        out.extend_from_slice(payload);
        apply_mask(&mut out[start..], mask);
    }

    fn read(pieces: &[&[u8]]) -> Result<Vec<Message>, Violation> {
        let mut socket = Socket::new(Side::Server, 100_000);
        let mut messages = Vec::new();
        for piece in pieces {
            socket.feed(Bytes::copy_from_slice(piece));
            while let Some(message) = socket.next()? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    const TEXT: OpCode = OpCode::Data(Data::Text);
    const MORE: OpCode = OpCode::Data(Data::Continue);
    const PING: OpCode = OpCode::Control(Control::Ping);

    #[test]
    fn any_cut_gives_the_same_messages() {
        let mut stream = BytesMut::new();
        frame(TEXT, false, b"h\xc3", &mut stream);
        frame(PING, true, b"p", &mut stream);
        frame(MORE, false, b"", &mut stream);
        frame(MORE, true, b"\xa9llo", &mut stream);
        frame(OpCode::Data(Data::Binary), true, &[5; 300], &mut stream);
        frame(TEXT, true, b"", &mut stream);
        frame(
            OpCode::Control(Control::Close),
            true,
            b"\x03\xe8bye",
            &mut stream,
        );
        frame(TEXT, true, b"after the close", &mut stream);
        let expected = vec![
            Message::Ping(Bytes::from_static(b"p")),
            Message::Text("héllo".into()),
            Message::Binary(Bytes::from_static(&[5; 300])),
            Message::Text("".into()),
            Message::Close(Some((1000, "bye".into()))),
        ];
        assert_eq!(read(&[&stream]), Ok(expected.clone()));
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(read(&[head, tail]), Ok(expected.clone()), "cut at {cut}");
        }
        assert_eq!(
            read(&stream.chunks(1).collect::<Vec<_>>()),
            Ok(expected),
            "byte by byte"
        );
    }

    #[test]
    fn what_the_protocol_forbids_is_told_with_its_code() {
        let made = |opcode, last, payload: &[u8]| {
            let mut out = BytesMut::new();
            frame(opcode, last, payload, &mut out);
            out.to_vec()
        };
        let close = OpCode::Control(Control::Close);
        let cases: Vec<(Vec<u8>, u16)> = vec![
            (vec![0x81, 0x00], 1002),
            (vec![0xc1, 0x80, 0, 0, 0, 0], 1002),
            (vec![0x83, 0x80, 0, 0, 0, 0], 1002),
            (vec![0x8b, 0x80, 0, 0, 0, 0], 1002),
            (vec![0x81, 0xfe, 0, 5, 0, 0, 0, 0], 1002),
            (vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0], 1002),
            (
                vec![0x81, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0],
                1009,
            ),
            (made(PING, false, b""), 1002),
            (made(PING, true, &[0; 126]), 1002),
            (made(MORE, true, b""), 1002),
            (
                [made(TEXT, false, b""), made(TEXT, true, b"")].concat(),
                1002,
            ),
            (made(TEXT, true, b"\xc3"), 1007),
            (made(close, true, b"\x03"), 1002),
            (made(close, true, &1005_u16.to_be_bytes()), 1002),
            (made(close, true, b"\x03\xe8\xff"), 1007),
        ];
        for (bytes, code) in cases {
            assert_eq!(
                read(&[&bytes]).expect_err("a violation").code,
                code,
                "{bytes:?}"
            );
            let byte_by_byte: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(
                read(&byte_by_byte).expect_err("a violation").code,
                code,
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_message_over_the_bound_is_refused_before_its_bytes_come() {
        for fragments in [1, 4] {
            let mut socket = Socket::new(Side::Server, 1_000);
            let mut stream = BytesMut::new();
            for n in 0..fragments {
                let opcode = if n == 0 { TEXT } else { MORE };
                frame(opcode, false, &vec![b'x'; 999 / fragments], &mut stream);
            }
            write_header(MORE, true, Some([0; 4]), 1_000, &mut stream);
            socket.feed(stream.freeze());
            assert_eq!(socket.next(), Err(TOO_BIG), "{fragments} fragments");
            socket.feed(Bytes::from_static(&[0; 64]));
            assert_eq!((socket.next(), socket.pending.len()), (Err(TOO_BIG), 0));
        }
    }

    #[test]
    fn garbage_never_panics_nor_outgrows_the_bound() {
        let mut rng = Rng::seeded(11);
        for seed in 0..2_000 {
            let mut socket = Socket::new(Side::Server, 512);
            for _ in 0..8 {
                let bytes: Vec<u8> = (0..rng.below(40))
                    .map(|_| {
                        if rng.once_in(2) {
                            0x81
                        } else {
                            rng.bits() as u8
                        }
                    })
                    .collect();
                socket.feed(bytes.into());
                while let Ok(Some(_)) = socket.next() {
                    if socket.state == State::Closed {
                        break;
                    }
                }
                let held = socket.partial.as_ref().map_or(0, |p| p.bytes.len());
                assert!(
                    held <= 512 && socket.pending.len() <= 512 + 320,
                    "round {seed}"
                );
            }
        }
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let mut rng = Rng::seeded(5);
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let text: String = (0..length)
                .map(|n| char::from(b'a' + (n % 26) as u8))
                .collect();
            let message = Message::Text(text.clone().into());
            let mut up = BytesMut::new();
            write_masked(&message, (rng.bits() as u32).to_be_bytes(), &mut up);
            assert_eq!(read(&[&up]), Ok(vec![message.clone()]), "{length} up");
            let (mut down, mut socket) = (BytesMut::new(), Socket::new(Side::Client, 70_000));
            write_text(&text, &mut down);
            write_ping(b"p", &mut down);
            write_close(1001, &"é".repeat(100), &mut down);
            socket.feed(down.freeze());
            assert_eq!(socket.next(), Ok(Some(message)), "{length} down");
            assert_eq!(
                socket.next(),
                Ok(Some(Message::Ping(Bytes::from_static(b"p"))))
            );
            assert_eq!(
                socket.next(),
                Ok(Some(Message::Close(Some((1001, "é".repeat(61).into())))))
            );
        }
    }

    /// RFC 6455, section 1.3.
    #[test]
    fn the_accept_key_is_the_specifications_own_example() {
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
