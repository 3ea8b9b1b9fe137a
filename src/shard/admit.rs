//! Phase 1: read, authenticate, decode.

use crate::base::{ClientId, ClientKeyId, Instant, Now, Tokens, WallTime};
use crate::canon::{Controls, DialectName, Fault, FaultClass};
use crate::config::{Config, LogLevel, OnDisconnect};
use crate::policy::admission::Refusal;
use crate::policy::capacity::Ask as Draw;
use crate::policy::cost;
use crate::protocol::dialect::{native, splice};
use crate::protocol::multipart;
use crate::protocol::provider::steering::CLIENT_HEADERS;
use crate::shard::cached;
use crate::shard::desk::Desk;
use crate::shard::exchange::{Asked, Down, Exchange, ModelIdOrNone, PassingHeaders, Phase, Tally};
use crate::shard::fetch::Want;
use crate::shard::kept::Kept;
use crate::shard::lanes::Lanes;
use crate::shard::line::{Claim, Claims};
use crate::shard::marks::Steered;
use crate::shard::paths::{self, Ask, Beside, Line};
use crate::shard::socket::Kind;
use crate::shard::task::Task;
use crate::shard::video::{self, Case};
use crate::shard::{BodyFault, Client, ClientHead, LogLine, Output, Shard, reply, socket};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::time::Duration;

impl Shard {
    /// A client's request has begun. What can be refused by its head alone is refused before its body is read.
    pub(super) fn head(
        &mut self,
        now: Now,
        client: ClientId,
        head: ClientHead,
        out: &mut Vec<Output>,
    ) {
        let anthropic = header(&head, b"anthropic-version").is_some();
        let beside = Beside {
            query: &head.query,
            websocket: head.websocket,
            anthropic,
            google: header(&head, b"x-goog-api-key").is_some(),
        };
        let ask = paths::read(&head.method, &head.path, beside);
        if let Ask::Refused { dialect, fault } = &ask {
            return reply::refuse(client, *dialect, fault, &self.desk.name_exchange(), out);
        }
        let dialect = match &ask {
            Ask::Do(line) => line.dialect,
            Ask::Models { dialect }
            | Ask::Model { dialect, .. }
            | Ask::Stored { dialect, .. }
            | Ask::Socket { dialect } => *dialect,
            Ask::Refused { .. } => DialectName::Native,
        };
        let native = Ask::Socket {
            dialect: DialectName::Native,
        };
        let array = matches!(&ask, Ask::Do(line) if line.array);
        let key = match self.authenticate(&head, dialect, now.wall) {
            Ok(key) => Some(key),
            // A native WebSocket may show its key in its first message.
            Err(_) if ask == native && shown_key(&head).is_none() => None,
            Err(fault) => {
                self.desk.meters.unauthenticated += 1;
                let fields = vec![("peer", head.peer.to_string())];
                let line = LogLine {
                    at: now.wall,
                    level: LogLevel::Warn,
                    message: "client key refused",
                    fields,
                };
                self.desk.log(line, out);
                let id = self.desk.name_exchange();
                return reply::refuse_in(client, (dialect, array), &fault, &id, out);
            }
        };
        match (ask, key) {
            (Ask::Models { dialect }, Some(key)) => {
                let config = self.desk.config();
                reply::models(client, dialect, (config, key), now.wall, out);
            }
            (Ask::Model { dialect, name }, Some(key)) => {
                let id = self.desk.name_exchange();
                reply::model(
                    client,
                    dialect,
                    (self.desk.config(), key),
                    &name,
                    &id,
                    now.wall,
                    out,
                );
            }
            (
                Ask::Stored {
                    dialect,
                    mut wanted,
                },
                Some(key),
            ) => {
                if let Want::Events { after, .. } = &mut wanted.want {
                    let last = text_header(&head, b"last-event-id");
                    *after = after.or_else(|| last.and_then(|id| id.trim().parse().ok()));
                }
                let config = self.desk.config();
                let tenant = config.client_keys[key.0 as usize].tenant;
                let tenant = config.tenants[tenant.0 as usize].name.as_str().into();
                self.fetch(now, client, (tenant, dialect), *wanted, out);
            }
            (Ask::Socket { dialect }, _) => self.open_socket(now, client, dialect, &head, out),
            (Ask::Do(line), Some(key)) => {
                if let Err(fault) = self.open(now, client, &head, line, key, out) {
                    self.desk.meters.failed(fault.class);
                    let id = self.desk.name_exchange();
                    reply::refuse_in(client, (dialect, array), &fault, &id, out);
                }
            }
            (
                Ask::Do(_)
                | Ask::Refused { .. }
                | Ask::Stored { .. }
                | Ask::Models { .. }
                | Ask::Model { .. },
                _,
            ) => {}
        }
    }

