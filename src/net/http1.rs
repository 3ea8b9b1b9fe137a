//! One connection of a client over HTTP/1.1, of our own over `httparse`: a proxy's data path is what this project is for.
//!
//! A head is parsed where the kernel put it, in the buffer of this core; what came of its body is copied once, and not at all where the
//! body came whole behind it. An answer that is known whole is one write, with its head; of a stream, what one readiness brought is one
//! write. A connection that idles, and a stream that waits, hold no buffer. Never answers out of order; reads ahead of what it serves only
//! to see a client's end, and within a bound.

use super::body::collect;
use super::clients::{Next, Wanted};
use super::conn::Leaving;
use super::downstream::BrokenOff;
use super::framing::is_clean;
use super::framing::request::{self, Asked, Body, Bounds, Manner, Refusal};
use super::presence::{From, Presence};
use super::runtime::{Runtime, clock};
use super::spare::Spare;
use crate::base::WallTime;
use crate::config::Limits;
use crate::shard::{Input, ResponseHead};
use bytes::Bytes;
use futures_lite::future::{or, yield_now};
use futures_lite::{AsyncRead, AsyncWrite};
use http::StatusCode;
use http_body::{Frame, SizeHint};
use std::future::poll_fn;
use std::io::{self, IoSlice, Write as _};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// A client's connection.
pub(super) struct Line<R: Runtime, S> {
    from: Rc<From<R>>,
    limits: Rc<Limits>,
    pub(super) stream: S,
    /// Read and not yet used.
    ahead: Vec<u8>,
    /// So much of `ahead` was found to be no whole head.
    seen: usize,
}

/// How a connection's requests came to an end.
pub(super) enum Ended<R: Runtime> {
    /// In order: it is told so.
    Clean,
    /// Lost, or broken off on purpose.
    Broken,
    /// It is a WebSocket now, of which these bytes have come.
    Upgraded(Presence<R>, Bytes),
}

/// After an answer: `Continue` when another request may follow.
type After<R> = ControlFlow<Ended<R>>;

/// What is read ahead of what is served at most.
const AHEAD_BYTES_MAX: usize = 64 << 10;
/// Up to here it is cheaper to copy a body behind its head than to write two slices.
const JOINED_BYTES_MAX: usize = 32 << 10;
/// Requests, or reads of a body, in one turn, so that one busy client leaves room for the others.
const TURNS_MAX: u32 = 16;

impl<R: Runtime, S: AsyncRead + AsyncWrite + Unpin> Line<R, S> {
    /// `ahead` was read from `stream` already.
    pub(super) fn new(from: Rc<From<R>>, limits: Rc<Limits>, stream: S, ahead: Vec<u8>) -> Self {
        Self {
            from,
            limits,
            stream,
            ahead,
            seen: 0,
        }
    }

    /// Answers one request after the other. Who polls watches the connection's deadline.
    pub(super) async fn serve(&mut self) -> Ended<R> {
        let mut turns = 0;
        loop {
            let after = match poll_fn(|cx| self.poll_head(cx)).await {
                Some(Ok(asked)) => self.answer(asked).await,
                Some(Err(refusal)) => self.refuse(refusal).await,
                None => return Ended::Clean,
            };
            if let ControlFlow::Break(ended) = after {
                return ended;
            }
            turns += 1;
            if turns % TURNS_MAX == 0 {
                yield_now().await;
            }
        }
    }

