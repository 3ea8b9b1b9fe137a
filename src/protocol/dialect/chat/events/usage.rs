//! Usage: every speaker's way of counting ⇄ one normal form.

use crate::base::{Json, NanoUsd, Tokens};
use crate::canon::Usage;
use crate::protocol::json;
use bytes::BytesMut;
use serde_json::Value;

/// A tier in Chat's words: what Messages calls `standard` is `default` here (OpenAI API reference and Anthropic docs, read 2026-08).
pub(in crate::protocol::dialect) fn tier(word: &str) -> &str {
    if word == "standard" { "default" } else { word }
}

/// Reads a `usage` object. `None` for what is no object.
pub(in crate::protocol::dialect) fn read(raw: Json) -> Option<Usage> {
    let value: Value = raw.read()?;
    value.as_object()?;
    let object = Counts(&value);
    let prompt = object.at("/prompt_tokens");
    let cache_read = object.first(&[
        "/prompt_tokens_details/cached_tokens",
        // Moonshot and DeepSeek count at the top.
        "/cached_tokens",
        "/prompt_cache_hit_tokens",
    ]);
    let (write_30m, write_12h) = cache_writes(object);
    let written = write_30m.unwrap_or_default() + write_12h.unwrap_or_default();
    let reasoning = object.first(&[
        "/completion_tokens_details/reasoning_tokens",
        // SGLang.
        "/reasoning_tokens",
    ]);
    Some(Usage {
        // OpenAI docs, prompt caching, read 2026-08: `prompt_tokens` includes what was read from and written to the cache.
        input_uncached: prompt.map(|p| {
            p.saturating_sub(cache_read.unwrap_or_default())
                .saturating_sub(written)
        }),
        cache_read,
        cache_write_30m: write_30m,
        cache_write_12h: write_12h,
        output: output(object, prompt, reasoning),
        reasoning,
        input_audio: object.first(&[
            "/prompt_tokens_details/audio_tokens",
            "/audio_prompt_tokens",
        ]),
        output_audio: object.at("/completion_tokens_details/audio_tokens"),
        input_image: object.at("/prompt_tokens_details/image_tokens"),
        output_image: object.at("/completion_tokens_details/image_tokens"),
        web_searches: object
            .at("/server_tool_use_details/web_search_requests")
            .map(|t| t.0),
        provider_cost: cost(&value),
        raw: Some(raw),
        ..Usage::default()
    })
}

/// Cache writes by lifetime. Without the split all are of the default lifetime, 30 minutes (OpenAI docs, read 2026-08).
fn cache_writes(object: Counts<'_>) -> (Option<Tokens>, Option<Tokens>) {
    let total = object.first(&[
        "/prompt_tokens_details/cache_write_tokens",
        // vLLM.
        "/prompt_tokens_details/created_cache_tokens",
    ]);
    let by_lifetime = (
        object.at("/prompt_tokens_details/cache_write_tokens_details/ttl_30m_tokens"),
        object.at("/prompt_tokens_details/cache_write_tokens_details/ttl_12h_tokens"),
    );
    match by_lifetime {
        (None, None) => (total, None),
        (None, Some(long)) => (total.map(|t| t.saturating_sub(long)), Some(long)),
        (short, long) => (short, long),
    }
}

/// All output. xAI counts reasoning beside `completion_tokens` (docs.x.ai, read 2026-08): the total tells.
fn output(object: Counts<'_>, prompt: Option<Tokens>, reasoning: Option<Tokens>) -> Option<Tokens> {
    let completion = object.at("/completion_tokens")?;
    let reasoning = reasoning.unwrap_or_default();
    let beside = prompt.unwrap_or_default() + completion + reasoning;
    let outside = reasoning > Tokens::ZERO && object.at("/total_tokens") == Some(beside);
    Some(if outside {
        completion + reasoning
    } else {
        completion
    })
}

/// OpenRouter: `cost` in dollars. xAI: ticks of 10⁻¹⁰ dollars.
pub(in crate::protocol::dialect) fn cost(usage: &Value) -> Option<NanoUsd> {
    let ticks = usage.get("cost_in_usd_ticks").and_then(Value::as_i64);
    let usd = usage.get("cost").and_then(Value::as_f64);
    ticks
        .map(|t| NanoUsd(t.div_euclid(10)))
        .or_else(|| NanoUsd::of_usd(usd?))
}

#[derive(Clone, Copy)]
pub(in crate::protocol::dialect) struct Counts<'a>(pub(in crate::protocol::dialect) &'a Value);

impl Counts<'_> {
    pub(in crate::protocol::dialect) fn at(self, path: &str) -> Option<Tokens> {
        // `Value::pointer` would copy each name to unescape it.
        let mut names = path.split('/').skip(1);
        let n = names.try_fold(self.0, |value, name| value.get(name))?;
        // A cast of a float saturates.
        n.as_u64()
            .or_else(|| n.as_f64().map(|f| f as u64))
            .map(Tokens)
    }

    pub(in crate::protocol::dialect) fn first(self, paths: &[&str]) -> Option<Tokens> {
        paths.iter().find_map(|p| self.at(p))
    }
}

