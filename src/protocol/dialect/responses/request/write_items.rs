//! The system's blocks and turns → `instructions` and `input`.
//!
//! Instructions are the first message, as `system`, which every speaker takes and OpenAI reads as `developer`; only there can they have a
//! cache mark. Where the conversation goes on from a stored answer they are `instructions`, which are not stored with it. Thinking is
//! written where its seal says that this API made it, and otherwise left out, openly: nobody else can read another issuer's.

use super::is_note;
use super::items::is_item;
use super::read::refers;
use super::write::{is_native, string_member};
use crate::base::Str;
use crate::canon::{
    Block, BlockKind, Citation, DialectName, Fault, Request, Role, Source, ToolInput, ToolKind,
    Turn,
};
use crate::protocol::dialect::chat::request::turns::{is_plain_text, url_of};
use crate::protocol::dialect::chat::request::write::Writer;
use crate::protocol::dialect::responses::reasoning::Seal;
use crate::protocol::dialect::responses::schema::annotation;
use crate::protocol::json;

pub(super) fn write(request: &Request, w: &mut Writer<'_>) -> Result<(), Fault> {
    let goes_on = refers(request, &["previous_response_id", "conversation"]);
    if goes_on && !request.system.is_empty() {
        instructions(&request.system, w)?;
    }
    let only_refers = refers(request, &["prompt", "previous_response_id", "conversation"]);
    if request.turns.is_empty() && only_refers && (goes_on || request.system.is_empty()) {
        return Ok(());
    }
    json::key("input", &mut w.out);
    w.out.extend_from_slice(b"[");
    let mut items = Items { w, request };
    if !goes_on && !request.system.is_empty() {
        let blocks: Vec<&Block> = request.system.iter().collect();
        items.message("system", &blocks, "system")?;
    }
    for (i, turn) in request.turns.iter().enumerate() {
        items.turn(turn, &format!("input[{i}]"))?;
    }
    w.out.extend_from_slice(b"]");
    Ok(())
}

fn instructions(system: &[Block], w: &mut Writer<'_>) -> Result<(), Fault> {
    let mut texts: Vec<&str> = Vec::new();
    for block in system {
        let BlockKind::Text { text, .. } = &block.kind else {
            let why = "instructions ahead of a stored conversation hold nothing but text";
            return w.cannot("system", "instructions", why);
        };
        if block.mark.is_some() {
            w.report("cache_control");
        }
        texts.push(text);
    }
    w.string("instructions", Some(&Str::from(texts.join("\n\n"))))
}

struct Items<'w, 't, 'r> {
    w: &'w mut Writer<'t>,
    request: &'r Request,
}

