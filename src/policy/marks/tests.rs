//! Each rule of where marks go, and what the doorkeeper learns.

use super::*;
use crate::base::{Instant, Rng};
use crate::canon::{CacheMark, Element};
use crate::policy::fingerprint::{Chain, Fingerprint, InstanceSecret};
use std::time::Duration;

/// Claude at Anthropic: 5m for 1.25, 1h for 2, reads for a tenth.
const CLAUDE: Offer = Offer {
    marks_max: 4,
    min_tokens: Tokens(1_024),
    look_back: 20,
    implicit: false,
    read: 0.1,
    short: Life {
        ttl: CacheTtl::Minutes5,
        write: 1.25,
    },
    long: Some(Life {
        ttl: CacheTtl::Hours1,
        write: 2.0,
    }),
    long_protects: true,
};

const GPT: Offer = Offer {
    implicit: true,
    look_back: 80,
    short: Life {
        ttl: CacheTtl::Minutes30,
        write: 1.25,
    },
    long: Some(Life {
        ttl: CacheTtl::Hours12,
        write: 2.0,
    }),
    ..CLAUDE
};

/// One element: what it is, what it says (any text), its tokens, and whose.
#[derive(Clone, Debug)]
struct Part {
    kind: ElementKind,
    text: String,
    tokens: u32,
    models: bool,
    bears: bool,
    mark: Option<CacheMark>,
}

fn part(kind: ElementKind, text: &str, tokens: u32) -> Part {
    let models = matches!(kind, ElementKind::ToolCall | ElementKind::Thinking);
    Part {
        kind,
        text: text.to_owned(),
        tokens,
        models,
        bears: kind != ElementKind::Thinking,
        mark: None,
    }
}

fn tool(text: &str, tokens: u32) -> Part {
    part(ElementKind::Tool, text, tokens)
}

fn system(text: &str, tokens: u32) -> Part {
    part(ElementKind::System, text, tokens)
}

fn user(text: &str, tokens: u32) -> Part {
    part(ElementKind::Text, text, tokens)
}

fn answer(text: &str, tokens: u32) -> Part {
    Part {
        models: true,
        ..part(ElementKind::Text, text, tokens)
    }
}

impl Part {
    fn marked(mut self, ttl: Option<CacheTtl>) -> Self {
        self.mark = Some(CacheMark { ttl });
        self
    }
}

struct Made {
    bounds: Vec<Boundary>,
    spots: Vec<Spot>,
    opener: Fingerprint,
    marks: usize,
}

impl Made {
    fn of(parts: &[Part]) -> Self {
        let salt = InstanceSecret::new(&[1; 32]).salt("t");
        let mut chain = Chain::new();
        chain.begin(&salt, None);
        let mut models = None;
        for part in parts {
            let head = matches!(part.kind, ElementKind::Tool | ElementKind::System);
            if !head && models != Some(part.models) {
                models = Some(part.models);
                let role: &[u8] = if part.models { b"m" } else { b"u" };
                chain.feed(&element(ElementKind::Turn, role, 0, None));
            }
            chain.feed(&element(
                part.kind,
                part.text.as_bytes(),
                part.tokens * 4,
                part.mark,
            ));
        }
        chain.end();
        let spot = |p: &Part| Spot {
            kind: p.kind,
            mark: p.mark,
            bears: p.bears && p.mark.is_none(),
            is_models: p.models,
        };
        Self {
            bounds: chain.boundaries().to_vec(),
            spots: parts.iter().map(spot).collect(),
            opener: chain.opener(),
            marks: parts.iter().filter(|p| p.mark.is_some()).count(),
        }
    }

    fn prompt(&self) -> Prompt<'_> {
        Prompt {
            bounds: &self.bounds,
            spots: &self.spots,
            marks: self.marks,
            nested: false,
        }
    }

    fn placed(&self, offer: &Offer, forecast: &Forecast) -> Vec<(usize, Option<CacheTtl>)> {
        let placed = place(&self.prompt(), offer, forecast);
        placed.marks.iter().map(|m| (m.spot, m.ttl)).collect()
    }

    fn spots(&self, offer: &Offer, forecast: &Forecast) -> Vec<usize> {
        let placed = self.placed(offer, forecast);
        placed.into_iter().map(|(spot, _)| spot).collect()
    }
}

