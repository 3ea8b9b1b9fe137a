//! What the catalogue and the price list that we ship promise.

mod facts;
mod table;

use crate::base::{NanoUsd, Tokens, WallTime};
use crate::canon::Usage;
use crate::config::value;
use crate::config::{CacheMode, Config, Endpoint, Model};
use crate::policy::bill::{bill, storage};
use crate::protocol::provider::ProviderKind;
use std::time::Duration;

/// The shipped files with a provider of every name that they use, each with a key; the ones on Google's multi-regions at their hosts.
pub(super) fn everything() -> Config {
    let mut text = "include: [models.yaml, prices.yaml]\nproviders:\n".to_owned();
    for (id, kind, host) in PROVIDERS {
        let host = host.unwrap_or("api.example.com");
        let key = format!("pools: [{{id: {id}, keys: [{{id: {id}-1, secret: sk-{id}}}]}}]");
        let place = match kind {
            "bedrock" => "region: us-east-1, ",
            "vertex" => "project: p, ",
            _ => "",
        };
        text.push_str(&format!(
            "  - {{id: {id}, kind: {kind}, base_url: 'https://{host}', {place}{key}}}\n"
        ));
    }
    let folder = format!("{}/config", env!("CARGO_MANIFEST_DIR"));
    let root = format!("{folder}/everything.yaml");
    let read = |path: &std::path::Path| {
        if path == std::path::Path::new(&root) {
            return Ok(text.clone());
        }
        std::fs::read_to_string(path)
    };
    let loaded = super::load::load(&root, &read, &|_| None, 4);
    loaded.unwrap_or_else(|p| panic!("{p:#?}")).config
}

const PROVIDERS: [(&str, &str, Option<&str>); 13] = [
    ("anthropic", "anthropic", None),
    ("bedrock", "bedrock", None),
    ("bedrock-eu", "bedrock", None),
    ("vertex", "vertex", Some("aiplatform.googleapis.com")),
    (
        "vertex-us",
        "vertex",
        Some("aiplatform.us.rep.googleapis.com"),
    ),
    (
        "vertex-eu",
        "vertex",
        Some("aiplatform.eu.rep.googleapis.com"),
    ),
    ("openai", "openai", Some("api.openai.com")),
    ("gemini", "gemini", None),
    ("xai", "xai", None),
    ("fireworks", "fireworks", None),
    ("openrouter", "openrouter", None),
    ("selfhosted-minimax", "selfhosted", None),
    ("selfhosted-qwen", "selfhosted", None),
];

pub(super) fn kind_of(config: &Config, endpoint: &Endpoint) -> ProviderKind {
    config.providers[usize::from(endpoint.provider.0)].kind
}

pub(super) fn model<'c>(config: &'c Config, name: &str) -> Option<&'c Model> {
    let id = config.model_names.get(name)?;
    config.models.get(usize::from(id.0))
}

/// The endpoint at `provider` with the provider's own name of the model.
pub(super) fn endpoint<'c>(config: &'c Config, provider: &str, name: &str) -> &'c Endpoint {
    let found = config
        .endpoints
        .iter()
        .find(|e| config.providers[usize::from(e.provider.0)].name == provider && e.name == name);
    found.unwrap_or_else(|| panic!("no endpoint {provider}/{name}"))
}

pub(super) fn today() -> WallTime {
    value::day("2026-11-23").expect("a day")
}

fn dollars(usd: f64) -> NanoUsd {
    NanoUsd::of_usd(usd).expect("money")
}

fn cost(config: &Config, provider: &str, name: &str, usage: &Usage) -> NanoUsd {
    bill(usage, endpoint(config, provider, name).price.on(today()))
}

fn tokens(n: u64) -> Option<Tokens> {
    Some(Tokens(n))
}

#[test]
fn every_provider_named_in_the_catalogue_is_one_we_know() {
    let config = everything();
    let text =
        std::fs::read_to_string(format!("{}/config/models.yaml", env!("CARGO_MANIFEST_DIR")))
            .expect("the catalogue");
    for (id, ..) in PROVIDERS {
        assert!(text.contains(id), "{id}");
    }
    // Nothing is left out when every provider has a key.
    assert!(config.models.iter().all(|m| !m.endpoints.is_empty()));
    assert!(config.models.len() > 140, "{}", config.models.len());
}

#[test]
fn whatever_can_be_called_has_a_price_or_is_an_own_machine() {
    let config = everything();
    for endpoint in &config.endpoints {
        let price = &endpoint.price;
        let own = kind_of(&config, endpoint) == ProviderKind::SelfHosted;
        let piece = price.output_image_each.is_some()
            || price.audio_minute.is_some()
            || !price.video_second.is_empty();
        let paid = price.input.0 > 0 || piece;
        assert!(paid != own, "{}", endpoint.name);
        let says = endpoint.price_note.as_deref().unwrap_or_default();
        assert!(!own || says.contains("by the hour"), "{}", endpoint.name);
    }
}

