//! What a provider promises of its prompt cache, as values: how entries come to be, how they are found, how long they live.
//!
//! Holds no provider's name: the catalogue gives the figures. All are beliefs; `belief` says how far they hold.

use crate::base::Tokens;
use crate::canon::CacheTtl;
use crate::canon::ElementKind;
use crate::policy::fingerprint::{At, Blocks, Boundary};
use std::time::Duration;

/// The rules of one model's cache at one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub matching: Matching,
    /// Nothing shorter is cached (FIELD-BUGS 4: per model, 512 to 4,096).
    pub min_tokens: Tokens,
    /// Life of an entry whose mark asks for none of its own. From the start of the request that wrote it.
    pub ttl: Duration,
    /// A read begins the life again, from the start of its request.
    pub refreshes: bool,
    /// An entry of a long life outlives the shorter-lived ones it was written on top of, with all that lies before it. Not documented: ROUTING 1.6,
    /// probe A.
    pub long_protects: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// Entries end at marks alone. A read begins at a mark and looks back over so many positions, its own included: 20 (Anthropic), 80 (OpenAI
    /// from 5.6 on), 50 (Azure).
    Breakpoints {
        look_back: u16,
        /// The end of a prompt is as good as marked.
        implicit: bool,
    },
    /// Whatever begins alike is shared, in whole blocks.
    Blocks(Blocks),
    /// The whole prompt, or nothing.
    Whole,
}

impl Rules {
    /// How long an entry at a mark lives that asks for `asked`. FIELD-BUGS 5: it follows the request.
    #[must_use]
    pub fn life(&self, asked: Option<CacheTtl>) -> Duration {
        let minutes = match asked {
            None => return self.ttl,
            Some(CacheTtl::Minutes5) => 5,
            Some(CacheTtl::Minutes30) => 30,
            Some(CacheTtl::Hours1) => 60,
            Some(CacheTtl::Hours12) => 12 * 60,
            Some(CacheTtl::Hours24) => 24 * 60,
        };
        Duration::from_secs(minutes * 60)
    }

    /// What of a prefix of `tokens` is cached: whole blocks, and nothing below the minimum.
    #[must_use]
    pub fn cached(&self, tokens: Tokens) -> Tokens {
        let (size, after) = match self.matching {
            Matching::Blocks(blocks) => (blocks.size.0.max(1), blocks.after),
            Matching::Breakpoints { .. } | Matching::Whole => (1, Tokens::ZERO),
        };
        let whole = Tokens(tokens.0 / size * size);
        if whole < self.min_tokens.max(after) {
            return Tokens::ZERO;
        }
        whole
    }
}

/// Where in a prompt the provider writes entries, or we keep one for what it writes everywhere.
pub(super) fn writes(rules: &Rules, bounds: &[Boundary], visit: &mut impl FnMut(&Boundary, bool)) {
    let Some(last) = bounds.len().checked_sub(1) else {
        return;
    };
    match rules.matching {
        Matching::Breakpoints { implicit, .. } => {
            for (at, bound) in bounds.iter().enumerate() {
                if bound.mark.is_some() || (implicit && at == last) {
                    visit(bound, is_head(bounds, at));
                }
            }
        }
        Matching::Blocks(blocks) => {
            for (at, bound) in bounds.iter().enumerate() {
                let head = is_head(bounds, at);
                // Older turns have their entries from when they were the last.
                if head
                    || is_coarse(bound, blocks)
                    || at == last
                    || (bound.ends_turn && at + TURNS_NEAR > last)
                {
                    visit(bound, head);
                }
            }
        }
        Matching::Whole => visit(&bounds[last], false),
    }
}

/// The end of the tools or of the instructions, which many conversations share.
fn is_head(bounds: &[Boundary], at: usize) -> bool {
    let heads = |bound: &Boundary| match bound.at {
        At::Element(kind @ (ElementKind::Tool | ElementKind::System)) => Some(kind),
        At::Element(_) | At::Block => None,
    };
    heads(&bounds[at]).is_some() && bounds.get(at + 1).and_then(heads) != heads(&bounds[at])
}

/// Of a provider's blocks, four in each doubling of the prompt: a table of all would be hundreds of entries a conversation.
pub(super) fn is_coarse(bound: &Boundary, blocks: Blocks) -> bool {
    let number = bound.tokens().0 / blocks.size.0.max(1);
    bound.at == At::Block && number > 0 && {
        let step = 1_u64 << (number.ilog2().saturating_sub(2));
        number.is_multiple_of(step)
    }
}

/// Ends of turns near the end of a prompt that are kept, in boundaries: the last turn and the one before.
const TURNS_NEAR: usize = 8;
