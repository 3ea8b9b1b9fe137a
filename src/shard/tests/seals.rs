//! What only its maker can read: it comes back to its maker, or is left behind where nobody there can be asked (FIELD-BUGS 48 and 49).

use super::decide::two_pools;
use super::*;
use serde_json::{Value, json};

/// Two organisations of OpenAI's, the first the cheaper, which speak Responses.
fn organisations(routing: &str) -> String {
    format!("{routing}{}", two_providers(POOL, POOL_1))
}

/// One organisation of OpenAI's and one of xAI's, which is the cheaper.
fn grok_and_gpt() -> String {
    two_providers(POOL, POOL_1).replacen("kind: openai", "kind: xai", 1)
}

const RESPONSES: &str = "/v1/responses";

fn thought(words: &str) -> Value {
    json!({"type": "reasoning", "id": format!("rs_{words}"), "summary": [], "encrypted_content": words})
}

/// A request that carries these thoughts, each behind what the user said.
fn ask_of(thoughts: &[&str]) -> String {
    let turn = |words: &&str| {
        [
            json!({"role": "user", "content": "go on"}),
            thought(words),
            json!({"role": "assistant", "content": "done"}),
        ]
    };
    let mut input: Vec<Value> = thoughts.iter().flat_map(turn).collect();
    input.push(json!({"role": "user", "content": "hello"}));
    json!({"model": "m0", "store": false, "input": input}).to_string()
}

fn answer_of(words: &str) -> String {
    json!({"id": "r1", "object": "response", "created_at": 1, "status": "completed", "model": "m0",
        "output": [thought(words), {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "hi", "annotations": []}]}],
        "usage": {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}})
    .to_string()
}

/// A call, and which of the two providers it went to.
struct Called {
    attempt: AttemptId,
    origin: u16,
    body: Value,
}

const NOT_OURS: &str = r#"{"error":{"message":"The encrypted content gAAA could not be verified.","type":"invalid_request_error","code":"invalid_encrypted_content"}}"#;

impl Rig {
    #[track_caller]
    fn one_call(&mut self) -> Called {
        let calls = self.calls();
        let [call] = &calls[..] else {
            panic!("{calls:?}")
        };
        let attempt = call.attempt;
        self.on(Input::Sent { attempt });
        Called {
            attempt,
            origin: call.origin.0,
            body: serde_json::from_slice(&call.body.concat()).unwrap_or_default(),
        }
    }

    fn responses(&mut self, body: &str, headers: &[(&str, &str)]) -> (ClientId, Called) {
        let client = self.ask_with(RESPONSES, body, headers);
        (client, self.one_call())
    }

    /// A conversation begins at `provider`, and is told a thought of these words.
    fn thinks_at(&mut self, provider: &str, words: &str) {
        let order = format!("allow={provider}");
        let (_, call) = self.responses(&ask_of(&[]), &[("x-stokehold-providers", &order)]);
        assert_eq!(format!("f{}", call.origin), provider);
        self.answer_with(call.attempt, &answer_of(words));
        self.secs(1);
    }

    /// Answers, and says what the client was told was left out.
    #[track_caller]
    fn dropped(&mut self, client: ClientId, call: &Called) -> Option<String> {
        self.answer_with(call.attempt, &answer_of("gAAAAnext"));
        let (status, headers, body) = self.told(client);
        assert_eq!(status, 200, "{body}");
        header(&headers, "x-stokehold-dropped").map(str::to_owned)
    }
}

#[test]
fn a_thought_comes_back_to_its_organisation_though_another_costs_less() {
    let mut rig = Rig::new(&organisations(""));
    rig.thinks_at("f1", "gAAAAone");
    let body = ask_of(&["gAAAAone"]);
    let (client, call) = rig.responses(&body, &[]);
    assert_eq!(call.origin, 1);
    let asked: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(call.body, asked, "as it is");
    assert_eq!(rig.dropped(client, &call), None);
    // What carries none goes where it costs least, also of the same tenant.
    let (client, call) = rig.responses(&ask_of(&[]), &[]);
    assert_eq!(call.origin, 0);
    assert_eq!(rig.dropped(client, &call), None);
    rig.rests();
}

