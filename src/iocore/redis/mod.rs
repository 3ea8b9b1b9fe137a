//! What instances share, over one connection to Redis: leases of limits.
//!
//! No request waits for it. Asks of shards wait in one bounded lane, the newest of each limit counts, and all that wait go as one pipeline;
//! what is lost is said again by the next. While Redis is away shards live on what they hold, then on what they issue to themselves
//! (`policy/lease`). In reading order: the link, then the script's wire.

mod wire;
use crate::base::{Now, ShardId};
use crate::config::{LogLevel, Redis};
use crate::iocore::credentials::Note;
use crate::iocore::lane::Receiver;
use crate::shard::{LeaseAsk, LeaseReply, LogLine};
use crossbeam::queue::ArrayQueue;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;
pub use wire::Keys;
use wire::Script;

/// What Redis said, for one shard.
#[derive(Debug)]
pub struct Mailbox {
    letters: ArrayQueue<Box<LeaseReply>>,
    came: Notify,
}

/// Counted for `/metrics`, from any thread.
#[derive(Debug, Default)]
pub struct Counts {
    /// Asks that were answered.
    pub answered: AtomicU64,
    /// Asks that were not: an error, or no time.
    pub failed: AtomicU64,
    pub connects: AtomicU64,
    pub connected: AtomicBool,
}

/// The I/O core's end.
pub struct Link {
    client: Client,
    timeout: Duration,
    keys: Keys,
    script: Script,
    asks: Receiver<Box<LeaseAsk>>,
    mailboxes: Arc<[Mailbox]>,
    counts: Arc<Counts>,
    clock: fn() -> Now,
    note: Note,
    /// The log knows that it is away.
    told: bool,
}

/// Letters that wait for a shard; more are lost, and said again with the next ask.
const LETTERS: usize = 1_024;
/// Asks of one pipeline.
const BATCH: usize = 512;
const BACKOFF: Duration = Duration::from_millis(50);
/// Well under the time of a lease, so that all instances are heard again within one.
const BACKOFF_MAX: Duration = Duration::from_millis(500);

impl Mailbox {
    #[must_use]
    pub fn of_shards(shards: usize) -> Arc<[Self]> {
        let mailbox = |_| Self {
            letters: ArrayQueue::new(LETTERS),
            came: Notify::new(),
        };
        (0..shards).map(mailbox).collect()
    }

    fn put(&self, letter: Box<LeaseReply>) {
        // A full one loses it.
        let _ = self.letters.push(letter);
        self.came.notify_one();
    }

    /// The oldest letter, waiting for one.
    pub async fn take(&self) -> Box<LeaseReply> {
        loop {
            if let Some(letter) = self.letters.pop() {
                return letter;
            }
            self.came.notified().await;
        }
    }
}

impl Link {
    /// Connects when there is something to ask; an error only for an address that is none.
    pub fn new(
        config: &Redis,
        asks: Receiver<Box<LeaseAsk>>,
        mailboxes: Arc<[Mailbox]>,
        (clock, note): (fn() -> Now, Note),
    ) -> Result<Self, String> {
        // Its own words may show the address, and that may hold a password.
        let wrong = |_: RedisError| "redis.url is not an address of Redis".to_owned();
        let mut info = config.url.expose().into_connection_info().map_err(wrong)?;
        if let Some(password) = &config.password {
            let settings = info.redis_settings().clone();
            info = info.set_redis_settings(settings.set_password(password.expose()));
        }
        Ok(Self {
            client: Client::open(info).map_err(wrong)?,
            timeout: config.timeout,
            keys: Keys::new(&config.namespace),
            script: Script::new(),
            asks,
            mailboxes,
            counts: Arc::default(),
            clock,
            note,
            told: false,
        })
    }

    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Carries asks and answers, for ever.
    pub async fn carry(mut self) {
        let mut connection: Option<MultiplexedConnection> = None;
        let mut backoff = BACKOFF;
        let mut waiting = BTreeMap::new();
        loop {
            if waiting.is_empty() {
                let ask = self.asks.receive().await;
                waiting.insert(ask.place(), ask);
            }
            while waiting.len() < BATCH
                && let Some(ask) = self.asks.try_receive()
            {
                waiting.insert(ask.place(), ask);
            }
            let Some(open) = &mut connection else {
                match self.connect().await {
                    Ok(open) => connection = Some(open),
                    Err(why) => {
                        self.lost(&why);
                        tokio::time::sleep(backoff).await;
                        backoff = (backoff * 2).min(BACKOFF_MAX);
                    }
                }
                continue;
            };
            let batch: Vec<Box<LeaseAsk>> = std::mem::take(&mut waiting).into_values().collect();
            let asked = self.script.ask(open, &self.keys, &batch);
            let answers = match tokio::time::timeout(self.timeout, asked).await {
                Ok(Ok(answers)) => answers,
                failed => {
                    let why = match failed {
                        Ok(Err(error)) => error.category().to_owned(),
                        _ => format!("no answer within {} ms", self.timeout.as_millis()),
                    };
                    self.counts.failed.fetch_add(batch.len() as u64, Relaxed);
                    self.lost(&why);
                    connection = None;
                    continue;
                }
            };
            backoff = BACKOFF;
            self.found();
            self.deliver(&batch, answers);
        }
    }

    fn deliver(&mut self, batch: &[Box<LeaseAsk>], answers: Vec<Result<Vec<i64>, RedisError>>) {
        let mut wrong = None;
        for (ask, answer) in batch.iter().zip(answers) {
            let reply = match answer {
                Ok(numbers) => ask.answered(&numbers),
                Err(error) => {
                    wrong = error.detail().map(ToOwned::to_owned).or(wrong);
                    self.counts.failed.fetch_add(1, Relaxed);
                    continue;
                }
            };
            self.counts.answered.fetch_add(1, Relaxed);
            if let (Some(reply), Some(mailbox)) = (reply, self.mailboxes.get(index(ask.shard))) {
                mailbox.put(Box::new(reply));
            }
        }
        if let Some(wrong) = wrong {
            self.lost(&wrong);
        }
    }

    async fn connect(&mut self) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        match tokio::time::timeout(self.timeout, connecting).await {
            Ok(Ok(connection)) => {
                self.counts.connects.fetch_add(1, Relaxed);
                Ok(connection)
            }
            Ok(Err(error)) => Err(error.category().to_owned()),
            Err(_) => Err(format!(
                "no connection within {} ms",
                self.timeout.as_millis()
            )),
        }
    }

    fn lost(&mut self, why: &str) {
        self.counts.connected.store(false, Relaxed);
        if !std::mem::replace(&mut self.told, true) {
            let fields = vec![("why", why.to_owned())];
            self.say(
                LogLevel::Warn,
                "redis is away: limits go on by what is held, then by a share of their own",
                fields,
            );
        }
    }

    fn found(&mut self) {
        self.counts.connected.store(true, Relaxed);
        if std::mem::take(&mut self.told) {
            self.say(LogLevel::Info, "redis answers again", Vec::new());
        }
    }

    fn say(&self, level: LogLevel, message: &'static str, fields: Vec<(&'static str, String)>) {
        (self.note)(LogLine {
            at: (self.clock)().wall,
            level,
            message,
            fields,
        });
    }
}

fn index(shard: ShardId) -> usize {
    usize::from(shard.0)
}
