//! The one writer. A batch is written whole or not at all, and writing it again changes nothing.

use super::failure::Failure;
use super::{names, schema};
use crate::base::{FixedHasher, NanoUsd, Str, Tokens};
use crate::shard::{LedgerRow, Outcome};
use rusqlite::{Connection, Statement, Transaction, TransactionBehavior, params_from_iter};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

/// An open ledger.
#[derive(Debug)]
pub struct Writer {
    connection: Connection,
    dictionary: Dictionary,
}

/// Ids of names in the file.
#[derive(Debug, Default)]
struct Dictionary {
    texts: HashMap<String, i64, FixedHasher>,
    /// Of all names of a row at once: nearly every row has the names of one before.
    rows: HashMap<names::Of, [i64; 9], FixedHasher>,
}

/// More than any configuration has; the file keeps them all.
const DICTIONARY_MAX: usize = 65_536;

impl Dictionary {
    fn clear(&mut self) {
        self.texts.clear();
        self.rows.clear();
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    pub written: usize,
    /// Rows that were there already: a batch whose commit succeeded although it was reported to fail.
    pub duplicates: usize,
}

type Hourly = BTreeMap<[i64; 10], [i64; SUMS]>;

const SUMS: usize = schema::SUMS.len();

impl Writer {
    /// Opens or makes the ledger and brings its tables up to date. Another program's lock is waited for up to `patience`. An error for
    /// a file of a newer version.
    pub fn open(path: &Path, patience: Duration) -> Result<Self, Failure> {
        Ok(Self::open_at(path, patience, schema::VERSION)?)
    }

    fn open_at(path: &Path, patience: Duration, version: usize) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(patience)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // NORMAL: with WAL a crash of the process loses nothing, and a power loss at most the last commits, never the file's
        // consistency (sqlite.org/pragma.html, synchronous). FULL would sync at every commit.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        // 64 MiB: a WAL that grew behind a long reader is cut back to it.
        connection.pragma_update(None, "journal_size_limit", 67_108_864)?;
        let found = schema::version(&connection)?;
        if found > schema::VERSION {
            let why = format!(
                "the ledger has version {found}, this program knows {}",
                schema::VERSION
            );
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISMATCH),
                Some(why),
            ));
        }
        schema::migrate(&mut connection, version)?;
        // From here on a lock is waited for by whoever retries, not inside SQLite where it would hold up the thread.
        connection.busy_timeout(Duration::ZERO)?;
        Ok(Self {
            connection,
            dictionary: Dictionary::default(),
        })
    }

    /// Writes all rows in one transaction. After an error nothing of them is there, or (when only the answer to the commit was
    /// lost) all; the same rows may be given again either way.
    pub fn commit(&mut self, rows: &[Box<LedgerRow>]) -> rusqlite::Result<Committed> {
        let Self {
            connection,
            dictionary,
        } = self;
        if dictionary.texts.len().max(dictionary.rows.len()) > DICTIONARY_MAX {
            dictionary.clear();
        }
        let result = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|transaction| {
                let committed = fill(&transaction, dictionary, rows)?;
                transaction.commit().map(|()| committed)
            });
        if result.is_err() {
            // Names that were added are rolled back with the rows.
            dictionary.clear();
        }
        result
    }
}

fn fill(
    transaction: &Transaction<'_>,
    dictionary: &mut Dictionary,
    rows: &[Box<LedgerRow>],
) -> rusqlite::Result<Committed> {
    let marks = ["?"; COLUMNS].join(",");
    let mut insert = transaction.prepare_cached(&format!(
        "INSERT INTO attempt VALUES ({marks}) ON CONFLICT (exchange, attempt) DO NOTHING"
    ))?;
    let (mut committed, mut hourly) = (Committed::default(), Hourly::new());
    let mut bound = Bound::nothing();
    for row in rows {
        let ids = ids_of(transaction, dictionary, row)?;
        let decision = intern(transaction, dictionary, row.decision)?;
        let mut word = |said: &Option<Str>| match said {
            // A provider's word: cut, since nobody vouches for its length.
            Some(said) => {
                let said: String = said.chars().take(64).collect();
                intern(transaction, dictionary, &said).map(Some)
            }
            None => Ok(None),
        };
        let words = Words {
            decision,
            tier: word(&row.usage.service_tier)?,
            resolution: word(&row.usage.output_video_resolution)?,
        };
        bound.bind(&mut insert, row, numbers(row, &ids, &words))?;
        if insert.raw_execute()? == 0 {
            committed.duplicates += 1;
            continue;
        }
        committed.written += 1;
        add(&mut hourly, row, &ids);
    }
    write_hourly(transaction, &hourly)?;
    Ok(committed)
}

