//! A provider's events, or its one body → canon's.
//!
//! A stream tells everything three times (deltas, the item when it is done, the whole answer at the end), and speakers leave out one or
//! two of them. So whatever comes whole tells what is missing of it, and nothing twice. Progress of tools that the provider runs is not
//! told: their items are, when they are whole.

use super::outline::{Kind as Told, Outline, kind_of, read};
use super::slots::{Kind, Slots};
use crate::base::{Json, Str};
use crate::canon::{BlockStart, Delta, DialectName, Event, Malformed, ToolKind};
use crate::protocol::dialect::chat::events::decoder::{input_text, utf8};
use crate::protocol::dialect::chat::schema::{some_json, some_text, text};
use crate::protocol::dialect::responses::errors;
use crate::protocol::dialect::responses::reasoning::{self, BREAK, Part as Piece, Seal};
use crate::protocol::dialect::responses::schema::{
    Item, Part, Response, StreamEvent, citation, number, word,
};
use crate::protocol::framing::sse::SseEvent;
use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Reads one answer of Responses. One value an attempt; give it the SSE events in order, or the body.
#[derive(Debug, Default)]
pub struct Decoder {
    outline: Outline,
    items: Vec<Known>,
    slots: Slots,
}

/// An item as far as it has come.
#[derive(Debug, Default)]
struct Known {
    index: Option<u64>,
    id: Option<Str>,
    kind: Str,
    done: bool,
    /// Of a message, until it is told.
    phase: Option<Json>,
    phase_told: bool,
    /// Of reasoning: which list and entry each piece came for, and its bytes.
    pieces: Vec<(Piece, u64, usize)>,
}

