//! Stokehold, an inference router. The rooms in reading order; each may import only rooms above it (`tests/tidy.rs` has the table).

/// The words: ids, units, time, text.
pub mod base;
/// What is said, whoever says it.
pub mod canon;
/// Bytes ⇄ meaning.
pub mod protocol;
/// Decisions, as functions of values.
pub mod policy;
/// YAML → values, once.
pub mod config;
/// One core's state, without I/O.
pub mod shard;
/// A provider of our own, as a value.
pub mod fake;
/// The hot path: sockets in, inputs out; outputs in, writes out.
pub mod net;
/// The I/O core: the ledger, the log, names; what may block.
pub mod iocore;
/// Start and stop: I/O core, shards, listeners.
pub mod node;
/// Commands that serve no traffic.
pub mod offline;
