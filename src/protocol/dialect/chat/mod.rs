//! OpenAI Chat Completions, and its many speakers.

pub mod errors;
pub mod events;
pub(in crate::protocol::dialect) mod mend;
#[cfg(test)]
mod recorded;
pub mod request;
pub(in crate::protocol::dialect) mod schema;

/// The last boundary of a character of `text` that is not after `at`.
fn char_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    // A character has four bytes at most, and 0 is a boundary.
    (0..=at)
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0)
}
