//! Keys that are refused.

use super::*;

fn keys(count: usize) -> String {
    let keys: Vec<String> = (0..count)
        .map(|k| format!("{{id: k{k}, secret: sk-{k}-end}}"))
        .collect();
    format!("{{id: p0, keys: [{}]}}", keys.join(", "))
}

const WRONG_KEY: &str = r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}"#;

/// FIELD-BUGS 27.
#[test]
fn forty_nine_dead_keys_of_fifty_do_not_fail_a_request() {
    let mut rig = Rig::new(&one_provider("openai", &keys(50)));
    let client = rig.chat(ASK);
    for _ in 0..49 {
        let call = rig.call();
        rig.refuse(call, 401, &[], WRONG_KEY);
    }
    // A limit after so many keys is still a first failure.
    let call = rig.call();
    rig.refuse(call, 429, &[("retry-after", "1")], TOO_MANY);
    rig.secs(2);
    let call = rig.call();
    rig.answer(call);
    assert_eq!(rig.told(client).0, 200);
    rig.rests();
}

/// FIELD-BUGS 28; and the client's own key was right, so it is not told 401.
#[test]
fn all_keys_dead_is_an_error_of_its_own_then_and_later() {
    let mut rig = Rig::new(&one_provider("openai", &keys(2)));
    let client = rig.chat(ASK);
    for _ in 0..2 {
        let call = rig.call();
        rig.refuse(call, 401, &[], WRONG_KEY);
    }
    let (status, _, text) = rig.told(client);
    assert_eq!(status, 503);
    assert!(text.contains("no_working_key"), "{text}");
    let client = rig.chat(ASK);
    let (status, headers, text) = rig.told(client);
    assert_eq!(status, 503);
    assert!(text.contains("no_working_key"), "{text}");
    assert_eq!(header(&headers, "retry-after"), Some("600"));
    rig.rests();
}

/// The provider says it within a stream: it is our key all the same.
#[test]
fn a_key_refused_within_a_stream_is_not_told_as_the_clients() {
    let mut rig = Rig::new(&one_provider("anthropic", POOL));
    let ask = r#"{"model":"m0","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
    let client = rig.ask_with(
        "/v1/chat/completions",
        &ask.replace("max_tokens", "max_completion_tokens"),
        &[],
    );
    let call = rig.call();
    rig.stream(call);
    rig.say(call, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"x\"}}\n\n");
    let (status, _, text) = rig.told(client);
    assert_eq!(status, 503, "{text}");
    rig.rests();
}

/// A spend limit is not waited out, and the same key is not asked again.
#[test]
fn money_that_is_spent_is_never_asked_for_twice_with_one_key() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = rig.chat(ASK);
    let call = rig.call();
    let body = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    rig.refuse(call, 429, &[], body);
    assert_eq!(rig.told(client).0, 503);
    let client = rig.chat(ASK);
    // Not a dead key: it is told as what it is, and tried again when money may have come.
    let (status, headers, text) = rig.told(client);
    assert_eq!(status, 503);
    assert!(text.contains("spending limit"), "{text}");
    assert_eq!(header(&headers, "retry-after"), Some("3600"));
    rig.rests();
}

#[test]
fn wishes_that_nobody_meets_are_the_clients_to_change() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = rig.ask_with(
        "/v1/chat/completions",
        ASK,
        &[("x-stokehold-providers", "allow=nobody")],
    );
    let (status, _, text) = rig.told(client);
    assert_eq!(status, 400);
    assert!(text.contains("x-stokehold-providers"), "{text}");
    rig.rests();
}
