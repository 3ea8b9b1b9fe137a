//! Many requests on one WebSocket: a session that shows its key once, then begins exchanges. What all have in common, and the native dialect's
//! own (DESIGN section 3); that of Responses is in `lane_asks`.

use crate::base::{BoundedMap, ClientId, ExchangeId, Hold, Instant, Now, Str};
use crate::canon::{Controls, DialectName, Fault, FaultClass, Request};
use crate::protocol::dialect::{native, responses};
use crate::protocol::framing::websocket::{self, Message, Side, Socket, Violation};
use crate::shard::admit::{KeyHash, Opened, key_hash};
use crate::shard::desk::whole_seconds;
use crate::shard::exchange::{Down, Happening, PassingHeaders};
use crate::shard::fetch::{Want, Wanted};
use crate::shard::lane_asks;
use crate::shard::lanes::{Lanes, Store, Turn};
use crate::shard::paths::Line;
use crate::shard::task::Task;
use crate::shard::{Client, ClientHead, Output, Shard};
use bytes::{Bytes, BytesMut};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct SocketSession {
    framing: Socket,
    /// `None` until the client has shown its key. Looked up anew for each request: a reload may take it away.
    key: Option<KeyHash>,
    pub kind: Kind,
    /// Exchanges that run, in the order they began.
    order: Vec<ExchangeId>,
    /// What the upgrade's headers said; a request's own words stand over it.
    controls: Controls,
    /// Bytes that came before a key was shown.
    unproven: usize,
    /// What it holds of the memory for bodies: messages that are not whole yet.
    hold: Hold,
    pub congested: bool,
    /// When the connection is to end; `NEVER` in the native dialect.
    pub until: Instant,
}

/// What is spoken on a WebSocket.
#[derive(Debug)]
pub(super) enum Kind {
    /// Running exchanges by the client's own ids for them.
    Native(BoundedMap<Str, ExchangeId>),
    Responses(Box<Lanes>),
}

/// What a session begins with.
pub(super) struct Opening {
    pub key: Option<KeyHash>,
    pub kind: Kind,
    pub controls: Controls,
    pub message_bytes_max: usize,
    pub hold: Hold,
    pub until: Instant,
}

/// Exchanges one native socket may run at once.
const RUNNING_MAX: usize = 256;

/// What a stranger may send before it has shown its key.
const UNPROVEN_BYTES_MAX: usize = 65_536;

impl Kind {
    pub fn native() -> Self {
        Self::Native(BoundedMap::new(RUNNING_MAX))
    }
}

impl SocketSession {
    pub fn new(opening: Opening) -> Self {
        Self {
            framing: Socket::new(Side::Server, opening.message_bytes_max),
            key: opening.key,
            kind: opening.kind,
            order: Vec::new(),
            controls: opening.controls,
            unproven: 0,
            hold: opening.hold,
            congested: false,
            until: opening.until,
        }
    }

    /// All that run, in the order they began.
    pub fn exchanges(&self) -> Vec<ExchangeId> {
        self.order.clone()
    }

    pub fn key(&self) -> Option<KeyHash> {
        self.key
    }

    /// What the upgrade said of how to serve its requests.
    pub fn controls(&self) -> Controls {
        self.controls.clone()
    }

    pub fn ended(
        &mut self,
        request_id: Option<&Str>,
        exchange: ExchangeId,
        turn: Option<Turn>,
        store: &Store<'_>,
    ) {
        self.order.retain(|e| *e != exchange);
        match &mut self.kind {
            Kind::Native(running) => {
                if let Some(id) = request_id.filter(|id| running.get(*id) == Some(&exchange)) {
                    running.remove(id);
                }
            }
            Kind::Responses(lanes) => lanes.ended(request_id, exchange, turn, store),
        }
    }

    /// Nothing runs and nothing waits.
    fn is_idle(&self) -> bool {
        let waits = match &self.kind {
            Kind::Native(_) => false,
            Kind::Responses(lanes) => !lanes.is_idle(),
        };
        self.order.is_empty() && !waits
    }
}

