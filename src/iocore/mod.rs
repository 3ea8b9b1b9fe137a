//! The I/O core: the one thread that may block. Writes the ledger and the log, resolves names, hears signals.
//!
//! Answers mail and decides nothing. Nothing on the hot path waits for it: what it cannot take at once waits in bounded lanes. In
//! reading order.

pub mod calendar;
pub mod credentials;
pub mod lane;
pub mod claim;
pub mod ledger;
pub mod trace;
pub mod log;
pub mod notify;
pub mod resolve;
mod books;
pub mod run;