    fn authenticate(
        &self,
        head: &ClientHead,
        dialect: DialectName,
        now: WallTime,
    ) -> Result<ClientKeyId, Fault> {
        let Some(key) = shown_key(head) else {
            let message = "no client key was given; send it as authorization: Bearer KEY, or as x-api-key: KEY";
            return Err(
                Fault::new(FaultClass::Unauthenticated, message).with_code("missing_api_key")
            );
        };
        let id = self.desk.client_key(&key_hash(key), now)?;
        let rights = &self.desk.config().client_keys[id.0 as usize].rights;
        if !rights.allow_dialect(dialect) {
            let message = format!("this client key may not use the API {}", dialect.as_str());
            return Err(Fault::new(FaultClass::Forbidden, message).with_code("api_not_allowed"));
        }
        Ok(id)
    }

    fn open(
        &mut self,
        now: Now,
        client: ClientId,
        head: &ClientHead,
        line: Line,
        key: ClientKeyId,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        self.desk
            .may_begin(self.exchanges.len(), self.exchanges.is_full())?;
        let controls = Controls::from_headers(head.headers.iter())?;
        let bytes_max = self.desk.config().limits.body_bytes_max.0;
        if head.content_length.is_some_and(|length| length > bytes_max) {
            return Err(too_large(bytes_max));
        }
        let mut exchange = Opened {
            down: Down::Http(client),
            line,
            key,
            controls,
            video: None,
            passing: passing(head),
        };
        let tls = self.desk.config().server.tls.is_some();
        exchange.video = match (exchange.line.task, exchange.line.video.take()) {
            (Task::Video(deed), Some(wanted)) => Some(Case::of(deed, *wanted, head, tls)),
            _ => None,
        };
        if exchange.line.dialect == DialectName::Native {
            exchange.passing.origin = video::origin(head, tls);
        }
        let id = self.begin_exchange(now, exchange)?;
        self.keep_client(client, Client::Exchange(id));
        out.push(Output::ReadBody { client, bytes_max });
        Ok(())
    }

