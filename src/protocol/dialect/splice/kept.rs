//! What must be known of a stored answer of Responses that passes when it is fetched again: what it cost, once that is said.
//!
//! Judges nothing: a body or an event that looks otherwise passes as it is and tells nothing.

use super::whole::text;
use crate::base::{Json, Str};
use crate::canon::Usage;
use crate::protocol::dialect::responses::usage;
use crate::protocol::framing::sse::SseEvent;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An answer that will not change any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub id: Str,
    /// As the provider names it.
    pub model: Str,
    /// Made without a listener: whoever fetches it first is the first to hear what it cost.
    pub background: bool,
    pub called_off: bool,
    /// `None` where it does not say, as when it was called off.
    pub usage: Option<Usage>,
}

/// OpenAI API reference, the response object, read 2026-11.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Object<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    background: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_usage: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Last<'a> {
    #[serde(borrow)]
    response: Object<'a>,
}

/// Reads a fetched answer; `None` while it is being made, and for every other body.
#[must_use]
pub fn kept(body: &Bytes) -> Option<Kept> {
    let body = Str::try_from(body.clone()).ok()?;
    let object: Object<'_> = serde_json::from_str(&body).ok()?;
    of(&body, &object)
}

/// The same of the event that ends a stream, and whether it ends one.
#[must_use]
pub fn kept_event(event: &SseEvent) -> (bool, Option<Kept>) {
    let ends: [&[u8]; 5] = [
        b"response.completed",
        b"response.incomplete",
        b"response.failed",
        b"response.cancelled",
        b"error",
    ];
    if !ends.contains(&&event.name[..]) {
        return (false, None);
    }
    let read = || {
        let body = Str::try_from(event.data.clone()).ok()?;
        let last: Last<'_> = serde_json::from_str(&body).ok()?;
        of(&body, &last.response)
    };
    (true, read())
}

fn of(body: &Str, object: &Object<'_>) -> Option<Kept> {
    let status = text(body, object.status.map(RawValue::get))?;
    if matches!(&*status, "queued" | "in_progress") {
        return None;
    }
    let tools = object.tool_usage.map(|raw| Json::within(body, raw));
    let said = object.usage.filter(|raw| raw.get() != "null");
    let used = said.and_then(|raw| usage::read(Json::within(body, raw), tools.as_ref()));
    Some(Kept {
        id: text(body, object.id.map(RawValue::get))?,
        model: text(body, object.model.map(RawValue::get)).unwrap_or_default(),
        called_off: status == "cancelled",
        background: object.background.is_some_and(|raw| raw.get() == "true"),
        usage: used.map(|used| Usage {
            service_tier: text(body, object.service_tier.map(RawValue::get)),
            ..used
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Tokens;

    const DONE: &str = r#"{"id":"resp_1","model":"m","status":"completed","background":true,"output":[],"usage":{"input_tokens":5,"output_tokens":2}}"#;

    fn read(body: &str) -> Option<Kept> {
        kept(&Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn what_an_answer_cost_is_read_once_it_is_over() {
        let done = read(DONE).expect("over");
        assert_eq!(
            (&*done.id, &*done.model, done.background),
            ("resp_1", "m", true)
        );
        assert_eq!(done.usage.expect("usage").output, Some(Tokens(2)));
        let silent = DONE.replace(r#"{"input_tokens":5,"output_tokens":2}"#, "null");
        assert_eq!(read(&silent).expect("over").usage, None);
        for body in [
            DONE.replace("completed", "in_progress"),
            DONE.replace("completed", "queued"),
            r#"{"id":"resp_1","object":"response","deleted":true}"#.to_owned(),
            r#"{"object":"list","data":[]}"#.to_owned(),
            "[]".to_owned(),
            "<html>".to_owned(),
            String::new(),
        ] {
            assert_eq!(read(&body), None, "{body}");
        }
    }

    #[test]
    fn the_last_event_tells_the_same() {
        let event = |name: &'static str, data: String| SseEvent {
            name: name.into(),
            data: data.into(),
            ..SseEvent::default()
        };
        let last = event("response.completed", format!("{{\"response\":{DONE}}}"));
        assert_eq!(kept_event(&last), (true, read(DONE)));
        let delta = event("response.output_text.delta", "not json".to_owned());
        assert_eq!(kept_event(&delta), (false, None));
        assert_eq!(kept_event(&event("error", "{}".to_owned())), (true, None));
    }
}
