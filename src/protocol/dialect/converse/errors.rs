//! Refusals and exceptions of Bedrock's runtime → `Fault`, and back (`providers/bedrock.md` 5 and 6).
//!
//! What a refusal is stands in a header (`x-amzn-errortype`), which a dialect does not see: `provider/bedrock.rs` reads it and asks `exception`.
//! Without it the body's own `__type`, the status and the message must do.

use crate::base::Str;
use crate::canon::{Fault, FaultClass};
use crate::protocol::dialect::messages::schema::{Fields, Object};
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// What a refusal means. Total: a proxy's HTML, an empty body and another API's JSON are read by their status.
#[must_use]
pub fn read(status: u16, body: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(body);
    let kind = Fields::of(&text).and_then(|mut f| f.text(&Str::new(), "__type"));
    let message = message_of(&text).unwrap_or_default();
    exception(kind.as_deref().unwrap_or_default(), &message, Some(status))
}

/// `{"message":…}`, in some services `{"Message":…}`.
pub(in crate::protocol) fn message_of(body: &str) -> Option<String> {
    let mut fields = Fields::of(body)?;
    let none = Str::new();
    let message = fields
        .text(&none, "message")
        .or_else(|| fields.text(&none, "Message"))
        // What a model itself said when it failed.
        .or_else(|| fields.text(&none, "originalMessage"))?;
    Some(message.to_string())
}

/// What an exception means. `kind` as a header, a body or a frame names it: `ThrottlingException`, `throttlingException`,
/// `com.amazon.coral#ThrottlingException:http://…`; empty where nothing does. `status`: of an HTTP answer; `None` within a stream.
#[must_use]
pub fn exception(kind: &str, message: &str, status: Option<u16>) -> Fault {
    let kind = bare(kind);
    let class = class_of(kind, message, status);
    let message = match (message.is_empty(), status) {
        (false, _) => message.chars().take(MESSAGE_CHARS_MAX).collect(),
        (true, Some(status)) => format!("the provider answered with status {status} and no reason"),
        (true, None) => "the provider broke off and gave no reason".to_owned(),
    };
    Fault {
        code: (!kind.is_empty()).then(|| kind.to_owned()),
        retry_after: lasting(kind, &message).then_some(LASTING),
        upstream_status: status,
        ..Fault::new(class, message)
    }
}

// Longer than any message of the API; short enough for a log line.
const MESSAGE_CHARS_MAX: usize = 2_000;

// A day's quota or one that must be raised: when it is over is not said. An hour keeps us from asking again at once, and finds out the same day.
const LASTING: Duration = Duration::from_secs(3_600);

fn lasting(kind: &str, message: &str) -> bool {
    is(kind, "ServiceQuotaExceeded") || message.contains("per day")
}

/// The name alone: without a namespace ahead of it and an address behind it.
fn bare(kind: &str) -> &str {
    let name = kind.split(':').next().unwrap_or_default();
    name.rsplit(['#', '.']).next().unwrap_or_default().trim()
}

/// Streams spell the names with a small first letter, some services leave `Exception` off.
fn is(kind: &str, name: &str) -> bool {
    let stem = |s: &'_ str| {
        s.strip_suffix("Exception")
            .unwrap_or(s)
            .to_ascii_lowercase()
    };
    stem(kind) == stem(name)
}

/// The exception's name first, then the status.
fn class_of(kind: &str, message: &str, status: Option<u16>) -> FaultClass {
    let found = KINDS.iter().find(|(name, _)| is(kind, name));
    match found.map(|(_, class)| *class) {
        Some(FaultClass::Invalid) => invalid(message),
        Some(class) => class,
        None => class_of_status(status, message),
    }
}

/// `providers/bedrock.md` 5, and what stands before Bedrock: IAM, the gateway.
const KINDS: [(&str, FaultClass); 27] = [
    ("Validation", FaultClass::Invalid),
    ("Conflict", FaultClass::Conflict),
    ("ServiceQuotaExceeded", FaultClass::RateLimited),
    ("Throttling", FaultClass::RateLimited),
    ("ThrottledException", FaultClass::RateLimited),
    ("TooManyRequests", FaultClass::RateLimited),
    ("AccessDenied", FaultClass::Forbidden),
    ("UnrecognizedClient", FaultClass::Unauthenticated),
    ("InvalidSignature", FaultClass::Unauthenticated),
    ("SignatureDoesNotMatch", FaultClass::Unauthenticated),
    ("IncompleteSignature", FaultClass::Unauthenticated),
    ("ExpiredToken", FaultClass::Unauthenticated),
    ("RequestExpired", FaultClass::Unauthenticated),
    ("InvalidClientTokenId", FaultClass::Unauthenticated),
    ("MissingAuthenticationToken", FaultClass::Unauthenticated),
    ("ResourceNotFound", FaultClass::ModelNotFound),
    // The account has not filled in Anthropic's form, without which the model is not there for it.
    ("FTUFormNotFilled", FaultClass::ModelNotFound),
    ("UnknownOperation", FaultClass::NotFound),
    ("ModelTimeout", FaultClass::UpstreamTimeout),
    ("ModelError", FaultClass::UpstreamBroken),
    ("ModelStreamError", FaultClass::UpstreamBroken),
    ("ModelNotReady", FaultClass::Overloaded),
    ("ServiceUnavailable", FaultClass::Overloaded),
    ("InternalServer", FaultClass::UpstreamBroken),
    ("InternalFailure", FaultClass::UpstreamBroken),
    ("RequestEntityTooLarge", FaultClass::TooLarge),
    ("Serialization", FaultClass::Invalid),
];

