//! Refusals: a provider's → `Fault`, and ours → OpenAI's error object.
//!
//! Reading is total: HTML of an edge, an empty body, an array and the flat forms of self-hosted engines are somebody's answer too. The
//! table is that of OpenAI's docs ("Error codes", read 2026-08) and of SDK 3.54.0.

use crate::canon::{Fault, FaultClass};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};
use serde_json::Value;

/// Bytes of a provider's own message that are told on; a page of HTML helps nobody.
const MESSAGE_BYTES_MAX: usize = 2_000;

/// What a provider's refusal means.
#[must_use]
pub fn read(status: u16, body: &[u8]) -> Fault {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => read_value(Some(status), &value),
        Err(_) => Fault {
            upstream_status: Some(status),
            ..Fault::new(
                class_of_status(status),
                match plain_text(body) {
                    Some(text) => told(text),
                    None => format!("the provider answered status {status} without a reason"),
                },
            )
        },
    }
}

/// As `read`, of a body that is JSON; without a status for an error within a stream.
pub(in crate::protocol::dialect) fn read_value(status: Option<u16>, value: &Value) -> Fault {
    let said = Said::find(value);
    // In a stream the body is all there is; several speakers put the status there.
    let status = status.filter(|s| *s != 200).or(said.status);
    let mut fault = Fault::new(
        said.class(status),
        if said.message.is_empty() {
            "the provider gave no reason".to_owned()
        } else {
            told(said.message)
        },
    );
    fault.field = said.param.map(str::to_owned);
    fault.code = said.code.clone();
    fault.upstream_status = status;
    fault
}

/// What an error object says, wherever in the body it lies.
#[derive(Default)]
struct Said<'a> {
    message: &'a str,
    kind: Option<&'a str>,
    code: Option<String>,
    param: Option<&'a str>,
    status: Option<u16>,
}

impl<'a> Said<'a> {
    fn find(body: &'a Value) -> Self {
        match body {
            // Google's speaker of this dialect wraps its error in an array.
            Value::Array(items) => items.first().map(Self::of_object).unwrap_or_default(),
            other => Self::of_object(other),
        }
    }

    fn of_object(body: &'a Value) -> Self {
        let inner = match body.get("error") {
            // TGI: `{"error":"text","error_type":"overloaded"}`.
            Some(Value::String(message)) => {
                return Self {
                    message,
                    kind: body.get("error_type").and_then(Value::as_str),
                    ..Self::default()
                };
            }
            Some(inner @ Value::Object(_)) => inner,
            // SGLang: flat, `{"object":"error","message":…,"code":400}`.
            _ => body,
        };
        let number = |name| inner.get(name).and_then(Value::as_u64);
        Self {
            message: text_of(inner, "message")
                .or_else(|| detail(body))
                .or_else(|| inner.as_str())
                .unwrap_or_default(),
            kind: text_of(inner, "type").or_else(|| text_of(inner, "status")),
            code: text_of(inner, "code")
                .map(str::to_owned)
                .filter(|c| c.parse::<u16>().is_err()),
            param: text_of(inner, "param"),
            status: number("status_code")
                .or_else(|| number("code"))
                .or_else(|| text_of(inner, "code")?.parse().ok())
                .and_then(|n| u16::try_from(n).ok())
                .filter(|n| (400..600).contains(n)),
        }
    }

    /// The code knows best, then the type, then the words, then the status.
    fn class(&self, status: Option<u16>) -> FaultClass {
        let code = self.code.as_deref().unwrap_or_default();
        by_code(code)
            .or_else(|| self.by_words(status))
            .or_else(|| by_type(self.kind.unwrap_or_default(), status))
            .unwrap_or_else(|| class_of_status(status.unwrap_or(502)))
    }

    /// What several speakers say in words only.
    fn by_words(&self, status: Option<u16>) -> Option<FaultClass> {
        let message = self.message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|w| message.contains(w));
        let client_error = matches!(status, None | Some(400 | 413 | 422));
        if client_error
            && says(&[
                "maximum context length",
                "context length exceeded",
                "exceeds the available context size",
                "exceeds the model's context length",
                "longer than the model's context length",
                "maximum prompt length",
                "prompt is too long",
            ])
        {
            return Some(FaultClass::ContextTooLong);
        }
        // OpenAI, rate limits: a request above TPM itself will never fit; still a limit, and other pools may have room.
        let out_of_money = matches!(status, None | Some(402 | 403 | 429))
            && says(&[
                "insufficient balance",
                "exceeded your current quota",
                "insufficient credits",
                "credit balance",
            ]);
        out_of_money.then_some(FaultClass::Billing)
    }
}

