//! Refusals of providers that speak OpenAI's dialects and refuse nearly as OpenAI does → OpenAI's error object.
//!
//! OpenAI's clients take `message`, `type`, `param` and `code` as text (OpenAI API docs, "Error codes", read 2026-08). OpenRouter and vLLM say
//! `code` as a number, OpenRouter says no `type`. What else a provider tells (OpenRouter's `metadata`, Azure's `innererror`) stays where it was.
//! Deliberately not for bodies without such an object, as xAI's `{"code", "error"}`: nothing of theirs is where a client looks, so ours is written.

use super::errors::words;
use crate::canon::Fault;
use bytes::Bytes;
use serde_json::{Map, Value};

/// The body as a client of OpenAI's reads it: the same bytes where they are in its shape, `None` where no error object tells a reason.
/// `fault` is what the body was read as. Costs a parse, on refusals only.
#[must_use]
pub fn mended(fault: &Fault, body: &[u8]) -> Option<Bytes> {
    let mut said: Value = serde_json::from_slice(body).ok()?;
    let error = said.get_mut("error")?.as_object_mut()?;
    if !error.get("message").is_some_and(Value::is_string) {
        return None;
    }
    if is_in_shape(error) {
        return Some(Bytes::copy_from_slice(body));
    }
    let (kind, code) = words(fault.class);
    let text = |s: &str| Value::String(s.to_owned());
    if !error.get("type").is_some_and(Value::is_string) {
        error.insert("type".to_owned(), text(kind));
    }
    // A number is the status once more (OpenRouter and vLLM docs, read 2026-08), so nothing is lost with it.
    let code = fault.code.as_deref().or(code);
    for (name, told) in [("param", fault.field.as_deref()), ("code", code)] {
        if !error.get(name).is_some_and(Value::is_string) {
            error.insert(name.to_owned(), told.map_or(Value::Null, text));
        }
    }
    Some(said.to_string().into())
}

/// Whether no member has a type that OpenAI's clients do not expect. One that is missing reads as `None` there, which Azure's do.
fn is_in_shape(error: &Map<String, Value>) -> bool {
    let is_text = |name: &str| {
        let value = error.get(name);
        value.is_none_or(|v| v.is_string() || v.is_null())
    };
    let is_told = ["type", "code"]
        .iter()
        .any(|name| error.contains_key(*name));
    is_told && ["type", "code", "param"].into_iter().all(is_text)
}

#[cfg(test)]
mod tests {
    use super::mended;
    use crate::canon::DialectName;
    use crate::protocol::dialect::{is_refusal, read_error, write_error};
    use bytes::Bytes;
    use serde_json::{Value, json};

    /// What a client of Chat is told of `body`, as the router tells it where client and provider speak Chat.
    fn told(status: u16, body: &str) -> Bytes {
        let fault = read_error(DialectName::Chat, status, body.as_bytes());
        mended(&fault, body.as_bytes())
            .unwrap_or_else(|| write_error(DialectName::Chat, &fault, "stk_1").1)
    }

    fn error_of(body: &[u8]) -> Value {
        let said: Value = serde_json::from_slice(body).expect("json");
        said["error"].clone()
    }

    #[test]
    fn a_refusal_in_openais_shape_keeps_its_bytes() {
        for body in [
            // OpenAI.
            r#"{ "error": {"message":"m","type":"invalid_request_error","param":"messages[0]","code":"context_length_exceeded"}}"#,
            r#"{"error":{"message":"m","type":"invalid_request_error","param":null,"code":null}}"#,
            // Fireworks.
            r#"{"error":{"object":"error","type":"invalid_request_error","message":"m","code":"invalid"}}"#,
            // Azure, whose inner error tells which filter it was.
            r#"{"error":{"code":"content_filter","message":"m","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
        ] {
            assert_eq!(told(400, body), body.as_bytes());
        }
    }

    #[test]
    fn every_providers_refusal_reads_as_openais() {
        for (provider, status, body) in [
            (
                "xai",
                400,
                r#"{"code":"Some requested argument","error":"why"}"#,
            ),
            ("fireworks", 400, r#"{"detail":"why"}"#),
            ("fireworks", 400, r#"{"error":"why"}"#),
            (
                "openrouter",
                400,
                r#"{"error":{"code":400,"message":"why"}}"#,
            ),
            (
                "vllm",
                400,
                r#"{"error":{"message":"why","type":"BadRequestError","param":null,"code":400}}"#,
            ),
            (
                "vllm, old",
                400,
                r#"{"object":"error","message":"why","type":"BadRequestError","param":null,"code":400}"#,
            ),
            (
                "sglang",
                503,
                r#"{"object":"error","message":"why","type":"x","param":null,"code":503}"#,
            ),
            ("tgi", 429, r#"{"error":"why","error_type":"overloaded"}"#),
            (
                "google",
                400,
                r#"[{"error":{"code":400,"message":"why","status":"INVALID_ARGUMENT"}}]"#,
            ),
        ] {
            let error = error_of(&told(status, body));
            assert_eq!(error["message"], "why", "{provider}");
            assert!(error["type"].is_string(), "{provider}: {error}");
            for name in ["param", "code"] {
                let value = error.get(name).expect("a member, if null");
                assert!(value.is_string() || value.is_null(), "{provider}: {error}");
            }
        }
    }

    #[test]
    fn what_else_a_provider_tells_stays() {
        let body = r#"{"error":{"code":429,"message":"why","metadata":{"provider_name":"p","raw":"r"}},"user_id":"u"}"#;
        let said: Value = serde_json::from_slice(&told(429, body)).expect("json");
        assert_eq!(
            said,
            json!({"error": {"code": "rate_limit_exceeded", "message": "why", "type": "requests", "param": null,
                "metadata": {"provider_name": "p", "raw": "r"}}, "user_id": "u"})
        );
    }

    #[test]
    fn what_is_mended_is_a_refusal_of_the_dialect() {
        let body = br#"{"error":{"code":402,"message":"why"}}"#;
        let fault = read_error(DialectName::Chat, 402, body);
        let mended = mended(&fault, body).expect("an error object");
        assert!(is_refusal(DialectName::Chat, &mended));
    }

    #[test]
    fn a_body_that_tells_no_reason_is_not_mended() {
        let fault = read_error(DialectName::Chat, 500, b"");
        for body in [
            "",
            "<html>",
            "[]",
            "null",
            "{}",
            r#"{"error":null}"#,
            r#"{"error":{}}"#,
            r#"{"error":{"message":7}}"#,
        ] {
            assert_eq!(mended(&fault, body.as_bytes()), None, "{body}");
        }
    }
}
