//! When a credential is fetched again: values in, a time out.

use crate::base::{Instant, Rng};
use std::time::Duration;

/// One source's times.
#[derive(Clone, Debug)]
pub struct Plan {
    next: Instant,
    expires: Instant,
    failures: u32,
    begun: Option<Instant>,
    /// A refusal brought `next` forward.
    hastened: bool,
    /// A refusal brought the last fetch forward.
    was_hastened: bool,
}

/// Google's and AWS's clients begin some minutes before the end; so much is left for retries.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// A little before, by chance, so that instances do not come together.
const CHANCE: Duration = Duration::from_secs(60);
/// What has no end is looked at again this often: files are replaced.
const LOOK_AGAIN: Duration = Duration::from_secs(3_600);
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Between two fetches for refusals, however often shards ask: what is refused again right after it was fetched is no better the next time.
const APART: Duration = Duration::from_secs(10);

impl Plan {
    pub fn new(now: Instant) -> Self {
        Self {
            next: now,
            expires: Instant::NEVER,
            failures: 0,
            begun: None,
            hastened: false,
            was_hastened: false,
        }
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    pub fn begun(&mut self, now: Instant) {
        self.begun = Some(now);
        self.was_hastened = std::mem::take(&mut self.hastened);
    }

    /// It is good for `lifetime`: the next one is fetched 5 to 6 minutes before its end, or half-way where that is later.
    pub fn succeeded(&mut self, now: Instant, lifetime: Option<Duration>, rng: &mut Rng) {
        self.failures = 0;
        self.hastened = false;
        self.expires = lifetime.map_or(Instant::NEVER, |lifetime| now + lifetime);
        let chance = CHANCE.mul_f64(rng.unit());
        let wait = match lifetime {
            Some(lifetime) => lifetime.saturating_sub(AHEAD + chance).max(lifetime / 2),
            None => LOOK_AGAIN - chance,
        };
        // What is handed out with no time left must not be fetched in a circle.
        self.next = now + wait.max(BACKOFF);
    }

    /// Pauses double from a second to a minute, each between half and all of it.
    pub fn failed(&mut self, now: Instant, rng: &mut Rng) {
        let pause = BACKOFF
            .saturating_mul(1 << self.failures.min(6))
            .min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.hastened = false;
        self.next = now + pause.mul_f64(0.5 + rng.unit() / 2.0);
    }

    /// A provider refused what we have. The first time it is fetched anew at once, since a request waits for it; from then on `APART`.
    pub fn asked(&mut self, now: Instant) {
        let apart = if self.was_hastened { APART } else { BACKOFF };
        let soonest = self.begun.map_or(now, |begun| begun + apart).max(now);
        if soonest < self.next {
            self.next = soonest;
            self.hastened = true;
        }
    }

    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    pub fn has_expired(&self, now: Instant) -> bool {
        self.expires <= now
    }

    /// What had expired is held no more: its end is nothing to wake for.
    pub fn withdrawn(&mut self) {
        self.expires = Instant::NEVER;
    }

    /// When to look at it again, unless something happens.
    pub fn wakes_at(&self, running: bool) -> Instant {
        if running {
            self.expires
        } else {
            self.next.min(self.expires)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant(1_000_000_000_000);

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_credential_is_fetched_again_well_before_its_end() {
        let mut rng = Rng::seeded(1);
        for lifetime in [3_600, 1_000, 700, 599, 60, 2] {
            for _ in 0..50 {
                let mut plan = Plan::new(START);
                plan.succeeded(START, Some(secs(lifetime)), &mut rng);
                let wait = plan.next.since(START);
                let latest = if lifetime > 600 {
                    lifetime - 300
                } else {
                    lifetime / 2 + 1
                };
                assert!(
                    wait <= secs(latest) && wait >= secs(1),
                    "{lifetime}: {wait:?}"
                );
                assert!(
                    lifetime <= 720 || wait >= secs(lifetime - 360),
                    "{lifetime}: {wait:?}"
                );
                assert!(plan.has_expired(START + secs(lifetime)));
            }
        }
        let mut plan = Plan::new(START);
        plan.succeeded(START, None, &mut rng);
        assert!(!plan.has_expired(START + secs(1 << 30)) && plan.is_due(START + secs(3_600)));
    }

    #[test]
    fn pauses_after_failures_grow_to_their_bound_and_begin_anew() {
        let (mut plan, mut rng, mut now) = (Plan::new(START), Rng::seeded(2), START);
        for n in 0..20_u32 {
            plan.failed(now, &mut rng);
            let whole = Duration::from_secs(1 << n.min(6)).min(secs(60));
            let wait = plan.next.since(now);
            assert!(wait <= whole && wait >= whole / 2, "{n}: {wait:?}");
            assert!(!plan.has_expired(now));
            now = plan.next;
        }
        plan.succeeded(now, Some(secs(3_600)), &mut rng);
        plan.failed(now, &mut rng);
        assert!(plan.next.since(now) <= secs(1));
    }

    #[test]
    fn nobody_is_woken_for_an_end_that_has_passed() {
        let (mut plan, mut rng) = (Plan::new(START), Rng::seeded(4));
        plan.succeeded(START, Some(secs(60)), &mut rng);
        assert_eq!(plan.wakes_at(true), START + secs(60));
        let late = START + secs(70);
        plan.failed(late, &mut rng);
        plan.withdrawn();
        assert!(plan.wakes_at(false) > late && plan.wakes_at(true) == Instant::NEVER);
        assert!(!plan.has_expired(late));
    }

    #[test]
    fn a_first_refusal_is_answered_at_once_and_the_next_not_too_often() {
        let (mut plan, mut rng) = (Plan::new(START), Rng::seeded(3));
        let mut fetch = |plan: &mut Plan, at: Instant| {
            plan.begun(at);
            plan.succeeded(at, Some(secs(3_600)), &mut rng);
        };
        fetch(&mut plan, START);
        plan.asked(START + secs(3));
        assert_eq!(plan.next, START + secs(3));
        plan.asked(START + secs(4));
        assert_eq!(plan.next, START + secs(3));
        // What came is refused too.
        fetch(&mut plan, START + secs(3));
        plan.asked(START + secs(4));
        assert_eq!(plan.next, START + secs(13));
        fetch(&mut plan, START + secs(13));
        plan.asked(START + secs(14));
        assert_eq!(plan.next, START + secs(23));
        // One that was fetched in its own time has its first refusal before it.
        fetch(&mut plan, START + secs(23));
        fetch(&mut plan, START + secs(3_000));
        plan.asked(START + secs(3_002));
        assert_eq!(plan.next, START + secs(3_002));
    }

    #[test]
    fn a_refusal_of_what_is_just_fetched_waits_a_second() {
        let (mut plan, mut rng) = (Plan::new(START), Rng::seeded(5));
        plan.begun(START);
        plan.succeeded(START, Some(secs(3_600)), &mut rng);
        plan.asked(START);
        assert_eq!(plan.next, START + secs(1));
    }

    #[test]
    fn a_refusal_shortens_no_pause_after_a_failure_that_ends_sooner() {
        let (mut plan, mut rng) = (Plan::new(START), Rng::seeded(6));
        plan.begun(START);
        plan.failed(START, &mut rng);
        let next = plan.next;
        plan.asked(START);
        assert_eq!(plan.next, next);
    }
}
