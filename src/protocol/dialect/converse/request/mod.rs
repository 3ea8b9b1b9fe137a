//! Requests, both ways. In reading order.

mod read;
mod read_blocks;
pub use read::read;
// Answers hold the same blocks.
pub(super) use read_blocks::{citation, cited, reasoning_of, redacted};

mod family;
mod tools;
mod write;
mod write_blocks;
mod write_turns;
pub use write::write;
#[cfg(test)]
pub(super) use write_blocks::says_something;
pub(super) use write_blocks::{write_cited, write_input};

#[cfg(test)]
mod tests;
