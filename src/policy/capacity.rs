//! Capacity pools: what an exchange holds of a provider's limit from the moment it is sent until it settles.
//!
//! A limit "per minute" is a bucket that refills all the time and holds one minute's worth (providers/anthropic.md 9). A reservation is
//! taken before a call is made, from an estimate, and settled once with what was really used; a bucket may go below zero by what an
//! estimate was too low, and is then waited out. Limits are split evenly over the shards.

use crate::base::{Instant, Tokens};
use std::time::Duration;

/// What a call is expected to draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Input that is not read from a cache.
    pub input: Tokens,
    /// Output to be expected at most.
    pub output: Tokens,
}

/// What it drew in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Input without cache reads.
    pub input: Tokens,
    pub cache_read: Tokens,
    pub output: Tokens,
}

/// Whether there is headroom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    Now,
    /// If nobody else takes it before.
    In(Duration),
    /// When a running exchange has settled.
    WhenFreed,
    /// This shard has no share of the limit.
    Never,
}

/// The buckets of one limit over a class of models. `None` is unlimited or unknown.
#[derive(Clone, Debug)]
pub struct Limit {
    requests: Option<Bucket>,
    /// Input and output together.
    tokens: Option<Bucket>,
    input: Option<Bucket>,
    output: Option<Bucket>,
    concurrent: Option<u64>,
    in_flight: u64,
    /// The provider said so (429): nothing is sent before.
    closed_until: Instant,
}

/// A limit's numbers, as configured, for the whole instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub requests: Option<u64>,
    pub tokens: Option<u64>,
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub concurrent: Option<u64>,
}

/// A hold on a limit; to be given back to `settle`, exactly once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a reservation that is not settled is headroom lost for ever"]
pub struct Reservation {
    ask: Ask,
}

impl Limit {
    /// The part of `shard` (from 0) of `shards` in a limit; what does not divide goes to the first shards.
    #[must_use]
    pub fn share(of: Numbers, shard: u16, shards: u16) -> Self {
        let part =
            |n: u64| n / u64::from(shards) + u64::from(u64::from(shard) < n % u64::from(shards));
        let bucket = |n: Option<u64>| n.map(part).map(Bucket::full);
        Self {
            requests: bucket(of.requests),
            tokens: bucket(of.tokens),
            input: bucket(of.input),
            output: bucket(of.output),
            concurrent: of.concurrent.map(part),
            in_flight: 0,
            closed_until: Instant::default(),
        }
    }

    /// Whether `ask` could be reserved at `now`.
    #[must_use]
    pub fn room(&self, ask: Ask, now: Instant) -> Room {
        let mut room = match self.concurrent {
            Some(0) => return Room::Never,
            Some(most) if self.in_flight >= most => Room::WhenFreed,
            _ if now < self.closed_until => Room::In(self.closed_until - now),
            _ => Room::Now,
        };
        let wants = [
            (&self.requests, Tokens(1)),
            (&self.tokens, ask.input + ask.output),
            (&self.input, ask.input),
            // Output is counted as it is produced (providers/anthropic.md 9): it is enough that some is left.
            (&self.output, Tokens(1)),
        ];
        for (bucket, want) in wants {
            if let Some(bucket) = bucket {
                room = room.max(bucket.room(want.0, now));
            }
        }
        room
    }

    /// Takes hold of `ask`. To be called after `room` said `Now`.
    pub fn reserve(&mut self, ask: Ask, now: Instant) -> Reservation {
        self.in_flight += 1;
        take(&mut self.requests, 1, now);
        take(&mut self.tokens, (ask.input + ask.output).0, now);
        take(&mut self.input, ask.input.0, now);
        Reservation { ask }
    }

    /// Gives the hold back for what was used; `None` for a call that never reached the provider.
    pub fn settle(&mut self, held: Reservation, used: Option<Used>, now: Instant) {
        let Reservation { ask } = held;
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(used) = used else {
            give(&mut self.requests, 1, now);
            give(&mut self.tokens, (ask.input + ask.output).0, now);
            give(&mut self.input, ask.input.0, now);
            return;
        };
        correct(
            &mut self.tokens,
            ask.input + ask.output,
            used.input + used.cache_read + used.output,
            now,
        );
        correct(&mut self.input, ask.input, used.input, now);
        take(&mut self.output, used.output.0, now);
    }

