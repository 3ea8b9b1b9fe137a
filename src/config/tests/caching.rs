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
