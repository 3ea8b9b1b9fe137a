//! The production decision in a replay: the same index, beliefs, twins of limits, sum and choice as a shard uses, fed with what a router sees.
//!
//! It never looks into an endpoint. It knows the configured limits and prices, what it has sent itself, refusals, and, when an answer begins or
//! ends, what a provider tells: the headers' remainder, and the bill.

use super::book::Prices;
use super::cache::{Hit, Rules, Semantics};
use super::endpoint::Served;
use super::limit::Allowance;
use super::policy::{Asked, Choice, Idle, Marks, Policy, Pools};
use crate::base::{EndpointId, FixedHasher, Instant, NanoUsd, PoolId, TokenPrice, Tokens};
use crate::canon::CacheTtl;
use crate::config::Routing;
use crate::policy::bill::Price;
use crate::policy::candidate::Candidate;
use crate::policy::capacity::{
    Ask, Dimension, Limit, Numbers, Reservation, Room, Rule, Told, Used, Worth,
};
use crate::policy::choose::{self, Weighing, choose};
use crate::policy::cost::{self, Prospect, futures, hold};
use crate::policy::estimate::{FirstToken, Habit, Pace};
use crate::policy::fingerprint::{Blocks, Boundary, InstanceSecret, ScopeKey};
use crate::policy::health::Steadiness;
use crate::policy::marks::{self, MARKS_MAX, Offer};
use crate::policy::prefix::{self, Begun, Matching};
use crate::policy::warmth::{Expected, Warmth};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Prompts as a router reads them.
mod reading;
pub use reading::Marking;
use reading::{Reader, Reading};

/// What a shard would know and do.
pub struct Ours {
    weighing: Weighing,
    headroom: u64,
    price: Price,
    rules: prefix::Rules,
    reader: Reader,
    warmth: Warmth,
    places: Vec<Place>,
    habit: Habit,
    sent: Vec<Option<Sent>>,
    /// When something is heard of what was sent.
    news: BinaryHeap<Reverse<(Instant, usize, Heard)>>,
    /// What the last choice was about, for what follows it.
    chosen: Option<Chosen>,
    turn: u64,
    watch: Option<Watch>,
    /// Since when requests wait and how they were read, by their place in the trace.
    waiting: HashMap<usize, (Instant, Reading), FixedHasher>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    Begun,
    Ended,
}

struct Place {
    scope: ScopeKey,
    limit: Option<Limit>,
    /// As the answers' headers name it.
    input_per_minute: Option<u64>,
    first: FirstToken,
    pace: Pace,
    steady: Steadiness,
    closed_until: Instant,
}

/// When a belief comes true: from a moment on, how likely an entry of some age is there whose promised life is `life`.
#[derive(Clone, Debug)]
pub struct Watch {
    pub from: Instant,
    pub age: Duration,
    pub life: Duration,
    pub truth: f64,
    /// So near is right.
    pub within: f64,
    /// Of each place: bills until it was right, those among them that could tell, and whether it has come to be.
    pub seen: Vec<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub bills: u32,
    /// Bills of requests that expected an entry at least so old.
    pub telling: u32,
    pub is_right: bool,
}

struct Chosen {
    endpoint: usize,
    expected: Expected,
    ask: Ask,
}

/// A request that is under way.
struct Sent {
    place: usize,
    at: Instant,
    expected: Expected,
    begun: Begun,
    held: Option<Reservation>,
    served: Served,
}

