//! In what a request may differ after it was written again in its own dialect, and why that is no loss. The list is all there is.

use crate::canon::{CacheMark, DialectName, Request, Turn};
use DialectName::{Chat, Completions, Converse, Gemini, Messages, Responses};
use serde_json::{Value, json};

/// `asked` in the one spelling that both sides are brought into.
pub(super) fn spelled(dialect: DialectName, asked: &Value) -> Value {
    let mut asked = asked.clone();
    for (of, _, apply) in SPELLINGS {
        if of.contains(&dialect) {
            apply(&mut asked);
        }
    }
    asked
}

type Spelling = (&'static [DialectName], &'static str, fn(&mut Value));

const ALL: &[DialectName] = &[Chat, Completions, Converse, Gemini, Messages, Responses];

const SPELLINGS: &[Spelling] = &[
    (ALL, "a number is its value: 0 and 0.0 are one", |v| {
        each(v, &mut as_float);
    }),
    (ALL, "null is not said", |v| each(v, &mut without_nulls)),
    (
        &[Chat, Completions, Messages, Responses],
        "`stream: false` is what saying nothing means",
        |v| without(v, "stream", &Value::Bool(false)),
    ),
    (
        &[Chat],
        "`max_tokens` is the old name of `max_completion_tokens`; which of them a model takes is a rule of the catalogue",
        |v| renamed(v, "max_tokens", "max_completion_tokens"),
    ),
    (&[Completions], "a list of one text is that text", |v| {
        if let Some([Value::String(text)]) = v["prompt"].as_array().map(Vec::as_slice) {
            v["prompt"] = Value::from(text.clone());
        }
    }),
    (
        &[Completions],
        "one answer, no bias and no penalty are the defaults, which its older clients say each time",
        |v| {
            without(v, "n", &json!(1.0));
            without(v, "logit_bias", &json!({}));
            without(v, "presence_penalty", &json!(0.0));
            without(v, "frequency_penalty", &json!(0.0));
        },
    ),
    (&[Completions], "one stop sequence is a list of one", |v| {
        if v["stop"].is_string() {
            v["stop"] = Value::Array(vec![v["stop"].take()]);
        }
    }),
    (
        &[Chat, Completions],
        "a stream is always asked for its usage, which the router bills by",
        |v| removed(v, "stream_options"),
    ),
    (&[Messages], "text alone is one block of text", |v| {
        each(v, &mut |v| text_as_blocks(v, "content"));
        text_as_blocks(v, "system");
    }),
    (
        &[Messages],
        "`is_error: false` is what saying nothing means",
        |v| each(v, &mut |v| without(v, "is_error", &Value::Bool(false))),
    ),
    (
        &[Converse],
        "an empty list or object says nothing, and a result that is no error is a success",
        |v| {
            if let Some(config) = v.get_mut("inferenceConfig") {
                without(config, "stopSequences", &json!([]));
            }
            without(v, "inferenceConfig", &json!({}));
            without(v, "system", &json!([]));
            each(v, &mut |v| without(v, "status", &Value::from("success")));
        },
    ),
    (
        &[Messages, Converse],
        "turns of one role that follow each other are one turn, as their APIs read them",
        |v| merged(v, "messages", "content"),
    ),
    (
        &[Chat],
        "a message of one text is that text, and an assistant's without a word has none",
        |v| {
            items(v, "messages", &mut |message| {
                one_text(message, "content");
                without(message, "content", &Value::from(""));
            });
        },
    ),
    (
        &[Chat, Responses],
        "`developer` is what newer models call `system`, and every speaker knows the old word",
        |v| {
            for list in ["messages", "input"] {
                items(v, list, &mut |i| replaced(i, "role", "developer", "system"));
            }
        },
    ),
    (
        &[Chat],
        "Mistral's `any` is `required`, and an image's address may stand bare there",
        |v| {
            replaced(v, "tool_choice", "any", "required");
            each(v, &mut |v| {
                if let Some(url) = v.get_mut("image_url").filter(|u| u.is_string()) {
                    *url = json!({ "url": url.clone() });
                }
            });
        },
    ),
    (&[Chat], "a list of no stop sequences says nothing", |v| {
        without(v, "stop", &json!([]))
    }),
    (
        &[Chat],
        "gateways take Anthropic's marks; OpenAI's own mark says the same, without so short a lifetime",
        |v| {
            each(v, &mut |v| {
                if v.get("cache_control").is_some() {
                    removed(v, "cache_control");
                    v["prompt_cache_breakpoint"] = json!({ "mode": "explicit" });
                }
            });
        },
    ),
    (
        &[Chat],
        "what a model thought comes back under the name that most speakers read",
        |v| {
            items(v, "messages", &mut thoughts);
            // A call's place among the calls is a stream's, and echoed by clients.
            items(v, "messages", &mut |message| {
                items(message, "tool_calls", &mut |call| removed(call, "index"));
            });
        },
    ),
    (
        &[Responses],
        "instructions are the first message of the system",
        instructions,
    ),
    (
        &[Responses],
        "a message's type need not be said, one text is that text; an item's id and that it is whole are for its issuer's store",
        |v| items(v, "input", &mut item),
    ),
    (
        &[Responses],
        "`store: true` is what saying nothing means",
        |v| without(v, "store", &Value::Bool(true)),
    ),
    (
        &[Gemini],
        "Google reads its fields in both spellings",
        camels,
    ),
    (
        &[Gemini],
        "`thought: false` and text alone are what saying nothing means, levels are read in any case, and instructions have no role",
        unsaid_at_google,
    ),
    (
        &[Gemini],
        "contents of one role that follow each other are one",
        |v| merged(v, "contents", "parts"),
    ),
    (
        &[Gemini],
        "Google's own form of a schema is told as JSON schema, which it reads beside it",
        |v| each(v, &mut json_schema),
    ),
    (
        &[Gemini],
        "base64 is read in both alphabets and written in the common one",
        |v| {
            each(v, &mut |v| {
                if let Some(Value::String(data)) = v.get_mut("data") {
                    *data = data.replace('-', "+").replace('_', "/");
                }
            });
        },
    ),
];

