//! A whole answer → `chat.completion`.

use super::encoder::{annotation, call_signature, cuts, detail_open, image_part, word};
use super::usage;
use crate::base::{Json, Str};
use crate::canon::{Answer, AnswerBlock, BlockStart, DialectName, StopReason, ToolKind, Usage};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};

/// The body of an answer that is not streamed. Video and server tools' blocks have no place in it.
#[must_use]
pub fn write_whole(answer: &Answer, opening: &Opening, _closing: &Closing) -> Bytes {
    let mut out = BytesMut::from("{");
    json::field("id", &opening.id, &mut out);
    json::field("object", "chat.completion", &mut out);
    json::key("created", &mut out);
    json::integer(opening.created, &mut out);
    json::field("model", &opening.model, &mut out);
    if let Some(tier) = &answer.usage.service_tier {
        json::field("service_tier", usage::tier(tier), &mut out);
    }
    json::key("choices", &mut out);
    out.extend_from_slice(b"[");
    for number in numbers(answer) {
        choice(answer, number, &mut out);
    }
    out.extend_from_slice(b"]");
    for (dialect, name, _, value) in &answer.others {
        if *dialect == DialectName::Chat && &**name != "logprobs" {
            json::comma(&mut out);
            json::string(name, &mut out);
            out.extend_from_slice(b":");
            out.extend_from_slice(value.get().as_bytes());
        }
    }
    if answer.usage != Usage::default() {
        json::key("usage", &mut out);
        usage::write(&answer.usage, &mut out);
    }
    out.extend_from_slice(b"}");
    out.freeze()
}

