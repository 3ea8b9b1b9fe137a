//! Walks recordings of real traffic, where there are any: `STOKEHOLD_RECORDINGS`, else `../shared/recordings`.
//!
//! Every answer of this dialect is decoded and compared with a plain walk of the same JSON that shares no code with the decoder;
//! every request is read. Without a folder there is nothing to compare, and the test says so.

use super::{errors, events, request};
use crate::canon::{AnswerBlock, BlockStart, CacheMark, Event, Fold, Request, StopReason, Usage};
use crate::protocol::dialect::{Rules, Target};
use crate::protocol::framing::sse;
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn folder() -> PathBuf {
    std::env::var_os("STOKEHOLD_RECORDINGS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings"),
        PathBuf::from,
    )
}

/// What one choice says.
#[derive(Debug, Default, PartialEq)]
struct Told {
    text: String,
    thinking: String,
    refusal: String,
    calls: Vec<(String, String)>,
    finish: Option<String>,
}

/// What an answer says: choices, what was counted, whether it broke off.
#[derive(Debug, Default, PartialEq)]
struct Story {
    choices: BTreeMap<u64, Told>,
    counted: Counted,
    broke_off: bool,
}

/// What an answer says that it used: tokens, and nano-dollars where the provider has a figure of its own.
#[derive(Debug, Default, PartialEq)]
struct Counted {
    prompt: Option<u64>,
    cached: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
    cost: Option<i64>,
}

impl Counted {
    /// Each speaker's `total_tokens` is what went in and what came out, whatever the other members leave out.
    fn expected(&mut self, usage: &Value) {
        let (Some(prompt), Some(completion)) = (
            usage["prompt_tokens"].as_u64(),
            usage["completion_tokens"].as_u64(),
        ) else {
            return;
        };
        let details = &usage["prompt_tokens_details"];
        let cached = [
            &details["cached_tokens"],
            &usage["cached_tokens"],
            &usage["prompt_cache_hit_tokens"],
        ];
        let cached = cached.into_iter().find_map(Value::as_u64);
        let written = details["cache_write_tokens"].as_u64().unwrap_or_default();
        let held = cached.unwrap_or_default() + written;
        let total = usage["total_tokens"].as_u64();
        let output = total.map_or(completion, |total| total - prompt);
        let thoughts = [
            &usage["completion_tokens_details"]["reasoning_tokens"],
            &usage["reasoning_tokens"],
        ];
        let said = thoughts.into_iter().find_map(Value::as_u64);
        let hidden = (output > completion).then(|| output - completion);
        let ticks = usage["cost_in_usd_ticks"].as_f64();
        let dollars = ticks.map(|t| t / 1e10).or_else(|| usage["cost"].as_f64());
        *self = Self {
            // Two recordings of Azure count more from the cache than there was input: the input is then the rest.
            prompt: Some(if held > prompt { prompt + held } else { prompt }),
            cached,
            output: Some(output),
            reasoning: said.map(|s| s.min(output)).or(hidden),
            cost: dollars.map(|usd| (usd * 1e9).round() as i64),
        };
    }

    fn decoded(usage: &Usage) -> Self {
        Self {
            prompt: usage.raw.is_some().then(|| usage.input_total().0),
            cached: usage.cache_read.map(|t| t.0),
            output: usage.output.map(|t| t.0),
            reasoning: usage.reasoning.map(|t| t.0),
            cost: usage.provider_cost.map(|c| c.0),
        }
    }
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Story {
    fn expected(chunks: &[Value]) -> Self {
        let mut story = Self::default();
        for chunk in chunks {
            if chunk.get("error").is_some_and(|e| !e.is_null()) {
                story.broke_off = true;
                break;
            }
            for choice in chunk["choices"].as_array().into_iter().flatten() {
                let told = story
                    .choices
                    .entry(choice["index"].as_u64().unwrap_or_default())
                    .or_default();
                told.add(choice);
            }
            let usage = [&chunk["usage"], &chunk["x_groq"]["usage"]];
            for usage in usage {
                story.counted.expected(usage);
            }
        }
        story
    }

    fn decoded(events: &[Event]) -> Self {
        let mut fold = Fold::default();
        events.iter().for_each(|e| fold.event(e));
        let answer = fold.into_answer();
        let mut story = Self {
            broke_off: answer.error.is_some(),
            counted: Counted::decoded(&answer.usage),
            ..Self::default()
        };
        for block in &answer.blocks {
            let told = story.choices.entry(u64::from(block.choice)).or_default();
            told.block(block, answer.error.is_none());
        }
        for (choice, reason, _) in &answer.stops {
            let told = story.choices.entry(u64::from(*choice)).or_default();
            told.finish = Some(events_word(reason).to_owned());
        }
        story
    }
}

fn events_word(reason: &StopReason) -> &str {
    match reason {
        StopReason::EndTurn | StopReason::StopSequence | StopReason::Refusal => "stop",
        StopReason::MaxTokens => "length",
        StopReason::ToolUse => "tool_calls",
        StopReason::ContentFilter => "content_filter",
        StopReason::Other(word) => word,
        other => panic!("{other:?} is no word of this dialect"),
    }
}

impl Told {
    fn add(&mut self, choice: &Value) {
        let delta = if choice["delta"].is_object() {
            &choice["delta"]
        } else {
            &choice["message"]
        };
        match &delta["content"] {
            Value::Array(parts) => {
                for part in parts {
                    self.text.push_str(string(&part["text"]));
                    for thought in part["thinking"].as_array().into_iter().flatten() {
                        self.thinking.push_str(string(&thought["text"]));
                    }
                }
            }
            content => self.text.push_str(string(content)),
        }
        let plain = [&delta["reasoning_content"], &delta["reasoning"]]
            .into_iter()
            .map(string)
            .find(|s| !s.is_empty());
        self.thinking.push_str(plain.unwrap_or_default());
        if plain.is_none() {
            for detail in delta["reasoning_details"].as_array().into_iter().flatten() {
                self.thinking.push_str(string(&detail["text"]));
                self.thinking.push_str(string(&detail["summary"]));
            }
        }
        self.refusal.push_str(string(&delta["refusal"]));
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            if function["name"].is_string() {
                self.calls
                    .push((string(&function["name"]).to_owned(), String::new()));
            }
            if let Some(last) = self.calls.last_mut() {
                last.1.push_str(string(&function["arguments"]));
            }
        }
        if let (None, Some(reason)) = (&self.finish, choice["finish_reason"].as_str()) {
            // What several speakers call `stop` although tools are called.
            let calls = reason == "stop" && !self.calls.is_empty();
            self.finish = Some(if calls { "tool_calls" } else { reason }.to_owned());
        }
    }

