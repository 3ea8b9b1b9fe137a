//! What is old leaves the ledger: rows, sums by the minute, sums by the hour. Sums by the day stay for ever.
//!
//! In slices, so that no row waits long for it; and each slice says in its own transaction from when on what is left is whole, so that a report
//! never takes a part for all.

use super::schema;
use super::writer::Writer;
use crate::base::WallTime;
use crate::config::Ledger;
use rusqlite::TransactionBehavior;

const DAY: i64 = schema::DAILY.nanos;

/// Rows of one slice: some milliseconds of work.
const SLICE: usize = 2_000;

impl Writer {
    /// Takes one slice of what is older than `config` keeps; true when there may be more.
    pub fn forget(&mut self, config: &Ledger, now: WallTime) -> rusqlite::Result<bool> {
        // Whole days: then an hour or a minute is never cut.
        let since = |days: u32| (now.0.div_euclid(DAY) - i64::from(days)).max(0) * DAY;
        let (rows, minutes, hours) = (
            since(config.rows_kept_days),
            since(config.minutes_kept_days),
            since(config.hours_kept_days),
        );
        let transaction = self
            .connection()
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (what, since) in [("rows", rows), ("minutes", minutes), ("hours", hours)] {
            transaction.execute(
                "UPDATE kept SET since = ?2 WHERE what = ?1 AND since < ?2",
                (what, since),
            )?;
        }
        let mut gone = transaction.execute(
            &format!(
                "DELETE FROM attempt WHERE rowid IN (SELECT rowid FROM attempt WHERE started < ?1 ORDER BY started LIMIT {SLICE})"
            ),
            [rows],
        )?;
        // A minute of all names at once, and an hour of them: these are few.
        for (rollup, since) in [(schema::MINUTELY, minutes), (schema::HOURLY, hours)] {
            let (table, unit) = (rollup.table, rollup.unit);
            gone += transaction.execute(
                &format!(
                    "DELETE FROM {table} WHERE {unit} < min(?1, (SELECT min({unit}) FROM {table}) + 60)"
                ),
                [since / rollup.nanos],
            )?;
        }
        transaction.commit()?;
        Ok(gone > 0)
    }
}
