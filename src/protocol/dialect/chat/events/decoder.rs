//! A provider's chunks, or its one body → events.
//!
//! Remembers which blocks are open in each choice. Takes every speaker's departures that we know of, and never holds back text.

use super::calls::{Calls, Fragment};
use super::frame::Course;
use super::usage;
use crate::base::{Json, Str};
use crate::canon::{
    BlockStart, Citation, Delta, DialectName, Event, Fault, FaultClass, Malformed, StopReason,
    Usage,
};
use crate::protocol::dialect::chat::errors;
use crate::protocol::dialect::chat::schema::{
    self, AudioDelta, CallDelta, Chunk, Detail, FunctionDelta, ImagePart, some_json, some_text,
};
use crate::protocol::framing::sse::SseEvent;
use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

/// Reads one Chat Completions answer. One value an attempt; give it the SSE events in order, or the body.
#[derive(Debug, Default)]
pub struct Decoder {
    id: Str,
    course: Course,
    blocks: u32,
    choices: Vec<Choice>,
    usage: Option<Json>,
    tier: Option<Str>,
}

#[derive(Debug, Default)]
struct Choice {
    number: u32,
    /// The block that deltas go on with, tool calls aside.
    open: Option<(u32, Kind)>,
    /// Which entry of `reasoning_details` the open thinking belongs to.
    detail: Option<u32>,
    calls: Calls,
    refused: bool,
    stopped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Text,
    Thinking,
    Refusal,
    Audio,
}

/// Where events go, and what numbers blocks.
pub(super) struct Sink<'a> {
    choice: u32,
    answer: &'a str,
    blocks: &'a mut u32,
    out: &'a mut Vec<Event>,
}

impl Sink<'_> {
    pub(super) fn start(&mut self, block: BlockStart) -> u32 {
        let index = *self.blocks;
        *self.blocks += 1;
        self.out.push(Event::BlockStart {
            index,
            choice: self.choice,
            block,
        });
        index
    }

    pub(super) fn delta(&mut self, index: u32, delta: Delta) {
        self.out.push(Event::BlockDelta { index, delta });
    }

    pub(super) fn stop(&mut self, index: u32) {
        self.out.push(Event::BlockStop { index });
    }

    /// An id for a call that came without one: the same every time, and one of its own in each answer.
    pub(super) fn made_id(&self, number: usize) -> Str {
        let safe = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let answer: String = self.answer.chars().filter(safe).collect();
        Str::from(format!("call_{answer}_{}_{number}", self.choice))
    }

    fn other(&mut self, name: &'static str, json: Json) {
        self.out.push(Event::Other {
            dialect: DialectName::Chat,
            name: Str::from_static(name),
            choice: self.choice,
            json,
        });
    }
}

