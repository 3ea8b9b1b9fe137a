//! Reads a Responses request and refuses what the provider refuses (OpenAI API reference, read 2026-11).

use super::answer::forged;
use super::ask::{Ask, Choice, Tool, Wrong, base64_bytes, data_url};
use super::chat_ask::fits;
use super::json::{Tree, quoted};

const FIELDS: [&str; 34] = [
    "model",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "temperature",
    "top_p",
    "top_logprobs",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "include",
    "previous_response_id",
    "conversation",
    "store",
    "background",
    "background_options",
    "truncation",
    "context_management",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
    "metadata",
    "moderation",
    "image",
    "access_programs",
    "prompt",
    "stream",
    "stream_options",
];

/// Reads `body`; `before` is what `previous_response_id` stands for.
pub(super) fn read<'a>(
    body: &'a Tree<'a>,
    before: &'a [Tree<'a>],
    lenient: bool,
) -> Result<Ask<'a>, Wrong> {
    check(body, lenient)?;
    let reasoning = body.get("reasoning");
    let include = body.get("include").map(Tree::items).unwrap_or_default();
    let mut ask = Ask {
        model: body.text_of("model").ok_or_else(|| missing("model"))?,
        stream: body.get("stream").is_some_and(Tree::is_true),
        include_usage: true,
        n: 1,
        max_tokens: body.get("max_output_tokens").and_then(Tree::whole),
        one_call: body.get("parallel_tool_calls") == Some(&Tree::Bool(false)),
        thinking: reasoning.and_then(|r| effort(r.text_of("effort").unwrap_or("medium"))),
        thinking_shown: reasoning.is_some_and(|r| r.get("summary").is_some()),
        ..Ask::default()
    };
    let more = &mut ask.responses;
    more.store = body.get("store") != Some(&Tree::Bool(false));
    more.background = body.get("background").is_some_and(Tree::is_true);
    more.previous = body.text_of("previous_response_id");
    more.encrypted = include
        .iter()
        .any(|i| i.text() == Some("reasoning.encrypted_content"));
    more.echo = echo(body);
    if more.background && !more.store {
        return Err(Wrong::new(
            "background",
            "invalid_value",
            "Background mode requires `store` to be true.",
        ));
    }
    for key in ["prompt_cache_key", "service_tier"] {
        ask.scope
            .extend_from_slice(body.text_of(key).unwrap_or("").as_bytes());
        ask.scope.push(0);
    }
    ask.prompt
        .vary_by(body, &["parallel_tool_calls", "reasoning", "text"]);
    tools(body, &mut ask)?;
    format(body, &mut ask)?;
    if let Some(text) = body.text_of("instructions") {
        ask.prompt.push(b"developer");
        ask.prompt.push(text.as_bytes());
    }
    for (place, one) in before.iter().enumerate() {
        remember(one, &mut ask);
        item(place, one, &mut ask)?;
    }
    input(body, &mut ask)?;
    Ok(ask)
}

fn missing(field: &str) -> Wrong {
    Wrong::new(
        field,
        "missing_required_parameter",
        format!("Missing required parameter: '{field}'."),
    )
}

fn invalid(field: &str, message: String) -> Wrong {
    Wrong::new(field, "invalid_value", message)
}

fn check(body: &Tree<'_>, lenient: bool) -> Result<(), Wrong> {
    if !matches!(body, Tree::Object(_)) {
        return Err(Wrong::plain(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
        ));
    }
    for (key, _) in body.entries() {
        if !lenient && !FIELDS.contains(&&**key) {
            return Err(Wrong::new(
                key,
                "unknown_parameter",
                format!("Unknown parameter: '{key}'."),
            ));
        }
    }
    let both = body.get("previous_response_id").is_some() && body.get("conversation").is_some();
    if both {
        return Err(Wrong::new(
            "previous_response_id",
            "mutually_exclusive_parameters",
            "Mutually exclusive parameters: 'previous_response_id' and 'conversation'.",
        ));
    }
    for (key, high) in [("temperature", 2.0), ("top_p", 1.0)] {
        if let Some(number) = body.get(key).and_then(Tree::number)
            && !(0.0..=high).contains(&number)
        {
            return Err(Wrong::new(
                key,
                "decimal_above_max_value",
                format!(
                    "Invalid '{key}': decimal above maximum value. Expected a value <= {high}, but got {number} instead."
                ),
            ));
        }
    }
    if let Some(most) = body.get("max_output_tokens")
        // The least that is taken is 16 (OpenAI API reference, read 2026-11).
        && most.whole().is_none_or(|n| n < 16)
    {
        return Err(Wrong::new(
            "max_output_tokens",
            "integer_below_min_value",
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16.",
        ));
    }
    Ok(())
}

/// Tokens of reasoning by effort, as for Chat.
fn effort(name: &str) -> Option<u64> {
    match name {
        "none" => None,
        "minimal" => Some(4),
        "low" => Some(8),
        "medium" => Some(16),
        _ => Some(32),
    }
}

