//! Entrances for fuzzing: each takes any bytes, and must neither panic nor grow without bound. `tests/fuzz` has a target of one line for
//! each; the test below runs all of them with a fixed seed, so that they cannot rot.
//!
//! What a reader takes is handed to the writer, and what that writes must read back the same: more than the absence of panics is asked.

use crate::base::{Headers, Str, WallTime};
use crate::canon::{Controls, DialectName, Event, Request};
use crate::protocol::dialect::splice::{Lift, is_lifted, peek as peek_at, splice_request};
use crate::protocol::dialect::{
    Closing, Decoder, Encoder, Opening, Rules, Target, native, read_error, read_request,
    write_error, write_request,
};
use crate::protocol::framing::{
    eventstream as eventstream_framing, sse as sse_framing, websocket as websocket_framing,
};
use crate::protocol::provider::{ProviderKind, hints, load};
use bytes::{Bytes, BytesMut};

const DIALECTS: [DialectName; 6] = [
    DialectName::Native,
    DialectName::Chat,
    DialectName::Messages,
    DialectName::Responses,
    DialectName::Gemini,
    DialectName::Completions,
];

/// Fed in two pieces, cut where the first byte says.
fn pieces(data: &[u8]) -> [Bytes; 2] {
    let cut = data
        .first()
        .map_or(0, |b| usize::from(*b) % (data.len() + 1));
    let (head, tail) = data.split_at(cut);
    [Bytes::copy_from_slice(head), Bytes::copy_from_slice(tail)]
}

fn sse_events(data: &[u8]) -> Vec<sse_framing::SseEvent> {
    let (mut decoder, mut events) = (sse_framing::Decoder::new(1 << 16), Vec::new());
    for piece in pieces(data) {
        decoder.feed(piece);
        while let Ok(Some(event)) = decoder.next() {
            events.push(event);
        }
    }
    events.extend(decoder.rest());
    events
}

/// The SSE decoder: an event is no longer than what came.
pub fn sse(data: &[u8]) {
    let told: usize = sse_events(data).iter().map(|e| e.raw.len()).sum();
    assert!(told <= data.len(), "events are made of the bytes received");
}

/// WebSocket frames, from either side.
pub fn websocket(data: &[u8]) {
    for side in [
        websocket_framing::Side::Server,
        websocket_framing::Side::Client,
    ] {
        let mut socket = websocket_framing::Socket::new(side, 1 << 16);
        for piece in pieces(data) {
            socket.feed(piece);
            while let Ok(Some(_)) = socket.next() {}
        }
    }
}

/// AWS event streams. The bytes as they come; then as the payload of a right frame, so that what lies behind the checksums is reached too.
pub fn eventstream(data: &[u8]) {
    use eventstream_framing::{Events, Header, Holds, Value, encode};
    let text = |name, value| Header {
        name: Str::from_static(name),
        value: Value::Text(Str::from_static(value)),
    };
    let mut framed = BytesMut::new();
    for kind in ["chunk", "contentBlockDelta"] {
        let headers = [text(":message-type", "event"), text(":event-type", kind)];
        encode(&headers, data, &mut framed)
            .expect("short names, and a payload that a length can say");
    }
    let headers = [
        text(":message-type", "exception"),
        text(":exception-type", "x"),
    ];
    encode(&headers, data, &mut framed).expect("as above");
    for holds in [Holds::Invoke, Holds::Converse] {
        for bytes in [data, &framed[..]] {
            let mut events = Events::new(holds, 1 << 16);
            for piece in pieces(bytes) {
                events.feed(piece);
                while let Ok(Some(event)) = events.next() {
                    let (mut sse, mut again) = (sse_framing::Decoder::new(1 << 20), Vec::new());
                    sse.feed(event.raw.clone());
                    while let Ok(Some(event)) = sse.next() {
                        again.push(event);
                    }
                    assert_eq!(again, [event], "the text around an event is that event");
                }
            }
            let _ = events.finish();
        }
    }
}

