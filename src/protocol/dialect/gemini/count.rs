//! countTokens: how long a prompt is, before it is asked (Gemini API reference, read 2026-08).

use super::node::Node;
use super::request;
use crate::base::{Json, Str, Tokens};
use crate::canon::{Fault, FaultClass, Request};
use crate::protocol::dialect::Target;
use crate::protocol::json;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a count came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    pub total: Tokens,
    /// The part of it that lies in an explicit cache.
    pub cached: Option<Tokens>,
    /// By modality, as the provider wrote it.
    pub details: Option<Json>,
}

/// Reads a request: bare contents, or a whole request within `generateContentRequest`, as the Gemini API takes it. Vertex takes the latter's
/// members beside the contents.
pub fn read(body: &Bytes) -> Result<Request, Fault> {
    let broken = |why: &str| Fault::new(FaultClass::Invalid, why).with_code("invalid_json");
    let text = Str::try_from(body.clone()).map_err(|_| broken("the body is not UTF-8"))?;
    let raw: &RawValue = serde_json::from_str(&text).map_err(|_| broken("the body is not JSON"))?;
    let root = Node::root(&text, raw);
    if !root.is_object() {
        return Err(broken("the body is not a JSON object"));
    }
    match root.members()?.get(&root, "generateContentRequest") {
        Some(inner) => request::read(&inner.json().text().clone().into_bytes()),
        None => request::read(body),
    }
}

/// Writes a request: the Gemini API wants all that is not contents within `generateContentRequest`, and there the model's name again.
pub fn write(request: &Request, target: &Target<'_>) -> Result<(Bytes, Vec<String>), Fault> {
    let (inner, dropped) = request::write(request, target)?;
    let mut out = BytesMut::from("{\"generateContentRequest\":{\"model\":\"models/");
    json::escaped(target.model, &mut out);
    out.extend_from_slice(b"\",");
    // A request is never empty: it has contents.
    out.extend_from_slice(&inner[1..]);
    out.extend_from_slice(b"}");
    Ok((out.freeze(), dropped))
}

/// As `write`, for Vertex, which takes the request's own members: those that are counted, without what steers the answer.
pub fn write_for_vertex(
    request: &Request,
    target: &Target<'_>,
) -> Result<(Bytes, Vec<String>), Fault> {
    let counted = Request {
        turns: request.turns.clone(),
        system: request.system.clone(),
        tools: request.tools.clone(),
        ..Request::default()
    };
    request::write(&counted, target)
}

/// Reads an answer. `None` for what is none.
#[must_use]
pub fn read_answer(body: &[u8]) -> Option<Counted> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        /// Left out where it is 0, as ProtoJSON does.
        #[serde(default)]
        total_tokens: u64,
        cached_content_token_count: Option<u64>,
        prompt_tokens_details: Option<Json>,
        error: Option<serde::de::IgnoredAny>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    answer.error.is_none().then_some(Counted {
        total: Tokens(answer.total_tokens),
        cached: answer.cached_content_token_count.map(Tokens),
        details: answer.prompt_tokens_details,
    })
}

#[must_use]
pub fn write_answer(counted: &Counted) -> Bytes {
    let mut out = BytesMut::from("{");
    json::key("totalTokens", &mut out);
    json::integer(counted.total.0, &mut out);
    if let Some(cached) = counted.cached {
        json::key("cachedContentTokenCount", &mut out);
        json::integer(cached.0, &mut out);
    }
    if let Some(details) = &counted.details {
        json::key("promptTokensDetails", &mut out);
        out.extend_from_slice(details.get().as_bytes());
    }
    out.extend_from_slice(b"}");
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::dialect::Rules;

    #[test]
    fn both_forms_of_a_request_are_the_same_request() {
        let inner = r#"{"contents":[{"role":"user","parts":[{"text":"a"}]}],"systemInstruction":{"parts":[{"text":"s"}]},"generationConfig":{"topK":3}}"#;
        let outer = format!(r#"{{"generate_content_request":{inner}}}"#);
        let bare = read(&Bytes::from(inner)).expect("right");
        assert_eq!(read(&Bytes::from(outer)), Ok(bare.clone()));
        let rules = Rules::default();
        let target = Target {
            model: "g",
            stream: false,
            max_output_default: 1,
            rules: &rules,
        };
        let (written, _) = write(&bare, &target).expect("can be said");
        assert!(written.starts_with(b"{\"generateContentRequest\":{\"model\":\"models/g\","));
        assert_eq!(read(&written), Ok(bare.clone()));
        let (written, _) = write_for_vertex(&bare, &target).expect("can be said");
        let counted = read(&written).expect("right");
        assert_eq!(
            (&counted.turns, &counted.system),
            (&bare.turns, &bare.system)
        );
        assert_eq!(counted.sampling.top_k, None);
    }

    #[test]
    fn an_answer_reads_back() {
        let body = br#"{"totalTokens":31,"cachedContentTokenCount":5,"promptTokensDetails":[{"modality":"TEXT","tokenCount":31}]}"#;
        let counted = read_answer(body).expect("an answer");
        assert_eq!(
            (counted.total, counted.cached),
            (Tokens(31), Some(Tokens(5)))
        );
        assert_eq!(&write_answer(&counted)[..], body);
        assert_eq!(read_answer(b"{}"), Some(Counted::default()));
        for wrong in [&b"[]"[..], b"{\"error\":{}}", b"<html>"] {
            assert_eq!(read_answer(wrong), None);
        }
    }
}
