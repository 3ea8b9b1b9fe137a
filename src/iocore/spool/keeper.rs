//! The I/O core's side: makes segments ready, reads what shards write, brings it to the disk, deletes what nobody needs, and answers who comes
//! back for an answer.
//!
//! Reads of segments are reads of the kernel's memory, a page or so behind the writer, and are done at once; what waits for a disk (syncs,
//! reports) is done beside.

use super::index::{Entry, Index, Whose};
use super::summary;
use super::writer::{Supply, exchange};
use crate::base::{FixedHasher, Instant, ShardId, Str};
use crate::config;
use crate::iocore::lane::{self, Receiver, Sender};
use crate::iocore::ledger;
use crate::iocore::run::{Letter, Shared, now};
use crate::shard::Input;
use crate::shard::stored::{Found, Piece, Question, State, Told, What};
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A question, and where the reply goes.
#[derive(Debug)]
pub struct Asked {
    pub shard: ShardId,
    /// A shard that was started again did not ask it.
    pub life: u32,
    pub question: Box<Question>,
}

/// What a keeper is made of.
pub struct Parts {
    pub config: config::Spool,
    pub folder: PathBuf,
    pub supplies: Vec<Arc<Supply>>,
    pub index: Index,
    pub questions: Receiver<Asked>,
    /// What tenants ask of their spending is read there.
    pub ledger: PathBuf,
    pub replies: Vec<Sender<Letter>>,
    pub shared: Arc<Shared>,
}

pub struct Keeper {
    p: Parts,
    /// Replies that had no place in their lane.
    unsent: VecDeque<(usize, Letter)>,
    waiting: Vec<Asked>,
    /// Reports being made, each beside.
    reports: Vec<(Asked, tokio::task::JoinHandle<Told>)>,
    /// Requests that may be asked of a provider and have not been yet, by tenant and key.
    pending: HashMap<(Str, [u8; 32]), Pending, FixedHasher>,
    full: Option<bool>,
    synced_at: Instant,
    sync: Option<tokio::task::JoinHandle<()>>,
    told_lost: u64,
    /// The last segment that was wanted could not be made.
    unmade: bool,
}

struct Pending {
    name: Str,
    asked: [u8; 32],
    shard: ShardId,
    life: u32,
}

/// Bytes of an answer that are sent to a shard at once.
const PIECE_BYTES: usize = 64 << 10;
/// Reports that may be made at once: each reads the ledger on a thread of its own.
const REPORTS_MAX: usize = 8;
/// Questions that may wait for running answers.
const WAITING_MAX: usize = 65_536;
/// While somebody waits for more of a running answer.
const TAIL_PAUSE: Duration = Duration::from_millis(4);

