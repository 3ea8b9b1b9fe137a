//! The tables of ROUTING 4.4, run anew on a trace: the ground on which a policy is judged.
//!
//! The figures there come from all sessions, one placement; a trace at hand has some of them. `tests` says how near the ratios come, and
//! why they differ where they do.

use super::baseline::{Baseline, By, Cost, Routing};
use super::book::Prices;
use super::cache::{Life, Lives, Rules, Semantics};
use super::endpoint;
use super::goal::{Bound, Goal};
use super::lifetime::{Known, Lifetime};
use super::limit::Allowance;
use super::ours::{Marking, Ours, offer};
use super::row::{Row, Table};
use super::run::{Outcome, REFERENCE_RATE, Setup, run};
use super::trace::{Half, Trace, span};
use crate::config;
use std::collections::BTreeMap;
use std::time::Duration;

/// Routing alone: every prompt is cached for the short lifetime.
#[derive(Clone, Debug)]
pub struct Question {
    pub pools: usize,
    /// Input tokens that each pool lets through, in multiples of the mean need; `None` for no limits.
    pub limits: Option<f64>,
    pub seeds: Vec<u64>,
    /// Probability that the provider has lost what a request would read.
    pub loss: f64,
    /// Content elements that the provider looks back from a mark.
    pub look_back: Option<u32>,
    /// The weights of the production decision.
    pub routing: config::Routing,
    /// Only these sessions.
    pub half: Option<Half>,
}

/// How the production decision is named in tables.
pub const OURS: &str = "stokehold";

/// Anthropic, prompt caching, read 2026-08.
const LOOK_BACK: u32 = 20;

impl Default for Question {
    fn default() -> Self {
        Self {
            pools: 8,
            limits: None,
            seeds: vec![1, 2, 3],
            loss: 0.0,
            look_back: Some(LOOK_BACK),
            routing: config::Routing::default(),
            half: None,
        }
    }
}

/// The baselines of ROUTING 4.3, dearest first.
pub const ROUTINGS: [(&str, Routing); 12] = [
    ("round robin", Routing::RoundRobin),
    ("random", Routing::Random),
    ("least busy", Routing::LeastBusy),
    ("head hash + bounded load", Routing::BoundedLoad(By::Head)),
    (
        "session hash + bounded load",
        Routing::BoundedLoad(By::Session),
    ),
    ("SGLang cache_aware", Routing::CacheAware),
    ("LMetric", Routing::LMetric),
    ("session rendezvous", Routing::Session),
    ("OpenRouter-like", Routing::OpenRouter),
    ("greedy longest prefix", Routing::Longest),
    ("expected cost, lambda 0", Routing::Cost(Cost::PLAIN)),
    ("expected cost + shadow price", Routing::Cost(Cost::SHADOW)),
];

/// Sessions are cut there for routing (ROUTING 4.6).
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// ROUTING 4.4: the buckets of the rows with limits hold a minute.
const BURST: Duration = Duration::from_secs(60);

/// How the cache of a trace is modelled: entries at marks for agents, blocks for chat.
pub(super) fn rules(trace: &Trace, look_back: Option<u32>) -> Rules {
    Rules {
        semantics: if trace.is_of_chats() {
            Semantics::Blocks
        } else {
            Semantics::Entries { look_back }
        },
        ..Rules::default()
    }
}

impl Question {
    fn setup(&self, trace: &Trace, pools: usize, seed: u64) -> Setup {
        Setup {
            pools,
            seed,
            longest: Some(LONGEST),
            half: self.half,
            endpoint: endpoint::Setup {
                cache: rules(trace, self.look_back),
                loss: self.loss,
                ..endpoint::Setup::default()
            },
            ..Setup::default()
        }
    }

