//! Walks recordings of real traffic, where there are any: `STOKEHOLD_RECORDINGS`, else `../shared/recordings`.
//!
//! Every request is read, written and read again; every answer is decoded and compared with a plain walk of the same JSON that shares no
//! code with the decoder, then written for a client in each form and decoded once more. Without a folder there is nothing to compare, and
//! the test says so.

use super::{array, errors, events, request};
use crate::base::Json;
use crate::canon::{Answer, AnswerBlock, BlockStart, Event, Fold, Request, Role, StopReason, Turn};
use crate::protocol::dialect::{Closing, Opening, Rules, Target};
use crate::protocol::framing::sse;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn folder() -> PathBuf {
    std::env::var_os("STOKEHOLD_RECORDINGS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings"),
        PathBuf::from,
    )
}

/// What one candidate says.
#[derive(Debug, Default, PartialEq)]
struct Told {
    text: String,
    thinking: String,
    calls: Vec<(String, Value)>,
    signatures: Vec<String>,
    finish: Option<String>,
}

/// What an answer says: candidates, tokens in and out.
#[derive(Debug, Default, PartialEq)]
struct Story {
    candidates: BTreeMap<u64, Told>,
    tokens: (u64, u64),
    citations: usize,
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Story {
    fn expected(chunks: &[Value]) -> Self {
        let mut story = Self::default();
        for chunk in chunks {
            for candidate in chunk["candidates"].as_array().into_iter().flatten() {
                let index = candidate["index"].as_u64().unwrap_or_default();
                story.candidates.entry(index).or_default().add(candidate);
                let supports = &candidate["groundingMetadata"]["groundingSupports"];
                for support in supports.as_array().into_iter().flatten() {
                    story.citations += support["groundingChunkIndices"]
                        .as_array()
                        .map_or(0, Vec::len);
                }
            }
            let usage = &chunk["usageMetadata"];
            let count = |name: &str| usage[name].as_u64().unwrap_or_default();
            let input = count("promptTokenCount") + count("toolUsePromptTokenCount");
            let output = count("candidatesTokenCount") + count("thoughtsTokenCount");
            story.tokens = (story.tokens.0.max(input), story.tokens.1.max(output));
        }
        story
    }

    fn decoded(answer: &Answer) -> Self {
        let mut story = Self {
            tokens: (
                answer.usage.input_total().0,
                answer.usage.output.unwrap_or_default().0,
            ),
            ..Self::default()
        };
        for block in &answer.blocks {
            let told = story.candidates.entry(u64::from(block.choice)).or_default();
            told.block(block);
            story.citations += block.citations.len();
        }
        for (choice, reason, _) in &answer.stops {
            let told = story.candidates.entry(u64::from(*choice)).or_default();
            told.finish = Some(word(reason).to_owned());
        }
        story
    }
}

fn word(reason: &StopReason) -> &str {
    match reason {
        StopReason::EndTurn | StopReason::ToolUse => "STOP",
        StopReason::MaxTokens => "MAX_TOKENS",
        StopReason::ContentFilter => "SAFETY",
        StopReason::Other(word) => word,
        other => panic!("{other:?} is no word of this dialect"),
    }
}

impl Told {
    fn add(&mut self, candidate: &Value) {
        for part in candidate["content"]["parts"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let into = if part["thought"] == true {
                &mut self.thinking
            } else {
                &mut self.text
            };
            into.push_str(string(&part["text"]));
            let call = &part["functionCall"];
            if call["name"].is_string() {
                let args = &call["args"];
                let args = if args.is_null() {
                    Value::Object(serde_json::Map::new())
                } else {
                    args.clone()
                };
                self.calls.push((string(&call["name"]).to_owned(), args));
            }
            for piece in call["partialArgs"].as_array().into_iter().flatten() {
                // All recorded paths have one step.
                let name = string(&piece["jsonPath"]).trim_start_matches("$.");
                let (_, args) = self.calls.last_mut().expect("a call was begun");
                let said = format!("{}{}", string(&args[name]), string(&piece["stringValue"]));
                args[name] = Value::from(said);
            }
            if let Some(signature) = part["thoughtSignature"].as_str() {
                self.signatures.push(signature.to_owned());
            }
        }
        if let Some(reason) = candidate["finishReason"].as_str() {
            self.finish = Some(reason.to_owned());
        }
    }

