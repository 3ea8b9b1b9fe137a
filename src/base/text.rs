//! Text and JSON that stay slices of the bytes received.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Text as a slice of received bytes known to be UTF-8; to clone it is to count a reference.
pub type Str = bytestring::ByteString;

/// One JSON value, kept as it was written: key order, spacing and number format survive, since a prompt cache
/// matches on what they render to (`providers/anthropic.md` 7.6).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Str);

/// What was given is not one JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl Json {
    /// Checks `text` and keeps it; costs one pass.
    pub fn parse(text: Str) -> Result<Self, NotJson> {
        // A `RawValue` is bounded by serde_json's own depth limit of 128.
        serde_json::from_str::<&RawValue>(&text).map_err(|_| NotJson)?;
        Ok(Self(text.trim_json()))
    }

    /// A value that serde_json has checked, copied.
    #[must_use]
    pub fn of_raw(raw: &RawValue) -> Self {
        Self(Str::from(raw.get()))
    }

    /// A value that serde_json has checked within `body`: a slice of it when it lies there, else a copy.
    #[must_use]
    pub fn within(body: &Str, raw: &RawValue) -> Self {
        Self(slice_of(body, raw.get()))
    }

    /// A value that the caller has read as JSON within `body`: a slice of it when it lies there, else a copy.
    #[must_use]
    pub fn read_within(body: &Str, value: &str) -> Self {
        Self(slice_of(body, value))
    }

    /// Written by us from a value that always serialises.
    #[must_use]
    pub fn of(value: &impl Serialize) -> Self {
        Self(Str::from(
            serde_json::to_string(value)
                .expect("our own types have string keys and finite numbers"),
        ))
    }

    /// `{}`
    #[must_use]
    pub fn empty_object() -> Self {
        Self(Str::from_static("{}"))
    }

    /// The JSON text.
    #[must_use]
    pub fn get(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn text(&self) -> &Str {
        &self.0
    }

    /// Reads the value into a type; `None` when it is of another shape.
    #[must_use]
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_str(&self.0).ok()
    }
}

/// `part` as a slice of `whole` when it lies within it, else a copy. For `Cow`s that serde borrowed, or did not.
#[must_use]
pub fn slice_of(whole: &Str, part: &str) -> Str {
    let (start, at) = (whole.as_ptr() as usize, part.as_ptr() as usize);
    if at >= start && at + part.len() <= start + whole.len() {
        whole.slice_ref(part)
    } else {
        Str::from(part)
    }
}

trait TrimJson {
    fn trim_json(self) -> Self;
}

impl TrimJson for Str {
    fn trim_json(self) -> Self {
        let trimmed = self.trim_ascii();
        if trimmed.len() == self.len() {
            self
        } else {
            self.slice_ref(trimmed)
        }
    }
}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0)
            .map_err(serde::ser::Error::custom)?
            .serialize(to)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self::of_raw(&Box::<RawValue>::deserialize(from)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_spelling() {
        let json = Json::parse(Str::from(" {\"b\": 1.0, \"a\":[ ]} ")).expect("json");
        assert_eq!(json.get(), "{\"b\": 1.0, \"a\":[ ]}");
        assert_eq!(serde_json::to_string(&json).expect("writes"), json.get());
        assert_eq!(Json::parse(Str::from("{} {}")), Err(NotJson));
        assert_eq!(Json::parse(Str::from("")), Err(NotJson));
    }

    #[test]
    fn what_lies_within_is_a_slice() {
        let whole = Str::from("abcdef");
        assert_eq!(
            slice_of(&whole, &whole[2..4]).as_ptr(),
            whole[2..4].as_ptr()
        );
        assert_eq!(slice_of(&whole, "cd"), "cd");
    }
}
