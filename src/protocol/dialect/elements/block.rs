//! One block, tool or instruction: what it is, whether it carries a mark, and its bytes without.

use super::door::Bears;
use super::{Elements, Stage};
use crate::canon::{CacheMark, CacheTtl, ElementKind};
use crate::protocol::json::skim::{Skim, tightened};
use std::ops::Range;

/// What is seen of a block while it is passed.
#[derive(Default)]
pub(super) struct Look {
    kind: Option<ElementKind>,
    /// There is a mark here or within, even one that says null: its bytes do not count.
    is_marked: bool,
    /// It is its own.
    is_own: bool,
    mark: Option<CacheMark>,
    /// Marks within its content.
    nested: usize,
    /// Nothing but a mark (Converse).
    is_point: bool,
    pub(super) text: Option<Range<usize>>,
    pub(super) bears: Bears,
    /// Where its last member ends.
    pub(super) last: Option<usize>,
    /// Members beside type, text and marks.
    others: usize,
    /// A document that is text after all.
    is_textual: bool,
    /// Bytes that are media, and how many media they are.
    media: (usize, usize),
}

impl Elements {
    /// Passes a block, or the string that stands for one, and keeps it. `kind`: what it is, whatever it says itself.
    pub(super) fn block(
        &mut self,
        skim: &mut Skim<'_>,
        stage: Stage,
        kind: Option<ElementKind>,
    ) -> Option<()> {
        match skim.tighten()? {
            b'"' => {
                let at = skim.string()?;
                let door = self.door_of_string(skim.bytes(), stage, &at);
                self.push(stage, kind.unwrap_or(ElementKind::Text), at).door = door;
                Some(())
            }
            b'{' => self.object(skim, stage, kind),
            _ => {
                let at = skim.value()?;
                self.tight(skim, stage, kind.unwrap_or(ElementKind::Other), at);
                Some(())
            }
        }
    }

    fn object(
        &mut self,
        skim: &mut Skim<'_>,
        stage: Stage,
        kind: Option<ElementKind>,
    ) -> Option<()> {
        let from = skim.at();
        let look = look(skim, 0)?;
        let at = from..skim.at();
        if look.is_point && look.others == 0 {
            self.mark_last(stage, look.mark);
            return Some(());
        }
        self.marks += look.nested + usize::from(look.mark.is_some());
        self.nested |= look.nested > 0;
        // Not even beside a mark that says null: a member must not stand twice.
        let door = (!look.is_own)
            .then(|| self.door_of_object(skim.bytes(), stage, &look, &at))
            .flatten();
        if look.media.1 > 0 && stage == Stage::Turns {
            self.media = true;
        }
        let plain = look.others == 0 && !look.is_point;
        if let (Some(text), true, Some(ElementKind::Text) | None) =
            (look.text.clone(), plain, look.kind)
        {
            let item = self.push(stage, kind.unwrap_or(ElementKind::Text), text);
            (item.mark, item.door) = (look.mark, door);
            return Some(());
        }
        let kind = kind.or(look.kind).unwrap_or(match look.text {
            Some(_) => ElementKind::Text,
            None => ElementKind::Other,
        });
        let weight = look.weight(at.len());
        let item = if look.is_marked {
            let start = self.copied.len();
            unmarked(&skim.bytes()[at], &mut self.copied, 0)?;
            self.push_copied(stage, kind, start, Some(weight))
        } else {
            self.tight(skim, stage, kind, at);
            self.stages[stage as usize].last_mut()?
        };
        (item.mark, item.door) = (look.mark, door);
        // Bytes that weigh what they are follow their length, whatever was left out of them.
        item.weight = match look.media.1 {
            0 => item.to - item.from,
            _ => u32::try_from(weight).unwrap_or(u32::MAX),
        };
        Some(())
    }

