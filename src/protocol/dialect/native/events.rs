//! An answer as event blocks: SSE with `id:` and `event:`, or one WebSocket text message an event.
//!
//! Types: `response.created`, `block.start`, `block.delta`, `block.stop`, `usage`, `stop` (one choice ended), `other` (what only one dialect
//! says), and as the last exactly one of `response.done` and `error`. Clients pass over types and fields that they do not know.

use super::answer::{self, read_dialect};
use super::blocks::{object, raw, read_citation, write_citation};
use super::schema::{Fields, text_of};
use super::{errors, usage};
use crate::base::Str;
use crate::canon::{Answer, Delta, DialectName, Event, Fault, Fold, Malformed};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::framing::sse::SseEvent;
use crate::protocol::framing::websocket;
use crate::protocol::json;
use bytes::{Bytes, BytesMut};

/// Reads a native answer. One value an attempt.
#[derive(Debug, Default)]
pub struct Decoder {
    started: bool,
    ended: bool,
}

impl Decoder {
    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if sse.data.is_empty() {
            return Ok(());
        }
        let text = text_of(&sse.data).map_err(malformed)?;
        let fields = Fields::top(&text).map_err(malformed)?;
        self.fields(fields, out).map_err(malformed)
    }

    fn fields(&mut self, mut f: Fields<'_>, out: &mut Vec<Event>) -> Result<(), Fault> {
        let kind = f.text_needed("type")?;
        match &*kind {
            "response.created" if !self.started => {
                self.started = true;
                out.push(started(&mut f)?);
            }
            "block.start" => out.push(block_start(&mut f)?),
            "block.delta" => out.push(Event::BlockDelta {
                index: index(&mut f)?,
                delta: delta(&mut f)?,
            }),
            "block.stop" => out.push(Event::BlockStop {
                index: index(&mut f)?,
            }),
            "usage" => {
                let Some(u) = f.object("usage")? else {
                    return Err(f.fault("usage", "is missing"));
                };
                out.push(Event::Usage(Box::new(usage::read(u)?)));
            }
            "stop" => {
                let (choice, reason, sequence) = answer::read_stop(&mut f)?;
                out.push(Event::Stop {
                    choice,
                    reason,
                    sequence,
                });
            }
            "other" => {
                let (dialect, name, choice, json) = answer::read_other(&mut f)?;
                out.push(Event::Other {
                    dialect,
                    name,
                    choice,
                    json,
                });
            }
            "response.done" if !self.ended => {
                self.ended = true;
                out.push(Event::Done);
            }
            "error" if !self.ended => {
                self.ended = true;
                let Some(e) = f.object("error")? else {
                    return Err(f.fault("error", "is missing"));
                };
                out.push(Event::Error(Box::new(errors::read_fields(e)?)));
            }
            // Types to come.
            _ => {}
        }
        Ok(())
    }

    /// An answer that came in one body.
    pub fn whole(&mut self, body: &Bytes, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let text = text_of(body).map_err(malformed)?;
        let answer = Fields::top(&text)
            .and_then(answer::read)
            .map_err(malformed)?;
        self.ended = answer.done || answer.error.is_some();
        out.extend(answer.events());
        Ok(())
    }

    pub fn finish(&mut self, _out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.ended {
            Ok(())
        } else {
            Err(Malformed::at(
                "end of stream: neither response.done nor error",
            ))
        }
    }
}

fn malformed(fault: Fault) -> Malformed {
    Malformed::at(fault.message)
}

fn index(f: &mut Fields<'_>) -> Result<u32, Fault> {
    f.whole("index")?
        .ok_or_else(|| f.fault("index", "is missing"))
}

/// The provider's own id and model where they are known, as every decoder says them.
fn started(f: &mut Fields<'_>) -> Result<Event, Fault> {
    let (id, model, created) = match f.object("provider")? {
        Some(mut p) => answer::read_provider(&mut p)?,
        None => (
            f.text_needed("response_id")?,
            f.text_needed("model")?,
            f.whole("created")?,
        ),
    };
    Ok(Event::Started { id, model, created })
}

