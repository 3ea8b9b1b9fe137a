//! The node, its providers and the time they live in.

use super::checks::{self, Call};
use super::clients::{Client, Plan, text_of};
use super::films;
use super::kept::is_bill;
use super::network::{Events, What};
use super::servers::Servers;
use super::store::{self, Store};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use stokehold::base::{AttemptId, ClientId, Instant, Now, Rng, ShardId, Slab, Slot, WallTime};
use stokehold::canon::{DialectName, Event};
use stokehold::config::Config;
use stokehold::fake::{Fake, ReplyId, Request, Settings, Step};
use stokehold::protocol::dialect::Decoder;
use stokehold::protocol::framing::sse;
use stokehold::shard::{self, Input, LedgerRow, Mail, Output, Setup, Shard, UpstreamFault};

/// What one run amounted to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub exchanges: u64,
    pub answered: u64,
    pub failed: u64,
    pub gone: u64,
    pub calls: u64,
    pub retried: u64,
    /// Calls beside others that were late.
    pub hedged: u64,
    /// Requests of ours that keep prompts in caches.
    pub pinged: u64,
    pub waited: u64,
    /// Requests that waited for another to write their prompt, tokens that were expected of caches, and those of them that were billed as read.
    pub gated: u64,
    pub expected: u64,
    pub read: u64,
    /// Answers told on lanes.
    pub on_lanes: u64,
    pub billed_tokens: u64,
    pub nano_usd: i64,
    /// Answers made in the background that were billed.
    pub apart: u64,
    /// Videos that were ordered, and that were fetched.
    pub films: u64,
    pub fetched: u64,
    /// Reports of own servers that take nothing, and of loads.
    pub shut_servers: u64,
    pub loads: u64,
}

impl Sum {
    pub fn add(&mut self, other: &Self) {
        self.exchanges += other.exchanges;
        self.answered += other.answered;
        self.failed += other.failed;
        self.gone += other.gone;
        self.calls += other.calls;
        self.retried += other.retried;
        self.hedged += other.hedged;
        self.pinged += other.pinged;
        self.waited += other.waited;
        self.gated += other.gated;
        self.expected += other.expected;
        self.read += other.read;
        self.on_lanes += other.on_lanes;
        self.billed_tokens += other.billed_tokens;
        self.nano_usd += other.nano_usd;
        self.apart += other.apart;
        self.films += other.films;
        self.fetched += other.fetched;
        self.shut_servers += other.shut_servers;
        self.loads += other.loads;
    }
}

/// One shard with what `net` would keep for it.
pub struct Node {
    pub shard: Shard,
    pub store: Store,
    pub clients: Slab<Client>,
    pub calls: BTreeMap<AttemptId, OpenCall>,
    timer: Instant,
}

/// A call on its way or being answered.
pub struct OpenCall {
    pub fake: usize,
    pub reply: Option<ReplyId>,
    pub paused: bool,
    /// Nothing arrives before what was sent before it.
    pub not_before: Instant,
    polling: bool,
    heard: Heard,
    /// The connection is broken: what was on its way does not arrive.
    broken: bool,
}

/// What a provider said in one attempt, as far as it reached the shard.
#[derive(Clone, Debug)]
pub struct Heard {
    dialect: DialectName,
    streams: bool,
    /// It was asked after something kept.
    pub ask: bool,
    pub bytes: Vec<u8>,
}

impl Heard {
    /// The provider's id and its words.
    pub fn text(&self) -> (String, String) {
        let (mut decoder, mut events) = (Decoder::new(self.dialect), Vec::new());
        let bytes = Bytes::from(self.bytes.clone());
        // A provider may call its stream something else.
        if self.streams || !self.bytes.starts_with(b"{") {
            let mut cutter = sse::Decoder::new(1 << 24);
            cutter.feed(bytes);
            while let Ok(Some(event)) = cutter.next() {
                if decoder.event(&event, &mut events).is_err() {
                    break;
                }
            }
        } else {
            let _ = decoder.whole(&bytes, &mut events);
        }
        let id = events.iter().find_map(|e| match e {
            Event::Started { id, .. } => Some(id.to_string()),
            _ => None,
        });
        (id.unwrap_or_default(), text_of(&events))
    }
}

