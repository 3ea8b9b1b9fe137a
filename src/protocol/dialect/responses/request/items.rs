//! `input` → the system's blocks and turns.
//!
//! Leading system and developer messages are canon's `system`, later ones turns; where the conversation goes on from a stored answer all
//! of them are turns, since they come after what is stored. What the model made (messages, reasoning, calls) is one assistant's turn as
//! long as nothing of the client's stands between; consecutive tool outputs are one user's turn. Ids and states of items are the
//! provider's bookkeeping and are not kept, but for a reasoning item's, which `reasoning` seals.

use super::parts;
use super::read::refers;
use super::type_of;
use crate::base::{Json, Str};
use crate::canon::{
    Block, BlockKind, DialectName, Fault, Request, Role, ToolInput, ToolKind, Turn,
};
use crate::protocol::dialect::chat::request::messages::arguments;
use crate::protocol::dialect::chat::request::node::{Members, Node};
use crate::protocol::dialect::responses::reasoning;

pub(super) fn read(node: &Node<'_, '_>, request: &mut Request) -> Result<(), Fault> {
    let goes_on = refers(request, &["previous_response_id", "conversation"]);
    if node.is_string() {
        push(request, Role::User, vec![Block::text(node.string()?)]);
        return Ok(());
    }
    if !node.is_array() {
        return Err(node.wrong("a string or an array of items"));
    }
    let mut reader = Reader {
        request,
        goes_on,
        last: Last::Nothing,
    };
    for (i, raw) in node.items()?.iter().enumerate() {
        reader.item(&node.item(i, raw))?;
    }
    Ok(())
}

/// What the item before was part of, which the next of its kind joins.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Nothing,
    Answer,
    Outputs,
}

struct Reader<'r> {
    request: &'r mut Request,
    goes_on: bool,
    last: Last,
}

fn push(request: &mut Request, role: Role, blocks: Vec<Block>) {
    request.turns.push(Turn {
        role,
        blocks,
        name: None,
    });
}

impl Reader<'_> {
    fn item(&mut self, node: &Node<'_, '_>) -> Result<(), Fault> {
        let members = node.members()?;
        let kind = match members.get(node, "type") {
            Some(kind) => kind.string()?,
            None => Str::from_static("message"),
        };
        match &*kind {
            "message" => self.message(node, &members),
            "reasoning" => {
                let thought =
                    reasoning::read(&node.json()).ok_or_else(|| node.wrong("an object"))?;
                self.answer(vec![reasoning::block(thought)]);
                Ok(())
            }
            "function_call" if is_plain_call(&members) => {
                let block = function_call(node, &members)?;
                self.answer(vec![block]);
                Ok(())
            }
            "custom_tool_call" if is_plain_call(&members) => {
                let block = custom_call(node, &members)?;
                self.answer(vec![block]);
                Ok(())
            }
            "function_call_output" => self.output(node, &members),
            "custom_tool_call_output" if self.is_custom(node, &members)? => {
                self.output(node, &members)
            }
            _ => {
                self.other(&kind, node.json());
                Ok(())
            }
        }
    }

    fn message<'a>(&mut self, node: &Node<'a, '_>, members: &Members<'a>) -> Result<(), Fault> {
        let role = members.need(node, "role")?;
        let blocks = parts::content(&members.need(node, "content")?)?;
        match &*role.string()? {
            "user" => {
                self.last = Last::Nothing;
                push(self.request, Role::User, blocks);
            }
            "system" | "developer" => {
                self.last = Last::Nothing;
                if self.request.turns.is_empty() && !self.goes_on {
                    self.request.system.extend(blocks);
                } else {
                    push(self.request, Role::System, blocks);
                }
            }
            "assistant" => {
                let phase = members.get(node, "phase");
                let note = phase.map(|p| {
                    Block::plain(BlockKind::Other {
                        dialect: DialectName::Responses,
                        json: Json::of(&serde_json::json!({ "phase": p.json() })),
                    })
                });
                self.answer(note.into_iter().chain(blocks).collect());
            }
            _ => return Err(role.wrong("`user`, `system`, `developer` or `assistant`")),
        }
        Ok(())
    }

    /// Blocks of the model's own, which join the turn that they go on with.
    fn answer(&mut self, blocks: Vec<Block>) {
        self.join(Last::Answer, Role::Assistant, blocks);
    }

    fn join(&mut self, kind: Last, role: Role, blocks: Vec<Block>) {
        let joins = self.last == kind;
        self.last = kind;
        match self.request.turns.last_mut().filter(|_| joins) {
            Some(turn) => turn.blocks.extend(blocks),
            None => push(self.request, role, blocks),
        }
    }

    fn output<'a>(&mut self, node: &Node<'a, '_>, members: &Members<'a>) -> Result<(), Fault> {
        let mut content = match members.get(node, "output") {
            Some(output) => parts::content(&output)?,
            None => Vec::new(),
        };
        if content == [Block::text("")] {
            content.clear();
        }
        let block = Block::plain(BlockKind::ToolResult {
            id: members.need(node, "call_id")?.string()?,
            name: None,
            content,
            is_error: false,
        });
        self.join(Last::Outputs, Role::User, vec![block]);
        Ok(())
    }

    /// Whether the call that is answered is among the items, as a custom tool's: only then is its output known as one.
    fn is_custom<'a>(&self, node: &Node<'a, '_>, members: &Members<'a>) -> Result<bool, Fault> {
        let wanted = members.need(node, "call_id")?.string()?;
        let mut blocks = self.request.turns.iter().flat_map(|t| &t.blocks);
        Ok(blocks.any(|b| matches!(&b.kind, BlockKind::ToolCall { id, kind: ToolKind::Custom, .. } if *id == wanted)))
    }

    /// An item that canon has no word for, on the side that says such.
    fn other(&mut self, kind: &str, json: Json) {
        let of_client = ["_output", "_response", "_update", "_trigger", "_tools"];
        let block = Block::plain(BlockKind::Other {
            dialect: DialectName::Responses,
            json,
        });
        if of_client.iter().any(|end| kind.ends_with(end)) && kind != "mcp_list_tools" {
            self.join(Last::Outputs, Role::User, vec![block]);
        } else {
            self.answer(vec![block]);
        }
    }
}