impl Keeper {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            p: parts,
            unsent: VecDeque::new(),
            waiting: Vec::new(),
            reports: Vec::new(),
            pending: HashMap::default(),
            full: None,
            synced_at: now().instant,
            sync: None,
            told_lost: 0,
            unmade: false,
        }
    }

    /// Until the I/O core stops; then what is there is brought to the disk.
    pub async fn keep(&mut self) {
        loop {
            let idle = self.waiting.is_empty() && self.reports.is_empty();
            let pause = match idle && self.unsent.is_empty() {
                true => self.p.config.sync_every.min(Duration::from_millis(50)),
                false => TAIL_PAUSE,
            };
            let asked = lane::any_waiting(std::iter::once(&self.p.questions));
            // Whether something came or the time is over, all is looked at.
            let _ = tokio::time::timeout(pause, asked).await;
            let stopping = self.p.shared.stopping();
            self.turn();
            if stopping && self.may_stop() {
                break;
            }
        }
        self.leave().await;
    }

    /// One look at everything.
    fn turn(&mut self) {
        self.flush();
        self.supply();
        self.scan();
        while let Some(asked) = self.p.questions.try_receive() {
            self.answer(asked);
        }
        self.look_at_waiting();
        self.look_at_reports();
        self.sync();
        let shared = Arc::clone(&self.p.shared);
        self.p.index.sweep(|shard| shared.committed(shard));
        self.make_room();
        self.tell_room();
        self.show();
    }

    fn show(&self) {
        let (meters, index) = (&self.p.shared.spool, &self.p.index);
        meters.bytes.store(index.bytes(), Relaxed);
        meters.answers.store(index.len() as u64, Relaxed);
        meters.running.store(index.running() as u64, Relaxed);
        let sum = |of: fn(&Supply) -> u64| self.p.supplies.iter().map(|s| of(s)).sum();
        meters.late.store(sum(|s| s.late.load(Relaxed)), Relaxed);
        meters.lost.store(sum(|s| s.lost.load(Relaxed)), Relaxed);
    }

    /// The oldest answers make room for new ones.
    fn make_room(&mut self) {
        let most = self.p.config.bytes_max.0;
        let reserve = self.p.config.segment_bytes.0 * (1 + 2 * self.p.supplies.len() as u64);
        let many = self.p.index.len() > self.p.config.answers_max;
        if !many && self.p.index.bytes() + reserve <= most {
            return;
        }
        let dropped = self.p.index.drop_oldest();
        self.p.shared.spool.dropped.fetch_add(dropped, Relaxed);
    }

    /// A segment lies ready for each shard, as long as there is room.
    fn supply(&mut self) {
        for supply in &self.p.supplies {
            while let Some(segment) = supply.made.pop() {
                self.p.index.add(segment);
            }
            if supply.ready.is_full() {
                continue;
            }
            match supply.make() {
                Ok(page) => {
                    self.p.index.add(Arc::clone(&page.segment));
                    // The place is free: only this task fills it.
                    let _ = supply.ready.push(page);
                    self.unmade = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.unmade, true) {
                        tracing::error!(%error, folder = %self.p.folder.display(), "no room for another segment of the spool");
                    }
                }
            }
        }
    }

    fn scan(&mut self) {
        let shared = Arc::clone(&self.p.shared);
        if let Err(error) = self.p.index.scan(|shard| shared.sent(shard), None) {
            tracing::error!(%error, "the spool cannot be read");
        }
        let lost: u64 = self.p.supplies.iter().map(|s| s.lost.load(Relaxed)).sum();
        if lost > self.told_lost {
            let records = lost - self.told_lost;
            tracing::error!(
                records,
                "the disk has no room: what was sent to clients is not in the spool"
            );
            self.told_lost = lost;
        }
    }

    fn answer(&mut self, asked: Asked) {
        match self.reply_to(&asked) {
            Reply::Now(told) => self.reply(&asked, told),
            Reply::Never => {}
            Reply::Later if self.waiting.len() < WAITING_MAX => self.waiting.push(asked),
            Reply::Later => {
                let told = Told::Unreadable("too many wait for running answers".to_owned());
                self.reply(&asked, told);
            }
        }
    }

    fn reply_to(&mut self, asked: &Asked) -> Reply {
        let Question { tenant, what, .. } = &*asked.question;
        match what {
            What::Claim { claim, name } => self.claim(asked, tenant, claim, name),
            What::Unclaim { key } => {
                let at = (tenant.clone(), *key);
                // What another request has claimed meanwhile stays.
                let own = |p: &Pending| (p.shard, p.life) == (asked.shard, asked.life);
                if self.pending.get(&at).is_some_and(own) {
                    self.pending.remove(&at);
                }
                Reply::Never
            }
            What::Look { id, whole } => match self.p.index.find(tenant, id) {
                Some((whose, entry)) => {
                    let sent = match whole {
                        true => match self.p.index.read(whose, 0, usize::MAX) {
                            Ok(sent) => Some(sent),
                            Err(error) => return Reply::Now(Told::Unreadable(error.to_string())),
                        },
                        false => None,
                    };
                    Reply::Now(Told::Found(Some(Box::new(found(entry, sent)))))
                }
                None if self.is_pending(tenant, id) => Reply::Later,
                None => Reply::Now(Told::Found(None)),
            },
            What::Read { id, from } => match self.p.index.find(tenant, id) {
                Some((whose, entry)) => match self.piece(whose, entry, *from) {
                    Ok(Some(piece)) => Reply::Now(Told::Piece(Some(piece))),
                    Ok(None) => Reply::Later,
                    Err(error) => Reply::Now(Told::Unreadable(error.to_string())),
                },
                None if self.is_pending(tenant, id) => Reply::Later,
                None => Reply::Now(Told::Piece(None)),
            },
            What::Cancel { id } => match self.p.index.find(tenant, id) {
                Some((_, entry)) => {
                    let runs = entry.closed.is_none();
                    if runs {
                        let input = Input::Stop {
                            exchange: exchange(entry.exchange),
                            name: entry.opened.name.clone(),
                        };
                        let shard = usize::from(entry.shard.0);
                        self.unsent.push_back((shard, Letter { life: None, input }));
                        self.flush();
                    }
                    Reply::Now(Told::Done(runs))
                }
                None => Reply::Now(Told::Done(false)),
            },
            What::Delete { id } => match self.p.index.find(tenant, id) {
                Some((_, entry)) if entry.closed.is_none() => Reply::Now(Told::Done(false)),
                Some((whose, _)) => {
                    if let Err(error) = self.p.index.forget(whose, true) {
                        return Reply::Now(Told::Unreadable(error.to_string()));
                    }
                    Reply::Now(Told::Done(true))
                }
                None => Reply::Now(Told::Done(false)),
            },
            What::List { before, most } => {
                let (answers, more) = self.p.index.list(tenant, before, usize::from(*most));
                let answers = answers.into_iter().map(|e| summary::of(e).into()).collect();
                Reply::Now(Told::Listed { answers, more })
            }
            What::Usage { .. } if self.reports.len() >= REPORTS_MAX => {
                let why = "too many ask for reports at once".to_owned();
                Reply::Now(Told::Unreadable(why))
            }
            What::Usage { since, until, by } => {
                let words = (since.clone(), until.clone(), by.clone());
                let (path, tenant, wall) = (self.p.ledger.clone(), tenant.clone(), now().wall);
                let report = tokio::task::spawn_blocking(move || {
                    let (since, until, by) = &words;
                    ledger::asked::answer(&path, &tenant, (since, until, by), wall)
                });
                let asked = Asked {
                    shard: asked.shard,
                    life: asked.life,
                    question: asked.question.clone(),
                };
                self.reports.push((asked, report));
                Reply::Never
            }
        }
    }

    fn claim(
        &mut self,
        asked: &Asked,
        tenant: &Str,
        claim: &crate::shard::stored::Claim,
        name: &Str,
    ) -> Reply {
        let at = (tenant.clone(), claim.key);
        // A shard that was started again has forgotten what it was about to ask.
        let of = |p: &Pending| p.shard != asked.shard || p.life >= asked.life;
        if let Some(pending) = self.pending.get(&at).filter(|p| of(p)) {
            let same = pending.asked == claim.asked;
            let id = pending.name.clone();
            return Reply::Now(Told::Taken { id, same });
        }
        if let Some(entry) = self.p.index.claimed(tenant, &claim.key)
            && matches!(entry.state(), State::Running | State::Complete)
        {
            let same = entry.claim().is_some_and(|c| c.asked == claim.asked);
            let id = entry.opened.name.clone();
            return Reply::Now(Told::Taken { id, same });
        }
        self.pending.insert(
            at,
            Pending {
                name: name.clone(),
                asked: claim.asked,
                shard: asked.shard,
                life: asked.life,
            },
        );
        Reply::Now(Told::Free)
    }

    fn is_pending(&self, tenant: &str, id: &str) -> bool {
        let mut all = self.pending.iter();
        all.any(|((of, _), pending)| &**of == tenant && &*pending.name == id)
    }

    /// What comes next of an answer; `None` while it is not there.
    fn piece(&self, whose: Whose, entry: &Entry, from: u64) -> std::io::Result<Option<Piece>> {
        let from = from.min(entry.bytes);
        if from == entry.bytes && entry.closed.is_none() {
            return Ok(None);
        }
        let bytes = self.p.index.read(whose, from, PIECE_BYTES)?;
        let next = from + bytes.len() as u64;
        let ended = entry.closed.as_ref().filter(|_| next == entry.bytes);
        Ok(Some(Piece {
            bytes,
            next,
            end: ended.map(|closed| closed.state),
        }))
    }

    fn look_at_waiting(&mut self) {
        // Claims of requests that have begun are the index's now.
        let index = &self.p.index;
        self.pending
            .retain(|(tenant, _), pending| index.find(tenant, &pending.name).is_none());
        for asked in std::mem::take(&mut self.waiting) {
            self.answer(asked);
        }
    }

    /// Those that are made go to who asked.
    fn look_at_reports(&mut self) {
        let (done, open) = std::mem::take(&mut self.reports)
            .into_iter()
            .partition(|(_, report)| report.is_finished());
        self.reports = open;
        for (asked, report) in done {
            // It is finished: this takes what it said, and never waits.
            let told = futures_lite::future::block_on(futures_lite::future::poll_once(report));
            let told = match told {
                Some(Ok(told)) => told,
                Some(Err(_)) | None => Told::Unreadable("the report broke off".to_owned()),
            };
            self.reply(&asked, told);
        }
    }

    fn reply(&mut self, asked: &Asked, told: Told) {
        let input = Input::Told {
            asker: asked.question.asker,
            told: Box::new(told),
        };
        self.send(asked.shard, asked.life, input);
    }

    fn send(&mut self, shard: ShardId, life: u32, input: Input) {
        let life = Some(life);
        self.unsent
            .push_back((usize::from(shard.0), Letter { life, input }));
        self.flush();
    }

    fn flush(&mut self) {
        while let Some((shard, letter)) = self.unsent.pop_front() {
            if let Err(letter) = self.p.replies[shard].try_send(letter) {
                self.unsent.push_front((shard, letter));
                return;
            }
        }
    }

    /// What was written is brought to the disk, in a thread that may wait for it.
    fn sync(&mut self) {
        let at = now().instant;
        let runs = self.sync.as_ref().is_some_and(|task| !task.is_finished());
        if runs || at - self.synced_at < self.p.config.sync_every {
            return;
        }
        self.synced_at = at;
        let files = self.p.index.open_files();
        if files.is_empty() {
            return;
        }
        self.sync = Some(tokio::task::spawn_blocking(move || {
            for segment in files {
                if let Err(error) = segment.sync() {
                    tracing::error!(%error, file = %segment.path.display(), "the spool cannot be brought to the disk");
                }
            }
        }));
    }

    fn tell_room(&mut self) {
        let left = self
            .p
            .config
            .bytes_max
            .0
            .saturating_sub(self.p.index.bytes());
        let stat = nix::sys::statvfs::statvfs(&self.p.folder);
        let free = stat.map_or(u64::MAX, |s| s.blocks_available() * s.fragment_size());
        let segment = self.p.config.segment_bytes.0;
        let small = left < segment || free < self.p.config.disk_free_min.0 + segment;
        let full = small || self.unmade;
        if self.full == Some(full) {
            return;
        }
        if full {
            tracing::error!(
                left,
                free,
                "the spool is full: new requests are refused until running answers have ended or the disk has room"
            );
        } else if self.full == Some(true) {
            tracing::info!("the spool has room again");
        }
        self.full = Some(full);
        self.p.shared.spool.full.store(full, Relaxed);
        for shard in 0..self.p.replies.len() {
            let input = Input::SpoolRoom(!full);
            self.unsent.push_back((shard, Letter { life: None, input }));
        }
        self.flush();
    }

    /// The ledger has all it will have.
    fn may_stop(&self) -> bool {
        self.p.shared.is_closed()
    }

    async fn leave(&mut self) {
        if let Some(sync) = self.sync.take() {
            // It only waits for the disk.
            let _ = sync.await;
        }
        for supply in &self.p.supplies {
            while let Some(page) = supply.ready.pop() {
                // Never written.
                let _ = std::fs::remove_file(&page.segment.path);
            }
        }
        let shared = Arc::clone(&self.p.shared);
        self.p.index.sweep(|shard| shared.committed(shard));
        for segment in self.p.index.open_files() {
            // As good as the disk is; what it did not take is in the kernel's memory.
            let _ = segment.sync();
        }
    }
}

enum Reply {
    Now(Told),
    Later,
    Never,
}

fn found(entry: &Entry, sent: Option<bytes::Bytes>) -> Found {
    let closed = entry.closed.as_ref();
    Found {
        id: entry.opened.name.clone(),
        dialect: entry.opened.dialect,
        form: entry.opened.form,
        state: entry.state(),
        status: closed.map_or(200, |closed| closed.status),
        kind: closed.map_or(Str::new(), |closed| closed.kind.clone()),
        about: summary::about(entry),
        summary: summary::of(entry).into(),
        sent,
    }
}
