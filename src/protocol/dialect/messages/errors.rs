//! Refusals: a provider's body → `Fault`, and a `Fault` → what official clients raise (`providers/anthropic.md` 8).

use super::schema::{Fields, Object};
use crate::base::Str;
use crate::canon::{Fault, FaultClass};
use bytes::{Bytes, BytesMut};

/// What a refusal means. Total: a proxy's HTML, an empty body, an array and another API's JSON are read by their status.
#[must_use]
pub fn read(status: u16, body: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(body);
    let envelope = Envelope::of(&text);
    let mut fault = envelope.fault(Some(status));
    fault.upstream_status = Some(status);
    fault
}

/// The `error` event of a stream, or an error in a body of status 200.
pub(in crate::protocol::dialect) fn read_event(data: &str) -> Fault {
    Envelope::of(data).fault(None)
}

/// `{"type":"error","error":{"type","message","details":{"error_code"}}}`, as far as it is there.
#[derive(Default)]
struct Envelope {
    kind: Str,
    message: Str,
    code: Option<Str>,
}

impl Envelope {
    fn of(text: &str) -> Self {
        let body = Str::from(text);
        let mut envelope = Self::default();
        let Some(mut fields) = Fields::of(text) else {
            return envelope;
        };
        // Another API's error may be a string, or have its message at the top.
        match fields.take("error") {
            Some(raw) if raw.get().starts_with('{') => {
                let mut error = Fields::of(raw.get()).unwrap_or_default();
                envelope.kind = error.text(&body, "type").unwrap_or_default();
                envelope.message = error.text(&body, "message").unwrap_or_default();
                let details = error.take("details").and_then(|raw| Fields::of(raw.get()));
                envelope.code = details.and_then(|mut d| d.text(&body, "error_code"));
            }
            Some(raw) => {
                envelope.message = super::schema::text_of(&body, raw).unwrap_or_default();
            }
            None => envelope.message = fields.text(&body, "message").unwrap_or_default(),
        }
        envelope
    }

    fn fault(self, status: Option<u16>) -> Fault {
        let class = self.class(status);
        let message = match (self.message.is_empty(), status) {
            (false, _) => self.message.chars().take(MESSAGE_CHARS_MAX).collect(),
            (true, Some(status)) => {
                format!("the provider answered with status {status} and no reason")
            }
            (true, None) => "the provider broke off and gave no reason".to_owned(),
        };
        let field = (class.status() == 400)
            .then(|| field_of(&message))
            .flatten();
        let code = self.code.or(Some(self.kind).filter(|k| !k.is_empty()));
        Fault {
            field,
            code: code.map(|c| c.to_string()),
            ..Fault::new(class, message)
        }
    }

    /// Money first, since it comes under several statuses and retrying it is useless; then the API's word; then the status.
    fn class(&self, status: Option<u16>) -> FaultClass {
        if self.is_about_money() {
            return FaultClass::Billing;
        }
        if let Some(class) = by_code(self.code.as_deref().unwrap_or_default()) {
            return class;
        }
        match &*self.kind {
            "invalid_request_error" if self.is_too_long() => FaultClass::ContextTooLong,
            "invalid_request_error" => match status {
                Some(413) => FaultClass::TooLarge,
                _ => FaultClass::Invalid,
            },
            "authentication_error" => FaultClass::Unauthenticated,
            "billing_error" => FaultClass::Billing,
            "permission_error" => FaultClass::Forbidden,
            "not_found_error" if self.message.starts_with("model") => FaultClass::ModelNotFound,
            "not_found_error" => FaultClass::NotFound,
            "conflict_error" => FaultClass::Conflict,
            "request_too_large" => FaultClass::TooLarge,
            "rate_limit_error" => FaultClass::RateLimited,
            "timeout_error" => FaultClass::UpstreamTimeout,
            "overloaded_error" => FaultClass::Overloaded,
            _ if status == Some(400) && self.is_too_long() => FaultClass::ContextTooLong,
            _ => class_of_status(status),
        }
    }

    fn is_about_money(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        code == "enforced_spend_limit_reached"
            || code == "contract_spend_limit_reached"
            || self
                .message
                .starts_with("You have reached your specified API usage limits")
            || self.message.contains("workspace API usage limits")
            || self.message.contains("credit balance is too low")
    }

    fn is_too_long(&self) -> bool {
        self.message.contains("prompt is too long") || self.message.contains("exceed context limit")
    }
}

