//! How long a client's connection may take for what, and who tells it to leave.

use super::runtime::clock;
use crate::base::{Instant, Slab, Slot};
use crate::config::Limits;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// All connections of a core.
#[derive(Default)]
pub(super) struct Connections {
    all: RefCell<Option<Slab<Rc<Conn>>>>,
    leaving: Cell<Leaving>,
    /// Who waits for the last connection to go, and the listeners.
    wakers: RefCell<Vec<Waker>>,
}

/// How urgently connections shall go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leaving {
    #[default]
    Stay,
    /// Finish what runs, take nothing new.
    Finish,
    Now,
}

impl Connections {
    /// `None` at the bound, or when the node is leaving.
    pub(super) fn enter(&self, bound: usize) -> Option<(Slot, Rc<Conn>)> {
        if self.leaving.get() != Leaving::Stay {
            return None;
        }
        let mut all = self.all.borrow_mut();
        let all = all.get_or_insert_with(|| Slab::new(u32::MAX as usize));
        if all.len() >= bound {
            return None;
        }
        let conn = Rc::new(Conn::new());
        all.insert(Rc::clone(&conn)).ok().map(|slot| (slot, conn))
    }

    pub(super) fn leave(&self, slot: Slot) {
        let gone = self
            .all
            .borrow_mut()
            .as_mut()
            .and_then(|all| all.remove(slot));
        drop(gone);
        if self.len() == 0 {
            self.wake();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.borrow().as_ref().map_or(0, Slab::len)
    }

    pub(super) fn leaving(&self) -> Leaving {
        self.leaving.get()
    }

    /// Tells all connections and listeners.
    pub(super) fn tell(&self, leaving: Leaving) {
        self.leaving.set(self.leaving.get().max(leaving));
        let conns: Vec<Rc<Conn>> = match &*self.all.borrow() {
            Some(all) => all.iter().map(|(_, conn)| Rc::clone(conn)).collect(),
            None => Vec::new(),
        };
        for conn in conns {
            if let Some(waker) = conn.waker.take() {
                waker.wake();
            }
        }
        self.wake();
    }

    /// Wakes `cx` when the urgency changes or the last connection has gone.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
    }

    fn wake(&self) {
        let wakers = self.wakers.take();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// What one connection is at.
pub(super) struct Conn {
    phase: Cell<Phase>,
    /// Requests that have no whole answer yet.
    running: Cell<u32>,
    /// A body was refused: what the client still sends is read away before the socket is closed.
    pub(super) refused: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A head (or a handshake) has begun, and is not whole.
    Head {
        since: Instant,
    },
    Idle {
        since: Instant,
    },
    Busy,
}

impl Conn {
    fn new() -> Self {
        let since = clock().instant;
        Self {
            phase: Cell::new(Phase::Head { since }),
            running: Cell::new(0),
            refused: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    pub(super) fn began(&self) {
        self.running.set(self.running.get() + 1);
        self.phase.set(Phase::Busy);
    }

    pub(super) fn ended(&self) {
        self.running.set(self.running.get().saturating_sub(1));
        if self.running.get() == 0 {
            self.idle();
        }
    }

    pub(super) fn idle(&self) {
        let since = clock().instant;
        self.phase.set(Phase::Idle { since });
    }

    /// Bytes came; if nothing runs, they begin a head.
    pub(super) fn moved(&self) {
        if let Phase::Idle { .. } = self.phase.get() {
            let since = clock().instant;
            self.phase.set(Phase::Head { since });
        }
    }

    /// When this connection has taken too long for what it is at.
    pub(super) fn deadline(&self, limits: &Limits) -> Instant {
        match self.phase.get() {
            Phase::Head { since } => since + limits.header_time,
            Phase::Idle { since } => since + limits.keep_alive,
            Phase::Busy => Instant::NEVER,
        }
    }

    /// Wakes `cx` when the connection shall leave.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
    }
}
