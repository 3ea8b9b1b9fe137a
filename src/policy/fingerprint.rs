//! A prompt → its chain of prefix fingerprints.
//!
//! A `Chain` is fed the elements of a prompt in the order in which its provider reads them, and gives a boundary behind each, and, where the
//! provider caches fixed blocks, one at each block. The fingerprint of a boundary names all that was fed up to it. It deliberately does not know
//! JSON: what an element is, and which of its bytes count, is said by who feeds it (`protocol::dialect::elements`).
//!
//! **The hash.** A step is `state ← HighwayHash-128(key: state ‖ salt, piece ‖ kind)`: the cascade of a keyed function, in which every step is
//! keyed with what came before. Both halves of the key are secret: the salt is the tenant's, drawn from the instance's secret, and the state is
//! the output of a step before, of which nothing but equality is ever seen from outside (as a cache hit or a miss, and that through the noise
//! of routing). Considered:
//!
//! - xxh3 with a secret: 13 to 23 GB/s against HighwayHash's 6 to 11 (512 B to 600 KB, AVX2), so that 600 KB would cost 30 µs less. But it is no
//!   keyed pseudo-random function: its long-input rounds are linear but for one 32-bit product, and collisions of its lanes need no secret. A
//!   tenant that collides its own prompts mis-routes its own requests, within its own salt, and gains nothing: forging hurts nobody else. What
//!   can hurt is chance and malice from *inside* a tenant: a public product behind one client key, whose users write the prompts. Since such a
//!   user could bend the routing (and so the cost) of other users of that tenant, the keyed function is worth its 30 µs.
//! - SipHash-1-3-128: 4 GB/s. BLAKE3 keyed: 1.2 GB/s up to 1 KB, and C or assembly for the rest. HighwayHash was made for this: keyed, SIMD, no
//!   practical attack known; not a standard for signatures, which these are not.
//!
//! **A false match only mis-routes.** No answer is ever taken from here. 128 bits: 10⁸ entries and 64 probes a lookup match falsely once in 10²⁸.
//!
//! **Scope.** A cache belongs to a scope (provider, workspace or organisation, model snapshot). Hashing 600 KB again for each candidate would
//! cost as much as all the rest, so the scope does not begin the chain: it is xored into a fingerprint when that is looked up (`Fingerprint::
//! within`). Scope keys are 128 secret bits each, so two prompts in two scopes meet as seldom as two prompts in one.
//!
//! **Restart.** The instance's secret is an argument: with the same secret, the same prompt has the same fingerprints in every process.

use crate::base::Tokens;
use crate::canon::{CacheMark, Element, ElementKind};
use highway::{HighwayHash, HighwayHasher, Key};

/// Names a prefix: all that was read up to a boundary, by which tenant, under which parameters. Equal where those are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint {
    /// Spread evenly: tables may take it as it is.
    pub chain: u64,
    pub tag: u64,
}

/// What an instance keeps secret so that nobody outside can make two prompts look alike. Survives restarts: whoever owns it stores it.
#[derive(Clone)]
pub struct InstanceSecret([u64; 4]);

/// A tenant's part of every fingerprint: equal prompts of two tenants have nothing in common.
#[derive(Clone, Copy)]
pub struct Salt([u64; 2]);

/// Where cache entries are shared: provider, cache scope, model snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeKey {
    chain: u64,
    tag: u64,
}

/// How a provider cuts what it caches by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Tokens a block: 128 (OpenAI), 16 (vLLM), 64 (DeepSeek), 512 (Mooncake). Never 0: that is no `Blocks`.
    pub size: Tokens,
    /// Nothing shorter is cached; the first boundary stands here.
    pub after: Tokens,
}

/// Where a prefix of a prompt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    pub fingerprint: Fingerprint,
    /// What the elements before it weigh, in bytes of text.
    pub bytes: u32,
    /// As providers count how far a mark looks back: a run of tool calls, or of tool results, is one.
    pub position: u16,
    pub at: At,
    /// A turn ends here.
    pub ends_turn: bool,
    pub mark: Option<CacheMark>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Behind an element.
    Element(ElementKind),
    /// Behind a block of the provider's, wherever that falls.
    Block,
}

/// The fingerprints of one prompt. Kept and begun again, it allocates nothing.
#[derive(Default)]
pub struct Chain {
    state: [u64; 2],
    salt: [u64; 2],
    blocks: Option<Blocks>,
    bytes: u64,
    next_block: u64,
    position: u16,
    last: Option<ElementKind>,
    opener: Opener,
    bounds: Vec<Boundary>,
}

