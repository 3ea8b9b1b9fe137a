//! Every recording of a grammar that providers speak, told to a client of each dialect: `STOKEHOLD_RECORDINGS`, else
//! `../shared/recordings`.
//!
//! An answer is decoded, written for a client of each dialect, streamed and whole, and decoded again: the same text, tool calls, stop reason
//! and usage, or the encoder says by name what it left out. A request is written for each provider dialect and read again, or refused by
//! the name of a field. What one dialect promises about its own recordings in detail stands in its `recorded.rs`. Without a folder there is
//! nothing to compare, and the test says so.

use crate::canon::{Answer, BlockStart, DialectName, Event, Fold, StopReason};
use crate::protocol::dialect::{
    Closing, Decoder, Encoder, Opening, Rules, Target, read_request, write_answer, write_request,
};
use crate::protocol::framing::eventstream::{Events, Holds};
use crate::protocol::framing::sse;
use base64::Engine;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

const CLIENTS: [DialectName; 5] = [
    DialectName::Native,
    DialectName::Chat,
    DialectName::Messages,
    DialectName::Responses,
    DialectName::Gemini,
];

const PROVIDERS: [DialectName; 5] = [
    DialectName::Chat,
    DialectName::Messages,
    DialectName::Responses,
    DialectName::Gemini,
    DialectName::Converse,
];

/// By (what was done, API, dialect, outcome): how many files.
type Counts = BTreeMap<(&'static str, String, &'static str, &'static str), usize>;

fn folder() -> PathBuf {
    std::env::var_os("STOKEHOLD_RECORDINGS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings"),
        PathBuf::from,
    )
}

/// What must come back, whoever tells it.
#[derive(Debug, Default, PartialEq)]
struct Told {
    text: BTreeMap<u32, String>,
    calls: Vec<(String, Value)>,
    stops: Vec<(u32, StopReason)>,
    input: u64,
    output: u64,
}

impl Told {
    fn of(answer: &Answer) -> Self {
        let mut told = Self {
            input: answer.usage.input_total().0,
            output: answer.usage.output.unwrap_or_default().0,
            ..Self::default()
        };
        for block in &answer.blocks {
            match &block.start {
                // Messages and Gemini have no block for a refusal: its words are text there.
                BlockStart::Text | BlockStart::Refusal => told
                    .text
                    .entry(block.choice)
                    .or_default()
                    .push_str(&block.text),
                BlockStart::ToolCall { name, .. } => {
                    let input = input_of(&block.text);
                    told.calls.push((name.to_string(), input));
                }
                _ => {}
            }
        }
        told.text.retain(|_, text| !text.is_empty());
        let stops = answer.stops.iter();
        told.stops = stops
            .map(|(choice, why, _)| (*choice, nearest(why)))
            .collect();
        told
    }
}

/// A refusal and a filter are one word in Gemini (`SAFETY`).
fn nearest(why: &StopReason) -> StopReason {
    match why {
        StopReason::Refusal => StopReason::ContentFilter,
        other => other.clone(),
    }
}

/// A call without a word is a call with nothing; one that was cut off in the middle stands under `raw` where only objects are sayable.
fn input_of(text: &str) -> Value {
    let text = if text.is_empty() { "{}" } else { text };
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(map)) if map.len() == 1 && map.contains_key("raw") => map["raw"].clone(),
        Ok(other) => other,
        Err(_) => Value::from(text),
    }
}

fn folded(events: &[Event]) -> Answer {
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    fold.into_answer()
}

