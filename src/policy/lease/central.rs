//! Who grants.

use crate::base::Instant;
use crate::policy::lease::{Amounts, Ask, DIMENSIONS, HolderId, Limits, Reply, Sums, Terms};
use std::collections::BTreeMap;
use std::time::Duration;

/// The buckets of one scope, all of them granted from together, and what of them is out.
#[derive(Clone, Debug)]
pub struct Central {
    terms: Terms,
    epoch: u64,
    /// What is neither spent nor out, in units.
    level: [i128; DIMENSIONS],
    at: Instant,
    leases: BTreeMap<HolderId, Lease>,
    numbers: u64,
    /// All that holders said they spent.
    drawn: Amounts,
    /// After a loss of memory nothing is granted before then: who holds something says so until then, or holds it no more.
    learns_until: Instant,
    fed: Option<Fed>,
}

/// What is granted from comes from above, and does not flow here.
#[derive(Clone, Copy, Debug)]
struct Fed {
    /// So long it is ours.
    time: Duration,
    /// What all instances together have left, in thousandths.
    left: Sums,
}

#[derive(Clone, Debug)]
struct Lease {
    number: u64,
    /// The one that its holder had before, and its epoch.
    before: (u64, u64),
    /// What its holder said it held when it began: not granted from here.
    kept: Sums,
    last_ask: u64,
    granted: Sums,
    spent: Sums,
    returned: Sums,
    /// The debt it came with.
    owed: Sums,
    ends: Instant,
    want: Amounts,
    demand: Amounts,
    /// What waits there: since when by our clock, and how much.
    parked: Option<(Instant, Amounts)>,
}

/// Units of a token: `Rate` is thousandths a minute, and a nanosecond brings that many units.
const UNIT: i128 = 60_000_000_000_000;

impl Central {
    /// Full. `epoch`: other than that of any before it over the same limits.
    #[must_use]
    pub fn new(terms: Terms, epoch: u64, now: Instant) -> Self {
        let full = terms.limits.map(|l| l.map_or(0, |(_, b)| units(b)));
        Self {
            terms,
            epoch,
            level: full,
            at: now,
            leases: BTreeMap::new(),
            numbers: 0,
            drawn: [0; DIMENSIONS],
            learns_until: Instant::default(),
            fed: None,
        }
    }

    /// One that has nothing but what it is given (`feed`).
    #[must_use]
    pub fn fed(terms: Terms, epoch: u64, now: Instant) -> Self {
        let (time, left) = (Duration::ZERO, [0; DIMENSIONS]);
        Self {
            level: [0; DIMENSIONS],
            fed: Some(Fed { time, left }),
            ..Self::new(terms, epoch, now)
        }
    }

    /// Has `potential` from now on, what is out included, for `time`; and all instances have `left`, in thousandths.
    pub fn feed(&mut self, potential: Sums, time: Duration, left: Sums) {
        for (d, out) in self.out().into_iter().enumerate() {
            self.level[d] = i128::from(potential[d].saturating_sub(out)) * UNIT;
        }
        self.fed = Some(Fed { time, left });
    }

    /// What it has and has given out.
    #[must_use]
    pub fn potentials(&mut self, now: Instant) -> Sums {
        self.step(now);
        let out = self.out();
        std::array::from_fn(|d| (self.level[d].div_euclid(UNIT) as i64).saturating_add(out[d]))
    }

    /// What more would be of use, and of that the part for whoever has waited longest, with the time since when.
    #[must_use]
    pub fn lacks(&self) -> (Amounts, Option<(Amounts, Instant)>) {
        let (mut all, mut first) = ([0; DIMENSIONS], None::<(Amounts, Instant)>);
        for lease in self.leases.values() {
            let held = lease.held().map(|h| h.max(0).unsigned_abs());
            for (sum, want) in all.iter_mut().zip(lease.want) {
                *sum += want;
            }
            if let Some((since, amounts)) = lease.parked {
                let need = std::array::from_fn(|d: usize| amounts[d].saturating_sub(held[d]));
                for (sum, need) in all.iter_mut().zip(need) {
                    *sum += need;
                }
                if first.is_none_or(|(_, known)| since < known) {
                    first = Some((need, since));
                }
            }
        }
        (all, first)
    }

