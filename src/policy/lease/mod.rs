//! Headroom leased down a tree: from who knows a limit (`Central`) to who spends it (`Holder`); from an instance to its shards, and from
//! what instances share to an instance.
//!
//! A holder spends what it was granted without asking anybody, and asks in the background for about half a second of its demand. What is
//! granted and not yet spent counts against the burst, so all holders together never spend more in any time than one bucket would let
//! through: tokens in the bucket and tokens held are never more than the burst, and only the refill makes more of them. Both sides are
//! values, stepped with the time and a message; messages may be late, lost or doubled, and holders may vanish: that costs headroom, and
//! never admits more. Who carries the messages is not known here.
//!
//! Counts in messages are sums over the life of a lease, not differences, so that the next message heals what a lost one said. A lease that is
//! not renewed ends at its holder before it ends here, since the holder counts its time from when it asked. Limits may change while they are
//! leased: who grants says in each reply what they are, and how full the whole is, so that a holder knows what headroom is worth. A holder
//! that has no use for anything gives all back and asks no more.

mod branch;
mod central;
mod holder;
mod issue;
mod wire;
#[cfg(test)]
mod tests;

pub use branch::Branch;
pub use central::Central;
pub use holder::Holder;

use crate::base::Instant;
use crate::policy::capacity::Rate;
use std::time::Duration;

/// What is counted: requests, tokens, input, output, in the order of `capacity::Dimension`. All of a scope are leased together.
pub const DIMENSIONS: usize = 4;

pub type Amounts = [u64; DIMENSIONS];

/// Rate and burst of each; `None` is not limited.
pub type Limits = [Option<(Rate, u64)>; DIMENSIONS];

/// Sums over a lease; a debt is below zero.
pub type Sums = [i64; DIMENSIONS];

/// Which holder; one that has lost its memory comes back under another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HolderId(pub u64);

/// What is leased, and how.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub limits: Limits,
    /// A lease that was not renewed for so long has ended.
    pub lease: Duration,
    /// So much of its demand a holder wants to hold.
    pub horizon: Duration,
    /// How often it asks when nothing presses.
    pub refresh: Duration,
    /// How long after an ask the next may follow, whatever presses.
    pub soonest: Duration,
    /// After so long an ask is taken for lost, whatever presses; `None`: sooner, the more it presses.
    pub patience: Option<Duration>,
}

impl Terms {
    /// Two seconds of lease, half a second of demand, five asks a second (ROUTING 5.2: measured with 16 holders).
    #[must_use]
    pub fn of(limits: Limits) -> Self {
        Self {
            limits,
            lease: Duration::from_secs(2),
            horizon: Duration::from_millis(500),
            refresh: Duration::from_millis(200),
            soonest: Duration::from_millis(2),
            patience: None,
        }
    }

    /// Between instances: ten asks a second at most.
    #[must_use]
    pub fn between_instances(limits: Limits) -> Self {
        Self {
            soonest: Duration::from_millis(100),
            // An answer may be on its way for as long as `redis.timeout` lets it, and a new lease is only believed as the answer to the last
            // ask.
            patience: Some(Duration::from_millis(600)),
            ..Self::of(limits)
        }
    }

    /// Between the shards of an instance that leases itself: they hold less, since who grants holds something too.
    #[must_use]
    pub fn below_instances(limits: Limits) -> Self {
        Self {
            horizon: Duration::from_millis(250),
            ..Self::of(limits)
        }
    }

    /// What one call can take at most: a larger one passes when a whole burst is there, and the rest is owed.
    fn fitted(&self, amounts: Amounts) -> Amounts {
        let mut fitted = amounts;
        for (amount, limit) in fitted.iter_mut().zip(self.limits) {
            *amount = limit.map_or(0, |(_, burst)| (*amount).min(burst));
        }
        fitted
    }
}

/// A holder's word to who grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub holder: HolderId,
    /// Higher than in all before.
    pub number: u64,
    /// The lease it thinks it has; 0 for none.
    pub lease: u64,
    pub epoch: u64,
    /// By the holder's own clock, which is not read here, only given back.
    pub at: Instant,
    /// Over the lease: spent less refunded, and given back unspent.
    pub spent: Sums,
    pub returned: Sums,
    /// What it holds, by its own count; a debt is below zero.
    pub held: Sums,
    /// More that it would like to hold.
    pub want: Amounts,
    /// A middling call: less is of no use.
    pub least: Amounts,
    /// What it spends in a second.
    pub demand: Amounts,
    /// A call that does not fit into what it holds, and how long it has waited.
    pub parked: Option<(Amounts, Duration)>,
}

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    pub holder: HolderId,
    /// Of the ask.
    pub number: u64,
    pub lease: u64,
    pub epoch: u64,
    pub asked_at: Instant,
    /// Over the lease.
    pub granted: Sums,
    /// The lease is another than was asked under: its sums begin anew at that ask.
    pub anew: bool,
    pub time: Duration,
    /// When a parked call may fit.
    pub retry_in: Option<Duration>,
    /// Others wait for what is not needed at once.
    pub recall: bool,
    /// What is limited, and by how much.
    pub limits: Limits,
    /// What all holders together may still spend, in thousandths.
    pub left: Sums,
}

/// An instance's word to who grants to instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpAsk {
    pub ask: Ask,
    /// What this instance takes the limits for: the least of what instances say counts.
    pub limits: Limits,
    /// The provider's own count says that all of them together have no more left than that.
    pub ceiling: [Option<u64>; DIMENSIONS],
    /// Some of what was spent it has issued to itself, while nobody answered.
    pub issued: bool,
}

/// What an instance is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpReply {
    pub reply: Reply,
    /// Its part of what all instances spend, in millionths.
    pub share: u64,
    /// What the others spend in a second.
    pub others: Amounts,
    /// Nothing is granted yet, since something was forgotten or is still to be told: who has a share may go on issuing.
    pub learning: bool,
}
