//! A client comes back for an answer: while it runs and after it ended; the same to the byte.
//!
//! A fetch is a client's request that asks no provider. It reads pieces of what was sent, one after the other, each when the last has gone to
//! the client, so that a slow reader holds 64 KiB here; what it is told is cut into events where it wants to begin after one.

use crate::base::{ClientId, Instant, Json, NanoUsd, Now, Slot, Str};
use crate::canon::{Answer, DialectName, Fault, FaultClass, Usage};
use crate::protocol::dialect::replay::{self, Cutter, Framing};
use crate::protocol::dialect::{self, Closing, Opening};
use crate::protocol::framing::sse;
use crate::shard::exchange::{Down, Exchange};
use crate::shard::stored::{Asker, Form, Found, Piece, Question, State, Told, What};
use crate::shard::stream::{EVENT_STREAM, JSON, request_id_header};
use crate::shard::{Client, Mail, Output, ResponseHead, Shard, reply};
use bytes::{Bytes, BytesMut};

/// Who wants which answer, and how far that has come.
#[derive(Debug)]
pub(super) struct Fetch {
    to: To,
    tenant: Str,
    /// In whose words it is refused.
    dialect: DialectName,
    id: Str,
    want: Want,
    /// Bytes of the answer that came.
    from: u64,
    found: Option<Box<Found>>,
    cutter: Option<Cutter>,
    /// Of an answer that is told at its end.
    body: BytesMut,
    /// A last piece, until it is known how the answer ended.
    last: Option<Piece>,
    head_sent: bool,
    congested: bool,
    /// The next piece is wanted when the client has read.
    held: bool,
    comment_at: Instant,
}

#[derive(Clone, Debug, PartialEq)]
enum To {
    Http(ClientId),
    Socket {
        client: ClientId,
        request_id: Option<Str>,
    },
}

/// What is wanted of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Want {
    /// What whoever asked first is, or was, told.
    Again,
    /// Its events after that one, all where none is named; as server-sent events with their numbers, or as the dialect writes them.
    Events {
        after: Option<u64>,
        numbered: bool,
    },
    /// All that is known of it.
    Answer,
    /// The answer as Responses says it.
    Response,
    /// What there is.
    List {
        before: Str,
        most: u16,
    },
    Cancel,
    Delete,
    /// What the tenant has spent: no answer, and asked as they are.
    Usage {
        since: Str,
        until: Str,
        by: Str,
    },
}

/// What a request line asks of stored answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub id: Str,
    pub want: Want,
}

/// The client of an exchange is given another's answer.
pub(super) fn again(exchange: &Exchange, id: Str) -> Fetch {
    let to = match exchange.down() {
        Down::Socket { client, request_id } => To::Socket { client, request_id },
        Down::Http(client) => To::Http(client),
        // Nobody is there; whatever is done for it finds nobody.
        Down::Gone => To::Http(ClientId(exchange.id.0)),
    };
    let tenant = &exchange.config.tenants[exchange.tenant.0 as usize].name;
    Fetch::new(
        to,
        tenant.as_str().into(),
        exchange.dialect,
        Wanted {
            id,
            want: Want::Again,
        },
    )
}

impl Fetch {
    fn new(to: To, tenant: Str, dialect: DialectName, wanted: Wanted) -> Self {
        Self {
            to,
            tenant,
            dialect,
            id: wanted.id,
            want: wanted.want,
            from: 0,
            found: None,
            cutter: None,
            body: BytesMut::new(),
            last: None,
            head_sent: false,
            congested: false,
            held: false,
            comment_at: Instant::NEVER,
        }
    }

    fn first_question(&self) -> What {
        let id = self.id.clone();
        match &self.want {
            Want::Again | Want::Events { .. } => What::Look { id, whole: false },
            Want::Answer | Want::Response => What::Look { id, whole: true },
            Want::List { before, most } => What::List {
                before: before.clone(),
                most: *most,
            },
            Want::Cancel => What::Cancel { id },
            Want::Delete => What::Delete { id },
            Want::Usage { since, until, by } => What::Usage {
                since: since.clone(),
                until: until.clone(),
                by: by.clone(),
            },
        }
    }

