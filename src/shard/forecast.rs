//! What a shard foresees of requests and places: what caches hold of a prompt, how long answers are, how soon they come, how often calls fail.
//!
//! Learned from what is seen and billed here. What belongs to places and tenants by the configuration's names is carried over a reload;
//! caches are known by names that outlive processes.

use crate::base::{EndpointId, FixedHasher, Instant, ModelId, PoolId, TenantId, Tokens};
use crate::canon::{DialectName, Element, ElementKind};
use crate::config::Config;
use crate::policy::belief::Drift;
use crate::policy::capacity::Used;
use crate::policy::estimate::{FirstToken, Habit, Pace, Weight};
use crate::policy::fingerprint::{
    Blocks, Boundary, Chain, Fingerprint, InstanceSecret, Salt, ScopeKey,
};
use crate::policy::health::Steadiness;
use crate::policy::hints::Rates;
use crate::policy::marks::{Class, Doorkeeper, Prompt};
use crate::policy::prefix::{Asked, Begun, Matching, Rules};
use crate::policy::warmth::{Expected, Warmth};
use crate::protocol::dialect::elements::Elements;
use crate::shard::marks::Help;
use std::collections::HashMap;
use std::time::Duration;

/// The caches, and what it takes to read a prompt as they do. Kept over reloads.
pub(super) struct Caches {
    pub warmth: Warmth,
    secret: InstanceSecret,
    elements: Elements,
    chain: Chain,
    /// Who has been here before, to say what is worth a cache mark.
    pub keeper: Doorkeeper,
    /// How often each family of prompts is asked.
    pub rates: Rates,
}

/// A prompt as one kind of cache sees it.
#[derive(Debug)]
pub(super) struct Reading {
    dialect: DialectName,
    blocks: Option<Blocks>,
    pub bounds: Box<[Boundary]>,
    /// What is asked for on the client's behalf.
    pub help: Option<Box<Help>>,
    pub opener: Fingerprint,
    /// What kind of request it is, where somebody asked.
    pub class: Option<Class>,
    /// Of the whole prompt, by its bytes.
    pub tokens: Tokens,
}

/// What is foreseen under one configuration.
#[derive(Debug)]
pub(super) struct Forecast {
    salts: Vec<Salt>,
    /// By endpoint and place of the pool in it.
    scopes: Vec<Vec<ScopeKey>>,
    steady: Vec<Vec<Steadiness>>,
    /// By endpoint.
    tempo: Vec<Tempo>,
    /// By endpoint: until then it is given no marks and no hints of ours.
    left_alone: Vec<Instant>,
    /// By model: whose turn it is.
    turns: Vec<u64>,
    /// How each tenant uses each model.
    habits: HashMap<(TenantId, ModelId), Box<Habit>, FixedHasher>,
    unseen: Box<Habit>,
}

/// How one endpoint answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tempo {
    pub first: FirstToken,
    pub pace: Pace,
    /// Its tokens, to those that we count.
    pub weight: Weight,
}

/// What was expected of an attempt, until it settles.
#[derive(Debug)]
pub(super) struct Foreseen {
    scope: ScopeKey,
    expected: Expected,
    begun: Begun,
    /// Until `begun` is given back.
    is_open: bool,
    /// The whole prompt, as the caches count it.
    input: Tokens,
    /// What is expected to be read, and the most that any place was expected to have, in the provider's tokens.
    pub read: Tokens,
    pub best: Tokens,
}

/// Conversations and heads that a shard's doorkeeper knows: 2.5 MiB, taken with the first prompt that could be marked.
const KEEPER_RECORDS: usize = 65_536;
/// Families of prompts whose rates a shard knows: 128 KiB.
const RATES: usize = 4_096;
/// OpenAI docs, prompt caching, read 2026-08: a request is led by a hash of its first tokens, "typically 256".
const FAMILY: Tokens = Tokens(256);

/// Tenants and models whose habits are known apart: 400 bytes each.
const HABITS_MAX: usize = 4_096;
impl Caches {
    pub fn new(secret: InstanceSecret, capacity: usize) -> Self {
        Self {
            warmth: Warmth::new(capacity),
            secret,
            elements: Elements::new(),
            chain: Chain::new(),
            keeper: Doorkeeper::new(KEEPER_RECORDS),
            rates: Rates::new(RATES),
        }
    }

    /// What was read last.
    pub fn elements(&self) -> &Elements {
        &self.elements
    }

    /// Of the prompt that was read last.
    pub fn class_of(&self, bounds: &[Boundary]) -> Class {
        let spots: Vec<_> = self.elements.spots().collect();
        let (marks, nested) = self.elements.marks();
        let prompt = Prompt {
            bounds,
            spots: &spots,
            marks,
            nested,
        };
        // Of what is asked again all was said before.
        prompt.class(self.chain.tokens())
    }

