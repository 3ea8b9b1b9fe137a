//! Recorded exchanges of real providers, read and written again, and compared with a plain walk over their JSON.
//!
//! They lie outside the repository: in `STOKEHOLD_RECORDINGS`, else in `../shared/recordings` beside it; where neither is, nothing runs.

use super::{errors, events, request};
use crate::base::{Rng, Str};
use crate::canon::{Answer, BlockStart, Event, FaultClass, Fold};
use crate::protocol::dialect::{Closing, Opening, Rules, Target};
use crate::protocol::framing::sse;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use std::path::PathBuf;

fn folder() -> PathBuf {
    std::env::var_os("STOKEHOLD_RECORDINGS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/recordings")),
        PathBuf::from,
    )
}

#[test]
fn every_recorded_exchange_is_understood() {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        println!("no recordings here");
        return;
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|p| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with("anthropic-messages-"))
        })
        .collect();
    paths.sort();
    let (mut answers, mut requests, mut refusals) = (0, 0, 0);
    for path in &paths {
        let id = path.display().to_string();
        let text = std::fs::read_to_string(path).expect(&id);
        let recording: Value = serde_json::from_str(&text).expect(&id);
        if !recording["request"]["body"].is_null() {
            check_request(&id, &recording["request"]["body"], &recording["response"]);
            requests += 1;
        }
        let body = recording["response"]["body"].as_str().expect(&id);
        match recording["response"]["status"].as_u64().expect(&id) {
            200 => answers += check_answers(&id, body),
            status => {
                check_refusal(&id, status as u16, body);
                refusals += 1;
            }
        }
    }
    println!(
        "{} recordings: {answers} answers, {requests} requests, {refusals} refusals",
        paths.len()
    );
    assert!(!paths.is_empty() && answers > 0 && requests > 0 && refusals > 0);
}

fn check_refusal(id: &str, status: u16, body: &str) {
    let fault = errors::read(status, body.as_bytes());
    let told: Value = serde_json::from_str(body).expect(id);
    assert_eq!(told["error"]["message"], fault.message, "{id}");
    let class = match status {
        400 => FaultClass::Invalid,
        401 => FaultClass::Unauthenticated,
        404 => FaultClass::ModelNotFound,
        other => panic!("{id}: a status {other} to be decided"),
    };
    assert_eq!(fault.class, class, "{id}");
}

fn check_request(id: &str, body: &Value, response: &Value) {
    // A recorder kept one request as a string; it was sent to be refused.
    let text = match body {
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    let Ok(body) = serde_json::from_str::<Value>(&text) else {
        assert!(request::read(&Bytes::from(text)).is_err(), "{id}");
        return;
    };
    let read = match request::read(&Bytes::from(text)) {
        Ok(read) => read,
        // What the provider refused we may refuse, at the same place.
        Err(fault) => {
            assert_eq!(response["status"], 400, "{id}: {fault:?}");
            let theirs = errors::read(400, response["body"].as_str().expect(id).as_bytes());
            assert_eq!(fault.field, theirs.field, "{id}");
            return;
        }
    };
    let rules = Rules {
        thinking_budget: body["thinking"]["type"] == "enabled",
        ..Rules::default()
    };
    let target = Target {
        model: &read.model,
        stream: read.stream,
        max_output_default: 1,
        rules: &rules,
    };
    let (bytes, dropped) = request::write(&read, &target).expect(id);
    let written: Value = serde_json::from_slice(&bytes).expect(id);
    assert_eq!(dropped, Vec::<String>::new(), "{id}");
    assert_eq!(normal(&body), normal(&written), "{id}");
    assert_eq!(request::read(&bytes).expect(id), read, "{id}");
}

/// What says the same is made the same: strings for one text block, absent for null and false.
fn normal(body: &Value) -> Value {
    match body {
        Value::Object(fields) => {
            let mut out = serde_json::Map::new();
            for (name, value) in fields {
                let nothing = value.is_null()
                    || (name == "is_error" && value == false)
                    || (name == "stream" && value == false)
                    || (name == "type" && value == "custom");
                if nothing {
                    continue;
                }
                let short = value.is_string() && (name == "content" || name == "system");
                let value = if short {
                    json!([{"type": "text", "text": value}])
                } else {
                    normal(value)
                };
                out.insert(name.clone(), value);
            }
            Value::Object(out)
        }
        Value::Array(items) => items.iter().map(normal).collect(),
        // 1 and 1.0 are the same temperature.
        Value::Number(n) => Value::from(n.as_f64()),
        other => other.clone(),
    }
}

/// The answers in one body: one recorder laid the streams of a whole loop end to end.
fn check_answers(id: &str, body: &str) -> usize {
    if body.trim_start().starts_with('{') {
        let told: Value = serde_json::from_str(body).expect(id);
        let mut decoder = events::Decoder::default();
        let mut out = Vec::new();
        decoder
            .whole(&Bytes::from(body.to_owned()), &mut out)
            .expect(id);
        decoder.finish(&mut out).expect(id);
        compare(
            id,
            &out,
            &[json!({"type": "message_start", "message": told})],
        );
        return 1;
    }
    let mut streams: Vec<String> = Vec::new();
    for event in body.replace("\r\n", "\n").split_inclusive("\n\n") {
        if event.contains("\"type\":\"message_start\"") {
            streams.push(String::new());
        }
        streams.last_mut().expect(id).push_str(event);
    }
    for stream in &streams {
        let told: Vec<Value> = stream
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| serde_json::from_str(data).expect(id))
            .collect();
        let out = decoded(id, &[stream.as_bytes()]);
        compare(id, &out, &told);
        let mut rng = Rng::seeded(stream.len() as u64);
        for _ in 0..8 {
            let cut = rng.below(stream.len() as u64) as usize;
            let (head, tail) = stream.as_bytes().split_at(cut);
            assert_eq!(decoded(id, &[head, tail]), out, "{id}: cut at {cut}");
        }
    }
    streams.len()
}

