//! Canon → Converse's stream.
//!
//! The API speaks in binary frames (`framing/eventstream`), and no client of ours reads those: here each event is SSE text, with the frame's
//! `:event-type` as the event's name and its payload as data, which the decoder reads as it reads frames. On a WebSocket, where there are no
//! names, each payload stands within an object of its name (`{"messageStart":{…}}`), as AWS writes unions.

use super::super::errors;
use super::super::formats::{IMAGES, format, stop_word};
use super::usage;
use crate::base::{Json, Str};
use crate::canon::{BlockStart, Delta, DialectName, Event, Fault, StopReason, ToolKind, Usage};
use crate::protocol::dialect::messages::schema::Object;
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::framing::sse;
use crate::protocol::json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use std::collections::BTreeMap;

/// Writes one answer. One value an exchange.
#[derive(Debug)]
pub struct Encoder {
    bare: bool,
    started: bool,
    usage: Box<Usage>,
    stop: Option<StopReason>,
    /// What stands beside the answer's blocks, in order.
    beside: Vec<(Str, Json)>,
    /// Blocks that are open, by canon's index. Their number here counts only what could be said.
    open: BTreeMap<u32, Open>,
    written: u64,
    calls: bool,
    dropped: Vec<String>,
}

#[derive(Debug)]
struct Open {
    index: u64,
    form: Form,
    /// Some delta was written: a block without a start exists by its deltas alone.
    said: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Thinking,
    /// Written whole by one delta.
    Redacted,
    Function,
    /// A tool that takes free text: its input is told as `{"input":"…"}`.
    Custom,
    Image,
    Other,
}

