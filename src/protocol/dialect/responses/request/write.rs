//! Canon → a provider's body: the top level. Items are written in `write_items`, tools in `write_tools`.
//!
//! Fields come in one fixed order, so that the same request is the same bytes and a provider's prompt cache can match. The words for
//! what is dropped and refused are those of the writer of Chat Completions, whose rules these are.

use super::read::refers;
use super::{write_items, write_tools};
use crate::base::Str;
use crate::canon::{DialectName, Extra, Fault, OutputFormat, Reasoning, ReasoningMode, Request};
use crate::protocol::dialect::chat::request::write::{Writer, effort_word};
use crate::protocol::dialect::{Dropped, Target};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};

/// Writes a request for a speaker of Responses.
pub fn write(request: &Request, target: &Target<'_>) -> Result<(Bytes, Dropped), Fault> {
    let mut w = Writer {
        out: BytesMut::from("{"),
        dropped: Vec::new(),
        target,
    };
    json::field("model", target.model, &mut w.out);
    write_items::write(request, &mut w)?;
    write_tools::write(request, &mut w)?;
    sampling(request, &mut w)?;
    reasoning(request, &mut w)?;
    text(request, &mut w)?;
    hints(request, &mut w)?;
    keeping(request, &mut w)?;
    if target.stream {
        w.key("stream").extend_from_slice(b"true");
    }
    for extra in &request.extra {
        top_extra(extra, &mut w)?;
    }
    w.out.extend_from_slice(b"}");
    Ok((w.out.freeze(), w.dropped))
}

/// Whether the request was read from this dialect: its reader says what becomes of the answer, and no other does.
pub(super) fn is_native(request: &Request) -> bool {
    refers(request, &["store"])
}

/// This API has no words for several of these (OpenAI API reference, Responses, read 2026-08): a fault unless dropped by rule.
fn sampling(request: &Request, w: &mut Writer<'_>) -> Result<(), Fault> {
    let s = &request.sampling;
    if w.takes("max_output")? {
        let limit = limit(request, w);
        w.integer("max_output_tokens", limit)?;
    }
    w.number("temperature", s.temperature)?;
    w.number("top_p", s.top_p)?;
    w.integer("top_logprobs", s.top_logprobs)?;
    for (name, said) in [
        ("top_k", s.top_k.is_some()),
        ("stop", !s.stop.is_empty()),
        ("seed", s.seed.is_some()),
        (
            "presence_penalty",
            s.presence_penalty.is_some_and(|p| p != 0.0),
        ),
        (
            "frequency_penalty",
            s.frequency_penalty.is_some_and(|p| p != 0.0),
        ),
        (
            "logit_bias",
            s.logit_bias.as_ref().is_some_and(|b| b.get() != "{}"),
        ),
    ] {
        if said {
            let why = format!(
                "`{name}` cannot be said to this model's provider, which is asked by Responses"
            );
            w.cannot(name, name, &why)?;
        }
    }
    if s.choices.is_some_and(|n| n > 1) {
        let why =
            "this model's provider gives one answer to a request, which is asked by Responses";
        w.cannot("choices", "n", why)?;
    }
    Ok(())
}

/// The limit of output. Other dialects allow less than this API, and programs ask for one token to see whether somebody is there: they
/// get the least that it takes and are told so, as of a limit that the catalogue clamps.
fn limit(request: &Request, w: &mut Writer<'_>) -> Option<u64> {
    let asked = request.sampling.max_output?.0;
    if asked >= OUTPUT_MIN || is_native(request) {
        return Some(asked);
    }
    w.report(&format!("max_output={OUTPUT_MIN}"));
    Some(OUTPUT_MIN)
}

/// The least `max_output_tokens` (OpenAI API reference, Responses, read 2026-08).
const OUTPUT_MIN: u64 = 16;

