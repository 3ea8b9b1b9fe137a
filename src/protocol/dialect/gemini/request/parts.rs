//! One part → one block.
//!
//! What canon cannot hold without loss (clips of a video, code that ran at Google, fields to come) stays a whole part.

use super::contents::Calls;
use super::{is_no_signature, results};
use crate::base::{Json, Str};
use crate::canon::{Block, BlockKind, DialectName, Fault, Source, ToolInput, ToolKind};
use crate::protocol::dialect::gemini::node::{Members, Node};

/// Members that we read; a part with another one is kept whole.
const KNOWN: &[&str] = &[
    "text",
    "thought",
    "thoughtSignature",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "mediaResolution",
];

/// `None` for a part that says nothing.
pub(super) fn read(node: &Node<'_, '_>, calls: &mut Calls) -> Result<Option<Block>, Fault> {
    let members = node.members()?;
    if members.0.is_empty() {
        return Ok(None);
    }
    let signature = signature(node, &members)?;
    let thought = members.flag(node, "thought")?.unwrap_or(false);
    let kind = match kind(node, &members, thought, calls)? {
        Some(kind) => kind,
        None => return Ok(Some(whole(node))),
    };
    Ok(Some(Block {
        signature,
        ..Block::plain(kind)
    }))
}

/// The part as it is, its signature within.
fn whole(node: &Node<'_, '_>) -> Block {
    Block::plain(BlockKind::Other {
        dialect: DialectName::Gemini,
        json: node.json(),
    })
}

fn signature<'a>(node: &Node<'a, '_>, members: &Members<'a>) -> Result<Option<Str>, Fault> {
    let said = members.string(node, "thoughtSignature")?;
    // The word for "none" is none: no other issuer knows it.
    Ok(said.filter(|s| !s.is_empty() && !is_no_signature(s)))
}

/// `None` for what stays whole.
fn kind<'a>(
    node: &Node<'a, '_>,
    members: &Members<'a>,
    thought: bool,
    calls: &mut Calls,
) -> Result<Option<BlockKind>, Fault> {
    if members.more_than(KNOWN) {
        return Ok(None);
    }
    let detail = match members.get(node, "mediaResolution").map(|m| detail(&m)) {
        Some(None) => return Ok(None),
        Some(detail) => detail,
        None => None,
    };
    if let Some(data) = members.get(node, "inlineData") {
        return if thought {
            Ok(None)
        } else {
            inline(&data, detail)
        };
    }
    if let Some(file) = members.get(node, "fileData") {
        return if thought {
            Ok(None)
        } else {
            by_uri(&file, detail)
        };
    }
    if let Some(call) = members.get(node, "functionCall") {
        return function_call(&call, calls);
    }
    if let Some(response) = members.get(node, "functionResponse") {
        return results::read(&response, calls);
    }
    let text = members.string(node, "text")?.unwrap_or_default();
    Ok(Some(if thought {
        BlockKind::Thinking { text }
    } else {
        Block::text(text).kind
    }))
}

/// How closely to look, in canon's words; `None` where there is none for it.
fn detail(node: &Node<'_, '_>) -> Option<Str> {
    #[derive(serde::Deserialize)]
    struct Resolution {
        level: String,
    }
    let resolution: Resolution = node.json().read()?;
    Some(Str::from_static(match resolution.level.as_str() {
        "MEDIA_RESOLUTION_LOW" => "low",
        "MEDIA_RESOLUTION_HIGH" => "high",
        "MEDIA_RESOLUTION_ULTRA_HIGH" => "original",
        _ => return None,
    }))
}

/// `inlineData`; `None` where something of it would be lost.
pub(super) fn inline(node: &Node<'_, '_>, detail: Option<Str>) -> Result<Option<BlockKind>, Fault> {
    let members = node.members()?;
    if members.more_than(&["mimeType", "data", "displayName"]) {
        return Ok(None);
    }
    let mime = members.need(node, "mimeType")?.string()?;
    let source = Source::Base64 {
        media_type: mime.clone(),
        data: standard(members.need(node, "data")?.string()?),
    };
    let name = members.string(node, "displayName")?;
    Ok(media(&mime, source, name, detail))
}

