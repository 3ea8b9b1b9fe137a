//! The life of an exchange: one enum, one match.

use crate::base::{
    AttemptId, Broken, ClientId, ClientKeyId, EndpointId, ExchangeId, Instant, KeyId, ModelId,
    NanoUsd, Now, PoolId, Str, TenantId, WallTime, must,
};
use crate::canon::{Controls, DialectName, Fault, FaultClass, Request};
use crate::config::{Config, LogLevel, OnDisconnect, Rights, Timeouts};
use crate::policy::capacity::{Ask, Used};
use crate::protocol::dialect::splice::Peek;
use crate::protocol::provider::CallHead;
use crate::protocol::provider::hints::Hints;
use crate::shard::allowance::{Admitted, Who};
use crate::shard::cached;
use crate::shard::desk::{Desk, Hold};
use crate::shard::forecast::{Foreseen, Reading};
use crate::shard::hedge::Rival;
use crate::shard::input::Slices;
use crate::shard::issued::Place;
use crate::shard::keep_warm::Warmer;
use crate::shard::kept::Kept;
use crate::shard::lanes::Turn;
use crate::shard::line::Ticket;
use crate::shard::marks::Steered;
use crate::shard::relay::Relay;
use crate::shard::seals::Seals;
use crate::shard::stored::{Claim, Told};
use crate::shard::storing::Storing;
use crate::shard::task::Task;
use crate::shard::video::Case;
use crate::shard::{BodyFault, Headers, LedgerRow, LogLine, Outcome, Output, UpstreamFault};
use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

/// One request's life.
#[derive(Debug)]
pub(super) struct Exchange {
    pub id: ExchangeId,
    /// What the client knows it by.
    pub name: Str,
    pub epoch: u32,
    pub config: Arc<Config>,
    pub phase: Phase,
    pub down: Down,
    /// Who listened until now, for the shard to forget.
    pub parted: Option<Down>,
    /// On a WebSocket of Responses: what the next request there may build upon.
    pub turn: Option<Box<Turn>>,
    /// The connection that was broken off for all who share it.
    pub dropped_socket: Option<ClientId>,
    pub dialect: DialectName,
    pub task: Task,
    /// What the path says about streaming, over the body.
    pub path_streams: Option<bool>,
    /// The model, where the path names it and not the body.
    pub path_model: Option<Str>,
    /// The client wants its stream as a JSON array.
    pub array: bool,
    /// The job that makes a video, where it is about one.
    pub video: Option<Box<Case>>,
    /// The kept answer that something is asked of.
    pub kept: Option<Box<Kept>>,
    /// Asked for nobody but a cache: the question.
    pub warmer: Option<Box<Warmer>>,
    /// The cached prefix that it is about, or that it reads.
    pub cached: Option<Box<cached::Case>>,
    /// Who keeps what the request goes on from: nobody else can answer it.
    pub pin: Option<Place>,
    /// What of the conversation only its maker can read.
    pub seals: Option<Box<Seals>>,
    /// The attempt's answer will be kept by its provider, under a name that is not known yet.
    pub issues: bool,
    pub tenant: TenantId,
    pub client_key: ClientKeyId,
    pub controls: Controls,
    pub passing: PassingHeaders,
    pub begun: Now,
    pub body: Bytes,
    pub asked: Asked,
    /// The request in canon, once some endpoint needed it so.
    pub request: Option<Box<Request>>,
    /// How the caches of its model's endpoints see its prompt, once that was read.
    pub readings: Option<Box<Readings>>,
    /// What tells the provider of the attempt which requests belong together.
    pub steered: Steered,
    /// Its body as it was last written for another dialect.
    pub written: Option<Box<Written>>,
    pub tenant_hold: Option<Admitted>,
    /// Its tenant's limits have room, of which this shard has not been granted enough yet.
    pub unadmitted: bool,
    pub tally: Tally,
    /// Its answer, where somebody may come back for it.
    pub storing: Option<Box<Storing>>,
    /// What it has claimed and not yet begun.
    pub claim: Option<Claim>,
    /// The answer that its client is given instead.
    pub handed: Option<Str>,
    /// The row of the last attempt that ended, until it is known whether another follows.
    pub row: Option<Box<LedgerRow>>,
    /// Its place in the order of those who wait.
    pub ticket: Option<Ticket>,
    /// The attempt under way, kept beside the phase so that it survives a panic in a step.
    pub open: Option<OpenAttempt>,
    /// Another call beside the one in the phase, which is `Calling` then.
    pub rival: Option<Box<Rival>>,
    /// When it is thought of one.
    pub hedge_at: Instant,
    /// The last failure, to be told if nothing better comes.
    pub last: Option<LastFailure>,
    /// What was left out by rule of the request that was sent.
    pub dropped: Vec<String>,
    /// What the answer's `content-type` says, where it passes in whatever kind its provider chose.
    pub answer_kind: Option<Str>,
    /// The answer's head has gone out (perhaps only with a keep-alive comment).
    pub head_sent: bool,
    /// The client has seen a part of the answer.
    pub saw: bool,
    /// The client's side is complete: nothing more may be written.
    pub ended: bool,
    pub congested_since: Option<Instant>,
    pub comment_at: Instant,
    /// When the shard's timers wake this exchange.
    pub armed: Instant,
}

