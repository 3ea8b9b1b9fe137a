//! One JSON value of a client's body and the path to it, so that every refusal can say where.
//!
//! Objects are read one level at a time, so the depth of what we recurse into is fixed by the API, not by the client.

use crate::base::{Json, Str, slice_of};
use crate::canon::Fault;
use crate::protocol::dialect::chat::schema::Text;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A value within the body. Cheap to copy.
#[derive(Clone, Copy)]
pub(in crate::protocol::dialect) struct Node<'a, 'p> {
    pub body: &'a Str,
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

/// The members of an object, in order; a name that comes twice means its last value.
pub(in crate::protocol::dialect) struct Members<'a>(pub Vec<(Text<'a>, &'a RawValue)>);

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
                while let Some(entry) = map.next_entry()? {
                    members.push(entry);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Maps)
    }
}

impl<'a> Members<'a> {
    /// The value under `name`, if it is there and not null: the official clients send null for "not said".
    pub(in crate::protocol::dialect) fn get<'p>(
        &self,
        parent: &'p Node<'a, 'p>,
        name: &'p str,
    ) -> Option<Node<'a, 'p>> {
        let (_, raw) = self.0.iter().rev().find(|(n, _)| n.0 == name)?;
        parent.field(name, raw)
    }

    /// As `get`, but its absence is a fault.
    pub(in crate::protocol::dialect) fn need<'p>(
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
}

impl<'a, 'p> Node<'a, 'p> {
    pub(in crate::protocol::dialect) fn root(body: &'a Str, raw: &'a RawValue) -> Self {
        Self {
            body,
            raw,
            step: Step::Root,
            parent: None,
        }
    }

    /// `None` for null.
    pub(in crate::protocol::dialect) fn field<'q>(
        &'q self,
        name: &'q str,
        raw: &'a RawValue,
    ) -> Option<Node<'a, 'q>>
    where
        'p: 'q,
    {
        (raw.get() != "null").then_some(Node {
            body: self.body,
            raw,
            step: Step::Field(name),
            parent: Some(self),
        })
    }

    pub(in crate::protocol::dialect) fn item<'q>(
        &'q self,
        index: usize,
        raw: &'a RawValue,
    ) -> Node<'a, 'q>
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

    /// `messages[2].content[0].image_url.url`
    pub(in crate::protocol::dialect) fn path(&self) -> String {
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
    pub(in crate::protocol::dialect) fn wrong(&self, wanted: &str) -> Fault {
        Fault::invalid(
            self.path(),
            format!("expected {wanted}, got {}", self.described()),
        )
        .with_code("invalid_value")
    }

    fn described(&self) -> &'static str {
        match self.raw.get().as_bytes().first() {
            Some(b'"') => "a string that is not",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    pub(in crate::protocol::dialect) fn is_string(&self) -> bool {
        self.raw.get().starts_with('"')
    }

    pub(in crate::protocol::dialect) fn is_array(&self) -> bool {
        self.raw.get().starts_with('[')
    }

    pub(in crate::protocol::dialect) fn is_object(&self) -> bool {
        self.raw.get().starts_with('{')
    }

    pub(in crate::protocol::dialect) fn string(&self) -> Result<Str, Fault> {
        let Text(text) =
            serde_json::from_str(self.raw.get()).map_err(|_| self.wrong("a string"))?;
        Ok(slice_of(self.body, &text))
    }

    pub(in crate::protocol::dialect) fn value<T: Deserialize<'a>>(
        &self,
        wanted: &str,
    ) -> Result<T, Fault> {
        serde_json::from_str(self.raw.get()).map_err(|_| self.wrong(wanted))
    }

    pub(in crate::protocol::dialect) fn members(&self) -> Result<Members<'a>, Fault> {
        self.value("an object")
    }

    pub(in crate::protocol::dialect) fn items(&self) -> Result<Vec<&'a RawValue>, Fault> {
        self.value("an array")
    }

    /// The value as it was written.
    pub(in crate::protocol::dialect) fn json(&self) -> Json {
        Json::within(self.body, self.raw)
    }
}
