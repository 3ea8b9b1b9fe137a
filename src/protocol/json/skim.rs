//! JSON that is known to be JSON, passed over at memory speed.
//!
//! For bodies that were checked before (`walk`, serde_json) or that we wrote ourselves: only strings, brackets and what stands between members
//! are looked at, so that a text of 100 KB costs a search for its closing quote. Of what is no JSON it makes nonsense or `None`, in linear time,
//! and never reads beyond it. Does not check UTF-8, escapes, numbers or words; who needs that has `walk`.

use std::ops::Range;

/// A place in a body.
#[derive(Clone, Debug)]
pub struct Skim<'a> {
    bytes: &'a [u8],
    at: usize,
    loose: bool,
}

impl<'a> Skim<'a> {
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            loose: false,
        }
    }

    /// The body that is skimmed.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where it stands.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Stands before the next value, and forgets what space it passed.
    pub fn tighten(&mut self) -> Option<u8> {
        let next = self.next();
        self.loose = false;
        next
    }

    /// Whether space outside of strings was passed since `tighten`.
    #[must_use]
    pub fn is_loose(&self) -> bool {
        self.loose
    }

    /// The first byte of what comes, behind any space.
    pub fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !is_space(byte) {
                return Some(byte);
            }
            self.loose = true;
            self.at += 1;
        }
    }

    /// Passes an object. `each` is given the place of a name, between its quotes, and must pass the value.
    pub fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, Range<usize>) -> Option<()>,
    ) -> Option<()> {
        self.take(b'{')?;
        if self.next()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.take(b':')?;
            self.next()?;
            each(self, name.start + 1..name.end - 1)?;
            if self.ends(b'}')? {
                return Some(());
            }
        }
    }

    /// Passes an array. `each` must pass the item.
    pub fn items(&mut self, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        if self.next()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.next()?;
            each(self)?;
            if self.ends(b']')? {
                return Some(());
            }
        }
    }

    /// Passes a string. Its place, quotes included.
    pub fn string(&mut self) -> Option<Range<usize>> {
        if self.next()? != b'"' {
            return None;
        }
        let from = self.at;
        self.at = string_end(self.bytes, from + 1)? + 1;
        Some(from..self.at)
    }

    /// Passes any value. Its place.
    pub fn value(&mut self) -> Option<Range<usize>> {
        let first = self.next()?;
        let from = self.at;
        match first {
            b'"' => return self.string(),
            b'{' | b'[' => self.nested()?,
            _ => self.word(),
        }
        (self.at > from).then_some(from..self.at)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// After an item: true at the end, false where another follows.
    fn ends(&mut self, end: u8) -> Option<bool> {
        let byte = self.next()?;
        self.at += 1;
        match byte {
            b',' => Some(false),
            _ => (byte == end).then_some(true),
        }
    }

    fn nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => {
                    self.at = string_end(self.bytes, self.at + 1)? + 1;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                byte if is_space(byte) => self.loose = true,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn word(&mut self) {
        let rest = &self.bytes[self.at..];
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || is_space(*byte);
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
    }
}

/// Appends `value` without the space outside of its strings. One pass; runs are copied whole.
pub fn tightened(value: &[u8], out: &mut Vec<u8>) {
    let (mut at, mut copied) = (0, 0);
    while let Some(&byte) = value.get(at) {
        match byte {
            b'"' => at = string_end(value, at + 1).unwrap_or(value.len() - 1),
            byte if is_space(byte) => {
                out.extend_from_slice(&value[copied..at]);
                copied = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    out.extend_from_slice(&value[copied..]);
}

/// Where the quote stands that ends the string whose inside begins at `from`.
fn string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let quote = at + find_quote(bytes.get(at..)?)?;
        // An odd number of backslashes before it makes it a part of the text. They are counted once each: a quote stands between two runs.
        let before = bytes[from..quote].iter().rev();
        if before.take_while(|byte| **byte == b'\\').count() % 2 == 0 {
            return Some(quote);
        }
        at = quote + 1;
    }
}

/// Names and most values end within sixteen bytes, for which a call of the vector search costs more than they do.
fn find_quote(bytes: &[u8]) -> Option<usize> {
    let Some(chunk) = bytes.first_chunk::<16>() else {
        return bytes.iter().position(|byte| *byte == b'"');
    };
    let word = u128::from_le_bytes(*chunk) ^ (EACH * b'"' as u128);
    // The high bit of each byte that is zero; a borrow may set it above one, and the first is right.
    let found = word.wrapping_sub(EACH) & !word & (EACH << 7);
    if found != 0 {
        return Some(found.trailing_zeros() as usize / 8);
    }
    memchr::memchr(b'"', &bytes[16..]).map(|at| at + 16)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

const EACH: u128 = u128::from_ne_bytes([1; 16]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::protocol::json::walk::Walk;

    fn text(rng: &mut Rng) -> String {
        let pieces = [
            "a",
            "\\\"",
            "\\\\",
            "\\n",
            "é",
            " ",
            "0123456789",
            "{",
            "]",
            ",",
            ":",
        ];
        let inner: String = (0..rng.below(12))
            .map(|_| pieces[rng.below(pieces.len() as u64) as usize])
            .collect();
        format!("\"{inner}\"")
    }

    fn json(rng: &mut Rng, depth: u32) -> String {
        let space = |rng: &mut Rng| ["", "", " ", "\n\t"][rng.below(4) as usize];
        match rng.below(if depth == 0 { 3 } else { 5 }) {
            0 => text(rng),
            1 => "-1.5e3".to_owned(),
            2 => ["true", "null"][rng.below(2) as usize].to_owned(),
            kind => {
                let named = kind == 3;
                let items: Vec<String> = (0..rng.below(4))
                    .map(|_| {
                        let name = if named {
                            format!("{}{}:{}", text(rng), space(rng), space(rng))
                        } else {
                            String::new()
                        };
                        format!("{}{name}{}{}", space(rng), json(rng, depth - 1), space(rng))
                    })
                    .collect();
                let (open, close) = if named { ('{', '}') } else { ('[', ']') };
                format!("{open}{}{}{close}", space(rng), items.join(","))
            }
        }
    }

    #[test]
    fn a_value_ends_where_the_walker_that_checks_says_it_does() {
        let mut rng = Rng::seeded(1);
        for _ in 0..20_000 {
            let value = json(&mut rng, 4);
            let whole = format!("{value} ,1");
            let walked = Walk::of(&whole).value().expect("JSON").len();
            assert_eq!(
                Skim::of(whole.as_bytes()).value(),
                Some(0..walked),
                "{whole}"
            );
        }
    }

    #[test]
    fn what_is_tightened_says_the_same_without_space_and_only_then_was_loose() {
        let mut rng = Rng::seeded(2);
        for _ in 0..20_000 {
            let value = json(&mut rng, 4);
            let mut tight = Vec::new();
            tightened(value.as_bytes(), &mut tight);
            let read = |b: &[u8]| serde_json::from_slice::<serde_json::Value>(b).expect("JSON");
            assert_eq!(read(&tight), read(value.as_bytes()));
            let mut skim = Skim::of(value.as_bytes());
            skim.value().expect("JSON");
            assert_eq!(skim.is_loose(), tight.len() < value.len(), "{value}");
        }
    }

    #[test]
    fn what_is_no_json_ends_and_never_panics() {
        let mut rng = Rng::seeded(3);
        for _ in 0..50_000 {
            let bytes: Vec<u8> = (0..rng.below(24))
                .map(|_| b"{}[]\"\\:, a1"[rng.below(11) as usize])
                .collect();
            let mut skim = Skim::of(&bytes);
            let _ = skim.members(|skim, _| skim.value().map(drop));
            let _ = Skim::of(&bytes).items(|skim| skim.value().map(drop));
            tightened(&bytes, &mut Vec::new());
        }
        assert_eq!(Skim::of(b"\"\\").value(), None);
        assert_eq!(Skim::of(b"]").value(), None);
    }
}
