//! The I/O core itself: one named thread, a tokio current-thread runtime, and the lanes from the shards.
//!
//! SQLite and the log's file are written in the runtime's blocking threads, so a slow disk holds up neither signals nor ticks. While
//! the ledger cannot be written its rows wait in their lanes, the room told to shards shrinks, and admission refuses at the bound.

use crate::base::{Instant, Now, ShardId, WallTime};
use crate::config::{Config, LogLevel};
use crate::iocore::credentials::{self, Keeper, Refresh, Table, Wanted};
use crate::iocore::lane::{self, Lane, Receiver, Sender};
use crate::iocore::ledger::{self, Writer};
use crate::iocore::{log, resolve};
use crate::shard::{LedgerRow, LogLine, Mail};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
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
    shared: Arc<Shared>,
    shard: usize,
    /// Rows beyond the lane: none while the shard keeps within its room.
    overflow: VecDeque<Box<LedgerRow>>,
}

/// Counted for `/metrics`.
#[derive(Debug, Default)]
struct Shared {
    stopping: AtomicBool,
    unsettled: Vec<AtomicUsize>,
    backlog_max: usize,
    written: AtomicU64,
    duplicates: AtomicU64,
    failures: AtomicU64,
    dropped: AtomicU64,
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
            rows_waiting: shared.unsettled.iter().map(|n| n.load(Relaxed)).sum(),
        }
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
}

impl ShardLanes {
    /// Another hold on the same lanes, for a shard that is started again; what waits beyond the lane stays with this one.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            ledger: self.ledger.clone(),
            log: self.log.clone(),
            refresh: self.refresh.clone(),
            shared: Arc::clone(&self.shared),
            shard: self.shard,
            overflow: VecDeque::new(),
        }
    }

    /// Takes one mail; never blocks. A log line is dropped and counted when its lane is full, a ledger row never is.
    pub fn post(&mut self, mail: Mail) {
        match mail {
            Mail::Ledger(row) => {
                self.shared.unsettled[self.shard].fetch_add(1, Relaxed);
                self.overflow.push_back(row);
                self.flush();
            }
            Mail::Refresh { source, generation } => {
                // As many wait as there are shards and sources; one that is lost is asked for again by the next refusal.
                let _ = self.refresh.try_send(Refresh { source, generation });
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
                return;
            }
        }
    }

    /// Rows that may be sent just now: exact, where the number given to `on_room` may be older than rows under way.
    #[must_use]
    pub fn room(&self) -> usize {
        self.shared.room(self.shard)
    }
}

impl Shared {
    fn room(&self, shard: usize) -> usize {
        self.backlog_max
            .saturating_sub(self.unsettled[shard].load(Relaxed))
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }
}

