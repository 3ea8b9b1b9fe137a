//! Counters and histograms of one core. Plain numbers: the owner adds, others read a copy.

use crate::base::{NanoUsd, Tokens};
use crate::canon::{FaultClass, Usage};
use crate::shard::Outcome;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// What one core has counted since it started.
#[derive(Clone, Debug)]
pub struct Meters {
    pub exchanges_begun: u64,
    pub exchanges_done: u64,
    /// By how the client was told.
    pub exchanges_failed: BTreeMap<FaultClass, u64>,
    pub clients_gone: u64,
    pub slow_clients_dropped: u64,
    pub attempts: u64,
    pub attempts_done: u64,
    pub attempts_failed: BTreeMap<FaultClass, u64>,
    pub attempts_cancelled: u64,
    pub retries: u64,
    /// Calls beside others that were late.
    pub hedges: u64,
    /// Requests of ours that keep caches warm.
    pub pings: u64,
    /// Cache marks decided on for clients, and requests that were refused for what was added to them.
    pub cache_marks: u64,
    pub unhelped: u64,
    /// Requests that went on where not all of what providers made for themselves alone is read.
    pub rebound: u64,
    /// Calls within an attempt after its first: how a job stands that it started, and the file of one.
    pub video_questions: u64,
    pub waited: u64,
    /// Of those, for another request to write a prompt that they share.
    pub gated: u64,
    pub unauthenticated: u64,
    pub broken_promises: u64,
    pub tokens_input: Tokens,
    pub tokens_cache_read: Tokens,
    pub tokens_cache_write: Tokens,
    pub tokens_output: Tokens,
    pub cost: NanoUsd,
    /// Of answers whose cache was known: tokens that were expected to be read from it, and those of them that were.
    pub cached_expected: Tokens,
    pub cached_billed: Tokens,
    /// What was paid for tokens that some place was expected to have in its cache, beyond what reading them costs.
    pub cache_regret: NanoUsd,
    /// Caches that turned out not to keep their promised lifetime.
    pub cache_drifts: u64,
    twice: Twice,
    /// Microseconds from the call to the provider's first byte, and to the end.
    pub first_byte_us: Histogram<u64>,
    pub total_us: Histogram<u64>,
}

impl Default for Meters {
    fn default() -> Self {
        // Two significant digits up to an hour: 14 KiB each.
        let histogram =
            || Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("the bounds are in order");
        Self {
            exchanges_begun: 0,
            exchanges_done: 0,
            exchanges_failed: BTreeMap::new(),
            clients_gone: 0,
            slow_clients_dropped: 0,
            attempts: 0,
            attempts_done: 0,
            attempts_failed: BTreeMap::new(),
            attempts_cancelled: 0,
            retries: 0,
            hedges: 0,
            pings: 0,
            cache_marks: 0,
            unhelped: 0,
            rebound: 0,
            video_questions: 0,
            waited: 0,
            gated: 0,
            unauthenticated: 0,
            broken_promises: 0,
            twice: Twice::default(),
            tokens_input: Tokens::ZERO,
            tokens_cache_read: Tokens::ZERO,
            tokens_cache_write: Tokens::ZERO,
            tokens_output: Tokens::ZERO,
            cost: NanoUsd::ZERO,
            cached_expected: Tokens::ZERO,
            cached_billed: Tokens::ZERO,
            cache_regret: NanoUsd::ZERO,
            cache_drifts: 0,
            first_byte_us: histogram(),
            total_us: histogram(),
        }
    }
}

impl Meters {
    /// One attempt has ended.
    pub(super) fn attempt(&mut self, outcome: Outcome, usage: &Usage, cost: NanoUsd) {
        match outcome {
            Outcome::Done => self.attempts_done += 1,
            Outcome::Failed(class) => *self.attempts_failed.entry(class).or_default() += 1,
            Outcome::Cancelled => self.attempts_cancelled += 1,
        }
        self.used(usage, cost);
    }

    /// What was used, and what it cost.
    pub(super) fn used(&mut self, usage: &Usage, cost: NanoUsd) {
        let twice = &mut self.twice;
        self.tokens_input += rest(usage.input_total(), &mut twice.input);
        self.tokens_cache_read += rest(usage.cache_read.unwrap_or_default(), &mut twice.cache_read);
        self.tokens_cache_write += rest(usage.cache_write_total(), &mut twice.cache_write);
        self.tokens_output += rest(usage.output.unwrap_or_default(), &mut twice.output);
        let withheld = cost.0.min(twice.cost).max(0);
        twice.cost -= withheld;
        self.cost += NanoUsd(cost.0 - withheld);
    }

    /// An answer's cache was expected to have `expected` tokens of its prompt, and had `billed`.
    pub(super) fn foreseen(&mut self, expected: Tokens, billed: Tokens, regret: NanoUsd) {
        self.cached_expected += expected;
        self.cached_billed += billed;
        self.cache_regret += regret;
    }

    /// That was counted at another shard as well. A counter never falls, since who reads it would take that for a restart: as much is left out
    /// of what comes.
    pub(super) fn withhold(&mut self, usage: &Usage, cost: NanoUsd) {
        let twice = &mut self.twice;
        twice.input += usage.input_total();
        twice.cache_read += usage.cache_read.unwrap_or_default();
        twice.cache_write += usage.cache_write_total();
        twice.output += usage.output.unwrap_or_default();
        twice.cost += cost.0;
    }

    pub(super) fn times(&mut self, first_byte: Option<Duration>, total: Duration) {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(first_byte) = first_byte {
            self.first_byte_us.saturating_record(us(first_byte));
        }
        self.total_us.saturating_record(us(total));
    }

    pub(super) fn failed(&mut self, class: FaultClass) {
        *self.exchanges_failed.entry(class).or_default() += 1;
    }
}

/// What was counted here and at another shard, and is still to be left out here.
#[derive(Clone, Debug, Default, PartialEq)]
struct Twice {
    input: Tokens,
    cache_read: Tokens,
    cache_write: Tokens,
    output: Tokens,
    /// In nano-dollars.
    cost: i64,
}

/// What is counted of `all` when as much as can be of `twice` is left out.
fn rest(all: Tokens, twice: &mut Tokens) -> Tokens {
    let withheld = all.0.min(twice.0);
    twice.0 -= withheld;
    Tokens(all.0 - withheld)
}
