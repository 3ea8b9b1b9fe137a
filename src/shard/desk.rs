//! What exchanges share: pools, tenants, breakers, keys, timers, those who wait.
//!
//! All of it belongs to one epoch of the configuration; an exchange that began under an old one settles there. Pools and tenants that a
//! reload leaves as they are belong to both epochs: what is held or spent under either counts for both.

use crate::base::{
    AttemptId, ClientKeyId, EndpointId, ExchangeId, FixedHasher, Instant, KeyId, NanoUsd, Now,
    PoolId, Rng, ShardId, Slab, Str, Tokens,
};
use crate::config::Config;
use crate::policy::admission::Allowance;
use crate::policy::capacity::{
    Ask, Closed, Dimension, Limit, Numbers, Reservation, Room, Told, Used, Why, Worth, of_class,
};
use crate::policy::fingerprint::InstanceSecret;
use crate::policy::health::{Breaker, Patience};
use crate::shard::allowance::{self, Spent};
use crate::shard::cached::Table;
use crate::shard::credentials::Credentials;
use crate::shard::decisions::Decisions;
use crate::shard::forecast::{Caches, Forecast};
use crate::shard::issued::{self, Issued, Place, PlaceName};
use crate::shard::keep_warm::Warmers;
use crate::shard::kept::Bill;
use crate::shard::leases::{Here, Leaseholds, Leases, Scope};
use crate::shard::line::{Claim, Line};
use crate::shard::servers::Servers;
use crate::shard::{LogLine, Mail, Meters, Output, Setup};
use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::ops::BitOr as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Desk {
    pub shard: ShardId,
    pub shards: u16,
    pub rng: Rng,
    /// The newest last; older ones stay until their exchanges have left.
    pub(super) epochs: Vec<Epoch>,
    next_epoch: u32,
    pub timers: Timers,
    pub meters: Meters,
    pub attempts: Slab<ExchangeId>,
    pub line: Line,
    /// What is leased of limits that all shards share.
    pub leases: Leases,
    seed: u64,
    pools: u32,
    /// Exchanges in a second or later attempt.
    pub retrying: usize,
    /// Calls that may be begun beside late ones.
    pub hedges: f64,
    /// Ledger rows the I/O core has room for.
    pub ledger_room: usize,
    pub draining: bool,
    /// Answers are stored, and there is room for more.
    pub spools: bool,
    pub spool_room: bool,
    /// Exchanges that are finished for nobody.
    pub abandoned: BTreeSet<ExchangeId>,
    /// When the date is told again to what is counted by the day.
    calendar_at: Instant,
    /// Who can be asked for what providers keep.
    pub issued: Issued,
    /// Who made what only its maker can read.
    pub signed: Issued,
    /// Prefixes that providers keep under names.
    pub cached: Table,
    /// Questions that are asked again before their cache entries expire.
    pub warmers: Warmers,
    /// What was billed of kept answers of late.
    pub bills: VecDeque<Bill>,
    /// Rendered names of exchanges: a part of the seed, then a count.
    name: u64,
    named: u64,
    /// Why the last requests went where they went.
    pub decisions: Decisions,
    /// What is believed of prompt caches.
    pub caches: Caches,
    /// What shall be logged when the step is over.
    pub alarms: Vec<LogLine>,
    /// Reused for what is written to clients.
    pub scratch: BytesMut,
}

/// The state that belongs to one configuration.
#[derive(Debug)]
pub(super) struct Epoch {
    pub number: u32,
    pub config: Arc<Config>,
    exchanges: usize,
    keys_by_hash: HashMap<[u8; 32], ClientKeyId, FixedHasher>,
    /// Shared with the epochs before and after that know the same tenant with the same limits.
    pub(super) tenants: Vec<Rc<RefCell<Allowance>>>,
    /// By client key: of those with limits of their own. Shared likewise.
    pub(super) keys: Vec<Option<Rc<RefCell<Allowance>>>>,
    /// Shared likewise.
    pub(super) pools: Vec<Rc<RefCell<Pool>>>,
    pub(super) leaseholds: Leaseholds,
    /// By endpoint and place of the pool in it: which limits of the pool apply.
    draws: Vec<Vec<SmallVec<[u8; 2]>>>,
    breakers: Vec<Vec<Breaker>>,
    /// By the same: the provider refused for a limit (429), and said or let guess until when. Kept by endpoint, since a limit of one model
    /// must not close the others (FIELD-BUGS 30), and known also where no limit is configured.
    closed: Vec<Vec<Instant>>,
    /// By key: left out until then, and why.
    dead: Vec<Option<Closed>>,
    pub(super) credentials: Credentials,
    pub(super) servers: Servers,
    pub(super) forecast: Forecast,
    next_key: Vec<usize>,
    places: HashMap<PlaceName, Option<Place>, FixedHasher>,
}

