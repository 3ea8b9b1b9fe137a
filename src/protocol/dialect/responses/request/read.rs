//! A client's body → canon: the top level. Items are read in `items`, tools in `tools`.
//!
//! Refuses what is wrong with its path; keeps what it does not know as `Extra`. Does not check what only a model can know.

use super::{items, tools};
use crate::base::{Json, Str, Tokens};
use crate::canon::{
    Block, DialectName, Extra, Fault, OutputFormat, Reasoning, ReasoningMode, Request,
};
use crate::protocol::dialect::chat::request::node::{Members, Node};
use crate::protocol::dialect::chat::request::read::{broken, effort, flag, optional};
use bytes::Bytes;
use serde_json::value::RawValue;

/// Reads a request of Responses (OpenAI API reference, read 2026-08).
pub fn read(body: &Bytes) -> Result<Request, Fault> {
    let text = Str::try_from(body.clone()).map_err(|_| broken("the body is not UTF-8"))?;
    let raw: &RawValue = serde_json::from_str(&text).map_err(|e| {
        let (line, column) = (e.line(), e.column());
        broken(&format!(
            "the body is not JSON, line {line} column {column}"
        ))
    })?;
    let root = Node::root(&text, raw);
    if !root.is_object() {
        return Err(broken("the body is not a JSON object"));
    }
    let members = root.members()?;
    // Usage is always in the last event.
    let mut request = Request {
        stream_usage: true,
        ..Request::default()
    };
    root_fields(&root, &members, &mut request)?;
    store_by_default(&members, &mut request);
    request.model = members.need(&root, "model")?.string()?;
    if let Some(instructions) = members.get(&root, "instructions") {
        let text = instructions.string()?;
        if !text.is_empty() {
            request.system.push(Block::text(text));
        }
    }
    match members.get(&root, "input") {
        Some(input) => items::read(&input, &mut request)?,
        // A stored template or an earlier answer may be all there is to say.
        None if refers(
            &request,
            &["prompt", "previous_response_id", "conversation"],
        ) => {}
        None => {
            members.need(&root, "input")?;
        }
    }
    Ok(request)
}

/// Whether one of the fields `names` of this dialect was said.
pub(super) fn refers(request: &Request, names: &[&str]) -> bool {
    let mut extras = request.extra.iter();
    extras.any(|e| e.dialect == DialectName::Responses && names.contains(&&*e.name))
}

/// This API keeps answers unless told otherwise (OpenAI API reference, `store`, read 2026-08), no other does: so what is meant is written
/// down, and a request without it is known to come from elsewhere.
fn store_by_default(members: &Members<'_>, request: &mut Request) {
    if !members
        .0
        .iter()
        .any(|(n, raw)| n.0 == "store" && raw.get() != "null")
    {
        request.extra.push(Extra {
            dialect: DialectName::Responses,
            name: Str::from_static("store"),
            // Nobody said so.
            value: Json::of(&()),
        });
    }
}

fn root_fields<'a>(
    root: &Node<'a, '_>,
    members: &Members<'a>,
    request: &mut Request,
) -> Result<(), Fault> {
    for (at, (name, raw)) in members.0.iter().enumerate() {
        let again = members.0[at + 1..]
            .iter()
            .any(|(later, _)| later.0 == name.0);
        let Some(node) = root.field(&name.0, raw).filter(|_| !again) else {
            continue;
        };
        let known = limits(&name.0, &node, request)?
            || behaviour(&name.0, &node, request)?
            || hints(&name.0, &node, members, request)?;
        if !known {
            request.extra.push(extra(&name.0, &node));
        }
    }
    Ok(())
}

pub(super) fn extra(name: &str, node: &Node<'_, '_>) -> Extra {
    Extra {
        dialect: DialectName::Responses,
        name: Str::from(name),
        value: node.json(),
    }
}

