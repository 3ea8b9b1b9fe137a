//! A provider's endpoint as a value: cache, limits, time to the first byte, price and faults, at the level of block ids.
//!
//! It answers at once with when things will have happened; the run makes them happen. What it does not do: bytes, content, quality. The
//! `fake` room is the provider that speaks; this one is for a hundred thousand requests a second.

use super::book::{Book, Prices};
use super::cache::{Ask, Cache, Hit, Life, Lives, MARKS_MAX, Rules, Semantics};
use super::limit::{Allowance, Limits, Need};
use crate::base::{Instant, Rng};
use std::ops::Range;
use std::time::Duration;

/// What an endpoint is made of.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub cache: Rules,
    pub allowance: Allowance,
    pub speed: Speed,
    pub prices: Prices,
    /// With this probability a hit finds that the provider has lost the entry, and reads nothing.
    pub loss: f64,
    /// Answers nothing in these times.
    pub outages: Vec<Range<Instant>>,
    /// Lifetimes change then, without a word.
    pub new_lives: Option<(Instant, Lives)>,
}

#[derive(Clone, Copy, Debug)]
pub struct Speed {
    pub first_byte: Duration,
    pub uncached_tokens_per_second: f64,
    pub output_tokens_per_second: f64,
}

impl Default for Speed {
    /// ROUTING 4.2 for the first byte; 40 tokens a second of output make the 12 s a request that 4.4's two in flight a pool imply.
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(1),
            uncached_tokens_per_second: 20_000.0,
            output_tokens_per_second: 40.0,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Endpoint {
    cache: Cache,
    limits: Limits,
    setup: Setup,
    rng: Rng,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Served(Served),
    /// 429, with what the header says: whole seconds.
    Limited {
        retry_after: Duration,
    },
    Down,
    /// 400, and why.
    Invalid(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Served {
    pub book: Book,
    pub hit_blocks: u32,
    pub first_byte: Instant,
    pub ended: Instant,
    /// Input tokens that the header says are left, in whole thousands; `None` where input is not limited.
    pub remaining: Option<u64>,
    /// When the header says that all of it will be back, in whole seconds, rounded up.
    pub full_at: Option<Instant>,
}

impl Endpoint {
    /// `seed` is for chance losses.
    #[must_use]
    pub fn new(setup: &Setup, seed: u64) -> Self {
        Self {
            cache: Cache::new(setup.cache),
            limits: Limits::new(&setup.allowance),
            setup: setup.clone(),
            rng: Rng::seeded(seed),
        }
    }

    #[must_use]
    pub fn prices(&self) -> &Prices {
        &self.setup.prices
    }

    #[must_use]
    pub fn is_down(&self, now: Instant) -> bool {
        self.setup
            .outages
            .iter()
            .any(|outage| outage.contains(&now))
    }

    /// The true state of the cache: for policies that may know it, and for tests.
    #[must_use]
    pub fn look(&self, now: Instant, ask: &Ask<'_>) -> Hit {
        self.cache.look(now, ask)
    }

    /// The true state of the limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What `ask` would use if it read `hit`.
    #[must_use]
    pub fn use_of(&self, ask: &Ask<'_>, hit: &Hit) -> Book {
        let mut at = ask.tokens(hit.blocks);
        let mut book = Book {
            requests: 1,
            read: u64::from(at),
            output: u64::from(ask.request.output_tokens),
            ..Book::default()
        };
        for mark in self.cache.written(ask, hit) {
            let upto = ask.tokens(mark.blocks);
            let segment = u64::from(upto.saturating_sub(at));
            match mark.life {
                Life::Short => book.written_short += segment,
                Life::Long => book.written_long += segment,
            }
            at = at.max(upto);
        }
        book.fresh = u64::from(ask.request.prompt_tokens.saturating_sub(at));
        book
    }

    /// What `book` takes of the limits.
    #[must_use]
    pub fn need(book: &Book) -> Need {
        let clamp = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
        Need {
            input: clamp(book.input() - book.read),
            cached: clamp(book.read),
            output: clamp(book.output),
        }
    }

    /// From the request to the first byte, if `book` is what it uses.
    #[must_use]
    pub fn time_to_first_byte(&self, book: &Book) -> Duration {
        let uncached = (book.input() - book.read) as f64;
        let speed = &self.setup.speed;
        speed.first_byte + Duration::from_secs_f64(uncached / speed.uncached_tokens_per_second)
    }

    /// Takes one request at `now`.
    pub fn ask(&mut self, now: Instant, ask: &Ask<'_>) -> Answer {
        if let Some((_, lives)) = self.setup.new_lives.take_if(|(at, _)| *at <= now) {
            self.cache.set_lives(lives);
        }
        if self.is_down(now) {
            return Answer::Down;
        }
        if let Some(why) = self.wrong(ask) {
            return Answer::Invalid(why);
        }
        let hit = self.chance(now, ask);
        let book = self.use_of(ask, &hit);
        if let Err(wait) = self.limits.take(now, &Self::need(&book)) {
            let seconds = wait.as_secs_f64().ceil().max(1.0);
            let retry_after = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            return Answer::Limited { retry_after };
        }
        let first_byte = now + self.time_to_first_byte(&book);
        self.cache.keep(now, first_byte, ask, &hit);
        let output = book.output as f64 / self.setup.speed.output_tokens_per_second;
        Answer::Served(Served {
            book,
            hit_blocks: hit.blocks,
            first_byte,
            ended: first_byte + Duration::from_secs_f64(output),
            remaining: self.limits.input_left(now).map(|left| left / 1_000 * 1_000),
            full_at: self.limits.input_full_at(now).map(whole_second),
        })
    }

    /// A request like `ask` without output, to keep its entry alive. Whatever the answer, nothing but the book says so.
    pub fn ping(&mut self, now: Instant, ask: &Ask<'_>) -> Book {
        match self.ask(now, ask) {
            Answer::Served(served) => Book {
                pings: 1,
                ping_read: served.book.read,
                ping_written: 0,
                // A ping that found nothing paid for a new entry.
                written_short: served.book.written_short,
                written_long: served.book.written_long,
                fresh: served.book.fresh,
                ..Book::default()
            },
            Answer::Limited { .. } | Answer::Down | Answer::Invalid(_) => Book::default(),
        }
    }

    /// A ping with the answer appended and a long mark behind it. That the next turn will read the answer instead of writing it is
    /// not credited: the trace does not say which of its blocks are the answer.
    pub fn lengthen(&mut self, now: Instant, ask: &Ask<'_>) -> Book {
        let mut book = self.ping(now, ask);
        if book.pings > 0 {
            book.ping_written = u64::from(ask.request.output_tokens);
            self.cache.lengthen(now, ask);
        }
        book
    }

    fn wrong(&self, ask: &Ask<'_>) -> Option<&'static str> {
        if !matches!(self.setup.cache.semantics, Semantics::Entries { .. }) {
            return None;
        }
        if ask.marks.len() > MARKS_MAX {
            return Some("a maximum of 4 blocks with cache_control may be provided");
        }
        let ordered = ask.marks.windows(2).all(|two| two[0].life >= two[1].life);
        (!ordered).then_some("a ttl='1h' cache_control block must not come after a ttl='5m' one")
    }

    /// The hit, unless the provider has lost it.
    fn chance(&mut self, now: Instant, ask: &Ask<'_>) -> Hit {
        let hit = self.cache.look(now, ask);
        if hit.blocks == 0 || self.setup.loss <= 0.0 || self.rng.unit() >= self.setup.loss {
            return hit;
        }
        self.cache.lose(ask, &hit);
        hit.missed()
    }
}

fn whole_second(at: Instant) -> Instant {
    Instant(at.0.div_ceil(1_000_000_000) * 1_000_000_000)
}

#[cfg(test)]
mod tests;
