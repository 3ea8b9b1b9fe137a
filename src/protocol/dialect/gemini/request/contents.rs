//! `contents` and `systemInstruction` → the system's blocks and turns.
//!
//! Calls and results need not carry ids here. Both are given one, so that other dialects can match them: the same every time, since a
//! conversation only ever grows at its end.

use super::{MADE_ID, parts};
use crate::base::Str;
use crate::canon::{Block, Fault, Request, Role, Turn};
use crate::protocol::dialect::gemini::node::Node;

pub(super) fn read(node: &Node<'_, '_>, request: &mut Request) -> Result<(), Fault> {
    let items = node.items()?;
    if items.is_empty() {
        return Err(node.wrong("at least one content"));
    }
    let mut calls = Calls::default();
    for (i, raw) in items.iter().enumerate() {
        let turn = content(&node.item(i, raw), &mut calls)?;
        request.turns.push(turn);
    }
    Ok(())
}

/// `systemInstruction`: its role means nothing.
pub(super) fn instruction(node: &Node<'_, '_>) -> Result<Vec<Block>, Fault> {
    let members = node.members()?;
    let mut blocks = Vec::new();
    if let Some(list) = members.get(node, "parts") {
        let mut calls = Calls::default();
        for (i, raw) in list.items()?.iter().enumerate() {
            blocks.extend(parts::read(&list.item(i, raw), &mut calls)?);
        }
    }
    Ok(blocks)
}

fn content(node: &Node<'_, '_>, calls: &mut Calls) -> Result<Turn, Fault> {
    let members = node.members()?;
    let role = match members.get(node, "role") {
        None => Role::User,
        Some(role) => match &*role.string()? {
            // Results once had a role of their own, which is still taken.
            "user" | "function" | "" => Role::User,
            "model" => Role::Assistant,
            _ => return Err(role.wrong("`user` or `model`")),
        },
    };
    let mut blocks = Vec::new();
    if let Some(list) = members.get(node, "parts") {
        for (i, raw) in list.items()?.iter().enumerate() {
            blocks.extend(parts::read(&list.item(i, raw), calls)?);
        }
    }
    Ok(Turn {
        role,
        blocks,
        name: None,
    })
}

/// The calls that no result has answered yet.
#[derive(Default)]
pub(super) struct Calls {
    open: Vec<(Str, Str)>,
    made: usize,
}

impl Calls {
    /// The id of a call: its own, or one that is made.
    pub(super) fn called(&mut self, id: Option<Str>, name: &Str) -> Str {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| {
            self.made += 1;
            Str::from(format!("{MADE_ID}{}", self.made))
        });
        self.open.push((id.clone(), name.clone()));
        id
    }

    /// The id of the call that a result answers: by id, else by name in order, else whichever is next.
    pub(super) fn answered(&mut self, id: Option<Str>, name: &Str) -> Str {
        let id = id.filter(|id| !id.is_empty());
        let by_id = |wanted: &Str| self.open.iter().position(|(open, _)| open == wanted);
        let unnamed = |open: &Str| id.is_none() || open.starts_with(MADE_ID);
        let by_name = || {
            let fits = |(open, called): &(Str, Str)| called == name && unnamed(open);
            self.open.iter().position(fits)
        };
        let next = || (id.is_none() && !self.open.is_empty()).then_some(0);
        match id.as_ref().and_then(by_id).or_else(by_name).or_else(next) {
            Some(at) => self.open.remove(at).0,
            None => id.unwrap_or_else(|| {
                self.made += 1;
                Str::from(format!("{MADE_ID}{}", self.made))
            }),
        }
    }
}
