//! Blocks, sources, citations and cache marks, both ways.

use super::schema::{DIALECTS, Fields, TOOL_KINDS, TTLS, TextOr, word_of};
use crate::base::{Json, Str};
use crate::canon::{
    Block, BlockKind, CacheMark, Citation, DialectName, Extra, Fault, Source, ToolInput, ToolKind,
};
use crate::protocol::json;
use bytes::BytesMut;

/// Blocks within blocks, deep: a tool's result that holds a document made of blocks needs three.
const DEPTH_MAX: u32 = 8;

/// A string is one text block; not there is none.
pub fn read_content(fields: &mut Fields<'_>, name: &str) -> Result<Vec<Block>, Fault> {
    content(fields, name, 0)
}

fn content(fields: &mut Fields<'_>, name: &str, depth: u32) -> Result<Vec<Block>, Fault> {
    if depth > DEPTH_MAX {
        return Err(fields.fault(name, "is nested too deep"));
    }
    match fields.text_or_objects(name)? {
        None => Ok(Vec::new()),
        Some(TextOr::Text(text)) => Ok(vec![Block::text(text)]),
        Some(TextOr::Objects(list)) => list.into_iter().map(|f| block(f, depth)).collect(),
    }
}

fn block(mut f: Fields<'_>, depth: u32) -> Result<Block, Fault> {
    let block = Block {
        kind: kind(&mut f, depth)?,
        mark: read_mark(&mut f, "cache")?,
        signature: f.text("signature")?,
    };
    f.end()?;
    Ok(block)
}

fn kind(f: &mut Fields<'_>, depth: u32) -> Result<BlockKind, Fault> {
    let name = f.text_needed("type")?;
    Ok(match &*name {
        "text" => BlockKind::Text {
            text: f.text_needed("text")?,
            citations: read_citations(f)?,
        },
        "image" => BlockKind::Image {
            source: source(f, depth)?,
            detail: f.text("detail")?,
        },
        "document" => BlockKind::Document {
            source: source(f, depth)?,
            title: f.text("title")?,
            context: f.text("context")?,
            citations: f.boolean("citations")?,
        },
        "audio" => BlockKind::Audio {
            source: source(f, depth)?,
            format: f.text("format")?,
        },
        "video" => BlockKind::Video {
            source: source(f, depth)?,
        },
        "tool_call" => BlockKind::ToolCall {
            id: f.text_needed("id")?,
            name: f.text_needed("name")?,
            input: tool_input(f)?,
            kind: f.word("kind", TOOL_KINDS)?.unwrap_or(ToolKind::Function),
        },
        "tool_result" => BlockKind::ToolResult {
            id: f.text_needed("id")?,
            name: f.text("name")?,
            content: content(f, "content", depth + 1)?,
            is_error: f.boolean("is_error")?.unwrap_or(false),
        },
        "thinking" => BlockKind::Thinking {
            text: f.text_needed("text")?,
        },
        "redacted_thinking" => BlockKind::RedactedThinking {
            data: f.text_needed("data")?,
        },
        "refusal" => BlockKind::Refusal {
            text: f.text_needed("text")?,
        },
        "other" => BlockKind::Other {
            dialect: read_dialect(f)?,
            json: f.json_needed("json")?,
        },
        _ => {
            return Err(f.fault(
                "type",
                "must be one of: text, image, document, audio, video, tool_call, tool_result, thinking, redacted_thinking, refusal, other",
            ));
        }
    })
}

fn tool_input(f: &mut Fields<'_>) -> Result<ToolInput, Fault> {
    match (f.json_said("input"), f.text("input_text")?) {
        (Some(_), Some(_)) => Err(f.fault("input_text", "excludes input")),
        (None, Some(text)) => Ok(ToolInput::Text(text)),
        (Some(json), None) => Ok(ToolInput::Json(json)),
        (None, None) => Ok(ToolInput::Json(Json::empty_object())),
    }
}

