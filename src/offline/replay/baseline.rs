//! Where requests go, as others decide it, and as the sum of ROUTING 1.3 does in its simplest form with true knowledge.
//!
//! On a refusal each but the last goes to its next best endpoint, and waits when all have refused. These are yardsticks: the cost rule here
//! reads true cache and bucket levels, which no router can; what production does lives in `policy`.

use super::cache::{Ask, Cache, Hit, Lives, Rules, Semantics};
use super::endpoint::{Endpoint, Served};
use super::lifetime::Lifetime;
use super::policy::{Asked, Choice, Idle, Marks, Policy, Pools};
use crate::base::{Instant, Rng};
use std::collections::BTreeMap;
use std::time::Duration;

/// A way of choosing an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Routing {
    RoundRobin,
    Random,
    LeastBusy,
    /// Rendezvous hashing of the session.
    Session,
    /// The endpoint that served the session within ten minutes, else the least busy (OpenRouter, prompt caching, read 2026-08).
    OpenRouter,
    /// SGLang's cache-aware balancer, with the defaults of its router.
    CacheAware,
    /// Hashing with bounded loads at 1.25 times the mean: the first endpoint by rendezvous rank that has room.
    BoundedLoad(By),
    /// Least (tokens to prefill × batch) (LMetric, OSDI 26).
    LMetric,
    /// The longest cached prefix, else the least busy.
    Longest,
    Cost(Cost),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Session,
    Head,
}

/// Weights of the expected cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    pub delay_usd_per_second: f64,
    /// Of the shadow price of headroom: κ · (emptiness of the bucket)² · price, a token.
    pub kappa: f64,
}

impl Cost {
    /// Of ROUTING 1.3: a cent for each second.
    pub const PLAIN: Self = Self {
        delay_usd_per_second: 0.01,
        kappa: 0.0,
    };
    pub const SHADOW: Self = Self {
        delay_usd_per_second: 0.01,
        kappa: 0.5,
    };
}

/// A way of choosing an endpoint with its memory, and a lifetime policy beside it.
pub struct Baseline {
    routing: Routing,
    lifetime: Lifetime,
    rng: Rng,
    turn: usize,
    /// Where a session was served, and when last.
    stuck: BTreeMap<u64, (usize, Instant)>,
    /// What each endpoint was sent, for `CacheAware`: it knows nothing of lifetimes.
    sent: Vec<Sent>,
}

struct Sent {
    tree: Cache,
    /// Blocks, for the smallest tree.
    blocks: u64,
}

const STICKY: Duration = Duration::from_secs(600);
const BOUND: f64 = 1.25;
/// Defaults of `sgl-router` (lightseekorg/smg, model_gateway/src/policies, read 2026-08): an endpoint is overloaded when it has 32 more in
/// flight than the idlest and 1.1 times as many, and a match of under half of the prompt is none.
const UNBALANCED_BY: u32 = 32;
const UNBALANCED_TIMES: f64 = 1.1;
const MATCHED: f64 = 0.5;

impl Baseline {
    #[must_use]
    pub fn new(routing: Routing, lifetime: Lifetime, seed: u64) -> Self {
        Self {
            routing,
            lifetime,
            rng: Rng::seeded(seed),
            turn: 0,
            stuck: BTreeMap::new(),
            sent: Vec::new(),
        }
    }

    fn pick(&mut self, now: Instant, asked: &Asked<'_>, pools: &Pools<'_>) -> Option<usize> {
        match self.routing {
            Routing::RoundRobin => self.next(asked),
            Routing::Random => self.least(asked, |_| 0),
            Routing::LeastBusy => self.least(asked, |e| pools.in_flight[e]),
            Routing::Session => ranked(asked.session, asked).next(),
            Routing::OpenRouter => self.sticky(now, asked, pools),
            Routing::CacheAware => self.cache_aware(now, asked, pools),
            Routing::BoundedLoad(by) => bounded(by, asked, pools),
            Routing::LMetric => self.least(asked, |e| {
                let left = prefill(&pools.endpoints[e], now, &asked.ask);
                u64::from(left) * u64::from(pools.in_flight[e] + 1)
            }),
            Routing::Longest => self.least(asked, |e| {
                let left = prefill(&pools.endpoints[e], now, &asked.ask);
                (left, pools.in_flight[e])
            }),
            // Chosen by `cheapest`, which may also wait.
            Routing::Cost(_) => None,
        }
    }