    /// Takes an exchange into the table.
    pub(super) fn begin_exchange(
        &mut self,
        now: Now,
        opened: Opened,
    ) -> Result<crate::base::ExchangeId, Fault> {
        let name = self.desk.name_exchange();
        let config = self.desk.config().clone();
        let key = &config.client_keys[opened.key.0 as usize];
        let (tenant, priority) = (key.tenant, key.rights.priority);
        let comment_at = now.instant + config.limits.sse_comment;
        if self.exchanges.is_full() {
            return Err(full());
        }
        let epoch = self.desk.joined();
        let kept = self.exchanges.insert_with(|slot| {
            Box::new(Exchange {
                id: crate::base::ExchangeId(slot),
                name,
                epoch,
                config,
                phase: Phase::Reading,
                down: opened.down,
                parted: None,
                turn: None,
                dropped_socket: None,
                dialect: opened.line.dialect,
                task: opened.line.task,
                path_streams: opened.line.stream,
                path_model: opened.line.model,
                array: opened.line.array,
                video: opened.video,
                kept: opened.line.kept.map(|wanted| Box::new(Kept::new(*wanted))),
                cached: opened
                    .line
                    .cached
                    .map(|wanted| Box::new(cached::Case::new(*wanted))),
                warmer: None,
                pin: None,
                seals: None,
                issues: false,
                tenant,
                client_key: opened.key,
                controls: Controls {
                    priority: opened.controls.priority.or(priority),
                    ..opened.controls
                },
                passing: opened.passing,
                begun: now,
                body: Bytes::new(),
                asked: Asked::default(),
                request: None,
                readings: None,
                steered: Steered::default(),
                written: None,
                tenant_hold: None,
                unadmitted: false,
                tally: Tally::default(),
                storing: None,
                claim: None,
                handed: None,
                row: None,
                ticket: None,
                open: None,
                rival: None,
                hedge_at: Instant::NEVER,
                last: None,
                dropped: Vec::new(),
                answer_kind: None,
                head_sent: false,
                saw: false,
                ended: false,
                congested_since: None,
                comment_at,
                armed: Instant::NEVER,
            })
        });
        self.desk.meters.exchanges_begun += 1;
        kept.map(crate::base::ExchangeId).map_err(|_| full())
    }

    fn open_socket(
        &mut self,
        now: Now,
        client: ClientId,
        dialect: DialectName,
        head: &ClientHead,
        out: &mut Vec<Output>,
    ) {
        let controls = Controls::from_headers(head.headers.iter());
        match controls.and_then(|controls| Ok((socket::accept(head)?, controls))) {
            Ok((accept, controls)) => {
                let bytes_max = self.desk.config().limits.body_bytes_max.0;
                let (kind, until) = match dialect {
                    DialectName::Responses => {
                        let lanes = Lanes::new(without_upgrade(passing(head)));
                        let until = self.ends_at(now.instant, client);
                        (Kind::Responses(Box::new(lanes)), until)
                    }
                    _ => (Kind::native(), Instant::NEVER),
                };
                let session = socket::SocketSession::new(socket::Opening {
                    key: shown_key(head).map(key_hash),
                    kind,
                    controls,
                    message_bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
                    hold: self.bodies().hold(),
                    until,
                });
                self.keep_client(client, Client::Socket(Box::new(session)));
                out.push(Output::Upgrade { client, accept });
            }
            Err(fault) => reply::refuse(client, dialect, &fault, &self.desk.name_exchange(), out),
        }
    }
}

/// What an exchange begins with.
pub(super) struct Opened {
    pub down: Down,
    pub line: Line,
    pub key: ClientKeyId,
    pub controls: Controls,
    pub video: Option<Box<Case>>,
    pub passing: PassingHeaders,
}

/// A client's key as the tables know it.
pub(super) type KeyHash = [u8; 32];

/// The tables are looked up by hash, so that the time it takes says nothing about how much of a key was right.
pub(super) fn key_hash(key: &[u8]) -> KeyHash {
    Sha256::digest(key).into()
}

impl Desk {
    /// Whose key this is.
    pub fn client_key(&self, hash: &KeyHash, now: WallTime) -> Result<ClientKeyId, Fault> {
        let refused = |message: &str| {
            Fault::new(FaultClass::Unauthenticated, message).with_code("invalid_api_key")
        };
        let found = self.newest().client_key(hash);
        let id = found.ok_or_else(|| refused("this client key is not known here"))?;
        let rights = &self.config().client_keys[id.0 as usize].rights;
        match rights.expires.is_some_and(|end| now >= end) {
            true => Err(refused("this client key has expired")),
            false => Ok(id),
        }
    }

