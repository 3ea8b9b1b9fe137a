//! Gemini's stream without `alt=sse`, over the wire: one JSON array, read whole by a JSON parser, whatever happens in between.

use super::client::{Answer, request};
use super::house::{House, KEY, Plan, fake, on_both, quick};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A provider of Google's kind and one of Anthropic's, each behind a model of its own.
fn plan_with(plan: Plan, at: SocketAddr) -> Plan {
    let mut more = String::new();
    let mut others = Vec::new();
    for kind in KINDS {
        let keys = format!("pools: [{{id: p-{kind}, keys: [{{id: k-{kind}, secret: sk-up}}]}}]");
        let lines = format!("kind: {kind}, base_url: \"http://{at}\", {keys}");
        others.push((kind.to_owned(), lines));
        more += &format!(
            "  - {{kind: {kind}, model: m, input: 1, output: 5, source: made up, read: 2026-11-23}}\n"
        );
    }
    more += "routing: {attempts_max: 1, breaker_failures: 1_000}\n";
    let limits = "{sse_comment: 100ms}".to_owned();
    Plan {
        others,
        more,
        limits,
        ..plan
    }
}

const KINDS: [&str; 2] = ["gemini", "anthropic"];

/// Asks `model` with these directives, and gives what came with its elements.
fn asked(house: &House, model: &str, directives: &str) -> (Answer, Vec<Value>) {
    let path = format!("/v1beta/models/{model}:streamGenerateContent");
    let text = format!("hello [[fake: {directives}]]");
    let body = json!({"contents": [{"role": "user", "parts": [{"text": text}]}]}).to_string();
    let headers = [
        ("x-goog-api-key", KEY),
        ("content-type", "application/json"),
    ];
    let mut conn = house.connect();
    conn.send(&request("POST", &path, &headers, body.as_bytes()));
    let answer = conn.answer();
    let kind = answer.head.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/json"), "{model}: {kind}");
    let elements = serde_json::from_slice(&answer.body)
        .unwrap_or_else(|e| panic!("{model} {directives}: {e} in {}", answer.text()));
    (answer, elements)
}

fn finish_of(element: &Value) -> &Value {
    &element["candidates"][0]["finishReason"]
}

#[test]
fn an_array_is_one_json_text_plain_kept_alive_and_failed() {
    on_both(|plan| {
        let (fakes, at) = fake(quick());
        let house = House::open(&plan_with(plan, at));
        for kind in KINDS {
            let model = format!("at-{kind}");
            let (_, plain) = asked(&house, &model, "output_tokens=5");
            assert_eq!(finish_of(plain.last().expect("a last")), "STOP", "{kind}");
            assert!(plain.len() > 2, "{kind}: {plain:?}");

            // Keep-alives before the first element and between elements.
            let slow = "first_token=450 between_tokens=250 output_tokens=3";
            let (answer, said) = asked(&house, &model, slow);
            assert_eq!(finish_of(said.last().expect("a last")), "STOP", "{kind}");
            let text = answer.text();
            assert!(text.starts_with("\n\n"), "{kind}: {text:?}");
            assert!(text.contains("}\n"), "{kind}: {text:?}");

            let (answer, refused) = asked(&house, &model, "status=400");
            assert_eq!((answer.head.status, refused.len()), (400, 1), "{kind}");
            assert_eq!(refused[0]["error"]["code"], 400, "{kind}: {refused:?}");

            let late = "status=400 slow_first_byte=350";
            let (answer, refused) = asked(&house, &model, late);
            assert_eq!((answer.head.status, refused.len()), (200, 1), "{kind}");
            assert_eq!(refused[0]["error"]["code"], 400, "{kind}: {refused:?}");

            for fault in ["error_event_after=5", "cut_after=700", "no_terminal"] {
                // Slow enough that what came before a reset has been read: a reset takes with it what was not.
                let directives = format!("{fault} between_tokens=20 output_tokens=30");
                let (answer, said) = asked(&house, &model, &directives);
                let last = &said.last().expect("a last")["error"];
                assert_eq!(answer.head.status, 200, "{kind} {fault}");
                assert!(said.len() > 1, "{kind} {fault}: {said:?}");
                assert!(last["code"].is_u64(), "{kind} {fault}: {said:?}");
                assert!(last["status"].is_string(), "{kind} {fault}: {said:?}");
            }
        }
        house.is_well();
        drop(fakes);
    });
}
