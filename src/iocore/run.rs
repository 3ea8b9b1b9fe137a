//! The I/O core itself: one named thread, a tokio current-thread runtime, and the lanes from the shards.
//!
//! SQLite and the log's file are written in the runtime's blocking threads, so a slow disk holds up neither signals nor ticks. While
//! the ledger cannot be written its rows wait in their lanes, the room told to shards shrinks, and admission refuses at the bound.

use crate::base::{Instant, Now, ShardId, WallTime};
use crate::config::{Config, LogLevel};
use crate::iocore::books::Books;
use crate::iocore::claim::Claim;
use crate::iocore::credentials::{self, Keeper, Refresh, Table, Wanted};
use crate::iocore::lane::{self, Lane, Receiver, Sender};
use crate::iocore::ledger::{self, Writer};
use crate::iocore::redis::{Counts, Link, Mailbox};
use crate::iocore::servers::{self, Watcher};
use crate::iocore::spool::{self, Asked, Keeper as SpoolKeeper, Supply};
use crate::iocore::trace::{Ear, Heard};
use crate::iocore::{log, resolve};
use crate::shard::{Input, LeaseAsk, LedgerRow, LogLine, Mail, Watched};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What the process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Terminate,
    Interrupt,
    Hangup,
}

/// What an I/O core is made of.
pub struct Setup {
    pub config: Arc<Config>,
    /// Of the configuration's data directory.
    pub claim: Claim,
    pub shards: u16,
    /// Called with the rows a shard may send, at the start and whenever rows were written or could not be.
    pub on_room: Box<dyn Fn(ShardId, usize) + Send>,
    pub on_signal: Box<dyn FnMut(Signal) + Send>,
    /// The watchdog's hook and how often it is called, 5 ms or coarser.
    pub tick: Option<(Duration, Box<dyn FnMut() + Send>)>,
    /// Where log lines go.
    pub log_to: Box<dyn Write + Send>,
}

/// One shard's ends of the lanes.
#[derive(Debug)]
pub struct ShardLanes {
    ledger: Sender<Box<LedgerRow>>,
    log: Sender<Box<LogLine>>,
    refresh: Sender<Refresh>,
    /// None where nothing is spooled.
    spool: Option<spool::Writer>,
    questions: Sender<Asked>,
    leases: Sender<Box<LeaseAsk>>,
    shared: Arc<Shared>,
    shard: usize,
    /// Which of the shard's lives these are of.
    life: u32,
    /// Rows beyond the lane: none while the shard keeps within its room.
    overflow: VecDeque<Box<LedgerRow>>,
    /// Likewise of questions: as many as there are who ask.
    unasked: VecDeque<Asked>,
}

/// What the I/O core sends to a shard.
#[derive(Debug)]
pub struct Letter {
    /// To which of its lives; `None` is any.
    pub life: Option<u32>,
    pub input: Input,
}

/// Counted for `/metrics`.
#[derive(Debug, Default)]
pub struct Shared {
    stopping: AtomicBool,
    /// The ledger has all it will have.
    closed: AtomicBool,
    /// By shard: rows it has sent since the start, and those of them that were written. In this order: counted as sent, in the spool, in the lane.
    sent: Vec<AtomicU64>,
    committed: Vec<AtomicU64>,
    lives: Vec<AtomicU32>,
    pub(super) spool: SpoolMeters,
    pub(super) unsettled: Vec<AtomicUsize>,
    backlog_max: usize,
    pub(super) written: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) failures: AtomicU64,
    dropped: Arc<AtomicU64>,
    /// Why the ledger is not written, for who asks whether we are ready.
    pub(super) trouble: watch::Sender<Option<String>>,
}

