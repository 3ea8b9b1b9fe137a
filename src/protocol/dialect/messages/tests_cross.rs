//! Promises across dialects: what was said in one is understood in the other, in both directions.

use crate::canon::{Answer, BlockStart, DialectName, Fold, StopReason};
use crate::protocol::dialect::{Closing, Decoder, Encoder, Opening, write_answer};
use crate::protocol::framing::sse;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use DialectName::{Chat, Messages};

fn opening() -> Opening {
    Opening {
        id: "x1".into(),
        model: "client-model".into(),
        stream_usage: true,
        ..Opening::default()
    }
}

/// What a client of `to` is streamed when a provider of `from` says `stream`, and what was dropped.
fn told(from: DialectName, stream: &[u8], to: DialectName) -> (Vec<u8>, Vec<String>) {
    let (mut cutter, mut decoder) = (sse::Decoder::new(1 << 20), Decoder::new(from));
    let (mut encoder, mut events, mut out) =
        (Encoder::new(to, opening()), Vec::new(), BytesMut::new());
    cutter.feed(Bytes::copy_from_slice(stream));
    while let Some(event) = cutter.next().expect("short") {
        decoder.event(&event, &mut events).expect("well-formed");
    }
    decoder.finish(&mut events).expect("whole");
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    (out.to_vec(), encoder.dropped().to_vec())
}

fn folded(dialect: DialectName, stream: &[u8]) -> Answer {
    let (mut cutter, mut decoder) = (sse::Decoder::new(1 << 20), Decoder::new(dialect));
    let mut events = Vec::new();
    cutter.feed(Bytes::copy_from_slice(stream));
    while let Some(event) = cutter.next().expect("short") {
        decoder.event(&event, &mut events).expect("well-formed");
    }
    decoder.finish(&mut events).expect("whole");
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    fold.into_answer()
}

fn messages_stream(blocks: &[(Value, Vec<Value>)], stop: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut say = |event: Value| {
        let name = event["type"].as_str().expect("type").to_owned();
        sse::write(Some(&name), None, event.to_string().as_bytes(), &mut out);
    };
    say(
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
        "model": "m", "content": [], "stop_reason": null,
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 30, "output_tokens": 1}}}),
    );
    for (index, (start, deltas)) in blocks.iter().enumerate() {
        say(json!({"type": "content_block_start", "index": index, "content_block": start}));
        for delta in deltas {
            say(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        say(json!({"type": "content_block_stop", "index": index}));
    }
    say(
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": {"output_tokens": 9}}),
    );
    say(json!({"type": "message_stop"}));
    out.to_vec()
}

fn chat_stream(deltas: &[Value], finish: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut say = |delta: &Value, finish: Value| {
        let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        sse::write(None, None, chunk.to_string().as_bytes(), &mut out);
    };
    say(&json!({"role": "assistant", "content": ""}), Value::Null);
    deltas.iter().for_each(|d| say(d, Value::Null));
    say(&json!({}), Value::from(finish));
    let usage = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 60, "completion_tokens": 9, "total_tokens": 69, "prompt_tokens_details": {"cached_tokens": 20}}});
    sse::write(None, None, usage.to_string().as_bytes(), &mut out);
    sse::write(None, None, b"[DONE]", &mut out);
    out.to_vec()
}

/// The blocks' text by kind: what a reader of either dialect must find.
fn said(answer: &Answer) -> Vec<(&'static str, String)> {
    let kind = |start: &BlockStart| match start {
        BlockStart::Text => "text",
        BlockStart::Thinking => "thinking",
        BlockStart::ToolCall { .. } => "call",
        BlockStart::Refusal => "refusal",
        _ => "other",
    };
    answer
        .blocks
        .iter()
        .filter(|b| !b.text.is_empty())
        .map(|b| (kind(&b.start), b.text.clone()))
        .collect()
}

fn calls(answer: &Answer) -> Vec<(String, String, Value)> {
    let mut calls = Vec::new();
    for block in &answer.blocks {
        if let BlockStart::ToolCall { id, name, .. } = &block.start {
            let input = serde_json::from_str(&block.text).expect("input");
            calls.push((id.to_string(), name.to_string(), input));
        }
    }
    calls
}

