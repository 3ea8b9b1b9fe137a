//! What was used, and what that costs: exact counts in, money out.

use std::ops::AddAssign;

/// Tokens by how they are paid for. `add` of all endpoints or all sessions is the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Book {
    pub requests: u64,
    /// Read from the cache.
    pub read: u64,
    /// Neither read nor written.
    pub fresh: u64,
    pub written_short: u64,
    pub written_long: u64,
    pub output: u64,
    /// Requests that only keep an entry alive, and what they read and wrote (always with the long lifetime). Not in the figures above.
    pub pings: u64,
    pub ping_read: u64,
    pub ping_written: u64,
}

/// What a token of each kind costs, as a multiple of a plain input token, and what that one costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    pub input_usd_per_million: f64,
    pub output_usd_per_million: f64,
    pub read: f64,
    pub write_short: f64,
    pub write_long: f64,
}

impl Default for Prices {
    /// ROUTING 4.4: 5 and 25 dollars; a write 1.25 times for five minutes, twice for an hour; a read a tenth.
    fn default() -> Self {
        Self {
            input_usd_per_million: 5.0,
            output_usd_per_million: 25.0,
            read: 0.1,
            write_short: 1.25,
            write_long: 2.0,
        }
    }
}

impl Book {
    /// All tokens of prompts.
    #[must_use]
    pub fn input(&self) -> u64 {
        self.read + self.fresh + self.written_short + self.written_long
    }

    /// Input as if all were plain input tokens, pings included.
    #[must_use]
    pub fn input_tokens_paid(&self, prices: &Prices) -> f64 {
        (self.read + self.ping_read) as f64 * prices.read
            + self.fresh as f64
            + self.written_short as f64 * prices.write_short
            + (self.written_long + self.ping_written) as f64 * prices.write_long
    }

    /// Input and output in dollars.
    #[must_use]
    pub fn dollars(&self, prices: &Prices) -> f64 {
        let input = self.input_tokens_paid(prices) * prices.input_usd_per_million;
        (input + self.output as f64 * prices.output_usd_per_million) / 1e6
    }

    /// The part of all prompts that was read from a cache.
    #[must_use]
    pub fn cached_ratio(&self) -> f64 {
        self.read as f64 / (self.input() as f64).max(1.0)
    }
}

impl AddAssign for Book {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.read += other.read;
        self.fresh += other.fresh;
        self.written_short += other.written_short;
        self.written_long += other.written_long;
        self.output += other.output;
        self.pings += other.pings;
        self.ping_read += other.ping_read;
        self.ping_written += other.ping_written;
    }
}
