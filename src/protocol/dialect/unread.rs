//! Members deep in a request that its reader has no word for: what they are called, so that a translated request can say that it left them out.
//!
//! Readers keep what is unknown at the top, and blocks and tools of unknown types whole. What stands beside known members of a known item says
//! little by experience (`index` of a streamed call, notes of a client's framework), so it is not refused; but it is told. Each name once, with
//! its place and without its number. Bytes that pass keep all of it and are never looked at here. One pass over the conversation.

use crate::base::{Json, Str};
use crate::canon::{DialectName, Extra, Request};
use crate::protocol::dialect::Dropped;
use crate::protocol::dialect::messages::schema::{Fields, Text};
use bytes::Bytes;
use serde_json::value::RawValue;

/// Adds to `request`, which was read from `body`, an `Extra` for each such name.
pub(super) fn note(dialect: DialectName, body: &Bytes, request: &mut Request) {
    let Some(mut top) = std::str::from_utf8(body).ok().and_then(Fields::of) else {
        return;
    };
    let mut walk = Walk { found: Vec::new() };
    match dialect {
        DialectName::Chat => walk.chat(&mut top),
        DialectName::Responses => walk.responses(&mut top),
        DialectName::Gemini => walk.gemini(&mut top),
        // These know every member, or keep what holds one that they do not.
        DialectName::Messages
        | DialectName::Native
        | DialectName::Completions
        | DialectName::Converse => {}
    }
    let extra = |name: String| Extra {
        dialect,
        name: Str::from(name),
        value: Json::empty_object(),
    };
    request.extra.extend(walk.found.into_iter().map(extra));
}

/// Takes them out again: what is to be told.
pub(super) fn take(request: &mut Request) -> Dropped {
    let (noted, rest) = request.extra.drain(..).partition(is_noted);
    request.extra = rest;
    let noted: Vec<Extra> = noted;
    noted.into_iter().map(|e| e.name.to_string()).collect()
}

pub(super) fn is_noted(extra: &Extra) -> bool {
    extra.name.contains(IN)
}

/// Between a list and a member of its items.
const IN: &str = "[].";
/// A header is short, and a client that makes up names gets no list of them.
const FOUND_MAX: usize = 16;

struct Walk {
    found: Vec<String>,
}

impl Walk {
    fn tell(&mut self, place: &str, name: &str) {
        let whole = format!("{place}{IN}{name}");
        let short = name.len() <= 64 && name.bytes().all(|b| b.is_ascii_graphic() && b != b',');
        if short && self.found.len() < FOUND_MAX && !self.found.contains(&whole) {
            self.found.push(whole);
        }
    }

    /// What is left of `fields` that is neither known nor null.
    fn rest(&mut self, place: &str, fields: &Fields<'_>, known: &[&str]) {
        for (name, raw) in fields.left() {
            if raw.get() != "null" && !known.contains(&name) {
                self.tell(place, name);
            }
        }
    }

    fn chat(&mut self, top: &mut Fields<'_>) {
        for mut message in items(top.take("messages")) {
            for part in items(message.take("content")) {
                self.part("messages[].content", &part, CHAT_PARTS);
            }
            for mut call in items(message.take("tool_calls")) {
                let kind = call.take("type").map(RawValue::get);
                if !matches!(kind, None | Some("\"function\"" | "\"custom\"")) {
                    self.tell("messages[].tool_calls", "type");
                }
                self.rest("messages[].tool_calls", &call, CHAT_CALL);
            }
        }
        for mut tool in items(top.take("tools")) {
            match tool.take("type").map(RawValue::get) {
                Some("\"function\"") => self.rest("tools", &tool, &["function", "cache_control"]),
                Some("\"custom\"") => self.rest("tools", &tool, &["custom"]),
                // Kept whole.
                _ => {}
            }
        }
    }