    /// Names what the prompt that was read last has in common with others that a provider would send to the same machine: its first tokens.
    pub fn family(&mut self, body: &[u8], salt: &Salt) -> Fingerprint {
        let first = Blocks {
            size: FAMILY,
            after: FAMILY,
        };
        self.chain.begin(salt, Some(first));
        for element in self.elements.iter(body) {
            self.chain.feed(&element);
            if let Some(bound) = self
                .chain
                .boundaries()
                .first()
                .filter(|b| b.tokens() >= FAMILY)
            {
                return bound.fingerprint;
            }
        }
        self.chain
            .boundaries()
            .last()
            .map_or(self.chain.opener(), |b| b.fingerprint)
    }

    pub fn secret(&self) -> &InstanceSecret {
        &self.secret
    }

    /// Reads a prompt. `None` for what is no prompt: nothing is expected of it then. One pass over the body, one over what counts of it.
    pub fn read(
        &mut self,
        (dialect, body): (DialectName, &[u8]),
        blocks: Option<Blocks>,
        salt: &Salt,
        beta: Option<&str>,
    ) -> Option<Reading> {
        self.elements.read(dialect, body).ok()?;
        self.chain.begin(salt, blocks);
        if let Some(beta) = beta {
            // It stands in a header, and is a part of the cache's key all the same (Anthropic docs, prompt caching, read 2026-08).
            self.chain.feed(&Element {
                kind: ElementKind::Param,
                bytes: beta.as_bytes(),
                weight: 0,
                mark: None,
            });
        }
        for element in self.elements.iter(body) {
            self.chain.feed(&element);
        }
        self.chain.end();
        Some(Reading {
            dialect,
            blocks,
            bounds: self.chain.boundaries().into(),
            help: None,
            opener: self.chain.opener(),
            class: None,
            tokens: self.chain.tokens(),
        })
    }
}

impl std::fmt::Debug for Caches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caches")
            .field("warmth", &self.warmth.size())
            .finish_non_exhaustive()
    }
}

impl Reading {
    /// Whether it is how a cache of these rules sees the prompt in this dialect.
    pub fn is_for(&self, dialect: DialectName, rules: &Rules) -> bool {
        self.dialect == dialect && self.blocks == blocks(rules)
    }

    pub fn asked<'a>(&'a self, scope: ScopeKey, rules: &'a Rules) -> Asked<'a> {
        Asked {
            bounds: &self.bounds,
            scope,
            rules,
        }
    }
}

/// How the rules cut a prompt.
pub(super) fn blocks(rules: &Rules) -> Option<Blocks> {
    match rules.matching {
        Matching::Blocks(blocks) => Some(blocks),
        Matching::Breakpoints { .. } | Matching::Whole => None,
    }
}

impl Forecast {
    pub fn new(config: &Config, secret: &InstanceSecret) -> Self {
        let scopes = config.endpoints.iter().map(|endpoint| {
            let provider = &config.providers[endpoint.provider.0 as usize].name;
            let scope = |pool: &PoolId| {
                let cache = &config.pools[pool.0 as usize].cache_scope;
                secret.scope(provider, cache, &endpoint.name)
            };
            endpoint.pools.iter().map(scope).collect()
        });
        let endpoints = config.endpoints.iter();
        Self {
            salts: config
                .tenants
                .iter()
                .map(|t| secret.salt(&t.name))
                .collect(),
            scopes: scopes.collect(),
            steady: endpoints
                .map(|e| vec![Steadiness::default(); e.pools.len()])
                .collect(),
            tempo: vec![Tempo::default(); config.endpoints.len()],
            left_alone: vec![Instant::default(); config.endpoints.len()],
            turns: vec![0; config.models.len()],
            habits: HashMap::default(),
            unseen: Box::default(),
        }
    }

    /// Goes on with what has kept its names.
    pub fn inherit(&mut self, config: &Config, from: &Self, old: &Config) {
        let place = |config: &Config, at: usize| {
            let endpoint = &config.endpoints[at];
            let provider = config.providers[endpoint.provider.0 as usize].name.clone();
            (provider, endpoint.name.clone())
        };
        let known: HashMap<_, usize> = (0..old.endpoints.len())
            .map(|at| (place(old, at), at))
            .collect();
        for at in 0..config.endpoints.len() {
            let Some(&before) = known.get(&place(config, at)) else {
                continue;
            };
            self.tempo[at] = from.tempo[before];
            self.left_alone[at] = from.left_alone[before];
            let name = |config: &Config, pool: PoolId| config.pools[pool.0 as usize].name.clone();
            for (n, pool) in config.endpoints[at].pools.iter().enumerate() {
                let mut pools = old.endpoints[before].pools.iter();
                if let Some(was) = pools.position(|p| name(old, *p) == name(config, *pool)) {
                    self.steady[at][n] = from.steady[before][was];
                }
            }
        }
        let tenant = |id: TenantId| {
            let name = &old.tenants[id.0 as usize].name;
            config.tenants.iter().position(|t| t.name == *name)
        };
        let model = |id: ModelId| config.model_names.get(&old.models[id.0 as usize].name);
        for ((of, at), habit) in &from.habits {
            if let (Some(of), Some(at)) = (tenant(*of), model(*at)) {
                self.habits
                    .insert((TenantId(of as u16), *at), habit.clone());
            }
        }
    }