/// Effort, and a summary where thinking is to be shown. A budget becomes a word, by the same table as for Chat Completions.
fn reasoning(request: &Request, w: &mut Writer<'_>) -> Result<(), Fault> {
    let Some(reasoning) = &request.reasoning else {
        return Ok(());
    };
    if !w.takes("reasoning")? {
        return Ok(());
    }
    let said = request.extra.iter().find(|e| is_ours(e, "reasoning"));
    let mut members: Map<String, Value> = said.and_then(|e| e.value.read()).unwrap_or_default();
    if let (Some(word), false) = (effort(reasoning, w), members.contains_key("effort")) {
        members.insert("effort".to_owned(), word.into());
    }
    if said.is_none() && wants_summary(reasoning) && w.takes("reasoning.summary")? {
        members.insert("summary".to_owned(), "auto".into());
    }
    if !members.is_empty() {
        let object = Value::Object(members).to_string();
        w.key("reasoning").extend_from_slice(object.as_bytes());
    }
    Ok(())
}

/// Where thinking was asked for by budget or by mode, as in Messages and Gemini, it is shown unless the client said otherwise.
fn wants_summary(reasoning: &Reasoning) -> bool {
    let by_mode = matches!(
        reasoning.mode,
        Some(ReasoningMode::Adaptive | ReasoningMode::Budget(_) | ReasoningMode::BetweenTools)
    );
    reasoning.shown.unwrap_or(by_mode)
}

fn effort(reasoning: &Reasoning, w: &mut Writer<'_>) -> Option<String> {
    let word = match (reasoning.mode, &reasoning.effort) {
        (Some(ReasoningMode::Off), _) => "none",
        (_, Some(effort)) => effort_word(effort),
        (Some(ReasoningMode::Budget(tokens)), None) => match tokens.0 {
            0 => "none",
            1..=768 => "minimal",
            769..=4_096 => "low",
            4_097..=12_288 => "medium",
            12_289..=32_768 => "high",
            _ => "xhigh",
        },
        (Some(ReasoningMode::BetweenTools), None) => {
            w.report("reasoning.between_tools");
            return None;
        }
        // The model decides, as it does unasked.
        (Some(ReasoningMode::Adaptive) | None, None) => return None,
    };
    Some(word.to_owned())
}

/// `text`: whole where the client said more than canon can, else made of format and verbosity.
fn text(request: &Request, w: &mut Writer<'_>) -> Result<(), Fault> {
    if request.extra.iter().any(|e| is_ours(e, "text")) {
        return Ok(());
    }
    let format = match &request.output_format {
        Some(format) if w.takes("output_format")? => Some(format),
        _ => None,
    };
    let verbosity = match &request.sampling.verbosity {
        Some(word) if w.takes("verbosity")? => Some(word),
        _ => None,
    };
    if format.is_none() && verbosity.is_none() {
        return Ok(());
    }
    let out = w.key("text");
    out.extend_from_slice(b"{");
    if let Some(format) = format {
        output_format(format, out);
    }
    if let Some(word) = verbosity {
        json::field("verbosity", word, out);
    }
    out.extend_from_slice(b"}");
    Ok(())
}

fn output_format(format: &OutputFormat, out: &mut BytesMut) {
    json::key("format", out);
    out.extend_from_slice(b"{");
    match format {
        OutputFormat::Text => json::field("type", "text", out),
        OutputFormat::JsonObject => json::field("type", "json_object", out),
        OutputFormat::JsonSchema {
            name,
            description,
            schema,
            strict,
        } => {
            json::field("type", "json_schema", out);
            // OpenAI demands a name; dialects without one are given this.
            json::field("name", name.as_deref().unwrap_or("response"), out);
            if let Some(description) = description {
                json::field("description", description, out);
            }
            json::key("schema", out);
            out.extend_from_slice(schema.get().as_bytes());
            if let Some(strict) = strict {
                json::key("strict", out);
                out.extend_from_slice(if *strict { b"true" } else { b"false" });
            }
        }
    }
    out.extend_from_slice(b"}");
}

fn hints(request: &Request, w: &mut Writer<'_>) -> Result<(), Fault> {
    w.string("prompt_cache_key", request.cache.key.as_ref())?;
    if let Some(options) = &request.cache.options {
        top_extra(options, w)?;
    }
    if request.cache.automatic.is_some() {
        // OpenAI caches of itself; that the client wished it needs no word.
        w.report("cache.automatic");
    }
    let identifier = request
        .extra
        .iter()
        .find(|e| &*e.name == "safety_identifier");
    let said_there = identifier
        .and_then(|e| e.value.read::<String>())
        .is_some_and(|id| request.user.as_deref() == Some(&id));
    // The field under which the client said it is written with the extras.
    if !said_there {
        w.string("user", request.user.as_ref())?;
    }
    w.raw("metadata", request.metadata.as_ref().map(|j| j.get()))?;
    w.string("service_tier", request.service_tier.as_ref())
}