    fn opening(&self) -> Opening {
        Opening {
            id: self.id.clone(),
            bare: matches!(self.to, To::Socket { .. }),
            request_id: match &self.to {
                To::Socket { request_id, .. } => request_id.clone(),
                To::Http(_) => None,
            },
            array: self.found.as_ref().is_some_and(|f| f.form == Form::Array)
                && self.want == Want::Again,
            ..Opening::default()
        }
    }

    fn client(&self) -> ClientId {
        match &self.to {
            To::Http(client) | To::Socket { client, .. } => *client,
        }
    }
}

impl Shard {
    /// A client asks for something that is stored.
    pub(super) fn fetch(
        &mut self,
        now: Now,
        client: ClientId,
        (tenant, dialect): (Str, DialectName),
        wanted: Wanted,
        out: &mut Vec<Output>,
    ) {
        self.begin_fetch(
            now,
            Fetch::new(To::Http(client), tenant, dialect, wanted),
            out,
        );
    }

    /// The same on a native WebSocket.
    pub(super) fn fetch_on_socket(
        &mut self,
        now: Now,
        (client, request_id): (ClientId, Option<Str>),
        tenant: Str,
        wanted: Wanted,
        out: &mut Vec<Output>,
    ) {
        let to = To::Socket { client, request_id };
        self.begin_fetch(
            now,
            Fetch::new(to, tenant, DialectName::Native, wanted),
            out,
        );
    }

    pub(super) fn begin_fetch(&mut self, now: Now, mut fetch: Fetch, out: &mut Vec<Output>) {
        let of_answers = !matches!(fetch.want, Want::Usage { .. });
        if of_answers && !self.desk.spools {
            let fault = Fault::new(
                FaultClass::NotFound,
                "this router stores no answers (spool: enabled: false)",
            );
            return self.refuse_fetch(fetch, &fault, out);
        }
        fetch.comment_at = now.instant + self.desk.config().limits.sse_comment;
        let (to, question) = (fetch.to.clone(), fetch.first_question());
        let tenant = fetch.tenant.clone();
        let Ok(slot) = self.fetches.insert(Box::new(fetch)) else {
            let fault = Fault::new(
                FaultClass::Overloaded,
                "this router serves as many requests as it may at once",
            );
            let again = Fetch::new(
                to,
                tenant,
                DialectName::Native,
                Wanted {
                    id: Str::new(),
                    want: Want::Again,
                },
            );
            return self.refuse_fetch(again, &fault, out);
        };
        match to {
            To::Http(client) => self.keep_client(client, Client::Fetch(slot)),
            To::Socket { .. } => {}
        }
        ask(slot, tenant, question, out);
    }

    /// What the store says.
    pub(super) fn told(&mut self, now: Now, asker: Asker, told: Told, out: &mut Vec<Output>) {
        match asker {
            Asker::Exchange(exchange) => {
                self.step(
                    exchange,
                    crate::shard::exchange::Happening::Told(told),
                    now,
                    out,
                );
            }
            Asker::Fetch(slot) => {
                if let Some(mut fetch) = self.fetches.lend(slot) {
                    self.quiet.remove(&(fetch.comment_at, slot));
                    let next = self.heard(now, &mut fetch, told, out);
                    self.go_on(now, slot, fetch, next, out);
                }
            }
        }
    }