/// A pool's standing.
#[derive(Debug)]
pub(super) struct Pool {
    /// Different for each that ever was.
    number: u32,
    pub(super) limits: Vec<Limit>,
    /// Calls in flight, counted also where no limit is configured.
    calls: u64,
}

/// What an attempt holds of a pool.
#[derive(Debug)]
#[must_use = "must be released"]
pub(super) struct Hold {
    pool: PoolId,
    held: SmallVec<[(u8, Reservation); 2]>,
}

/// What is open at a shard; all zero at rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub exchanges: usize,
    pub clients: usize,
    pub attempts: usize,
    pub waiting: usize,
    pub pool_calls: u64,
    pub limits_held: u64,
    pub tenants_held: u64,
    pub retrying: usize,
    pub old_epochs: usize,
}

impl Desk {
    pub fn new(setup: Setup, mut rng: Rng) -> Self {
        let spools = setup.config.spool.enabled;
        let Setup {
            config,
            id: shard,
            shards,
            seed,
            restarts,
            ..
        } = setup;
        let here = Here {
            shard,
            shards,
            seed,
            recovers: restarts > 0,
            instances: config.redis.as_ref().map(|redis| redis.instances_max),
        };
        let exchanges_max = config.limits.exchanges_max;
        let issued = Issued::new(config.limits.issued_max);
        let signed = Issued::new(config.limits.issued_max);
        let cached = Table::new(config.limits.issued_max);
        let ledger_room = config.ledger.backlog_rows_max;
        let name = rng.bits();
        let pools = config.pools.len() as u32;
        let caches = Caches::new(
            InstanceSecret::new(&setup.secret),
            config.limits.prefixes_max,
        );
        let mut epoch = Epoch::new(0, config, here, 0, caches.secret());
        epoch.lease(shards);
        Self {
            shard,
            shards,
            rng,
            epochs: vec![epoch],
            next_epoch: 1,
            timers: Timers::default(),
            meters: Meters::default(),
            // An exchange has at most two attempts at a time, and seldom more than one.
            attempts: Slab::new(exchanges_max.saturating_mul(2)),
            line: Line::default(),
            leases: Leases::default(),
            seed,
            pools,
            retrying: 0,
            hedges: 1.0,
            ledger_room,
            draining: false,
            spools,
            spool_room: true,
            abandoned: BTreeSet::new(),
            calendar_at: Instant::default(),
            issued,
            signed,
            cached,
            warmers: Warmers::default(),
            bills: VecDeque::new(),
            name,
            named: 0,
            decisions: Decisions::default(),
            caches,
            alarms: Vec::new(),
            scratch: BytesMut::new(),
        }
    }

    /// Counts what was spent before this process began. To be told once, before the first request.
    pub fn remember_spent(&mut self, spent: &Spent, now: Now) {
        let redis = self.config().redis.as_ref();
        let here = Here {
            shard: self.shard,
            shards: self.shards,
            seed: self.seed,
            recovers: false,
            instances: redis.map(|redis| redis.instances_max),
        };
        for epoch in &mut self.epochs {
            epoch.remember(spent, here, now);
        }
    }

    /// New exchanges begin under `config` from now on. What a pool of the same name has left is carried over.
    pub fn reload(&mut self, config: Arc<Config>) {
        let pools = config.pools.len() as u32;
        self.issued.hold(config.limits.issued_max);
        self.signed.hold(config.limits.issued_max);
        self.cached.hold(config.limits.issued_max);
        let here = Here {
            shard: self.shard,
            shards: self.shards,
            seed: self.seed,
            recovers: false,
            instances: config.redis.as_ref().map(|redis| redis.instances_max),
        };
        let secret = self.caches.secret();
        let mut epoch = Epoch::new(self.next_epoch, config, here, self.pools, secret);
        self.pools = self.pools.wrapping_add(pools);
        epoch.inherit(self.newest());
        epoch.lease(self.shards);
        self.next_epoch = self.next_epoch.wrapping_add(1);
        self.epochs.push(epoch);
        // Their places are counted by the configuration before.
        self.warmers.clear();
        self.calendar_at = Instant::default();
        self.drop_old_epochs();
    }

