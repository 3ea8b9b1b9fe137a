//! A provider's chunks, or its one body → events.
//!
//! Each chunk is a whole response with a piece of the answer in it; parts carry no numbers, so neighbours of one kind are one block. There is
//! no end mark: an answer is whole when every candidate has said why it stopped.

use super::calls::Pending;
use super::stop::{self, Finish};
use super::{citations, usage};
use crate::base::{Json, Str};
use crate::canon::{
    BlockStart, Citation, Delta, DialectName, Event, Fault, Malformed, ToolKind, Usage,
};
use crate::protocol::dialect::gemini::errors;
use crate::protocol::dialect::gemini::request::MADE_ID;
use crate::protocol::dialect::gemini::schema::{
    self, Blob, Candidate, Chunk, FunctionCall, Part, json, some_text, text,
};
use crate::protocol::framing::sse::SseEvent;
use bytes::Bytes;
use serde_json::value::RawValue;

/// Reads one answer. One value an attempt; give it the events in order, or the body.
#[derive(Debug, Default)]
pub struct Decoder {
    id: Str,
    started: bool,
    blocks: u32,
    said: bool,
    candidates: Vec<State>,
    usage: Option<Json>,
    searches: u64,
    done: bool,
    failed: bool,
}

/// What is known of one candidate.
#[derive(Debug, Default)]
struct State {
    number: u32,
    /// The block that parts go on with.
    open: Option<(u32, Kind)>,
    pending: Option<Pending>,
    calls: usize,
    stopped: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Text,
    Thinking,
    /// Of this type, and whether its bytes so far end such that more can follow.
    Audio(Str, bool),
}

/// Where events go, and what numbers blocks.
struct Sink<'a> {
    choice: u32,
    answer: &'a str,
    blocks: &'a mut u32,
    out: &'a mut Vec<Event>,
}

impl Sink<'_> {
    fn start(&mut self, block: BlockStart) -> u32 {
        let index = *self.blocks;
        *self.blocks += 1;
        self.out.push(Event::BlockStart {
            index,
            choice: self.choice,
            block,
        });
        index
    }

    fn delta(&mut self, index: u32, delta: Delta) {
        self.out.push(Event::BlockDelta { index, delta });
    }

    fn stop(&mut self, index: u32) {
        self.out.push(Event::BlockStop { index });
    }

    /// A block that came in one piece.
    fn whole(&mut self, block: BlockStart, deltas: impl IntoIterator<Item = Delta>) {
        let index = self.start(block);
        for delta in deltas {
            self.delta(index, delta);
        }
        self.stop(index);
    }

    fn other(&mut self, name: Str, json: Json) {
        self.out.push(Event::Other {
            dialect: DialectName::Gemini,
            name,
            choice: self.choice,
            json,
        });
    }

    /// An id for a call that came without one: the same every time, and one of its own in each answer.
    fn made_id(&self, number: usize) -> Str {
        let safe = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let answer: String = self.answer.chars().filter(safe).take(40).collect();
        Str::from(format!("{MADE_ID}{answer}_{}_{number}", self.choice))
    }
}

// Google takes at most 8; a bound on what a broken provider can make us keep.
pub(in crate::protocol::dialect) const CANDIDATES_MAX: usize = 128;

