//! What an answer says, whoever tells it; and what a loss that was named excuses.

use crate::canon::{Answer, AnswerBlock, BlockStart, DialectName, StopReason, ToolKind};
use serde_json::Value;
use std::collections::BTreeMap;

/// By choice: what was said in words of one kind.
type Words = BTreeMap<u32, String>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub text: Words,
    pub refusal: Words,
    pub thinking: Words,
    /// What audio says.
    pub transcript: Words,
    pub calls: Vec<Call>,
    /// Uses of a provider's own tools that became items of Responses.
    pub hosted: usize,
    /// Kind and bytes (or address) of images, audio and video, by choice.
    pub media: Vec<(u32, &'static str, String)>,
    pub stops: Vec<(u32, StopReason)>,
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_written: u64,
    pub reasoning: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub choice: u32,
    pub id: String,
    pub name: String,
    pub kind: ToolKind,
    pub input: Value,
}

impl Told {
    pub(super) fn of(answer: &Answer) -> Self {
        let usage = &answer.usage;
        let mut told = Self {
            input: usage.input_total().0,
            output: usage.output.unwrap_or_default().0,
            cache_read: usage.cache_read.unwrap_or_default().0,
            cache_written: usage.cache_write_total().0,
            reasoning: usage.reasoning.unwrap_or_default().0,
            ..Self::default()
        };
        for block in &answer.blocks {
            told.block(block);
        }
        for words in told.words() {
            words.retain(|_, said| !said.is_empty());
        }
        let stops = answer.stops.iter();
        told.stops = stops
            .map(|(choice, why, _)| (*choice, why.clone()))
            .collect();
        told.stops.sort_by_key(|(choice, _)| *choice);
        told
    }

    /// Code that Gemini ran, and searches that it tells beside its answer, each once.
    pub(super) fn run_by_gemini(answer: &Answer) -> usize {
        let of = |value: Value| Some(value["webSearchQueries"].to_string());
        let grounded = answer.others.iter().filter(|(dialect, name, choice, _)| {
            *dialect == DialectName::Gemini && &**name == "groundingMetadata" && *choice == 0
        });
        let all: std::collections::BTreeSet<String> = grounded
            .filter_map(|(.., json)| of(json.read()?))
            .filter(|queries| !matches!(&**queries, "null" | "[]"))
            .collect();
        let code = answer.blocks.iter().filter(|block| match &block.start {
            BlockStart::Other { dialect, json } => {
                *dialect == DialectName::Gemini && json.get().contains("\"executableCode\"")
            }
            _ => false,
        });
        all.len() + code.count()
    }

    fn words(&mut self) -> [&mut Words; 4] {
        [
            &mut self.text,
            &mut self.refusal,
            &mut self.thinking,
            &mut self.transcript,
        ]
    }

    fn block(&mut self, block: &AnswerBlock) {
        let choice = block.choice;
        let add = |words: &mut Words| words.entry(choice).or_default().push_str(&block.text);
        let bytes = |url: &Option<crate::base::Str>| {
            url.as_ref()
                .map_or(block.base64.clone(), ToString::to_string)
        };
        match &block.start {
            BlockStart::Text => add(&mut self.text),
            BlockStart::Refusal => add(&mut self.refusal),
            BlockStart::Thinking => add(&mut self.thinking),
            BlockStart::ToolCall { id, name, kind } => self.calls.push(Call {
                choice,
                id: id.to_string(),
                name: name.to_string(),
                kind: kind.clone(),
                input: input_of(&block.text, kind),
            }),
            BlockStart::Image { url, .. } => self.media.push((choice, "image", bytes(url))),
            BlockStart::Video { url, .. } => self.media.push((choice, "video", bytes(url))),
            BlockStart::Audio { .. } => {
                self.media.push((choice, "audio", block.base64.clone()));
                add(&mut self.transcript);
            }
            BlockStart::Other {
                dialect: DialectName::Responses,
                json,
            } => {
                let item: Value = json.read().unwrap_or_default();
                let made = item["id"].as_str().is_some_and(|id| id.contains("_made_"));
                self.hosted += usize::from(made);
            }
            BlockStart::RedactedThinking { .. } | BlockStart::Other { .. } => {}
        }
    }