/// `fileData`: a file put there before, or an address.
pub(super) fn by_uri(node: &Node<'_, '_>, detail: Option<Str>) -> Result<Option<BlockKind>, Fault> {
    let members = node.members()?;
    if members.more_than(&["mimeType", "fileUri", "displayName"]) {
        return Ok(None);
    }
    let uri = members.need(node, "fileUri")?.string()?;
    let name = members.string(node, "displayName")?;
    let mime = members.string(node, "mimeType")?.filter(|m| !m.is_empty());
    // A file's id alone cannot say what it is, so the type is kept where it is told.
    let source = match &mime {
        None if !is_public(&uri) => Source::File { id: uri.clone() },
        _ => Source::Url {
            url: uri.clone(),
            media_type: mime.clone(),
        },
    };
    let guessed = mime.unwrap_or_else(|| Str::from_static(guess(&uri)));
    Ok(media(&guessed, source, name, detail))
}

/// Whether anybody may fetch it: not what lies in Google's file store or in a bucket.
fn is_public(uri: &str) -> bool {
    uri.starts_with("http") && !uri.contains("generativelanguage.googleapis.com/")
}

/// What is at an address that does not say: Google's own examples leave it out for videos of YouTube alone.
fn guess(uri: &str) -> &'static str {
    let site = uri.split("://").nth(1).unwrap_or_default();
    if site.contains("youtube.com/") || site.starts_with("youtu.be/") {
        "video/mp4"
    } else {
        super::write_parts::type_by_ending(uri).unwrap_or("application/octet-stream")
    }
}

/// The block for bytes of a type; `None` for a name that it has no place for, or a detail.
fn media(mime: &str, source: Source, name: Option<Str>, detail: Option<Str>) -> Option<BlockKind> {
    let class = mime.split('/').next().unwrap_or_default();
    match class {
        "image" if name.is_none() => Some(BlockKind::Image { source, detail }),
        "audio" if name.is_none() && detail.is_none() => Some(BlockKind::Audio {
            format: Some(Str::from(audio_format(mime))),
            source,
        }),
        "video" if name.is_none() && detail.is_none() => Some(BlockKind::Video { source }),
        "image" | "audio" | "video" => None,
        _ if detail.is_some() => None,
        _ => Some(BlockKind::Document {
            source,
            title: name,
            context: None,
            citations: None,
        }),
    }
}

fn audio_format(mime: &str) -> &str {
    let subtype = mime.split_once('/').map_or(mime, |(_, s)| s);
    match subtype {
        "mpeg" => "mp3",
        "x-wav" | "wave" | "vnd.wave" => "wav",
        other => other,
    }
}

/// Base64 in the alphabet that all other APIs demand: Google's own client writes the one for URLs (RFC 4648, section 5).
fn standard(data: Str) -> Str {
    let bytes = data.as_bytes();
    let padding = (4 - bytes.len() % 4) % 4;
    if padding == 0 && memchr::memchr2(b'-', b'_', bytes).is_none() {
        return data;
    }
    let mut out = String::with_capacity(bytes.len() + padding);
    out.extend(data.chars().map(|c| match c {
        '-' => '+',
        '_' => '/',
        c => c,
    }));
    out.extend(std::iter::repeat_n('=', padding));
    Str::from(out)
}

fn function_call(node: &Node<'_, '_>, calls: &mut Calls) -> Result<Option<BlockKind>, Fault> {
    let members = node.members()?;
    // A call in pieces, as Vertex streams them, is nobody else's to understand.
    if members.more_than(&["id", "name", "args"]) {
        return Ok(None);
    }
    let name = members.need(node, "name")?.string()?;
    let input = match members.get(node, "args") {
        Some(args) if !args.is_object() => return Err(args.wrong("an object")),
        Some(args) => args.json(),
        None => Json::empty_object(),
    };
    Ok(Some(BlockKind::ToolCall {
        id: calls.called(members.string(node, "id")?, &name),
        name,
        input: ToolInput::Json(input),
        kind: ToolKind::Function,
    }))
}
