//! A failed attempt → what follows.

use crate::base::NanoUsd;
use crate::canon::{Fault, FaultClass};
use std::time::Duration;

/// How an attempt failed, as far as it matters for what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptError {
    /// The request is at fault; nobody else would take it.
    Rejected,
    /// The credential was refused.
    KeyRefused,
    /// The account has no money left, or its spend limit is reached: waiting does not help.
    Exhausted,
    /// This endpoint does not have the model.
    NotThere,
    /// A rate limit of the provider.
    Limited { wait: Option<Duration> },
    /// The provider is overloaded as a whole.
    Overloaded { wait: Option<Duration> },
    /// No connection was made, so nothing can have been paid for.
    Unreachable,
    /// The provider failed, or answered what nobody can read.
    Broken,
    /// A time limit of ours passed.
    TimedOut,
    /// Our own connections to it are all in use; the provider has no part in it.
    Crowded,
}

/// What an exchange stands at when an attempt fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub client_saw_bytes: bool,
    pub attempts: u8,
    /// Those of them that only found a key dead: they do not count against `attempts_max`.
    pub keys_refused: u8,
    pub attempts_max: u8,
    /// The provider asked not to be tried again with this (`x-should-retry: false`).
    pub not_here: bool,
    /// Other candidates that have room now and have not failed this exchange.
    pub others: usize,
    /// Until the exchange's deadline.
    pub left: Duration,
    /// Whether the shard's budget of retries has room.
    pub budget: bool,
    pub backoff: Duration,
    pub backoff_max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    GiveUp,
    /// At another candidate, at once.
    Elsewhere,
    /// Anywhere, the same place included, after this time.
    AgainIn(Duration),
}

/// What a provider's refusal, or our own finding, amounts to.
#[must_use]
pub fn of_fault(fault: &Fault) -> AttemptError {
    match fault.class {
        FaultClass::Invalid
        | FaultClass::ContextTooLong
        | FaultClass::ContentPolicy
        | FaultClass::TooLarge
        | FaultClass::MethodNotAllowed
        | FaultClass::UpgradeRequired => AttemptError::Rejected,
        FaultClass::Unauthenticated | FaultClass::Forbidden => AttemptError::KeyRefused,
        FaultClass::Billing => AttemptError::Exhausted,
        FaultClass::NotFound | FaultClass::ModelNotFound => AttemptError::NotThere,
        FaultClass::RateLimited => AttemptError::Limited {
            wait: fault.retry_after,
        },
        FaultClass::Overloaded | FaultClass::Unavailable => AttemptError::Overloaded {
            wait: fault.retry_after,
        },
        FaultClass::UpstreamTimeout => AttemptError::TimedOut,
        FaultClass::RequestTimeout
        | FaultClass::Conflict
        | FaultClass::Internal
        | FaultClass::UpstreamBroken => AttemptError::Broken,
    }
}

/// At what age of a call that has not begun to answer a second one elsewhere pays. `late`: when the first would be overdue; `rest`: what
/// its answer takes once it has begun; `elsewhere`: what the second costs, its own delay included; `second`: what one is worth. `None`: never.
///
/// First bytes have tails so long that what is overdue is expected to take as long again as it has taken: then waiting on costs its age and `rest`.
#[must_use]
pub fn hedges_at(
    late: Duration,
    rest: Duration,
    elsewhere: NanoUsd,
    second: NanoUsd,
) -> Option<Duration> {
    if second.0 <= 0 {
        return None;
    }
    let breaks_even = elsewhere.0.max(0) as f64 / second.0 as f64 - rest.as_secs_f64();
    let breaks_even = Duration::try_from_secs_f64(breaks_even.max(0.0)).ok()?;
    Some(late.max(breaks_even))
}

/// What to do after `error`. A client that has seen one byte of an answer is never given a second beginning.
#[must_use]
pub fn next(error: AttemptError, at: &Standing) -> Next {
    use AttemptError::{
        Broken, Crowded, Exhausted, KeyRefused, Limited, NotThere, Overloaded, Rejected, TimedOut,
        Unreachable,
    };
    if at.client_saw_bytes || at.left.is_zero() || at.attempts == u8::MAX {
        return Next::GiveUp;
    }
    match error {
        Rejected => Next::GiveUp,
        // Dead keys cost nothing and take microseconds to find out: 49 of 50 may be dead (FIELD-BUGS 27), so attempts and budget do not bound it;
        // the number of keys does.
        KeyRefused | Exhausted | NotThere if at.others > 0 => Next::Elsewhere,
        KeyRefused | Exhausted | NotThere => Next::GiveUp,
        _ if at.attempts.saturating_sub(at.keys_refused) >= at.attempts_max || !at.budget => {
            Next::GiveUp
        }
        Limited { .. } | Overloaded { .. } | Unreachable | Broken | TimedOut | Crowded
            if at.others > 0 =>
        {
            Next::Elsewhere
        }
        _ if at.not_here => Next::GiveUp,
        Limited { wait: Some(wait) } | Overloaded { wait: Some(wait) } => within(wait, at),
        Limited { wait: None } | Overloaded { wait: None } | Unreachable | Broken | Crowded => {
            within(backoff(at), at)
        }
        // The time is spent, and a second try may be paid for twice.
        TimedOut => Next::GiveUp,
    }
}

