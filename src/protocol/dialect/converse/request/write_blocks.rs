//! Canon's blocks → Converse's, each a union of one member, with cache points behind those that are marked.

use super::super::formats::{self, DOCUMENTS, IMAGES, VIDEOS, document_name, tool_id};
use super::write_turns::Arranged;
use crate::base::{Json, Str};
use crate::canon::{
    Block, BlockKind, CacheMark, Citation, DialectName, Fault, Request, Role, Source, Tool,
    ToolInput, ToolKind,
};
use crate::protocol::dialect::messages::schema::{Fields, Object, Path};
use crate::protocol::dialect::messages::write::Rulings;
use crate::protocol::dialect::responses;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use std::borrow::Cow;

/// False for what the API refuses as blank.
pub(in crate::protocol::dialect::converse) fn says_something(block: &Block) -> bool {
    match &block.kind {
        BlockKind::Text { text, citations } => !text.trim().is_empty() || !citations.is_empty(),
        BlockKind::Refusal { text } => !text.trim().is_empty(),
        // Thinking is sent back to who made it, and its signature is how it is known.
        BlockKind::Thinking { .. } => block.signature.is_some(),
        _ => true,
    }
}

/// Whether `block` is written. False and reported: what is dropped by rule, and thinking that cannot be checked. `Err`: what this API
/// cannot take.
pub(super) fn keep(block: &Block, path: &Path<'_>, rules: &mut Rulings<'_>) -> Result<bool, Fault> {
    let name = match &block.kind {
        BlockKind::Other { .. } if responses::is_note(block) => {
            rules.dropped("phase");
            return Ok(false);
        }
        BlockKind::Other { dialect, .. } if *dialect != DialectName::Converse => "other_blocks",
        BlockKind::Image { .. } => "images",
        BlockKind::Document { .. } => "documents",
        BlockKind::Audio { .. } => "audio",
        BlockKind::Video { .. } => "video",
        _ => {
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
    if name == "other_blocks" || rules.refuses(name) {
        return Err(path.fault(match name {
            "other_blocks" => "is a kind of block that only another dialect has; the converse api does not take it",
            _ => "is of a kind that the model does not take",
        }));
    }
    Ok(true)
}

/// Which cache points are written: at most 4 (`providers/bedrock.md` 9). Of more, the first stays, since what stands ahead of it is shared
/// by most requests, and the last ones, since the conversation grows there.
pub(super) struct Points {
    seen: usize,
    all: usize,
    allowed: usize,
}

const POINTS_MAX: usize = 4;

impl Points {
    pub(super) fn plan(request: &Request, tools: &[Tool]) -> Self {
        // Those that stand as they were read count too: behind nothing, or of a kind that canon has no word for.
        let (mut all, mut fixed) = (0, 0);
        for tool in tools {
            match tool {
                Tool::Function { mark, .. } => all += usize::from(mark.is_some()),
                Tool::Other { json, .. } => fixed += usize::from(is_point(json)),
                Tool::Custom { .. } => {}
            }
        }
        let turns = request.turns.iter().flat_map(|t| &t.blocks);
        for block in request.system.iter().chain(turns) {
            all += usize::from(mark_of(block).is_some());
            if let BlockKind::Other { json, .. } = &block.kind {
                fixed += usize::from(is_point(json));
            }
        }
        Self {
            seen: 0,
            all,
            allowed: POINTS_MAX.saturating_sub(fixed),
        }
    }

    pub(super) fn over(&self) -> bool {
        self.all > self.allowed
    }

    /// The next mark in the order of writing, if it is one of those that stay.
    pub(super) fn next(&mut self, mark: Option<CacheMark>) -> Option<CacheMark> {
        let mark = mark?;
        let position = self.seen;
        self.seen += 1;
        let last_ones = self.all - self.allowed.saturating_sub(1).min(self.all);
        let stays = !self.over()
            || (self.allowed > 0 && position == 0)
            || (self.allowed > 1 && position >= last_ones);
        stays.then_some(mark)
    }
}

fn is_point(json: &Json) -> bool {
    Fields::of(json.get()).is_some_and(|mut f| f.take("cachePoint").is_some())
}

/// The mark of a block as it is written: none on thinking, which cannot be marked, and a result's inner mark behind the result, since points
/// stand between blocks of a turn and nowhere deeper.
fn mark_of(block: &Block) -> Option<CacheMark> {
    if !says_something(block) {
        return None;
    }
    match &block.kind {
        BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. } => None,
        BlockKind::ToolResult { content, .. } => block
            .mark
            .or(content.iter().rev().find_map(|inner| inner.mark)),
        _ => block.mark,
    }
}

pub(super) fn write_point(mark: CacheMark, out: &mut BytesMut) {
    let mut block = Object::open(out);
    let mut point = Object::typed(block.value("cachePoint"), "default");
    if let Some(ttl) = mark.ttl {
        point.text("ttl", formats::ttl_word(ttl));
    }
    point.close();
    block.close();
}

pub(super) struct BlockWriter<'w, 'a> {
    points: &'w mut Points,
    pub rules: &'w mut Rulings<'a>,
    /// Names of documents so far.
    names: Vec<String>,
}

impl<'w, 'a> BlockWriter<'w, 'a> {
    pub(super) fn new(points: &'w mut Points, rules: &'w mut Rulings<'a>) -> Self {
        Self {
            points,
            rules,
            names: Vec::new(),
        }
    }

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
                self.instruction(block, &content.index(*b), out)
            } else {
                self.marked(block, &content.index(*b), out)
            }
        })?;
        object.close();
        Ok(())
    }

    pub(super) fn system(
        &mut self,
        blocks: &[(usize, &Block)],
        path: &Path<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Fault> {
        out.extend_from_slice(b"[");
        for (n, (i, block)) in blocks.iter().enumerate() {
            if n > 0 {
                out.extend_from_slice(b",");
            }
            self.instruction(block, &path.index(*i), out)?;
        }
        out.extend_from_slice(b"]");
        Ok(())
    }

    /// Instructions are text; what only this dialect has (`guardContent`) passes.
    fn instruction(
        &mut self,
        block: &Block,
        path: &Path<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Fault> {
        match &block.kind {
            BlockKind::Text { .. } | BlockKind::Other { .. } => self.marked(block, path, out),
            _ => Err(path.fault("must be text: instructions hold nothing else")),
        }
    }

    /// A block and its cache point.
    fn marked(&mut self, block: &Block, path: &Path<'_>, out: &mut BytesMut) -> Result<(), Fault> {
        self.block(block, path, out)?;
        let mark = mark_of(block);
        if mark.is_none() && block.mark.is_some() {
            self.rules.dropped("cache_control");
        }
        if let Some(mark) = self.points.next(mark) {
            out.extend_from_slice(b",");
            write_point(mark, out);
        }
        Ok(())
    }

    fn block(&mut self, block: &Block, path: &Path<'_>, out: &mut BytesMut) -> Result<(), Fault> {
        if let BlockKind::Other { json, .. } = &block.kind {
            out.extend_from_slice(json.get().as_bytes());
            return Ok(());
        }
        let mut object = Object::open(out);
        match &block.kind {
            BlockKind::Text { text, citations } => self.text(text, citations, &mut object),
            BlockKind::Refusal { text } => object.text("text", text),
            BlockKind::Image { source, detail } => {
                if detail.as_deref().is_some_and(|d| d != "auto") {
                    self.rules.dropped("detail");
                }
                let at = Media::of("image", "an image of png, jpeg, gif or webp", IMAGES);
                at.write(source, path, &mut object)?;
            }
            BlockKind::Video { source } => {
                let what = "a video of mkv, mov, mp4, webm, flv, mpeg, wmv or 3gp";
                let at = Media::of("video", what, VIDEOS);
                at.write(source, path, &mut object)?;
            }
            BlockKind::Audio { source, format } => {
                write_audio(source, format.as_deref(), path, &mut object)?;
            }
            BlockKind::Document { .. } => self.document(&block.kind, path, &mut object)?,
            BlockKind::ToolCall { .. } => self.call(block, &mut object),
            BlockKind::ToolResult { .. } => self.result(&block.kind, path, &mut object)?,
            BlockKind::Thinking { text } => {
                let mut inner = Object::open(object.value("reasoningContent"));
                let mut said = Object::open(inner.value("reasoningText"));
                said.text("text", text);
                said.text_if("signature", block.signature.as_ref());
                said.close();
                inner.close();
            }
            BlockKind::RedactedThinking { data } => {
                let mut inner = Object::open(object.value("reasoningContent"));
                inner.text("redactedContent", &STANDARD.encode(data.as_bytes()));
                inner.close();
            }
            BlockKind::Other { .. } => {}
        }
        object.close();
        Ok(())
    }

    fn text(&mut self, text: &str, citations: &[Citation], object: &mut Object<'_>) {
        let own = |c: &&Citation| c.dialect == DialectName::Converse;
        if !citations.iter().all(|c| own(&c)) {
            self.rules.dropped("citations");
        }
        if !citations.iter().any(|c| own(&c)) {
            object.text("text", text);
            return;
        }
        let mut cited = Object::open(object.value("citationsContent"));
        write_cited(text, citations.iter().filter(own), &mut cited);
        cited.close();
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
        let (format, bytes) = document_bytes(source, path)?;
        let mut document = Object::open(object.value("document"));
        document.text("format", format);
        let name = document_name(title.as_deref(), &self.names);
        document.text("name", &name);
        self.names.push(name);
        let mut inner = Object::open(document.value("source"));
        match bytes {
            Given::Bytes(data) => inner.text("bytes", data),
            Given::S3(uri) => write_s3(uri, &mut inner),
            Given::Text(text) => inner.text("text", text),
            Given::Blocks(blocks) => {
                let path = path.field("source").field("content").to_string();
                let parts = texts_of(blocks, &path)?;
                inner.array("content", parts, |text, out| {
                    let mut part = Object::open(out);
                    part.text("text", text);
                    part.close();
                });
            }
        }
        inner.close();
        document.text_if("context", context.as_ref());
        if let Some(enabled) = citations {
            let mut inner = Object::open(document.value("citations"));
            inner.flag("enabled", *enabled);
            inner.close();
        }
        document.close();
        Ok(())
    }

    fn call(&mut self, block: &Block, object: &mut Object<'_>) {
        let BlockKind::ToolCall {
            id,
            name,
            input,
            kind,
        } = &block.kind
        else {
            return;
        };
        if block.signature.is_some() {
            self.rules.dropped("signature");
        }
        let mut call = Object::open(object.value("toolUse"));
        call.text("toolUseId", &tool_id(id));
        call.text("name", name);
        let text = match input {
            ToolInput::Json(json) => json.get(),
            ToolInput::Text(text) => text,
        };
        write_input(text, kind, call.value("input"));
        if *kind == ToolKind::Server {
            call.text("type", "server_tool_use");
        }
        call.close();
    }

    fn result(
        &mut self,
        kind: &BlockKind,
        path: &Path<'_>,
        object: &mut Object<'_>,
    ) -> Result<(), Fault> {
        let BlockKind::ToolResult {
            id,
            content,
            is_error,
            ..
        } = kind
        else {
            return Ok(());
        };
        let mut result = Object::open(object.value("toolResult"));
        result.text("toolUseId", &tool_id(id));
        let path = path.field("content");
        let content = self.kept(content, &path)?;
        result.try_array("content", content, |(i, block), out| {
            self.block(block, &path.index(i), out)
        })?;
        // Success is what saying nothing means, and some models refuse the word.
        if *is_error {
            result.text("status", "error");
        }
        result.close();
        Ok(())
    }
}

/// `citationsContent`'s members.
pub(in crate::protocol::dialect::converse) fn write_cited<'c>(
    text: &str,
    citations: impl Iterator<Item = &'c Citation>,
    cited: &mut Object<'_>,
) {
    let parts = (!text.is_empty()).then_some(text);
    cited.array("content", parts, |text, out| {
        let mut part = Object::open(out);
        part.text("text", text);
        part.close();
    });
    cited.array("citations", citations, |c, out| {
        out.extend_from_slice(c.json.get().as_bytes());
    });
}

