//! Canon's blocks → content blocks of a provider's request (section 2.2).

use super::schema::{Fields, Object, Path};
use super::write::{Marks, Rulings, holds_mark};
use super::write_turns::Arranged;
use crate::base::{Json, Str};
use crate::canon::{
    Block, BlockKind, CacheMark, Citation, DialectName, Fault, Role, Source, ToolInput, ToolKind,
};
use crate::protocol::dialect::responses;
use base64::Engine as _;
use bytes::BytesMut;
use std::borrow::Cow;

/// False for what the API refuses as empty.
pub(super) fn says_something(block: &Block) -> bool {
    match &block.kind {
        BlockKind::Text { text, .. } | BlockKind::Refusal { text } => !text.is_empty(),
        // Only Anthropic's own thinking can be sent back, and its signature is how it is known.
        BlockKind::Thinking { .. } => block.signature.is_some(),
        _ => true,
    }
}

/// Section 7.1: marks stand on all but thinking and empty text.
pub(super) fn markable(block: &Block) -> bool {
    says_something(block)
        && match &block.kind {
            BlockKind::Thinking { .. }
            | BlockKind::RedactedThinking { .. }
            | BlockKind::Audio { .. }
            | BlockKind::Video { .. } => false,
            BlockKind::Other { dialect, .. } => *dialect == DialectName::Messages,
            _ => true,
        }
}

/// Whether `block` is written. False and reported: what is dropped by rule, and thinking that another issuer made. `Err`: what this API
/// cannot take.
pub(super) fn keep(block: &Block, path: &Path<'_>, rules: &mut Rulings<'_>) -> Result<bool, Fault> {
    let (name, why) = match &block.kind {
        BlockKind::Audio { .. } => ("audio", "is audio, which the messages api does not take"),
        BlockKind::Video { .. } => ("video", "is video, which the messages api does not take"),
        BlockKind::Other { .. } if responses::is_note(block) => {
            rules.dropped("phase");
            return Ok(false);
        }
        BlockKind::Other { dialect, .. } if *dialect != DialectName::Messages => (
            "other_blocks",
            "is a kind of block that only another dialect has; the messages api does not take it",
        ),
        _ => {
            if !markable(block) && block.mark.is_some() && says_something(block) {
                rules.dropped("cache_control");
            }
            let thinking = matches!(block.kind, BlockKind::Thinking { .. });
            if thinking && block.signature.is_none() {
                rules.dropped("thinking");
            }
            return Ok(says_something(block));
        }
    };
    if rules.drops(name) {
        rules.dropped(name);
        return Ok(false);
    }
    Err(path.fault(why))
}

pub(super) struct BlockWriter<'w, 'a> {
    pub marks: &'w mut Marks,
    pub rules: &'w mut Rulings<'a>,
}

