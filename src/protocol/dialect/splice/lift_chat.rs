//! Lifts from an answer in Chat Completions (OpenAI docs, chat.completion.chunk, read 2026-08), and from its many speakers.

use super::Pass;
use super::lift::read;
use crate::base::{Json, Str};
use crate::canon::{DialectName, Event, Fault, FaultClass, Malformed, StopReason, Usage};
use crate::protocol::dialect::chat::{self, schema::CallDelta};
use crate::protocol::framing::sse::SseEvent;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

/// One chunk, without its content.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    x_groq: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    moderation: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    /// Which stop sequence was met: vLLM's and SGLang's word.
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    matched_stop: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
}

/// As the decoder finds them; what is no list of calls is for others to complain of.
fn has_call(calls: &RawValue) -> bool {
    let read = serde_json::from_str::<Vec<CallDelta<'_>>>(calls.get());
    read.map_or(calls.get().contains('{'), |calls| {
        calls.iter().any(CallDelta::is_call)
    })
}

#[derive(Debug)]
pub(super) struct ChatLift {
    /// Of Completions, whose outline is the same: a chunk has text and no delta.
    text: bool,
    stream_usage: bool,
    started: bool,
    ended: bool,
    choices: Vec<Known>,
    tier: Option<Str>,
    usage: Option<Json>,
    words: Words,
}

/// What a choice has said so far.
#[derive(Debug, Default)]
struct Known {
    number: u32,
    stopped: bool,
    refused: bool,
    called: bool,
}

/// The fields whose values may matter, ready to be searched for.
#[derive(Debug)]
struct Words {
    usage: Finder<'static>,
    finish: Finder<'static>,
    error: Finder<'static>,
    index: Finder<'static>,
    choices: Finder<'static>,
    calls: Finder<'static>,
    call: Finder<'static>,
    refusal: Finder<'static>,
}

impl Words {
    fn new() -> Self {
        Self {
            usage: Finder::new(b"\"usage\""),
            finish: Finder::new(b"\"finish_reason\""),
            error: Finder::new(b"\"error\""),
            index: Finder::new(b"\"index\""),
            choices: Finder::new(b"\"choices\""),
            calls: Finder::new(b"\"tool_calls\""),
            call: Finder::new(b"\"function_call\""),
            refusal: Finder::new(b"\"refusal\""),
        }
    }

    /// Whether `data` must be parsed: one of the fields has a value that tells something.
    fn tell(&self, data: &[u8], first: &Known) -> bool {
        let not_null = |value: &[u8]| !value.starts_with(b"null");
        has(data, &self.usage, not_null)
            || has(data, &self.finish, not_null)
            // A field of this name, or `"object":"error"`.
            || self.error.find(data).is_some_and(|_| !only_null(data, &self.error))
            // A choice (or, at the cost of a parse, a tool call) beyond the first.
            || has(data, &self.index, |value| !value.starts_with(b"0"))
            || self.choices.find(data).is_none()
            || (!first.called && (has(data, &self.calls, |v| v.starts_with(b"[")) || has(data, &self.call, not_null)))
            || (!first.refused && has(data, &self.refusal, |v| v.starts_with(b"\"") && !v.starts_with(b"\"\"")))
    }
}

/// Whether `word` stands in `data` as a field's name with a value that is `wanted`.
fn has(data: &[u8], word: &Finder<'_>, wanted: impl Fn(&[u8]) -> bool) -> bool {
    word.find_iter(data)
        .any(|at| value(data, word, at).is_some_and(&wanted))
}

/// Whether `rest`, which follows a member's value, closes one object and nothing beyond: then the member was the chunk's own, and stood in no
/// object within it.
fn ends_here(rest: &[u8]) -> bool {
    let (mut depth, mut at) = (1, 0);
    let mut quoted = false;
    while let Some(byte) = rest.get(at) {
        at += 1;
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return rest[at..].trim_ascii().is_empty();
        }
    }
    false
}

/// Whether `word` stands in `data` only as a field's name with the value `null`.
fn only_null(data: &[u8], word: &Finder<'_>) -> bool {
    word.find_iter(data)
        .all(|at| value(data, word, at).is_some_and(|v| v.starts_with(b"null")))
}

/// What follows the colon, if one follows.
fn value<'d>(data: &'d [u8], word: &Finder<'_>, at: usize) -> Option<&'d [u8]> {
    let rest = data[at + word.needle().len()..].trim_ascii_start();
    rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start)
}

