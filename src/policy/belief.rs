//! How likely an entry that should be warm is warm: learned from what was billed, by how much of its life has gone.
//!
//! An index says what a provider promises. Providers also evict under load, and change lifetimes without a word (an hour became five minutes in
//! March 2026). One `Belief` watches one cache (scope and lifetime class). Ages fall into buckets, finer the younger, since what a silent change
//! makes of an hour is a small part of it. Each bucket counts hits and misses that fade; an age of which little is known is taken to be like all
//! younger than the promise together; and what is older is never believed warmer than what is younger (isotonic regression, by pooling neighbours).
//!
//! Deliberately knows no prices and decides nothing: `drift` tells that a promise is broken, someone else alarms.

use std::time::Duration;

/// What is believed of one cache.
#[derive(Clone, Debug)]
pub struct Belief {
    buckets: [Bucket; EDGES.len()],
    /// All within the promised life.
    all: Bucket,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    hits: f64,
    misses: f64,
    /// The last eight, the newest lowest; 1 is a miss. And how many there were.
    recent: u8,
    seen: u8,
}

/// A lifetime that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    pub promised: Duration,
    /// The longest age that is still believed warm.
    pub believed: Duration,
}

/// Upper ends, in parts of the promised life. 1/12 of an hour is five minutes; of a day, two hours. The last holds all beyond the promise.
const EDGES: [f64; 12] = [
    1.0 / 288.0,
    1.0 / 96.0,
    1.0 / 48.0,
    1.0 / 24.0,
    1.0 / 12.0,
    1.0 / 6.0,
    1.0 / 3.0,
    0.5,
    0.75,
    0.9,
    1.0,
    f64::INFINITY,
];

/// Before anything is seen: a promise is kept 97 times of a hundred, and what outlived it is gone but for one in ten.
const KEPT: f64 = 0.97;
const OUTLIVED: f64 = 0.1;
/// Observations that the prior is worth.
const PRIOR: f64 = 4.0;
/// An observation counts half after 35 others of its bucket: an eviction rate of 2 % is told from one of 10 % within some fifty.
const FADE: f64 = 0.98;
/// So many of the last so many against what is believed are a change and not chance: at 10 % evictions, once in 18,000.
const AGAINST: u32 = 5;
const LAST: u8 = 6;

impl Default for Belief {
    fn default() -> Self {
        Self::new()
    }
}

impl Belief {
    #[must_use]
    pub fn new() -> Self {
        Self {
            buckets: [Bucket::default(); EDGES.len()],
            all: Bucket::default(),
        }
    }

    /// How likely an entry of `age` is there that was promised to live for `life`. From 0 to 1, and no more for an older one.
    #[must_use]
    pub fn warm(&self, age: Duration, life: Duration) -> f64 {
        self.curve()[bucket(age, life)]
    }

    /// An entry of that age was (or was not) read. To be told of every bill where the index had an entry, whatever was expected of it.
    pub fn observe(&mut self, age: Duration, life: Duration, was_read: bool) {
        let at = bucket(age, life);
        let believed = self.curve()[at];
        self.buckets[at].see(was_read);
        if at + 1 < EDGES.len() {
            self.all.see(was_read);
        }
        if self.buckets[at].contradicts(believed) {
            // What was counted before the change says nothing any more.
            self.buckets[at].keep_recent();
            self.all.keep_recent();
            if believed > 0.5 {
                // Older ages were believed for the same reason.
                self.buckets[at + 1..].fill(Bucket::default());
            }
        }
    }

    /// Where the promise of `life` is not kept: whole ages within it are more likely cold than warm.
    #[must_use]
    pub fn drift(&self, life: Duration) -> Option<Drift> {
        let curve = self.curve();
        let within = &curve[..EDGES.len() - 1];
        let warm = within.iter().take_while(|p| **p >= 0.5).count();
        let part = warm.checked_sub(1).map_or(0.0, |last| EDGES[last]);
        (warm < within.len()).then(|| Drift {
            promised: life,
            believed: life.mul_f64(part),
        })
    }

    /// Each bucket's mean, neighbours pooled until none rises.
    fn curve(&self) -> [f64; EDGES.len()] {
        let common = self.all.mean(KEPT);
        let mut pools: [(f64, f64, usize); EDGES.len()] = [(0.0, 0.0, 0); EDGES.len()];
        let mut count = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            let is_outlived = at + 1 == EDGES.len();
            let prior = if is_outlived { OUTLIVED } else { common };
            let weight = bucket.hits + bucket.misses + if is_outlived { PRIOR } else { WEAK };
            let own = if is_outlived { PRIOR } else { WEAK };
            let mut pool = ((bucket.hits + own * prior) / weight, weight, 1);
            while count > 0 && pools[count - 1].0 < pool.0 {
                count -= 1;
                let (mean, other, wide) = pools[count];
                let sum = other + pool.1;
                pool = ((mean * other + pool.0 * pool.1) / sum, sum, pool.2 + wide);
            }
            pools[count] = pool;
            count += 1;
        }
        let mut curve = [0.0; EDGES.len()];
        let mut at = 0;
        for (mean, _, wide) in &pools[..count] {
            curve[at..at + wide].fill(*mean);
            at += wide;
        }
        curve
    }
}