/// FIELD-BUGS 18: a limit does not move a conversation.
#[test]
fn a_limit_is_waited_out_at_the_maker() {
    let mut rig = Rig::new(&organisations(""));
    rig.thinks_at("f1", "gAAAAone");
    let (client, call) = rig.responses(&ask_of(&["gAAAAone"]), &[]);
    rig.refuse(call.attempt, 429, &[("retry-after", "3")], TOO_MANY);
    assert!(rig.calls().is_empty(), "the other has room, and is no help");
    rig.secs(4);
    let call = rig.one_call();
    assert_eq!(call.origin, 1);
    assert_eq!(rig.dropped(client, &call), None);
    rig.rests();
}

/// FIELD-BUGS 18 and 48: a key that is dead, money that is spent and a limit that nobody waits for move it, once and openly; and it returns.
#[test]
fn where_the_maker_cannot_be_asked_the_rest_of_the_conversation_goes_on() {
    let quota = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    for (status, headers, said) in [
        (401, &[][..], "{}"),
        (429, &[], quota),
        (429, &[("retry-after", "3600")], TOO_MANY),
    ] {
        let mut rig = Rig::new(&organisations(""));
        rig.thinks_at("f1", "gAAAAone");
        let body = ask_of(&["gAAAAone"]);
        let (client, call) = rig.responses(&body, &[]);
        rig.refuse(call.attempt, status, headers, said);
        let call = rig.one_call();
        assert_eq!(call.origin, 0, "{status}");
        let mut without: Value = serde_json::from_str(&body).expect("JSON");
        without["input"].as_array_mut().expect("items").remove(1);
        assert_eq!(call.body, without, "exactly the thought is gone");
        assert_eq!(rig.dropped(client, &call).as_deref(), Some("thinking"));
        // While it is so, the next goes there at once.
        let (client, call) = rig.responses(&body, &[]);
        assert_eq!(call.origin, 0, "{status}");
        assert_eq!(rig.dropped(client, &call).as_deref(), Some("thinking"));
        // Its history still has the thought: when the maker is back, so is the conversation.
        rig.secs(3 * 3_600);
        let (client, call) = rig.responses(&body, &[]);
        assert_eq!(call.origin, 1, "{status}");
        assert_eq!(rig.dropped(client, &call), None);
        rig.rests();
    }
}

#[test]
fn a_maker_that_fails_is_left_before_the_last_attempt() {
    let mut rig = Rig::new(&organisations("routing: {attempts_max: 3}\n"));
    rig.thinks_at("f1", "gAAAAone");
    let (client, call) = rig.responses(&ask_of(&["gAAAAone"]), &[]);
    rig.refuse(call.attempt, 503, &[], "{}");
    rig.secs(2);
    let call = rig.one_call();
    assert_eq!(call.origin, 1, "once more");
    rig.refuse(call.attempt, 503, &[], "{}");
    let call = rig.one_call();
    assert_eq!(call.origin, 0);
    assert_eq!(rig.dropped(client, &call).as_deref(), Some("thinking"));
    rig.rests();
}

#[test]
fn a_client_that_forbids_it_is_told_instead() {
    let never = [("x-stokehold-rebind", "never")];
    let mut rig = Rig::new(&organisations(""));
    rig.thinks_at("f1", "gAAAAone");
    let (client, call) = rig.responses(&ask_of(&["gAAAAone"]), &never);
    assert_eq!(call.origin, 1);
    rig.refuse(call.attempt, 401, &[], "{}");
    let (status, _, body) = rig.told(client);
    assert_eq!(status, 503, "{body}");
    assert!(rig.calls().is_empty());
    // Where nobody ever could, it is the request that is wrong.
    let only = [
        ("x-stokehold-rebind", "never"),
        ("x-stokehold-providers", "allow=f0"),
    ];
    let mut rig = Rig::new(&organisations(""));
    rig.thinks_at("f1", "gAAAAone");
    let client = rig.ask_with(RESPONSES, &ask_of(&["gAAAAone"]), &only);
    let (status, _, body) = rig.told(client);
    assert_eq!(status, 400, "{body}");
    assert!(rig.calls().is_empty());
    rig.rests();
}

