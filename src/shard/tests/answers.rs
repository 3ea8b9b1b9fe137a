//! What a client is sent, and when it is never sent anything twice.

use super::*;

/// FIELD-BUGS 43 and 50.
#[test]
fn a_broken_attempt_is_tried_elsewhere_only_while_the_client_saw_nothing() {
    for (said, again) in [(": comment\n\n", true), (FIRST, false)] {
        let mut rig = Rig::new(&two_providers(POOL, POOL_1));
        let client = rig.chat(ASK_STREAM);
        let first = rig.call();
        rig.stream(first);
        rig.say(first, said);
        rig.on(Input::UpstreamFailed {
            attempt: first,
            why: UpstreamFault::Reset,
        });
        if again {
            let second = rig.call();
            rig.stream(second);
            rig.say(second, &format!("{FIRST}{STOP}{USAGE}{DONE}"));
            rig.end(second);
        } else {
            let (_, _, text) = rig.told(client);
            assert!(text.contains("\"error\""), "{text}");
        }
        rig.rests();
    }
}

/// A comment commits status and headers; not the answer.
#[test]
fn a_retry_after_a_keep_alive_comment_goes_on_in_the_same_stream() {
    let mut rig = Rig::new(&two_providers(POOL, POOL_1));
    let client = rig.chat(ASK_STREAM);
    let first = rig.call();
    rig.secs(4);
    rig.refuse(first, 503, &[], "");
    let heads = |out: &[Output]| {
        out.iter()
            .filter(|o| matches!(o, Output::Respond { .. }))
            .count()
    };
    assert_eq!(heads(&rig.out), 1);
    let second = rig
        .out
        .iter()
        .find_map(|o| match o {
            Output::Call(call) => Some(call.attempt),
            _ => None,
        })
        .expect("a second try");
    rig.stream(second);
    rig.say(second, &format!("{FIRST}{STOP}{USAGE}{DONE}"));
    rig.end(second);
    assert_eq!(heads(&rig.out), 1, "the head goes out once");
    let ends = rig.out.iter().filter(|o| **o == Output::End { client });
    assert_eq!(ends.count(), 1);
    rig.rests();
}

#[test]
fn a_failure_after_a_keep_alive_comment_is_told_as_an_event() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = rig.chat(ASK_STREAM);
    let first = rig.call();
    rig.later(Duration::from_millis(3_500));
    rig.refuse(first, 400, &[], r#"{"error":{"message":"no"}}"#);
    let (status, _, text) = rig.told(client);
    assert_eq!(status, 200);
    assert!(
        text.starts_with(": ") && text.contains("\"error\""),
        "{text}"
    );
    rig.rests();
}

/// What a provider says after its own end mark is nobody's.
#[test]
fn nothing_follows_the_end_mark() {
    for (kind, path, body, said) in [
        (
            "openai",
            "/v1/chat/completions",
            ASK_STREAM,
            format!("{FIRST}{STOP}{USAGE}{DONE}{FIRST}"),
        ),
        (
            "openai",
            "/v1/messages",
            r#"{"model":"m0","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#,
            format!("{FIRST}{STOP}{USAGE}{DONE}data: no json\n\n"),
        ),
    ] {
        let mut rig = Rig::new(&one_provider(kind, POOL));
        let client = rig.ask_with(path, body, &[]);
        let call = rig.call();
        rig.stream(call);
        rig.say(call, &said);
        rig.end(call);
        let (_, _, text) = rig.told(client);
        let mark = if path == "/v1/messages" {
            "message_stop"
        } else {
            "[DONE]"
        };
        let at = text.find(mark).expect("an end mark");
        assert!(!text[at..].contains("\"hi\""), "{text}");
        assert_eq!(rig.rows[0].outcome, Outcome::Done);
        rig.rests();
    }
}

/// Some speakers of Chat Completions leave the mark out; their clients wait for it all the same.
#[test]
fn an_answer_without_its_end_mark_is_given_one() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = rig.chat(ASK_STREAM);
    let call = rig.call();
    rig.stream(call);
    rig.say(call, &format!("{FIRST}{STOP}"));
    rig.end(call);
    let (_, _, text) = rig.told(client);
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    rig.rests();
}

/// FIELD-BUGS 42 and 44.
#[test]
fn a_stream_that_is_cut_ends_with_an_error_event() {
    for cut in [FIRST.to_owned(), format!("{FIRST}data: {{\"id\"")] {
        let mut rig = Rig::new(&one_provider("openai", POOL));
        let client = rig.chat(ASK_STREAM);
        let call = rig.call();
        rig.stream(call);
        rig.say(call, &cut);
        rig.end(call);
        let (_, _, text) = rig.told(client);
        assert!(
            text.contains("\"error\"") && !text.contains("[DONE]"),
            "{text}"
        );
        assert!(matches!(rig.rows[0].outcome, Outcome::Failed(_)));
        assert!(rig.rows[0].usage.estimated);
        rig.rests();
    }
}

