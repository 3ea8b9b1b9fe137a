//! Which prefixes lie warm in which cache, and until when.
//!
//! Learns at the start of a request what its provider will write, and that it can be read when the answer begins; what is billed confirms it or
//! says that it was not so. Knows no prices and no probabilities: `belief` says how much an entry is worth. Bounded: at its capacity the entry
//! leaves that would expire first, which within one lifetime is the one not used for longest. A wrong entry costs money, never correctness.
//!
//! One index a shard; what becomes warm is told to the other shards by `news` and `hear`, so that a conversation may come in anywhere. (An owner by
//! opener, `Fingerprint::owner`, would hold each entry once and cost a wait for another core with each request; telling costs 40 bytes and a table
//! entry on each core: 64 cores with 1,000 requests a second each spend 2 % on it.) In reading order.

mod rules;
pub use rules::{Matching, Rules};
mod store;
mod snapshot;
pub use snapshot::Torn;

use crate::base::{Instant, Now, Tokens, WallTime};
use crate::policy::fingerprint::{Boundary, Fingerprint, ScopeKey};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::time::Duration;
use store::{Entry, NEVER, Store, Tick};

/// The index of one shard.
#[derive(Debug)]
pub struct Index {
    store: Store,
    news: VecDeque<Fingerprint>,
    /// Heads that were told as being written, and were not.
    gone: Vec<Fingerprint>,
}

/// A prompt at one place: its boundaries, the scope of the cache there, and that cache's rules.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub bounds: &'a [Boundary],
    pub scope: ScopeKey,
    pub rules: &'a Rules,
}

/// The longest prefix of a prompt that should be in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub name: Fingerprint,
    /// What is read of it, in whole blocks.
    pub tokens: Tokens,
    /// False while the request that writes it has no answer yet: who follows now pays for another write.
    pub is_warm: bool,
    /// Since its life began.
    pub age: Duration,
    pub life: Duration,
    /// On the clock of whoever asked.
    pub expires: Instant,
}

/// What a request that was sent will have written. Give it back when its answer begins, or when it fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun(SmallVec<[Fingerprint; 6]>);

/// A prefix that is warm, told to another shard or instance. Wall times: instants are of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub name: Fingerprint,
    pub tokens: Tokens,
    pub touched: WallTime,
    pub expires: WallTime,
    /// The end of tools or instructions, which many conversations share.
    pub is_shared: bool,
    /// False while the request that writes it has no answer yet: whoever hears of it may wait for that. Its end is near then, in case the word of
    /// how it ended is lost; one that has ended was written by nobody.
    pub is_warm: bool,
}

const HEAD: u8 = 1;
/// Another shard writes it, and nobody here.
const ELSEWHERE: u8 = 2;

/// What another shard is said to write is waited for no longer than so.
const PENDING_MAX: Duration = Duration::from_secs(20);

/// Boundaries looked at from the end of a prompt on: a turn of an agent adds two to twelve.
const NEAR: usize = 24;
/// Entries looked at by one call that expires them: some ten microseconds.
const EXPIRED_EACH: usize = 128;
const NEWS_MAX: usize = 256;

