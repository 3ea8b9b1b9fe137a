//! A few real nodes over real sockets: both runtimes, more shards than cores, every version of HTTP on one port.
//!
//! What needs no socket is shown in `sim`. Every test ends in seconds; it waits for conditions, each with a bound, and where a time is
//! promised it is the promised one with room for a busy machine. In reading order: the means, then the promises.

#![allow(
    clippy::disallowed_methods,
    reason = "real sockets take real time: these tests wait for conditions and measure how long they took"
)]

/// Nodes: in this process, or the program itself.
mod house;
/// HTTP/1.1 by hand, plain or over TLS.
mod client;
/// HTTP/2 by the `h2` crate, plain or over TLS.
mod client_h2;
/// What a client asks, and what it makes of the answer.
mod words;
/// Each version of HTTP, each dialect.
mod answers;
/// Gemini's stream as one JSON array.
mod arrays;
/// A model of Google's, its calls and their signatures.
mod loops;
/// Many requests on one WebSocket.
mod sockets;
/// Responses over a WebSocket.
mod lanes;
/// The ledger, the metrics and the fakes' own books agree.
mod books;
/// Clients that leave, and clients that do not read.
mod leaving;
/// Client keys at run time.
mod keys;
/// Draining, reloading, breaking, starting again.
mod life;
/// Clients that mean harm.
mod hostile;
/// Providers that fail.
mod faults;
/// Limits that shards share.
mod leases;
/// Keys of providers, encrypted at rest.
mod vault;
/// A ledger that is locked, slow, or of an earlier life.
mod ledger;
/// A Redis of its own for a test.
mod redis_server;
/// Limits that instances share over Redis.
mod instances;
/// Prompt caches, and what the provider says was read and written.
mod caches;
/// Own servers that are asked how they are.
mod servers;
/// Answers that are found again.
mod spool;
