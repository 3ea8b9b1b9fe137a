//! A client's body → canon.
//!
//! What says no more than the API's own default is not kept: older clients send every parameter with it, and other providers would refuse them.

use crate::base::{Json, Str};
use crate::canon::{Block, BlockKind, DialectName, Extra, Fault, Request, Role, Turn};
use crate::protocol::dialect::chat::request::node::{Members, Node};
use crate::protocol::dialect::chat::request::read::{broken, sampling};
use bytes::Bytes;
use serde_json::value::RawValue;

/// Reads a request of Completions. Costs one pass over the top level.
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
    let mut request = Request::default();
    for (at, (name, raw)) in members.0.iter().enumerate() {
        let again = members.0[at + 1..].iter().any(|(n, _)| n.0 == name.0);
        if let Some(node) = root.field(&name.0, raw).filter(|_| !again) {
            field(&name.0, &node, &mut request)?;
        }
    }
    request.model = members.need(&root, "model")?.string()?;
    request.turns.push(Turn {
        role: Role::User,
        blocks: vec![prompt(&members.need(&root, "prompt")?)?],
        name: None,
    });
    without_defaults(&mut request);
    Ok(request)
}

fn field(name: &str, node: &Node<'_, '_>, request: &mut Request) -> Result<(), Fault> {
    match name {
        // Read by the caller.
        "model" | "prompt" => {}
        // How many of the likeliest tokens to tell beside the one that was taken; 0 is that one alone.
        "logprobs" => {
            let top: u32 = node.value("a whole number")?;
            request.sampling.logprobs = Some(true);
            request.sampling.top_logprobs = (top > 0).then_some(top);
        }
        "user" => request.user = Some(node.string()?),
        "stream" => request.stream = node.value("a boolean")?,
        "stream_options" => stream_options(node, request)?,
        "max_tokens" | "temperature" | "top_p" | "top_k" | "stop" | "seed" | "presence_penalty"
        | "frequency_penalty" | "logit_bias" | "n" => {
            sampling(name, node, request)?;
        }
        _ => request.extra.push(extra(name, node)),
    }
    Ok(())
}

fn stream_options(node: &Node<'_, '_>, request: &mut Request) -> Result<(), Fault> {
    let members: Members<'_> = node.members()?;
    if let Some(usage) = members.get(node, "include_usage") {
        request.stream_usage = usage.value("a boolean")?;
    }
    if members.0.iter().any(|(name, _)| name.0 != "include_usage") {
        request.extra.push(extra("stream_options", node));
    }
    Ok(())
}

fn extra(name: &str, node: &Node<'_, '_>) -> Extra {
    Extra {
        dialect: DialectName::Completions,
        name: Str::from(name),
        value: node.json(),
    }
}

/// One text, alone or in a list, is a block of text. Several, and tokens, are kept as they are, for a provider of this API.
fn prompt(node: &Node<'_, '_>) -> Result<Block, Fault> {
    const FORMS: &str = "a string, or an array of strings or of tokens";
    if node.is_string() {
        return Ok(Block::text(node.string()?));
    }
    if !node.is_array() {
        return Err(node.wrong(FORMS));
    }
    let items = node.items()?;
    let plain = |raw: &&RawValue| {
        let first = raw.get().as_bytes()[0];
        matches!(first, b'"' | b'[') || first.is_ascii_digit()
    };
    if items.is_empty() || !items.iter().all(plain) {
        return Err(node.wrong(FORMS));
    }
    let only = node.item(0, items[0]);
    if items.len() == 1 && only.is_string() {
        return Ok(Block::text(only.string()?));
    }
    Ok(Block::plain(BlockKind::Other {
        dialect: DialectName::Completions,
        json: node.json(),
    }))
}

/// OpenAI API reference, completions, read 2026-11: the defaults of each parameter.
fn without_defaults(request: &mut Request) {
    let choices = request.sampling.choices.unwrap_or(1);
    request.extra.retain(|extra| {
        let value = extra.value.get();
        !match &*extra.name {
            "echo" => value == "false",
            "suffix" => value == "\"\"",
            // At least as many are drawn as are told.
            "best_of" => value.parse() == Ok(choices),
            _ => false,
        }
    });
    let sampling = &mut request.sampling;
    sampling.choices = sampling.choices.filter(|n| *n != 1);
    let is_empty = |bias: &Json| bias.get()[1..].trim_start().starts_with('}');
    sampling.logit_bias = sampling.logit_bias.take().filter(|b| !is_empty(b));
    for penalty in [
        &mut sampling.presence_penalty,
        &mut sampling.frequency_penalty,
    ] {
        *penalty = penalty.filter(|p| *p != 0.0);
    }
}
