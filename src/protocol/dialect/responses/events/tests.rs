use super::{Decoder, Encoder, write_whole};
use crate::base::{Json, Str, Tokens};
use crate::canon::{
    Answer, BlockStart, Citation, Delta, DialectName, Event, Fault, FaultClass, Fold, StopReason,
    ToolKind,
};
use crate::protocol::dialect::responses::recorded::well_formed;
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::framing::sse;
use crate::protocol::framing::websocket::{Message, Side, Socket};
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

/// Events as a stream, without names where `named` is false.
fn stream(events: &[Value], named: bool) -> String {
    let mut out = BytesMut::new();
    for event in events {
        let name = event["type"].as_str().filter(|_| named);
        sse::write(name, None, event.to_string().as_bytes(), &mut out);
    }
    String::from_utf8(out.to_vec()).expect("UTF-8")
}

fn decoded(stream: &str) -> Result<Vec<Event>, String> {
    let (mut cutter, mut decoder, mut out) =
        (sse::Decoder::new(1 << 20), Decoder::default(), Vec::new());
    cutter.feed(Bytes::copy_from_slice(stream.as_bytes()));
    while let Some(event) = cutter.next().expect("short") {
        decoder.event(&event, &mut out).map_err(|e| e.to_string())?;
    }
    decoder.finish(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

fn folded(events: &[Event]) -> Answer {
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    fold.into_answer()
}

fn answer(events: &[Value]) -> Answer {
    folded(&decoded(&stream(events, true)).expect("whole"))
}

fn created() -> Value {
    json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "model": "m", "created_at": 1.5, "status": "in_progress", "output": []}})
}

fn completed(output: Value) -> Value {
    json!({"type": "response.completed", "response": {"id": "resp_1", "model": "m", "created_at": 1, "status": "completed", "service_tier": "default",
        "output": output, "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}}}})
}

fn message(text: &str) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn call(id: &str, arguments: &str) -> Value {
    json!({"id": format!("fc_{id}"), "type": "function_call", "call_id": id, "name": "f", "arguments": arguments})
}

fn texts(answer: &Answer) -> Vec<&str> {
    answer.blocks.iter().map(|b| b.text.as_str()).collect()
}

#[test]
fn the_last_event_alone_tells_the_whole_answer() {
    let answer = answer(&[completed(json!([message("hi"), call("c1", "{}")]))]);
    assert_eq!(texts(&answer), ["hi", "{}"]);
    assert_eq!(answer.stops[0].1, StopReason::ToolUse);
    assert_eq!(
        (&*answer.id, &*answer.model, answer.created),
        ("resp_1", "m", Some(1))
    );
    assert_eq!(
        (answer.usage.input_uncached, answer.usage.cache_read),
        (Some(Tokens(6)), Some(Tokens(4)))
    );
    assert_eq!(answer.usage.service_tier.as_deref(), Some("default"));
    assert!(answer.done);
}

#[test]
fn what_the_deltas_left_out_is_told_by_what_comes_whole() {
    let head = [
        created(),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "msg_1", "type": "message", "content": []}}),
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "Hé"}),
    ];
    for tail in [
        vec![
            json!({"type": "response.output_text.done", "item_id": "msg_1", "output_index": 0, "content_index": 0, "text": "Héllo"}),
            completed(json!([])),
        ],
        vec![
            json!({"type": "response.output_item.done", "output_index": 0, "item": message("Héllo")}),
            completed(json!([message("Héllo")])),
        ],
        // Another id for the same item, as some gateways send.
        vec![completed(
            json!([{"id": "msg_9", "type": "message", "content": [{"type": "output_text", "text": "Héllo"}]}]),
        )],
    ] {
        let events: Vec<Value> = head.iter().cloned().chain(tail).collect();
        assert_eq!(texts(&answer(&events)), ["Héllo"], "{events:?}");
        let unnamed = decoded(&stream(&events, false)).expect("whole");
        assert_eq!(texts(&folded(&unnamed)), ["Héllo"]);
    }
}

