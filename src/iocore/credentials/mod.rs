//! Credentials that expire: fetched at the start, and again before they end, for all shards.
//!
//! One task beside the ledger and the resolver. Each source is fetched once for all keys that have it, ahead of its end, with a little chance
//! so that instances do not come together, and with longer and longer pauses after failures; a credential that is still good is kept through
//! them. What is held goes to the shards whole, whenever any of it changes. Decides nothing about requests. In reading order: `plan` (when),
//! `google` and `aws` (how), `iocore/http` (over what).
//!
//! AWS's chain is ours, not `aws-config`: that brings 78 further crates, takes its environment from the process and its clock from the
//! system, so that neither a source of each key's own nor a clock that is corrected by the server's would be possible. Single sign-on is not
//! served; `credential_process` is the way to it.

mod aws;
mod google;
mod plan;
mod profile;
#[cfg(test)]
mod tests;

use crate::base::{Instant, Now, Rng, WallTime};
use crate::config::{Config, KeySource, LogLevel};
use crate::iocore::http::Http;
use crate::iocore::lane::Receiver;
use crate::shard::{Credential, Held, LogLine};
use plan::Plan;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is held of every source, in the order of the configuration.
pub type Table = Arc<Vec<Arc<Held>>>;

/// A source and the keys that have it, for the log.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub source: KeySource,
    pub keys: String,
}

/// A shard's word that a provider refused a credential.
#[derive(Clone, Debug)]
pub struct Refresh {
    pub source: Box<KeySource>,
    pub generation: u64,
}

/// The sources of a configuration that expire, each once.
#[must_use]
pub fn wanted(config: &Config) -> Vec<Wanted> {
    let mut found: Vec<Wanted> = Vec::new();
    for key in config.keys.iter().filter(|key| key.source.expires()) {
        if let Some(known) = found.iter_mut().find(|w| w.source == key.source) {
            known.keys.push(' ');
            known.keys.push_str(&key.name);
        } else {
            found.push(Wanted {
                source: key.source.clone(),
                keys: key.name.clone(),
            });
        }
    }
    found
}

/// What fetching needs of the world: a clock and the network.
#[derive(Clone)]
struct World {
    clock: Arc<dyn Fn() -> Now + Send + Sync>,
    http: Arc<Http>,
}

/// By how much a server's clock is ahead of ours, in nanoseconds.
type Skew = i64;

impl World {
    /// The time as a server with this skew has it.
    fn wall(&self, skew: Skew) -> WallTime {
        WallTime((self.clock)().wall.0.saturating_add(skew))
    }

    /// The skew that `date`, a server's own word of the time, shows where it is other than `skew` by more than a slow answer explains.
    fn corrected(&self, skew: Skew, date: Option<WallTime>) -> Option<Skew> {
        let ours = self.wall(skew).0;
        let off = date?.0.saturating_sub(ours);
        (off.unsigned_abs() > SLACK.as_nanos() as u64).then(|| skew.saturating_add(off))
    }
}

const SLACK: Duration = Duration::from_secs(30);

/// What a fetch brought. `lifetime`: `None` where it has no end.
struct Fetched {
    credential: Credential,
    lifetime: Option<Duration>,
}

/// The outcome of one fetch, and the skew that was learned in it.
struct Outcome {
    source: KeySource,
    skew: Skew,
    result: Result<Fetched, String>,
}

async fn fetch(source: KeySource, mut skew: Skew, world: World) -> Outcome {
    let result = match &source {
        KeySource::Google(google) => google::fetch(google, &mut skew, &world).await,
        KeySource::Aws(aws) => aws::fetch(aws, &mut skew, &world).await,
        KeySource::None | KeySource::Secret(_) => Err("nothing to fetch".to_owned()),
    };
    Outcome {
        source,
        skew,
        result,
    }
}

/// One source's standing.
struct Entry {
    wanted: Wanted,
    held: Arc<Held>,
    plan: Plan,
    skew: Skew,
    running: bool,
}

impl Entry {
    fn new(wanted: Wanted, now: Instant) -> Self {
        let held = Held {
            source: wanted.source.clone(),
            generation: 0,
            credential: None,
        };
        Self {
            wanted,
            held: Arc::new(held),
            plan: Plan::new(now),
            skew: 0,
            running: false,
        }
    }

    /// True once there is something to tell: a credential, or that there is none.
    fn is_known(&self) -> bool {
        self.held.credential.is_some() || self.plan.has_failed()
    }

    /// Holds nothing any more if what was held has ended.
    fn let_go(&mut self, now: Instant) -> bool {
        let ended = self.plan.has_expired(now);
        if ended {
            self.plan.withdrawn();
            self.hold(None);
        }
        ended
    }

    fn hold(&mut self, credential: Option<Credential>) {
        let renewed = u64::from(credential.is_some());
        self.held = Arc::new(Held {
            source: self.held.source.clone(),
            generation: self.held.generation + renewed,
            credential,
        });
    }
}

/// Takes lines for the log.
pub type Note = Box<dyn Fn(LogLine) + Send>;

