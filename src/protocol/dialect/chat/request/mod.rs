//! Requests, both ways: a client's body → canon, canon → a provider's body.

pub(in crate::protocol::dialect) mod node;
pub(in crate::protocol::dialect) mod read;
pub use read::read;
pub(in crate::protocol::dialect) mod messages;
pub(in crate::protocol::dialect) mod parts;
pub(in crate::protocol::dialect) mod write;
pub use write::write;
#[cfg(test)]
mod tests;
pub(in crate::protocol::dialect) mod turns;
