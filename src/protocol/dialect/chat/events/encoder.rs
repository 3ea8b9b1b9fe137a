//! Events → a client's `chat.completion.chunk`s.
//!
//! Cannot fail, and allocates nothing for a delta but the growth of `out`. What this dialect has no words for is named in `dropped`.
//! `Opening::bare` is the native dialect's alone: Chat Completions is not spoken on WebSockets.

use super::frame::{self, Frame};
use super::usage;
use crate::base::Str;
use crate::canon::{BlockStart, Citation, Delta, DialectName, Event, Fault, StopReason, ToolKind};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::json;
use bytes::BytesMut;

/// Writes one answer, streamed. One value an exchange.
#[derive(Debug)]
pub struct Encoder {
    frame: Frame,
    blocks: Vec<Block>,
    choices: Vec<Choice>,
    /// The data URL of the picture that is being told: clients take it whole.
    picture: String,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    choice: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Text {
        starts_at: u64,
    },
    /// Its place among the choice's thinking, and its bytes so far.
    Thinking {
        number: u32,
        bytes: u64,
    },
    Call {
        number: u32,
        custom: bool,
        empty: bool,
    },
    Refusal,
    Audio,
    Image,
    /// Said by nothing in this dialect.
    Mute,
}

#[derive(Debug, Default)]
struct Choice {
    number: u32,
    calls: u32,
    thoughts: u32,
    images: u32,
    /// Characters of content so far, for the places of citations.
    characters: u64,
    refused: bool,
    /// A call that ended without arguments, until it is known that no limit cut it.
    bare_call: Option<u32>,
}