#[test]
fn calls_that_grow_at_the_same_time_are_told_one_after_the_other() {
    let added = |i: u64, id: &str| json!({"type": "response.output_item.added", "output_index": i, "item": call(id, "")});
    let delta = |i: u64, text: &str| json!({"type": "response.function_call_arguments.delta", "output_index": i, "item_id": format!("fc_c{i}"), "delta": text});
    let done = |i: u64, text: &str| json!({"type": "response.output_item.done", "output_index": i, "item": call(&format!("c{i}"), text)});
    let events = decoded(&stream(
        &[
            created(),
            added(0, "c0"),
            added(1, "c1"),
            delta(0, "{\"a\""),
            delta(1, "{\"b\""),
            delta(0, ":1}"),
            done(1, "{\"b\":2}"),
            delta(0, ""),
            done(0, "{\"a\":1}"),
            completed(json!([call("c0", "{\"a\":1}"), call("c1", "{\"b\":2}")])),
        ],
        true,
    ))
    .expect("whole");
    let answer = folded(&events);
    assert_eq!(texts(&answer), ["{\"a\":1}", "{\"b\":2}"]);
    let open = events.iter().fold(0, |open: i32, e| match e {
        Event::BlockStart { .. } => {
            assert_eq!(open, 0, "one block at a time");
            1
        }
        Event::BlockStop { .. } => 0,
        _ => open,
    });
    assert_eq!(open, 0);
}

#[test]
fn text_is_told_as_it_comes() {
    let mut decoder = Decoder::default();
    let mut out = Vec::new();
    let events = [
        created(),
        json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "a"}),
    ];
    for event in events {
        let data = Bytes::from(event.to_string());
        let sse = sse::SseEvent {
            data,
            ..sse::SseEvent::default()
        };
        decoder.event(&sse, &mut out).expect("right");
    }
    assert!(
        matches!(out.last(), Some(Event::BlockDelta { delta: Delta::Text(t), .. }) if &**t == "a"),
        "{out:?}"
    );
}

#[test]
fn thinking_keeps_what_its_issuer_needs_back() {
    let item = json!({"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}], "encrypted_content": "gAAA"});
    let delta = |i: u64, text: &str| json!({"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "output_index": 0, "summary_index": i, "delta": text});
    let streamed = answer(&[
        created(),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
        delta(0, "o"),
        delta(0, "ne"),
        delta(1, "two"),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        completed(json!([item])),
    ]);
    let whole = answer(&[completed(json!([item]))]);
    assert_eq!(streamed.blocks, whole.blocks);
    assert_eq!(streamed.blocks[0].text, "one\n\ntwo");
    assert!(
        streamed.blocks[0]
            .signature
            .as_deref()
            .is_some_and(|s| s.contains("gAAA") && s.contains("rs_1"))
    );
    let sealed = answer(&[completed(
        json!([{"id": "rs_2", "type": "reasoning", "summary": [], "encrypted_content": "gB"}]),
    )]);
    assert!(
        matches!(&sealed.blocks[0].start, BlockStart::RedactedThinking { data } if data.contains("gB"))
    );
}

#[test]
fn every_end_has_its_reason() {
    let end =
        |kind: &str, response: Value| vec![created(), json!({"type": kind, "response": response})];
    for (kind, response, reason) in [
        (
            "response.incomplete",
            json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}),
            StopReason::MaxTokens,
        ),
        (
            "response.incomplete",
            json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}),
            StopReason::ContentFilter,
        ),
        (
            "response.incomplete",
            json!({"incomplete_details": {"reason": "steered"}}),
            StopReason::Other("steered".into()),
        ),
        (
            "response.incomplete",
            json!({"incomplete_details": null}),
            StopReason::Other("incomplete".into()),
        ),
        (
            "response.completed",
            json!({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]}),
            StopReason::Refusal,
        ),
        ("response.completed", json!({}), StopReason::EndTurn),
        (
            "response.cancelled",
            json!({"status": "cancelled"}),
            StopReason::Other("cancelled".into()),
        ),
    ] {
        assert_eq!(
            answer(&end(kind, response.clone())).stops[0].1,
            reason,
            "{kind} {response}"
        );
    }
}