fn element(kind: ElementKind, bytes: &[u8], weight: u32, mark: Option<CacheMark>) -> Element<'_> {
    Element {
        kind,
        bytes,
        weight,
        mark,
    }
}

fn gaps(soon: f64, hour: f64) -> Gaps {
    Gaps([soon, hour, hour, hour, hour])
}

fn likely() -> Forecast {
    Forecast {
        next: gaps(0.9, 0.9),
        ..Forecast::default()
    }
}

fn often(spot: usize, mean_gap_seconds: f64) -> HeadPace {
    HeadPace {
        spot,
        mean_gap_seconds,
        others: None,
        starts: 9,
    }
}

fn at(seconds: u64) -> Instant {
    Instant(seconds * 1_000_000_000)
}

/// An agent's second request: tools 0, instructions 1, its task 2, thinking and a call 3 and 4, the result 5.
fn agent() -> Vec<Part> {
    vec![
        tool("t", 2_000),
        system("s", 3_000),
        user("task", 500),
        part(ElementKind::Thinking, "hm", 100),
        part(ElementKind::ToolCall, "call", 50),
        part(ElementKind::ToolResult, "result", 900),
    ]
}

const HOUR: Option<CacheTtl> = Some(CacheTtl::Hours1);

#[test]
fn the_end_the_instructions_the_turn_before_and_the_tools_are_marked_in_this_order() {
    let made = Made::of(&agent());
    // Instructions that were never seen before cost nothing on the way to an end that is written, and are not worth a write of their own.
    assert_eq!(made.spots(&CLAUDE, &likely()), [1, 2, 5]);
    let warm = Forecast {
        warm: Some(2),
        ..likely()
    };
    assert_eq!(made.spots(&CLAUDE, &warm), [2, 5]);
    assert!(made.spots(&CLAUDE, &Forecast::default()).is_empty());
    let shared = Forecast {
        heads: [often(0, 10.0), often(1, 60.0)].into_iter().collect(),
        ..likely()
    };
    assert_eq!(made.spots(&CLAUDE, &shared), [0, 1, 2, 5]);
    let with = |marks_max| Offer {
        marks_max,
        ..CLAUDE
    };
    assert_eq!(made.spots(&with(3), &shared), [1, 2, 5]);
    assert_eq!(made.spots(&with(2), &shared), [1, 5]);
    assert_eq!(made.spots(&with(1), &shared), [5]);
    assert!(made.spots(&with(0), &shared).is_empty());
    assert_eq!(
        made.spots(&with(9), &shared).len(),
        4,
        "never more than four"
    );
    // Tools that are used no oftener than the instructions behind them need no mark of their own.
    let alike = Forecast {
        heads: [often(0, 60.0), often(1, 60.0)].into_iter().collect(),
        ..likely()
    };
    assert_eq!(made.spots(&CLAUDE, &alike), [1, 2, 5]);
}

#[test]
fn the_clients_marks_count_and_stay_alone_where_they_stand() {
    let mut rng = Rng::seeded(5);
    for _ in 0..5_000 {
        let made = random(&mut rng);
        let forecast = random_forecast(&mut rng, made.spots.len());
        for offer in [CLAUDE, GPT] {
            let placed = made.placed(&offer, &forecast);
            let all = placed.len() + made.marks;
            assert!(all <= 4 || placed.is_empty(), "{placed:?}");
            assert!(placed.is_sorted_by(|a, b| a.0 < b.0), "{placed:?}");
            for (spot, _) in &placed {
                let spot_of = &made.spots[*spot];
                assert!(spot_of.bears && spot_of.mark.is_none(), "{placed:?}");
                assert!(made.bounds[*spot].tokens() >= offer.min_tokens);
            }
        }
    }
    // Its own end and its own instructions: nothing is put beside them.
    let mut parts = agent();
    parts[1] = system("s", 3_000).marked(None);
    parts[5] = parts[5].clone().marked(None);
    let shared = Forecast {
        heads: [often(0, 1.0), often(1, 1.0)].into_iter().collect(),
        ..likely()
    };
    assert!(Made::of(&parts).spots(&CLAUDE, &shared).is_empty());
    // Where some stand within blocks nothing is added.
    let made = Made::of(&agent());
    let nested = Prompt {
        nested: true,
        marks: 1,
        ..made.prompt()
    };
    assert_eq!(place(&nested, &CLAUDE, &shared), Placed::default());
}