fn decoded(id: &str, pieces: &[&[u8]]) -> Vec<Event> {
    let (mut cutter, mut decoder) = (sse::Decoder::new(1 << 24), events::Decoder::default());
    let mut out = Vec::new();
    for piece in pieces {
        cutter.feed(Bytes::copy_from_slice(piece));
        while let Some(event) = cutter.next().expect(id) {
            decoder.event(&event, &mut out).expect(id);
        }
    }
    if let Some(event) = cutter.rest() {
        decoder.event(&event, &mut out).expect(id);
    }
    decoder.finish(&mut out).expect(id);
    out
}

fn folded(events: &[Event]) -> Answer {
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    fold.into_answer()
}

/// Holds what we understood against what the JSON says, then says it again both ways and reads that.
fn compare(id: &str, events: &[Event], told: &[Value]) {
    let answer = folded(events);
    assert!(answer.done, "{id}");
    let plain = Plain::of(told);
    let ours: Vec<Value> = answer.blocks.iter().map(plain_block).collect();
    assert_eq!(ours, plain.blocks, "{id}");
    let word = super::schema::stop_word(&answer.stops[0].1);
    assert_eq!(word, plain.stop, "{id}");
    let usage = &answer.usage;
    let counts = [
        usage.input_uncached.map(|t| t.0),
        usage.cache_read.map(|t| t.0),
        Some(usage.cache_write_total().0),
        usage.output.map(|t| t.0),
    ];
    assert_eq!(counts.map(|n| n.unwrap_or(0)), plain.counts, "{id}");

    let opening = Opening {
        model: answer.model.clone(),
        ..Opening::default()
    };
    let mut out = BytesMut::new();
    let mut encoder = events::Encoder::new(opening.clone());
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    let again = folded(&decoded(id, &[&out]));
    // By value: line breaks between the values of a body cannot stand in a stream.
    let blocks: Vec<Value> = again.blocks.iter().map(plain_block).collect();
    assert_eq!(blocks, plain.blocks, "{id}: streamed again");
    assert_eq!(
        (&again.id, &again.stops),
        (&answer.id, &answer.stops),
        "{id}"
    );
    assert_eq!(
        again.usage.input_total(),
        answer.usage.input_total(),
        "{id}"
    );

    let body = events::write_whole(&answer, &opening, &Closing::default());
    let (mut decoder, mut out) = (events::Decoder::default(), Vec::new());
    decoder.whole(&body, &mut out).expect(id);
    let whole = folded(&out);
    let blocks: Vec<Value> = whole.blocks.iter().map(plain_block).collect();
    assert_eq!(blocks, plain.blocks, "{id}: told whole");
    assert_eq!(whole.usage.output, answer.usage.output, "{id}");
}

