//! Listener and protocol detection: HTTP/1.1, HTTP/2 by its preface, TLS by its first byte, on one port.
//!
//! Bounded: `connections_max` a shard; beyond it a connection is closed at once, which costs an `accept` and a `close`.

use super::conn::{Conn, Leaving};
use super::downstream::serve;
use super::http1::{Ended, Line};
use super::hyper_rt::{HyperExecutor, HyperStream, HyperTimer};
use super::presence::From;
use super::run::Core;
use super::runtime::{Runtime, clock};
use super::socket;
use super::wheel::Sleep;
use super::wire::Wire;
use crate::base::{Instant, Slot};
use crate::config::Limits;
use futures_lite::future::or;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use rustls::ServerConfig;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Takes connections until the core drains. With `tls`, a connection may begin with a TLS handshake; it need not.
pub async fn listen<R: Runtime>(
    core: Core<R>,
    listener: R::Listener,
    tls: Option<Arc<ServerConfig>>,
) {
    loop {
        let accepted = or(
            async { Some(core.runtime.accept(&listener).await) },
            leaving(&core),
        );
        match accepted.await {
            Some(Ok((stream, from))) => take(&core, stream, from.ip(), tls.clone()),
            // Out of descriptors, or the connection was reset before it was taken: the next may do.
            Some(Err(_)) => core.wheel.sleep(ACCEPT_PAUSE).await,
            None => return,
        }
    }
}

/// After a failed `accept`: long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

async fn leaving<R: Runtime, T>(core: &Core<R>) -> Option<T> {
    poll_fn(|cx| {
        core.connections.watch(cx);
        if core.connections.leaving() == Leaving::Stay {
            Poll::Pending
        } else {
            Poll::Ready(None)
        }
    })
    .await
}

fn take<R: Runtime>(
    core: &Core<R>,
    stream: R::Stream,
    peer: IpAddr,
    tls: Option<Arc<ServerConfig>>,
) {
    let limits = core.limits();
    let Some((slot, conn)) = core.connections.enter(limits.connections_max) else {
        return;
    };
    let place = Place {
        core: core.clone(),
        slot,
    };
    let from = From {
        core: core.clone(),
        conn,
        peer,
    };
    core.runtime.spawn(async move {
        let place = place;
        Driver {
            from: Rc::new(from),
            limits,
        }
        .run(stream, tls)
        .await;
        drop(place);
    });
}

/// A connection's place among all, given back when it ends in any way.
struct Place<R: Runtime> {
    core: Core<R>,
    slot: Slot,
}

impl<R: Runtime> Drop for Place<R> {
    fn drop(&mut self) {
        self.core.connections.leave(self.slot);
    }
}

/// One connection of a client.
struct Driver<R: Runtime> {
    from: Rc<From<R>>,
    limits: Rc<Limits>,
}

