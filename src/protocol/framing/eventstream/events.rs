//! Bedrock's frames as server-sent events, so that decoders, lifts and clients meet one kind of stream (`providers/bedrock.md` 6.1 and 6.2).
//!
//! `InvokeModelWithResponseStream` wraps each event of the model's own grammar in base64; unwrapped and put into SSE text it is what
//! Anthropic itself sends. `ConverseStream` names its events in a header. Exceptions become the error event of the grammar: `error` with
//! Anthropic's envelope, or an event of the exception's name. Padding against guessing by length (`p`) goes no further than here.

use super::{Broken, Decoder, Frame};
use crate::canon::Malformed;
use crate::protocol::dialect::messages::schema::Text;
use crate::protocol::dialect::{converse, messages};
use crate::protocol::framing::sse::{self, SseEvent};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::VecDeque;

/// What the frames of a stream hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// `chunk` frames with Anthropic's events inside.
    Invoke,
    /// Converse's events.
    Converse,
}

/// A stream of frames as events. Feed it what the network brings; ask until there is no more; at the end ask `finish`.
#[derive(Debug)]
pub struct Events {
    frames: Decoder,
    holds: Holds,
    /// An event that goes ahead of the one just read.
    ready: VecDeque<SseEvent>,
    /// Some usage object spoke of the cache.
    cache_told: bool,
    /// Events that were passed on.
    told: u64,
    /// The first field of an object that is no event of Anthropic's.
    stranger: Option<String>,
}

impl Events {
    /// No frame may be longer than `frame_bytes_max`.
    #[must_use]
    pub fn new(holds: Holds, frame_bytes_max: usize) -> Self {
        Self {
            frames: Decoder::new(frame_bytes_max),
            holds,
            ready: VecDeque::new(),
            cache_told: false,
            told: 0,
            stranger: None,
        }
    }

    pub fn feed(&mut self, bytes: Bytes) {
        self.frames.feed(bytes);
    }

    /// The next event; `None` when more bytes are needed. `Err`: the stream is broken for good.
    pub fn next(&mut self) -> Result<Option<SseEvent>, Malformed> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.told += 1;
                return Ok(Some(event));
            }
            match self.frames.next().map_err(|broken| malformed(&broken))? {
                Some(frame) => self.frame(&frame)?,
                None => return Ok(None),
            }
        }
    }

    /// The body has ended. `Err` when it ended within a frame, or when nothing in it was in Anthropic's grammar.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.frames.pending() > 0 {
            let bytes = self.frames.pending();
            return Err(Malformed::at(format!(
                "event stream: cut {bytes} bytes into a frame"
            )));
        }
        match &self.stranger {
            Some(field) if self.told == 0 => Err(Malformed::at(format!(
                "event chunk: the model answers in a grammar of its own (its objects begin with {field:?}), not in Anthropic's"
            ))),
            _ => Ok(()),
        }
    }

    /// Bytes held back for want of a frame's end.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.frames.pending()
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), Malformed> {
        match frame.text(":message-type") {
            Some("exception") => {
                let kind = frame.text(":exception-type").unwrap_or_default();
                let event = self.exception(kind, &message_of(&frame.payload));
                self.ready.push_back(event);
            }
            // An error that nobody modelled: code and message stand in headers, there is no payload.
            Some("error") => {
                let code = frame.text(":error-code").unwrap_or_default();
                let message = frame.text(":error-message").unwrap_or_default();
                let event = self.exception(code, message);
                self.ready.push_back(event);
            }
            _ => match (self.holds, frame.text(":event-type")) {
                (Holds::Invoke, Some("chunk")) => self.chunk(&frame.payload)?,
                // `initial-response` and what comes after this was written.
                (Holds::Invoke, _) | (_, None) => {}
                (Holds::Converse, Some(name)) => self.ready.push_back(event(name, &frame.payload)),
            },
        }
        Ok(())
    }

    fn exception(&self, kind: &str, message: &str) -> SseEvent {
        let fault = converse::errors::exception(kind, message, None);
        match self.holds {
            Holds::Invoke => event("error", &messages::errors::write(&fault, "").1),
            Holds::Converse => {
                let (name, data) = converse::errors::write_exception(&fault);
                event(&name, &data)
            }
        }
    }

    /// One event of Anthropic's, in base64.
    fn chunk(&mut self, payload: &Bytes) -> Result<(), Malformed> {
        #[derive(Deserialize)]
        struct Chunk<'a> {
            #[serde(borrow)]
            bytes: Option<Text<'a>>,
        }
        let chunk: Chunk<'_> = serde_json::from_slice(payload)
            .map_err(|e| Malformed::at(format!("event chunk: {e}")))?;
        // A frame of padding alone says nothing.
        let Some(Text(encoded)) = chunk.bytes else {
            return Ok(());
        };
        let text = unwrapped(&encoded)?;
        let inner = &text[HEADROOM..];
        let Some(name) = name_of(inner) else {
            // Anthropic's SDK skips what has no type (`providers/bedrock.md` 6.1).
            self.stranger.get_or_insert_with(|| first_field(inner));
            return Ok(());
        };
        match &*name {
            "message_start" | "message_delta" => self.cache_told |= speaks_of_cache(inner),
            "message_stop" => {
                let data = self.message_stop(inner);
                self.ready.push_back(event("message_stop", &data));
                return Ok(());
            }
            _ => {}
        }
        let name = name.into_owned();
        self.ready.push_back(framed(&name, text));
        Ok(())
    }

    /// The end mark less Amazon's trailer, which Anthropic's clients do not know. Counts of the cache that only the trailer tells go ahead
    /// in a `message_delta`, the event in which clients and decoders look for them; what Anthropic's own fields told stays.
    fn message_stop(&mut self, inner: &[u8]) -> Bytes {
        let fields: Stop<'_> = serde_json::from_slice(inner).unwrap_or_default();
        if !self.cache_told
            && let Some(usage) = fields.usage()
        {
            let data = format!(r#"{{"type":"message_delta","delta":{{}},"usage":{usage}}}"#);
            self.ready
                .push_back(event("message_delta", data.as_bytes()));
        }
        Bytes::from_static(br#"{"type":"message_stop"}"#)
    }
}

fn malformed(broken: &Broken) -> Malformed {
    Malformed::at(broken.to_string())
}

/// What may stand on `message_stop` beside its type.
#[derive(Default, Deserialize)]
struct Stop<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(rename = "amazon-bedrock-invocationMetrics")]
    metrics: Option<Metrics>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    #[serde(default)]
    output_token_count: u64,
    cache_read_input_token_count: Option<u64>,
    cache_write_input_token_count: Option<u64>,
}

