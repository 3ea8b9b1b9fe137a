//! The order of turns that Converse demands of its strictest models: user first, one turn a role, results first in the turn after their
//! call, and instructions in the middle only between a user's turn and the assistant's.

use super::write_blocks::{keep, says_something};
use crate::canon::{Block, BlockKind, Fault, Request, Role, Turn};
use crate::protocol::dialect::messages::schema::Path;
use crate::protocol::dialect::messages::write::Rulings;
use std::borrow::Cow;

/// A turn as it will be written. Each block with its place in the request, for faults.
#[derive(Debug)]
pub(super) struct Arranged<'r> {
    pub role: Role,
    pub blocks: Vec<Placed<'r>>,
}

/// A block with the numbers of its turn and of itself.
type Placed<'r> = (Cow<'r, Block>, (usize, usize));

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
        let mut blocks = kept(turn, t, rules)?;
        if blocks.is_empty() {
            continue;
        }
        let mut role = turn.role;
        let may = system_turns
            && arranged.last().is_some_and(|a| a.role != Role::Assistant)
            && may_precede(&request.turns[t + 1..]);
        if role == Role::System && !may {
            role = Role::User;
            blocks
                .iter_mut()
                .for_each(|(block, _)| mark_as_system(block));
        }
        match arranged.last_mut() {
            Some(last) if last.role == role => last.blocks.extend(blocks),
            _ => arranged.push(Arranged { role, blocks }),
        }
    }
    for turn in arranged.iter_mut().filter(|t| t.role == Role::User) {
        // Stable: results in their order, then the rest in its own.
        let is_result = |block: &Block| matches!(block.kind, BlockKind::ToolResult { .. });
        turn.blocks.sort_by_key(|(block, _)| !is_result(block));
    }
    begin_with_user(request, &mut arranged)?;
    Ok(arranged)
}

fn kept<'r>(turn: &'r Turn, t: usize, rules: &mut Rulings<'_>) -> Result<Vec<Placed<'r>>, Fault> {
    let path = Path::Root.field("messages");
    let path = path.index(t);
    let mut blocks = Vec::new();
    for (b, block) in turn.blocks.iter().enumerate() {
        if keep(block, &path.field("content").index(b), rules)? {
            blocks.push((Cow::Borrowed(block), (t, b)));
        }
    }
    Ok(blocks)
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

/// A conversation that the assistant opens (a greeting) gets a user's turn ahead of it, since the API refuses it otherwise.
fn begin_with_user(request: &Request, turns: &mut Vec<Arranged<'_>>) -> Result<(), Fault> {
    // A stored prompt brings its own messages.
    let stored = request.extra.iter().any(|e| e.name == "promptVariables");
    match turns.first() {
        None if stored => Ok(()),
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
