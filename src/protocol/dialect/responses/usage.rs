//! Usage: what Responses counts ⇄ one normal form.

use crate::base::{Json, Tokens};
use crate::canon::Usage;
use crate::protocol::dialect::chat::events::usage::cost;
use crate::protocol::dialect::counts::Counts;
use crate::protocol::json;
use bytes::BytesMut;

/// Reads a `usage` object, and `tool_usage` beside it. `None` for what is no object.
pub(in crate::protocol::dialect) fn read(raw: Json, tools: Option<&Json>) -> Option<Usage> {
    let count = &Counts::of(raw.get())?;
    let cached = count.at("/input_tokens_details/cached_tokens");
    let (write_30m, write_12h) = cache_writes(count);
    let within =
        cached.unwrap_or_default() + write_30m.unwrap_or_default() + write_12h.unwrap_or_default();
    let tools = tools.and_then(|tools| Counts::of(tools.get()));
    let searches = tools.and_then(|t| t.at("/web_search/num_requests"));
    Some(Usage {
        // OpenAI docs, prompt caching, read 2026-08: `input_tokens` includes what was read from and written to the cache.
        input_uncached: count
            .at("/input_tokens")
            .map(|n| uncached(n, cached, within)),
        cache_read: cached,
        cache_write_30m: write_30m,
        cache_write_12h: write_12h,
        // Includes reasoning, also at xAI (docs.x.ai, read 2026-08).
        output: count.at("/output_tokens"),
        reasoning: count.at("/output_tokens_details/reasoning_tokens"),
        input_audio: count.at("/input_tokens_details/audio_tokens"),
        output_audio: count.at("/output_tokens_details/audio_tokens"),
        input_image: count.at("/input_tokens_details/image_tokens"),
        output_image: count.at("/output_tokens_details/image_tokens"),
        web_searches: searches
            .or_else(|| count.at("/server_side_tool_usage_details/web_search_calls"))
            .map(|t| t.0),
        provider_cost: cost(count),
        raw: Some(raw.clone()),
        ..Usage::default()
    })
}

/// Some answers of xAI count more from the cache than there was input: then the input was the uncached part alone.
fn uncached(input: Tokens, cached: Option<Tokens>, within: Tokens) -> Tokens {
    if cached.unwrap_or_default() > input {
        return input;
    }
    input.saturating_sub(within)
}

/// By lifetime; without the split all are of the default one, 30 minutes (OpenAI docs, read 2026-08).
fn cache_writes(count: &Counts<'_>) -> (Option<Tokens>, Option<Tokens>) {
    let total = count.at("/input_tokens_details/cache_write_tokens");
    let short = count.at("/input_tokens_details/cache_write_tokens_details/ttl_30m_tokens");
    let long = count.at("/input_tokens_details/cache_write_tokens_details/ttl_12h_tokens");
    match (short, long) {
        (None, None) => (total, None),
        (None, Some(long)) => (total.map(|t| t.saturating_sub(long)), Some(long)),
        (short, long) => (short, long),
    }
}

/// Appends a usage object with every count that the official clients' types demand; what is unknown is 0 there.
pub(super) fn write(usage: &Usage, out: &mut BytesMut) {
    let (input, output) = (usage.input_total(), usage.output.unwrap_or_default());
    out.extend_from_slice(b"{");
    number("input_tokens", input, out);
    open("input_tokens_details", out);
    number("cached_tokens", usage.cache_read.unwrap_or_default(), out);
    let written = usage.cache_write_total();
    number("cache_write_tokens", written, out);
    if let Some(long) = usage.cache_write_12h {
        open("cache_write_tokens_details", out);
        number("ttl_30m_tokens", written.saturating_sub(long), out);
        number("ttl_12h_tokens", long, out);
        out.extend_from_slice(b"}");
    }
    known("audio_tokens", usage.input_audio, out);
    known("image_tokens", usage.input_image, out);
    out.extend_from_slice(b"}");
    number("output_tokens", output, out);
    open("output_tokens_details", out);
    number("reasoning_tokens", usage.reasoning.unwrap_or_default(), out);
    known("audio_tokens", usage.output_audio, out);
    known("image_tokens", usage.output_image, out);
    out.extend_from_slice(b"}");
    number("total_tokens", input + output, out);
    out.extend_from_slice(b"}");
}

fn open(name: &str, out: &mut BytesMut) {
    json::key(name, out);
    out.extend_from_slice(b"{");
}

fn number(name: &str, n: Tokens, out: &mut BytesMut) {
    json::key(name, out);
    json::integer(n.0, out);
}

fn known(name: &str, n: Option<Tokens>, out: &mut BytesMut) {
    if let Some(n) = n {
        number(name, n, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NanoUsd;

    fn of(text: &'static str) -> Usage {
        read(Json::parse(text.into()).expect("json"), None).expect("an object")
    }

    #[test]
    fn cached_and_written_tokens_are_taken_out_of_the_input() {
        let usage = of(
            r#"{"input_tokens":5200,"input_tokens_details":{"cached_tokens":4096,"cache_write_tokens":1000,"cache_write_tokens_details":{"ttl_30m_tokens":900,"ttl_12h_tokens":100}},"output_tokens":120,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":5320}"#,
        );
        assert_eq!(
            (usage.input_uncached, usage.cache_read),
            (Some(Tokens(104)), Some(Tokens(4096)))
        );
        assert_eq!(
            (usage.cache_write_30m, usage.cache_write_12h),
            (Some(Tokens(900)), Some(Tokens(100)))
        );
        assert_eq!(
            (usage.output, usage.reasoning),
            (Some(Tokens(120)), Some(Tokens(64)))
        );
        assert_eq!(usage.input_total(), Tokens(5200));
        let mut out = BytesMut::new();
        write(&usage, &mut out);
        let text = String::from_utf8(out.to_vec()).expect("UTF-8");
        let again = read(Json::parse(text.into()).expect("json"), None).expect("an object");
        assert_eq!(Usage { raw: None, ..again }, Usage { raw: None, ..usage });
    }

    #[test]
    fn the_providers_own_cost_is_kept() {
        assert_eq!(
            of(r#"{"input_tokens":1,"cost_in_usd_ticks":19418500}"#).provider_cost,
            Some(NanoUsd(1_941_850))
        );
        assert_eq!(
            of(r#"{"input_tokens":1,"cost":0.0000405}"#).provider_cost,
            Some(NanoUsd(40_500))
        );
    }

    #[test]
    fn more_from_the_cache_than_input_is_beside_it() {
        let usage = of(r#"{"input_tokens":10,"input_tokens_details":{"cached_tokens":25}}"#);
        assert_eq!(
            (usage.input_uncached, usage.input_total()),
            (Some(Tokens(10)), Tokens(35))
        );
    }

    #[test]
    fn searches_are_counted_where_they_are_told() {
        let tools = Json::parse(r#"{"web_search":{"num_requests":3}}"#.into()).expect("json");
        let usage = read(Json::empty_object(), Some(&tools)).expect("an object");
        assert_eq!(usage.web_searches, Some(3));
        assert_eq!(
            of(r#"{"server_side_tool_usage_details":{"web_search_calls":2}}"#).web_searches,
            Some(2)
        );
    }
}
