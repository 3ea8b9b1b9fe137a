//! Phase 5: bill, release, record; reached exactly once.

use crate::base::{Instant, NanoUsd, Now, Str};
use crate::canon::{DialectName, Fault, FaultClass, Usage};
use crate::config::LogLevel;
use crate::policy::bill::bill;
use crate::policy::capacity::{Closed, Used, Why};
use crate::policy::retry::{self, AttemptError, Next};
use crate::protocol::dialect;
use crate::protocol::dialect::responses::socket;
use crate::shard::credentials::Refusal;
use crate::shard::desk::{Desk, whole_seconds};
use crate::shard::exchange::{Attempt, Down, Exchange, LastFailure, OpenAttempt, Phase};
use crate::shard::gossip::{Gossip, News};
use crate::shard::line::Claims;
use crate::shard::relay::Relay;
use crate::shard::stored::State;
use crate::shard::{LedgerRow, LogLine, Mail, Outcome, Output, Under, reply, route, stream};
use bytes::BytesMut;

impl Exchange {
    /// The answer is whole and told: its attempt settles, and with it the exchange.
    pub fn close(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        relay: &Relay,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let usage = match self.video {
            // Questions about a job cost nothing.
            Some(_) => Usage::default(),
            None => self.usage_at_end(desk, &attempt, relay, now, out),
        };
        let id = relay.upstream_id.clone();
        self.keep_question(desk, &mut attempt, &usage);
        self.settle_attempt(desk, attempt, usage, id, Outcome::Done, now);
        self.note_state(State::Complete);
        desk.meters.exchanges_done += 1;
        if !relay.dropped().is_empty() {
            let fields = vec![
                ("exchange", self.name.to_string()),
                ("parts", relay.dropped().join(", ")),
            ];
            let message = "the client's dialect has no words for parts of the answer";
            desk.log(
                LogLine {
                    at: now.wall,
                    level: LogLevel::Info,
                    message,
                    fields,
                },
                out,
            );
        }
        self.settled(desk, now, out)
    }

    /// An attempt failed: it settles, and what follows is decided.
    pub fn attempt_failed(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        relay: Option<Box<Relay>>,
        now: Now,
        failure: LastFailure,
        out: &mut Vec<Output>,
    ) -> Phase {
        if self.video.as_ref().is_some_and(|case| case.runs()) {
            return self.look_failed(desk, attempt, &failure.fault, now, out);
        }
        let error = self.error_of(&attempt, &failure.fault);
        self.note_failure(desk, &attempt, error, &failure.fault, now, out);
        self.cache_failed(desk, &failure.fault, now, out);
        let plain = self.without_help(desk, &attempt, error, &failure.fault);
        let plain = plain.or_else(|| self.doubt(desk, &attempt, error, &failure.fault));
        let next = match plain.or_else(|| self.kept_next(desk, error, &failure)) {
            Some(next) => next,
            None => self.next_bound(desk, &attempt, (error, failure.should_retry), now),
        };
        let last = next == Next::GiveUp;
        let outcome = Outcome::Failed(failure.fault.class);
        self.log_outcome(desk, now.wall, outcome, &failure.fault, out);
        let usage = match &relay {
            Some(relay) if self.is_billed_apart() => {
                self.usage_at_end(desk, &attempt, relay, now, out)
            }
            _ => self.usage_of_failed(&attempt, relay.as_deref()),
        };
        let relay_id = relay
            .as_ref()
            .map_or(Str::new(), |relay| relay.upstream_id.clone());
        if let (true, true, Some(mut relay)) = (last, self.saw, relay) {
            self.fail_stream(&attempt, &mut relay, &failure.fault, now, out);
        }
        let said = relay_id;
        self.settle_attempt(desk, attempt, usage, said, outcome, now);
        let failure = match self.rival_left(desk, failure, out) {
            Ok(phase) => return phase,
            Err(failure) => failure,
        };
        match next {
            Next::GiveUp => self.give_up(desk, now, failure, out),
            Next::Elsewhere => {
                self.last = Some(failure);
                self.route(desk, now, now.instant, out)
            }
            Next::AgainIn(wait) => {
                self.last = Some(failure);
                // The same place may serve after its wait, so it is not left out as failed.
                self.tally.failed_at.clear();
                // Never sooner than asked, and a little apart, so that those who failed together do not come back together.
                let until = now.instant + wait + wait.mul_f64(desk.rng.unit() / 10.0);
                self.line_up(desk, until, Claims::new(), false);
                // The wait for headroom, if there must be one, begins then.
                Phase::Waiting {
                    since: until,
                    until: until.min(self.gives_up_at()),
                }
            }
        }
    }

