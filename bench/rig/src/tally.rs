//! What came back, and when: histograms, errors by kind, bytes, and one hash over all answers.
//!
//! Times are kept in nanoseconds to three digits and told in microseconds.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    Connect,
    /// The connection ended before the answer did.
    Closed,
    Status(u16),
    Malformed,
    /// The answer ended as a message, but without the last words of its dialect.
    Cut,
}

impl Failure {
    fn name(self) -> String {
        match self {
            Self::Connect => "connect".to_owned(),
            Self::Closed => "closed".to_owned(),
            Self::Status(status) => format!("status {status}"),
            Self::Malformed => "malformed".to_owned(),
            Self::Cut => "cut".to_owned(),
        }
    }
}

/// One answer as it arrives.
pub struct Seen {
    /// From when its latency counts.
    intended: Instant,
    first: Option<Instant>,
    last: Instant,
    body: Vec<u8>,
    gaps: Vec<Duration>,
}

impl Seen {
    #[must_use]
    pub fn new(intended: Instant) -> Self {
        Self {
            intended,
            first: None,
            last: intended,
            body: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// The next answer in the same memory.
    pub fn again(&mut self, intended: Instant) {
        (self.intended, self.last, self.first) = (intended, intended, None);
        self.body.clear();
        self.gaps.clear();
    }

    /// Bytes of the body, as they were read.
    pub fn body(&mut self, bytes: &[u8]) {
        self.body.extend_from_slice(bytes);
    }

    /// All that one reading brought has been given to `body`.
    pub fn read(&mut self, before: usize) {
        if self.body.len() == before {
            return;
        }
        let now = Instant::now();
        match self.first {
            None => self.first = Some(now),
            Some(_) => self.gaps.push(now - self.last),
        }
        self.last = now;
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    #[must_use]
    pub fn ends_with(&self, words: &[u8]) -> bool {
        self.body.ends_with(words)
    }
}

/// All answers of one load.
pub struct Tally {
    pub asked: u64,
    pub done: u64,
    pub failures: BTreeMap<Failure, u64>,
    pub latency: Histogram<u64>,
    pub first: Histogram<u64>,
    pub gaps: Histogram<u64>,
    pub stalls: u64,
    pub sent_bytes: u64,
    pub body_bytes: u64,
    /// The sum of all answers' hashes, so that their order does not matter.
    pub hash: u64,
    pub elapsed: Duration,
    stall: Option<Duration>,
}

impl Tally {
    /// `stall`: the gap from which a stream has stalled.
    #[must_use]
    pub fn new(stall: Option<Duration>) -> Self {
        Self {
            asked: 0,
            done: 0,
            failures: BTreeMap::new(),
            latency: histogram(),
            first: histogram(),
            gaps: histogram(),
            stalls: 0,
            sent_bytes: 0,
            body_bytes: 0,
            hash: 0,
            elapsed: Duration::ZERO,
            stall,
        }
    }

    pub fn ended(&mut self, seen: &Seen, how: Result<(), Failure>) {
        for gap in &seen.gaps {
            self.gaps.saturating_record(nanos(*gap));
            self.stalls += u64::from(self.stall.is_some_and(|stall| *gap > stall));
        }
        self.body_bytes += seen.body.len() as u64;
        if let Err(failure) = how {
            *self.failures.entry(failure).or_default() += 1;
            return;
        }
        self.done += 1;
        self.hash = self.hash.wrapping_add(xxh3_64(&seen.body));
        self.latency
            .saturating_record(nanos(seen.last - seen.intended));
        if let Some(first) = seen.first {
            self.first.saturating_record(nanos(first - seen.intended));
        }
    }

    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    #[must_use]
    pub fn report(&self) -> Report {
        let mut failures: BTreeMap<String, u64> =
            self.failures.iter().map(|(f, n)| (f.name(), *n)).collect();
        let unfinished = self.asked - self.done - self.failed();
        if unfinished > 0 {
            failures.insert("unfinished".to_owned(), unfinished);
        }
        Report {
            asked: self.asked,
            done: self.done,
            failures,
            seconds: self.elapsed.as_secs_f64(),
            requests_per_second: self.done as f64 / self.elapsed.as_secs_f64().max(1e-9),
            sent_bytes: self.sent_bytes,
            body_bytes: self.body_bytes,
            answers_hash: format!("{:016x}", self.hash),
            stalls: self.stalls,
            latency_us: Spread::of(&self.latency),
            first_byte_us: Spread::of(&self.first),
            gap_us: Spread::of(&self.gaps),
        }
    }
}

fn histogram() -> Histogram<u64> {
    // 600 s at three digits: 200 KB each, and nothing a load waits for is longer.
    Histogram::new_with_bounds(1, 600_000_000_000, 3).expect("the bounds are constants that fit")
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A load in figures.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub asked: u64,
    pub done: u64,
    pub failures: BTreeMap<String, u64>,
    pub seconds: f64,
    pub requests_per_second: f64,
    pub sent_bytes: u64,
    pub body_bytes: u64,
    pub answers_hash: String,
    /// Gaps over ten times the pace; 0 where no pace was said.
    pub stalls: u64,
    pub latency_us: Spread,
    pub first_byte_us: Spread,
    /// Between two readings that brought some of a body.
    pub gap_us: Spread,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub count: u64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Spread {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }

    fn row(&self, name: &str) -> Vec<String> {
        let of = |us: f64| format!("{:.3}", us / 1e3);
        vec![
            name.to_owned(),
            self.count.to_string(),
            of(self.p50),
            of(self.p90),
            of(self.p99),
            of(self.p999),
            of(self.max),
        ]
    }
}

impl Report {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} of {} answered in {:.2} s, {:.0} a second; {} bytes sent, {} received, hash {}\n",
            self.done,
            self.asked,
            self.seconds,
            self.requests_per_second,
            self.sent_bytes,
            self.body_bytes,
            self.answers_hash
        );
        for (kind, count) in &self.failures {
            text += &format!("failed: {count} {kind}\n");
        }
        if self.stalls > 0 {
            text += &format!("stalled: {} gaps\n", self.stalls);
        }
        let head = ["ms", "count", "p50", "p90", "p99", "p99.9", "max"];
        let rows = [
            self.latency_us.row("latency"),
            self.first_byte_us.row("first byte"),
            self.gap_us.row("gap"),
        ];
        text + &crate::table::text(&head, &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_over_the_bound_are_stalls() {
        let begun = Instant::now();
        let mut seen = Seen::new(begun);
        seen.gaps = vec![Duration::from_millis(9), Duration::from_millis(11)];
        let mut tally = Tally::new(Some(Duration::from_millis(10)));
        tally.asked = 2;
        tally.ended(&seen, Ok(()));
        let report = tally.report();
        assert_eq!((report.stalls, report.gap_us.count), (1, 2));
        assert_eq!(report.failures["unfinished"], 1);
    }

    #[test]
    fn the_hash_forgets_order_and_nothing_else() {
        let hash = |bodies: [&str; 2]| {
            let mut tally = Tally::new(None);
            for body in bodies {
                let mut seen = Seen::new(Instant::now());
                seen.body(body.as_bytes());
                tally.ended(&seen, Ok(()));
            }
            tally.hash
        };
        assert_eq!(hash(["a", "b"]), hash(["b", "a"]));
        assert_ne!(hash(["a", "b"]), hash(["a", "c"]));
    }
}
