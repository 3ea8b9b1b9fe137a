//! What must be known of an answer whether or not its content is read: how it begins, what it used, how it ends.
//!
//! Shared by the decoder and by the lift of answers that pass, so that both say the same by construction.

use crate::base::{Json, Str};
use crate::canon::{Event, Malformed, StopReason, Usage};
use crate::protocol::dialect::chat::schema::{some_json, some_text, text};
use crate::protocol::dialect::responses::schema::{Item, Response, StreamEvent, word};
use crate::protocol::dialect::responses::{errors, usage};
use serde_json::Value;
use serde_json::value::RawValue;

/// What an event is to us, by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol::dialect) enum Kind {
    /// `response.created`, `queued`, `in_progress`: may begin the answer.
    Begins,
    /// `response.completed`, `incomplete`, `failed`, `cancelled`: ends it.
    Ends,
    Error,
    /// An item begins or is whole: tells whether tools are called.
    Item,
    /// A piece of a call, or of a refusal: tells by its name alone.
    Calls,
    Refuses,
    /// Any other of this API's events.
    Inside,
    /// Keep-alives, and what is none of this API's names.
    Foreign,
}

/// The type of an event: SSE's name where it is one of this API's, since that costs no parse, else what the JSON says.
fn type_of(name: &[u8], kind: Option<&RawValue>) -> String {
    let known = name.starts_with(b"response.") || name == b"error" || name == b"keepalive";
    match std::str::from_utf8(name) {
        Ok(name) if known => name.to_owned(),
        _ => kind
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default(),
    }
}

/// The type of `event` and what it is to us; an error object may come without a type.
pub(in crate::protocol::dialect) fn kind_of(
    name: &[u8],
    event: &StreamEvent<'_>,
) -> (String, Kind) {
    let word = type_of(name, event.kind);
    match Kind::of(&word) {
        Kind::Foreign if word.is_empty() && event.error.is_some() => (word, Kind::Error),
        kind => (word, kind),
    }
}

impl Kind {
    pub fn of(kind: &str) -> Self {
        match kind {
            "response.created" | "response.queued" | "response.in_progress" => Self::Begins,
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.done" => Self::Ends,
            "error" | "response.error" => Self::Error,
            "response.output_item.added" | "response.output_item.done" => Self::Item,
            _ if kind.starts_with("response.function_call_arguments.")
                || kind.starts_with("response.custom_tool_call_input.") =>
            {
                Self::Calls
            }
            _ if kind.starts_with("response.refusal.") => Self::Refuses,
            _ if kind.starts_with("response.") => Self::Inside,
            _ => Self::Foreign,
        }
    }
}

#[derive(Debug, Default)]
pub(in crate::protocol::dialect) struct Outline {
    pub started: bool,
    /// Nothing that follows counts.
    pub ended: bool,
    called: bool,
    refused: bool,
}

impl Outline {
    /// Takes note of what an event's type alone tells. False where it must be read for more.
    pub fn mark(&mut self, kind: Kind) -> bool {
        match kind {
            Kind::Calls => self.called = true,
            Kind::Refuses => self.refused = true,
            Kind::Inside | Kind::Begins => {}
            Kind::Foreign => return true,
            Kind::Item | Kind::Ends | Kind::Error => return false,
        }
        self.started
    }

    /// Takes note of an event that does not end the answer.
    pub fn see(
        &mut self,
        kind: Kind,
        event: &StreamEvent<'_>,
        body: &Str,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        self.mark(kind);
        match kind {
            Kind::Foreign | Kind::Ends | Kind::Error => return Ok(()),
            Kind::Begins | Kind::Inside | Kind::Calls | Kind::Refuses => {}
            Kind::Item => {
                if let Some(raw) = event.item {
                    self.item(&read("item", raw)?, body);
                }
            }
        }
        if !self.started {
            let response = match event.response {
                Some(raw) => read("response", raw)?,
                None => Response::default(),
            };
            self.start(&response, body, out);
        }
        Ok(())
    }

    pub fn start(&mut self, response: &Response<'_>, body: &Str, out: &mut Vec<Event>) {
        if self.started {
            return;
        }
        self.started = true;
        out.push(Event::Started {
            id: text(body, response.id).unwrap_or_default(),
            model: text(body, response.model).unwrap_or_default(),
            created: response
                .created_at
                .and_then(|raw| raw.get().parse::<f64>().ok())
                .map(|seconds| seconds as i64),
        });
    }

    fn item(&mut self, item: &Item<'_>, body: &Str) {
        match &*word(body, item.kind) {
            "function_call" | "custom_tool_call" => self.called = true,
            "message" => {
                let mut parts = item.parts().into_iter();
                self.refused |= parts.any(|p| some_text(body, p.refusal).is_some());
            }
            _ => {}
        }
    }

    /// A body that ends the answer: usage, then why. What its items say is told before by who reads them.
    pub fn end(
        &mut self,
        kind: &str,
        response: &Response<'_>,
        body: &Str,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        self.start(response, body, out);
        for raw in response.items() {
            self.item(&read("item", raw)?, body);
        }
        self.ended = true;
        self.usage(response, body, out);
        let status = word(body, response.status);
        let said = match (kind, &*status) {
            // The name of the event knows where the object does not say.
            ("response.completed" | "response.done", "" | "in_progress") => "completed",
            ("response.incomplete", _) => "incomplete",
            ("response.failed", _) => "failed",
            ("response.cancelled", _) => "cancelled",
            ("", "") => "completed",
            (_, status) => status,
        };
        if said == "failed" {
            let fault = errors::read_failed(some_json(body, response.error).as_ref());
            out.push(Event::Error(Box::new(fault)));
            return Ok(());
        }
        out.push(Event::Stop {
            choice: 0,
            reason: self.reason(said, response),
            sequence: None,
        });
        out.push(Event::Done);
        Ok(())
    }

    fn usage(&self, response: &Response<'_>, body: &Str, out: &mut Vec<Event>) {
        let tools = response.tool_usage.map(|raw| Json::within(body, raw));
        let read = response
            .usage
            .and_then(|raw| usage::read(Json::within(body, raw), tools.as_ref()));
        if let Some(usage) = read {
            out.push(Event::Usage(Box::new(Usage {
                service_tier: some_text(body, response.service_tier),
                ..usage
            })));
        }
    }

    /// OpenAI API reference, Response object, read 2026-08.
    fn reason(&self, status: &str, response: &Response<'_>) -> StopReason {
        match status {
            "completed" if self.called => StopReason::ToolUse,
            "completed" if self.refused => StopReason::Refusal,
            "completed" => StopReason::EndTurn,
            "incomplete" => {
                let details: Option<Value> = response
                    .incomplete_details
                    .and_then(|raw| serde_json::from_str(raw.get()).ok());
                let reason = details.as_ref().and_then(|d| d.get("reason")?.as_str());
                match reason {
                    Some("max_output_tokens" | "max_tokens") => StopReason::MaxTokens,
                    Some("content_filter") => StopReason::ContentFilter,
                    Some(word) => StopReason::Other(Str::from(word)),
                    None => StopReason::Other(Str::from_static("incomplete")),
                }
            }
            // An answer in the background that was asked for before its end, or was called off.
            other => StopReason::Other(Str::from(other)),
        }
    }
}

/// Its words for wrong types quote the value, so only the place is told.
pub(in crate::protocol::dialect) fn read<'a, T: serde::Deserialize<'a>>(
    place: &str,
    raw: &'a RawValue,
) -> Result<T, Malformed> {
    serde_json::from_str(raw.get())
        .map_err(|e| Malformed::at(format!("{place} at byte {}", e.column())))
}
