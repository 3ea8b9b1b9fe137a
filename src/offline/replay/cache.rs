//! A provider's prompt cache, at the level of block ids.
//!
//! Entries live from the start of the request that wrote or read them, are renewed free of charge by each hit, and can be read only after
//! the first byte of the answer that wrote them (Anthropic, prompt caching, read 2026-08). A hit renews the entry it reads and no other.
//! Of what a provider does under memory pressure only chance losses are modelled, by the endpoint. Dead entries stay in the table
//! until they are written again: a replay ends before that matters.

use super::trace::{Prompt, Request};
use crate::base::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// How a provider finds what it has kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Semantics {
    /// Writes at marks; reads the longest entry at or before a mark, at most `look_back` content elements before it (Anthropic: 20).
    /// `None` looks back without end.
    Entries { look_back: Option<u32> },
    /// Writes and reads at marks only (GPT-5.6).
    Exact,
    /// Every block of what was asked, up to the last mark.
    Blocks,
    /// As `Blocks`, in `replicas` caches that know nothing of each other. The sticky handle picks one; above `spill_per_minute`
    /// requests a minute with the same handle the next one is taken (OpenAI, 2026-08: about 15).
    Affine {
        replicas: u32,
        spill_per_minute: u32,
    },
}

/// How long an entry lives: which of the provider's two lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    Short,
    Long,
}

/// A place in the prompt up to which the provider is asked to cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub blocks: u32,
    /// In content elements, for the look-back.
    pub position: u32,
    pub life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    pub short: Duration,
    pub long: Duration,
}

impl Lives {
    /// Anthropic's two lifetimes.
    pub const FIVE_MINUTES_OR_AN_HOUR: Self = Self {
        short: Duration::from_secs(300),
        long: Duration::from_secs(3600),
    };

    #[must_use]
    pub fn of(&self, life: Life) -> Duration {
        match life {
            Life::Short => self.short,
            Life::Long => self.long,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    pub semantics: Semantics,
    pub lives: Lives,
    /// Shorter prefixes are silently not cached.
    pub minimum_tokens: u32,
    /// Whether a long entry on top of a short one outlives it with all before it. Not documented: ROUTING 1.6, probe A.
    pub long_protects: bool,
}

impl Default for Rules {
    /// Anthropic's, with the assumptions of ROUTING 4.6: no look-back misses, minimum always met.
    fn default() -> Self {
        Self {
            semantics: Semantics::Entries { look_back: None },
            lives: Lives::FIVE_MINUTES_OR_AN_HOUR,
            minimum_tokens: 0,
            long_protects: true,
        }
    }
}

/// One request as the provider sees it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub request: &'a Request,
    pub block_tokens: u32,
    /// Shortest first. With `Exact` also marks of earlier turns that the prompt still has; the last four are written.
    pub marks: &'a [Mark],
    /// What the provider places by, where it has several caches.
    pub handle: u64,
}

impl Ask<'_> {
    #[must_use]
    pub fn tokens(&self, blocks: u32) -> u32 {
        self.request.tokens(blocks, self.block_tokens)
    }
}

/// What of a prompt the provider can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    pub blocks: u32,
    /// Least of the lifetimes the read prefix depends on; `None` without a hit.
    pub life: Option<Life>,
    entry: Option<u64>,
    replica: usize,
}

impl Hit {
    /// The same cache, with nothing read.
    #[must_use]
    pub fn missed(self) -> Self {
        Self {
            replica: self.replica,
            ..Self::default()
        }
    }
}

#[derive(Clone, Debug)]
pub struct Cache {
    rules: Rules,
    replicas: Vec<Replica>,
    /// Requests of the minute that began then, by handle.
    handles: BTreeMap<u64, (Instant, u32)>,
}

#[derive(Clone, Debug, Default)]
struct Replica {
    /// By the id of the last block.
    entries: BTreeMap<u64, Entry>,
    /// By the first id of a run; runs do not overlap.
    spans: BTreeMap<u64, Span>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    position: u32,
    life: Life,
    expires: Instant,
    warm_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    end: u64,
    life: Life,
    expires: Instant,
    warm_at: Instant,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Cache {
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let replicas = match rules.semantics {
            Semantics::Affine { replicas, .. } => replicas.max(1),
            _ => 1,
        };
        Self {
            rules,
            replicas: vec![Replica::default(); replicas as usize],
            handles: BTreeMap::new(),
        }
    }

    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// From now on entries live so long, those there are too once they are renewed: what providers did without a word.
    pub fn set_lives(&mut self, lives: Lives) {
        self.rules.lives = lives;
    }

