//! A provider's chunks, or its one body → events.
//!
//! A choice is one block of text. Never holds back text.

use crate::base::{Json, Str};
use crate::canon::{
    BlockStart, Delta, DialectName, Event, Fault, FaultClass, Malformed, StopReason,
};
use crate::protocol::dialect::chat::errors;
use crate::protocol::dialect::chat::events::decoder::utf8;
use crate::protocol::dialect::chat::events::frame::Course;
use crate::protocol::dialect::chat::events::usage;
use crate::protocol::dialect::chat::schema::{self, some_json, some_text};
use crate::protocol::framing::sse::SseEvent;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

/// `text_completion`, whole or a chunk of it (OpenAI API reference, the completion object, read 2026-11).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Said<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    /// vLLM and SGLang: the stop sequence that was met, or a token's number.
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    matched_stop: Option<&'a RawValue>,
    /// Of Chat Completions, whose answer is none of ours.
    message: Option<IgnoredAny>,
    delta: Option<IgnoredAny>,
}

/// Reads one answer. One value an attempt; give it the SSE events in order, or the body.
#[derive(Debug, Default)]
pub struct Decoder {
    course: Course,
    blocks: u32,
    choices: Vec<Choice>,
    usage: Option<Json>,
}

#[derive(Debug)]
struct Choice {
    number: u32,
    block: Option<u32>,
    stopped: bool,
}

