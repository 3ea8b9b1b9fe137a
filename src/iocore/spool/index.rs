//! What lies in the segments: read as they grow, and after a start read anew.
//!
//! One truth: an answer is what the records say. The index holds where each piece lies (12 bytes a piece) and what was said of the answer, never
//! its bytes. An answer stays here until it is deleted, or makes room for newer ones; a segment is deleted when no answer here has a record in it and the ledger has the
//! rows that stand there.

use super::record::{self, Head, Kind};
use super::segment::{FILE_HEAD, Segment};
use super::wire::{self, Closed, Opened};
use crate::base::{FixedHasher, Str, WallTime};
use crate::iocore::ledger::wire as row;
use crate::shard::stored::{Claim, State};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// All answers that are remembered, and the segments they lie in.
#[derive(Debug, Default)]
pub struct Index {
    segments: HashMap<u32, Known, FixedHasher>,
    next_segment: u32,
    entries: HashMap<Whose, Entry, FixedHasher>,
    names: HashMap<Str, Whose, FixedHasher>,
    claims: HashMap<(Str, [u8; 32]), Str, FixedHasher>,
    /// Of them, those without an end.
    running: usize,
    buffer: Vec<u8>,
}

/// Family and exchange.
pub type Whose = (u64, u64);

#[derive(Debug)]
struct Known {
    segment: Arc<Segment>,
    scanned: usize,
    /// Records end here though the file does not.
    torn: bool,
    /// Answers of the index that have a record here.
    live: usize,
    /// Rows that its shard had sent when it was read to its end; `None` before.
    rows: Option<u64>,
    /// What it takes on the disk.
    bytes: usize,
}

/// One answer.
#[derive(Debug)]
pub struct Entry {
    pub opened: Opened,
    pub shard: crate::base::ShardId,
    pub exchange: u64,
    pub bytes: u64,
    /// `None` while it runs.
    pub closed: Option<Closed>,
    /// As in the ledger: of attempts that ended, and those that began.
    pub rows: Vec<Vec<u8>>,
    pub called: Vec<Vec<u8>>,
    pieces: Vec<Place>,
    prompt: Vec<Place>,
    /// Of which it has records.
    segments: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    segment: u32,
    /// Of the record.
    at: u32,
    len: u32,
}

/// What a pass over a segment found beside answers.
#[derive(Debug, Default)]
pub struct Rows(pub Vec<Vec<u8>>);

/// Bytes that are read of a segment at once: several of the longest records.
const READ_BYTES: usize = 1 << 20;
/// Less than this is not worth cutting off a file.
const TRIM_BYTES: usize = 16 << 10;

impl Index {
    /// Takes a segment in, to be read from its beginning.
    pub fn add(&mut self, segment: Arc<Segment>) {
        self.next_segment += 1;
        let known = Known {
            bytes: segment.bytes,
            segment,
            scanned: FILE_HEAD,
            torn: false,
            live: 0,
            rows: None,
        };
        self.segments.insert(self.next_segment, known);
    }

    /// Reads what was written since. `sent`: rows that the shard of a segment has sent so far. Rows of the ledger that were passed are put into
    /// `rows`, where it is given.
    pub fn scan(
        &mut self,
        sent: impl Fn(crate::base::ShardId) -> u64,
        mut rows: Option<&mut Rows>,
    ) -> io::Result<()> {
        let mut order: Vec<(u64, u64, u32)> = self
            .segments
            .iter()
            .filter(|(_, known)| known.segment.order() > 0 && known.rows.is_none())
            .map(|(id, known)| (known.segment.family(), known.segment.order(), *id))
            .collect();
        order.sort_unstable();
        for (_, _, id) in order {
            self.scan_one(id, rows.as_deref_mut())?;
            let known = self.segments.get_mut(&id);
            if let Some(known) = known {
                // In this order: what was written before it was closed is there to be read now.
                let closed = known.segment.is_closed();
                let whole = known.torn || known.scanned >= known.segment.written();
                if closed && whole {
                    known.rows = Some(sent(known.segment.shard));
                    known.trim();
                }
            }
        }
        Ok(())
    }

