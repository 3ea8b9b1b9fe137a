//! One block → one part, or a few.

use super::write::Writer;
use super::write_turns::Spoken;
use super::{MADE_ID, NO_SIGNATURE, results};
use crate::base::{Json, Str};
use crate::canon::{Block, BlockKind, DialectName, Fault, Source, ToolInput, ToolKind};
use crate::protocol::dialect::gemini::node::Members;
use crate::protocol::dialect::responses;
use crate::protocol::json;
use bytes::BytesMut;

impl Writer<'_> {
    pub(super) fn part(
        &mut self,
        block: &Block,
        path: &str,
        spoken: &Spoken<'_>,
    ) -> Result<(), Fault> {
        if block.mark.is_some() {
            self.report("cache_control");
        }
        match &block.kind {
            BlockKind::Text { text, citations } => {
                if !citations.is_empty() {
                    self.report("citations");
                }
                self.text(text, false, block.signature.as_ref());
            }
            BlockKind::Refusal { text } => self.text(text, false, None),
            BlockKind::Thinking { text } => self.text(text, true, block.signature.as_ref()),
            BlockKind::RedactedThinking { .. } => self.report("redacted_thinking"),
            BlockKind::Image { .. } | BlockKind::Audio { .. } | BlockKind::Video { .. } => {
                self.media(block, path)?;
            }
            BlockKind::Document { .. } => self.document(block, path)?,
            BlockKind::ToolResult { .. } => self.result(block, path, spoken)?,
            BlockKind::ToolCall { .. } => self.call(block, path, false)?,
            BlockKind::Other {
                dialect: DialectName::Gemini,
                json,
            } => {
                json::comma(&mut self.out);
                self.out.extend_from_slice(json.get().as_bytes());
            }
            BlockKind::Other { .. } if responses::is_note(block) => self.report("phase"),
            BlockKind::Other { dialect, .. } => {
                let why = format!(
                    "a block of the dialect {} cannot be said to this model",
                    dialect.as_str()
                );
                self.cannot("other_blocks", path, &why)?;
            }
        }
        Ok(())
    }

    /// Google refuses a part without text; an empty one stands only where a signature hangs on it.
    fn text(&mut self, text: &str, thought: bool, signature: Option<&Str>) {
        if text.is_empty() && signature.is_none() {
            return;
        }
        json::comma(&mut self.out);
        self.out.extend_from_slice(b"{");
        json::field("text", text, &mut self.out);
        if thought {
            self.key("thought").extend_from_slice(b"true");
        }
        self.end(signature);
    }

    /// Writes the signature, and closes the part.
    fn end(&mut self, signature: Option<&Str>) {
        if let Some(signature) = signature {
            json::field("thoughtSignature", signature, &mut self.out);
        }
        self.out.extend_from_slice(b"}");
    }

    /// `unsigned`: the first call of an answer that has no signature, which newer models refuse without a word for that.
    pub(super) fn call(&mut self, block: &Block, path: &str, unsigned: bool) -> Result<(), Fault> {
        let BlockKind::ToolCall {
            id,
            name,
            input,
            kind,
        } = &block.kind
        else {
            return Ok(());
        };
        if *kind == ToolKind::Server {
            let why = "calls of a provider's own tools cannot be said to this model";
            return self.cannot("server_tools", path, why);
        }
        json::comma(&mut self.out);
        self.out.extend_from_slice(b"{\"functionCall\":{");
        self.id(id);
        json::field("name", name, &mut self.out);
        json::key("args", &mut self.out);
        arguments(input, kind, &mut self.out);
        self.out.extend_from_slice(b"}");
        let none = unsigned.then(|| Str::from_static(NO_SIGNATURE));
        self.end(block.signature.as_ref().or(none.as_ref()));
        Ok(())
    }

    /// Ids that we made are not Google's to see.
    fn id(&mut self, id: &str) {
        if !id.starts_with(MADE_ID) {
            json::field("id", id, &mut self.out);
        }
    }

    fn result(&mut self, block: &Block, path: &str, spoken: &Spoken<'_>) -> Result<(), Fault> {
        let BlockKind::ToolResult {
            id,
            name,
            content,
            is_error,
        } = &block.kind
        else {
            return Ok(());
        };
        let Some(name) = spoken.name_of(id).or(name.as_ref()) else {
            let why = "the result of a call that does not stand before it";
            return Err(Fault::invalid(path, why).with_code("invalid_value"));
        };
        json::comma(&mut self.out);
        self.out.extend_from_slice(b"{\"functionResponse\":{");
        self.id(id);
        json::field("name", name, &mut self.out);
        json::key("response", &mut self.out);
        results::write(&joined(content), *is_error, &mut self.out);
        let (within, after) = self.parts_of_result(content);
        if !within.is_empty() {
            self.key("parts").extend_from_slice(b"[");
            for (i, block) in &within {
                self.part(block, &format!("{path}.content[{i}]"), spoken)?;
            }
            self.out.extend_from_slice(b"]");
        }
        self.out.extend_from_slice(b"}");
        self.end(block.signature.as_ref());
        for (i, block) in &after {
            self.part(block, &format!("{path}.content[{i}]"), spoken)?;
        }
        Ok(())
    }

    /// Images and documents within a result are Gemini 3's (docs, multimodal function responses, read 2026-08); what cannot stand there
    /// follows as the user's own.
    fn parts_of_result<'b>(&self, content: &'b [Block]) -> (Numbered<'b>, Numbered<'b>) {
        let others = content.iter().enumerate().filter(|(_, b)| !is_text(b));
        let older = self.is_older();
        others.partition(|(_, block)| match &block.kind {
            BlockKind::Image { source, detail } => !older && detail.is_none() && is_bytes(source),
            BlockKind::Document {
                source,
                context: None,
                ..
            } => !older && is_bytes(source),
            _ => false,
        })
    }

    fn media(&mut self, block: &Block, path: &str) -> Result<(), Fault> {
        let (rule, source, detail, default) = match &block.kind {
            BlockKind::Image { source, detail } => {
                ("images", source, detail.as_ref(), "image/jpeg")
            }
            BlockKind::Audio { source, .. } => ("audio", source, None, "audio/mpeg"),
            BlockKind::Video { source } => ("video", source, None, "video/mp4"),
            _ => return Ok(()),
        };
        if !self.takes(rule)? {
            return Ok(());
        }
        let before = self.out.len();
        json::comma(&mut self.out);
        self.out.extend_from_slice(b"{");
        if !self.source(source, default) {
            self.out.truncate(before);
            let why = "it must be base64, an address or a file of this model's provider";
            return self.cannot(rule, path, why);
        }
        if let Some(detail) = detail {
            self.detail(detail);
        }
        self.end(block.signature.as_ref());
        Ok(())
    }

    /// Part by part it is said to Gemini 3 and later alone (docs, media resolution, read 2026-08).
    fn detail(&mut self, detail: &str) {
        let level = match detail {
            "low" => "MEDIA_RESOLUTION_LOW",
            "high" => "MEDIA_RESOLUTION_HIGH",
            "original" => "MEDIA_RESOLUTION_ULTRA_HIGH",
            // The provider decides, as it does unasked.
            _ => return,
        };
        if self.is_older() {
            self.report("detail");
            return;
        }
        self.key("mediaResolution").extend_from_slice(b"{");
        json::field("level", level, &mut self.out);
        self.out.extend_from_slice(b"}");
    }

    /// `inlineData` or `fileData`. False, and nothing, for a source that has no place here.
    fn source(&mut self, source: &Source, default: &str) -> bool {
        match source {
            Source::Base64 { media_type, data } => {
                self.key("inlineData").extend_from_slice(b"{");
                json::field("mimeType", named_by_google(media_type), &mut self.out);
                json::field("data", data, &mut self.out);
            }
            Source::Url { url, media_type } => {
                let told = media_type.as_deref();
                let kind = told.or_else(|| type_by_ending(url)).unwrap_or(default);
                self.key("fileData").extend_from_slice(b"{");
                json::field("mimeType", kind, &mut self.out);
                json::field("fileUri", url, &mut self.out);
            }
            Source::File { id } => {
                let Some(uri) = file_uri(id) else {
                    return false;
                };
                self.key("fileData").extend_from_slice(b"{");
                json::field("fileUri", &uri, &mut self.out);
            }
            Source::Text { .. } | Source::Blocks(_) => return false,
        }
        self.out.extend_from_slice(b"}");
        true
    }

    /// A document as bytes; one that is text already as text, its title and context ahead of it.
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
            Source::Base64 { .. } | Source::Url { .. } | Source::File { .. } => {
                if let Some(context) = context {
                    self.text(context, false, None);
                }
                self.file(block, source, title.as_ref(), path)
            }
            Source::Text { text, .. } => {
                for ahead in [title, context].into_iter().flatten() {
                    self.text(ahead, false, None);
                }
                self.text(text, false, block.signature.as_ref());
                Ok(())
            }
            Source::Blocks(inner) => {
                for ahead in [title, context].into_iter().flatten() {
                    self.text(ahead, false, None);
                }
                for (i, part) in inner.iter().enumerate() {
                    let path = format!("{path}.source.content[{i}]");
                    if matches!(part.kind, BlockKind::Document { .. }) {
                        self.cannot("documents", &path, "a document within a document")?;
                    } else {
                        self.part(part, &path, &Spoken::default())?;
                    }
                }
                Ok(())
            }
        }
    }

    fn file(
        &mut self,
        block: &Block,
        source: &Source,
        title: Option<&Str>,
        path: &str,
    ) -> Result<(), Fault> {
        if title.is_some() {
            // `displayName` is refused by the Gemini API.
            self.report("title");
        }
        let before = self.out.len();
        json::comma(&mut self.out);
        self.out.extend_from_slice(b"{");
        if !self.source(source, "application/pdf") {
            self.out.truncate(before);
            let why = "it must be base64, an address or a file of this model's provider";
            return self.cannot("documents", path, why);
        }
        self.end(block.signature.as_ref());
        Ok(())
    }
}

