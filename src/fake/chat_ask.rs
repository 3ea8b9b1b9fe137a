//! Reads a Chat Completions request and refuses what the provider refuses (OpenAI API reference, read 2026-08).

use super::ask::{Ask, Choice, Tool, Wrong, base64_bytes, data_url};
use super::json::Tree;
use super::manner::Manner;

const FIELDS: [&str; 37] = [
    "model",
    "messages",
    "max_completion_tokens",
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "verbosity",
    "modalities",
    "audio",
    "prediction",
    "store",
    "metadata",
    "service_tier",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "web_search_options",
    "moderation",
    "functions",
    "function_call",
];

/// Changing one of these loses the cached prefix (OpenAI guide, read 2026-08).
const PREFIX_BREAKERS: [&str; 4] = [
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "verbosity",
];

pub(super) fn read<'a>(body: &'a Tree<'a>, manner: Manner) -> Result<Ask<'a>, Wrong> {
    check(body, manner)?;
    let mut ask = Ask {
        model: body.text_of("model").ok_or_else(|| missing("model"))?,
        stream: body.get("stream").is_some_and(Tree::is_true),
        include_usage: body
            .get("stream_options")
            .and_then(|o| o.get("include_usage"))
            .is_some_and(Tree::is_true)
            || manner.always_tells(),
        n: body.get("n").and_then(Tree::whole).unwrap_or(1) as usize,
        max_tokens: ["max_completion_tokens", "max_tokens"]
            .iter()
            .find_map(|key| body.get(key)?.whole()),
        one_call: body.get("parallel_tool_calls") == Some(&Tree::Bool(false)),
        thinking: thinking(body, manner),
        thinking_shown: manner.reasons_aloud(),
        perf: manner == Manner::Fireworks
            && body
                .get("perf_metrics_in_response")
                .is_some_and(Tree::is_true),
        deferred: body.get("deferred").is_some_and(Tree::is_true),
        ..Ask::default()
    };
    for key in [
        "prompt_cache_key",
        "service_tier",
        "cache_salt",
        "prompt_cache_isolation_key",
    ] {
        ask.scope
            .extend_from_slice(body.text_of(key).unwrap_or("").as_bytes());
        ask.scope.push(0);
    }
    match body.get("stop") {
        Some(Tree::Text(stop)) => ask.stops.push(stop),
        Some(list) => ask.stops.extend(list.items().iter().filter_map(Tree::text)),
        None => {}
    }
    ask.prompt.vary_by(body, &PREFIX_BREAKERS);
    tools(body, &mut ask)?;
    format(body, &mut ask)?;
    let messages = body.get("messages").ok_or_else(|| missing("messages"))?;
    for (place, message) in messages.items().iter().enumerate() {
        read_message(place, message, &mut ask)?;
    }
    Ok(ask)
}

fn missing(field: &str) -> Wrong {
    Wrong::new(
        field,
        "missing_required_parameter",
        format!("Missing required parameter: '{field}'."),
    )
}

fn wrong_type(field: &str, expected: &str) -> Wrong {
    Wrong::new(
        field,
        "invalid_type",
        format!("Invalid type for '{field}': expected {expected}."),
    )
}

fn check(body: &Tree<'_>, manner: Manner) -> Result<(), Wrong> {
    if !matches!(body, Tree::Object(_)) {
        return Err(Wrong::plain(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
        ));
    }
    if body.get("messages").is_none() {
        return Err(missing("messages"));
    }
    if body.get("model").is_none() {
        return Err(missing("model"));
    }
    for (key, value) in body.entries() {
        if !FIELDS.contains(&&**key) && !manner.takes(key) {
            return Err(Wrong::new(
                key,
                "unknown_parameter",
                format!("Unknown parameter: '{key}'."),
            ));
        }
        check_field(key, value)?;
    }
    if body.get("stream_options").is_some() && !body.get("stream").is_some_and(Tree::is_true) {
        return Err(Wrong::plain(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        ));
    }
    Ok(())
}

fn check_field(key: &str, value: &Tree<'_>) -> Result<(), Wrong> {
    if *value == Tree::Null {
        return Ok(());
    }
    let range = match key {
        "temperature" => (0.0, 2.0),
        "top_p" => (0.0, 1.0),
        "presence_penalty" | "frequency_penalty" => (-2.0, 2.0),
        "n" => (1.0, 128.0),
        "top_logprobs" => (0.0, 20.0),
        "max_tokens" | "max_completion_tokens" => (1.0, f64::MAX),
        "messages" => return list(key, value),
        "model" if value.text().is_none() => return Err(wrong_type(key, "a string")),
        "stop" if value.items().len() > 4 => {
            return Err(Wrong::new(
                key,
                "array_above_max_length",
                "Invalid 'stop': array too long. Expected an array with maximum length 4.",
            ));
        }
        _ => return Ok(()),
    };
    in_range(key, value, range)
}

