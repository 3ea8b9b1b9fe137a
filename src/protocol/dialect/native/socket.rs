//! What a client says on a native WebSocket, one JSON text a message; and what we say there beside answers.

use super::blocks::{braces, object};
use super::schema::Fields;
use super::{errors, request};
use crate::base::{Secret, Str};
use crate::canon::{Controls, Fault, Request};
use crate::protocol::framing::websocket;
use crate::protocol::json;
use bytes::BytesMut;

/// A client's message.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// The first message, unless the upgrade carried a header.
    Auth { api_key: Secret },
    /// `id` is the client's own: every event of the answer repeats it.
    Request {
        id: Str,
        request: Box<Request>,
        controls: Box<Controls>,
    },
    /// Stop the answer of that request.
    Cancel { id: Str },
    /// Say again what came after event `after` of an answer, and go on with it. `id` as for `Request`; not said, the events carry none.
    Resume {
        id: Option<Str>,
        response: Str,
        after: u64,
    },
}

/// A message that is refused; the connection goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The request that was meant, as far as it could be read.
    pub id: Option<Str>,
    pub fault: Fault,
}

/// Reads one text message.
pub fn read(text: &Str) -> Result<ClientMessage, Refused> {
    let mut id = None;
    let read = Fields::top(text).and_then(|mut f| {
        id = f.text("request_id")?;
        if id
            .as_ref()
            .is_some_and(|id| crate::canon::controls::id(id).is_none())
        {
            id = None;
            return Err(f.fault("request_id", "must be 1 to 256 visible characters"));
        }
        message(f, id.clone())
    });
    read.map_err(|fault| Refused { id, fault })
}

fn message(mut f: Fields<'_>, id: Option<Str>) -> Result<ClientMessage, Fault> {
    let kind = f.text_needed("type")?;
    let needed = |f: &Fields<'_>| {
        id.clone()
            .ok_or_else(|| f.fault("request_id", "is missing"))
    };
    let message = match &*kind {
        "request" => {
            let id = needed(&f)?;
            let (request, controls) = request::read_fields(f)?;
            return Ok(ClientMessage::Request {
                id,
                request: Box::new(request),
                controls: Box::new(controls),
            });
        }
        "auth" => ClientMessage::Auth {
            api_key: Secret::new(f.text_needed("api_key")?.to_string()),
        },
        "cancel" => ClientMessage::Cancel { id: needed(&f)? },
        "resume" => ClientMessage::Resume {
            id: id.clone(),
            response: f.text_needed("response_id")?,
            after: f.whole("after")?.unwrap_or(0),
        },
        _ => return Err(f.fault("type", "must be one of: auth, request, cancel, resume")),
    };
    f.end()?;
    Ok(message)
}

/// Appends the answer to a right `auth`, as a WebSocket frame.
pub fn write_authenticated(out: &mut BytesMut) {
    websocket::write_text("{\"type\":\"auth.ok\"}", out);
}

/// Appends a refusal for which there is no stream of events, as a WebSocket frame.
pub fn write_refused(id: Option<&str>, fault: &Fault, out: &mut BytesMut) {
    let mut text = BytesMut::with_capacity(256);
    braces(&mut text, |text| {
        json::field("type", "error", text);
        if let Some(id) = id {
            json::field("request_id", id, text);
        }
        object("error", text, |text| {
            errors::write_fields(fault, None, text)
        });
    });
    websocket::write_text_bytes(&text, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Priority;

    #[test]
    fn every_message_is_read() {
        let auth = read(&r#"{"type":"auth","api_key":"sk"}"#.into());
        assert_eq!(
            auth,
            Ok(ClientMessage::Auth {
                api_key: Secret::new("sk".to_owned())
            })
        );
        let cancel = read(&r#"{"request_id":"r","type":"cancel"}"#.into());
        assert_eq!(cancel, Ok(ClientMessage::Cancel { id: "r".into() }));
        let resume = read(&r#"{"type":"resume","response_id":"x","after":7}"#.into());
        assert_eq!(
            resume,
            Ok(ClientMessage::Resume {
                id: None,
                response: "x".into(),
                after: 7
            })
        );
        let request = read(
            &r#"{"type":"request","request_id":"r","model":"m","input":"hi","priority":"batch"}"#
                .into(),
        );
        let Ok(ClientMessage::Request {
            id,
            request,
            controls,
        }) = request
        else {
            panic!("{request:?}")
        };
        assert_eq!(
            (&*id, &*request.model, controls.priority),
            ("r", "m", Some(Priority::Batch))
        );
    }

    #[test]
    fn a_wrong_message_says_whose_it_is() {
        for (text, id, field) in [
            ("x", None, None),
            ("[]", None, None),
            (r#"{"request_id":"r"}"#, Some("r"), Some("type")),
            (
                r#"{"type":"request","model":"m","input":"x"}"#,
                None,
                Some("request_id"),
            ),
            (
                r#"{"type":"cancel","request_id":""}"#,
                None,
                Some("request_id"),
            ),
            (
                r#"{"type":"hello","request_id":"r"}"#,
                Some("r"),
                Some("type"),
            ),
            (
                r#"{"type":"request","request_id":"r","input":"x"}"#,
                Some("r"),
                Some("model"),
            ),
            (
                r#"{"type":"resume","response_id":"x","afterr":7}"#,
                None,
                Some("afterr"),
            ),
            (r#"{"type":"auth"}"#, None, Some("api_key")),
        ] {
            let refused = read(&text.into()).expect_err(text);
            assert_eq!(
                (refused.id.as_deref(), refused.fault.field.as_deref()),
                (id, field),
                "{text}"
            );
        }
        let mut out = BytesMut::new();
        write_refused(Some("r"), &Fault::invalid("type", "m"), &mut out);
        write_authenticated(&mut out);
        let mut socket = websocket::Socket::new(websocket::Side::Client, 1_000);
        socket.feed(out.freeze());
        let Ok(Some(websocket::Message::Text(text))) = socket.next() else {
            panic!("a text")
        };
        assert_eq!(
            &*text,
            r#"{"type":"error","request_id":"r","error":{"class":"invalid_request","message":"m","field":"type","retryable":false}}"#
        );
    }
}
