//! Watches an answer that passes by, and lifts what must be known.
//!
//! A scan for a few words decides whether an event is parsed at all; what is lifted comes from the parse alone, so a word within
//! the model's text may cost a parse and is never taken for the provider's own.

use super::Pass;
use super::lift_chat::ChatLift;
use super::lift_gemini::GeminiLift;
use super::lift_responses::ResponsesLift;
use crate::base::Str;
use crate::canon::{DialectName, Event, Malformed, StopReason};
use crate::protocol::dialect::transcripts::TranscriptLift;
use crate::protocol::dialect::{Decoder, messages, native};
use crate::protocol::framing::sse::SseEvent;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Watches one answer. One value an attempt; give it the events in order.
#[derive(Debug)]
pub struct Lift(Inner);

#[derive(Debug)]
enum Inner {
    Chat(Box<ChatLift>),
    Messages(MessagesLift),
    Responses(ResponsesLift),
    Gemini(Box<GeminiLift>),
    /// Native answers carry our own ids and costs, so they are read whole.
    Native(Box<native::events::Decoder>),
    Whole(Box<Decoder>),
    /// Of no dialect's answers.
    Transcript(TranscriptLift),
}

impl Lift {
    /// `stream_usage`: whether the client asked for the usage message.
    #[must_use]
    pub fn new(dialect: DialectName, stream_usage: bool) -> Self {
        Self(match dialect {
            // The same outline around other content.
            DialectName::Chat | DialectName::Completions => {
                Inner::Chat(Box::new(ChatLift::new(dialect, stream_usage)))
            }
            DialectName::Messages => Inner::Messages(MessagesLift::default()),
            DialectName::Native => Inner::Native(Box::default()),
            DialectName::Responses => Inner::Responses(ResponsesLift::default()),
            DialectName::Gemini => Inner::Gemini(Box::new(GeminiLift::new())),
            DialectName::Converse => Inner::Whole(Box::new(Decoder::new(dialect))),
        })
    }

    /// For the words of a sound.
    #[must_use]
    pub fn transcript() -> Self {
        Self(Inner::Transcript(TranscriptLift::default()))
    }

    /// Appends to `out` only what is lifted: `Started`, `Usage`, `Stop`, `Done`, `Error`. Costs a scan of an ordinary delta, no parse.
    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<Pass, Malformed> {
        match &mut self.0 {
            Inner::Chat(lift) => lift.event(sse, out),
            Inner::Messages(lift) => lift.event(sse, out),
            Inner::Responses(lift) => lift.event(sse, out),
            Inner::Gemini(lift) => lift.event(sse, out),
            Inner::Transcript(lift) => lift.event(sse, out),
            Inner::Whole(decoder) => {
                let mut all = Vec::new();
                decoder.event(sse, &mut all)?;
                let broken = all.iter().any(|e| matches!(e, Event::Error(_)));
                out.extend(all.into_iter().filter(is_lifted));
                Ok(if broken { Pass::Broken } else { Pass::Forward })
            }
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
            Inner::Responses(lift) => lift.finish(),
            Inner::Gemini(lift) => lift.finish(out),
            Inner::Transcript(lift) => lift.finish(out),
            Inner::Whole(decoder) => {
                let mut all = Vec::new();
                let whole = decoder.finish(&mut all);
                out.extend(all.into_iter().filter(is_lifted));
                whole
            }
            Inner::Native(decoder) => {
                let mut all = Vec::new();
                let whole = decoder.finish(&mut all);
                out.extend(all.into_iter().filter(is_lifted));
                whole
            }
        }
    }
}