/// Anthropic docs, prompt caching, read 2026-08: long before short, else a 400.
#[test]
fn a_long_life_never_stands_behind_a_short_one() {
    let mut rng = Rng::seeded(6);
    let (mut long, mut mixed) = (0, 0);
    for _ in 0..20_000 {
        let made = random(&mut rng);
        let forecast = random_forecast(&mut rng, made.spots.len());
        let clients = made.spots.iter().enumerate();
        let clients: Vec<_> = clients
            .filter_map(|(i, s)| Some((i, s.mark?.ttl)))
            .collect();
        let is_right = |marks: &[(usize, Option<CacheTtl>)]| {
            let short = marks.iter().position(|(_, ttl)| *ttl != HOUR);
            !short.is_some_and(|at| marks[at..].iter().any(|(_, ttl)| *ttl == HOUR))
        };
        if !is_right(&clients) {
            continue;
        }
        let placed = made.placed(&CLAUDE, &forecast);
        let mut all = [clients.clone(), placed.clone()].concat();
        all.sort_by_key(|(spot, _)| *spot);
        assert!(is_right(&all), "{all:?} by us {placed:?}");
        long += usize::from(placed.iter().any(|(_, ttl)| *ttl == HOUR));
        mixed += usize::from(!placed.is_empty() && !clients.is_empty());
    }
    assert!(long > 500 && mixed > 500, "{long} {mixed}");
}

fn random(rng: &mut Rng) -> Made {
    use ElementKind::{Media, System, Text, Thinking, Tool, ToolCall, ToolResult};
    let mut parts = Vec::new();
    for (kinds, most) in [
        (&[Tool][..], 3),
        (&[System], 3),
        (&[Text, Media, Thinking, ToolCall, ToolResult], 12),
    ] {
        for _ in 0..rng.below(most) {
            let kind = kinds[rng.below(kinds.len() as u64) as usize];
            let mut one = part(kind, &rng.bits().to_string(), 100 + rng.below(2_000) as u32);
            one.models |= matches!(kind, Text) && rng.once_in(3);
            one.bears &= !rng.once_in(5);
            if one.bears && rng.once_in(8) {
                one = one.marked([None, HOUR][rng.below(2) as usize]);
            }
            parts.push(one);
        }
    }
    Made::of(&parts)
}

fn random_forecast(rng: &mut Rng, spots: usize) -> Forecast {
    let soon = rng.unit();
    let heads = (0..spots.min(4)).filter(|_| rng.once_in(2));
    let heads: Vec<_> = heads.collect();
    Forecast {
        next: gaps(soon, soon + (1.0 - soon) * rng.unit()),
        warm: rng.once_in(2).then(|| rng.below(1 + spots as u64) as usize),
        tail_breaks: rng.once_in(5),
        heads: heads
            .into_iter()
            .map(|spot| often(spot, 1.0 + rng.unit() * 8_000.0))
            .collect(),
        base: rng.once_in(2).then(|| rng.below(1 + spots as u64) as usize),
        exposed: rng.unit() * 1e5,
        later: gaps(soon, soon),
    }
}

#[test]
fn what_is_too_short_or_not_worth_its_price_is_not_marked() {
    let short = Made::of(&[user("hello", 900)]);
    assert!(
        short.spots(&CLAUDE, &likely()).is_empty(),
        "under the minimum"
    );
    let made = Made::of(&[user("hello", 1_100)]);
    assert_eq!(made.spots(&CLAUDE, &likely()), [0]);
    // 21.7 % at five minutes; an hour is worth it from 52.6 % on.
    let of = |soon, hour| {
        let forecast = Forecast {
            next: gaps(soon, hour),
            ..Forecast::default()
        };
        made.placed(&CLAUDE, &forecast)
    };
    assert!(of(0.217, 0.217).is_empty());
    assert_eq!(of(0.218, 0.218), [(0, None)]);
    assert!(of(0.1, 0.526).is_empty());
    assert_eq!(of(0.1, 0.527), [(0, HOUR)]);
    // Free writes are always worth it.
    let free = Offer {
        short: Life {
            write: 1.0,
            ..CLAUDE.short
        },
        long: None,
        ..CLAUDE
    };
    let never = Forecast {
        next: gaps(0.01, 0.01),
        ..Forecast::default()
    };
    assert_eq!(made.placed(&free, &never), [(0, None)]);
}

