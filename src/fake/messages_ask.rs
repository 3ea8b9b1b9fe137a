//! Reads a Messages request and refuses what the provider refuses (Anthropic API reference, read 2026-08).

use super::answer::forged;
use super::ask::{Ask, Choice, Tool, Wrong, base64_bytes};
use super::json::Tree;
use super::prompt::Ttl;
use super::route::Platform;

const FIELDS: [&str; 20] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "stream",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
    "metadata",
    "service_tier",
    "inference_geo",
    "speed",
    "container",
    "diagnostics",
];

/// Reads the body of a call to create (`counting` is false) or to count.
pub(super) fn read<'a>(
    body: &'a Tree<'a>,
    version: &str,
    counting: bool,
) -> Result<Ask<'a>, Wrong> {
    let required: &[&str] = match counting {
        true => &["model", "messages"],
        false => &["model", "max_tokens", "messages"],
    };
    // Google counts with the version in the body.
    let more: &[&str] = match version.is_empty() {
        true => &["anthropic_version"],
        false => &[],
    };
    check(body, version, required, more)?;
    let model = body.text_of("model");
    let model = model.ok_or_else(|| Wrong::plain("model: Input should be a valid string"))?;
    read_checked(body, model, body.get("stream").is_some_and(Tree::is_true))
}

/// Reads a body whose model and stream stand in the path (Bedrock and Vertex docs, read 2026-11).
pub(super) fn read_in_path<'a>(
    body: &'a Tree<'a>,
    model: &'a str,
    stream: bool,
    platform: Platform,
) -> Result<Ask<'a>, Wrong> {
    let version = body.text_of("anthropic_version").unwrap_or("");
    let (own, more): (_, &[&str]) = match platform {
        Platform::Bedrock => (
            "bedrock-2023-05-31",
            &[
                "anthropic_version",
                "anthropic_beta",
                "safeguards",
                "context_management",
            ],
        ),
        _ => (
            "vertex-2023-10-16",
            &["anthropic_version", "anthropic_beta", "context_management"],
        ),
    };
    if version.is_empty() {
        return Err(Wrong::plain("anthropic_version: Field required"));
    }
    if version != own && version != "2026-10-21" {
        return Err(Wrong::plain(format!(
            "anthropic_version: Input should be '{own}' or '2026-10-21'"
        )));
    }
    let refused: &[&str] = match platform {
        Platform::Bedrock => &[
            "model",
            "stream",
            "service_tier",
            "inference_geo",
            "speed",
            "container",
        ],
        _ => &["model", "service_tier", "inference_geo", "container"],
    };
    if let Some(key) = refused.iter().find(|key| body.get(key).is_some()) {
        return Err(Wrong::plain(format!(
            "{key}: Extra inputs are not permitted"
        )));
    }
    check(body, version, &["max_tokens", "messages"], more)?;
    read_checked(body, model, stream)
}

fn read_checked<'a>(body: &'a Tree<'a>, model: &'a str, stream: bool) -> Result<Ask<'a>, Wrong> {
    let mut ask = Ask {
        model,
        stream,
        include_usage: true,
        n: 1,
        max_tokens: body.get("max_tokens").and_then(Tree::whole),
        ..Ask::default()
    };
    let stops = body
        .get("stop_sequences")
        .map(Tree::items)
        .unwrap_or_default();
    ask.stops.extend(stops.iter().filter_map(Tree::text));
    for key in ["inference_geo", "speed"] {
        ask.scope
            .extend_from_slice(body.text_of(key).unwrap_or("").as_bytes());
        ask.scope.push(0);
    }
    thinking(body, &mut ask)?;
    let format = body.get("output_config").and_then(|c| c.get("format"));
    ask.schema = format.and_then(|f| f.get("schema"));
    ask.prompt.vary_by(
        body.get("output_config").unwrap_or(&Tree::Null),
        &["format"],
    );
    tools(body, &mut ask)?;
    system(body, &mut ask)?;
    ask.prompt.vary_by(body, &["tool_choice", "thinking"]);
    for (place, message) in body
        .get("messages")
        .map(Tree::items)
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        read_message(place, message, &mut ask)?;
    }
    marks(body, &mut ask)?;
    prewarm(body, &ask)?;
    Ok(ask)
}