impl Decoder {
    /// Appends to `out` what `sse` means, which may be nothing.
    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.course.is_over() {
            return Ok(());
        }
        match sse.data.trim_ascii() {
            b"" => Ok(()),
            b"[DONE]" => {
                // Only what was finished is whole: without a finish reason `finish` refuses.
                self.course.end(self.choices.iter().map(|c| c.stopped), out);
                Ok(())
            }
            data => self.chunk(&utf8(sse.data.slice_ref(data))?, &sse.name, out),
        }
    }

    /// An answer that came in one body, `Done` included.
    pub fn whole(&mut self, body: &Bytes, out: &mut Vec<Event>) -> Result<(), Malformed> {
        self.chunk(&utf8(body.clone())?, b"", out)?;
        if self.course.failed {
            return Ok(());
        }
        // A body that parsed was not cut: who leaves out the finish reason has finished.
        for at in 0..self.choices.len() {
            self.stop(at, "stop", None, out);
        }
        self.finish(out)
    }

    /// The stream ended.
    pub fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        self.course
            .finish(self.choices.iter().map(|c| c.stopped), out)
    }

    fn chunk(&mut self, body: &Str, name: &[u8], out: &mut Vec<Event>) -> Result<(), Malformed> {
        // Without serde's own words, which may quote the answer.
        let chunk: Chunk<'_> = serde_json::from_str(body).map_err(|e| {
            let (line, column) = (e.line(), e.column());
            Malformed::at(format!(
                "not a chunk of Completions, line {line} column {column}"
            ))
        })?;
        if let Some(fault) = fault_in(&chunk, body, name) {
            self.course.fail(fault, out);
            return Ok(());
        }
        self.start(&chunk, body, out);
        for (position, said) in chunk.choices.iter().flatten().enumerate() {
            self.choice(position, said, body, out)?;
        }
        self.usage(chunk.usage, body, out);
        Ok(())
    }

    fn start(&mut self, chunk: &Chunk<'_>, body: &Str, out: &mut Vec<Event>) {
        // Azure's first chunk has only what its filter said of the prompt.
        let empty = chunk.choices.as_ref().is_none_or(Vec::is_empty);
        if self.course.started || (empty && chunk.usage.is_none()) {
            return;
        }
        self.course.started = true;
        let seconds = chunk.created.and_then(|raw| raw.get().parse::<f64>().ok());
        out.push(Event::Started {
            id: schema::text(body, chunk.id).unwrap_or_default(),
            model: schema::text(body, chunk.model).unwrap_or_default(),
            created: seconds.map(|s| s as i64),
        });
    }

    fn choice(
        &mut self,
        position: usize,
        said: &Said<'_>,
        body: &Str,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        if said.text.is_none() && (said.message.is_some() || said.delta.is_some()) {
            return Err(Malformed::at(
                "an answer of Chat Completions where one of Completions was asked for",
            ));
        }
        let number = said.index.unwrap_or(position as u32);
        let at = match self.choices.iter().position(|c| c.number == number) {
            Some(at) => at,
            None if self.choices.len() >= CHOICES_MAX => {
                return Err(Malformed::at("chunk: too many choices"));
            }
            None => {
                self.choices.push(Choice {
                    number,
                    block: None,
                    stopped: false,
                });
                self.choices.len() - 1
            }
        };
        if let Some(text) = some_text(body, said.text) {
            let index = self.open(at, out);
            let delta = Delta::Text(text);
            out.push(Event::BlockDelta { index, delta });
        }
        if let Some(json) = some_json(body, said.logprobs) {
            out.push(Event::Other {
                dialect: DialectName::Completions,
                name: Str::from_static("logprobs"),
                choice: number,
                json,
            });
        }
        if let Some(reason) = some_text(body, said.finish_reason) {
            let met = said.stop_reason.or(said.matched_stop);
            self.stop(at, &reason, some_text(body, met), out);
        }
        Ok(())
    }

    fn open(&mut self, at: usize, out: &mut Vec<Event>) -> u32 {
        let choice = &mut self.choices[at];
        if let Some(index) = choice.block {
            return index;
        }
        let index = self.blocks;
        self.blocks += 1;
        choice.block = Some(index);
        out.push(Event::BlockStart {
            index,
            choice: choice.number,
            block: BlockStart::Text,
        });
        index
    }

    /// The first finish reason counts.
    fn stop(&mut self, at: usize, reason: &str, met: Option<Str>, out: &mut Vec<Event>) {
        let choice = &mut self.choices[at];
        if let Some(index) = choice.block.take() {
            out.push(Event::BlockStop { index });
        }
        if std::mem::replace(&mut choice.stopped, true) {
            return;
        }
        let reason = match reason {
            "stop" if met.is_some() => StopReason::StopSequence,
            "stop" => StopReason::EndTurn,
            "length" => StopReason::MaxTokens,
            "content_filter" => StopReason::ContentFilter,
            other => StopReason::Other(Str::from(other)),
        };
        out.push(Event::Stop {
            choice: choice.number,
            sequence: met.filter(|_| reason == StopReason::StopSequence),
            reason,
        });
    }

    /// vLLM can say usage with every chunk; the same words mean nothing new.
    fn usage(&mut self, raw: Option<&RawValue>, body: &Str, out: &mut Vec<Event>) {
        let Some(json) = raw.map(|r| Json::within(body, r)) else {
            return;
        };
        if self.usage.as_ref() == Some(&json) {
            return;
        }
        self.usage = Some(json.clone());
        if let Some(usage) = usage::read(json) {
            out.push(Event::Usage(Box::new(usage)));
        }
    }
}

/// Prompts times `n`, both at most 128 where OpenAI answers; a bound on what is remembered, beyond any use that we know of.
const CHOICES_MAX: usize = 4_096;

/// A failure that came as a chunk: with `error`, flat as SGLang's, under SSE's own name for it, or with no field of an answer at all.
fn fault_in(chunk: &Chunk<'_>, body: &Str, name: &[u8]) -> Option<Fault> {
    let flat = chunk.object.is_some_and(|o| o.get() == "\"error\"");
    let nothing = chunk.choices.is_none() && chunk.usage.is_none();
    let foreign = nothing && chunk.id.is_none() && chunk.object.is_none();
    if chunk.error.is_none() && !flat && !foreign && name != b"error" {
        return None;
    }
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let mut fault = errors::read_value(None, &value);
    if fault.upstream_status.is_none() && fault.class == FaultClass::Invalid && foreign {
        fault.class = FaultClass::UpstreamBroken;
    }
    Some(fault)
}