/// Where an answer goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Down {
    Http(ClientId),
    Socket {
        client: ClientId,
        /// The client's own id of the request, which its events repeat: in the native dialect always one, in Responses that of the lane.
        request_id: Option<Str>,
    },
    /// The client left; what still comes is counted, not sent.
    Gone,
}

/// Headers of the client that its provider may need.
#[derive(Clone, Debug, Default)]
pub(super) struct PassingHeaders {
    pub anthropic_version: Option<String>,
    pub anthropic_beta: Option<String>,
    pub openai_beta: Option<String>,
    pub openrouter_referer: Option<String>,
    pub openrouter_title: Option<String>,
    /// What the client calls its conversation, by the header of a provider.
    pub conversation: Option<(&'static str, String)>,
    /// The body's `content-type`, where it is a form.
    pub form: Option<String>,
    /// Where a native client found this router: answers may name a place to fetch from.
    pub origin: Option<Str>,
}

/// What is asked, as far as routing needs it.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub peek: Peek,
    pub model: ModelIdOrNone,
    pub ask: Ask,
}

/// No model before the body is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ModelIdOrNone(pub Option<ModelId>);

/// What an exchange has tried.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub attempts: u8,
    /// Those of them that only found a key dead.
    pub keys_refused: u8,
    pub failed_at: SmallVec<[(EndpointId, PoolId); 4]>,
    /// Places that refused for a limit once, and said how long to wait.
    pub refused_at: SmallVec<[(EndpointId, PoolId); 2]>,
    /// Keys that were refused within this exchange.
    pub dead_keys: SmallVec<[KeyId; 2]>,
    /// Keys whose credential was refused once and is worth a second try.
    pub renewed_keys: SmallVec<[KeyId; 2]>,
    /// Endpoints that cannot be asked this at all.
    pub incapable: SmallVec<[EndpointId; 2]>,
    pub queued: Duration,
    /// The part of it that was spent behind a leader.
    pub gated: Duration,
    /// Since when it waits for a leader.
    pub gated_since: Option<Instant>,
    pub counted_as_retrying: bool,
    /// A provider refused what was added for its caches: nothing is any more.
    pub unhelped: bool,
    /// What all attempts used together; `None` while nothing was sent.
    pub used: Option<Used>,
    pub cost: NanoUsd,
}

