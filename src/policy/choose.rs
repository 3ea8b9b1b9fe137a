//! Candidates → a decision with its reason.

use crate::base::{EndpointId, Instant, KeyId, NanoUsd, PoolId};
use crate::policy::candidate::Candidate;
use crate::policy::capacity::Room;
use std::time::Duration;

/// Where a request goes, what that is expected to cost, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub endpoint: EndpointId,
    pub pool: PoolId,
    pub key: Option<KeyId>,
    pub cost: NanoUsd,
    pub reason: &'static str,
}

/// What `choose` concludes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    Go(Decision),
    /// Nobody has room now; somebody may after `time`, if one is known, or sooner when an exchange settles, where `freed` says that this helps.
    Wait {
        time: Option<Duration>,
        freed: bool,
    },
    /// Waiting does not help: no candidate, or none with a share of its limit.
    Nobody,
}

/// The eligible candidate with the least (already tried, preference, cost, exchanges in flight, ids): places that failed this exchange come
/// last, then the client's own order counts, then money, then load; ids break what ties are left, so that the same state gives the same decision.
///
/// A breaker decides between places, not whether there is one: when all that could serve are shut, the request goes where it would have gone
/// without breakers. Who has one endpoint gets its failures at once instead of a wait for its breaker.
#[must_use]
pub fn choose(candidates: &[Candidate], now: Instant) -> Choice {
    let is_shut = |c: &Candidate| c.shut_until.is_some_and(|until| until > now);
    let all_shut = candidates.iter().all(is_shut);
    let open = |c: &&Candidate| c.room == Room::Now && (all_shut || !is_shut(c));
    let order = |c: &&Candidate| {
        (
            c.tried,
            c.preference,
            c.cost,
            c.in_flight,
            c.endpoint,
            c.pool,
            c.key,
        )
    };
    match candidates.iter().filter(open).min_by_key(order) {
        Some(best) => Choice::Go(Decision {
            endpoint: best.endpoint,
            pool: best.pool,
            key: best.key,
            cost: best.cost,
            reason: reason(best, candidates),
        }),
        None => wait(candidates, now),
    }
}

fn reason(best: &Candidate, all: &[Candidate]) -> &'static str {
    let others = || {
        all.iter()
            .filter(|c| c.endpoint != best.endpoint || c.pool != best.pool)
    };
    if best.shut_until.is_some() {
        "all-shut"
    } else if best.tried {
        "again"
    } else if others().next().is_none() {
        "only"
    } else if others().any(|c| c.tried) {
        "elsewhere"
    } else if others().any(|c| c.preference > best.preference) {
        "preferred"
    } else if others().any(|c| c.cost > best.cost) {
        "cheapest"
    } else {
        "least-used"
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
        (time, freed) => Choice::Wait { time, freed },
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
            cost: NanoUsd(cost),
            in_flight,
            room: Room::Now,
            shut_until: None,
            preference: 0,
            tried: false,
        }
    }

    fn chosen(candidates: &[Candidate]) -> (u16, &'static str) {
        match choose(candidates, Instant(0)) {
            Choice::Go(d) => (d.endpoint.0, d.reason),
            other => panic!("{other:?}"),
        }
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

    #[test]
    fn nobody_with_room_means_the_shortest_wait() {
        let waits = |time, freed| Choice::Wait { time, freed };
        let later = |ms| Candidate {
            room: Room::In(Duration::from_millis(ms)),
            ..candidate(0, 1, 0)
        };
        assert_eq!(
            choose(&[later(50), later(20)], Instant(0)),
            waits(Some(Duration::from_millis(20)), false)
        );
        let shut = Candidate {
            shut_until: Some(Instant(7)),
            ..candidate(0, 1, 0)
        };
        assert_eq!(chosen(std::slice::from_ref(&shut)), (0, "all-shut"));
        assert_eq!(
            chosen(&[shut, candidate(1, 9, 0)]),
            (1, "least-used"),
            "another is open"
        );
        let busy = Candidate {
            room: Room::WhenFreed,
            ..candidate(0, 1, 0)
        };
        assert_eq!(
            choose(&[busy.clone(), later(50)], Instant(0)),
            waits(Some(Duration::from_millis(50)), true),
            "whichever comes first"
        );
        assert_eq!(choose(&[busy], Instant(0)), waits(None, true));
        let none = Candidate {
            room: Room::Never,
            ..candidate(0, 1, 0)
        };
        assert_eq!(choose(&[none], Instant(0)), Choice::Nobody);
        assert_eq!(choose(&[], Instant(0)), Choice::Nobody);
    }
}
