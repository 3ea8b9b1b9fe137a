//! The threads of the shards: one executor each, started, restarted and stopped together.
//!
//! A supervisor thread owns them. A shard that ends in a panic is reported and started again on a fresh thread, after a pause that
//! grows; the others notice nothing. What was lost with it is for the spool to settle. Knows nothing of what a shard does.

use super::ring;
use super::runtime::glommio::{IoUring, end_all, executor};
use super::runtime::tokio::Epoll;
use super::runtime::{Kind, Runtime};
use crate::base::ShardId;
use futures_util::FutureExt;
use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// What a shard runs, over whichever runtime was chosen.
pub trait Main: Send + Sync + 'static {
    /// The shard's life on this thread. Should end soon after `life.stop` asks. Called again after a panic, with one more restart.
    fn run<R: Runtime>(
        self: Arc<Self>,
        runtime: R,
        life: Life,
    ) -> impl Future<Output = ()> + 'static;
}

/// What a shard is told at its start.
#[derive(Clone, Debug)]
pub struct Life {
    pub shard: ShardId,
    /// How often this shard was started before.
    pub restarts: u32,
    pub stop: StopSignal,
}

/// Says when to stop. Any number of tasks may wait on clones.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when all were asked to stop, or who could ask has gone.
    pub async fn asked(&self) {
        // An error says that nobody is left to ask, which means the same.
        let _ = self.0.clone().wait_for(|asked| *asked).await;
    }
}

/// What the supervisor has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub shard: ShardId,
    /// How often the shard had been started before the life that ended.
    pub restarts: u32,
    pub end: End,
}

/// How a shard's life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its main returned. It is not started again.
    Returned,
    /// It panicked, with this message; it is started again unless all were asked to stop.
    Panicked(String),
    /// No executor or thread was to be had; tried again like a panic.
    NotStarted(String),
}

/// Running shards. Dropped without `stop`, they are asked to stop and not waited for.
#[derive(Debug)]
pub struct Shards {
    stop: watch::Sender<bool>,
    supervisor: JoinHandle<()>,
    /// For the supervisor, so that it need not look for `stop`.
    letters: mpsc::Sender<Letter>,
    /// Ends of lives, for whoever logs; when nobody reads them the latest are dropped.
    pub reports: ring::Receiver<Report>,
}

/// Some shards did not end in the time given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StillRunning;

/// Starts `shards` executors of `kind`, on threads named `shard-N`. With `pin`, and a core for each, each stays on its own core;
/// otherwise the kernel places them. Errors: no thread for the supervisor. What befalls a shard is in the reports.
pub fn start<M: Main>(shards: u16, pin: bool, kind: Kind, main: Arc<M>) -> io::Result<Shards> {
    let (stop, stopping) = watch::channel(false);
    let (letters, inbox) = mpsc::channel();
    let (reporter, reports) = ring::ring(REPORTS_KEPT);
    let lives = (0..shards).map(|index| Life {
        shard: ShardId(index),
        restarts: 0,
        stop: StopSignal(stopping.clone()),
    });
    let mut supervisor = Supervisor {
        main,
        kind,
        cores: cores_for(shards, pin),
        lives: lives.collect(),
        threads: (0..shards).map(|_| None).collect(),
        running: 0,
        letters: letters.clone(),
        reporter: reporter.lossy(),
    };
    let supervise = move || supervisor.run(&inbox);
    let supervisor = std::thread::Builder::new()
        .name("shards".to_owned())
        .spawn(supervise)?;
    Ok(Shards {
        stop,
        supervisor,
        letters,
        reports,
    })
}

impl Shards {
    /// Asks all shards to end and waits for them, at most for `within`; then their threads are left to themselves.
    pub fn stop(self, within: Duration) -> Result<(), StillRunning> {
        let (done, all_done) = mpsc::channel();
        let _ = self.stop.send(true);
        // A supervisor that has gone has nothing left to wait for.
        if self.letters.send(Letter::Stop(done)).is_ok()
            && all_done.recv_timeout(within) == Err(mpsc::RecvTimeoutError::Timeout)
        {
            return Err(StillRunning);
        }
        self.supervisor.join().map_err(|_| StillRunning)
    }
}

