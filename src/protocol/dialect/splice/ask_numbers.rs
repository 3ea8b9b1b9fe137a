//! What must be known of a request whose answer is numbers: who shall give it, and how long it is.

use super::Peek;
use super::peek::{peek_counted, plain_string};
use crate::canon::{DialectName, Fault, FaultClass};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Reads a request to count tokens. As `peek`, but nothing is demanded that only an answer needs; Gemini's form may wrap the request.
pub fn peek_count(dialect: DialectName, body: &Bytes) -> Result<Peek, Fault> {
    if dialect != DialectName::Gemini {
        return peek_counted(dialect, body);
    }
    let text = object(body)?;
    let mut peek = Peek {
        stream_usage: true,
        prompt_bytes: text.len(),
        ..Peek::default()
    };
    if memchr::memmem::find(body, b"ached").is_some() {
        cached_before(body, text, &mut peek)?;
    }
    Ok(peek)
}

/// The cached prefix that a request names whose tokens are counted, in either of Google's forms and spellings.
fn cached_before(body: &Bytes, text: &str, peek: &mut Peek) -> Result<(), Fault> {
    #[derive(Deserialize)]
    struct Counted<'a> {
        #[serde(borrow, alias = "cachedContent")]
        cached_content: Option<&'a RawValue>,
        #[serde(borrow, alias = "generateContentRequest")]
        generate_content_request: Option<&'a RawValue>,
    }
    let counted: Counted<'_> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    let inner = counted.generate_content_request.map(RawValue::get);
    if let Some(inner) = inner.filter(|inner| inner.starts_with('{')) {
        return cached_before(body, inner, peek);
    }
    let Some(named) = counted.cached_content.map(RawValue::get) else {
        return Ok(());
    };
    if matches!(named, "null" | "\"\"") {
        return Ok(());
    }
    let start = named.as_ptr() as usize - body.as_ptr() as usize;
    let at = start..start + named.len();
    let name = plain_string(body, named, &at);
    let wrong = || Fault::invalid("cachedContent", "cachedContent must be a string");
    peek.cached = Some(name.ok_or_else(wrong)?);
    peek.cached_at = at;
    peek.server_state = true;
    Ok(())
}

/// Reads a request for embeddings: OpenAI's names its model, Gemini's path does.
pub fn peek_embed(dialect: DialectName, body: &Bytes) -> Result<Peek, Fault> {
    let text = object(body)?;
    if dialect == DialectName::Gemini {
        return Ok(Peek {
            prompt_bytes: text.len(),
            ..Peek::default()
        });
    }
    let ask: Ask<'_> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    let missing = |name: &str| Fault::invalid(name, format!("{name} is missing"));
    let model = ask.model.ok_or_else(|| missing("model"))?;
    let input = ask.input.ok_or_else(|| missing("input"))?;
    let start = model.get().as_ptr() as usize - body.as_ptr() as usize;
    let at = start..start + model.get().len();
    let name = plain_string(body, model.get(), &at).filter(|name| !name.is_empty());
    let name =
        name.ok_or_else(|| Fault::invalid("model", "model must be a string that is not empty"))?;
    Ok(Peek {
        model: name,
        model_at: at,
        prompt_bytes: input.get().len(),
        ..Peek::default()
    })
}

/// OpenAI API reference, embeddings, read 2026-08. A field that stands twice is an error of serde's own.
#[derive(Deserialize)]
struct Ask<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

fn object(body: &Bytes) -> Result<&str, Fault> {
    let text = simdutf8::basic::from_utf8(body)
        .map_err(|_| Fault::new(FaultClass::Invalid, "the body is not UTF-8"))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    if raw.get().starts_with('{') {
        Ok(text)
    } else {
        let message = "the body must be a JSON object";
        Err(Fault::new(FaultClass::Invalid, message))
    }
}

fn not_json(error: &serde_json::Error) -> Fault {
    // Its words for wrong types quote the value, so only the place is told.
    let (line, column) = (error.line(), error.column());
    let message = format!("the body is not JSON as it should be, at line {line} column {column}");
    Fault::new(FaultClass::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_and_the_length_of_what_is_embedded_are_found() {
        let body = Bytes::from_static(br#"{"input":["a","bc"], "model":"e" ,"dimensions":3}"#);
        let peek = peek_embed(DialectName::Chat, &body).expect("right");
        assert_eq!((&*peek.model, peek.prompt_bytes), ("e", 10));
        assert_eq!(&body[peek.model_at], b"\"e\"");
        for (wrong, field) in [
            (r#"{"input":"x"}"#, Some("model")),
            (r#"{"model":"m"}"#, Some("input")),
            (r#"{"model":7,"input":"x"}"#, Some("model")),
            ("[]", None),
            ("{", None),
            (r#"{"model":"a","model":"b","input":"x"}"#, None),
        ] {
            let fault = peek_embed(DialectName::Chat, &Bytes::from(wrong)).expect_err(wrong);
            assert_eq!(
                (fault.class, fault.field.as_deref()),
                (FaultClass::Invalid, field),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_count_needs_no_limit() {
        let body =
            Bytes::from_static(br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#);
        let peek = peek_count(DialectName::Messages, &body).expect("right");
        assert_eq!(&*peek.model, "m");
        let body = Bytes::from_static(br#"{"generateContentRequest":{"contents":[]}}"#);
        assert!(peek_count(DialectName::Gemini, &body).is_ok());
        for body in [
            r#"{"contents":[],"cached_content":"cachedContents/a"}"#,
            r#"{"generateContentRequest":{"cachedContent":"cachedContents/a","contents":[]}}"#,
        ] {
            let peek = peek_count(DialectName::Gemini, &Bytes::from(body)).expect("right");
            assert_eq!(peek.cached.as_deref(), Some("cachedContents/a"));
            assert_eq!(&body[peek.cached_at], r#""cachedContents/a""#);
        }
        let body = Bytes::from_static(br#"{"contents":[],"cachedContent":7}"#);
        let fault = peek_count(DialectName::Gemini, &body).expect_err("a number");
        assert_eq!(fault.field.as_deref(), Some("cachedContent"));
    }
}