/// The members of the answer that say what was asked, at their defaults where nothing was.
fn echo(body: &Tree<'_>) -> String {
    let defaults = [
        ("instructions", "null"),
        ("max_output_tokens", "null"),
        ("max_tool_calls", "null"),
        ("metadata", "{}"),
        ("parallel_tool_calls", "true"),
        ("previous_response_id", "null"),
        ("prompt_cache_key", "null"),
        ("safety_identifier", "null"),
        ("store", "true"),
        ("temperature", "1.0"),
        ("tool_choice", "\"auto\""),
        ("tools", "[]"),
        ("top_logprobs", "0"),
        ("top_p", "1.0"),
        ("truncation", "\"disabled\""),
        ("user", "null"),
    ];
    let mut out = Vec::new();
    for (key, default) in defaults {
        out.extend_from_slice(format!("\"{key}\":").as_bytes());
        match body.get(key) {
            Some(value) => value.write(&mut out, ""),
            None => out.extend_from_slice(default.as_bytes()),
        }
        out.push(b',');
    }
    let within = |outer: &str, inner: &str, default: &str| {
        let mut written = Vec::new();
        match body.get(outer).and_then(|o| o.get(inner)) {
            Some(value) => value.write(&mut written, ""),
            None => written.extend_from_slice(default.as_bytes()),
        }
        String::from_utf8(written).expect("JSON is written from strings only")
    };
    out.extend_from_slice(
        format!(
            "\"reasoning\":{{\"effort\":{},\"summary\":{}}},\"text\":{{\"format\":{},\"verbosity\":{}}},",
            within("reasoning", "effort", "null"),
            within("reasoning", "summary", "null"),
            within("text", "format", "{\"type\":\"text\"}"),
            within("text", "verbosity", "\"medium\""),
        )
        .as_bytes(),
    );
    String::from_utf8(out).expect("JSON is written from strings only")
}

fn tools<'a>(body: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    let tools = body.get("tools").map(Tree::items).unwrap_or_default();
    for (place, tool) in tools.iter().enumerate() {
        let kind = tool.text_of("type");
        let kind = kind.ok_or_else(|| missing(&format!("tools[{place}].type")))?;
        ask.prompt.push_tree(tool);
        // Hosted tools are taken and never used.
        if !matches!(kind, "function" | "custom") {
            continue;
        }
        let name = tool.text_of("name");
        ask.tools.push(Tool {
            name: name.ok_or_else(|| missing(&format!("tools[{place}].name")))?,
            schema: tool.get("parameters"),
            custom: kind == "custom",
        });
    }
    ask.choice = match body.get("tool_choice") {
        Some(Tree::Text(word)) if word == "none" => Choice::Never,
        Some(Tree::Text(word)) if word == "required" => Choice::Any,
        Some(choice @ Tree::Object(_)) => match (choice.text_of("name"), choice.text_of("mode")) {
            (Some(name), _) => Choice::Named(name),
            (None, Some("auto")) => Choice::Auto,
            (None, _) => Choice::Any,
        },
        _ => Choice::Auto,
    };
    Ok(())
}

fn format<'a>(body: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    let Some(format) = body.get("text").and_then(|t| t.get("format")) else {
        return Ok(());
    };
    match format.text_of("type") {
        Some("text") => {}
        Some("json_object") => ask.json_object = true,
        Some("json_schema") => {
            for field in ["name", "schema"] {
                if format.get(field).is_none() {
                    return Err(missing(&format!("text.format.{field}")));
                }
            }
            ask.schema = format.get("schema");
        }
        _ => {
            return Err(invalid(
                "text.format.type",
                "Invalid value: 'text.format.type'. Supported values are: 'json_object', 'json_schema', and 'text'.".to_owned(),
            ));
        }
    }
    Ok(())
}

fn input<'a>(body: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    match body.get("input") {
        Some(Tree::Text(text)) => {
            let message = format!(
                "{{\"type\":\"message\",\"role\":\"user\",\"content\":[{{\"type\":\"input_text\",\"text\":{}}}]}}",
                quoted(text)
            );
            remember_bytes(message.as_bytes(), ask);
            ask.turn();
            ask.prompt.push(b"user");
            part_text("user", text, ask);
            Ok(())
        }
        Some(Tree::List(items)) if !items.is_empty() => {
            for (place, one) in items.iter().enumerate() {
                remember(one, ask);
                item(place, one, ask)?;
            }
            Ok(())
        }
        None if ask.responses.previous.is_some() || body.get("prompt").is_some() => Ok(()),
        Some(Tree::List(_)) => Err(Wrong::new(
            "input",
            "empty_array",
            "Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        )),
        _ => Err(missing("input")),
    }
}

fn remember(item: &Tree<'_>, ask: &mut Ask<'_>) {
    let mut written = Vec::new();
    item.write(&mut written, "");
    remember_bytes(&written, ask);
}