fn list(key: &str, value: &Tree<'_>) -> Result<(), Wrong> {
    match value {
        Tree::List(items) if !items.is_empty() => Ok(()),
        Tree::List(_) => Err(Wrong::new(
            key,
            "empty_array",
            format!(
                "Invalid '{key}': empty array. Expected an array with minimum length 1, but got an empty array instead."
            ),
        )),
        _ => Err(wrong_type(key, "an array of objects")),
    }
}

fn in_range(key: &str, value: &Tree<'_>, (low, high): (f64, f64)) -> Result<(), Wrong> {
    let whole = !matches!(
        key,
        "temperature" | "top_p" | "presence_penalty" | "frequency_penalty"
    );
    let (kind, above, below) = match whole {
        true => (
            "integer",
            "integer_above_max_value",
            "integer_below_min_value",
        ),
        false => (
            "decimal",
            "decimal_above_max_value",
            "decimal_below_min_value",
        ),
    };
    let expected = if whole { "an integer" } else { "a decimal" };
    let number = value.number().filter(|n| !whole || n.fract() == 0.0);
    let number = number.ok_or_else(|| wrong_type(key, expected))?;
    if number > high {
        return Err(Wrong::new(
            key,
            above,
            format!(
                "Invalid '{key}': {kind} above maximum value. Expected a value <= {high}, but got {number} instead."
            ),
        ));
    }
    if number < low {
        return Err(Wrong::new(
            key,
            below,
            format!(
                "Invalid '{key}': {kind} below minimum value. Expected a value >= {low}, but got {number} instead."
            ),
        ));
    }
    Ok(())
}

fn thinking(body: &Tree<'_>, manner: Manner) -> Option<u64> {
    let nested = body.get("reasoning").and_then(|r| r.text_of("effort"));
    let nested = nested.filter(|_| manner == Manner::OpenRouter);
    body.text_of("reasoning_effort").or(nested).and_then(effort)
}

/// Tokens of reasoning by effort: our own table, small so that tests are quick.
fn effort(name: &str) -> Option<u64> {
    match name {
        "none" => None,
        "minimal" => Some(4),
        "low" => Some(8),
        "medium" => Some(16),
        _ => Some(32),
    }
}

fn tools<'a>(body: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    let tools = body.get("tools").map(Tree::items).unwrap_or_default();
    for (place, tool) in tools.iter().enumerate() {
        let kind = tool.text_of("type").unwrap_or("function");
        let inner = tool.get(kind);
        let name = inner.and_then(|f| f.text_of("name"));
        let name = name.ok_or_else(|| missing(&format!("tools[{place}].{kind}.name")))?;
        let custom = kind == "custom";
        let schema = inner.and_then(|f| f.get("parameters"));
        ask.tools.push(Tool {
            name,
            schema,
            custom,
        });
        ask.prompt.push_tree(tool);
    }
    ask.choice = match body.get("tool_choice") {
        Some(Tree::Text(word)) if word == "none" => Choice::Never,
        Some(Tree::Text(word)) if word == "required" => Choice::Any,
        Some(choice @ Tree::Object(_)) => named_choice(choice),
        _ => Choice::Auto,
    };
    if let (Some(_), true) = (body.get("tool_choice"), ask.tools.is_empty()) {
        return Err(Wrong::new(
            "tool_choice",
            "invalid_value",
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
        ));
    }
    Ok(())
}

fn named_choice<'a>(choice: &'a Tree<'a>) -> Choice<'a> {
    let kind = choice.text_of("type").unwrap_or("function");
    if let Some(allowed) = choice.get("allowed_tools") {
        return match allowed.text_of("mode") {
            Some("required") => Choice::Any,
            _ => Choice::Auto,
        };
    }
    let name = choice.get(kind).and_then(|f| f.text_of("name"));
    name.map_or(Choice::Any, Choice::Named)
}

fn format<'a>(body: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    let Some(format) = body.get("response_format") else {
        return Ok(());
    };
    match format.text_of("type") {
        Some("text") => {}
        Some("json_object") => ask.json_object = true,
        Some("json_schema") => {
            let schema = format.get("json_schema").and_then(|s| s.get("schema"));
            ask.schema = Some(schema.ok_or_else(|| missing("response_format.json_schema.schema"))?);
        }
        _ => {
            return Err(Wrong::new(
                "response_format.type",
                "invalid_value",
                "Invalid value: 'response_format.type'. Supported values are: 'json_object', 'json_schema', and 'text'.",
            ));
        }
    }
    Ok(())
}

