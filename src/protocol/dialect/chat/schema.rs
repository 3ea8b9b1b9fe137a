//! Answers of Chat Completions as JSON (OpenAI API reference, read 2026-08; speakers' departures as noted).
//!
//! Only the outline of a chunk is typed: nearly every field stays a raw value, since speakers of this dialect put null, numbers or
//! lists where OpenAI has a string, and a field that nobody needs must not break a stream.

use crate::base::{Json, Str, slice_of};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// `object` of an answer of Completions, which is none of Chat's.
pub(in crate::protocol::dialect) const TEXT_COMPLETION: &str = "\"text_completion\"";

/// `chat.completion.chunk`, and `chat.completion`, whose choices have `message` for `delta`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct Chunk<'a> {
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub model: Option<&'a RawValue>,
    #[serde(borrow)]
    pub created: Option<&'a RawValue>,
    #[serde(borrow)]
    pub choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    pub usage: Option<&'a RawValue>,
    /// Groq puts usage here in streams.
    #[serde(borrow)]
    pub x_groq: Option<&'a RawValue>,
    #[serde(borrow)]
    pub service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub moderation: Option<&'a RawValue>,
    /// xAI: a list of URLs.
    #[serde(borrow)]
    pub citations: Option<&'a RawValue>,
    #[serde(borrow)]
    pub object: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct Choice<'a> {
    pub index: Option<u32>,
    #[serde(borrow)]
    pub delta: Option<Delta<'a>>,
    #[serde(borrow)]
    pub message: Option<Delta<'a>>,
    #[serde(borrow)]
    pub finish_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    pub logprobs: Option<&'a RawValue>,
    /// Moonshot puts usage here.
    #[serde(borrow)]
    pub usage: Option<&'a RawValue>,
    /// vLLM and SGLang: the stop sequence that was met, or a token's number.
    #[serde(borrow)]
    pub stop_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    pub matched_stop: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct Delta<'a> {
    /// A string; Mistral's reasoning models send a list of parts.
    #[serde(borrow)]
    pub content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub refusal: Option<&'a RawValue>,
    /// DeepSeek, SGLang, xAI, Fireworks.
    #[serde(borrow)]
    pub reasoning_content: Option<&'a RawValue>,
    /// vLLM, OpenRouter, Groq.
    #[serde(borrow)]
    pub reasoning: Option<&'a RawValue>,
    /// OpenRouter: text again, with signatures and encrypted parts.
    #[serde(borrow)]
    pub reasoning_details: Option<&'a RawValue>,
    #[serde(borrow)]
    pub tool_calls: Option<Vec<CallDelta<'a>>>,
    #[serde(borrow)]
    pub function_call: Option<FunctionDelta<'a>>,
    #[serde(borrow)]
    pub audio: Option<AudioDelta<'a>>,
    #[serde(borrow)]
    pub annotations: Option<Vec<&'a RawValue>>,
    /// OpenRouter: `[{"type":"image_url","image_url":{"url":…}}]`.
    #[serde(borrow)]
    pub images: Option<Vec<ImagePart<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct CallDelta<'a> {
    pub index: Option<u32>,
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub function: Option<FunctionDelta<'a>>,
    #[serde(borrow)]
    pub custom: Option<CustomDelta<'a>>,
    /// `function` or `custom`, in the first piece.
    #[serde(borrow, rename = "type")]
    pub kind: Option<&'a RawValue>,
    /// Google: `{"google":{"thought_signature":…}}`.
    pub extra_content: Option<ExtraContent>,
}

impl CallDelta<'_> {
    /// The kind, where it is one that came after this was written.
    pub fn new_kind(&self) -> Option<&RawValue> {
        let known = self.function.is_some() || self.custom.is_some();
        let new = |kind: &&RawValue| {
            kind.get().starts_with('"')
                && !matches!(kind.get(), "\"function\"" | "\"custom\"" | "\"\"")
        };
        self.kind.filter(|_| !known).filter(new)
    }

    /// Whether this is of a call that we can name; a piece that says nothing may be of one that we cannot.
    pub fn is_call(&self) -> bool {
        let named = self
            .id
            .is_some_and(|id| id.get().starts_with('"') && id.get() != "\"\"");
        let signed = self
            .extra_content
            .as_ref()
            .is_some_and(|e| e.google.is_some());
        self.function.is_some()
            || self.custom.is_some()
            || (named && self.new_kind().is_none())
            || signed
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct ExtraContent {
    pub google: Option<GoogleExtra>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct GoogleExtra {
    pub thought_signature: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct FunctionDelta<'a> {
    #[serde(borrow)]
    pub name: Option<&'a RawValue>,
    /// A string of JSON; some speakers send the object itself.
    #[serde(borrow)]
    pub arguments: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct CustomDelta<'a> {
    #[serde(borrow)]
    pub name: Option<&'a RawValue>,
    #[serde(borrow)]
    pub input: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct AudioDelta<'a> {
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub transcript: Option<&'a RawValue>,
    #[serde(borrow)]
    pub expires_at: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct ImagePart<'a> {
    #[serde(borrow)]
    pub image_url: Option<UrlObject<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct UrlObject<'a> {
    #[serde(borrow)]
    pub url: Option<&'a RawValue>,
}

/// One entry of `reasoning_details`, and one part of Mistral's `content`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct Detail<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Option<&'a RawValue>,
    pub index: Option<u32>,
    #[serde(borrow)]
    pub text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub summary: Option<&'a RawValue>,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub signature: Option<&'a RawValue>,
    /// Ours: how many bytes of `reasoning_content` the signature is for.
    pub text_bytes: Option<usize>,
    #[serde(borrow)]
    pub thinking: Option<Vec<Detail<'a>>>,
}

/// A string that serde borrows where nothing was escaped, also within an `Option`.
#[derive(Debug)]
pub(in crate::protocol::dialect) struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, s: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(s)))
            }
            fn visit_str<E: Error>(self, s: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(s.to_owned())))
            }
        }
        from.deserialize_str(Strings)
    }
}

/// The string that `raw` is, a slice of `body` where nothing was escaped; `None` for anything else.
pub(in crate::protocol::dialect) fn text(body: &Str, raw: Option<&RawValue>) -> Option<Str> {
    let raw = raw?.get();
    if !raw.starts_with('"') {
        return None;
    }
    let Text(cow) = serde_json::from_str(raw).ok()?;
    Some(slice_of(body, &cow))
}

/// As `text`, without those that are empty.
pub(in crate::protocol::dialect) fn some_text(body: &Str, raw: Option<&RawValue>) -> Option<Str> {
    text(body, raw).filter(|s| !s.is_empty())
}

/// The value itself, unless it is an empty list or object.
pub(in crate::protocol::dialect) fn some_json(body: &Str, raw: Option<&RawValue>) -> Option<Json> {
    raw.filter(|r| !matches!(r.get(), "null" | "[]" | "{}"))
        .map(|r| Json::within(body, r))
}