    /// What is left to be told where `name` was named as lost. An unknown name excuses nothing of what is compared.
    pub(super) fn without(&mut self, name: &str) {
        match name {
            "choices" => self.only_first_choice(),
            "refusal" => add_all(&mut self.text, &mut self.refusal),
            // Of a dialect that has words for what was spoken, and none for its sound.
            "audio" => {
                self.media.retain(|(_, kind, _)| *kind != name);
                add_all(&mut self.text, &mut self.transcript);
            }
            "transcript" => self.transcript.clear(),
            "thinking" => self.thinking.clear(),
            "image" | "video" => self.media.retain(|(_, kind, _)| *kind != name),
            "server_tool_use" => self.calls.retain(|c| c.kind != ToolKind::Server),
            "tool_input" => self.calls.iter_mut().for_each(Call::in_an_object),
            "cache_write_tokens" => self.cache_written = 0,
            "pause" => self.stop_instead(&StopReason::Pause, &StopReason::EndTurn),
            _ => {}
        }
    }

    fn only_first_choice(&mut self) {
        for words in self.words() {
            words.retain(|choice, _| *choice == 0);
        }
        self.calls.retain(|call| call.choice == 0);
        self.media.retain(|(choice, ..)| *choice == 0);
        self.stops.retain(|(choice, _)| *choice == 0);
    }

    fn stop_instead(&mut self, from: &StopReason, to: &StopReason) {
        for (_, why) in self.stops.iter_mut().filter(|(_, why)| why == from) {
            why.clone_from(to);
        }
    }

    /// In the nearest words that `dialect` has.
    pub(super) fn in_words_of(&mut self, dialect: DialectName) {
        for (_, from, to, _) in NEAREST.iter().filter(|(of, ..)| *of == dialect) {
            self.stop_instead(from, to);
        }
        if dialect == DialectName::Responses {
            let all = self.calls.len();
            self.calls
                .retain(|c| c.kind != ToolKind::Server || !HOSTED.contains(&&*c.name));
            self.hosted += all - self.calls.len();
        }
    }

    /// In one body, where `dialect` has only whole inputs: one that was cut stands in an object.
    pub(super) fn in_one_body_of(&mut self, dialect: DialectName) {
        if dialect == DialectName::Messages {
            self.calls.iter_mut().for_each(Call::in_an_object);
        }
    }
}

/// Claude's tools that have an item in Responses.
const HOSTED: [&str; 5] = [
    "web_search",
    "web_fetch",
    "code_execution",
    "bash_code_execution",
    "text_editor_code_execution",
];

/// Adds what was said in one kind of words to another.
fn add_all(to: &mut Words, from: &mut Words) {
    for (choice, said) in std::mem::take(from) {
        to.entry(choice).or_default().push_str(&said);
    }
}

impl Call {
    /// An input that is no object stands in the member `raw` of one.
    fn in_an_object(&mut self) {
        if !self.input.is_object() {
            self.input = serde_json::json!({ "raw": self.input });
        }
    }
}

/// Stop reasons that a dialect has no word of its own for: the nearest it has, and where that stands.
const NEAREST: &[(DialectName, StopReason, StopReason, &str)] = &[
    (
        DialectName::Messages,
        StopReason::ContentFilter,
        StopReason::Refusal,
        "its classifiers' filter is what Anthropic calls a refusal (docs, handling stop reasons)",
    ),
    (
        DialectName::Gemini,
        StopReason::Refusal,
        StopReason::ContentFilter,
        "FinishReason has SAFETY for both",
    ),
];

/// A call without a word is a call with nothing; one that was cut off is the text that came.
fn input_of(text: &str, kind: &ToolKind) -> Value {
    if *kind == ToolKind::Custom {
        return Value::from(text);
    }
    let text = if text.is_empty() { "{}" } else { text };
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}
