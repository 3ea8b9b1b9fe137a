//! The grammar of Anthropic Messages (`POST /v1/messages`).
//!
//! Facing down: `request::read`, `events::Encoder`, `events::write_whole`, `errors::write`. Facing up: `request::write`,
//! `events::Decoder`, `errors::read`. Deliberately knows no URL and no header (`provider/anthropic.rs` does), counts no tokens, and
//! keeps no list of models: what a model does not take comes in with `Target::rules`. In reading order.

// Fields, paths and objects of JSON, which Converse takes apart and puts together the same way.
pub(crate) mod schema;

pub(in crate::protocol::dialect) mod read;
mod read_blocks;
pub mod request;
// What a target takes, and how much Claude thinks, hold for Claude behind Converse too.
pub(in crate::protocol::dialect) mod write;
mod write_blocks;
pub(in crate::protocol::dialect) mod write_thinking;
mod write_turns;

mod decode;
mod encode;
pub mod events;
pub(in crate::protocol::dialect) mod usage;
mod whole;

pub mod errors;

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests_cross;
#[cfg(test)]
mod tests_events;
#[cfg(test)]
mod tests_request;