    pub fn salt(&self, tenant: TenantId) -> Salt {
        self.salts[tenant.0 as usize]
    }

    pub fn scope(&self, endpoint: EndpointId, place: usize) -> ScopeKey {
        self.scopes[endpoint.0 as usize][place]
    }

    pub fn tempo(&self, endpoint: EndpointId) -> &Tempo {
        &self.tempo[endpoint.0 as usize]
    }

    pub fn fails(&self, endpoint: EndpointId, place: usize, now: Instant) -> f64 {
        self.steady[endpoint.0 as usize][place].fails(now)
    }

    pub fn habit(&self, tenant: TenantId, model: ModelId) -> &Habit {
        self.habits.get(&(tenant, model)).unwrap_or(&self.unseen)
    }

    /// Which of `count` places is next.
    pub fn turn(&self, model: ModelId, place: usize, count: usize) -> u64 {
        let count = count.max(1) as u64;
        let next = self.turns[model.0 as usize] % count;
        (place as u64 + count - next) % count
    }

    /// One has gone out: it is the next one's turn.
    pub fn took_turn(&mut self, model: ModelId) {
        let turn = &mut self.turns[model.0 as usize];
        *turn = turn.wrapping_add(1);
    }

    /// It refused what we added to a request.
    pub fn leave_alone(&mut self, endpoint: EndpointId, until: Instant) {
        self.left_alone[endpoint.0 as usize] = until;
    }

    pub fn is_left_alone(&self, endpoint: EndpointId, now: Instant) -> bool {
        now < self.left_alone[endpoint.0 as usize]
    }

    /// Whether the place failed a call.
    pub fn saw_call(&mut self, endpoint: EndpointId, place: usize, failed: bool, now: Instant) {
        self.steady[endpoint.0 as usize][place].saw(failed, now);
    }

    /// Whether a request goes on with a conversation.
    pub fn saw_begin(&mut self, tenant: TenantId, model: ModelId, goes_on: bool) {
        if let Some(habit) = self.habit_mut(tenant, model) {
            habit.saw_begin(goes_on);
        }
    }

    /// An answer is whole: what it used, of a prompt that we took for `counted` tokens, and its times, where it was streamed.
    pub fn saw_answer(
        &mut self,
        (tenant, model): (TenantId, ModelId),
        endpoint: EndpointId,
        used: Used,
        counted: Option<Tokens>,
        times: Option<(Duration, Duration)>,
    ) {
        if let Some(habit) = self.habit_mut(tenant, model) {
            habit.lengths.saw(used.output);
        }
        let tempo = &mut self.tempo[endpoint.0 as usize];
        if let Some(counted) = counted {
            tempo.weight.saw(counted, used.input + used.cache_read);
        }
        if let Some((first, rest)) = times {
            tempo.first.saw(used.input, first);
            tempo.pace.saw(used.output, rest);
        }
    }

    /// A call of so many tokens that were not read from a cache had no answer after `time`, and was given up.
    pub fn saw_silence(&mut self, endpoint: EndpointId, uncached: Tokens, time: Duration) {
        let first = &mut self.tempo[endpoint.0 as usize].first;
        if time > first.expected(uncached) {
            first.saw(uncached, time);
        }
    }

    fn habit_mut(&mut self, tenant: TenantId, model: ModelId) -> Option<&mut Habit> {
        let room = self.habits.len() < HABITS_MAX || self.habits.contains_key(&(tenant, model));
        room.then(|| &mut **self.habits.entry((tenant, model)).or_default())
    }
}

impl Foreseen {
    /// Of a prompt of `input` tokens, `read` were expected here and `best` at the best place.
    pub fn new(
        scope: ScopeKey,
        expected: Expected,
        begun: Begun,
        input: Tokens,
        (read, best): (Tokens, Tokens),
    ) -> Self {
        Self {
            scope,
            expected,
            begun,
            is_open: true,
            input,
            read,
            best,
        }
    }

    /// The whole prompt, as the caches count it.
    pub fn input(&self) -> Tokens {
        self.input
    }

    /// The answer has begun.
    pub fn warmed(&mut self, warmth: &mut Warmth, now: Instant) {
        if std::mem::take(&mut self.is_open) {
            warmth.warmed(&self.begun, now);
        }
    }

    /// There was no answer.
    pub fn failed(&mut self, warmth: &mut Warmth) {
        if std::mem::take(&mut self.is_open) {
            warmth.failed(&self.begun);
        }
    }

    /// It was billed: of a prompt of `input` tokens, `read` came from the cache. Whether a promise turned out broken.
    pub fn billed(&self, warmth: &mut Warmth, input: Tokens, read: Tokens) -> Option<Drift> {
        // In tokens as the index counts them.
        let share = self.input.0 as f64 / input.0.max(1) as f64;
        let read = Tokens((read.0 as f64 * share) as u64);
        warmth.billed(self.scope, &self.expected, &self.begun, read)
    }
}
