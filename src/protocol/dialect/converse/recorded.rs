//! Walks recordings of Bedrock, where there are any: `STOKEHOLD_RECORDINGS`, else `../shared/recordings`.
//!
//! Converse: requests are read, written and read again; answers are compared with a plain walk of the same JSON, encoded and decoded again.
//! InvokeModel: Claude's answers through the frames and the Messages decoder; other models' are told to be none of Anthropic's. Without a
//! folder there is nothing to compare, and the test says so.

use super::{errors, events, request};
use crate::canon::{Answer, BlockStart, DialectName, Event, Fold, Request};
use crate::protocol::dialect::{Closing, Decoder, Encoder, Opening, Rules, Target};
use crate::protocol::framing::eventstream::{Decoder as Frames, Events, Holds};
use crate::protocol::framing::sse;
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::path::PathBuf;

fn folder() -> PathBuf {
    std::env::var_os("STOKEHOLD_RECORDINGS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings"),
        PathBuf::from,
    )
}

/// Recordings whose name begins so; `None` when there is no folder.
fn recordings(prefix: &str) -> Option<Vec<(String, Value)>> {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        println!("no recordings at {}: nothing compared", folder().display());
        return None;
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|p| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(prefix))
        })
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a recording can be read");
        let recording = serde_json::from_str(&text).expect("a recording is JSON");
        (path.display().to_string(), recording)
    };
    Some(paths.into_iter().map(read).collect())
}

fn status(recording: &Value) -> u16 {
    recording["response"]["status"].as_u64().unwrap_or(200) as u16
}

/// The frames of a streamed answer; `None` for one in one body.
fn binary(recording: &Value) -> Option<Bytes> {
    let encoded = recording["response"]["body_base64"].as_str()?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
    Some(bytes.expect("a recorded body is base64").into())
}

fn body(recording: &Value) -> Bytes {
    let text = recording["response"]["body"].as_str().expect("a body");
    Bytes::from(text.to_owned())
}

fn model_of(recording: &Value) -> String {
    let url = recording["request"]["url"].as_str().unwrap_or_default();
    let part = url.split("/model/").nth(1).unwrap_or_default();
    let id = part.split('/').next().unwrap_or_default();
    id.replace("%3A", ":")
}

fn streamed(holds: Holds, bytes: &Bytes, piece: usize) -> Result<Vec<sse::SseEvent>, String> {
    let (mut frames, mut out) = (Events::new(holds, 1 << 24), Vec::new());
    for bytes in bytes.chunks(piece) {
        frames.feed(Bytes::copy_from_slice(bytes));
        while let Some(event) = frames.next().map_err(|e| e.to_string())? {
            out.push(event);
        }
    }
    frames.finish().map_err(|e| e.to_string())?;
    Ok(out)
}