/// What canon should read on both sides: less what the same spellings and the router itself change.
pub(super) fn meant(dialect: DialectName, request: &Request) -> Request {
    let mut request = request.clone();
    // Asked for on behalf of every client, since the router bills by it.
    request.stream_usage = false;
    let mut turns: Vec<Turn> = Vec::new();
    for turn in std::mem::take(&mut request.turns) {
        let same = |last: &&mut Turn| last.role == turn.role && last.name == turn.name;
        match turns.last_mut().filter(same) {
            Some(last) => last.blocks.extend(turn.blocks),
            None => turns.push(turn),
        }
    }
    request.turns = turns;
    // Their order among each other says nothing.
    request.extra.sort_by(|a, b| a.name.cmp(&b.name));
    if dialect == Chat {
        let turns = request.turns.iter_mut().flat_map(|t| &mut t.blocks);
        for block in request.system.iter_mut().chain(turns) {
            block.mark = block.mark.map(|_| CacheMark { ttl: None });
        }
    }
    request
}

/// An assistant's earlier thinking: entries that are neither signed nor sealed are their text.
fn thoughts(message: &mut Value) {
    renamed(message, "reasoning", "reasoning_content");
    let Some(Value::Array(details)) = message.get_mut("reasoning_details") else {
        return;
    };
    let sealed = |d: &Value| d.get("signature").is_some() || d.get("data").is_some();
    let texts: String = details
        .iter()
        .filter(|d| !sealed(d))
        .filter_map(|d| d["text"].as_str().or(d["summary"].as_str()))
        .collect();
    details.retain(sealed);
    if details.is_empty() {
        removed(message, "reasoning_details");
    }
    if message.get("reasoning_content").is_none() && !texts.is_empty() {
        message["reasoning_content"] = Value::from(texts);
    }
}

fn instructions(value: &mut Value) {
    without(value, "instructions", &Value::from(""));
    let said = value.as_object_mut().and_then(|v| v.remove("instructions"));
    let Some(said) = said else { return };
    if let Some(text) = value.get_mut("input").filter(|i| i.is_string()) {
        *text = json!([{ "role": "user", "content": text.clone() }]);
    }
    if let Some(Value::Array(input)) = value.get_mut("input") {
        input.insert(0, json!({ "role": "system", "content": said }));
    }
}

/// One item of a Responses request's input.
fn item(item: &mut Value) {
    if item.get("role").is_some() {
        removed(item, "type");
    }
    each(item, &mut |part| {
        without(part, "annotations", &json!([]));
        without(part, "logprobs", &json!([]));
    });
    one_text(item, "content");
    without(item, "content", &json!([]));
    if !matches!(item["type"].as_str(), Some("reasoning" | "item_reference")) {
        removed(item, "id");
    }
    without(item, "status", &Value::from("completed"));
}

fn unsaid_at_google(value: &mut Value) {
    each(value, &mut |v| without(v, "thought", &Value::Bool(false)));
    if let Some(system) = value.get_mut("systemInstruction") {
        removed(system, "role");
    }
    if let Some(config) = value.get_mut("generationConfig") {
        without(config, "responseModalities", &json!(["TEXT"]));
        if let Some(Value::String(level)) = config.pointer_mut("/thinkingConfig/thinkingLevel") {
            *level = level.to_uppercase();
        }
    }
    without(value, "generationConfig", &json!({}));
}

