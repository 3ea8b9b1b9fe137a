//! Recorded traffic of other dialects, said to Gemini and back: `STOKEHOLD_RECORDINGS`, else `../shared/recordings`.
//!
//! A conversation written for Gemini and read back must still be the same conversation; a decoded answer written as Gemini's stream must still say
//! the same. What the other dialect alone has (names, marks, free-text tools) is left out by rule, as a catalogue would.

use crate::canon::{
    Answer, Block, BlockKind, BlockStart, DialectName, Fold, Request, Role, Source, StopReason,
    ToolInput, ToolKind,
};
use crate::protocol::dialect::{
    Closing, Decoder, Encoder, Opening, Rules, Target, read_request, write_answer, write_request,
};
use crate::protocol::framing::sse;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::path::PathBuf;

fn recordings() -> Vec<(String, DialectName, Value)> {
    let folder = std::env::var_os("STOKEHOLD_RECORDINGS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings"),
        PathBuf::from,
    );
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("no recordings at {}: nothing compared", folder.display());
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("readable").path();
        let name = path.display().to_string();
        let dialect = if name.contains("-chat-") {
            DialectName::Chat
        } else if name.contains("anthropic-messages-") {
            DialectName::Messages
        } else {
            continue;
        };
        let text = std::fs::read_to_string(&path).expect("readable");
        found.push((name, dialect, serde_json::from_str(&text).expect("JSON")));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// A line for each thing that is said, whoever says it how. What Gemini has no words for, and reports, says nothing.
fn conversation(request: &Request) -> Vec<String> {
    let mut lines = Vec::new();
    for block in &request.system {
        told(block, &mut lines, "system");
    }
    for turn in &request.turns {
        let role = if turn.role == Role::Assistant {
            "model"
        } else {
            "user"
        };
        let (results, rest): (Vec<&Block>, Vec<&Block>) = turn
            .blocks
            .iter()
            .partition(|b| matches!(b.kind, BlockKind::ToolResult { .. }));
        for block in results.into_iter().chain(rest) {
            told(block, &mut lines, role);
        }
    }
    // Results come first within what the user says, whatever stood between.
    let mut sorted: Vec<Vec<String>> = Vec::new();
    for line in lines {
        let user = line.starts_with("user");
        match sorted
            .last_mut()
            .filter(|run| user && run[0].starts_with("user"))
        {
            Some(run) => run.push(line),
            None => sorted.push(vec![line]),
        }
    }
    for run in &mut sorted {
        run.sort_by_key(|line| !line.starts_with("user result"));
    }
    sorted.concat()
}

fn told(block: &Block, lines: &mut Vec<String>, role: &str) {
    match &block.kind {
        BlockKind::Text { text, .. } | BlockKind::Refusal { text } if !text.is_empty() => {
            lines.push(format!("{role} text {text}"));
        }
        BlockKind::Thinking { text } if !text.is_empty() || block.signature.is_some() => {
            lines.push(format!("{role} thinking {text} {:?}", block.signature));
        }
        BlockKind::Image { source, .. } => lines.push(format!("{role} image {}", place(source))),
        BlockKind::Audio { source, .. } => lines.push(format!("{role} audio {}", place(source))),
        BlockKind::Video { source } => lines.push(format!("{role} video {}", place(source))),
        BlockKind::Document {
            source,
            title,
            context,
            ..
        } => document(source, [title, context], lines, role),
        BlockKind::ToolCall {
            id,
            name,
            input,
            kind,
            ..
        } => lines.push(format!("{role} call {id} {name} {}", input_of(input, kind))),
        BlockKind::ToolResult {
            id,
            content,
            is_error,
            ..
        } => result(id, content, *is_error, lines),
        _ => {}
    }
}

fn result(id: &str, content: &[Block], is_error: bool, lines: &mut Vec<String>) {
    let texts: Vec<&str> = content
        .iter()
        .filter_map(|b| match &b.kind {
            BlockKind::Text { text, .. } => Some(&**text),
            _ => None,
        })
        .collect();
    let text = texts.join("\n");
    lines.push(format!("user result {id} {is_error} {}", text.trim()));
    for block in content {
        if !matches!(block.kind, BlockKind::Text { .. }) {
            told(block, lines, "user result's");
        }
    }
}

