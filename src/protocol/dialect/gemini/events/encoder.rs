//! Events → a client's chunks, as SSE or as the elements of one JSON array.
//!
//! Cannot fail. Text and thoughts go out as they come; calls, images and video are kept until they are whole, since Gemini has no pieces of
//! them. Why an answer stopped and what it used stand together on the last chunk, as at Google. `Opening::bare` is the native dialect's.

use super::citations::{self, Cited};
use super::parts::{self, audio_type, is_of_response, type_of};
use super::{stop, usage};
use crate::base::{Str, Tokens};
use crate::canon::{
    BlockStart, Citation, Delta, DialectName, Event, Fault, StopReason, ToolKind, Usage,
};
use crate::protocol::dialect::gemini::request::{is_whole, one_line};
use crate::protocol::dialect::gemini::{errors, schema};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::json;
use bytes::BytesMut;

/// Writes one answer, streamed. One value an exchange.
#[derive(Debug)]
pub struct Encoder {
    array: bool,
    /// What every chunk ends with: the model, the answer's id, and the brace.
    tail: BytesMut,
    any: bool,
    blocks: Vec<Block>,
    /// Bytes of text by choice, for the places of citations.
    texts: Vec<(u32, u64)>,
    cited: Vec<Cited>,
    stops: Vec<(u32, StopReason)>,
    usage: Usage,
    dropped: Vec<String>,
}

#[derive(Debug)]
struct Block {
    choice: u32,
    kind: Kind,
    signature: Option<String>,
}

#[derive(Debug)]
enum Kind {
    /// Where it begins among the bytes of its choice's text.
    Text(u64),
    Thinking,
    Call {
        id: Str,
        name: Str,
        kind: ToolKind,
        input: String,
    },
    /// An image or a video, as bytes or by its address.
    Media {
        mime: String,
        url: Option<Str>,
        data: String,
    },
    Audio(String),
    /// Said by nothing in this dialect, or said already.
    Mute,
}