/// A function's `parameters`, whose types Google writes in capitals.
fn json_schema(value: &mut Value) {
    if value.get("name").is_some() {
        renamed(value, "parameters", "parametersJsonSchema");
    }
    if let Some(schema) = value.get_mut("parametersJsonSchema") {
        each(schema, &mut |v| {
            if let Some(Value::String(word)) = v.get_mut("type") {
                *word = word.to_lowercase();
            }
        });
    }
}

/// Calls `apply` on every value within `value`, inner ones first.
fn each(value: &mut Value, apply: &mut dyn FnMut(&mut Value)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each(item, apply)),
        Value::Object(members) => members.values_mut().for_each(|item| each(item, apply)),
        _ => {}
    }
    apply(value);
}

/// Calls `apply` on each item of the list `name`.
fn items(value: &mut Value, name: &str, apply: &mut dyn FnMut(&mut Value)) {
    if let Some(Value::Array(items)) = value.get_mut(name) {
        items.iter_mut().for_each(apply);
    }
}

fn as_float(value: &mut Value) {
    if let Some(number) = value.as_f64() {
        *value = Value::from(number);
    }
}

fn without_nulls(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, member| !member.is_null());
    }
}

/// Takes a member out where it says `what`.
fn without(value: &mut Value, name: &str, what: &Value) {
    if value.get(name) == Some(what) {
        removed(value, name);
    }
}

fn removed(value: &mut Value, name: &str) {
    if let Value::Object(members) = value {
        members.remove(name);
    }
}

fn renamed(value: &mut Value, from: &str, to: &str) {
    if let Value::Object(members) = value
        && let Some(member) = members.remove(from)
    {
        members.insert(to.to_owned(), member);
    }
}

fn replaced(value: &mut Value, name: &str, from: &str, to: &str) {
    if let Some(word) = value.get_mut(name).filter(|word| **word == from) {
        *word = Value::from(to);
    }
}

/// A string under `name` as a list of one block of text.
fn text_as_blocks(value: &mut Value, name: &str) {
    if let Some(Value::String(text)) = value.get(name) {
        value[name] = json!([{ "type": "text", "text": text.clone() }]);
    }
}

/// A list of one text under `name`, and nothing else to say of it, as that text.
fn one_text(value: &mut Value, name: &str) {
    let only = match value.get(name) {
        Some(Value::Array(parts)) if parts.len() == 1 => parts[0].as_object(),
        _ => None,
    };
    let text = only.filter(|part| part.len() == 2 && part.contains_key("type"));
    if let Some(Value::String(text)) = text.and_then(|part| part.get("text")) {
        value[name] = Value::from(text.clone());
    }
}

/// Joins neighbours of one role in the list `name`, whose items say what they say under `parts`.
fn merged(value: &mut Value, name: &str, parts: &str) {
    let Some(Value::Array(items)) = value.get_mut(name) else {
        return;
    };
    let mut joined: Vec<Value> = Vec::new();
    for mut item in std::mem::take(items) {
        match joined
            .last_mut()
            .filter(|last| last["role"] == item["role"])
        {
            Some(last) if last[parts].is_array() && item[parts].is_array() => {
                let more = item[parts].as_array_mut().map(std::mem::take);
                let all = last[parts].as_array_mut().expect("an array");
                all.extend(more.unwrap_or_default());
            }
            _ => joined.push(item),
        }
    }
    *items = joined;
}

/// Names of Google's own fields in camel case; what clients name themselves stays as it is.
fn camels(value: &mut Value) {
    const FREE: [&str; 6] = [
        "args",
        "response",
        "parameters",
        "parametersJsonSchema",
        "responseSchema",
        "responseJsonSchema",
    ];
    match value {
        Value::Array(items) => items.iter_mut().for_each(camels),
        Value::Object(members) => {
            for (name, mut member) in std::mem::take(members) {
                let camel = camel(&name);
                if !FREE.contains(&&*camel) {
                    camels(&mut member);
                }
                members.insert(camel, member);
            }
        }
        _ => {}
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name.push_str(&head.to_uppercase());
        name.push_str(tail);
        name
    })
}

/// The places where two values differ, with what stands there.
pub(super) fn differences(wanted: &Value, got: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    differ("", wanted, got, &mut lines);
    lines
}

fn differ(path: &str, wanted: &Value, got: &Value, lines: &mut Vec<String>) {
    match (wanted, got) {
        (Value::Object(a), Value::Object(b)) => {
            for (name, value) in a {
                let other = b.get(name).unwrap_or(&Value::Null);
                differ(&format!("{path}.{name}"), value, other, lines);
            }
            for (name, value) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
                differ(&format!("{path}.{name}"), &Value::Null, value, lines);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{path}[{i}]"), a, b, lines);
            }
        }
        _ if wanted != got => {
            let short = |v: &Value| v.to_string().chars().take(300).collect::<String>();
            lines.push(format!("{path}: {} is now {}", short(wanted), short(got)));
        }
        _ => {}
    }
}
