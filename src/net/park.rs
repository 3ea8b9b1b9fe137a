//! Bounds every wait of a glommio executor, so that none that parked with work at hand stays parked.
//!
//! The fault, in glommio 0.9.0's source. A turn of `LocalExecutor::run` arms the preempt timer (`poll_io`), then calls
//! `run_task_queues`, which asks `need_preempt` (is there a completion in the latency ring?) *before* it looks at a queue, and then
//! returns "nothing ran", which `run` takes for "nothing is left to run": it parks. So when the kernel keeps the thread off its core
//! between arming the timer and that first question for as long as the timer takes, the turn has polled no task and the
//! executor sleeps in `io_cqring_wait` with its queues full. What woke those tasks has been consumed, so nothing comes.
//! Whoever is to rescue it by waking a task (a timer of the same executor, a foreign waker) ends that one park, and
//! then the next turn can go the same way: the rescuer's task is in the queue now, "scheduled", and no second wake or timer of it
//! counts for anything. That is why wakes from another thread made hangs rarer (1 in 1,000) and ended none for certain.
//!
//! The cure. An executor blocks in one call only, liburing's `io_uring_wait_cqes`, and without a time. The wrapper in `ring_flags` gives it
//! one: at most `SHORTEST` after anything was done, doubling to `LONGEST` while nothing is. When the time is over glommio is told
//! `EINTR`, which it takes for a wake and makes another turn. This is sufficient: it needs no task, no waker, no descriptor and no other
//! thread, so there is nothing that one wrong park could use up for the next; no park outlasts `LONGEST`; and each further
//! turn runs the queues unless the kernel again takes the core away in that window of about a microsecond, independently of the last time.
//! Everything else that could be lost was looked for and not found: it does not sleep with requests that it has not submitted, nor
//! without its event descriptor armed in the latency ring and that ring polled in the one it waits on; and whoever sends a foreign wake
//! either sees that it is about to sleep or is seen by its last sweep.
//!
//! Costs one timer of the kernel a park, and 10 turns a second of an idle executor. Deliberately does not look for a shard that loops
//! without yielding. Goes when a published glommio tells "preempted" from "empty":
//! `an_executor_that_parked_with_work_at_hand_goes_on_by_itself` then passes with any bound.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The first bound. Requests that come more often than this never meet it, since their completions end the wait.
pub const SHORTEST: Duration = Duration::from_millis(10);

/// The last bound, of an executor that has nothing to do: 10 turns a second of some 20 µs are 0.02 % of a core.
pub const LONGEST: Duration = Duration::from_millis(100);

/// How often an executor of this process, since it began, had tasks to run after a wait that nothing but its bound had ended: it had
/// parked with work at hand. Each was a delay of 10 to 100 ms. Now and then is glommio's fault above, often is a machine with too few cores. Up
/// to one in some thousand is a completion that came just after the bound.
#[must_use]
pub fn wrong_parks() -> u64 {
    WRONG.load(Ordering::Relaxed)
}

/// How many waits of this process were ended by their bound: about 10 a second for each idle shard.
#[must_use]
pub fn bounded_parks() -> u64 {
    BOUNDED.load(Ordering::Relaxed)
}

static WRONG: AtomicU64 = AtomicU64::new(0);
static BOUNDED: AtomicU64 = AtomicU64::new(0);
thread_local! {
    static STATE: Cell<State> = const { Cell::new(State { bound: SHORTEST, timed_out: false }) };
    #[cfg(test)]
    static SHORTEST_HERE: Cell<Duration> = Cell::new(asked_for());
}

/// What an executor's thread remembers from one wait to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// Of the wait that ended last.
    bound: Duration,
    timed_out: bool,
}

/// A wait begins on this thread: the longest that it may take. To be called by an executor that is about to sleep, and nowhere else.
pub(super) fn begin() -> Duration {
    let mut state = STATE.get();
    // Asked only now, of a turn that nothing but time had begun, since asking resets glommio's figures and takes a little time.
    let ran = state.timed_out && tasks_run() > 0;
    if ran {
        WRONG.fetch_add(1, Ordering::Relaxed);
    }
    state.bound = state.next_bound(ran, shortest());
    STATE.set(state);
    state.bound
}