/// The longest that a request waits for a better place, as `limits.queue_time` has it by default. Nobody gives up in a replay.
const PATIENCE: Duration = Duration::from_secs(30);
/// When a place will be free is not known: it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl Ours {
    /// For `pools` endpoints of one kind: their cache's rules, what they allow, and what they charge.
    #[must_use]
    pub fn new(
        routing: &Routing,
        pools: usize,
        (rules, block_tokens): (&Rules, u32),
        allowance: &Allowance,
        prices: &Prices,
        marking: Marking,
    ) -> Self {
        let secret = InstanceSecret::new(&[9; 32]);
        let place = |n: usize| Place {
            scope: secret.scope("replay", &n.to_string(), "model"),
            limit: limit(allowance),
            input_per_minute: allowance.input_per_minute.map(|rate| rate as u64),
            first: FirstToken::default(),
            pace: Pace::default(),
            steady: Steadiness::default(),
            closed_until: Instant::default(),
        };
        Self {
            weighing: routing.weighing(routing.strategy, routing.second, PATIENCE),
            headroom: routing.headroom_permille(),
            price: price(prices),
            rules: cache_rules(rules, block_tokens),
            reader: Reader::new(marking),
            warmth: Warmth::new(1 << 20),
            places: (0..pools).map(place).collect(),
            habit: Habit::default(),
            sent: Vec::new(),
            news: BinaryHeap::new(),
            chosen: None,
            turn: 0,
            watch: None,
            waiting: HashMap::default(),
        }
    }

    /// Whatever has been heard by now.
    fn hear(&mut self, now: Instant) {
        while let Some(Reverse((at, number, what))) = self.news.peek().copied() {
            if at > now {
                break;
            }
            self.news.pop();
            match what {
                Heard::Begun => self.begun(number, at),
                Heard::Ended => self.ended(number, at),
            }
        }
    }

    fn begun(&mut self, number: usize, at: Instant) {
        let Some(sent) = &mut self.sent[number] else {
            return;
        };
        self.warmth.warmed(&sent.begun, at);
        let place = &mut self.places[sent.place];
        let uncached = Tokens(sent.served.book.input() - sent.served.book.read);
        place.first.saw(uncached, at - sent.at);
        if let (Some(limit), Some(remaining)) = (&mut place.limit, sent.served.remaining) {
            let told = Told {
                limit: place.input_per_minute,
                remaining: Some(remaining),
                full_in: sent.served.full_at.map(|full_at| full_at - at),
            };
            limit.heed(Dimension::Input, told, sent.held.as_mut(), at);
        }
    }

    fn ended(&mut self, number: usize, at: Instant) {
        let Some(mut sent) = self.sent[number].take() else {
            return;
        };
        let (place, book) = (&mut self.places[sent.place], sent.served.book);
        let output = Tokens(book.output);
        place.steady.saw(false, at);
        place.pace.saw(output, at - sent.served.first_byte);
        self.habit.lengths.saw(output);
        let used = Used {
            input: Tokens(book.input() - book.read),
            cache_read: Tokens(book.read),
            output,
        };
        if let (Some(limit), Some(held)) = (&mut place.limit, sent.held.take()) {
            limit.settle(held, Some(used), at);
        }
        let (read, scope) = (Tokens(book.read), place.scope);
        self.warmth.billed(scope, &sent.expected, &sent.begun, read);
        self.look(&sent, scope);
    }

    /// Looks at what is believed, where somebody watches it.
    pub fn watch(&mut self, watch: Watch) {
        let seen = vec![Seen::default(); self.places.len()];
        self.watch = Some(Watch { seen, ..watch });
    }

    #[must_use]
    pub fn watched(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    fn look(&mut self, sent: &Sent, scope: ScopeKey) {
        let Some(watch) = self.watch.as_mut().filter(|watch| sent.at >= watch.from) else {
            return;
        };
        let (Some(found), seen) = (sent.expected.found, &mut watch.seen[sent.place]) else {
            return;
        };
        if !seen.is_right {
            seen.bills += 1;
            seen.telling += u32::from(found.age >= watch.age);
            let believed = self.warmth.believed(scope, watch.age, watch.life);
            seen.is_right = (believed - watch.truth).abs() <= watch.within;
        }
    }

    fn candidates(
        &self,
        now: Instant,
        asked: &Asked<'_>,
        pools: &Pools<'_>,
        bounds: &[Boundary],
    ) -> Vec<(Candidate, Expected)> {
        let input = Tokens(u64::from(asked.ask.request.prompt_tokens));
        let output = self.habit.lengths.expected(None);
        let turns = self.habit.turns();
        let mut later = Vec::with_capacity(self.places.len());
        let mut found: Vec<(Candidate, Expected)> = Vec::with_capacity(self.places.len());
        for (n, place) in self.places.iter().enumerate() {
            let at = prefix::Asked {
                bounds,
                scope: place.scope,
                rules: &self.rules,
            };
            let expected = self.warmth.expect(&at, now);
            let prospect = Prospect {
                price: &self.price,
                input,
                cached: expected.cached().min(input),
                warm: expected.warm,
                written: expected.written.min(input),
                ttl: expected.ttl,
                output,
                first: &place.first,
                pace: &place.pace,
                crowded: 1.0,
                fails: place.steady.fails(now),
                second: self.weighing.second,
            };
            let gate = gate(&prospect, &expected, self.weighing.patience);
            let prospect = gate.map_or(prospect, |(warm, _)| warm);
            let read = prospect.read();
            let ask = Ask {
                input: Tokens(input.0 - read.0),
                cache_read: read,
                output,
                output_most: None,
            };
            let (mut terms, saves) = prospect.terms();
            let worth = Worth {
                input: self.price.input,
                output: self.price.output,
                request: terms.bill(),
                weight: self.headroom,
                most: NanoUsd(i64::MAX),
            };
            let limit = place.limit.as_ref();
            terms.headroom = limit.map_or(NanoUsd::ZERO, |l| l.shadow(&ask, &worth, now));
            let mut room = limit.map_or(Room::Now, |l| l.room(ask, now));
            if now < place.closed_until {
                room = room.max(Room::In(place.closed_until - now));
            }
            if let Some((_, opens_in)) = gate {
                // Who waits is told when the answer begins that it waits for, if it waits that long.
                let begins = self.next_answer(n, now).unwrap_or(opens_in);
                room = room.max(Room::In(begins.min(opens_in)));
            }
            later.push((prospect.turn(cost::NEXT_IS_WARM), prospect.arrival()));
            let candidate = Candidate {
                endpoint: EndpointId(n as u16),
                pool: PoolId(n as u16),
                key: None,
                terms,
                ask,
                cached: read,
                saves,
                in_flight: u64::from(pools.in_flight[n]),
                room,
                gate: None,
                frees_in: LOOK_AGAIN,
                shut_until: None,
                preference: 0,
                tried: false,
                affinity: xxh3_128_with_seed(&asked.session.to_le_bytes(), n as u64) as u64,
                turn: (n as u64 + self.places.len() as u64 - self.turn % self.places.len() as u64)
                    % self.places.len() as u64,
            };
            found.push((candidate, expected));
        }
        futures(turns, &later, &mut |at, future| {
            found[at].0.terms.future = future;
        });
        found
    }
}

