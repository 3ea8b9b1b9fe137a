//! Requests: read a client's, write a provider's.

pub use super::read::read;
pub use super::write::write;