    /// The next request's head; `None` when there is none to come.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Asked, Refusal>>> {
        loop {
            if !self.ahead.is_empty() {
                self.from.conn.moved();
                match self.head_ahead() {
                    Ok(None) => {}
                    Ok(Some(asked)) => return Poll::Ready(Some(Ok(asked))),
                    Err(refusal) => return Poll::Ready(Some(Err(refusal))),
                }
            } else if self.leaving() {
                return Poll::Ready(None);
            }
            let core = &self.from.core;
            let scratch = &mut *core.scratch.borrow_mut();
            let Ok(read @ 1..) = ready!(Pin::new(&mut self.stream).poll_read(cx, scratch)) else {
                return Poll::Ready(None);
            };
            let came = &scratch[..read];
            if !self.ahead.is_empty() {
                self.ahead.extend_from_slice(came);
                continue;
            }
            self.from.conn.moved();
            match request::read(came, bounds(&self.limits), self.from.peer) {
                Ok(None) => {
                    self.ahead.extend_from_slice(came);
                    self.seen = self.ahead.len();
                }
                Ok(Some((asked, used))) => {
                    self.ahead.extend_from_slice(&came[used..]);
                    return Poll::Ready(Some(Ok(asked)));
                }
                Err(refusal) => return Poll::Ready(Some(Err(refusal))),
            }
        }
    }

    fn head_ahead(&mut self) -> Result<Option<Asked>, Refusal> {
        let bounds = bounds(&self.limits);
        let seen = std::mem::replace(&mut self.seen, self.ahead.len());
        if seen > 0 && self.ahead.len() <= bounds.bytes && !request::may_end(&self.ahead, seen) {
            return Ok(None);
        }
        let Some((asked, used)) = request::read(&self.ahead, bounds, self.from.peer)? else {
            return Ok(None);
        };
        self.seen = 0;
        if used == self.ahead.len() {
            // A connection that idles shall hold no buffer.
            self.ahead = Vec::new();
        } else {
            self.ahead.drain(..used);
        }
        Ok(Some(asked))
    }

    fn leaving(&self) -> bool {
        self.from.core.connections.leaving() != Leaving::Stay
    }

    async fn answer(&mut self, asked: Asked) -> After<R> {
        let Asked {
            head,
            mut body,
            manner,
        } = asked;
        let Some(presence) = self.from.enter() else {
            return self.no_room(manner, body).await;
        };
        let client = presence.id;
        presence.core.step(Input::Head { client, head });
        let mut wanted = self.wanted(&presence).await;
        loop {
            wanted = match wanted {
                Some(Wanted::Body { bytes_max }) => {
                    self.body(&presence, &mut body, manner, bytes_max).await
                }
                Some(Wanted::Respond(head)) => {
                    return self.respond(presence, head, manner, body).await;
                }
                Some(Wanted::Upgrade { accept }) => return self.upgrade(presence, &accept).await,
                Some(Wanted::Abort) | None => return ControlFlow::Break(Ended::Broken),
            };
        }
    }

    /// What the shard wants next; `None` when the client has gone.
    async fn wanted(&mut self, presence: &Presence<R>) -> Option<Wanted> {
        let clients = &presence.core.clients;
        poll_fn(|cx| {
            if let Poll::Ready(wanted) = clients.poll_wanted(presence.id, cx) {
                return Poll::Ready(Some(wanted));
            }
            self.poll_gone(cx).map(|()| None)
        })
        .await
    }

    /// Ready when the client has closed. Bytes that come first are kept for who reads next; when those fill the bound, the end
    /// cannot be seen before they are read.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ahead.len() < AHEAD_BYTES_MAX {
            let scratch = &mut *self.from.core.scratch.borrow_mut();
            match ready!(Pin::new(&mut self.stream).poll_read(cx, scratch)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(read) => self.ahead.extend_from_slice(&scratch[..read]),
            }
        }
        Poll::Pending
    }

    /// Reads the body and gives it to the shard; what the shard wants then. It may say so before the body is whole.
    async fn body(
        &mut self,
        presence: &Presence<R>,
        body: &mut Body,
        manner: Manner,
        bytes_max: u64,
    ) -> Option<Wanted> {
        let (core, client) = (&presence.core, presence.id);
        let limits = Rc::clone(&self.limits);
        let mut coming = Coming {
            to_say: manner
                .expects
                .then(|| Piece::new(CONTINUE.to_vec(), Bytes::new(), b"")),
            line: self,
            body,
            turns: 0,
        };
        let reading =
            async { Ok(collect(&mut coming, bytes_max, &limits, &core.bodies, &core.wheel).await) };
        // The shard's word before its time: `Err`.
        let early = async { Err(presence.wanted().await) };
        let input = match or(reading, early).await {
            Ok(Ok(body)) => Input::Body { client, body },
            Ok(Err(why)) => {
                presence.conn.refused.set(true);
                Input::BodyFailed { client, why }
            }
            Err(wanted) => return Some(wanted),
        };
        core.step(input);
        self.wanted(presence).await
    }

    async fn respond(
        &mut self,
        presence: Presence<R>,
        head: ResponseHead,
        manner: Manner,
        body: Body,
    ) -> After<R> {
        let keep = self.may_keep(manner, body);
        match presence.core.clients.take_whole(presence.id) {
            Some(whole) => {
                // The exchange is over; what is left is a write, which the connection's deadline bounds.
                drop(presence);
                self.write_whole(&head, manner, keep, whole).await
            }
            None => self.write_parts(presence, &head, manner, keep).await,
        }
    }

    /// Whether another request may follow: not after a body that was not read, whose rest would be taken for one.
    fn may_keep(&mut self, manner: Manner, mut body: Body) -> bool {
        let refused = &self.from.conn.refused;
        if !body.is_over() {
            let rest = body.take(&mut self.ahead);
            if rest.is_err() || !body.is_over() {
                refused.set(true);
            }
        }
        manner.keep && !refused.get() && !self.leaving()
    }

    async fn write_whole(
        &mut self,
        head: &ResponseHead,
        manner: Manner,
        keep: bool,
        body: Bytes,
    ) -> After<R> {
        let core = self.from.core.clone();
        let mut lead = core.head.take();
        write_head(&mut lead, head, manner, keep);
        if !has_no_body(head) {
            let _ = write!(lead, "content-length: {}\r\n", body.len());
        }
        lead.extend_from_slice(b"\r\n");
        let silent = manner.bodiless || has_no_body(head);
        let body = if silent { Bytes::new() } else { body };
        let mut piece = Piece::new(lead, body, b"");
        let written = poll_fn(|cx| self.poll_piece(&mut piece, cx)).await;
        piece.give_back(&core.head);
        after(written.is_ok(), keep)
    }

    /// A stream, in chunks; for HTTP/1.0, which has none, up to the connection's end.
    async fn write_parts(
        &mut self,
        presence: Presence<R>,
        head: &ResponseHead,
        manner: Manner,
        keep: bool,
    ) -> After<R> {
        let silent = manner.bodiless || has_no_body(head);
        // Without chunks the connection's end is the body's.
        let chunked = !manner.old && !has_no_body(head);
        let keep = keep && (chunked || silent);
        let mut lead = self.from.core.head.take();
        write_head(&mut lead, head, manner, keep);
        if chunked {
            lead.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        lead.extend_from_slice(b"\r\n");
        let mut stream = Streaming {
            piece: Piece::new(lead, Bytes::new(), b""),
            chunked,
            bodiless: silent,
            // The head waits for the first bytes, if those are there.
            last: false,
        };
        let ended = poll_fn(|cx| self.poll_parts(&presence, &mut stream, cx)).await;
        stream.piece.give_back(&self.from.core.head);
        drop(presence);
        after(ended.is_ok(), keep)
    }

    /// Ready when all is written, or the answer was broken off, or the client has gone.
    fn poll_parts(
        &mut self,
        presence: &Presence<R>,
        stream: &mut Streaming,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BrokenOff>> {
        let (core, client) = (&presence.core, presence.id);
        let bound = self.limits.client_buffer_bytes;
        loop {
            // The head goes out with the first bytes, where those are there.
            if stream.piece.closed {
                match self.poll_piece(&mut stream.piece, cx) {
                    Poll::Ready(Ok(())) if stream.last => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(())) => stream.piece.give_back(&core.head),
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(BrokenOff)),
                    Poll::Pending => return self.poll_gone(cx).map(|()| Err(BrokenOff)),
                }
            }
            match core.clients.poll_next(client, bound, cx) {
                Poll::Ready(Next::Bytes { bytes, eased }) => {
                    if eased {
                        core.step(Input::Eased { client });
                    }
                    stream.last = core.clients.has_ended(client);
                    stream.add(bytes, &core.head);
                }
                Poll::Ready(Next::End) => {
                    stream.last = true;
                    stream.add(Bytes::new(), &core.head);
                }
                Poll::Ready(Next::Abort) => return Poll::Ready(Err(BrokenOff)),
                Poll::Pending if stream.piece.is_empty() => {
                    return self.poll_gone(cx).map(|()| Err(BrokenOff));
                }
                Poll::Pending => stream.piece.closed = true,
            }
        }
    }

    /// Writes what is left of `piece`, all of it.
    fn poll_piece(&mut self, piece: &mut Piece, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !piece.is_done() {
            ready!(piece.poll_some(&mut self.stream, cx))?;
        }
        // TLS keeps records back until it is flushed.
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    async fn upgrade(&mut self, presence: Presence<R>, accept: &str) -> After<R> {
        presence.socket.set(true);
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
        );
        let mut piece = Piece::new(head.into_bytes(), Bytes::new(), b"");
        match poll_fn(|cx| self.poll_piece(&mut piece, cx)).await {
            Ok(()) => {
                let first = Bytes::from(std::mem::take(&mut self.ahead));
                ControlFlow::Break(Ended::Upgraded(presence, first))
            }
            Err(_) => ControlFlow::Break(Ended::Broken),
        }
    }

    /// What is no request that we read ends the connection: where the next would begin is not agreed.
    async fn refuse(&mut self, refusal: Refusal) -> After<R> {
        self.from.conn.refused.set(true);
        let head = ResponseHead {
            status: refusal.status(),
            headers: vec![("content-type", "text/plain; charset=utf-8".into())],
        };
        let why = Bytes::from(format!("{}\n", refusal.why()));
        self.write_whole(&head, UNREAD, false, why).await
    }

    /// The table of clients is full. It has room for more than the shard takes, so this is rare, and in no dialect.
    async fn no_room(&mut self, manner: Manner, body: Body) -> After<R> {
        let head = ResponseHead {
            status: 503,
            headers: vec![("retry-after", "1".into())],
        };
        let keep = self.may_keep(manner, body);
        self.write_whole(&head, manner, keep, Bytes::new()).await
    }
}