/// What goes into `Sec-WebSocket-Accept`; `Err` when the handshake is not RFC 6455's (section 4.2.1).
pub(super) fn accept(head: &ClientHead) -> Result<String, Fault> {
    let value = |name: &[u8]| head.headers.get(name);
    if value(b"sec-websocket-version") != Some(b"13") {
        return Err(Fault::invalid("sec-websocket-version", "must be 13"));
    }
    let key = value(b"sec-websocket-key").and_then(|key| std::str::from_utf8(key).ok());
    let key = key
        .filter(|key| key.len() == 24)
        .ok_or_else(|| Fault::invalid("sec-websocket-key", "must be 16 bytes in base64"))?;
    Ok(websocket::accept_key(key))
}

impl Shard {
    /// Bytes of a WebSocket: whole messages are acted on in order.
    pub(super) fn socket_bytes(
        &mut self,
        now: Now,
        client: ClientId,
        bytes: Bytes,
        out: &mut Vec<Output>,
    ) {
        if let Some(Client::Socket(session)) = self.client(client) {
            if session.key.is_none() {
                session.unproven = session.unproven.saturating_add(bytes.len());
            }
            session.framing.feed(bytes);
        }
        self.messages(now, client, out);
        let bound = self.desk.config().limits.bodies_bytes_max.0;
        let Some(Client::Socket(session)) = self.client(client) else {
            return;
        };
        if session.key.is_none() && session.unproven > UNPROVEN_BYTES_MAX {
            let what = "show a client key first";
            return self.hang_up(now, client, Violation { code: 1008, what }, out);
        }
        let held = session.framing.held() as u64;
        if session.hold.resize(held, bound).is_err() {
            // IANA, WebSocket Close Code Number Registry, read 2026-08: 1013, try again later.
            let what = NO_MEMORY;
            self.hang_up(now, client, Violation { code: 1013, what }, out);
        }
    }

