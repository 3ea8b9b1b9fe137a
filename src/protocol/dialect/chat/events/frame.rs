//! What Chat Completions and Completions have in common, whose chunks differ in their choices alone: where an answer stands, read, and how its
//! chunks begin and its stream ends, written.

use super::usage;
use crate::canon::{Event, Fault, Malformed, Usage};
use crate::protocol::dialect::Opening;
use crate::protocol::dialect::chat::errors;
use crate::protocol::json;
use bytes::BytesMut;

/// Where an answer that is read stands.
#[derive(Debug, Default)]
pub(in crate::protocol::dialect) struct Course {
    pub started: bool,
    pub failed: bool,
    done: bool,
}

impl Course {
    /// Whether what still comes is nobody's.
    pub fn is_over(&self) -> bool {
        self.failed || self.done
    }

    pub fn fail(&mut self, fault: Fault, out: &mut Vec<Event>) {
        self.failed = true;
        out.push(Event::Error(Box::new(fault)));
    }

    /// The end mark, or the end of the stream. `stopped`: for each choice, whether it has a finish reason; only what has them all is whole.
    pub fn end(&mut self, stopped: impl IntoIterator<Item = bool>, out: &mut Vec<Event>) {
        let mut stopped = stopped.into_iter().peekable();
        let whole = stopped.peek().is_some() && stopped.all(|stopped| stopped);
        if whole && !self.is_over() {
            self.done = true;
            out.push(Event::Done);
        }
    }

    /// The stream ended. `Err` for an answer that is not whole.
    pub fn finish(
        &mut self,
        stopped: impl IntoIterator<Item = bool>,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        self.end(stopped, out);
        if self.is_over() {
            return Ok(());
        }
        Err(Malformed::at(if self.started {
            "the stream ended without a finish_reason for every choice"
        } else {
            "the stream ended before its first chunk"
        }))
    }
}

/// What stands around the choices of every chunk that is written.
#[derive(Debug)]
pub(in crate::protocol::dialect) struct Frame {
    stream_usage: bool,
    /// What every chunk begins with, up to its choices.
    head: BytesMut,
    pub usage: Usage,
    dropped: Vec<String>,
}

impl Frame {
    pub fn new(opening: &Opening, object: &str) -> Self {
        let mut head = BytesMut::from("data: ");
        begin(opening, object, &mut head);
        Self {
            stream_usage: opening.stream_usage,
            head,
            usage: Usage::default(),
            dropped: Vec::new(),
        }
    }

    /// Appends what a chunk has ahead of its choices, which follow.
    pub fn open(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.head);
    }

    /// OpenAI: where usage was asked for, all other chunks say that theirs is null.
    pub fn close(&self, out: &mut BytesMut) {
        if self.stream_usage {
            out.extend_from_slice(b",\"usage\":null");
        }
        out.extend_from_slice(b"}\n\n");
    }

    /// Appends usage where it was asked for, behind what `beside` adds to that chunk, and `[DONE]`.
    pub fn finish(&self, beside: impl FnOnce(&mut BytesMut), out: &mut BytesMut) {
        if self.stream_usage {
            self.open(out);
            out.extend_from_slice(b"[]");
            beside(out);
            json::key("usage", out);
            usage::write(&self.usage, out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// Names of what the answer held and the dialect has no words for, each once.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    pub fn drop(&mut self, name: &str) {
        if !self.dropped.iter().any(|d| d == name) {
            self.dropped.push(name.to_owned());
        }
    }
}

/// What a chunk and a whole answer begin with, up to the choices.
pub(in crate::protocol::dialect) fn begin(opening: &Opening, object: &str, out: &mut BytesMut) {
    out.extend_from_slice(b"{");
    json::field("id", &opening.id, out);
    json::field("object", object, out);
    json::key("created", out);
    json::integer(opening.created, out);
    json::field("model", &opening.model, out);
    json::key("choices", out);
}

/// Appends the error as a data event; no `[DONE]` follows, as at OpenAI.
pub(in crate::protocol::dialect) fn fail(fault: &Fault, out: &mut BytesMut) {
    out.extend_from_slice(b"data: {");
    errors::write_object(fault, out);
    out.extend_from_slice(b"}\n\n");
}
