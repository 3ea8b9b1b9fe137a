//! Who spends.

use crate::base::Instant;
use crate::policy::lease::central::signed;
use crate::policy::lease::{Amounts, Ask, DIMENSIONS, HolderId, Reply, Sums, Terms};
use std::time::Duration;

/// What one holder has of a scope. Admitting is a comparison and a subtraction for each dimension; nobody is asked.
#[derive(Clone, Debug)]
pub struct Holder {
    id: HolderId,
    terms: Terms,
    lease: u64,
    epoch: u64,
    granted: Sums,
    spent: Sums,
    returned: Sums,
    /// The most of spent and returned together that was ever said: what is held may not grow over what that left.
    said: Sums,
    ends: Instant,
    asked: Option<Asked>,
    number: u64,
    parked: Option<(Amounts, Instant)>,
    retry_at: Instant,
    recall: bool,
    demand: Demand,
}

/// The last ask.
#[derive(Clone, Copy, Debug)]
struct Asked {
    number: u64,
    at: Instant,
    spent: Sums,
    returned: Sums,
}

/// What is wanted of it, by the second.
#[derive(Clone, Debug, Default)]
struct Demand {
    sum: Amounts,
    since: Instant,
    by_second: [f64; DIMENSIONS],
    /// Walks up and down by a twentieth, so that it comes to stand in the middle.
    middling: [f64; DIMENSIONS],
}

impl Holder {
    #[must_use]
    pub fn new(id: HolderId, terms: Terms) -> Self {
        Self {
            id,
            terms,
            lease: 0,
            epoch: 0,
            granted: [0; DIMENSIONS],
            spent: [0; DIMENSIONS],
            returned: [0; DIMENSIONS],
            said: [0; DIMENSIONS],
            ends: Instant::default(),
            asked: None,
            number: 0,
            parked: None,
            retry_at: Instant::default(),
            recall: false,
            demand: Demand::default(),
        }
    }

    /// Takes `amounts` if they are held. One that is larger than the whole burst passes when that is held, and is owed.
    pub fn admit(&mut self, amounts: Amounts, now: Instant) -> bool {
        if now >= self.ends {
            return false;
        }
        let (held, need) = (self.held(), self.terms.fitted(amounts));
        if (0..DIMENSIONS).any(|d| need[d] > 0 && held[d] < signed(need[d])) {
            return false;
        }
        self.charge(amounts);
        self.demand.note(amounts);
        true
    }

    /// A call could not be admitted and waits since `since`: the one that is to go next. `None`: nobody waits.
    pub fn park(&mut self, call: Option<(Amounts, Instant)>) {
        self.parked = call;
    }

    /// More was used than was taken for it.
    pub fn charge(&mut self, amounts: Amounts) {
        for d in self.limited() {
            self.spent[d] = self.spent[d].saturating_add(signed(amounts[d]));
        }
    }

    /// Less was used: it is held again as far as who grants still counts it as held; the rest goes back with the next ask.
    pub fn refund(&mut self, amounts: Amounts) {
        for d in self.limited() {
            self.spent[d] = self.spent[d].saturating_sub(signed(amounts[d]));
            let short = self.said[d] - (self.spent[d] + self.returned[d]);
            self.returned[d] += short.max(0);
        }
    }

    /// What it holds; a debt is below zero.
    #[must_use]
    pub fn held(&self) -> Sums {
        let mut held = self.granted;
        for (d, sum) in held.iter_mut().enumerate() {
            *sum -= self.spent[d] + self.returned[d];
        }
        held
    }

    /// The ask that is due at `now`, if one is.
    pub fn ask(&mut self, now: Instant) -> Option<Ask> {
        if !self.is_due(now) {
            return None;
        }
        self.demand.turn(now);
        let waiting = self.parked.map(|(amounts, _)| amounts).unwrap_or_default();
        let (mut want, mut least) = ([0; DIMENSIONS], [0; DIMENSIONS]);
        for d in self.limited() {
            let held = self.held()[d];
            let middling = self.demand.middling[d].ceil() as u64;
            let target = match self.is_idle() {
                true => 0,
                false => self.demand.within(d, self.terms.horizon).max(middling),
            };
            let keep = match self.recall {
                true => signed(waiting[d]),
                false => signed((2 * target).max(waiting[d])),
            };
            if held > keep {
                let rest = match self.recall {
                    true => keep,
                    false => signed(target.max(waiting[d])),
                };
                self.returned[d] += held - rest;
            }
            let spare = self.held()[d].saturating_sub(signed(waiting[d]));
            want[d] = target.saturating_sub(spare.max(0).unsigned_abs());
            least[d] = middling.min(want[d]);
        }
        Some(self.asking(want, least, now))
    }

