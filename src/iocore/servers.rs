//! Own servers are asked how they are, each by this one task for all shards.
//!
//! One poll a server at a time, a page at a time, each page bounded in time and size: a server that hangs holds up nobody else's poll. What
//! to ask and what the answers mean is `shard::Probe`'s; this waits, fetches, tells what came of it, and writes a line when a server's state
//! changes. What a shard makes of old news is its own affair.

use crate::base::{Instant, Now, Rng};
use crate::config::{Config, LogLevel};
use crate::iocore::credentials::Note;
use crate::iocore::http::{Ask, Http};
use crate::iocore::run;
use crate::shard::{LogLine, Next, Probe, Report, ServerNews, State, Watched};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The last news of every server there is any of, in the order of the configuration. An entry is replaced, never changed.
pub type Table = Arc<Vec<Arc<Told>>>;

/// What a poll came to, and when by the I/O core's clock.
#[derive(Clone, Debug)]
pub struct Told {
    pub server: Arc<Watched>,
    pub report: Report,
    at: Instant,
}

impl Told {
    /// As shards take it: with its age, since their clocks began at another time than ours.
    #[must_use]
    pub fn news(&self) -> ServerNews {
        ServerNews {
            name: self.server.name.clone(),
            report: self.report,
            age: run::now().instant.since(self.at),
        }
    }
}

/// The servers of a configuration that are to be asked.
#[must_use]
pub fn wanted(config: &Config) -> Vec<Watched> {
    crate::shard::watched(config)
}

/// One server's standing.
struct Entry {
    /// Different for each that ever was, so that a late poll of one that was configured anew finds nobody.
    number: u64,
    server: Arc<Watched>,
    http: Arc<Http>,
    /// Out with the poll while one runs.
    probe: Option<Probe>,
    next: Instant,
    state: State,
    told: Option<Arc<Told>>,
}

/// A poll's end.
struct Polled {
    number: u64,
    probe: Probe,
    report: Option<Report>,
    /// What went wrong last, if anything did.
    trouble: Option<String>,
}

/// Asks all of them, for as long as it is polled.
pub struct Watcher {
    entries: Vec<Entry>,
    numbers: u64,
    clock: Box<dyn Fn() -> Now + Send>,
    rng: Rng,
    running: JoinSet<Polled>,
    table: watch::Sender<Table>,
    note: Note,
}

impl Watcher {
    /// `seed`: different in each process.
    pub fn new(
        clock: impl Fn() -> Now + Send + 'static,
        table: watch::Sender<Table>,
        note: Note,
        seed: u64,
    ) -> Self {
        Self {
            entries: Vec::new(),
            numbers: 0,
            clock: Box::new(clock),
            rng: Rng::seeded(seed),
            running: JoinSet::new(),
            table,
            note,
        }
    }

