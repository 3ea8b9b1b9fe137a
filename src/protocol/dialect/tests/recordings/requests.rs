//! Recorded requests: read, written again, asked of others.

use super::answers::difference;
use super::asked::Asked;
use super::spellings::{differences, meant, spelled};
use super::{Outcome, PROVIDERS, Recording, Tally};
use crate::canon::{DialectName, Fault, Request};
use crate::protocol::dialect::{Dropped, Rules, Target, read_request, write_request};
use bytes::Bytes;
use serde_json::Value;

/// Tokens to ask for where a dialect demands a limit.
pub(super) const LIMIT: u64 = 99;

pub(super) fn check(recording: &Recording, dialect: DialectName, tally: &mut Tally) {
    if !recording.asked().is_object() {
        return;
    }
    let asked = with_model(recording.asked(), dialect);
    let name = dialect.as_str();
    let request = match read_request(dialect, &Bytes::from(asked.to_string())) {
        Ok(request) => request,
        Err(fault) => return tally.note(recording, "request", name, unread(recording, &fault)),
    };
    let known = Known::of(recording, &asked);
    let of = again(dialect, &asked, &request, &known);
    tally.note(recording, "request", name, of);
    for to in PROVIDERS.into_iter().filter(|to| *to != dialect) {
        let of = asked_of(to, &request, &known);
        tally.note(recording, "request", to.as_str(), of);
    }
}

/// Bedrock and Azure name the model in the path, as Gemini and Converse always do.
fn with_model(asked: &Value, dialect: DialectName) -> Value {
    let mut asked = asked.clone();
    let in_path = matches!(dialect, DialectName::Gemini | DialectName::Converse);
    if !in_path && asked["model"].is_null() && !is_stored(&asked) {
        asked["model"] = Value::from("m");
    }
    asked
}

/// A prompt that is stored with OpenAI, its model's name included.
fn is_stored(asked: &Value) -> bool {
    asked["prompt"]["id"].is_string() && asked["model"].is_null()
}

/// What the catalogue would say of the recorded model, as its own request shows.
struct Known {
    model: String,
    /// Thinking is asked for by a budget.
    by_budget: bool,
}

impl Known {
    fn of(recording: &Recording, asked: &Value) -> Self {
        let url = recording.json["request"]["url"]
            .as_str()
            .unwrap_or_default();
        let mut parts = url.split(['/', '?', ':']);
        let marked = parts.find(|part| matches!(*part, "model" | "models"));
        let in_path = marked.and_then(|_| parts.next()).unwrap_or("up");
        let text = asked.to_string();
        let budgets = ["thinkingBudget", "thinking_budget", "budget_tokens"];
        Self {
            model: asked["model"].as_str().unwrap_or(in_path).to_owned(),
            by_budget: budgets.iter().any(|word| text.contains(word)),
        }
    }
}

/// Only what its provider refused as malformed too, and what names no model, is refused; and by the name of a field.
fn unread(recording: &Recording, fault: &Fault) -> Outcome {
    if fault.message.is_empty() || fault.field.is_none() {
        return Err(format!("refused without a word or a field: {fault:?}"));
    }
    if recording.status() == 400 || is_stored(recording.asked()) {
        return Ok("refused");
    }
    Err(format!("unread: {fault:?}"))
}

fn written(to: DialectName, request: &Request, known: &Known) -> Result<(Bytes, Dropped), Fault> {
    let rules = Rules {
        thinking_budget: known.by_budget,
        ..Rules::default()
    };
    let target = Target {
        model: &known.model,
        stream: request.stream,
        max_output_default: LIMIT,
        rules: &rules,
    };
    write_request(to, request, &target)
}

/// In its own dialect it is the same request, and the same JSON but for spellings.
fn again(dialect: DialectName, asked: &Value, request: &Request, known: &Known) -> Outcome {
    let (bytes, dropped) =
        written(dialect, request, known).map_err(|f| format!("unwritten: {f:?}"))?;
    if !dropped.is_empty() {
        return Err(format!("drops {dropped:?} of its own"));
    }
    let second = read_request(dialect, &bytes).map_err(|f| format!("reread: {f:?}"))?;
    let json: Value = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    let (wanted, got) = (spelled(dialect, asked), spelled(dialect, &json));
    let mut lines = differences(&wanted, &got);
    let (wanted, got) = (meant(dialect, request), meant(dialect, &second));
    if wanted != got {
        let lines_of = difference(&wanted, &got);
        lines.push(format!("canon reads another request: {lines_of}"));
    }
    if lines.is_empty() {
        Ok("same")
    } else {
        Err(lines.join("\n  "))
    }
}

/// Asked of a provider of another dialect it says the same but for what is named, or is refused by a field's name.
fn asked_of(to: DialectName, request: &Request, known: &Known) -> Outcome {
    let (bytes, dropped) = match written(to, request, known) {
        Ok(written) => written,
        Err(fault) if fault.message.is_empty() || fault.field.is_none() => {
            return Err(format!("refused without a word or a field: {fault:?}"));
        }
        Err(_) => return Ok("refused"),
    };
    let second = read_request(to, &bytes).map_err(|f| format!("what we wrote is unread: {f:?}"))?;
    let (mut wanted, mut got) = (Asked::of(request), Asked::of(&second));
    for asked in [&mut wanted, &mut got] {
        asked.in_words_of(to);
        dropped.iter().for_each(|name| asked.without(name));
    }
    dropped.iter().for_each(|name| wanted.raised(name));
    if wanted == got {
        return Ok(if dropped.is_empty() { "same" } else { "named" });
    }
    let lines = difference(&wanted, &got);
    Err(format!("(named {dropped:?}): {lines}"))
}