impl Stop<'_> {
    /// The usage object that says of the cache what nothing did before; `None` when there is nothing to say.
    fn usage(&self) -> Option<String> {
        if let Some(raw) = self.usage
            && speaks_of_cache(raw.get().as_bytes())
        {
            return Some(raw.get().to_owned());
        }
        let metrics = self.metrics.as_ref()?;
        let read = metrics.cache_read_input_token_count.unwrap_or(0);
        let write = metrics.cache_write_input_token_count.unwrap_or(0);
        let output = metrics.output_token_count;
        (read + write > 0).then(|| {
            format!(
                r#"{{"output_tokens":{output},"cache_read_input_tokens":{read},"cache_creation_input_tokens":{write}}}"#
            )
        })
    }
}

/// Whether a usage object in `json` has a count of the cache. A look at the bytes is enough: in these events no text is quoted.
fn speaks_of_cache(json: &[u8]) -> bool {
    const NAMES: [&[u8]; 2] = [
        b"\"cache_read_input_tokens\":",
        b"\"cache_creation_input_tokens\":",
    ];
    NAMES
        .iter()
        .any(|name| memchr::memmem::find(json, name).is_some())
}

// Room for `event: …\ndata: ` ahead of the JSON; the longest name so far is `content_block_delta`, 33 bytes with what is around it.
const HEADROOM: usize = 64;

/// What `encoded` holds, behind `HEADROOM` free bytes, on one line.
fn unwrapped(encoded: &str) -> Result<BytesMut, Malformed> {
    let wrong = || Malformed::at("event chunk: bytes are not base64");
    let most = base64::decoded_len_estimate(encoded.len());
    let mut text = BytesMut::zeroed(HEADROOM + most);
    let length = STANDARD
        .decode_slice(encoded, &mut text[HEADROOM..])
        .map_err(|_| wrong())?;
    text.truncate(HEADROOM + length);
    one_line(&mut text[HEADROOM..]);
    Ok(text)
}

/// Line breaks between JSON's values would end the `data:` line; within strings JSON has none.
fn one_line(data: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', &data[from..]) {
        data[from + at] = b' ';
        from += at + 1;
    }
}

/// `text` holds the JSON behind its headroom: the event around it, without a second copy of it.
fn framed(name: &str, mut text: BytesMut) -> SseEvent {
    let head = ["event: ", name, "\ndata: "];
    let length: usize = head.iter().map(|part| part.len()).sum();
    if length > HEADROOM {
        return event(name, &text[HEADROOM..]);
    }
    text.advance(HEADROOM - length);
    let mut at = 0;
    for part in head {
        text[at..at + part.len()].copy_from_slice(part.as_bytes());
        at += part.len();
    }
    text.extend_from_slice(b"\n\n");
    let raw = text.freeze();
    SseEvent {
        name: raw.slice(7..7 + name.len()),
        data: raw.slice(length..raw.len() - 2),
        id: None,
        raw,
    }
}

/// An event around a copy of `data`.
fn event(name: &str, data: &[u8]) -> SseEvent {
    // A header's value is any text; a name of two lines would be two fields.
    let name: Cow<'_, str> = if name.contains(['\n', '\r']) {
        Cow::Owned(name.replace(['\n', '\r'], " "))
    } else {
        Cow::Borrowed(name)
    };
    let mut raw = BytesMut::with_capacity(name.len() + data.len() + 20);
    sse::write(Some(&name), None, data, &mut raw);
    let from = raw.len() - 2 - data.len();
    let end = raw.len() - 2;
    one_line(&mut raw[from..end]);
    let raw = raw.freeze();
    SseEvent {
        name: raw.slice(7..7 + name.len()),
        data: raw.slice(from..end),
        id: None,
        raw,
    }
}

/// The `type` of an event. It is nearly always the first field, which saves reading a delta twice.
fn name_of(json: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let plain = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'.';
    if let Some(rest) = json.strip_prefix(br#"{"type":""#)
        && let Some(end) = memchr::memchr(b'"', rest)
        && rest[..end].iter().all(plain)
    {
        return std::str::from_utf8(&rest[..end]).ok().map(Cow::Borrowed);
    }
    let typed: Typed<'_> = serde_json::from_slice(json).ok()?;
    typed.kind.bytes().all(|b| plain(&b)).then_some(typed.kind)
}

/// The name of an object's first field, as far as it is one: enough to tell whose grammar it is, and no content.
fn first_field(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    let field = text.split('"').nth(1).unwrap_or_default();
    field.chars().take(40).collect()
}

fn message_of(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    converse::errors::message_of(&text).unwrap_or_default()
}