fn text_of<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str().filter(|s| !s.is_empty())
}

/// FastAPI: `{"detail":"text"}` or `{"detail":[{"loc":…,"msg":"text"}]}`.
fn detail(body: &Value) -> Option<&str> {
    match body.get("detail")? {
        Value::String(text) => Some(text),
        Value::Array(items) => items.first()?.get("msg")?.as_str(),
        Value::Object(inner) => inner.get("message")?.as_str(),
        _ => None,
    }
}

fn by_code(code: &str) -> Option<FaultClass> {
    Some(match code {
        "context_length_exceeded" => FaultClass::ContextTooLong,
        "content_policy_violation" | "content_filter" | "content_moderation" => {
            FaultClass::ContentPolicy
        }
        "insufficient_quota"
        | "credit_balance_exhausted"
        | "organization_spend_limit_exceeded"
        | "project_spend_limit_exceeded"
        | "organization_usage_limit_exceeded"
        | "billing_hard_limit_reached"
        | "billing_not_active" => FaultClass::Billing,
        "invalid_api_key" | "account_deactivated" => FaultClass::Unauthenticated,
        "unsupported_country_region_territory" | "permission_denied" => FaultClass::Forbidden,
        "model_not_found" | "DeploymentNotFound" => FaultClass::ModelNotFound,
        "rate_limit_exceeded" | "slow_down" | "resource_unavailable" => FaultClass::RateLimited,
        "server_is_overloaded" | "engine_overloaded" => FaultClass::Overloaded,
        "upstream_broken" => FaultClass::UpstreamBroken,
        "upstream_timeout" => FaultClass::UpstreamTimeout,
        "unavailable" => FaultClass::Unavailable,
        _ => return None,
    })
}

/// The type is coarser than the status, so it speaks only where the status does not, but for a few words that are exact.
fn by_type(kind: &str, status: Option<u16>) -> Option<FaultClass> {
    Some(match (kind, status) {
        ("insufficient_quota", _) => FaultClass::Billing,
        ("exceed_context_size_error", _) => FaultClass::ContextTooLong,
        ("overloaded" | "overloaded_error" | "engine_overloaded_error", _) => {
            FaultClass::Overloaded
        }
        (_, Some(_)) => return None,
        ("invalid_request_error" | "BadRequestError" | "validation", None) => FaultClass::Invalid,
        ("authentication_error", None) => FaultClass::Unauthenticated,
        ("permission_error", None) => FaultClass::Forbidden,
        ("not_found_error" | "NotFoundError", None) => FaultClass::NotFound,
        ("requests" | "tokens" | "rate_limit_error", None) => FaultClass::RateLimited,
        _ => return None,
    })
}

fn class_of_status(status: u16) -> FaultClass {
    match status {
        401 => FaultClass::Unauthenticated,
        402 => FaultClass::Billing,
        403 => FaultClass::Forbidden,
        404 => FaultClass::NotFound,
        405 => FaultClass::MethodNotAllowed,
        408 => FaultClass::RequestTimeout,
        409 => FaultClass::Conflict,
        413 => FaultClass::TooLarge,
        426 => FaultClass::UpgradeRequired,
        429 => FaultClass::RateLimited,
        // 498 and 529: capacity at Groq and others.
        498 | 503 | 529 => FaultClass::Overloaded,
        504 | 522 | 524 => FaultClass::UpstreamTimeout,
        400..=499 => FaultClass::Invalid,
        // 5xx, and what is no status of a refusal at all.
        _ => FaultClass::UpstreamBroken,
    }
}

/// Text of a body that is not JSON; `None` for HTML, which is a page and no message.
fn plain_text(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?.trim();
    (!text.is_empty() && !text.starts_with('<')).then_some(text)
}

/// A provider's words as they may be told: bounded, and without what looks like a key (a 401 of OpenAI quotes part of it).
pub(in crate::protocol::dialect) fn told(message: &str) -> String {
    let end = super::char_boundary(message, MESSAGE_BYTES_MAX);
    let mut out = String::with_capacity(end);
    for (n, word) in message[..end].split(' ').enumerate() {
        if n > 0 {
            out.push(' ');
        }
        let bare = word.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_key = ["sk-", "gsk_", "xai-", "fw_", "AIza"]
            .iter()
            .any(|p| bare.starts_with(p) && bare.len() > p.len() + 4);
        out.push_str(if is_key { "(key)" } else { word });
    }
    out
}

