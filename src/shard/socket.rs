//! Many requests on one WebSocket (DESIGN section 3, native): a session that shows its key once, then begins and cancels exchanges.

use crate::base::{BoundedMap, ClientId, ClientKeyId, ExchangeId, Now, Str};
use crate::canon::{Controls, DialectName, Fault, FaultClass, Request};
use crate::protocol::dialect::native;
use crate::protocol::framing::websocket::{self, Message, Side, Socket, Violation};
use crate::shard::admit::{Opened, can_heed};
use crate::shard::exchange::{Down, Happening, PassingHeaders};
use crate::shard::paths::Line;
use crate::shard::task::Task;
use crate::shard::{Client, ClientHead, Output, Shard};
use bytes::{Bytes, BytesMut};

#[derive(Debug)]
pub(super) struct SocketSession {
    framing: Socket,
    /// `None` until the client has shown it.
    key: Option<ClientKeyId>,
    /// Running exchanges by the client's own ids for them.
    running: BoundedMap<Str, ExchangeId>,
    order: Vec<ExchangeId>,
    /// What the upgrade's headers said; a request's own words stand over it.
    controls: Controls,
    /// Bytes that came before a key was shown.
    unproven: usize,
    pub congested: bool,
}

/// Exchanges one socket may run at once.
const RUNNING_MAX: usize = 256;

/// What a stranger may send before it has shown its key.
const UNPROVEN_BYTES_MAX: usize = 65_536;

impl SocketSession {
    pub fn new(key: Option<ClientKeyId>, controls: Controls, message_bytes_max: usize) -> Self {
        Self {
            framing: Socket::new(Side::Server, message_bytes_max),
            key,
            running: BoundedMap::new(RUNNING_MAX),
            order: Vec::new(),
            controls,
            unproven: 0,
            congested: false,
        }
    }

    /// All that run, in the order they began.
    pub fn exchanges(&self) -> Vec<ExchangeId> {
        self.order.clone()
    }

    pub fn ended(&mut self, request_id: &Str) {
        if let Some(exchange) = self.running.remove(request_id) {
            self.order.retain(|e| *e != exchange);
        }
    }
}

/// What goes into `Sec-WebSocket-Accept`; `Err` when the handshake is not RFC 6455's (section 4.2.1).
pub(super) fn accept(head: &ClientHead) -> Result<String, Fault> {
    let value = |name: &[u8]| {
        head.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| &v[..])
    };
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
        if let Some(Client::Socket(session)) = self.client(client)
            && session.key.is_none()
            && session.unproven > UNPROVEN_BYTES_MAX
        {
            let what = "show a client key first";
            self.hang_up(now, client, Violation { code: 1008, what }, out);
        }
    }

    fn messages(&mut self, now: Now, client: ClientId, out: &mut Vec<Output>) {
        loop {
            let Some(Client::Socket(session)) = self.client(client) else {
                return;
            };
            match session.framing.next() {
                Ok(None) => return,
                Ok(Some(Message::Text(text))) => self.message(now, client, &text, out),
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

    /// Says goodbye. For what runs the client has left: nothing may be written after this.
    fn hang_up(&mut self, now: Now, client: ClientId, why: Violation, out: &mut Vec<Output>) {
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
            Ok(M::Resume { id, response, .. }) => {
                let message = format!(
                    "the answer {response} cannot be resumed: this version keeps no answers"
                );
                Err((id, Fault::new(FaultClass::NotFound, message)))
            }
            Err(refused) => Err((refused.id, refused.fault)),
        };
        if let Err((request_id, fault)) = done {
            self.socket_refuse(client, request_id.as_ref(), &fault, out);
        }
    }

    /// A wrong key ends the connection: who guesses pays a handshake a guess.
    fn socket_auth(&mut self, now: Now, client: ClientId, key: &str, out: &mut Vec<Output>) {
        let found = match self.desk.client_key(key.as_bytes()) {
            Ok(found) => found,
            Err(fault) => {
                self.desk.meters.unauthenticated += 1;
                self.socket_refuse(client, None, &fault, out);
                let what = "this client key is not known here";
                return self.hang_up(now, client, Violation { code: 1008, what }, out);
            }
        };
        if let Some(Client::Socket(session)) = self.client(client) {
            session.key = Some(found);
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
        can_heed(&controls)?;
        let (running, full_table) = (self.exchanges.len(), self.exchanges.is_full());
        let Some(Client::Socket(session)) = self.client(client) else {
            return Ok(());
        };
        let Some(key) = session.key else {
            let message = "show a client key first: {\"type\":\"auth\",\"api_key\":…}";
            return Err(
                Fault::new(FaultClass::Unauthenticated, message).with_code("missing_api_key")
            );
        };
        if session.running.get(request_id).is_some() {
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
        let congested = session.congested;
        self.desk.may_begin(running, full_table)?;
        let id = self.begin_exchange(
            now,
            Opened {
                down: Down::Socket {
                    client,
                    request_id: request_id.clone(),
                },
                line: Line {
                    stream: Some(true),
                    ..Line::new(DialectName::Native, Task::Generate)
                },
                key,
                controls,
                video: None,
                passing: PassingHeaders::default(),
            },
        )?;
        if let Some(Client::Socket(session)) = self.client(client) {
            session.order.push(id);
            // There is room: `order` holds as many as `running`.
            let _ = session.running.insert(request_id.clone(), id);
        }
        if let Some(exchange) = self.exchanges.get_mut(id.0) {
            exchange.request = Some(request);
            exchange.congested_since = congested.then_some(now.instant);
        }
        self.step(id, Happening::Body(Bytes::new()), now, out);
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
        let Some(&id) = session.running.get(request_id) else {
            return Err(Fault::new(
                FaultClass::NotFound,
                "no request with this id is running on this socket",
            ));
        };
        self.step(id, Happening::Cancelled, now, out);
        Ok(())
    }

    fn socket_refuse(
        &mut self,
        client: ClientId,
        request_id: Option<&Str>,
        fault: &Fault,
        out: &mut Vec<Output>,
    ) {
        let mut said = BytesMut::new();
        native::socket::write_refused(request_id.map(|id| &**id), fault, &mut said);
        out.push(Output::Write {
            client,
            bytes: said.freeze(),
        });
    }
}
