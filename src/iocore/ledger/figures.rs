//! The numbers of a row, whether it comes from a shard or from a spool that was recovered: one form to write and to add up.

use super::schema;
use crate::base::{NanoUsd, Tokens};
use crate::shard::{LedgerRow, Outcome};
use std::time::Duration;

/// How many counts a row has.
pub const COUNTS: usize = 21;

/// All of a row that is neither a name nor a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub attempt: u8,
    pub last: bool,
    /// Nanoseconds since 1970.
    pub started: i64,
    pub failed: bool,
    pub streamed: bool,
    pub estimated: bool,
    pub status: Option<u16>,
    /// In this order: `input_uncached`, `cache_read`, writes of 5 m, 30 m, 1 h and 12 h, `output`, `reasoning`, `input_audio`, `output_audio`,
    /// `input_image`, `output_image`, `web_searches`, `web_fetches`, `provider_cost`, `input_video`, `output_video`, `output_images`,
    /// `output_video_millis`, `cache_expected`, `input_audio_millis`.
    pub counts: [Option<i64>; COUNTS],
    /// Nano-dollars.
    pub cost: i64,
    /// Times in microseconds, from here on.
    pub queued: i64,
    pub gated: i64,
    pub first_byte: Option<i64>,
    pub first_token: Option<i64>,
    pub total: i64,
}

impl Figures {
    pub fn of(row: &LedgerRow) -> Self {
        Self {
            attempt: row.attempt,
            last: row.last,
            started: row.started.0,
            failed: matches!(row.outcome, Outcome::Failed(_)),
            streamed: row.streamed,
            estimated: row.usage.estimated,
            status: row.status,
            counts: counts(row),
            cost: row.cost.0,
            queued: micros(row.queued),
            gated: micros(row.gated),
            first_byte: row.first_byte.map(micros),
            first_token: row.first_token.map(micros),
            total: micros(row.total),
        }
    }

    /// As a row of sums, in the order of `schema::SUMS`.
    pub fn sums(&self) -> [i64; schema::SUMS.len()] {
        let mut sums = [0; schema::SUMS.len()];
        let counts = self.counts.map(Option::unwrap_or_default);
        sums[..3].copy_from_slice(&[1, self.last.into(), self.failed.into()]);
        sums[3..18].copy_from_slice(&counts[..15]);
        sums[18..23].copy_from_slice(&[
            self.cost,
            self.queued,
            self.first_byte.unwrap_or_default(),
            self.first_byte.is_some().into(),
            self.total,
        ]);
        sums[23..29].copy_from_slice(&counts[15..]);
        sums[29..].copy_from_slice(&[
            self.gated,
            self.first_token.unwrap_or_default(),
            self.first_token.is_some().into(),
        ]);
        sums
    }
}

fn counts(row: &LedgerRow) -> [Option<i64>; COUNTS] {
    let usage = &row.usage;
    let tokens = |count: Option<Tokens>| count.map(|count| bounded(count.0));
    [
        tokens(usage.input_uncached),
        tokens(usage.cache_read),
        tokens(usage.cache_write_5m),
        tokens(usage.cache_write_30m),
        tokens(usage.cache_write_1h),
        tokens(usage.cache_write_12h),
        tokens(usage.output),
        tokens(usage.reasoning),
        tokens(usage.input_audio),
        tokens(usage.output_audio),
        tokens(usage.input_image),
        tokens(usage.output_image),
        usage.web_searches.map(bounded),
        usage.web_fetches.map(bounded),
        usage.provider_cost.map(|NanoUsd(nano)| nano),
        tokens(usage.input_video),
        tokens(usage.output_video),
        usage.output_images.map(bounded),
        usage.output_video_millis.map(bounded),
        tokens(row.cached_expected),
        usage.input_audio_millis.map(bounded),
    ]
}

/// 2⁴⁰ tokens in one attempt are a provider's nonsense, and eight million such attempts still add up in 63 bits.
pub fn bounded(count: u64) -> i64 {
    count.min(1 << 40) as i64
}

fn micros(time: Duration) -> i64 {
    // 2⁴⁰ µs are twelve days, longer than any attempt.
    bounded(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