impl Index {
    /// Holds at most `capacity` entries of less than 64 bytes, four or so a conversation; memory is taken as they come.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            store: Store::new(capacity),
            news: VecDeque::new(),
            gone: Vec::new(),
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.store.memory()
    }

    /// The longest prefix of the prompt that is alive in the scope and that its rules let it read; a warm one before a longer one that is still
    /// being written only if there is no answer to wait for: both are the caller's to weigh, so the longest is told, and `warm_only` asks for the
    /// other. Costs a probe for each boundary near the end, mark and head: two in an ordinary turn, some fifty at most.
    #[must_use]
    pub fn lookup(&self, asked: &Asked<'_>, now: Instant, warm_only: bool) -> Option<Found> {
        let tick = tick(now);
        let live = |bound: &Boundary| {
            let entry = self.store.get(bound.fingerprint.within(asked.scope))?;
            let is_warm = entry.warm_at <= tick;
            let is_alive = tick < entry.expires && (is_warm || (entry.writers > 0 && !warm_only));
            is_alive.then_some(entry)
        };
        let bounds = asked.bounds;
        let (at, entry) = match asked.rules.matching {
            Matching::Breakpoints {
                look_back,
                implicit,
            } => at_marks(bounds, look_back, implicit, live)?,
            Matching::Blocks(blocks) => in_blocks(bounds, blocks, live)?,
            Matching::Whole => bounds
                .len()
                .checked_sub(1)
                .and_then(|at| Some((at, live(&bounds[at])?)))?,
        };
        let tokens = asked.rules.cached(bounds[at].tokens());
        (tokens > Tokens::ZERO).then(|| found(entry, tokens, now))
    }

    /// A request goes out at `now`, from where its entries live: those that are alive begin their life again where reads refresh, the others
    /// are written and can be read when the answer begins.
    pub fn begin(&mut self, asked: &Asked<'_>, now: Instant) -> Begun {
        let tick = tick(now);
        self.store.expire(tick, EXPIRED_EACH);
        let (mut begun, rules) = (Begun::default(), asked.rules);
        let read = self.lookup(asked, now, true);
        if let Some(found) = &read {
            self.touch(found.name, rules, tick);
        }
        // What depends on another entry lives no longer than that, unless the provider is known to say otherwise.
        let mut least = read.map_or(Duration::MAX, |found| found.life);
        rules::writes(rules, asked.bounds, &mut |bound, is_head| {
            if rules.cached(bound.tokens()) == Tokens::ZERO {
                return;
            }
            let name = bound.fingerprint.within(asked.scope);
            let mut life = rules.life(bound.mark.and_then(|mark| mark.ttl));
            if !rules.long_protects {
                least = least.min(life);
                life = least;
            }
            let ends = tick.saturating_add(ticks(life));
            self.write(name, bound, ends, tick, rules.refreshes, is_head);
            begun.0.push(name);
        });
        begun
    }

    /// The answer has begun: what the request wrote can be read.
    pub fn warm(&mut self, begun: &Begun, now: Instant) {
        let tick = tick(now);
        for name in &begun.0 {
            let Some(entry) = self.store.get_mut(*name) else {
                continue;
            };
            entry.writers = entry.writers.saturating_sub(1);
            let is_news = entry.warm_at > tick;
            entry.warm_at = entry.warm_at.min(tick);
            if is_news && self.news.len() < NEWS_MAX {
                self.news.push_back(*name);
            }
        }
    }

    /// The request failed before its answer began: what nobody else writes either is not there.
    pub fn failed(&mut self, begun: &Begun) {
        for name in &begun.0 {
            let Some(entry) = self.store.get_mut(*name) else {
                continue;
            };
            entry.writers = entry.writers.saturating_sub(1);
            if entry.writers == 0 && entry.warm_at == NEVER {
                if entry.flags & HEAD != 0 && self.gone.len() < NEWS_MAX {
                    self.gone.push(*name);
                }
                self.store.remove(*name);
            }
        }
    }

    /// The bill has come: `read` tokens came from the cache where `found` was expected. What was not there is forgotten, unless this very
    /// request has written it again. True where the expectation held; blocks and estimates of tokens leave a quarter of room.
    pub fn billed(&mut self, found: &Found, begun: &Begun, read: Tokens) -> bool {
        let held = u128::from(read.0) * 4 >= u128::from(found.tokens.0) * 3;
        if !held && !begun.0.contains(&found.name) {
            self.store.remove(found.name);
        }
        held
    }

    /// Takes out what has expired. Bounded work; `begin` does it as well, so this is for quiet times.
    pub fn expire(&mut self, now: Instant) -> usize {
        self.store.expire(tick(now), EXPIRED_EACH)
    }

    /// Whether anything has become warm since `news` was called last.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.news.is_empty() || !self.gone.is_empty()
    }

    /// Prefixes that have become warm since the last call, and heads that are being written or are not any more; at most 256 of each. More are lost,
    /// which costs another shard one turn.
    pub fn news(&mut self, now: Now) -> Vec<Head> {
        let names = std::mem::take(&mut self.news);
        let told = |name: &Fingerprint| {
            let entry = self.store.get(*name)?;
            let is_warm = entry.warm_at != NEVER;
            let expires = match is_warm {
                true => wall(entry.expires, now),
                false => now.wall + PENDING_MAX,
            };
            Some(Head {
                name: *name,
                tokens: Tokens(entry.tokens.into()),
                touched: wall(entry.touched, now),
                expires,
                is_shared: entry.flags & HEAD != 0,
                is_warm,
            })
        };
        let gone = |name: Fingerprint| Head {
            name,
            tokens: Tokens::ZERO,
            touched: now.wall,
            expires: now.wall,
            is_shared: true,
            is_warm: false,
        };
        let gone = self.gone.drain(..).map(gone);
        names.iter().filter_map(told).chain(gone).collect()
    }

    /// What another shard knows of a prefix. Its life is taken over where it is longer than what is known here.
    pub fn hear(&mut self, head: &Head, now: Now) {
        let (expires, touched) = (unwall(head.expires, now), unwall(head.touched, now));
        let tick = tick(now.instant);
        if !head.is_warm {
            return self.hear_pending(head, touched, expires, tick);
        }
        if expires <= tick {
            return;
        }
        self.keep_warm(
            head.name,
            small(head.tokens),
            (touched, expires),
            if head.is_shared { HEAD } else { 0 },
            tick,
        );
    }

    /// A head that another shard writes, or does not any more.
    fn hear_pending(&mut self, head: &Head, touched: Tick, expires: Tick, tick: Tick) {
        let known = self.store.get(head.name);
        let is_over = expires <= tick;
        match known.map(|entry| entry.flags & ELSEWHERE != 0 && entry.warm_at == NEVER) {
            Some(true) if is_over => drop(self.store.remove(head.name)),
            None if !is_over => {
                let entry = self.store.insert(head.name, small(head.tokens), expires);
                entry.writers = 1;
                entry.flags = HEAD | ELSEWHERE;
                (entry.touched, entry.expires) = (touched, expires);
            }
            Some(_) | None => {}
        }
    }

    fn keep_warm(
        &mut self,
        name: Fingerprint,
        tokens: u32,
        (touched, expires): (Tick, Tick),
        flags: u8,
        tick: Tick,
    ) {
        let entry = match self.store.get_mut(name) {
            Some(entry) => entry,
            None => self.store.insert(name, tokens, expires),
        };
        if entry.flags & ELSEWHERE != 0 {
            (entry.flags, entry.writers) = (entry.flags & !ELSEWHERE, 0);
        }
        entry.flags |= flags;
        entry.warm_at = entry.warm_at.min(tick);
        if expires >= entry.expires {
            (entry.touched, entry.expires) = (touched, expires);
        }
    }

    fn touch(&mut self, name: Fingerprint, rules: &Rules, tick: Tick) {
        let Some(entry) = self.store.get_mut(name).filter(|_| rules.refreshes) else {
            return;
        };
        let life = entry.expires - entry.touched;
        (entry.touched, entry.expires) = (tick, tick.saturating_add(life));
    }

    fn write(
        &mut self,
        name: Fingerprint,
        bound: &Boundary,
        ends: Tick,
        tick: Tick,
        refreshes: bool,
        is_head: bool,
    ) {
        let entry = match self.store.get_mut(name) {
            Some(entry) => entry,
            None => self.store.insert(name, small(bound.tokens()), ends),
        };
        let is_dead = entry.expires <= tick && entry.warm_at != NEVER;
        if is_dead {
            entry.warm_at = NEVER;
        }
        if entry.flags & ELSEWHERE != 0 {
            // Whatever becomes of that, this one is written here.
            (entry.flags, entry.writers) = (entry.flags & !ELSEWHERE, 0);
        }
        let is_new = entry.warm_at == NEVER;
        let is_told = is_new && is_head && entry.writers == 0;
        if is_new || (refreshes && ends > entry.expires) {
            (entry.touched, entry.expires) = (tick, ends.max(entry.expires));
        }
        entry.writers = entry.writers.saturating_add(1);
        entry.flags |= if is_head { HEAD } else { 0 };
        if is_told && self.news.len() < NEWS_MAX {
            self.news.push_back(name);
        }
    }
}

