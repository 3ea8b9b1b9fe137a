//! What is asked.

use crate::base::{Json, Str, Tokens};
use crate::canon::DialectName;
use std::time::Duration;

/// One request. What is `None` was not said, and the provider's default holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// As the client named it; the router looks it up, and writes the endpoint's own name towards the provider.
    pub model: Str,
    /// Instructions ahead of the conversation.
    pub system: Vec<Block>,
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    /// Whether several tools may be called in one answer.
    pub parallel_tools: Option<bool>,
    pub sampling: Sampling,
    pub reasoning: Option<Reasoning>,
    pub output_format: Option<OutputFormat>,
    pub cache: CacheHints,
    /// Whether the client wants its answer as a stream.
    pub stream: bool,
    /// Whether a streaming client asked for a final usage message, in dialects where that is asked.
    pub stream_usage: bool,
    /// An opaque id of the end user, for the provider's abuse checks.
    pub user: Option<Str>,
    /// Free key-value notes of the client (`metadata` of OpenAI), as a JSON object.
    pub metadata: Option<Json>,
    /// A provider's service tier, by that provider's own word.
    pub service_tier: Option<Str>,
    /// What only one dialect can say, in the order it was said.
    pub extra: Vec<Extra>,
    /// In which dialect it was said; `None` for what the router says itself. What some speakers of a dialect take, and not all of them,
    /// goes back to that dialect alone.
    pub dialect: Option<DialectName>,
}

impl Request {
    /// Whether one tool must be called and no other can be.
    #[must_use]
    pub fn forces_one_tool(&self) -> bool {
        match self.tool_choice {
            Some(ToolChoice::Named { .. }) => true,
            Some(ToolChoice::Required) => self.tools.len() == 1,
            _ => false,
        }
    }
}

/// A top-level field that canon has no word for.
#[derive(Clone, Debug, PartialEq)]
pub struct Extra {
    pub dialect: DialectName,
    pub name: Str,
    pub value: Json,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    pub role: Role,
    pub blocks: Vec<Block>,
    /// A participant's name, where a dialect has one.
    pub name: Option<Str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Tool results are blocks of a user's turn, as in Messages and Gemini; dialects with a role of their own for them split and merge.
    User,
    Assistant,
    /// Instructions in the middle of a conversation. Leading ones are `Request::system`.
    System,
}

/// A part of a turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub kind: BlockKind,
    /// The client asks the provider to cache the prefix up to and including this block.
    pub mark: Option<CacheMark>,
    /// What lets the issuer, and nobody else, check that it made this block (thinking signatures; thought signatures on tool calls).
    pub signature: Option<Str>,
}

impl Block {
    /// A block with neither mark nor signature.
    #[must_use]
    pub fn plain(kind: BlockKind) -> Self {
        Self {
            kind,
            mark: None,
            signature: None,
        }
    }

    #[must_use]
    pub fn text(text: impl Into<Str>) -> Self {
        Self::plain(BlockKind::Text {
            text: text.into(),
            citations: Vec::new(),
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum BlockKind {
    Text {
        text: Str,
        citations: Vec<crate::canon::Citation>,
    },
    /// `detail`: how closely to look, by OpenAI's words (`auto low high original`).
    Image {
        source: Source,
        detail: Option<Str>,
    },
    /// A PDF or other document. `title` is also its file name.
    Document {
        source: Source,
        title: Option<Str>,
        context: Option<Str>,
        citations: Option<bool>,
    },
    /// `format`: `wav`, `mp3`, …
    Audio {
        source: Source,
        format: Option<Str>,
    },
    Video {
        source: Source,
    },
    ToolCall {
        id: Str,
        name: Str,
        input: ToolInput,
        kind: ToolKind,
    },
    ToolResult {
        id: Str,
        name: Option<Str>,
        content: Vec<Block>,
        is_error: bool,
    },
    /// Its signature is the block's.
    Thinking {
        text: Str,
    },
    /// Thinking that only its issuer can read.
    RedactedThinking {
        data: Str,
    },
    Refusal {
        text: Str,
    },
    /// A whole block of one dialect that canon has no word for.
    Other {
        dialect: DialectName,
        json: Json,
    },
}

/// Where the bytes of an image, document, audio or video are.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// `data` stays encoded: every dialect sends it so.
    Base64 {
        media_type: Str,
        data: Str,
    },
    Url {
        url: Str,
        media_type: Option<Str>,
    },
    /// A file that the client put at the provider before; pins the request to that provider's account.
    File {
        id: Str,
    },
    /// A document given as plain text.
    Text {
        media_type: Str,
        text: Str,
    },
    /// A document given as blocks.
    Blocks(Vec<Block>),
}

/// What a tool is called with.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolInput {
    Json(Json),
    /// Free text: a custom tool's input, or arguments that a model wrote and that are not JSON.
    Text(Str),
}

/// Who runs a tool and how it is described.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolKind {
    /// Described by a JSON schema, run by the client.
    Function,
    /// Takes free text, perhaps by a grammar; run by the client.
    Custom,
    /// Run by the provider (`server_tool_use`).
    Server,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    Function {
        name: Str,
        description: Option<Str>,
        /// JSON schema of the input; `None` where the client gave none.
        schema: Option<Json>,
        strict: Option<bool>,
        mark: Option<CacheMark>,
        /// Fields that only one dialect knows (`defer_loading`, `input_examples`, …).
        extra: Vec<Extra>,
    },
    Custom {
        name: Str,
        description: Option<Str>,
        format: Option<Json>,
    },
    /// A tool that one dialect names by a type of its own (`web_search_20260318`), whole.
    Other { dialect: DialectName, json: Json },
}

#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice {
    Auto,
    None,
    /// Some tool must be called.
    Required,
    /// This one must be called.
    Named {
        name: Str,
        custom: bool,
    },
    /// Only these may (or, when `required`, one of them must).
    Allowed {
        names: Vec<Str>,
        required: bool,
    },
}