    /// The provider refused for its limit: nothing is sent before `until`; a longer wait is never shortened.
    pub fn close_until(&mut self, until: Instant) {
        self.closed_until = self.closed_until.max(until);
    }

    /// The provider says that it has no more than this left; what it thinks we have beyond ours is not taken.
    pub fn correct_requests(&mut self, remaining: u64, now: Instant) {
        lower(&mut self.requests, remaining, now);
    }

    pub fn correct_tokens(&mut self, remaining: u64, now: Instant) {
        lower(&mut self.tokens, remaining, now);
    }

    pub fn correct_input(&mut self, remaining: u64, now: Instant) {
        lower(&mut self.input, remaining, now);
    }

    pub fn correct_output(&mut self, remaining: u64, now: Instant) {
        lower(&mut self.output, remaining, now);
    }

    /// Exchanges that hold a reservation.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }
}

fn take(bucket: &mut Option<Bucket>, tokens: u64, now: Instant) {
    if let Some(bucket) = bucket {
        bucket.add(-i128::from(tokens), now);
    }
}

fn give(bucket: &mut Option<Bucket>, tokens: u64, now: Instant) {
    if let Some(bucket) = bucket {
        bucket.add(i128::from(tokens), now);
    }
}

fn correct(bucket: &mut Option<Bucket>, held: Tokens, used: Tokens, now: Instant) {
    if let Some(bucket) = bucket {
        bucket.add(i128::from(held.0) - i128::from(used.0), now);
    }
}

fn lower(bucket: &mut Option<Bucket>, remaining: u64, now: Instant) {
    if let Some(bucket) = bucket {
        bucket.refill(now);
        bucket.level = bucket.level.min(i128::from(remaining) * UNIT);
    }
}

/// A continuous token bucket that holds one minute's worth. Exact: its level is counted in sixty-billionths of a token, of which
/// each nanosecond brings `per_minute`.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_minute: u64,
    level: i128,
    at: Instant,
}

/// One token.
const UNIT: i128 = 60_000_000_000;

impl Bucket {
    #[must_use]
    pub fn full(per_minute: u64) -> Self {
        Self {
            per_minute,
            level: i128::from(per_minute) * UNIT,
            at: Instant::default(),
        }
    }

    /// When `want` can be taken. More than the bucket can ever hold is let through when it is full: the provider decides.
    #[must_use]
    pub fn room(&self, want: u64, now: Instant) -> Room {
        if self.per_minute == 0 {
            return Room::Never;
        }
        let need = i128::from(want.min(self.per_minute)) * UNIT - self.level_at(now);
        if need <= 0 {
            return Room::Now;
        }
        let nanos = (need + i128::from(self.per_minute) - 1) / i128::from(self.per_minute);
        Room::In(Duration::from_nanos(
            u64::try_from(nanos).unwrap_or(u64::MAX),
        ))
    }

    /// Adds or, below zero, takes tokens.
    pub fn add(&mut self, tokens: i128, now: Instant) {
        self.refill(now);
        self.level = (self.level + tokens * UNIT).min(i128::from(self.per_minute) * UNIT);
    }

    fn refill(&mut self, now: Instant) {
        self.level = self.level_at(now);
        self.at = self.at.max(now);
    }

    fn level_at(&self, now: Instant) -> i128 {
        let gained = i128::from(self.per_minute) * i128::from(now.0.saturating_sub(self.at.0));
        (self.level + gained).min(i128::from(self.per_minute) * UNIT)
    }
}

