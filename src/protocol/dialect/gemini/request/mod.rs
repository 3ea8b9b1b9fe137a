//! Requests, both ways: a client's body → canon, canon → a provider's body.

mod read;
pub use read::read;
mod config;
mod contents;
mod openapi;
mod parts;
mod results;
mod tools;
mod write;
pub use write::write;
mod write_config;
mod write_parts;
pub(super) use write_parts::{arguments, is_whole, one_line};
mod write_turns;
#[cfg(test)]
mod tests;

/// What the ids of calls begin with that had none: Google's answers leave them out, and all other dialects match results by them.
/// Google is not told of ids that it did not give out.
pub(in crate::protocol::dialect) const MADE_ID: &str = "gcall_";

/// Stands for a signature that was lost or never made: Google's own word for it (Gemini docs, thought signatures, read 2026-08), in the
/// base64 of the field.
pub(in crate::protocol::dialect) const NO_SIGNATURE: &str =
    "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";

/// The same as some clients write it.
pub(super) const NO_SIGNATURE_BARE: &str = "skip_thought_signature_validator";

/// Whether a signature says that there is none.
pub(in crate::protocol::dialect) fn is_no_signature(said: &str) -> bool {
    said == NO_SIGNATURE || said == NO_SIGNATURE_BARE
}
