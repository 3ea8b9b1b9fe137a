//! What shards tell each other: what one has learned at the price of a failed call, the others need not learn again.
//!
//! A letter speaks of tables of one configuration; a shard that serves by another ignores it. Lost letters cost a failed call, no correctness.

use crate::base::{EndpointId, KeyId, Now, PoolId};
use crate::shard::desk::Desk;
use std::time::Duration;

/// A letter to all other shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gossip {
    /// The configuration's generation.
    pub(super) under: u64,
    pub(super) news: News,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The provider refused this key.
    KeyDead { key: KeyId, rest: Duration },
    /// The provider said that a limit is reached.
    Limited {
        endpoint: EndpointId,
        pool: PoolId,
        rest: Duration,
    },
}

impl Desk {
    /// Heeds what another shard has learned.
    pub fn hear(&mut self, now: Now, gossip: Gossip) {
        if self.config().generation != gossip.under {
            return;
        }
        let newest = self.newest().number;
        let epoch = self.epoch(newest);
        match gossip.news {
            News::KeyDead { key, rest } => epoch.kill_key(key, now.instant + rest),
            News::Limited {
                endpoint,
                pool,
                rest,
            } => {
                epoch.close(endpoint, pool, now.instant + rest);
            }
        }
    }
}
