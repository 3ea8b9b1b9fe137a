//! Promises across dialects: what was said in one is understood here and back, thinking and its signatures included.

use crate::canon::{Answer, BlockKind, BlockStart, DialectName, Fold};
use crate::protocol::dialect::{
    Closing, Decoder, Opening, Rules, Target, read_request, write_answer, write_request,
};
use bytes::Bytes;
use serde_json::{Value, json};

fn whole(dialect: DialectName, body: &Value) -> Answer {
    let (mut decoder, mut out) = (Decoder::new(dialect), Vec::new());
    decoder
        .whole(&Bytes::from(body.to_string()), &mut out)
        .expect("an answer");
    let mut fold = Fold::default();
    out.iter().for_each(|e| fold.event(e));
    fold.into_answer()
}

/// The body that a client of `to` is given.
fn told(to: DialectName, answer: &Answer) -> Value {
    let opening = Opening {
        id: "x1".into(),
        model: "m".into(),
        ..Opening::default()
    };
    let body = write_answer(to, answer, &opening, &Closing::default());
    serde_json::from_slice(&body).expect("JSON")
}

/// What a provider of `to` is asked when a client of `from` asks `body`.
fn asked(from: DialectName, body: &Value, to: DialectName) -> Value {
    let request = read_request(from, &Bytes::from(body.to_string())).expect("right");
    let rules = Rules::default();
    let target = Target {
        model: "up",
        stream: false,
        max_output_default: 99,
        rules: &rules,
    };
    let (bytes, _) = write_request(to, &request, &target).expect("sayable");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Claude behind a client of Responses: its signature comes back to it as it was.
#[test]
fn a_signature_of_claude_survives_a_client_of_responses() {
    let answer = whole(
        DialectName::Messages,
        &json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "tool_use", "stop_sequence": null,
        "content": [{"type": "thinking", "thinking": "hm", "signature": "ErUB=="}, {"type": "redacted_thinking", "data": "EmwK"}, {"type": "text", "text": "so"}, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}],
        "usage": {"input_tokens": 1, "output_tokens": 2}}),
    );
    let body = told(DialectName::Responses, &answer);
    let mut input = vec![json!({"role": "user", "content": "q"})];
    input.extend(body["output"].as_array().expect("items").iter().cloned());
    input.push(json!({"type": "function_call_output", "call_id": "toolu_1", "output": "r"}));
    let request = json!({"model": "m", "input": input, "reasoning": {"effort": "low"}, "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]});
    let back = asked(DialectName::Responses, &request, DialectName::Messages);
    let content = &back["messages"][1]["content"];
    assert_eq!(
        content[0],
        json!({"type": "thinking", "thinking": "hm", "signature": "ErUB=="}),
        "{back}"
    );
    assert_eq!(
        content[1],
        json!({"type": "redacted_thinking", "data": "EmwK"})
    );
    assert_eq!(content[3]["id"], "toolu_1");
    assert_eq!(back["messages"][2]["content"][0]["tool_use_id"], "toolu_1");
}

/// OpenAI behind a client of Messages: the reasoning item comes back to it as it was.
#[test]
fn a_reasoning_item_survives_a_client_of_messages() {
    let items = [
        json!({"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}], "encrypted_content": "gAAA"}),
        json!({"id": "rs_2", "type": "reasoning", "summary": [], "encrypted_content": "gBBB"}),
        json!({"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}),
    ];
    let answer = whole(
        DialectName::Responses,
        &json!({"id": "resp_1", "object": "response", "status": "completed", "model": "g", "output": items}),
    );
    let body = told(DialectName::Messages, &answer);
    let request = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": body["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "r"}]}]});
    let back = asked(DialectName::Messages, &request, DialectName::Responses);
    assert_eq!(
        (&back["input"][1], &back["input"][2]),
        (&items[0], &items[1]),
        "{back}"
    );
    assert_eq!(back["input"][3]["call_id"], "call_1");
    assert_eq!(
        back["input"][4],
        json!({"type": "function_call_output", "call_id": "call_1", "output": "r"})
    );
}

/// Gemini's signature on a call, which must come back with it.
#[test]
fn a_thought_signature_on_a_call_survives_a_client_of_responses() {
    let answer = whole(
        DialectName::Chat,
        &json!({"id": "c", "object": "chat.completion", "model": "g", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "TS"}}}]}}]}),
    );
    let body = told(DialectName::Responses, &answer);
    let request =
        json!({"model": "m", "input": [{"role": "user", "content": "q"}, body["output"][0]]});
    let read =
        read_request(DialectName::Responses, &Bytes::from(request.to_string())).expect("right");
    let call = &read.turns[1].blocks[0];
    assert!(matches!(call.kind, BlockKind::ToolCall { .. }));
    assert_eq!(call.signature.as_deref(), Some("TS"));
}

#[test]
fn a_custom_tools_grammar_is_nested_for_chat_and_flat_here() {
    let flat = json!({"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}});
    let chat = asked(
        DialectName::Responses,
        &json!({"model": "m", "input": "a", "tools": [flat]}),
        DialectName::Chat,
    );
    assert_eq!(
        chat["tools"][0]["custom"]["format"],
        json!({"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}})
    );
    assert_eq!(
        asked(DialectName::Chat, &chat, DialectName::Responses)["tools"][0],
        flat
    );
}

#[test]
fn citations_of_a_page_cross_to_chat_and_back() {
    let part = json!({"type": "output_text", "text": "abc", "annotations": [{"type": "url_citation", "url": "http://u", "title": "t", "start_index": 1, "end_index": 2}]});
    let answer = whole(
        DialectName::Responses,
        &json!({"id": "r", "status": "completed", "model": "g", "output": [{"type": "message", "role": "assistant", "content": [part]}]}),
    );
    let there = told(DialectName::Chat, &answer);
    assert_eq!(
        there["choices"][0]["message"]["annotations"][0]["url_citation"]["url"],
        "http://u"
    );
    let back = told(DialectName::Responses, &whole(DialectName::Chat, &there));
    assert_eq!(
        back["output"][0]["content"][0]["annotations"][0]["url"],
        "http://u"
    );
    assert!(matches!(
        whole(DialectName::Responses, &back).blocks[0].start,
        BlockStart::Text
    ));
}
