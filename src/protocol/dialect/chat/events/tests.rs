use super::*;
use crate::base::{Json, Rng, Str, Tokens};
use crate::canon::*;
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::framing::sse;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

fn opening(stream_usage: bool) -> Opening {
    Opening {
        id: "x-1".into(),
        created: 7,
        model: "m".into(),
        stream_usage,
        ..Opening::default()
    }
}

fn encoded(events: &[Event]) -> BytesMut {
    let (mut encoder, mut out) = (Encoder::new(opening(true)), BytesMut::new());
    for event in events {
        encoder.event(event, &mut out);
    }
    encoder.finish(&Closing::default(), &mut out);
    assert_eq!(encoder.dropped(), Vec::<String>::new());
    out
}

fn decoded(pieces: &[&[u8]]) -> Result<Vec<Event>, Malformed> {
    let (mut framing, mut decoder, mut out) =
        (sse::Decoder::new(1 << 20), Decoder::default(), Vec::new());
    for piece in pieces {
        framing.feed(Bytes::copy_from_slice(piece));
        while let Some(event) = framing.next().expect("short") {
            decoder.event(&event, &mut out)?;
        }
    }
    if let Some(rest) = framing.rest() {
        decoder.event(&rest, &mut out)?;
    }
    decoder.finish(&mut out)?;
    Ok(out)
}

fn folded(events: &[Event]) -> Answer {
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    fold.into_answer()
}

fn stream(chunks: &[Value]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for chunk in chunks {
        sse::write(None, None, chunk.to_string().as_bytes(), &mut out);
    }
    out.to_vec()
}

fn delta(choice: u32, delta: Value) -> Value {
    json!({"id": "a", "model": "m", "created": 1, "choices": [{"index": choice, "delta": delta, "finish_reason": null}]})
}

fn stop(choice: u32, reason: &str) -> Value {
    json!({"id": "a", "choices": [{"index": choice, "delta": {}, "finish_reason": reason}]})
}

/// Decodes deltas of one choice, ended by `reason`.
fn answer(deltas: &[Value], reason: &str) -> Answer {
    let mut chunks: Vec<Value> = deltas.iter().map(|d| delta(0, d.clone())).collect();
    chunks.push(stop(0, reason));
    folded(&decoded(&[&stream(&chunks)]).expect("whole"))
}

fn calls(answer: &Answer) -> Vec<(String, String)> {
    let each = answer.blocks.iter().filter_map(|b| match &b.start {
        BlockStart::ToolCall { name, .. } => Some((name.to_string(), b.text.clone())),
        _ => None,
    });
    each.collect()
}

