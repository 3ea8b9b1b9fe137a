//! What is said, a line for each thing, whoever says it how: what two requests or answers are compared by.

use crate::canon::{
    Answer, AnswerBlock, Block, BlockKind, BlockStart, CacheMark, Request, Source, StopReason,
    Tool, ToolInput, ToolKind,
};
use serde_json::Value;

/// Numbers and order of members are no difference between two JSON texts.
fn json(text: &str) -> String {
    serde_json::from_str::<Value>(text).map_or_else(|_| format!("?{text}"), |v| v.to_string())
}

pub fn of_request(r: &Request) -> Vec<String> {
    let mut out = Vec::new();
    for block in &r.system {
        self::block("system", block, &mut out);
    }
    for turn in &r.turns {
        let role = format!("{:?}", turn.role).to_lowercase();
        for block in &turn.blocks {
            self::block(&role, block, &mut out);
        }
    }
    r.tools.iter().for_each(|tool| self::tool(tool, &mut out));
    let mut note = |name: &str, value: Option<String>| {
        out.extend(value.map(|value| format!("{name} {value}")));
    };
    note(
        "tool_choice",
        r.tool_choice.as_ref().map(|c| format!("{c:?}")),
    );
    note("parallel", r.parallel_tools.map(|p| p.to_string()));
    let s = &r.sampling;
    note("max_output", s.max_output.map(|t| t.0.to_string()));
    note("temperature", s.temperature.map(|t| t.to_string()));
    note("top_p", s.top_p.map(|t| t.to_string()));
    note("top_k", s.top_k.map(|t| t.to_string()));
    note("seed", s.seed.map(|t| t.to_string()));
    note("presence", s.presence_penalty.map(|t| t.to_string()));
    note("frequency", s.frequency_penalty.map(|t| t.to_string()));
    note(
        "logprobs",
        s.logprobs.map(|t| format!("{t} {:?}", s.top_logprobs)),
    );
    note("choices", s.choices.map(|t| t.to_string()));
    note("verbosity", s.verbosity.as_ref().map(ToString::to_string));
    note("bias", s.logit_bias.as_ref().map(|b| json(b.get())));
    note("stop", (!s.stop.is_empty()).then(|| s.stop.join(",")));
    let reasoning = r.reasoning.as_ref();
    note(
        "thinks",
        reasoning.and_then(|r| r.mode).map(|m| format!("{m:?}")),
    );
    note(
        "effort",
        reasoning
            .and_then(|r| r.effort.clone())
            .map(|e| format!("{e:?}")),
    );
    let format = r.output_format.as_ref();
    note("format", format.map(|f| format!("{f:?}")));
    note("user", r.user.as_ref().map(ToString::to_string));
    note("cache_key", r.cache.key.as_ref().map(ToString::to_string));
    out
}

fn mark(mark: Option<CacheMark>) -> &'static str {
    if mark.is_some() { " marked" } else { "" }
}

fn tool(tool: &Tool, out: &mut Vec<String>) {
    out.push(match tool {
        Tool::Function {
            name,
            description,
            schema,
            mark,
            ..
        } => {
            let schema = schema.as_ref().map(|s| json(s.get()));
            format!(
                "tool {name} {description:?} {schema:?}{}",
                self::mark(*mark)
            )
        }
        Tool::Custom { name, format, .. } => {
            format!(
                "custom tool {name} {:?}",
                format.as_ref().map(|f| json(f.get()))
            )
        }
        Tool::Other { json, .. } => format!("tool {}", self::json(json.get())),
    });
}

