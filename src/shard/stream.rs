//! Phase 4: decode, forward, meter.

use crate::base::{Now, Str, Tokens, WallTime};
use crate::canon::{DialectName, Fault, FaultClass};
use crate::config::{LogLevel, OnDisconnect};
use crate::policy::capacity::{Dimension, Told};
use crate::protocol::dialect::responses::Echo;
use crate::protocol::dialect::{self, Closing, Opening};
use crate::protocol::framing::sse;
use crate::protocol::provider::hints::{self, Hints};
use crate::protocol::provider::{Asking, ClientHeaders};
use crate::shard::desk::Desk;
use crate::shard::exchange::{Attempt, Down, Exchange, LastFailure, Limit, Phase};
use crate::shard::relay::{Apart, Form, Numbers, Relay};
use crate::shard::{Headers, LogLine, Outcome, Output, ResponseHead, UpstreamFault};
use bytes::{Bytes, BytesMut};
use std::time::Duration;

impl Exchange {
    /// The provider has answered: with an answer, or with a refusal.
    pub fn head(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        now: Now,
        status: u16,
        headers: &Headers,
        out: &mut Vec<Output>,
    ) -> Phase {
        attempt.status = Some(status);
        attempt.sent = true;
        let provider = self.config.endpoints[attempt.endpoint.0 as usize].provider;
        attempt.hints = self.config.providers[provider.0 as usize]
            .kind
            .hints(headers, now.wall);
        attempt.upstream_id = request_id(headers);
        self.heed(desk, &mut attempt, now);
        attempt.deadline.at = (now.instant + attempt.timeouts.stall).min(attempt.deadline.total_at);
        attempt.deadline.what = Limit::Stall;
        if (300..400).contains(&status) && self.carries() {
            return self.redirected(desk, attempt, now, (status, headers), out);
        }
        if !(200..300).contains(&status) {
            attempt.refusal = headers.clone();
            if self.rival.is_some() {
                // What the body says beside the status is not waited for: another call is out.
                return self.refused_slowly(desk, attempt, now, b"", out);
            }
            return Phase::Refused(attempt, BytesMut::new());
        }
        self.end_rival(desk, now, out);
        if !attempt.streams {
            attempt.deadline.at = attempt.deadline.total_at;
        }
        if self.carries() {
            self.carry(headers);
        }
        self.transcript_answered(headers);
        let form = self.form(&attempt, headers);
        let relay = Relay::new(form, || self.opening(&attempt));
        if self.congested_since.is_some() {
            out.push(Output::Pause {
                attempt: attempt.id,
            });
        }
        Phase::Streaming(attempt, Box::new(relay))
    }

    fn form(&self, attempt: &Attempt, headers: &Headers) -> Form {
        let endpoint = &self.config.endpoints[attempt.endpoint.0 as usize];
        let provider = &self.config.providers[endpoint.provider.0 as usize];
        let asking = Asking {
            operation: self.task.operation(),
            dialect: attempt.dialect,
            stream: attempt.streams,
            model: &endpoint.name,
            place: &provider.place,
            client: &ClientHeaders::default(),
            affinity: None,
            operation_name: "",
        };
        let kind = headers.get(b"content-type");
        let numbers = self.question().map(|question| Numbers {
            sides: self.sides(question, endpoint, attempt.dialect),
            asked: self.body.clone(),
            model: self.asked.peek.model.clone(),
            theirs: Str::from(&*endpoint.name),
            // Bedrock user guide, InvokeModel, read 2026-11: counts of whatever the body does not count.
            counted: headers
                .text(b"x-amzn-bedrock-input-token-count")
                .and_then(|count| count.parse().ok())
                .map(Tokens),
        });
        Form {
            kind: provider.kind,
            client: self.dialect,
            provider: attempt.dialect,
            client_streams: self.streams(),
            framing: provider.kind.framing(&asking, kind),
            numbers,
            kept: self.kept.is_some(),
            transcript: self.transcribes(),
            array: self.array,
            stream_usage: self.asked.peek.stream_usage,
            seals: self.watches_seals(endpoint, attempt.dialect),
            event_bytes_max: self.config.limits.event_bytes_max,
            answer_bytes_max: self.config.limits.answer_bytes_max,
            framed: matches!(self.down, Down::Socket { .. }),
            apart: match &self.video {
                Some(case) if case.carries() => Some(Apart::Passes),
                Some(_) => Some(Apart::Kept),
                None => self.is_about_cache().then_some(Apart::Kept),
            },
            lane: self.request_id(),
        }
    }