fn remember_bytes(item: &[u8], ask: &mut Ask<'_>) {
    if !ask.responses.conversation.is_empty() {
        ask.responses.conversation.push(b',');
    }
    ask.responses.conversation.extend_from_slice(item);
}

/// Characters of a call's id that this API takes; only its refusals say so (NousResearch/hermes-agent pull request 72006, read 2026-11).
const CALL_ID_MAX: usize = 64;

fn item(place: usize, item: &Tree<'_>, ask: &mut Ask<'_>) -> Result<(), Wrong> {
    let place = format!("input[{place}]");
    let need = |key: &str| {
        let value = item.get(key);
        value.ok_or_else(|| missing(&format!("{place}.{key}")))
    };
    match item.text_of("type").unwrap_or("message") {
        "message" => message(&place, item, ask)?,
        "function_call" | "custom_tool_call" => {
            fits(&format!("{place}.call_id"), need("call_id")?, CALL_ID_MAX)?;
            need("name")?;
            ask.results.clear();
            ask.prompt.push_tree(item);
        }
        "function_call_output" | "custom_tool_call_output" => {
            fits(&format!("{place}.call_id"), need("call_id")?, CALL_ID_MAX)?;
            ask.prompt.push_tree(need("call_id")?);
            match need("output")? {
                Tree::Text(text) => part_text("tool", text, ask),
                list => {
                    for (at, one) in list.items().iter().enumerate() {
                        part(&format!("{place}.output[{at}]"), "tool", one, ask)?;
                    }
                }
            }
        }
        "reasoning" => {
            let sealed = item.text_of("encrypted_content");
            let summary = item.get("summary").map(Tree::items).unwrap_or_default();
            let text: String = summary.iter().filter_map(|s| s.text_of("text")).collect();
            // Nothing but what we sealed ourselves can be told from the real thing.
            if sealed.is_some_and(|s| !s.is_empty() && forged(&text, s)) {
                return Err(Wrong::new(
                    &format!("{place}.encrypted_content"),
                    "invalid_encrypted_content",
                    "The encrypted content could not be verified.",
                ));
            }
            ask.prompt.push_tree(item);
        }
        // Everything else is history of hosted tools.
        _ => ask.prompt.push_tree(item),
    }
    Ok(())
}

fn message(place: &str, message: &Tree<'_>, ask: &mut Ask<'_>) -> Result<(), Wrong> {
    let role = message.text_of("role");
    let role = role.ok_or_else(|| missing(&format!("{place}.role")))?;
    ask.prompt.push(role.as_bytes());
    match role {
        "user" => ask.turn(),
        "assistant" => ask.results.clear(),
        "system" | "developer" => {}
        _ => {
            return Err(invalid(
                &format!("{place}.role"),
                format!(
                    "Invalid value: '{role}'. Supported values are: 'assistant', 'system', 'developer', and 'user'."
                ),
            ));
        }
    }
    match message.get("content") {
        Some(Tree::Text(text)) => part_text(role, text, ask),
        Some(Tree::List(parts)) => {
            for (at, one) in parts.iter().enumerate() {
                part(&format!("{place}.content[{at}]"), role, one, ask)?;
            }
        }
        _ => return Err(missing(&format!("{place}.content"))),
    }
    Ok(())
}

fn part_text(role: &str, text: &str, ask: &mut Ask<'_>) {
    ask.prompt.push(text.as_bytes());
    match role {
        "user" => ask.heard(text),
        "tool" => ask.results.push(text.to_owned()),
        _ => {}
    }
}

fn part(place: &str, role: &str, part: &Tree<'_>, ask: &mut Ask<'_>) -> Result<(), Wrong> {
    let kind = part.text_of("type");
    let kind = kind.ok_or_else(|| missing(&format!("{place}.type")))?;
    let need = |keys: [&'static str; 3]| {
        let value = keys.iter().find_map(|key| part.text_of(key));
        value.ok_or_else(|| missing(&format!("{place}.{}", keys[0])))
    };
    match (kind, role) {
        ("input_text", "user" | "system" | "developer" | "tool") | ("output_text", "assistant") => {
            part_text(role, need(["text"; 3])?, ask);
        }
        ("refusal", "assistant") => part_text(role, need(["refusal"; 3])?, ask),
        ("input_image", "user" | "tool") => {
            media("image", need(["image_url", "file_id", "file_id"])?, ask);
        }
        ("input_file", "user" | "tool") => {
            media("file", need(["file_id", "file_data", "file_url"])?, ask);
        }
        ("input_audio", "user") => {
            let inner = part.get("input_audio").unwrap_or(part);
            let data = inner.text_of("data").unwrap_or("");
            ask.prompt.push_media(data.as_bytes());
            let format = inner.text_of("format").unwrap_or("wav");
            ask.saw(&format!("audio/{format}"), base64_bytes(data));
        }
        _ => {
            return Err(invalid(
                place,
                format!(
                    "Invalid value: '{kind}'. Supported values are: 'input_text', 'input_image', 'output_text', 'refusal', 'input_file', and 'input_audio'."
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
