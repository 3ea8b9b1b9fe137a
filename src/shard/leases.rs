//! Limits that the shards of an instance share: who grants of which, who asks, and the letters between them.
//!
//! Each limit has one host among the shards, by the hash of its name, so that none of them grants all. Guests admit by what they hold and
//! ask in the background; the letters go as gossip goes, and may be lost. With one shard nothing of this happens. Where several instances
//! share limits, hosts ask who grants to instances, by mail to the I/O core, also when there is one shard.
//!
//! Cost: a request pays some comparisons (`Limit::reserve`). A limit that is in use has five asks a second and shard, one more when it runs
//! low or somebody waits; one that is not has none, and no timer.

use crate::base::{ClientKeyId, ExchangeId, FixedHasher, Instant, PoolId, ShardId, TenantId};
use crate::config::{ClientKey, Config, Pool as PoolConfig, Tenant};
use crate::policy::admission::Allowance;
use crate::policy::candidate::Candidate;
use crate::policy::capacity::leased::shard_of;
use crate::policy::capacity::{Limit, Room, Seat, Spoken, Word};
use crate::policy::lease::{HolderId, Reply, Terms, UpAsk, UpReply};
use crate::shard::allowance::Who;
use crate::shard::desk::{Desk, Epoch, Pool};
use crate::shard::gossip::{Gossip, News};
use crate::shard::line::Claim;
use crate::shard::{Mail, Output};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::rc::Rc;
use std::sync::Arc;

/// What a tenant or a key may use.
type Allowed = Rc<RefCell<Allowance>>;

/// A limit's name: the same at all shards, under all configurations that have it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(u64);

/// Who is told something of a limit, and what.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Letter {
    Word(Box<Word>),
    Reply(Box<Reply>),
    /// Others wait for what is held.
    Recall,
}

/// A limit that is leased.
#[derive(Clone, Debug)]
enum Leased {
    Pool(Rc<RefCell<Pool>>, u8),
    Tenant(Rc<RefCell<Allowance>>),
}

/// A host's word to who grants to instances.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseAsk {
    scope: Scope,
    /// The limit's name among instances: the same under every configuration.
    pub name: Arc<str>,
    pub shard: ShardId,
    pub ask: UpAsk,
}

/// What the host is told.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseReply {
    scope: Scope,
    reply: UpReply,
}

impl LeaseAsk {
    /// As a script in Redis reads it.
    #[must_use]
    pub fn numbers(&self) -> Vec<i64> {
        self.ask.numbers(Terms::of(self.ask.limits).lease)
    }

    /// What the script said; `None` where a later ask has overtaken this one.
    #[must_use]
    pub fn answered(&self, row: &[i64]) -> Option<LeaseReply> {
        let reply = self.ask.answered(row)?;
        let scope = self.scope;
        Some(LeaseReply { scope, reply })
    }

    /// The same for every ask of one holder of one limit.
    #[must_use]
    pub fn place(&self) -> (ShardId, u64, u64) {
        (self.shard, self.scope.0, self.ask.ask.holder.0)
    }
}

/// Those of one configuration; none where there is one shard.
#[derive(Debug, Default)]
pub(super) struct Leaseholds {
    by_scope: HashMap<Scope, Leased, FixedHasher>,
    /// What instances call them; none where this one is alone.
    names: HashMap<Scope, Arc<str>, FixedHasher>,
    pools: Vec<Vec<Scope>>,
    tenants: Vec<Scope>,
    /// Of client keys with limits of their own.
    keys: Vec<Option<Scope>>,
    /// To be looked at when the step is over.
    stirred: SmallVec<[Scope; 8]>,
}

/// Those in use, of all configurations.
#[derive(Debug)]
pub(super) struct Leases {
    /// By the epoch they were found in.
    active: BTreeMap<(u32, Scope), Leased>,
    /// When the next of them wants to be looked at.
    pub at: Instant,
    letters: Vec<(ShardId, Scope, Letter)>,
    /// To who grants to instances.
    up: Vec<LeaseAsk>,
    parked: SmallVec<[Parked; 4]>,
}