/// q·(w5 − r)·R > (w1h − w5)·D: 65 % for a first prompt, 0.5 % where the new part is 0.8 % of it.
#[test]
fn a_small_new_part_is_kept_for_an_hour_where_a_large_one_is_not() {
    let of = |old: u32, new: u32, q: f64| {
        let made = Made::of(&[
            user("long", old),
            answer("a", 1),
            user("more", new.saturating_sub(1)),
        ]);
        let forecast = Forecast {
            next: gaps(0.3, 0.3 + q),
            warm: Some(0),
            ..Forecast::default()
        };
        made.placed(&CLAUDE, &forecast).last().map(|m| m.1)
    };
    assert_eq!(of(99_200, 800, 0.004), Some(None));
    assert_eq!(of(99_200, 800, 0.006), Some(HOUR));
    let first = Made::of(&[user("all new", 50_000)]);
    let of = |q: f64| {
        let forecast = Forecast {
            next: gaps(0.3, 0.3 + q),
            ..Forecast::default()
        };
        first.placed(&CLAUDE, &forecast)
    };
    assert_eq!(of(0.64), [(0, None)]);
    assert_eq!(of(0.66), [(0, HOUR)]);
}

/// What the requests since the last long entry have risked adds up, and the long one that protects all of it is asked for when that is worth its price.
#[test]
fn small_additions_share_one_long_entry_where_it_protects_them_all() {
    let mut keeper = Doorkeeper::new(1_024);
    // Half of the tenant's pauses are longer than five minutes and shorter than an hour.
    let mut parts = vec![tool("t", 2_000), system("s", 3_000), user("task", 95_000)];
    let (mut now, mut long, mut last) = (0, Vec::new(), 0);
    for turn in 0..60 {
        let made = Made::of(&parts);
        let placed = placed_by(&mut keeper, &made, &CLAUDE, at(now));
        let end = placed.iter().rfind(|(spot, _)| spot + 1 == parts.len());
        if end.is_some_and(|(_, ttl)| *ttl == HOUR) {
            long.push(turn - last);
            last = turn;
        }
        parts.push(part(ElementKind::ToolCall, &format!("call {turn}"), 50));
        let name = format!("result {turn}");
        parts.push(part(ElementKind::ToolResult, &name, 750));
        now += if turn % 15 == 14 { 900 } else { 10 };
    }
    assert!((5..40).contains(&long.len()), "some, not each: {long:?}");
    assert!(long.iter().skip(1).any(|gap| *gap > 1), "{long:?}");
}

/// Where it is not known that a long entry outlives the short ones below it, a conversation is kept for an hour from its beginning or not at all.
#[test]
fn where_nothing_is_protected_an_hour_is_asked_for_from_the_beginning_or_not_at_all() {
    let documented = Offer {
        long_protects: false,
        ..CLAUDE
    };
    let made = Made::of(&agent());
    let of = |warm, base, next: Gaps, later: Gaps| {
        let forecast = Forecast {
            next,
            later,
            warm,
            base,
            ..Forecast::default()
        };
        let placed = made.placed(&documented, &forecast);
        placed.last().map(|(_, ttl)| *ttl)
    };
    // A pause comes before the end in two of three: 0.67 · (2 − 0.1) > 0.75.
    let (often, later) = (gaps(0.94, 0.98), gaps(0.94, 0.98));
    assert_eq!(of(None, None, often, later), Some(HOUR));
    assert_eq!(of(Some(2), Some(2), often, later), Some(HOUR), "it goes on");
    assert_eq!(of(Some(2), None, often, later), Some(None), "it is short");
    assert_eq!(of(Some(2), Some(1), often, later), Some(None), "its end is");
    // In one of three it is not worth it.
    let seldom = gaps(0.94, 0.96);
    assert_eq!(of(None, None, seldom, seldom), Some(None));
    assert_eq!(of(Some(2), Some(2), seldom, seldom), Some(None));
}

#[test]
fn after_a_pause_the_long_entry_is_what_is_left_and_it_is_marked_to_be_found() {
    let mut parts = vec![user("task", 2_000), answer("a", 10)];
    parts.extend((0..25).map(|i| user(&format!("block {i}"), 100)));
    let made = Made::of(&parts);
    let forecast = Forecast {
        warm: Some(20),
        base: Some(0),
        ..likely()
    };
    let placed = made.placed(&CLAUDE, &forecast);
    assert_eq!(placed, [(0, HOUR), (20, None), (26, None)]);
}