impl Decoder {
    /// Appends to `out` what `sse` means, which may be nothing.
    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.course.is_over() {
            return Ok(());
        }
        let data = sse.data.trim_ascii();
        match data {
            b"" => Ok(()),
            b"[DONE]" => {
                // Only what was finished is whole: without a finish reason `finish` refuses.
                self.course.end(self.choices.iter().map(|c| c.stopped), out);
                Ok(())
            }
            _ => self.chunk(&utf8(sse.data.slice_ref(data))?, &sse.name, out),
        }
    }

    /// An answer that came in one body, `Done` included.
    pub fn whole(&mut self, body: &Bytes, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let body = utf8(body.clone())?;
        if body.trim_start().starts_with('[') {
            let value = serde_json::from_str(&body).map_err(|e| not_json(&e))?;
            self.course.fail(errors::read_value(None, &value), out);
            return Ok(());
        }
        self.chunk(&body, b"", out)?;
        if self.course.failed {
            return Ok(());
        }
        // A JSON body that parsed was not cut, so a speaker that leaves out the finish reason has finished.
        for at in 0..self.choices.len() {
            if !self.choices[at].stopped {
                self.with(at, out, |choice, sink| choice.stop("stop", None, sink));
            }
        }
        self.finish(out)
    }

    /// The stream ended.
    pub fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        self.course
            .finish(self.choices.iter().map(|c| c.stopped), out)
    }

    fn chunk(&mut self, body: &Str, name: &[u8], out: &mut Vec<Event>) -> Result<(), Malformed> {
        let chunk: Chunk<'_> = serde_json::from_str(body).map_err(|e| not_json(&e))?;
        if let Some(fault) = fault_in(&chunk, body, name) {
            self.course.fail(fault, out);
            return Ok(());
        }
        is_own(&chunk)?;
        self.start(&chunk, body, out);
        for (position, choice) in chunk.choices.iter().flatten().enumerate() {
            self.choice(position, choice, body, out)?;
        }
        for (name, raw) in [
            ("moderation", chunk.moderation),
            ("citations", chunk.citations),
        ] {
            if let Some(json) = some_json(body, raw) {
                self.sink(0, out).other(name, json);
            }
        }
        self.tier = some_text(body, chunk.service_tier).or(self.tier.take());
        let in_choice = || chunk.choices.iter().flatten().find_map(|c| c.usage);
        let in_groq = || {
            #[derive(serde::Deserialize)]
            struct Groq<'a> {
                #[serde(borrow)]
                usage: Option<&'a RawValue>,
            }
            let groq: Option<Groq<'_>> = serde_json::from_str(chunk.x_groq?.get()).ok();
            groq?.usage
        };
        let usage = chunk.usage.or_else(in_choice).or_else(in_groq);
        self.usage(usage, body, out);
        Ok(())
    }

    fn start(&mut self, chunk: &Chunk<'_>, body: &Str, out: &mut Vec<Event>) {
        // Azure's first chunk has only what its filter said of the prompt, and empty ids: the answer begins with the next.
        let empty = chunk.choices.as_ref().is_none_or(Vec::is_empty);
        if self.course.started || (empty && chunk.usage.is_none()) {
            return;
        }
        self.course.started = true;
        self.id = schema::text(body, chunk.id).unwrap_or_default();
        out.push(Event::Started {
            id: self.id.clone(),
            model: schema::text(body, chunk.model).unwrap_or_default(),
            created: chunk
                .created
                .and_then(|raw| raw.get().parse::<f64>().ok())
                .map(|seconds| seconds as i64),
        });
    }

    /// Speakers with usage on every chunk repeat themselves; the same words mean nothing new.
    fn usage(&mut self, raw: Option<&RawValue>, body: &Str, out: &mut Vec<Event>) {
        let Some(json) = raw.map(|r| Json::within(body, r)) else {
            return;
        };
        if self.usage.as_ref() == Some(&json) {
            return;
        }
        self.usage = Some(json.clone());
        if let Some(usage) = usage::read(json) {
            out.push(Event::Usage(Box::new(Usage {
                service_tier: self.tier.clone().or(usage.service_tier),
                ..usage
            })));
        }
    }

    fn sink<'a>(&'a mut self, choice: u32, out: &'a mut Vec<Event>) -> Sink<'a> {
        Sink {
            choice,
            answer: &self.id,
            blocks: &mut self.blocks,
            out,
        }
    }

    fn with<T>(
        &mut self,
        at: usize,
        out: &mut Vec<Event>,
        act: impl FnOnce(&mut Choice, &mut Sink<'_>) -> T,
    ) -> T {
        let choice = &mut self.choices[at];
        let mut sink = Sink {
            choice: choice.number,
            answer: &self.id,
            blocks: &mut self.blocks,
            out,
        };
        act(choice, &mut sink)
    }

    fn choice(
        &mut self,
        position: usize,
        said: &schema::Choice<'_>,
        body: &Str,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        let number = said.index.unwrap_or(position as u32);
        let at = match self.choices.iter().position(|c| c.number == number) {
            Some(at) => at,
            None => {
                self.choices.push(Choice {
                    number,
                    ..Choice::default()
                });
                self.choices.len() - 1
            }
        };
        self.with(at, out, |choice, sink| {
            if let Some(delta) = said.delta.as_ref().or(said.message.as_ref()) {
                choice.delta(delta, body, sink)?;
            }
            if let Some(json) = some_json(body, said.logprobs) {
                sink.other("logprobs", json);
            }
            if let Some(reason) = some_text(body, said.finish_reason) {
                let met = said.stop_reason.or(said.matched_stop);
                choice.stop(&reason, some_text(body, met), sink);
            }
            Ok(())
        })
    }
}

