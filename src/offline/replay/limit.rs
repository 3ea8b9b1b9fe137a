//! A provider's rate limits, as the provider keeps them: continuous token buckets, true levels.
//!
//! One bucket a dimension. A request larger than the burst is let in when its bucket is full, and empties it: with a debt instead, one
//! prompt of 800,000 tokens closes an endpoint for minutes, and ROUTING 4.4 is not met. Output is charged when the request is let in,
//! although a provider counts it while it is produced: over a minute's burst the difference is seconds.

use crate::base::Instant;
use std::time::Duration;

/// What a request takes of each dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    pub input: u32,
    pub cached: u32,
    pub output: u32,
}

/// What a provider allows in a minute, and what it counts. `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    pub requests_per_minute: Option<f64>,
    pub input_per_minute: Option<f64>,
    pub output_per_minute: Option<f64>,
    /// Input and output together.
    pub total_per_minute: Option<f64>,
    /// Whether cache reads count as input. Not at Anthropic (rate limits, read 2026-08).
    pub cached_counts: bool,
    /// What is reserved for output up front; `None` counts the tokens produced.
    pub reserved_output: Option<u32>,
    /// A bucket holds what refills in this time.
    pub burst: Duration,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            input_per_minute: None,
            output_per_minute: None,
            total_per_minute: None,
            cached_counts: false,
            reserved_output: None,
            burst: Duration::from_secs(60),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Limits {
    buckets: Vec<(Dimension, Bucket)>,
    cached_counts: bool,
    reserved_output: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    Requests,
    Input,
    Output,
    Total,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    per_second: f64,
    burst: f64,
    at: Instant,
}

impl Limits {
    /// Full buckets.
    #[must_use]
    pub fn new(allowed: &Allowance) -> Self {
        let rates = [
            (Dimension::Requests, allowed.requests_per_minute),
            (Dimension::Input, allowed.input_per_minute),
            (Dimension::Output, allowed.output_per_minute),
            (Dimension::Total, allowed.total_per_minute),
        ];
        let bucket = |(dimension, rate): (Dimension, Option<f64>)| {
            let per_second = rate? / 60.0;
            // A bucket that could never hold one request would let none in.
            let burst = (per_second * allowed.burst.as_secs_f64()).max(1.0);
            Some((dimension, Bucket::full(per_second, burst)))
        };
        Self {
            buckets: rates.into_iter().filter_map(bucket).collect(),
            cached_counts: allowed.cached_counts,
            reserved_output: allowed.reserved_output,
        }
    }

    /// How long until `need` would be let in if nothing else came; zero when it is at once.
    #[must_use]
    pub fn wait(&self, now: Instant, need: &Need) -> Duration {
        let wait = |(dimension, bucket): &(Dimension, Bucket)| {
            bucket.wait(now, self.amount(*dimension, need))
        };
        self.buckets.iter().map(wait).max().unwrap_or_default()
    }

    /// Lets `need` in, or says how long until it would.
    pub fn take(&mut self, now: Instant, need: &Need) -> Result<(), Duration> {
        let wait = self.wait(now, need);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        for index in 0..self.buckets.len() {
            let amount = self.amount(self.buckets[index].0, need);
            self.buckets[index].1.spend(now, amount);
        }
        Ok(())
    }

    /// Tokens of input that are left, where it is limited.
    #[must_use]
    pub fn input_left(&self, now: Instant) -> Option<u64> {
        let mut buckets = self.buckets.iter();
        let (_, bucket) = buckets.find(|(dimension, _)| *dimension == Dimension::Input)?;
        Some(bucket.level(now).max(0.0) as u64)
    }

    /// When input will be whole again if nothing else comes, where it is limited.
    #[must_use]
    pub fn input_full_at(&self, now: Instant) -> Option<Instant> {
        let mut buckets = self.buckets.iter();
        let (_, bucket) = buckets.find(|(dimension, _)| *dimension == Dimension::Input)?;
        Some(now + bucket.wait(now, bucket.burst))
    }