fn check(body: &Tree<'_>, version: &str, required: &[&str], more: &[&str]) -> Result<(), Wrong> {
    if !matches!(body, Tree::Object(_)) {
        return Err(Wrong::plain(
            "The request body is not valid JSON: expected an object",
        ));
    }
    for field in required {
        if body.get(field).is_none() {
            return Err(Wrong::plain(format!("{field}: Field required")));
        }
    }
    let sampling = ["temperature", "top_p", "top_k"];
    for (key, _) in body.entries() {
        let gone = version == "2026-10-21" && sampling.contains(&&**key);
        if !(FIELDS.contains(&&**key) || more.contains(&&**key)) || gone {
            return Err(Wrong::plain(format!(
                "{key}: Extra inputs are not permitted"
            )));
        }
    }
    for key in ["temperature", "top_p"] {
        match body.get(key).map(|v| v.number()) {
            Some(None) => {
                return Err(Wrong::plain(format!(
                    "{key}: Input should be a valid number"
                )));
            }
            Some(Some(n)) if n > 1.0 => {
                return Err(Wrong::plain(format!(
                    "{key}: Input should be less than or equal to 1"
                )));
            }
            Some(Some(n)) if n < 0.0 => {
                return Err(Wrong::plain(format!(
                    "{key}: Input should be greater than or equal to 0"
                )));
            }
            _ => {}
        }
    }
    if body.get("max_tokens").is_some_and(|v| v.whole().is_none()) {
        return Err(Wrong::plain("max_tokens: Input should be a valid integer"));
    }
    check_messages(body)
}

fn check_messages(body: &Tree<'_>) -> Result<(), Wrong> {
    match body.get("messages") {
        Some(Tree::List(list)) if list.is_empty() => {
            Err(Wrong::plain("messages: at least one message is required"))
        }
        Some(Tree::List(list)) if list.len() > 100_000 => Err(Wrong::plain(
            "messages: at most 100000 messages are allowed",
        )),
        Some(Tree::List(list)) if list[0].text_of("role") == Some("assistant") => Err(
            Wrong::plain("messages: first message must use the \"user\" role"),
        ),
        Some(Tree::List(_)) => Ok(()),
        _ => Err(Wrong::plain("messages: Input should be a valid array")),
    }
}

/// `max_tokens: 0` only fills the cache, and goes with none of these.
fn prewarm(body: &Tree<'_>, ask: &Ask<'_>) -> Result<(), Wrong> {
    let forced = matches!(ask.choice, Choice::Any | Choice::Named(_));
    let budget = body
        .get("thinking")
        .is_some_and(|t| t.text_of("type") == Some("enabled"));
    if ask.max_tokens == Some(0) && (ask.stream || ask.schema.is_some() || forced || budget) {
        return Err(Wrong::plain(
            "max_tokens: 0 is not supported together with stream, enabled thinking, output_config.format or a forced tool_choice",
        ));
    }
    Ok(())
}

fn thinking<'a>(body: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    let Some(thinking) = body.get("thinking") else {
        return Ok(());
    };
    ask.thinking_shown = thinking.text_of("display") != Some("omitted");
    match thinking.text_of("type") {
        Some("enabled") => {
            let budget = thinking.get("budget_tokens").and_then(Tree::whole);
            let budget = budget
                .ok_or_else(|| Wrong::plain("thinking.enabled.budget_tokens: Field required"))?;
            if budget < 1_024 {
                return Err(Wrong::plain(
                    "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
                ));
            }
            if ask.max_tokens.is_some_and(|max| budget >= max) {
                return Err(Wrong::plain(
                    "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size",
                ));
            }
            ask.thinking = Some(16);
        }
        Some("adaptive" | "between_tools") => ask.thinking = Some(16),
        Some("disabled") => {}
        _ => {
            return Err(Wrong::plain(
                "thinking: Input tag does not match any of the expected tags: 'adaptive', 'disabled', 'enabled', 'between_tools'",
            ));
        }
    }
    Ok(())
}

fn mark(block: &Tree<'_>) -> Option<Ttl> {
    match block.get("cache_control")?.text_of("ttl") {
        Some("1h") => Some(Ttl::OneHour),
        _ => Some(Ttl::FiveMinutes),
    }
}

