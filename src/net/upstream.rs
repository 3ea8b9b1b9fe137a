//! Calls to endpoints: one task a call, from `Output::Call` to the answer's end.
//!
//! Holds no time-outs and no retries of its own, those are the shard's, but one: a connection that had idled and is found dead
//! before the request was written whole is replaced once, silently. A request that was written whole may have been worked on and
//! paid for (RFC 9110 section 9.2.2 leaves sending it again to who knows that it is safe), so its loss is told to the shard, which
//! writes the attempt down before it tries again.

use super::h1;
use super::h2_client;
use super::pool::Route;
use super::run::Core;
use super::runtime::Runtime;
use crate::base::AttemptId;
use crate::shard::{Call, Input, UpstreamFault};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// All calls of a core. Indices of attempts are dense and bounded by the shard, so this is a table.
#[derive(Default)]
pub(super) struct Calls {
    table: RefCell<Vec<Option<Rc<Control>>>>,
    count: Cell<usize>,
}

/// What the shard can do to a call that is under way.
pub(super) struct Control {
    attempt: AttemptId,
    cancelled: Cell<bool>,
    paused: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// How an exchange on one connection came to nothing.
#[derive(Debug)]
pub(super) enum Broke {
    /// Nothing of an answer came, and the peer is known or taken not to have begun: may be sent again on a new connection.
    Unused,
    Fault(UpstreamFault),
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.count.get()
    }

    pub(super) fn cancel(&self, attempt: AttemptId) {
        if let Some(control) = self.leave(attempt) {
            control.cancelled.set(true);
            control.wake();
        }
    }

    pub(super) fn cancel_all(&self) {
        let open: Vec<AttemptId> = self
            .table
            .borrow()
            .iter()
            .flatten()
            .map(|control| control.attempt)
            .collect();
        open.into_iter().for_each(|attempt| self.cancel(attempt));
    }

    pub(super) fn pause(&self, attempt: AttemptId, paused: bool) {
        let control = self
            .table
            .borrow()
            .get(attempt.0.index as usize)
            .cloned()
            .flatten();
        if let Some(control) = control.filter(|control| control.attempt == attempt) {
            control.paused.set(paused);
            control.wake();
        }
    }

    fn enter(&self, attempt: AttemptId) -> Rc<Control> {
        let control = Rc::new(Control {
            attempt,
            cancelled: Cell::new(false),
            paused: Cell::new(false),
            waker: RefCell::default(),
        });
        let mut table = self.table.borrow_mut();
        let index = attempt.0.index as usize;
        if table.len() <= index {
            table.resize_with(index + 1, || None);
        }
        if table[index].replace(Rc::clone(&control)).is_none() {
            self.count.set(self.count.get() + 1);
        }
        control
    }

    fn leave(&self, attempt: AttemptId) -> Option<Rc<Control>> {
        let mut table = self.table.borrow_mut();
        let place = table.get_mut(attempt.0.index as usize)?;
        if place.as_ref()?.attempt != attempt {
            return None;
        }
        self.count.set(self.count.get() - 1);
        place.take()
    }
}

impl Control {
    fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn watch(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
    }

    /// While paused, nothing is to be read. Who polls is woken when that changes: the whole call's task watches.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.get()
    }
}

/// One call under way. To drop it before its end was told is to tell of a failure.
pub(super) struct Running<R: Runtime> {
    pub(super) core: Core<R>,
    pub(super) control: Rc<Control>,
}

impl<R: Runtime> Core<R> {
    pub(super) fn call(&self, call: Box<Call>) {
        let control = self.calls.enter(call.attempt);
        let running = Running {
            core: self.clone(),
            control,
        };
        self.runtime.spawn(async move { running.run(&call).await });
    }
}

impl<R: Runtime> Running<R> {
    async fn run(self, call: &Call) {
        let ended = {
            let mut work = pin!(self.work(call));
            poll_fn(|cx| {
                if self.control.cancelled.get() {
                    return Poll::Ready(None);
                }
                self.control.watch(cx);
                work.as_mut().poll(cx).map(Some)
            })
            .await
        };
        // Here the connection is closed, its stream reset or back in its pool, whichever it is.
        let attempt = self.control.attempt;
        match ended {
            Some(Ok(())) => self.end(Input::UpstreamEnd { attempt }),
            Some(Err(why)) => self.end(Input::UpstreamFailed { attempt, why }),
            None => {}
        }
    }

    async fn work(&self, call: &Call) -> Result<(), UpstreamFault> {
        let pool = self.core.pools.get(call.origin);
        let pool = pool.ok_or_else(|| UpstreamFault::Connect("no such origin".to_owned()))?;
        let mut fresh = false;
        loop {
            let broke = match pool.checkout(&self.core, fresh).await? {
                Route::Http1 { link, reused } => {
                    let again = reused && !fresh;
                    match h1::exchange(self, &pool.prepared, link, call, again).await {
                        Ok(link) => {
                            if let Some(link) = link {
                                pool.keep(link, self.core.limits().upstream_idle_max);
                            }
                            return Ok(());
                        }
                        Err(broke) => broke,
                    }
                }
                Route::Http2(lease) => {
                    match h2_client::exchange(self, &pool.prepared, lease, call, !fresh).await {
                        Ok(()) => return Ok(()),
                        Err(broke) => broke,
                    }
                }
            };
            match broke {
                Broke::Unused if !fresh => fresh = true,
                Broke::Unused => return Err(UpstreamFault::Reset),
                Broke::Fault(why) => return Err(why),
            }
        }
    }

    /// Tells the shard, unless it gave the call up.
    fn tell(&self, input: Input) {
        if !self.control.cancelled.get() {
            self.core.step(input);
        }
    }

    fn end(&self, input: Input) {
        if self.core.calls.leave(self.control.attempt).is_some() {
            self.core.step(input);
        }
    }

    pub(super) fn sent(&self) {
        self.tell(Input::Sent {
            attempt: self.control.attempt,
        });
    }

    pub(super) fn head(&self, status: u16, headers: crate::shard::Headers) {
        self.tell(Input::UpstreamHead {
            attempt: self.control.attempt,
            status,
            headers,
        });
    }

    pub(super) fn bytes(&self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.tell(Input::UpstreamBytes {
                attempt: self.control.attempt,
                bytes,
            });
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.control.cancelled.get()
    }
}

impl<R: Runtime> Drop for Running<R> {
    /// Reached with the call still in the table only when its task was dropped or panicked.
    fn drop(&mut self) {
        let attempt = self.control.attempt;
        self.end(Input::UpstreamFailed {
            attempt,
            why: UpstreamFault::Reset,
        });
    }
}