    /// What can be read at `now`.
    #[must_use]
    pub fn look(&self, now: Instant, ask: &Ask<'_>) -> Hit {
        let number = self.replica(now, ask.handle);
        let replica = &self.replicas[number];
        let hit = match self.rules.semantics {
            Semantics::Entries { look_back } => ask
                .marks
                .iter()
                .map(|mark| replica.longest(now, &ask.request.prompt, mark, look_back))
                .max_by_key(|hit| hit.blocks),
            Semantics::Exact => ask
                .marks
                .iter()
                .map(|mark| replica.exactly(now, &ask.request.prompt, mark.blocks))
                .max_by_key(|hit| hit.blocks),
            Semantics::Blocks | Semantics::Affine { .. } => {
                Some(replica.covered(now, &ask.request.prompt))
            }
        };
        let hit = Hit {
            replica: number,
            ..hit.unwrap_or_default()
        };
        if ask.tokens(hit.blocks) < self.rules.minimum_tokens {
            return hit.missed();
        }
        hit
    }

    /// The provider took `ask`, which read `hit`; what it wrote can be read from `warm_at`.
    pub fn keep(&mut self, now: Instant, warm_at: Instant, ask: &Ask<'_>, hit: &Hit) {
        self.count(now, ask.handle);
        match self.rules.semantics {
            Semantics::Entries { .. } | Semantics::Exact => {
                self.keep_entries(now, warm_at, ask, hit)
            }
            Semantics::Blocks | Semantics::Affine { .. } => self.keep_spans(now, warm_at, ask, hit),
        }
    }

    /// Gives the entry of the whole prompt the long lifetime, as a request with a long mark behind the answer would.
    pub fn lengthen(&mut self, now: Instant, ask: &Ask<'_>) {
        if !self.rules.long_protects {
            return;
        }
        let until = now + self.rules.lives.long;
        let tail = ask.request.prompt.prefix(ask.request.prompt.blocks());
        let entries = &mut self.replicas[0].entries;
        if let Some(entry) = tail.and_then(|id| entries.get_mut(&id.0)) {
            entry.life = Life::Long;
            entry.expires = until;
        }
    }

    /// The provider lost what `hit` found.
    pub fn lose(&mut self, ask: &Ask<'_>, hit: &Hit) {
        let replica = &mut self.replicas[hit.replica];
        if let Some(id) = hit.entry {
            replica.entries.remove(&id);
        }
        for run in ask.request.prompt.runs() {
            replica.cut(run.ids().start, run.ids().end);
        }
    }

    /// The marks that would write, given what is read: beyond it and long enough.
    pub fn written<'a>(&self, ask: &Ask<'a>, hit: &Hit) -> impl Iterator<Item = Mark> + use<'a> {
        let (ask, read, minimum) = (*ask, hit.blocks, self.rules.minimum_tokens);
        let skip = ask.marks.len().saturating_sub(MARKS_MAX);
        let marks = ask.marks[skip..].iter().copied();
        marks.filter(move |m| m.blocks > read && ask.tokens(m.blocks) >= minimum)
    }

    fn keep_entries(&mut self, now: Instant, warm_at: Instant, ask: &Ask<'_>, hit: &Hit) {
        let rules = self.rules;
        let marks: Vec<Mark> = self.written(ask, hit).collect();
        let entries = &mut self.replicas[hit.replica].entries;
        if let Some(entry) = hit.entry.and_then(|id| entries.get_mut(&id)) {
            entry.expires = now + rules.lives.of(entry.life);
        }
        let mut least = hit.life.unwrap_or(Life::Long);
        for mark in marks {
            least = least.min(mark.life);
            let life = if rules.long_protects {
                mark.life
            } else {
                least
            };
            let Some(id) = ask.request.prompt.prefix(mark.blocks) else {
                continue;
            };
            let new = Entry {
                position: mark.position,
                life,
                expires: now + rules.lives.of(life),
                warm_at,
            };
            let entry = entries.entry(id.0).or_insert(new);
            *entry = if entry.expires > now {
                // Two wrote the same at once: the first to answer makes it readable.
                entry.over(&new)
            } else {
                new
            };
        }
    }

    fn keep_spans(&mut self, now: Instant, warm_at: Instant, ask: &Ask<'_>, hit: &Hit) {
        let lives = self.rules.lives;
        let last = self.written(ask, hit).last();
        let life = last.map_or(Life::Short, |mark| mark.life);
        let upto = last.map_or(hit.blocks, |mark| mark.blocks);
        let replica = &mut self.replicas[hit.replica];
        let (mut at, read) = (0, hit.blocks);
        for run in ask.request.prompt.extended(upto, []).runs() {
            let known = read.saturating_sub(at).min(run.blocks);
            let ids = run.ids();
            let middle = ids.start + u64::from(known);
            let renewed = Span {
                end: middle,
                life: hit.life.unwrap_or(life),
                expires: now + lives.of(hit.life.unwrap_or(life)),
                warm_at: now,
            };
            replica.put(ids.start, renewed);
            let new = Span {
                end: ids.end,
                life,
                expires: now + lives.of(life),
                // Two wrote the same at once: the first to answer makes it readable.
                warm_at: replica
                    .under_way(now, middle)
                    .unwrap_or(warm_at)
                    .min(warm_at),
            };
            replica.put(middle, new);
            at += run.blocks;
        }
    }

    /// Which cache a request with `handle` comes to.
    fn replica(&self, now: Instant, handle: u64) -> usize {
        let Semantics::Affine {
            replicas,
            spill_per_minute,
        } = self.rules.semantics
        else {
            return 0;
        };
        let busy = match self.handles.get(&handle) {
            Some((since, count)) if now.since(*since) < MINUTE => *count,
            _ => 0,
        };
        let spilt = busy.checked_div(spill_per_minute).unwrap_or(0);
        let home = handle % u64::from(replicas.max(1));
        ((home + u64::from(spilt)) % u64::from(replicas.max(1))) as usize
    }

    fn count(&mut self, now: Instant, handle: u64) {
        if !matches!(self.rules.semantics, Semantics::Affine { .. }) {
            return;
        }
        let (since, count) = self.handles.entry(handle).or_insert((now, 0));
        if now.since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count += 1;
    }
}