fn ids_of(
    transaction: &Transaction<'_>,
    dictionary: &mut Dictionary,
    row: &LedgerRow,
) -> rusqlite::Result<[i64; 9]> {
    let of = names::Of::row(row);
    if let Some(ids) = dictionary.rows.get(&of) {
        return Ok(*ids);
    }
    let mut ids = [0; 9];
    for (id, name) in ids.iter_mut().zip(names::of(row)) {
        *id = intern(transaction, dictionary, &name)?;
    }
    dictionary.rows.insert(of, ids);
    Ok(ids)
}

fn intern(
    transaction: &Transaction<'_>,
    dictionary: &mut Dictionary,
    text: &str,
) -> rusqlite::Result<i64> {
    if let Some(id) = dictionary.texts.get(text) {
        return Ok(*id);
    }
    transaction
        .prepare_cached("INSERT INTO name (text) VALUES (?1) ON CONFLICT (text) DO NOTHING")?
        .execute([text])?;
    let id = transaction
        .prepare_cached("SELECT id FROM name WHERE text = ?1")?
        .query_row([text], |row| row.get(0))?;
    dictionary.texts.insert(text.to_owned(), id);
    Ok(id)
}

/// Ids of the words of a row that are no names.
struct Words {
    decision: i64,
    tier: Option<i64>,
    resolution: Option<i64>,
}

/// The columns of `attempt`.
const COLUMNS: usize = 46;
/// Those that hold text; all others are whole numbers.
const EXCHANGE: usize = 0;
const UPSTREAM_ID: usize = 16;

/// What is bound to an insertion's columns. A statement keeps its bindings from row to row, and most numbers of a row are those of the row
/// before: only what differs is bound again, which is a third of the work of a row.
struct Bound([Option<i64>; COLUMNS]);

impl Bound {
    /// Of a statement from the cache, whose columns are all null.
    fn nothing() -> Self {
        Self([None; COLUMNS])
    }

    fn bind(
        &mut self,
        insert: &mut Statement<'_>,
        row: &LedgerRow,
        numbers: [Option<i64>; COLUMNS],
    ) -> rusqlite::Result<()> {
        insert.raw_bind_parameter(EXCHANGE + 1, &*row.exchange)?;
        insert.raw_bind_parameter(UPSTREAM_ID + 1, &*row.upstream_id)?;
        for (at, (number, bound)) in numbers.iter().zip(&mut self.0).enumerate() {
            if number != bound {
                insert.raw_bind_parameter(at + 1, number)?;
                *bound = *number;
            }
        }
        Ok(())
    }
}

/// The columns of `attempt` in its order; none where text stands.
fn numbers(row: &LedgerRow, ids: &[i64; 9], words: &Words) -> [Option<i64>; COLUMNS] {
    let mut numbers = [None; COLUMNS];
    numbers[1..4].copy_from_slice(&[
        Some(i64::from(row.attempt)),
        Some(i64::from(row.last)),
        Some(row.started.0),
    ]);
    numbers[4..13].copy_from_slice(&ids.map(Some));
    numbers[13..16].copy_from_slice(&[
        Some(i64::from(failed(row))),
        Some(i64::from(row.streamed)),
        row.status.map(i64::from),
    ]);
    numbers[17..20].copy_from_slice(&[
        Some(words.decision),
        words.tier,
        Some(i64::from(row.usage.estimated)),
    ]);
    numbers[20..35].copy_from_slice(&counts(row));
    numbers[35..39].copy_from_slice(&[
        Some(row.cost.0),
        Some(micros(row.queued)),
        row.first_byte.map(micros),
        Some(micros(row.total)),
    ]);
    numbers[39..43].copy_from_slice(&pieces(row));
    numbers[43] = words.resolution;
    numbers[44..].copy_from_slice(&latest(row));
    numbers
}

