//! Bytes ⇄ meaning. Knows every grammar and every provider's manners; decides nothing, and opens nothing. In reading order.

pub mod dialect;
pub mod framing;
pub mod fuzz;
pub mod json;
pub mod multipart;
pub mod provider;
pub mod sound;