impl ChatLift {
    /// For Chat Completions, and for Completions, whose chunks differ in their content alone.
    pub fn new(dialect: DialectName, stream_usage: bool) -> Self {
        Self {
            text: dialect == DialectName::Completions,
            stream_usage,
            started: false,
            ended: false,
            choices: Vec::new(),
            tier: None,
            usage: None,
            words: Words::new(),
        }
    }

    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<Pass, Malformed> {
        let data = sse.data.trim_ascii();
        if self.ended || data.is_empty() {
            return Ok(Pass::Forward);
        }
        if data == b"[DONE]" {
            // A client takes what ends so for whole, so it must not pass where it is not true.
            return self.end(out).map(|()| Pass::Forward);
        }
        let none = Known {
            stopped: true,
            ..Known::default()
        };
        let first = self.choices.iter().find(|c| c.number == 0).unwrap_or(&none);
        if self.started && sse.name != "error" && !self.words.tell(data, first) {
            return Ok(self.less_nothing(sse));
        }
        let chunk: Chunk<'_> = read("chunk", data)?;
        if is_error(&chunk, &sse.name) {
            self.ended = true;
            out.push(Event::Error(Box::new(fault_of(&chunk, data))));
            return Ok(Pass::Broken);
        }
        Ok(match self.chunk(&chunk, out)? {
            Pass::Forward => self.less_nothing(sse),
            pass => pass,
        })
    }

    /// OpenAI docs, Chat Completions streaming, read 2026-11: who asked for usage is told `"usage":null` with every chunk but the last, and who
    /// did not ask has no such field. We ask for everybody, so it is taken out again.
    fn less_nothing(&self, sse: &SseEvent) -> Pass {
        let data = &sse.data[..];
        // An event is only written anew where that is one line of data.
        let bare = sse.name.is_empty() && sse.id.is_none();
        if self.stream_usage || !bare || memchr::memchr(b'\n', data).is_some() {
            return Pass::Forward;
        }
        let found = self.words.usage.find_iter(data).find_map(|at| {
            let rest = value(data, &self.words.usage, at)?.strip_prefix(b"null")?;
            let (before, after) = (data[..at].trim_ascii_end(), rest.trim_ascii_start());
            // The comma goes too, on whichever side it stands.
            let (before, after) = match before.strip_suffix(b",") {
                Some(before) => (before, after),
                None => (before, after.strip_prefix(b",").unwrap_or(after)),
            };
            ends_here(rest).then(|| (before.len(), data.len() - after.len()))
        });
        found.map_or(Pass::Forward, |(from, to)| Pass::Cut(from, to))
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, out: &mut Vec<Event>) -> Result<Pass, Malformed> {
        let choices = chunk.choices.as_deref().unwrap_or_default();
        // Azure's first chunk has only what its filter said of the prompt, and empty ids: the answer begins with the next.
        let begins = !choices.is_empty() || chunk.usage.is_some();
        if !self.started && begins {
            self.is_own(chunk)?;
            self.started = true;
            out.push(Event::Started {
                id: text(chunk.id).unwrap_or_default(),
                model: text(chunk.model).unwrap_or_default(),
                created: chunk
                    .created
                    .and_then(|raw| raw.get().parse::<f64>().ok())
                    .map(|s| s as i64),
            });
        }
        for (position, choice) in choices.iter().enumerate() {
            self.choice(position, choice, out)?;
        }
        self.tier = text(chunk.service_tier).or(self.tier.take());
        let raw = chunk.usage.or_else(|| choices.iter().find_map(|c| c.usage));
        self.lift_usage(raw.or_else(|| groq(chunk.x_groq?)), out);
        // Some speakers put usage on a chunk that has content: that one belongs to the client.
        let ours_alone = chunk.usage.is_some() && choices.is_empty() && !self.stream_usage;
        Ok(if ours_alone {
            Pass::Strip
        } else {
            Pass::Forward
        })
    }

    /// The other API's answer comes from a wrong base URL or model, and no client of this one could read it.
    fn is_own(&self, chunk: &Chunk<'_>) -> Result<(), Malformed> {
        let text = chunk
            .object
            .is_some_and(|o| o.get() == chat::schema::TEXT_COMPLETION);
        let deltas = chunk.choices.iter().flatten().any(|c| c.delta.is_some());
        match (self.text, text, deltas) {
            (true, _, true) | (false, true, false) => {
                Err(Malformed::at("chunk: an answer of another API"))
            }
            _ => Ok(()),
        }
    }

