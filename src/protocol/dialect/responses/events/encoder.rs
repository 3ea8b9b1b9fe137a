//! Events → a client's stream of Responses, or its one body.
//!
//! Cannot fail. Keeps the whole answer, which the last event repeats: the shard bounds what an answer may weigh. What this dialect has no words for is named in `dropped`. A body is written as the stream that is never
//! sent, so that both say the same.

use super::growing::{Block, Kind, Message, call_item, item_place, list, number, own, place, raw};
use super::hosted::Run;
use super::wire::Wire;
use crate::base::{Json, Str};
use crate::canon::{
    BlockStart, Citation, Delta, DialectName, Event, Fault, StopReason, ToolKind, Usage,
};
use crate::protocol::dialect::chat::events::encoder::{cuts, type_of};
use crate::protocol::dialect::responses::reasoning::{MADE, seal_for_client};
use crate::protocol::dialect::responses::schema::{annotation, file_citation, span};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};
use serde_json::Value;

/// Writes one answer, streamed. One value an exchange.
#[derive(Debug)]
pub struct Encoder {
    pub(super) opening: Opening,
    pub(super) wire: Wire,
    /// By canon's index.
    blocks: Vec<Block>,
    messages: Vec<Message>,
    /// The message that the next text goes on with.
    open: Option<usize>,
    /// Items that are whole, by `output_index`.
    pub(super) output: Vec<Option<BytesMut>>,
    /// Tools that the provider ran.
    pub(super) runs: Vec<Run>,
    pub(super) usage: Usage,
    pub(super) stop: Option<StopReason>,
    pub(super) refused: bool,
    /// The block of a call that ended, until it is known whether a limit cut it: its item says so.
    ended_call: Option<usize>,
    dropped: Vec<String>,
    ended: bool,
    /// When the answer was whole, in seconds since 1970.
    pub(super) completed_at: Option<i64>,
    /// The response object of the last event, once that is written.
    last: Bytes,
}