    fn asking(&mut self, want: Amounts, least: Amounts, now: Instant) -> Ask {
        self.number += 1;
        self.asked = Some(Asked {
            number: self.number,
            at: now,
            spent: self.spent,
            returned: self.returned,
        });
        for d in 0..DIMENSIONS {
            self.said[d] = self.said[d].max(self.spent[d] + self.returned[d]);
        }
        Ask {
            holder: self.id,
            number: self.number,
            lease: self.lease,
            epoch: self.epoch,
            at: now,
            spent: self.spent,
            returned: self.returned,
            held: self.held(),
            want,
            least,
            demand: self.demand.by_second.map(|n| n.ceil() as u64),
            parked: self.parked.map(|(amounts, since)| (amounts, now - since)),
        }
    }

    /// What it was told. A new lease is only believed as the answer to the last ask.
    pub fn hear(&mut self, reply: &Reply, now: Instant) {
        let Some(asked) = self.asked else { return };
        if reply.anew {
            if reply.number != asked.number {
                return;
            }
            (self.lease, self.epoch) = (reply.lease, reply.epoch);
            for d in 0..DIMENSIONS {
                self.spent[d] -= asked.spent[d];
                self.returned[d] -= asked.returned[d];
            }
            self.granted = reply.granted;
            self.said = [0; DIMENSIONS];
        } else if (reply.lease, reply.epoch) == (self.lease, self.epoch) {
            for (known, told) in self.granted.iter_mut().zip(reply.granted) {
                *known = (*known).max(told);
            }
        } else {
            return;
        }
        self.ends = self.ends.max(reply.asked_at + reply.time);
        if reply.number == asked.number {
            self.recall = reply.recall;
            self.retry_at = reply.retry_in.map_or(now, |wait| now + wait);
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let Some(asked) = self.asked else { return true };
        let since = now - asked.at;
        if since >= self.terms.refresh {
            return true;
        }
        // Not more often than one tenth of that, whatever presses.
        if since < self.terms.refresh / 10 {
            return false;
        }
        match self.parked {
            Some(_) => now >= self.retry_at,
            None => self.is_low(),
        }
    }

    /// Below three tenths of what it wants to hold.
    fn is_low(&self) -> bool {
        let held = self.held();
        self.limited().any(|d| {
            let target = self.demand.within(d, self.terms.horizon);
            target > 0 && held[d].saturating_mul(10) < signed(target.saturating_mul(3))
        })
    }

    /// Less than a call in four seconds: what it would hold is of more use elsewhere.
    fn is_idle(&self) -> bool {
        self.limited().all(|d| {
            let middling = self.demand.middling[d];
            self.demand.by_second[d] < middling / 4.0 || middling == 0.0
        })
    }

    fn limited(&self) -> impl Iterator<Item = usize> + use<> {
        let limits = self.terms.limits;
        (0..DIMENSIONS).filter(move |d| limits[*d].is_some())
    }
}

impl Demand {
    fn note(&mut self, amounts: Amounts) {
        for (d, &amount) in amounts.iter().enumerate() {
            self.sum[d] = self.sum[d].saturating_add(amount);
            let (size, middling) = (amount as f64, &mut self.middling[d]);
            *middling = match size {
                _ if *middling < 1.0 => size,
                s if s > *middling => *middling * 1.05,
                s if s < *middling => *middling / 1.05,
                _ => *middling,
            };
        }
    }

    /// Moves the mean over about a second on to `now`.
    fn turn(&mut self, now: Instant) {
        let time = (now - self.since).as_secs_f64();
        if time <= 0.0 {
            return;
        }
        let weight = time / (time + 1.0);
        for (mean, sum) in self.by_second.iter_mut().zip(&mut self.sum) {
            *mean += (*sum as f64 / time - *mean) * weight;
            *sum = 0;
        }
        self.since = now;
    }

    fn within(&self, d: usize, time: Duration) -> u64 {
        (self.by_second[d] * time.as_secs_f64()).ceil() as u64
    }
}