    fn next(&mut self, asked: &Asked<'_>) -> Option<usize> {
        let count = asked.refused.len();
        let turn = (0..count).map(|step| (self.turn + step) % count);
        let chosen = turn.into_iter().find(|e| !asked.refused[*e])?;
        self.turn = chosen + 1;
        Some(chosen)
    }

    /// The endpoint with the least `by`, one of them by chance when there are several.
    fn least<T: Ord>(&mut self, asked: &Asked<'_>, by: impl Fn(usize) -> T) -> Option<usize> {
        let mut best: Option<T> = None;
        let mut chosen = None;
        let mut equal = 0;
        for endpoint in open(asked) {
            let value = by(endpoint);
            match best.as_ref().map(|best| value.cmp(best)) {
                Some(std::cmp::Ordering::Greater) => continue,
                Some(std::cmp::Ordering::Equal) => equal += 1,
                Some(std::cmp::Ordering::Less) | None => equal = 1,
            }
            // Each of n equals is the chosen one with probability 1/n.
            if self.rng.below(equal) == 0 {
                chosen = Some(endpoint);
            }
            best = Some(value);
        }
        chosen
    }

    fn sticky(&mut self, now: Instant, asked: &Asked<'_>, pools: &Pools<'_>) -> Option<usize> {
        match self.stuck.get(&asked.session) {
            Some((endpoint, last)) if now.since(*last) < STICKY && !asked.refused[*endpoint] => {
                Some(*endpoint)
            }
            _ => self.least(asked, |e| pools.in_flight[e]),
        }
    }

    fn cache_aware(&mut self, now: Instant, asked: &Asked<'_>, pools: &Pools<'_>) -> Option<usize> {
        self.remember(pools.endpoints.len());
        let most = open(asked).map(|e| pools.in_flight[e]).max()?;
        let least = open(asked).map(|e| pools.in_flight[e]).min()?;
        let unbalanced =
            most - least > UNBALANCED_BY && f64::from(most) > UNBALANCED_TIMES * f64::from(least);
        if unbalanced {
            return self.least(asked, |e| pools.in_flight[e]);
        }
        let matched: Vec<u32> = self
            .sent
            .iter()
            .map(|s| s.tree.look(now, &asked.ask).blocks)
            .collect();
        let best = open(asked).max_by_key(|e| (matched[*e], std::cmp::Reverse(*e)))?;
        let all = asked.ask.request.prompt.blocks();
        if f64::from(matched[best]) > MATCHED * f64::from(all) {
            return Some(best);
        }
        let sizes: Vec<u64> = self.sent.iter().map(|sent| sent.blocks).collect();
        self.least(asked, |e| sizes[e])
    }

    fn remember(&mut self, endpoints: usize) {
        let rules = Rules {
            semantics: Semantics::Blocks,
            lives: Lives {
                short: Duration::MAX,
                long: Duration::MAX,
            },
            ..Rules::default()
        };
        self.sent.resize_with(endpoints, || Sent {
            tree: Cache::new(rules),
            blocks: 0,
        });
    }

    /// The endpoint of the least expected cost; waiting for it is part of the sum.
    fn cheapest(
        &mut self,
        cost: &Cost,
        now: Instant,
        asked: &Asked<'_>,
        pools: &Pools<'_>,
    ) -> Choice {
        let mut best: Option<(f64, u32, u64, usize, Duration)> = None;
        for endpoint in open(asked) {
            let (usd, wait) = cost.of(now, asked, &pools.endpoints[endpoint]);
            let rank = rank(asked.session, endpoint);
            let one = (usd, pools.in_flight[endpoint], rank, endpoint, wait);
            let order = |a: &(f64, u32, u64, usize, Duration),
                         b: &(f64, u32, u64, usize, Duration)| {
                a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2))
            };
            if best.as_ref().is_none_or(|best| order(&one, best).is_lt()) {
                best = Some(one);
            }
        }
        match best {
            None => Choice::Refused,
            Some((.., endpoint, wait)) if wait.is_zero() => Choice::Send(endpoint),
            Some((.., wait)) => Choice::Wait(wait),
        }
    }
}

