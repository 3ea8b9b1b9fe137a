//! Canon's tools and the choice among them → `tools`, `tool_choice`, `parallel_tool_calls`.

use super::write::{foreign, is_native, is_ours, member};
use crate::base::Json;
use crate::canon::{DialectName, Fault, Request, Tool, ToolChoice};
use crate::protocol::dialect::chat::request::write::Writer;
use crate::protocol::json;
use bytes::BytesMut;
use serde_json::Value;

pub(super) fn write(request: &Request, w: &mut Writer<'_>) -> Result<(), Fault> {
    if !request.tools.is_empty() && w.takes("tools")? {
        w.key("tools").extend_from_slice(b"[");
        for (i, each) in request.tools.iter().enumerate() {
            tool(i, each, is_native(request), w)?;
        }
        w.out.extend_from_slice(b"]");
    }
    let said_whole = request.extra.iter().any(|e| is_ours(e, "tool_choice"));
    if let (Some(choice), false) = (&request.tool_choice, said_whole)
        && w.takes("tool_choice")?
    {
        tool_choice(choice, &request.tools, w.key("tool_choice"));
    }
    w.boolean("parallel_tool_calls", request.parallel_tools)
}

fn tool(number: usize, tool: &Tool, native: bool, w: &mut Writer<'_>) -> Result<(), Fault> {
    match tool {
        Tool::Function { .. } => function(number, tool, native, w),
        Tool::Custom {
            name,
            description,
            format,
        } => {
            json::comma(&mut w.out);
            let out = &mut w.out;
            out.extend_from_slice(b"{");
            json::field("type", "custom", out);
            json::field("name", name, out);
            if let Some(description) = description {
                json::field("description", description, out);
            }
            if let Some(format) = format {
                json::key("format", out);
                out.extend_from_slice(flat(format).get().as_bytes());
            }
            out.extend_from_slice(b"}");
            Ok(())
        }
        Tool::Other {
            dialect: DialectName::Responses,
            json,
        } => {
            json::comma(&mut w.out);
            w.out.extend_from_slice(json.get().as_bytes());
            Ok(())
        }
        Tool::Other { dialect, .. } => {
            let dialect = dialect.as_str();
            let why =
                format!("a tool of the dialect {dialect} that this model's provider does not have");
            w.cannot("server_tools", &format!("tools[{number}]"), &why)
        }
    }
}

fn function(number: usize, tool: &Tool, native: bool, w: &mut Writer<'_>) -> Result<(), Fault> {
    let Tool::Function {
        name,
        description,
        schema,
        strict,
        mark,
        extra,
    } = tool
    else {
        return Ok(());
    };
    if mark.is_some() {
        // Breakpoints stand on content parts only (OpenAI docs, prompt caching, read 2026-08).
        w.report("tools.cache_control");
    }
    json::comma(&mut w.out);
    let out = &mut w.out;
    out.extend_from_slice(b"{");
    json::field("type", "function", out);
    json::field("name", name, out);
    if let Some(description) = description {
        json::field("description", description, out);
    }
    json::key("parameters", out);
    match schema {
        Some(schema) => out.extend_from_slice(schema.get().as_bytes()),
        // The field is required, and null is no parameters.
        None => out.extend_from_slice(b"null"),
    }
    // Left out it means true here and false in every other dialect, so what was meant is said.
    let strict = strict.or((!native).then_some(false));
    if let Some(strict) = strict {
        json::key("strict", out);
        out.extend_from_slice(if strict { b"true" } else { b"false" });
    }
    for each in extra {
        if each.dialect == DialectName::Responses {
            member(each, w)?;
        } else {
            foreign(each, &format!("tools[{number}].{}", each.name), w)?;
        }
    }
    w.out.extend_from_slice(b"}");
    Ok(())
}

/// A custom tool's grammar without the object that Chat Completions puts around it.
fn flat(format: &Json) -> Json {
    let Some(Value::Object(mut members)) = format.read() else {
        return format.clone();
    };
    let Some(Value::Object(inner)) = members.remove("grammar") else {
        return format.clone();
    };
    members.extend(inner);
    Json::of(&members)
}

fn tool_choice(choice: &ToolChoice, tools: &[Tool], out: &mut BytesMut) {
    let word: &[u8] = match choice {
        ToolChoice::Auto => b"\"auto\"",
        ToolChoice::None => b"\"none\"",
        ToolChoice::Required => b"\"required\"",
        ToolChoice::Named { name, custom } => return named(name, *custom, out),
        ToolChoice::Allowed { names, required } => {
            out.extend_from_slice(b"{\"type\":\"allowed_tools\",\"mode\":");
            let mode: &[u8] = if *required {
                b"\"required\""
            } else {
                b"\"auto\""
            };
            out.extend_from_slice(mode);
            json::key("tools", out);
            out.extend_from_slice(b"[");
            for name in names {
                json::comma(out);
                let custom = |t: &Tool| matches!(t, Tool::Custom { name: n, .. } if n == name);
                named(name, tools.iter().any(custom), out);
            }
            b"]}"
        }
    };
    out.extend_from_slice(word);
}

fn named(name: &str, custom: bool, out: &mut BytesMut) {
    out.extend_from_slice(b"{");
    json::field("type", if custom { "custom" } else { "function" }, out);
    json::field("name", name, out);
    out.extend_from_slice(b"}");
}