/// In which words a call is answered.
fn dialect_of(path: &str) -> DialectName {
    if path.contains("messages") {
        DialectName::Messages
    } else if path.contains("responses") {
        DialectName::Responses
    } else if path.ends_with("/v1/completions") {
        DialectName::Completions
    } else {
        DialectName::Chat
    }
}

pub struct World {
    pub rng: Rng,
    pub now: Instant,
    pub config: Arc<Config>,
    pub nodes: Vec<Node>,
    pub fakes: Vec<Fake>,
    pub events: Events,
    pub faults: FaultsDrawn,
    pub servers: Servers,
    /// Every client that ever was, with what it got.
    pub ended: Vec<Client>,
    pub calls: Vec<Call>,
    pub rows: Vec<LedgerRow>,
    pub heard: Vec<Heard>,
    /// Answers made in the background that a client knows of, and whose they are.
    pub kept: BTreeMap<String, &'static str>,
    /// The ledger had no room for a while.
    pub was_short_of_rows: bool,
    /// Clients that had their last word, by shard: nothing may be said to them any more.
    pub told_all: BTreeSet<(usize, Slot)>,
    /// A shard was lost in this run.
    pub crashed: bool,
    /// The calendar jumps in this run.
    pub jumped: bool,
    /// Calls within attempts that lost shards had made.
    lost_questions: u64,
    out: Vec<Output>,
}

/// Which faults exist in this run.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultsDrawn {
    pub refuse_connect: bool,
    pub never_connect: bool,
    pub reset: bool,
    /// HTTP's own end comes long after an answer's last byte, or never in time.
    pub late_end: bool,
    pub clients_leave: bool,
    pub slow_clients: bool,
    pub bad_bodies: bool,
    pub ledger_stalls: bool,
    pub provider: bool,
    pub clock_jumps: bool,
    pub reloads: bool,
    pub crash: bool,
    /// Letters between shards are late, lost or doubled.
    pub bad_post: bool,
}

impl World {
    pub fn drawn(seed: u64) -> Self {
        let mut rng = Rng::seeded(seed ^ 0x5eed);
        let shards = 1 + rng.below(3) as u16;
        let config = Arc::new(super::network::config(&mut rng));
        let chance = |rng: &mut Rng| rng.once_in(2);
        // One run in four is calm: everything must then succeed.
        let calm = rng.once_in(4);
        let faults = if calm {
            FaultsDrawn::default()
        } else {
            FaultsDrawn {
                refuse_connect: chance(&mut rng),
                never_connect: chance(&mut rng),
                reset: chance(&mut rng),
                late_end: chance(&mut rng),
                clients_leave: chance(&mut rng),
                slow_clients: chance(&mut rng),
                bad_bodies: chance(&mut rng),
                ledger_stalls: rng.once_in(4),
                provider: chance(&mut rng),
                clock_jumps: rng.once_in(4),
                reloads: rng.once_in(3),
                crash: rng.once_in(8),
                bad_post: rng.once_in(3),
            }
        };
        let fakes = config
            .providers
            .iter()
            .enumerate()
            .map(|(i, provider)| fake(&mut rng, i, &provider.name, faults))
            .collect();
        let nodes = (0..shards)
            .map(|id| Node {
                shard: Shard::new(Setup {
                    config: config.clone(),
                    id: ShardId(id),
                    shards,
                    seed: rng.bits(),
                    secret: [7; 32],
                    restarts: 0,
                }),
                store: Store::default(),
                clients: Slab::new(10_000),
                calls: BTreeMap::new(),
                timer: Instant::NEVER,
            })
            .collect();
        let mut world = Self {
            rng,
            now: Instant(1_000_000_000),
            servers: Servers::drawn(seed, &config),
            config,
            nodes,
            fakes,
            events: Events::default(),
            faults,
            ended: Vec::new(),
            calls: Vec::new(),
            rows: Vec::new(),
            heard: Vec::new(),
            kept: BTreeMap::new(),
            was_short_of_rows: faults.ledger_stalls,
            told_all: BTreeSet::new(),
            crashed: false,
            jumped: faults.clock_jumps,
            lost_questions: 0,
            out: Vec::new(),
        };
        world.draw_traffic();
        world.draw_servers();
        world
    }