    /// Every routing of `which`, as ratios to one shared pool without limits or losses. `told`: so many rows of so many are done.
    #[must_use]
    pub fn table(
        &self,
        trace: &Trace,
        which: &[(&str, Routing)],
        told: &mut dyn FnMut(usize, usize),
    ) -> Table {
        let prices = Prices::default();
        // The reference, those of `which`, and ours.
        let all = which.len() + 2;
        told(0, all);
        let shared = self.shared(trace);
        let reference = Row::of("one shared pool", &shared, prices);
        let mut rows: Vec<Row> = which
            .iter()
            .enumerate()
            .map(|(n, (name, routing))| {
                told(n + 1, all);
                let outcomes = self.outcomes(trace, *routing, &shared);
                Row::of(*name, &outcomes, prices).against(&reference)
            })
            .collect();
        told(all - 1, all);
        let ours = Row::of(OURS, &self.ours(trace, &shared), prices).against(&reference);
        let goals = self.goals(&ours);
        rows.push(ours);
        rows.push(reference);
        told(all, all);
        let limits = self
            .limits
            .map_or("no limits".to_owned(), |f| format!("limits at {f} × need"));
        let title = format!(
            "routing, {} pools, {limits}, {} seeds",
            self.pools,
            self.seeds.len()
        );
        Table { title, rows, goals }
    }

    /// What issue 4 asks of eight pools whose caches lose nothing: without limits, and at 1.3 times the need.
    fn goals(&self, ours: &Row) -> Vec<Goal> {
        let at_most = |what: &str, most, figure| Goal::new(what, Bound::AtMost(most), figure);
        match self.limits {
            _ if self.loss > 0.0 || self.pools != 8 => Vec::new(),
            None => vec![at_most("no limits: to one shared pool", 1.002, ours.ratio)],
            Some(limits) if (limits - 1.3).abs() < 1e-9 => vec![
                at_most("limits at 1.3 × need: to one shared pool", 1.01, ours.ratio),
                at_most(
                    "limits at 1.3 × need: wait, 99th of 100, seconds",
                    0.5,
                    ours.delay_p99_seconds,
                ),
                at_most(
                    "limits at 1.3 × need: 429s a request",
                    0.001,
                    ours.refusals_per_request,
                ),
            ],
            Some(_) => Vec::new(),
        }
    }

    /// One pool without limits or losses: what everything is a ratio to.
    #[must_use]
    pub fn shared(&self, trace: &Trace) -> Vec<Outcome> {
        let ideal = Self {
            loss: 0.0,
            ..self.clone()
        };
        let one = |seed: &u64| {
            let mut policy =
                Baseline::new(Routing::RoundRobin, Lifetime::Always(Life::Short), *seed);
            run(trace, &ideal.setup(trace, 1, *seed), &mut policy)
        };
        self.seeds.iter().map(one).collect()
    }

    fn outcomes(&self, trace: &Trace, routing: Routing, shared: &[Outcome]) -> Vec<Outcome> {
        let one = |(seed, ideal): (&u64, &Outcome)| {
            let mut setup = self.setup(trace, self.pools, *seed);
            setup.endpoint.allowance = self.allowance(ideal);
            let mut policy = Baseline::new(routing, Lifetime::Always(Life::Short), *seed);
            run(trace, &setup, &mut policy)
        };
        self.seeds.iter().zip(shared).map(one).collect()
    }

    /// The production decision, with what a router sees.
    fn ours(&self, trace: &Trace, shared: &[Outcome]) -> Vec<Outcome> {
        let one = |(seed, ideal): (&u64, &Outcome)| {
            let mut setup = self.setup(trace, self.pools, *seed);
            setup.endpoint.allowance = self.allowance(ideal);
            let cache = (&setup.endpoint.cache, trace.block_tokens);
            let marking = Marking::Always(Life::Short);
            let (allowance, prices) = (&setup.endpoint.allowance, &setup.endpoint.prices);
            let mut policy =
                Ours::new(&self.routing, self.pools, cache, allowance, prices, marking);
            run(trace, &setup, &mut policy)
        };
        self.seeds.iter().zip(shared).map(one).collect()
    }