/// What a connection speaks, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
    Tls,
}

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first byte of a TLS record that holds a handshake (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// `None`: more bytes are needed. `Err`: nothing we speak.
fn detect(bytes: &[u8], tls: bool) -> Result<Option<Speaks>, ()> {
    match bytes.first() {
        None => Ok(None),
        Some(&TLS_HANDSHAKE) if tls => Ok(Some(Speaks::Tls)),
        _ if bytes.starts_with(PREFACE) => Ok(Some(Speaks::Http2)),
        _ if PREFACE.starts_with(bytes) => Ok(None),
        // Every method in use is of capital letters; an empty line before a request is allowed (RFC 9112 section 2.2).
        Some(b'A'..=b'Z' | b'\r' | b'\n') => Ok(Some(Speaks::Http1)),
        Some(_) => Err(()),
    }
}

impl<R: Runtime> Driver<R> {
    async fn run(self, mut stream: R::Stream, tls: Option<Arc<ServerConfig>>) {
        let first = first_bytes(&self.from.core, &mut stream, tls.is_some());
        let Some((speaks, ahead)) = self.in_time(first).await else {
            return;
        };
        // Boxed but for the commonest, which else would be as large as the largest.
        match (speaks, tls) {
            (Speaks::Http1, _) => self.http1(stream, ahead).await,
            (Speaks::Http2, _) => Box::pin(self.http2(Wire::new(stream, ahead))).await,
            (Speaks::Tls, Some(config)) => {
                Box::pin(self.tls(Wire::new(stream, ahead), config)).await;
            }
            (Speaks::Tls, None) => {}
        }
    }

    async fn tls(self, wire: Wire<R::Stream>, config: Arc<ServerConfig>) {
        let shaking = futures_rustls::TlsAcceptor::from(config).accept(wire);
        let Some(stream) = self.in_time(async { shaking.await.ok() }).await else {
            return;
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if http2 {
            Box::pin(self.http2(Wire::new(stream, Vec::new()))).await;
        } else {
            Box::pin(self.http1(stream, Vec::new())).await;
        }
    }

    /// `None` also when it took longer than a head may, or the node leaves.
    async fn in_time<T>(&self, work: impl Future<Output = Option<T>>) -> Option<T> {
        let late = self.from.core.wheel.sleep(self.limits.header_time);
        let work = or(work, async {
            late.await;
            None
        });
        let conn = &self.from.conn;
        or(
            work,
            poll_fn(|cx| {
                conn.watch(cx);
                if self.leaving() == Leaving::Stay {
                    Poll::Pending
                } else {
                    Poll::Ready(None)
                }
            }),
        )
        .await
    }

    fn leaving(&self) -> Leaving {
        self.from.core.connections.leaving()
    }

    async fn http1<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S, ahead: Vec<u8>) {
        let mut line = Line::new(
            Rc::clone(&self.from),
            Rc::clone(&self.limits),
            stream,
            ahead,
        );
        let mut clock = Deadline::new(self.from.core.wheel.sleep_until(Instant::NEVER));
        let ended = {
            let mut serving = pin!(line.serve());
            poll_fn(|cx| {
                self.from.conn.watch(cx);
                if self.leaving() == Leaving::Now {
                    return Poll::Ready(Ended::Broken);
                }
                if let Poll::Ready(ended) = serving.as_mut().poll(cx) {
                    return Poll::Ready(ended);
                }
                let late = clock.poll(&self.from.conn, &self.limits, cx);
                late.map(|()| Ended::Broken)
            })
            .await
        };
        match ended {
            Ended::Upgraded(presence, first) => {
                socket::relay(presence, &mut line.stream, first).await;
            }
            Ended::Clean => self.close(&mut line.stream, true).await,
            Ended::Broken => self.close(&mut line.stream, false).await,
        }
    }

    /// Says goodbye. After a refused body it reads away what still comes, for a while, so that the client can read the answer.
    async fn close<S: AsyncRead + AsyncWrite + Unpin>(&self, wire: &mut S, clean: bool) {
        if !clean && !self.from.conn.refused.get() {
            return;
        }
        let late = self.from.core.wheel.sleep(LINGER);
        let closing = async {
            if wire.close().await.is_err() || !self.from.conn.refused.get() {
                return;
            }
            let mut buffer = vec![0; 16 << 10];
            let mut read = 0;
            while let Ok(1..) = wire.read(&mut buffer).await.inspect(|count| read += count) {
                if read > LINGER_BYTES_MAX {
                    return;
                }
            }
        };
        or(closing, late).await;
    }

    async fn http2<S: AsyncRead + AsyncWrite + Unpin + 'static>(self, wire: Wire<S>) {
        let from = Rc::clone(&self.from);
        let service = service_fn(move |request| serve(Rc::clone(&from), request));
        self.from.conn.idle();
        let mut wire = wire;
        let mut conn = pin!(
            self.http2_builder()
                .serve_connection(HyperStream::new(wire.clone()), service)
        );
        let mut clock = Deadline::new(self.from.core.wheel.sleep_until(Instant::NEVER));
        let mut told = false;
        poll_fn(|cx| {
            self.from.conn.watch(cx);
            if self.leaving() == Leaving::Now {
                return Poll::Ready(());
            }
            if self.leaving() == Leaving::Finish && !told {
                conn.as_mut().graceful_shutdown();
                told = true;
            }
            if conn.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            match clock.poll(&self.from.conn, &self.limits, cx) {
                // Idle for too long: GOAWAY, and a little later the end.
                Poll::Ready(()) if !told => {
                    conn.as_mut().graceful_shutdown();
                    told = true;
                    clock.later(LINGER);
                    conn.as_mut().poll(cx).map(drop)
                }
                late => late,
            }
        })
        .await;
        self.close(&mut wire, true).await;
    }

    fn http2_builder(&self) -> http2::Builder<HyperExecutor<R>> {
        let core = &self.from.core;
        let mut builder = http2::Builder::new(HyperExecutor(core.runtime.clone()));
        builder
            .timer(HyperTimer(core.wheel.clone()))
            .max_concurrent_streams(self.limits.h2_streams_max)
            .max_header_list_size(u32::try_from(self.limits.header_bytes_max).unwrap_or(u32::MAX))
            // Bodies are prompts: 256 KiB in flight a stream fill a fast network; a connection has room for sixteen such.
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(4 << 20)
            // What waits in h2 for a slow client comes on top of `client_buffer_bytes`, so it is small.
            .max_send_buf_size(64 << 10)
            // Floods of resets (CVE-2023-44487, CVE-2025-8671): a connection that does that is ended.
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(256)
            // Finds out about clients that vanished without a word.
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        builder
    }
}

