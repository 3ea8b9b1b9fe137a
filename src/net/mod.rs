//! The hot path: drives the shard, knows no LLM. One executor a core. In reading order.
//!
//! What one chunk of a stream costs, from the provider's socket to the client's: one `recv` into a buffer of the thread, one copy
//! out of it without the framing (one allocation of that size), one step of the shard, at most one more copy when the shard wrote
//! in several pieces, one `sendmsg` of chunk head, data and tail. However many events a readiness brought, that is paid once.

/// Listener, protocol detection.
pub mod accept;
pub mod admin;
/// A client's body, whole and within bounds.
mod body;
/// Who waits for what, towards clients.
mod clients;
/// How long a connection may take, and who tells it to leave.
mod conn;
/// New connections to origins.
mod dial;
/// One request of a client.
mod downstream;
pub mod drain;
/// The body of an HTTP/1.1 answer, taken out of its framing.
mod framing;
/// HTTP/1.1 towards origins.
mod h1;
/// HTTP/2 towards origins.
mod h2_client;
pub mod hyper_rt;
/// Connections to origins that are kept.
mod pool;
pub mod ring_flags;
pub mod ring;
pub mod watch;
pub mod threads;
/// The loop of a core.
pub mod run;
pub mod runtime;
/// Raw bytes both ways after a 101.
mod socket;
#[cfg(test)]
mod tests;
pub mod tls;
/// Calls to endpoints.
mod upstream;
pub mod wheel;
/// A client's socket, shared between hyper and who watches it.
mod wire;
