//! How this dialect's JSON is taken apart and put together: by field, in order, each value as it was written.
//!
//! A derived schema would stop at the first surprise without a place and lose unknown fields. Here an object is a list of named raw
//! values: what is known is taken out by name, what is left over is seen by whoever took the rest, and every error has its path.
//! Each level of nesting scans its text once more; requests nest five deep.

use crate::base::{Json, Str, slice_of};
use crate::canon::{CacheMark, CacheTtl, Citation, DialectName, Effort, Fault, StopReason};
pub(in crate::protocol) use crate::protocol::json::string;
use bytes::{BufMut, BytesMut};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Where in a request something stands: `messages[2].content[0].source`. Costs nothing until it is printed.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocol) enum Path<'p> {
    Root,
    Field(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    pub(in crate::protocol) fn field(&'p self, name: &'p str) -> Path<'p> {
        Path::Field(self, name)
    }

    pub(in crate::protocol) fn index(&'p self, index: usize) -> Path<'p> {
        Path::Index(self, index)
    }

    /// The request is wrong here; `message` says what would be right.
    pub(in crate::protocol) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::invalid(self.to_string(), message)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, name) => f.write_str(name),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A string that borrows from the input where it holds no escapes; `Option<Cow<str>>` alone would always copy.
#[derive(Debug)]
pub(in crate::protocol) struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, s: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(s)))
            }
            fn visit_str<E>(self, s: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(s.to_owned())))
            }
        }
        from.deserialize_str(Borrow)
    }
}

/// The fields of one JSON object, in order, less those that were taken out.
#[derive(Debug, Default)]
pub(in crate::protocol) struct Fields<'a> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::new();
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &RawValue>()? {
                    fields.push((name, value));
                }
                Ok(Fields { fields })
            }
        }
        from.deserialize_map(Object)
    }
}

impl<'a> Fields<'a> {
    /// `None` when `json` is not an object.
    pub(in crate::protocol) fn of(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// Takes out the field `name`; of several the last, as JSON parsers do. `null` is as good as absent.
    pub(in crate::protocol) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let mut value = None;
        self.fields.retain(|(field, raw)| {
            let found = field == name;
            if found {
                value = Some(*raw);
            }
            !found
        });
        value.filter(|raw| raw.get() != "null")
    }

    /// The string `name`, taken out; `None` when it is absent or no string.
    pub(in crate::protocol) fn text(&mut self, body: &Str, name: &str) -> Option<Str> {
        self.take(name).and_then(|raw| text_of(body, raw))
    }

    /// The whole number `name`, taken out; `None` when it is absent or none.
    pub(in crate::protocol) fn count(&mut self, name: &str) -> Option<u64> {
        self.take(name)?.get().parse().ok()
    }

    /// What was not taken out, in order.
    pub(in crate::protocol) fn left(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.fields.iter().map(|(name, raw)| (&**name, *raw))
    }

    pub(in crate::protocol) fn all_taken(&self) -> bool {
        self.fields.is_empty()
    }
}

/// The string that `raw` is: a slice of `body` where it holds no escapes. `None` when it is no string.
pub(in crate::protocol) fn text_of(body: &Str, raw: &RawValue) -> Option<Str> {
    let Text(text) = serde_json::from_str(raw.get()).ok()?;
    Some(match text {
        Cow::Borrowed(part) => slice_of(body, part),
        Cow::Owned(text) => Str::from(text),
    })
}

