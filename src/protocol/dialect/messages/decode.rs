//! A provider's answer → canon (sections 5 and 6).
//!
//! Names of events that are unknown are ignored, as the API's contract says; unknown blocks, deltas and fields are kept as `Other`.

use super::errors;
use super::schema::{Fields, Text, citation, items_of, stop_reason};
use super::usage::Meter;
use crate::base::{Json, Str, slice_of};
use crate::canon::{BlockStart, Delta, DialectName, Event, Malformed, StopReason, ToolKind};
use crate::protocol::framing::sse::SseEvent;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Reads one answer. One value an attempt; give it the SSE events in order.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Blocks that started and did not stop; the API has one at a time, yet each is found by its index.
    open: Vec<Open>,
    blocks: u32,
    started: bool,
    /// Told at `message_stop`: of several the last is true.
    stop: Option<(StopReason, Option<Str>)>,
    meter: Meter,
    /// The end mark came, or the provider broke off: what follows is not part of the answer.
    ended: bool,
}

#[derive(Debug)]
struct Open {
    theirs: u64,
    ours: u32,
    kind: Kind,
    /// A tool's input as the block's start told it, until a delta says better.
    input: Option<Str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Tool,
    Other,
}

/// The fields of all events.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    index: Option<u64>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
}

/// The fields of all deltas.
#[derive(Deserialize)]
struct WireDelta<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    #[serde(borrow)]
    citation: Option<&'a RawValue>,
}

/// The `type` under which canon carries who called a tool, which the API says in the block's start.
pub(super) const CALLER: &str = "caller";

#[derive(serde::Serialize)]
struct CallerDelta<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    caller: &'a RawValue,
}

const KNOWN: [&[u8]; 7] = [
    b"message_start",
    b"content_block_start",
    b"content_block_delta",
    b"content_block_stop",
    b"message_delta",
    b"message_stop",
    b"error",
];

