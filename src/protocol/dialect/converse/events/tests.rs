use super::*;
use crate::base::{Json, Str, Tokens};
use crate::canon::{
    Answer, BlockStart, Delta, DialectName, Event, Fault, FaultClass, Fold, Malformed, StopReason,
    ToolKind, Usage,
};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::framing::sse::{self, SseEvent};
use bytes::{Bytes, BytesMut};

fn sse(name: &str, data: &str) -> SseEvent {
    SseEvent {
        name: Bytes::copy_from_slice(name.as_bytes()),
        data: Bytes::copy_from_slice(data.as_bytes()),
        id: None,
        raw: Bytes::new(),
    }
}

fn decoded(stream: &[(&str, &str)]) -> Result<Vec<Event>, Malformed> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    for (name, data) in stream {
        decoder.event(&sse(name, data), &mut out)?;
    }
    decoder.finish(&mut out)?;
    Ok(out)
}

fn folded(events: &[Event]) -> Answer {
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    let mut answer = fold.into_answer();
    answer.usage.raw = None;
    answer
}

fn encoded(events: &[Event]) -> Bytes {
    let (mut encoder, mut out) = (Encoder::new(Opening::default()), BytesMut::new());
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    out.freeze()
}

fn cut(bytes: Bytes) -> Vec<SseEvent> {
    let (mut decoder, mut out) = (sse::Decoder::new(1 << 20), Vec::new());
    decoder.feed(bytes);
    while let Some(event) = decoder.next().expect("short") {
        out.push(event);
    }
    out
}

fn read_again(bytes: Bytes) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    for event in cut(bytes) {
        decoder.event(&event, &mut out).expect("ours");
    }
    decoder.finish(&mut out).expect("whole");
    out
}

