//! Limits a day that come back all at once, at the provider's midnight.
//!
//! The decision's clock cannot tell the date, so the calendar is told from time to time (`heed_calendar`), and a day's end is kept as a
//! moment of that clock in between. A calendar that jumps back gives nothing back; one that jumps on begins the new day.

use crate::base::{Instant, Now, WallTime};
use crate::policy::capacity::Room;
use crate::policy::capacity::bucket::{Bucket, Rate};
use std::time::Duration;

/// When a provider's day ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DayEnd {
    /// A bucket that refills over the day, without an end (OpenAI says so by its reset times: 8.64 s for one of 10,000).
    #[default]
    Rolling,
    Utc,
    /// Midnight in Los Angeles, summer time included (Gemini API docs, rate limits, read 2026-08).
    Pacific,
}

/// What is left of a day's limit.
#[derive(Clone, Debug)]
pub struct Day {
    most: u64,
    used: u64,
    end: DayEnd,
    /// Which day it is, counted where the provider is; `None` while nobody told.
    number: Option<i64>,
    ends_at: Instant,
}

/// A day's limit, whichever way it comes back.
#[derive(Clone, Debug)]
pub enum Daily {
    Rolling(Bucket),
    Fixed(Day),
}

impl Day {
    #[must_use]
    pub fn new(most: u64, end: DayEnd) -> Self {
        Self {
            most,
            used: 0,
            end,
            number: None,
            ends_at: Instant::NEVER,
        }
    }

    /// Tells the date. To be called at least once a second where a day matters; costs some divisions.
    pub fn heed_calendar(&mut self, now: Now) {
        let (number, left) = self.end.day_of(now.wall);
        match self.number {
            Some(known) if number < known => return,
            Some(known) if number > known => self.used = 0,
            _ => {}
        }
        self.number = Some(number);
        self.ends_at = now.instant + left;
    }

    /// How long until `want` fits; zero when it does. More than a day's whole limit fits a fresh day: the provider decides.
    #[must_use]
    pub fn wait(&self, want: u64, now: Instant) -> Duration {
        let want = want.min(self.most);
        if now >= self.ends_at || self.used.saturating_add(want) <= self.most {
            return Duration::ZERO;
        }
        self.ends_at - now
    }

    pub fn take(&mut self, tokens: u64, now: Instant) {
        self.turn(now);
        self.used = self.used.saturating_add(tokens);
    }

    /// Gives back what was taken at `taken_at`; what a new day has forgotten is not owed to it.
    pub fn give(&mut self, tokens: u64, now: Instant) {
        self.turn(now);
        self.used = self.used.saturating_sub(tokens);
    }

    /// How much of it is gone: 0 to a million.
    #[must_use]
    pub fn emptiness(&self, now: Instant) -> u64 {
        if now >= self.ends_at || self.most == 0 {
            return 0;
        }
        super::bucket::scaled(self.used.min(self.most), 1_000_000, self.most)
    }

    fn turn(&mut self, now: Instant) {
        if now >= self.ends_at {
            self.used = 0;
            self.number = self.number.map(|n| n + 1);
            // Until the calendar is heard, which knows of days of 23 hours.
            self.ends_at = self.ends_at + DAY_TIME;
        }
    }
}

impl Daily {
    pub fn new(most: u64, end: DayEnd) -> Self {
        match end {
            DayEnd::Rolling => {
                let rate = Rate(Rate::per_minute(most).0 / MINUTES_A_DAY);
                Self::Rolling(Bucket::new(rate, most))
            }
            DayEnd::Utc | DayEnd::Pacific => Self::Fixed(Day::new(most, end)),
        }
    }

    pub fn room(&self, want: u64, now: Instant) -> Room {
        match self {
            Self::Rolling(bucket) => bucket.room(want, now),
            Self::Fixed(day) => match day.wait(want, now) {
                Duration::ZERO => Room::Now,
                wait => Room::In(wait),
            },
        }
    }

    /// Gives back or, below zero, takes.
    pub fn give(&mut self, tokens: i128, now: Instant) {
        let size = u64::try_from(tokens.unsigned_abs()).unwrap_or(u64::MAX);
        match self {
            Self::Rolling(bucket) => bucket.add(tokens, now),
            Self::Fixed(day) if tokens < 0 => day.take(size, now),
            Self::Fixed(day) => day.give(size, now),
        }
    }

    pub fn emptiness(&self, now: Instant) -> u64 {
        match self {
            Self::Rolling(bucket) => bucket.emptiness(now),
            Self::Fixed(day) => day.emptiness(now),
        }
    }
}

impl DayEnd {
    /// The number of the day that `wall` is in, where the provider is, and how long that day still lasts.
    #[must_use]
    pub fn day_of(self, wall: WallTime) -> (i64, Duration) {
        let seconds = wall.seconds();
        let offset = self.offset(seconds);
        let number = (seconds + offset).div_euclid(DAY);
        let ends_local = (number + 1) * DAY;
        // Clocks change at two in the morning, so the offset that midnight has is that of the hour before it.
        let ends = ends_local - self.offset(ends_local - offset - 1);
        let nanos = ends.saturating_mul(SECOND).saturating_sub(wall.0);
        (number, Duration::from_nanos(nanos.max(0).unsigned_abs()))
    }

