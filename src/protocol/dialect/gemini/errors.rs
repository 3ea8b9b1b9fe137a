//! Refusals: a provider's → `Fault`, and ours → google.rpc.Status.
//!
//! Reading is total: HTML of an edge, an empty body and an error within an array are somebody's answer too. Google has few words, so the
//! details behind them and sometimes the message decide (Gemini API troubleshooting and google.rpc error details, read 2026-08).

use crate::canon::{Fault, FaultClass};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::time::Duration;

/// Bytes of a provider's own message that are told on.
const MESSAGE_BYTES_MAX: usize = 2_000;

/// Who says an `ErrorInfo` of ours.
const OURS: &str = "stokehold";

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

/// An error within a stream, which says its own status.
pub(in crate::protocol::dialect) fn read_chunk(body: &str) -> Fault {
    let value = serde_json::from_str(body).unwrap_or_default();
    read_value(None, &value)
}

pub(in crate::protocol::dialect) fn read_value(status: Option<u16>, value: &Value) -> Fault {
    let error = error_in(value);
    let said = error["code"].as_u64().and_then(|n| u16::try_from(n).ok());
    // Within a stream the HTTP status was good; the error's own counts.
    let status = status.filter(|s| *s >= 300).or(said.filter(|s| *s >= 300));
    let said = Said::new(error, status);
    let mut fault = Fault::new(
        said.class(),
        if said.message.is_empty() {
            "the provider gave no reason".to_owned()
        } else {
            told(said.message)
        },
    );
    fault.field = said.field().map(str::to_owned);
    fault.code = said.code();
    fault.retry_after = said.retry_after();
    fault.upstream_status = status;
    fault
}

/// The error object, wherever in the body it lies.
fn error_in(body: &Value) -> &Value {
    // Streams wrap it in an array, of which the last element is the error.
    let body = match body {
        Value::Array(items) => items
            .iter()
            .rev()
            .find(|i| i.get("error").is_some())
            .or(items.first())
            .unwrap_or(body),
        other => other,
    };
    match body.get("error") {
        Some(inner) if !inner.is_null() => inner,
        _ => body,
    }
}

struct Said<'a> {
    message: &'a str,
    /// `INVALID_ARGUMENT`, …
    word: &'a str,
    details: &'a [Value],
    status: Option<u16>,
}

impl<'a> Said<'a> {
    fn new(error: &'a Value, status: Option<u16>) -> Self {
        let text = |name: &str| error[name].as_str().unwrap_or_default();
        Self {
            message: error.as_str().unwrap_or_else(|| text("message")),
            word: text("status"),
            details: error["details"].as_array().map_or(&[], Vec::as_slice),
            status,
        }
    }