impl Ours {
    /// How long until the next answer of a place begins.
    fn next_answer(&self, place: usize, now: Instant) -> Option<Duration> {
        let is = |of: usize| self.sent[of].as_ref().is_some_and(|s| s.place == place);
        let begins = self.news.iter().filter_map(|Reverse((at, of, heard))| {
            (*heard == Heard::Begun && is(*of)).then_some(*at - now)
        });
        begins.min()
    }
}

/// Whether it is cheaper to wait for the first byte of a request that writes what this one could read, and how long: as a shard does.
fn gate<'p>(
    prospect: &Prospect<'p>,
    expected: &Expected,
    patience: Duration,
) -> Option<(Prospect<'p>, Duration)> {
    let pending = expected.pending?;
    let cached = pending.tokens.min(prospect.input);
    let warm = Prospect {
        cached,
        warm: expected.pending_warm,
        ..*prospect
    };
    let sums = (prospect.terms().0.total(), warm.terms().0.total());
    let begins = prospect.first.expected(cached);
    let opens_in = hold(sums, begins, pending.age, prospect.second)?;
    (opens_in < patience).then_some((warm, opens_in))
}

impl Policy for Ours {
    fn choose(&mut self, now: Instant, asked: &Asked<'_>, pools: &Pools<'_>) -> Choice {
        self.hear(now);
        // Read once, when it comes, as in life: the keeper counts what it sees.
        let (since, reading) = self
            .waiting
            .remove(&asked.index)
            .unwrap_or_else(|| (now, self.reader.read(asked, &self.rules, now)));
        self.weighing.patience = (since + PATIENCE) - now;
        let mut weighed = self.candidates(now, asked, pools, &reading.bounds);
        self.waiting.insert(asked.index, (since, reading));
        for (n, (candidate, _)) in weighed.iter_mut().enumerate() {
            candidate.tried = asked.refused[n];
        }
        let candidates: Vec<Candidate> = weighed.iter().map(|(c, _)| c.clone()).collect();
        match choose(&candidates, &self.weighing, now) {
            choose::Choice::Go(decision) => {
                let endpoint = usize::from(decision.endpoint.0);
                if asked.refused[endpoint] {
                    return Choice::Refused;
                }
                self.chosen = Some(Chosen {
                    endpoint,
                    expected: weighed[endpoint].1,
                    ask: decision.ask,
                });
                Choice::Send(endpoint)
            }
            choose::Choice::Wait { time, .. } => Choice::Wait(time.unwrap_or(LOOK_AGAIN)),
            choose::Choice::Nobody => Choice::Refused,
        }
    }

    fn marks(&mut self, asked: &Asked<'_>, _: &Hit) -> Marks {
        // What the endpoint holds is not ours to see.
        let reading = self.waiting.get(&asked.index);
        reading.map_or_else(Marks::new, |(_, reading)| reading.marks.clone())
    }

    fn served(&mut self, now: Instant, sent: &Asked<'_>, endpoint: usize, served: &Served) {
        let Some((_, reading)) = self.waiting.remove(&sent.index) else {
            return;
        };
        self.reader.sent(sent, &self.rules);
        let Some(chosen) = self.chosen.take().filter(|c| c.endpoint == endpoint) else {
            return;
        };
        self.turn += 1;
        let place = &mut self.places[endpoint];
        let mut asked = prefix::Asked {
            bounds: &reading.bounds,
            scope: place.scope,
            rules: &self.rules,
        };
        let goes_on = self.warmth.goes_on(&asked, &chosen.expected);
        self.habit.saw_begin(goes_on);
        let found = chosen.expected.cached();
        let read = asked
            .bounds
            .partition_point(|bound| bound.tokens() <= found);
        asked.bounds = &asked.bounds[..reading.written.max(read)];
        let begun = self.warmth.begin(&asked, now);
        let held = place
            .limit
            .as_mut()
            .map(|limit| limit.reserve(chosen.ask, now));
        let number = self.sent.len();
        self.news
            .push(Reverse((served.first_byte, number, Heard::Begun)));
        self.news
            .push(Reverse((served.ended, number, Heard::Ended)));
        self.sent.push(Some(Sent {
            place: endpoint,
            at: now,
            expected: chosen.expected,
            begun,
            held,
            served: *served,
        }));
    }

