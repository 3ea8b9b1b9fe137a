//! What a holder issues to itself while nobody above answers (ROUTING 5.4).
//!
//! Nine tenths of its share of the rate, by the last it was told, and at once never more than half of its share of the burst; nothing is
//! there at the beginning. So all who go on alone together stay under the limit, and each tells what it spent as a debt when it is heard
//! again. Who was never told a share has a small part of the tenth that is left.

use crate::base::Instant;
use crate::policy::lease::{DIMENSIONS, Limits, Sums};
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Issue {
    /// In millionths; `None`: never told.
    share: Option<u64>,
    instances_max: u64,
    /// The first ask that nobody has answered.
    began: Option<Instant>,
    heard: Option<Instant>,
    /// It was told to go on alone for a while.
    pub learning: bool,
    /// All issued that is not accounted for above.
    issued: Sums,
    /// Parts of a token.
    rest: [f64; DIMENSIONS],
    at: Option<Instant>,
    pub unsaid: bool,
    /// About how long an answer takes.
    round_trip: Duration,
}

impl Issue {
    pub fn new(instances_max: u64) -> Self {
        Self {
            share: None,
            instances_max: instances_max.max(1),
            began: None,
            heard: None,
            learning: false,
            issued: [0; DIMENSIONS],
            rest: [0.0; DIMENSIONS],
            at: None,
            unsaid: false,
            round_trip: Duration::ZERO,
        }
    }

    /// Asks above. Who has rested for longer than a lease was not counted in the others' shares any more.
    pub fn asks(&mut self, lease: Duration, now: Instant) {
        if self.began.is_none() {
            self.began = Some(now);
            if self.heard.is_some_and(|at| now - at > lease) {
                self.share = None;
            }
        }
    }

    /// Whether it goes on alone: it was told to, or nobody has answered for half as long as a lease lasts. What it holds counts until its
    /// lease ends.
    pub fn is_alone(&self, lease: Duration, now: Instant) -> bool {
        self.learning || self.began.is_some_and(|at| now >= at + lease / 2)
    }

    /// An answer took so long.
    pub fn took(&mut self, time: Duration) {
        let time = time.min(Duration::from_secs(1));
        self.round_trip = self.round_trip * 3 / 4 + time / 4;
    }

    pub fn round_trip(&self) -> Duration {
        self.round_trip
    }

    pub fn issued(&self) -> Sums {
        self.issued
    }

    /// Comes to `now`.
    pub fn step(&mut self, alone: bool, held: Sums, limits: &Limits, now: Instant) {
        if !alone {
            self.at = None;
            return;
        }
        let from = *self.at.get_or_insert(now);
        self.at = Some(now);
        let seconds = (now - from).as_secs_f64();
        for (d, limit) in limits.iter().enumerate() {
            let Some((rate, burst)) = limit else { continue };
            // `Rate` is thousandths a minute.
            let flow = rate.0 as f64 / 60_000.0 * self.part() * seconds + self.rest[d];
            let most = (*burst as f64 * self.share_of_burst() / 2.0).floor() as i64;
            let more = (flow.floor() as i64).min((most.max(1) - held[d] - self.issued[d]).max(0));
            self.rest[d] = (flow - flow.floor()).clamp(0.0, 1.0);
            self.issued[d] += more;
            self.unsaid |= more > 0;
        }
    }

    /// What was said is accounted for: `held` counts on, and what was usable (`was`, if it was alone) stays so while it is still alone.
    pub fn hear(
        &mut self,
        (share, learning): (u64, bool),
        was: Option<Sums>,
        held: Sums,
        now: Instant,
    ) {
        self.share = Some(share);
        (self.began, self.heard) = (None, Some(now));
        self.learning = learning;
        if let Some(before) = was.filter(|_| learning) {
            self.issued = std::array::from_fn(|d| (before[d] - held[d]).max(0));
            return;
        }
        self.issued = [0; DIMENSIONS];
        self.rest = [0.0; DIMENSIONS];
        self.at = None;
        self.unsaid = false;
    }

    /// Of the rate.
    fn part(&self) -> f64 {
        match self.share {
            Some(share) => share as f64 / 1e6 * SAFE,
            None => (1.0 - SAFE) / self.instances_max as f64,
        }
    }

    /// Of the burst.
    pub fn share_of_burst(&self) -> f64 {
        match self.share {
            Some(share) => share as f64 / 1e6,
            None => 1.0 / self.instances_max as f64,
        }
    }
}

/// Of what it had: what it does not know of is in the rest.
const SAFE: f64 = 0.9;
