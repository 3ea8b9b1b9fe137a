//! One folder a grammar, the same four files in each; here is the match that picks.
//!
//! Facing down (towards clients) we read requests and write events; facing up (towards providers) we write requests and read
//! events. Each dialect translates to and from canon once in each direction, so any pair of them translates.

mod asides;
pub mod chat;
pub mod completions;
pub mod converse;
mod counts;
pub mod elements;
pub mod embeddings;
pub mod gemini;
pub mod messages;
pub mod native;
pub mod replay;
pub mod numbers;
mod packed_ids;
pub mod responses;
mod rules;
/// What only its maker can read.
pub mod seals;
pub mod splice;
#[cfg(test)]
pub(crate) mod tests;
pub mod transcripts;
mod unread;

use crate::base::{NanoUsd, Str};
use crate::canon::{Answer, DialectName, Event, Fault, Malformed, Request};
use crate::protocol::framing::sse::SseEvent;
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// What a request is written for: the endpoint's own name of the model, and what must be asked of it.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The provider's id of the model.
    pub model: &'a str,
    /// Whether the provider shall stream, whatever the client asked for.
    pub stream: bool,
    /// Output limit to ask for where the dialect demands one (Messages) and the client gave none.
    pub max_output_default: u64,
    pub rules: &'a Rules,
}

/// What a model does not take, and what then happens; from the catalogue (`drop_params` and its like).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Numbers that are brought into what the model takes, by canon's names, with the least and the most.
    pub clamp: Vec<(String, f64, f64)>,
    /// Parameters by canon's names (`temperature`, `seed`, `logit_bias`, …) that are left out and reported instead of refused.
    pub drop: Vec<String>,
    /// Parameters that the model does not take and that are refused with a 400 unless dropped.
    pub refuse: Vec<String>,
    /// True for models whose thinking is asked for by budget (`thinking.type: enabled`), not adaptively.
    pub thinking_budget: bool,
    /// Models that take `max_tokens` but not `max_completion_tokens` (older speakers of Chat Completions).
    pub legacy_max_tokens: bool,
}

/// What was asked for and left out by rule, by the client's own field names; told in the header `x-stokehold-dropped`.
pub type Dropped = Vec<String>;

/// What an answer says about itself towards the client.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// Our id of the exchange (`x-stokehold-id`), the native dialect's `response_id`.
    pub id: Str,
    /// Seconds since 1970.
    pub created: i64,
    /// The model as the client named it.
    pub model: Str,
    /// The endpoint that answers, as `provider/name`, and why, for the native dialect.
    pub endpoint: Str,
    pub decision: Str,
    /// Whether a streaming client asked for the usage message.
    pub stream_usage: bool,
    /// The client's `request_id` on a WebSocket.
    pub request_id: Option<Str>,
    /// True on a WebSocket: events are bare JSON texts, one a message, without SSE framing.
    pub bare: bool,
    /// The client's stream is a JSON array and not SSE (Gemini without `alt=sse`).
    pub array: bool,
    /// What was left out of the request by rule, where no header can say so.
    pub dropped: Dropped,
    /// What a response object of Responses repeats of its request.
    pub echo: responses::Echo,
}

/// What is known when an answer ends.
#[derive(Clone, Debug, Default)]
pub struct Closing {
    pub cost: NanoUsd,
    /// From the request's last byte to the first byte of the answer.
    pub first_byte: Option<Duration>,
    pub total: Duration,
}

/// Reads a client's request.
pub fn read_request(dialect: DialectName, body: &Bytes) -> Result<Request, Fault> {
    let mut request = match dialect {
        DialectName::Native => native::request::read(body),
        DialectName::Chat => chat::request::read(body),
        DialectName::Messages => messages::request::read(body),
        DialectName::Responses => responses::request::read(body),
        DialectName::Gemini => gemini::request::read(body),
        DialectName::Completions => completions::read(body),
        DialectName::Converse => converse::request::read(body),
    }?;
    request.dialect = Some(dialect);
    packed_ids::take_apart(&mut request);
    unread::note(dialect, body, &mut request);
    Ok(request)
}

