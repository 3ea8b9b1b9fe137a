//! Phase 2: choose and reserve.

use crate::base::{EndpointId, Instant, KeyId, Now, PoolId};
use crate::canon::{Fault, FaultClass};
use crate::policy::candidate::Candidate;
use crate::policy::choose::{Choice, Decision, choose};
use crate::policy::cost::{self, Expected};
use crate::shard::Output;
use crate::shard::desk::Desk;
use crate::shard::exchange::{Exchange, Phase};
use smallvec::SmallVec;
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
        let candidates = self.candidates(desk, now.instant);
        let over_cost = !candidates.is_empty() && self.controls.max_cost.is_some();
        let affordable: SmallVec<[Candidate; 8]> = match self.controls.max_cost {
            Some(most) => candidates.into_iter().filter(|c| c.cost <= most).collect(),
            None => candidates,
        };
        if affordable.is_empty() && over_cost {
            let fault = Fault::invalid(
                "x-stokehold-max-cost-usd",
                "every endpoint is expected to cost more than this",
            );
            return self.refuse(desk, now, &fault, out);
        }
        match choose(&affordable, now.instant) {
            Choice::Go(decision) => self.go(desk, now, since, &decision, out),
            Choice::Wait(wait) => self.wait(desk, now, since, wait, out),
            Choice::Nobody => self.nobody(desk, now, &affordable, out),
        }
    }

    fn go(
        &mut self,
        desk: &mut Desk,
        now: Now,
        since: Instant,
        decision: &Decision,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.tally.queued = now.instant - since;
        match self.send(desk, now, decision, out) {
            Ok(phase) => phase,
            Err(fault) => {
                // This endpoint's dialect or model cannot say it; another's may.
                self.tally.incapable.push(decision.endpoint);
                self.last = Some(crate::shard::exchange::LastFailure {
                    fault,
                    verbatim: None,
                });
                self.route(desk, now, since, out)
            }
        }
    }

    fn wait(
        &mut self,
        desk: &mut Desk,
        now: Now,
        since: Instant,
        wait: Option<Duration>,
        out: &mut Vec<Output>,
    ) -> Phase {
        let until = (since + self.config.limits.queue_time).min(self.gives_up_at());
        let at = wait.map_or(until, |wait| now.instant + wait);
        if at >= until && wait.is_some() || now.instant >= until {
            return self.no_headroom(desk, now, wait, out);
        }
        if desk.waiting_count() >= self.config.limits.queue_max {
            return self.no_headroom(desk, now, wait, out);
        }
        if since == now.instant {
            desk.meters.waited += 1;
        }
        desk.wait(self.id, self.tenant, self.model(), at);
        Phase::Waiting {
            since,
            until: at.min(until),
        }
    }

    /// Others wait for the same model: nobody overtakes.
    pub fn line_up(
        &mut self,
        desk: &mut Desk,
        now: Now,
        turn: Instant,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.wait(desk, now, now.instant, Some(turn - now.instant), out)
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
        let until = (since + self.config.limits.queue_time).min(self.gives_up_at());
        if now.instant >= until {
            desk.left(self.id);
            return self.no_headroom(desk, now, None, out);
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
        let message = "no capacity is free for this model within the time this request may wait";
        let fault = Fault::new(FaultClass::RateLimited, message).with_code("rate_limit_exceeded");
        self.refuse(
            desk,
            now,
            &fault.after(wait.unwrap_or(Duration::from_secs(1))),
            out,
        )
    }

    fn nobody(
        &mut self,
        desk: &mut Desk,
        now: Now,
        candidates: &[Candidate],
        out: &mut Vec<Output>,
    ) -> Phase {
        if let Some(last) = self.last.take() {
            return self.give_up(desk, now, last, out);
        }
        if !candidates.is_empty() {
            return self.no_headroom(desk, now, None, out);
        }
        let message = "no endpoint with a working key serves this model";
        let fault = Fault::new(FaultClass::Unavailable, message).with_code("no_endpoint");
        self.refuse(desk, now, &fault, out)
    }

    /// Everything `choose` needs, looked up: one candidate for each endpoint and pool that may serve this.
    fn candidates(&self, desk: &mut Desk, now: Instant) -> SmallVec<[Candidate; 8]> {
        let mut found = SmallVec::new();
        for endpoint in &self.config.models[self.model().0 as usize].endpoints {
            let config = &self.config.endpoints[endpoint.0 as usize];
            let provider = &self.config.providers[config.provider.0 as usize].name;
            let Some(preference) = self.controls.providers.preference(provider) else {
                continue;
            };
            if self.tally.incapable.contains(endpoint) {
                continue;
            }
            let of = Expected {
                input: self.asked.ask.input,
                output: self.asked.ask.output,
            };
            let cost = cost::expected(of, &config.price);
            for pool in &config.pools {
                let Some(key) = self.key(desk, *pool, now) else {
                    continue;
                };
                let epoch = desk.epoch(self.epoch);
                found.push(Candidate {
                    endpoint: *endpoint,
                    pool: *pool,
                    key,
                    cost,
                    in_flight: epoch.pool_calls(*pool),
                    room: epoch.room(*endpoint, *pool, self.asked.ask, now),
                    shut_until: epoch.shut_until(*endpoint, *pool, now),
                    preference,
                    tried: self.tally.failed_at.contains(&(*endpoint, *pool)),
                });
            }
        }
        found
    }

    /// The pool's next live key, in turn; outer `None` when it has keys and all are dead, inner `None` when it needs none.
    fn key(&self, desk: &mut Desk, pool: PoolId, now: Instant) -> Option<Option<KeyId>> {
        let keys = &self.config.pools[pool.0 as usize].keys;
        if keys.is_empty() {
            return Some(None);
        }
        let epoch = desk.epoch(self.epoch);
        let first = epoch.next_key(pool, keys.len());
        let turn = (0..keys.len()).map(|i| (first + i) % keys.len());
        let live = |at: &usize| {
            !epoch.is_dead(keys[*at], now) && !self.tally.dead_keys.contains(&keys[*at])
        };
        let at = turn.into_iter().find(live)?;
        Some(Some(keys[at]))
    }

    /// Other candidates that have not failed this exchange.
    pub fn others(&self, desk: &mut Desk, now: Instant, failed: (EndpointId, PoolId)) -> usize {
        let usable = |c: &&Candidate| {
            !c.tried
                && (c.endpoint, c.pool) != failed
                && c.shut_until.is_none_or(|until| until <= now)
        };
        self.candidates(desk, now).iter().filter(usable).count()
    }

    /// Candidates left for a key that was refused: the same place with another key counts.
    pub fn others_or_keys(&self, desk: &mut Desk, now: Instant) -> usize {
        self.candidates(desk, now)
            .iter()
            .filter(|c| !c.tried)
            .count()
    }
}
