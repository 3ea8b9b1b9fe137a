//! Promises about tools that a provider ran itself, told to a client of Responses.

use crate::base::{Json, Str};
use crate::canon::{BlockStart, DialectName, Event};
use crate::protocol::dialect::{Closing, Decoder, Encoder, Opening, read_request};
use crate::protocol::dialect::{Rules, Target, write_request};
use crate::protocol::framing::sse::SseEvent;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

/// What a client of Responses is told of a provider's stream, event by event.
fn told(from: DialectName, stream: &[Value]) -> (Vec<Value>, Vec<String>) {
    let mut decoder = Decoder::new(from);
    let mut events = Vec::new();
    for event in stream {
        let name = event["type"].as_str().unwrap_or_default();
        let sse = SseEvent {
            name: Bytes::from(name.to_owned()),
            data: Bytes::from(event.to_string()),
            ..SseEvent::default()
        };
        decoder.event(&sse, &mut events).expect("an event");
    }
    decoder.finish(&mut events).expect("whole");
    encoded(&events)
}

fn encoded(events: &[Event]) -> (Vec<Value>, Vec<String>) {
    let opening = Opening {
        id: "x".into(),
        model: "m".into(),
        ..Opening::default()
    };
    let (mut encoder, mut out) = (
        Encoder::new(DialectName::Responses, opening),
        BytesMut::new(),
    );
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.finish(&Closing::default(), &mut out);
    let text = String::from_utf8(out.to_vec()).expect("UTF-8");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let said: Vec<Value> = data
        .map(|d| serde_json::from_str(d).expect("JSON"))
        .collect();
    for (number, event) in said.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
    }
    (said, encoder.dropped().to_vec())
}

/// The short names of the events about the item at `output`, `response.` left out.
fn about(said: &[Value], output: usize) -> Vec<String> {
    let mine = said.iter().filter(|e| e["output_index"] == output);
    mine.map(|e| e["type"].as_str().expect("a type").replace("response.", ""))
        .collect()
}

fn output(said: &[Value]) -> &Value {
    &said.last().expect("an end")["response"]["output"]
}

fn claude(blocks: &[(Value, Vec<Value>)]) -> Vec<Value> {
    let mut stream = vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}}),
    ];
    for (index, (block, deltas)) in blocks.iter().enumerate() {
        stream.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        for delta in deltas {
            stream.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        stream.push(json!({"type": "content_block_stop", "index": index}));
    }
    stream.push(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}));
    stream.push(json!({"type": "message_stop"}));
    stream
}

fn input(parts: &[&str]) -> Vec<Value> {
    let delta = |part: &&str| json!({"type": "input_json_delta", "partial_json": part});
    parts.iter().map(delta).collect()
}

fn call(id: &str, name: &str) -> Value {
    json!({"type": "server_tool_use", "id": id, "name": name, "input": {}})
}

#[test]
fn claudes_search_is_a_web_search_call_with_its_progress_and_sources() {
    let result = json!({"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result", "url": "https://a", "title": "A", "encrypted_content": "E"}]});
    let cited = json!({"type": "citations_delta", "citation": {"type": "web_search_result_location", "url": "https://a", "title": "A", "cited_text": "q", "encrypted_index": "I"}});
    let words = json!({"type": "text_delta", "text": "né 1"});
    let (said, dropped) = told(
        DialectName::Messages,
        &claude(&[
            (call("s1", "web_search"), input(&["{\"que", "ry\":\"w\"}"])),
            (result, vec![]),
            (
                json!({"type": "text", "text": "", "citations": []}),
                vec![cited, words],
            ),
        ]),
    );
    assert_eq!(dropped, Vec::<String>::new());
    assert_eq!(
        about(&said, 0),
        [
            "output_item.added",
            "web_search_call.in_progress",
            "web_search_call.searching",
            "web_search_call.completed",
            "output_item.done"
        ]
    );
    let ids = said.iter().filter_map(|e| e["item_id"].as_str());
    assert_eq!(
        ids.filter(|id| id.starts_with("ws_")).collect::<Vec<_>>(),
        ["ws_made_x_0"; 3]
    );
    assert_eq!(
        output(&said)[0],
        json!({"type": "web_search_call", "id": "ws_made_x_0", "status": "completed", "action": {"type": "search", "query": "w", "queries": ["w"], "sources": [{"type": "url", "url": "https://a"}]}})
    );
    // The citation came ahead of its text, and stands behind all of it.
    let note = json!({"type": "url_citation", "start_index": 0, "end_index": 4, "title": "A", "url": "https://a"});
    assert_eq!(output(&said)[1]["content"][0]["annotations"], json!([note]));
    let added = said
        .iter()
        .find(|e| e["type"] == "response.output_text.annotation.added")
        .expect("told");
    assert_eq!(
        (&added["annotation"], &added["output_index"]),
        (&note, &json!(1))
    );
}

