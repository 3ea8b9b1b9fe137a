//! Phase 2: choose and reserve.

use crate::base::{EndpointId, Instant, Now, PoolId};
use crate::canon::controls::Priority;
use crate::canon::{Fault, FaultClass};
use crate::policy::candidate::Candidate;
use crate::policy::capacity::Room;
use crate::policy::choose::{Choice, Decision, Weighing, choose};
use crate::shard::Output;
use crate::shard::credentials::FETCH_TIME;
use crate::shard::decisions::{Decided, Outcome};
use crate::shard::desk::{Desk, Epoch};
use crate::shard::exchange::{Exchange, Phase};
use crate::shard::issued::Place;
use crate::shard::line::{Claim, Claims, Waiting};
use crate::shard::weigh::Candidates;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::time::Duration;

impl Exchange {
    /// Finds where the request goes and sends it there; or waits for headroom; or says that there is none. `since`: when the waiting began.
    pub fn route(
        &mut self,
        desk: &mut Desk,
        now: Now,
        since: Instant,
        out: &mut Vec<Output>,
    ) -> Phase {
        if self.unadmitted {
            return self.enter(desk, now, since, out);
        }
        if self.kept.is_some() {
            return match self.look_again(desk) {
                Ok(()) => self.route_kept(desk, now, since, out),
                Err(fault) => self.refuse(desk, now, &fault, out),
            };
        }
        if let Some(phase) = self.find_cached(desk, now, since, out) {
            return phase;
        }
        self.read_prompt(desk);
        let candidates = self.candidates(desk, now.instant);
        let any = !candidates.is_empty();
        // Nobody is dear to who names no limit: then nothing is copied.
        let affordable: Cow<'_, [Candidate]> = match self.controls.max_cost {
            None => Cow::Borrowed(&candidates),
            Some(_) => Cow::Owned(
                candidates
                    .iter()
                    .filter(|c| self.affords(c))
                    .cloned()
                    .collect(),
            ),
        };
        if affordable.is_empty() && any && self.last.is_none() {
            let fault = Fault::invalid(
                "x-stokehold-max-cost-usd",
                "every endpoint is expected to cost more than this",
            );
            return self.refuse(desk, now, &fault, out);
        }
        // Where the line is full nobody waits who could go.
        let until = match desk.line.len() < self.config.limits.queue_max {
            true => self.waits_until(since),
            false => now.instant,
        };
        let weighing = self.weighing(until, now.instant);
        let choice = choose(&affordable, &weighing, now.instant);
        let any = !affordable.is_empty();
        let gated = affordable.iter().any(|c| c.gate.is_some());
        let claims = match &choice {
            Choice::Wait { at, .. } => {
                self.park(desk, &affordable, *at, since, now.instant);
                self.claims(desk, &affordable, *at)
            }
            Choice::Go(_) | Choice::Nobody => Claims::new(),
        };
        drop(affordable);
        self.note(desk, now, candidates, weighing, &choice);
        match choice {
            Choice::Go(mut decision) => {
                if self.is_ping() {
                    decision.reason = "keep-warm";
                }
                self.go(desk, now, since, &decision, out)
            }
            Choice::Wait { at, time, freed } => {
                desk.meters.gated += u64::from(gated && self.ticket.is_none());
                self.tally.ungate(now.instant);
                self.tally.gated_since = gated.then_some(now.instant);
                let headroom = Headroom {
                    time,
                    freed,
                    claims,
                    yields: at.is_some(),
                };
                self.wait(desk, now, since, headroom, out)
            }
            Choice::Nobody => self.nobody(desk, now, since, any, out),
        }
    }

    /// Remembers what was weighed, for who asks.
    fn note(
        &self,
        desk: &mut Desk,
        at: Now,
        candidates: Candidates,
        weighing: Weighing,
        choice: &Choice,
    ) {
        let decided = Decided {
            exchange: self.name.clone(),
            at,
            config: self.config.clone(),
            tenant: self.tenant,
            model: self.model(),
            candidates,
            weighing,
            max_cost: self.controls.max_cost,
            outcome: Outcome::of(choice),
        };
        desk.decisions
            .note(decided, self.config.routing.decisions_kept);
    }

    pub fn go(
        &mut self,
        desk: &mut Desk,
        now: Now,
        since: Instant,
        decision: &Decision,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.tally.queued = now.instant - since;
        self.tally.ungate(now.instant);
        match self.send(desk, now, decision, out) {
            Ok(phase) => phase,
            Err(fault) => {
                // This endpoint's dialect or model cannot say it; another's may.
                self.tally.incapable.push(decision.endpoint);
                // What a provider said before is the better reason.
                self.last.get_or_insert_with(|| fault.into());
                self.route(desk, now, since, out)
            }
        }
    }

    pub fn wait(
        &mut self,
        desk: &mut Desk,
        now: Now,
        since: Instant,
        headroom: Headroom,
        out: &mut Vec<Output>,
    ) -> Phase {
        let Headroom {
            time,
            freed,
            claims,
            yields,
        } = headroom;
        let until = self.waits_until(since);
        let at = time.map_or(until, |time| now.instant + time);
        let in_vain = at >= until && !freed || now.instant >= until;
        if in_vain || desk.line.len() >= self.config.limits.queue_max {
            if self.rebind(desk, now) {
                return self.route(desk, now, since, out);
            }
            return self.no_headroom(desk, now, time, out);
        }
        if self.ticket.is_none() {
            desk.meters.waited += 1;
        }
        let at = at.min(until);
        self.line_up(desk, at, claims, yields);
        Phase::Waiting { since, until: at }
    }

    /// Takes its place among those who wait.
    pub fn line_up(&mut self, desk: &mut Desk, at: Instant, claims: Claims, yields: bool) {
        let ticket = *self.ticket.get_or_insert_with(|| desk.line.ticket());
        desk.line.wait(Waiting {
            exchange: self.id,
            tenant: self.tenant,
            batch: self.is_batch(),
            ticket,
            at,
            claims,
            yields,
        });
    }

    /// How long it may wait for headroom that began to wait at `since`.
    fn waits_until(&self, since: Instant) -> Instant {
        if self.is_ping() {
            // What it would read expires meanwhile.
            return since;
        }
        (since + self.config.limits.queue_time).min(self.gives_up_at())
    }

    pub(super) fn is_batch(&self) -> bool {
        self.controls.priority == Some(Priority::Batch)
    }

    /// Says at the places where it would go what it is that lacks there.
    fn park(
        &self,
        desk: &mut Desk,
        candidates: &[Candidate],
        at: Option<(EndpointId, PoolId)>,
        since: Instant,
        now: Instant,
    ) {
        let places = candidates
            .iter()
            .filter(|c| at.is_none_or(|at| at == (c.endpoint, c.pool)))
            .filter(|c| c.gate.is_none());
        desk.park(self.id, self.epoch, places, since, now);
    }

    /// The limits that it waits for: those of one place, where others have room that it does not want.
    fn claims(
        &self,
        desk: &mut Desk,
        candidates: &[Candidate],
        at: Option<(EndpointId, PoolId)>,
    ) -> Claims {
        let epoch = desk.epoch(self.epoch);
        candidates
            .iter()
            .filter(|c| c.room != Room::Never)
            .filter(|c| at.is_none_or(|at| at == (c.endpoint, c.pool)))
            .map(|c| match c.gate {
                // Who waits for a leader keeps nobody from the limits.
                Some(name) => Claim::gate(name),
                None => epoch.claim(c.endpoint, c.pool),
            })
            .filter(|claim| claim.limits != 0)
            .collect()
    }

    /// Its turn among those who wait.
    pub fn try_again(
        &mut self,
        desk: &mut Desk,
        now: Now,
        since: Instant,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.route(desk, now, since, out)
    }

    /// The time to try again, or to give up, has come; the queue gives the turn, so that nobody overtakes.
    pub fn waited_long(
        &mut self,
        desk: &mut Desk,
        now: Now,
        since: Instant,
        out: &mut Vec<Output>,
    ) -> Phase {
        let until = self.waits_until(since);
        if now.instant >= until {
            // It may have waited for one place while others had room: nobody is refused for that.
            return self.route(desk, now, since, out);
        }
        // `dispatch_waiting` follows every input and finds this one ready.
        Phase::Waiting { since, until }
    }

    fn no_headroom(
        &mut self,
        desk: &mut Desk,
        now: Now,
        wait: Option<Duration>,
        out: &mut Vec<Output>,
    ) -> Phase {
        if let Some(last) = self.last.take() {
            return self.give_up(desk, now, last, out);
        }
        if self.candidates(desk, now.instant).is_empty() {
            let fault = self.why_nobody(desk, now);
            return self.refuse(desk, now, &fault, out);
        }
        let message = "no capacity is free for this model within the time this request may wait";
        let fault = Fault::new(FaultClass::RateLimited, message).with_code("rate_limit_exceeded");
        self.refuse(
            desk,
            now,
            &fault.after(wait.unwrap_or(Duration::from_secs(1))),
            out,
        )
    }

    /// `any`: there are candidates, but none for which waiting helps.
    fn nobody(
        &mut self,
        desk: &mut Desk,
        now: Now,
        since: Instant,
        any: bool,
        out: &mut Vec<Output>,
    ) -> Phase {
        let claims = self.awaited(desk, now.instant);
        if !any && !claims.is_empty() {
            let headroom = Headroom {
                // It is woken when it comes, and looks for itself when it should have come.
                time: Some(FETCH_TIME),
                freed: true,
                claims,
                yields: false,
            };
            return self.wait(desk, now, since, headroom, out);
        }
        if self.rebind(desk, now) {
            return self.route(desk, now, since, out);
        }
        if let Some(last) = self.last.take() {
            return self.give_up(desk, now, last, out);
        }
        if any {
            return self.no_headroom(desk, now, None, out);
        }
        let fault = self.why_nobody(desk, now);
        self.refuse(desk, now, &fault, out)
    }

    /// Why there is no candidate at all: the client's wishes, or dead keys (FIELD-BUGS 28).
    fn why_nobody(&self, desk: &mut Desk, now: Now) -> Fault {
        let endpoints = &self.config.models[self.model().0 as usize].endpoints;
        if let Some(pin) = self.pin
            && !endpoints.iter().any(|e| self.is_pinned_to(pin, *e))
        {
            let issuer = self.config.endpoints[pin.endpoint.0 as usize].provider;
            let name = &self.config.providers[issuer.0 as usize].name;
            let message = format!(
                "the answer it names is kept by {name}, which does not serve this model here"
            );
            return Fault::invalid("previous_response_id", message);
        }
        if let Some(fault) = self.why_unread() {
            return fault;
        }
        let wanted = endpoints.iter().filter(|e| {
            let provider = self.config.endpoints[e.0 as usize].provider;
            let name = &self.config.providers[provider.0 as usize].name;
            self.controls.providers.preference(name).is_some()
        });
        let wanted: SmallVec<[_; 8]> = wanted.collect();
        if wanted.is_empty() && !endpoints.is_empty() {
            let message = "none of the providers that this allows serves the model";
            return Fault::invalid("x-stokehold-providers", message);
        }
        let at = |e: &&EndpointId| &self.config.endpoints[e.0 as usize];
        if !wanted.is_empty() && wanted.iter().all(|e| at(e).is_retired(self.begun.wall)) {
            let message = "the model was retired by every provider that this router has for it";
            return Fault::new(FaultClass::ModelNotFound, message).with_code("model_not_found");
        }
        let epoch = desk.epoch(self.epoch);
        let pools = wanted
            .iter()
            .flat_map(|e| &self.config.endpoints[e.0 as usize].pools);
        let revival = pools
            .filter_map(|pool| epoch.revival(&self.config.pools[pool.0 as usize].keys))
            .min();
        let mut places = wanted
            .iter()
            .flat_map(|e| &self.config.endpoints[e.0 as usize].pools);
        let lacking =
            places.find_map(|pool| epoch.lacks_credential(&self.config, *pool, now.instant));
        if let Some(provider) = lacking {
            return no_credential(provider);
        }
        let Some(revival) = revival else {
            let message = "no endpoint serves this model";
            return Fault::new(FaultClass::Unavailable, message).with_code("no_endpoint");
        };
        let mut places = wanted
            .iter()
            .flat_map(|e| &self.config.endpoints[e.0 as usize].pools);
        let spent = places.all(|pool| {
            let keys = &self.config.pools[pool.0 as usize].keys;
            epoch.is_spent(keys, now.instant)
        });
        let why = match spent {
            true => NO_MONEY,
            false => NO_KEY,
        };
        no_working_key(why).after(revival - now.instant)
    }

    /// When some place will have room, as far as is known.
    pub fn soonest(&self, desk: &mut Desk, now: Now) -> Option<Duration> {
        let weighing = self.weighing(now.instant, now.instant);
        match choose(&self.candidates(desk, now.instant), &weighing, now.instant) {
            Choice::Wait { time, .. } => time,
            Choice::Go(_) | Choice::Nobody => None,
        }
    }

    /// Whether `endpoint` can be asked at the account of `pin`.
    pub(super) fn is_pinned_to(&self, pin: Place, endpoint: EndpointId) -> bool {
        let of = |e: EndpointId| &self.config.endpoints[e.0 as usize];
        of(endpoint).provider == of(pin.endpoint).provider
            && of(endpoint).pools.contains(&pin.pool)
            && self.reads_cache_of(pin, endpoint)
    }

    /// The credentials that it could be sent with once they come.
    fn awaited(&self, desk: &mut Desk, now: Instant) -> Claims {
        let mut claims = Claims::new();
        for endpoint in &self.config.models[self.model().0 as usize].endpoints {
            let config = &self.config.endpoints[endpoint.0 as usize];
            let provider = &self.config.providers[config.provider.0 as usize].name;
            let wished = self.controls.providers.preference(provider).is_some();
            if !wished || self.tally.incapable.contains(endpoint) {
                continue;
            }
            let epoch = desk.epoch(self.epoch);
            let waiting = config
                .pools
                .iter()
                .filter(|p| epoch.awaits_credential(**p, now));
            claims.extend(waiting.map(|pool| Epoch::credential_claim(*pool)));
        }
        claims
    }
}

/// What is known of the headroom that is waited for.
pub(super) struct Headroom {
    pub time: Option<Duration>,
    /// It may come sooner, when an exchange settles.
    pub freed: bool,
    pub claims: Claims,
    /// It could go elsewhere.
    pub yields: bool,
}

/// Also while it is still being fetched: the provider is named, since that is where the operator has to look.
fn no_credential(provider: &str) -> Fault {
    let message = format!("this router has no credential for {provider} at the moment");
    Fault::new(FaultClass::Unavailable, message)
        .with_code("no_credential")
        .after(Duration::from_secs(5))
}

pub(super) const NO_KEY: &str = "the provider refused every key this router has for the model";
pub(super) const NO_MONEY: &str =
    "the provider's spending limit is reached for every key this router has for the model";

pub(super) fn no_working_key(message: &str) -> Fault {
    Fault::new(FaultClass::Unavailable, message).with_code("no_working_key")
}
