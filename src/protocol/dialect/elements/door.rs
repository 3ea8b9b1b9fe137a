//! Which elements may bear a cache mark, and where in the body it would be written.
//!
//! Only says where: what a mark looks like is `splice::marks`, whether there should be one is policy's. What is not known to bear one does not:
//! a refused request costs more than a mark that is missing.

use super::block::Look;
use super::{Elements, Stage};
use crate::canon::DialectName;
use std::ops::Range;

/// Where a mark is written. Places are in the body that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Behind the last member of an object, as one more.
    Within { member: u32 },
    /// A text that stands for a list of one block: from its opening quote to behind its closing one. A marked one must be a list.
    Alone { from: u32, to: u32 },
    /// Behind an item of a list, as an item of its own.
    Behind { item: u32 },
}

/// What a block's members say of whether it may bear a mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bears {
    /// By its `type`: a text, or a block that bears one as it is.
    kind: Option<Kind>,
    /// By a member's name, as Converse tells blocks apart.
    named: bool,
    /// A tool whose definition is not sent at first, and which bears none (Anthropic docs, tool search, read 2026-08).
    is_deferred: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Bearing,
    Other,
}

impl Bears {
    /// Anthropic docs, prompt caching, read 2026-08 (`providers/anthropic.md` 7.1): text, images, documents, search results, calls of tools and
    /// results, those of the provider's own tools included. Not thinking, nor what is not named there.
    pub(super) fn says_type(&mut self, said: &[u8]) {
        let inner = said.strip_prefix(b"\"").and_then(|s| s.strip_suffix(b"\""));
        self.kind = Some(match inner.unwrap_or_default() {
            b"text" | b"input_text" => Kind::Text,
            b"image" | b"document" | b"search_result" | b"tool_use" | b"tool_result" => {
                Kind::Bearing
            }
            other if other.ends_with(b"_tool_result") => Kind::Bearing,
            _ => Kind::Other,
        });
    }

    pub(super) fn says(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"image" | b"document" | b"toolUse" | b"toolResult" => self.named = true,
            b"defer_loading" => self.is_deferred |= value == b"true",
            _ => {}
        }
    }
}

impl Elements {
    /// Of a text at `at` that is a string.
    pub(super) fn door_of_string(
        &self,
        bytes: &[u8],
        stage: Stage,
        at: &Range<usize>,
    ) -> Option<Door> {
        use DialectName::{Chat, Messages, Responses};
        let takes_list = match (self.dialect?, stage) {
            (Messages, Stage::System | Stage::Turns) => true,
            // OpenAI API reference, responses, read 2026-08: `instructions` is a text and nothing else.
            (Chat | Responses, Stage::Turns) => true,
            _ => false,
        };
        (self.alone && takes_list && says_something(&bytes[at.clone()])).then_some(Door::Alone {
            from: u32::try_from(at.start).ok()?,
            to: u32::try_from(at.end).ok()?,
        })
    }

    /// Of an object at `at`.
    pub(super) fn door_of_object(
        &self,
        bytes: &[u8],
        stage: Stage,
        look: &Look,
        at: &Range<usize>,
    ) -> Option<Door> {
        use DialectName::{Chat, Converse, Messages, Responses};
        let bears = look.bears;
        let text = look.text.as_ref();
        let says = text.is_some_and(|text| says_something(&bytes[text.clone()]));
        let is_text = says && bears.kind == Some(Kind::Text);
        let can = match (self.dialect?, stage) {
            (Messages, Stage::Tools) => !bears.is_deferred,
            (Messages, Stage::System) => is_text,
            (Messages, Stage::Turns) => is_text || bears.kind == Some(Kind::Bearing),
            // `providers/openai.md` 3 and `providers/openrouter.md` 1: parts of messages, of which we mark texts alone.
            (Chat | Responses, Stage::Turns) => is_text,
            // `providers/bedrock.md` 7: behind tools, instructions and what is said.
            (Converse, Stage::Tools) => true,
            (Converse, Stage::System) => says,
            (Converse, Stage::Turns) => says || bears.named,
            _ => false,
        };
        if !can || self.alone {
            return None;
        }
        let place = |at: usize| u32::try_from(at).ok();
        Some(match self.dialect? {
            Converse => Door::Behind {
                item: place(at.end)?,
            },
            _ => Door::Within {
                member: place(look.last?)?,
            },
        })
    }
}

/// Whether a JSON string, quotes included, has anything but space. An empty text bears no mark, and one of nothing but space is refused anyway.
fn says_something(string: &[u8]) -> bool {
    let mut inner = string
        .get(1..string.len().saturating_sub(1))
        .unwrap_or_default();
    loop {
        inner = match inner {
            [b' ', rest @ ..] | [b'\\', b'n' | b't' | b'r', rest @ ..] => rest,
            rest => return !rest.is_empty(),
        };
    }
}