/// A wrong request says in words what other APIs say by a code.
fn invalid(message: &str) -> FaultClass {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|w| message.contains(w));
    if says(&[
        "is too long",
        "too many input tokens",
        "exceed context limit",
        "exceeds the maximum number of tokens",
        "maximum context length",
    ]) {
        FaultClass::ContextTooLong
    } else if says(&[
        "model identifier is invalid",
        "on-demand throughput",
        "end of its life",
    ]) {
        // Nobody can ask for this model by this id here: another endpoint may serve it.
        FaultClass::ModelNotFound
    } else if says(&["content filter", "blocked by"]) {
        FaultClass::ContentPolicy
    } else {
        FaultClass::Invalid
    }
}

fn class_of_status(status: Option<u16>, message: &str) -> FaultClass {
    match status {
        Some(400) => invalid(message),
        Some(401) => FaultClass::Unauthenticated,
        Some(402) => FaultClass::Billing,
        // IAM says both with one status; where the body alone is left, its words tell.
        Some(403) if message.contains("security token") || message.contains("signature") => {
            FaultClass::Unauthenticated
        }
        Some(403) => FaultClass::Forbidden,
        Some(404) => FaultClass::NotFound,
        Some(405) => FaultClass::MethodNotAllowed,
        Some(408 | 504) => FaultClass::UpstreamTimeout,
        Some(409) => FaultClass::Conflict,
        Some(413) => FaultClass::TooLarge,
        // The model's own failure, which Bedrock passes on.
        Some(424) => FaultClass::UpstreamBroken,
        Some(429) => FaultClass::RateLimited,
        Some(503 | 529) => FaultClass::Overloaded,
        Some(400..=499) => FaultClass::Invalid,
        // 5xx, and what is no refusal at all.
        _ => FaultClass::UpstreamBroken,
    }
}

/// Status and body of our refusal. Bedrock names the exception in a header; here it stands in `__type`, as AWS's JSON protocols have it.
#[must_use]
pub fn write(fault: &Fault, _id: &str) -> (u16, Bytes) {
    let (name, status) = name_of(fault.class);
    let mut out = BytesMut::new();
    let mut object = Object::open(&mut out);
    object.text("__type", name);
    object.text("message", &told(fault));
    object.close();
    (status, out.freeze())
}

/// Name and payload of the exception that ends a stream.
pub(in crate::protocol) fn write_exception(fault: &Fault) -> (String, Bytes) {
    let mut name = match &fault.code {
        // Its own name where it came from Bedrock.
        Some(code) if KINDS.iter().any(|(known, _)| is(code, known)) => code.clone(),
        _ => name_of(fault.class).0.to_owned(),
    };
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    let mut out = BytesMut::new();
    let mut object = Object::open(&mut out);
    object.text("message", &told(fault));
    object.close();
    (name, out.freeze())
}

fn told(fault: &Fault) -> String {
    match &fault.field {
        Some(field) if !fault.message.contains(&**field) => format!("{field}: {}", fault.message),
        _ => fault.message.clone(),
    }
}