/// One of our blocks as the JSON would say it.
fn plain_block(block: &crate::canon::AnswerBlock) -> Value {
    let citations: Vec<Value> = block
        .citations
        .iter()
        .map(|c| c.json.read().expect("json"))
        .collect();
    match &block.start {
        BlockStart::Text => json!({"type": "text", "text": block.text, "citations": citations}),
        BlockStart::Thinking => json!({"type": "thinking", "thinking": block.text,
            "signature": block.signature.clone().unwrap_or_default()}),
        BlockStart::RedactedThinking { data } => {
            json!({"type": "redacted_thinking", "data": &**data})
        }
        BlockStart::ToolCall { id, name, kind } => json!({
            "type": super::encode::call_type(kind), "id": &**id, "name": &**name,
            "input": serde_json::from_str::<Value>(&block.text).expect("input")}),
        BlockStart::Other { json, .. } => {
            let mut value: Value = json.read().expect("json");
            for (_, delta) in &block.others {
                value["content"] = delta.read::<Value>().expect("json")["content"].clone();
            }
            value
        }
        other => panic!("{other:?}"),
    }
}

/// What a body or a stream's events say, by a walk that knows nothing of our decoder.
#[derive(Default)]
struct Plain {
    blocks: Vec<Value>,
    stop: String,
    /// Uncached input, cache read, cache written, output.
    counts: [u64; 4],
}

impl Plain {
    fn of(events: &[Value]) -> Self {
        let mut plain = Self::default();
        let mut inputs: Vec<String> = Vec::new();
        for event in events {
            match event["type"].as_str() {
                Some("message_start") => {
                    let message = &event["message"];
                    for block in message["content"].as_array().expect("content") {
                        plain.blocks.push(tidy(block));
                        inputs.push(String::new());
                    }
                    plain.stop(message);
                    plain.usage(&message["usage"]);
                }
                Some("content_block_start") => {
                    plain.blocks.push(tidy(&event["content_block"]));
                    inputs.push(String::new());
                }
                Some("content_block_delta") => {
                    let index = event["index"].as_u64().expect("index") as usize;
                    delta(
                        &mut plain.blocks[index],
                        &mut inputs[index],
                        &event["delta"],
                    );
                }
                Some("message_delta") => {
                    plain.stop(&event["delta"]);
                    plain.usage(&event["usage"]);
                }
                _ => {}
            }
        }
        for (block, input) in plain.blocks.iter_mut().zip(inputs) {
            if !input.is_empty() {
                block["input"] = serde_json::from_str(&input).expect("input");
            }
        }
        plain
    }

    fn stop(&mut self, from: &Value) {
        if let Some(word) = from["stop_reason"].as_str() {
            word.clone_into(&mut self.stop);
        }
    }

    fn usage(&mut self, usage: &Value) {
        let names = [
            "input_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
            "output_tokens",
        ];
        for (i, name) in names.into_iter().enumerate() {
            let Some(mut n) = usage[name].as_u64() else {
                continue;
            };
            for iteration in usage["iterations"].as_array().into_iter().flatten() {
                if iteration["type"] == "compaction" {
                    n += iteration[name].as_u64().unwrap_or(0);
                }
            }
            self.counts[i] = n;
        }
    }
}

/// Without what a client does not read: the caller, and null citations.
fn tidy(block: &Value) -> Value {
    let mut block = block.clone();
    let fields = block.as_object_mut().expect("a block");
    fields
        .remove("caller")
        .filter(|_| fields["type"] != "tool_use" && fields["type"] != "server_tool_use")
        .map(|caller| fields.insert("caller".to_owned(), caller));
    if fields["type"] == "text" && !fields.get("citations").is_some_and(Value::is_array) {
        fields.insert("citations".to_owned(), json!([]));
    }
    block
}

fn delta(block: &mut Value, input: &mut String, delta: &Value) {
    let mut append = |name: &str| {
        let more = delta[name].as_str().expect("text");
        let so_far = block[name].as_str().unwrap_or_default();
        block[name] = Value::from(format!("{so_far}{more}"));
    };
    match delta["type"].as_str().expect("type") {
        "text_delta" => append("text"),
        "thinking_delta" => append("thinking"),
        "signature_delta" => append("signature"),
        "input_json_delta" => input.push_str(delta["partial_json"].as_str().expect("text")),
        "citations_delta" => block["citations"]
            .as_array_mut()
            .expect("array")
            .push(delta["citation"].clone()),
        "compaction_delta" => block["content"] = delta["content"].clone(),
        other => panic!("{other}"),
    }
}

/// A slice of the body, not a copy, is what a text becomes.
#[test]
fn a_text_without_escapes_is_a_slice_of_the_body() {
    let body = Bytes::from_static(
        br#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hello there"}]}"#,
    );
    let request = request::read(&body).expect("a request");
    let crate::canon::BlockKind::Text { text, .. } = &request.turns[0].blocks[0].kind else {
        panic!("text");
    };
    let text: &Str = text;
    assert!(body.as_ptr_range().contains(&text.as_ptr()));
}