    /// One that has forgotten what is out: empty, and it grants nothing until all leases that it cannot know of have ended.
    #[must_use]
    pub fn recovered(terms: Terms, epoch: u64, now: Instant) -> Self {
        Self {
            level: [0; DIMENSIONS],
            learns_until: now + terms.lease,
            ..Self::new(terms, epoch, now)
        }
    }

    /// Hears an ask; `None` for one that a later one has overtaken. Cost: some passes over the holders.
    pub fn hear(&mut self, ask: &Ask, now: Instant) -> Option<Reply> {
        self.step(now);
        let anew = self.account(ask, now)?;
        let (give, retry_in) = self.give(ask.holder, ask.least, now);
        let recall = self.leases.iter().any(|(who, lease)| {
            let waits = lease.parked.is_some();
            waits && *who != ask.holder
        });
        let lease = self.terms.lease;
        let epoch = self.epoch;
        let time = self.fed.map_or(lease, |fed| fed.time.min(lease));
        let left = self.fed.map_or_else(|| self.left(), |fed| fed.left);
        let lease = self.leases.get_mut(&ask.holder)?;
        for (d, &give) in give.iter().enumerate() {
            self.level[d] -= units(give);
            lease.granted[d] += signed(give);
            lease.want[d] = lease.want[d].saturating_sub(give);
        }
        if retry_in.is_none() {
            lease.parked = None;
        }
        Some(Reply {
            holder: ask.holder,
            number: ask.number,
            lease: lease.number,
            epoch,
            asked_at: ask.at,
            granted: lease.granted,
            anew,
            time,
            retry_in,
            recall,
            limits: self.terms.limits,
            left,
        })
    }

    /// Goes on under other limits: what flowed until now flowed at the old rates. What is limited anew is full.
    pub fn set_limits(&mut self, limits: Limits, now: Instant) {
        if limits == self.terms.limits {
            return;
        }
        if self.fed.is_some() {
            self.terms.limits = limits;
            return;
        }
        self.step(now);
        let out = self.out();
        for (d, limit) in limits.iter().enumerate() {
            let Some((_, burst)) = limit else { continue };
            let most = units(*burst) - i128::from(out[d]) * UNIT;
            self.level[d] = match self.terms.limits[d] {
                None => most,
                Some(_) => self.level[d].min(most),
            };
        }
        self.terms.limits = limits;
    }

    /// The provider's own count shows so many tokens more or, below zero, less than was thought.
    pub fn shift(&mut self, dimension: usize, tokens: i128, now: Instant) {
        self.step(now);
        self.level[dimension] += tokens * UNIT;
        self.refill(now);
    }

    /// What an ask will be found to have spent that is not taken off yet.
    #[must_use]
    pub fn unheard(&self, ask: &Ask) -> Amounts {
        let same = |lease: &&Lease| lease.number == ask.lease && ask.epoch == self.epoch;
        let Some(lease) = self.leases.get(&ask.holder).filter(same) else {
            return [0; DIMENSIONS];
        };
        std::array::from_fn(|d| (ask.spent[d] - lease.spent[d]).max(0).unsigned_abs())
    }

    /// All that holders said they spent since the beginning, for who learns from it.
    #[must_use]
    pub fn drawn(&self) -> Amounts {
        self.drawn
    }

    /// What they spend in a second, but for `holder`.
    #[must_use]
    pub fn demand_beside(&self, holder: HolderId) -> Amounts {
        let mut sum = [0; DIMENSIONS];
        for lease in self.leases.iter().filter(|(who, _)| **who != holder) {
            for (sum, demand) in sum.iter_mut().zip(lease.1.demand) {
                *sum += demand;
            }
        }
        sum
    }