fn document(
    source: &Source,
    ahead: [&Option<crate::base::Str>; 2],
    lines: &mut Vec<String>,
    role: &str,
) {
    let is_text = matches!(source, Source::Text { .. } | Source::Blocks(_));
    let [title, context] = ahead;
    for text in [title.as_ref().filter(|_| is_text), context.as_ref()]
        .into_iter()
        .flatten()
    {
        lines.push(format!("{role} text {text}"));
    }
    match source {
        Source::Text { text, .. } => lines.push(format!("{role} text {text}")),
        Source::Blocks(blocks) => {
            for block in blocks {
                told(block, lines, role);
            }
        }
        source => lines.push(format!("{role} document {}", place(source))),
    }
}

fn place(source: &Source) -> String {
    match source {
        Source::Base64 { data, .. } => data.to_string(),
        Source::Url { url, .. } => url.to_string(),
        Source::File { id } => id.to_string(),
        other => format!("{other:?}"),
    }
}

/// Arguments as they must be for Gemini: an object.
fn input_of(input: &ToolInput, kind: &ToolKind) -> Value {
    let text = match input {
        ToolInput::Json(json) => json.get(),
        ToolInput::Text(text) => text,
    };
    match serde_json::from_str(text) {
        Ok(object @ Value::Object(_)) => object,
        _ if *kind == ToolKind::Custom => serde_json::json!({"input": text}),
        _ => serde_json::json!({"raw": text}),
    }
}

/// Rules that leave out what Gemini has no words for.
fn lenient(request: &Request) -> Rules {
    let extras = request.extra.iter().map(|e| e.name.to_string());
    let tools = request.tools.iter().flat_map(|t| match t {
        crate::canon::Tool::Function { extra, .. } => {
            extra.iter().map(|e| e.name.to_string()).collect()
        }
        _ => Vec::new(),
    });
    let known = [
        "custom_tools",
        "server_tools",
        "other_blocks",
        "logit_bias",
        "parallel_tool_calls",
        "service_tier",
        "citations",
        "reasoning_effort",
    ];
    let known = known.iter().map(|n| (*n).to_owned());
    Rules {
        drop: known.chain(extras).chain(tools).collect(),
        ..Rules::default()
    }
}

/// Calls and results of tools that ran at the provider, which Gemini cannot be told.
fn without_server_tools(request: &mut Request) {
    for turn in &mut request.turns {
        let assistant = turn.role == Role::Assistant;
        turn.blocks.retain(|b| {
            let server = matches!(
                &b.kind,
                BlockKind::ToolCall {
                    kind: ToolKind::Server,
                    ..
                }
            );
            let result = matches!(&b.kind, BlockKind::ToolResult { .. });
            !(server || (assistant && result))
        });
    }
}

#[test]
fn recorded_conversations_of_other_dialects_are_the_same_in_gemini() {
    let (mut compared, mut wrong, mut refused) = (0, Vec::new(), Vec::new());
    let cases = recordings();
    for (path, dialect, case) in &cases {
        let mut body = case["request"]["body"].clone();
        if !body.is_object() {
            continue;
        }
        if body.get("model").is_none() {
            body["model"] = "by-path".into();
        }
        let Ok(mut request) = read_request(*dialect, &Bytes::from(body.to_string())) else {
            continue;
        };
        let rules = lenient(&request);
        let target = Target {
            model: "gemini-pro",
            stream: true,
            max_output_default: 1,
            rules: &rules,
        };
        let written = match write_request(DialectName::Gemini, &request, &target) {
            Ok((bytes, _)) => bytes,
            Err(fault) => {
                refused.push(format!(
                    "{path}: {}: {}",
                    fault.field.unwrap_or_default(),
                    fault.message
                ));
                continue;
            }
        };
        let again = read_request(DialectName::Gemini, &written).expect(path);
        without_server_tools(&mut request);
        let (mut before, after) = (conversation(&request), conversation(&again));
        if again.system.is_empty() && !request.system.is_empty() {
            // Instructions alone are what the user says.
            before
                .iter_mut()
                .for_each(|l| *l = l.replacen("system", "user", 1));
        }
        if before != after {
            wrong.push(format!("{path}: {before:#?}\n then {after:#?}"));
        }
        assert_eq!(
            request.sampling.max_output, again.sampling.max_output,
            "{path}"
        );
        assert_eq!(request.sampling.stop, again.sampling.stop, "{path}");
        compared += 1;
    }
    println!(
        "{compared} conversations compared, {} refused",
        refused.len()
    );
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // A file of another provider's account cannot be said to Google, nor a document that only OpenAI can open.
    for why in &refused {
        println!("{why}");
    }
    assert!(refused.len() * 20 <= compared, "{refused:#?}");
    assert!(cases.is_empty() || compared > 80);
}

