//! Reads the ledger while it is written: sums over a time, by any of its names.
//!
//! Made of sums alone: whole days, beside them whole hours, at the edges whole minutes. No row is ever read, so that a report over ten million
//! of them is as quick as one over ten. What it covers begins and ends with a minute, or further back, where minutes are kept no more, with an
//! hour or a day; it says so.

use super::schema;
use crate::base::{NanoUsd, WallTime};
use crate::iocore::calendar;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use std::path::Path;
use std::time::Duration;

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
    Minute,
    Hour,
    Day,
}

impl Dimension {
    pub const ALL: [Self; 12] = [
        Self::Tenant,
        Self::ClientKey,
        Self::Model,
        Self::Provider,
        Self::Endpoint,
        Self::Pool,
        Self::Key,
        Self::Dialect,
        Self::Outcome,
        Self::Minute,
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
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Whether it is a time, not a name.
    #[must_use]
    pub fn is_time(self) -> bool {
        matches!(self, Self::Minute | Self::Hour | Self::Day)
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Key => "provider_key",
            // Of every source, in its own unit.
            Self::Minute => "start",
            Self::Hour => "start / 60",
            Self::Day => "start / 1440",
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
    /// Only these: each dimension must have one of its values. Times are no filters.
    pub only: Vec<(Dimension, Vec<String>)>,
}

/// What was spent within a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What is covered: what was asked for, begun a little earlier and ended a little later where sums are no finer.
    pub since: WallTime,
    pub until: WallTime,
    /// Those that have any attempt, dearest first, then in the order of their names.
    pub groups: Vec<Group>,
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

    pub fn report(&self, query: &Query) -> Result<Report, ReadError> {
        let cover = self.cover(query)?;
        let Some(filter) = self.filter(query)? else {
            return Ok(cover.report(Vec::new()));
        };
        let sql = cover.sql(query, &filter);
        let mut statement = self.0.prepare(&sql)?;
        let mut rows = statement.query([])?;
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
        Ok(cover.report(groups))
    }

    /// The question of `report` as SQLite is asked it, for who wants to see how it is answered.
    pub fn plan(&self, query: &Query) -> Result<Vec<String>, ReadError> {
        let filter = self.filter(query)?.unwrap_or_default();
        let sql = format!(
            "EXPLAIN QUERY PLAN {}",
            self.cover(query)?.sql(query, &filter)
        );
        let mut statement = self.0.prepare(&sql)?;
        let lines = statement.query_map([], |row| row.get(3))?;
        Ok(lines.collect::<Result<_, _>>()?)
    }

    /// The condition that `query` puts on names; none when a name that it wants was never written down.
    fn filter(&self, query: &Query) -> Result<Option<String>, ReadError> {
        let mut filter = String::from("1");
        for (dimension, wanted) in &query.only {
            let mut ids: Vec<String> = Vec::new();
            for name in wanted {
                let mut find = self
                    .0
                    .prepare_cached("SELECT id FROM name WHERE text = ?1")?;
                let id: Option<i64> = find.query_row([name], |row| row.get(0)).optional()?;
                ids.extend(id.map(|id| id.to_string()));
            }
            if ids.is_empty() {
                return Ok(None);
            }
            filter += &format!(" AND {} IN ({})", dimension.sql(), ids.join(","));
        }
        Ok(Some(filter))
    }

    fn cover(&self, query: &Query) -> Result<Cover, ReadError> {
        let kept = |what: &str| -> rusqlite::Result<i64> {
            let sql = "SELECT since FROM kept WHERE what = ?1";
            self.0
                .prepare_cached(sql)?
                .query_row([what], |row| row.get(0))
        };
        Ok(Cover::new(query, kept("minutes")?, kept("hours")?))
    }

    fn group(&self, row: &rusqlite::Row<'_>, by: &[Dimension]) -> Result<Group, ReadError> {
        let mut names = Vec::with_capacity(by.len());
        for (at, dimension) in by.iter().enumerate() {
            let id: i64 = row.get(at)?;
            names.push(match dimension {
                Dimension::Minute => calendar::minute(id),
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

/// Which sums a report is made of.
#[derive(Debug)]
struct Cover {
    since: i64,
    until: i64,
    /// Of each source the first unit and the one after its last.
    parts: Vec<(schema::Rollup, i64, i64)>,
}

impl Cover {
    fn new(query: &Query, minutes_kept: i64, hours_kept: i64) -> Self {
        let (minute, hour, day) = (schema::MINUTELY, schema::HOURLY, schema::DAILY);
        // An edge is as fine as what is kept of its time.
        let unit_at = |at: i64| match at {
            _ if at < hours_kept => day.nanos,
            _ if at < minutes_kept => hour.nanos,
            _ => minute.nanos,
        };
        // Who wants each minute is told of those that are kept.
        let by = |dimension| query.by.contains(&dimension);
        let (from, rollups) = match (by(Dimension::Minute), by(Dimension::Hour)) {
            (true, _) => (minutes_kept, &[minute][..]),
            (false, true) => (hours_kept, &[hour, minute][..]),
            (false, false) => (0, &[day, hour, minute][..]),
        };
        let asked = query.since.0.max(from).max(0);
        let since = asked - asked % unit_at(asked);
        let asked = query.until.0.max(since);
        let unit = unit_at(asked - 1);
        let until = asked.saturating_add(unit - 1) / unit * unit;
        let mut parts = Vec::new();
        split(since, until, rollups, &mut parts);
        Self {
            since,
            until,
            parts,
        }
    }

    fn report(&self, groups: Vec<Group>) -> Report {
        Report {
            since: WallTime(self.since),
            until: WallTime(self.until),
            groups,
        }
    }

    /// Numbers alone are put into the text: nothing in it was said by anybody.
    fn sql(&self, query: &Query, filter: &str) -> String {
        let by: Vec<&str> = query.by.iter().map(|d| d.sql()).collect();
        let sums = schema::SUMS
            .map(|s| format!("ifnull(sum({s}),0)"))
            .join(", ");
        let columns: Vec<&str> = by.iter().copied().chain([sums.as_str()]).collect();
        let group = match by.is_empty() {
            true => String::new(),
            false => format!("GROUP BY {}", by.join(", ")),
        };
        let (names, sums) = (schema::NAMES.join(", "), schema::SUMS.join(", "));
        let part = |(rollup, from, to): &(schema::Rollup, i64, i64)| {
            let (table, unit, minutes) = (
                rollup.table,
                rollup.unit,
                rollup.nanos / schema::MINUTELY.nanos,
            );
            format!(
                "SELECT {unit} * {minutes} start, {names}, {sums} FROM {table} WHERE {unit} >= {from} AND {unit} < {to} AND {filter}"
            )
        };
        let mut parts: Vec<String> = self.parts.iter().map(part).collect();
        if parts.is_empty() {
            parts.push(part(&(schema::DAILY, 0, 0)));
        }
        format!(
            "SELECT {} FROM ({}) {group} HAVING sum(attempts) > 0",
            columns.join(", "),
            parts.join(" UNION ALL ")
        )
    }
}

/// Whole units of the coarsest sums within, and what is left at both edges from the finer ones.
fn split(
    since: i64,
    until: i64,
    rollups: &[schema::Rollup],
    parts: &mut Vec<(schema::Rollup, i64, i64)>,
) {
    let Some((rollup, finer)) = rollups.split_first() else {
        return;
    };
    let unit = rollup.nanos;
    let (first, last) = (since.saturating_add(unit - 1) / unit, until / unit);
    if first >= last {
        return split(since, until, finer, parts);
    }
    split(since, first * unit, finer, parts);
    parts.push((*rollup, first, last));
    split(last * unit, until, finer, parts);
}

#[cfg(test)]
mod tests;