/// Converse's requests and answers: what is read is written again or refused by name, and what is written reads back the same.
pub fn converse(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    if let Ok(request) = read_request(DialectName::Converse, &body) {
        for to in DIALECTS {
            drop(written(to, &request));
        }
        if let Some(bytes) = written(DialectName::Converse, &request) {
            let again = read_request(DialectName::Converse, &bytes).expect("what we write we read");
            let bytes_again = written(DialectName::Converse, &again);
            assert_eq!(bytes_again, Some(bytes), "the second writing is the first");
        }
    }
    let mut events = Vec::new();
    if Decoder::new(DialectName::Converse)
        .whole(&body, &mut events)
        .is_ok()
    {
        assert_eq!(count_done(&events), 1);
    }
    let (mut decoder, mut streamed) = (Decoder::new(DialectName::Converse), Vec::new());
    let sse = sse_events(data);
    let read = sse.iter().try_for_each(|e| decoder.event(e, &mut streamed));
    let _ = read.and_then(|()| decoder.finish(&mut streamed));
    assert!(count_done(&streamed) <= 1, "an answer ends once");
    for events in [events, streamed] {
        let mut encoder = Encoder::new(DialectName::Converse, Opening::default());
        let mut out = BytesMut::new();
        events.iter().for_each(|e| encoder.event(e, &mut out));
        encoder.finish(&Closing::default(), &mut out);
    }
    let _ = read_error(DialectName::Converse, 400, data);
}

/// Requests of each dialect: what is read can be written again, or is refused by name; in native it reads back the same.
pub fn request(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for dialect in DIALECTS {
        let Ok(request) = read_request(dialect, &body) else {
            continue;
        };
        for to in DIALECTS {
            if let Some(bytes) = written(to, &request) {
                serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).expect("a request is JSON");
            }
        }
        let bytes = written(DialectName::Native, &request).expect("native can say everything");
        if dialect == DialectName::Native {
            assert_eq!(
                native::request::read(&bytes),
                Ok(request),
                "what we write we read"
            );
        }
    }
}

fn written(dialect: DialectName, request: &Request) -> Option<Bytes> {
    let rules = Rules::default();
    let target = Target {
        model: &request.model,
        stream: request.stream,
        max_output_default: 1024,
        rules: &rules,
    };
    write_request(dialect, request, &target)
        .ok()
        .map(|(bytes, _)| bytes)
}

/// Answers of each dialect, streamed and whole: what is decoded can be encoded for every client.
pub fn answer(data: &[u8]) {
    let (sse, body) = (sse_events(data), Bytes::copy_from_slice(data));
    for dialect in DIALECTS {
        let (mut decoder, mut events) = (Decoder::new(dialect), Vec::new());
        let whole = sse
            .iter()
            .try_for_each(|e| decoder.event(e, &mut events))
            .is_ok();
        if whole {
            // An answer that was cut is an error, not a panic.
            let _ = decoder.finish(&mut events);
        }
        encode(&events);
        events.clear();
        if Decoder::new(dialect).whole(&body, &mut events).is_ok() {
            encode(&events);
        }
    }
}

fn encode(events: &[Event]) {
    for to in DIALECTS {
        for bare in [false, true] {
            let opening = Opening {
                bare,
                ..Opening::default()
            };
            let (mut encoder, mut out) = (Encoder::new(to, opening), BytesMut::new());
            events.iter().for_each(|e| encoder.event(e, &mut out));
            encoder.finish(&Closing::default(), &mut out);
        }
    }
}

/// Answers that pass by: where the decoder reads all of a stream, the same is lifted from it.
pub fn lift(data: &[u8]) {
    let sse = sse_events(data);
    for dialect in DIALECTS {
        let (mut lift, mut lifted) = (Lift::new(dialect, false), Vec::new());
        let passed = sse
            .iter()
            .try_for_each(|e| lift.event(e, &mut lifted).map(drop));
        let lifts = passed.and_then(|()| lift.finish(&mut lifted));
        assert!(count_done(&lifted) <= 1, "an answer ends once");
        let (mut decoder, mut decoded) = (Decoder::new(dialect), Vec::new());
        let read = sse.iter().try_for_each(|e| decoder.event(e, &mut decoded));
        if read.and_then(|()| decoder.finish(&mut decoded)).is_ok() {
            decoded.retain(is_lifted);
            assert_eq!((lifts, lifted), (Ok(()), decoded), "{dialect:?}");
        }
    }
}

