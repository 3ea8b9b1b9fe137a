//! The parts of a prompt in the order in which a provider reads them: what fingerprints are made of.
//!
//! Says where one part ends and of what kind it is. Its bytes are as they go to the provider; who hashes them looks for nothing in them.

use super::CacheMark;

/// One part of a prompt that goes to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    pub kind: ElementKind,
    /// JSON without space outside of strings and without cache marks. Of a text that says nothing else, its string alone, so that it is the
    /// same whether a dialect's short form says it or the long one.
    pub bytes: &'a [u8],
    /// Bytes of text that would be as many tokens: its length, less what pictures and the like are written with, and what they weigh.
    pub weight: u32,
    /// The client, or we for it, asked for a cache entry that ends here.
    pub mark: Option<CacheMark>,
}

/// Whether a cache mark can stand behind an element in which a prefix can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub kind: ElementKind,
    /// The mark that stands there already.
    pub mark: Option<CacheMark>,
    /// The dialect lets one stand there.
    pub bears: bool,
    /// The model said it.
    pub is_models: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ElementKind {
    /// A parameter that changes how the rest is read, and who speaks instructions. No entry ends here.
    Param,
    /// Who speaks what follows. No entry ends here either.
    Turn,
    Tool,
    /// The form an answer shall have.
    Schema,
    System,
    Text,
    /// Pictures, sounds, documents in base64 or by name.
    Media,
    ToolCall,
    ToolResult,
    Thinking,
    Other,
}

impl ElementKind {
    /// For hashing and for what is stored: never another number for the same kind.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Param => 1,
            Self::Turn => 2,
            Self::Tool => 3,
            Self::Schema => 4,
            Self::System => 5,
            Self::Text => 6,
            Self::Media => 7,
            Self::ToolCall => 8,
            Self::ToolResult => 9,
            Self::Thinking => 10,
            Self::Other => 11,
        }
    }

    /// Whether a prefix can end behind it.
    #[must_use]
    pub fn ends_prefix(self) -> bool {
        !matches!(self, Self::Param | Self::Turn)
    }
}