    /// Speakers with usage on every chunk repeat themselves; the same words mean nothing new.
    fn lift_usage(&mut self, raw: Option<&RawValue>, out: &mut Vec<Event>) {
        let Some(json) = raw.map(Json::of_raw) else {
            return;
        };
        if self.usage.as_ref() == Some(&json) {
            return;
        }
        if let Some(usage) = chat::events::usage::read(json.clone()) {
            out.push(Event::Usage(Box::new(Usage {
                service_tier: self.tier.clone().or(usage.service_tier),
                ..usage
            })));
        }
        self.usage = Some(json);
    }

    fn choice(
        &mut self,
        position: usize,
        said: &Choice<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        let number = said.index.unwrap_or(position as u32);
        let at = match self.choices.iter().position(|c| c.number == number) {
            Some(at) => at,
            None if self.choices.len() >= CHOICES_MAX => {
                return Err(Malformed::at("chunk: too many choices"));
            }
            None => {
                self.choices.push(Known {
                    number,
                    ..Known::default()
                });
                self.choices.len() - 1
            }
        };
        let known = &mut self.choices[at];
        if let Some(delta) = &said.delta {
            known.refused |= text(delta.refusal).is_some_and(|t| !t.is_empty());
            known.called |= delta.function_call.is_some()
                || (!known.called && delta.tool_calls.is_some_and(has_call));
        }
        if let Some(word) = text(said.finish_reason).filter(|w| !w.is_empty())
            && !std::mem::replace(&mut known.stopped, true)
        {
            let met = text(said.stop_reason.or(said.matched_stop)).filter(|t| !t.is_empty());
            let reason = known.reason(word, met.is_some());
            let sequence = met.filter(|_| reason == StopReason::StopSequence);
            out.push(Event::Stop {
                choice: number,
                reason,
                sequence,
            });
        }
        Ok(())
    }

    /// Only what was finished is whole, with or without `[DONE]`.
    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.choices.is_empty() || self.choices.iter().any(|c| !c.stopped) {
            return Err(Malformed::at(
                "the stream ended without a finish_reason for every choice",
            ));
        }
        self.ended = true;
        out.push(Event::Done);
        Ok(())
    }

    pub fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.ended { Ok(()) } else { self.end(out) }
    }
}

impl Known {
    /// OpenAI docs, Chat Completions object, read 2026-08; and what other speakers mean by `stop`.
    fn reason(&self, word: Str, sequence_met: bool) -> StopReason {
        match &*word {
            // Several speakers say `stop` after tool calls, and so does OpenAI after a call that was forced.
            "stop" if self.called => StopReason::ToolUse,
            "stop" if self.refused => StopReason::Refusal,
            "stop" if sequence_met => StopReason::StopSequence,
            "stop" => StopReason::EndTurn,
            "length" => StopReason::MaxTokens,
            "tool_calls" | "function_call" => StopReason::ToolUse,
            "content_filter" => StopReason::ContentFilter,
            _ => StopReason::Other(word),
        }
    }
}

// OpenAI docs, Chat Completions, read 2026-08: `n` is at most 128.
const CHOICES_MAX: usize = 128;

/// An error that came as a chunk: with `error`, flat as SGLang's, under SSE's own name for it, or with no field of an answer at all.
fn is_error(chunk: &Chunk<'_>, name: &[u8]) -> bool {
    let flat = chunk.object.is_some_and(|o| o.get() == "\"error\"");
    chunk.error.is_some() || flat || is_foreign(chunk) || name == b"error"
}

/// `{"detail":…}` and the like.
fn is_foreign(chunk: &Chunk<'_>) -> bool {
    let nothing = chunk.choices.is_none() && chunk.usage.is_none() && chunk.moderation.is_none();
    nothing && chunk.id.is_none() && chunk.object.is_none()
}

fn fault_of(chunk: &Chunk<'_>, data: &[u8]) -> Fault {
    let value: serde_json::Value = serde_json::from_slice(data).unwrap_or_default();
    let mut fault = chat::errors::read_value(None, &value);
    if fault.upstream_status.is_none() && fault.class == FaultClass::Invalid && is_foreign(chunk) {
        fault.class = FaultClass::UpstreamBroken;
    }
    fault
}

/// Groq's place for usage.
fn groq(raw: &RawValue) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Groq<'a> {
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
    }
    serde_json::from_str::<Groq<'_>>(raw.get()).ok()?.usage
}

/// A string; `None` for whatever else.
fn text(raw: Option<&RawValue>) -> Option<Str> {
    serde_json::from_str::<String>(raw?.get())
        .ok()
        .map(Str::from)
}
