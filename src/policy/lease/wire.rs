//! What instances and who grants to them say, as rows of numbers: as a script in Redis reads and writes them.

use crate::policy::capacity::Rate;
use crate::policy::lease::{Amounts, DIMENSIONS, Limits, Reply, Sums, UpAsk, UpReply};
use std::time::Duration;

impl UpAsk {
    /// `lease`: how long one lasts. -1 stands for nothing.
    #[must_use]
    pub fn numbers(&self, lease: Duration) -> Vec<i64> {
        let ask = &self.ask;
        let mut row = vec![
            lease.as_millis() as i64,
            // A name, whatever its sign.
            ask.holder.0 as i64,
            signed(ask.number),
            signed(ask.lease),
            signed(ask.epoch),
        ];
        row.extend(ask.spent);
        row.extend(ask.returned);
        row.extend(ask.held);
        for amounts in [ask.want, ask.least, ask.demand] {
            row.extend(amounts.map(signed));
        }
        let (parked, waited) = ask
            .parked
            .map_or(([-1; DIMENSIONS], -1), |(amounts, waited)| {
                (amounts.map(signed), waited.as_millis() as i64)
            });
        row.extend(parked);
        row.push(waited);
        row.extend(
            self.limits
                .map(|l| l.map_or(-1, |(rate, _)| signed(rate.0))),
        );
        row.extend(
            self.limits
                .map(|l| l.map_or(-1, |(_, burst)| signed(burst))),
        );
        row.extend(self.ceiling.map(|most| most.map_or(-1, signed)));
        row.push(i64::from(self.issued));
        row
    }

    /// What was answered; `None` where a later ask has overtaken this one, and for what is no answer.
    #[must_use]
    pub fn answered(&self, row: &[i64]) -> Option<UpReply> {
        let [
            number,
            lease,
            epoch,
            anew,
            time,
            retry_in,
            recall,
            share,
            learning,
            rest @ ..,
        ] = row
        else {
            return None;
        };
        let mut fours = rest.chunks_exact(DIMENSIONS);
        let mut four = || Sums::try_from(fours.next()?).ok();
        let (granted, rates, bursts) = (four()?, four()?, four()?);
        let (left, others) = (four()?, four()?);
        let limits: Limits = std::array::from_fn(|d| {
            let rate = u64::try_from(rates[d]).ok()?;
            Some((Rate(rate), bursts[d].max(0).unsigned_abs()))
        });
        let millis = |n: i64| u64::try_from(n).ok().map(Duration::from_millis);
        let amounts = |sums: Sums| -> Amounts { sums.map(|n| n.max(0).unsigned_abs()) };
        Some(UpReply {
            reply: Reply {
                holder: self.ask.holder,
                number: number.unsigned_abs(),
                lease: lease.unsigned_abs(),
                epoch: epoch.unsigned_abs(),
                asked_at: self.ask.at,
                granted,
                anew: *anew == 1,
                time: millis(*time)?,
                retry_in: millis(*retry_in),
                recall: *recall == 1,
                limits,
                left,
            },
            share: share.unsigned_abs(),
            others: amounts(others),
            learning: *learning == 1,
        })
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