#[test]
fn a_failure_is_an_error_whichever_event_says_it() {
    for event in [
        json!({"type": "error", "code": "rate_limit_exceeded", "message": "m", "param": null, "sequence_number": 1}),
        json!({"type": "error", "status": 429, "error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "m"}}),
        json!({"error": {"code": "rate_limit_exceeded", "message": "m"}}),
        json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "m"}, "usage": null}}),
    ] {
        let answer = answer(&[created(), event, completed(json!([]))]);
        assert_eq!(
            answer.error.expect("an error").class,
            FaultClass::RateLimited
        );
        assert!(!answer.done);
    }
}

#[test]
fn an_answer_that_was_cut_is_not_whole_and_strangers_pass() {
    let strange = [
        created(),
        json!({"type": "keepalive", "sequence_number": 1}),
        json!({"type": "response.web_search_call.searching", "output_index": 0, "item_id": "w"}),
        json!({"type": "response.new_thing", "delta": {"a": 1}}),
        json!({"type": "other.thing"}),
    ];
    assert!(decoded(&stream(&strange, true)).is_err());
    assert!(decoded("").is_err());
    let mut whole = stream(&strange, true);
    whole.push_str(&stream(&[completed(json!([message("x")]))], true));
    whole.push_str("data: [DONE]\n\n");
    assert_eq!(texts(&folded(&decoded(&whole).expect("whole"))), ["x"]);
}

#[test]
fn a_body_that_is_an_error_is_one() {
    for body in [
        r#"{"code":"The service is currently unavailable","error":"m"}"#,
        r#"[{"error":{"message":"m"}}]"#,
        r#"{"detail":"m"}"#,
    ] {
        let mut out = Vec::new();
        Decoder::default()
            .whole(&Bytes::from(body), &mut out)
            .expect("JSON");
        assert!(
            matches!(&out[..], [Event::Error(fault)] if fault.message == "m"),
            "{body}: {out:?}"
        );
    }
    Decoder::default()
        .whole(&Bytes::from("<html>"), &mut Vec::new())
        .expect_err("no JSON");
}

#[test]
fn tools_of_the_provider_come_whole_and_images_as_images() {
    let search = json!({"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search"}});
    let image = json!({"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "AAAA", "output_format": "webp", "revised_prompt": "p"});
    let told = answer(&[
        created(),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "ws_1", "type": "web_search_call", "status": "in_progress"}}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": search}),
        completed(json!([search, image])),
    ]);
    assert!(
        matches!(&told.blocks[0].start, BlockStart::Other { dialect: DialectName::Responses, json } if json.get().contains("ws_1"))
    );
    assert!(
        matches!(&told.blocks[1].start, BlockStart::Image { media_type: Some(m), url: None } if &**m == "image/webp")
    );
    assert_eq!(told.blocks[1].base64, "AAAA");
}

fn opening() -> Opening {
    Opening {
        id: "x1".into(),
        created: 5,
        model: "mine".into(),
        ..Opening::default()
    }
}

fn encoded(events: &[Event], opening: Opening) -> (BytesMut, Vec<String>) {
    let (mut encoder, mut out) = (Encoder::new(opening), BytesMut::new());
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    (out, encoder.dropped().to_vec())
}

