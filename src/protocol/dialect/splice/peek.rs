//! One pass over a request's JSON: flags, counts and byte ranges, nothing built.
//!
//! A field that we route on and that stands twice is refused: JSON leaves open which one counts, so the provider might read the other.

use super::Peek;
use crate::base::Str;
use crate::canon::{DialectName, Fault, FaultClass};
use crate::protocol::dialect::packed_ids;
use crate::protocol::json::walk::{Broken, DEPTH_MAX, Start, Walk};
use bytes::Bytes;
use serde::de::IgnoredAny;
use std::ops::Range;

/// Reads what routing needs. `Err` names the field that is wrong or missing (`model`, `messages`, …), and for a body that is not JSON
/// the line and column. Costs one UTF-8 check and one pass; allocates only for strings with escapes.
pub fn peek(dialect: DialectName, body: &Bytes) -> Result<Peek, Fault> {
    if dialect == DialectName::Gemini {
        return super::peek_gemini::peek(body);
    }
    scanned(dialect, body, true)
}

/// As `peek`, of a request that is only counted, and so needs no limit for its answer.
pub(super) fn peek_counted(dialect: DialectName, body: &Bytes) -> Result<Peek, Fault> {
    scanned(dialect, body, false)
}

fn scanned(dialect: DialectName, body: &Bytes, answered: bool) -> Result<Peek, Fault> {
    let text = simdutf8::compat::from_utf8(body).map_err(|e| {
        let at = e.valid_up_to();
        Fault::new(
            FaultClass::Invalid,
            format!("the body is not UTF-8 at byte {at}"),
        )
    })?;
    let mut scan = Scan {
        dialect,
        body,
        peek: Peek {
            stream_usage: !matches!(dialect, DialectName::Chat | DialectName::Completions),
            ..Peek::default()
        },
        seen: 0,
        max_output_newer: false,
    };
    match scan.read(text) {
        Ok(()) => scan.whole(answered),
        Err(Stop::Fault(fault)) => Err(*fault),
        Err(Stop::Broken(broken)) => Err(not_json(text, broken)),
    }
}

/// Why a scan ends early.
enum Stop {
    Broken(Broken),
    Fault(Box<Fault>),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// What serde_json says of a text that is no JSON, with its place.
fn not_json(text: &str, broken: Broken) -> Fault {
    let message = match (broken, serde_json::from_str::<IgnoredAny>(text)) {
        (Broken::Deep, _) => format!("the body is nested deeper than {DEPTH_MAX} levels"),
        (Broken::Syntax, Err(error)) => format!("the body is not JSON: {error}"),
        (Broken::Syntax, Ok(_)) if text.trim_start().starts_with('{') => {
            "the body is not JSON: a name has half of a surrogate pair".to_owned()
        }
        (Broken::Syntax, Ok(_)) => "the body must be a JSON object".to_owned(),
    };
    Fault::new(FaultClass::Invalid, message)
}

/// The top-level fields that we read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Top {
    Model,
    Stream,
    StreamOptions,
    /// `max_tokens` of Messages, `max_output_tokens` of native, `max_completion_tokens` of Chat Completions.
    MaxOutput,
    /// `max_tokens` of Chat Completions, which `max_completion_tokens` replaces.
    MaxOutputOld,
    Conversation,
    System,
    Tools,
    Functions,
    /// A field of Responses that names what its provider keeps.
    State,
    /// `previous_response_id` of Responses, which is one of those.
    Previous,
    Store,
    Background,
    Other,
}

/// Fields of Responses that name what one provider's account keeps (OpenAI API reference, read 2026-08).
pub(super) const STATE: [&str; 3] = ["previous_response_id", "conversation", "prompt"];

