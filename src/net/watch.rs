//! The I/O core's eye on the shards: wakes one that stands still with work at hand.
//!
//! glommio 0.9.0 can park with runnable tasks, for ever, when its preempt timer fires before anything ran in a turn. A timer of the
//! same executor does not rescue it (at 1 ms it happens too, when the thread is kept off its core at the wrong moment), a wake from another thread does (that is what the parked thread listens for). So each shard
//! counts its progress and says whether it has work; who stands still with work for `STILL` is woken. Heals nothing else:
//! a shard that loops without yielding is only counted.

use futures_util::task::AtomicWaker;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

/// The longest that a shard with work may stand still unwoken: 20 turns of its preempt timer.
pub const STILL_MS: u64 = 20;

/// The shard's side; cheap to clone. Used by one thread.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ticks: AtomicU64,
    pending: AtomicBool,
    keeper: AtomicWaker,
    answers: AtomicU64,
}

impl Progress {
    /// Something was done. One store to a line that this thread owns.
    pub fn tick(&self) {
        // Only the shard's own thread writes, so it need not be one atomic addition.
        let ticks = self.0.ticks.load(Ordering::Relaxed);
        self.0.ticks.store(ticks.wrapping_add(1), Ordering::Relaxed);
    }

    /// Whether the shard has anything open: a connection, an exchange, a task that may be runnable. On io_uring a shard begins with
    /// yes (`threads`), and may say no only when nothing is open; it is left to sleep then. A needless yes costs 50 wakes a second.
    pub fn set_pending(&self, pending: bool) {
        self.0.pending.store(pending, Ordering::Release);
    }

    /// The task that is woken; spawn it once on the shard's executor. Never ends.
    pub fn keeper(&self) -> impl Future<Output = ()> + 'static {
        let shared = Arc::clone(&self.0);
        poll_fn(move |cx| {
            shared.keeper.register(cx.waker());
            shared.answers.fetch_add(1, Ordering::Relaxed);
            Poll::Pending
        })
    }

    /// How often the keeper ran: once at its start, and for each wake that arrived.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.0.answers.load(Ordering::Relaxed)
    }
}

/// The watcher's side, for one thread that is not a shard's.
#[derive(Debug)]
pub struct Watch {
    watched: Vec<Watched>,
    woken: u64,
}

#[derive(Debug)]
struct Watched {
    shard: Arc<Shared>,
    ticks: u64,
    since_ms: u64,
}

impl Watch {
    /// Watches `shards`, from `now_ms` on a clock that never goes back.
    #[must_use]
    pub fn new(shards: &[Progress], now_ms: u64) -> Self {
        let watched = shards.iter().map(|progress| Watched {
            ticks: progress.0.ticks.load(Ordering::Relaxed),
            shard: Arc::clone(&progress.0),
            since_ms: now_ms,
        });
        Self {
            watched: watched.collect(),
            woken: 0,
        }
    }

    /// Wakes every shard that has work and has stood still for more than `STILL_MS`, again after each further `STILL_MS`. Says how many. To be
    /// called every 5 to 10 ms.
    pub fn poll(&mut self, now_ms: u64) -> usize {
        let woken = self
            .watched
            .iter_mut()
            .filter_map(|shard| shard.look(now_ms));
        let woken = woken.count();
        self.woken += woken as u64;
        woken
    }

    /// How many wakes it took, since the beginning. Steadily rising is worth a look by an operator.
    #[must_use]
    pub fn woken(&self) -> u64 {
        self.woken
    }
}

