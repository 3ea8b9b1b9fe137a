//! Items and their parts while they grow, and as JSON.

use crate::base::{Json, Str};
use crate::canon::Citation;
use crate::protocol::json;
use bytes::BytesMut;
use serde_json::{Map, Value};

#[derive(Debug)]
pub(super) struct Message {
    pub(super) output: usize,
    pub(super) id: String,
    /// What its parts add up to, comma-separated.
    pub(super) parts: BytesMut,
    pub(super) count: u32,
    pub(super) open_parts: u32,
    pub(super) phase: Option<Json>,
    /// Another item began: no further part joins.
    pub(super) closing: bool,
}

/// A block as far as it has come.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) base64: String,
    pub(super) signature: String,
    pub(super) annotations: BytesMut,
    pub(super) annotation_count: u32,
    /// Citations that say what they stand behind once all text is known.
    pub(super) cited: Vec<Citation>,
    pub(super) logprobs: BytesMut,
    /// Of a text: its message and its place there, once it was begun.
    pub(super) place: Option<(usize, u32)>,
    /// What only this dialect says of an image.
    pub(super) more: Map<String, Value>,
    pub(super) phase: Option<Json>,
    pub(super) stopped: bool,
}

#[derive(Clone, Debug, PartialEq)]
/// What an item or part of one is made of.
pub(super) enum Kind {
    Text,
    Refusal,
    Audio,
    Thinking {
        output: usize,
    },
    Redacted {
        output: usize,
        data: Str,
    },
    Call {
        output: usize,
        id: Str,
        name: Str,
        custom: bool,
    },
    Image {
        output: usize,
        media_type: Option<Str>,
        url: Option<Str>,
    },
    Whole {
        output: usize,
        json: Json,
    },
    /// A tool that the provider ran: which of the encoder's runs.
    Hosted {
        at: usize,
    },
    /// Said by nothing in this dialect.
    Mute,
}

impl Block {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            text: String::new(),
            base64: String::new(),
            signature: String::new(),
            annotations: BytesMut::new(),
            annotation_count: 0,
            cited: Vec::new(),
            logprobs: BytesMut::new(),
            place: None,
            more: Map::new(),
            phase: None,
            stopped: false,
        }
    }
}

impl Message {
    pub(super) fn item(&self, status: &str) -> BytesMut {
        let mut item = BytesMut::from("{");
        json::field("id", &self.id, &mut item);
        json::field("type", "message", &mut item);
        json::field("status", status, &mut item);
        json::field("role", "assistant", &mut item);
        if let Some(phase) = &self.phase {
            raw("phase", phase.get().as_bytes(), &mut item);
        }
        json::key("content", &mut item);
        item.extend_from_slice(b"[");
        item.extend_from_slice(&self.parts);
        item.extend_from_slice(b"]}");
        item
    }
}

impl Block {
    /// A part of a message, whole.
    pub(super) fn part(&self) -> BytesMut {
        let mut part = BytesMut::from("{");
        match self.kind {
            Kind::Refusal => {
                json::field("type", "refusal", &mut part);
                json::field("refusal", &self.text, &mut part);
            }
            Kind::Audio => {
                json::field("type", "output_audio", &mut part);
                json::field("data", &self.base64, &mut part);
                json::field("transcript", &self.text, &mut part);
            }
            _ => {
                json::field("type", "output_text", &mut part);
                json::field("text", &self.text, &mut part);
                for (name, entries) in [
                    ("annotations", &self.annotations),
                    ("logprobs", &self.logprobs),
                ] {
                    json::key(name, &mut part);
                    part.extend_from_slice(b"[");
                    part.extend_from_slice(entries);
                    part.extend_from_slice(b"]");
                }
            }
        }
        part.extend_from_slice(b"}");
        part
    }
}

/// What only this dialect says of a block.
pub(super) fn own(block: &mut Block, json: &Json) {
    let Some(Value::Object(mut members)) = json.read() else {
        return;
    };
    match members.get("type").and_then(Value::as_str) {
        Some("phase") => block.phase = members.remove("phase").map(|p| Json::of(&p)),
        Some("logprobs") => {
            for entry in members
                .get("logprobs")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                list(&mut block.logprobs, entry.to_string().as_bytes());
            }
        }
        _ => block.more.extend(members),
    }
}

pub(super) fn call_item(
    item_id: &str,
    id: &str,
    name: &str,
    custom: bool,
    input: &str,
    status: &str,
    signature: &str,
) -> BytesMut {
    let (kind, field) = if custom {
        ("custom_tool_call", "input")
    } else {
        ("function_call", "arguments")
    };
    let mut item = BytesMut::from("{");
    json::field("id", item_id, &mut item);
    json::field("type", kind, &mut item);
    json::field("status", status, &mut item);
    json::field("call_id", id, &mut item);
    json::field("name", name, &mut item);
    json::field(field, input, &mut item);
    if !signature.is_empty() {
        // Google's place for it in OpenAI's grammar (Gemini docs, OpenAI compatibility, read 2026-08).
        item.extend_from_slice(b",\"extra_content\":{\"google\":{");
        json::field("thought_signature", signature, &mut item);
        item.extend_from_slice(b"}}");
    }
    item.extend_from_slice(b"}");
    item
}

pub(super) fn raw(name: &str, value: &[u8], out: &mut BytesMut) {
    json::key(name, out);
    out.extend_from_slice(value);
}

pub(super) fn number(name: &str, n: u64, out: &mut BytesMut) {
    json::key(name, out);
    json::integer(n, out);
}

pub(super) fn number_signed(name: &str, n: i64, out: &mut BytesMut) {
    json::key(name, out);
    json::integer(n, out);
}

pub(super) fn item_place(id: &str, output: usize, out: &mut BytesMut) {
    json::field("item_id", id, out);
    number("output_index", output as u64, out);
}

pub(super) fn place(id: &str, output: usize, index: &str, n: u32, out: &mut BytesMut) {
    item_place(id, output, out);
    number(index, u64::from(n), out);
}

/// Appends to a list without its brackets.
pub(super) fn list(to: &mut BytesMut, entry: &[u8]) {
    if !to.is_empty() {
        to.extend_from_slice(b",");
    }
    to.extend_from_slice(entry);
}
