//! What a client was sent, cut into its events again: to say them once more from any one on, and to read the answer out of them.
//!
//! Every event has a number, by which a client says how far it has come: the native dialect's and Responses' own, and in dialects without
//! one the event's place, from 1. Costs a pass over the bytes; what is cut is a slice of them.

use super::{Closing, Decoder, Encoder, Opening};
use crate::canon::{Answer, DialectName, Fault, Fold};
use crate::protocol::framing::sse::{self, SseEvent};
use crate::protocol::framing::websocket::{self, Message, Side, Socket};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};

/// How an answer was framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One body, which is no event.
    Whole,
    Sse,
    Frames,
    Array,
}

/// Cuts the bytes of an answer. Feed it pieces; then ask until there is no more.
#[derive(Debug)]
pub struct Cutter {
    dialect: DialectName,
    cut: Cut,
    /// Events so far.
    count: u64,
    /// Of the last event.
    pub number: u64,
}

#[derive(Debug)]
enum Cut {
    Whole(BytesMut),
    Sse(Box<sse::Decoder>),
    Frames(Box<Socket>),
    Array(Elements),
}

/// One event and its number.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbered {
    pub number: u64,
    pub event: SseEvent,
}

impl Cutter {
    /// No event is longer than `event_bytes_max`: none longer was sent.
    #[must_use]
    pub fn new(dialect: DialectName, framing: Framing, event_bytes_max: usize) -> Self {
        let cut = match framing {
            Framing::Whole => Cut::Whole(BytesMut::new()),
            Framing::Sse => Cut::Sse(Box::new(sse::Decoder::new(event_bytes_max))),
            Framing::Frames => Cut::Frames(Box::new(Socket::new(Side::Client, event_bytes_max))),
            Framing::Array => Cut::Array(Elements::default()),
        };
        Self {
            dialect,
            cut,
            count: 0,
            number: 0,
        }
    }

    pub fn feed(&mut self, bytes: Bytes) {
        match &mut self.cut {
            Cut::Whole(body) => body.extend_from_slice(&bytes),
            Cut::Sse(decoder) => decoder.feed(bytes),
            Cut::Frames(socket) => socket.feed(bytes),
            Cut::Array(elements) => elements.bytes.extend_from_slice(&bytes),
        }
    }

    /// The next event; `None` when more bytes are needed, and always of what is one body.
    pub fn next(&mut self) -> Option<Numbered> {
        let event = match &mut self.cut {
            Cut::Whole(_) => return None,
            Cut::Sse(decoder) => decoder.next().ok()??,
            Cut::Array(elements) => of_data(elements.next()?),
            Cut::Frames(socket) => loop {
                match socket.next().ok()?? {
                    Message::Text(text) => break of_data(text.into_bytes()),
                    _ => continue,
                }
            },
        };
        self.count += 1;
        self.number = match self.dialect {
            DialectName::Native => number_in(&event.data, "seq"),
            DialectName::Responses => number_in(&event.data, "sequence_number"),
            _ => None,
        }
        .unwrap_or(self.count);
        Some(Numbered {
            number: self.number,
            event,
        })
    }

    /// Appends the bad end of a stream of which this was cut so far.
    pub fn fail(&self, opening: Opening, fault: &Fault, closing: &Closing, out: &mut BytesMut) {
        match (self.dialect, self.count) {
            (DialectName::Native, 1..) => {
                Encoder::after(self.dialect, opening, self.number).fail(fault, closing, out);
            }
            (DialectName::Responses, 1..) => {
                let said = self.number + 1;
                Encoder::after(self.dialect, opening, said).fail(fault, closing, out);
            }
            (_, 1..) => {
                Encoder::after(self.dialect, opening, self.count).fail(fault, closing, out);
            }
            (_, 0) => Encoder::new(self.dialect, opening).fail(fault, closing, out),
        }
    }
}

fn of_data(data: Bytes) -> SseEvent {
    SseEvent {
        name: name_in(&data),
        raw: Bytes::new(),
        id: None,
        data,
    }
}

/// What the event's JSON calls itself: native and Responses name events so.
fn name_in(data: &Bytes) -> Bytes {
    #[derive(serde::Deserialize)]
    struct Named<'a> {
        #[serde(borrow, rename = "type")]
        name: Option<std::borrow::Cow<'a, str>>,
    }
    let named: Option<Named<'_>> = serde_json::from_slice(data).ok();
    let name = named.and_then(|n| n.name);
    name.map_or(Bytes::new(), |name| Bytes::copy_from_slice(name.as_bytes()))
}

fn number_in(data: &[u8], member: &str) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Counted {
        seq: Option<u64>,
        sequence_number: Option<u64>,
    }
    let counted: Counted = serde_json::from_slice(data).ok()?;
    match member {
        "seq" => counted.seq,
        _ => counted.sequence_number,
    }
}