/// What the spool's keeper shows of it.
#[derive(Debug, Default)]
pub struct SpoolMeters {
    pub full: AtomicBool,
    pub bytes: AtomicU64,
    pub answers: AtomicU64,
    pub running: AtomicU64,
    /// Segments that a shard had to make itself.
    pub late: AtomicU64,
    /// Records that found no room on the disk.
    pub lost: AtomicU64,
    /// Answers forgotten for room.
    pub dropped: AtomicU64,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meters {
    pub rows_written: u64,
    pub rows_duplicate: u64,
    pub commits_failed: u64,
    pub lines_dropped: u64,
    /// Rows sent and not yet written.
    pub rows_waiting: usize,
    /// Of the spool, on disk.
    pub spool_bytes: u64,
    /// That are remembered, and those of them that still come.
    pub spool_answers: u64,
    pub spool_running: u64,
    pub spool_late: u64,
    pub spool_lost: u64,
    pub spool_dropped: u64,
}

/// Reads the counters, from any thread.
#[derive(Clone, Debug)]
pub struct Counters(Arc<Shared>);

impl Counters {
    #[must_use]
    pub fn read(&self) -> Meters {
        let shared = &self.0;
        Meters {
            rows_written: shared.written.load(Relaxed),
            rows_duplicate: shared.duplicates.load(Relaxed),
            commits_failed: shared.failures.load(Relaxed),
            lines_dropped: shared.dropped.load(Relaxed),
            rows_waiting: shared.waiting(),
            spool_bytes: shared.spool.bytes.load(Relaxed),
            spool_answers: shared.spool.answers.load(Relaxed),
            spool_running: shared.spool.running.load(Relaxed),
            spool_late: shared.spool.late.load(Relaxed),
            spool_lost: shared.spool.lost.load(Relaxed),
            spool_dropped: shared.spool.dropped.load(Relaxed),
        }
    }

    /// What keeps the ledger or the spool from being written, when it does not pass by itself or lasts; `None` while all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let full = self.0.spool.full.load(Relaxed);
        let told = || "the spool is full of running answers, or its disk is".to_owned();
        self.0.trouble.borrow().clone().or(full.then(told))
    }
}

/// The running I/O core.
#[derive(Debug)]
pub struct IoCore {
    thread: std::thread::JoinHandle<()>,
    shared: Arc<Shared>,
    resolver: resolve::Resolver,
    wanted: watch::Sender<Vec<Wanted>>,
    credentials: watch::Receiver<Table>,
    watched: watch::Sender<Vec<Watched>>,
    servers: watch::Receiver<servers::Table>,
    /// What shards are told, until whoever runs them takes it.
    told: Vec<Receiver<Letter>>,
    mailboxes: Arc<[Mailbox]>,
    counts: Option<Arc<Counts>>,
    /// Let go of when all is written.
    claim: Claim,
}

