//! Answers of both directions, in small cases.

use super::{Decoder, Encoder, write_whole};
use crate::base::{Json, Tokens};
use crate::canon::{
    Answer, BlockStart, Citation, Delta, DialectName, Event, Fault, FaultClass, Fold, StopReason,
    ToolKind, Usage,
};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::framing::sse::{self, SseEvent};
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

fn events_of(chunks: &[Value]) -> Result<Vec<Event>, String> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    for chunk in chunks {
        let event = SseEvent {
            data: chunk.to_string().into(),
            ..SseEvent::default()
        };
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

fn answer(chunks: &[Value]) -> Answer {
    folded(&events_of(chunks).expect("whole"))
}

fn parts(parts: Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}}]})
}

fn last(reason: &str) -> Value {
    json!({"candidates": [{"finishReason": reason, "index": 0}]})
}

/// Blocks by kind and text.
fn said(answer: &Answer) -> Vec<(&'static str, &str)> {
    let kind = |start: &BlockStart| match start {
        BlockStart::Text => "text",
        BlockStart::Thinking => "thinking",
        BlockStart::ToolCall { .. } => "call",
        BlockStart::Image { .. } => "image",
        BlockStart::Audio { .. } => "audio",
        BlockStart::Video { .. } => "video",
        _ => "other",
    };
    let blocks = answer.blocks.iter();
    blocks
        .map(|b| {
            let text = if b.base64.is_empty() {
                &b.text
            } else {
                &b.base64
            };
            (kind(&b.start), text.as_str())
        })
        .collect()
}

#[test]
fn neighbours_of_one_kind_are_one_block_until_a_signature_ends_it() {
    let answer = answer(&[
        parts(json!([{"text": "h", "thought": true}])),
        parts(json!([{"text": "m", "thought": true}, {"text": "a"}])),
        parts(json!([{"text": "b", "thoughtSignature": "s1"}])),
        parts(json!([{"text": "c"}])),
        parts(json!([{"text": "", "thoughtSignature": "s2"}, {"text": ""}])),
        last("STOP"),
    ]);
    assert_eq!(
        said(&answer),
        [("thinking", "hm"), ("text", "ab"), ("text", "c")]
    );
    let signatures: Vec<_> = answer
        .blocks
        .iter()
        .map(|b| b.signature.as_deref())
        .collect();
    assert_eq!(signatures, [None, Some("s1"), Some("s2")]);
    assert_eq!(answer.stops, [(0, StopReason::EndTurn, None)]);
}

