//! Cache marks written into a body and taken out of one, and hints at its top level, as edits of its bytes: all other bytes stay as they are.
//!
//! Where a mark stands is policy's to say and `elements` to find; this knows how each API writes one. Bodies are JSON that was read before.

use super::request::{Edit, apply};
use crate::canon::{CacheTtl, DialectName};
use crate::protocol::dialect::elements::{Door, Elements};
use crate::protocol::json::skim::Skim;
use bytes::Bytes;
use smallvec::SmallVec;
use std::fmt::Write as _;
use std::ops::Range;

/// How an API spells a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// `"cache_control":{"type":"ephemeral"}` as a member of a block (Anthropic; Claude on Bedrock, Vertex and OpenRouter).
    CacheControl,
    /// `{"cachePoint":{"type":"default"}}` behind a block (Converse).
    CachePoint,
    /// `"prompt_cache_breakpoint":{"mode":"explicit"}` as a member of a part (OpenAI from GPT-5.6 on).
    Breakpoint,
}

/// A mark to be written behind a spot of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its number in `Elements::spots`.
    pub spot: usize,
    /// `None`: the API's default.
    pub ttl: Option<CacheTtl>,
}

/// The edits that write `marks` into the body that `elements` were read from. A spot that bears none is passed over.
#[must_use]
pub fn marking(
    dialect: DialectName,
    elements: &Elements,
    spelling: Spelling,
    marks: &[Written],
) -> Vec<Edit> {
    let mut edits = Vec::with_capacity(marks.len() * 2);
    for mark in marks {
        let Some(door) = elements.door(mark.spot) else {
            continue;
        };
        let said = spelling.said(mark.ttl);
        match door {
            Door::Within { member } => {
                edits.push(Edit::insert(member as usize, format!(",{said}")))
            }
            Door::Behind { item } => edits.push(Edit::insert(item as usize, format!(",{said}"))),
            Door::Alone { from, to } => {
                let word = match dialect {
                    DialectName::Responses => "input_text",
                    _ => "text",
                };
                let begin = format!("[{{\"type\":\"{word}\",\"text\":");
                edits.push(Edit::insert(from as usize, begin));
                edits.push(Edit::insert(to as usize, format!(",{said}}}]")));
            }
        }
    }
    edits
}

impl Spelling {
    fn said(self, ttl: Option<CacheTtl>) -> String {
        let (begin, end) = match self {
            Self::CacheControl => ("\"cache_control\":{\"type\":\"ephemeral\"", "}"),
            Self::CachePoint => ("{\"cachePoint\":{\"type\":\"default\"", "}}"),
            Self::Breakpoint => ("\"prompt_cache_breakpoint\":{\"mode\":\"explicit\"", "}"),
        };
        let mut said = begin.to_owned();
        if let Some(ttl) = ttl {
            // Writing into a string cannot fail.
            let _ = write!(said, ",\"ttl\":\"{}\"", ttl.as_str());
        }
        said + end
    }
}

/// The edits that take every mark out of a body: of tools, instructions, messages, what is within them, and that for the whole request. What is
/// only called like a mark, in the input of a tool say, stays. A search of the body where there is none.
#[must_use]
pub fn unmarking(body: &[u8]) -> Vec<Edit> {
    let there = |name: &[u8]| memchr::memmem::find(body, name).is_some();
    let mut edits = Vec::new();
    if [
        &b"\"cache_control\""[..],
        b"\"cachePoint\"",
        b"\"prompt_cache_breakpoint\"",
    ]
    .iter()
    .any(|name| there(name))
    {
        // What is no JSON is left as it is.
        let _ = unmark(&mut Skim::of(body), 0, &mut edits);
    }
    edits
}

/// Something between commas.
struct Piece {
    at: Range<usize>,
    leaves: bool,
}

