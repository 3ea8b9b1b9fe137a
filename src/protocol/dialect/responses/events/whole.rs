//! The response object: what the first and last events of a stream hold, and the body of an answer that is not streamed.
//!
//! Fields that repeat the request (`tools`, `temperature`, …) come with the opening. `store` is false whatever was asked: nobody keeps an
//! answer that we wrote, and that is how the API says so.

use super::encoder::Encoder;
use super::growing::number_signed;
use crate::canon::{Answer, Fault, StopReason, Usage};
use crate::protocol::dialect::chat::events::usage::tier;
use crate::protocol::dialect::responses::{errors, usage};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};

impl Encoder {
    /// The answer's status, and why it is incomplete.
    pub(super) fn status(&self) -> (&str, Option<&str>) {
        match &self.stop {
            Some(StopReason::MaxTokens | StopReason::ContextWindow) => {
                ("incomplete", Some("max_output_tokens"))
            }
            Some(StopReason::ContentFilter) => ("incomplete", Some("content_filter")),
            // A refusal that was written as one is whole; one that the model left unsaid has been filtered.
            Some(StopReason::Refusal) if !self.refused => ("incomplete", Some("content_filter")),
            Some(StopReason::Other(word)) => match &**word {
                "queued" | "in_progress" | "cancelled" => (word, None),
                "incomplete" => ("incomplete", None),
                word => ("incomplete", Some(word)),
            },
            Some(
                StopReason::EndTurn
                | StopReason::StopSequence
                | StopReason::ToolUse
                | StopReason::Refusal
                | StopReason::Pause,
            )
            | None => ("completed", None),
        }
    }

    /// The response object as it is by now.
    pub(super) fn response(&self, status: &str, fault: Option<&Fault>) -> BytesMut {
        let mut out = BytesMut::from("{");
        let id = &self.opening.id;
        let prefix = if id.starts_with("resp_") { "" } else { "resp_" };
        json::field("id", &format!("{prefix}{id}"), &mut out);
        json::field("object", "response", &mut out);
        number_signed("created_at", self.opening.created, &mut out);
        json::field("status", status, &mut out);
        out.extend_from_slice(b",\"background\":false");
        json::key("completed_at", &mut out);
        match self.completed_at.filter(|_| status == "completed") {
            Some(at) => json::integer(at, &mut out),
            None => out.extend_from_slice(b"null"),
        }
        failure(fault, &mut out);
        json::key("incomplete_details", &mut out);
        match self.status() {
            ("incomplete", Some(reason)) if status == "incomplete" => {
                out.extend_from_slice(b"{");
                json::field("reason", reason, &mut out);
                out.extend_from_slice(b"}");
            }
            _ => out.extend_from_slice(b"null"),
        }
        self.opening.echo.write(&mut out);
        json::field("model", &self.opening.model, &mut out);
        json::key("output", &mut out);
        out.extend_from_slice(b"[");
        for item in self.output.iter().flatten() {
            json::comma(&mut out);
            out.extend_from_slice(item);
        }
        out.extend_from_slice(b"],\"store\":false");
        match &self.usage.service_tier {
            Some(used) => json::field("service_tier", tier(used), &mut out),
            // One was asked for, and the provider does not say which served.
            None if self.opening.echo.tier => json::field("service_tier", "default", &mut out),
            None => {}
        }
        if let Some(searches) = self.usage.web_searches {
            out.extend_from_slice(b",\"tool_usage\":{\"web_search\":{\"num_requests\":");
            json::integer(searches, &mut out);
            out.extend_from_slice(b"}}");
        }
        json::key("usage", &mut out);
        if self.usage == Usage::default() {
            out.extend_from_slice(b"null");
        } else {
            usage::write(&self.usage, &mut out);
        }
        out.extend_from_slice(b"}");
        out
    }
}

fn failure(fault: Option<&Fault>, out: &mut BytesMut) {
    json::key("error", out);
    match fault {
        Some(fault) => {
            out.extend_from_slice(b"{");
            json::field("code", errors::code(fault), out);
            json::field("message", &fault.message, out);
            out.extend_from_slice(b"}");
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// The body of an answer that is not streamed: what the last event of its stream would hold.
#[must_use]
pub fn write_whole(answer: &Answer, opening: &Opening, closing: &Closing) -> Bytes {
    let mut encoder = Encoder::with(opening.clone(), true);
    let mut nothing = BytesMut::new();
    for event in answer.events() {
        encoder.event(&event, &mut nothing);
    }
    if let Some(fault) = &answer.error {
        return encoder.response("failed", Some(fault)).freeze();
    }
    encoder.finish(closing, &mut nothing);
    let (status, _) = encoder.status();
    encoder.response(status, None).freeze()
}
