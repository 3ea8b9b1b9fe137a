//! Stokehold, an inference router. The rooms in reading order; each may import only rooms above it
//! (`tests/tidy.rs` has the table).

/// The words: ids, units, time, text.
pub mod base;
/// What is said, whoever says it.
pub mod canon;
/// YAML → values, once.
pub mod config;
/// The hot path: sockets in, inputs out; outputs in, writes out.
pub mod net;
/// Start and stop of everything.
pub mod node;
/// Commands that serve no traffic.
pub mod offline;
/// Decisions, as functions of values.
pub mod policy;
/// Bytes ⇄ meaning.
pub mod protocol;
/// One core's state, without I/O.
pub mod shard;
