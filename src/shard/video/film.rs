//! A job from its start to its end: asked about until it is over, whoever waits for it, and billed then.
//!
//! Every question is a call within the attempt of the start: same endpoint, same key, one row. It draws on its pool's limits while it is
//! under way, and nothing is held in between.

use super::ask::bare;
use super::{Film, Form, file_name, job_name};
use crate::base::{Instant, NanoUsd, Now, Str};
use crate::canon::{DialectName, Fault, FaultClass, Source, Usage};
use crate::config::OnDisconnect;
use crate::policy::capacity::{Ask as Draw, Room, Used};
use crate::policy::retry::{self, AttemptError};
use crate::protocol::dialect::gemini::video::{self, Job, VideoState};
use crate::protocol::dialect::gemini::video_name::{OperationName, file_id};
use crate::protocol::dialect::gemini::video_native;
use crate::protocol::provider::Operation;
use crate::shard::desk::Desk;
use crate::shard::exchange::{Attempt, Down, Exchange, Phase};
use crate::shard::relay::Relay;
use crate::shard::task::Deed;
use crate::shard::{Outcome, Output, stream};
use bytes::Bytes;
use std::time::Duration;

/// After so many answers that there is no such job, nobody is asked again.
const MISSED_MAX: u32 = 3;

impl Exchange {
    /// A provider's answer to a call about a video is whole.
    pub fn video_answered(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        mut relay: Box<Relay>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        attempt.first_byte.get_or_insert(now.instant);
        let Some(case) = &self.video else {
            return self.close(desk, attempt, &relay, now, out);
        };
        let (deed, operation, runs) = (case.deed, case.operation, case.runs());
        if operation == Operation::VideoContent {
            return self.carried(desk, attempt, &relay, now, out);
        }
        let body = relay.take_whole();
        match (deed, runs) {
            (Deed::Start, false) => self.started(desk, attempt, relay, &body, now, out),
            (Deed::Start, true) => self.looked(desk, attempt, &relay, &body, now, out),
            (Deed::Poll, _) => self.told_standing(desk, attempt, relay, &body, now, out),
            (Deed::Content, _) => self.found(desk, attempt, relay, &body, now, out),
            (Deed::Delete, _) => {
                self.forget_issued(desk);
                self.answer_video(&attempt, body, stream::JSON.into(), &[], out);
                self.close(desk, attempt, &relay, now, out)
            }
        }
    }

    pub(super) fn form_at(&self, attempt: &Attempt) -> Form {
        let provider = self.config.endpoints[attempt.endpoint.0 as usize].provider;
        Form::of(self.config.providers[provider.0 as usize].kind).unwrap_or(Form::OpenAi)
    }

    /// The provider has taken the order.
    fn started(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        relay: Box<Relay>,
        body: &Bytes,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let form = self.form_at(&attempt);
        let Some(name) = self.order_taken(form, body) else {
            let fault = relay.no_answer(body, "no video's job");
            return self.attempt_failed(desk, attempt, Some(relay), now, fault.into(), out);
        };
        self.succeeded(desk, &attempt);
        self.end_call(desk, &mut attempt, now);
        let id = self.short_id(&attempt, form, &name);
        self.issue(desk, &attempt, &job_name(&id), out);
        let film = Film {
            name,
            status: attempt.status,
            ends_at: now.instant + self.config.video.wait,
            failures: 0,
            teller: self.teller(&attempt),
            told: None,
        };
        if let Some(case) = &mut self.video {
            case.film = Some(film);
        }
        match self.dialect {
            DialectName::Native => self.tell_begun(&attempt, &id, now, out),
            _ => self.tell_started(&attempt, form, body, &id, now, out),
        }
        if self.dialect != DialectName::Native || self.down == Down::Gone {
            self.release_tenant(desk, now);
        }
        self.film_on(attempt, now, self.config.video.poll)
    }

    /// The provider's name of the job that it began, and what it says of its length.
    fn order_taken(&mut self, form: Form, body: &[u8]) -> Option<Str> {
        match form {
            Form::Gemini | Form::Vertex => video::operation_name(body),
            Form::OpenAi => {
                let (job, _) = video::read_openai_job(body)?;
                self.heed_length(&job);
                Some(job.id)
            }
        }
    }

