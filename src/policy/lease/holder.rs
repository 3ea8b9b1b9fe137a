//! Who spends.

use crate::base::Instant;
use crate::policy::lease::central::signed;
use crate::policy::lease::issue::Issue;
use crate::policy::lease::{Amounts, Ask, DIMENSIONS, HolderId, Reply, Sums, Terms, UpReply};
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
    /// How many wait behind it.
    behind: u64,
    wish: Amounts,
    retry_at: Instant,
    recall: bool,
    /// There is something to be said at once.
    presses: bool,
    demand: Demand,
    /// What others hold of what is held here: it cannot be given back.
    engaged: Sums,
    /// Where nobody above answers it goes on for itself.
    issue: Option<Box<Issue>>,
}

/// The last ask.
#[derive(Clone, Copy, Debug)]
struct Asked {
    number: u64,
    at: Instant,
    answered: bool,
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
            behind: 0,
            wish: [0; DIMENSIONS],
            retry_at: Instant::default(),
            recall: false,
            presses: false,
            demand: Demand::default(),
            engaged: [0; DIMENSIONS],
            issue: None,
        }
    }

    /// One that issues to itself when nobody answers, as one of `instances_max` as long as it was never told its share.
    #[must_use]
    pub fn issuing(id: HolderId, terms: Terms, instances_max: u64) -> Self {
        Self {
            issue: Some(Box::new(Issue::new(instances_max))),
            ..Self::new(id, terms)
        }
    }

    /// Comes to `now`: a lease that has ended is lost, and from then on it issues to itself.
    pub fn step(&mut self, now: Instant) {
        let alone = self.is_alone(now);
        let Some(issue) = &mut self.issue else { return };
        if alone && now >= self.ends {
            // Who grants takes it for spent, too.
            for d in 0..DIMENSIONS {
                let held = self.granted[d] - self.spent[d] - self.returned[d];
                self.spent[d] += held.max(0);
            }
        }
        let held = std::array::from_fn(|d| self.granted[d] - self.spent[d] - self.returned[d]);
        issue.step(alone, held, &self.terms.limits, now);
    }

    /// Whether it lives on what it issues to itself.
    fn is_alone(&self, now: Instant) -> bool {
        let alone = |issue: &Issue| issue.is_alone(self.terms.lease, now);
        self.issue.as_deref().is_some_and(alone)
    }

    /// What may be spent: what is held, and what it has issued to itself.
    #[must_use]
    pub fn usable(&self) -> Sums {
        let issued = self.issue.as_ref().map_or([0; DIMENSIONS], |i| i.issued());
        std::array::from_fn(|d| self.held_of(d).saturating_add(issued[d]))
    }

    /// How long that is so, if nobody answers.
    #[must_use]
    pub fn lasts(&self, now: Instant) -> Duration {
        match self.is_alone(now) {
            true => self.terms.lease,
            false => self.ends - now,
        }
    }

    /// Something that it was spent on it has issued itself, and nobody has taken note of that yet.
    #[must_use]
    pub fn has_issued(&self) -> bool {
        self.issue.as_ref().is_some_and(|issue| issue.unsaid)
    }

    /// What others hold of it.
    pub fn engage(&mut self, out: Sums) {
        self.engaged = out.map(|n| n.max(0));
    }

    /// A middling call of those who are served from here.
    pub fn size(&mut self, least: Amounts) {
        self.demand.size(least);
    }

    /// What it was told by who grants to instances.
    pub fn hear_up(&mut self, told: &UpReply, now: Instant) -> bool {
        let before = self.usable();
        let alone = self.is_alone(now);
        if !self.hear(&told.reply, now) {
            return false;
        }
        let held = self.held();
        if let Some(issue) = &mut self.issue {
            issue.took(now - told.reply.asked_at);
            let was = alone.then_some(before);
            issue.hear((told.share, told.learning), was, held, now);
        }
        true
    }

    /// Takes `amounts` if they are held. One that is larger than the whole burst passes when that is held, and is owed.
    pub fn admit(&mut self, amounts: Amounts, now: Instant) -> bool {
        let fits = self.fits(amounts, now);
        if fits {
            self.take(amounts);
        }
        fits
    }

    /// Whether that much is held; where nothing of it is limited nothing has to be.
    #[must_use]
    pub fn fits(&self, amounts: Amounts, now: Instant) -> bool {
        let need = self.terms.fitted(amounts);
        let has = |d: usize| need[d] == 0 || self.held_of(d) >= signed(need[d]);
        (need == [0; DIMENSIONS] || now < self.ends) && (0..DIMENSIONS).all(has)
    }

    /// Takes `amounts`, whatever is held: for who has asked whether they fit.
    pub fn take(&mut self, amounts: Amounts) {
        self.demand.size(amounts);
        self.charge(amounts);
    }

    /// A call could not be admitted and waits since `since`: the one that is to go next, and `behind` it so many others. `None`: nobody
    /// waits.
    pub fn park(&mut self, call: Option<(Amounts, Instant)>, behind: u64) {
        self.parked = call.map(|(amounts, since)| (self.terms.fitted(amounts), since));
        self.behind = behind;
    }

    /// So much would be of use soon, to nobody who stands in a line.
    pub fn wish(&mut self, amounts: Amounts) {
        self.wish = self.terms.fitted(amounts);
        self.presses = true;
    }

    /// Somebody waits elsewhere for what is held here; or there is another reason to speak soon.
    pub fn press(&mut self, recall: bool) {
        self.recall |= recall;
        self.presses = true;
    }

    /// Spent without having been taken before, or more than was. What is not limited is counted too: it may be, one day.
    pub fn charge(&mut self, amounts: Amounts) {
        for (d, amount) in amounts.into_iter().enumerate() {
            self.spent[d] = self.spent[d].saturating_add(signed(amount));
            self.demand.sum[d] = self.demand.sum[d].saturating_add(amount);
        }
    }

    /// Less was used: it is held again as far as who grants still counts it as held; the rest goes back with the next ask.
    pub fn refund(&mut self, amounts: Amounts) {
        for (d, amount) in amounts.into_iter().enumerate() {
            self.spent[d] = self.spent[d].saturating_sub(signed(amount));
            self.demand.sum[d] = self.demand.sum[d].saturating_sub(amount);
            let short = self.said[d] - (self.spent[d] + self.returned[d]);
            self.returned[d] += short.max(0);
        }
    }

    /// What it holds; a debt is below zero.
    #[must_use]
    pub fn held(&self) -> Sums {
        std::array::from_fn(|d| self.held_of(d))
    }

    fn held_of(&self, d: usize) -> i64 {
        self.granted[d] - self.spent[d] - self.returned[d]
    }

    /// Spent since the last ask.
    #[must_use]
    pub fn unsaid(&self) -> Sums {
        let said = self.asked.map_or([0; DIMENSIONS], |asked| asked.spent);
        std::array::from_fn(|d| self.spent[d] - said[d])
    }

    #[must_use]
    pub fn id(&self) -> HolderId {
        self.id
    }

    /// The ask that is due at `now`, if one is.
    pub fn ask(&mut self, now: Instant) -> Option<Ask> {
        if !self.is_due(now) {
            return None;
        }
        self.demand.turn(now);
        self.presses = false;
        let wish = std::mem::take(&mut self.wish);
        let waiting = self.parked.map(|(amounts, _)| amounts).unwrap_or_default();
        let (mut want, mut least) = ([0; DIMENSIONS], [0; DIMENSIONS]);
        for d in self.limited() {
            let held = self.held_of(d);
            let middling = self.demand.middling[d].ceil() as u64;
            let target = match self.is_idle() {
                true => 0,
                false => self.target(d).max(middling),
            };
            let each = if middling > 0 { middling } else { waiting[d] };
            let target = target.max(self.behind.saturating_mul(each)).max(wish[d]);
            let keep = match self.recall {
                true => signed(waiting[d]),
                false if self.issue.is_some() => signed((target + target / 2).max(waiting[d])),
                false => signed((2 * target).max(waiting[d])),
            };
            let keep = keep.max(self.engaged[d]);
            if held > keep {
                let rest = match self.recall {
                    true => keep,
                    false => signed(target.max(waiting[d])).max(self.engaged[d]),
                };
                self.returned[d] += held - rest;
            }
            let spare = self.held_of(d).saturating_sub(signed(waiting[d]));
            want[d] = target.saturating_sub(spare.max(0).unsigned_abs());
            least[d] = middling.min(want[d]);
        }
        Some(self.asking(want, least, now))
    }

    fn asking(&mut self, want: Amounts, least: Amounts, now: Instant) -> Ask {
        self.number += 1;
        if let Some(issue) = &mut self.issue {
            issue.asks(self.terms.lease, now);
        }
        self.asked = Some(Asked {
            number: self.number,
            at: now,
            answered: false,
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

    /// What it was told. A new lease is only believed as the answer to the last ask. True if that is what it is.
    pub fn hear(&mut self, reply: &Reply, now: Instant) -> bool {
        let Some(asked) = &mut self.asked else {
            return false;
        };
        let last = reply.number == asked.number;
        if (reply.lease, reply.epoch) == (self.lease, self.epoch) {
            for (known, told) in self.granted.iter_mut().zip(reply.granted) {
                *known = (*known).max(told);
            }
        } else if reply.anew && last {
            (self.lease, self.epoch) = (reply.lease, reply.epoch);
            for d in 0..DIMENSIONS {
                self.spent[d] -= asked.spent[d];
                self.returned[d] -= asked.returned[d];
            }
            // Counts begin anew at that ask.
            (asked.spent, asked.returned) = ([0; DIMENSIONS], [0; DIMENSIONS]);
            self.granted = reply.granted;
            self.said = [0; DIMENSIONS];
        } else {
            return false;
        }
        self.ends = self.ends.max(reply.asked_at + reply.time);
        if last {
            asked.answered = true;
            self.terms.limits = reply.limits;
            self.recall = reply.recall;
            self.retry_at = reply.retry_in.map_or(now, |wait| now + wait);
        }
        last
    }

    /// When it wants to ask next, if nothing is spent meanwhile; never while it has no use for anything and all is said.
    #[must_use]
    pub fn due_at(&self) -> Instant {
        let (refresh, hurries) = (self.terms.refresh, self.presses || self.parked.is_some());
        let Some(asked) = self.asked else {
            return match hurries || self.unsaid() != [0; DIMENSIONS] {
                true => Instant::default(),
                false => Instant::NEVER,
            };
        };
        let patience = self.terms.patience.filter(|_| !asked.answered);
        match hurries {
            _ if patience.is_some() => asked.at + patience.unwrap_or_default(),
            false if asked.answered && self.rests(&asked) => Instant::NEVER,
            false => asked.at + refresh,
            // Lost, or late: not more often than that, whatever presses.
            true if !asked.answered => asked.at + (refresh / 10).max(self.terms.soonest),
            true => {
                let soon = asked.at + self.terms.soonest;
                let retry = if self.presses { soon } else { self.retry_at };
                retry.max(soon).min(asked.at + refresh)
            }
        }
    }

    /// Whether an ask is due. Some comparisons.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        let tenth = (self.terms.refresh / 10).max(self.terms.soonest);
        now >= self.due_at()
            || self.asked.is_some_and(|asked| {
                let may = asked.answered || self.terms.patience.is_none();
                may && now >= asked.at + tenth
            }) && self.is_low()
                && !self.is_idle()
    }

    /// Nothing is held, nothing is wanted, and who grants knows all of it.
    fn rests(&self, asked: &Asked) -> bool {
        let said = (self.spent, self.returned) == (asked.spent, asked.returned);
        said && self.is_idle() && self.limited().all(|d| self.held_of(d) <= 0)
    }

    /// Since when the answer to the last ask is waited for.
    #[must_use]
    pub fn waits_since(&self) -> Option<Instant> {
        let asked = self.asked.filter(|asked| !asked.answered);
        asked.map(|asked| asked.at)
    }

    /// Below three tenths of what it wants to hold.
    fn is_low(&self) -> bool {
        // Half of it, where the answer takes longer.
        let tenths = if self.issue.is_some() { 5 } else { 3 };
        self.limited().any(|d| {
            let target = self.target(d);
            target > 0 && self.held_of(d).saturating_mul(10) < signed(target.saturating_mul(tenths))
        })
    }

    /// What it wants to hold. Between instances an answer takes a while, and in that calls come as they like: three deviations more than
    /// come in the mean, if that leaves enough of the burst to flow.
    fn target(&self, d: usize) -> u64 {
        let Some(issue) = &self.issue else {
            return self.demand.within(d, self.terms.horizon);
        };
        let mean = self
            .demand
            .within(d, self.terms.horizon + 2 * issue.round_trip());
        let spread = 3.0 * (mean as f64 * self.demand.middling[d]).sqrt();
        let burst = self.terms.limits[d].map_or(0, |(_, burst)| burst);
        let most = (burst as f64 * issue.share_of_burst() / 4.0) as u64;
        (mean + spread as u64).min(most.max(mean))
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
    /// A call was of that size.
    fn size(&mut self, amounts: Amounts) {
        for (d, &amount) in amounts.iter().enumerate() {
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
