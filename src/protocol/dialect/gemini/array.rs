//! A JSON array cut into its elements as it arrives: how streamGenerateContent streams where `alt=sse` was not asked for.
//!
//! Framing alone: what an element means is the decoder's to say. Costs one look at each byte, and copies an element only when it came in
//! pieces.

use crate::protocol::framing::sse::{SseEvent, TooLong};
use bytes::{Buf, Bytes, BytesMut};

/// Feed it what the network brings, in any pieces; then ask until there is no more.
#[derive(Debug)]
pub struct Cutter {
    pending: BytesMut,
    searched: usize,
    /// Brackets and braces open within the element.
    depth: u32,
    within_string: bool,
    escaped: bool,
    element_bytes_max: usize,
}

impl Cutter {
    /// No element may be longer than `element_bytes_max`; one that is ends the stream.
    #[must_use]
    pub fn new(element_bytes_max: usize) -> Self {
        Self {
            pending: BytesMut::new(),
            searched: 0,
            depth: 0,
            within_string: false,
            escaped: false,
            element_bytes_max,
        }
    }

    pub fn feed(&mut self, bytes: &Bytes) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole element, as an event without a name; `None` when more bytes are needed. Objects without an array around them are
    /// elements too: an error may come so.
    pub fn next(&mut self) -> Result<Option<SseEvent>, TooLong> {
        self.skip_between();
        while let Some(byte) = self.pending.get(self.searched).copied() {
            self.searched += 1;
            if self.ends_with(byte) {
                let data = self.pending.split_to(self.searched).freeze();
                self.searched = 0;
                return Ok(Some(SseEvent {
                    raw: data.clone(),
                    data,
                    ..SseEvent::default()
                }));
            }
        }
        if self.pending.len() > self.element_bytes_max {
            return Err(TooLong);
        }
        Ok(None)
    }

    /// Whether the element ends with `byte`.
    fn ends_with(&mut self, byte: u8) -> bool {
        if self.within_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.within_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.within_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }

    /// What stands between elements: the array's own brackets, commas, spaces.
    fn skip_between(&mut self) {
        if self.searched > 0 {
            return;
        }
        let at = self.pending.iter().position(|b| *b == b'{');
        self.pending.advance(at.unwrap_or(self.pending.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "[{\"a\": \"}]\\\"{\"},\r\n{\"b\":[{},[1]]}\n,\n{}\n]\n";

    fn cut(pieces: &[&[u8]]) -> Vec<String> {
        let (mut cutter, mut told) = (Cutter::new(1 << 10), Vec::new());
        for piece in pieces {
            cutter.feed(&Bytes::copy_from_slice(piece));
            while let Some(event) = cutter.next().expect("short") {
                told.push(String::from_utf8(event.data.to_vec()).expect("UTF-8"));
            }
        }
        told
    }

    #[test]
    fn any_cut_gives_the_same_elements() {
        let whole = cut(&[STREAM.as_bytes()]);
        assert_eq!(whole, ["{\"a\": \"}]\\\"{\"}", "{\"b\":[{},[1]]}", "{}"]);
        for at in 0..=STREAM.len() {
            let (head, tail) = STREAM.as_bytes().split_at(at);
            assert_eq!(cut(&[head, tail]), whole, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = STREAM.as_bytes().chunks(1).collect();
        assert_eq!(cut(&bytes), whole, "byte by byte");
    }

    #[test]
    fn an_endless_element_is_refused() {
        let mut cutter = Cutter::new(4);
        cutter.feed(&Bytes::from_static(b"[{\"aaaa"));
        assert_eq!(cutter.next(), Err(TooLong));
    }
}
