//! Recorded refusals: read as what they are, and the same failure in every client's dialect.

use super::{CLIENTS, Outcome, Recording, Tally};
use crate::canon::{DialectName, Event, Fault};
use crate::protocol::dialect::tests::folder::of_sse;
use crate::protocol::dialect::{Closing, Encoder, Opening, read_error, write_error};
use bytes::BytesMut;
use serde_json::Value;

pub(super) fn check(recording: &Recording, dialect: DialectName, tally: &mut Tally) {
    let fault = read_error(dialect, recording.status(), &recording.body());
    let name = dialect.as_str();
    tally.note(recording, "refusal", name, read_well(recording, &fault));
    for to in CLIENTS {
        tally.note(recording, "refused", to.as_str(), told_in(to, &fault));
    }
}

/// The provider's own words, under its status.
pub(super) fn read_well(recording: &Recording, fault: &Fault) -> Outcome {
    let body = String::from_utf8_lossy(&recording.body()).into_owned();
    let json: Value = serde_json::from_str(&body).unwrap_or_else(|_| Value::from(body.as_str()));
    if fault.upstream_status != Some(recording.status()) {
        return Err(format!("another status: {fault:?}"));
    }
    if !says(&json, &fault.message) {
        return Err(format!("not the provider's words: {fault:?} for {body}"));
    }
    if (400..500).contains(&recording.status()) && fault.class.status() >= 500 {
        return Err(format!("made a fault of the provider: {fault:?}"));
    }
    Ok("-")
}

/// Whether a string within `json` is `message`, or holds it.
fn says(json: &Value, message: &str) -> bool {
    match json {
        // What looks like a key is told as `(key)`.
        Value::String(text) => {
            !message.is_empty()
                && message
                    .split("(key)")
                    .all(|part| text.contains(part.trim()))
        }
        Value::Array(items) => items.iter().any(|item| says(item, message)),
        Value::Object(members) => members.values().any(|item| says(item, message)),
        _ => false,
    }
}

/// A client of `to` reads the same failure out of what it is told.
pub(super) fn told_in(to: DialectName, fault: &Fault) -> Outcome {
    let (status, body) = write_error(to, fault, "id");
    let again = read_error(to, status, &body);
    if again.message != fault.message {
        return Err(format!("says {:?} for {:?}", again.message, fault.message));
    }
    if again.class != fault.class {
        return Err(format!("is {:?} for {:?}", again.class, fault.class));
    }
    Ok("same")
}

/// A stream that broke off breaks off in the words of `to` too.
pub(super) fn broke_off(to: DialectName, events: &[Event], fault: &Fault) -> Outcome {
    let (mut encoder, mut out) = (Encoder::new(to, Opening::default()), BytesMut::new());
    events.iter().for_each(|e| encoder.event(e, &mut out));
    encoder.fail(fault, &Closing::default(), &mut out);
    match of_sse(to, &out, usize::MAX)?.last() {
        Some(Event::Error(told)) if told.message == fault.message => Ok("same"),
        other => Err(format!("ends with {other:?} for {fault:?}")),
    }
}
