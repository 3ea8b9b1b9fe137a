//! Limits as continuously refilled buckets, one set for every organisation and class of models.
//!
//! Whole numbers throughout: a level is counted in nano-minutes of a token, so that nothing is rounded before a header is
//! written. A level may go below zero by what was produced after a request was let in.

use crate::base::Instant;
use std::time::Duration;

/// Per minute; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Requests.
    pub rpm: Option<u64>,
    /// Input tokens that were not read from the cache (Messages).
    pub itpm: Option<u64>,
    /// Output tokens (Messages).
    pub otpm: Option<u64>,
    /// Tokens of both kinds, charged up front (Chat).
    pub tpm: Option<u64>,
    /// Answers under way of one organisation.
    pub concurrent: Option<usize>,
}

/// Nanoseconds of a minute: a token is this many units, and `limit` units flow in a nanosecond.
const MINUTE: i128 = 60_000_000_000;

#[derive(Clone, Debug)]
pub(super) struct Bucket {
    limit: u64,
    level: i128,
    at: Instant,
}

impl Bucket {
    pub(super) fn full(limit: u64, now: Instant) -> Self {
        Self {
            limit,
            level: i128::from(limit) * MINUTE,
            at: now,
        }
    }

    fn refill(&mut self, now: Instant) {
        let flowed = i128::from(self.limit) * now.since(self.at).as_nanos() as i128;
        self.level = (self.level + flowed).min(i128::from(self.limit) * MINUTE);
        self.at = self.at.max(now);
    }

    pub(super) fn take(&mut self, tokens: u64, now: Instant) {
        self.refill(now);
        self.level -= i128::from(tokens) * MINUTE;
    }

    /// How long until `tokens` fit; zero when they do. What exceeds the limit is answered as if it were the limit.
    pub(super) fn wait(&mut self, tokens: u64, now: Instant) -> Duration {
        self.refill(now);
        let short = i128::from(tokens.min(self.limit)) * MINUTE - self.level;
        self.time_for(short)
    }

    pub(super) fn until_full(&mut self, now: Instant) -> Duration {
        self.refill(now);
        self.time_for(i128::from(self.limit) * MINUTE - self.level)
    }

    fn time_for(&self, units: i128) -> Duration {
        if units <= 0 {
            return Duration::ZERO;
        }
        let limit = i128::from(self.limit.max(1));
        let nanos = (units + limit - 1) / limit;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    pub(super) fn remaining(&mut self, now: Instant) -> u64 {
        self.refill(now);
        u64::try_from((self.level / MINUTE).max(0)).unwrap_or(u64::MAX)
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }
}

/// The buckets of one organisation and class.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets {
    pub requests: Option<Bucket>,
    pub input: Option<Bucket>,
    pub output: Option<Bucket>,
    pub tokens: Option<Bucket>,
}

/// Which bucket refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Requests,
    Input,
    Output,
    Tokens,
}

/// What a bucket that refused says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    pub kind: Kind,
    pub limit: u64,
    pub used: u64,
    pub asked: u64,
    pub wait: Duration,
    /// It will not fit however long one waits.
    pub never: bool,
}

impl Buckets {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let bucket = |limit: Option<u64>| limit.map(|l| Bucket::full(l, now));
        Self {
            requests: bucket(limits.rpm),
            input: bucket(limits.itpm),
            output: bucket(limits.otpm),
            tokens: bucket(limits.tpm),
        }
    }

    /// Lets a Messages request in, or says which bucket is short; a refused one takes nothing.
    pub(super) fn admit_messages(&mut self, input: u64, now: Instant) -> Result<(), Short> {
        check(Kind::Requests, &mut self.requests, 1, now)?;
        check(Kind::Input, &mut self.input, input, now)?;
        // One token of room lets a request in: what it produces is counted afterwards.
        check(Kind::Output, &mut self.output, 1, now)?;
        take(&mut self.requests, 1, now);
        take(&mut self.input, input, now);
        Ok(())
    }

    /// The same for Chat, whose tokens are charged up front.
    pub(super) fn admit_chat(&mut self, tokens: u64, now: Instant) -> Result<(), Short> {
        check(Kind::Requests, &mut self.requests, 1, now)?;
        check(Kind::Tokens, &mut self.tokens, tokens, now)?;
        take(&mut self.requests, 1, now);
        take(&mut self.tokens, tokens, now);
        Ok(())
    }

    pub(super) fn produced(&mut self, tokens: u64, now: Instant) {
        take(&mut self.output, tokens, now);
    }
}

fn check(kind: Kind, bucket: &mut Option<Bucket>, asked: u64, now: Instant) -> Result<(), Short> {
    let Some(bucket) = bucket else { return Ok(()) };
    let wait = bucket.wait(asked, now);
    let never = asked > bucket.limit;
    if wait.is_zero() && !never {
        return Ok(());
    }
    let limit = bucket.limit;
    let used = limit.saturating_sub(bucket.remaining(now));
    Err(Short {
        kind,
        limit,
        used,
        asked,
        wait: wait.max(Duration::from_millis(1)),
        never,
    })
}

fn take(bucket: &mut Option<Bucket>, tokens: u64, now: Instant) {
    if let Some(bucket) = bucket {
        bucket.take(tokens, now);
    }
}

/// As the Chat headers write durations: `6ms`, `1.5s`, `6m0s`, `1h2m3s`.
pub(super) fn go_duration(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let (seconds, part) = (rest / 1_000, rest % 1_000);
    let part = if part == 0 {
        String::new()
    } else {
        format!(".{part:03}")
    };
    let seconds = format!("{seconds}{}s", part.trim_end_matches('0'));
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// Whole seconds since 1970 as year, month and day, then hour, minute and second, in UTC.
fn civil(seconds: i64) -> ([i64; 3], [i64; 3]) {
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date from days: eras of 400 years that begin on 1 March, so that a leap day ends a year.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, early) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year + era * 400 + early;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    ([year, month, date], [hour, minute, second])
}

/// Whole seconds since 1970 as RFC 3339 in UTC.
pub(super) fn rfc3339(seconds: i64) -> String {
    let ([year, month, date], [hour, minute, second]) = civil(seconds);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The same as `Date` has it (RFC 9110, 5.6.7).
pub(super) fn http_date(seconds: i64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let ([year, month, date], [hour, minute, second]) = civil(seconds);
    // 1 January 1970 was a Thursday.
    let day = DAYS[seconds.div_euclid(86_400).rem_euclid(7) as usize];
    let month = MONTHS[(month - 1) as usize];
    format!("{day}, {date:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}