    /// The detail of a type, by the last word of its name.
    fn detail(&self, kind: &str) -> Option<&'a Value> {
        self.details.iter().find(|d| {
            let of = d["@type"].as_str().unwrap_or_default();
            of.rsplit('.').next() == Some(kind)
        })
    }

    fn info(&self) -> (&'a str, &'a str) {
        let Some(info) = self.detail("ErrorInfo") else {
            return ("", "");
        };
        let text = |name: &str| info[name].as_str().unwrap_or_default();
        (text("domain"), text("reason"))
    }

    /// Our own word, then Google's reason, then what only the message tells, then the status.
    fn class(&self) -> FaultClass {
        let (domain, reason) = self.info();
        if domain == OURS
            && let Some(class) = class_of_reason(reason)
        {
            return class;
        }
        by_reason(reason)
            .or_else(|| self.by_words())
            .or_else(|| by_status_word(self.word))
            .unwrap_or_else(|| class_of_status(self.status.unwrap_or(502)))
    }

    fn by_words(&self) -> Option<FaultClass> {
        let message = self.message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|w| message.contains(w));
        match (self.status, self.word) {
            (Some(400), _) | (None, "INVALID_ARGUMENT") => bad_request(&says),
            // Which of the two it is they do not say, so that nobody can guess names.
            (Some(403 | 404), _) if says(&["cachedcontent not found"]) => {
                Some(FaultClass::NotFound)
            }
            (Some(404), _) | (None, "NOT_FOUND") => {
                let model = says(&["models/", "publisher model", "no longer available"]);
                model.then_some(FaultClass::ModelNotFound)
            }
            (Some(429), _) | (None, "RESOURCE_EXHAUSTED") => Some(self.exhausted(&says)),
            _ => None,
        }
    }

    /// A limit, an empty purse, or a place that is full right now.
    fn exhausted(&self, says: &dyn Fn(&[&str]) -> bool) -> FaultClass {
        let counted = self.detail("QuotaFailure").is_some() || self.detail("RetryInfo").is_some();
        if counted {
            FaultClass::RateLimited
        } else if says(&["check your plan and billing", "spend cap", "spending cap"]) {
            FaultClass::Billing
        } else if says(&["resource exhausted. please try again"]) {
            // Vertex without a quota of its own: the place's capacity is gone for the moment.
            FaultClass::Overloaded
        } else {
            FaultClass::RateLimited
        }
    }

    /// The first quota that was exceeded.
    fn quota(&self) -> Option<&'a str> {
        let failure = self.detail("QuotaFailure")?;
        failure["violations"][0]["quotaId"].as_str()
    }

    fn code(&self) -> Option<String> {
        let (domain, reason) = self.info();
        if domain == OURS {
            let info = self.detail("ErrorInfo")?;
            return info["metadata"]["code"].as_str().map(str::to_owned);
        }
        let reason = Some(reason).filter(|r| !r.is_empty());
        reason.or_else(|| self.quota()).map(str::to_owned)
    }

    fn field(&self) -> Option<&'a str> {
        let request = self.detail("BadRequest")?;
        let field = request["fieldViolations"][0]["field"].as_str();
        field.filter(|f| !f.is_empty())
    }

    /// What `RetryInfo` says, but for limits of a day: for those it is known to say a few seconds.
    fn retry_after(&self) -> Option<Duration> {
        if self.quota().is_some_and(|id| id.contains("PerDay")) {
            return None;
        }
        let delay = self.detail("RetryInfo")?["retryDelay"].as_str()?;
        let seconds: f64 = delay.strip_suffix('s')?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

fn bad_request(says: &dyn Fn(&[&str]) -> bool) -> Option<FaultClass> {
    if says(&["api key not valid", "api key expired"]) {
        Some(FaultClass::Unauthenticated)
    } else if says(&["token count"]) && says(&["exceeds"]) {
        Some(FaultClass::ContextTooLong)
    } else if says(&["request payload size exceeds"]) {
        Some(FaultClass::TooLarge)
    } else if says(&["usage guidelines", "responsible ai", "safety filter"]) {
        Some(FaultClass::ContentPolicy)
    } else {
        None
    }
}

/// Reasons of `ErrorInfo` that are exact.
fn by_reason(reason: &str) -> Option<FaultClass> {
    Some(match reason {
        "API_KEY_INVALID" | "API_KEY_EXPIRED" | "ACCESS_TOKEN_EXPIRED" | "CREDENTIALS_MISSING" => {
            FaultClass::Unauthenticated
        }
        "SERVICE_DISABLED"
        | "API_KEY_SERVICE_BLOCKED"
        | "API_KEY_HTTP_REFERRER_BLOCKED"
        | "API_KEY_IP_ADDRESS_BLOCKED"
        | "CONSUMER_SUSPENDED"
        | "IAM_PERMISSION_DENIED" => FaultClass::Forbidden,
        "BILLING_DISABLED" => FaultClass::Billing,
        _ => return None,
    })
}

fn by_status_word(word: &str) -> Option<FaultClass> {
    Some(match word {
        "INVALID_ARGUMENT" | "OUT_OF_RANGE" => FaultClass::Invalid,
        // The region is not served, or the model not switched on for the project.
        "FAILED_PRECONDITION" | "PERMISSION_DENIED" => FaultClass::Forbidden,
        "UNAUTHENTICATED" => FaultClass::Unauthenticated,
        "NOT_FOUND" => FaultClass::NotFound,
        "ABORTED" | "ALREADY_EXISTS" => FaultClass::Conflict,
        "RESOURCE_EXHAUSTED" => FaultClass::RateLimited,
        "CANCELLED" => FaultClass::RequestTimeout,
        "INTERNAL" | "UNKNOWN" | "DATA_LOSS" => FaultClass::UpstreamBroken,
        "UNAVAILABLE" => FaultClass::Overloaded,
        "DEADLINE_EXCEEDED" => FaultClass::UpstreamTimeout,
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
        408 | 499 => FaultClass::RequestTimeout,
        409 => FaultClass::Conflict,
        413 => FaultClass::TooLarge,
        426 => FaultClass::UpgradeRequired,
        429 => FaultClass::RateLimited,
        503 | 529 => FaultClass::Overloaded,
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

/// A provider's words as they may be told: bounded, and without what looks like a key.
fn told(message: &str) -> String {
    let end = (0..=MESSAGE_BYTES_MAX.min(message.len()))
        .rev()
        .find(|at| message.is_char_boundary(*at))
        .unwrap_or(0);
    let words = message[..end].split(' ').map(|word| {
        let bare = word.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_key = ["AIza", "ya29.", "AQ."]
            .iter()
            .any(|p| bare.starts_with(p) && bare.len() > p.len() + 4);
        if is_key { "(key)" } else { word }
    });
    words.collect::<Vec<&str>>().join(" ")
}

/// Status and body of our refusal, such that the official clients raise the right error.
#[must_use]
pub fn write(fault: &Fault, id: &str) -> (u16, Bytes) {
    let mut out = BytesMut::from("{");
    write_object(fault, id, &mut out);
    out.extend_from_slice(b"}");
    (status_and_word(fault.class).0, out.freeze())
}

/// Appends `"error":{…}`.
pub(super) fn write_object(fault: &Fault, id: &str, out: &mut BytesMut) {
    let (status, word) = status_and_word(fault.class);
    json::key("error", out);
    out.extend_from_slice(b"{");
    json::key("code", out);
    json::integer(status, out);
    json::field("message", &fault.message, out);
    json::field("status", word, out);
    json::key("details", out);
    out.extend_from_slice(b"[");
    info(fault, out);
    if let Some(field) = &fault.field {
        detail("BadRequest", out);
        out.extend_from_slice(b",\"fieldViolations\":[{");
        json::field("field", field, out);
        json::field("description", &fault.message, out);
        out.extend_from_slice(b"}]}");
    }
    if let Some(wait) = fault.retry_after {
        detail("RetryInfo", out);
        json::field("retryDelay", &delay(wait), out);
        out.extend_from_slice(b"}");
    }
    if !id.is_empty() {
        detail("RequestInfo", out);
        json::field("requestId", id, out);
        out.extend_from_slice(b"}");
    }
    out.extend_from_slice(b"]}");
}

/// Opens a detail.
fn detail(kind: &str, out: &mut BytesMut) {
    json::comma(out);
    out.extend_from_slice(b"{\"@type\":\"type.googleapis.com/google.rpc.");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\"");
}

/// What Google's few words cannot tell apart.
fn info(fault: &Fault, out: &mut BytesMut) {
    detail("ErrorInfo", out);
    json::field("reason", &fault.class.as_str().to_ascii_uppercase(), out);
    json::field("domain", OURS, out);
    if let Some(code) = &fault.code {
        json::key("metadata", out);
        out.extend_from_slice(b"{");
        json::field("code", code, out);
        out.extend_from_slice(b"}");
    }
    out.extend_from_slice(b"}");
}

/// A duration as ProtoJSON has it.
fn delay(wait: Duration) -> String {
    if wait.subsec_nanos() == 0 {
        format!("{}s", wait.as_secs())
    } else {
        format!("{}.{:09}s", wait.as_secs(), wait.subsec_nanos())
    }
}

/// HTTP status, and google.rpc.Code's name for it. Google has no 402: an empty purse is a limit.
fn status_and_word(class: FaultClass) -> (u16, &'static str) {
    let word = match class {
        FaultClass::Invalid
        | FaultClass::ContextTooLong
        | FaultClass::ContentPolicy
        | FaultClass::TooLarge => "INVALID_ARGUMENT",
        FaultClass::Unauthenticated => "UNAUTHENTICATED",
        FaultClass::Billing => return (429, "RESOURCE_EXHAUSTED"),
        FaultClass::Forbidden => "PERMISSION_DENIED",
        FaultClass::NotFound | FaultClass::ModelNotFound => "NOT_FOUND",
        FaultClass::MethodNotAllowed => "UNIMPLEMENTED",
        FaultClass::RequestTimeout | FaultClass::UpstreamTimeout => "DEADLINE_EXCEEDED",
        FaultClass::Conflict => "ABORTED",
        FaultClass::UpgradeRequired => "FAILED_PRECONDITION",
        FaultClass::RateLimited => "RESOURCE_EXHAUSTED",
        FaultClass::Internal => "INTERNAL",
        FaultClass::UpstreamBroken | FaultClass::Unavailable | FaultClass::Overloaded => {
            "UNAVAILABLE"
        }
    };
    (class.status(), word)
}

const CLASSES: [FaultClass; 19] = [
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
    FaultClass::Internal,
    FaultClass::UpstreamBroken,
    FaultClass::Unavailable,
    FaultClass::Overloaded,
    FaultClass::UpstreamTimeout,
];

fn class_of_reason(reason: &str) -> Option<FaultClass> {
    CLASSES
        .into_iter()
        .find(|class| class.as_str().eq_ignore_ascii_case(reason))
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
                r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#,
                C::Unauthenticated,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
                C::ContextTooLong,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"Function call is missing a thought_signature in functionCall parts","status":"INVALID_ARGUMENT"}}"#,
                C::Invalid,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#,
                C::Forbidden,
            ),
            (
                401,
                r#"{"error":{"code":401,"message":"m","status":"UNAUTHENTICATED"}}"#,
                C::Unauthenticated,
            ),
            (
                403,
                r#"{"error":{"code":403,"message":"m","status":"PERMISSION_DENIED"}}"#,
                C::Forbidden,
            ),
            (
                403,
                r#"{"error":{"code":403,"message":"CachedContent not found (or permission denied)","status":"PERMISSION_DENIED"}}"#,
                C::NotFound,
            ),
            (
                404,
                r#"{"error":{"code":404,"message":"models/x is not found for API version v1beta","status":"NOT_FOUND"}}"#,
                C::ModelNotFound,
            ),
            (
                404,
                r#"{"error":{"code":404,"message":"Publisher Model `projects/p` not found","status":"NOT_FOUND"}}"#,
                C::ModelNotFound,
            ),
            (404, "", C::NotFound),
            (
                429,
                r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details","status":"RESOURCE_EXHAUSTED"}}"#,
                C::Billing,
            ),
            (
                429,
                r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"APerMinute"}]}]}}"#,
                C::RateLimited,
            ),
            (
                429,
                r#"[{"error":{"code":429,"message":"Resource exhausted. Please try again later.","status":"RESOURCE_EXHAUSTED"}}]"#,
                C::Overloaded,
            ),
            (
                429,
                r#"{"error":{"code":429,"message":"Resource has been exhausted (e.g. check quota).","status":"RESOURCE_EXHAUSTED"}}"#,
                C::RateLimited,
            ),
            (
                499,
                r#"{"error":{"code":499,"message":"m","status":"CANCELLED"}}"#,
                C::RequestTimeout,
            ),
            (
                500,
                r#"{"error":{"code":500,"message":"m","status":"INTERNAL"}}"#,
                C::UpstreamBroken,
            ),
            (
                503,
                r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#,
                C::Overloaded,
            ),
            (
                504,
                r#"{"error":{"code":504,"message":"m","status":"DEADLINE_EXCEEDED"}}"#,
                C::UpstreamTimeout,
            ),
            (502, "<html>bad gateway</html>", C::UpstreamBroken),
            (413, "", C::TooLarge),
            (418, "short and stout", C::Invalid),
            (500, r#"{"error":"text"}"#, C::UpstreamBroken),
            (599, "null", C::UpstreamBroken),
            (429, "[]", C::RateLimited),
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

    fn limited(quota: &str) -> Fault {
        let body = format!(
            r#"{{"error":{{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{{"quotaId":"{quota}"}}]}},{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.074824224s"}}]}}}}"#
        );
        read(429, body.as_bytes())
    }

    #[test]
    fn a_limit_says_when_to_come_back_unless_it_is_of_a_day() {
        let minute = limited("TokensPerModelPerMinute");
        assert_eq!(minute.retry_after, Some(Duration::new(34, 74_824_224)));
        assert_eq!(minute.code.as_deref(), Some("TokensPerModelPerMinute"));
        let day = limited("RequestsPerDayPerProject-FreeTier");
        assert_eq!(
            (day.class, day.retry_after),
            (FaultClass::RateLimited, None)
        );
    }

    #[test]
    fn an_error_within_a_stream_says_its_own_status() {
        let fault = read_chunk(
            r#"[{"candidates":[]},{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}]"#,
        );
        assert_eq!(
            (fault.class, fault.upstream_status),
            (FaultClass::Overloaded, Some(503))
        );
    }

    #[test]
    fn what_we_write_we_read() {
        for class in CLASSES {
            let fault = Fault {
                class,
                retry_after: Some(Duration::from_millis(1_500)),
                ..Fault::invalid("contents[0]", "no \"good\"").with_code("c")
            };
            let (status, body) = write(&fault, "x1");
            let again = read(status, &body);
            assert_eq!(
                Fault {
                    upstream_status: None,
                    ..again
                },
                fault
            );
            let value: Value = serde_json::from_slice(&body).expect("json");
            assert_eq!(value["error"]["code"], status);
        }
    }

    #[test]
    fn no_key_is_told_on() {
        let fault = read(
            400,
            br#"{"error":{"message":"API key AIzaSyA1234567 not found"}}"#,
        );
        assert_eq!(fault.message, "API key (key) not found");
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
