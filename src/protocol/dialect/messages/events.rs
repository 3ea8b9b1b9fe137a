//! Answers: read a provider's, write a client's; streamed or whole.

pub use super::decode::Decoder;
pub use super::encode::Encoder;
pub use super::whole::write_whole;
