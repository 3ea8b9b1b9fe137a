//! One binary for all integration tests: every further one would link the whole tree again.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect shall stop there"
)]

/// The official SDKs against the fake, and against a router before it.
mod clients;
/// The README's examples as they are printed.
mod readme;
/// Real nodes, real sockets.
mod loopback;
/// Seeds → a simulated node → checkers.
mod sim;
/// Arrows between rooms, banned words.
mod tidy;