/// Whether `name` is of the class `pattern`, in which `*` stands for any run of characters.
#[must_use]
pub fn of_class(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|head| name.strip_prefix(head)) else {
        return false;
    };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn at(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    #[test]
    fn sixty_a_minute_is_one_a_second_once_the_burst_is_spent() {
        let mut bucket = Bucket::full(60);
        bucket.add(-60, at(0));
        assert_eq!(bucket.room(1, at(0)), Room::In(Duration::from_secs(1)));
        assert_eq!(bucket.room(1, at(999)), Room::In(Duration::from_millis(1)));
        assert_eq!(bucket.room(1, at(1_000)), Room::Now);
        assert_eq!(
            bucket.room(1_000_000, at(60_000)),
            Room::Now,
            "full: the provider decides"
        );
    }

    #[test]
    fn a_reservation_that_never_reached_the_provider_is_given_back_whole() {
        let numbers = Numbers {
            requests: Some(1),
            input: Some(100),
            concurrent: Some(1),
            ..Numbers::default()
        };
        let mut limit = Limit::share(numbers, 0, 1);
        let ask = Ask {
            input: Tokens(100),
            output: Tokens(5),
        };
        assert_eq!(limit.room(ask, at(0)), Room::Now);
        let held = limit.reserve(ask, at(0));
        assert_eq!(limit.room(ask, at(0)), Room::WhenFreed);
        assert!(limit.in_flight() == 1);
        limit.settle(held, None, at(0));
        assert_eq!((limit.room(ask, at(0)), limit.in_flight()), (Room::Now, 0));
    }

    #[test]
    fn cache_reads_do_not_count_as_input() {
        let mut limit = Limit::share(
            Numbers {
                input: Some(1_000),
                ..Numbers::default()
            },
            0,
            1,
        );
        let ask = Ask {
            input: Tokens(1_000),
            output: Tokens(0),
        };
        let held = limit.reserve(ask, at(0));
        limit.settle(
            held,
            Some(Used {
                input: Tokens(10),
                cache_read: Tokens(990),
                output: Tokens(3),
            }),
            at(0),
        );
        assert_eq!(
            limit.room(
                Ask {
                    input: Tokens(990),
                    ..ask
                },
                at(0)
            ),
            Room::Now
        );
    }

    #[test]
    fn a_longer_wait_is_never_shortened() {
        let mut limit = Limit::share(Numbers::default(), 0, 1);
        limit.close_until(at(5_000));
        limit.close_until(at(1_000));
        assert_eq!(
            limit.room(Ask::default(), at(2_000)),
            Room::In(Duration::from_secs(3))
        );
    }

    #[test]
    fn shares_add_up_to_the_limit() {
        for (n, shards) in [(10_u64, 4_u16), (3, 4), (0, 2), (7, 1), (1_000_003, 16)] {
            let sum: u64 = (0..shards)
                .map(|s| {
                    Limit::share(
                        Numbers {
                            concurrent: Some(n),
                            ..Numbers::default()
                        },
                        s,
                        shards,
                    )
                })
                .map(|l| l.concurrent.expect("given"))
                .sum();
            assert_eq!(sum, n, "{n} over {shards}");
        }
    }

    #[test]
    fn what_is_admitted_never_exceeds_a_minute_plus_what_refilled() {
        for seed in 0..50 {
            let mut rng = Rng::seeded(seed);
            let per_minute = 1 + rng.below(1_000);
            let (mut bucket, mut now, mut admitted) = (Bucket::full(per_minute), 0, 0_u64);
            for _ in 0..2_000 {
                now += rng.below(200);
                let want = 1 + rng.below(per_minute.min(20));
                if bucket.room(want, at(now)) == Room::Now {
                    bucket.add(-i128::from(want), at(now));
                    admitted += want;
                }
                let most = per_minute + per_minute * now / 60_000 + 1;
                assert!(admitted <= most, "seed {seed}: {admitted} of {most}");
            }
        }
    }

    #[test]
    fn classes_match_by_stars() {
        for (pattern, name, is) in [
            ("claude-sonnet-*", "claude-sonnet-4-5", true),
            ("claude-sonnet-*", "claude-opus-4-5", false),
            ("*", "", true),
            ("gpt-5", "gpt-5", true),
            ("gpt-5", "gpt-5.1", false),
            ("*-mini*", "gpt-5-mini-2", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*b", "ab", false),
        ] {
            assert_eq!(of_class(pattern, name), is, "{pattern} {name}");
        }
    }
}
