//! The numbers of a usage object, by their paths.
//!
//! Usage stands in every answer, so it is read on the hot path: one pass over its text, no tree, no allocation but for objects with more
//! members than any provider's has. Keeps names as written: no provider escapes a letter of one.

use crate::base::Tokens;
use crate::protocol::json::walk::{Broken, Start, Walk};
use smallvec::SmallVec;

/// A usage object, taken apart.
#[derive(Debug, Default)]
pub(in crate::protocol::dialect) struct Counts<'a>(SmallVec<[Entry<'a>; 24]>);

#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    path: Path<'a>,
    /// Of the path as it is asked for, its slashes included: nearly every entry that is not meant is told apart by it.
    length: usize,
    leaf: Leaf<'a>,
}

/// Names from the outermost in; unused ones are empty.
type Path<'a> = [&'a str; DEPTH];
/// No provider nests a count deeper; what lies deeper is passed over.
const DEPTH: usize = 4;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaf<'a> {
    Whole(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
    Flag(bool),
}

impl<'a> Counts<'a> {
    /// `None` for what is no JSON object.
    pub fn of(text: &'a str) -> Option<Self> {
        let mut walk = Walk::of(text);
        let mut counts = Self::default();
        counts.read(&mut walk, [""; DEPTH], 0).ok()?;
        walk.end().ok()?;
        Some(counts)
    }

    /// The members of an object that stands at `path`.
    fn read(&mut self, walk: &mut Walk<'a>, path: Path<'a>, depth: usize) -> Result<(), Broken> {
        walk.members(|walk, name| {
            let mut path = path;
            match (path.get_mut(depth), name.plain()) {
                (Some(place), Some(name)) if !name.is_empty() => *place = name,
                _ => return walk.value().map(drop),
            }
            let leaf = match walk.start() {
                Start::Object => return self.read(walk, path, depth + 1),
                Start::Number => number(walk.value()?)?,
                Start::Flag => Leaf::Flag(walk.value()? == "true"),
                Start::Text => match walk.string()?.plain() {
                    Some(text) => Leaf::Text(text),
                    // A text with escapes: no count.
                    None => return Ok(()),
                },
                Start::Array | Start::Null => return walk.value().map(drop),
            };
            let length = path
                .iter()
                .map(|name| name.len() + usize::from(!name.is_empty()));
            let length = length.sum();
            self.0.push(Entry { path, length, leaf });
            Ok(())
        })
    }

    /// The count at `/a/b`. A float is cut to its whole part, below zero is zero.
    pub fn at(&self, path: &str) -> Option<Tokens> {
        let count = match self.leaf(path)? {
            Leaf::Whole(n) => n,
            // A cast of a float saturates.
            Leaf::Signed(n) => n as f64 as u64,
            Leaf::Float(n) => n as u64,
            Leaf::Text(_) | Leaf::Flag(_) => return None,
        };
        Some(Tokens(count))
    }

    pub fn first(&self, paths: &[&str]) -> Option<Tokens> {
        paths.iter().find_map(|path| self.at(path))
    }

    pub fn whole(&self, path: &str) -> Option<i64> {
        match self.leaf(path)? {
            Leaf::Whole(n) => i64::try_from(n).ok(),
            Leaf::Signed(n) => Some(n),
            Leaf::Float(_) | Leaf::Text(_) | Leaf::Flag(_) => None,
        }
    }

    pub fn number(&self, path: &str) -> Option<f64> {
        match self.leaf(path)? {
            Leaf::Whole(n) => Some(n as f64),
            Leaf::Signed(n) => Some(n as f64),
            Leaf::Float(n) => Some(n),
            Leaf::Text(_) | Leaf::Flag(_) => None,
        }
    }

    pub fn text(&self, path: &str) -> Option<&'a str> {
        match self.leaf(path)? {
            Leaf::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn flag(&self, path: &str) -> Option<bool> {
        match self.leaf(path)? {
            Leaf::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// Of a name that stands twice the last counts, as with most readers of JSON.
    fn leaf(&self, path: &str) -> Option<Leaf<'a>> {
        let of_length = self.0.iter().rev().filter(|e| e.length == path.len());
        let mut found = of_length.filter(|e| is_at(&e.path, path));
        found.next().map(|e| e.leaf)
    }
}

/// Whether `path` (`/a/b`) names this place.
fn is_at(place: &Path<'_>, path: &str) -> bool {
    let mut rest = path;
    for name in place.iter().take_while(|name| !name.is_empty()) {
        let Some(after) = rest.strip_prefix('/').and_then(|r| r.strip_prefix(name)) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

/// A number as serde_json reads it: whole if it is written so and fits.
fn number(text: &str) -> Result<Leaf<'static>, Broken> {
    if let Ok(whole) = text.parse() {
        return Ok(Leaf::Whole(whole));
    }
    if let Ok(signed) = text.parse() {
        return Ok(Leaf::Signed(signed));
    }
    let float = text.parse().ok().filter(|float: &f64| float.is_finite());
    float.map(Leaf::Float).ok_or(Broken::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_leaf_is_found_at_its_path() {
        let counts = Counts::of(
            r#" {"a":3,"b":{"c":{"d":{"e":4,"f":{"g":5}}}},"n":-2,"x":1.9,"t":"flex","own":true,"z":null,"l":[{"a":9}],"":7,"a\u0062":8}"#,
        )
        .expect("an object");
        assert_eq!(counts.at("/a"), Some(Tokens(3)));
        assert_eq!(counts.at("/b/c/d/e"), Some(Tokens(4)));
        // Deeper than any provider's.
        assert_eq!(counts.at("/b/c/d/f/g"), None);
        assert_eq!(
            (counts.at("/n"), counts.whole("/n")),
            (Some(Tokens(0)), Some(-2))
        );
        assert_eq!(
            (counts.at("/x"), counts.number("/x")),
            (Some(Tokens(1)), Some(1.9))
        );
        assert_eq!(
            (counts.text("/t"), counts.flag("/own")),
            (Some("flex"), Some(true))
        );
        for none in ["/z", "/l", "/l/a", "/b", "/b/c", "/c", "/t/a", "", "/"] {
            assert_eq!(counts.at(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_object_counts_nothing_and_of_two_the_last_counts() {
        for text in ["", "[]", "3", "null", "{", r#"{"a":1}x"#, r#"{"a":}"#] {
            assert!(Counts::of(text).is_none(), "{text}");
        }
        let twice = Counts::of(r#"{"a":1,"a":2}"#).expect("an object");
        assert_eq!(twice.at("/a"), Some(Tokens(2)));
    }
}
