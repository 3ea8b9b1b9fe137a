//! What the seam promises, asked of both implementations.

use super::glommio::{IoUring, executor, executor_with};
use super::tokio::Epoll;
use super::{Runtime, bind, clock, io_uring_available, task_panics};
use crate::net::ring::ring;
use futures_lite::future::{or, poll_once, yield_now};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use std::cell::Cell;
use std::future::Future;
use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

/// A promise as a program, for any runtime.
pub(crate) trait Case: Copy + Send + 'static {
    fn run<R: Runtime>(self, runtime: R) -> impl Future<Output = ()>;
}

/// Runs `case` on each runtime that this machine has, each on a thread of its own; fails when one takes over 20 s.
pub(crate) fn on_both(case: impl Case) {
    if io_uring_available().is_ok() {
        within(move || {
            let executor = executor("case").expect("rings");
            executor.run(async move { case.run(IoUring::here()).await });
        });
    }
    within(move || Epoll::run(async move { case.run(Epoll::here()).await }).expect("epoll"));
}

fn within(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().spawn(work).expect("a thread");
    let until = clock().instant + Duration::from_secs(20);
    while !thread.is_finished() {
        assert!(clock().instant < until, "it hangs");
        tick();
    }
    thread.join().expect("the case holds");
}

fn local() -> (std::net::TcpListener, SocketAddr) {
    let socket = bind(([127, 0, 0, 1], 0).into(), 64).expect("an address");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

async fn pair<R: Runtime>(rt: &R) -> (R::Stream, R::Stream) {
    let (socket, address) = local();
    let listener = rt.listen(socket).expect("taken over");
    let near = rt.connect(address).await.expect("connected");
    let (far, _) = rt.accept(&listener).await.expect("accepted");
    (near, far)
}

#[derive(Clone, Copy)]
struct SpawnLater;
impl Case for SpawnLater {
    async fn run<R: Runtime>(self, rt: R) {
        let ran = Rc::new(Cell::new(false));
        let task = Rc::clone(&ran);
        rt.spawn(async move { task.set(true) });
        assert!(!ran.get(), "the task ran inside its caller");
        rt.sleep(Duration::from_millis(5)).await;
        assert!(ran.get());
    }
}
#[test]
fn a_spawned_task_never_runs_inside_its_caller() {
    on_both(SpawnLater);
}

struct PanicsWhenDropped;
impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("on purpose, dropped");
    }
}

#[derive(Clone, Copy)]
struct PanicsStay;
impl Case for PanicsStay {
    async fn run<R: Runtime>(self, rt: R) {
        let before = task_panics();
        rt.spawn(async { panic!("on purpose") });
        let bomb = PanicsWhenDropped;
        rt.spawn(std::future::poll_fn(move |_| {
            let _held = &bomb;
            std::task::Poll::Ready(())
        }));
        rt.sleep(Duration::from_millis(20)).await;
        assert!(task_panics() >= before + 2);
    }
}
#[test]
fn a_panic_ends_its_own_task_only_and_is_counted() {
    on_both(PanicsStay);
}

#[derive(Clone, Copy)]
struct AcceptDropped;
impl Case for AcceptDropped {
    async fn run<R: Runtime>(self, rt: R) {
        let (socket, address) = local();
        let listener = rt.listen(socket).expect("taken over");
        for round in 0..20 {
            // Waiting for the ring, then dropped, with the connection coming before or after.
            assert!(
                poll_once(rt.accept(&listener)).await.is_none(),
                "round {round}"
            );
            let mut client = TcpStream::connect(address).expect("connected");
            if round % 2 == 0 {
                rt.sleep(Duration::from_millis(1)).await;
            }
            client.write_all(&[round]).expect("room");
            let (mut stream, from) = rt.accept(&listener).await.expect("accepted");
            assert_eq!(Ok(from), client.local_addr().map_err(|_| ()));
            let mut byte = [0];
            stream.read_exact(&mut byte).await.expect("it came");
            assert_eq!(byte, [round]);
        }
    }
}
#[test]
fn a_dropped_accept_loses_no_connection() {
    on_both(AcceptDropped);
}

