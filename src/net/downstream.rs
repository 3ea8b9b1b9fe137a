//! One request of a client, from its head to its answer's last byte: hyper's request becomes inputs, the shard's outputs become
//! hyper's response. The same for HTTP/1.1 and HTTP/2.

use super::body::collect;
use super::clients::{Next, Wanted};
use super::conn::Conn;
use super::run::Core;
use super::runtime::Runtime;
use crate::base::ClientId;
use crate::shard::{ClientHead, Headers, Input, ResponseHead};
use bytes::Bytes;
use futures_lite::future::or;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::cell::Cell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Where requests of one connection come from.
pub(super) struct From<R: Runtime> {
    pub(super) core: Core<R>,
    pub(super) conn: Rc<Conn>,
    pub(super) peer: IpAddr,
    /// Who the connection belongs to after a 101.
    pub(super) upgraded: Cell<Option<Presence<R>>>,
}

/// The answer was broken off: hyper closes the connection, or resets the stream.
#[derive(Debug)]
pub(super) struct BrokenOff;

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer was broken off")
    }
}

impl std::error::Error for BrokenOff {}

/// A client that is there. To drop it is to tell the shard, unless the shard had said its last word.
pub(super) struct Presence<R: Runtime> {
    pub(super) core: Core<R>,
    pub(super) conn: Rc<Conn>,
    pub(super) id: ClientId,
    /// A WebSocket's session is kept by the shard until it is told of its end.
    socket: Cell<bool>,
}

impl<R: Runtime> Drop for Presence<R> {
    fn drop(&mut self) {
        self.conn.ended();
        let over = self.core.clients.leave(self.id);
        if !over || self.socket.get() {
            self.core.step(Input::ClientGone { client: self.id });
        }
    }
}

/// Answers one request.
pub(super) async fn serve<R: Runtime>(
    from: Rc<From<R>>,
    request: Request<Incoming>,
) -> Result<Response<ClientBody<R>>, BrokenOff> {
    if !is_framed_plainly(request.headers()) {
        from.conn.refused.set(true);
        return Ok(not_framed_plainly());
    }
    let Some(presence) = enter(&from) else {
        return Ok(no_room());
    };
    let (parts, mut body) = request.into_parts();
    let version = parts.version;
    let head = client_head(parts, body.size_hint().exact(), from.peer);
    let client = presence.id;
    from.core.step(Input::Head { client, head });
    let mut wanted = next_wanted(&presence).await;
    loop {
        wanted = match wanted {
            Wanted::Body { bytes_max } => read(&presence, &mut body, bytes_max).await,
            Wanted::Respond(head) => {
                let refused = version < Version::HTTP_2 && from.conn.refused.get();
                return Ok(respond(presence, head, refused));
            }
            Wanted::Upgrade { accept } => return Ok(upgrade(&from, presence, accept)),
            Wanted::Abort => return Err(BrokenOff),
        };
    }
}

/// Whether a body is framed by `chunked` alone, or by no coding at all. hyper looks only at whether `chunked` comes last (RFC 9112, 6.3): it
/// would read `gzip, chunked` as if the body were plain, and `chunked, chunked`, which nobody may send (6.1), as if it were said once.
fn is_framed_plainly(headers: &HeaderMap) -> bool {
    let mut said = headers.get_all(TRANSFER_ENCODING).iter();
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    said.next().is_none_or(plain) && said.next().is_none()
}

