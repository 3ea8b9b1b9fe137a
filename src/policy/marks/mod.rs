//! Where to ask a provider to cache a prompt, on the client's behalf, and for how long.
//!
//! `place` is the rule: a function of a prompt, of what its provider offers and of what is forecast. `Doorkeeper` makes the forecast from what
//! it has seen, in bounded memory; who knows better gives another. The client's own marks stay, ours take the slots that are free. Knows no
//! dialect: a spot says whether it can bear a mark. Knows nothing of what is billed: `prefix` and `belief` learn that, and say what is warm.
//! In reading order.

mod forecast;
pub use forecast::{Class, Forecast, Gaps, HeadPace};
mod keeper;
pub use keeper::{Arrival, Doorkeeper};

use crate::base::Tokens;
use crate::canon::{CacheTtl, ElementKind, Spot};
use crate::policy::fingerprint::Boundary;
use smallvec::SmallVec;

/// A prompt as it goes to one provider.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// Of a chain without blocks: one for each spot.
    pub bounds: &'a [Boundary],
    pub spots: &'a [Spot],
    /// Marks of the client, wherever they stand, that for the whole request included.
    pub marks: usize,
    /// Some of these stand where no spot is: then the order of lifetimes cannot be kept, and nothing is added.
    pub nested: bool,
}

/// What a provider's cache offers, prices as parts of that of uncached input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// Marks a request may have; never taken to be more than four.
    pub marks_max: usize,
    /// Nothing shorter is cached.
    pub min_tokens: Tokens,
    /// Positions that a mark looks back over for an entry, its own included.
    pub look_back: u16,
    /// The end of a prompt is as good as marked: only heads are worth a mark.
    pub implicit: bool,
    pub read: f64,
    /// What a mark gets that asks for no lifetime.
    pub short: Life,
    /// What it may ask for instead.
    pub long: Option<Life>,
    /// A long entry outlives the short ones it was written on top of: `prefix::Rules`.
    pub long_protects: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Life {
    pub ttl: CacheTtl,
    /// What writing costs.
    pub write: f64,
}

/// What to ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// In the order of the prompt.
    pub marks: SmallVec<[Mark; 4]>,
    /// The provider's own mark at the end is not worth its price: switch it off.
    pub mute: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub spot: usize,
    /// `None`: the short one, which need not be said.
    pub ttl: Option<CacheTtl>,
}

/// Anthropic docs, prompt caching, read 2026-08: a fifth is a 400. No provider takes more.
pub const MARKS_MAX: usize = 4;

impl Offer {
    /// Whether an entry that is read with probability `p` within its life is worth writing: p·r + (1 − p)·w < 1, which is the same as
    /// E[reads] > (w − 1) / (1 − r) for reads that follow each other with p. 5m: 21.7 %, 1h: 52.6 % at r = 0.1.
    fn pays(&self, p: f64, write: f64) -> bool {
        self.cost(p, write) < 1.0
    }

    fn cost(&self, p: f64, write: f64) -> f64 {
        p * self.read + (1.0 - p) * write
    }

    /// The lifetime that is worth most for what is used at `pace`, if any is worth its price.
    fn for_head(&self, pace: &HeadPace) -> Option<Span> {
        let lives = [
            Some((Span::Short, self.short)),
            self.long.map(|l| (Span::Long, l)),
        ];
        let costs = lives.into_iter().flatten().filter(|(span, _)| {
            // A rate that was seen twice says little of an hour.
            *span == Span::Short || pace.starts >= STARTS_FOR_LONG
        });
        costs
            .map(|(span, life)| (self.cost(pace.within(life.ttl), life.write), span))
            .filter(|(cost, _)| *cost < 1.0)
            .min_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, span)| span)
    }

    /// The same for the end of a conversation's prompt.
    fn for_tail(&self, tail: &Tail<'_>) -> Option<Span> {
        let next = &tail.forecast.next;
        let short = self.pays(next.within(self.short.ttl), self.short.write);
        let Some(long) = self.long else {
            return short.then_some(Span::Short);
        };
        let (is_had, is_worth) = match self.long_protects {
            true => (true, self.is_exposed(tail, long)),
            false => (!tail.is_short_lived(), self.is_paused(tail.forecast, long)),
        };
        if short {
            let span = if is_had && is_worth {
                Span::Long
            } else {
                Span::Short
            };
            return Some(span);
        }
        let late = next.within(long.ttl);
        (is_had && self.pays(late, long.write)).then_some(Span::Long)
    }

    /// Where a long entry protects all before it: how much of the prompt has lain in short ones alone, times how likely a pause was that only long
    /// ones outlive, summed over the requests since the last long entry, against the price of one now. A long mark serves the requests after it
    /// too, so this one need not earn it alone; and it is cheap where little is new, so the sum waits for that. At the first it is ROUTING 1.6's
    /// q·(w − r)·R > (w_long − w)·D.
    fn is_exposed(&self, tail: &Tail<'_>, long: Life) -> bool {
        let exposed =
            tail.forecast.exposed + self.exposure(&tail.forecast.next, tail.beyond_base());
        exposed * (self.short.write - self.read) > (long.write - self.short.write) * tail.new as f64
    }

    /// Of one request: the tokens that only short entries hold, times the probability that the next comes too late for these and in time for long ones.
    fn exposure(&self, next: &Gaps, tokens: u64) -> f64 {
        let late = self.long.map_or(0.0, |long| next.within(long.ttl));
        (late - next.within(self.short.ttl)) * tokens as f64
    }

    /// Where it protects nothing, entries are long from the beginning or not at all: each token costs (w_long − w) more from now on, or, when a pause
    /// comes before the conversation ends, (w_long − r) to be written anew. What it grows by until then is in both.
    fn is_paused(&self, forecast: &Forecast, long: Life) -> bool {
        let lives = (self.short.ttl, long.ttl);
        let (next, later) = (&forecast.next, &forecast.later);
        let soon = next.within(lives.0);
        let pauses = next.within(lives.1) - soon + soon * later.pauses(lives);
        pauses * (long.write - self.read) > long.write - self.short.write
    }
}

