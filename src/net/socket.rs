//! Raw bytes both ways after a 101: the shard speaks WebSocket, this only moves bytes.
//!
//! Bounded both ways: while more than `client_buffer_bytes` wait for the client, nothing is read from it.

use super::clients::Next;
use super::conn::Leaving;
use super::presence::Presence;
use super::runtime::Runtime;
use crate::shard::Input;
use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Moves bytes until one side ends. `first` came with the request. Dropping what it holds tells the shard.
pub(super) async fn relay<R, S>(presence: Presence<R>, wire: &mut S, first: Bytes)
where
    R: Runtime,
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !first.is_empty() {
        let client = presence.id;
        presence.core.step(Input::SocketBytes {
            client,
            bytes: first,
        });
    }
    let bound = presence.core.limits().client_buffer_bytes;
    let mut relay = Relay {
        presence,
        wire,
        bound,
        writing: Bytes::new(),
        flushed: true,
    };
    if let End::Said = poll_fn(|cx| relay.poll(cx)).await {
        // The time for it is bounded by who runs this connection.
        let _ = relay.wire.close().await;
    }
}

enum End {
    /// All is written, and the shard wants to close.
    Said,
    Gone,
}

struct Relay<'a, R: Runtime, S> {
    presence: Presence<R>,
    wire: &'a mut S,
    bound: usize,
    writing: Bytes,
    flushed: bool,
}

impl<R: Runtime, S: AsyncRead + AsyncWrite + Unpin> Relay<'_, R, S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.presence.conn.watch(cx);
        if self.presence.core.connections.leaving() == Leaving::Now {
            return Poll::Ready(End::Gone);
        }
        // Reading first: what is read may be answered at once, and is then written in the same turn.
        if self.poll_read(cx).is_ready() {
            return Poll::Ready(End::Gone);
        }
        self.poll_write(cx)
    }

    /// Ready when the client has gone.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (core, client) = (&self.presence.core, self.presence.id);
        let mut turns = 0;
        while core.clients.queued(client) + self.writing.len() <= self.bound {
            let bytes = {
                let scratch = &mut *core.scratch.borrow_mut();
                match ready!(Pin::new(&mut self.wire).poll_read(cx, scratch)) {
                    Ok(0) | Err(_) => return Poll::Ready(()),
                    Ok(read) => Bytes::copy_from_slice(&scratch[..read]),
                }
            };
            core.step(Input::SocketBytes { client, bytes });
            turns += 1;
            if turns == TURNS_MAX {
                cx.waker().wake_by_ref();
                break;
            }
        }
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let client = self.presence.id;
        loop {
            while !self.writing.is_empty() {
                match ready!(Pin::new(&mut self.wire).poll_write(cx, &self.writing)) {
                    Ok(0) | Err(_) => return Poll::Ready(End::Gone),
                    Ok(written) => drop(self.writing.split_to(written)),
                }
                self.flushed = false;
            }
            if !self.flushed {
                // TLS keeps records back until it is flushed.
                if ready!(Pin::new(&mut self.wire).poll_flush(cx)).is_err() {
                    return Poll::Ready(End::Gone);
                }
                self.flushed = true;
                // There is room again, so the client is read again.
                cx.waker().wake_by_ref();
            }
            match ready!(self.presence.core.clients.poll_next(client, self.bound, cx)) {
                Next::Bytes { bytes, eased } => {
                    self.writing = bytes;
                    if eased {
                        self.presence.core.step(Input::Eased { client });
                    }
                }
                Next::End => return Poll::Ready(End::Said),
                Next::Abort => return Poll::Ready(End::Gone),
            }
        }
    }
}

/// Reads in one turn, so that one busy socket leaves room for the others.
const TURNS_MAX: usize = 16;