impl Choice {
    /// Fields in the order in which models think, speak and act.
    fn delta(
        &mut self,
        delta: &schema::Delta<'_>,
        body: &Str,
        sink: &mut Sink<'_>,
    ) -> Result<(), Malformed> {
        self.reasoning(delta, body, sink);
        self.content(delta.content, body, sink);
        if let Some(text) = some_text(body, delta.refusal) {
            self.refused = true;
            self.say(Kind::Refusal, Delta::Refusal(text), sink);
        }
        for annotation in delta.annotations.iter().flatten() {
            let citation = citation(annotation, body);
            self.say(Kind::Text, Delta::Citation(citation), sink);
        }
        if let Some(audio) = &delta.audio {
            self.audio(audio, body, sink);
        }
        for image in delta.images.iter().flatten() {
            self.image(image, body, sink);
        }
        for call in delta.tool_calls.iter().flatten() {
            if call.is_call() {
                self.call(fragment(call, body), sink)?;
            } else if let Some(json) = some_json(body, call.new_kind()) {
                sink.out.push(Event::Other {
                    dialect: DialectName::Chat,
                    name: Str::from_static("tool_calls"),
                    choice: self.number,
                    json,
                });
            }
        }
        match &delta.function_call {
            Some(call) => self.call(legacy_fragment(call, body), sink),
            None => Ok(()),
        }
    }

    fn reasoning(&mut self, delta: &schema::Delta<'_>, body: &Str, sink: &mut Sink<'_>) {
        // Speakers with both names say the same under both.
        let plain =
            some_text(body, delta.reasoning_content).or_else(|| some_text(body, delta.reasoning));
        let details: Vec<Detail<'_>> = delta
            .reasoning_details
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default();
        let in_details = details.iter().any(|d| {
            some_text(body, d.text.or(d.summary)).is_some()
                || some_text(body, d.signature).is_some()
        });
        // With several entries only they tell which text is whose; a single one adds nothing but its signature.
        let from_details = in_details && (plain.is_none() || details.len() > 1);
        if let (Some(text), false) = (plain, from_details) {
            self.turn_to_detail(details.first().and_then(|d| d.index), sink);
            self.say(Kind::Thinking, Delta::Thinking(text), sink);
        }
        for detail in &details {
            self.detail(detail, from_details, body, sink);
        }
    }

    fn detail(&mut self, detail: &Detail<'_>, with_text: bool, body: &Str, sink: &mut Sink<'_>) {
        if let Some(data) = some_text(body, detail.data) {
            self.close(sink);
            let block = sink.start(BlockStart::RedactedThinking { data });
            sink.stop(block);
            return;
        }
        let text = some_text(body, detail.text.or(detail.summary)).filter(|_| with_text);
        if let Some(text) = text {
            self.turn_to_detail(detail.index, sink);
            self.say(Kind::Thinking, Delta::Thinking(text), sink);
        }
        if let Some(signature) = some_text(body, detail.signature) {
            self.turn_to_detail(detail.index, sink);
            self.say(Kind::Thinking, Delta::Signature(signature), sink);
        }
    }

    /// Another entry's index is another block of thinking.
    fn turn_to_detail(&mut self, index: Option<u32>, sink: &mut Sink<'_>) {
        let other = matches!((self.detail, index), (Some(a), Some(b)) if a != b);
        if other && matches!(self.open, Some((_, Kind::Thinking))) {
            self.close(sink);
        }
        self.detail = index.or(self.detail);
    }