fn read_message<'a>(place: usize, message: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    let role = message.text_of("role");
    let role = role.ok_or_else(|| missing(&format!("messages[{place}].role")))?;
    ask.prompt.push(role.as_bytes());
    match role {
        "user" => ask.turn(),
        // Results of one group of calls stand together.
        "tool" if message.get("tool_call_id").is_none() => {
            return Err(missing(&format!("messages[{place}].tool_call_id")));
        }
        "assistant" => ask.results.clear(),
        "tool" | "system" | "developer" | "function" => {}
        _ => {
            return Err(Wrong::new(
                &format!("messages[{place}].role"),
                "invalid_value",
                format!(
                    "Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'."
                ),
            ));
        }
    }
    match message.get("content") {
        Some(Tree::Text(text)) => part_text(role, text, ask),
        Some(Tree::List(parts)) => {
            for (at, part) in parts.iter().enumerate() {
                read_part(&format!("messages[{place}].content[{at}]"), role, part, ask)?;
            }
        }
        None if role == "assistant" => {}
        _ => {
            return Err(Wrong::new(
                &format!("messages[{place}].content"),
                "invalid_type",
                format!(
                    "Invalid type for 'messages[{place}].content': expected one of a string or array of objects, but got null instead."
                ),
            ));
        }
    }
    if let Some(id) = message.get("tool_call_id") {
        fits(&format!("messages[{place}].tool_call_id"), id, ID_MAX)?;
    }
    let calls = message.get("tool_calls").map(Tree::items);
    for (at, call) in calls.unwrap_or_default().iter().enumerate() {
        if let Some(id) = call.get("id") {
            fits(
                &format!("messages[{place}].tool_calls[{at}].id"),
                id,
                ID_MAX,
            )?;
        }
    }
    for key in ["tool_calls", "tool_call_id", "refusal", "name"] {
        if let Some(value) = message.get(key) {
            ask.prompt.push_tree(value);
        }
    }
    Ok(())
}

/// Characters of a call's id that OpenAI takes; only its refusals say so (vercel/ai issue 8132, read 2026-11). Its own have 29.
const ID_MAX: usize = 40;

/// The same bound in its words, whatever it is.
pub(super) fn fits(place: &str, id: &Tree<'_>, most: usize) -> Result<(), Wrong> {
    let length = id.text().map_or(0, |id| id.chars().count());
    if length <= most {
        return Ok(());
    }
    Err(Wrong::new(
        place,
        "string_above_max_length",
        format!(
            "Invalid '{place}': string too long. Expected a string with maximum length {most}, but got a string with length {length} instead."
        ),
    ))
}

fn part_text(role: &str, text: &str, ask: &mut Ask<'_>) {
    ask.prompt.push(text.as_bytes());
    match role {
        "user" => ask.heard(text),
        "tool" => ask.results.push(text.to_owned()),
        _ => {}
    }
}

fn read_part(place: &str, role: &str, part: &Tree<'_>, ask: &mut Ask<'_>) -> Result<(), Wrong> {
    let kind = part
        .text_of("type")
        .ok_or_else(|| missing(&format!("{place}.type")))?;
    let inner = part
        .get(kind)
        .ok_or_else(|| missing(&format!("{place}.{kind}")))?;
    match (kind, role) {
        ("text" | "refusal", _) => part_text(role, inner.text().unwrap_or(""), ask),
        ("image_url", "user") => {
            let url = inner
                .text_of("url")
                .ok_or_else(|| missing(&format!("{place}.image_url.url")))?;
            media("image", url, ask);
        }
        ("input_audio", "user") => {
            let data = inner.text_of("data").unwrap_or("");
            let format = inner.text_of("format").unwrap_or("wav");
            ask.prompt.push_media(data.as_bytes());
            ask.saw(&format!("audio/{format}"), base64_bytes(data));
        }
        ("file", "user") => match (inner.text_of("file_data"), inner.text_of("file_id")) {
            (Some(data), _) => media("file", data, ask),
            (None, Some(id)) => media("file", id, ask),
            (None, None) => return Err(missing(&format!("{place}.file.file_id"))),
        },
        _ => {
            return Err(Wrong::new(
                &format!("{place}.type"),
                "invalid_value",
                format!(
                    "Invalid value: '{kind}'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', 'audio', and 'file'."
                ),
            ));
        }
    }
    Ok(())
}

fn media(what: &str, url: &str, ask: &mut Ask<'_>) {
    ask.prompt.push_media(url.as_bytes());
    match data_url(url) {
        Some((media_type, data)) => ask.saw(media_type, base64_bytes(data)),
        None => ask.saw_reference(what, url),
    }
}