/// How the next token is drawn, and when to stop.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    pub max_output: Option<Tokens>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u64>,
    pub stop: Vec<Str>,
    pub seed: Option<i64>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub logit_bias: Option<Json>,
    pub logprobs: Option<bool>,
    pub top_logprobs: Option<u32>,
    /// Answers wanted; `None` is one.
    pub choices: Option<u32>,
    /// `low medium high`
    pub verbosity: Option<Str>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reasoning {
    pub mode: Option<ReasoningMode>,
    pub effort: Option<Effort>,
    /// `Some(false)`: think, but do not show it.
    pub shown: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningMode {
    Off,
    /// The model decides how much.
    Adaptive,
    /// Up to so many tokens.
    Budget(Tokens),
    /// Only between tool calls (newest Claude models).
    BetweenTools,
}

/// How hard to think, by a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    ExtraHigh,
    Max,
    /// A word that came after this was written.
    Other(Str),
}

#[derive(Clone, Debug, PartialEq)]
pub enum OutputFormat {
    Text,
    /// Any JSON object.
    JsonObject,
    JsonSchema {
        name: Option<Str>,
        description: Option<Str>,
        schema: Json,
        strict: Option<bool>,
    },
}

/// What the client says about the provider's prompt cache, beside the marks on blocks and tools.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheHints {
    /// Requests with the same key are sent to the same machine (`prompt_cache_key`).
    pub key: Option<Str>,
    /// The provider may place its own marks (`cache_control` at the top level of a Messages request).
    pub automatic: Option<CacheMark>,
    /// OpenAI's `prompt_cache_options` or `prompt_cache_retention`, whole.
    pub options: Option<Extra>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheMark {
    /// `None`: the provider's default.
    pub ttl: Option<CacheTtl>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheTtl {
    Minutes5,
    Minutes30,
    Hours1,
    Hours12,
    Hours24,
}

impl CacheTtl {
    /// As providers write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minutes5 => "5m",
            Self::Minutes30 => "30m",
            Self::Hours1 => "1h",
            Self::Hours12 => "12h",
            Self::Hours24 => "24h",
        }
    }

    #[must_use]
    pub fn life(self) -> Duration {
        let minutes = match self {
            Self::Minutes5 => 5,
            Self::Minutes30 => 30,
            Self::Hours1 => 60,
            Self::Hours12 => 12 * 60,
            Self::Hours24 => 24 * 60,
        };
        Duration::from_secs(minutes * 60)
    }

    /// The one that lasts so long.
    #[must_use]
    pub fn of(life: Duration) -> Option<Self> {
        Self::ALL.into_iter().find(|ttl| ttl.life() == life)
    }

    /// The shortest first.
    pub const ALL: [Self; 5] = [
        Self::Minutes5,
        Self::Minutes30,
        Self::Hours1,
        Self::Hours12,
        Self::Hours24,
    ];
}

impl Request {
    /// Every block of the request, system first, also those within tool results and documents.
    pub fn each_block<'a>(&'a self, visit: &mut dyn FnMut(&'a Block)) {
        fn walk<'a>(blocks: &'a [Block], visit: &mut dyn FnMut(&'a Block)) {
            for block in blocks {
                visit(block);
                match &block.kind {
                    BlockKind::ToolResult { content, .. } => walk(content, visit),
                    BlockKind::Document {
                        source: Source::Blocks(inner),
                        ..
                    } => walk(inner, visit),
                    _ => {}
                }
            }
        }
        walk(&self.system, visit);
        for turn in &self.turns {
            walk(&turn.blocks, visit);
        }
    }
}