impl Decoder {
    /// Appends to `out` what `sse` means, which may be nothing.
    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let data = sse.data.trim_ascii();
        // Several speakers end with Chat's mark, which says nothing here.
        if self.outline.ended || data.is_empty() || data == b"[DONE]" {
            return Ok(());
        }
        let body = utf8(sse.data.slice_ref(data))?;
        let event: StreamEvent<'_> = serde_json::from_str(&body).map_err(|e| not_json(&e))?;
        let (name, kind) = kind_of(&sse.name, &event);
        match kind {
            Told::Error => {
                self.close_all(out);
                self.outline.ended = true;
                out.push(Event::Error(Box::new(errors::read_event(&body))));
                return Ok(());
            }
            Told::Ends => return self.terminal(&name, &event, &body, out),
            _ => self.outline.see(kind, &event, &body, out)?,
        }
        self.inside(&name, &event, &body)?;
        self.slots.pump(out);
        if name.ends_with(".partial_image") {
            out.push(Event::Other {
                dialect: DialectName::Responses,
                name: Str::from(name),
                choice: 0,
                json: Json::parse(body).map_err(|_| Malformed::at("not JSON"))?,
            });
        }
        Ok(())
    }

    fn terminal(
        &mut self,
        name: &str,
        event: &StreamEvent<'_>,
        body: &Str,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        let response: Response<'_> = match event.response {
            Some(raw) => read("response", raw)?,
            None => Response::default(),
        };
        self.whole_response(name, &response, body, out)
    }

    fn whole_response(
        &mut self,
        name: &str,
        response: &Response<'_>,
        body: &Str,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        self.outline.start(response, body, out);
        for (position, raw) in response.items().into_iter().enumerate() {
            let item: Item<'_> = read("item", raw)?;
            let at = self.place_in_output(position, &item, body);
            if !self.items[at].done {
                self.finish_item(at, &item, raw, body)?;
            }
        }
        self.close_all(out);
        self.outline.end(name, response, body, out)
    }

    fn close_all(&mut self, out: &mut Vec<Event>) {
        self.slots.all_done();
        self.slots.pump(out);
    }

    /// An answer that came in one body, `Done` included.
    pub fn whole(&mut self, body: &Bytes, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let body = utf8(body.clone())?;
        let trimmed = body.trim_ascii_start();
        if trimmed.starts_with('[') {
            serde_json::from_str::<serde::de::IgnoredAny>(&body).map_err(|e| not_json(&e))?;
            out.push(Event::Error(Box::new(errors::read_event(&body))));
            return Ok(());
        }
        let response: Response<'_> = serde_json::from_str(&body).map_err(|e| not_json(&e))?;
        if response.output.is_none() && response.status.is_none() {
            // An error with a good status: xAI's `{"code","error"}` and the like.
            self.outline.ended = true;
            out.push(Event::Error(Box::new(errors::read_event(&body))));
            return Ok(());
        }
        // The words of another API, from a wrong base URL or path: read as items they would be none.
        let foreign = |raw: &&RawValue| !matches!(raw.get().as_bytes()[0], b'[' | b'n');
        if response.output.as_ref().is_some_and(foreign) {
            return Err(Malformed::at("an answer whose output is no list"));
        }
        self.whole_response("", &response, &body, out)
    }

    /// The stream ended.
    pub fn finish(&mut self, _out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.outline.ended {
            return Ok(());
        }
        Err(Malformed::at(if self.outline.started {
            "the stream ended before response.completed"
        } else {
            "the stream ended before its first event"
        }))
    }

    fn inside(&mut self, name: &str, event: &StreamEvent<'_>, body: &Str) -> Result<(), Malformed> {
        match name {
            "response.output_item.added" => self.added(event, body)?,
            "response.output_item.done" => {
                if let Some(raw) = event.item {
                    let item: Item<'_> = read("item", raw)?;
                    let at = self.place(event, Some(&item), body);
                    if !self.items[at].done {
                        self.finish_item(at, &item, raw, body)?;
                    }
                }
            }
            "response.content_part.added" | "response.content_part.done" => {
                if let Some(raw) = event.part {
                    let part: Part<'_> = read("part", raw)?;
                    let at = self.place(event, None, body);
                    let number = number(event.content_index).unwrap_or(0);
                    self.part(at, number, &part, name.ends_with(".done"), body);
                }
            }
            "response.output_text.delta" => self.delta(Kind::Text, event, body),
            "response.refusal.delta" => self.delta(Kind::Refusal, event, body),
            "response.audio.transcript.delta" => self.delta(Kind::Audio, event, body),
            "response.audio.delta" => {
                if let Some(data) = some_text(body, event.delta) {
                    let at = self.slot(Kind::Audio, event, body);
                    self.slots.say(at, Delta::Base64(data));
                }
            }
            "response.output_text.done" => self.ended(Kind::Text, event.text, event, body),
            "response.refusal.done" => self.ended(Kind::Refusal, event.refusal, event, body),
            "response.output_text.annotation.added" => {
                if let Some(raw) = event.annotation {
                    let at = self.slot(Kind::Text, event, body);
                    self.slots.get(at).cited += 1;
                    self.slots.say(at, Delta::Citation(citation(body, raw)));
                }
            }
            "response.reasoning_text.delta" => {
                self.thinking(Piece::Content, event.content_index, event, body)
            }
            "response.reasoning_summary_text.delta" => {
                self.thinking(Piece::Summary, event.summary_index, event, body);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.input(name, event, body);
            }
            "response.function_call_arguments.done" => {
                self.input_done(name, event.arguments, event, body)
            }
            "response.custom_tool_call_input.done" => {
                self.input_done(name, event.input, event, body)
            }
            // Progress of the provider's own tools, keep-alives, and names to come: ignored, as the API's contract says.
            _ => {}
        }
        Ok(())
    }

    /// The item that an event is about: by its id, else by its place, else the last.
    fn place(&mut self, event: &StreamEvent<'_>, item: Option<&Item<'_>>, body: &Str) -> usize {
        let id = some_text(body, event.item_id).or_else(|| some_text(body, item?.id));
        let index = number(event.output_index);
        let by_id = id
            .as_ref()
            .and_then(|id| self.items.iter().rposition(|k| k.id.as_ref() == Some(id)));
        let by_index = || index.and_then(|i| self.items.iter().rposition(|k| k.index == Some(i)));
        let last = || match (&id, index) {
            (None, None) => self.items.len().checked_sub(1),
            _ => None,
        };
        by_id
            .or_else(by_index)
            .or_else(last)
            .unwrap_or_else(|| self.push(index, id))
    }

    fn push(&mut self, index: Option<u64>, id: Option<Str>) -> usize {
        self.items.push(Known {
            index,
            id,
            ..Known::default()
        });
        self.items.len() - 1
    }

    /// The item at a place of the whole output, which may have other ids than the stream had.
    fn place_in_output(&mut self, position: usize, item: &Item<'_>, body: &Str) -> usize {
        let (id, kind) = (some_text(body, item.id), word(body, item.kind));
        let is = |k: &Known| k.kind.is_empty() || k.kind == kind;
        let by_id = self
            .items
            .iter()
            .rposition(|k| id.is_some() && k.id == id && is(k));
        let by_index = || {
            self.items
                .iter()
                .rposition(|k| k.index == Some(position as u64) && is(k))
        };
        let by_order = || self.items.get(position).is_some_and(is).then_some(position);
        by_id
            .or_else(by_index)
            .or_else(by_order)
            .unwrap_or_else(|| self.push(None, id))
    }

    fn added(&mut self, event: &StreamEvent<'_>, body: &Str) -> Result<(), Malformed> {
        let Some(raw) = event.item else { return Ok(()) };
        let item: Item<'_> = read("item", raw)?;
        let (id, index) = (some_text(body, item.id), number(event.output_index));
        let found = self.place(event, Some(&item), body);
        // Some speakers number every item 0: another id after the end of one is another item.
        let other = self.items[found].done && self.items[found].id != id;
        let at = if other { self.push(index, id) } else { found };
        self.know(at, &item, body);
        match &*self.items[at].kind.clone() {
            "message" => {}
            "reasoning" => drop(self.slots.at(at, 0, Kind::Thinking)),
            "function_call" | "custom_tool_call" => self.call(at, &item, body),
            _ => drop(self.slots.at(at, 0, Kind::Whole)),
        }
        Ok(())
    }

    fn know(&mut self, at: usize, item: &Item<'_>, body: &Str) {
        let known = &mut self.items[at];
        known.kind = word(body, item.kind);
        known.id = known.id.take().or_else(|| some_text(body, item.id));
        let phase = some_json(body, item.phase).filter(|_| !known.phase_told);
        known.phase_told |= phase.is_some();
        known.phase = phase.or(known.phase.take());
    }

    fn call(&mut self, at: usize, item: &Item<'_>, body: &Str) {
        let slot = self.slots.at(at, 0, Kind::Call);
        let id = some_text(body, item.call_id).or_else(|| some_text(body, item.id));
        let id = id.unwrap_or_else(|| Str::from(format!("call_{at}")));
        let name = some_text(body, item.name).unwrap_or_default();
        let custom = &*self.items[at].kind == "custom_tool_call";
        let kind = if custom {
            ToolKind::Custom
        } else {
            ToolKind::Function
        };
        self.slots.get(slot).start = Some(BlockStart::ToolCall { id, name, kind });
    }

    fn slot(&mut self, kind: Kind, event: &StreamEvent<'_>, body: &Str) -> usize {
        let item = self.place(event, None, body);
        self.slots
            .at(item, number(event.content_index).unwrap_or(0), kind)
    }

    fn delta(&mut self, kind: Kind, event: &StreamEvent<'_>, body: &Str) {
        let at = self.slot(kind, event, body);
        if let Some(text) = some_text(body, event.delta) {
            self.slots.text(at, text);
        }
        self.logprobs(at, event.logprobs, body);
    }

    fn logprobs(&mut self, at: usize, raw: Option<&RawValue>, body: &Str) {
        if let Some(json) = some_json(body, raw) {
            self.slots.get(at).logged = true;
            let said = format!("{{\"type\":\"logprobs\",\"logprobs\":{}}}", json.get());
            self.other(at, said);
        }
    }

    fn other(&mut self, at: usize, said: String) {
        if let Ok(json) = Json::parse(Str::from(said)) {
            let dialect = DialectName::Responses;
            self.slots.say(at, Delta::Other { dialect, json });
        }
    }

    fn ended(&mut self, kind: Kind, whole: Option<&RawValue>, event: &StreamEvent<'_>, body: &Str) {
        let at = self.slot(kind, event, body);
        if let Some(text) = text(body, whole) {
            self.slots.whole_text(at, &text);
        }
        self.slots.get(at).ended = true;
    }

    /// A part of a message, at its beginning or whole.
    fn part(&mut self, item: usize, number: u64, part: &Part<'_>, done: bool, body: &Str) {
        let (kind, whole) = match &*word(body, part.kind) {
            "output_text" | "text" => (Kind::Text, part.text),
            "refusal" => (Kind::Refusal, part.refusal),
            "output_audio" => (Kind::Audio, part.transcript),
            // Of reasoning, whose own events tell it; and parts to come.
            _ => return,
        };
        let known = self.slots.find(item, number, kind);
        // What was closed and is told again whole has nothing new to say, unless there is more of it.
        let longer = |at: usize, slots: &mut Slots| {
            text(body, whole).is_some_and(|t| t.len() > slots.get(at).told)
        };
        if let Some(at) = known
            && self.slots.is_closed(at)
            && !longer(at, &mut self.slots)
        {
            return;
        }
        let at = self.said(item, number, kind);
        if kind == Kind::Audio
            && known.is_none()
            && let Some(data) = some_text(body, part.data)
        {
            self.slots.say(at, Delta::Base64(data));
        }
        if let Some(text) = text(body, whole) {
            self.slots.whole_text(at, &text);
        }
        if done {
            self.annotations(at, part.annotations, body);
            if !self.slots.get(at).logged {
                self.logprobs(at, part.logprobs, body);
            }
            self.slots.get(at).ended = true;
        }
    }

    fn annotations(&mut self, at: usize, raw: Option<&RawValue>, body: &Str) {
        let list: Option<Vec<&RawValue>> = raw.and_then(|r| serde_json::from_str(r.get()).ok());
        let told = self.slots.get(at).cited;
        for each in list.into_iter().flatten().skip(told) {
            self.slots.get(at).cited += 1;
            self.slots.say(at, Delta::Citation(citation(body, each)));
        }
    }

    fn thinking(
        &mut self,
        list: Piece,
        entry: Option<&RawValue>,
        event: &StreamEvent<'_>,
        body: &Str,
    ) {
        let Some(said) = some_text(body, event.delta) else {
            return;
        };
        let item = self.place(event, None, body);
        if self.items[item].done {
            return;
        }
        let entry = number(entry).unwrap_or(0);
        let slot = self.slots.at(item, 0, Kind::Thinking);
        self.slots
            .get(slot)
            .start
            .get_or_insert(BlockStart::Thinking);
        self.piece(item, slot, list, entry, said);
    }

    /// Adds to the piece that is under way, or begins another.
    fn piece(&mut self, item: usize, slot: usize, list: Piece, entry: u64, said: Str) {
        let pieces = &mut self.items[item].pieces;
        match pieces.last_mut() {
            Some((l, e, bytes)) if *l == list && *e == entry => *bytes += said.len(),
            last => {
                if last.is_some() {
                    self.slots.text(slot, Str::from_static(BREAK));
                }
                pieces.push((list, entry, said.len()));
            }
        }
        self.slots.text(slot, said);
    }

    fn input(&mut self, name: &str, event: &StreamEvent<'_>, body: &Str) {
        let at = self.call_slot(name, event, body);
        if let Some(text) = some_text(body, event.delta)
            && !self.slots.is_closed(at)
        {
            self.slots.text(at, text);
        }
    }

    fn input_done(
        &mut self,
        name: &str,
        whole: Option<&RawValue>,
        event: &StreamEvent<'_>,
        body: &Str,
    ) {
        let at = self.call_slot(name, event, body);
        if self.slots.is_closed(at) {
            return;
        }
        if let Some(text) = input_text(whole, body) {
            self.slots.whole_text(at, &text);
        }
        self.slots.get(at).ended = true;
    }

    fn call_slot(&mut self, name: &str, event: &StreamEvent<'_>, body: &Str) -> usize {
        let item = self.place(event, None, body);
        if self.items[item].kind.is_empty() {
            let custom = name.contains("custom_tool_call");
            self.items[item].kind = Str::from_static(if custom {
                "custom_tool_call"
            } else {
                "function_call"
            });
        }
        self.slots
            .find(item, 0, Kind::Call)
            .unwrap_or_else(|| self.slots.at(item, 0, Kind::Call))
    }

    /// An item came whole: tells what is missing of it.
    fn finish_item(
        &mut self,
        at: usize,
        item: &Item<'_>,
        raw: &RawValue,
        body: &Str,
    ) -> Result<(), Malformed> {
        self.know(at, item, body);
        self.items[at].done = true;
        match &*self.items[at].kind.clone() {
            "message" => {
                self.finish_message(at, item, body);
            }
            "function_call" | "custom_tool_call" => self.finish_call(at, item, body),
            "reasoning" => self.finish_reasoning(at, &read("reasoning", raw)?),
            "image_generation_call" if some_text(body, item.result).is_some() => {
                self.image(at, item, read("image", raw)?, body);
            }
            _ => {
                let slot = self.slots.at(at, 0, Kind::Whole);
                self.slots.get(slot).start = Some(BlockStart::Other {
                    dialect: DialectName::Responses,
                    json: Json::within(body, raw),
                });
            }
        }
        self.slots.done(at);
        Ok(())
    }

    /// The n-th part of a kind is the n-th that was streamed, whatever numbers they had.
    fn finish_message(&mut self, at: usize, item: &Item<'_>, body: &Str) {
        let streamed =
            [Kind::Text, Kind::Refusal, Kind::Audio].map(|kind| self.slots.parts(at, kind));
        let mut met = [0; 3];
        for (position, part) in item.parts().iter().enumerate() {
            let of = match &*word(body, part.kind) {
                "refusal" => 1,
                "output_audio" => 2,
                _ => 0,
            };
            // A number that no stream has, for a part that none told.
            let other = (1 << 32) + position as u64;
            let number = streamed[of].get(met[of]).copied().unwrap_or(other);
            met[of] += 1;
            self.part(at, number, part, true, body);
        }
    }

    /// The slot of a message's part. Its first says the message's `phase`.
    fn said(&mut self, item: usize, number: u64, kind: Kind) -> usize {
        let at = self.slots.at(item, number, kind);
        if let Some(phase) = self.items[item].phase.take() {
            self.other(
                at,
                format!("{{\"type\":\"phase\",\"phase\":{}}}", phase.get()),
            );
        }
        at
    }

    fn finish_call(&mut self, at: usize, item: &Item<'_>, body: &Str) {
        let slot = match self.slots.find(at, 0, Kind::Call) {
            Some(slot) if self.slots.is_closed(slot) => return,
            _ => self.slots.at(at, 0, Kind::Call),
        };
        // Until its block began, the whole item knows best.
        self.call(at, item, body);
        let custom = &*self.items[at].kind == "custom_tool_call";
        let whole = if custom { item.input } else { item.arguments };
        if let Some(text) = input_text(whole, body) {
            self.slots.whole_text(slot, &text);
        }
        let extra: Option<Value> = item
            .extra_content
            .and_then(|raw| serde_json::from_str(raw.get()).ok());
        let signature = extra
            .as_ref()
            .and_then(|e| e.pointer("/google/thought_signature")?.as_str());
        if let Some(signature) = signature {
            self.slots.say(slot, Delta::Signature(Str::from(signature)));
        }
    }

    fn finish_reasoning(&mut self, at: usize, item: &Map<String, Value>) {
        let slot = self.slots.at(at, 0, Kind::Thinking);
        let parts = reasoning::parts_of(item);
        if self.items[at].pieces.is_empty() {
            for (number, (list, text)) in parts.iter().enumerate() {
                self.slots
                    .get(slot)
                    .start
                    .get_or_insert(BlockStart::Thinking);
                self.piece(at, slot, *list, number as u64, Str::from(text.as_str()));
            }
        }
        let told = self.slots.get(slot).told;
        let breaks = parts.len().saturating_sub(1) * BREAK.len();
        let whole: usize = parts.iter().map(|(_, text)| text.len()).sum::<usize>() + breaks;
        let mut seal = Seal::of_item(item);
        seal.parts = if whole == told {
            parts
                .iter()
                .map(|(list, text)| (*list, text.len()))
                .collect()
        } else {
            self.items[at]
                .pieces
                .iter()
                .map(|(list, _, bytes)| (*list, *bytes))
                .collect()
        };
        let is_empty = told == 0;
        let thought = seal.thought(if is_empty {
            String::new()
        } else {
            " ".to_owned()
        });
        match thought.signature {
            Some(data) if thought.redacted && is_empty => {
                self.slots.get(slot).start = Some(BlockStart::RedactedThinking { data });
            }
            Some(signature) => {
                self.slots
                    .get(slot)
                    .start
                    .get_or_insert(BlockStart::Thinking);
                self.slots.say(slot, Delta::Signature(signature));
            }
            None => {}
        }
    }

    fn image(&mut self, at: usize, item: &Item<'_>, mut more: Map<String, Value>, body: &Str) {
        let slot = self.slots.at(at, 0, Kind::Whole);
        let result = some_text(body, item.result).unwrap_or_default();
        let is_url = result.starts_with("http://") || result.starts_with("https://");
        let format = some_text(body, item.output_format);
        self.slots.get(slot).start = Some(BlockStart::Image {
            media_type: match (&format, is_url) {
                (Some(format), _) => Some(Str::from(format!("image/{}", &**format))),
                // OpenAI docs, image generation, read 2026-08: PNG unless asked otherwise.
                (None, false) => Some(Str::from_static("image/png")),
                (None, true) => None,
            },
            url: is_url.then(|| result.clone()),
        });
        more.remove("result");
        self.other(slot, Value::Object(more).to_string());
        if !is_url {
            self.slots.say(slot, Delta::Base64(result));
        }
    }
}

fn not_json(error: &serde_json::Error) -> Malformed {
    // Without serde's own words, which may quote the answer.
    let (line, column) = (error.line(), error.column());
    Malformed::at(format!(
        "not an event of Responses, line {line} column {column}"
    ))
}