impl Encoder {
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        Self {
            bare: opening.bare,
            started: false,
            usage: Box::default(),
            stop: None,
            beside: Vec::new(),
            open: BTreeMap::new(),
            written: 0,
            calls: false,
            dropped: Vec::new(),
        }
    }

    /// Appends `event` in this dialect's words. What stands beside the blocks is held until the end.
    pub fn event(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Started { .. } => self.start(out),
            Event::BlockStart {
                index,
                choice: 0,
                block,
            } => self.block_start(*index, block, out),
            Event::BlockStart { .. } | Event::Stop { choice: 1.., .. } => self.drop_once("choices"),
            Event::BlockDelta { index, delta } => self.block_delta(*index, delta, out),
            Event::BlockStop { index } => self.block_stop(*index, out),
            Event::Usage(usage) => self.usage.update(usage),
            Event::Stop { reason, .. } => self.stop = Some(reason.clone()),
            Event::Other {
                dialect: DialectName::Converse,
                name,
                choice: 0,
                json,
            } => {
                self.beside.retain(|(n, _)| n != name);
                self.beside.push((name.clone(), json.clone()));
            }
            Event::Other { name, .. } => self.drop_once(name),
            Event::Done | Event::Error(_) => {}
        }
    }

    /// Appends the stop reason and, after it, usage.
    pub fn finish(&mut self, closing: &Closing, out: &mut BytesMut) {
        self.start(out);
        let left: Vec<u32> = self.open.keys().copied().collect();
        for canon in left {
            self.block_stop(canon, out);
        }
        let reason = self.stop.take().unwrap_or(StopReason::EndTurn);
        let reason = match reason {
            StopReason::EndTurn if self.calls => StopReason::ToolUse,
            reason => reason,
        };
        let beside = std::mem::take(&mut self.beside);
        self.write("messageStop", out, |object| {
            object.text("stopReason", stop_word(&reason));
            for (name, json) in beside.iter().filter(|(n, _)| is_of_stop(n)) {
                object.json(name, json);
            }
        });
        let usage = std::mem::take(&mut self.usage);
        self.write("metadata", out, |object| {
            write_metadata(&usage, closing, &beside, object);
        });
    }

    /// Appends the exception after which the stream ends.
    pub fn fail(&mut self, fault: &Fault, _closing: &Closing, out: &mut BytesMut) {
        let (name, data) = errors::write_exception(fault);
        self.frame(&name, &data, out);
    }

    /// What this dialect has no words for, each name once.
    #[must_use]
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    fn drop_once(&mut self, name: &str) {
        if !self.dropped.iter().any(|n| n == name) {
            self.dropped.push(name.to_owned());
        }
    }

    fn start(&mut self, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.started, true) {
            self.write("messageStart", out, |object| {
                object.text("role", "assistant")
            });
        }
    }

    fn block_start(&mut self, canon: u32, block: &BlockStart, out: &mut BytesMut) {
        let form = match form_of(block) {
            Ok(form) => form,
            Err(name) => return self.drop_once(name),
        };
        match block {
            BlockStart::Audio { .. } => self.drop_once("audio"),
            // Its words are told as text: that they are a refusal only the stop reason says.
            BlockStart::Refusal => self.drop_once("refusal"),
            _ => {}
        }
        self.start(out);
        let index = self.written;
        self.written += 1;
        let said = match block {
            BlockStart::ToolCall { id, name, kind } => {
                self.calls |= *kind != ToolKind::Server;
                self.start_of(index, out, |start| {
                    write_call(id, name, kind, start);
                });
                true
            }
            BlockStart::Image { media_type, .. } => {
                self.start_of(index, out, |start| {
                    let mut image = Object::open(start.value("image"));
                    let word = media_type.as_deref().and_then(|m| format(IMAGES, m));
                    image.text("format", word.unwrap_or("png"));
                    image.close();
                });
                true
            }
            BlockStart::RedactedThinking { data } => {
                let data = STANDARD.encode(data.as_bytes());
                self.delta_of(index, out, |delta| {
                    reasoning(delta, "redactedContent", &data);
                });
                true
            }
            BlockStart::Other { json, .. } => {
                self.write("contentBlockStart", out, |object| {
                    object.json("start", json);
                    object.count("contentBlockIndex", index);
                });
                true
            }
            _ => false,
        };
        self.open.insert(canon, Open { index, form, said });
        if form == Form::Custom {
            self.input(index, "{\"input\":\"", out);
        }
    }

    fn block_delta(&mut self, canon: u32, delta: &Delta, out: &mut BytesMut) {
        let Some(open) = self.open.get_mut(&canon) else {
            return;
        };
        let (index, form) = (open.index, open.form);
        open.said = true;
        match (form, delta) {
            (Form::Text, Delta::Text(text) | Delta::Refusal(text) | Delta::Transcript(text)) => {
                self.delta_of(index, out, |delta| delta.text("text", text));
            }
            (Form::Text, Delta::Citation(c)) if c.dialect == DialectName::Converse => {
                self.delta_of(index, out, |delta| delta.json("citation", &c.json));
            }
            (Form::Thinking, Delta::Thinking(text)) => {
                self.delta_of(index, out, |delta| reasoning(delta, "text", text));
            }
            (Form::Thinking, Delta::Signature(text)) => {
                self.delta_of(index, out, |delta| reasoning(delta, "signature", text));
            }
            (Form::Function, Delta::ToolInput(text)) => self.input(index, text, out),
            (Form::Custom, Delta::ToolInput(text)) => {
                let mut escaped = BytesMut::new();
                json::escaped(text, &mut escaped);
                let inner =
                    std::str::from_utf8(&escaped).expect("the escaped form of a str is UTF-8");
                self.input(index, inner, out);
            }
            (Form::Image, Delta::Base64(data)) => self.delta_of(index, out, |delta| {
                let mut image = Object::open(delta.value("image"));
                let mut source = Object::open(image.value("source"));
                source.text("bytes", data);
                source.close();
                image.close();
            }),
            (
                Form::Text | Form::Thinking | Form::Function | Form::Image | Form::Other,
                Delta::Other {
                    dialect: DialectName::Converse,
                    json,
                },
            ) => self.write("contentBlockDelta", out, |object| {
                object.json("delta", json);
                object.count("contentBlockIndex", index);
            }),
            (_, delta) => self.drop_once(delta_name(delta)),
        }
    }

    fn block_stop(&mut self, canon: u32, out: &mut BytesMut) {
        let Some(open) = self.open.remove(&canon) else {
            return;
        };
        let index = open.index;
        match open.form {
            Form::Custom => self.input(index, "\"}", out),
            Form::Text if !open.said => self.delta_of(index, out, |d| d.text("text", "")),
            Form::Thinking if !open.said => {
                self.delta_of(index, out, |d| reasoning(d, "text", ""));
            }
            _ => {}
        }
        self.write("contentBlockStop", out, |object| {
            object.count("contentBlockIndex", index);
        });
    }

    fn input(&mut self, index: u64, part: &str, out: &mut BytesMut) {
        self.delta_of(index, out, |delta| {
            let mut call = Object::open(delta.value("toolUse"));
            call.text("input", part);
            call.close();
        });
    }

    fn start_of(&self, index: u64, out: &mut BytesMut, rest: impl FnOnce(&mut Object<'_>)) {
        self.write("contentBlockStart", out, |object| {
            let mut start = Object::open(object.value("start"));
            rest(&mut start);
            start.close();
            object.count("contentBlockIndex", index);
        });
    }

    fn delta_of(&self, index: u64, out: &mut BytesMut, rest: impl FnOnce(&mut Object<'_>)) {
        self.write("contentBlockDelta", out, |object| {
            let mut delta = Object::open(object.value("delta"));
            rest(&mut delta);
            delta.close();
            object.count("contentBlockIndex", index);
        });
    }

    fn write(&self, name: &str, out: &mut BytesMut, rest: impl FnOnce(&mut Object<'_>)) {
        let mut data = BytesMut::new();
        let mut object = Object::open(&mut data);
        rest(&mut object);
        object.close();
        // JSON that passes as it was written may hold line breaks between its values, which would end the `data:` line.
        for byte in data.iter_mut().filter(|b| matches!(**b, b'\n' | b'\r')) {
            *byte = b' ';
        }
        self.frame(name, &data, out);
    }

    fn frame(&self, name: &str, data: &[u8], out: &mut BytesMut) {
        if self.bare {
            out.extend_from_slice(b"{");
            json::string(name, out);
            out.extend_from_slice(b":");
            out.extend_from_slice(data);
            out.extend_from_slice(b"}");
        } else {
            sse::write(Some(name), None, data, out);
        }
    }
}

fn is_of_stop(name: &str) -> bool {
    name == "additionalModelResponseFields"
}

/// Usage and what stands beside it. `metrics` is the provider's own where it said some.
pub(super) fn write_metadata(
    usage: &Usage,
    closing: &Closing,
    beside: &[(Str, Json)],
    object: &mut Object<'_>,
) {
    let mut inner = Object::open(object.value("usage"));
    usage::write(usage, &mut inner);
    inner.close();
    if !beside.iter().any(|(name, _)| name == "metrics") {
        let mut metrics = Object::open(object.value("metrics"));
        let millis = u64::try_from(closing.total.as_millis()).unwrap_or(u64::MAX);
        metrics.count("latencyMs", millis);
        metrics.close();
    }
    if let Some(tier) = &usage.service_tier {
        Object::typed(object.value("serviceTier"), tier).close();
    }
    for (name, json) in beside.iter().filter(|(n, _)| !is_of_stop(n)) {
        object.json(name, json);
    }
}

fn reasoning(delta: &mut Object<'_>, name: &str, text: &str) {
    let mut inner = Object::open(delta.value("reasoningContent"));
    inner.text(name, text);
    inner.close();
}

fn write_call(id: &str, name: &str, kind: &ToolKind, start: &mut Object<'_>) {
    let mut call = Object::open(start.value("toolUse"));
    call.text("toolUseId", id);
    call.text("name", name);
    if *kind == ToolKind::Server {
        call.text("type", "server_tool_use");
    }
    call.close();
}

/// How a block is written; `Err` names what cannot be.
fn form_of(block: &BlockStart) -> Result<Form, &'static str> {
    Ok(match block {
        // What was refused or spoken is text here.
        BlockStart::Text | BlockStart::Refusal | BlockStart::Audio { .. } => Form::Text,
        BlockStart::Thinking => Form::Thinking,
        BlockStart::RedactedThinking { .. } => Form::Redacted,
        BlockStart::ToolCall {
            kind: ToolKind::Custom,
            ..
        } => Form::Custom,
        BlockStart::ToolCall { .. } => Form::Function,
        BlockStart::Image { url: None, .. } => Form::Image,
        BlockStart::Other {
            dialect: DialectName::Converse,
            ..
        } => Form::Other,
        BlockStart::Image { .. } => return Err("image"),
        BlockStart::Video { .. } => return Err("video"),
        BlockStart::Other { .. } => return Err("other_blocks"),
    })
}

/// Whether an answer in one body can hold the block too.
pub(super) fn sayable(block: &BlockStart) -> bool {
    form_of(block).is_ok()
}

fn delta_name(delta: &Delta) -> &'static str {
    match delta {
        Delta::Text(_) => "text",
        Delta::Thinking(_) => "thinking",
        Delta::Signature(_) => "signature",
        Delta::ToolInput(_) => "tool_input",
        Delta::Refusal(_) => "refusal",
        Delta::Citation(_) => "citations",
        Delta::Base64(_) => "base64",
        Delta::Transcript(_) => "transcript",
        Delta::Other { .. } => "other_deltas",
    }
}
