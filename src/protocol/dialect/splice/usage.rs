//! A provider's usage object in the normal form, for answers that pass by.

use crate::base::{Json, NanoUsd, Str, Tokens};
use crate::canon::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

/// OpenAI docs, Chat Completions object, read 2026-08: `prompt_tokens` includes cached and written tokens, `completion_tokens`
/// includes reasoning; every detail may be missing or null.
#[derive(Deserialize)]
struct Chat {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    /// In US dollars; OpenRouter's.
    cost: Option<f64>,
}

#[derive(Default, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
}

/// `None` when `raw` is no usage object.
pub fn chat(raw: &RawValue) -> Option<Usage> {
    let u: Chat = serde_json::from_str(raw.get()).ok()?;
    let prompt = u.prompt_tokens_details.unwrap_or_default();
    let completion = u.completion_tokens_details.unwrap_or_default();
    let cached = prompt
        .cached_tokens
        .unwrap_or(0)
        .saturating_add(prompt.cache_write_tokens.unwrap_or(0));
    Some(Usage {
        input_uncached: u
            .prompt_tokens
            .map(|all| Tokens(all.saturating_sub(cached))),
        cache_read: prompt.cached_tokens.map(Tokens),
        // OpenAI docs, prompt caching, read 2026-08: what is written stays 30 minutes unless asked otherwise.
        cache_write_30m: prompt.cache_write_tokens.map(Tokens),
        output: u.completion_tokens.map(Tokens),
        reasoning: completion.reasoning_tokens.map(Tokens),
        input_audio: prompt.audio_tokens.map(Tokens),
        input_image: prompt.image_tokens.map(Tokens),
        output_audio: completion.audio_tokens.map(Tokens),
        output_image: completion.image_tokens.map(Tokens),
        provider_cost: u.cost.and_then(NanoUsd::of_usd),
        raw: Some(Json::of_raw(raw)),
        ..Usage::default()
    })
}

/// Anthropic docs, Messages response, read 2026-08: `input_tokens` is only what was neither read from nor written to the cache;
/// everything but `input_tokens` and `output_tokens` may be missing or null.
#[derive(Deserialize)]
struct Messages {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<Creation>,
    output_tokens_details: Option<OutputDetails>,
    server_tool_use: Option<ServerTools>,
    service_tier: Option<String>,
}

#[derive(Deserialize)]
struct Creation {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct ServerTools {
    web_search_requests: Option<u64>,
    web_fetch_requests: Option<u64>,
}

/// `None` when `raw` is no usage object.
pub fn messages(raw: &RawValue) -> Option<Usage> {
    let u: Messages = serde_json::from_str(raw.get()).ok()?;
    let (five, hour) = match &u.cache_creation {
        Some(split) => (
            split.ephemeral_5m_input_tokens,
            split.ephemeral_1h_input_tokens,
        ),
        // Without the split, all of it is at the default lifetime.
        None => (u.cache_creation_input_tokens, None),
    };
    Some(Usage {
        input_uncached: u.input_tokens.map(Tokens),
        cache_read: u.cache_read_input_tokens.map(Tokens),
        cache_write_5m: five.map(Tokens),
        cache_write_1h: hour.map(Tokens),
        output: u.output_tokens.map(Tokens),
        reasoning: u
            .output_tokens_details
            .and_then(|d| d.thinking_tokens)
            .map(Tokens),
        web_searches: u
            .server_tool_use
            .as_ref()
            .and_then(|s| s.web_search_requests),
        web_fetches: u
            .server_tool_use
            .as_ref()
            .and_then(|s| s.web_fetch_requests),
        service_tier: u.service_tier.map(Str::from),
        raw: Some(Json::of_raw(raw)),
        ..Usage::default()
    })
}
