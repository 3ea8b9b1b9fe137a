//! When to ask: as soon as an answer is there (closed loop), or by a schedule that does not wait for answers (open loop).
//!
//! In an open loop latency counts from the time an ask was due, also when no client was free then: a slow answer delays those
//! behind it, and that is told (no coordinated omission). Clients take turns, so that all connections are used.

use anyhow::Result;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

/// How many asks, and for how long they are begun. An open loop's time is that of its schedule: what is due within it is asked, however late the
/// schedule itself began.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub requests: u64,
    pub time: Duration,
}

pub struct Pace {
    bounds: Bounds,
    begun: Instant,
    state: RefCell<State>,
    wakes: Vec<Notify>,
    /// Between two asks; `None` is a closed loop.
    every: Option<Duration>,
}

struct State {
    begun: u64,
    /// Due, and taken by nobody yet.
    backlog: VecDeque<Instant>,
    /// Clients that wait, longest first.
    idle: VecDeque<usize>,
    given: Vec<Option<Instant>>,
    over: bool,
}

impl Pace {
    /// For `clients` clients; `rate` asks a second, or closed.
    #[must_use]
    pub fn new(clients: usize, bounds: Bounds, rate: Option<f64>) -> Self {
        Self {
            bounds,
            begun: Instant::now(),
            state: RefCell::new(State {
                begun: 0,
                backlog: VecDeque::new(),
                idle: VecDeque::new(),
                given: vec![None; clients],
                over: false,
            }),
            wakes: (0..clients).map(|_| Notify::new()).collect(),
            every: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
        }
    }

    /// The number of the next ask of client `client` and the time from which it counts; `None` when there are no more.
    pub async fn next(&self, client: usize) -> Option<(u64, Instant)> {
        if self.every.is_none() {
            return self.begin_now();
        }
        loop {
            {
                let mut state = self.state.borrow_mut();
                let given = state.given[client].take();
                if let Some(due) = given.or_else(|| state.backlog.pop_front()) {
                    state.begun += 1;
                    return Some((state.begun, due));
                }
                if state.over {
                    return None;
                }
                state.idle.push_back(client);
            }
            self.wakes[client].notified().await;
        }
    }

    fn begin_now(&self) -> Option<(u64, Instant)> {
        let mut state = self.state.borrow_mut();
        let now = Instant::now();
        if state.begun >= self.bounds.requests || now - self.begun >= self.bounds.time {
            return None;
        }
        state.begun += 1;
        Some((state.begun, now))
    }

    /// Keeps the schedule of an open loop; returns at once for a closed one.
    pub async fn keep(&self) -> Result<()> {
        let Some(every) = self.every else {
            return Ok(());
        };
        let timer = Timer::new()?;
        let begun = Instant::now();
        for number in 0..self.bounds.requests {
            let after = Duration::from_secs_f64(every.as_secs_f64() * number as f64);
            if after >= self.bounds.time {
                break;
            }
            let due = begun + after;
            if due > Instant::now() {
                timer.until(due).await?;
            }
            self.give(due);
        }
        self.state.borrow_mut().over = true;
        self.wakes.iter().for_each(Notify::notify_one);
        Ok(())
    }

    fn give(&self, due: Instant) {
        let mut state = self.state.borrow_mut();
        match state.idle.pop_front() {
            Some(client) => {
                state.given[client] = Some(due);
                self.wakes[client].notify_one();
            }
            None => state.backlog.push_back(due),
        }
    }
}

/// A timer of the kernel's: tokio's own rounds up to whole milliseconds, which is ten times what is measured.
struct Timer(AsyncFd<Descriptor>);

struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    #[allow(
        deprecated,
        reason = "its successor is unsafe, for descriptors that may be closed; ours is owned by what is registered"
    )]
    fn new() -> Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self(AsyncFd::new(Descriptor(timer))?))
    }

    async fn until(&self, due: Instant) -> Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        // Zero would disarm it.
        let left = left.max(Duration::from_nanos(1));
        let at = Expiration::OneShot(TimeSpec::from_duration(left));
        self.0.get_ref().0.set(at, TimerSetTimeFlags::empty())?;
        let mut ready = self.0.readable().await?;
        // Reading it is what makes it unready.
        let _ = ready.get_inner().0.wait();
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(requests: u64) -> Bounds {
        Bounds {
            requests,
            time: Duration::from_secs(60),
        }
    }

    #[tokio::test]
    async fn an_open_loop_keeps_its_times_while_all_clients_are_slow() {
        let pace = Pace::new(1, bounds(4), Some(1_000.0));
        let client = async {
            let mut due = Vec::new();
            while let Some((_, at)) = pace.next(0).await {
                due.push(at);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            due
        };
        let (kept, due) = tokio::join!(pace.keep(), client);
        kept.unwrap();
        let gaps: Vec<_> = due.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(gaps, [Duration::from_millis(1); 3]);
    }

    #[tokio::test]
    async fn all_that_is_due_in_its_time_is_asked_though_the_schedule_began_late() {
        let time = Duration::from_millis(20);
        let pace = Pace::new(
            1,
            Bounds {
                time,
                ..bounds(u64::MAX)
            },
            Some(500.0),
        );
        tokio::time::sleep(2 * time).await;
        let client = async {
            let mut count = 0;
            while pace.next(0).await.is_some() {
                count += 1;
            }
            count
        };
        let (kept, count) = tokio::join!(pace.keep(), client);
        kept.unwrap();
        assert_eq!(count, 10);
    }

    #[tokio::test]
    async fn clients_take_turns() {
        let pace = Pace::new(2, bounds(4), Some(500.0));
        let client = async |client| {
            let mut count = 0;
            while pace.next(client).await.is_some() {
                count += 1;
            }
            count
        };
        let (_, a, b) = tokio::join!(pace.keep(), client(0), client(1));
        // The first ask is due before anybody waits, and is taken by whoever comes first.
        assert!(a + b == 4 && a >= 1 && b >= 1, "{a} and {b}");
    }

    #[tokio::test]
    async fn a_closed_loop_ends_after_so_many() {
        let pace = Pace::new(1, bounds(2), None);
        pace.keep().await.unwrap();
        assert!(pace.next(0).await.is_some() && pace.next(0).await.is_some());
        assert!(pace.next(0).await.is_none());
    }
}