    /// Tells the date, once a second. Costs a comparison in between.
    pub fn heed_calendar(&mut self, now: Now) {
        if now.instant < self.calendar_at {
            return;
        }
        self.calendar_at = now.instant + Duration::from_secs(1);
        for epoch in &self.epochs {
            epoch.heed_calendar(now);
        }
    }

    pub fn newest(&self) -> &Epoch {
        self.epochs
            .last()
            .expect("an epoch is pushed at birth and the last is never dropped")
    }

    pub fn config(&self) -> &Arc<Config> {
        &self.newest().config
    }

    pub fn epoch(&mut self, number: u32) -> &mut Epoch {
        let at = self
            .epochs
            .iter()
            .position(|e| e.number == number)
            .unwrap_or(self.epochs.len() - 1);
        &mut self.epochs[at]
    }

    /// An exchange begins under the newest configuration.
    pub fn joined(&mut self) -> u32 {
        let epoch = self
            .epochs
            .last_mut()
            .expect("an epoch is pushed at birth and the last is never dropped");
        epoch.exchanges += 1;
        epoch.number
    }

    pub fn parted(&mut self, epoch: u32) {
        let epoch = self.epoch(epoch);
        epoch.exchanges = epoch.exchanges.saturating_sub(1);
        self.drop_old_epochs();
    }

    fn drop_old_epochs(&mut self) {
        let newest = self.newest().number;
        self.epochs
            .retain(|e| e.number == newest || e.exchanges > 0);
    }

    /// `stk_` and 28 hexadecimal digits: unique over processes and restarts as far as seeds are.
    /// `stk_` and 28 digits: the seed's, the shard's two, and a count.
    pub fn name_exchange(&mut self) -> Str {
        self.named += 1;
        let mut name = *b"stk_0000000000000000000000000000";
        hex(&mut name[4..20], self.name);
        hex(&mut name[20..22], u64::from(self.shard.0));
        hex(&mut name[22..], self.named);
        Str::try_from(Bytes::copy_from_slice(&name)).expect("digits are UTF-8")
    }

    pub fn log(&self, line: LogLine, out: &mut Vec<Output>) {
        if line.level <= self.config().log.level {
            out.push(Output::Post(Mail::Log(Box::new(line))));
        }
    }

    pub fn standing(&self, exchanges: usize, clients: usize) -> Standing {
        let pools = distinct(self.epochs.iter().flat_map(|e| &e.pools));
        let keys = self.epochs.iter().flat_map(|e| e.keys.iter().flatten());
        let tenants = distinct(self.epochs.iter().flat_map(|e| &e.tenants).chain(keys));
        Standing {
            exchanges,
            clients,
            attempts: self.attempts.len(),
            waiting: self.line.len(),
            pool_calls: pools.iter().map(|p| p.borrow().calls).sum(),
            limits_held: pools
                .iter()
                .map(|p| p.borrow().limits.iter().map(Limit::in_flight).sum::<u64>())
                .sum(),
            tenants_held: tenants.iter().map(|t| t.borrow().in_flight()).sum(),
            retrying: self.retrying,
            old_epochs: self.epochs.len() - 1,
        }
    }
}

