//! Answers, both ways: a provider's chunks → events, events → a client's chunks.

mod calls;
mod citations;
mod decoder;
pub(in crate::protocol::dialect) use decoder::CANDIDATES_MAX;
pub use decoder::Decoder;
mod usage;
pub(in crate::protocol::dialect) use usage::read as read_usage;
pub(in crate::protocol::dialect) mod stop;
mod encoder;
pub use encoder::Encoder;
mod parts;
mod whole;
pub use whole::write_whole;
#[cfg(test)]
mod tests;