    fn content(&mut self, raw: Option<&RawValue>, body: &Str, sink: &mut Sink<'_>) {
        let Some(raw) = raw else { return };
        if !raw.get().starts_with('[') {
            if let Some(text) = some_text(body, Some(raw)) {
                self.say(Kind::Text, Delta::Text(text), sink);
            }
            return;
        }
        // Mistral: `[{"type":"thinking","thinking":[{"type":"text","text":…}]}, {"type":"text","text":…}]`.
        let Ok(parts) = serde_json::from_str::<Vec<Detail<'_>>>(raw.get()) else {
            sink.other("content", Json::within(body, raw));
            return;
        };
        for part in &parts {
            for thought in part.thinking.iter().flatten() {
                if let Some(text) = some_text(body, thought.text) {
                    self.say(Kind::Thinking, Delta::Thinking(text), sink);
                }
            }
            if let Some(text) = some_text(body, part.text) {
                self.say(Kind::Text, Delta::Text(text), sink);
            }
        }
    }

    fn audio(&mut self, audio: &AudioDelta<'_>, body: &Str, sink: &mut Sink<'_>) {
        if !matches!(self.open, Some((_, Kind::Audio))) {
            self.close(sink);
            let block = sink.start(BlockStart::Audio {
                id: some_text(body, audio.id),
                format: None,
            });
            self.open = Some((block, Kind::Audio));
        }
        if let Some(transcript) = some_text(body, audio.transcript) {
            self.say(Kind::Audio, Delta::Transcript(transcript), sink);
        }
        if let Some(data) = some_text(body, audio.data) {
            self.say(Kind::Audio, Delta::Base64(data), sink);
        }
        if let Some(at) = audio.expires_at.and_then(|r| r.get().parse::<i64>().ok()) {
            let delta = Delta::Other {
                dialect: DialectName::Chat,
                json: Json::of(&serde_json::json!({ "expires_at": at })),
            };
            self.say(Kind::Audio, delta, sink);
        }
    }

    fn image(&mut self, image: &ImagePart<'_>, body: &Str, sink: &mut Sink<'_>) {
        let Some(url) = image
            .image_url
            .as_ref()
            .and_then(|u| some_text(body, u.url))
        else {
            return;
        };
        self.close(sink);
        let data = url
            .strip_prefix("data:")
            .and_then(|rest| rest.split_once(";base64,"));
        let block = sink.start(BlockStart::Image {
            media_type: data.map(|(kind, _)| url.slice_ref(kind)),
            url: data.is_none().then(|| url.clone()),
        });
        if let Some((_, bytes)) = data {
            sink.delta(block, Delta::Base64(url.slice_ref(bytes)));
        }
        sink.stop(block);
    }

    fn call(&mut self, fragment: Fragment, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        if let Some((block, _)) = self.open.take() {
            sink.stop(block);
        }
        self.calls.feed(fragment, sink)
    }

    /// Goes on with the open block where it is of that kind, else opens one.
    fn say(&mut self, kind: Kind, delta: Delta, sink: &mut Sink<'_>) {
        let block = match self.open {
            Some((block, open)) if open == kind => block,
            _ => {
                self.close(sink);
                let block = sink.start(match kind {
                    Kind::Text => BlockStart::Text,
                    Kind::Thinking => BlockStart::Thinking,
                    Kind::Refusal => BlockStart::Refusal,
                    Kind::Audio => BlockStart::Audio {
                        id: None,
                        format: None,
                    },
                });
                self.open = Some((block, kind));
                block
            }
        };
        sink.delta(block, delta);
    }

    fn close(&mut self, sink: &mut Sink<'_>) {
        // The next thinking may be of any entry.
        self.detail = None;
        if let Some((block, _)) = self.open.take() {
            sink.stop(block);
        }
        self.calls.finish(sink);
    }

    /// The first finish reason counts; some speakers repeat it.
    fn stop(&mut self, reason: &str, met: Option<Str>, sink: &mut Sink<'_>) {
        self.close(sink);
        if self.stopped {
            return;
        }
        self.stopped = true;
        let reason = match reason {
            // Several speakers say `stop` after tool calls, and so does OpenAI after a call that was forced.
            "stop" if !self.calls.is_empty() => StopReason::ToolUse,
            "stop" if self.refused => StopReason::Refusal,
            "stop" if met.is_some() => StopReason::StopSequence,
            "stop" => StopReason::EndTurn,
            "length" => StopReason::MaxTokens,
            "tool_calls" | "function_call" => StopReason::ToolUse,
            "content_filter" => StopReason::ContentFilter,
            other => StopReason::Other(Str::from(other)),
        };
        sink.out.push(Event::Stop {
            choice: self.number,
            sequence: met.filter(|_| reason == StopReason::StopSequence),
            reason,
        });
    }
}

