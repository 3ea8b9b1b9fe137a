//! A client's body → canon: the top level and tools. Messages are read in `messages`.
//!
//! Refuses what is wrong with its path; keeps what it does not know as `Extra`. Does not check what only a model can know.

use super::messages;
use super::node::{Members, Node};
use crate::base::{Json, Str, Tokens};
use crate::canon::{
    CacheMark, DialectName, Effort, Extra, Fault, OutputFormat, Reasoning, Request, Tool,
    ToolChoice,
};
use bytes::Bytes;
use serde_json::value::RawValue;

/// Reads a request of Chat Completions (OpenAI API reference, read 2026-08).
pub fn read(body: &Bytes) -> Result<Request, Fault> {
    let text = Str::try_from(body.clone()).map_err(|_| broken("the body is not UTF-8"))?;
    let raw: &RawValue = serde_json::from_str(&text).map_err(|e| {
        broken(&format!(
            "the body is not JSON, line {} column {}",
            e.line(),
            e.column()
        ))
    })?;
    let root = Node::root(&text, raw);
    if !root.is_object() {
        return Err(broken("the body is not a JSON object"));
    }
    let members = root.members()?;
    let mut request = Request::default();
    root_fields(&root, &members, &mut request)?;
    request.model = members.need(&root, "model")?.string()?;
    messages::read(&members.need(&root, "messages")?, &mut request)?;
    Ok(request)
}

pub(in crate::protocol::dialect) fn broken(message: &str) -> Fault {
    Fault::new(crate::canon::FaultClass::Invalid, message).with_code("invalid_json")
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
        let known = sampling(&name.0, &node, request)?
            || behaviour(&name.0, &node, members, request)?
            || hints(&name.0, &node, members, request)?;
        if !known {
            request.extra.push(extra(&name.0, &node));
        }
    }
    Ok(())
}

fn extra(name: &str, node: &Node<'_, '_>) -> Extra {
    Extra {
        dialect: DialectName::Chat,
        name: Str::from(name),
        value: node.json(),
    }
}

