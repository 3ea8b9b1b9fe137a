//! The order of turns that this API demands (section 2.1): user first, one turn a role, results first in the turn after their call,
//! and instructions in the middle only between a user's turn and the assistant's.

use super::schema::Path;
use super::write::Rulings;
use super::write_blocks::{keep, says_something};
use crate::canon::{Block, BlockKind, DialectName, Fault, Request, Role, Turn};
use std::borrow::Cow;

/// A turn as it will be written. Each block with its place in the request, for faults.
#[derive(Debug)]
pub(super) struct Arranged<'r> {
    pub role: Role,
    pub blocks: Vec<(Cow<'r, Block>, (usize, usize))>,
}

/// The turns in the API's order. Turns that say nothing are left out.
pub(super) fn arrange<'r>(
    request: &'r Request,
    rules: &mut Rulings<'_>,
) -> Result<Vec<Arranged<'r>>, Fault> {
    // The catalogue lists `system_turns` for models that refuse them.
    let system_turns = !rules.refuses("system_turns");
    let mut arranged: Vec<Arranged<'r>> = Vec::new();
    for (t, turn) in request.turns.iter().enumerate() {
        if turn.name.is_some() {
            rules.dropped("name");
        }
        let path = Path::Root.field("messages");
        let path = path.index(t);
        let mut blocks = Vec::new();
        for (b, block) in turn.blocks.iter().enumerate() {
            if keep(block, &path.field("content").index(b), rules)? {
                blocks.push((Cow::Borrowed(block), (t, b)));
            }
        }
        if blocks.is_empty() {
            continue;
        }
        let mut role = turn.role;
        if role == Role::System {
            let may =
                system_turns && may_follow(arranged.last()) && may_precede(&request.turns[t + 1..]);
            if !may {
                role = Role::User;
                blocks
                    .iter_mut()
                    .for_each(|(block, _)| mark_as_system(block));
            }
        }
        match arranged.last_mut() {
            Some(last) if last.role == role => last.blocks.extend(blocks),
            _ => arranged.push(Arranged { role, blocks }),
        }
    }
    for turn in &mut arranged {
        if turn.role == Role::User {
            // Stable: results in their order, then the rest in its own.
            turn.blocks.sort_by_key(|(block, _)| !is_result(block));
        }
    }
    begin_with_user(&mut arranged)?;
    Ok(arranged)
}

/// After a user's turn (results count), or an assistant's that ends with the result of a server tool.
fn may_follow(last: Option<&Arranged<'_>>) -> bool {
    last.is_some_and(|last| match last.role {
        Role::User | Role::System => true,
        Role::Assistant => last
            .blocks
            .last()
            .is_some_and(|(block, _)| is_result(block)),
    })
}

/// At the end, or ahead of an assistant's turn.
fn may_precede(rest: &[Turn]) -> bool {
    rest.iter()
        .find(|turn| turn.role != Role::System && turn.blocks.iter().any(says_something))
        .is_none_or(|turn| turn.role == Role::Assistant)
}

/// Where instructions cannot stand as such they become the user's words, marked so that the model can tell.
fn mark_as_system(block: &mut Cow<'_, Block>) {
    if let BlockKind::Text { text, .. } = &block.kind {
        let text = format!("<system>\n{text}\n</system>");
        *block = Cow::Owned(Block {
            mark: block.mark,
            ..Block::text(text)
        });
    }
}

/// Results of the client's tools, and in an assistant's turn those of server tools: both are `…tool_result` on the wire.
fn is_result(block: &Block) -> bool {
    match &block.kind {
        BlockKind::ToolResult { .. } => true,
        BlockKind::Other { dialect, json } => {
            *dialect == DialectName::Messages
                && super::schema::type_of(json).is_some_and(|t| t.ends_with("tool_result"))
        }
        _ => false,
    }
}

/// A conversation that the assistant opens (a greeting) gets a user's turn ahead of it, since the API refuses it otherwise.
fn begin_with_user(turns: &mut Vec<Arranged<'_>>) -> Result<(), Fault> {
    match turns.first() {
        None => {
            let message = "must hold at least one message that says something";
            Err(Fault::invalid("messages", message))
        }
        Some(first) if first.role == Role::User => Ok(()),
        Some(_) => {
            let block = Block::text("(The assistant begins the conversation.)");
            turns.insert(
                0,
                Arranged {
                    role: Role::User,
                    blocks: vec![(Cow::Owned(block), (0, 0))],
                },
            );
            Ok(())
        }
    }
}