/// Whose size the host is told, of those who wait for a limit.
#[derive(Clone, Copy, Debug)]
struct Parked {
    of: (u32, Scope),
    exchange: ExchangeId,
    since: Instant,
}

/// Where an instance's limits are leased.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here {
    pub shard: ShardId,
    pub shards: u16,
    /// Different in every life.
    pub seed: u64,
    /// This shard lived before.
    pub recovers: bool,
    /// As many instances share them at most; `None`: this one is alone.
    pub instances: Option<u64>,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            active: BTreeMap::new(),
            at: Instant::NEVER,
            letters: Vec::new(),
            up: Vec::new(),
            parked: SmallVec::new(),
        }
    }
}

impl Scope {
    fn of(what: impl Hash) -> Self {
        Self(FixedHasher::default().hash_one(what))
    }

    pub fn of_tenant(tenant: &Tenant) -> Self {
        let l = &tenant.limits;
        Self::of(("tenant", &tenant.name, l.rpm, l.tpm.map(|n| n.0)))
    }

    pub fn of_key(key: &ClientKey) -> Self {
        let l = &key.rights.limits;
        Self::of(("key", &key.name, l.rpm, l.tpm.map(|n| n.0)))
    }

    /// A pool's limits are told apart by their place, and are others when any of them changes, since then the pool begins anew.
    pub fn of_limit(config: &Config, pool: &PoolConfig, place: usize) -> Self {
        let provider = &config.providers[pool.provider.0 as usize].name;
        Self::of(("pool", provider, &pool.name, &pool.limits, place))
    }

    fn host(self, shards: u16) -> ShardId {
        ShardId((self.0 % u64::from(shards.max(1))) as u16)
    }
}

impl Here {
    /// Its seat at a limit that `epoch` begins with.
    pub fn seat(&self, scope: Scope, epoch: u32) -> Seat {
        Seat {
            shard: self.shard.0,
            shards: self.shards,
            life: Scope::of((self.seed, epoch)).0,
            hosts: scope.host(self.shards) == self.shard,
            // What a new configuration brings nobody has granted yet.
            recovers: self.recovers && epoch == 0,
            instances: self.instances,
        }
    }
}

impl Leased {
    fn with<T>(&self, what: impl FnOnce(&mut Limit) -> T) -> Option<T> {
        match self {
            Self::Pool(pool, place) => {
                let pool = &mut *pool.borrow_mut();
                pool.limits.get_mut(usize::from(*place)).map(what)
            }
            Self::Tenant(tenant) => Some(what(tenant.borrow_mut().limit())),
        }
    }
}

impl Leaseholds {
    pub fn new(
        config: &Config,
        shards: u16,
        pools: &[Rc<RefCell<Pool>>],
        (tenants, keys): (&[Allowed], &[Option<Allowed>]),
    ) -> Self {
        let mut found = Self::default();
        let with_others = config.redis.is_some();
        if shards < 2 && !with_others {
            return found;
        }
        let mut names = HashMap::<Scope, Arc<str>, FixedHasher>::default();
        let mut named = |scope: Scope, name: &dyn Fn() -> String| {
            if with_others {
                names.insert(scope, name().into());
            }
        };
        for (of, pool) in config.pools.iter().zip(pools) {
            let scopes = 0..of.limits.len();
            let scopes: Vec<Scope> = scopes.map(|i| Scope::of_limit(config, of, i)).collect();
            for (i, scope) in scopes.iter().enumerate() {
                let provider = &config.providers[of.provider.0 as usize].name;
                let models = &of.limits[i].models;
                named(*scope, &|| {
                    format!("pool:{provider}:{}:{}", of.name, models.join(","))
                });
                let leased = Leased::Pool(Rc::clone(pool), i as u8);
                found.by_scope.insert(*scope, leased);
            }
            found.pools.push(scopes);
        }
        for (of, tenant) in config.tenants.iter().zip(tenants) {
            let scope = Scope::of_tenant(of);
            named(scope, &|| format!("tenant:{}", of.name));
            let leased = Leased::Tenant(Rc::clone(tenant));
            found.by_scope.insert(scope, leased);
            found.tenants.push(scope);
        }
        for (of, key) in config.client_keys.iter().zip(keys) {
            let scope = key.as_ref().map(|key| {
                let scope = Scope::of_key(of);
                named(scope, &|| format!("key:{}", of.name));
                let leased = Leased::Tenant(Rc::clone(key));
                found.by_scope.insert(scope, leased);
                scope
            });
            found.keys.push(scope);
        }
        found.names = names;
        found
    }

