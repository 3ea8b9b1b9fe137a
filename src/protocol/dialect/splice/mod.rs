//! Same dialect on both sides: bytes pass, only usage and stop are lifted.
//!
//! Deliberately builds nothing of a request's or an answer's content. What it must know it reads in one pass; what it must change it
//! changes in place; all other bytes are the client's and the provider's own. In reading order.

mod peek;
mod peek_gemini;
mod ids;
mod request;
pub use peek::peek;
mod envelope;
pub use envelope::envelope;
mod ruled;
pub use request::{Edit, own_words, own_words_with, splice_request};
/// Cache marks and hints, in and out.
pub mod marks;
mod lift;
mod lift_chat;
mod lift_responses;
mod lift_gemini;
pub use lift::Lift;
mod ask_numbers;
pub use ask_numbers::{peek_count, peek_embed};
pub use peek_gemini::peek_prefix;
mod whole;
pub(crate) use lift::is_lifted;
pub use whole::lift_whole;
mod kept;
pub use kept::{Kept, kept, kept_event};
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;

use crate::base::Str;
use crate::canon::{BlockKind, DialectName, Request, Source, Tool, ToolInput};
use std::ops::Range;

/// What must be known of a request to route it, read in one pass without building its content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peek {
    pub model: Str,
    /// Where the JSON string of `model` lies in the body, its quotes included.
    pub model_at: Range<usize>,
    pub stream: bool,
    pub max_output: Option<u64>,
    /// The client asked for a final usage message (always true in dialects that always send it).
    pub stream_usage: bool,
    /// Where the value of `stream_options` lies in the body of a Chat Completions request that has one.
    pub stream_options_at: Option<Range<usize>>,
    pub images: bool,
    pub documents: bool,
    pub audio: bool,
    pub video: bool,
    pub tools: bool,
    /// Some block carries what only its issuer can read: thinking, redacted thinking, signatures.
    pub has_thinking: bool,
    /// An id of a call may hold a signature that this router packed there, which no provider is to see.
    pub packed_ids: bool,
    /// The request names what lies at one provider account (a stored answer, a file, a cached prefix), and can be answered there alone.
    pub server_state: bool,
    /// Responses: the answer shall not be kept (`store: false`).
    pub unkept: bool,
    /// Responses: the answer shall be made without a listener.
    pub background: bool,
    /// Responses: the kept answer that this one goes on from.
    pub previous: Option<Str>,
    /// Gemini: the cached prefix that stands before this request, by its name, and where the JSON string of it lies in the body.
    pub cached: Option<Str>,
    pub cached_at: Range<usize>,
    /// Entries of the conversation, instructions (`system`, `developer`) left out.
    pub turns: u32,
    /// Bytes of content that become input tokens (text, tools), images and other data left out.
    pub prompt_bytes: usize,
}

/// The same of a request that was read whole, as native ones are. `model_at` is empty: nothing of it passes.
#[must_use]
pub fn peek_of(request: &Request) -> Peek {
    let mut peek = Peek {
        model: request.model.clone(),
        stream: request.stream,
        max_output: request.sampling.max_output.map(|t| t.0),
        stream_usage: true,
        tools: !request.tools.is_empty(),
        turns: u32::try_from(request.turns.len()).unwrap_or(u32::MAX),
        prompt_bytes: request.tools.iter().map(tool_bytes).sum(),
        ..Peek::default()
    };
    peek.server_state = request
        .extra
        .iter()
        .any(|e| e.dialect == DialectName::Responses && peek::STATE.contains(&&*e.name));
    request.each_block(&mut |block| {
        peek.has_thinking |= block.signature.is_some();
        peek.server_state |= is_file(&block.kind);
        match &block.kind {
            BlockKind::Text { text, .. } | BlockKind::Refusal { text } => {
                peek.prompt_bytes += text.len()
            }
            BlockKind::Thinking { text } => {
                peek.has_thinking = true;
                peek.prompt_bytes += text.len();
            }
            BlockKind::RedactedThinking { .. } => peek.has_thinking = true,
            BlockKind::Image { .. } => peek.images = true,
            BlockKind::Document { source, .. } => match source {
                Source::Text { text, .. } => peek.prompt_bytes += text.len(),
                Source::Blocks(_) => {}
                Source::Base64 { .. } | Source::Url { .. } | Source::File { .. } => {
                    peek.documents = true
                }
            },
            BlockKind::Audio { .. } => peek.audio = true,
            BlockKind::Video { .. } => peek.video = true,
            BlockKind::ToolCall { name, input, .. } => {
                peek.prompt_bytes += name.len();
                peek.prompt_bytes += match input {
                    ToolInput::Json(json) => json.get().len(),
                    ToolInput::Text(text) => text.len(),
                };
            }
            BlockKind::ToolResult { .. } => {}
            BlockKind::Other { json, .. } => peek.prompt_bytes += json.get().len(),
        }
    });
    peek
}

fn is_file(kind: &BlockKind) -> bool {
    let (BlockKind::Image { source, .. }
    | BlockKind::Document { source, .. }
    | BlockKind::Audio { source, .. }
    | BlockKind::Video { source }) = kind
    else {
        return false;
    };
    matches!(source, Source::File { .. })
}

fn tool_bytes(tool: &Tool) -> usize {
    match tool {
        Tool::Function {
            name,
            description,
            schema,
            ..
        } => {
            name.len()
                + description.as_ref().map_or(0, |d| d.len())
                + schema.as_ref().map_or(0, |s| s.get().len())
        }
        Tool::Custom {
            name,
            description,
            format,
        } => {
            name.len()
                + description.as_ref().map_or(0, |d| d.len())
                + format.as_ref().map_or(0, |f| f.get().len())
        }
        Tool::Other { json, .. } => json.get().len(),
    }
}

/// What becomes of an event that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// On to the client as it is.
    Forward,
    /// On to the client less these bytes of its data, from and to (a null usage that the client did not ask for).
    Cut(usize, usize),
    /// For us alone (a usage message that the client did not ask for).
    Strip,
    /// The provider says that it broke off: the shard ends the stream in the client's words.
    Broken,
}
