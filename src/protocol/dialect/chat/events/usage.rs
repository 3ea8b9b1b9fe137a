//! Usage: every speaker's way of counting ⇄ one normal form.

use crate::base::{Json, NanoUsd, Tokens};
use crate::canon::Usage;
use crate::protocol::dialect::counts::Counts;
use crate::protocol::json;
use bytes::BytesMut;

/// A tier in Chat's words: what Messages calls `standard` is `default` here (OpenAI API reference and Anthropic docs, read 2026-08).
pub(in crate::protocol::dialect) fn tier(word: &str) -> &str {
    if word == "standard" { "default" } else { word }
}

/// Reads a `usage` object. `None` for what is no object.
pub(in crate::protocol::dialect) fn read(raw: Json) -> Option<Usage> {
    let object = &Counts::of(raw.get())?;
    let prompt = object.at("/prompt_tokens");
    let cache_read = object.first(&[
        "/prompt_tokens_details/cached_tokens",
        // Moonshot, Together and Hugging Face count at the top, DeepSeek beside what it missed.
        "/cached_tokens",
        "/prompt_cache_hit_tokens",
        "/num_cached_tokens",
        // Gateways in front of Claude.
        "/cache_read_input_tokens",
    ]);
    let (write_30m, write_12h) = cache_writes(object);
    let write_5m = object.first(&[
        // Qwen's explicit cache (Alibaba Cloud docs, read 2026-08), and gateways in front of Claude.
        "/prompt_tokens_details/cache_creation_input_tokens",
        "/cache_creation_input_tokens",
    ]);
    let cached = [cache_read, write_5m, write_30m, write_12h];
    let cached: Tokens = cached.into_iter().flatten().sum();
    let (output, reasoning) = output(object, prompt, cached);
    Some(Usage {
        input_uncached: prompt.map(|p| uncached(p, cached)),
        cache_read,
        cache_write_5m: write_5m,
        cache_write_30m: write_30m,
        cache_write_12h: write_12h,
        output,
        reasoning,
        input_audio: object.first(&[
            "/prompt_tokens_details/audio_tokens",
            "/audio_prompt_tokens",
        ]),
        output_audio: object.at("/completion_tokens_details/audio_tokens"),
        input_image: object.at("/prompt_tokens_details/image_tokens"),
        output_image: object.at("/completion_tokens_details/image_tokens"),
        web_searches: object
            .first(&[
                "/server_tool_use_details/web_search_requests",
                // Perplexity.
                "/num_search_queries",
            ])
            .map(|t| t.0),
        provider_cost: cost(object),
        // Mistral says it here, others beside `usage`, which then replaces it.
        service_tier: object.text("/service_tier").map(Into::into),
        raw: Some(raw.clone()),
        ..Usage::default()
    })
}

/// OpenAI docs, prompt caching, read 2026-08: `prompt_tokens` includes what was read from and written to the cache. Where it is less than that, as some
/// of xAI's answers have it, it can only be what was not cached (`providers/xai.md` 3).
fn uncached(prompt: Tokens, cached: Tokens) -> Tokens {
    if cached > prompt {
        prompt
    } else {
        prompt.saturating_sub(cached)
    }
}