fn tools<'a>(body: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    for (place, tool) in body
        .get("tools")
        .map(Tree::items)
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        let name = tool.text_of("name");
        let name =
            name.ok_or_else(|| Wrong::plain(format!("tools.{place}.custom.name: Field required")))?;
        let server = tool.text_of("type").is_some_and(|t| t != "custom");
        let schema = tool.get("input_schema");
        if schema.is_none() && !server {
            return Err(Wrong::plain(format!(
                "tools.{place}.custom.input_schema: Field required"
            )));
        }
        ask.tools.push(Tool {
            name,
            schema,
            custom: false,
        });
        ask.prompt.push_tree(tool);
        ask.prompt.end_piece(mark(tool), true);
    }
    let choice = body.get("tool_choice");
    ask.one_call = choice
        .and_then(|c| c.get("disable_parallel_tool_use"))
        .is_some_and(Tree::is_true);
    ask.choice = match choice.and_then(|c| c.text_of("type")) {
        Some("none") => Choice::Never,
        Some("any") => Choice::Any,
        Some("tool") => choice
            .and_then(|c| c.text_of("name"))
            .map_or(Choice::Any, Choice::Named),
        _ => Choice::Auto,
    };
    if choice.is_some() && ask.tools.is_empty() {
        return Err(Wrong::plain(
            "tool_choice: may only be specified while providing tools",
        ));
    }
    Ok(())
}

fn system<'a>(body: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    match body.get("system") {
        None => {}
        Some(Tree::Text(text)) => text_piece("system", text, None, ask),
        Some(Tree::List(blocks)) => {
            for (at, block) in blocks.iter().enumerate() {
                let text = block.text_of("text");
                let text =
                    text.ok_or_else(|| Wrong::plain(format!("system.{at}.text: Field required")))?;
                text_piece("system", text, mark(block), ask);
            }
        }
        Some(_) => {
            return Err(Wrong::plain(
                "system: Input should be a valid string or array",
            ));
        }
    }
    Ok(())
}

fn text_piece(role: &str, text: &str, mark: Option<Ttl>, ask: &mut Ask<'_>) {
    ask.prompt.vary(role.as_bytes());
    ask.prompt.push(text.as_bytes());
    ask.prompt.end_piece(mark, !text.is_empty());
}

fn read_message<'a>(place: usize, message: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    let role = message
        .text_of("role")
        .ok_or_else(|| Wrong::plain(format!("messages.{place}.role: Field required")))?;
    match role {
        "user" => ask.turn(),
        "assistant" | "system" => {}
        _ => {
            return Err(Wrong::plain(format!(
                "messages: Unexpected role \"{role}\". Allowed roles are \"user\", \"assistant\" or \"system\"."
            )));
        }
    }
    match message.get("content") {
        Some(Tree::Text(text)) => {
            text_piece(role, text, None, ask);
            if role == "user" {
                ask.heard(text);
            }
        }
        Some(Tree::List(blocks)) => {
            for (at, block) in blocks.iter().enumerate() {
                read_block(&format!("messages.{place}.content.{at}"), role, block, ask)?;
            }
        }
        _ => {
            return Err(Wrong::plain(format!(
                "messages.{place}.content: Field required"
            )));
        }
    }
    Ok(())
}

/// Ids of calls have a pattern (Anthropic API reference, Messages, read 2026-11).
fn fits(place: &str, id: &Tree<'_>) -> Result<(), Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match id.text() {
        Some(id) if !id.is_empty() && id.chars().all(fits) => Ok(()),
        _ => Err(Wrong::plain(format!(
            "{place}: String should match pattern '^[a-zA-Z0-9_-]+$'"
        ))),
    }
}