/// The elements that `raw` is an array of.
pub(in crate::protocol) fn items_of(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// The `type` of an object that is kept whole.
pub(in crate::protocol) fn type_of(json: &Json) -> Option<Str> {
    Fields::of(json.get())?.text(json.text(), "type")
}

/// A citation object: the words that its five kinds share are lifted, the whole is kept (`providers/anthropic.md` 2.3).
pub(in crate::protocol) fn citation(body: &Str, raw: &RawValue) -> Citation {
    let mut fields = Fields::of(raw.get()).unwrap_or_default();
    Citation {
        dialect: DialectName::Messages,
        json: Json::within(body, raw),
        url: fields.text(body, "url"),
        title: fields
            .text(body, "title")
            .or_else(|| fields.text(body, "document_title")),
        cited_text: fields.text(body, "cited_text"),
    }
}

/// `None`: a word that this API does not know for a cache mark's life.
pub(in crate::protocol) fn ttl(word: &str) -> Option<CacheTtl> {
    match word {
        "5m" => Some(CacheTtl::Minutes5),
        "1h" => Some(CacheTtl::Hours1),
        _ => None,
    }
}

pub(in crate::protocol) fn effort(word: Str) -> Effort {
    match &*word {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::ExtraHigh,
        "max" => Effort::Max,
        _ => Effort::Other(word),
    }
}

/// `stop_reason`, section 5.
pub(in crate::protocol) fn stop_reason(word: Str) -> StopReason {
    match &*word {
        "end_turn" => StopReason::EndTurn,
        "max_tokens" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "tool_use" => StopReason::ToolUse,
        "pause_turn" => StopReason::Pause,
        "refusal" => StopReason::Refusal,
        "model_context_window_exceeded" => StopReason::ContextWindow,
        _ => StopReason::Other(word),
    }
}

/// The word for a stop. A filter of another provider is what this API calls a refusal; a word we do not know passes as it is, since
/// the API's contract tells clients to expect new ones.
pub(in crate::protocol) fn stop_word(reason: &StopReason) -> &str {
    match reason {
        StopReason::EndTurn => "end_turn",
        StopReason::MaxTokens => "max_tokens",
        StopReason::StopSequence => "stop_sequence",
        StopReason::ToolUse => "tool_use",
        StopReason::Pause => "pause_turn",
        StopReason::Refusal | StopReason::ContentFilter => "refusal",
        StopReason::ContextWindow => "model_context_window_exceeded",
        StopReason::Other(word) => word,
    }
}

/// An object as it is written, field by field in the order of the calls.
pub(in crate::protocol) struct Object<'o> {
    out: &'o mut BytesMut,
    first: bool,
}

impl<'o> Object<'o> {
    pub(in crate::protocol) fn open(out: &'o mut BytesMut) -> Self {
        out.extend_from_slice(b"{");
        Self { out, first: true }
    }

    /// An object of this `type`, as most are here.
    pub(in crate::protocol) fn typed(out: &'o mut BytesMut, word: &str) -> Self {
        let mut object = Self::open(out);
        object.text("type", word);
        object
    }

    /// Writes `name`; the caller appends one value.
    pub(in crate::protocol) fn value(&mut self, name: &str) -> &mut BytesMut {
        if !std::mem::take(&mut self.first) {
            self.out.extend_from_slice(b",");
        }
        string(name, self.out);
        self.out.extend_from_slice(b":");
        self.out
    }

    pub(in crate::protocol) fn text(&mut self, name: &str, text: &str) {
        string(text, self.value(name));
    }

    pub(in crate::protocol) fn text_if(&mut self, name: &str, text: Option<&Str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    pub(in crate::protocol) fn text_or_null(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.text(name, text),
            None => self.null(name),
        }
    }

    pub(in crate::protocol) fn json(&mut self, name: &str, json: &Json) {
        self.value(name).extend_from_slice(json.get().as_bytes());
    }

    pub(in crate::protocol) fn null(&mut self, name: &str) {
        self.value(name).extend_from_slice(b"null");
    }

    pub(in crate::protocol) fn count(&mut self, name: &str, count: u64) {
        let mut digits = itoa::Buffer::new();
        self.value(name)
            .extend_from_slice(digits.format(count).as_bytes());
    }

    pub(in crate::protocol) fn float(&mut self, name: &str, number: f64) {
        serde_json::to_writer(self.value(name).writer(), &number)
            .expect("a BytesMut takes all, and what is not finite is written as null");
    }

    pub(in crate::protocol) fn flag(&mut self, name: &str, flag: bool) {
        self.value(name)
            .extend_from_slice(if flag { b"true" } else { b"false" });
    }

    /// An array of what `write` appends for each item.
    pub(in crate::protocol) fn array<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(T, &mut BytesMut),
    ) {
        let out = self.value(name);
        out.extend_from_slice(b"[");
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                out.extend_from_slice(b",");
            }
            write(item, out);
        }
        out.extend_from_slice(b"]");
    }

    /// As `array`, of what can be at fault.
    pub(in crate::protocol) fn try_array<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(T, &mut BytesMut) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut result = Ok(());
        self.array(name, items, |item, out| {
            if result.is_ok() {
                result = write(item, out);
            }
        });
        result
    }

    /// `cache_control`. This API knows 5 minutes and 1 hour; 30 minutes (another API's shortest) become its shortest, longer ones its longest.
    pub(in crate::protocol) fn mark(&mut self, mark: CacheMark) {
        let mut object = Object::typed(self.value("cache_control"), "ephemeral");
        match mark.ttl {
            None => {}
            Some(CacheTtl::Minutes5 | CacheTtl::Minutes30) => object.text("ttl", "5m"),
            Some(CacheTtl::Hours1 | CacheTtl::Hours12 | CacheTtl::Hours24) => {
                object.text("ttl", "1h");
            }
        }
        object.close();
    }

    pub(in crate::protocol) fn close(self) {
        self.out.extend_from_slice(b"}");
    }
}
