//! Why something is left alone, and until when.
//!
//! An empty bucket refills by itself and is waited out; a limit that the provider spoke of has its word; a spend cap and a dead key want an
//! operator, so nobody waits for them and they are tried again only now and then.

use crate::base::Instant;
use crate::policy::retry::AttemptError;

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The provider refused for a limit (429).
    Limited,
    /// No money is left, or a spend limit is reached. Waiting does not help, but money may come any time.
    Spent,
    /// The credential was refused (401, 403).
    Refused,
}

/// Left alone until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    pub why: Why,
    pub until: Instant,
}

impl Why {
    /// What a failed attempt says of the credential it was sent with.
    #[must_use]
    pub fn of_key(error: AttemptError) -> Option<Self> {
        match error {
            AttemptError::KeyRefused => Some(Self::Refused),
            AttemptError::Exhausted => Some(Self::Spent),
            AttemptError::Limited { .. }
            | AttemptError::Rejected
            | AttemptError::NotThere
            | AttemptError::Overloaded { .. }
            | AttemptError::Unreachable
            | AttemptError::Broken
            | AttemptError::TimedOut
            | AttemptError::Crowded => None,
        }
    }
}

impl Closed {
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        now < self.until
    }

    /// Both were said; the one that lasts longer stands (FIELD-BUGS 25).
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if other.until > self.until {
            other
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIELD-BUGS 25 and 28.
    #[test]
    fn a_dead_key_is_told_from_a_spent_one_and_the_longer_wait_stands() {
        assert_eq!(Why::of_key(AttemptError::KeyRefused), Some(Why::Refused));
        assert_eq!(Why::of_key(AttemptError::Exhausted), Some(Why::Spent));
        assert_eq!(Why::of_key(AttemptError::Limited { wait: None }), None);
        let closed = |why, until| Closed {
            why,
            until: Instant(until),
        };
        let long = closed(Why::Spent, 9);
        assert_eq!(long.and(closed(Why::Limited, 5)), long);
        assert_eq!(closed(Why::Limited, 5).and(long), long);
        assert!(long.holds(Instant(8)) && !long.holds(Instant(9)));
    }
}
