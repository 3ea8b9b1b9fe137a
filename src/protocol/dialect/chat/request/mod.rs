//! Requests, both ways: a client's body → canon, canon → a provider's body.

mod node;
mod read;
pub use read::read;
mod messages;
mod parts;
mod write;
pub use write::write;
#[cfg(test)]
mod tests;
mod turns;