    /// What each pool allows, from what one shared pool would have needed.
    #[must_use]
    pub fn allowance(&self, ideal: &Outcome) -> Allowance {
        let book = ideal.book();
        let uncached = (book.input() - book.read) as f64;
        let per_minute = uncached / (book.requests as f64).max(1.0) * REFERENCE_RATE * 60.0;
        Allowance {
            input_per_minute: self.limits.map(|f| f * per_minute / self.pools as f64),
            burst: BURST,
            ..Allowance::default()
        }
    }
}

/// Lifetimes on the test half, one pool, no limits: the second table of ROUTING 4.4.
#[derive(Clone, Debug)]
pub struct Lifetimes {
    /// Price of a read as a multiple of plain input.
    pub read: f64,
    /// Whether a long entry protects a shorter-lived prefix: ROUTING 1.6, probe A.
    pub long_protects: bool,
    pub lives: Lives,
    pub seeds: Vec<u64>,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            read: 0.1,
            long_protects: true,
            lives: Lives::FIVE_MINUTES_OR_AN_HOUR,
            seeds: vec![1, 2, 3],
        }
    }
}

impl Lifetimes {
    /// All rows; ratios are to the clairvoyant lifetime, or to clairvoyant pings where a long entry does not protect.
    #[must_use]
    pub fn table(&self, trace: &Trace) -> Table {
        let prices = Prices {
            read: self.read,
            ..Prices::default()
        };
        let known = Known::of(trace, prices, self.lives);
        let mut rows: Vec<Row> = policies(&known)
            .into_iter()
            .map(|(name, lifetime)| self.row(trace, name, &lifetime, Half::Test, prices))
            .collect();
        rows.extend(self.by_session(trace, &rows, prices));
        rows.push(self.ours(trace, prices));
        let best = if self.long_protects {
            CLAIRVOYANT
        } else {
            CLAIRVOYANT_PINGS
        };
        if let Some(reference) = rows.iter().find(|row| row.policy == best).cloned() {
            rows = rows
                .into_iter()
                .map(|row| row.against(&reference))
                .collect();
        }
        let goals = self.goals(trace, &rows, prices);
        let protects = if self.long_protects {
            "protects"
        } else {
            "does not protect"
        };
        let title = format!(
            "lifetimes, test half, a read at {}, an hour's entry {protects} its prefix",
            self.read
        );
        Table { title, rows, goals }
    }

    /// ROUTING 4.5 and issue 4: near who knows the pauses to come, whichever of the two holds. Without relying on what nobody documents, not far from
    /// who does and knows.
    fn goals(&self, trace: &Trace, rows: &[Row], prices: Prices) -> Vec<Goal> {
        let Some(ours) = rows.iter().find(|row| row.policy == OURS) else {
            return Vec::new();
        };
        if self.long_protects {
            let what = "lifetimes, an hour protects: to the clairvoyant";
            return vec![Goal::new(what, Bound::AtMost(1.05), ours.ratio)];
        }
        let known = Known::of(trace, prices, self.lives);
        let relies = Self {
            long_protects: true,
            ..self.clone()
        };
        let best = Lifetime::Clairvoyant(known);
        let best = relies.row(trace, CLAIRVOYANT, &best, Half::Test, prices);
        vec![
            Goal::new(
                "lifetimes, an hour protects nothing: to clairvoyant pings",
                Bound::AtMost(1.05),
                ours.ratio,
            ),
            Goal::new(
                "lifetimes, what is documented alone: to the clairvoyant where an hour protects",
                Bound::AtMost(1.2),
                ours.clone().against(&best).ratio,
            ),
        ]
    }

    fn setup(&self, trace: &Trace, half: Half, prices: Prices, seed: u64) -> Setup {
        Setup {
            seed,
            half: Some(half),
            endpoint: endpoint::Setup {
                cache: Rules {
                    lives: self.lives,
                    long_protects: self.long_protects,
                    // One pool misses nothing by it, and ROUTING 4.6 leaves it out.
                    ..rules(trace, None)
                },
                prices,
                ..endpoint::Setup::default()
            },
            // Half of the sessions come half as often.
            requests_per_second: REFERENCE_RATE,
            ..Setup::default()
        }
    }