/// A coding that we do not understand (RFC 9112, 6.1). Where such a body ends is not agreed, so the connection ends with the answer; and
/// before a request is read it has no dialect.
fn not_framed_plainly<R: Runtime>() -> Response<ClientBody<R>> {
    const WHY: &[u8] = b"a transfer-encoding other than `chunked` is not served\n";
    let mut response = Response::new(ClientBody::Whole(Bytes::from_static(WHY)));
    *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn enter<R: Runtime>(from: &From<R>) -> Option<Presence<R>> {
    let id = from.core.clients.enter()?;
    from.conn.began();
    Some(Presence {
        core: from.core.clone(),
        conn: Rc::clone(&from.conn),
        id,
        socket: Cell::new(false),
    })
}

async fn next_wanted<R: Runtime>(presence: &Presence<R>) -> Wanted {
    poll_fn(|cx| presence.core.clients.poll_wanted(presence.id, cx)).await
}

/// Reads the body and gives it to the shard; what the shard wants then. It may say so before the body is whole.
async fn read<R: Runtime>(presence: &Presence<R>, body: &mut Incoming, bytes_max: u64) -> Wanted {
    let (core, client) = (&presence.core, presence.id);
    let limits = core.limits();
    let reading = async {
        let input = match collect(body, bytes_max, &limits, &core.bodies, &core.wheel).await {
            Ok(body) => Input::Body { client, body },
            Err(why) => {
                presence.conn.refused.set(true);
                Input::BodyFailed { client, why }
            }
        };
        core.step(input);
        next_wanted(presence).await
    };
    or(next_wanted(presence), reading).await
}

/// The slab of clients is full. It has room for more than the shard takes, so this is rare, and in no dialect.
fn no_room<R: Runtime>() -> Response<ClientBody<R>> {
    let mut response = Response::new(ClientBody::Whole(Bytes::new()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn respond<R: Runtime>(
    presence: Presence<R>,
    head: ResponseHead,
    close: bool,
) -> Response<ClientBody<R>> {
    let whole = presence.core.clients.take_whole(presence.id);
    let body = match whole {
        Some(bytes) => ClientBody::Whole(bytes),
        None => ClientBody::Parts(Some(presence)),
    };
    let mut response = Response::new(body);
    // A status out of range is a fault of ours; 500 is what HTTP calls that.
    *response.status_mut() =
        StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in head.headers {
        // A value that HTTP cannot carry (a line end) would forge headers: it is left out.
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_lowercase(name.as_bytes()),
            HeaderValue::from_maybe_shared(value.into_bytes()),
        ) {
            response.headers_mut().append(name, value);
        }
    }
    if close {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn upgrade<R: Runtime>(
    from: &From<R>,
    presence: Presence<R>,
    accept: String,
) -> Response<ClientBody<R>> {
    presence.socket.set(true);
    from.upgraded.set(Some(presence));
    let mut response = Response::new(ClientBody::Whole(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_maybe_shared(Bytes::from(accept)) {
        headers.insert(HeaderName::from_static("sec-websocket-accept"), accept);
    }
    response
}

/// hyper's head as the shard reads it.
fn client_head(parts: http::request::Parts, length: Option<u64>, peer: IpAddr) -> ClientHead {
    let websocket = asks_for_websocket(&parts);
    let said = parts.headers.contains_key(CONTENT_LENGTH) || length == Some(0);
    ClientHead {
        method: method_name(&parts.method),
        path: Bytes::copy_from_slice(parts.uri.path().as_bytes()),
        query: Bytes::copy_from_slice(parts.uri.query().unwrap_or("").as_bytes()),
        headers: headers(&parts),
        content_length: length.filter(|_| said),
        websocket,
        peer,
    }
}

fn headers(parts: &http::request::Parts) -> Headers {
    // In HTTP/2 the host is a part of the target; shards find it where HTTP/1.1 has it.
    let authority = parts
        .uri
        .authority()
        .filter(|_| !parts.headers.contains_key(HOST));
    let of = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let bytes: usize = parts.headers.iter().map(of).sum();
    let host = authority.map_or(0, |host| "host".len() + host.as_str().len());
    let mut all = Headers::with_capacity(parts.headers.len() + 1, bytes + host);
    if let Some(host) = authority {
        all.push(b"host", host.as_str().as_bytes());
    }
    for (name, value) in &parts.headers {
        all.push(name.as_str().as_bytes(), value.as_bytes());
    }
    all
}

fn method_name(method: &Method) -> Bytes {
    match *method {
        Method::GET => Bytes::from_static(b"GET"),
        Method::POST => Bytes::from_static(b"POST"),
        Method::DELETE => Bytes::from_static(b"DELETE"),
        _ => Bytes::copy_from_slice(method.as_str().as_bytes()),
    }
}

/// RFC 6455 section 4.2.1; in HTTP/1.1 only.
fn asks_for_websocket(parts: &http::request::Parts) -> bool {
    let has = |name: HeaderName, token: &str| {
        let values = parts.headers.get_all(name);
        let mut tokens = values
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','));
        tokens.any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && has(UPGRADE, "websocket")
        && has(CONNECTION, "upgrade")
}

/// The answer's body. Everything that was queued becomes one frame, so what one readiness brought is one write.
pub(super) enum ClientBody<R: Runtime> {
    /// All of it is known: it is sent with its length.
    Whole(Bytes),
    Parts(Option<Presence<R>>),
}

impl<R: Runtime> Body for ClientBody<R> {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let presence = match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Whole(bytes) => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))));
            }
            Self::Parts(presence) => presence,
        };
        let Some(here) = presence else {
            return Poll::Ready(None);
        };
        let bound = here.core.limits().client_buffer_bytes;
        match here.core.clients.poll_next(here.id, bound, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Next::Bytes { bytes, eased }) => {
                if eased {
                    here.core.step(Input::Eased { client: here.id });
                }
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Ready(Next::End) => {
                *presence = None;
                Poll::Ready(None)
            }
            Poll::Ready(Next::Abort) => {
                *presence = None;
                Poll::Ready(Some(Err(BrokenOff)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Parts(presence) => presence.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Parts(_) => SizeHint::default(),
        }
    }
}
