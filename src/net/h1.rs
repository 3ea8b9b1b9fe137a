//! HTTP/1.1 towards origins, of our own over `httparse`: a proxy's data path is what this project is for.
//!
//! A request of up to 32 KiB is one write, head and body together; a larger one is written from its slices. One read is one input,
//! however many chunks it holds. Never pipelines.

use super::dial::Link;
use super::framing::{Fed, Reader, is_clean};
use super::runtime::Runtime;
use super::tls::Prepared;
use super::upstream::{Broke, Running};
use crate::shard::{Call, UpstreamFault};
use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite};
use std::future::poll_fn;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Up to here it is cheaper to copy a body behind its head than to write two slices.
const JOINED_BYTES_MAX: usize = 32 << 10;
/// Reads in one turn, so that one fast answer leaves room for the others.
const TURNS_MAX: u32 = 16;

/// Sends `call` and reads its answer; the connection, when it may carry another. With `again`, an end before
/// the request was written whole is `Broke::Unused`.
pub(super) async fn exchange<R: Runtime>(
    running: &Running<R>,
    prepared: &Prepared,
    link: Link<R>,
    call: &Call,
    again: bool,
) -> Result<Option<Link<R>>, Broke> {
    let mut exchange = Exchange {
        running,
        link,
        reader: Reader::new(call.method),
        early: Vec::new(),
        began: false,
    };
    let written = exchange.send(prepared, call).await?;
    // A request that was written whole may have been worked on, and paid for: whether it is sent again is the shard's to decide, and to
    // write down.
    let lost = if again && written.is_err() {
        Broke::Unused
    } else {
        Broke::Fault(UpstreamFault::Reset)
    };
    if written.is_ok() {
        running.sent();
    }
    // A provider that refuses early may have answered although we could not write all.
    match exchange.receive().await {
        Err(Broke::Fault(UpstreamFault::Reset)) if !exchange.began => Err(lost),
        Err(broke) => Err(broke),
        Ok(()) => {
            let keep = written.is_ok() && exchange.reader.may_keep();
            Ok(keep.then_some(exchange.link))
        }
    }
}

struct Exchange<'a, R: Runtime> {
    running: &'a Running<R>,
    link: Link<R>,
    reader: Reader,
    /// What came before the request was written whole.
    early: Vec<u8>,
    /// Something of an answer came.
    began: bool,
}

impl<R: Runtime> Exchange<'_, R> {
    /// The inner error: not all could be written.
    async fn send(&mut self, prepared: &Prepared, call: &Call) -> Result<io::Result<()>, Broke> {
        let heads = &self.running.core.head;
        let mut head = heads.take();
        if let Err(why) = write_head(&mut head, prepared, call) {
            return Err(Broke::Fault(UpstreamFault::Malformed(why.to_owned())));
        }
        let length: usize = call.body.iter().map(Bytes::len).sum();
        let mut rest: Vec<Bytes> = Vec::new();
        if length <= JOINED_BYTES_MAX {
            call.body
                .iter()
                .for_each(|slice| head.extend_from_slice(slice));
        } else {
            rest.extend(call.body.iter().filter(|slice| !slice.is_empty()).cloned());
            rest.reverse();
        }
        let mut writing = Writing {
            head: &head,
            written: 0,
            rest,
        };
        let written = poll_fn(|cx| self.poll_send(&mut writing, cx)).await;
        heads.give(head);
        Ok(written)
    }

    fn poll_send(
        &mut self,
        writing: &mut Writing<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if writing.is_done() {
                return Pin::new(&mut self.link).poll_flush(cx);
            }
            match writing.poll_some(&mut self.link, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(self.poll_early(cx));
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
            }
        }
    }

    /// Ready when the provider says something, or ends, before it has read all. Who waits for us to read would wait for ever.
    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let scratch = &mut *self.running.core.scratch.borrow_mut();
        if let Ok(read) = ready!(Pin::new(&mut self.link).poll_read(cx, scratch)) {
            self.early.extend_from_slice(&scratch[..read]);
        }
        Poll::Ready(())
    }

    async fn receive(&mut self) -> Result<(), Broke> {
        let mut turns = 0;
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.began = true;
            let fed = self.reader.feed(&early).map_err(malformed)?;
            if self.pass_on(fed) {
                return Ok(());
            }
        }
        loop {
            match poll_fn(|cx| self.poll_feed(cx)).await? {
                Some(fed) => {
                    self.began = true;
                    if self.pass_on(fed) {
                        return Ok(());
                    }
                }
                None if self.reader.ended() => return Ok(()),
                None => return Err(Broke::Fault(UpstreamFault::Reset)),
            }
            turns += 1;
            if turns % TURNS_MAX == 0 {
                futures_lite::future::yield_now().await;
            }
        }
    }

    /// What one read brought; `None` at the end of the connection, or when it was reset.
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Fed>, Broke>> {
        if self.running.control.is_paused() {
            return Poll::Pending;
        }
        let scratch = &mut *self.running.core.scratch.borrow_mut();
        Poll::Ready(
            match ready!(Pin::new(&mut self.link).poll_read(cx, scratch)) {
                Ok(0) => Ok(None),
                Ok(read) => self
                    .reader
                    .feed(&scratch[..read])
                    .map(Some)
                    .map_err(malformed),
                // Without its close_notify, TLS cannot tell an end from a cut; nor is a reset an end.
                Err(_) => Err(Broke::Fault(UpstreamFault::Reset)),
            },
        )
    }

    /// True when the answer is whole, or nobody wants the rest.
    fn pass_on(&mut self, fed: Fed) -> bool {
        if let Some((status, headers)) = fed.head {
            self.running.head(status, headers);
        }
        self.running.bytes(fed.data);
        fed.done || self.running.is_cancelled()
    }
}