impl Tally {
    /// The wait behind a leader, if it was one, has ended or is looked at again.
    pub fn ungate(&mut self, now: Instant) {
        if let Some(since) = self.gated_since.take() {
            self.gated += now - since;
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct LastFailure {
    pub fault: Fault,
    /// The provider's own words, when its dialect is the client's.
    pub verbatim: Option<(u16, Bytes)>,
    /// Its `x-should-retry`.
    pub should_retry: Option<bool>,
}

impl From<Fault> for LastFailure {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            verbatim: None,
            should_retry: None,
        }
    }
}

pub(super) type Readings = SmallVec<[Reading; 1]>;

/// A body in another dialect than the client's, and what was left out of it by rule.
#[derive(Debug)]
pub(super) struct Written {
    pub endpoint: EndpointId,
    pub dialect: DialectName,
    pub streams: bool,
    pub body: Bytes,
    pub dropped: Vec<String>,
    /// The seals that were left out of it.
    pub gone: Vec<u128>,
}

/// What an attempt's row needs if all else about it is lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenAttempt {
    pub number: u8,
    pub endpoint: EndpointId,
    pub pool: PoolId,
    pub key: Option<KeyId>,
    pub began: Now,
    pub decision: &'static str,
}

/// One try at one endpoint.
#[derive(Debug)]
pub(super) struct Attempt {
    pub id: AttemptId,
    pub number: u8,
    pub endpoint: EndpointId,
    pub pool: PoolId,
    pub key: Option<KeyId>,
    /// Which of the key's credentials it was sent with.
    pub credential: u64,
    pub dialect: DialectName,
    /// `None` between the calls of an attempt that makes several.
    pub hold: Option<Hold>,
    /// What was sent, where it may be sent again to keep its cache warm.
    pub question: Option<Box<(CallHead, Slices)>>,
    /// What is expected of its cache; `None` where nothing is known of one.
    pub foreseen: Option<Box<Foreseen>>,
    pub timeouts: Timeouts,
    pub began: Now,
    pub queued: Duration,
    pub gated: Duration,
    pub decision: &'static str,
    pub sent: bool,
    pub streams: bool,
    pub status: Option<u16>,
    pub first_byte: Option<Instant>,
    /// When content first came of a stream.
    pub first_token: Option<Instant>,
    pub upstream_id: Str,
    /// The headers of a refusal; empty for an answer.
    pub refusal: Headers,
    /// What the answer's headers said of limits.
    pub hints: Hints,
    pub deadline: Deadline,
}

/// The next time limit of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    pub at: Instant,
    pub total_at: Instant,
    pub what: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Connect,
    FirstByte,
    Stall,
    Total,
}

#[derive(Debug, Default)]
pub(super) enum Phase {
    /// The body is on its way.
    Reading,
    /// The store says whether there is an answer already; until then.
    Claiming(Instant),
    /// For headroom, or for a time to try again.
    Waiting {
        since: Instant,
        until: Instant,
    },
    /// The call is out; no answer yet.
    Calling(Box<Attempt>),
    /// The provider refuses, and says why.
    Refused(Box<Attempt>, BytesMut),
    Streaming(Box<Attempt>, Box<Relay>),
    /// A job runs at the provider, which is asked again then.
    Filming(Box<Attempt>, Instant),
    /// All is said; only HTTP's own end is missing.
    Closing(Box<Attempt>, Box<Relay>),
    #[default]
    Settled,
}

/// What can happen to an exchange.
#[derive(Debug)]
pub(super) enum Happening {
    Body(Bytes),
    BodyFailed(BodyFault),
    ClientGone,
    /// The client says that it wants no answer any more.
    Cancelled,
    Congested,
    Eased,
    /// Its turn to try for headroom.
    Retry,
    Sent,
    Head {
        status: u16,
        headers: Headers,
    },
    Bytes(Bytes),
    End,
    Failed(UpstreamFault),
    /// By the store.
    Told(Told),
    Timer,
    /// The node is about to stop.
    Draining,
}

