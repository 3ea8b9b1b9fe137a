//! Limits that instances share over a real Redis: never over, nearly all of it used, whatever becomes of Redis.
//!
//! Four instances are four hosts of a limit, each with a link of its own, in one loop in real time; what they admit is drawn from a bucket
//! like the provider's, which must never be short.

use super::client::Conn;
use super::house::{House, Plan, fake, quick};
use super::redis_server::{self, Server};
use super::words;
use redis::{Connection, Script};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use stokehold::base::{Instant, Rng, Tokens};
use stokehold::policy::capacity::{
    Ask, Bucket, Limit, Numbers, Rate, Reservation, Room, Rule, Seat, Used,
};
use stokehold::policy::lease::{
    Central, DIMENSIONS, Holder, HolderId, Limits, Terms, UpAsk, UpReply,
};

const NAMESPACE: &str = "test";
const LEASE: Duration = Duration::from_secs(2);

fn script() -> Script {
    Script::new(include_str!("../../src/iocore/redis/lease.lua"))
}

fn call(
    script: &Script,
    name: &str,
    ask: &UpAsk,
    redis: &mut Connection,
) -> redis::RedisResult<Option<UpReply>> {
    let mut invocation = script.prepare_invoke();
    invocation.key(format!("{{{NAMESPACE}}}:born"));
    invocation.key(format!("{{{NAMESPACE}}}:rl:{name}"));
    for number in ask.numbers(LEASE) {
        invocation.arg(number);
    }
    let row: Vec<i64> = invocation.invoke(redis)?;
    Ok(ask.answered(&row))
}

/// Asks on a thread of its own, as the I/O core does: the newest counts, and each has half a second.
struct Link {
    asks: Option<Sender<UpAsk>>,
    replies: Receiver<UpReply>,
    thread: Option<JoinHandle<()>>,
    answered: Arc<AtomicU64>,
}

