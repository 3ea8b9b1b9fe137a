//! Rate-limit headers → what is left and when it returns.

use crate::base::{Instant, WallTime};
use crate::protocol::provider::Headers;
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

pub fn read(_headers: &Headers, _now: WallTime) -> Hints {
    Hints::default()
}