impl Top {
    fn of(dialect: DialectName, name: &str) -> Self {
        use DialectName::{Chat, Completions, Messages, Native, Responses};
        match (dialect, name) {
            (_, "model") => Self::Model,
            (_, "stream") => Self::Stream,
            (_, "tools") => Self::Tools,
            (Chat | Completions, "stream_options") => Self::StreamOptions,
            (Chat, "functions") => Self::Functions,
            (Chat, "max_tokens") => Self::MaxOutputOld,
            (Chat, "max_completion_tokens")
            | (Messages | Completions, "max_tokens")
            | (Native | Responses, "max_output_tokens") => Self::MaxOutput,
            (Chat | Messages, "messages") | (Native | Responses, "input") => Self::Conversation,
            (Completions, "prompt") => Self::Conversation,
            (Messages | Native, "system") | (Responses, "instructions") => Self::System,
            (Responses, "previous_response_id") => Self::Previous,
            (Responses, "store") => Self::Store,
            (Responses, "background") => Self::Background,
            (Responses, name) if STATE.contains(&name) => Self::State,
            _ => Self::Other,
        }
    }

    fn name(self, dialect: DialectName) -> &'static str {
        match (self, dialect) {
            (Self::Model, _) => "model",
            (Self::Stream, _) => "stream",
            (Self::StreamOptions, _) => "stream_options",
            (Self::MaxOutput, DialectName::Chat) => "max_completion_tokens",
            (
                Self::MaxOutput,
                DialectName::Native
                | DialectName::Responses
                | DialectName::Gemini
                | DialectName::Converse,
            ) => "max_output_tokens",
            (Self::MaxOutput, DialectName::Messages | DialectName::Completions)
            | (Self::MaxOutputOld, _) => "max_tokens",
            (Self::Conversation, DialectName::Native | DialectName::Responses) => "input",
            (Self::Conversation, DialectName::Completions) => "prompt",
            (Self::Conversation, _) => "messages",
            (Self::System, DialectName::Responses) => "instructions",
            (Self::System, _) => "system",
            (Self::Tools, _) => "tools",
            (Self::Functions, _) => "functions",
            (Self::Previous, _) => "previous_response_id",
            (Self::Store, _) => "store",
            (Self::Background, _) => "background",
            (Self::State | Self::Other, _) => "",
        }
    }
}

struct Scan<'b> {
    dialect: DialectName,
    body: &'b Bytes,
    peek: Peek,
    /// A bit for each `Top` that was met.
    seen: u16,
    /// The limit came from the newer of Chat's two fields, whichever stands first.
    max_output_newer: bool,
}

