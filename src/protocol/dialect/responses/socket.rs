//! What a client says on a WebSocket of Responses, one JSON text a message; what we say there beside answers; and what of an answer the
//! next request on the connection may build upon (OpenAI docs, WebSocket mode, read 2026-11; types of SDK 3.54.0).
//!
//! A request's fields are not read here but for those that belong to the connection; they become the body that HTTP would have had.
//! Knows nothing of lanes that run, nor of what is kept: that is the session's.

use super::errors;
use super::schema::{Response, StreamEvent, word};
use crate::base::{Json, Str};
use crate::canon::Fault;
use crate::protocol::dialect::chat::schema::text;
use crate::protocol::dialect::native::schema::Fields;
use crate::protocol::framing::websocket;
use crate::protocol::json;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// A client's message.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    Create(Box<Create>),
    /// Words for an answer that is under way.
    Steer {
        previous: Option<Str>,
        input: Json,
    },
    /// Codex CLI says so of an answer that it has taken in (openai/codex, `responses_websocket.rs`, read 2026-11). Asks for nothing.
    Processed,
}

/// A message that is refused; the connection goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The lane that was meant, as far as it could be read.
    pub lane: Option<Str>,
    pub fault: Fault,
}

/// A request for an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// `stream_id`; `None` is the default lane.
    pub lane: Option<Str>,
    /// `previous_response_id`.
    pub previous: Option<Str>,
    /// False: the state is wanted, and no answer.
    pub generate: bool,
    /// False: the provider shall keep nothing.
    pub store: bool,
    /// Empty when it was not said.
    pub model: Str,
    /// It names a stored conversation or prompt, whose items only the provider knows.
    pub stateful: bool,
    /// What HTTP's body would hold, in the client's order.
    fields: Vec<(Str, Json)>,
}

/// What the next request may build upon: an answer's own id, and how to say again all that led to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    pub id: Str,
    /// What the provider keeps of the beginning, by its id.
    pub base: Option<Str>,
    /// Items of input, comma-separated, after that.
    pub items: Vec<Bytes>,
}

impl Kept {
    /// Bytes that are kept of items.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.items.iter().map(Bytes::len).sum()
    }
}

/// A body, and the items in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// May be replaced by the same bytes held otherwise.
    pub bytes: Bytes,
    items: Items,
}

impl Body {
    /// All items of its input, comma-separated; a slice of it where they are written so. The second is true then.
    #[must_use]
    pub fn items(&self) -> (Bytes, bool) {
        match &self.items {
            Items::Nowhere => (Bytes::new(), true),
            Items::Within(range) => (self.bytes.slice(range.clone()), true),
            Items::Own(own) => (own.clone(), false),
        }
    }
}

/// Reads one text message.
pub fn read(message: &Str) -> Result<ClientMessage, Refused> {
    let mut lane = None;
    let read = Fields::top(message).and_then(|mut f| {
        lane = lane_of(&mut f)?;
        match &*f.text_needed("type")? {
            "response.create" => create(f, lane.clone()),
            "response.steer" => Ok(ClientMessage::Steer {
                previous: f.text("previous_response_id")?,
                input: f.peek_json("input"),
            }),
            "response.processed" => Ok(ClientMessage::Processed),
            _ => Err(f.fault("type", "must be response.create or response.steer")),
        }
    });
    read.map_err(|fault| Refused { lane, fault })
}

/// An empty string is no lane; the default one is chosen by saying none (OpenAI docs, WebSocket mode, read 2026-11).
fn lane_of(f: &mut Fields<'_>) -> Result<Option<Str>, Fault> {
    let wrong = || {
        let message = "stream_id must be a string of 1 to 256 letters, digits, underscores, hyphens and periods";
        Fault::invalid("stream_id", message).with_code("invalid_stream_id")
    };
    let lane = f.text("stream_id").map_err(|_| wrong())?;
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    match lane {
        Some(l) if !(1..=256).contains(&l.len()) || !l.bytes().all(letter) => Err(wrong()),
        lane => Ok(lane),
    }
}

