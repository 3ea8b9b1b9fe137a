//! What shards tell each other: what one has learned at the price of a failed call, the others need not learn again.
//!
//! A letter speaks of tables of one configuration; a shard that serves by another ignores it. Lost letters cost a failed call, no
//! correctness. What was issued is told by names, and heard whatever the configuration.

use crate::base::{EndpointId, KeyId, Now, PoolId, ShardId, Tokens};
use crate::policy::capacity::{Closed, Why};
use crate::policy::prefix::Head;
use crate::shard::Output;
use crate::shard::cached::Held;
use crate::shard::desk::Desk;
use crate::shard::issued::{Name, PlaceName};
use crate::shard::leases::{Letter, Scope};
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
    /// A provider made what only it can read.
    Signed { name: Name, place: PlaceName },
    /// What is owed for it is this prompt at least.
    Expected { name: Name, input: Tokens },
    /// Prompts that a provider has in its cache now: by names that are the same under every configuration.
    Warm { prefixes: Warm },
    /// What something kept, at `place`, has cost is written down.
    Paid {
        name: Name,
        place: PlaceName,
        by: ShardId,
    },
    /// A provider keeps a prefix, or has said something new of it.
    Cached(Arc<Held>),
    /// Of a limit that shards share.
    Lease { scope: Scope, letter: Letter },
    /// A prefix has ended before its time, and what keeping it cost is written down.
    CacheEnded { name: Name, by: ShardId },
}

/// Some of what became warm by one answer: nearly always all of it.
pub(super) type Warm = [Option<Head>; 3];

impl Desk {
    /// What has become warm here, for the other shards.
    pub fn tell_warm(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.caches.warmth.has_news() {
            return;
        }
        let news = self.caches.warmth.news(now);
        if self.shards < 2 {
            return;
        }
        let under = self.config().generation;
        for some in news.chunks(Warm::default().len()) {
            let mut prefixes = Warm::default();
            for (place, head) in prefixes.iter_mut().zip(some) {
                *place = Some(*head);
            }
            let news = News::Warm { prefixes };
            out.push(Output::Tell(Gossip { under, news }));
        }
    }

    /// Heeds what another shard has learned.
    pub fn hear(&mut self, now: Now, gossip: Gossip) {
        match gossip.news {
            // By names, which mean the same under every configuration.
            News::Issued { name, place, owed } => return self.issued.learn(name, place, owed),
            News::Signed { name, place } => return self.signed.learn(name, place, false),
            News::Expected { name, input } => return self.issued.expect(name, input),
            News::Paid { name, place, by } => {
                self.issued.paid(name, place);
                if by < self.shard {
                    self.take_back(name);
                }
                return;
            }
            News::Warm { prefixes } => {
                for head in prefixes.iter().flatten() {
                    self.caches.warmth.hear(head, now);
                }
                // Who waits for one of them here.
                self.line.stir();
                return;
            }
            News::Cached(held) => return self.cached.learn(held, false, now),
            News::CacheEnded { name, by } => {
                self.cached.ended_elsewhere(name);
                if by < self.shard {
                    self.take_back(name);
                }
                return;
            }
            News::Lease { scope, letter } => {
                return self.hear_of_lease(now.instant, scope, &letter);
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
            | News::Signed { .. }
            | News::Expected { .. }
            | News::Warm { .. }
            | News::Paid { .. }
            | News::Cached(_)
            | News::Lease { .. }
            | News::CacheEnded { .. } => {}
        }
    }
}