/// The newest binds: what is older and of somebody else is left behind there.
#[test]
fn a_conversation_that_moved_is_bound_where_it_is_now() {
    let mut rig = Rig::new(&organisations(""));
    rig.thinks_at("f0", "gAAAAone");
    rig.thinks_at("f1", "gAAAAtwo");
    let (client, call) = rig.responses(&ask_of(&["gAAAAone", "gAAAAtwo"]), &[]);
    assert_eq!(call.origin, 1);
    let held = call.body.to_string();
    assert!(
        !held.contains("gAAAAone") && held.contains("gAAAAtwo"),
        "{held}"
    );
    assert_eq!(rig.dropped(client, &call).as_deref(), Some("thinking"));
}

/// After a restart, or from another node: it is shown, and left out once it is refused.
#[test]
fn what_nobody_remembers_is_shown_and_left_out_once_it_is_refused() {
    let mut rig = Rig::new(&organisations(""));
    let (client, call) = rig.responses(&ask_of(&["gAAAAold"]), &[]);
    assert_eq!(call.origin, 0);
    assert!(call.body.to_string().contains("gAAAAold"));
    rig.refuse(call.attempt, 400, &[], NOT_OURS);
    rig.secs(1);
    let call = rig.one_call();
    assert!(!call.body.to_string().contains("gAAAAold"));
    assert_eq!(rig.dropped(client, &call).as_deref(), Some("thinking"));
    // With a client that wants it whole, and of a thought that was made here and then changed, it is the client's to know.
    let mut rig = Rig::new(&organisations(""));
    rig.thinks_at("f0", "gAAAAone");
    for (words, headers) in [
        ("gAAAAold", &[("x-stokehold-rebind", "never")][..]),
        ("gAAAAone", &[]),
    ] {
        let (client, call) = rig.responses(&ask_of(&[words]), headers);
        rig.refuse(call.attempt, 400, &[], NOT_OURS);
        rig.secs(1);
        let (status, _, body) = rig.told(client);
        assert_eq!(status, 400, "{words}");
        assert!(body.contains("could not be verified"), "{body}");
    }
    rig.rests();
}

/// OpenAI's reasoning tells by its looks that xAI cannot read it.
#[test]
fn what_looks_like_another_makers_is_not_shown() {
    let mut rig = Rig::new(&grok_and_gpt());
    let (client, call) = rig.responses(&ask_of(&["gAAAAold"]), &[]);
    assert_eq!(call.origin, 1, "OpenAI, though it costs more");
    assert_eq!(rig.dropped(client, &call), None);
    let only = [("x-stokehold-providers", "allow=f0")];
    let (client, call) = rig.responses(&ask_of(&["gAAAAold"]), &only);
    assert!(!call.body.to_string().contains("gAAAAold"));
    assert_eq!(rig.dropped(client, &call).as_deref(), Some("thinking"));
}

/// A compacted conversation is in its item: without it there is nothing to go on from.
#[test]
fn what_holds_the_conversation_itself_is_never_left_out() {
    let body = json!({"model": "m0", "store": false, "input": [
        {"type": "compaction", "encrypted_content": "gAAAAall"}, {"role": "user", "content": "hello"}]});
    let mut rig = Rig::new(&grok_and_gpt());
    let (client, call) = rig.responses(&body.to_string(), &[]);
    assert_eq!((call.origin, &call.body), (1, &body));
    rig.refuse(call.attempt, 401, &[], "{}");
    let (status, ..) = rig.told(client);
    assert_eq!(status, 503);
    let yaml = one_provider("xai", POOL);
    let mut rig = Rig::new(&yaml);
    let client = rig.ask_with(RESPONSES, &body.to_string(), &[]);
    let (status, _, said) = rig.told(client);
    assert_eq!(status, 400, "{said}");
    assert!(said.contains("reasoning_unreadable"), "{said}");
    rig.rests();
}

