//! What is answered, as it comes.

use crate::base::{Json, Str};
use crate::canon::{DialectName, Fault, ToolKind, Usage};

/// One step of an answer. A well-formed answer is `Started`, then blocks, each as `BlockStart`, deltas, `BlockStop` under one
/// index (blocks of different choices may interleave), `Stop` for each choice, and `Done`; or it breaks off with `Error`. `Usage` may
/// come anywhere and more than once: each one replaces the fields it has.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `id` is the provider's id of the answer; `created` in seconds since 1970.
    Started {
        id: Str,
        model: Str,
        created: Option<i64>,
    },
    /// `index` counts blocks over all choices, from 0, without gaps. `choice` is 0 unless several answers were asked for.
    BlockStart {
        index: u32,
        choice: u32,
        block: BlockStart,
    },
    BlockDelta {
        index: u32,
        delta: Delta,
    },
    BlockStop {
        index: u32,
    },
    Usage(Box<Usage>),
    /// `sequence`: the stop sequence that was met, where the provider says.
    Stop {
        choice: u32,
        reason: StopReason,
        sequence: Option<Str>,
    },
    /// The provider's own end mark: nothing is missing.
    Done,
    /// The provider broke off; nothing follows.
    Error(Box<Fault>),
    /// What only one dialect says within a stream and canon has no word for (log probabilities, annotations, moderation): passed on
    /// in that dialect, reported as dropped in others. `name` is the event's or field's name.
    Other {
        dialect: DialectName,
        name: Str,
        choice: u32,
        json: Json,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum BlockStart {
    Text,
    Thinking,
    RedactedThinking {
        data: Str,
    },
    ToolCall {
        id: Str,
        name: Str,
        kind: ToolKind,
    },
    Refusal,
    /// `media_type` as far as known at the start; the bytes come as `Delta::Base64`, or `url` says where they are.
    Image {
        media_type: Option<Str>,
        url: Option<Str>,
    },
    Audio {
        id: Option<Str>,
        format: Option<Str>,
    },
    Video {
        media_type: Option<Str>,
        url: Option<Str>,
    },
    /// A whole block that canon has no word for (results of server tools, …).
    Other {
        dialect: DialectName,
        json: Json,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    Text(Str),
    Thinking(Str),
    /// The signature of the block's issuer; may come in parts, to be concatenated. Of a call it comes whole and ahead of the input, as far as
    /// its provider tells it by then.
    Signature(Str),
    /// A piece of a tool's input: JSON text of a function, free text of a custom tool.
    ToolInput(Str),
    Refusal(Str),
    Citation(Citation),
    /// Bytes of an image, audio or video block, still encoded.
    Base64(Str),
    /// What an audio block says.
    Transcript(Str),
    Other {
        dialect: DialectName,
        json: Json,
    },
}

/// Where a statement comes from. The dialects' citations have little in common: the words they share are lifted, the whole is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Citation {
    pub dialect: DialectName,
    /// The citation object as its dialect wrote it.
    pub json: Json,
    pub url: Option<Str>,
    pub title: Option<Str>,
    pub cited_text: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    EndTurn,
    /// The output limit of the request, or the model's window.
    MaxTokens,
    StopSequence,
    ToolUse,
    /// The provider's filter cut it off.
    ContentFilter,
    /// The model refused.
    Refusal,
    /// A long turn of server tools was paused; send it back to go on.
    Pause,
    /// Prompt and answer filled the model's window.
    ContextWindow,
    /// A word that came after this was written.
    Other(Str),
}
