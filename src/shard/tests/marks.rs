//! Marks and hints as they leave: what the router adds, to whom, and what it never touches.

use super::*;
use serde_json::Value;

const CLAUDE: &str = "price: {input: 5, output: 25, cache_read: 0.5, cache_write_5m: 6.25, cache_write_1h: 10}, \
     cache: {mode: breakpoints, min_tokens: 1_024, ttls: [5m, 1h], marks_max: 4}";
const GPT: &str = "price: {input: 5, output: 25, cache_read: 0.5, cache_write_30m: 6.25, cache_write_12h: 10}, \
     cache: {mode: both, min_tokens: 1_024, ttls: [30m, 12h], marks_max: 4}";
const PREFIX: &str =
    "price: {input: 5, output: 25, cache_read: 0.5}, cache: {mode: prefix, min_tokens: 1_024}";

/// One provider with these knobs, which serves `m0` under the name `theirs`; and what tenant `a` says of marks.
fn one(kind: &str, knobs: &str, price: &str, tenant: &str) -> String {
    format!(
        "server: {{listen: 127.0.0.1:8080, operator: 127.0.0.1:8081, shards: 1}}\n{LIMITS}\
         tenants:\n- {{id: a, {tenant} keys: [{{id: a1, secret: sk-a}}]}}\n- {{id: b, keys: [{{id: b1, secret: sk-b}}]}}\n\
         providers:\n- {{id: f0, kind: {kind}, base_url: http://f0.test, {knobs} pools: [{POOL}]}}\n\
         models:\n- {{id: m0, takes: [tools], endpoints: [{{provider: f0, name: theirs, {price}}}], {TIMEOUTS}}}\n"
    )
}

/// About 2,000 tokens.
fn long(what: &str) -> String {
    format!("{what} ").repeat(8_000 / (what.len() + 1))
}