    /// What the headers say of limits corrects our own count.
    fn heed(&self, desk: &mut Desk, attempt: &mut Attempt, now: Now) {
        let told = told_of(&attempt.hints);
        if told.iter().any(|(_, told)| *told != Told::default()) {
            let epoch = desk.epoch(self.epoch);
            let (endpoint, pool) = (attempt.endpoint, attempt.pool);
            epoch.heed(endpoint, pool, attempt.hold.as_mut(), &told, now.instant);
        }
    }

    /// A piece of the answer.
    pub fn forward(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        mut relay: Box<Relay>,
        now: Now,
        bytes: Bytes,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.answer_began(desk, &mut attempt, now);
        if attempt.streams {
            attempt.deadline.at =
                (now.instant + attempt.timeouts.stall).min(attempt.deadline.total_at);
        }
        let mut said = std::mem::take(&mut desk.scratch);
        let fed = relay.feed(bytes, &mut said);
        if attempt.first_token.is_none() && attempt.streams && relay.spoke() {
            attempt.first_token = Some(now.instant);
        }
        if let Some(so_far) = relay.produced()
            && let Some(hold) = &mut attempt.hold
        {
            desk.epoch(self.epoch).produced(hold, so_far, now.instant);
        }
        if self.issues {
            self.learn(desk, &attempt, &relay, out);
        }
        self.learn_seals(desk, &attempt, &mut relay, out);
        match fed {
            Ok(()) if relay.done => {
                self.finish(&attempt, &mut relay, now, &mut said, out);
                desk.scratch = said;
                self.succeeded(desk, &attempt);
                attempt.deadline.at = now.instant + TAIL;
                Phase::Closing(attempt, relay)
            }
            Ok(()) => {
                self.tell(&attempt, now, &mut said, out);
                desk.scratch = said;
                Phase::Streaming(attempt, relay)
            }
            Err(fault) => {
                // What came before the failure was good.
                if self.saw {
                    self.tell(&attempt, now, &mut said, out);
                }
                said.clear();
                desk.scratch = said;
                out.push(Output::Cancel {
                    attempt: attempt.id,
                });
                self.attempt_failed(desk, attempt, Some(relay), now, fault.into(), out)
            }
        }
    }

    /// The provider's answer ended as HTTP says an answer ends.
    pub fn answer_ended(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        mut relay: Box<Relay>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        if self.video.is_some() {
            return self.video_answered(desk, attempt, relay, now, out);
        }
        if self.is_about_cache() {
            return self.cache_answered(desk, attempt, relay, now, out);
        }
        self.answer_began(desk, &mut attempt, now);
        let mut said = std::mem::take(&mut desk.scratch);
        let ended = relay.end(&mut said);
        if self.issues {
            self.learn(desk, &attempt, &relay, out);
        }
        self.learn_seals(desk, &attempt, &mut relay, out);
        if let Err(fault) = ended {
            // What came before the failure was good.
            if self.saw {
                self.tell(&attempt, now, &mut said, out);
            }
            said.clear();
            desk.scratch = said;
            return self.attempt_failed(desk, attempt, Some(relay), now, fault.into(), out);
        }
        self.finish(&attempt, &mut relay, now, &mut said, out);
        desk.scratch = said;
        self.succeeded(desk, &attempt);
        self.close(desk, attempt, &relay, now, out)
    }

    /// The connection broke before the provider's last word.
    pub fn broke_off(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        relay: Box<Relay>,
        now: Now,
        why: &UpstreamFault,
        out: &mut Vec<Output>,
    ) -> Phase {
        let fault = Fault::new(
            FaultClass::UpstreamBroken,
            format!("the provider broke off: {}", told(why)),
        );
        self.attempt_failed(desk, attempt, Some(relay), now, fault.into(), out)
    }

    /// The call came to nothing before an answer began.
    pub fn unreached(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        now: Now,
        why: &UpstreamFault,
        out: &mut Vec<Output>,
    ) -> Phase {
        let class = if attempt.sent {
            FaultClass::UpstreamBroken
        } else {
            FaultClass::Unavailable
        };
        let mut fault = Fault::new(
            class,
            format!("the provider could not be reached: {}", told(why)),
        );
        if *why == UpstreamFault::Full {
            fault.code = Some(CROWDED.to_owned());
        }
        self.attempt_failed(desk, attempt, None, now, fault.into(), out)
    }