    /// Something was drawn or given back: looks after the lease when the step is over, if it is time.
    pub fn stir(&mut self, pool: PoolId, place: u8, limit: &mut Limit, now: Instant) {
        if limit.stirs(now)
            && let Some(scopes) = self.pools.get(pool.0 as usize)
        {
            self.stirred.extend(scopes.get(usize::from(place)).copied());
        }
    }

    pub fn stir_tenant(&mut self, tenant: TenantId, limit: &mut Limit, now: Instant) {
        if limit.stirs(now) {
            self.stirred
                .extend(self.tenants.get(tenant.0 as usize).copied());
        }
    }

    pub fn stir_key(&mut self, key: ClientKeyId, limit: &mut Limit, now: Instant) {
        if limit.stirs(now)
            && let Some(scope) = self.keys.get(key.0 as usize)
        {
            self.stirred.extend(*scope);
        }
    }
}

impl Desk {
    /// Says what is to be said of leases at `now`; true if this shard has granted itself something, and those who wait may try.
    pub fn renew_leases(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        // A comparison or two after every input, where there is nothing to look at.
        let stirred = |epoch: &Epoch| !epoch.leaseholds.stirred.is_empty();
        let quiet = now < self.leases.at && self.leases.letters.is_empty();
        if quiet && !self.epochs.iter().any(stirred) {
            return false;
        }
        let mut look: SmallVec<[(u32, Scope); 8]> = SmallVec::new();
        for epoch in &mut self.epochs {
            for scope in std::mem::take(&mut epoch.leaseholds.stirred) {
                if let Some(leased) = epoch.leaseholds.by_scope.get(&scope) {
                    let of = (epoch.number, scope);
                    self.leases.active.insert(of, leased.clone());
                    look.push(of);
                }
            }
        }
        if now >= self.leases.at {
            self.leases.at = Instant::NEVER;
            look = self.leases.active.keys().copied().collect();
        }
        let mut granted = false;
        for of in look {
            granted |= self.renew(of, now);
        }
        let under = self.config().generation;
        for (shard, scope, letter) in self.leases.letters.drain(..) {
            let news = News::Lease { scope, letter };
            let gossip = Gossip { under, news };
            out.push(Output::TellOne { shard, gossip });
        }
        for ask in self.leases.up.drain(..) {
            out.push(Output::Post(Mail::Lease(Box::new(ask))));
        }
        if granted {
            self.line.stir();
        }
        granted && self.line.len() > 0
    }

    fn renew(&mut self, of: (u32, Scope), now: Instant) -> bool {
        let Some(leased) = self.leases.active.get(&of) else {
            return false;
        };
        let spoken = leased.with(|limit| {
            let spoken = limit.speak(now);
            let hoarders = match spoken {
                Spoken::Answered => limit.hoarders(),
                Spoken::Nothing | Spoken::Ask(_) => Vec::new(),
            };
            let up = limit.speak_up(now);
            (spoken, hoarders, up, limit.wakes_at())
        });
        let Some((spoken, hoarders, up, wakes_at)) = spoken else {
            return false;
        };
        match wakes_at {
            Instant::NEVER => {
                self.leases.active.remove(&of);
            }
            at => self.leases.at = self.leases.at.min(at),
        }
        if let Some(ask) = up {
            self.ask_above(of, ask);
        }
        self.call_back(of.1, hoarders);
        match spoken {
            Spoken::Nothing => false,
            Spoken::Answered => true,
            Spoken::Ask(word) => {
                let host = of.1.host(self.shards);
                self.leases.letters.push((host, of.1, Letter::Word(word)));
                false
            }
        }
    }