/// The wait that began last on this thread has ended.
pub(super) fn end(timed_out: bool) {
    STATE.set(State {
        timed_out,
        ..STATE.get()
    });
    if timed_out {
        BOUNDED.fetch_add(1, Ordering::Relaxed);
        // So that the next asking counts from here.
        tasks_run();
    }
}

impl State {
    fn next_bound(self, ran: bool, shortest: Duration) -> Duration {
        if self.timed_out && !ran {
            (self.bound * 2).min(LONGEST.max(shortest))
        } else {
            shortest
        }
    }
}

/// How many tasks the executor of this thread has run since it was last asked.
fn tasks_run() -> u64 {
    glommio::executor().executor_stats().tasks_executed()
}

#[cfg(not(test))]
fn shortest() -> Duration {
    SHORTEST
}

#[cfg(test)]
fn shortest() -> Duration {
    SHORTEST_HERE.get()
}

/// With `STOKEHOLD_PARK_MS=60000` the tests run as good as without the cure, to see how often they hang then.
#[cfg(test)]
fn asked_for() -> Duration {
    let asked = std::env::var("STOKEHOLD_PARK_MS")
        .ok()
        .and_then(|text| text.parse().ok());
    asked.map_or(SHORTEST, Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::runtime::glommio::executor_with;
    use crate::net::runtime::{clock, io_uring_available};
    use futures_lite::future::yield_now;

    #[test]
    fn the_bound_doubles_while_nothing_is_done_and_no_further_than_its_end() {
        let mut state = State {
            bound: SHORTEST,
            timed_out: true,
        };
        let bounds = [(); 5].map(|()| {
            state.bound = state.next_bound(false, SHORTEST);
            state.bound.as_millis()
        });
        assert_eq!(bounds, [20, 40, 80, 100, 100]);
        assert_eq!(state.next_bound(true, SHORTEST), SHORTEST, "tasks ran");
        state.timed_out = false;
        assert_eq!(
            state.next_bound(false, SHORTEST),
            SHORTEST,
            "something came"
        );
    }

    /// The longest that an executor stood still between two polls of a task that is always runnable, with waits bounded from `shortest` on, and
    /// with a preempt timer so short that it often fires before the first task of a turn is polled.
    fn longest_pause(preempt: Duration, shortest: Duration, time: Duration) -> Duration {
        SHORTEST_HERE.set(shortest);
        let executor = executor_with("stress", preempt).expect("rings");
        let longest = executor.run(async move {
            let began = clock().instant;
            let (mut last, mut longest) = (began, Duration::ZERO);
            while last.since(began) < time && longest < HANGS {
                yield_now().await;
                let now = clock().instant;
                (last, longest) = (now, longest.max(now.since(last)));
            }
            // Parks once more, which counts the last.
            glommio::timer::sleep(Duration::from_millis(1)).await;
            longest
        });
        SHORTEST_HERE.set(asked_for());
        longest
    }

    /// Stands for ever, so that the test leaves nothing behind.
    const HANGS: Duration = Duration::from_secs(1);

    /// A preempt timer with which this machine parks with work at hand about once in a quarter of a second.
    fn short_preempt() -> Option<Duration> {
        let tries = [200, 100, 70, 50, 35, 25, 18, 12].map(Duration::from_micros);
        tries
            .into_iter()
            .find(|preempt| longest_pause(*preempt, HANGS, Duration::from_millis(250)) >= HANGS)
    }

    #[test]
    fn an_executor_that_parked_with_work_at_hand_goes_on_by_itself() {
        if io_uring_available().is_err() {
            return;
        }
        let before = wrong_parks();
        let preempt = short_preempt().expect("when none is found, glommio has changed");
        assert!(wrong_parks() > before, "a wrong park is counted");
        let longest = longest_pause(preempt, asked_for(), Duration::from_secs(1));
        let wrong = wrong_parks() - before;
        println!("preempt timer {preempt:?}: {wrong} wrong parks, the longest pause {longest:?}");
        assert!(longest < HANGS, "{longest:?}");
    }
}
