//! Every type of event and of item that the API has (SDK 3.54.0, `ResponseStreamEvent` and `ResponseOutputItem`, read 2026-11), and what becomes of
//! it. None may break a stream, and those to come least.

use super::{Decoder, Encoder};
use crate::canon::{Answer, BlockStart, Event, Fold};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::framing::sse::SseEvent;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

/// What a decoder makes of an event, and an encoder writes it of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    /// Read for what it says; written.
    Told,
    /// Not read, since the item that it is about says the same when it is whole; written where that item is told.
    Progress,
    /// Not read for the same reason, and not written: no provider of another dialect has the like.
    Item,
    /// Canon carries it as it is.
    Passes,
    /// The beginning or end of all.
    Frame,
}
use Is::{Frame, Item, Passes, Progress, Told};

const EVENTS: [(&str, Is); 59] = [
    ("response.audio.delta", Told),
    ("response.audio.done", Progress),
    ("response.audio.transcript.delta", Told),
    ("response.audio.transcript.done", Progress),
    ("response.code_interpreter_call.completed", Progress),
    ("response.code_interpreter_call.in_progress", Progress),
    ("response.code_interpreter_call.interpreting", Progress),
    ("response.code_interpreter_call_code.delta", Progress),
    ("response.code_interpreter_call_code.done", Progress),
    ("response.compaction.compacting", Item),
    ("response.completed", Frame),
    ("response.content_part.added", Told),
    ("response.content_part.done", Told),
    ("response.created", Frame),
    ("response.custom_tool_call_input.delta", Told),
    ("response.custom_tool_call_input.done", Told),
    ("error", Frame),
    ("response.failed", Frame),
    ("response.file_search_call.completed", Progress),
    ("response.file_search_call.in_progress", Progress),
    ("response.file_search_call.searching", Progress),
    ("response.function_call_arguments.delta", Told),
    ("response.function_call_arguments.done", Told),
    ("response.image_generation_call.completed", Progress),
    ("response.image_generation_call.generating", Progress),
    ("response.image_generation_call.in_progress", Progress),
    ("response.image_generation_call.partial_image", Passes),
    ("response.in_progress", Frame),
    ("response.incomplete", Frame),
    ("response.mcp_call.completed", Progress),
    ("response.mcp_call.failed", Progress),
    ("response.mcp_call.in_progress", Progress),
    ("response.mcp_call_arguments.delta", Progress),
    ("response.mcp_call_arguments.done", Progress),
    ("response.mcp_list_tools.completed", Progress),
    ("response.mcp_list_tools.failed", Progress),
    ("response.mcp_list_tools.in_progress", Progress),
    ("response.output_item.added", Told),
    ("response.output_item.done", Told),
    ("response.output_text.annotation.added", Told),
    ("response.output_text.delta", Told),
    ("response.output_text.done", Told),
    // Of an answer in the background, whose events pass.
    ("response.queued", Frame),
    ("response.reasoning_summary_part.added", Progress),
    ("response.reasoning_summary_part.done", Progress),
    ("response.reasoning_summary_text.delta", Told),
    ("response.reasoning_summary_text.done", Progress),
    ("response.reasoning_text.delta", Told),
    ("response.reasoning_text.done", Item),
    ("response.refusal.delta", Told),
    ("response.refusal.done", Told),
    ("response.shell_call_command.added", Item),
    ("response.shell_call_command.delta", Item),
    ("response.shell_call_command.done", Item),
    ("response.shell_call_output_content.delta", Item),
    ("response.shell_call_output_content.done", Item),
    ("response.web_search_call.completed", Progress),
    ("response.web_search_call.in_progress", Progress),
    ("response.web_search_call.searching", Progress),
];

/// Items that canon has words for; the others are whole blocks of this dialect, written as they came.
const WORDS: [&str; 5] = [
    "message",
    "reasoning",
    "function_call",
    "custom_tool_call",
    "image_generation_call",
];

const ITEMS: [&str; 28] = [
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "computer_call",
    "computer_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "file_search_call",
    "function_call",
    "function_call_output",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "message",
    "program",
    "program_output",
    "reasoning",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
];