#[test]
fn an_entry_that_lies_too_far_back_is_marked_before_the_end_is() {
    let mut parts = vec![user("task", 2_000), answer("a", 10)];
    parts.extend((0..25).map(|i| user(&format!("block {i}"), 100)));
    let made = Made::of(&parts);
    let one = Offer {
        marks_max: 1,
        ..CLAUDE
    };
    let warm = Forecast {
        warm: Some(0),
        ..likely()
    };
    assert_eq!(made.spots(&one, &warm), [0]);
    assert_eq!(made.spots(&CLAUDE, &warm), [0, 26]);
    let wide = Offer {
        look_back: 80,
        ..one
    };
    assert_eq!(made.spots(&wide, &warm), [26], "it is found from there");
    // What is warm is read even where nothing new is worth writing.
    let last = Forecast {
        warm: Some(0),
        next: gaps(0.01, 0.02),
        ..Forecast::default()
    };
    assert_eq!(made.placed(&CLAUDE, &last), [(0, None)]);
}

#[test]
fn where_the_provider_marks_the_end_itself_only_shared_heads_are_marked_and_one_offs_are_muted() {
    let made = Made::of(&agent());
    assert!(made.spots(&GPT, &likely()).is_empty());
    let shared = Forecast {
        heads: std::iter::once(often(1, 60.0)).collect(),
        ..likely()
    };
    assert_eq!(made.spots(&GPT, &shared), [1]);
    let mute = |made: &Made, p: f64| {
        let forecast = Forecast {
            next: gaps(p, p),
            ..Forecast::default()
        };
        place(&made.prompt(), &GPT, &forecast).mute
    };
    assert_eq!((mute(&made, 0.2), mute(&made, 0.3)), (true, false));
    assert!(
        !mute(&Made::of(&[user("short", 500)]), 0.0),
        "nothing is written"
    );
    let marked = Made::of(&[user("x", 5_000).marked(None)]);
    assert!(!mute(&marked, 0.0), "the client asked for it");
    let offer = CLAUDE;
    assert!(!place(&made.prompt(), &offer, &Forecast::default()).mute);
}

/// Sends `parts` as a request of the conversation that they begin.
fn ask(keeper: &mut Doorkeeper, parts: &[Part], now: Instant) -> Vec<usize> {
    let placed = placed_by(keeper, &Made::of(parts), &CLAUDE, now);
    placed.into_iter().map(|(spot, _)| spot).collect()
}

fn placed_by(
    keeper: &mut Doorkeeper,
    made: &Made,
    offer: &Offer,
    now: Instant,
) -> Vec<(usize, Option<CacheTtl>)> {
    let prompt = made.prompt();
    let arrival = Arrival {
        prompt: &prompt,
        conversation: made.opener,
        tenant: 1,
        is_retry: false,
    };
    let placed = keeper.decide(&arrival, offer, now);
    placed.marks.iter().map(|m| (m.spot, m.ttl)).collect()
}

#[test]
fn what_comes_once_pays_nothing_and_what_comes_again_is_marked_from_then_on() {
    let mut keeper = Doorkeeper::new(1_024);
    let once = |name: u64| vec![system(&format!("s{name}"), 3_000), user("q", 2_000)];
    for i in 0..50 {
        assert!(ask(&mut keeper, &once(i), at(i)).is_empty(), "{i}");
    }
    // The same instructions under other questions, a minute apart.
    let shared = |name: u64| vec![system("shared", 3_000), user(&format!("q{name}"), 50)];
    assert!(ask(&mut keeper, &shared(0), at(100)).is_empty());
    assert_eq!(ask(&mut keeper, &shared(1), at(160)), [0]);
    assert_eq!(ask(&mut keeper, &shared(2), at(220)), [0]);
    // Hours apart they are not worth it.
    let mut keeper = Doorkeeper::new(1_024);
    assert!(ask(&mut keeper, &shared(0), at(0)).is_empty());
    assert!(ask(&mut keeper, &shared(1), at(9_000)).is_empty());
}