    /// Puts a fetch back under its slot, or lets it go.
    fn go_on(
        &mut self,
        now: Now,
        slot: Slot,
        mut fetch: Box<Fetch>,
        next: Next,
        out: &mut Vec<Output>,
    ) {
        let what = match next {
            Next::Ended => {
                self.fetches.release(slot);
                return self.ended_fetch(&fetch);
            }
            Next::Refused(fault) => {
                self.fetches.release(slot);
                return self.refuse_fetch(*fetch, &fault, out);
            }
            Next::Held => None,
            Next::Ask(what) => Some(what),
        };
        fetch.held = what.is_none();
        fetch.comment_at = now.instant + self.desk.config().limits.sse_comment;
        let tenant = fetch.tenant.clone();
        if fetch.comments() {
            self.quiet.insert((fetch.comment_at, slot));
        }
        self.fetches.put_back(slot, fetch);
        if let Some(what) = what {
            ask(slot, tenant, what, out);
        }
    }

    fn ended_fetch(&mut self, fetch: &Fetch) {
        if let To::Http(client) = fetch.to {
            self.drop_client(client);
        }
    }

    fn refuse_fetch(&mut self, fetch: Fetch, fault: &Fault, out: &mut Vec<Output>) {
        match &fetch.to {
            // Whoever has a part must not take it for the whole.
            To::Http(client) if fetch.head_sent => out.push(Output::Abort { client: *client }),
            To::Http(client) => {
                let id = self.desk.name_exchange();
                reply::refuse(*client, fetch.dialect, fault, &id, out);
            }
            To::Socket { client, request_id } => {
                self.socket_refuse(*client, request_id.as_ref(), fault, out);
            }
        }
        self.ended_fetch(&fetch);
    }

    fn heard(&mut self, now: Now, fetch: &mut Fetch, told: Told, out: &mut Vec<Output>) -> Next {
        match told {
            Told::Unreadable(why) => {
                let message = format!("stored answers cannot be read at the moment: {why}");
                let fault = Fault::new(FaultClass::Unavailable, message);
                Next::Refused(fault.after(std::time::Duration::from_secs(2)))
            }
            Told::Found(None) | Told::Piece(None) if fetch.want == Want::Again => {
                // Whoever asked first was refused before any provider was asked.
                let message = "the request that used this idempotency-key before has ended without an answer; send it again";
                let fault = Fault::new(FaultClass::Conflict, message);
                Next::Refused(fault.after(std::time::Duration::from_secs(1)))
            }
            Told::Found(None) | Told::Piece(None) => Next::Refused(not_found(&fetch.id)),
            Told::Found(Some(found)) => self.found(now, fetch, found, out),
            Told::Piece(Some(piece)) => self.piece(now, fetch, piece, out),
            Told::Listed { answers, more } => {
                let body = listed(&answers, more);
                self.tell_json(fetch, body, out)
            }
            Told::Usage(Ok(json)) => self.tell_json(fetch, json.into_bytes(), out),
            Told::Usage(Err((field, why))) => Next::Refused(Fault::invalid(field, why)),
            Told::Done(done) => self.done(fetch, done, out),
            Told::Free | Told::Taken { .. } => Next::Refused(Fault::new(
                FaultClass::Internal,
                "the store answered what was not asked",
            )),
        }
    }

    fn found(
        &mut self,
        now: Now,
        fetch: &mut Fetch,
        found: Box<Found>,
        out: &mut Vec<Output>,
    ) -> Next {
        let most = self.event_bytes_max();
        match fetch.want {
            Want::Answer => {
                let body = whole(fetch, &found, most);
                return self.tell_json(fetch, body, out);
            }
            Want::Response => {
                let body = response(fetch, &found, most);
                return self.tell_json(fetch, body, out);
            }
            _ => {}
        }
        let first = fetch.found.is_none();
        if first {
            fetch.cutter = Some(Cutter::new(found.dialect, framing(found.form), most));
        }
        fetch.found = Some(found);
        match fetch.last.take() {
            Some(piece) => self.piece(now, fetch, piece, out),
            None => Next::Ask(fetch.more()),
        }
    }