/// Each thing once, however many epochs share it.
fn distinct<'a, T: 'a>(things: impl Iterator<Item = &'a Rc<RefCell<T>>>) -> Vec<&'a RefCell<T>> {
    let mut found: Vec<&Rc<RefCell<T>>> = Vec::new();
    for thing in things {
        if !found.iter().any(|known| Rc::ptr_eq(known, thing)) {
            found.push(thing);
        }
    }
    found.into_iter().map(|thing| &**thing).collect()
}

impl Epoch {
    /// `first_pool`: what its pools are numbered from.
    fn new(
        number: u32,
        config: Arc<Config>,
        here: Here,
        first_pool: u32,
        secret: &InstanceSecret,
    ) -> Self {
        let count = |n: Option<crate::base::Tokens>| n.map(|n| n.0);
        let keys = config.client_keys.iter().enumerate();
        Self {
            number,
            exchanges: 0,
            keys_by_hash: keys
                .map(|(i, key)| (key.sha256, ClientKeyId(i as u32)))
                .collect(),
            tenants: allowance::of_tenants(&config, here, number),
            keys: allowance::of_keys(&config, here, number),
            pools: config
                .pools
                .iter()
                .zip(first_pool..)
                .map(|(pool, at)| {
                    let numbers = |l: &crate::config::PoolLimit| Numbers {
                        requests: l.rpm,
                        tokens: count(l.tpm),
                        input: count(l.itpm),
                        output: count(l.otpm),
                        concurrent: l.concurrent,
                        requests_day: l.rpd,
                        tokens_day: count(l.tpd),
                        burst: l.burst,
                    };
                    let twin = |(i, l): (usize, &crate::config::PoolLimit)| {
                        let scope = Scope::of_limit(&config, pool, i);
                        Limit::leased_twin(numbers(l), l.rule, &here.seat(scope, number))
                    };
                    Rc::new(RefCell::new(Pool {
                        number: at,
                        limits: pool.limits.iter().enumerate().map(twin).collect(),
                        calls: 0,
                    }))
                })
                .collect(),
            leaseholds: Leaseholds::default(),
            draws: config
                .endpoints
                .iter()
                .map(|e| e.pools.iter().map(|p| applies(&config, e, *p)).collect())
                .collect(),
            breakers: config
                .endpoints
                .iter()
                .map(|e| vec![Breaker::default(); e.pools.len()])
                .collect(),
            closed: config
                .endpoints
                .iter()
                .map(|e| vec![Instant::default(); e.pools.len()])
                .collect(),
            dead: vec![None; config.keys.len()],
            credentials: Credentials::new(&config.keys),
            servers: Servers::new(&config),
            forecast: Forecast::new(&config, secret),
            next_key: vec![0; config.pools.len()],
            places: issued::places(&config),
            config,
        }
    }

    /// Its limits are leased, as they are now.
    fn lease(&mut self, shards: u16) {
        self.leaseholds = Leaseholds::new(
            &self.config,
            shards,
            &self.pools,
            (&self.tenants, &self.keys),
        );
    }

    /// Goes on with the pools and tenants that have kept their names and numbers, and with what providers have closed.
    fn inherit(&mut self, from: &Self) {
        for (new, pool) in self.config.pools.iter().enumerate() {
            let same = |old: &usize| {
                pool_name(&self.config, new) == pool_name(&from.config, *old)
                    && pool.limits == from.config.pools[*old].limits
            };
            if let Some(old) = (0..from.pools.len()).find(same) {
                self.pools[new] = Rc::clone(&from.pools[old]);
            }
        }
        for (new, tenant) in self.config.tenants.iter().enumerate() {
            let mut old = from.config.tenants.iter();
            let old = old.position(|t| t.name == tenant.name && t.limits == tenant.limits);
            if let Some(old) = old {
                self.tenants[new] = Rc::clone(&from.tenants[old]);
            }
        }
        for (new, key) in self.config.client_keys.iter().enumerate() {
            let mut old = from.config.client_keys.iter();
            let same = old.position(|k| k.name == key.name && k.rights.limits == key.rights.limits);
            if let Some(old) = same {
                self.keys[new].clone_from(&from.keys[old]);
            }
        }
        self.inherit_spending(from);
        self.inherit_closed(from);
        self.servers.inherit(&from.servers);
        self.forecast
            .inherit(&self.config, &from.forecast, &from.config);
        for (new, key) in self.config.keys.iter().enumerate() {
            if let Some(old) = from.config.keys.iter().position(|k| k == key) {
                self.dead[new] = from.dead[old];
            }
            self.credentials
                .inherit(KeyId(new as u16), &key.source, &from.credentials);
        }
    }

    fn inherit_closed(&mut self, from: &Self) {
        let named = |config: &Config, e: usize, place: usize| {
            let endpoint = &config.endpoints[e];
            let model = config.models[endpoint.model.0 as usize].name.clone();
            let (provider, pool) = pool_name(config, endpoint.pools[place].0 as usize);
            (
                model,
                endpoint.name.clone(),
                provider.to_owned(),
                pool.to_owned(),
            )
        };
        let shut = from.closed.iter().enumerate().flat_map(|(e, places)| {
            let places = places.iter().enumerate();
            places.map(move |(place, until)| (e, place, *until))
        });
        for (e, place, until) in shut.filter(|(.., until)| *until > Instant::default()) {
            let name = named(&from.config, e, place);
            for new in 0..self.closed.len() {
                for at in 0..self.closed[new].len() {
                    if named(&self.config, new, at) == name {
                        self.closed[new][at] = until;
                    }
                }
            }
        }
    }

    /// Where a name was given out; `None` when it is configured no more.
    pub fn place_named(&self, name: PlaceName) -> Option<Place> {
        self.places.get(&name).copied().flatten()
    }

    pub fn client_key(&self, sha256: &[u8; 32]) -> Option<ClientKeyId> {
        self.keys_by_hash.get(sha256).copied()
    }

    pub(super) fn place(&self, endpoint: EndpointId, pool: PoolId) -> Option<usize> {
        self.config.endpoints[endpoint.0 as usize]
            .pools
            .iter()
            .position(|p| *p == pool)
    }

    pub(super) fn limits(&self, endpoint: EndpointId, pool: PoolId) -> &[u8] {
        self.place(endpoint, pool)
            .map_or(&[], |place| &self.draws[endpoint.0 as usize][place])
    }

    pub fn room(&self, endpoint: EndpointId, pool: PoolId, ask: Ask, now: Instant) -> Room {
        let limits = &self.pools[pool.0 as usize].borrow().limits;
        let rooms = self
            .limits(endpoint, pool)
            .iter()
            .map(|i| limits[*i as usize].room(ask, now));
        let closed = self.place(endpoint, pool).map_or(Room::Now, |place| {
            let until = self.closed[endpoint.0 as usize][place];
            if now < until {
                Room::In(until - now)
            } else {
                Room::Now
            }
        });
        rooms.fold(closed, Room::max)
    }

    /// The shadow price of what a call takes of this pool's headroom.
    pub fn shadow(
        &self,
        endpoint: EndpointId,
        pool: PoolId,
        ask: &Ask,
        worth: &Worth,
        now: Instant,
    ) -> NanoUsd {
        if worth.weight == 0 {
            return NanoUsd::ZERO;
        }
        let limits = &self.pools[pool.0 as usize].borrow().limits;
        let drawn = self.limits(endpoint, pool).iter();
        drawn
            .map(|i| limits[*i as usize].shadow(ask, worth, now))
            .sum()
    }

    /// What a call at this endpoint waits for where it waits for this pool.
    pub fn claim(&self, endpoint: EndpointId, pool: PoolId) -> Claim {
        // A pool with over 63 limits has the rest in one bit: they are taken for one, which is careful.
        let bit = |limit: &u8| 1 << u32::from(*limit).min(63);
        Claim {
            pool: self.pools[pool.0 as usize].borrow().number,
            limits: self
                .limits(endpoint, pool)
                .iter()
                .map(bit)
                .fold(0, u64::bitor),
        }
    }

    pub fn hold(&mut self, endpoint: EndpointId, pool: PoolId, ask: Ask, now: Instant) -> Hold {
        let state = &mut *self.pools[pool.0 as usize].borrow_mut();
        state.calls += 1;
        let (limits, mut held) = (&mut state.limits, SmallVec::new());
        let place = self.place(endpoint, pool);
        for i in place.map_or(&[][..], |place| &self.draws[endpoint.0 as usize][place]) {
            let limit = &mut limits[*i as usize];
            held.push((*i, limit.reserve(ask, now)));
            self.leaseholds.stir(pool, *i, limit, now);
        }
        Hold { pool, held }
    }

    /// A call that no limit counts.
    pub fn hold_nothing(&mut self, pool: PoolId) -> Hold {
        self.pools[pool.0 as usize].borrow_mut().calls += 1;
        Hold {
            pool,
            held: SmallVec::new(),
        }
    }

    /// So much output has come of a call: it counts as it is produced, where its provider counts so.
    pub fn produced(&mut self, hold: &mut Hold, so_far: Tokens, now: Instant) {
        let state = &mut *self.pools[hold.pool.0 as usize].borrow_mut();
        for (i, reservation) in &mut hold.held {
            let limit = &mut state.limits[*i as usize];
            limit.produced(reservation, so_far, now);
            self.leaseholds.stir(hold.pool, *i, limit, now);
        }
    }

    pub fn release(&mut self, hold: Hold, used: Option<Used>, now: Instant) {
        let state = &mut *self.pools[hold.pool.0 as usize].borrow_mut();
        state.calls = state.calls.saturating_sub(1);
        for (i, reservation) in hold.held {
            let limit = &mut state.limits[i as usize];
            limit.settle(reservation, used, now);
            self.leaseholds.stir(hold.pool, i, limit, now);
        }
    }

    /// The pool's next call takes its next key.
    pub fn used_key(&mut self, pool: PoolId) {
        let next = &mut self.next_key[pool.0 as usize];
        *next = next.wrapping_add(1);
    }

    pub fn pool_calls(&self, pool: PoolId) -> u64 {
        self.pools[pool.0 as usize].borrow().calls
    }

    /// Which of `keys` keys of the pool is next.
    pub fn next_key(&self, pool: PoolId, keys: usize) -> usize {
        self.next_key[pool.0 as usize] % keys.max(1)
    }

    /// Heeds what a provider says of its limits in its answer to a call at this endpoint, which `hold` was taken for: those of the model's
    /// class where there are such, since what it says of one model must not throttle all others, else those of the whole pool.
    pub fn heed(
        &mut self,
        endpoint: EndpointId,
        pool: PoolId,
        mut hold: Option<&mut Hold>,
        told: &[(Dimension, Told)],
        now: Instant,
    ) {
        let place = self.place(endpoint, pool);
        let drawn = place.map_or(&[][..], |place| &self.draws[endpoint.0 as usize][place]);
        let config = &self.config.pools[pool.0 as usize].limits;
        let of_class = |i: &&u8| !config[**i as usize].models.is_empty();
        let any = drawn.iter().any(|i| of_class(&i));
        let state = &mut *self.pools[pool.0 as usize].borrow_mut();
        for i in drawn.iter().filter(|i| !any || of_class(i)) {
            let held = hold.as_mut().map(|hold| hold.held.iter_mut());
            let mut held = held.and_then(|mut held| held.find(|(of, _)| of == i));
            for (dimension, told) in told {
                let sent = held.as_mut().map(|(_, reservation)| reservation);
                state.limits[*i as usize].heed(*dimension, *told, sent, now);
            }
            let limit = &mut state.limits[*i as usize];
            self.leaseholds.stir(pool, *i, limit, now);
        }
    }

    /// The provider refused a call at this endpoint for a limit; `told` where its headers named numbers, which `heed` has taken.
    pub fn refused(
        &mut self,
        (endpoint, pool): (EndpointId, PoolId),
        retry_after: Option<Duration>,
        told: bool,
        now: Instant,
    ) {
        let config = &self.config.pools[pool.0 as usize].limits;
        let state = &mut *self.pools[pool.0 as usize].borrow_mut();
        let place = self.place(endpoint, pool);
        for i in place.map_or(&[][..], |place| &self.draws[endpoint.0 as usize][place]) {
            // As in `close`: what one model was refused for must not slow the others.
            if config[*i as usize].models.iter().any(|class| class != "*") {
                let limit = &mut state.limits[*i as usize];
                limit.refused(retry_after, told, now);
                self.leaseholds.stir(pool, *i, limit, now);
            }
        }
    }

    /// Tells the date to what is counted by the day.
    fn heed_calendar(&self, now: Now) {
        for pool in &self.pools {
            for limit in &mut pool.borrow_mut().limits {
                limit.heed_calendar(now);
            }
        }
    }

    /// The provider refused a call at this endpoint for a limit: nothing is sent there before `until`, nor where a limit of its class
    /// applies. A longer wait is never shortened (FIELD-BUGS 25).
    pub fn close(&mut self, endpoint: EndpointId, pool: PoolId, until: Instant) {
        let Some(place) = self.place(endpoint, pool) else {
            return;
        };
        let closed = &mut self.closed[endpoint.0 as usize][place];
        *closed = until.max(*closed);
        let config = &self.config.pools[pool.0 as usize].limits;
        let state = &mut *self.pools[pool.0 as usize].borrow_mut();
        for i in self.limits(endpoint, pool) {
            // One over all models says nothing of which of them the provider meant (FIELD-BUGS 30).
            if config[*i as usize].models.iter().any(|class| class != "*") {
                state.limits[*i as usize].close_until(until);
            }
        }
    }

    /// When the first of these keys that are left out may be used again.
    pub fn revival(&self, keys: &[KeyId]) -> Option<Instant> {
        let until = |key: &KeyId| self.dead[key.0 as usize].map_or(Instant::default(), |c| c.until);
        keys.iter().map(until).min()
    }

    /// Whether all that is left out of these keys is for want of money.
    pub fn is_spent(&self, keys: &[KeyId], now: Instant) -> bool {
        let closed = |key: &KeyId| self.dead[key.0 as usize].filter(|c| c.holds(now));
        !keys.is_empty()
            && keys
                .iter()
                .all(|k| closed(k).is_some_and(|c| c.why == Why::Spent))
    }

    pub fn breaker(&mut self, endpoint: EndpointId, pool: PoolId) -> Option<&mut Breaker> {
        let place = self.place(endpoint, pool)?;
        self.breakers[endpoint.0 as usize].get_mut(place)
    }

    /// Until when a breaker, or what an own server says of itself, has others asked first.
    pub fn shut_until(&self, endpoint: EndpointId, pool: PoolId, now: Instant) -> Option<Instant> {
        let place = self.place(endpoint, pool)?;
        let breaker = &self.breakers[endpoint.0 as usize][place];
        let breaker = breaker.opens_at().filter(|_| !breaker.lets_pass(now));
        let provider = self.config.endpoints[endpoint.0 as usize].provider;
        breaker.max(self.server_shut_until(provider, now))
    }

    pub fn patience(&self) -> Patience {
        Patience {
            failures: self.config.routing.breaker_failures,
            open: self.config.routing.breaker_open,
        }
    }

    pub fn is_dead(&self, key: KeyId, now: Instant) -> bool {
        self.dead[key.0 as usize].is_some_and(|closed| closed.holds(now))
    }

    /// It has a new credential, which was not refused yet.
    pub fn revive_key(&mut self, key: KeyId) {
        self.dead[key.0 as usize] = None;
    }

    pub fn kill_key(&mut self, key: KeyId, closed: Closed) {
        let dead = &mut self.dead[key.0 as usize];
        *dead = Some(dead.map_or(closed, |known| known.and(closed)));
    }
}

fn pool_name(config: &Config, pool: usize) -> (&str, &str) {
    let pool = &config.pools[pool];
    let provider = &config.providers[pool.provider.0 as usize].name;
    (provider, &pool.name)
}

/// Which limits of `pool` an endpoint draws on: those whose class has its name or its model's.
fn applies(config: &Config, endpoint: &crate::config::Endpoint, pool: PoolId) -> SmallVec<[u8; 2]> {
    let model = &config.models[endpoint.model.0 as usize].name;
    let of = |pattern: &String| of_class(pattern, &endpoint.name) || of_class(pattern, model);
    let limits = config.pools[pool.0 as usize].limits.iter().enumerate();
    // The configuration holds a pool to at most 255 limits.
    limits
        .filter(|(_, l)| l.models.is_empty() || l.models.iter().any(of))
        .map(|(i, _)| i as u8)
        .collect()
}

/// When exchanges want to be woken. One live entry an exchange: the one at the time it is armed for; overtaken ones are passed over when
/// their time comes.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, ExchangeId)>>,
}

