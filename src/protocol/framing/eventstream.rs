//! `application/vnd.amazon.eventstream`, both ways (`providers/bedrock.md` 6; AWS's own description of the format, read 2026-11).
//!
//! Here a frame is headers and a payload and nothing more; what Bedrock says in frames, as events, is `events`. Written by hand and not
//! with `aws-smithy-eventstream`: that decoder wants a buffer of its own kind, copies headers and payload out of it, says only that a frame
//! was bad, and brings the SDK's types with it; the format itself is two lengths, two checksums and a list of headers.

mod events;
pub use events::{Events, Holds};

use crate::base::Str;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use smallvec::SmallVec;
use std::fmt;

/// One frame, checksums passed. Text and bytes are slices of what was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub headers: SmallVec<[Header; 4]>,
    pub payload: Bytes,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub name: Str,
    pub value: Value,
}

/// The ten types of a header's value; the two truths are one here.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Int8(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Bytes(Bytes),
    Text(Str),
    /// Milliseconds since 1970.
    Timestamp(i64),
    Uuid([u8; 16]),
}

/// The stream is no event stream, or was damaged. Nothing after it can be trusted: there is no mark to find the next frame by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The lengths at a frame's start do not have the checksum that follows them.
    PreludeChecksum,
    /// The lengths contradict each other, or are over the format's own limits.
    Lengths {
        total: u32,
        headers: u32,
    },
    /// A frame is longer than the reader takes.
    TooLong {
        total: u32,
        max: usize,
    },
    Checksum,
    /// A header's name or value does not fit, or is of a type that does not exist; at this byte of the headers.
    Header {
        at: usize,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PreludeChecksum => f.write_str("event stream: wrong checksum of the lengths"),
            Self::Lengths { total, headers } => {
                write!(
                    f,
                    "event stream: impossible lengths {total} with headers of {headers}"
                )
            }
            Self::TooLong { total, max } => {
                write!(f, "event stream: a frame of {total} bytes, over {max}")
            }
            Self::Checksum => f.write_str("event stream: wrong checksum of a frame"),
            Self::Header { at } => write!(f, "event stream: malformed headers at byte {at}"),
        }
    }
}

impl std::error::Error for Broken {}

impl Frame {
    /// The text header `name`; `None` when it is absent or of another type.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|h| match &h.value {
            Value::Text(text) if h.name == name => Some(&**text),
            _ => None,
        })
    }
}

// Two lengths and their checksum.
const PRELUDE: usize = 12;
// The prelude and the checksum of the whole: a frame without headers and payload.
const FRAME_MIN: usize = PRELUDE + 4;
// botocore refuses longer headers (`providers/bedrock.md` 6).
const HEADERS_MAX: usize = 131_072;

/// Cuts a stream of bytes into frames. Feed it what the network brings, in any pieces; then ask until there is no more. Memory: what is
/// pending, which is less than one frame beyond what was fed. Cost: one checksum over each byte; no payload is copied once it lies whole.
#[derive(Debug)]
pub struct Decoder {
    pending: BytesMut,
    frame_bytes_max: usize,
    broken: Option<Broken>,
}

impl Decoder {
    /// No frame may be longer than `frame_bytes_max`; one that says it is ends the stream before its bytes are kept.
    #[must_use]
    pub fn new(frame_bytes_max: usize) -> Self {
        Self {
            pending: BytesMut::new(),
            frame_bytes_max,
            broken: None,
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

    /// The next whole frame; `None` when more bytes are needed. After an `Err` it is always the same `Err`.
    pub fn next(&mut self) -> Result<Option<Frame>, Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let frame = self.cut();
        self.broken = frame.as_ref().err().copied();
        frame
    }

    /// Bytes held back for want of a frame's end. Over zero when the stream has ended: it was cut.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn cut(&mut self) -> Result<Option<Frame>, Broken> {
        let Some((total, headers)) = self.lengths()? else {
            return Ok(None);
        };
        if self.pending.len() < total {
            return Ok(None);
        }
        let mut frame = self.pending.split_to(total).freeze();
        let said = (&frame[total - 4..]).get_u32();
        if crc32fast::hash(&frame[..total - 4]) != said {
            return Err(Broken::Checksum);
        }
        frame.truncate(total - 4);
        frame.advance(PRELUDE);
        let payload = frame.split_off(headers);
        let headers = read_headers(&frame)?;
        Ok(Some(Frame { headers, payload }))
    }

