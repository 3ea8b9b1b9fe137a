//! Limits, what providers say of them, and breakers.

use super::*;

/// FIELD-BUGS 26: waits and is served, though no limit was configured.
#[test]
fn a_limit_with_a_time_is_waited_out_and_tried_again() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = rig.chat(ASK);
    let call = rig.call();
    rig.refuse(call, 429, &[("retry-after", "15")], TOO_MANY);
    rig.secs(14);
    assert!(rig.calls().is_empty(), "never sooner than asked");
    rig.secs(3);
    let call = rig.call();
    rig.answer(call);
    assert_eq!(rig.told(client).0, 200);
    rig.rests();
}

/// A provider's word holds also where it is longer than the queue's time, if the client has that long.
#[test]
fn a_wait_over_the_queues_time_is_not_waited_in_vain() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = rig.chat(ASK);
    let call = rig.call();
    rig.refuse(call, 429, &[("retry-after", "30")], TOO_MANY);
    if rig.shard.standing().exchanges > 0 {
        while !rig.out.iter().any(|o| matches!(o, Output::Call(_))) {
            rig.secs(1);
        }
        let call = rig.call();
        rig.answer(call);
    }
    let (status, headers, _) = rig.told(client);
    assert!(
        status == 200 || header(&headers, "retry-after") == Some("30"),
        "{status} {headers:?}"
    );
    rig.rests();
}

/// FIELD-BUGS 24.
#[test]
fn all_pools_limited_is_told_with_the_earliest_time() {
    let mut rig = Rig::new(&two_providers(POOL, POOL_1));
    let client = rig.chat(ASK);
    let call = rig.call();
    rig.refuse(call, 429, &[("retry-after", "400")], TOO_MANY);
    let call = rig.call();
    rig.refuse(call, 429, &[("retry-after", "900")], TOO_MANY);
    let (status, headers, _) = rig.told(client);
    assert_eq!(status, 429);
    assert_eq!(header(&headers, "retry-after"), Some("400"));
    // Who comes later is told the time that is left.
    rig.secs(100);
    let client = rig.chat(ASK);
    let (status, headers, _) = rig.told(client);
    assert_eq!(status, 429);
    assert_eq!(header(&headers, "retry-after"), Some("300"));
    rig.rests();
}

/// FIELD-BUGS 25 and 30, with and without configured limits.
#[test]
fn a_limit_of_one_model_closes_that_model_only() {
    for limits in [
        "",
        "{rpm: 1000}",
        "{rpm: 1000}, {models: [\"m0\"], rpm: 100}",
    ] {
        let mut rig = Rig::new(&one_provider("openai", &pool_of(limits)));
        rig.chat(ASK);
        let call = rig.call();
        rig.refuse(call, 429, &[("retry-after", "400")], TOO_MANY);
        rig.take();
        rig.chat(ASK);
        assert!(rig.calls().is_empty(), "closed: {limits}");
        rig.chat(&ASK.replace("m0", "m1"));
        let called = rig.out.iter().any(|o| matches!(o, Output::Call(_)));
        assert!(called, "{limits}: {:?}", rig.out);
        let other = rig.call();
        rig.answer(other);
        rig.secs(1_000);
        rig.rests();
    }
}

#[test]
fn a_probe_whose_client_cancels_lets_the_next_one_probe() {
    let yaml = one_provider("openai", POOL)
        + "routing: {breaker_failures: 1, breaker_open: 15s, attempts_max: 1}\n";
    let mut rig = Rig::new(&yaml);
    rig.chat(ASK);
    let call = rig.call();
    rig.refuse(call, 500, &[], "");
    rig.secs(16);
    let probe = rig.of_b(ASK);
    rig.call();
    rig.on(Input::ClientGone { client: probe });
    rig.take();
    rig.chat(ASK);
    let call = rig.call();
    rig.answer(call);
    rig.rests();
}

/// That our own connections are all in use is not the provider's failure.
#[test]
fn a_full_connection_pool_opens_no_breaker() {
    let yaml = one_provider("openai", POOL)
        + "routing: {breaker_failures: 1, breaker_open: 15s, attempts_max: 1}\n";
    let mut rig = Rig::new(&yaml);
    rig.chat(ASK);
    let call = rig.calls()[0].attempt;
    rig.on(Input::UpstreamFailed {
        attempt: call,
        why: UpstreamFault::Full,
    });
    rig.take();
    rig.chat(ASK);
    let call = rig.call();
    rig.answer(call);
    rig.rests();
}

#[test]
fn a_provider_that_asks_not_to_be_tried_again_is_not() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = rig.chat(ASK);
    let call = rig.call();
    rig.refuse(call, 500, &[("x-should-retry", "false")], "");
    assert_eq!(rig.told(client).0, 502);
    rig.rests();
}

/// The same place is not hammered because another, which has no room, was named as a way out.
#[test]
fn others_without_room_are_no_way_out() {
    let full = "{id: p1, keys: [{id: k1, secret: sk-1-end}], limits: [{concurrent: 1}]}";
    let mut rig = Rig::new(&two_providers(POOL, full));
    rig.ask_with(
        "/v1/chat/completions",
        ASK,
        &[("x-stokehold-providers", "allow=f1")],
    );
    let holds = rig.call();
    rig.chat(ASK);
    let call = rig.call();
    rig.refuse(call, 503, &[], "");
    assert!(rig.calls().is_empty(), "a back-off comes first");
    rig.later(Duration::from_millis(400));
    let call = rig.call();
    rig.answer(call);
    rig.answer(holds);
    rig.rests();
}

