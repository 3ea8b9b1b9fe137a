//! A whole answer as one body (section 5).

use super::decode::CALLER;
use super::encode::{call_type, caller_in, write_head};
use super::schema::{Fields, Object, stop_word};
use super::usage;
use super::write_blocks::write_input;
use crate::base::Json;
use crate::canon::{Answer, AnswerBlock, BlockStart, DialectName, StopReason, ToolKind};
use crate::protocol::dialect::{Closing, Opening};
use bytes::{Bytes, BytesMut};

/// The body of an answer that is not streamed. A tool's input is an object: a custom tool's text stands in its `input`, and what a model
/// wrote and is no object stands in its `raw`, since a client cannot be given a call that it cannot parse.
#[must_use]
pub fn write_whole(answer: &Answer, opening: &Opening, _closing: &Closing) -> Bytes {
    let mut out = BytesMut::with_capacity(1024);
    let mut object = Object::open(&mut out);
    write_head(&answer.id, opening, &mut object);
    let blocks: Vec<_> = answer.blocks.iter().filter(|b| sayable(b)).collect();
    object.array("content", &blocks, |block, out| write_block(block, out));
    let stop = answer.stops.iter().find(|(choice, ..)| *choice == 0);
    let calls = blocks.iter().any(|b| is_call(b));
    let word = match stop {
        Some((_, StopReason::EndTurn, _)) | None if calls => "tool_use",
        Some((_, reason, _)) => stop_word(reason),
        None => "end_turn",
    };
    object.text("stop_reason", word);
    let sequence = stop.and_then(|(.., sequence)| sequence.as_deref());
    object.text_or_null("stop_sequence", sequence);
    for (i, (dialect, name, choice, json)) in answer.others.iter().enumerate() {
        let later = answer.others[i + 1..].iter().any(|(.., n, _, _)| n == name);
        let ours = *dialect == DialectName::Messages && *choice == 0;
        if ours && !later {
            object.json(name, json);
        }
    }
    let mut inner = Object::open(object.value("usage"));
    usage::write(&answer.usage, &mut inner);
    inner.close();
    object.close();
    out.freeze()
}

fn sayable(block: &AnswerBlock) -> bool {
    block.choice == 0
        && match &block.start {
            BlockStart::Image { .. } | BlockStart::Video { .. } => false,
            BlockStart::Other { dialect, .. } => *dialect == DialectName::Messages,
            _ => true,
        }
}

fn is_call(block: &AnswerBlock) -> bool {
    let BlockStart::ToolCall { kind, .. } = &block.start else {
        return false;
    };
    *kind != ToolKind::Server
}

fn write_block(block: &AnswerBlock, out: &mut BytesMut) {
    if let BlockStart::Other { json, .. } = &block.start {
        write_other(json, &block.others, out);
        return;
    }
    let mut object = Object::open(out);
    match &block.start {
        BlockStart::Thinking => {
            object.text("type", "thinking");
            object.text("thinking", &block.text);
            object.text("signature", block.signature.as_deref().unwrap_or_default());
        }
        BlockStart::RedactedThinking { data } => {
            object.text("type", "redacted_thinking");
            object.text("data", data);
        }
        BlockStart::ToolCall { id, name, kind } => {
            object.text("type", call_type(kind));
            object.text("id", id);
            object.text("name", name);
            write_input(&block.text, kind, object.value("input"));
            let callers = block
                .others
                .iter()
                .filter(|(d, _)| *d == DialectName::Messages);
            if let Some(caller) = callers.filter_map(|(_, json)| caller_in(json)).next() {
                object.value(CALLER).extend_from_slice(caller.as_bytes());
            }
        }
        _ => {
            object.text("type", "text");
            object.text("text", &block.text);
            let own = |c: &&crate::canon::Citation| c.dialect == DialectName::Messages;
            if block.citations.iter().any(|c| own(&c)) {
                object.array("citations", block.citations.iter().filter(own), |c, out| {
                    out.extend_from_slice(c.json.get().as_bytes());
                });
            }
        }
    }
    object.close();
}

/// A block that canon has no word for, with its deltas worked in: a fragment of JSON becomes `input` (tools of MCP servers), any other field
/// replaces the block's (`compaction_delta.content`).
fn write_other(json: &Json, deltas: &[(DialectName, Json)], out: &mut BytesMut) {
    let Some(mut block) = Fields::of(json.get()).filter(|_| !deltas.is_empty()) else {
        out.extend_from_slice(json.get().as_bytes());
        return;
    };
    let mut input = String::new();
    let mut replaced: Vec<(String, String)> = Vec::new();
    for (_, delta) in deltas {
        let Some(mut fields) = Fields::of(delta.get()) else {
            continue;
        };
        fields.take("type");
        if let Some(part) = fields.text(delta.text(), "partial_json") {
            input.push_str(&part);
        }
        for (name, raw) in fields.left() {
            replaced.retain(|(n, _)| n != name);
            replaced.push((name.to_owned(), raw.get().to_owned()));
        }
    }
    if !input.is_empty() {
        let mut written = BytesMut::new();
        write_input(&input, &ToolKind::Server, &mut written);
        let text = String::from_utf8_lossy(&written).into_owned();
        replaced.push(("input".to_owned(), text));
    }
    for (name, _) in &replaced {
        block.take(name);
    }
    let mut object = Object::open(out);
    for (name, raw) in block.left() {
        object.value(name).extend_from_slice(raw.get().as_bytes());
    }
    for (name, text) in &replaced {
        object.value(name).extend_from_slice(text.as_bytes());
    }
    object.close();
}