    fn draw_traffic(&mut self) {
        let count = 10 + self.rng.below(40);
        let spread = Duration::from_millis(1 + self.rng.below(20_000));
        for _ in 0..count {
            let at = self.now + spread.mul_f64(self.rng.unit());
            let shard = self.rng.below(self.nodes.len() as u64) as usize;
            let plan = Plan::drawn(&mut self.rng, self.faults);
            self.events.push(
                at,
                What::Arrive {
                    shard,
                    plan: Box::new(plan),
                },
            );
        }
        if self.faults.reloads {
            for _ in 0..1 + self.rng.below(4) {
                let at = self.now + spread.mul_f64(self.rng.unit());
                self.events.push(at, What::Reload);
            }
        }
        if self.faults.crash {
            let at = self.now + spread.mul_f64(self.rng.unit());
            let shard = self.rng.below(self.nodes.len() as u64) as usize;
            self.events.push(at, What::Crash { shard });
        }
        if self.faults.ledger_stalls {
            let at = self.now + spread.mul_f64(self.rng.unit());
            self.events.push(at, What::LedgerRoom(0));
            self.events
                .push(at + Duration::from_millis(500), What::LedgerRoom(10_000));
        }
    }

    /// Lives until nothing is left to happen, heals, lives again, and lets the checkers judge.
    pub fn run(mut self) -> Sum {
        self.live();
        self.heal();
        self.live();
        let now = self.wall();
        for fake in &mut self.fakes {
            fake.settle_background(now);
        }
        checks::all(&self);
        self.sum()
    }

    /// All faults end; whoever comes now must be served.
    fn heal(&mut self) {
        self.faults = FaultsDrawn::default();
        for fake in &mut self.fakes {
            fake.faults().heal();
        }
        // Longer than any breaker, dead key or bucket stays shut.
        self.now = self.now + Duration::from_secs(600);
        self.heal_servers();
        self.tick_all();
        self.look_at_last();
        for shard in 0..self.nodes.len() {
            for nth in 0..3 {
                let at = self.now + Duration::from_secs(30 * nth);
                let plan = loop {
                    let drawn = Plan::drawn(&mut self.rng, FaultsDrawn::default());
                    // Sockets cancel some of their own requests: of them it cannot be said what must succeed.
                    // And where nobody keeps answers, none is made in the background.
                    if !drawn.is_socket() && !drawn.comes_back {
                        break drawn;
                    }
                };
                let plan = Plan {
                    must_succeed: true,
                    // A deadline may well be too short for an answer.
                    headers: Vec::new(),
                    ..plan
                };
                self.events.push(
                    at,
                    What::Arrive {
                        shard,
                        plan: Box::new(plan),
                    },
                );
            }
        }
    }

    fn live(&mut self) {
        let mut steps = 0_u64;
        while let Some((at, what)) = self.events.pop() {
            steps += 1;
            assert!(steps < 2_000_000, "the world does not come to rest");
            self.now = self.now.max(at);
            self.happen(what);
        }
    }

