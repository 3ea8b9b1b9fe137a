//! Whether an endpoint can read what another made for its maker alone, and what it does with what it cannot.
//!
//! Says nothing of where a seal came from: that is looked up elsewhere. The rules are data (`config/seals.yaml`).

use crate::canon::Maker;

/// What an endpoint does with a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Read,
    /// Passes over it: the reasoning is lost and the call is not.
    Ignored,
    /// Refuses the call.
    Refused,
}

/// How far a seal may be from where it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    Anywhere,
    /// At the same kind of provider.
    Provider,
    /// At the same account of it: organisation, project, workspace.
    Account,
}

/// The seals of an endpoint: those that it makes, and those that it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealRule {
    pub by: Maker,
    pub within: Within,
    /// What becomes of one further away, at an endpoint of the same maker.
    pub beyond: Reading,
    /// Of one that another model of the same maker made.
    pub other_model: Reading,
    /// Of others' seals here.
    pub foreign: Reading,
}

/// Where a seal was made, as seen from the endpoint that is shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distance {
    pub same_provider: bool,
    pub same_account: bool,
    pub same_model: bool,
}

impl SealRule {
    /// What an endpoint of this rule does with a seal that one of the rule `made` made. The maker's rule says how far its seals reach.
    #[must_use]
    pub fn reading(&self, made: &Self, at: Distance) -> Reading {
        if self.by != made.by {
            return self.foreign;
        }
        let reaches = match made.within {
            Within::Anywhere => true,
            Within::Provider => at.same_provider,
            Within::Account => at.same_account,
        };
        let far = if reaches { Reading::Read } else { made.beyond };
        let model = if at.same_model {
            Reading::Read
        } else {
            made.other_model
        };
        far.or(model)
    }

    /// The same of a seal of which no more is known than who made it: what may well be read is shown.
    #[must_use]
    pub fn reading_of(&self, maker: Option<Maker>) -> Reading {
        match maker {
            Some(maker) if maker != self.by => self.foreign,
            _ => Reading::Read,
        }
    }
}

impl Reading {
    /// The worse of the two.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Refused, _) | (_, Self::Refused) => Self::Refused,
            (Self::Ignored, _) | (_, Self::Ignored) => Self::Ignored,
            (Self::Read, Self::Read) => Self::Read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Distance = Distance {
        same_provider: true,
        same_account: true,
        same_model: true,
    };
    const BOUND: SealRule = SealRule {
        by: Maker::Anthropic,
        within: Within::Account,
        beyond: Reading::Ignored,
        other_model: Reading::Ignored,
        foreign: Reading::Refused,
    };

    #[test]
    fn a_seal_reaches_as_far_as_its_makers_rule_says() {
        let free = SealRule {
            within: Within::Anywhere,
            other_model: Reading::Read,
            ..BOUND
        };
        let far = Distance {
            same_provider: false,
            same_account: false,
            same_model: false,
        };
        assert_eq!(BOUND.reading(&free, far), Reading::Read);
        assert_eq!(free.reading(&BOUND, far), Reading::Ignored);
        assert_eq!(BOUND.reading(&BOUND, HERE), Reading::Read);
        let moved = Distance {
            same_account: false,
            ..HERE
        };
        assert_eq!(BOUND.reading(&BOUND, moved), Reading::Ignored);
        let near = SealRule {
            within: Within::Provider,
            ..BOUND
        };
        assert_eq!(BOUND.reading(&near, moved), Reading::Read);
    }

    #[test]
    fn the_worse_of_two_reasons_counts() {
        let strict = SealRule {
            beyond: Reading::Refused,
            ..BOUND
        };
        let moved = Distance {
            same_account: false,
            same_model: false,
            ..HERE
        };
        assert_eq!(strict.reading(&strict, moved), Reading::Refused);
    }

    #[test]
    fn of_others_only_the_maker_matters() {
        let google = SealRule {
            by: Maker::Google,
            foreign: Reading::Ignored,
            ..BOUND
        };
        assert_eq!(BOUND.reading(&google, HERE), Reading::Refused);
        assert_eq!(google.reading(&BOUND, HERE), Reading::Ignored);
        assert_eq!(BOUND.reading_of(Some(Maker::Google)), Reading::Refused);
        assert_eq!(BOUND.reading_of(Some(Maker::Anthropic)), Reading::Read);
        assert_eq!(BOUND.reading_of(None), Reading::Read);
    }
}