/// Our own words for what the API has no type for, where clients look for codes.
fn by_code(code: &str) -> Option<FaultClass> {
    const OURS: [FaultClass; 10] = [
        FaultClass::ContextTooLong,
        FaultClass::ContentPolicy,
        FaultClass::Billing,
        FaultClass::ModelNotFound,
        FaultClass::MethodNotAllowed,
        FaultClass::RequestTimeout,
        FaultClass::Internal,
        FaultClass::UpstreamBroken,
        FaultClass::UpstreamTimeout,
        FaultClass::Unavailable,
    ];
    OURS.into_iter().find(|class| class.as_str() == code)
}

// Longer than any message of the API; short enough for a log line.
const MESSAGE_CHARS_MAX: usize = 2_000;

fn class_of_status(status: Option<u16>) -> FaultClass {
    match status {
        Some(401) => FaultClass::Unauthenticated,
        Some(402) => FaultClass::Billing,
        Some(403) => FaultClass::Forbidden,
        Some(404) => FaultClass::NotFound,
        Some(405) => FaultClass::MethodNotAllowed,
        Some(408 | 504) => FaultClass::UpstreamTimeout,
        Some(409) => FaultClass::Conflict,
        Some(413) => FaultClass::TooLarge,
        Some(429) => FaultClass::RateLimited,
        Some(503) => FaultClass::Unavailable,
        Some(529) => FaultClass::Overloaded,
        Some(400..=499) => FaultClass::Invalid,
        // 5xx, and what is no refusal at all.
        _ => FaultClass::UpstreamBroken,
    }
}

/// `messages.5.content.0: …` → `messages[5].content[0]`: the API begins a message about a field with its path.
fn field_of(message: &str) -> Option<String> {
    let (path, _) = message.split_once(": ")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if !path.starts_with(|c: char| c.is_ascii_lowercase()) || !path.chars().all(fits) {
        return None;
    }
    let mut field = String::with_capacity(path.len() + 4);
    for part in path.split('.') {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            field.push('[');
            field.push_str(part);
            field.push(']');
        } else {
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(part);
        }
    }
    Some(field)
}

/// Status and body of our refusal, in the envelope that official clients parse. `id` is the exchange's.
#[must_use]
pub fn write(fault: &Fault, id: &str) -> (u16, Bytes) {
    let mut out = BytesMut::new();
    write_envelope(fault, id, &mut out);
    (status(fault.class), out.freeze())
}

fn status(class: FaultClass) -> u16 {
    match class {
        FaultClass::Overloaded => 529,
        class => class.status(),
    }
}

/// The envelope alone, which is also the data of an `error` event.
pub(super) fn write_envelope(fault: &Fault, id: &str, out: &mut BytesMut) {
    let mut object = Object::typed(out, "error");
    let mut error = Object::typed(object.value("error"), word(fault.class));
    match &fault.field {
        // The API says the field within the message; one that came from it does already.
        Some(field) if !fault.message.contains(&**field) && fault.upstream_status.is_none() => {
            error.text("message", &format!("{field}: {}", fault.message));
        }
        _ => error.text("message", &fault.message),
    }
    if let Some(code) = code_of(fault) {
        let mut details = Object::open(error.value("details"));
        details.text("error_code", code);
        details.close();
    }
    error.close();
    if !id.is_empty() {
        object.text("request_id", id);
    }
    object.close();
}

/// The fault's own code, unless it is another API's and a client that reads it would take the failure for another.
fn code_of(fault: &Fault) -> Option<&str> {
    if fault.upstream_status.is_none() {
        return fault.code.as_deref();
    }
    let told = Envelope {
        kind: Str::from(word(fault.class)),
        message: Str::from(fault.message.as_str()),
        code: fault.code.as_deref().map(Str::from),
    };
    if told.class(Some(status(fault.class))) == fault.class {
        return fault.code.as_deref();
    }
    Some(fault.class.as_str())
}

