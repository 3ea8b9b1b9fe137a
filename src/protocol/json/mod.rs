//! JSON straight into a buffer: strings, keys and commas, without a tree in between.
//!
//! For what is written into streams, where nothing may be allocated but the growth of `out`. Does not check that the calls add up to a
//! value: tests of the callers do. Reading without a tree is `walk`, and `skim` of what was read before.

pub mod skim;
pub mod walk;

use bytes::BytesMut;

/// Appends `s` as a JSON string, quotes included. Costs one pass; runs without anything to escape are copied whole.
pub fn string(s: &str, out: &mut BytesMut) {
    out.extend_from_slice(b"\"");
    escaped(s, out);
    out.extend_from_slice(b"\"");
}

/// Appends `s` as the inside of a JSON string, for strings made of several pieces.
pub fn escaped(s: &str, out: &mut BytesMut) {
    let bytes = s.as_bytes();
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        escape(*byte, out);
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// RFC 8259, section 7: quotes, backslashes and everything below a space must be escaped, nothing else.
fn escape(byte: u8, out: &mut BytesMut) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short: &[u8] = match byte {
        b'"' => b"\\\"",
        b'\\' => b"\\\\",
        b'\n' => b"\\n",
        b'\r' => b"\\r",
        b'\t' => b"\\t",
        0x08 => b"\\b",
        0x0c => b"\\f",
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            return;
        }
    };
    out.extend_from_slice(short);
}

/// Appends a comma where one is due: not right after `{`, `[` or `:`.
pub fn comma(out: &mut BytesMut) {
    if !matches!(out.last(), None | Some(b'{' | b'[' | b':')) {
        out.extend_from_slice(b",");
    }
}

/// Appends `"name":`, and a comma before it where one is due. `name` is ours and needs no escaping.
pub fn key(name: &str, out: &mut BytesMut) {
    comma(out);
    out.extend_from_slice(b"\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends `"name":"value"`.
pub fn field(name: &str, value: &str, out: &mut BytesMut) {
    key(name, out);
    string(value, out);
}

/// Appends a whole number.
pub fn integer(n: impl itoa::Integer, out: &mut BytesMut) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn written(s: &str) -> BytesMut {
        let mut out = BytesMut::new();
        string(s, &mut out);
        out
    }

    #[test]
    fn every_string_reads_back() {
        let mut rng = Rng::seeded(3);
        for _ in 0..2_000 {
            let s: String = (0..rng.below(40))
                .filter_map(|_| {
                    let high = if rng.once_in(2) { 0x80 } else { 0x1_0400 };
                    char::from_u32(rng.below(high) as u32)
                })
                .collect();
            let read: String = serde_json::from_slice(&written(&s)).expect("json");
            assert_eq!(read, s);
        }
    }

    #[test]
    fn short_forms_are_used_and_the_rest_is_left_alone() {
        assert_eq!(
            &written("a\"\\\n\r\t\u{8}\u{c}\u{1}/é\u{7f}😀")[..],
            "\"a\\\"\\\\\\n\\r\\t\\b\\f\\u0001/é\u{7f}😀\"".as_bytes()
        );
    }

    #[test]
    fn commas_come_where_they_are_due() {
        let mut out = BytesMut::from("{");
        key("a", &mut out);
        out.extend_from_slice(b"[");
        for n in [1_i64, -2] {
            comma(&mut out);
            integer(n, &mut out);
        }
        out.extend_from_slice(b"]");
        field("b", "{", &mut out);
        field("c", "", &mut out);
        out.extend_from_slice(b"}");
        assert_eq!(&out[..], br#"{"a":[1,-2],"b":"{","c":""}"#);
    }
}
