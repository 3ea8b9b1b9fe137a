//! A whole answer → one GenerateContentResponse.

use super::citations::{self, Cited};
use super::encoder::tail;
use super::parts::{self, audio_type, is_of_response};
use super::{stop, usage};
use crate::base::{Json, Str};
use crate::canon::{Answer, AnswerBlock, BlockStart, DialectName, StopReason, ToolKind, Usage};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};

/// The body of an answer that is not streamed. Redacted thinking and blocks of other dialects' own have no place in it.
#[must_use]
pub fn write_whole(answer: &Answer, opening: &Opening, _closing: &Closing) -> Bytes {
    let mut out = BytesMut::from("{\"candidates\":[");
    for choice in choices(answer) {
        candidate(answer, choice, &mut out);
    }
    out.extend_from_slice(b"]");
    for (name, value) in own(answer, None) {
        member(name, value, &mut out);
    }
    if answer.usage != Usage::default() {
        json::key("usageMetadata", &mut out);
        usage::write(&answer.usage, &mut out);
    }
    out.extend_from_slice(&tail(opening));
    out.freeze()
}

/// The candidates that were answered, in order.
fn choices(answer: &Answer) -> Vec<u32> {
    let blocks = answer.blocks.iter().map(|b| b.choice);
    let stops = answer.stops.iter().map(|(choice, ..)| *choice);
    let mut choices: Vec<u32> = blocks.chain(stops).collect();
    choices.sort_unstable();
    choices.dedup();
    choices
}

/// What only Gemini says, of one candidate or of the response: the last of each name.
fn own(answer: &Answer, choice: Option<u32>) -> Vec<(&Str, &Json)> {
    let mut found: Vec<(&Str, &Json)> = Vec::new();
    for (dialect, name, of, json) in &answer.others {
        let fits = match choice {
            Some(choice) => *of == choice && !is_of_response(name),
            None => is_of_response(name),
        };
        if *dialect == DialectName::Gemini && fits {
            found.retain(|(known, _)| *known != name);
            found.push((name, json));
        }
    }
    found
}

fn member(name: &str, value: &Json, out: &mut BytesMut) {
    json::comma(out);
    json::string(name, out);
    out.extend_from_slice(b":");
    out.extend_from_slice(value.get().as_bytes());
}

fn candidate(answer: &Answer, choice: u32, out: &mut BytesMut) {
    json::comma(out);
    out.extend_from_slice(b"{\"content\":{\"parts\":[");
    let mut cited = Vec::new();
    let mut text_bytes = 0;
    for block in answer.blocks.iter().filter(|b| b.choice == choice) {
        part(block, out);
        if matches!(block.start, BlockStart::Text | BlockStart::Refusal) {
            let to = text_bytes + block.text.len() as u64;
            let foreign = block
                .citations
                .iter()
                .filter(|c| c.dialect != DialectName::Gemini);
            cited.extend(foreign.map(|citation| Cited {
                choice,
                from: text_bytes,
                to,
                citation: citation.clone(),
            }));
            text_bytes = to;
        }
    }
    out.extend_from_slice(b"],\"role\":\"model\"}");
    let stop = answer.stops.iter().find(|(c, ..)| *c == choice);
    let reason = stop.map_or(&StopReason::EndTurn, |(_, reason, _)| reason);
    json::field("finishReason", stop::word(reason), out);
    json::key("index", out);
    json::integer(choice, out);
    citations::write(&cited, choice, out);
    for (name, value) in own(answer, Some(choice)) {
        member(name, value, out);
    }
    out.extend_from_slice(b"}");
}

fn part(block: &AnswerBlock, out: &mut BytesMut) {
    let signature = block.signature.as_deref();
    let media = |kind: &Option<Str>, url: &Option<Str>, default, out: &mut BytesMut| {
        let mime = kind.as_deref().unwrap_or(default);
        match url {
            Some(url) => parts::file(mime, url, signature, out),
            None => parts::inline(mime, &block.base64, signature, out),
        }
    };
    match &block.start {
        BlockStart::Text | BlockStart::Refusal => parts::text(&block.text, false, signature, out),
        BlockStart::Thinking => parts::text(&block.text, true, signature, out),
        BlockStart::ToolCall { id, name, kind } if *kind != ToolKind::Server => {
            parts::call((id, name), kind, &block.text, signature, out);
        }
        BlockStart::Image { media_type, url } => media(media_type, url, "image/png", out),
        BlockStart::Video { media_type, url } => media(media_type, url, "video/mp4", out),
        BlockStart::Audio { format, .. } => {
            let mime = audio_type(format.as_deref());
            parts::inline(&mime, &block.base64, signature, out);
        }
        BlockStart::Other {
            dialect: DialectName::Gemini,
            json,
        } => {
            json::comma(out);
            out.extend_from_slice(json.get().as_bytes());
        }
        BlockStart::RedactedThinking { .. }
        | BlockStart::ToolCall { .. }
        | BlockStart::Other { .. } => {}
    }
}
