//! A segment: one file that one shard writes from its beginning to its end, and whoever reads it by the side.

use super::{map, record};
use crate::base::ShardId;
use memmap2::MmapMut;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Bytes at the beginning of a file that say whose it is.
pub const FILE_HEAD: usize = 64;

const MAGIC: u64 = u64::from_le_bytes(*b"stkspool");
const VERSION: u32 = 1;

/// Where the file's head says that the ledger has its rows.
const SETTLED: usize = 40;

/// What all threads may know of a segment.
#[derive(Debug)]
pub struct Segment {
    pub path: PathBuf,
    pub file: File,
    pub bytes: usize,
    pub seed: u64,
    pub shard: ShardId,
    /// 0 while nobody writes it, then its place in the order of its writer's.
    order: AtomicU64,
    /// Which writer's: a shard that is started again has another.
    family: AtomicU64,
    /// Up to where it is written.
    written: AtomicUsize,
    /// Nobody writes it any more.
    closed: AtomicBool,
    /// The ledger has all rows that stand in it, as was written down there.
    pub settled: AtomicBool,
}

/// A segment that is, or will be, written.
#[derive(Debug)]
pub struct Page {
    pub segment: std::sync::Arc<Segment>,
    map: MmapMut,
    at: usize,
}

impl Segment {
    /// 0 while nobody writes it.
    #[must_use]
    pub fn order(&self) -> u64 {
        self.order.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn family(&self) -> u64 {
        self.family.load(Ordering::Acquire)
    }

    /// All before is whole and may be read.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Writes down that the ledger has its rows, so that no start offers them to it again.
    pub fn settle(&self) -> io::Result<()> {
        if !self.settled.swap(true, Ordering::AcqRel) {
            self.file
                .write_all_at(&1_u64.to_le_bytes(), SETTLED as u64)?;
        }
        Ok(())
    }

    /// Makes of the record at `at` one of which only its length is left.
    pub fn erase(&self, at: usize, head: record::Head, len: usize) -> io::Result<()> {
        let mut page = vec![0; record::span(len)];
        let head = record::Head {
            kind: record::Kind::Erased,
            ..head
        };
        record::write(&mut page, self.seed, head, &vec![0; len]);
        self.file.write_all_at(&page, at as u64)
    }

    /// Reads what lies at `at`; shorter at the end of the file.
    pub fn read(&self, at: usize, into: &mut [u8]) -> io::Result<usize> {
        let mut got = 0;
        while got < into.len() {
            match self.file.read_at(&mut into[got..], (at + got) as u64)? {
                0 => break,
                more => got += more,
            }
        }
        Ok(got)
    }

    /// A file of an earlier process, as far as its records are good; `None` where it was never written or is no segment.
    pub fn found(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options().read(true).write(true).open(path)?;
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mut head = [0; FILE_HEAD];
        let got = file.read_at(&mut head, 0)?;
        let number =
            |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
        let (version, shard) = (number(8) as u32, (number(8) >> 32) as u16);
        if got < FILE_HEAD || number(0) != MAGIC || version != VERSION || number(32) == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            bytes,
            seed: number(16),
            shard: ShardId(shard),
            family: AtomicU64::new(number(24)),
            order: AtomicU64::new(number(32)),
            // Who reads it finds its end by the checksums.
            written: AtomicUsize::new(bytes),
            closed: AtomicBool::new(true),
            settled: AtomicBool::new(number(SETTLED) == 1),
        }))
    }
}

impl Page {
    /// Makes a file for a shard; its room on the disk is taken.
    pub fn make(path: &Path, shard: ShardId, bytes: usize, seed: u64) -> io::Result<Self> {
        let (file, map) = map::make(path, bytes)?;
        let segment = Segment {
            path: path.to_owned(),
            file,
            bytes,
            seed,
            shard,
            order: AtomicU64::new(0),
            family: AtomicU64::new(0),
            written: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            settled: AtomicBool::new(false),
        };
        Ok(Self {
            segment: std::sync::Arc::new(segment),
            map,
            at: FILE_HEAD,
        })
    }

    /// It is this writer's from now on, and the `order`th of its.
    pub fn begin(&mut self, family: u64, order: u64) {
        let head = &mut self.map[..FILE_HEAD];
        let of = u64::from(VERSION) | (u64::from(self.segment.shard.0) << 32);
        let words = [MAGIC, of, self.segment.seed, family, order];
        for (place, word) in head.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        self.segment.written.store(FILE_HEAD, Ordering::Release);
        self.segment.family.store(family, Ordering::Release);
        self.segment.order.store(order, Ordering::Release);
    }

    /// Room for what a record may hold.
    #[must_use]
    pub fn room(&self) -> usize {
        let left = self.map.len() - self.at;
        (left.saturating_sub(record::HEAD)) & !7
    }

    /// Appends a record, for which there is room, and says that it is there.
    pub fn append(&mut self, head: record::Head, holds: &[u8]) {
        record::write(&mut self.map[self.at..], self.segment.seed, head, holds);
        self.at += record::span(holds.len());
        self.segment.written.store(self.at, Ordering::Release);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.segment.closed.store(true, Ordering::Release);
    }
}
