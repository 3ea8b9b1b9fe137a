//! The unit prices of a row: a few bytes while they travel, a line of text in the ledger.

use crate::shard::{LedgerRow, Unit};
use smallvec::SmallVec;
use std::fmt::Write;

/// The snapshot as it travels: a number of the unit and one of its price, again and again.
pub type Snapshot = SmallVec<[u8; 64]>;

pub fn of(row: &LedgerRow) -> Snapshot {
    let mut bytes = Snapshot::new();
    row.unit_prices(&mut |unit, price| {
        bytes.push(unit as u8);
        varint(price, |byte| bytes.push(byte));
    });
    bytes
}

/// As it is written down: `input=3 output=15`, in dollars for a million tokens and dollars for one of anything else. What is not understood
/// ends it.
pub fn text(mut snapshot: &[u8]) -> String {
    let mut text = String::new();
    while let Some((unit, rest)) = snapshot.split_first() {
        let Some((price, rest)) = read_varint(rest) else {
            break;
        };
        snapshot = rest;
        let space = if text.is_empty() { "" } else { " " };
        let Some(known) = Unit::ALL.get(usize::from(*unit)) else {
            let _ = write!(text, "{space}unit{unit}={price}");
            continue;
        };
        let _ = write!(
            text,
            "{space}{}={}",
            known.as_str(),
            decimal(price, known.decimals())
        );
    }
    text
}

/// Exact, without zeros at the end.
fn decimal(number: u64, decimals: u32) -> String {
    let one = 10_u64.pow(decimals);
    let (whole, part) = (number / one, number % one);
    if part == 0 {
        return whole.to_string();
    }
    let part = format!("{part:0width$}", width = decimals as usize);
    format!("{whole}.{}", part.trim_end_matches('0'))
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
pub fn varint(mut number: u64, mut push: impl FnMut(u8)) {
    while number >= 0x80 {
        push(number as u8 | 0x80);
        number >>= 7;
    }
    push(number as u8);
}

/// A number and what follows it; `None` where it is cut or too large.
pub fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if at == 9 && bits > 1 {
            return None;
        }
        number |= bits << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_are_read_as_they_were_written() {
        for number in [0, 1, 127, 128, 300, 1 << 40, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            varint(number, |byte| bytes.push(byte));
            bytes.push(9);
            assert_eq!(read_varint(&bytes), Some((number, &[9][..])));
            assert_eq!(read_varint(&bytes[..bytes.len() - 2]), None);
        }
        assert_eq!(read_varint(&[0xff; 11]), None);
    }

    #[test]
    fn prices_are_told_to_the_last_digit() {
        let mut bytes = Snapshot::new();
        for (unit, price) in [
            (Unit::Input, 3_000_000_000_000),
            (Unit::CacheRead, 37_500_000_001),
            (Unit::WebSearch, 10_000_000),
            (Unit::ExcessOver, 200_000),
            (Unit::ExcessTimes, 1_500_000),
        ] {
            bytes.push(unit as u8);
            varint(price, |byte| bytes.push(byte));
        }
        bytes.extend_from_slice(&[200, 5, 0, 0x80]);
        assert_eq!(
            text(&bytes),
            "input=3 cache_read=0.037500000001 web_search=0.01 excess_over=200000 excess_times=1.5 unit200=5"
        );
        for (at, unit) in Unit::ALL.iter().enumerate() {
            assert_eq!(*unit as usize, at);
        }
    }
}
