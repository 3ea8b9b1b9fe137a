//! How the native dialect's JSON is read: an object's fields are taken one by one, each by its name and type, and what is left is unknown.
//!
//! No derived schema types here: a client must be told which field is wrong, by its whole path and without a quote of its value, and
//! derived readers can do neither. Names of fields and words stand once, where they are taken. Nothing is copied but strings with escapes.

use crate::base::{Json, Str, slice_of};
use crate::canon::{CacheTtl, DialectName, Fault, FaultClass, Role, ToolKind};
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The fields of one object that were not taken yet.
pub struct Fields<'a> {
    body: &'a Str,
    /// Where the object is; empty at the top.
    at: String,
    entries: Vec<Entry<'a>>,
}

type Entry<'a> = (Cow<'a, str>, &'a RawValue);

/// The body as text, or the fault of not being text.
pub fn text_of(body: &Bytes) -> Result<Str, Fault> {
    Str::try_from(body.clone())
        .map_err(|_| Fault::new(FaultClass::Invalid, "the body is not UTF-8"))
}

impl<'a> Fields<'a> {
    /// Of the object that `body` is. `Err` tells the line and column where it is not JSON.
    pub fn top(body: &'a Str) -> Result<Self, Fault> {
        let entries = serde_json::from_str::<Entries<'a>>(body).map_err(|e| {
            let message = if e.is_data() {
                "the body must be a JSON object".to_owned()
            } else {
                format!("the body is not JSON: {e}")
            };
            Fault::new(FaultClass::Invalid, message)
        })?;
        Self {
            body,
            at: String::new(),
            entries: Vec::new(),
        }
        .with(entries)
    }

    fn with(mut self, entries: Entries<'a>) -> Result<Self, Fault> {
        // More fields than any object of ours has; and looking for twins stays cheap.
        if entries.0.len() > FIELDS_MAX {
            return Err(Fault::invalid(
                self.at,
                format!("more than {FIELDS_MAX} fields"),
            ));
        }
        self.entries = entries.0;
        for (n, (name, _)) in self.entries.iter().enumerate() {
            if self.entries[..n].iter().any(|(earlier, _)| earlier == name) {
                return Err(self.fault(name, "stands twice"));
            }
        }
        Ok(self)
    }

    fn path(&self, name: &str) -> String {
        if self.at.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.at)
        }
    }

    /// A fault at the field `name` of this object.
    pub fn fault(&self, name: &str, what: &str) -> Fault {
        let path = self.path(name);
        let message = format!("{path} {what}");
        Fault::invalid(path, message)
    }

    /// The value as written; `None` when it is not there or `null`.
    pub fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.entries.iter().position(|(n, _)| n == name)?;
        let (_, raw) = self.entries.swap_remove(at);
        (raw.get() != "null").then_some(raw)
    }

    fn read<T>(
        &mut self,
        name: &str,
        what: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        match self.raw(name) {
            None => Ok(None),
            Some(raw) => read(raw.get())
                .map(Some)
                .ok_or_else(|| self.fault(name, what)),
        }
    }

    pub fn text(&mut self, name: &str) -> Result<Option<Str>, Fault> {
        let body = self.body;
        self.read(name, "must be a string", |raw| string(body, raw))
    }

    pub fn text_needed(&mut self, name: &str) -> Result<Str, Fault> {
        self.text(name)?
            .ok_or_else(|| self.fault(name, "is missing"))
    }

    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        self.read(name, "must be true or false", |raw| raw.parse().ok())
    }

    /// A whole number of whatever integer type is asked for.
    pub fn whole<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>, Fault> {
        self.read(name, "must be a whole number in range", |raw| {
            raw.parse().ok()
        })
    }

    pub fn number(&mut self, name: &str) -> Result<Option<f64>, Fault> {
        self.read(name, "must be a number", |raw| {
            serde_json::from_str(raw).ok()
        })
    }

    /// Any JSON.
    pub fn json(&mut self, name: &str) -> Option<Json> {
        let body = self.body;
        self.raw(name).map(|raw| Json::within(body, raw))
    }

    /// Any JSON, left where it is; `null` when it is not there.
    pub fn peek_json(&self, name: &str) -> Json {
        let found = self.entries.iter().find(|(n, _)| n == name);
        found.map_or_else(|| Json::of(&()), |(_, raw)| Json::within(self.body, raw))
    }

    /// All that was not taken, as written and in the order of the text, `null` too.
    pub fn rest(mut self) -> Vec<(Str, Json)> {
        self.entries
            .sort_by_key(|(_, raw)| raw.get().as_ptr() as usize);
        let body = self.body;
        let both = |(name, raw): (Cow<'a, str>, &'a RawValue)| {
            (slice_of(body, &name), Json::within(body, raw))
        };
        self.entries.into_iter().map(both).collect()
    }

    /// Any JSON, `null` too.
    pub fn json_said(&mut self, name: &str) -> Option<Json> {
        let at = self.entries.iter().position(|(n, _)| n == name)?;
        let (_, raw) = self.entries.swap_remove(at);
        Some(Json::within(self.body, raw))
    }

    /// Any JSON, `null` too.
    pub fn json_needed(&mut self, name: &str) -> Result<Json, Fault> {
        self.json_said(name)
            .ok_or_else(|| self.fault(name, "is missing"))
    }

    pub fn json_object(&mut self, name: &str) -> Result<Option<Json>, Fault> {
        let json = self.json(name);
        if json.as_ref().is_some_and(|j| !j.get().starts_with('{')) {
            return Err(self.fault(name, "must be an object"));
        }
        Ok(json)
    }

    pub fn object(&mut self, name: &str) -> Result<Option<Self>, Fault> {
        let entries = self.read(name, "must be an object", |raw| {
            serde_json::from_str::<Entries<'a>>(raw).ok()
        })?;
        entries
            .map(|e| {
                Self {
                    body: self.body,
                    at: self.path(name),
                    entries: Vec::new(),
                }
                .with(e)
            })
            .transpose()
    }

    pub fn objects(&mut self, name: &str) -> Result<Option<Vec<Self>>, Fault> {
        let list = self.read(name, "must be an array of objects", |raw| {
            serde_json::from_str::<Vec<Entries<'a>>>(raw).ok()
        })?;
        let Some(list) = list else {
            return Ok(None);
        };
        let path = self.path(name);
        list.into_iter()
            .enumerate()
            .map(|(n, e)| {
                Self {
                    body: self.body,
                    at: format!("{path}[{n}]"),
                    entries: Vec::new(),
                }
                .with(e)
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
    }

    /// A string, or else an array of objects.
    pub fn text_or_objects(&mut self, name: &str) -> Result<Option<TextOr<'a>>, Fault> {
        if !self.starts(name, '"') {
            return self
                .objects(name)
                .map(|list| list.map(TextOr::Objects))
                .map_err(|mut fault| {
                    if fault.message.ends_with("an array of objects") {
                        fault.message = fault.message.replace("an array", "a string or an array");
                    }
                    fault
                });
        }
        Ok(self.text(name)?.map(TextOr::Text))
    }

    /// Whether the value of `name` is there and begins so: with `"` a string, with `{` an object.
    pub fn starts(&self, name: &str, with: char) -> bool {
        self.entries
            .iter()
            .any(|(n, raw)| n == name && raw.get().starts_with(with))
    }

    /// An array of strings; empty when not there.
    pub fn texts(&mut self, name: &str) -> Result<Vec<Str>, Fault> {
        let body = self.body;
        let list = self.read(name, "must be an array of strings", |raw| {
            let list: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            list.into_iter()
                .map(|item| string(body, item.get()))
                .collect::<Option<Vec<_>>>()
        })?;
        Ok(list.unwrap_or_default())
    }

    /// One of a closed set of words.
    pub fn word<T: Clone>(&mut self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Fault> {
        let Some(said) = self.text(name)? else {
            return Ok(None);
        };
        match words.iter().find(|(word, _)| said == *word) {
            Some((_, meaning)) => Ok(Some(meaning.clone())),
            None => {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                Err(self.fault(name, &format!("must be one of: {}", known.join(", "))))
            }
        }
    }

    /// `Err` names a field that nobody took.
    pub fn end(self) -> Result<(), Fault> {
        match self.entries.first() {
            None => Ok(()),
            Some((name, _)) => {
                let path = self.path(name);
                let message = format!("unknown field {path}");
                Err(Fault::invalid(path, message))
            }
        }
    }
}

const FIELDS_MAX: usize = 64;

/// What `Fields::text_or_objects` found.
pub enum TextOr<'a> {
    Text(Str),
    Objects(Vec<Fields<'a>>),
}

fn string(body: &Str, raw: &str) -> Option<Str> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(raw).ok().map(Str::from);
    }
    Some(slice_of(body, inner))
}