fn block(who: &str, block: &Block, out: &mut Vec<String>) {
    let mark = mark(block.mark);
    let signed = block.signature.as_ref();
    let mut say = |text: String| out.push(format!("{who} {text}{mark}"));
    match &block.kind {
        BlockKind::Text { text, citations } => {
            say(format!("text {text}"));
            for cited in citations {
                say(format!("cites {:?}", cited.url));
            }
        }
        BlockKind::Refusal { text } => say(format!("refuses {text}")),
        BlockKind::Thinking { text } => say(format!("thinks {text} {signed:?}")),
        BlockKind::RedactedThinking { data } => say(format!("thinks in secret {data}")),
        BlockKind::Image { source, detail } => {
            say(format!("image {}", place(source)));
            if let Some(detail) = detail {
                say(format!("detail {detail}"));
            }
        }
        BlockKind::Document { source, title, .. } => {
            say(format!("document {}", place(source)));
            if let Some(title) = title {
                say(format!("title {title}"));
            }
        }
        BlockKind::Audio { source, .. } => say(format!("audio {}", place(source))),
        BlockKind::Video { source } => say(format!("video {}", place(source))),
        BlockKind::ToolCall {
            id,
            name,
            input,
            kind,
        } => {
            let input = match input {
                ToolInput::Json(input) => json(input.get()),
                ToolInput::Text(text) => format!("{text:?}"),
            };
            let custom = if *kind == ToolKind::Custom {
                "custom "
            } else {
                ""
            };
            say(format!("{custom}call {id} {name} {input}"));
            if let Some(signature) = signed {
                say(format!("signed {signature}"));
            }
        }
        BlockKind::ToolResult {
            id,
            content,
            is_error,
            ..
        } => {
            let error = if *is_error { " error" } else { "" };
            say(format!("result {id}{error}"));
            for inner in content {
                self::block(&format!("{who} result {id}"), inner, out);
            }
        }
        BlockKind::Other { json, .. } => say(format!("other {}", self::json(json.get()))),
    }
}

fn place(source: &Source) -> String {
    match source {
        Source::Base64 { media_type, data } => format!("{media_type} {data}"),
        Source::Url { url, .. } => format!("at {url}"),
        Source::File { id } => format!("file {id}"),
        Source::Text { text, .. } => format!("text {text}"),
        Source::Blocks(blocks) => {
            let mut lines = Vec::new();
            blocks.iter().for_each(|b| block("in", b, &mut lines));
            lines.join(", ")
        }
    }
}

pub fn of_answer(answer: &Answer) -> Vec<String> {
    let mut out = Vec::new();
    for block in &answer.blocks {
        answered(block, &mut out);
    }
    for (choice, reason, sequence) in &answer.stops {
        out.push(format!("{choice} stops {reason:?}"));
        if *reason == StopReason::StopSequence {
            out.extend(sequence.as_ref().map(|s| format!("{choice} at {s}")));
        }
    }
    let u = &answer.usage;
    for (name, count) in [
        ("input", Some(u.input_total())),
        ("cached", u.cache_read.filter(|t| t.0 > 0)),
        ("written", Some(u.cache_write_total()).filter(|t| t.0 > 0)),
        ("output", u.output),
        ("reasoning", u.reasoning.filter(|t| t.0 > 0)),
    ] {
        out.extend(count.map(|count| format!("usage {name} {}", count.0)));
    }
    for (_, name, choice, _) in &answer.others {
        out.push(format!("{choice} other {name}"));
    }
    out
}

fn answered(block: &AnswerBlock, out: &mut Vec<String>) {
    let choice = block.choice;
    let text = &block.text;
    let signed = block.signature.as_ref();
    let mut say = |text: String| out.push(format!("{choice} {text}"));
    match &block.start {
        BlockStart::Text => say(format!("text {text}")),
        BlockStart::Thinking => say(format!("thinks {text} {signed:?}")),
        BlockStart::RedactedThinking { data } => say(format!("thinks in secret {data}")),
        BlockStart::Refusal => say(format!("refuses {text}")),
        BlockStart::ToolCall { id, name, kind } => {
            let custom = if *kind == ToolKind::Custom {
                "custom "
            } else {
                ""
            };
            let text = if text.is_empty() { "{}" } else { text };
            let input = if custom.is_empty() {
                json(text)
            } else {
                text.to_owned()
            };
            say(format!("{custom}call {id} {name} {input}"));
            if let Some(signature) = signed {
                say(format!("signed {signature}"));
            }
        }
        BlockStart::Image { media_type, url } => {
            say(format!(
                "image {media_type:?} {url:?} {}{text}",
                block.base64
            ));
        }
        BlockStart::Audio { .. } => say(format!("audio {text} {}", block.base64)),
        BlockStart::Video { url, .. } => say(format!("video {url:?} {}", block.base64)),
        BlockStart::Other { json, .. } => say(format!("other {}", self::json(json.get()))),
    }
    for cited in &block.citations {
        say(format!("cites {:?} {:?}", cited.url, cited.title));
    }
}