    /// Whether a new exchange can be taken.
    pub fn may_begin(&self, running: usize, full_table: bool) -> Result<(), Fault> {
        if self.draining {
            let message = "this router is about to stop and takes no new requests";
            return Err(Fault::new(FaultClass::Unavailable, message).after(Duration::from_secs(1)));
        }
        // Every exchange in flight will write a row or more: they need room beside the new one.
        if self.ledger_room <= running {
            let message = "the ledger is behind; nothing is begun that could not be written down";
            return Err(Fault::new(FaultClass::Unavailable, message).after(Duration::from_secs(1)));
        }
        if !self.spool_room {
            let message = "the spool is full: nothing is begun whose answer could be lost";
            return Err(Fault::new(FaultClass::Unavailable, message).after(Duration::from_secs(5)));
        }
        if full_table { Err(full()) } else { Ok(()) }
    }
}

fn full() -> Fault {
    let message = "this router serves as many requests as it may at once";
    Fault::new(FaultClass::Overloaded, message).after(Duration::from_secs(1))
}

fn too_large(bytes_max: u64) -> Fault {
    Fault::new(
        FaultClass::TooLarge,
        format!("the body is larger than {bytes_max} bytes"),
    )
}

impl Exchange {
    /// The body is here: what does it ask for, may it, and where does it go.
    pub fn begin(
        &mut self,
        desk: &mut Desk,
        now: Now,
        body: Bytes,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.body = body;
        let understood = self.understand(desk).and_then(|()| self.locate(desk));
        if understood.is_ok() {
            self.look_up_seals(desk);
        }
        match understood {
            Ok(()) => match self.claim(desk, now, out) {
                Some(claiming) => claiming,
                None => self.enter(desk, now, now.instant, out),
            },
            Err(fault) => self.refuse(desk, now, &fault, out),
        }
    }

    /// Is admitted, and routed; or waits until this shard is granted what its tenant still has.
    pub fn enter(
        &mut self,
        desk: &mut Desk,
        now: Now,
        since: Instant,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.unadmitted = false;
        match self.admit(desk, now, since) {
            Ok(None) => self.route(desk, now, since, out),
            Ok(Some(until)) => {
                self.unadmitted = true;
                let claim = Claim::tenant(self.tenant);
                self.line_up(desk, until, Claims::from_slice(&[claim]), false);
                let (of, ask) = ((self.epoch, self.who()), self.asked.ask);
                desk.park_at_door(self.id, of, ask, since, now.instant);
                Phase::Waiting { since, until }
            }
            Err(fault) => self.refuse(desk, now, &fault, out),
        }
    }

    pub fn body_failed(
        &mut self,
        desk: &mut Desk,
        now: Now,
        why: BodyFault,
        out: &mut Vec<Output>,
    ) -> Phase {
        let fault = match why {
            BodyFault::TooLarge => too_large(self.config.limits.body_bytes_max.0),
            BodyFault::TooSlow => Fault::new(
                FaultClass::RequestTimeout,
                "the body took too long to arrive",
            ),
            BodyFault::NoMemory => {
                let message = "the bodies of running requests fill the memory they may have";
                Fault::new(FaultClass::Overloaded, message).after(Duration::from_secs(1))
            }
            BodyFault::Malformed => {
                Fault::new(FaultClass::Invalid, "the body is not framed as HTTP says")
            }
        };
        self.refuse(desk, now, &fault, out)
    }

