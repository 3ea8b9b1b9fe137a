//! Canon → a provider's body.
//!
//! A conversation is no text to go on with: only one user's words are written, and all that this API has no word for is a fault that names it.

use crate::canon::{
    BlockKind, DialectName, Extra, Fault, OutputFormat, Request, Role, Sampling, ToolChoice,
};
use crate::protocol::dialect::chat::request::write::Writer;
use crate::protocol::dialect::{Dropped, Target, responses};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};

/// Writes a request for a speaker of Completions.
pub fn write(request: &Request, target: &Target<'_>) -> Result<(Bytes, Dropped), Fault> {
    let mut writer = Writer {
        out: BytesMut::from("{"),
        dropped: Vec::new(),
        target,
    };
    json::field("model", target.model, &mut writer.out);
    prompt(request, &mut writer)?;
    unsayable(request, &mut writer)?;
    sampling(request, &mut writer)?;
    writer.string("user", request.user.as_ref())?;
    stream(request, &mut writer);
    for extra in &request.extra {
        self::extra(extra, &mut writer)?;
    }
    writer.out.extend_from_slice(b"}");
    Ok((writer.out.freeze(), writer.dropped))
}

/// `Err` where a client of this API asked what cannot be asked as one message: several prompts, or tokens of one model.
pub(in crate::protocol::dialect) fn is_one_text(request: &Request) -> Result<(), Fault> {
    let mut blocks = request.turns.iter().flat_map(|turn| &turn.blocks);
    if blocks.any(|block| own(&block.kind).is_some()) {
        let message = "several prompts, and prompts in tokens, are answered only where the provider has this API, and no provider of this model has; send one text";
        return Err(Fault::invalid("prompt", message).with_code("unsupported_value"));
    }
    Ok(())
}

/// A prompt that only this API takes, as it was written.
fn own(kind: &BlockKind) -> Option<&str> {
    match kind {
        BlockKind::Other {
            dialect: DialectName::Completions,
            json,
        } => Some(json.get()),
        _ => None,
    }
}

fn prompt(request: &Request, writer: &mut Writer<'_>) -> Result<(), Fault> {
    const WHY: &str =
        "the model takes one text to go on with, and no conversation; send one user's words";
    let refused = |field: &str| Err(Fault::invalid(field, WHY).with_code("unsupported_value"));
    if !request.system.is_empty() {
        return refused("system");
    }
    let [turn] = &request.turns[..] else {
        return refused("messages");
    };
    if turn.role != Role::User {
        return refused("messages[0].role");
    }
    if let [only] = &turn.blocks[..]
        && let Some(own) = own(&only.kind)
    {
        writer.key("prompt").extend_from_slice(own.as_bytes());
        return Ok(());
    }
    let out = writer.key("prompt");
    out.extend_from_slice(b"\"");
    for block in &turn.blocks {
        let BlockKind::Text { text, .. } = &block.kind else {
            return refused("messages[0].content");
        };
        json::escaped(text, out);
    }
    out.extend_from_slice(b"\"");
    Ok(())
}

/// What chat has and this API has not.
fn unsayable(request: &Request, writer: &mut Writer<'_>) -> Result<(), Fault> {
    let idle = matches!(
        request.tool_choice,
        None | Some(ToolChoice::Auto | ToolChoice::None)
    );
    let plain = matches!(request.output_format, None | Some(OutputFormat::Text));
    for (said, name, field) in [
        (!request.tools.is_empty(), "tools", "tools"),
        (!idle, "tool_choice", "tool_choice"),
        (!plain, "output_format", "response_format"),
        (request.reasoning.is_some(), "reasoning", "reasoning"),
        (
            request.service_tier.is_some(),
            "service_tier",
            "service_tier",
        ),
        (
            request.sampling.verbosity.is_some(),
            "verbosity",
            "verbosity",
        ),
    ] {
        if said {
            let why = format!("the API of this model has no `{field}`; leave it out");
            writer.cannot(name, field, &why)?;
        }
    }
    for (said, name) in [
        (request.metadata.is_some(), "metadata"),
        (request.cache.key.is_some(), "prompt_cache_key"),
        (request.cache.automatic.is_some(), "cache.automatic"),
        (request.cache.options.is_some(), "prompt_cache_options"),
    ] {
        if said {
            writer.report(name);
        }
    }
    Ok(())
}

fn sampling(request: &Request, writer: &mut Writer<'_>) -> Result<(), Fault> {
    let s = &request.sampling;
    writer.drawing(s, "max_tokens")?;
    writer.choices(s)?;
    if s.logprobs == Some(true) {
        logprobs(s, request.dialect, writer)?;
    }
    Ok(())
}

/// Told in another form than in Chat, so only who asked in this API is told them.
fn logprobs(
    s: &Sampling,
    asked_in: Option<DialectName>,
    writer: &mut Writer<'_>,
) -> Result<(), Fault> {
    if asked_in == Some(DialectName::Completions) {
        return writer.integer("logprobs", Some(s.top_logprobs.unwrap_or(0)));
    }
    let why = "the API of this model tells them in a form of its own; leave it out";
    writer.cannot("logprobs", "logprobs", why)
}

/// Usage is always asked for: without it nobody knows what was spent.
fn stream(request: &Request, writer: &mut Writer<'_>) {
    if !writer.target.stream {
        return;
    }
    let options = request.extra.iter().find(|e| is_options(e));
    writer.key("stream").extend_from_slice(b"true");
    let out = writer.key("stream_options");
    out.extend_from_slice(b"{\"include_usage\":true");
    let members: Option<serde_json::Map<String, serde_json::Value>> =
        options.and_then(|e| e.value.read());
    for (name, value) in members.iter().flatten() {
        if name != "include_usage" {
            json::comma(out);
            json::string(name, out);
            out.extend_from_slice(b":");
            out.extend_from_slice(value.to_string().as_bytes());
        }
    }
    out.extend_from_slice(b"}");
}

fn is_options(extra: &Extra) -> bool {
    extra.dialect == DialectName::Completions && &*extra.name == "stream_options"
}

fn extra(extra: &Extra, writer: &mut Writer<'_>) -> Result<(), Fault> {
    if is_options(extra) {
        return Ok(());
    }
    if extra.dialect != DialectName::Completions {
        if responses::is_aside(extra) {
            writer.report(&extra.name);
            return Ok(());
        }
        let (name, whose) = (&extra.name, extra.dialect.as_str());
        let why = format!("`{name}` of the dialect {whose} cannot be said to this model");
        return writer.cannot(name, name, &why);
    }
    if writer.takes(&extra.name)? {
        json::comma(&mut writer.out);
        json::string(&extra.name, &mut writer.out);
        writer.out.extend_from_slice(b":");
        let value = extra.value.get().as_bytes();
        writer.out.extend_from_slice(value);
    }
    Ok(())
}