impl Exchange {
    /// Takes one step. All branching of an exchange's life is here; the methods named do the work and return the next phase.
    pub fn on(&mut self, desk: &mut Desk, now: Now, what: Happening, out: &mut Vec<Output>) {
        use Happening as H;
        use Phase::{
            Calling, Claiming, Closing, Filming, Reading, Refused, Settled, Streaming, Waiting,
        };
        self.flow(&what, now);
        let woken = matches!(what, H::Timer);
        if woken {
            self.turn_to_late(now.instant);
        }
        let phase = std::mem::take(&mut self.phase);
        self.phase = match (phase, what) {
            (Reading, H::Body(body)) => self.begin(desk, now, body, out),
            (Reading, H::BodyFailed(why)) => self.body_failed(desk, now, why, out),
            (Reading, H::ClientGone) => self.leave(desk, now, out),

            (Claiming(_), H::Told(told)) => self.claimed(desk, now, told, out),
            (Claiming(until), H::Timer) if now.instant >= until => self.unclaimable(desk, now, out),
            (Claiming(_), H::ClientGone) => self.leave(desk, now, out),

            (Waiting { since, .. }, H::Retry) => self.try_again(desk, now, since, out),
            (Waiting { since, until }, H::Timer) if now.instant >= until => {
                self.waited_long(desk, now, since, out)
            }
            // Nothing is out, so nothing can have been paid for.
            (Waiting { .. }, H::ClientGone) => self.leave(desk, now, out),

            (Calling(a), H::Sent) => self.sent(a, now),
            (Calling(a), H::Head { status, headers }) => {
                self.head(desk, a, now, status, &headers, out)
            }
            (Calling(a), H::Failed(why)) => self.unreached(desk, a, now, &why, out),
            (Calling(a), H::End) => self.unreached(desk, a, now, &UpstreamFault::Reset, out),

            (Refused(a, body), H::Bytes(bytes)) => refused_more(a, body, &bytes),
            (Refused(a, body), H::End | H::Failed(_)) => self.refused(desk, a, now, &body, out),

            (Streaming(a, r), H::Bytes(bytes)) => self.forward(desk, a, r, now, bytes, out),
            (Streaming(a, r), H::End) => self.answer_ended(desk, a, r, now, out),
            (Streaming(a, r), H::Failed(why)) => self.broke_off(desk, a, r, now, &why, out),
            // The provider has said its last word; how HTTP ends after it changes nothing.
            (Closing(a, r), H::End | H::Failed(_)) => self.close(desk, a, &r, now, out),

            // The answer is paid for: read on to its end, for whom it may be kept.
            (phase @ (Calling(_) | Refused(..) | Streaming(..) | Filming(..)), H::ClientGone) => {
                self.unwatched(desk, phase, now, out)
            }
            (phase @ Closing(..), H::ClientGone) => {
                self.part();
                phase
            }
            (
                phase @ (Reading
                | Claiming(_)
                | Waiting { .. }
                | Calling(_)
                | Refused(..)
                | Streaming(..)
                | Filming(..)),
                H::Cancelled,
            ) => self.cancelled(desk, phase, now, out),
            (phase @ Closing(..), H::Cancelled) => phase,
            (Streaming(a, r), H::Congested) => self.pause(a, r, now, out),
            (Streaming(a, r), H::Eased) => self.resume(a, r, now, out),
            (Calling(a), H::Timer) => self.calling_timer(desk, a, now, out),
            (Refused(a, body), H::Timer) if now.instant >= a.deadline.at => {
                self.refused_slowly(desk, a, now, &body, out)
            }
            (Streaming(a, r), H::Timer) => self.streaming_timer(desk, a, r, now, out),
            (Closing(a, r), H::Timer) if now.instant >= a.deadline.at => {
                self.cut_tail(desk, a, &r, now, out)
            }
            (Filming(a, until), H::Timer) => self.film_timer(desk, a, until, now, out),
            (phase, H::Draining) => self.film_leaves(desk, phase, now, out),

            // Early timers, and flow control of a client whose answer is not flowing.
            (
                phase @ (Reading
                | Claiming(_)
                | Waiting { .. }
                | Calling(_)
                | Refused(..)
                | Closing(..)),
                H::Timer | H::Congested | H::Eased | H::Retry,
            ) => phase,
            // How a call ended that was given up for good or for bad.
            (phase @ Filming(..), H::Congested | H::Eased | H::Retry | H::Sent) => phase,
            // A repeated word about what is known already.
            (phase @ (Refused(..) | Streaming(..) | Closing(..)), H::Sent | H::Retry) => phase,
            // Bytes after the end mark: a provider's business.
            (phase @ Closing(..), H::Bytes(_)) => phase,
            // The store was asked by who waits for it no more.
            (phase, H::Told(_)) => phase,
            // A timer or a byte may be under way when we settle.
            (Settled, _) => Settled,
            (phase, what) => self.broken(desk, phase, now, &what, out),
        };
        // After the step: a stream that ends now needs no keeping alive, and a refusal keeps its status.
        if woken {
            self.comment(now, out);
        }
    }