impl Decoder {
    /// Appends to `out` what `sse` means, which may be nothing.
    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.failed || self.done {
            return Ok(());
        }
        let data = sse.data.trim_ascii();
        match data {
            // Google has no end mark, but proxies add OpenAI's.
            b"" | b"[DONE]" => Ok(()),
            _ => self.value(&utf8(sse.data.slice_ref(data))?, &sse.name, out),
        }
    }

    /// An answer that came in one body, `Done` included: an object, or the array of a stream that was not asked for as SSE.
    pub fn whole(&mut self, body: &Bytes, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let body = utf8(body.clone())?;
        self.value(&body, b"", out)?;
        // An object that parsed was not cut; an array may have ended too early.
        if !self.failed && body.trim_start().starts_with('{') {
            for at in 0..self.candidates.len() {
                if !self.candidates[at].stopped {
                    self.finish_candidate(at, &Str::from_static("STOP"), out);
                }
            }
        }
        self.finish(out)
    }

    /// The stream ended.
    pub fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.done || self.failed {
            return Ok(());
        }
        if self.candidates.is_empty() || self.candidates.iter().any(|c| !c.stopped) {
            return Err(Malformed::at(if self.started {
                "the stream ended without a finishReason for every candidate"
            } else {
                "the stream ended before its first chunk"
            }));
        }
        self.done = true;
        out.push(Event::Done);
        Ok(())
    }

    fn fail(&mut self, fault: Fault, out: &mut Vec<Event>) {
        self.failed = true;
        out.push(Event::Error(Box::new(fault)));
    }

    /// A chunk, or several of them in an array.
    fn value(&mut self, body: &Str, name: &[u8], out: &mut Vec<Event>) -> Result<(), Malformed> {
        if !body.trim_start().starts_with('[') {
            let chunk = serde_json::from_str(body).map_err(|e| not_json(&e))?;
            return self.chunk(&chunk, body, name, out);
        }
        let chunks: Vec<Chunk<'_>> = serde_json::from_str(body).map_err(|e| not_json(&e))?;
        for chunk in &chunks {
            if !self.failed {
                self.chunk(chunk, body, name, out)?;
            }
        }
        Ok(())
    }

    fn chunk(
        &mut self,
        chunk: &Chunk<'_>,
        body: &Str,
        name: &[u8],
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        if chunk.error.is_some() || name == b"error" {
            self.fail(errors::read_chunk(body), out);
            return Ok(());
        }
        self.start(chunk, body, out);
        self.usage(chunk, body, out);
        for (name, raw) in [
            ("promptFeedback", chunk.prompt_feedback),
            ("modelStatus", chunk.model_status),
        ] {
            if let Some(raw) = raw {
                self.sink(0, out)
                    .other(Str::from_static(name), json(body, raw));
            }
        }
        for (position, candidate) in chunk.candidates.iter().flatten().enumerate() {
            self.candidate(position, candidate, body, out)?;
            if self.failed {
                return Ok(());
            }
        }
        if chunk.prompt_feedback.is_some_and(stop::is_blocked) && self.candidates.is_empty() {
            self.candidates.push(State::default());
            self.finish_candidate(0, &Str::from_static("PROHIBITED_CONTENT"), out);
        }
        Ok(())
    }

    fn start(&mut self, chunk: &Chunk<'_>, body: &Str, out: &mut Vec<Event>) {
        if self.started {
            return;
        }
        self.started = true;
        self.id = text(body, chunk.response_id).unwrap_or_default();
        out.push(Event::Started {
            id: self.id.clone(),
            model: text(body, chunk.model_version).unwrap_or_default(),
            created: text(body, chunk.create_time).and_then(|t| schema::seconds(&t)),
        });
    }

    /// Usage stands on most chunks and grows; the same words mean nothing new.
    fn usage(&mut self, chunk: &Chunk<'_>, body: &Str, out: &mut Vec<Event>) {
        let searches: u64 = chunk
            .candidates
            .iter()
            .flatten()
            .map(Candidate::searches)
            .sum();
        let raw = chunk.usage_metadata.map(|r| json(body, r));
        let same = raw.is_none() || raw == self.usage;
        if same && searches <= self.searches {
            return;
        }
        self.searches = self.searches.max(searches);
        let read = raw.clone().and_then(usage::read);
        self.usage = raw.or(self.usage.take());
        out.push(Event::Usage(Box::new(Usage {
            web_searches: Some(self.searches).filter(|n| *n > 0),
            ..read.unwrap_or_default()
        })));
    }

    fn sink<'a>(&'a mut self, choice: u32, out: &'a mut Vec<Event>) -> Sink<'a> {
        Sink {
            choice,
            answer: &self.id,
            blocks: &mut self.blocks,
            out,
        }
    }

    fn state(&mut self, number: u32) -> Result<usize, Malformed> {
        match self.candidates.iter().position(|c| c.number == number) {
            Some(at) => Ok(at),
            None if self.candidates.len() >= CANDIDATES_MAX => {
                Err(Malformed::at("chunk: too many candidates"))
            }
            None => {
                self.candidates.push(State {
                    number,
                    ..State::default()
                });
                Ok(self.candidates.len() - 1)
            }
        }
    }

    fn candidate(
        &mut self,
        position: usize,
        told: &Candidate<'_>,
        body: &Str,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        let at = self.state(told.index.unwrap_or(position as u32))?;
        let wrong = || Malformed::at("chunk: content without a list of parts");
        let parts = told.parts().ok_or_else(wrong)?;
        let state = &mut self.candidates[at];
        let mut sink = Sink {
            choice: state.number,
            answer: &self.id,
            blocks: &mut self.blocks,
            out,
        };
        // What comes after the end of a candidate is about it, not of it.
        let parts = if state.stopped { Vec::new() } else { parts };
        for raw in parts {
            let part: Part<'_> = serde_json::from_str(raw.get())
                .map_err(|_| Malformed::at("chunk: a part that is no object"))?;
            self.said |= part.says(raw);
            state.part(&part, raw, body, &mut sink);
        }
        if let Some(raw) = told.grounding {
            state.cite(citations::of_grounding(raw), &mut sink);
            sink.other(Str::from_static("groundingMetadata"), json(body, raw));
        }
        for (name, raw) in &told.others {
            if *name == "citationMetadata" {
                state.cite(citations::of_quotes(raw), &mut sink);
            }
            sink.other(name.clone(), json(body, raw));
        }
        if let Some(word) = some_text(body, told.finish_reason) {
            self.finish_candidate(at, &word, out);
        }
        Ok(())
    }

    fn finish_candidate(&mut self, at: usize, word: &Str, out: &mut Vec<Event>) {
        let state = &mut self.candidates[at];
        let mut sink = Sink {
            choice: state.number,
            answer: &self.id,
            blocks: &mut self.blocks,
            out,
        };
        state.close(&mut sink);
        if std::mem::replace(&mut state.stopped, true) {
            return;
        }
        let (choice, called) = (state.number, state.calls > 0);
        match stop::read(word, self.said, called) {
            Finish::Stop(reason) => out.push(Event::Stop {
                choice,
                reason,
                sequence: None,
            }),
            Finish::Failed(fault) => self.fail(*fault, out),
        }
    }
}