impl Scan<'_> {
    fn read(&mut self, text: &str) -> Result<(), Stop> {
        let mut walk = Walk::of(text);
        walk.members(|walk, name| {
            let top = Top::of(self.dialect, &name.text()?);
            if !matches!(top, Top::Other | Top::State) && self.seen & bit(top) != 0 {
                let name = top.name(self.dialect);
                let fault = Fault::invalid(name, format!("{name} stands twice"));
                return Err(Stop::Fault(Box::new(fault)));
            }
            self.seen |= bit(top);
            self.field(top, walk)
        })?;
        Ok(walk.end()?)
    }

    fn field(&mut self, top: Top, walk: &mut Walk<'_>) -> Result<(), Stop> {
        match top {
            Top::Other => walk.value().map(drop)?,
            Top::System => content(&mut self.peek, walk)?,
            Top::Conversation => return self.conversation(walk),
            _ => {
                let text = walk.value()?;
                self.small(top, text).ok_or_else(|| self.wrong(top))?;
            }
        }
        Ok(())
    }

    fn conversation(&mut self, walk: &mut Walk<'_>) -> Result<(), Stop> {
        if self.dialect == DialectName::Completions {
            return self.prompt(walk);
        }
        match walk.start() {
            Start::Array => walk.items(|walk| {
                if walk.start() != Start::Object {
                    return Err(self.or_broken(walk, Top::Conversation));
                }
                let is_instruction = part(&mut self.peek, walk)?;
                let turns = self.peek.turns;
                self.peek.turns = turns.saturating_add(u32::from(!is_instruction));
                Ok(())
            }),
            Start::Text if matches!(self.dialect, DialectName::Native | DialectName::Responses) => {
                self.peek.turns = 1;
                self.peek.prompt_bytes += walk.string()?.decoded_length();
                Ok(())
            }
            _ => Err(self.or_broken(walk, Top::Conversation)),
        }
    }

    /// A text or several. Of tokens one is a token, however many digits it has: the text they are written as is no shorter.
    fn prompt(&mut self, walk: &mut Walk<'_>) -> Result<(), Stop> {
        self.peek.turns = 1;
        match walk.start() {
            Start::Text | Start::Array => {
                let text = walk.value()?;
                self.peek.prompt_bytes += text.len();
                Ok(())
            }
            _ => Err(self.or_broken(walk, Top::Conversation)),
        }
    }

    /// Why `top` cannot be read on: it is no JSON, or JSON of another type.
    fn or_broken(&self, walk: &mut Walk<'_>, top: Top) -> Stop {
        match walk.value() {
            Ok(_) => self.wrong(top),
            Err(broken) => broken.into(),
        }
    }

    fn wrong(&self, top: Top) -> Stop {
        let name = top.name(self.dialect);
        let message = format!("{name} must be {}", expected(top, self.dialect));
        Stop::Fault(Box::new(Fault::invalid(name, message)))
    }

    fn range(&self, value: &str) -> Range<usize> {
        let start = value.as_ptr() as usize - self.body.as_ptr() as usize;
        start..start + value.len()
    }

    /// What was read, when nothing that must be there is missing.
    fn whole(self, answered: bool) -> Result<Peek, Fault> {
        self.required(Top::Model)?;
        // A stored template or an earlier answer may be all there is to say.
        if self.seen & (bit(Top::State) | bit(Top::Previous)) == 0 {
            self.required(Top::Conversation)?;
        }
        // Anthropic docs, Messages API, read 2026-08: `max_tokens` is required.
        if answered && self.dialect == DialectName::Messages && self.peek.max_output.is_none() {
            return Err(self.missing(Top::MaxOutput));
        }
        Ok(self.peek)
    }

    fn required(&self, top: Top) -> Result<(), Fault> {
        if self.seen & bit(top) == 0 {
            Err(self.missing(top))
        } else {
            Ok(())
        }
    }

    fn missing(&self, top: Top) -> Fault {
        let name = top.name(self.dialect);
        Fault::invalid(name, format!("{name} is missing"))
    }

    /// Takes the value of a small field. `None`: it is wrong.
    fn small(&mut self, top: Top, text: &str) -> Option<()> {
        match top {
            Top::Model => {
                let at = self.range(text);
                self.peek.model = plain_string(self.body, text, &at)?;
                self.peek.model_at = at;
                (!self.peek.model.is_empty()).then_some(())
            }
            Top::Stream => {
                self.peek.stream = boolean(text)?;
                Some(())
            }
            Top::MaxOutput | Top::MaxOutputOld if text == "null" => Some(()),
            Top::MaxOutput => {
                self.peek.max_output = Some(text.parse().ok()?);
                self.max_output_newer = true;
                Some(())
            }
            Top::MaxOutputOld => {
                let limit = text.parse().ok()?;
                if !self.max_output_newer {
                    self.peek.max_output = Some(limit);
                }
                Some(())
            }
            Top::StreamOptions => {
                self.peek.stream_options_at = Some(self.range(text));
                self.peek.stream_usage = asks_usage(text)?;
                Some(())
            }
            Top::Tools | Top::Functions => {
                let filled = text
                    .strip_prefix('[')
                    .is_some_and(|rest| !rest.trim_start().starts_with(']'));
                self.peek.tools |= filled;
                self.peek.prompt_bytes += if filled { text.len() } else { 0 };
                (text == "null" || text.starts_with('[')).then_some(())
            }
            Top::State => {
                self.peek.server_state |= text != "null";
                Some(())
            }
            Top::Previous if text == "null" => Some(()),
            Top::Previous => {
                let at = self.range(text);
                self.peek.server_state = true;
                self.peek.previous = Some(plain_string(self.body, text, &at)?);
                Some(())
            }
            // What else may stand there is the provider's to judge.
            Top::Store => {
                self.peek.unkept = text == "false";
                Some(())
            }
            Top::Background => {
                self.peek.background = text == "true";
                Some(())
            }
            Top::Conversation | Top::System | Top::Other => Some(()),
        }
    }
}

fn bit(top: Top) -> u16 {
    1 << (top as u16)
}