fn count_done(events: &[Event]) -> usize {
    events.iter().filter(|e| matches!(e, Event::Done)).count()
}

/// Peek and splice: what is spliced is JSON again, with the new model and otherwise read the same.
pub fn splice(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for dialect in DIALECTS {
        let Ok(before) = peek_at(dialect, &body) else {
            continue;
        };
        let slices = splice_request(dialect, &body, &before, "a \"new\" model")
            .expect("what peek takes can be spliced");
        let after = peek_at(dialect, &Bytes::from(slices.concat())).expect("still right");
        // Gemini's model stands in the path: the body passes whole.
        let named = dialect != DialectName::Gemini;
        assert_eq!(after.model, if named { "a \"new\" model" } else { "" });
        assert_eq!(
            (
                after.turns,
                after.prompt_bytes,
                after.stream,
                after.max_output
            ),
            (
                before.turns,
                before.prompt_bytes,
                before.stream,
                before.max_output
            )
        );
        assert!(
            after.stream_usage || !before.stream,
            "a stream is asked for its usage"
        );
    }
}

/// Refusals of each dialect: total, and ours are JSON.
pub fn error(data: &[u8]) {
    let status = data.first().map_or(500, |b| 400 + u16::from(*b) % 200);
    for dialect in DIALECTS {
        let fault = read_error(dialect, status, data);
        for to in DIALECTS {
            let (_, body) = write_error(to, &fault, "x");
            serde_json::from_slice::<serde::de::IgnoredAny>(&body).expect("a refusal is JSON");
        }
    }
}

/// Messages on a native WebSocket.
pub fn socket_message(data: &[u8]) {
    if let Ok(text) = Str::try_from(Bytes::copy_from_slice(data)) {
        let _ = native::socket::read(&text);
    }
}

