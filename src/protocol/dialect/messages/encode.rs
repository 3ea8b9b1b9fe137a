//! Canon → a client's SSE, in the exact shape that official clients accumulate.
//!
//! The API has one block open at a time, with indexes that count up. Upstreams of other dialects interleave: then one block is live and
//! written as it comes, and the others wait. Open text gives way to a newcomer, and goes on in a block of its own if more of it comes.

use super::decode::CALLER;
use super::errors;
use super::schema::{Fields, Object, stop_word};
use super::usage;
use crate::base::Str;
use crate::canon::{BlockStart, Delta, DialectName, Event, Fault, StopReason, ToolKind, Usage};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::framing::sse;
use crate::protocol::json;
use bytes::BytesMut;
use serde_json::value::RawValue;
use std::collections::{BTreeSet, VecDeque};

/// Writes one answer. One value an exchange. Memory: what waits is bounded by the answer.
#[derive(Debug)]
pub struct Encoder {
    // Boxed, since an exchange keeps an encoder of any dialect in place.
    opening: Box<Opening>,
    /// The provider's id, once known.
    id: Str,
    started: bool,
    usage: Box<Usage>,
    stop: Option<(StopReason, Option<Str>)>,
    /// `stop_details`, `container` and what else stands beside the answer's blocks.
    beside: Vec<(Str, crate::base::Json)>,
    live: Option<Live>,
    waiting: VecDeque<Waiting>,
    /// Blocks begun so far, which is the next block's index.
    written: u64,
    calls: bool,
    /// Blocks that were written as text, by canon's index, and may go on after they gave way.
    texts: BTreeSet<u32>,
    dropped: Vec<String>,
    /// One event's JSON, kept for its memory.
    scratch: BytesMut,
}

#[derive(Debug)]
struct Live {
    canon: u32,
    index: u64,
    form: Form,
    /// A call's start, which waits for the block's first delta or end: its `caller` stands in it, and comes after it.
    unsaid: Option<BlockStart>,
}

/// How a block is written.
#[derive(Clone, Debug, PartialEq)]
enum Form {
    Text,
    Thinking,
    Function,
    /// A tool that takes free text: its input is told as `{"input":"…"}`.
    Custom,
    /// Written whole at its start; `true` if deltas of this dialect may follow.
    Whole(bool),
}

#[derive(Debug)]
struct Waiting {
    canon: u32,
    start: BlockStart,
    form: Form,
    deltas: Vec<Delta>,
    stopped: bool,
}