impl Watched {
    fn look(&mut self, now_ms: u64) -> Option<()> {
        let ticks = self.shard.ticks.load(Ordering::Relaxed);
        let pending = self.shard.pending.load(Ordering::Acquire);
        if ticks != self.ticks || !pending {
            (self.ticks, self.since_ms) = (ticks, now_ms);
            return None;
        }
        if now_ms.saturating_sub(self.since_ms) <= STILL_MS {
            return None;
        }
        self.since_ms = now_ms;
        self.shard.keeper.wake();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::runtime::glommio::executor_with;
    use crate::net::runtime::tests::{Case, on_both};
    use crate::net::runtime::{Runtime, clock, io_uring_available};
    use futures_lite::future::yield_now;
    use std::time::Duration;

    #[test]
    fn only_who_stands_still_with_work_is_woken() {
        let (busy, idle, stuck) = (
            Progress::default(),
            Progress::default(),
            Progress::default(),
        );
        busy.set_pending(true);
        stuck.set_pending(true);
        let mut watch = Watch::new(&[busy.clone(), idle, stuck.clone()], 100);
        assert_eq!(watch.poll(120), 0);
        busy.tick();
        assert_eq!(watch.poll(121), 1);
        assert_eq!(
            (watch.poll(130), watch.poll(141)),
            (0, 0),
            "not again at once"
        );
        stuck.tick();
        busy.tick();
        assert_eq!(watch.poll(142), 0);
        assert_eq!(watch.poll(163), 2);
        assert_eq!(watch.woken(), 3);
    }

    #[derive(Clone, Copy)]
    struct Parked;
    impl Case for Parked {
        async fn run<R: Runtime>(self, rt: R) {
            let progress = Progress::default();
            progress.set_pending(true);
            rt.spawn(progress.keeper());
            rt.sleep(Duration::from_millis(20)).await;
            assert_eq!(progress.answers(), 1);
            let mut watch = Watch::new(std::slice::from_ref(&progress), 0);
            let look = move || {
                pause();
                watch.poll(STILL_MS + 1)
            };
            let looking = std::thread::Builder::new().spawn(look).expect("a thread");
            rt.sleep(Duration::from_millis(200)).await;
            assert_eq!(looking.join().expect("no panic"), 1);
            assert_eq!(progress.answers(), 2);
        }
    }
    #[test]
    fn a_wake_from_the_watch_reaches_a_parked_executor() {
        on_both(Parked);
    }

    /// With a preempt timer of 200 µs and a task that is always runnable, glommio parks for good within a second, often. The turns it made within the time.
    fn stress(watched: bool, time: Duration) -> (bool, u64) {
        let progress = Progress::default();
        progress.set_pending(true);
        let mut watch = Watch::new(std::slice::from_ref(&progress), 0);
        let shard = progress.clone();
        let run = move || {
            let executor = executor_with("stress", Duration::from_micros(200)).expect("rings");
            executor.run(async move {
                glommio::spawn_local(shard.keeper()).detach();
                let until = clock().instant + time;
                while clock().instant < until {
                    shard.tick();
                    yield_now().await;
                }
            });
        };
        let thread = std::thread::Builder::new().spawn(run).expect("a thread");
        let began = clock().instant;
        while !thread.is_finished() && clock().instant.since(began) < time * 4 {
            pause();
            if watched {
                watch.poll(clock().instant.since(began).as_millis() as u64);
            }
        }
        let went_on = thread.is_finished();
        if !went_on {
            // Let it end, so that the test leaves nothing behind.
            while !thread.is_finished() {
                progress.0.keeper.wake();
                pause();
            }
        }
        thread.join().expect("no panic");
        (went_on, watch.woken())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the watcher's own thread, in a test"
    )]
    fn pause() {
        std::thread::sleep(Duration::from_millis(5));
    }

    #[test]
    fn a_shard_that_parked_with_work_at_hand_goes_on() {
        if io_uring_available().is_err() {
            return;
        }
        for round in 0..3 {
            let (went_on, woken) = stress(true, Duration::from_millis(500));
            println!("round {round}: woken {woken} times");
            assert!(went_on, "round {round}");
        }
    }

    /// Asserts nothing about how often it hangs: that is glommio's luck. Says it with `--nocapture`.
    #[test]
    fn the_stress_without_a_watch_ends_by_a_foreign_wake_at_the_latest() {
        if io_uring_available().is_err() {
            return;
        }
        let hung = (0..2)
            .filter(|_| !stress(false, Duration::from_millis(300)).0)
            .count();
        println!("hung {hung} of 2");
    }
}
