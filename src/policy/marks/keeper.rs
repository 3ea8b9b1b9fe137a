//! Who has been here before: a small table of conversations and of heads, from which a forecast is made.
//!
//! What comes once pays no premium: a head is worth a mark when it comes again with another conversation, an end when requests of its class are
//! gone on with. Bounded: a fixed table, sets of four, of which the one seen longest ago gives way; losing a record costs one write or one
//! missed read, never correctness. Holds hashes and times alone. The time is an argument.

use super::forecast::{Class, Forecast, Gaps, Habits, HeadPace};
use super::{HEADS_MAX, Offer, Placed, Prompt, place};
use crate::base::{Instant, Tokens};
use crate::canon::CacheTtl;
use crate::policy::fingerprint::{Boundary, Fingerprint};
use smallvec::SmallVec;
use std::time::Duration;

/// The table of one shard.
#[derive(Debug)]
pub struct Doorkeeper {
    /// Sets of four; taken when the first comes.
    records: Vec<Record>,
    sets: usize,
    /// By the low bits of who asks. Tenants that share one learn together.
    habits: Vec<Habits>,
    /// Where silence is looked for next.
    sweep: usize,
}

/// A request that goes out.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    pub prompt: &'a Prompt<'a>,
    /// The conversation, within the cache that it goes to.
    pub conversation: Fingerprint,
    /// Who asks: any number that stays.
    pub tenant: u64,
    /// It was sent before, and failed: known already.
    pub is_retry: bool,
}

/// 40 bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    name: u64,
    /// Seconds, from 1; 0 is no record.
    seen: u32,
    /// Of a conversation: until when its entry should be warm.
    until: u32,
    /// Of a conversation: what its last mark stood behind.
    mark: u32,
    /// Of a conversation: what its last prompt ended with.
    end: u32,
    /// Of a conversation: what its last long mark stood behind, and until when that entry should be warm.
    base: u32,
    base_until: u32,
    /// Of a head: mean time between new conversations, seconds. Of a conversation: `Forecast::exposed`.
    gap: f32,
    /// Of a head: new conversations, 255 at most. Of a conversation: marks that were not found again, one after another.
    count: u8,
    class: u8,
    /// Lifetimes of which it is known whether the next request (of a head, the second conversation) came within them.
    told: u8,
    tenant: u8,
}

/// What is known of a conversation.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The spots behind which its longest entry lies, and its longest long one.
    warm: Option<usize>,
    base: Option<usize>,
    exposed: f64,
    /// Its ends change.
    breaks: bool,
    is_new: bool,
}