    /// The provider has said why it refuses.
    pub fn refused(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        now: Now,
        body: &[u8],
        out: &mut Vec<Output>,
    ) -> Phase {
        attempt.first_byte.get_or_insert(now.instant);
        let provider = self.config.endpoints[attempt.endpoint.0 as usize].provider;
        let kind = self.config.providers[provider.0 as usize].kind;
        let status = attempt.status.unwrap_or(502);
        let mut fault = kind.fault(
            attempt.dialect,
            status,
            &attempt.refusal,
            body,
            &attempt.hints,
        );
        fault.upstream_status = Some(status);
        let same = attempt.dialect == self.dialect && matches!(self.down, Down::Http(_));
        let should_retry = attempt.hints.should_retry;
        let verbatim = if same && status >= 400 {
            dialect::own_refusal(self.dialect, &fault, body).map(|body| (status, body))
        } else {
            None
        };
        self.attempt_failed(
            desk,
            attempt,
            None,
            now,
            LastFailure {
                should_retry,
                verbatim,
                ..fault.into()
            },
            out,
        )
    }

    /// The head of a refusal came, its body does not: what is there must do.
    pub fn refused_slowly(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        now: Now,
        body: &[u8],
        out: &mut Vec<Output>,
    ) -> Phase {
        out.push(Output::Cancel {
            attempt: attempt.id,
        });
        self.refused(desk, attempt, now, body, out)
    }

    /// A time limit before the answer began.
    pub fn calling_timer(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        if now.instant < attempt.deadline.at {
            return match now.instant >= self.hedge_at {
                true => self.hedge(desk, attempt, now, out),
                false => Phase::Calling(attempt),
            };
        }
        out.push(Output::Cancel {
            attempt: attempt.id,
        });
        let fault = self.timed_out(&attempt, now);
        self.attempt_failed(desk, attempt, None, now, fault.into(), out)
    }

    /// A stall, the total limit, or a client that does not read.
    pub fn streaming_timer(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        relay: Box<Relay>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        if let Some(since) = self.congested_since
            && now.instant >= since + self.config.limits.slow_client
        {
            return self.drop_slow_client(desk, attempt, relay, now, out);
        }
        let stalled = self.congested_since.is_none() && now.instant >= attempt.deadline.at;
        if !stalled && now.instant < attempt.deadline.total_at {
            return Phase::Streaming(attempt, relay);
        }
        out.push(Output::Cancel {
            attempt: attempt.id,
        });
        let fault = self.timed_out(&attempt, now);
        self.attempt_failed(desk, attempt, Some(relay), now, fault.into(), out)
    }

    fn timed_out(&self, attempt: &Attempt, now: Now) -> Fault {
        let what = if now.instant >= attempt.deadline.total_at {
            Limit::Total
        } else {
            attempt.deadline.what
        };
        let seconds = |time: Duration| format!("{} s", time.as_secs_f64());
        let (class, message) = match what {
            Limit::Connect => (
                FaultClass::Unavailable,
                format!(
                    "no connection to the provider within {}",
                    seconds(attempt.timeouts.connect)
                ),
            ),
            Limit::FirstByte => (
                FaultClass::UpstreamTimeout,
                format!(
                    "the provider did not answer within {}",
                    seconds(attempt.timeouts.first_byte)
                ),
            ),
            Limit::Stall => (
                FaultClass::UpstreamTimeout,
                format!(
                    "the provider fell silent for {}",
                    seconds(attempt.timeouts.stall)
                ),
            ),
            Limit::Total if now.instant >= self.gives_up_at() => (
                FaultClass::UpstreamTimeout,
                "the answer was not there by the deadline of the request".to_owned(),
            ),
            Limit::Total => (
                FaultClass::UpstreamTimeout,
                format!(
                    "the answer took longer than {}",
                    seconds(attempt.timeouts.total)
                ),
            ),
        };
        Fault::new(class, message)
    }