/// An answer that has everything this dialect can say, as events.
fn everything() -> Vec<Event> {
    let (mut events, mut index) = (
        vec![Event::Started {
            id: "x-1".into(),
            model: "m".into(),
            created: Some(7),
        }],
        0,
    );
    let mut block = |events: &mut Vec<Event>, start: BlockStart, deltas: Vec<Delta>| {
        events.push(Event::BlockStart {
            index,
            choice: 0,
            block: start,
        });
        for delta in deltas {
            events.push(Event::BlockDelta { index, delta });
        }
        events.push(Event::BlockStop { index });
        index += 1;
    };
    let call = |id: &'static str, kind| BlockStart::ToolCall {
        id: id.into(),
        name: "f".into(),
        kind,
    };
    block(
        &mut events,
        BlockStart::Thinking,
        vec![
            Delta::Thinking("h\"m".into()),
            Delta::Thinking("m\n".into()),
            Delta::Signature("sig".into()),
        ],
    );
    block(
        &mut events,
        BlockStart::RedactedThinking { data: "zz".into() },
        vec![],
    );
    block(
        &mut events,
        BlockStart::Thinking,
        vec![
            Delta::Thinking("more".into()),
            Delta::Signature("s2".into()),
        ],
    );
    block(
        &mut events,
        BlockStart::Text,
        vec![
            Delta::Text("a\n\n\"é😀".into()),
            Delta::Text("b".into()),
            Delta::Citation(Citation {
                dialect: DialectName::Chat,
                json: Json::parse(
                    r#"{"type":"url_citation","url_citation":{"url":"http://u","title":"t"}}"#
                        .into(),
                )
                .expect("json"),
                url: Some("http://u".into()),
                title: Some("t".into()),
                cited_text: None,
            }),
        ],
    );
    block(
        &mut events,
        BlockStart::Refusal,
        vec![Delta::Refusal("no".into())],
    );
    block(
        &mut events,
        BlockStart::Audio {
            id: Some("au".into()),
            format: None,
        },
        vec![
            Delta::Transcript("hi".into()),
            Delta::Base64("AAAA".into()),
            Delta::Other {
                dialect: DialectName::Chat,
                json: Json::parse(r#"{"expires_at":9}"#.into()).expect("json"),
            },
        ],
    );
    block(
        &mut events,
        call("c1", ToolKind::Function),
        vec![
            Delta::ToolInput("{\"a\":".into()),
            Delta::ToolInput("1}".into()),
            Delta::Signature("ts".into()),
        ],
    );
    block(
        &mut events,
        call("c2", ToolKind::Custom),
        vec![Delta::ToolInput("free".into())],
    );
    events.push(Event::Other {
        dialect: DialectName::Chat,
        name: "logprobs".into(),
        choice: 0,
        json: Json::parse(r#"{"content":[1]}"#.into()).expect("json"),
    });
    events.push(Event::Stop {
        choice: 0,
        reason: StopReason::ToolUse,
        sequence: None,
    });
    events.push(Event::Other {
        dialect: DialectName::Chat,
        name: "moderation".into(),
        choice: 0,
        json: Json::parse(r#"{"input":1}"#.into()).expect("json"),
    });
    events.push(Event::Usage(Box::new(usage_of())));
    events.push(Event::Done);
    events
}

fn usage_of() -> Usage {
    Usage {
        input_uncached: Some(Tokens(3)),
        cache_read: Some(Tokens(2)),
        output: Some(Tokens(9)),
        reasoning: Some(Tokens(4)),
        ..Usage::default()
    }
}

fn without_raw(answer: Answer) -> Answer {
    let usage = Usage {
        raw: None,
        ..answer.usage
    };
    Answer { usage, ..answer }
}

#[test]
fn round_trip_survives_any_cut() {
    let events = everything();
    let bytes = encoded(&events);
    let whole = decoded(&[&bytes]).expect("whole");
    assert_eq!(without_raw(folded(&whole)), folded(&events));
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(
            decoded(&[head, tail]).expect("whole"),
            whole,
            "cut at {cut}"
        );
    }
}

#[test]
fn a_whole_answer_says_what_the_stream_says() {
    let wanted = folded(&everything());
    let body = write_whole(&wanted, &opening(false), &Closing::default());
    let value: Value = serde_json::from_slice(&body).expect("json");
    assert_eq!(value["object"], "chat.completion");
    assert_eq!(
        value["choices"][0]["message"]["reasoning_content"],
        "h\"mm\nmore"
    );
    assert_eq!(value["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(value["usage"]["prompt_tokens"], 5);
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    decoder.whole(&body, &mut out).expect("whole");
    let got = without_raw(folded(&out));
    assert!(got.done);
    assert_eq!(
        (calls(&got), &got.stops, &got.usage),
        (calls(&wanted), &wanted.stops, &wanted.usage)
    );
    let text = |a: &Answer, s: BlockStart| {
        a.blocks
            .iter()
            .filter(|b| b.start == s)
            .map(|b| b.text.clone())
            .collect::<String>()
    };
    assert_eq!(
        text(&got, BlockStart::Text),
        text(&wanted, BlockStart::Text)
    );
    assert_eq!(text(&got, BlockStart::Refusal), "no");
}

#[test]
fn chunks_have_the_shape_that_clients_parse() {
    let bytes = encoded(&everything());
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    assert!(text.ends_with("data: [DONE]\n\n"));
    let chunks: Vec<Value> = text
        .split("\n\n")
        .filter_map(|e| serde_json::from_str(e.strip_prefix("data: ")?).ok())
        .collect();
    assert_eq!(chunks.len() + 2, text.split("\n\n").count());
    let roles = chunks
        .iter()
        .filter(|c| !c["choices"][0]["delta"]["role"].is_null());
    assert_eq!(roles.count(), 1);
    assert!(
        chunks.iter().all(|c| c["id"] == "x-1"
            && c["object"] == "chat.completion.chunk"
            && c["created"] == 7)
    );
    let (last, rest) = chunks.split_last().expect("chunks");
    assert_eq!(
        (&last["choices"], &last["usage"]["total_tokens"]),
        (&json!([]), &json!(14))
    );
    assert!(
        rest.iter()
            .all(|c| c["usage"].is_null() && c.get("usage").is_some())
    );
    let indexes: Vec<&Value> = rest
        .iter()
        .map(|c| &c["choices"][0]["delta"]["tool_calls"][0]["index"])
        .filter(|v| !v.is_null())
        .collect();
    assert_eq!(indexes, [0, 0, 0, 0, 1, 1]);
}

#[test]
fn usage_is_told_only_to_who_asked() {
    let (mut encoder, mut out) = (Encoder::new(opening(false)), BytesMut::new());
    everything().iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    assert!(!String::from_utf8_lossy(&out).contains("usage"));
}

#[test]
fn what_has_no_words_here_is_named() {
    let (mut encoder, mut out) = (Encoder::new(opening(false)), BytesMut::new());
    let starts = [
        BlockStart::Image {
            media_type: None,
            url: None,
        },
        BlockStart::Video {
            media_type: None,
            url: None,
        },
        BlockStart::ToolCall {
            id: "s".into(),
            name: "web".into(),
            kind: ToolKind::Server,
        },
        BlockStart::Other {
            dialect: DialectName::Messages,
            json: Json::parse(r#"{"type":"web_search_tool_result"}"#.into()).expect("json"),
        },
        BlockStart::Image {
            media_type: None,
            url: None,
        },
    ];
    for (index, block) in starts.into_iter().enumerate() {
        let index = index as u32;
        encoder.event(
            &Event::BlockStart {
                index,
                choice: 0,
                block,
            },
            &mut out,
        );
        encoder.event(
            &Event::BlockDelta {
                index,
                delta: Delta::ToolInput("{}".into()),
            },
            &mut out,
        );
        encoder.event(&Event::BlockStop { index }, &mut out);
    }
    assert_eq!(
        encoder.dropped(),
        // A picture has no input.
        [
            "delta",
            "image",
            "video",
            "server_tool_use",
            "web_search_tool_result"
        ]
    );
    assert!(!String::from_utf8_lossy(&out).contains("tool_calls"));
}

#[test]
fn an_error_ends_the_stream_without_done() {
    let (mut encoder, mut out) = (Encoder::new(opening(true)), BytesMut::new());
    let fault = Fault::new(FaultClass::Overloaded, "later");
    encoder.fail(&fault, &Closing::default(), &mut out);
    let events = decoded(&[&out]).expect("an error is no malformed stream");
    let [Event::Error(read)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(
        (read.class, read.message.as_str()),
        (FaultClass::Overloaded, "later")
    );
}

#[test]
fn errors_within_a_stream_have_their_class() {
    for (data, class) in [
        (
            r#"{"error":{"message":"m","code":"server_is_overloaded"}}"#,
            FaultClass::Overloaded,
        ),
        (
            r#"{"error":{"object":"error","message":"m","code":503}}"#,
            FaultClass::Overloaded,
        ),
        (
            r#"{"object":"error","message":"m","code":400}"#,
            FaultClass::Invalid,
        ),
        (r#"{"error":"text"}"#, FaultClass::UpstreamBroken),
        (r#"{"detail":"text"}"#, FaultClass::UpstreamBroken),
        (
            r#"{"id":"a","choices":[],"error":{"code":429,"message":"m"}}"#,
            FaultClass::RateLimited,
        ),
    ] {
        let bytes = format!("data: {data}\n\ndata: [DONE]\n\n");
        let events = decoded(&[bytes.as_bytes()]).expect("told");
        assert!(
            matches!(&events[..], [Event::Error(f)] if f.class == class),
            "{data}: {events:?}"
        );
    }
}

#[test]
fn an_answer_without_its_end_is_never_whole() {
    let begun = stream(&[delta(0, json!({"content": "a"}))]);
    assert!(decoded(&[&begun]).is_err());
    let marked = [&begun[..], b"data: [DONE]\n\n"].concat();
    assert!(
        decoded(&[&marked]).is_err(),
        "[DONE] alone is no finish reason"
    );
    let half = stream(&[
        delta(0, json!({"content": "a"})),
        delta(1, json!({"content": "b"})),
        stop(0, "stop"),
    ]);
    assert!(decoded(&[&half]).is_err(), "one of two choices ended");
    assert!(decoded(&[b""]).is_err());
    // A finish reason for every choice is an end, also without [DONE].
    let ended = stream(&[delta(0, json!({"content": "a"})), stop(0, "stop")]);
    assert_eq!(
        decoded(&[&ended]).expect("whole").last(),
        Some(&Event::Done)
    );
}

#[test]
fn choices_interleave() {
    let events = decoded(&[&stream(&[
        delta(1, json!({"content": "b"})),
        delta(0, json!({"content": "a"})),
        delta(1, json!({"content": "B"})),
        stop(1, "length"),
        stop(0, "a_new_word"),
    ])])
    .expect("whole");
    let answer = folded(&events);
    let told: Vec<(u32, &str)> = answer
        .blocks
        .iter()
        .map(|b| (b.choice, b.text.as_str()))
        .collect();
    assert_eq!(told, [(1, "bB"), (0, "a")]);
    assert_eq!(
        answer.stops,
        [
            (1, StopReason::MaxTokens, None),
            (0, StopReason::Other("a_new_word".into()), None)
        ]
    );
}

#[test]
fn tool_calls_are_read_in_every_form() {
    let wanted = vec![
        ("f".to_owned(), "{\"a\":1}".to_owned()),
        ("g".to_owned(), "{}".to_owned()),
    ];
    let call = |v: Value| json!({"tool_calls": [v]});
    let forms: Vec<Vec<Value>> = vec![
        // OpenAI's.
        vec![
            call(
                json!({"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}),
            ),
            call(json!({"index": 0, "function": {"arguments": "{\"a\":"}})),
            call(json!({"index": 0, "function": {"arguments": "1}"}})),
            call(json!({"index": 1, "id": "2", "function": {"name": "g", "arguments": "{}"}})),
        ],
        // Id and name in every fragment.
        vec![
            call(json!({"index": 0, "id": "1", "function": {"name": "f", "arguments": "{\"a\":"}})),
            call(json!({"index": 0, "id": "1", "function": {"name": "f", "arguments": "1}"}})),
            call(json!({"index": 1, "id": "2", "function": {"name": "g", "arguments": "{}"}})),
        ],
        // Whole, without an index, and all under index 0.
        vec![
            json!({"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{\"a\":1}"}}, {"id": "2", "function": {"name": "g", "arguments": {}}}]}),
            call(json!({"id": "2", "function": {"arguments": "{}"}})),
        ],
        vec![
            call(
                json!({"index": 0, "id": "1", "function": {"name": "f", "arguments": "{\"a\":1}"}}),
            ),
            call(json!({"index": 0, "id": "2", "function": {"name": "g", "arguments": "{}"}})),
        ],
        // Without ids.
        vec![
            call(json!({"function": {"name": "f", "arguments": "{\"a\":1}"}})),
            call(json!({"function": {"name": "g", "arguments": "{}"}})),
        ],
        // Announced together, then filled in turns.
        vec![
            json!({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}}, {"index": 1, "id": "2", "function": {"name": "g", "arguments": ""}}]}),
            call(json!({"index": 0, "function": {"arguments": "{\"a\""}})),
            call(json!({"index": 1, "function": {"arguments": "{"}})),
            call(json!({"index": 0, "function": {"arguments": ":1}"}})),
            call(json!({"index": 1, "function": {"arguments": "}"}})),
        ],
    ];
    for form in forms {
        let answer = answer(&form, "stop");
        assert_eq!(calls(&answer), wanted, "{form:?}");
        assert_eq!(answer.stops[0].1, StopReason::ToolUse);
        assert!(answer.blocks.iter().all(|b| b.stopped));
        let ids: Vec<&Str> = answer
            .blocks
            .iter()
            .filter_map(|b| match &b.start {
                BlockStart::ToolCall { id, .. } => Some(id),
                _ => None,
            })
            .collect();
        assert!(ids[0] != ids[1] && !ids[0].is_empty());
    }
    let legacy = answer(
        &[
            json!({"function_call": {"name": "f", "arguments": ""}}),
            json!({"function_call": {"arguments": "{}"}}),
        ],
        "function_call",
    );
    assert_eq!(calls(&legacy), [("f".to_owned(), "{}".to_owned())]);
}

#[test]
fn thinking_is_read_under_every_name() {
    for deltas in [
        vec![json!({"reasoning_content": "hm"}), json!({"content": "x"})],
        vec![
            json!({"reasoning": "hm", "reasoning_content": null}),
            json!({"content": "x"}),
        ],
        vec![
            json!({"reasoning": "hm", "reasoning_content": "hm"}),
            json!({"content": "x"}),
        ],
        vec![
            json!({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0}]}),
            json!({"content": "x"}),
        ],
        vec![
            json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
            json!({"content": [{"type": "text", "text": "x"}]}),
        ],
    ] {
        let answer = answer(&deltas, "stop");
        let told: Vec<(&BlockStart, &str)> = answer
            .blocks
            .iter()
            .map(|b| (&b.start, b.text.as_str()))
            .collect();
        assert_eq!(
            told,
            [(&BlockStart::Thinking, "hm"), (&BlockStart::Text, "x")],
            "{deltas:?}"
        );
    }
}

#[test]
fn odd_chunks_break_nothing() {
    let bytes = stream(&[
        json!({"id": "", "model": "", "choices": [], "prompt_filter_results": [{"x": 1}]}),
        json!({"id": "a", "obfuscation": "zz", "usage": null, "choices": [{"delta": {"role": "assistant", "content": null, "new": 1}, "index": 0, "logprobs": null}]}),
        json!({"id": "a", "choices": [{"delta": {"content": "x"}, "index": 0}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}),
        json!({"id": "a", "choices": [{"delta": {"content": ""}, "finish_reason": "stop", "matched_stop": "END", "index": 0}], "x_groq": {"usage": {"prompt_tokens": 1, "completion_tokens": 5}}}),
    ]);
    let answer = folded(&decoded(&[&bytes]).expect("whole"));
    assert_eq!((&*answer.id, answer.blocks.len()), ("a", 1));
    assert_eq!(answer.usage.output, Some(Tokens(5)));
    assert_eq!(
        answer.stops,
        [(0, StopReason::StopSequence, Some("END".into()))]
    );
}

#[test]
fn garbage_is_an_error_not_a_panic() {
    let mut rng = Rng::seeded(23);
    let good = encoded(&everything());
    for _ in 0..2_000 {
        let mut bad = good.to_vec();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bad.len() as u64) as usize;
            bad[at] = b"{}[]\",:0nt\\\xff\n"[rng.below(13) as usize];
        }
        let _ = decoded(&[&bad]);
        let random: Vec<u8> = (0..rng.below(80)).map(|_| rng.bits() as u8).collect();
        let _ = Decoder::default().whole(&Bytes::from(random), &mut Vec::new());
    }
}