impl Cost {
    /// Dollars, and how long the endpoint's limits make it wait.
    fn of(&self, now: Instant, asked: &Asked<'_>, endpoint: &Endpoint) -> (f64, Duration) {
        let prices = endpoint.prices();
        let book = endpoint.use_of(&asked.ask, &endpoint.look(now, &asked.ask));
        let need = Endpoint::need(&book);
        let wait = endpoint.limits().wait(now, &need);
        let delay = wait + endpoint.time_to_first_byte(&book);
        let shadow: f64 = endpoint
            .limits()
            .scarcity(now, &need)
            .map(|(emptiness, amount)| self.kappa * emptiness * emptiness * amount)
            .sum();
        let tokens = book.input_tokens_paid(prices) + shadow;
        let usd = tokens * prices.input_usd_per_million / 1e6;
        (usd + self.delay_usd_per_second * delay.as_secs_f64(), wait)
    }
}

impl Policy for Baseline {
    fn choose(&mut self, now: Instant, asked: &Asked<'_>, pools: &Pools<'_>) -> Choice {
        if let Routing::Cost(cost) = self.routing {
            return self.cheapest(&cost, now, asked, pools);
        }
        self.pick(now, asked, pools)
            .map_or(Choice::Refused, Choice::Send)
    }

    fn marks(&mut self, asked: &Asked<'_>, hit: &Hit) -> Marks {
        self.lifetime.marks(asked, hit)
    }

    fn served(&mut self, now: Instant, asked: &Asked<'_>, endpoint: usize, _: &Served) {
        match self.routing {
            Routing::OpenRouter => {
                self.stuck.insert(asked.session, (endpoint, now));
            }
            Routing::CacheAware => {
                let sent = &mut self.sent[endpoint];
                let hit = sent.tree.look(now, &asked.ask);
                sent.blocks += u64::from(asked.ask.request.prompt.blocks() - hit.blocks);
                sent.tree.keep(now, now, &asked.ask, &hit);
            }
            _ => {}
        }
    }

    fn idle(&mut self, asked: &Asked<'_>, pings: u32) -> Idle {
        self.lifetime.idle(asked, pings)
    }
}

/// Endpoints that have not refused, in order.
fn open(asked: &Asked<'_>) -> impl Iterator<Item = usize> {
    (0..asked.refused.len()).filter(|e| !asked.refused[*e])
}

/// Tokens that `endpoint` would have to read anew.
fn prefill(endpoint: &Endpoint, now: Instant, ask: &Ask<'_>) -> u32 {
    let hit = endpoint.look(now, ask);
    ask.request.prompt_tokens - ask.tokens(hit.blocks)
}

/// The weight of an endpoint for a key: the highest is the key's home (rendezvous hashing).
fn rank(key: u64, endpoint: usize) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(&key.to_le_bytes(), endpoint as u64)
}

/// Endpoints that have not refused, the key's home first.
fn ranked(key: u64, asked: &Asked<'_>) -> impl Iterator<Item = usize> {
    let mut order: Vec<usize> = open(asked).collect();
    order.sort_by_key(|e| std::cmp::Reverse(rank(key, *e)));
    order.into_iter()
}

fn bounded(by: By, asked: &Asked<'_>, pools: &Pools<'_>) -> Option<usize> {
    let key = match by {
        By::Session => asked.session,
        By::Head => asked.head.unwrap_or(asked.session),
    };
    let total: u32 = pools.in_flight.iter().sum::<u32>() + 1;
    let mean = f64::from(total) / pools.in_flight.len() as f64;
    let cap = (BOUND * mean).ceil() as u32;
    let mut order = ranked(key, asked).peekable();
    let home = order.peek().copied();
    order.find(|e| pools.in_flight[*e] < cap).or(home)
}
