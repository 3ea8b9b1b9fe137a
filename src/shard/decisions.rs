//! The last decisions as they were made: for people who ask why a request went where it went.
//!
//! Kept as values and put into words only when somebody asks. Bounded: the newest `routing.decisions_kept` of each shard.

use crate::base::{EndpointId, ModelId, NanoUsd, Now, PoolId, Str, TenantId};
use crate::config::Config;
use crate::policy::candidate::Candidate;
use crate::policy::capacity::Room;
use crate::policy::choose::{Choice, Strategy, Weighing};
use crate::policy::cost::worth;
use crate::shard::weigh::Candidates;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// One decision.
#[derive(Debug)]
pub(super) struct Decided {
    pub exchange: Str,
    pub at: Now,
    pub config: Arc<Config>,
    pub tenant: TenantId,
    pub model: ModelId,
    pub candidates: Candidates,
    pub weighing: Weighing,
    /// The most that the client will pay.
    pub max_cost: Option<NanoUsd>,
    pub outcome: Outcome,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Went(EndpointId, PoolId, &'static str),
    Waits(Option<(EndpointId, PoolId)>),
    Nobody,
}

#[derive(Debug, Default)]
pub(super) struct Decisions(VecDeque<Decided>);

/// A decision in words: what `explain` shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    pub exchange: String,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    pub tenant: String,
    pub model: String,
    pub strategy: String,
    /// What a second was worth.
    pub second_usd: f64,
    /// Why it went where it went; `wait` or `nobody` where it did not go.
    pub decision: String,
    pub candidates: Vec<Line>,
    /// Endpoints of the model that were no candidates, each with the reason.
    pub left_out: Vec<LeftOut>,
}

/// One candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub endpoint: String,
    pub pool: String,
    pub chosen: bool,
    /// Why it was not chosen; what was, where it was.
    pub why: String,
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub output_tokens: u64,
    pub in_flight: u64,
    pub room: String,
    pub input_usd: f64,
    pub output_usd: f64,
    pub delay_usd: f64,
    pub headroom_usd: f64,
    pub risk_usd: f64,
    pub future_usd: f64,
    pub wait_usd: f64,
    pub total_usd: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub endpoint: String,
    pub why: String,
}

impl Decisions {
    /// Remembers one, and forgets the oldest beyond `most`.
    pub fn note(&mut self, decided: Decided, most: usize) {
        while self.0.len() >= most.max(1) {
            self.0.pop_front();
        }
        if most > 0 {
            self.0.push_back(decided);
        }
    }

    /// The newest of the exchange; of any, where none is named.
    pub fn find(&self, exchange: Option<&str>) -> Option<Explained> {
        let mut newest = self.0.iter().rev();
        let is_it = |d: &&Decided| exchange.is_none_or(|name| *d.exchange == *name);
        newest.find(is_it).map(Decided::explained)
    }
}

impl Outcome {
    pub fn of(choice: &Choice) -> Self {
        match choice {
            Choice::Go(decision) => Self::Went(decision.endpoint, decision.pool, decision.reason),
            Choice::Wait { at, .. } => Self::Waits(*at),
            Choice::Nobody => Self::Nobody,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Went(_, _, reason) => reason,
            Self::Waits(_) => "wait",
            Self::Nobody => "nobody",
        }
    }

    fn place(self) -> Option<(EndpointId, PoolId)> {
        match self {
            Self::Went(endpoint, pool, _) => Some((endpoint, pool)),
            Self::Waits(at) => at,
            Self::Nobody => None,
        }
    }
}

impl Decided {
    fn explained(&self) -> Explained {
        let (config, outcome) = (&self.config, self.outcome);
        let mut candidates: Vec<&Candidate> = self.candidates.iter().collect();
        candidates.sort_by_key(|c| (!self.is_chosen(c), self.sum(c)));
        Explained {
            exchange: self.exchange.to_string(),
            at_ms: self.at.wall.0 / 1_000_000,
            tenant: config.tenants[self.tenant.0 as usize].name.clone(),
            model: config.models[self.model.0 as usize].name.clone(),
            strategy: strategy(self.weighing.strategy).to_owned(),
            second_usd: self.weighing.second.usd(),
            decision: outcome.name().to_owned(),
            candidates: candidates.into_iter().map(|c| self.line(c)).collect(),
            left_out: self.left_out(),
        }
    }

    fn is_chosen(&self, c: &Candidate) -> bool {
        self.outcome.place() == Some((c.endpoint, c.pool))
    }

    /// With what waiting for its room is worth.
    fn sum(&self, c: &Candidate) -> NanoUsd {
        c.terms.total() + self.wait(c)
    }

    fn wait(&self, c: &Candidate) -> NanoUsd {
        let wait = c.wait().unwrap_or_default();
        worth(wait, self.weighing.second)
    }