    fn block(&mut self, block: &AnswerBlock, whole: bool) {
        assert!(block.stopped || !whole, "a block was left open: {block:?}");
        match &block.start {
            BlockStart::Text => self.text.push_str(&block.text),
            BlockStart::Thinking => self.thinking.push_str(&block.text),
            BlockStart::Refusal => self.refusal.push_str(&block.text),
            BlockStart::ToolCall { id, name, .. } => {
                assert!(!id.is_empty(), "a call without an id");
                self.calls.push((name.to_string(), block.text.clone()));
            }
            _ => {}
        }
    }
}

/// Chunks of a stream, without the framing under test.
fn plain_chunks(body: &str) -> Vec<Value> {
    body.lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(str::trim)
        .filter(|data| !data.is_empty() && *data != "[DONE]")
        .map(|data| serde_json::from_str(data).expect("a recorded chunk is JSON"))
        .collect()
}

fn decode(body: &str, piece: usize) -> Result<Vec<Event>, String> {
    let (mut framing, mut decoder, mut out) = (
        sse::Decoder::new(1 << 24),
        events::Decoder::default(),
        Vec::new(),
    );
    for bytes in body.as_bytes().chunks(piece) {
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

fn is_stream(body: &str) -> bool {
    ["data:", ":", "event:", "id:"]
        .iter()
        .any(|p| body.trim_start().starts_with(p))
}

/// Gateways take Anthropic's lifetimes of marks in this dialect; OpenAI has none that short to write.
fn without_lifetimes(request: &mut Request) {
    let turns = request.turns.iter_mut().flat_map(|t| &mut t.blocks);
    for block in request.system.iter_mut().chain(turns) {
        block.mark = block.mark.map(|_| CacheMark { ttl: None });
    }
}

/// A recorded request can be read, and says the same after it was written and read again.
fn check_request(asked: &Value) -> Result<(), String> {
    let mut asked = asked.clone();
    // Azure names the model in the path.
    if asked.get("model").is_none() {
        asked["model"] = "by-path".into();
    }
    let mut first = request::read(&Bytes::from(asked.to_string())).map_err(|f| format!("{f:?}"))?;
    let (rules, model) = (Rules::default(), first.model.clone());
    let target = Target {
        model: &model,
        stream: first.stream,
        max_output_default: 1,
        rules: &rules,
    };
    without_lifetimes(&mut first);
    let (bytes, dropped) = request::write(&first, &target).map_err(|f| format!("{f:?}"))?;
    let mut again = request::read(&bytes).map_err(|f| format!("{f:?}"))?;
    again.stream_usage = first.stream_usage;
    again.cache.clone_from(&first.cache);
    if dropped.is_empty() && first != again {
        return Err(format!("read {first:#?}\n then {again:#?}"));
    }
    Ok(())
}

/// `Err` says what was not as it should be.
fn check(recording: &Value) -> Result<(), String> {
    let asked = &recording["request"]["body"];
    if asked.is_object() {
        check_request(asked)?;
    }
    let response = &recording["response"];
    let Some(body) = response["body"].as_str() else {
        return Err("no body".to_owned());
    };
    let status = response["status"].as_u64().unwrap_or(200) as u16;
    if status != 200 {
        let fault = errors::read(status, body.as_bytes());
        let message = fault.message.is_empty() || fault.upstream_status != Some(status);
        return if message {
            Err(format!("{fault:?}"))
        } else {
            Ok(())
        };
    }
    let (events, chunks) = if is_stream(body) {
        let events = decode(body, usize::MAX)?;
        if decode(body, 7)? != events {
            return Err("cut into pieces it says something else".to_owned());
        }
        (events, plain_chunks(body))
    } else {
        let mut out = Vec::new();
        let mut decoder = events::Decoder::default();
        let bytes = Bytes::from(body.to_owned());
        decoder.whole(&bytes, &mut out).map_err(|e| e.to_string())?;
        (out, vec![serde_json::from_str(body).expect("JSON")])
    };
    let (wanted, got) = (Story::expected(&chunks), Story::decoded(&events));
    if wanted == got {
        Ok(())
    } else {
        Err(format!("wanted {wanted:#?}\n got {got:#?}"))
    }
}

#[test]
fn every_recorded_answer_says_what_a_plain_walk_finds() {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        println!("no recordings at {}: nothing compared", folder().display());
        return;
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.to_string_lossy().contains("chat-"))
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
