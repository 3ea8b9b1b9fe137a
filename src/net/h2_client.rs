//! HTTP/2 towards origins, on the `h2` crate.
//!
//! Window is given back as the shard takes data, and not while a call is paused: a provider cannot send more than one window
//! ahead. All frames that are ready become one input.

use super::dial::Link;
use super::pool::Lease;
use super::runtime::{Runtime, clock};
use super::tls::Prepared;
use super::upstream::{Broke, Running};
use crate::base::Instant;
use crate::shard::{Call, Headers, UpstreamFault};
use bytes::{Bytes, BytesMut};
use futures_lite::{AsyncRead, AsyncWrite};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;

/// What a stream's answer may be ahead of who reads it.
const WINDOW_BYTES: u32 = 256 << 10;
/// Frames that are ready are joined up to here.
const JOINED_BYTES_MAX: usize = 64 << 10;
const TURNS_MAX: u32 = 16;

/// A connection that several calls use.
pub(super) struct Shared {
    /// `None` once it shall take no more.
    send: RefCell<Option<SendRequest<Bytes>>>,
    pub(super) streams: Cell<u32>,
    /// When its last stream ended.
    pub(super) since: Cell<Instant>,
    pub(super) closed: Cell<bool>,
}

impl Shared {
    /// Shakes hands; the future runs the connection to its end.
    pub(super) async fn begin<R: Runtime>(
        link: Link<R>,
        streams_max: u32,
    ) -> Result<(Self, impl Future<Output = ()> + 'static), UpstreamFault> {
        // Room for every stream's window, so that a paused stream does not hold the others up.
        let window = WINDOW_BYTES
            .saturating_mul(streams_max.max(4))
            .min(i32::MAX as u32);
        let shaken = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(window)
            .max_header_list_size(64 << 10)
            .max_send_buffer_size(256 << 10)
            .handshake::<_, Bytes>(Adapter(link))
            .await;
        let (send, connection) = shaken.map_err(|_| UpstreamFault::Reset)?;
        let shared = Self {
            send: RefCell::new(Some(send)),
            streams: Cell::new(0),
            since: Cell::new(clock().instant),
            closed: Cell::new(false),
        };
        // Its errors reach the calls by their streams.
        Ok((shared, async move { drop(connection.await) }))
    }

    pub(super) fn has_room(&self, streams_max: u32) -> bool {
        let send = self.send.borrow();
        let allowed = send
            .as_ref()
            .map_or(0, SendRequest::current_max_send_streams);
        let open = self.streams.get();
        !self.closed.get() && open < streams_max && (open as usize) < allowed
    }

    /// Takes no more calls; the connection ends with its last stream.
    pub(super) fn close(&self) {
        self.closed.set(true);
        drop(self.send.take());
    }
}

/// Sends `call` on a stream and reads its answer. With `again`, a stream that the peer has not begun to work on is `Broke::Unused`.
/// To drop this future is to reset the stream.
pub(super) async fn exchange<R: Runtime>(
    running: &Running<R>,
    prepared: &Prepared,
    lease: Lease,
    call: &Call,
    again: bool,
) -> Result<(), Broke> {
    let send = lease.0.send.borrow().clone();
    let request = request(prepared, call).ok_or_else(|| {
        fault(UpstreamFault::Malformed(
            "a call that is not HTTP".to_owned(),
        ))
    })?;
    let broke = |error: h2::Error| {
        if is_over(&error) {
            lease.0.close();
        }
        if again && is_unused(&error) {
            Broke::Unused
        } else {
            fault(of(&error))
        }
    };
    let Some(send) = send else {
        return Err(Broke::Unused);
    };
    let mut send = send.ready().await.map_err(|error| {
        lease.0.close();
        // No stream was opened, so nothing was sent.
        if again {
            Broke::Unused
        } else {
            fault(of(&error))
        }
    })?;
    let bodiless = call.body.iter().all(Bytes::is_empty);
    let (mut answer, mut body) = send.send_request(request, bodiless).map_err(broke)?;
    let sent = bodiless || {
        let mut rest: Vec<Bytes> = call
            .body
            .iter()
            .filter(|s| !s.is_empty())
            .cloned()
            .collect();
        rest.reverse();
        poll_fn(|cx| poll_send(&mut body, &mut rest, &mut answer, cx))
            .await
            .is_none()
    };
    if sent {
        running.sent();
    }
    let response = answer.await.map_err(broke)?;
    let (parts, stream) = response.into_parts();
    running.head(parts.status.as_u16(), headers(&parts.headers));
    receive(running, stream)
        .await
        .map_err(|error| fault(of(&error)))
}

