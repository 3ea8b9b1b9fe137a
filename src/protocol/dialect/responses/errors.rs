//! Refusals: a provider's → `Fault`, and ours → OpenAI's error object.
//!
//! The body is that of Chat Completions, so its reader and writer serve here too; what only Responses says are the codes of an answer
//! that failed (OpenAI API reference, ResponseError, read 2026-08).

use crate::base::Json;
use crate::canon::{Fault, FaultClass};
use crate::protocol::dialect::chat;
use bytes::Bytes;
use serde_json::Value;

/// What a provider's refusal means.
#[must_use]
pub fn read(status: u16, body: &[u8]) -> Fault {
    classed(chat::errors::read(status, body))
}

/// Status and body of our refusal.
#[must_use]
pub fn write(fault: &Fault, id: &str) -> (u16, Bytes) {
    chat::errors::write(fault, id)
}

/// An `error` event, in any of its forms: flat as documented, nested as sent, or a bare error object.
pub(in crate::protocol::dialect) fn read_event(json: &str) -> Fault {
    let value: Value = serde_json::from_str(json).unwrap_or_default();
    classed(chat::errors::read_value(None, &value))
}

/// `response.error` of an answer that failed; null is a failure without a reason.
pub(super) fn read_failed(error: Option<&Json>) -> Fault {
    match error {
        Some(error) => read_event(&format!("{{\"error\":{}}}", error.get())),
        None => Fault::new(
            FaultClass::UpstreamBroken,
            "the provider says that the answer failed, and not why",
        ),
    }
}

/// Retry only `server_error` and `rate_limit_exceeded`: the others are the request's fault.
fn classed(fault: Fault) -> Fault {
    let class = match fault.code.as_deref().unwrap_or_default() {
        "invalid_prompt"
        | "bio_policy"
        | "misalignment_policy_violation"
        | "image_content_policy_violation" => FaultClass::ContentPolicy,
        "data_residency_mismatch"
        | "vector_store_timeout"
        | "invalid_image"
        | "invalid_image_format"
        | "invalid_base64_image"
        | "invalid_image_url"
        | "image_too_large"
        | "image_too_small"
        | "image_parse_error"
        | "invalid_image_mode"
        | "image_file_too_large"
        | "unsupported_image_media_type"
        | "empty_image_file"
        | "failed_to_download_image"
        | "image_file_not_found"
        | "previous_response_not_found"
        | "unsupported_file" => FaultClass::Invalid,
        _ => return fault,
    };
    Fault { class, ..fault }
}

/// `code` of an answer that failed, in the words the official clients know.
pub(super) fn code(fault: &Fault) -> &str {
    match (&fault.code, fault.class) {
        (Some(code), _) => code,
        (None, FaultClass::RateLimited) => "rate_limit_exceeded",
        (None, FaultClass::ContentPolicy | FaultClass::Invalid) => "invalid_prompt",
        (None, FaultClass::ContextTooLong) => "context_length_exceeded",
        (None, FaultClass::Billing) => "insufficient_quota",
        (None, _) => "server_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_failure_has_its_class() {
        use FaultClass as C;
        for (json, class, code) in [
            (
                r#"{"type":"error","code":"rate_limit_exceeded","message":"m","param":null}"#,
                C::RateLimited,
                "rate_limit_exceeded",
            ),
            (
                r#"{"type":"error","error":{"type":"insufficient_quota","code":"insufficient_quota","message":"m"}}"#,
                C::Billing,
                "insufficient_quota",
            ),
            (
                r#"{"type":"error","status":400,"error":{"type":"invalid_request_error","code":"previous_response_not_found","message":"m"}}"#,
                C::Invalid,
                "previous_response_not_found",
            ),
            (
                r#"{"error":{"code":"server_error","message":"m"}}"#,
                C::UpstreamBroken,
                "server_error",
            ),
            (
                r#"{"error":{"code":"invalid_prompt","message":"m"}}"#,
                C::ContentPolicy,
                "invalid_prompt",
            ),
            (
                r#"{"error":{"code":"image_parse_error","message":"m"}}"#,
                C::Invalid,
                "image_parse_error",
            ),
        ] {
            let fault = read_event(json);
            assert_eq!(
                (fault.class, fault.code.as_deref()),
                (class, Some(code)),
                "{json}"
            );
            assert_eq!(fault.message, "m");
        }
        assert_eq!(read_failed(None).class, C::UpstreamBroken);
    }

    #[test]
    fn a_refusal_is_that_of_chat() {
        let fault = Fault::invalid("input[0]", "expected an object").with_code("invalid_value");
        let (status, body) = write(&fault, "x");
        assert_eq!(status, 400);
        let again = read(status, &body);
        assert_eq!(
            (again.class, again.field, again.code),
            (fault.class, fault.field, fault.code)
        );
    }
}
