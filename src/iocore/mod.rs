//! The I/O core: the one thread that may block. Writes the ledger and the log, resolves names, hears signals, fetches credentials, asks own
//! servers how they are, and Redis for leases of limits that instances share.
//!
//! Answers mail and decides nothing. Nothing on the hot path waits for it: what it cannot take at once waits in bounded lanes. In
//! reading order.

pub mod calendar;
mod http;
pub mod credentials;
pub mod servers;
pub mod lane;
pub mod claim;
pub mod secret;
pub mod keys;
pub mod prefixes;
pub mod ledger;
pub mod trace;
pub mod log;
pub mod notify;
pub mod resolve;
pub mod spool;
pub mod redis;
mod books;
pub mod run;
