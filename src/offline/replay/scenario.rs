//! What a trace does not show by itself: requests that fan out, chats of which most are asked once, and providers that do not keep what they promise.
//!
//! Each is a table with its goals (issue 4, ROUTING 4.5), by the same policy code as all others.

use super::book::{Book, Prices};
use super::cache::{Hit, Life, Lives, Mark, Rules};
use super::endpoint::{self, Served};
use super::goal::{Bound, Goal};
use super::limit::Allowance;
use super::ours::{Marking, Ours, Seen, Watch, offer};
use super::policy::{Asked, Choice, Idle, Marks, Policy, Pools};
use super::reference::{OURS, rules};
use super::row::{Row, Table};
use super::run::{Outcome, Setup, run};
use super::trace::{Fan, Trace};
use crate::base::Instant;
use crate::config;
use std::collections::BTreeMap;
use std::time::Duration;

/// All that a run of ours needs to know.
fn ours(setup: &Setup, trace: &Trace, routing: &config::Routing, marking: Marking) -> Ours {
    let endpoint = &setup.endpoint;
    Ours::new(
        routing,
        setup.pools,
        (&endpoint.cache, trace.block_tokens),
        &endpoint.allowance,
        &endpoint.prices,
        marking,
    )
}

/// Requests that begin alike and come at once, over several pools.
#[derive(Clone, Debug)]
pub struct Fanning {
    pub pools: usize,
    pub seeds: Vec<u64>,
    pub routing: config::Routing,
}

impl Fanning {
    /// Groups of 8 within two seconds, and of 100 at once.
    #[must_use]
    pub fn table(&self) -> Table {
        let prices = Prices::default();
        let mut table = Table {
            title: format!("fan-out over 20,000 shared tokens, {} pools", self.pools),
            ..Table::default()
        };
        for (members, within) in [(8, 2), (100, 0)] {
            let fan = Fan {
                members,
                within: Duration::from_secs(within),
                ..Fan::default()
            };
            let outcomes: Vec<(Outcome, Outcome)> =
                self.seeds.iter().map(|seed| self.run(fan, *seed)).collect();
            let (alone, held): (Vec<Outcome>, Vec<Outcome>) = outcomes.into_iter().unzip();
            let alone = Row::of(format!("{members}: each for itself"), &alone, prices);
            let (writes, saved) = spent(&held, &fan, &prices);
            let ours = Row::of(format!("{members}: {OURS}"), &held, prices).against(&alone);
            let of = |figure: &str| format!("{members} at once: {figure}");
            table.goals.push(match members {
                8 => Goal::new(of("write cost saved"), Bound::AtLeast(0.79), saved),
                _ => Goal::new(of("writes a group"), Bound::AtMost(1.0), writes),
            });
            if members == 100 {
                let reads = f64::from(members) - writes;
                table
                    .goals
                    .push(Goal::new(of("reads a group"), Bound::AtLeast(99.0), reads));
            }
            table.rows.extend([alone, ours]);
        }
        table
    }

    /// Without holding back, and as ours.
    fn run(&self, fan: Fan, seed: u64) -> (Outcome, Outcome) {
        let trace = Fan { seed, ..fan }.trace();
        let setup = Setup {
            pools: self.pools,
            seed,
            endpoint: endpoint::Setup {
                cache: Rules {
                    long_protects: false,
                    ..Rules::default()
                },
                ..endpoint::Setup::default()
            },
            ..Setup::default()
        };
        let one = Setup {
            pools: 1,
            ..setup.clone()
        };
        let alone = run(&trace, &one, &mut Straight::short());
        let marking = Marking::Placed(offer(&setup.endpoint.cache, &setup.endpoint.prices));
        let mut policy = ours(&setup, &trace, &self.routing, marking);
        (alone, run(&trace, &setup, &mut policy))
    }
}

/// Groups whose tenant nothing is known of yet. What comes at once for the first time is marked from its second request on.
const STRANGE_GROUPS: u32 = 5;

/// Of the groups after the first few: prompts a group that did not find the shared tokens cached, and the part saved of what it costs that all write them.
fn spent(outcomes: &[Outcome], fan: &Fan, prices: &Prices) -> (f64, f64) {
    let mut book = Book::default();
    let mut groups = 0.0;
    for outcome in outcomes {
        for (_, of) in outcome.sessions.range(STRANGE_GROUPS..) {
            book += *of;
            groups += 1.0;
        }
    }
    let head = f64::from(fan.head_tokens / 64 * 64);
    let read = book.read as f64 / head;
    let missed = book.requests as f64 - read;
    let all = book.requests as f64 * prices.write_short;
    let paid = missed * prices.write_short + read * prices.read;
    (missed / f64::max(groups, 1.0), 1.0 - paid / all)
}