impl IoCore {
    /// Starts the thread; returns once the ledger is open. An error when it cannot be (no folder, a newer version).
    pub fn start(setup: Setup) -> io::Result<(Self, Vec<ShardLanes>)> {
        std::fs::create_dir_all(&setup.config.data_dir)?;
        let path = ledger::path(&setup.config.data_dir);
        let writer = Writer::open(&path).map_err(io::Error::other)?;
        let shards = usize::from(setup.shards);
        let backlog = setup.config.ledger.backlog_rows_max;
        let shared = Arc::new(Shared {
            unsettled: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            backlog_max: backlog,
            ..Shared::default()
        });
        let (mut lanes, mut rows, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        let (refresh, asked) = Lane::new(REFRESHES);
        for shard in 0..shards {
            let (ledger, row) = Lane::new(backlog);
            // 65,536 lines in all, as promised for the lossy lane.
            let (log, line) = Lane::new(65_536 / shards);
            lanes.push(ShardLanes {
                ledger,
                log,
                refresh: refresh.clone(),
                shared: shared.clone(),
                shard,
                overflow: VecDeque::new(),
            });
            rows.push(row);
            lines.push(line);
        }
        let (resolver, questions) = resolve::Resolver::new();
        let (notes, own) = Lane::new(1_024);
        lines.push(own);
        let books = Books {
            writer: Some(writer),
            path,
            rows,
            config: setup.config.clone(),
            on_room: setup.on_room,
            shared: shared.clone(),
            notes,
        };
        let scribe = Scribe {
            lines,
            format: setup.config.log.format,
            to: Some(setup.log_to),
            shared: shared.clone(),
            told: 0,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(16)
            .build()?;
        let (wanted, sources) = watch::channel(credentials::wanted(&setup.config));
        let (table, credentials) = watch::channel(Table::default());
        let keeper = Keeper::new(now, table, noting(&books), seed());
        let keeping = async move { keeper.keep(sources, asked).await };
        let (on_signal, tick) = (setup.on_signal, setup.tick);
        let thread = std::thread::Builder::new()
            .name("iocore".to_owned())
            .spawn(move || {
                let others = async {
                    tokio::join!(
                        resolve::serve(questions, now),
                        signals(on_signal),
                        ticks(tick),
                        keeping
                    );
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
            },
            lanes,
        ))
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

    /// Fetches for the sources of `config` from now on; those that were there before keep what they have.
    pub fn reload(&self, config: &Config) {
        // The task ends only with the thread.
        let _ = self.wanted.send(credentials::wanted(config));
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
        self.shared.unsettled.iter().map(|n| n.load(Relaxed)).sum()
    }
}

async fn serve(mut books: Books, mut scribe: Scribe, others: impl Future<Output = ()>) {
    let others = async {
        tokio::join!(others, scribe.write_on());
    };
    tokio::select! {
        () = books.keep() => {}
        () = others => {}
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), scribe.write_once()).await;
}

/// Requests for new credentials that may wait.
const REFRESHES: usize = 256;

/// Takes lines to the log as the ledger's own do.
fn noting(books: &Books) -> credentials::Note {
    let (notes, shared) = (books.notes.clone(), books.shared.clone());
    let level = books.config.log.level;
    Box::new(move |line| {
        if line.level <= level && notes.try_send(Box::new(line)).is_err() {
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
fn now() -> Now {
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

/// Keeps the ledger.
struct Books {
    writer: Option<Writer>,
    path: std::path::PathBuf,
    rows: Vec<Receiver<Box<LedgerRow>>>,
    config: Arc<Config>,
    on_room: Box<dyn Fn(ShardId, usize) + Send>,
    shared: Arc<Shared>,
    notes: Sender<Box<LogLine>>,
}

impl Books {
    async fn keep(&mut self) {
        self.tell_room();
        loop {
            // The pause is how a stop is seen when no row comes.
            let _ = tokio::time::timeout(
                Duration::from_millis(50),
                lane::any_waiting(self.rows.iter()),
            )
            .await;
            let (batch, from) = self.gather().await;
            if batch.is_empty() {
                if self.shared.stopping() {
                    return;
                }
                continue;
            }
            if !self.write(Arc::new(batch)).await {
                return;
            }
            for (unsettled, count) in self.shared.unsettled.iter().zip(from) {
                unsettled.fetch_sub(count, Relaxed);
            }
            self.tell_room();
        }
    }

    /// Waits for more rows to commit together, then takes up to `commit_rows`, and says how many came from each shard.
    async fn gather(&self) -> (Vec<Box<LedgerRow>>, Vec<usize>) {
        let most = self.config.ledger.commit_rows.max(1);
        let mut left = self.config.ledger.commit_every;
        while !left.is_zero() && !self.shared.stopping() {
            let waiting: usize = self.rows.iter().map(Receiver::len).sum();
            if waiting == 0 || waiting >= most {
                break;
            }
            let nap = left.min(Duration::from_millis(5));
            tokio::time::sleep(nap).await;
            left -= nap;
        }
        let (mut batch, mut from) = (Vec::new(), vec![0; self.rows.len()]);
        let share = most.div_ceil(self.rows.len().max(1));
        for (lane, count) in self.rows.iter().zip(&mut from) {
            while *count < share
                && let Some(row) = lane.try_receive()
            {
                batch.push(row);
                *count += 1;
            }
        }
        (batch, from)
    }

    /// Tries until it is written; false when the node stops and five more seconds did not help.
    async fn write(&mut self, batch: Arc<Vec<Box<LedgerRow>>>) -> bool {
        let (mut wait, mut stopping_for) = (Duration::from_millis(10), Duration::ZERO);
        let mut failed = false;
        loop {
            match self.try_write(batch.clone()).await {
                Ok(committed) => {
                    self.shared
                        .written
                        .fetch_add(committed.written as u64, Relaxed);
                    self.shared
                        .duplicates
                        .fetch_add(committed.duplicates as u64, Relaxed);
                    if failed {
                        self.note(LogLevel::Info, "the ledger is written again", String::new());
                    }
                    return true;
                }
                Err(error) => {
                    if self
                        .shared
                        .failures
                        .fetch_add(1, Relaxed)
                        .is_multiple_of(64)
                        || !failed
                    {
                        self.note(
                            LogLevel::Error,
                            "the ledger cannot be written; rows wait",
                            error,
                        );
                    }
                    failed = true;
                    self.tell_room();
                }
            }
            if self.shared.stopping() {
                stopping_for += wait;
                if stopping_for > Duration::from_secs(5) {
                    return false;
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(1));
        }
    }

    async fn try_write(
        &mut self,
        batch: Arc<Vec<Box<LedgerRow>>>,
    ) -> Result<ledger::Committed, String> {
        let (writer, path) = (self.writer.take(), self.path.clone());
        let task = tokio::task::spawn_blocking(move || {
            let mut writer = match writer {
                Some(writer) => writer,
                None => Writer::open(&path).map_err(|error| error.to_string())?,
            };
            let result = writer.commit(&batch).map_err(|error| error.to_string());
            Ok::<_, String>((writer, result))
        });
        // After a panic the writer is opened anew; the rows are still ours.
        let (writer, result) = task.await.map_err(|error| error.to_string())??;
        self.writer = Some(writer);
        result
    }

    fn tell_room(&self) {
        for shard in 0..self.rows.len() {
            (self.on_room)(ShardId(shard as u16), self.shared.room(shard));
        }
    }

    fn note(&self, level: LogLevel, message: &'static str, error: String) {
        let line = LogLine {
            at: now().wall,
            level,
            message,
            fields: vec![("error", error)],
        };
        if self.notes.try_send(Box::new(line)).is_err() {
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// Writes the log.
struct Scribe {
    lines: Vec<Receiver<Box<LogLine>>>,
    format: crate::config::LogFormat,
    to: Option<Box<dyn Write + Send>>,
    shared: Arc<Shared>,
    /// Dropped lines that the log already tells of.
    told: u64,
}

impl Scribe {
    async fn write_on(&mut self) {
        loop {
            lane::any_waiting(self.lines.iter()).await;
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
                log::append(&line, self.format, &mut text);
            }
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
