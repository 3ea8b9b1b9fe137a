//! What providers keep under names that they gave out (stored answers, jobs), and who can be asked for it.
//!
//! Such a name is good at one account of one provider: the table leads from (tenant, name) to the endpoint, pool and key that it came
//! from. Learned when a name is given out, told to the other shards, never kept over a restart. Bounded: at `capacity` entries the oldest
//! leaves. Tenants are part of what is asked for, so nobody finds another's; an entry that is gone costs its owner a look around or a 404.
//!
//! Neither names nor ids of the configuration are held, only hashes of names: an entry is small, and outlives a reload.
//!
//! Cost: a name learned is two hashes and one insertion here and at each other shard; a plain request pays nothing.

use crate::base::{EndpointId, FixedHasher, KeyId, PoolId, Tokens};
use crate::config::Config;
use std::collections::{HashMap, VecDeque};
use xxhash_rust::xxh3::Xxh3Default;

/// A name that a provider gave out, as one tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    name: u64,
    tenant: u64,
}

/// An endpoint, pool and key, by their names in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PlaceName(u64);

/// The same within one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub endpoint: EndpointId,
    pub pool: PoolId,
    /// `None` where the pool needs no key.
    pub key: Option<KeyId>,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// `owed`: what it cost was not written down yet.
    Here {
        place: PlaceName,
        owed: bool,
    },
    /// It was given out to somebody else, who alone may know that.
    Anothers,
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    tenant: u64,
    place: PlaceName,
    owed: bool,
    /// Tokens of its prompt as they were reckoned, for a bill of which nobody says more.
    input: Tokens,
    /// Which of the places in `order` is its own.
    turn: u64,
}

#[derive(Debug)]
pub(super) struct Issued {
    entries: HashMap<u64, Entry, FixedHasher>,
    /// The oldest first; those that were learned again or forgotten stay until they come to the front or are too many.
    order: VecDeque<(u64, u64)>,
    turns: u64,
    capacity: usize,
}

impl Name {
    pub fn of(tenant: &str, name: &str) -> Self {
        Self {
            name: hash(&[name]),
            tenant: hash(&[tenant]),
        }
    }

    /// Of parts that were hashed with a key of our own.
    pub fn keyed([name, tenant]: [u64; 2]) -> Self {
        Self { name, tenant }
    }

    pub fn is_of(&self, tenant: &str) -> bool {
        self.tenant == hash(&[tenant])
    }
}

impl PlaceName {
    pub fn of(config: &Config, place: Place) -> Self {
        let endpoint = &config.endpoints[place.endpoint.0 as usize];
        let key = place.key.map(|key| &*config.keys[key.0 as usize].name);
        Self(hash(&[
            &config.providers[endpoint.provider.0 as usize].name,
            &config.models[endpoint.model.0 as usize].name,
            &endpoint.name,
            &config.pools[place.pool.0 as usize].name,
            key.unwrap_or_default(),
        ]))
    }
}

/// The parts with their lengths, so that no two lists of parts read the same.
fn hash(parts: &[&str]) -> u64 {
    let mut hasher = Xxh3Default::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.digest()
}

/// All places of a configuration by their names. A hash that two share leads to neither: asking the wrong account is worse than not knowing.
pub(super) fn places(config: &Config) -> HashMap<PlaceName, Option<Place>, FixedHasher> {
    let mut found = HashMap::default();
    for (number, endpoint) in config.endpoints.iter().enumerate() {
        let endpoint_id = EndpointId(number as u16);
        for pool in &endpoint.pools {
            for key in keys_of(config, *pool) {
                let place = Place {
                    endpoint: endpoint_id,
                    pool: *pool,
                    key,
                };
                found
                    .entry(PlaceName::of(config, place))
                    .and_modify(|other| *other = None)
                    .or_insert(Some(place));
            }
        }
    }
    found
}

/// The keys of a pool; one that is none where it needs none.
pub(super) fn keys_of(config: &Config, pool: PoolId) -> Vec<Option<KeyId>> {
    let keys = &config.pools[pool.0 as usize].keys;
    if keys.is_empty() {
        return vec![None];
    }
    keys.iter().copied().map(Some).collect()
}

