//! Events → a client's `text_completion`s, as a stream and whole.
//!
//! Only words have a place here. What else a model says is named in `dropped`; a refusal is told as the words it is.

use super::logprobs;
use crate::canon::{Answer, BlockStart, Delta, Event, Fault, StopReason, ToolKind, Usage};
use crate::protocol::dialect::chat::events::frame::{self, Frame, begin};
use crate::protocol::dialect::chat::events::usage;
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};

/// Writes one answer, streamed. One value an exchange.
#[derive(Debug)]
pub struct Encoder {
    frame: Frame,
    /// By the index of a block: its choice, where it is told.
    blocks: Vec<Option<u32>>,
}

impl Encoder {
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        Self {
            frame: Frame::new(&opening, TEXT_COMPLETION),
            blocks: Vec::new(),
        }
    }

    /// Appends `event` as a chunk. `Done` and `Error` append nothing: `finish` or `fail` follows them.
    pub fn event(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Started { .. } | Event::BlockStop { .. } | Event::Done | Event::Error(_) => {}
            Event::BlockStart { choice, block, .. } => {
                let lost = lost(block);
                lost.iter().for_each(|name| self.frame.drop(name));
                self.blocks.push(is_words(block).then_some(*choice));
            }
            Event::BlockDelta { index, delta } => {
                let of = self.blocks.get(*index as usize).copied().flatten();
                if let (Some(choice), Delta::Text(text) | Delta::Refusal(text)) = (of, delta) {
                    self.chunk(choice, text, None, None, out);
                }
            }
            Event::Usage(usage) => self.frame.usage.update(usage),
            Event::Stop { choice, reason, .. } => {
                self.chunk(*choice, "", None, Some(word(reason)), out);
            }
            Event::Other {
                dialect,
                name,
                choice,
                json,
            } => match logprobs::told(*dialect, name, json) {
                Some(told) => self.chunk(*choice, "", Some(&told), None, out),
                None => self.frame.drop(name),
            },
        }
    }

    /// Appends usage where it was asked for, and `[DONE]`.
    pub fn finish(&mut self, _closing: &Closing, out: &mut BytesMut) {
        self.frame.finish(|_| {}, out);
    }

    /// Appends the error as a data event; no `[DONE]` follows, as at OpenAI.
    pub fn fail(&mut self, fault: &Fault, _closing: &Closing, out: &mut BytesMut) {
        frame::fail(fault, out);
    }

    /// Names of what the answer held and this dialect has no words for, each once.
    #[must_use]
    pub fn dropped(&self) -> &[String] {
        self.frame.dropped()
    }

    fn chunk(
        &self,
        number: u32,
        text: &str,
        logprobs: Option<&str>,
        reason: Option<&str>,
        out: &mut BytesMut,
    ) {
        self.frame.open(out);
        out.extend_from_slice(b"[");
        choice(number, text, logprobs, reason, out);
        out.extend_from_slice(b"]");
        self.frame.close(out);
    }
}

/// The body of an answer that is not streamed.
#[must_use]
pub fn write_whole(answer: &Answer, opening: &Opening, _closing: &Closing) -> Bytes {
    let mut out = BytesMut::new();
    begin(opening, TEXT_COMPLETION, &mut out);
    out.extend_from_slice(b"[");
    let blocks = answer.blocks.iter().map(|b| b.choice);
    let mut numbers: Vec<u32> = blocks.chain(answer.stops.iter().map(|s| s.0)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let of_choice = |b: &&crate::canon::AnswerBlock| b.choice == number && is_words(&b.start);
        let words = answer.blocks.iter().filter(of_choice);
        let text: String = words.map(|b| b.text.as_str()).collect();
        let stop = answer.stops.iter().find(|(choice, ..)| *choice == number);
        let reason = stop.map_or("stop", |(_, reason, _)| word(reason));
        let logprobs = logprobs::joined(answer, number);
        json::comma(&mut out);
        choice(number, &text, logprobs.as_deref(), Some(reason), &mut out);
    }
    out.extend_from_slice(b"]");
    if answer.usage != Usage::default() {
        json::key("usage", &mut out);
        usage::write(&answer.usage, &mut out);
    }
    out.extend_from_slice(b"}");
    out.freeze()
}

const TEXT_COMPLETION: &str = "text_completion";

fn choice(
    number: u32,
    text: &str,
    logprobs: Option<&str>,
    reason: Option<&str>,
    out: &mut BytesMut,
) {
    out.extend_from_slice(b"{");
    json::field("text", text, out);
    json::key("index", out);
    json::integer(number, out);
    json::key("logprobs", out);
    out.extend_from_slice(logprobs.unwrap_or("null").as_bytes());
    json::key("finish_reason", out);
    match reason {
        Some(reason) => json::string(reason, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}");
}

fn is_words(block: &BlockStart) -> bool {
    matches!(block, BlockStart::Text | BlockStart::Refusal)
}

/// By what name a block is lost, or told as something else.
fn lost(block: &BlockStart) -> Option<&'static str> {
    Some(match block {
        BlockStart::Text => return None,
        BlockStart::Refusal => "refusal",
        BlockStart::Thinking | BlockStart::RedactedThinking { .. } => "thinking",
        BlockStart::ToolCall {
            kind: ToolKind::Server,
            ..
        } => "server_tool_use",
        BlockStart::ToolCall { .. } => "tool_calls",
        BlockStart::Image { .. } => "image",
        BlockStart::Audio { .. } => "audio",
        BlockStart::Video { .. } => "video",
        BlockStart::Other { .. } => "other",
    })
}

/// OpenAI API reference, completions, read 2026-11: `stop`, `length` or `content_filter`; what came after this was written passes.
fn word(reason: &StopReason) -> &str {
    match reason {
        StopReason::EndTurn
        | StopReason::StopSequence
        | StopReason::ToolUse
        | StopReason::Pause => "stop",
        StopReason::MaxTokens | StopReason::ContextWindow => "length",
        StopReason::ContentFilter | StopReason::Refusal => "content_filter",
        StopReason::Other(word) => word,
    }
}