fn decoded(dialect: DialectName, sse: &[sse::SseEvent]) -> Result<Vec<Event>, String> {
    let (mut decoder, mut out) = (Decoder::new(dialect), Vec::new());
    for event in sse {
        decoder.event(event, &mut out).map_err(|e| e.to_string())?;
    }
    decoder.finish(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

fn whole(dialect: DialectName, body: &Bytes) -> Result<Vec<Event>, String> {
    let (mut decoder, mut out) = (Decoder::new(dialect), Vec::new());
    decoder.whole(body, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

/// Without the provider's own spelling of usage, which ours is not.
fn folded(events: &[Event]) -> Answer {
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    let mut answer = fold.into_answer();
    answer.usage.raw = None;
    answer
}

/// What an answer says, by a plain walk and by its decoded form: text, thinking or its data, calls, citations, stop word's presence, tokens.
#[derive(Debug, Default, PartialEq)]
struct Story {
    text: String,
    calls: Vec<(String, Value)>,
    citations: usize,
    redacted: usize,
    tokens: Option<(u64, u64, u64)>,
}

impl Story {
    fn block(&mut self, block: &Value) {
        self.text
            .push_str(block["text"].as_str().unwrap_or_default());
        let cited = &block["citationsContent"];
        for part in cited["content"].as_array().into_iter().flatten() {
            self.text
                .push_str(part["text"].as_str().unwrap_or_default());
        }
        self.citations += cited["citations"].as_array().map_or(0, Vec::len);
        if let Some(call) = block["toolUse"].as_object() {
            let name = call["name"].as_str().unwrap_or_default().to_owned();
            self.calls.push((name, call["input"].clone()));
        }
    }

    fn usage(&mut self, usage: &Value) {
        let count = |name: &str| usage[name].as_u64().unwrap_or(0);
        self.tokens = Some((
            count("inputTokens"),
            count("outputTokens"),
            count("cacheReadInputTokens"),
        ));
    }

    fn of_whole(body: &Value) -> Self {
        let mut story = Self::default();
        let content = &body["output"]["message"]["content"];
        content
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|b| story.block(b));
        story.usage(&body["usage"]);
        story
    }

    /// By the frames' payloads alone.
    fn of_frames(bytes: &Bytes) -> Self {
        let (mut frames, mut story) = (Frames::new(1 << 24), Self::default());
        let mut inputs: Vec<String> = Vec::new();
        frames.feed(bytes.clone());
        while let Some(frame) = frames.next().expect("recorded frames are whole") {
            let value: Value = serde_json::from_slice(&frame.payload).expect("JSON");
            let delta = &value["delta"];
            story
                .text
                .push_str(delta["text"].as_str().unwrap_or_default());
            story.citations += usize::from(delta["citation"].is_object());
            story.redacted += usize::from(delta["reasoningContent"]["redactedContent"].is_string());
            if let Some(name) = value["start"]["toolUse"]["name"].as_str() {
                story.calls.push((name.to_owned(), Value::Null));
                inputs.push(String::new());
            }
            if let (Some(part), Some(last)) =
                (delta["toolUse"]["input"].as_str(), inputs.last_mut())
            {
                last.push_str(part);
            }
            if value["usage"].is_object() {
                story.usage(&value["usage"]);
            }
        }
        for (call, input) in story.calls.iter_mut().zip(inputs) {
            call.1 = serde_json::from_str(&input).unwrap_or_else(|_| serde_json::json!({}));
        }
        story
    }

    fn of_answer(answer: &Answer) -> Self {
        let mut story = Self::default();
        for block in &answer.blocks {
            assert!(block.stopped, "a block was left open: {block:?}");
            story.citations += block.citations.len();
            match &block.start {
                BlockStart::Text => story.text.push_str(&block.text),
                BlockStart::RedactedThinking { .. } => story.redacted += 1,
                BlockStart::ToolCall { name, .. } => {
                    let input = serde_json::from_str(&block.text).expect("input is JSON");
                    story.calls.push((name.to_string(), input));
                }
                _ => {}
            }
        }
        let usage = &answer.usage;
        let count = |t: Option<crate::base::Tokens>| t.map_or(0, |t| t.0);
        story.tokens = Some((
            count(usage.input_uncached),
            count(usage.output),
            count(usage.cache_read),
        ));
        story
    }
}

/// A recorded request can be read, and says the same after it was written and read again.
fn check_request(asked: &Value, model: &str) -> Result<(), String> {
    let first = request::read(&Bytes::from(asked.to_string())).map_err(|f| format!("{f:?}"))?;
    let rules = Rules {
        thinking_budget: asked["additionalModelRequestFields"]["thinking"]["type"] == "enabled",
        ..Rules::default()
    };
    let target = Target {
        model,
        stream: true,
        max_output_default: 4096,
        rules: &rules,
    };
    let (bytes, dropped) = request::write(&first, &target).map_err(|f| format!("{f:?}"))?;
    if !dropped.is_empty() {
        return Err(format!("left out {dropped:?}"));
    }
    let again = request::read(&bytes).map_err(|f| format!("{f:?}"))?;
    // Bedrock's clients give what is empty; nothing is what that says.
    if normal(first.clone()) != normal(again.clone()) {
        return Err(format!("read {first:#?}\n then {again:#?}"));
    }
    Ok(())
}

fn normal(mut request: Request) -> Request {
    for turn in &mut request.turns {
        turn.blocks.retain(super::request::says_something);
    }
    request
}

fn check_converse(recording: &Value) -> Result<(), String> {
    let asked = &recording["request"]["body"];
    if asked.is_object() {
        check_request(asked, &model_of(recording))?;
    }
    if status(recording) != 200 {
        let fault = errors::read(status(recording), &body(recording));
        let told = !fault.message.is_empty() && fault.upstream_status == Some(status(recording));
        return if told {
            Ok(())
        } else {
            Err(format!("{fault:?}"))
        };
    }
    let Some(bytes) = binary(recording) else {
        return check_whole(&body(recording));
    };
    let sse = streamed(Holds::Converse, &bytes, usize::MAX)?;
    if streamed(Holds::Converse, &bytes, 7)? != sse {
        return Err("cut into pieces it says something else".to_owned());
    }
    let events = decoded(DialectName::Converse, &sse)?;
    let answer = folded(&events);
    let (wanted, got) = (Story::of_frames(&bytes), Story::of_answer(&answer));
    if wanted != got {
        return Err(format!("wanted {wanted:#?}\n got {got:#?}"));
    }
    let mut out = BytesMut::new();
    let mut encoder = Encoder::new(DialectName::Converse, Opening::default());
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    let mut cut = sse::Decoder::new(1 << 24);
    cut.feed(out.freeze());
    let mut again = Vec::new();
    while let Some(event) = cut.next().map_err(|e| format!("{e:?}"))? {
        again.push(event);
    }
    let again = folded(&decoded(DialectName::Converse, &again)?);
    if again != answer {
        return Err(format!("decoded {answer:#?}\n then {again:#?}"));
    }
    Ok(())
}

fn check_whole(body: &Bytes) -> Result<(), String> {
    let answer = folded(&whole(DialectName::Converse, body)?);
    let plain: Value = serde_json::from_slice(body).expect("JSON");
    let (wanted, got) = (Story::of_whole(&plain), Story::of_answer(&answer));
    if wanted != got {
        return Err(format!("wanted {wanted:#?}\n got {got:#?}"));
    }
    let written = events::write_whole(&answer, &Opening::default(), &Closing::default());
    let again = folded(&whole(DialectName::Converse, &written)?);
    if again != answer {
        return Err(format!("decoded {answer:#?}\n then {again:#?}"));
    }
    Ok(())
}

fn report(ran: usize, wrong: &[String]) {
    println!("{ran} recordings ran");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_recorded_converse_exchange_says_what_a_plain_walk_finds() {
    let Some(all) = recordings("bedrock-converse") else {
        return;
    };
    let check = |(path, recording): &(String, Value)| {
        let why = check_converse(recording).err()?;
        Some(format!("{path}: {why}"))
    };
    let wrong: Vec<String> = all.iter().filter_map(check).collect();
    report(all.len(), &wrong);
}

/// Whether the model answers in Anthropic's Messages grammar, by what was asked of it.
fn is_claude(recording: &Value) -> bool {
    recording["request"]["body"]["anthropic_version"].is_string()
}

fn check_invoke(recording: &Value) -> Result<(), String> {
    if status(recording) != 200 {
        let fault = errors::read(status(recording), &body(recording));
        return if fault.class.status() == 401 {
            Ok(())
        } else {
            Err(format!("{fault:?}"))
        };
    }
    let events = match binary(recording) {
        Some(bytes) => streamed(Holds::Invoke, &bytes, 5).and_then(|sse| {
            let plain = |e: &sse::SseEvent| serde_json::from_slice::<Value>(&e.data).is_ok();
            assert!(sse.iter().all(plain), "events hold JSON");
            let text = |e: &sse::SseEvent| String::from_utf8_lossy(&e.raw).into_owned();
            let all: String = sse.iter().map(text).collect();
            assert!(!all.contains("amazon-bedrock"), "the trailer is taken off");
            decoded(DialectName::Messages, &sse)
        }),
        None => whole(DialectName::Messages, &body(recording)),
    };
    match (is_claude(recording), events) {
        (true, Ok(events)) => {
            let answer = folded(&events);
            let told = answer.done && answer.usage.output.is_some() && !answer.blocks.is_empty();
            if told {
                Ok(())
            } else {
                Err(format!("{answer:#?}"))
            }
        }
        // Malformed, and said so.
        (false, Err(why)) if why.starts_with("malformed: ") => Ok(()),
        (_, other) => Err(format!("{other:?}")),
    }
}

#[test]
fn claude_behind_invoke_is_read_and_other_grammars_are_told_apart() {
    let Some(all) = recordings("bedrock-invoke") else {
        return;
    };
    let check = |(path, recording): &(String, Value)| {
        let why = check_invoke(recording).err()?;
        Some(format!("{path}: {why}"))
    };
    let wrong: Vec<String> = all.iter().filter_map(check).collect();
    let strangers = all.iter().filter(|(_, r)| !is_claude(r)).count();
    println!("{strangers} of them speak another grammar than Anthropic's");
    assert!(
        all.is_empty() || strangers > 0 && strangers < all.len(),
        "both kinds ran"
    );
    report(all.len(), &wrong);
}

/// Bodies after AWS's pages on each maker's models ("Inference request parameters and response fields", read 2026-11).
#[test]
fn an_answer_in_another_makers_grammar_is_malformed_and_says_nothing_of_its_content() {
    for body in [
        r#"{"inputTextTokenCount":1,"results":[{"tokenCount":1,"outputText":"secret","completionReason":"FINISH"}]}"#,
        r#"{"generation":"secret","prompt_token_count":1,"generation_token_count":1,"stop_reason":"stop"}"#,
        r#"{"generations":[{"id":"g","text":"secret","finish_reason":"COMPLETE"}],"id":"i","prompt":"p"}"#,
        r#"{"outputs":[{"text":"secret","stop_reason":"stop"}]}"#,
        r#"{"output":{"message":{"content":[{"text":"secret"}],"role":"assistant"}},"stopReason":"end_turn","usage":{}}"#,
        r#"{"completion":"secret","stop_reason":"stop_sequence","stop":"x"}"#,
        r#"{"embedding":[0.5],"inputTextTokenCount":1}"#,
    ] {
        let why = whole(DialectName::Messages, &Bytes::from(body)).expect_err("no message");
        assert!(
            why.starts_with("malformed: body") && !why.contains("secret"),
            "{why}"
        );
    }
}