fn expected(top: Top, dialect: DialectName) -> &'static str {
    match top {
        Top::Model => "a string that is not empty",
        Top::Stream => "true or false",
        Top::StreamOptions => "an object whose include_usage is true or false",
        Top::MaxOutput | Top::MaxOutputOld => "a whole number",
        Top::Conversation if dialect == DialectName::Completions => {
            "a string, or an array of strings or of tokens"
        }
        Top::Conversation if matches!(dialect, DialectName::Native | DialectName::Responses) => {
            "a string or an array of objects"
        }
        Top::Conversation => "an array of objects",
        Top::System => "a string or an array of objects",
        Top::Tools | Top::Functions => "an array",
        Top::Previous => "a string",
        Top::Store | Top::Background => "true or false",
        Top::State | Top::Other => "JSON",
    }
}

/// The string written as `text` at `at`: a slice of the body unless it has escapes. `None`: no string.
pub(super) fn plain_string(body: &Bytes, text: &str, at: &Range<usize>) -> Option<Str> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(text).ok().map(Str::from);
    }
    Str::try_from(body.slice(at.start + 1..at.end - 1)).ok()
}

/// `null` is as good as not said.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" | "null" => Some(false),
        _ => None,
    }
}

/// Whether `stream_options`, written as `text`, asks for usage. `None`: wrong, or said twice.
fn asks_usage(text: &str) -> Option<bool> {
    if text == "null" {
        return Some(false);
    }
    let options = super::request::stream_options(text)?;
    options.include_usage.map_or(Some(false), boolean)
}

/// Reads a string, a block, or an array of them. Whether a number may stand here is the provider's to say.
fn content(peek: &mut Peek, walk: &mut Walk<'_>) -> Result<(), Broken> {
    match walk.start() {
        Start::Text => peek.prompt_bytes += walk.string()?.decoded_length(),
        Start::Array => return walk.items(|walk| content(peek, walk)),
        Start::Object => return part(peek, walk).map(drop),
        Start::Number | Start::Flag | Start::Null => walk.value().map(drop)?,
    }
    Ok(())
}

/// What a field of a turn or block means to us, in whichever dialect: no two of them use one name for different things.
enum Part {
    Role,
    Type,
    /// Strings, blocks or arrays of them.
    Content,
    Source,
    /// JSON that the model reads as text.
    Raw,
    Image,
    Document,
    Audio,
    Video,
    Signature,
    /// Where OpenRouter's and Google's forms of Chat Completions have signatures further in.
    Signatures,
    /// The calls of a message of Chat Completions, which are JSON that the model reads too.
    Calls,
    /// An id of an item, which alone may stand for it.
    Id,
    /// An id of a call, beside its result or in an item with an id of its own.
    CallId,
    /// A file by its id.
    FileId,
    Other,
}

impl Part {
    fn of(name: &str) -> Self {
        match name {
            "role" => Self::Role,
            "type" => Self::Type,
            "content" | "text" | "thinking" | "refusal" | "title" | "context"
            | "reasoning_content" | "input_text" | "output" | "summary" => Self::Content,
            "source" => Self::Source,
            "input" | "arguments" | "function_call" => Self::Raw,
            "tool_calls" => Self::Calls,
            "image_url" => Self::Image,
            "file" => Self::Document,
            "input_audio" | "audio" | "audio_url" => Self::Audio,
            "video_url" => Self::Video,
            "signature" | "encrypted_content" => Self::Signature,
            "reasoning_details" | "extra_content" => Self::Signatures,
            "id" => Self::Id,
            "tool_use_id" | "tool_call_id" | "call_id" => Self::CallId,
            "file_id" => Self::FileId,
            _ => Self::Other,
        }
    }
}