    fn piece(&mut self, _now: Now, fetch: &mut Fetch, piece: Piece, out: &mut Vec<Output>) -> Next {
        let Some(found) = &fetch.found else {
            return Next::Ask(fetch.first_question());
        };
        if piece.end.is_some() && found.state == State::Running {
            // How it ended is to be known before its end is told.
            fetch.last = Some(piece);
            let id = fetch.id.clone();
            return Next::Ask(What::Look { id, whole: false });
        }
        fetch.from = piece.next;
        let mut said = BytesMut::new();
        match (&fetch.want, found.form) {
            (_, Form::Whole) => fetch.body.extend_from_slice(&piece.bytes),
            // Its status is not a stream's.
            _ if found.status != 200 => fetch.body.extend_from_slice(&piece.bytes),
            (Want::Events { .. }, _) => fetch.cut(piece.bytes, &mut said),
            _ => {
                said.extend_from_slice(&piece.bytes);
                if let Some(cutter) = &mut fetch.cutter {
                    cutter.feed(piece.bytes);
                    while cutter.next().is_some() {}
                }
            }
        }
        if let Some(end) = piece.end {
            return self.last(fetch, end, said, out);
        }
        self.say(fetch, said, out);
        match fetch.congested {
            true => Next::Held,
            false => Next::Ask(fetch.more()),
        }
    }

    /// All of it is there.
    fn last(
        &mut self,
        fetch: &mut Fetch,
        end: State,
        mut said: BytesMut,
        out: &mut Vec<Output>,
    ) -> Next {
        let Some(found) = fetch.found.take() else {
            return Next::Ended;
        };
        if found.status != 200 && !fetch.head_sent {
            let body = fetch.body.split().freeze();
            return self.tell_whole(fetch, (found.status, &found.kind), body, out);
        }
        let streams = matches!(fetch.want, Want::Events { .. });
        match (found.form, streams) {
            (Form::Whole, false) if end == State::Interrupted => {
                let fault = interrupted();
                let (status, body) = dialect::write_error(fetch.dialect, &fault, &fetch.id);
                return self.tell_whole(fetch, (status, JSON), body, out);
            }
            (Form::Whole, false) => {
                let body = fetch.body.split().freeze();
                return self.tell_whole(fetch, (200, &found.kind), body, out);
            }
            (Form::Whole, true) => {
                let most = self.event_bytes_max();
                let body = fetch.body.split().freeze();
                fetch.found = Some(found);
                fetch.stream_whole(&body, end, most, &mut said);
            }
            _ => {
                fetch.found = Some(found);
                if end == State::Interrupted {
                    fetch.interrupt(&mut said);
                }
            }
        }
        self.say(fetch, said, out);
        if !fetch.head_sent {
            self.say_empty(fetch, out);
        }
        if let To::Http(client) = fetch.to {
            out.push(Output::End { client });
        }
        Next::Ended
    }

    /// A piece of a stream goes to the client.
    fn say(&mut self, fetch: &mut Fetch, said: BytesMut, out: &mut Vec<Output>) {
        if said.is_empty() {
            return;
        }
        let (client, bytes) = (fetch.client(), said.freeze());
        match fetch.to {
            To::Http(_) if !fetch.head_sent => {
                let head = self.stream_head(fetch);
                out.push(Output::Respond {
                    client,
                    head,
                    body: bytes,
                    end: false,
                });
            }
            _ => out.push(Output::Write { client, bytes }),
        }
        fetch.head_sent = true;
    }

    fn say_empty(&mut self, fetch: &mut Fetch, out: &mut Vec<Output>) {
        if let To::Http(client) = fetch.to {
            let head = self.stream_head(fetch);
            out.push(Output::Respond {
                client,
                head,
                body: Bytes::new(),
                end: false,
            });
        }
        fetch.head_sent = true;
    }

    fn stream_head(&self, fetch: &Fetch) -> ResponseHead {
        let kind = match (&fetch.want, &fetch.found) {
            (Want::Again, Some(found)) if found.form == Form::Array => crate::shard::stream::ARRAY,
            _ => EVENT_STREAM,
        };
        let mut head = head_of(fetch, 200, kind);
        head.headers
            .push(("cache-control", Str::from_static("no-cache")));
        head.headers
            .push(("x-accel-buffering", Str::from_static("no")));
        head
    }