impl Encoder {
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        Self::with(opening, false)
    }

    pub(super) fn with(opening: Opening, mute: bool) -> Self {
        Self {
            wire: Wire::new(opening.bare, opening.request_id.clone(), mute),
            opening,
            blocks: Vec::new(),
            messages: Vec::new(),
            open: None,
            output: Vec::new(),
            runs: Vec::new(),
            usage: Usage::default(),
            stop: None,
            refused: false,
            ended_call: None,
            dropped: Vec::new(),
            ended: false,
            completed_at: None,
            last: Bytes::new(),
        }
    }

    /// Goes on with a stream of which others wrote the first `events`.
    #[must_use]
    pub fn after(opening: Opening, events: u64) -> Self {
        let mut encoder = Self::new(opening);
        encoder.wire.skip(events);
        encoder
    }

    /// The whole answer as the last event told it; empty before, and after a failure.
    #[must_use]
    pub fn told(&self) -> &Bytes {
        &self.last
    }

    /// Appends `event`. `Done` and `Error` append nothing: `finish` or `fail` follows them.
    pub fn event(&mut self, event: &Event, out: &mut BytesMut) {
        if self.ended {
            return;
        }
        self.begin(out);
        match event {
            Event::Started { .. } | Event::Done | Event::Error(_) => {}
            Event::BlockStart { choice, block, .. } => self.block_start(*choice, block, out),
            Event::BlockDelta { index, delta } => self.block_delta(*index as usize, delta, out),
            Event::BlockStop { index } => self.block_stop(*index as usize, out),
            Event::Usage(usage) => self.usage.update(usage),
            Event::Stop {
                choice: 0, reason, ..
            } => {
                if *reason == StopReason::Pause {
                    self.drop("pause");
                }
                self.stop = Some(reason.clone());
            }
            Event::Stop { .. } => self.drop("choices"),
            Event::Other {
                dialect: DialectName::Chat,
                name,
                choice: 0,
                json,
            } if &**name == "logprobs" => {
                self.chat_logprobs(json);
            }
            Event::Other {
                dialect: DialectName::Responses,
                name,
                json,
                ..
            } if name.starts_with("response.") => {
                self.again(name, json, out);
            }
            Event::Other {
                dialect: DialectName::Gemini,
                name,
                choice: 0,
                json,
            } if &**name == "groundingMetadata" => {
                if !self.grounding(json, out) {
                    self.drop(name);
                }
            }
            Event::Other { name, .. } => self.drop(name),
        }
    }

    /// Appends what is open, and the last event with the whole answer.
    pub fn finish(&mut self, closing: &Closing, out: &mut BytesMut) {
        if self.ended {
            return;
        }
        let seconds = i64::try_from(closing.total.as_secs()).unwrap_or(0);
        self.completed_at = Some(self.opening.created.saturating_add(seconds));
        self.begin(out);
        self.close_all(out);
        let (status, _) = self.status();
        let kind = match status {
            "incomplete" => "response.incomplete",
            "cancelled" => "response.cancelled",
            _ => "response.completed",
        };
        self.last = self.response(status, None).freeze();
        self.ended = true;
        self.wire
            .emit(kind, out, |out| raw("response", &self.last, out));
    }

    /// Appends `error` and `response.failed`, as OpenAI does.
    pub fn fail(&mut self, fault: &Fault, _closing: &Closing, out: &mut BytesMut) {
        if self.ended {
            return;
        }
        self.begin(out);
        self.ended = true;
        self.wire.emit("error", out, |out| {
            crate::protocol::dialect::chat::errors::write_object(fault, out);
        });
        let response = self.response("failed", Some(fault));
        self.wire.emit("response.failed", out, |out| {
            raw("response", &response, out)
        });
    }

    /// Names of what the answer held and this dialect has no words for, each once.
    #[must_use]
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    fn drop(&mut self, name: &str) {
        if !self.dropped.iter().any(|d| d == name) {
            self.dropped.push(name.to_owned());
        }
    }

    /// The first two events, before anything else.
    fn begin(&mut self, out: &mut BytesMut) {
        if self.wire.has_begun() {
            return;
        }
        let response = self.response("in_progress", None);
        for kind in ["response.created", "response.in_progress"] {
            self.wire.emit(kind, out, |out| {
                raw("response", &response, out);
                if kind == "response.created" {
                    left_out(&self.opening, out);
                }
            });
        }
    }

    fn id(&self, prefix: &str, number: usize) -> String {
        format!("{prefix}{}_{number}", self.opening.id)
    }

    /// The place of the next item.
    pub(super) fn next_output(&mut self) -> usize {
        self.output.push(None);
        self.output.len() - 1
    }

    fn block_start(&mut self, choice: u32, block: &BlockStart, out: &mut BytesMut) {
        if choice != 0 {
            self.drop("choices");
        }
        self.end_call(out);
        let kind = if choice != 0 || self.hosted_result(block, out) {
            Kind::Mute
        } else {
            self.kind_of(block)
        };
        self.blocks.push(Block::new(kind.clone()));
        if !matches!(kind, Kind::Text | Kind::Refusal | Kind::Audio | Kind::Mute) {
            self.close_message(out);
            self.item_added(&kind, out);
        }
    }

    fn kind_of(&mut self, block: &BlockStart) -> Kind {
        if let Some(hosted) = self.hosted(block) {
            return hosted;
        }
        let name = match block {
            BlockStart::ToolCall {
                kind: ToolKind::Server,
                ..
            } => "server_tool_use".to_owned(),
            BlockStart::Video { .. } => "video".to_owned(),
            BlockStart::Other { dialect, json } if *dialect != DialectName::Responses => {
                type_of(json.get())
            }
            _ => String::new(),
        };
        if !name.is_empty() {
            self.drop(&name);
            return Kind::Mute;
        }
        self.refused |= matches!(block, BlockStart::Refusal);
        match block {
            BlockStart::Text => Kind::Text,
            BlockStart::Refusal => Kind::Refusal,
            BlockStart::Audio { .. } => Kind::Audio,
            BlockStart::Thinking => Kind::Thinking {
                output: self.next_output(),
            },
            BlockStart::RedactedThinking { data } => Kind::Redacted {
                output: self.next_output(),
                data: data.clone(),
            },
            BlockStart::ToolCall { id, name, kind } => Kind::Call {
                output: self.next_output(),
                id: id.clone(),
                name: name.clone(),
                custom: *kind == ToolKind::Custom,
            },
            BlockStart::Image { media_type, url } => Kind::Image {
                output: self.next_output(),
                media_type: media_type.clone(),
                url: url.clone(),
            },
            BlockStart::Other { json, .. } => Kind::Whole {
                output: self.next_output(),
                json: json.clone(),
            },
            BlockStart::Video { .. } => Kind::Mute,
        }
    }

    /// Says that an item begins, and for thinking that its one summary does.
    fn item_added(&mut self, kind: &Kind, out: &mut BytesMut) {
        let (output, item) = match kind {
            Kind::Thinking { output } | Kind::Redacted { output, .. } => {
                (*output, self.bare_reasoning(*output))
            }
            Kind::Call {
                output,
                id,
                name,
                custom,
            } => {
                let item_id = self.id(if *custom { "ctc_" } else { "fc_" }, *output);
                (
                    *output,
                    call_item(&item_id, id, name, *custom, "", "in_progress", ""),
                )
            }
            Kind::Image { output, .. } => {
                let mut item = BytesMut::from("{");
                json::field("type", "image_generation_call", &mut item);
                json::field("id", &self.id("ig_", *output), &mut item);
                json::field("status", "in_progress", &mut item);
                item.extend_from_slice(b",\"result\":null}");
                (*output, item)
            }
            Kind::Whole { output, json } => (*output, BytesMut::from(json.get())),
            Kind::Hosted { at } => return self.hosted_added(*at, out),
            Kind::Text | Kind::Refusal | Kind::Audio | Kind::Mute => return,
        };
        self.wire.emit("response.output_item.added", out, |out| {
            number("output_index", output as u64, out);
            raw("item", &item, out);
        });
        if matches!(kind, Kind::Thinking { .. }) {
            let id = self.id(MADE, output);
            self.wire
                .emit("response.reasoning_summary_part.added", out, |out| {
                    place(&id, output, "summary_index", 0, out);
                    out.extend_from_slice(b",\"part\":{\"type\":\"summary_text\",\"text\":\"\"}");
                });
        }
    }

    fn bare_reasoning(&self, output: usize) -> BytesMut {
        let mut item = BytesMut::from("{");
        json::field("id", &self.id(MADE, output), &mut item);
        json::field("type", "reasoning", &mut item);
        item.extend_from_slice(b",\"summary\":[],\"status\":\"in_progress\"}");
        item
    }

    fn block_delta(&mut self, index: usize, delta: &Delta, out: &mut BytesMut) {
        let Some(block) = self.blocks.get_mut(index).filter(|b| !b.stopped) else {
            return;
        };
        match (&block.kind, delta) {
            (Kind::Mute, _) => {}
            (Kind::Text, Delta::Text(text)) => {
                block.text.push_str(text);
                self.part_delta(index, "response.output_text.delta", text, out);
            }
            (Kind::Refusal, Delta::Refusal(text)) => {
                block.text.push_str(text);
                self.part_delta(index, "response.refusal.delta", text, out);
            }
            (Kind::Audio, Delta::Transcript(text)) => {
                block.text.push_str(text);
                self.part_delta(index, "response.audio.transcript.delta", text, out);
            }
            (Kind::Audio, Delta::Base64(data)) => {
                block.base64.push_str(data);
                self.part_delta(index, "response.audio.delta", data, out);
            }
            (Kind::Text, Delta::Citation(citation)) => match citation.dialect {
                DialectName::Responses => self.citation(index, citation, out),
                // Some are told ahead of the text that they stand behind.
                _ => block.cited.push(citation.clone()),
            },
            (Kind::Thinking { output }, Delta::Thinking(text)) => {
                block.text.push_str(text);
                let output = *output;
                let id = self.id(MADE, output);
                self.wire
                    .emit("response.reasoning_summary_text.delta", out, |out| {
                        place(&id, output, "summary_index", 0, out);
                        json::field("delta", text, out);
                    });
            }
            (Kind::Thinking { .. } | Kind::Call { .. }, Delta::Signature(part)) => {
                block.signature.push_str(part);
            }
            (Kind::Call { output, custom, .. }, Delta::ToolInput(input)) => {
                block.text.push_str(input);
                let (output, custom) = (*output, *custom);
                self.input_delta(output, custom, input, out);
            }
            (Kind::Image { .. }, Delta::Base64(data)) => block.base64.push_str(data),
            (Kind::Hosted { at }, Delta::ToolInput(input)) => self.runs[*at].input.push_str(input),
            (Kind::Hosted { at }, Delta::Other { json, .. })
                if type_of(json.get()) == "input_json_delta" =>
            {
                let delta: Value = json.read().unwrap_or_default();
                let input = delta["partial_json"].as_str().unwrap_or_default();
                self.runs[*at].input.push_str(input);
            }
            (
                _,
                Delta::Other {
                    dialect: DialectName::Responses,
                    json,
                },
            ) => {
                own(block, json);
                if let (Some(phase), Some((at, _))) = (block.phase.clone(), block.place) {
                    // Told after its message began: the whole item still says it.
                    self.messages[at].phase.get_or_insert(phase);
                }
            }
            (_, Delta::Citation(_)) => self.drop("citations"),
            (_, Delta::Signature(_)) => self.drop("signature"),
            (_, Delta::Other { json, .. }) => {
                let name = type_of(json.get());
                self.drop(&name);
            }
            // A delta that its block cannot have.
            _ => self.drop("delta"),
        }
    }

    fn input_delta(&mut self, output: usize, custom: bool, input: &str, out: &mut BytesMut) {
        let (prefix, kind) = if custom {
            ("ctc_", "response.custom_tool_call_input.delta")
        } else {
            ("fc_", "response.function_call_arguments.delta")
        };
        let id = self.id(prefix, output);
        self.wire.emit(kind, out, |out| {
            item_place(&id, output, out);
            json::field("delta", input, out);
        });
    }

    /// The place of a text in its message, which begins with its first word.
    fn part_of(&mut self, index: usize, out: &mut BytesMut) -> (usize, u32) {
        if let Some(place) = self.blocks[index].place {
            return place;
        }
        let phase = self.blocks[index].phase.clone();
        let fits = |m: &Message| !m.closing && (phase.is_none() || m.phase == phase);
        let open = self.open.filter(|at| fits(&self.messages[*at]));
        let at = match open {
            Some(at) => at,
            None => {
                self.close_message(out);
                self.message(phase, out)
            }
        };
        let message = &mut self.messages[at];
        let part = message.count;
        message.count += 1;
        message.open_parts += 1;
        self.blocks[index].place = Some((at, part));
        let (output, id) = (message.output, message.id.clone());
        let empty: &[u8] = match self.blocks[index].kind {
            Kind::Refusal => b"{\"type\":\"refusal\",\"refusal\":\"\"}",
            Kind::Audio => b"{\"type\":\"output_audio\",\"data\":\"\",\"transcript\":\"\"}",
            _ => b"{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[],\"logprobs\":[]}",
        };
        self.wire.emit("response.content_part.added", out, |out| {
            place(&id, output, "content_index", part, out);
            raw("part", empty, out);
        });
        (at, part)
    }

    fn message(&mut self, phase: Option<Json>, out: &mut BytesMut) -> usize {
        let output = self.next_output();
        let message = Message {
            output,
            id: self.id("msg_", output),
            parts: BytesMut::new(),
            count: 0,
            open_parts: 0,
            phase,
            closing: false,
        };
        let item = message.item("in_progress");
        self.wire.emit("response.output_item.added", out, |out| {
            number("output_index", output as u64, out);
            raw("item", &item, out);
        });
        self.messages.push(message);
        self.open = Some(self.messages.len() - 1);
        self.messages.len() - 1
    }

    fn part_delta(&mut self, index: usize, kind: &str, text: &str, out: &mut BytesMut) {
        let (at, part) = self.part_of(index, out);
        let message = &self.messages[at];
        self.wire.emit(kind, out, |out| {
            place(&message.id, message.output, "content_index", part, out);
            json::field("delta", text, out);
            if kind == "response.output_text.delta" {
                out.extend_from_slice(b",\"logprobs\":[]");
            }
        });
    }

    fn citation(&mut self, index: usize, citation: &Citation, out: &mut BytesMut) {
        let (at, part) = self.part_of(index, out);
        let block = &mut self.blocks[index];
        let (start, end) = span(citation, &block.text);
        let mut one = BytesMut::new();
        if !annotation(citation, start, end, &mut one) && !file_citation(citation, end, &mut one) {
            self.drop("citations");
            return;
        }
        let number_of = block.annotation_count;
        block.annotation_count += 1;
        list(&mut block.annotations, &one);
        let message = &self.messages[at];
        self.wire
            .emit("response.output_text.annotation.added", out, |out| {
                place(&message.id, message.output, "content_index", part, out);
                number("annotation_index", u64::from(number_of), out);
                raw("annotation", &one, out);
            });
    }

    /// Chat's log probabilities of a piece of text: the same entries as here.
    fn chat_logprobs(&mut self, json: &Json) {
        let value: Option<Value> = json.read();
        let entries = value.as_ref().and_then(|v| v.get("content")?.as_array());
        let text = self.blocks.iter_mut().rev().find(|b| b.kind == Kind::Text);
        match (entries, text) {
            (Some(entries), Some(block)) => {
                for entry in entries {
                    list(&mut block.logprobs, entry.to_string().as_bytes());
                }
            }
            _ => self.drop("logprobs"),
        }
    }

    /// An event of this dialect that canon carried: under our number and place.
    fn again(&mut self, kind: &str, json: &Json, out: &mut BytesMut) {
        let Some(Value::Object(members)) = json.read() else {
            return;
        };
        let output = self.output.len() as u64;
        self.wire.emit(kind, out, |out| {
            for (name, value) in &members {
                match name.as_str() {
                    "type" | "sequence_number" | "stream_id" => {}
                    "output_index" => number(name, output, out),
                    _ => {
                        json::comma(out);
                        json::string(name, out);
                        out.extend_from_slice(b":");
                        out.extend_from_slice(value.to_string().as_bytes());
                    }
                }
            }
        });
    }

    fn block_stop(&mut self, index: usize, out: &mut BytesMut) {
        let Some(block) = self.blocks.get_mut(index).filter(|b| !b.stopped) else {
            return;
        };
        block.stopped = true;
        match block.kind.clone() {
            Kind::Mute => {}
            Kind::Text | Kind::Refusal | Kind::Audio => self.part_done(index, out),
            Kind::Thinking { output } => self.reasoning_done(index, output, out),
            Kind::Redacted { output, data } => {
                let seal = seal_for_client(Some(&data), true, self.id(MADE, output), 0);
                let mut item = BytesMut::new();
                seal.write("", true, &mut item);
                self.item_done(output, item, out);
            }
            Kind::Call { .. } => {
                self.end_call(out);
                self.ended_call = Some(index);
            }
            Kind::Image {
                output,
                media_type,
                url,
            } => {
                let item = self.image_item(index, output, media_type.as_deref(), url.as_deref());
                if let Ok(json) = Json::parse(Str::from(&*String::from_utf8_lossy(&item))) {
                    self.progress(output, &json, out);
                }
                self.item_done(output, item, out);
            }
            Kind::Whole { output, json } => {
                self.progress(output, &json, out);
                self.item_done(output, BytesMut::from(json.get()), out);
            }
            Kind::Hosted { at } => self.hosted_called(at, out),
        }
    }

    fn part_done(&mut self, index: usize, out: &mut BytesMut) {
        let (at, part) = self.part_of(index, out);
        for citation in std::mem::take(&mut self.blocks[index].cited) {
            self.citation(index, &citation, out);
        }
        let block = &self.blocks[index];
        let whole = block.part();
        let message = &mut self.messages[at];
        list(&mut message.parts, &whole);
        message.open_parts -= 1;
        let (id, output) = (message.id.clone(), message.output);
        let closes = message.closing && message.open_parts == 0;
        match block.kind {
            Kind::Text => self.wire.emit("response.output_text.done", out, |out| {
                place(&id, output, "content_index", part, out);
                json::field("text", &block.text, out);
                out.extend_from_slice(b",\"logprobs\":[");
                out.extend_from_slice(&block.logprobs);
                out.extend_from_slice(b"]");
            }),
            Kind::Refusal => self.wire.emit("response.refusal.done", out, |out| {
                place(&id, output, "content_index", part, out);
                json::field("refusal", &block.text, out);
            }),
            _ => {
                for kind in ["response.audio.transcript.done", "response.audio.done"] {
                    self.wire.emit(kind, out, |out| {
                        place(&id, output, "content_index", part, out)
                    });
                }
            }
        }
        self.wire.emit("response.content_part.done", out, |out| {
            place(&id, output, "content_index", part, out);
            raw("part", &whole, out);
        });
        if closes {
            self.message_done(at, out);
        }
    }

    /// No further text joins the open message; it is done once its parts are.
    fn close_message(&mut self, out: &mut BytesMut) {
        let Some(at) = self.open.take() else { return };
        self.messages[at].closing = true;
        if self.messages[at].open_parts == 0 {
            self.message_done(at, out);
        }
    }

    fn message_done(&mut self, at: usize, out: &mut BytesMut) {
        let (output, item) = (
            self.messages[at].output,
            self.messages[at].item(self.status_of_item()),
        );
        self.item_done(output, item, out);
    }

    /// An item that ends once it is known why the answer does was cut with it.
    fn status_of_item(&self) -> &'static str {
        match &self.stop {
            Some(reason) if cuts(reason) => "incomplete",
            _ => "completed",
        }
    }

    /// Ends a call that waited.
    fn end_call(&mut self, out: &mut BytesMut) {
        let Some(index) = self.ended_call.take() else {
            return;
        };
        if let Kind::Call {
            output,
            id,
            name,
            custom,
        } = self.blocks[index].kind.clone()
        {
            self.call_done(index, output, (&id, &name, custom), out);
        }
    }

    pub(super) fn item_done(&mut self, output: usize, item: BytesMut, out: &mut BytesMut) {
        self.wire.emit("response.output_item.done", out, |out| {
            number("output_index", output as u64, out);
            raw("item", &item, out);
        });
        self.output[output] = Some(item);
    }

    fn reasoning_done(&mut self, index: usize, output: usize, out: &mut BytesMut) {
        let id = self.id(MADE, output);
        let block = &self.blocks[index];
        self.wire
            .emit("response.reasoning_summary_text.done", out, |out| {
                place(&id, output, "summary_index", 0, out);
                json::field("text", &block.text, out);
            });
        self.wire
            .emit("response.reasoning_summary_part.done", out, |out| {
                place(&id, output, "summary_index", 0, out);
                out.extend_from_slice(b",\"part\":{");
                json::field("type", "summary_text", out);
                json::field("text", &block.text, out);
                out.extend_from_slice(b"}");
            });
        let signature = Some(&*block.signature).filter(|s| !s.is_empty());
        let seal = seal_for_client(signature, false, id, block.text.len());
        let mut item = BytesMut::new();
        seal.write(&block.text, true, &mut item);
        self.item_done(output, item, out);
    }

    fn call_done(
        &mut self,
        index: usize,
        output: usize,
        call: (&Str, &Str, bool),
        out: &mut BytesMut,
    ) {
        let (call_id, name, custom) = call;
        let status = match self.status_of_item() {
            "incomplete" if !custom && is_json(&self.blocks[index].text) => "completed",
            status => status,
        };
        // Clients parse arguments as JSON; a call without any is called with an empty object, but for one that a limit cut ahead of them.
        if !custom && self.blocks[index].text.is_empty() && status == "completed" {
            self.blocks[index].text.push_str("{}");
            self.input_delta(output, custom, "{}", out);
        }
        let block = &self.blocks[index];
        let (prefix, kind, field) = if custom {
            ("ctc_", "response.custom_tool_call_input.done", "input")
        } else {
            ("fc_", "response.function_call_arguments.done", "arguments")
        };
        let id = self.id(prefix, output);
        self.wire.emit(kind, out, |out| {
            item_place(&id, output, out);
            if !custom {
                json::field("name", name, out);
            }
            json::field(field, &block.text, out);
        });
        let item = call_item(
            &id,
            call_id,
            name,
            custom,
            &block.text,
            status,
            &block.signature,
        );
        self.item_done(output, item, out);
    }

    fn image_item(
        &self,
        index: usize,
        output: usize,
        media_type: Option<&str>,
        url: Option<&str>,
    ) -> BytesMut {
        let block = &self.blocks[index];
        let mut item = BytesMut::from("{");
        json::field("type", "image_generation_call", &mut item);
        json::field("id", &self.id("ig_", output), &mut item);
        json::field("status", "completed", &mut item);
        json::field("result", url.unwrap_or(&block.base64), &mut item);
        if let Some(format) = media_type.and_then(|m| m.strip_prefix("image/")) {
            json::field("output_format", format, &mut item);
        }
        for (name, value) in &block.more {
            if !matches!(
                name.as_str(),
                "type" | "id" | "status" | "result" | "output_format"
            ) {
                json::comma(&mut item);
                json::string(name, &mut item);
                item.extend_from_slice(b":");
                item.extend_from_slice(value.to_string().as_bytes());
            }
        }
        item.extend_from_slice(b"}");
        item
    }

    fn close_all(&mut self, out: &mut BytesMut) {
        for index in 0..self.blocks.len() {
            self.block_stop(index, out);
        }
        self.end_call(out);
        self.hosted_end(out);
        self.close_message(out);
    }
}

/// On a WebSocket no header can say what was left out of the request, so the first event does, as errors there carry theirs.
fn left_out(opening: &Opening, out: &mut BytesMut) {
    if opening.bare && !opening.dropped.is_empty() {
        json::key("headers", out);
        out.extend_from_slice(b"{");
        json::field("x-stokehold-dropped", &opening.dropped.join(", "), out);
        out.extend_from_slice(b"}");
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
