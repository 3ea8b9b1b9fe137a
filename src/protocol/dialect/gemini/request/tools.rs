//! `tools` and `toolConfig` → tools and the choice among them.

use super::openapi;
use super::read::extra;
use crate::base::{Json, Str};
use crate::canon::{DialectName, Extra, Fault, Request, Tool, ToolChoice};
use crate::protocol::dialect::gemini::node::Node;
use crate::protocol::json;
use bytes::BytesMut;

pub(super) fn read(node: &Node<'_, '_>, request: &mut Request) -> Result<(), Fault> {
    for (i, raw) in node.items()?.iter().enumerate() {
        let tool = node.item(i, raw);
        for (name, raw) in &tool.members()?.0 {
            let field = tool.field(name, raw);
            if name != "functionDeclarations" {
                request.tools.push(own(name, &field));
                continue;
            }
            for (j, raw) in field.items()?.iter().enumerate() {
                request.tools.push(function(&field.item(j, raw))?);
            }
        }
    }
    Ok(())
}

/// A tool that Google runs, with its member's name: `{"googleSearch":{}}`.
fn own(name: &str, node: &Node<'_, '_>) -> Tool {
    let mut out = BytesMut::from("{");
    json::string(name, &mut out);
    out.extend_from_slice(b":");
    out.extend_from_slice(node.raw().get().as_bytes());
    out.extend_from_slice(b"}");
    let text = Str::try_from(out).expect("made of strings");
    Tool::Other {
        dialect: DialectName::Gemini,
        json: Json::parse(text).expect("a name and a value that was parsed"),
    }
}

fn function(node: &Node<'_, '_>) -> Result<Tool, Fault> {
    let members = node.members()?;
    let known = ["name", "description", "parameters", "parametersJsonSchema"];
    let mut extras: Vec<Extra> = Vec::new();
    for (name, raw) in &members.0 {
        if !known.contains(&&**name) {
            extras.push(extra(name, &node.field(name, raw)));
        }
    }
    let schema = match members.get(node, "parametersJsonSchema") {
        Some(schema) => Some(schema.json()),
        None => members
            .get(node, "parameters")
            .map(|s| openapi::to_json_schema(&s.json())),
    };
    Ok(Tool::Function {
        name: members.need(node, "name")?.string()?,
        description: members.string(node, "description")?,
        schema,
        strict: None,
        mark: None,
        extra: extras,
    })
}

pub(super) fn read_config(node: &Node<'_, '_>, request: &mut Request) -> Result<(), Fault> {
    let members = node.members()?;
    let mut understood = !members.more_than(&["functionCallingConfig"]);
    if let Some(calling) = members.get(node, "functionCallingConfig") {
        let inner = calling.members()?;
        understood &= !inner.more_than(&["mode", "allowedFunctionNames"]);
        let names = inner.get(&calling, "allowedFunctionNames");
        let names = names.map_or(Ok(Vec::new()), |n| n.strings())?;
        let mode = inner.string(&calling, "mode")?;
        match choice(mode.as_deref(), names) {
            Some(choice) => request.tool_choice = choice,
            None => understood = false,
        }
    }
    if !understood {
        // Goes on whole, in place of what was read of it.
        request.extra.push(extra("toolConfig", node));
    }
    Ok(())
}

/// `None` for a mode that canon has no word for.
fn choice(mode: Option<&str>, names: Vec<Str>) -> Option<Option<ToolChoice>> {
    Some(match (mode.unwrap_or_default(), names.len()) {
        ("" | "MODE_UNSPECIFIED", _) => None,
        ("AUTO", _) => Some(ToolChoice::Auto),
        ("NONE", _) => Some(ToolChoice::None),
        ("ANY", 0) => Some(ToolChoice::Required),
        ("ANY", 1) => names.into_iter().next().map(|name| ToolChoice::Named {
            name,
            custom: false,
        }),
        ("ANY", _) => Some(ToolChoice::Allowed {
            names,
            required: true,
        }),
        ("VALIDATED", 1..) => Some(ToolChoice::Allowed {
            names,
            required: false,
        }),
        _ => return None,
    })
}