const REPORTS_KEPT: usize = 256;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The pause before the life after `restarts` others: doubles from 50 ms to 5 s.
fn pause_before(restarts: u32) -> Duration {
    PAUSE_MIN
        .saturating_mul(1 << restarts.min(10))
        .min(PAUSE_MAX)
}

enum Letter {
    Ended(ShardId, End),
    /// Begin this shard's next life now.
    Again(ShardId),
    /// All were asked to stop. The sender is dropped when they have.
    Stop(mpsc::Sender<()>),
}

struct Supervisor<M> {
    main: Arc<M>,
    kind: Kind,
    cores: Option<Vec<usize>>,
    lives: Vec<Life>,
    threads: Vec<Option<JoinHandle<()>>>,
    /// Shards that run, or wait for their next life.
    running: usize,
    letters: mpsc::Sender<Letter>,
    reporter: ring::LossySender<Report>,
}

impl<M: Main> Supervisor<M> {
    fn run(&mut self, inbox: &mpsc::Receiver<Letter>) {
        self.running = self.lives.len();
        for index in 0..self.lives.len() {
            self.begin(index);
        }
        // Held until the end: `stop` waits for its drop.
        let mut stopping = None;
        while self.running > 0 || stopping.is_none() {
            // Never an error: this end holds a sender.
            let Ok(letter) = inbox.recv() else { break };
            match letter {
                Letter::Ended(shard, end) => self.ended(usize::from(shard.0), end),
                Letter::Again(shard) => self.again(usize::from(shard.0)),
                Letter::Stop(done) => stopping = Some(done),
            }
        }
    }

    fn begin(&mut self, index: usize) {
        let (life, main, kind) = (self.lives[index].clone(), Arc::clone(&self.main), self.kind);
        let core = self.cores.as_ref().map(|cores| cores[index]);
        let (shard, letters) = (life.shard, self.letters.clone());
        let live = move || {
            let end = live(main, kind, core, life);
            // The supervisor outlives its shards; if not, nobody wants to know.
            let _ = letters.send(Letter::Ended(shard, end));
        };
        match std::thread::Builder::new()
            .name(format!("shard-{}", shard.0))
            .spawn(live)
        {
            Ok(thread) => self.threads[index] = Some(thread),
            Err(error) => self.ended(index, End::NotStarted(error.to_string())),
        }
    }

    fn ended(&mut self, index: usize, end: End) {
        if let Some(thread) = self.threads[index].take() {
            // It has sent its last letter, and every panic in it was caught.
            let _ = thread.join();
        }
        let life = &mut self.lives[index];
        self.reporter.send(Report {
            shard: life.shard,
            restarts: life.restarts,
            end: end.clone(),
        });
        if end == End::Returned || life.stop.is_asked() {
            self.running -= 1;
            return;
        }
        let (pause, shard) = (pause_before(life.restarts), life.shard);
        life.restarts += 1;
        self.after(pause, shard);
    }

    fn again(&mut self, index: usize) {
        if self.lives[index].stop.is_asked() {
            self.running -= 1;
        } else {
            self.begin(index);
        }
    }

    /// Sends `Again` after `pause`, or as soon as all are asked to stop. A thread for a rare event; without one, now.
    fn after(&self, pause: Duration, shard: ShardId) {
        let (letters, stop) = (
            self.letters.clone(),
            self.lives[usize::from(shard.0)].stop.clone(),
        );
        let waiting = letters.clone();
        let wait = move || {
            // Either way the shard is due: an error is a runtime that could not be made.
            let _ = Epoll::run(async { tokio::time::timeout(pause, stop.asked()).await.ok() });
            let _ = waiting.send(Letter::Again(shard));
        };
        if std::thread::Builder::new()
            .name("pause".to_owned())
            .spawn(wait)
            .is_err()
        {
            let _ = letters.send(Letter::Again(shard));
        }
    }
}