/// Writes a request for a provider. `Err` names what this dialect, or the target's model, cannot say.
pub fn write_request(
    dialect: DialectName,
    request: &Request,
    target: &Target<'_>,
) -> Result<(Bytes, Dropped), Fault> {
    let mut applied = None;
    let mut told = Dropped::new();
    if target.rules.bites(request) {
        let mut changed = request.clone();
        told = target.rules.apply(&mut changed);
        applied = Some(changed);
    }
    // Our own dialect can say these too.
    if dialect != DialectName::Native && request.extra.iter().any(unread::is_noted) {
        let changed = applied.get_or_insert_with(|| request.clone());
        told.extend(unread::take(changed));
    }
    if asides::stand(request, dialect) {
        let changed = applied.get_or_insert_with(|| request.clone());
        told.extend(asides::leave_out(changed, dialect));
    }
    let request = applied.as_ref().unwrap_or(request);
    if request.dialect == Some(DialectName::Completions) && dialect != DialectName::Completions {
        completions::is_one_text(request)?;
    }
    let (body, dropped) = match dialect {
        DialectName::Native => native::request::write(request, target),
        DialectName::Chat => chat::request::write(request, target),
        DialectName::Messages => messages::request::write(request, target),
        DialectName::Responses => responses::request::write(request, target),
        DialectName::Gemini => gemini::request::write(request, target),
        DialectName::Completions => completions::write(request, target),
        DialectName::Converse => converse::request::write(request, target),
    }?;
    let new = dropped
        .into_iter()
        .filter(|name| !told.contains(name))
        .collect::<Vec<_>>();
    told.extend(new);
    Ok((body, told))
}

/// Reads one provider's answer. One value an attempt.
#[derive(Debug)]
pub enum Decoder {
    Native(native::events::Decoder),
    Chat(chat::events::Decoder),
    Messages(messages::events::Decoder),
    Responses(responses::events::Decoder),
    Gemini(gemini::events::Decoder),
    Completions(completions::Decoder),
    Converse(converse::events::Decoder),
}

impl Decoder {
    #[must_use]
    pub fn new(dialect: DialectName) -> Self {
        match dialect {
            DialectName::Native => Self::Native(native::events::Decoder::default()),
            DialectName::Chat => Self::Chat(chat::events::Decoder::default()),
            DialectName::Messages => Self::Messages(messages::events::Decoder::default()),
            DialectName::Responses => Self::Responses(responses::events::Decoder::default()),
            DialectName::Gemini => Self::Gemini(gemini::events::Decoder::default()),
            DialectName::Completions => Self::Completions(completions::Decoder::default()),
            DialectName::Converse => Self::Converse(converse::events::Decoder::default()),
        }
    }

    /// Appends to `out` what `sse` means, which may be nothing. Events in order; after an `Err` the attempt is broken.
    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<(), Malformed> {
        match self {
            Self::Native(d) => d.event(sse, out),
            Self::Chat(d) => d.event(sse, out),
            Self::Messages(d) => d.event(sse, out),
            Self::Responses(d) => d.event(sse, out),
            Self::Gemini(d) => d.event(sse, out),
            Self::Completions(d) => d.event(sse, out),
            Self::Converse(d) => d.event(sse, out),
        }
    }

    /// An answer that came in one body (not streamed), as events, `Done` included.
    pub fn whole(&mut self, body: &Bytes, out: &mut Vec<Event>) -> Result<(), Malformed> {
        match self {
            Self::Native(d) => d.whole(body, out),
            Self::Chat(d) => d.whole(body, out),
            Self::Messages(d) => d.whole(body, out),
            Self::Responses(d) => d.whole(body, out),
            Self::Gemini(d) => d.whole(body, out),
            Self::Completions(d) => d.whole(body, out),
            Self::Converse(d) => d.whole(body, out),
        }
    }

    /// The stream ended. Appends what was held back. `Err` when the provider's end mark (`[DONE]`, `message_stop`, a finish
    /// reason for every choice) is missing: an answer that was cut is never passed on as whole.
    pub fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        match self {
            Self::Native(d) => d.finish(out),
            Self::Chat(d) => d.finish(out),
            Self::Messages(d) => d.finish(out),
            Self::Responses(d) => d.finish(out),
            Self::Gemini(d) => d.finish(out),
            Self::Completions(d) => d.finish(out),
            Self::Converse(d) => d.finish(out),
        }
    }
}