    /// Total length and length of the headers, once the twelve bytes that say them are here and right.
    fn lengths(&self) -> Result<Option<(usize, usize)>, Broken> {
        if self.pending.len() < PRELUDE {
            return Ok(None);
        }
        let mut prelude = &self.pending[..PRELUDE];
        let (total, headers, said) = (prelude.get_u32(), prelude.get_u32(), prelude.get_u32());
        if crc32fast::hash(&self.pending[..8]) != said {
            return Err(Broken::PreludeChecksum);
        }
        let (whole, inner) = (total as usize, headers as usize);
        if inner > HEADERS_MAX || whole < FRAME_MIN || inner > whole - FRAME_MIN {
            return Err(Broken::Lengths { total, headers });
        }
        if whole > self.frame_bytes_max {
            let max = self.frame_bytes_max;
            return Err(Broken::TooLong { total, max });
        }
        Ok(Some((whole, inner)))
    }
}

fn read_headers(bytes: &Bytes) -> Result<SmallVec<[Header; 4]>, Broken> {
    let (mut rest, mut headers) = (bytes.clone(), SmallVec::new());
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        headers.push(read_header(&mut rest).ok_or(Broken::Header { at })?);
    }
    Ok(headers)
}

/// Takes one header off `rest`; `None` when it does not fit.
fn read_header(rest: &mut Bytes) -> Option<Header> {
    let length = usize::from(rest.try_get_u8().ok()?);
    let name = Str::try_from(take(rest, length)?).ok()?;
    let value = match rest.try_get_u8().ok()? {
        0 => Value::Bool(true),
        1 => Value::Bool(false),
        2 => Value::Int8(rest.try_get_i8().ok()?),
        3 => Value::Int16(rest.try_get_i16().ok()?),
        4 => Value::Int32(rest.try_get_i32().ok()?),
        5 => Value::Int64(rest.try_get_i64().ok()?),
        6 => Value::Bytes(take_counted(rest)?),
        7 => Value::Text(Str::try_from(take_counted(rest)?).ok()?),
        8 => Value::Timestamp(rest.try_get_i64().ok()?),
        9 => Value::Uuid(take(rest, 16)?[..].try_into().ok()?),
        _ => return None,
    };
    Some(Header { name, value })
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (rest.len() >= length).then(|| rest.split_to(length))
}

fn take_counted(rest: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(rest.try_get_u16().ok()?);
    take(rest, length)
}

/// A header or a frame is longer than the format can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Appends one frame. `Err` when a name is over 255 bytes, a value over 65,535, or the frame over what its length can say; then `out` is
/// as it was.
pub fn encode(headers: &[Header], payload: &[u8], out: &mut BytesMut) -> Result<(), TooLong> {
    let start = out.len();
    let written = write_frame(headers, payload, out);
    if written.is_none() {
        out.truncate(start);
    }
    written.ok_or(TooLong)
}

fn write_frame(headers: &[Header], payload: &[u8], out: &mut BytesMut) -> Option<()> {
    let start = out.len();
    out.put_bytes(0, PRELUDE);
    for header in headers {
        write_header(header, out)?;
    }
    let headers = out.len() - start - PRELUDE;
    if headers > HEADERS_MAX {
        return None;
    }
    let total = u32::try_from(FRAME_MIN + headers + payload.len()).ok()?;
    let lengths = &mut out[start..];
    lengths[..4].copy_from_slice(&total.to_be_bytes());
    let headers = u32::try_from(headers).ok()?;
    lengths[4..8].copy_from_slice(&headers.to_be_bytes());
    let checksum = crc32fast::hash(&lengths[..8]);
    lengths[8..12].copy_from_slice(&checksum.to_be_bytes());
    out.extend_from_slice(payload);
    let checksum = crc32fast::hash(&out[start..]);
    out.put_u32(checksum);
    Some(())
}

fn write_header(header: &Header, out: &mut BytesMut) -> Option<()> {
    out.put_u8(u8::try_from(header.name.len()).ok()?);
    out.extend_from_slice(header.name.as_bytes());
    match &header.value {
        Value::Bool(true) => out.put_u8(0),
        Value::Bool(false) => out.put_u8(1),
        Value::Int8(n) => {
            out.put_u8(2);
            out.put_i8(*n);
        }
        Value::Int16(n) => {
            out.put_u8(3);
            out.put_i16(*n);
        }
        Value::Int32(n) => {
            out.put_u8(4);
            out.put_i32(*n);
        }
        Value::Int64(n) => {
            out.put_u8(5);
            out.put_i64(*n);
        }
        Value::Bytes(bytes) => write_counted(6, bytes, out)?,
        Value::Text(text) => write_counted(7, text.as_bytes(), out)?,
        Value::Timestamp(millis) => {
            out.put_u8(8);
            out.put_i64(*millis);
        }
        Value::Uuid(bytes) => {
            out.put_u8(9);
            out.extend_from_slice(bytes);
        }
    }
    Some(())
}

fn write_counted(kind: u8, bytes: &[u8], out: &mut BytesMut) -> Option<()> {
    out.put_u8(kind);
    out.put_u16(u16::try_from(bytes.len()).ok()?);
    out.extend_from_slice(bytes);
    Some(())
}

#[cfg(test)]
mod tests;
