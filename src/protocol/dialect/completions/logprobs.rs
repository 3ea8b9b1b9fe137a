//! Logarithms of probabilities: this API's lists side by side, and Chat's objects made into them.

use crate::base::{Json, Str};
use crate::canon::{Answer, DialectName};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Chat's form (OpenAI API reference, Chat Completions, read 2026-08).
#[derive(Deserialize)]
struct Chat {
    content: Option<Vec<Token>>,
}

#[derive(Deserialize)]
struct Token {
    token: String,
    logprob: Value,
    #[serde(default)]
    top_logprobs: Vec<Top>,
}

#[derive(Deserialize)]
struct Top {
    token: String,
    logprob: Value,
}

/// What a client of this API is told of `json`, which `dialect` calls `name`. `None`: it is something else.
pub(super) fn told(dialect: DialectName, name: &str, json: &Json) -> Option<Str> {
    match (dialect, name) {
        (DialectName::Completions, "logprobs") => Some(json.text().clone()),
        (DialectName::Chat, "logprobs") => of_chat(json).map(|value| value.to_string().into()),
        _ => None,
    }
}

/// `text_offset` counts characters from where this piece begins: of a stream nobody here knows more.
fn of_chat(json: &Json) -> Option<Value> {
    let tokens = json.read::<Chat>()?.content?;
    let mut offset = 0;
    let mut offsets = Vec::new();
    for token in &tokens {
        offsets.push(offset);
        offset += token.token.chars().count();
    }
    let tops = |token: &Token| -> Map<String, Value> {
        let each = token.top_logprobs.iter();
        each.map(|t| (t.token.clone(), t.logprob.clone())).collect()
    };
    let all: Vec<&String> = tokens.iter().map(|t| &t.token).collect();
    let chances: Vec<&Value> = tokens.iter().map(|t| &t.logprob).collect();
    Some(json!({
        "tokens": all, "token_logprobs": chances,
        "top_logprobs": tokens.iter().map(tops).collect::<Vec<_>>(), "text_offset": offsets,
    }))
}

/// Those of one choice; what a stream said piece by piece stands in one list.
pub(super) fn joined(answer: &Answer, number: u32) -> Option<Str> {
    let of_choice = answer.others.iter().filter(|(_, _, c, _)| *c == number);
    let mut pieces: Vec<Str> = of_choice
        .filter_map(|(dialect, name, _, json)| told(*dialect, name, json))
        .collect();
    if pieces.len() < 2 {
        return pieces.pop();
    }
    let mut whole = Map::new();
    for piece in pieces {
        let members: Map<String, Value> = serde_json::from_str(&piece).unwrap_or_default();
        for (name, value) in members {
            match (whole.get_mut(&name), value) {
                (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
                (Some(Value::Null) | None, value) => drop(whole.insert(name, value)),
                _ => {}
            }
        }
    }
    Some(Value::Object(whole).to_string().into())
}