impl Decoder {
    /// Appends to `out` what `sse` means, which may be nothing. `Err`: the attempt is broken.
    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.ended || sse.data.is_empty() {
            return Ok(());
        }
        if !sse.name.is_empty() && !KNOWN.contains(&&sse.name[..]) {
            return Ok(());
        }
        let body = utf8(&sse.data)?;
        let wire: Wire<'_> = serde_json::from_str(&body).map_err(|e| malformed(sse, &e))?;
        let name = wire.kind.as_ref().map_or("", |kind| &*kind.0);
        match name {
            "message_start" => self.message_start(&body, wire.message, out),
            "content_block_start" => self.block_start(&body, &wire, out),
            "content_block_delta" => self.block_delta(&body, &wire, out),
            "content_block_stop" => self.block_stop(&wire, out),
            "message_delta" => self.message_delta(&body, out),
            "message_stop" => self.message_stop(out),
            "error" => {
                self.ended = true;
                out.push(Event::Error(Box::new(errors::read_event(&body))));
                Ok(())
            }
            // The provider's contract: ignore names you do not know. `ping` is one.
            _ => Ok(()),
        }
    }

    /// An answer that came in one body.
    pub fn whole(&mut self, body: &Bytes, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let body = utf8(body)?;
        let raw: &RawValue =
            serde_json::from_str(&body).map_err(|e| Malformed::at(format!("body: {e}")))?;
        let mut fields = Fields::of(raw.get()).ok_or_else(|| Malformed::at("body: no object"))?;
        if fields.text(&body, "type").as_deref() == Some("error") {
            self.ended = true;
            out.push(Event::Error(Box::new(errors::read_event(&body))));
            return Ok(());
        }
        if fields.take("content").is_none() {
            return Err(Malformed::at("body: content is missing"));
        }
        self.message_start(&body, Some(raw), out)?;
        self.message_stop(out)
    }

    /// The stream ended. `Err` when `message_stop` did not come.
    pub fn finish(&mut self, _out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.ended {
            Ok(())
        } else {
            Err(Malformed::at("the stream ended before message_stop"))
        }
    }

    /// Also reads a whole answer, which is the same object with its content in place. A stream's start may hold content too, when a
    /// paused turn of programmatic tool calls is told again.
    fn message_start(
        &mut self,
        body: &Str,
        message: Option<&RawValue>,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        if std::mem::replace(&mut self.started, true) {
            return Err(Malformed::at("event message_start: a second one"));
        }
        let mut fields = message
            .and_then(|raw| Fields::of(raw.get()))
            .ok_or_else(|| Malformed::at("event message_start: message is missing"))?;
        out.push(Event::Started {
            id: fields.text(body, "id").unwrap_or_default(),
            model: fields.text(body, "model").unwrap_or_default(),
            created: None,
        });
        let usage = fields.take("usage");
        self.usage(body, usage, out);
        let content = fields
            .take("content")
            .and_then(items_of)
            .unwrap_or_default();
        for (theirs, raw) in content.into_iter().enumerate() {
            self.start(body, theirs as u64, raw, out)?;
            self.stop_block(theirs as u64, out)?;
        }
        self.take_stop(body, &mut fields);
        for name in ["type", "role"] {
            fields.take(name);
        }
        others(body, &fields, out);
        Ok(())
    }

    fn usage(&mut self, body: &Str, raw: Option<&RawValue>, out: &mut Vec<Event>) {
        if let Some(usage) = raw.and_then(|raw| self.meter.read(body, raw)) {
            out.push(Event::Usage(Box::new(usage)));
        }
    }

    fn take_stop(&mut self, body: &Str, fields: &mut Fields<'_>) {
        let sequence = fields.text(body, "stop_sequence");
        if let Some(word) = fields.text(body, "stop_reason") {
            self.stop = Some((stop_reason(word), sequence));
        }
    }

    fn block_start(
        &mut self,
        body: &Str,
        wire: &Wire<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        match (wire.index, wire.content_block) {
            (Some(index), Some(raw)) if self.started => self.start(body, index, raw, out),
            _ => Err(Malformed::at("event content_block_start: out of place")),
        }
    }

    fn start(
        &mut self,
        body: &Str,
        theirs: u64,
        raw: &RawValue,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        if self.open.iter().any(|b| b.theirs == theirs) {
            return Err(Malformed::at(format!(
                "event content_block_start: block {theirs} is open already"
            )));
        }
        let mut fields = Fields::of(raw.get())
            .ok_or_else(|| Malformed::at("event content_block_start: no block"))?;
        let word = fields.text(body, "type").unwrap_or_default();
        let (kind, block, input) = begun(body, &word, raw, &mut fields);
        let ours = self.blocks;
        self.blocks += 1;
        out.push(Event::BlockStart {
            index: ours,
            choice: 0,
            block,
        });
        let mut push = |delta| out.push(Event::BlockDelta { index: ours, delta });
        match kind {
            Kind::Text => {
                let citations = fields.take("citations").and_then(items_of);
                for raw in citations.unwrap_or_default() {
                    push(Delta::Citation(citation(body, raw)));
                }
                said(&mut fields, body, "text")
                    .map(Delta::Text)
                    .map(&mut push);
            }
            Kind::Thinking => {
                let thinking = said(&mut fields, body, "thinking").map(Delta::Thinking);
                thinking.map(&mut push);
                let signature = said(&mut fields, body, "signature").map(Delta::Signature);
                signature.map(&mut push);
            }
            Kind::Tool => {
                // Who called (code in a container) has no word in canon; saying nothing means the model itself.
                if let Some(raw) = fields.take("caller")
                    && Fields::of(raw.get())
                        .and_then(|mut f| f.text(body, "type"))
                        .is_some_and(|t| t != "direct")
                {
                    push(Delta::Other {
                        dialect: DialectName::Messages,
                        json: Json::of(&CallerDelta {
                            kind: CALLER,
                            caller: raw,
                        }),
                    });
                }
            }
            Kind::Other => {}
        }
        self.open.push(Open {
            theirs,
            ours,
            kind,
            input,
        });
        Ok(())
    }

    fn block_delta(
        &mut self,
        body: &Str,
        wire: &Wire<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        let place = || Malformed::at("event content_block_delta: out of place");
        let raw = wire.delta.ok_or_else(place)?;
        let open = self
            .open
            .iter_mut()
            .find(|b| Some(b.theirs) == wire.index)
            .ok_or_else(place)?;
        let delta: WireDelta<'_> = serde_json::from_str(raw.get())
            .map_err(|e| Malformed::at(format!("event content_block_delta: {e}")))?;
        if let Some(delta) = meant(body, open, raw, delta) {
            out.push(Event::BlockDelta {
                index: open.ours,
                delta,
            });
        }
        Ok(())
    }

    fn block_stop(&mut self, wire: &Wire<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let place = || Malformed::at("event content_block_stop: index is missing");
        self.stop_block(wire.index.ok_or_else(place)?, out)
    }

    fn stop_block(&mut self, theirs: u64, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let Some(at) = self.open.iter().position(|b| b.theirs == theirs) else {
            return Err(Malformed::at(format!(
                "event content_block_stop: block {theirs} is not open"
            )));
        };
        let open = self.open.remove(at);
        if let Some(input) = open.input {
            out.push(Event::BlockDelta {
                index: open.ours,
                delta: Delta::ToolInput(input),
            });
        }
        out.push(Event::BlockStop { index: open.ours });
        Ok(())
    }

    fn message_delta(&mut self, body: &Str, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if !self.started {
            return Err(Malformed::at("event message_delta: out of place"));
        }
        let mut fields = Fields::of(body).unwrap_or_default();
        fields.take("type");
        let usage = fields.take("usage");
        self.usage(body, usage, out);
        let delta = fields.take("delta");
        if let Some(mut delta) = delta.and_then(|raw| Fields::of(raw.get())) {
            self.take_stop(body, &mut delta);
            others(body, &delta, out);
        }
        others(body, &fields, out);
        Ok(())
    }

    fn message_stop(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let Some((reason, sequence)) = self.stop.take() else {
            return Err(Malformed::at("event message_stop: no stop_reason came"));
        };
        if !self.open.is_empty() {
            return Err(Malformed::at("event message_stop: a block is open"));
        }
        self.ended = true;
        out.push(Event::Stop {
            choice: 0,
            reason,
            sequence,
        });
        out.push(Event::Done);
        Ok(())
    }
}

