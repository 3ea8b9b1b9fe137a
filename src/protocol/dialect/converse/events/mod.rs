//! Answers, both ways. In reading order.

mod usage;

mod decoder;
pub use decoder::Decoder;

mod encoder;
pub use encoder::Encoder;
mod whole;
pub use whole::write_whole;

#[cfg(test)]
mod tests;