    /// Notes what the client's buffer is like before its answer flows; `pause` and `resume` do while it does.
    fn flow(&mut self, what: &Happening, now: Now) {
        match (what, &self.phase) {
            (_, Phase::Streaming(..)) => {}
            (Happening::Congested, _) => self.congested_since = Some(now.instant),
            (Happening::Eased, _) => self.congested_since = None,
            _ => {}
        }
    }

    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Settled)
    }

    pub fn down(&self) -> Down {
        self.down.clone()
    }

    /// All is said to a client on a WebSocket: it may go on there, whatever is still missing of HTTP behind.
    pub fn part_when_told(&mut self) {
        if self.ended && matches!(self.down, Down::Socket { .. }) {
            self.part();
        }
    }

    /// Nobody listens any more.
    pub fn part(&mut self) {
        self.parted = Some(std::mem::replace(&mut self.down, Down::Gone));
    }

    /// When this exchange must be woken, whatever else happens.
    #[must_use]
    pub fn wants_tick(&self) -> Instant {
        let phase = match &self.phase {
            Phase::Waiting { until, .. } | Phase::Claiming(until) => *until,
            Phase::Calling(a) => {
                let rival = self.rival.as_ref();
                let rival = rival.map_or(Instant::NEVER, |rival| rival.attempt.deadline.at);
                a.deadline.at.min(self.hedge_at).min(rival)
            }
            Phase::Refused(a, _) | Phase::Closing(a, _) => a.deadline.at,
            Phase::Streaming(a, _) => match self.congested_since {
                // A paused provider is not silent by its own will.
                Some(since) => (since + self.config.limits.slow_client).min(a.deadline.total_at),
                None => a.deadline.at.min(a.deadline.total_at),
            },
            Phase::Filming(_, until) => self.film_wakes(*until),
            Phase::Reading | Phase::Settled => Instant::NEVER,
        };
        phase.min(self.comments_at())
    }

    fn comments_at(&self) -> Instant {
        let waits = matches!(
            self.phase,
            Phase::Waiting { .. } | Phase::Calling(_) | Phase::Streaming(..) | Phase::Filming(..)
        );
        let quiet = self.streams()
            && !self.carries()
            && !self.ended
            && self.congested_since.is_none()
            && waits;
        if quiet && matches!(self.down, Down::Http(_)) {
            self.comment_at
        } else {
            Instant::NEVER
        }
    }

    /// Whether the client gets a stream.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.asked.peek.stream
    }

    /// Whether bytes pass in which nothing of ours may stand.
    #[must_use]
    pub fn carries(&self) -> bool {
        self.video.as_ref().is_some_and(|case| case.carries())
    }

    /// Whose limits it counts against.
    #[must_use]
    pub fn who(&self) -> Who {
        (self.tenant, self.client_key)
    }

    /// What its key may do.
    #[must_use]
    pub fn rights(&self) -> &Rights {
        &self.config.client_keys[self.client_key.0 as usize].rights
    }

    #[must_use]
    pub fn model(&self) -> ModelId {
        self.asked.model.0.unwrap_or(ModelId(0))
    }

    /// What becomes of the answer when the client leaves.
    #[must_use]
    pub fn on_disconnect(&self) -> OnDisconnect {
        self.controls
            .on_disconnect
            .unwrap_or(self.config.tenants[self.tenant.0 as usize].on_disconnect)
    }

    /// How long the client is willing to wait in all.
    #[must_use]
    pub fn gives_up_at(&self) -> Instant {
        self.controls
            .deadline
            .map_or(Instant::NEVER, |deadline| self.begun.instant + deadline)
    }

    /// Something that must not happen: the exchange ends, counted and logged; the others go on.
    fn broken(
        &mut self,
        desk: &mut Desk,
        phase: Phase,
        now: Now,
        what: &Happening,
        out: &mut Vec<Output>,
    ) -> Phase {
        if let Err(Broken(promise)) = must(false, "an exchange gets only what its phase can meet") {
            desk.meters.broken_promises += 1;
            let fields = vec![
                ("exchange", self.name.to_string()),
                ("phase", phase.name().to_owned()),
                ("input", what.name().to_owned()),
            ];
            desk.log(
                LogLine {
                    at: now.wall,
                    level: LogLevel::Error,
                    message: promise,
                    fields,
                },
                out,
            );
        }
        self.phase = phase;
        self.abandon(desk, now, Outcome::Failed(FaultClass::Internal), out)
    }

    pub fn log(
        &self,
        desk: &Desk,
        at: WallTime,
        level: LogLevel,
        message: &'static str,
        fault: &Fault,
        out: &mut Vec<Output>,
    ) {
        let mut fields = vec![
            ("exchange", self.name.to_string()),
            (
                "tenant",
                self.config.tenants[self.tenant.0 as usize].name.clone(),
            ),
            ("class", fault.class.as_str().to_owned()),
            ("message", fault.message.clone()),
        ];
        if let Some(status) = fault.upstream_status {
            fields.push(("upstream_status", status.to_string()));
        }
        desk.log(
            LogLine {
                at,
                level,
                message,
                fields,
            },
            out,
        );
    }
}

