//! New connections to origins: name → addresses → socket → TLS.
//!
//! Names are resolved elsewhere; what comes back is used for `NAMES_KEPT`, and longer when asking again fails. Addresses are tried
//! in their order, the next one after a failure or 250 ms (a plain form of RFC 8305). How long a whole dial may take is the
//! shard's to say: it cancels.

use super::pool::Pool;
use super::run::Core;
use super::runtime::{Runtime, clock};
use super::tls::bare;
use crate::base::Instant;
use crate::config::Http2;
use crate::shard::UpstreamFault;
use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::client::TlsStream;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a name's addresses are used without asking again.
const NAMES_KEPT: Duration = Duration::from_secs(30);
/// RFC 8305 section 5: the connection attempt delay.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// A connection to an origin.
pub(super) enum Link<R: Runtime> {
    Plain(R::Stream),
    Tls(Box<TlsStream<R::Stream>>),
}

/// Addresses of a name, as last resolved.
#[derive(Default)]
pub(super) struct Names {
    addresses: Vec<IpAddr>,
    until: Instant,
}

/// Connects. True when the origin speaks HTTP/2 on this connection.
pub(super) async fn dial<R: Runtime>(
    core: &Core<R>,
    pool: &Pool<R>,
) -> Result<(Link<R>, bool), UpstreamFault> {
    let prepared = &pool.prepared;
    let addresses = resolve(core, pool).await?;
    let stream = connect(core, addresses, prepared.origin.port).await?;
    let always = prepared.origin.http2 == Http2::Always;
    let Some((config, name)) = prepared.tls.clone() else {
        return Ok((Link::Plain(stream), always));
    };
    let shaking = futures_rustls::TlsConnector::from(config).connect(name, stream);
    let stream = shaking
        .await
        .map_err(|e| UpstreamFault::Tls(e.to_string()))?;
    let http2 = always || stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Link::Tls(Box::new(stream)), http2))
}

async fn resolve<R: Runtime>(core: &Core<R>, pool: &Pool<R>) -> Result<Vec<IpAddr>, UpstreamFault> {
    let host = bare(&pool.prepared.origin.host);
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let now = clock().instant;
    {
        let names = pool.names.borrow();
        if now < names.until {
            return Ok(names.addresses.clone());
        }
    }
    let fault = |why: &str| UpstreamFault::Resolve(format!("{host}: {why}"));
    let resolved = (core.resolve)(host).await;
    let mut names = pool.names.borrow_mut();
    match resolved {
        Ok(addresses) if !addresses.is_empty() => {
            *names = Names {
                addresses: addresses.clone(),
                until: now + NAMES_KEPT,
            };
            Ok(addresses)
        }
        // Old addresses are better than none.
        _ if !names.addresses.is_empty() => Ok(names.addresses.clone()),
        Ok(_) => Err(fault("the name has no address")),
        Err(why) => Err(fault(&why)),
    }
}

type Connecting<'a, S> = Pin<Box<dyn Future<Output = io::Result<S>> + 'a>>;

/// The first of `addresses` that answers.
async fn connect<R: Runtime>(
    core: &Core<R>,
    addresses: Vec<IpAddr>,
    port: u16,
) -> Result<R::Stream, UpstreamFault> {
    let mut left = addresses.into_iter().map(|ip| SocketAddr::new(ip, port));
    let mut trying: Vec<Connecting<'_, R::Stream>> = Vec::new();
    let mut last = UpstreamFault::Connect("no address".to_owned());
    let mut impatient = core.wheel.sleep(NEXT_ADDRESS);
    let mut begin = true;
    poll_fn(|cx| {
        loop {
            if std::mem::take(&mut begin)
                && let Some(to) = left.next()
            {
                trying.push(Box::pin(core.runtime.connect(to)));
                impatient.reset(clock().instant + NEXT_ADDRESS);
            }
            let mut at = 0;
            while at < trying.len() {
                match trying[at].as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        last = UpstreamFault::Connect(error.to_string());
                        drop(trying.swap_remove(at));
                        begin = true;
                    }
                    Poll::Pending => at += 1,
                }
            }
            let more = left.len() > 0;
            if !begin && more && Pin::new(&mut impatient).poll(cx).is_ready() {
                begin = true;
            }
            if !more && trying.is_empty() {
                return Poll::Ready(Err(last.clone()));
            }
            if !(begin && more) {
                return Poll::Pending;
            }
        }
    })
    .await
}

impl<R: Runtime> AsyncRead for Link<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl<R: Runtime> AsyncWrite for Link<R> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_close(cx),
            Self::Tls(stream) => Pin::new(stream).poll_close(cx),
        }
    }
}