#[test]
fn claudes_code_is_a_code_interpreter_call_and_what_has_no_result_is_incomplete() {
    let result = json!({"type": "bash_code_execution_tool_result", "tool_use_id": "b", "content": {"type": "bash_code_execution_result", "stdout": "1\n", "stderr": "", "return_code": 0, "content": []}});
    let error = json!({"type": "code_execution_tool_result", "tool_use_id": "a", "content": {"type": "code_execution_tool_result_error", "error_code": "unavailable"}});
    let (said, dropped) = told(
        DialectName::Messages,
        &claude(&[
            (call("a", "code_execution"), input(&["{\"code\":\"1/0\"}"])),
            (
                call("b", "bash_code_execution"),
                input(&["{\"command\":\"echo 1\"}"]),
            ),
            // Results in another order than the calls.
            (result, vec![]),
            (error, vec![]),
            (call("c", "web_fetch"), input(&["{\"url\":\"https://a\"}"])),
            (call("d", "tool_search_tool_regex"), input(&["{}"])),
        ]),
    );
    assert_eq!(dropped, ["server_tool_use"]);
    assert_eq!(
        about(&said, 1),
        [
            "output_item.added",
            "code_interpreter_call.in_progress",
            "code_interpreter_call_code.delta",
            "code_interpreter_call_code.done",
            "code_interpreter_call.interpreting",
            "code_interpreter_call.completed",
            "output_item.done"
        ]
    );
    let items = output(&said);
    assert_eq!(
        items[1],
        json!({"type": "code_interpreter_call", "id": "ci_made_x_1", "status": "completed", "code": "echo 1", "container_id": "", "outputs": [{"type": "logs", "logs": "1\n"}]})
    );
    assert_eq!(
        (&items[0]["status"], &items[0]["code"]),
        (&json!("failed"), &json!("1/0"))
    );
    assert_eq!(items[2]["status"], "incomplete");
    assert_eq!(
        items[2]["action"],
        json!({"type": "open_page", "url": "https://a"})
    );
    assert_eq!(items.as_array().map(Vec::len), Some(3));
}

#[test]
fn claudes_mcp_calls_are_mcp_calls() {
    let mcp = |id: &str| json!({"type": "mcp_tool_use", "id": id, "name": "echo", "server_name": "srv", "input": {}});
    let result = |id: &str, wrong: bool| json!({"type": "mcp_tool_result", "tool_use_id": id, "is_error": wrong, "content": [{"type": "text", "text": "out"}]});
    let (said, _) = told(
        DialectName::Messages,
        &claude(&[
            (mcp("a"), input(&["{\"x\":", "1}"])),
            (result("a", false), vec![]),
            (mcp("b"), vec![]),
            (result("b", true), vec![]),
        ]),
    );
    assert_eq!(
        about(&said, 0),
        [
            "output_item.added",
            "mcp_call.in_progress",
            "mcp_call_arguments.delta",
            "mcp_call_arguments.done",
            "mcp_call.completed",
            "output_item.done"
        ]
    );
    assert_eq!(
        output(&said)[0],
        json!({"type": "mcp_call", "id": "mcp_made_x_0", "status": "completed", "name": "echo", "server_label": "srv", "arguments": "{\"x\":1}", "approval_request_id": null, "output": "out", "error": null})
    );
    assert!(about(&said, 1).contains(&"mcp_call.failed".to_owned()));
    assert_eq!(output(&said)[1]["error"], "out");
}

