//! One request of a client over HTTP/2, from its head to its answer's last byte: hyper's request becomes inputs, the shard's outputs
//! become hyper's response.

use super::body::collect;
use super::clients::{Next, Wanted};
use super::framing::request::method_name;
use super::presence::{From, Presence};
use super::runtime::Runtime;
use crate::shard::{ClientHead, Headers, Input, ResponseHead};
use bytes::Bytes;
use futures_lite::future::or;
use http::header::{CONTENT_LENGTH, HOST, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The answer was broken off: hyper closes the connection, or resets the stream.
#[derive(Debug)]
pub(super) struct BrokenOff;

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer was broken off")
    }
}

impl std::error::Error for BrokenOff {}

/// Answers one request.
pub(super) async fn serve<R: Runtime>(
    from: Rc<From<R>>,
    request: Request<Incoming>,
) -> Result<Response<ClientBody<R>>, BrokenOff> {
    let Some(presence) = from.enter() else {
        return Ok(no_room());
    };
    let (parts, mut body) = request.into_parts();
    let head = client_head(parts, body.size_hint().exact(), from.peer);
    let client = presence.id;
    from.core.step(Input::Head { client, head });
    let mut wanted = presence.wanted().await;
    loop {
        wanted = match wanted {
            Wanted::Body { bytes_max } => read(&presence, &mut body, bytes_max).await,
            Wanted::Respond(head) => return Ok(respond(presence, head)),
            // Nobody asked for an upgrade, which HTTP/2 does not have.
            Wanted::Upgrade { .. } | Wanted::Abort => return Err(BrokenOff),
        };
    }
}

/// Reads the body and gives it to the shard; what the shard wants then. It may say so before the body is whole.
async fn read<R: Runtime>(presence: &Presence<R>, body: &mut Incoming, bytes_max: u64) -> Wanted {
    let (core, client) = (&presence.core, presence.id);
    let limits = core.limits();
    let reading = async {
        let input = match collect(body, bytes_max, &limits, &core.bodies, &core.wheel).await {
            Ok(body) => Input::Body { client, body },
            Err(why) => Input::BodyFailed { client, why },
        };
        core.step(input);
        presence.wanted().await
    };
    or(reading, presence.wanted()).await
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

fn respond<R: Runtime>(presence: Presence<R>, head: ResponseHead) -> Response<ClientBody<R>> {
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
    response
}

/// hyper's head as the shard reads it.
fn client_head(parts: http::request::Parts, length: Option<u64>, peer: IpAddr) -> ClientHead {
    let said = parts.headers.contains_key(CONTENT_LENGTH) || length == Some(0);
    ClientHead {
        method: method_name(parts.method.as_str()),
        path: Bytes::copy_from_slice(parts.uri.path().as_bytes()),
        query: Bytes::copy_from_slice(parts.uri.query().unwrap_or("").as_bytes()),
        headers: headers(&parts),
        content_length: length.filter(|_| said),
        websocket: false,
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
