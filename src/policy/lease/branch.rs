//! Who grants within an instance, and holds what it grants of from above.
//!
//! What `Central` has and has given out is what the holder above may use. Whatever makes it less was spent below (or lost there, which is
//! the same); whatever makes it more came back. So the two are brought together at each step, and each keeps its own proof.

use crate::base::Instant;
use crate::policy::lease::{
    Amounts, Ask, Central, DIMENSIONS, Holder, HolderId, Limits, Sums, Terms, UpAsk, UpReply,
};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Branch {
    up: Holder,
    limits: Limits,
    /// What `Central` had when the two were last brought together.
    agreed: Sums,
    /// What all instances had left, in thousandths, and when that was.
    left: Option<(Sums, Instant)>,
    others: Amounts,
    ceiling: [Option<u64>; DIMENSIONS],
}

impl Branch {
    #[must_use]
    pub fn new(id: HolderId, limits: Limits, instances_max: u64) -> Self {
        Self {
            up: Holder::issuing(id, Terms::between_instances(limits), instances_max),
            limits,
            agreed: [0; DIMENSIONS],
            left: None,
            others: [0; DIMENSIONS],
            ceiling: [None; DIMENSIONS],
        }
    }

    /// Takes off above what was spent below, and gives to below what is usable now.
    pub fn meet(&mut self, central: &mut Central, now: Instant) {
        let has = central.potentials(now);
        let less: Sums = std::array::from_fn(|d| self.agreed[d].saturating_sub(has[d]));
        self.up.charge(less.map(|n| n.max(0).unsigned_abs()));
        self.up.refund(less.map(|n| n.min(0).unsigned_abs()));
        self.up.step(now);
        self.hand_down(central, now);
    }

    fn hand_down(&mut self, central: &mut Central, now: Instant) {
        self.agreed = self.up.usable();
        central.feed(self.agreed, self.up.lasts(now), self.left_at(now));
    }

    /// What a guest says of its calls.
    pub fn note(&mut self, ask: &Ask) {
        self.up.size(ask.least);
        if let Some((amounts, _)) = ask.parked {
            self.up.size(amounts);
        }
    }

    /// The ask that is due above, if one is. `limits`: what this instance takes them for.
    pub fn ask(&mut self, central: &mut Central, limits: Limits, now: Instant) -> Option<UpAsk> {
        self.meet(central, now);
        self.limits = limits;
        let (out, (lacks, first)) = (central.out().map(|n| n.max(0)), central.lacks());
        let free: Sums = std::array::from_fn(|d| self.agreed[d] - out[d]);
        let short = |amounts: &Amounts| {
            let lacks = |d: usize| limits[d].is_some() && signed(amounts[d]) > free[d].max(0);
            (0..DIMENSIONS).any(lacks)
        };
        let with_out = |more: Amounts| -> Amounts {
            std::array::from_fn(|d| more[d].saturating_add(out[d].unsigned_abs()))
        };
        if short(&lacks) {
            self.up.wish(with_out(lacks));
        }
        let parked = first.filter(|(need, _)| short(need));
        self.up
            .park(parked.map(|(need, since)| (with_out(need), since)), 0);
        self.up.engage(out);
        let issued = self.up.has_issued();
        let ask = self.up.ask(now)?;
        self.hand_down(central, now);
        let ceiling = std::mem::take(&mut self.ceiling);
        Some(UpAsk {
            ask,
            limits,
            ceiling,
            issued,
        })
    }

    /// What was said above; true if it is the answer to the last ask.
    pub fn hear(&mut self, told: &UpReply, central: &mut Central, now: Instant) -> bool {
        self.meet(central, now);
        let last = self.up.hear_up(told, now);
        if last {
            central.set_limits(told.reply.limits, now);
            self.left = Some((told.reply.left, now));
            self.others = told.others;
        }
        self.hand_down(central, now);
        last
    }

    /// The provider says that all have no more left than that.
    pub fn lower(&mut self, dimension: usize, to: u64) {
        let known = self.ceiling[dimension].unwrap_or(u64::MAX);
        self.ceiling[dimension] = Some(known.min(to));
        if let Some((left, _)) = &mut self.left {
            left[dimension] = left[dimension].min(signed(to).saturating_mul(1_000));
        }
    }

    /// When it wants to be looked at next.
    #[must_use]
    pub fn due_at(&self) -> Instant {
        self.up.due_at()
    }

    /// What other instances spend in a second.
    #[must_use]
    pub fn others(&self) -> Amounts {
        self.others
    }

    #[must_use]
    pub fn id(&self) -> HolderId {
        self.up.id()
    }

    /// What all instances have left at `now`, in thousandths, as far as it is known here; full where nobody has said anything.
    fn left_at(&self, now: Instant) -> Sums {
        let unsaid = self.up.unsaid();
        std::array::from_fn(|d| {
            let Some((rate, burst)) = self.limits[d] else {
                return 0;
            };
            let full = signed(burst).saturating_mul(1_000);
            let Some((left, at)) = self.left else {
                return full;
            };
            let passed: Duration = now - at;
            let flowed = rate.0 as f64 / 60.0 * passed.as_secs_f64();
            let flowed = left[d].saturating_add(flowed as i64);
            let left = flowed.min(full) - unsaid[d].saturating_mul(1_000);
            // What is here is there, whatever is owed elsewhere.
            left.max(self.agreed[d].saturating_mul(1_000))
        })
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
