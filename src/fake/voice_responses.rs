//! Writes answers as Responses says them (OpenAI API reference, read 2026-11). Every event has a number, by which a stream is resumed.

use super::answer::{Block, Kind, Stop, letters, signature};
use super::json::quoted;
use super::voice::{Item, Run, Voice, event};
use xxhash_rust::xxh3::xxh3_64;

/// How far an answer is when it is looked at from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Queued,
    InProgress,
    Done,
    Cancelled,
}

impl Voice {
    pub(super) fn responses_item(&self, item: Item, run: &mut Run, out: &mut Vec<u8>) {
        match item {
            Item::Open(_) => {
                if self.background {
                    self.lifecycle("response.queued", Standing::Queued, run, out);
                }
                self.lifecycle("response.created", Standing::InProgress, run, out);
                self.lifecycle("response.in_progress", Standing::InProgress, run, out);
            }
            Item::BlockOpen(c, b) => self.responses_open(b, self.block(c, b), run, out),
            Item::Piece(c, b, p) => self.responses_piece(b, self.block(c, b), p, run, out),
            Item::BlockClose(c, b) => self.responses_close(b, self.block(c, b), run, out),
            Item::Finish(_) => {
                let name = match self.said[0].stop {
                    Stop::Length => "response.incomplete",
                    _ => "response.completed",
                };
                self.lifecycle(name, Standing::Done, run, out);
            }
            Item::Unknown => say(run, out, "keepalive", ""),
            Item::Ping | Item::Usage | Item::Done => {}
        }
    }

    fn lifecycle(&self, name: &str, at: Standing, run: &mut Run, out: &mut Vec<u8>) {
        say(
            run,
            out,
            name,
            &format!("\"response\":{}", self.response(at)),
        );
    }

    pub(super) fn responses_error(&self, run: &mut Run, out: &mut Vec<u8>) {
        say(
            run,
            out,
            "error",
            "\"code\":\"server_error\",\"message\":\"The server had an error while processing your request. Sorry about that!\",\"param\":null",
        );
    }

    /// The response object.
    pub(super) fn response(&self, at: Standing) -> String {
        let said = &self.said[0];
        let done = at == Standing::Done;
        let status = match (at, &said.stop) {
            (Standing::Queued, _) => "queued",
            (Standing::InProgress, _) => "in_progress",
            (Standing::Cancelled, _) => "cancelled",
            (Standing::Done, Stop::Length) => "incomplete",
            (Standing::Done, _) => "completed",
        };
        let incomplete = match status {
            "incomplete" => "{\"reason\":\"max_output_tokens\"}",
            _ => "null",
        };
        let (output, usage) = match done {
            true => (self.output(), self.responses_usage()),
            false => (String::new(), "null".to_owned()),
        };
        let completed = match status {
            "completed" => self.created.to_string(),
            _ => "null".to_owned(),
        };
        format!(
            "{{\"id\":{},\"object\":\"response\",\"created_at\":{},\"completed_at\":{completed},\"status\":\"{status}\",\"background\":{},\"error\":null,\"incomplete_details\":{incomplete},\"model\":{},{}\"output\":[{output}],\"service_tier\":\"default\",\"usage\":{usage}}}",
            quoted(&self.id),
            self.created,
            self.background,
            quoted(&self.model),
            self.echo
        )
    }

    /// The items of the whole answer, as a JSON list without its brackets.
    pub(super) fn output(&self) -> String {
        let blocks = self.said[0].blocks.iter().zip(0..);
        let items: Vec<String> = blocks
            .map(|(block, b)| self.responses_block(b, block))
            .collect();
        items.join(",")
    }

    fn responses_usage(&self) -> String {
        let (input, output) = (self.input(), self.tokens());
        let cost = self.ticks().map(|t| format!(",\"cost_in_usd_ticks\":{t}"));
        format!(
            "{{\"input_tokens\":{input},\"input_tokens_details\":{{\"cached_tokens\":{},\"cache_write_tokens\":0}},\"output_tokens\":{output},\"output_tokens_details\":{{\"reasoning_tokens\":{}}},\"total_tokens\":{}{}}}",
            self.split.read,
            self.reasoning(),
            input + output,
            cost.unwrap_or_default()
        )
    }

