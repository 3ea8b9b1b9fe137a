//! A row of the ledger as whoever asks for its answer is told it.

use super::wire::WireRow;
use crate::base::{NanoUsd, Tokens};
use crate::canon::Usage;
use serde_json::{Map, Value, json};

/// Names of the counts that are told, in the order of `Figures::counts`.
const COUNTS: [&str; 21] = [
    "input_uncached",
    "cache_read",
    "cache_write_5m",
    "cache_write_30m",
    "cache_write_1h",
    "cache_write_12h",
    "output",
    "reasoning",
    "input_audio",
    "output_audio",
    "input_image",
    "output_image",
    "web_searches",
    "web_fetches",
    "provider_cost_nano_usd",
    "input_video",
    "output_video",
    "output_images",
    "output_video_millis",
    "cached_expected",
    "input_audio_millis",
];

/// One attempt: where, how it ended, what it used and cost, and how long it took. Never a key's name.
#[must_use]
pub fn json(row: &WireRow<'_>) -> Value {
    let f = &row.figures;
    let mut usage = Map::new();
    for (name, count) in COUNTS.iter().zip(f.counts) {
        if let Some(count) = count {
            usage.insert((*name).to_owned(), json!(count));
        }
    }
    let millis = |micros: i64| micros as f64 / 1_000.0;
    json!({
        "attempt": f.attempt,
        "endpoint": row.names[4],
        "pool": row.names[5],
        "outcome": row.names[8],
        "decision": row.decision,
        "upstream_id": row.upstream_id,
        "upstream_status": f.status,
        "usage": usage,
        "estimated": f.estimated,
        "cost_nano_usd": f.cost,
        "queued_ms": millis(f.queued),
        "gated_ms": millis(f.gated),
        "first_byte_ms": f.first_byte.map(millis),
        "first_token_ms": f.first_token.map(millis),
        "total_ms": millis(f.total),
    })
}

/// What it used, of what answers tell.
#[must_use]
pub fn usage(row: &WireRow<'_>) -> Usage {
    let counts = &row.figures.counts;
    let count = |at: usize| counts[at].and_then(|n| u64::try_from(n).ok());
    let tokens = |at: usize| count(at).map(Tokens);
    Usage {
        input_uncached: tokens(0),
        cache_read: tokens(1),
        cache_write_5m: tokens(2),
        cache_write_30m: tokens(3),
        cache_write_1h: tokens(4),
        cache_write_12h: tokens(5),
        output: tokens(6),
        reasoning: tokens(7),
        input_audio: tokens(8),
        output_audio: tokens(9),
        input_image: tokens(10),
        output_image: tokens(11),
        web_searches: count(12),
        web_fetches: count(13),
        provider_cost: counts[14].map(NanoUsd),
        estimated: row.figures.estimated,
        ..Usage::default()
    }
}
