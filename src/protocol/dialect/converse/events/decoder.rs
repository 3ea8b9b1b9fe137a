//! A provider's answer → canon.
//!
//! Events come as frames say them: the name apart, the payload with no name in it. Text and thinking begin with their first delta, since the
//! API sends no start for them. Usage comes after the stop. Names of events, members and fields that came after this was written are
//! ignored or kept as `Other`; none breaks a stream.

use super::super::errors;
use super::super::formats::{IMAGES, media_type, stop_reason};
use super::super::request::{citation, cited, reasoning_of, redacted};
use super::usage;
use crate::base::{Json, Str};
use crate::canon::{
    BlockKind, BlockStart, Delta, DialectName, Event, Malformed, StopReason, ToolKind, Usage,
};
use crate::protocol::dialect::messages::schema::{Fields, items_of, text_of};
use crate::protocol::framing::sse::SseEvent;
use bytes::Bytes;
use serde_json::value::RawValue;

/// Reads one answer. One value an attempt; give it the events in order.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Blocks that began and did not stop.
    open: Vec<Open>,
    blocks: u32,
    started: bool,
    stopped: bool,
    /// The end came, or the provider broke off: what follows is not part of the answer.
    ended: bool,
}

#[derive(Debug)]
struct Open {
    theirs: u64,
    ours: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Text,
    Thinking,
    /// Its data, still in base64, may come in pieces; canon's block begins with all of it.
    Redacted(String),
    /// Whether some of its input came: none at all means `{}`.
    Tool(bool),
    Image,
    Other,
}

