//! Tool calls as they come in fragments → blocks one after the other.
//!
//! Speakers differ: id and name once or in every fragment, whole calls in one chunk, no index, or every call under index 0. Canon
//! wants the blocks of one choice one after the other, so a call that begins before the one ahead of it is whole waits.

use super::decoder::Sink;
use crate::base::Str;
use crate::canon::{BlockStart, Delta, Malformed, ToolKind};

/// One fragment, however it was written.
pub(super) struct Fragment {
    pub index: Option<u32>,
    pub id: Option<Str>,
    pub name: Option<Str>,
    pub input: Option<Str>,
    pub custom: bool,
    pub signature: Option<String>,
}

/// The calls of one choice.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    /// The first that is not closed.
    current: usize,
}

#[derive(Debug)]
struct Call {
    index: Option<u32>,
    id: Option<Str>,
    name: Option<Str>,
    custom: bool,
    /// Pieces that came before their turn.
    held: Vec<Delta>,
    shape: Shape,
    block: Option<u32>,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes a fragment and appends what may be told. `Err` for more of a call that is closed.
    pub(super) fn feed(
        &mut self,
        fragment: Fragment,
        sink: &mut Sink<'_>,
    ) -> Result<(), Malformed> {
        let at = self.place_of(&fragment);
        if at < self.current {
            return if fragment.input.is_none_or(|s| s.is_empty()) {
                Ok(())
            } else {
                Err(Malformed::at("tool_calls: more of a call after its end"))
            };
        }
        self.calls[at].take(fragment);
        self.pump(sink);
        Ok(())
    }

    /// Nothing more comes of these calls: tells what was held, and closes.
    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) {
        while let Some(call) = self.calls.get_mut(self.current) {
            call.tell(self.current, sink);
            call.close(sink);
            self.current += 1;
        }
    }

    fn pump(&mut self, sink: &mut Sink<'_>) {
        loop {
            let is_last = self.current + 1 >= self.calls.len();
            let Some(call) = self.calls.get_mut(self.current) else {
                return;
            };
            if call.name.is_some() || !is_last {
                call.tell(self.current, sink);
            }
            if is_last || !(call.custom || call.shape.is_whole()) {
                return;
            }
            call.close(sink);
            self.current += 1;
        }
    }

    /// The call that `fragment` is of; a new one where it is of none.
    fn place_of(&mut self, fragment: &Fragment) -> usize {
        let found = match (fragment.index, &fragment.id) {
            (Some(index), id) => self.calls.iter().rposition(|c| {
                // Some speakers number every call 0: another id is another call.
                c.index == Some(index) && (id.is_none() || c.id.is_none() || c.id == *id)
            }),
            (None, Some(id)) => self.calls.iter().rposition(|c| c.id.as_ref() == Some(id)),
            // Without both, a name begins a call and input goes on with the last.
            (None, None) if fragment.name.is_some() => None,
            (None, None) => self.calls.len().checked_sub(1),
        };
        found.unwrap_or_else(|| {
            self.calls.push(Call::of(fragment));
            self.calls.len() - 1
        })
    }
}

impl Call {
    fn of(fragment: &Fragment) -> Self {
        Self {
            index: fragment.index,
            id: None,
            name: None,
            custom: fragment.custom,
            held: Vec::new(),
            shape: Shape::default(),
            block: None,
        }
    }

    fn take(&mut self, fragment: Fragment) {
        self.id = self.id.take().or(fragment.id);
        self.name = self.name.take().or(fragment.name);
        self.custom |= fragment.custom;
        // Ahead of the input that it came with: who tells a call's start may want to tell its signature with it.
        if let Some(signature) = fragment.signature {
            self.held.push(Delta::Signature(signature.into()));
        }
        if let Some(input) = fragment.input.filter(|s| !s.is_empty()) {
            self.shape.feed(&input);
            self.held.push(Delta::ToolInput(input));
        }
    }

    fn tell(&mut self, number: usize, sink: &mut Sink<'_>) {
        let block = *self.block.get_or_insert_with(|| {
            sink.start(BlockStart::ToolCall {
                id: self.id.clone().unwrap_or_else(|| sink.made_id(number)),
                name: self.name.clone().unwrap_or_default(),
                kind: if self.custom {
                    ToolKind::Custom
                } else {
                    ToolKind::Function
                },
            })
        });
        for delta in self.held.drain(..) {
            sink.delta(block, delta);
        }
    }

    fn close(&self, sink: &mut Sink<'_>) {
        if let Some(block) = self.block {
            sink.stop(block);
        }
    }
}

/// Whether a JSON object that comes in pieces has ended; looks at brackets and quotes only.
#[derive(Debug, Default)]
struct Shape {
    began: bool,
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Shape {
    fn feed(&mut self, piece: &str) {
        for byte in piece.bytes() {
            self.byte(byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => {
                self.began = true;
                self.depth = self.depth.saturating_add(1);
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn is_whole(&self) -> bool {
        self.began && self.depth == 0 && !self.in_string
    }
}
