//! Those that an answer brings.

use super::seal;
use crate::canon::{BlockStart, Delta, DialectName, Event};
use crate::protocol::json::walk::{Broken, Start, Walk};
use memchr::memmem;

/// The digests of those in an answer's bytes: an event's data, or a whole body. Costs a search or two where there is none. An event is told by its
/// name where it has one: in some dialects only a few can hold any.
pub fn in_answer(dialect: DialectName, name: &[u8], data: &[u8], each: &mut dyn FnMut(u128)) {
    if !may_bring(dialect, name, data) {
        return;
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // What is no JSON is told by who reads it.
    let _ = value(&mut Walk::of(text), each);
}

/// That of an event of an answer which is read.
#[must_use]
pub fn in_event(event: &Event) -> Option<u128> {
    let words = match event {
        Event::BlockDelta {
            delta: Delta::Signature(words),
            ..
        } => words,
        Event::BlockStart {
            block: BlockStart::RedactedThinking { data },
            ..
        } => data,
        _ => return None,
    };
    seal(words, None).map(|seal| seal.digest)
}

fn may_bring(dialect: DialectName, name: &[u8], data: &[u8]) -> bool {
    let has = |word: &str| memmem::find(data, word.as_bytes()).is_some();
    match (dialect, name) {
        (DialectName::Messages, b"content_block_delta") => has("\"signature\""),
        (DialectName::Messages, b"content_block_start") => has("\"redacted_thinking\""),
        (DialectName::Messages, b"") => has("\"signature\"") || has("\"redacted_thinking\""),
        // What `added` and deltas hold is not whole yet; the last event says all again.
        (DialectName::Responses, b"response.output_item.done" | b"") => {
            has("\"encrypted_content\"") || has("\"thought_signature\"")
        }
        (DialectName::Chat, _) => has("\"reasoning_details\"") || has("\"thought_signature\""),
        (DialectName::Gemini, _) => has("\"thoughtSignature\""),
        _ => false,
    }
}

/// Every member of a known name, wherever it stands.
fn value(walk: &mut Walk<'_>, each: &mut dyn FnMut(u128)) -> Result<(), Broken> {
    match walk.start() {
        Start::Object => object(walk, each),
        Start::Array => walk.items(|walk| value(walk, each)),
        _ => walk.value().map(drop),
    }
}

fn object(walk: &mut Walk<'_>, each: &mut dyn FnMut(u128)) -> Result<(), Broken> {
    let (mut data, mut redacted) = (None, false);
    walk.members(|walk, name| {
        if walk.start() != Start::Text {
            return value(walk, each);
        }
        let said = walk.string()?;
        match &*name.text()? {
            "signature" | "encrypted_content" | "thoughtSignature" | "thought_signature" => {
                let found = said.text().ok().and_then(|words| seal(&words, None));
                found.into_iter().for_each(|seal| each(seal.digest));
            }
            "data" => data = Some(said),
            "type" => {
                redacted |= matches!(
                    said.plain(),
                    Some("redacted_thinking" | "reasoning.encrypted")
                );
            }
            _ => {}
        }
        Ok(())
    })?;
    if let (true, Some(said)) = (redacted, data) {
        let found = said.text().ok().and_then(|words| seal(&words, None));
        found.into_iter().for_each(|seal| each(seal.digest));
    }
    Ok(())
}
