//! Reads a `generateContent` request and refuses what Google refuses (Gemini API reference, read 2026-11). Names are taken in both
//! spellings, as protobuf's JSON takes them.

use super::answer::{forged, is_google_id, is_ours};
use super::ask::{Ask, Choice, Tool, Wrong, base64_bytes};
use super::json::Tree;

/// The member `camel` of `tree`, or its snake-case spelling.
pub(super) fn either<'a>(tree: &'a Tree<'a>, camel: &str) -> Option<&'a Tree<'a>> {
    tree.get(camel).or_else(|| {
        let mut snake = String::new();
        for letter in camel.chars() {
            if letter.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        tree.get(&snake)
    })
}

const FIELDS: [&str; 12] = [
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "generationConfig",
    "safetySettings",
    "cachedContent",
    "labels",
    "serviceTier",
    "store",
    "model",
    "modelArmorConfig",
];

/// Reads `body` for `model`, which the path names.
pub(super) fn read<'a>(body: &'a Tree<'a>, model: &'a str, stream: bool) -> Result<Ask<'a>, Wrong> {
    check(body)?;
    let mut ask = Ask {
        model,
        stream,
        include_usage: true,
        n: 1,
        ..Ask::default()
    };
    config(body, &mut ask)?;
    tools(body, &mut ask)?;
    if let Some(name) = either(body, "cachedContent").and_then(Tree::text) {
        let stands_in_it = ["systemInstruction", "tools", "toolConfig"];
        if stands_in_it.iter().any(|f| either(body, f).is_some()) {
            return Err(Wrong::plain(
                "CachedContent can not be used with GenerateContent request setting system_instruction, tools or tool_config.",
            ));
        }
        ask.kept = Some(name);
    }
    instruction(body, &mut ask);
    contents(body, &mut ask)?;
    Ok(ask)
}

/// Reads a prefix that shall be kept for `model`: what a request has, but for what steers an answer.
pub(super) fn prefix<'a>(body: &'a Tree<'a>, model: &'a str) -> Result<Ask<'a>, Wrong> {
    let mut ask = Ask {
        model,
        n: 1,
        ..Ask::default()
    };
    tools(body, &mut ask)?;
    instruction(body, &mut ask);
    contents(body, &mut ask)?;
    Ok(ask)
}

fn instruction(body: &Tree<'_>, ask: &mut Ask<'_>) {
    let Some(system) = either(body, "systemInstruction") else {
        return;
    };
    ask.prompt.push(b"system");
    match system.get("parts").unwrap_or(system) {
        Tree::List(parts) => {
            for part in parts {
                let text = part.text_of("text").unwrap_or("");
                ask.prompt.push(text.as_bytes());
            }
        }
        part => {
            let text = part.text_of("text").or(part.text()).unwrap_or("");
            ask.prompt.push(text.as_bytes());
        }
    }
}

fn contents<'a>(body: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    let contents = body.get("contents").map(Tree::items).unwrap_or_default();
    // What is signed is checked in the turn under way only: after the last words of the user.
    let turn = contents.iter().rposition(says_something).unwrap_or(0);
    for (place, content) in contents.iter().enumerate() {
        read_content(place, content, place > turn, ask)?;
    }
    Ok(())
}

fn says_something(content: &Tree<'_>) -> bool {
    let parts = content.get("parts").map(Tree::items).unwrap_or_default();
    content.text_of("role") != Some("model") && parts.iter().any(|p| p.get("text").is_some())
}

fn check(body: &Tree<'_>) -> Result<(), Wrong> {
    let Tree::Object(entries) = body else {
        return Err(Wrong::plain(
            "Invalid JSON payload received. Expected a message object.",
        ));
    };
    for (key, _) in entries {
        let known = FIELDS.iter().any(|f| {
            f == key
                || either(body, f)
                    .is_some_and(|v| body.get(key).is_some_and(|k| std::ptr::eq(k, v)))
        });
        if !known {
            return Err(Wrong::plain(format!(
                "Invalid JSON payload received. Unknown name \"{key}\": Cannot find field."
            )));
        }
    }
    match body.get("contents") {
        Some(Tree::List(list)) if !list.is_empty() => Ok(()),
        _ => Err(Wrong::plain(
            "* GenerateContentRequest.contents: contents is not specified",
        )),
    }
}

