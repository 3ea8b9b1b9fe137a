//! What Google adds to an error: a status in words, and details that say why and how long (google.rpc.Status; `providers/gemini.md` 7,
//! `providers/vertex.md` 9).

use super::one;
use crate::canon::FaultClass;
use crate::protocol::provider::{ProviderKind, when};
use serde_json::Value;
use std::time::Duration;

fn details<'a>(body: &'a Value, kind: &'static str) -> impl Iterator<Item = &'a Value> {
    let details = one(body)
        .pointer("/error/details")
        .and_then(Value::as_array);
    details.into_iter().flatten().filter(move |detail| {
        let named = detail.get("@type").and_then(Value::as_str);
        named.is_some_and(|name| name.ends_with(kind))
    })
}

/// `API_KEY_INVALID`, `SERVICE_DISABLED`, ….
pub(super) fn reason(body: &Value) -> Option<&str> {
    details(body, "google.rpc.ErrorInfo").find_map(|d| d.get("reason")?.as_str())
}

/// The field that a 400 is about, as Google names it.
pub(super) fn field(body: &Value) -> Option<String> {
    let violation = |d: &Value| {
        let field = d.pointer("/fieldViolations/0/field")?.as_str()?;
        (!field.is_empty()).then(|| field.chars().take(500).collect())
    };
    details(body, "google.rpc.BadRequest").find_map(violation)
}

/// How long to wait, as a refusal's details say.
pub(super) fn retry_delay(body: &Value) -> Option<Duration> {
    details(body, "google.rpc.RetryInfo")
        .find_map(|d| when::go_duration(d.get("retryDelay")?.as_str()?))
}

/// The names of the quotas that were exceeded.
pub(super) fn quotas(body: &Value) -> impl Iterator<Item = &str> {
    details(body, "google.rpc.QuotaFailure")
        .filter_map(|d| d.get("violations")?.as_array())
        .flatten()
        .filter_map(|v| {
            let named = v.get("quotaId").or_else(|| v.get("quotaMetric"));
            named?.as_str()
        })
}

/// A quota of a whole day: RetryInfo may still name seconds, which nobody should trust (gemini.md 7).
pub(super) fn is_daily(body: &Value) -> bool {
    quotas(body).any(|id| id.contains("PerDay"))
}

pub(super) fn class(body: &Value, kind: ProviderKind, message: &str) -> Option<FaultClass> {
    let status = one(body).pointer("/error/status")?.as_str()?;
    let by_reason = match reason(body) {
        Some("API_KEY_INVALID" | "ACCESS_TOKEN_EXPIRED" | "CREDENTIALS_MISSING") => {
            Some(FaultClass::Unauthenticated)
        }
        Some("SERVICE_DISABLED" | "CONSUMER_SUSPENDED" | "API_KEY_SERVICE_BLOCKED") => {
            Some(FaultClass::Forbidden)
        }
        Some("BILLING_DISABLED") => Some(FaultClass::Billing),
        _ => None,
    };
    by_reason.or_else(|| by_status(status, body, kind, message))
}

fn by_status(status: &str, body: &Value, kind: ProviderKind, message: &str) -> Option<FaultClass> {
    Some(match status {
        "INVALID_ARGUMENT" | "OUT_OF_RANGE" => FaultClass::Invalid,
        // The project may not use it here: region, billing or a model that was not enabled; another place may have it.
        "FAILED_PRECONDITION" if message.contains("billing") => FaultClass::Billing,
        "FAILED_PRECONDITION" => FaultClass::Forbidden,
        "UNAUTHENTICATED" => FaultClass::Unauthenticated,
        // gemini.md 6: a cache that has expired is told from a foreign one by nobody, and is no fault of the key.
        "PERMISSION_DENIED"
            if message
                .to_ascii_lowercase()
                .contains("cachedcontent not found") =>
        {
            FaultClass::NotFound
        }
        "PERMISSION_DENIED" => FaultClass::Forbidden,
        "NOT_FOUND" => FaultClass::NotFound,
        "ABORTED" | "ALREADY_EXISTS" => FaultClass::Conflict,
        // gemini.md 7: the spend cap uses the words of a quota, but names none.
        "RESOURCE_EXHAUSTED"
            if message.contains("check your plan and billing")
                && quotas(body).next().is_none()
                && retry_delay(body).is_none() =>
        {
            FaultClass::Billing
        }
        "RESOURCE_EXHAUSTED" if kind == ProviderKind::Vertex && !message.contains("uota") => {
            FaultClass::Overloaded
        }
        "RESOURCE_EXHAUSTED" => FaultClass::RateLimited,
        "UNAVAILABLE" => FaultClass::Overloaded,
        "DEADLINE_EXCEEDED" => FaultClass::UpstreamTimeout,
        "INTERNAL" | "UNKNOWN" | "DATA_LOSS" | "CANCELLED" => FaultClass::UpstreamBroken,
        _ => return None,
    })
}