#[test]
fn parallel_calls_cross_both_ways() {
    let deltas = [
        json!({"content": "Looking "}),
        json!({"content": "it up"}),
        json!({"tool_calls": [{"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
        json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"x\":"}}]}),
        json!({"tool_calls": [{"index": 1, "id": "call_b", "type": "function", "function": {"name": "g", "arguments": "{\"y\""}}]}),
        json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}, {"index": 1, "function": {"arguments": ":2}"}}]}),
    ];
    let (bytes, dropped) = told(Chat, &chat_stream(&deltas, "tool_calls"), Messages);
    assert_eq!(dropped, Vec::<String>::new());
    let answer = folded(Messages, &bytes);
    let expected = [
        ("call_a".to_owned(), "f".to_owned(), json!({"x": 1})),
        ("call_b".to_owned(), "g".to_owned(), json!({"y": 2})),
    ];
    assert_eq!(said(&answer)[0], ("text", "Looking it up".to_owned()));
    assert_eq!(calls(&answer), expected);
    assert_eq!(answer.stops[0].1, StopReason::ToolUse);
    assert_eq!(answer.usage.cache_read.map(|t| t.0), Some(20));
    assert_eq!(answer.usage.input_uncached.map(|t| t.0), Some(40));

    let (back, _) = told(Messages, &bytes, Chat);
    let again = folded(Chat, &back);
    assert_eq!(calls(&again), expected);
    assert_eq!(said(&again)[0], ("text", "Looking it up".to_owned()));
    assert_eq!(again.stops[0].1, StopReason::ToolUse);
    assert_eq!(again.usage.input_total(), answer.usage.input_total());
}

#[test]
fn thinking_and_text_cross_to_chat() {
    let stream = messages_stream(
        &[
            (
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                vec![
                    json!({"type": "thinking_delta", "thinking": "hm"}),
                    json!({"type": "signature_delta", "signature": "s"}),
                ],
            ),
            (
                json!({"type": "text", "text": ""}),
                vec![json!({"type": "text_delta", "text": "so \"ö\"\n"})],
            ),
        ],
        "end_turn",
    );
    let (bytes, _) = told(Messages, &stream, Chat);
    let answer = folded(Chat, &bytes);
    assert_eq!(
        said(&answer),
        [
            ("thinking", "hm".to_owned()),
            ("text", "so \"ö\"\n".to_owned())
        ]
    );
    assert_eq!(answer.usage.input_total().0, 60);
    assert_eq!(answer.stops[0].1, StopReason::EndTurn);
    // Reasoning is never told as content.
    let text = String::from_utf8(bytes).expect("UTF-8");
    assert!(!text.contains("\"content\":\"hm\""), "{text}");
}

#[test]
fn a_call_without_input_is_an_empty_object_for_chat() {
    let stream = messages_stream(
        &[(
            json!({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}),
            vec![json!({"type": "input_json_delta", "partial_json": ""})],
        )],
        "tool_use",
    );
    let (bytes, _) = told(Messages, &stream, Chat);
    assert_eq!(
        calls(&folded(Chat, &bytes)),
        [("toolu_1".to_owned(), "f".to_owned(), json!({}))]
    );
}

#[test]
fn a_refusal_crosses_as_text_and_reason() {
    let (bytes, _) = told(
        Chat,
        &chat_stream(&[json!({"refusal": "I cannot"})], "content_filter"),
        Messages,
    );
    let answer = folded(Messages, &bytes);
    assert_eq!(said(&answer), [("text", "I cannot".to_owned())]);
    assert_eq!(answer.stops[0].1, StopReason::Refusal);
}

#[test]
fn each_stop_has_its_word_on_the_other_side() {
    for (word, chat) in [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop"),
        ("refusal", "content_filter"),
    ] {
        let stream = messages_stream(
            &[(
                json!({"type": "text", "text": ""}),
                vec![json!({"type": "text_delta", "text": "a"})],
            )],
            word,
        );
        let (bytes, _) = told(Messages, &stream, Chat);
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(
            text.contains(&format!("\"finish_reason\":\"{chat}\"")),
            "{word}: {text}"
        );
    }
}

#[test]
fn whole_answers_say_what_streams_say() {
    let deltas = [
        json!({"content": "a"}),
        json!({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "not json"}}]}),
    ];
    let answer = folded(Chat, &chat_stream(&deltas, "tool_calls"));
    let body = write_answer(Messages, &answer, &opening(), &Closing::default());
    let value: Value = serde_json::from_slice(&body).expect("json");
    assert_eq!(value["content"][1]["input"], json!({"raw": "not json"}));
    assert_eq!(
        (&value["stop_reason"], &value["id"]),
        (&json!("tool_use"), &json!("msg_x1"))
    );
    let body = write_answer(
        Chat,
        &folded(
            Messages,
            &messages_stream(
                &[(json!({"type": "text", "text": "hi"}), vec![])],
                "end_turn",
            ),
        ),
        &opening(),
        &Closing::default(),
    );
    let value: Value = serde_json::from_slice(&body).expect("json");
    assert_eq!(value["choices"][0]["message"]["content"], "hi");
}
