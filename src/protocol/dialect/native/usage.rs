//! Usage and money, both ways.

use super::blocks::{boolean, optional, raw};
use super::schema::Fields;
use crate::base::{NanoUsd, Tokens};
use crate::canon::{Fault, Usage};
use crate::protocol::json;
use bytes::BytesMut;

/// Each count by its name.
fn counts(usage: &mut Usage) -> [(&'static str, &mut Option<Tokens>); 12] {
    [
        ("input_uncached_tokens", &mut usage.input_uncached),
        ("cache_read_tokens", &mut usage.cache_read),
        ("cache_write_5m_tokens", &mut usage.cache_write_5m),
        ("cache_write_30m_tokens", &mut usage.cache_write_30m),
        ("cache_write_1h_tokens", &mut usage.cache_write_1h),
        ("cache_write_12h_tokens", &mut usage.cache_write_12h),
        ("output_tokens", &mut usage.output),
        ("reasoning_tokens", &mut usage.reasoning),
        ("input_audio_tokens", &mut usage.input_audio),
        ("output_audio_tokens", &mut usage.output_audio),
        ("input_image_tokens", &mut usage.input_image),
        ("output_image_tokens", &mut usage.output_image),
    ]
}

/// Appends the fields of a usage object. `input_tokens` is the sum of its parts, for who does not care for caches.
pub fn write(usage: &Usage, out: &mut BytesMut) {
    json::key("input_tokens", out);
    json::integer(usage.input_total().0, out);
    for (name, count) in counts(&mut usage.clone()) {
        if let Some(count) = count {
            json::key(name, out);
            json::integer(count.0, out);
        }
    }
    for (name, calls) in [
        ("web_searches", usage.web_searches),
        ("web_fetches", usage.web_fetches),
    ] {
        if let Some(calls) = calls {
            json::key(name, out);
            json::integer(calls, out);
        }
    }
    if let Some(cost) = usage.provider_cost {
        json::key("provider_cost_nano_usd", out);
        json::integer(cost.0, out);
    }
    optional("service_tier", &usage.service_tier, out);
    if usage.estimated {
        boolean("estimated", true, out);
    }
    if let Some(theirs) = &usage.raw {
        raw("raw", theirs.get(), out);
    }
}

/// Fields to come are passed over.
pub fn read(mut f: Fields<'_>) -> Result<Usage, Fault> {
    let mut usage = Usage::default();
    for (name, count) in counts(&mut usage) {
        *count = f.whole(name)?.map(Tokens);
    }
    usage.web_searches = f.whole("web_searches")?;
    usage.web_fetches = f.whole("web_fetches")?;
    usage.provider_cost = f.whole("provider_cost_nano_usd")?.map(NanoUsd);
    usage.service_tier = f.text("service_tier")?;
    usage.estimated = f.boolean("estimated")?.unwrap_or(false);
    usage.raw = f.json("raw");
    Ok(usage)
}

/// Appends a cost twice: as dollars to read, exact to the last digit, and as a whole number to add up.
pub fn write_cost(cost: NanoUsd, out: &mut BytesMut) {
    raw("cost_usd", &cost.to_string(), out);
    json::key("cost_nano_usd", out);
    json::integer(cost.0, out);
}
