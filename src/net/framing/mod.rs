//! HTTP/1.1 taken out of its framing, both ways: bytes in as the network cut them, heads and data out. Pure: knows no socket.

/// What a provider answers.
mod answer;
/// A chunked body.
mod chunks;
/// What a client asks.
pub(super) mod request;

pub(super) use answer::{Fed, Reader};

use crate::shard::Headers;

/// Not HTTP, and how so.
pub(super) type Malformed = &'static str;

fn kept(headers: &[httparse::Header<'_>]) -> Headers {
    let bytes = headers.iter().map(|h| h.name.len() + h.value.len()).sum();
    let mut all = Headers::with_capacity(headers.len(), bytes);
    for header in headers {
        all.push(header.name.as_bytes(), header.value);
    }
    all
}

/// Digits only: no sign, no space, no list (RFC 9110 section 8.6).
fn digits(value: &[u8]) -> Result<u64, Malformed> {
    const BAD: Malformed = "content-length is not a number";
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(BAD)
}

/// Whether a path or a field can be written into a head: a line end in it would let one become two.
pub(super) fn is_clean(text: &str) -> bool {
    // Looks at all of a text even after a bad byte: without a way out the loop takes sixteen bytes at a time.
    let bad = |byte: u8| byte < b' ' && byte != b'\t' || byte == 0x7f;
    !text.bytes().fold(false, |any, byte| any | bad(byte))
}
