//! Breakers: what failed again and again is left alone for a while, then tried by one call.

use crate::base::Instant;
use std::time::Duration;

/// The breaker of one endpoint in one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    OpenUntil(Instant),
    /// One call is out to see, and none other goes before this time.
    Probing(Instant),
}

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    pub failures: u32,
    pub open: Duration,
}

impl Breaker {
    /// Whether a call may be made at `now`.
    #[must_use]
    pub fn lets_pass(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::OpenUntil(until) | State::Probing(until) => now >= until,
        }
    }

    /// When the next call may be made, if not now.
    #[must_use]
    pub fn opens_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::OpenUntil(until) | State::Probing(until) => Some(until),
        }
    }

    /// A call is made: after an open time it is the probe.
    pub fn called(&mut self, now: Instant, patience: Patience) {
        if let State::OpenUntil(_) | State::Probing(_) = self.state {
            self.state = State::Probing(now + patience.open);
        }
    }

    /// The endpoint answered; a refusal of the request is an answer too.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The endpoint did not answer, or broke off.
    pub fn failed(&mut self, now: Instant, patience: Patience) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= patience.failures || self.state != State::Closed {
            self.state = State::OpenUntil(now + patience.open);
        }
    }

    /// The probe was called back before it could tell: the next call probes.
    pub fn released(&mut self, now: Instant) {
        if let State::Probing(_) = self.state {
            self.state = State::OpenUntil(now);
        }
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }
}

/// How often calls to one place have failed of late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steadiness {
    /// Share of calls that fail.
    fails: f64,
    at: Instant,
}

impl Default for Steadiness {
    fn default() -> Self {
        Self {
            fails: USUAL,
            at: Instant::default(),
        }
    }
}

/// One call in two hundred fails at a place of which nothing else is known.
const USUAL: f64 = 0.005;
/// What one call says, against all before it.
const WEIGHT: f64 = 0.05;
/// What was seen counts half after so long.
const HALF_LIFE: f64 = 120.0;

impl Steadiness {
    /// A call ended: whether the place failed it.
    pub fn saw(&mut self, failed: bool, now: Instant) {
        let known = self.fails(now);
        self.fails = known + WEIGHT * (f64::from(u8::from(failed)) - known);
        self.at = now;
    }

    /// How likely the next call fails there, from 0 to 1. What is long ago counts less and less.
    #[must_use]
    pub fn fails(&self, now: Instant) -> f64 {
        let age = (now - self.at).as_secs_f64();
        let kept = 0.5_f64.powf(age / HALF_LIFE);
        USUAL + (self.fails - USUAL) * kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        failures: 2,
        open: Duration::from_secs(10),
    };

    fn at(s: u64) -> Instant {
        Instant(s * 1_000_000_000)
    }

    #[test]
    fn it_opens_after_so_many_failures_and_one_call_probes() {
        let mut breaker = Breaker::default();
        breaker.failed(at(0), PATIENCE);
        assert!(breaker.lets_pass(at(0)));
        breaker.failed(at(1), PATIENCE);
        assert!(!breaker.lets_pass(at(10)));
        assert!(breaker.lets_pass(at(11)));
        breaker.called(at(11), PATIENCE);
        assert!(!breaker.lets_pass(at(12)), "one probe at a time");
        breaker.failed(at(13), PATIENCE);
        assert!(!breaker.lets_pass(at(22)) && breaker.lets_pass(at(23)));
        breaker.called(at(23), PATIENCE);
        breaker.succeeded();
        assert!(breaker.lets_pass(at(23)) && breaker.is_closed());
    }

    #[test]
    fn a_success_forgets_failures() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.failed(at(0), PATIENCE);
            breaker.succeeded();
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn failures_of_late_make_the_next_likely_and_are_forgotten() {
        let mut steady = Steadiness::default();
        assert!(steady.fails(at(0)) < 0.01);
        for n in 0..40 {
            steady.saw(n % 2 == 0, at(n));
        }
        let likely = steady.fails(at(40));
        assert!((0.3..0.6).contains(&likely), "{likely}");
        assert!(steady.fails(at(3_600)) < 0.01, "an hour later");
    }
}