impl Encoder {
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        Self {
            frame: Frame::new(&opening, "chat.completion.chunk"),
            blocks: Vec::new(),
            choices: Vec::new(),
            picture: String::new(),
        }
    }

    /// Appends `event` as chunks. `Done` and `Error` append nothing: `finish` or `fail` follows them.
    pub fn event(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Started { .. } | Event::Done | Event::Error(_) => {}
            Event::BlockStart { choice, block, .. } => self.block_start(*choice, block, out),
            Event::BlockDelta { index, delta } => self.block_delta(*index, delta, out),
            Event::BlockStop { index } => self.block_stop(*index, out),
            Event::Usage(usage) => self.frame.usage.update(usage),
            Event::Stop { choice, reason, .. } => self.stop(*choice, reason, out),
            Event::Other {
                dialect: DialectName::Chat,
                name,
                choice,
                json,
            } if &**name == "logprobs" => {
                self.role(*choice, true, out);
                self.open(*choice, out);
                self.close(json.get(), None, out);
            }
            Event::Other {
                dialect: DialectName::Chat,
                name,
                json,
                ..
            } => self.top_level(name, json.get(), out),
            Event::Other { name, .. } => self.frame.drop(name),
        }
    }

    /// Appends usage where it was asked for, and `[DONE]`.
    pub fn finish(&mut self, _closing: &Closing, out: &mut BytesMut) {
        self.frame.finish(|out| self.tier(out), out);
    }

    /// Appends the error as a data event; no `[DONE]` follows, as at OpenAI.
    pub fn fail(&mut self, fault: &Fault, _closing: &Closing, out: &mut BytesMut) {
        frame::fail(fault, out);
    }

    /// Names of what the answer held and this dialect has no words for, each once.
    #[must_use]
    pub fn dropped(&self) -> &[String] {
        self.frame.dropped()
    }

    fn choice(&mut self, number: u32) -> Option<&mut Choice> {
        self.choices.iter_mut().find(|c| c.number == number)
    }

    /// The first delta of a choice, and only that, has the role.
    fn role(&mut self, number: u32, with_content: bool, out: &mut BytesMut) {
        if self.choice(number).is_some() {
            return;
        }
        self.choices.push(Choice {
            number,
            ..Choice::default()
        });
        self.open(number, out);
        json::field("role", "assistant", out);
        json::key("content", out);
        out.extend_from_slice(if with_content { b"\"\"" } else { b"null" });
        json::key("refusal", out);
        out.extend_from_slice(b"null");
        self.close("null", None, out);
    }

    /// Opens a chunk of one choice, up to the members of its delta.
    fn open(&self, choice: u32, out: &mut BytesMut) {
        self.frame.open(out);
        out.extend_from_slice(b"[{\"index\":");
        json::integer(choice, out);
        out.extend_from_slice(b",\"delta\":{");
    }

    fn close(&self, logprobs: &str, reason: Option<&str>, out: &mut BytesMut) {
        out.extend_from_slice(b"},\"logprobs\":");
        out.extend_from_slice(logprobs.as_bytes());
        out.extend_from_slice(b",\"finish_reason\":");
        match reason {
            Some(reason) => json::string(reason, out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}]");
        self.frame.close(out);
    }

    fn tier(&self, out: &mut BytesMut) {
        if let Some(tier) = &self.frame.usage.service_tier {
            json::field("service_tier", usage::tier(tier), out);
        }
    }

    fn top_level(&self, name: &str, value: &str, out: &mut BytesMut) {
        self.frame.open(out);
        out.extend_from_slice(b"[],");
        json::string(name, out);
        out.extend_from_slice(b":");
        out.extend_from_slice(value.as_bytes());
        self.frame.close(out);
    }

    fn block_start(&mut self, number: u32, block: &BlockStart, out: &mut BytesMut) {
        self.role(number, matches!(block, BlockStart::Text), out);
        self.end_bare_call(number, out);
        let kind = self.kind_of(number, block);
        self.blocks.push(Block {
            choice: number,
            kind,
        });
        match (block, kind) {
            (BlockStart::RedactedThinking { data }, Kind::Thinking { number: n, .. }) => {
                self.open(number, out);
                details_open("reasoning.encrypted", n, out);
                json::field("data", data, out);
                out.extend_from_slice(b"}]");
                self.close("null", None, out);
            }
            (
                BlockStart::ToolCall { id, name, .. },
                Kind::Call {
                    number: n, custom, ..
                },
            ) => {
                self.open(number, out);
                call_open(n, out);
                call_head(id, name, custom, out);
                out.extend_from_slice(b"}]");
                self.close("null", None, out);
            }
            (BlockStart::Image { media_type, url }, Kind::Image) => {
                let kind = media_type.as_deref().unwrap_or("image/png");
                let data = format!("data:{kind};base64,");
                self.picture = url.as_deref().map_or(data, str::to_owned);
            }
            (BlockStart::Audio { id: Some(id), .. }, _) => {
                self.open(number, out);
                out.extend_from_slice(b"\"audio\":{");
                json::field("id", id, out);
                out.extend_from_slice(b"}");
                self.close("null", None, out);
            }
            _ => {}
        }
    }

    fn kind_of(&mut self, number: u32, block: &BlockStart) -> Kind {
        let name = match block {
            BlockStart::ToolCall {
                kind: ToolKind::Server,
                ..
            } => "server_tool_use".to_owned(),
            BlockStart::Video { .. } => "video".to_owned(),
            BlockStart::Other { json, .. } => type_of(json.get()),
            _ => String::new(),
        };
        if !name.is_empty() {
            self.frame.drop(&name);
            return Kind::Mute;
        }
        let Some(choice) = self.choice(number) else {
            return Kind::Mute;
        };
        match block {
            BlockStart::Text => Kind::Text {
                starts_at: choice.characters,
            },
            BlockStart::Thinking | BlockStart::RedactedThinking { .. } => {
                choice.thoughts += 1;
                Kind::Thinking {
                    number: choice.thoughts - 1,
                    bytes: 0,
                }
            }
            BlockStart::ToolCall { kind, .. } => {
                choice.calls += 1;
                Kind::Call {
                    number: choice.calls - 1,
                    custom: *kind == ToolKind::Custom,
                    empty: true,
                }
            }
            BlockStart::Refusal => {
                choice.refused = true;
                Kind::Refusal
            }
            BlockStart::Audio { .. } => Kind::Audio,
            BlockStart::Image { .. } => Kind::Image,
            _ => Kind::Mute,
        }
    }

    fn block_delta(&mut self, index: u32, delta: &Delta, out: &mut BytesMut) {
        let Some(Block { choice, kind }) = self.blocks.get(index as usize).copied() else {
            return;
        };
        match (kind, delta) {
            (Kind::Mute, _) => {}
            (Kind::Text { .. }, Delta::Text(text)) => {
                let characters = text.chars().count() as u64;
                if let Some(choice) = self.choice(choice) {
                    choice.characters += characters;
                }
                self.simple(choice, "content", text, out);
            }
            (Kind::Text { starts_at }, Delta::Citation(citation)) => {
                self.citation(choice, starts_at, citation, out);
            }
            (Kind::Thinking { number, bytes }, Delta::Thinking(text)) => {
                self.blocks[index as usize].kind = Kind::Thinking {
                    number,
                    bytes: bytes + text.len() as u64,
                };
                self.simple(choice, "reasoning_content", text, out);
            }
            (Kind::Thinking { number, bytes }, Delta::Signature(signature)) => {
                self.open(choice, out);
                details_open("reasoning.text", number, out);
                signature_of(signature, bytes, out);
                self.close("null", None, out);
            }
            (Kind::Call { number, custom, .. }, Delta::ToolInput(input)) => {
                self.blocks[index as usize].kind = Kind::Call {
                    number,
                    custom,
                    empty: false,
                };
                self.input(choice, number, custom, input, out);
            }
            (Kind::Call { number, .. }, Delta::Signature(signature)) => {
                self.open(choice, out);
                call_open(number, out);
                call_signature(signature, out);
                out.extend_from_slice(b"}]");
                self.close("null", None, out);
            }
            (Kind::Refusal, Delta::Refusal(text)) => self.simple(choice, "refusal", text, out),
            (Kind::Image, Delta::Base64(data)) => self.picture.push_str(data),
            (Kind::Audio, Delta::Base64(data)) => self.audio(choice, "data", data, out),
            (Kind::Audio, Delta::Transcript(text)) => self.audio(choice, "transcript", text, out),
            (
                Kind::Audio,
                Delta::Other {
                    dialect: DialectName::Chat,
                    json,
                },
            ) => {
                self.open(choice, out);
                json::key("audio", out);
                out.extend_from_slice(json.get().as_bytes());
                self.close("null", None, out);
            }
            (_, Delta::Citation(_)) => self.frame.drop("citations"),
            (_, Delta::Signature(_)) => self.frame.drop("signature"),
            (_, Delta::Other { json, .. }) => self.frame.drop(&type_of(json.get())),
            // A delta that its block cannot have.
            _ => self.frame.drop("delta"),
        }
    }

    /// A delta of one string.
    fn simple(&self, choice: u32, name: &str, text: &str, out: &mut BytesMut) {
        self.open(choice, out);
        json::field(name, text, out);
        self.close("null", None, out);
    }

    fn audio(&self, choice: u32, name: &str, text: &str, out: &mut BytesMut) {
        self.open(choice, out);
        out.extend_from_slice(b"\"audio\":{");
        json::field(name, text, out);
        out.extend_from_slice(b"}");
        self.close("null", None, out);
    }

    fn input(&self, choice: u32, number: u32, custom: bool, input: &str, out: &mut BytesMut) {
        self.open(choice, out);
        call_open(number, out);
        let (of, name) = if custom {
            ("custom", "input")
        } else {
            ("function", "arguments")
        };
        json::key(of, out);
        out.extend_from_slice(b"{");
        json::field(name, input, out);
        out.extend_from_slice(b"}}]");
        self.close("null", None, out);
    }

    fn citation(&mut self, choice: u32, starts_at: u64, citation: &Citation, out: &mut BytesMut) {
        let ends_at = self.choice(choice).map_or(0, |c| c.characters);
        self.open(choice, out);
        let before = out.len();
        json::key("annotations", out);
        out.extend_from_slice(b"[");
        let said = annotation(citation, starts_at, ends_at, out);
        if said {
            out.extend_from_slice(b"]");
        } else {
            // An empty delta is a chunk that says nothing: clients pass over it.
            out.truncate(before);
            self.frame.drop("citations");
        }
        self.close("null", None, out);
    }

    fn block_stop(&mut self, index: u32, out: &mut BytesMut) {
        let Some(Block { choice, kind }) = self.blocks.get(index as usize).copied() else {
            return;
        };
        if let Kind::Call {
            number,
            custom: false,
            empty: true,
        } = kind
            && let Some(choice) = self.choice(choice)
        {
            choice.bare_call = Some(number);
        }
        if kind == Kind::Image {
            self.image(choice, out);
        }
    }

    /// Clients parse arguments as JSON; a call without any is called with an empty object. One that a limit cut ahead of its first
    /// argument stays as it is: an empty object would be run.
    fn end_bare_call(&mut self, choice: u32, out: &mut BytesMut) {
        if let Some(number) = self.choice(choice).and_then(|c| c.bare_call.take()) {
            self.input(choice, number, false, "{}", out);
        }
    }

    fn image(&mut self, choice: u32, out: &mut BytesMut) {
        let url = std::mem::take(&mut self.picture);
        if url.ends_with(";base64,") {
            return self.frame.drop("image");
        }
        let number = self.choice(choice).map_or(0, |c| {
            c.images += 1;
            c.images - 1
        });
        self.open(choice, out);
        json::key("images", out);
        out.extend_from_slice(b"[");
        image_part(number, &url, out);
        out.extend_from_slice(b"]");
        self.close("null", None, out);
    }

    fn stop(&mut self, number: u32, reason: &StopReason, out: &mut BytesMut) {
        self.role(number, true, out);
        if !cuts(reason) {
            self.end_bare_call(number, out);
        }
        if *reason == StopReason::Pause {
            self.frame.drop("pause");
        }
        let refused = self.choice(number).is_some_and(|c| c.refused);
        self.open(number, out);
        self.close("null", Some(word(reason, refused)), out);
    }
}

