//! `health:` of own servers.

use super::*;
use std::time::Duration;

fn health(of: &str) -> Option<Health> {
    let text = format!("providers: [{{id: s, kind: selfhosted, base_url: 'http://h:1'{of}}}]\n");
    let loaded = load_files(&[("a", &text)], &[]).unwrap_or_else(|p| panic!("{p:#?}"));
    loaded.config.providers[0].health.clone()
}

#[test]
fn an_own_server_is_asked_unless_the_file_says_never() {
    let usual = Health {
        every: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        failures: 3,
        path: None,
    };
    assert_eq!(usual.stale_after(), Duration::from_secs(15));
    assert_eq!(health(""), Some(usual.clone()));
    assert_eq!(health(", health: {}"), Some(usual.clone()));
    assert_eq!(health(", health: {every: 0s, timeout: 1s}"), None);
    let own = health(", health: {every: 1s, timeout: 3s, failures: 1, path: '/up?deep=1'}");
    let own = own.expect("asked");
    assert_eq!(
        own,
        Health {
            every: Duration::from_secs(1),
            timeout: Duration::from_secs(3),
            failures: 1,
            path: Some("/up?deep=1".to_owned()),
        }
    );
    // Where a poll may take longer than the pause, three of them are what three may take.
    assert_eq!(own.stale_after(), Duration::from_secs(18));
}

#[test]
fn nobody_else_is_asked() {
    let text = "providers: [{id: o, kind: openai, pools: [{id: p, keys: [{id: k, secret: s}]}]}, {id: f, kind: fake}]\n";
    let loaded = load_files(&[("a", text)], &[]).expect("right");
    assert!(loaded.config.providers.iter().all(|p| p.health.is_none()));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (written, value, told) in [
        (
            "kind: fake, health: {}",
            "{}",
            "health: on a provider of kind fake: leave it out: only own servers are asked",
        ),
        (
            "kind: selfhosted, base_url: 'http://h:1', health: {every: 50ms}",
            "50ms",
            "health.every is too short: 0s for never, or 100ms and more",
        ),
        (
            "kind: selfhosted, base_url: 'http://h:1', health: {path: health}",
            "health",
            "health.path is no path: such as /health; the base URL's own path is put before it",
        ),
        (
            "kind: selfhosted, base_url: 'http://h:1', health: {failures: 0}",
            "0",
            "providers.health.failures is \"0\": a whole number from 1 to 1000, such as 1_000",
        ),
    ] {
        let text = format!("providers: [{{id: s, {written}}}]\n");
        let [problem] = &problems(&[("a", &text)], &[])[..] else {
            panic!("{written}: one problem")
        };
        let at = format!("a:1:{}: ", text.rfind(value).expect("written") + 1);
        assert_eq!(*problem, format!("{at}{told}"), "{written}");
    }
}
