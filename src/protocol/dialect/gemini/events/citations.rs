//! Where statements come from: grounding and citations ⇄ canon's citations.

use crate::base::{Json, Str};
use crate::canon::{Citation, DialectName};
use crate::protocol::json;
use bytes::BytesMut;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The citations of `groundingMetadata`: one for each support and source (Gemini docs, grounding, read 2026-08).
pub(super) fn of_grounding(raw: &RawValue) -> Vec<Citation> {
    let value: Value = serde_json::from_str(raw.get()).unwrap_or_default();
    let chunks = value["groundingChunks"].as_array();
    let mut citations = Vec::new();
    for support in value["groundingSupports"].as_array().into_iter().flatten() {
        let indices = support["groundingChunkIndices"].as_array();
        for index in indices.into_iter().flatten().filter_map(Value::as_u64) {
            let at = usize::try_from(index).ok();
            let chunk = at.and_then(|at| chunks?.get(at));
            citations.extend(chunk.map(|chunk| of_chunk(chunk, &support["segment"])));
        }
    }
    citations
}

fn of_chunk(chunk: &Value, segment: &Value) -> Citation {
    let kinds = ["web", "retrievedContext", "maps", "image"];
    let source = kinds.iter().find_map(|kind| chunk.get(kind));
    let of = |names: &[&str]| {
        let found = names.iter().find_map(|name| source?.get(name)?.as_str());
        found.map(Str::from)
    };
    Citation {
        dialect: DialectName::Gemini,
        json: Json::of(&json!({"groundingChunk": chunk, "segment": segment})),
        url: of(&["uri", "sourceUri"]),
        title: of(&["title"]),
        cited_text: of(&["text"]),
    }
}

/// The citations of `citationMetadata`: sources that the model quoted at length. Vertex has another name for the list.
pub(super) fn of_quotes(raw: &RawValue) -> Vec<Citation> {
    let value: Value = serde_json::from_str(raw.get()).unwrap_or_default();
    let lists = [&value["citationSources"], &value["citations"]];
    let sources = lists.iter().filter_map(|l| l.as_array()).flatten();
    let of = |source: &Value, name: &str| source[name].as_str().map(Str::from);
    sources
        .map(|source| Citation {
            dialect: DialectName::Gemini,
            json: Json::of(source),
            url: of(source, "uri"),
            title: of(source, "title"),
            cited_text: None,
        })
        .collect()
}

/// A statement of an answer and what other dialects cite for it.
#[derive(Clone, Debug)]
pub(super) struct Cited {
    pub choice: u32,
    /// Where the statement stands among the bytes of the choice's text.
    pub from: u64,
    pub to: u64,
    pub citation: Citation,
}

/// Appends `groundingMetadata` of what was cited in `choice`; nothing, and false, where nothing was.
pub(super) fn write(cited: &[Cited], choice: u32, out: &mut BytesMut) -> bool {
    let of_choice: Vec<&Cited> = cited.iter().filter(|c| c.choice == choice).collect();
    if of_choice.is_empty() {
        return false;
    }
    json::key("groundingMetadata", out);
    out.extend_from_slice(b"{\"groundingChunks\":[");
    for cited in &of_choice {
        json::comma(out);
        chunk(&cited.citation, out);
    }
    out.extend_from_slice(b"],\"groundingSupports\":[");
    for (i, cited) in of_choice.iter().enumerate() {
        json::comma(out);
        out.extend_from_slice(b"{\"segment\":{\"startIndex\":");
        json::integer(cited.from, out);
        out.extend_from_slice(b",\"endIndex\":");
        json::integer(cited.to, out);
        out.extend_from_slice(b"},\"groundingChunkIndices\":[");
        json::integer(i, out);
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(b"]}");
    true
}

/// A page of the web where there is an address, else something that was looked up.
fn chunk(citation: &Citation, out: &mut BytesMut) {
    let kind = if citation.url.is_some() && citation.cited_text.is_none() {
        "web"
    } else {
        "retrievedContext"
    };
    out.extend_from_slice(b"{");
    json::key(kind, out);
    out.extend_from_slice(b"{");
    for (name, value) in [
        ("uri", &citation.url),
        ("title", &citation.title),
        ("text", &citation.cited_text),
    ] {
        if let Some(value) = value {
            json::field(name, value, out);
        }
    }
    out.extend_from_slice(b"}}");
}
