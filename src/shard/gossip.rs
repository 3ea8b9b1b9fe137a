//! What shards tell each other: what one has learned at the price of a failed call, the others need not learn again.
//!
//! A letter speaks of tables of one configuration; a shard that serves by another ignores it. Lost letters cost a failed call, no
//! correctness. What was issued is told by names, and heard whatever the configuration.

use crate::base::{EndpointId, KeyId, Now, PoolId, ShardId, Tokens};
use crate::policy::capacity::{Closed, Why};
use crate::shard::cached::Held;
use crate::shard::desk::Desk;
use crate::shard::issued::{Name, PlaceName};
use std::sync::Arc;
use std::time::Duration;

/// A letter to all other shards.
#[derive(Clone, Debug, PartialEq)]
pub struct Gossip {
    /// The configuration's generation.
    pub(super) under: u64,
    pub(super) news: News,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum News {
    /// The provider refused this key, or says that its money is spent.
    KeyDead {
        key: KeyId,
        why: Why,
        rest: Duration,
    },
    /// The provider said that a limit is reached.
    Limited {
        endpoint: EndpointId,
        pool: PoolId,
        rest: Duration,
    },
    /// A provider gave out a name under which it keeps something.
    Issued {
        name: Name,
        place: PlaceName,
        owed: bool,
    },
    /// What is owed for it is this prompt at least.
    Expected { name: Name, input: Tokens },
    /// What something kept, at `place`, has cost is written down.
    Paid {
        name: Name,
        place: PlaceName,
        by: ShardId,
    },
    /// A provider keeps a prefix, or has said something new of it.
    Cached(Arc<Held>),
    /// A prefix has ended before its time, and what keeping it cost is written down.
    CacheEnded { name: Name, by: ShardId },
}

impl Desk {
    /// Heeds what another shard has learned.
    pub fn hear(&mut self, now: Now, gossip: Gossip) {
        match gossip.news {
            // By names, which mean the same under every configuration.
            News::Issued { name, place, owed } => return self.issued.learn(name, place, owed),
            News::Expected { name, input } => return self.issued.expect(name, input),
            News::Paid { name, place, by } => {
                self.issued.paid(name, place);
                if by < self.shard {
                    self.take_back(name);
                }
                return;
            }
            News::Cached(held) => return self.caches.learn(held, false, now),
            News::CacheEnded { name, by } => {
                self.caches.ended_elsewhere(name);
                if by < self.shard {
                    self.take_back(name);
                }
                return;
            }
            News::KeyDead { .. } | News::Limited { .. } => {}
        }
        if self.config().generation != gossip.under {
            return;
        }
        let newest = self.newest().number;
        let epoch = self.epoch(newest);
        match gossip.news {
            News::KeyDead { key, why, rest } => {
                let until = now.instant + rest;
                epoch.kill_key(key, Closed { why, until });
            }
            News::Limited {
                endpoint,
                pool,
                rest,
            } => {
                epoch.close(endpoint, pool, now.instant + rest);
            }
            News::Issued { .. }
            | News::Expected { .. }
            | News::Paid { .. }
            | News::Cached(_)
            | News::CacheEnded { .. } => {}
        }
    }
}