impl Timers {
    /// Sees to it that `exchange`, armed for `armed`, is woken at `at` or before; returns what it is armed for now. An armed entry that
    /// is early enough stays: so a deadline that moves with every chunk costs nothing.
    pub fn arm(&mut self, exchange: ExchangeId, armed: Instant, at: Instant) -> Instant {
        if at >= armed {
            return armed;
        }
        self.heap.push(Reverse((at, exchange)));
        at
    }

    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the next whose time has come.
    pub fn due(&mut self, now: Instant) -> Option<(Instant, ExchangeId)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

impl Desk {
    /// A free attempt id for `exchange`; `None` cannot happen while an exchange has two attempts at most, and is refused like a full table.
    pub fn new_attempt(&mut self, exchange: ExchangeId) -> Option<AttemptId> {
        self.attempts.insert(exchange).ok().map(AttemptId)
    }

    pub fn end_attempt(&mut self, attempt: AttemptId) {
        self.attempts.remove(attempt.0);
    }

    /// Whether a row can be written that nobody was asked about when its exchange was admitted, as of a second attempt: each that runs writes one.
    pub fn has_room_for_another_row(&self) -> bool {
        self.ledger_room > self.attempts.len()
    }

    /// Whether one more exchange may go into a second attempt.
    pub fn retry_budget(&self, share: f64) -> bool {
        // Three are always allowed, so that a quiet shard can retry at all.
        (self.retrying as f64) < (share * self.attempts.len() as f64).max(3.0)
    }
}

/// Rounds up to whole seconds, at least one: what `retry-after` can say.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// The lowest digits of `number` that fit.
fn hex(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}
