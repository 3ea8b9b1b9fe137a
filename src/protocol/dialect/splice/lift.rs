//! Watches an answer that passes by, and lifts what must be known.
//!
//! A scan for a few words decides whether an event is parsed at all; what is lifted comes from the parse alone, so a word within
//! the model's text may cost a parse and is never taken for the provider's own.

use super::{Pass, usage};
use crate::base::Str;
use crate::canon::{DialectName, Event, Fault, FaultClass, Malformed, StopReason};
use crate::protocol::dialect::{chat, messages, native};
use crate::protocol::framing::sse::SseEvent;
use bytes::Bytes;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Watches one answer. One value an attempt; give it the events in order.
#[derive(Debug)]
pub struct Lift(Inner);

#[derive(Debug)]
enum Inner {
    Chat(Box<ChatLift>),
    Messages(MessagesLift),
    /// Native answers carry our own ids and costs, so they are read whole.
    Native(Box<native::events::Decoder>),
}

impl Lift {
    /// `stream_usage`: whether the client asked for the usage message.
    #[must_use]
    pub fn new(dialect: DialectName, stream_usage: bool) -> Self {
        Self(match dialect {
            DialectName::Chat => Inner::Chat(Box::new(ChatLift::new(stream_usage))),
            DialectName::Messages => Inner::Messages(MessagesLift::default()),
            DialectName::Native => Inner::Native(Box::default()),
        })
    }

    /// Appends to `out` only what is lifted: `Started`, `Usage`, `Stop`, `Done`, `Error`. Costs a scan of an ordinary delta, no parse.
    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<Pass, Malformed> {
        match &mut self.0 {
            Inner::Chat(lift) => lift.event(sse, out),
            Inner::Messages(lift) => lift.event(sse, out),
            Inner::Native(decoder) => {
                let mut all = Vec::new();
                decoder.event(sse, &mut all)?;
                let broken = all.iter().any(|e| matches!(e, Event::Error(_)));
                out.extend(all.into_iter().filter(is_lifted));
                Ok(if broken { Pass::Broken } else { Pass::Forward })
            }
        }
    }

    /// As `Decoder::finish`: `Err` when the provider's end mark is missing.
    pub fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        match &mut self.0 {
            Inner::Chat(lift) => lift.finish(out),
            Inner::Messages(lift) => lift.finish(),
            Inner::Native(decoder) => {
                let mut all = Vec::new();
                let whole = decoder.finish(&mut all);
                out.extend(all.into_iter().filter(is_lifted));
                whole
            }
        }
    }
}

fn is_lifted(event: &Event) -> bool {
    match event {
        Event::Started { .. }
        | Event::Usage(_)
        | Event::Stop { .. }
        | Event::Done
        | Event::Error(_) => true,
        Event::BlockStart { .. }
        | Event::BlockDelta { .. }
        | Event::BlockStop { .. }
        | Event::Other { .. } => false,
    }
}

/// One chunk, without its content. OpenAI docs, chat.completion.chunk, read 2026-08.
#[derive(Deserialize)]
struct Chunk<'a> {
    id: Option<String>,
    model: Option<String>,
    created: Option<i64>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Debug)]
struct ChatLift {
    stream_usage: bool,
    started: bool,
    ended: bool,
    /// Choices that were met, and whether each has its finish reason.
    choices: Vec<(u32, bool)>,
    words: Words,
}

/// The fields whose values may matter, ready to be searched for.
#[derive(Debug)]
struct Words {
    usage: Finder<'static>,
    finish: Finder<'static>,
    error: Finder<'static>,
    index: Finder<'static>,
}

impl Words {
    /// Whether `data` must be parsed: one of the fields has a value that tells something.
    fn tell(&self, data: &[u8]) -> bool {
        let not_null = |value: &[u8]| !value.starts_with(b"null");
        has(data, &self.usage, not_null)
            || has(data, &self.finish, not_null)
            || has(data, &self.error, not_null)
            // A choice (or, at the cost of a parse, a tool call) beyond the first.
            || has(data, &self.index, |value| !value.starts_with(b"0"))
    }
}

/// Whether `word` stands in `data` as a field's name with a value that is `wanted`.
fn has(data: &[u8], word: &Finder<'_>, wanted: impl Fn(&[u8]) -> bool) -> bool {
    word.find_iter(data).any(|at| {
        let rest = data[at + word.needle().len()..].trim_ascii_start();
        rest.strip_prefix(b":")
            .is_some_and(|value| wanted(value.trim_ascii_start()))
    })
}

impl ChatLift {
    fn new(stream_usage: bool) -> Self {
        Self {
            stream_usage,
            started: false,
            ended: false,
            choices: Vec::new(),
            words: Words {
                usage: Finder::new(b"\"usage\""),
                finish: Finder::new(b"\"finish_reason\""),
                error: Finder::new(b"\"error\""),
                index: Finder::new(b"\"index\""),
            },
        }
    }

    fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<Pass, Malformed> {
        let data = sse.data.trim_ascii();
        if data == b"[DONE]" {
            if !self.ended {
                self.ended = true;
                out.push(Event::Done);
            }
            return Ok(Pass::Forward);
        }
        if data.is_empty() || (self.started && !self.words.tell(data)) {
            return Ok(Pass::Forward);
        }
        let chunk: Chunk<'_> = read("chunk", data)?;
        if let Some(error) = chunk.error {
            out.push(Event::Error(Box::new(chat_error(&sse.data, error))));
            return Ok(Pass::Broken);
        }
        self.chunk(chunk, out)
    }

    fn chunk(&mut self, chunk: Chunk<'_>, out: &mut Vec<Event>) -> Result<Pass, Malformed> {
        if !self.started {
            self.started = true;
            out.push(Event::Started {
                id: chunk.id.unwrap_or_default().into(),
                model: chunk.model.unwrap_or_default().into(),
                created: chunk.created,
            });
        }
        let choices = chunk.choices.unwrap_or_default();
        for choice in &choices {
            self.choice(choice, out)?;
        }
        let Some(raw) = chunk.usage else {
            return Ok(Pass::Forward);
        };
        let usage = usage::chat(raw).ok_or_else(|| Malformed::at("chunk: usage"))?;
        out.push(Event::Usage(Box::new(usage)));
        // Some speakers put usage on a chunk that has content: that one belongs to the client.
        Ok(if choices.is_empty() && !self.stream_usage {
            Pass::Strip
        } else {
            Pass::Forward
        })
    }

    fn choice(&mut self, choice: &Choice<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let index = choice.index.unwrap_or(0);
        let known = match self.choices.iter().position(|(known, _)| *known == index) {
            Some(known) => known,
            None if self.choices.len() >= CHOICES_MAX => {
                return Err(Malformed::at("chunk: too many choices"));
            }
            None => {
                self.choices.push((index, false));
                self.choices.len() - 1
            }
        };
        let Some(raw) = choice.finish_reason else {
            return Ok(());
        };
        let word: String = read("chunk: finish_reason", raw.get().as_bytes())?;
        if !std::mem::replace(&mut self.choices[known].1, true) {
            out.push(Event::Stop {
                choice: index,
                reason: chat_stop(word),
                sequence: None,
            });
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.ended {
            return Ok(());
        }
        if self.choices.is_empty() || self.choices.iter().any(|(_, finished)| !finished) {
            return Err(Malformed::at(
                "end of stream: neither [DONE] nor a finish_reason for every choice",
            ));
        }
        self.ended = true;
        out.push(Event::Done);
        Ok(())
    }
}

// OpenAI docs, Chat Completions, read 2026-08: `n` is at most 128.
const CHOICES_MAX: usize = 128;

/// OpenAI docs, Chat Completions object, read 2026-08.
fn chat_stop(word: String) -> StopReason {
    match &*word {
        "stop" => StopReason::EndTurn,
        "length" => StopReason::MaxTokens,
        "tool_calls" | "function_call" => StopReason::ToolUse,
        "content_filter" => StopReason::ContentFilter,
        _ => StopReason::Other(Str::from(word)),
    }
}

/// The stream's status was 200: a status that fits the error's own words is given to the dialect's reader.
fn chat_error(data: &Bytes, error: &RawValue) -> Fault {
    #[derive(Default, Deserialize)]
    struct Schema<'a> {
        #[serde(borrow)]
        code: Option<&'a RawValue>,
        #[serde(borrow, rename = "type")]
        kind: Option<&'a RawValue>,
    }
    let schema: Schema<'_> = serde_json::from_str(error.get()).unwrap_or_default();
    let number = schema
        .code
        .and_then(|c| c.get().trim_matches('"').parse::<u16>().ok());
    let status = match (number, schema.kind.map(RawValue::get)) {
        (Some(status @ 400..=599), _) => status,
        (_, Some("\"invalid_request_error\"")) => 400,
        (_, Some("\"rate_limit_error\"" | "\"insufficient_quota\"")) => 429,
        _ => 500,
    };
    chat::errors::read(status, data)
}

/// Anthropic docs, streaming messages, read 2026-08. One `Started`, usage as a running sum, one end mark.
#[derive(Debug, Default)]
struct MessagesLift {
    started: bool,
    ended: bool,
}

#[derive(Deserialize)]
struct MessageStart<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    id: Option<String>,
    model: Option<String>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageDelta<'a> {
    delta: Option<StopDelta>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StopDelta {
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "type")]
    kind: String,
}