    fn tell_json(&mut self, fetch: &mut Fetch, body: Bytes, out: &mut Vec<Output>) -> Next {
        self.tell_whole(fetch, (200, JSON), body, out)
    }

    fn tell_whole(
        &mut self,
        fetch: &mut Fetch,
        (status, kind): (u16, &str),
        body: Bytes,
        out: &mut Vec<Output>,
    ) -> Next {
        match &fetch.to {
            To::Http(client) => out.push(Output::Respond {
                client: *client,
                head: head_of(fetch, status, kind),
                body,
                end: true,
            }),
            To::Socket { client, request_id } => {
                let fault = dialect::read_error(fetch.dialect, status, &body);
                self.socket_refuse(*client, request_id.as_ref(), &fault, out);
            }
        }
        Next::Ended
    }

    fn done(&mut self, fetch: &mut Fetch, done: bool, out: &mut Vec<Output>) -> Next {
        let id = Json::of(&&*fetch.id);
        let (cancels, native) = (
            fetch.want == Want::Cancel,
            fetch.dialect == DialectName::Native,
        );
        let body = match (cancels, done, native) {
            (true, true, true) => format!("{{\"id\":{},\"cancelled\":true}}", id.get()),
            (true, true, false) => format!(
                "{{\"id\":{},\"object\":\"response\",\"status\":\"cancelled\",\"output\":[]}}",
                id.get()
            ),
            (false, true, true) => format!("{{\"id\":{},\"deleted\":true}}", id.get()),
            (false, true, false) => format!(
                "{{\"id\":{},\"object\":\"response\",\"deleted\":true}}",
                id.get()
            ),
            (true, false, _) => {
                let message = format!("no answer with id '{}' is running", fetch.id);
                return Next::Refused(Fault::new(FaultClass::NotFound, message));
            }
            (false, false, _) => {
                let message = format!(
                    "no answer with id '{}' that has ended; a running one must be cancelled first",
                    fetch.id
                );
                return Next::Refused(Fault::new(FaultClass::NotFound, message));
            }
        };
        self.tell_json(fetch, body.into(), out)
    }

    fn event_bytes_max(&self) -> usize {
        // Whole answers are events too, in the end of a native stream.
        let limits = &self.desk.config().limits;
        limits.event_bytes_max.max(limits.answer_bytes_max) * 2
    }

    pub(super) fn drop_fetch(&mut self, slot: Slot) {
        if let Some(fetch) = self.fetches.remove(slot) {
            self.quiet.remove(&(fetch.comment_at, slot));
        }
    }

    /// Those of a WebSocket that has ended.
    pub(super) fn fetches_of_socket(&mut self, client: ClientId) {
        for slot in self.on_socket(client) {
            self.drop_fetch(slot);
        }
    }

    fn on_socket(&self, of: ClientId) -> Vec<Slot> {
        let own = |to: &To| matches!(to, To::Socket { client, .. } if *client == of);
        let all = self.fetches.iter().filter(|(_, fetch)| own(&fetch.to));
        all.map(|(slot, _)| slot).collect()
    }

    pub(super) fn socket_fetches_flow(
        &mut self,
        client: ClientId,
        congested: bool,
        out: &mut Vec<Output>,
    ) {
        for slot in self.on_socket(client) {
            self.fetch_flow(slot, congested, out);
        }
    }

    pub(super) fn fetch_flow(&mut self, slot: Slot, congested: bool, out: &mut Vec<Output>) {
        let Some(fetch) = self.fetches.get_mut(slot) else {
            return;
        };
        fetch.congested = congested;
        if !congested && std::mem::take(&mut fetch.held) {
            let (tenant, what) = (fetch.tenant.clone(), fetch.more());
            ask(slot, tenant, what, out);
        }
    }

