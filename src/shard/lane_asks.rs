//! What a client asks on a WebSocket of Responses, and what becomes of it (OpenAI docs, WebSocket mode, read 2026-11).
//!
//! Each request becomes an exchange like any other; towards its provider it is a request over HTTP. What it goes on with is left to who keeps
//! it, or said again from what the connection keeps.

use crate::base::{ClientId, Instant, Now, Str};
use crate::canon::{DialectName, Fault, FaultClass};
use crate::protocol::dialect::responses::Echo;
use crate::protocol::dialect::responses::socket::{
    self, Body, ClientMessage, Create, Kept, said_in_response,
};
use crate::protocol::dialect::{Closing, Encoder, Opening};
use crate::shard::admit::{find_model, may_use};
use crate::shard::exchange::Happening;
use crate::shard::lanes::{Lanes, Outcome, Store, Turn};
use crate::shard::socket::{Asking, Kind, SocketSession};
use crate::shard::{Client, Output, Shard};
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// How long a connection lasts (OpenAI docs, WebSocket mode, read 2026-11). What runs then is answered to its end.
pub(super) const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// The connection has lasted as long as it may.
pub(super) fn over() -> Fault {
    let message = "Responses websocket connection limit reached (60 minutes). Create a new websocket connection to continue.";
    Fault::new(FaultClass::Invalid, message).with_code("websocket_connection_limit_reached")
}

fn not_found(id: &str) -> Fault {
    let shown: String = id.chars().take(100).collect();
    let message = format!("Previous response with id '{shown}' not found.");
    Fault::invalid("previous_response_id", message).with_code("previous_response_not_found")
}

/// What ids of answers begin with that we made, and which no provider knows.
const OURS: &str = "resp_stk_";

impl Shard {
    pub(super) fn responses_message(
        &mut self,
        client: ClientId,
        text: &Str,
        out: &mut Vec<Output>,
    ) {
        let Some(lanes) = self.lanes(client) else {
            return;
        };
        match socket::read(text) {
            Ok(ClientMessage::Create(create)) => {
                let lane = create.lane.clone();
                match lanes.add(create) {
                    Ok(()) => self.stirred.push(client),
                    Err(fault) => self.socket_refuse(client, lane.as_ref(), &fault, out),
                }
            }
            Ok(ClientMessage::Steer { previous, input }) => {
                self.steer(client, previous.unwrap_or_default(), &input, out);
            }
            Ok(ClientMessage::Processed) => {}
            Err(refused) => {
                self.socket_refuse(client, refused.lane.as_ref(), &refused.fault, out);
            }
        }
    }

    /// Providers are spoken to over HTTP, where an answer that is under way takes no more words: they are given back, as the API gives back
    /// what a model cannot take. Which of its codes comes first is not said by its docs.
    fn steer(
        &mut self,
        client: ClientId,
        previous: Str,
        input: &crate::base::Json,
        out: &mut Vec<Output>,
    ) {
        let Some(lanes) = self.lanes(client) else {
            return;
        };
        let of = lanes.lane_of(&previous).cloned();
        let (code, message) = match &of {
            _ if previous.is_empty() => ("invalid_input", "previous_response_id is missing"),
            Some(_) => (
                "response_already_completed",
                "the answer is complete; send a response.create that goes on with it",
            ),
            None if lanes.is_idle() => (
                "response_not_found",
                "no answer with this id is under way on this connection",
            ),
            None => (
                "steering_not_supported",
                "this router cannot steer an answer that is under way",
            ),
        };
        let lane = of.flatten();
        let mut said = BytesMut::new();
        let why = (code, message);
        socket::write_steer_failed(lane.as_deref(), &previous, input, why, &mut said);
        out.push(Output::Write {
            client,
            bytes: said.freeze(),
        });
    }

    /// Begins the requests whose lanes are free.
    pub(super) fn begin_next(&mut self, now: Now, client: ClientId, out: &mut Vec<Output>) {
        while let Some(create) = self.next_create(client) {
            if let Err(fault) = self.create(now, client, &create, out) {
                self.desk.meters.failed(fault.class);
                self.socket_refuse(client, create.lane.as_ref(), &fault, out);
            }
        }
    }

    fn next_create(&mut self, client: ClientId) -> Option<Box<Create>> {
        let running = self.session(client)?.exchanges().len();
        self.lanes(client)?.next(running)
    }

    fn create(
        &mut self,
        now: Now,
        client: ClientId,
        create: &Create,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let Some(lanes) = self.lanes(client) else {
            return Ok(());
        };
        if lanes.over {
            return Err(over());
        }
        let before = before(lanes, create)?;
        let passing = lanes.passing.clone();
        let body = self.fitting(create, before.as_ref())?;
        let base = before.and_then(|before| before.base);
        if !create.generate {
            return self.warm(now, client, create, base, &body, out);
        }
        let Some(session) = self.session(client) else {
            return Ok(());
        };
        let Some(key) = session.key() else {
            return Ok(());
        };
        let asking = Asking {
            client,
            request_id: create.lane.clone(),
            dialect: DialectName::Responses,
            key,
            controls: session.controls(),
            passing,
        };
        let id = self.begin_on_socket(now, asking)?;
        if let Some(lanes) = self.lanes(client) {
            lanes.began(create.lane.as_ref(), id, create.previous.clone());
        }
        let turn = Turn {
            previous: create.previous.clone(),
            base,
            items: self.items_of(&body),
            store: create.store,
            stateful: create.stateful,
            outcome: Outcome::Open,
        };
        if let Some(exchange) = self.exchanges.get_mut(id.0) {
            exchange.turn = Some(Box::new(turn));
        }
        self.step(id, Happening::Body(body.bytes), now, out);
        Ok(())
    }

