//! In what an answer may differ after it was said again in its own dialect, and why that is no loss. The list is all there is.

use crate::base::{Json, Str, Tokens};
use crate::canon::{Answer, AnswerBlock, BlockStart, DialectName, ToolKind};
use serde_json::{Value, json};

/// What is brought into one form on both sides, with the reason.
type Normal = (&'static str, fn(&mut Answer));

const NORMALS: &[Normal] = &[
    (
        "the provider's own usage object is written anew from the counts, which are compared",
        |a| a.usage.raw = None,
    ),
    (
        "what was not counted is written as 0 where clients' types demand a number",
        zeros,
    ),
    (
        "what the provider bills us is for the ledger; the client hears what it is billed itself",
        |a| a.usage.provider_cost = None,
    ),
    ("Mistral's `standard` tier is OpenAI's `default`", |a| {
        if a.usage.service_tier.as_deref() == Some("standard") {
            a.usage.service_tier = Some(Str::from_static("default"));
        }
    }),
    (
        "ids of Responses begin with `resp_`, those of its speakers too once they are ours to give out",
        |a| {
            if let Some(bare) = a.id.strip_prefix("resp_") {
                a.id = Str::from(bare);
            }
        },
    ),
    (
        "JSON is kept, its spacing and the order of its members are not: events of a stream have one line",
        spacing,
    ),
    (
        "log probabilities of a stream's pieces stand in one list where there is one body",
        logprobs,
    ),
    (
        "deltas of a block that only its own dialect knows are worked into the block where there is one body",
        |a| a.blocks.iter_mut().for_each(worked_in),
    ),
    (
        "items of the output are numbered and named by who writes them, and an image says its format",
        places,
    ),
    (
        "events on the way to an item (progress, images in parts) are of a stream alone",
        |a| {
            a.others
                .retain(|(_, name, ..)| !name.starts_with("response."))
        },
    ),
    (
        "a message of Chat has one text and one reasoning; only signed parts of it are told apart",
        one_reasoning,
    ),
    (
        "Converse has no answer without `metrics`; where the model's own form had none, ours are measured",
        |a| a.others.retain(|(_, name, ..)| name != "metrics"),
    ),
    (
        "an empty object that stands for nothing said is not said",
        |a| a.others.retain(|(.., json)| json.get() != "{}"),
    ),
];

/// An answer less what is listed above.
pub(super) fn essence(dialect: DialectName, mut answer: Answer) -> Answer {
    if dialect == DialectName::Chat {
        // One message has its reasoning, its text and its calls under names: their order among each other is not said.
        answer.blocks.sort_by_key(|b| match b.start {
            BlockStart::Thinking => 0,
            BlockStart::Text => 1,
            _ => 2,
        });
    }
    NORMALS.iter().for_each(|(_, apply)| apply(&mut answer));
    answer
}

fn zeros(answer: &mut Answer) {
    let usage = &mut answer.usage;
    for count in [
        &mut usage.input_uncached,
        &mut usage.cache_read,
        &mut usage.cache_write_5m,
        &mut usage.cache_write_30m,
        &mut usage.cache_write_1h,
        &mut usage.cache_write_12h,
        &mut usage.output,
        &mut usage.reasoning,
        &mut usage.input_audio,
        &mut usage.output_audio,
        &mut usage.input_image,
        &mut usage.output_image,
    ] {
        *count = count.filter(|n| *n > Tokens::ZERO);
    }
    for calls in [&mut usage.web_searches, &mut usage.web_fetches] {
        *calls = calls.filter(|n| *n > 0);
    }
}

/// Written by serde_json, which sorts members.
fn plain(json: &Json) -> Json {
    json.read::<Value>()
        .map_or_else(|| json.clone(), |v| Json::of(&v))
}

fn spacing(answer: &mut Answer) {
    for (.., json) in &mut answer.others {
        *json = plain(json);
    }
    for block in &mut answer.blocks {
        for (_, json) in &mut block.others {
            *json = plain(json);
        }
        for citation in &mut block.citations {
            citation.json = plain(&citation.json);
        }
        match &mut block.start {
            BlockStart::Other { json, .. } => *json = plain(json),
            BlockStart::ToolCall { kind, .. } if *kind != ToolKind::Custom => {
                if let Ok(input) = serde_json::from_str::<Value>(&block.text) {
                    block.text = input.to_string();
                }
            }
            _ => {}
        }
    }
}

/// Of a choice in Chat, of a block in Responses.
fn logprobs(answer: &mut Answer) {
    let entries = |json: &Json, path: &str| {
        let value: Value = json.read().unwrap_or_default();
        value
            .pointer(path)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let (logged, mut others): (Vec<_>, Vec<_>) = std::mem::take(&mut answer.others)
        .into_iter()
        .partition(|(_, name, ..)| name == "logprobs");
    for (dialect, name, choice, json) in logged {
        let of_choice = others
            .iter_mut()
            .find(|(_, n, c, _): &&mut (_, Str, _, _)| *n == name && *c == choice);
        let mut all = of_choice
            .as_ref()
            .map_or_else(Vec::new, |(.., j)| entries(j, "/content"));
        all.extend(entries(&json, "/content"));
        let merged = Json::of(&json!({ "content": all }));
        match of_choice {
            Some((.., json)) => *json = merged,
            None => others.push((dialect, name, choice, merged)),
        }
    }
    answer.others = others;
    for block in &mut answer.blocks {
        let all: Vec<Value> = block
            .others
            .iter()
            .flat_map(|(_, j)| entries(j, "/logprobs"))
            .collect();
        if !all.is_empty() {
            block
                .others
                .retain(|(_, j)| entries(j, "/logprobs").is_empty());
            let json = Json::of(&json!({ "type": "logprobs", "logprobs": all }));
            block.others.push((DialectName::Responses, json));
        }
    }
}

fn worked_in(block: &mut AnswerBlock) {
    let BlockStart::Other { json, .. } = &mut block.start else {
        return;
    };
    let mut whole: Value = json.read().unwrap_or_default();
    for (_, delta) in block.others.drain(..) {
        match delta.read::<Value>() {
            Some(Value::Object(members)) if whole["toolResult"].is_object() => {
                whole["toolResult"]["content"] = members["toolResult"].clone();
            }
            Some(Value::Object(members)) => {
                for (name, value) in members.into_iter().filter(|(name, _)| name != "type") {
                    whole[name] = value;
                }
            }
            _ => {}
        }
    }
    *json = Json::of(&whole);
}

fn places(answer: &mut Answer) {
    fn unplaced(json: &mut Json) {
        let Some(Value::Object(mut members)) = json.read() else {
            return;
        };
        for name in ["id", "output_format"] {
            members.remove(name);
        }
        *json = Json::of(&Value::Object(members));
    }
    for block in &mut answer.blocks {
        if matches!(block.start, BlockStart::Image { .. }) {
            block.others.iter_mut().for_each(|(_, json)| unplaced(json));
        }
    }
}

fn one_reasoning(answer: &mut Answer) {
    let unsigned = |b: &AnswerBlock| {
        matches!(b.start, BlockStart::Thinking | BlockStart::Text) && b.signature.is_none()
    };
    let mut joined: Vec<AnswerBlock> = Vec::new();
    for block in std::mem::take(&mut answer.blocks) {
        let same = |b: &&mut AnswerBlock| {
            unsigned(b) && b.start == block.start && b.choice == block.choice
        };
        match joined.iter_mut().find(same).filter(|_| unsigned(&block)) {
            Some(first) => {
                first.text.push_str(&block.text);
                first.citations.extend(block.citations);
                first.others.extend(block.others);
            }
            None => joined.push(block),
        }
    }
    answer.blocks = joined;
}
