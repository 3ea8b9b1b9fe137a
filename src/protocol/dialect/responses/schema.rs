//! Answers of Responses as JSON (OpenAI API reference, read 2026-08; speakers' departures as noted).
//!
//! Only the outline is typed: nearly every field stays a raw value, since speakers of this dialect put null or numbers where OpenAI has
//! a string, and a field that nobody needs must not break a stream.

use crate::base::{Json, Str};
use crate::canon::{Citation, DialectName};
use crate::protocol::dialect::chat::schema::some_text;
use crate::protocol::json;
use bytes::BytesMut;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Any event of a stream; which fields it has follows from its type.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct StreamEvent<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Option<&'a RawValue>,
    #[serde(borrow)]
    pub response: Option<&'a RawValue>,
    #[serde(borrow)]
    pub item: Option<&'a RawValue>,
    #[serde(borrow)]
    pub item_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub output_index: Option<&'a RawValue>,
    #[serde(borrow)]
    pub content_index: Option<&'a RawValue>,
    #[serde(borrow)]
    pub summary_index: Option<&'a RawValue>,
    #[serde(borrow)]
    pub part: Option<&'a RawValue>,
    #[serde(borrow)]
    pub delta: Option<&'a RawValue>,
    #[serde(borrow)]
    pub text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    pub arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    pub input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub annotation: Option<&'a RawValue>,
    #[serde(borrow)]
    pub logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
}

/// `response` of a lifecycle event, and a whole body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct Response<'a> {
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub object: Option<&'a RawValue>,
    #[serde(borrow)]
    pub model: Option<&'a RawValue>,
    /// A whole number; some speakers send a fraction.
    #[serde(borrow)]
    pub created_at: Option<&'a RawValue>,
    #[serde(borrow)]
    pub status: Option<&'a RawValue>,
    #[serde(borrow)]
    pub output: Option<&'a RawValue>,
    #[serde(borrow)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow)]
    pub tool_usage: Option<&'a RawValue>,
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub incomplete_details: Option<&'a RawValue>,
    #[serde(borrow)]
    pub service_tier: Option<&'a RawValue>,
}

impl<'a> Response<'a> {
    /// The items that it says were put out; none where that is no list.
    pub fn items(&self) -> Vec<&'a RawValue> {
        let read = |raw: &'a RawValue| serde_json::from_str(raw.get()).ok();
        self.output.and_then(read).unwrap_or_default()
    }
}

/// An item of the output.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct Item<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Option<&'a RawValue>,
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub name: Option<&'a RawValue>,
    /// A string of JSON; some speakers send the object itself.
    #[serde(borrow)]
    pub arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    pub input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub phase: Option<&'a RawValue>,
    #[serde(borrow)]
    pub result: Option<&'a RawValue>,
    #[serde(borrow)]
    pub output_format: Option<&'a RawValue>,
    #[serde(borrow)]
    pub extra_content: Option<&'a RawValue>,
}

impl<'a> Item<'a> {
    /// Its parts; none where that is no list.
    pub fn parts(&self) -> Vec<Part<'a>> {
        let read = |raw: &'a RawValue| serde_json::from_str(raw.get()).ok();
        self.content.and_then(read).unwrap_or_default()
    }
}

/// A part of a message's content.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol::dialect) struct Part<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Option<&'a RawValue>,
    #[serde(borrow)]
    pub text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    pub annotations: Option<&'a RawValue>,
    #[serde(borrow)]
    pub logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub transcript: Option<&'a RawValue>,
}

/// A whole number that may be there.
pub(in crate::protocol::dialect) fn number(raw: Option<&RawValue>) -> Option<u64> {
    raw?.get().parse().ok()
}

/// The type of an event, item or part; empty for what has none.
pub(in crate::protocol::dialect) fn word(body: &Str, raw: Option<&RawValue>) -> Str {
    some_text(body, raw).unwrap_or_default()
}

/// An annotation, with the words that citations share lifted.
pub(in crate::protocol::dialect) fn citation(body: &Str, raw: &RawValue) -> Citation {
    let value: Value = serde_json::from_str(raw.get()).unwrap_or_default();
    let of = |name: &str| Some(Str::from(value.get(name)?.as_str()?));
    Citation {
        dialect: DialectName::Responses,
        json: Json::within(body, raw),
        url: of("url"),
        title: of("title").or_else(|| of("filename")),
        cited_text: of("quote"),
    }
}

/// Appends one annotation; false, and nothing, where there is no URL to cite. Characters count from the beginning of the part.
pub(in crate::protocol::dialect) fn annotation(
    citation: &Citation,
    starts_at: u64,
    ends_at: u64,
    out: &mut BytesMut,
) -> bool {
    if citation.dialect == DialectName::Responses {
        json::comma(out);
        out.extend_from_slice(citation.json.get().as_bytes());
        return true;
    }
    let Some(url) = &citation.url else {
        return false;
    };
    json::comma(out);
    out.extend_from_slice(b"{");
    json::field("type", "url_citation", out);
    for (name, place) in [("start_index", starts_at), ("end_index", ends_at)] {
        json::key(name, out);
        json::integer(place, out);
    }
    json::field("title", citation.title.as_deref().unwrap_or(url), out);
    json::field("url", url, out);
    out.extend_from_slice(b"}");
    true
}

/// Where in `text` stands what a citation is about, in characters from its beginning: all of it where the citation does not say.
pub(in crate::protocol::dialect) fn span(citation: &Citation, text: &str) -> (u64, u64) {
    let value: Value = citation.json.read().unwrap_or_default();
    let whole = text.chars().count() as u64;
    let said = match citation.dialect {
        // Chat's annotations count in characters as well (OpenAI API reference, `url_citation`, read 2026-11).
        DialectName::Chat => {
            let at = value.get("url_citation").unwrap_or(&value);
            let (start, end) = (at["start_index"].as_u64(), at["end_index"].as_u64());
            start.zip(end)
        }
        // Google counts bytes of UTF-8, and leaves out a zero (Gemini API reference, `Segment`, read 2026-11).
        DialectName::Gemini => {
            let segment = &value["segment"];
            let of = |name: &str| segment[name].as_u64().unwrap_or(0) as usize;
            let characters = |to: usize| Some(text.get(..to)?.chars().count() as u64);
            characters(of("startIndex")).zip(characters(of("endIndex")))
        }
        _ => None,
    };
    said.filter(|(start, end)| start < end && *end <= whole)
        .unwrap_or((0, whole))
}

/// Appends the citation of a document that was given by the id of a file (Anthropic docs, citations, read 2026-11). False, and nothing, for any
/// other.
pub(in crate::protocol::dialect) fn file_citation(
    citation: &Citation,
    index: u64,
    out: &mut BytesMut,
) -> bool {
    let value: Value = citation.json.read().unwrap_or_default();
    let Some(id) = value["file_id"].as_str().filter(|id| !id.is_empty()) else {
        return false;
    };
    out.extend_from_slice(b"{");
    json::field("type", "file_citation", out);
    json::field("file_id", id, out);
    let name = value["document_title"]
        .as_str()
        .or(citation.title.as_deref());
    json::field("filename", name.unwrap_or(id), out);
    json::key("index", out);
    json::integer(index, out);
    out.extend_from_slice(b"}");
    true
}