fn config<'a>(body: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    let Some(config) = either(body, "generationConfig") else {
        return Ok(());
    };
    ask.max_tokens = either(config, "maxOutputTokens").and_then(Tree::whole);
    if let Some(count) = either(config, "candidateCount").and_then(Tree::whole) {
        if !(1..=8).contains(&count) {
            return Err(Wrong::plain(
                "* GenerateContentRequest.generation_config.candidate_count: must be between 1 and 8",
            ));
        }
        ask.n = count as usize;
    }
    let stops = either(config, "stopSequences")
        .map(Tree::items)
        .unwrap_or_default();
    if stops.len() > 5 {
        return Err(Wrong::plain(
            "* GenerateContentRequest.generation_config.stop_sequences: at most 5 are allowed",
        ));
    }
    ask.stops.extend(stops.iter().filter_map(Tree::text));
    if let Some(number) = config.get("temperature").and_then(Tree::number)
        && !(0.0..=2.0).contains(&number)
    {
        return Err(Wrong::plain(format!(
            "* GenerateContentRequest.generation_config.temperature: {number} is out of the range from 0.0 to 2.0"
        )));
    }
    ask.schema = either(config, "responseJsonSchema").or_else(|| either(config, "responseSchema"));
    let kind = either(config, "responseMimeType").and_then(Tree::text);
    ask.json_object = kind == Some("application/json") && ask.schema.is_none();
    let wanted = either(config, "responseModalities")
        .map(Tree::items)
        .unwrap_or_default();
    ask.draws = wanted.iter().any(|m| m.text() == Some("IMAGE"));
    ask.prompt
        .vary_by(config, &["responseSchema", "responseJsonSchema"]);
    thinking(config, ask)
}

fn thinking(config: &Tree<'_>, ask: &mut Ask<'_>) -> Result<(), Wrong> {
    let Some(thinking) = either(config, "thinkingConfig") else {
        return Ok(());
    };
    let (level, budget) = (
        either(thinking, "thinkingLevel").and_then(Tree::text),
        either(thinking, "thinkingBudget").and_then(Tree::number),
    );
    if level.is_some() && budget.is_some() {
        return Err(Wrong::plain(
            "You can only set one of thinking budget and thinking level.",
        ));
    }
    ask.thinking_shown = either(thinking, "includeThoughts").is_some_and(Tree::is_true);
    ask.thinking = match (level.map(str::to_ascii_uppercase).as_deref(), budget) {
        (Some("MINIMAL"), _) => Some(4),
        (Some("LOW"), _) => Some(8),
        (Some("MEDIUM"), _) => Some(16),
        (Some(_), _) => Some(32),
        (None, Some(0.0)) => None,
        (None, Some(_)) => Some(16),
        (None, None) => ask.thinking_shown.then_some(16),
    };
    Ok(())
}

fn tools<'a>(body: &'a Tree<'a>, ask: &mut Ask<'a>) -> Result<(), Wrong> {
    for tool in body.get("tools").map(Tree::items).unwrap_or_default() {
        ask.prompt.push_tree(tool);
        let declared = either(tool, "functionDeclarations")
            .map(Tree::items)
            .unwrap_or_default();
        for one in declared {
            let name = one.text_of("name").filter(|n| !n.is_empty());
            ask.tools.push(Tool {
                name: name.ok_or_else(|| {
                    Wrong::plain("* GenerateContentRequest.tools[0].function_declarations[0].name: [FIELD_INVALID] Invalid function name. Must start with a letter or an underscore.")
                })?,
                schema: either(one, "parametersJsonSchema").or_else(|| one.get("parameters")),
                custom: false,
            });
        }
    }
    let config = either(body, "toolConfig").and_then(|c| either(c, "functionCallingConfig"));
    let allowed = config
        .and_then(|c| either(c, "allowedFunctionNames"))
        .map(Tree::items);
    let first = allowed.and_then(|a| a.first()?.text());
    ask.choice = match (config.and_then(|c| c.text_of("mode")), first) {
        (Some("NONE"), _) => Choice::Never,
        (Some("ANY"), Some(name)) => Choice::Named(name),
        (Some("ANY"), None) => Choice::Any,
        _ => Choice::Auto,
    };
    Ok(())
}

fn read_content<'a>(
    place: usize,
    content: &'a Tree<'a>,
    current: bool,
    ask: &mut Ask<'a>,
) -> Result<(), Wrong> {
    let role = content.text_of("role").unwrap_or("user");
    let parts = content.get("parts").map(Tree::items).unwrap_or_default();
    ask.prompt.push(role.as_bytes());
    match role {
        "user" | "function" => {
            if parts
                .iter()
                .any(|p| either(p, "functionResponse").is_none())
            {
                ask.turn();
            }
        }
        "model" => ask.results.clear(),
        _ => {
            return Err(Wrong::plain("Please use a valid role: user, model."));
        }
    }
    if parts.is_empty() {
        return Err(Wrong::plain(format!(
            "* GenerateContentRequest.contents[{place}].parts: contents.parts must not be empty."
        )));
    }
    signatures(place, role, parts, current, ask)?;
    for (at, part) in parts.iter().enumerate() {
        read_part(&format!("contents[{place}].parts[{at}]"), role, part, ask)?;
    }
    Ok(())
}