/// A refusal longer than this is cut: what matters stands at its head.
const REFUSAL_BYTES_MAX: usize = 65_536;

fn refused_more(attempt: Box<Attempt>, mut body: BytesMut, bytes: &Bytes) -> Phase {
    let room = REFUSAL_BYTES_MAX.saturating_sub(body.len());
    body.extend_from_slice(&bytes[..bytes.len().min(room)]);
    Phase::Refused(attempt, body)
}

impl Phase {
    /// Nothing is out yet.
    pub fn is_early(&self) -> bool {
        matches!(
            self,
            Self::Reading | Self::Claiming(_) | Self::Waiting { .. }
        )
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Claiming(_) => "claiming",
            Self::Waiting { .. } => "waiting",
            Self::Calling(_) => "calling",
            Self::Refused(..) => "refused",
            Self::Streaming(..) => "streaming",
            Self::Closing(..) => "closing",
            Self::Filming(..) => "filming",
            Self::Settled => "settled",
        }
    }
}

impl Happening {
    fn name(&self) -> &'static str {
        match self {
            Self::Body(_) => "body",
            Self::BodyFailed(_) => "body failed",
            Self::ClientGone => "client gone",
            Self::Cancelled => "cancelled",
            Self::Congested => "congested",
            Self::Eased => "eased",
            Self::Retry => "retry",
            Self::Sent => "sent",
            Self::Head { .. } => "head",
            Self::Bytes(_) => "bytes",
            Self::End => "end",
            Self::Failed(_) => "failed",
            Self::Told(_) => "told",
            Self::Timer => "timer",
            Self::Draining => "draining",
        }
    }
}