fn read_block(place: &str, role: &str, block: &Tree<'_>, ask: &mut Ask<'_>) -> Result<(), Wrong> {
    let kind = block
        .text_of("type")
        .ok_or_else(|| Wrong::plain(format!("{place}.type: Field required")))?;
    let need = |key: &str| {
        let value = block.get(key);
        value.ok_or_else(|| Wrong::plain(format!("{place}.{kind}.{key}: Field required")))
    };
    match kind {
        "text" => {
            let text = need("text")?.text().unwrap_or("");
            if text.is_empty() {
                return Err(Wrong::plain(
                    "messages: text content blocks must be non-empty",
                ));
            }
            text_piece(role, text, mark(block), ask);
            if role == "user" {
                ask.heard(text);
            }
            return Ok(());
        }
        "image" | "document" => source(kind, need("source")?, ask),
        "tool_result" => {
            fits(
                &format!("{place}.tool_result.tool_use_id"),
                need("tool_use_id")?,
            )?;
            need("tool_use_id")?.write_into(ask);
            tool_result(block, ask);
        }
        "tool_use" => {
            fits(&format!("{place}.tool_use.id"), need("id")?)?;
            need("input")?;
            ask.prompt.push_tree(block);
        }
        "thinking" => {
            let (text, signature) = (need("thinking")?, need("signature")?);
            if forged(text.text().unwrap_or(""), signature.text().unwrap_or("")) {
                return Err(Wrong::plain(format!(
                    "{place}: Invalid `signature` in `thinking` block"
                )));
            }
            ask.prompt.push_tree(block);
        }
        _ => ask.prompt.push_tree(block),
    }
    let thinks = matches!(kind, "thinking" | "redacted_thinking");
    ask.prompt.vary(role.as_bytes());
    if thinks && mark(block).is_some() {
        return Err(Wrong::plain(format!(
            "{place}.{kind}.cache_control: Extra inputs are not permitted"
        )));
    }
    ask.prompt.end_piece(mark(block), !thinks);
    Ok(())
}

impl Tree<'_> {
    fn write_into(&self, ask: &mut Ask<'_>) {
        ask.prompt.push_tree(self);
    }
}

fn tool_result(block: &Tree<'_>, ask: &mut Ask<'_>) {
    let mut said = Vec::new();
    match block.get("content") {
        Some(Tree::Text(text)) => said.push(&**text),
        Some(Tree::List(parts)) => {
            for part in parts {
                match (part.text_of("text"), part.get("source")) {
                    (Some(text), _) => said.push(text),
                    (None, Some(from)) => {
                        source(part.text_of("type").unwrap_or("image"), from, ask)
                    }
                    (None, None) => ask.prompt.push_tree(part),
                }
            }
        }
        _ => {}
    }
    let said = said.join(" ");
    ask.prompt.push(said.as_bytes());
    ask.results.push(said);
}

fn source(kind: &str, source: &Tree<'_>, ask: &mut Ask<'_>) {
    let media_type = source.text_of("media_type").unwrap_or(kind);
    let data = source.text_of("data").unwrap_or("");
    match source.text_of("type") {
        Some("base64") => {
            ask.prompt.push_media(data.as_bytes());
            ask.saw(media_type, base64_bytes(data));
        }
        Some("text") => {
            ask.prompt.push(data.as_bytes());
            ask.saw(media_type, data.len());
        }
        Some("content") => {
            ask.prompt.push_tree(source);
            ask.media.push(format!("1 {kind} of content"));
        }
        _ => {
            let place = source
                .text_of("url")
                .or_else(|| source.text_of("file_id"))
                .unwrap_or("");
            ask.prompt.push_media(place.as_bytes());
            ask.saw_reference(kind, place);
        }
    }
}

/// Automatic caching, and the rules of breakpoints: at most four, long lives before short ones.
fn marks(body: &Tree<'_>, ask: &mut Ask<'_>) -> Result<(), Wrong> {
    let pieces = &mut ask.prompt.pieces;
    if let Some(ttl) = mark(body)
        && let Some(last) = pieces.iter_mut().rev().find(|p| p.cacheable)
    {
        match last.mark {
            Some(other) if other != ttl => {
                return Err(Wrong::plain(
                    "cache_control: the last block already has a cache_control with a different ttl",
                ));
            }
            _ => last.mark = Some(ttl),
        }
    }
    let marks: Vec<Ttl> = pieces.iter().filter_map(|p| p.mark).collect();
    if marks.len() > 4 {
        return Err(Wrong::plain(format!(
            "A maximum of 4 blocks with cache_control may be provided. Found {}.",
            marks.len()
        )));
    }
    if marks
        .windows(2)
        .any(|pair| pair == [Ttl::FiveMinutes, Ttl::OneHour])
    {
        return Err(Wrong::plain(
            "cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block",
        ));
    }
    Ok(())
}
