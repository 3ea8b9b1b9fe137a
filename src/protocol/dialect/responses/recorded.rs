//! Walks recordings of real traffic, where there are any: `STOKEHOLD_RECORDINGS`, else `../shared/recordings`.
//!
//! Every answer is decoded and compared with a plain walk of the same JSON that shares no code with the decoder, encoded for a client of
//! this dialect, streamed and whole, and read back; every request is read, written and read again. Requests and answers of Chat
//! Completions and Messages cross into this dialect and back. Without a folder there is nothing to compare, and the test says so.

use super::{errors, events, request};
use crate::base::{Json, Rng};
use crate::canon::{
    Answer, Block, BlockKind, BlockStart, DialectName, Event, Fold, Request, Role, StopReason,
    Tool, Usage,
};
use crate::protocol::dialect::{
    Closing, Decoder, Encoder, Opening, Rules, Target, read_request, write_answer, write_request,
};
use crate::protocol::framing::sse;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::path::PathBuf;

fn folder() -> PathBuf {
    std::env::var_os("STOKEHOLD_RECORDINGS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings"),
        PathBuf::from,
    )
}

/// Recordings of one kind of API, with their names, in order.
fn recordings(kind: &str) -> Vec<(String, Value)> {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        println!("no recordings at {}: nothing compared", folder().display());
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.to_string_lossy().contains(&format!("-{kind}-")))
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a recording can be read");
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        (
            name,
            serde_json::from_str(&text).expect("a recording is JSON"),
        )
    };
    paths.into_iter().map(read).collect()
}

/// Runs `check` over all of `kind`, and fails with what each said.
fn all(kind: &str, check: impl Fn(&Value) -> Result<(), String>) {
    let cases = recordings(kind);
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(name, case)| check(case).err().map(|why| format!("{name}: {why}")))
        .collect();
    println!("{} recordings of {kind} ran", cases.len());
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn is_stream(body: &str) -> bool {
    ["data:", ":", "event:", "id:"]
        .iter()
        .any(|p| body.trim_start().starts_with(p))
}