/// Blocks with their places among the blocks of a result.
type Numbered<'b> = Vec<(usize, &'b Block)>;

fn is_text(block: &Block) -> bool {
    matches!(
        block.kind,
        BlockKind::Text { .. } | BlockKind::Refusal { .. }
    )
}

fn is_bytes(source: &Source) -> bool {
    matches!(source, Source::Base64 { .. })
}

/// The texts of a result, a line each: a response is one value.
fn joined(content: &[Block]) -> String {
    let texts = content.iter().filter_map(|b| match &b.kind {
        BlockKind::Text { text, .. } | BlockKind::Refusal { text } => Some(&**text),
        _ => None,
    });
    texts.collect::<Vec<&str>>().join("\n")
}

/// Whether a model wrote its arguments to the end: an object, or nothing at all.
pub(in crate::protocol::dialect::gemini) fn is_whole(input: &str) -> bool {
    let input = input.trim();
    let parsed = Json::parse(Str::from(input));
    input.is_empty() || parsed.is_ok_and(|json| json.read::<Members<'_>>().is_some())
}

/// Arguments must be an object: what is none stands in `raw`, a custom tool's text in `input`, so that no call is lost:
/// arguments that were made whole by guessing would be run.
pub(in crate::protocol::dialect::gemini) fn arguments(
    input: &ToolInput,
    kind: &ToolKind,
    out: &mut BytesMut,
) {
    let text = match input {
        ToolInput::Json(json) => json.get(),
        ToolInput::Text(text) => text,
    };
    let name = if *kind == ToolKind::Custom {
        "input"
    } else {
        let checked = Json::parse(Str::from(text.trim()));
        match checked {
            Ok(object) if object.read::<Members<'_>>().is_some() => {
                one_line(object.get(), out);
                return;
            }
            _ if text.trim().is_empty() => {
                out.extend_from_slice(b"{}");
                return;
            }
            _ => "raw",
        }
    };
    out.extend_from_slice(b"{");
    json::field(name, text, out);
    out.extend_from_slice(b"}");
}