    fn ask_above(&mut self, of: (u32, Scope), ask: UpAsk) {
        let shard = self.shard;
        if let Some(name) = self.epoch(of.0).leaseholds.names.get(&of.1) {
            let (scope, name) = (of.1, Arc::clone(name));
            self.leases.up.push(LeaseAsk {
                scope,
                name,
                shard,
                ask,
            });
        }
    }

    /// What who grants to instances has said.
    pub fn hear_from_above(&mut self, now: Instant, told: &LeaseReply) {
        for epoch in &mut self.epochs {
            let holds = &mut epoch.leaseholds;
            let leased = holds.by_scope.get(&told.scope);
            let heard = leased.and_then(|leased| leased.with(|l| l.hear_up(&told.reply, now)));
            if heard == Some(true) {
                holds.stirred.push(told.scope);
                self.line.stir();
                return;
            }
        }
    }

    /// Tells those who hold what others wait for.
    fn call_back(&mut self, scope: Scope, hoarders: Vec<HolderId>) {
        for shard in hoarders.into_iter().map(|who| ShardId(shard_of(who))) {
            match shard == self.shard {
                true => self.recalled(scope),
                false => self.leases.letters.push((shard, scope, Letter::Recall)),
            }
        }
    }

    fn recalled(&mut self, scope: Scope) {
        for epoch in &mut self.epochs {
            if let Some(leased) = epoch.leaseholds.by_scope.get(&scope) {
                leased.with(Limit::recall);
                epoch.leaseholds.stirred.push(scope);
            }
        }
    }

    /// A letter of another shard.
    pub fn hear_of_lease(&mut self, now: Instant, scope: Scope, letter: &Letter) {
        match letter {
            Letter::Recall => self.recalled(scope),
            Letter::Reply(reply) => {
                let heard = |leased: &Leased| leased.with(|limit| limit.hear(reply, now));
                let mut leases = self.epochs.iter_mut().map(|epoch| &mut epoch.leaseholds);
                let found = leases.find(|of| {
                    let leased = of.by_scope.get(&scope);
                    leased.and_then(heard) == Some(true)
                });
                if let Some(of) = found {
                    of.stirred.push(scope);
                    self.line.stir();
                }
            }
            Letter::Word(word) => {
                // Under a configuration that is not here yet it is asked in vain, and asked again.
                let leases = self.epochs.iter().rev();
                let leased = leases.filter_map(|epoch| epoch.leaseholds.by_scope.get(&scope));
                let answer = |limit: &mut Limit| (limit.answer(word, now), limit.hoarders());
                let answered = leased.map(|leased| leased.with(answer)).next().flatten();
                let alone = self.config().redis.is_none();
                let found = |epoch: &&mut Epoch| epoch.leaseholds.by_scope.contains_key(&scope);
                if !alone && let Some(epoch) = self.epochs.iter_mut().rev().find(found) {
                    // What a guest asks for may have to be asked for above.
                    epoch.leaseholds.stirred.push(scope);
                }
                let Some((reply, hoarders)) = answered else {
                    return;
                };
                if let Some(reply) = reply {
                    let to = ShardId(shard_of(reply.holder));
                    self.leases
                        .letters
                        .push((to, scope, Letter::Reply(Box::new(reply))));
                }
                self.call_back(scope, hoarders);
            }
        }
    }