    pub fn wall(&self) -> Now {
        let jump = if self.faults.clock_jumps {
            ((self.now.0 / 700_000_000) % 5) as i64 * 3_000_000_000
        } else {
            0
        };
        Now {
            instant: self.now,
            wall: WallTime(1_790_000_000_000_000_000 + self.now.0 as i64 - jump),
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Arrive { shard, plan } => self.arrive(shard, *plan),
            What::In { shard, input } => self.give(shard, input),
            What::Deliver {
                shard,
                attempt,
                input,
            } => {
                // After a cancel nothing more arrives.
                if self.nodes[shard].calls.contains_key(&attempt) {
                    self.note(shard, attempt, &input);
                    self.give(shard, input);
                }
            }
            What::Body { shard, client } => self.send_body(shard, client),
            What::Leave { shard, client } => self.leave(shard, client),
            What::Tick { shard } => {
                self.nodes[shard].timer = Instant::NEVER;
                self.give(shard, Input::Tick);
            }
            What::CallArrives {
                shard,
                attempt,
                request,
            } => self.call_arrives(shard, attempt, &request),
            What::Poll { shard, attempt } => {
                if let Some(call) = self.nodes[shard].calls.get_mut(&attempt) {
                    call.polling = false;
                }
                self.poll(shard, attempt);
            }
            What::HungUp { fake, reply } => {
                let now = self.wall();
                self.fakes[fake].hung_up(reply, now);
            }
            What::Say {
                shard,
                client,
                text,
            } => self.say(shard, client, Some(&text)),
            What::Goodbye { shard, client } => self.say(shard, client, None),
            What::Reload => self.reload(),
            What::Server { which } => self.poll_server(which),
            What::Feels { which, engine } => self.feel(which, engine),
            What::Crash { shard } => self.crash(shard),
            What::Reset { shard, attempt } => self.reset(shard, attempt),
            What::Read { shard, client } => self.client_reads(shard, client),
            What::Stored { shard, asker, told } => self.give(shard, Input::Told { asker, told }),
            What::LedgerRoom(rows) => {
                for shard in 0..self.nodes.len() {
                    self.give(shard, Input::LedgerRoom(rows));
                }
            }
        }
    }

    /// Keeps what a shard hears of a provider.
    fn note(&mut self, shard: usize, attempt: AttemptId, input: &Input) {
        let calls = &mut self.nodes[shard].calls;
        let Some(call) = calls.get_mut(&attempt) else {
            return;
        };
        match input {
            Input::UpstreamHead { headers, .. } => {
                let kind = headers.iter().find(|(n, _)| &n[..] == b"content-type");
                call.heard.streams = kind.is_some_and(|(_, v)| v.starts_with(b"text/event-stream"));
            }
            Input::UpstreamBytes { bytes, .. } => call.heard.bytes.extend_from_slice(bytes),
            Input::UpstreamEnd { .. } | Input::UpstreamFailed { .. } => {
                self.heard.extend(calls.remove(&attempt).map(|c| c.heard));
            }
            _ => {}
        }
    }

    fn say(&mut self, shard: usize, client: ClientId, text: Option<&str>) {
        let Some(known) = self.nodes[shard].clients.get_mut(client.0) else {
            return;
        };
        let bytes = match text {
            Some(text) => known.say(text),
            None if known.is_served() => Client::goodbye(),
            None => {
                let at = self.now + Duration::from_secs(5);
                return self.events.push(at, What::Goodbye { shard, client });
            }
        };
        self.give(shard, Input::SocketBytes { client, bytes });
    }

    fn reload(&mut self) {
        let mut config = (*self.config).clone();
        config.generation += 1;
        self.config = Arc::new(config);
        for shard in 0..self.nodes.len() {
            self.give(shard, Input::Config(self.config.clone()));
        }
    }

    /// All that a shard held is lost but the rows of what it had begun.
    fn crash(&mut self, shard: usize) {
        self.crashed = true;
        self.lost_questions += self.nodes[shard].shard.meters().video_questions;
        let (now, mut out) = (self.wall(), Vec::new());
        self.nodes[shard].shard.interrupted(now, &mut out);
        for output in out {
            if let Output::Post(Mail::Spool(note)) = output {
                self.nodes[shard].store.note(note);
                continue;
            }
            let Output::Post(Mail::Ledger(row)) = output else {
                panic!("only rows")
            };
            self.rows.push(*row);
        }
        let attempts: Vec<AttemptId> = self.nodes[shard].calls.keys().copied().collect();
        for attempt in attempts {
            self.cancel(shard, attempt);
        }
        let slots: Vec<_> = self.nodes[shard].clients.iter().map(|(s, _)| s).collect();
        for slot in slots {
            if let Some(mut client) = self.nodes[shard].clients.remove(slot) {
                client.crashed = true;
                self.ended.push(client);
            }
        }
        self.nodes[shard].timer = Instant::NEVER;
        self.nodes[shard].shard = Shard::new(Setup {
            config: self.config.clone(),
            id: ShardId(shard as u16),
            shards: self.nodes.len() as u16,
            seed: self.rng.bits(),
            secret: [7; 32],
            restarts: 1,
        });
        // What was on its way to the old one finds nobody.
        self.events.forget_calls(shard);
    }

