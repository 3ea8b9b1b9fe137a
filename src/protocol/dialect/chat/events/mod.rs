//! Answers, both ways: a provider's stream or body → events, events → a client's stream or body.

pub(in crate::protocol::dialect) mod decoder;
pub use decoder::Decoder;
mod calls;
pub(in crate::protocol::dialect) mod frame;
pub(in crate::protocol::dialect) mod encoder;
pub(in crate::protocol::dialect) mod usage;
pub use encoder::Encoder;
mod whole;
pub use whole::write_whole;
#[cfg(test)]
mod tests;
