//! The one writer. A batch is written whole or not at all, and writing it again changes nothing.

use super::failure::Failure;
use super::figures::Figures;
use super::wire::{self, WireRow};
use super::{names, price, schema};
use crate::base::FixedHasher;
use crate::shard::LedgerRow;
use rusqlite::{
    CachedStatement, Connection, Statement, Transaction, TransactionBehavior, params_from_iter,
};
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
    /// Of what units cost.
    prices: HashMap<Box<[u8]>, i64, FixedHasher>,
}

/// More than any configuration has; the file keeps them all.
const DICTIONARY_MAX: usize = 65_536;

impl Dictionary {
    fn clear(&mut self) {
        self.texts.clear();
        self.rows.clear();
        self.prices.clear();
    }

    fn len(&self) -> usize {
        let more = self.rows.len().max(self.prices.len());
        self.texts.len().max(more)
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
        self.transact(|batch| rows.iter().try_for_each(|row| batch.row(row)))
    }

    /// The same for rows that were recovered: those that the ledger has are duplicates, and change nothing.
    pub fn insert_wire(&mut self, rows: &[WireRow<'_>]) -> rusqlite::Result<Committed> {
        self.transact(|batch| rows.iter().try_for_each(|row| batch.wire_row(row)))
    }

    fn transact(
        &mut self,
        fill: impl FnOnce(&mut Batch<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<Committed> {
        let Self {
            connection,
            dictionary,
        } = self;
        if dictionary.len() > DICTIONARY_MAX {
            dictionary.clear();
        }
        let result = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|transaction| {
                let mut batch = Batch::new(&transaction, dictionary)?;
                fill(&mut batch)?;
                let committed = batch.end()?;
                transaction.commit().map(|()| committed)
            });
        if result.is_err() {
            // Names that were added are rolled back with the rows.
            dictionary.clear();
        }
        result
    }
}

/// Rows of one transaction on their way.
struct Batch<'a> {
    transaction: &'a Transaction<'a>,
    dictionary: &'a mut Dictionary,
    insert: CachedStatement<'a>,
    bound: Bound,
    hourly: Hourly,
    committed: Committed,
}

impl<'a> Batch<'a> {
    fn new(
        transaction: &'a Transaction<'a>,
        dictionary: &'a mut Dictionary,
    ) -> rusqlite::Result<Self> {
        let marks = ["?"; COLUMNS].join(",");
        let insert = transaction.prepare_cached(&format!(
            "INSERT INTO attempt VALUES ({marks}) ON CONFLICT (exchange, attempt) DO NOTHING"
        ))?;
        Ok(Self {
            transaction,
            dictionary,
            insert,
            bound: Bound::nothing(),
            hourly: Hourly::new(),
            committed: Committed::default(),
        })
    }

    fn row(&mut self, row: &LedgerRow) -> rusqlite::Result<()> {
        let ids = ids_of(self.transaction, self.dictionary, row)?;
        let usage = &row.usage;
        let words = Words {
            decision: self.word(row.decision)?,
            tier: self.said(usage.service_tier.as_deref())?,
            resolution: self.said(usage.output_video_resolution.as_deref())?,
            prices: self.prices(&price::of(row))?,
        };
        let texts = Texts {
            exchange: &row.exchange,
            upstream_id: &row.upstream_id,
            session: row.session.as_deref(),
        };
        self.put(&texts, &ids, &words, &Figures::of(row))
    }

    fn wire_row(&mut self, row: &WireRow<'_>) -> rusqlite::Result<()> {
        let mut ids = [0; 9];
        for (id, name) in ids.iter_mut().zip(&row.names) {
            *id = self.word(name)?;
        }
        let words = Words {
            decision: self.word(&row.decision)?,
            tier: self.said(row.service_tier.as_deref())?,
            resolution: self.said(row.video_resolution.as_deref())?,
            prices: self.prices(&row.prices)?,
        };
        let texts = Texts {
            exchange: &row.exchange,
            upstream_id: &row.upstream_id,
            session: row.session.as_deref(),
        };
        self.put(&texts, &ids, &words, &row.figures)
    }

    fn put(
        &mut self,
        texts: &Texts<'_>,
        ids: &[i64; 9],
        words: &Words,
        figures: &Figures,
    ) -> rusqlite::Result<()> {
        let numbers = numbers(figures, ids, words);
        self.bound.bind(&mut self.insert, texts, numbers)?;
        if self.insert.raw_execute()? == 0 {
            self.committed.duplicates += 1;
            return Ok(());
        }
        self.committed.written += 1;
        add(&mut self.hourly, figures, ids);
        Ok(())
    }