impl BlockWriter<'_, '_> {
    /// The blocks that will be written, each with its index.
    pub(super) fn kept<'b>(
        &mut self,
        blocks: &'b [Block],
        path: &Path<'_>,
    ) -> Result<Vec<(usize, &'b Block)>, Fault> {
        let mut kept = Vec::with_capacity(blocks.len());
        for (i, block) in blocks.iter().enumerate() {
            if keep(block, &path.index(i), self.rules)? {
                kept.push((i, block));
            }
        }
        Ok(kept)
    }

    pub(super) fn turn(&mut self, turn: &Arranged<'_>, out: &mut BytesMut) -> Result<(), Fault> {
        let mut object = Object::open(out);
        object.text(
            "role",
            match turn.role {
                Role::User => "user",
                Role::Assistant => "assistant",
                Role::System => "system",
            },
        );
        object.try_array("content", &turn.blocks, |(block, (t, b)), out| {
            let messages = Path::Root.field("messages");
            let turn_path = messages.index(*t);
            let content = turn_path.field("content");
            if turn.role == Role::System {
                self.system_block(block, &content.index(*b), out)
            } else {
                self.block(block, &content.index(*b), out)
            }
        })?;
        object.close();
        Ok(())
    }

    /// Instructions are text; what only this dialect has (`tool_addition`) passes.
    pub(super) fn system_block(
        &mut self,
        block: &Block,
        path: &Path<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Fault> {
        match &block.kind {
            BlockKind::Text { .. } | BlockKind::Other { .. } => self.block(block, path, out),
            _ => Err(path.fault("must be text: instructions hold nothing else")),
        }
    }

    fn block(&mut self, block: &Block, path: &Path<'_>, out: &mut BytesMut) -> Result<(), Fault> {
        if let BlockKind::Other { json, .. } = &block.kind {
            write_other(json, block.mark, out);
            return Ok(());
        }
        let mark = match (markable(block), block.mark) {
            (true, mark) => self.marks.next(mark),
            (false, _) => None,
        };
        let mut object = Object::open(out);
        match &block.kind {
            BlockKind::Text { text, citations } => self.text(text, citations, &mut object),
            BlockKind::Refusal { text } => self.text(text, &[], &mut object),
            BlockKind::Image { source, detail } => {
                if detail.as_deref().is_some_and(|d| d != "auto") {
                    self.rules.dropped("detail");
                }
                object.text("type", "image");
                self.image_source(source, &path.field("source"), object.value("source"))?;
            }
            BlockKind::Document { .. } => self.document(&block.kind, path, &mut object)?,
            BlockKind::ToolCall {
                id,
                name,
                input,
                kind,
            } => {
                if block.signature.is_some() {
                    self.rules.dropped("signature");
                }
                write_call(id, name, input, kind, &mut object);
            }
            BlockKind::ToolResult {
                id,
                content,
                is_error,
                ..
            } => self.result(id, content, *is_error, path, &mut object)?,
            BlockKind::Thinking { text } => {
                object.text("type", "thinking");
                object.text("thinking", text);
                object.text("signature", block.signature.as_deref().unwrap_or_default());
            }
            BlockKind::RedactedThinking { data } => {
                object.text("type", "redacted_thinking");
                object.text("data", data);
            }
            BlockKind::Audio { .. } | BlockKind::Video { .. } | BlockKind::Other { .. } => {
                return Err(path.fault("is a block that the messages api does not take"));
            }
        }
        if let Some(mark) = mark {
            object.mark(mark);
        }
        object.close();
        Ok(())
    }

    fn text(&mut self, text: &str, citations: &[Citation], object: &mut Object<'_>) {
        object.text("type", "text");
        object.text("text", text);
        let own = |c: &&Citation| c.dialect == DialectName::Messages;
        if !citations.iter().all(|c| own(&c)) {
            self.rules.dropped("citations");
        }
        if citations.iter().any(|c| own(&c)) {
            object.array("citations", citations.iter().filter(own), |c, out| {
                out.extend_from_slice(c.json.get().as_bytes());
            });
        }
    }

    fn image_source(
        &mut self,
        source: &Source,
        path: &Path<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Fault> {
        match source {
            Source::Base64 { media_type, data } => write_base64(media_type, data, out),
            Source::Url { url, .. } => match data_url(url) {
                Some(Ok((media_type, data))) => write_base64(&media_type, data, out),
                Some(Err(why)) => return Err(path.fault(why)),
                None => write_named("url", "url", url, out),
            },
            Source::File { id } => write_named("file", "file_id", id, out),
            Source::Text { .. } | Source::Blocks(_) => {
                return Err(path.fault("must be base64, a url or a file for an image"));
            }
        }
        Ok(())
    }

    fn document(
        &mut self,
        kind: &BlockKind,
        path: &Path<'_>,
        object: &mut Object<'_>,
    ) -> Result<(), Fault> {
        let BlockKind::Document {
            source,
            title,
            context,
            citations,
        } = kind
        else {
            return Ok(());
        };
        object.text("type", "document");
        let path = path.field("source");
        self.document_source(source, &path, object.value("source"))?;
        object.text_if("title", title.as_ref());
        object.text_if("context", context.as_ref());
        if let Some(enabled) = citations {
            let mut inner = Object::open(object.value("citations"));
            inner.flag("enabled", *enabled);
            inner.close();
        }
        Ok(())
    }

    fn document_source(
        &mut self,
        source: &Source,
        path: &Path<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Fault> {
        match source {
            Source::Base64 { media_type, data } => document_bytes(media_type, data, path, out),
            Source::Url { url, .. } => match data_url(url) {
                Some(Ok((media_type, data))) => document_bytes(&media_type, data, path, out),
                Some(Err(why)) => Err(path.fault(why)),
                None => {
                    write_named("url", "url", url, out);
                    Ok(())
                }
            },
            Source::File { id } => {
                write_named("file", "file_id", id, out);
                Ok(())
            }
            Source::Text { media_type, text } => {
                write_text_source(media_type, text, out);
                Ok(())
            }
            Source::Blocks(blocks) => {
                let path = path.field("content");
                let blocks = self.kept(blocks, &path)?;
                let mut object = Object::typed(out, "content");
                object.try_array("content", blocks, |(i, block), out| {
                    self.block(block, &path.index(i), out)
                })?;
                object.close();
                Ok(())
            }
        }
    }

    fn result(
        &mut self,
        id: &str,
        content: &[Block],
        is_error: bool,
        path: &Path<'_>,
        object: &mut Object<'_>,
    ) -> Result<(), Fault> {
        object.text("type", "tool_result");
        object.text("tool_use_id", &tool_id(id));
        let path = path.field("content");
        let content = self.kept(content, &path)?;
        if !content.is_empty() {
            object.try_array("content", content, |(i, block), out| {
                self.block(block, &path.index(i), out)
            })?;
        }
        if is_error {
            object.flag("is_error", true);
        }
        Ok(())
    }
}

/// A block that is kept whole; a mark of our own is put at its end.
fn write_other(json: &Json, mark: Option<CacheMark>, out: &mut BytesMut) {
    let text = json.get();
    match (mark, text.strip_suffix('}')) {
        (Some(mark), Some(head)) if !holds_mark(json) => {
            let empty = Fields::of(text).is_none_or(|f| f.all_taken());
            out.extend_from_slice(head.as_bytes());
            let mut tail = BytesMut::new();
            let mut object = Object::open(&mut tail);
            object.mark(mark);
            object.close();
            out.extend_from_slice(if empty { b"" } else { b"," });
            out.extend_from_slice(&tail[1..]);
        }
        _ => out.extend_from_slice(text.as_bytes()),
    }
}

fn write_call(id: &str, name: &str, input: &ToolInput, kind: &ToolKind, object: &mut Object<'_>) {
    object.text(
        "type",
        match kind {
            ToolKind::Function | ToolKind::Custom => "tool_use",
            ToolKind::Server => "server_tool_use",
        },
    );
    object.text("id", &tool_id(id));
    object.text("name", name);
    let text = match input {
        ToolInput::Json(json) => json.get(),
        ToolInput::Text(text) => text,
    };
    write_input(text, kind, object.value("input"));
}

/// A tool's input as the object that this API wants (`providers/openai.md` 15, rule 1): nothing is `{}`, a custom tool's text stands in
/// `input`, and what a model wrote and is no object stands in `raw`, so that no call is lost.
pub(super) fn write_input(text: &str, kind: &ToolKind, out: &mut BytesMut) {
    let text_field = match kind {
        ToolKind::Custom => "input",
        ToolKind::Function | ToolKind::Server if text.trim_ascii().is_empty() => {
            out.extend_from_slice(b"{}");
            return;
        }
        ToolKind::Function | ToolKind::Server if Fields::of(text).is_some() => {
            out.extend_from_slice(text.trim_ascii().as_bytes());
            return;
        }
        ToolKind::Function | ToolKind::Server => "raw",
    };
    let mut object = Object::open(out);
    object.text(text_field, text);
    object.close();
}

/// Ids of other issuers hold what this API's pattern `[A-Za-z0-9_-]+` does not; call and result are changed alike.
fn tool_id(id: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if id.is_empty() {
        return Cow::Borrowed("_");
    }
    if id.chars().all(fits) {
        return Cow::Borrowed(id);
    }
    let change = |c| if fits(c) { c } else { '_' };
    Cow::Owned(id.chars().map(change).collect())
}

fn write_base64(media_type: &str, data: &str, out: &mut BytesMut) {
    let mut object = Object::typed(out, "base64");
    object.text("media_type", media_type);
    object.text("data", data);
    object.close();
}

fn write_named(kind: &str, name: &str, value: &str, out: &mut BytesMut) {
    let mut object = Object::typed(out, kind);
    object.text(name, value);
    object.close();
}

fn write_text_source(media_type: &str, text: &str, out: &mut BytesMut) {
    let mut object = Object::typed(out, "text");
    object.text("media_type", media_type);
    object.text("data", text);
    object.close();
}

/// A PDF stays base64; text of any kind becomes plain text, which is the other thing the API reads.
fn document_bytes(
    media_type: &str,
    data: &str,
    path: &Path<'_>,
    out: &mut BytesMut,
) -> Result<(), Fault> {
    if media_type == "application/pdf" {
        write_base64(media_type, data, out);
        return Ok(());
    }
    let texts = ["application/json", "application/xml", "application/yaml"];
    if !media_type.starts_with("text/") && !texts.contains(&media_type) {
        let message = format!("is {media_type:?}; documents are application/pdf or text");
        return Err(path.fault(message));
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(data);
    let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| path.fault("must be the base64 of UTF-8 text"))?;
    write_text_source("text/plain", &text, out);
    Ok(())
}

/// The media type and base64 of a `data:` URL; `None` for another URL, `Err` for one that is not base64.
fn data_url(url: &str) -> Option<Result<(Str, &str), &'static str>> {
    let rest = url
        .get(..5)
        .filter(|s| s.eq_ignore_ascii_case("data:"))
        .map(|_| &url[5..])?;
    let Some((head, data)) = rest.split_once(',') else {
        return Some(Err("is a data url without a comma ahead of its data"));
    };
    let Some(kind) = head.strip_suffix(";base64") else {
        return Some(Err("must be a base64 data url"));
    };
    let media_type = kind.split(';').next().filter(|m| !m.is_empty());
    // RFC 2397: text/plain when nothing is said.
    Some(Ok((Str::from(media_type.unwrap_or("text/plain")), data)))
}
