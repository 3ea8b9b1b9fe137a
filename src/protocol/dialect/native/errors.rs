//! A refusal as `{"error": {class, message, field, code, retryable, retry_after_ms, request_id}}`, both ways.

use super::blocks::{boolean, braces, object};
use super::schema::{Fields, text_of};
use crate::canon::{Fault, FaultClass};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};
use std::time::Duration;

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

/// What a refusal means. Total: a proxy's HTML or an empty body is read by its status alone.
pub fn read(status: u16, body: &[u8]) -> Fault {
    let fault = said(body).unwrap_or_else(|| {
        Fault::new(
            class_of(status),
            format!("status {status} with a body that is no error of this dialect"),
        )
    });
    Fault {
        upstream_status: Some(status),
        ..fault
    }
}

fn said(body: &[u8]) -> Option<Fault> {
    let text = text_of(&Bytes::copy_from_slice(body)).ok()?;
    let error = Fields::top(&text).ok()?.object("error").ok()??;
    read_fields(error).ok()
}

/// By the status alone, as `FaultClass::status` the other way.
fn class_of(status: u16) -> FaultClass {
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
        503 => FaultClass::Unavailable,
        504 => FaultClass::UpstreamTimeout,
        529 => FaultClass::Overloaded,
        400..=499 => FaultClass::Invalid,
        _ => FaultClass::UpstreamBroken,
    }
}

/// Reads an error object. A class that came after this was written is a broken upstream's.
pub fn read_fields(mut f: Fields<'_>) -> Result<Fault, Fault> {
    let word = f.text_needed("class")?;
    let class = CLASSES.into_iter().find(|c| word == c.as_str());
    Ok(Fault {
        class: class.unwrap_or(FaultClass::UpstreamBroken),
        message: f
            .text("message")?
            .map_or_else(String::new, |t| t.to_string()),
        field: f.text("field")?.map(|t| t.to_string()),
        code: f.text("code")?.map(|t| t.to_string()),
        retry_after: f.whole("retry_after_ms")?.map(Duration::from_millis),
        upstream_status: f.whole("upstream_status")?,
    })
}

/// Status and body of our refusal. `id` is the exchange's.
pub fn write(fault: &Fault, id: &str) -> (u16, Bytes) {
    let mut out = BytesMut::with_capacity(256);
    braces(&mut out, |out| {
        object("error", out, |out| write_fields(fault, Some(id), out))
    });
    (fault.class.status(), out.freeze())
}

/// Appends the fields of an error object.
pub fn write_fields(fault: &Fault, id: Option<&str>, out: &mut BytesMut) {
    json::field("class", fault.class.as_str(), out);
    json::field("message", &fault.message, out);
    if let Some(field) = &fault.field {
        json::field("field", field, out);
    }
    if let Some(code) = &fault.code {
        json::field("code", code, out);
    }
    boolean("retryable", fault.class.retryable(), out);
    if let Some(wait) = fault.retry_after {
        json::key("retry_after_ms", out);
        json::integer(wait.as_millis(), out);
    }
    if let Some(status) = fault.upstream_status {
        json::key("upstream_status", out);
        json::integer(status, out);
    }
    if let Some(id) = id {
        json::field("request_id", id, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_survives_the_way_there_and_back() {
        for class in CLASSES {
            let fault = Fault {
                class,
                message: "a \"b\"\n".to_owned(),
                field: Some("input[0]".to_owned()),
                code: Some("c".to_owned()),
                retry_after: Some(Duration::from_millis(1500)),
                upstream_status: None,
            };
            let (status, body) = write(&fault, "x1");
            assert_eq!(status, class.status());
            assert_eq!(
                read(status, &body),
                Fault {
                    upstream_status: Some(status),
                    ..fault
                }
            );
            let shown: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(shown["error"]["retryable"], class.retryable());
            assert_eq!(shown["error"]["request_id"], "x1");
        }
    }

    #[test]
    fn what_is_not_ours_is_read_by_its_status() {
        for body in [&b""[..], b"<html>", b"[]", b"{\"error\":\"x\"}", b"\xff"] {
            assert_eq!(read(429, body).class, FaultClass::RateLimited);
            assert_eq!(read(502, body).class, FaultClass::UpstreamBroken);
            assert_eq!(read(529, body).class, FaultClass::Overloaded);
            assert_eq!(read(422, body).class, FaultClass::Invalid);
        }
    }
}