/// One life of a shard, on this thread.
fn live<M: Main>(main: Arc<M>, kind: Kind, core: Option<usize>, life: Life) -> End {
    if let Some(core) = core {
        pin_to(core);
    }
    let name = format!("shard-{}", life.shard.0);
    let lived = catch_unwind(AssertUnwindSafe(|| match kind {
        Kind::IoUring => {
            let executor = executor(&name)?;
            Ok(executor.run(async move {
                let end = guarded(main, IoUring::here(), life).await;
                // A life that returned has put its things away, and the process ends with it.
                if matches!(end, End::Panicked(_)) {
                    end_all().await;
                }
                end
            }))
        }
        Kind::Epoll => Epoll::run(async move { guarded(main, Epoll::here(), life).await }),
    }));
    match lived {
        Ok(Ok(end)) => end,
        Ok(Err(error)) => {
            let error: io::Error = error;
            End::NotStarted(error.to_string())
        }
        Err(panic) => End::Panicked(message(&*panic)),
    }
}

/// Inside the executor, so that it ends in order.
async fn guarded<M: Main, R: Runtime>(main: Arc<M>, runtime: R, life: Life) -> End {
    let run = async move { main.run(runtime, life).await };
    match AssertUnwindSafe(run).catch_unwind().await {
        Ok(()) => End::Returned,
        Err(panic) => End::Panicked(message(&*panic)),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

/// A core for each of `shards`, among those that this process may use; `None` when they are not to be pinned or too few.
fn cores_for(shards: u16, pin: bool) -> Option<Vec<usize>> {
    if !pin {
        return None;
    }
    let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).ok()?;
    let cores = (0..nix::sched::CpuSet::count()).filter(|core| allowed.is_set(*core) == Ok(true));
    let cores: Vec<_> = cores.take(usize::from(shards)).collect();
    (cores.len() == usize::from(shards)).then_some(cores)
}

/// Best effort: a core that was taken from us since is no reason not to serve.
fn pin_to(core: usize) {
    let mut set = nix::sched::CpuSet::new();
    if set.set(core).is_ok() {
        let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::runtime::io_uring_available;
    use futures_lite::future::block_on;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn kinds() -> impl Iterator<Item = Kind> {
        let ring = io_uring_available().is_ok().then_some(Kind::IoUring);
        ring.into_iter().chain([Kind::Epoll])
    }

    /// Shard 1 panics in its first life; the others wait for the end.
    #[derive(Default)]
    struct OnePanics {
        begun: [AtomicU32; 4],
        named: AtomicU32,
    }

    impl Main for OnePanics {
        async fn run<R: Runtime>(self: Arc<Self>, runtime: R, life: Life) {
            let name = format!("shard-{}", life.shard.0);
            let named = std::thread::current().name() == Some(&name);
            self.named.fetch_add(u32::from(named), Ordering::SeqCst);
            let begun = self.begun[usize::from(life.shard.0)].fetch_add(1, Ordering::SeqCst);
            assert_eq!(begun, life.restarts);
            if life.shard.0 == 1 && life.restarts == 0 {
                runtime.sleep(Duration::from_millis(10)).await;
                panic!("on purpose {}", R::NAME);
            }
            life.stop.asked().await;
        }
    }

    #[test]
    fn four_shards_run_on_any_cores_and_one_that_panics_is_started_again_alone() {
        for kind in kinds() {
            let main = Arc::new(OnePanics::default());
            let mut shards = start(4, true, kind, Arc::clone(&main)).expect("threads");
            let report = block_on(shards.reports.recv()).expect("a report");
            assert_eq!((report.shard, report.restarts), (ShardId(1), 0));
            assert!(matches!(&report.end, End::Panicked(text) if text.contains("on purpose")));
            let begun = || {
                main.begun
                    .each_ref()
                    .map(|begun| begun.load(Ordering::SeqCst))
            };
            let until = crate::net::runtime::clock().instant + Duration::from_secs(10);
            while begun() != [1, 2, 1, 1] && crate::net::runtime::clock().instant < until {
                std::thread::yield_now();
            }
            assert_eq!(begun(), [1, 2, 1, 1], "{kind:?}");
            assert_eq!(main.named.load(Ordering::SeqCst), 5);
            shards.stop(Duration::from_secs(10)).expect("all ended");
        }
    }

    /// Each life holds a connection of its own in a task that never ends, and breaks but for the last.
    struct Holds(std::net::SocketAddr);
    impl Main for Holds {
        async fn run<R: Runtime>(self: Arc<Self>, runtime: R, life: Life) {
            let mut stream = runtime.connect(self.0).await.expect("a connection");
            runtime.spawn(async move {
                let mut some = [0; 1];
                let _ = futures_lite::AsyncReadExt::read(&mut stream, &mut some).await;
            });
            runtime.sleep(Duration::from_millis(5)).await;
            assert!(life.restarts >= 3, "on purpose");
            life.stop.asked().await;
        }
    }

    #[test]
    fn a_life_that_broke_leaves_nothing_open() {
        for kind in kinds() {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let at = listener.local_addr().expect("bound");
            let shards = start(1, false, kind, Arc::new(Holds(at))).expect("threads");
            let mut held: Vec<_> = (0..4)
                .map(|_| listener.accept().expect("a connection").0)
                .collect();
            let last = held.pop().expect("four");
            for mut closed in held {
                let patience = Some(Duration::from_secs(10));
                closed.set_read_timeout(patience).expect("an option");
                let read = std::io::Read::read(&mut closed, &mut [0]);
                assert_eq!(read.ok(), Some(0), "{kind:?}: closed by its end");
            }
            last.set_nonblocking(true).expect("an option");
            let waits = std::io::Read::read(&mut &last, &mut [0]);
            assert!(waits.is_err(), "{kind:?}: the living one keeps its own");
            shards.stop(Duration::from_secs(10)).expect("all ended");
        }
    }

    struct Deaf;
    impl Main for Deaf {
        async fn run<R: Runtime>(self: Arc<Self>, runtime: R, _: Life) {
            runtime.sleep(Duration::from_millis(500)).await;
        }
    }

    #[test]
    fn stopping_waits_no_longer_than_it_was_told() {
        for kind in kinds() {
            let shards = start(1, false, kind, Arc::new(Deaf)).expect("threads");
            assert_eq!(shards.stop(Duration::from_millis(50)), Err(StillRunning));
        }
    }

    struct Hopeless;
    impl Main for Hopeless {
        async fn run<R: Runtime>(self: Arc<Self>, _: R, _: Life) {
            panic!("on purpose");
        }
    }

    #[test]
    fn a_shard_that_waits_for_its_next_life_does_not_hold_up_a_stop() {
        let mut shards = start(1, false, Kind::Epoll, Arc::new(Hopeless)).expect("threads");
        for restarts in 0..4 {
            let report = block_on(shards.reports.recv()).expect("a report");
            assert_eq!(report.restarts, restarts);
        }
        // The pause is 400 ms now.
        let before = crate::net::runtime::clock().instant;
        shards.stop(Duration::from_secs(10)).expect("all ended");
        let took = crate::net::runtime::clock().instant.since(before);
        assert!(took < Duration::from_millis(300), "{took:?}");
    }

    #[test]
    fn the_pause_doubles_up_to_its_bound() {
        let pauses = [0, 1, 2, 60].map(|n| pause_before(n).as_millis());
        assert_eq!(pauses, [50, 100, 200, 5000]);
    }

    #[test]
    fn shards_are_pinned_only_where_each_has_a_core() {
        assert_eq!(cores_for(1, false), None);
        assert_eq!(cores_for(1, true).map(|cores| cores.len()), Some(1));
        assert_eq!(cores_for(u16::MAX, true), None);
    }
}