    /// Who waits for a running answer in silence is sent a comment (FIELD-BUGS 46).
    pub(super) fn heed_quiet(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some((at, slot)) = self
            .quiet
            .first()
            .copied()
            .filter(|(at, _)| *at <= now.instant)
        {
            self.quiet.remove(&(at, slot));
            let again = now.instant + self.desk.config().limits.sse_comment;
            let Some(mut fetch) = self.fetches.lend(slot) else {
                continue;
            };
            if fetch.comments() && !fetch.congested {
                let comment = BytesMut::from(sse::KEEP_ALIVE);
                self.say(&mut fetch, comment, out);
            }
            fetch.comment_at = again;
            self.quiet.insert((again, slot));
            self.fetches.put_back(slot, fetch);
        }
    }
}

/// What becomes of a fetch.
enum Next {
    Ask(What),
    /// Its client has to read first.
    Held,
    Ended,
    Refused(Fault),
}

impl Fetch {
    fn more(&self) -> What {
        What::Read {
            id: self.id.clone(),
            from: self.from,
        }
    }

    /// Whether it is a stream of server-sent events over HTTP, of which the form is known.
    fn comments(&self) -> bool {
        let http = matches!(self.to, To::Http(_));
        let sse = |found: &Found| match self.want {
            Want::Events { .. } => true,
            Want::Again => found.form == Form::Sse && self.head_sent,
            _ => false,
        };
        http && self.found.as_deref().is_some_and(sse)
    }

    /// Cuts `bytes` into events, and says those that are wanted.
    fn cut(&mut self, bytes: Bytes, said: &mut BytesMut) {
        let Some(mut cutter) = self.cutter.take() else {
            return;
        };
        cutter.feed(bytes);
        while let Some(numbered) = cutter.next() {
            self.tell_event(&numbered, said);
        }
        self.cutter = Some(cutter);
    }

    fn tell_event(&self, numbered: &replay::Numbered, said: &mut BytesMut) {
        let Want::Events {
            after,
            numbered: with,
        } = self.want
        else {
            return;
        };
        if after.is_some_and(|after| numbered.number <= after) {
            return;
        }
        match &self.to {
            To::Socket { request_id, .. } => {
                replay::write_framed(numbered, request_id.as_deref(), said);
            }
            To::Http(_) if with || numbered.event.raw.is_empty() => {
                replay::write_numbered(numbered, said);
            }
            To::Http(_) => said.extend_from_slice(&numbered.event.raw),
        }
    }

    /// An answer that was one body, as the native dialect would have streamed it.
    fn stream_whole(&mut self, body: &Bytes, end: State, most: usize, said: &mut BytesMut) {
        let Some(found) = &self.found else {
            return;
        };
        let mut told = dialect_answer(found, body, most);
        let (opening, closing) = match &mut told {
            Some(answer) => about(self, found, answer),
            None => (self.opening(), Closing::default()),
        };
        let opening = Opening {
            bare: false,
            ..opening
        };
        self.cutter = Some(Cutter::new(DialectName::Native, Framing::Sse, most));
        match told.filter(|_| end != State::Interrupted) {
            Some(answer) => self.cut(replay::streamed(&answer, opening, &closing), said),
            None => self.interrupt(said),
        }
    }

    /// Says that there is no more, in the words of its stream.
    fn interrupt(&mut self, said: &mut BytesMut) {
        let Some(cutter) = &self.cutter else {
            return;
        };
        let mut told = BytesMut::new();
        let opening = Opening {
            bare: false,
            ..self.opening()
        };
        let framed = self.found.as_ref().is_some_and(|f| f.form == Form::Frames);
        let as_sent = Opening {
            bare: framed,
            ..opening.clone()
        };
        let closing = Closing {
            cost: NanoUsd::ZERO,
            ..Closing::default()
        };
        match self.want {
            Want::Events { .. } => {
                cutter.fail(as_sent, &interrupted(), &closing, &mut told);
                self.cut(told.freeze(), said);
            }
            _ => cutter.fail(opening, &interrupted(), &closing, said),
        }
    }
}