/// How tokens are drawn, and how many.
pub(in crate::protocol::dialect) fn sampling(
    name: &str,
    node: &Node<'_, '_>,
    request: &mut Request,
) -> Result<bool, Fault> {
    let sampling = &mut request.sampling;
    let count = || node.value::<u64>("a whole number");
    let number = || node.value::<f64>("a number");
    match name {
        "max_completion_tokens" => sampling.max_output = Some(Tokens(count()?)),
        // Deprecated in favour of the one above, which wins.
        "max_tokens" => {
            let tokens = Tokens(count()?);
            sampling.max_output.get_or_insert(tokens);
        }
        "temperature" => sampling.temperature = Some(number()?),
        "top_p" => sampling.top_p = Some(number()?),
        // SGLang, vLLM and other own machines; OpenAI has none.
        "top_k" => sampling.top_k = node.value::<i64>("a whole number")?.try_into().ok(),
        "stop" => sampling.stop = stops(node)?,
        "seed" => sampling.seed = Some(node.value("a whole number")?),
        "presence_penalty" => sampling.presence_penalty = Some(number()?),
        "frequency_penalty" => sampling.frequency_penalty = Some(number()?),
        "logit_bias" => {
            node.members()?;
            sampling.logit_bias = Some(node.json());
        }
        "logprobs" => sampling.logprobs = Some(node.value("a boolean")?),
        "top_logprobs" => sampling.top_logprobs = Some(node.value("a whole number up to 20")?),
        "n" => sampling.choices = Some(node.value("a whole number of choices")?),
        "verbosity" => sampling.verbosity = Some(node.string()?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn stops(node: &Node<'_, '_>) -> Result<Vec<Str>, Fault> {
    if node.is_string() {
        return Ok(vec![node.string()?]);
    }
    if !node.is_array() {
        return Err(node.wrong("a string or an array of strings"));
    }
    let items = node.items()?;
    let each = items.iter().enumerate();
    each.map(|(i, raw)| node.item(i, raw).string()).collect()
}

/// Tools, form of the answer, thinking.
fn behaviour<'a>(
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
    match name {
        // Read by the caller, last.
        "model" | "messages" => {}
        "tools" => {
            for (i, raw) in node.items()?.iter().enumerate() {
                request.tools.push(tool(&node.item(i, raw))?);
            }
        }
        "functions" if !has("tools") => {
            for (i, raw) in node.items()?.iter().enumerate() {
                let node = node.item(i, raw);
                request.tools.push(function(&node, &node.members()?, None)?);
            }
        }
        "tool_choice" => request.tool_choice = Some(tool_choice(node)?),
        "function_call" if !has("tool_choice") => {
            request.tool_choice = Some(legacy_choice(node)?);
        }
        "parallel_tool_calls" => request.parallel_tools = Some(node.value("a boolean")?),
        "response_format" => match output_format(node)? {
            Some(format) => request.output_format = Some(format),
            None => return Ok(false),
        },
        // Fireworks also takes booleans and numbers here: those pass as they are.
        "reasoning_effort" if node.is_string() => {
            request.reasoning = Some(Reasoning {
                mode: None,
                effort: Some(effort(node.string()?)),
                shown: None,
            });
        }
        "stream" => request.stream = node.value("a boolean")?,
        "stream_options" => stream_options(node, request)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// What steers caches, accounts and records.
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
    match name {
        "prompt_cache_key" => request.cache.key = Some(node.string()?),
        "prompt_cache_options" => request.cache.options = Some(extra(name, node)),
        "prompt_cache_retention" if !has("prompt_cache_options") => {
            request.cache.options = Some(extra(name, node));
        }
        "user" => request.user = Some(node.string()?),
        // Kept as what it is as well, so that it can go on under its own name.
        "safety_identifier" => {
            if !has("user") {
                request.user = Some(node.string()?);
            }
            request.extra.push(extra(name, node));
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

fn stream_options(node: &Node<'_, '_>, request: &mut Request) -> Result<(), Fault> {
    let members = node.members()?;
    if let Some(usage) = members.get(node, "include_usage") {
        request.stream_usage = usage.value("a boolean")?;
    }
    if members.0.iter().any(|(name, _)| name.0 != "include_usage") {
        request.extra.push(extra("stream_options", node));
    }
    Ok(())
}

pub(in crate::protocol::dialect) fn effort(word: Str) -> Effort {
    match &*word {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::ExtraHigh,
        "max" => Effort::Max,
        _ => Effort::Other(word),
    }
}

/// `None` for a type that canon has no word for (grammars of own machines).
fn output_format(node: &Node<'_, '_>) -> Result<Option<OutputFormat>, Fault> {
    let members = node.members()?;
    Ok(match &*members.need(node, "type")?.string()? {
        "text" => Some(OutputFormat::Text),
        "json_object" => Some(OutputFormat::JsonObject),
        "json_schema" => {
            let format = members.need(node, "json_schema")?;
            let inner = format.members()?;
            Some(OutputFormat::JsonSchema {
                name: optional(inner.get(&format, "name"))?,
                description: optional(inner.get(&format, "description"))?,
                schema: inner
                    .get(&format, "schema")
                    .map_or_else(Json::empty_object, |s| s.json()),
                strict: flag(inner.get(&format, "strict"))?,
            })
        }
        _ => None,
    })
}

pub(in crate::protocol::dialect) fn optional(
    node: Option<Node<'_, '_>>,
) -> Result<Option<Str>, Fault> {
    node.map(|n| n.string()).transpose()
}

pub(in crate::protocol::dialect) fn flag(
    node: Option<Node<'_, '_>>,
) -> Result<Option<bool>, Fault> {
    node.map(|n| n.value("a boolean")).transpose()
}

fn tool(node: &Node<'_, '_>) -> Result<Tool, Fault> {
    let members = node.members()?;
    match &*members.need(node, "type")?.string()? {
        "function" => {
            let inner = members.need(node, "function")?;
            // Gateways put Anthropic's mark beside the function.
            let mark = members.get(node, "cache_control");
            let mark = mark.map(|m| super::parts::mark(&m)).transpose()?;
            function(&inner, &inner.members()?, mark)
        }
        "custom" => {
            let custom = members.need(node, "custom")?;
            let inner = custom.members()?;
            Ok(Tool::Custom {
                name: inner.need(&custom, "name")?.string()?,
                description: optional(inner.get(&custom, "description"))?,
                format: inner.get(&custom, "format").map(|f| f.json()),
            })
        }
        _ => Ok(Tool::Other {
            dialect: DialectName::Chat,
            json: node.json(),
        }),
    }
}

fn function<'a>(
    node: &Node<'a, '_>,
    members: &Members<'a>,
    mark: Option<CacheMark>,
) -> Result<Tool, Fault> {
    let known = ["name", "description", "parameters", "strict"];
    let unknown = members.0.iter().filter(|(n, _)| !known.contains(&&*n.0));
    let schema = members.get(node, "parameters");
    if let Some(schema) = schema.filter(|s| !s.is_object()) {
        return Err(schema.wrong("a JSON schema, which is an object"));
    }
    Ok(Tool::Function {
        name: members.need(node, "name")?.string()?,
        description: optional(members.get(node, "description"))?,
        schema: schema.map(|s| s.json()),
        strict: flag(members.get(node, "strict"))?,
        mark,
        extra: unknown
            .filter_map(|(name, raw)| Some(extra(&name.0, &node.field(&name.0, raw)?)))
            .collect(),
    })
}

fn tool_choice(node: &Node<'_, '_>) -> Result<ToolChoice, Fault> {
    const FORMS: &str =
        "`none`, `auto`, `required`, or an object of type `function`, `custom` or `allowed_tools`";
    if node.is_string() {
        return match &*node.string()? {
            "none" => Ok(ToolChoice::None),
            "auto" => Ok(ToolChoice::Auto),
            // `any` is Mistral's word.
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(node.wrong(FORMS)),
        };
    }
    if !node.is_object() {
        return Err(node.wrong(FORMS));
    }
    let members = node.members()?;
    let kind = members.need(node, "type")?;
    let word = kind.string()?;
    match &*word {
        "function" | "custom" => {
            let inner = members.need(node, &word)?;
            Ok(ToolChoice::Named {
                name: inner.members()?.need(&inner, "name")?.string()?,
                custom: &*word == "custom",
            })
        }
        "allowed_tools" => allowed(&members.need(node, "allowed_tools")?),
        _ => Err(kind.wrong("`function`, `custom` or `allowed_tools`")),
    }
}

fn allowed(node: &Node<'_, '_>) -> Result<ToolChoice, Fault> {
    let members = node.members()?;
    let mode = members.need(node, "mode")?;
    let required = match &*mode.string()? {
        "auto" => false,
        "required" => true,
        _ => return Err(mode.wrong("`auto` or `required`")),
    };
    let tools = members.need(node, "tools")?;
    let mut names = Vec::new();
    for (i, raw) in tools.items()?.iter().enumerate() {
        let tool = tools.item(i, raw);
        let outer = tool.members()?;
        let within = outer.get(&tool, "function").or(outer.get(&tool, "custom"));
        names.push(match within {
            Some(inner) => inner.members()?.need(&inner, "name")?.string()?,
            None => outer.need(&tool, "name")?.string()?,
        });
    }
    Ok(ToolChoice::Allowed { names, required })
}

fn legacy_choice(node: &Node<'_, '_>) -> Result<ToolChoice, Fault> {
    if node.is_object() {
        return Ok(ToolChoice::Named {
            name: node.members()?.need(node, "name")?.string()?,
            custom: false,
        });
    }
    match &*node.string()? {
        "none" => Ok(ToolChoice::None),
        "auto" => Ok(ToolChoice::Auto),
        _ => Err(node.wrong("`none`, `auto` or an object with a name")),
    }
}
