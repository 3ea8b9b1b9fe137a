//! JSON read where it lies: no tree, no copy, strings eight or thirty-two bytes at a time.
//!
//! For the hot path, where of a body that passes only a few members are looked at, and the rest must be JSON and no more. Checks the
//! grammar of RFC 8259 whole; what is wrong it does not explain: whoever must tell a client reads the text again with serde_json. Not for
//! bodies that are taken apart: those are read into types.

use smallvec::SmallVec;
use std::borrow::Cow;

/// A place in a text.
#[derive(Debug)]
pub struct Walk<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

/// The text is no JSON from here on, or not of the shape that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Syntax,
    /// Descended into deeper than `DEPTH_MAX`.
    Deep,
}

/// What a value begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Object,
    Array,
    Text,
    /// A number, or nothing that begins a value.
    Number,
    Flag,
    Null,
}

/// A string, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted<'a> {
    /// Between the quotes.
    inner: &'a str,
    /// In bytes of UTF-8, once its escapes are resolved; half of a surrogate pair counts as three.
    length: usize,
    escaped: bool,
}

/// Of what is descended into. As serde_json's: no request or answer of a provider nests a tenth as deep, and every reader of ours goes as deep as its text.
pub const DEPTH_MAX: u32 = 128;

impl<'a> Quoted<'a> {
    /// The string; `None` where it is written with escapes.
    #[must_use]
    pub fn plain(&self) -> Option<&'a str> {
        (!self.escaped).then_some(self.inner)
    }

    #[must_use]
    pub fn decoded_length(&self) -> usize {
        self.length
    }

    /// The string, its escapes resolved; an error for half of a surrogate pair, which is no character.
    pub fn text(&self) -> Result<Cow<'a, str>, Broken> {
        if !self.escaped {
            return Ok(Cow::Borrowed(self.inner));
        }
        let whole = format!("\"{}\"", self.inner);
        let read = serde_json::from_str::<String>(&whole);
        read.map(Cow::Owned).map_err(|_| Broken::Syntax)
    }
}