/// Appends JSON that was written elsewhere, perhaps over several lines: an event of a stream must have one. Within strings there are none.
pub(in crate::protocol::dialect::gemini) fn one_line(text: &str, out: &mut BytesMut) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for at in memchr::memchr2_iter(b'\n', b'\r', bytes) {
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(b" ");
        copied = at + 1;
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Google's own names for types that have several (docs, audio understanding, read 2026-08).
fn named_by_google(mime: &str) -> &str {
    match mime {
        "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => "audio/wav",
        "image/jpg" => "image/jpeg",
        other => other,
    }
}

/// The URI of a file's id; `None` for ids of other providers.
fn file_uri(id: &str) -> Option<String> {
    if id.starts_with("files/") {
        return Some(format!(
            "https://generativelanguage.googleapis.com/v1beta/{id}"
        ));
    }
    let known = id.starts_with("gs://") || id.starts_with("https://");
    known.then(|| id.to_owned())
}

/// What an address's ending says of its type.
pub(super) fn type_by_ending(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let (_, ending) = path.rsplit('/').next()?.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        "wav" => "audio/wav",
        "mp3" => "audio/mp3",
        "aac" => "audio/aac",
        "ogg" => "audio/ogg",
        "flac" => "audio/flac",
        "mp4" => "video/mp4",
        "mov" => "video/mov",
        "webm" => "video/webm",
        "mpeg" | "mpg" => "video/mpeg",
        _ => return None,
    })
}
