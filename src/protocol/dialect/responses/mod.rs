//! OpenAI Responses, and what xAI, OpenRouter and own machines make of it (OpenAI API reference, read 2026-08; SDK 3.54.0).
//!
//! A request is a list of items, an answer is another; a stream tells of each item as it grows. What canon keeps of a reasoning item
//! is decided in `reasoning`. Deliberately knows nothing of stored answers: ids of earlier ones pass as `Extra`, for who made them.
//! In reading order.

pub(in crate::protocol::dialect) mod schema;
mod reasoning;
pub(super) use reasoning::words as reasoning_words;
pub(in crate::protocol::dialect) mod usage;
pub mod request;
/// Stands within ids of items that we made of other providers' tools.
const MADE_MARK: &str = "_made_";

mod echo;
pub use echo::Echo;
pub mod events;
pub mod errors;
pub mod socket;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests_cross;

pub(in crate::protocol::dialect) use request::{is_aside, is_made, is_note};