impl Issued {
    /// Takes no memory until something is learned.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::default(),
            order: VecDeque::new(),
            turns: 0,
            capacity,
        }
    }

    /// A reload may change how many are held.
    pub fn hold(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.shrink();
    }

    /// `name` was given out at `place`. `owed`: what it costs is not known yet, and will be written down when it is. News of shards may
    /// overtake each other: what is paid stays so.
    pub fn learn(&mut self, name: Name, place: PlaceName, owed: bool) {
        if self.capacity == 0 {
            return;
        }
        let owed = owed && self.own(name).is_none_or(|entry| entry.owed);
        self.turns += 1;
        let entry = Entry {
            tenant: name.tenant,
            place,
            owed,
            input: Tokens::ZERO,
            turn: self.turns,
        };
        self.entries.insert(name.name, entry);
        self.order.push_back((name.name, self.turns));
        self.shrink();
    }

    pub fn find(&self, name: Name) -> Found {
        match self.entries.get(&name.name) {
            Some(entry) if entry.tenant == name.tenant => Found::Here {
                place: entry.place,
                owed: entry.owed,
            },
            Some(_) => Found::Anothers,
            None => Found::Unknown,
        }
    }

    /// What is owed for `name` is the prompt at least.
    pub fn expect(&mut self, name: Name, input: Tokens) {
        if let Some(entry) = self.own(name) {
            entry.input = input;
        }
    }

    /// The prompt of `name`, as it was reckoned; 0 where nobody did.
    pub fn expected(&mut self, name: Name) -> Tokens {
        self.own(name).map_or(Tokens::ZERO, |entry| entry.input)
    }

    /// What `name`, of `place`, cost is written down. Learned as well where it was not known: who gave it out may be heard later.
    pub fn paid(&mut self, name: Name, place: PlaceName) {
        match self.find(name) {
            Found::Here { place, .. } => self.learn(name, place, false),
            Found::Unknown => self.learn(name, place, false),
            Found::Anothers => {}
        }
    }

    /// The provider keeps it no more.
    pub fn forget(&mut self, name: Name) {
        if self.own(name).is_some() {
            self.entries.remove(&name.name);
        }
    }

    fn own(&mut self, name: Name) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(&name.name)?;
        (entry.tenant == name.tenant).then_some(entry)
    }

    fn shrink(&mut self) {
        while self.entries.len() > self.capacity
            && let Some((name, turn)) = self.order.pop_front()
        {
            if self.entries.get(&name).is_some_and(|e| e.turn == turn) {
                self.entries.remove(&name);
            }
        }
        // Places of entries that are gone may be as many as entries, so that clearing them out costs little an entry.
        if self.order.len() > 2 * self.capacity.max(8) {
            let entries = &self.entries;
            self.order
                .retain(|(name, turn)| entries.get(name).is_some_and(|e| e.turn == *turn));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::config::parse_for_tests;

    fn name(tenant: &str, n: u64) -> Name {
        Name::of(tenant, &format!("resp_{n}"))
    }

    #[test]
    fn a_name_is_found_by_its_tenant_alone() {
        let mut issued = Issued::new(8);
        issued.learn(name("a", 1), PlaceName(7), true);
        let here = |owed| Found::Here {
            place: PlaceName(7),
            owed,
        };
        assert_eq!(issued.find(name("a", 1)), here(true));
        assert_eq!(issued.find(name("b", 1)), Found::Anothers);
        assert_eq!(issued.find(name("a", 2)), Found::Unknown);
        issued.paid(name("b", 1), PlaceName(7));
        issued.forget(name("b", 1));
        assert_eq!(issued.find(name("a", 1)), here(true));
        issued.paid(name("a", 1), PlaceName(7));
        assert_eq!(issued.find(name("a", 1)), here(false));
        issued.forget(name("a", 1));
        assert_eq!(issued.find(name("a", 1)), Found::Unknown);
    }

    /// The shard that paid and the one that gave the name out are heard in any order.
    #[test]
    fn what_is_paid_stays_paid_though_it_is_heard_of_late() {
        let mut issued = Issued::new(8);
        issued.paid(name("a", 1), PlaceName(7));
        issued.learn(name("a", 1), PlaceName(7), true);
        let found = Found::Here {
            place: PlaceName(7),
            owed: false,
        };
        assert_eq!(issued.find(name("a", 1)), found);
    }

    /// Against a list in order of learning, and with memory within its bound.
    #[test]
    fn at_the_capacity_the_oldest_leaves() {
        for seed in 0..50 {
            let mut rng = Rng::seeded(seed);
            let capacity = rng.below(6) as usize;
            let (mut issued, mut plain) = (Issued::new(capacity), Vec::<(u64, u64)>::new());
            for step in 0..200 {
                let n = rng.below(9);
                plain.retain(|(known, _)| *known != n);
                if rng.below(4) == 0 {
                    issued.forget(name("a", n));
                } else {
                    issued.learn(name("a", n), PlaceName(step), false);
                    plain.push((n, step));
                    plain.drain(..plain.len().saturating_sub(capacity));
                }
                for n in 0..9 {
                    let want = plain.iter().find(|(known, _)| *known == n);
                    let want = want.map_or(Found::Unknown, |(_, at)| Found::Here {
                        place: PlaceName(*at),
                        owed: false,
                    });
                    assert_eq!(issued.find(name("a", n)), want, "seed {seed}, step {step}");
                }
                assert!(issued.order.len() <= 2 * capacity.max(8));
            }
        }
    }

    #[test]
    fn places_are_found_again_whatever_is_configured_beside_them() {
        let yaml = |before: &str| {
            format!(
                "server: {{listen: 127.0.0.1:1, operator: 127.0.0.1:2, shards: 1}}\n\
                 tenants: [{{id: a, keys: [{{id: a1, secret: sk-a}}]}}]\n\
                 providers:\n{before}\
                 - {{id: f, kind: openai, base_url: http://f.test, pools: [{{id: p, keys: [{{id: k0, secret: x}}, {{id: k1, secret: y}}]}}]}}\n\
                 models:\n- {{id: m, endpoints: [{{provider: f, name: m, price: {{input: 1, output: 5}}}}]}}\n"
            )
        };
        let plain = parse_for_tests(&yaml(""));
        let more = parse_for_tests(&yaml(
            "- {id: e, kind: openai, base_url: http://e.test, pools: [{id: q, keys: [{id: k2, secret: z}]}]}\n",
        ));
        let (old, new) = (places(&plain), places(&more));
        assert_eq!(old.len(), 2);
        for (name, place) in old {
            let key = |config: &Config, place: Option<Place>| {
                let key = place.and_then(|p| p.key).expect("a key");
                config.keys[key.0 as usize].name.clone()
            };
            assert_eq!(key(&plain, place), key(&more, new[&name]));
        }
    }
}