/// Keeps the credentials of all sources.
pub struct Keeper {
    entries: Vec<Entry>,
    world: World,
    rng: Rng,
    running: JoinSet<Outcome>,
    table: watch::Sender<Table>,
    note: Note,
}

impl Keeper {
    /// `seed`: different in each process.
    pub fn new(
        clock: impl Fn() -> Now + Send + Sync + 'static,
        table: watch::Sender<Table>,
        note: Note,
        seed: u64,
    ) -> Self {
        let world = World {
            clock: Arc::new(clock),
            http: Arc::new(Http::default()),
        };
        Self {
            entries: Vec::new(),
            world,
            rng: Rng::seeded(seed),
            running: JoinSet::new(),
            table,
            note,
        }
    }

    /// Runs for as long as it is polled. Sources that a new configuration still has keep what they have.
    pub async fn keep(
        mut self,
        mut wanted: watch::Receiver<Vec<Wanted>>,
        mut asked: Receiver<Refresh>,
    ) {
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
                refresh = asked.receive() => self.refresh(&refresh),
                Some(Ok(outcome)) = self.running.join_next() => self.take(outcome),
                () = tokio::time::sleep(pause) => self.expire(),
            }
        }
    }

    fn now(&self) -> Instant {
        (self.world.clock)().instant
    }

    fn serve(&mut self, wanted: Vec<Wanted>) {
        let now = self.now();
        let mut old = std::mem::take(&mut self.entries);
        for one in wanted {
            let known = old.iter().position(|e| e.wanted.source == one.source);
            let mut entry = match known {
                Some(at) => old.swap_remove(at),
                None => Entry::new(one.clone(), now),
            };
            entry.wanted = one;
            self.entries.push(entry);
        }
        self.publish();
    }

    fn begin_due(&mut self) {
        let now = self.now();
        for entry in &mut self.entries {
            if !entry.running && entry.plan.is_due(now) {
                entry.running = true;
                entry.plan.begun(now);
                let source = entry.wanted.source.clone();
                let all = fetch(source.clone(), entry.skew, self.world.clone());
                let skew = entry.skew;
                self.running.spawn(async move {
                    let late = "no answer in time".to_owned();
                    tokio::time::timeout(FETCH_TIME, all)
                        .await
                        .unwrap_or(Outcome {
                            source,
                            skew,
                            result: Err(late),
                        })
                });
            }
        }
    }

    /// Until something is due by itself; a minute at most, since clocks may jump.
    fn pause(&self) -> Duration {
        let now = self.now();
        let waiting = self.entries.iter().map(|e| e.plan.wakes_at(e.running));
        let at = waiting.min().unwrap_or(Instant::NEVER);
        at.since(now)
            .clamp(Duration::from_millis(10), Duration::from_secs(60))
    }

    fn refresh(&mut self, refresh: &Refresh) {
        let now = self.now();
        let mut entries = self.entries.iter_mut();
        let found = entries.find(|e| e.wanted.source == *refresh.source);
        // Where a newer one is here, its mail is on its way.
        if let Some(entry) = found.filter(|e| e.held.generation == refresh.generation) {
            entry.plan.asked(now);
        }
    }

    fn take(&mut self, outcome: Outcome) {
        let now = self.now();
        let mut entries = self.entries.iter_mut();
        // A reload may have dropped it meanwhile.
        let Some(entry) = entries.find(|e| e.wanted.source == outcome.source) else {
            return;
        };
        entry.running = false;
        entry.skew = outcome.skew;
        let keys = entry.wanted.keys.clone();
        match outcome.result {
            Ok(fetched) => {
                entry.plan.succeeded(now, fetched.lifetime, &mut self.rng);
                entry.hold(Some(fetched.credential));
                let seconds = fetched.lifetime.map(|l| l.as_secs().to_string());
                let good = seconds.unwrap_or_else(|| "unlimited".to_owned());
                let fields = vec![("keys", keys), ("good_for_seconds", good)];
                self.log(LogLevel::Info, "a credential was obtained", fields);
            }
            Err(error) => {
                entry.plan.failed(now, &mut self.rng);
                entry.let_go(now);
                let fields = vec![("keys", keys), ("error", error)];
                self.log(LogLevel::Warn, "a credential could not be obtained", fields);
            }
        }
        self.publish();
    }

    /// Withdraws what has ended and could not be renewed.
    fn expire(&mut self) {
        let now = self.now();
        let mut ended = false;
        for entry in &mut self.entries {
            ended |= entry.let_go(now);
        }
        if ended {
            self.publish();
        }
    }

    fn publish(&self) {
        let known = self.entries.iter().filter(|e| e.is_known());
        let table = known.map(|e| Arc::clone(&e.held)).collect();
        self.table.send_replace(Arc::new(table));
    }

    fn log(&self, level: LogLevel, message: &'static str, fields: Vec<(&'static str, String)>) {
        (self.note)(LogLine {
            at: (self.world.clock)().wall,
            level,
            message,
            fields,
        });
    }
}

/// Of one fetch, whatever it has to go through.
const FETCH_TIME: Duration = Duration::from_secs(60);
