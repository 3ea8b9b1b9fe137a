//! What a request says, whoever is asked; and what a loss that was named excuses.

use super::requests::LIMIT;
use crate::canon::{
    Block, BlockKind, DialectName, Request, Role, Source, Tool, ToolChoice, ToolInput,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub system: String,
    /// What each speaker says, in order: words, calls, results, media.
    pub said: Vec<Said>,
    pub tools: Vec<(String, Value)>,
    pub choice: Option<ToolChoice>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub max_output: Option<u64>,
    pub stop: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Words(Role, String),
    Call(String, Value),
    Result(String),
    /// Not of which kind: one API's file is another's audio.
    Media(String),
}

impl Asked {
    pub(super) fn of(request: &Request) -> Self {
        let mut asked = Self {
            system: String::new(),
            said: Vec::new(),
            tools: request.tools.iter().filter_map(tool).collect(),
            choice: request.tool_choice.clone(),
            temperature: request.sampling.temperature,
            top_p: request.sampling.top_p,
            max_output: request.sampling.max_output.map(|t| t.0),
            stop: request
                .sampling
                .stop
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        for block in &request.system {
            if let BlockKind::Text { text, .. } = &block.kind {
                asked.system.push_str(text);
            }
        }
        for turn in &request.turns {
            for block in &turn.blocks {
                asked.block(turn.role, block);
            }
        }
        asked
    }

    fn block(&mut self, role: Role, block: &Block) {
        match &block.kind {
            BlockKind::Text { text, .. } | BlockKind::Refusal { text } => self.words(role, text),
            BlockKind::ToolCall { name, input, .. } => {
                let text = match input {
                    ToolInput::Json(json) => json.get(),
                    ToolInput::Text(text) => text,
                };
                let input = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
                self.said.push(Said::Call(name.to_string(), input));
            }
            BlockKind::ToolResult { content, .. } => {
                let texts = content.iter().filter_map(|b| match &b.kind {
                    BlockKind::Text { text, .. } => Some(&**text),
                    _ => None,
                });
                self.said.push(Said::Result(texts.collect()));
                for block in content
                    .iter()
                    .filter(|b| !matches!(b.kind, BlockKind::Text { .. }))
                {
                    self.block(role, block);
                }
            }
            BlockKind::Image { source, .. }
            | BlockKind::Document { source, .. }
            | BlockKind::Audio { source, .. }
            | BlockKind::Video { source } => self.media(source),
            BlockKind::Thinking { .. }
            | BlockKind::RedactedThinking { .. }
            | BlockKind::Other { .. } => {}
        }
    }

    /// Words that follow words of the same speaker are one telling: dialects cut turns differently.
    fn words(&mut self, role: Role, text: &str) {
        match self.said.last_mut() {
            Some(Said::Words(last, words)) if *last == role => words.push_str(text),
            _ => self.said.push(Said::Words(role, text.to_owned())),
        }
    }

    fn media(&mut self, source: &Source) {
        let what = match source {
            // Some APIs take texts as they are, others only as bytes.
            Source::Base64 { data, .. } => {
                let bytes = STANDARD.decode(data.as_bytes()).ok();
                let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
                text.unwrap_or_else(|| data.to_string())
            }
            Source::Url { url, .. } => url.to_string(),
            Source::File { id } => id.to_string(),
            Source::Text { text, .. } => text.to_string(),
            Source::Blocks(_) => "blocks".to_owned(),
        };
        self.said.push(Said::Media(what));
    }

    /// What is left to be asked where `name` was named as left out. An unknown name excuses nothing of what is compared.
    pub(super) fn without(&mut self, name: &str) {
        match name {
            "temperature" => self.temperature = None,
            "top_p" => self.top_p = None,
            _ => {}
        }
    }

    /// With the limit raised to the least that an API takes, where `name` tells so.
    pub(super) fn raised(&mut self, name: &str) {
        if let Some(limit) = name.strip_prefix("max_output=") {
            self.max_output = limit.parse().ok();
        }
    }

    /// In the nearest words that `to` has.
    pub(super) fn in_words_of(&mut self, to: DialectName) {
        if to == DialectName::Messages {
            // Section 2 of its reference: `max_tokens` is demanded.
            self.max_output.get_or_insert(LIMIT);
        }
        // Both Claude's APIs want a user to begin.
        let begins = Said::Words(
            Role::User,
            "(The assistant begins the conversation.)".to_owned(),
        );
        if self.said.first() == Some(&begins) {
            self.said.remove(0);
        }
    }
}

fn tool(tool: &Tool) -> Option<(String, Value)> {
    match tool {
        Tool::Function { name, schema, .. } => {
            let schema = schema.as_ref().and_then(|s| s.read());
            Some((name.to_string(), schema.unwrap_or_default()))
        }
        Tool::Custom { name, .. } => Some((name.to_string(), Value::from("custom"))),
        Tool::Other { .. } => None,
    }
}