/// Header fields, a line each: rate-limit hints of providers, and clients' request controls.
pub fn headers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let fields: Headers = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let _ = hints::read(&fields, WallTime(1_700_000_000_000_000_000));
    for kind in ProviderKind::ALL {
        let hints = kind.hints(&fields, WallTime(0));
        for status in [200, 400, 403, 429, 503] {
            let _ = kind.fault(DialectName::Chat, status, &fields, data, &hints);
        }
        let _ = kind.fault_in_success(DialectName::Chat, &fields, data, &hints);
    }
    let _ = load::prometheus(&text);
    let _ = load::sglang_loads(data);
    let _ = Controls::from_headers(fields.iter());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    type Entrance = (&'static str, fn(&[u8]));

    const TARGETS: [Entrance; 11] = [
        ("sse", sse),
        ("eventstream", eventstream),
        ("converse", converse),
        ("websocket", websocket),
        ("request", request),
        ("answer", answer),
        ("lift", lift),
        ("splice", splice),
        ("error", error),
        ("socket_message", socket_message),
        ("headers", headers),
    ];

    /// Something of each kind that is right, to be bent.
    const SEEDS: [&str; 22] = [
        r#"{"model":"m","input":[{"role":"user","content":[{"type":"text","text":"a","cache":{"ttl":"1h"}},{"type":"image","source":{"type":"url","url":"u"}}]}],"tools":[{"name":"f","schema":{}}],"stop":["x"],"temperature":0.5,"reasoning":{"effort":"low"}}"#,
        r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}}]},{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1","content":"r"}],"stream":true,"stream_options":{"include_obfuscation":false},"max_tokens":3}"#,
        r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"d"}},{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"r"}]}]},{"role":"assistant","content":[{"type":"thinking","thinking":"h","signature":"s"}]}],"stream":true}"#,
        "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"i\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"c\",\"usage\":{\"input_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\nevent: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        "id: 1\nevent: response.created\ndata: {\"type\":\"response.created\",\"response_id\":\"x\",\"model\":\"m\"}\n\nid: 2\ndata: {\"type\":\"block.start\",\"index\":0,\"block\":{\"type\":\"tool_call\",\"id\":\"i\",\"name\":\"f\"}}\n\ndata: {\"type\":\"block.delta\",\"index\":0,\"delta\":{\"type\":\"tool_input\",\"text\":\"{}\"}}\n\ndata: {\"type\":\"stop\",\"reason\":\"end_turn\"}\n\ndata: {\"type\":\"usage\",\"usage\":{\"output_tokens\":1}}\n\ndata: {\"type\":\"response.done\"}\n\n",
        r#"{"error":{"class":"rate_limited","message":"m","retry_after_ms":5,"type":"x","code":"y"}}"#,
        r#"{"type":"request","request_id":"r","model":"m","input":"x","providers":{"allow":["a"]},"deadline_ms":5}"#,
        "anthropic-ratelimit-tokens-reset: 2026-01-01T00:00:00Z\nx-ratelimit-reset-tokens: 6m0s\nretry-after: 3\nx-stokehold-deadline: 30s\nx-stokehold-providers: allow=a; order=b",
        r#"{"model":"m","instructions":"i","input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:image/png;base64,AA"},{"type":"input_file","file_id":"f"}]},{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"s"}],"encrypted_content":"e"},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"o"},{"type":"message","role":"assistant","phase":"commentary","content":[{"type":"output_text","text":"t","annotations":[]}]}],"tools":[{"type":"function","name":"f","parameters":{}},{"type":"web_search"}],"reasoning":{"effort":"low","summary":"auto"},"text":{"format":{"type":"text"}},"stream":true,"max_output_tokens":9}"#,
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"model\":\"m\",\"created_at\":1}}\n\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"id\":\"a\",\"type\":\"reasoning\",\"summary\":[]}}\n\nevent: response.reasoning_summary_text.delta\ndata: {\"type\":\"response.reasoning_summary_text.delta\",\"item_id\":\"a\",\"output_index\":0,\"summary_index\":0,\"delta\":\"h\"}\n\nevent: response.output_item.done\ndata: {\"output_index\":0,\"item\":{\"id\":\"a\",\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"h\"}],\"encrypted_content\":\"e\"}}\n\nevent: response.output_text.delta\ndata: {\"item_id\":\"b\",\"output_index\":1,\"content_index\":0,\"delta\":\"x\"}\n\nevent: response.function_call_arguments.delta\ndata: {\"item_id\":\"c\",\"output_index\":2,\"delta\":\"{}\"}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[{\"id\":\"c\",\"type\":\"function_call\",\"call_id\":\"k\",\"name\":\"f\",\"arguments\":\"{}\"}],\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}}\n\n",
        r#"{"id":"r","object":"response","created_at":1,"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"model":"m","output":[{"type":"message","content":[{"type":"output_text","text":"a","annotations":[{"type":"url_citation","url":"u"}]},{"type":"refusal","refusal":"n"}]},{"type":"image_generation_call","result":"AA"},{"type":"web_search_call","id":"w"}],"usage":{"input_tokens":1,"output_tokens":1}}"#,
        "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}",
        r#"{"status":"done","id":"x","model":"m","blocks":[{"type":"tool_call","id":"i","name":"f","input":{"a":1}},{"type":"text","text":"t"}],"stops":[{"choice":0,"reason":"end_turn"}],"usage":{"output_tokens":3}}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"a"},{"cachePoint":{"type":"default","ttl":"1h"}},{"image":{"format":"png","source":{"bytes":"aGk="}}}]},{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"h","signature":"s"}}},{"toolUse":{"toolUseId":"t","name":"f","input":{}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"t","content":[{"json":{}}]}}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{}}}}],"toolChoice":{"any":{}}},"additionalModelRequestFields":{"top_k":3}}"#,
        "event: messageStart\ndata: {\"role\":\"assistant\"}\n\nevent: contentBlockDelta\ndata: {\"contentBlockIndex\":0,\"delta\":{\"text\":\"a\"}}\n\nevent: contentBlockStop\ndata: {\"contentBlockIndex\":0}\n\nevent: messageStop\ndata: {\"stopReason\":\"end_turn\"}\n\nevent: metadata\ndata: {\"usage\":{\"inputTokens\":1,\"outputTokens\":2}}\n\n",
        r#"{"output":{"message":{"role":"assistant","content":[{"text":"a"},{"citationsContent":{"content":[{"text":"b"}],"citations":[{"title":"t"}]}}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":2}}"#,
        r#"{"bytes":"eyJ0eXBlIjoibWVzc2FnZV9zdG9wIiwiYW1hem9uLWJlZHJvY2staW52b2NhdGlvbk1ldHJpY3MiOnsiY2FjaGVSZWFkSW5wdXRUb2tlbkNvdW50Ijo5fX0=","p":"ab"}"#,
        r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
        r#"{"contents":[{"role":"user","parts":[{"text":"a"},{"inline_data":{"mime_type":"image/png","data":"AA=="}}]},{"role":"model","parts":[{"text":"h","thought":true},{"functionCall":{"name":"f","args":{}},"thoughtSignature":"s"}]},{"parts":[{"functionResponse":{"name":"f","response":{"output":"r"}}}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT","nullable":true}}]},{"googleSearch":{}}],"toolConfig":{"functionCallingConfig":{"mode":"ANY"}},"systemInstruction":{"parts":{"text":"s"}},"generationConfig":{"maxOutputTokens":9,"thinkingConfig":{"thinkingBudget":-1}},"cachedContent":"c"}"#,
        "data: {\"candidates\":[{\"index\":0,\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"h\",\"thought\":true},{\"text\":\"a\",\"thoughtSignature\":\"s\"}]}}],\"usageMetadata\":{\"promptTokenCount\":3},\"responseId\":\"r\",\"modelVersion\":\"m\",\"createTime\":\"2026-01-01T00:00:00Z\"}\r\n\r\ndata: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"willContinue\":true}},{\"functionCall\":{\"partialArgs\":[{\"jsonPath\":\"$.a[0]\",\"stringValue\":\"x\"}]}}]},\"finishReason\":\"STOP\",\"groundingMetadata\":{\"webSearchQueries\":[\"q\"],\"groundingChunks\":[{\"web\":{\"uri\":\"u\"}}],\"groundingSupports\":[{\"groundingChunkIndices\":[0]}]}}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2}}\r\n\r\n",
        r#"[{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"audio/wav","data":"AAAA"}}]},"finishReason":"MALFORMED_RESPONSE"}]},{"promptFeedback":{"blockReason":"SAFETY"}},{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.5s"}]}}]"#,
    ];

    /// Pieces that grammars care about.
    const WORDS: [&str; 14] = [
        "null",
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ":",
        "-1",
        "1e999",
        "\n\n",
        "\"type\"",
        "\\ud800",
        "18446744073709551616",
    ];

    fn bent(rng: &mut Rng) -> Vec<u8> {
        if rng.once_in(8) {
            return (0..rng.below(200)).map(|_| rng.bits() as u8).collect();
        }
        let mut data = SEEDS[rng.below(SEEDS.len() as u64) as usize]
            .as_bytes()
            .to_vec();
        for _ in 0..rng.below(4) {
            let at = rng.below(data.len() as u64 + 1) as usize;
            let until = (at + rng.below(12) as usize).min(data.len());
            match rng.below(4) {
                0 => drop(data.drain(at..until)),
                1 => {
                    let word = WORDS[rng.below(WORDS.len() as u64) as usize];
                    data.splice(at..until, word.bytes());
                }
                2 if at < data.len() => data[at] = rng.bits() as u8,
                _ => {
                    let again = data[at..until].to_vec();
                    data.splice(at..at, again);
                }
            }
        }
        data
    }

    #[test]
    fn no_bytes_make_a_reader_panic() {
        for (name, target) in TARGETS {
            for seed in 0..2_000 {
                let data = bent(&mut Rng::seeded(seed));
                let calm = std::panic::catch_unwind(|| target(&data)).is_ok();
                assert!(
                    calm,
                    "{name}, seed {seed}: {:?}",
                    String::from_utf8_lossy(&data)
                );
            }
        }
    }
}