    fn item_id(&self, b: u32, block: &Block) -> String {
        let start = match &block.kind {
            Kind::Hidden | Kind::Thinking { .. } => "rs_",
            Kind::Text | Kind::Refusal => "msg_",
            Kind::Tool { custom: false, .. } => "fc_",
            Kind::Tool { custom: true, .. } => "ctc_",
        };
        let seed = xxh3_64(self.id.as_bytes()).wrapping_add(u64::from(b));
        format!("{start}{}", letters(seed, 24))
    }

    fn responses_block(&self, b: u32, block: &Block) -> String {
        let id = self.item_id(b, block);
        // An item that the limit cut off is left as it stood.
        let cut = self.said[0].stop == Stop::Length && b as usize + 1 == self.said[0].blocks.len();
        let status = if cut { "incomplete" } else { "completed" };
        match &block.kind {
            Kind::Hidden | Kind::Thinking { .. } => {
                let text = shown(block);
                let summary = match text {
                    Some(text) => {
                        format!("{{\"type\":\"summary_text\",\"text\":{}}}", quoted(text))
                    }
                    None => String::new(),
                };
                let sealed = match self.encrypted {
                    true => quoted(&signature(text.unwrap_or(""))),
                    false => "null".to_owned(),
                };
                format!(
                    "{{\"id\":\"{id}\",\"type\":\"reasoning\",\"summary\":[{summary}],\"encrypted_content\":{sealed}}}"
                )
            }
            Kind::Text | Kind::Refusal => format!(
                "{{\"id\":\"{id}\",\"type\":\"message\",\"status\":\"{status}\",\"role\":\"assistant\",\"content\":[{}]}}",
                part(&block.kind, &block.text)
            ),
            Kind::Tool { .. } => call(&id, block, &block.text, status),
        }
    }

    fn responses_open(&self, b: u32, block: &Block, run: &mut Run, out: &mut Vec<u8>) {
        let id = self.item_id(b, block);
        let item = match &block.kind {
            Kind::Hidden | Kind::Thinking { .. } => {
                format!("{{\"id\":\"{id}\",\"type\":\"reasoning\",\"summary\":[]}}")
            }
            Kind::Text | Kind::Refusal => format!(
                "{{\"id\":\"{id}\",\"type\":\"message\",\"status\":\"in_progress\",\"role\":\"assistant\",\"content\":[]}}"
            ),
            Kind::Tool { .. } => call(&id, block, "", "in_progress"),
        };
        say(
            run,
            out,
            "response.output_item.added",
            &format!("\"output_index\":{b},\"item\":{item}"),
        );
        let place = format!("\"item_id\":\"{id}\",\"output_index\":{b}");
        match &block.kind {
            Kind::Thinking { shown: true } => say(
                run,
                out,
                "response.reasoning_summary_part.added",
                &format!(
                    "{place},\"summary_index\":0,\"part\":{{\"type\":\"summary_text\",\"text\":\"\"}}"
                ),
            ),
            Kind::Text | Kind::Refusal => say(
                run,
                out,
                "response.content_part.added",
                &format!(
                    "{place},\"content_index\":0,\"part\":{}",
                    part(&block.kind, "")
                ),
            ),
            _ => {}
        }
    }

    fn responses_piece(&self, b: u32, block: &Block, p: u32, run: &mut Run, out: &mut Vec<u8>) {
        let place = format!(
            "\"item_id\":\"{}\",\"output_index\":{b}",
            self.item_id(b, block)
        );
        let delta = quoted(block.piece(p as usize));
        let (name, rest) = match &block.kind {
            Kind::Hidden | Kind::Thinking { shown: false } => return,
            Kind::Thinking { shown: true } => (
                "response.reasoning_summary_text.delta",
                ",\"summary_index\":0",
            ),
            Kind::Text => (
                "response.output_text.delta",
                ",\"content_index\":0,\"logprobs\":[]",
            ),
            Kind::Refusal => ("response.refusal.delta", ",\"content_index\":0"),
            Kind::Tool { custom: false, .. } => ("response.function_call_arguments.delta", ""),
            Kind::Tool { custom: true, .. } => ("response.custom_tool_call_input.delta", ""),
        };
        say(run, out, name, &format!("{place}{rest},\"delta\":{delta}"));
    }