    fn understand(&mut self, desk: &mut Desk) -> Result<(), Fault> {
        if self.is_ping() {
            self.understand_ping()?;
            self.read_ping();
            return Ok(());
        }
        if self.kept.is_some() {
            // It names no model, and costs a request and no tokens.
            self.asked.peek.stream = self.path_streams.unwrap_or_default();
            return Ok(());
        }
        let mut peek = match (self.task, self.dialect) {
            (Task::Generate, DialectName::Native) => self.understand_native()?,
            (Task::Generate, _) => splice::peek(self.dialect, &self.body)?,
            (Task::CountTokens, _) => splice::peek_count(self.dialect, &self.body)?,
            (Task::Embed | Task::EmbedMany, _) => splice::peek_embed(self.dialect, &self.body)?,
            (Task::Video(_), _) => return self.understand_video(desk),
            (Task::Transcribe | Task::Translate, _) => return self.understand_transcript(),
            (Task::Cached(_) | Task::CacheList, _) => return self.understand_cached(),
            (Task::Kept(_), _) => splice::Peek::default(),
        };
        if let Some(stream) = self.path_streams {
            peek.stream = stream;
        }
        if let Some(model) = &self.path_model {
            peek.model = model.clone();
        }
        let model = self.model_named(&peek.model)?;
        self.asked.model = ModelIdOrNone(Some(model));
        if self.task == Task::Generate && self.is_film() {
            return self.order_video();
        }
        self.can_take(&peek)?;
        let output_max = self.config.models[self.model().0 as usize].output_max;
        self.asked.ask = match self.task {
            Task::Generate => Draw {
                input: cost::tokens_of_bytes(peek.prompt_bytes),
                output: Tokens(cost::output_of(peek.max_output).0),
                output_most: peek.max_output.map(Tokens).or(output_max),
                ..Draw::default()
            },
            // Counting costs a request and no tokens.
            Task::CountTokens
            | Task::Transcribe
            | Task::Translate
            | Task::Video(_)
            | Task::Kept(_)
            | Task::Cached(_)
            | Task::CacheList => Draw::default(),
            Task::Embed | Task::EmbedMany => Draw {
                input: cost::tokens_of_bytes(peek.prompt_bytes),
                output_most: Some(Tokens::ZERO),
                ..Draw::default()
            },
        };
        self.asked.peek = peek;
        Ok(())
    }

    /// A native request is read whole at once: its controls stand in its body, and no provider speaks native, so nothing could pass.
    /// One that came on a WebSocket is read already.
    fn understand_native(&mut self) -> Result<splice::Peek, Fault> {
        if self.request.is_none() {
            let (request, controls) = native::request::read_with_controls(&self.body)?;
            self.controls = controls.over(std::mem::take(&mut self.controls));
            self.request = Some(Box::new(request));
        }
        let request = self
            .request
            .as_mut()
            .ok_or_else(|| Fault::new(FaultClass::Internal, "the request was not read"))?;
        request.stream = self.path_streams.unwrap_or(request.stream);
        Ok(splice::peek_of(request))
    }

    pub(super) fn can_take(&self, peek: &splice::Peek) -> Result<(), Fault> {
        let takes = self.config.models[self.model().0 as usize].takes;
        let name = &peek.model;
        for (given, taken, what) in [
            (peek.images, takes.images, "images"),
            (peek.documents, takes.documents, "documents"),
            (peek.audio, takes.audio, "audio"),
            (peek.video, takes.video, "video"),
            (peek.tools, takes.tools, "tools"),
        ] {
            if given && !taken {
                let field = if what == "tools" { "tools" } else { "messages" };
                return Err(Fault::invalid(
                    field,
                    format!("the model `{name}` does not take {what}"),
                ));
            }
        }
        Ok(())
    }

    /// The limits of its tenant and of its key: admitted, or to be tried again then.
    fn admit(
        &mut self,
        desk: &mut Desk,
        now: Now,
        since: Instant,
    ) -> Result<Option<Instant>, Fault> {
        let patience = since + GRANT_TIME;
        let others = desk
            .line
            .is_claimed(Claim::tenant(self.tenant), self.is_batch());
        if others && now.instant < patience {
            return Ok(Some(patience));
        }
        let epoch = desk.epoch(self.epoch);
        match epoch.admit(self.who(), self.asked.ask, now) {
            Ok(hold) => {
                self.tenant_hold = Some(hold);
                Ok(None)
            }
            Err(Refusal::Soon { wait }) if now.instant < patience => {
                Ok(Some((now.instant + wait).min(patience)))
            }
            Err(refusal @ (Refusal::Rate { .. } | Refusal::Soon { .. })) => {
                let wait = match refusal {
                    Refusal::Rate { wait } => wait,
                    Refusal::Soon { .. } | Refusal::Budget { .. } => None,
                };
                let message = "the limits of this tenant, or of its key, are reached";
                let fault =
                    Fault::new(FaultClass::RateLimited, message).with_code("rate_limit_exceeded");
                Err(fault.after(wait.unwrap_or(Duration::from_secs(1))))
            }
            Err(Refusal::Budget { wait }) => {
                let message =
                    "the money this tenant, or its key, may spend in a day or month is spent";
                Err(Fault::new(FaultClass::RateLimited, message)
                    .with_code("budget_exceeded")
                    .after(wait))
            }
        }
    }

