//! What tenants and client keys have spent in the day and the month that it is: budgets go on from there after a restart.

use super::report::{Dimension, Query, ReadError, Reader};
use super::schema;
use crate::base::{NanoUsd, WallTime};
use crate::iocore::calendar;
use crate::shard::{Spending, Spent};
use std::collections::BTreeMap;

impl Reader {
    /// Read from sums, so it costs the same however long the ledger is.
    pub fn spent(&self, now: WallTime) -> Result<Spent, ReadError> {
        Ok(Spent {
            tenants: self.spent_by(Dimension::Tenant, now)?,
            client_keys: self.spent_by(Dimension::ClientKey, now)?,
        })
    }

    fn spent_by(&self, by: Dimension, now: WallTime) -> Result<Vec<Spending>, ReadError> {
        let day = schema::DAILY.nanos;
        let today = now.0.div_euclid(day);
        let mut all: BTreeMap<String, Spending> = BTreeMap::new();
        for since in [calendar::month_begins(today), today] {
            let query = Query {
                since: WallTime(since * day),
                until: WallTime((today + 1) * day),
                by: vec![by],
                only: Vec::new(),
            };
            for group in self.report(&query)?.groups {
                let [name] = &group.names[..] else { continue };
                let spent = group.totals.cost().max(NanoUsd::ZERO);
                let of = all.entry(name.clone()).or_default();
                match since == today {
                    true => of.day = spent,
                    false => of.month = spent,
                }
                of.month = of.month.max(of.day);
            }
        }
        let named = |(name, spending)| Spending { name, ..spending };
        Ok(all.into_iter().map(named).collect())
    }
}