impl State {
    fn part(&mut self, part: &Part<'_>, raw: &RawValue, body: &Str, sink: &mut Sink<'_>) {
        let signature = some_text(body, part.thought_signature);
        if let Some(call) = part.function_call {
            self.call(call, signature, body, sink);
        } else if let Some(data) = part.inline_data.filter(|_| !part.is_thought()) {
            self.inline(data, raw, signature, body, sink);
        } else if let Some(file) = part.file_data.filter(|_| !part.is_thought()) {
            self.file(file, raw, signature, body, sink);
        } else if part.text.is_some() {
            self.text(part, signature, body, sink);
        } else if part.says(raw) {
            self.whole(raw, body, sink);
        }
    }

    fn whole(&mut self, raw: &RawValue, body: &Str, sink: &mut Sink<'_>) {
        self.close(sink);
        let block = BlockStart::Other {
            dialect: DialectName::Gemini,
            json: json(body, raw),
        };
        sink.whole(block, []);
    }

    fn text(&mut self, part: &Part<'_>, signature: Option<Str>, body: &Str, sink: &mut Sink<'_>) {
        let (kind, make): (_, fn(Str) -> Delta) = if part.is_thought() {
            (Kind::Thinking, Delta::Thinking)
        } else {
            (Kind::Text, Delta::Text)
        };
        if let Some(said) = some_text(body, part.text) {
            self.say(kind.clone(), make(said), sink);
        }
        if let Some(signature) = signature {
            self.say(kind, Delta::Signature(signature), sink);
            // A signed part and an unsigned one must not become one (Gemini docs, thought signatures, read 2026-08).
            self.close(sink);
        }
    }

    fn call(&mut self, raw: &RawValue, signature: Option<Str>, body: &Str, sink: &mut Sink<'_>) {
        let call: FunctionCall<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
        let more = call.will_continue == Some(true);
        if let Some(name) = some_text(body, call.name) {
            self.close(sink);
            self.pending = Some(Pending::new(&call, name, body));
        }
        let Some(pending) = &mut self.pending else {
            // The end of nothing.
            return;
        };
        pending.feed(&call, body);
        pending.signature = signature.or(pending.signature.take());
        if !more && call.name.is_some() && call.partial_args.is_none() {
            // Whole, and its arguments are the provider's own bytes.
            let given = call.args.map(|args| json(body, args).text().clone());
            self.called(given, sink);
        } else if !more {
            self.called(None, sink);
        }
    }

    /// Tells the pending call, with the arguments given or gathered.
    fn called(&mut self, given: Option<Str>, sink: &mut Sink<'_>) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let id = pending
            .id
            .clone()
            .unwrap_or_else(|| sink.made_id(self.calls));
        self.calls += 1;
        let input = given.unwrap_or_else(|| pending.text());
        let block = BlockStart::ToolCall {
            id,
            name: pending.name,
            kind: ToolKind::Function,
        };
        // Ahead of the input: who tells a call's start may want to tell its signature with it.
        let signature = pending.signature.map(Delta::Signature);
        let deltas = signature
            .into_iter()
            .chain(std::iter::once(Delta::ToolInput(input)));
        sink.whole(block, deltas);
    }

