//! One core's state, without I/O: (now, input) → outputs.
//!
//! Knows no socket, clock or runtime: `net` and the simulator drive it alike. Every table is bounded; at its bound a new request is
//! refused with a time to come back, and nothing that runs is harmed. The phases of an exchange in order: `admit`, `route`, `send`,
//! `stream`, `settle`.

mod input;
/// What the I/O core makes credentials with, which sees of the pure rooms no `protocol`.
pub use crate::protocol::provider::{AwsCredential, Credential, google_auth, sts, when::http_date};
pub use input::{BodyFault, ClientHead, Headers, Held, Input, Slices, UpstreamFault};
/// How an own server is asked how it is.
mod probe;
pub use probe::{Next, Probe};
/// What is known of own servers.
mod servers;
pub use crate::policy::server::{Figures, Report, State};
pub use servers::{ServerName, ServerNews, Watched, watched};
mod output;
/// What a row says of prices.
pub use crate::policy::bill::Unit;
pub use output::{
    CACHE_STORAGE, Call, LedgerRow, LogLine, Mail, Outcome, Output, ResponseHead, Under,
};
/// Phase 1: read, authenticate, decode.
mod admit;
/// What tenants and their keys may use.
mod allowance;
pub use allowance::{Spending, Spent};
/// Prefixes that a provider keeps under a name: whose they are, where, and what keeping them costs.
mod cached;
/// Which key has which credential just now.
mod credentials;
/// Why requests went where they went.
mod decisions;
pub use decisions::{Explained, LeftOut, Line};
/// What exchanges share: pools, tenants, breakers, keys, timers.
mod desk;
/// All transitions of an exchange on one screen.
mod exchange;
/// What providers keep under names that they gave out, and who can be asked for it.
mod issued;
/// Asking again before a prompt's cache entry expires.
mod keep_warm;
/// What only its maker can read.
mod seals;
/// Answers that a provider keeps: who is asked for them, and when they are billed.
mod kept;
/// Limits that shards share.
mod leases;
/// Who waits for headroom, and whose turn it is.
mod line;
/// What is asked on a WebSocket of Responses.
mod lane_asks;
/// Requests and kept answers of a WebSocket of Responses.
mod lanes;
/// What a client may ask for, by method and path.
mod paths;
/// What is foreseen of requests and places.
mod forecast;
/// Cache marks and hints on the client's behalf.
mod marks;
/// How one answer is read and written, by form.
mod relay;
/// What answers without a provider: the catalogue, and refusals before there is an exchange.
mod reply;
/// Phase 2: choose and reserve.
mod route;
/// Phase 3: encode, begin the attempt; retry lands here.
mod send;
/// Phase 5: bill, release, record; reached exactly once.
mod settle;
/// Many requests on one WebSocket.
mod socket;
/// Phase 4: decode, forward, meter.
mod stream;
/// What a model is asked to do.
mod task;
mod transcribe;
/// Who could serve an exchange, and what each would cost.
mod weigh;
/// Jobs that make video, which outlast the request that starts them.
mod video;
pub use desk::Standing;
/// What shards tell each other.
mod gossip;
/// A second call beside one that is late.
mod hedge;
pub use gossip::Gossip;
/// Answers that the router itself stores.
pub mod stored;
/// What an exchange tells the store.
mod storing;
/// Who comes back for an answer.
mod fetch;
pub use leases::{LeaseAsk, LeaseReply};
mod meters;
pub use meters::Meters;

use crate::base::{
    AttemptId, Budget, ClientId, ExchangeId, Instant, Now, Rng, ShardId, Slab, Slot,
};
use crate::config::Config;
use desk::Desk;
use exchange::{Exchange, Happening};
use fetch::Fetch;
use lanes::Turn;
use socket::SocketSession;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One core's exchanges, pools, breakers and random numbers.
#[derive(Debug)]
pub struct Shard {
    exchanges: Slab<Box<Exchange>>,
    /// Who comes back for answers.
    fetches: Slab<Box<Fetch>>,
    /// When each of them is sent something next, if nothing comes.
    quiet: BTreeSet<(Instant, Slot)>,
    /// By the slot's index of a client: who it is now.
    clients: Vec<Option<(ClientId, Client)>>,
    /// WebSockets whose time is bounded, by its end.
    ends: BTreeSet<(Instant, ClientId)>,
    /// WebSockets on which a request has ended, or which shall be looked at for another reason.
    stirred: Vec<ClientId>,
    /// Bytes of clients' requests in memory: those that are read for us as well as those of WebSockets.
    bodies: Budget,
    desk: Desk,
}

