//! Time-outs of a shard: many, coarse, mostly never met.
//!
//! One task a shard waits for the earliest; a time-out that is moved or dropped costs no timer of the runtime. Fires never early
//! and up to `TICK` late. Handles and sleeps are `Send` because hyper wants them so; they are meant for the shard they were made on.
//! Bounded by who sleeps: at most as many dead entries are kept as live ones, and a few.

use super::runtime::{Runtime, clock};
use crate::base::Instant;
use crossbeam::queue::SegQueue;
use futures_util::task::AtomicWaker;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// A handle on the wheel of a shard; cheap to clone.
#[derive(Clone, Debug)]
pub struct Wheel(Arc<Shared>);

impl Wheel {
    /// Starts the wheel's task on `runtime`; it ends with the executor.
    pub fn start(runtime: &impl Runtime) -> Self {
        let shared = Arc::new(Shared::default());
        let turning = Turning {
            shared: Arc::clone(&shared),
            runtime: runtime.clone(),
            slots: BTreeMap::new(),
            held: 0,
            waiting: None,
        };
        runtime.spawn(turning.turn());
        Self(shared)
    }

    /// Done at `deadline` or up to `TICK` later.
    #[must_use]
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        let entry = Arc::new(Entry {
            deadline: AtomicU64::new(deadline.0),
            fired: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        self.0.arm(&entry);
        Sleep {
            entry,
            shared: Arc::clone(&self.0),
        }
    }

    /// As `sleep_until`, from now.
    #[must_use]
    pub fn sleep(&self, time: Duration) -> Sleep {
        self.sleep_until(clock().instant + time)
    }
}

/// One time-out; to drop it is to cancel it.
#[derive(Debug)]
pub struct Sleep {
    entry: Arc<Entry>,
    shared: Arc<Shared>,
}

impl Sleep {
    /// Moves the time-out, also one that has fired. Later costs two atomic stores; earlier, or after it fired, an entry.
    pub fn reset(&mut self, deadline: Instant) {
        let before = self.entry.deadline.swap(deadline.0, Ordering::AcqRel);
        let fired = self.entry.fired.swap(false, Ordering::AcqRel);
        if fired || deadline.0 < before {
            // The old place in the wheel, if there is one, finds the new deadline there and does no harm.
            self.shared.arm(&self.entry);
        }
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.entry.waker.register(cx.waker());
        // After registering, so that a firing in between is seen here or wakes.
        if self.entry.fired.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if !self.entry.fired.load(Ordering::Acquire) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How coarse: time-outs here are seconds, and one wake serves all that fall into a tick.
pub const TICK: Duration = Duration::from_millis(10);
const TICK_NANOS: u64 = 10_000_000;

/// Dead entries that are not worth a sweep.
const DEAD_KEPT: usize = 256;

#[derive(Debug, Default)]
struct Shared {
    /// Entries that are not in a slot yet: at most one for each sleep made or moved since the task last ran.
    arriving: SegQueue<Weak<Entry>>,
    turner: AtomicWaker,
    /// Sleeps dropped before they fired, since the last sweep.
    dropped: AtomicUsize,
}

impl Shared {
    fn arm(&self, entry: &Arc<Entry>) {
        self.arriving.push(Arc::downgrade(entry));
        self.turner.wake();
    }
}

#[derive(Debug)]
struct Entry {
    deadline: AtomicU64,
    fired: AtomicBool,
    waker: AtomicWaker,
}

type Nap = Pin<Box<dyn Future<Output = ()>>>;

struct Turning<R: Runtime> {
    shared: Arc<Shared>,
    runtime: R,
    /// By tick: the first that is not before the deadline.
    slots: BTreeMap<u64, Vec<Weak<Entry>>>,
    held: usize,
    /// The earliest tick, and the runtime's sleep until then.
    waiting: Option<(u64, Nap)>,
}

impl<R: Runtime> Turning<R> {
    async fn turn(mut self) {
        poll_fn(|cx| self.step(cx)).await
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.turner.register(cx.waker());
        loop {
            while let Some(entry) = self.shared.arriving.pop() {
                self.place(entry);
            }
            self.fire(clock().instant.0 / TICK_NANOS);
            self.sweep();
            let Some(&next) = self.slots.keys().next() else {
                self.waiting = None;
                // Nobody but this task and who sleeps holds the wheel: with no handle left it may end.
                return if Arc::strong_count(&self.shared) == 1 {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                };
            };
            if self.wait_for(next).as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.waiting = None;
        }
    }

    fn place(&mut self, weak: Weak<Entry>) {
        let Some(entry) = weak.upgrade() else { return };
        let tick = entry.deadline.load(Ordering::Acquire).div_ceil(TICK_NANOS);
        self.slots.entry(tick).or_default().push(weak);
        self.held += 1;
    }

    /// Fires every entry up to `tick`; one whose deadline was moved goes to its new slot.
    fn fire(&mut self, tick: u64) {
        while let Some(slot) = self.slots.first_entry().filter(|slot| *slot.key() <= tick) {
            let due = slot.remove();
            self.held -= due.len();
            for weak in due {
                let Some(entry) = weak.upgrade() else {
                    continue;
                };
                if entry.deadline.load(Ordering::Acquire).div_ceil(TICK_NANOS) > tick {
                    self.place(weak);
                } else if !entry.fired.swap(true, Ordering::AcqRel) {
                    entry.waker.wake();
                }
            }
        }
    }

    /// Throws dead entries away when they are the larger half: a constant cost for each sleep.
    fn sweep(&mut self) {
        let dead = self.shared.dropped.load(Ordering::Relaxed);
        if dead < DEAD_KEPT || dead < self.held / 2 {
            return;
        }
        self.shared.dropped.store(0, Ordering::Relaxed);
        self.slots.retain(|_, slot| {
            slot.retain(|entry| entry.strong_count() > 0);
            !slot.is_empty()
        });
        self.held = self.slots.values().map(Vec::len).sum();
    }

    fn wait_for(&mut self, tick: u64) -> &mut Nap {
        if self.waiting.as_ref().is_none_or(|(at, _)| *at != tick) {
            let at = Instant(tick.saturating_mul(TICK_NANOS));
            let sleep = self.runtime.sleep(at.since(clock().instant).min(FAR));
            self.waiting = Some((tick, Box::pin(sleep)));
        }
        &mut self.waiting.as_mut().expect("set just above").1
    }
}

/// Runtimes overflow on sleeps of centuries; the wheel looks again after an hour.
const FAR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::runtime::tests::{Case, on_both};

    #[derive(Clone, Copy)]
    struct Moves;
    impl Case for Moves {
        async fn run<R: Runtime>(self, rt: R) {
            let wheel = Wheel::start(&rt);
            let begun = clock().instant;
            let mut moved = wheel.sleep(Duration::from_millis(20));
            moved.reset(begun + Duration::from_millis(80));
            moved.await;
            let took = clock().instant.since(begun);
            assert!(
                took >= Duration::from_millis(80) && took < Duration::from_secs(2),
                "{took:?}"
            );
            let begun = clock().instant;
            let mut earlier = wheel.sleep(Duration::from_secs(3600));
            rt.sleep(Duration::from_millis(20)).await;
            earlier.reset(begun + Duration::from_millis(40));
            (&mut earlier).await;
            earlier.reset(clock().instant + Duration::from_millis(20));
            earlier.await;
            let took = clock().instant.since(begun);
            assert!(
                took >= Duration::from_millis(60) && took < Duration::from_secs(2),
                "{took:?}"
            );
        }
    }
    #[test]
    fn a_time_out_fires_when_it_was_last_moved_to_and_never_early() {
        on_both(Moves);
    }

    #[derive(Clone, Copy)]
    struct Dropped;
    impl Case for Dropped {
        async fn run<R: Runtime>(self, rt: R) {
            let shared = Arc::new(Shared::default());
            let mut turning = Turning {
                shared: Arc::clone(&shared),
                runtime: rt,
                slots: BTreeMap::new(),
                held: 0,
                waiting: None,
            };
            let wheel = Wheel(shared);
            let kept: Vec<_> = (0..100)
                .map(|_| wheel.sleep(Duration::from_secs(60)))
                .collect();
            for n in 0..10_000 {
                drop(wheel.sleep(Duration::from_secs(30)));
                let live = wheel.sleep(Duration::from_secs(30));
                poll_fn(|cx| {
                    let _ = turning.step(cx);
                    Poll::Ready(())
                })
                .await;
                drop(live);
                assert!(
                    turning.held <= 100 + 2 * DEAD_KEPT,
                    "{} at {n}",
                    turning.held
                );
            }
            assert!(turning.held >= kept.len());
        }
    }
    #[test]
    fn time_outs_that_were_dropped_do_not_pile_up() {
        on_both(Dropped);
    }
}