#[test]
fn what_the_seed_names_is_in_the_catalogue() {
    let config = everything();
    for name in [
        "claude-opus-4.6",
        "claude-opus-4.5",
        "claude-opus-4.1",
        "claude-opus-4.0",
        "claude-sonnet-4.6",
        "claude-sonnet-4.5",
        "claude-sonnet-4.0",
        "claude-haiku-4.5",
        "gpt-5",
        "gpt-5.1",
        "gpt-5.2",
        "gpt-5.3",
        "gpt-5.4",
        "gpt-5-pro",
        "gpt-5-mini",
        "gpt-5-nano",
        "gpt-5-codex",
        "gpt-5.1-codex",
        "gpt-5.1-codex-mini",
        "gpt-5.1-codex-max",
        "gpt-5.2-codex",
        "gpt-5.3-codex",
        "gemini-2.5-pro",
        "gemini-2.5-flash",
        "gemini-3.0-pro",
        "gemini-3.0-flash",
        "gemini-3.1-pro",
        "gemini-3.1-flash",
        "veo-3.1",
        "grok-4",
        "grok-4.1",
        "grok-4.20",
        "grok-4.20-beta",
        "grok-code-fast",
        "grok-4-fast",
        "kimi-k2",
        "kimi-k2.5",
        "minimax-m2.5",
        "glm-5",
        "nemotron-3-super",
        "minimax-m2.1",
        "qwen3-coder-next",
        "deepseek-v3.2",
        "llama-4-maverick",
    ] {
        assert!(model(&config, name).is_some(), "{name}");
    }
    for (name, on) in [
        ("gpt-5.3", "2026-08-10"),
        ("gemini-3.0-pro", "2026-03-09"),
        ("grok-4", "2026-05-15"),
        ("grok-code-fast", "2026-05-15"),
        ("gpt-5.1-codex", "2026-07-23"),
    ] {
        let retired = model(&config, name).and_then(|m| m.retired.clone());
        let retired = retired.unwrap_or_else(|| panic!("{name}"));
        assert_eq!(retired.on, on, "{name}");
        assert!(retired.is_over(today()), "{name}");
        let next = model(&config, &retired.successor.expect("a successor")).expect("it");
        assert!(
            !next.retired.as_ref().is_some_and(|r| r.is_over(today())),
            "{name}"
        );
    }
}

#[test]
fn a_model_may_have_ended_at_one_place_and_live_at_another() {
    let config = everything();
    let ended = |provider, name| endpoint(&config, provider, name).is_retired(today());
    assert!(ended("anthropic", "claude-opus-4-1-20250805"));
    assert!(!ended(
        "bedrock",
        "us.anthropic.claude-opus-4-1-20250805-v1:0"
    ));
    assert!(!ended("vertex", "claude-opus-4-1@20250805"));
    assert!(!ended("anthropic", "claude-sonnet-4-5-20250929"));
}

#[test]
fn regions_cost_more_and_global_places_do_not() {
    let config = everything();
    let usage = Usage {
        input_uncached: tokens(1_000_000),
        ..Usage::default()
    };
    for (provider, name, usd) in [
        ("bedrock", "global.anthropic.claude-opus-5-5", 4.0),
        ("bedrock", "us.anthropic.claude-opus-5-5", 4.4),
        ("bedrock-eu", "eu.anthropic.claude-opus-5-5", 4.4),
        ("vertex", "claude-opus-5-5", 4.0),
        ("vertex-eu", "claude-opus-5-5", 4.4),
        // No region had a surcharge before Claude 4.5.
        (
            "bedrock",
            "us.anthropic.claude-opus-4-1-20250805-v1:0",
            15.0,
        ),
    ] {
        assert_eq!(
            cost(&config, provider, name, &usage),
            dollars(usd),
            "{name}"
        );
    }
    let us = Usage {
        geo: Some("us".into()),
        ..usage
    };
    assert_eq!(
        cost(&config, "anthropic", "claude-opus-5-5", &us),
        dollars(4.4)
    );
}