    /// `exchange` waits since `since` for one of these places: where it lacks what is leased, its size is what is asked for.
    pub fn park<'a>(
        &mut self,
        exchange: ExchangeId,
        epoch: u32,
        places: impl Iterator<Item = &'a Candidate>,
        since: Instant,
        now: Instant,
    ) {
        if self.shards < 2 && self.config().redis.is_none() {
            return;
        }
        for place in places.filter(|place| place.room != Room::Never) {
            let found = self.epoch(epoch);
            let number = found.number;
            let claim = found.claim(place.endpoint, place.pool);
            let limits = found.limits(place.endpoint, place.pool).to_vec();
            let behind = self.line.behind(claim);
            for limit in limits {
                let scopes = &self.epoch(epoch).leaseholds.pools;
                let Some(scope) = scopes
                    .get(place.pool.0 as usize)
                    .and_then(|scopes| scopes.get(usize::from(limit)))
                else {
                    continue;
                };
                let parked = Parked {
                    of: (number, *scope),
                    exchange,
                    since,
                };
                self.park_at(parked, place.ask, behind, now);
            }
        }
    }

    /// The same for what its tenant and its key may draw.
    pub fn park_at_door(
        &mut self,
        exchange: ExchangeId,
        (epoch, who): (u32, Who),
        ask: crate::policy::capacity::Ask,
        since: Instant,
        now: Instant,
    ) {
        let behind = self.line.behind(Claim::tenant(who.0));
        let epoch = self.epoch(epoch);
        let (number, leases) = (epoch.number, &epoch.leaseholds);
        let tenant = leases.tenants.get(who.0.0 as usize).copied();
        let key = leases.keys.get(who.1.0 as usize).copied().flatten();
        for scope in tenant.into_iter().chain(key) {
            let parked = Parked {
                of: (number, scope),
                exchange,
                since,
            };
            self.park_at(parked, ask, behind, now);
        }
    }

    fn park_at(
        &mut self,
        new: Parked,
        ask: crate::policy::capacity::Ask,
        behind: u64,
        now: Instant,
    ) {
        let of = |known: &Parked| known.of == new.of;
        let first = self.leases.parked.iter().position(of);
        let waits = |known: &Parked| self.line.is_waiting(known.exchange);
        // Who came first is to go first; how many wait behind it the next round tells.
        let comes_first = first.map(|at| self.leases.parked[at]).filter(|known| {
            known.exchange != new.exchange && known.since <= new.since && waits(known)
        });
        if comes_first.is_some() {
            return;
        }
        let holds = &mut self.epoch(new.of.0).leaseholds;
        let Some(leased) = holds.by_scope.get(&new.of.1) else {
            return;
        };
        if leased.with(|limit| limit.park(ask, new.since, behind, now)) != Some(true) {
            return;
        }
        holds.stirred.push(new.of.1);
        match first {
            Some(at) => self.leases.parked[at] = new,
            None => self.leases.parked.push(new),
        }
    }

    /// Nobody waits in the name of `exchange` any more.
    pub fn unpark(&mut self, exchange: ExchangeId) {
        self.unpark_who(|parked, _| parked.exchange == exchange);
    }

    /// The same of all who have left the line.
    pub fn unpark_who_left(&mut self) {
        self.unpark_who(|parked, desk| !desk.line.is_waiting(parked.exchange));
    }

    fn unpark_who(&mut self, who: impl Fn(&Parked, &Self) -> bool) {
        if self.leases.parked.is_empty() {
            return;
        }
        let all = std::mem::take(&mut self.leases.parked);
        let (gone, kept): (SmallVec<[Parked; 4]>, _) = all.into_iter().partition(|p| who(p, self));
        self.leases.parked = kept;
        for parked in gone {
            let epoch = self.epoch(parked.of.0);
            if let Some(leased) = epoch.leaseholds.by_scope.get(&parked.of.1) {
                leased.with(Limit::unpark);
            }
        }
    }
}

impl Epoch {
    /// A call at this place, which stands in no line, would like to go soon.
    pub fn wish(&mut self, at: (crate::base::EndpointId, PoolId), now: Instant) {
        let pool = Rc::clone(&self.pools[at.1.0 as usize]);
        let limits = self.limits(at.0, at.1).to_vec();
        for place in limits {
            let limit = &mut pool.borrow_mut().limits[usize::from(place)];
            limit.wish(crate::policy::capacity::Ask::default(), now);
            self.leaseholds.stir(at.1, place, limit, now);
        }
    }
}
