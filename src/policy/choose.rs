//! Candidates → a decision with its reason.
//!
//! Going somewhere now and waiting for somewhere better are candidates of the same sum: a wait costs what its time is worth. The strategies
//! beside `least_cost` are there to be compared with; they choose among the same candidates and wait only where nobody has room.

use crate::base::{EndpointId, Instant, KeyId, NanoUsd, PoolId, Tokens};
use crate::policy::candidate::Candidate;
use crate::policy::capacity::{Ask, Room};
use crate::policy::cost::{Terms, worth};
use std::cmp::Reverse;
use std::time::Duration;

/// Who is chosen of those that could serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The least sum.
    #[default]
    LeastCost,
    /// A conversation stays where a hash of its beginning puts it, while there is room.
    SessionAffinity,
    /// Each in turn.
    RoundRobin,
    /// The fewest requests under way.
    LeastUsed,
    /// What a warm cache saves decides: above one threshold the conversation is bound to it, below the other it does not count.
    Thresholds,
}

/// How candidates are weighed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighing {
    pub strategy: Strategy,
    /// What a second of waiting is worth.
    pub second: NanoUsd,
    /// Sums that differ by no more than this share of the least are alike.
    pub alike: f64,
    pub strong: NanoUsd,
    pub weak: NanoUsd,
    /// Nobody is waited for longer than this while another has room.
    pub patience: Duration,
}

/// Where a request goes, what that is expected to cost, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub endpoint: EndpointId,
    pub pool: PoolId,
    pub key: Option<KeyId>,
    pub terms: Terms,
    /// What it holds of the limits there.
    pub ask: Ask,
    /// What is expected to be read from the cache there, and the most at any candidate.
    pub cached: Tokens,
    pub best: Tokens,
    pub reason: &'static str,
}

/// What `choose` concludes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    Go(Decision),
    /// Nobody has room now, or who has costs more than waiting for `at`: somebody may after `time`, if one is known, or sooner when an exchange
    /// settles, where `freed` says that this helps.
    Wait {
        /// The one place that is waited for though others have room.
        at: Option<(EndpointId, PoolId)>,
        time: Option<Duration>,
        freed: bool,
    },
    /// Waiting does not help: no candidate, or none with a share of its limit.
    Nobody,
}

/// The eligible candidate that comes first by (already tried, the client's order, what the strategy says, exchanges in flight, its own place, ids): places that
/// failed this exchange come last, then the client's own order counts, then the strategy, then load; then where a hash of its beginning puts the
/// conversation, so that those of a quiet hour do not all lie at one account; ids break what ties are left, so that the same state gives the same
/// decision.
///
/// A breaker decides between places, not whether there is one: when all that could serve are shut, the request goes where it would have gone
/// without breakers. Who has one endpoint gets its failures at once instead of a wait for its breaker.
#[must_use]
pub fn choose(candidates: &[Candidate], weighing: &Weighing, now: Instant) -> Choice {
    let is_shut = |c: &Candidate| c.shut_until.is_some_and(|until| until > now);
    let all_shut = candidates.iter().all(is_shut);
    let open = |c: &&Candidate| c.room == Room::Now && (all_shut || !is_shut(c));
    let ranks = Ranks::of(candidates, weighing);
    let order = |c: &&Candidate| {
        let rank = ranks.rank(c);
        (
            c.tried,
            c.preference,
            rank,
            c.in_flight,
            Reverse(c.affinity),
            c.endpoint,
            c.pool,
            c.key,
        )
    };
    let Some(best) = candidates.iter().filter(open).min_by_key(order) else {
        return wait(candidates, now);
    };
    let is_open = |c: &&Candidate| all_shut || !is_shut(c);
    match ranks.worth_waiting(candidates.iter().filter(is_open), best) {
        Some(awaited) => Choice::Wait {
            at: Some((awaited.endpoint, awaited.pool)),
            time: match awaited.room {
                Room::In(wait) => Some(wait),
                Room::Now | Room::WhenFreed | Room::Never => None,
            },
            freed: awaited.room == Room::WhenFreed,
        },
        None => Choice::Go(Decision {
            endpoint: best.endpoint,
            pool: best.pool,
            key: best.key,
            terms: best.terms,
            ask: best.ask,
            cached: best.cached,
            best: candidates
                .iter()
                .map(|c| c.cached)
                .max()
                .unwrap_or_default(),
            reason: ranks.reason(best, candidates),
        }),
    }
}