impl Encoder {
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        Self {
            array: opening.array,
            tail: tail(&opening),
            any: false,
            blocks: Vec::new(),
            texts: Vec::new(),
            cited: Vec::new(),
            stops: Vec::new(),
            usage: Usage::default(),
            dropped: Vec::new(),
        }
    }

    /// Appends `event` as chunks. `Done` and `Error` append nothing: `finish` or `fail` follows them.
    pub fn event(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Started { .. } | Event::Done | Event::Error(_) => {}
            Event::BlockStart { choice, block, .. } => self.block_start(*choice, block, out),
            Event::BlockDelta { index, delta } => self.block_delta(*index, delta, out),
            Event::BlockStop { index } => self.block_stop(*index, out),
            Event::Usage(usage) => {
                self.usage.update(usage);
                // Google's counts of a prompt have no place for it; the prompt's own count holds it.
                if self.usage.cache_write_total() > Tokens::default() {
                    self.drop("cache_write_tokens");
                }
            }
            Event::Stop { choice, reason, .. } => self.stops.push((*choice, reason.clone())),
            Event::Other {
                dialect: DialectName::Gemini,
                name,
                choice,
                json,
            } => self.other(name, *choice, json.get(), out),
            Event::Other { name, .. } => self.drop(name),
        }
    }

    /// Appends the last chunk: why each candidate stopped, what was cited, what it all used.
    pub fn finish(&mut self, _closing: &Closing, out: &mut BytesMut) {
        self.open(out);
        json::key("candidates", out);
        out.extend_from_slice(b"[");
        for (choice, reason) in &self.stops {
            json::comma(out);
            out.extend_from_slice(b"{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"}");
            json::field("finishReason", stop::word(reason), out);
            json::key("index", out);
            json::integer(*choice, out);
            citations::write(&self.cited, *choice, out);
            out.extend_from_slice(b"}");
        }
        out.extend_from_slice(b"]");
        if self.usage != Usage::default() {
            json::key("usageMetadata", out);
            usage::write(&self.usage, out);
        }
        self.close(out);
        if self.array {
            out.extend_from_slice(b"\r\n]");
        }
    }

    /// Appends the error as the last chunk, as Google does.
    pub fn fail(&mut self, fault: &Fault, _closing: &Closing, out: &mut BytesMut) {
        self.open(out);
        errors::write_object(fault, "", out);
        out.extend_from_slice(b"}");
        self.frame_end(out);
        if self.array {
            out.extend_from_slice(b"\r\n]");
        }
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

    /// Opens a chunk. Lines end as Google's do.
    fn open(&mut self, out: &mut BytesMut) {
        let head: &[u8] = match (self.array, self.any) {
            (false, _) => b"data: {",
            (true, false) => b"[{",
            (true, true) => b",\r\n{",
        };
        self.any = true;
        out.extend_from_slice(head);
    }

    /// Closes a chunk after its last own member.
    fn close(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.tail);
        self.frame_end(out);
    }

    fn frame_end(&self, out: &mut BytesMut) {
        if !self.array {
            out.extend_from_slice(b"\r\n\r\n");
        }
    }

    /// A chunk of one part.
    fn part(&mut self, choice: u32, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        self.open(out);
        out.extend_from_slice(b"\"candidates\":[{\"content\":{\"parts\":[");
        write(out);
        out.extend_from_slice(b"],\"role\":\"model\"},\"index\":");
        json::integer(choice, out);
        out.extend_from_slice(b"}]");
        self.close(out);
    }

    /// What only Gemini says, of the response or of one candidate.
    fn other(&mut self, name: &str, choice: u32, value: &str, out: &mut BytesMut) {
        self.open(out);
        let of_response = is_of_response(name);
        if !of_response {
            out.extend_from_slice(b"\"candidates\":[{");
        }
        json::string(name, out);
        out.extend_from_slice(b":");
        one_line(value, out);
        if !of_response {
            json::key("index", out);
            json::integer(choice, out);
            out.extend_from_slice(b"}]");
        }
        self.close(out);
    }

    fn block_start(&mut self, choice: u32, block: &BlockStart, out: &mut BytesMut) {
        let kind = match block {
            BlockStart::Text => Kind::Text(self.text_bytes(choice)),
            // Its words are told as text: that they are a refusal only the finish reason says.
            BlockStart::Refusal => {
                self.drop("refusal");
                Kind::Text(self.text_bytes(choice))
            }
            BlockStart::Thinking => Kind::Thinking,
            BlockStart::RedactedThinking { .. } => self.mute("redacted_thinking"),
            BlockStart::ToolCall {
                kind: ToolKind::Server,
                ..
            } => self.mute("server_tool_use"),
            BlockStart::ToolCall { id, name, kind } => Kind::Call {
                id: id.clone(),
                name: name.clone(),
                kind: kind.clone(),
                input: String::new(),
            },
            BlockStart::Image { media_type, url } => media(media_type, url, "image/png"),
            BlockStart::Video { media_type, url } => media(media_type, url, "video/mp4"),
            BlockStart::Audio { format, .. } => Kind::Audio(audio_type(format.as_deref())),
            BlockStart::Other {
                dialect: DialectName::Gemini,
                json,
            } => {
                self.part(choice, out, |out| one_line(json.get(), out));
                Kind::Mute
            }
            BlockStart::Other { json, .. } => self.mute(&type_of(json.get())),
        };
        self.blocks.push(Block {
            choice,
            kind,
            signature: None,
        });
    }

    fn mute(&mut self, name: &str) -> Kind {
        self.drop(name);
        Kind::Mute
    }

    fn text_bytes(&self, choice: u32) -> u64 {
        let found = self.texts.iter().find(|(c, _)| *c == choice);
        found.map_or(0, |(_, bytes)| *bytes)
    }

    fn block_delta(&mut self, index: u32, delta: &Delta, out: &mut BytesMut) {
        let Some(block) = self.blocks.get_mut(index as usize) else {
            return;
        };
        let choice = block.choice;
        match (&mut block.kind, delta) {
            (Kind::Mute, _) => {}
            (Kind::Text(_), Delta::Text(text) | Delta::Refusal(text)) => {
                self.text(choice, text, out);
            }
            (Kind::Text(from), Delta::Citation(citation)) => {
                let from = *from;
                self.cite(choice, from, citation);
            }
            (Kind::Thinking, Delta::Thinking(text)) => {
                self.part(choice, out, |out| parts::text(text, true, None, out));
            }
            (Kind::Call { input, .. }, Delta::ToolInput(more)) => input.push_str(more),
            (Kind::Media { data, .. }, Delta::Base64(more)) => data.push_str(more),
            (Kind::Audio(mime), Delta::Base64(data)) => {
                let mime = std::mem::take(mime);
                self.part(choice, out, |out| parts::inline(&mime, data, None, out));
                self.blocks[index as usize].kind = Kind::Audio(mime);
            }
            (_, Delta::Signature(more)) => block.signature.get_or_insert_default().push_str(more),
            (_, Delta::Transcript(_)) => self.drop("transcript"),
            (_, Delta::Citation(_)) => self.drop("citations"),
            (_, Delta::Other { json, .. }) => self.drop(&type_of(json.get())),
            // A delta that its block cannot have.
            _ => self.drop("delta"),
        }
    }

    fn text(&mut self, choice: u32, text: &str, out: &mut BytesMut) {
        match self.texts.iter_mut().find(|(c, _)| *c == choice) {
            Some((_, bytes)) => *bytes += text.len() as u64,
            None => self.texts.push((choice, text.len() as u64)),
        }
        self.part(choice, out, |out| parts::text(text, false, None, out));
    }

    /// Google's own stand in `groundingMetadata`, which passes whole.
    fn cite(&mut self, choice: u32, from: u64, citation: &Citation) {
        if citation.dialect != DialectName::Gemini {
            self.cited.push(Cited {
                choice,
                from,
                to: self.text_bytes(choice),
                citation: citation.clone(),
            });
        }
    }

    /// What was kept until it was whole.
    fn block_stop(&mut self, index: u32, out: &mut BytesMut) {
        let Some(block) = self.blocks.get_mut(index as usize) else {
            return;
        };
        let choice = block.choice;
        let kind = std::mem::replace(&mut block.kind, Kind::Mute);
        let signature = block.signature.take();
        let signature = signature.as_deref();
        match kind {
            Kind::Text(_) | Kind::Thinking => {
                let thought = matches!(kind, Kind::Thinking);
                if signature.is_some() {
                    self.part(choice, out, |out| parts::text("", thought, signature, out));
                }
            }
            Kind::Call {
                id,
                name,
                kind,
                input,
            } => {
                if kind != ToolKind::Custom && !is_whole(&input) {
                    self.drop("tool_input");
                }
                self.part(choice, out, |out| {
                    parts::call((&id, &name), &kind, &input, signature, out);
                });
            }
            Kind::Media { mime, url, data } => self.part(choice, out, |out| match &url {
                Some(url) => parts::file(&mime, url, signature, out),
                None => parts::inline(&mime, &data, signature, out),
            }),
            Kind::Audio(mime) => {
                if signature.is_some() {
                    self.part(choice, out, |out| parts::inline(&mime, "", signature, out));
                }
            }
            Kind::Mute => {}
        }
    }
}

fn media(media_type: &Option<Str>, url: &Option<Str>, default: &str) -> Kind {
    Kind::Media {
        mime: media_type.as_deref().unwrap_or(default).to_owned(),
        url: url.clone(),
        data: String::new(),
    }
}

/// The members that every chunk ends with, and its brace.
pub(super) fn tail(opening: &Opening) -> BytesMut {
    // So that a comma stands before the first of them; cut off again.
    let mut tail = BytesMut::from(" ");
    json::field("modelVersion", &opening.model, &mut tail);
    if opening.created > 0 {
        let time = schema::time(opening.created);
        json::field("createTime", &time, &mut tail);
    }
    json::field("responseId", &opening.id, &mut tail);
    tail.extend_from_slice(b"}");
    tail.split_off(1)
}