#[test]
fn calls_are_whole_and_stop_for_tools() {
    let answer = answer(&[
        json!({"responseId": "r/1", "candidates": [{"content": {"parts": [
            {"functionCall": {"id": "k", "name": "f", "args": {"a": 1}}, "thoughtSignature": "s"},
            {"functionCall": {"name": "g"}},
        ]}}]}),
        last("STOP"),
    ]);
    assert_eq!(said(&answer), [("call", "{\"a\":1}"), ("call", "{}")]);
    assert_eq!(answer.blocks[0].signature.as_deref(), Some("s"));
    let ids: Vec<_> = answer
        .blocks
        .iter()
        .map(|b| match &b.start {
            BlockStart::ToolCall { id, .. } => id.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, ["k", "gcall_r1_0_1"]);
    assert_eq!(answer.stops[0].1, StopReason::ToolUse);
}

#[test]
fn arguments_in_pieces_are_gathered() {
    let piece = |args: Value, more: bool| {
        parts(json!([{"functionCall": {"partialArgs": args, "willContinue": more}}]))
    };
    let told = answer(&[
        parts(
            json!([{"functionCall": {"name": "f", "willContinue": true}, "thoughtSignature": "s"}]),
        ),
        piece(
            json!([{"jsonPath": "$.a", "stringValue": "x", "willContinue": true}]),
            true,
        ),
        piece(
            json!([{"jsonPath": "$.a", "stringValue": "y"}, {"jsonPath": "$['b'].c[0]", "numberValue": 1.5}]),
            true,
        ),
        piece(
            json!([{"jsonPath": "$.b.c[1]", "boolValue": true}, {"jsonPath": "$.d", "nullValue": "NULL_VALUE"}]),
            true,
        ),
        // Places that cannot be.
        piece(
            json!([{"jsonPath": "$.b.c[9000000000]", "stringValue": "z"}, {"jsonPath": "a", "stringValue": "z"}]),
            true,
        ),
        parts(json!([{"functionCall": {}}])),
        last("STOP"),
    ]);
    assert_eq!(
        said(&told),
        [("call", r#"{"a":"xy","b":{"c":[1.5,true]},"d":null}"#)]
    );
    assert_eq!(told.blocks[0].signature.as_deref(), Some("s"));
    // A call that the answer's end cuts short is told as far as it came.
    let cut = answer(&[
        parts(json!([{"functionCall": {"name": "f", "willContinue": true}}])),
        last("MAX_TOKENS"),
    ]);
    assert_eq!(said(&cut), [("call", "{}")]);
    assert_eq!(cut.stops[0].1, StopReason::MaxTokens);
}

#[test]
fn media_come_out_as_blocks_and_speech_is_put_together() {
    let audio =
        |data: &str| json!({"inlineData": {"mimeType": "audio/L16;rate=24000", "data": data}});
    let answer = answer(&[
        parts(
            json!([{"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "s"}]),
        ),
        parts(json!([audio("BBBB"), audio("CC==")])),
        parts(json!([audio("DDDD")])),
        parts(json!([{"fileData": {"mimeType": "video/mp4", "fileUri": "gs://v"}}])),
        parts(json!([{"codeExecutionResult": {"outcome": "OUTCOME_OK"}}])),
        last("STOP"),
    ]);
    assert_eq!(
        said(&answer),
        [
            ("image", "AAAA"),
            ("audio", "BBBBCC=="),
            ("audio", "DDDD"),
            ("video", ""),
            ("other", "")
        ]
    );
    assert!(matches!(
        &answer.blocks[1].start,
        BlockStart::Audio { format: Some(f), .. } if &**f == "L16;rate=24000"
    ));
}

#[test]
fn every_finish_reason_means_something() {
    for (word, reason) in [
        ("STOP", StopReason::EndTurn),
        ("MAX_TOKENS", StopReason::MaxTokens),
        ("SAFETY", StopReason::ContentFilter),
        ("RECITATION", StopReason::ContentFilter),
        ("IMAGE_SAFETY", StopReason::ContentFilter),
        ("CONTINUATION", StopReason::Pause),
        (
            "MALFORMED_FUNCTION_CALL",
            StopReason::Other("MALFORMED_FUNCTION_CALL".into()),
        ),
        ("NEW_WORD", StopReason::Other("NEW_WORD".into())),
    ] {
        let answer = answer(&[parts(json!([{"text": "a"}])), last(word)]);
        assert_eq!(answer.stops, [(0, reason, None)], "{word}");
    }
}

#[test]
fn an_answer_that_failed_before_its_first_word_can_be_tried_again() {
    let usage = json!({"promptTokenCount": 3, "totalTokenCount": 3});
    let events = events_of(&[
        json!({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}], "usageMetadata": usage}),
    ]);
    let answer = folded(&events.expect("an error is an end"));
    let fault = answer.error.expect("failed");
    assert_eq!(
        (fault.class, fault.code.as_deref()),
        (FaultClass::UpstreamBroken, Some("malformed_function_call"))
    );
    // What it cost is known.
    assert_eq!(answer.usage.input_total(), Tokens(3));
}

#[test]
fn a_prompt_that_is_refused_is_an_answer_of_the_filter() {
    let chunk = json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}});
    let answer = answer(&[chunk]);
    assert_eq!(answer.stops, [(0, StopReason::ContentFilter, None)]);
    assert!(answer.done && answer.blocks.is_empty());
}

#[test]
fn several_candidates_are_kept_apart() {
    let both = |a: Value, b: Value| json!({"candidates": [a, b]});
    let text =
        |index: u32, text: &str| json!({"index": index, "content": {"parts": [{"text": text}]}});
    let answer = answer(&[
        both(text(0, "a"), text(1, "x")),
        both(text(1, "y"), text(0, "b")),
        both(
            json!({"index": 0, "finishReason": "STOP"}),
            json!({"index": 1, "finishReason": "MAX_TOKENS"}),
        ),
    ]);
    assert_eq!(said(&answer), [("text", "ab"), ("text", "xy")]);
    assert_eq!(answer.stops[1], (1, StopReason::MaxTokens, None));
    events_of(&[both(text(0, "a"), text(1, "x")), last("STOP")]).expect_err("candidate 1 is open");
}

#[test]
fn an_answer_that_was_cut_is_not_whole() {
    events_of(&[]).expect_err("nothing came");
    events_of(&[parts(json!([{"text": "a"}]))]).expect_err("no finish reason");
    let mut out = Vec::new();
    let array = Bytes::from(json!([parts(json!([{"text": "a"}]))]).to_string());
    Decoder::default()
        .whole(&array, &mut out)
        .expect_err("the array ended early");
    // An object that parsed was not cut.
    let object = Bytes::from(parts(json!([{"text": "a"}])).to_string());
    out.clear();
    Decoder::default().whole(&object, &mut out).expect("whole");
    assert_eq!(out.last(), Some(&Event::Done));
}

#[test]
fn errors_within_a_stream_break_it_in_every_form() {
    let error = json!({"error": {"code": 503, "message": "full", "status": "UNAVAILABLE"}});
    for chunk in [error.clone(), json!([error])] {
        let answer = answer(&[parts(json!([{"text": "a"}])), chunk]);
        assert_eq!(answer.error.expect("failed").class, FaultClass::Overloaded);
    }
}

#[test]
fn what_is_unknown_does_not_break_a_stream() {
    let answer = answer(&[
        json!({"new": 1, "candidates": [{"newer": {"a": 1}, "content": {"parts": [{}, {"newest": 1}], "x": 1}, "index": null}]}),
        json!({}),
        last("STOP"),
    ]);
    assert_eq!(said(&answer), [("other", "")]);
    assert_eq!(&*answer.others[0].1, "newer");
    events_of(&[json!({"candidates": [{"content": 7}]})]).expect_err("no content");
    events_of(&[json!({"candidates": [{"content": {"parts": [7]}}]})]).expect_err("no part");
}

#[test]
fn sources_become_citations_and_stay_whole_beside_them() {
    let grounding = json!({
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}, {"retrievedContext": {"text": "t"}}],
        "groundingSupports": [{"segment": {"endIndex": 3}, "groundingChunkIndices": [0, 1, 7]}],
        "webSearchQueries": ["q", "r"],
    });
    let answer = answer(&[
        parts(json!([{"text": "abc"}])),
        json!({"candidates": [{"finishReason": "STOP", "groundingMetadata": grounding,
            "citationMetadata": {"citationSources": [{"uri": "https://b", "startIndex": 0}]}}]}),
    ]);
    let cited: Vec<_> = answer.blocks[0]
        .citations
        .iter()
        .map(|c| {
            (
                c.url.as_deref(),
                c.title.as_deref(),
                c.cited_text.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        cited,
        [
            (Some("https://a"), Some("A"), None),
            (None, None, Some("t")),
            (Some("https://b"), None, None)
        ]
    );
    assert_eq!(answer.usage.web_searches, Some(2));
    assert_eq!(answer.others.len(), 2);
}

/// An answer with something of each kind, from another dialect.
fn foreign() -> Vec<Event> {
    let block = |index, block| Event::BlockStart {
        index,
        choice: 0,
        block,
    };
    let delta = |index, delta| Event::BlockDelta { index, delta };
    let stop = |index| Event::BlockStop { index };
    let citation = Citation {
        dialect: DialectName::Chat,
        json: Json::empty_object(),
        url: Some("https://a".into()),
        title: Some("A".into()),
        cited_text: None,
    };
    let call = BlockStart::ToolCall {
        id: "c1".into(),
        name: "f".into(),
        kind: ToolKind::Function,
    };
    let usage = Usage {
        input_uncached: Some(Tokens(5)),
        cache_read: Some(Tokens(2)),
        output: Some(Tokens(9)),
        reasoning: Some(Tokens(4)),
        ..Usage::default()
    };
    vec![
        Event::Started {
            id: "x".into(),
            model: "m".into(),
            created: Some(5),
        },
        block(0, BlockStart::Thinking),
        delta(0, Delta::Thinking("hm".into())),
        delta(0, Delta::Signature("s".into())),
        stop(0),
        block(1, BlockStart::Text),
        delta(1, Delta::Text("é\"\n".into())),
        delta(1, Delta::Citation(citation)),
        stop(1),
        block(2, call),
        delta(2, Delta::ToolInput("{\"a\":".into())),
        delta(2, Delta::ToolInput("1}".into())),
        stop(2),
        block(3, BlockStart::RedactedThinking { data: "d".into() }),
        stop(3),
        Event::Stop {
            choice: 0,
            reason: StopReason::ToolUse,
            sequence: None,
        },
        Event::Usage(Box::new(usage)),
        Event::Done,
    ]
}

fn opening(array: bool) -> Opening {
    Opening {
        id: "x1".into(),
        model: "client-model".into(),
        created: 9,
        array,
        ..Opening::default()
    }
}

fn chunks_of(events: &[Event]) -> (Vec<Value>, Vec<String>) {
    let (mut encoder, mut out) = (Encoder::new(opening(false)), BytesMut::new());
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    let text = String::from_utf8(out.to_vec()).expect("UTF-8");
    let chunks = text.split_terminator("\r\n\r\n").map(|event| {
        let data = event.strip_prefix("data: ").expect("a data event");
        serde_json::from_str(data).expect("JSON")
    });
    (chunks.collect(), encoder.dropped().to_vec())
}

#[test]
fn a_stream_is_what_googles_own_clients_read() {
    let (chunks, dropped) = chunks_of(&foreign());
    assert_eq!(dropped, ["redacted_thinking"]);
    let parts: Vec<Value> = chunks
        .iter()
        .map(|c| c["candidates"][0]["content"]["parts"][0].clone())
        .collect();
    assert_eq!(
        parts,
        [
            json!({"text": "hm", "thought": true}),
            json!({"text": "", "thought": true, "thoughtSignature": "s"}),
            json!({"text": "é\"\n"}),
            json!({"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}}),
            json!({"text": ""}),
        ]
    );
    for chunk in &chunks {
        assert_eq!(chunk["modelVersion"], "client-model");
        assert_eq!(chunk["responseId"], "x1");
        assert_eq!(chunk["createTime"], "1970-01-01T00:00:09Z");
        assert_eq!(chunk["candidates"][0]["content"]["role"], "model");
    }
    let last = &chunks[4];
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert_eq!(
        last["usageMetadata"],
        json!({"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 16, "cachedContentTokenCount": 2, "thoughtsTokenCount": 4})
    );
    assert_eq!(
        last["candidates"][0]["groundingMetadata"],
        json!({
            "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}],
            "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 4}, "groundingChunkIndices": [0]}],
        })
    );
    let again = answer(&chunks);
    assert_eq!(again.usage.output, Some(Tokens(9)));
    assert_eq!(again.stops[0].1, StopReason::ToolUse);
    let cited = again.blocks.iter().flat_map(|b| &b.citations);
    assert_eq!(
        cited.map(|c| c.url.as_deref()).collect::<Vec<_>>(),
        [Some("https://a")]
    );
}

#[test]
fn an_array_says_what_the_stream_says_and_so_does_one_body() {
    let events = foreign();
    let (chunks, _) = chunks_of(&events);
    let (mut encoder, mut out) = (Encoder::new(opening(true)), BytesMut::new());
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    let array: Vec<Value> = serde_json::from_slice(&out).expect("an array");
    assert_eq!(array, chunks);
    let body = write_whole(&folded(&events), &opening(false), &Closing::default());
    let mut told = Vec::new();
    Decoder::default().whole(&body, &mut told).expect("whole");
    let (whole, streamed) = (folded(&told), answer(&chunks));
    assert_eq!(said(&whole)[..3], said(&streamed)[..3]);
    assert_eq!(
        (&whole.stops, &whole.usage.output),
        (&streamed.stops, &streamed.usage.output)
    );
}

#[test]
fn a_stream_that_breaks_off_ends_with_the_error() {
    let fault = Fault::new(FaultClass::Overloaded, "full");
    for array in [false, true] {
        for any in [false, true] {
            let (mut encoder, mut out) = (Encoder::new(opening(array)), BytesMut::new());
            if any {
                foreign()[..3]
                    .iter()
                    .for_each(|e| encoder.event(e, &mut out));
            }
            encoder.fail(&fault, &Closing::default(), &mut out);
            let mut told = Vec::new();
            let mut decoder = Decoder::default();
            if array {
                decoder.whole(&out.freeze(), &mut told).expect("an end");
            } else {
                let mut framing = sse::Decoder::new(1 << 20);
                framing.feed(out.freeze());
                while let Some(event) = framing.next().expect("short") {
                    decoder.event(&event, &mut told).expect("right");
                }
            }
            let Some(Event::Error(again)) = told.last() else {
                panic!("{told:?}");
            };
            assert_eq!(
                (again.class, &*again.message),
                (FaultClass::Overloaded, "full")
            );
        }
    }
}
