//! One thing that a limit counts by the minute: its bucket, and what is known of its rate.

use crate::base::Instant;
use crate::policy::capacity::bucket::{Bucket, Rate};
use crate::policy::capacity::learn::{self, Recent};

/// One thing that is counted by the minute.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    pub bucket: Option<Bucket>,
    pub configured: Option<Rate>,
    pub told: Option<Rate>,
    /// The rate that is aimed at: what is known, or learned, before a slow start.
    pub aim: Rate,
    pub recent: Recent,
}

impl Gauge {
    /// Draws, and says what has been drawn in all.
    /// `to_empty`: what is larger than the bucket leaves no debt.
    pub fn draw(&mut self, tokens: u64, to_empty: bool, now: Instant) -> u64 {
        let Some(bucket) = &mut self.bucket else {
            return 0;
        };
        match to_empty {
            true => bucket.draw_to_empty(tokens, now),
            false => bucket.draw(tokens, now),
        }
        bucket.drawn()
    }

    pub fn give(&mut self, tokens: i128, now: Instant) {
        if let Some(bucket) = self.bucket.as_mut().filter(|_| tokens != 0) {
            bucket.add(tokens, now);
        }
    }

    /// Begins a new slot if it is time; true if the rate has changed by it.
    pub fn turn(&mut self, now: Instant) -> bool {
        let Some(ended) = self.recent.turn(now) else {
            return false;
        };
        if self.bucket.is_none() {
            return false;
        }
        let grown = learn::grown(self.aim, ended, self.most());
        std::mem::replace(&mut self.aim, grown) != grown
    }

    /// The most that is known to be allowed.
    pub fn most(&self) -> Option<Rate> {
        match (self.configured, self.told) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}
