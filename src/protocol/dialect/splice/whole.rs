//! What must be known of an answer that passes in one body.
//!
//! The ordinary answer is read for its usage alone, in one pass that builds nothing; whatever looks different in any way goes to the
//! dialect's decoder, so that there is one truth about what is odd.

use super::is_lifted;
use crate::base::{Json, Str, slice_of};
use crate::canon::{DialectName, Event, Malformed, Usage};
use crate::protocol::dialect::{Decoder, chat, messages};
use crate::protocol::json::walk::{Broken, Walk};
use bytes::Bytes;

/// Appends `Started`, `Usage` and `Done`, or `Error`; stops are not told, the client reads them itself. `Err` as the decoder's.
pub fn lift_whole(
    dialect: DialectName,
    body: &Bytes,
    out: &mut Vec<Event>,
) -> Result<(), Malformed> {
    let events = match dialect {
        DialectName::Chat => chat_answer(body),
        DialectName::Messages => message(body),
        _ => None,
    };
    if let Some(events) = events {
        out.extend(events);
        return Ok(());
    }
    let mut all = Vec::new();
    let read = Decoder::new(dialect).whole(body, &mut all);
    out.extend(all.into_iter().filter(is_told));
    read
}

fn is_told(event: &Event) -> bool {
    is_lifted(event) && !matches!(event, Event::Stop { .. })
}

/// What is read of an answer: members as they are written; `None` for one that is not there or null.
#[derive(Default)]
struct Members<'a> {
    kind: Option<&'a str>,
    object: Option<&'a str>,
    id: Option<&'a str>,
    model: Option<&'a str>,
    created: Option<&'a str>,
    service_tier: Option<&'a str>,
    /// `choices`, or the `content` of a message.
    said: Option<&'a str>,
    usage: Option<&'a str>,
    error: Option<&'a str>,
}

impl<'a> Members<'a> {
    /// `None` for what is no JSON object, and for one that says a thing twice.
    fn of(text: &'a str, said: &str) -> Option<Self> {
        let (mut walk, mut members) = (Walk::of(text), Self::default());
        let read = walk.members(|walk, name| {
            let place = match &*name.text()? {
                "type" => &mut members.kind,
                "object" => &mut members.object,
                "id" => &mut members.id,
                "model" => &mut members.model,
                "created" => &mut members.created,
                "service_tier" => &mut members.service_tier,
                "usage" => &mut members.usage,
                "error" => &mut members.error,
                name if name == said => &mut members.said,
                _ => return walk.value().map(drop),
            };
            let value = walk.value()?;
            if value != "null" && place.replace(value).is_some() {
                return Err(Broken::Syntax);
            }
            Ok(())
        });
        read.and_then(|()| walk.end()).ok().map(|()| members)
    }
}

/// OpenAI docs, the chat completion object, read 2026-08. `None`: not the ordinary answer.
fn chat_answer(body: &Bytes) -> Option<[Event; 3]> {
    let body = Str::try_from(body.clone()).ok()?;
    let read = Members::of(&body, "choices")?;
    let foreign = read.object == Some(chat::schema::TEXT_COMPLETION);
    if !has_items(read.said?) || read.error.is_some() || foreign {
        return None;
    }
    let created = match read.created {
        Some(seconds) => Some(seconds.parse().ok()?),
        None => None,
    };
    let usage = Usage {
        service_tier: text(&body, read.service_tier).filter(|tier| !tier.is_empty()),
        ..chat::events::usage::read(Json::read_within(&body, read.usage?))?
    };
    let (id, model) = (text(&body, read.id), text(&body, read.model));
    Some(answer(id, model, created, usage))
}

/// Anthropic docs, the message object, read 2026-08. `None`: not the ordinary answer.
fn message(body: &Bytes) -> Option<[Event; 3]> {
    let body = Str::try_from(body.clone()).ok()?;
    let read = Members::of(&body, "content")?;
    if read.kind != Some("\"message\"") || !has_items(read.said?) {
        return None;
    }
    let usage = serde_json::from_str(read.usage?).ok()?;
    let usage = messages::usage::Meter::default().read(&body, usage)?;
    let (id, model) = (text(&body, read.id), text(&body, read.model));
    Some(answer(id, model, None, usage))
}

/// `None` for what is no string.
pub(super) fn text(body: &Str, written: Option<&str>) -> Option<Str> {
    let text = Walk::of(written?).string().ok()?.text().ok()?;
    Some(slice_of(body, &text))
}

fn has_items(array: &str) -> bool {
    let items = array.strip_prefix('[');
    items.is_some_and(|rest| rest.trim_start().starts_with('{'))
}

fn answer(id: Option<Str>, model: Option<Str>, created: Option<i64>, usage: Usage) -> [Event; 3] {
    [
        Event::Started {
            id: id.unwrap_or_default(),
            model: model.unwrap_or_default(),
            created,
        },
        Event::Usage(Box::new(usage)),
        Event::Done,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(dialect: DialectName, body: &str) -> Vec<Event> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let (mut lifted, mut all) = (Vec::new(), Vec::new());
        let told = lift_whole(dialect, &body, &mut lifted).is_ok();
        assert_eq!(told, Decoder::new(dialect).whole(&body, &mut all).is_ok());
        all.retain(is_told);
        // The order of what is told means nothing.
        let place = |e: &Event| matches!(e, Event::Usage(_));
        let sorted = |events: &[Event]| {
            let (usage, rest): (Vec<Event>, Vec<Event>) = events.iter().cloned().partition(place);
            (usage, rest)
        };
        assert_eq!(sorted(&lifted), sorted(&all), "{body:?}");
        lifted
    }

    #[test]
    fn what_is_lifted_from_a_body_is_what_its_decoder_reads() {
        let usage = r#""usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}"#;
        let choice =
            r#"{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}"#;
        for body in [
            format!(r#"{{"id":"a","model":"m","created":3,"choices":[{choice}],{usage}}}"#),
            format!(r#"{{"id":null,"choices":[ {choice}],"service_tier":"flex",{usage}}}"#),
            format!(r#"{{"choices":[{choice}],"error":{{"message":"no"}},{usage}}}"#),
            format!(r#"{{"choices":[],{usage}}}"#),
            format!(r#"{{"choices":[{choice}],"created":1.5e9,"usage":null}}"#),
            r#"{"error":{"message":"no"}}"#.to_owned(),
            r#"[{"error":{"message":"no"}}]"#.to_owned(),
            "<html>".to_owned(),
            String::new(),
        ] {
            agree(DialectName::Chat, &body);
        }
        for body in [
            r#"{"type":"message","id":"a","model":"m","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}"#,
            r#"{"type":"message","content":[],"usage":{"input_tokens":3}}"#,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#,
            r#"{"type":"message"}"#,
        ] {
            agree(DialectName::Messages, body);
        }
    }

    #[test]
    fn an_ordinary_answer_is_read_without_the_decoder() {
        let body = r#"{"id":"a","choices":[{"message":{}}],"usage":{"prompt_tokens":5}}"#;
        let read = chat_answer(&Bytes::from_static(body.as_bytes())).expect("ordinary");
        assert!(
            matches!(&read[1], Event::Usage(u) if u.input_uncached == Some(crate::base::Tokens(5)))
        );
    }
}