fn malformed(why: &'static str) -> Broke {
    Broke::Fault(UpstreamFault::Malformed(why.to_owned()))
}

/// What is still to be written.
struct Writing<'a> {
    head: &'a [u8],
    written: usize,
    /// Slices of the body, the first one last.
    rest: Vec<Bytes>,
}

/// Slices in one call of the kernel.
const SLICES_MAX: usize = 8;

impl Writing<'_> {
    fn is_done(&self) -> bool {
        self.written == self.head.len() && self.rest.is_empty()
    }

    fn poll_some(
        &mut self,
        link: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let head = &self.head[self.written..];
        let mut slices = [IoSlice::new(head); SLICES_MAX];
        let mut count = usize::from(!head.is_empty());
        for slice in self.rest.iter().rev().take(SLICES_MAX - 1) {
            slices[count] = IoSlice::new(slice);
            count += 1;
        }
        let wrote = ready!(Pin::new(link).poll_write_vectored(cx, &slices[..count]))?;
        if wrote == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_head = wrote.min(head.len());
        self.advance(of_head, wrote - of_head);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, of_head: usize, mut of_body: usize) {
        self.written += of_head;
        while of_body > 0
            && let Some(slice) = self.rest.last_mut()
        {
            if slice.len() > of_body {
                drop(slice.split_to(of_body));
                return;
            }
            of_body -= slice.len();
            self.rest.pop();
        }
    }
}

fn write_head(to: &mut Vec<u8>, prepared: &Prepared, call: &Call) -> Result<(), &'static str> {
    if !is_clean(&call.path) || call.path.contains(' ') {
        return Err("the path of a call has a control character");
    }
    to.extend_from_slice(call.method.as_bytes());
    to.push(b' ');
    to.extend_from_slice(call.path.as_bytes());
    to.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    to.extend_from_slice(prepared.authority.as_bytes());
    to.extend_from_slice(b"\r\n");
    for (name, value) in &call.headers {
        if !is_clean(name) || !is_clean(value) {
            return Err("a header of a call has a control character");
        }
        to.extend_from_slice(name.as_bytes());
        to.extend_from_slice(b": ");
        to.extend_from_slice(value.as_bytes());
        to.extend_from_slice(b"\r\n");
    }
    let length: usize = call.body.iter().map(Bytes::len).sum();
    // RFC 9110 section 8.6: not for methods that have no body, unless there is one.
    if length > 0 || !matches!(call.method, "GET" | "HEAD" | "DELETE") {
        let written = write!(to, "content-length: {length}\r\n");
        written.map_err(|_| "a head could not be written")?;
    }
    to.extend_from_slice(b"\r\n");
    Ok(())
}