const START: (&str, &str) = ("messageStart", r#"{"role":"assistant","p":"abc"}"#);
const STOP: (&str, &str) = ("messageStop", r#"{"stopReason":"end_turn"}"#);

fn delta(delta: &str, index: u32) -> String {
    format!(r#"{{"delta":{delta},"contentBlockIndex":{index},"p":"x"}}"#)
}

/// One of each: thinking with its signature, redacted thinking in two pieces, cited text, a call, a server's call and its result, usage.
fn every_kind() -> Vec<Event> {
    let deltas = [
        delta(r#"{"reasoningContent":{"text":"hm"}}"#, 0),
        delta(r#"{"reasoningContent":{"signature":"sig"}}"#, 0),
        delta(r#"{"reasoningContent":{"redactedContent":"RXRr"}}"#, 1),
        delta(r#"{"reasoningContent":{"redactedContent":"RWs="}}"#, 1),
        delta(
            r#"{"citation":{"title":"t","location":{"web":{"url":"u"}}}}"#,
            2,
        ),
        delta(r#"{"text":"a\nb"}"#, 2),
        delta(r#"{"toolUse":{"input":"{\"a\":"}}"#, 3),
        delta(r#"{"toolUse":{"input":"1}"}}"#, 3),
        delta(r#"{"toolResult":[{"text":"r"}]}"#, 5),
        delta(r#"{"image":{"source":{"bytes":"aGk="}}}"#, 6),
    ];
    let stop = |i: u32| format!(r#"{{"contentBlockIndex":{i}}}"#);
    let stops: Vec<String> = (0..7).map(stop).collect();
    let d = |i: usize| ("contentBlockDelta", &*deltas[i]);
    let s = |i: usize| ("contentBlockStop", &*stops[i]);
    let start = |json: &'static str| ("contentBlockStart", json);
    decoded(&[
        START,
        d(0),
        d(1),
        s(0),
        d(2),
        d(3),
        s(1),
        d(4),
        d(5),
        s(2),
        start(r#"{"contentBlockIndex":3,"start":{"toolUse":{"toolUseId":"t1","name":"f"}}}"#),
        d(6),
        d(7),
        s(3),
        start(r#"{"contentBlockIndex":4,"start":{"toolUse":{"toolUseId":"t2","name":"g","type":"server_tool_use"}}}"#),
        s(4),
        start(r#"{"contentBlockIndex":5,"start":{"toolResult":{"toolUseId":"t2","type":"g_result","status":"success"}}}"#),
        d(8),
        s(5),
        start(r#"{"contentBlockIndex":6,"start":{"image":{"format":"png"}}}"#),
        d(9),
        s(6),
        ("messageStop", r#"{"stopReason":"tool_use","additionalModelResponseFields":{"x":1}}"#),
        (
            "metadata",
            r#"{"usage":{"inputTokens":3,"outputTokens":5,"totalTokens":38,"cacheReadInputTokens":10,"cacheWriteInputTokens":20,"cacheDetails":[{"ttl":"1h","inputTokens":15},{"ttl":"5m","inputTokens":5}]},"metrics":{"latencyMs":7},"serviceTier":{"type":"flex"},"trace":{"t":1}}"#,
        ),
    ])
    .expect("well formed")
}

#[test]
fn an_answer_of_every_kind_is_read() {
    let answer = folded(&every_kind());
    let starts: Vec<&BlockStart> = answer.blocks.iter().map(|b| &b.start).collect();
    let call = |id: &'static str, name: &'static str, kind| BlockStart::ToolCall {
        id: Str::from_static(id),
        name: Str::from_static(name),
        kind,
    };
    assert_eq!(*starts[0], BlockStart::Thinking);
    assert_eq!(answer.blocks[0].signature.as_deref(), Some("sig"));
    // Pieces of base64 are one text once they are joined.
    assert_eq!(
        *starts[1],
        BlockStart::RedactedThinking {
            data: "EtkEk".into()
        }
    );
    assert_eq!(
        (&*answer.blocks[2].text, answer.blocks[2].citations.len()),
        ("a\nb", 1)
    );
    assert_eq!(answer.blocks[2].citations[0].url.as_deref(), Some("u"));
    assert_eq!(
        (starts[3], &*answer.blocks[3].text),
        (&call("t1", "f", ToolKind::Function), "{\"a\":1}")
    );
    assert_eq!(
        (starts[4], &*answer.blocks[4].text),
        (&call("t2", "g", ToolKind::Server), "{}")
    );
    assert_eq!(answer.blocks[5].others.len(), 1);
    assert_eq!(answer.blocks[6].base64, "aGk=");
    assert_eq!(answer.stops, [(0, StopReason::ToolUse, None)]);
    let wanted = Usage {
        input_uncached: Some(Tokens(3)),
        output: Some(Tokens(5)),
        cache_read: Some(Tokens(10)),
        cache_write_1h: Some(Tokens(15)),
        cache_write_5m: Some(Tokens(5)),
        service_tier: Some("flex".into()),
        ..Usage::default()
    };
    assert_eq!(answer.usage, wanted);
    let names: Vec<&str> = answer.others.iter().map(|(_, name, ..)| &**name).collect();
    assert_eq!(names, ["additionalModelResponseFields", "metrics", "trace"]);
    assert!(answer.done && answer.blocks.iter().all(|b| b.stopped));
}

#[test]
fn what_we_write_we_read_streamed_and_whole() {
    let events = every_kind();
    let answer = folded(&events);
    assert_eq!(folded(&read_again(encoded(&events))), answer);
    let body = write_whole(&answer, &Opening::default(), &Closing::default());
    let mut out = Vec::new();
    Decoder::default().whole(&body, &mut out).expect("ours");
    let mut again = folded(&out);
    // A result's content stands in its block here, and in its deltas there.
    let wanted: serde_json::Value = serde_json::json!({"toolResult": {"toolUseId": "t2", "type": "g_result", "status": "success", "content": [{"text": "r"}]}});
    let BlockStart::Other { json, .. } = &again.blocks[5].start else {
        panic!("{:?}", again.blocks[5]);
    };
    assert_eq!(json.read::<serde_json::Value>(), Some(wanted));
    again.blocks[5] = answer.blocks[5].clone();
    assert_eq!(again, answer);
}

#[test]
fn a_stream_without_its_stop_is_not_whole_and_without_usage_it_is() {
    let text = delta(r#"{"text":"a"}"#, 0);
    let short = [START, ("contentBlockDelta", &*text)];
    assert!(decoded(&short).is_err());
    let events = decoded(&[START, ("contentBlockDelta", &text), STOP]).expect("whole");
    let answer = folded(&events);
    assert!(
        answer.done && answer.blocks[0].stopped,
        "a guardrail may cut a block"
    );
    assert_eq!(events.iter().filter(|e| **e == Event::Done).count(), 1);
}

#[test]
fn what_is_unknown_breaks_nothing() {
    let strange = delta(r#"{"newThing":{"x":1}}"#, 0);
    let empty = delta("{}", 1);
    let events = decoded(&[
        ("initial-response", "{}"),
        ("brandNew", "not even json"),
        START,
        ("contentBlockStart", r#"{"contentBlockIndex":0,"start":{}}"#),
        ("contentBlockDelta", &strange),
        ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        ("contentBlockDelta", &empty),
        ("contentBlockStop", r#"{"contentBlockIndex":1}"#),
        ("messageStop", r#"{"stopReason":"malformed_tool_use"}"#),
    ])
    .expect("nothing broke");
    let answer = folded(&events);
    assert!(matches!(answer.blocks[0].start, BlockStart::Other { .. }));
    let word = StopReason::Other("malformed_tool_use".into());
    assert_eq!(answer.stops, [(0, word, None)]);
}

#[test]
fn what_contradicts_itself_is_malformed() {
    let input = delta(r#"{"toolUse":{"input":"x"}}"#, 0);
    let text = delta(r#"{"text":"a"}"#, 0);
    for stream in [
        &[START, START][..],
        &[STOP],
        &[("contentBlockDelta", &*text)],
        &[START, ("contentBlockDelta", &input)],
        &[START, STOP, ("contentBlockDelta", &text)],
        &[START, ("contentBlockDelta", "{")],
        &[START, ("messageStop", "{}")],
        &[("metadata", "{}")],
    ] {
        assert!(decoded(stream).is_err(), "{stream:?}");
    }
    for body in [
        "",
        "[]",
        "{}",
        r#"{"outputText":"x"}"#,
        r#"{"output":{"message":{"content":[]}}}"#,
    ] {
        let read = Decoder::default().whole(&Bytes::from(body), &mut Vec::new());
        assert!(read.is_err(), "{body}");
    }
}

#[test]
fn an_exception_ends_the_answer_with_its_class() {
    let events = decoded(&[
        START,
        ("throttlingException", r#"{"message":"slow"}"#),
        STOP,
    ])
    .expect("ended");
    let Some(Event::Error(fault)) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(
        (fault.class, &*fault.message),
        (FaultClass::RateLimited, "slow")
    );
    let (mut encoder, mut out) = (Encoder::new(Opening::default()), BytesMut::new());
    encoder.fail(
        &Fault::new(FaultClass::Overloaded, "m"),
        &Closing::default(),
        &mut out,
    );
    assert_eq!(
        out,
        "event: serviceUnavailableException\ndata: {\"message\":\"m\"}\n\n"
    );
}

#[test]
fn blocks_that_interleave_and_come_from_other_dialects_are_written() {
    let start = |index, block| Event::BlockStart {
        index,
        choice: 0,
        block,
    };
    let events = [
        Event::Started {
            id: "i".into(),
            model: "m".into(),
            created: None,
        },
        start(0, BlockStart::Refusal),
        start(
            1,
            BlockStart::ToolCall {
                id: "t".into(),
                name: "f".into(),
                kind: ToolKind::Custom,
            },
        ),
        start(
            2,
            BlockStart::Video {
                media_type: None,
                url: None,
            },
        ),
        start(3, BlockStart::Text),
        Event::BlockDelta {
            index: 1,
            delta: Delta::ToolInput("say \"hi\"".into()),
        },
        Event::BlockDelta {
            index: 0,
            delta: Delta::Refusal("no".into()),
        },
        Event::BlockStop { index: 1 },
        Event::BlockStop { index: 0 },
        Event::BlockStop { index: 2 },
        Event::Other {
            dialect: DialectName::Chat,
            name: "logprobs".into(),
            choice: 0,
            json: Json::empty_object(),
        },
        Event::Stop {
            choice: 0,
            reason: StopReason::EndTurn,
            sequence: None,
        },
    ];
    let mut encoder = Encoder::new(Opening::default());
    let mut out = BytesMut::new();
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    assert_eq!(encoder.dropped(), ["refusal", "video", "logprobs"]);
    let answer = folded(&read_again(out.freeze()));
    let texts: Vec<&str> = answer.blocks.iter().map(|b| &*b.text).collect();
    // Canon numbers blocks as they begin: the call's start is sent at once, text begins with its first words.
    assert_eq!(texts, [r#"{"input":"say \"hi\""}"#, "no", ""]);
    assert_eq!(
        answer.stops[0].1,
        StopReason::ToolUse,
        "a client runs tools only on this word"
    );
}
#[test]
fn a_faster_answer_is_billed_as_one() {
    for (config, wanted) in [
        (
            r#""performanceConfig":{"latency":"optimized"},"#,
            Some("optimized"),
        ),
        (r#""performanceConfig":{"latency":"standard"},"#, None),
        ("", None),
    ] {
        let body = format!(
            r#"{{"output":{{"message":{{"role":"assistant","content":[{{"text":"a"}}]}}}},"stopReason":"end_turn",{config}"usage":{{"inputTokens":3,"outputTokens":5,"totalTokens":8}},"metrics":{{"latencyMs":7}}}}"#
        );
        let mut events = Vec::new();
        let read = Decoder::default().whole(&Bytes::from(body), &mut events);
        read.expect("an answer");
        let speed = events.iter().find_map(|event| match event {
            Event::Usage(usage) => Some(usage.speed.as_deref().map(str::to_owned)),
            _ => None,
        });
        assert_eq!(speed.expect("usage").as_deref(), wanted, "{config}");
    }
}

#[test]
fn on_a_socket_each_event_is_an_object_of_its_name() {
    let opening = Opening {
        bare: true,
        ..Opening::default()
    };
    let (mut encoder, mut out) = (Encoder::new(opening), BytesMut::new());
    encoder.event(
        &Event::Started {
            id: Str::new(),
            model: Str::new(),
            created: None,
        },
        &mut out,
    );
    assert_eq!(out, r#"{"messageStart":{"role":"assistant"}}"#);
}