/// The kind and start of a block, and for tools what to say as input at its stop if no delta does: empty input means `{}`.
fn begun(
    body: &Str,
    word: &str,
    raw: &RawValue,
    fields: &mut Fields<'_>,
) -> (Kind, BlockStart, Option<Str>) {
    let kind = match word {
        "text" => return (Kind::Text, BlockStart::Text, None),
        "thinking" => return (Kind::Thinking, BlockStart::Thinking, None),
        "redacted_thinking" => {
            let data = fields.text(body, "data").unwrap_or_default();
            return (Kind::Other, BlockStart::RedactedThinking { data }, None);
        }
        "tool_use" => ToolKind::Function,
        "server_tool_use" => ToolKind::Server,
        _ => {
            let block = BlockStart::Other {
                dialect: DialectName::Messages,
                json: Json::within(body, raw),
            };
            return (Kind::Other, block, None);
        }
    };
    let input = match fields.take("input") {
        Some(raw) => slice_of(body, raw.get()),
        None => Str::from_static("{}"),
    };
    let block = BlockStart::ToolCall {
        id: fields.text(body, "id").unwrap_or_default(),
        name: fields.text(body, "name").unwrap_or_default(),
        kind,
    };
    (Kind::Tool, block, Some(input))
}

/// What a delta means within its block; `None` when it says nothing.
fn meant(body: &Str, open: &mut Open, raw: &RawValue, delta: WireDelta<'_>) -> Option<Delta> {
    let part = |text: Option<Text<'_>>| {
        let text = text?.0;
        (!text.is_empty()).then(|| match text {
            std::borrow::Cow::Borrowed(part) => slice_of(body, part),
            std::borrow::Cow::Owned(text) => Str::from(text),
        })
    };
    match (open.kind, &*delta.kind.0) {
        (Kind::Text, "text_delta") => part(delta.text).map(Delta::Text),
        (Kind::Text, "citations_delta") => Some(Delta::Citation(citation(body, delta.citation?))),
        (Kind::Thinking, "thinking_delta") => part(delta.thinking).map(Delta::Thinking),
        (Kind::Thinking, "signature_delta") => part(delta.signature).map(Delta::Signature),
        (Kind::Tool, "input_json_delta") => {
            let input = part(delta.partial_json)?;
            open.input = None;
            Some(Delta::ToolInput(input))
        }
        _ => Some(Delta::Other {
            dialect: DialectName::Messages,
            json: Json::within(body, raw),
        }),
    }
}

fn said(fields: &mut Fields<'_>, body: &Str, name: &str) -> Option<Str> {
    fields.text(body, name).filter(|text| !text.is_empty())
}

/// What canon has no word for (`stop_details`, `container`, `context_management`, …), told by its name.
fn others(body: &Str, fields: &Fields<'_>, out: &mut Vec<Event>) {
    for (name, raw) in fields.left() {
        if raw.get() != "null" {
            out.push(other(body, name, raw));
        }
    }
}

fn other(body: &Str, name: &str, raw: &RawValue) -> Event {
    Event::Other {
        dialect: DialectName::Messages,
        name: Str::from(name),
        choice: 0,
        json: Json::within(body, raw),
    }
}

fn utf8(bytes: &Bytes) -> Result<Str, Malformed> {
    Str::try_from(bytes.clone()).map_err(|_| Malformed::at("not UTF-8"))
}

fn malformed(sse: &SseEvent, error: &serde_json::Error) -> Malformed {
    let name = String::from_utf8_lossy(&sse.name);
    let class = match error.classify() {
        serde_json::error::Category::Data => "of another shape",
        _ => "malformed",
    };
    Malformed::at(format!("event {name}: {class} at byte {}", error.column()))
}