/// How who sent something unreadable is answered.
const UNREAD: Manner = Manner {
    keep: false,
    old: false,
    bodiless: false,
    expects: false,
};

/// RFC 9110 sections 15.3.5 and 15.4.5: whatever is said of it, nothing follows the head.
fn has_no_body(head: &ResponseHead) -> bool {
    matches!(head.status, 204 | 304)
}

fn bounds(limits: &Limits) -> Bounds {
    Bounds {
        bytes: limits.header_bytes_max,
        fields: limits.header_count_max,
    }
}

fn after<R: Runtime>(written: bool, keep: bool) -> After<R> {
    match (written, keep) {
        (true, true) => ControlFlow::Continue(()),
        (true, false) => ControlFlow::Break(Ended::Clean),
        (false, _) => ControlFlow::Break(Ended::Broken),
    }
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A body as it comes, for who collects it.
struct Coming<'a, R: Runtime, S> {
    line: &'a mut Line<R, S>,
    body: &'a mut Body,
    /// `100 Continue`, to who waits for it before sending (RFC 9110 section 10.1.1).
    to_say: Option<Piece>,
    turns: u32,
}

impl<R: Runtime, S: AsyncRead + AsyncWrite + Unpin> Coming<'_, R, S> {
    /// `None`: nothing more of this body will come.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.body.is_over() {
            return Poll::Ready(None);
        }
        loop {
            if !self.line.ahead.is_empty() {
                let data = self.body.take(&mut self.line.ahead).ok();
                // A read that brought framing alone brings no data.
                if data.as_ref().is_none_or(|data| !data.is_empty()) || self.body.is_over() {
                    return Poll::Ready(data);
                }
            }
            if let Some(to_say) = &mut self.to_say {
                if ready!(self.line.poll_piece(to_say, cx)).is_err() {
                    return Poll::Ready(None);
                }
                self.to_say = None;
            }
            self.turns += 1;
            if self.turns.is_multiple_of(TURNS_MAX) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let scratch = &mut *self.line.from.core.scratch.borrow_mut();
            match ready!(Pin::new(&mut self.line.stream).poll_read(cx, scratch)) {
                Ok(0) | Err(_) => return Poll::Ready(None),
                Ok(read) => self.line.ahead.extend_from_slice(&scratch[..read]),
            }
        }
    }
}