/// An answer with a block of every kind.
fn everything() -> Vec<Event> {
    let block = |index: u32, block: BlockStart, deltas: Vec<Delta>| {
        let mut events = vec![Event::BlockStart {
            index,
            choice: 0,
            block,
        }];
        events.extend(
            deltas
                .into_iter()
                .map(|delta| Event::BlockDelta { index, delta }),
        );
        events.push(Event::BlockStop { index });
        events
    };
    let citation = |dialect, url: Option<&str>| {
        Delta::Citation(Citation {
            dialect,
            json: Json::parse(r#"{"type":"file_citation","file_id":"f"}"#.into()).expect("json"),
            url: url.map(Str::from),
            title: None,
            cited_text: None,
        })
    };
    let start = |id: &str, kind| BlockStart::ToolCall {
        id: id.into(),
        name: "f".into(),
        kind,
    };
    [
        vec![Event::Started {
            id: "p".into(),
            model: "pm".into(),
            created: None,
        }],
        block(
            0,
            BlockStart::Thinking,
            vec![
                Delta::Thinking("h\n".into()),
                Delta::Thinking("m".into()),
                Delta::Signature("si".into()),
                Delta::Signature("g".into()),
            ],
        ),
        block(
            1,
            BlockStart::RedactedThinking {
                data: "secret".into(),
            },
            vec![],
        ),
        block(
            2,
            BlockStart::Text,
            vec![
                Delta::Text("a\n\"".into()),
                citation(DialectName::Responses, None),
                citation(DialectName::Chat, Some("http://u")),
            ],
        ),
        block(3, BlockStart::Text, vec![Delta::Text("b".into())]),
        block(4, BlockStart::Refusal, vec![Delta::Refusal("no".into())]),
        block(
            5,
            start("c1", ToolKind::Function),
            vec![
                Delta::ToolInput("{\"x\"".into()),
                Delta::ToolInput(":1}".into()),
                Delta::Signature("google".into()),
            ],
        ),
        block(6, start("c2", ToolKind::Function), vec![]),
        block(
            7,
            start("c3", ToolKind::Custom),
            vec![Delta::ToolInput("free".into())],
        ),
        block(
            8,
            BlockStart::Image {
                media_type: Some("image/png".into()),
                url: None,
            },
            vec![Delta::Base64("AA".into()), Delta::Base64("BB".into())],
        ),
        block(
            9,
            BlockStart::Audio {
                id: None,
                format: None,
            },
            vec![Delta::Base64("CC".into()), Delta::Transcript("said".into())],
        ),
        vec![
            Event::Stop {
                choice: 0,
                reason: StopReason::ToolUse,
                sequence: None,
            },
            Event::Done,
        ],
    ]
    .concat()
}

#[test]
fn every_kind_of_block_is_told_and_reads_back() {
    let (out, dropped) = encoded(&everything(), opening());
    let text = String::from_utf8(out.to_vec()).expect("UTF-8");
    well_formed(&text).expect("well-formed");
    assert_eq!(dropped, Vec::<String>::new());
    let streamed = folded(&decoded(&text).expect("whole"));
    let mut told = Vec::new();
    let body = write_whole(&folded(&everything()), &opening(), &Closing::default());
    Decoder::default().whole(&body, &mut told).expect("whole");
    for got in [streamed, folded(&told)] {
        let wanted = folded(&everything());
        assert_eq!(got.blocks.len(), wanted.blocks.len());
        for (got, wanted) in got.blocks.iter().zip(&wanted.blocks) {
            let empty =
                matches!(wanted.start, BlockStart::ToolCall { .. }) && wanted.text.is_empty();
            assert_eq!(got.start, wanted.start);
            assert_eq!(got.text, if empty { "{}" } else { &wanted.text });
            assert_eq!(
                (&got.base64, &got.signature, got.citations.len()),
                (&wanted.base64, &wanted.signature, wanted.citations.len())
            );
        }
        assert_eq!(got.stops, wanted.stops);
    }
}

#[test]
fn the_last_event_and_the_body_are_one_object_with_every_field_that_clients_demand() {
    let (out, _) = encoded(&everything(), opening());
    let text = String::from_utf8(out.to_vec()).expect("UTF-8");
    let last = text
        .lines()
        .rev()
        .find_map(|l| l.strip_prefix("data: "))
        .expect("an event");
    let last: Value = serde_json::from_str(last).expect("JSON");
    let body: Value = serde_json::from_slice(&write_whole(
        &folded(&everything()),
        &opening(),
        &Closing::default(),
    ))
    .expect("JSON");
    // Which order text and citations had is not kept by an answer.
    let without = |v: &Value| {
        let mut v = v.clone();
        v["output"].take();
        v
    };
    assert_eq!(without(&last["response"]), without(&body));
    for field in [
        "id",
        "created_at",
        "error",
        "incomplete_details",
        "instructions",
        "metadata",
        "model",
        "object",
        "output",
        "parallel_tool_calls",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
        "status",
    ] {
        assert!(body.get(field).is_some(), "{field}");
    }
    assert_eq!(
        (&body["id"], &body["status"]),
        (&json!("resp_x1"), &json!("completed"))
    );
    let ids: Vec<&str> = body["output"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|i| i["id"].as_str().expect("an id"))
        .collect();
    assert!(
        ids.iter()
            .all(|id| ids.iter().filter(|o| *o == id).count() == 1),
        "{ids:?}"
    );
}

#[test]
fn blocks_that_interleave_become_items_of_their_own() {
    let text = |index: u32, text: &str| Event::BlockDelta {
        index,
        delta: Delta::Text(text.into()),
    };
    let events = [
        Event::BlockStart {
            index: 0,
            choice: 0,
            block: BlockStart::Text,
        },
        text(0, "a"),
        Event::BlockStart {
            index: 1,
            choice: 0,
            block: BlockStart::ToolCall {
                id: "c".into(),
                name: "f".into(),
                kind: ToolKind::Function,
            },
        },
        Event::BlockStart {
            index: 2,
            choice: 0,
            block: BlockStart::Text,
        },
        text(2, "z"),
        text(0, "b"),
        Event::BlockDelta {
            index: 1,
            delta: Delta::ToolInput("{}".into()),
        },
    ];
    let (out, _) = encoded(&events, opening());
    let stream = String::from_utf8(out.to_vec()).expect("UTF-8");
    well_formed(&stream).expect("well-formed");
    let response = stream
        .lines()
        .rev()
        .find_map(|l| l.strip_prefix("data: "))
        .expect("an event");
    let response: Value = serde_json::from_str(response).expect("JSON");
    let output = &response["response"]["output"];
    assert_eq!(
        (
            &output[0]["content"][0]["text"],
            &output[1]["arguments"],
            &output[2]["content"][0]["text"]
        ),
        (&json!("ab"), &json!("{}"), &json!("z"))
    );
}

#[test]
fn on_a_websocket_events_are_bare_texts_in_their_lane() {
    let (out, _) = encoded(
        &everything(),
        Opening {
            bare: true,
            request_id: Some("lane-1".into()),
            ..opening()
        },
    );
    let mut socket = Socket::new(Side::Client, 1 << 20);
    socket.feed(out.freeze());
    let mut expected = 0;
    while let Some(message) = socket.next().expect("frames") {
        let Message::Text(text) = message else {
            panic!("{message:?}")
        };
        let event: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (&event["sequence_number"], &event["stream_id"]),
            (&json!(expected), &json!("lane-1"))
        );
        expected += 1;
    }
    assert!(expected > 20);
}