fn create(mut f: Fields<'_>, lane: Option<Str>) -> Result<ClientMessage, Fault> {
    // OpenAI API reference, Responses WebSocket events, read 2026-11: `stream` goes without saying, and `background` is not supported.
    if f.boolean("background")? == Some(true) {
        let what = "is not served on a WebSocket; use POST /v1/responses";
        return Err(f.fault("background", what));
    }
    f.raw("stream");
    let previous = f.text("previous_response_id")?;
    let generate = f.boolean("generate")?.unwrap_or(true);
    let rest: Vec<(Str, Json)> = f.rest();
    let find = |name: &str| rest.iter().find(|(n, _)| n == name).map(|(_, json)| json);
    let said = |name: &str| find(name).filter(|json| json.get() != "null");
    if said("input").is_some_and(|json| !json.get().starts_with(['[', '"'])) {
        return Err(Fault::invalid(
            "input",
            "input must be a string or an array",
        ));
    }
    // The API's default is to store.
    let store = said("store").is_none_or(|json| json.get() != "false");
    let model = said("model").and_then(|json| json.read::<String>());
    let stateful = said("conversation").is_some() || said("prompt").is_some();
    Ok(ClientMessage::Create(Box::new(Create {
        lane,
        previous,
        generate,
        store,
        model: model.map(Str::from).unwrap_or_default(),
        stateful,
        fields: rest,
    })))
}

impl Create {
    /// HTTP's body for it, after what `before` says again.
    #[must_use]
    pub fn body(&self, before: Option<&Kept>) -> Body {
        let kept = before.map_or(0, Kept::bytes);
        let own: usize = self
            .fields
            .iter()
            .map(|(n, j)| n.len() + j.get().len() + 6)
            .sum();
        let mut out = BytesMut::with_capacity(kept + own + 256);
        out.extend_from_slice(b"{");
        let mut items = Items::Nowhere;
        for (name, value) in &self.fields {
            json::comma(&mut out);
            json::string(name, &mut out);
            out.extend_from_slice(b":");
            match &**name {
                "input" => items = input(before, Some(value), &mut out),
                "include" if self.wants_seal() => include(Some(value), &mut out),
                _ => out.extend_from_slice(value.get().as_bytes()),
            }
        }
        if matches!(items, Items::Nowhere) && before.is_some_and(|b| !b.items.is_empty()) {
            json::key("input", &mut out);
            items = input(before, None, &mut out);
        }
        if self.wants_seal() && !self.fields.iter().any(|(n, _)| n == "include") {
            json::key("include", &mut out);
            include(None, &mut out);
        }
        if let Some(base) = before.and_then(|b| b.base.as_ref()) {
            json::field("previous_response_id", base, &mut out);
        }
        json::key("stream", &mut out);
        out.extend_from_slice(b"true}");
        Body {
            bytes: out.freeze(),
            items,
        }
    }

    /// Whether what the model thinks must come sealed, so that it can be given back: of an answer that its provider does not keep, and
    /// only where the client speaks of reasoning itself, since models without refuse to be asked for it (OpenAI docs, reasoning, encrypted
    /// reasoning items, read 2026-11; the refusal is from general knowledge, not looked up).
    fn wants_seal(&self) -> bool {
        let reasons = |(name, json): &(Str, Json)| name == "reasoning" && json.get() != "null";
        !self.store && self.fields.iter().any(reasons)
    }
}

/// Where the items of a body are.
#[derive(Clone, Debug, PartialEq)]
enum Items {
    Nowhere,
    Within(Range<usize>),
    Own(Bytes),
}

const SEALED: &str = "\"reasoning.encrypted_content\"";

fn include(said: Option<&Json>, out: &mut BytesMut) {
    let said = said.and_then(|json| array(json.get())).unwrap_or("");
    out.extend_from_slice(b"[");
    out.extend_from_slice(said.as_bytes());
    if !said.contains(SEALED) {
        json::comma(out);
        out.extend_from_slice(SEALED.as_bytes());
    }
    out.extend_from_slice(b"]");
}

/// What stands between the brackets.
fn array(json: &str) -> Option<&str> {
    let inner = json.strip_prefix('[')?.strip_suffix(']')?;
    Some(inner.trim_ascii())
}