/// What a client id stands for.
#[derive(Debug)]
enum Client {
    Exchange(ExchangeId),
    Socket(Box<SocketSession>),
    Fetch(Slot),
}

/// What a shard is made of.
#[derive(Clone)]
pub struct Setup {
    pub config: Arc<Config>,
    pub id: ShardId,
    /// How many shards share the instance's budgets.
    pub shards: u16,
    /// Different in every process and shard; the same seed repeats a run.
    pub seed: u64,
    /// What fingerprints of prompts are keyed with: the instance's, the same in all its shards and after a restart.
    pub secret: [u8; 32],
    /// How often this shard was started before in this process: what it has granted then it has forgotten.
    pub restarts: u32,
}

impl Shard {
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let exchanges_max = setup.config.limits.exchanges_max;
        let rng = Rng::seeded(setup.seed);
        Self {
            exchanges: Slab::new(exchanges_max),
            fetches: Slab::new(exchanges_max),
            quiet: BTreeSet::new(),
            clients: Vec::new(),
            ends: BTreeSet::new(),
            stirred: Vec::new(),
            bodies: Budget::default(),
            desk: Desk::new(setup, rng),
        }
    }

    /// Takes one input at `now` and appends to `out` what shall be done, in order.
    pub fn on(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        self.desk.heed_calendar(now);
        match input {
            Input::Head { client, head } => self.head(now, client, head, out),
            Input::Body { client, body } => self.by_client(client, Happening::Body(body), now, out),
            Input::BodyFailed { client, why } => {
                self.by_client(client, Happening::BodyFailed(why), now, out)
            }
            Input::SocketBytes { client, bytes } => self.socket_bytes(now, client, bytes, out),
            Input::ClientGone { client } => self.client_gone(now, client, out),
            Input::Congested { client } => self.flow(now, client, true, out),
            Input::Eased { client } => self.flow(now, client, false, out),
            Input::Sent { attempt } => self.by_attempt(attempt, Happening::Sent, now, out),
            Input::UpstreamHead {
                attempt,
                status,
                headers,
            } => {
                self.by_attempt(attempt, Happening::Head { status, headers }, now, out);
            }
            Input::UpstreamBytes { attempt, bytes } => {
                self.by_attempt(attempt, Happening::Bytes(bytes), now, out);
            }
            Input::UpstreamEnd { attempt } => self.by_attempt(attempt, Happening::End, now, out),
            Input::UpstreamFailed { attempt, why } => {
                self.by_attempt(attempt, Happening::Failed(why), now, out);
            }
            Input::Tick => self.tick(now, out),
            Input::Config(config) => self.desk.reload(config),
            Input::LedgerRoom(rows) => self.desk.ledger_room = rows,
            Input::Told { asker, told } => self.told(now, asker, *told, out),
            Input::Stop { exchange, name } => {
                let is = self
                    .exchanges
                    .get(exchange.0)
                    .is_some_and(|e| e.name == name);
                if is {
                    self.step(exchange, Happening::Cancelled, now, out);
                }
            }
            Input::SpoolRoom(room) => self.desk.spool_room = room,
            Input::Credential(held) => self.desk.take_credential(&held),
            Input::Server(news) => self.desk.take_server(now.instant, &news),
            Input::Lease(told) => self.desk.hear_from_above(now.instant, &told),
            Input::Gossip(gossip) => {
                self.desk.hear(now, gossip);
                // What it brought may be more than the table holds.
                self.desk.heed_caches(now, out);
            }
            Input::Drain => self.drain(now, out),
        }
        self.look_at_stirred(now, out);
        self.dispatch_waiting(now, out);
        // A lease that this shard grants itself is there at once; the next is not due before some milliseconds have gone.
        while self.desk.renew_leases(now.instant, out) {
            self.dispatch_waiting(now, out);
        }
        self.look_at_stirred(now, out);
        self.desk.tell_warm(now, out);
        while let Some(line) = self.desk.alarms.pop() {
            self.desk.log(line, out);
        }
    }

    /// When `Input::Tick` is wanted next; `None` when nothing is waited for.
    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        let end = self.ends.first().map(|(at, _)| *at);
        let ready = self.desk.timers.next().into_iter().chain(end);
        let lease = Some(self.desk.leases.at).filter(|at| *at < Instant::NEVER);
        let ready = ready.chain(self.desk.cached.next()).chain(lease);
        let quiet = self.quiet.first().map(|(at, _)| *at);
        ready.chain(self.desk.warmers.next()).chain(quiet).min()
    }

    /// The bytes of clients' requests that are in memory; who reads them counts there.
    #[must_use]
    pub fn bodies(&self) -> Budget {
        self.bodies.clone()
    }

    /// The rows of all attempts that are open, as interrupted by a fault of ours: for when this shard's state can no longer be believed.
    pub fn interrupted(&self, now: Now, out: &mut Vec<Output>) {
        for (_, exchange) in self.exchanges.iter() {
            exchange.interrupted(now, out);
        }
        self.desk.owed_caches(out);
    }

    /// What this core has counted so far.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.desk.meters
    }

    /// What is known of warm prompts, for a shard after a restart. Some milliseconds for 100,000 of them.
    #[must_use]
    pub fn snapshot(&self, now: Now) -> Vec<u8> {
        self.desk.caches.warmth.snapshot(now)
    }

    /// Goes on with what an earlier shard knew; how many prompts of it are still warm. Bytes that are not a snapshot's change nothing.
    pub fn restore(&mut self, bytes: &[u8], now: Now) -> usize {
        self.desk.caches.warmth.restore(bytes, now).unwrap_or(0)
    }

    /// Counts what tenants and keys spent before this process began.
    pub fn remember(&mut self, spent: &Spent, now: Now) {
        self.desk.remember_spent(spent, now);
    }

    /// Why a request went where it went, by the exchange's id or the newest of all; `None` where that is forgotten.
    #[must_use]
    pub fn explain(&self, exchange: Option<&str>) -> Option<Explained> {
        self.desk.decisions.find(exchange)
    }

    /// Exchanges that have not settled, and how much they hold; zero all over when nothing is open.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let clients = self.clients.iter().flatten().count();
        self.desk.standing(self.exchanges.len(), clients)
    }

    fn by_client(&mut self, client: ClientId, what: Happening, now: Now, out: &mut Vec<Output>) {
        if let Some(&mut Client::Exchange(exchange)) = self.client(client) {
            self.step(exchange, what, now, out);
        }
    }

    fn by_attempt(&mut self, attempt: AttemptId, what: Happening, now: Now, out: &mut Vec<Output>) {
        // A byte may be under way when the attempt has ended.
        if let Some(&exchange) = self.desk.attempts.get(attempt.0) {
            if let Some(exchange) = self.exchanges.get_mut(exchange.0) {
                exchange.turn_to(attempt);
            }
            self.step(exchange, what, now, out);
        }
    }

    /// One exchange takes one step; when that was its last, it leaves.
    fn step(&mut self, id: ExchangeId, what: Happening, now: Now, out: &mut Vec<Output>) {
        let Some(exchange) = self.exchanges.get_mut(id.0) else {
            return;
        };
        exchange.on(&mut self.desk, now, what, out);
        exchange.part_when_told();
        let parted = exchange.parted.take();
        let dropped_socket = exchange.dropped_socket.take();
        let settled = exchange.is_settled();
        let handed = exchange.handed.take();
        let again = handed.map(|id| fetch::again(exchange, id));
        // Who listened to the end, or until now.
        let left = parted.or_else(|| settled.then(|| exchange.down()));
        let turn = left.as_ref().and_then(|_| exchange.turn.take());
        if settled {
            self.exchanges.remove(id.0);
            self.desk.line.left(id);
        } else {
            let at = exchange.wants_tick();
            exchange.armed = self.desk.timers.arm(id, exchange.armed, at);
        }
        if let Some(down) = left {
            self.forget(down, id, turn.map(|turn| *turn));
        }
        if let Some(fetch) = again {
            self.begin_fetch(now, fetch, out);
        }
        if let Some(client) = dropped_socket {
            self.client_gone(now, client, out);
        }
    }

    /// Takes nothing new; what nobody waits for does not hold the node up.
    fn drain(&mut self, now: Now, out: &mut Vec<Output>) {
        self.desk.draining = true;
        self.desk.warmers.clear();
        self.desk.leave_caches(now, out);
        let all: Vec<ExchangeId> = self
            .exchanges
            .iter()
            .map(|(slot, _)| ExchangeId(slot))
            .collect();
        for exchange in all {
            self.step(exchange, Happening::Draining, now, out);
        }
        let sockets = self.clients.iter().flatten();
        let sockets = sockets.filter(|(_, client)| matches!(client, Client::Socket(_)));
        self.stirred.extend(sockets.map(|(id, _)| *id));
    }

    fn client_gone(&mut self, now: Now, client: ClientId, out: &mut Vec<Output>) {
        match self.client(client) {
            Some(&mut Client::Exchange(exchange)) => {
                self.step(exchange, Happening::ClientGone, now, out)
            }
            Some(Client::Socket(session)) => {
                for exchange in session.exchanges() {
                    self.step(exchange, Happening::ClientGone, now, out);
                }
            }
            Some(&mut Client::Fetch(slot)) => self.drop_fetch(slot),
            None => {}
        }
        self.fetches_of_socket(client);
        self.drop_client(client);
    }

    fn flow(&mut self, now: Now, client: ClientId, congested: bool, out: &mut Vec<Output>) {
        let what = || {
            if congested {
                Happening::Congested
            } else {
                Happening::Eased
            }
        };
        match self.client(client) {
            Some(&mut Client::Exchange(exchange)) => self.step(exchange, what(), now, out),
            Some(Client::Socket(session)) => {
                session.congested = congested;
                for exchange in session.exchanges() {
                    self.step(exchange, what(), now, out);
                }
                self.socket_fetches_flow(client, congested, out);
            }
            Some(&mut Client::Fetch(slot)) => self.fetch_flow(slot, congested, out),
            None => {}
        }
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        self.desk.heed_caches(now, out);
        self.keep_warm(now, out);
        self.heed_quiet(now, out);
        while let Some((_, client)) = self
            .ends
            .first()
            .copied()
            .filter(|(at, _)| *at <= now.instant)
        {
            self.ends.pop_first();
            self.end_of_time(client);
        }
        while let Some((at, id)) = self.desk.timers.due(now.instant) {
            if let Some(exchange) = self.exchanges.get_mut(id.0).filter(|e| e.armed == at) {
                exchange.armed = Instant::NEVER;
                self.step(id, Happening::Timer, now, out);
            }
        }
    }

    /// Lets those whose turn has come try for headroom, each at most once.
    fn dispatch_waiting(&mut self, now: Now, out: &mut Vec<Output>) {
        self.desk.unpark_who_left();
        if !self.desk.line.begin_round(now.instant) {
            return;
        }
        let mut tried: Vec<ExchangeId> = Vec::new();
        while let Some(who) = self.desk.line.next(now.instant, &tried) {
            self.desk.unpark(who.exchange);
            self.step(who.exchange, Happening::Retry, now, out);
            if self.desk.line.is_waiting(who.exchange) {
                tried.push(who.exchange);
            } else {
                self.desk.line.served(who.tenant);
            }
        }
        self.desk.line.end_round(now.instant);
    }

    fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        let (is, client) = self.clients.get_mut(id.0.index as usize)?.as_mut()?;
        (*is == id).then_some(client)
    }

    fn keep_client(&mut self, id: ClientId, client: Client) {
        let index = id.0.index as usize;
        if self.clients.len() <= index {
            // Indices are given out densely by who drives us, within its own bound.
            self.clients.resize_with(index + 1, || None);
        }
        self.clients[index] = Some((id, client));
    }

    fn drop_client(&mut self, id: ClientId) {
        let until = match self.client(id) {
            None => return,
            Some(Client::Socket(session)) => session.until,
            Some(Client::Exchange(_) | Client::Fetch(_)) => Instant::NEVER,
        };
        self.ends.remove(&(until, id));
        self.clients[id.0.index as usize] = None;
    }

    /// An exchange has said its last word: nobody may reach it through its client any more.
    fn forget(&mut self, down: exchange::Down, id: ExchangeId, turn: Option<Turn>) {
        match down {
            exchange::Down::Http(client) => self.drop_client(client),
            exchange::Down::Socket { client, request_id } => {
                let limits = self.desk.config().clone();
                let budget = self.bodies.clone();
                let store = lanes::Store {
                    budget: &budget,
                    limits: &limits.limits,
                };
                if let Some(Client::Socket(session)) = self.client(client) {
                    session.ended(request_id.as_ref(), id, turn, &store);
                    self.stirred.push(client);
                }
            }
            exchange::Down::Gone => {}
        }
    }
}

#[cfg(test)]
mod tests;
