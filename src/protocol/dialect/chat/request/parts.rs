//! Content parts → blocks.

use super::node::{Members, Node};
use super::read::optional;
use crate::base::Str;
use crate::canon::{Block, BlockKind, CacheMark, CacheTtl, DialectName, Fault, Source};

/// A message's content: a string is one text, an array is its parts.
pub(super) fn content(node: &Node<'_, '_>) -> Result<Vec<Block>, Fault> {
    if node.is_string() {
        return Ok(vec![Block::text(node.string()?)]);
    }
    if !node.is_array() {
        return Err(node.wrong("a string or an array of content parts"));
    }
    let items = node.items()?;
    let mut blocks = Vec::with_capacity(items.len());
    for (i, raw) in items.iter().enumerate() {
        part(&node.item(i, raw), &mut blocks)?;
    }
    Ok(blocks)
}

fn part(node: &Node<'_, '_>, blocks: &mut Vec<Block>) -> Result<(), Fault> {
    let members = node.members()?;
    let kind = match &*members.need(node, "type")?.string()? {
        "text" => {
            let text = members.need(node, "text")?.string()?;
            Block::text(text).kind
        }
        "image_url" => image(&members.need(node, "image_url")?)?,
        "input_audio" => audio(&members.need(node, "input_audio")?)?,
        "audio_url" => BlockKind::Audio {
            source: url_source(&members.need(node, "audio_url")?)?,
            format: None,
        },
        "video_url" => BlockKind::Video {
            source: url_source(&members.need(node, "video_url")?)?,
        },
        "file" => file(&members.need(node, "file")?)?,
        "refusal" => BlockKind::Refusal {
            text: members.need(node, "refusal")?.string()?,
        },
        // Mistral's form of earlier thinking.
        "thinking" if members.get(node, "thinking").is_some_and(|t| t.is_array()) => {
            return thinking(&members.need(node, "thinking")?, blocks);
        }
        // Whole, with its mark, for who can say it.
        _ => {
            blocks.push(Block::plain(BlockKind::Other {
                dialect: DialectName::Chat,
                json: node.json(),
            }));
            return Ok(());
        }
    };
    blocks.push(Block {
        mark: mark_in(node, &members)?,
        ..Block::plain(kind)
    });
    Ok(())
}

fn thinking(node: &Node<'_, '_>, blocks: &mut Vec<Block>) -> Result<(), Fault> {
    for (i, raw) in node.items()?.iter().enumerate() {
        let thought = node.item(i, raw);
        let text = thought.members()?.need(&thought, "text")?.string()?;
        blocks.push(Block::plain(BlockKind::Thinking { text }));
    }
    Ok(())
}

/// OpenAI's mark, or Anthropic's as gateways take it in this dialect.
pub(in crate::protocol::dialect) fn mark_in<'a>(
    node: &Node<'a, '_>,
    members: &Members<'a>,
) -> Result<Option<CacheMark>, Fault> {
    ["prompt_cache_breakpoint", "cache_control"]
        .into_iter()
        .find_map(|name| members.get(node, name))
        .map(|m| mark(&m))
        .transpose()
}

pub(in crate::protocol::dialect) fn mark(node: &Node<'_, '_>) -> Result<CacheMark, Fault> {
    let Some(ttl) = node.members()?.get(node, "ttl") else {
        return Ok(CacheMark { ttl: None });
    };
    let ttl = match &*ttl.string()? {
        "5m" => CacheTtl::Minutes5,
        "30m" => CacheTtl::Minutes30,
        "1h" => CacheTtl::Hours1,
        "12h" => CacheTtl::Hours12,
        "24h" => CacheTtl::Hours24,
        _ => return Err(ttl.wrong("`5m`, `30m`, `1h`, `12h` or `24h`")),
    };
    Ok(CacheMark { ttl: Some(ttl) })
}

pub(super) fn image(node: &Node<'_, '_>) -> Result<BlockKind, Fault> {
    // Some clients leave out the object around the URL.
    if node.is_string() {
        return Ok(BlockKind::Image {
            source: source_of(node)?,
            detail: None,
        });
    }
    let members = node.members()?;
    Ok(BlockKind::Image {
        source: source_of(&members.need(node, "url")?)?,
        detail: optional(members.get(node, "detail"))?,
    })
}

fn url_source(node: &Node<'_, '_>) -> Result<Source, Fault> {
    if node.is_string() {
        return source_of(node);
    }
    source_of(&node.members()?.need(node, "url")?)
}

/// An address, or the bytes themselves as a data URL (RFC 2397).
pub(in crate::protocol::dialect) fn source_of(node: &Node<'_, '_>) -> Result<Source, Fault> {
    let url = node.string()?;
    if let Some(source) = data_url(&url) {
        return Ok(source);
    }
    if url.is_empty() || url.starts_with("data:") {
        return Err(node.wrong("a URL, or `data:<media type>;base64,<data>`"));
    }
    Ok(Source::Url {
        url,
        media_type: None,
    })
}

fn data_url(url: &Str) -> Option<Source> {
    let scheme = url.get(..5)?;
    let (head, data) = url.get(5..)?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    scheme
        .eq_ignore_ascii_case("data:")
        .then(|| Source::Base64 {
            media_type: url.slice_ref(media_type),
            data: url.slice_ref(data),
        })
}

pub(in crate::protocol::dialect) fn audio(node: &Node<'_, '_>) -> Result<BlockKind, Fault> {
    let members = node.members()?;
    let format = members.need(node, "format")?.string()?;
    Ok(BlockKind::Audio {
        source: Source::Base64 {
            media_type: match &*format {
                "mp3" => Str::from_static("audio/mpeg"),
                other => Str::from(format!("audio/{other}")),
            },
            data: members.need(node, "data")?.string()?,
        },
        format: Some(format),
    })
}

fn file(node: &Node<'_, '_>) -> Result<BlockKind, Fault> {
    let members = node.members()?;
    let title = optional(members.get(node, "filename"))?;
    let source = match members.get(node, "file_id") {
        Some(id) => Source::File { id: id.string()? },
        None => file_data(&members.need(node, "file_data")?, title.as_deref())?,
    };
    Ok(BlockKind::Document {
        source,
        title,
        context: None,
        citations: None,
    })
}

/// A data URL; OpenRouter also takes an address, and older clients send bare base64.
pub(in crate::protocol::dialect) fn file_data(
    node: &Node<'_, '_>,
    title: Option<&str>,
) -> Result<Source, Fault> {
    let data = node.string()?;
    if data.contains(':') {
        return source_of(node);
    }
    let ending = title.and_then(|t| t.rsplit_once('.')).map(|(_, e)| e);
    Ok(Source::Base64 {
        media_type: Str::from_static(match ending {
            Some("txt") => "text/plain",
            Some("md") => "text/markdown",
            Some("csv") => "text/csv",
            Some("json") => "application/json",
            Some("html") => "text/html",
            _ => "application/pdf",
        }),
        data,
    })
}
