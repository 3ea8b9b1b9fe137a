//! What an own machine says of itself.

use super::tests::{Got, at, drain, quick};
use super::*;
use serde_json::{Value, json};

fn get(fake: &mut Fake, path: &str) -> Got {
    let request = Request {
        method: "GET",
        path,
        header: &|_| None,
        body: b"",
    };
    let id = fake.handle(at(1), &request);
    drain(fake, id, at(1))
}

/// An answer that is under way.
fn begin(fake: &mut Fake, text: &str) -> ReplyId {
    let body =
        json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": text}]});
    let body = body.to_string();
    let request = Request {
        method: "POST",
        path: "/v1/chat/completions",
        header: &|name| (name == "authorization").then_some("Bearer k"),
        body: body.as_bytes(),
    };
    fake.handle(at(1), &request)
}

fn figure(page: &str, name: &str) -> f64 {
    let line = page.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value
        .and_then(|v| v.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {page}"))
}

#[test]
fn an_engine_tells_of_the_answers_that_it_makes() {
    for (manner, prefix) in [
        (Manner::Vllm, "vllm:num_requests_"),
        (Manner::Sglang, "sglang:num_"),
    ] {
        let mut fake = Fake::new(Settings {
            manner,
            batch: 2,
            ..quick()
        });
        let open: Vec<_> = (0..3)
            .map(|_| begin(&mut fake, &"word ".repeat(8_000)))
            .collect();
        let page = get(&mut fake, "/metrics").text();
        let (running, waiting, kv) = match manner {
            Manner::Vllm => ("running", "waiting", "vllm:kv_cache_usage_perc"),
            _ => ("running_reqs", "queue_reqs", "sglang:token_usage"),
        };
        assert_eq!(figure(&page, &format!("{prefix}{running}")), 2.0);
        assert_eq!(figure(&page, &format!("{prefix}{waiting}")), 1.0);
        assert!(figure(&page, &format!("{kv}{{")) > 0.05, "{page}");
        for id in open {
            fake.hung_up(id, at(2));
        }
        let page = get(&mut fake, "/metrics").text();
        assert_eq!(figure(&page, &format!("{prefix}{running}")), 0.0);
        let prompts = page.lines().find(|l| l.contains(":prompt_tokens_total{"));
        assert!(!prompts.expect("counted").ends_with(" 0"), "{page}");
    }
}

#[test]
fn each_engine_has_its_own_page_of_load() {
    let mut sglang = Fake::new(Settings {
        manner: Manner::Sglang,
        ..quick()
    });
    begin(&mut sglang, "hello");
    let loads = get(&mut sglang, "/v1/loads?include=core").json();
    assert_eq!(loads["loads"][0]["num_running_reqs"], json!(1));
    assert_eq!(get(&mut sglang, "/load").status, 404);
    let mut vllm = Fake::new(Settings {
        manner: Manner::Vllm,
        ..quick()
    });
    begin(&mut vllm, "hello");
    assert_eq!(get(&mut vllm, "/load").json()["server_load"], json!(1));
    assert_eq!(get(&mut vllm, "/v1/loads").status, 404);
}

#[test]
fn what_it_says_of_itself_can_be_scripted_and_answers_go_on() {
    let mut fake = Fake::new(quick());
    fake.faults().next(
        1,
        &Faults {
            status: Some(500),
            ..Faults::default()
        },
    );
    for path in ["/health", "/ready", "/metrics", "/load"] {
        assert_eq!(get(&mut fake, path).status, 200, "{path} uses up no fault");
    }
    fake.faults().heal();
    fake.engine().health = Some(503);
    assert_eq!(get(&mut fake, "/ready").status, 503);
    assert_eq!(get(&mut fake, "/metrics").status, 200);
    fake.engine().garbage = true;
    for path in ["/metrics", "/load", "/v1/loads"] {
        let page = get(&mut fake, path);
        assert_eq!(page.status, 200);
        assert!(page.text().starts_with("<html>"), "{path}");
        assert!(serde_json::from_slice::<Value>(&page.body).is_err());
    }
    *fake.engine() = Engine {
        stall: true,
        ..Engine::default()
    };
    let request = Request {
        method: "GET",
        path: "/health",
        header: &|_| None,
        body: b"",
    };
    let id = fake.handle(at(1), &request);
    assert!(matches!(fake.next(id, at(60)), Step::Wait(_)));
    let answer = begin(&mut fake, "hello");
    assert_eq!(drain(&mut fake, answer, at(9)).status, 200);
    assert!(
        fake.book().refused().is_empty(),
        "none of this costs anything"
    );
}