impl<R: Runtime, S: AsyncRead + AsyncWrite + Unpin> http_body::Body for Coming<'_, R, S> {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.body.is_over() {
            return Poll::Ready(None);
        }
        let data = ready!(self.poll_data(cx));
        // An end before the body's end: the rest is lost, or was no framing.
        Poll::Ready(Some(data.map(Frame::data).ok_or(BrokenOff)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .left()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A stream on its way.
struct Streaming {
    piece: Piece,
    chunked: bool,
    bodiless: bool,
    /// Nothing follows what is in `piece`.
    last: bool,
}

impl Streaming {
    /// Adds what is to be written next, as a chunk; behind the head where that was not written yet.
    fn add(&mut self, data: Bytes, heads: &Spare) {
        if self.piece.is_empty() {
            self.piece = Piece::new(heads.take(), Bytes::new(), b"");
        }
        let piece = &mut self.piece;
        piece.closed = true;
        let data = if self.bodiless { Bytes::new() } else { data };
        if !self.chunked || self.bodiless {
            piece.data = data;
            return;
        }
        piece.tail = match (data.is_empty(), self.last) {
            (true, _) => b"0\r\n\r\n",
            (false, true) => b"\r\n0\r\n\r\n",
            (false, false) => b"\r\n",
        };
        if !data.is_empty() {
            let _ = write!(piece.lead, "{:x}\r\n", data.len());
        }
        piece.data = data;
    }
}

/// What is written in one go: bytes of ours, bytes of the answer, bytes of ours.
struct Piece {
    lead: Vec<u8>,
    data: Bytes,
    tail: &'static [u8],
    written: usize,
    /// Nothing is added to it any more.
    closed: bool,
}

impl Piece {
    fn new(mut lead: Vec<u8>, data: Bytes, tail: &'static [u8]) -> Self {
        let joined = data.len() <= JOINED_BYTES_MAX;
        if joined {
            lead.extend_from_slice(&data);
        }
        Self {
            lead,
            data: if joined { Bytes::new() } else { data },
            tail,
            written: 0,
            closed: false,
        }
    }

    fn len(&self) -> usize {
        self.lead.len() + self.data.len() + self.tail.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_done(&self) -> bool {
        self.written == self.len()
    }

    fn poll_some(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); 3];
        let (mut count, mut from) = (0, self.written);
        for part in [&self.lead[..], &self.data, self.tail] {
            let rest = &part[from.min(part.len())..];
            from = from.saturating_sub(part.len());
            if !rest.is_empty() {
                slices[count] = IoSlice::new(rest);
                count += 1;
            }
        }
        let wrote = ready!(Pin::new(stream).poll_write_vectored(cx, &slices[..count]))?;
        if wrote == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += wrote;
        Poll::Ready(Ok(()))
    }

    /// Empties it, and gives its buffer back to the core.
    fn give_back(&mut self, heads: &Spare) {
        heads.give(std::mem::take(&mut self.lead));
        *self = Self::new(Vec::new(), Bytes::new(), b"");
    }
}

/// The head of an answer, up to what says how long it is.
fn write_head(to: &mut Vec<u8>, head: &ResponseHead, manner: Manner, keep: bool) {
    // A status out of range is a fault of ours; 500 is what HTTP calls that.
    let status = StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    to.extend_from_slice(b"HTTP/1.1 ");
    to.extend_from_slice(status.as_str().as_bytes());
    to.push(b' ');
    to.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    to.extend_from_slice(b"\r\n");
    for (name, value) in &head.headers {
        // A value that HTTP cannot carry (a line end) would forge headers: it is left out.
        if !is_clean(name) || !is_clean(value) {
            continue;
        }
        to.extend_from_slice(name.as_bytes());
        to.extend_from_slice(b": ");
        to.extend_from_slice(value.as_bytes());
        to.extend_from_slice(b"\r\n");
    }
    if !keep {
        to.extend_from_slice(b"connection: close\r\n");
    } else if manner.old {
        to.extend_from_slice(b"connection: keep-alive\r\n");
    }
    write_date(to, clock().wall);
}

thread_local! {
    /// The second that was last written, and how.
    static DATE: std::cell::Cell<(i64, [u8; 29])> = const { std::cell::Cell::new((i64::MIN, [0; 29])) };
}

/// RFC 9110 section 6.6.1. Written out once a second.
fn write_date(to: &mut Vec<u8>, now: WallTime) {
    let second = now.seconds();
    let (mut known, mut text) = DATE.get();
    if known != second {
        let after = std::time::Duration::from_secs(second.max(0).unsigned_abs());
        let date = httpdate::HttpDate::from(std::time::UNIX_EPOCH + after).to_string();
        let Ok(written) = date.as_bytes().try_into() else {
            return;
        };
        (known, text) = (second, written);
        DATE.set((known, text));
    }
    to.extend_from_slice(b"date: ");
    to.extend_from_slice(&text);
    to.extend_from_slice(b"\r\n");
}
