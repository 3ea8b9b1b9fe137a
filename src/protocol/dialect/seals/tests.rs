//! What is found is what goes, wherever it stands, and what is cut is JSON still.

use super::*;
use crate::base::Rng;
use crate::protocol::dialect::{read_request, splice};
use serde_json::{Value, json};

/// A conversation with seals of every kind that the dialect has, and their words in order.
fn conversation(dialect: DialectName) -> (Value, Vec<&'static str>) {
    match dialect {
        DialectName::Messages => (
            json!({"model": "m", "max_tokens": 1, "messages": [
                {"role": "user", "content": "the \"signature\" of it"},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "a", "signature": "one"},
                    {"type": "redacted_thinking", "data": "two"},
                    {"type": "text", "text": "x"},
                    {"type": "tool_use", "id": "t", "name": "f", "input": {"signature": "no"}},
                    {"type": "thinking", "thinking": "b", "signature": "three"}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "y"}]},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": "fo\u{e9}ur\"\\"}]},
                {"role": "user", "content": "z"}]}),
            vec!["one", "two", "three", "fo\u{e9}ur\"\\"],
        ),
        DialectName::Responses => (
            json!({"model": "m", "input": [
                {"role": "user", "content": "hi"},
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAone"},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"encrypted_content\":1}"},
                {"type": "function_call_output", "call_id": "c", "output": "o"},
                {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "two"},
                {"type": "reasoning", "id": "rs_3", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": null},
                {"role": "user", "content": "z"}]}),
            vec!["gAAAAone", "two"],
        ),
        DialectName::Chat => (
            json!({"model": "m", "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "x", "reasoning_details": [
                    {"type": "reasoning.text", "text": "a", "signature": "one", "format": "anthropic-claude-v1", "index": 0},
                    {"type": "reasoning.summary", "summary": "s"},
                    {"type": "reasoning.encrypted", "data": "two", "format": "google-gemini-v1", "index": 1}]},
                {"role": "assistant", "content": null, "reasoning_details": [
                    {"type": "reasoning.encrypted", "data": "three", "format": "openai-responses-v1", "index": 0}],
                 "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"},
                    "extra_content": {"google": {"thought_signature": "four"}}}]},
                {"role": "tool", "tool_call_id": "c", "content": "o"}]}),
            vec!["one", "two", "three", "four"],
        ),
        _ => (
            json!({"contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {"role": "model", "parts": [
                    {"text": "a", "thought": true, "thoughtSignature": "one"},
                    {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "two"},
                    {"thoughtSignature": "three", "text": "t"},
                    {"text": "", "thoughtSignature": "four"}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
                {"role": "model", "parts": [{"text": "", "thought_signature": "five"}]},
                {"role": "user", "parts": [{"text": "z"}]}]}),
            vec!["one", "two", "three", "four", "five"],
        ),
    }
}

const DIALECTS: [DialectName; 4] = [
    DialectName::Messages,
    DialectName::Responses,
    DialectName::Chat,
    DialectName::Gemini,
];

fn digest(words: &str) -> u128 {
    seal(words, None).expect("words").digest
}

fn bytes(value: &Value) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("JSON"))
}

fn spliced(body: &Bytes, edits: Vec<Edit>) -> Bytes {
    let mut text = body.to_vec();
    for edit in edits.iter().rev() {
        text.splice(edit.at.clone(), edit.with.iter().copied());
    }
    text.into()
}

#[test]
fn every_seal_is_found_in_its_order_and_nothing_else_is() {
    for dialect in DIALECTS {
        let (value, words) = conversation(dialect);
        for body in [
            bytes(&value),
            Bytes::from(serde_json::to_vec_pretty(&value).expect("JSON")),
        ] {
            let found: Vec<u128> = of_body(dialect, &body).iter().map(|s| s.digest).collect();
            let wanted: Vec<u128> = words.iter().map(|w| digest(w)).collect();
            assert_eq!(found, wanted, "{dialect:?}");
            assert!(splice::peek(dialect, &body).expect("right").has_thinking);
        }
    }
}