#[derive(Clone, Copy)]
struct ReadDropped;
impl Case for ReadDropped {
    async fn run<R: Runtime>(self, rt: R) {
        let (mut near, mut far) = pair(&rt).await;
        let writer = rt.clone();
        rt.spawn(async move {
            for n in 0..200_u8 {
                near.write_all(&[n; 3]).await.expect("room");
                if n % 3 == 0 {
                    writer.sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let (mut got, mut dropped) = (Vec::new(), 0);
        while got.len() < 600 {
            let mut buf = [0; 7];
            let read = async { Some(far.read(&mut buf).await.expect("open")) };
            let give_up = async {
                rt.sleep(Duration::from_micros(300)).await;
                None
            };
            match or(read, give_up).await {
                Some(read) => got.extend_from_slice(&buf[..read]),
                None => dropped += 1,
            }
        }
        let sent: Vec<u8> = (0..200).flat_map(|n| [n; 3]).collect();
        assert_eq!(got, sent);
        assert!(dropped > 0, "no read was dropped");
    }
}
#[test]
fn a_dropped_read_loses_no_byte() {
    on_both(ReadDropped);
}

#[derive(Clone, Copy)]
struct ManySlices;
impl Case for ManySlices {
    async fn run<R: Runtime>(self, rt: R) {
        let (mut near, mut far) = pair(&rt).await;
        let slices = [
            IoSlice::new(b"head"),
            IoSlice::new(b""),
            IoSlice::new(b"body"),
        ];
        assert_eq!(near.write_vectored(&slices).await.expect("room"), 8);
        let mut got = [0; 8];
        far.read_exact(&mut got).await.expect("it came");
        assert_eq!(&got, b"headbody");
        assert_eq!(near.write_vectored(&[]).await.expect("nothing"), 0);
        // More than the socket holds, so that writes wait for room, in slices that are cut anywhere.
        let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
        let bytes = sent.clone();
        rt.spawn(async move {
            let mut at = 0;
            while at < bytes.len() {
                let slices: Vec<_> = bytes[at..]
                    .chunks(1000)
                    .take(1500)
                    .map(IoSlice::new)
                    .collect();
                at += near.write_vectored(&slices).await.expect("open");
            }
            near.close().await.expect("closed");
        });
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.expect("open");
        assert!(
            got == sent,
            "{} of {} bytes, or others",
            got.len(),
            sent.len()
        );
    }
}
#[test]
fn many_slices_leave_in_one_write_and_arrive_in_order() {
    on_both(ManySlices);
}

#[derive(Clone, Copy)]
struct Refused;
impl Case for Refused {
    async fn run<R: Runtime>(self, rt: R) {
        let (socket, address) = local();
        drop(socket);
        let refused = rt
            .connect(address)
            .await
            .map(drop)
            .expect_err("nobody listens");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
#[test]
fn a_refused_connection_says_so() {
    on_both(Refused);
}

#[derive(Clone, Copy)]
struct Sleeps;
impl Case for Sleeps {
    async fn run<R: Runtime>(self, rt: R) {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let before = clock().instant;
            rt.sleep(Duration::from_millis(20)).await;
            let slept = clock().instant.since(before);
            assert!(slept >= Duration::from_millis(20), "{slept:?}");
            best = best.min(slept);
        }
        assert!(best < Duration::from_millis(30), "{best:?}");
    }
}
#[test]
fn a_sleep_is_never_short_and_at_best_hardly_long() {
    on_both(Sleeps);
}

#[derive(Clone, Copy)]
struct Idle;
impl Case for Idle {
    async fn run<R: Runtime>(self, rt: R) {
        let (socket, _) = local();
        let listener = rt.listen(socket).expect("taken over");
        let acceptor = rt.clone();
        rt.spawn(async move { acceptor.accept(&listener).await.map(drop).expect("open") });
        let (mut near, _far) = pair(&rt).await;
        rt.spawn(async move {
            let _ = near.read(&mut [0]).await;
        });
        rt.sleep(Duration::from_millis(20)).await;
        let before = cpu_nanos();
        rt.sleep(Duration::from_secs(1)).await;
        let used = Duration::from_nanos(cpu_nanos() - before);
        assert!(used < Duration::from_millis(50), "{used:?}");
    }
}
/// CPU time of this thread: the first figure of `schedstat` (proc(5)).
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a figure")
}
#[test]
fn an_idle_executor_costs_no_cpu() {
    on_both(Idle);
}

#[test]
fn a_listener_shares_its_address_and_has_the_backlog_asked_for() {
    let (first, address) = local();
    let second = bind(address, 64).expect("SO_REUSEPORT");
    for socket in [&first, &second] {
        let socket = socket2::SockRef::from(socket);
        assert!(socket.reuse_address().expect("set") && socket.reuse_port().expect("set"));
    }
    // Linux holds one more than the backlog, and leaves the next unanswered.
    let small = bind(([127, 0, 0, 1], 0).into(), 1).expect("an address");
    let address = small.local_addr().expect("bound");
    let wait = Duration::from_millis(150);
    let made: Vec<_> = (0..4)
        .map(|_| TcpStream::connect_timeout(&address, wait))
        .collect();
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 2);
}

#[test]
fn both_sides_of_a_connection_send_small_segments_at_once() {
    on_both(NoDelay);
}
#[derive(Clone, Copy)]
struct NoDelay;
impl Case for NoDelay {
    /// Write, write, read: with Nagle's algorithm on either side, its second write would wait 40 ms for the other's delayed acknowledgement.
    async fn run<R: Runtime>(self, rt: R) {
        let (mut near, mut far) = pair(&rt).await;
        rt.spawn(async move {
            let mut both = [0; 2];
            while far.read_exact(&mut both).await.is_ok() {
                far.write_all(&both[..1]).await.expect("open");
                far.write_all(&both[1..]).await.expect("open");
            }
        });
        let before = clock().instant;
        for _ in 0..50 {
            near.write_all(b"a").await.expect("open");
            near.write_all(b"b").await.expect("open");
            near.read_exact(&mut [0; 2]).await.expect("open");
        }
        let took = clock().instant.since(before);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

/// Round trips of a letter between two executors that never run out of work, the shortest of `trips`.
fn busy_round_trip(preempt: Duration, trips: usize) -> Duration {
    let (to, mut inbox) = ring::<()>(4);
    let (back, mut answers) = ring::<()>(4);
    let busy = || async {
        loop {
            yield_now().await;
        }
    };
    let echo = move || {
        executor_with("echo", preempt)
            .expect("rings")
            .run(async move {
                glommio::spawn_local(busy()).detach();
                while inbox.recv().await.is_some() {
                    back.try_send(()).expect("room");
                }
            });
    };
    let ask = move || {
        executor_with("ask", preempt)
            .expect("rings")
            .run(async move {
                glommio::spawn_local(busy()).detach();
                let mut best = Duration::MAX;
                for _ in 0..trips {
                    let before = clock().instant;
                    to.try_send(()).expect("room");
                    answers.recv().await;
                    best = best.min(clock().instant.since(before));
                }
                best
            })
    };
    let echo = std::thread::Builder::new().spawn(echo).expect("a thread");
    let ask = std::thread::Builder::new().spawn(ask).expect("a thread");
    echo.join().expect("no panic");
    ask.join().expect("no panic")
}

#[expect(
    clippy::disallowed_methods,
    reason = "waits for another thread, in a test"
)]
fn tick() {
    std::thread::sleep(Duration::from_millis(5));
}

#[test]
fn two_busy_shards_answer_each_other_in_a_few_milliseconds() {
    if io_uring_available().is_err() {
        return;
    }
    let ours = busy_round_trip(super::glommio::PREEMPT, 20);
    assert!(ours < Duration::from_millis(20), "{ours:?}");
    // What the setting cures; when this fails, glommio has changed and the setting may go.
    let defaults = busy_round_trip(Duration::from_millis(100), 2);
    println!("1 ms: {ours:?}, glommio's 100 ms: {defaults:?}");
    assert!(defaults > Duration::from_millis(30), "{defaults:?}");
}

#[test]
fn the_clock_never_goes_back_and_is_never_zero() {
    let first = clock();
    let second = clock();
    assert!(second.instant >= first.instant && first.instant.0 > 0);
    assert!(first.wall.seconds() > 1_700_000_000);
}

#[derive(Clone, Copy)]
struct FromOutside;
impl Case for FromOutside {
    /// A client that is no executor, to see that blocking peers are served.
    async fn run<R: Runtime>(self, rt: R) {
        let (socket, address) = local();
        let listener = rt.listen(socket).expect("taken over");
        let client = move || {
            let mut stream = TcpStream::connect(address).expect("connected");
            stream.write_all(b"ping").expect("open");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("open");
            all
        };
        let client = std::thread::Builder::new().spawn(client).expect("a thread");
        let (mut stream, _) = rt.accept(&listener).await.expect("accepted");
        let mut got = [0; 4];
        stream.read_exact(&mut got).await.expect("open");
        stream.write_all(&got).await.expect("open");
        stream.close().await.expect("open");
        // Its own end is still open, so this is the client's close.
        assert_eq!(stream.read(&mut got).await.expect("closed in order"), 0);
        assert_eq!(client.join().expect("no panic"), b"ping");
    }
}
#[test]
fn closing_is_half_closing_and_the_peer_sees_the_end() {
    on_both(FromOutside);
}
