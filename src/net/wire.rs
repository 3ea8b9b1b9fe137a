//! A client's socket, shared between hyper, who reads requests from it, and the driver, who watches it while hyper does not.
//!
//! hyper stops reading while it holds bytes of a next request; a client that pipelines and then leaves would not be missed until
//! the next write. The driver reads ahead then, within a bound, and sees the end. It also outlives hyper's connection, so that a
//! refused body can be read away before the socket is closed: a close with unread bytes resets the connection, and a reset takes
//! the answer with it.

use futures_lite::{AsyncRead, AsyncWrite};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// What is read ahead of hyper at most.
const AHEAD_BYTES_MAX: usize = 64 << 10;

pub(super) struct Wire<S>(Rc<RefCell<Inner<S>>>);

struct Inner<S> {
    stream: S,
    ahead: Vec<u8>,
    /// How much of `ahead` was given on.
    given: usize,
    /// Someone waits for the socket to become readable.
    waits: bool,
    /// Bytes came since this was last asked.
    moved: bool,
}

impl<S> Clone for Wire<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// `ahead` was read from `stream` already.
    pub(super) fn new(stream: S, ahead: Vec<u8>) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            stream,
            moved: !ahead.is_empty(),
            ahead,
            given: 0,
            waits: false,
        })))
    }

    /// Forgets who waits; to be called before those who might read are polled.
    pub(super) fn begin(&self) {
        self.0.borrow_mut().waits = false;
    }

    /// Whether somebody has waited for the socket since `begin`.
    pub(super) fn waits(&self) -> bool {
        self.0.borrow().waits
    }

    /// Whether bytes came since this was last asked.
    pub(super) fn moved(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().moved)
    }

    /// Ready when the client has closed. Bytes that come first are kept for who reads next; when those fill the bound, the end
    /// cannot be seen before they are read.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &mut *self.0.borrow_mut();
        while inner.ahead.len() - inner.given < AHEAD_BYTES_MAX {
            let mut some = [0; 4096];
            match ready!(Pin::new(&mut inner.stream).poll_read(cx, &mut some)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(read) => inner.ahead.extend_from_slice(&some[..read]),
            }
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        if inner.given < inner.ahead.len() {
            let rest = &inner.ahead[inner.given..];
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            inner.given += count;
            if inner.given == inner.ahead.len() {
                (inner.ahead, inner.given) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(count));
        }
        let read = Pin::new(&mut inner.stream).poll_read(cx, buf);
        match &read {
            Poll::Pending => inner.waits = true,
            Poll::Ready(Ok(1..)) => inner.moved = true,
            Poll::Ready(_) => {}
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_close(cx)
    }
}