    /// Our own finding where no answer came; else what the provider's words amount to.
    fn error_of(&self, attempt: &Attempt, fault: &Fault) -> AttemptError {
        if fault.code.as_deref() == Some(stream::CROWDED) {
            AttemptError::Crowded
        } else if attempt.status.is_none() && !attempt.sent {
            AttemptError::Unreachable
        } else {
            retry::of_fault(fault)
        }
    }

    /// What the failure says about key, pool and endpoint.
    fn note_failure(
        &mut self,
        desk: &mut Desk,
        attempt: &Attempt,
        error: AttemptError,
        fault: &Fault,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        let place = (attempt.endpoint, attempt.pool);
        let late = now.instant >= self.gives_up_at();
        if error == AttemptError::KeyRefused && self.renews(desk, attempt, now, out) {
            return self.answered(desk, attempt);
        }
        let epoch = desk.epoch(self.epoch);
        let patience = epoch.patience();
        match error {
            AttemptError::KeyRefused | AttemptError::Exhausted => {
                if let Some(key) = attempt.key {
                    let why = Why::of_key(error).unwrap_or(Why::Refused);
                    // Nobody waits for money, but it may come any time.
                    let rest = match why {
                        Why::Spent => self.config.routing.spent_key,
                        Why::Refused | Why::Limited => self.config.routing.dead_key,
                    };
                    let until = now.instant + rest;
                    epoch.kill_key(key, Closed { why, until });
                    self.tell_others(News::KeyDead { key, why, rest }, out);
                    self.tally.dead_keys.push(key);
                    self.tally.keys_refused = self.tally.keys_refused.saturating_add(1);
                } else {
                    self.tally.failed_at.push(place);
                }
                self.answered(desk, attempt);
            }
            // A limit on such asks is none of the model's.
            AttemptError::Limited { .. } if self.kept.is_some() => self.answered(desk, attempt),
            AttemptError::Limited { .. } => {
                let asked = stream::wait_of(&attempt.hints, fault);
                let wait = asked.unwrap_or(self.config.routing.backoff);
                let until = now.instant + wait;
                epoch.close(attempt.endpoint, attempt.pool, until);
                let told = stream::told_of(&attempt.hints)
                    .iter()
                    .any(|(_, told)| told.remaining.is_some());
                epoch.refused(place, asked, told, now.instant);
                self.tell_others(
                    News::Limited {
                        endpoint: attempt.endpoint,
                        pool: attempt.pool,
                        rest: wait,
                    },
                    out,
                );
                // Once, waiting there is weighed against going elsewhere: a prompt that is warm there may be worth it (ROUTING 0, conclusion 6).
                if asked.is_some() && !self.tally.refused_at.contains(&place) {
                    self.tally.refused_at.push(place);
                } else {
                    self.tally.failed_at.push(place);
                }
                self.answered(desk, attempt);
            }
            AttemptError::Rejected => self.answered(desk, attempt),
            AttemptError::NotThere => {
                self.tally.failed_at.push(place);
                self.answered(desk, attempt);
            }
            AttemptError::Crowded => {
                self.tally.failed_at.push(place);
                self.unprobed(desk, attempt, now);
            }
            // The client's own time was over: the provider may have been as good as ever.
            AttemptError::TimedOut if late => self.unprobed(desk, attempt, now),
            AttemptError::Overloaded { .. }
            | AttemptError::Unreachable
            | AttemptError::Broken
            | AttemptError::TimedOut => {
                self.tally.failed_at.push(place);
                if let Some(breaker) = epoch.breaker(attempt.endpoint, attempt.pool) {
                    breaker.failed(now.instant, patience);
                }
            }
        }
    }

    pub fn tell_others(&self, news: News, out: &mut Vec<Output>) {
        out.push(Output::Tell(Gossip {
            under: self.config.generation,
            news,
        }));
    }

    /// The endpoint is alive, whatever it said.
    fn answered(&self, desk: &mut Desk, attempt: &Attempt) {
        if let Some(breaker) = desk
            .epoch(self.epoch)
            .breaker(attempt.endpoint, attempt.pool)
        {
            breaker.succeeded();
        }
    }