impl<'a> Walk<'a> {
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
        }
    }

    /// What comes next. Reads nothing of it.
    pub fn start(&mut self) -> Start {
        self.space();
        match self.byte() {
            Some(b'{') => Start::Object,
            Some(b'[') => Start::Array,
            Some(b'"') => Start::Text,
            Some(b't' | b'f') => Start::Flag,
            Some(b'n') => Start::Null,
            _ => Start::Number,
        }
    }

    /// Reads an object. `each` must read the member's value, all of it.
    pub fn members<E: From<Broken>>(
        &mut self,
        mut each: impl FnMut(&mut Self, Quoted<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'{')?;
        if !self.take(b'}') {
            loop {
                self.space();
                let name = self.quoted()?;
                self.expect(b':')?;
                each(self, name)?;
                if self.ends(b'}')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads an array. `each` must read the item, all of it.
    pub fn items<E: From<Broken>>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'[')?;
        if !self.take(b']') {
            loop {
                each(self)?;
                if self.ends(b']')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a string.
    pub fn string(&mut self) -> Result<Quoted<'a>, Broken> {
        self.space();
        self.quoted()
    }

    /// Reads any value: the text of it, without the space around it. Nested as deep as it likes: nobody descends into it.
    pub fn value(&mut self) -> Result<&'a str, Broken> {
        self.space();
        let from = self.at;
        match self.byte() {
            Some(b'{' | b'[') => self.nested()?,
            _ => self.scalar()?,
        }
        Ok(&self.text[from..self.at])
    }

    /// Nothing but space may be left.
    pub fn end(mut self) -> Result<(), Broken> {
        self.space();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(Broken::Syntax)
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// Whether `byte` is next, after any space; if so it is read.
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let is_next = self.byte() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Result<(), Broken> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(Broken::Syntax)
        }
    }

    fn open(&mut self, byte: u8) -> Result<(), Broken> {
        self.expect(byte)?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Broken::Deep);
        }
        Ok(())
    }

    /// After an item: true at the end, false where another follows.
    fn ends(&mut self, end: u8) -> Result<bool, Broken> {
        if self.take(b',') {
            return Ok(false);
        }
        self.expect(end).map(|()| true)
    }

    fn quoted(&mut self) -> Result<Quoted<'a>, Broken> {
        let bytes = self.text.as_bytes();
        if self.byte() != Some(b'"') {
            return Err(Broken::Syntax);
        }
        let from = self.at + 1;
        let (mut at, mut length, mut escaped) = (from, 0, false);
        loop {
            let run = plain_run(&bytes[at..]);
            (at, length) = (at + run, length + run);
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let (written, means) = escape(&bytes[at + 1..]).ok_or(Broken::Syntax)?;
                    (at, length, escaped) = (at + 1 + written, length + means, true);
                }
                _ => return Err(Broken::Syntax),
            }
        }
        self.at = at + 1;
        Ok(Quoted {
            inner: &self.text[from..at],
            length,
            escaped,
        })
    }

    /// An object or array, all of it, without recursion.
    fn nested(&mut self) -> Result<(), Broken> {
        // How what is open ends, innermost last.
        let mut open: SmallVec<[u8; 64]> = SmallVec::new();
        loop {
            let end = match self.byte() {
                Some(b'{') => b'}',
                Some(b'[') => b']',
                _ => 0,
            };
            if end == 0 {
                self.scalar()?;
            } else {
                self.at += 1;
                if !self.take(end) {
                    open.push(end);
                    self.name_if(end)?;
                    continue;
                }
            }
            loop {
                let Some(&end) = open.last() else {
                    return Ok(());
                };
                if !self.ends(end)? {
                    self.name_if(end)?;
                    break;
                }
                open.pop();
            }
        }
    }

    /// Stands before the next value: within an object its name comes first.
    fn name_if(&mut self, end: u8) -> Result<(), Broken> {
        self.space();
        if end == b'}' {
            self.quoted()?;
            self.expect(b':')?;
            self.space();
        }
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Broken> {
        match self.byte() {
            Some(b'"') => self.quoted().map(drop),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Broken> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Broken::Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Broken> {
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// At least one.
    fn digits(&mut self) -> Result<(), Broken> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == from {
            return Err(Broken::Syntax);
        }
        Ok(())
    }
}

/// Bytes of a long string looked at in one go.
const CHUNK: usize = 32;

/// How many bytes of a string come before its end, an escape, or a byte that may not stand in one.
fn plain_run(bytes: &[u8]) -> usize {
    // Names and most values end in the first eight or sixteen.
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        if let Some(stop) = first_stop(*chunk) {
            return at + stop;
        }
        at += chunk.len();
        if at == 16 {
            at += plain_chunks(&bytes[at..]);
        }
    }
    let rest = &bytes[at..];
    let is_stop = |byte: &u8| stop(*byte) != 0;
    at + rest.iter().position(is_stop).unwrap_or(rest.len())
}

/// How many bytes of whole chunks come before a chunk in which the run ends.
fn plain_chunks(bytes: &[u8]) -> usize {
    // The compiler makes vector instructions of this (one a byte) only while it has no way out: no `||`, no `any`.
    let is_plain = |chunk: &&[u8]| chunk.iter().fold(0, |stops, byte| stops | stop(*byte)) == 0;
    CHUNK * bytes.chunks_exact(CHUNK).take_while(is_plain).count()
}

/// Where in eight bytes the run ends: as `stop`, all at once in one word.
fn first_stop(chunk: [u8; 8]) -> Option<usize> {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let word = u64::from_le_bytes(chunk);
    // The high bit of each byte that is below `limit` (at most 128). A borrow can set it in a byte above such a one as well: the first is right.
    let below = |word: u64, limit: u64| word.wrapping_sub(EACH * limit) & !word & (EACH << 7);
    let is = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
    let stops = below(word, 0x20) | is(b'"') | is(b'\\');
    (stops != 0).then(|| stops.trailing_zeros() as usize / 8)
}

/// 1 for a byte at which a run of plain ones ends.
fn stop(byte: u8) -> u8 {
    u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20)
}

/// An escape behind its backslash: bytes it is written with, bytes of UTF-8 that it means.
fn escape(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.first()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some((1, 1)),
        b'u' => match hex(bytes.get(1..5)?)? {
            0..0x80 => Some((5, 1)),
            0x80..0x800 => Some((5, 2)),
            0xd800..0xdc00 if is_low_surrogate(&bytes[5..]) => Some((11, 4)),
            _ => Some((5, 3)),
        },
        _ => None,
    }
}