    fn offset(self, utc_seconds: i64) -> i64 {
        match self {
            Self::Rolling | Self::Utc => 0,
            Self::Pacific if is_us_summer(utc_seconds) => -7 * 3_600,
            Self::Pacific => -8 * 3_600,
        }
    }
}

/// From the second Sunday of March, 10:00 UTC (2 o'clock there), to the first Sunday of November, 9:00 UTC (Energy Policy Act of 2005).
fn is_us_summer(utc_seconds: i64) -> bool {
    let year = year_of(utc_seconds.div_euclid(DAY));
    let begins = nth_sunday(first_of(year, 3), 2) * DAY + 10 * 3_600;
    let ends = nth_sunday(first_of(year, 11), 1) * DAY + 9 * 3_600;
    (begins..ends).contains(&utc_seconds)
}

/// The day (since 1970) of the n-th Sunday on or after `first`.
fn nth_sunday(first: i64, n: i64) -> i64 {
    // 1970-01-01 was a Thursday: day 3 was a Sunday.
    first + (3 - first).rem_euclid(7) + 7 * (n - 1)
}

/// Days from 1970-01-01 to the first of a month, March to December.
fn first_of(year: i64, month: i64) -> i64 {
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // Days of a year before each month from March on are counted by this sum whatever February had.
    let of_year = (153 * (month - 3) + 2) / 5;
    365 * year + leaps + of_year - 719_468
}

fn year_of(day: i64) -> i64 {
    // A guess that is at most one too high, since a year has 365 days or more.
    let guess = 1970 + day.div_euclid(365);
    let begins = |year: i64| first_of(year - 1, 3) + 306;
    (guess - 2..=guess)
        .rev()
        .find(|year| begins(*year) <= day)
        .unwrap_or(guess)
}

pub(super) const MINUTES_A_DAY: u64 = 1_440;
const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;
const DAY_TIME: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(seconds: i64) -> WallTime {
        WallTime(seconds * SECOND)
    }

    /// Hours until midnight in Los Angeles, checked against a calendar.
    #[test]
    fn midnight_is_the_providers_also_when_clocks_change() {
        for (seconds, hours, what) in [
            // 2026-11-23T00:00:00Z: 16:00 of the day before there.
            (1_795_392_000, 8, "winter"),
            // 2026-07-01T00:00:00Z: 17:00.
            (1_782_864_000, 7, "summer"),
            // 2026-03-08T08:00:00Z: midnight of the day of 23 hours.
            (1_772_956_800, 23, "to summer time"),
            // 2026-11-01T07:00:00Z: midnight of the day of 25 hours.
            (1_793_516_400, 25, "to winter time"),
        ] {
            let (_, left) = DayEnd::Pacific.day_of(wall(seconds));
            assert_eq!(left, Duration::from_secs(hours * 3_600), "{what}");
        }
        let (_, left) = DayEnd::Utc.day_of(wall(1_795_392_000 + 60));
        assert_eq!(left, DAY_TIME - Duration::from_secs(60));
    }

    /// Midnights of a century are one to another as days are, whatever the moment they are asked at.
    #[test]
    fn days_follow_each_other_without_a_gap() {
        let mut at = 0;
        let (mut number, _) = DayEnd::Pacific.day_of(wall(at));
        for _ in 0..36_525 {
            let (same, left) = DayEnd::Pacific.day_of(wall(at));
            assert_eq!(same, number);
            let hours = left.as_secs() / 3_600;
            assert!((1..=25).contains(&hours), "{hours} at {at}");
            at += i64::try_from(left.as_secs()).expect("a day");
            let (next, full) = DayEnd::Pacific.day_of(wall(at));
            assert_eq!(next, number + 1, "at {at}");
            assert!((23..=25).contains(&(full.as_secs() / 3_600)), "at {at}");
            number = next;
        }
    }

    #[test]
    fn a_days_limit_comes_back_at_midnight_and_not_before() {
        let mut day = Day::new(10, DayEnd::Utc);
        let evening = 1_795_392_000 - 100;
        let now = |s: u64| Now {
            instant: Instant(s * 1_000_000_000),
            wall: wall(evening + s as i64),
        };
        day.heed_calendar(now(0));
        day.take(10, now(0).instant);
        assert_eq!(
            day.wait(1, now(1).instant),
            Duration::from_secs(99),
            "a wait, with its time"
        );
        assert_eq!(day.wait(1, now(100).instant), Duration::ZERO);
        day.take(4, now(100).instant);
        day.heed_calendar(now(101));
        assert_eq!(day.wait(6, now(101).instant), Duration::ZERO);
        assert!(day.wait(7, now(101).instant) > Duration::ZERO);
        // A calendar that is set back does not begin the day again.
        let back = Now {
            instant: now(102).instant,
            wall: wall(evening),
        };
        day.heed_calendar(back);
        assert!(day.wait(7, now(102).instant) > Duration::ZERO);
    }
}