    /// Calls that are no attempts of their own: how a job stands that an attempt started, and its file.
    pub fn calls_within_attempts(&self) -> u64 {
        let nodes = self.nodes.iter();
        let live: u64 = nodes.map(|n| n.shard.meters().video_questions).sum();
        live + self.lost_questions
    }

    /// Who had a video started, or asked after it, comes back; to any shard.
    fn comes_back(&mut self, client: &Client) {
        if client.left || client.status() != 200 || client.aborted {
            return;
        }
        let Some(plan) = films::next(&client.plan, &client.got) else {
            return;
        };
        let at = self.now + films::pause(&mut self.rng);
        let shard = self.rng.below(self.nodes.len() as u64) as usize;
        let plan = Box::new(plan);
        self.events.push(at, What::Arrive { shard, plan });
    }

    fn tick_all(&mut self) {
        for shard in 0..self.nodes.len() {
            self.give(shard, Input::Tick);
        }
    }

    fn arrive(&mut self, shard: usize, plan: Plan) {
        let leaves = plan.leaves_after;
        let Ok(slot) = self.nodes[shard].clients.insert(Client::new(plan)) else {
            panic!("room")
        };
        let client = ClientId(slot);
        let head = self.nodes[shard].clients.get(slot).unwrap().plan.head();
        if let Some(after) = leaves {
            self.events
                .push(self.now + after, What::Leave { shard, client });
        }
        self.give(shard, Input::Head { client, head });
    }

    fn send_body(&mut self, shard: usize, client: ClientId) {
        let Some(known) = self.nodes[shard].clients.get(client.0) else {
            return;
        };
        let input = match known.plan.body_fault {
            Some(why) => Input::BodyFailed { client, why },
            None => Input::Body {
                client,
                body: known.plan.body.clone(),
            },
        };
        self.give(shard, input);
    }

    fn leave(&mut self, shard: usize, client: ClientId) {
        if let Some(mut gone) = self.nodes[shard].clients.remove(client.0) {
            gone.left = true;
            self.gone(gone);
            self.give(shard, Input::ClientGone { client });
        }
    }

    fn client_reads(&mut self, shard: usize, client: ClientId) {
        let Some(known) = self.nodes[shard].clients.get_mut(client.0) else {
            return;
        };
        known.unread = 0;
        if std::mem::take(&mut known.congested) {
            self.give(shard, Input::Eased { client });
        }
        self.drop_if_ended(shard, client);
    }

    /// One step of a shard, and what it asks for.
    pub fn give(&mut self, shard: usize, input: Input) {
        let now = self.wall();
        let mut out = std::mem::take(&mut self.out);
        self.nodes[shard].shard.on(now, input, &mut out);
        for output in out.drain(..) {
            self.perform(shard, output);
        }
        self.out = out;
        if let Some(at) = self.nodes[shard].shard.next_timer()
            && at < self.nodes[shard].timer
        {
            self.nodes[shard].timer = at;
            self.events.push(at.max(self.now), What::Tick { shard });
        }
    }