    /// For each limited dimension, how empty its bucket is (1 − level / burst) and what `need` takes of it.
    pub fn scarcity(&self, now: Instant, need: &Need) -> impl Iterator<Item = (f64, f64)> {
        self.buckets.iter().map(move |(dimension, bucket)| {
            let emptiness = 1.0 - bucket.level(now) / bucket.burst;
            (emptiness, self.amount(*dimension, need))
        })
    }

    fn amount(&self, dimension: Dimension, need: &Need) -> f64 {
        let cached = if self.cached_counts { need.cached } else { 0 };
        let input = f64::from(need.input) + f64::from(cached);
        let output = f64::from(self.reserved_output.unwrap_or(need.output));
        match dimension {
            Dimension::Requests => 1.0,
            Dimension::Input => input,
            Dimension::Output => output,
            Dimension::Total => input + output,
        }
    }
}

impl Bucket {
    fn full(per_second: f64, burst: f64) -> Self {
        Self {
            level: burst,
            per_second,
            burst,
            at: Instant::default(),
        }
    }

    fn level(&self, now: Instant) -> f64 {
        let refilled = now.since(self.at).as_secs_f64() * self.per_second;
        (self.level + refilled).min(self.burst)
    }

    fn wait(&self, now: Instant, amount: f64) -> Duration {
        let missing = amount.min(self.burst) - self.level(now);
        // A millionth of a token is rounding, not a lack.
        if missing <= 1e-6 {
            return Duration::ZERO;
        }
        let seconds = missing / self.per_second;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    fn spend(&mut self, now: Instant, amount: f64) {
        self.level = self.level(now) - amount.min(self.burst);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    fn input(tokens: u32) -> Need {
        Need {
            input: tokens,
            ..Need::default()
        }
    }

    #[test]
    fn a_bucket_lets_in_its_burst_and_then_its_rate() {
        let mut limits = Limits::new(&Allowance {
            input_per_minute: Some(6000.0),
            ..Allowance::default()
        });
        assert_eq!(limits.take(at(0), &input(6000)), Ok(()));
        assert_eq!(limits.take(at(0), &input(500)), Err(Duration::from_secs(5)));
        assert_eq!(limits.take(at(5), &input(500)), Ok(()));
    }

    #[test]
    fn what_exceeds_the_burst_waits_for_a_full_bucket_and_empties_it() {
        let mut limits = Limits::new(&Allowance {
            input_per_minute: Some(600.0),
            ..Allowance::default()
        });
        assert_eq!(limits.take(at(0), &input(1200)), Ok(()));
        assert_eq!(limits.wait(at(0), &input(10)), Duration::from_secs(1));
        assert_eq!(limits.wait(at(1), &input(1200)), Duration::from_secs(59));
    }

    #[test]
    fn cache_reads_and_reserved_output_count_where_the_provider_counts_them() {
        let need = Need {
            input: 10,
            cached: 100,
            output: 5,
        };
        let counted = |cached_counts, reserved_output| {
            let mut limits = Limits::new(&Allowance {
                total_per_minute: Some(1000.0),
                cached_counts,
                reserved_output,
                ..Allowance::default()
            });
            limits.take(at(0), &need).unwrap();
            (1000.0 - limits.buckets[0].1.level).round()
        };
        assert_eq!(counted(false, None), 15.0);
        assert_eq!(counted(true, None), 115.0);
        assert_eq!(counted(false, Some(500)), 510.0);
    }

    #[test]
    fn sixty_a_minute_with_a_burst_of_a_second_is_one_a_second() {
        let mut limits = Limits::new(&Allowance {
            requests_per_minute: Some(60.0),
            burst: Duration::from_secs(1),
            ..Allowance::default()
        });
        assert_eq!(limits.take(at(0), &input(9)), Ok(()));
        assert_eq!(limits.take(at(0), &input(9)), Err(Duration::from_secs(1)));
        assert_eq!(limits.take(at(1), &input(9)), Ok(()));
    }
}
