//! What a client asks, in each dialect, and what it makes of the answer.

use super::client::{Answer, request};
use super::house::KEY;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Chat,
    Messages,
    Native,
}

pub const DIALECTS: [Dialect; 3] = [Dialect::Chat, Dialect::Messages, Dialect::Native];

#[derive(Clone, Debug)]
pub struct Ask {
    pub dialect: Dialect,
    pub stream: bool,
    pub body: Value,
    pub headers: Vec<(&'static str, String)>,
}

impl Ask {
    pub fn new(dialect: Dialect, model: &str, text: &str) -> Self {
        let body = match dialect {
            Dialect::Chat => {
                json!({"model": model, "messages": [{"role": "user", "content": text}]})
            }
            Dialect::Messages => json!({
                "model": model, "max_tokens": 1_000_000, "messages": [{"role": "user", "content": text}],
            }),
            Dialect::Native => json!({"model": model, "input": text}),
        };
        Self {
            dialect,
            stream: false,
            body,
            headers: Vec::new(),
        }
    }

    pub fn chat(model: &str, text: &str) -> Self {
        Self::new(Dialect::Chat, model, text)
    }

    pub fn streamed(mut self) -> Self {
        self.stream = true;
        self.body["stream"] = json!(true);
        if self.dialect == Dialect::Chat {
            self.body["stream_options"] = json!({"include_usage": true});
        }
        self
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn path(&self) -> &'static str {
        match self.dialect {
            Dialect::Chat => "/v1/chat/completions",
            Dialect::Messages => "/v1/messages",
            Dialect::Native if self.stream => "/api/v1/stream",
            Dialect::Native => "/api/v1/generate",
        }
    }

    pub fn all_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("authorization", format!("Bearer {KEY}")),
            ("content-type", "application/json".to_owned()),
        ];
        headers.extend(self.headers.iter().cloned());
        headers
    }

    pub fn http1(&self) -> Vec<u8> {
        let headers = self.all_headers();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, &**v)).collect();
        request(
            "POST",
            self.path(),
            &headers,
            self.body.to_string().as_bytes(),
        )
    }
}

/// What an answer amounts to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Said {
    pub text: String,
    pub output_tokens: u64,
    /// An error event or envelope was there.
    pub error: Option<String>,
    /// It ended as its dialect ends.
    pub ended: bool,
}

/// Reads an answer of `ask`; panics on what is not its dialect.
pub fn read(ask: &Ask, answer: &Answer) -> Said {
    let kind = answer.head.header("content-type").unwrap_or_default();
    if answer.head.status == 200 && ask.stream {
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        return read_stream(ask.dialect, &answer.text());
    }
    assert!(
        kind.starts_with("application/json"),
        "{kind}: {}",
        answer.text()
    );
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    if answer.head.status != 200 {
        return Said {
            error: Some(error_of(ask.dialect, &body)),
            ..Said::default()
        };
    }
    let said = match ask.dialect {
        Dialect::Chat => (
            text_at(&body, "/choices/0/message/content"),
            &body["usage"]["completion_tokens"],
        ),
        Dialect::Messages => (
            text_at(&body, "/content/0/text"),
            &body["usage"]["output_tokens"],
        ),
        Dialect::Native => (
            text_at(&body, "/blocks/0/text"),
            &body["usage"]["output_tokens"],
        ),
    };
    Said {
        output_tokens: said.1.as_u64().unwrap_or_default(),
        text: said.0,
        error: None,
        ended: true,
    }
}

fn text_at(body: &Value, at: &str) -> String {
    let found = body.pointer(at).and_then(Value::as_str);
    found
        .unwrap_or_else(|| panic!("no {at} in {body}"))
        .to_owned()
}

/// The message of an error in the envelope of its dialect, and of no other.
pub fn error_of(dialect: Dialect, body: &Value) -> String {
    let error = &body["error"];
    if dialect == Dialect::Messages {
        assert_eq!(body["type"], "error", "{body}");
        assert!(error["type"].is_string(), "{body}");
    }
    if dialect == Dialect::Chat {
        assert!(
            error.get("type").is_some() && error.get("param").is_some(),
            "{body}"
        );
    }
    if dialect == Dialect::Native {
        assert!(error["class"].is_string(), "{body}");
    }
    text_at(body, "/error/message")
}

/// Name and data of each event; comments are left out.
pub fn events(text: &str) -> Vec<(String, String)> {
    let mut events = Vec::new();
    for event in text.split("\n\n") {
        let field = |name: &str| {
            let lines = event.lines().filter_map(|l| l.strip_prefix(name));
            lines.map(|l| l.trim_start().to_owned()).collect::<String>()
        };
        let data = field("data:");
        if !data.is_empty() {
            events.push((field("event:"), data));
        }
    }
    events
}

fn read_stream(dialect: Dialect, text: &str) -> Said {
    let mut said = Said::default();
    for (_, data) in events(text) {
        if data == "[DONE]" {
            assert_eq!(dialect, Dialect::Chat);
            assert!(said.error.is_none(), "an end after an error: {text}");
            said.ended = true;
            continue;
        }
        assert!(!said.ended, "something after the end: {text}");
        let event: Value = serde_json::from_str(&data).expect("JSON in an event");
        said.event(dialect, &event);
    }
    said
}

impl Said {
    fn event(&mut self, dialect: Dialect, event: &Value) {
        let kind = event["type"].as_str().unwrap_or_default();
        let add = |text: &mut String, at: &str| {
            *text += event
                .pointer(at)
                .and_then(Value::as_str)
                .unwrap_or_default();
        };
        let number = |at: &str| event.pointer(at).and_then(Value::as_u64);
        match (dialect, kind) {
            (Dialect::Chat, _) if event.get("error").is_some() => {
                self.error = Some(error_of(dialect, event));
            }
            (Dialect::Chat, _) => {
                add(&mut self.text, "/choices/0/delta/content");
                self.output_tokens =
                    number("/usage/completion_tokens").unwrap_or(self.output_tokens);
            }
            (_, "error") => self.error = Some(error_of(dialect, event)),
            (Dialect::Messages, "content_block_delta") => add(&mut self.text, "/delta/text"),
            (Dialect::Messages, "message_delta") => {
                self.output_tokens = number("/usage/output_tokens").unwrap_or(self.output_tokens);
            }
            (Dialect::Messages, "message_stop") => self.ended = true,
            (Dialect::Native, "block.delta") => add(&mut self.text, "/delta/text"),
            (Dialect::Native, "usage") => {
                self.output_tokens = number("/usage/output_tokens").unwrap_or(self.output_tokens);
            }
            (Dialect::Native, "response.done") => self.ended = true,
            _ => {}
        }
    }
}
