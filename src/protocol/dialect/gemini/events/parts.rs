//! Single parts as Gemini's clients read them.

use crate::canon::{ToolInput, ToolKind};
use crate::protocol::dialect::gemini::request::arguments;
use crate::protocol::json;
use bytes::BytesMut;

/// Writes the signature, and closes the part.
fn end(signature: Option<&str>, out: &mut BytesMut) {
    if let Some(signature) = signature {
        json::field("thoughtSignature", signature, out);
    }
    out.extend_from_slice(b"}");
}

pub(super) fn text(text: &str, thought: bool, signature: Option<&str>, out: &mut BytesMut) {
    json::comma(out);
    out.extend_from_slice(b"{");
    json::field("text", text, out);
    if thought {
        json::key("thought", out);
        out.extend_from_slice(b"true");
    }
    end(signature, out);
}

/// A call, whole. `input` as the model wrote it: what is no object stands in a member of one.
pub(super) fn call(
    (id, name): (&str, &str),
    kind: &ToolKind,
    input: &str,
    signature: Option<&str>,
    out: &mut BytesMut,
) {
    json::comma(out);
    out.extend_from_slice(b"{\"functionCall\":{");
    if !id.is_empty() {
        json::field("id", id, out);
    }
    json::field("name", name, out);
    json::key("args", out);
    arguments(&ToolInput::Text(input.into()), kind, out);
    out.extend_from_slice(b"}");
    end(signature, out);
}

pub(super) fn inline(mime: &str, data: &str, signature: Option<&str>, out: &mut BytesMut) {
    json::comma(out);
    out.extend_from_slice(b"{\"inlineData\":{");
    json::field("mimeType", mime, out);
    json::field("data", data, out);
    out.extend_from_slice(b"}");
    end(signature, out);
}

pub(super) fn file(mime: &str, uri: &str, signature: Option<&str>, out: &mut BytesMut) {
    json::comma(out);
    out.extend_from_slice(b"{\"fileData\":{");
    json::field("mimeType", mime, out);
    json::field("fileUri", uri, out);
    out.extend_from_slice(b"}");
    end(signature, out);
}

/// The type of an audio block: `mp3` and the like are what stands behind `audio/`. OpenAI streams bare samples and does not say so.
pub(super) fn audio_type(format: Option<&str>) -> String {
    format!("audio/{}", format.unwrap_or("pcm"))
}

/// The `type` of a block of another dialect, for the report of what was dropped.
pub(super) fn type_of(json: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: String,
    }
    serde_json::from_str(json).map_or_else(|_| "other".to_owned(), |t: Typed| t.kind)
}

/// Whether a field stands beside the candidates, not within one.
pub(super) fn is_of_response(name: &str) -> bool {
    matches!(name, "promptFeedback" | "modelStatus")
}