fn limits(name: &str, node: &Node<'_, '_>, request: &mut Request) -> Result<bool, Fault> {
    let sampling = &mut request.sampling;
    match name {
        "max_output_tokens" => sampling.max_output = Some(Tokens(node.value("a whole number")?)),
        "temperature" => sampling.temperature = Some(node.value("a number")?),
        "top_p" => sampling.top_p = Some(node.value("a number")?),
        "top_logprobs" => {
            sampling.top_logprobs = Some(node.value("a whole number up to 20")?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Tools, form of the answer, thinking.
fn behaviour(name: &str, node: &Node<'_, '_>, request: &mut Request) -> Result<bool, Fault> {
    match name {
        // Read by the caller, in their order.
        "model" | "input" | "instructions" => {}
        "tools" => {
            for (i, raw) in node.items()?.iter().enumerate() {
                request.tools.push(tools::tool(&node.item(i, raw))?);
            }
        }
        "tool_choice" => match tools::choice(node)? {
            Some(choice) => request.tool_choice = Some(choice),
            None => return Ok(false),
        },
        "parallel_tool_calls" => request.parallel_tools = Some(node.value("a boolean")?),
        "text" => return text(node, request),
        "reasoning" => return reasoning(node, request),
        "include" => {
            let wanted = node.value::<Vec<String>>("an array of strings")?;
            if wanted.iter().any(|w| w == "message.output_text.logprobs") {
                request.sampling.logprobs = Some(true);
            }
            return Ok(false);
        }
        "stream" => request.stream = node.value("a boolean")?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// What steers caches, accounts and records. What Chat Completions has under the same name with the same meaning is said in its dialect,
/// so that both can write it.
fn hints<'a>(
    name: &str,
    node: &Node<'a, '_>,
    members: &Members<'a>,
    request: &mut Request,
) -> Result<bool, Fault> {
    let has = |name: &str| {
        members
            .0
            .iter()
            .any(|(n, raw)| n.0 == name && raw.get() != "null")
    };
    let shared = || Extra {
        dialect: DialectName::Chat,
        ..extra(name, node)
    };
    match name {
        "prompt_cache_key" => request.cache.key = Some(node.string()?),
        "prompt_cache_options" => request.cache.options = Some(shared()),
        "prompt_cache_retention" if !has("prompt_cache_options") => {
            request.cache.options = Some(shared());
        }
        "prompt_cache_retention" | "moderation" => request.extra.push(shared()),
        "user" => request.user = Some(node.string()?),
        // Kept as what it is as well, so that it can go on under its own name.
        "safety_identifier" => {
            if !has("user") {
                request.user = Some(node.string()?);
            }
            request.extra.push(shared());
        }
        "metadata" => {
            node.members()?;
            request.metadata = Some(node.json());
        }
        "service_tier" => request.service_tier = Some(node.string()?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// `text`: canon has words for its format and verbosity. False for an object with more, or a format of own machines: kept whole.
fn text(node: &Node<'_, '_>, request: &mut Request) -> Result<bool, Fault> {
    let members = node.members()?;
    if let Some(verbosity) = members.get(node, "verbosity") {
        request.sampling.verbosity = Some(verbosity.string()?);
    }
    let mut all = members
        .0
        .iter()
        .all(|(n, _)| matches!(&*n.0, "format" | "verbosity"));
    if let Some(format) = members.get(node, "format") {
        request.output_format = output_format(&format)?;
        all &= request.output_format.is_some();
    }
    Ok(all)
}

/// Flat, without the object that Chat Completions puts around a schema.
fn output_format(node: &Node<'_, '_>) -> Result<Option<OutputFormat>, Fault> {
    let members = node.members()?;
    Ok(match &*members.need(node, "type")?.string()? {
        "text" => Some(OutputFormat::Text),
        "json_object" => Some(OutputFormat::JsonObject),
        "json_schema" => Some(OutputFormat::JsonSchema {
            name: optional(members.get(node, "name"))?,
            description: optional(members.get(node, "description"))?,
            schema: members
                .get(node, "schema")
                .map_or_else(Json::empty_object, |s| s.json()),
            strict: flag(members.get(node, "strict"))?,
        }),
        _ => None,
    })
}

/// `reasoning`: effort, OpenRouter's budget, and whether a summary is wanted. False for an object with more than that: kept whole too.
fn reasoning(node: &Node<'_, '_>, request: &mut Request) -> Result<bool, Fault> {
    let members = node.members()?;
    let mut read = Reasoning {
        mode: None,
        effort: None,
        shown: None,
    };
    if let Some(word) = members.get(node, "effort") {
        read.effort = Some(effort(word.string()?));
    }
    if let Some(tokens) = members.get(node, "max_tokens") {
        read.mode = Some(ReasoningMode::Budget(Tokens(
            tokens.value("a whole number")?,
        )));
    }
    let summary = optional(members.get(node, "summary"))?;
    if summary.is_some() {
        read.shown = Some(true);
    }
    let said = members.0.iter().filter(|(_, raw)| raw.get() != "null");
    let plain = said
        .clone()
        .all(|(n, _)| matches!(&*n.0, "effort" | "summary"));
    if said.count() > 0 {
        request.reasoning = Some(read);
    }
    Ok(plain && summary.is_none_or(|s| &*s == "auto"))
}
