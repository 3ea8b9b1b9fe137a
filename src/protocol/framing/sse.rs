//! `text/event-stream` (WHATWG HTML, section 9.2, read 2026-11), both ways.

use bytes::{Buf, Bytes, BytesMut};

/// One event as it lay in the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event:` field; empty when there was none.
    pub name: Bytes,
    /// The `data:` lines, joined by a line feed; a slice of `raw` when there was one line.
    pub data: Bytes,
    /// The `id:` field, if any.
    pub id: Option<Bytes>,
    /// The whole event as received, its empty line included: what passes when both sides speak the same dialect.
    pub raw: Bytes,
}

/// An event grew over the decoder's bound without ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Cuts a stream of bytes into events. Feed it what the network brings, in any pieces; then ask until there is no more.
///
/// Cost: one `memchr` pass over each byte; the bytes of an event that came whole are never copied.
#[derive(Debug)]
pub struct Decoder {
    pending: BytesMut,
    /// Bytes of `pending` already searched for the end of an event.
    searched: usize,
    event_bytes_max: usize,
    at_start: bool,
}

impl Decoder {
    /// No event may be longer than `event_bytes_max`; one that is ends the stream.
    #[must_use]
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            pending: BytesMut::new(),
            searched: 0,
            event_bytes_max,
            at_start: true,
        }
    }

    /// Takes what the network brought. With nothing pending and the only reference to it, the buffer is taken over without a copy.
    pub fn feed(&mut self, bytes: Bytes) {
        if self.pending.is_empty() {
            match bytes.try_into_mut() {
                Ok(whole) => self.pending = whole,
                Err(shared) => self.pending.extend_from_slice(&shared),
            }
        } else {
            self.pending.extend_from_slice(&bytes);
        }
    }

    /// The next whole event; `None` when more bytes are needed. Comments and empty events are passed over.
    pub fn next(&mut self) -> Result<Option<SseEvent>, TooLong> {
        self.skip_byte_order_mark();
        loop {
            let Some(end) = self.end_of_event() else {
                return if self.pending.len() > self.event_bytes_max {
                    Err(TooLong)
                } else {
                    Ok(None)
                };
            };
            self.searched = 0;
            let raw = self.pending.split_to(end).freeze();
            if let Some(event) = parse(raw) {
                return Ok(Some(event));
            }
        }
    }

    /// What is left when the stream has ended. The specification throws an unfinished event away; providers are known to leave out the
    /// last empty line, so a rest that parses as an event is one.
    pub fn rest(&mut self) -> Option<SseEvent> {
        self.searched = 0;
        parse(self.pending.split().freeze())
    }

    /// Bytes held back for want of an end.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn skip_byte_order_mark(&mut self) {
        if self.at_start && !self.pending.is_empty() {
            if self.pending.starts_with(b"\xef\xbb\xbf") {
                self.pending.advance(3);
            } else if b"\xef\xbb\xbf".starts_with(&self.pending) {
                return;
            }
            self.at_start = false;
        }
    }

    /// Where the first empty line ends. Lines end with LF, CR LF or CR.
    fn end_of_event(&mut self) -> Option<usize> {
        let bytes = &self.pending[..];
        // Two bytes back: an end may have begun in what was searched before.
        let mut at = self.searched.saturating_sub(2);
        while let Some(found) = memchr::memchr2(b'\n', b'\r', &bytes[at..]) {
            let line_end = at + found;
            let next = match (bytes[line_end], bytes.get(line_end + 1)) {
                (b'\r', Some(b'\n')) => line_end + 2,
                // A CR at the very end may be half of a CR LF: wait.
                (b'\r', None) => break,
                _ => line_end + 1,
            };
            match (bytes.get(next), bytes.get(next + 1)) {
                (Some(b'\n'), _) => return Some(next + 1),
                (Some(b'\r'), Some(b'\n')) => return Some(next + 2),
                (Some(b'\r'), Some(_)) => return Some(next + 1),
                _ => at = next,
            }
        }
        self.searched = bytes.len();
        None
    }
}

/// The event in `raw`; `None` when it has neither a name nor data (a comment, an empty line).
fn parse(raw: Bytes) -> Option<SseEvent> {
    let mut event = SseEvent {
        raw: raw.clone(),
        ..SseEvent::default()
    };
    let mut has_data = false;
    for line in raw.split(|b| *b == b'\n' || *b == b'\r') {
        let (field, value) = match memchr::memchr(b':', line) {
            Some(0) => continue,
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &line[line.len()..]),
        };
        match field {
            b"event" => event.name = raw.slice_ref(value),
            b"id" => event.id = Some(raw.slice_ref(value)),
            b"data" if !has_data => {
                has_data = true;
                event.data = raw.slice_ref(value);
            }
            b"data" => {
                let mut joined = BytesMut::with_capacity(event.data.len() + 1 + value.len());
                joined.extend_from_slice(&event.data);
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(value);
                event.data = joined.freeze();
            }
            // `retry` and fields to come: the specification ignores them.
            _ => {}
        }
    }
    (has_data || !event.name.is_empty()).then_some(event)
}

/// Appends one event. `data` must hold no line break, as JSON written by us does not.
pub fn write(name: Option<&str>, id: Option<u64>, data: &[u8], out: &mut BytesMut) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
        out.extend_from_slice(b"\n");
    }
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

/// A comment that keeps a quiet stream alive: clients ignore it, proxies see bytes.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Vec<SseEvent> {
        let mut decoder = Decoder::new(1 << 20);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.feed(Bytes::copy_from_slice(piece));
            while let Some(event) = decoder.next().expect("short") {
                events.push(event);
            }
        }
        events.extend(decoder.rest());
        events
    }

    fn told(events: &[SseEvent]) -> Vec<(&[u8], &[u8])> {
        events.iter().map(|e| (&e.name[..], &e.data[..])).collect()
    }

    const STREAM: &[u8] = b"\xef\xbb\xbf: hello\n\nevent: a\r\ndata: 1\r\n\r\ndata:x\ndata: y\n\nid: 7\revent: b\rdata\r\rretry: 3\n\ndata: last";

    #[test]
    fn any_cut_gives_the_same_events() {
        let whole = decode(&[STREAM]);
        assert_eq!(
            told(&whole),
            [
                (&b"a"[..], &b"1"[..]),
                (b"", b"x\ny"),
                (b"b", b""),
                (b"", b"last")
            ]
        );
        assert_eq!(whole[2].id.as_deref(), Some(&b"7"[..]));
        for cut in 0..=STREAM.len() {
            let (head, tail) = STREAM.split_at(cut);
            assert_eq!(told(&decode(&[head, tail])), told(&whole), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(told(&decode(&bytes)), told(&whole), "byte by byte");
    }

    #[test]
    fn what_is_raw_adds_up_to_the_stream() {
        let stream = b"data: 1\n\nevent: x\ndata: 2\n\n";
        let raw: Vec<u8> = decode(&[stream])
            .iter()
            .flat_map(|e| e.raw.to_vec())
            .collect();
        assert_eq!(raw, stream);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut decoder = Decoder::new(10);
        decoder.feed(Bytes::from_static(b"data: 0123456789"));
        assert_eq!(decoder.next(), Err(TooLong));
    }

    #[test]
    fn what_we_write_we_read() {
        let mut out = BytesMut::new();
        write(Some("n"), Some(3), b"{}", &mut out);
        out.extend_from_slice(KEEP_ALIVE);
        write(None, None, b"[DONE]", &mut out);
        assert_eq!(
            told(&decode(&[&out])),
            [(&b"n"[..], &b"{}"[..]), (b"", b"[DONE]")]
        );
    }
}