#[test]
fn all_shards_know_who_made_it_and_other_tenants_do_not() {
    let yaml = organisations("").replace("shards: 1", "shards: 2");
    let mut one = Rig::of(&yaml, 2);
    one.out.clear();
    let order = [("x-stokehold-providers", "order=f1")];
    let (_, call) = one.responses(&ask_of(&[]), &order);
    one.answer_with(call.attempt, &answer_of("gAAAAone"));
    let told: Vec<Gossip> = one
        .take()
        .into_iter()
        .filter_map(|output| match output {
            Output::Tell(gossip) => Some(gossip),
            _ => None,
        })
        .collect();
    let mut other = Rig::at(&yaml, ShardId(1), 2);
    for gossip in told {
        other.on(Input::Gossip(gossip));
    }
    let body = ask_of(&["gAAAAone"]);
    let (_, call) = other.responses(&body, &[]);
    assert_eq!(call.origin, 1);
    let (_, call) = other.responses(&body, &[("authorization", "Bearer sk-b")]);
    assert_eq!(call.origin, 0, "the first that comes: nobody knows better");
}

const CLAUDE_5_5: &str = "price: {input: 5, output: 25}";

fn message_of(words: &str) -> String {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m0", "content": [
        {"type": "thinking", "thinking": "hm", "signature": words}, {"type": "text", "text": "hi"}],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 9, "output_tokens": 9}})
    .to_string()
}

fn messages_of(words: &str) -> String {
    json!({"model": "m0", "max_tokens": 100, "messages": [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": words}, {"type": "text", "text": "hi"}]},
        {"role": "user", "content": "go on"}]})
    .to_string()
}

/// Where another organisation only passes over a thought: the conversation stays while there is room, at the price of thinking anew, and goes
/// elsewhere whole when there is none.
#[test]
fn what_is_only_passed_over_elsewhere_is_waited_for_no_longer_than_it_is_worth() {
    let yaml =
        two_pools("anthropic", CLAUDE_5_5, "", "").replace("name: m0,", "name: claude-opus-5-5,");
    let signature = "E".repeat(4_000);
    for first in 0..2 {
        let mut rig = Rig::new(&yaml);
        // Whichever comes first.
        for _ in 0..first {
            rig.ask_with("/v1/messages", &messages_of("x"), &[]);
            let (attempt, _) = rig.sent();
            rig.answer_with(attempt, &message_of("x"));
        }
        rig.ask_with("/v1/messages", &messages_of("y"), &[]);
        let (attempt, home) = rig.sent();
        rig.answer_with(attempt, &message_of(&signature));
        for _ in 0..3 {
            rig.ask_with("/v1/messages", &messages_of(&signature), &[]);
            let (attempt, pool) = rig.sent();
            assert_eq!(pool, home);
            rig.answer_with(attempt, &message_of("z"));
        }
        let client = rig.ask_with("/v1/messages", &messages_of(&signature), &[]);
        let (attempt, _) = rig.sent();
        // A thought of 750 tokens costs two cents to think anew: nineteen seconds.
        rig.refuse(attempt, 429, &[("retry-after", "30")], TOO_MANY);
        let calls = rig.calls();
        let [call] = &calls[..] else {
            panic!("{calls:?}")
        };
        let body = String::from_utf8(call.body.concat()).expect("UTF-8");
        assert!(
            body.contains(&signature),
            "shown, as its documentation says"
        );
        rig.answer_with(call.attempt, &message_of("z"));
        let (status, headers, _) = rig.told(client);
        assert_eq!(
            (status, header(&headers, "x-stokehold-dropped")),
            (200, None)
        );
    }
}

