//! Why the ledger could not be written, and whether waiting helps.

use rusqlite::ErrorCode;

/// A commit, or an opening, that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub what: String,
    /// Another try fails the same way until somebody mends the file. A lock is let go and a disk is cleared; a constraint, a missing
    /// table or a damaged page stays.
    pub lasting: bool,
    /// Another program's lock.
    pub locked: bool,
}

impl Failure {
    /// A broken promise of our own.
    #[must_use]
    pub fn panicked() -> Self {
        Self {
            what: "the ledger's writer panicked".to_owned(),
            lasting: true,
            locked: false,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self {
            what: error.to_string(),
            lasting: !error.sqlite_error_code().is_some_and(passes),
            locked: error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

/// Conditions of the machine, not of the file (sqlite.org/rescode.html, read 2026-11).
fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::SystemIoFailure
            // Also what a process without free descriptors is told.
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationInterrupted
    )
}