impl Decoder {
    /// Appends to `out` what `sse` means, which may be nothing. `Err`: the attempt is broken.
    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.ended || sse.data.is_empty() {
            return Ok(());
        }
        let name = String::from_utf8_lossy(&sse.name);
        let body = utf8(&sse.data)?;
        if is_exception(&name) {
            self.ended = true;
            let message = errors::message_of(&body).unwrap_or_default();
            let fault = errors::exception(&name, &message, None);
            out.push(Event::Error(Box::new(fault)));
            return Ok(());
        }
        if !KNOWN.contains(&&*name) {
            return Ok(());
        }
        let mut fields: Fields<'_> = serde_json::from_str(&body).map_err(|e| {
            let class = if e.is_data() {
                "of another shape"
            } else {
                "malformed"
            };
            Malformed::at(format!("event {name}: {class} at byte {}", e.column()))
        })?;
        // Padding, against guessing by length.
        fields.take("p");
        match &*name {
            "messageStart" => self.message_start(out),
            "contentBlockStart" => self.block_start(&body, &mut fields, out),
            "contentBlockDelta" => self.block_delta(&body, &mut fields, out),
            "contentBlockStop" => self.block_stop(&mut fields, out),
            "messageStop" => self.message_stop(&body, &mut fields, out),
            _ => self.metadata(&body, &mut fields, out),
        }
    }

    /// An answer that came in one body.
    pub fn whole(&mut self, body: &Bytes, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let body = utf8(body)?;
        let mut fields: Fields<'_> = serde_json::from_str(&body)
            .map_err(|e| Malformed::at(format!("body: no object, at byte {}", e.column())))?;
        let message = fields.take("output").and_then(|r| Fields::of(r.get()));
        let message = message.and_then(|mut o| o.take("message"));
        let content = message
            .and_then(|r| Fields::of(r.get()))
            .and_then(|mut m| m.take("content"))
            .and_then(items_of)
            .ok_or_else(|| Malformed::at("body: output.message.content is missing"))?;
        self.message_start(out)?;
        for raw in content {
            self.whole_block(&body, raw, out)?;
        }
        let reason = fields
            .text(&body, "stopReason")
            .ok_or_else(|| Malformed::at("body: stopReason is missing"))?;
        self.stop(reason, out);
        self.metadata(&body, &mut fields, out)
    }

    /// The stream ended. `Err` when `messageStop` did not come. Usage may be missing: it comes last, and an answer without it is whole.
    pub fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.ended {
            return Ok(());
        }
        if !self.stopped {
            return Err(Malformed::at("the stream ended before messageStop"));
        }
        self.ended = true;
        out.push(Event::Done);
        Ok(())
    }

    fn message_start(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if std::mem::replace(&mut self.started, true) {
            return Err(Malformed::at("event messageStart: a second one"));
        }
        // Id and model stand nowhere in the answer.
        out.push(Event::Started {
            id: Str::new(),
            model: Str::new(),
            created: None,
        });
        Ok(())
    }

    fn index(&self, fields: &mut Fields<'_>, event: &str) -> Result<u64, Malformed> {
        let index = fields.count("contentBlockIndex");
        match index {
            Some(index) if self.started && !self.stopped => Ok(index),
            _ => Err(Malformed::at(format!("event {event}: out of place"))),
        }
    }

    fn block_start(
        &mut self,
        body: &Str,
        fields: &mut Fields<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        let theirs = self.index(fields, "contentBlockStart")?;
        if self.open.iter().any(|b| b.theirs == theirs) {
            let message = format!("event contentBlockStart: block {theirs} is open already");
            return Err(Malformed::at(message));
        }
        let raw = fields
            .take("start")
            .ok_or_else(|| Malformed::at("event contentBlockStart: start is missing"))?;
        let Some(mut start) = Fields::of(raw.get()) else {
            return Err(Malformed::at("event contentBlockStart: no block"));
        };
        let (kind, block) = if let Some(call) = start.take("toolUse") {
            (Kind::Tool(false), call_of(body, call)?)
        } else if let Some(image) = start.take("image") {
            (Kind::Image, image_of(body, image))
        } else if start.all_taken() {
            // A start that says nothing: the first delta will.
            return Ok(());
        } else {
            (Kind::Other, other(body, raw))
        };
        self.begin(theirs, kind, block, out);
        Ok(())
    }

    fn begin(&mut self, theirs: u64, kind: Kind, block: BlockStart, out: &mut Vec<Event>) -> u32 {
        let ours = self.blocks;
        self.blocks += 1;
        out.push(Event::BlockStart {
            index: ours,
            choice: 0,
            block,
        });
        self.open.push(Open { theirs, ours, kind });
        ours
    }

    fn block_delta(
        &mut self,
        body: &Str,
        fields: &mut Fields<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        let theirs = self.index(fields, "contentBlockDelta")?;
        let place = || Malformed::at("event contentBlockDelta: delta is missing");
        let raw = fields.take("delta").ok_or_else(place)?;
        let delta = Fields::of(raw.get()).ok_or_else(place)?;
        let open = match self.open.iter().position(|b| b.theirs == theirs) {
            Some(open) => open,
            None => match self.begin_by(theirs, body, raw, &delta, out)? {
                Some(open) => open,
                None => return Ok(()),
            },
        };
        let open = &mut self.open[open];
        for delta in meant(body, open, raw, delta) {
            let index = open.ours;
            out.push(Event::BlockDelta { index, delta });
        }
        Ok(())
    }

    /// The block that its first delta begins, as most do. `None`: the delta is all there is to the block.
    fn begin_by(
        &mut self,
        theirs: u64,
        body: &Str,
        raw: &RawValue,
        delta: &Fields<'_>,
        out: &mut Vec<Event>,
    ) -> Result<Option<usize>, Malformed> {
        let member = known_member(delta);
        let (kind, block) = match member {
            Some(("text" | "citation", _)) => (Kind::Text, BlockStart::Text),
            Some(("reasoningContent", raw)) => {
                let redacted = Fields::of(raw.get()).and_then(|mut f| f.take("redactedContent"));
                if redacted.is_some() {
                    let ours = self.blocks;
                    self.blocks += 1;
                    let kind = Kind::Redacted(String::new());
                    self.open.push(Open { theirs, ours, kind });
                    return Ok(Some(self.open.len() - 1));
                }
                (Kind::Thinking, BlockStart::Thinking)
            }
            Some(("toolUse", _)) => {
                let message = format!("event contentBlockDelta: call {theirs} never began");
                return Err(Malformed::at(message));
            }
            Some(_) => {
                self.begin(theirs, Kind::Other, other(body, raw), out);
                return Ok(None);
            }
            None => return Ok(None),
        };
        self.begin(theirs, kind, block, out);
        Ok(Some(self.open.len() - 1))
    }

    fn block_stop(
        &mut self,
        fields: &mut Fields<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        let theirs = self.index(fields, "contentBlockStop")?;
        // A block without a start and without deltas said nothing.
        if let Some(at) = self.open.iter().position(|b| b.theirs == theirs) {
            let open = self.open.remove(at);
            close(open, out);
        }
        Ok(())
    }

    fn message_stop(
        &mut self,
        body: &Str,
        fields: &mut Fields<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        if !self.started || self.stopped {
            return Err(Malformed::at("event messageStop: out of place"));
        }
        let reason = fields
            .text(body, "stopReason")
            .ok_or_else(|| Malformed::at("event messageStop: stopReason is missing"))?;
        // A guardrail stops where it stands: the block it cut gets no stop of its own.
        for open in std::mem::take(&mut self.open) {
            close(open, out);
        }
        self.stop(reason, out);
        others(body, fields, out);
        Ok(())
    }

    fn stop(&mut self, reason: Str, out: &mut Vec<Event>) {
        self.stopped = true;
        let reason: StopReason = stop_reason(reason);
        out.push(Event::Stop {
            choice: 0,
            reason,
            sequence: None,
        });
    }

    /// Usage and what stands beside it; the last of a stream.
    fn metadata(
        &mut self,
        body: &Str,
        fields: &mut Fields<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        if !self.started {
            return Err(Malformed::at("event metadata: out of place"));
        }
        let usage = fields.take("usage").and_then(|raw| usage::read(body, raw));
        let tier = fields.take("serviceTier");
        let tier = tier
            .and_then(|r| Fields::of(r.get()))
            .and_then(|mut t| t.text(body, "type"));
        let speed = speed(body, fields);
        if usage.is_some() || tier.is_some() || speed.is_some() {
            let usage = Usage {
                service_tier: tier,
                speed,
                ..usage.unwrap_or_default()
            };
            out.push(Event::Usage(Box::new(usage)));
        }
        others(body, fields, out);
        if self.stopped {
            self.ended = true;
            out.push(Event::Done);
        }
        Ok(())
    }

    /// A block of an answer in one body.
    fn whole_block(
        &mut self,
        body: &Str,
        raw: &RawValue,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        let place = || Malformed::at("body: a block is no object");
        let block = Fields::of(raw.get()).ok_or_else(place)?;
        let (start, deltas) = match known_member(&block) {
            Some(("text", value)) => {
                let text = text_of(body, value).ok_or_else(place)?;
                (BlockStart::Text, said(text, Delta::Text))
            }
            Some(("toolUse", value)) => {
                let call = call_of(body, value)?;
                let input = Fields::of(value.get()).and_then(|mut f| f.take("input"));
                let input = input.map_or_else(Json::empty_object, |raw| Json::within(body, raw));
                (call, vec![Delta::ToolInput(input.text().clone())])
            }
            Some(("reasoningContent", value)) => whole_reasoning(body, raw, value),
            Some(("citationsContent", value)) => match cited(body, value).map(|b| b.kind) {
                Some(BlockKind::Text { text, citations }) => {
                    let mut deltas: Vec<Delta> =
                        citations.into_iter().map(Delta::Citation).collect();
                    deltas.extend(said(text, Delta::Text));
                    (BlockStart::Text, deltas)
                }
                _ => (other(body, raw), Vec::new()),
            },
            Some(("image", value)) => match bytes_of(body, value) {
                Some(data) => (image_of(body, value), vec![Delta::Base64(data)]),
                None => (other(body, raw), Vec::new()),
            },
            Some(_) => (other(body, raw), Vec::new()),
            None => return Ok(()),
        };
        let index = self.blocks;
        self.blocks += 1;
        out.push(Event::BlockStart {
            index,
            choice: 0,
            block: start,
        });
        for delta in deltas {
            out.push(Event::BlockDelta { index, delta });
        }
        out.push(Event::BlockStop { index });
        Ok(())
    }
}