/// What tells conversations apart from their first request on: the last instruction and the first turn.
#[derive(Default)]
struct Opener {
    state: Fingerprint,
    turns: u8,
}

/// Bytes a token, where nothing better is known. An estimate: 3 to 5 for English and code.
pub const BYTES_PER_TOKEN: u64 = 4;

/// Beyond this many blocks, the distance between boundaries grows with what lies before: every boundary is one of the provider's, and none is
/// further from the next than a 64th of the prompt. So blocks of 16 tokens cost 600 KB some 500 boundaries and not 9,400.
const BLOCKS_EACH: u64 = 64;

impl InstanceSecret {
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut key = [0; 4];
        for (word, bytes) in key.iter_mut().zip(secret.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        }
        Self(key)
    }

    /// `tenant` by a name that stays the same over restarts.
    #[must_use]
    pub fn salt(&self, tenant: &str) -> Salt {
        Salt(self.names(b't', &[tenant]))
    }

    /// The scope of a cache, by names that stay the same over restarts: kind of provider, its account or workspace, model snapshot.
    #[must_use]
    pub fn scope(&self, provider: &str, cache: &str, snapshot: &str) -> ScopeKey {
        let [chain, tag] = self.names(b's', &[provider, cache, snapshot]);
        ScopeKey { chain, tag }
    }

    /// 128 bits that say nothing of the parts they are made from, nor of any fingerprint: what may be shown outside. Equal for equal parts.
    #[must_use]
    pub fn hint(&self, parts: &[&[u8]]) -> [u64; 2] {
        let mut hasher = HighwayHasher::new(Key(self.0));
        hasher.append(b"h");
        for part in parts {
            hasher.append(&(part.len() as u64).to_le_bytes());
            hasher.append(part);
        }
        hasher.finalize128()
    }

    /// Each name with its length, so that no two lists of names are one.
    fn names(&self, purpose: u8, names: &[&str]) -> [u64; 2] {
        let mut hasher = HighwayHasher::new(Key(self.0));
        hasher.append(&[purpose]);
        for name in names {
            hasher.append(&(name.len() as u64).to_le_bytes());
            hasher.append(name.as_bytes());
        }
        hasher.finalize128()
    }
}

impl std::fmt::Debug for InstanceSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InstanceSecret(..)")
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(..)")
    }
}

impl Fingerprint {
    /// Of the same prefix in one scope.
    #[must_use]
    pub fn within(self, scope: ScopeKey) -> Self {
        Self {
            chain: self.chain ^ scope.chain,
            tag: self.tag ^ scope.tag,
        }
    }

    /// Which of `count` shards (or instances) owns what begins with this opener. Spreads by the tag, since tables use the other half.
    #[must_use]
    pub fn owner(self, count: u16) -> u16 {
        // The high half of a product spreads evenly without a division.
        ((u128::from(self.tag) * u128::from(count)) >> 64) as u16
    }
}

impl Boundary {
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        Tokens(u64::from(self.bytes) / BYTES_PER_TOKEN)
    }
}

impl Blocks {
    /// Where the next boundary stands behind one at `tokens`: a multiple of the size.
    fn next(self, tokens: u64) -> u64 {
        let size = self.size.0.max(1);
        if tokens < self.after.0 {
            return self.after.0.next_multiple_of(size);
        }
        let blocks = tokens / size;
        // A power of two, so that a wider step never passes over where the steps before it would meet.
        let step = 1_u64 << (blocks / BLOCKS_EACH).max(1).ilog2();
        (blocks / step + 1) * step * size
    }

    fn next_byte(self, bytes: u64) -> u64 {
        self.next(bytes / BYTES_PER_TOKEN)
            .saturating_mul(BYTES_PER_TOKEN)
    }
}

impl Chain {
    /// A chain that is not begun. `begin` it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all and begins another prompt of the tenant. Parameters of the provider's key are fed as elements.
    pub fn begin(&mut self, salt: &Salt, blocks: Option<Blocks>) {
        self.bounds.clear();
        let seed = blocks.map_or([0; 2], |b| [b.size.0, b.after.0]);
        *self = Self {
            salt: salt.0,
            state: seed,
            next_block: blocks.map_or(u64::MAX, |b| b.next_byte(0)),
            blocks,
            bounds: std::mem::take(&mut self.bounds),
            ..Self::default()
        };
        self.step(b"", SEED);
    }

