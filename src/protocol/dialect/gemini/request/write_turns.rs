//! The system's blocks and turns → `systemInstruction` and `contents`.
//!
//! Neighbours of one role become one content, since Gemini wants them to alternate, and results stand first in it, right behind the calls
//! that they answer. Instructions in the middle of a conversation are said by the user: there is no other role for them.

use super::MADE_ID;
use super::write::Writer;
use crate::base::Str;
use crate::canon::{Block, BlockKind, Fault, Request, Role};
use crate::protocol::json;

pub(super) fn write(request: &Request, writer: &mut Writer<'_>) -> Result<(), Fault> {
    let contents = gather(request, writer);
    // Google refuses a request without contents, so instructions alone are what the user says.
    let only_system = contents.iter().all(|c| c.blocks.is_empty());
    if !request.system.is_empty() && !only_system {
        json::key("systemInstruction", &mut writer.out);
        writer.out.extend_from_slice(b"{\"parts\":[");
        let blocks = request.system.iter().enumerate();
        for (i, block) in blocks {
            writer.part(block, &format!("system[{i}]"), &Spoken::default())?;
        }
        writer.out.extend_from_slice(b"]}");
    }
    json::key("contents", &mut writer.out);
    writer.out.extend_from_slice(b"[");
    if only_system {
        let system = Content {
            user: true,
            blocks: (request.system.iter().enumerate())
                .map(|(i, b)| (format!("system[{i}]"), b))
                .collect(),
        };
        writer.content(&system, &mut Spoken::default())?;
    } else {
        let mut spoken = Spoken::default();
        for content in &contents {
            writer.content(content, &mut spoken)?;
        }
    }
    writer.out.extend_from_slice(b"]");
    Ok(())
}

/// What one role says before the other speaks, each block with its path.
struct Content<'r> {
    user: bool,
    blocks: Vec<(String, &'r Block)>,
}

/// Names of the functions called so far, by the ids of the calls.
#[derive(Default)]
pub(super) struct Spoken<'r> {
    calls: Vec<(&'r Str, &'r Str)>,
}

impl Spoken<'_> {
    /// The latest call of an id counts: made ids may come again.
    pub(super) fn name_of(&self, id: &Str) -> Option<&Str> {
        let found = self.calls.iter().rev().find(|(known, _)| *known == id);
        found.map(|(_, name)| *name)
    }
}

fn gather<'r>(request: &'r Request, writer: &mut Writer<'_>) -> Vec<Content<'r>> {
    let mut contents: Vec<Content<'r>> = Vec::new();
    for (i, turn) in request.turns.iter().enumerate() {
        if turn.name.is_some() {
            writer.report("name");
        }
        let user = turn.role != Role::Assistant;
        let blocks = turn.blocks.iter().enumerate();
        let blocks = blocks.map(|(j, block)| (format!("messages[{i}].content[{j}]"), block));
        match contents.last_mut().filter(|c| c.user == user) {
            Some(content) => content.blocks.extend(blocks),
            None => contents.push(Content {
                user,
                blocks: blocks.collect(),
            }),
        }
    }
    let mut calls: Vec<&Str> = Vec::new();
    for content in &mut contents {
        if content.user {
            // A stable sort: results, then the rest. Those whose ids Google is not told stand in the order of their calls, by which it
            // matches them.
            content.blocks.sort_by_key(|(_, b)| match &b.kind {
                BlockKind::ToolResult { id, .. } if id.starts_with(MADE_ID) => {
                    let place = calls.iter().position(|call| *call == id);
                    (false, place.unwrap_or(usize::MAX))
                }
                BlockKind::ToolResult { .. } => (false, 0),
                _ => (true, 0),
            });
        } else {
            let ids = content.blocks.iter().filter_map(|(_, b)| match &b.kind {
                BlockKind::ToolCall { id, .. } => Some(id),
                _ => None,
            });
            calls = ids.collect();
        }
    }
    contents
}

impl Writer<'_> {
    fn content<'r>(&mut self, content: &Content<'r>, spoken: &mut Spoken<'r>) -> Result<(), Fault> {
        let before = self.out.len();
        json::comma(&mut self.out);
        self.out.extend_from_slice(b"{");
        let role = if content.user { "user" } else { "model" };
        json::field("role", role, &mut self.out);
        self.key("parts").extend_from_slice(b"[");
        let empty = self.out.len();
        let mut unsigned = !content.user && !self.is_older() && !has_signed_call(&content.blocks);
        for (path, block) in &content.blocks {
            if let BlockKind::ToolCall { id, name, .. } = &block.kind {
                spoken.calls.push((id, name));
                self.call(block, path, std::mem::take(&mut unsigned))?;
            } else {
                self.part(block, path, spoken)?;
            }
        }
        if self.out.len() == empty {
            // Google refuses a content without parts; nobody said anything.
            self.out.truncate(before);
        } else {
            self.out.extend_from_slice(b"]}");
        }
        Ok(())
    }
}

/// Of several calls made at once only the first carries a signature.
fn has_signed_call(blocks: &[(String, &Block)]) -> bool {
    blocks
        .iter()
        .any(|(_, b)| matches!(b.kind, BlockKind::ToolCall { .. }) && b.signature.is_some())
}