/// Appends a usage object in OpenAI's count: cached and written tokens within `prompt_tokens`.
pub(super) fn write(usage: &Usage, out: &mut BytesMut) {
    let (input, output) = (usage.input_total(), usage.output.unwrap_or_default());
    out.extend_from_slice(b"{");
    for (name, count) in [
        ("prompt_tokens", input),
        ("completion_tokens", output),
        ("total_tokens", input + output),
    ] {
        json::key(name, out);
        json::integer(count.0, out);
    }
    let written = (usage.cache_write_total() > Tokens::ZERO
        || usage.cache_write_30m.is_some()
        || usage.cache_write_5m.is_some())
    .then(|| usage.cache_write_total());
    details(
        "prompt_tokens_details",
        &[
            ("cached_tokens", usage.cache_read),
            ("cache_write_tokens", written),
            ("audio_tokens", usage.input_audio),
            ("image_tokens", usage.input_image),
        ],
        usage
            .cache_write_12h
            .map(|long| (written.unwrap_or_default(), long)),
        out,
    );
    details(
        "completion_tokens_details",
        &[
            ("reasoning_tokens", usage.reasoning),
            ("audio_tokens", usage.output_audio),
            ("image_tokens", usage.output_image),
        ],
        None,
        out,
    );
    out.extend_from_slice(b"}");
}

/// Appends the members that are known; nothing when none is.
fn details(
    name: &str,
    members: &[(&str, Option<Tokens>)],
    split: Option<(Tokens, Tokens)>,
    out: &mut BytesMut,
) {
    if members.iter().all(|(_, n)| n.is_none()) {
        return;
    }
    json::key(name, out);
    out.extend_from_slice(b"{");
    for (name, count) in members {
        if let Some(count) = count {
            json::key(name, out);
            json::integer(count.0, out);
        }
    }
    if let Some((all, long)) = split {
        json::key("cache_write_tokens_details", out);
        out.extend_from_slice(b"{");
        json::key("ttl_30m_tokens", out);
        json::integer(all.saturating_sub(long).0, out);
        json::key("ttl_12h_tokens", out);
        json::integer(long.0, out);
        out.extend_from_slice(b"}");
    }
    out.extend_from_slice(b"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &'static str) -> Usage {
        read(Json::parse(text.into()).expect("json")).expect("an object")
    }

    #[test]
    fn cached_and_written_tokens_are_taken_out_of_the_input() {
        let usage = of(
            r#"{"prompt_tokens":100,"completion_tokens":30,"total_tokens":130,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":30,"audio_tokens":3},"completion_tokens_details":{"reasoning_tokens":20}}"#,
        );
        assert_eq!(
            (
                usage.input_uncached,
                usage.cache_read,
                usage.cache_write_30m,
                usage.output
            ),
            (
                Some(Tokens(10)),
                Some(Tokens(60)),
                Some(Tokens(30)),
                Some(Tokens(30))
            )
        );
        assert_eq!(
            (usage.reasoning, usage.input_audio),
            (Some(Tokens(20)), Some(Tokens(3)))
        );
        assert_eq!(usage.input_total(), Tokens(100));
    }

    #[test]
    fn what_was_not_said_is_unknown_and_nonsense_saturates() {
        let usage = of(r#"{"prompt_tokens":5,"prompt_tokens_details":null}"#);
        assert_eq!(
            (usage.cache_read, usage.output, usage.reasoning),
            (None, None, None)
        );
        let usage = of(r#"{"prompt_tokens":5,"cached_tokens":9,"completion_tokens":-1.5}"#);
        assert_eq!(
            (usage.input_uncached, usage.output),
            (Some(Tokens(0)), Some(Tokens(0)))
        );
        assert_eq!(read(Json::parse("[]".into()).expect("json")), None);
    }

    #[test]
    fn reasoning_beside_the_output_is_told_by_the_total() {
        let xai = of(
            r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":115,"completion_tokens_details":{"reasoning_tokens":100},"cost_in_usd_ticks":12345}"#,
        );
        assert_eq!(
            (xai.output, xai.provider_cost),
            (Some(Tokens(105)), Some(NanoUsd(1_234)))
        );
        let openai = of(
            r#"{"prompt_tokens":10,"completion_tokens":105,"total_tokens":115,"completion_tokens_details":{"reasoning_tokens":100},"cost":0.5}"#,
        );
        assert_eq!(
            (openai.output, openai.provider_cost),
            (Some(Tokens(105)), Some(NanoUsd(500_000_000)))
        );
    }

    #[test]
    fn what_we_write_we_read() {
        let usage = of(
            r#"{"prompt_tokens":100,"completion_tokens":30,"total_tokens":130,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":30,"cache_write_tokens_details":{"ttl_30m_tokens":10,"ttl_12h_tokens":20}},"completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":1}}"#,
        );
        assert_eq!(
            (usage.cache_write_30m, usage.cache_write_12h),
            (Some(Tokens(10)), Some(Tokens(20)))
        );
        let mut out = BytesMut::new();
        write(&usage, &mut out);
        let text = String::from_utf8(out.to_vec()).expect("text");
        let again = read(Json::parse(text.into()).expect("json")).expect("an object");
        assert_eq!(Usage { raw: None, ..again }, Usage { raw: None, ..usage });
    }
}