/// Status and body of our refusal, such that the official clients raise the right error.
#[must_use]
pub fn write(fault: &Fault, id: &str) -> (u16, Bytes) {
    let mut out = BytesMut::from("{");
    write_object(fault, &mut out);
    if !id.is_empty() {
        json::field("request_id", id, &mut out);
    }
    out.extend_from_slice(b"}");
    (status(fault.class), out.freeze())
}

/// Appends `"error":{…}`.
pub(in crate::protocol::dialect) fn write_object(fault: &Fault, out: &mut BytesMut) {
    let (kind, code) = words(fault.class);
    let code = code.filter(|_| !is_told_by_its_own_code(fault, kind));
    json::key("error", out);
    out.extend_from_slice(b"{");
    json::field("message", &fault.message, out);
    json::field("type", kind, out);
    for (name, value) in [
        ("param", fault.field.as_deref()),
        ("code", code.or(fault.code.as_deref())),
    ] {
        json::key(name, out);
        match value {
            Some(text) => json::string(text, out),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.extend_from_slice(b"}");
}

/// Whether a client that looks at the fault's own code learns what kind of failure it is: it may be another API's. Our own are documented.
fn is_told_by_its_own_code(fault: &Fault, kind: &str) -> bool {
    if fault.upstream_status.is_none() {
        return fault.code.is_some();
    }
    let said = Said {
        message: &fault.message,
        kind: Some(kind),
        code: fault.code.clone(),
        ..Said::default()
    };
    fault.code.is_some() && said.class(Some(status(fault.class))) == fault.class
}

/// OpenAI says 429 where money is gone ("Error codes", read 2026-08).
fn status(class: FaultClass) -> u16 {
    match class {
        FaultClass::Billing => 429,
        other => other.status(),
    }
}

/// `type` and, where the fault brings none, `code`.
pub(in crate::protocol::dialect) fn words(
    class: FaultClass,
) -> (&'static str, Option<&'static str>) {
    const INVALID: &str = "invalid_request_error";
    match class {
        FaultClass::Invalid | FaultClass::NotFound | FaultClass::Conflict => (INVALID, None),
        FaultClass::ContextTooLong => (INVALID, Some("context_length_exceeded")),
        FaultClass::ContentPolicy => (INVALID, Some("content_policy_violation")),
        FaultClass::Unauthenticated => (INVALID, Some("invalid_api_key")),
        FaultClass::Billing => ("insufficient_quota", Some("insufficient_quota")),
        FaultClass::Forbidden => ("permission_error", Some("permission_denied")),
        FaultClass::ModelNotFound => (INVALID, Some("model_not_found")),
        FaultClass::MethodNotAllowed => (INVALID, Some("method_not_allowed")),
        FaultClass::RequestTimeout => ("timeout_error", Some("request_timeout")),
        FaultClass::TooLarge => (INVALID, Some("request_too_large")),
        FaultClass::UpgradeRequired => (INVALID, Some("upgrade_required")),
        FaultClass::RateLimited => ("requests", Some("rate_limit_exceeded")),
        FaultClass::Internal => ("server_error", None),
        FaultClass::UpstreamBroken => ("server_error", Some("upstream_broken")),
        FaultClass::Unavailable => ("server_error", Some("unavailable")),
        FaultClass::Overloaded => ("server_error", Some("server_is_overloaded")),
        FaultClass::UpstreamTimeout => ("server_error", Some("upstream_timeout")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn every_form_of_refusal_has_its_class() {
        use FaultClass as C;
        for (status, body, class) in [
            (
                400,
                r#"{"error":{"message":"m","type":"invalid_request_error","param":"a","code":"context_length_exceeded"}}"#,
                C::ContextTooLong,
            ),
            (
                400,
                r#"{"error":{"message":"m","code":"content_policy_violation"}}"#,
                C::ContentPolicy,
            ),
            (
                400,
                r#"{"error":{"message":"m","type":"invalid_request_error"}}"#,
                C::Invalid,
            ),
            (
                401,
                r#"{"error":{"message":"m","code":"invalid_api_key"}}"#,
                C::Unauthenticated,
            ),
            (
                403,
                r#"{"error":{"message":"m","code":"unsupported_country_region_territory"}}"#,
                C::Forbidden,
            ),
            (
                404,
                r#"{"error":{"message":"m","code":"model_not_found"}}"#,
                C::ModelNotFound,
            ),
            (404, r#"{"error":{"message":"m"}}"#, C::NotFound),
            (409, "", C::Conflict),
            (413, "", C::TooLarge),
            (
                422,
                r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#,
                C::Invalid,
            ),
            (400, r#"{"detail":"no"}"#, C::Invalid),
            (
                429,
                r#"{"error":{"message":"m","type":"tokens","code":"rate_limit_exceeded"}}"#,
                C::RateLimited,
            ),
            (
                429,
                r#"{"error":{"message":"m","code":"slow_down"}}"#,
                C::RateLimited,
            ),
            (
                429,
                r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                C::Billing,
            ),
            (
                429,
                r#"{"error":{"message":"m","code":"project_spend_limit_exceeded"}}"#,
                C::Billing,
            ),
            (
                429,
                r#"{"error":{"message":"m","type":"insufficient_quota"}}"#,
                C::Billing,
            ),
            (
                402,
                r#"{"error":{"message":"Insufficient Balance"}}"#,
                C::Billing,
            ),
            (
                500,
                r#"{"error":{"message":"m","type":"server_error"}}"#,
                C::UpstreamBroken,
            ),
            (502, "<html>bad gateway</html>", C::UpstreamBroken),
            (
                503,
                r#"{"error":{"message":"m","code":"server_is_overloaded"}}"#,
                C::Overloaded,
            ),
            (
                503,
                r#"{"object":"error","message":"The request queue is full.","type":"x","param":null,"code":503}"#,
                C::Overloaded,
            ),
            (
                400,
                r#"{"object":"error","message":"maximum context length is 5 tokens","type":"BadRequestError","param":null,"code":400}"#,
                C::ContextTooLong,
            ),
            (
                429,
                r#"{"error":"Model is overloaded","error_type":"overloaded"}"#,
                C::Overloaded,
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]"#,
                C::Invalid,
            ),
            (
                400,
                r#"{"error":{"code":400,"type":"exceed_context_size_error","message":"m"}}"#,
                C::ContextTooLong,
            ),
            (504, "", C::UpstreamTimeout),
            (418, "short and stout", C::Invalid),
            (599, "null", C::UpstreamBroken),
        ] {
            let fault = read(status, body.as_bytes());
            assert_eq!(
                (fault.class, fault.upstream_status),
                (class, Some(status)),
                "{body}"
            );
            assert!(
                !fault.message.is_empty() && !fault.message.contains('<'),
                "{body}"
            );
        }
    }

    #[test]
    fn place_and_code_of_the_provider_are_kept() {
        let fault = read(
            400,
            br#"{"error":{"message":"bad","type":"x","param":"messages[0]","code":"invalid_value"}}"#,
        );
        assert_eq!(
            (
                fault.message.as_str(),
                fault.field.as_deref(),
                fault.code.as_deref()
            ),
            ("bad", Some("messages[0]"), Some("invalid_value"))
        );
    }

    #[test]
    fn no_key_is_told_on() {
        let fault = read(
            401,
            br#"{"error":{"message":"Incorrect API key provided: sk-abcd*****wxyz. Try again"}}"#,
        );
        assert_eq!(fault.message, "Incorrect API key provided: (key) Try again");
    }

    #[test]
    fn what_we_write_we_read() {
        for class in [
            FaultClass::Invalid,
            FaultClass::ContextTooLong,
            FaultClass::ContentPolicy,
            FaultClass::Unauthenticated,
            FaultClass::Billing,
            FaultClass::Forbidden,
            FaultClass::NotFound,
            FaultClass::ModelNotFound,
            FaultClass::MethodNotAllowed,
            FaultClass::RequestTimeout,
            FaultClass::Conflict,
            FaultClass::TooLarge,
            FaultClass::UpgradeRequired,
            FaultClass::RateLimited,
            FaultClass::UpstreamBroken,
            FaultClass::Unavailable,
            FaultClass::Overloaded,
            FaultClass::UpstreamTimeout,
        ] {
            let fault = Fault::invalid("messages[0]", "no \"good\"");
            let (status, body) = write(
                &Fault {
                    class,
                    ..fault.clone()
                },
                "x1",
            );
            let read = read(status, &body);
            assert_eq!(
                (read.class, &read.message, &read.field),
                (class, &fault.message, &fault.field)
            );
            let value: Value = serde_json::from_slice(&body).expect("json");
            assert_eq!(value["request_id"], "x1");
        }
    }

    #[test]
    fn garbage_is_a_refusal_too() {
        let mut rng = Rng::seeded(5);
        for _ in 0..5_000 {
            let body: Vec<u8> = (0..rng.below(60)).map(|_| rng.bits() as u8).collect();
            let status = rng.below(700) as u16;
            assert!(!read(status, &body).message.is_empty());
        }
    }
}
