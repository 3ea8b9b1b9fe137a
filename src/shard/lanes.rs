//! Requests of a WebSocket of Responses, by lane; and what of their answers the next may build upon (OpenAI docs, WebSocket mode, read
//! 2026-11).
//!
//! A lane answers one request after the other, lanes answer side by side. Each keeps its latest answer, so that it can be gone on with also
//! where no provider has kept it: then all that led to it is said again. Bounded: in requests, in lanes, and in bytes by
//! `limits.body_bytes_max` a connection and half of `limits.bodies_bytes_max` a shard; what does not fit is not kept, and whoever names it is
//! told `previous_response_not_found`, which is the API's word for it and its clients' sign to say all again themselves.

use crate::base::{Budget, ExchangeId, Str};
use crate::canon::{Fault, FaultClass};
use crate::config::Limits;
use crate::protocol::dialect::responses::socket::{Create, Kept, Said};
use crate::protocol::provider::ProviderKind;
use crate::shard::exchange::PassingHeaders;
use bytes::Bytes;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// In the order in which they came.
    waiting: VecDeque<Box<Create>>,
    /// Of the upgrade; they hold for all requests.
    pub passing: PassingHeaders,
    /// The connection is at the end of its time: nothing begins any more.
    pub over: bool,
    /// Answers kept so far.
    kept: u64,
}

#[derive(Debug, Default)]
struct Lane {
    /// `None` is the default lane's.
    name: Option<Str>,
    running: Option<Running>,
    kept: Option<Kept>,
    /// Which of all answers on the connection that is.
    kept_as: u64,
}

#[derive(Debug)]
struct Running {
    exchange: ExchangeId,
    /// What it goes on with.
    previous: Option<Str>,
}

/// Answers under way on one connection, over all lanes; more wait.
pub(super) const RUNNING_MAX: usize = 16;

/// Different names of lanes on one connection; the default lane has none.
const NAMES_MAX: usize = 32;

/// Requests that wait for their lane. The API names no bound; ours holds far more than a lane's client has use for.
const WAITING_MAX: usize = 256;

impl Lanes {
    pub fn new(passing: PassingHeaders) -> Self {
        Self {
            lanes: Vec::new(),
            waiting: VecDeque::new(),
            passing,
            over: false,
            kept: 0,
        }
    }

    /// Takes a request in.
    pub fn add(&mut self, create: Box<Create>) -> Result<(), Fault> {
        if self.waiting.len() >= WAITING_MAX {
            let message = format!(
                "{WAITING_MAX} requests wait on this connection; send more when some are answered"
            );
            return Err(Fault::new(FaultClass::RateLimited, message));
        }
        if self.find(create.lane.as_ref()).is_none() {
            let named = self.lanes.iter().filter(|l| l.name.is_some()).count();
            if create.lane.is_some() && named >= NAMES_MAX {
                let message = format!(
                    "this connection has {NAMES_MAX} different stream_ids already; use one of them again, or open another connection"
                );
                let fault = Fault::invalid("stream_id", message);
                return Err(fault.with_code("websocket_stream_limit_reached"));
            }
            self.lanes.push(Lane {
                name: create.lane.clone(),
                ..Lane::default()
            });
        }
        self.waiting.push_back(create);
        Ok(())
    }

    /// The next request whose lane is free. `running`: exchanges of the connection.
    pub fn next(&mut self, running: usize) -> Option<Box<Create>> {
        if running >= RUNNING_MAX {
            return None;
        }
        let lanes = &self.lanes;
        let free = |name: &Option<Str>| {
            let lane = lanes.iter().find(|l| l.name == *name);
            lane.is_some_and(|l| l.running.is_none())
        };
        // Those of one lane stand in their order, so the first that is found is its first.
        let at = self.waiting.iter().position(|create| free(&create.lane))?;
        self.waiting.remove(at)
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.lanes.iter().all(|l| l.running.is_none())
    }

    /// What is kept under this id, in any lane: a new lane may branch off.
    pub fn kept(&self, id: &str) -> Option<&Kept> {
        let mut kept = self.lanes.iter().filter_map(|l| l.kept.as_ref());
        kept.find(|k| &*k.id == id)
    }

    /// The lane whose latest answer this is.
    pub fn lane_of(&self, id: &str) -> Option<&Option<Str>> {
        let is = |l: &&Lane| l.kept.as_ref().is_some_and(|k| &*k.id == id);
        self.lanes.iter().find(is).map(|l| &l.name)
    }

