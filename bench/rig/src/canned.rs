//! Fixed answers in the providers' words: one of about 1 KB, and a stream of so many chunks.
//!
//! OpenAI API reference (Chat Completions, streaming) and Anthropic docs (Messages, streaming), read 2026-08. Written once at start;
//! nothing here looks at what was asked.

use bytes::Bytes;
use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    Chat,
    Messages,
}

impl Dialect {
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Messages => "/v1/messages",
        }
    }

    /// By the path asked; with or without a prefix.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let path = path.split('?').next().unwrap_or(path);
        [Self::Chat, Self::Messages]
            .into_iter()
            .find(|d| path.ends_with(d.path()))
    }

    /// What every stream of it ends with.
    #[must_use]
    pub fn last_words(self) -> &'static [u8] {
        match self {
            Self::Chat => b"data: [DONE]\n\n",
            Self::Messages => b"data: {\"type\":\"message_stop\"}\n\n",
        }
    }
}

/// Both forms of an answer of one dialect.
pub struct Canned {
    pub whole: Bytes,
    /// One slice an SSE event.
    pub events: Vec<Bytes>,
}

const MODEL: &str = "bench-model";
const WORDS: &str = " the boiler is hot";

impl Canned {
    /// A whole answer of exactly `bytes` bytes (or the least there can be), and a stream with `chunks` pieces of text.
    #[must_use]
    pub fn new(dialect: Dialect, bytes: usize, chunks: usize) -> Self {
        let least = whole(dialect, "").len();
        let text: String = WORDS
            .chars()
            .cycle()
            .take(bytes.saturating_sub(least))
            .collect();
        Self {
            whole: whole(dialect, &text).into(),
            events: match dialect {
                Dialect::Chat => chat_events(chunks),
                Dialect::Messages => messages_events(chunks),
            },
        }
    }
}

fn whole(dialect: Dialect, text: &str) -> String {
    match dialect {
        Dialect::Chat => format!(
            "{{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1780000000,\"model\":\"{MODEL}\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\",\"refusal\":null,\"annotations\":[]}},\"logprobs\":null,\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":250,\"completion_tokens\":120,\"total_tokens\":370,\"prompt_tokens_details\":{{\"cached_tokens\":0}},\"completion_tokens_details\":{{\"reasoning_tokens\":0}}}},\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\"}}"
        ),
        Dialect::Messages => format!(
            "{{\"model\":\"{MODEL}\",\"id\":\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{{\"input_tokens\":250,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":120,\"service_tier\":\"standard\"}}}}"
        ),
    }
}

fn chat_events(chunks: usize) -> Vec<Bytes> {
    let event = |choices: &str, usage: &str| {
        Bytes::from(format!(
            "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1780000000,\"model\":\"{MODEL}\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\",\"choices\":[{choices}],\"usage\":{usage}}}\n\n"
        ))
    };
    let choice = |delta: &str, finish: &str| {
        event(
            &format!(
                "{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}"
            ),
            "null",
        )
    };
    let mut events = vec![choice(
        "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}",
        "null",
    )];
    let piece = choice(&format!("{{\"content\":\"{WORDS}\"}}"), "null");
    events.extend((0..chunks).map(|_| piece.clone()));
    events.push(choice("{}", "\"stop\""));
    events.push(event(
        "",
        &format!("{{\"prompt_tokens\":250,\"completion_tokens\":{0},\"total_tokens\":{1},\"prompt_tokens_details\":{{\"cached_tokens\":0}},\"completion_tokens_details\":{{\"reasoning_tokens\":0}}}}", chunks, chunks + 250),
    ));
    events.push(Bytes::from_static(Dialect::Chat.last_words()));
    events
}

fn messages_events(chunks: usize) -> Vec<Bytes> {
    let event = |name: &str, rest: &str| {
        Bytes::from(format!(
            "event: {name}\ndata: {{\"type\":\"{name}\"{rest}}}\n\n"
        ))
    };
    let mut events = vec![
        event(
            "message_start",
            &format!(
                ",\"message\":{{\"model\":\"{MODEL}\",\"id\":\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{{\"input_tokens\":250,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":1,\"service_tier\":\"standard\"}}}}"
            ),
        ),
        event(
            "content_block_start",
            ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}",
        ),
    ];
    let piece = event(
        "content_block_delta",
        &format!(",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{WORDS}\"}}"),
    );
    events.extend((0..chunks).map(|_| piece.clone()));
    events.push(event("content_block_stop", ",\"index\":0"));
    events.push(event(
        "message_delta",
        &format!(",\"delta\":{{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}},\"usage\":{{\"output_tokens\":{chunks}}}"),
    ));
    events.push(event("message_stop", ""));
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_json_of_the_size_asked() {
        for dialect in [Dialect::Chat, Dialect::Messages] {
            let canned = Canned::new(dialect, 1_024, 3);
            assert_eq!(canned.whole.len(), 1_024);
            let _: serde_json::Value = serde_json::from_slice(&canned.whole).unwrap();
        }
    }

    #[test]
    fn streams_are_json_events_and_end_with_the_last_words() {
        for dialect in [Dialect::Chat, Dialect::Messages] {
            let canned = Canned::new(dialect, 0, 50);
            assert!(canned.events.len() >= 53);
            assert!(
                canned
                    .events
                    .last()
                    .unwrap()
                    .ends_with(dialect.last_words())
            );
            for event in &canned.events {
                let text = std::str::from_utf8(event).unwrap();
                let (_, data) = text.trim_end().rsplit_once("data: ").unwrap();
                assert!(
                    data == "[DONE]" || serde_json::from_str::<serde_json::Value>(data).is_ok()
                );
            }
        }
    }
}
