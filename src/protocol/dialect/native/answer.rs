//! A whole answer as one object, both ways: the body of an answer that is not streamed, and what `response.done` repeats.
//!
//! Blocks of text, thinking, refusal and tool calls are written as requests take them, so that a client can send them back as they are.

use super::blocks::{
    braces, list, object, optional, raw, read_citations, write_citations, write_tool_kind,
};
use super::schema::{DIALECTS, Fields, TOOL_KINDS, word_of};
use super::{errors, usage};
use crate::base::{Json, Str};
use crate::canon::{
    Answer, AnswerBlock, BlockStart, DialectName, Fault, FaultClass, StopReason, ToolKind,
};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::json;
use bytes::BytesMut;

/// One choice's end: which choice, why, and the stop sequence that was met.
pub type Stop = (u32, StopReason, Option<Str>);

pub const STOPS: &[(&str, StopReason)] = &[
    ("end_turn", StopReason::EndTurn),
    ("max_tokens", StopReason::MaxTokens),
    ("stop_sequence", StopReason::StopSequence),
    ("tool_use", StopReason::ToolUse),
    ("content_filter", StopReason::ContentFilter),
    ("refusal", StopReason::Refusal),
    ("pause", StopReason::Pause),
    ("context_window", StopReason::ContextWindow),
];

/// Appends the fields of a whole answer.
pub fn write(answer: &Answer, opening: &Opening, closing: &Closing, out: &mut BytesMut) {
    let status = match (&answer.error, answer.done) {
        (Some(_), _) => "failed",
        (None, true) => "done",
        (None, false) => "incomplete",
    };
    json::field("status", status, out);
    write_about(opening, out);
    object("provider", out, |out| {
        write_provider(&answer.id, &answer.model, answer.created, out)
    });
    list("blocks", &answer.blocks, out, write_block);
    list("stops", &answer.stops, out, |stop, out| {
        braces(out, |out| write_stop(stop, out))
    });
    if !answer.others.is_empty() {
        list(
            "others",
            &answer.others,
            out,
            |(dialect, name, choice, value), out| {
                braces(out, |out| write_other(*dialect, name, *choice, value, out));
            },
        );
    }
    if let Some(fault) = &answer.error {
        object("error", out, |out| errors::write_fields(fault, None, out));
    }
    object("usage", out, |out| usage::write(&answer.usage, out));
    usage::write_cost(closing.cost, out);
    write_timing(closing, out);
}

/// What an answer says about itself, as far as we say it.
pub fn write_about(opening: &Opening, out: &mut BytesMut) {
    json::field("id", &opening.id, out);
    json::key("created", out);
    json::integer(opening.created, out);
    json::field("model", &opening.model, out);
    json::field("endpoint", &opening.endpoint, out);
    json::field("decision", &opening.decision, out);
}

/// What the provider says of it.
pub fn write_provider(id: &str, model: &str, created: Option<i64>, out: &mut BytesMut) {
    json::field("id", id, out);
    json::field("model", model, out);
    if let Some(created) = created {
        json::key("created", out);
        json::integer(created, out);
    }
}

pub fn write_timing(closing: &Closing, out: &mut BytesMut) {
    object("timing", out, |out| {
        if let Some(first) = closing.first_byte {
            json::key("first_byte_ms", out);
            json::integer(first.as_millis(), out);
        }
        json::key("total_ms", out);
        json::integer(closing.total.as_millis(), out);
    });
}

pub fn write_stop((choice, reason, sequence): &Stop, out: &mut BytesMut) {
    json::key("choice", out);
    json::integer(*choice, out);
    match reason {
        StopReason::Other(word) => json::field("reason", word, out),
        known => json::field("reason", word_of(STOPS, known), out),
    }
    optional("sequence", sequence, out);
}

pub fn read_stop(f: &mut Fields<'_>) -> Result<Stop, Fault> {
    let word = f.text_needed("reason")?;
    let known = STOPS.iter().find(|(name, _)| word == *name);
    let reason = known.map_or(StopReason::Other(word), |(_, reason)| reason.clone());
    Ok((f.whole("choice")?.unwrap_or(0), reason, f.text("sequence")?))
}