const KNOWN: [&str; 6] = [
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
];

/// Of blocks and their deltas (`providers/bedrock.md` 6).
const MEMBERS: [&str; 6] = [
    "text",
    "citation",
    "reasoningContent",
    "toolUse",
    "citationsContent",
    "image",
];

/// `throttlingException` and its like; `error` and `…Error` are what unmodelled ones are called.
fn is_exception(name: &str) -> bool {
    name.ends_with("Exception") || name.ends_with("Error") || name == "error" || name == "exception"
}

fn close(open: Open, out: &mut Vec<Event>) {
    let index = open.ours;
    match open.kind {
        Kind::Redacted(encoded) => {
            let block = match redacted(&encoded) {
                Some(data) => BlockStart::RedactedThinking { data },
                None => BlockStart::Other {
                    dialect: DialectName::Converse,
                    json: Json::of(&serde_json::json!({
                        "reasoningContent": {"redactedContent": encoded}
                    })),
                },
            };
            out.push(Event::BlockStart {
                index,
                choice: 0,
                block,
            });
        }
        Kind::Tool(false) => out.push(Event::BlockDelta {
            index,
            delta: Delta::ToolInput(Str::from_static("{}")),
        }),
        Kind::Text | Kind::Thinking | Kind::Tool(true) | Kind::Image | Kind::Other => {}
    }
    out.push(Event::BlockStop { index });
}