    fn inline(
        &mut self,
        data: &RawValue,
        raw: &RawValue,
        signature: Option<Str>,
        body: &Str,
        sink: &mut Sink<'_>,
    ) {
        let blob: Blob<'_> = serde_json::from_str(data.get()).unwrap_or_default();
        let mime = text(body, blob.mime_type).unwrap_or_default();
        let Some(bytes) = text(body, blob.data) else {
            return self.whole(raw, body, sink);
        };
        let media_type = Some(mime.clone());
        let block = match mime.split('/').next() {
            Some("image") => BlockStart::Image {
                media_type,
                url: None,
            },
            Some("video") => BlockStart::Video {
                media_type,
                url: None,
            },
            Some("audio") => return self.audio(mime, bytes, signature, sink),
            _ => return self.whole(raw, body, sink),
        };
        self.close(sink);
        let signature = signature.map(Delta::Signature);
        sink.whole(
            block,
            std::iter::once(Delta::Base64(bytes)).chain(signature),
        );
    }

    /// Speech comes in many parts. They are one block as long as their base64 can be put together, which padding ends.
    fn audio(&mut self, mime: Str, bytes: Str, signature: Option<Str>, sink: &mut Sink<'_>) {
        let goes_on = bytes.len().is_multiple_of(4) && !bytes.ends_with('=');
        let block = match &self.open {
            Some((block, Kind::Audio(open, true))) if *open == mime => *block,
            _ => {
                self.close(sink);
                let format = mime.split_once('/').map_or(&*mime, |(_, s)| s);
                sink.start(BlockStart::Audio {
                    id: None,
                    format: Some(mime.slice_ref(format)),
                })
            }
        };
        self.open = Some((block, Kind::Audio(mime, goes_on)));
        sink.delta(block, Delta::Base64(bytes));
        if let Some(signature) = signature {
            sink.delta(block, Delta::Signature(signature));
        }
    }

    fn file(
        &mut self,
        file: &RawValue,
        raw: &RawValue,
        signature: Option<Str>,
        body: &Str,
        sink: &mut Sink<'_>,
    ) {
        let blob: Blob<'_> = serde_json::from_str(file.get()).unwrap_or_default();
        let media_type = text(body, blob.mime_type);
        let url = text(body, blob.file_uri);
        let class = media_type.as_ref().and_then(|m| m.split('/').next());
        let block = match (class, &url) {
            (Some("image"), Some(_)) => BlockStart::Image { media_type, url },
            (Some("video"), Some(_)) => BlockStart::Video { media_type, url },
            _ => return self.whole(raw, body, sink),
        };
        self.close(sink);
        sink.whole(block, signature.map(Delta::Signature));
    }

    /// Citations come after the text that they are about.
    fn cite(&mut self, citations: Vec<Citation>, sink: &mut Sink<'_>) {
        if self.stopped {
            return;
        }
        for citation in citations {
            self.say(Kind::Text, Delta::Citation(citation), sink);
        }
    }

    /// Goes on with the open block where it is of that kind, else opens one.
    fn say(&mut self, kind: Kind, delta: Delta, sink: &mut Sink<'_>) {
        let block = match &self.open {
            Some((block, open)) if *open == kind => *block,
            _ => {
                self.close(sink);
                let block = sink.start(match kind {
                    Kind::Thinking => BlockStart::Thinking,
                    _ => BlockStart::Text,
                });
                self.open = Some((block, kind));
                block
            }
        };
        sink.delta(block, delta);
    }

    /// Ends the open block, and a call that was begun and not ended: what follows shows that no more of it comes.
    fn close(&mut self, sink: &mut Sink<'_>) {
        if let Some((block, _)) = self.open.take() {
            sink.stop(block);
        }
        self.called(None, sink);
    }
}

pub(in crate::protocol::dialect) fn utf8(bytes: Bytes) -> Result<Str, Malformed> {
    if simdutf8::basic::from_utf8(&bytes).is_err() {
        return Err(Malformed::at("not UTF-8"));
    }
    Str::try_from(bytes).map_err(|_| Malformed::at("not UTF-8"))
}

fn not_json(error: &serde_json::Error) -> Malformed {
    // Without serde's own words, which may quote the answer.
    Malformed::at(format!(
        "not a GenerateContentResponse, line {} column {}",
        error.line(),
        error.column()
    ))
}
