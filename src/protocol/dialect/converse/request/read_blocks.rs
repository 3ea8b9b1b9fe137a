//! Converse's content blocks → canon.
//!
//! A block is a union: one member, whose name says what it is. A block with a field that canon has no place for is kept whole as `Other`,
//! so that this dialect can say it again. A cache point is a block of its own here, and a mark on the block ahead of it in canon.

use super::super::formats::{self, DOCUMENTS, IMAGES, VIDEOS};
use crate::base::{Json, Str};
use crate::canon::{
    Block, BlockKind, CacheMark, Citation, DialectName, Fault, Source, ToolInput, ToolKind,
};
use crate::protocol::dialect::messages::read::At;
use crate::protocol::dialect::messages::schema::{Fields, Path, items_of, text_of};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

/// Reads blocks, and the blocks within them.
pub(in crate::protocol::dialect::converse) struct Blocks<'a> {
    at: At<'a>,
    depth: usize,
}

// A document's text within a tool's result is three deep; each level scans its text again.
const DEPTH_MAX: usize = 6;

impl<'a> Blocks<'a> {
    pub(in crate::protocol::dialect::converse) fn new(body: &'a Str) -> Self {
        Self {
            at: At { body },
            depth: 0,
        }
    }

    fn within(&self) -> Self {
        Self {
            at: At { body: self.at.body },
            depth: self.depth + 1,
        }
    }

    pub(in crate::protocol::dialect::converse) fn content(
        &self,
        raw: &RawValue,
        path: &Path<'_>,
    ) -> Result<Vec<Block>, Fault> {
        if self.depth > DEPTH_MAX {
            return Err(path.fault(format!("must not nest deeper than {DEPTH_MAX} blocks")));
        }
        let mut blocks: Vec<Block> = Vec::new();
        for (i, raw) in self.at.items(raw, path)?.into_iter().enumerate() {
            if let (Some(last), Some(mark)) = (blocks.last_mut(), self.cache_point(raw))
                && last.mark.is_none()
            {
                last.mark = Some(mark);
                continue;
            }
            blocks.push(self.block(raw, &path.index(i))?);
        }
        Ok(blocks)
    }

    fn cache_point(&self, raw: &RawValue) -> Option<CacheMark> {
        let mut fields = Fields::of(raw.get())?;
        let point = fields.take("cachePoint")?;
        mark_of(self.at.body, point).filter(|_| fields.all_taken())
    }

    fn block(&self, raw: &RawValue, path: &Path<'_>) -> Result<Block, Fault> {
        let fields = self.at.object(raw, path)?;
        let mut members = fields.left().filter(|(_, raw)| raw.get() != "null");
        let (member, others) = (members.next(), members.next());
        let Some((name, value)) = member else {
            return Err(path.fault("must be a block: an object with one member"));
        };
        let at = path.field(name);
        let block = match name {
            _ if others.is_some() => None,
            "text" => Some(Block::text(self.at.text(value, &at)?)),
            "image" => self.image(value, &at)?,
            "document" => self.document(value, &at)?,
            "video" => self.video(value, &at)?,
            "audio" => self.audio(value, &at)?,
            "toolUse" => self.call(value, &at)?,
            "toolResult" => self.result(value, &at)?,
            "reasoningContent" => self.reasoning(value),
            "citationsContent" => cited(self.at.body, value),
            // `guardContent`, `searchResult`, `toolAddition`, a cache point with nothing ahead of it, and what came after this was written.
            _ => None,
        };
        Ok(block.unwrap_or_else(|| {
            Block::plain(BlockKind::Other {
                dialect: DialectName::Converse,
                json: self.at.json(raw),
            })
        }))
    }

    fn required(&self, fields: &mut Fields<'_>, path: &Path<'_>, name: &str) -> Result<Str, Fault> {
        fields
            .text(self.at.body, name)
            .ok_or_else(|| path.field(name).fault("is required: a string"))
    }

    /// Bytes, or an address in S3. `None`: another source, or an address with an owner; the block is then kept whole.
    fn bytes_or_s3(
        &self,
        fields: &mut Fields<'_>,
        path: &Path<'_>,
        media_type: Str,
    ) -> Result<Option<Source>, Fault> {
        let path = path.field("source");
        let raw = fields
            .take("source")
            .ok_or_else(|| path.fault("is required: an object"))?;
        let mut source = self.at.object(raw, &path)?;
        let read = if let Some(data) = source.text(self.at.body, "bytes") {
            Source::Base64 { media_type, data }
        } else if let Some(raw) = source.take("s3Location") {
            let path = path.field("s3Location");
            let mut location = self.at.object(raw, &path)?;
            let url = self.required(&mut location, &path, "uri")?;
            if !location.all_taken() || !url.starts_with("s3://") {
                return Ok(None);
            }
            Source::Url {
                url,
                media_type: Some(media_type),
            }
        } else {
            return Ok(None);
        };
        Ok(source.all_taken().then_some(read))
    }