/// The end of a conversation's prompt, in tokens.
struct Tail<'a> {
    forecast: &'a Forecast,
    whole: u64,
    /// Up to where the latest long entry goes; 0 without.
    base: u64,
    /// What is written now.
    new: u64,
}

impl Tail<'_> {
    fn beyond_base(&self) -> u64 {
        self.whole.saturating_sub(self.base)
    }

    /// What it goes on from is in a short entry.
    fn is_short_lived(&self) -> bool {
        self.forecast.warm.is_some() && self.forecast.warm != self.forecast.base
    }
}

/// Which of the two lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Short,
    Long,
}

const STARTS_FOR_LONG: u8 = 4;

/// Where to mark `prompt`. At most four marks, the client's included; each behind a spot that bears one and has none, at the minimum length at
/// least; long lifetimes before short ones. Empty where nothing is worth its price.
///
/// In the order in which slots are given away: where the conversation's entry lies, if the end is too far from it to find it by looking back; the
/// end; the instructions; the end of the turn before, for the case that the last one is said anew; the tools. A mark where an entry lies costs
/// nothing and begins its life again. Further marks in between are not needed: each request marks where the one before ended.
#[must_use]
pub fn place(prompt: &Prompt<'_>, offer: &Offer, forecast: &Forecast) -> Placed {
    let places = Places {
        prompt,
        offer,
        forecast,
    };
    // Spots that are not the bounds' own would put marks anywhere.
    if prompt.nested || prompt.bounds.len() != prompt.spots.len() {
        return Placed::default();
    }
    let wanted = if offer.implicit {
        places.heads()
    } else {
        places.all()
    };
    let room = offer.marks_max.min(MARKS_MAX).saturating_sub(prompt.marks);
    let mut given: SmallVec<[(usize, Span); 4]> = SmallVec::new();
    for (spot, span) in wanted {
        if given.len() < room && given.iter().all(|(s, _)| *s != spot) {
            given.push((spot, span));
        }
    }
    given.sort_by_key(|(spot, _)| *spot);
    Placed {
        marks: places.in_order(given),
        mute: places.is_mute(),
    }
}

struct Places<'a> {
    prompt: &'a Prompt<'a>,
    offer: &'a Offer,
    forecast: &'a Forecast,
}

type Wanted = SmallVec<[(usize, Span); 6]>;