    /// The client left its buffer full for too long: it is dropped, its answer is read to its end.
    fn drop_slow_client(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        relay: Box<Relay>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        desk.meters.slow_clients_dropped += 1;
        let fields = vec![("exchange", self.name.to_string())];
        desk.log(
            LogLine {
                at: now.wall,
                level: LogLevel::Warn,
                message: "slow client dropped",
                fields,
            },
            out,
        );
        match &self.down {
            Down::Http(client) => out.push(Output::Abort { client: *client }),
            Down::Socket { client, .. } => {
                out.push(Output::Abort { client: *client });
                self.dropped_socket = Some(*client);
            }
            Down::Gone => {}
        }
        self.part();
        self.resume(attempt, relay, now, out)
    }

    pub fn pause(
        &mut self,
        attempt: Box<Attempt>,
        relay: Box<Relay>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        if self.congested_since.is_none() {
            self.congested_since = Some(now.instant);
            out.push(Output::Pause {
                attempt: attempt.id,
            });
        }
        Phase::Streaming(attempt, relay)
    }

    pub fn resume(
        &mut self,
        mut attempt: Box<Attempt>,
        relay: Box<Relay>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        if self.congested_since.take().is_some() {
            // The silence was ours.
            attempt.deadline.at =
                (now.instant + attempt.timeouts.stall).min(attempt.deadline.total_at);
            out.push(Output::Resume {
                attempt: attempt.id,
            });
        }
        Phase::Streaming(attempt, relay)
    }

    /// Sends the client what `said` holds, and leaves it empty.
    pub(super) fn tell(
        &mut self,
        attempt: &Attempt,
        now: Now,
        said: &mut BytesMut,
        out: &mut Vec<Output>,
    ) {
        if said.is_empty() {
            return;
        }
        let bytes = said.split().freeze();
        self.note_sent(&bytes, out);
        self.saw = true;
        self.comment_at = now.instant + self.config.limits.sse_comment;
        match &self.down {
            Down::Gone => {}
            Down::Socket { client, .. } => out.push(Output::Write {
                client: *client,
                bytes,
            }),
            Down::Http(client) if self.head_sent => out.push(Output::Write {
                client: *client,
                bytes,
            }),
            Down::Http(client) => {
                let client = *client;
                self.head_sent = true;
                let head = self.carried_head(attempt).unwrap_or_else(|| {
                    self.response_head(Some(attempt), 200, self.stream_kind(), &[])
                });
                out.push(Output::Respond {
                    client,
                    head,
                    body: bytes,
                    end: false,
                });
            }
        }
    }

    /// The good end towards the client.
    fn finish(
        &mut self,
        attempt: &Attempt,
        relay: &mut Relay,
        now: Now,
        said: &mut BytesMut,
        out: &mut Vec<Output>,
    ) {
        let closing = self.closing(attempt, relay, now);
        relay.finish(self.dialect, || self.opening(attempt), &closing, said);
        if let Some(turn) = &mut self.turn {
            let provider = self.config.endpoints[attempt.endpoint.0 as usize].provider;
            let kind = self.config.providers[provider.0 as usize].kind;
            turn.told(relay.said(), kind);
        }
        if !self.streams() && !matches!(self.down, Down::Socket { .. }) {
            return self.finish_whole(attempt, said.split().freeze(), out);
        }
        self.tell(attempt, now, said, out);
        self.open_empty(attempt, out);
        self.end(out);
    }

    /// A stream that ends without a word (a kept one, resumed after its last event) has a head all the same.
    fn open_empty(&mut self, attempt: &Attempt, out: &mut Vec<Output>) {
        if let (Down::Http(client), false) = (&self.down, self.head_sent) {
            let client = *client;
            let head = self.response_head(Some(attempt), 200, self.stream_kind(), &[]);
            self.head_sent = true;
            self.ended = true;
            out.push(Output::Respond {
                client,
                head,
                body: Bytes::new(),
                end: true,
            });
        }
    }

    fn finish_whole(&mut self, attempt: &Attempt, body: Bytes, out: &mut Vec<Output>) {
        self.saw = true;
        self.ended = true;
        if let Some(kind) = self.answer_kind.clone() {
            self.note_head(200, &kind);
        }
        self.note_sent(&body, out);
        if let Down::Http(client) = self.down {
            let head = self.response_head(Some(attempt), 200, JSON, &[]);
            self.head_sent = true;
            out.push(Output::Respond {
                client,
                head,
                body,
                end: true,
            });
        }
    }

    /// Nothing more is written for this exchange.
    pub fn end(&mut self, out: &mut Vec<Output>) {
        if let (Down::Http(client), false) = (&self.down, self.ended) {
            out.push(Output::End { client: *client });
        }
        self.ended = true;
    }

