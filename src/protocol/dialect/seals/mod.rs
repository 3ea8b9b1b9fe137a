//! What only its maker can read, found in requests and answers, and left out of requests.
//!
//! Signatures of thinking, redacted thinking, encrypted reasoning, signatures of calls: a digest of each tells it again, whichever dialect brings it
//! back. Knows the places where such things stand and what this router wraps around them; who made one, and who may be shown it, is not known
//! here. In bytes that pass they are found and cut where they stand (`find`), in canon by its own fields; answers are searched for a word
//! first, so that a delta without one costs a scan and no parse.

mod answers;
mod find;
#[cfg(test)]
mod tests;
pub use answers::{in_answer, in_event};

use super::splice::Edit;
use super::{Dropped, packed_ids, responses};
use crate::canon::{Block, BlockKind, DialectName, Maker, Request, Seal};
use bytes::Bytes;
use find::Find;
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_128;

/// Those of a request, in its order. Costs a pass over the body; nothing of it is copied. None of a body that is no JSON, which was refused
/// before.
#[must_use]
pub fn of_body(dialect: DialectName, body: &Bytes) -> Vec<Seal> {
    Find::through(dialect, body, &|_| false).seals
}

/// What takes those out of `body` that `go`, and what is told of it. A thought goes with its signature, a call stays without. Nothing where
/// nobody goes.
pub fn cut(dialect: DialectName, body: &Bytes, go: &dyn Fn(&Seal) -> bool) -> (Vec<Edit>, Dropped) {
    let found = Find::through(dialect, body, go);
    (found.edits, found.told)
}

/// The same of a request that was read whole.
#[must_use]
pub fn of_request(request: &Request) -> Vec<Seal> {
    let mut seals = Vec::new();
    for turn in &request.turns {
        seals.extend(turn.blocks.iter().filter_map(of_block));
    }
    seals
}

/// Takes those out that `go`, as `cut` does.
pub fn leave_out(request: &mut Request, go: &dyn Fn(&Seal) -> bool) -> Dropped {
    let mut told = Dropped::new();
    request.turns.retain_mut(|turn| {
        let had = turn.blocks.len();
        turn.blocks.retain_mut(|block| {
            let goes = of_block(block).is_some_and(|seal| go(&seal));
            !goes || strip(block, &mut told)
        });
        had == 0 || !turn.blocks.is_empty()
    });
    told
}

/// Takes a block's seal off. False where nothing is left. The words of a thought stay: who reads them without a signature, may.
fn strip(block: &mut Block, told: &mut Dropped) -> bool {
    block.signature = None;
    let is_empty = match &block.kind {
        BlockKind::RedactedThinking { .. } => true,
        BlockKind::Thinking { text } => text.is_empty(),
        _ => false,
    };
    tell(told, if is_empty { THOUGHT } else { SIGNATURE });
    !is_empty
}

fn of_block(block: &Block) -> Option<Seal> {
    let call = matches!(
        block.kind,
        BlockKind::ToolCall { .. } | BlockKind::Text { .. }
    );
    let words = match (&block.kind, &block.signature) {
        (BlockKind::RedactedThinking { data }, _) => data,
        (_, Some(signature)) => signature,
        _ => return None,
    };
    // Nobody but Google signs calls and text.
    let stands = if call {
        Maker::Google
    } else {
        Maker::Anthropic
    };
    seal(words, Some(stands))
}

/// A seal of these words; `None` where there are none. `stands`: whose it is by its place, where the words do not tell.
fn seal(words: &str, stands: Option<Maker>) -> Option<Seal> {
    let (core, told) = core(words);
    (!core.is_empty()).then(|| Seal {
        digest: xxh3_128(core.as_bytes()),
        bytes: u32::try_from(core.len()).unwrap_or(u32::MAX),
        maker: told.or(stands),
        needed: false,
    })
}

/// Its maker's own words within what this router wrapped around them, and whose they are by their looks.
fn core(words: &str) -> (Cow<'_, str>, Option<Maker>) {
    let (core, wrapped) = match responses::reasoning_words(words) {
        Some(core) => core,
        None => (Cow::Borrowed(words), false),
    };
    let maker = match core.starts_with(FERNET) {
        true => Some(Maker::OpenAi),
        // An item of Responses: of its speakers only xAI's looks otherwise.
        false => wrapped.then_some(Maker::Xai),
    };
    (core, maker)
}

fn tell(told: &mut Dropped, name: &str) {
    if !told.iter().any(|known| known == name) {
        told.push(name.to_owned());
    }
}

/// Fernet tokens begin so: a version, then four bytes of a time that are 0 until 2106. OpenAI's `encrypted_content` is one.
const FERNET: &str = "gAAAA";

/// What is told of a thought that is left out, and of a signature of something that stays.
const THOUGHT: &str = "thinking";
const SIGNATURE: &str = "signature";

/// What stands in a packed id.
fn unpacked(id: &str) -> Option<String> {
    packed_ids::unpack(id).map(|(_, signature)| signature)
}
