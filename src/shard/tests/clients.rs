//! Clients that leave, cancel, or do not read; and what they may say about how they are served.

use super::*;

fn streaming(rig: &mut Rig) -> (ClientId, AttemptId) {
    let client = rig.chat(ASK_STREAM);
    let call = rig.call();
    rig.stream(call);
    rig.say(call, FIRST);
    rig.take();
    (client, call)
}

/// FIELD-BUGS 36: usage and row are the same with and without the client.
#[test]
fn an_answer_is_billed_alike_whether_its_client_stays() {
    let row = |leaves: bool| {
        let mut rig = Rig::new(&one_provider("openai", POOL));
        let (client, call) = streaming(&mut rig);
        if leaves {
            rig.on(Input::ClientGone { client });
        }
        rig.say(call, &format!("{STOP}{USAGE}{DONE}"));
        rig.end(call);
        rig.rests();
        (
            rig.rows[0].usage.clone(),
            rig.rows[0].cost,
            rig.rows[0].outcome,
        )
    };
    assert_eq!(row(true), row(false));
}

/// FIELD-BUGS 37 and 38: the tenant's policy is to cancel, and what may have been read is billed as an estimate.
#[test]
fn a_client_that_cancels_by_leaving_is_billed_for_what_was_sent() {
    for sent in [true, false] {
        let mut rig = Rig::new(&one_provider("openai", POOL));
        let client = rig.of_b(ASK);
        let attempt = rig.calls()[0].attempt;
        if sent {
            rig.on(Input::Sent { attempt });
        }
        rig.on(Input::ClientGone { client });
        assert!(rig.out.contains(&Output::Cancel { attempt }));
        let row = &rig.rows[0];
        assert_eq!((row.outcome, row.last), (Outcome::Cancelled, true));
        assert_eq!((row.usage.estimated, row.cost.0 > 0), (sent, sent));
        rig.rests();
    }
}

/// A request may say so over its tenant.
#[test]
fn a_request_says_what_becomes_of_it() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = rig.ask_with(
        "/v1/chat/completions",
        ASK,
        &[("x-stokehold-on-disconnect", "cancel")],
    );
    let attempt = rig.call();
    rig.on(Input::ClientGone { client });
    assert!(rig.out.contains(&Output::Cancel { attempt }));
    rig.rests();
}

#[test]
fn a_slow_client_pauses_its_provider_and_the_silence_is_not_held_against_it() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let (client, attempt) = streaming(&mut rig);
    rig.on(Input::Congested { client });
    assert!(rig.out.contains(&Output::Pause { attempt }));
    // The slow client's limit is 5 s, the provider's 4 s.
    rig.later(Duration::from_millis(4_500));
    rig.on(Input::Eased { client });
    assert!(rig.out.contains(&Output::Resume { attempt }));
    rig.secs(3);
    rig.say(attempt, &format!("{STOP}{USAGE}{DONE}"));
    rig.end(attempt);
    assert_eq!(rig.rows[0].outcome, Outcome::Done);
    rig.rests();
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_its_answer_is_not() {
    for leaves in [false, true] {
        let mut rig = Rig::new(&one_provider("openai", POOL));
        let (client, attempt) = streaming(&mut rig);
        rig.on(Input::Congested { client });
        if leaves {
            rig.later(Duration::from_millis(4_900));
            rig.on(Input::ClientGone { client });
        } else {
            rig.secs(5);
            assert!(rig.out.contains(&Output::Abort { client }));
        }
        assert!(rig.out.contains(&Output::Resume { attempt }));
        rig.secs(3);
        rig.say(attempt, &format!("{STOP}{USAGE}{DONE}"));
        rig.end(attempt);
        assert_eq!(rig.rows[0].outcome, Outcome::Done, "left: {leaves}");
        rig.rests();
    }
}

/// Whoever drives us says it once, whether there is an attempt or not.
#[test]
fn congestion_from_before_an_answer_pauses_it_from_its_beginning() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = rig.chat(ASK_STREAM);
    let attempt = rig.call();
    rig.on(Input::Congested { client });
    rig.stream(attempt);
    assert!(rig.out.contains(&Output::Pause { attempt }));
    rig.on(Input::Eased { client });
    assert!(rig.out.contains(&Output::Resume { attempt }));
}

/// What is asked for and not done in this version is said.
#[test]
fn controls_without_effect_are_named_in_the_answer() {
    let yaml = one_provider("openai", POOL);
    let mut rig = Rig::new(&yaml.replace("tenants:", "spool: {enabled: false}\ntenants:"));
    let client = rig.ask_with(
        "/v1/chat/completions",
        ASK,
        &[
            ("idempotency-key", "k"),
            ("x-stokehold-session", "s"),
            ("x-stokehold-cache", "client"),
        ],
    );
    let call = rig.call();
    rig.answer(call);
    let (_, headers, _) = rig.told(client);
    assert_eq!(
        header(&headers, "x-stokehold-ignored"),
        Some("idempotency-key")
    );
    // What is heeded is not named.
    for mode in ["auto", "off"] {
        let client = rig.ask_with("/v1/chat/completions", ASK, &[("x-stokehold-cache", mode)]);
        let call = rig.call();
        rig.answer(call);
        let (_, headers, _) = rig.told(client);
        assert_eq!(header(&headers, "x-stokehold-ignored"), None, "{mode}");
    }
}

#[test]
fn odd_requests_are_refused_and_harm_nobody() {
    let long = format!(r#"{{"model":"{}","messages":[]}}"#, "x".repeat(1 << 20));
    for (body, status) in [
        ("", 400),
        ("[]", 400),
        (long.as_str(), 404),
        (r#"{"model":"m0"}"#, 400),
        (
            r#"{"model":"m0","messages":[],"max_completion_tokens":18446744073709551615}"#,
            0,
        ),
        (
            r#"{"model":"m0","messages":[],"max_completion_tokens":0,"n":128}"#,
            0,
        ),
    ] {
        let mut rig = Rig::new(&one_provider("openai", &pool_of("{tpm: 1000000}")));
        let client = rig.chat(body);
        if status == 0 {
            let call = rig.call();
            let huge = WHOLE
                .replace(":10,", ":18446744073709551615,")
                .replace(":2,", ":18446744073709551615,");
            rig.up(call, 200, &[("content-type", "application/json")]);
            rig.say(call, &huge);
            rig.end(call);
        } else {
            let (told, _, text) = rig.told(client);
            assert_eq!(told, status);
            assert!(text.len() < 1_000);
        }
        rig.rests();
    }
}

#[test]
fn a_node_that_drains_takes_nothing_new_and_finishes_what_runs() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let (_, call) = streaming(&mut rig);
    rig.on(Input::Drain);
    let client = rig.chat(ASK);
    assert_eq!(rig.told(client).0, 503);
    rig.say(call, &format!("{STOP}{USAGE}{DONE}"));
    rig.end(call);
    assert_eq!(rig.rows[0].outcome, Outcome::Done);
    rig.rests();
}
