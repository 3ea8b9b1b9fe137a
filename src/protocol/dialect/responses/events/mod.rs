//! Answers, both ways: a provider's stream or body → events, events → a client's stream or body.

pub(in crate::protocol::dialect) mod outline;
mod slots;
mod decoder;
pub use decoder::Decoder;
mod wire;
mod growing;
mod hosted;
mod encoder;
pub use encoder::Encoder;
mod whole;
pub use whole::write_whole;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_hosted;
#[cfg(test)]
mod tests_types;