/// An agent that fans out, again and again over another text: nobody goes on with its openings, and still the first of each group writes for the rest.
#[test]
fn a_tenant_whose_new_instructions_come_again_at_once_has_them_marked_the_first_time() {
    let mut keeper = Doorkeeper::new(4_096);
    let (mut now, mut first) = (0, Vec::new());
    for group in 0..40 {
        for member in 0..8 {
            let head = system(&format!("document {group}"), 20_000);
            let asked = [head, user(&format!("q{group} {member}"), 200)];
            let marks = ask(&mut keeper, &asked, at(now));
            if member == 0 {
                first.push(marks.contains(&0));
            }
        }
        now += 600;
    }
    assert!(!first[0] && first[20..].iter().all(|is| *is), "{first:?}");
}

/// A mark behind what changes each time would never be read (the trap of the timestamp).
#[test]
fn instructions_that_change_are_left_out_and_those_before_them_are_marked() {
    let mut keeper = Doorkeeper::new(1_024);
    let asked = |i: u64| {
        vec![
            tool("t", 2_000),
            system("rules", 2_000),
            system(&format!("it is {i} o'clock"), 20),
            user(&format!("q{i}"), 100),
        ]
    };
    let forced = |keeper: &mut Doorkeeper, i| {
        let marks = ask(keeper, &asked(i), at(i * 30));
        marks.into_iter().filter(|m| *m < 3).collect::<Vec<_>>()
    };
    assert_eq!(
        forced(&mut keeper, 0),
        [2],
        "nobody knows yet, and it is free"
    );
    for i in 1..9 {
        assert_eq!(forced(&mut keeper, i), [1], "{i}");
    }
}

#[test]
fn a_conversation_is_marked_where_it_ended_last_and_where_it_ends_now() {
    let mut keeper = Doorkeeper::new(1_024);
    let mut parts = agent();
    assert_eq!(ask(&mut keeper, &parts, at(0)), [1, 2, 5]);
    for turn in 0..6 {
        let before = parts.len() - 1;
        parts.push(part(ElementKind::ToolCall, &format!("call {turn}"), 50));
        parts.push(part(
            ElementKind::ToolResult,
            &format!("result {turn}"),
            900,
        ));
        let marks = ask(&mut keeper, &parts, at(10 * turn));
        assert_eq!(marks, [before, parts.len() - 1]);
    }
}

#[test]
fn an_end_that_is_said_anew_each_time_is_not_marked_for_long() {
    let mut keeper = Doorkeeper::new(1_024);
    let mut parts = agent();
    let (mut wasted, mut good) = (0, 0);
    for turn in 0..15 {
        let reminder = user(&format!("reminder {turn}"), 40);
        let asked = [parts.clone(), vec![reminder]].concat();
        let marks = ask(&mut keeper, &asked, at(10 * turn));
        wasted += usize::from(marks.contains(&(asked.len() - 1)));
        good += usize::from(!marks.is_empty());
        parts.push(part(ElementKind::ToolCall, &format!("call {turn}"), 50));
        parts.push(part(
            ElementKind::ToolResult,
            &format!("result {turn}"),
            900,
        ));
    }
    assert_eq!(
        (wasted, good),
        (2, 15),
        "two tries; the turn before is marked always"
    );
}

#[test]
fn a_tenant_whose_openings_are_never_gone_on_with_stops_paying_for_them() {
    let mut keeper = Doorkeeper::new(4_096);
    let asked = |i: u64| vec![tool(&format!("t{i}"), 3_000), user(&format!("q{i}"), 500)];
    let marked = |keeper: &mut Doorkeeper, from: u64| {
        let each = |i: u64| usize::from(!ask(keeper, &asked(i), at(i * 20)).is_empty());
        (from..from + 100).map(each).sum::<usize>()
    };
    let (first, later) = (marked(&mut keeper, 0), marked(&mut keeper, 400));
    assert!(first > 10, "agents begin so: {first}");
    // 400 of them have passed in silence by then.
    assert!(later < first / 4 || later == 0, "{first} {later}");
}

#[test]
fn a_retry_is_no_second_visit() {
    let made = Made::of(&[system("s", 3_000), user("q", 2_000)]);
    let prompt = made.prompt();
    let mut keeper = Doorkeeper::new(64);
    let mut arrival = Arrival {
        prompt: &prompt,
        conversation: made.opener,
        tenant: 1,
        is_retry: false,
    };
    keeper.forecast(&arrival, at(0));
    // Elsewhere, so under another name; its heads are the same.
    (arrival.is_retry, arrival.conversation.chain) = (true, 7);
    assert!(keeper.forecast(&arrival, at(1)).heads.is_empty());
}