/// Whichever go: what is left is JSON, says the rest as it was, and holds exactly the other seals.
#[test]
fn any_of_them_can_be_cut() {
    for dialect in DIALECTS {
        let (value, words) = conversation(dialect);
        for pretty in [false, true] {
            let body = match pretty {
                true => Bytes::from(serde_json::to_vec_pretty(&value).expect("JSON")),
                false => bytes(&value),
            };
            for mask in 0..1_u32 << words.len() {
                let gone = |s: &Seal| {
                    let at = words.iter().position(|w| digest(w) == s.digest);
                    at.is_some_and(|at| mask >> at & 1 == 1)
                };
                let (edits, told) = cut(dialect, &body, &gone);
                assert_eq!(edits.is_empty(), mask == 0);
                assert_eq!(told.is_empty(), mask == 0);
                let left = spliced(&body, edits);
                let parsed: Value = serde_json::from_slice(&left)
                    .unwrap_or_else(|e| panic!("{dialect:?} {mask:b}: {e}"));
                let found: Vec<u128> = of_body(dialect, &left).iter().map(|s| s.digest).collect();
                let wanted: Vec<u128> = (0..words.len())
                    .filter(|at| mask >> at & 1 == 0)
                    .map(|at| digest(words[at]))
                    .collect();
                assert_eq!(found, wanted, "{dialect:?} {mask:b}: {parsed}");
                // What remains can be read, and asked.
                if dialect != DialectName::Gemini {
                    read_request(dialect, &left).expect("a request");
                }
            }
        }
    }
}

#[test]
fn what_goes_takes_its_block_along_and_a_turn_of_nothing_else() {
    let (value, _) = conversation(DialectName::Messages);
    let body = bytes(&value);
    let (edits, told) = cut(DialectName::Messages, &body, &|_| true);
    let left: Value = serde_json::from_slice(&spliced(&body, edits)).expect("JSON");
    let mut wanted = value;
    let turns = wanted["messages"].as_array_mut().expect("turns");
    turns.remove(3);
    let blocks = turns[1]["content"].as_array_mut().expect("blocks");
    blocks.retain(|b| !b["type"].as_str().expect("a type").contains("thinking"));
    assert_eq!(left, wanted);
    assert_eq!(told, ["thinking"]);
}

