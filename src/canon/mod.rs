//! What is said, whoever says it: a request, the events of its answer, what it used, what went wrong.
//!
//! The only form that policy, ledger and spool see. Small on purpose: everything imports it. Deliberately knows no dialect's
//! field names; what only one dialect can say travels as `Other` or `Extra`, opaque and named by its dialect, so that it is
//! passed on, refused or reported, and never lost unseen. In reading order.

mod request;
pub use request::{
    Block, BlockKind, CacheHints, CacheMark, CacheTtl, Effort, Extra, OutputFormat, Reasoning,
    ReasoningMode, Request, Role, Sampling, Source, Tool, ToolChoice, ToolInput, ToolKind, Turn,
};
pub mod controls;
pub use controls::{CacheMode, Controls, OnDisconnect, Priority, ProviderWishes};
mod event;
pub use event::{BlockStart, Citation, Delta, Event, StopReason};
mod answer;
pub use answer::{Answer, AnswerBlock, Fold};
mod element;
pub use element::{Element, ElementKind, Spot};
mod seal;
pub use seal::{Maker, Seal};
mod usage;
pub use usage::Usage;
mod fault;
pub use fault::{Fault, FaultClass, Malformed};
mod dump;
pub use dump::{dump_events, dump_request};

/// The grammars a request or an answer can be spoken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DialectName {
    Native,
    Chat,
    Messages,
    Responses,
    Gemini,
    /// OpenAI's API before Chat Completions: one text in, what follows it out.
    Completions,
    /// AWS Bedrock's own grammar, which providers speak and no client of ours.
    Converse,
}

impl DialectName {
    pub const ALL: [Self; 7] = [
        Self::Native,
        Self::Chat,
        Self::Messages,
        Self::Responses,
        Self::Gemini,
        Self::Completions,
        Self::Converse,
    ];

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.as_str() == name)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Chat => "chat",
            Self::Messages => "messages",
            Self::Responses => "responses",
            Self::Gemini => "gemini",
            Self::Completions => "completions",
            Self::Converse => "converse",
        }
    }
}