fn is_low_surrogate(bytes: &[u8]) -> bool {
    let Some(digits) = bytes.strip_prefix(b"\\u").and_then(|rest| rest.get(..4)) else {
        return false;
    };
    hex(digits).is_some_and(|code| (0xdc00..0xe000).contains(&code))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |code, digit| {
        Some(code << 4 | char::from(*digit).to_digit(16)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use serde::de::IgnoredAny;

    fn is_json(text: &str) -> Result<(), Broken> {
        let mut walk = Walk::of(text);
        walk.value()?;
        walk.end()
    }

    #[test]
    fn what_serde_json_takes_is_taken_and_nothing_else() {
        let mut rng = Rng::seeded(7);
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\\",
            "\\u00e9",
            "\\ud83d\\ude00",
            "\\n",
            "a",
            "é",
            "-",
            "0",
            "12",
            ".",
            "e",
            "E+",
            "true",
            "false",
            "null",
            " ",
            "\n",
            "\u{1}",
            "\"k\":",
            "\"v\"",
            "{}",
            "[]",
            "1.5e-3",
            "0123456789abcdefghijklmnopqrstuvwxyz",
        ];
        let mut taken = 0;
        for _ in 0..200_000 {
            let text: String = (0..rng.below(9))
                .map(|_| pieces[rng.below(pieces.len() as u64) as usize])
                .collect();
            let truth = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            assert_eq!(is_json(&text).is_ok(), truth, "{text:?}");
            taken += u32::from(truth);
        }
        assert!(taken > 1_000, "{taken}");
    }

    #[test]
    fn strings_are_as_long_as_serde_json_reads_them() {
        let long = "x".repeat(100);
        let texts = [
            r#""""#.to_owned(),
            r#""a\u0062\u00e9\u20ac\ud83d\ude00\n\/\"""#.to_owned(),
            format!("\"{long}\\n{long}é{long}\""),
            format!("\"{}\"", "é".repeat(33)),
        ];
        for text in texts {
            let read: String = serde_json::from_str(&text).expect("a string");
            let mut walk = Walk::of(&text);
            let quoted = walk.string().expect("a string");
            assert_eq!(
                (quoted.decoded_length(), &*quoted.text().expect("whole")),
                (read.len(), &*read)
            );
            assert_eq!(quoted.plain().is_some(), !text.contains('\\'));
            walk.end().expect("all of it");
        }
        let half = Walk::of(r#""\ud83d""#).string().expect("grammar allows it");
        assert_eq!(
            (half.decoded_length(), half.text()),
            (3, Err(Broken::Syntax))
        );
    }

    #[test]
    fn a_run_of_plain_bytes_ends_where_its_first_other_byte_is() {
        let mut rng = Rng::seeded(11);
        for _ in 0..50_000 {
            let length = rng.below(90) as usize;
            let plain = |rng: &mut Rng| loop {
                let byte = rng.below(256) as u8;
                if stop(byte) == 0 {
                    return byte;
                }
            };
            let mut bytes: Vec<u8> = (0..length).map(|_| plain(&mut rng)).collect();
            // Some others, and behind the first of them bytes that differ from it by one.
            for _ in 0..rng.below(3) {
                let byte = [b'"', b'\\', 0, 0x1f][rng.below(4) as usize];
                let at = rng.below(90) as usize;
                if at < length {
                    bytes[at] = byte;
                    bytes[(at + 1).min(length - 1)] ^= 1;
                }
            }
            let truth = bytes.iter().position(|byte| stop(*byte) != 0);
            assert_eq!(plain_run(&bytes), truth.unwrap_or(length), "{bytes:?}");
        }
    }

    #[test]
    fn members_and_items_are_told_in_their_order() {
        let text = r#" { "a" : [1 , "b", {"c":null}] , "d\n": true, "e": -0.5e3 } "#;
        let (mut walk, mut told) = (Walk::of(text), Vec::new());
        let read = walk.members::<Broken>(|walk, name| {
            told.push(name.text()?.into_owned());
            if walk.start() != Start::Array {
                told.push(walk.value()?.to_owned());
                return Ok(());
            }
            walk.items(|walk| {
                told.push(walk.value()?.to_owned());
                Ok(())
            })
        });
        assert_eq!((read, walk.end()), (Ok(()), Ok(())));
        let all = [
            "a",
            "1",
            "\"b\"",
            r#"{"c":null}"#,
            "d\n",
            "true",
            "e",
            "-0.5e3",
        ];
        assert_eq!(told, all);
    }

    #[test]
    fn what_is_walked_too_deep_is_said_to_be_and_what_is_passed_over_is_not() {
        fn descend(walk: &mut Walk<'_>) -> Result<(), Broken> {
            walk.items(descend)
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(descend(&mut Walk::of(&nested(128))), Ok(()));
        assert_eq!(descend(&mut Walk::of(&nested(129))), Err(Broken::Deep));
        assert_eq!(is_json(&nested(100_000)), Ok(()));
        assert_eq!(is_json(&"[{\"a\":".repeat(100_000)), Err(Broken::Syntax));
    }
}