fn fault(why: UpstreamFault) -> Broke {
    Broke::Fault(why)
}

fn of(error: &h2::Error) -> UpstreamFault {
    match error.reason() {
        Some(Reason::PROTOCOL_ERROR | Reason::FRAME_SIZE_ERROR | Reason::COMPRESSION_ERROR) => {
            UpstreamFault::Malformed(error.to_string())
        }
        _ => UpstreamFault::Reset,
    }
}

/// RFC 9113 section 8.7: refused streams, and those above a GOAWAY's last, were not worked on.
fn is_unused(error: &h2::Error) -> bool {
    let refused = error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away() && error.reason() == Some(Reason::NO_ERROR))
}

fn is_over(error: &h2::Error) -> bool {
    error.is_io() || error.is_go_away()
}

fn request(prepared: &Prepared, call: &Call) -> Option<Request<()>> {
    let scheme = if prepared.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let uri = http::Uri::builder()
        .scheme(scheme)
        .authority(prepared.authority.as_str())
        .path_and_query(call.path.as_str())
        .build()
        .ok()?;
    let mut request = Request::builder().method(call.method).uri(uri);
    for (name, value) in &call.headers {
        request = request.header(&**name, &**value);
    }
    let length: usize = call.body.iter().map(Bytes::len).sum();
    if length > 0 {
        request = request.header(http::header::CONTENT_LENGTH, length);
    }
    request.body(()).ok()
}

/// Hands the body to h2 as the peer's window allows. `Some`: an answer (or an end) came first, and the rest is not wanted.
fn poll_send(
    to: &mut SendStream<Bytes>,
    rest: &mut Vec<Bytes>,
    answer: &mut ResponseFuture,
    cx: &mut Context<'_>,
) -> Poll<Option<()>> {
    // Nobody is told of informational answers, but they must be taken.
    while let Poll::Ready(Some(Ok(_))) = answer.poll_informational(cx) {}
    while let Some(slice) = rest.last_mut() {
        if to.capacity() == 0 {
            to.reserve_capacity(slice.len());
            match ready!(to.poll_capacity(cx)) {
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return Poll::Ready(Some(())),
            }
        }
        let part = slice.split_to(to.capacity().min(slice.len()));
        if slice.is_empty() {
            rest.pop();
        }
        if to.send_data(part, rest.is_empty()).is_err() {
            return Poll::Ready(Some(()));
        }
    }
    Poll::Ready(None)
}

/// Reads the answer's body to its end. Trailers say nothing to a router.
async fn receive<R: Runtime>(
    running: &Running<R>,
    mut stream: RecvStream,
) -> Result<(), h2::Error> {
    let mut turns = 0;
    while let Some(bytes) = poll_fn(|cx| poll_data(running, &mut stream, cx)).await? {
        running.bytes(bytes);
        turns += 1;
        if turns % TURNS_MAX == 0 {
            futures_lite::future::yield_now().await;
        }
    }
    Ok(())
}

/// All data that is ready, as one; no copy when it is one frame.
fn poll_data<R: Runtime>(
    running: &Running<R>,
    stream: &mut RecvStream,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Bytes>, h2::Error>> {
    if running.control.is_paused() {
        return Poll::Pending;
    }
    let Some(first) = ready!(stream.poll_data(cx)).transpose()? else {
        return Poll::Ready(Ok(None));
    };
    stream.flow_control().release_capacity(first.len())?;
    let mut joined = BytesMut::new();
    while first.len() + joined.len() < JOINED_BYTES_MAX && !stream.is_end_stream() {
        // An end or an error shows again at the next call.
        let Poll::Ready(Some(Ok(more))) = stream.poll_data(cx) else {
            break;
        };
        stream.flow_control().release_capacity(more.len())?;
        if joined.is_empty() {
            joined.reserve(first.len() + more.len());
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&more);
    }
    Poll::Ready(Ok(Some(if joined.is_empty() {
        first
    } else {
        joined.freeze()
    })))
}

fn headers(map: &HeaderMap) -> Headers {
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let mut all = Headers::with_capacity(map.len(), map.iter().map(bytes).sum());
    for (name, value) in map {
        all.push(name.as_str().as_bytes(), value.as_bytes());
    }
    all
}

/// A connection as h2 wants it: with tokio's traits.
struct Adapter<R: Runtime>(Link<R>);

impl<R: Runtime> tokio::io::AsyncRead for Adapter<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, buf.initialize_unfilled()))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<R: Runtime> tokio::io::AsyncWrite for Adapter<R> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self.0, Link::Plain(_))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