/// From each mark, latest first, back over its positions.
fn at_marks<'e>(
    bounds: &[Boundary],
    look_back: u16,
    implicit: bool,
    live: impl Fn(&Boundary) -> Option<&'e Entry>,
) -> Option<(usize, &'e Entry)> {
    // What a later mark has looked at, an earlier one need not.
    let mut looked = bounds.len();
    for mark in (0..bounds.len()).rev() {
        if bounds[mark].mark.is_none() && !(implicit && mark + 1 == bounds.len()) {
            continue;
        }
        let oldest = bounds[mark].position.saturating_sub(look_back);
        for at in (0..=mark.min(looked.saturating_sub(1))).rev() {
            if bounds[at].position <= oldest {
                break;
            }
            looked = at;
            if let Some(entry) = live(&bounds[at]) {
                return Some((at, entry));
            }
        }
        if looked == 0 {
            break;
        }
    }
    None
}

/// Near the end one by one; behind that the blocks, of which those before a live one are alive too; and what else may be kept.
fn in_blocks<'e>(
    bounds: &[Boundary],
    blocks: crate::policy::fingerprint::Blocks,
    live: impl Fn(&Boundary) -> Option<&'e Entry>,
) -> Option<(usize, &'e Entry)> {
    let near = bounds.len().saturating_sub(NEAR);
    for at in (near..bounds.len()).rev() {
        if let Some(entry) = live(&bounds[at]) {
            return Some((at, entry));
        }
    }
    let coarse = |at: &usize| rules::is_coarse(&bounds[*at], blocks);
    let kept: SmallVec<[usize; 64]> = (0..near).filter(coarse).collect();
    let alive = kept.partition_point(|at| live(&bounds[*at]).is_some());
    let block = alive.checked_sub(1).map(|n| kept[n]);
    // Ends of turns and heads that reach further than the block.
    let from = block.map_or(0, |at| at + 1);
    let to = kept.get(alive).copied().unwrap_or(near);
    let ends = |at: &usize| {
        bounds[*at].ends_turn || bounds[*at].at != crate::policy::fingerprint::At::Block
    };
    let further = (from..to).rev().filter(ends).take(NEAR * 2);
    let further = further
        .filter_map(|at| Some((at, live(&bounds[at])?)))
        .next();
    further.or_else(|| block.and_then(|at| Some((at, live(&bounds[at])?))))
}