fn decode_pieces<'a>(
    dialect: DialectName,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Event>, String> {
    let (mut framing, mut decoder, mut out) = (
        sse::Decoder::new(1 << 24),
        Decoder::new(dialect),
        Vec::new(),
    );
    for bytes in pieces {
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

fn decode(dialect: DialectName, body: &str) -> Result<Vec<Event>, String> {
    if is_stream(body) {
        return decode_pieces(dialect, [body.as_bytes()]);
    }
    let (mut decoder, mut out) = (Decoder::new(dialect), Vec::new());
    let bytes = Bytes::from(body.to_owned());
    decoder.whole(&bytes, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

fn folded(events: &[Event]) -> Answer {
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    fold.into_answer()
}

/// What an answer says, however it is told.
#[derive(Debug, Default, PartialEq)]
struct Story {
    text: String,
    refusal: String,
    thinking: String,
    calls: Vec<(String, String, String)>,
    annotations: usize,
    images: usize,
    others: Vec<String>,
    stop: String,
    input: u64,
    output: u64,
    cached: u64,
    reasoning: u64,
    broke_off: bool,
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl Story {
    /// From the last whole thing that was said: the items of the stream, and the response that ends it.
    fn expected(body: &str) -> Self {
        if !is_stream(body) {
            let response: Value = serde_json::from_str(body).expect("JSON");
            return Self::of_response(&response, list(&response["output"]).cloned().collect());
        }
        let events: Vec<Value> = body
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(str::trim)
            .filter(|data| !data.is_empty() && *data != "[DONE]")
            .map(|data| serde_json::from_str(data).expect("a recorded event is JSON"))
            .collect();
        if events.iter().any(|e| e["type"] == "error") {
            return Self {
                broke_off: true,
                ..Self::default()
            };
        }
        let done = events
            .iter()
            .filter(|e| e["type"] == "response.output_item.done");
        let items: Vec<Value> = done.map(|e| e["item"].clone()).collect();
        let last = events
            .iter()
            .rev()
            .find(|e| e["response"].is_object())
            .expect("an end");
        let in_last: Vec<Value> = list(&last["response"]["output"]).cloned().collect();
        let items = if items.is_empty() { in_last } else { items };
        Self::of_response(&last["response"], items)
    }

    fn of_response(response: &Value, items: Vec<Value>) -> Self {
        if response["status"].is_null() && !response["error"].is_null()
            || response["status"] == "failed"
        {
            return Self {
                broke_off: true,
                ..Self::default()
            };
        }
        let mut story = Self::default();
        items.iter().for_each(|item| story.item(item));
        let usage = &response["usage"];
        let count = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        story.input = count("/input_tokens");
        story.output = count("/output_tokens");
        story.cached = count("/input_tokens_details/cached_tokens");
        story.reasoning = count("/output_tokens_details/reasoning_tokens");
        story.stop = match (
            string(&response["status"]),
            string(&response["incomplete_details"]["reason"]),
        ) {
            ("completed" | "", _) if !story.calls.is_empty() => "tool_use",
            ("completed" | "", _) if !story.refusal.is_empty() => "refusal",
            ("completed" | "", _) => "end_turn",
            (_, reason) => reason,
        }
        .to_owned();
        story
    }

    fn item(&mut self, item: &Value) {
        match string(&item["type"]) {
            "message" => {
                for part in list(&item["content"]) {
                    self.text.push_str(string(&part["text"]));
                    self.refusal.push_str(string(&part["refusal"]));
                    self.annotations += list(&part["annotations"]).count();
                }
            }
            "reasoning" => {
                for part in list(&item["summary"]).chain(list(&item["content"])) {
                    self.thinking.push_str(string(&part["text"]));
                }
            }
            "function_call" => self.calls.push((
                string(&item["call_id"]).to_owned(),
                string(&item["name"]).to_owned(),
                string(&item["arguments"]).to_owned(),
            )),
            "image_generation_call" => self.images += 1,
            other => self.others.push(other.to_owned()),
        }
    }

    fn decoded(answer: &Answer) -> Self {
        if answer.error.is_some() {
            return Self {
                broke_off: true,
                ..Self::default()
            };
        }
        let mut story = Self::default();
        for block in &answer.blocks {
            assert!(block.stopped, "a block was left open: {block:?}");
            story.annotations += block.citations.len();
            match &block.start {
                BlockStart::Text => story.text.push_str(&block.text),
                BlockStart::Refusal => story.refusal.push_str(&block.text),
                BlockStart::Thinking => story.thinking.push_str(&block.text),
                BlockStart::ToolCall { id, name, .. } => {
                    story
                        .calls
                        .push((id.to_string(), name.to_string(), block.text.clone()));
                }
                BlockStart::Image { .. } => story.images += 1,
                BlockStart::Other { json, .. } => {
                    let item: Value = json.read().expect("JSON");
                    story.others.push(string(&item["type"]).to_owned());
                }
                _ => {}
            }
        }
        let usage = &answer.usage;
        let count = |n: Option<crate::base::Tokens>| n.unwrap_or_default().0;
        story.input = usage.input_total().0;
        story.output = count(usage.output);
        story.cached = count(usage.cache_read);
        story.reasoning = count(usage.reasoning);
        story.stop = match &answer.stops[0].1 {
            StopReason::ToolUse => "tool_use",
            StopReason::Refusal => "refusal",
            StopReason::EndTurn => "end_turn",
            StopReason::MaxTokens => "max_output_tokens",
            StopReason::Other(word) => word,
            other => panic!("{other:?} is no word of this dialect"),
        }
        .to_owned();
        story
    }
}

fn opening() -> Opening {
    Opening {
        id: "x1".into(),
        created: 5,
        model: "client-model".into(),
        stream_usage: true,
        ..Opening::default()
    }
}

/// The same answer under our own name, with what is unknown as the zero that the clients' types demand.
fn comparable(mut answer: Answer) -> Answer {
    answer.id = "resp_x1".into();
    answer.model = "client-model".into();
    answer.created = Some(5);
    let usage = &mut answer.usage;
    let known = |n: &mut Option<crate::base::Tokens>| *n = Some(n.unwrap_or_default());
    // Every lifetime is one of this dialect's two.
    let long = usage.cache_write_12h;
    let short = usage
        .cache_write_total()
        .saturating_sub(long.unwrap_or_default());
    let mut counts = Usage {
        input_uncached: usage.input_uncached,
        cache_read: usage.cache_read,
        cache_write_30m: Some(short),
        cache_write_12h: long,
        output: usage.output,
        reasoning: usage.reasoning,
        input_audio: usage.input_audio,
        output_audio: usage.output_audio,
        input_image: usage.input_image,
        output_image: usage.output_image,
        service_tier: usage.service_tier.clone(),
        ..Usage::default()
    };
    known(&mut counts.input_uncached);
    known(&mut counts.cache_read);
    known(&mut counts.output);
    known(&mut counts.reasoning);
    *usage = counts;
    for block in &mut answer.blocks {
        // Spaces between the tokens of JSON are nobody's.
        let plain = |json: &mut Json| *json = Json::of(&json.read::<Value>().expect("JSON"));
        if let BlockStart::Other { json, .. } = &mut block.start {
            plain(json);
        }
        block.citations.iter_mut().for_each(|c| plain(&mut c.json));
        block.others.iter_mut().for_each(|(_, json)| plain(json));
        join_logprobs(block);
        // Ids of images are the provider's, and are ours here.
        if matches!(block.start, BlockStart::Image { .. }) {
            block.others.clear();
        }
        if matches!(block.start, BlockStart::ToolCall { .. }) && block.text.is_empty() {
            block.text.push_str("{}");
        }
    }
    for (_, _, _, json) in &mut answer.others {
        *json = Json::empty_object();
    }
    answer
}

/// Log probabilities may come in one piece or many.
fn join_logprobs(block: &mut crate::canon::AnswerBlock) {
    let entries_of = |json: &Json| {
        json.read::<Value>().expect("JSON")["logprobs"]
            .as_array()
            .cloned()
    };
    let all: Vec<Value> = block
        .others
        .iter()
        .filter_map(|(_, json)| entries_of(json))
        .flatten()
        .collect();
    block.others.retain(|(_, json)| entries_of(json).is_none());
    if !all.is_empty() {
        let json = Json::of(&serde_json::json!({"type": "logprobs", "logprobs": all}));
        block.others.push((DialectName::Responses, json));
    }
}

/// What a client is told reads back as what was said, streamed and whole; and is well-formed.
fn check_encoded(events: &[Event]) -> Result<(), String> {
    let answer = folded(events);
    if answer.error.is_some() {
        return Ok(());
    }
    let (mut encoder, mut out) = (
        Encoder::new(DialectName::Responses, opening()),
        BytesMut::new(),
    );
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    let stream = String::from_utf8(out.to_vec()).expect("UTF-8");
    well_formed(&stream)?;
    let wanted = comparable(answer.clone());
    let got = comparable(folded(&decode(DialectName::Responses, &stream)?));
    if wanted != got {
        return Err(format!(
            "streamed: wanted {wanted:#?}\n got {got:#?}\n of {stream}"
        ));
    }
    let body = write_answer(
        DialectName::Responses,
        &answer,
        &opening(),
        &Closing::default(),
    );
    let body = String::from_utf8(body.to_vec()).expect("UTF-8");
    let mut got = comparable(folded(&decode(DialectName::Responses, &body)?));
    // Events of a stream have no place in a body.
    got.others.clone_from(&wanted.others);
    if wanted != got {
        return Err(format!(
            "whole: wanted {wanted:#?}\n got {got:#?}\n of {body}"
        ));
    }
    Ok(())
}

/// What the official clients rely on: numbers without gaps, names that match, items that begin before they end, one end.
pub(super) fn well_formed(stream: &str) -> Result<(), String> {
    let (mut open, mut expected) = (Vec::new(), 0);
    let mut names = stream.lines().filter_map(|l| l.strip_prefix("event: "));
    let mut last = String::new();
    for data in stream.lines().filter_map(|l| l.strip_prefix("data: ")) {
        let event: Value = serde_json::from_str(data).map_err(|e| format!("{e}: {data}"))?;
        let name = string(&event["type"]).to_owned();
        if names.next() != Some(&*name) || event["sequence_number"] != expected {
            return Err(format!("event {expected}: {data}"));
        }
        expected += 1;
        match &*name {
            "response.output_item.added" => open.push(event["output_index"].clone()),
            "response.output_item.done" => open.retain(|o| *o != event["output_index"]),
            _ if event["output_index"].is_u64()
                && !name.contains("partial")
                && !open.contains(&event["output_index"]) =>
            {
                return Err(format!("an item that is not open: {data}"));
            }
            _ => {}
        }
        last = name;
    }
    let ends = [
        "response.completed",
        "response.incomplete",
        "response.failed",
        "response.cancelled",
    ];
    if !ends.contains(&&*last) || !open.is_empty() {
        return Err(format!("ends with {last}, open items {open:?}"));
    }
    Ok(())
}

fn check_answer(recording: &Value) -> Result<(), String> {
    let response = &recording["response"];
    let Some(body) = response["body"].as_str() else {
        return Err("no body".to_owned());
    };
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
    let events = decode(DialectName::Responses, body)?;
    let (wanted, got) = (Story::expected(body), Story::decoded(&folded(&events)));
    if wanted != got {
        return Err(format!("wanted {wanted:#?}\n got {got:#?}"));
    }
    if is_stream(body) {
        let mut rng = Rng::seeded(7);
        for _ in 0..12 {
            let (head, tail) = body
                .as_bytes()
                .split_at(rng.below(body.len() as u64) as usize);
            if decode_pieces(DialectName::Responses, [head, tail])? != events {
                return Err(format!("cut at {} it says something else", head.len()));
            }
        }
    }
    check_encoded(&events)
}

#[test]
fn every_recorded_answer_says_what_a_plain_walk_finds_and_reads_back() {
    all("responses", check_answer);
}

fn target<'a>(request: &'a Request, rules: &'a Rules) -> Target<'a> {
    Target {
        model: &request.model,
        stream: request.stream,
        max_output_default: 1024,
        rules,
    }
}

#[test]
fn every_recorded_request_reads_writes_and_reads_the_same() {
    all("responses", |recording| {
        let mut asked = recording["request"]["body"].clone();
        if !asked.is_object() {
            return Ok(());
        }
        if asked.get("model").is_none() {
            asked["model"] = "by-path".into();
        }
        let first = request::read(&Bytes::from(asked.to_string())).map_err(|f| format!("{f:?}"))?;
        let rules = Rules::default();
        let (bytes, dropped) =
            request::write(&first, &target(&first, &rules)).map_err(|f| format!("{f:?}"))?;
        let again = request::read(&bytes).map_err(|f| format!("{f:?}"))?;
        // Canon keeps no order among fields that it has no word for.
        let sorted = |mut r: Request| {
            r.extra.sort_by(|a, b| a.name.cmp(&b.name));
            r
        };
        if !dropped.is_empty() {
            return Err(format!("dropped {dropped:?}"));
        }
        let (first, again) = (sorted(first), sorted(again));
        if first != again {
            return Err(format!("read {first:#?}\n then {again:#?}"));
        }
        Ok(())
    });
}

/// What a conversation says, without what a dialect cannot carry.
#[derive(Debug, PartialEq)]
struct Talk {
    system: String,
    said: Vec<(Role, String)>,
    calls: Vec<(String, String)>,
    results: Vec<(String, String)>,
    images: usize,
    documents: usize,
    tools: Vec<String>,
}

impl Talk {
    fn of(request: &Request) -> Self {
        let mut talk = Self {
            system: String::new(),
            said: Vec::new(),
            calls: Vec::new(),
            results: Vec::new(),
            images: 0,
            documents: 0,
            tools: Vec::new(),
        };
        request
            .system
            .iter()
            .for_each(|b| talk.system.push_str(&text_of(b)));
        for turn in &request.turns {
            turn.blocks.iter().for_each(|b| talk.block(turn.role, b));
        }
        for tool in &request.tools {
            if let Tool::Function { name, .. } | Tool::Custom { name, .. } = tool {
                talk.tools.push(name.to_string());
            }
        }
        talk
    }

    fn block(&mut self, role: Role, block: &Block) {
        match &block.kind {
            BlockKind::ToolCall { id, name, .. } => {
                self.calls.push((id.to_string(), name.to_string()))
            }
            BlockKind::ToolResult { id, content, .. } => {
                let text: String = content.iter().map(text_of).collect();
                self.results.push((id.to_string(), text));
            }
            BlockKind::Image { .. } => self.images += 1,
            BlockKind::Document { .. } => self.documents += 1,
            BlockKind::Text { .. } | BlockKind::Refusal { .. } => match self.said.last_mut() {
                Some((r, text)) if *r == role => text.push_str(&text_of(block)),
                _ => self.said.push((role, text_of(block))),
            },
            _ => {}
        }
    }
}

fn text_of(block: &Block) -> String {
    match &block.kind {
        BlockKind::Text { text, .. } | BlockKind::Refusal { text } => text.to_string(),
        _ => String::new(),
    }
}

/// A request of another dialect, written here and read back, keeps its conversation; what cannot be said is refused by name.
fn check_crossing(from: DialectName, recording: &Value) -> Result<(), String> {
    let mut asked = recording["request"]["body"].clone();
    if !asked.is_object() || !asked["messages"].is_array() {
        return Ok(());
    }
    if asked.get("model").is_none() {
        asked["model"] = "by-path".into();
    }
    let Ok(first) = read_request(from, &Bytes::from(asked.to_string())) else {
        return Ok(());
    };
    let rules = Rules {
        drop: [
            "stop",
            "seed",
            "choices",
            "top_k",
            "presence_penalty",
            "frequency_penalty",
            "logit_bias",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Rules::default()
    };
    let (bytes, _) = match request::write(&first, &target(&first, &rules)) {
        Ok(written) => written,
        // Named, and one of those that this API has no words for.
        Err(fault) if fault.field.is_some() => {
            println!("refused: {:?} {}", fault.field, fault.message);
            return Ok(());
        }
        Err(fault) => return Err(format!("{fault:?}")),
    };
    let again = request::read(&bytes).map_err(|f| format!("{f:?}"))?;
    let (wanted, got) = (Talk::of(&first), Talk::of(&again));
    if wanted != got {
        return Err(format!("wanted {wanted:#?}\n got {got:#?}"));
    }
    // And back to where it came from.
    match write_request(from, &again, &target(&again, &rules)) {
        Ok((back, _)) => {
            let back = read_request(from, &back).map_err(|f| format!("{f:?}"))?;
            let got = Talk::of(&back);
            if wanted != got {
                return Err(format!("back: wanted {wanted:#?}\n got {got:#?}"));
            }
            Ok(())
        }
        Err(fault) => Err(format!("back: {fault:?}")),
    }
}

#[test]
fn recorded_requests_of_chat_and_messages_keep_their_conversation() {
    all("chat", |r| check_crossing(DialectName::Chat, r));
    all("messages", |r| check_crossing(DialectName::Messages, r));
}

/// An answer of another dialect, told to a client of this one, says the same.
fn check_answer_crossing(from: DialectName, recording: &Value) -> Result<(), String> {
    let response = &recording["response"];
    let Some(body) = response["body"]
        .as_str()
        .filter(|_| response["status"].as_u64().unwrap_or(200) == 200)
    else {
        return Ok(());
    };
    let events = decode(from, body)?;
    let answer = folded(&events);
    if answer.error.is_some() {
        return Ok(());
    }
    let (mut encoder, mut out) = (
        Encoder::new(DialectName::Responses, opening()),
        BytesMut::new(),
    );
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    let stream = String::from_utf8(out.to_vec()).expect("UTF-8");
    well_formed(&stream)?;
    let again = folded(&decode(DialectName::Responses, &stream)?);
    let body = write_answer(
        DialectName::Responses,
        &answer,
        &opening(),
        &Closing::default(),
    );
    let whole = folded(&decode(
        DialectName::Responses,
        std::str::from_utf8(&body).expect("UTF-8"),
    )?);
    for got in [again, whole] {
        let (wanted, got) = (essence(&answer), essence(&got));
        if wanted != got {
            return Err(format!("wanted {wanted:#?}\n got {got:#?}\n of {stream}"));
        }
    }
    Ok(())
}

type Essence = (Vec<(String, String, Option<String>)>, StopReason, [u64; 4]);

/// Blocks that this dialect has words for, the stop of the one answer it can give, and usage.
fn essence(answer: &Answer) -> Essence {
    let blocks = answer
        .blocks
        .iter()
        .filter(|b| b.choice == 0)
        .filter_map(|b| {
            let kind = match &b.start {
                BlockStart::Text => "text".to_owned(),
                BlockStart::Thinking => "thinking".to_owned(),
                BlockStart::Refusal => "refusal".to_owned(),
                BlockStart::RedactedThinking { data } => format!("redacted {data}"),
                BlockStart::ToolCall {
                    kind: crate::canon::ToolKind::Server,
                    ..
                } => return None,
                BlockStart::ToolCall { id, name, .. } => format!("call {id} {name}"),
                BlockStart::Audio { .. } => "audio".to_owned(),
                BlockStart::Image { .. } => "image".to_owned(),
                _ => return None,
            };
            let empty_call = kind.starts_with("call") && b.text.is_empty();
            let text = if empty_call {
                "{}".to_owned()
            } else {
                format!("{}{}", b.text, b.base64)
            };
            let signed = matches!(b.start, BlockStart::Thinking | BlockStart::ToolCall { .. });
            Some((
                kind,
                text,
                b.signature.clone().filter(|s| signed && !s.is_empty()),
            ))
        });
    let blocks: Vec<_> = blocks.collect();
    let refused = blocks.iter().any(|(kind, ..)| kind == "refusal");
    let called = blocks.iter().any(|(kind, ..)| kind.starts_with("call "));
    let said = answer
        .stops
        .iter()
        .find(|(choice, ..)| *choice == 0)
        .map(|(_, reason, _)| reason.clone());
    // Which end it was that is none in this dialect.
    let stop = match said.unwrap_or(StopReason::EndTurn) {
        StopReason::EndTurn
        | StopReason::StopSequence
        | StopReason::Pause
        | StopReason::ToolUse
            if called =>
        {
            StopReason::ToolUse
        }
        StopReason::EndTurn
        | StopReason::StopSequence
        | StopReason::Pause
        | StopReason::ToolUse
            if refused =>
        {
            StopReason::Refusal
        }
        StopReason::StopSequence | StopReason::Pause | StopReason::ToolUse => StopReason::EndTurn,
        StopReason::ContextWindow => StopReason::MaxTokens,
        StopReason::Refusal if !refused => StopReason::ContentFilter,
        other => other,
    };
    let usage = &answer.usage;
    let count = |n: Option<crate::base::Tokens>| n.unwrap_or_default().0;
    (
        blocks,
        stop,
        [
            usage.input_total().0,
            count(usage.output),
            count(usage.cache_read),
            count(usage.reasoning),
        ],
    )
}

#[test]
fn recorded_answers_of_chat_and_messages_say_the_same_here() {
    all("chat", |r| check_answer_crossing(DialectName::Chat, r));
    all("messages", |r| {
        check_answer_crossing(DialectName::Messages, r)
    });
}

#[test]
fn a_failed_answer_ends_as_openai_ends_it() {
    let mut encoder = events::Encoder::new(opening());
    let mut out = BytesMut::new();
    let fault = crate::canon::Fault::new(crate::canon::FaultClass::RateLimited, "too fast");
    encoder.fail(&fault, &Closing::default(), &mut out);
    let stream = String::from_utf8(out.to_vec()).expect("UTF-8");
    well_formed(&stream).expect("well-formed");
    let told = folded(&decode(DialectName::Responses, &stream).expect("ended"));
    assert_eq!(
        told.error.expect("an error").class,
        crate::canon::FaultClass::RateLimited
    );
}
