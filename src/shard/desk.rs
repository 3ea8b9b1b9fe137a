//! What exchanges share: pools, tenants, breakers, keys, timers, those who wait.
//!
//! All of it belongs to one epoch of the configuration; an exchange that began under an old one settles there.

use crate::base::{
    AttemptId, ClientKeyId, EndpointId, ExchangeId, FixedHasher, Instant, KeyId, ModelId, PoolId,
    Rng, ShardId, Slab, TenantId,
};
use crate::config::Config;
use crate::policy::admission::Allowance;
use crate::policy::capacity::{Ask, Limit, Numbers, Reservation, Room, Used, of_class};
use crate::policy::health::{Breaker, Patience};
use crate::shard::{LogLine, Mail, Meters, Output};
use bytes::BytesMut;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Desk {
    pub shard: ShardId,
    shards: u16,
    pub rng: Rng,
    /// The newest last; older ones stay until their exchanges have left.
    epochs: Vec<Epoch>,
    next_epoch: u32,
    pub timers: Timers,
    pub meters: Meters,
    pub attempts: Slab<ExchangeId>,
    waiting: Vec<Waiting>,
    last_tenant: TenantId,
    /// Exchanges in a second or later attempt.
    pub retrying: usize,
    /// Ledger rows the I/O core has room for.
    pub ledger_room: usize,
    pub draining: bool,
    /// Rendered names of exchanges: a part of the seed, then a count.
    name: u64,
    named: u64,
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
    pub tenants: Vec<Allowance>,
    pools: Vec<Vec<Limit>>,
    /// Calls in flight by pool, counted also where no limit is configured.
    pool_calls: Vec<u64>,
    /// By endpoint and place of the pool in it: which limits of the pool apply.
    draws: Vec<Vec<SmallVec<[u8; 2]>>>,
    breakers: Vec<Vec<Breaker>>,
    /// By key: left out until then.
    dead_until: Vec<Instant>,
    next_key: Vec<usize>,
}

/// What an attempt holds of a pool.
#[derive(Debug)]
#[must_use = "must be released"]
pub(super) struct Hold {
    pool: PoolId,
    held: SmallVec<[(u8, Reservation); 2]>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    exchange: ExchangeId,
    tenant: TenantId,
    model: ModelId,
    not_before: Instant,
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
    pub fn new(config: Arc<Config>, shard: ShardId, shards: u16, mut rng: Rng) -> Self {
        let exchanges_max = config.limits.exchanges_max;
        let ledger_room = config.ledger.backlog_rows_max;
        let name = rng.bits();
        let epoch = Epoch::new(0, config, shard, shards);
        Self {
            shard,
            shards,
            rng,
            epochs: vec![epoch],
            next_epoch: 1,
            timers: Timers::default(),
            meters: Meters::default(),
            // An exchange has at most one attempt at a time.
            attempts: Slab::new(exchanges_max),
            waiting: Vec::new(),
            last_tenant: TenantId(0),
            retrying: 0,
            ledger_room,
            draining: false,
            name,
            named: 0,
            scratch: BytesMut::new(),
        }
    }