/// The member that says what a union is, whatever stands beside it; the first of those that are new.
fn known_member<'f, 'a>(union: &'f Fields<'a>) -> Option<(&'f str, &'a RawValue)> {
    let known = |(name, _): &(&str, &RawValue)| MEMBERS.contains(name);
    union.left().find(known).or_else(|| union.left().next())
}

/// What a delta says within its block, in the order of its members.
fn meant(body: &Str, open: &mut Open, raw: &RawValue, mut delta: Fields<'_>) -> Vec<Delta> {
    let whole = || {
        vec![Delta::Other {
            dialect: DialectName::Converse,
            json: Json::within(body, raw),
        }]
    };
    match &mut open.kind {
        Kind::Text => {
            let citation = delta.take("citation").map(|raw| citation(body, raw));
            let text = delta.text(body, "text");
            if citation.is_none() && text.is_none() && !delta.all_taken() {
                return whole();
            }
            let citation = citation.map(Delta::Citation);
            let text = text.filter(|t| !t.is_empty());
            citation.into_iter().chain(text.map(Delta::Text)).collect()
        }
        Kind::Thinking => reasoning(body, &mut delta).unwrap_or_else(whole),
        Kind::Redacted(encoded) => {
            let part = delta.take("reasoningContent");
            let part = part
                .and_then(|r| Fields::of(r.get()))
                .and_then(|mut f| f.text(body, "redactedContent"));
            encoded.push_str(part.as_deref().unwrap_or_default());
            Vec::new()
        }
        Kind::Tool(began) => {
            let part = delta.take("toolUse").and_then(|r| Fields::of(r.get()));
            match part.and_then(|mut f| f.text(body, "input")) {
                Some(input) if input.is_empty() => Vec::new(),
                Some(input) => {
                    *began = true;
                    vec![Delta::ToolInput(input)]
                }
                None => whole(),
            }
        }
        Kind::Image => match delta.take("image").and_then(|raw| bytes_of(body, raw)) {
            Some(data) => vec![Delta::Base64(data)],
            None => whole(),
        },
        Kind::Other => whole(),
    }
}