    pub fn began(&mut self, lane: Option<&Str>, exchange: ExchangeId, previous: Option<Str>) {
        if let Some(lane) = self.find(lane) {
            lane.running = Some(Running { exchange, previous });
        }
    }

    /// An exchange has said its last word, good or bad.
    pub fn ended(
        &mut self,
        lane: Option<&Str>,
        exchange: ExchangeId,
        turn: Option<Turn>,
        store: &Store<'_>,
    ) {
        let Some(found) = self.find(lane) else { return };
        let Some(running) = found.running.take_if(|r| r.exchange == exchange) else {
            return;
        };
        match turn.map(|turn| turn.outcome) {
            Some(Outcome::Kept(kept)) => self.keep(lane, kept, store),
            // The latest answer of the lane cannot be gone on with, and an older one is not its latest.
            Some(Outcome::Told) => found.kept = None,
            // A request that fails takes what it went on with from its own lane, and leaves it to others that branched off.
            Some(Outcome::Open) | None => {
                let named = |k: &mut Kept| running.previous.as_ref() == Some(&k.id);
                drop(found.kept.take_if(named));
            }
        }
    }

    /// Keeps an answer as the lane's latest, as far as there is room; older ones of other lanes leave for it.
    pub fn keep(&mut self, lane: Option<&Str>, kept: Kept, store: &Store<'_>) {
        self.kept += 1;
        let number = self.kept;
        let Some(found) = self.find(lane) else { return };
        found.kept = None;
        let Some(kept) = store.counted(kept) else {
            return;
        };
        found.kept = Some(kept);
        found.kept_as = number;
        let most = store.limits.body_bytes_max.0;
        let bytes = |l: &Lane| l.kept.as_ref().map_or(0, |k| k.bytes() as u64);
        while self.lanes.iter().map(bytes).sum::<u64>() > most {
            let filled = self.lanes.iter_mut().filter(|l| bytes(l) > 0);
            let oldest = filled.min_by_key(|l| l.kept_as);
            match oldest {
                Some(oldest) => oldest.kept = None,
                None => return,
            }
        }
    }

    fn find(&mut self, name: Option<&Str>) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|l| l.name.as_ref() == name)
    }
}

/// Where kept bytes are counted.
pub(super) struct Store<'a> {
    pub budget: &'a Budget,
    pub limits: &'a Limits,
}

impl Store<'_> {
    /// The same with its bytes counted; `None` where that would leave too little to requests that run.
    fn counted(&self, mut kept: Kept) -> Option<Kept> {
        if kept.items.is_empty() {
            return Some(kept);
        }
        let bound = self.limits.bodies_bytes_max.0 / 2;
        if self.budget.taken() > bound {
            return None;
        }
        // The others are slices of a request's body, which is counted as long as they are there.
        let last = kept.items.pop()?;
        kept.items.push(self.budget.keep(last, bound).ok()?);
        Some(kept)
    }
}

/// A request on a lane, for what comes after it.
#[derive(Debug)]
pub(super) struct Turn {
    /// What it goes on with, by the client's own word.
    pub previous: Option<Str>,
    /// What the provider keeps of the beginning.
    pub base: Option<Str>,
    /// All items of the request's input after that; `None` where there was no room for them.
    pub items: Option<Bytes>,
    /// Nothing is kept by its provider on the client's wish.
    pub store: bool,
    /// It names a conversation or a prompt, whose items only the provider knows.
    pub stateful: bool,
    pub outcome: Outcome,
}

#[derive(Debug, Default)]
pub(super) enum Outcome {
    /// No good end was told.
    #[default]
    Open,
    /// It was, and cannot be built upon.
    Told,
    Kept(Kept),
}

impl Turn {
    /// The answer was told. `said`: what it said, and whether its provider knows it by the same id.
    pub fn told(&mut self, said: Option<(Said, bool)>, provider: ProviderKind) {
        self.outcome = match said {
            None => Outcome::Told,
            Some((said, true)) if self.store && provider.keeps_answers() => Outcome::Kept(Kept {
                base: Some(said.id.clone()),
                id: said.id,
                items: Vec::new(),
            }),
            Some((said, _)) => match self.items.take().filter(|_| !self.stateful) {
                None => Outcome::Told,
                Some(items) => Outcome::Kept(Kept {
                    id: said.id,
                    base: self.base.take(),
                    items: vec![items, said.items],
                }),
            },
        };
    }
}
