//! Blocks that wait for their turn.
//!
//! Items of an answer may grow at the same time; canon wants the blocks of a choice one after the other. So what comes for a block ahead
//! of which another is open is held, and text never is: it is told as it comes, and a text that goes on after another block began is a
//! block of its own.

use crate::base::Str;
use crate::canon::{BlockStart, Delta, Event, ToolKind};

/// What a block is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Refusal,
    Audio,
    Thinking,
    Call,
    /// Known only when it is whole.
    Whole,
}

#[derive(Debug)]
pub(super) struct Slot {
    /// Which item, and which part of its content.
    pub item: usize,
    pub part: u64,
    pub kind: Kind,
    /// What it begins with, once that is known.
    pub start: Option<BlockStart>,
    block: Option<u32>,
    held: Vec<Delta>,
    /// Bytes told of its text so far, over all blocks that it was split into.
    pub told: usize,
    /// Annotations told so far, and whether log probabilities were.
    pub cited: usize,
    pub logged: bool,
    /// Its text is whole; what else comes is small.
    pub ended: bool,
    /// Nothing more comes.
    pub done: bool,
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// The first that is not closed.
    current: usize,
    blocks: u32,
}

impl Slots {
    pub(super) fn get(&mut self, at: usize) -> &mut Slot {
        &mut self.slots[at]
    }

    pub(super) fn find(&self, item: usize, part: u64, kind: Kind) -> Option<usize> {
        let is = |s: &Slot| s.item == item && s.part == part && s.kind == kind;
        self.slots.iter().rposition(is)
    }

    /// The parts of that kind that an item has had so far, in order. Their numbers are the speaker's: some count from 1.
    pub(super) fn parts(&self, item: usize, kind: Kind) -> Vec<u64> {
        let mine = self
            .slots
            .iter()
            .filter(|s| s.item == item && s.kind == kind);
        let mut parts: Vec<u64> = mine.map(|s| s.part).collect();
        parts.dedup();
        parts
    }

    /// The slot of that part, made where there is none; one that was closed goes on in another.
    pub(super) fn at(&mut self, item: usize, part: u64, kind: Kind) -> usize {
        let found = self.find(item, part, kind);
        let (told, cited, logged) = match found {
            Some(at) if at >= self.current => return at,
            Some(at) => {
                let s = &self.slots[at];
                (s.told, s.cited, s.logged)
            }
            None => (0, 0, false),
        };
        let start = match kind {
            Kind::Text => Some(BlockStart::Text),
            Kind::Refusal => Some(BlockStart::Refusal),
            Kind::Audio => Some(BlockStart::Audio {
                id: None,
                format: None,
            }),
            Kind::Thinking | Kind::Call | Kind::Whole => None,
        };
        self.slots.push(Slot {
            item,
            part,
            kind,
            start,
            block: None,
            held: Vec::new(),
            told,
            cited,
            logged,
            ended: false,
            done: false,
        });
        self.slots.len() - 1
    }

    /// Whether that slot was closed: nothing can be added to it.
    pub(super) fn is_closed(&self, at: usize) -> bool {
        at < self.current
    }

    /// Adds to a slot. Text that was told already does not come here.
    pub(super) fn say(&mut self, at: usize, delta: Delta) {
        self.slots[at].held.push(delta);
    }

    /// Text of a slot, as a delta of its kind.
    pub(super) fn text(&mut self, at: usize, text: Str) {
        if text.is_empty() {
            return;
        }
        let slot = &mut self.slots[at];
        slot.told += text.len();
        slot.held.push(match slot.kind {
            Kind::Text => Delta::Text(text),
            Kind::Refusal => Delta::Refusal(text),
            Kind::Audio => Delta::Transcript(text),
            Kind::Thinking => Delta::Thinking(text),
            Kind::Call | Kind::Whole => Delta::ToolInput(text),
        });
    }

    /// The whole text came: tells what was not told of it.
    pub(super) fn whole_text(&mut self, at: usize, text: &Str) {
        let told = self.slots[at].told;
        if let Some(rest) = text.get(told..).filter(|r| !r.is_empty()) {
            let rest = text.slice_ref(rest);
            self.text(at, rest);
        }
    }

    /// Every slot of `item` is whole.
    pub(super) fn done(&mut self, item: usize) {
        for slot in self.slots.iter_mut().filter(|s| s.item == item) {
            slot.done = true;
        }
    }

    pub(super) fn all_done(&mut self) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            slot.done = true;
            // A call whose item never came: told as it is, without a name.
            if slot.kind == Kind::Call && slot.start.is_none() && !slot.held.is_empty() {
                slot.start = Some(BlockStart::ToolCall {
                    id: Str::from(format!("call_{number}")),
                    name: Str::new(),
                    kind: ToolKind::Function,
                });
            }
        }
    }

    /// Appends what may be told.
    pub(super) fn pump(&mut self, out: &mut Vec<Event>) {
        while let Some(slot) = self.slots.get(self.current) {
            let is_last = self.current + 1 >= self.slots.len();
            let gives_way =
                slot.ended || matches!(slot.kind, Kind::Text | Kind::Refusal | Kind::Audio);
            let closes = slot.done || (gives_way && !is_last);
            self.tell(closes, out);
            if !closes {
                return;
            }
            self.current += 1;
        }
    }

    fn tell(&mut self, closes: bool, out: &mut Vec<Event>) {
        let slot = &mut self.slots[self.current];
        if slot.block.is_none() {
            // What never said what it is says nothing.
            let Some(block) = slot.start.take() else {
                return;
            };
            let index = self.blocks;
            self.blocks += 1;
            slot.block = Some(index);
            out.push(Event::BlockStart {
                index,
                choice: 0,
                block,
            });
        }
        let Some(index) = slot.block else { return };
        for delta in slot.held.drain(..) {
            out.push(Event::BlockDelta { index, delta });
        }
        if closes {
            out.push(Event::BlockStop { index });
        }
    }
}
