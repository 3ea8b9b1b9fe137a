//! A whole answer as one body.

use super::super::formats::{IMAGES, format, stop_word};
use super::super::request::{write_cited, write_input};
use super::encoder::{sayable, write_metadata};
use crate::base::{Json, Str};
use crate::canon::{Answer, AnswerBlock, BlockStart, DialectName, StopReason, ToolKind};
use crate::protocol::dialect::messages::schema::{Fields, Object, items_of};
use crate::protocol::dialect::{Closing, Opening};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};

/// The body of an answer that is not streamed.
#[must_use]
pub fn write_whole(answer: &Answer, _opening: &Opening, closing: &Closing) -> Bytes {
    let mut out = BytesMut::with_capacity(1024);
    let mut object = Object::open(&mut out);
    let mut output = Object::open(object.value("output"));
    let mut message = Object::open(output.value("message"));
    message.text("role", "assistant");
    let told = |b: &&AnswerBlock| b.choice == 0 && sayable(&b.start);
    let blocks: Vec<&AnswerBlock> = answer.blocks.iter().filter(told).collect();
    message.array("content", &blocks, |block, out| write_block(block, out));
    message.close();
    output.close();
    object.text("stopReason", stop_of(answer, &blocks));
    let mut beside: Vec<(Str, Json)> = Vec::new();
    for (dialect, name, choice, json) in &answer.others {
        if *dialect == DialectName::Converse && *choice == 0 {
            beside.retain(|(n, _)| n != name);
            beside.push((name.clone(), json.clone()));
        }
    }
    for (name, json) in &beside {
        if name == "additionalModelResponseFields" {
            object.json(name, json);
        }
    }
    write_metadata(&answer.usage, closing, &beside, &mut object);
    object.close();
    out.freeze()
}

fn stop_of<'a>(answer: &'a Answer, blocks: &[&AnswerBlock]) -> &'a str {
    let is_call = |b: &&AnswerBlock| matches!(&b.start, BlockStart::ToolCall { kind, .. } if *kind != ToolKind::Server);
    match answer.stops.iter().find(|(choice, ..)| *choice == 0) {
        Some((_, StopReason::EndTurn, _)) | None if blocks.iter().any(is_call) => "tool_use",
        Some((_, reason, _)) => stop_word(reason),
        None => "end_turn",
    }
}

fn write_block(block: &AnswerBlock, out: &mut BytesMut) {
    if let BlockStart::Other { json, .. } = &block.start {
        return write_other(json, &block.others, out);
    }
    let mut object = Object::open(out);
    match &block.start {
        BlockStart::Thinking => {
            let mut inner = Object::open(object.value("reasoningContent"));
            let mut said = Object::open(inner.value("reasoningText"));
            said.text("text", &block.text);
            if let Some(signature) = &block.signature {
                said.text("signature", signature);
            }
            said.close();
            inner.close();
        }
        BlockStart::RedactedThinking { data } => {
            let mut inner = Object::open(object.value("reasoningContent"));
            inner.text("redactedContent", &STANDARD.encode(data.as_bytes()));
            inner.close();
        }
        BlockStart::ToolCall { id, name, kind } => {
            let mut call = Object::open(object.value("toolUse"));
            call.text("toolUseId", id);
            call.text("name", name);
            write_input(&block.text, kind, call.value("input"));
            if *kind == ToolKind::Server {
                call.text("type", "server_tool_use");
            }
            call.close();
        }
        BlockStart::Image { media_type, .. } => {
            let mut image = Object::open(object.value("image"));
            let word = media_type.as_deref().and_then(|m| format(IMAGES, m));
            image.text("format", word.unwrap_or("png"));
            let mut source = Object::open(image.value("source"));
            source.text("bytes", &block.base64);
            source.close();
            image.close();
        }
        _ => write_text(block, &mut object),
    }
    object.close();
}

fn write_text(block: &AnswerBlock, object: &mut Object<'_>) {
    let own = || {
        let citations = block.citations.iter();
        citations.filter(|c| c.dialect == DialectName::Converse)
    };
    if own().next().is_none() {
        object.text("text", &block.text);
        return;
    }
    let mut cited = Object::open(object.value("citationsContent"));
    write_cited(&block.text, own(), &mut cited);
    cited.close();
}

/// A block that canon has no word for. Deltas of a server tool's result are its content, which a stream's start does not have.
fn write_other(json: &Json, deltas: &[(DialectName, Json)], out: &mut BytesMut) {
    let start = Fields::of(json.get()).and_then(|mut f| f.take("toolResult"));
    let Some(result) = start.and_then(|raw| Fields::of(raw.get())) else {
        out.extend_from_slice(json.get().as_bytes());
        return;
    };
    if deltas.is_empty() {
        out.extend_from_slice(json.get().as_bytes());
        return;
    }
    let mut object = Object::open(out);
    let mut inner = Object::open(object.value("toolResult"));
    for (name, raw) in result.left().filter(|(name, _)| *name != "content") {
        inner.value(name).extend_from_slice(raw.get().as_bytes());
    }
    let mut parts: Vec<String> = Vec::new();
    for (_, delta) in deltas {
        let list = Fields::of(delta.get()).and_then(|mut f| f.take("toolResult"));
        let items = list.and_then(items_of).unwrap_or_default();
        parts.extend(items.iter().map(|raw| raw.get().to_owned()));
    }
    inner.array("content", &parts, |part, out| {
        out.extend_from_slice(part.as_bytes());
    });
    inner.close();
    object.close();
}
