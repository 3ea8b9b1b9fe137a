//! Content parts → blocks.

use crate::canon::{Block, BlockKind, Citation, DialectName, Fault, Source};
use crate::protocol::dialect::chat::request::node::{Members, Node};
use crate::protocol::dialect::chat::request::parts::{audio, file_data, mark_in, source_of};
use crate::protocol::dialect::chat::request::read::optional;
use crate::protocol::dialect::responses::schema;

/// A message's content, or a tool's output: a string is one text, an array is its parts.
pub(super) fn content(node: &Node<'_, '_>) -> Result<Vec<Block>, Fault> {
    if node.is_string() {
        return Ok(vec![Block::text(node.string()?)]);
    }
    if !node.is_array() {
        return Err(node.wrong("a string or an array of content parts"));
    }
    let items = node.items()?;
    let each = items.iter().enumerate();
    each.map(|(i, raw)| part(&node.item(i, raw))).collect()
}

fn part(node: &Node<'_, '_>) -> Result<Block, Fault> {
    let members = node.members()?;
    let kind = match &*members.need(node, "type")?.string()? {
        // `text` is what Chat Completions calls both, and several clients say here.
        "input_text" | "output_text" | "text" => BlockKind::Text {
            text: members.need(node, "text")?.string()?,
            citations: citations(node, &members)?,
        },
        "input_image" => image(node, &members)?,
        "input_file" => file(node, &members)?,
        "input_audio" => match members.get(node, "input_audio") {
            Some(inner) => audio(&inner)?,
            None => audio(node)?,
        },
        "refusal" => BlockKind::Refusal {
            text: members.need(node, "refusal")?.string()?,
        },
        // Whole, for who can say it.
        _ => BlockKind::Other {
            dialect: DialectName::Responses,
            json: node.json(),
        },
    };
    let is_other = matches!(kind, BlockKind::Other { .. });
    let mark = if is_other {
        None
    } else {
        mark_in(node, &members)?
    };
    Ok(Block {
        mark,
        ..Block::plain(kind)
    })
}

/// `annotations` of what the model said earlier.
fn citations<'a>(node: &Node<'a, '_>, members: &Members<'a>) -> Result<Vec<Citation>, Fault> {
    let Some(list) = members.get(node, "annotations") else {
        return Ok(Vec::new());
    };
    let items = list.items()?;
    Ok(items
        .iter()
        .map(|raw| schema::citation(list.body, raw))
        .collect())
}

fn image<'a>(node: &Node<'a, '_>, members: &Members<'a>) -> Result<BlockKind, Fault> {
    let source = match (members.get(node, "file_id"), members.get(node, "image_url")) {
        (Some(id), None) => Source::File { id: id.string()? },
        // Chat's object around the URL, which some clients send.
        (_, Some(object)) if object.is_object() => {
            source_of(&object.members()?.need(&object, "url")?)?
        }
        (_, Some(url)) => source_of(&url)?,
        (None, None) => return Err(node.wrong("an image with `image_url` or `file_id`")),
    };
    Ok(BlockKind::Image {
        source,
        detail: optional(members.get(node, "detail"))?,
    })
}

fn file<'a>(node: &Node<'a, '_>, members: &Members<'a>) -> Result<BlockKind, Fault> {
    let title = optional(members.get(node, "filename"))?;
    let source = match (members.get(node, "file_id"), members.get(node, "file_url")) {
        (Some(id), _) => Source::File { id: id.string()? },
        (None, Some(url)) => source_of(&url)?,
        (None, None) => file_data(&members.need(node, "file_data")?, title.as_deref())?,
    };
    Ok(BlockKind::Document {
        source,
        title,
        context: None,
        citations: None,
    })
}
