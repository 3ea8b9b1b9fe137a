//! Promises of `events`: what the API streams is understood, what we stream official clients can add up.

use super::events::{Decoder, Encoder, write_whole};
use crate::base::{Json, Rng, Str, Tokens};
use crate::canon::{
    BlockStart, Citation, Delta, DialectName, Event, Fault, FaultClass, Fold, StopReason, ToolKind,
    Usage,
};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::framing::sse;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

fn json(text: &str) -> Json {
    Json::parse(Str::from(text)).expect("json")
}

fn start(index: u32, block: BlockStart) -> Event {
    Event::BlockStart {
        index,
        choice: 0,
        block,
    }
}

fn delta(index: u32, delta: Delta) -> Event {
    Event::BlockDelta { index, delta }
}

fn text(index: u32, text: &str) -> Event {
    delta(index, Delta::Text(text.into()))
}

fn input(index: u32, text: &str) -> Event {
    delta(index, Delta::ToolInput(text.into()))
}

fn stop(index: u32) -> Event {
    Event::BlockStop { index }
}

fn call(id: &str, kind: ToolKind) -> BlockStart {
    BlockStart::ToolCall {
        id: id.into(),
        name: "f".into(),
        kind,
    }
}

fn stopped(reason: StopReason) -> Event {
    Event::Stop {
        choice: 0,
        reason,
        sequence: None,
    }
}

fn started() -> Event {
    Event::Started {
        id: "msg_1".into(),
        model: "m".into(),
        created: None,
    }
}

fn opening() -> Opening {
    Opening {
        id: "x1".into(),
        model: "m".into(),
        ..Opening::default()
    }
}

fn encoded(events: &[Event]) -> (BytesMut, Vec<String>) {
    let (mut encoder, mut out) = (Encoder::new(opening()), BytesMut::new());
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    (out, encoder.dropped().to_vec())
}

fn decode(pieces: &[&[u8]]) -> Result<Vec<Event>, crate::canon::Malformed> {
    let (mut cutter, mut decoder, mut out) =
        (sse::Decoder::new(1 << 20), Decoder::default(), Vec::new());
    for piece in pieces {
        cutter.feed(Bytes::copy_from_slice(piece));
        while let Ok(Some(event)) = cutter.next() {
            decoder.event(&event, &mut out)?;
        }
    }
    if let Some(event) = cutter.rest() {
        decoder.event(&event, &mut out)?;
    }
    decoder.finish(&mut out)?;
    Ok(out)
}

/// Adds a stream up as official clients do, and fails where they would.
fn accumulated(bytes: &[u8]) -> Value {
    let mut message = Value::Null;
    let (mut open, mut inputs) = (None, Vec::<String>::new());
    let mut ended = false;
    for line in std::str::from_utf8(bytes).expect("UTF-8").lines() {
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let event: Value = serde_json::from_str(data).expect("json");
        assert!(!ended, "nothing follows message_stop");
        match event["type"].as_str().expect("type") {
            "message_start" => {
                assert!(message.is_null(), "one start");
                message = event["message"].clone();
                assert!(message["usage"]["input_tokens"].is_u64());
            }
            "content_block_start" => {
                assert_eq!(open, None, "one block at a time");
                let content = message["content"].as_array_mut().expect("array");
                assert_eq!(event["index"], content.len());
                open = Some(content.len());
                content.push(event["content_block"].clone());
                inputs.push(String::new());
            }
            "content_block_delta" => {
                let index = open.expect("an open block");
                assert_eq!(event["index"], index);
                let (block, d) = (&mut message["content"][index], &event["delta"]);
                let mut append = |name: &str| {
                    let sum = format!(
                        "{}{}",
                        block[name].as_str().unwrap_or(""),
                        d[name].as_str().expect("text")
                    );
                    block[name] = Value::from(sum);
                };
                match d["type"].as_str().expect("type") {
                    "text_delta" => append("text"),
                    "thinking_delta" => append("thinking"),
                    "signature_delta" => append("signature"),
                    "input_json_delta" => {
                        inputs[index].push_str(d["partial_json"].as_str().expect("text"))
                    }
                    _ => block["deltas"] = d.clone(),
                }
            }
            "content_block_stop" => {
                let index = open.take().expect("an open block");
                if !inputs[index].is_empty() {
                    message["content"][index]["input"] =
                        serde_json::from_str(&inputs[index]).expect("input");
                }
            }
            "message_delta" => {
                assert_eq!(open, None);
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["usage"] = event["usage"].clone();
            }
            "message_stop" => ended = true,
            other => panic!("{other}"),
        }
    }
    assert!(ended);
    message
}

