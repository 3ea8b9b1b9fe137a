//! Times as providers write them: durations of Go, seconds, dates of HTTP and of RFC 3339, points of Unix time → how long from now.
//!
//! Reads no clock: now is an argument. What does not parse is `None`; what has passed is zero.

use crate::base::WallTime;
use std::time::Duration;

/// The value of `retry-after`: seconds, or a date.
pub(super) fn wait(text: &str, now: WallTime) -> Option<Duration> {
    seconds(text).or_else(|| Some(from(now, http_date(text)?)))
}

/// Seconds as a plain number, whole or not. Negative is "now".
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let n: f64 = text.parse().ok()?;
    n.is_finite()
        .then(|| Duration::try_from_secs_f64(n.max(0.0)).ok())?
}

/// When a bucket is full again: a Go duration, an RFC 3339 time, a number of seconds, or a Unix time.
pub(super) fn until(text: &str, now: WallTime) -> Option<Duration> {
    const UNIX_TIMES_FROM: u64 = 1_000_000_000;
    if let Some(plain) = seconds(text) {
        return Some(match plain.as_secs() {
            // Nobody waits for thirty years: a number that large is a point in time, in milliseconds if larger still.
            at if at >= UNIX_TIMES_FROM * 100 => from(now, i64::try_from(at / 1_000).ok()?),
            at if at >= UNIX_TIMES_FROM => from(now, i64::try_from(at).ok()?),
            _ => plain,
        });
    }
    go_duration(text).or_else(|| rfc_3339(text, now))
}

/// `6m0s`, `120ms`, `1h2m3.5s`, `8.64s`, and days, as OpenAI writes them.
pub(super) fn go_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text, Duration::ZERO);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        let n: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(n * scale).ok()?)?;
        rest = next;
    }
    Some(total)
}

/// From `now` to a point of the calendar, in seconds since 1970; zero when it has passed.
fn from(now: WallTime, seconds: i64) -> Duration {
    from_nanos(now, i128::from(seconds) * 1_000_000_000)
}

fn from_nanos(now: WallTime, at: i128) -> Duration {
    let nanos = (at - i128::from(now.0)).max(0);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// `2026-08-01T12:00:00.5Z`, also with an offset (RFC 3339, section 5.6), as the time from `now` to it.
pub fn rfc_3339(text: &str, now: WallTime) -> Option<Duration> {
    let date = text.get(..10)?;
    let mut parts = date.split('-').map(str::parse::<i64>);
    let (year, month, day) = (
        parts.next()?.ok()?,
        parts.next()?.ok()?,
        parts.next()?.ok()?,
    );
    let rest = text.get(10..)?.strip_prefix(['T', 't', ' '])?;
    let clock = clock(rest.get(..8)?)?;
    let rest = rest.get(8..)?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (fraction, zone) = rest.split_at(zone_at);
    let nanos = match fraction.strip_prefix('.') {
        Some(digits) => format!("0.{digits}").parse::<f64>().ok()? * 1e9,
        None if fraction.is_empty() => 0.0,
        None => return None,
    };
    let seconds = days_since_1970(year, month, day)? * 86_400 + clock - offset(zone)?;
    Some(from_nanos(
        now,
        i128::from(seconds) * 1_000_000_000 + nanos as i128,
    ))
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    let sign = match zone.get(..1)? {
        "Z" | "z" => return (zone.len() == 1).then_some(0),
        "+" => 1,
        _ => -1,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(sign * (hours.parse::<i64>().ok()? * 3_600 + minutes.parse::<i64>().ok()? * 60))
}

/// Seconds since 1970 of any of HTTP's three forms of a date (RFC 9110, section 5.6.7): all name the month by a word and give the day
/// before the year.
pub fn http_date(text: &str) -> Option<i64> {
    const MONTHS: &str = "janfebmaraprmayjunjulaugsepoctnovdec";
    let (mut month, mut time, mut numbers) = (None, None, Vec::new());
    for word in text.split([' ', ',', '-']).filter(|w| !w.is_empty()) {
        if word.contains(':') {
            time = clock(word);
        } else if let Ok(number) = word.parse::<i64>() {
            numbers.push(number);
        } else if word.len() == 3 && month.is_none() {
            let found = MONTHS.find(&word.to_ascii_lowercase());
            month = found.filter(|at| at % 3 == 0).map(|at| at as i64 / 3 + 1);
        }
    }
    let [day, year] = numbers[..] else {
        return None;
    };
    let year = match year {
        0..70 => year + 2_000,
        70..100 => year + 1_900,
        _ => year,
    };
    Some(days_since_1970(year, month?, day)? * 86_400 + time?)
}

/// `07:28:00` in seconds since midnight.
fn clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(str::parse::<i64>);
    let (h, m, s) = (
        parts.next()?.ok()?,
        parts.next()?.ok()?,
        parts.next()?.ok()?,
    );
    // 60 is a leap second.
    ((0..24).contains(&h) && (0..60).contains(&m) && (0..=60).contains(&s))
        .then_some(h * 3_600 + m * 60 + s)
}

/// Days of the Gregorian calendar; years are counted from March, so that a leap day ends one.
pub(super) fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=9_999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let years = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(years * 365 + years / 4 - years / 100 + years / 400 + day_of_year - 719_468)
}

/// The inverse of `days_since_1970`: year, month, day.
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = (from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T02:00:00Z
    const NOW: WallTime = WallTime(1_795_399_200_000_000_000);

    fn secs(s: f64) -> Option<Duration> {
        Some(Duration::from_secs_f64(s))
    }

    #[test]
    fn go_durations_of_every_form_are_read() {
        for (text, wanted) in [
            ("1s", secs(1.0)),
            ("6m0s", secs(360.0)),
            ("120ms", secs(0.12)),
            ("6ms", secs(0.006)),
            ("1h2m3.5s", secs(3723.5)),
            ("8.64s", secs(8.64)),
            ("1d", secs(86_400.0)),
            ("500us", secs(0.0005)),
            ("500µs", secs(0.0005)),
            ("7ns", secs(7e-9)),
            ("0s", secs(0.0)),
            ("12", secs(12.0)),
            ("0.5", secs(0.5)),
            ("", None),
            ("s", None),
            ("1", secs(1.0)),
            ("1x", None),
            ("1m2", None),
            ("99999999999999999999999d", None),
            ("1795399230", secs(30.0)),
            ("1795399230000", secs(30.0)),
            ("2026-11-23T02:01:00Z", secs(60.0)),
            ("never", None),
        ] {
            assert_eq!(until(text, NOW), wanted, "{text:?}");
        }
    }

    #[test]
    fn the_calendar_is_right() {
        for (date, days) in [
            ((1970, 1, 1), 0),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2026, 11, 23), 20_780),
            ((1969, 12, 31), -1),
        ] {
            assert_eq!(
                days_since_1970(date.0, date.1, date.2),
                Some(days),
                "{date:?}"
            );
        }
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(784_111_777)
        );
        for days in (-1_000..80_000).step_by(7) {
            let (year, month, day) = civil(days);
            assert_eq!(days_since_1970(year, month, day), Some(days));
        }
    }
}
