//! Tools and the choice among them → canon. Flat, where Chat Completions nests.

use super::read::extra;
use crate::base::Json;
use crate::canon::{DialectName, Fault, Tool, ToolChoice};
use crate::protocol::dialect::chat::request::node::{Members, Node};
use crate::protocol::dialect::chat::request::read::{flag, optional};

pub(super) fn tool(node: &Node<'_, '_>) -> Result<Tool, Fault> {
    let members = node.members()?;
    match &*members.need(node, "type")?.string()? {
        "function" => function(node, &members),
        "custom" if is_plain_custom(&members) => Ok(Tool::Custom {
            name: members.need(node, "name")?.string()?,
            description: optional(members.get(node, "description"))?,
            format: members.get(node, "format").map(|f| nested(&f.json())),
        }),
        // Run by the provider, or with fields that canon cannot carry.
        _ => Ok(Tool::Other {
            dialect: DialectName::Responses,
            json: node.json(),
        }),
    }
}

fn is_plain_custom(members: &Members<'_>) -> bool {
    let known = ["type", "name", "description", "format"];
    members
        .0
        .iter()
        .all(|(n, raw)| known.contains(&&*n.0) || raw.get() == "null")
}

fn function<'a>(node: &Node<'a, '_>, members: &Members<'a>) -> Result<Tool, Fault> {
    let known = ["type", "name", "description", "parameters", "strict"];
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
        mark: None,
        extra: unknown
            .filter_map(|(name, raw)| Some(extra(&name.0, &node.field(&name.0, raw)?)))
            .collect(),
    })
}

/// A custom tool's grammar as canon has it, which is Chat's form: `{"type":"grammar","grammar":{"syntax","definition"}}`.
fn nested(format: &Json) -> Json {
    let Some(serde_json::Value::Object(mut members)) = format.read() else {
        return format.clone();
    };
    if members.get("type").and_then(|t| t.as_str()) != Some("grammar")
        || members.contains_key("grammar")
    {
        return format.clone();
    }
    members.remove("type");
    Json::of(&serde_json::json!({"type": "grammar", "grammar": members}))
}

/// `None` for a choice of what only this provider runs: kept whole.
pub(super) fn choice(node: &Node<'_, '_>) -> Result<Option<ToolChoice>, Fault> {
    const FORMS: &str = "`none`, `auto`, `required`, or an object with a type";
    if node.is_string() {
        return match &*node.string()? {
            "none" => Ok(Some(ToolChoice::None)),
            "auto" => Ok(Some(ToolChoice::Auto)),
            "required" | "any" => Ok(Some(ToolChoice::Required)),
            _ => Err(node.wrong(FORMS)),
        };
    }
    if !node.is_object() {
        return Err(node.wrong(FORMS));
    }
    let members = node.members()?;
    let kind = members.need(node, "type")?.string()?;
    match &*kind {
        "function" | "custom" => Ok(Some(ToolChoice::Named {
            name: name_in(node, &members, &kind)?,
            custom: &*kind == "custom",
        })),
        "allowed_tools" => allowed(node, &members),
        _ => Ok(None),
    }
}

/// Its name, also where a client nests it as in Chat Completions.
fn name_in<'a>(
    node: &Node<'a, '_>,
    members: &Members<'a>,
    kind: &str,
) -> Result<crate::base::Str, Fault> {
    match members.get(node, kind).filter(|n| n.is_object()) {
        Some(inner) => inner.members()?.need(&inner, "name")?.string(),
        None => members.need(node, "name")?.string(),
    }
}

fn allowed<'a>(node: &Node<'a, '_>, members: &Members<'a>) -> Result<Option<ToolChoice>, Fault> {
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
        let inner = tool.members()?;
        let kind = inner.need(&tool, "type")?.string()?;
        if !matches!(&*kind, "function" | "custom") {
            return Ok(None);
        }
        names.push(inner.need(&tool, "name")?.string()?);
    }
    Ok(Some(ToolChoice::Allowed { names, required }))
}