/// The exception that Bedrock's own clients treat as this class deserves, and its status.
fn name_of(class: FaultClass) -> (&'static str, u16) {
    match class {
        FaultClass::Invalid
        | FaultClass::ContextTooLong
        | FaultClass::ContentPolicy
        | FaultClass::MethodNotAllowed
        | FaultClass::TooLarge
        | FaultClass::UpgradeRequired => ("ValidationException", 400),
        FaultClass::Conflict => ("ConflictException", 400),
        FaultClass::Unauthenticated => ("UnrecognizedClientException", 403),
        FaultClass::Forbidden => ("AccessDeniedException", 403),
        FaultClass::Billing => ("ServiceQuotaExceededException", 400),
        FaultClass::NotFound | FaultClass::ModelNotFound => ("ResourceNotFoundException", 404),
        FaultClass::RequestTimeout | FaultClass::UpstreamTimeout => ("ModelTimeoutException", 408),
        FaultClass::RateLimited => ("ThrottlingException", 429),
        FaultClass::Unavailable | FaultClass::Overloaded => ("ServiceUnavailableException", 503),
        FaultClass::Internal => ("InternalServerException", 500),
        FaultClass::UpstreamBroken => ("ModelErrorException", 424),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exception_of_the_page_has_its_class() {
        for (kind, message, status, class) in [
            (
                "ValidationException",
                "messages is empty",
                400,
                FaultClass::Invalid,
            ),
            (
                "ValidationException",
                "Input is too long for requested model.",
                400,
                FaultClass::ContextTooLong,
            ),
            (
                "ValidationException",
                "The provided model identifier is invalid.",
                400,
                FaultClass::ModelNotFound,
            ),
            (
                "ValidationException",
                "Invocation of model ID x with on-demand throughput isn't supported. Retry…",
                400,
                FaultClass::ModelNotFound,
            ),
            (
                "ServiceQuotaExceededException",
                "q",
                400,
                FaultClass::RateLimited,
            ),
            ("ConflictException", "c", 400, FaultClass::Conflict),
            ("AccessDeniedException", "no", 403, FaultClass::Forbidden),
            (
                "UnrecognizedClientException:http://internal.amazon.com/coral/com.amazon.coral.service/",
                "t",
                403,
                FaultClass::Unauthenticated,
            ),
            (
                "ExpiredTokenException",
                "t",
                403,
                FaultClass::Unauthenticated,
            ),
            (
                "ResourceNotFoundException",
                "r",
                404,
                FaultClass::ModelNotFound,
            ),
            (
                "ModelTimeoutException",
                "t",
                408,
                FaultClass::UpstreamTimeout,
            ),
            ("ModelErrorException", "m", 424, FaultClass::UpstreamBroken),
            (
                "com.amazon.bedrock#ThrottlingException",
                "t",
                429,
                FaultClass::RateLimited,
            ),
            ("ModelNotReadyException", "n", 429, FaultClass::Overloaded),
            (
                "InternalServerException",
                "i",
                500,
                FaultClass::UpstreamBroken,
            ),
            (
                "ServiceUnavailableException",
                "s",
                503,
                FaultClass::Overloaded,
            ),
            ("", "s", 413, FaultClass::TooLarge),
            ("NewException", "s", 429, FaultClass::RateLimited),
        ] {
            let fault = exception(kind, message, Some(status));
            assert_eq!(fault.class, class, "{kind}");
            assert_eq!(fault.upstream_status, Some(status));
        }
    }

    #[test]
    fn exceptions_in_streams_are_known_by_their_small_names() {
        for (kind, class) in [
            ("throttlingException", FaultClass::RateLimited),
            ("modelStreamErrorException", FaultClass::UpstreamBroken),
            ("validationException", FaultClass::Invalid),
            ("internalServerException", FaultClass::UpstreamBroken),
            ("serviceUnavailableException", FaultClass::Overloaded),
            ("modelTimeoutException", FaultClass::UpstreamTimeout),
            ("modelNotReadyException", FaultClass::Overloaded),
            ("whatever", FaultClass::UpstreamBroken),
        ] {
            let fault = exception(kind, "m", None);
            assert_eq!((fault.class, fault.code.as_deref()), (class, Some(kind)));
        }
    }

    #[test]
    fn a_quota_of_a_day_is_not_asked_again_at_once() {
        let day = exception(
            "ThrottlingException",
            "Too many tokens per day, please wait",
            Some(429),
        );
        assert_eq!(day.retry_after, Some(LASTING));
        let minute = exception(
            "ThrottlingException",
            "Too many tokens, please wait",
            Some(429),
        );
        assert_eq!(minute.retry_after, None);
    }

    #[test]
    fn what_we_write_we_read_as_the_same_class() {
        for class in [
            FaultClass::Invalid,
            FaultClass::Unauthenticated,
            FaultClass::Forbidden,
            FaultClass::ModelNotFound,
            FaultClass::RateLimited,
            FaultClass::Overloaded,
            FaultClass::UpstreamTimeout,
            FaultClass::UpstreamBroken,
        ] {
            let (status, body) = write(&Fault::new(class, "why"), "x");
            let fault = read(status, &body);
            assert_eq!((fault.class, &*fault.message), (class, "why"));
            let (name, data) = write_exception(&Fault::new(class, "why"));
            let text = std::str::from_utf8(&data).expect("text");
            let again = exception(&name, &message_of(text).expect("a message"), None);
            assert_eq!(again.class, class, "{name}");
        }
    }

    #[test]
    fn any_body_is_a_refusal() {
        for body in [
            "",
            "<html>",
            "[]",
            "{\"message\":3}",
            "{\"Message\":\"m\"}",
            "\u{fffd}",
        ] {
            assert!(!read(500, body.as_bytes()).message.is_empty());
        }
        let fault = read(
            403,
            br#"{"message":"The security token included in the request is expired"}"#,
        );
        assert_eq!(fault.class, FaultClass::Unauthenticated);
    }
}