fn reasoning(body: &Str, delta: &mut Fields<'_>) -> Option<Vec<Delta>> {
    let mut inner = Fields::of(delta.take("reasoningContent")?.get())?;
    let text = inner.text(body, "text").map(|t| said(t, Delta::Thinking));
    let signature = inner
        .text(body, "signature")
        .map(|s| said(s, Delta::Signature));
    let known = text.is_some() || signature.is_some();
    let parts = text.into_iter().chain(signature).flatten().collect();
    known.then_some(parts)
}

fn whole_reasoning(body: &Str, raw: &RawValue, value: &RawValue) -> (BlockStart, Vec<Delta>) {
    match reasoning_of(body, value) {
        Some((BlockKind::Thinking { text }, signature)) => {
            let mut deltas = said(text, Delta::Thinking);
            deltas.extend(signature.map(Delta::Signature));
            (BlockStart::Thinking, deltas)
        }
        Some((BlockKind::RedactedThinking { data }, _)) => {
            (BlockStart::RedactedThinking { data }, Vec::new())
        }
        _ => (other(body, raw), Vec::new()),
    }
}

fn said(text: Str, delta: impl FnOnce(Str) -> Delta) -> Vec<Delta> {
    if text.is_empty() {
        Vec::new()
    } else {
        vec![delta(text)]
    }
}

fn call_of(body: &Str, raw: &RawValue) -> Result<BlockStart, Malformed> {
    let mut call = Fields::of(raw.get()).unwrap_or_default();
    let (id, name) = (call.text(body, "toolUseId"), call.text(body, "name"));
    let (Some(id), Some(name)) = (id, name) else {
        return Err(Malformed::at("toolUse: toolUseId or name is missing"));
    };
    let kind = match call.text(body, "type").as_deref() {
        Some("server_tool_use") => ToolKind::Server,
        _ => ToolKind::Function,
    };
    Ok(BlockStart::ToolCall { id, name, kind })
}

fn image_of(body: &Str, raw: &RawValue) -> BlockStart {
    let format = Fields::of(raw.get()).and_then(|mut f| f.text(body, "format"));
    BlockStart::Image {
        media_type: format
            .and_then(|f| media_type(IMAGES, &f))
            .map(Str::from_static),
        url: None,
    }
}

/// `{"source":{"bytes":…}}`
fn bytes_of(body: &Str, raw: &RawValue) -> Option<Str> {
    let mut source = Fields::of(Fields::of(raw.get())?.take("source")?.get())?;
    source.text(body, "bytes")
}

fn other(body: &Str, raw: &RawValue) -> BlockStart {
    BlockStart::Other {
        dialect: DialectName::Converse,
        json: Json::within(body, raw),
    }
}

/// `performanceConfig.latency` where it is `optimized`, which has a price of its own (Amazon Bedrock user guide, latency-optimized inference, read
/// 2026-11). The object is left where it is: it is also told as what it is.
fn speed(body: &Str, fields: &Fields<'_>) -> Option<Str> {
    let (_, raw) = fields
        .left()
        .find(|(name, _)| *name == "performanceConfig")?;
    let word = Fields::of(raw.get())?.text(body, "latency")?;
    (&*word != "standard").then_some(word)
}

/// What canon has no word for (`trace`, `metrics`, `performanceConfig`, `additionalModelResponseFields`, …), told by its name.
fn others(body: &Str, fields: &Fields<'_>, out: &mut Vec<Event>) {
    for (name, raw) in fields.left() {
        if raw.get() != "null" {
            out.push(Event::Other {
                dialect: DialectName::Converse,
                name: Str::from(name),
                choice: 0,
                json: Json::within(body, raw),
            });
        }
    }
}

fn utf8(bytes: &Bytes) -> Result<Str, Malformed> {
    Str::try_from(bytes.clone()).map_err(|_| Malformed::at("not UTF-8"))
}