/// A picture as OpenRouter and LiteLLM tell it, which OpenAI itself has no words for (OpenRouter docs, image generation, read 2026-11).
pub(super) fn image_part(number: u32, url: &str, out: &mut BytesMut) {
    json::comma(out);
    out.extend_from_slice(b"{");
    json::field("type", "image_url", out);
    json::key("index", out);
    json::integer(number, out);
    json::key("image_url", out);
    out.extend_from_slice(b"{");
    json::field("url", url, out);
    out.extend_from_slice(b"}}");
}

/// Whether an answer that ended so may have been cut within a call.
pub(in crate::protocol::dialect) fn cuts(reason: &StopReason) -> bool {
    match reason {
        StopReason::MaxTokens | StopReason::ContextWindow | StopReason::ContentFilter => true,
        StopReason::EndTurn
        | StopReason::StopSequence
        | StopReason::ToolUse
        | StopReason::Refusal
        | StopReason::Pause
        | StopReason::Other(_) => false,
    }
}

/// OpenAI's word for it. A refusal that was written as one ends with `stop`; one that the model left unsaid has been filtered.
pub(super) fn word(reason: &StopReason, refused: bool) -> &str {
    match reason {
        StopReason::EndTurn | StopReason::StopSequence | StopReason::Pause => "stop",
        StopReason::MaxTokens | StopReason::ContextWindow => "length",
        StopReason::ToolUse => "tool_calls",
        StopReason::Refusal if refused => "stop",
        StopReason::ContentFilter | StopReason::Refusal => "content_filter",
        StopReason::Other(word) => word,
    }
}