/// An agent's request in Messages after so many results of its tool, as a client without marks sends it.
fn agent(who: &str, results: usize) -> String {
    let mut turns = format!(r#"{{"role":"user","content":"{}"}}"#, long(who));
    for n in 0..results {
        turns += &format!(
            r#",{{"role":"assistant","content":[{{"type":"tool_use","id":"t{n}","name":"go","input":{{"n":{n}}}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"t{n}","content":"{who} {n}"}}]}}"#
        );
    }
    format!(
        r#"{{"model":"m0","max_tokens":100,"tools":[{{"name":"go","input_schema":{{"type":"object"}}}}],"system":"{}","messages":[{turns}]}}"#,
        long("rules")
    )
}

fn chat(who: &str, more: &str) -> String {
    format!(
        r#"{{"model":"m0",{more}"messages":[{{"role":"system","content":"{}"}},{{"role":"user","content":"{}"}}]}}"#,
        long("rules"),
        long(who)
    )
}

impl Rig {
    /// The one call made since the last look: its headers and its body. It is answered with an error that is not tried again.
    fn left(&mut self) -> (Vec<(String, String)>, String) {
        let calls = self.calls();
        let [call] = &calls[..] else {
            panic!("{} calls", calls.len())
        };
        let headers = call.headers.iter();
        let headers = headers
            .map(|(n, v)| (n.to_string(), v.to_string()))
            .collect();
        let body = String::from_utf8(call.body.concat()).expect("UTF-8");
        self.on(Input::Sent {
            attempt: call.attempt,
        });
        self.refuse(
            call.attempt,
            400,
            &[],
            r#"{"error":{"message":"no","type":"invalid_request_error"}}"#,
        );
        (headers, body)
    }

    fn asks(
        &mut self,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> (Vec<(String, String)>, String) {
        self.ask_with(path, body, headers);
        let went = self.left();
        self.secs(1);
        went
    }

    fn body(&mut self, path: &str, body: &str, headers: &[(&str, &str)]) -> String {
        self.asks(path, body, headers).1
    }
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"))
}

const MESSAGES: &str = "/v1/messages";
const CHAT: &str = "/v1/chat/completions";
const MARK_HOUR: &str = r#","cache_control":{"type":"ephemeral","ttl":"1h"}"#;

#[test]
fn an_agents_requests_are_marked_where_they_end_and_where_they_ended() {
    let mut rig = Rig::new(&one("anthropic", "", CLAUDE, ""));
    let first = json(&rig.body(MESSAGES, &agent("task", 0), &[]));
    assert_eq!(
        first["messages"][0]["content"][0]["cache_control"]["type"],
        "ephemeral"
    );
    for results in 1..5 {
        let sent = rig.body(MESSAGES, &agent("task", results), &[]);
        // The new part is small, so it is kept for an hour, and what is before it with it.
        assert_eq!(sent.matches(MARK_HOUR).count(), 2, "{sent}");
        assert_eq!(sent.matches("cache_control").count(), 2, "{sent}");
        let turns = json(&sent)["messages"].clone();
        let marked = |turn: usize| turns[turn]["content"][0]["cache_control"].is_object();
        assert!(marked(2 * results) && marked(2 * results - 2), "{sent}");
        // Every other byte is the client's own, but for the model's name; the task, a text, had to become a list.
        let plain = sent.replace(MARK_HOUR, "").replace("theirs", "m0");
        if results > 1 {
            assert_eq!(plain, agent("task", results), "{sent}");
        }
    }
}

#[test]
fn instructions_that_several_conversations_share_are_marked_and_single_questions_pay_nothing() {
    let mut rig = Rig::new(&one("anthropic", "", CLAUDE, ""));
    let ask = |who: &str| {
        format!(
            r#"{{"model":"m0","max_tokens":9,"system":[{{"type":"text","text":"{}"}}],"messages":[{{"role":"user","content":"{}"}}]}}"#,
            long("rules"),
            long(who)
        )
    };
    let marks = |rig: &mut Rig, who: &str| {
        let sent = json(&rig.body(MESSAGES, &ask(who), &[]));
        let system = sent["system"][0]["cache_control"].is_object();
        (system, sent["messages"][0]["content"].is_array())
    };
    assert_eq!(marks(&mut rig, "one"), (false, false));
    assert_eq!(marks(&mut rig, "two"), (true, false));
    assert_eq!(marks(&mut rig, "three"), (true, false));
    // Another tenant has not seen them.
    let of_b = [("authorization", "Bearer sk-b")];
    let sent = rig.body(MESSAGES, &ask("one"), &of_b);
    assert!(!sent.contains("cache_control"), "{sent}");
}

#[test]
fn who_marks_is_said_by_the_request_else_by_its_tenant() {
    let marked = agent("task", 2).replace(
        r#""content":"task 1"}]"#,
        r#""content":"task 1","cache_control":{"type":"ephemeral","ttl":"1h"}}]"#,
    );
    for (tenant, header, counts) in [
        ("", None, (3, 1)),
        ("", Some("client"), (0, 1)),
        ("", Some("off"), (0, 0)),
        ("cache_marks: client,", None, (0, 1)),
        ("cache_marks: off,", None, (0, 0)),
        ("cache_marks: off,", Some("auto"), (3, 1)),
    ] {
        let mut rig = Rig::new(&one("anthropic", "", CLAUDE, tenant));
        let header: Vec<_> = header
            .map(|h| ("x-stokehold-cache", h))
            .into_iter()
            .collect();
        let count = |sent: String| sent.matches("cache_control").count();
        let plain = count(rig.body(MESSAGES, &agent("task", 2), &header));
        let own = rig.body(MESSAGES, &marked, &header);
        assert_eq!(
            (plain, count(own.clone())),
            counts,
            "{tenant} {header:?}: {own}"
        );
        if counts.1 > 0 {
            assert!(
                own.contains(r#""cache_control":{"type":"ephemeral","ttl":"1h"}"#),
                "{own}"
            );
        }
        if header == [("x-stokehold-cache", "client")] {
            assert_eq!(
                own.replace("theirs", "m0"),
                marked,
                "bytes pass as they are"
            );
        }
    }
}

/// The client's own mark at the end for an hour: what is before it may not be for less.
#[test]
fn marks_beside_the_clients_own_are_no_400() {
    let mut rig = Rig::new(&one("anthropic", "", CLAUDE, ""));
    let own = r#","cache_control":{"type":"ephemeral","ttl":"1h"}"#;
    for results in 0..4 {
        let body = agent("task", results);
        let end = body
            .rfind("\"}]}")
            .or_else(|| body.rfind("\"}]}"))
            .unwrap_or(0)
            + 1;
        let body = match results {
            0 => body,
            _ => format!("{}{own}{}", &body[..end], &body[end..]),
        };
        let sent = rig.body(MESSAGES, &body, &[]);
        assert!(sent.matches("cache_control").count() <= 4);
        let at: Vec<_> = sent.match_indices(r#""ttl":"1h""#).collect();
        assert!(at.len() >= results.min(1), "{sent}");
        if results > 0 {
            assert_eq!(
                sent.matches("cache_control").count(),
                at.len(),
                "all for an hour: {sent}"
            );
        }
    }
}

#[test]
fn a_request_that_is_translated_is_marked_in_its_providers_words() {
    // Messages to Converse.
    let bedrock = one("bedrock", "region: us-east-1, ", CLAUDE, "");
    let chat = |who: &str, results: usize| {
        let mut turns = format!(r#"{{"role":"user","content":"{}"}}"#, long(who));
        for n in 0..results {
            turns += &format!(
                r#",{{"role":"assistant","content":null,"tool_calls":[{{"id":"t{n}","type":"function","function":{{"name":"go","arguments":"{{}}"}}}}]}},{{"role":"tool","tool_call_id":"t{n}","content":"{n}"}}"#
            );
        }
        format!(
            r#"{{"model":"m0","tools":[{{"type":"function","function":{{"name":"go","parameters":{{"type":"object"}}}}}}],"messages":[{turns}]}}"#
        )
    };
    for (config, point) in [
        (bedrock, r#"{"cachePoint":{"type":"default""#),
        (
            one("anthropic", "", CLAUDE, ""),
            r#""cache_control":{"type":"ephemeral""#,
        ),
    ] {
        let mut rig = Rig::new(&config);
        let (_, first) = rig.asks(CHAT, &chat("task", 0), &[]);
        assert_eq!(first.matches(point).count(), 1, "{first}");
        let (_, second) = rig.asks(CHAT, &chat("task", 1), &[]);
        assert_eq!(second.matches(point).count(), 2, "{second}");
        json(&second);
        let (_, off) = rig.asks(CHAT, &chat("task", 1), &[("x-stokehold-cache", "off")]);
        assert!(!off.contains(point), "{off}");
    }
}

/// OpenAI docs, prompt caching, read 2026-09: the end is marked by itself; a shared head needs a breakpoint, and one-shot prompts none at all.
#[test]
fn from_gpt_5_6_on_shared_heads_get_a_breakpoint_and_off_is_said() {
    let mut rig = Rig::new(&one("openai", "", GPT, ""));
    let point = r#""prompt_cache_breakpoint":{"mode":"explicit"}"#;
    assert!(!rig.body(CHAT, &chat("one", ""), &[]).contains(point));
    let second = rig.body(CHAT, &chat("two", ""), &[]);
    assert!(second.contains(point), "{second}");
    let sent = json(&second);
    let part = &sent["messages"][0]["content"][0];
    assert_eq!(part["prompt_cache_breakpoint"]["mode"], "explicit");
    assert_eq!(part["type"], "text");
    let off = rig.body(CHAT, &chat("three", ""), &[("x-stokehold-cache", "off")]);
    let sent = json(&off);
    assert_eq!(sent["prompt_cache_options"]["mode"], "explicit");
    assert!(!off.contains(point));
    let own = r#""prompt_cache_options":{"mode":"implicit"},"#;
    let off = rig.body(CHAT, &chat("three", own), &[("x-stokehold-cache", "off")]);
    assert_eq!(
        off.matches("prompt_cache_options").count(),
        1,
        "the client's own: {off}"
    );
}

/// FIELD-BUGS 20.
#[test]
fn each_provider_is_told_what_belongs_together_in_its_own_way() {
    let header = |headers: &[(String, String)], name: &str| {
        let found = headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.clone())
    };
    for (kind, knobs, name, in_body) in [
        ("xai", "", "x-grok-conv-id", false),
        ("fireworks", "", "x-session-affinity", true),
        ("openrouter", "", "x-session-id", false),
        ("selfhosted", "", "x-smg-routing-key", false),
        ("openai", "cache_hints: true,", "", true),
    ] {
        let mut rig = Rig::new(&one(kind, knobs, PREFIX, ""));
        let (first, body) = rig.asks(CHAT, &chat("one", ""), &[]);
        let (again, same) = rig.asks(CHAT, &chat("one", ""), &[]);
        let (other, _) = rig.asks(CHAT, &chat("two", ""), &[]);
        let of_b = [("authorization", "Bearer sk-b")];
        let (b, of_b) = rig.asks(CHAT, &chat("one", ""), &of_b);
        let key = |body: &str| json(body)["prompt_cache_key"].as_str().map(str::to_owned);
        assert_eq!(key(&body).is_some(), in_body, "{kind}: {body}");
        assert_eq!(key(&body), key(&same), "{kind}");
        if in_body {
            assert_ne!(key(&body), key(&of_b), "{kind}: another tenant");
            assert_eq!(key(&body).map(|k| k.len()), Some(32));
        }
        if !name.is_empty() {
            let id = header(&first, name).expect("a header");
            assert_eq!(Some(id.clone()), header(&again, name), "{kind}");
            assert_ne!(
                Some(id.clone()),
                header(&other, name),
                "{kind}: another conversation"
            );
            assert_ne!(Some(id), header(&b, name), "{kind}: another tenant");
        }
    }
    // What goes on from a kept answer would not show how it began, and have another key.
    let mut rig = Rig::new(&one("openai", "cache_hints: true,", PREFIX, ""));
    let ask = |more: &str| {
        format!(
            r#"{{"model":"m0",{more}"input":[{{"role":"user","content":"{}"}}]}}"#,
            long("one")
        )
    };
    let kept = rig.body("/v1/responses", &ask(""), &[]);
    assert!(!kept.contains("prompt_cache_key"), "{kept}");
    let unkept = rig.body("/v1/responses", &ask(r#""store":false,"#), &[]);
    assert!(unkept.contains("prompt_cache_key"), "{unkept}");
    // Hosts in OpenAI's style may refuse a field that they do not know.
    let mut rig = Rig::new(&one("openai", "", PREFIX, ""));
    assert!(
        !rig.body(CHAT, &chat("one", ""), &[])
            .contains("prompt_cache_key")
    );
}

#[test]
fn the_clients_own_hints_stay_and_nothing_is_hinted_where_it_wants_no_help() {
    let key = r#""prompt_cache_key":"mine","#;
    for kind in ["openai", "fireworks", "xai", "openrouter"] {
        let knobs = ["", "cache_hints: true,"][usize::from(kind == "openai")];
        let mut rig = Rig::new(&one(kind, knobs, PREFIX, ""));
        let (_, sent) = rig.asks(CHAT, &chat("one", key), &[]);
        assert_eq!(sent.matches("prompt_cache_key").count(), 1, "{sent}");
        assert_eq!(json(&sent)["prompt_cache_key"], "mine");
        for mode in ["client", "off"] {
            let (headers, sent) = rig.asks(CHAT, &chat("one", ""), &[("x-stokehold-cache", mode)]);
            assert!(!sent.contains("prompt_cache_key"), "{sent}");
            let ours = headers
                .iter()
                .filter(|(n, _)| n.contains("session") || n.contains("conv"));
            assert_eq!(ours.count(), 0, "{kind} {mode}");
        }
    }
    let mut rig = Rig::new(&one("xai", "", PREFIX, ""));
    for mode in ["auto", "client"] {
        let own = [("x-grok-conv-id", "mine"), ("x-stokehold-cache", mode)];
        let (headers, _) = rig.asks(CHAT, &chat("one", ""), &own);
        assert!(
            headers.contains(&("x-grok-conv-id".into(), "mine".into())),
            "{headers:?}"
        );
    }
    // Named by the client, other openings are the same conversation; told to a provider under a hash.
    let said = |rig: &mut Rig, who: &str| {
        let (headers, _) = rig.asks(CHAT, &chat(who, ""), &[("x-stokehold-session", "s1")]);
        let found = headers.into_iter().find(|(n, _)| n == "x-grok-conv-id");
        found.expect("a header").1
    };
    let (one, two) = (said(&mut rig, "one"), said(&mut rig, "two"));
    assert_eq!(one, two);
    assert!(!one.contains("s1") && one.len() == 32, "{one}");
}

/// What is expected of a cache counts the marks that were added: the second request finds what the first wrote.
#[test]
fn a_conversation_that_is_marked_for_its_client_is_expected_where_it_is_warm() {
    let mut rig = Rig::new(&one("anthropic", "", CLAUDE, ""));
    let whole = |read: u64, written: u64| {
        format!(
            r#"{{"id":"msg_1","type":"message","role":"assistant","model":"m0","content":[{{"type":"text","text":"hi"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":3,"cache_read_input_tokens":{read},"cache_creation_input_tokens":{written},"output_tokens":9}}}}"#
        )
    };
    let mut expected = Vec::new();
    for (results, billed) in [(0, (0, 4_000)), (1, (4_000, 40)), (2, (4_040, 40))] {
        let client = rig.ask_with(MESSAGES, &agent("task", results), &[]);
        let call = rig.call();
        rig.up(call, 200, &[("content-type", "application/json")]);
        rig.say(call, &whole(billed.0, billed.1));
        rig.end(call);
        let (status, headers, _) = rig.told(client);
        assert_eq!(status, 200);
        let tokens = header(&headers, "x-stokehold-cached-tokens-expected");
        expected.push(tokens.map_or(0, |n| n.parse::<u64>().expect("a count")));
        rig.secs(5);
    }
    assert_eq!(expected[0], 0);
    assert!(
        expected[1] > 3_500 && expected[2] >= expected[1],
        "{expected:?}"
    );
    rig.rests();
}

/// An organisation's policy may forbid caches at Google Cloud, and refuses requests that are marked (`providers/vertex.md` 7).
#[test]
fn a_provider_that_refuses_what_was_added_is_asked_without_and_left_alone_for_a_while() {
    let mut rig = Rig::new(&one("anthropic", "", CLAUDE, ""));
    let no = r#"{"type":"error","error":{"type":"invalid_request_error","message":"Cache control is disabled"}}"#;
    let ask = |rig: &mut Rig| rig.ask_with(MESSAGES, &agent("task", 1), &[]);
    let sent = |rig: &mut Rig| {
        let call = rig.calls().pop().expect("a call");
        rig.on(Input::Sent {
            attempt: call.attempt,
        });
        let marks = String::from_utf8_lossy(&call.body.concat())
            .matches("cache_control")
            .count();
        (call.attempt, marks)
    };
    let client = ask(&mut rig);
    let (call, marks) = sent(&mut rig);
    assert!(marks > 0);
    rig.refuse(call, 400, &[("content-type", "application/json")], no);
    rig.later(Duration::from_millis(1));
    let (call, marks) = sent(&mut rig);
    assert_eq!(marks, 0);
    rig.up(call, 200, &[("content-type", "application/json")]);
    rig.say(call, r#"{"id":"msg_1","type":"message","role":"assistant","model":"m0","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":9}}"#);
    rig.end(call);
    assert_eq!(rig.told(client).0, 200);
    // The next one is not marked at all; an hour later it is tried again.
    let again = |rig: &mut Rig| {
        ask(rig);
        let (call, marks) = sent(rig);
        rig.refuse(call, 400, &[], r#"{"error":{"message":"no"}}"#);
        marks
    };
    assert_eq!(again(&mut rig), 0);
    rig.secs(3_700);
    assert!(again(&mut rig) > 0);
    rig.rests();
    // What the client marked itself is its own mistake.
    let mut rig = Rig::new(&one("anthropic", "", CLAUDE, "cache_marks: client,"));
    let client = ask(&mut rig);
    let (call, _) = sent(&mut rig);
    rig.refuse(call, 400, &[("content-type", "application/json")], no);
    assert_eq!(rig.told(client).0, 400);
    rig.rests();
}

/// Written anew for another endpoint of the same API, whose name of the model has another length: marks stand behind the same blocks.
#[test]
fn marks_find_their_places_in_a_body_that_is_written_for_another_endpoint() {
    let second = CLAUDE.replace("ttls: [5m, 1h]", "ttls: [5m]");
    let config = one("anthropic", "", CLAUDE, "").replace(
        "models:\n",
        "- {id: f1, kind: anthropic, base_url: http://f1.test, pools: [{id: p1, keys: [{id: k1, secret: sk-1-end}]}]}\nmodels:\n",
    );
    let config = config.replace(
        "}], timeouts",
        &format!("}}, {{provider: f1, name: a-much-longer-name-than-theirs, {second}}}], timeouts"),
    );
    let mut rig = Rig::new(&config);
    let ask = |n: usize| {
        let mut turns = format!(r#"{{"role":"user","content":"{}"}}"#, long("task"));
        for n in 0..n {
            turns += &format!(
                r#",{{"role":"assistant","content":null,"tool_calls":[{{"id":"t{n}","type":"function","function":{{"name":"go","arguments":"{{}}"}}}}]}},{{"role":"tool","tool_call_id":"t{n}","content":"{n}"}}"#
            );
        }
        format!(
            r#"{{"model":"m0","tools":[{{"type":"function","function":{{"name":"go","parameters":{{"type":"object"}}}}}}],"messages":[{turns}]}}"#
        )
    };
    for results in 0..3 {
        rig.ask_with(CHAT, &ask(results), &[]);
        let mut bodies = Vec::new();
        for _ in 0..2 {
            let call = rig.calls().pop().expect("a call");
            rig.on(Input::Sent {
                attempt: call.attempt,
            });
            bodies.push(json(&String::from_utf8_lossy(&call.body.concat())));
            rig.refuse(
                call.attempt,
                529,
                &[],
                r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#,
            );
        }
        let marked = |body: &Value| -> Vec<(usize, Value)> {
            let turns = body["messages"]
                .as_array()
                .expect("turns")
                .iter()
                .enumerate();
            let marks = turns.map(|(at, turn)| (at, turn["content"][0]["cache_control"].clone()));
            marks.filter(|(_, mark)| mark.is_object()).collect()
        };
        let names: Vec<_> = bodies.iter().map(|b| b["model"].clone()).collect();
        assert_ne!(names[0], names[1]);
        let places = |body: &Value| {
            marked(body)
                .into_iter()
                .map(|(at, _)| at)
                .collect::<Vec<_>>()
        };
        assert_eq!(places(&bodies[0]), places(&bodies[1]));
        assert_eq!(places(&bodies[0]).len(), 1 + results.min(1));
        // The second knows no hour.
        let short = bodies
            .iter()
            .find(|b| b["model"] != "theirs")
            .expect("the second");
        assert!(
            marked(short).iter().all(|(_, mark)| mark["ttl"].is_null()),
            "{short}"
        );
        rig.take();
        rig.secs(120);
    }
}
