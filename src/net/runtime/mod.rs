//! The seam: what the hot path asks of a runtime, and nothing more. One thread, one executor; nothing here is `Send`.
//!
//! glommio (io_uring) is the default, tokio's current-thread runtime (epoll) the control and the fall-back. No other room can tell
//! which is running.

mod ending;
pub mod glommio;
pub mod tokio;

mod choice;
pub use choice::{Chosen, Kind, choose, io_uring_available};

use crate::base::{Instant, Now, WallTime};
use futures_lite::{AsyncRead, AsyncWrite};
use futures_util::FutureExt;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A handle on the executor of this thread; cheap to clone.
pub trait Runtime: Clone + 'static {
    type Listener: 'static;
    /// A connected socket with TCP_NODELAY set. Reads and writes return what is there at once; a dropped future loses nothing.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// `io_uring` or `epoll`, as the start line says it.
    const NAME: &'static str;

    /// Takes over a bound, listening, non-blocking socket.
    fn listen(&self, socket: std::net::TcpListener) -> io::Result<Self::Listener>;

    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>>;

    /// By address only: names are resolved on the I/O core.
    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>>;

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static;

    /// Runs `task` to its end on this thread, never before this call has returned. A panic in it ends only it, and is counted.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}

/// A listening socket for one shard: SO_REUSEADDR, so that a restart need not wait for old connections, SO_REUSEPORT, so that
/// every shard has its own, and `backlog` connections that may wait (the kernel caps it at `net.core.somaxconn`).
/// Errors: the address is taken by a program that does not share it, or is not ours.
pub fn bind(to: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(to),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&to.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Both clocks, by one reading: of the monotonic one. Wall time goes on from where it was read last, at most `WALL_TRUSTED` ago; a step of the
/// system's clock is seen so much later. The only reading of a clock in this room.
#[must_use]
pub fn clock() -> Now {
    let instant = Instant(monotonic().saturating_sub(began().nanos));
    let (read_at, wall) = WALL.get();
    let since = instant.0.saturating_sub(read_at.0);
    if read_at != Instant(0) && since < WALL_TRUSTED {
        let wall = WallTime(wall.0.saturating_add_unsigned(since));
        return Now { instant, wall };
    }
    let wall = wall_clock();
    WALL.set((instant, wall));
    Now { instant, wall }
}

/// 10 ms in nanoseconds: even a clock that is slewed at its fastest (500 millionths) is 5 µs off by then.
const WALL_TRUSTED: u64 = 10_000_000;

thread_local! {
    /// When the wall clock was read last on this thread, and what it said.
    static WALL: Cell<(Instant, WallTime)> = const { Cell::new((Instant(0), WallTime(0))) };
}

/// A point of the system's monotonic clock on ours, which began when it was first asked.
#[must_use]
pub(crate) fn instant_of(point: std::time::Instant) -> Instant {
    let since = point.saturating_duration_since(began().point);
    Instant(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Where our clock begins, on the system's monotonic clock: as the standard library says it and in its nanoseconds.
struct Began {
    point: std::time::Instant,
    nanos: u64,
}

#[expect(
    clippy::disallowed_methods,
    reason = "where our clock begins, read once"
)]
fn began() -> &'static Began {
    static BEGAN: OnceLock<Began> = OnceLock::new();
    BEGAN.get_or_init(|| {
        let (point, nanos) = (std::time::Instant::now(), monotonic());
        // A second before the first asking, so that the first point is not zero, which reads like "never".
        match point.checked_sub(SECOND) {
            Some(point) => Began {
                point,
                nanos: nanos.saturating_sub(1_000_000_000),
            },
            None => Began { point, nanos },
        }
    })
}

const SECOND: Duration = Duration::from_secs(1);

/// Nanoseconds of the clock that `std::time::Instant` has on Linux, without the standard library's arithmetic on pairs of numbers, which costs
/// three times the reading.
fn monotonic() -> u64 {
    let read = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    read.map_or(0, |time| {
        time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the hot path where the time of day comes in"
)]
fn wall_clock() -> WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    });
    WallTime(nanos)
}

/// How many spawned tasks of this process ended in a panic, since it began.
#[must_use]
pub fn task_panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Runs `task` so that its panic, also one while it is dropped, ends only it and is counted. glommio's executor would end.
async fn contained(mut task: impl Future<Output = ()> + Unpin) {
    let ran = AssertUnwindSafe(&mut task).catch_unwind().await;
    let dropped = catch_unwind(AssertUnwindSafe(move || drop(task)));
    if ran.is_err() || dropped.is_err() {
        PANICS.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests;