/// The `type` of a block of another dialect.
pub(in crate::protocol::dialect) fn type_of(json: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: String,
    }
    serde_json::from_str(json).map_or_else(|_| "other".to_owned(), |t: Typed| t.kind)
}

/// Opens one entry of `reasoning_details`, OpenRouter's field for what must come back unchanged (openrouter.ai docs, read 2026-08).
pub(super) fn details_open(kind: &str, number: u32, out: &mut BytesMut) {
    json::key("reasoning_details", out);
    out.extend_from_slice(b"[");
    detail_open(kind, number, out);
}

pub(in crate::protocol::dialect::chat) fn detail_open(kind: &str, number: u32, out: &mut BytesMut) {
    json::comma(out);
    out.extend_from_slice(b"{");
    json::field("type", kind, out);
    json::key("index", out);
    json::integer(number, out);
}

/// The rest of an entry: the text itself went out as `reasoning_content`, so its length tells whose signature this is.
pub(super) fn signature_of(signature: &str, bytes: u64, out: &mut BytesMut) {
    json::field("signature", signature, out);
    json::key("text_bytes", out);
    json::integer(bytes, out);
    out.extend_from_slice(b"}]");
}

fn call_open(number: u32, out: &mut BytesMut) {
    out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
    json::integer(number, out);
}

fn call_head(id: &Str, name: &Str, custom: bool, out: &mut BytesMut) {
    let (of, input) = if custom {
        ("custom", "input")
    } else {
        ("function", "arguments")
    };
    json::field("id", id, out);
    json::field("type", of, out);
    json::key(of, out);
    out.extend_from_slice(b"{");
    json::field("name", name, out);
    json::field(input, "", out);
    out.extend_from_slice(b"}");
}

/// Google's place for a thought signature in this dialect (Gemini docs, OpenAI compatibility, read 2026-08).
pub(super) fn call_signature(signature: &str, out: &mut BytesMut) {
    json::key("extra_content", out);
    out.extend_from_slice(b"{\"google\":{");
    json::field("thought_signature", signature, out);
    out.extend_from_slice(b"}}");
}

/// Appends one annotation; false, and nothing, where there is no URL to cite.
pub(super) fn annotation(
    citation: &Citation,
    starts_at: u64,
    ends_at: u64,
    out: &mut BytesMut,
) -> bool {
    if citation.dialect == DialectName::Chat {
        json::comma(out);
        out.extend_from_slice(citation.json.get().as_bytes());
        return true;
    }
    let Some(url) = &citation.url else {
        return false;
    };
    json::comma(out);
    out.extend_from_slice(b"{\"type\":\"url_citation\",\"url_citation\":{");
    for (name, place) in [("start_index", starts_at), ("end_index", ends_at)] {
        json::key(name, out);
        json::integer(place, out);
    }
    json::field("title", citation.title.as_deref().unwrap_or(url), out);
    json::field("url", url, out);
    out.extend_from_slice(b"}}");
    true
}
