//! The system's blocks and turns → `messages`.
//!
//! System messages are written as `system`, which every speaker knows and OpenAI reads as `developer`. Thinking of earlier answers
//! has no place in OpenAI's grammar: it goes back to its speakers only if it came in this dialect, and is else left out, openly.

use super::write::Writer;
use crate::base::Str;
use crate::canon::{
    Block, BlockKind, CacheMark, CacheTtl, DialectName, Fault, Request, Role, Source, ToolInput,
    ToolKind, Turn,
};
use crate::protocol::dialect::chat::events::encoder::detail_open;
use crate::protocol::dialect::responses;
use crate::protocol::json;
use bytes::BytesMut;

pub(super) fn write(request: &Request, writer: &mut Writer<'_>) -> Result<(), Fault> {
    json::key("messages", &mut writer.out);
    writer.out.extend_from_slice(b"[");
    if !request.system.is_empty() {
        let blocks: Vec<&Block> = request.system.iter().collect();
        writer.message("system", &blocks, None, "system")?;
    }
    for (i, turn) in request.turns.iter().enumerate() {
        let path = format!("messages[{i}]");
        match turn.role {
            Role::System => {
                let blocks: Vec<&Block> = turn.blocks.iter().collect();
                writer.message("system", &blocks, turn.name.as_ref(), &path)?;
            }
            Role::User => writer.user(turn, &path)?,
            Role::Assistant => {
                let thinks = request.dialect == Some(DialectName::Chat);
                writer.assistant(turn, thinks, &path)?;
            }
        }
    }
    writer.out.extend_from_slice(b"]");
    Ok(())
}

/// A block that `messages` made of a field it does not know: written back as one.
fn members_of(block: &Block) -> Option<&str> {
    let BlockKind::Other {
        dialect: DialectName::Chat,
        json,
    } = &block.kind
    else {
        return None;
    };
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: Option<serde::de::IgnoredAny>,
    }
    let typed: Typed = json.read()?;
    let inner = json.get().strip_prefix('{')?.strip_suffix('}')?;
    (typed.kind.is_none() && !inner.is_empty()).then_some(inner)
}