fn block_start(f: &mut Fields<'_>) -> Result<Event, Fault> {
    let whole = f.peek_json("block");
    let Some(mut block) = f.object("block")? else {
        return Err(f.fault("block", "is missing"));
    };
    Ok(Event::BlockStart {
        index: index(f)?,
        choice: f.whole("choice")?.unwrap_or(0),
        block: answer::read_start(&mut block, &whole)?,
    })
}

fn delta(f: &mut Fields<'_>) -> Result<Delta, Fault> {
    let whole = f.peek_json("delta");
    let Some(mut d) = f.object("delta")? else {
        return Err(f.fault("delta", "is missing"));
    };
    let kind = d.text_needed("type")?;
    Ok(match &*kind {
        "text" => Delta::Text(d.text_needed("text")?),
        "thinking" => Delta::Thinking(d.text_needed("text")?),
        "signature" => Delta::Signature(d.text_needed("signature")?),
        "tool_input" => Delta::ToolInput(d.text_needed("text")?),
        "refusal" => Delta::Refusal(d.text_needed("text")?),
        "transcript" => Delta::Transcript(d.text_needed("text")?),
        "base64" => Delta::Base64(d.text_needed("data")?),
        "citation" => match d.object("citation")? {
            Some(citation) => Delta::Citation(read_citation(citation)?),
            None => return Err(d.fault("citation", "is missing")),
        },
        "other" => Delta::Other {
            dialect: read_dialect(&mut d)?,
            json: d.json_needed("json")?,
        },
        _ => Delta::Other {
            dialect: DialectName::Native,
            json: whole,
        },
    })
}

/// Writes one answer for a client, streamed. One value an exchange. Keeps the whole answer, which `response.done` repeats: the shard
/// bounds what an answer may weigh.
#[derive(Debug)]
pub struct Encoder {
    opening: Opening,
    /// Of the last event; the first has 1, so that "after 0" is everything.
    seq: u64,
    fold: Fold,
    ended: bool,
    /// Where an event is written before its length is known, on a WebSocket.
    scratch: BytesMut,
}