fn failed(row: &LedgerRow) -> bool {
    matches!(row.outcome, Outcome::Failed(_))
}

fn counts(row: &LedgerRow) -> [Option<i64>; 15] {
    let usage = &row.usage;
    let tokens = |count: Option<Tokens>| count.map(|count| bounded(count.0));
    [
        tokens(usage.input_uncached),
        tokens(usage.cache_read),
        tokens(usage.cache_write_5m),
        tokens(usage.cache_write_30m),
        tokens(usage.cache_write_1h),
        tokens(usage.cache_write_12h),
        tokens(usage.output),
        tokens(usage.reasoning),
        tokens(usage.input_audio),
        tokens(usage.output_audio),
        tokens(usage.input_image),
        tokens(usage.output_image),
        usage.web_searches.map(bounded),
        usage.web_fetches.map(bounded),
        usage.provider_cost.map(|NanoUsd(nano)| nano),
    ]
}

/// What the third version added.
fn pieces(row: &LedgerRow) -> [Option<i64>; 4] {
    let usage = &row.usage;
    [
        usage.input_video.map(|Tokens(count)| bounded(count)),
        usage.output_video.map(|Tokens(count)| bounded(count)),
        usage.output_images.map(bounded),
        usage.output_video_millis.map(bounded),
    ]
}

/// What the fourth version added.
fn latest(row: &LedgerRow) -> [Option<i64>; 2] {
    [
        row.cached_expected.map(|Tokens(count)| bounded(count)),
        row.usage.input_audio_millis.map(bounded),
    ]
}

/// 2⁴⁰ tokens in one attempt are a provider's nonsense, and eight million such attempts still add up in 63 bits.
fn bounded(count: u64) -> i64 {
    count.min(1 << 40) as i64
}

fn micros(time: Duration) -> i64 {
    // 2⁴⁰ µs are twelve days, longer than any attempt.
    bounded(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

fn add(hourly: &mut Hourly, row: &LedgerRow, ids: &[i64; 9]) {
    let mut place = [0; 10];
    // Truncating, as SQLite divides when a migration sums old rows.
    place[0] = row.started.0 / 3_600_000_000_000;
    place[1..].copy_from_slice(ids);
    let mut sums = [0; SUMS];
    sums[..3].copy_from_slice(&[1, i64::from(row.last), i64::from(failed(row))]);
    sums[3..18].copy_from_slice(&counts(row).map(Option::unwrap_or_default));
    sums[18..23].copy_from_slice(&[
        row.cost.0,
        micros(row.queued),
        row.first_byte.map_or(0, micros),
        i64::from(row.first_byte.is_some()),
        micros(row.total),
    ]);
    sums[23..27].copy_from_slice(&pieces(row).map(Option::unwrap_or_default));
    sums[27..].copy_from_slice(&latest(row).map(Option::unwrap_or_default));
    let into = hourly.entry(place).or_insert([0; SUMS]);
    for (into, sum) in into.iter_mut().zip(sums) {
        *into = into.saturating_add(sum);
    }
}

fn write_hourly(transaction: &Transaction<'_>, hourly: &Hourly) -> rusqlite::Result<()> {
    let marks = ["?"; 10 + SUMS].join(",");
    let sums = schema::SUMS
        .map(|s| format!("{s} = {s} + excluded.{s}"))
        .join(", ");
    let mut upsert = transaction.prepare_cached(&format!(
        "INSERT INTO hourly VALUES ({marks}) ON CONFLICT DO UPDATE SET {sums}"
    ))?;
    for (place, sums) in hourly {
        upsert.execute(params_from_iter(place.iter().chain(sums)))?;
    }
    Ok(())
}

#[cfg(test)]
pub mod tests;
