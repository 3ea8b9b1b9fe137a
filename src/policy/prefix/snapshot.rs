//! The index as bytes, for whoever stores it over a restart, and back.
//!
//! Holds what is warm and alive, in wall time. Bytes that are torn or of another form are refused whole: an index that begins empty costs one
//! turn of each conversation.

use super::store::Entry;
use super::{Index, NEVER, tick, unwall, wall};
use crate::base::{Now, WallTime};
use crate::policy::fingerprint::Fingerprint;
use xxhash_rust::xxh3::xxh3_64;

/// The bytes are not what `snapshot` wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn;

const MAGIC: &[u8; 8] = b"prefix/1";
/// Name, tokens, flags, touched, expires.
const RECORD: usize = 16 + 4 + 1 + 8 + 8;

impl Index {
    /// All that is warm at `now`. Costs a pass over the entries: some milliseconds for 100,000.
    #[must_use]
    pub fn snapshot(&self, now: Now) -> Vec<u8> {
        let tick = tick(now.instant);
        let mut out = Vec::with_capacity(MAGIC.len() + self.len() * RECORD + 8);
        out.extend_from_slice(MAGIC);
        let warm = |e: &&Entry| e.warm_at != NEVER && tick < e.expires;
        for entry in self.store.iter().filter(warm) {
            out.extend_from_slice(&entry.name.chain.to_le_bytes());
            out.extend_from_slice(&entry.name.tag.to_le_bytes());
            out.extend_from_slice(&entry.tokens.to_le_bytes());
            out.push(entry.flags);
            out.extend_from_slice(&wall(entry.touched, now).0.to_le_bytes());
            out.extend_from_slice(&wall(entry.expires, now).0.to_le_bytes());
        }
        let sum = xxh3_64(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// Takes in what was stored and is still alive; how many that were. What is known already stays where it lives longer.
    pub fn restore(&mut self, bytes: &[u8], now: Now) -> Result<usize, Torn> {
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(Torn)?;
        let records = body.strip_prefix(MAGIC).ok_or(Torn)?;
        if u64::from_le_bytes(*sum) != xxh3_64(body) || records.len() % RECORD != 0 {
            return Err(Torn);
        }
        let mut taken = 0;
        for record in records.chunks_exact(RECORD) {
            taken += usize::from(self.take_in(record, now));
        }
        Ok(taken)
    }

    fn take_in(&mut self, record: &[u8], now: Now) -> bool {
        let eight =
            |at: usize| -> [u8; 8] { record[at..at + 8].try_into().expect("a slice of eight") };
        let four: [u8; 4] = record[16..20].try_into().expect("a slice of four");
        let tick = tick(now.instant);
        let name = Fingerprint {
            chain: u64::from_le_bytes(eight(0)),
            tag: u64::from_le_bytes(eight(8)),
        };
        let touched = unwall(WallTime(i64::from_le_bytes(eight(21))), now);
        let expires = unwall(WallTime(i64::from_le_bytes(eight(29))), now);
        if expires <= tick {
            return false;
        }
        self.keep_warm(
            name,
            u32::from_le_bytes(four),
            (touched, expires),
            record[20],
            tick,
        );
        true
    }
}
