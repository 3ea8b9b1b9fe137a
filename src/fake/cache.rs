//! The prompt caches of the two dialects: entries at breakpoints (Messages) and at every 128 tokens (Chat).
//!
//! An entry is written when the answer that pays for it begins, since only then can others read it (Anthropic docs, read
//! 2026-08, prompt caching); until then its `Writes` lie with the reply. Knows no prices. Bounded: at `entries_max` the expired leave, and when that
//! does not help, new entries are not kept, which costs the caller money and nothing else.

use super::prompt::{Piece, Prompt, STEP_TOKENS, Ttl};
use crate::base::{FixedHasher, Instant};
use std::collections::HashMap;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What the caches promise. Defaults are the documented ones.
#[derive(Clone, Debug)]
pub struct CacheModel {
    /// Shorter prefixes are never cached, in tokens.
    pub min_tokens: u64,
    /// Models (by the beginning of their name) with another minimum; the first that fits counts.
    pub min_tokens_of: Vec<(String, u64)>,
    /// Life of a breakpoint entry marked `5m`, from the start of the request that last used it.
    pub short: Duration,
    /// Life of one marked `1h`.
    pub long: Duration,
    /// Idle life of an automatic entry of Chat Completions.
    pub automatic: Duration,
    /// Entries kept over all scopes.
    pub entries_max: usize,
}

impl Default for CacheModel {
    fn default() -> Self {
        Self {
            min_tokens: 1_024,
            min_tokens_of: Vec::new(),
            short: Duration::from_secs(5 * 60),
            long: Duration::from_secs(60 * 60),
            automatic: Duration::from_secs(10 * 60),
            // 24 bytes an entry: 24 MB at most.
            entries_max: 1 << 20,
        }
    }
}

/// How the input of one request divides, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    pub uncached: u64,
    pub read: u64,
    pub written_5m: u64,
    pub written_1h: u64,
}

/// Entries that come to be when the answer begins.
pub(super) type Writes = Vec<(u64, Instant, Duration)>;

#[derive(Debug)]
struct Entry {
    expires: Instant,
    life: Duration,
}

#[derive(Debug)]
pub(super) struct Cache {
    model: CacheModel,
    entries: HashMap<u64, Entry, FixedHasher>,
}

/// Positions that a breakpoint looks back over, its own included (Anthropic docs, read 2026-08).
const LOOK_BACK: usize = 20;

impl Cache {
    pub(super) fn new(model: CacheModel) -> Self {
        Self {
            model,
            entries: HashMap::default(),
        }
    }

    pub(super) fn min_tokens(&self, model: &str) -> u64 {
        let special = self.model.min_tokens_of.iter();
        special
            .filter(|(name, _)| model.starts_with(name.as_str()))
            .map(|(_, min)| *min)
            .next()
            .unwrap_or(self.model.min_tokens)
    }

    fn refresh(&mut self, key: u64, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.expires = entry.expires.max(now + entry.life);
        }
    }

    fn alive(&self, key: u64, now: Instant) -> bool {
        self.entries.get(&key).is_some_and(|e| now < e.expires)
    }

    /// Reads at `now`, by breakpoints. `scope` is workspace and all else that tells caches apart.
    pub(super) fn by_breakpoints(
        &mut self,
        now: Instant,
        scope: u64,
        model: &str,
        prompt: &Prompt,
    ) -> (Split, Writes) {
        let min = self.min_tokens(model);
        let key = |p: &Piece| xxh3_64_with_seed(&p.hash.to_le_bytes(), scope);
        let pieces = &prompt.pieces;
        let marked: Vec<usize> = (0..pieces.len())
            .filter(|&at| pieces[at].mark.is_some() && pieces[at].tokens >= min)
            .collect();
        let hit = marked.iter().rev().find_map(|&mark| {
            let oldest = (mark + 1).saturating_sub(LOOK_BACK);
            (oldest..=mark)
                .rev()
                .find(|&at| self.alive(key(&pieces[at]), now))
        });
        if let Some(hit) = hit {
            self.refresh(key(&pieces[hit]), now);
        }
        let mut split = Split {
            read: hit.map_or(0, |at| pieces[at].tokens),
            ..Split::default()
        };
        let mut writes = Writes::new();
        let mut reached = split.read;
        for &at in &marked {
            let (name, life) = (key(&pieces[at]), self.life(pieces[at].mark));
            if self.alive(name, now) {
                self.refresh(name, now);
                continue;
            }
            writes.push((name, now, life));
            let more = pieces[at].tokens.saturating_sub(reached);
            match pieces[at].mark {
                Some(Ttl::OneHour) => split.written_1h += more,
                _ => split.written_5m += more,
            }
            reached = reached.max(pieces[at].tokens);
        }
        split.uncached = prompt.tokens() - reached;
        (split, writes)
    }

    fn life(&self, mark: Option<Ttl>) -> Duration {
        match mark {
            Some(Ttl::OneHour) => self.model.long,
            Some(Ttl::FiveMinutes) | None => self.model.short,
        }
    }

    /// Reads at `now`, automatically, in steps of 128 tokens.
    pub(super) fn by_prefix(
        &mut self,
        now: Instant,
        scope: u64,
        model: &str,
        prompt: &Prompt,
    ) -> (Split, Writes) {
        let tokens = prompt.tokens();
        let min = self.min_tokens(model);
        if tokens < min {
            let uncached = tokens;
            return (
                Split {
                    uncached,
                    ..Split::default()
                },
                Writes::new(),
            );
        }
        let steps = prompt.steps(scope);
        let held = steps.iter().take_while(|&&s| self.alive(s, now)).count();
        for &step in &steps[..held] {
            self.refresh(step, now);
        }
        let read = held as u64 * STEP_TOKENS;
        let read = if read < min { 0 } else { read };
        let life = self.model.automatic;
        let writes = steps[held..].iter().map(|&s| (s, now, life)).collect();
        let split = Split {
            uncached: tokens - read,
            read,
            ..Split::default()
        };
        (split, writes)
    }

    /// The answer has begun: what it wrote can be read. Life counts from the start of its request.
    pub(super) fn commit(&mut self, writes: &mut Writes, now: Instant) {
        for (key, started, life) in writes.drain(..) {
            if self.entries.len() >= self.model.entries_max {
                self.entries.retain(|_, entry| now < entry.expires);
            }
            let expires = started + life;
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.expires = entry.expires.max(expires);
                entry.life = life;
            } else if self.entries.len() < self.model.entries_max {
                self.entries.insert(key, Entry { expires, life });
            }
        }
    }
}