    fn responses_close(&self, b: u32, block: &Block, run: &mut Run, out: &mut Vec<u8>) {
        let place = format!(
            "\"item_id\":\"{}\",\"output_index\":{b}",
            self.item_id(b, block)
        );
        let text = quoted(&block.text);
        match &block.kind {
            Kind::Hidden | Kind::Thinking { shown: false } => {}
            Kind::Thinking { shown: true } => {
                let at = format!("{place},\"summary_index\":0");
                say(
                    run,
                    out,
                    "response.reasoning_summary_text.done",
                    &format!("{at},\"text\":{text}"),
                );
                let part = format!("{at},\"part\":{{\"type\":\"summary_text\",\"text\":{text}}}");
                say(run, out, "response.reasoning_summary_part.done", &part);
            }
            Kind::Text | Kind::Refusal => {
                let at = format!("{place},\"content_index\":0");
                let (name, members) = match block.kind {
                    Kind::Text => (
                        "response.output_text.done",
                        format!("{at},\"text\":{text},\"logprobs\":[]"),
                    ),
                    _ => ("response.refusal.done", format!("{at},\"refusal\":{text}")),
                };
                say(run, out, name, &members);
                let part = format!("{at},\"part\":{}", part(&block.kind, &block.text));
                say(run, out, "response.content_part.done", &part);
            }
            Kind::Tool { custom, name, .. } => {
                let (event, members) = match custom {
                    false => (
                        "response.function_call_arguments.done",
                        format!("{place},\"name\":{},\"arguments\":{text}", quoted(name)),
                    ),
                    true => (
                        "response.custom_tool_call_input.done",
                        format!("{place},\"input\":{text}"),
                    ),
                };
                say(run, out, event, &members);
            }
        }
        let item = format!(
            "\"output_index\":{b},\"item\":{}",
            self.responses_block(b, block)
        );
        say(run, out, "response.output_item.done", &item);
    }
}

/// Reasoning that may be read.
fn shown(block: &Block) -> Option<&str> {
    (block.kind == Kind::Thinking { shown: true }).then_some(block.text.as_str())
}

fn part(kind: &Kind, text: &str) -> String {
    match kind {
        Kind::Refusal => format!("{{\"type\":\"refusal\",\"refusal\":{}}}", quoted(text)),
        _ => format!(
            "{{\"type\":\"output_text\",\"text\":{},\"annotations\":[],\"logprobs\":[]}}",
            quoted(text)
        ),
    }
}

fn call(id: &str, block: &Block, text: &str, status: &str) -> String {
    let Kind::Tool {
        id: call,
        name,
        custom,
    } = &block.kind
    else {
        return "null".to_owned();
    };
    let (kind, input) = match custom {
        false => ("function_call", "arguments"),
        true => ("custom_tool_call", "input"),
    };
    format!(
        "{{\"id\":\"{id}\",\"type\":\"{kind}\",\"status\":\"{status}\",\"call_id\":{},\"name\":{},\"{input}\":{}}}",
        quoted(call),
        quoted(name),
        quoted(text)
    )
}

/// Writes an event with the next number, unless the caller has had it already.
fn say(run: &mut Run, out: &mut Vec<u8>, name: &str, members: &str) {
    let number = run.sequence;
    run.sequence += 1;
    if run.after.is_some_and(|after| number <= after) {
        return;
    }
    let comma = if members.is_empty() { "" } else { "," };
    event(
        out,
        name,
        &format!("\"sequence_number\":{number}{comma}{members}"),
    );
}