    fn perform(&mut self, shard: usize, output: Output) {
        match output {
            Output::ReadBody { client, .. } => {
                let at = self.now + self.latency();
                self.events.push(at, What::Body { shard, client });
            }
            Output::Respond {
                client,
                head,
                body,
                end,
            } => self.tell_client(shard, client, |c| c.respond(head, body, end)),
            Output::Write { client, bytes } => self.tell_client(shard, client, |c| c.write(bytes)),
            Output::End { client } => self.tell_client(shard, client, Client::end),
            Output::Abort { client } => self.tell_client(shard, client, Client::abort),
            Output::Upgrade { client, .. } => {
                let Some(known) = self.nodes[shard].clients.get_mut(client.0) else {
                    return;
                };
                known.upgrade();
                for (after, text) in known.plan.says.clone() {
                    let at = self.now + after;
                    let what = What::Say {
                        shard,
                        client,
                        text,
                    };
                    self.events.push(at, what);
                }
                // Who must be served stays for the slowest answer that a run draws.
                let stays = if known.plan.must_succeed { 60 } else { 5 };
                let at = self.now + Duration::from_secs(stays);
                self.events.push(at, What::Goodbye { shard, client });
            }
            Output::Call(call) => self.call(shard, *call),
            Output::Cancel { attempt } => self.cancel(shard, attempt),
            Output::Pause { attempt } => {
                if let Some(call) = self.nodes[shard].calls.get_mut(&attempt) {
                    call.paused = true;
                }
            }
            Output::Resume { attempt } => {
                if let Some(call) = self.nodes[shard].calls.get_mut(&attempt) {
                    call.paused = false;
                }
                self.poll(shard, attempt);
            }
            Output::Post(Mail::Ledger(row)) => self.rows.push(*row),
            // Keys of simulated providers do not expire.
            Output::Post(Mail::Log(_) | Mail::Refresh { .. } | Mail::Lease(_)) => {}
            Output::Post(Mail::Spool(note)) => self.nodes[shard].store.note(note),
            Output::Post(Mail::Ask(question)) => {
                // Who comes back here looks for what providers keep, and the store of another shard would not know it.
                if let Some(told) = store::unknown(&question.what) {
                    let (asker, told) = (question.asker, Box::new(told));
                    let at = self.now + Duration::from_micros(70);
                    self.events.push(at, What::Stored { shard, asker, told });
                }
            }
            Output::TellOne { shard: to, gossip } => self.carry(to, gossip),
            Output::Tell(gossip) => {
                let at = self.now + Duration::from_micros(100);
                for other in (0..self.nodes.len()).filter(|other| *other != shard) {
                    self.events.push(
                        at,
                        What::In {
                            shard: other,
                            input: Input::Gossip(gossip.clone()),
                        },
                    );
                }
            }
        }
    }

    /// Letters about leases are late, and some are lost or come twice.
    fn carry(&mut self, to: ShardId, gossip: shard::Gossip) {
        let copies = match self.faults.bad_post.then(|| self.rng.below(8)) {
            Some(0) => 0,
            Some(1) => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let late = match self.faults.bad_post {
                true => self.rng.below(200_000),
                false => self.rng.below(1_000),
            };
            self.events.push(
                self.now + Duration::from_micros(50 + late),
                What::In {
                    shard: usize::from(to.0),
                    input: Input::Gossip(gossip.clone()),
                },
            );
        }
    }

    fn tell_client(&mut self, shard: usize, client: ClientId, tell: impl FnOnce(&mut Client)) {
        // Who has left hears nothing; who had the last word must not be spoken to.
        let Some(known) = self.nodes[shard].clients.get_mut(client.0) else {
            let over = self.told_all.contains(&(shard, client.0));
            assert!(!over, "something is said after the last word");
            return;
        };
        tell(known);
        if known.ended {
            self.told_all.insert((shard, client.0));
        }
        let slow = known.plan.slow;
        if let Some(pause) = slow {
            if known.unread > 2_000 && !known.congested && !known.ended {
                known.congested = true;
                let at = self.now + Duration::from_millis(1);
                self.events.push(
                    at,
                    What::In {
                        shard,
                        input: Input::Congested { client },
                    },
                );
                self.events
                    .push(self.now + pause, What::Read { shard, client });
            }
        } else {
            known.unread = 0;
        }
        self.drop_if_ended(shard, client);
    }

    fn drop_if_ended(&mut self, shard: usize, client: ClientId) {
        let done = self.nodes[shard]
            .clients
            .get(client.0)
            .is_some_and(|c| c.ended && !c.congested);
        if done && let Some(client) = self.nodes[shard].clients.remove(client.0) {
            self.comes_back(&client);
            self.gone(client);
        }
    }

    fn latency(&mut self) -> Duration {
        Duration::from_micros(50 + self.rng.below(30_000))
    }