    /// New exchanges begin under `config` from now on. What a pool of the same name has left is carried over.
    pub fn reload(&mut self, config: Arc<Config>) {
        let mut epoch = Epoch::new(self.next_epoch, config, self.shard, self.shards);
        epoch.inherit(self.newest());
        self.next_epoch = self.next_epoch.wrapping_add(1);
        self.epochs.push(epoch);
        self.drop_old_epochs();
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
    pub fn name_exchange(&mut self) -> String {
        self.named += 1;
        format!(
            "stk_{:016x}{:02x}{:010x}",
            self.name,
            self.shard.0 & 0xff,
            self.named
        )
    }

    /// Puts an exchange at the end of those who wait.
    pub fn wait(
        &mut self,
        exchange: ExchangeId,
        tenant: TenantId,
        model: ModelId,
        not_before: Instant,
    ) {
        self.waiting.push(Waiting {
            exchange,
            tenant,
            model,
            not_before,
        });
    }

    /// When a newcomer for `model` may try, so that it does not overtake those who wait for it; `None` when nobody does.
    pub fn turn_behind(&self, model: ModelId) -> Option<Instant> {
        self.waiting
            .iter()
            .filter(|w| w.model == model)
            .map(|w| w.not_before)
            .max()
    }

    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the next who may try: tenants in turn, and within one in the order they came.
    pub fn next_waiting(&mut self, now: Instant) -> Option<ExchangeId> {
        let ready = |w: &&Waiting| w.not_before <= now;
        let turn = |w: &&Waiting| {
            (
                w.tenant.0.wrapping_sub(self.last_tenant.0.wrapping_add(1)),
                w.not_before,
            )
        };
        let next = *self.waiting.iter().filter(ready).min_by_key(turn)?;
        self.last_tenant = next.tenant;
        self.waiting.retain(|w| w.exchange != next.exchange);
        Some(next.exchange)
    }

    /// Somebody settled: the first who wait need not wait for their time. A few, since the first may wait for another pool; all would make
    /// each settlement cost as much as the queue is long.
    pub fn freed(&mut self, now: Instant) {
        for waiting in self.waiting.iter_mut().take(4) {
            waiting.not_before = waiting.not_before.min(now);
        }
    }

    /// An exchange is no more.
    pub fn left(&mut self, exchange: ExchangeId) {
        if !self.waiting.is_empty() {
            self.waiting.retain(|w| w.exchange != exchange);
        }
    }

    pub fn log(&self, line: LogLine, out: &mut Vec<Output>) {
        if line.level <= self.config().log.level {
            out.push(Output::Post(Mail::Log(Box::new(line))));
        }
    }

    pub fn standing(&self, exchanges: usize, clients: usize) -> Standing {
        let epochs = || self.epochs.iter();
        Standing {
            exchanges,
            clients,
            attempts: self.attempts.len(),
            waiting: self.waiting.len(),
            pool_calls: epochs().flat_map(|e| &e.pool_calls).sum(),
            limits_held: epochs()
                .flat_map(|e| e.pools.iter().flatten())
                .map(Limit::in_flight)
                .sum(),
            tenants_held: epochs()
                .flat_map(|e| &e.tenants)
                .map(Allowance::in_flight)
                .sum(),
            retrying: self.retrying,
            old_epochs: self.epochs.len() - 1,
        }
    }
}

impl Epoch {
    fn new(number: u32, config: Arc<Config>, shard: ShardId, shards: u16) -> Self {
        let count = |n: Option<crate::base::Tokens>| n.map(|n| n.0);
        let keys = config.client_keys.iter().enumerate();
        let share = |numbers| Limit::share(numbers, shard.0, shards);
        Self {
            number,
            exchanges: 0,
            keys_by_hash: keys
                .map(|(i, key)| (key.sha256, ClientKeyId(i as u32)))
                .collect(),
            tenants: config
                .tenants
                .iter()
                .map(|tenant| {
                    let l = &tenant.limits;
                    let numbers = Numbers {
                        requests: l.rpm,
                        tokens: count(l.tpm),
                        concurrent: l.concurrent,
                        ..Numbers::default()
                    };
                    Allowance::share(numbers, l.usd_per_day, shard.0, shards)
                })
                .collect(),
            pools: config
                .pools
                .iter()
                .map(|pool| {
                    let numbers = |l: &crate::config::PoolLimit| Numbers {
                        requests: l.rpm,
                        tokens: count(l.tpm),
                        input: count(l.itpm),
                        output: count(l.otpm),
                        concurrent: l.concurrent,
                    };
                    pool.limits.iter().map(|l| share(numbers(l))).collect()
                })
                .collect(),
            pool_calls: vec![0; config.pools.len()],
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
            dead_until: vec![Instant::default(); config.keys.len()],
            next_key: vec![0; config.pools.len()],
            config,
        }
    }

    /// Takes over the levels of pools and the spending of tenants that have kept their names and numbers.
    fn inherit(&mut self, from: &Self) {
        let named = |config: &Config, i: usize| {
            let pool = &config.pools[i];
            (
                config.providers[pool.provider.0 as usize].name.clone(),
                pool.name.clone(),
            )
        };
        for new in 0..self.pools.len() {
            let name = named(&self.config, new);
            let Some(old) = (0..from.pools.len()).find(|old| named(&from.config, *old) == name)
            else {
                continue;
            };
            if self.config.pools[new].limits == from.config.pools[old].limits {
                self.pools[new] = from.pools[old].iter().map(Limit::without_holds).collect();
            }
        }
        for (new, tenant) in self.config.tenants.iter().enumerate() {
            let old = from
                .config
                .tenants
                .iter()
                .position(|t| t.name == tenant.name && t.limits == tenant.limits);
            if let Some(old) = old {
                self.tenants[new] = from.tenants[old].without_holds();
            }
        }
        for (new, key) in self.config.keys.iter().enumerate() {
            if let Some(old) = from.config.keys.iter().position(|k| k == key) {
                self.dead_until[new] = from.dead_until[old];
            }
        }
    }