/// Reads a turn or a block. True when its role says that it is an instruction.
fn part(peek: &mut Peek, walk: &mut Walk<'_>) -> Result<bool, Broken> {
    let mut instruction = false;
    // A reasoning item of Responses that says nothing itself is looked up by its id.
    let (mut reasoning, mut id, before) = (false, false, peek.prompt_bytes);
    let mut sealed = false;
    walk.members(|walk, name| {
        let part = Part::of(&name.text()?);
        if matches!(part, Part::Content) {
            return content(peek, walk);
        }
        let value = walk.value()?;
        match part {
            Part::Id => {
                id |= value.len() > 2;
                peek.packed_ids |= packed_ids::may_stand(value);
            }
            Part::CallId => peek.packed_ids |= packed_ids::may_stand(value),
            Part::Calls => {
                peek.packed_ids |= packed_ids::may_stand(value);
                sealed |= is_signed(value);
                said(peek, &Part::Raw, value);
            }
            Part::Signatures => sealed |= is_signed(value),
            Part::FileId => peek.server_state |= value != "null",
            Part::Signature => sealed |= !matches!(value, "null" | "\"\""),
            Part::Source => return source(peek, value),
            Part::Role => instruction = matches!(value, "\"system\"" | "\"developer\""),
            Part::Type => {
                reasoning |= value == "\"reasoning\"";
                kind(peek, value);
            }
            Part::Other | Part::Content => {}
            _ => said(peek, &part, value),
        }
        Ok(())
    })?;
    peek.has_thinking |= sealed | peek.packed_ids;
    let told = peek.prompt_bytes > before;
    peek.server_state |= reasoning && id && !sealed && !told;
    Ok(instruction)
}

/// Whether what only its maker can read stands somewhere within. A word of the model's may be taken for it, at the price of a closer look.
fn is_signed(value: &str) -> bool {
    const WORDS: [&str; 3] = [
        "\"thought_signature\"",
        "\"signature\"",
        "\"reasoning.encrypted\"",
    ];
    let has = |word: &&str| memchr::memmem::find(value.as_bytes(), word.as_bytes()).is_some();
    WORDS.iter().any(has)
}

fn kind(peek: &mut Peek, kind: &str) {
    match kind {
        "\"image\"" | "\"image_url\"" | "\"input_image\"" => peek.images = true,
        "\"document\"" | "\"file\"" | "\"input_file\"" => peek.documents = true,
        "\"item_reference\"" => peek.server_state = true,
        "\"audio\"" | "\"input_audio\"" | "\"audio_url\"" => peek.audio = true,
        "\"video\"" | "\"video_url\"" => peek.video = true,
        "\"thinking\"" | "\"redacted_thinking\"" => peek.has_thinking = true,
        _ => {}
    }
}

fn said(peek: &mut Peek, key: &Part, value: &str) {
    if value == "null" {
        return;
    }
    match key {
        Part::Raw => peek.prompt_bytes += value.len(),
        Part::Image => peek.images = true,
        Part::Document => peek.documents = true,
        Part::Audio => peek.audio = true,
        Part::Video => peek.video = true,
        Part::Signature
        | Part::Signatures
        | Part::Calls
        | Part::Id
        | Part::CallId
        | Part::FileId
        | Part::Role
        | Part::Type
        | Part::Content
        | Part::Source
        | Part::Other => {}
    }
}