/// Everything to the one pool, at once.
struct Straight {
    /// Blocks to cache of each request; all where it is not told.
    upto: Option<Vec<u32>>,
}

impl Straight {
    fn short() -> Self {
        Self { upto: None }
    }
}

impl Policy for Straight {
    fn choose(&mut self, _: Instant, _: &Asked<'_>, _: &Pools<'_>) -> Choice {
        Choice::Send(0)
    }

    fn marks(&mut self, asked: &Asked<'_>, _: &Hit) -> Marks {
        let mark = |blocks: u32| Mark {
            blocks,
            position: asked.ask.request.position,
            life: Life::Short,
        };
        match &self.upto {
            None => asked.ask.marks.iter().copied().collect(),
            Some(upto) => Some(upto[asked.index])
                .filter(|n| *n > 0)
                .map(mark)
                .into_iter()
                .collect(),
        }
    }

    fn served(&mut self, _: Instant, _: &Asked<'_>, _: usize, _: &Served) {}

    fn idle(&mut self, _: &Asked<'_>, _: u32) -> Idle {
        Idle::Rest
    }
}

/// What is worth writing of a trace whose requests have times of their own: one pool, blocks, no limits.
#[derive(Clone, Debug)]
pub struct Admission {
    pub prices: Prices,
    pub lives: Lives,
    /// Whether the long lifetime may be asked for as well.
    pub long: bool,
    pub routing: config::Routing,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            prices: Prices::default(),
            lives: Lives::FIVE_MINUTES_OR_AN_HOUR,
            long: false,
            routing: config::Routing::default(),
        }
    }
}

impl Admission {
    /// Nothing written, all, what will be read, and what ours writes.
    #[must_use]
    pub fn table(&self, trace: &Trace) -> Table {
        let setup = Setup {
            endpoint: endpoint::Setup {
                cache: Rules {
                    lives: self.lives,
                    ..rules(trace, None)
                },
                prices: self.prices,
                ..endpoint::Setup::default()
            },
            ..Setup::default()
        };
        let row = |name: &str, policy: &mut dyn Policy| {
            Row::of(name, &[run(trace, &setup, policy)], self.prices)
        };
        let upto = |upto| Straight { upto: Some(upto) };
        let nothing = row("no cache", &mut upto(vec![0; trace.requests.len()]));
        let always = row("always", &mut Straight::short()).against(&nothing);
        let oracle = row("admission oracle", &mut upto(self.read_again(trace))).against(&nothing);
        let mut offer = offer(&setup.endpoint.cache, &self.prices);
        offer.long = offer.long.filter(|_| self.long);
        let mut policy = ours(&setup, trace, &self.routing, Marking::Placed(offer));
        let ours = row(OURS, &mut policy).against(&nothing);
        let share = ours.gap_closed(&nothing, &oracle);
        let goals = vec![
            Goal::new(
                "chat: share of what the admission oracle saves",
                Bound::AtLeast(0.55),
                share,
            ),
            Goal::new("chat: to no cache at all", Bound::AtMost(1.0), ours.ratio),
        ];
        Table {
            title: format!("admission, {} s, one pool", self.lives.short.as_secs()),
            rows: vec![nothing, always, ours, oracle],
            goals,
        }
    }

    /// Of each request, how many leading blocks are asked for again within the short lifetime.
    fn read_again(&self, trace: &Trace) -> Vec<u32> {
        let mut order: Vec<(Duration, usize)> = Vec::new();
        for session in &trace.sessions {
            for stream in &trace.streams[super::trace::span(&session.streams)] {
                let mut at = session.starts.unwrap_or_default() + stream.begins;
                for index in super::trace::span(&stream.requests) {
                    at += trace.requests[index].gap;
                    order.push((at, index));
                }
            }
        }
        order.sort_unstable();
        let mut next: BTreeMap<u64, Duration> = BTreeMap::new();
        let mut upto = vec![0; trace.requests.len()];
        for (at, index) in order.into_iter().rev() {
            let ids = || {
                trace.requests[index]
                    .prompt
                    .runs()
                    .iter()
                    .flat_map(|run| run.ids())
            };
            let soon = |id: &u64| {
                next.get(id)
                    .is_some_and(|then| *then - at < self.lives.short)
            };
            upto[index] = ids().take_while(soon).count() as u32;
            next.extend(ids().map(|id| (id, at)));
        }
        upto
    }
}