impl MessagesLift {
    fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<Pass, Malformed> {
        if !sse.name.is_empty() {
            return self.named(&sse.name, &sse.data, out);
        }
        // Some proxies leave the name out; the JSON says it again.
        match serde_json::from_slice::<Named>(&sse.data) {
            Ok(named) => self.named(named.kind.as_bytes(), &sse.data, out),
            Err(_) => Ok(Pass::Forward),
        }
    }

    fn named(
        &mut self,
        name: &[u8],
        data: &Bytes,
        out: &mut Vec<Event>,
    ) -> Result<Pass, Malformed> {
        match name {
            b"message_start" => self.start(read("message_start", data)?, out)?,
            b"message_delta" => delta(read("message_delta", data)?, out)?,
            b"message_stop" if !self.ended => {
                self.ended = true;
                out.push(Event::Done);
            }
            b"error" => {
                out.push(Event::Error(Box::new(messages_error(data))));
                return Ok(Pass::Broken);
            }
            // Blocks pass; so does `ping`, and every name to come, as the provider's contract says.
            _ => {}
        }
        Ok(Pass::Forward)
    }

    fn start(&mut self, start: MessageStart<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if !self.started {
            self.started = true;
            out.push(Event::Started {
                id: start.message.id.unwrap_or_default().into(),
                model: start.message.model.unwrap_or_default().into(),
                created: None,
            });
        }
        usage_event("message_start", start.message.usage, out)
    }

    fn finish(&self) -> Result<(), Malformed> {
        if self.ended {
            Ok(())
        } else {
            Err(Malformed::at("end of stream: no message_stop"))
        }
    }
}

fn delta(delta: MessageDelta<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
    usage_event("message_delta", delta.usage, out)?;
    if let Some(StopDelta {
        stop_reason: Some(word),
        stop_sequence,
    }) = delta.delta
    {
        out.push(Event::Stop {
            choice: 0,
            reason: messages_stop(word),
            sequence: stop_sequence.map(Str::from),
        });
    }
    Ok(())
}

fn usage_event(place: &str, raw: Option<&RawValue>, out: &mut Vec<Event>) -> Result<(), Malformed> {
    let Some(raw) = raw else {
        return Ok(());
    };
    let usage = usage::messages(raw).ok_or_else(|| Malformed::at(format!("{place}: usage")))?;
    out.push(Event::Usage(Box::new(usage)));
    Ok(())
}

/// Anthropic docs, stop reasons, read 2026-08.
fn messages_stop(word: String) -> StopReason {
    match &*word {
        "end_turn" => StopReason::EndTurn,
        "max_tokens" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "tool_use" => StopReason::ToolUse,
        "pause_turn" => StopReason::Pause,
        "refusal" => StopReason::Refusal,
        "model_context_window_exceeded" => StopReason::ContextWindow,
        _ => StopReason::Other(Str::from(word)),
    }
}

/// Anthropic docs, errors, read 2026-08: each type and the status it has outside a stream.
fn messages_error(data: &Bytes) -> Fault {
    #[derive(Deserialize)]
    struct Schema {
        error: Named,
    }
    let kind = serde_json::from_slice::<Schema>(data).map(|s| s.error.kind);
    let status = match kind.as_deref() {
        Ok("invalid_request_error") => 400,
        Ok("authentication_error") => 401,
        Ok("billing_error") => 402,
        Ok("permission_error") => 403,
        Ok("not_found_error") => 404,
        Ok("request_too_large") => 413,
        Ok("rate_limit_error") => 429,
        Ok("timeout_error") => 504,
        Ok("overloaded_error") => 529,
        Ok(_) => 500,
        Err(_) => {
            return Fault::new(
                FaultClass::UpstreamBroken,
                "the provider broke off with an error event that is not readable",
            );
        }
    };
    messages::errors::read(status, data)
}