/// A model at two makers, asked in the words of one: its thoughts do not go to the other, though translated.
#[test]
fn a_thought_is_not_shown_to_another_maker_in_other_words() {
    let yaml = two_providers(POOL, POOL_1)
        .replacen("kind: openai", "kind: gemini", 1)
        .replacen("kind: openai", "kind: anthropic", 1);
    let mut rig = Rig::new(&yaml);
    let allow = |id: &str| format!("allow={id}");
    let only = allow("f1");
    let client = rig.ask_with(
        "/v1/messages",
        &messages_of("ErUBold"),
        &[("x-stokehold-providers", &only)],
    );
    let call = rig.one_call();
    assert_eq!(call.origin, 1);
    rig.answer_with(call.attempt, &message_of("ErUBnew"));
    rig.told(client);
    // Its maker is bound to, though the other costs half; where that is refused the thought stays behind.
    rig.secs(1);
    let client = rig.ask_with("/v1/messages", &messages_of("ErUBnew"), &[]);
    let call = rig.one_call();
    assert_eq!(call.origin, 1);
    rig.refuse(call.attempt, 401, &[], "{}");
    let call = rig.one_call();
    assert_eq!(call.origin, 0);
    let body = call.body.to_string();
    assert!(!body.contains("ErUB") && body.contains("go on"), "{body}");
    let said = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"totalTokenCount":11},"responseId":"g1"}"#;
    rig.stream(call.attempt);
    rig.say(call.attempt, &format!("data: {said}\n\n"));
    rig.end(call.attempt);
    let (status, headers, body) = rig.told(client);
    assert_eq!(status, 200, "{body}");
    let dropped = header(&headers, "x-stokehold-dropped").expect("told");
    assert!(
        dropped.contains("signature") || dropped.contains("thinking"),
        "{dropped}"
    );
    // One that nobody remembers is Anthropic's by its place.
    let only = allow("f0");
    rig.ask_with(
        "/v1/messages",
        &messages_of("ErUBold"),
        &[("x-stokehold-providers", &only)],
    );
    let call = rig.one_call();
    assert!(!call.body.to_string().contains("ErUB"), "{}", call.body);
}

/// Streams that pass, streams that are read, and bodies: each tells what it brings.
#[test]
fn a_stream_tells_its_thoughts_as_a_body_does() {
    let done = |words: &str| {
        let item = thought(words);
        let usage = json!({"input_tokens": 10, "output_tokens": 2, "total_tokens": 12});
        let response = json!({"id": "r1", "object": "response", "status": "completed", "model": "m0", "output": [item], "usage": usage});
        format!(
            "event: response.created\ndata: {}\n\nevent: response.output_item.done\ndata: {}\n\nevent: response.completed\ndata: {}\n\n",
            json!({"type": "response.created", "sequence_number": 0, "response": {"id": "r1", "status": "in_progress", "model": "m0", "output": []}}),
            json!({"type": "response.output_item.done", "sequence_number": 1, "output_index": 0, "item": item}),
            json!({"type": "response.completed", "sequence_number": 2, "response": response})
        )
    };
    let streams = ask_of(&[]).replacen('{', r#"{"stream":true,"#, 1);
    let messages =
        r#"{"model":"m0","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;
    // Of its models OpenAI serves some by Responses alone.
    let yaml = organisations("").replace("name: m0,", "name: m0, speaks: [responses],");
    for (path, body) in [(RESPONSES, &*streams), ("/v1/messages", messages)] {
        let mut rig = Rig::new(&yaml);
        rig.ask_with(path, body, &[("x-stokehold-providers", "order=f1")]);
        let call = rig.one_call();
        rig.stream(call.attempt);
        rig.say(call.attempt, &done("gAAAAone"));
        rig.end(call.attempt);
        rig.secs(1);
        let (_, call) = rig.responses(&ask_of(&["gAAAAone"]), &[]);
        assert_eq!(call.origin, 1, "{path}");
    }
}