struct Entries<'a>(Vec<Entry<'a>>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some(Key(name)) = map.next_key()? {
            entries.push((name, map.next_value()?));
        }
        Ok(Entries(entries))
    }
}

struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a field's name")
    }
    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(name)))
    }
    fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(name.to_owned())))
    }
}

pub const ROLES: &[(&str, Role)] = &[
    ("user", Role::User),
    ("assistant", Role::Assistant),
    ("system", Role::System),
];
pub const DIALECTS: &[(&str, DialectName)] = &[
    ("native", DialectName::Native),
    ("chat", DialectName::Chat),
    ("messages", DialectName::Messages),
    ("responses", DialectName::Responses),
    ("gemini", DialectName::Gemini),
    ("completions", DialectName::Completions),
    ("converse", DialectName::Converse),
];
pub const TOOL_KINDS: &[(&str, ToolKind)] = &[
    ("function", ToolKind::Function),
    ("custom", ToolKind::Custom),
    ("server", ToolKind::Server),
];
pub const TTLS: &[(&str, CacheTtl)] = &[
    ("5m", CacheTtl::Minutes5),
    ("30m", CacheTtl::Minutes30),
    ("1h", CacheTtl::Hours1),
    ("12h", CacheTtl::Hours12),
    ("24h", CacheTtl::Hours24),
];

/// The word for `meaning`, from a table that has all meanings of its type.
pub fn word_of<T: PartialEq>(words: &[(&'static str, T)], meaning: &T) -> &'static str {
    words
        .iter()
        .find(|(_, m)| m == meaning)
        .map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_the_whole_path_and_no_value() {
        let body = Str::from(r#"{"a":[{"b":1},{"b":"secret","b":2}],"c":{"d":"secret"},"e":null}"#);
        let mut top = Fields::top(&body).expect("an object");
        assert_eq!(top.text("e"), Ok(None));
        let told = |fault: Fault| (fault.field.expect("a field"), fault.message);
        let Err(twice) = top.objects("a") else {
            panic!("twice")
        };
        assert_eq!(
            told(twice),
            ("a[1].b".to_owned(), "a[1].b stands twice".to_owned())
        );
        let mut c = top.object("c").expect("an object").expect("there");
        let wrong = c.whole::<u64>("d").expect_err("a string");
        assert_eq!(told(wrong).1, "c.d must be a whole number in range");
        let body = Str::from(r#"{"model":1,"modle":2}"#);
        let mut top = Fields::top(&body).expect("an object");
        top.raw("model");
        assert_eq!(top.end().expect_err("left").message, "unknown field modle");
    }
}