fn decoded(dialect: DialectName, body: &[u8], streamed: bool) -> Option<Answer> {
    let (mut decoder, mut events) = (Decoder::new(dialect), Vec::new());
    if streamed {
        let mut framing = sse::Decoder::new(1 << 24);
        framing.feed(Bytes::copy_from_slice(body));
        while let Some(event) = framing.next().ok()? {
            decoder.event(&event, &mut events).ok()?;
        }
        if let Some(rest) = framing.rest() {
            decoder.event(&rest, &mut events).ok()?;
        }
        decoder.finish(&mut events).ok()?;
    } else {
        decoder
            .whole(&Bytes::copy_from_slice(body), &mut events)
            .ok()?;
    }
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    Some(fold.into_answer())
}

/// Text, thoughts, calls, why it stopped, and tokens in, cached and out.
type Story = (String, String, Vec<(String, Value)>, Vec<String>, [u64; 3]);

/// What an answer says to whoever reads it in Gemini.
fn story(answer: &Answer) -> Story {
    let (mut text, mut thinking, mut calls) = (String::new(), String::new(), Vec::new());
    for block in &answer.blocks {
        match &block.start {
            BlockStart::Text | BlockStart::Refusal => text.push_str(&block.text),
            BlockStart::Thinking => thinking.push_str(&block.text),
            BlockStart::ToolCall { name, kind, .. } if *kind != ToolKind::Server => {
                let input = ToolInput::Text(block.text.as_str().into());
                let empty = block.text.trim().is_empty() && *kind == ToolKind::Function;
                let input = if empty {
                    serde_json::json!({})
                } else {
                    input_of(&input, kind)
                };
                calls.push((name.to_string(), input));
            }
            _ => {}
        }
    }
    let called = !calls.is_empty();
    let stops = answer.stops.iter().map(|(choice, reason, _)| {
        let word = match reason {
            StopReason::MaxTokens | StopReason::ContextWindow => "length",
            StopReason::ContentFilter | StopReason::Refusal => "filter",
            StopReason::Other(_) | StopReason::Pause => "other",
            StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse if called => {
                "tools"
            }
            StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse => "end",
        };
        format!("{choice} {word}")
    });
    let usage = &answer.usage;
    let tokens = [
        usage.input_total().0,
        usage.cache_read.unwrap_or_default().0,
        usage.output.unwrap_or_default().0,
    ];
    (text, thinking, calls, stops.collect(), tokens)
}

#[test]
fn recorded_answers_of_other_dialects_say_the_same_in_gemini() {
    let (mut compared, mut wrong) = (0, Vec::new());
    let cases = recordings();
    for (path, dialect, case) in &cases {
        let body = case["response"]["body"].as_str().unwrap_or_default();
        if case["response"]["status"] != 200 {
            continue;
        }
        let streamed = !body.trim_start().starts_with(['{', '[']);
        let Some(answer) = decoded(*dialect, body.as_bytes(), streamed) else {
            continue;
        };
        // A stream that broke off has no good end to write.
        if answer.error.is_some() {
            continue;
        }
        let wanted = story(&answer);
        for array in [false, true] {
            let opening = Opening {
                array,
                ..Opening::default()
            };
            let (mut encoder, mut out) =
                (Encoder::new(DialectName::Gemini, opening), BytesMut::new());
            answer
                .events()
                .iter()
                .for_each(|e| encoder.event(e, &mut out));
            encoder.finish(&Closing::default(), &mut out);
            let got = decoded(DialectName::Gemini, &out, !array).map(|a| story(&a));
            if got.as_ref() != Some(&wanted) {
                wrong.push(format!(
                    "{path}: array {array}: {wanted:#?}\n then {got:#?}"
                ));
            }
        }
        let whole = write_answer(
            DialectName::Gemini,
            &answer,
            &Opening::default(),
            &Closing::default(),
        );
        let got = decoded(DialectName::Gemini, &whole, false).map(|a| story(&a));
        if got.as_ref() != Some(&wanted) {
            wrong.push(format!("{path}: whole: {wanted:#?}\n then {got:#?}"));
        }
        compared += 1;
    }
    println!("{compared} answers compared");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(cases.is_empty() || compared > 80);
}