/// A document may come as text or as blocks, which are prompt; what comes as base64 or an address is not counted. The provider refuses other
/// shapes in its own words.
fn source(peek: &mut Peek, value: &str) -> Result<(), Broken> {
    let (mut is_text, mut text, mut data) = (false, None, None);
    let mut walk = Walk::of(value);
    if walk.start() != Start::Object {
        return Ok(());
    }
    walk.members(|walk, name| {
        let name = name.text()?;
        if matches!(&*name, "content" | "blocks") {
            return content(peek, walk);
        }
        let value = Some(walk.value()?).filter(|value| *value != "null");
        match &*name {
            "type" => is_text = value == Some("\"text\""),
            "data" => data = value,
            "text" => text = value,
            _ => {}
        }
        Ok::<(), Broken>(())
    })?;
    if is_text {
        let text = data.or(text);
        peek.prompt_bytes += text.map_or(0, |t| t.len().saturating_sub(2));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dialect: DialectName, body: &str) -> Result<Peek, Fault> {
        peek(dialect, &Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn a_chat_request_is_read_in_any_order_of_its_fields() {
        let body = r#" {"tools":[{"a":1}],"messages":[{"role":"system","content":"abc"},
            {"content":[{"image_url":{"url":"x"},"type":"image_url"},{"type":"text","text":"d\n"}],"role":"user"},
            {"role":"assistant","content":null,"audio":null,"tool_calls":[1]}],
            "stream_options":{"include_usage":true},"max_tokens":5,"max_completion_tokens":7,"mod\u0065l":"gpt \"x\"","stream":true}"#;
        let peek = of(DialectName::Chat, body).expect("right");
        assert_eq!(&body[peek.model_at.clone()], r#""gpt \"x\"""#);
        assert_eq!(peek.model, "gpt \"x\"");
        assert_eq!(
            (peek.max_output, peek.turns, peek.prompt_bytes),
            (Some(7), 2, 3 + 2 + 3 + 9)
        );
        assert!(peek.stream && peek.stream_usage && peek.images && peek.tools);
        assert!(!peek.audio && !peek.documents && !peek.has_thinking);
    }

    #[test]
    fn a_messages_request_counts_text_and_not_images() {
        let body = r#"{"model":"c","max_tokens":1,"system":[{"type":"text","text":"12"}],"messages":[
            {"role":"user","content":"345"},
            {"role":"assistant","content":[{"type":"thinking","thinking":"67","signature":"s"}]},
            {"role":"user","content":[{"type":"image","source":{"type":"base64","data":"AAAAAAAAAAAA"}},
              {"type":"document","source":{"data":"89","media_type":"text/plain","type":"text"}},
              {"type":"document","source":{"type":"content","content":[{"type":"text","text":"0"}]}},
              {"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"1"}]}]}]}"#;
        let peek = of(DialectName::Messages, body).expect("right");
        assert_eq!(
            (peek.prompt_bytes, peek.turns, peek.max_output),
            (11, 3, Some(1))
        );
        assert!(peek.images && peek.documents && peek.has_thinking && peek.stream_usage);
        assert!(!peek.tools && !peek.stream);
    }

    #[test]
    fn what_is_wrong_is_named() {
        use DialectName::{Chat, Messages, Native};
        let cases = [
            (Chat, r#"{"messages":[]}"#, "model", "model is missing"),
            (
                Chat,
                r#"{"model":3,"messages":[]}"#,
                "model",
                "model must be a string that is not empty",
            ),
            (
                Chat,
                r#"{"model":"","messages":[]}"#,
                "model",
                "model must be a string that is not empty",
            ),
            (Chat, r#"{"model":"m"}"#, "messages", "messages is missing"),
            (
                Chat,
                r#"{"model":"m","messages":"secret"}"#,
                "messages",
                "messages must be an array of objects",
            ),
            (
                Chat,
                r#"{"model":"m","messages":["secret"]}"#,
                "messages",
                "messages must be an array of objects",
            ),
            (
                Chat,
                r#"{"model":"m","messages":[],"stream":1}"#,
                "stream",
                "stream must be true or false",
            ),
            (
                Chat,
                r#"{"model":"m","messages":[],"max_tokens":1.5}"#,
                "max_tokens",
                "max_tokens must be a whole number",
            ),
            (
                Chat,
                r#"{"model":"m","messages":[],"model":"n"}"#,
                "model",
                "model stands twice",
            ),
            (
                Chat,
                r#"{"model":"m","messages":[],"stream_options":[]}"#,
                "stream_options",
                "stream_options must be an object whose include_usage is true or false",
            ),
            (
                Messages,
                r#"{"model":"m","messages":[]}"#,
                "max_tokens",
                "max_tokens is missing",
            ),
            (
                Messages,
                r#"{"model":"m","messages":[],"max_tokens":null}"#,
                "max_tokens",
                "max_tokens is missing",
            ),
            (Native, r#"{"model":"m"}"#, "input", "input is missing"),
            (
                Native,
                r#"{"model":"m","input":7}"#,
                "input",
                "input must be a string or an array of objects",
            ),
        ];
        for (dialect, body, field, message) in cases {
            let fault = of(dialect, body).expect_err(body);
            assert_eq!(
                (fault.class, fault.field.as_deref(), &*fault.message),
                (FaultClass::Invalid, Some(field), message),
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_not_json_is_told_with_its_place() {
        let told = |body: &[u8]| {
            peek(DialectName::Chat, &Bytes::copy_from_slice(body))
                .expect_err("wrong")
                .message
        };
        assert_eq!(
            told(b"{\"model\":\n x}"),
            "the body is not JSON: expected value at line 2 column 2"
        );
        assert!(told(b"").starts_with("the body is not JSON: EOF"));
        assert_eq!(told(b"[]"), "the body must be a JSON object");
        assert!(
            told(b"{\"model\":\"m\",\"messages\":[]} x").contains("trailing characters at line 1")
        );
        assert_eq!(told(b"{\"\xff\":1}"), "the body is not UTF-8 at byte 2");
        let deep = format!(
            "{{\"model\":\"m\",\"messages\":[{{\"content\":{}}}]}}",
            "[".repeat(100_000)
        );
        assert_eq!(
            told(deep.as_bytes()),
            "the body is nested deeper than 128 levels"
        );
        assert!(told(br#"{"\ud83d":1}"#).contains("surrogate"));
    }

    #[test]
    fn a_native_request_may_be_one_string() {
        let peek = of(
            DialectName::Native,
            r#"{"model":"m","input":"hello","max_output_tokens":9}"#,
        )
        .expect("right");
        assert_eq!(
            (peek.turns, peek.prompt_bytes, peek.max_output),
            (1, 5, Some(9))
        );
    }

    #[test]
    fn a_responses_request_tells_what_routing_needs() {
        let body = r#"{"model":"m","instructions":"abc","stream":true,"max_output_tokens":7,"tools":[{"type":"web_search"}],"input":[
            {"role":"developer","content":"de"},
            {"role":"user","content":[{"type":"input_text","text":"fgh"},{"type":"input_image","image_url":"data:x"},{"type":"input_file","file_data":"data:y"},{"type":"input_audio","input_audio":{"data":"z"}}]},
            {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"e"},
            {"type":"function_call_output","call_id":"c","output":"ijkl"}]}"#;
        let found = of(DialectName::Responses, body).expect("right");
        assert_eq!(
            (
                &*found.model,
                found.stream,
                found.stream_usage,
                found.max_output
            ),
            ("m", true, true, Some(7))
        );
        assert!(found.images && found.documents && found.audio && found.tools);
        assert!(found.has_thinking && !found.server_state && !found.video);
        assert_eq!(found.turns, 3);
        let tools = r#"[{"type":"web_search"}]"#.len();
        assert_eq!(found.prompt_bytes, tools + "abcdefghijkl".len());
        let string = of(DialectName::Responses, r#"{"model":"m","input":"abc"}"#).expect("right");
        assert_eq!((string.turns, string.prompt_bytes), (1, 3));
        of(DialectName::Responses, r#"{"model":"m"}"#).expect_err("no input");
        of(DialectName::Responses, r#"{"model":"m","input":3}"#).expect_err("no input");
    }

    #[test]
    fn what_one_account_keeps_is_seen() {
        for body in [
            r#"{"model":"m","input":"a","previous_response_id":"resp_1"}"#,
            r#"{"model":"m","conversation":{"id":"conv_1"},"previous_response_id":null}"#,
            r#"{"model":"m","prompt":{"id":"p"}}"#,
            r#"{"model":"m","input":[{"type":"item_reference","id":"msg_1"}]}"#,
            r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]}"#,
            r#"{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[]}]}"#,
        ] {
            let found = of(DialectName::Responses, body).expect("right");
            assert!(found.server_state, "{body}");
        }
        for body in [
            r#"{"model":"m","input":"a","previous_response_id":null}"#,
            r#"{"model":"m","input":[{"type":"message","id":"msg_1","role":"assistant","content":"a"}]}"#,
            r#"{"model":"m","input":[{"type":"reasoning","id":"r","summary":[],"content":[{"type":"reasoning_text","text":"t"}]}]}"#,
        ] {
            let found = of(DialectName::Responses, body).expect("right");
            assert!(!found.server_state && !found.has_thinking, "{body}");
        }
    }
}