/// What a `Lift` tells of all that a decoder reads.
pub(crate) fn is_lifted(event: &Event) -> bool {
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

/// Anthropic docs, streaming messages, read 2026-08. One `Started`, usage as a running sum, one end mark.
#[derive(Debug, Default)]
struct MessagesLift {
    started: bool,
    ended: bool,
    /// Of the last `message_delta` that had one; told when `message_stop` says that it was the last.
    stop: Option<(StopReason, Option<Str>)>,
    meter: messages::usage::Meter,
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
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
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
        if self.ended || sse.data.is_empty() {
            return Ok(Pass::Forward);
        }
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
            b"message_delta" => self.delta(read("message_delta", data)?, out)?,
            b"message_stop" => self.stop(out)?,
            b"error" => {
                self.ended = true;
                let text = String::from_utf8_lossy(data);
                out.push(Event::Error(Box::new(messages::errors::read_event(&text))));
                return Ok(Pass::Broken);
            }
            // Blocks pass; so does `ping`, and every name to come, as the provider's contract says.
            _ => {}
        }
        Ok(Pass::Forward)
    }

    fn start(&mut self, start: MessageStart<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if std::mem::replace(&mut self.started, true) {
            return Err(Malformed::at("event message_start: a second one"));
        }
        out.push(Event::Started {
            id: start.message.id.unwrap_or_default().into(),
            model: start.message.model.unwrap_or_default().into(),
            created: None,
        });
        self.usage(start.message.usage, out);
        self.take_stop(StopDelta {
            stop_reason: start.message.stop_reason,
            stop_sequence: start.message.stop_sequence,
        });
        Ok(())
    }

    fn delta(&mut self, delta: MessageDelta<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if !self.started {
            return Err(Malformed::at("event message_delta: out of place"));
        }
        self.usage(delta.usage, out);
        if let Some(stop) = delta.delta {
            self.take_stop(stop);
        }
        Ok(())
    }

    fn take_stop(&mut self, said: StopDelta) {
        if let Some(word) = said.stop_reason {
            self.stop = Some((messages_stop(word), said.stop_sequence.map(Str::from)));
        }
    }

    fn usage(&mut self, raw: Option<&RawValue>, out: &mut Vec<Event>) {
        if let Some(usage) = raw.and_then(|raw| self.meter.read(&Str::new(), raw)) {
            out.push(Event::Usage(Box::new(usage)));
        }
    }

    fn stop(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let Some((reason, sequence)) = self.stop.take() else {
            return Err(Malformed::at("event message_stop: no stop_reason came"));
        };
        self.ended = true;
        out.push(Event::Stop {
            choice: 0,
            reason,
            sequence,
        });
        out.push(Event::Done);
        Ok(())
    }

    fn finish(&self) -> Result<(), Malformed> {
        if self.ended {
            Ok(())
        } else {
            Err(Malformed::at("the stream ended before message_stop"))
        }
    }
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