    /// The body, within its bounds and counted. One that only what is kept makes too large can be asked for again in the client's own words.
    fn fitting(&self, create: &Create, before: Option<&Kept>) -> Result<Body, Fault> {
        let limits = &self.desk.config().limits;
        let mut body = create.body(before);
        let kept = before.is_some_and(|before| before.bytes() > 0);
        if kept && body.bytes.len() as u64 > limits.body_bytes_max.0 {
            return Err(not_found(create.previous.as_deref().unwrap_or_default()));
        }
        let counted = self.bodies.keep(body.bytes, limits.bodies_bytes_max.0);
        body.bytes = counted.map_err(|_| {
            let message = "the bodies of running requests fill the memory they may have";
            Fault::new(FaultClass::Overloaded, message).after(Duration::from_secs(1))
        })?;
        Ok(body)
    }

    /// The items of a body, counted; none where they would need room that is not there, and then the answer cannot be built upon.
    fn items_of(&self, body: &Body) -> Option<Bytes> {
        let bound = self.desk.config().limits.bodies_bytes_max.0;
        match body.items() {
            (items, true) => Some(items),
            (items, false) => self.bodies.keep(items, bound).ok(),
        }
    }

    /// `generate: false` prepares a state and says nothing: an id for what was sent, without a provider, which over HTTP has no state to be
    /// prepared. It costs nothing, so nobody is billed.
    fn warm(
        &mut self,
        now: Now,
        client: ClientId,
        create: &Create,
        base: Option<Str>,
        body: &Body,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let config = self.desk.config().clone();
        if create.model.is_empty() {
            return Err(Fault::invalid("model", "model is missing"));
        }
        // A key that a reload took away prepares nothing.
        let model = find_model(&config, &create.model, now.wall)?;
        if let Some(key) = self.session(client).and_then(|session| session.key()) {
            let key = self.desk.client_key(&key, now.wall)?;
            may_use(&config, key, &create.model, model)?;
        }
        let opening = Opening {
            id: self.desk.name_exchange(),
            created: now.wall.seconds(),
            model: create.model.clone(),
            bare: true,
            request_id: create.lane.clone(),
            echo: Echo::going_on(&body.bytes, create.previous.as_deref()),
            ..Opening::default()
        };
        let mut said = BytesMut::new();
        let mut encoder = Encoder::new(DialectName::Responses, opening);
        encoder.finish(&Closing::default(), &mut said);
        let told = encoder.told().and_then(said_in_response);
        let items = self.items_of(body);
        if let (Some(told), Some(items), false) = (told, items, create.stateful) {
            let budget = self.bodies();
            let store = Store {
                budget: &budget,
                limits: &config.limits,
            };
            let kept = Kept {
                id: told.id,
                base,
                items: vec![items, told.items],
            };
            if let Some(lanes) = self.lanes(client) {
                lanes.keep(create.lane.as_ref(), kept, &store);
            }
        }
        out.push(Output::Write {
            client,
            bytes: said.freeze(),
        });
        Ok(())
    }

    /// A connection has lasted as long as it may: nothing more begins on it, and it ends with what runs.
    pub(super) fn end_of_time(&mut self, client: ClientId) {
        if let Some(lanes) = self.lanes(client) {
            lanes.over = true;
            self.stirred.push(client);
        }
    }

    /// When a connection that begins `now` is to end.
    pub(super) fn ends_at(&mut self, now: Instant, client: ClientId) -> Instant {
        let until = now + LIFETIME;
        self.ends.insert((until, client));
        until
    }

    fn session(&mut self, client: ClientId) -> Option<&mut SocketSession> {
        match self.client(client)? {
            Client::Socket(session) => Some(session),
            Client::Exchange(_) | Client::Fetch(_) => None,
        }
    }

    fn lanes(&mut self, client: ClientId) -> Option<&mut Lanes> {
        match &mut self.session(client)?.kind {
            Kind::Responses(lanes) => Some(lanes),
            Kind::Native(_) => None,
        }
    }
}

/// What a request goes on with. What the connection does not keep may be known to the provider, unless the request wants nothing stored, for
/// which the API looks nowhere else; and the provider cannot know what we named.
fn before(lanes: &Lanes, create: &Create) -> Result<Option<Kept>, Fault> {
    let Some(id) = &create.previous else {
        return Ok(None);
    };
    match lanes.kept(id) {
        Some(kept) => Ok(Some(kept.clone())),
        None if create.store && !id.starts_with(OURS) => Ok(Some(Kept {
            id: id.clone(),
            base: Some(id.clone()),
            items: Vec::new(),
        })),
        None => Err(not_found(id)),
    }
}