    /// The attempt ended without telling whether the endpoint is alive.
    pub(super) fn unprobed(&self, desk: &mut Desk, attempt: &Attempt, now: Now) {
        let epoch = desk.epoch(self.epoch);
        if let Some(breaker) = epoch.breaker(attempt.endpoint, attempt.pool) {
            breaker.released(now.instant);
        }
    }

    /// A credential that expires was refused: it may have been revoked or be older than it said. The first time within an exchange it is
    /// fetched anew and the exchange may try again; then the key counts as dead like any other.
    pub(super) fn renews(
        &mut self,
        desk: &mut Desk,
        attempt: &Attempt,
        now: Now,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(key) = attempt
            .key
            .filter(|key| !self.tally.renewed_keys.contains(key))
        else {
            return false;
        };
        let credentials = &mut desk.epoch(self.epoch).credentials;
        match credentials.refused(key, attempt.credential, now.instant) {
            Refusal::Final => return false,
            Refusal::Again => {}
            Refusal::AskForIt => out.push(Output::Post(Mail::Refresh {
                source: Box::new(credentials.source(key).clone()),
                generation: attempt.credential,
            })),
        }
        self.tally.renewed_keys.push(key);
        self.tally.keys_refused = self.tally.keys_refused.saturating_add(1);
        true
    }

    pub fn succeeded(&self, desk: &mut Desk, attempt: &Attempt) {
        self.answered_unhelped(desk, attempt);
        self.answered(desk, attempt);
    }

    pub(super) fn next(
        &self,
        desk: &mut Desk,
        attempt: &Attempt,
        error: AttemptError,
        should_retry: Option<bool>,
        now: Now,
    ) -> Next {
        if self.is_ping() || (self.down == Down::Gone && !self.keeps_answer()) {
            return Next::GiveUp;
        }
        if !desk.has_room_for_another_row() {
            return Next::GiveUp;
        }
        let others = match error {
            AttemptError::KeyRefused | AttemptError::Exhausted => {
                let renewed = attempt
                    .key
                    .is_some_and(|k| self.tally.renewed_keys.contains(&k));
                let again = renewed
                    && !attempt
                        .key
                        .is_some_and(|k| self.tally.dead_keys.contains(&k));
                self.others_or_keys(desk, now.instant) + usize::from(again)
            }
            _ => self.others(desk, now.instant, (attempt.endpoint, attempt.pool)),
        };
        let routing = &self.config.routing;
        let deadline = self
            .gives_up_at()
            .min(self.begun.instant + self.config.limits.queue_time + attempt.timeouts.total);
        let standing = retry::Standing {
            client_saw_bytes: self.saw,
            attempts: self.tally.attempts,
            keys_refused: self.tally.keys_refused,
            not_here: should_retry == Some(false),
            attempts_max: routing.attempts_max,
            others,
            left: deadline - now.instant,
            budget: self.tally.counted_as_retrying || desk.retry_budget(routing.retry_budget),
            backoff: routing.backoff,
            backoff_max: routing.backoff_max,
        };
        retry::next(error, &standing)
    }

    /// What a failed attempt is billed: nothing when the provider refused or was not reached; what came when it broke off.
    pub(super) fn usage_of_failed(&self, attempt: &Attempt, relay: Option<&Relay>) -> Usage {
        match relay {
            _ if self.video.as_ref().is_some_and(|case| case.runs()) => self.usage_unsaid(),
            Some(_) if self.video.is_some() => self.usage_unsaid(),
            // Asks after kept answers and prefixes cost nothing.
            _ if self.kept.is_some() || self.follows_cache() => Usage::default(),
            Some(relay) if attempt.first_byte.is_some() => self.heard(
                attempt,
                relay,
                relay.usage_or_estimate(self.asked.ask.input),
            ),
            _ if attempt.sent && attempt.status.is_none_or(|s| s < 300) => self.usage_unsaid(),
            _ => Usage::default(),
        }
    }

    /// The provider has the request and said nothing of it: it may have read it all, and bill that.
    fn usage_unsaid(&self) -> Usage {
        // An order that was perhaps taken is perhaps paid for.
        let known = self.ordered().or_else(|| self.unheard());
        known.unwrap_or_else(|| Usage {
            input_uncached: Some(self.asked.ask.input),
            estimated: true,
            ..Usage::default()
        })
    }