    /// Servers that a new configuration asks as the old one did keep what is known of them.
    pub async fn watch(mut self, mut wanted: watch::Receiver<Vec<Watched>>) {
        let first = wanted.borrow_and_update().clone();
        self.serve(first);
        loop {
            self.begin_due();
            let pause = self.pause();
            tokio::select! {
                changed = wanted.changed() => {
                    if changed.is_err() {
                        // Nobody is left who could want anything.
                        return;
                    }
                    let news = wanted.borrow_and_update().clone();
                    self.serve(news);
                }
                Some(Ok(polled)) = self.running.join_next() => self.take(polled),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn serve(&mut self, wanted: Vec<Watched>) {
        let now = (self.clock)().instant;
        let mut old = std::mem::take(&mut self.entries);
        for server in wanted {
            let known = old.iter().position(|entry| *entry.server == server);
            let entry = match known {
                Some(at) => old.swap_remove(at),
                None => self.entry(server, now),
            };
            self.entries.push(entry);
        }
        self.publish();
    }

    fn entry(&mut self, server: Watched, now: Instant) -> Entry {
        self.numbers += 1;
        Entry {
            number: self.numbers,
            http: Arc::new(Http::trusting(server.ca.clone())),
            probe: Some(Probe::new(&server.health)),
            server: Arc::new(server),
            // At once: until it is heard of, a request may be led to one that is down.
            next: now,
            state: State::Unknown,
            told: None,
        }
    }

    fn begin_due(&mut self) {
        let now = (self.clock)().instant;
        for entry in self.entries.iter_mut().filter(|entry| entry.next <= now) {
            let Some(probe) = entry.probe.take() else {
                continue;
            };
            // Up to a tenth sooner, by chance, so that instances and servers do not keep step.
            let every = entry.server.health.every;
            entry.next = now + every.mul_f64(1.0 - self.rng.unit() / 10.0);
            let (number, server) = (entry.number, Arc::clone(&entry.server));
            self.running
                .spawn(poll(number, probe, server, Arc::clone(&entry.http)));
        }
    }

    /// Until the next poll is due; a minute at most, since clocks may jump.
    fn pause(&self) -> Duration {
        let idle = self.entries.iter().filter(|entry| entry.probe.is_some());
        let at = idle.map(|entry| entry.next).min().unwrap_or(Instant::NEVER);
        at.since((self.clock)().instant)
            .clamp(Duration::from_millis(5), Duration::from_secs(60))
    }

    fn take(&mut self, polled: Polled) {
        let now = (self.clock)();
        let mut entries = self.entries.iter_mut();
        // A reload may have dropped it meanwhile.
        let Some(entry) = entries.find(|entry| entry.number == polled.number) else {
            return;
        };
        entry.probe = Some(polled.probe);
        let Some(report) = polled.report else {
            return;
        };
        let changed = entry.state != report.state;
        entry.state = report.state;
        entry.told = Some(Arc::new(Told {
            server: Arc::clone(&entry.server),
            report,
            at: now.instant,
        }));
        if changed {
            let mut fields = vec![("provider", entry.server.name.provider.clone())];
            fields.extend(polled.trouble.map(|trouble| ("error", trouble)));
            let (level, message) = words(report.state);
            (self.note)(LogLine {
                at: now.wall,
                level,
                message,
                fields,
            });
        }
        self.publish();
    }

    fn publish(&self) {
        let told = self.entries.iter().filter_map(|entry| entry.told.clone());
        self.table.send_replace(Arc::new(told.collect()));
    }
}

fn words(state: State) -> (LogLevel, &'static str) {
    match state {
        State::Unknown | State::Well => (LogLevel::Info, "an own server is well"),
        State::Draining => (LogLevel::Warn, "an own server takes nothing new"),
        State::Down => (LogLevel::Warn, "an own server is down"),
    }
}

/// One poll, to its end: as many pages as the probe asks for, none of them twice.
async fn poll(number: u64, mut probe: Probe, server: Arc<Watched>, http: Arc<Http>) -> Polled {
    let (mut path, mut trouble) = (probe.begin(), None);
    loop {
        let answer = http
            .call(Ask {
                method: "GET",
                url: &url(&server, &path),
                headers: server
                    .headers
                    .iter()
                    .map(|(name, value)| (&**name, value.clone()))
                    .collect(),
                body: Vec::new(),
                patience: server.health.timeout,
            })
            .await;
        let next = match &answer {
            Ok(answer) => {
                if !(200..=299).contains(&answer.status) {
                    let bare = path.split('?').next().unwrap_or_default();
                    trouble = Some(format!("{bare}: status {}", answer.status));
                }
                probe.answer(Some((answer.status, &answer.body)))
            }
            Err(error) => {
                trouble = Some(error.clone());
                probe.answer(None)
            }
        };
        let report = match next {
            Next::Ask(next) => {
                path = next;
                continue;
            }
            Next::Told(report) => Some(report),
            Next::Nothing => None,
        };
        // What a page of load had to say against being read is no trouble of the server's.
        let trouble = trouble.filter(|_| report.is_none_or(|r| r.state != State::Well));
        return Polled {
            number,
            probe,
            report,
            trouble,
        };
    }
}

fn url(server: &Watched, path: &str) -> String {
    let mark = match (server.query.is_empty(), path.contains('?')) {
        (true, _) => "",
        (false, false) => "?",
        (false, true) => "&",
    };
    format!("{}{path}{mark}{}", server.name.base, server.query)
}

#[cfg(test)]
#[path = "servers_tests.rs"]
mod tests;