    /// A quiet stream is kept alive: proxies in between drop what is silent for a minute (FIELD-BUGS 46).
    pub fn comment(&mut self, now: Now, out: &mut Vec<Output>) {
        let Down::Http(client) = self.down else {
            return;
        };
        let runs = matches!(
            self.phase,
            Phase::Waiting { .. } | Phase::Calling(_) | Phase::Streaming(..) | Phase::Filming(..)
        );
        if !runs
            || !self.streams()
            || self.carries()
            // Asked for a stream, a provider may send one body all the same.
            || (self.transcribes() && !self.head_sent)
            || self.ended
            || self.congested_since.is_some()
            || now.instant < self.comment_at
        {
            return;
        }
        self.comment_at = now.instant + self.config.limits.sse_comment;
        let body = Bytes::from_static(match self.array {
            // All that is written stands between elements, where JSON takes white space (RFC 8259, section 2) and no comments.
            true => b"\n",
            false => sse::KEEP_ALIVE,
        });
        if self.head_sent {
            out.push(Output::Write {
                client,
                bytes: body,
            });
        } else {
            self.head_sent = true;
            let head = self.response_head(None, 200, self.stream_kind(), &[]);
            out.push(Output::Respond {
                client,
                head,
                body,
                end: false,
            });
        }
    }

    /// What the client's stream is, as HTTP calls it.
    fn stream_kind(&self) -> &'static str {
        if self.array { ARRAY } else { EVENT_STREAM }
    }

    pub fn closing(&self, attempt: &Attempt, relay: &Relay, now: Now) -> Closing {
        let usage = relay.usage_or_estimate(self.asked.ask.input);
        let endpoint = &self.config.endpoints[attempt.endpoint.0 as usize];
        Closing {
            cost: self.tally.cost
                + crate::policy::bill::bill(&usage, endpoint.price.on(self.begun.wall)),
            first_byte: attempt.first_byte.map(|at| at - self.begun.instant),
            total: now.instant - self.begun.instant,
        }
    }

    pub fn opening(&self, attempt: &Attempt) -> Opening {
        Opening {
            id: self.name.clone(),
            created: self.begun.wall.seconds(),
            model: self.asked.peek.model.clone(),
            endpoint: self.endpoint_name(attempt),
            decision: attempt.decision.into(),
            stream_usage: self.asked.peek.stream_usage,
            bare: matches!(self.down, Down::Socket { .. }),
            array: self.array,
            request_id: self.request_id(),
            dropped: match self.down {
                Down::Socket { .. } => self.dropped.clone(),
                Down::Http(_) | Down::Gone => Vec::new(),
            },
            echo: self.echo(),
        }
    }

    /// What a response object repeats of the request; nothing in other dialects.
    pub fn echo(&self) -> Echo {
        match (self.dialect, &self.turn) {
            (DialectName::Responses, Some(turn)) => {
                Echo::going_on(&self.body, turn.previous.as_deref())
            }
            (DialectName::Responses, None) => Echo::of(&self.body),
            _ => Echo::default(),
        }
    }

    /// What the events of this request repeat on a WebSocket.
    pub fn request_id(&self) -> Option<Str> {
        match &self.down {
            Down::Socket { request_id, .. } => request_id.clone(),
            Down::Http(_) | Down::Gone => None,
        }
    }

    pub fn endpoint_name(&self, attempt: &Attempt) -> Str {
        self.config.endpoint_names[attempt.endpoint.0 as usize].clone()
    }

    pub fn response_head(
        &self,
        attempt: Option<&Attempt>,
        status: u16,
        kind: &'static str,
        more: &[(&'static str, Str)],
    ) -> ResponseHead {
        let mut headers = Vec::with_capacity(8);
        let passing = self.answer_kind.clone().filter(|_| status == 200);
        headers.push((
            "content-type",
            passing.unwrap_or_else(|| Str::from_static(kind)),
        ));
        headers.push(("x-stokehold-id", self.name.clone()));
        if kind == EVENT_STREAM || kind == ARRAY {
            // Buffering proxies would turn a stream into a lump.
            headers.push(("cache-control", Str::from_static("no-cache")));
            headers.push(("x-accel-buffering", Str::from_static("no")));
        }
        if let Some(attempt) = attempt {
            headers.push(("x-stokehold-endpoint", self.endpoint_name(attempt)));
            headers.push(("x-stokehold-decision", Str::from_static(attempt.decision)));
            if let Some(expected) = attempt.cached_expected() {
                let expected = Str::from(itoa::Buffer::new().format(expected.0));
                headers.push(("x-stokehold-cached-tokens-expected", expected));
            }
            let id = if attempt.upstream_id.is_empty() {
                self.name.clone()
            } else {
                attempt.upstream_id.clone()
            };
            headers.push((request_id_header(self.dialect), id));
        } else {
            headers.push((request_id_header(self.dialect), self.name.clone()));
        }
        if !self.dropped.is_empty() {
            headers.push(("x-stokehold-dropped", self.dropped.join(", ").into()));
        }
        // Where nothing is stored, nothing can be found again.
        if self.controls.idempotency_key.is_some() && self.storing.is_none() {
            headers.push(("x-stokehold-ignored", Str::from_static("idempotency-key")));
        }
        headers.extend(more.iter().cloned());
        ResponseHead { status, headers }
    }

    /// HTTP's own end of an answer that is whole does not come: the connection is given up, the answer is not.
    pub fn cut_tail(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        relay: &Relay,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        out.push(Output::Cancel {
            attempt: attempt.id,
        });
        self.close(desk, attempt, relay, now, out)
    }

    /// What a client that is gone wanted.
    #[must_use]
    pub fn keeps_answer(&self) -> bool {
        self.on_disconnect() == OnDisconnect::Finish
    }

    pub fn log_outcome(
        &self,
        desk: &Desk,
        at: WallTime,
        outcome: Outcome,
        fault: &Fault,
        out: &mut Vec<Output>,
    ) {
        if let Outcome::Failed(_) = outcome {
            self.log(desk, at, LogLevel::Warn, "attempt failed", fault, out);
        }
    }
}

/// The code of a call that found our own connections all in use.
pub(super) const CROWDED: &str = "connections_in_use";

pub(super) const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";
pub(super) const JSON: &str = "application/json";
/// A stream that is one JSON array, as Google names it.
pub(super) const ARRAY: &str = "application/json; charset=UTF-8";

/// After the provider's end mark, how long HTTP's own end may take: it lets the connection be used again.
const TAIL: Duration = Duration::from_secs(2);

/// The header in which this dialect's clients look for the id of a request.
pub(super) fn request_id_header(dialect: DialectName) -> &'static str {
    match dialect {
        DialectName::Messages => "request-id",
        _ => "x-request-id",
    }
}