impl Encoder {
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        Self {
            opening: Box::new(opening),
            id: Str::new(),
            started: false,
            usage: Box::default(),
            stop: None,
            beside: Vec::new(),
            live: None,
            waiting: VecDeque::new(),
            written: 0,
            calls: false,
            texts: BTreeSet::new(),
            dropped: Vec::new(),
            scratch: BytesMut::new(),
        }
    }

    /// Appends `event` in the client's words. What comes ahead of the first block is held until it, so that the start tells all of it.
    pub fn event(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Started { id, .. } => self.id.clone_from(id),
            Event::BlockStart {
                index,
                choice,
                block,
            } => self.block_start(*index, *choice, block, out),
            Event::BlockDelta { index, delta } => self.block_delta(*index, delta, out),
            Event::BlockStop { index } => self.block_stop(*index, out),
            Event::Usage(usage) => self.usage.update(usage),
            Event::Stop {
                choice: 0,
                reason,
                sequence,
            } => self.stop = Some((reason.clone(), sequence.clone())),
            Event::Stop { .. } => self.drop_once("choices"),
            Event::Other {
                dialect: DialectName::Messages,
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

    /// Appends what waits, the stop reason with the final usage, and the end mark.
    pub fn finish(&mut self, _closing: &Closing, out: &mut BytesMut) {
        self.flush(out);
        self.start(out);
        let (reason, sequence) = self.stop.take().unwrap_or((StopReason::EndTurn, None));
        // Some speakers of Chat say `stop` beside calls; a client of this API runs tools only on `tool_use`.
        let reason = match reason {
            StopReason::EndTurn if self.calls => StopReason::ToolUse,
            reason => reason,
        };
        self.write("message_delta", out, |encoder, object| {
            let mut delta = Object::open(object.value("delta"));
            delta.text("stop_reason", stop_word(&reason));
            delta.text_or_null("stop_sequence", sequence.as_deref());
            for (name, json) in &encoder.beside {
                if is_of_delta(name) {
                    delta.json(name, json);
                }
            }
            delta.close();
            let mut inner = Object::open(object.value("usage"));
            usage::write(&encoder.usage, &mut inner);
            inner.close();
            for (name, json) in &encoder.beside {
                if !is_of_delta(name) {
                    object.json(name, json);
                }
            }
        });
        self.write("message_stop", out, |_, _| {});
    }

    /// Appends `error`, after which the stream ends. Nothing that waited is told: it is not known to be whole.
    pub fn fail(&mut self, fault: &Fault, _closing: &Closing, out: &mut BytesMut) {
        let mut data = BytesMut::new();
        errors::write_envelope(fault, &self.opening.id, &mut data);
        self.frame("error", &data, out);
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

    fn block_start(&mut self, canon: u32, choice: u32, block: &BlockStart, out: &mut BytesMut) {
        if choice > 0 {
            return self.drop_once("choices");
        }
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
        if self.live.as_ref().is_some_and(|l| l.form == Form::Text) {
            self.close_live(out);
        }
        // Behind those that wait already; the next of them, often this one, is live if none is.
        self.wait(canon, block.clone(), form);
        self.next_waiting(out);
    }

    fn wait(&mut self, canon: u32, start: BlockStart, form: Form) -> &mut Waiting {
        self.waiting.push_back(Waiting {
            canon,
            start,
            form,
            deltas: Vec::new(),
            stopped: false,
        });
        self.waiting.back_mut().expect("pushed above")
    }

    fn block_delta(&mut self, canon: u32, delta: &Delta, out: &mut BytesMut) {
        if self.live.as_ref().is_some_and(|l| l.canon == canon) {
            return self.delta(delta, out);
        }
        // The last one: text that gave way twice waits twice.
        if let Some(waiting) = self.waiting.iter_mut().rfind(|w| w.canon == canon) {
            if !waiting.stopped {
                waiting.deltas.push(delta.clone());
            }
            return;
        }
        // Text that gave way and goes on. A block that was left out is not among them.
        if let Delta::Text(_) | Delta::Refusal(_) | Delta::Transcript(_) = delta
            && self.texts.contains(&canon)
        {
            if self.live.is_none() {
                self.begin(canon, &BlockStart::Text, Form::Text, out);
                self.delta(delta, out);
            } else {
                let waiting = self.wait(canon, BlockStart::Text, Form::Text);
                waiting.deltas.push(delta.clone());
            }
        }
    }

    fn block_stop(&mut self, canon: u32, out: &mut BytesMut) {
        if self.live.as_ref().is_some_and(|l| l.canon == canon) {
            self.close_live(out);
            self.next_waiting(out);
        } else if let Some(waiting) = self.waiting.iter_mut().rfind(|w| w.canon == canon) {
            waiting.stopped = true;
        }
    }

    /// Writes blocks that waited, up to and including one that is not stopped, which is live from then on.
    fn next_waiting(&mut self, out: &mut BytesMut) {
        while self.live.is_none() {
            let Some(next) = self.waiting.pop_front() else {
                return;
            };
            self.begin(next.canon, &next.start, next.form, out);
            for delta in &next.deltas {
                self.delta(delta, out);
            }
            if next.stopped {
                self.close_live(out);
            }
        }
    }

    /// Ends all blocks: the answer has ended.
    fn flush(&mut self, out: &mut BytesMut) {
        self.close_live(out);
        self.waiting.iter_mut().for_each(|w| w.stopped = true);
        self.next_waiting(out);
    }

    fn begin(&mut self, canon: u32, block: &BlockStart, form: Form, out: &mut BytesMut) {
        self.start(out);
        let index = self.written;
        self.written += 1;
        self.calls |= matches!(form, Form::Function | Form::Custom) && !is_server(block);
        if form == Form::Text {
            self.texts.insert(canon);
        }
        let waits = matches!(form, Form::Function | Form::Custom);
        self.live = Some(Live {
            canon,
            index,
            form,
            unsaid: waits.then(|| block.clone()),
        });
        if !waits {
            self.say_start(index, block, None, out);
        }
    }

    fn say_start(
        &mut self,
        index: u64,
        block: &BlockStart,
        caller: Option<&str>,
        out: &mut BytesMut,
    ) {
        self.write("content_block_start", out, |_, object| {
            object.count("index", index);
            write_start(block, caller, object.value("content_block"));
        });
    }

    /// Says the start of a call that has waited; true if there was one.
    fn say_unsaid(&mut self, caller: Option<&str>, out: &mut BytesMut) -> bool {
        let Some(live) = &mut self.live else {
            return false;
        };
        let (index, custom) = (live.index, live.form == Form::Custom);
        let Some(block) = live.unsaid.take() else {
            return false;
        };
        self.say_start(index, &block, caller, out);
        if custom {
            self.input("{\"input\":\"", out);
        }
        true
    }

    fn close_live(&mut self, out: &mut BytesMut) {
        self.say_unsaid(None, out);
        if self.live.as_ref().is_some_and(|l| l.form == Form::Custom) {
            self.input("\"}", out);
        }
        if let Some(live) = self.live.take() {
            self.write("content_block_stop", out, |_, object| {
                object.count("index", live.index);
            });
        }
    }

    fn input(&mut self, part: &str, out: &mut BytesMut) {
        self.write_delta("input_json_delta", "partial_json", part, out);
    }

    /// A delta of the live block.
    fn delta(&mut self, delta: &Delta, out: &mut BytesMut) {
        let Some(form) = self.live.as_ref().map(|l| l.form.clone()) else {
            return;
        };
        let caller = caller_of(delta);
        if self.say_unsaid(caller, out) && caller.is_some() {
            return;
        }
        match (form, delta) {
            (Form::Text, Delta::Text(text) | Delta::Refusal(text) | Delta::Transcript(text)) => {
                self.write_delta("text_delta", "text", text, out);
            }
            (Form::Text, Delta::Citation(citation))
                if citation.dialect == DialectName::Messages =>
            {
                self.write_block_delta(out, |object| {
                    let mut delta = Object::typed(object.value("delta"), "citations_delta");
                    delta.json("citation", &citation.json);
                    delta.close();
                });
            }
            (Form::Thinking, Delta::Thinking(text)) => {
                self.write_delta("thinking_delta", "thinking", text, out);
            }
            (Form::Thinking, Delta::Signature(text)) => {
                self.write_delta("signature_delta", "signature", text, out);
            }
            (Form::Function, Delta::ToolInput(text)) => self.input(text, out),
            (Form::Custom, Delta::ToolInput(text)) => {
                let mut escaped = BytesMut::new();
                json::escaped(text, &mut escaped);
                let inner =
                    std::str::from_utf8(&escaped).expect("the escaped form of a str is UTF-8");
                self.input(inner, out);
            }
            (
                Form::Whole(true) | Form::Text | Form::Thinking | Form::Function,
                Delta::Other {
                    dialect: DialectName::Messages,
                    json,
                },
            ) => self.write_block_delta(out, |object| object.json("delta", json)),
            (_, delta) => self.drop_once(delta_name(delta)),
        }
    }

    fn write_delta(&mut self, kind: &str, name: &str, text: &str, out: &mut BytesMut) {
        self.write_block_delta(out, |object| {
            let mut delta = Object::typed(object.value("delta"), kind);
            delta.text(name, text);
            delta.close();
        });
    }

    fn write_block_delta(&mut self, out: &mut BytesMut, rest: impl FnOnce(&mut Object<'_>)) {
        let index = self.live.as_ref().map_or(0, |l| l.index);
        self.write("content_block_delta", out, |_, object| {
            object.count("index", index);
            rest(object);
        });
    }

    /// `message_start`, once, with what is known of the usage by now; clients add up what `message_delta` says later.
    fn start(&mut self, out: &mut BytesMut) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        self.write("message_start", out, |encoder, object| {
            let mut message = Object::open(object.value("message"));
            write_head(&encoder.id, &encoder.opening, &mut message);
            message.array("content", [(); 0], |(), _| {});
            message.null("stop_reason");
            message.null("stop_sequence");
            let mut inner = Object::open(message.value("usage"));
            usage::write(&encoder.usage, &mut inner);
            inner.close();
            for (name, json) in encoder.beside.iter().filter(|(n, _)| is_of_start(n)) {
                message.json(name, json);
            }
            message.close();
        });
        self.beside.retain(|(name, _)| !is_of_start(name));
    }

    fn write(
        &mut self,
        name: &str,
        out: &mut BytesMut,
        rest: impl FnOnce(&mut Self, &mut Object<'_>),
    ) {
        let mut data = std::mem::take(&mut self.scratch);
        data.clear();
        let mut object = Object::typed(&mut data, name);
        rest(self, &mut object);
        object.close();
        one_line(&mut data);
        self.frame(name, &data, out);
        self.scratch = data;
    }

    fn frame(&self, name: &str, data: &[u8], out: &mut BytesMut) {
        if self.opening.bare {
            out.extend_from_slice(data);
        } else {
            sse::write(Some(name), None, data, out);
        }
    }
}

/// JSON that passes as it was written may hold line breaks between its values, which would end the `data:` line; within strings JSON has none.
fn one_line(data: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', &data[from..]) {
        data[from + at] = b' ';
        from += at + 1;
    }
}

/// Id, type, role and model, which open a message streamed or whole. The id is Anthropic's own where it has one, so that
/// `diagnostics.previous_message_id` finds it; else ours.
pub(super) fn write_head(id: &str, opening: &Opening, message: &mut Object<'_>) {
    if id.starts_with("msg_") || opening.id.is_empty() {
        message.text("id", id);
    } else {
        message.text("id", &format!("msg_{}", opening.id));
    }
    message.text("type", "message");
    message.text("role", "assistant");
    message.text("model", &opening.model);
}

/// Sections 4.1 and 7.9: these are told at the start.
fn is_of_start(name: &str) -> bool {
    matches!(name, "diagnostics" | "input_transformations")
}

/// Section 6: these stand in `message_delta.delta`, others beside it.
fn is_of_delta(name: &str) -> bool {
    matches!(name, "stop_details" | "container")
}

fn is_server(block: &BlockStart) -> bool {
    let BlockStart::ToolCall { kind, .. } = block else {
        return false;
    };
    *kind == ToolKind::Server
}

/// How a block is written; `Err` names what cannot be.
fn form_of(block: &BlockStart) -> Result<Form, &'static str> {
    Ok(match block {
        // What was refused or spoken is text here.
        BlockStart::Text | BlockStart::Refusal | BlockStart::Audio { .. } => Form::Text,
        BlockStart::Thinking => Form::Thinking,
        BlockStart::ToolCall {
            kind: ToolKind::Custom,
            ..
        } => Form::Custom,
        BlockStart::ToolCall { .. } => Form::Function,
        BlockStart::RedactedThinking { .. } => Form::Whole(false),
        BlockStart::Other {
            dialect: DialectName::Messages,
            ..
        } => Form::Whole(true),
        BlockStart::Image { .. } => return Err("image"),
        BlockStart::Video { .. } => return Err("video"),
        BlockStart::Other { .. } => return Err("other_blocks"),
    })
}

/// Who called a tool, as the decoder tells it.
pub(super) fn caller_of(delta: &Delta) -> Option<&str> {
    let Delta::Other {
        dialect: DialectName::Messages,
        json,
    } = delta
    else {
        return None;
    };
    caller_in(json)
}

/// The same, of a delta's JSON.
pub(super) fn caller_in(json: &crate::base::Json) -> Option<&str> {
    let mut fields = Fields::of(json.get())?;
    let kind = fields.text(json.text(), "type")?;
    (&*kind == CALLER).then(|| fields.take("caller").map(RawValue::get))?
}

/// The block as it stands in `content_block_start`.
fn write_start(block: &BlockStart, caller: Option<&str>, out: &mut BytesMut) {
    if let BlockStart::Other { json, .. } = block {
        out.extend_from_slice(json.get().as_bytes());
        return;
    }
    let mut object = Object::open(out);
    match block {
        BlockStart::Thinking => {
            object.text("type", "thinking");
            object.text("thinking", "");
            object.text("signature", "");
        }
        BlockStart::RedactedThinking { data } => {
            object.text("type", "redacted_thinking");
            object.text("data", data);
        }
        BlockStart::ToolCall { id, name, kind } => {
            object.text("type", call_type(kind));
            object.text("id", id);
            object.text("name", name);
            object.value("input").extend_from_slice(b"{}");
            if let Some(caller) = caller {
                object.value(CALLER).extend_from_slice(caller.as_bytes());
            }
        }
        _ => {
            object.text("type", "text");
            object.text("text", "");
        }
    }
    object.close();
}

pub(super) fn call_type(kind: &ToolKind) -> &'static str {
    match kind {
        ToolKind::Function | ToolKind::Custom => "tool_use",
        ToolKind::Server => "server_tool_use",
    }
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