/// Writes one answer for a client, streamed. One value an exchange.
#[derive(Debug)]
pub enum Encoder {
    /// Boxed: it keeps the whole answer for its last event, and the others should not be as large.
    Native(Box<native::events::Encoder>),
    Chat(chat::events::Encoder),
    Messages(messages::events::Encoder),
    /// Boxed for the same reason.
    Responses(Box<responses::events::Encoder>),
    Gemini(gemini::events::Encoder),
    Completions(completions::Encoder),
    Converse(converse::events::Encoder),
}

impl Encoder {
    #[must_use]
    pub fn new(dialect: DialectName, opening: Opening) -> Self {
        match dialect {
            DialectName::Native => Self::Native(Box::new(native::events::Encoder::new(opening))),
            DialectName::Chat => Self::Chat(chat::events::Encoder::new(opening)),
            DialectName::Messages => Self::Messages(messages::events::Encoder::new(opening)),
            DialectName::Responses => {
                Self::Responses(Box::new(responses::events::Encoder::new(opening)))
            }
            DialectName::Gemini => Self::Gemini(gemini::events::Encoder::new(opening)),
            DialectName::Completions => Self::Completions(completions::Encoder::new(opening)),
            DialectName::Converse => Self::Converse(converse::events::Encoder::new(opening)),
        }
    }

    /// Appends `event` in the client's words. `Done` and `Error` append nothing: `finish` or `fail` follows them.
    pub fn event(&mut self, event: &Event, out: &mut BytesMut) {
        match self {
            Self::Native(e) => e.event(event, out),
            Self::Chat(e) => e.event(event, out),
            Self::Messages(e) => e.event(event, out),
            Self::Responses(e) => e.event(event, out),
            Self::Gemini(e) => e.event(event, out),
            Self::Completions(e) => e.event(event, out),
            Self::Converse(e) => e.event(event, out),
        }
    }

    /// Appends the dialect's good end: usage where it is due, and the end mark.
    pub fn finish(&mut self, closing: &Closing, out: &mut BytesMut) {
        match self {
            Self::Native(e) => e.finish(closing, out),
            Self::Chat(e) => e.finish(closing, out),
            Self::Messages(e) => e.finish(closing, out),
            Self::Responses(e) => e.finish(closing, out),
            Self::Gemini(e) => e.finish(closing, out),
            Self::Completions(e) => e.finish(closing, out),
            Self::Converse(e) => e.finish(closing, out),
        }
    }

    /// Appends the dialect's error event, after which the stream ends.
    pub fn fail(&mut self, fault: &Fault, closing: &Closing, out: &mut BytesMut) {
        match self {
            Self::Native(e) => e.fail(fault, closing, out),
            Self::Chat(e) => e.fail(fault, closing, out),
            Self::Messages(e) => e.fail(fault, closing, out),
            Self::Responses(e) => e.fail(fault, closing, out),
            Self::Gemini(e) => e.fail(fault, closing, out),
            Self::Completions(e) => e.fail(fault, closing, out),
            Self::Converse(e) => e.fail(fault, closing, out),
        }
    }

    /// The whole answer as its last event told it, where the dialect's last event does; empty before that.
    #[must_use]
    pub fn told(&self) -> Option<&Bytes> {
        match self {
            Self::Responses(e) => Some(e.told()).filter(|told| !told.is_empty()),
            Self::Native(_)
            | Self::Chat(_)
            | Self::Messages(_)
            | Self::Gemini(_)
            | Self::Completions(_)
            | Self::Converse(_) => None,
        }
    }

    /// Goes on with a stream of which others wrote the first `events`: where the dialect numbers them or begins with one, that is not done
    /// again.
    #[must_use]
    pub fn after(dialect: DialectName, opening: Opening, events: u64) -> Self {
        match dialect {
            DialectName::Responses if events > 0 => {
                Self::Responses(Box::new(responses::events::Encoder::after(opening, events)))
            }
            DialectName::Native if events > 0 => {
                Self::Native(Box::new(native::events::Encoder::after(opening, events)))
            }
            dialect => Self::new(dialect, opening),
        }
    }

