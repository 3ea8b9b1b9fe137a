//! What a client asks a model to do.

use crate::protocol::provider::{self, CacheDeed, Operation};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Task {
    /// An answer, streamed or whole.
    #[default]
    Generate,
    /// How many tokens a request would be.
    CountTokens,
    Embed,
    /// Several inputs in Google's own form; in OpenAI's, one form serves both.
    EmbedMany,
    /// What a sound says.
    Transcribe,
    /// The same, into English.
    Translate,
    /// Something about a job that makes video.
    Video(Deed),
    /// Something with an answer that was made before.
    Kept(provider::Deed),
    /// Something with a prefix that is kept under a name.
    Cached(CacheDeed),
    /// Which of those there are.
    CacheList,
}

/// What is wanted of such a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Start,
    /// How it stands.
    Poll,
    /// The bytes that came of it.
    Content,
    Delete,
}

impl Task {
    pub fn operation(self) -> Operation {
        match self {
            Self::Generate => Operation::Generate,
            Self::CountTokens => Operation::CountTokens,
            Self::Embed => Operation::Embed,
            Self::EmbedMany => Operation::EmbedMany,
            Self::Transcribe => Operation::Transcribe,
            Self::Translate => Operation::Translate,
            Self::Video(Deed::Start) => Operation::VideoStart,
            Self::Video(Deed::Poll) => Operation::VideoPoll,
            Self::Video(Deed::Content) => Operation::VideoContent,
            Self::Video(Deed::Delete) => Operation::VideoDelete,
            Self::Kept(deed) => Operation::Kept(deed),
            Self::Cached(deed) => Operation::Cached(deed),
            // No provider is asked for a list.
            Self::CacheList => Operation::Cached(CacheDeed::Get),
        }
    }

    /// True where the answer is numbers about a text and no text.
    pub fn is_embedding(self) -> bool {
        matches!(self, Self::Embed | Self::EmbedMany)
    }
}