    /// The client has seen a beginning: it is told in its stream that there is no more.
    pub fn fail_stream(
        &mut self,
        attempt: &Attempt,
        relay: &mut Relay,
        fault: &Fault,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        if self.carries() {
            // Whoever has a part of a file must not take it for the whole.
            if let Down::Http(client) = self.down {
                out.push(Output::Abort { client });
            }
            self.ended = true;
            return;
        }
        let mut said = BytesMut::new();
        let closing = self.closing(attempt, relay, now);
        let told = for_client(fault);
        relay.fail(
            self.dialect,
            || self.opening(attempt),
            &told,
            &closing,
            &mut said,
        );
        self.write(said, out);
        self.end(out);
    }

    /// Nothing better will come: the client is told what went wrong last.
    pub fn give_up(
        &mut self,
        desk: &mut Desk,
        now: Now,
        mut last: LastFailure,
        out: &mut Vec<Output>,
    ) -> Phase {
        // Several pools may be closed: the earliest to open is worth trying (FIELD-BUGS 24).
        if last.fault.class == FaultClass::RateLimited {
            let soonest = self.soonest(desk, now);
            last.fault.retry_after = soonest.or(last.fault.retry_after);
        }
        if self.ended {
            desk.meters.failed(last.fault.class);
            return self.settled(desk, now, out);
        }
        let told = for_client(&last.fault);
        match (last.verbatim, &self.down) {
            // The provider's own words, in the client's own dialect; but what is between us and the provider (keys, money) stays there.
            (Some((status, body)), Down::Http(client)) if told == last.fault && !self.head_sent => {
                let client = *client;
                let mut more = reply::retry_after(&told);
                // The official clients obey it over everything else, so it belongs to the provider's own words.
                if let Some(should) = last.should_retry {
                    more.push(("x-should-retry", should.to_string().into()));
                }
                let head = self.response_head(None, status, stream::JSON, &more);
                let body = reply::in_array(self.array, body);
                self.note_head(status, stream::JSON);
                self.note_sent(&body, out);
                out.push(Output::Respond {
                    client,
                    head,
                    body,
                    end: true,
                });
                self.ended = true;
                desk.meters.failed(told.class);
                self.settled(desk, now, out)
            }
            _ => self.refuse(desk, now, &told, out),
        }
    }

    /// Tells the client `fault` in its dialect, by status where the head is not out, else as an event; and settles.
    pub fn refuse(
        &mut self,
        desk: &mut Desk,
        now: Now,
        fault: &Fault,
        out: &mut Vec<Output>,
    ) -> Phase {
        desk.meters.failed(fault.class);
        match self.down.clone() {
            Down::Http(_) | Down::Gone if !self.head_sent => self.say_refusal(fault, out),
            Down::Http(_) | Down::Socket { .. } => self.say_in_stream(now, fault, out),
            Down::Gone => {}
        }
        self.settled(desk, now, out)
    }

    /// Tells the client `fault` by status, which is all of its answer; who is gone finds it so.
    pub fn say_refusal(&mut self, fault: &Fault, out: &mut Vec<Output>) {
        let (status, body) = dialect::write_error(self.dialect, fault, &self.name);
        let body = reply::in_array(self.array, body);
        self.note_head(status, stream::JSON);
        self.note_sent(&body, out);
        if let Down::Http(client) = self.down {
            let head = self.response_head(None, status, stream::JSON, &reply::retry_after(fault));
            out.push(Output::Respond {
                client,
                head,
                body,
                end: true,
            });
        }
        self.ended = true;
    }

    /// Tells the client `fault` as an event of its stream, and ends it.
    pub fn say_in_stream(&mut self, now: Now, fault: &Fault, out: &mut Vec<Output>) {
        let mut said = BytesMut::new();
        if self.dialect == DialectName::Responses && matches!(self.down, Down::Socket { .. }) {
            // OpenAI docs, WebSocket mode, read 2026-11: an error that ends a request is one event, with HTTP's status.
            let retry_after = fault.retry_after.map(|wait| whole_seconds(wait).max(1));
            let lane = self.request_id();
            socket::write_error(lane.as_deref(), fault, &self.name, retry_after, &mut said);
            self.write(said, out);
            return self.end(out);
        }
        let opening = self.opening_without_attempt();
        let closing = dialect::Closing {
            cost: self.tally.cost,
            total: now.instant - self.begun.instant,
            ..dialect::Closing::default()
        };
        dialect::Encoder::new(self.dialect, opening).fail(fault, &closing, &mut said);
        self.write(said, out);
        self.end(out);
    }

    fn opening_without_attempt(&self) -> dialect::Opening {
        dialect::Opening {
            id: self.name.clone(),
            created: self.begun.wall.seconds(),
            model: self.asked.peek.model.clone(),
            bare: matches!(self.down, Down::Socket { .. }),
            array: self.array,
            request_id: self.request_id(),
            echo: self.echo(),
            ..dialect::Opening::default()
        }
    }