    /// OpenAI says how long and large a video will be, whatever was asked.
    fn heed_length(&mut self, said: &Job) {
        let Some(case) = &mut self.video else { return };
        case.job.seconds = said.seconds.or(case.job.seconds);
        let resolution = said.size.as_deref().and_then(video::resolution_of);
        case.job.resolution = resolution.or(case.job.resolution);
    }

    pub(super) fn short_id(&self, attempt: &Attempt, form: Form, name: &Str) -> Str {
        let endpoint = &self.config.endpoints[attempt.endpoint.0 as usize];
        let provider = &self.config.providers[endpoint.provider.0 as usize];
        match form {
            Form::OpenAi => name.clone(),
            Form::Gemini | Form::Vertex => {
                let root = provider.kind.operations_root(&provider.place);
                OperationName::short(&root, bare(&endpoint.name), name)
            }
        }
    }

    /// Goes on, and asks after `wait`.
    fn film_on(&self, attempt: Box<Attempt>, now: Now, wait: Duration) -> Phase {
        Phase::Filming(attempt, now.instant + wait)
    }

    /// When a job whose next question is due at `until` must be thought of.
    pub fn film_wakes(&self, until: Instant) -> Instant {
        match self.down == Down::Gone || self.ended {
            true => until,
            false => until.min(self.gives_up_at()),
        }
    }

    pub fn film_timer(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        until: Instant,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let listens = self.down != Down::Gone && !self.ended;
        if listens && now.instant >= self.gives_up_at() {
            let message = "the video was not there by the deadline of the request; the provider goes on with it, and it is paid for";
            let fault = Fault::new(FaultClass::UpstreamTimeout, message);
            self.dismiss(desk, &attempt, &fault, NanoUsd::ZERO, now, out);
        }
        if now.instant < until {
            return Phase::Filming(attempt, until);
        }
        self.look(desk, attempt, now, out)
    }

    /// Asks how the job stands.
    fn look(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        if self.is_last_look(now) {
            return self.unseen(desk, attempt, now, out);
        }
        let poll = self.config.video.poll;
        let epoch = desk.epoch(self.epoch);
        let ready = (attempt.key).is_none_or(|key| epoch.credentials.is_ready(key, now.instant));
        let room = epoch.room(attempt.endpoint, attempt.pool, Draw::default(), now.instant);
        match room {
            Room::Now if ready => {}
            Room::In(wait) => {
                epoch.wish((attempt.endpoint, attempt.pool), now.instant);
                return self.film_on(attempt, now, wait.clamp(SOON, poll.max(SOON)));
            }
            _ => return self.film_on(attempt, now, poll),
        }
        if let Some(case) = &mut self.video {
            case.operation = Operation::VideoPoll;
        }
        match self.call_again(desk, &mut attempt, now, out) {
            Ok(()) => Phase::Calling(attempt),
            Err(fault) => self.look_failed(desk, attempt, &fault, now, out),
        }
    }

    fn is_last_look(&self, now: Now) -> bool {
        let case = self.video.as_ref();
        let ends_at = case
            .and_then(|case| case.film.as_ref())
            .map(|film| film.ends_at);
        case.is_none_or(|case| case.leaving) || ends_at.is_none_or(|at| now.instant >= at)
    }

    /// The provider says how the job stands.
    fn looked(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        relay: &Relay,
        body: &Bytes,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let form = self.form_at(&attempt);
        let Some(state) = self.standing(form, body) else {
            let fault = relay.no_answer(body, "no video's job");
            return self.look_failed(desk, attempt, &fault, now, out);
        };
        self.end_call(desk, &mut attempt, now);
        match state {
            VideoState::Running { progress } => {
                let film = self.video.as_mut().and_then(|case| case.film.as_mut());
                let new = film.is_some_and(|film| {
                    film.failures = 0;
                    film.told.replace(progress) != Some(progress)
                });
                if new {
                    self.tell_events(&attempt, &[video_native::progress(progress)], now, out);
                }
                if self.video.as_ref().is_some_and(|case| case.leaving) {
                    return self.unseen(desk, attempt, now, out);
                }
                self.film_on(attempt, now, self.config.video.poll)
            }
            VideoState::Done { videos, withheld } => {
                self.filmed(desk, attempt, videos, &withheld, now, out)
            }
            VideoState::Failed(fault) => self.film_failed(desk, attempt, &fault, now, out),
        }
    }

