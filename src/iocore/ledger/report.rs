//! Reads the ledger while it is written: sums over a time, by any of its names.
//!
//! Whole hours come from their sums, the two edges from the rows themselves, so a report is exact to the nanosecond and cheap.

use super::schema;
use crate::base::{NanoUsd, WallTime};
use crate::iocore::calendar;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

const HOUR: i64 = 3_600_000_000_000;

/// What a report can be broken down by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    Tenant,
    ClientKey,
    Model,
    Provider,
    Endpoint,
    Pool,
    Key,
    Dialect,
    Outcome,
    Hour,
    Day,
}

impl Dimension {
    pub const ALL: [Self; 11] = [
        Self::Tenant,
        Self::ClientKey,
        Self::Model,
        Self::Provider,
        Self::Endpoint,
        Self::Pool,
        Self::Key,
        Self::Dialect,
        Self::Outcome,
        Self::Hour,
        Self::Day,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::ClientKey => "client_key",
            Self::Model => "model",
            Self::Provider => "provider",
            Self::Endpoint => "endpoint",
            Self::Pool => "pool",
            Self::Key => "key",
            Self::Dialect => "dialect",
            Self::Outcome => "outcome",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Key => "provider_key",
            Self::Day => "hour / 24",
            other => other.as_str(),
        }
    }
}

/// Attempts begun from `since` up to and without `until`.
#[derive(Clone, Debug)]
pub struct Query {
    pub since: WallTime,
    pub until: WallTime,
    pub by: Vec<Dimension>,
    /// Only this tenant's.
    pub tenant: Option<String>,
}

/// One line of a report: a value for each dimension asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub names: Vec<String>,
    pub totals: Totals,
}

/// Sums, in the order of the ledger's columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals([i64; schema::SUMS.len()]);

impl Totals {
    /// The sum named as in the ledger (`attempts`, `exchanges`, `failed`, `input_uncached`, …); 0 for another name.
    #[must_use]
    pub fn get(&self, name: &str) -> i64 {
        schema::SUMS
            .iter()
            .position(|sum| *sum == name)
            .map_or(0, |at| self.0[at])
    }

    /// All names with their sums.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, i64)> {
        schema::SUMS.into_iter().zip(self.0)
    }

    #[must_use]
    pub fn cost(&self) -> NanoUsd {
        NanoUsd(self.get("cost"))
    }

    /// Mean time to the first byte, over the attempts that had one.
    #[must_use]
    pub fn first_byte(&self) -> Option<Duration> {
        mean(self.get("first_byte_us"), self.get("first_byte_count"))
    }

    /// Mean time of a whole attempt.
    #[must_use]
    pub fn total(&self) -> Option<Duration> {
        mean(self.get("total_us"), self.get("attempts"))
    }

    pub fn add(&mut self, other: &Self) {
        for (into, sum) in self.0.iter_mut().zip(other.0) {
            *into = into.saturating_add(sum);
        }
    }
}

fn mean(micros: i64, count: i64) -> Option<Duration> {
    let mean = micros.checked_div(count)?;
    Some(Duration::from_micros(u64::try_from(mean).ok()?))
}

#[derive(Debug)]
pub enum ReadError {
    /// No file, or one without tables: nothing has been served yet.
    NoLedger,
    /// Its version, another than this program's.
    Version(usize),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoLedger => {
                f.write_str("there is no ledger yet: it begins with the first request served")
            }
            Self::Version(found) => write!(
                f,
                "the ledger has version {found}, this program reads {}; `stokehold serve` upgrades an older one",
                schema::VERSION
            ),
            Self::Sqlite(error) => write!(f, "the ledger cannot be read: {error}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// A connection that cannot write.
#[derive(Debug)]
pub struct Reader(Connection);

impl Reader {
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        if !path.exists() {
            return Err(ReadError::NoLedger);
        }
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        match schema::version(&connection)? {
            0 => Err(ReadError::NoLedger),
            schema::VERSION => Ok(Self(connection)),
            other => Err(ReadError::Version(other)),
        }
    }

    /// The groups that have any attempt, dearest first, then in the order of their names.
    pub fn report(&self, query: &Query) -> Result<Vec<Group>, ReadError> {
        let by: Vec<&str> = query.by.iter().map(|d| d.sql()).collect();
        let sums = schema::SUMS
            .map(|s| format!("ifnull(sum({s}),0)"))
            .join(", ");
        let columns: Vec<&str> = by.iter().copied().chain([sums.as_str()]).collect();
        let group = if by.is_empty() {
            String::new()
        } else {
            format!("GROUP BY {}", by.join(", "))
        };
        let sql = format!(
            "SELECT {} FROM ({}) WHERE (?5 IS NULL OR tenant = (SELECT id FROM name WHERE text = ?5)) {group} HAVING sum(attempts) > 0",
            columns.join(", "),
            source()
        );
        let since = query.since.0.max(0);
        // The whole hours within, clamped so that the two edges never overlap.
        let first = since.div_euclid(HOUR) + i64::from(since.rem_euclid(HOUR) != 0);
        let last = query.until.0.div_euclid(HOUR).max(first);
        let mut statement = self.0.prepare(&sql)?;
        let mut rows = statement.query(rusqlite::params![
            since,
            query.until.0,
            first,
            last,
            query.tenant
        ])?;
        let mut groups = Vec::new();
        while let Some(row) = rows.next()? {
            groups.push(self.group(row, &query.by)?);
        }
        groups.sort_by(|a, b| {
            b.totals
                .cost()
                .cmp(&a.totals.cost())
                .then_with(|| a.names.cmp(&b.names))
        });
        Ok(groups)
    }

    fn group(&self, row: &rusqlite::Row<'_>, by: &[Dimension]) -> Result<Group, ReadError> {
        let mut names = Vec::with_capacity(by.len());
        for (at, dimension) in by.iter().enumerate() {
            let id: i64 = row.get(at)?;
            names.push(match dimension {
                Dimension::Hour => calendar::hour(id),
                Dimension::Day => calendar::date(id),
                _ => self
                    .0
                    .prepare_cached("SELECT text FROM name WHERE id = ?1")?
                    .query_row([id], |r| r.get(0))?,
            });
        }
        let mut totals = Totals::default();
        for (at, sum) in totals.0.iter_mut().enumerate() {
            *sum = row.get(by.len() + at)?;
        }
        Ok(Group { names, totals })
    }
}

/// Whole hours from their sums, and what lies before the first and after the last from the rows.
fn source() -> String {
    let (names, sums) = (schema::NAMES.join(", "), schema::SUMS.join(", "));
    let rows = format!(
        "SELECT started / {HOUR} hour, {names}, {} FROM attempt",
        schema::ATTEMPT_AS_SUMS
    );
    format!(
        "SELECT hour, {names}, {sums} FROM hourly WHERE hour >= ?3 AND hour < ?4
         UNION ALL {rows} WHERE started >= ?1 AND started < min(?2, ?3 * {HOUR})
         UNION ALL {rows} WHERE started >= ?4 * {HOUR} AND started < ?2"
    )
}