    /// What was passed since the skim was tightened, copied where it is loose.
    pub(super) fn tight(
        &mut self,
        skim: &Skim<'_>,
        stage: Stage,
        kind: ElementKind,
        at: Range<usize>,
    ) {
        if skim.is_loose() {
            let start = self.copied.len();
            tightened(&skim.bytes()[at], &mut self.copied);
            self.push_copied(stage, kind, start, None);
        } else {
            self.push(stage, kind, at);
        }
    }
}

impl Look {
    fn weight(&self, length: usize) -> usize {
        let (bytes, count) = self.media;
        length.saturating_sub(bytes) + bytes.min(count.saturating_mul(MEDIA_BYTES))
    }
}

/// Passes an object.
fn look(skim: &mut Skim<'_>, depth: u32) -> Option<Look> {
    let (from, mut look) = (skim.at(), Look::default());
    let bytes = skim.bytes();
    skim.members(|skim, name| {
        match &bytes[name] {
            b"cache_control" | b"prompt_cache_breakpoint" => {
                (look.is_marked, look.is_own) = (true, true);
                look.mark = mark(bytes, skim)?;
            }
            b"cachePoint" => {
                look.is_point = true;
                look.mark = mark(bytes, skim)?;
            }
            b"type" => {
                let said = skim.value()?;
                let (kind, is_known) = kind(&bytes[said.clone()]);
                look.bears.says_type(&bytes[said]);
                look.kind = Some(kind);
                look.others += usize::from(!is_known);
            }
            b"text" if skim.next()? == b'"' => look.text = Some(skim.string()?),
            b"content" if depth < DEPTH_MAX && skim.next()? == b'[' => {
                look.others += 1;
                skim.items(|skim| look.nested(skim, depth))?;
            }
            b"source" if skim.next()? == b'{' => {
                look.others += 1;
                look.is_textual |= is_textual(bytes, skim)?;
            }
            name => {
                look.others += 1;
                look.kind = named(name).or(look.kind);
                let said = skim.value()?;
                look.bears.says(name, &bytes[said]);
            }
        }
        look.last = Some(skim.at());
        Some(())
    })?;
    if look.kind == Some(ElementKind::Media) {
        if look.is_textual {
            look.kind = Some(ElementKind::Other);
        } else {
            look.media = (skim.at() - from, 1);
        }
    }
    Some(look)
}

impl Look {
    /// An item of a block's own content (tool results).
    fn nested(&mut self, skim: &mut Skim<'_>, depth: u32) -> Option<()> {
        if skim.next()? != b'{' {
            return skim.value().map(drop);
        }
        let inner = look(skim, depth + 1)?;
        self.is_marked |= inner.is_marked;
        self.nested += inner.nested + usize::from(inner.mark.is_some());
        self.media.0 += inner.media.0;
        self.media.1 += inner.media.1;
        Some(())
    }
}

/// Passes what a mark says. `None` within: it says null.
pub(super) fn mark(bytes: &[u8], skim: &mut Skim<'_>) -> Option<Option<CacheMark>> {
    let mut ttl = None;
    if skim.next()? != b'{' {
        let said = skim.value()?;
        let none = matches!(&bytes[said], b"null" | b"false");
        return Some((!none).then_some(CacheMark { ttl }));
    }
    skim.members(|skim, name| {
        let said = skim.value()?;
        if &bytes[name] == b"ttl" {
            ttl = lifetime(&bytes[said]);
        }
        Some(())
    })?;
    Some(Some(CacheMark { ttl }))
}

fn lifetime(said: &[u8]) -> Option<CacheTtl> {
    match said {
        b"\"5m\"" => Some(CacheTtl::Minutes5),
        b"\"30m\"" => Some(CacheTtl::Minutes30),
        b"\"1h\"" => Some(CacheTtl::Hours1),
        b"\"12h\"" => Some(CacheTtl::Hours12),
        b"\"24h\"" => Some(CacheTtl::Hours24),
        _ => None,
    }
}