/// Appends an event as SSE, with its number as `id:`.
pub fn write_numbered(numbered: &Numbered, out: &mut BytesMut) {
    let event = &numbered.event;
    if event.id.is_none() {
        out.extend_from_slice(b"id: ");
        json::integer(numbered.number, out);
        out.extend_from_slice(b"\n");
    }
    if !event.raw.is_empty() {
        out.extend_from_slice(&event.raw);
        return;
    }
    if !event.name.is_empty() {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(&event.name);
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(&event.data);
    out.extend_from_slice(b"\n\n");
}

/// Appends an event as a message of a native WebSocket, under the client's own id for what it asked there.
pub fn write_framed(numbered: &Numbered, request_id: Option<&str>, out: &mut BytesMut) {
    let mut text = BytesMut::with_capacity(numbered.event.data.len() + 64);
    text.extend_from_slice(b"{");
    if let Some(id) = request_id {
        json::field("request_id", id, &mut text);
    }
    // What it was called by who asked first is left out.
    let members: Option<Members<'_>> = serde_json::from_slice(&numbered.event.data).ok();
    for (name, value) in members.iter().flat_map(|members| &members.0) {
        if name != "request_id" {
            json::key(name, &mut text);
            text.extend_from_slice(value.get().as_bytes());
        }
    }
    text.extend_from_slice(b"}");
    websocket::write_text_bytes(&text, out);
}

/// An object's members in their order.
struct Members<'a>(Vec<(String, &'a serde_json::value::RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// The answer that was sent, as far as it came; `None` where it was no answer in this dialect (an error's body, say).
#[must_use]
pub fn answer(
    dialect: DialectName,
    framing: Framing,
    sent: &Bytes,
    event_bytes_max: usize,
) -> Option<Answer> {
    let (mut decoder, mut events, mut fold) = (Decoder::new(dialect), Vec::new(), Fold::default());
    if framing == Framing::Whole {
        decoder.whole(sent, &mut events).ok()?;
    } else {
        let mut cutter = Cutter::new(dialect, framing, event_bytes_max);
        cutter.feed(sent.clone());
        while let Some(numbered) = cutter.next() {
            decoder.event(&numbered.event, &mut events).ok()?;
        }
        // What has no end mark yet has none.
        let _ = decoder.finish(&mut events);
    }
    for event in &events {
        fold.event(event);
    }
    Some(fold.into_answer())
}

/// The events of an answer that came in one body, as the native dialect would have streamed them.
#[must_use]
pub fn streamed(answer: &Answer, opening: Opening, closing: &Closing) -> Bytes {
    let mut out = BytesMut::new();
    let mut encoder = Encoder::new(DialectName::Native, opening);
    for event in answer.clone().events() {
        encoder.event(&event, &mut out);
    }
    match &answer.error {
        Some(fault) => encoder.fail(fault, closing, &mut out),
        None => encoder.finish(closing, &mut out),
    }
    out.freeze()
}

/// The elements of an array that grows.
#[derive(Debug, Default)]
struct Elements {
    bytes: BytesMut,
    searched: usize,
    depth: u32,
    text: bool,
    escaped: bool,
}

impl Elements {
    /// The next object in it.
    fn next(&mut self) -> Option<Bytes> {
        if self.depth == 0 {
            let start = memchr::memchr(b'{', &self.bytes)?;
            // Brackets, commas and white space between elements.
            let _ = self.bytes.split_to(start);
        }
        for at in self.searched..self.bytes.len() {
            let byte = self.bytes[at];
            match (self.text, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (true, b'"') => self.text = false,
                (true, _) => {}
                (false, b'"') => self.text = true,
                (false, b'{') => self.depth += 1,
                (false, b'}') => self.depth -= 1,
                (false, _) => {}
            }
            if self.depth == 0 {
                self.searched = 0;
                return Some(self.bytes.split_to(at + 1).freeze());
            }
        }
        self.searched = self.bytes.len();
        None
    }
}

/// What a stored answer says of itself to who asks for the whole of it: a JSON object of which `summary` has the members, and the answer.
#[must_use]
pub fn write_found(
    summary: &str,
    answer: Option<&Answer>,
    opening: &Opening,
    closing: &Closing,
) -> Bytes {
    let mut out = BytesMut::with_capacity(summary.len() + 256);
    let members = summary.trim_end().strip_suffix('}').unwrap_or("{");
    out.extend_from_slice(members.as_bytes());
    if let Some(answer) = answer {
        json::key("response", &mut out);
        out.extend_from_slice(&super::native::events::write_whole(
            answer, opening, closing,
        ));
    }
    out.extend_from_slice(b"}");
    out.freeze()
}

/// A response object of Responses with another status.
#[must_use]
pub fn with_status(response: &Bytes, status: &str) -> Bytes {
    let Ok(members) = serde_json::from_slice::<Members<'_>>(response) else {
        return response.clone();
    };
    let mut out = BytesMut::with_capacity(response.len() + 16);
    out.extend_from_slice(b"{");
    for (name, value) in &members.0 {
        json::key(name, &mut out);
        match name.as_str() {
            "status" => json::string(status, &mut out),
            _ => out.extend_from_slice(value.get().as_bytes()),
        }
    }
    out.extend_from_slice(b"}");
    out.freeze()
}
