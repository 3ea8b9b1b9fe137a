//! What only its maker can read: signatures of thinking, encrypted reasoning, signatures of calls.
//!
//! Of its words nothing is kept but a digest, by which the same is known again whatever dialect brings it back.

/// Who makes seals that nobody else can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Maker {
    Anthropic,
    OpenAi,
    Xai,
    Google,
    /// Models of others than Anthropic on AWS.
    Amazon,
    OpenRouter,
}

/// One of them, where it stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Of its maker's own words, however they were wrapped on their way. Not keyed: whoever keeps it keys it.
    pub digest: u128,
    /// Of those words.
    pub bytes: u32,
    /// What the bytes, or the place where they stand, tell of who made it.
    pub maker: Option<Maker>,
    /// It stands for the conversation itself, which cannot do without it.
    pub needed: bool,
}