/// A fifth is refused (Anthropic, prompt caching, read 2026-08).
pub const MARKS_MAX: usize = 4;

impl Entry {
    fn over(&self, new: &Self) -> Self {
        Self {
            warm_at: self.warm_at.min(new.warm_at),
            expires: self.expires.max(new.expires),
            life: self.life.max(new.life),
            position: new.position,
        }
    }

    fn readable(&self, now: Instant) -> bool {
        self.warm_at <= now && now < self.expires
    }
}

impl Replica {
    /// The longest entry at or before `mark` that can be read.
    fn longest(&self, now: Instant, prompt: &Prompt, mark: &Mark, look_back: Option<u32>) -> Hit {
        let nearest = look_back.map_or(0, |n| mark.position.saturating_sub(n));
        let mut end = prompt.blocks();
        for run in prompt.runs().iter().rev() {
            let start = end - run.blocks;
            let within = mark.blocks.saturating_sub(start).min(run.blocks);
            let ids = run.first.0..run.first.0 + u64::from(within);
            let found = self.entries.range(ids).rev();
            let mut found = found.filter(|(_, e)| e.readable(now) && e.position >= nearest);
            if let Some((id, entry)) = found.next() {
                return Hit {
                    blocks: start + (id - run.first.0) as u32 + 1,
                    life: Some(entry.life),
                    entry: Some(*id),
                    replica: 0,
                };
            }
            end = start;
        }
        Hit::default()
    }

    fn exactly(&self, now: Instant, prompt: &Prompt, blocks: u32) -> Hit {
        let Some(id) = prompt.prefix(blocks) else {
            return Hit::default();
        };
        match self.entries.get(&id.0) {
            Some(entry) if entry.readable(now) => Hit {
                blocks,
                life: Some(entry.life),
                entry: Some(id.0),
                replica: 0,
            },
            _ => Hit::default(),
        }
    }

    /// Leading blocks without a gap that can be read.
    fn covered(&self, now: Instant, prompt: &Prompt) -> Hit {
        let mut hit = Hit::default();
        for run in prompt.runs() {
            let ids = run.ids();
            let mut at = ids.start;
            while at < ids.end {
                let Some((_, span)) = self.spans.range(..=at).next_back() else {
                    return hit;
                };
                if span.end <= at || span.warm_at > now || span.expires <= now {
                    return hit;
                }
                let next = span.end.min(ids.end);
                hit.blocks += (next - at) as u32;
                hit.life = Some(hit.life.map_or(span.life, |life| life.min(span.life)));
                at = next;
            }
        }
        hit
    }

    /// When the block `id` can be read, if somebody is writing it.
    fn under_way(&self, now: Instant, id: u64) -> Option<Instant> {
        let (_, span) = self.spans.range(..=id).next_back()?;
        (id < span.end && now < span.warm_at).then_some(span.warm_at)
    }

    /// Makes `span` what is known of the ids from `first`.
    fn put(&mut self, first: u64, span: Span) {
        if first < span.end {
            self.cut(first, span.end);
            self.spans.insert(first, span);
        }
    }

    /// Forgets the ids from `first` up to and without `end`.
    fn cut(&mut self, first: u64, end: u64) {
        if let Some((&start, span)) = self.spans.range_mut(..first).next_back()
            && span.end > first
        {
            let whole = *span;
            span.end = first;
            if whole.end > end {
                self.spans.insert(end, whole);
            }
            debug_assert!(start < first, "the range ends before it");
        }
        let inside: Vec<u64> = self.spans.range(first..end).map(|(id, _)| *id).collect();
        for id in inside {
            let Some(span) = self.spans.remove(&id) else {
                continue;
            };
            if span.end > end {
                self.spans.insert(end, span);
            }
        }
    }
}