    pub fn client_key(&self, sha256: &[u8; 32]) -> Option<ClientKeyId> {
        self.keys_by_hash.get(sha256).copied()
    }

    fn place(&self, endpoint: EndpointId, pool: PoolId) -> Option<usize> {
        self.config.endpoints[endpoint.0 as usize]
            .pools
            .iter()
            .position(|p| *p == pool)
    }

    fn limits(&self, endpoint: EndpointId, pool: PoolId) -> &[u8] {
        self.place(endpoint, pool)
            .map_or(&[], |place| &self.draws[endpoint.0 as usize][place])
    }

    pub fn room(&self, endpoint: EndpointId, pool: PoolId, ask: Ask, now: Instant) -> Room {
        let limits = &self.pools[pool.0 as usize];
        let rooms = self
            .limits(endpoint, pool)
            .iter()
            .map(|i| limits[*i as usize].room(ask, now));
        rooms.max().unwrap_or(Room::Now)
    }

    pub fn hold(&mut self, endpoint: EndpointId, pool: PoolId, ask: Ask, now: Instant) -> Hold {
        let drawn: SmallVec<[u8; 2]> = SmallVec::from_slice(self.limits(endpoint, pool));
        let limits = &mut self.pools[pool.0 as usize];
        self.pool_calls[pool.0 as usize] += 1;
        Hold {
            pool,
            held: drawn
                .iter()
                .map(|i| (*i, limits[*i as usize].reserve(ask, now)))
                .collect(),
        }
    }

    pub fn release(&mut self, hold: Hold, used: Option<Used>, now: Instant) {
        let pool = hold.pool.0 as usize;
        self.pool_calls[pool] = self.pool_calls[pool].saturating_sub(1);
        for (i, reservation) in hold.held {
            self.pools[pool][i as usize].settle(reservation, used, now);
        }
    }

    /// The pool's next call takes its next key.
    pub fn used_key(&mut self, pool: PoolId) {
        let next = &mut self.next_key[pool.0 as usize];
        *next = next.wrapping_add(1);
    }

    pub fn pool_calls(&self, pool: PoolId) -> u64 {
        self.pool_calls[pool.0 as usize]
    }

    /// Which of `keys` keys of the pool is next.
    pub fn next_key(&self, pool: PoolId, keys: usize) -> usize {
        self.next_key[pool.0 as usize] % keys.max(1)
    }

    /// The limits that a call at this endpoint draws on.
    pub fn each_limit(
        &mut self,
        endpoint: EndpointId,
        pool: PoolId,
        mut tell: impl FnMut(&mut Limit),
    ) {
        let drawn: SmallVec<[u8; 2]> = SmallVec::from_slice(self.limits(endpoint, pool));
        for i in drawn {
            tell(&mut self.pools[pool.0 as usize][i as usize]);
        }
    }

    pub fn breaker(&mut self, endpoint: EndpointId, pool: PoolId) -> Option<&mut Breaker> {
        let place = self.place(endpoint, pool)?;
        self.breakers[endpoint.0 as usize].get_mut(place)
    }

    pub fn shut_until(&self, endpoint: EndpointId, pool: PoolId, now: Instant) -> Option<Instant> {
        let place = self.place(endpoint, pool)?;
        let breaker = &self.breakers[endpoint.0 as usize][place];
        if breaker.lets_pass(now) {
            None
        } else {
            breaker.opens_at()
        }
    }

    pub fn patience(&self) -> Patience {
        Patience {
            failures: self.config.routing.breaker_failures,
            open: self.config.routing.breaker_open,
        }
    }

    pub fn is_dead(&self, key: KeyId, now: Instant) -> bool {
        self.dead_until[key.0 as usize] > now
    }

    pub fn kill_key(&mut self, key: KeyId, until: Instant) {
        self.dead_until[key.0 as usize] = until;
    }
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
    /// A free attempt id for `exchange`; `None` cannot happen while an exchange has one attempt at a time, and is refused like a full table.
    pub fn new_attempt(&mut self, exchange: ExchangeId) -> Option<AttemptId> {
        self.attempts.insert(exchange).ok().map(AttemptId)
    }

    pub fn end_attempt(&mut self, attempt: AttemptId) {
        self.attempts.remove(attempt.0);
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
