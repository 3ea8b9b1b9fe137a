//! One JSON value of a client's body and the way to it, so that a refusal can say where.
//!
//! Names of fields are told apart by their camelCase spelling alone: Google's parser takes both (ProtoJSON, "field names", read 2026-08).
//! Objects are read one level at a time, so how deep we recurse is the API's choice and not the client's.

use crate::base::{Json, Str, slice_of};
use crate::canon::Fault;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A value within the body. Cheap to copy.
#[derive(Clone, Copy)]
pub(super) struct Node<'a, 'p> {
    body: &'a Str,
    raw: &'a RawValue,
    step: Step<'p>,
    parent: Option<&'p Node<'a, 'p>>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Field(&'p str),
    Index(usize),
}

/// The members of an object that are not null, in order, each name once: the last one counts.
pub(super) struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

/// A string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Maps;
        impl<'de> Visitor<'de> for Maps {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), raw)) = map.next_entry::<Text<'_>, &RawValue>()? {
                    members.push((camel(name), raw));
                }
                Ok(Members(once(members)))
            }
        }
        from.deserialize_map(Maps)
    }
}

/// Without nulls, which mean "not said", and without what a later member of the same name replaces.
fn once<'a>(members: Vec<(Cow<'a, str>, &'a RawValue)>) -> Vec<(Cow<'a, str>, &'a RawValue)> {
    let mut seen = BTreeSet::new();
    let last: Vec<bool> = members
        .iter()
        .rev()
        .map(|(name, raw)| seen.insert(&**name) && raw.get() != "null")
        .collect();
    drop(seen);
    let mut last = last.into_iter().rev();
    let mut members = members;
    members.retain(|_| last.next().unwrap_or(false));
    members
}

/// `max_output_tokens` → `maxOutputTokens`.
pub(super) fn camel(name: Cow<'_, str>) -> Cow<'_, str> {
    if !name.contains('_') {
        return name;
    }
    let mut out = String::with_capacity(name.len());
    let mut raise = false;
    for c in name.chars() {
        match c {
            '_' => raise = true,
            c if raise => {
                out.extend(c.to_uppercase());
                raise = false;
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

impl<'a> Members<'a> {
    pub(super) fn get<'p>(&self, parent: &'p Node<'a, 'p>, name: &'p str) -> Option<Node<'a, 'p>> {
        let (_, raw) = self.0.iter().find(|(n, _)| n == name)?;
        Some(parent.field(name, raw))
    }

    /// As `get`, but its absence is a fault.
    pub(super) fn need<'p>(
        &self,
        parent: &'p Node<'a, 'p>,
        name: &'p str,
    ) -> Result<Node<'a, 'p>, Fault> {
        self.get(parent, name).ok_or_else(|| {
            let place = parent.path();
            let dot = if place.is_empty() { "" } else { "." };
            Fault::invalid(
                format!("{place}{dot}{name}"),
                format!("`{name}` is missing"),
            )
            .with_code("missing_required_parameter")
        })
    }

    /// Whether there is a member beside those named.
    pub(super) fn more_than(&self, known: &[&str]) -> bool {
        self.0.iter().any(|(n, _)| !known.contains(&&**n))
    }

    /// The string under `name`, if it is there.
    pub(super) fn string(&self, parent: &Node<'a, '_>, name: &str) -> Result<Option<Str>, Fault> {
        self.get(parent, name).map(|n| n.string()).transpose()
    }

    pub(super) fn flag(&self, parent: &Node<'a, '_>, name: &str) -> Result<Option<bool>, Fault> {
        self.get(parent, name)
            .map(|n| n.value("a boolean"))
            .transpose()
    }
}

impl<'a, 'p> Node<'a, 'p> {
    pub(super) fn root(body: &'a Str, raw: &'a RawValue) -> Self {
        Self {
            body,
            raw,
            step: Step::Root,
            parent: None,
        }
    }

    pub(super) fn field<'q>(&'q self, name: &'q str, raw: &'a RawValue) -> Node<'a, 'q>
    where
        'p: 'q,
    {
        Node {
            body: self.body,
            raw,
            step: Step::Field(name),
            parent: Some(self),
        }
    }

    pub(super) fn item<'q>(&'q self, index: usize, raw: &'a RawValue) -> Node<'a, 'q>
    where
        'p: 'q,
    {
        Node {
            body: self.body,
            raw,
            step: Step::Index(index),
            parent: Some(self),
        }
    }

    /// `contents[2].parts[0].inlineData`
    pub(super) fn path(&self) -> String {
        let mut path = self.parent.map(Node::path).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Field(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
        path
    }

    /// The value is wrong; `wanted` says what would be right.
    pub(super) fn wrong(&self, wanted: &str) -> Fault {
        let got = match self.raw.get().as_bytes().first() {
            Some(b'"') => "a string that is not",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        };
        Fault::invalid(self.path(), format!("expected {wanted}, got {got}"))
            .with_code("invalid_value")
    }

    pub(super) fn is_object(&self) -> bool {
        self.raw.get().starts_with('{')
    }

    pub(super) fn string(&self) -> Result<Str, Fault> {
        let Text(text) =
            serde_json::from_str(self.raw.get()).map_err(|_| self.wrong("a string"))?;
        Ok(slice_of(self.body, &text))
    }

    pub(super) fn value<T: Deserialize<'a>>(&self, wanted: &str) -> Result<T, Fault> {
        serde_json::from_str(self.raw.get()).map_err(|_| self.wrong(wanted))
    }

    /// A whole number, which ProtoJSON also writes as a string, and some clients with `.0`.
    pub(super) fn whole<T: TryFrom<i64>>(&self) -> Result<T, Fault> {
        let text = self.raw.get().trim_matches('"');
        let exact = text.parse::<i64>().ok();
        let float = || {
            let n = text.parse::<f64>().ok()?;
            // 2⁵³: beyond it a float is not a count.
            (n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0).then_some(n as i64)
        };
        exact
            .or_else(float)
            .and_then(|n| T::try_from(n).ok())
            .ok_or_else(|| self.wrong("a whole number"))
    }

    pub(super) fn members(&self) -> Result<Members<'a>, Fault> {
        self.value("an object")
    }

    /// The elements of an array; an object alone is its own only element, as in many of Google's examples.
    pub(super) fn items(&self) -> Result<Vec<&'a RawValue>, Fault> {
        if self.is_object() {
            return Ok(vec![self.raw]);
        }
        self.value("an array")
    }

    /// Strings of an array.
    pub(super) fn strings(&self) -> Result<Vec<Str>, Fault> {
        let items: Vec<&RawValue> = self.value("an array of strings")?;
        let each = items.iter().enumerate();
        each.map(|(i, raw)| self.item(i, raw).string()).collect()
    }

    /// The value as it was written.
    pub(super) fn json(&self) -> Json {
        Json::within(self.body, self.raw)
    }

    pub(super) fn raw(&self) -> &'a RawValue {
        self.raw
    }
}