    fn refused(
        &mut self,
        now: Instant,
        _: &Asked<'_>,
        endpoint: usize,
        retry_after: Option<Duration>,
    ) {
        self.chosen = None;
        let place = &mut self.places[endpoint];
        match (retry_after, &mut place.limit) {
            (Some(wait), limit) => {
                place.closed_until = place.closed_until.max(now + wait);
                if let Some(limit) = limit {
                    // As at Anthropic, whose refusals tell the numbers, so that none is guessed.
                    limit.refused(Some(wait), true, now);
                }
            }
            (None, _) => place.steady.saw(true, now),
        }
    }

    fn idle(&mut self, _: &Asked<'_>, _: u32) -> Idle {
        // Off by default.
        Idle::Rest
    }
}

fn price(prices: &Prices) -> Price {
    let usd = |per_million: f64| TokenPrice((per_million * 1e6).round() as u64);
    let input = |times: f64| usd(prices.input_usd_per_million * times);
    Price {
        input: input(1.0),
        output: usd(prices.output_usd_per_million),
        cache_read: Some(input(prices.read)),
        cache_write_5m: Some(input(prices.write_short)),
        cache_write_1h: Some(input(prices.write_long)),
        ..Price::default()
    }
}

fn cache_rules(rules: &Rules, block_tokens: u32) -> prefix::Rules {
    let marks = |look_back: Option<u32>| Matching::Breakpoints {
        look_back: look_back.map_or(u16::MAX, |n| n.try_into().unwrap_or(u16::MAX)),
        implicit: false,
    };
    let matching = match rules.semantics {
        Semantics::Entries { look_back } => marks(look_back),
        Semantics::Exact => marks(Some(1)),
        Semantics::Blocks | Semantics::Affine { .. } => Matching::Blocks(Blocks {
            size: Tokens(u64::from(block_tokens.max(1))),
            after: Tokens(u64::from(rules.minimum_tokens)),
        }),
    };
    prefix::Rules {
        matching,
        min_tokens: Tokens(u64::from(rules.minimum_tokens)),
        ttl: rules.lives.short,
        refreshes: true,
        long_protects: rules.long_protects,
    }
}

/// What a cache of these rules and prices offers who marks.
#[must_use]
pub fn offer(rules: &Rules, prices: &Prices) -> Offer {
    let look_back = match rules.semantics {
        Semantics::Entries { look_back } => look_back.unwrap_or(u32::MAX),
        Semantics::Exact => 1,
        Semantics::Blocks | Semantics::Affine { .. } => u32::MAX,
    };
    let life = |ttl, write| marks::Life { ttl, write };
    Offer {
        marks_max: MARKS_MAX,
        min_tokens: Tokens(u64::from(rules.minimum_tokens)),
        look_back: look_back.try_into().unwrap_or(u16::MAX),
        implicit: false,
        read: prices.read,
        short: life(CacheTtl::Minutes5, prices.write_short),
        long: Some(life(CacheTtl::Hours1, prices.write_long)),
        long_protects: rules.long_protects,
    }
}

/// The twin of what an endpoint allows, by the rule that it counts by.
fn limit(allowance: &Allowance) -> Option<Limit> {
    let whole = |rate: Option<f64>| rate.map(|rate| rate.max(1.0) as u64);
    let numbers = Numbers {
        requests: whole(allowance.requests_per_minute),
        input: whole(allowance.input_per_minute),
        output: whole(allowance.output_per_minute),
        tokens: whole(allowance.total_per_minute),
        burst: Some(allowance.burst),
        ..Numbers::default()
    };
    let rule = Rule {
        reads_in_input: allowance.cached_counts,
        guard: GUARD,
        rounding: 1_000,
        ..Rule::default()
    };
    let limited = [
        numbers.requests,
        numbers.input,
        numbers.output,
        numbers.tokens,
    ];
    limited
        .iter()
        .any(Option::is_some)
        .then(|| Limit::twin(numbers, rule, 0, 1))
}

/// Thousandths of a limit that are left alone, as `limits.yaml` has it for Anthropic.
const GUARD: u64 = 20;
