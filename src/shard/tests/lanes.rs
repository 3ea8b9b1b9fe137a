//! Responses over a WebSocket.

use super::sockets::{calls_of, heard_all, open_at, send, text};
use super::*;
use crate::protocol::framing::websocket::Message;
use serde_json::{Value, json};

fn open(rig: &mut Rig) -> ClientId {
    open_at(rig, "/v1/responses", &[])
}

fn say(rig: &mut Rig, client: ClientId, message: &Value) {
    text(rig, client, &message.to_string());
}

/// A request on `lane`; `""` is the default one.
fn create(lane: &str, more: &Value) -> Value {
    let mut message = json!({"type": "response.create", "model": "m0", "input": "hi"});
    if !lane.is_empty() {
        message["stream_id"] = json!(lane);
    }
    let object = message.as_object_mut().expect("an object");
    object.extend(more.as_object().expect("an object").clone());
    message
}

/// What `client` heard since the last look, what was called meanwhile, and the code it was hung up with.
struct Heard {
    events: Vec<Value>,
    ended: Option<u16>,
    calls: Vec<(AttemptId, Value)>,
}

fn look(rig: &mut Rig, client: ClientId) -> Heard {
    let bodies: Vec<Value> = rig
        .out
        .iter()
        .filter_map(|o| match o {
            Output::Call(call) => Some(serde_json::from_slice(&call.body.concat()).expect("JSON")),
            _ => None,
        })
        .collect();
    let calls = calls_of(rig).into_iter().zip(bodies).collect();
    let (messages, over) = heard_all(rig, client);
    let mut heard = Heard {
        events: Vec::new(),
        ended: None,
        calls,
    };
    for message in messages {
        match message {
            Message::Text(text) => heard
                .events
                .push(serde_json::from_str(&text).expect("JSON")),
            Message::Close(code) => heard.ended = Some(code.map_or(1005, |(code, _)| code)),
            _ => {}
        }
    }
    assert_eq!(over, heard.ended.is_some(), "a goodbye and an end");
    heard
}

impl Heard {
    fn types(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|e| e["type"].as_str())
            .collect()
    }

    #[track_caller]
    fn call(&self) -> (AttemptId, &Value) {
        let [(attempt, body)] = &self.calls[..] else {
            panic!("one call, not {:?}; heard {:?}", self.calls, self.events)
        };
        (*attempt, body)
    }

    #[track_caller]
    fn error(&self) -> (u64, &str) {
        let [event] = &self.events[..] else {
            panic!("one event, not {:?}", self.events)
        };
        assert_eq!(event["type"], "error", "{event}");
        let code = event["error"]["code"].as_str().unwrap_or_default();
        (event["status"].as_u64().expect("a status"), code)
    }
}

/// An answer of a provider that speaks Responses: one message, after a thought that only its id stands for and one that is sealed.
fn answer(id: &str) -> String {
    let items = items(id);
    let event = |name: &str, more: String| {
        format!("event: {name}\ndata: {{\"type\":\"{name}\",{more}}}\n\n")
    };
    let begun =
        format!("\"response\":{{\"id\":\"{id}\",\"status\":\"in_progress\",\"output\":[]}}");
    let ended = format!(
        "\"response\":{{\"id\":\"{id}\",\"status\":\"completed\",\"output\":{items},\"usage\":{{\"input_tokens\":10,\"output_tokens\":2,\"total_tokens\":12}}}}"
    );
    [
        event("response.created", format!("\"sequence_number\":0,{begun}")),
        event(
            "response.output_text.delta",
            "\"sequence_number\":1,\"delta\":\"hello\", \"new\": 1.50".to_owned(),
        ),
        event(
            "response.completed",
            format!("\"sequence_number\":2,{ended}"),
        ),
    ]
    .concat()
}