#[test]
fn the_clients_deadline_ends_a_running_attempt_and_blames_nobody() {
    let yaml = two_providers(POOL, POOL_1) + "routing: {breaker_failures: 1}\n";
    let mut rig = Rig::new(&yaml);
    let client = rig.ask_with(
        "/v1/chat/completions",
        ASK,
        &[("x-stokehold-deadline", "1s")],
    );
    let call = rig.call();
    rig.secs(2);
    assert!(rig.out.contains(&Output::Cancel { attempt: call }));
    assert_eq!(rig.told(client).0, 504);
    rig.chat(ASK);
    let call = rig.calls().remove(0);
    assert_eq!(call.origin.0, 0, "the cheapest is still trusted");
}

/// FIELD-BUGS 23: OpenAI may take 60 a minute for one a second.
#[test]
fn sixty_a_minute_go_out_one_a_second() {
    let mut rig = Rig::new(&one_provider("openai", &pool_of("{rpm: 60}")));
    rig.chat(ASK);
    rig.chat(ASK);
    let first = rig.call();
    rig.answer(first);
    // 2 % are left alone.
    rig.later(Duration::from_millis(900));
    assert!(!rig.out.iter().any(|o| matches!(o, Output::Call(_))));
    rig.later(Duration::from_millis(200));
    let second = rig.call();
    rig.answer(second);
    rig.rests();
    let mut rig = Rig::new(&one_provider("openai", &pool_of("{rpm: 60, burst: 3s}")));
    let sent: usize = (0..5)
        .map(|_| {
            rig.chat(ASK);
            rig.calls().len()
        })
        .sum();
    assert_eq!(sent, 3, "as much at once as the file says");
}

/// OpenAI holds the larger of prompt and max_tokens, and a short answer gives nothing back.
#[test]
fn what_a_provider_holds_is_held_here() {
    let ask = ASK.replace("{\"model\"", "{\"max_completion_tokens\":600,\"model\"");
    for (kind, rule, sent) in [
        ("openai", "", 1),
        (
            "openai",
            "limit_rules: [{kind: openai, settles: used, guard: 0}]\n",
            2,
        ),
    ] {
        let mut rig = Rig::new(&(one_provider(kind, &pool_of("{tpm: 1000}")) + rule));
        let mut got = 0;
        for _ in 0..2 {
            rig.chat(&ask);
            for call in rig.calls() {
                got += 1;
                rig.answer(call.attempt);
            }
        }
        assert_eq!(got, sent, "{rule}");
    }
}

#[test]
fn a_days_requests_are_not_sent_twice_a_day() {
    let mut rig = Rig::new(&one_provider("openrouter", &pool_of("{rpd: 2}")));
    for _ in 0..2 {
        rig.chat(ASK);
        let call = rig.call();
        rig.answer(call);
        rig.take();
    }
    rig.chat(ASK);
    assert!(rig.calls().is_empty());
    rig.secs(86_400);
    rig.chat(ASK);
    let call = rig.call();
    rig.answer(call);
    rig.rests();
}

/// An entry without numbers is what the headers say.
#[test]
fn a_limit_that_nobody_configured_is_learned_from_headers() {
    let mut rig = Rig::new(&one_provider("openai", &pool_of("{models: [\"m0\"]}")));
    rig.chat(ASK);
    let call = rig.call();
    rig.up(
        call,
        200,
        &[
            ("content-type", "application/json"),
            ("x-ratelimit-limit-requests", "120"),
            ("x-ratelimit-remaining-requests", "119"),
        ],
    );
    rig.say(call, WHOLE);
    rig.end(call);
    rig.take();
    let sent: usize = (0..5)
        .map(|_| {
            rig.chat(ASK);
            rig.calls().len()
        })
        .sum();
    assert_eq!(sent, 2, "two a second");
}

/// Where a provider counts output as it is produced, so do we; and the end says how much it truly was.
#[test]
fn output_counts_as_it_is_produced_and_is_settled_once() {
    let yaml = one_provider("fireworks", &pool_of("{otpm: 350}"));
    let mut rig = Rig::new(&yaml);
    let long = FIRST.replace("\"hi\"", &format!("\"{}\"", "word ".repeat(300)));
    let first = rig.chat(ASK_STREAM);
    let call = rig.call();
    rig.stream(call);
    rig.say(call, &long);
    // A little more than all, by estimate.
    rig.chat(ASK);
    assert!(
        rig.calls().is_empty(),
        "the answer that runs has used it up"
    );
    for text in [STOP, USAGE, DONE] {
        rig.say(call, text);
    }
    rig.end(call);
    let out = rig.take();
    let calls = out.iter().filter(|o| matches!(o, Output::Call(_)));
    assert_eq!(calls.count(), 1, "two tokens it was in the end");
    assert!(
        out.iter()
            .any(|o| matches!(o, Output::End { client } if *client == first))
    );
}