    /// Names of what the answer held and this dialect has no words for, each once.
    #[must_use]
    pub fn dropped(&self) -> &[String] {
        match self {
            Self::Native(e) => e.dropped(),
            Self::Chat(e) => e.dropped(),
            Self::Messages(e) => e.dropped(),
            Self::Responses(e) => e.dropped(),
            Self::Gemini(e) => e.dropped(),
            Self::Completions(e) => e.dropped(),
            Self::Converse(e) => e.dropped(),
        }
    }
}

/// The body of an answer that is not streamed.
#[must_use]
pub fn write_answer(
    dialect: DialectName,
    answer: &Answer,
    opening: &Opening,
    closing: &Closing,
) -> Bytes {
    let packed = packed_ids::packed_answer(dialect, answer);
    let answer = packed.as_ref().unwrap_or(answer);
    match dialect {
        DialectName::Native => native::events::write_whole(answer, opening, closing),
        DialectName::Chat => chat::events::write_whole(answer, opening, closing),
        DialectName::Messages => messages::events::write_whole(answer, opening, closing),
        DialectName::Responses => responses::events::write_whole(answer, opening, closing),
        DialectName::Gemini => gemini::events::write_whole(answer, opening, closing),
        DialectName::Completions => completions::write_whole(answer, opening, closing),
        DialectName::Converse => converse::events::write_whole(answer, opening, closing),
    }
}

/// What a provider's refusal (any status but 2xx) means. Total: HTML, empty bodies and arrays are somebody's answer too.
#[must_use]
pub fn read_error(dialect: DialectName, status: u16, body: &[u8]) -> Fault {
    match dialect {
        DialectName::Native => native::errors::read(status, body),
        DialectName::Chat | DialectName::Completions => chat::errors::read(status, body),
        DialectName::Messages => messages::errors::read(status, body),
        DialectName::Responses => responses::errors::read(status, body),
        DialectName::Gemini => gemini::errors::read(status, body),
        DialectName::Converse => converse::errors::read(status, body),
    }
}

/// Whether clients of `dialect` find in a refusal's body what they look for, so that it may pass as it is. Providers that speak a dialect may
/// refuse in a shape of their own: xAI's `{"code", "error"}` (both strings; xAI docs, debugging, read 2026-08) shows in OpenAI's client as a status without a reason.
fn is_refusal(dialect: DialectName, body: &[u8]) -> bool {
    let Ok(said) = serde_json::from_slice::<serde_json::Value>(body) else {
        return false;
    };
    let error = &said["error"];
    let is_told = error["message"].is_string();
    match dialect {
        DialectName::Messages => is_told && error["type"].is_string() && said["type"] == "error",
        DialectName::Gemini => is_told && error["code"].is_u64(),
        _ => is_told,
    }
}

/// A refusal's body as clients of `dialect` read it: as it is, or with what is missing or of another type put right; `None` where nothing in it is
/// where they look, so that our own words are due. `fault` is what the body was read as.
#[must_use]
pub fn own_refusal(dialect: DialectName, fault: &Fault, body: &[u8]) -> Option<Bytes> {
    match dialect {
        DialectName::Chat | DialectName::Completions | DialectName::Responses => {
            chat::mend::mended(fault, body)
        }
        _ => is_refusal(dialect, body).then(|| Bytes::copy_from_slice(body)),
    }
}

/// Status and body of our refusal. `id` is the exchange's.
#[must_use]
pub fn write_error(dialect: DialectName, fault: &Fault, id: &str) -> (u16, Bytes) {
    match dialect {
        DialectName::Native => native::errors::write(fault, id),
        DialectName::Chat | DialectName::Completions => chat::errors::write(fault, id),
        DialectName::Messages => messages::errors::write(fault, id),
        DialectName::Responses => responses::errors::write(fault, id),
        DialectName::Gemini => gemini::errors::write(fault, id),
        DialectName::Converse => converse::errors::write(fault, id),
    }
}
