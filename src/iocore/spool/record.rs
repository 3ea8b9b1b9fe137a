//! One record of a segment: 32 bytes of head, then what it holds, then zeros up to a multiple of eight.
//!
//! ```text
//!  0  u32  bytes of what it holds
//!  4  u32  checksum: xxh3 of all that follows, seeded by the segment
//!  8  u8   kind
//!  9  7 B  zero
//! 16  u64  whose it is: an exchange of the shard that writes here
//! 24  u64  of a piece of an answer: the bytes of it before this one
//! ```
//!
//! A segment is zeros where nothing was written yet, so what is no record ends it. Each segment has a seed of its own: what an earlier file left
//! on the same place of a disk is no record of this one.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes before what a record holds.
pub const HEAD: usize = 32;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Begun = 1,
    Called = 2,
    Sent = 3,
    Row = 4,
    Ended = 5,
    Prompt = 6,
    /// What stood here is forgotten.
    Erased = 7,
}

/// The head of a record, without what checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: Kind,
    pub exchange: u64,
    pub at: u64,
}

/// Bytes in a segment that a record of so many bytes takes.
#[must_use]
pub fn span(holds: usize) -> usize {
    HEAD + holds.next_multiple_of(8)
}

/// Writes a record at the beginning of `into`, which has room for it. Costs one copy and one pass.
pub fn write(into: &mut [u8], seed: u64, head: Head, holds: &[u8]) {
    let end = HEAD + holds.len();
    let whole = &mut into[..end];
    whole[0..4].copy_from_slice(&(holds.len() as u32).to_le_bytes());
    whole[8..16].copy_from_slice(&u64::from(head.kind as u8).to_le_bytes());
    whole[16..24].copy_from_slice(&head.exchange.to_le_bytes());
    whole[24..32].copy_from_slice(&head.at.to_le_bytes());
    whole[HEAD..].copy_from_slice(holds);
    let check = checksum(&whole[8..], seed);
    whole[4..8].copy_from_slice(&check.to_le_bytes());
}

/// The record at the beginning of `bytes` and how far it reaches; `None` where there is none, or not a whole one.
#[must_use]
pub fn read(bytes: &[u8], seed: u64) -> Option<(Head, &[u8], usize)> {
    let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let first = number(0)?;
    let (len, check) = ((first & 0xffff_ffff) as usize, (first >> 32) as u32);
    let kind = match number(8)? {
        1 => Kind::Begun,
        2 => Kind::Called,
        3 => Kind::Sent,
        4 => Kind::Row,
        5 => Kind::Ended,
        6 => Kind::Prompt,
        7 => Kind::Erased,
        _ => return None,
    };
    let whole = bytes.get(8..HEAD.checked_add(len)?)?;
    if checksum(whole, seed) != check {
        return None;
    }
    let head = Head {
        kind,
        exchange: number(16)?,
        at: number(24)?,
    };
    Some((head, &bytes[HEAD..HEAD + len], span(len)))
}

fn checksum(bytes: &[u8], seed: u64) -> u32 {
    // The low half is as good as any; zero would make of zeros a record.
    (xxh3_64_with_seed(bytes, seed) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Head = Head {
        kind: Kind::Sent,
        exchange: 7,
        at: 100,
    };

    #[test]
    fn what_was_written_is_read_and_anything_else_is_none() {
        for len in [0, 1, 7, 8, 9, 1_000] {
            let holds: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut page = vec![0; span(len) + 64];
            write(&mut page, 3, ANY, &holds);
            assert_eq!(read(&page, 3), Some((ANY, &holds[..], span(len))));
            assert_eq!(read(&page, 4), None, "another segment's");
            assert_eq!(read(&page[span(len)..], 3), None, "zeros");
            for cut in 0..HEAD + len {
                assert_eq!(read(&page[..cut], 3), None, "cut at {cut}");
            }
            for at in 0..HEAD + len {
                let mut torn = page.clone();
                torn[at] ^= 1;
                assert_eq!(read(&torn, 3), None, "altered at {at}");
            }
        }
    }
}
