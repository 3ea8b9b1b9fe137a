//! A client's content blocks → canon.
//!
//! A block with a field that canon has no place for is kept whole as `Other`, so that this dialect can say it again.

use super::read::At;
use super::schema::{Fields, Path, citation};
use crate::base::Str;
use crate::canon::{Block, BlockKind, DialectName, Fault, Source, ToolInput, ToolKind};
use serde_json::value::RawValue;

/// Reads blocks, and the blocks within them.
pub(super) struct Blocks<'a> {
    at: At<'a>,
    depth: usize,
}

// A document's image within a tool's result is three deep; each level scans its text again, so a nest of a thousand would cost a thousand scans.
const DEPTH_MAX: usize = 6;

impl<'a> Blocks<'a> {
    pub(super) fn new(body: &'a Str) -> Self {
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

    /// A string, which is short for one text block, or an array of blocks. An empty string is no block.
    pub(super) fn content(&self, raw: &RawValue, path: &Path<'_>) -> Result<Vec<Block>, Fault> {
        if self.depth > DEPTH_MAX {
            return Err(path.fault(format!("must not nest deeper than {DEPTH_MAX} blocks")));
        }
        if raw.get().starts_with('"') {
            let text = self.at.text(raw, path)?;
            return Ok(if text.is_empty() {
                Vec::new()
            } else {
                vec![Block::text(text)]
            });
        }
        let items: Vec<&RawValue> = self.at.read(raw, path, "a string or an array of blocks")?;
        items
            .into_iter()
            .enumerate()
            .map(|(i, raw)| self.block(raw, &path.index(i)))
            .collect()
    }

    /// Section 2.2.
    fn block(&self, raw: &RawValue, path: &Path<'_>) -> Result<Block, Fault> {
        let mut fields = self.at.object(raw, path)?;
        let Some(word) = fields.text(self.at.body, "type") else {
            return Err(path.field("type").fault("is required: a string"));
        };
        let mark = self.at.mark(&mut fields, path)?;
        let mut signature = None;
        let kind = match &*word {
            "text" => Some(self.text(&mut fields, path)?),
            "image" => self.image(&mut fields, path)?,
            "document" => self.document(&mut fields, path)?,
            "tool_use" => self.call(&mut fields, path, ToolKind::Function)?,
            "server_tool_use" => self.call(&mut fields, path, ToolKind::Server)?,
            "tool_result" => Some(self.result(&mut fields, path)?),
            "thinking" => {
                signature = fields
                    .text(self.at.body, "signature")
                    .filter(|s| !s.is_empty());
                let text = self.required(&mut fields, path, "thinking")?;
                Some(BlockKind::Thinking { text })
            }
            "redacted_thinking" => {
                let data = self.required(&mut fields, path, "data")?;
                Some(BlockKind::RedactedThinking { data })
            }
            _ => None,
        };
        let whole = || Block {
            kind: BlockKind::Other {
                dialect: DialectName::Messages,
                json: self.at.json(raw),
            },
            mark,
            signature: None,
        };
        Ok(match kind {
            Some(kind) if fields.all_taken() => Block {
                kind,
                mark,
                signature,
            },
            _ => whole(),
        })
    }

    fn required(&self, fields: &mut Fields<'_>, path: &Path<'_>, name: &str) -> Result<Str, Fault> {
        fields
            .text(self.at.body, name)
            .ok_or_else(|| path.field(name).fault("is required: a string"))
    }

    fn optional(
        &self,
        fields: &mut Fields<'_>,
        path: &Path<'_>,
        name: &str,
    ) -> Result<Option<Str>, Fault> {
        match fields.take(name) {
            Some(raw) => Ok(Some(self.at.text(raw, &path.field(name))?)),
            None => Ok(None),
        }
    }

    fn text(&self, fields: &mut Fields<'_>, path: &Path<'_>) -> Result<BlockKind, Fault> {
        let text = self.required(fields, path, "text")?;
        let mut citations = Vec::new();
        if let Some(raw) = fields.take("citations") {
            for raw in self.at.items(raw, &path.field("citations"))? {
                citations.push(citation(self.at.body, raw));
            }
        }
        Ok(BlockKind::Text { text, citations })
    }

    fn image(&self, fields: &mut Fields<'_>, path: &Path<'_>) -> Result<Option<BlockKind>, Fault> {
        Ok(self.source(fields, path)?.map(|source| BlockKind::Image {
            source,
            detail: None,
        }))
    }

    fn document(
        &self,
        fields: &mut Fields<'_>,
        path: &Path<'_>,
    ) -> Result<Option<BlockKind>, Fault> {
        let title = self.optional(fields, path, "title")?;
        let context = self.optional(fields, path, "context")?;
        let citations = match fields.take("citations") {
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
        Ok(self
            .source(fields, path)?
            .map(|source| BlockKind::Document {
                source,
                title,
                context,
                citations,
            }))
    }

    /// `None` for a type of source that came after this was written: the block is then kept whole.
    fn source(&self, fields: &mut Fields<'_>, path: &Path<'_>) -> Result<Option<Source>, Fault> {
        let path = path.field("source");
        let raw = fields
            .take("source")
            .ok_or_else(|| path.fault("is required: an object with a type"))?;
        let mut source = self.at.object(raw, &path)?;
        let read = match &*self.required(&mut source, &path, "type")? {
            "base64" => Source::Base64 {
                media_type: self.required(&mut source, &path, "media_type")?,
                data: self.required(&mut source, &path, "data")?,
            },
            "url" => Source::Url {
                url: self.required(&mut source, &path, "url")?,
                media_type: None,
            },
            "file" => Source::File {
                id: self.required(&mut source, &path, "file_id")?,
            },
            "text" => Source::Text {
                media_type: self.required(&mut source, &path, "media_type")?,
                text: self.required(&mut source, &path, "data")?,
            },
            "content" => {
                let path = path.field("content");
                let raw = source
                    .take("content")
                    .ok_or_else(|| path.fault("is required: a string or an array of blocks"))?;
                Source::Blocks(self.within().content(raw, &path)?)
            }
            _ => return Ok(None),
        };
        Ok(source.all_taken().then_some(read))
    }

    /// `None` for a call that was not made by the model itself (`caller`), which canon cannot say; `direct` is what saying nothing means.
    fn call(
        &self,
        fields: &mut Fields<'_>,
        path: &Path<'_>,
        kind: ToolKind,
    ) -> Result<Option<BlockKind>, Fault> {
        let id = self.required(fields, path, "id")?;
        let name = self.required(fields, path, "name")?;
        let at = path.field("input");
        let input = fields
            .take("input")
            .filter(|raw| raw.get().starts_with('{'))
            .ok_or_else(|| at.fault("is required: an object"))?;
        if let Some(raw) = fields.take("caller") {
            let mut caller = self.at.object(raw, &path.field("caller"))?;
            if caller.text(self.at.body, "type").as_deref() != Some("direct") {
                return Ok(None);
            }
        }
        Ok(Some(BlockKind::ToolCall {
            id,
            name,
            input: ToolInput::Json(self.at.json(input)),
            kind,
        }))
    }

    fn result(&self, fields: &mut Fields<'_>, path: &Path<'_>) -> Result<BlockKind, Fault> {
        let id = self.required(fields, path, "tool_use_id")?;
        let content = match fields.take("content") {
            None => Vec::new(),
            Some(raw) => self.within().content(raw, &path.field("content"))?,
        };
        let is_error = match fields.take("is_error") {
            None => false,
            Some(raw) => self
                .at
                .read(raw, &path.field("is_error"), "true or false")?,
        };
        Ok(BlockKind::ToolResult {
            id,
            name: None,
            content,
            is_error,
        })
    }
}