impl Writer<'_> {
    /// Opens a message, and writes its name.
    fn open(&mut self, role: &str, name: Option<&Str>) {
        json::comma(&mut self.out);
        self.out.extend_from_slice(b"{");
        json::field("role", role, &mut self.out);
        if let Some(name) = name {
            json::field("name", name, &mut self.out);
        }
    }

    /// Writes the unknown fields, and closes the message.
    fn close(&mut self, blocks: &[&Block]) {
        for members in blocks.iter().filter_map(|b| members_of(b)) {
            json::comma(&mut self.out);
            self.out.extend_from_slice(members.as_bytes());
        }
        self.out.extend_from_slice(b"}");
    }

    fn message(
        &mut self,
        role: &str,
        blocks: &[&Block],
        name: Option<&Str>,
        path: &str,
    ) -> Result<(), Fault> {
        self.open(role, name);
        self.content(blocks, path)?;
        self.close(blocks);
        Ok(())
    }

    /// One plain text is a string, all else is parts.
    fn content(&mut self, blocks: &[&Block], path: &str) -> Result<(), Fault> {
        let parts: Vec<&Block> = blocks
            .iter()
            .copied()
            .filter(|b| members_of(b).is_none())
            .collect();
        json::key("content", &mut self.out);
        match parts[..] {
            [] => self.out.extend_from_slice(b"\"\""),
            [block] if is_plain_text(block) => self.text_string(block),
            _ => {
                self.out.extend_from_slice(b"[");
                for (i, block) in parts.iter().enumerate() {
                    self.part(block, &format!("{path}.content[{i}]"))?;
                }
                self.out.extend_from_slice(b"]");
            }
        }
        Ok(())
    }

    fn text_string(&mut self, block: &Block) {
        if let BlockKind::Text { text, citations } = &block.kind {
            if !citations.is_empty() {
                self.report("citations");
            }
            json::string(text, &mut self.out);
        }
    }

    /// A user's turn: each result a message of its own, first, as providers want them right after the calls; then the rest.
    fn user(&mut self, turn: &Turn, path: &str) -> Result<(), Fault> {
        let (mut rest, mut images, mut results) = (Vec::new(), Vec::new(), 0);
        for block in &turn.blocks {
            match &block.kind {
                BlockKind::ToolResult { .. } => {
                    results += 1;
                    self.result(block, &mut images, path)?;
                }
                _ => rest.push(block),
            }
        }
        // Tool messages are text only: what else a result holds follows in a user's message.
        images.extend(rest);
        if images.is_empty() && results > 0 {
            return Ok(());
        }
        self.message("user", &images, turn.name.as_ref(), path)
    }

    fn result<'b>(
        &mut self,
        block: &'b Block,
        images: &mut Vec<&'b Block>,
        path: &str,
    ) -> Result<(), Fault> {
        let BlockKind::ToolResult {
            id,
            name,
            content,
            is_error,
        } = &block.kind
        else {
            return Ok(());
        };
        if *is_error {
            self.report("tool_result.is_error");
        }
        let (texts, others): (Vec<&Block>, Vec<&Block>) = content
            .iter()
            .partition(|b| is_text(b) || members_of(b).is_some());
        images.extend(others);
        self.open("tool", name.as_ref());
        json::field("tool_call_id", id, &mut self.out);
        // A mark on the result as a whole stands after its last part.
        match (block.mark, texts.split_last()) {
            (Some(mark), Some((last, before))) if last.mark.is_none() => {
                let last = Block {
                    mark: Some(mark),
                    ..(*last).clone()
                };
                let marked: Vec<&Block> = before.iter().copied().chain([&last]).collect();
                self.content(&marked, path)?;
            }
            _ => {
                if block.mark.is_some() && texts.is_empty() {
                    self.report("cache_control");
                }
                self.content(&texts, path)?;
            }
        }
        self.close(&texts);
        Ok(())
    }

    /// `thinks`: the client itself speaks of thinking to this speaker.
    fn assistant(&mut self, turn: &Turn, thinks: bool, path: &str) -> Result<(), Fault> {
        self.open("assistant", turn.name.as_ref());
        let refusals = turn
            .blocks
            .iter()
            .filter(|b| matches!(b.kind, BlockKind::Refusal { .. }))
            .count();
        let (mut said, mut calls) = (Vec::new(), Vec::new());
        let (mut refusal, mut audio) = (None, None);
        let mut thoughts = Vec::new();
        for block in &turn.blocks {
            match &block.kind {
                BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. } if thinks => {
                    thoughts.push(block);
                }
                BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. } => {
                    self.report("thinking");
                }
                BlockKind::ToolCall {
                    kind: ToolKind::Server,
                    ..
                }
                | BlockKind::ToolResult { .. } => {
                    let why = "calls of a provider's own tools cannot be said to this model";
                    self.cannot("server_tools", path, why)?;
                }
                BlockKind::ToolCall { .. } => calls.push(block),
                BlockKind::Refusal { text } if refusals == 1 => refusal = Some(text),
                BlockKind::Audio {
                    source: Source::File { id },
                    ..
                } => audio = Some(id),
                _ if responses::is_note(block) => self.report("phase"),
                _ => said.push(block),
            }
        }
        self.assistant_content(&said, calls.is_empty() && refusal.is_none(), path)?;
        if let Some(text) = refusal {
            json::field("refusal", text, &mut self.out);
        }
        if let Some(id) = audio {
            json::key("audio", &mut self.out);
            self.out.extend_from_slice(b"{");
            json::field("id", id, &mut self.out);
            self.out.extend_from_slice(b"}");
        }
        self.thoughts(&thoughts);
        self.calls(&calls);
        self.close(&said);
        Ok(())
    }

    /// As answers say it: one text, and an entry for each part of it that is signed or sealed.
    fn thoughts(&mut self, thoughts: &[&Block]) {
        let out = &mut self.out;
        let (mut text, mut details) = (String::new(), BytesMut::new());
        for (number, block) in thoughts.iter().enumerate() {
            let number = number as u32;
            match (&block.kind, &block.signature) {
                (BlockKind::RedactedThinking { data }, _) => {
                    detail_open("reasoning.encrypted", number, &mut details);
                    json::field("data", data, &mut details);
                    details.extend_from_slice(b"}");
                }
                (BlockKind::Thinking { text: said }, signature) => {
                    text.push_str(said);
                    if let Some(signature) = signature {
                        detail_open("reasoning.text", number, &mut details);
                        json::field("signature", signature, &mut details);
                        json::key("text_bytes", &mut details);
                        json::integer(said.len(), &mut details);
                        details.extend_from_slice(b"}");
                    }
                }
                _ => {}
            }
        }
        if !text.is_empty() {
            json::field("reasoning_content", &text, out);
        }
        if !details.is_empty() {
            json::key("reasoning_details", out);
            out.extend_from_slice(b"[");
            out.extend_from_slice(&details);
            out.extend_from_slice(b"]");
        }
    }

    /// Marks stand on what users and systems say, not here.
    fn assistant_content(
        &mut self,
        said: &[&Block],
        must_say: bool,
        path: &str,
    ) -> Result<(), Fault> {
        let any_part = said.iter().any(|b| members_of(b).is_none());
        if !any_part && !must_say {
            json::key("content", &mut self.out);
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        let mut unmarked = Vec::with_capacity(said.len());
        for block in said {
            if block.mark.is_some() {
                self.report("cache_control");
            }
            unmarked.push(Block {
                mark: None,
                ..(*block).clone()
            });
        }
        let refs: Vec<&Block> = unmarked.iter().collect();
        self.content(&refs, path)
    }

    fn calls(&mut self, calls: &[&Block]) {
        if calls.is_empty() {
            return;
        }
        json::key("tool_calls", &mut self.out);
        self.out.extend_from_slice(b"[");
        for block in calls {
            if block.signature.is_some() {
                self.report("signature");
            }
            if block.mark.is_some() {
                self.report("cache_control");
            }
            self.call(&block.kind);
        }
        self.out.extend_from_slice(b"]");
    }

    fn call(&mut self, call: &BlockKind) {
        let BlockKind::ToolCall {
            id,
            name,
            input,
            kind,
        } = call
        else {
            return;
        };
        let (of, field) = if *kind == ToolKind::Custom {
            ("custom", "input")
        } else {
            ("function", "arguments")
        };
        let out = &mut self.out;
        json::comma(out);
        out.extend_from_slice(b"{");
        json::field("id", id, out);
        json::field("type", of, out);
        json::key(of, out);
        out.extend_from_slice(b"{");
        json::field("name", name, out);
        let text = match input {
            ToolInput::Json(json) => json.get(),
            ToolInput::Text(text) => text,
        };
        json::field(field, text, out);
        out.extend_from_slice(b"}}");
    }

    fn part(&mut self, block: &Block, path: &str) -> Result<(), Fault> {
        match &block.kind {
            BlockKind::Text { .. } => {
                self.part_open("text");
                json::key("text", &mut self.out);
                self.text_string(block);
            }
            BlockKind::Refusal { text } => {
                self.part_open("refusal");
                json::field("refusal", text, &mut self.out);
            }
            BlockKind::Image { source, detail } => {
                if !self.takes("images")? {
                    return Ok(());
                }
                let Some(url) = url_of(source) else {
                    let why = "an image must be a URL or base64 for this model's provider";
                    return self.cannot("images", path, why);
                };
                self.url_part("image_url", &url, detail.as_ref());
            }
            BlockKind::Video { source } => {
                if !self.takes("video")? {
                    return Ok(());
                }
                let Some(url) = url_of(source) else {
                    let why = "a video must be a URL or base64 for this model's provider";
                    return self.cannot("video", path, why);
                };
                // Own machines only; that the model takes video is routing's to know.
                self.url_part("video_url", &url, None);
            }
            BlockKind::Audio { source, format } => {
                return self.audio(source, format.as_deref(), block.mark, path);
            }
            BlockKind::Document { .. } => return self.document(block, path),
            BlockKind::Other {
                dialect: DialectName::Chat,
                json,
            } => {
                json::comma(&mut self.out);
                self.out.extend_from_slice(json.get().as_bytes());
                return Ok(());
            }
            BlockKind::Other { dialect, .. } => {
                let why = format!(
                    "a block of the dialect {} cannot be said to this model",
                    dialect.as_str()
                );
                return self.cannot("other_blocks", path, &why);
            }
            BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. } => {
                self.report("thinking");
                return Ok(());
            }
            BlockKind::ToolCall { .. } | BlockKind::ToolResult { .. } => {
                let why = "a tool's call or result has no place here";
                return self.cannot("misplaced_tools", path, why);
            }
        }
        self.part_close(block.mark)
    }

    fn part_open(&mut self, kind: &str) {
        json::comma(&mut self.out);
        self.out.extend_from_slice(b"{");
        json::field("type", kind, &mut self.out);
    }

    /// OpenAI has two lifetimes, 30 minutes unsaid and 12 hours; shorter wishes are met by the first.
    pub(in crate::protocol::dialect) fn part_close(
        &mut self,
        mark: Option<CacheMark>,
    ) -> Result<(), Fault> {
        if let Some(mark) = mark
            && self.takes("prompt_cache_breakpoint")?
        {
            json::key("prompt_cache_breakpoint", &mut self.out);
            self.out.extend_from_slice(b"{\"mode\":\"explicit\"");
            match mark.ttl {
                Some(CacheTtl::Minutes30) => json::field("ttl", "30m", &mut self.out),
                Some(CacheTtl::Hours12 | CacheTtl::Hours24) => {
                    json::field("ttl", "12h", &mut self.out);
                }
                Some(CacheTtl::Minutes5 | CacheTtl::Hours1) | None => {}
            }
            self.out.extend_from_slice(b"}");
        }
        self.out.extend_from_slice(b"}");
        Ok(())
    }

    fn url_part(&mut self, kind: &str, url: &[&str], detail: Option<&Str>) {
        self.part_open(kind);
        json::key(kind, &mut self.out);
        self.out.extend_from_slice(b"{\"url\":\"");
        for piece in url {
            json::escaped(piece, &mut self.out);
        }
        self.out.extend_from_slice(b"\"");
        if let Some(detail) = detail {
            json::field("detail", detail, &mut self.out);
        }
        self.out.extend_from_slice(b"}");
    }

    fn audio(
        &mut self,
        source: &Source,
        format: Option<&str>,
        mark: Option<CacheMark>,
        path: &str,
    ) -> Result<(), Fault> {
        if !self.takes("audio")? {
            return Ok(());
        }
        match source {
            Source::Base64 { media_type, data } => {
                let subtype = media_type.split_once('/').map_or(&**media_type, |(_, s)| s);
                let format = format.unwrap_or(match subtype {
                    "mpeg" => "mp3",
                    "x-wav" | "wave" | "vnd.wave" => "wav",
                    other => other,
                });
                self.part_open("input_audio");
                json::key("input_audio", &mut self.out);
                self.out.extend_from_slice(b"{");
                json::field("data", data, &mut self.out);
                json::field("format", format, &mut self.out);
                self.out.extend_from_slice(b"}");
            }
            // vLLM and SGLang.
            Source::Url { url, .. } => self.url_part("audio_url", &[url], None),
            Source::File { .. } | Source::Text { .. } | Source::Blocks(_) => {
                let why = "audio must be base64 or a URL for this model's provider";
                return self.cannot("audio", path, why);
            }
        }
        self.part_close(mark)
    }

    /// A document as a file; one that is text already as text, its title and context ahead of it.
    fn document(&mut self, block: &Block, path: &str) -> Result<(), Fault> {
        let BlockKind::Document {
            source,
            title,
            context,
            citations,
        } = &block.kind
        else {
            return Ok(());
        };
        if !self.takes("documents")? {
            return Ok(());
        }
        if *citations == Some(true) {
            let why = "citations cannot be asked of this model's provider";
            self.cannot("citations", &format!("{path}.citations"), why)?;
        }
        match source {
            Source::Base64 { .. } | Source::File { .. } => {
                if let Some(context) = context {
                    self.plain_part(context);
                }
                self.file(source, title.as_ref());
                self.part_close(block.mark)
            }
            Source::Url { .. } => {
                let why =
                    "a document must be base64 or a file id, not a URL, for this model's provider";
                self.cannot("documents", &format!("{path}.source"), why)
            }
            Source::Text { text, .. } => {
                for ahead in [title, context].into_iter().flatten() {
                    self.plain_part(ahead);
                }
                self.part_open("text");
                json::field("text", text, &mut self.out);
                self.part_close(block.mark)
            }
            Source::Blocks(inner) => {
                for ahead in [title, context].into_iter().flatten() {
                    self.plain_part(ahead);
                }
                for (i, part) in inner.iter().enumerate() {
                    // Blocks of a document are texts and images: no document within a document.
                    let path = format!("{path}.source.content[{i}]");
                    if matches!(part.kind, BlockKind::Document { .. }) {
                        self.cannot("documents", &path, "a document within a document")?;
                    } else {
                        self.part(part, &path)?;
                    }
                }
                if block.mark.is_some() {
                    self.report("cache_control");
                }
                Ok(())
            }
        }
    }

    fn plain_part(&mut self, text: &str) {
        self.part_open("text");
        json::field("text", text, &mut self.out);
        self.out.extend_from_slice(b"}");
    }

    /// The part without its end.
    fn file(&mut self, source: &Source, title: Option<&Str>) {
        self.part_open("file");
        json::key("file", &mut self.out);
        self.out.extend_from_slice(b"{");
        let out = &mut self.out;
        match source {
            Source::File { id } => {
                json::field("file_id", id, out);
                if let Some(title) = title {
                    json::field("filename", title, out);
                }
            }
            Source::Base64 { media_type, data } => {
                let ending = media_type.rsplit(['/', '-', '+']).next().unwrap_or("pdf");
                match title {
                    Some(title) => json::field("filename", title, out),
                    // OpenAI demands one beside bytes.
                    None => json::field("filename", &format!("document.{ending}"), out),
                }
                json::key("file_data", out);
                out.extend_from_slice(b"\"data:");
                json::escaped(media_type, out);
                out.extend_from_slice(b";base64,");
                json::escaped(data, out);
                out.extend_from_slice(b"\"");
            }
            Source::Url { .. } | Source::Text { .. } | Source::Blocks(_) => {}
        }
        out.extend_from_slice(b"}");
    }
}

/// An address as it is, bytes as a data URL in pieces, so that megabytes are copied once.
pub(in crate::protocol::dialect) fn url_of(source: &Source) -> Option<Vec<&str>> {
    match source {
        Source::Url { url, .. } => Some(vec![url]),
        Source::Base64 { media_type, data } => Some(vec!["data:", media_type, ";base64,", data]),
        Source::File { .. } | Source::Text { .. } | Source::Blocks(_) => None,
    }
}

fn is_text(block: &Block) -> bool {
    matches!(block.kind, BlockKind::Text { .. })
}

pub(in crate::protocol::dialect) fn is_plain_text(block: &Block) -> bool {
    is_text(block) && block.mark.is_none()
}