/// Providers that lose entries, or cut a lifetime without a word.
#[derive(Clone, Debug)]
pub struct Drifts {
    pub pools: usize,
    pub seeds: Vec<u64>,
    pub routing: config::Routing,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Drift {
    Loss(f64),
    /// An hour becomes five minutes.
    Cut,
}

/// Within so many bills of each pool a belief is to be right.
const SOON: f64 = 50.0;

impl Drifts {
    /// Of each: what it costs, and after how many bills what is believed is right.
    #[must_use]
    pub fn table(&self, trace: &Trace) -> Table {
        let prices = Prices::default();
        let mut table = Table {
            title: format!(
                "providers that do not keep what they promise, {} pools",
                self.pools
            ),
            ..Table::default()
        };
        for (name, drift) in [
            ("evictions of 2 %", Drift::Loss(0.02)),
            ("evictions of 10 %", Drift::Loss(0.1)),
            ("an hour becomes five minutes", Drift::Cut),
        ] {
            let runs = self.seeds.iter().map(|seed| self.run(trace, drift, *seed));
            let (outcomes, seen): (Vec<Outcome>, Vec<Vec<Seen>>) = runs.unzip();
            let seen: Vec<Seen> = seen.into_iter().flatten().collect();
            let row = Row::of(format!("{OURS}, {name}"), &outcomes, prices);
            table.rows.push(row);
            table.goals.push(Goal::new(
                format!("{name}: bills until right, half of the pools"),
                Bound::AtMost(SOON),
                median(&seen, |seen| seen.bills),
            ));
            if matches!(drift, Drift::Cut) {
                table.goals.push(Goal::new(
                    format!("{name}: bills that could tell until right, half of the pools"),
                    Bound::AtMost(SOON),
                    median(&seen, |seen| seen.telling),
                ));
            }
        }
        table
    }

    fn run(&self, trace: &Trace, drift: Drift, seed: u64) -> (Outcome, Vec<Seen>) {
        let lives = Lives::FIVE_MINUTES_OR_AN_HOUR;
        let short = Lives {
            long: lives.short,
            ..lives
        };
        // In the middle of the sessions' window.
        let middle = Instant::default() + Duration::from_secs(2 * 3600);
        let setup = Setup {
            pools: self.pools,
            seed,
            endpoint: endpoint::Setup {
                cache: rules(trace, None),
                loss: match drift {
                    Drift::Loss(loss) => loss,
                    Drift::Cut => 0.0,
                },
                new_lives: match drift {
                    Drift::Loss(_) => None,
                    Drift::Cut => Some((middle, short)),
                },
                allowance: Allowance::default(),
                ..endpoint::Setup::default()
            },
            ..Setup::default()
        };
        let (marking, watch) = match drift {
            Drift::Loss(loss) => (
                Life::Short,
                watch(Instant::default(), 60, lives.short, (1.0 - loss, 0.06)),
            ),
            // Twice as old as entries get now.
            Drift::Cut => (Life::Long, watch(middle, 600, lives.long, (0.0, 0.5))),
        };
        let mut policy = ours(&setup, trace, &self.routing, Marking::Always(marking));
        policy.watch(watch);
        let outcome = run(trace, &setup, &mut policy);
        let seen = policy.watched().map(|watch| watch.seen.clone());
        (outcome, seen.unwrap_or_default())
    }
}

fn watch(from: Instant, age: u64, life: Duration, (truth, within): (f64, f64)) -> Watch {
    Watch {
        from,
        age: Duration::from_secs(age),
        life,
        truth,
        within,
        seen: Vec::new(),
    }
}

/// Of the pools that were asked at all; those that never came to be right count as without end.
fn median(seen: &[Seen], of: impl Fn(&Seen) -> u32) -> f64 {
    let asked = seen.iter().filter(|seen| seen.bills > 0);
    let figure = |seen: &Seen| {
        if seen.is_right {
            f64::from(of(seen))
        } else {
            f64::INFINITY
        }
    };
    let mut figures: Vec<f64> = asked.map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
