//! Which prefixes are kept, for whom and until when: the table that all shards hold alike, and who of them writes down what keeping costs.
//!
//! An entry is known by its tenant and the last part of its name, so that nobody finds another's. It lives as long as the prefix and an
//! hour longer, in which a client hears that it is over and not that it never was. Bounded: at `capacity` the oldest leaves, and where this
//! shard owes its row, that is written first, up to the end of the prefix and as an estimate.
//!
//! One alarm an entry: its end, then its leaving. A shard without prefixes pays one look into an empty set.

use crate::base::{
    ClientKeyId, EndpointId, FixedHasher, Instant, KeyId, ModelId, Now, PoolId, Str, TenantId,
    Tokens, WallTime,
};
use crate::shard::Under;
use crate::shard::issued::{Name, PlaceName};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// A prefix that a provider keeps.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::shard) struct Held {
    pub name: Name,
    /// The last part of its name, which is the same for client and provider.
    pub id: Str,
    /// The provider's whole name of it.
    pub upstream: Str,
    /// The model as clients here name it.
    pub model_name: Str,
    /// Where it is kept, by names that outlive a reload.
    pub place: PlaceName,
    /// The provider's last word on it.
    pub object: Bytes,
    pub tokens: Tokens,
    /// From and until when keeping it is paid, by our own clock.
    pub begun: WallTime,
    pub expires: WallTime,
    /// When the provider said its last word.
    pub told: WallTime,
    /// For the row, under the configuration in which it was begun, whose price holds to its end.
    pub under: Under,
    pub tenant: TenantId,
    pub client_key: ClientKeyId,
    pub model: ModelId,
    pub endpoint: EndpointId,
    pub pool: PoolId,
    pub key: Option<KeyId>,
}

/// Keeping a prefix has come to an end, and this shard writes that down.
#[derive(Clone, Debug)]
pub(in crate::shard) struct Ended {
    pub held: Arc<Held>,
    pub at: WallTime,
    /// Its end was not seen.
    pub estimated: bool,
}

#[derive(Debug)]
struct Entry {
    held: Arc<Held>,
    /// This shard writes the row.
    owed: bool,
    /// It has ended before its time; true where that was not seen.
    over: Option<(WallTime, bool)>,
    /// Its time has come, and it is remembered for a while.
    lapsed: bool,
    alarm: Instant,
}

#[derive(Debug)]
pub(in crate::shard) struct Table {
    /// The oldest first.
    entries: BTreeMap<u64, Entry>,
    by_name: HashMap<Name, u64, FixedHasher>,
    alarms: BTreeSet<(Instant, u64)>,
    turns: u64,
    capacity: usize,
}

/// How long a prefix that is over is remembered.
const AFTER: Duration = Duration::from_secs(3_600);

impl Held {
    pub fn is_over(&self, now: WallTime) -> bool {
        now >= self.expires
    }

    /// How long it is paid for when it ends at `end`.
    pub fn kept_until(&self, end: WallTime) -> Duration {
        between(self.begun, end.min(self.expires))
    }
}

/// Zero where `to` is not after `from`.
pub(super) fn between(from: WallTime, to: WallTime) -> Duration {
    let nanos = to.0.saturating_sub(from.0).max(0);
    Duration::from_nanos(nanos.unsigned_abs())
}