#[test]
fn a_providers_own_words_pass_with_their_status_and_what_it_said_of_trying_again() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = rig.chat(ASK);
    let call = rig.call();
    let body =
        r#"{"error":{"message":"no such parameter","type":"invalid_request_error","param":"x"}}"#;
    rig.refuse(call, 422, &[("x-should-retry", "false")], body);
    let (status, headers, text) = rig.told(client);
    assert_eq!((status, text.as_str()), (422, body));
    assert_eq!(header(&headers, "x-should-retry"), Some("false"));
    rig.rests();
}

/// What OpenAI's and Anthropic's clients look for is there, whatever the provider's own shape of a refusal is.
#[test]
fn a_refusal_in_another_shape_than_the_clients_is_told_in_the_clients() {
    let shapes = [
        (
            "xai",
            r#"{"code":"Client specified an invalid argument","error":"no such model"}"#,
        ),
        (
            "selfhosted",
            r#"{"object":"error","message":"no such model","type":"BadRequestError","param":null,"code":400}"#,
        ),
        (
            "fireworks",
            r#"{"fault":"no such model","error":{"object":"error"}}"#,
        ),
    ];
    for (kind, body) in shapes {
        let mut rig = Rig::new(&one_provider(kind, POOL));
        let client = rig.chat(ASK);
        let call = rig.call();
        rig.refuse(call, 400, &[], body);
        let (status, _, text) = rig.told(client);
        let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let why = told["error"]["message"].as_str().expect("a reason");
        assert_eq!(status, 400, "{kind}");
        assert!(!why.is_empty(), "{text}");
        if !body.contains("fault") {
            assert!(why.contains("no such model"), "{kind}: {text}");
        }
        rig.rests();
    }
}

/// Half a JSON object is nobody's own words, and a status that is no error would be taken for an answer.
#[test]
fn a_refusal_that_is_not_whole_is_told_in_our_words() {
    for (status, body) in [(400, "{\"error\":{\"mess"), (302, "{}")] {
        let mut rig = Rig::new(&one_provider("openai", POOL));
        let client = rig.chat(ASK);
        let call = rig.call();
        rig.refuse(call, status, &[], body);
        while rig.shard.standing().exchanges > 0 {
            let Some(again) = rig.calls().first().map(|c| c.attempt) else {
                rig.secs(1);
                continue;
            };
            rig.refuse(again, status, &[], body);
        }
        let (told, _, text) = rig.told(client);
        assert!(told >= 400, "{told}");
        serde_json::from_str::<serde_json::Value>(&text).expect("whole JSON");
        assert_ne!(text, body);
    }
}

/// What is kept of an answer to be told again at its end is bounded, streamed or not.
#[test]
fn an_endless_answer_is_broken_off_at_the_bound() {
    let yaml = one_provider("openai", POOL)
        .replace("limits: {", "limits: {answer_bytes_max: 64KiB, ")
        + "routing: {attempts_max: 1}\n";
    let mut rig = Rig::new(&yaml);
    let client = rig.ask_with("/api/v1/generate", r#"{"model":"m0","input":"x"}"#, &[]);
    let call = rig.call();
    rig.stream(call);
    for _ in 0..1_000 {
        rig.say(call, FIRST);
    }
    let (status, ..) = rig.told(client);
    assert_eq!(status, 502);
    assert!(matches!(
        rig.rows[0].outcome,
        Outcome::Failed(crate::canon::FaultClass::UpstreamBroken)
    ));
}

/// Bytes that pass are held to a model's rules as much as a request that is translated, and the client is told the same.
#[test]
fn a_models_rules_hold_where_bytes_pass() {
    let yaml = one_provider("openai", POOL).replacen(
        "name: m0,",
        "name: m0, rules: {drop_params: [seed], refuse_params: [top_k], clamp: {temperature: 0..1}},",
        1,
    );
    let mut rig = Rig::new(&yaml);
    let asked = r#"{"seed":7, "model":"m0","temperature":1.70,"messages":[{"role":"user","content":"\u0068ello"}]}"#;
    let client = rig.chat(asked);
    let calls = rig.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        String::from_utf8(calls[0].body.concat()).expect("text"),
        r#"{"model":"m0","temperature":1.0,"messages":[{"role":"user","content":"\u0068ello"}]}"#
    );
    rig.on(Input::Sent {
        attempt: calls[0].attempt,
    });
    rig.answer(calls[0].attempt);
    let (status, headers, _) = rig.told(client);
    assert_eq!(
        (status, header(&headers, "x-stokehold-dropped")),
        (200, Some("seed, temperature=1"))
    );
    let client = rig.chat(r#"{"model":"m0","top_k":3,"messages":[]}"#);
    let (status, _, text) = rig.told(client);
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("top_k"), "{text}");
    rig.rests();
}
