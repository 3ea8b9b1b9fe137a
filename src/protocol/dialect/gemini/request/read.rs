//! A client's body → canon: the top level.
//!
//! Refuses what is wrong with its path; keeps what it does not know as `Extra`. What only a model can know is not checked.

use super::{config, contents, tools};
use crate::base::Str;
use crate::canon::{DialectName, Extra, Fault, FaultClass, Request};
use crate::protocol::dialect::gemini::node::Node;
use bytes::Bytes;
use serde_json::value::RawValue;

/// Reads a request of generateContent (Gemini API reference, read 2026-08). `model` stays empty and `stream` false: the path says both.
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
    let mut request = Request {
        stream_usage: true,
        ..Request::default()
    };
    fields(&root, &mut request)?;
    Ok(request)
}

fn broken(message: &str) -> Fault {
    Fault::new(FaultClass::Invalid, message).with_code("invalid_json")
}

fn fields(root: &Node<'_, '_>, request: &mut Request) -> Result<(), Fault> {
    let members = root.members()?;
    contents::read(&members.need(root, "contents")?, request)?;
    for (name, raw) in &members.0 {
        let node = root.field(name, raw);
        match &**name {
            // Read above. That of the path counts; in the body it only says the same again.
            "contents" | "model" => {}
            "systemInstruction" => request.system = contents::instruction(&node)?,
            "tools" => tools::read(&node, request)?,
            "toolConfig" => tools::read_config(&node, request)?,
            "generationConfig" => config::read(&node, request)?,
            "serviceTier" => {
                request.service_tier = Some(Str::from(node.string()?.to_ascii_lowercase()));
            }
            _ => request.extra.push(extra(name, &node)),
        }
    }
    Ok(())
}

pub(super) fn extra(name: &str, node: &Node<'_, '_>) -> Extra {
    Extra {
        dialect: DialectName::Gemini,
        name: Str::from(name),
        value: node.json(),
    }
}