    fn scan_one(&mut self, id: u32, mut rows: Option<&mut Rows>) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let done = loop {
            let Some(known) = self.segments.get(&id) else {
                break Ok(());
            };
            let (from, segment) = (known.scanned, Arc::clone(&known.segment));
            let until = segment.written();
            if known.torn || from >= until {
                break Ok(());
            }
            buffer.resize(READ_BYTES.min(until - from), 0);
            let got = match segment.read(from, &mut buffer) {
                Ok(got) => got,
                Err(error) => break Err(error),
            };
            let mut at = 0;
            while let Some((head, holds, span)) = record::read(&buffer[at..got], segment.seed) {
                let place = Place {
                    segment: id,
                    at: (from + at) as u32,
                    len: holds.len() as u32,
                };
                self.take(segment.shard, segment.family(), head, holds, place);
                let settled = segment.settled.load(std::sync::atomic::Ordering::Acquire);
                if let (Kind::Row, Some(rows), false) = (head.kind, rows.as_deref_mut(), settled) {
                    rows.0.push(holds.to_vec());
                }
                at += span;
            }
            let Some(known) = self.segments.get_mut(&id) else {
                break Ok(());
            };
            known.scanned += at;
            // No record, though the longest would fit: here a writer died, or never came.
            known.torn = at == 0;
        };
        self.buffer = buffer;
        done
    }

    fn take(
        &mut self,
        shard: crate::base::ShardId,
        family: u64,
        head: Head,
        holds: &[u8],
        place: Place,
    ) {
        let whose = (family, head.exchange);
        match head.kind {
            Kind::Begun => {
                if let Some(opened) = wire::read_begun(holds) {
                    self.begin(shard, whose, opened);
                }
            }
            Kind::Row => return self.take_row(holds),
            Kind::Erased => return,
            Kind::Called | Kind::Sent | Kind::Ended | Kind::Prompt => {}
        }
        let Some(entry) = self.entries.get_mut(&whose) else {
            return;
        };
        if !entry.segments.contains(&place.segment) {
            entry.segments.push(place.segment);
            if let Some(known) = self.segments.get_mut(&place.segment) {
                known.live += 1;
            }
        }
        match head.kind {
            Kind::Called => entry.called.push(holds.to_vec()),
            Kind::Sent => {
                entry.bytes += u64::from(place.len);
                entry.pieces.push(place);
            }
            Kind::Prompt => entry.prompt.push(place),
            Kind::Ended if entry.closed.is_none() => {
                entry.closed = wire::read_ended(holds);
                if entry.closed.is_some() {
                    self.running = self.running.saturating_sub(1);
                }
            }
            Kind::Begun | Kind::Row | Kind::Erased | Kind::Ended => {}
        }
    }

    fn begin(&mut self, shard: crate::base::ShardId, whose: Whose, opened: Opened) {
        self.names.insert(opened.name.clone(), whose);
        if let Some(claim) = opened.claim {
            let key = (opened.tenant.clone(), claim.key);
            self.claims.insert(key, opened.name.clone());
        }
        let entry = Entry {
            opened,
            shard,
            exchange: whose.1,
            bytes: 0,
            closed: None,
            rows: Vec::new(),
            called: Vec::new(),
            pieces: Vec::new(),
            prompt: Vec::new(),
            segments: Vec::new(),
        };
        self.running += 1;
        self.entries.insert(whose, entry);
    }

    fn take_row(&mut self, holds: &[u8]) {
        let Ok(read) = row::decode(holds) else {
            return;
        };
        let whose = self.names.get(&*read.exchange);
        if let Some(entry) = whose.and_then(|whose| self.entries.get_mut(whose)) {
            entry.rows.push(holds.to_vec());
        }
    }

    /// Closes what no writer is left for; those it closed.
    pub fn interrupt(&mut self, at: WallTime) -> Vec<Whose> {
        let running = self.entries.iter_mut().filter(|(_, e)| e.closed.is_none());
        let mut cut: Vec<Whose> = Vec::new();
        for (whose, entry) in running {
            entry.closed = Some(Closed {
                state: State::Interrupted,
                status: 200,
                kind: Str::new(),
                at,
            });
            cut.push(*whose);
        }
        cut.sort_unstable();
        self.running = 0;
        cut
    }

    /// A row that was owed for an answer.
    pub fn add_row(&mut self, whose: Whose, row: Vec<u8>) {
        if let Some(entry) = self.entries.get_mut(&whose) {
            entry.rows.push(row);
        }
    }

    #[must_use]
    pub fn get(&self, whose: Whose) -> Option<&Entry> {
        self.entries.get(&whose)
    }

    /// Of a tenant's, by the name its client knows.
    #[must_use]
    pub fn find(&self, tenant: &str, name: &str) -> Option<(Whose, &Entry)> {
        let whose = *self.names.get(name)?;
        let entry = self.entries.get(&whose)?;
        (&*entry.opened.tenant == tenant).then_some((whose, entry))
    }

    /// Who has claimed this: the name of the answer, and what was asked.
    #[must_use]
    pub fn claimed(&self, tenant: &Str, key: &[u8; 32]) -> Option<&Entry> {
        let name = self.claims.get(&(tenant.clone(), *key))?;
        self.find(tenant, name).map(|(_, entry)| entry)
    }

    /// A tenant's answers that began before `before` (an answer's name; the newest where it is none), newest first, and whether there are more.
    /// One pass over all.
    #[must_use]
    pub fn list(&self, tenant: &str, before: &str, most: usize) -> (Vec<&Entry>, bool) {
        let place = |entry: &Entry| (entry.opened.started, entry.opened.name.clone());
        let before = self.find(tenant, before).map(|(_, entry)| place(entry));
        let own = self
            .entries
            .values()
            .filter(|e| &*e.opened.tenant == tenant);
        let mut own: Vec<&Entry> = own
            .filter(|e| before.as_ref().is_none_or(|before| place(e) < *before))
            .collect();
        own.sort_unstable_by_key(|entry| std::cmp::Reverse(place(entry)));
        let more = own.len() > most;
        own.truncate(most);
        (own, more)
    }

    /// Those that still come.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }

    /// Lets go of the answers that have ended and lie in one segment with the oldest of them, so that it can be deleted; how many they were. Two
    /// passes over all.
    pub fn drop_oldest(&mut self) -> u64 {
        let whole = |id: &u32| {
            self.segments
                .get(id)
                .is_some_and(|known| known.rows.is_some())
        };
        let ended = self.entries.values().filter(|e| e.closed.is_some());
        // By when they began: the numbers of segments say nothing of their age, since a start finds them in any order.
        let all = ended.filter_map(|e| {
            let segment = e.segments.iter().copied().find(whole)?;
            Some((e.opened.started, &e.opened.name, segment))
        });
        let Some((_, _, oldest)) = all.min() else {
            return 0;
        };
        let there = self.entries.iter();
        let ended: Vec<Whose> = there
            .filter(|(_, e)| e.closed.is_some() && e.segments.contains(&oldest))
            .map(|(whose, _)| *whose)
            .collect();
        let dropped = ended.len() as u64;
        for whose in ended {
            // Nothing is erased, so nothing can fail.
            let _ = self.forget(whose, false);
        }
        dropped
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What was sent of an answer from byte `from` on, about `most` bytes of it or one piece.
    pub fn read(&self, whose: Whose, from: u64, most: usize) -> io::Result<Bytes> {
        let Some(entry) = self.entries.get(&whose) else {
            return Ok(Bytes::new());
        };
        self.gather(&entry.pieces, from, most)
    }

    pub fn prompt(&self, whose: Whose) -> io::Result<Option<Bytes>> {
        let Some(entry) = self.entries.get(&whose) else {
            return Ok(None);
        };
        if entry.prompt.is_empty() {
            return Ok(None);
        }
        self.gather(&entry.prompt, 0, usize::MAX).map(Some)
    }

    fn gather(&self, places: &[Place], from: u64, most: usize) -> io::Result<Bytes> {
        let mut out = BytesMut::new();
        let mut begins = 0_u64;
        for place in places {
            let ends = begins + u64::from(place.len);
            if ends > from {
                if !out.is_empty() && out.len() + place.len as usize > most {
                    break;
                }
                let skip = from.saturating_sub(begins) as usize;
                let (had, more) = (out.len(), place.len as usize - skip);
                out.resize(had + more, 0);
                let at = place.at as usize + record::HEAD + skip;
                let known = self.segments.get(&place.segment);
                let known = known.ok_or_else(|| io::Error::other("a segment is gone"))?;
                if known.segment.read(at, &mut out[had..])? < more {
                    return Err(io::Error::other("a segment is cut off"));
                }
            }
            begins = ends;
        }
        Ok(out.freeze())
    }

    /// Lets go of an answer. `erase`: its bytes are overwritten where they lie.
    pub fn forget(&mut self, whose: Whose, erase: bool) -> io::Result<()> {
        let Some(entry) = self.entries.remove(&whose) else {
            return Ok(());
        };
        self.running -= usize::from(entry.closed.is_none()).min(self.running);
        if self.names.get(&entry.opened.name) == Some(&whose) {
            self.names.remove(&entry.opened.name);
        }
        if let Some(claim) = entry.opened.claim {
            let key = (entry.opened.tenant.clone(), claim.key);
            if self.claims.get(&key) == Some(&entry.opened.name) {
                self.claims.remove(&key);
            }
        }
        let mut done = Ok(());
        for place in entry.pieces.iter().chain(&entry.prompt).filter(|_| erase) {
            let head = Head {
                kind: Kind::Erased,
                exchange: whose.1,
                at: 0,
            };
            if let Some(known) = self.segments.get(&place.segment) {
                let erased = known
                    .segment
                    .erase(place.at as usize, head, place.len as usize);
                done = done.and(erased);
            }
        }
        for segment in entry.segments {
            if let Some(known) = self.segments.get_mut(&segment) {
                known.live = known.live.saturating_sub(1);
            }
        }
        done
    }

    /// Deletes segments that hold nothing any more. `committed`: rows of a shard that the ledger has. How many bytes that gave back.
    pub fn sweep(&mut self, committed: impl Fn(crate::base::ShardId) -> u64) -> u64 {
        for known in self.segments.values() {
            if known
                .rows
                .is_some_and(|rows| committed(known.segment.shard) >= rows)
            {
                // Where it cannot be written they are offered again, and are there already.
                let _ = known.segment.settle();
            }
        }
        let done: Vec<u32> = self
            .segments
            .iter()
            .filter(|(_, known)| {
                let rows = known
                    .rows
                    .is_some_and(|rows| committed(known.segment.shard) >= rows);
                known.live == 0 && rows
            })
            .map(|(id, _)| *id)
            .collect();
        let mut freed = 0;
        for id in done {
            if let Some(known) = self.segments.remove(&id) {
                // A file that cannot be removed is found at the next start, and removed then.
                if std::fs::remove_file(&known.segment.path).is_ok() {
                    freed += known.bytes as u64;
                }
            }
        }
        freed
    }

    /// Bytes that all segments take on the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let all = self.segments.values();
        all.map(|known| known.bytes as u64).sum()
    }

    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Those that were written since they were last brought to the disk.
    pub fn open_files(&self) -> Vec<Arc<Segment>> {
        let written = |known: &&Known| known.segment.order() > 0 && known.segment.is_dirty();
        let all = self.segments.values().filter(written);
        all.map(|known| Arc::clone(&known.segment)).collect()
    }
}

impl Known {
    /// Gives back what was taken beforehand and will not be written: a process that is killed leaves most of a segment empty.
    fn trim(&mut self) {
        if self.segment.bytes - self.scanned < TRIM_BYTES {
            return;
        }
        // Where it cannot be cut it only takes more of the disk than it must.
        if self.segment.file.set_len(self.scanned as u64).is_ok() {
            self.bytes = self.scanned;
        }
    }
}

impl Entry {
    #[must_use]
    pub fn state(&self) -> State {
        self.closed
            .as_ref()
            .map_or(State::Running, |closed| closed.state)
    }

    /// What its client asked, where it claimed it.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        self.opened.claim
    }
}
