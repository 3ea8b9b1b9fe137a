//! When another try can succeed, from wherever a refusal says it.

use super::{Said, google};
use crate::base::WallTime;
use crate::canon::{Fault, FaultClass};
use crate::protocol::provider::ProviderKind;
use crate::protocol::provider::hints::Hints;
use crate::protocol::provider::when;
use std::time::Duration;

/// `None` where waiting does not help, or nothing was said. A limit of a whole day lasts until that day ends, whatever shorter time stands beside it.
pub(super) fn of(said: &Said<'_>, fault: &Fault, hints: &Hints) -> Option<Duration> {
    if !fault.class.retryable() {
        return None;
    }
    let now = hints.read_at;
    if google::is_daily(&said.value) {
        return Some(until_pacific_midnight(now));
    }
    let low = fault.message.to_ascii_lowercase();
    // bedrock.md 5: "Too many tokens per day": not today. AWS counts days in UTC.
    if said.kind == ProviderKind::Bedrock && low.contains("per day") {
        return Some(until_hour(now, 0));
    }
    fault
        .retry_after
        .or(hints.retry_after)
        .or_else(|| google::retry_delay(&said.value))
        .or_else(|| quoted(said, now))
        .or_else(|| in_words(&low))
        .or_else(|| ended(hints, fault.class))
        // vertex.md 8: a quota a minute, of which nothing more is said.
        .or_else(|| low.contains("per_minute").then(|| until_minute(now)))
}

/// OpenRouter repeats within the body the headers of whoever refused.
fn quoted(said: &Said<'_>, now: WallTime) -> Option<Duration> {
    let told = said.at("/error/metadata/headers")?.as_object()?;
    let get = |name: &str| {
        let found = told.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found?.1.as_str()
    };
    get("retry-after")
        .and_then(|text| when::wait(text, now))
        .or_else(|| when::until(get("x-ratelimit-reset")?, now))
}

/// "Please try again in 6.5s." (OpenAI, Groq), "Please retry in 48.9s." (Google), "in 1m30s".
fn in_words(low: &str) -> Option<Duration> {
    let (_, after) = ["try again in ", "retry in ", "retry after "]
        .iter()
        .find_map(|words| low.split_once(words))?;
    let word = after.split_ascii_whitespace().next()?;
    let word = word.trim_end_matches(['.', ',', ';', ')']);
    when::go_duration(word).or_else(|| {
        let unit = after.split_ascii_whitespace().nth(1)?;
        unit.starts_with("second").then(|| when::seconds(word))?
    })
}

/// A window with nothing left helps nobody before it ends.
fn ended(hints: &Hints, class: FaultClass) -> Option<Duration> {
    let window = hints.window.filter(|w| w.remaining == Some(0))?;
    (class == FaultClass::RateLimited).then_some(window.full_in)?
}

const HOUR: i64 = 3_600;

fn until_minute(now: WallTime) -> Duration {
    Duration::from_secs(60 - now.seconds().rem_euclid(60).unsigned_abs())
}

/// Until the clock of UTC next shows `hour`.
fn until_hour(now: WallTime, hour: i64) -> Duration {
    let left = (hour * HOUR - now.seconds()).rem_euclid(24 * HOUR);
    let left = if left == 0 { 24 * HOUR } else { left };
    Duration::from_secs(left.unsigned_abs())
}

/// Google's days end at midnight in California (gemini.md 7): 8 o'clock of UTC, 7 while summer time holds there, from the second Sunday of March
/// to the first of November (US Energy Policy Act of 2005).
fn until_pacific_midnight(now: WallTime) -> Duration {
    let winter = until_hour(now, 8);
    let summer = until_hour(now, 7);
    if is_summer(now + summer) {
        summer
    } else {
        winter
    }
}

fn is_summer(at: WallTime) -> bool {
    let day = at.seconds().div_euclid(24 * HOUR);
    let (year, ..) = when::civil(day);
    let sunday = |month: i64, nth: i64| {
        let first = when::days_since_1970(year, month, 1).unwrap_or(day);
        // 1970-01-01 was a Thursday: Sundays are the days with a remainder of 3.
        first + (3 - first).rem_euclid(7) + (nth - 1) * 7
    };
    // The night of either change itself still begins by the old clock.
    day > sunday(3, 2) && day <= sunday(11, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_googles_ends_at_midnight_in_california() {
        let at = |year, month, day, hour: i64| {
            let days = when::days_since_1970(year, month, day).expect("a date");
            WallTime((days * 24 + hour) * HOUR * 1_000_000_000)
        };
        for (now, hours) in [
            (at(2026, 11, 23, 2), 6),
            (at(2026, 11, 23, 8), 24),
            (at(2026, 11, 23, 9), 23),
            (at(2026, 7, 1, 0), 7),
            (at(2026, 7, 1, 7), 24),
            (at(2026, 7, 1, 23), 8),
            // Summer time began on 8 March 2026 at 10:00 UTC and ended on 1 November 2026 at 9:00 UTC.
            (at(2026, 3, 8, 6), 2),
            (at(2026, 3, 8, 20), 11),
            (at(2026, 11, 1, 5), 2),
            (at(2026, 11, 1, 20), 12),
        ] {
            assert_eq!(
                until_pacific_midnight(now),
                Duration::from_secs(hours * 3_600),
                "{now:?}"
            );
        }
    }

    #[test]
    fn a_time_in_a_sentence_is_found() {
        for (text, wanted) in [
            (
                "limit 30000, used 29000. please try again in 6s.",
                Some(6_000),
            ),
            ("please try again in 1m30.5s. visit", Some(90_500)),
            ("please retry in 48.939935699s.", Some(48_939)),
            ("try again in 20 seconds", Some(20_000)),
            ("try again in 250ms", Some(250)),
            ("try again in a moment", None),
            ("try again in ", None),
        ] {
            let millis = in_words(text).map(|d| u64::try_from(d.as_millis()).expect("short"));
            assert_eq!(millis, wanted, "{text}");
        }
    }
}
