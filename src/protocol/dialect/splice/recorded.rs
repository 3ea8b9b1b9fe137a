//! Walks recordings of real traffic, where there are any: `STOKEHOLD_RECORDINGS`, else `../shared/recordings`.
//!
//! What is lifted from a stream that passes must be what the dialect's decoder makes of the same stream; what is peeked from a request must
//! be what a plain reading of its JSON finds. Without a folder there is nothing to compare, and the test says so.

use super::{Lift, Pass, peek, splice_request};
use crate::canon::DialectName;
use crate::protocol::dialect::Decoder;
use crate::protocol::framing::sse;
use bytes::Bytes;
use serde_json::Value;
use std::path::PathBuf;

fn recordings() -> Vec<(String, DialectName, Value)> {
    let folder = std::env::var_os("STOKEHOLD_RECORDINGS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings"),
        PathBuf::from,
    );
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("no recordings at {}", folder.display());
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        let case: Value = serde_json::from_str(&text).expect("JSON");
        let api = case["api"].as_str().unwrap_or_default();
        let dialect = match api.rsplit('.').next() {
            Some("chat") => DialectName::Chat,
            Some("messages") => DialectName::Messages,
            Some("generate" | "stream") => DialectName::Gemini,
            _ => continue,
        };
        found.push((path.display().to_string(), dialect, case));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn events(body: &str) -> Vec<sse::SseEvent> {
    let (mut framing, mut events) = (sse::Decoder::new(1 << 24), Vec::new());
    framing.feed(Bytes::copy_from_slice(body.as_bytes()));
    while let Some(event) = framing.next().expect("short") {
        events.push(event);
    }
    events.extend(framing.rest());
    events
}

#[test]
fn what_is_lifted_from_real_streams_is_what_their_decoder_reads() {
    let mut compared = 0;
    let cases = recordings();
    for (path, dialect, case) in &cases {
        let body = case["response"]["body"].as_str().unwrap_or_default();
        if !body.contains("data:") || body.starts_with('{') {
            continue;
        }
        let (mut lift, mut decoder) = (Lift::new(*dialect, false), Decoder::new(*dialect));
        let (mut lifted, mut decoded) = (Vec::new(), Vec::new());
        let mut told = Ok(());
        let mut broken = false;
        for event in events(body) {
            if broken {
                break;
            }
            told = told.and(
                lift.event(&event, &mut lifted)
                    .map(|pass| broken = pass == Pass::Broken),
            );
            decoder.event(&event, &mut decoded).expect(path);
        }
        let whole = broken || told.and_then(|()| lift.finish(&mut lifted)).is_ok();
        assert_eq!(whole, decoder.finish(&mut decoded).is_ok(), "{path}");
        decoded.retain(super::lift::is_lifted);
        assert_eq!(lifted, decoded, "{path}");
        compared += 1;
    }
    println!("{compared} streams compared");
    assert!(
        cases.is_empty() || compared > 20,
        "the recordings hold streams"
    );
}

#[test]
fn what_is_peeked_from_real_requests_is_what_they_say() {
    let mut compared = 0;
    for (path, dialect, case) in recordings() {
        let request = &case["request"]["body"];
        if dialect == DialectName::Gemini && request["contents"].is_array() {
            check_gemini(&path, request);
            compared += 1;
            continue;
        }
        if !request["model"].is_string() || !request["messages"].is_array() {
            continue;
        }
        let body = Bytes::from(serde_json::to_vec_pretty(request).expect("JSON"));
        let Ok(found) = peek(dialect, &body) else {
            // Only what the provider refuses too.
            assert!(case["response"]["status"].as_u64() >= Some(400), "{path}");
            continue;
        };
        assert_eq!(request["model"], &*found.model, "{path}");
        assert_eq!(
            request["stream"].as_bool().unwrap_or(false),
            found.stream,
            "{path}"
        );
        let limit = [&request["max_completion_tokens"], &request["max_tokens"]];
        assert_eq!(
            limit.iter().find_map(|l| l.as_u64()),
            found.max_output,
            "{path}"
        );
        let tools = request["tools"]
            .as_array()
            .or(request["functions"].as_array());
        assert_eq!(tools.is_some_and(|t| !t.is_empty()), found.tools, "{path}");
        let slices = splice_request(dialect, &body, &found, "another").expect("spliced");
        let mut spliced: Value = serde_json::from_slice(&slices.concat()).expect("JSON");
        assert_eq!(spliced["model"], "another", "{path}");
        let mut before = request.clone();
        for value in [&mut spliced, &mut before] {
            let fields = value.as_object_mut().expect("an object");
            fields.remove("model");
            fields.remove("stream_options");
        }
        assert_eq!(spliced, before, "{path}");
        compared += 1;
    }
    println!("{compared} requests compared");
}

/// Nothing of a Gemini request changes when it passes.
fn check_gemini(path: &str, request: &Value) {
    let body = Bytes::from(serde_json::to_vec_pretty(request).expect("JSON"));
    let found = peek(DialectName::Gemini, &body).expect(path);
    let contents = request["contents"].as_array().expect("contents");
    assert_eq!(found.turns as usize, contents.len(), "{path}");
    let limit = request["generationConfig"]["maxOutputTokens"].as_u64();
    assert_eq!(limit, found.max_output, "{path}");
    assert_eq!(request["tools"].is_array(), found.tools, "{path}");
    let text = request["contents"].to_string();
    for (class, told) in [
        ("image", found.images),
        ("audio", found.audio),
        ("video", found.video),
        ("application", found.documents),
    ] {
        let asked = ["mimeType", "mime_type"]
            .iter()
            .any(|name| text.contains(&format!("\"{name}\":\"{class}/")));
        assert_eq!(asked, told, "{path}: {class}");
    }
    let signed = text.contains("houghtSignature\":") || text.contains("thought_signature\":");
    assert_eq!(signed, found.has_thinking, "{path}");
    let slices = splice_request(DialectName::Gemini, &body, &found, "another").expect("spliced");
    assert_eq!(slices.concat(), body, "{path}");
}