impl ShardLanes {
    /// Another hold on the same lanes, for a shard that is started again; what waits beyond the lane stays with this one.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            ledger: self.ledger.clone(),
            log: self.log.clone(),
            refresh: self.refresh.clone(),
            spool: self.spool.as_ref().map(spool::Writer::another),
            questions: self.questions.clone(),
            leases: self.leases.clone(),
            shared: Arc::clone(&self.shared),
            shard: self.shard,
            life: self.shared.lives[self.shard].fetch_add(1, Relaxed) + 1,
            overflow: VecDeque::new(),
            unasked: VecDeque::new(),
        }
    }

    /// Takes one mail; never blocks. A log line is dropped and counted when its lane is full, a ledger row never is.
    pub fn post(&mut self, mail: Mail) {
        match mail {
            Mail::Ledger(row) => {
                self.shared.unsettled[self.shard].fetch_add(1, Relaxed);
                if let Some(spool) = &mut self.spool {
                    self.shared.sent[self.shard].fetch_add(1, Relaxed);
                    spool.row(&row);
                }
                self.overflow.push_back(row);
                self.flush();
            }
            Mail::Spool(note) => {
                if let Some(spool) = &mut self.spool {
                    spool.note(&note);
                }
            }
            Mail::Ask(question) => {
                self.unasked.push_back(Asked {
                    shard: ShardId(self.shard as u16),
                    life: self.life,
                    question,
                });
                self.flush();
            }
            Mail::Refresh { source, generation } => {
                // As many wait as there are shards and sources; one that is lost is asked for again by the next refusal.
                let _ = self.refresh.try_send(Refresh { source, generation });
            }
            Mail::Lease(ask) => {
                // The next ask says all of it again.
                let _ = self.leases.try_send(ask);
            }
            Mail::Log(line) => {
                if self.log.try_send(line).is_err() {
                    self.shared.dropped.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// Sends what had no place before, in order. To be called on every news of room.
    pub fn flush(&mut self) {
        while let Some(row) = self.overflow.pop_front() {
            if let Err(row) = self.ledger.try_send(row) {
                self.overflow.push_front(row);
                break;
            }
        }
        while let Some(asked) = self.unasked.pop_front() {
            if let Err(asked) = self.questions.try_send(asked) {
                self.unasked.push_front(asked);
                return;
            }
        }
    }

    /// Which of the shard's lives these are of.
    #[must_use]
    pub fn life(&self) -> u32 {
        self.life
    }

    /// Rows that may be sent just now: exact, where the number given to `on_room` may be older than rows under way.
    #[must_use]
    pub fn room(&self) -> usize {
        self.shared.room(self.shard)
    }
}

impl Shared {
    /// Rows sent and not yet written.
    pub(super) fn waiting(&self) -> usize {
        self.unsettled.iter().map(|n| n.load(Relaxed)).sum()
    }

    pub(super) fn room(&self, shard: usize) -> usize {
        self.backlog_max
            .saturating_sub(self.unsettled[shard].load(Relaxed))
    }

    /// Rows of a shard since the start: sent, and in the ledger.
    pub(super) fn sent(&self, shard: ShardId) -> u64 {
        self.sent[usize::from(shard.0)].load(Relaxed)
    }

    pub(super) fn committed(&self, shard: ShardId) -> u64 {
        let committed = self.committed.get(usize::from(shard.0));
        // Of a shard that there is no more nothing is missing.
        committed.map_or(u64::MAX, |count| count.load(Relaxed))
    }

    pub(super) fn commit(&self, shard: usize, rows: usize) {
        self.unsettled[shard].fetch_sub(rows, Relaxed);
        self.committed[shard].fetch_add(rows as u64, Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }
}

impl IoCore {
    /// Starts the thread; returns once the ledger is open. An error when it cannot be: a newer version, a damaged file, or another
    /// program's lock for longer than `OPEN_PATIENCE`.
    pub fn start(setup: Setup) -> io::Result<(Self, Vec<ShardLanes>)> {
        let path = ledger::path(&setup.config.data_dir);
        let mut writer = open(&path)?;
        let shards = usize::from(setup.shards);
        let backlog = setup.config.ledger.backlog_rows_max;
        let shared = Arc::new(Shared {
            unsettled: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            sent: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            committed: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            lives: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            backlog_max: backlog,
            ..Shared::default()
        });
        let (mut lanes, mut rows, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        let (refresh, asked) = Lane::new(REFRESHES);
        let recovered = spool::recover(&setup.config, &mut writer, now())?;
        let (to_store, questions) = Lane::new(QUESTIONS);
        let (mut supplies, mut replies, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let (leases, asks) = Lane::new(LEASE_ASKS);
        for shard in 0..shards {
            let (ledger, row) = Lane::new(backlog);
            // 65,536 lines in all, as promised for the lossy lane.
            let (log, line) = Lane::new(65_536 / shards);
            let supply = Arc::new(Supply::new(
                ShardId(shard as u16),
                recovered.folder.clone(),
                usize::try_from(setup.config.spool.segment_bytes.0).unwrap_or(usize::MAX),
                seed() ^ (now().wall.0 as u64).rotate_left(20),
            ));
            let enabled = setup.config.spool.enabled;
            let (reply, letters) = Lane::new(QUESTIONS);
            lanes.push(ShardLanes {
                ledger,
                log,
                refresh: refresh.clone(),
                spool: enabled.then(|| spool::Writer::new(Arc::clone(&supply))),
                questions: to_store.clone(),
                leases: leases.clone(),
                shared: shared.clone(),
                shard,
                life: 0,
                overflow: VecDeque::new(),
                unasked: VecDeque::new(),
            });
            supplies.extend(enabled.then_some(supply));
            replies.push(reply);
            told.push(letters);
            rows.push(row);
            lines.push(line);
        }
        let (resolver, names) = resolve::Resolver::new();
        // What the I/O core says is rare; a library gone mad is cut off here.
        let (notes, heard) = Lane::new(1_024);
        let own_notes = notes.clone();
        let ear = Ear::open(
            setup.config.log.level,
            notes,
            shared.dropped.clone(),
            || now().wall,
        );
        let mut spool = SpoolKeeper::new(spool::Parts {
            config: setup.config.spool.clone(),
            folder: recovered.folder,
            supplies,
            index: recovered.index,
            questions,
            ledger: path.clone(),
            replies,
            shared: shared.clone(),
        });
        let books = Books {
            writer: Some(writer),
            path: path.clone(),
            rows,
            config: setup.config.clone(),
            on_room: setup.on_room,
            shared: shared.clone(),
            forget_at: now().instant + Duration::from_secs(10),
        };
        let scribe = Scribe {
            lines,
            heard,
            format: setup.config.log.format,
            to: Some(setup.log_to),
            shared: shared.clone(),
            told: 0,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(16)
            .on_thread_start({
                let ear = ear.clone();
                // For the thread's whole life: no end of it is awaited by whoever could hold the guard.
                move || std::mem::forget(tracing::dispatcher::set_default(&ear))
            })
            .build()?;
        let (wanted, sources) = watch::channel(credentials::wanted(&setup.config));
        let (table, credentials) = watch::channel(Table::default());
        let keeper = Keeper::new(now, table, noting(&books, own_notes.clone()), seed());
        let keeping = async move { keeper.keep(sources, asked).await };
        let (watched, to_watch) = watch::channel(servers::wanted(&setup.config));
        let (table, servers) = watch::channel(servers::Table::default());
        let mailboxes = Mailbox::of_shards(shards);
        let link = setup.config.redis.as_ref().map(|redis| {
            let boxes = Arc::clone(&mailboxes);
            Link::new(redis, asks, boxes, (now, noting(&books, own_notes.clone())))
        });
        let link = link.transpose().map_err(io::Error::other)?;
        let counts = link.as_ref().map(Link::counts);
        let carrying = async move {
            if let Some(link) = link {
                link.carry().await;
            }
        };
        let watcher = Watcher::new(now, table, noting(&books, own_notes), seed());
        let watching = async move { watcher.watch(to_watch).await };
        let (on_signal, tick) = (setup.on_signal, setup.tick);
        let thread = std::thread::Builder::new()
            .name("iocore".to_owned())
            .spawn(move || {
                let _heard = tracing::dispatcher::set_default(&ear);
                tracing::debug!(path = %path.display(), "the ledger is open");
                let others = async {
                    tokio::join!(
                        resolve::serve(names, now),
                        signals(on_signal),
                        ticks(tick),
                        keeping,
                        watching,
                        carrying
                    );
                };
                let ended = Arc::clone(&books.shared);
                let books = async {
                    let mut books = books;
                    // The spool waits for the last rows before it ends.
                    let ledger = async {
                        books.keep().await;
                        ended.closed.store(true, Relaxed);
                    };
                    tokio::join!(ledger, spool.keep());
                };
                runtime.block_on(serve(books, scribe, others));
                // A resolver or a log's reader that hangs must not keep the process.
                runtime.shutdown_timeout(Duration::from_secs(1));
            })?;
        Ok((
            Self {
                thread,
                shared,
                resolver,
                wanted,
                credentials,
                watched,
                servers,
                mailboxes,
                counts,
                claim: setup.claim,
                told,
            },
            lanes,
        ))
    }

    /// Where each shard hears what the I/O core tells it; once.
    pub fn take_told(&mut self) -> Vec<Receiver<Letter>> {
        std::mem::take(&mut self.told)
    }

    #[must_use]
    pub fn resolver(&self) -> resolve::Resolver {
        self.resolver.clone()
    }

    /// What is held of every source whose credentials expire, and every change of it.
    #[must_use]
    pub fn credentials(&self) -> watch::Receiver<Table> {
        self.credentials.clone()
    }

    /// What is known of every own server that is asked how it is, and every change of it.
    #[must_use]
    pub fn servers(&self) -> watch::Receiver<servers::Table> {
        self.servers.clone()
    }

    /// What Redis says to each shard.
    #[must_use]
    pub fn mailboxes(&self) -> Arc<[Mailbox]> {
        Arc::clone(&self.mailboxes)
    }

    /// Of the link to Redis, where there is one.
    #[must_use]
    pub fn link(&self) -> Option<Arc<Counts>> {
        self.counts.clone()
    }

    /// Fetches for the sources and asks the servers of `config` from now on; those that were there before keep what they have.
    pub fn reload(&self, config: &Config) {
        // The tasks end only with the thread.
        let _ = self.wanted.send(credentials::wanted(config));
        let _ = self.watched.send(servers::wanted(config));
    }

    #[must_use]
    pub fn meters(&self) -> Meters {
        self.counters().read()
    }

    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters(Arc::clone(&self.shared))
    }

    /// Writes what waits and joins the thread. To be called when the shards have stopped. Returns the rows that could not be
    /// written in five seconds of trying: 0 unless the disk is broken.
    pub fn stop(self) -> usize {
        self.shared.stopping.store(true, Relaxed);
        // A panic of the thread leaves its rows counted as waiting.
        let _ = self.thread.join();
        drop(self.claim);
        self.shared.waiting()
    }
}

/// How long a start waits for another program's lock: a backup or a person at `sqlite3` may be about to let go of it.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);

fn open(path: &std::path::Path) -> io::Result<Writer> {
    Writer::open(path, OPEN_PATIENCE).map_err(|failure| {
        let why = if failure.locked {
            let waited = OPEN_PATIENCE.as_secs();
            format!("another program holds a lock on it, also after {waited} s: a backup, or a shell with an open transaction?")
        } else {
            failure.what
        };
        io::Error::other(format!("{}: {why}", path.display()))
    })
}

async fn serve(
    books: impl Future<Output = ()>,
    mut scribe: Scribe,
    others: impl Future<Output = ()>,
) {
    let others = async {
        tokio::join!(others, scribe.write_on());
    };
    tokio::select! {
        () = books => {}
        () = others => {}
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), scribe.write_once()).await;
}

/// Questions and replies between a shard and the store that have a place in their lanes.
const QUESTIONS: usize = 4_096;

/// Asks of limits that instances share; as many as there are limits in use.
const LEASE_ASKS: usize = 8_192;
/// Requests for new credentials that may wait.
const REFRESHES: usize = 256;

/// Takes lines to the log as the ledger's own do.
fn noting(books: &Books, notes: Sender<Box<Heard>>) -> credentials::Note {
    let shared = books.shared.clone();
    let level = books.config.log.level;
    Box::new(move |line| {
        let heard = Heard {
            at: line.at,
            level: line.level,
            message: line.message.to_owned(),
            fields: line.fields,
        };
        if line.level <= level && notes.try_send(Box::new(heard)).is_err() {
            shared.dropped.fetch_add(1, Relaxed);
        }
    })
}

/// Different in every process, so that instances which started together do not fetch together.
fn seed() -> u64 {
    u64::from(std::process::id()) ^ (now().wall.0 as u64)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the I/O core's one reading of the clocks"
)]
pub(super) fn now() -> Now {
    let wall = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let nanos = i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX);
    let start = START.get_or_init(std::time::Instant::now);
    Now {
        instant: Instant(0) + start.elapsed(),
        wall: WallTime(nanos),
    }
}

static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();

async fn signals(mut tell: Box<dyn FnMut(Signal) + Send>) {
    let heard = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = heard else {
        return;
    };
    loop {
        let signal = tokio::select! {
            _ = terminate.recv() => Signal::Terminate,
            _ = interrupt.recv() => Signal::Interrupt,
            _ = hangup.recv() => Signal::Hangup,
        };
        tell(signal);
    }
}

async fn ticks(tick: Option<(Duration, Box<dyn FnMut() + Send>)>) {
    let Some((every, mut call)) = tick else {
        return std::future::pending().await;
    };
    let mut interval = tokio::time::interval(every.max(Duration::from_millis(5)));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        call();
    }
}

/// Writes the log.
struct Scribe {
    lines: Vec<Receiver<Box<LogLine>>>,
    /// Of our own threads.
    heard: Receiver<Box<Heard>>,
    format: crate::config::LogFormat,
    to: Option<Box<dyn Write + Send>>,
    shared: Arc<Shared>,
    /// Dropped lines that the log already tells of.
    told: u64,
}

impl Scribe {
    async fn write_on(&mut self) {
        loop {
            futures_lite::future::or(
                lane::any_waiting(self.lines.iter()),
                lane::any_waiting(std::iter::once(&self.heard)),
            )
            .await;
            self.write_once().await;
            // Lines of 5 ms share a write.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Writes all that waits. A writer that blocks (a full pipe) holds up only the log.
    async fn write_once(&mut self) {
        let Some(mut to) = self.to.take() else {
            return;
        };
        let mut text = String::new();
        for lane in &self.lines {
            for line in std::iter::from_fn(|| lane.try_receive()).take(8_192) {
                log::append(&*line, self.format, &mut text);
            }
        }
        for heard in std::iter::from_fn(|| self.heard.try_receive()).take(1_024) {
            log::append(&*heard, self.format, &mut text);
        }
        let dropped = self.shared.dropped.load(Relaxed);
        if dropped > self.told {
            let fields = vec![("lines", (dropped - self.told).to_string())];
            let line = LogLine {
                at: now().wall,
                level: LogLevel::Warn,
                message: "log lines were dropped",
                fields,
            };
            log::append(&line, self.format, &mut text);
            self.told = dropped;
        }
        let task = tokio::task::spawn_blocking(move || {
            // Nobody is left to be told that the log cannot be written.
            let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
            to
        });
        self.to = task.await.ok();
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