fn ask(slot: Slot, tenant: Str, what: What, out: &mut Vec<Output>) {
    out.push(Output::Post(Mail::Ask(Box::new(Question {
        asker: Asker::Fetch(slot),
        tenant,
        what,
    }))));
}

fn head_of(fetch: &Fetch, status: u16, kind: &str) -> ResponseHead {
    let kind = if kind.is_empty() { JSON } else { kind };
    let mut headers = vec![("content-type", kind.into())];
    if !fetch.id.is_empty() {
        headers.push(("x-stokehold-id", fetch.id.clone()));
        headers.push((request_id_header(fetch.dialect), fetch.id.clone()));
    }
    if fetch.want == Want::Again {
        headers.push(("x-stokehold-replayed", Str::from_static("true")));
    }
    ResponseHead { status, headers }
}

fn framing(form: Form) -> Framing {
    match form {
        Form::Whole => Framing::Whole,
        Form::Sse => Framing::Sse,
        Form::Frames => Framing::Frames,
        Form::Array => Framing::Array,
    }
}

fn dialect_answer(found: &Found, sent: &Bytes, most: usize) -> Option<Answer> {
    // What was sent instead of an answer is none.
    let form = framing(found.form);
    (found.status == 200).then(|| replay::answer(found.dialect, form, sent, most))?
}

/// What the answer says of itself, as far as its client was not told it.
fn about(fetch: &Fetch, found: &Found, answer: &mut Answer) -> (Opening, Closing) {
    if answer.usage == Usage::default() {
        answer.usage = found.about.usage.clone();
    }
    let opening = Opening {
        model: found.about.model.clone(),
        created: found.about.created,
        endpoint: found.about.endpoint.clone(),
        decision: found.about.decision.clone(),
        ..fetch.opening()
    };
    let closing = Closing {
        cost: found.about.cost,
        total: found.about.total,
        first_byte: None,
    };
    (opening, closing)
}

fn whole(fetch: &Fetch, found: &Found, most: usize) -> Bytes {
    let sent = found.sent.clone().unwrap_or_default();
    let mut answer = dialect_answer(found, &sent, most);
    let (opening, closing) = match &mut answer {
        Some(answer) => about(fetch, found, answer),
        None => (fetch.opening(), Closing::default()),
    };
    replay::write_found(&found.summary, answer.as_ref(), &opening, &closing)
}

fn response(fetch: &Fetch, found: &Found, most: usize) -> Bytes {
    let sent = found.sent.clone().unwrap_or_default();
    // What was said in Responses is told as it was.
    if (found.dialect, found.form) == (DialectName::Responses, Form::Whole)
        && found.status == 200
        && !sent.is_empty()
    {
        return sent;
    }
    let mut answer = dialect_answer(found, &sent, most).unwrap_or_default();
    let (opening, closing) = about(fetch, found, &mut answer);
    let status = match found.state {
        State::Running => Some("in_progress"),
        State::Cancelled => Some("cancelled"),
        State::Failed | State::Interrupted => Some("failed"),
        State::Complete => None,
    };
    let told = dialect::write_answer(DialectName::Responses, &answer, &opening, &closing);
    match status {
        Some(status) => replay::with_status(&told, status),
        None => told,
    }
}

fn listed(answers: &[Str], more: bool) -> Bytes {
    let all: Vec<&str> = answers.iter().map(|answer| &**answer).collect();
    format!("{{\"answers\":[{}],\"more\":{more}}}", all.join(",")).into()
}

fn interrupted() -> Fault {
    let message = "the router was interrupted while this answer came; what came until then is here";
    Fault::new(FaultClass::UpstreamBroken, message).with_code("interrupted")
}

/// The same words whether it is another's or nobody's.
fn not_found(id: &str) -> Fault {
    let shown: String = id.chars().take(100).collect();
    Fault::new(
        FaultClass::NotFound,
        format!("no answer with id '{shown}' is stored here"),
    )
}