impl Table {
    /// Takes no memory until something is kept.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            by_name: HashMap::default(),
            alarms: BTreeSet::new(),
            turns: 0,
            capacity,
        }
    }

    /// A reload may change how many are held.
    pub fn hold(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// When the next entry ends or leaves.
    pub fn next(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// What is known of `name`, over or not. `None` also for what was deleted.
    pub fn find(&self, name: Name) -> Option<&Arc<Held>> {
        let entry = self.entries.get(self.by_name.get(&name)?)?;
        entry.over.is_none().then_some(&entry.held)
    }

    /// Takes what a provider said of a prefix; older news than what is known changes nothing. `mine`: this shard writes its row, unless
    /// another is known to.
    pub fn learn(&mut self, held: Arc<Held>, mine: bool, now: Now) {
        let alarm = now.instant + between(now.wall, held.expires);
        if let Some(turn) = self.by_name.get(&held.name).copied()
            && let Some(entry) = self.entries.get_mut(&turn)
        {
            if entry.over.is_none() && held.told >= entry.held.told {
                entry.held = held;
                entry.lapsed = false;
                self.ring(turn, alarm);
            }
            return;
        }
        self.turns += 1;
        self.by_name.insert(held.name, self.turns);
        self.entries.insert(
            self.turns,
            Entry {
                held,
                owed: mine,
                over: None,
                lapsed: false,
                alarm,
            },
        );
        self.alarms.insert((alarm, self.turns));
    }

    fn ring(&mut self, turn: u64, at: Instant) {
        if let Some(entry) = self.entries.get_mut(&turn) {
            self.alarms.remove(&(entry.alarm, turn));
            entry.alarm = at;
            self.alarms.insert((at, turn));
        }
    }

    /// `name` is deleted, or its provider knows it no more (`estimated`). This shard writes the row if nobody has; whose time was over is
    /// left to who owes it.
    pub fn end(&mut self, name: Name, estimated: bool, now: Now) {
        let Some(turn) = self.by_name.get(&name).copied() else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(&turn)
            && entry.over.is_none()
        {
            entry.owed |= !entry.held.is_over(now.wall);
            entry.over = Some((now.wall, estimated));
            self.ring(turn, now.instant);
        }
    }

    /// Another shard has written the row of `name`, which is no more.
    pub fn ended_elsewhere(&mut self, name: Name) {
        if let Some(turn) = self.by_name.get(&name).copied() {
            self.remove(turn);
        }
    }

    /// All that this shard owes is to be written now, up to the end of each prefix: it will not be there to see it.
    pub fn leave(&mut self, now: Now) {
        let owed = self.entries.iter().filter(|(_, e)| e.owed);
        let turns: Vec<u64> = owed.map(|(turn, _)| *turn).collect();
        for turn in turns {
            if let Some(entry) = self.entries.get_mut(&turn) {
                entry.over.get_or_insert((entry.held.expires, true));
            }
            self.ring(turn, now.instant);
        }
    }

    /// The next whose row is due; `None` when there is none. With `room` false nothing is given out, and is due again in a second. Those that
    /// are long over leave.
    pub fn due(&mut self, now: Now, room: bool) -> Option<Ended> {
        while let Some((at, turn)) = self.alarms.first().copied() {
            let crowded = self.entries.len() > self.capacity;
            // The oldest leaves; its time has not come.
            let turn = match (at <= now.instant, crowded) {
                (true, _) => turn,
                (false, true) => *self.entries.first_key_value()?.0,
                (false, false) => return None,
            };
            let entry = self.entries.get_mut(&turn)?;
            if entry.owed && !room {
                // One that is not due is asked about again by whoever brings the next.
                if at <= now.instant {
                    self.ring(turn, now.instant + Duration::from_secs(1));
                }
                return None;
            }
            let ended = std::mem::take(&mut entry.owed).then(|| Ended {
                held: Arc::clone(&entry.held),
                at: entry.over.map_or(entry.held.expires, |(at, _)| at),
                estimated: match entry.over {
                    // Evicted: who knows what becomes of it.
                    Some((_, estimated)) => estimated,
                    None => at > now.instant,
                },
            });
            let evicted = at > now.instant;
            if entry.over.is_some() || evicted || std::mem::replace(&mut entry.lapsed, true) {
                self.remove(turn);
            } else {
                self.ring(turn, now.instant + AFTER);
            }
            if ended.is_some() {
                return ended;
            }
        }
        None
    }

    fn remove(&mut self, turn: u64) {
        if let Some(entry) = self.entries.remove(&turn) {
            self.by_name.remove(&entry.held.name);
            self.alarms.remove(&(entry.alarm, turn));
        }
    }

    /// What this shard owes a row for.
    pub fn owed(&self) -> impl Iterator<Item = &Arc<Held>> {
        self.entries.values().filter(|e| e.owed).map(|e| &e.held)
    }

    /// Those of `tenant` that are kept at `now`, in an order that all shards agree on: by their beginning.
    pub fn of_tenant(&self, tenant: &str, now: WallTime) -> Vec<&Arc<Held>> {
        let all = self.entries.values();
        let live = all.filter(|e| e.over.is_none() && !e.held.is_over(now));
        let mut own: Vec<&Arc<Held>> = live
            .map(|e| &e.held)
            .filter(|held| held.name.is_of(tenant))
            .collect();
        own.sort_by(|a, b| (a.begun, &*a.id).cmp(&(b.begun, &*b.id)));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{EndpointId, Rng};
    use crate::config::{Config, parse_for_tests};
    use crate::shard::issued::Place;

    fn config() -> Arc<Config> {
        Arc::new(parse_for_tests(
            "server: {listen: 127.0.0.1:1, operator: 127.0.0.1:2, shards: 1}\n\
             tenants: [{id: a, keys: [{id: a1, secret: sk-a}]}]\n\
             providers: [{id: g, kind: gemini, base_url: http://g.test, pools: [{id: p, keys: [{id: k, secret: x}]}]}]\n\
             models: [{id: m, endpoints: [{provider: g, name: m, price: {input: 1, output: 5}}]}]\n",
        ))
    }

    fn held(
        config: &Arc<Config>,
        n: u64,
        begun: WallTime,
        lives: u64,
        told: WallTime,
    ) -> Arc<Held> {
        let place = Place {
            endpoint: EndpointId(0),
            pool: PoolId(0),
            key: Some(KeyId(0)),
        };
        Arc::new(Held {
            name: Name::of("a", &n.to_string()),
            id: n.to_string().into(),
            upstream: n.to_string().into(),
            model_name: "m".into(),
            place: PlaceName::of(config, place),
            object: Bytes::new(),
            tokens: Tokens(1),
            begun,
            expires: begun + Duration::from_secs(lives),
            told,
            under: Under(Arc::clone(config)),
            tenant: TenantId(0),
            client_key: ClientKeyId(0),
            model: ModelId(0),
            endpoint: EndpointId(0),
            pool: PoolId(0),
            key: Some(KeyId(0)),
        })
    }

    /// Over random lives, changes, deletions, bounds and a ledger that is full now and then.
    #[test]
    fn whatever_happens_each_prefix_that_is_owed_gives_one_row() {
        let config = config();
        for seed in 0..40 {
            let mut rng = Rng::seeded(seed);
            let capacity = rng.below(6) as usize;
            let mut table = Table::new(capacity);
            let mut now = Now::default();
            let (mut made, mut rows) = (Vec::new(), BTreeMap::<String, u32>::new());
            let mut take = |table: &mut Table, now: Now, room: bool| {
                while let Some(ended) = table.due(now, room) {
                    assert!(ended.at <= ended.held.expires, "seed {seed}");
                    *rows.entry(ended.held.id.to_string()).or_default() += 1;
                }
                assert!(!room || table.entries.len() <= capacity, "seed {seed}");
                assert_eq!(table.entries.len(), table.alarms.len());
                assert_eq!(table.entries.len(), table.by_name.len());
            };
            for step in 0..120 {
                let n = rng.below(40);
                match rng.below(4) {
                    0 => {
                        let new = held(&config, step, now.wall, rng.below(5_000), now.wall);
                        made.push(step.to_string());
                        table.learn(new, true, now);
                    }
                    1 => {
                        if let Some(known) = table.find(Name::of("a", &n.to_string())).cloned() {
                            let longer = held(&config, n, known.begun, 6_000, now.wall);
                            table.learn(longer, false, now);
                        }
                    }
                    2 => table.end(Name::of("a", &n.to_string()), false, now),
                    _ => {
                        let past = Duration::from_secs(rng.below(2_000));
                        now.instant = now.instant + past;
                        now.wall = now.wall + past;
                    }
                }
                take(&mut table, now, rng.below(4) > 0);
            }
            table.leave(now);
            for _ in 0..4 {
                now.instant = now.instant + AFTER + AFTER;
                take(&mut table, now, true);
            }
            assert!(
                table.entries.is_empty(),
                "seed {seed}: all is forgotten in the end"
            );
            let once = made.iter().all(|id| rows.get(id) == Some(&1));
            assert!(once && rows.len() == made.len(), "seed {seed}: {rows:?}");
        }
    }
}