/// An answer of Completions comes from a wrong base URL or path: read as one of ours it would be an empty one.
fn is_own(chunk: &Chunk<'_>) -> Result<(), Malformed> {
    let said = |c: &schema::Choice<'_>| c.delta.is_some() || c.message.is_some();
    let text = chunk
        .object
        .is_some_and(|o| o.get() == schema::TEXT_COMPLETION);
    if text && !chunk.choices.iter().flatten().any(said) {
        return Err(Malformed::at(
            "an answer of Completions where one of Chat Completions was asked for",
        ));
    }
    Ok(())
}

fn fragment(call: &CallDelta<'_>, body: &Str) -> Fragment {
    let google = call.extra_content.as_ref().and_then(|e| e.google.as_ref());
    let (name, input, custom) = match (&call.custom, &call.function) {
        (Some(custom), _) => (custom.name, custom.input, true),
        (None, Some(function)) => (function.name, function.arguments, false),
        (None, None) => (None, None, false),
    };
    Fragment {
        index: call.index,
        id: some_text(body, call.id),
        name: some_text(body, name),
        input: input_text(input, body),
        custom,
        signature: google.and_then(|g| g.thought_signature.clone()),
    }
}

/// The one call of the legacy form, which has neither index nor id.
fn legacy_fragment(call: &FunctionDelta<'_>, body: &Str) -> Fragment {
    Fragment {
        index: Some(u32::MAX),
        id: None,
        name: some_text(body, call.name),
        input: input_text(call.arguments, body),
        custom: false,
        signature: None,
    }
}

/// Arguments are a string of JSON; where a speaker sends the object itself, its text is that string.
pub(in crate::protocol::dialect) fn input_text(raw: Option<&RawValue>, body: &Str) -> Option<Str> {
    schema::text(body, raw).or_else(|| some_json(body, raw).map(|json| json.text().clone()))
}

fn citation(raw: &RawValue, body: &Str) -> Citation {
    let value: Value = serde_json::from_str(raw.get()).unwrap_or_default();
    let of = |name: &str| {
        let found = value.pointer(&format!("/url_citation/{name}"))?.as_str()?;
        Some(Str::from(found))
    };
    Citation {
        dialect: DialectName::Chat,
        json: Json::within(body, raw),
        url: of("url"),
        title: of("title"),
        cited_text: of("content"),
    }
}

/// An error that came as a chunk: with `error`, flat as SGLang's, or under SSE's own name for it.
fn fault_in(chunk: &Chunk<'_>, body: &Str, name: &[u8]) -> Option<Fault> {
    let flat = chunk.object.is_some_and(|o| o.get() == "\"error\"");
    // `{"detail":…}` and the like have no field of an answer.
    let nothing = chunk.choices.is_none() && chunk.usage.is_none() && chunk.moderation.is_none();
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

pub(in crate::protocol::dialect) fn utf8(bytes: Bytes) -> Result<Str, Malformed> {
    if simdutf8::basic::from_utf8(&bytes).is_err() {
        return Err(Malformed::at("not UTF-8"));
    }
    Str::try_from(bytes).map_err(|_| Malformed::at("not UTF-8"))
}

fn not_json(error: &serde_json::Error) -> Malformed {
    // Without serde's own words, which may quote the answer.
    Malformed::at(format!(
        "not a chunk of Chat Completions, line {} column {}",
        error.line(),
        error.column()
    ))
}