    /// The production decision, with marks of its own.
    fn ours(&self, trace: &Trace, prices: Prices) -> Row {
        let one = |seed: &u64| {
            let setup = self.setup(trace, Half::Test, prices, *seed);
            let cache = &setup.endpoint.cache;
            let mut policy = Ours::new(
                &config::Routing::default(),
                1,
                (cache, trace.block_tokens),
                &setup.endpoint.allowance,
                &prices,
                Marking::Placed(offer(cache, &prices)),
            );
            run(trace, &setup, &mut policy)
        };
        let outcomes: Vec<Outcome> = self.seeds.iter().map(one).collect();
        Row::of(OURS, &outcomes, prices)
    }

    fn row(
        &self,
        trace: &Trace,
        name: &str,
        lifetime: &Lifetime,
        half: Half,
        prices: Prices,
    ) -> Row {
        let one = |seed: &u64| {
            let setup = self.setup(trace, half, prices, *seed);
            let mut policy = Baseline::new(Routing::RoundRobin, lifetime.clone(), *seed);
            run(trace, &setup, &mut policy)
        };
        let outcomes: Vec<Outcome> = self.seeds.iter().map(one).collect();
        Row::of(name, &outcomes, prices)
    }

    /// Sessions that choose one lifetime for all their requests: with hindsight, and by what their first prompt told in training.
    fn by_session(&self, trace: &Trace, rows: &[Row], prices: Prices) -> Vec<Row> {
        let find = |name| rows.iter().find(|row| row.policy == name);
        let (Some(short), Some(long)) = (find(SHORT), find(LONG)) else {
            return Vec::new();
        };
        let hindsight = |session| short.paid_by(session) < long.paid_by(session);
        let train = |life| self.row(trace, SHORT, &Lifetime::Always(life), Half::Train, prices);
        let (short_then, long_then) = (train(Life::Short), train(Life::Long));
        // By kind: what the short lifetime cost more than the long one in training.
        let mut excess: BTreeMap<(u16, u32), f64> = BTreeMap::new();
        for session in 0..trace.sessions.len() as u32 {
            let more = short_then.paid_by(session) - long_then.paid_by(session);
            *excess.entry(kind(trace, session)).or_default() += more;
        }
        let learned = |session| {
            excess
                .get(&kind(trace, session))
                .is_some_and(|more| *more < 0.0)
        };
        vec![
            short.choose(long, "session-level, learned", learned),
            short.choose(long, "session-level, hindsight", hindsight),
        ]
    }
}

/// What a router knows of a session at its first request: the model and the size of the prompt, by doublings.
fn kind(trace: &Trace, session: u32) -> (u16, u32) {
    let streams = span(&trace.sessions[session as usize].streams);
    let first = trace.streams[streams.start].requests.start as usize;
    let request = &trace.requests[first];
    (request.model, request.prompt_tokens.max(1).ilog2())
}

pub const SHORT: &str = "5m always";
pub const LONG: &str = "1h always";
pub const CLAIRVOYANT: &str = "clairvoyant lifetime";
pub const CLAIRVOYANT_PINGS: &str = "clairvoyant 5m pings";

fn policies(known: &Known) -> Vec<(&'static str, Lifetime)> {
    vec![
        ("no cache", Lifetime::Nothing),
        (SHORT, Lifetime::Always(Life::Short)),
        (LONG, Lifetime::Always(Life::Long)),
        ("5m + 3 pings", Lifetime::Pings(3)),
        ("5m + hazard pings", Lifetime::HazardPings(known.clone())),
        (CLAIRVOYANT_PINGS, Lifetime::ClairvoyantPings(known.clone())),
        ("lazy upgrade ping", Lifetime::Lengthen),
        ("adaptive, learned", Lifetime::Adaptive(known.clone())),
        (
            "adaptive + upgrade",
            Lifetime::AdaptiveLengthen(known.clone()),
        ),
        (CLAIRVOYANT, Lifetime::Clairvoyant(known.clone())),
    ]
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