    /// A part of a known type, whose members `known` lists behind it.
    fn part(&mut self, place: &str, part: &Fields<'_>, known: &[(&str, &[&str])]) {
        let Some(kind) = word(part, "type") else {
            return;
        };
        if let Some((_, known)) = known.iter().find(|(name, _)| *name == kind) {
            let marks = ["type", "prompt_cache_breakpoint", "cache_control"];
            self.rest(place, part, &[*known, &marks].concat());
        }
    }

    fn responses(&mut self, top: &mut Fields<'_>) {
        for mut item in items(top.take("input")) {
            let kind = word(&item, "type").unwrap_or_else(|| "message".to_owned());
            let known = RESPONSES_ITEMS.iter().find(|(name, _)| *name == kind);
            // With a namespace or a caller of its own, a call is kept whole.
            let whole = ["namespace", "caller"].iter().any(|name| has(&item, name));
            let (Some((_, known)), false) = (known, whole) else {
                continue;
            };
            for list in ["content", "output"] {
                let place = format!("input[].{list}");
                for part in items(item.take(list)) {
                    self.part(&place, &part, RESPONSES_PARTS);
                }
            }
            self.rest("input", &item, known);
        }
    }

    fn gemini(&mut self, top: &mut Fields<'_>) {
        for content in items(top.take("contents")) {
            self.rest("contents", &content, &["role", "parts"]);
        }
    }
}

const CHAT_CALL: &[&str] = &["id", "function", "custom", "extra_content", "index"];

/// OpenAI API reference, Chat Completions, read 2026-08, and what own machines take beside. The names of `annotations` are echoed from answers.
const CHAT_PARTS: &[(&str, &[&str])] = &[
    ("text", &["text", "annotations"]),
    ("image_url", &["image_url"]),
    ("input_audio", &["input_audio"]),
    ("audio_url", &["audio_url"]),
    ("video_url", &["video_url"]),
    ("file", &["file"]),
    ("refusal", &["refusal"]),
];

/// OpenAI API reference, Responses, read 2026-08. Ids and states are the provider's bookkeeping.
const RESPONSES_ITEMS: &[(&str, &[&str])] = &[
    ("message", &["type", "role", "id", "status", "phase"]),
    (
        "function_call",
        &[
            "type",
            "call_id",
            "name",
            "arguments",
            "extra_content",
            "id",
            "status",
        ],
    ),
    (
        "custom_tool_call",
        &["type", "call_id", "name", "input", "id", "status"],
    ),
    ("function_call_output", &["type", "call_id", "id", "status"]),
    (
        "custom_tool_call_output",
        &["type", "call_id", "id", "status"],
    ),
];

const RESPONSES_PARTS: &[(&str, &[&str])] = &[
    ("input_text", &["text", "annotations", "logprobs"]),
    ("output_text", &["text", "annotations", "logprobs"]),
    ("text", &["text", "annotations", "logprobs"]),
    ("input_image", &["image_url", "file_id", "detail"]),
    (
        "input_file",
        &["filename", "file_id", "file_url", "file_data"],
    ),
    ("input_audio", &["input_audio", "data", "format"]),
    ("refusal", &["refusal"]),
];

/// The objects of a list; nothing for what is no list.
fn items(list: Option<&RawValue>) -> Vec<Fields<'_>> {
    let Some(list) = list.filter(|raw| raw.get().starts_with('[')) else {
        return Vec::new();
    };
    let all: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
    all.into_iter()
        .filter_map(|raw| Fields::of(raw.get()))
        .collect()
}

fn has(fields: &Fields<'_>, name: &str) -> bool {
    fields
        .left()
        .any(|(n, raw)| n == name && raw.get() != "null")
}

fn word(fields: &Fields<'_>, name: &str) -> Option<String> {
    let (_, raw) = fields.left().find(|(n, _)| *n == name)?;
    let Text(text) = serde_json::from_str(raw.get()).ok()?;
    Some(text.into_owned())
}