#[test]
fn the_table_stays_as_large_as_it_was_made_and_any_traffic_is_taken() {
    let mut keeper = Doorkeeper::new(256);
    assert_eq!(keeper.memory(), 0, "nothing before it is used");
    let mut rng = Rng::seeded(8);
    let mut seconds = 0;
    for _ in 0..20_000 {
        seconds += rng.below(400);
        let made = random(&mut rng);
        let prompt = made.prompt();
        let arrival = Arrival {
            prompt: &prompt,
            conversation: Fingerprint {
                chain: rng.below(900) << 50,
                tag: 0,
            },
            tenant: rng.bits(),
            is_retry: rng.once_in(9),
        };
        // Time may stand still or jump, it never panics.
        keeper.decide(&arrival, &CLAUDE, at(seconds));
    }
    assert!(
        keeper.memory() < 256 * 40 + 64 * 1_024,
        "{}",
        keeper.memory()
    );
    for class in [
        Class::Opening,
        Class::OpeningWithTools,
        Class::AfterWords,
        Class::AfterMuch,
        Class::AfterTool,
        Class::NewHead,
    ] {
        let gaps = keeper.gaps(3, class).0;
        assert!(
            gaps.is_sorted() && gaps.iter().all(|p| (0.0..=1.0).contains(p)),
            "{gaps:?}"
        );
    }
    keeper.decide(
        &Arrival {
            prompt: &Made::of(&[]).prompt(),
            conversation: Fingerprint::default(),
            tenant: 0,
            is_retry: false,
        },
        &CLAUDE,
        Instant::NEVER,
    );
}

/// A day of a mixed tenant: agents that go on, and questions that do not. What marks cost and save is counted as a provider bills it.
#[test]
fn marks_save_on_agents_and_cost_nothing_on_questions() {
    let mut keeper = Doorkeeper::new(16_384);
    let mut rng = Rng::seeded(9);
    let (mut plain, mut paid, mut now) = (0.0, 0.0, 0);
    for session in 0..300 {
        if session % 3 > 0 {
            now += 7;
            let parts = [system(&format!("{}", rng.bits()), 1_500), user("q", 2_000)];
            let marks = ask(&mut keeper, &parts, at(now));
            plain += 3_500.0;
            paid += if marks.is_empty() {
                3_500.0
            } else {
                3_500.0 * 1.25
            };
            continue;
        }
        let mut parts = vec![
            tool("t", 4_000),
            system(&format!("s{session}"), 1_000),
            user("task", 500),
        ];
        let mut written = 0.0;
        for turn in 0..12 {
            now += 15;
            let marks = ask(&mut keeper, &parts, at(now));
            let sum = |to: usize| parts[..to].iter().map(|p| f64::from(p.tokens)).sum::<f64>();
            let (whole, last) = (sum(parts.len()), marks.last().map_or(0.0, |m| sum(m + 1)));
            plain += whole;
            paid += if marks.is_empty() {
                whole
            } else {
                0.1 * written + 1.25 * (last - written) + (whole - last)
            };
            written = last;
            parts.push(part(
                ElementKind::ToolCall,
                &format!("c{session} {turn}"),
                100,
            ));
            parts.push(part(
                ElementKind::ToolResult,
                &format!("r{session} {turn}"),
                1_000,
            ));
        }
    }
    // All agents' writes at best: each token once at 1.25, then a tenth a turn.
    assert!(paid / plain < 0.42, "{}", paid / plain);
}

#[test]
fn a_life_is_as_long_as_its_name_says() {
    assert_eq!(
        CacheTtl::of(Duration::from_secs(300)),
        Some(CacheTtl::Minutes5)
    );
    assert_eq!(CacheTtl::of(Duration::from_secs(301)), None);
    assert!(CacheTtl::ALL.is_sorted_by_key(|ttl| ttl.life()));
}

#[test]
fn between_lifetimes_gaps_are_spread_evenly_in_the_logarithm() {
    let gaps = Class::AfterWords.before();
    let by = |seconds| gaps.by(Duration::from_secs(seconds));
    assert_eq!((by(0), by(300), by(1_800)), (0.0, 0.50, 0.62));
    assert!((by(150) - 0.25).abs() < 1e-9);
    // Half of the way from five minutes to thirty, as factors go.
    assert!((by(735) - 0.56).abs() < 1e-3, "{}", by(735));
    assert_eq!(by(1_000_000), 0.78, "what has not come within a day");
}