    /// `None` for what is nobody's word on a job.
    pub(super) fn standing(&mut self, form: Form, body: &[u8]) -> Option<VideoState> {
        match form {
            Form::Gemini | Form::Vertex => {
                video::operation_name(body)?;
                Some(video::read_operation(body))
            }
            Form::OpenAi => {
                let (job, state) = video::read_openai_job(body)?;
                self.heed_length(&job);
                Some(state)
            }
        }
    }

    /// The videos are there.
    fn filmed(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        videos: Vec<Source>,
        withheld: &[Str],
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let Some(case) = &self.video else {
            return Phase::Settled;
        };
        let name = case
            .film
            .as_ref()
            .map_or(Str::new(), |film| film.name.clone());
        let seconds = case.job.seconds_each() * videos.len() as u64;
        let usage = case.job.usage(seconds);
        self.issue_files(desk, &attempt, &videos, out);
        let id = self.short_id(&attempt, self.form_at(&attempt), &name);
        let places = self.places(self.form_at(&attempt), &id, videos, now);
        let events = video_native::told(&places, withheld, usage.clone());
        self.tell_events(&attempt, &events, now, out);
        self.tell_end(&attempt, &usage, now, out);
        self.film_ends(desk, attempt, usage, Outcome::Done, now, out)
    }

    /// Later questions about these files go to whose they are.
    pub(super) fn issue_files(
        &self,
        desk: &mut Desk,
        attempt: &Attempt,
        videos: &[Source],
        out: &mut Vec<Output>,
    ) {
        for video in videos {
            if let Source::Url { url, .. } = video
                && let Some(file) = file_id(url)
            {
                self.issue(desk, attempt, &file_name(file), out);
            }
        }
    }

    /// Nothing came of it, and nothing is paid (Google says that of what its filters withhold; of failures it goes without saying).
    fn film_failed(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        fault: &Fault,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let outcome = Outcome::Failed(fault.class);
        self.log_outcome(desk, now.wall, outcome, fault, out);
        self.dismiss(desk, &attempt, fault, NanoUsd::ZERO, now, out);
        let usage = self.video.as_ref().map(|case| case.job.usage(0));
        self.film_ends(desk, attempt, usage.unwrap_or_default(), outcome, now, out)
    }

    /// A question was not answered; another will be.
    pub fn look_failed(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        fault: &Fault,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.end_call(desk, &mut attempt, now);
        if retry::of_fault(fault) == AttemptError::KeyRefused {
            self.renews(desk, &attempt, now, out);
            // Each question may renew it once: hours may lie between two.
            self.tally.renewed_keys.clear();
        }
        let poll = self.config.video.poll;
        let Some(film) = self.video.as_mut().and_then(|case| case.film.as_mut()) else {
            return Phase::Settled;
        };
        film.failures = film.failures.saturating_add(1);
        let failures = film.failures;
        if failures == 1 {
            self.log_outcome(desk, now.wall, Outcome::Failed(fault.class), fault, out);
        }
        let missing = retry::of_fault(fault) == AttemptError::NotThere && failures >= MISSED_MAX;
        if missing || self.is_last_look(now) {
            return self.unseen(desk, attempt, now, out);
        }
        self.film_on(attempt, now, poll * failures.min(6))
    }

    /// Its end will not be seen: what was ordered is written down, as an estimate.
    fn unseen(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let message = "the provider does not say what became of the video";
        let fault = Fault::new(FaultClass::UpstreamTimeout, message);
        let outcome = Outcome::Failed(fault.class);
        self.log_outcome(desk, now.wall, outcome, &fault, out);
        let usage = self.ordered().unwrap_or_default();
        let cost = self.cost_of(&attempt, &usage);
        self.dismiss(desk, &attempt, &fault, cost, now, out);
        self.film_ends(desk, attempt, usage, outcome, now, out)
    }