#[test]
fn geminis_code_and_searches_are_items_and_its_bytes_become_characters() {
    let chunk = |parts: Value, more: Value| {
        let mut candidate = json!({"content": {"role": "model", "parts": parts}});
        for (name, value) in more.as_object().expect("members") {
            candidate[name] = value.clone();
        }
        json!({"candidates": [candidate], "modelVersion": "g", "responseId": "r"})
    };
    // "é é b": the second word's bytes are 3..5, its characters 2..3.
    let grounding = json!({"webSearchQueries": ["q1", "q2"], "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}],
        "groundingSupports": [{"segment": {"startIndex": 3, "endIndex": 5, "text": "é"}, "groundingChunkIndices": [0]}]});
    let (said, dropped) = told(
        DialectName::Gemini,
        &[
            chunk(
                json!([{"executableCode": {"language": "PYTHON", "code": "print(1)"}}]),
                json!({}),
            ),
            chunk(
                json!([{"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}]),
                json!({}),
            ),
            chunk(json!([{"text": "é é b"}]), json!({})),
            chunk(
                json!([]),
                json!({"groundingMetadata": grounding, "finishReason": "STOP"}),
            ),
        ],
    );
    assert_eq!(dropped, Vec::<String>::new());
    let items = output(&said);
    assert_eq!(
        (&items[0]["code"], &items[0]["outputs"][0]["logs"]),
        (&json!("print(1)"), &json!("1\n"))
    );
    assert_eq!(
        items[1]["content"][0]["annotations"],
        json!([{"type": "url_citation", "start_index": 2, "end_index": 3, "title": "A", "url": "https://a"}])
    );
    assert_eq!(
        items[2]["action"],
        json!({"type": "search", "query": "q1", "queries": ["q1", "q2"], "sources": [{"type": "url", "url": "https://a"}]})
    );
}

/// Agents append the output to their next input as it is.
#[test]
fn items_that_were_made_of_others_tools_can_be_sent_back_to_any_provider() {
    let body = json!({"model": "m", "input": [
        {"role": "user", "content": "q"},
        {"type": "web_search_call", "id": "ws_made_x_0", "status": "completed", "action": {"type": "search", "query": "w"}},
        {"type": "message", "role": "assistant", "id": "msg_x_1", "status": "completed", "content": [{"type": "output_text", "text": "a", "annotations": []}]},
        {"type": "code_interpreter_call", "id": "ci_made_x_2", "status": "completed", "code": "1", "container_id": "", "outputs": []},
        {"role": "user", "content": "and?"}]});
    let request =
        read_request(DialectName::Responses, &Bytes::from(body.to_string())).expect("well-formed");
    let rules = Rules::default();
    let target = Target {
        model: "up",
        stream: false,
        max_output_default: 9,
        rules: &rules,
    };
    for to in [
        DialectName::Chat,
        DialectName::Messages,
        DialectName::Responses,
        DialectName::Gemini,
        DialectName::Converse,
    ] {
        let (body, dropped) = write_request(to, &request, &target).expect("sayable");
        let text = String::from_utf8_lossy(&body);
        assert!(!text.contains("_made_"), "{to:?}: {text}");
        for kind in ["web_search_call", "code_interpreter_call"] {
            assert!(dropped.iter().any(|d| d == kind), "{to:?}: {dropped:?}");
        }
    }
}

/// An item of this dialect that came whole says its progress again, in the order of the API.
#[test]
fn whole_items_of_hosted_tools_are_told_with_their_progress() {
    for (item, want) in [
        (
            json!({"type": "web_search_call", "id": "a", "status": "completed"}),
            "web_search_call.in_progress web_search_call.searching web_search_call.completed",
        ),
        (
            json!({"type": "file_search_call", "id": "a", "status": "failed"}),
            "file_search_call.in_progress file_search_call.searching",
        ),
        (
            json!({"type": "code_interpreter_call", "id": "a", "code": "1"}),
            "code_interpreter_call.in_progress code_interpreter_call_code.delta code_interpreter_call_code.done \
             code_interpreter_call.interpreting code_interpreter_call.completed",
        ),
        (
            json!({"type": "mcp_call", "id": "a", "arguments": "{}", "error": "no"}),
            "mcp_call.in_progress mcp_call_arguments.delta mcp_call_arguments.done mcp_call.failed",
        ),
        (
            json!({"type": "mcp_list_tools", "id": "a", "tools": []}),
            "mcp_list_tools.in_progress mcp_list_tools.completed",
        ),
        (json!({"type": "shell_call", "id": "a"}), ""),
        (json!({"type": "hologram_call", "id": "a"}), ""),
        (json!({"type": "web_search_call"}), ""),
    ] {
        let json = Json::parse(Str::from(item.to_string())).expect("JSON");
        let dialect = DialectName::Responses;
        let block = BlockStart::Other { dialect, json };
        let (index, choice) = (0, 0);
        let (said, _) = encoded(&[
            Event::BlockStart {
                index,
                choice,
                block,
            },
            Event::BlockStop { index },
        ]);
        let steps = about(&said, 0);
        let steps: Vec<&str> = steps
            .iter()
            .map(|s| &**s)
            .filter(|s| !s.starts_with("output_item."))
            .collect();
        assert_eq!(steps.join(" "), want, "{item}");
        assert_eq!(output(&said)[0], item);
    }
}
