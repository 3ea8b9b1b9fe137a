//! One binary for all integration tests: every further one would link the whole tree again.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect shall stop there"
)]

/// Real nodes, real sockets.
mod loopback;
/// Seeds → a simulated node → checkers.
mod sim;
/// Arrows between rooms, banned words.
mod tidy;