/// How one choice ranks.
struct Ranks<'a> {
    weighing: &'a Weighing,
    /// Sums up to this are as good as the least of those that have room.
    alike: i64,
}

impl<'a> Ranks<'a> {
    fn of(candidates: &[Candidate], weighing: &'a Weighing) -> Self {
        let ready = candidates
            .iter()
            .filter(|c| c.room == Room::Now && !c.tried);
        let least = ready.map(|c| c.terms.total().0).min().unwrap_or(0);
        let margin = (least.max(0) as f64 * weighing.alike.max(0.0)) as i64;
        Self {
            weighing,
            alike: least.saturating_add(margin),
        }
    }

    fn rank(&self, c: &Candidate) -> (i64, u64) {
        let sum = self.graded(c.terms.total().0);
        match self.weighing.strategy {
            Strategy::LeastCost => (sum, 0),
            Strategy::SessionAffinity => (0, u64::MAX - c.affinity),
            Strategy::RoundRobin => (0, c.turn),
            Strategy::LeastUsed => (0, 0),
            Strategy::Thresholds if c.saves > self.weighing.strong => (i64::MIN, 0),
            Strategy::Thresholds if c.saves < self.weighing.weak => (0, 0),
            Strategy::Thresholds => (-c.saves.0, 0),
        }
    }

    /// All that is as good as the least is the same.
    fn graded(&self, sum: i64) -> i64 {
        if sum <= self.alike { i64::MIN } else { sum }
    }

    /// The place for whose room the request should wait though `best` has room.
    fn worth_waiting<'c>(
        &self,
        candidates: impl Iterator<Item = &'c Candidate>,
        best: &Candidate,
    ) -> Option<&'c Candidate> {
        let waited = |c: &'c Candidate| {
            let wait = c.wait().filter(|wait| *wait <= self.weighing.patience)?;
            let sum = c.terms.total() + worth(wait, self.weighing.second);
            (c.room != Room::Now && self.is_worth(c, sum, best)).then_some((sum, c))
        };
        let like = candidates.filter(|c| c.tried == best.tried && c.preference == best.preference);
        let least = like
            .filter_map(waited)
            .min_by_key(|(sum, c)| (*sum, c.endpoint, c.pool));
        least.map(|(_, c)| c)
    }

    fn is_worth(&self, c: &Candidate, sum: NanoUsd, best: &Candidate) -> bool {
        match self.weighing.strategy {
            // Beyond what counts as alike: nobody waits for a hair's breadth.
            Strategy::LeastCost => {
                let here = best.terms.total().0;
                let margin = (here.max(0) as f64 * self.weighing.alike.max(0.0)) as i64;
                sum.0 < here.saturating_sub(margin)
            }
            // Bound is bound.
            Strategy::Thresholds => {
                c.saves > self.weighing.strong && best.saves <= self.weighing.strong
            }
            Strategy::SessionAffinity | Strategy::RoundRobin | Strategy::LeastUsed => false,
        }
    }

    fn reason(&self, best: &Candidate, all: &[Candidate]) -> &'static str {
        let others = || {
            all.iter()
                .filter(|c| c.endpoint != best.endpoint || c.pool != best.pool)
        };
        if best.shut_until.is_some() {
            return "all-shut";
        }
        if best.tried {
            return "again";
        }
        if others().next().is_none() {
            return "only";
        }
        if others().any(|c| c.tried) {
            return "elsewhere";
        }
        if others().any(|c| c.preference > best.preference) {
            return "preferred";
        }
        match self.weighing.strategy {
            Strategy::SessionAffinity => "session",
            Strategy::RoundRobin => "in-turn",
            Strategy::LeastUsed => "least-used",
            Strategy::Thresholds if best.saves > self.weighing.strong => "bound",
            Strategy::Thresholds if best.saves < self.weighing.weak => "least-used",
            Strategy::Thresholds => "warmest",
            Strategy::LeastCost
                if best.saves > NanoUsd::ZERO && others().any(|c| c.saves < best.saves) =>
            {
                "warm"
            }
            Strategy::LeastCost if others().any(|c| c.terms.total().0 > self.alike) => "cheapest",
            Strategy::LeastCost => "least-used",
        }
    }
}