/// Cache writes by lifetime. Without the split all are of the default lifetime, 30 minutes (OpenAI docs, read 2026-08).
fn cache_writes(object: &Counts<'_>) -> (Option<Tokens>, Option<Tokens>) {
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

/// All output, and what of it was reasoning. Who counts reasoning beside `completion_tokens` shows in the total: xAI says how much
/// (docs.x.ai, read 2026-08), Google's speaker of this dialect does not and bills it all the same.
fn output(
    object: &Counts<'_>,
    prompt: Option<Tokens>,
    cached: Tokens,
) -> (Option<Tokens>, Option<Tokens>) {
    let reasoning = object.first(&[
        "/completion_tokens_details/reasoning_tokens",
        // SGLang.
        "/reasoning_tokens",
    ]);
    let Some(completion) = object.at("/completion_tokens") else {
        return (None, reasoning);
    };
    let inside = prompt.unwrap_or_default() + completion;
    let beside = object
        .at("/total_tokens")
        .filter(|_| prompt.is_some())
        .map_or(Tokens::ZERO, |total| total.saturating_sub(inside));
    match reasoning {
        _ if beside == Tokens::ZERO => {}
        Some(said) if said == beside => return (Some(completion + said), reasoning),
        // A total that counts the cache beside the prompt says nothing of the output.
        None | Some(Tokens::ZERO) if beside != cached => {
            return (Some(completion + beside), Some(beside));
        }
        _ => {}
    }
    // OpenRouter's count of reasoning is an estimate of its own and may exceed the whole.
    (Some(completion), reasoning.map(|r| r.min(completion)))
}

/// The provider's own figure. xAI: ticks of 10⁻¹⁰ dollars. OpenRouter: `cost` in dollars, which is its fee alone where the account behind is our own
/// (`is_byok`), so that the account's bill comes on top. Perplexity: an object with a total.
pub(in crate::protocol::dialect) fn cost(usage: &Counts<'_>) -> Option<NanoUsd> {
    if let Some(ticks) = usage.whole("/cost_in_usd_ticks") {
        // Rounded once and half up, as every bill: ten ticks are a nano-dollar.
        return Some(NanoUsd(ticks.saturating_add(5).div_euclid(10)));
    }
    let fee = usage
        .number("/cost")
        .or_else(|| usage.number("/cost/total_cost"))?;
    let own = usage.flag("/is_byok") == Some(true);
    let upstream = usage
        .number("/cost_details/upstream_inference_cost")
        .filter(|_| own);
    NanoUsd::of_usd(fee + upstream.unwrap_or_default())
}

/// Appends a usage object in OpenAI's count: cached and written tokens within `prompt_tokens`.
pub(in crate::protocol::dialect) fn write(usage: &Usage, out: &mut BytesMut) {
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
    // OpenRouter's place for it; OpenAI says nothing of searches in this dialect.
    details(
        "server_tool_use_details",
        &[("web_search_requests", usage.web_searches.map(Tokens))],
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
        // Less than the cache held: the rest, as xAI has it.
        assert_eq!(
            (usage.input_uncached, usage.output),
            (Some(Tokens(5)), Some(Tokens(0)))
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
            (Some(Tokens(105)), Some(NanoUsd(1_235)))
        );
        let openai = of(
            r#"{"prompt_tokens":10,"completion_tokens":105,"total_tokens":115,"completion_tokens_details":{"reasoning_tokens":100},"cost":0.5}"#,
        );
        assert_eq!(
            (openai.output, openai.provider_cost),
            (Some(Tokens(105)), Some(NanoUsd(500_000_000)))
        );
    }

    /// Every figure of a row is of a real speaker's kind: all input, cache read, output, reasoning, nano-dollars.
    #[test]
    fn every_speakers_way_of_counting_comes_to_the_same() {
        for (speaker, text, wanted) in [
            (
                "DeepSeek",
                r#"{"prompt_tokens":492,"completion_tokens":103,"total_tokens":595,"prompt_cache_hit_tokens":384,"prompt_cache_miss_tokens":108,"completion_tokens_details":{"reasoning_tokens":25}}"#,
                (492, Some(384), Some(103), Some(25), None),
            ),
            (
                "xAI",
                r#"{"prompt_tokens":12,"completion_tokens":2,"total_tokens":334,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":320},"cost_in_usd_ticks":1641500}"#,
                (12, Some(2), Some(322), Some(320), Some(164_150)),
            ),
            (
                "xAI, with more in the cache than in the prompt",
                r#"{"prompt_tokens":7,"completion_tokens":8,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":161},"completion_tokens_details":{"reasoning_tokens":0},"cost_in_usd_ticks":0}"#,
                (168, Some(161), Some(8), Some(0), Some(0)),
            ),
            (
                "OpenRouter",
                r#"{"prompt_tokens":3329,"completion_tokens":53,"total_tokens":3382,"cost":0.00219855,"is_byok":false,"prompt_tokens_details":{"cached_tokens":3211,"cache_write_tokens":115},"cost_details":{"upstream_inference_cost":0.00219855}}"#,
                (3329, Some(3211), Some(53), None, Some(2_198_550)),
            ),
            (
                "OpenRouter, with our own key behind",
                r#"{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11,"cost":0.00005,"is_byok":true,"cost_details":{"upstream_inference_cost":0.001}}"#,
                (10, None, Some(1), None, Some(1_050_000)),
            ),
            (
                "OpenRouter, with an estimate above the whole",
                r#"{"prompt_tokens":43,"completion_tokens":10,"total_tokens":53,"cost":0,"completion_tokens_details":{"reasoning_tokens":11}}"#,
                (43, None, Some(10), Some(10), Some(0)),
            ),
            (
                "Google, which hides its thoughts",
                r#"{"completion_tokens":6,"prompt_tokens":66,"total_tokens":100}"#,
                (66, None, Some(34), Some(28), None),
            ),
            (
                "a gateway whose total counts the cache beside the prompt",
                r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":115,"cache_read_input_tokens":100}"#,
                (110, Some(100), Some(5), None, None),
            ),
            (
                "Qwen",
                r#"{"prompt_tokens":2000,"completion_tokens":5,"total_tokens":2005,"prompt_tokens_details":{"cached_tokens":0,"cache_creation_input_tokens":1500,"cache_type":"ephemeral"}}"#,
                (2000, Some(0), Some(5), None, None),
            ),
            (
                "Together",
                r#"{"prompt_tokens":44,"completion_tokens":23,"total_tokens":67,"cached_tokens":40}"#,
                (44, Some(40), Some(23), None, None),
            ),
            (
                "Mistral",
                r#"{"prompt_tokens":137,"completion_tokens":4,"total_tokens":141,"prompt_tokens_details":{"cached_tokens":112},"service_tier":"standard"}"#,
                (137, Some(112), Some(4), None, None),
            ),
            (
                "vLLM without its flag",
                r#"{"prompt_tokens":107,"completion_tokens":271,"total_tokens":378,"completion_tokens_details":null,"prompt_tokens_details":null}"#,
                (107, None, Some(271), None, None),
            ),
            (
                "SGLang",
                r#"{"prompt_tokens":19,"completion_tokens":1720,"total_tokens":1739,"prompt_tokens_details":null,"reasoning_tokens":7}"#,
                (19, None, Some(1720), Some(7), None),
            ),
            (
                "Perplexity",
                r#"{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"cost":{"total_cost":0.006},"num_search_queries":1}"#,
                (1, None, Some(2), None, Some(6_000_000)),
            ),
        ] {
            let usage = of(text);
            let got = (
                usage.input_total().0,
                usage.cache_read.map(|t| t.0),
                usage.output.map(|t| t.0),
                usage.reasoning.map(|t| t.0),
                usage.provider_cost.map(|c| c.0),
            );
            assert_eq!(got, wanted, "{speaker}");
        }
    }

    /// FIELD-BUGS 51: cached input was charged as input as well, and written input twice.
    #[test]
    fn every_token_of_input_is_counted_once() {
        let usage = of(
            r#"{"prompt_tokens":100,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":60,"cache_creation_input_tokens":10,"cache_write_tokens":25,"cache_write_tokens_details":{"ttl_30m_tokens":5,"ttl_12h_tokens":20}}}"#,
        );
        let parts = [
            usage.input_uncached,
            usage.cache_read,
            usage.cache_write_5m,
            usage.cache_write_30m,
            usage.cache_write_12h,
        ];
        assert_eq!(parts, [5, 60, 10, 5, 20].map(|n| Some(Tokens(n))));
        assert_eq!(usage.input_total(), Tokens(100));
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