    fn image(&self, raw: &RawValue, path: &Path<'_>) -> Result<Option<Block>, Fault> {
        let mut image = self.at.object(raw, path)?;
        let format = self.required(&mut image, path, "format")?;
        let Some(media_type) = formats::media_type(IMAGES, &format) else {
            return Ok(None);
        };
        let source = self.bytes_or_s3(&mut image, path, Str::from_static(media_type))?;
        Ok(source.filter(|_| image.all_taken()).map(|source| {
            Block::plain(BlockKind::Image {
                source,
                detail: None,
            })
        }))
    }

    fn video(&self, raw: &RawValue, path: &Path<'_>) -> Result<Option<Block>, Fault> {
        let mut video = self.at.object(raw, path)?;
        let format = self.required(&mut video, path, "format")?;
        let Some(media_type) = formats::media_type(VIDEOS, &format) else {
            return Ok(None);
        };
        let source = self.bytes_or_s3(&mut video, path, Str::from_static(media_type))?;
        Ok(source
            .filter(|_| video.all_taken())
            .map(|source| Block::plain(BlockKind::Video { source })))
    }

    fn audio(&self, raw: &RawValue, path: &Path<'_>) -> Result<Option<Block>, Fault> {
        let mut audio = self.at.object(raw, path)?;
        let format = self.required(&mut audio, path, "format")?;
        let media_type = formats::audio_media_type(&format);
        let source = self.bytes_or_s3(&mut audio, path, media_type)?;
        Ok(source.filter(|_| audio.all_taken()).map(|source| {
            Block::plain(BlockKind::Audio {
                source,
                format: Some(format),
            })
        }))
    }

    fn document(&self, raw: &RawValue, path: &Path<'_>) -> Result<Option<Block>, Fault> {
        let mut document = self.at.object(raw, path)?;
        let format = document.text(self.at.body, "format");
        let title = document.text(self.at.body, "name");
        let context = document.text(self.at.body, "context");
        let citations = match document.take("citations") {
            None => None,
            Some(raw) => {
                let path = path.field("citations");
                match self.at.object(raw, &path)?.take("enabled") {
                    None => None,
                    Some(raw) => {
                        Some(self.at.read(raw, &path.field("enabled"), "true or false")?)
                    }
                }
            }
        };
        let Some(source) = self.document_source(&mut document, path, format.as_deref())? else {
            return Ok(None);
        };
        Ok(document.all_taken().then(|| {
            Block::plain(BlockKind::Document {
                source,
                title,
                context,
                citations,
            })
        }))
    }

    fn document_source(
        &self,
        fields: &mut Fields<'_>,
        path: &Path<'_>,
        format: Option<&str>,
    ) -> Result<Option<Source>, Fault> {
        // `txt` is what Converse takes a document for that does not say.
        let Some(media_type) = formats::media_type(DOCUMENTS, format.unwrap_or("txt")) else {
            return Ok(None);
        };
        let media_type = Str::from_static(media_type);
        let given = fields.left().find(|(name, _)| *name == "source");
        let Some(mut source) = given.and_then(|(_, raw)| Fields::of(raw.get())) else {
            return self.bytes_or_s3(fields, path, media_type);
        };
        let read = if let Some(text) = source.text(self.at.body, "text") {
            Source::Text { media_type, text }
        } else if let Some(raw) = source.take("content") {
            if media_type != "text/plain" {
                return Ok(None);
            }
            let path = path.field("source");
            Source::Blocks(self.within().content(raw, &path.field("content"))?)
        } else {
            return self.bytes_or_s3(fields, path, media_type);
        };
        fields.take("source");
        Ok(source.all_taken().then_some(read))
    }

    fn call(&self, raw: &RawValue, path: &Path<'_>) -> Result<Option<Block>, Fault> {
        let mut call = self.at.object(raw, path)?;
        let id = self.required(&mut call, path, "toolUseId")?;
        let name = self.required(&mut call, path, "name")?;
        let input = call
            .take("input")
            .map_or_else(Json::empty_object, |raw| self.at.json(raw));
        let kind = match call.text(self.at.body, "type").as_deref() {
            None | Some("tool_use") => ToolKind::Function,
            Some("server_tool_use") => ToolKind::Server,
            Some(_) => return Ok(None),
        };
        Ok(call.all_taken().then(|| {
            Block::plain(BlockKind::ToolCall {
                id,
                name,
                input: ToolInput::Json(input),
                kind,
            })
        }))
    }