/// The choices that were answered, in order.
fn numbers(answer: &Answer) -> Vec<u32> {
    let blocks = answer.blocks.iter().map(|b| b.choice);
    let stops = answer.stops.iter().map(|(choice, ..)| *choice);
    let mut numbers: Vec<u32> = blocks.chain(stops).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn choice(answer: &Answer, number: u32, out: &mut BytesMut) {
    let blocks: Vec<&AnswerBlock> = answer
        .blocks
        .iter()
        .filter(|b| b.choice == number)
        .collect();
    json::comma(out);
    out.extend_from_slice(b"{");
    json::key("index", out);
    json::integer(number, out);
    let stop = answer.stops.iter().find(|(c, ..)| *c == number);
    let reason = stop.map_or(&StopReason::EndTurn, |(_, reason, _)| reason);
    json::key("message", out);
    message(&blocks, cuts(reason), out);
    json::key("logprobs", out);
    logprobs(answer, number, out);
    json::key("finish_reason", out);
    let refused = blocks.iter().any(|b| b.start == BlockStart::Refusal);
    json::string(word(reason, refused), out);
    out.extend_from_slice(b"}");
}

/// What the chunks of a stream said piece by piece stands in one list.
fn logprobs(answer: &Answer, number: u32, out: &mut BytesMut) {
    let of_choice = |(dialect, name, choice, _): &&(DialectName, Str, u32, Json)| {
        *dialect == DialectName::Chat && &**name == "logprobs" && *choice == number
    };
    let mut said = answer
        .others
        .iter()
        .filter(of_choice)
        .map(|(.., json)| json);
    let (Some(first), second) = (said.next(), said.next()) else {
        return out.extend_from_slice(b"null");
    };
    if second.is_none() {
        return out.extend_from_slice(first.get().as_bytes());
    }
    let mut whole = Map::new();
    for (name, value) in answer
        .others
        .iter()
        .filter(of_choice)
        .filter_map(|(.., json)| json.read::<Map<String, Value>>())
        .flatten()
    {
        match (whole.get_mut(&name), value) {
            (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
            (Some(Value::Null) | None, value) => drop(whole.insert(name, value)),
            _ => {}
        }
    }
    out.extend_from_slice(Value::Object(whole).to_string().as_bytes());
}

/// `cut`: the last block may not be whole.
fn message(blocks: &[&AnswerBlock], cut: bool, out: &mut BytesMut) {
    out.extend_from_slice(b"{");
    json::field("role", "assistant", out);
    joined("content", blocks, |b| *b == BlockStart::Text, true, out);
    joined("refusal", blocks, |b| *b == BlockStart::Refusal, true, out);
    joined(
        "reasoning_content",
        blocks,
        |b| *b == BlockStart::Thinking,
        false,
        out,
    );
    reasoning_details(blocks, out);
    annotations(blocks, out);
    audio(blocks, out);
    images(blocks, out);
    calls(blocks, cut, out);
    out.extend_from_slice(b"}");
}

/// The text of all blocks of one kind in one string; without any, null or nothing.
fn joined(
    name: &str,
    blocks: &[&AnswerBlock],
    is: impl Fn(&BlockStart) -> bool,
    or_null: bool,
    out: &mut BytesMut,
) {
    let mut any = false;
    for block in blocks.iter().filter(|b| is(&b.start)) {
        if !any {
            json::key(name, out);
            out.extend_from_slice(b"\"");
            any = true;
        }
        json::escaped(&block.text, out);
    }
    if any {
        out.extend_from_slice(b"\"");
    } else if or_null {
        json::key(name, out);
        out.extend_from_slice(b"null");
    }
}

fn reasoning_details(blocks: &[&AnswerBlock], out: &mut BytesMut) {
    let mut number = 0;
    let mut any = false;
    for block in blocks {
        let redacted = match &block.start {
            BlockStart::Thinking => None,
            BlockStart::RedactedThinking { data } => Some(data),
            _ => continue,
        };
        number += 1;
        if redacted.is_none() && block.signature.is_none() {
            continue;
        }
        if !any {
            json::key("reasoning_details", out);
            out.extend_from_slice(b"[");
            any = true;
        }
        match redacted {
            Some(data) => {
                detail_open("reasoning.encrypted", number - 1, out);
                json::field("data", data, out);
            }
            None => {
                detail_open("reasoning.text", number - 1, out);
                let signature = block.signature.as_deref().unwrap_or_default();
                json::field("signature", signature, out);
                json::key("text_bytes", out);
                json::integer(block.text.len(), out);
            }
        }
        out.extend_from_slice(b"}");
    }
    if any {
        out.extend_from_slice(b"]");
    }
}

fn annotations(blocks: &[&AnswerBlock], out: &mut BytesMut) {
    let before = out.len();
    json::key("annotations", out);
    out.extend_from_slice(b"[");
    let (mut any, mut characters) = (false, 0);
    for block in blocks.iter().filter(|b| b.start == BlockStart::Text) {
        let end = characters + block.text.chars().count() as u64;
        for citation in &block.citations {
            any |= annotation(citation, characters, end, out);
        }
        characters = end;
    }
    if any {
        out.extend_from_slice(b"]");
    } else {
        out.truncate(before);
    }
}

fn images(blocks: &[&AnswerBlock], out: &mut BytesMut) {
    let url = |b: &&AnswerBlock| match &b.start {
        BlockStart::Image { url: Some(url), .. } => Some(url.to_string()),
        BlockStart::Image { media_type, .. } if !b.base64.is_empty() => {
            let kind = media_type.as_deref().unwrap_or("image/png");
            Some(format!("data:{kind};base64,{}", b.base64))
        }
        _ => None,
    };
    let found: Vec<String> = blocks.iter().filter_map(url).collect();
    if found.is_empty() {
        return;
    }
    json::key("images", out);
    out.extend_from_slice(b"[");
    for (number, url) in (0..).zip(&found) {
        image_part(number, url, out);
    }
    out.extend_from_slice(b"]");
}

fn audio(blocks: &[&AnswerBlock], out: &mut BytesMut) {
    let found = blocks.iter().find_map(|b| match &b.start {
        BlockStart::Audio { id, .. } => Some((b, id)),
        _ => None,
    });
    let Some((block, id)) = found else { return };
    json::key("audio", out);
    out.extend_from_slice(b"{");
    if let Some(id) = id {
        json::field("id", id, out);
    }
    json::field("data", &block.base64, out);
    json::field("transcript", &block.text, out);
    for (dialect, extra) in &block.others {
        let inner = extra.get().trim().strip_prefix('{');
        let inner = inner.and_then(|s| s.strip_suffix('}'));
        if let (DialectName::Chat, Some(members)) = (dialect, inner) {
            json::comma(out);
            out.extend_from_slice(members.as_bytes());
        }
    }
    out.extend_from_slice(b"}");
}

fn calls(blocks: &[&AnswerBlock], cut: bool, out: &mut BytesMut) {
    let mut any = false;
    for (place, block) in blocks.iter().enumerate() {
        let BlockStart::ToolCall { id, name, kind } = &block.start else {
            continue;
        };
        if *kind == ToolKind::Server {
            continue;
        }
        if !any {
            json::key("tool_calls", out);
            out.extend_from_slice(b"[");
            any = true;
        }
        let text = match block.text.as_str() {
            // As in a stream: a call without arguments has none, one that a limit cut stays as it is.
            "" if *kind != ToolKind::Custom && !(cut && place + 1 == blocks.len()) => "{}",
            text => text,
        };
        call(block, (id, name), text, *kind == ToolKind::Custom, out);
    }
    if any {
        out.extend_from_slice(b"]");
    }
}

fn call(
    block: &AnswerBlock,
    (id, name): (&Str, &Str),
    text: &str,
    custom: bool,
    out: &mut BytesMut,
) {
    let (of, input) = if custom {
        ("custom", "input")
    } else {
        ("function", "arguments")
    };
    json::comma(out);
    out.extend_from_slice(b"{");
    json::field("id", id, out);
    json::field("type", of, out);
    json::key(of, out);
    out.extend_from_slice(b"{");
    json::field("name", name, out);
    json::field(input, text, out);
    out.extend_from_slice(b"}");
    if let Some(signature) = &block.signature {
        call_signature(signature, out);
    }
    out.extend_from_slice(b"}");
}