fn source(f: &mut Fields<'_>, depth: u32) -> Result<Source, Fault> {
    let Some(mut s) = f.object("source")? else {
        return Err(f.fault("source", "is missing"));
    };
    let name = s.text_needed("type")?;
    let source = match &*name {
        "base64" => Source::Base64 {
            media_type: s.text_needed("media_type")?,
            data: s.text_needed("data")?,
        },
        "url" => Source::Url {
            url: s.text_needed("url")?,
            media_type: s.text("media_type")?,
        },
        "file" => Source::File {
            id: s.text_needed("id")?,
        },
        "text" => Source::Text {
            media_type: s.text_needed("media_type")?,
            text: s.text_needed("text")?,
        },
        "blocks" => Source::Blocks(content(&mut s, "blocks", depth + 1)?),
        _ => return Err(s.fault("type", "must be one of: base64, url, file, text, blocks")),
    };
    s.end()?;
    Ok(source)
}

pub fn read_mark(f: &mut Fields<'_>, name: &str) -> Result<Option<CacheMark>, Fault> {
    let Some(mut m) = f.object(name)? else {
        return Ok(None);
    };
    let mark = CacheMark {
        ttl: m.word("ttl", TTLS)?,
    };
    m.end()?;
    Ok(Some(mark))
}

pub fn read_dialect(f: &mut Fields<'_>) -> Result<DialectName, Fault> {
    f.word("dialect", DIALECTS)?
        .ok_or_else(|| f.fault("dialect", "is missing"))
}

pub fn read_citations(f: &mut Fields<'_>) -> Result<Vec<Citation>, Fault> {
    f.objects("citations")?
        .unwrap_or_default()
        .into_iter()
        .map(read_citation)
        .collect()
}

pub fn read_citation(mut c: Fields<'_>) -> Result<Citation, Fault> {
    let citation = Citation {
        dialect: read_dialect(&mut c)?,
        json: c.json_needed("json")?,
        url: c.text("url")?,
        title: c.text("title")?,
        cited_text: c.text("cited_text")?,
    };
    c.end()?;
    Ok(citation)
}

pub fn read_extra(mut e: Fields<'_>) -> Result<Extra, Fault> {
    let extra = Extra {
        dialect: read_dialect(&mut e)?,
        name: e.text_needed("name")?,
        value: e.json_needed("value")?,
    };
    e.end()?;
    Ok(extra)
}

pub fn read_extras(f: &mut Fields<'_>) -> Result<Vec<Extra>, Fault> {
    f.objects("extra")?
        .unwrap_or_default()
        .into_iter()
        .map(read_extra)
        .collect()
}

pub fn optional(name: &str, value: &Option<Str>, out: &mut BytesMut) {
    if let Some(value) = value {
        json::field(name, value, out);
    }
}

pub fn boolean(name: &str, value: bool, out: &mut BytesMut) {
    raw(name, if value { "true" } else { "false" }, out);
}

/// `value` is JSON.
pub fn raw(name: &str, value: &str, out: &mut BytesMut) {
    json::key(name, out);
    out.extend_from_slice(value.as_bytes());
}

/// Appends `"name":[…]`, each item by `write`.
pub fn list<T>(name: &str, items: &[T], out: &mut BytesMut, write: impl Fn(&T, &mut BytesMut)) {
    json::key(name, out);
    out.extend_from_slice(b"[");
    for item in items {
        json::comma(out);
        write(item, out);
    }
    out.extend_from_slice(b"]");
}

/// Appends `"name":{…}`.
pub fn object(name: &str, out: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
    json::key(name, out);
    braces(out, fill);
}

/// Appends `{…}`.
pub fn braces(out: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
    out.extend_from_slice(b"{");
    fill(out);
    out.extend_from_slice(b"}");
}

pub fn write_mark(name: &str, mark: Option<CacheMark>, out: &mut BytesMut) {
    let Some(mark) = mark else {
        return;
    };
    object(name, out, |out| {
        if let Some(ttl) = mark.ttl {
            json::field("ttl", word_of(TTLS, &ttl), out);
        }
    });
}

