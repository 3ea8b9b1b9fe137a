//! Reads a Converse request and refuses what Bedrock refuses (Bedrock service model and docs, read 2026-11).

use super::ask::{Ask, Choice, Tool, Wrong, base64_bytes};
use super::json::Tree;
use super::prompt::Ttl;

const FIELDS: [&str; 13] = [
    "messages",
    "system",
    "inferenceConfig",
    "toolConfig",
    "guardrailConfig",
    "additionalModelRequestFields",
    "additionalModelResponseFieldPaths",
    "requestMetadata",
    "performanceConfig",
    "serviceTier",
    "promptVariables",
    "outputConfig",
    "modelId",
];

/// The schema of the answer, which Converse has as JSON within a string (Bedrock docs, read 2026-11).
pub(super) fn schema<'a>(body: &'a Tree<'_>) -> Option<&'a str> {
    let format = body.get("outputConfig")?.get("textFormat")?;
    let schema = format.get("structure")?.get("jsonSchema")?;
    schema.text_of("schema")
}

/// Reads `body` for `model`, which the path names.
pub(super) fn read<'a>(body: &'a Tree<'a>, model: &'a str, stream: bool) -> Result<Ask<'a>, Wrong> {
    let Tree::Object(entries) = body else {
        return Err(Wrong::plain(
            "Malformed input request, please reformat your input and try again.",
        ));
    };
    if let Some((key, _)) = entries.iter().find(|(key, _)| !FIELDS.contains(&&**key)) {
        return Err(Wrong::plain(format!("Unexpected field: {key}")));
    }
    let inference = body.get("inferenceConfig");
    let inferred = |key: &str| inference.and_then(|i| i.get(key));
    let mut ask = Ask {
        model,
        stream,
        include_usage: true,
        n: 1,
        max_tokens: inferred("maxTokens").and_then(Tree::whole),
        ..Ask::default()
    };
    let stops = inferred("stopSequences")
        .map(Tree::items)
        .unwrap_or_default();
    ask.stops.extend(stops.iter().filter_map(Tree::text));
    for key in ["temperature", "topP"] {
        if inferred(key)
            .and_then(Tree::number)
            .is_some_and(|n| !(0.0..=1.0).contains(&n))
        {
            return Err(Wrong::plain(format!(
                "1 validation error detected: Value at 'inferenceConfig.{key}' failed to satisfy constraint: Member must have value less than or equal to 1"
            )));
        }
    }
    thinking(body, &mut ask);
    tools(body, &mut ask)?;
    for block in body.get("system").map(Tree::items).unwrap_or_default() {
        match (block.text_of("text"), block.get("cachePoint")) {
            (Some(text), _) => piece("system", text, &mut ask),
            (None, Some(point)) => mark(point, &mut ask)?,
            (None, None) => ask.prompt.push_tree(block),
        }
    }
    let messages = body.get("messages").map(Tree::items).unwrap_or_default();
    match messages.first().map(|m| m.text_of("role")) {
        Some(Some("user")) => {}
        _ => {
            return Err(Wrong::plain(
                "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
            ));
        }
    }
    for (place, message) in messages.iter().enumerate() {
        read_message(place, message, &mut ask)?;
    }
    Ok(ask)
}

fn thinking(body: &Tree<'_>, ask: &mut Ask<'_>) {
    let thinking = body
        .get("additionalModelRequestFields")
        .and_then(|f| f.get("thinking"));
    if let Some("enabled" | "adaptive") = thinking.and_then(|t| t.text_of("type")) {
        (ask.thinking, ask.thinking_shown) = (Some(16), true);
    }
}

fn tools<'a>(body: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    let Some(config) = body.get("toolConfig") else {
        return Ok(());
    };
    for tool in config.get("tools").map(Tree::items).unwrap_or_default() {
        if let Some(point) = tool.get("cachePoint") {
            mark(point, ask)?;
            continue;
        }
        let spec = tool.get("toolSpec").unwrap_or(tool);
        ask.tools.push(Tool {
            name: spec.text_of("name").ok_or_else(|| {
                Wrong::plain("1 validation error detected: Value null at 'toolConfig.tools.1.member.toolSpec.name' failed to satisfy constraint: Member must not be null")
            })?,
            schema: spec.get("inputSchema").and_then(|s| s.get("json")),
            custom: false,
        });
        ask.prompt.push_tree(tool);
        ask.prompt.end_piece(None, true);
    }
    let choice = config.get("toolChoice");
    let named = choice
        .and_then(|c| c.get("tool"))
        .and_then(|t| t.text_of("name"));
    ask.choice = match named {
        Some(name) => Choice::Named(name),
        None if choice.is_some_and(|c| c.get("any").is_some()) => Choice::Any,
        None => Choice::Auto,
    };
    Ok(())
}