impl Encoder {
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        Self {
            opening,
            seq: 0,
            fold: Fold::default(),
            ended: false,
            scratch: BytesMut::new(),
        }
    }

    /// Goes on after event `seq` of a stream that was said before.
    #[must_use]
    pub fn after(opening: Opening, seq: u64) -> Self {
        Self {
            seq,
            ..Self::new(opening)
        }
    }

    /// Appends `event`. `Done` and `Error` append nothing: `finish` or `fail` follows them.
    pub fn event(&mut self, event: &Event, out: &mut BytesMut) {
        if self.ended {
            return;
        }
        self.fold.event(event);
        match event {
            Event::Started { id, model, created } => self.created(Some((id, model, *created)), out),
            Event::BlockStart {
                index,
                choice,
                block,
            } => self.emit("block.start", out, |out| {
                number("index", *index, out);
                number("choice", *choice, out);
                object("block", out, |out| answer::write_start(block, out));
            }),
            Event::BlockDelta { index, delta } => self.emit("block.delta", out, |out| {
                number("index", *index, out);
                object("delta", out, |out| write_delta(delta, out));
            }),
            Event::BlockStop { index } => {
                self.emit("block.stop", out, |out| number("index", *index, out));
            }
            Event::Usage(told) => {
                self.emit("usage", out, |out| {
                    object("usage", out, |out| usage::write(told, out))
                });
            }
            Event::Stop {
                choice,
                reason,
                sequence,
            } => {
                let stop = (*choice, reason.clone(), sequence.clone());
                self.emit("stop", out, |out| answer::write_stop(&stop, out));
            }
            Event::Other {
                dialect,
                name,
                choice,
                json,
            } => self.emit("other", out, |out| {
                answer::write_other(*dialect, name, *choice, json, out);
            }),
            Event::Done | Event::Error(_) => {}
        }
    }

    /// Appends `response.created`, with what the provider says of itself when it has.
    fn created(&mut self, provider: Option<(&Str, &Str, Option<i64>)>, out: &mut BytesMut) {
        let opening = self.opening.clone();
        self.emit_first("response.created", out, |out| {
            answer::write_about(&opening, out);
            if let Some((id, model, created)) = provider {
                object("provider", out, |out| {
                    answer::write_provider(id, model, created, out)
                });
            }
        });
    }

    /// Appends `response.done`, the stream's good end. Nothing after a first end.
    pub fn finish(&mut self, closing: &Closing, out: &mut BytesMut) {
        if self.ended {
            return;
        }
        // The shard says that all is well, also where a provider's answer had no end mark to tell.
        self.fold.event(&Event::Done);
        let (fold, opening) = (std::mem::take(&mut self.fold), self.opening.clone());
        let answer = fold.into_answer();
        self.emit("response.done", out, |out| {
            object("response", out, |out| {
                answer::write(&answer, &opening, closing, out)
            });
            object("usage", out, |out| usage::write(&answer.usage, out));
            usage::write_cost(closing.cost, out);
            answer::write_timing(closing, out);
        });
        self.ended = true;
    }

    /// Appends `error`, the stream's bad end: what went wrong, and what was billed. Nothing after a first end.
    pub fn fail(&mut self, fault: &Fault, closing: &Closing, out: &mut BytesMut) {
        if self.ended {
            return;
        }
        let answer = std::mem::take(&mut self.fold).into_answer();
        let id = self.opening.id.clone();
        self.emit("error", out, |out| {
            object("error", out, |out| {
                errors::write_fields(fault, Some(&id), out)
            });
            object("billed", out, |out| {
                object("usage", out, |out| usage::write(&answer.usage, out));
                usage::write_cost(closing.cost, out);
            });
            answer::write_timing(closing, out);
        });
        self.ended = true;
    }

    /// The dialect has words for everything.
    #[must_use]
    pub fn dropped(&self) -> &[String] {
        &[]
    }

    /// Appends one event, after `response.created` if that was not said yet.
    fn emit(&mut self, kind: &str, out: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
        if self.seq == 0 {
            self.created(None, out);
        }
        self.emit_first(kind, out, fill);
    }

    fn emit_first(&mut self, kind: &str, out: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
        self.seq += 1;
        if self.opening.bare {
            self.scratch.clear();
            self.json(kind, fill);
            websocket::write_text_bytes(&self.scratch, out);
            return;
        }
        out.extend_from_slice(b"id: ");
        json::integer(self.seq, out);
        out.extend_from_slice(b"\nevent: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        // The buffer is lent to `json`, which appends where the frame before it would be.
        std::mem::swap(&mut self.scratch, out);
        self.json(kind, fill);
        std::mem::swap(&mut self.scratch, out);
        out.extend_from_slice(b"\n\n");
    }

    /// Appends the event's JSON to `scratch`, on one line.
    fn json(&mut self, kind: &str, fill: impl FnOnce(&mut BytesMut)) {
        let (opening, seq, out) = (&self.opening, self.seq, &mut self.scratch);
        let start = out.len();
        out.extend_from_slice(b"{");
        json::field("type", kind, out);
        json::field("response_id", &opening.id, out);
        if let Some(request) = &opening.request_id {
            json::field("request_id", request, out);
        }
        json::key("seq", out);
        json::integer(seq, out);
        fill(out);
        out.extend_from_slice(b"}");
        // JSON of others may be spread over lines, which SSE's `data:` may not; between its tokens a space is as good.
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

fn number(name: &str, value: u32, out: &mut BytesMut) {
    json::key(name, out);
    json::integer(value, out);
}

fn write_delta(delta: &Delta, out: &mut BytesMut) {
    let said = |kind: &str, field: &str, text: &str, out: &mut BytesMut| {
        json::field("type", kind, out);
        json::field(field, text, out);
    };
    match delta {
        Delta::Text(text) => said("text", "text", text, out),
        Delta::Thinking(text) => said("thinking", "text", text, out),
        Delta::Signature(text) => said("signature", "signature", text, out),
        Delta::ToolInput(text) => said("tool_input", "text", text, out),
        Delta::Refusal(text) => said("refusal", "text", text, out),
        Delta::Transcript(text) => said("transcript", "text", text, out),
        Delta::Base64(data) => said("base64", "data", data, out),
        Delta::Citation(citation) => {
            json::field("type", "citation", out);
            json::key("citation", out);
            write_citation(citation, out);
        }
        Delta::Other {
            dialect,
            json: value,
        } => {
            said("other", "dialect", dialect.as_str(), out);
            raw("json", value.get(), out);
        }
    }
}

/// The body of an answer that is not streamed: what `response.done` says as `response`.
pub fn write_whole(answer: &Answer, opening: &Opening, closing: &Closing) -> Bytes {
    let mut out = BytesMut::with_capacity(1024);
    super::blocks::braces(&mut out, |out| answer::write(answer, opening, closing, out));
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Json, NanoUsd, Tokens};
    use crate::canon::{BlockStart, Citation, FaultClass, StopReason, ToolKind, Usage};
    use crate::protocol::framing::sse;
    use crate::protocol::framing::websocket::{Message, Side, Socket};
    use std::time::Duration;

    fn start(index: u32, choice: u32, block: BlockStart) -> Event {
        Event::BlockStart {
            index,
            choice,
            block,
        }
    }

    fn step(index: u32, delta: Delta) -> Event {
        Event::BlockDelta { index, delta }
    }

    fn json(text: &str) -> Json {
        Json::parse(text.into()).expect("JSON")
    }

    /// Every kind of event, block and delta.
    fn events() -> Vec<Event> {
        let citation = Citation {
            dialect: DialectName::Messages,
            json: json("{\"type\":\"web\",\"n\":1.0}"),
            url: Some("u".into()),
            title: None,
            cited_text: Some("c\n".into()),
        };
        let mut events = vec![Event::Started {
            id: "msg_1".into(),
            model: "up".into(),
            created: Some(7),
        }];
        let blocks: Vec<(u32, BlockStart, Vec<Delta>)> = vec![
            (
                0,
                BlockStart::Thinking,
                vec![
                    Delta::Thinking("h\u{1}".into()),
                    Delta::Signature("s1".into()),
                ],
            ),
            (
                0,
                BlockStart::RedactedThinking { data: "zz".into() },
                vec![],
            ),
            (
                1,
                BlockStart::Text,
                vec![
                    Delta::Citation(citation),
                    Delta::Other {
                        dialect: DialectName::Chat,
                        json: json("null"),
                    },
                    Delta::Text("a\n\n\"😀\"".into()),
                ],
            ),
            (
                0,
                BlockStart::ToolCall {
                    id: "t".into(),
                    name: "f".into(),
                    kind: ToolKind::Function,
                },
                vec![Delta::ToolInput("{\"a\": 1}".into())],
            ),
            (
                0,
                BlockStart::ToolCall {
                    id: "t2".into(),
                    name: "g".into(),
                    kind: ToolKind::Custom,
                },
                vec![Delta::ToolInput(" free".into())],
            ),
            (0, BlockStart::Refusal, vec![Delta::Refusal("no".into())]),
            (
                0,
                BlockStart::Image {
                    media_type: Some("image/png".into()),
                    url: None,
                },
                vec![Delta::Base64("AA==".into())],
            ),
            (
                0,
                BlockStart::Audio {
                    id: Some("a".into()),
                    format: Some("wav".into()),
                },
                vec![
                    Delta::Base64("BB==".into()),
                    Delta::Transcript("said".into()),
                ],
            ),
            (
                0,
                BlockStart::Video {
                    media_type: None,
                    url: Some("v".into()),
                },
                vec![],
            ),
            (
                0,
                BlockStart::Other {
                    dialect: DialectName::Messages,
                    json: json("{\"type\":\"x\"}"),
                },
                vec![],
            ),
        ];
        for (index, (choice, block, deltas)) in (0..).zip(blocks) {
            events.push(start(index, choice, block));
            events.extend(deltas.into_iter().map(|d| step(index, d)));
            events.push(Event::BlockStop { index });
        }
        events.push(Event::Other {
            dialect: DialectName::Chat,
            name: "logprobs".into(),
            choice: 1,
            json: json("[1]"),
        });
        events.push(Event::Stop {
            choice: 0,
            reason: StopReason::Other("new".into()),
            sequence: None,
        });
        events.push(Event::Stop {
            choice: 1,
            reason: StopReason::StopSequence,
            sequence: Some("END".into()),
        });
        events.push(Event::Usage(Box::new(Usage {
            input_uncached: Some(Tokens(3)),
            cache_read: Some(Tokens(4)),
            output: Some(Tokens(5)),
            web_searches: Some(1),
            provider_cost: Some(NanoUsd(12)),
            service_tier: Some("flex".into()),
            estimated: true,
            raw: Some(json("{\"x\":1}")),
            ..Usage::default()
        })));
        events
    }

    fn opening(bare: bool) -> Opening {
        Opening {
            id: "x1".into(),
            created: 9,
            model: "m".into(),
            endpoint: "p/e".into(),
            decision: "cheapest".into(),
            request_id: bare.then(|| "r1".into()),
            bare,
            ..Opening::default()
        }
    }

    fn closing() -> Closing {
        Closing {
            cost: NanoUsd(1_000_000_012),
            first_byte: Some(Duration::from_millis(20)),
            total: Duration::from_millis(300),
        }
    }

    fn encoded(bare: bool) -> BytesMut {
        let (mut encoder, mut out) = (Encoder::new(opening(bare)), BytesMut::new());
        events().iter().for_each(|e| encoder.event(e, &mut out));
        encoder.finish(&closing(), &mut out);
        encoder.fail(
            &Fault::new(FaultClass::Internal, "late"),
            &closing(),
            &mut out,
        );
        encoder.finish(&closing(), &mut out);
        encoder.event(&Event::Done, &mut out);
        out
    }

    fn decoded(pieces: &[&[u8]]) -> Vec<Event> {
        let (mut framing, mut decoder, mut events) =
            (sse::Decoder::new(1 << 20), Decoder::default(), Vec::new());
        for piece in pieces {
            framing.feed(Bytes::copy_from_slice(piece));
            while let Some(event) = framing.next().expect("short") {
                decoder.event(&event, &mut events).expect("right");
            }
        }
        decoder.finish(&mut events).expect("whole");
        events
    }

    fn with_done() -> Vec<Event> {
        let mut events = events();
        events.push(Event::Done);
        events
    }

    #[test]
    fn round_trip_survives_any_cut() {
        let bytes = encoded(false);
        let expected = with_done();
        assert_eq!(decoded(&[&bytes]), expected);
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(decoded(&[head, tail]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn each_event_has_its_number_and_its_name_and_the_last_tells_all() {
        let bytes = encoded(false);
        let mut framing = sse::Decoder::new(1 << 20);
        framing.feed(bytes.freeze());
        let (mut seq, mut last) = (0_u64, serde_json::Value::Null);
        while let Some(event) = framing.next().expect("short") {
            seq += 1;
            last = serde_json::from_slice(&event.data).expect("JSON");
            assert_eq!(event.id.as_deref(), Some(seq.to_string().as_bytes()));
            assert_eq!(
                (
                    last["seq"].as_u64(),
                    last["type"].as_str().map(str::as_bytes)
                ),
                (Some(seq), Some(&event.name[..]))
            );
            assert_eq!(last["response_id"], "x1");
            if seq == 1 {
                assert_eq!(
                    (&last["type"], &last["endpoint"], &last["decision"]),
                    (
                        &"response.created".into(),
                        &"p/e".into(),
                        &"cheapest".into()
                    )
                );
            }
        }
        assert_eq!(seq as usize, events().len() + 1, "one end only");
        assert_eq!(
            (
                &last["type"],
                &last["cost_nano_usd"],
                &last["usage"]["input_tokens"]
            ),
            (
                &"response.done".into(),
                &1_000_000_012_i64.into(),
                &7.into()
            )
        );
        assert_eq!(last["cost_usd"].as_f64(), Some(1.000_000_012));
        assert_eq!(last["timing"]["first_byte_ms"], 20);
        assert_eq!(
            last["response"]["blocks"].as_array().map(Vec::len),
            Some(10)
        );
        assert_eq!(last["response"]["blocks"][3]["input"]["a"], 1);
    }

    #[test]
    fn on_a_websocket_each_event_is_one_text() {
        let mut socket = Socket::new(Side::Client, 1 << 20);
        socket.feed(encoded(true).freeze());
        let (mut decoder, mut told) = (Decoder::default(), Vec::new());
        while let Some(message) = socket.next().expect("frames") {
            let Message::Text(text) = message else {
                panic!("{message:?}")
            };
            let shown: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(shown["request_id"], "r1");
            let event = SseEvent {
                data: text.into_bytes(),
                ..SseEvent::default()
            };
            decoder.event(&event, &mut told).expect("right");
        }
        assert_eq!(told, with_done());
    }

    #[test]
    fn a_whole_answer_reads_back() {
        let mut fold = Fold::default();
        with_done().iter().for_each(|e| fold.event(e));
        let answer = fold.into_answer();
        let body = write_whole(&answer, &opening(false), &closing());
        let (mut decoder, mut told) = (Decoder::default(), Vec::new());
        decoder.whole(&body, &mut told).expect("right");
        decoder.finish(&mut told).expect("whole");
        assert_eq!(told, answer.events());
        let failed = Answer {
            done: false,
            error: Some(Box::new(Fault::new(FaultClass::Overloaded, "m"))),
            ..answer
        };
        let mut told = Vec::new();
        Decoder::default()
            .whole(
                &write_whole(&failed, &opening(false), &closing()),
                &mut told,
            )
            .expect("right");
        assert_eq!(told, failed.events());
    }

    #[test]
    fn a_failure_says_what_was_billed_and_is_the_only_end() {
        let (mut encoder, mut out) = (Encoder::new(opening(false)), BytesMut::new());
        let fault = Fault::new(FaultClass::UpstreamTimeout, "stalled").with_code("stall");
        encoder.fail(&fault, &closing(), &mut out);
        encoder.finish(&closing(), &mut out);
        let told = decoded(&[&out]);
        assert_eq!(told[1..], [Event::Error(Box::new(fault))]);
        let text = String::from_utf8(out.to_vec()).expect("UTF-8");
        assert!(text.contains("\"retryable\":true") && text.contains("\"billed\":{\"usage\":{\"input_tokens\":0},\"cost_usd\":1.000000012,\"cost_nano_usd\":1000000012}"), "{text}");
        assert_eq!(text.matches("event: ").count(), 2);
    }

    #[test]
    fn what_is_new_breaks_nothing_and_what_is_cut_is_told() {
        let (mut decoder, mut told) = (Decoder::default(), Vec::new());
        for data in [
            r#"{"type":"brand.new","x":1}"#,
            r#"{"type":"block.start","index":0,"block":{"type":"hologram","y":2},"z":0}"#,
            r#"{"type":"block.delta","index":0,"delta":{"type":"ray","y":2}}"#,
        ] {
            decoder
                .event(
                    &SseEvent {
                        data: data.into(),
                        ..SseEvent::default()
                    },
                    &mut told,
                )
                .expect("passed over");
        }
        assert_eq!(
            told,
            [
                start(
                    0,
                    0,
                    BlockStart::Other {
                        dialect: DialectName::Native,
                        json: json(r#"{"type":"hologram","y":2}"#)
                    }
                ),
                step(
                    0,
                    Delta::Other {
                        dialect: DialectName::Native,
                        json: json(r#"{"type":"ray","y":2}"#)
                    }
                ),
            ]
        );
        decoder.finish(&mut told).expect_err("no end");
        let secret = SseEvent {
            data: r#"{"type":"block.delta","index":"secret"}"#.into(),
            ..SseEvent::default()
        };
        let error = decoder.event(&secret, &mut told).expect_err("no number");
        assert_eq!(error.place, "index must be a whole number in range");
    }

    #[test]
    fn json_over_several_lines_stays_one_event() {
        let (mut encoder, mut out) = (Encoder::new(opening(false)), BytesMut::new());
        let spread = json("{\n\"a\":\r\n1}");
        encoder.event(
            &Event::Other {
                dialect: DialectName::Chat,
                name: "n".into(),
                choice: 0,
                json: spread,
            },
            &mut out,
        );
        encoder.finish(&closing(), &mut out);
        let told = decoded(&[&out]);
        assert!(
            matches!(&told[1], Event::Other { json, .. } if json.get() == "{ \"a\":  1}"),
            "{told:?}"
        );
    }
}