fn decoded(events: &[Value]) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    for event in events {
        let sse = SseEvent {
            name: Bytes::from(event["type"].as_str().expect("a type").to_owned()),
            data: Bytes::from(event.to_string()),
            ..SseEvent::default()
        };
        decoder.event(&sse, &mut out).expect("never breaks");
    }
    decoder.finish(&mut out).expect("whole");
    out
}

fn folded(events: &[Event]) -> Answer {
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    fold.into_answer()
}

/// The types of all events that a client is told, and the whole output.
fn encoded(events: &[Event]) -> (Vec<String>, Value) {
    let (mut encoder, mut out) = (Encoder::new(Opening::default()), BytesMut::new());
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    let told: Value = serde_json::from_slice(encoder.told()).expect("JSON");
    let text = String::from_utf8(out.to_vec()).expect("UTF-8");
    let names = text.lines().filter_map(|l| l.strip_prefix("event: "));
    (names.map(str::to_owned).collect(), told["output"].clone())
}

fn begun() -> Value {
    json!({"type": "response.created", "response": {"id": "r", "model": "m", "status": "in_progress", "output": []}})
}

fn ended() -> Value {
    json!({"type": "response.completed", "response": {"id": "r", "model": "m", "status": "completed", "output": []}})
}

/// An event with whatever members its kind may have.
fn sample(kind: &str) -> Value {
    json!({"type": kind, "sequence_number": 3, "item_id": "i", "output_index": 0, "content_index": 0, "summary_index": 0, "annotation_index": 0,
        "command_index": 0, "partial_image_index": 0, "delta": "d", "text": "d", "refusal": "d", "arguments": "d", "input": "d", "code": "d", "name": "f",
        "partial_image_b64": "QQ==", "item": {"type": "message", "id": "i", "role": "assistant", "content": [{"type": "output_text", "text": "d", "annotations": []}]},
        "part": {"type": "output_text", "text": "d", "annotations": []}, "annotation": {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}})
}

#[test]
fn every_type_of_event_is_told_or_passes_or_is_said_by_its_item() {
    let plain = folded(&decoded(&[begun(), ended()]));
    for (kind, is) in EVENTS {
        if is == Frame {
            continue;
        }
        let mut event = sample(kind);
        if kind == "response.output_item.added" {
            // A message says nothing before its first word.
            event["item"] =
                json!({"type": "function_call", "id": "i", "call_id": "c", "name": "f"});
        }
        let events = decoded(&[begun(), event, ended()]);
        let answer = folded(&events);
        match is {
            Told => assert_ne!(answer.blocks, plain.blocks, "{kind}"),
            Passes => {
                assert_eq!(answer.others.len(), 1, "{kind}");
                assert!(encoded(&events).0.iter().any(|k| k == kind), "{kind}");
            }
            Progress | Item => assert_eq!(answer, plain, "{kind}"),
            Frame => {}
        }
    }
    // One to come.
    let events = decoded(&[begun(), sample("response.hologram_call.glowing"), ended()]);
    assert_eq!(folded(&events), plain);
}

#[test]
fn every_type_of_item_comes_back_whole() {
    for kind in ITEMS.into_iter().chain(["hologram_call"]) {
        let item = match kind {
            "message" => sample("response.output_item.done")["item"].clone(),
            "reasoning" => {
                json!({"type": kind, "id": "i", "summary": [{"type": "summary_text", "text": "d"}], "encrypted_content": "E"})
            }
            "image_generation_call" => {
                json!({"type": kind, "id": "i", "status": "completed", "result": "QQ=="})
            }
            _ => {
                json!({"type": kind, "id": "i", "call_id": "c", "name": "f", "arguments": "{}", "input": "d", "new": {"x": [1.5]}})
            }
        };
        let event = json!({"type": "response.output_item.done", "output_index": 0, "item": item});
        let events = decoded(&[begun(), event, ended()]);
        let answer = folded(&events);
        let whole = matches!(answer.blocks[0].start, BlockStart::Other { .. });
        assert_eq!(whole, !WORDS.contains(&kind), "{kind}");
        let (_, output) = encoded(&events);
        assert_eq!(output.as_array().map(Vec::len), Some(1), "{kind}");
        assert_eq!(output[0]["type"], kind);
        if whole {
            assert_eq!(output[0], item, "{kind}");
        }
    }
}
