//! Requests, both ways: a client's body → canon, canon → a provider's body.

mod read;
pub use read::read;
mod items;
mod parts;
mod tools;
mod write;
pub use write::write;
mod write_items;
mod write_tools;
#[cfg(test)]
mod tests;

use crate::base::Json;

use crate::canon::{Block, BlockKind, DialectName, Extra};
use crate::protocol::dialect::responses::MADE_MARK;

/// Whether a field of this dialect only steers bookkeeping, speed or what the provider keeps: other dialects leave it out, openly,
/// without changing what is asked.
pub(in crate::protocol::dialect) fn is_aside(extra: &Extra) -> bool {
    const ASIDE: [&str; 9] = [
        "store",
        "include",
        "truncation",
        "stream_options",
        "reasoning",
        "max_tool_calls",
        "context_management",
        "client_metadata",
        "background",
    ];
    extra.dialect == DialectName::Responses && ASIDE.contains(&&*extra.name)
}

/// Whether a block only says something of the message around it (`phase`), in an object without a type: other dialects leave it out.
pub(in crate::protocol::dialect) fn is_note(block: &Block) -> bool {
    matches!(&block.kind, BlockKind::Other { dialect: DialectName::Responses, json } if type_of(json).is_empty())
}

/// The kind of an item that we made of what a provider's own tool did; `None` for any other block.
pub(in crate::protocol::dialect) fn is_made(block: &Block) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Made {
        #[serde(rename = "type", default)]
        kind: String,
        #[serde(default)]
        id: String,
    }
    let BlockKind::Other {
        dialect: DialectName::Responses,
        json,
    } = &block.kind
    else {
        return None;
    };
    // Most have no such id, and some are long.
    memchr::memmem::find(json.get().as_bytes(), MADE_MARK.as_bytes())?;
    let made: Made = json.read()?;
    let (prefix, _) = made.id.split_once(MADE_MARK)?;
    matches!(prefix, "ws" | "ci" | "mcp").then_some(made.kind)
}

/// The `type` of an item or part; empty where it has none.
fn type_of(json: &Json) -> String {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "type", default)]
        kind: String,
    }
    json.read().map_or_else(String::new, |t: Typed| t.kind)
}

/// Whether an object of that type stands within a message's content, not in the list of items.
fn is_part(kind: &str) -> bool {
    kind.starts_with("input_") || kind.starts_with("output_") || matches!(kind, "refusal" | "text")
}