/// A call with a namespace or a caller of its own says more than canon can.
fn is_plain_call(members: &Members<'_>) -> bool {
    let more = ["namespace", "caller"];
    !members
        .0
        .iter()
        .any(|(n, raw)| more.contains(&&*n.0) && raw.get() != "null")
}

fn function_call<'a>(node: &Node<'a, '_>, members: &Members<'a>) -> Result<Block, Fault> {
    let input = match members.get(node, "arguments") {
        Some(object) if object.is_object() => ToolInput::Json(object.json()),
        Some(text) => arguments(text.string()?),
        None => ToolInput::Json(Json::empty_object()),
    };
    Ok(Block {
        signature: thought_signature(node, members)?,
        ..Block::plain(BlockKind::ToolCall {
            id: members.need(node, "call_id")?.string()?,
            name: members.need(node, "name")?.string()?,
            input,
            kind: ToolKind::Function,
        })
    })
}

/// Google's thought signature, under the name that it has in Google's own speaker of Chat Completions.
fn thought_signature<'a>(node: &Node<'a, '_>, members: &Members<'a>) -> Result<Option<Str>, Fault> {
    let extra = members.get(node, "extra_content").map(|e| e.json());
    let value: Option<serde_json::Value> = extra.and_then(|e| e.read());
    let found = value
        .as_ref()
        .and_then(|v| v.pointer("/google/thought_signature")?.as_str());
    Ok(found.map(Str::from))
}

fn custom_call<'a>(node: &Node<'a, '_>, members: &Members<'a>) -> Result<Block, Fault> {
    Ok(Block::plain(BlockKind::ToolCall {
        id: members.need(node, "call_id")?.string()?,
        name: members.need(node, "name")?.string()?,
        input: ToolInput::Text(members.need(node, "input")?.string()?),
        kind: ToolKind::Custom,
    }))
}

/// Whether `block` is an item by itself.
pub(super) fn is_item(block: &Block) -> bool {
    match &block.kind {
        BlockKind::Other {
            dialect: DialectName::Responses,
            json,
        } => {
            let kind = type_of(json);
            !kind.is_empty() && !super::is_part(&kind)
        }
        _ => false,
    }
}