/// Whether the source of a document is text. Passes it.
fn is_textual(bytes: &[u8], skim: &mut Skim<'_>) -> Option<bool> {
    let mut textual = false;
    skim.members(|skim, name| {
        let said = skim.value()?;
        textual |= &bytes[name] == b"type" && matches!(&bytes[said], b"\"text\"" | b"\"content\"");
        Some(())
    })?;
    Some(textual)
}

/// What `type` says, and whether the kind says as much, so that a text need not repeat it.
fn kind(said: &[u8]) -> (ElementKind, bool) {
    let inner = said.strip_prefix(b"\"").and_then(|s| s.strip_suffix(b"\""));
    let Some(inner) = inner else {
        return (ElementKind::Other, false);
    };
    match inner {
        // Who speaks says whether a text of Responses is read or was written.
        b"text" | b"input_text" | b"output_text" => (ElementKind::Text, true),
        b"image" | b"image_url" | b"input_image" | b"input_audio" | b"video_url" | b"document"
        | b"file" | b"input_file" => (ElementKind::Media, false),
        b"thinking" | b"redacted_thinking" | b"reasoning" => (ElementKind::Thinking, false),
        _ if inner.ends_with(b"tool_use") || inner.ends_with(b"_call") => {
            (ElementKind::ToolCall, false)
        }
        _ if inner.ends_with(b"_result") || inner.ends_with(b"_output") => {
            (ElementKind::ToolResult, false)
        }
        _ => (ElementKind::Other, false),
    }
}

/// Blocks of Gemini and of Converse are told by the name of a member.
fn named(name: &[u8]) -> Option<ElementKind> {
    match name {
        b"inlineData" | b"inline_data" | b"fileData" | b"file_data" | b"image" | b"document"
        | b"video" | b"audio" => Some(ElementKind::Media),
        b"functionCall" | b"function_call" | b"toolUse" => Some(ElementKind::ToolCall),
        b"functionResponse" | b"function_response" | b"toolResult" => Some(ElementKind::ToolResult),
        b"thought" | b"reasoningContent" => Some(ElementKind::Thinking),
        _ => None,
    }
}

/// Appends an object without space and without marks, its own and those of its content.
fn unmarked(object: &[u8], out: &mut Vec<u8>, depth: u32) -> Option<()> {
    let (mut skim, mut some) = (Skim::of(object), false);
    out.push(b'{');
    skim.members(|skim, name| {
        if matches!(
            &object[name.clone()],
            b"cache_control" | b"prompt_cache_breakpoint"
        ) {
            return skim.value().map(drop);
        }
        if std::mem::replace(&mut some, true) {
            out.push(b',');
        }
        out.extend_from_slice(&object[name.start - 1..name.end + 1]);
        out.push(b':');
        let is_content = &object[name] == b"content" && depth < DEPTH_MAX;
        if is_content && skim.next()? == b'[' {
            return unmarked_items(object, skim, out, depth);
        }
        tightened(&object[skim.value()?], out);
        Some(())
    })?;
    out.push(b'}');
    Some(())
}

fn unmarked_items(bytes: &[u8], skim: &mut Skim<'_>, out: &mut Vec<u8>, depth: u32) -> Option<()> {
    let mut some = false;
    out.push(b'[');
    skim.items(|skim| {
        if std::mem::replace(&mut some, true) {
            out.push(b',');
        }
        let item = &bytes[skim.value()?];
        match item.first() {
            Some(b'{') => unmarked(item, out, depth + 1),
            _ => {
                tightened(item, out);
                Some(())
            }
        }
    })?;
    out.push(b']');
    Some(())
}

/// What a picture weighs at most: 1,600 tokens of four bytes, as providers scale it down to one and a half megapixels (Anthropic docs, vision, read 2026-08).
const MEDIA_BYTES: usize = 1_600 * 4;

/// Content within content is looked into so deep: a tool result within a block is one, and no API has more.
const DEPTH_MAX: u32 = 4;
