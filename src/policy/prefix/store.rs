//! The entries of an index: found by fingerprint, taken out by time, in memory that does not move.
//!
//! An entry is 48 bytes in a chunk of 1,024, and four bytes in a table that is at most three quarters full, so under 64 in all. A wheel of
//! slots, each a list through the entries, says which may have expired; an entry that was touched since stays in its slot until its turn comes,
//! and is put where it belongs then. Knows nothing of providers' rules.

use crate::policy::fingerprint::Fingerprint;

/// Tenths of seconds on the shard's own clock: 13 years in 32 bits.
pub(super) type Tick = u32;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub name: Fingerprint,
    pub tokens: u32,
    /// `NEVER` until the answer of the request that writes it has begun.
    pub warm_at: Tick,
    /// When its life began.
    pub touched: Tick,
    pub expires: Tick,
    next: u32,
    prev: u32,
    /// The slot whose list it is in.
    slot: u16,
    pub writers: u8,
    pub flags: u8,
}

#[derive(Debug)]
pub(super) struct Store {
    chunks: Vec<Vec<Entry>>,
    len: usize,
    /// Places behind the last that were left; a list by `next`.
    free: u32,
    table: Vec<u32>,
    heads: Vec<u32>,
    /// The slot that is looked through next.
    hand: Tick,
    capacity: usize,
}

pub(super) const NEVER: Tick = Tick::MAX;
const NONE: u32 = u32::MAX;
const CHUNK: usize = 1_024;
/// Slots of 12.8 s, a power of two of ticks; 4,096 of them are 14 hours. What lives longer comes by more than once.
const SLOT_TICKS: Tick = 128;
const SLOTS: usize = 4_096;
/// Expired entries are kept so long, to see whether the provider forgot them too.
pub(super) const GRACE: Tick = 300;

impl Store {
    pub fn new(capacity: usize) -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
            free: NONE,
            table: vec![NONE; 16],
            heads: vec![NONE; SLOTS],
            hand: 0,
            capacity: capacity.clamp(1, NONE as usize - 1),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes that are taken.
    pub fn memory(&self) -> usize {
        self.chunks
            .iter()
            .map(|c| c.capacity() * size_of::<Entry>())
            .sum::<usize>()
            + self.chunks.capacity() * size_of::<Vec<Entry>>()
            + (self.table.capacity() + self.heads.capacity()) * size_of::<u32>()
    }

    pub fn get(&self, name: Fingerprint) -> Option<&Entry> {
        self.find(name).map(|place| self.entry(self.table[place]))
    }

    pub fn get_mut(&mut self, name: Fingerprint) -> Option<&mut Entry> {
        let id = self.table[self.find(name)?];
        Some(self.entry_mut(id))
    }

    /// Keeps an entry that is not there. At the capacity the one leaves that would expire first.
    pub fn insert(&mut self, name: Fingerprint, tokens: u32, expires: Tick) -> &mut Entry {
        if self.len >= self.capacity {
            self.evict_one();
        }
        if (self.len + 1) * 4 > self.table.len() * 3 {
            self.grow();
        }
        let id = self.place(Entry {
            name,
            tokens,
            warm_at: NEVER,
            touched: 0,
            expires,
            next: NONE,
            prev: NONE,
            slot: 0,
            writers: 0,
            flags: 0,
        });
        self.file(id);
        self.link(id);
        self.len += 1;
        self.entry_mut(id)
    }

    pub fn remove(&mut self, name: Fingerprint) -> Option<Entry> {
        let place = self.find(name)?;
        let id = self.table[place];
        self.unfile(place);
        self.unlink(id);
        let entry = *self.entry(id);
        self.entry_mut(id).next = self.free;
        self.free = id;
        self.len -= 1;
        Some(entry)
    }

