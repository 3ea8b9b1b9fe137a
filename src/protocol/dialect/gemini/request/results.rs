//! `functionResponse` ⇄ a tool's result.
//!
//! Gemini wants an object: `output` holds what came out, `error` what went wrong, and any other object is the output itself (Gemini API
//! reference, `FunctionResponse`, read 2026-08). Canon has text, so an object is its own JSON text, and text that is an object goes back
//! as one.

use super::contents::Calls;
use super::parts;
use crate::base::Str;
use crate::canon::{Block, BlockKind, Fault};
use crate::protocol::dialect::gemini::node::{Members, Node};
use crate::protocol::json;
use bytes::BytesMut;

/// `None` for a result that is not yet whole, or is to be taken in a way of its own.
pub(super) fn read(node: &Node<'_, '_>, calls: &mut Calls) -> Result<Option<BlockKind>, Fault> {
    let members = node.members()?;
    if members.more_than(&["id", "name", "response", "parts"]) {
        return Ok(None);
    }
    let mut content = Vec::new();
    let mut is_error = false;
    if let Some(response) = members.get(node, "response") {
        let (text, failed) = said(&response)?;
        is_error = failed;
        content.extend(text.map(Block::text));
    }
    if let Some(list) = members.get(node, "parts") {
        for (i, raw) in list.items()?.iter().enumerate() {
            let Some(block) = part(&list.item(i, raw))? else {
                return Ok(None);
            };
            content.push(Block::plain(block));
        }
    }
    let name = members.need(node, "name")?.string()?;
    Ok(Some(BlockKind::ToolResult {
        id: calls.answered(members.string(node, "id")?, &name),
        name: Some(name),
        content,
        is_error,
    }))
}

fn part(node: &Node<'_, '_>) -> Result<Option<BlockKind>, Fault> {
    let members = node.members()?;
    if members.0.len() != 1 {
        return Ok(None);
    }
    if let Some(data) = members.get(node, "inlineData") {
        return parts::inline(&data, None);
    }
    match members.get(node, "fileData") {
        Some(file) => parts::by_uri(&file, None),
        None => Ok(None),
    }
}

/// The text of a response, and whether it tells of a failure.
fn said(node: &Node<'_, '_>) -> Result<(Option<Str>, bool), Fault> {
    if !node.is_object() {
        return Err(node.wrong("an object"));
    }
    // As written: these are the client's own names.
    let Members(members) = node.members()?;
    let text = |raw| {
        let value = node.field("response", raw);
        let string = value.string();
        string.unwrap_or_else(|_| value.json().text().clone())
    };
    Ok(match &members[..] {
        [(name, raw)] if name == "output" => (Some(text(raw)).filter(|t| !t.is_empty()), false),
        [(name, raw)] if name == "error" => (Some(text(raw)), true),
        _ if node.json().get() == "{}" => (None, false),
        _ => (Some(node.json().text().clone()), false),
    })
}

/// Appends the `response` for `text`.
pub(super) fn write(text: &str, is_error: bool, out: &mut BytesMut) {
    if !is_error && is_own_object(text) {
        out.extend_from_slice(text.trim().as_bytes());
        return;
    }
    out.extend_from_slice(b"{");
    if is_error {
        json::field("error", text, out);
    } else if !text.is_empty() {
        json::key("output", out);
        match serde_json::from_str::<&serde_json::value::RawValue>(text) {
            // An object that would be taken for our own wrapping.
            Ok(object) if text.trim_start().starts_with('{') => {
                out.extend_from_slice(object.get().as_bytes());
            }
            _ => json::string(text, out),
        }
    }
    out.extend_from_slice(b"}");
}

/// Whether `text` is a JSON object that can stand as the response itself.
fn is_own_object(text: &str) -> bool {
    if !text.trim_start().starts_with('{') {
        return false;
    }
    match serde_json::from_str::<Members<'_>>(text) {
        Ok(Members(members)) => match &members[..] {
            [] => false,
            [(name, _)] => name != "output" && name != "error",
            _ => true,
        },
        Err(_) => false,
    }
}