const WAYS: usize = 4;
const TENANTS: usize = 64;
/// Records looked at by one arrival, for silence.
const SWEPT: usize = 8;
/// A new gap's weight in the mean.
const NEW: f32 = 0.3;
/// A head is not a conversation, whatever its name.
const HEAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Doorkeeper {
    /// Holds at most `capacity` records of 40 bytes: one a conversation and up to eight a head. Memory is taken with the first arrival.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            records: Vec::new(),
            sets: (capacity / WAYS).max(1),
            habits: Vec::new(),
            sweep: 0,
        }
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.records.capacity() * size_of::<Record>() + self.habits.capacity() * size_of::<Habits>()
    }

    /// What to mark of a request that goes out at `now`: forecast, placed and remembered in one.
    pub fn decide(&mut self, arrival: &Arrival<'_>, offer: &Offer, now: Instant) -> Placed {
        let forecast = self.forecast(arrival, now);
        let placed = place(arrival.prompt, offer, &forecast);
        self.remember(arrival, offer, &placed, now);
        placed
    }

    /// What is expected of a request that goes out at `now`; it is remembered as seen.
    pub fn forecast(&mut self, arrival: &Arrival<'_>, now: Instant) -> Forecast {
        if self.records.is_empty() {
            self.records = vec![Record::default(); self.sets * WAYS];
            self.habits = vec![Habits::default(); TENANTS];
        }
        let tick = tick(now);
        self.sweep(tick);
        let class = arrival.prompt.class(self.known(arrival));
        let known = self.conversation(arrival, class, tick);
        let on = match arrival.prompt.is_of_an_agent() {
            true => Class::AfterTool,
            false => Class::AfterWords,
        };
        Forecast {
            next: self.gaps(arrival.tenant, class),
            later: self.gaps(arrival.tenant, on),
            warm: known.warm,
            base: known.base,
            exposed: known.exposed,
            tail_breaks: known.breaks,
            heads: self.heads(arrival, known.is_new && !arrival.is_retry, tick),
        }
    }

    /// How much of the prompt the conversation's last one was.
    fn known(&self, arrival: &Arrival<'_>) -> Tokens {
        let bounds = arrival.prompt.bounds;
        let Some(at) = self.position(arrival.conversation.chain) else {
            return Tokens::ZERO;
        };
        let was = self.records[at];
        let is = |bound: &&Boundary| [was.end, was.mark].contains(&short_name(bound));
        bounds
            .iter()
            .rfind(is)
            .map_or(Tokens::ZERO, Boundary::tokens)
    }

    /// When the next request of a tenant comes after one of a class.
    #[must_use]
    pub fn gaps(&self, tenant: u64, class: Class) -> Gaps {
        let habits = self.habits.get(tenant as usize % TENANTS);
        habits.map_or(class.before(), |habits| habits.gaps(class))
    }

    /// Where its entries will lie, ours and those that the client marked.
    pub fn remember(
        &mut self,
        arrival: &Arrival<'_>,
        offer: &Offer,
        placed: &Placed,
        now: Instant,
    ) {
        let prompt = arrival.prompt;
        let mut clients = prompt.spots.iter().enumerate().rev();
        let clients = clients.find_map(|(at, s)| Some((at, s.mark?.ttl)));
        let ours = placed.marks.last().map(|m| (m.spot, m.ttl));
        let last = ours.into_iter().chain(clients).max_by_key(|(at, _)| *at);
        let Some((spot, ttl)) = last else {
            return;
        };
        let Some(bound) = prompt.bounds.get(spot) else {
            return;
        };
        let life = ttl.unwrap_or(offer.short.ttl).life();
        let (until, name) = (tick(now).saturating_add(seconds(life)), short_name(bound));
        let is_long = offer.long.is_some_and(|long| ttl == Some(long.ttl));
        let Some(at) = self.position(arrival.conversation.chain) else {
            return;
        };
        let next = self.class_gaps(self.records[at]);
        let record = &mut self.records[at];
        (record.until, record.mark) = (until, name);
        if is_long {
            (record.base, record.base_until, record.gap) = (name, until, 0.0);
            return;
        }
        let is_base = |b: &&Boundary| tick(now) < record.base_until && short_name(b) == record.base;
        let base = prompt.bounds.iter().rfind(is_base);
        let base = base.map_or(Tokens::ZERO, Boundary::tokens);
        record.gap += offer.exposure(&next, bound.tokens().0.saturating_sub(base.0)) as f32;
    }

    fn class_gaps(&self, of: Record) -> Gaps {
        let class = Class::ALL[usize::from(of.class) % Class::COUNT];
        self.gaps(of.tenant.into(), class)
    }

    /// What is known of the conversation, before this request and with it.
    fn conversation(&mut self, arrival: &Arrival<'_>, class: Class, tick: u32) -> Known {
        let prompt = arrival.prompt;
        let tenant = (arrival.tenant as usize % TENANTS) as u8;
        let end = prompt.bounds.last().map_or(0, short_name);
        let Some(at) = self.position(arrival.conversation.chain) else {
            self.begin(Record {
                name: arrival.conversation.chain,
                seen: tick,
                class: class as u8,
                tenant,
                end,
                ..Record::default()
            });
            return Known {
                is_new: true,
                ..Known::default()
            };
        };
        let was = self.records[at];
        let behind = |mark: u32| {
            let marked = |bound: &Boundary| short_name(bound) == mark;
            prompt.bounds.iter().rposition(marked)
        };
        let found = behind(was.mark);
        let is_marked = was.until > 0;
        if !arrival.is_retry {
            self.came(at, tick);
            let record = &mut self.records[at];
            record.count = match (is_marked, found) {
                (true, None) => was.count.saturating_add(1),
                // Marks were moved away from the end, so that they are found says nothing of the end: it is tried again later.
                (true, Some(_)) if (BREAKS..PATIENCE).contains(&was.count) => was.count + 1,
                (true, Some(_)) => 0,
                (false, _) => was.count,
            };
            (record.seen, record.class, record.told) = (tick, class as u8, 0);
            record.end = end;
        }
        let base = behind(was.base).filter(|_| tick < was.base_until);
        let warm = found.filter(|_| is_marked && tick < was.until);
        if warm.is_none() {
            // The pause has come: what lay in short entries is gone, and counts anew once it is written again.
            self.records[at].gap = 0.0;
        }
        Known {
            warm: warm.or(base),
            base,
            exposed: self.records[at].gap.into(),
            breaks: self.records[at].count >= BREAKS,
            is_new: false,
        }
    }

    fn heads(&mut self, arrival: &Arrival<'_>, is_new: bool, tick: u32) -> SmallVec<[HeadPace; 4]> {
        let mut paces = SmallVec::new();
        let heads: SmallVec<[usize; HEADS_MAX]> = arrival.prompt.heads();
        let bounds = arrival.prompt.bounds;
        let of = |spot: &usize| Some(bounds.get(*spot)?.fingerprint.chain ^ HEAD);
        // What changes behind what is known (a date) says nothing of what is new altogether.
        let knows = |spot: &usize| of(spot).is_some_and(|name| self.position(name).is_some());
        let is_all_new = !heads.iter().any(knows);
        for spot in heads {
            let Some(name) = of(&spot) else { continue };
            let Some(at) = self.position(name) else {
                if is_new {
                    if is_all_new {
                        let again = self.gaps(arrival.tenant, Class::NewHead);
                        paces.push(HeadPace::unseen(spot, again));
                    }
                    self.begin(Record {
                        name,
                        seen: tick,
                        count: 1,
                        told: if is_all_new { 0 } else { ALL_TOLD },
                        class: Class::NewHead as u8,
                        tenant: (arrival.tenant as usize % TENANTS) as u8,
                        ..Record::default()
                    });
                }
                continue;
            };
            if is_new {
                self.came(at, tick);
                self.records[at].begins(tick);
            }
            let record = &mut self.records[at];
            if record.count > 1 {
                paces.push(HeadPace {
                    spot,
                    mean_gap_seconds: f64::from(record.gap).max(1.0),
                    starts: record.count,
                    others: None,
                });
            }
        }
        paces
    }

    /// The next request of a conversation has come.
    fn came(&mut self, at: usize, tick: u32) {
        let record = self.records[at];
        let gap = tick.saturating_sub(record.seen);
        for ttl in CacheTtl::ALL.into_iter().skip(record.told.into()) {
            let came = gap <= seconds(ttl.life());
            self.saw(record, ttl, came);
        }
    }

    /// Looks at a few records for silence that has outlasted a lifetime.
    fn sweep(&mut self, tick: u32) {
        for _ in 0..SWEPT {
            let at = self.sweep;
            self.sweep = (at + 1) % self.records.len();
            let record = self.records[at];
            if record.seen == 0 {
                continue;
            }
            let silent = tick.saturating_sub(record.seen);
            let late = CacheTtl::ALL.into_iter().skip(record.told.into());
            for ttl in late.take_while(|ttl| silent > seconds(ttl.life())) {
                self.saw(record, ttl, false);
                self.records[at].told += 1;
            }
        }
    }

    fn saw(&mut self, record: Record, ttl: CacheTtl, came: bool) {
        if let Some(habits) = self.habits.get_mut(usize::from(record.tenant)) {
            habits.saw(record.class.into(), ttl, came);
        }
    }

    fn begin(&mut self, record: Record) {
        let set = self.set(record.name);
        let oldest = set.min_by_key(|at| self.records[*at].seen);
        if let Some(at) = oldest {
            self.records[at] = record;
        }
    }

    fn position(&self, name: u64) -> Option<usize> {
        let is = |at: &usize| {
            let record = self.records.get(*at);
            record.is_some_and(|r| r.seen > 0 && r.name == name)
        };
        self.set(name).find(is)
    }

    fn set(&self, name: u64) -> std::ops::Range<usize> {
        // The high half of a product spreads evenly without a division.
        let set = ((u128::from(name) * self.sets as u128) >> 64) as usize;
        set * WAYS..(set + 1) * WAYS
    }
}

impl Record {
    /// Another new conversation begins with this head.
    fn begins(&mut self, tick: u32) {
        let gap = tick.saturating_sub(self.seen) as f32;
        self.gap = match self.count {
            0 | 1 => gap,
            _ => self.gap + NEW * (gap - self.gap),
        };
        self.seen = tick;
        // Only of the first time is it asked whether it comes again.
        self.told = ALL_TOLD;
        self.count = self.count.saturating_add(1);
    }
}

/// Enough to find it again in its own conversation: a false match among 1,000 bounds once in four million, and costs a mark.
fn short_name(bound: &Boundary) -> u32 {
    bound.fingerprint.tag as u32
}

fn tick(now: Instant) -> u32 {
    u32::try_from(now.0 / 1_000_000_000 + 1).unwrap_or(u32::MAX)
}

fn seconds(life: Duration) -> u32 {
    u32::try_from(life.as_secs()).unwrap_or(u32::MAX)
}

/// Marks that were not found again, after which the end of a conversation is not marked any more.
const BREAKS: u8 = 2;
/// Requests after which it is marked again nevertheless.
const PATIENCE: u8 = 18;
const ALL_TOLD: u8 = CacheTtl::ALL.len() as u8;