/// Section 8's table. Classes that the API has no word for take the one that its clients treat alike.
fn word(class: FaultClass) -> &'static str {
    match class {
        FaultClass::Invalid
        | FaultClass::ContextTooLong
        | FaultClass::ContentPolicy
        | FaultClass::MethodNotAllowed
        | FaultClass::UpgradeRequired => "invalid_request_error",
        FaultClass::Unauthenticated => "authentication_error",
        FaultClass::Billing => "billing_error",
        FaultClass::Forbidden => "permission_error",
        FaultClass::NotFound | FaultClass::ModelNotFound => "not_found_error",
        FaultClass::Conflict => "conflict_error",
        FaultClass::TooLarge => "request_too_large",
        FaultClass::RateLimited => "rate_limit_error",
        FaultClass::RequestTimeout | FaultClass::UpstreamTimeout => "timeout_error",
        FaultClass::Overloaded => "overloaded_error",
        FaultClass::Internal | FaultClass::UpstreamBroken | FaultClass::Unavailable => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_the_api_has_its_class() {
        use FaultClass::*;
        let cases = [
            (
                400,
                "invalid_request_error",
                "max_tokens: Field required",
                "",
                Invalid,
            ),
            (
                400,
                "invalid_request_error",
                "prompt is too long: 5 tokens > 4 maximum",
                "",
                ContextTooLong,
            ),
            (
                400,
                "invalid_request_error",
                "You have reached your specified API usage limits. x",
                "",
                Billing,
            ),
            (
                400,
                "invalid_request_error",
                "Your credit balance is too low to access",
                "",
                Billing,
            ),
            (
                401,
                "authentication_error",
                "invalid x-api-key",
                "",
                Unauthenticated,
            ),
            (402, "billing_error", "pay", "", Billing),
            (403, "permission_error", "no", "", Forbidden),
            (404, "not_found_error", "model: claude-9", "", ModelNotFound),
            (404, "not_found_error", "Not found", "", NotFound),
            (409, "conflict_error", "x", "", Conflict),
            (413, "request_too_large", "x", "", TooLarge),
            (429, "rate_limit_error", "x", "", RateLimited),
            (
                429,
                "rate_limit_error",
                "x",
                "ramp_limit_exceeded",
                RateLimited,
            ),
            (
                429,
                "rate_limit_error",
                "x",
                "enforced_spend_limit_reached",
                Billing,
            ),
            (
                429,
                "rate_limit_error",
                "x",
                "contract_spend_limit_reached",
                Billing,
            ),
            (500, "api_error", "x", "", UpstreamBroken),
            (503, "api_error", "x", "", Unavailable),
            (504, "timeout_error", "x", "", UpstreamTimeout),
            (529, "overloaded_error", "Overloaded", "", Overloaded),
            (418, "teapot_error", "x", "", Invalid),
        ];
        for (status, kind, message, code, class) in cases {
            let body = serde_json::json!({"type": "error", "error": {"type": kind, "message": message,
                "details": {"error_code": code}}, "request_id": "req_1"});
            let fault = read(status, body.to_string().as_bytes());
            assert_eq!(
                (fault.class, &*fault.message),
                (class, message),
                "{status} {kind}"
            );
            assert_eq!(fault.upstream_status, Some(status));
        }
    }

    #[test]
    fn any_body_is_some_fault() {
        let bodies: [&[u8]; 7] = [
            b"",
            b"<html><h1>520</h1></html>",
            b"[]",
            b"[{\"error\":{}}]",
            b"{\"error\":\"no\"}",
            b"{\"message\":\"Too many\"}",
            b"\xff\xfe",
        ];
        for body in bodies {
            for status in [200, 302, 400, 401, 404, 429, 500, 502, 520, 529] {
                let fault = read(status, body);
                assert!(!fault.message.is_empty(), "{status}");
            }
        }
        assert_eq!(read(520, bodies[1]).class, FaultClass::UpstreamBroken);
        assert_eq!(read(429, bodies[5]).message, "Too many");
        assert_eq!(read(404, bodies[4]).class, FaultClass::NotFound);
    }

    #[test]
    fn a_path_in_a_message_is_the_field() {
        let body = br#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.5.content.0.source: bad"}}"#;
        let fault = read(400, body);
        assert_eq!(
            fault.field.as_deref(),
            Some("messages[5].content[0].source")
        );
        assert_eq!(field_of("Number of tokens: 5"), None);
    }

    #[test]
    fn what_we_write_official_clients_and_we_understand() {
        let fault = Fault::invalid("max_tokens", "is required").with_code("c");
        let (status, body) = write(&fault, "sh-1");
        let value: serde_json::Value = serde_json::from_slice(&body).expect("json");
        assert_eq!(status, 400);
        assert_eq!(value["error"]["message"], "max_tokens: is required");
        assert_eq!(value["request_id"], "sh-1");
        let again = read(status, &body);
        assert_eq!(
            (again.class, again.field.as_deref(), again.code.as_deref()),
            (FaultClass::Invalid, Some("max_tokens"), Some("c"))
        );
        let (status, _) = write(&Fault::new(FaultClass::Overloaded, "x"), "");
        assert_eq!(status, 529);
    }

    #[test]
    fn a_class_written_is_the_class_read() {
        use FaultClass::*;
        for class in [
            Invalid,
            Unauthenticated,
            Billing,
            Forbidden,
            NotFound,
            Conflict,
            TooLarge,
            RateLimited,
            UpstreamBroken,
            Unavailable,
            Overloaded,
            UpstreamTimeout,
        ] {
            let (status, body) = write(&Fault::new(class, "x"), "id");
            assert_eq!(read(status, &body).class, class);
        }
    }
}