    /// Who holds something that is not needed at once while somebody waits for more than there is.
    pub fn hoarders(&self) -> impl Iterator<Item = HolderId> + '_ {
        let waits = self.leases.values().any(|lease| lease.parked.is_some());
        let holds = |lease: &&Lease| lease.parked.is_none() && lease.held().iter().any(|h| *h > 0);
        let leases = self.leases.iter().filter(move |_| waits);
        leases.filter(move |(_, l)| holds(l)).map(|(who, _)| *who)
    }

    /// In thousandths, so that a limit of three a minute shows how it comes back.
    fn left(&self) -> Sums {
        let (out, mut left) = (self.out(), [0; DIMENSIONS]);
        for (d, left) in left.iter_mut().enumerate() {
            let thousandths = self.level[d].div_euclid(UNIT / 1_000) + i128::from(out[d]) * 1_000;
            *left = i64::try_from(thousandths).unwrap_or(i64::MAX);
        }
        left
    }

    /// Comes to `now`: leases end, and what was held under them is taken for spent; then the buckets refill, up to what is not out.
    fn step(&mut self, now: Instant) {
        self.leases.retain(|_, lease| lease.ends > now);
        self.refill(now);
    }

    fn refill(&mut self, now: Instant) {
        if self.fed.is_some() {
            self.at = self.at.max(now);
            return;
        }
        let out = self.out();
        // Nothing flows while it may hold less than is really out.
        let from = self.at.max(self.learns_until).min(now.max(self.at));
        let time = i128::from(now.0.saturating_sub(from.0));
        for (d, limit) in self.terms.limits.iter().enumerate() {
            let Some((rate, burst)) = limit else { continue };
            let most = units(*burst) - i128::from(out[d]) * UNIT;
            let flowed = self.level[d] + i128::from(rate.0) * time;
            self.level[d] = flowed.min(most);
        }
        self.at = self.at.max(now);
    }

    /// What holders may have at most.
    pub(super) fn out(&self) -> Sums {
        let mut out = [0; DIMENSIONS];
        for lease in self.leases.values() {
            for (sum, held) in out.iter_mut().zip(lease.held()) {
                *sum += held.max(0);
            }
        }
        out
    }

    /// Takes in what a holder says of itself; true if it begins a new lease.
    fn account(&mut self, ask: &Ask, now: Instant) -> Option<bool> {
        let known = self.leases.get(&ask.holder);
        if known.is_some_and(|lease| ask.number <= lease.last_ask) {
            return None;
        }
        let same = ask.epoch == self.epoch && known.is_some_and(|l| l.number == ask.lease);
        if !same {
            self.begin(ask, now);
        }
        let lease = self.leases.get_mut(&ask.holder)?;
        if same {
            for d in 0..DIMENSIONS {
                self.level[d] += i128::from(ask.returned[d] - lease.returned[d]) * UNIT;
                let more = ask.spent[d].saturating_sub(lease.spent[d]).max(0);
                self.drawn[d] = self.drawn[d].wrapping_add(more.unsigned_abs());
            }
            (lease.spent, lease.returned) = (ask.spent, ask.returned);
            let held = lease.held();
            for (d, held) in held.into_iter().enumerate() {
                // A debt: spent without having been granted.
                let debt = (-held).max(0);
                lease.granted[d] += debt;
                self.level[d] -= i128::from(debt) * UNIT;
            }
        }
        lease.last_ask = ask.number;
        lease.ends = now + self.terms.lease;
        (lease.want, lease.demand) = (ask.want, ask.demand);
        let since = |waited: Duration| Instant(now.0.saturating_sub(waited.as_nanos() as u64));
        lease.parked = ask
            .parked
            .map(|(amounts, waited)| (since(waited), self.terms.fitted(amounts)));
        // What came back may be of calls whose lease was taken for spent long ago, and has flowed in since.
        self.refill(now);
        Some(!same)
    }

    /// A holder that is not known, or no more: it holds nothing, but while we learn, what it says it does; and owes what it says it does.
    fn begin(&mut self, ask: &Ask, now: Instant) {
        let mut owed_before = [0; DIMENSIONS];
        if let Some(old) = self.leases.remove(&ask.holder)
            && old.before == (ask.lease, ask.epoch)
        {
            // It never heard of that lease, so nobody spends from it; what it owed was charged.
            for (d, held) in old.held().into_iter().enumerate() {
                self.level[d] += i128::from((held - old.kept[d]).max(0)) * UNIT;
            }
            owed_before = old.owed;
        }
        let learning = now < self.learns_until;
        let mut owed = [0; DIMENSIONS];
        let mut granted = [0; DIMENSIONS];
        for d in 0..DIMENSIONS {
            owed[d] = (-ask.held[d]).max(0);
            self.level[d] -= i128::from((owed[d] - owed_before[d]).max(0)) * UNIT;
            if learning {
                granted[d] = ask.held[d].max(0);
            }
        }
        self.numbers += 1;
        let lease = Lease {
            number: self.numbers,
            before: (ask.lease, ask.epoch),
            kept: granted,
            last_ask: ask.number,
            granted,
            spent: [0; DIMENSIONS],
            returned: [0; DIMENSIONS],
            owed,
            ends: now + self.terms.lease,
            want: ask.want,
            demand: ask.demand,
            parked: None,
        };
        self.leases.insert(ask.holder, lease);
    }

    /// What `holder` is given now, all dimensions together or none; and when what it waits for may fit.
    fn give(&self, holder: HolderId, least: Amounts, now: Instant) -> (Amounts, Option<Duration>) {
        let nothing = [0; DIMENSIONS];
        let Some(lease) = self.leases.get(&holder) else {
            return (nothing, None);
        };
        if now < self.learns_until {
            return (nothing, Some(self.learns_until - now));
        }
        let mut need = nothing;
        if let Some((_, amounts)) = lease.parked {
            let (held, free) = (lease.held(), self.free_before(holder));
            for d in 0..DIMENSIONS {
                need[d] = amounts[d].saturating_sub(held[d].max(0).unsigned_abs());
            }
            let wait = self.time_for(need, free);
            if wait > Duration::ZERO {
                // When it is fed nobody knows: who grants to it may have some at once.
                let wait = self.fed.map_or(wait, |_| wait.min(FED_AGAIN));
                return (nothing, Some(wait));
            }
        }
        // What nobody waits for is there for what is to come.
        let mut give = self.supply(holder, least, whole(self.free_beside(need, holder)));
        for d in 0..DIMENSIONS {
            give[d] += need[d];
        }
        (give, None)
    }

    /// What `holder` gets of `free` towards what it wants to hold.
    fn supply(&self, holder: HolderId, least: Amounts, free: Amounts) -> Amounts {
        let mut give = [0; DIMENSIONS];
        let Some(lease) = self.leases.get(&holder) else {
            return give;
        };
        // The scarcest of what it wants decides how much of all it gets.
        let mut part = PART;
        for d in self.limited() {
            let want = lease.want[d];
            let share = self.share(holder, d, free[d]).max(least[d]).min(free[d]);
            if want > share {
                part = part.min(u128::from(share) * PART / u128::from(want));
            }
        }
        for d in self.limited() {
            let of = (u128::from(lease.want[d]) * part / PART) as u64;
            // Less than a middling call is of no use.
            give[d] = of.max(least[d].min(lease.want[d]));
            if give[d] > free[d] {
                return [0; DIMENSIONS];
            }
        }
        give
    }

    fn limited(&self) -> impl Iterator<Item = usize> {
        let limits = self.terms.limits;
        (0..DIMENSIONS).filter(move |d| limits[*d].is_some())
    }

    /// What is there, less what those wait for who came before it. So a large call gets its turn however many small ones there are.
    fn free_before(&self, holder: HolderId) -> Units {
        let own = self.leases.get(&holder).and_then(|lease| lease.parked);
        let mine = own.map_or((Instant::NEVER, holder), |(since, _)| (since, holder));
        self.free_less([0; DIMENSIONS], |who, since| (since, who) < mine)
    }

    /// What is there, less `need`, and less what all others wait for.
    fn free_beside(&self, need: Amounts, holder: HolderId) -> Units {
        self.free_less(need, |who, _| who != holder)
    }

    fn free_less(&self, need: Amounts, counts: impl Fn(HolderId, Instant) -> bool) -> Units {
        let mut level = self.level;
        let mut less = |amounts: Amounts| {
            for (left, amount) in level.iter_mut().zip(amounts) {
                *left -= units(amount);
            }
        };
        less(need);
        for (who, lease) in &self.leases {
            if let Some((_, amounts)) = lease.parked.filter(|p| counts(*who, p.0)) {
                // What it holds already is not needed once more.
                let held = lease.held().map(|h| h.max(0).unsigned_abs());
                let mut lacks = amounts;
                for (lack, held) in lacks.iter_mut().zip(held) {
                    *lack = lack.saturating_sub(held);
                }
                less(lacks);
            }
        }
        level
    }

    /// The holder's part of `free` by water-filling: everybody gets by demand, and what somebody does not want is for the others.
    fn share(&self, holder: HolderId, d: usize, free: u64) -> u64 {
        let weight = |l: &Lease| u128::from(l.demand[d]) + 1;
        let wanting = self.leases.iter().filter(|(_, l)| l.want[d] > 0);
        let mut wanting: Vec<(u128, u128, HolderId)> = wanting
            .map(|(who, l)| (u128::from(l.want[d]), weight(l), *who))
            .collect();
        // By want for each unit of weight: those who want the least for theirs are satisfied first.
        wanting.sort_by(|(a, w, _), (b, v, _)| (a * v).cmp(&(b * w)));
        let mut left = u128::from(free);
        let mut weights: u128 = wanting.iter().map(|w| w.1).sum();
        for (want, weight, who) in wanting {
            let fair = left * weight / weights.max(1);
            if who == holder {
                return u64::try_from(fair).unwrap_or(u64::MAX);
            }
            left -= want.min(fair);
            weights -= weight;
        }
        0
    }

    /// Until `need` is free.
    fn time_for(&self, need: Amounts, free: Units) -> Duration {
        let mut longest = Duration::ZERO;
        for d in self.limited() {
            let short = units(need[d]) - free[d];
            let Some((rate, _)) = self.terms.limits[d].filter(|_| need[d] > 0 && short > 0) else {
                continue;
            };
            let nanos = short / i128::from(rate.0.max(1)) + 1;
            longest = longest.max(Duration::from_nanos(
                u64::try_from(nanos).unwrap_or(u64::MAX),
            ));
        }
        longest
    }

    /// What is there and what is out together: never more than the burst.
    #[must_use]
    pub fn potential(&self, dimension: usize) -> i128 {
        self.level[dimension].div_euclid(UNIT) + i128::from(self.out()[dimension])
    }
}

impl Lease {
    /// What its holder has at most.
    fn held(&self) -> Sums {
        let mut held = self.granted;
        for (d, sum) in held.iter_mut().enumerate() {
            *sum -= self.spent[d] + self.returned[d];
        }
        held
    }
}

type Units = [i128; DIMENSIONS];

/// Whole tokens.
fn whole(free: Units) -> Amounts {
    free.map(|units| u64::try_from((units / UNIT).max(0)).unwrap_or(u64::MAX))
}

fn units(tokens: u64) -> i128 {
    i128::from(tokens) * UNIT
}

pub(super) fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

const PART: u128 = 1 << 32;
/// Between shards a letter takes a tenth of that.
const FED_AGAIN: Duration = Duration::from_millis(5);
