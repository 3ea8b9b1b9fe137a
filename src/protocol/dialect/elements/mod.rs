//! The elements of a prompt, in the order in which its provider reads them, as slices of the body that goes to it.
//!
//! One pass over the body, which must be JSON (it was read before, or we wrote it). The order is tools, form of the answer, instructions,
//! conversation, whatever the order in the body; parameters stand before what they change. Left out is what no model reads: limits, sampling,
//! the model's name, metadata, and cache marks, which move with every turn (they are told as `Element::mark`). A text that says nothing but its
//! text is its string alone, since `"content": "x"` and `"content": [{"type": "text", "text": "x"}]` are the same to the model, and a mark turns
//! the first into the second.
//!
//! Only what is loosely written, or has marks within, is copied, into a buffer that is kept. Nothing else is allocated once the buffers have
//! grown. A body that we do not understand is one element as a whole: it matches itself, and nothing is claimed of its parts.
//!
//! What stands in headers and is part of a provider's key (`anthropic-beta`) is not seen here: who has it feeds it to the chain as a `Param`.
//! Bodies that pass to a provider of their own dialect may be read before the model's name is changed in them: nothing of it is read here.

mod block;
mod door;
pub use door::Door;
mod top;

use crate::canon::{CacheMark, DialectName, Element, ElementKind, Spot};
use crate::protocol::json::skim::tightened;
use std::ops::Range;

/// The elements of one body. Kept and read into again, it allocates nothing.
#[derive(Debug, Default)]
pub struct Elements {
    stages: [Vec<Item>; STAGES],
    /// Elements that are not in the body as they count.
    copied: Vec<u8>,
    /// A picture or the like stands in the conversation.
    media: bool,
    /// The whole request asks for a mark behind its last block.
    automatic: Option<CacheMark>,
    /// Marks that there are, wherever they stand.
    marks: usize,
    /// Some of them stand within a block's own content.
    nested: bool,
    dialect: Option<DialectName>,
    /// What is read now stands where a list could.
    alone: bool,
}

/// Where the parts of a body stand in the order of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Parameters that change all.
    Whole,
    Tools,
    Schema,
    System,
    /// Parameters that change how the conversation is read, and nothing before.
    Turning,
    Turns,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    kind: ElementKind,
    is_copied: bool,
    from: u32,
    to: u32,
    weight: u32,
    mark: Option<CacheMark>,
    door: Option<Door>,
}

/// The body is no JSON object, or longer than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread;

const STAGES: usize = 6;

impl Elements {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the body of a call in `dialect`. Costs one pass: a GB/s or more. `Err` leaves no elements.
    pub fn read(&mut self, dialect: DialectName, body: &[u8]) -> Result<(), Unread> {
        self.clear();
        self.dialect = Some(dialect);
        if u32::try_from(body.len()).is_err() {
            return Err(Unread);
        }
        if top::read(self, dialect, body).is_none() {
            self.clear();
            return Err(Unread);
        }
        self.finish(dialect);
        // A client may write its parameters in another order each time (FIELD-BUGS 9); none is read before another.
        for stage in [Stage::Whole, Stage::Turning] {
            let mut items = std::mem::take(&mut self.stages[stage as usize]);
            items.sort_by(|a, b| self.bytes(body, a).cmp(self.bytes(body, b)));
            self.stages[stage as usize] = items;
        }
        Ok(())
    }

    /// The elements of `body`, which must be the one that was read.
    pub fn iter<'a>(&'a self, body: &'a [u8]) -> impl Iterator<Item = Element<'a>> {
        self.stages.iter().flatten().map(move |item| Element {
            kind: item.kind,
            bytes: self.bytes(body, item),
            weight: item.weight,
            mark: item.mark,
        })
    }

    /// What is known of the place behind each element in which a prefix can end, in the order of `iter`: one for each boundary of a chain
    /// without blocks.
    pub fn spots(&self) -> impl Iterator<Item = Spot> {
        let mut models = false;
        self.stages.iter().flatten().filter_map(move |item| {
            if item.kind == ElementKind::Turn {
                let place = item.from as usize..item.to as usize;
                let role = self.copied.get(place).unwrap_or_default();
                models = matches!(role, b"\"assistant\"" | b"\"model\"");
            }
            item.kind.ends_prefix().then_some(Spot {
                kind: item.kind,
                mark: item.mark,
                bears: item.door.is_some(),
                is_models: item.is_models(models),
            })
        })
    }