    fn write(&mut self, said: BytesMut, out: &mut Vec<Output>) {
        let bytes = said.freeze();
        self.note_sent(&bytes, out);
        match &self.down {
            Down::Http(client) | Down::Socket { client, .. } if !bytes.is_empty() => {
                out.push(Output::Write {
                    client: *client,
                    bytes,
                });
            }
            _ => {}
        }
    }

    /// Gives up an exchange whatever it is doing: for a client that wants no answer any more, and for our own broken promises.
    pub fn abandon(
        &mut self,
        desk: &mut Desk,
        now: Now,
        outcome: Outcome,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.end_rival(desk, now, out);
        self.note_state(match outcome {
            Outcome::Cancelled => State::Cancelled,
            Outcome::Done | Outcome::Failed(_) => State::Failed,
        });
        match std::mem::take(&mut self.phase) {
            Phase::Calling(attempt) | Phase::Refused(attempt, _) => {
                out.push(Output::Cancel {
                    attempt: attempt.id,
                });
                let usage = self.usage_of_failed(&attempt, None);
                self.unprobed(desk, &attempt, now);
                self.settle_attempt(desk, attempt, usage, Str::new(), outcome, now);
            }
            Phase::Filming(attempt, _) => {
                let usage = self.usage_unsaid();
                self.settle_attempt(desk, attempt, usage, Str::new(), outcome, now);
            }
            Phase::Streaming(attempt, relay) | Phase::Closing(attempt, relay) => {
                out.push(Output::Cancel {
                    attempt: attempt.id,
                });
                let usage = match self.ordered() {
                    Some(usage) => usage,
                    None => self.usage_at_end(desk, &attempt, &relay, now, out),
                };
                self.unprobed(desk, &attempt, now);
                let id = relay.upstream_id.clone();
                self.settle_attempt(desk, attempt, usage, id, outcome, now);
            }
            Phase::Waiting { .. } | Phase::Claiming(_) | Phase::Reading | Phase::Settled => {}
        }
        if let (Outcome::Failed(class), false) = (outcome, self.ended) {
            desk.meters.failed(class);
            match &self.down {
                Down::Http(client) => out.push(Output::Abort { client: *client }),
                Down::Socket { .. } => {
                    let fault = Fault::new(class, "a fault of this router ended the request");
                    self.say_in_stream(now, &fault, out);
                }
                Down::Gone => {}
            }
        }
        self.settled(desk, now, out)
    }

    /// Bills, releases, records: the one place where an attempt ends.
    pub(super) fn settle_attempt(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        usage: Usage,
        upstream_id: Str,
        outcome: Outcome,
        now: Now,
    ) {
        let config = self.config.clone();
        let endpoint = &config.endpoints[attempt.endpoint.0 as usize];
        let cost = bill(&usage, endpoint.price.on(self.begun.wall));
        let used = attempt.sent.then(|| used(&usage));
        self.add_up(used, cost);
        desk.end_attempt(attempt.id);
        self.open = None;
        if let Some(hold) = attempt.hold.take() {
            desk.epoch(self.epoch).release(hold, used, now.instant);
        }
        desk.line.stir();
        let cached_expected = self.learn_from(desk, &mut attempt, &usage, outcome, now);
        desk.meters.attempt(outcome, &usage, cost);
        let first_byte = attempt.first_byte.map(|at| at - attempt.began.instant);
        let total = now.instant - attempt.began.instant;
        desk.meters.times(first_byte, total);
        let upstream_id = if upstream_id.is_empty() {
            attempt.upstream_id
        } else {
            upstream_id
        };
        if self.kept.is_some() {
            return;
        }
        self.row = Some(Box::new(LedgerRow {
            under: Under(config.clone()),
            exchange: self.name.clone(),
            attempt: attempt.number,
            last: true,
            started: attempt.began.wall,
            tenant: self.tenant,
            client_key: self.client_key,
            model: self.model(),
            endpoint: attempt.endpoint,
            pool: attempt.pool,
            key: attempt.key,
            dialect: self.dialect,
            streamed: self.streams(),
            outcome,
            status: attempt.status,
            upstream_id,
            usage,
            cost,
            queued: attempt.queued,
            first_byte,
            total,
            decision: attempt.decision,
            session: self.controls.session.clone(),
            priced: self.begun.wall,
            gated: attempt.gated,
            first_token: attempt.first_token.map(|at| at - attempt.began.instant),
            cached_expected,
        }));
    }

