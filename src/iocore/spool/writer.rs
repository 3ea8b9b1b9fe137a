//! The shard's side: appends to its segment, on the shard's own thread, by a copy.
//!
//! Cost of a record: encoding what it holds, one copy and one pass of a checksum, a page fault each 4 KiB, no system call. When a segment is
//! full the next lies ready; only where the I/O core has not made one in time the shard makes it itself, which is counted.

use super::record::{Head, Kind};
use super::segment::{Page, Segment};
use super::wire;
use crate::base::{ExchangeId, ShardId};
use crate::iocore::ledger::wire as row;
use crate::shard::LedgerRow;
use crate::shard::stored::Note;
use crossbeam::queue::ArrayQueue;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The longest piece of an answer in one record.
const PIECE_BYTES_MAX: usize = 256 << 10;

/// What one shard's writers and the keeper share.
#[derive(Debug)]
pub struct Supply {
    pub shard: ShardId,
    pub folder: PathBuf,
    /// Of one segment.
    pub bytes: usize,
    /// Different in every process.
    pub boot: u64,
    /// Those that lie ready: one.
    pub ready: ArrayQueue<Page>,
    /// Those that a shard had to make itself.
    pub made: ArrayQueue<Arc<Segment>>,
    numbers: AtomicU64,
    families: AtomicU64,
    /// Segments that were not ready in time.
    pub late: AtomicU64,
    /// Records for which there was no room on the disk.
    pub lost: AtomicU64,
}

impl Supply {
    #[must_use]
    pub fn new(shard: ShardId, folder: PathBuf, bytes: usize, boot: u64) -> Self {
        Self {
            shard,
            folder,
            bytes,
            boot,
            ready: ArrayQueue::new(1),
            made: ArrayQueue::new(64),
            numbers: AtomicU64::new(0),
            families: AtomicU64::new(0),
            late: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// A new segment. `Err` where the disk is full or broken.
    pub fn make(&self) -> std::io::Result<Page> {
        let number = self.numbers.fetch_add(1, Relaxed);
        let (boot, shard) = (self.boot, self.shard.0);
        let path = self
            .folder
            .join(format!("{boot:016x}-{shard}-{number}.spool"));
        let seed =
            xxhash_rust::xxh3::xxh3_64_with_seed(&number.to_le_bytes(), boot ^ u64::from(shard));
        Page::make(&path, self.shard, self.bytes, seed)
    }
}

/// Appends what one life of a shard notes.
#[derive(Debug)]
pub struct Writer {
    supply: Arc<Supply>,
    family: u64,
    order: u64,
    page: Option<Page>,
    /// Reused for what a record holds.
    holds: Vec<u8>,
}

impl Writer {
    /// Costs nothing before the first note.
    #[must_use]
    pub fn new(supply: Arc<Supply>) -> Self {
        let nth = supply.families.fetch_add(1, Relaxed);
        let of = [supply.boot, u64::from(supply.shard.0), nth];
        let bytes: Vec<u8> = of.iter().flat_map(|n| n.to_le_bytes()).collect();
        Self {
            family: xxhash_rust::xxh3::xxh3_64(&bytes),
            supply,
            order: 0,
            page: None,
            holds: Vec::new(),
        }
    }

    /// Another one over the same supply.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(Arc::clone(&self.supply))
    }

    pub fn note(&mut self, note: &Note) {
        match note {
            Note::Begun(begun) => {
                let exchange = number(begun.exchange);
                self.holding(Kind::Begun, exchange, |out| wire::write_begun(begun, out));
                if let Some(prompt) = &begun.prompt {
                    self.pieces(Kind::Prompt, exchange, 0, prompt);
                }
            }
            Note::Called { exchange, row } => {
                self.holding(Kind::Called, number(*exchange), |out| row::encode(row, out));
            }
            Note::Sent {
                exchange,
                at,
                bytes,
            } => self.pieces(Kind::Sent, number(*exchange), *at, bytes),
            Note::Ended {
                exchange,
                state,
                status,
                kind,
                at,
            } => self.holding(Kind::Ended, number(*exchange), |out| {
                wire::write_ended(*state, *status, kind, *at, out);
            }),
        }
    }

    /// A row of the ledger, so that it is written after a crash.
    pub fn row(&mut self, row: &LedgerRow) {
        self.holding(Kind::Row, 0, |out| row::encode(row, out));
    }

    fn holding(&mut self, kind: Kind, exchange: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let mut holds = std::mem::take(&mut self.holds);
        holds.clear();
        write(&mut holds);
        self.append(kind, exchange, 0, &holds);
        self.holds = holds;
    }

    fn pieces(&mut self, kind: Kind, exchange: u64, at: u64, bytes: &[u8]) {
        let most = PIECE_BYTES_MAX.min(self.supply.bytes / 2);
        for (nth, piece) in bytes.chunks(most).enumerate() {
            self.append(kind, exchange, at + (nth * most) as u64, piece);
        }
    }

    fn append(&mut self, kind: Kind, exchange: u64, at: u64, holds: &[u8]) {
        let fits = |page: &Page| page.room() >= holds.len();
        if !self.page.as_ref().is_some_and(fits) {
            self.turn();
        }
        let head = Head { kind, exchange, at };
        match self.page.as_mut().filter(|page| fits(page)) {
            Some(page) => page.append(head, holds),
            // The client has the answer all the same; that nobody can come back for it is counted and told.
            None => drop(self.supply.lost.fetch_add(1, Relaxed)),
        }
    }

    /// The next segment; none where the disk has no room.
    fn turn(&mut self) {
        let ready = self.supply.ready.pop();
        let mut page = ready.or_else(|| {
            self.supply.late.fetch_add(1, Relaxed);
            let page = self.supply.make().ok()?;
            // A full queue would be 64 segments since the keeper last looked.
            self.supply.made.push(Arc::clone(&page.segment)).ok()?;
            Some(page)
        });
        if let Some(page) = &mut page {
            self.order += 1;
            page.begin(self.family, self.order);
        }
        self.page = page;
    }
}

/// An exchange of one life of a shard, as a number.
fn number(exchange: ExchangeId) -> u64 {
    u64::from(exchange.0.generation) << 32 | u64::from(exchange.0.index)
}

/// The same back.
#[must_use]
pub fn exchange(number: u64) -> ExchangeId {
    ExchangeId(crate::base::Slot {
        index: number as u32,
        generation: (number >> 32) as u32,
    })
}