fn request_id(headers: &Headers) -> Str {
    let names: [&[u8]; 2] = [b"request-id", b"x-request-id"];
    let found = headers.iter().find(|(name, _)| names.contains(name));
    // What is longer or stranger than any provider's id names nothing. A copy: a slice would keep the whole head.
    let id = found.and_then(|(_, value)| std::str::from_utf8(value).ok());
    id.filter(|id| id.len() <= 128)
        .map_or(Str::new(), Str::from)
}

fn told(why: &UpstreamFault) -> String {
    match why {
        UpstreamFault::Resolve(why) => format!("its name has no address ({why})"),
        UpstreamFault::Connect(why) => format!("no connection ({why})"),
        UpstreamFault::Tls(why) => format!("no secure connection ({why})"),
        UpstreamFault::Reset => "the connection was closed".to_owned(),
        UpstreamFault::Malformed(why) => format!("its answer is not HTTP ({why})"),
        UpstreamFault::Full => "all connections to it are in use".to_owned(),
    }
}

/// What a provider says of each thing that it counts.
pub(super) fn told_of(hints: &Hints) -> [(Dimension, Told); 4] {
    let told = |limit: &Option<hints::Limit>| {
        limit.map_or(Told::default(), |limit| Told {
            limit: limit.limit,
            remaining: limit.remaining,
            full_in: limit.full_in,
        })
    };
    [
        (Dimension::Requests, told(&hints.requests)),
        (Dimension::Tokens, told(&hints.tokens)),
        (Dimension::Input, told(&hints.input_tokens)),
        (Dimension::Output, told(&hints.output_tokens)),
    ]
}

/// How long it wants to be left alone.
pub(super) fn wait_of(hints: &Hints, fault: &Fault) -> Option<Duration> {
    fault.retry_after.or(hints.retry_after)
}