fn of_sse(dialect: DialectName, body: &[u8]) -> Result<Vec<Event>, String> {
    let mut framing = sse::Decoder::new(1 << 26);
    let (mut decoder, mut out) = (Decoder::new(dialect), Vec::new());
    framing.feed(Bytes::copy_from_slice(body));
    while let Some(event) = framing.next().map_err(|e| format!("{e:?}"))? {
        decoder.event(&event, &mut out).map_err(|e| e.to_string())?;
    }
    if let Some(rest) = framing.rest() {
        decoder.event(&rest, &mut out).map_err(|e| e.to_string())?;
    }
    decoder.finish(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

fn of_whole(dialect: DialectName, body: &[u8]) -> Result<Vec<Event>, String> {
    let (mut decoder, mut out) = (Decoder::new(dialect), Vec::new());
    decoder
        .whole(&Bytes::copy_from_slice(body), &mut out)
        .map_err(|e| e.to_string())?;
    Ok(out)
}

fn of_frames(dialect: DialectName, holds: Holds, body: &Bytes) -> Result<Vec<Event>, String> {
    let mut frames = Events::new(holds, 1 << 26);
    let (mut decoder, mut out) = (Decoder::new(dialect), Vec::new());
    frames.feed(body.clone());
    while let Some(event) = frames.next().map_err(|e| e.to_string())? {
        decoder.event(&event, &mut out).map_err(|e| e.to_string())?;
    }
    decoder.finish(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

/// The grammar of an API as the index names it, `None` where no codec speaks it.
fn dialect_of(recording: &Value) -> Option<DialectName> {
    let api = recording["api"].as_str().unwrap_or_default();
    let claude = recording["request"]["body"]["anthropic_version"].is_string();
    match api.rsplit('.').next().unwrap_or_default() {
        "chat" | "openai_chat" => Some(DialectName::Chat),
        "messages" => Some(DialectName::Messages),
        "responses" => Some(DialectName::Responses),
        "generate" | "stream" => Some(DialectName::Gemini),
        "converse" | "converse_stream" => Some(DialectName::Converse),
        "invoke" | "invoke_stream" if claude => Some(DialectName::Messages),
        _ => None,
    }
}

/// `None`: a refusal, or nothing that was answered.
fn answered(dialect: DialectName, recording: &Value) -> Option<Result<Vec<Event>, String>> {
    let response = &recording["response"];
    if response["status"].as_u64().unwrap_or(200) != 200 {
        return None;
    }
    if let Some(text) = response["body_base64"].as_str() {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        let bytes = Bytes::from(bytes.expect("a recording's frames are base64"));
        let holds = if dialect == DialectName::Converse {
            Holds::Converse
        } else {
            Holds::Invoke
        };
        return Some(of_frames(dialect, holds, &bytes));
    }
    let body = match &response["body"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let start = body.trim_start();
    let streamed = ["data:", "event:", ":", "id:"]
        .iter()
        .any(|w| start.starts_with(w));
    Some(if streamed {
        of_sse(dialect, body.as_bytes())
    } else {
        of_whole(dialect, body.as_bytes())
    })
}

/// Tells `events` to a client of `to` in both forms. `Ok` says whether all came back, or what is named as left out.
fn told_again(to: DialectName, events: &[Event]) -> Result<&'static str, String> {
    let answer = folded(events);
    let wanted = Told::of(&answer);
    let opening = Opening {
        id: answer.id.clone(),
        model: answer.model.clone(),
        stream_usage: true,
        ..Opening::default()
    };
    let (mut encoder, mut out) = (Encoder::new(to, opening.clone()), BytesMut::new());
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    let whole = write_answer(to, &answer, &opening, &Closing::default());
    for (form, got) in [
        ("stream", of_sse(to, &out)),
        ("whole", of_whole(to, &whole)),
    ] {
        let got = Told::of(&folded(&got.map_err(|e| format!("{form}: {e}"))?));
        if got != wanted && encoder.dropped().is_empty() {
            return Err(format!("{form}: wanted {wanted:?}\n   got {got:?}"));
        }
    }
    Ok(if encoder.dropped().is_empty() {
        "same"
    } else {
        "named"
    })
}

/// Writes a recorded request for a provider of `to`. What was written can be read; what cannot be said is refused with a field's name.
fn asked_again(from: DialectName, to: DialectName, body: &Bytes) -> Result<&'static str, String> {
    let request = read_request(from, body).map_err(|f| format!("unread: {}", f.message))?;
    let rules = Rules::default();
    let target = Target {
        model: "up",
        stream: request.stream,
        max_output_default: 99,
        rules: &rules,
    };
    let (bytes, dropped) = match write_request(to, &request, &target) {
        Ok(written) => written,
        Err(fault) if fault.message.is_empty() => return Err("refused without a word".to_owned()),
        Err(_) => return Ok("refused"),
    };
    read_request(to, &bytes).map_err(|f| format!("what we wrote is unread: {}", f.message))?;
    Ok(if dropped.is_empty() { "same" } else { "named" })
}

/// Runs one recording, counts it, and appends what was wrong.
fn walk(name: &str, recording: &Value, counts: &mut Counts, wrong: &mut Vec<String>) {
    let api = recording["api"].as_str().unwrap_or_default().to_owned();
    let Some(dialect) = dialect_of(recording) else {
        *counts.entry(("unspoken", api, "-", "-")).or_default() += 1;
        return;
    };
    let mut note = |what, to: DialectName, outcome: Result<&'static str, String>| match outcome {
        Ok(word) => {
            *counts
                .entry((what, api.clone(), to.as_str(), word))
                .or_default() += 1
        }
        Err(why) => wrong.push(format!("{name}: {what} {}: {why}", to.as_str())),
    };
    match answered(dialect, recording) {
        None => note("refusal", dialect, Ok("-")),
        Some(Err(why)) => note("answer", dialect, Err(why)),
        // A recorded failure within a stream is no answer to compare.
        Some(Ok(events)) if !events.contains(&Event::Done) => note("broken", dialect, Ok("-")),
        Some(Ok(events)) => CLIENTS
            .into_iter()
            .for_each(|to| note("answer", to, told_again(to, &events))),
    }
    let asked = &recording["request"]["body"];
    // What the provider refused as malformed itself, and a prompt that is stored with OpenAI together with its model's name, are not ours to read.
    let refused = recording["response"]["status"] == 400 && asked["messages"][0].is_string();
    let stored = asked["prompt"]["id"].is_string() && asked["model"].is_null();
    if refused || stored {
        let read = read_request(dialect, &Bytes::from(asked.to_string()));
        let unread = read.map_or(Ok("unread"), |_| Err("was read".to_owned()));
        note("request", dialect, unread);
    } else if asked.is_object() {
        let mut asked = asked.clone();
        // Bedrock and Azure name the model in the path.
        if dialect != DialectName::Gemini && asked["model"].is_null() {
            asked["model"] = Value::from("m");
        }
        if dialect == DialectName::Converse && recording["request"]["body"]["model"].is_null() {
            asked.as_object_mut().expect("an object").remove("model");
        }
        let body = Bytes::from(asked.to_string());
        PROVIDERS
            .into_iter()
            .for_each(|to| note("request", to, asked_again(dialect, to, &body)));
    }
}

#[test]
fn every_recording_is_told_in_every_dialect_or_says_what_it_lost() {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        println!("no recordings at {}: nothing compared", folder().display());
        return;
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    let (mut counts, mut wrong) = (Counts::new(), Vec::new());
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a recording can be read");
        let recording: Value = serde_json::from_str(&text).expect("a recording is JSON");
        let name = path
            .file_stem()
            .expect("a file has a name")
            .to_string_lossy();
        walk(&name, &recording, &mut counts, &mut wrong);
    }
    for ((what, api, dialect, outcome), files) in &counts {
        println!("{what} {api} -> {dialect}: {outcome} {files}");
    }
    println!("{} recordings ran", paths.len());
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