    fn film_ends(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        usage: Usage,
        outcome: Outcome,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let Some(case) = &self.video else {
            return Phase::Settled;
        };
        let (name, status) = match &case.film {
            Some(film) => (film.name.clone(), film.status),
            None => (Str::new(), attempt.status),
        };
        let outcome = match outcome {
            Outcome::Done if case.cancelled => Outcome::Cancelled,
            other => other,
        };
        attempt.status = status;
        self.settle_attempt(desk, attempt, usage, name, outcome, now);
        if outcome == Outcome::Done {
            desk.meters.exchanges_done += 1;
        }
        self.settled(desk, now, out)
    }

    /// The client of an order left. The provider cannot be told to stop: what `on_disconnect: cancel` saves is nothing but the telling, so the
    /// job is followed to its end for the bill, and its row says that it was cancelled.
    pub fn film_unwatched(
        &mut self,
        desk: &mut Desk,
        phase: Phase,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        desk.meters.clients_gone += 1;
        let cancels = self.on_disconnect() == OnDisconnect::Cancel;
        self.part();
        self.take_teller();
        if let Some(case) = &mut self.video {
            case.cancelled |= cancels;
        }
        match phase {
            // Nothing was written, so nothing was ordered.
            Phase::Calling(attempt) if cancels && !attempt.sent => {
                self.phase = Phase::Calling(attempt);
                self.abandon(desk, now, Outcome::Cancelled, out)
            }
            Phase::Streaming(attempt, relay) => {
                self.release_tenant_if_running(desk, now);
                self.resume(attempt, relay, now, out)
            }
            phase => {
                self.release_tenant_if_running(desk, now);
                self.congested_since = None;
                phase
            }
        }
    }

    /// The client of an order takes it back, and is there to be told so; the rest is as when it leaves.
    pub fn film_cancelled(
        &mut self,
        desk: &mut Desk,
        phase: Phase,
        fault: &Fault,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        match &phase {
            Phase::Calling(a)
            | Phase::Refused(a, _)
            | Phase::Streaming(a, _)
            | Phase::Filming(a, _) => {
                if self.video.as_ref().is_some_and(|case| case.runs()) {
                    self.dismiss(desk, a, fault, NanoUsd::ZERO, now, out);
                } else {
                    self.say_in_stream(now, fault, out);
                    self.part();
                }
            }
            Phase::Reading
            | Phase::Claiming(_)
            | Phase::Waiting { .. }
            | Phase::Closing(..)
            | Phase::Settled => {}
        }
        if let Some(case) = &mut self.video {
            case.cancelled = true;
        }
        phase
    }

    /// The node stops: who nobody waits for is written down as it was ordered.
    pub fn film_leaves(
        &mut self,
        desk: &mut Desk,
        phase: Phase,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let watched = self.down != Down::Gone && !self.ended;
        let Some(case) = self.video.as_mut().filter(|case| case.runs() && !watched) else {
            return phase;
        };
        case.leaving = true;
        match phase {
            Phase::Filming(attempt, _) => self.unseen(desk, attempt, now, out),
            phase => phase,
        }
    }

    /// What its tenant's limits hold of an order is given back when it is taken: it is a request that was answered.
    pub(super) fn release_tenant(&mut self, desk: &mut Desk, now: Now) {
        if let Some(hold) = self.tenant_hold.take() {
            let used = Some(Used::default());
            let epoch = desk.epoch(self.epoch);
            epoch.settle(self.who(), hold, used, NanoUsd::ZERO, now);
        }
    }

    fn release_tenant_if_running(&mut self, desk: &mut Desk, now: Now) {
        if self.video.as_ref().is_some_and(|case| case.runs()) {
            self.release_tenant(desk, now);
        }
    }

    /// A call of an attempt is over, and the attempt is not.
    pub(super) fn end_call(&self, desk: &mut Desk, attempt: &mut Attempt, now: Now) {
        if let Some(hold) = attempt.hold.take() {
            let used = Some(Used::default());
            desk.epoch(self.epoch).release(hold, used, now.instant);
            desk.line.stir();
        }
        // What may still come of that call is nobody's.
        desk.end_attempt(attempt.id);
    }
}

/// The least wait for headroom of a pool.
const SOON: Duration = Duration::from_millis(50);