#[test]
fn what_has_no_words_is_named_once_and_one_choice_is_told() {
    let events = [
        Event::BlockStart {
            index: 0,
            choice: 0,
            block: BlockStart::Video {
                media_type: None,
                url: None,
            },
        },
        Event::BlockStart {
            index: 1,
            choice: 1,
            block: BlockStart::Text,
        },
        Event::BlockDelta {
            index: 1,
            delta: Delta::Text("second".into()),
        },
        Event::BlockStart {
            index: 2,
            choice: 0,
            block: BlockStart::ToolCall {
                id: "s".into(),
                name: "web".into(),
                kind: ToolKind::Server,
            },
        },
    ];
    let (out, dropped) = encoded(&events, opening());
    assert_eq!(dropped, ["video", "choices", "server_tool_use"]);
    assert!(!String::from_utf8_lossy(&out).contains("second"));
}

#[test]
fn a_limit_that_was_met_is_told_with_its_reason() {
    for (reason, word) in [
        (StopReason::MaxTokens, "max_output_tokens"),
        (StopReason::ContentFilter, "content_filter"),
        (StopReason::Other("steered".into()), "steered"),
    ] {
        let (out, _) = encoded(
            &[Event::Stop {
                choice: 0,
                reason: reason.clone(),
                sequence: None,
            }],
            opening(),
        );
        let text = String::from_utf8(out.to_vec()).expect("UTF-8");
        assert!(
            text.contains("event: response.incomplete")
                && text.contains(&format!("{{\"reason\":\"{word}\"}}")),
            "{text}"
        );
        assert_eq!(folded(&decoded(&text).expect("whole")).stops[0].1, reason);
    }
}

#[test]
fn a_failed_body_says_why() {
    let answer = Answer {
        error: Some(Box::new(Fault::new(FaultClass::RateLimited, "slow"))),
        ..Answer::default()
    };
    let body: Value =
        serde_json::from_slice(&write_whole(&answer, &opening(), &Closing::default()))
            .expect("JSON");
    assert_eq!(
        (&body["status"], &body["error"]),
        (
            &json!("failed"),
            &json!({"code": "rate_limit_exceeded", "message": "slow"})
        )
    );
}
