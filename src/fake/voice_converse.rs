//! Writes answers as Converse says them (Bedrock service model, read 2026-11), and puts events into the frames of AWS.
//!
//! Events are first written as `event:`/`data:` lines, like those of every other dialect, and framed afterwards: the two steps are
//! told apart on the wire as well.

use super::answer::{Block, Kind, Stop, signature};
use super::aws;
use super::book::Wire;
use super::json::{Tree, quoted};
use super::voice::{Item, Voice};
use base64::Engine as _;

impl Voice {
    pub(super) fn converse_item(&self, item: Item, out: &mut Vec<u8>) {
        match item {
            Item::Open(_) => named(out, "messageStart", "\"role\":\"assistant\""),
            Item::BlockOpen(c, b) => {
                if let Kind::Tool { id, name, .. } = &self.block(c, b).kind {
                    let start = format!(
                        "\"start\":{{\"toolUse\":{{\"toolUseId\":{},\"name\":{}}}}},\"contentBlockIndex\":{b}",
                        quoted(id),
                        quoted(name)
                    );
                    named(out, "contentBlockStart", &start);
                }
            }
            Item::Piece(c, b, p) => {
                let block = self.block(c, b);
                let piece = quoted(block.piece(p as usize));
                match block.kind {
                    Kind::Hidden | Kind::Thinking { shown: false } => {}
                    Kind::Thinking { shown: true } => {
                        delta(
                            out,
                            b,
                            &format!("\"reasoningContent\":{{\"text\":{piece}}}"),
                        );
                    }
                    Kind::Text | Kind::Refusal => delta(out, b, &format!("\"text\":{piece}")),
                    Kind::Tool { .. } => {
                        delta(out, b, &format!("\"toolUse\":{{\"input\":{piece}}}"))
                    }
                }
            }
            Item::BlockClose(c, b) => {
                let block = self.block(c, b);
                if block.kind == (Kind::Thinking { shown: true }) {
                    let sealed = quoted(&signature(&block.text));
                    delta(
                        out,
                        b,
                        &format!("\"reasoningContent\":{{\"signature\":{sealed}}}"),
                    );
                }
                named(
                    out,
                    "contentBlockStop",
                    &format!("\"contentBlockIndex\":{b}"),
                );
            }
            Item::Unknown => named(out, "novelty", "\"a\":[1]"),
            Item::Finish(c) => {
                let stop = stop(&self.said[c as usize].stop);
                named(out, "messageStop", &format!("\"stopReason\":\"{stop}\""));
                let metadata = format!(
                    "\"usage\":{},\"metrics\":{{\"latencyMs\":1}}",
                    self.converse_usage()
                );
                named(out, "metadata", &metadata);
            }
            Item::Ping | Item::Usage | Item::Done => {}
        }
    }

    fn converse_usage(&self) -> String {
        let s = &self.split;
        let details: Vec<String> = [("1h", s.written_1h), ("5m", s.written_5m)]
            .into_iter()
            .filter(|(_, tokens)| *tokens > 0)
            .map(|(ttl, tokens)| format!("{{\"ttl\":\"{ttl}\",\"inputTokens\":{tokens}}}"))
            .collect();
        format!(
            "{{\"inputTokens\":{},\"outputTokens\":{},\"totalTokens\":{},\"cacheReadInputTokens\":{},\"cacheWriteInputTokens\":{},\"cacheDetails\":[{}]}}",
            s.uncached,
            self.tokens(),
            self.input() + self.tokens(),
            s.read,
            s.written_5m + s.written_1h,
            details.join(",")
        )
    }

    pub(super) fn converse_whole(&self) -> String {
        let said = &self.said[0];
        let content: Vec<String> = said.blocks.iter().filter_map(whole_block).collect();
        format!(
            "{{\"output\":{{\"message\":{{\"role\":\"assistant\",\"content\":[{}]}}}},\"stopReason\":\"{}\",\"usage\":{},\"metrics\":{{\"latencyMs\":1}}}}",
            content.join(","),
            stop(&said.stop),
            self.converse_usage()
        )
    }

    /// What Bedrock adds to the last event of Messages.
    pub(super) fn invocation_metrics(&self) -> String {
        let s = &self.split;
        format!(
            "\"amazon-bedrock-invocationMetrics\":{{\"inputTokenCount\":{},\"outputTokenCount\":{},\"invocationLatency\":1,\"firstByteLatency\":1,\"cacheReadInputTokenCount\":{},\"cacheWriteInputTokenCount\":{}}}",
            s.uncached,
            self.tokens(),
            s.read,
            s.written_5m + s.written_1h
        )
    }
}

fn named(out: &mut Vec<u8>, name: &str, members: &str) {
    out.extend_from_slice(
        format!("event: {name}\ndata: {{{members},\"p\":\"abcd\"}}\n\n").as_bytes(),
    );
}

fn delta(out: &mut Vec<u8>, block: u32, delta: &str) {
    let members = format!("\"delta\":{{{delta}}},\"contentBlockIndex\":{block}");
    named(out, "contentBlockDelta", &members);
}

fn whole_block(block: &Block) -> Option<String> {
    Some(match &block.kind {
        Kind::Hidden | Kind::Thinking { shown: false } => return None,
        Kind::Thinking { shown: true } => format!(
            "{{\"reasoningContent\":{{\"reasoningText\":{{\"text\":{},\"signature\":{}}}}}}}",
            quoted(&block.text),
            quoted(&signature(&block.text))
        ),
        Kind::Text | Kind::Refusal => format!("{{\"text\":{}}}", quoted(&block.text)),
        Kind::Tool { id, name, .. } => {
            let whole = Tree::parse(block.text.as_bytes()).is_some();
            format!(
                "{{\"toolUse\":{{\"toolUseId\":{},\"name\":{},\"input\":{}}}}}",
                quoted(id),
                quoted(name),
                if whole { block.text.as_str() } else { "{}" }
            )
        }
    })
}

fn stop(stop: &Stop) -> &'static str {
    match stop {
        Stop::End => "end_turn",
        Stop::Length => "max_tokens",
        Stop::Sequence(_) => "stop_sequence",
        Stop::Tool => "tool_use",
        Stop::Refusal => "content_filtered",
    }
}

/// Puts events that were written as lines into frames: those of Messages as base64 in a `chunk`, those of Converse by name.
pub(super) fn framed(wire: Wire, lines: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(lines);
    for event in text.split("\n\n").filter(|e| !e.is_empty()) {
        let Some((name, data)) = event.split_once("\ndata: ") else {
            continue;
        };
        let name = name.trim_start_matches("event: ");
        if name == "error" {
            aws::exception(
                out,
                "serviceUnavailableException",
                b"{\"message\":\"Bedrock is unable to process your request.\"}",
            );
        } else if wire == Wire::Messages {
            let packed = base64::engine::general_purpose::STANDARD.encode(data);
            // `p` is padding against guessing from lengths.
            let payload = format!("{{\"bytes\":\"{packed}\",\"p\":\"abcdefgh\"}}");
            aws::event(out, "chunk", payload.as_bytes());
        } else {
            aws::event(out, name, data.as_bytes());
        }
    }
}
