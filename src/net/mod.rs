//! The hot path: drives the shard, knows no LLM. One executor a core. In reading order.
//!
//! What one chunk of a stream costs, from the provider's socket to the client's: one `recv` into a buffer of the thread, one copy
//! out of it without the framing (one allocation of that size), one step of the shard, at most one more copy when the shard wrote
//! in several pieces, one `sendmsg` of chunk head, data and tail. However many events a readiness brought, that is paid once.

/// The seam: what is asked of a runtime, and the two that answer.
pub mod runtime;
/// The link-time wrappers that mend glommio's rings; the one file that may be unsafe.
pub mod ring_flags;
/// No wait without an end.
pub mod park;
/// Executors: start, supervise, stop.
pub mod threads;
/// Letters between threads.
pub mod ring;
/// Time-outs of a core.
pub mod wheel;
/// hyper's traits over the seam.
pub mod hyper_rt;
/// The loop of a core.
pub mod run;
/// Who waits for what, towards clients.
mod clients;
/// Listener, protocol detection.
pub mod accept;
/// A client's socket whose first bytes were read already.
mod wire;
/// How long a connection may take, and who tells it to leave.
mod conn;
/// A client that is there.
mod presence;
/// A client's connection over HTTP/1.1.
mod http1;
/// One request of a client over HTTP/2.
mod downstream;
/// A client's body, whole and within bounds.
mod body;
/// Raw bytes both ways after a 101.
mod socket;
/// A buffer for heads.
mod spare;
/// Calls to endpoints.
mod upstream;
/// Connections to origins that are kept.
mod pool;
/// New connections to origins.
mod dial;
/// HTTP/1.1 towards origins.
mod h1;
/// HTTP/1.1 taken out of its framing, both ways.
mod framing;
/// HTTP/2 towards origins.
mod h2_client;
/// Certificates, ours and those we trust.
pub mod tls;
/// The operator's port.
pub mod admin;
/// Stop taking, finish, leave.
pub mod drain;
#[cfg(test)]
mod tests;