/// Gemini docs, thought signatures, read 2026-11: a call needs one, and there is a word for one that was lost.
#[test]
fn a_call_keeps_its_place_for_a_signature() {
    let body = bytes(&conversation(DialectName::Gemini).0);
    let (edits, told) = cut(DialectName::Gemini, &body, &|_| true);
    let left: Value = serde_json::from_slice(&spliced(&body, edits)).expect("JSON");
    let parts = &left["contents"][1]["parts"];
    assert_eq!(
        *parts,
        json!([{"text": "a", "thought": true},
            {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": crate::protocol::dialect::gemini::NO_SIGNATURE},
            {"text": "t"}])
    );
    assert_eq!(left["contents"].as_array().expect("turns").len(), 4);
    assert_eq!(told, ["signature"]);
}

#[test]
fn what_stands_for_the_conversation_itself_never_goes() {
    let body = bytes(&json!({"model": "m", "input": [
        {"type": "compaction", "encrypted_content": "gAAAAall"}, {"role": "user", "content": "z"}]}));
    let found = of_body(DialectName::Responses, &body);
    assert!(matches!(&found[..], [seal] if seal.needed && seal.maker == Some(Maker::OpenAi)));
    let (edits, _) = cut(DialectName::Responses, &body, &|_| true);
    assert_eq!(edits, []);
}

#[test]
fn the_same_is_known_again_however_it_was_wrapped() {
    let sealed = r#"{"rs":"rs_1","encrypted_content":"gAAAAone"}"#;
    assert_eq!(digest(sealed), digest("gAAAAone"));
    assert_eq!(digest("stokehold.signature.ErUB=="), digest("ErUB=="));
    assert_eq!(digest("stokehold.redacted.ErUB=="), digest("ErUB=="));
    let of = |words| seal(words, None).expect("words").maker;
    assert_eq!(of(sealed), Some(Maker::OpenAi));
    assert_eq!(
        of(r#"{"rs":"rs_1","encrypted_content":"x"}"#),
        Some(Maker::Xai)
    );
    assert_eq!(of("ErUB=="), None);
    assert_eq!(seal("", None), None);
}

#[test]
fn a_request_in_canon_has_the_same_and_loses_the_same() {
    for dialect in [DialectName::Messages, DialectName::Gemini] {
        let (mut value, words) = conversation(dialect);
        value["model"] = "m".into();
        let body = bytes(&value);
        let request = read_request(dialect, &body).expect("a request");
        let found: Vec<u128> = of_request(&request).iter().map(|s| s.digest).collect();
        let wanted: Vec<u128> = words.iter().map(|w| digest(w)).collect();
        assert_eq!(found, wanted, "{dialect:?}");
        let second = digest(words[1]);
        let mut left = request.clone();
        let told = leave_out(&mut left, &|seal| seal.digest == second);
        assert_eq!(told.len(), 1);
        let found: Vec<u128> = of_request(&left).iter().map(|s| s.digest).collect();
        assert!(!found.contains(&second) && found.len() == words.len() - 1);
        assert_eq!(left.turns.len(), request.turns.len());
        leave_out(&mut left, &|_| true);
        assert_eq!(of_request(&left), []);
    }
}

#[test]
fn a_packed_id_is_known_by_the_signature_in_it() {
    use crate::canon::{Answer, AnswerBlock, BlockStart, ToolKind};
    use crate::protocol::dialect::{Closing, Opening, write_answer};
    let call = AnswerBlock {
        start: BlockStart::ToolCall {
            id: "call_1".into(),
            name: "f".into(),
            kind: ToolKind::Function,
        },
        choice: 0,
        text: "{}".to_owned(),
        base64: String::new(),
        signature: Some("CvQB".to_owned()),
        citations: Vec::new(),
        others: Vec::new(),
        stopped: true,
    };
    let answer = Answer {
        blocks: vec![call],
        done: true,
        ..Answer::default()
    };
    let said = write_answer(
        DialectName::Messages,
        &answer,
        &Opening::default(),
        &Closing::default(),
    );
    let said: Value = serde_json::from_slice(&said).expect("JSON");
    let body = bytes(&json!({"model": "m", "max_tokens": 1, "messages": [
        {"role": "user", "content": "x"}, {"role": "assistant", "content": said["content"]}]}));
    let found = of_body(DialectName::Messages, &body);
    assert!(
        matches!(&found[..], [s] if s.digest == digest("CvQB") && s.maker == Some(Maker::Google)),
        "{found:?} in {said}"
    );
}

#[test]
fn an_answer_tells_what_it_brings_however_it_is_read() {
    let told = |dialect, name: &str, data: &str| {
        let mut found = Vec::new();
        in_answer(dialect, name.as_bytes(), data.as_bytes(), &mut |d| {
            found.push(d)
        });
        found
    };
    for (dialect, name, data, words) in [
        (
            DialectName::Messages,
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"one"}}"#,
            &["one"][..],
        ),
        (
            DialectName::Messages,
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"one"}}"#,
            &["one"],
        ),
        (
            DialectName::Messages,
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            &[],
        ),
        (
            DialectName::Messages,
            "",
            r#"{"content":[{"type":"thinking","thinking":"","signature":"a\/b"},{"data":"two","type":"redacted_thinking"},{"type":"other","data":"no"}]}"#,
            &["a/b", "two"],
        ),
        (
            DialectName::Responses,
            "response.output_item.done",
            r#"{"item":{"type":"reasoning","summary":[],"encrypted_content":"gAAAA1"}}"#,
            &["gAAAA1"],
        ),
        (
            DialectName::Responses,
            "response.output_item.added",
            r#"{"item":{"type":"reasoning","summary":[],"encrypted_content":"gAAA"}}"#,
            &[],
        ),
        (
            DialectName::Gemini,
            "",
            r#"{"candidates":[{"content":{"parts":[{"text":"x"},{"thoughtSignature":"a\u003d"}]}}]}"#,
            &["a="],
        ),
        (
            DialectName::Chat,
            "",
            r#"{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.encrypted","data":"one"}]}}]}"#,
            &["one"],
        ),
    ] {
        let wanted: Vec<u128> = words.iter().map(|w| digest(w)).collect();
        assert_eq!(told(dialect, name, data), wanted, "{data}");
    }
    assert_eq!(told(DialectName::Messages, "", "no JSON \"signature\""), []);
    let event = crate::canon::Event::BlockDelta {
        index: 0,
        delta: crate::canon::Delta::Signature("one".into()),
    };
    assert_eq!(in_event(&event), Some(digest("one")));
}

/// Whatever a client sends: nothing is cut that is not there, and nothing panics.
#[test]
fn any_bytes_are_looked_through() {
    for dialect in DIALECTS {
        let body = bytes(&conversation(dialect).0);
        let mut rng = Rng::seeded(3);
        for _ in 0..2_000 {
            let mut bytes = body.to_vec();
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.below(128) as u8;
            let bytes = Bytes::from(bytes);
            if splice::peek(dialect, &bytes).is_ok() {
                let (edits, _) = cut(dialect, &bytes, &|_| true);
                let left = spliced(&bytes, edits);
                serde_json::from_slice::<serde::de::IgnoredAny>(&left)
                    .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&bytes)));
            }
            in_answer(dialect, b"", &bytes, &mut |_| {});
        }
    }
}