impl Items<'_, '_, '_> {
    fn turn(&mut self, turn: &Turn, path: &str) -> Result<(), Fault> {
        if turn.name.is_some() {
            self.w.report("name");
        }
        let role = match turn.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        // What goes into one message, until an item of another kind comes between.
        let mut said: Vec<&Block> = Vec::new();
        for block in &turn.blocks {
            if is_note(block) && !said.is_empty() {
                self.message(role, &std::mem::take(&mut said), path)?;
            }
            if self.is_content(block, turn.role) {
                said.push(block);
                continue;
            }
            if !said.is_empty() {
                self.message(role, &std::mem::take(&mut said), path)?;
            }
            self.item(block, turn.role, path)?;
        }
        if said.is_empty() && !turn.blocks.is_empty() {
            return Ok(());
        }
        self.message(role, &said, path)
    }

    fn is_content(&self, block: &Block, role: Role) -> bool {
        match &block.kind {
            BlockKind::ToolCall { .. }
            | BlockKind::ToolResult { .. }
            | BlockKind::Thinking { .. }
            | BlockKind::RedactedThinking { .. } => false,
            // What the model drew is an item of its own.
            BlockKind::Image { .. } => role != Role::Assistant,
            BlockKind::Other { .. } => !is_item(block),
            _ => true,
        }
    }

    fn item(&mut self, block: &Block, role: Role, path: &str) -> Result<(), Fault> {
        match &block.kind {
            BlockKind::ToolCall {
                kind: ToolKind::Server,
                ..
            } => {
                let why = "calls of a provider's own tools cannot be said to this model";
                self.w.cannot("server_tools", path, why)
            }
            BlockKind::ToolCall { .. } if role == Role::Assistant => {
                self.call(block);
                Ok(())
            }
            BlockKind::ToolResult { .. } if role == Role::User => self.result(block, path),
            BlockKind::ToolCall { .. } | BlockKind::ToolResult { .. } => {
                let why = "a tool's call or result has no place here";
                self.w.cannot("misplaced_tools", path, why)
            }
            BlockKind::Thinking { text } => {
                self.thinking(text, block.signature.as_deref());
                Ok(())
            }
            BlockKind::RedactedThinking { data } => {
                self.thinking("", Some(data));
                Ok(())
            }
            BlockKind::Image { source, .. } => self.drawn(source, path),
            BlockKind::Other { json, .. } => {
                self.mark_lost(block);
                json::comma(&mut self.w.out);
                self.w.out.extend_from_slice(json.get().as_bytes());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn mark_lost(&mut self, block: &Block) {
        if block.mark.is_some() {
            self.w.report("cache_control");
        }
    }

    /// An item that only its id stands for is looked up by the provider, which it can only where answers are kept.
    fn thinking(&mut self, text: &str, signature: Option<&str>) {
        let seal = signature.and_then(Seal::of).filter(|seal| {
            let speaks = seal.encrypted_content.is_some() || !text.is_empty();
            speaks || is_native(self.request)
        });
        match seal {
            Some(seal) => seal.write(text, false, &mut self.w.out),
            None => self.w.report("thinking"),
        }
    }

    /// An image of an earlier answer.
    fn drawn(&mut self, source: &Source, path: &str) -> Result<(), Fault> {
        let Source::Base64 { data, .. } = source else {
            let why = "an image of the model's own must be base64 for this model's provider";
            return self.w.cannot("images", path, why);
        };
        let out = &mut self.w.out;
        json::comma(out);
        out.extend_from_slice(b"{");
        json::field("type", "image_generation_call", out);
        json::field("status", "completed", out);
        json::field("result", data, out);
        out.extend_from_slice(b"}");
        Ok(())
    }

    fn call(&mut self, block: &Block) {
        let BlockKind::ToolCall {
            id,
            name,
            input,
            kind,
        } = &block.kind
        else {
            return;
        };
        self.mark_lost(block);
        let (of, field) = if *kind == ToolKind::Custom {
            ("custom_tool_call", "input")
        } else {
            ("function_call", "arguments")
        };
        let out = &mut self.w.out;
        json::comma(out);
        out.extend_from_slice(b"{");
        json::field("type", of, out);
        json::field("call_id", id, out);
        json::field("name", name, out);
        let text = match input {
            ToolInput::Json(json) => json.get(),
            ToolInput::Text(text) => text,
        };
        json::field(field, text, out);
        out.extend_from_slice(b"}");
        if block.signature.is_some() {
            // Google's own, which no speaker of this dialect reads.
            self.w.report("signature");
        }
    }

    fn result(&mut self, block: &Block, path: &str) -> Result<(), Fault> {
        let BlockKind::ToolResult {
            id,
            content,
            is_error,
            ..
        } = &block.kind
        else {
            return Ok(());
        };
        if *is_error {
            // No field says so; what the tool said tells the model.
            self.w.report("tool_result.is_error");
        }
        let of = if self.is_custom(id) {
            "custom_tool_call_output"
        } else {
            "function_call_output"
        };
        let out = &mut self.w.out;
        json::comma(out);
        out.extend_from_slice(b"{");
        json::field("type", of, out);
        json::field("call_id", id, out);
        self.output(block, content, path)?;
        self.w.out.extend_from_slice(b"}");
        Ok(())
    }

    /// A mark on the result as a whole stands on its last part.
    fn output(&mut self, block: &Block, content: &[Block], path: &str) -> Result<(), Fault> {
        let Some((last, before)) = content.split_last() else {
            self.mark_lost(block);
            string_member("output", &Str::from_static(""), self.w);
            return Ok(());
        };
        let last = Block {
            mark: last.mark.or(block.mark),
            ..last.clone()
        };
        let parts: Vec<&Block> = before.iter().chain([&last]).collect();
        self.content("output", &parts, false, path)
    }

    fn is_custom(&self, wanted: &Str) -> bool {
        let mut blocks = self.request.turns.iter().flat_map(|t| &t.blocks);
        blocks.any(|b| matches!(&b.kind, BlockKind::ToolCall { id, kind: ToolKind::Custom, .. } if id == wanted))
    }

    fn message(&mut self, role: &str, blocks: &[&Block], path: &str) -> Result<(), Fault> {
        let (notes, parts): (Vec<&Block>, Vec<&Block>) = blocks.iter().partition(|b| is_note(b));
        if parts.is_empty() && !notes.is_empty() {
            return Ok(());
        }
        let out = &mut self.w.out;
        json::comma(out);
        out.extend_from_slice(b"{");
        if role == "assistant" {
            json::field("type", "message", out);
        }
        json::field("role", role, out);
        for note in &notes {
            self.note(note);
        }
        self.content("content", &parts, role == "assistant", path)?;
        self.w.out.extend_from_slice(b"}");
        Ok(())
    }

    fn note(&mut self, note: &Block) {
        let BlockKind::Other { json, .. } = &note.kind else {
            return;
        };
        let members: serde_json::Map<String, serde_json::Value> = json.read().unwrap_or_default();
        for (name, value) in &members {
            json::comma(&mut self.w.out);
            json::string(name, &mut self.w.out);
            self.w.out.extend_from_slice(b":");
            self.w.out.extend_from_slice(value.to_string().as_bytes());
        }
    }

    /// One plain text is a string, all else is parts.
    fn content(
        &mut self,
        name: &str,
        parts: &[&Block],
        said: bool,
        path: &str,
    ) -> Result<(), Fault> {
        match parts {
            [] => string_member(name, &Str::from_static(""), self.w),
            [block] if is_plain_text(block) && cites_nothing(block) => {
                if let BlockKind::Text { text, .. } = &block.kind {
                    string_member(name, text, self.w);
                }
            }
            _ => {
                self.w.key(name).extend_from_slice(b"[");
                for (i, block) in parts.iter().enumerate() {
                    self.part(block, said, &format!("{path}.{name}[{i}]"))?;
                }
                self.w.out.extend_from_slice(b"]");
            }
        }
        Ok(())
    }

    /// `said`: by the model, whose parts have names of their own and no marks.
    fn part(&mut self, block: &Block, said: bool, path: &str) -> Result<(), Fault> {
        match &block.kind {
            BlockKind::Text { text, citations } if said => {
                self.open("output_text");
                json::field("text", text, &mut self.w.out);
                self.annotations(citations, text);
                self.mark_lost(block);
                self.w.out.extend_from_slice(b"}");
                return Ok(());
            }
            BlockKind::Text { text, citations } => {
                if !citations.is_empty() {
                    self.w.report("citations");
                }
                self.open("input_text");
                json::field("text", text, &mut self.w.out);
            }
            BlockKind::Refusal { text } => {
                self.open("refusal");
                json::field("refusal", text, &mut self.w.out);
                self.mark_lost(block);
                self.w.out.extend_from_slice(b"}");
                return Ok(());
            }
            BlockKind::Image { source, detail } => {
                if !self.w.takes("images")? {
                    return Ok(());
                }
                return self.image(block, source, detail.as_ref(), path);
            }
            BlockKind::Audio { source, format } => {
                if !self.w.takes("audio")? {
                    return Ok(());
                }
                return self.audio(block, source, format.as_deref(), path);
            }
            BlockKind::Video { .. } => {
                let why =
                    "video cannot be said to this model's provider, which is asked by Responses";
                return self.w.cannot("video", path, why);
            }
            BlockKind::Document { .. } => return self.document(block, path),
            BlockKind::Other {
                dialect: DialectName::Responses,
                json,
            } => {
                json::comma(&mut self.w.out);
                self.w.out.extend_from_slice(json.get().as_bytes());
                return Ok(());
            }
            BlockKind::Other { dialect, .. } => {
                let dialect = dialect.as_str();
                let why = format!("a block of the dialect {dialect} cannot be said to this model");
                return self.w.cannot("other_blocks", path, &why);
            }
            BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. } => {
                self.w.report("thinking");
                return Ok(());
            }
            BlockKind::ToolCall { .. } | BlockKind::ToolResult { .. } => {
                let why = "a tool's call or result has no place here";
                return self.w.cannot("misplaced_tools", path, why);
            }
        }
        self.w.part_close(block.mark)
    }

    fn open(&mut self, kind: &str) {
        json::comma(&mut self.w.out);
        self.w.out.extend_from_slice(b"{");
        json::field("type", kind, &mut self.w.out);
    }

    fn annotations(&mut self, citations: &[Citation], text: &str) {
        self.w.key("annotations").extend_from_slice(b"[");
        let characters = text.chars().count() as u64;
        for citation in citations {
            if !annotation(citation, 0, characters, &mut self.w.out) {
                self.w.report("citations");
            }
        }
        self.w.out.extend_from_slice(b"]");
    }

    fn image(
        &mut self,
        block: &Block,
        source: &Source,
        detail: Option<&Str>,
        path: &str,
    ) -> Result<(), Fault> {
        match (source, url_of(source)) {
            (Source::File { id }, _) => {
                self.open("input_image");
                json::field("file_id", id, &mut self.w.out);
            }
            (_, Some(url)) => {
                self.open("input_image");
                self.pieces("image_url", &url);
            }
            (_, None) => {
                let why = "an image must be a URL, base64 or a file id for this model's provider";
                return self.w.cannot("images", path, why);
            }
        }
        if let Some(detail) = detail {
            json::field("detail", detail, &mut self.w.out);
        }
        self.w.part_close(block.mark)
    }

    /// A string in pieces, so that megabytes are copied once.
    fn pieces(&mut self, name: &str, pieces: &[&str]) {
        let out = self.w.key(name);
        out.extend_from_slice(b"\"");
        for piece in pieces {
            json::escaped(piece, out);
        }
        out.extend_from_slice(b"\"");
    }

    fn audio(
        &mut self,
        block: &Block,
        source: &Source,
        format: Option<&str>,
        path: &str,
    ) -> Result<(), Fault> {
        let Source::Base64 { media_type, data } = source else {
            let why = "audio must be base64 for this model's provider";
            return self.w.cannot("audio", path, why);
        };
        let subtype = media_type.split_once('/').map_or(&**media_type, |(_, s)| s);
        let format = format.unwrap_or(match subtype {
            "mpeg" => "mp3",
            "x-wav" | "wave" | "vnd.wave" => "wav",
            other => other,
        });
        self.open("input_audio");
        let out = self.w.key("input_audio");
        out.extend_from_slice(b"{");
        json::field("data", data, out);
        json::field("format", format, out);
        out.extend_from_slice(b"}");
        self.w.part_close(block.mark)
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
        if !self.w.takes("documents")? {
            return Ok(());
        }
        if *citations == Some(true) {
            let why = "citations cannot be asked of this model's provider";
            self.w
                .cannot("citations", &format!("{path}.citations"), why)?;
        }
        match source {
            Source::Base64 { .. } | Source::File { .. } | Source::Url { .. } => {
                if let Some(context) = context {
                    self.plain_part(context);
                }
                self.file(source, title.as_ref());
                self.w.part_close(block.mark)
            }
            Source::Text { text, .. } => {
                for ahead in [title, context].into_iter().flatten() {
                    self.plain_part(ahead);
                }
                self.open("input_text");
                json::field("text", text, &mut self.w.out);
                self.w.part_close(block.mark)
            }
            Source::Blocks(inner) => {
                for ahead in [title, context].into_iter().flatten() {
                    self.plain_part(ahead);
                }
                self.inner(inner, block, path)
            }
        }
    }

    fn inner(&mut self, inner: &[Block], block: &Block, path: &str) -> Result<(), Fault> {
        for (i, part) in inner.iter().enumerate() {
            // Blocks of a document are texts and images: no document within a document.
            let path = format!("{path}.source.content[{i}]");
            if matches!(part.kind, BlockKind::Document { .. }) {
                self.w
                    .cannot("documents", &path, "a document within a document")?;
            } else {
                self.part(part, false, &path)?;
            }
        }
        self.mark_lost(block);
        Ok(())
    }

    fn plain_part(&mut self, text: &str) {
        self.open("input_text");
        json::field("text", text, &mut self.w.out);
        self.w.out.extend_from_slice(b"}");
    }

    /// The part without its end.
    fn file(&mut self, source: &Source, title: Option<&Str>) {
        self.open("input_file");
        match source {
            Source::File { id } => json::field("file_id", id, &mut self.w.out),
            Source::Url { url, .. } => json::field("file_url", url, &mut self.w.out),
            Source::Base64 { media_type, data } => {
                let ending = media_type.rsplit(['/', '-', '+']).next().unwrap_or("pdf");
                if title.is_none() {
                    // OpenAI demands one beside bytes.
                    json::field("filename", &format!("document.{ending}"), &mut self.w.out);
                }
                self.pieces("file_data", &["data:", media_type, ";base64,", data]);
            }
            Source::Text { .. } | Source::Blocks(_) => {}
        }
        if let Some(title) = title {
            json::field("filename", title, &mut self.w.out);
        }
    }
}

fn cites_nothing(block: &Block) -> bool {
    matches!(&block.kind, BlockKind::Text { citations, .. } if citations.is_empty())
}