/// The usage blocks that `providers/*.md` show, each at the price of its model.
#[test]
fn usage_as_the_providers_show_it_is_billed_to_the_nano_dollar() {
    let config = everything();
    // OpenAI, section 6: 5,200 input of which 4,096 read and 1,000 written for 30 minutes, 120 output.
    let openai = Usage {
        input_uncached: tokens(104),
        cache_read: tokens(4_096),
        cache_write_30m: tokens(1_000),
        output: tokens(120),
        reasoning: tokens(64),
        ..Usage::default()
    };
    // (104 · 4 + 4,096 · 0.4 + 1,000 · 5 + 120 · 20) / 10⁶
    assert_eq!(
        cost(&config, "openai", "gpt-5.6-sol", &openai),
        NanoUsd(9_454_400)
    );
    // OpenAI, section 3: 2,306 input of which 1,920 read, 300 output.
    let chat = Usage {
        input_uncached: tokens(386),
        cache_read: tokens(1_920),
        output: tokens(300),
        ..Usage::default()
    };
    assert_eq!(
        cost(&config, "openai", "gpt-5.4", &chat),
        NanoUsd(5_945_000)
    );
    // Gemini, section 3: 5,000 input of which 4,096 read, 80 and 200 thought.
    let gemini = Usage {
        input_uncached: tokens(904),
        cache_read: tokens(4_096),
        output: tokens(280),
        reasoning: tokens(200),
        ..Usage::default()
    };
    assert_eq!(
        cost(&config, "gemini", "gemini-3.8-flash", &gemini),
        NanoUsd(2_035_200)
    );
    // xAI, section 3: 125 input of which 98 read, 48 answered and 127 thought.
    let xai = Usage {
        input_uncached: tokens(27),
        cache_read: tokens(98),
        output: tokens(175),
        reasoning: tokens(127),
        ..Usage::default()
    };
    assert_eq!(cost(&config, "xai", "grok-4.7", &xai), NanoUsd(1_153_000));
    // OpenRouter, section 3: 1,300 input of which 1,024 read, 20 output; the page's `cost` is made up, ours is the list's.
    let router = Usage {
        input_uncached: tokens(276),
        cache_read: tokens(1_024),
        output: tokens(20),
        ..Usage::default()
    };
    assert_eq!(
        cost(&config, "openrouter", "anthropic/claude-sonnet-5", &router),
        NanoUsd(956_800)
    );
    // Fireworks, section 3: 1,200 input of which 1,024 read, 12 output.
    let fireworks = Usage {
        input_uncached: tokens(176),
        cache_read: tokens(1_024),
        output: tokens(12),
        ..Usage::default()
    };
    let kimi = "accounts/fireworks/models/kimi-k2p5";
    assert_eq!(
        cost(&config, "fireworks", kimi, &fireworks),
        NanoUsd(244_000)
    );
    // Bedrock, section 6.1: 3 input, 2,048 read, 5 output, in a geographic profile.
    let bedrock = Usage {
        input_uncached: tokens(3),
        cache_read: tokens(2_048),
        output: tokens(5),
        ..Usage::default()
    };
    // (3 · 3.3 + 2,048 · 0.33 + 5 · 16.5) / 10⁶
    assert_eq!(
        cost(
            &config,
            "bedrock",
            "us.anthropic.claude-sonnet-4-6",
            &bedrock
        ),
        NanoUsd(768_240)
    );
}

/// Anthropic docs, 7.7: with the longest hit at A, the last 1h mark at B and the last mark at C, A is read, B − A written for 1h and C − B for 5m.
#[test]
fn mixed_lifetimes_are_billed_as_the_page_says() {
    let config = everything();
    let (a, b, c) = (10_000, 14_000, 15_000);
    let usage = Usage {
        cache_read: tokens(a),
        cache_write_1h: tokens(b - a),
        cache_write_5m: tokens(c - b),
        ..Usage::default()
    };
    // (10,000 · 0.2 + 4,000 · 8 + 1,000 · 5) / 10⁶
    assert_eq!(
        cost(&config, "anthropic", "claude-opus-5-5", &usage),
        NanoUsd(39_000_000)
    );
}

#[test]
fn fast_and_batch_multiply_cache_prices_as_well() {
    let config = everything();
    let usage = Usage {
        input_uncached: tokens(1_000_000),
        output: tokens(1_000_000),
        ..Usage::default()
    };
    let fast = Usage {
        speed: Some("fast".into()),
        ..usage.clone()
    };
    for (name, usd) in [
        ("claude-opus-5", 60.0),
        ("claude-opus-4-8", 60.0),
        ("claude-opus-5-5", 48.0),
        ("claude-fable-5-2", 96.0),
    ] {
        assert_eq!(
            cost(&config, "anthropic", name, &fast),
            dollars(usd),
            "{name}"
        );
    }
    let batch = Usage {
        service_tier: Some("batch".into()),
        cache_read: tokens(1_000_000),
        ..usage
    };
    assert_eq!(
        cost(&config, "anthropic", "claude-opus-5", &batch),
        dollars(15.25)
    );
    // Google's batch discount does not add to that of the cache (2.5), or does (3.1).
    assert_eq!(
        cost(&config, "gemini", "gemini-2.5-flash", &batch),
        dollars(0.15 + 1.25 + 0.03)
    );
    assert_eq!(
        cost(&config, "gemini", "gemini-3.1-flash-lite", &batch),
        dollars(0.125 + 0.75 + 0.0125)
    );
}