pub fn write_citation(citation: &Citation, out: &mut BytesMut) {
    braces(out, |out| {
        json::field("dialect", citation.dialect.as_str(), out);
        raw("json", citation.json.get(), out);
        optional("url", &citation.url, out);
        optional("title", &citation.title, out);
        optional("cited_text", &citation.cited_text, out);
    });
}

pub fn write_citations(citations: &[Citation], out: &mut BytesMut) {
    if !citations.is_empty() {
        list("citations", citations, out, write_citation);
    }
}

pub fn write_extra(extra: &Extra, out: &mut BytesMut) {
    braces(out, |out| {
        json::field("dialect", extra.dialect.as_str(), out);
        json::field("name", &extra.name, out);
        raw("value", extra.value.get(), out);
    });
}

pub fn write_block(block: &Block, out: &mut BytesMut) {
    braces(out, |out| {
        write_kind(&block.kind, out);
        write_mark("cache", block.mark, out);
        optional("signature", &block.signature, out);
    });
}

fn write_kind(kind: &BlockKind, out: &mut BytesMut) {
    let named = |name: &str, out: &mut BytesMut| json::field("type", name, out);
    match kind {
        BlockKind::Text { text, citations } => {
            named("text", out);
            json::field("text", text, out);
            write_citations(citations, out);
        }
        BlockKind::Image { source, detail } => {
            named("image", out);
            write_source(source, out);
            optional("detail", detail, out);
        }
        BlockKind::Document {
            source,
            title,
            context,
            citations,
        } => {
            named("document", out);
            write_source(source, out);
            optional("title", title, out);
            optional("context", context, out);
            if let Some(citations) = citations {
                boolean("citations", *citations, out);
            }
        }
        BlockKind::Audio { source, format } => {
            named("audio", out);
            write_source(source, out);
            optional("format", format, out);
        }
        BlockKind::Video { source } => {
            named("video", out);
            write_source(source, out);
        }
        BlockKind::ToolCall {
            id,
            name,
            input,
            kind,
        } => {
            named("tool_call", out);
            json::field("id", id, out);
            json::field("name", name, out);
            write_tool_kind(kind, out);
            match input {
                ToolInput::Json(input) => raw("input", input.get(), out),
                ToolInput::Text(text) => json::field("input_text", text, out),
            }
        }
        BlockKind::ToolResult {
            id,
            name,
            content,
            is_error,
        } => {
            named("tool_result", out);
            json::field("id", id, out);
            optional("name", name, out);
            list("content", content, out, write_block);
            if *is_error {
                boolean("is_error", true, out);
            }
        }
        BlockKind::Thinking { text } => {
            named("thinking", out);
            json::field("text", text, out);
        }
        BlockKind::RedactedThinking { data } => {
            named("redacted_thinking", out);
            json::field("data", data, out);
        }
        BlockKind::Refusal { text } => {
            named("refusal", out);
            json::field("text", text, out);
        }
        BlockKind::Other {
            dialect,
            json: value,
        } => {
            named("other", out);
            json::field("dialect", dialect.as_str(), out);
            raw("json", value.get(), out);
        }
    }
}

pub fn write_tool_kind(kind: &ToolKind, out: &mut BytesMut) {
    if *kind != ToolKind::Function {
        json::field("kind", word_of(TOOL_KINDS, kind), out);
    }
}

fn write_source(source: &Source, out: &mut BytesMut) {
    object("source", out, |out| match source {
        Source::Base64 { media_type, data } => {
            json::field("type", "base64", out);
            json::field("media_type", media_type, out);
            json::field("data", data, out);
        }
        Source::Url { url, media_type } => {
            json::field("type", "url", out);
            json::field("url", url, out);
            optional("media_type", media_type, out);
        }
        Source::File { id } => {
            json::field("type", "file", out);
            json::field("id", id, out);
        }
        Source::Text { media_type, text } => {
            json::field("type", "text", out);
            json::field("media_type", media_type, out);
            json::field("text", text, out);
        }
        Source::Blocks(blocks) => {
            json::field("type", "blocks", out);
            list("blocks", blocks, out, write_block);
        }
    });
}
