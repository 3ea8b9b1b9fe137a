//! What no pair of codecs speaks: counted by its own name, and checked for what it is.
//!
//! A refusal must read as the provider's own words, in every client's dialect. A count is told in each API that counts; a transcript passes,
//! and its usage is found. An answer of an API that is no more must be JSON or a stream of it.

use super::{CLIENTS, Outcome, Recording, Tally, refusals};
use crate::canon::{DialectName, Event};
use crate::protocol::dialect::numbers::{Form, Named, Question, Sides};
use crate::protocol::dialect::splice::Lift;
use crate::protocol::dialect::tests::folder::{cut, is_stream};
use crate::protocol::dialect::{read_error, transcripts};
use bytes::Bytes;
use serde_json::Value;

pub(super) fn check(recording: &Recording, tally: &mut Tally) {
    if (200..300).contains(&recording.status()) {
        return match recording.kind() {
            "count_tokens" => counted(recording, tally),
            "transcriptions" => {
                tally.note(recording, "transcript", "-", is_a_transcript(recording))
            }
            _ => {
                let retired = RETIRED.iter().any(|(name, _)| *name == recording.name);
                let what = if retired { "retired" } else { "untranslated" };
                tally.note(recording, what, "-", is_an_answer(recording));
            }
        };
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

/// Recordings of APIs that their makers have taken away, and why nothing here speaks them.
const RETIRED: &[(&str, &str)] = &[(
    "bedrock-invoke_stream-102c20518a",
    "Claude before Messages (`prompt`, `max_tokens_to_sample`): Anthropic retired those models, and every later one refuses the form",
)];

/// A count of tokens, told to a client of each API that counts.
fn counted(recording: &Recording, tally: &mut Tally) {
    let wanted = recording.json["response"]["body"].as_str().map(|text| {
        let body: Value = serde_json::from_str(text).unwrap_or_default();
        body["input_tokens"].as_u64()
    });
    for client in [
        DialectName::Messages,
        DialectName::Responses,
        DialectName::Gemini,
    ] {
        let sides = Sides {
            question: Question::Count,
            client,
            provider: whose(recording),
            form: Form::Plain,
        };
        let asked = Bytes::from(recording.asked().to_string());
        let named = Named {
            ours: "m",
            theirs: "m",
        };
        let said = sides.answer(&asked, &recording.body(), named);
        let of = match said {
            Ok((body, _)) => {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let count = body["input_tokens"].as_u64();
                let count = count.or_else(|| body["totalTokens"].as_u64());
                match Some(count) == wanted && count.is_some() {
                    true => Ok("same"),
                    false => Err(format!("another count: {body}")),
                }
            }
            Err(why) => Err(why.to_string()),
        };
        tally.note(recording, "count", client.as_str(), of);
    }
}

/// Its bytes pass; what is lifted of them is the same however the network cuts them.
fn is_a_transcript(recording: &Recording) -> Outcome {
    let body = recording.body();
    if !is_stream(&body) {
        let mut events = Vec::new();
        transcripts::whole(&body, &mut events);
        return match events.last() {
            Some(Event::Done) => Ok("body"),
            _ => Err(format!("no answer: {events:?}")),
        };
    }
    let mut first = None;
    for piece in [usize::MAX, 1, 7] {
        let (mut lift, mut events) = (Lift::transcript(), Vec::new());
        for event in cut(&body, piece)? {
            lift.event(&event, &mut events).map_err(|e| e.to_string())?;
        }
        lift.finish(&mut events).map_err(|e| e.to_string())?;
        if !matches!(&events[..], [Event::Usage(_), Event::Done]) {
            return Err(format!("no usage or no end: {events:?}"));
        }
        if *first.get_or_insert_with(|| events.clone()) != events {
            return Err(format!("in pieces of {piece} bytes it says something else"));
        }
    }
    Ok("stream")
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
