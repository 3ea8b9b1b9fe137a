//! Keeps the ledger: gathers rows, commits them together, and goes on trying while it cannot.
//!
//! Rows are money, so none is ever given up while the node runs, also not when the file is damaged: somebody may mend it. But that is never
//! done in silence: the log says what is wrong at growing intervals, and the operator's port says that we are not ready.

use crate::base::{Instant, ShardId};
use crate::config::Config;
use crate::iocore::lane::{self, Receiver};
use crate::iocore::ledger::{Committed, Failure, Writer};
use crate::iocore::run::{Shared, now};
use crate::shard::LedgerRow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What keeps it.
pub(super) struct Books {
    pub(super) writer: Option<Writer>,
    pub(super) path: PathBuf,
    pub(super) rows: Vec<Receiver<Box<LedgerRow>>>,
    pub(super) config: Arc<Config>,
    /// As of the I/O core's setup.
    pub(super) on_room: Box<dyn Fn(ShardId, usize) + Send>,
    pub(super) shared: Arc<Shared>,
    /// When it is looked next for what is too old.
    pub(super) forget_at: Instant,
}

impl Books {
    pub(super) async fn keep(&mut self) {
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
                self.forget().await;
                continue;
            }
            if !self.write(Arc::new(batch)).await {
                return;
            }
            for (shard, count) in from.into_iter().enumerate() {
                self.shared.commit(shard, count);
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
        let mut failing: Option<Failing> = None;
        loop {
            match self.try_write(batch.clone()).await {
                Ok(committed) => {
                    self.wrote(committed, failing);
                    return true;
                }
                Err(failure) => {
                    let at = now().instant;
                    let failing = failing.get_or_insert_with(|| Failing::new(at));
                    self.failed(failing, &failure, at);
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

    async fn try_write(&mut self, batch: Arc<Vec<Box<LedgerRow>>>) -> Result<Committed, Failure> {
        let (writer, path) = (self.writer.take(), self.path.clone());
        let task = tokio::task::spawn_blocking(move || {
            let mut writer = match writer {
                Some(writer) => writer,
                None => Writer::open(&path, Duration::ZERO)?,
            };
            let result = writer.commit(&batch).map_err(Failure::from);
            Ok::<_, Failure>((writer, result))
        });
        // After a panic the writer is opened anew; the rows are still ours.
        let (writer, result) = task.await.map_err(|_| Failure::panicked())??;
        // So it is after a failure that lasts: the file may have been put right, or replaced.
        let lasting = matches!(&result, Err(failure) if failure.lasting);
        self.writer = (!lasting).then_some(writer);
        result
    }

    /// Takes a slice of what is too old, while no row waits: at once more while there is more, and looks again in a minute when there is not. A
    /// failure is nobody's trouble: what is old may stay.
    async fn forget(&mut self) {
        let now = now();
        if now.instant < self.forget_at {
            return;
        }
        let Some(mut writer) = self.writer.take() else {
            return;
        };
        let ledger = self.config.ledger.clone();
        let task = tokio::task::spawn_blocking(move || {
            let more = writer.forget(&ledger, now.wall);
            (writer, more.unwrap_or(false))
        });
        // A writer that panicked is opened anew with the next row.
        if let Ok((writer, more)) = task.await {
            self.writer = Some(writer);
            let pause = Duration::from_millis(if more { 100 } else { 60_000 });
            self.forget_at = now.instant + pause;
        }
    }

    fn wrote(&self, committed: Committed, failing: Option<Failing>) {
        let shared = &self.shared;
        shared.written.fetch_add(committed.written as u64, Relaxed);
        let duplicates = committed.duplicates as u64;
        shared.duplicates.fetch_add(duplicates, Relaxed);
        if let Some(failing) = failing {
            shared.trouble.send_replace(None);
            let seconds = (now().instant - failing.since).as_secs();
            tracing::info!(after_s = seconds, "the ledger is written again");
        }
    }

    fn failed(&self, failing: &mut Failing, failure: &Failure, at: Instant) {
        self.shared.failures.fetch_add(1, Relaxed);
        let seconds = (at - failing.since).as_secs();
        if failing.is_told(at) {
            tracing::error!(
                error = %failure,
                lasting = failure.lasting,
                for_s = seconds,
                rows_waiting = self.shared.waiting(),
                path = %self.path.display(),
                "the ledger cannot be written; rows wait"
            );
        }
        if failure.lasting || at - failing.since >= PASSING_MAX {
            let why = format!("the ledger cannot be written: {failure}");
            self.shared.trouble.send_replace(Some(why));
        }
        self.tell_room();
    }

    fn tell_room(&self) {
        for shard in 0..self.rows.len() {
            (self.on_room)(ShardId(shard as u16), self.shared.room(shard));
        }
    }
}

/// A lock or a full disk that lasts this long is no hiccup any more: whoever sends traffic here should know.
const PASSING_MAX: Duration = Duration::from_secs(10);

/// Since when the ledger has failed, and when that is told next.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    tell_at: Instant,
    pause: Duration,
}

impl Failing {
    fn new(at: Instant) -> Self {
        Self {
            since: at,
            tell_at: at,
            pause: Duration::from_secs(1),
        }
    }

    /// Whether to tell it now: at once, after 1 s, 2 s more, 4 s more, and in the end every ten minutes.
    fn is_told(&mut self, at: Instant) -> bool {
        if at < self.tell_at {
            return false;
        }
        self.tell_at = at + self.pause;
        self.pause = (self.pause * 2).min(Duration::from_secs(600));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_lasts_is_told_at_once_then_ever_more_rarely_and_never_not_at_all() {
        let mut failing = Failing::new(Instant(0));
        let second = |n: u64| Instant(n * 1_000_000_000);
        let told: Vec<u64> = (0..3_000).filter(|n| failing.is_told(second(*n))).collect();
        assert_eq!(
            told,
            [
                0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1_023, 1_623, 2_223, 2_823
            ]
        );
    }
}