impl Link {
    fn new(url: String, delay: Duration) -> Self {
        let (asks, asked) = channel::<UpAsk>();
        let (answers, replies) = channel();
        let answered = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&answered);
        let thread = std::thread::spawn(move || {
            let script = script();
            let mut connection: Option<Connection> = None;
            while let Ok(mut ask) = asked.recv() {
                while let Ok(newer) = asked.try_recv() {
                    ask = newer;
                }
                if connection.is_none() {
                    let patience = Duration::from_millis(500);
                    let client = redis::Client::open(url.clone()).expect("an address");
                    connection = client.get_connection_with_timeout(patience).ok();
                    if let Some(open) = &connection {
                        let _ = open.set_read_timeout(Some(patience));
                    }
                }
                let Some(open) = &mut connection else {
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                };
                std::thread::sleep(delay);
                match call(&script, "limit", &ask, open) {
                    Ok(reply) => {
                        count.fetch_add(1, Relaxed);
                        if let Some(reply) = reply {
                            let _ = answers.send(reply);
                        }
                    }
                    Err(_) => connection = None,
                }
            }
        });
        Self {
            asks: Some(asks),
            replies,
            thread: Some(thread),
            answered,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Instance {
    limit: Limit,
    queue: VecDeque<(u64, Instant)>,
    link: Link,
    flying: Vec<(Instant, Reservation, u64)>,
}

struct World {
    rng: Rng,
    start: std::time::Instant,
    instances: Vec<Instance>,
    /// The provider's own.
    provider: Bucket,
    /// One bucket and one queue for all, which nobody has to share.
    one: Bucket,
    one_queue: VecDeque<u64>,
    served: u64,
    served_by_one: u64,
    calls: u64,
    refused: u64,
    /// The most that the provider's bucket lacked.
    short: i128,
    waits: Vec<u64>,
}

const SIZE: u64 = 1_000;

impl World {
    fn new(server: &Server, tokens_per_minute: u64, delay: Duration) -> Self {
        let numbers = Numbers {
            tokens: Some(tokens_per_minute),
            burst: Some(Duration::from_secs(4)),
            ..Numbers::default()
        };
        let rate = Rate::per_minute(tokens_per_minute);
        let burst = rate.within(Duration::from_secs(4));
        let instances = (0..4).map(|id| {
            let seat = Seat {
                shard: 0,
                shards: 1,
                life: 100 + id,
                hosts: true,
                recovers: false,
                instances: Some(16),
            };
            Instance {
                limit: Limit::leased_twin(numbers, Rule::OURS, &seat),
                queue: VecDeque::new(),
                link: Link::new(server.url(), delay),
                flying: Vec::new(),
            }
        });
        Self {
            rng: Rng::seeded(7),
            start: std::time::Instant::now(),
            instances: instances.collect(),
            provider: Bucket::new(rate, burst),
            one: Bucket::new(rate, burst),
            one_queue: VecDeque::new(),
            served: 0,
            served_by_one: 0,
            calls: 0,
            refused: 0,
            short: 0,
            waits: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        Instant(1_000_000_000_000) + self.start.elapsed()
    }

    /// `load` of the limit arrives for so long, twice as much at each instance as at the next.
    fn run(&mut self, time: Duration, tokens_per_minute: u64, load: f64) {
        let from = self.start.elapsed();
        let per_second = tokens_per_minute as f64 / 60.0 * load / SIZE as f64;
        let mut last = from;
        let mut due = 0.0;
        while self.start.elapsed() - from < time {
            let passed = self.start.elapsed();
            due += per_second * (passed - last).as_secs_f64() * 2.0;
            last = passed;
            while due >= 1.0 {
                due -= 1.0;
                // Half of them come.
                if self.rng.below(2) == 0 {
                    self.arrive();
                }
            }
            for i in 0..self.instances.len() {
                self.step(i);
            }
            self.step_one();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn arrive(&mut self) {
        let who = match self.rng.below(15) {
            0..8 => 0,
            8..12 => 1,
            12..14 => 2,
            _ => 3,
        };
        let tokens = SIZE / 2 + self.rng.below(SIZE);
        let now = self.now();
        self.instances[who].queue.push_back((tokens, now));
        self.one_queue.push_back(tokens);
    }

    fn step_one(&mut self) {
        let now = self.now();
        while let Some(tokens) = self.one_queue.front().copied() {
            if self.one.room(tokens, now) != Room::Now {
                return;
            }
            self.one_queue.pop_front();
            self.one.draw(tokens, now);
            self.served_by_one += tokens;
        }
    }

    fn step(&mut self, i: usize) {
        let now = self.now();
        let at = &mut self.instances[i];
        while let Ok(reply) = at.link.replies.try_recv() {
            at.limit.hear_up(&reply, now);
        }
        for _ in 0..3 {
            at.limit.speak(now);
            if let Some(ask) = at.limit.speak_up(now) {
                let asks = at.link.asks.as_ref().expect("open");
                asks.send(ask).expect("it listens");
            }
            let mut went = false;
            while let Some((tokens, since)) = at.queue.front().copied() {
                let ask = Ask {
                    input: Tokens(tokens),
                    ..Ask::default()
                };
                if at.limit.room(ask, now) != Room::Now {
                    let behind = at.queue.len() as u64 - 1;
                    at.limit.park(ask, since, behind, now);
                    break;
                }
                went = true;
                at.queue.pop_front();
                let held = at.limit.reserve(ask, now);
                self.calls += 1;
                self.served += tokens;
                self.waits.push((now - since).as_millis() as u64);
                self.provider.draw(tokens, now);
                let level = self.provider.level(now);
                if level < 0 {
                    self.refused += 1;
                    self.short = self.short.max(-level);
                }
                at.flying
                    .push((now + Duration::from_millis(100), held, tokens));
            }
            if at.queue.is_empty() {
                at.limit.unpark();
            }
            if !went {
                break;
            }
        }
        let (ended, flying) = std::mem::take(&mut at.flying)
            .into_iter()
            .partition(|(end, ..)| *end <= now);
        at.flying = flying;
        let ended: Vec<(Instant, Reservation, u64)> = ended;
        for (_, held, tokens) in ended {
            let used = Used {
                input: Tokens(tokens),
                ..Used::default()
            };
            at.limit.settle(held, Some(used), now);
        }
        let _ = at.limit.stirs(now);
    }

    fn asks(&self) -> u64 {
        let asks = self.instances.iter().map(|i| i.link.answered.load(Relaxed));
        asks.max().unwrap_or(0)
    }

    fn p99(&mut self) -> u64 {
        self.waits.sort_unstable();
        self.waits
            .get(self.waits.len() * 99 / 100)
            .copied()
            .unwrap_or(0)
    }

    /// What was served, of what one bucket would have.
    fn share(&self) -> f64 {
        self.served as f64 / self.served_by_one as f64
    }
}

const TPM: u64 = 6_000_000;

/// FIELD-BUGS 21: each replica counted for itself, and together they went over the limit as many times as there were of them.
#[test]
fn four_instances_share_one_limit_field_21() {
    let Some(server) = redis_server::start() else {
        return;
    };
    server.settle(NAMESPACE);
    let mut world = World::new(&server, TPM, Duration::ZERO);
    world.run(Duration::from_secs(8), TPM, 0.95);
    let share = world.share();
    assert_eq!(world.refused, 0, "over by {}", world.short);
    assert!(share >= 0.95, "{share:.3}");
    assert!(world.asks() <= 85, "{} asks in 8 s", world.asks());
}

/// More is asked for than there is.
#[test]
fn four_instances_under_overload_stay_under_the_limit() {
    let Some(server) = redis_server::start() else {
        return;
    };
    server.settle(NAMESPACE);
    let mut world = World::new(&server, TPM, Duration::ZERO);
    world.run(Duration::from_secs(7), TPM, 1.3);
    let share = world.share();
    assert_eq!(world.refused, 0, "over by {}", world.short);
    assert!(share >= 0.95, "{share:.3}");
    assert!(world.asks() <= 80, "{} asks in 7 s", world.asks());
}

/// FIELD-BUGS 60: a slow Redis slowed requests down.
#[test]
fn a_slow_redis_delays_nobody_field_60() {
    let Some(server) = redis_server::start() else {
        return;
    };
    server.settle(NAMESPACE);
    let mut world = World::new(&server, TPM, Duration::from_millis(200));
    world.run(Duration::from_secs(2), TPM, 0.5);
    world.waits.clear();
    world.run(Duration::from_secs(5), TPM, 0.5);
    world.share();
    let p99 = world.p99();
    assert!(p99 <= 10, "p99 {p99} ms");
    assert_eq!(world.refused, 0, "over by {}", world.short);
}

fn trouble(what: &str, begin: impl FnOnce(&mut Server), end: impl FnOnce(&mut Server)) {
    let Some(mut server) = redis_server::start() else {
        return;
    };
    server.settle(NAMESPACE);
    let mut world = World::new(&server, TPM, Duration::ZERO);
    world.run(Duration::from_secs(2), TPM, 0.8);
    begin(&mut server);
    let before = world.served;
    world.run(Duration::from_millis(4_000), TPM, 0.8);
    let during = (world.served - before) as f64 / (TPM as f64 / 15.0);
    end(&mut server);
    world.run(Duration::from_millis(3_500), TPM, 0.8);
    assert_eq!(world.refused, 0, "{what}: over by {}", world.short);
    assert!(during >= 0.4, "{what}: {during:.2}");
}

#[test]
fn a_killed_redis_that_comes_back_empty_lets_nothing_over_and_traffic_goes_on() {
    trouble("killed", Server::kill, Server::start_again);
}

#[test]
fn a_paused_redis_lets_nothing_over_and_traffic_goes_on_field_60() {
    trouble("paused", |s| s.signal("STOP"), |s| s.signal("CONT"));
}

#[test]
fn an_emptied_redis_lets_nothing_over_and_traffic_goes_on() {
    trouble("emptied", |s| s.flush(), |_| ());
}

/// Holders that ask by random: what is granted, together with what is there, is never more than the burst, by the script as by `Central`,
/// and both grant the same.
#[test]
fn the_script_grants_what_its_model_grants() {
    let Some(server) = redis_server::start() else {
        return;
    };
    server.settle(NAMESPACE);
    let mut redis = server.connect();
    let script = script();
    let limits: Limits = [
        Some((Rate::per_minute(60_000), 5_000)),
        Some((Rate::per_minute(6_000_000), 400_000)),
        None,
        None,
    ];
    let terms = Terms::of(limits);
    let start = std::time::Instant::now();
    let now = || Instant(1_000_000_000_000) + start.elapsed();
    let mut central = Central::new(terms, 1, now());
    let (mut ours, mut theirs): (Vec<Holder>, Vec<Holder>) = (0..5)
        .map(|id| {
            (
                Holder::new(HolderId(id), terms),
                Holder::new(HolderId(id), terms),
            )
        })
        .unzip();
    let (mut rng, mut admitted) = (Rng::seeded(3), [0_u64; 2]);
    for _ in 0..2_500 {
        let who = rng.below(5) as usize;
        let size = 200 << rng.below(6);
        let amounts = [1, size, 0, 0];
        for (side, holders) in [&mut ours, &mut theirs].into_iter().enumerate() {
            let holder = &mut holders[who];
            if holder.admit(amounts, now()) {
                admitted[side] += size;
            } else {
                holder.wish(amounts);
            }
            if rng.below(20) == 0 {
                holder.refund([0, size / 4, 0, 0]);
            }
        }
        if let Some(ask) = ours[who].ask(now()) {
            let reply = central.hear(&ask, now()).expect("in order");
            ours[who].hear(&reply, now());
        }
        if let Some(ask) = theirs[who].ask(now()) {
            let ask = UpAsk {
                ask,
                limits,
                ceiling: [None; DIMENSIONS],
                issued: false,
            };
            let told = call(&script, "model", &ask, &mut redis).expect("granted");
            let told = told.expect("in order");
            for (d, limit) in limits.iter().enumerate() {
                let most = limit.map_or(0, |(_, burst)| burst as i64 * 1_000);
                assert!(
                    told.reply.left[d] <= most,
                    "{} of {most}",
                    told.reply.left[d]
                );
            }
            theirs[who].hear(&told.reply, now());
            // An ask that comes twice is answered once.
            let again = call(&script, "model", &ask, &mut redis).expect("heard");
            assert_eq!(again, None);
        }
        std::thread::sleep(Duration::from_micros(400));
    }
    let [ours, theirs] = admitted.map(|n| n as f64);
    assert!(
        (ours / theirs - 1.0).abs() < 0.05,
        "model {ours}, script {theirs}"
    );
}

/// Whole routers, one provider that has sixty requests a minute and counts for itself.
#[test]
fn four_routers_never_meet_the_providers_limit_field_21() {
    let Some(server) = redis_server::start() else {
        return;
    };
    server.settle(NAMESPACE);
    let mut settings = quick();
    settings.limits.rpm = Some(60);
    let (provider, at) = fake(settings);
    let mut plan = Plan::new("epoll", 1);
    plan.limits = "{queue_time: 300ms}".to_owned();
    let pool = ", pools: [{id: p, keys: [{id: x1, secret: s1}], limits: [{rpm: 60, burst: 60s}]}]";
    plan = plan.other("x", at, pool);
    plan.more = format!(
        "redis: {{url: \"{}\", namespace: {NAMESPACE}}}\n",
        server.url()
    );
    let houses: Vec<House> = (0..4).map(|_| House::open(&plan)).collect();
    let clients: Vec<JoinHandle<Vec<u16>>> = houses
        .iter()
        .map(|house| {
            let at = house.at;
            std::thread::spawn(move || {
                let mut conn = Conn::plain(at);
                let ask = |n| words::Ask::chat("at-x", &format!("number {n}"));
                let told = (0..22).map(|n| conn.ask(&ask(n)).head.status);
                told.collect()
            })
        })
        .collect();
    let mut served = 0;
    for client in clients {
        let statuses = client.join().expect("a client");
        served += statuses.iter().filter(|s| **s == 200).count();
    }
    let book = provider.books().remove(0);
    assert!(book.refused().is_empty(), "{:?}", book.refused());
    // Not more than there is; and less by what lies with routers that are through already: how much is served in the long run is shown above.
    assert!((40..=68).contains(&served), "{served} of 60 and what flows");
    drop(houses);
    provider.stop();
}