    /// Where a mark behind the spot of that number would be written, in the body that was read; `None` where none can stand.
    #[must_use]
    pub fn door(&self, spot: usize) -> Option<Door> {
        let mut items = self.stages.iter().flatten();
        items
            .by_ref()
            .filter(|i| i.kind.ends_prefix())
            .nth(spot)?
            .door
    }

    /// How many marks the body has, at whatever depth, that for the whole request included; and whether some stand within a block's own content.
    #[must_use]
    pub fn marks(&self) -> (usize, bool) {
        (self.marks, self.nested)
    }

    fn clear(&mut self) {
        for stage in &mut self.stages {
            stage.clear();
        }
        self.copied.clear();
        (self.media, self.automatic) = (false, None);
        (self.marks, self.nested) = (0, false);
        (self.dialect, self.alone) = (None, false);
    }

    fn bytes<'a>(&'a self, body: &'a [u8], item: &Item) -> &'a [u8] {
        let from = if item.is_copied { &self.copied } else { body };
        // Another body than was read gives nonsense, not a panic.
        let place = item.from as usize..item.to as usize;
        from.get(place).unwrap_or_default()
    }

    fn finish(&mut self, dialect: DialectName) {
        // Anthropic docs, prompt caching, read 2026-08: whether there are images anywhere changes how the messages are cached.
        if self.media && matches!(dialect, DialectName::Messages | DialectName::Converse) {
            let from = self.copied.len();
            self.copied.extend_from_slice(b"media");
            self.push_copied(Stage::Turning, ElementKind::Param, from, None);
        }
        // Anthropic docs, automatic caching, read 2026-08: on the last block that can carry it.
        if let Some(mark) = self.automatic.take() {
            self.marks += 1;
            let can = |item: &&mut Item| {
                item.kind.ends_prefix() && item.kind != ElementKind::Thinking && item.mark.is_none()
            };
            if let Some(item) = self
                .stages
                .iter_mut()
                .rev()
                .flat_map(|s| s.iter_mut().rev())
                .find(can)
            {
                item.mark = Some(mark);
            }
        }
    }

    fn push(&mut self, stage: Stage, kind: ElementKind, at: Range<usize>) -> &mut Item {
        let weight = at.len();
        self.push_item(stage, kind, at, weight, false)
    }

    /// What was copied from `from` on.
    fn push_copied(
        &mut self,
        stage: Stage,
        kind: ElementKind,
        from: usize,
        weight: Option<usize>,
    ) -> &mut Item {
        let at = from..self.copied.len();
        let weight = weight.unwrap_or(at.len());
        self.push_item(stage, kind, at, weight, true)
    }

    fn push_item(
        &mut self,
        stage: Stage,
        kind: ElementKind,
        at: Range<usize>,
        weight: usize,
        is_copied: bool,
    ) -> &mut Item {
        // Both fit: the body is shorter than 4 GiB, and no more is copied than it has; the word for media needs no body.
        let fit = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let items = &mut self.stages[stage as usize];
        items.push(Item {
            kind,
            is_copied,
            from: fit(at.start),
            to: fit(at.end),
            weight: fit(weight),
            mark: None,
            door: None,
        });
        items.last_mut().expect("just pushed")
    }

    /// A parameter: its name and its value, as one.
    fn param(&mut self, stage: Stage, kind: ElementKind, name: &[u8], value: &[u8]) {
        let from = self.copied.len();
        self.copied.extend_from_slice(name);
        self.copied.push(b':');
        tightened(value, &mut self.copied);
        self.push_copied(stage, kind, from, None);
    }

    /// A mark for what came last: of a message as a whole, or a block that is nothing but a mark (Converse).
    fn mark_last(&mut self, stage: Stage, mark: Option<CacheMark>) {
        self.marks += usize::from(mark.is_some());
        let items = self.stages[stage as usize].iter_mut().rev();
        if let (Some(mark), Some(item)) = (mark, items.into_iter().find(|i| i.kind.ends_prefix())) {
            item.mark = Some(mark);
        }
    }
}

impl Item {
    /// `models`: it stands in a turn of the model. Items of Responses stand in no turn, and say by their kind whose they are.
    fn is_models(&self, models: bool) -> bool {
        match self.kind {
            ElementKind::ToolCall | ElementKind::Thinking => true,
            ElementKind::ToolResult
            | ElementKind::Tool
            | ElementKind::Schema
            | ElementKind::System => false,
            _ => models,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