    /// The client left before anything was sent for it.
    pub fn leave(&mut self, desk: &mut Desk, now: Now, out: &mut Vec<Output>) -> Phase {
        desk.meters.clients_gone += 1;
        self.settled(desk, now, out)
    }

    /// The client takes its request back and is there to be told so.
    pub fn cancelled(
        &mut self,
        desk: &mut Desk,
        phase: Phase,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let fault = Fault::new(
            FaultClass::Conflict,
            "the request was cancelled by its client",
        )
        .with_code("cancelled");
        let early = Phase::is_early(&phase);
        let underway = !early;
        if underway && self.video.is_some() {
            return self.film_cancelled(desk, phase, &fault, now, out);
        }
        match phase {
            Phase::Streaming(attempt, mut relay) => {
                self.fail_stream(&attempt, &mut relay, &fault, now, out);
                self.phase = Phase::Streaming(attempt, relay);
            }
            phase => {
                match (&self.down, self.head_sent) {
                    (Down::Http(_), false) => self.say_refusal(&fault, out),
                    _ => self.say_in_stream(now, &fault, out),
                }
                self.phase = phase;
            }
        }
        self.abandon(desk, now, crate::shard::Outcome::Cancelled, out)
    }

    /// The client left while the provider works: the policy of the tenant, or of the request, says what becomes of it.
    pub fn unwatched(
        &mut self,
        desk: &mut Desk,
        phase: Phase,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        if self.video.as_ref().is_some_and(|case| !case.follows()) {
            return self.film_unwatched(desk, phase, now, out);
        }
        desk.meters.clients_gone += 1;
        // Bytes that nobody takes are worth nothing: they lie at the provider still.
        // A prefix that is being made is kept, and paid, whoever listens: its name must be heard.
        let unwanted = self.on_disconnect() == OnDisconnect::Cancel || !desk.may_abandon(self.id);
        let cancels = unwanted && !self.makes_cache();
        if cancels || self.carries() {
            self.part();
            self.phase = phase;
            return self.abandon(desk, now, crate::shard::Outcome::Cancelled, out);
        }
        self.part();
        match phase {
            Phase::Streaming(attempt, relay) => self.resume(attempt, relay, now, out),
            phase => {
                self.congested_since = None;
                phase
            }
        }
    }
}

impl Exchange {
    /// The model that the client calls so, where its key may use it.
    pub(super) fn model_named(&self, name: &str) -> Result<crate::base::ModelId, Fault> {
        let id = find_model(&self.config, name, self.begun.wall)?;
        may_use(&self.config, self.client_key, name, id)?;
        Ok(id)
    }
}

/// Whether a client key may use a model, by the name that its client uses or by its own.
pub(super) fn may_use(
    config: &Config,
    key: ClientKeyId,
    name: &str,
    id: crate::base::ModelId,
) -> Result<(), Fault> {
    let rights = &config.client_keys[key.0 as usize].rights;
    let own = &config.models[id.0 as usize].name;
    if rights.allow_model(name) || rights.allow_model(own) {
        return Ok(());
    }
    let shown: String = name.chars().take(100).collect();
    let message = format!("this client key may not use the model `{shown}`");
    Err(Fault {
        field: Some("model".to_owned()),
        ..Fault::new(FaultClass::Forbidden, message).with_code("model_not_allowed")
    })
}
/// Another shard grants within a millisecond; one that does not is about to begin anew.
const GRANT_TIME: Duration = Duration::from_secs(1);