/// Appends the value of `input`: what was kept, then what is new.
fn input(before: Option<&Kept>, new: Option<&Json>, out: &mut BytesMut) -> Items {
    let kept = before.map_or(&[][..], |b| &b.items);
    let new = new.map_or("null", |json| json.get());
    let listed = array(new);
    if kept.is_empty() && listed.is_none() {
        out.extend_from_slice(new.as_bytes());
        return match new {
            "null" => Items::Nowhere,
            text => Items::Own(message_of(text).freeze()),
        };
    }
    out.extend_from_slice(b"[");
    let start = out.len();
    for items in kept.iter().filter(|items| !items.is_empty()) {
        if out.len() > start {
            out.extend_from_slice(b",");
        }
        out.extend_from_slice(items);
    }
    let own = match (listed, new) {
        (Some(items), _) => BytesMut::from(items),
        (None, "null") => BytesMut::new(),
        (None, text) => message_of(text),
    };
    if !own.is_empty() {
        if out.len() > start {
            out.extend_from_slice(b",");
        }
        out.extend_from_slice(&own);
    }
    let end = out.len();
    out.extend_from_slice(b"]");
    Items::Within(start..end)
}

/// A text as input is a message of the user (OpenAI API reference, read 2026-08). `text` is JSON.
fn message_of(text: &str) -> BytesMut {
    let mut item = BytesMut::from("{");
    json::field("type", "message", &mut item);
    json::field("role", "user", &mut item);
    json::key("content", &mut item);
    item.extend_from_slice(text.as_bytes());
    item.extend_from_slice(b"}");
    item
}

/// What an answer said, for who builds upon it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    pub id: Str,
    /// Its items as the next request can hold them, comma-separated.
    pub items: Bytes,
}

/// Of the last event of an answer that passed. `done`: the events of items that were whole before, for who leaves them out at the end.
#[must_use]
pub fn said_in_event(last: &Bytes, done: &[Bytes]) -> Option<Said> {
    let event: StreamEvent<'_> = serde_json::from_slice(last).ok()?;
    let response: Response<'_> = serde_json::from_str(event.response?.get()).ok()?;
    let body = Str::try_from(last.clone()).ok()?;
    let mut items = response.items();
    if items.is_empty() {
        items.extend(done.iter().filter_map(item_of));
    }
    Some(Said {
        id: text(&body, response.id)?,
        items: joined(&items),
    })
}

fn item_of(event: &Bytes) -> Option<&RawValue> {
    let event: StreamEvent<'_> = serde_json::from_slice(event).ok()?;
    event.item
}

/// Of a response object that we wrote.
#[must_use]
pub fn said_in_response(response: &Bytes) -> Option<Said> {
    let body = Str::try_from(response.clone()).ok()?;
    let response: Response<'_> = serde_json::from_str(&body).ok()?;
    Some(Said {
        id: text(&body, response.id)?,
        items: joined(&response.items()),
    })
}

fn joined(items: &[&RawValue]) -> Bytes {
    let mut out = BytesMut::new();
    for item in items.iter().filter(|item| can_return(item)) {
        if !out.is_empty() {
            out.extend_from_slice(b",");
        }
        out.extend_from_slice(item.get().as_bytes());
    }
    out.freeze()
}

/// Whether an item of an answer can be given back to who keeps nothing: all can but reasoning that only its id stands for (OpenAI docs,
/// conversation state and reasoning, read 2026-11: the output is appended to the input as it is).
fn can_return(item: &RawValue) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Thought<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<&'a RawValue>,
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        encrypted_content: Option<&'a RawValue>,
        #[serde(borrow)]
        content: Option<&'a RawValue>,
    }
    let Ok(thought) = serde_json::from_str::<Thought<'_>>(item.get()) else {
        return false;
    };
    let body = Str::from(item.get());
    if &*word(&body, thought.kind) != "reasoning" {
        return true;
    }
    let is = |raw: Option<&RawValue>| {
        raw.is_some_and(|raw| !matches!(raw.get(), "null" | "\"\"" | "[]"))
    };
    is(thought.encrypted_content)
        || is(thought.content)
        || word(&body, thought.id).starts_with(super::reasoning::MADE)
}