/// What a bucket borrows from all of them, in observations: little, so that what is known of younger ages does not hide that an older one fails.
const WEAK: f64 = 1.0;

impl Bucket {
    fn see(&mut self, was_read: bool) {
        self.hits = self.hits * FADE + f64::from(u8::from(was_read));
        self.misses = self.misses * FADE + f64::from(u8::from(!was_read));
        self.recent = self.recent << 1 | u8::from(!was_read);
        self.seen = self.seen.saturating_add(1);
    }

    fn mean(&self, prior: f64) -> f64 {
        (self.hits + PRIOR * prior) / (self.hits + self.misses + PRIOR)
    }

    fn contradicts(&self, believed: f64) -> bool {
        let mask = (1_u8 << LAST) - 1;
        let misses = (self.recent & mask).count_ones();
        let hits = u32::from(LAST) - misses;
        self.seen >= LAST
            && if believed > 0.5 {
                misses >= AGAINST
            } else {
                hits >= AGAINST
            }
    }

    fn keep_recent(&mut self) {
        let count = u32::from(self.seen.min(LAST));
        let misses = (self.recent & ((1_u8 << LAST) - 1)).count_ones().min(count);
        (self.misses, self.hits) = (f64::from(misses), f64::from(count - misses));
    }
}

fn bucket(age: Duration, life: Duration) -> usize {
    let part = age.as_secs_f64() / life.as_secs_f64().max(1e-3);
    let found = EDGES.iter().position(|edge| part <= *edge);
    found.unwrap_or(EDGES.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn minutes(n: u64) -> Duration {
        Duration::from_secs(n * 60)
    }

    /// Tells of `count` requests after pauses of 30 s, 10 and 40 minutes, each evicted once in `evicts`, and gone after `truth`.
    fn live(belief: &mut Belief, rng: &mut Rng, count: u32, evicts: u64, truth: Duration) {
        for _ in 0..count {
            let age = [Duration::from_secs(30), minutes(10), minutes(40)][rng.below(3) as usize];
            belief.observe(age, HOUR, age < truth && !rng.once_in(evicts));
        }
    }

    #[test]
    fn a_promise_is_believed_until_something_else_is_seen() {
        let belief = Belief::new();
        assert!(belief.warm(minutes(50), HOUR) > 0.9);
        assert!(belief.warm(minutes(61), HOUR) < 0.2);
        assert_eq!(belief.drift(HOUR), None);
    }

    #[test]
    fn evictions_of_2_and_10_percent_are_believed_within_50_requests() {
        for (evicts, truth) in [(50, 0.98), (10, 0.9)] {
            let mut error = 0.0;
            for seed in 0..200 {
                let (mut belief, mut rng) = (Belief::new(), Rng::seeded(seed));
                live(&mut belief, &mut rng, 50, evicts, HOUR);
                error += (belief.warm(minutes(10), HOUR) - truth).abs() / 200.0;
                assert_eq!(
                    belief.drift(HOUR),
                    None,
                    "seed {seed}: no alarm for evictions"
                );
            }
            assert!(error < 0.06, "{truth}: {error}");
        }
    }

    #[test]
    fn a_silent_drop_from_an_hour_to_five_minutes_is_seen_within_50_requests_and_younger_stay_warm()
    {
        for (seed, evicts) in (0..200).flat_map(|seed| [(seed, 0), (seed, 50), (seed, 10)]) {
            let (mut belief, mut rng) = (Belief::new(), Rng::seeded(seed));
            live(&mut belief, &mut rng, 1_000, evicts, HOUR);
            live(&mut belief, &mut rng, 50, evicts, minutes(5));
            let at = |age| belief.warm(age, HOUR);
            assert!(
                at(minutes(10)) < 0.35,
                "seed {seed} {evicts}: {}",
                at(minutes(10))
            );
            assert!(at(minutes(40)) <= at(minutes(10)));
            assert!(at(Duration::from_secs(30)) > 0.7, "seed {seed} {evicts}");
            let drift = belief.drift(HOUR).expect("an alarm");
            assert!(drift.believed <= minutes(6), "{drift:?}");
        }
    }

    #[test]
    fn what_holds_again_is_believed_again() {
        let (mut belief, mut rng) = (Belief::new(), Rng::seeded(1));
        live(&mut belief, &mut rng, 300, 0, minutes(5));
        live(&mut belief, &mut rng, 60, 0, HOUR);
        assert!(belief.warm(minutes(40), HOUR) > 0.7);
    }

    #[test]
    fn an_older_entry_is_never_believed_warmer() {
        let mut rng = Rng::seeded(9);
        for _ in 0..300 {
            let mut belief = Belief::new();
            for _ in 0..rng.below(200) {
                let age = Duration::from_secs(rng.below(5_000));
                belief.observe(age, HOUR, rng.once_in(2));
                let curve = belief.curve();
                assert!(curve.is_sorted_by(|a, b| *a >= *b - 1e-12), "{curve:?}");
                assert!(curve.iter().all(|p| (0.0..=1.0).contains(p)));
            }
        }
    }

    #[test]
    fn one_miss_costs_little_belief() {
        let mut belief = Belief::new();
        for _ in 0..30 {
            belief.observe(minutes(1), HOUR, true);
        }
        belief.observe(minutes(1), HOUR, false);
        assert!(belief.warm(minutes(1), HOUR) > 0.9);
    }
}
