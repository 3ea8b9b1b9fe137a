//! Rate-limit headers → what is left and when it returns.
//!
//! One total function for both families of headers, since gateways in between speak either. What does not parse was not said. Decides
//! nothing: how long to wait is policy's.

use crate::base::WallTime;
use crate::protocol::provider::Headers;
use bytes::Bytes;
use smallvec::SmallVec;
use std::time::Duration;

/// What an answer's headers say about limits. `None`: not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    pub requests: Option<Limit>,
    /// All tokens, or whichever token limit is tightest.
    pub tokens: Option<Limit>,
    pub input_tokens: Option<Limit>,
    pub output_tokens: Option<Limit>,
    pub retry_after: Option<Duration>,
    /// `x-should-retry`, which the official clients obey over everything else.
    pub should_retry: Option<bool>,
}

/// One bucket as the provider sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    /// From now until the bucket is full again.
    pub full_in: Option<Duration>,
}

/// Reads all headers that speak of limits, whoever wrote them. `now` is what dates are relative to.
#[must_use]
pub fn read(headers: &Headers, now: WallTime) -> Hints {
    let told: SmallVec<[(&str, &str); 16]> = headers.iter().filter_map(speaks_of_limits).collect();
    if told.is_empty() {
        return Hints::default();
    }
    let view = View { told: &told, now };
    Hints {
        requests: tightest(
            view.limit("x-ratelimit", "requests", Order::NameLast),
            view.limit("anthropic-ratelimit", "requests", Order::NameFirst),
        ),
        // OpenAI docs, rate limits, read 2026-08: a project's own limit may be below the organisation's.
        tokens: tightest(
            tightest(
                view.limit("x-ratelimit", "tokens", Order::NameLast),
                view.limit("x-ratelimit", "project-tokens", Order::NameLast),
            ),
            view.limit("anthropic-ratelimit", "tokens", Order::NameFirst),
        ),
        input_tokens: view.limit("anthropic-ratelimit", "input-tokens", Order::NameFirst),
        output_tokens: view.limit("anthropic-ratelimit", "output-tokens", Order::NameFirst),
        retry_after: view.retry_after(),
        should_retry: view.get("x-should-retry").and_then(|word| {
            match word.to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            }
        }),
    }
}

/// Where the bucket's name stands in a header's name: `…-limit-requests` or `…-requests-limit`.
#[derive(Clone, Copy)]
enum Order {
    NameLast,
    NameFirst,
}

/// Most headers are passed over by their first letter.
fn speaks_of_limits((name, value): &(Bytes, Bytes)) -> Option<(&str, &str)> {
    let ours: [&[u8]; 4] = [
        b"x-ratelimit-",
        b"anthropic-ratelimit-",
        b"retry-after",
        b"x-should-retry",
    ];
    let speaks = ours.iter().any(|start| {
        name.get(..start.len())
            .is_some_and(|n| n.eq_ignore_ascii_case(start))
    });
    if !speaks {
        return None;
    }
    Some((
        std::str::from_utf8(name).ok()?,
        std::str::from_utf8(value).ok()?.trim(),
    ))
}

struct View<'a> {
    told: &'a [(&'a str, &'a str)],
    now: WallTime,
}

impl View<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.told
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    fn limit(&self, family: &str, bucket: &str, order: Order) -> Option<Limit> {
        let get = |what: &str| {
            self.get(&match order {
                Order::NameLast => format!("{family}-{what}-{bucket}"),
                Order::NameFirst => format!("{family}-{bucket}-{what}"),
            })
        };
        let limit = Limit {
            limit: get("limit").and_then(count),
            remaining: get("remaining").and_then(count),
            full_in: get("reset").and_then(|text| until(text, self.now)),
        };
        (limit != Limit::default()).then_some(limit)
    }

    /// In the order of the official clients: `retry-after-ms`, `retry-after` as a number, as a date (SDK 3.54.0, read 2026-11).
    fn retry_after(&self) -> Option<Duration> {
        let millis = self.get("retry-after-ms").and_then(seconds);
        millis.map(|ms| ms / 1_000).or_else(|| {
            let text = self.get("retry-after")?;
            seconds(text).or_else(|| Some(from(self.now, http_date(text)?)))
        })
    }
}

/// The one with less left; where that is not said, the one with the lower limit.
fn tightest(a: Option<Limit>, b: Option<Limit>) -> Option<Limit> {
    let (Some(x), Some(y)) = (a, b) else {
        return a.or(b);
    };
    let room = |l: Limit| l.remaining.or(l.limit).unwrap_or(u64::MAX);
    Some(if room(y) < room(x) { y } else { x })
}

/// A whole number, which some gateways write as `100.0` or, overdrawn, below zero.
fn count(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| {
        let n: f64 = text.parse().ok()?;
        // A cast of a float saturates: below zero is zero.
        n.is_finite().then_some(n as u64)
    })
}

/// Seconds as a plain number, whole or not. Negative is "now".
fn seconds(text: &str) -> Option<Duration> {
    let n: f64 = text.parse().ok()?;
    n.is_finite()
        .then(|| Duration::try_from_secs_f64(n.max(0.0)).ok())?
}