pub(super) fn read<'a, T: Deserialize<'a>>(place: &str, data: &'a [u8]) -> Result<T, Malformed> {
    // Its words for wrong types quote the value, so only the place is taken.
    serde_json::from_slice(data)
        .map_err(|e| Malformed::at(format!("{place} at byte {}", e.column())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Rng, Tokens};
    use crate::canon::{BlockStart, Delta, ToolKind, Usage};
    use crate::protocol::dialect::{Closing, Decoder, Encoder, Opening};
    use crate::protocol::framing::sse;
    use bytes::BytesMut;

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

    /// Only a chunk's own null is taken out, wherever it stands, and nothing else of it changes.
    #[test]
    fn a_null_usage_is_cut_from_a_chunk_and_not_from_what_it_holds() {
        let first =
            "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
        for (chunk, left) in [
            (
                r#"{"choices":[{"index":0,"delta":{}}],"usage": null ,"obfuscation":"x}\""}"#,
                Some(r#"{"choices":[{"index":0,"delta":{}}],"obfuscation":"x}\""}"#),
            ),
            (
                r#"{"usage":null,"choices":[{"index":0,"delta":{}}]}"#,
                Some(r#"{"choices":[{"index":0,"delta":{}}]}"#),
            ),
            (r#"{"choices":[{"index":0,"delta":{},"usage":null}]}"#, None),
            (
                r#"{"choices":[{"index":0,"delta":{"content":",\"usage\":null}"}}]}"#,
                None,
            ),
        ] {
            let stream = format!("{first}data: {chunk}\n\n");
            for asked in [false, true] {
                let (passes, _) = lifted(&mut Lift::new(DialectName::Chat, asked), &stream);
                let wanted = left.filter(|_| !asked);
                let got = match passes[1] {
                    Pass::Cut(from, to) => Some(format!("{}{}", &chunk[..from], &chunk[to..])),
                    _ => None,
                };
                let parsed =
                    |text: &str| -> serde_json::Value { serde_json::from_str(text).expect("JSON") };
                assert_eq!(got.as_deref().map(parsed), wanted.map(parsed), "{chunk}");
            }
        }
    }

    #[test]
    fn usage_that_the_client_did_not_ask_for_is_stripped_and_words_in_text_do_not_count() {
        let (passes, out) = lifted(&mut Lift::new(DialectName::Chat, false), CHAT);
        let seen: Vec<Option<serde_json::Value>> = events(CHAT)
            .iter()
            .zip(&passes)
            .map(|(event, pass)| match pass {
                Pass::Cut(from, to) => {
                    let kept = [&event.data[..*from], &event.data[*to..]].concat();
                    Some(serde_json::from_slice(&kept).expect("still JSON"))
                }
                Pass::Strip => None,
                _ => Some(serde_json::Value::Null),
            })
            .collect();
        assert_eq!(passes.len(), 7);
        for (event, seen) in events(CHAT).iter().zip(&seen).take(5) {
            let mut wanted: serde_json::Value = serde_json::from_slice(&event.data).expect("JSON");
            wanted.as_object_mut().expect("an object").remove("usage");
            assert_eq!(seen.as_ref(), Some(&wanted));
        }
        assert_eq!(passes[5..], [Pass::Strip, Pass::Forward]);
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
        for (until, whole) in [(0, false), (4, false), (5, true), (6, true), (7, true)] {
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

    /// An answer of random blocks, as its events.
    fn answer(rng: &mut Rng) -> Vec<Event> {
        let mut events = vec![Event::Started {
            id: "a".into(),
            model: "m".into(),
            created: Some(3),
        }];
        let words = [
            "\"usage\":{}",
            "\"error\"",
            "finish_reason",
            "x\n",
            "error",
            "\"index\":7",
        ];
        for index in 0..rng.below(4) as u32 {
            let word: Str = words[rng.below(words.len() as u64) as usize].into();
            let (block, delta) = match rng.below(3) {
                0 => (BlockStart::Text, Delta::Text(word)),
                1 => (BlockStart::Refusal, Delta::Refusal(word)),
                _ => {
                    let name = Str::from_static("f");
                    let start = BlockStart::ToolCall {
                        id: format!("i{index}").into(),
                        name,
                        kind: ToolKind::Function,
                    };
                    (start, Delta::ToolInput("{}".into()))
                }
            };
            events.push(Event::BlockStart {
                index,
                choice: 0,
                block,
            });
            events.push(Event::BlockDelta { index, delta });
            events.push(Event::BlockStop { index });
        }
        let reasons = [
            StopReason::EndTurn,
            StopReason::MaxTokens,
            StopReason::ToolUse,
            StopReason::Other("new".into()),
        ];
        let reason = reasons[rng.below(4) as usize].clone();
        events.push(Event::Stop {
            choice: 0,
            reason,
            sequence: None,
        });
        let usage = Usage {
            input_uncached: Some(Tokens(rng.below(9))),
            output: Some(Tokens(2)),
            ..Usage::default()
        };
        events.push(Event::Usage(Box::new(usage)));
        events
    }

    #[test]
    fn what_is_lifted_is_what_the_decoder_reads() {
        for seed in 0..500 {
            let mut rng = Rng::seeded(seed);
            let events_said = answer(&mut rng);
            for dialect in [
                DialectName::Chat,
                DialectName::Messages,
                DialectName::Native,
                DialectName::Gemini,
            ] {
                let opening = Opening {
                    stream_usage: true,
                    ..Opening::default()
                };
                let (mut encoder, mut bytes) = (Encoder::new(dialect, opening), BytesMut::new());
                events_said
                    .iter()
                    .for_each(|e| encoder.event(e, &mut bytes));
                encoder.finish(&Closing::default(), &mut bytes);
                let stream = String::from_utf8(bytes.to_vec()).expect("UTF-8");
                let (mut decoder, mut decoded) = (Decoder::new(dialect), Vec::new());
                for event in events(&stream) {
                    decoder.event(&event, &mut decoded).expect("right");
                }
                decoder.finish(&mut decoded).expect("whole");
                decoded.retain(is_lifted);
                let mut lift = Lift::new(dialect, true);
                let (_, mut told) = lifted(&mut lift, &stream);
                lift.finish(&mut told).expect("whole");
                assert_eq!(told, decoded, "{dialect:?}, seed {seed}");
            }
        }
    }

    #[test]
    fn an_end_mark_that_is_not_true_does_not_pass() {
        let mut lift = Lift::new(DialectName::Chat, true);
        let mut out = Vec::new();
        let cut = "data: {\"choices\":[{\"index\":0,\"delta\":{}}]}\n\ndata: [DONE]\n\n";
        let passed: Vec<bool> = events(cut)
            .iter()
            .map(|e| lift.event(e, &mut out).is_ok())
            .collect();
        assert_eq!(passed, [true, false]);
        let mut lift = Lift::new(DialectName::Messages, true);
        let early = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        lift.event(&events(early)[0], &mut out)
            .expect_err("no stop_reason");
    }

    #[test]
    fn a_stop_means_what_the_choice_did_before() {
        for (delta, end, expected) in [
            (
                r#"{"tool_calls":[{"index":0,"function":{}}]}"#,
                "",
                StopReason::ToolUse,
            ),
            (r#"{"function_call":{"name":"f"}}"#, "", StopReason::ToolUse),
            (r#"{"refusal":"no"}"#, "", StopReason::Refusal),
            (
                r#"{"refusal":""}"#,
                r#","stop_reason":"END""#,
                StopReason::StopSequence,
            ),
            (
                r#"{"refusal":null,"tool_calls":null}"#,
                r#","stop_reason":7"#,
                StopReason::EndTurn,
            ),
        ] {
            let stream = format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{}}}}]}}\n\ndata: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\ndata: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"{end}}}]}}\n\n"
            );
            let (_, out) = lifted(&mut Lift::new(DialectName::Chat, true), &stream);
            assert!(
                matches!(&out[..], [_, Event::Stop { reason, .. }] if *reason == expected),
                "{delta}: {out:?}"
            );
        }
    }

    #[test]
    fn speakers_errors_in_every_form_break_the_stream() {
        for (name, data) in [
            ("", r#"{"error":{"message":"m"}}"#),
            ("", r#"{"object": "error","message":"m","code":500}"#),
            ("", r#"{"detail":"m"}"#),
            ("error", r#"{"choices":[],"message":"m"}"#),
        ] {
            let mut lift = Lift::new(DialectName::Chat, true);
            lifted(
                &mut lift,
                "data: {\"choices\":[{\"index\":0,\"delta\":{}}]}\n\n",
            );
            let event = SseEvent {
                name: name.into(),
                data: data.into(),
                ..SseEvent::default()
            };
            let mut out = Vec::new();
            assert_eq!(lift.event(&event, &mut out), Ok(Pass::Broken), "{data}");
            assert!(matches!(&out[..], [Event::Error(_)]));
        }
    }

    #[test]
    fn usage_in_other_places_is_found_and_not_told_twice() {
        let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"usage\":{\"prompt_tokens\":3}}]}\n\ndata: {\"choices\":[],\"x_groq\":{\"usage\":{\"prompt_tokens\":3}}}\n\ndata: {\"choices\":[{\"index\":0}],\"usage\":{\"prompt_tokens\":4},\"service_tier\":\"flex\"}\n\n";
        let (passes, out) = lifted(&mut Lift::new(DialectName::Chat, false), stream);
        assert_eq!(passes, [Pass::Forward; 3]);
        let told: Vec<_> = out
            .iter()
            .filter_map(|e| match e {
                Event::Usage(u) => Some((u.input_uncached, u.service_tier.as_deref())),
                _ => None,
            })
            .collect();
        assert_eq!(
            told,
            [(Some(Tokens(3)), None), (Some(Tokens(4)), Some("flex"))]
        );
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
        assert_eq!(end.last(), Some(&Event::Done));
        out.extend(end);
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

    #[test]
    fn a_responses_answer_is_lifted_by_the_names_of_its_events() {
        let stream = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r1\",\"model\":\"g\",\"created_at\":3}}\n\n\
            event: response.output_text.delta\ndata: not json, and never parsed\n\n\
            event: keepalive\ndata: {\"type\":\"keepalive\"}\n\n\
            event: response.function_call_arguments.delta\ndata: neither\n\n";
        let mut lift = Lift::new(DialectName::Responses, true);
        let (passes, out) = lifted(&mut lift, stream);
        assert!(passes.iter().all(|p| *p == Pass::Forward));
        assert!(
            matches!(&out[..], [Event::Started { id, .. }] if &**id == "r1"),
            "{out:?}"
        );
        lift.finish(&mut Vec::new()).expect_err("no end yet");
        let (_, end) = lifted(
            &mut lift,
            "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"usage\":{\"input_tokens\":5,\"output_tokens\":2}}}\n\ndata: [DONE]\n\n",
        );
        let [Event::Usage(usage), Event::Stop { reason, .. }, Event::Done] = &end[..] else {
            panic!("{end:?}");
        };
        assert_eq!(
            (usage.output, reason),
            (Some(Tokens(2)), &StopReason::ToolUse)
        );
        lift.finish(&mut Vec::new()).expect("whole");
        let mut lift = Lift::new(DialectName::Responses, true);
        let (passes, out) = lifted(
            &mut lift,
            "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}}\n\n",
        );
        assert!(
            matches!(
                (&passes[..], &out[..]),
                ([Pass::Broken], [.., Event::Error(_)])
            ),
            "{out:?}"
        );
    }
}
