//! What no pair of codecs speaks: counted by its own name, and checked for what it is.
//!
//! A refusal must read as the provider's own words, in every client's dialect. An answer that was given must be JSON or a stream of it;
//! the counted word says that it is not translated.

use super::{CLIENTS, Outcome, Recording, Tally, refusals};
use crate::canon::DialectName;
use crate::protocol::dialect::read_error;
use crate::protocol::dialect::tests::folder::{cut, is_stream};
use serde_json::Value;

pub(super) fn check(recording: &Recording, tally: &mut Tally) {
    if (200..300).contains(&recording.status()) {
        return tally.note(recording, "untranslated", "-", is_an_answer(recording));
    }
    let dialect = whose(recording);
    let fault = read_error(dialect, recording.status(), &recording.body());
    let of = refusals::read_well(recording, &fault);
    tally.note(recording, "refusal", dialect.as_str(), of);
    for to in CLIENTS {
        let of = refusals::told_in(to, &fault);
        tally.note(recording, "refused", to.as_str(), of);
    }
}

/// In whose words an API refuses, whatever it answers with.
fn whose(recording: &Recording) -> DialectName {
    match recording.api().split('.').next().unwrap_or_default() {
        "anthropic" => DialectName::Messages,
        "gemini" | "vertex" => DialectName::Gemini,
        "bedrock" => DialectName::Converse,
        _ => DialectName::Chat,
    }
}

fn is_an_answer(recording: &Recording) -> Outcome {
    let body = recording.body();
    if recording.json["response"]["body_base64"].is_string() {
        return Ok("frames");
    }
    if !is_stream(&body) {
        serde_json::from_slice::<Value>(&body).map_err(|e| e.to_string())?;
        return Ok("body");
    }
    for event in cut(&body, usize::MAX)? {
        if &*event.data != b"[DONE]" {
            serde_json::from_slice::<Value>(&event.data).map_err(|e| e.to_string())?;
        }
    }
    Ok("stream")
}