/// Appends an event of a provider that passes, under its lane, as a frame. `Err`: not a JSON object in UTF-8, of which a client could make
/// nothing.
pub fn write_passing(data: &[u8], lane: Option<&str>, out: &mut BytesMut) -> Result<(), NotText> {
    let text = simdutf8::basic::from_utf8(data).map_err(|_| NotText)?;
    let Some(lane) = lane else {
        websocket::write_text(text, out);
        return Ok(());
    };
    let rest = text.trim_ascii_start().strip_prefix('{').ok_or(NotText)?;
    let mut under = BytesMut::with_capacity(text.len() + lane.len() + 16);
    under.extend_from_slice(b"{");
    json::field("stream_id", lane, &mut under);
    if !rest.trim_ascii_start().starts_with('}') {
        under.extend_from_slice(b",");
    }
    under.extend_from_slice(rest.as_bytes());
    websocket::write_text_bytes(&under, out);
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotText;

/// Appends an error that ends a request, or that is about none, as a frame (SDK 3.54.0, `ResponseWsError`). `id`: what the client may name
/// when it asks why; empty where there is none. `retry_after`: in whole seconds.
pub fn write_error(
    lane: Option<&str>,
    fault: &Fault,
    id: &str,
    retry_after: Option<u64>,
    out: &mut BytesMut,
) {
    let (status, body) = errors::write(fault, "");
    let mut event = BytesMut::from("{");
    json::field("type", "error", &mut event);
    json::key("status", &mut event);
    json::integer(status, &mut event);
    if let Some(lane) = lane {
        json::field("stream_id", lane, &mut event);
    }
    json::comma(&mut event);
    // `{"error":{…}}` without the outer braces and the inner one's end.
    event.extend_from_slice(&body[1..body.len() - 2]);
    if !id.is_empty() || retry_after.is_some() {
        json::key("headers", &mut event);
        event.extend_from_slice(b"{");
        if !id.is_empty() {
            json::field("x-request-id", id, &mut event);
        }
        if let Some(seconds) = retry_after {
            json::field("retry-after", &seconds.to_string(), &mut event);
        }
        event.extend_from_slice(b"}");
    }
    event.extend_from_slice(b"}}");
    websocket::write_text_bytes(&event, out);
}

/// Appends that `input` was not taken, and gives it back, as a frame (SDK 3.54.0, `ResponseSteerFailedEvent`).
pub fn write_steer_failed(
    lane: Option<&str>,
    previous: &str,
    input: &Json,
    (code, message): (&str, &str),
    out: &mut BytesMut,
) {
    let mut event = BytesMut::from("{");
    json::field("type", "response.steer.failed", &mut event);
    // It belongs to no stream of events here, so it is the first of its own.
    json::key("sequence_number", &mut event);
    json::integer(0_u8, &mut event);
    if let Some(lane) = lane {
        json::field("stream_id", lane, &mut event);
    }
    json::key("error", &mut event);
    event.extend_from_slice(b"{");
    json::field("type", "invalid_request_error", &mut event);
    json::field("code", code, &mut event);
    json::field("message", message, &mut event);
    event.extend_from_slice(b"}");
    json::key("steer", &mut event);
    event.extend_from_slice(b"{");
    json::field("previous_response_id", previous, &mut event);
    json::key("input", &mut event);
    event.extend_from_slice(input.get().as_bytes());
    event.extend_from_slice(b"}}");
    websocket::write_text_bytes(&event, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json as value};

    fn created(text: &str) -> Box<Create> {
        match read(&text.into()) {
            Ok(ClientMessage::Create(create)) => create,
            other => panic!("{other:?}"),
        }
    }

    fn parsed(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{e}: {bytes:?}"))
    }

    #[test]
    fn a_request_becomes_the_body_that_http_would_have() {
        let create = created(
            r#"{"type":"response.create","stream_id":"a.b-c_1","model":"m","new":{"x": 1.50},"stream":false,"background":null,"generate":true,"input":"hi","store":false}"#,
        );
        assert_eq!(
            (
                create.lane.as_deref(),
                create.store,
                create.generate,
                &*create.model
            ),
            (Some("a.b-c_1"), false, true, "m")
        );
        let body = create.body(None);
        assert_eq!(
            &body.bytes[..],
            br#"{"model":"m","new":{"x": 1.50},"input":"hi","store":false,"stream":true}"#
        );
        assert_eq!(
            parsed(&body.items().0),
            value!({"type": "message", "role": "user", "content": "hi"})
        );
    }

    #[test]
    fn what_was_kept_stands_before_what_is_new() {
        let first = created(
            r#"{"type":"response.create","model":"m","input":[ {"role":"user","content":"a"} ]}"#,
        );
        let body = first.body(None);
        let kept = Kept {
            id: "resp_1".into(),
            base: Some("resp_0".into()),
            items: vec![body.items().0, Bytes::from_static(br#"{"type":"message"}"#)],
        };
        for (input, new) in [
            (
                r#""input":"b","#,
                Some(value!({"type": "message", "role": "user", "content": "b"})),
            ),
            (
                r#""input":[{"type":"function_call_output"}],"#,
                Some(value!({"type": "function_call_output"})),
            ),
            (r#""input":[],"#, None),
            (r#""input":null,"#, None),
            ("", None),
        ] {
            let text = format!(
                r#"{{"type":"response.create","previous_response_id":"resp_1",{input}"model":"m"}}"#
            );
            let body = created(&text).body(Some(&kept));
            let whole = parsed(&body.bytes);
            let mut want = vec![
                value!({"role": "user", "content": "a"}),
                value!({"type": "message"}),
            ];
            want.extend(new);
            assert_eq!(whole["input"], Value::Array(want.clone()), "{input}");
            assert_eq!(whole["previous_response_id"], "resp_0");
            let items = [b"[", &body.items().0[..], b"]"].concat();
            assert_eq!(parsed(&items), Value::Array(want), "{input}");
        }
    }

    #[test]
    fn thoughts_that_nobody_keeps_are_asked_for_sealed() {
        let asked = |more: &str| {
            let text = format!(r#"{{"type":"response.create","model":"m","input":"x",{more}}}"#);
            parsed(&created(&text).body(None).bytes)["include"].clone()
        };
        let sealed = value!(["reasoning.encrypted_content"]);
        assert_eq!(
            asked(r#""store":false,"reasoning":{"effort":"low"}"#),
            sealed
        );
        assert_eq!(
            asked(r#""store":false,"reasoning":{},"include":null"#),
            sealed
        );
        assert_eq!(
            asked(r#""store":false,"reasoning":{},"include":["a"]"#),
            value!(["a", "reasoning.encrypted_content"])
        );
        assert_eq!(
            asked(r#""store":false,"reasoning":{},"include":["reasoning.encrypted_content"]"#),
            sealed
        );
        assert_eq!(asked(r#""store":false"#), Value::Null);
        assert_eq!(asked(r#""reasoning":{}"#), Value::Null);
    }

    #[test]
    fn a_wrong_message_says_which_lane_and_what() {
        for (text, lane, field, code) in [
            ("{", None, None, None),
            ("[]", None, None, None),
            (r#"{"stream_id":"a"}"#, Some("a"), Some("type"), None),
            (
                r#"{"type":"response.cancel","stream_id":"a"}"#,
                Some("a"),
                Some("type"),
                None,
            ),
            (
                r#"{"type":"response.create","stream_id":""}"#,
                None,
                Some("stream_id"),
                Some("invalid_stream_id"),
            ),
            (
                r#"{"type":"response.create","stream_id":"ö"}"#,
                None,
                Some("stream_id"),
                Some("invalid_stream_id"),
            ),
            (
                r#"{"type":"response.create","stream_id":7}"#,
                None,
                Some("stream_id"),
                Some("invalid_stream_id"),
            ),
            (
                r#"{"type":"response.create","background":true}"#,
                None,
                Some("background"),
                None,
            ),
            (
                r#"{"type":"response.create","input":7}"#,
                None,
                Some("input"),
                None,
            ),
            (
                r#"{"type":"response.create","model":"m","model":"n"}"#,
                None,
                Some("model"),
                None,
            ),
            (
                r#"{"type":"response.create","generate":"no"}"#,
                None,
                Some("generate"),
                None,
            ),
        ] {
            let refused = read(&text.into()).expect_err(text);
            let fault = refused.fault;
            assert_eq!(
                (
                    refused.lane.as_deref(),
                    fault.field.as_deref(),
                    fault.code.as_deref()
                ),
                (lane, field, code),
                "{text}"
            );
        }
        assert_eq!(
            read(&r#"{"type":"response.processed","response_id":"r"}"#.into()),
            Ok(ClientMessage::Processed)
        );
    }

    #[test]
    fn all_of_an_answer_can_be_given_back_but_thoughts_that_only_an_id_stands_for() {
        let message = r#"{"type":"message","id":"msg_1","content":[]}"#;
        let bare = r#"{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"s"}],"encrypted_content":null}"#;
        let sealed = r#"{"type":"reasoning","id":"rs_2","summary":[],"encrypted_content":"gAAA"}"#;
        let made = r#"{"type":"reasoning","id":"rs_made_x_0","summary":[]}"#;
        let response = format!(r#"{{"id":"resp_1","output":[{bare},{message},{sealed},{made}]}}"#);
        let said = Said {
            id: "resp_1".into(),
            items: format!("{message},{sealed},{made}").into(),
        };
        assert_eq!(
            said_in_response(&response.clone().into()),
            Some(said.clone())
        );
        let event = format!(r#"{{"type":"response.completed","response":{response}}}"#);
        assert_eq!(said_in_event(&event.into(), &[]), Some(said));
        // The end may leave out what was told before.
        let done = format!(r#"{{"type":"response.output_item.done","item":{message}}}"#);
        let event = r#"{"type":"response.completed","response":{"id":"resp_2","output":[]}}"#;
        let said = said_in_event(&event.into(), &[done.into()]).expect("an answer");
        assert_eq!((&*said.id, &said.items[..]), ("resp_2", message.as_bytes()));
        assert_eq!(said_in_event(&Bytes::from_static(b"{}"), &[]), None);
    }

    fn heard(out: BytesMut) -> Value {
        let mut socket = websocket::Socket::new(websocket::Side::Client, 10_000);
        socket.feed(out.freeze());
        match socket.next() {
            Ok(Some(websocket::Message::Text(text))) => parsed(text.as_bytes()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_pass_under_their_lane() {
        for (data, lane, want) in [
            (
                r#"{"type":"x","n":1.0}"#,
                None,
                value!({"type": "x", "n": 1.0}),
            ),
            (
                r#" {"type":"x"}"#,
                Some("a"),
                value!({"stream_id": "a", "type": "x"}),
            ),
            ("{ }", Some("a"), value!({"stream_id": "a"})),
        ] {
            let mut out = BytesMut::new();
            assert_eq!(write_passing(data.as_bytes(), lane, &mut out), Ok(()));
            assert_eq!(heard(out), want);
        }
        let mut out = BytesMut::new();
        assert_eq!(write_passing(b"{\"\xff\"}", None, &mut out), Err(NotText));
        assert_eq!(write_passing(b"[DONE]", Some("a"), &mut out), Err(NotText));
        assert!(out.is_empty());
    }

    #[test]
    fn errors_are_those_of_the_api() {
        let mut out = BytesMut::new();
        let fault =
            Fault::invalid("previous_response_id", "m").with_code("previous_response_not_found");
        write_error(Some("main"), &fault, "", None, &mut out);
        assert_eq!(
            heard(out),
            value!({"type": "error", "status": 400, "stream_id": "main", "error": {
                "type": "invalid_request_error", "code": "previous_response_not_found", "message": "m", "param": "previous_response_id"}})
        );
        let mut out = BytesMut::new();
        let fault = Fault::new(crate::canon::FaultClass::RateLimited, "m");
        write_error(None, &fault, "stk_1", Some(3), &mut out);
        assert_eq!(
            heard(out),
            value!({"type": "error", "status": 429, "error": {
                "type": "requests", "code": "rate_limit_exceeded", "message": "m", "param": null,
                "headers": {"x-request-id": "stk_1", "retry-after": "3"}}})
        );
        let mut out = BytesMut::new();
        let input = Json::parse(r#"[{"role":"user"}]"#.into()).expect("JSON");
        write_steer_failed(
            Some("a"),
            "resp_1",
            &input,
            ("steering_not_supported", "m"),
            &mut out,
        );
        assert_eq!(
            heard(out),
            value!({"type": "response.steer.failed", "sequence_number": 0, "stream_id": "a",
                "error": {"type": "invalid_request_error", "code": "steering_not_supported", "message": "m"},
                "steer": {"previous_response_id": "resp_1", "input": [{"role": "user"}]}})
        );
    }
}