    fn call(&mut self, shard: usize, call: shard::Call) {
        let fake = call.origin.0 as usize;
        let pool = self.config.pools.iter().position(|p| {
            p.keys.iter().any(|k| {
                let source = &self.config.keys[k.0 as usize].source;
                let stokehold::config::KeySource::Secret(secret) = source else {
                    panic!("all have a secret: {source:?}");
                };
                call.headers
                    .iter()
                    .any(|(_, v)| v.contains(secret.expose()))
            })
        });
        self.calls.push(Call {
            pool: pool.expect("a call carries a key of ours"),
            ask: call.path.contains("/v1/responses/"),
            began: self.now,
            sent: false,
        });
        let open = OpenCall {
            fake,
            reply: None,
            paused: false,
            not_before: self.now,
            polling: false,
            heard: Heard {
                dialect: dialect_of(&call.path),
                streams: false,
                ask: call.path.contains("/v1/responses/"),
                bytes: Vec::new(),
            },
            broken: false,
        };
        self.nodes[shard].calls.insert(call.attempt, open);
        let attempt = call.attempt;
        if self.faults.refuse_connect && self.rng.once_in(8) {
            let input = Input::UpstreamFailed {
                attempt,
                why: UpstreamFault::Connect("refused".to_owned()),
            };
            return self.deliver(shard, attempt, input);
        }
        if self.faults.never_connect && self.rng.once_in(12) {
            return;
        }
        let call_made = self.calls.last_mut();
        call_made.expect("pushed above").sent = true;
        self.deliver(shard, attempt, Input::Sent { attempt });
        let at = self.nodes[shard].calls[&attempt].not_before;
        self.events.push(
            at,
            What::CallArrives {
                shard,
                attempt,
                request: Box::new(call),
            },
        );
        if self.faults.reset && self.rng.once_in(8) {
            let at = self.now + Duration::from_millis(self.rng.below(3_000));
            self.events.push(at, What::Reset { shard, attempt });
        }
    }

    /// Something of a call reaches the shard, after what was sent before it.
    fn deliver(&mut self, shard: usize, attempt: AttemptId, input: Input) {
        let latency = self.latency();
        let Some(call) = self.nodes[shard].calls.get_mut(&attempt) else {
            return;
        };
        call.not_before = call.not_before.max(self.now + latency);
        self.events.push(
            call.not_before,
            What::Deliver {
                shard,
                attempt,
                input,
            },
        );
    }