pub fn write_other(
    dialect: DialectName,
    name: &str,
    choice: u32,
    value: &Json,
    out: &mut BytesMut,
) {
    json::field("dialect", dialect.as_str(), out);
    json::field("name", name, out);
    json::key("choice", out);
    json::integer(choice, out);
    raw("json", value.get(), out);
}

pub fn read_other(f: &mut Fields<'_>) -> Result<(DialectName, Str, u32, Json), Fault> {
    Ok((
        read_dialect(f)?,
        f.text_needed("name")?,
        f.whole("choice")?.unwrap_or(0),
        f.json_needed("json")?,
    ))
}

/// A dialect that came after this was written can only be kept as our own.
pub fn read_dialect(f: &mut Fields<'_>) -> Result<DialectName, Fault> {
    let word = f.text_needed("dialect")?;
    Ok(DIALECTS
        .iter()
        .find(|(name, _)| word == *name)
        .map_or(DialectName::Native, |(_, d)| *d))
}

/// Appends the type and the fields known at the start of a block.
pub fn write_start(start: &BlockStart, out: &mut BytesMut) {
    let named = |name: &str, out: &mut BytesMut| json::field("type", name, out);
    match start {
        BlockStart::Text => named("text", out),
        BlockStart::Thinking => named("thinking", out),
        BlockStart::RedactedThinking { data } => {
            named("redacted_thinking", out);
            json::field("data", data, out);
        }
        BlockStart::ToolCall { id, name, kind } => {
            named("tool_call", out);
            json::field("id", id, out);
            json::field("name", name, out);
            write_tool_kind(kind, out);
        }
        BlockStart::Refusal => named("refusal", out),
        BlockStart::Image { media_type, url } => {
            named("image", out);
            optional("media_type", media_type, out);
            optional("url", url, out);
        }
        BlockStart::Audio { id, format } => {
            named("audio", out);
            optional("id", id, out);
            optional("format", format, out);
        }
        BlockStart::Video { media_type, url } => {
            named("video", out);
            optional("media_type", media_type, out);
            optional("url", url, out);
        }
        BlockStart::Other {
            dialect,
            json: value,
        } => {
            named("other", out);
            json::field("dialect", dialect.as_str(), out);
            raw("json", value.get(), out);
        }
    }
}

/// `whole` is the block as it was written: a kind that came after this was written is kept.
pub fn read_start(f: &mut Fields<'_>, whole: &Json) -> Result<BlockStart, Fault> {
    let name = f.text_needed("type")?;
    Ok(match &*name {
        "text" => BlockStart::Text,
        "thinking" => BlockStart::Thinking,
        "redacted_thinking" => BlockStart::RedactedThinking {
            data: f.text_needed("data")?,
        },
        "tool_call" => BlockStart::ToolCall {
            id: f.text_needed("id")?,
            name: f.text_needed("name")?,
            kind: f.word("kind", TOOL_KINDS)?.unwrap_or(ToolKind::Function),
        },
        "refusal" => BlockStart::Refusal,
        "image" => BlockStart::Image {
            media_type: f.text("media_type")?,
            url: f.text("url")?,
        },
        "audio" => BlockStart::Audio {
            id: f.text("id")?,
            format: f.text("format")?,
        },
        "video" => BlockStart::Video {
            media_type: f.text("media_type")?,
            url: f.text("url")?,
        },
        "other" => BlockStart::Other {
            dialect: read_dialect(f)?,
            json: f.json_needed("json")?,
        },
        _ => BlockStart::Other {
            dialect: DialectName::Native,
            json: whole.clone(),
        },
    })
}

fn write_block(block: &AnswerBlock, out: &mut BytesMut) {
    braces(out, |out| {
        write_start(&block.start, out);
        write_text(block, out);
        if !block.base64.is_empty() {
            json::field("base64", &block.base64, out);
        }
        if let Some(signature) = &block.signature {
            json::field("signature", signature, out);
        }
        write_citations(&block.citations, out);
        if block.choice != 0 {
            json::key("choice", out);
            json::integer(block.choice, out);
        }
        if !block.others.is_empty() {
            list("others", &block.others, out, |(dialect, value), out| {
                braces(out, |out| {
                    json::field("dialect", dialect.as_str(), out);
                    raw("json", value.get(), out);
                });
            });
        }
    });
}