/// Nothing is kept of what comes from a dialect that keeps nothing; so that the model can go on from its own reasoning, that is asked for
/// sealed. Only where reasoning is asked for: models without it refuse the word (OpenAI docs, reasoning, read 2026-08).
fn keeping(request: &Request, w: &mut Writer<'_>) -> Result<(), Fault> {
    let mut include = Vec::new();
    let said = refers(request, &["include"]);
    if !is_native(request) {
        let chats_own = request
            .extra
            .iter()
            .any(|e| e.dialect == DialectName::Chat && &*e.name == "store");
        if !chats_own {
            w.boolean("store", Some(false))?;
        }
        let off = |r: &Reasoning| r.mode == Some(ReasoningMode::Off);
        if request.reasoning.as_ref().is_some_and(|r| !off(r)) {
            include.push("reasoning.encrypted_content");
        }
    }
    if request.sampling.logprobs == Some(true) {
        include.push("message.output_text.logprobs");
    }
    if said || include.is_empty() || !w.takes("include")? {
        return Ok(());
    }
    let list = serde_json::to_string(&include).expect("strings");
    w.raw("include", Some(&list))
}

pub(super) fn is_ours(extra: &Extra, name: &str) -> bool {
    extra.dialect == DialectName::Responses && &*extra.name == name
}

/// A field that canon has no word for: this dialect's own, and those that Chat Completions has under the same name.
fn top_extra(extra: &Extra, w: &mut Writer<'_>) -> Result<(), Fault> {
    const SHARED: [&str; 6] = [
        "store",
        "safety_identifier",
        "moderation",
        "prompt_cache_options",
        "prompt_cache_retention",
        "prompt_cache_key",
    ];
    match extra.dialect {
        // Written with what canon knows of it.
        DialectName::Responses if &*extra.name == "reasoning" => Ok(()),
        // What is so unless it is said otherwise.
        DialectName::Responses if &*extra.name == "store" && extra.value.get() == "null" => Ok(()),
        DialectName::Responses => member(extra, w),
        DialectName::Chat if SHARED.contains(&&*extra.name) => member(extra, w),
        DialectName::Chat if &*extra.name == "stream_options" => {
            obfuscation(extra, w);
            Ok(())
        }
        _ if extra.value.get() == "null" => Ok(()),
        _ => foreign(extra, &extra.name, w),
    }
}

pub(super) fn foreign(extra: &Extra, field: &str, w: &mut Writer<'_>) -> Result<(), Fault> {
    let (name, dialect) = (&extra.name, extra.dialect.as_str());
    let why = format!("`{name}` of the dialect {dialect} cannot be said to this model");
    w.cannot(name, field, &why)
}

pub(super) fn member(extra: &Extra, w: &mut Writer<'_>) -> Result<(), Fault> {
    if w.takes(&extra.name)? {
        json::comma(&mut w.out);
        json::string(&extra.name, &mut w.out);
        w.out.extend_from_slice(b":");
        w.out.extend_from_slice(extra.value.get().as_bytes());
    }
    Ok(())
}

/// Chat's `stream_options` without `include_usage`, which this API does not know.
fn obfuscation(extra: &Extra, w: &mut Writer<'_>) {
    let members: Map<String, Value> = extra.value.read().unwrap_or_default();
    if let Some(Value::Bool(said)) = members.get("include_obfuscation") {
        let text = if *said { "true" } else { "false" };
        let out = w.key("stream_options");
        out.extend_from_slice(b"{\"include_obfuscation\":");
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"}");
    }
}

/// A text that may stand as a string.
pub(super) fn string_member(name: &str, text: &Str, w: &mut Writer<'_>) {
    json::field(name, text, &mut w.out);
}