    fn line(&self, c: &Candidate) -> Line {
        let terms = &c.terms;
        Line {
            endpoint: self.endpoint(c.endpoint),
            pool: self.config.pools[c.pool.0 as usize].name.clone(),
            chosen: self.is_chosen(c),
            why: self.why(c),
            input_tokens: (c.ask.input + c.ask.cache_read).0,
            cached_tokens: c.cached.0,
            output_tokens: c.ask.output.0,
            in_flight: c.in_flight,
            room: room(c.room),
            input_usd: terms.input.usd(),
            output_usd: terms.output.usd(),
            delay_usd: terms.delay.usd(),
            headroom_usd: terms.headroom.usd(),
            risk_usd: terms.risk.usd(),
            future_usd: terms.future.usd(),
            wait_usd: self.wait(c).usd(),
            total_usd: self.sum(c).usd(),
        }
    }

    fn endpoint(&self, id: EndpointId) -> String {
        self.config.endpoint_names[id.0 as usize].to_string()
    }

    /// In the order in which `choose` looks.
    fn why(&self, c: &Candidate) -> String {
        if let (true, Outcome::Went(_, _, reason)) = (self.is_chosen(c), self.outcome) {
            return reason.to_owned();
        }
        if self.is_chosen(c) {
            return "waited for: costs less even so".to_owned();
        }
        if self.max_cost.is_some_and(|most| c.terms.bill() > most) {
            return "is billed more than the client's x-stokehold-max-cost-usd".to_owned();
        }
        if let Some(until) = c.shut_until.filter(|until| *until > self.at.instant) {
            return format!(
                "left alone for {} after failures",
                seconds(until - self.at.instant)
            );
        }
        let chosen = self.candidates.iter().find(|c| self.is_chosen(c));
        match chosen {
            _ if c.room == Room::Never => "no share of its limit".to_owned(),
            None => format!("no room: {}", room(c.room)),
            Some(chosen) if c.tried && !chosen.tried => "failed this request before".to_owned(),
            Some(chosen) if c.preference > chosen.preference => {
                "later in the client's order".to_owned()
            }
            Some(chosen) => self.against(c, chosen),
        }
    }

    fn against(&self, c: &Candidate, chosen: &Candidate) -> String {
        let more = NanoUsd(self.sum(c).0 - self.sum(chosen).0);
        match self.weighing.strategy {
            Strategy::LeastCost if c.room != Room::Now && more.0 <= 0 => {
                format!("no room ({}), for longer than it may wait", room(c.room))
            }
            Strategy::LeastCost if more.0 <= 0 => "as good, with more under way".to_owned(),
            Strategy::LeastCost => {
                let largest = largest(c, chosen);
                format!("costs ${:.9} more, most of it {largest}", more.usd())
            }
            Strategy::SessionAffinity => "not the conversation's own place".to_owned(),
            Strategy::RoundRobin => "not its turn".to_owned(),
            Strategy::LeastUsed => "more under way".to_owned(),
            Strategy::Thresholds => "saves less, or has more under way".to_owned(),
        }
    }

    /// Of endpoints that were no candidates, as far as the configuration tells why.
    fn left_out(&self) -> Vec<LeftOut> {
        let model = &self.config.models[self.model.0 as usize];
        let is_in = |id: &EndpointId| self.candidates.iter().any(|c| c.endpoint == *id);
        let left = model.endpoints.iter().filter(|id| !is_in(id));
        left.map(|id| LeftOut {
            endpoint: self.endpoint(*id),
            why: self.why_left_out(*id).to_owned(),
        })
        .collect()
    }

    fn why_left_out(&self, id: EndpointId) -> &'static str {
        if self.config.endpoints[id.0 as usize].is_retired(self.at.wall) {
            return "retired";
        }
        "not wished by the client, pinned elsewhere, unable to be asked this, or without a key that works"
    }
}

/// Which term makes most of the difference.
fn largest(c: &Candidate, than: &Candidate) -> &'static str {
    let terms = c.terms.named().into_iter().zip(than.terms.named());
    let more = terms.map(|((name, a), (_, b))| (a.0 - b.0, name));
    let waits = c.wait() > than.wait();
    more.max().map_or("wait", |(more, name)| match more {
        more if more <= 0 && waits => "wait",
        _ => name,
    })
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::LeastCost => "least_cost",
        Strategy::SessionAffinity => "session_affinity",
        Strategy::RoundRobin => "round_robin",
        Strategy::LeastUsed => "least_used",
        Strategy::Thresholds => "thresholds",
    }
}

fn room(room: Room) -> String {
    match room {
        Room::Now => "now".to_owned(),
        Room::In(wait) => format!("in {}", seconds(wait)),
        Room::WhenFreed => "when another ends".to_owned(),
        Room::Never => "never".to_owned(),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}