fn everything() -> Vec<Event> {
    vec![
        started(),
        Event::Usage(Box::new(Usage {
            input_uncached: Some(Tokens(3)),
            cache_read: Some(Tokens(5)),
            cache_write_5m: Some(Tokens(7)),
            cache_write_1h: Some(Tokens(11)),
            output: Some(Tokens(1)),
            service_tier: Some("standard".into()),
            ..Usage::default()
        })),
        start(0, BlockStart::Thinking),
        delta(0, Delta::Thinking("hm \"ö\"\n".into())),
        delta(0, Delta::Signature("sig==".into())),
        stop(0),
        start(1, BlockStart::RedactedThinking { data: "zz".into() }),
        stop(1),
        start(2, BlockStart::Text),
        delta(
            2,
            Delta::Citation(Citation {
                dialect: DialectName::Messages,
                json: json(r#"{"type":"char_location","cited_text":"c","document_title":"t"}"#),
                url: None,
                title: Some("t".into()),
                cited_text: Some("c".into()),
            }),
        ),
        text(2, "a\n\n\"b\" 🦀"),
        stop(2),
        start(3, call("toolu_1", ToolKind::Function)),
        input(3, "{\"b\":1,"),
        input(3, "\"a\":2}"),
        stop(3),
        start(4, call("srvtoolu_1", ToolKind::Server)),
        input(4, "{}"),
        stop(4),
        start(
            5,
            BlockStart::Other {
                dialect: DialectName::Messages,
                json: json(
                    r#"{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]}"#,
                ),
            },
        ),
        stop(5),
        start(
            6,
            BlockStart::Other {
                dialect: DialectName::Messages,
                json: json(r#"{"type":"compaction","content":null}"#),
            },
        ),
        delta(
            6,
            Delta::Other {
                dialect: DialectName::Messages,
                json: json(r#"{"type":"compaction_delta","content":"sum"}"#),
            },
        ),
        stop(6),
        Event::Other {
            dialect: DialectName::Messages,
            name: "stop_details".into(),
            choice: 0,
            json: json(r#"{"type":"refusal","category":null}"#),
        },
        Event::Stop {
            choice: 0,
            reason: StopReason::StopSequence,
            sequence: Some("END".into()),
        },
        Event::Done,
    ]
}

fn without_usage(events: Vec<Event>) -> Vec<Event> {
    events
        .into_iter()
        .filter(|e| !matches!(e, Event::Usage(_)))
        .collect()
}

#[test]
fn round_trip_survives_any_cut() {
    let events = everything();
    let (bytes, dropped) = encoded(&events);
    assert_eq!(dropped, Vec::<String>::new());
    let whole = decode(&[&bytes]).expect("well-formed");
    assert_eq!(without_usage(whole.clone()), without_usage(events.clone()));
    let mut fold = Fold::default();
    whole.iter().for_each(|e| fold.event(e));
    let Event::Usage(usage) = &events[1] else {
        panic!("usage")
    };
    let read = fold.into_answer().usage;
    assert_eq!(Usage { raw: None, ..read }, **usage);
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(decode(&[head, tail]).expect("cut"), whole, "cut at {cut}");
    }
}

#[test]
fn an_answer_told_whole_is_the_answer_streamed() {
    let mut fold = Fold::default();
    everything().iter().for_each(|e| fold.event(e));
    let answer = fold.into_answer();
    let body = write_whole(&answer, &opening(), &Closing::default());
    let whole: Value = serde_json::from_slice(&body).expect("json");
    let streamed = accumulated(&encoded(&everything()).0);
    for i in [0, 1, 3, 4, 5] {
        assert_eq!(whole["content"][i], streamed["content"][i], "block {i}");
    }
    assert_eq!(whole["content"][2]["text"], "a\n\n\"b\" 🦀");
    assert_eq!(whole["content"][2]["citations"][0]["cited_text"], "c");
    assert_eq!(whole["content"][6]["content"], "sum");
    assert_eq!(whole["stop_details"]["type"], "refusal");
    assert_eq!(
        (&whole["usage"], &whole["id"]),
        (&streamed["usage"], &json!("msg_1"))
    );
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    decoder.whole(&body, &mut out).expect("well-formed");
    let mut fold = Fold::default();
    out.iter().for_each(|e| fold.event(e));
    let again = fold.into_answer();
    assert_eq!(again.blocks[..5], answer.blocks[..5]);
    assert_eq!((again.stops, again.done), (answer.stops, true));
}

#[test]
fn interleaved_blocks_are_told_one_at_a_time() {
    let events = [
        started(),
        start(0, BlockStart::Text),
        text(0, "I look"),
        start(1, call("a", ToolKind::Function)),
        input(1, "{\"x\":"),
        start(2, call("b", ToolKind::Function)),
        input(2, "{\"y\":"),
        text(0, " it up"),
        input(1, "1}"),
        input(2, "2}"),
        stop(0),
        stop(2),
        stop(1),
        stopped(StopReason::ToolUse),
        Event::Done,
    ];
    let message = accumulated(&encoded(&events).0);
    assert_eq!(
        message["content"],
        json!([
            {"type": "text", "text": "I look"},
            {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
            {"type": "tool_use", "id": "b", "name": "f", "input": {"y": 2}},
            {"type": "text", "text": " it up"},
        ])
    );
    assert_eq!(message["stop_reason"], "tool_use");
}

#[test]
fn blocks_that_never_stopped_are_closed_at_the_end() {
    let events = [
        started(),
        start(0, call("a", ToolKind::Function)),
        start(1, call("b", ToolKind::Function)),
        input(1, "{}"),
        stopped(StopReason::EndTurn),
        Event::Done,
    ];
    let message = accumulated(&encoded(&events).0);
    assert_eq!(message["content"].as_array().expect("array").len(), 2);
    // Some servers say `stop` beside calls.
    assert_eq!(message["stop_reason"], "tool_use");
}

#[test]
fn random_interleavings_lose_nothing() {
    for seed in 0..300 {
        let mut rng = Rng::seeded(seed);
        let (mut events, mut said) = (vec![started()], vec![String::new(); 4]);
        let mut live = Vec::new();
        let mut begun = 0;
        for n in 0..60 {
            if begun < 4 && rng.once_in(6) {
                let block = if begun % 2 == 0 {
                    BlockStart::Text
                } else {
                    call(&format!("t{begun}"), ToolKind::Custom)
                };
                events.push(start(begun, block));
                live.push(begun);
                begun += 1;
            } else if !live.is_empty() {
                let index = live[rng.below(live.len() as u64) as usize];
                let piece = format!("{n}\"\n");
                said[index as usize].push_str(&piece);
                events.push(if index % 2 == 0 {
                    text(index, &piece)
                } else {
                    input(index, &piece)
                });
            }
        }
        live.iter().for_each(|i| events.push(stop(*i)));
        events.push(stopped(StopReason::EndTurn));
        let message = accumulated(&encoded(&events).0);
        let content = message["content"].as_array().expect("array");
        for index in [1, 3].into_iter().filter(|i| *i < begun) {
            let block = content
                .iter()
                .find(|b| b["id"] == format!("t{index}"))
                .expect("the call");
            assert_eq!(block["input"]["input"], said[index as usize], "seed {seed}");
        }
        let told: usize = content
            .iter()
            .filter_map(|b| b["text"].as_str())
            .map(str::len)
            .sum();
        assert_eq!(told, said[0].len() + said[2].len(), "seed {seed}");
    }
}

#[test]
fn what_has_no_words_here_is_reported() {
    let events = [
        started(),
        start(0, BlockStart::Refusal),
        delta(0, Delta::Refusal("no".into())),
        stop(0),
        start(
            1,
            BlockStart::Image {
                media_type: None,
                url: None,
            },
        ),
        delta(1, Delta::Base64("AA".into())),
        stop(1),
        start(
            2,
            BlockStart::Audio {
                id: None,
                format: None,
            },
        ),
        delta(2, Delta::Transcript("hi".into())),
        delta(2, Delta::Base64("AA".into())),
        stop(2),
        Event::BlockStart {
            index: 3,
            choice: 1,
            block: BlockStart::Text,
        },
        text(3, "second"),
        stop(3),
        Event::Other {
            dialect: DialectName::Chat,
            name: "logprobs".into(),
            choice: 0,
            json: json("{}"),
        },
        Event::Stop {
            choice: 1,
            reason: StopReason::EndTurn,
            sequence: None,
        },
        stopped(StopReason::ContentFilter),
    ];
    let (bytes, dropped) = encoded(&events);
    assert_eq!(
        dropped,
        ["refusal", "image", "audio", "base64", "choices", "logprobs"]
    );
    let message = accumulated(&bytes);
    assert_eq!(
        message["content"],
        json!([{"type": "text", "text": "no"}, {"type": "text", "text": "hi"}])
    );
    assert_eq!(
        (&message["stop_reason"], &message["id"]),
        (&json!("refusal"), &json!("msg_1"))
    );
}

#[test]
fn what_stands_beside_the_blocks_is_told_where_clients_look() {
    let beside = |name: &str| Event::Other {
        dialect: DialectName::Messages,
        name: name.into(),
        choice: 0,
        json: json("{\"k\":1}"),
    };
    let names = [
        "diagnostics",
        "stop_details",
        "container",
        "context_management",
    ];
    let mut events = vec![started()];
    events.extend(names.map(beside));
    events.extend([
        start(0, BlockStart::Text),
        stop(0),
        stopped(StopReason::Refusal),
    ]);
    let (bytes, dropped) = encoded(&events);
    assert_eq!(dropped, Vec::<String>::new());
    let told: Vec<Value> = std::str::from_utf8(&bytes)
        .expect("UTF-8")
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect();
    assert_eq!(told[0]["message"]["diagnostics"]["k"], 1);
    let end = &told[told.len() - 2];
    assert_eq!(end["delta"]["stop_details"]["k"], 1);
    assert_eq!(end["delta"]["container"]["k"], 1);
    assert_eq!(end["context_management"]["k"], 1);
}

#[test]
fn usage_that_comes_last_reaches_the_client() {
    let mut events = vec![started(), start(0, BlockStart::Text), text(0, "a"), stop(0)];
    events.push(stopped(StopReason::EndTurn));
    events.push(Event::Usage(Box::new(Usage {
        input_uncached: Some(Tokens(9)),
        cache_write_30m: Some(Tokens(4)),
        output: Some(Tokens(2)),
        ..Usage::default()
    })));
    let message = accumulated(&encoded(&events).0);
    assert_eq!(message["usage"]["input_tokens"], 9);
    assert_eq!(message["usage"]["cache_creation_input_tokens"], 4);
    assert_eq!(message["usage"]["output_tokens"], 2);
}

fn stream(events: &[&str]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for data in events {
        let kind = serde_json::from_str::<Value>(data).expect("json")["type"]
            .as_str()
            .expect("type")
            .to_owned();
        sse::write(Some(&kind), None, data.as_bytes(), &mut out);
    }
    out.to_vec()
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":2,"cache_creation_input_tokens":10,"cache_creation":{"ephemeral_5m_input_tokens":4,"ephemeral_1h_input_tokens":6},"output_tokens":1}}}"#;
const END: &str = r#"{"type":"message_delta","delta":{"stop_reason":"new_reason","stop_sequence":null},"usage":{"cache_creation_input_tokens":15,"output_tokens":8,"output_tokens_details":{"thinking_tokens":3},"server_tool_use":{"web_search_requests":2}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

#[test]
fn usage_is_cumulative_and_the_split_of_writes_stays() {
    let events = decode(&[&stream(&[
        START,
        r#"{"type":"ping"}"#,
        r#"{"type":"brand_new","x":1}"#,
        END,
        STOP,
    ])])
    .expect("well-formed");
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    let answer = fold.into_answer();
    let usage = answer.usage;
    assert_eq!(
        (usage.cache_write_1h, usage.cache_write_5m),
        (Some(Tokens(6)), Some(Tokens(9)))
    );
    assert_eq!(
        (usage.input_uncached, usage.output),
        (Some(Tokens(2)), Some(Tokens(8)))
    );
    assert_eq!(
        (usage.reasoning, usage.web_searches),
        (Some(Tokens(3)), Some(2))
    );
    assert_eq!(answer.stops[0].1, StopReason::Other("new_reason".into()));
}

#[test]
fn only_a_total_of_writes_means_five_minutes() {
    let body = br#"{"id":"a","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1,"cache_creation_input_tokens":7}}"#;
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    decoder
        .whole(&Bytes::from_static(body), &mut out)
        .expect("well-formed");
    let Some(Event::Usage(usage)) = out.iter().find(|e| matches!(e, Event::Usage(_))) else {
        panic!("usage")
    };
    assert_eq!(
        (usage.cache_write_5m, usage.cache_write_1h),
        (Some(Tokens(7)), Some(Tokens(0)))
    );
}

#[test]
fn unknown_blocks_and_deltas_are_kept() {
    let events = decode(&[&stream(&[
        START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"hologram","x":[1]}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"hologram_delta","y":2}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        END,
        STOP,
    ])])
    .expect("well-formed");
    assert!(events.contains(&start(
        0,
        BlockStart::Other {
            dialect: DialectName::Messages,
            json: json(r#"{"type":"hologram","x":[1]}"#)
        }
    )));
    assert!(events.contains(&delta(
        0,
        Delta::Other {
            dialect: DialectName::Messages,
            json: json(r#"{"type":"hologram_delta","y":2}"#)
        }
    )));
}

#[test]
fn a_stream_that_is_cut_is_never_whole() {
    assert!(
        decode(&[&stream(&[START, END])]).is_err(),
        "no message_stop"
    );
    assert!(
        decode(&[&stream(&[START, STOP])]).is_err(),
        "no stop reason"
    );
    assert!(decode(&[&stream(&[START, START])]).is_err(), "two starts");
    assert!(decode(&[b""]).is_err(), "nothing");
}

#[test]
fn an_error_within_a_stream_has_its_class_both_ways() {
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let events = decode(&[&stream(&[START, error, STOP])]).expect("an end of its own");
    let Some(Event::Error(fault)) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(
        (fault.class, &*fault.message),
        (FaultClass::Overloaded, "Overloaded")
    );
    let mut out = BytesMut::new();
    Encoder::new(opening()).fail(fault, &Closing::default(), &mut out);
    assert!(out.starts_with(
        b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\""
    ));
    let mut out = BytesMut::new();
    Encoder::new(opening()).fail(
        &Fault::new(FaultClass::UpstreamBroken, "cut"),
        &Closing::default(),
        &mut out,
    );
    assert!(out.ends_with(b"\"request_id\":\"x1\"}\n\n"));
}

#[test]
fn no_bytes_and_no_json_make_the_decoder_panic() {
    let mut rng = Rng::seeded(5);
    let good = stream(&[START, END, STOP]);
    for _ in 0..3_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + rng.below(6) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.bits() as u8;
        }
        let _ = decode(&[&bytes]);
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        let _ = decoder.whole(&Bytes::from(bytes), &mut out);
        let event = sse::SseEvent {
            data: Bytes::from(random_json(&mut rng, 4)),
            ..sse::SseEvent::default()
        };
        let _ = decoder.event(&event, &mut out);
    }
}

pub(super) fn random_json(rng: &mut Rng, depth: u32) -> String {
    const WORDS: [&str; 24] = [
        "type",
        "message_start",
        "message",
        "content",
        "content_block_start",
        "content_block",
        "index",
        "delta",
        "text",
        "tool_use",
        "input",
        "role",
        "user",
        "messages",
        "model",
        "max_tokens",
        "system",
        "tools",
        "source",
        "usage",
        "tool_result",
        "thinking",
        "image",
        "document",
    ];
    let word = |rng: &mut Rng| WORDS[rng.below(WORDS.len() as u64) as usize];
    match rng.below(if depth == 0 { 4 } else { 7 }) {
        0 => "null".to_owned(),
        1 => rng.below(1 << 40).to_string(),
        2 => format!("{:?}", word(rng)),
        3 => "true".to_owned(),
        4 => {
            let items: Vec<String> = (0..rng.below(4))
                .map(|_| random_json(rng, depth - 1))
                .collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let fields: Vec<String> = (0..rng.below(6))
                .map(|_| format!("{:?}:{}", word(rng), random_json(rng, depth - 1)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
    }
}
