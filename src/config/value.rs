//! Counts, times, sizes and numbers as they are written: `1_000`, `250ms`, `64KiB`, `0.075`. Each is `None` if it is not one.

use crate::base::{ByteCount, WallTime};
use crate::config::yaml::Scalar;
use std::time::Duration;

pub fn bool(s: &Scalar) -> Option<bool> {
    match s.text.as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A whole number from `low` to `high`, digits perhaps parted by single `_`.
pub fn count(s: &Scalar, low: u64, high: u64) -> Option<u64> {
    whole(&s.text).filter(|n| (low..=high).contains(n))
}

/// A decimal number from `low` to `high`; no exponents, no infinities.
pub fn number(s: &Scalar, low: f64, high: f64) -> Option<f64> {
    let text = &s.text;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | '_'));
    if !plain {
        return None;
    }
    let n: f64 = text.replace('_', "").parse().ok()?;
    (low..=high).contains(&n).then_some(n)
}

/// `250ms`, `30s`, `5m`, `1h`, `7d`; a lone `0` needs no unit.
pub fn duration(s: &Scalar) -> Option<Duration> {
    if s.text == "0" {
        return Some(Duration::ZERO);
    }
    let (n, unit) = split(&s.text)?;
    let times = |by: u64| n.checked_mul(by).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(n)),
        "s" => times(1),
        "m" => times(60),
        "h" => times(3_600),
        "d" => times(86_400),
        _ => None,
    }
}

/// `512B`, `64KiB`, `32MiB`, `1GiB`. Powers of ten are not taken, so that nobody has to guess.
pub fn size(s: &Scalar) -> Option<ByteCount> {
    let (n, unit) = split(&s.text)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    n.checked_mul(1 << shift).map(ByteCount)
}

/// As it would be written, in the largest unit that is whole.
pub fn show_duration(d: Duration) -> String {
    let ms = d.as_millis();
    match ms {
        0 => "0".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

pub fn show_size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// SHA-256 as 64 hexadecimal digits.
pub fn sha256(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

/// `2026-11-23`: the first moment of that day, UTC.
pub fn day(text: &str) -> Option<WallTime> {
    let part = |range: std::ops::Range<usize>, low: u64, high: u64| {
        let n = text.get(range).and_then(whole)?;
        (low..=high).contains(&n).then_some(n)
    };
    let dashes = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    let (year, month) = (part(0..4, 2000, 2261)?, part(5..7, 1, 12)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let day = part(8..10, 1, last).filter(|_| dashes)?;
    // Days before this year since 1970, then before this month in it (Gregorian calendar).
    let before = year - 1;
    let years = (year - 1970) * 365 + before / 4 - before / 100 + before / 400 - 477;
    let months = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let this = months[usize::try_from(month - 1).ok()?] + u64::from(leap && month > 2) + day - 1;
    let nanos = i64::try_from(years + this)
        .ok()?
        .checked_mul(86_400_000_000_000)?;
    Some(WallTime(nanos))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    Some((whole(&text[..end])?, &text[end..]))
}

fn whole(text: &str) -> Option<u64> {
    if text.starts_with('_') || text.ends_with('_') || text.contains("__") {
        return None;
    }
    // `parse` alone would take a sign.
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return None;
    }
    text.replace('_', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar {
            text: text.to_owned(),
            written: None,
            quoted: false,
        }
    }

    #[test]
    fn units_are_read_and_nonsense_is_none() {
        let ms = |t: &str| duration(&plain(t)).map(|d| d.as_millis());
        assert_eq!(ms("250ms"), Some(250));
        assert_eq!(ms("1_000s"), Some(1_000_000));
        assert_eq!(ms("1h"), Some(3_600_000));
        assert_eq!(ms("0"), Some(0));
        for bad in [
            "30",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1S",
            "_1s",
            "99999999999999999999s",
            "",
        ] {
            assert_eq!(ms(bad), None, "{bad}");
        }
        let bytes = |t: &str| size(&plain(t)).map(|b| b.0);
        assert_eq!(bytes("64KiB"), Some(65_536));
        for bad in ["64KB", "64", "64kib", "18446744073709551615GiB"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        for bad in ["1e9", "nan", "inf", "+1", ".5", "1.2.3", "0x10"] {
            assert_eq!(number(&plain(bad), 0.0, 1e12), None, "{bad}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for ms in [1, 250, 1_000, 90_000, 300_000, 7_200_000] {
            let d = Duration::from_millis(ms);
            assert_eq!(duration(&plain(&show_duration(d))), Some(d));
        }
        for b in [1, 1_024, 1_500, 32 << 20, 1 << 30] {
            assert_eq!(size(&plain(&show_size(b))), Some(ByteCount(b)));
        }
    }
}
