//! The grammar of AWS Bedrock's Converse and ConverseStream (`providers/bedrock.md` 6.2 and 7; Amazon Bedrock API reference, read 2026-11).
//!
//! Facing up: `request::write`, `events::Decoder`, `errors::read`. The other direction (`request::read`, `events::Encoder`,
//! `events::write_whole`, `errors::write`) is whole too, so that what is written can be read back in tests, though no client speaks
//! it to us. The model and whether to stream stand in the path: a request that is read names no model, one that is written does not
//! say them. Deliberately knows no URL, no header and no signature (`provider/bedrock.rs` does) and no frames (`framing/eventstream`).
//! In reading order.

mod formats;

pub mod request;

pub mod events;

pub mod errors;

#[cfg(test)]
mod recorded;