    /// Takes out what expired `GRACE` ago; looks at no more than `most` entries, the rest at the next call.
    pub fn expire(&mut self, now: Tick, most: usize) -> usize {
        let (mut gone, mut left) = (0, most);
        // A clock that stood still for longer than a round has each slot looked through once.
        let oldest = (now / SLOT_TICKS).saturating_sub(SLOTS as Tick);
        self.hand = self.hand.max(oldest);
        while self.hand < now / SLOT_TICKS {
            let mut id = self.heads[self.hand as usize % SLOTS];
            while id != NONE {
                if left == 0 {
                    return gone;
                }
                left -= 1;
                let entry = *self.entry(id);
                if entry.expires.saturating_add(GRACE) <= now {
                    self.remove(entry.name);
                    gone += 1;
                } else {
                    self.unlink(id);
                    self.link(id);
                }
                id = entry.next;
            }
            self.hand += 1;
        }
        gone
    }

    /// All entries, in an order that repeats.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        let filed = self.table.iter().filter(|id| **id != NONE);
        filed.map(|id| self.entry(*id))
    }

    fn entry(&self, id: u32) -> &Entry {
        &self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    fn entry_mut(&mut self, id: u32) -> &mut Entry {
        &mut self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    fn place(&mut self, entry: Entry) -> u32 {
        if self.free != NONE {
            let id = self.free;
            self.free = self.entry(id).next;
            *self.entry_mut(id) = entry;
            return id;
        }
        if self.chunks.last().is_none_or(|c| c.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunk = self.chunks.len() - 1;
        self.chunks[chunk].push(entry);
        (chunk * CHUNK + self.chunks[chunk].len() - 1) as u32
    }

    /// The nearest of those that expire first: the first entry at or behind the hand. Within one lifetime that is the one not used for longest.
    fn evict_one(&mut self) {
        let slots = (0..SLOTS).map(|n| (self.hand as usize + n) % SLOTS);
        let found = slots.map(|slot| self.heads[slot]).find(|id| *id != NONE);
        if let Some(id) = found {
            self.remove(self.entry(id).name);
        }
    }

    fn link(&mut self, id: u32) {
        let ends = (self.entry(id).expires.saturating_add(GRACE) / SLOT_TICKS).max(self.hand + 1);
        // No further than a round from the hand.
        let slot = ends.min(self.hand + SLOTS as Tick - 1) as usize % SLOTS;
        let head = std::mem::replace(&mut self.heads[slot], id);
        let entry = self.entry_mut(id);
        (entry.next, entry.prev, entry.slot) = (head, NONE, slot as u16);
        if head != NONE {
            self.entry_mut(head).prev = id;
        }
    }

    fn unlink(&mut self, id: u32) {
        let Entry {
            next, prev, slot, ..
        } = *self.entry(id);
        match prev {
            NONE => self.heads[slot as usize] = next,
            prev => self.entry_mut(prev).next = next,
        }
        if next != NONE {
            self.entry_mut(next).prev = prev;
        }
    }

    fn home(&self, name: Fingerprint) -> usize {
        name.chain as usize & (self.table.len() - 1)
    }

    fn find(&self, name: Fingerprint) -> Option<usize> {
        let mut place = self.home(name);
        loop {
            match self.table[place] {
                NONE => return None,
                id if self.entry(id).name == name => return Some(place),
                _ => place = (place + 1) & (self.table.len() - 1),
            }
        }
    }

    fn file(&mut self, id: u32) {
        let mut place = self.home(self.entry(id).name);
        while self.table[place] != NONE {
            place = (place + 1) & (self.table.len() - 1);
        }
        self.table[place] = id;
    }

    /// Closes the gap, so that whatever was put further along because of it is still found.
    fn unfile(&mut self, gap: usize) {
        let mask = self.table.len() - 1;
        let (mut gap, mut place) = (gap, gap);
        loop {
            place = (place + 1) & mask;
            let id = self.table[place];
            if id == NONE {
                break;
            }
            let home = self.home(self.entry(id).name);
            // It may move back only if its home is not behind the gap.
            if (place.wrapping_sub(home) & mask) >= (place.wrapping_sub(gap) & mask) {
                self.table[gap] = id;
                gap = place;
            }
        }
        self.table[gap] = NONE;
    }

    fn grow(&mut self) {
        let twice = vec![NONE; self.table.len() * 2];
        let old = std::mem::replace(&mut self.table, twice);
        for id in old.into_iter().filter(|id| *id != NONE) {
            self.file(id);
        }
    }
}