impl Places<'_> {
    /// In the order of their worth.
    fn all(&self) -> Wanted {
        let mut wanted = Wanted::new();
        let (tail, stable) = (self.tail(), self.stable());
        let is_warm = self.forecast.warm.is_some();
        let span = tail.map_or(Span::Short, |(_, span)| span);
        let stable = stable
            .filter(|_| is_warm || tail.is_some())
            .map(|s| (s, span));
        if is_warm && stable.is_some_and(|(s, _)| self.is_far(s)) {
            wanted.extend(stable);
        }
        wanted.extend(tail);
        let heads = self.heads();
        wanted.extend(heads.iter().take(1).copied());
        // The long entry is what is left after a pause, if a mark looks back so far.
        let base = self
            .forecast
            .base
            .filter(|base| self.is_free(*base) && self.is_far(*base));
        wanted.extend(base.map(|base| (base, Span::Long)));
        wanted.extend(stable);
        wanted.extend(heads.iter().skip(1).copied());
        wanted.extend(self.free_head(&heads, tail));
        wanted
    }

    /// The end of the instructions, where what follows is written anyway: a mark on the way costs nothing more, and the next conversation that begins
    /// so may read from there.
    fn free_head(&self, heads: &Wanted, tail: Option<(usize, Span)>) -> Option<(usize, Span)> {
        let (_, span) = tail.filter(|_| heads.is_empty() && self.forecast.warm.is_none())?;
        let is_clients = |s: &Spot| s.mark.is_some();
        if self.prompt.spots[..self.heads_end()].iter().any(is_clients) {
            return None;
        }
        let last = self.prompt.heads().last().copied()?;
        self.is_free(last).then_some((last, span))
    }

    /// The end of the newest turn, or of the one before where that is said anew each time; unless its entry is not worth writing, or the client
    /// marks within the newest turn itself.
    fn tail(&self) -> Option<(usize, Span)> {
        let spots = self.prompt.spots;
        let (newest, tail) = (self.newest()?, self.end()?);
        let answer = spots[..newest].iter().rposition(|s| s.is_models);
        let turn = answer.map_or_else(|| self.heads_end(), |at| at + 1);
        let newest = spots.get(turn..).unwrap_or_default();
        if newest.iter().any(|s| s.mark.is_some()) || !self.is_free(tail) {
            return None;
        }
        let of = |spot: Option<usize>| spot.map_or(0, |at| self.tokens(at).0);
        let whole = self.tokens(tail).0;
        let end = Tail {
            forecast: self.forecast,
            whole,
            base: of(self.forecast.base),
            new: whole.saturating_sub(of(self.forecast.warm)),
        };
        let span = self.offer.for_tail(&end)?;
        Some((tail, span))
    }

    fn end(&self) -> Option<usize> {
        if self.forecast.tail_breaks {
            self.before_answer()
        } else {
            self.newest()
        }
    }

    /// The last spot that bears a mark and is not the model's own words.
    fn newest(&self) -> Option<usize> {
        let can = |s: &Spot| s.bears && !s.is_models;
        self.prompt.spots.iter().rposition(can)
    }

    /// The same of the turn before the last answer: where the request before this one ended.
    fn before_answer(&self) -> Option<usize> {
        let spots = self.prompt.spots;
        let answer = spots.iter().rposition(|s| s.is_models)?;
        let can = |s: &Spot| s.bears && !s.is_models;
        let found = spots[..answer].iter().rposition(can)?;
        (found >= self.heads_end()).then_some(found)
    }

    /// Where the conversation's entry lies; else where the request before this one ended.
    fn stable(&self) -> Option<usize> {
        let stable = self.forecast.warm.or_else(|| self.before_answer())?;
        self.is_free(stable).then_some(stable)
    }

    /// Whether a mark of ours can stand there, and have an effect.
    fn is_free(&self, spot: usize) -> bool {
        let spots = self.prompt.spots;
        let free = spots.get(spot).is_some_and(|s| s.bears && s.mark.is_none());
        free && self.tokens(spot) >= self.offer.min_tokens.max(Tokens(1))
    }

    /// Whether a mark at the end would not find what lies behind `spot`.
    fn is_far(&self, spot: usize) -> bool {
        let position = |at: usize| self.prompt.bounds[at].position;
        self.end().is_none_or(|tail| {
            position(tail).saturating_sub(position(spot)) >= self.offer.look_back
        })
    }

    /// The longest of the instructions that is used often enough, then the tools, where they are used more often than that. None where the
    /// client marks there itself.
    fn heads(&self) -> Wanted {
        let (spots, end) = (self.prompt.spots, self.heads_end());
        let mut wanted = Wanted::new();
        if spots[..end].iter().any(|s| s.mark.is_some()) {
            return wanted;
        }
        let mut pace = f64::INFINITY;
        for head in self.forecast.heads.iter().rev() {
            let oftener = head.mean_gap_seconds < pace * OFTENER;
            if wanted.len() == 2 || head.spot >= end || !oftener || !self.is_free(head.spot) {
                continue;
            }
            if let Some(span) = self.offer.for_head(head) {
                wanted.push((head.spot, span));
                pace = head.mean_gap_seconds;
            }
        }
        wanted
    }

    /// The number of spots before the first that is neither tool nor instruction.
    fn heads_end(&self) -> usize {
        let spots = self.prompt.spots;
        let head = |s: &&Spot| {
            matches!(
                s.kind,
                ElementKind::Tool | ElementKind::Schema | ElementKind::System
            )
        };
        spots.iter().take_while(head).count()
    }

    fn tokens(&self, spot: usize) -> Tokens {
        let bound = self.prompt.bounds.get(spot);
        bound.map_or(Tokens::ZERO, Boundary::tokens)
    }

    /// The provider would write at the end by itself, and nobody is expected to read it.
    fn is_mute(&self) -> bool {
        let tokens = self
            .prompt
            .bounds
            .last()
            .map_or(Tokens::ZERO, Boundary::tokens);
        let next = self.forecast.next.within(self.offer.short.ttl);
        self.offer.implicit
            && self.prompt.marks == 0
            && tokens >= self.offer.min_tokens
            && !self.offer.pays(next, self.offer.short.write)
    }

    /// Anthropic docs, prompt caching, read 2026-08: a mark for an hour behind one for five minutes is a 400. So a mark behind a short one of the
    /// client's is short, and one before a long one is long; what can be neither, or is not worth it so, is left out.
    fn in_order(&self, given: SmallVec<[(usize, Span); 4]>) -> SmallVec<[Mark; 4]> {
        let clients = |span| {
            let spots = self.prompt.spots.iter();
            spots.map(move |s| s.mark.is_some_and(|m| self.span(m.ttl) == span))
        };
        let first_short = clients(Span::Short).position(|is| is).unwrap_or(usize::MAX);
        let last_long = clients(Span::Long).rposition(|is| is);
        let mut given = given;
        given.retain(|(spot, span)| {
            let was = *span;
            if *spot > first_short {
                *span = Span::Short;
            }
            let is_dear = was == Span::Long && *span == Span::Short && !self.is_worth_short();
            let is_torn = *spot > first_short && last_long.is_some_and(|at| *spot < at);
            !(is_dear || is_torn)
        });
        let ours = given.iter().rfind(|(_, span)| *span == Span::Long);
        let last_long = ours.map(|(spot, _)| *spot).max(last_long);
        let ttl = |spot: usize, span: Span| match span {
            Span::Long => self.offer.long.map(|l| l.ttl),
            Span::Short if last_long.is_some_and(|at| spot < at) => self.offer.long.map(|l| l.ttl),
            Span::Short => None,
        };
        let marks = given.iter();
        marks
            .map(|(spot, span)| Mark {
                spot: *spot,
                ttl: ttl(*spot, *span),
            })
            .collect()
    }

    fn is_worth_short(&self) -> bool {
        let next = self.forecast.next.within(self.offer.short.ttl);
        self.offer.pays(next, self.offer.short.write)
    }

    fn span(&self, ttl: Option<CacheTtl>) -> Span {
        match ttl {
            Some(ttl) if ttl > self.offer.short.ttl => Span::Long,
            _ => Span::Short,
        }
    }
}

