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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::capacity::Rate;
    use crate::policy::lease::Reply;

    const BURST: u64 = 4_000;

    fn limits() -> Limits {
        [None, Some((Rate::per_minute(60_000), BURST)), None, None]
    }

    fn at(ms: u64) -> Instant {
        Instant((1_000_000 + ms) * 1_000_000)
    }

    /// An instance with one holder below, which takes all it can get.
    struct Instance {
        branch: Branch,
        central: Central,
        below: Holder,
        spent: u64,
    }

    impl Instance {
        fn new(id: u64) -> Self {
            let terms = Terms::below_instances(limits());
            Self {
                branch: Branch::new(HolderId(id), limits(), 10),
                central: Central::fed(terms, 1, at(0)),
                below: Holder::new(HolderId(id), terms),
                spent: 0,
            }
        }

        /// A millisecond in which calls of a hundred tokens wait; what it says above.
        fn step(&mut self, ms: u64) -> Option<UpAsk> {
            let call = [1, 100, 0, 0];
            while self.below.admit(call, at(ms)) {
                self.spent += 100;
            }
            self.below.park(Some((call, at(ms))), 3);
            if let Some(ask) = self.below.ask(at(ms)) {
                self.branch.note(&ask);
                self.branch.meet(&mut self.central, at(ms));
                let reply = self.central.hear(&ask, at(ms));
                self.branch.meet(&mut self.central, at(ms));
                self.below.hear(&reply.expect("in order"), at(ms));
            }
            self.branch.ask(&mut self.central, limits(), at(ms))
        }

        fn hear(&mut self, ask: &UpAsk, granted: i64, (share, learning): (u64, bool), ms: u64) {
            let told = UpReply {
                reply: Reply {
                    holder: ask.ask.holder,
                    number: ask.ask.number,
                    lease: 1,
                    epoch: 1,
                    asked_at: ask.ask.at,
                    granted: [0, granted, 0, 0],
                    anew: ask.ask.lease == 0,
                    time: Duration::from_secs(2),
                    retry_in: None,
                    recall: false,
                    limits: limits(),
                    left: [0, BURST as i64 * 1_000, 0, 0],
                },
                share,
                others: [0; DIMENSIONS],
                learning,
            };
            self.branch.hear(&told, &mut self.central, at(ms));
        }
    }

    /// A thousand tokens a second and a quarter of them its share: it issues 225 a second, once nobody has answered for a second.
    #[test]
    fn an_instance_that_nobody_answers_lives_on_its_share_and_owes_it() {
        let mut instance = Instance::new(1);
        let ask = instance.step(0).expect("the first");
        instance.hear(&ask, 1_000, (250_000, false), 1);
        let mut last = None;
        for ms in 2..1_000 {
            last = instance.step(ms).or(last);
        }
        assert_eq!(instance.spent, 1_000, "what it was granted");
        for ms in 1_000..11_000 {
            last = instance.step(ms).or(last);
        }
        let issued = instance.spent - 1_000;
        assert!((1_800..=2_250).contains(&issued), "{issued}");
        let last = last.expect("it goes on asking");
        assert!(last.issued);
        let owed = -last.ask.held[1];
        assert!((issued as i64 - owed).abs() <= 200, "{owed} of {issued}");
    }

    /// One that was never told a share is one of ten in a tenth.
    #[test]
    fn an_instance_that_never_heard_of_others_takes_little() {
        let mut instance = Instance::new(1);
        for ms in 0..21_000 {
            instance.step(ms);
        }
        assert!((100..=200).contains(&instance.spent), "{}", instance.spent);
    }

    /// What it holds below is not given back above while somebody holds it, and what comes back may be.
    #[test]
    fn what_comes_back_below_comes_back_above() {
        let mut instance = Instance::new(1);
        let ask = instance.step(0).expect("the first");
        instance.hear(&ask, 2_000, (1_000_000, false), 1);
        for ms in 2..300 {
            if let Some(ask) = instance.step(ms) {
                instance.hear(&ask, 2_000, (1_000_000, false), ms);
            }
        }
        assert_eq!(instance.spent, 2_000);
        instance.below.refund([0, 500, 0, 0]);
        instance.below.park(None, 0);
        let mut all = [0; 2];
        for ms in 300..6_000 {
            if let Some(ask) = instance.below.ask(at(ms)) {
                instance.branch.meet(&mut instance.central, at(ms));
                let reply = instance.central.hear(&ask, at(ms)).expect("in order");
                instance.branch.meet(&mut instance.central, at(ms));
                instance.below.hear(&reply, at(ms));
            }
            if let Some(ask) = instance.branch.ask(&mut instance.central, limits(), at(ms)) {
                all = [ask.ask.spent[1], ask.ask.returned[1]];
                instance.hear(&ask, 2_000, (1_000_000, false), ms);
            }
        }
        assert_eq!(all, [1_500, 500]);
    }
}