/// Passes an object. True where it is nothing but a mark, and is to leave as a whole.
fn unmark(skim: &mut Skim<'_>, depth: u32, edits: &mut Vec<Edit>) -> Option<bool> {
    let bytes = skim.bytes();
    let mut pieces: SmallVec<[Piece; 8]> = SmallVec::new();
    let (mut points, mut others) = (0, 0);
    skim.members(|skim, name| {
        let start = name.start - 1;
        let said = &bytes[name];
        let leaves = matches!(said, b"cache_control" | b"prompt_cache_breakpoint");
        match (skim.next()?, said) {
            _ if leaves => skim.value().map(drop)?,
            (b'[', _) if depth < DEPTH_MAX && holds_blocks(said, depth) => {
                unmark_items(skim, depth, edits)?;
            }
            (b'{', b"toolConfig" | b"source") if depth < DEPTH_MAX => {
                unmark(skim, depth + 1, edits)?;
            }
            _ => skim.value().map(drop)?,
        }
        points += usize::from(said == b"cachePoint");
        others += usize::from(said != b"cachePoint");
        let at = start..skim.at();
        pieces.push(Piece { at, leaves });
        Some(())
    })?;
    if depth > 0 && points == 1 && others == 0 {
        return Some(true);
    }
    cut(&pieces, edits);
    Some(false)
}

fn unmark_items(skim: &mut Skim<'_>, depth: u32, edits: &mut Vec<Edit>) -> Option<()> {
    let mut pieces: SmallVec<[Piece; 8]> = SmallVec::new();
    skim.items(|skim| {
        let is_object = skim.next()? == b'{';
        let start = skim.at();
        let leaves = if is_object {
            unmark(skim, depth + 1, edits)?
        } else {
            skim.value()?;
            false
        };
        let at = start..skim.at();
        pieces.push(Piece { at, leaves });
        Some(())
    })?;
    cut(&pieces, edits);
    Some(())
}

/// Lists whose items, or the items' own lists, may be marked. `input` is Responses' at the top and a tool's own further in.
fn holds_blocks(name: &[u8], depth: u32) -> bool {
    match name {
        b"tools" | b"system" | b"messages" | b"content" => true,
        b"input" | b"instructions" => depth == 0,
        _ => false,
    }
}

/// Takes out what leaves, each with one of the commas beside it.
fn cut(pieces: &[Piece], edits: &mut Vec<Edit>) {
    let mut stays = false;
    for (i, piece) in pieces.iter().enumerate() {
        stays |= !piece.leaves;
        if !piece.leaves {
            continue;
        }
        let at = match (stays, i.checked_sub(1), pieces.get(i + 1)) {
            (true, Some(before), _) => pieces[before].at.end..piece.at.end,
            (_, _, Some(after)) => piece.at.start..after.at.start,
            (_, _, None) => piece.at.clone(),
        };
        edits.push(Edit {
            at,
            with: Bytes::new(),
        });
    }
}

/// Which of `names` stand at the top level of a body, in their order; null counts as said.
#[must_use]
pub fn told(body: &[u8], names: &[&str]) -> SmallVec<[bool; 4]> {
    let mut found: SmallVec<[bool; 4]> = names.iter().map(|_| false).collect();
    let near = |name: &&str| memchr::memmem::find(body, name.as_bytes()).is_some();
    if names.iter().any(near) {
        let _ = Skim::of(body).members(|skim, name| {
            let said = &skim.bytes()[name];
            if let Some(i) = names.iter().position(|n| n.as_bytes() == said) {
                found[i] = true;
            }
            skim.value().map(drop)
        });
    }
    found
}

/// The edit that puts members (`"a":"b",`: each with a comma behind) ahead of all others of a body, which must have one at least.
#[must_use]
pub fn ahead(body: &[u8], members: String) -> Option<Edit> {
    let brace = body.iter().position(|byte| *byte == b'{')?;
    Some(Edit::insert(brace + 1, members))
}

/// A body with edits, which must not overlap.
#[must_use]
pub fn edited(body: &Bytes, mut edits: Vec<Edit>) -> SmallVec<[Bytes; 4]> {
    edits.sort_by_key(|e| (e.at.start, e.at.end));
    apply(body, edits.into_iter().collect())
}

/// The same in one piece.
#[must_use]
pub fn edited_whole(body: Bytes, edits: Vec<Edit>) -> Bytes {
    if edits.is_empty() {
        return body;
    }
    edited(&body, edits).concat().into()
}

/// Content within content is looked into so deep: the whole, a message, its block, the block's content, with room for one more.
const DEPTH_MAX: u32 = 6;

#[cfg(test)]
#[path = "marks_tests.rs"]
mod tests;
