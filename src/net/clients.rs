//! Who waits for what, towards clients: what the shard said to each client and has not been written yet.
//!
//! Filled by the loop, emptied by the task that holds the client's connection. Knows no socket. Bounded in number; in bytes it is
//! the shard that keeps the bound, by pausing the provider when it is told of congestion.

use crate::base::{ClientId, Slab};
use crate::shard::ResponseHead;
use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

pub(super) struct Clients(RefCell<Slab<Side>>);

/// One client's side of an exchange.
#[derive(Default)]
struct Side {
    wanted: Option<Wanted>,
    queue: VecDeque<Bytes>,
    queued: usize,
    ended: bool,
    aborted: bool,
    congested: bool,
    waker: Option<Waker>,
}

/// What the shard wants of a client's connection next.
#[derive(Debug)]
pub(super) enum Wanted {
    Body {
        bytes_max: u64,
    },
    Respond(ResponseHead),
    Upgrade {
        accept: String,
    },
    /// Break it off.
    Abort,
}

/// What is there to be written.
#[derive(Debug)]
pub(super) enum Next {
    /// All that was queued, as one. `eased` when the shard should be told so.
    Bytes {
        bytes: Bytes,
        eased: bool,
    },
    End,
    Abort,
}

impl Clients {
    /// Room for one request on every connection and for every exchange.
    pub(super) fn new(connections_max: usize, exchanges_max: usize) -> Self {
        Self(RefCell::new(Slab::new(connections_max + exchanges_max)))
    }

    /// `None` when there is no room.
    pub(super) fn enter(&self) -> Option<ClientId> {
        self.0
            .borrow_mut()
            .insert(Side::default())
            .ok()
            .map(ClientId)
    }

    /// True when the shard had said its last word to this client.
    pub(super) fn leave(&self, id: ClientId) -> bool {
        let side = self.0.borrow_mut().remove(id.0);
        side.is_none_or(|side| side.ended || side.aborted)
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub(super) fn read_body(&self, id: ClientId, bytes_max: u64) {
        self.change(id, |side| side.wanted = Some(Wanted::Body { bytes_max }));
    }

    pub(super) fn respond(&self, id: ClientId, head: ResponseHead, body: Bytes, end: bool) {
        self.change(id, |side| {
            side.wanted = Some(Wanted::Respond(head));
            side.push(body);
            side.ended = end;
        });
    }

    pub(super) fn upgrade(&self, id: ClientId, accept: String) {
        self.change(id, |side| side.wanted = Some(Wanted::Upgrade { accept }));
    }

    /// True when more than `bound` bytes wait now and that was not so before.
    pub(super) fn write(&self, id: ClientId, bytes: Bytes, bound: usize) -> bool {
        let mut congested = false;
        self.change(id, |side| {
            side.push(bytes);
            congested = side.queued > bound && !side.congested;
            side.congested |= congested;
        });
        congested
    }

    pub(super) fn end(&self, id: ClientId) {
        self.change(id, |side| side.ended = true);
    }

    pub(super) fn abort(&self, id: ClientId) {
        self.change(id, |side| {
            side.aborted = true;
            side.wanted = Some(Wanted::Abort);
        });
    }

    /// Bytes that wait for this client.
    pub(super) fn queued(&self, id: ClientId) -> usize {
        self.0.borrow().get(id.0).map_or(0, |side| side.queued)
    }

    /// What the shard wants next of a client that has no answer yet.
    pub(super) fn poll_wanted(&self, id: ClientId, cx: &mut Context<'_>) -> Poll<Wanted> {
        let mut sides = self.0.borrow_mut();
        let Some(side) = sides.get_mut(id.0) else {
            return Poll::Ready(Wanted::Abort);
        };
        match side.wanted.take() {
            Some(wanted) => Poll::Ready(wanted),
            None => side.wait(cx),
        }
    }

    /// The whole rest of the answer, when it is known to be whole.
    pub(super) fn take_whole(&self, id: ClientId) -> Option<Bytes> {
        let mut sides = self.0.borrow_mut();
        let side = sides
            .get_mut(id.0)
            .filter(|side| side.ended && !side.aborted)?;
        Some(side.take())
    }

    /// Whether nothing more will come for this client.
    pub(super) fn has_ended(&self, id: ClientId) -> bool {
        let sides = self.0.borrow();
        let side = sides.get(id.0);
        side.is_some_and(|side| side.ended && !side.aborted && side.queued == 0)
    }

    /// What is to be written, all of it at once. `bound` as for `write`: at half of it or less the client has eased.
    pub(super) fn poll_next(&self, id: ClientId, bound: usize, cx: &mut Context<'_>) -> Poll<Next> {
        let mut sides = self.0.borrow_mut();
        let Some(side) = sides.get_mut(id.0) else {
            return Poll::Ready(Next::Abort);
        };
        if side.aborted {
            return Poll::Ready(Next::Abort);
        }
        if side.queued > 0 {
            let bytes = side.take();
            // All is taken, so nothing waits, which is less than half of any bound.
            debug_assert!(side.queued <= bound / 2);
            let eased = std::mem::take(&mut side.congested);
            return Poll::Ready(Next::Bytes { bytes, eased });
        }
        if side.ended {
            Poll::Ready(Next::End)
        } else {
            side.wait(cx)
        }
    }

    /// Changes a side that is there, then wakes who waits for it, after the borrow has ended: a waker may drop a task.
    fn change(&self, id: ClientId, change: impl FnOnce(&mut Side)) {
        let waker = {
            let mut sides = self.0.borrow_mut();
            let Some(side) = sides.get_mut(id.0) else {
                return;
            };
            change(side);
            side.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Side {
    fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queued += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    /// Everything queued; no copy when it is one slice.
    fn take(&mut self) -> Bytes {
        let queued = std::mem::take(&mut self.queued);
        if self.queue.len() <= 1 {
            return self.queue.pop_front().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(queued);
        self.queue
            .drain(..)
            .for_each(|bytes| all.extend_from_slice(&bytes));
        all.freeze()
    }

    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        if !self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