/// Tools are worth a mark of their own where they are used that much oftener than with these instructions.
const OFTENER: f64 = 0.8;

impl<'a> Prompt<'a> {
    /// What kind of request it is, of which `known` tokens were said before.
    #[must_use]
    pub fn class(&self, known: Tokens) -> Class {
        let spots = self.spots;
        if !spots.iter().any(|s| s.is_models) {
            return match self.has_tools() {
                true => Class::OpeningWithTools,
                false => Class::Opening,
            };
        }
        let newest = spots.iter().rfind(|s| !s.is_models);
        match newest.map(|s| s.kind) {
            Some(ElementKind::ToolResult) => Class::AfterTool,
            _ if self.is_mostly_known(known) => Class::AfterWords,
            _ => Class::AfterMuch,
        }
    }

    fn is_mostly_known(&self, known: Tokens) -> bool {
        let whole = self.bounds.last().map_or(Tokens::ZERO, Boundary::tokens);
        known.0 * 10 >= whole.0 * 7
    }

    fn has_tools(&self) -> bool {
        self.spots.iter().any(|s| s.kind == ElementKind::Tool)
    }

    /// A program goes on with it rather than a person.
    fn is_of_an_agent(&self) -> bool {
        let uses = |s: &Spot| matches!(s.kind, ElementKind::ToolCall | ElementKind::ToolResult);
        self.has_tools() || self.spots.iter().any(uses)
    }

    /// Spots that many conversations may share: the end of the tools, and each instruction ahead of the conversation, the last of them.
    fn heads(&self) -> SmallVec<[usize; HEADS_MAX]> {
        let kinds = self.spots.iter().map(|s| s.kind).enumerate();
        let mut heads: SmallVec<[usize; HEADS_MAX]> = SmallVec::new();
        let head = |(_, kind): &(usize, ElementKind)| {
            matches!(
                kind,
                ElementKind::Tool | ElementKind::Schema | ElementKind::System
            )
        };
        let mut tool = None;
        for (at, kind) in kinds.take_while(head) {
            match kind {
                ElementKind::System => {
                    if heads.len() == HEADS_MAX - 1 {
                        heads.remove(0);
                    }
                    heads.push(at);
                }
                _ => tool = Some(at),
            }
        }
        if let Some(at) = tool {
            heads.insert(0, at);
        }
        heads
    }
}

const HEADS_MAX: usize = 8;

#[cfg(test)]
mod tests;
