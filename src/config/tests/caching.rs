//! `cache_marks:` of tenants and `cache_hints:` of providers.

use super::*;
use crate::canon::controls::CacheMode as Marks;

fn loaded(text: &str) -> Config {
    let loaded = load_files(&[("a", text)], &[]);
    loaded.unwrap_or_else(|p| panic!("{p:#?}")).config
}

#[test]
fn the_router_marks_unless_a_tenant_says_otherwise() {
    for (said, marks) in [
        ("", Marks::Auto),
        (", cache_marks: auto", Marks::Auto),
        (", cache_marks: client", Marks::Client),
        (", cache_marks: off", Marks::Off),
    ] {
        let config = loaded(&format!("tenants: [{{id: t{said}}}]\n"));
        assert_eq!(config.tenants[0].cache_marks, marks, "{said}");
    }
    let told = problems(&[("a", "tenants: [{id: t, cache_marks: always}]\n")], &[]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("cache_marks") && told[0].contains("client"),
        "{told:?}"
    );
}

#[test]
fn nothing_is_kept_warm_unless_a_tenant_wants_it() {
    let keeps = |said: &str| {
        let config = loaded(&format!("tenants: [{{id: t{said}}}]\n"));
        let kept = &config.tenants[0].keep_warm;
        (kept.pings, kept.usd_max.0, kept.bytes_max)
    };
    assert_eq!(keeps(""), (0, 100_000_000, 64 << 20));
    let said = ", keep_warm: {pings: 3, usd_max: 0.05, bytes_max: 1MiB}";
    assert_eq!(keeps(said), (3, 50_000_000, 1 << 20));
    let wrong = "tenants: [{id: t, keep_warm: {pings: 101}}]\n";
    let told = problems(&[("a", wrong)], &[]);
    assert!(told.len() == 1 && told[0].contains("pings"), "{told:?}");
}

#[test]
fn a_keys_rights_are_what_the_file_says() {
    let key = |said: &str| format!("tenants: [{{id: t, keys: [{{id: k, secret: s{said}}}]}}]\n");
    let free = loaded(&key("")).client_keys.remove(0).rights;
    assert_eq!(free, Rights::default());
    assert!(free.allow_model("any") && free.allow_provider("p"));
    let said = ", models: ['claude-*', m], providers: [p], dialects: [chat], priority: batch, expires: 2027-01-31, limits: {rpm: 3, usd_per_month: 5}";
    let bound = loaded(&key(said)).client_keys.remove(0).rights;
    assert!(bound.allow_model("claude-9") && bound.allow_model("m") && !bound.allow_model("mm"));
    assert!(bound.allow_provider("p") && !bound.allow_provider("q"));
    assert!(bound.allow_dialect(DialectName::Chat) && !bound.allow_dialect(DialectName::Gemini));
    assert_eq!(bound.limits.usd_per_month, Some(NanoUsd(5_000_000_000)));
    assert_eq!(bound.expires, Some(WallTime(1_801_353_600_000_000_000)));
    for (wrong, named) in [
        (", dialects: [soap]", "soap"),
        (", expires: soon", "2027-01-31"),
        (", priority: high", "batch"),
    ] {
        let told = problems(&[("a", &key(wrong))], &[]);
        assert!(told.len() == 1 && told[0].contains(named), "{told:?}");
    }
}

#[test]
fn who_is_known_to_take_hints_is_given_them() {
    let key = "pools: [{id: p, keys: [{id: k, secret: s}]}]";
    let hints = |of: &str| {
        let config = loaded(&format!("providers: [{{id: s, {of}, {key}}}]\n"));
        config.providers[0].cache_hints
    };
    for (of, given) in [
        ("kind: openai", true),
        (
            "kind: openai, base_url: 'https://eu.api.openai.com/v1'",
            true,
        ),
        (
            "kind: openai, base_url: 'https://x.openai.azure.com'",
            false,
        ),
        (
            "kind: openai, base_url: 'https://notapi.openai.com.example'",
            false,
        ),
        (
            "kind: openai, base_url: 'https://x.openai.azure.com', cache_hints: true",
            true,
        ),
        ("kind: openai, cache_hints: false", false),
        ("kind: xai", true),
        ("kind: fireworks", true),
        ("kind: openrouter", true),
        ("kind: openrouter, cache_hints: false", false),
        ("kind: selfhosted, base_url: 'http://h:1'", true),
        ("kind: anthropic", false),
        ("kind: gemini", false),
    ] {
        assert_eq!(hints(of), given, "{of}");
    }
    let text = format!("providers: [{{id: s, kind: anthropic, cache_hints: true, {key}}}]\n");
    let told = problems(&[("a", &text)], &[]);
    let want = "a:1:51: cache_hints: on a provider of kind anthropic: leave it out, it takes none";
    assert_eq!(told, [want]);
}