#[test]
fn prices_change_on_their_day() {
    let config = everything();
    let usage = Usage {
        cache_read: tokens(100_000),
        ..Usage::default()
    };
    let on = |provider, name, day| {
        let price = &endpoint(&config, provider, name).price;
        bill(&usage, price.on(value::day(day).expect("a day")))
    };
    assert_eq!(
        on("anthropic", "claude-sonnet-5-5", "2026-10-06"),
        dollars(0.02)
    );
    assert_eq!(
        on("anthropic", "claude-sonnet-5-5", "2026-10-07"),
        dollars(0.01)
    );
    assert_eq!(
        on("vertex-us", "claude-sonnet-5-5", "2026-10-07"),
        dollars(0.011)
    );
    // After its end the name is answered by another model, at that one's price.
    assert_eq!(
        on("gemini", "gemini-2.5-pro", "2026-11-30"),
        dollars(0.0125)
    );
    assert_eq!(
        on("gemini", "gemini-2.5-pro", "2026-12-01"),
        dollars(0.0075)
    );
    assert_eq!(
        on("vertex", "gemini-2.5-pro", "2026-12-01"),
        dollars(0.0125)
    );
}

#[test]
fn caches_kept_by_the_hour_are_billed() {
    let config = everything();
    let price = &endpoint(&config, "gemini", "gemini-2.5-pro").price;
    assert_eq!(
        storage(Tokens(100_000), Duration::from_secs(3_600), price),
        dollars(0.45)
    );
}

#[test]
fn each_provider_has_its_cache_rules() {
    let config = everything();
    for (provider, name, mode, min) in [
        (
            "anthropic",
            "claude-opus-4-7",
            CacheMode::Breakpoints,
            2_048,
        ),
        (
            "bedrock",
            "global.anthropic.claude-sonnet-4-6",
            CacheMode::Breakpoints,
            2_048,
        ),
        ("openai", "gpt-5.5", CacheMode::Prefix, 1_024),
        ("openai", "gpt-6.1-sol", CacheMode::Both, 1_024),
        ("openai", "gpt-5.5-pro", CacheMode::None, 0),
        ("gemini", "gemini-3.8-flash", CacheMode::Both, 4_096),
        ("xai", "grok-4.7", CacheMode::Prefix, 0),
    ] {
        let rules = &endpoint(&config, provider, name).cache;
        assert_eq!(
            (rules.mode, rules.min_tokens),
            (mode, Tokens(min)),
            "{name}"
        );
        assert_eq!(rules.scope.is_some(), mode != CacheMode::None, "{name}");
    }
}

#[test]
fn rules_follow_the_model() {
    let config = everything();
    let rules = |provider, name| &endpoint(&config, provider, name).rules;
    let refuses =
        |provider, name, what: &str| rules(provider, name).refuse.iter().any(|r| r == what);
    assert!(refuses("anthropic", "claude-opus-5-5", "temperature"));
    assert!(!refuses("anthropic", "claude-opus-4-6", "temperature"));
    assert!(
        refuses("openai", "gpt-5", "logprobs") && refuses("openai", "gpt-5", "presence_penalty")
    );
    assert!(refuses("xai", "grok-4.7", "stop"));
    assert!(!refuses("xai", "grok-4.20-0309-non-reasoning", "stop"));
    assert!(rules("anthropic", "claude-opus-4-5-20251101").thinking_budget);
    assert_eq!(
        rules("anthropic", "claude-opus-4-6").clamped("temperature", 2.0),
        1.0
    );
    // The output limit is the place's own where it has one.
    assert_eq!(
        rules("anthropic", "claude-sonnet-4-6").clamped("max_output", 1e9),
        128_000.0
    );
    assert_eq!(
        rules("bedrock", "us.anthropic.claude-sonnet-4-6").clamped("max_output", 1e9),
        64_000.0
    );
}

#[test]
fn what_chat_cannot_reach_is_called_through_responses() {
    use crate::canon::DialectName::{Chat, Responses};
    let config = everything();
    let called = |name| endpoint(&config, "openai", name).dialect(Chat);
    assert_eq!((called("gpt-5-pro"), called("gpt-5.1")), (Responses, Chat));
    // OpenRouter takes the same model by Chat Completions.
    let router = endpoint(&config, "openrouter", "openai/gpt-5-pro");
    assert_eq!(router.dialect(Chat), Chat);
}