/// From the third generation on the first call of a step carries a signature (Gemini docs on thought signatures, read 2026-11). Google takes its
/// word for a lost one with any call; here a call that we signed ourselves needs ours, so that who loses it on the way is found out.
fn signatures(
    place: usize,
    role: &str,
    parts: &[Tree<'_>],
    current: bool,
    ask: &Ask<'_>,
) -> Result<(), Wrong> {
    let strict = ["gemini-3", "gemini-4"]
        .iter()
        .any(|g| ask.model.starts_with(g));
    let first = parts
        .iter()
        .position(|p| either(p, "functionCall").is_some());
    let signed = |part: &Tree<'_>| {
        let signature = either(part, "thoughtSignature").and_then(Tree::text);
        signature.is_some_and(|s| is_ours(&alphabet(s)) || !is_own_call(part))
    };
    if let Some(at) =
        first.filter(|&at| strict && current && role == "model" && !signed(&parts[at]))
    {
        return Err(Wrong::plain(format!(
            "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Additional data, function call `default_api` , position {}.",
            place + at
        )));
    }
    let forged = |part: &Tree<'_>| {
        let sealed = either(part, "thoughtSignature").and_then(Tree::text);
        sealed.is_some_and(|s| forged(&signed_text(part), &alphabet(s)))
    };
    if parts.iter().any(forged) {
        return Err(Wrong::plain("Corrupted thought signature."));
    }
    Ok(())
}

/// Both alphabets of base64 are taken, as protobuf's JSON takes them.
fn alphabet(signature: &str) -> String {
    signature.replace('-', "+").replace('_', "/")
}

/// Whether we made the call of a part: with the first call of a step we gave a signature.
fn is_own_call(part: &Tree<'_>) -> bool {
    let id = either(part, "functionCall").and_then(|c| c.text_of("id"));
    id.is_some_and(is_google_id)
}

/// What our signature of a part is made of: the call's name, or nothing.
fn signed_text(part: &Tree<'_>) -> String {
    let call = either(part, "functionCall");
    call.and_then(|c| c.text_of("name"))
        .unwrap_or("")
        .to_owned()
}

fn read_part(place: &str, role: &str, part: &Tree<'_>, ask: &mut Ask<'_>) -> Result<(), Wrong> {
    if let Some(text) = part.text_of("text") {
        ask.prompt.push(text.as_bytes());
        if role != "model" {
            ask.heard(text);
        }
        return Ok(());
    }
    if let Some(inline) = either(part, "inlineData") {
        let data = inline.text_of("data").unwrap_or("");
        let kind = either(inline, "mimeType").and_then(Tree::text);
        let kind = kind.ok_or_else(|| {
            Wrong::plain(format!(
                "* GenerateContentRequest.{place}.inline_data.mime_type: must not be empty"
            ))
        })?;
        ask.prompt.push_media(data.as_bytes());
        if role != "model" {
            ask.saw(kind, base64_bytes(data));
        }
        return Ok(());
    }
    if let Some(file) = either(part, "fileData") {
        let uri = either(file, "fileUri").and_then(Tree::text).unwrap_or("");
        ask.prompt.push_media(uri.as_bytes());
        ask.saw_reference("file", uri);
        return Ok(());
    }
    if let Some(response) = either(part, "functionResponse") {
        ask.prompt.push_tree(response);
        let inner = response.get("response").unwrap_or(&Tree::Null);
        let told = inner.text_of("output").or_else(|| inner.text_of("result"));
        let mut written = Vec::new();
        inner.write(&mut written, "");
        let whole = String::from_utf8_lossy(&written).into_owned();
        ask.results.push(told.map_or(whole, str::to_owned));
        return Ok(());
    }
    let known = [
        "functionCall",
        "executableCode",
        "codeExecutionResult",
        "toolCall",
        "toolResponse",
    ];
    if known.iter().any(|k| either(part, k).is_some()) {
        ask.prompt.push_tree(part);
        return Ok(());
    }
    Err(Wrong::plain(format!(
        "* GenerateContentRequest.{place}.data: required oneof field 'data' must have one initialized field"
    )))
}

/// Of a body of `:countTokens`, the request whose tokens are counted.
pub(super) fn counted<'a>(body: &'a Tree<'a>) -> &'a Tree<'a> {
    either(body, "generateContentRequest").unwrap_or(body)
}
