//! Answers are safe here before a client hears of them: append-only files of a shard's own, which outlive the process.
//!
//! A shard copies each record into its mapped segment (`writer`); the I/O core reads them as they grow (`index`), answers who comes back for an
//! answer (`keeper`), and deletes what nobody needs. After a crash the segments are read anew: what was
//! not ended is closed as interrupted, and rows that the ledger does not have are written there (`recover`). In reading order.

mod record;
mod map;
mod segment;
mod wire;
mod writer;
pub use writer::{Supply, Writer};
mod index;
mod summary;
mod keeper;
pub use keeper::{Asked, Keeper, Parts};
mod recover;
pub use recover::{Recovered, recover};
#[cfg(test)]
mod tests;