fn read<'a, T: Deserialize<'a>>(place: &str, data: &'a [u8]) -> Result<T, Malformed> {
    // Its words for wrong types quote the value, so only the place is taken.
    serde_json::from_slice(data)
        .map_err(|e| Malformed::at(format!("{place} at byte {}", e.column())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Tokens;
    use crate::protocol::framing::sse;

    fn events(stream: &str) -> Vec<SseEvent> {
        let mut decoder = sse::Decoder::new(1 << 20);
        decoder.feed(Bytes::copy_from_slice(stream.as_bytes()));
        let mut events = Vec::new();
        while let Some(event) = decoder.next().expect("short") {
            events.push(event);
        }
        events
    }

    fn lifted(lift: &mut Lift, stream: &str) -> (Vec<Pass>, Vec<Event>) {
        let mut out = Vec::new();
        let passes = events(stream)
            .iter()
            .map(|e| lift.event(e, &mut out).expect("right"))
            .collect();
        (passes, out)
    }

    const CHAT: &str = "data: {\"id\":\"c1\",\"created\":9,\"model\":\"g\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}],\"usage\":null}\n\n\
        data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"usage\"},\"finish_reason\":null}],\"usage\":null}\n\n\
        data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\\"usage\\\": {\\\"error\\\": 1}\"},\"finish_reason\":null}],\"usage\":null}\n\n\
        data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"x\":{\"usage\":{\"prompt_tokens\":1},\"error\":{}}},\"finish_reason\":null}],\"usage\":null}\n\n\
        data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}],\"usage\":null}\n\n\
        data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n\
        data: [DONE]\n\n";

    #[test]
    fn usage_that_the_client_did_not_ask_for_is_stripped_and_words_in_text_do_not_count() {
        let (passes, out) = lifted(&mut Lift::new(DialectName::Chat, false), CHAT);
        assert_eq!(
            passes,
            [
                Pass::Forward,
                Pass::Forward,
                Pass::Forward,
                Pass::Forward,
                Pass::Forward,
                Pass::Strip,
                Pass::Forward
            ]
        );
        let [
            Event::Started { id, model, created },
            Event::Stop {
                choice: 0,
                reason: StopReason::MaxTokens,
                sequence: None,
            },
            Event::Usage(usage),
            Event::Done,
        ] = &out[..]
        else {
            panic!("{out:?}");
        };
        assert_eq!((&**id, &**model, *created), ("c1", "g", Some(9)));
        assert_eq!(
            (usage.input_uncached, usage.cache_read, usage.output),
            (Some(Tokens(6)), Some(Tokens(4)), Some(Tokens(5)))
        );
        let (passes, asked) = lifted(&mut Lift::new(DialectName::Chat, true), CHAT);
        assert!(passes.iter().all(|p| *p == Pass::Forward));
        assert_eq!(asked, out);
    }

    #[test]
    fn a_chat_answer_that_was_cut_is_not_whole() {
        let mut out = Vec::new();
        for (until, whole) in [(4, false), (5, true), (6, true), (7, true)] {
            let mut lift = Lift::new(DialectName::Chat, true);
            for event in &events(CHAT)[..until] {
                lift.event(event, &mut out).expect("right");
            }
            assert_eq!(lift.finish(&mut out).is_ok(), whole, "{until} events");
            assert_eq!(
                out.iter().filter(|e| **e == Event::Done).count(),
                usize::from(whole)
            );
            out.clear();
        }
        // A second choice that has no finish reason yet.
        let mut lift = Lift::new(DialectName::Chat, true);
        lifted(
            &mut lift,
            "data: {\"choices\":[{\"index\":0,\"delta\":{}}]}\n\ndata: {\"choices\":[{\"index\":1,\"delta\":{}}]}\n\ndata: {\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]}\n\n",
        );
        lift.finish(&mut out).expect_err("choice 1 is open");
        Lift::new(DialectName::Chat, true)
            .finish(&mut out)
            .expect_err("nothing came");
    }

    #[test]
    fn a_providers_error_breaks_the_stream() {
        let mut lift = Lift::new(DialectName::Chat, false);
        let (passes, out) = lifted(
            &mut lift,
            "data: {\"error\":{\"message\":\"m\",\"type\":\"server_error\"}}\n\n",
        );
        assert!(
            matches!((&passes[..], &out[..]), ([Pass::Broken], [Event::Error(_)])),
            "{out:?}"
        );
        let mut lift = Lift::new(DialectName::Messages, true);
        let (passes, out) = lifted(
            &mut lift,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n",
        );
        assert!(
            matches!((&passes[..], &out[..]), ([Pass::Broken], [Event::Error(_)])),
            "{out:?}"
        );
    }

    #[test]
    fn a_messages_answer_is_lifted_by_the_names_of_its_events() {
        let stream = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"model\":\"c\",\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":7,\"cache_creation\":{\"ephemeral_5m_input_tokens\":3,\"ephemeral_1h_input_tokens\":2},\"output_tokens\":1}}}\n\n\
            event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\n\
            event: new_thing\ndata: not json\n\n\
            data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"END\"},\"usage\":{\"output_tokens\":15}}\n\n";
        let mut lift = Lift::new(DialectName::Messages, true);
        let (_, mut out) = lifted(&mut lift, stream);
        lift.finish(&mut out).expect_err("no message_stop yet");
        let (_, end) = lifted(
            &mut lift,
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        );
        assert_eq!(end, [Event::Done]);
        lift.finish(&mut out).expect("whole");
        let mut fold = crate::canon::Fold::default();
        out.iter().for_each(|e| fold.event(e));
        let answer = fold.answer();
        assert_eq!(
            (&*answer.id, &answer.stops[..]),
            (
                "m1",
                &[(0, StopReason::StopSequence, Some("END".into()))][..]
            )
        );
        assert_eq!(answer.usage.input_total(), Tokens(37));
        assert_eq!(answer.usage.output, Some(Tokens(15)));
    }
}