    fn call_arrives(&mut self, shard: usize, attempt: AttemptId, call: &shard::Call) {
        let now = self.wall();
        let Some(open) = self.nodes[shard]
            .calls
            .get_mut(&attempt)
            .filter(|open| !open.broken)
        else {
            return;
        };
        let body: Vec<u8> = call.body.concat();
        let header = |name: &str| {
            call.headers
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| &**v)
        };
        let request = Request {
            method: call.method,
            path: &call.path,
            header: &header,
            body: &body,
        };
        let reply = self.fakes[open.fake].handle(now, &request);
        open.reply = Some(reply);
        self.poll(shard, attempt);
    }

    /// Asks a fake for all it has to say now.
    fn poll(&mut self, shard: usize, attempt: AttemptId) {
        loop {
            let now = self.wall();
            let Some(call) = self.nodes[shard].calls.get_mut(&attempt) else {
                return;
            };
            let (Some(reply), false, false) = (call.reply, call.paused, call.polling) else {
                return;
            };
            match self.fakes[call.fake].next(reply, now) {
                Step::Wait(at) => {
                    call.polling = true;
                    self.events.push(at, What::Poll { shard, attempt });
                    return;
                }
                Step::Head { status, headers } => {
                    let headers = headers
                        .into_iter()
                        .map(|(n, v)| (Bytes::from(n.to_string()), Bytes::from(v.to_string())))
                        .collect();
                    self.deliver(
                        shard,
                        attempt,
                        Input::UpstreamHead {
                            attempt,
                            status,
                            headers,
                        },
                    );
                }
                Step::Bytes(bytes) => self.deliver_cut(shard, attempt, &bytes),
                Step::End => {
                    call.reply = None;
                    if self.faults.late_end && self.rng.once_in(6) {
                        let late = Duration::from_millis(self.rng.below(5_000));
                        call.not_before = call.not_before.max(self.now) + late;
                    }
                    return self.deliver(shard, attempt, Input::UpstreamEnd { attempt });
                }
                Step::Reset => {
                    call.reply = None;
                    let why = UpstreamFault::Reset;
                    return self.deliver(shard, attempt, Input::UpstreamFailed { attempt, why });
                }
                Step::Stall => return,
            }
        }
    }

    /// The network cuts where it likes.
    fn deliver_cut(&mut self, shard: usize, attempt: AttemptId, bytes: &Bytes) {
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let most = rest.len() as u64;
            let take = if self.rng.once_in(3) {
                1 + self.rng.below(most)
            } else {
                most
            };
            let piece = rest.split_to(take as usize);
            // Whoever reads hands over a buffer of its own.
            let piece = Bytes::copy_from_slice(&piece);
            self.deliver(
                shard,
                attempt,
                Input::UpstreamBytes {
                    attempt,
                    bytes: piece,
                },
            );
        }
    }

    fn cancel(&mut self, shard: usize, attempt: AttemptId) {
        let latency = self.latency();
        let Some(call) = self.nodes[shard].calls.remove(&attempt) else {
            return;
        };
        self.heard.push(call.heard);
        if let Some(reply) = call.reply {
            self.events.push(
                self.now + latency,
                What::HungUp {
                    fake: call.fake,
                    reply,
                },
            );
        }
    }

    /// The connection breaks for both.
    fn reset(&mut self, shard: usize, attempt: AttemptId) {
        let now = self.wall();
        let Some(call) = self.nodes[shard].calls.get_mut(&attempt) else {
            return;
        };
        if std::mem::replace(&mut call.broken, true) {
            return;
        }
        if let Some(reply) = call.reply.take() {
            self.fakes[call.fake].hung_up(reply, now);
        }
        self.deliver(
            shard,
            attempt,
            Input::UpstreamFailed {
                attempt,
                why: UpstreamFault::Reset,
            },
        );
    }

    /// A call is over when its row is written.
    fn sum(&self) -> Sum {
        let mut sum = Sum {
            calls: self.calls.len() as u64,
            ..Sum::default()
        };
        for client in &self.ended {
            sum.exchanges += 1;
            if client.plan.dialect == DialectName::Responses {
                sum.on_lanes += client.heard.values().filter(|h| h.done).count() as u64;
            }
            match (client.left || client.crashed, client.succeeded()) {
                (true, _) => sum.gone += 1,
                (false, true) => sum.answered += 1,
                (false, false) => sum.failed += 1,
            }
        }
        sum.retried = self.rows.iter().filter(|row| row.attempt > 1).count() as u64;
        (sum.films, sum.fetched) = films::count(self);
        for node in &self.nodes {
            let meters = node.shard.meters();
            sum.waited += meters.waited;
            sum.gated += meters.gated;
            sum.hedged += meters.hedges;
            sum.pinged += meters.pings;
            sum.expected += meters.cached_expected.0;
            sum.read += meters.cached_billed.0;
        }
        sum.apart = self.rows.iter().filter(|row| is_bill(row)).count() as u64;
        (sum.shut_servers, sum.loads) = (self.servers.shut, self.servers.loads);
        sum.nano_usd = self.rows.iter().map(|row| row.cost.0).sum();
        for fake in &self.fakes {
            let billed = fake.book().totals();
            sum.billed_tokens += billed.uncached
                + billed.read
                + billed.written_5m
                + billed.written_1h
                + billed.output;
        }
        sum
    }
}

fn fake(rng: &mut Rng, index: usize, name: &str, faults: FaultsDrawn) -> Fake {
    // A job is known to the project that it was started in, and to no other.
    let keys = films::KEYS.map(|(key, whose)| (key.to_owned(), whose.to_owned()));
    let films = name == "films";
    let settings = Settings {
        first_token: Duration::from_millis(rng.below(800)),
        between_tokens: Duration::from_millis(rng.below(60)),
        output_tokens: 1 + rng.below(80),
        book_entries: 100_000,
        seed: rng.bits() ^ index as u64,
        video: Duration::from_millis(100 + rng.below(90_000)),
        keys: films.then(|| keys.to_vec()),
        ..Settings::default()
    };
    let mut fake = Fake::new(settings);
    if faults.provider {
        super::network::provider_faults(rng, fake.faults());
    }
    fake
}