    /// A text that many rows share.
    fn word(&mut self, text: &str) -> rusqlite::Result<i64> {
        intern(self.transaction, self.dictionary, text)
    }

    fn said(&mut self, word: Option<&str>) -> rusqlite::Result<Option<i64>> {
        word.map(|word| self.word(wire::cut(word))).transpose()
    }

    fn prices(&mut self, snapshot: &[u8]) -> rusqlite::Result<Option<i64>> {
        if snapshot.is_empty() {
            return Ok(None);
        }
        if let Some(id) = self.dictionary.prices.get(snapshot) {
            return Ok(Some(*id));
        }
        let id = self.word(&price::text(snapshot))?;
        self.dictionary.prices.insert(snapshot.into(), id);
        Ok(Some(id))
    }

    fn end(self) -> rusqlite::Result<Committed> {
        write_hourly(self.transaction, &self.hourly)?;
        Ok(self.committed)
    }
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
#[derive(Default)]
struct Words {
    decision: i64,
    tier: Option<i64>,
    resolution: Option<i64>,
    prices: Option<i64>,
}

/// What of a row is text of its own.
struct Texts<'a> {
    exchange: &'a str,
    upstream_id: &'a str,
    session: Option<&'a str>,
}

/// The columns of `attempt`.
const COLUMNS: usize = 50;
/// Those that hold text; all others are whole numbers.
const EXCHANGE: usize = 0;
const UPSTREAM_ID: usize = 16;
const SESSION: usize = 46;

/// What is bound to an insertion's columns. A statement keeps its bindings from row to row, and most numbers of a row are those of the row
/// before: only what differs is bound again, which is a third of the work of a row.
struct Bound {
    numbers: [Option<i64>; COLUMNS],
    session: bool,
}

impl Bound {
    /// Of a statement from the cache, whose columns are all null.
    fn nothing() -> Self {
        Self {
            numbers: [None; COLUMNS],
            session: false,
        }
    }

    fn bind(
        &mut self,
        insert: &mut Statement<'_>,
        texts: &Texts<'_>,
        numbers: [Option<i64>; COLUMNS],
    ) -> rusqlite::Result<()> {
        insert.raw_bind_parameter(EXCHANGE + 1, texts.exchange)?;
        insert.raw_bind_parameter(UPSTREAM_ID + 1, texts.upstream_id)?;
        if self.session || texts.session.is_some() {
            insert.raw_bind_parameter(SESSION + 1, texts.session)?;
            self.session = texts.session.is_some();
        }
        for (at, (number, bound)) in numbers.iter().zip(&mut self.numbers).enumerate() {
            if number != bound {
                insert.raw_bind_parameter(at + 1, number)?;
                *bound = *number;
            }
        }
        Ok(())
    }
}

/// The columns of `attempt` in its order; none where text stands.
fn numbers(figures: &Figures, ids: &[i64; 9], words: &Words) -> [Option<i64>; COLUMNS] {
    let mut numbers = [None; COLUMNS];
    numbers[1..4].copy_from_slice(&[
        Some(figures.attempt.into()),
        Some(figures.last.into()),
        Some(figures.started),
    ]);
    numbers[4..13].copy_from_slice(&ids.map(Some));
    numbers[13..16].copy_from_slice(&[
        Some(figures.failed.into()),
        Some(figures.streamed.into()),
        figures.status.map(i64::from),
    ]);
    numbers[17..20].copy_from_slice(&[
        Some(words.decision),
        words.tier,
        Some(figures.estimated.into()),
    ]);
    numbers[20..35].copy_from_slice(&figures.counts[..15]);
    numbers[35..39].copy_from_slice(&[
        Some(figures.cost),
        Some(figures.queued),
        figures.first_byte,
        Some(figures.total),
    ]);
    // Each version of the file added its own at the end.
    numbers[39..43].copy_from_slice(&figures.counts[15..19]);
    numbers[43] = words.resolution;
    numbers[44..46].copy_from_slice(&figures.counts[19..]);
    numbers[47..].copy_from_slice(&[words.prices, Some(figures.gated), figures.first_token]);
    numbers
}

fn add(hourly: &mut Hourly, figures: &Figures, ids: &[i64; 9]) {
    let mut place = [0; 10];
    // Truncating, as SQLite divides when a migration sums old rows.
    place[0] = figures.started / 3_600_000_000_000;
    place[1..].copy_from_slice(ids);
    let into = hourly.entry(place).or_insert([0; SUMS]);
    for (into, sum) in into.iter_mut().zip(figures.sums()) {
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