    /// The next element. Costs a hash of its bytes and about 40 ns; twice that for the opener's, which are two.
    pub fn feed(&mut self, element: &Element<'_>) {
        self.open(element);
        let ends = element.kind.ends_prefix();
        if element.kind == ElementKind::Turn
            && let Some(last) = self.last_element()
        {
            last.ends_turn = true;
        }
        if ends && element.weight as usize == element.bytes.len() {
            self.in_pieces(element);
        } else {
            self.step(element.bytes, element.kind.code());
        }
        if ends {
            self.bytes += u64::from(element.weight);
            self.pass_blocks();
            self.bound_element(element);
        }
    }

    /// The end of the prompt.
    pub fn end(&mut self) {
        if let Some(last) = self.last_element() {
            last.ends_turn = true;
        }
    }

    /// In the order of their places; none twice for the same prefix.
    #[must_use]
    pub fn boundaries(&self) -> &[Boundary] {
        &self.bounds
    }

    /// Names the conversation by its beginning, which stays while it goes on: the last instruction and the first turn. Not the first instruction:
    /// clients put there what all conversations share, or what changes with every request.
    #[must_use]
    pub fn opener(&self) -> Fingerprint {
        self.opener.state
    }

    /// Estimated tokens of the whole prompt.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        Tokens(self.bytes / BYTES_PER_TOKEN)
    }

    /// Cuts an element where blocks end within it. Where it ends exactly with a block, its own boundary is that one.
    fn in_pieces(&mut self, element: &Element<'_>) {
        let (begins, mut cut) = (self.bytes, 0);
        while let Some(ahead) = self.next_block.checked_sub(begins)
            && (ahead as usize) < element.bytes.len()
        {
            self.step(&element.bytes[cut..ahead as usize], CUT);
            (self.bytes, cut) = (self.next_block, ahead as usize);
            self.bound(At::Block, None);
            self.advance_block();
        }
        self.bytes = begins;
        self.step(&element.bytes[cut..], element.kind.code());
    }

    /// Blocks that ended within what cannot be cut, or with it.
    fn pass_blocks(&mut self) {
        while self.next_block <= self.bytes {
            self.advance_block();
        }
    }

    fn advance_block(&mut self) {
        self.next_block = self
            .blocks
            .map_or(u64::MAX, |b| b.next_byte(self.next_block));
    }

    fn bound_element(&mut self, element: &Element<'_>) {
        let kind = element.kind;
        let runs_on = matches!(kind, ElementKind::ToolCall | ElementKind::ToolResult)
            && self.last == Some(kind);
        if !runs_on {
            self.position = self.position.saturating_add(1);
        }
        self.last = Some(kind);
        self.bound(At::Element(kind), element.mark);
    }

    fn bound(&mut self, at: At, mark: Option<CacheMark>) {
        self.bounds.push(Boundary {
            fingerprint: Fingerprint {
                chain: self.state[0],
                tag: self.state[1],
            },
            bytes: u32::try_from(self.bytes).unwrap_or(u32::MAX),
            position: self.position,
            at,
            ends_turn: false,
            mark,
        });
    }

    fn last_element(&mut self) -> Option<&mut Boundary> {
        self.bounds.last_mut()
    }

    fn step(&mut self, piece: &[u8], kind: u8) {
        self.state = keyed(self.state, self.salt, piece, kind);
    }

    fn open(&mut self, element: &Element<'_>) {
        let opener = &mut self.opener;
        let before = match element.kind {
            ElementKind::Turn => {
                opener.turns = opener.turns.saturating_add(1);
                return;
            }
            // Only the last counts, so each replaces the one before.
            ElementKind::System if opener.turns == 0 => [0; 2],
            ElementKind::Param | ElementKind::Tool | ElementKind::Schema | ElementKind::System => {
                return;
            }
            _ if opener.turns > 1 => return,
            _ => [opener.state.chain, opener.state.tag],
        };
        let [chain, tag] = keyed(before, self.salt, element.bytes, OPENER);
        opener.state = Fingerprint { chain, tag };
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bounds = &self.bounds;
        f.debug_struct("Chain").field("bounds", bounds).finish()
    }
}

/// What a step is about comes last and is one byte, so that no two steps hash the same bytes for different reasons. Kinds of elements are
/// small numbers.
fn keyed(state: [u64; 2], salt: [u64; 2], piece: &[u8], kind: u8) -> [u64; 2] {
    let mut hasher = HighwayHasher::new(Key([state[0], state[1], salt[0], salt[1]]));
    hasher.append(piece);
    hasher.append(&[kind]);
    hasher.finalize128()
}

const SEED: u8 = 0x80;
const CUT: u8 = 0x81;
const OPENER: u8 = 0x82;

#[cfg(test)]
#[path = "fingerprint_tests.rs"]
mod tests;