/// When a bucket is full again: a Go duration, an RFC 3339 time, a number of seconds, or a Unix time.
fn until(text: &str, now: WallTime) -> Option<Duration> {
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
fn go_duration(text: &str) -> Option<Duration> {
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
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=9_999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let years = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(years * 365 + years / 4 - years / 100 + years / 400 + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    /// 2026-11-23T02:00:00Z
    const NOW: WallTime = WallTime(1_795_399_200_000_000_000);

    fn hints(headers: &[(&str, &str)]) -> Hints {
        let bytes = |s: &str| Bytes::copy_from_slice(s.as_bytes());
        let headers: Vec<(Bytes, Bytes)> =
            headers.iter().map(|(n, v)| (bytes(n), bytes(v))).collect();
        read(&headers, NOW)
    }

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
    fn openai_headers_are_read() {
        let got = hints(&[
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-reset-requests", "6ms"),
            ("x-ratelimit-limit-tokens", "30000000"),
            ("x-ratelimit-remaining-tokens", "29999000"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ]);
        assert_eq!(
            got.requests,
            Some(Limit {
                limit: Some(10_000),
                remaining: Some(9_999),
                full_in: secs(0.006)
            })
        );
        assert_eq!(
            got.tokens,
            Some(Limit {
                limit: Some(30_000_000),
                remaining: Some(29_999_000),
                full_in: secs(360.0)
            })
        );
        assert_eq!((got.retry_after, got.should_retry), (None, None));
    }

    #[test]
    fn the_tightest_token_limit_wins() {
        let own = |remaining| {
            hints(&[
                ("x-ratelimit-limit-tokens", "1000"),
                ("x-ratelimit-remaining-tokens", "500"),
                ("x-ratelimit-limit-project-tokens", "800"),
                ("x-ratelimit-remaining-project-tokens", remaining),
                ("x-ratelimit-reset-project-tokens", "3s"),
            ])
            .tokens
            .expect("said")
        };
        assert_eq!((own("20").limit, own("20").full_in), (Some(800), secs(3.0)));
        assert_eq!((own("501").limit, own("501").full_in), (Some(1000), None));
    }

    #[test]
    fn anthropic_headers_are_read_against_the_wall_clock() {
        let got = hints(&[
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "2026-11-23T02:00:01Z"),
            ("anthropic-ratelimit-input-tokens-limit", "2000000"),
            ("anthropic-ratelimit-input-tokens-remaining", "1000000"),
            (
                "anthropic-ratelimit-input-tokens-reset",
                "2026-11-23T02:00:30Z",
            ),
            ("anthropic-ratelimit-output-tokens-limit", "400000"),
            ("anthropic-ratelimit-output-tokens-remaining", "0"),
            (
                "anthropic-ratelimit-output-tokens-reset",
                "2026-11-23T03:00:30.5+01:00",
            ),
            ("anthropic-ratelimit-tokens-limit", "2400000"),
            ("anthropic-ratelimit-tokens-remaining", "1"),
            ("anthropic-ratelimit-tokens-reset", "2026-11-22T00:00:00Z"),
        ]);
        let limit = |limit, remaining, full_in| {
            Some(Limit {
                limit: Some(limit),
                remaining: Some(remaining),
                full_in,
            })
        };
        assert_eq!(got.requests, limit(4_000, 3_999, secs(1.0)));
        assert_eq!(got.input_tokens, limit(2_000_000, 1_000_000, secs(30.0)));
        assert_eq!(got.output_tokens, limit(400_000, 0, secs(30.5)));
        // Past resets are now.
        assert_eq!(got.tokens, limit(2_400_000, 1, secs(0.0)));
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        for (name, text, wanted) in [
            ("retry-after", "6", secs(6.0)),
            ("retry-after", "0.25", secs(0.25)),
            ("retry-after", " 3 ", secs(3.0)),
            ("retry-after", "-1", secs(0.0)),
            ("Retry-After", "6", secs(6.0)),
            ("retry-after-ms", "1500", secs(1.5)),
            ("retry-after-ms", "12.5", secs(0.0125)),
            ("retry-after", "Mon, 23 Nov 2026 02:00:10 GMT", secs(10.0)),
            ("retry-after", "Monday, 23-Nov-26 02:00:10 GMT", secs(10.0)),
            ("retry-after", "Mon Nov 23 02:00:10 2026", secs(10.0)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", secs(0.0)),
            ("retry-after", "soon", None),
            ("retry-after", "NaN", None),
            ("retry-after", "inf", None),
            ("retry-after", "1e300", None),
            ("retry-after", "", None),
        ] {
            assert_eq!(hints(&[(name, text)]).retry_after, wanted, "{name}: {text}");
        }
        let both = hints(&[("retry-after", "9"), ("retry-after-ms", "8500")]);
        assert_eq!(both.retry_after, secs(8.5));
        let first_wrong = hints(&[("retry-after", "9"), ("retry-after-ms", "x")]);
        assert_eq!(first_wrong.retry_after, secs(9.0));
    }

    #[test]
    fn should_retry_is_a_word() {
        for (text, wanted) in [("true", Some(true)), ("False", Some(false)), ("1", None)] {
            assert_eq!(hints(&[("x-should-retry", text)]).should_retry, wanted);
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
    }

    #[test]
    fn counts_may_be_floats_or_overdrawn() {
        assert_eq!(
            (count("100.0"), count("-5"), count("x"), count("")),
            (Some(100), Some(0), None, None)
        );
    }

    #[test]
    fn no_header_panics() {
        let mut rng = Rng::seeded(11);
        for _ in 0..20_000 {
            let text: String = (0..rng.below(30))
                .map(|_| {
                    let from = b"0123456789.:-+TZ smhdu\xc2GMTNovjan,e";
                    char::from(from[rng.below(from.len() as u64) as usize])
                })
                .collect();
            let _ = hints(&[("retry-after", &text), ("x-ratelimit-reset-tokens", &text)]);
            let _ = hints(&[("anthropic-ratelimit-tokens-reset", &text)]);
        }
    }
}
