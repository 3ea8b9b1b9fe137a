//! A prompt as the caches and limits see it: rendered bytes, counted and hashed at every block and every 128 tokens.
//!
//! The fake's tokenizer: one token for every 4 rendered bytes begun. An image, document or sound costs a fixed number of
//! tokens, rendered as its hash repeated, so that a different image is a different prompt.

use super::json::Tree;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Tokens of an image, document or sound of any size.
pub(super) const MEDIA_TOKENS: u64 = 256;
/// Rendered bytes of one token.
const TOKEN_BYTES: usize = 4;
/// Tokens between two places where a prefix cache may stop (OpenAI guide, read 2026-08: multiples of 128).
pub(super) const STEP_TOKENS: u64 = 128;

/// How long an entry of a breakpoint cache lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ttl {
    FiveMinutes,
    OneHour,
}

/// One block of a prompt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Names everything from the start through this block.
    pub hash: u64,
    /// Tokens from the start through this block.
    pub tokens: u64,
    pub mark: Option<Ttl>,
    /// May carry a breakpoint.
    pub cacheable: bool,
}

/// What was sent, rendered.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    rendered: Vec<u8>,
    chain: u64,
    hashed: usize,
    pub pieces: Vec<Piece>,
}

impl Prompt {
    pub(super) fn tokens(&self) -> u64 {
        self.rendered.len().div_ceil(TOKEN_BYTES) as u64
    }

    /// Makes all that follows differ by `what`, at no tokens.
    pub(super) fn vary(&mut self, what: &[u8]) {
        self.chain = xxh3_64_with_seed(what, self.chain);
    }

    pub(super) fn vary_by(&mut self, body: &Tree<'_>, keys: &[&str]) {
        let mut written = Vec::new();
        for key in keys {
            if let Some(value) = body.get(key) {
                written.extend_from_slice(key.as_bytes());
                value.write(&mut written, "");
            }
        }
        self.vary(&written);
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.rendered.extend_from_slice(bytes);
    }

    pub(super) fn push_tree(&mut self, tree: &Tree<'_>) {
        tree.write(&mut self.rendered, "cache_control");
    }

    pub(super) fn push_media(&mut self, data: &[u8]) {
        let name = xxh3_64(data).to_le_bytes();
        for _ in 0..(MEDIA_TOKENS as usize * TOKEN_BYTES / name.len()) {
            self.rendered.extend_from_slice(&name);
        }
    }

    /// Ends a block.
    pub(super) fn end_piece(&mut self, mark: Option<Ttl>, cacheable: bool) {
        self.chain = xxh3_64_with_seed(&self.rendered[self.hashed..], self.chain);
        self.hashed = self.rendered.len();
        self.pieces.push(Piece {
            hash: self.chain,
            tokens: self.tokens(),
            mark,
            cacheable,
        });
    }

    /// The hash of the first 128 tokens, of the first 256, and so on; `seed` is all else that a cache tells apart.
    pub(super) fn steps(&self, seed: u64) -> Vec<u64> {
        self.rendered
            .chunks_exact(STEP_TOKENS as usize * TOKEN_BYTES)
            .scan(seed ^ self.chain_of_variation(), |chain, chunk| {
                *chain = xxh3_64_with_seed(chunk, *chain);
                Some(*chain)
            })
            .collect()
    }

    /// For prompts that end no pieces, the chain holds the variations only.
    fn chain_of_variation(&self) -> u64 {
        if self.pieces.is_empty() {
            self.chain
        } else {
            0
        }
    }
}