/// A tool's input as the object that this API wants: nothing is `{}`, a custom tool's text stands in `input`, and what a model wrote and is
/// no object stands in `raw`, so that no call is lost.
pub(in crate::protocol::dialect::converse) fn write_input(
    text: &str,
    kind: &ToolKind,
    out: &mut BytesMut,
) {
    let field = match kind {
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
    object.text(field, text);
    object.close();
}

/// What a source is to this API.
enum Given<'s> {
    Bytes(&'s str),
    S3(&'s str),
    Text(&'s str),
    Blocks(&'s [Block]),
}

/// Media type and bytes or address. The API fetches from S3 and nowhere else (`providers/bedrock.md` 4 and 7).
fn given<'s>(source: &'s Source, path: &Path<'_>) -> Result<(Cow<'s, str>, Given<'s>), Fault> {
    let path = path.field("source");
    Ok(match source {
        Source::Base64 { media_type, data } => (Cow::Borrowed(&**media_type), Given::Bytes(data)),
        Source::Url { url, media_type } => match data_url(url) {
            Some(Ok((media_type, data))) => {
                (Cow::Owned(media_type.to_string()), Given::Bytes(data))
            }
            Some(Err(why)) => return Err(path.fault(why)),
            None if url.starts_with("s3://") => {
                let media_type = media_type.as_deref().unwrap_or_else(|| by_ending(url));
                (Cow::Borrowed(media_type), Given::S3(url))
            }
            None => {
                let why = "is a url; the converse api takes bytes or an address in s3";
                return Err(path.fault(why));
            }
        },
        Source::File { .. } => {
            return Err(path.fault("is a file of another provider; the converse api takes bytes"));
        }
        Source::Text { media_type, text } => (Cow::Borrowed(&**media_type), Given::Text(text)),
        Source::Blocks(blocks) => (Cow::Borrowed("text/plain"), Given::Blocks(blocks)),
    })
}

/// The media type by a file name's ending; empty where it tells nothing.
fn by_ending(url: &str) -> &'static str {
    let ending = url
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let ending = match &*ending {
        "jpg" => "jpeg",
        "3gp" => "three_gp",
        "htm" => "html",
        ending => ending,
    };
    [IMAGES, DOCUMENTS, VIDEOS, formats::AUDIOS]
        .iter()
        .find_map(|table| formats::media_type(table, ending))
        .unwrap_or_default()
}

/// Images and videos: a format of a table, and a source.
struct Media {
    member: &'static str,
    what: &'static str,
    table: &'static [(&'static str, &'static str)],
}

impl Media {
    fn of(
        member: &'static str,
        what: &'static str,
        table: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self {
            member,
            what,
            table,
        }
    }

    fn write(
        &self,
        source: &Source,
        path: &Path<'_>,
        object: &mut Object<'_>,
    ) -> Result<(), Fault> {
        let (media_type, given) = given(source, path)?;
        let Some(format) = formats::format(self.table, &media_type) else {
            let message = format!("is {media_type:?}; must be {}", self.what);
            return Err(path.field("source").fault(message));
        };
        write_media(self.member, format, &given, path, object)
    }
}

fn write_audio(
    source: &Source,
    format: Option<&str>,
    path: &Path<'_>,
    object: &mut Object<'_>,
) -> Result<(), Fault> {
    let (media_type, given) = given(source, path)?;
    let word = formats::audio_format(format, &media_type);
    write_media("audio", word, &given, path, object)
}

fn write_media(
    member: &str,
    format: &str,
    given: &Given<'_>,
    path: &Path<'_>,
    object: &mut Object<'_>,
) -> Result<(), Fault> {
    let mut media = Object::open(object.value(member));
    media.text("format", format);
    let mut source = Object::open(media.value("source"));
    match given {
        Given::Bytes(data) => source.text("bytes", data),
        Given::S3(uri) => write_s3(uri, &mut source),
        Given::Text(_) | Given::Blocks(_) => {
            let message = format!("must be bytes or an address in s3 for {member}");
            return Err(path.field("source").fault(message));
        }
    }
    source.close();
    media.close();
    Ok(())
}

fn write_s3(uri: &str, source: &mut Object<'_>) {
    let mut location = Object::open(source.value("s3Location"));
    location.text("uri", uri);
    location.close();
}

/// Format and source of a document. Text of a kind that has no word of its own is plain text.
fn document_bytes<'s>(
    source: &'s Source,
    path: &Path<'_>,
) -> Result<(&'static str, Given<'s>), Fault> {
    let (media_type, given) = given(source, path)?;
    let texts = ["application/json", "application/xml", "application/yaml"];
    let format = match formats::format(DOCUMENTS, &media_type) {
        Some(format) => format,
        None if media_type.starts_with("text/") || texts.contains(&&*media_type) => "txt",
        None => {
            let message = format!(
                "is {media_type:?}; documents are pdf, csv, doc, docx, xls, xlsx, html, txt or md"
            );
            return Err(path.field("source").fault(message));
        }
    };
    Ok((format, given))
}

/// A document given in parts, each of which can be cited: text alone.
fn texts_of<'b>(blocks: &'b [Block], path: &str) -> Result<Vec<&'b Str>, Fault> {
    let text = |(i, block): (usize, &'b Block)| match &block.kind {
        BlockKind::Text { text, .. } => Ok(text),
        _ => Err(Fault::invalid(
            format!("{path}[{i}]"),
            "must be text: parts of a document hold nothing else",
        )),
    };
    blocks.iter().enumerate().map(text).collect()
}

/// The media type and base64 of a `data:` URL; `None` for another URL, `Err` for one that is not base64.
fn data_url(url: &str) -> Option<Result<(&str, &str), &'static str>> {
    let scheme = url.get(..5)?;
    if !scheme.eq_ignore_ascii_case("data:") {
        return None;
    }
    let Some((head, data)) = url[5..].split_once(',') else {
        return Some(Err("is a data url without a comma ahead of its data"));
    };
    let Some(kind) = head.strip_suffix(";base64") else {
        return Some(Err("must be a base64 data url"));
    };
    let media_type = kind.split(';').next().filter(|m| !m.is_empty());
    // RFC 2397: text/plain when nothing is said.
    Some(Ok((media_type.unwrap_or("text/plain"), data)))
}