    /// A result with a `type` is a server tool's, which is kept whole: the client did not run it.
    fn result(&self, raw: &RawValue, path: &Path<'_>) -> Result<Option<Block>, Fault> {
        let mut result = self.at.object(raw, path)?;
        let id = self.required(&mut result, path, "toolUseId")?;
        let is_error = match result.text(self.at.body, "status").as_deref() {
            None | Some("success") => false,
            Some("error") => true,
            Some(_) => return Ok(None),
        };
        let content = match result.take("content") {
            None => Vec::new(),
            Some(raw) => self.within().content(raw, &path.field("content"))?,
        };
        Ok(result.all_taken().then(|| {
            Block::plain(BlockKind::ToolResult {
                id,
                name: None,
                content,
                is_error,
            })
        }))
    }

    fn reasoning(&self, raw: &RawValue) -> Option<Block> {
        let (kind, signature) = reasoning_of(self.at.body, raw)?;
        Some(Block {
            kind,
            mark: None,
            signature,
        })
    }
}

/// A cache point's life; `None` for another type or life than is known.
pub(in crate::protocol::dialect::converse) fn mark_of(
    body: &Str,
    point: &RawValue,
) -> Option<CacheMark> {
    let mut point = Fields::of(point.get())?;
    if point.text(body, "type").as_deref() != Some("default") {
        return None;
    }
    let ttl = match point.text(body, "ttl") {
        None => None,
        Some(word) => Some(formats::ttl(&word)?),
    };
    point.all_taken().then_some(CacheMark { ttl })
}

/// Thinking with its signature, or redacted thinking; `None` for what is neither.
pub(in crate::protocol::dialect::converse) fn reasoning_of(
    body: &Str,
    raw: &RawValue,
) -> Option<(BlockKind, Option<Str>)> {
    let mut reasoning = Fields::of(raw.get())?;
    let read = if let Some(raw) = reasoning.take("reasoningText") {
        let mut inner = Fields::of(raw.get())?;
        let text = inner.text(body, "text")?;
        let signature = inner.text(body, "signature").filter(|s| !s.is_empty());
        if !inner.all_taken() {
            return None;
        }
        (BlockKind::Thinking { text }, signature)
    } else {
        let data = redacted(&reasoning.text(body, "redactedContent")?)?;
        (BlockKind::RedactedThinking { data }, None)
    };
    reasoning.all_taken().then_some(read)
}

/// Converse sends as a blob, and so in base64, what Anthropic sends as the text `data`: unwrapped it is what every other way to this model
/// takes. `None` where it is no text.
pub(in crate::protocol::dialect::converse) fn redacted(encoded: &str) -> Option<Str> {
    let bytes = STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok().map(Str::from)
}

/// `citationsContent`: text and what it rests on, which may be nothing; several pieces of text are one (Bedrock API reference,
/// `CitationsContentBlock`, read 2026-11: both lists may be absent). `None` when it holds other than text.
pub(in crate::protocol::dialect::converse) fn cited(body: &Str, raw: &RawValue) -> Option<Block> {
    let mut fields = Fields::of(raw.get())?;
    let mut text = None;
    for raw in fields
        .take("content")
        .and_then(items_of)
        .unwrap_or_default()
    {
        let mut part = Fields::of(raw.get())?;
        let said = part.text(body, "text")?;
        if !part.all_taken() {
            return None;
        }
        text = Some(match text {
            None => said,
            Some(before) => Str::from(format!("{before}{said}")),
        });
    }
    let citations = fields.take("citations").and_then(items_of);
    let citations: Vec<Citation> = citations
        .unwrap_or_default()
        .into_iter()
        .map(|raw| citation(body, raw))
        .collect();
    if (text.is_none() && citations.is_empty()) || !fields.all_taken() {
        return None;
    }
    Some(Block::plain(BlockKind::Text {
        text: text.unwrap_or_default(),
        citations,
    }))
}

/// A citation object: the words that dialects share are lifted, the whole is kept.
pub(in crate::protocol::dialect::converse) fn citation(body: &Str, raw: &RawValue) -> Citation {
    let mut fields = Fields::of(raw.get()).unwrap_or_default();
    let location = fields.take("location").and_then(|r| Fields::of(r.get()));
    let web = location
        .and_then(|mut l| l.take("web"))
        .and_then(|r| Fields::of(r.get()));
    // Of a search result: what the caller named as its source, often its address (Bedrock API reference, `Citation`, read 2026-11).
    let named = fields
        .text(body, "source")
        .filter(|s| s.starts_with("https://") || s.starts_with("http://"));
    let source = fields.take("sourceContent").and_then(items_of);
    let first = source.and_then(|items| items.into_iter().next());
    Citation {
        dialect: DialectName::Converse,
        json: Json::within(body, raw),
        url: web.and_then(|mut w| w.text(body, "url")).or(named),
        title: fields.text(body, "title"),
        cited_text: first
            .and_then(|raw| Fields::of(raw.get()))
            .and_then(|mut f| f.take("text"))
            .and_then(|raw| text_of(body, raw)),
    }
}