    fn messages(&mut self, now: Now, client: ClientId, out: &mut Vec<Output>) {
        loop {
            let Some(Client::Socket(session)) = self.client(client) else {
                return;
            };
            match session.framing.next() {
                Ok(None) => return,
                Ok(Some(Message::Text(text))) => self.text(now, client, text, out),
                Ok(Some(Message::Ping(bytes))) => {
                    let mut said = BytesMut::new();
                    websocket::write_pong(&bytes, &mut said);
                    out.push(Output::Write {
                        client,
                        bytes: said.freeze(),
                    });
                }
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Binary(_))) => {
                    self.hang_up(
                        now,
                        client,
                        Violation {
                            code: 1003,
                            what: "messages are JSON texts",
                        },
                        out,
                    );
                }
                Ok(Some(Message::Close(said))) => {
                    let code = said.map_or(1000, |(code, _)| code);
                    self.hang_up(now, client, Violation { code, what: "" }, out);
                }
                Err(violation) => self.hang_up(now, client, violation, out),
            }
        }
    }

    /// A message is whole: from now on its bytes count as a request's, until the last slice of them is dropped.
    fn text(&mut self, now: Now, client: ClientId, text: Str, out: &mut Vec<Output>) {
        let (budget, bound) = (self.bodies(), self.desk.config().limits.bodies_bytes_max.0);
        let Some(Client::Socket(session)) = self.client(client) else {
            return;
        };
        let native = matches!(session.kind, Kind::Native(_));
        let rest = session.framing.held() as u64;
        // What is left of them is less than what was held, or is looked at when all messages are read.
        let _ = session.hold.resize(rest.min(session.hold.bytes()), bound);
        let counted = budget.keep(text.into_bytes(), bound);
        let text = counted.ok().and_then(|bytes| Str::try_from(bytes).ok());
        match (text, native) {
            (Some(text), true) => self.message(now, client, &text, out),
            (Some(text), false) => self.responses_message(client, &text, out),
            (None, _) => {
                let fault = Fault::new(FaultClass::Overloaded, NO_MEMORY);
                self.socket_refuse(client, None, &fault.after(Duration::from_secs(1)), out);
            }
        }
    }

    /// Says goodbye. For what runs the client has left: nothing may be written after this.
    pub(super) fn hang_up(
        &mut self,
        now: Now,
        client: ClientId,
        why: Violation,
        out: &mut Vec<Output>,
    ) {
        let mut said = BytesMut::new();
        websocket::write_close(why.code, why.what, &mut said);
        out.push(Output::Write {
            client,
            bytes: said.freeze(),
        });
        out.push(Output::End { client });
        self.client_gone(now, client, out);
    }

    fn message(&mut self, now: Now, client: ClientId, text: &Str, out: &mut Vec<Output>) {
        use native::socket::ClientMessage as M;
        let done = match native::socket::read(text) {
            Ok(M::Auth { api_key }) => {
                return self.socket_auth(now, client, api_key.expose(), out);
            }
            Ok(M::Request {
                id,
                request,
                controls,
            }) => self
                .socket_request(now, client, &id, request, *controls, out)
                .map_err(|fault| (Some(id), fault)),
            Ok(M::Cancel { id }) => self
                .socket_cancel(now, client, &id, out)
                .map_err(|fault| (Some(id), fault)),
            Ok(M::Resume {
                id,
                response,
                after,
            }) => self
                .socket_resume(now, client, (id.clone(), response, after), out)
                .map_err(|fault| (id, fault)),
            Err(refused) => Err((refused.id, refused.fault)),
        };
        if let Err((request_id, fault)) = done {
            self.socket_refuse(client, request_id.as_ref(), &fault, out);
        }
    }

    /// A wrong key ends the connection: who guesses pays a handshake a guess.
    fn socket_auth(&mut self, now: Now, client: ClientId, key: &str, out: &mut Vec<Output>) {
        let hash = key_hash(key.as_bytes());
        match self.desk.client_key(&hash, now.wall) {
            Ok(_) => {}
            Err(fault) => {
                self.desk.meters.unauthenticated += 1;
                self.socket_refuse(client, None, &fault, out);
                let what = "this client key is not known here";
                return self.hang_up(now, client, Violation { code: 1008, what }, out);
            }
        }
        if let Some(Client::Socket(session)) = self.client(client) {
            session.key = Some(hash);
        }
        let mut said = BytesMut::new();
        native::socket::write_authenticated(&mut said);
        out.push(Output::Write {
            client,
            bytes: said.freeze(),
        });
    }

    fn socket_request(
        &mut self,
        now: Now,
        client: ClientId,
        request_id: &Str,
        request: Box<Request>,
        controls: Controls,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let Some(Client::Socket(session)) = self.client(client) else {
            return Ok(());
        };
        let Kind::Native(running) = &session.kind else {
            return Ok(());
        };
        let Some(key) = session.key else {
            let message = "show a client key first: {\"type\":\"auth\",\"api_key\":…}";
            return Err(
                Fault::new(FaultClass::Unauthenticated, message).with_code("missing_api_key")
            );
        };
        if running.get(request_id).is_some() {
            return Err(Fault::invalid(
                "request_id",
                "a request with this id is running on this socket",
            ));
        }
        if session.order.len() >= RUNNING_MAX {
            let message = format!("a socket runs at most {RUNNING_MAX} requests at once");
            return Err(Fault::new(FaultClass::RateLimited, message));
        }
        let controls = controls.over(session.controls.clone());
        let asking = Asking {
            client,
            request_id: Some(request_id.clone()),
            dialect: DialectName::Native,
            key,
            controls,
            passing: PassingHeaders::default(),
        };
        let id = self.begin_on_socket(now, asking)?;
        if let Some(Client::Socket(session)) = self.client(client)
            && let Kind::Native(running) = &mut session.kind
        {
            // There is room: `order` holds as many as `running`.
            let _ = running.insert(request_id.clone(), id);
        }
        if let Some(exchange) = self.exchanges.get_mut(id.0) {
            exchange.request = Some(request);
        }
        self.step(id, Happening::Body(Bytes::new()), now, out);
        Ok(())
    }

    /// Takes an exchange into the table, for a client on a WebSocket, if it may still begin one.
    pub(super) fn begin_on_socket(
        &mut self,
        now: Now,
        asking: Asking,
    ) -> Result<ExchangeId, Fault> {
        let client = asking.client;
        let key = self.desk.client_key(&asking.key, now.wall)?;
        self.desk
            .may_begin(self.exchanges.len(), self.exchanges.is_full())?;
        let opened = Opened {
            down: Down::Socket {
                client,
                request_id: asking.request_id,
            },
            line: Line {
                stream: Some(true),
                ..Line::new(asking.dialect, Task::Generate)
            },
            key,
            controls: asking.controls,
            video: None,
            passing: asking.passing,
        };
        let id = self.begin_exchange(now, opened)?;
        let Some(Client::Socket(session)) = self.client(client) else {
            return Ok(id);
        };
        session.order.push(id);
        let congested = session.congested;
        if let Some(exchange) = self.exchanges.get_mut(id.0) {
            exchange.congested_since = congested.then_some(now.instant);
        }
        Ok(id)
    }

    /// Says again what came after an event of an answer, and goes on with it.
    fn socket_resume(
        &mut self,
        now: Now,
        client: ClientId,
        (request_id, id, after): (Option<Str>, Str, u64),
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let Some(Client::Socket(session)) = self.client(client) else {
            return Ok(());
        };
        let Some(key) = session.key else {
            let message = "show a client key first: {\"type\":\"auth\",\"api_key\":…}";
            return Err(
                Fault::new(FaultClass::Unauthenticated, message).with_code("missing_api_key")
            );
        };
        let key = self.desk.client_key(&key, now.wall)?;
        let config = self.desk.config();
        let tenant = config.client_keys[key.0 as usize].tenant;
        let tenant = config.tenants[tenant.0 as usize].name.as_str().into();
        let want = Want::Events {
            after: (after > 0).then_some(after),
            numbered: true,
        };
        let wanted = Wanted { id, want };
        self.fetch_on_socket(now, (client, request_id), tenant, wanted, out);
        Ok(())
    }

    /// The client wants no answer any more, whatever it would want if it had left.
    fn socket_cancel(
        &mut self,
        now: Now,
        client: ClientId,
        request_id: &Str,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let Some(Client::Socket(session)) = self.client(client) else {
            return Ok(());
        };
        let Kind::Native(running) = &session.kind else {
            return Ok(());
        };
        let Some(&id) = running.get(request_id) else {
            return Err(Fault::new(
                FaultClass::NotFound,
                "no request with this id is running on this socket",
            ));
        };
        self.step(id, Happening::Cancelled, now, out);
        Ok(())
    }

    /// Says no to a message of which no exchange came. `of`: the native request's id, or the lane.
    pub(super) fn socket_refuse(
        &mut self,
        client: ClientId,
        of: Option<&Str>,
        fault: &Fault,
        out: &mut Vec<Output>,
    ) {
        let Some(Client::Socket(session)) = self.client(client) else {
            return;
        };
        let mut said = BytesMut::new();
        let of = of.map(|id| &**id);
        match session.kind {
            Kind::Native(_) => native::socket::write_refused(of, fault, &mut said),
            Kind::Responses(_) => {
                let retry_after = fault.retry_after.map(|wait| whole_seconds(wait).max(1));
                responses::socket::write_error(of, fault, "", retry_after, &mut said);
            }
        }
        out.push(Output::Write {
            client,
            bytes: said.freeze(),
        });
    }

    /// Begins what can begin on WebSockets where something has changed, and says goodbye where nothing will.
    pub(super) fn look_at_stirred(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(client) = self.stirred.pop() {
            self.begin_next(now, client, out);
            let draining = self.desk.draining;
            let Some(Client::Socket(session)) = self.client(client) else {
                continue;
            };
            if !session.is_idle() {
                continue;
            }
            if matches!(&session.kind, Kind::Responses(lanes) if lanes.over) {
                self.socket_refuse(client, None, &lane_asks::over(), out);
                let what = "the connection is at the end of its time";
                self.hang_up(now, client, Violation { code: 1001, what }, out);
            } else if draining {
                let what = "this router is about to stop";
                self.hang_up(now, client, Violation { code: 1001, what }, out);
            }
        }
    }
}

/// A request on a WebSocket.
pub(super) struct Asking {
    pub client: ClientId,
    /// What its events repeat.
    pub request_id: Option<Str>,
    pub dialect: DialectName,
    pub key: KeyHash,
    pub controls: Controls,
    pub passing: PassingHeaders,
}

const NO_MEMORY: &str = "the bodies of running requests fill the memory they may have";
