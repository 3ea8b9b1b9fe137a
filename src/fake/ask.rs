//! What a request asks, of any dialect: only what the answer, the caches and the limits depend on.

use super::json::Tree;
use super::prompt::Prompt;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Choice<'a> {
    #[default]
    Auto,
    Never,
    Any,
    Named(&'a str),
}

/// A tool that may be called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tool<'a> {
    pub name: &'a str,
    /// `None` for a tool of free text.
    pub schema: Option<&'a Tree<'a>>,
    pub custom: bool,
}

#[derive(Debug, Default)]
pub(super) struct Ask<'a> {
    pub model: &'a str,
    pub stream: bool,
    pub include_usage: bool,
    pub n: usize,
    pub max_tokens: Option<u64>,
    pub stops: Vec<&'a str>,
    pub tools: Vec<Tool<'a>>,
    pub choice: Choice<'a>,
    pub one_call: bool,
    /// Text of the last user message, its parts joined by a space.
    pub said: String,
    /// What the tools said at the very end of the prompt.
    pub results: Vec<String>,
    /// What was sent with the last user message besides text, as we describe it.
    pub media: Vec<String>,
    /// Tokens to think before the answer.
    pub thinking: Option<u64>,
    pub thinking_shown: bool,
    /// The answer must fit this.
    pub schema: Option<&'a Tree<'a>>,
    pub json_object: bool,
    pub prompt: Prompt,
    /// What tells caches of one organisation apart, besides the model.
    pub scope: Vec<u8>,
    /// An image is wanted as part of the answer (Gemini).
    pub draws: bool,
    /// Queue figures are wanted beside the usage (Fireworks).
    pub perf: bool,
    /// Answer with a name to fetch the answer by (xAI).
    pub deferred: bool,
    /// A prefix that is kept under this name stands before it (Gemini), and is so long.
    pub kept: Option<&'a str>,
    pub kept_tokens: u64,
    /// Asked in Completions, which has words alone.
    pub text: bool,
    pub responses: ResponsesAsk<'a>,
}

/// What only Responses asks.
#[derive(Debug, Default)]
pub(super) struct ResponsesAsk<'a> {
    pub store: bool,
    pub background: bool,
    pub previous: Option<&'a str>,
    /// Reasoning is given back sealed.
    pub encrypted: bool,
    /// Members of the response object that repeat the request, each followed by a comma.
    pub echo: String,
    /// The whole input so far, as a JSON list without its brackets.
    pub conversation: Vec<u8>,
}

/// A request that is wrong by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub message: String,
    /// The field, for Chat.
    pub param: Option<String>,
    pub code: Option<&'static str>,
}

impl Wrong {
    pub(super) fn new(param: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            param: Some(param.to_owned()),
            code: Some(code),
        }
    }

    pub(super) fn plain(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            param: None,
            code: None,
        }
    }
}

impl Ask<'_> {
    pub(super) fn saw(&mut self, media_type: &str, bytes: usize) {
        self.media.push(format!("1 {media_type} of {bytes} bytes"));
    }

    /// A reference to something we never fetch.
    pub(super) fn saw_reference(&mut self, what: &str, place: &str) {
        self.media.push(format!("1 {what} at {place}"));
    }

    pub(super) fn heard(&mut self, text: &str) {
        if !self.said.is_empty() {
            self.said.push(' ');
        }
        self.said.push_str(text);
    }

    /// A new message of the user: what came before is past.
    pub(super) fn turn(&mut self) {
        self.said.clear();
        self.media.clear();
        self.results.clear();
    }
}

/// Bytes that `data` in base64 stands for, padding or not.
pub(super) fn base64_bytes(data: &str) -> usize {
    data.trim_end_matches('=').len() * 3 / 4
}

/// Media type and data of a `data:` URL.
pub(super) fn data_url(url: &str) -> Option<(&str, &str)> {
    url.strip_prefix("data:")?.split_once(";base64,")
}
