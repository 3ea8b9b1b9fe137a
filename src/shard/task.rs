//! What a client asks a model to do.

use crate::protocol::provider::{Deed, Operation};
use crate::shard::video;

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
    /// Something with an answer that was made before.
    Kept(Deed),
    /// Something about a job that makes video.
    Video(video::Deed),
}

impl Task {
    pub fn operation(self) -> Operation {
        match self {
            Self::Generate => Operation::Generate,
            Self::CountTokens => Operation::CountTokens,
            Self::Embed => Operation::Embed,
            Self::EmbedMany => Operation::EmbedMany,
            Self::Kept(deed) => Operation::Kept(deed),
            Self::Video(video::Deed::Start) => Operation::VideoStart,
            Self::Video(video::Deed::Poll) => Operation::VideoPoll,
            Self::Video(video::Deed::Content) => Operation::VideoContent,
            Self::Video(video::Deed::Delete) => Operation::VideoDelete,
        }
    }

    /// True where the answer is numbers about a text and no text.
    pub fn is_embedding(self) -> bool {
        matches!(self, Self::Embed | Self::EmbedMany)
    }
}
