//! Which key has which credential just now.
//!
//! Static secrets are there from the start; what expires comes by mail from the I/O core, and again before it expires. A key that waits for
//! its credential, or whose credential was refused and is being fetched anew, is passed over; an exchange that has no other place waits for
//! it, among those who wait for headroom. Fetches nothing and reads no clock.

use crate::base::{Instant, KeyId, PoolId};
use crate::config::{Config, Key, KeySource};
use crate::protocol::provider::Credential;
use crate::shard::desk::{Desk, Epoch};
use crate::shard::input::Held;
use crate::shard::line::Claim;
use std::time::Duration;

/// By key of one configuration.
#[derive(Debug)]
pub(super) struct Credentials(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    source: KeySource,
    generation: u64,
    state: State,
    /// The last time a new one was asked for, so that a provider which refuses all of them is not answered with a fetch each time.
    asked: Option<Instant>,
    /// A provider refused this generation: left out until then, or until the next comes.
    refused_until: Instant,
}

#[derive(Clone, Debug)]
enum State {
    /// The key needs none.
    Needless,
    /// None has come yet.
    Awaited,
    /// It could not be had.
    Missing,
    Here(Credential),
}

/// What a refusal of a credential is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The key itself is dead.
    Final,
    /// A newer one is here or on its way: worth one more try.
    Again,
    /// As `Again`, and it is to be asked for.
    AskForIt,
}

/// How long a refused credential is left out while a new one is fetched; fetching takes a second or two.
pub(super) const FETCH_TIME: Duration = Duration::from_secs(10);
/// A source is asked for a new credential at most this often.
const ASK_EVERY: Duration = Duration::from_secs(60);

impl Credentials {
    pub fn new(keys: &[Key]) -> Self {
        let entry = |key: &Key| Entry {
            source: key.source.clone(),
            generation: 0,
            state: match &key.source {
                KeySource::None => State::Needless,
                KeySource::Secret(secret) => State::Here(Credential::Key(secret.clone())),
                KeySource::Aws(_) | KeySource::Google(_) => State::Awaited,
            },
            asked: None,
            refused_until: Instant::default(),
        };
        Self(keys.iter().map(entry).collect())
    }

    /// A source that both configurations have keeps what it has.
    pub fn inherit(&mut self, key: KeyId, source: &KeySource, from: &Self) {
        if let Some(old) = from.0.iter().find(|entry| entry.source == *source) {
            self.0[key.0 as usize] = old.clone();
        }
    }

    pub fn get(&self, key: KeyId) -> Option<&Credential> {
        match &self.0[key.0 as usize].state {
            State::Here(credential) => Some(credential),
            State::Needless | State::Awaited | State::Missing => None,
        }
    }

    pub fn generation(&self, key: KeyId) -> u64 {
        self.0[key.0 as usize].generation
    }

    pub fn is_ready(&self, key: KeyId, now: Instant) -> bool {
        let entry = &self.0[key.0 as usize];
        let there = matches!(entry.state, State::Needless | State::Here(_));
        there && entry.refused_until <= now
    }

    /// True while a credential may come soon.
    pub fn is_awaited(&self, key: KeyId, now: Instant) -> bool {
        let entry = &self.0[key.0 as usize];
        matches!(entry.state, State::Awaited) || entry.refused_until > now
    }

    /// True where it could not be had.
    pub fn is_missing(&self, key: KeyId) -> bool {
        matches!(self.0[key.0 as usize].state, State::Missing)
    }

    /// The keys that have a new credential by this.
    fn take(&mut self, held: &Held) -> Vec<KeyId> {
        let mut renewed = Vec::new();
        for (at, entry) in self.0.iter_mut().enumerate() {
            if entry.source != held.source {
                continue;
            }
            entry.state = match &held.credential {
                Some(credential) => State::Here(credential.clone()),
                None => State::Missing,
            };
            if held.credential.is_none() || entry.generation != held.generation {
                entry.refused_until = Instant::default();
            }
            if entry.generation != held.generation {
                entry.generation = held.generation;
                renewed.push(KeyId(at as u16));
            }
        }
        renewed
    }

    /// A provider refused generation `used` of this key.
    pub fn refused(&mut self, key: KeyId, used: u64, now: Instant) -> Refusal {
        let entry = &mut self.0[key.0 as usize];
        if !entry.source.expires() {
            return Refusal::Final;
        }
        if entry.generation != used || entry.refused_until > now {
            return Refusal::Again;
        }
        if entry.asked.is_some_and(|at| now.since(at) < ASK_EVERY) {
            return Refusal::Final;
        }
        entry.asked = Some(now);
        entry.refused_until = now + FETCH_TIME;
        Refusal::AskForIt
    }

    pub fn source(&self, key: KeyId) -> &KeySource {
        &self.0[key.0 as usize].source
    }
}

impl Epoch {
    /// What who waits for this pool's credential waits for; no pool of limits has such a number.
    pub fn credential_claim(pool: PoolId) -> Claim {
        Claim {
            pool: u32::MAX - u32::from(pool.0),
            limits: 1,
        }
    }

    /// Whether one of the pool's keys may have a credential soon.
    pub fn awaits_credential(&self, pool: PoolId, now: Instant) -> bool {
        let keys = &self.config.pools[pool.0 as usize].keys;
        let waiting =
            |key: &KeyId| !self.is_dead(*key, now) && self.credentials.is_awaited(*key, now);
        keys.iter().any(waiting)
    }

    /// The provider of a pool that has no credential, if that is what is wrong with it.
    pub fn lacks_credential<'a>(
        &self,
        config: &'a Config,
        pool: PoolId,
        now: Instant,
    ) -> Option<&'a str> {
        let of = &config.pools[pool.0 as usize];
        let lacks = |key: &KeyId| {
            self.credentials.is_missing(*key) || self.credentials.is_awaited(*key, now)
        };
        let provider = &config.providers[of.provider.0 as usize].name;
        of.keys.iter().any(lacks).then_some(provider.as_str())
    }
}

impl Desk {
    /// The credential of a key of the configuration `epoch`: `None` where it needs none, or has none yet.
    pub fn credential(&mut self, epoch: u32, key: KeyId) -> Option<&Credential> {
        self.epoch(epoch).credentials.get(key)
    }

    /// News from the I/O core, for every configuration that has the source. Who waits has a turn.
    pub fn take_credential(&mut self, held: &Held) {
        for epoch in &mut self.epochs {
            for key in epoch.credentials.take(held) {
                epoch.revive_key(key);
            }
        }
        self.line.stir();
    }
}
