//! Calendar dates in UTC, as log lines and reports write and read them. No time zones, no leap seconds: Unix time has none.

use crate::base::WallTime;

const NANOS: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

/// `2026-11-23T02:09:16.123Z`.
#[must_use]
pub fn rfc3339(at: WallTime) -> String {
    let second = at.seconds().rem_euclid(DAY_SECONDS);
    let millis = at.millis().rem_euclid(1_000);
    let (h, m, s) = (second / 3_600, second / 60 % 60, second % 60);
    let day = date(at.seconds().div_euclid(DAY_SECONDS));
    format!("{day}T{h:02}:{m:02}:{s:02}.{millis:03}Z")
}

/// `2026-11-23`, from days since 1970-01-01.
#[must_use]
pub fn date(day: i64) -> String {
    let (year, month, day) = civil(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2026-11-23T02:00Z`, from hours since 1970-01-01T00:00Z.
#[must_use]
pub fn hour(hour: i64) -> String {
    let of_day = hour.rem_euclid(24);
    format!("{}T{of_day:02}:00Z", date(hour.div_euclid(24)))
}

/// The first day of the month that a day is in, both in days since 1970-01-01.
#[must_use]
pub fn month_begins(day: i64) -> i64 {
    let (year, month, _) = civil(day);
    days(year, month, 1)
}

/// `2026-11-23T02:09Z`, from minutes since 1970-01-01T00:00Z.
#[must_use]
pub fn minute(minute: i64) -> String {
    let of_day = minute.rem_euclid(1_440);
    let (hour, minute_of) = (of_day / 60, of_day % 60);
    format!(
        "{}T{hour:02}:{minute_of:02}Z",
        date(minute.div_euclid(1_440))
    )
}

/// A moment as people write it: `24h`, `7d`, `90m`, `30s`, `2w` before `now`, `now`, or a UTC date `2026-11-01`, also with
/// `T12:30`, `T12:30:15` and a `Z`. The error says what would be right.
pub fn parse(text: &str, now: WallTime) -> Result<WallTime, String> {
    if text == "now" {
        return Ok(now);
    }
    ago(text, now).or_else(|| moment(text)).ok_or_else(|| {
        format!("`{text}` is no time: want an age (90m, 24h, 7d, 2w), a UTC date (2026-11-01), or date and time (2026-11-01T12:30)")
    })
}

fn ago(text: &str, now: WallTime) -> Option<WallTime> {
    let (at, unit) = text.char_indices().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => DAY_SECONDS,
        'w' => 7 * DAY_SECONDS,
        _ => return None,
    };
    let count = i64::from(text[..at].parse::<u32>().ok()?);
    let nanos = count.checked_mul(seconds)?.checked_mul(NANOS)?;
    now.0.checked_sub(nanos).map(WallTime)
}

fn moment(text: &str) -> Option<WallTime> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = match time.matches(':').count() {
        1 => numbers(time, ':').map(|[h, m]| [h, m, 0])?,
        _ => numbers(time, ':')?,
    };
    let valid = (1970..=2200).contains(&year)
        && (1..=12).contains(&month)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second);
    let days = days(year, month, day);
    // The 31st of a shorter month comes back as another day.
    if !valid || civil(days) != (year, month, day) {
        return None;
    }
    let seconds = days * DAY_SECONDS + hour * 3_600 + minute * 60 + second;
    Some(WallTime(seconds * NANOS))
}

fn numbers<const N: usize>(text: &str, by: char) -> Option<[i64; N]> {
    let parts: Option<Vec<i64>> = text
        .split(by)
        .map(|part| part.parse::<u16>().ok().map(i64::from))
        .collect();
    parts?.try_into().ok()
}

/// Days since 1970-01-01 of a Gregorian date. Years are counted from March, so that the leap day is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 = days from 0000-03-01 to 1970-01-01; (153·m + 2) / 5 = days before month m of a year from March.
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The inverse of `days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    // 146,097 = days of 400 years.
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_two_centuries_comes_back() {
        for day in 0..84_000 {
            let (y, m, d) = civil(day);
            assert_eq!(days(y, m, d), day, "{y}-{m}-{d}");
        }
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(19_782), "2024-02-29");
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = WallTime(1_795_400_956_123_000_000);
        let shown = |text: &str| parse(text, now).map(rfc3339);
        for (text, want) in [
            ("now", "2026-11-23T02:29:16.123Z"),
            ("24h", "2026-11-22T02:29:16.123Z"),
            ("2w", "2026-11-09T02:29:16.123Z"),
            ("2026-11-01", "2026-11-01T00:00:00.000Z"),
            ("2026-11-01T12:30", "2026-11-01T12:30:00.000Z"),
            ("2024-02-29T12:30:15Z", "2024-02-29T12:30:15.000Z"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(want), "{text}");
        }
        for text in [
            "",
            "h",
            "yesterday",
            "2026-02-30",
            "2026-13-01",
            "-1h",
            "2026-11-01T25:00",
            "é",
        ] {
            assert!(shown(text).is_err(), "{text}");
        }
    }
}