    fn block(&mut self, block: &AnswerBlock) {
        assert!(block.stopped, "a block was left open: {block:?}");
        match &block.start {
            BlockStart::Text => self.text.push_str(&block.text),
            BlockStart::Thinking => self.thinking.push_str(&block.text),
            BlockStart::ToolCall { id, name, .. } => {
                assert!(!id.is_empty(), "a call without an id");
                let args = serde_json::from_str(&block.text).expect("arguments are JSON");
                self.calls.push((name.to_string(), args));
            }
            _ => {}
        }
        self.signatures.extend(block.signature.clone());
    }
}

fn folded(events: &[Event]) -> Answer {
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    fold.into_answer()
}

fn decode_sse(body: &[u8], piece: usize) -> Result<Vec<Event>, String> {
    let (mut framing, mut decoder, mut out) = (
        sse::Decoder::new(1 << 24),
        events::Decoder::default(),
        Vec::new(),
    );
    for bytes in body.chunks(piece) {
        framing.feed(Bytes::copy_from_slice(bytes));
        while let Some(event) = framing.next().map_err(|e| format!("{e:?}"))? {
            decoder.event(&event, &mut out).map_err(|e| e.to_string())?;
        }
    }
    if let Some(rest) = framing.rest() {
        decoder.event(&rest, &mut out).map_err(|e| e.to_string())?;
    }
    decoder.finish(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

fn decode_array(body: &[u8], piece: usize) -> Result<Vec<Event>, String> {
    let (mut framing, mut decoder, mut out) = (
        array::Cutter::new(1 << 24),
        events::Decoder::default(),
        Vec::new(),
    );
    for bytes in body.chunks(piece) {
        framing.feed(&Bytes::copy_from_slice(bytes));
        while let Some(event) = framing.next().map_err(|e| format!("{e:?}"))? {
            decoder.event(&event, &mut out).map_err(|e| e.to_string())?;
        }
    }
    decoder.finish(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

fn decode_whole(body: &[u8]) -> Result<Vec<Event>, String> {
    let mut out = Vec::new();
    let bytes = Bytes::copy_from_slice(body);
    let mut decoder = events::Decoder::default();
    decoder.whole(&bytes, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

fn encoded(events: &[Event], opening: &Opening) -> BytesMut {
    let (mut encoder, mut out) = (events::Encoder::new(opening.clone()), BytesMut::new());
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    assert_eq!(encoder.dropped(), &[] as &[String]);
    out
}

/// What must be the same after an answer was written for a client and decoded again. The provider's own usage object is not told on; what
/// only Gemini says stays, but for how often, since each chunk may repeat it.
fn kept(mut answer: Answer) -> Answer {
    answer.usage.raw = None;
    let mut last: BTreeMap<(u32, String), _> = BTreeMap::new();
    for block in &mut answer.blocks {
        // An event of a stream has one line: the spaces between the tokens of arguments may change.
        if let Ok(arguments) = serde_json::from_str::<Value>(&block.text) {
            block.text = arguments.to_string();
        }
    }
    for mut other in answer.others.drain(..) {
        other.3 = Json::of(&other.3.read::<Value>().expect("JSON"));
        last.insert((other.2, other.1.to_string()), other);
    }
    answer.others = last.into_values().collect();
    answer
}

fn check_again(events: &[Event]) -> Result<(), String> {
    let answer = folded(events);
    let mut opening = Opening {
        id: answer.id.clone(),
        model: answer.model.clone(),
        created: answer.created.unwrap_or_default(),
        ..Opening::default()
    };
    let wanted = kept(answer.clone());
    let sse = encoded(events, &opening);
    let whole = events::write_whole(&answer, &opening, &Closing::default());
    opening.array = true;
    let array = encoded(events, &opening);
    for (form, got) in [
        ("sse", decode_sse(&sse, usize::MAX)),
        ("sse in pieces", decode_sse(&sse, 11)),
        ("array", decode_whole(&array)),
        ("array in pieces", decode_array(&array, 13)),
        ("one body", decode_whole(&whole)),
    ] {
        let got = kept(folded(&got.map_err(|e| format!("{form}: {e}"))?));
        if got != wanted {
            return Err(format!("{form}: wanted {wanted:#?}\n got {got:#?}"));
        }
    }
    Ok(())
}

/// Neighbours of one role as one turn, as they are written.
fn merged(request: &mut Request) {
    let mut turns: Vec<Turn> = Vec::new();
    for turn in request.turns.drain(..) {
        match turns.last_mut().filter(|t| t.role == turn.role) {
            Some(last) => last.blocks.extend(turn.blocks),
            None => turns.push(turn),
        }
    }
    request.turns = turns;
}

/// A recorded request can be read, and says the same after it was written and read again.
fn check_request(asked: &Value, url: &str) -> Result<(), String> {
    let read = |bytes: &Bytes| request::read(bytes).map_err(|f| format!("{f:?}"));
    let mut first = read(&Bytes::from(asked.to_string()))?;
    let rules = Rules {
        thinking_budget: url.contains("gemini-2") || url.contains("gemini-1"),
        ..Rules::default()
    };
    let target = Target {
        model: "gemini-flash",
        stream: true,
        max_output_default: 1,
        rules: &rules,
    };
    let (bytes, dropped) = request::write(&first, &target).map_err(|f| format!("{f:?}"))?;
    let again = read(&bytes)?;
    merged(&mut first);
    if !dropped.is_empty() || first != again {
        return Err(format!("{dropped:?} read {first:#?}\n then {again:#?}"));
    }
    let contents = asked["contents"].as_array().map_or(0, Vec::len);
    let last = first.turns.last().map(|t| t.role);
    if contents == 0 || last != Some(Role::User) {
        return Err(format!("{contents} contents, the last by {last:?}"));
    }
    Ok(())
}

/// `Err` says what was not as it should be.
fn check(recording: &Value) -> Result<(), String> {
    let asked = &recording["request"]["body"];
    if asked["contents"].is_array() {
        check_request(asked, string(&recording["request"]["url"]))?;
    }
    let response = &recording["response"];
    let body = response["body"].as_str().ok_or("no body")?;
    let status = response["status"].as_u64().unwrap_or(200) as u16;
    if status != 200 {
        let fault = errors::read(status, body.as_bytes());
        let wrong = fault.message.is_empty() || fault.upstream_status != Some(status);
        return if wrong {
            Err(format!("{fault:?}"))
        } else {
            Ok(())
        };
    }
    let (events, chunks) = if body.trim_start().starts_with("data:") {
        let events = decode_sse(body.as_bytes(), usize::MAX)?;
        for piece in [1, 7, 100] {
            if decode_sse(body.as_bytes(), piece)? != events {
                return Err(format!("in pieces of {piece} it says something else"));
            }
        }
        let lines = body.lines().filter_map(|l| l.strip_prefix("data:"));
        let chunks = lines.map(|l| serde_json::from_str(l).expect("JSON"));
        (events, chunks.collect())
    } else {
        let events = decode_whole(body.as_bytes())?;
        let chunks = match serde_json::from_str(body).expect("JSON") {
            Value::Array(chunks) => {
                if decode_array(body.as_bytes(), 7)? != events {
                    return Err("the array in pieces says something else".to_owned());
                }
                chunks
            }
            one => vec![one],
        };
        (events, chunks)
    };
    let (wanted, got) = (Story::expected(&chunks), Story::decoded(&folded(&events)));
    if wanted != got {
        return Err(format!("wanted {wanted:#?}\n got {got:#?}"));
    }
    check_again(&events)
}

#[test]
fn every_recorded_exchange_says_what_a_plain_walk_finds_and_survives_the_way_back() {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        println!("no recordings at {}: nothing compared", folder().display());
        return;
    };
    let ours = [
        "gemini-generate-",
        "gemini-stream-",
        "vertex-generate-",
        "vertex-stream-",
    ];
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| ours.iter().any(|o| path.to_string_lossy().contains(o)))
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    let mut wrong = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a recording can be read");
        let recording: Value = serde_json::from_str(&text).expect("a recording is JSON");
        if let Err(why) = check(&recording) {
            wrong.push(format!("{}: {why}", path.display()));
        }
    }
    println!("{} recordings ran", paths.len());
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