fn found(entry: &Entry, tokens: Tokens, now: Instant) -> Found {
    let tick = tick(now);
    let time = |ticks: Tick| Duration::from_millis(u64::from(ticks) * 100);
    Found {
        name: entry.name,
        tokens,
        is_warm: entry.warm_at <= tick,
        age: time(tick.saturating_sub(entry.touched)),
        life: time(entry.expires.saturating_sub(entry.touched)),
        expires: instant(entry.expires),
    }
}

fn small(tokens: Tokens) -> u32 {
    u32::try_from(tokens.0).unwrap_or(u32::MAX)
}

const TICK_NANOS: u64 = 100_000_000;

fn tick(now: Instant) -> Tick {
    Tick::try_from(now.0 / TICK_NANOS).unwrap_or(NEVER - 1)
}

fn instant(tick: Tick) -> Instant {
    Instant(u64::from(tick) * TICK_NANOS)
}

fn ticks(life: Duration) -> Tick {
    Tick::try_from(life.as_millis() / 100).unwrap_or(NEVER / 2)
}

/// The calendar's reading of a tick. Signed differences, since a restored entry may have begun before this process.
fn wall(tick: Tick, now: Now) -> WallTime {
    let ahead = instant(tick).0 as i64 - now.instant.0 as i64;
    WallTime(now.wall.0.saturating_add(ahead))
}

/// 0 for what was before this process began.
fn unwall(wall: WallTime, now: Now) -> Tick {
    let ahead = wall.0.saturating_sub(now.wall.0);
    tick(Instant(
        (now.instant.0 as i64).saturating_add(ahead).max(0) as u64
    ))
}

#[cfg(test)]
mod tests;