fn piece(role: &str, text: &str, ask: &mut Ask<'_>) {
    ask.prompt.vary(role.as_bytes());
    ask.prompt.push(text.as_bytes());
    ask.prompt.end_piece(None, !text.is_empty());
}

/// A cache point marks what stands before it.
fn mark(point: &Tree<'_>, ask: &mut Ask<'_>) -> Result<(), Wrong> {
    let ttl = match point.text_of("ttl") {
        Some("1h") => Ttl::OneHour,
        _ => Ttl::FiveMinutes,
    };
    let marked = ask
        .prompt
        .pieces
        .iter()
        .filter(|p| p.mark.is_some())
        .count();
    if marked >= 4 {
        return Err(Wrong::plain(
            "You've exceeded the maximum number of cache points: 4.",
        ));
    }
    match ask.prompt.pieces.last_mut() {
        Some(last) => last.mark = Some(ttl),
        None => return Err(Wrong::plain("cachePoint cannot be the first block.")),
    }
    Ok(())
}

fn read_message(place: usize, message: &Tree<'_>, ask: &mut Ask<'_>) -> Result<(), Wrong> {
    let role = message.text_of("role").unwrap_or("");
    match role {
        "user" => ask.turn(),
        "assistant" | "system" => {}
        _ => {
            return Err(Wrong::plain(format!(
                "1 validation error detected: Value '{role}' at 'messages.{}.member.role' failed to satisfy constraint: Member must satisfy enum value set: [user, assistant, system]",
                place + 1
            )));
        }
    }
    let blocks = message.get("content").map(Tree::items).unwrap_or_default();
    if blocks.is_empty() {
        return Err(Wrong::plain(format!(
            "The content field in the Message object at messages.{place} is empty. Add a ContentBlock object to the content field and try again."
        )));
    }
    for block in blocks {
        read_block(role, block, ask)?;
    }
    Ok(())
}

fn read_block(role: &str, block: &Tree<'_>, ask: &mut Ask<'_>) -> Result<(), Wrong> {
    if let Some(point) = block.get("cachePoint") {
        return mark(point, ask);
    }
    if let Some(text) = block.text_of("text") {
        piece(role, text, ask);
        if role == "user" {
            ask.heard(text);
        }
        return Ok(());
    }
    let media = ["image", "document", "video", "audio"];
    let (kind, inner) = match block.entries().first() {
        Some((kind, inner)) => (&**kind, inner),
        None => return Err(Wrong::plain("The ContentBlock object is empty.")),
    };
    if media.contains(&kind) {
        source(kind, inner, ask);
    } else if kind == "toolResult" {
        result(inner, ask);
    } else {
        ask.prompt.push_tree(block);
    }
    ask.prompt.vary(role.as_bytes());
    ask.prompt.end_piece(None, kind != "reasoningContent");
    Ok(())
}

fn source(kind: &str, inner: &Tree<'_>, ask: &mut Ask<'_>) {
    let format = inner.text_of("format").unwrap_or(kind);
    let source = inner.get("source").unwrap_or(&Tree::Null);
    let whole = match (kind, format) {
        ("document", "pdf") => "application/pdf".to_owned(),
        ("document", other) => format!("text/{other}"),
        (kind, other) => format!("{kind}/{other}"),
    };
    match (source.text_of("bytes"), source.text_of("text")) {
        (Some(data), _) => {
            ask.prompt.push_media(data.as_bytes());
            ask.saw(&whole, base64_bytes(data));
        }
        (None, Some(text)) => {
            ask.prompt.push(text.as_bytes());
            ask.saw(&whole, text.len());
        }
        (None, None) => {
            let uri = source.get("s3Location").and_then(|s| s.text_of("uri"));
            ask.prompt.push_media(uri.unwrap_or("").as_bytes());
            ask.saw_reference(kind, uri.unwrap_or(""));
        }
    }
}

fn result(inner: &Tree<'_>, ask: &mut Ask<'_>) {
    let mut said = Vec::new();
    for part in inner.get("content").map(Tree::items).unwrap_or_default() {
        match (part.text_of("text"), part.get("json")) {
            (Some(text), _) => said.push(text.to_owned()),
            (None, Some(json)) => {
                let mut written = Vec::new();
                json.write(&mut written, "");
                said.push(String::from_utf8_lossy(&written).into_owned());
            }
            (None, None) => {
                for (kind, media) in part.entries() {
                    source(kind, media, ask);
                }
            }
        }
    }
    let said = said.join(" ");
    ask.prompt.push(said.as_bytes());
    ask.results.push(said);
}
