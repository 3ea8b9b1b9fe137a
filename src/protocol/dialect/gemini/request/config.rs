//! `generationConfig` → sampling, reasoning and the form of the answer.
//!
//! A member that canon has no word for is kept under its whole path (`generationConfig.speechConfig`), and written back to it.

use super::openapi;
use super::read::extra;
use crate::base::{Str, Tokens};
use crate::canon::{Effort, Fault, OutputFormat, Reasoning, ReasoningMode, Request};
use crate::protocol::dialect::gemini::node::{Members, Node};

pub(super) fn read(node: &Node<'_, '_>, request: &mut Request) -> Result<(), Fault> {
    let members = node.members()?;
    for (name, raw) in &members.0 {
        let field = node.field(name, raw);
        let known = sampling(name, &field, request)?
            || thinking(name, &field, request)?
            || format_member(name)
            || is_text_only(name, &field);
        if !known {
            let path = format!("generationConfig.{name}");
            request.extra.push(extra(&path, &field));
        }
    }
    output_format(node, &members, request)
}

fn sampling(name: &str, node: &Node<'_, '_>, request: &mut Request) -> Result<bool, Fault> {
    let sampling = &mut request.sampling;
    let number = || node.value::<f64>("a number");
    match name {
        "maxOutputTokens" => sampling.max_output = Some(Tokens(node.whole()?)),
        "temperature" => sampling.temperature = Some(number()?),
        "topP" => sampling.top_p = Some(number()?),
        "topK" => sampling.top_k = Some(node.whole()?),
        "stopSequences" => sampling.stop = node.strings()?,
        "seed" => sampling.seed = Some(node.whole()?),
        "presencePenalty" => sampling.presence_penalty = Some(number()?),
        "frequencyPenalty" => sampling.frequency_penalty = Some(number()?),
        "responseLogprobs" => sampling.logprobs = Some(node.value("a boolean")?),
        "logprobs" => sampling.top_logprobs = Some(node.whole()?),
        "candidateCount" => sampling.choices = Some(node.whole()?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Text alone is what every model answers that is not made for images or speech, and several clients always say so.
fn is_text_only(name: &str, node: &Node<'_, '_>) -> bool {
    let wanted: Option<Vec<String>> = node.json().read();
    name == "responseModalities"
        && wanted.is_some_and(|w| w.len() == 1 && w[0].eq_ignore_ascii_case("text"))
}

fn thinking(name: &str, node: &Node<'_, '_>, request: &mut Request) -> Result<bool, Fault> {
    if name != "thinkingConfig" {
        return Ok(false);
    }
    let members = node.members()?;
    let budget = members.get(node, "thinkingBudget");
    let mode = match budget.map(|b| b.whole::<i64>()).transpose()? {
        None => None,
        Some(0) => Some(ReasoningMode::Off),
        // Gemini docs, thinking, read 2026-08: -1 is the model's own choice.
        Some(n) if n < 0 => Some(ReasoningMode::Adaptive),
        Some(n) => Some(ReasoningMode::Budget(Tokens(n.unsigned_abs()))),
    };
    let level = members.string(node, "thinkingLevel")?;
    request.reasoning = Some(Reasoning {
        mode,
        effort: level.and_then(effort),
        // Thoughts are not shown unless asked for.
        shown: Some(members.flag(node, "includeThoughts")?.unwrap_or(false)),
    });
    // With a member that is new the whole goes on as it is.
    Ok(!members.more_than(&["thinkingBudget", "thinkingLevel", "includeThoughts"]))
}

fn effort(word: Str) -> Option<Effort> {
    Some(match &*word.to_ascii_uppercase() {
        "THINKING_LEVEL_UNSPECIFIED" => return None,
        "MINIMAL" => Effort::Minimal,
        "LOW" => Effort::Low,
        "MEDIUM" => Effort::Medium,
        "HIGH" => Effort::High,
        "XHIGH" => Effort::ExtraHigh,
        _ => Effort::Other(word),
    })
}

fn format_member(name: &str) -> bool {
    matches!(
        name,
        "responseMimeType" | "responseSchema" | "responseJsonSchema"
    )
}

fn output_format<'a>(
    node: &Node<'a, '_>,
    members: &Members<'a>,
    request: &mut Request,
) -> Result<(), Fault> {
    let mime = members.string(node, "responseMimeType")?;
    let json_schema = members
        .get(node, "responseJsonSchema")
        .map(|s| s.json())
        .or(members
            .get(node, "responseSchema")
            .map(|s| openapi::to_json_schema(&s.json())));
    let known = matches!(
        mime.as_deref(),
        None | Some("application/json" | "text/plain")
    );
    if !known {
        // `text/x.enum`, and what comes after it, with the schema that belongs to it.
        for name in ["responseMimeType", "responseSchema", "responseJsonSchema"] {
            if let Some(field) = members.get(node, name) {
                let path = format!("generationConfig.{name}");
                request.extra.push(extra(&path, &field));
            }
        }
        return Ok(());
    }
    request.output_format = match (mime.as_deref(), json_schema) {
        (_, Some(schema)) => Some(OutputFormat::JsonSchema {
            name: None,
            description: None,
            schema,
            strict: None,
        }),
        (Some("application/json"), None) => Some(OutputFormat::JsonObject),
        (Some(_), None) => Some(OutputFormat::Text),
        (None, None) => None,
    };
    Ok(())
}