fn within(wait: Duration, at: &Standing) -> Next {
    if wait < at.left {
        Next::AgainIn(wait)
    } else {
        Next::GiveUp
    }
}

fn backoff(at: &Standing) -> Duration {
    let doublings = u32::from(at.attempts.saturating_sub(1)).min(16);
    at.backoff
        .saturating_mul(1 << doublings)
        .min(at.backoff_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Standing = Standing {
        client_saw_bytes: false,
        attempts: 1,
        keys_refused: 0,
        attempts_max: 3,
        not_here: false,
        others: 0,
        left: Duration::from_secs(10),
        budget: true,
        backoff: Duration::from_millis(100),
        backoff_max: Duration::from_millis(300),
    };

    #[test]
    fn every_failure_has_its_answer() {
        use AttemptError::*;
        let ms = |ms| Next::AgainIn(Duration::from_millis(ms));
        let others = Standing { others: 1, ..CALM };
        let second = Standing {
            attempts: 2,
            ..CALM
        };
        let spent = Standing {
            attempts: 3,
            others: 1,
            ..CALM
        };
        let broke = Standing {
            budget: false,
            others: 1,
            ..CALM
        };
        let seen = Standing {
            client_saw_bytes: true,
            others: 1,
            ..CALM
        };
        let late = Standing {
            left: Duration::from_millis(50),
            ..CALM
        };
        let wait = Some(Duration::from_secs(2));
        let no_time = Standing {
            left: Duration::ZERO,
            others: 1,
            ..CALM
        };
        let dead_keys = Standing {
            attempts: 50,
            keys_refused: 49,
            ..CALM
        };
        let unwelcome = Standing {
            not_here: true,
            ..CALM
        };
        for (name, error, at, is) in [
            ("no time left", Broken, no_time, Next::GiveUp),
            ("crowded", Crowded, CALM, ms(100)),
            ("after dead keys", Limited { wait }, dead_keys, ms(2_000)),
            ("asked not to", Broken, unwelcome, Next::GiveUp),
            ("a wrong request", Rejected, others, Next::GiveUp),
            (
                "a dead key, another there",
                KeyRefused,
                spent,
                Next::Elsewhere,
            ),
            ("a dead key, the last", KeyRefused, CALM, Next::GiveUp),
            ("no money, others have", Exhausted, broke, Next::Elsewhere),
            (
                "limited, others have room",
                Limited { wait },
                others,
                Next::Elsewhere,
            ),
            ("limited, alone", Limited { wait }, CALM, ms(2_000)),
            ("limited, too long", Limited { wait }, late, Next::GiveUp),
            (
                "limited, says nothing",
                Limited { wait: None },
                CALM,
                ms(100),
            ),
            ("broken twice", Broken, second, ms(200)),
            ("broken, no attempts left", Broken, spent, Next::GiveUp),
            ("broken, no budget", Broken, broke, Next::GiveUp),
            ("broken, seen", Broken, seen, Next::GiveUp),
            ("dead key, seen", KeyRefused, seen, Next::GiveUp),
            ("timed out, alone", TimedOut, CALM, Next::GiveUp),
            ("timed out, others", TimedOut, others, Next::Elsewhere),
            (
                "overloaded, alone",
                Overloaded { wait: None },
                second,
                ms(200),
            ),
            ("unreachable, late", Unreachable, late, Next::GiveUp),
        ] {
            assert_eq!(next(error, &at), is, "{name}");
        }
    }

    #[test]
    fn a_second_call_pays_when_what_is_waited_for_costs_more_than_it() {
        let secs = Duration::from_secs;
        let second = NanoUsd(1_000_000);
        let at = |late, rest, elsewhere, second| {
            hedges_at(secs(late), secs(rest), NanoUsd(elsewhere), second)
        };
        // $0.63 at $0.01 a second (100,000 tokens cold): after a minute, which is hardly ever.
        assert_eq!(at(3, 0, 630_000_000, NanoUsd(10_000_000)), Some(secs(63)));
        // What it costs is its own delay too, which is no longer than the first one's rest.
        assert_eq!(at(3, 8, 14_000_000, second), Some(secs(6)));
        assert_eq!(
            at(3, 8, 1_000_000, second),
            Some(secs(3)),
            "never before it is late"
        );
        assert_eq!(
            at(3, 0, 1, NanoUsd(0)),
            None,
            "whose time is worth nothing waits"
        );
        assert_eq!(
            at(3, 0, i64::MAX, NanoUsd(1)),
            Some(Duration::from_secs_f64(i64::MAX as f64))
        );
    }
}