/// The model that a client calls so. `Err`: there is none, or its provider has retired it.
pub(super) fn find_model(
    config: &Config,
    name: &str,
    now: WallTime,
) -> Result<crate::base::ModelId, Fault> {
    let unknown = |message: String| Fault {
        field: Some("model".to_owned()),
        ..Fault::new(FaultClass::ModelNotFound, message).with_code("model_not_found")
    };
    let shown: String = name.chars().take(100).collect();
    let Some(id) = config.model_names.get(name) else {
        return Err(unknown(format!(
            "the model `{shown}` does not exist here; GET /v1/models lists those that do"
        )));
    };
    let model = &config.models[id.0 as usize];
    let over = |r: &&crate::config::Retired| r.is_over(now);
    if let Some(retired) = model.retired.as_ref().filter(over) {
        let instead = retired
            .successor
            .as_ref()
            .map_or(String::new(), |s| format!("; use `{s}`"));
        return Err(unknown(format!(
            "the model `{shown}` was retired by its provider on {}{instead}",
            retired.on
        )));
    }
    Ok(*id)
}

/// What belongs to the upgrade and not to its requests: Codex CLI names the WebSocket's own version there (openai/codex, read 2026-11).
fn without_upgrade(mut passing: PassingHeaders) -> PassingHeaders {
    passing.openai_beta = passing.openai_beta.and_then(|said| {
        let stays = |token: &&str| !token.starts_with("responses_websockets=");
        let rest: Vec<&str> = said.split(',').map(str::trim).filter(stays).collect();
        (!rest.is_empty()).then(|| rest.join(", "))
    });
    passing
}

/// The first value of a header.
fn header<'a>(head: &'a ClientHead, name: &[u8]) -> Option<&'a [u8]> {
    head.headers.get(name)
}

fn text_header(head: &ClientHead, name: &[u8]) -> Option<String> {
    header(head, name)
        .and_then(|value| std::str::from_utf8(value).ok())
        .map(str::to_owned)
}

/// As clients send it: `authorization: Bearer KEY` (OpenAI's, and current ones of Anthropic), `x-api-key: KEY`, Gemini's
/// `x-goog-api-key: KEY` or `?key=KEY`.
fn shown_key(head: &ClientHead) -> Option<&[u8]> {
    let bearer = header(head, b"authorization").and_then(|value| {
        let (scheme, key) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
    });
    bearer
        .or_else(|| header(head, b"x-api-key"))
        .or_else(|| header(head, b"x-goog-api-key"))
        .or_else(|| key_of_query(&head.query))
        .map(<[u8]>::trim_ascii)
        .filter(|key| !key.is_empty())
}

/// Keys that clients put into a query have no letter that needs escaping there.
fn key_of_query(query: &[u8]) -> Option<&[u8]> {
    query
        .split(|b| *b == b'&')
        .find_map(|pair| pair.strip_prefix(b"key="))
}

fn passing(head: &ClientHead) -> PassingHeaders {
    PassingHeaders {
        origin: None,
        form: text_header(head, b"content-type").filter(|kind| multipart::is_form(kind)),
        anthropic_version: text_header(head, b"anthropic-version"),
        anthropic_beta: text_header(head, b"anthropic-beta"),
        openai_beta: text_header(head, b"openai-beta"),
        openrouter_referer: text_header(head, b"http-referer"),
        openrouter_title: text_header(head, b"x-openrouter-title")
            .or_else(|| text_header(head, b"x-title")),
        conversation: CLIENT_HEADERS
            .iter()
            .find_map(|name| Some((*name, text_header(head, name.as_bytes())?))),
    }
}