    /// Sends the row of the attempt that ended: as the last, or because another begins.
    pub fn write_row(&mut self, desk: &mut Desk, last: bool, out: &mut Vec<Output>) {
        if let Some(mut row) = self.row.take() {
            row.last = last;
            desk.ledger_room = desk.ledger_room.saturating_sub(1);
            out.push(Output::Post(Mail::Ledger(row)));
        }
    }

    /// The rows that are not written yet: of an attempt that ended, and of the one that is open, of which nobody can say any more what it used.
    pub fn interrupted(&self, now: Now, out: &mut Vec<Output>) {
        self.note_interrupted(now, out);
        if let Some(row) = &self.row {
            let row = LedgerRow {
                last: self.open.is_none(),
                ..(**row).clone()
            };
            out.push(Output::Post(Mail::Ledger(Box::new(row))));
        }
        let rival = self.rival.as_ref().and_then(|rival| rival.open);
        let open = rival.into_iter().chain(self.open);
        for open in open.filter(|_| self.kept.is_none()) {
            let last = self.open.is_some_and(|last| last.number == open.number);
            out.push(Output::Post(Mail::Ledger(Box::new(
                self.row_of_open(open, last, now),
            ))));
        }
        self.note_interrupted(now, out);
    }

    pub(super) fn row_of_open(&self, open: OpenAttempt, last: bool, now: Now) -> LedgerRow {
        let endpoint = &self.config.endpoints[open.endpoint.0 as usize];
        let usage = self.usage_unsaid();
        let cost = bill(&usage, endpoint.price.on(self.begun.wall));
        LedgerRow {
            under: Under(self.config.clone()),
            exchange: self.name.clone(),
            attempt: open.number,
            last,
            started: open.began.wall,
            tenant: self.tenant,
            client_key: self.client_key,
            model: self.model(),
            endpoint: open.endpoint,
            pool: open.pool,
            key: open.key,
            dialect: self.dialect,
            streamed: self.streams(),
            outcome: Outcome::Failed(FaultClass::Internal),
            status: None,
            upstream_id: Str::new(),
            usage,
            cost,
            queued: self.tally.queued,
            first_byte: None,
            total: now.instant - open.began.instant,
            decision: open.decision,
            session: self.controls.session.clone(),
            priced: self.begun.wall,
            gated: self.tally.gated,
            first_token: None,
            cached_expected: None,
        }
    }

    pub fn add_up(&mut self, used: Option<Used>, cost: NanoUsd) {
        self.tally.cost += cost;
        if let Some(used) = used {
            let sum = self.tally.used.get_or_insert_default();
            sum.input += used.input;
            sum.cache_read += used.cache_read;
            sum.output += used.output;
        }
    }

    /// The end of an exchange: what it holds of its tenant goes back, exactly once.
    pub fn settled(&mut self, desk: &mut Desk, now: Now, out: &mut Vec<Output>) -> Phase {
        self.write_row(desk, true, out);
        self.note_end(desk, now, out);
        if let Some(hold) = self.tenant_hold.take() {
            let epoch = desk.epoch(self.epoch);
            epoch.settle(self.who(), hold, self.tally.used, self.tally.cost, now);
        } else if self.tally.cost > NanoUsd::ZERO {
            // What it held was given back before its cost was known.
            let epoch = desk.epoch(self.epoch);
            epoch.charge(self.who(), self.tally.cost, now);
        }
        if std::mem::take(&mut self.tally.counted_as_retrying) {
            desk.retrying = desk.retrying.saturating_sub(1);
        }
        desk.parted(self.epoch);
        self.armed = Instant::NEVER;
        Phase::Settled
    }
}

/// What a provider's limits count.
pub(super) fn used(usage: &Usage) -> Used {
    let cache_read = usage.cache_read.unwrap_or_default();
    Used {
        input: usage.input_total() - cache_read,
        cache_read,
        output: usage.output.unwrap_or_default(),
    }
}

/// A failure between us and a provider, as its client may hear of it: that our key is dead or our money spent there is not the client's doing.
pub(super) fn for_client(fault: &Fault) -> Fault {
    let ours = match fault.class {
        FaultClass::Unauthenticated | FaultClass::Forbidden => route::NO_KEY,
        FaultClass::Billing => route::NO_MONEY,
        _ => return fault.clone(),
    };
    route::no_working_key(ours)
}