fn wait(candidates: &[Candidate], now: Instant) -> Choice {
    let mut soonest: Option<Duration> = None;
    let mut when_freed = false;
    for candidate in candidates {
        let shut = candidate
            .shut_until
            .map_or(Duration::ZERO, |until| until - now);
        match candidate.room {
            Room::Never => {}
            Room::WhenFreed => when_freed = true,
            Room::Now => soonest = Some(soonest.map_or(shut, |s| s.min(shut))),
            Room::In(wait) => {
                let wait = wait.max(shut);
                soonest = Some(soonest.map_or(wait, |s| s.min(wait)));
            }
        }
    }
    match (soonest, when_freed) {
        (None, false) => Choice::Nobody,
        (time, freed) => Choice::Wait {
            at: None,
            time,
            freed,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(endpoint: u16, cost: i64, in_flight: u64) -> Candidate {
        Candidate {
            endpoint: EndpointId(endpoint),
            pool: PoolId(endpoint),
            key: None,
            terms: Terms {
                input: NanoUsd(cost),
                ..Terms::default()
            },
            ask: Ask::default(),
            cached: Tokens::ZERO,
            saves: NanoUsd::ZERO,
            in_flight,
            room: Room::Now,
            gate: None,
            frees_in: Duration::from_secs(1),
            shut_until: None,
            preference: 0,
            tried: false,
            affinity: 0,
            turn: u64::from(endpoint),
        }
    }

    const PLAIN: Weighing = Weighing {
        strategy: Strategy::LeastCost,
        second: NanoUsd(100),
        alike: 0.01,
        strong: NanoUsd(250),
        weak: NanoUsd(50),
        patience: Duration::from_secs(60),
    };

    fn chosen_by(candidates: &[Candidate], weighing: &Weighing) -> (u16, &'static str) {
        match choose(candidates, weighing, Instant(0)) {
            Choice::Go(d) => (d.endpoint.0, d.reason),
            other => panic!("{other:?}"),
        }
    }

    fn chosen(candidates: &[Candidate]) -> (u16, &'static str) {
        chosen_by(candidates, &PLAIN)
    }

    #[test]
    fn the_cheapest_wins_then_the_least_used_then_the_first() {
        assert_eq!(
            chosen(&[candidate(0, 5, 0), candidate(1, 3, 9)]),
            (1, "cheapest")
        );
        assert_eq!(
            chosen(&[candidate(0, 3, 9), candidate(1, 3, 0)]),
            (1, "least-used")
        );
        assert_eq!(
            chosen(&[candidate(1, 3, 0), candidate(0, 3, 0)]),
            (0, "least-used")
        );
        assert_eq!(chosen(&[candidate(4, 3, 0)]), (4, "only"));
        // A hair's breadth is no reason to crowd.
        let near = [candidate(0, 1_000, 9), candidate(1, 1_009, 0)];
        assert_eq!(chosen(&near), (1, "least-used"));
    }

    #[test]
    fn a_place_that_failed_comes_last_and_the_clients_order_first() {
        let failed = Candidate {
            tried: true,
            ..candidate(0, 1, 0)
        };
        assert_eq!(
            chosen(&[failed.clone(), candidate(1, 9, 0)]),
            (1, "elsewhere")
        );
        assert_eq!(chosen(&[failed]), (0, "again"));
        let liked = candidate(0, 9, 0);
        let other = Candidate {
            preference: 1,
            ..candidate(1, 1, 0)
        };
        assert_eq!(chosen(&[liked, other]), (0, "preferred"));
    }

    fn later(endpoint: u16, cost: i64, ms: u64) -> Candidate {
        Candidate {
            room: Room::In(Duration::from_millis(ms)),
            ..candidate(endpoint, cost, 0)
        }
    }

    #[test]
    fn nobody_with_room_means_the_shortest_wait() {
        let waits = |time, freed| Choice::Wait {
            at: None,
            time,
            freed,
        };
        let choose = |candidates: &[Candidate]| choose(candidates, &PLAIN, Instant(0));
        assert_eq!(
            choose(&[later(0, 1, 50), later(0, 1, 20)]),
            waits(Some(Duration::from_millis(20)), false)
        );
        let shut = Candidate {
            shut_until: Some(Instant(7)),
            ..candidate(0, 1, 0)
        };
        assert_eq!(chosen(std::slice::from_ref(&shut)), (0, "all-shut"));
        assert_eq!(chosen(&[shut, candidate(1, 9, 0)]).0, 1, "another is open");
        let busy = Candidate {
            room: Room::WhenFreed,
            ..candidate(0, 1, 0)
        };
        assert_eq!(
            choose(&[busy.clone(), later(0, 1, 50)]),
            waits(Some(Duration::from_millis(50)), true),
            "whichever comes first"
        );
        assert_eq!(choose(&[busy]), waits(None, true));
        let none = Candidate {
            room: Room::Never,
            ..candidate(0, 1, 0)
        };
        assert_eq!(choose(&[none]), Choice::Nobody);
        assert_eq!(choose(&[]), Choice::Nobody);
    }

    #[test]
    fn waiting_for_a_warm_place_is_weighed_against_going_now() {
        // 500 dearer elsewhere, and a second is worth 100: four seconds are worth waiting, six are not.
        let choose = |wait_ms| {
            let both = [later(0, 100, wait_ms), candidate(1, 600, 0)];
            choose(&both, &PLAIN, Instant(0))
        };
        let at = Some((EndpointId(0), PoolId(0)));
        let wait = |ms| Choice::Wait {
            at,
            time: Some(Duration::from_millis(ms)),
            freed: false,
        };
        assert_eq!(choose(4_000), wait(4_000));
        assert!(matches!(choose(6_000), Choice::Go(d) if d.endpoint.0 == 1));
        // Not beyond what the request may wait, however cheap.
        let patient = Weighing {
            second: NanoUsd::ZERO,
            ..PLAIN
        };
        let both = |ms| [later(0, 100, ms), candidate(1, 600, 0)];
        let choose = |ms| super::choose(&both(ms), &patient, Instant(0));
        assert_eq!(choose(60_000), wait(60_000));
        assert!(matches!(choose(60_001), Choice::Go(_)));
        // Nor for a place that is shut, or that failed it.
        let shut = Candidate {
            shut_until: Some(Instant(7)),
            ..later(0, 100, 10)
        };
        assert_eq!(chosen(&[shut, candidate(1, 600, 0)]).0, 1);
        let failed = Candidate {
            tried: true,
            ..later(0, 100, 10)
        };
        assert_eq!(chosen(&[failed, candidate(1, 600, 0)]).0, 1);
    }

    #[test]
    fn a_place_that_is_freed_soon_is_waited_for_as_long_as_that_is_likely_to_take() {
        let busy = |seconds| Candidate {
            room: Room::WhenFreed,
            frees_in: Duration::from_secs(seconds),
            ..candidate(0, 100, 9)
        };
        let soon = choose(&[busy(2), candidate(1, 600, 0)], &PLAIN, Instant(0));
        let at = Some((EndpointId(0), PoolId(0)));
        assert_eq!(
            soon,
            Choice::Wait {
                at,
                time: None,
                freed: true
            }
        );
        assert_eq!(chosen(&[busy(20), candidate(1, 600, 0)]).0, 1);
    }

    #[test]
    fn the_other_strategies_do_what_their_names_say() {
        let by = |strategy| Weighing { strategy, ..PLAIN };
        let own = Candidate {
            affinity: 9,
            ..candidate(1, 100, 7)
        };
        let both = [candidate(0, 900, 3), own];
        assert_eq!(
            chosen_by(&both, &by(Strategy::LeastUsed)),
            (0, "least-used")
        );
        assert_eq!(chosen_by(&both, &by(Strategy::RoundRobin)), (0, "in-turn"));
        assert_eq!(
            chosen_by(&both, &by(Strategy::SessionAffinity)),
            (1, "session")
        );
        let saving = |endpoint, saves, in_flight| Candidate {
            saves: NanoUsd(saves),
            ..candidate(endpoint, 1, in_flight)
        };
        let thresholds = by(Strategy::Thresholds);
        let chosen = |all: &[Candidate]| chosen_by(all, &thresholds);
        assert_eq!(
            chosen(&[saving(0, 40, 5), saving(1, 0, 1)]),
            (1, "least-used")
        );
        assert_eq!(
            chosen(&[saving(0, 100, 5), saving(1, 60, 1)]),
            (0, "warmest")
        );
        assert_eq!(chosen(&[saving(0, 300, 5), saving(1, 0, 1)]), (0, "bound"));
        let bound = Candidate {
            saves: NanoUsd(300),
            ..later(0, 1, 10)
        };
        let choice = choose(&[bound, saving(1, 0, 0)], &thresholds, Instant(0));
        assert!(matches!(
            choice,
            Choice::Wait {
                at: Some((EndpointId(0), _)),
                ..
            }
        ));
    }
}
