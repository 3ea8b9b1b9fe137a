//! A continuous token bucket, exact.
//!
//! Rate and burst are two numbers: 60 a minute may mean 60 at once and then one a second, or never more than one a second (Anthropic,
//! OpenAI: rate limits, read 2026-08). Nothing is rounded: a level is counted in units of which each nanosecond brings a whole number.

use crate::base::Instant;
use crate::policy::capacity::Room;
use std::time::Duration;

/// So many tokens a minute, in thousandths, so that a share of a share is still exact enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u64);

impl Rate {
    #[must_use]
    pub fn per_minute(tokens: u64) -> Self {
        Self(tokens.saturating_mul(1_000))
    }

    /// This rate times `permille` thousandths.
    #[must_use]
    pub fn permille(self, permille: u64) -> Self {
        Self(scaled(self.0, permille, 1_000))
    }

    /// What flows in `time`, whole tokens, rounded up.
    #[must_use]
    pub fn within(self, time: Duration) -> u64 {
        let units = u128::from(self.0) * time.as_nanos();
        u64::try_from(units.div_ceil(UNIT as u128)).unwrap_or(u64::MAX)
    }
}

/// `n · by / of`, rounded down, without overflow in between.
#[must_use]
pub(super) fn scaled(n: u64, by: u64, of: u64) -> u64 {
    let product = u128::from(n) * u128::from(by) / u128::from(of.max(1));
    u64::try_from(product).unwrap_or(u64::MAX)
}

/// Refills all the time up to `burst`. Draws may take it below zero, by what an estimate was too low or a call larger than the bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Rate,
    burst: u64,
    /// In units.
    level: i128,
    at: Instant,
    /// All that was ever reserved: what two moments differ by was sent between them.
    drawn: u64,
}

/// Units of one token: nanoseconds of a minute times a thousand, so that a nanosecond brings `Rate.0` units.
const UNIT: i128 = 60_000_000_000_000;

impl Bucket {
    /// A full one. With a rate it holds one token at least, or nothing would ever pass; without, nothing does.
    #[must_use]
    pub fn new(rate: Rate, burst: u64) -> Self {
        let burst = burst.max(u64::from(rate.0 > 0));
        Self {
            rate,
            burst,
            level: i128::from(burst) * UNIT,
            at: Instant::default(),
            drawn: 0,
        }
    }

    /// One that holds a minute's worth.
    #[must_use]
    pub fn full(per_minute: u64) -> Self {
        Self::new(Rate::per_minute(per_minute), per_minute)
    }

    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst
    }

    #[must_use]
    pub fn drawn(&self) -> u64 {
        self.drawn
    }

    /// When `want` can be taken. More than the bucket can ever hold is let through when it is full: the provider decides.
    #[must_use]
    pub fn room(&self, want: u64, now: Instant) -> Room {
        let need = i128::from(want.min(self.burst)) * UNIT - self.level_at(now);
        if need <= 0 {
            return if self.rate.0 == 0 && want > self.burst {
                Room::Never
            } else {
                Room::Now
            };
        }
        if self.rate.0 == 0 {
            return Room::Never;
        }
        let rate = i128::from(self.rate.0);
        let nanos = (need + rate - 1) / rate;
        Room::In(Duration::from_nanos(
            u64::try_from(nanos).unwrap_or(u64::MAX),
        ))
    }

    /// Takes what a call reserves.
    pub fn draw(&mut self, tokens: u64, now: Instant) {
        self.drawn = self.drawn.wrapping_add(tokens);
        self.add(-i128::from(tokens), now);
    }

    /// The same where a call that is larger than the bucket empties it and leaves no debt: who let it through had it all to give.
    pub fn draw_to_empty(&mut self, tokens: u64, now: Instant) {
        self.draw(tokens.min(self.burst), now);
    }

    /// Adds or, below zero, takes tokens.
    pub fn add(&mut self, tokens: i128, now: Instant) {
        self.refill(now);
        self.level = (self.level + tokens * UNIT).min(self.full_level());
    }

    /// Whole tokens in it, rounded down.
    #[must_use]
    pub fn level(&self, now: Instant) -> i128 {
        self.level_at(now).div_euclid(UNIT)
    }

    /// How empty it is: 0 when full, a million when nothing is left or less.
    #[must_use]
    pub fn emptiness(&self, now: Instant) -> u64 {
        let full = self.full_level().max(1);
        let gone = (full - self.level_at(now)).clamp(0, full);
        u64::try_from(gone * 1_000_000 / full).unwrap_or(1_000_000)
    }

    /// There is no more than this in it.
    pub fn lower(&mut self, to: i128, now: Instant) {
        self.refill(now);
        self.level = self.level.min(to.saturating_mul(UNIT));
    }

    /// There is this much in it, in thousandths of a token.
    pub fn set_thousandths(&mut self, to: i128, now: Instant) {
        self.refill(now);
        self.level = to.saturating_mul(UNIT / 1_000).min(self.full_level());
    }

    /// Comes an eighth of the way up to `to`: what a provider says is left is rounded and already old.
    pub fn lift(&mut self, to: i128, now: Instant) {
        self.refill(now);
        let to = to.saturating_mul(UNIT).min(self.full_level());
        self.level += (to - self.level).max(0) / 8;
    }

    /// Goes on at another rate from now; what flowed before flowed at the old one.
    pub fn set_rate(&mut self, rate: Rate, now: Instant) {
        self.refill(now);
        self.rate = rate;
    }

    pub fn set_burst(&mut self, burst: u64, now: Instant) {
        self.refill(now);
        self.burst = burst.max(u64::from(self.rate.0 > 0));
        self.level = self.level.min(self.full_level());
    }

    fn full_level(&self) -> i128 {
        i128::from(self.burst) * UNIT
    }

    fn refill(&mut self, now: Instant) {
        self.level = self.level_at(now);
        self.at = self.at.max(now);
    }

    fn level_at(&self, now: Instant) -> i128 {
        let gained = i128::from(self.rate.0) * i128::from(now.0.saturating_sub(self.at.0));
        (self.level + gained).min(self.full_level())
    }
}