fn write_text(block: &AnswerBlock, out: &mut BytesMut) {
    match &block.start {
        BlockStart::Text | BlockStart::Thinking | BlockStart::Refusal => {
            json::field("text", &block.text, out);
        }
        BlockStart::ToolCall { .. } => {
            // Arguments that are JSON, to the byte, are written as JSON.
            let input = Json::parse(Str::from(block.text.as_str()))
                .ok()
                .filter(|j| j.get() == block.text);
            match input {
                Some(input) => raw("input", input.get(), out),
                None if block.text.is_empty() => {}
                None => json::field("input_text", &block.text, out),
            }
        }
        BlockStart::Audio { .. } if !block.text.is_empty() => {
            json::field("transcript", &block.text, out)
        }
        _ if !block.text.is_empty() => json::field("text", &block.text, out),
        _ => {}
    }
}

fn read_block(mut f: Fields<'_>) -> Result<AnswerBlock, Fault> {
    let whole = Json::empty_object();
    let start = read_start(&mut f, &whole)?;
    let input = f.json_said("input").map(|json| json.text().clone());
    let text = match input {
        Some(input) => Some(input),
        None => first_text(&mut f)?,
    };
    let others = f.objects("others")?.unwrap_or_default();
    Ok(AnswerBlock {
        choice: f.whole("choice")?.unwrap_or(0),
        start,
        text: text.map_or_else(String::new, |t| t.to_string()),
        base64: f
            .text("base64")?
            .map_or_else(String::new, |t| t.to_string()),
        signature: f.text("signature")?.map(|t| t.to_string()),
        citations: read_citations(&mut f)?,
        others: others
            .into_iter()
            .map(|mut o| Ok((read_dialect(&mut o)?, o.json_needed("json")?)))
            .collect::<Result<_, Fault>>()?,
        stopped: true,
    })
}

fn first_text(f: &mut Fields<'_>) -> Result<Option<Str>, Fault> {
    for name in ["text", "input_text", "transcript"] {
        if let Some(text) = f.text(name)? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Reads a whole answer; fields to come are passed over.
pub fn read(mut f: Fields<'_>) -> Result<Answer, Fault> {
    let status = f.text_needed("status")?;
    let (id, model, created) = match f.object("provider")? {
        Some(mut p) => read_provider(&mut p)?,
        None => (
            f.text_needed("id")?,
            f.text_needed("model")?,
            f.whole("created")?,
        ),
    };
    let error = f
        .object("error")?
        .map(errors::read_fields)
        .transpose()?
        .map(Box::new);
    let stops = f.objects("stops")?.unwrap_or_default();
    let others = f.objects("others")?.unwrap_or_default();
    Ok(Answer {
        id,
        model,
        created,
        blocks: f
            .objects("blocks")?
            .unwrap_or_default()
            .into_iter()
            .map(read_block)
            .collect::<Result<_, _>>()?,
        stops: stops
            .into_iter()
            .map(|mut s| read_stop(&mut s))
            .collect::<Result<_, _>>()?,
        usage: f
            .object("usage")?
            .map(usage::read)
            .transpose()?
            .unwrap_or_default(),
        others: others
            .into_iter()
            .map(|mut o| read_other(&mut o))
            .collect::<Result<_, _>>()?,
        done: status == "done",
        error: match &*status {
            "failed" => Some(error.unwrap_or_else(|| {
                Box::new(Fault::new(
                    FaultClass::UpstreamBroken,
                    "failed without saying why",
                ))
            })),
            _ => None,
        },
    })
}

pub fn read_provider(p: &mut Fields<'_>) -> Result<(Str, Str, Option<i64>), Fault> {
    Ok((
        p.text_needed("id")?,
        p.text_needed("model")?,
        p.whole("created")?,
    ))
}
