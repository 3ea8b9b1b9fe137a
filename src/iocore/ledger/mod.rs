//! What was spent, by whom, where: one SQLite row an attempt, and sums by the hour.
//!
//! Append-only. Bodies and raw usage objects are never in it, and names are stored once, so that ten million rows stay small
//! (`FIELD-BUGS.md` 61). One writer and grouped commits: no statement of ours waits for another of ours (62).

mod names;
mod schema;
mod failure;
mod figures;
mod price;
/// A row as bytes.
pub mod wire;
/// A row for whoever asks for its answer.
pub mod told;
pub use failure::Failure;
pub use figures::Figures;
pub use wire::WireRow;
pub(crate) mod writer;
pub use writer::{Committed, Writer};
/// How long what is kept.
mod retention;
/// What tenants are told.
pub mod asked;
/// What budgets go on from.
mod spent;
mod report;
pub use report::{Dimension, Group, Query, ReadError, Reader, Report, Totals};

use std::path::{Path, PathBuf};

/// Where the ledger of a data directory lies.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("ledger.sqlite")
}
