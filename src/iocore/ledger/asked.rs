//! What a tenant is told of its own spending: the words of its request → a report, and that as JSON.

use super::report::{Dimension, Group, Query, ReadError, Reader, Report, Totals};
use crate::base::WallTime;
use crate::iocore::calendar;
use crate::shard::stored::Told;
use serde_json::{Map, Value, json};
use std::path::Path;

/// What it may be broken down by. Pools and keys of providers are the operator's affair.
const OPEN: [Dimension; 8] = [
    Dimension::ClientKey,
    Dimension::Model,
    Dimension::Provider,
    Dimension::Dialect,
    Dimension::Outcome,
    Dimension::Minute,
    Dimension::Hour,
    Dimension::Day,
];

/// Groups of one report: more are no answer to read.
const GROUPS_MAX: usize = 10_000;

/// The question of `tenant`. Blocks on the disk.
pub fn answer(
    path: &Path,
    tenant: &str,
    (since, until, by): (&str, &str, &str),
    now: WallTime,
) -> Told {
    let query = match query(tenant, (since, until, by), now) {
        Ok(query) => query,
        Err(wrong) => return Told::Usage(Err(wrong)),
    };
    match Reader::open(path).and_then(|reader| reader.report(&query)) {
        Ok(report) if report.groups.len() > GROUPS_MAX => {
            let why = format!(
                "these are {} groups, and at most {GROUPS_MAX} are told: ask for less time, or for fewer names",
                report.groups.len()
            );
            Told::Usage(Err(("by", why)))
        }
        Ok(report) => {
            let mut told = report.json(&query.by, |sum| sum != "provider_cost");
            told["tenant"] = tenant.into();
            Told::Usage(Ok(told.to_string().into()))
        }
        // Where the file lies is nobody's affair.
        Err(ReadError::Sqlite(_)) => Told::Unreadable("the ledger is busy".to_owned()),
        Err(ReadError::NoLedger | ReadError::Version(_)) => {
            Told::Unreadable("there is no ledger".to_owned())
        }
    }
}

type Wrong = (&'static str, String);

fn query(
    tenant: &str,
    (since, until, by): (&str, &str, &str),
    now: WallTime,
) -> Result<Query, Wrong> {
    let named = |name: &str| -> Result<Dimension, Wrong> {
        let known = OPEN.into_iter().find(|d| d.as_str() == name);
        known.ok_or_else(|| {
            let right = OPEN.map(Dimension::as_str).join(", ");
            ("by", format!("by: `{name}` is none of {right}"))
        })
    };
    let names = by.split(',').filter(|name| !name.is_empty());
    let by = names.map(named).collect::<Result<_, _>>()?;
    let time = |field: &'static str, text: &str| {
        calendar::parse(text, now).map_err(|why| (field, format!("{field}: {why}")))
    };
    let query = Query {
        since: time("since", since)?,
        until: time("until", until)?,
        by,
        only: vec![(Dimension::Tenant, vec![tenant.to_owned()])],
    };
    match query.since < query.until {
        true => Ok(query),
        false => Err(("since", "since: it must lie before until".to_owned())),
    }
}

impl Report {
    /// Groups and their total, with the sums whose names `tells` likes.
    #[must_use]
    pub fn json(&self, by: &[Dimension], tells: impl Fn(&str) -> bool) -> Value {
        let sums = |totals: &Totals| -> Map<String, Value> {
            let told = totals.iter().filter(|(name, _)| tells(name));
            told.map(|(name, n)| (name.to_owned(), n.into())).collect()
        };
        let line = |group: &Group| {
            let mut line = sums(&group.totals);
            let names = by.iter().zip(&group.names);
            line.extend(names.map(|(d, name)| (d.as_str().to_owned(), name.clone().into())));
            line
        };
        let mut all = Totals::default();
        self.groups.iter().for_each(|group| all.add(&group.totals));
        let groups: Vec<_> = self.groups.iter().map(line).collect();
        json!({
            "since": calendar::rfc3339(self.since),
            "until": calendar::rfc3339(self.until),
            "groups": groups,
            "total": sums(&all),
        })
    }
}