fn items(id: &str) -> Value {
    json!([
        {"type": "reasoning", "id": "rs_bare", "summary": []},
        {"type": "reasoning", "id": "rs_sealed", "summary": [], "encrypted_content": "gAAA"},
        {"type": "message", "id": format!("msg_{id}"), "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "hello", "annotations": []}]},
    ])
}

/// The provider answers the one call that is out; gives what it was asked and what the client heard.
#[track_caller]
fn answered(rig: &mut Rig, client: ClientId, id: &str) -> (Value, Vec<Value>) {
    let heard = look(rig, client);
    let (attempt, asked) = heard.call();
    let asked = asked.clone();
    rig.stream(attempt);
    rig.say(attempt, &answer(id));
    let after = look(rig, client);
    rig.end(attempt);
    (asked, after.events)
}

fn openai() -> Rig {
    Rig::new(&one_provider("openai", POOL))
}

#[test]
fn events_of_the_same_dialect_pass_as_they_are() {
    let mut rig = openai();
    let client = open(&mut rig);
    say(
        &mut rig,
        client,
        &create("", &json!({"generate": true, "stream": true, "new": [1]})),
    );
    let (asked, events) = answered(&mut rig, client, "resp_1");
    assert_eq!(
        asked,
        json!({"model": "m0", "input": "hi", "new": [1], "stream": true})
    );
    assert_eq!(
        events[1],
        json!({"type": "response.output_text.delta", "sequence_number": 1, "delta": "hello", "new": 1.5})
    );
    assert_eq!(events.len(), 3);
    // And under the lane's name on a lane that has one.
    say(&mut rig, client, &create("a.b", &json!({})));
    let (_, events) = answered(&mut rig, client, "resp_2");
    assert!(events.iter().all(|e| e["stream_id"] == "a.b"), "{events:?}");
    assert_eq!(rig.rows.len(), 2);
    assert!(
        rig.rows
            .iter()
            .all(|row| row.outcome == Outcome::Done && row.streamed)
    );
    rig.on(Input::ClientGone { client });
    rig.rests();
}

#[test]
fn what_the_provider_keeps_is_gone_on_with_there() {
    let mut rig = openai();
    let client = open(&mut rig);
    say(&mut rig, client, &create("", &json!({})));
    answered(&mut rig, client, "resp_1");
    let next =
        json!({"previous_response_id": "resp_1", "input": [{"role": "user", "content": "on"}]});
    say(&mut rig, client, &create("", &next));
    let (asked, _) = answered(&mut rig, client, "resp_2");
    assert_eq!(asked["previous_response_id"], "resp_1");
    assert_eq!(asked["input"], json!([{"role": "user", "content": "on"}]));
    // What this connection does not know may still be known there.
    say(
        &mut rig,
        client,
        &create("", &json!({"previous_response_id": "resp_old"})),
    );
    let (asked, _) = answered(&mut rig, client, "resp_3");
    assert_eq!(asked["previous_response_id"], "resp_old");
    // Without anything being stored from here on, the stored beginning is named and the rest is said again.
    let next = json!({"previous_response_id": "resp_3", "store": false, "input": "more"});
    say(&mut rig, client, &create("", &next));
    answered(&mut rig, client, "resp_4");
    let next = json!({"previous_response_id": "resp_4", "store": false, "input": "still"});
    say(&mut rig, client, &create("", &next));
    let (asked, _) = answered(&mut rig, client, "resp_5");
    assert_eq!(asked["previous_response_id"], "resp_3");
    let user = |text: &str| json!({"type": "message", "role": "user", "content": text});
    let said = items("resp_4");
    assert_eq!(
        asked["input"],
        json!([user("more"), said[1], said[2], user("still")])
    );
    rig.on(Input::ClientGone { client });
    rig.rests();
}

#[test]
fn what_nobody_keeps_is_said_again() {
    let mut rig = openai();
    let client = open(&mut rig);
    let keep_nothing = |more: &Value| {
        let mut more = more.clone();
        more["store"] = json!(false);
        create("", &more)
    };
    say(
        &mut rig,
        client,
        &keep_nothing(&json!({"instructions": "a"})),
    );
    answered(&mut rig, client, "resp_1");
    let user = |text: &str| json!({"type": "message", "role": "user", "content": text});
    let said = |id: &str| {
        let items = items(id);
        // A thought that only its id stands for is known to nobody any more.
        [items[1].clone(), items[2].clone()]
    };
    let output = json!([{"type": "function_call_output", "call_id": "c", "output": "o"}]);
    let next = json!({"previous_response_id": "resp_1", "input": output});
    say(&mut rig, client, &keep_nothing(&next));
    let (asked, _) = answered(&mut rig, client, "resp_2");
    let mut want = vec![user("hi")];
    want.extend(said("resp_1"));
    want.push(output[0].clone());
    assert_eq!(asked["input"], Value::Array(want.clone()));
    assert_eq!(
        (asked.get("previous_response_id"), asked.get("instructions")),
        (None, None)
    );
    say(
        &mut rig,
        client,
        &keep_nothing(&json!({"previous_response_id": "resp_2", "input": "on"})),
    );
    let (asked, _) = answered(&mut rig, client, "resp_3");
    want.extend(said("resp_2"));
    want.push(user("on"));
    assert_eq!(asked["input"], Value::Array(want));
    // Of an older answer of the lane nothing is kept.
    say(
        &mut rig,
        client,
        &keep_nothing(&json!({"previous_response_id": "resp_1"})),
    );
    let heard = look(&mut rig, client);
    assert_eq!(heard.error(), (400, "previous_response_not_found"));
    assert_eq!(heard.events[0]["error"]["param"], "previous_response_id");
    // Nor on another connection.
    let other = open(&mut rig);
    say(
        &mut rig,
        other,
        &keep_nothing(&json!({"previous_response_id": "resp_3"})),
    );
    assert_eq!(
        look(&mut rig, other).error(),
        (400, "previous_response_not_found")
    );
    for client in [client, other] {
        rig.on(Input::ClientGone { client });
    }
    rig.rests();
}

/// Towards a provider of another dialect nothing is kept but here, whatever the client wants stored.
#[test]
fn answers_of_any_provider_are_told_and_gone_on_with() {
    let mut rig = Rig::new(&one_provider("selfhosted", POOL));
    let client = open(&mut rig);
    say(&mut rig, client, &create("x", &json!({})));
    let call = look(&mut rig, client).call().0;
    rig.stream(call);
    rig.say(call, &format!("{FIRST}{STOP}{USAGE}{DONE}"));
    let heard = look(&mut rig, client);
    let last = heard.events.last().expect("events").clone();
    assert_eq!(last["type"], "response.completed", "{:?}", heard.events);
    assert!(heard.events.iter().all(|e| e["stream_id"] == "x"));
    let numbers: Vec<u64> = heard
        .events
        .iter()
        .filter_map(|e| e["sequence_number"].as_u64())
        .collect();
    assert_eq!(numbers, (0..heard.events.len() as u64).collect::<Vec<_>>());
    // The lane is free when all is told, whatever HTTP still lacks.
    let id = last["response"]["id"].as_str().expect("an id");
    let next = json!({"previous_response_id": id, "input": "and on"});
    say(&mut rig, client, &create("x", &next));
    let heard = look(&mut rig, client);
    let (next, asked) = heard.call();
    let told: Vec<(&Value, &Value)> = asked["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|m| (&m["role"], &m["content"]))
        .collect();
    let want = [("user", "hi"), ("assistant", "hi"), ("user", "and on")]
        .map(|(r, c)| (json!(r), json!(c)));
    let want: Vec<(&Value, &Value)> = want.iter().map(|(r, c)| (r, c)).collect();
    assert_eq!(told, want);
    rig.end(call);
    rig.stream(next);
    rig.say(next, &format!("{FIRST}{STOP}{USAGE}{DONE}"));
    rig.end(next);
    // No provider can know an id that we made.
    say(
        &mut rig,
        client,
        &create("x", &json!({"previous_response_id": "resp_stk_00"})),
    );
    let heard = look(&mut rig, client);
    let error = heard.events.last().expect("an event");
    assert_eq!(
        error["error"]["code"], "previous_response_not_found",
        "{error}"
    );
    rig.on(Input::ClientGone { client });
    rig.rests();
}

#[test]
fn one_lane_answers_in_order_and_lanes_side_by_side() {
    let mut rig = openai();
    let client = open(&mut rig);
    for (lane, input) in [("a", "1"), ("a", "2"), ("b", "3"), ("", "4"), ("a", "5")] {
        say(&mut rig, client, &create(lane, &json!({"input": input})));
    }
    let heard = look(&mut rig, client);
    let asked: Vec<&Value> = heard.calls.iter().map(|(_, body)| &body["input"]).collect();
    assert_eq!(asked, ["1", "3", "4"]);
    // The next of the lane begins with the last word of the one before.
    let (a, b, none) = (heard.calls[0].0, heard.calls[1].0, heard.calls[2].0);
    rig.stream(none);
    rig.say(none, &answer("resp_none"));
    let heard = look(&mut rig, client);
    assert!(heard.calls.is_empty() && heard.events.iter().all(|e| e.get("stream_id").is_none()));
    rig.refuse(a, 400, &[], r#"{"error":{"message":"no","code":"c"}}"#);
    let heard = look(&mut rig, client);
    assert_eq!(heard.events[0]["stream_id"], "a");
    assert_eq!(heard.error(), (400, "c"));
    let (a, body) = heard.call();
    assert_eq!(body["input"], "2");
    for call in [a, b] {
        rig.stream(call);
        rig.say(call, &answer("resp_x"));
        rig.end(call);
    }
    let heard = look(&mut rig, client);
    assert_eq!(heard.call().1["input"], "5");
    rig.on(Input::ClientGone { client });
    rig.end(none);
    let last = heard.call().0;
    rig.stream(last);
    rig.say(last, &answer("resp_y"));
    rig.end(last);
    rig.rests();
}

#[test]
fn sixteen_answers_run_at_once_and_the_others_wait() {
    let mut rig = openai();
    let client = open(&mut rig);
    for lane in 0..20 {
        say(&mut rig, client, &create(&format!("l{lane}"), &json!({})));
    }
    let heard = look(&mut rig, client);
    assert_eq!(heard.calls.len(), 16);
    let mut open: Vec<AttemptId> = heard.calls.iter().map(|(attempt, _)| *attempt).collect();
    let mut begun = open.len();
    while let Some(attempt) = open.pop() {
        rig.stream(attempt);
        rig.say(attempt, &answer("resp_1"));
        rig.end(attempt);
        let heard = look(&mut rig, client);
        begun += heard.calls.len();
        open.extend(heard.calls.iter().map(|(attempt, _)| *attempt));
    }
    assert_eq!(begun, 20);
    // The names are limited too; the default lane has none, and a name that is known is no new one.
    for lane in 20..32 {
        say(
            &mut rig,
            client,
            &create(&format!("l{lane}"), &json!({"generate": false})),
        );
    }
    look(&mut rig, client);
    say(
        &mut rig,
        client,
        &create("l32", &json!({"generate": false})),
    );
    let heard = look(&mut rig, client);
    assert_eq!(heard.error(), (400, "websocket_stream_limit_reached"));
    assert_eq!(heard.events[0]["stream_id"], "l32");
    for lane in ["l31", ""] {
        say(&mut rig, client, &create(lane, &json!({"generate": false})));
        assert_eq!(look(&mut rig, client).types().len(), 3);
    }
    rig.on(Input::ClientGone { client });
    rig.rests();
}

#[test]
fn requests_that_wait_are_bounded_and_leave_with_their_client() {
    let mut rig = openai();
    let client = open(&mut rig);
    for _ in 0..258 {
        say(&mut rig, client, &create("", &json!({})));
    }
    let heard = look(&mut rig, client);
    assert_eq!(heard.error().0, 429);
    let call = heard.call().0;
    rig.on(Input::ClientGone { client });
    rig.stream(call);
    rig.say(call, &answer("resp_1"));
    rig.end(call);
    assert!(rig.calls().is_empty());
    rig.rests();
}

#[test]
fn a_warm_up_costs_nothing_and_can_be_gone_on_with() {
    let mut rig = openai();
    let client = open(&mut rig);
    let tools = json!([{"type": "function", "name": "f", "parameters": {}}]);
    let warm = json!({"generate": false, "store": false, "tools": tools, "input": [{"role": "developer", "content": "d"}]});
    say(&mut rig, client, &create("main", &warm));
    let heard = look(&mut rig, client);
    assert!(heard.calls.is_empty());
    assert_eq!(
        heard.types(),
        [
            "response.created",
            "response.in_progress",
            "response.completed"
        ]
    );
    assert!(heard.events.iter().all(|e| e["stream_id"] == "main"));
    let response = &heard.events[2]["response"];
    assert_eq!(
        (&response["output"], &response["usage"]),
        (&json!([]), &Value::Null)
    );
    let next = json!({"store": false, "previous_response_id": response["id"], "input": "go"});
    say(&mut rig, client, &create("main", &next));
    let (asked, _) = answered(&mut rig, client, "resp_1");
    assert_eq!(
        asked["input"],
        json!([{"role": "developer", "content": "d"}, {"type": "message", "role": "user", "content": "go"}])
    );
    assert_eq!(rig.rows.len(), 1);
    for (more, code) in [
        (
            json!({"generate": false, "model": "no-such"}),
            (404, "model_not_found"),
        ),
        (json!({"generate": false, "model": ""}), (400, "")),
    ] {
        say(&mut rig, client, &create("", &more));
        assert_eq!(look(&mut rig, client).error(), code);
    }
    rig.on(Input::ClientGone { client });
    rig.rests();
}

#[test]
fn a_failed_request_takes_what_it_went_on_with_from_its_own_lane_alone() {
    let mut rig = openai();
    let client = open(&mut rig);
    let on =
        |lane: &str, id: &str| create(lane, &json!({"store": false, "previous_response_id": id}));
    say(&mut rig, client, &create("main", &json!({"store": false})));
    answered(&mut rig, client, "resp_1");
    // A branch that fails leaves it there.
    say(&mut rig, client, &on("fork", "resp_1"));
    let call = look(&mut rig, client).call().0;
    rig.refuse(call, 400, &[], r#"{"error":{"message":"no"}}"#);
    look(&mut rig, client);
    say(&mut rig, client, &on("fork", "resp_1"));
    let (asked, _) = answered(&mut rig, client, "resp_2");
    assert_eq!(asked["input"].as_array().expect("items").len(), 4);
    // Its own lane's failure does not.
    say(&mut rig, client, &on("main", "resp_1"));
    let call = look(&mut rig, client).call().0;
    rig.refuse(call, 400, &[], r#"{"error":{"message":"no"}}"#);
    look(&mut rig, client);
    say(&mut rig, client, &on("main", "resp_1"));
    assert_eq!(
        look(&mut rig, client).error(),
        (400, "previous_response_not_found")
    );
    say(&mut rig, client, &on("main", "resp_2"));
    answered(&mut rig, client, "resp_3");
    rig.on(Input::ClientGone { client });
    rig.rests();
}

#[test]
fn what_is_too_large_to_be_kept_is_not_found_again() {
    let yaml = one_provider("openai", POOL).replace(
        "queue_time: 20s",
        "queue_time: 20s, body_bytes_max: 1KiB, bodies_bytes_max: 8KiB",
    );
    let mut rig = Rig::new(&yaml);
    let client = open(&mut rig);
    let long = "x".repeat(700);
    let on = |lane: &str, id: Option<&str>, input: &str| {
        create(
            lane,
            &json!({"store": false, "previous_response_id": id, "input": input}),
        )
    };
    // The answer has some 250 bytes that come back.
    say(&mut rig, client, &on("a", None, &long));
    answered(&mut rig, client, "resp_1");
    say(&mut rig, client, &on("a", Some("resp_1"), "short"));
    let heard = look(&mut rig, client);
    assert_eq!(
        heard.error(),
        (400, "previous_response_not_found"),
        "with it the body would be too large"
    );
    // Two that fit one by one: the older leaves.
    let half = "x".repeat(300);
    for (lane, id) in [("b", "resp_2"), ("c", "resp_3")] {
        say(&mut rig, client, &on(lane, None, &half));
        answered(&mut rig, client, id);
    }
    say(&mut rig, client, &on("b", Some("resp_2"), "short"));
    assert_eq!(
        look(&mut rig, client).error(),
        (400, "previous_response_not_found")
    );
    say(&mut rig, client, &on("c", Some("resp_3"), "short"));
    answered(&mut rig, client, "resp_4");
    // A message that alone is too large ends the connection, as it would on any WebSocket.
    say(&mut rig, client, &on("c", None, &"x".repeat(1_024)));
    assert_eq!(look(&mut rig, client).ended, Some(1009));
    rig.on(Input::ClientGone { client });
    rig.rests();
}

#[test]
fn an_answer_that_breaks_off_goes_on_to_its_bad_end() {
    let mut rig = openai();
    let client = open(&mut rig);
    say(&mut rig, client, &create("a", &json!({"store": false})));
    let call = look(&mut rig, client).call().0;
    rig.stream(call);
    let whole = answer("resp_1");
    let at = whole.find("event: response.completed").expect("an end");
    rig.say(call, &whole[..at]);
    rig.on(Input::UpstreamFailed {
        attempt: call,
        why: UpstreamFault::Reset,
    });
    let heard = look(&mut rig, client);
    assert_eq!(
        heard.types(),
        [
            "response.created",
            "response.output_text.delta",
            "error",
            "response.failed"
        ]
    );
    let failed = &heard.events[3];
    assert_eq!(
        (&failed["sequence_number"], &failed["stream_id"]),
        (&json!(3), &json!("a"))
    );
    assert_eq!(
        (&failed["response"]["id"], &failed["response"]["status"]),
        (&json!("resp_1"), &json!("failed"))
    );
    say(
        &mut rig,
        client,
        &create(
            "a",
            &json!({"store": false, "previous_response_id": "resp_1"}),
        ),
    );
    assert_eq!(
        look(&mut rig, client).error(),
        (400, "previous_response_not_found")
    );
    rig.on(Input::ClientGone { client });
    rig.rests();
}

#[test]
fn a_connection_ends_after_an_hour_and_after_what_runs() {
    let mut rig = openai();
    let (client, idle) = (open(&mut rig), open(&mut rig));
    rig.secs(3_598);
    say(&mut rig, client, &create("", &json!({})));
    say(&mut rig, client, &create("", &json!({})));
    let call = look(&mut rig, client).call().0;
    rig.stream(call);
    rig.secs(3);
    let (messages, ended) = heard_all_of(&rig.out, idle);
    assert!(
        ended
            && messages
                .iter()
                .any(|m| m.contains("websocket_connection_limit_reached")),
        "{messages:?}"
    );
    let heard = look(&mut rig, client);
    assert!(heard.events.is_empty() && heard.ended.is_none());
    rig.say(call, &answer("resp_1"));
    let heard = look(&mut rig, client);
    assert_eq!(heard.ended, Some(1001), "{:?}", heard.events);
    assert!(heard.calls.is_empty());
    let codes: Vec<&Value> = heard
        .events
        .iter()
        .map(|e| &e["error"]["code"])
        .filter(|c| !c.is_null())
        .collect();
    assert_eq!(codes.len(), 2, "{:?}", heard.events);
    for client in [client, idle] {
        rig.on(Input::ClientGone { client });
    }
    rig.end(call);
    rig.rests();
    rig.secs(120);
    assert_eq!(rig.shard.next_timer(), None);
}

fn heard_all_of(out: &[Output], client: ClientId) -> (Vec<String>, bool) {
    let of = |o: &Output| match o {
        Output::Write { client: c, bytes } if *c == client => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
        _ => None,
    };
    let ended = out.iter().any(|o| *o == Output::End { client });
    (out.iter().filter_map(of).collect(), ended)
}

#[test]
fn a_drain_lets_answers_end_and_then_says_goodbye() {
    let mut rig = openai();
    let client = open(&mut rig);
    let native = open_at(&mut rig, "/api/v1/ws", &[]);
    say(&mut rig, client, &create("", &json!({})));
    say(&mut rig, client, &create("", &json!({})));
    let call = look(&mut rig, client).call().0;
    rig.on(Input::Drain);
    assert!(
        rig.out.contains(&Output::End { client: native }),
        "who is idle leaves at once"
    );
    assert!(!rig.out.contains(&Output::End { client }));
    rig.stream(call);
    rig.say(call, &answer("resp_1"));
    let heard = look(&mut rig, client);
    assert_eq!(
        heard.types(),
        [
            "response.created",
            "response.output_text.delta",
            "response.completed",
            "error"
        ]
    );
    assert_eq!(
        (heard.events[3]["status"].as_u64(), heard.ended),
        (Some(503), Some(1001))
    );
    rig.end(call);
    for client in [client, native] {
        rig.on(Input::ClientGone { client });
    }
    rig.rests();
}

#[test]
fn bytes_of_sockets_count_as_those_of_bodies_do() {
    let yaml = one_provider("openai", POOL).replace(
        "queue_time: 20s",
        "queue_time: 20s, body_bytes_max: 4KiB, bodies_bytes_max: 14KiB",
    );
    let mut rig = Rig::new(&yaml);
    let clients = [open(&mut rig), open(&mut rig), open(&mut rig)];
    let long = create("", &json!({"store": false, "input": "x".repeat(3_000)}));
    let taken = |rig: &Rig| rig.shard.bodies().taken();
    // Half a message holds what there is of it.
    let mut frame = bytes::BytesMut::new();
    let message = Message::Text(long.to_string().into());
    crate::protocol::framing::websocket::write_masked(&message, [1, 2, 3, 4], &mut frame);
    let (first, rest) = frame.split_at(2_000);
    let part = |rig: &mut Rig, client, bytes: &[u8]| {
        let bytes = Bytes::copy_from_slice(bytes);
        rig.on(Input::SocketBytes { client, bytes });
    };
    part(&mut rig, clients[0], first);
    assert!((1_900..=2_000).contains(&taken(&rig)), "{}", taken(&rig));
    // A whole one holds its request for as long as it runs (and again what of it is not yet as items are), and then what is kept of it.
    part(&mut rig, clients[0], rest);
    assert!((6_000..6_300).contains(&taken(&rig)), "{}", taken(&rig));
    let (asked, _) = answered(&mut rig, clients[0], "resp_1");
    assert_eq!(asked["input"].as_str().map(str::len), Some(3_000));
    let kept = taken(&rig);
    assert!((3_000..3_500).contains(&kept), "{kept}");
    // Where there is no more room, requests and then connections are refused, and nobody else is harmed.
    rig.take();
    say(&mut rig, clients[1], &long);
    let call = look(&mut rig, clients[1])
        .calls
        .first()
        .map(|(call, _)| *call);
    say(&mut rig, clients[2], &long);
    let heard = look(&mut rig, clients[2]);
    assert_eq!(heard.error().0, 503, "{:?}", heard.events);
    if let Some(call) = call {
        rig.refuse(call, 400, &[], "{}");
    }
    rig.take();
    for client in clients {
        rig.on(Input::ClientGone { client });
    }
    rig.rests();
}

#[test]
fn what_comes_in_pieces_beyond_all_memory_ends_its_connection() {
    let yaml = one_provider("openai", POOL).replace(
        "queue_time: 20s",
        "queue_time: 20s, body_bytes_max: 4KiB, bodies_bytes_max: 4KiB",
    );
    let mut rig = Rig::new(&yaml);
    let clients = [open(&mut rig), open_at(&mut rig, "/api/v1/ws", &[])];
    let mut frame = bytes::BytesMut::new();
    let message = Message::Text("x".repeat(3_500).into());
    crate::protocol::framing::websocket::write_masked(&message, [1, 2, 3, 4], &mut frame);
    let part = frame.split_to(3_000).freeze();
    rig.on(Input::SocketBytes {
        client: clients[0],
        bytes: part.clone(),
    });
    rig.on(Input::SocketBytes {
        client: clients[1],
        bytes: part,
    });
    let heard = look(&mut rig, clients[1]);
    assert_eq!(heard.ended, Some(1013));
    for client in clients {
        rig.on(Input::ClientGone { client });
    }
    rig.rests();
}

#[test]
fn a_key_is_shown_with_the_upgrade_and_looked_at_with_each_request() {
    let mut rig = openai();
    let stranger = open_at(&mut rig, "/v1/responses", &[("authorization", "")]);
    assert_eq!(rig.told(stranger).0, 401);
    let wrong = open_at(&mut rig, "/v1/responses", &[("authorization", "Bearer no")]);
    assert_eq!(rig.told(wrong).0, 401);
    let client = open_at(
        &mut rig,
        "/v1/responses",
        &[("authorization", "Bearer sk-b")],
    );
    assert!(matches!(rig.take()[..], [Output::Upgrade { .. }]));
    // The tables move under it; its own key does not become another's.
    let without_a =
        one_provider("openai", POOL).replace("    - {id: a, keys: [{id: a1, secret: sk-a}]}\n", "");
    let without_a = without_a.replace(
        "tenants:\n- {id: a, keys: [{id: a1, secret: sk-a}]}\n",
        "tenants:\n",
    );
    rig.reload(&without_a, 2);
    say(&mut rig, client, &create("", &json!({})));
    answered(&mut rig, client, "resp_1");
    let row = &rig.rows[0];
    assert_eq!(row.under.0.tenants[row.tenant.0 as usize].name, "b");
    let other = without_a.replace("sk-b", "sk-c");
    rig.reload(&other, 3);
    for more in [json!({}), json!({"generate": false})] {
        say(&mut rig, client, &create("", &more));
        assert_eq!(look(&mut rig, client).error(), (401, "invalid_api_key"));
    }
    rig.on(Input::ClientGone { client });
    rig.rests();
}

#[test]
fn what_cannot_be_done_is_said_and_the_connection_goes_on() {
    let mut rig = openai();
    let client = open(&mut rig);
    for (message, code) in [
        ("{", ""),
        (r#"{"type":"response.cancel"}"#, ""),
        (
            r#"{"type":"response.create","stream_id":"a b"}"#,
            "invalid_stream_id",
        ),
        (
            r#"{"type":"response.create","model":"m0","input":"x","background":true}"#,
            "",
        ),
        (r#"{"type":"response.create","model":"m0"}"#, ""),
    ] {
        text(&mut rig, client, message);
        assert_eq!(look(&mut rig, client).error(), (400, code), "{message}");
    }
    text(
        &mut rig,
        client,
        r#"{"type":"response.create","model":"no","input":"x"}"#,
    );
    assert_eq!(look(&mut rig, client).error(), (404, "model_not_found"));
    text(
        &mut rig,
        client,
        r#"{"type":"response.processed","response_id":"resp_1"}"#,
    );
    assert!(look(&mut rig, client).events.is_empty());
    // Steering is given back, with why.
    let steer =
        |id: &str| json!({"type": "response.steer", "previous_response_id": id, "input": "left"});
    let why = |heard: &Heard| {
        let event = heard.events.last().expect("an event").clone();
        assert_eq!(
            (&event["type"], &event["steer"]["input"]),
            (&json!("response.steer.failed"), &json!("left"))
        );
        event["error"]["code"].as_str().expect("a code").to_owned()
    };
    say(&mut rig, client, &steer("resp_1"));
    assert_eq!(why(&look(&mut rig, client)), "response_not_found");
    say(&mut rig, client, &create("", &json!({"store": false})));
    let call = look(&mut rig, client).call().0;
    say(&mut rig, client, &steer("resp_1"));
    assert_eq!(why(&look(&mut rig, client)), "steering_not_supported");
    rig.stream(call);
    rig.say(call, &answer("resp_1"));
    say(&mut rig, client, &steer("resp_1"));
    assert_eq!(why(&look(&mut rig, client)), "response_already_completed");
    rig.end(call);
    send(&mut rig, client, &Message::Binary(Bytes::from_static(b"x")));
    assert_eq!(look(&mut rig, client).ended, Some(1003));
    rig.on(Input::ClientGone { client });
    rig.rests();
}

/// A provider that leaves the items out at the end has told them before; and what nobody can read is no event.
#[test]
fn departures_of_speakers_are_met() {
    let mut rig = openai();
    let client = open(&mut rig);
    say(&mut rig, client, &create("", &json!({"store": false})));
    let call = look(&mut rig, client).call().0;
    rig.stream(call);
    let item = json!({"type": "message", "role": "assistant", "content": "told before"});
    rig.say(call, &format!(
        "data: {{\"type\":\"response.created\",\"response\":{{\"id\":\"resp_1\"}}}}\n\n\
         data: {{\"type\":\"response.output_item.done\",\"item\":{item}}}\n\n\
         data: {{\"type\":\"response.completed\",\"response\":{{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[]}}}}\n\n\
         data: [DONE]\n\n"
    ));
    rig.end(call);
    assert_eq!(look(&mut rig, client).types().len(), 3);
    say(
        &mut rig,
        client,
        &create(
            "",
            &json!({"store": false, "previous_response_id": "resp_1"}),
        ),
    );
    let (asked, _) = answered(&mut rig, client, "resp_2");
    assert_eq!(asked["input"][1], item);
    rig.on(Input::ClientGone { client });
    rig.rests();
}
