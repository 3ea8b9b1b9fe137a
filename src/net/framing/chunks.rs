//! A chunked body, byte by byte where it is framing and in one copy where it is data (RFC 9112 section 7.1).

use super::Malformed;
use bytes::BytesMut;

/// A chunk's size line with its extensions, and all trailers together.
const LINE_BYTES_MAX: u32 = 8 << 10;

/// Where a chunked body stands (RFC 9112 section 7.1).
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// Of the size line or the trailers so far.
    line: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size {
        value: u64,
        digits: u8,
    },
    /// A chunk extension: skipped.
    Extension {
        value: u64,
    },
    SizeEnd {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At a line's beginning after the last chunk.
    Trailer,
    TrailerLine,
    TrailerEnd,
    Done,
}

impl Default for Chunks {
    fn default() -> Self {
        Self {
            at: At::Size {
                value: 0,
                digits: 0,
            },
            line: 0,
        }
    }
}

impl Chunks {
    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Appends the data in `bytes` to `out`; how many bytes belonged to this body.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<usize, Malformed> {
        let mut used = 0;
        while used < bytes.len() && self.at != At::Done {
            if let At::Data { left } = self.at {
                let rest = &bytes[used..];
                let count = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                out.extend_from_slice(&rest[..count]);
                used += count;
                let left = left - count as u64;
                self.at = if left == 0 {
                    At::DataCr
                } else {
                    At::Data { left }
                };
            } else {
                self.at = self.byte(bytes[used])?;
                used += 1;
            }
        }
        Ok(used)
    }

    fn byte(&mut self, byte: u8) -> Result<At, Malformed> {
        self.line += 1;
        if self.line > LINE_BYTES_MAX {
            return Err("a chunk's head or the trailers are too long");
        }
        Ok(match (self.at, byte) {
            (At::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                size_digit(value, digits, byte)?
            }
            (At::Size { digits: 0, .. }, _) => return Err("a chunk has no size"),
            (At::Size { value, .. }, b'\r') => At::SizeEnd { value },
            (At::Size { value, .. }, b';' | b' ' | b'\t') => At::Extension { value },
            (At::Extension { value }, b'\r') => At::SizeEnd { value },
            (At::Extension { .. }, b'\n') => return Err("a bare line feed in a chunk's head"),
            (At::Extension { value }, _) => At::Extension { value },
            (At::SizeEnd { value: 0 }, b'\n') => At::Trailer,
            (At::SizeEnd { value: left }, b'\n') => {
                self.line = 0;
                At::Data { left }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                self.line = 0;
                At::Size {
                    value: 0,
                    digits: 0,
                }
            }
            (At::Trailer, b'\r') => At::TrailerEnd,
            (At::Trailer | At::TrailerLine, b'\n') => At::Trailer,
            (At::Trailer | At::TrailerLine, _) => At::TrailerLine,
            (At::TrailerEnd, b'\n') => At::Done,
            _ => return Err("a chunk is malformed"),
        })
    }
}

fn size_digit(value: u64, digits: u8, byte: u8) -> Result<At, Malformed> {
    let digit = (byte as char).to_digit(16).map_or(0, u64::from);
    if digits >= 16 {
        return Err("a chunk's size is too long");
    }
    Ok(At::Size {
        value: value << 4 | digit,
        digits: digits + 1,
    })
}