/// How long a goodbye may take, and what is read away meanwhile.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 16 << 20;

async fn first_bytes<R: Runtime>(
    core: &Core<R>,
    stream: &mut R::Stream,
    tls: bool,
) -> Option<(Speaks, Vec<u8>)> {
    let mut bytes = Vec::new();
    poll_fn(|cx| {
        loop {
            let scratch = &mut *core.scratch.borrow_mut();
            let Ok(read @ 1..) = ready!(Pin::new(&mut *stream).poll_read(cx, scratch)) else {
                return Poll::Ready(None);
            };
            bytes.extend_from_slice(&scratch[..read]);
            match detect(&bytes, tls) {
                Ok(None) => {}
                Ok(Some(speaks)) => {
                    return Poll::Ready(Some((speaks, std::mem::take(&mut bytes))));
                }
                Err(()) => return Poll::Ready(None),
            }
        }
    })
    .await
}

/// A connection's deadline, which moves with what it is at.
struct Deadline {
    sleep: Sleep,
    armed: Instant,
}

impl Deadline {
    fn new(sleep: Sleep) -> Self {
        Self {
            sleep,
            armed: Instant::NEVER,
        }
    }

    fn later(&mut self, time: Duration) {
        self.armed = clock().instant + time;
        self.sleep.reset(self.armed);
    }

    /// Ready when the connection is over its time. A deadline that moved away is looked at again only when the old one comes, so
    /// a request costs no work on the wheel.
    fn poll(&mut self, conn: &Conn, limits: &Limits, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = conn.deadline(limits);
        if deadline < self.armed {
            self.armed = deadline;
            self.sleep.reset(deadline);
        }
        while Pin::new(&mut self.sleep).poll(cx).is_ready() {
            let deadline = conn.deadline(limits);
            if deadline <= clock().instant {
                return Poll::Ready(());
            }
            self.armed = deadline;
            self.sleep.reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_protocol_wherever_they_are_cut() {
        for cut in 1..PREFACE.len() {
            assert_eq!(detect(&PREFACE[..cut], false), Ok(None), "cut at {cut}");
        }
        assert_eq!(detect(PREFACE, false), Ok(Some(Speaks::Http2)));
        assert_eq!(detect(b"P", true), Ok(None));
        assert_eq!(detect(b"PO", true), Ok(Some(Speaks::Http1)));
        assert_eq!(detect(b"GET", true), Ok(Some(Speaks::Http1)));
        assert_eq!(detect(&[TLS_HANDSHAKE], true), Ok(Some(Speaks::Tls)));
        assert_eq!(detect(&[TLS_HANDSHAKE], false), Err(()));
        assert_eq!(detect(b"\0", true), Err(()));
    }
}
