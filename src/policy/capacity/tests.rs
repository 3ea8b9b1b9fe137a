//! Limits against what providers do, and against a naive central bucket.

use super::rule::{Held, Ramp};
use super::*;
use crate::base::{Instant, Now, Rng, WallTime};

fn at(ms: u64) -> Instant {
    Instant(ms * 1_000_000)
}

fn requests(n: u64) -> Numbers {
    Numbers {
        requests: Some(n),
        ..Numbers::default()
    }
}

fn input(n: u64) -> Ask {
    Ask {
        input: Tokens(n),
        ..Ask::default()
    }
}

/// How many calls of nothing fit at `now`.
fn fit(limit: &mut Limit, now: Instant) -> u64 {
    let mut sent = 0;
    while limit.room(Ask::default(), now) == Room::Now {
        let _never_settled = limit.reserve(Ask::default(), now);
        sent += 1;
    }
    sent
}

#[test]
fn sixty_a_minute_is_one_a_second_once_the_burst_is_spent() {
    let mut bucket = Bucket::full(60);
    bucket.add(-60, at(0));
    assert_eq!(bucket.room(1, at(0)), Room::In(Duration::from_secs(1)));
    assert_eq!(bucket.room(1, at(999)), Room::In(Duration::from_millis(1)));
    assert_eq!(bucket.room(1, at(1_000)), Room::Now);
    assert_eq!(
        bucket.room(1_000_000, at(60_000)),
        Room::Now,
        "full: the provider decides"
    );
}

/// FIELD-BUGS 23.
#[test]
fn sixty_a_minute_may_be_one_a_second_from_the_first_on() {
    let rule = Rule {
        requests_burst: Duration::from_secs(1),
        ..Rule::OURS
    };
    let mut limit = Limit::twin(requests(60), rule, 0, 1);
    for second in 0..10 {
        assert_eq!(fit(&mut limit, at(second * 1_000)), 1, "second {second}");
        assert_eq!(fit(&mut limit, at(second * 1_000 + 900)), 0);
    }
    let told = Numbers {
        burst: Some(Duration::from_secs(5)),
        ..requests(60)
    };
    assert_eq!(fit(&mut Limit::twin(told, rule, 0, 1), at(0)), 5);
}

#[test]
fn a_reservation_that_never_reached_the_provider_is_given_back_whole() {
    let numbers = Numbers {
        requests: Some(1),
        input: Some(100),
        tokens: Some(105),
        output: Some(5),
        concurrent: Some(1),
        requests_day: Some(1),
        tokens_day: Some(105),
        ..Numbers::default()
    };
    let mut limit = Limit::share(numbers, 0, 1);
    let ask = Ask {
        output: Tokens(5),
        ..input(100)
    };
    assert_eq!(limit.room(ask, at(0)), Room::Now);
    let mut held = limit.reserve(ask, at(0));
    assert_ne!(limit.room(ask, at(0)), Room::Now);
    assert_eq!(limit.in_flight(), 1);
    limit.produced(&mut held, Tokens(3), at(0));
    limit.settle(held, None, at(0));
    assert_eq!((limit.room(ask, at(0)), limit.in_flight()), (Room::Now, 0));
    for dimension in [Dimension::Tokens, Dimension::Input, Dimension::Output] {
        assert_eq!(limit.emptiness(dimension, at(0)), Some(0), "{dimension:?}");
    }
    assert_eq!(limit.days_emptiness(at(0)), [Some(0); 2]);
}

#[test]
fn cache_reads_do_not_count_as_input() {
    let numbers = Numbers {
        input: Some(1_000),
        ..Numbers::default()
    };
    let mut limit = Limit::share(numbers, 0, 1);
    let held = limit.reserve(input(1_000), at(0));
    let used = Used {
        input: Tokens(10),
        cache_read: Tokens(990),
        output: Tokens(3),
    };
    limit.settle(held, Some(used), at(0));
    assert_eq!(limit.room(input(990), at(0)), Room::Now);
}

/// FIELD-BUGS 31: what is produced is charged as it comes, once, and settled to what was billed.
#[test]
fn output_is_charged_as_it_is_produced() {
    let numbers = Numbers {
        output: Some(100),
        ..Numbers::default()
    };
    let rule = Rule {
        output: Held::Nothing,
        ..Rule::OURS
    };
    let mut limit = Limit::twin(numbers, rule, 0, 1);
    let mut held = limit.reserve(Ask::default(), at(0));
    let left = |limit: &Limit| limit.emptiness(Dimension::Output, at(0));
    for (so_far, empty) in [(40, 400_000), (40, 400_000), (70, 700_000)] {
        limit.produced(&mut held, Tokens(so_far), at(0));
        assert_eq!(left(&limit), Some(empty));
    }
    limit.produced(&mut held, Tokens(100), at(0));
    assert_ne!(limit.room(Ask::default(), at(0)), Room::Now, "nothing left");
    let used = Used {
        output: Tokens(90),
        ..Used::default()
    };
    limit.settle(held, Some(used), at(0));
    assert_eq!(left(&limit), Some(900_000));
}

#[test]
fn a_longer_wait_is_never_shortened() {
    let mut limit = Limit::share(Numbers::default(), 0, 1);
    limit.close_until(at(5_000));
    limit.close_until(at(1_000));
    assert_eq!(
        limit.room(Ask::default(), at(2_000)),
        Room::In(Duration::from_secs(3))
    );
}

#[test]
fn shares_add_up_to_the_limit() {
    for (n, shards) in [(10_u64, 4_u16), (3, 4), (0, 2), (7, 1), (1_003, 16)] {
        let numbers = Numbers {
            concurrent: Some(n),
            ..Numbers::default()
        };
        let sum: u64 = (0..shards)
            .map(|s| fit(&mut Limit::share(numbers, s, shards), at(0)))
            .sum();
        assert_eq!(sum, n, "{n} over {shards}");
    }
}

#[test]
fn nothing_a_minute_is_nothing() {
    let limit = Limit::share(requests(0), 0, 2);
    assert_eq!(limit.room(Ask::default(), at(1_000)), Room::Never);
    assert_eq!(limit.emptiness(Dimension::Requests, at(0)), Some(1_000_000));
}

#[test]
fn a_days_requests_come_back_at_the_providers_midnight() {
    let numbers = Numbers {
        requests_day: Some(2),
        ..Numbers::default()
    };
    let mut limit = Limit::twin(numbers, Rule::OURS, 0, 1);
    assert!(limit.counts_days());
    // A minute before midnight UTC of 2026-11-22.
    let now = |s: u64| Now {
        instant: at(s * 1_000),
        wall: WallTime((1_795_392_000 - 60 + s as i64) * 1_000_000_000),
    };
    limit.heed_calendar(now(0));
    assert_eq!(fit(&mut limit, at(0)), 2);
    assert_eq!(
        limit.room(Ask::default(), at(10_000)),
        Room::In(Duration::from_secs(50))
    );
    assert_eq!(fit(&mut limit, at(60_000)), 2);
    limit.heed_calendar(now(61));
    assert_eq!(fit(&mut limit, at(61_000)), 0, "once a day");
}

#[test]
fn what_a_provider_has_left_is_heeded_less_what_is_under_way() {
    let mut limit = Limit::twin(requests(1_000), Rule::OURS, 0, 2);
    let mut first = limit.reserve(Ask::default(), at(0));
    for _ in 0..3 {
        let _never_settled = limit.reserve(Ask::default(), at(0));
    }
    let told = Told {
        remaining: Some(20),
        ..Told::default()
    };
    // Half of twenty is this shard's; three were sent since.
    limit.heed(Dimension::Requests, told, Some(&mut first), at(0));
    assert_eq!(fit(&mut limit, at(0)), 7);
    let more = Told {
        remaining: Some(1_000),
        ..Told::default()
    };
    limit.heed(Dimension::Requests, more, None, at(0));
    assert_eq!(
        fit(&mut limit, at(0)),
        500 / 8,
        "up by an eighth of the way"
    );
    limit.settle(first, Some(Used::default()), at(0));
}

#[test]
fn rounded_numbers_are_taken_for_the_least_they_may_mean() {
    let numbers = Numbers {
        input: Some(10_000),
        ..Numbers::default()
    };
    let rule = Rule {
        rounding: 1_000,
        ..Rule::OURS
    };
    let mut limit = Limit::twin(numbers, rule, 0, 1);
    let told = |remaining| Told {
        remaining: Some(remaining),
        ..Told::default()
    };
    limit.heed(Dimension::Input, told(2_000), None, at(0));
    assert_eq!(limit.room(input(1_500), at(0)), Room::Now);
    assert_ne!(limit.room(input(1_501), at(0)), Room::Now);
    limit.heed(Dimension::Input, told(1_234), None, at(0));
    assert_eq!(limit.room(input(1_234), at(0)), Room::Now);
    assert_ne!(limit.room(input(1_235), at(0)), Room::Now);
}

/// The header is of the moment at which the call was let in, and is heard when its answer begins.
#[test]
fn what_flowed_since_a_call_was_let_in_is_not_forgotten_where_the_header_names_a_moment() {
    let numbers = Numbers {
        input: Some(60_000),
        ..Numbers::default()
    };
    let heard_at_10 = |full_in| {
        let mut limit = Limit::twin(numbers, Rule::OURS, 0, 1);
        let mut held = limit.reserve(input(30_000), at(0));
        let told = Told {
            limit: Some(60_000),
            remaining: Some(30_000),
            full_in: Some(Duration::from_secs(full_in)),
        };
        limit.heed(Dimension::Input, told, Some(&mut held), at(10_000));
        let fits = |tokens| limit.room(input(tokens), at(10_000)) == Room::Now;
        let fits = (0..=60)
            .rev()
            .map(|k| k * 1_000)
            .find(|tokens| fits(*tokens));
        limit.settle(held, None, at(10_000));
        fits
    };
    assert_eq!(
        heard_at_10(20),
        Some(40_000),
        "full at 30 s, a thousand each"
    );
    assert_eq!(
        heard_at_10(30),
        Some(30_000),
        "counted from then on: no more"
    );
}

#[test]
fn an_unknown_limit_is_what_the_headers_say_and_a_known_one_no_more_than_that() {
    let told = Told {
        limit: Some(60),
        ..Told::default()
    };
    let mut unknown = Limit::twin(Numbers::default(), Rule::OURS, 0, 1);
    assert_eq!(unknown.rate(Dimension::Requests), None);
    unknown.heed(Dimension::Requests, told, None, at(0));
    assert_eq!(fit(&mut unknown, at(0)), 60);
    let mut known = Limit::twin(requests(100), Rule::OURS, 0, 1);
    known.heed(Dimension::Requests, told, None, at(0));
    assert_eq!(
        known.rate(Dimension::Requests),
        Some(Rate::per_minute(60)),
        "the provider allows less than was thought"
    );
    let more = Told {
        limit: Some(4_000),
        ..told
    };
    for _ in 0..100 {
        known.heed(Dimension::Requests, more, None, at(0));
    }
    let rate = known.rate(Dimension::Requests);
    assert_eq!(rate, Some(Rate::per_minute(100)), "others may draw on it");
    // Anthropic's "tokens" are whichever limit is tightest.
    let rule = Rule {
        tokens_told: false,
        ..Rule::OURS
    };
    let mut anthropic = Limit::twin(Numbers::default(), rule, 0, 1);
    anthropic.heed(Dimension::Tokens, told, None, at(0));
    assert_eq!(anthropic.rate(Dimension::Tokens), None);
    // A tenant's limit is ours, whoever says what.
    let mut tenant = Limit::share(Numbers::default(), 0, 1);
    tenant.heed(Dimension::Requests, told, None, at(0));
    assert_eq!(tenant.rate(Dimension::Requests), None);
}

/// OpenAI: 10,000 a day show as a limit of 10,000 of which one is back in 8.64 s.
#[test]
fn a_limit_of_the_day_is_known_by_how_slowly_it_comes_back() {
    let mut limit = Limit::twin(Numbers::default(), Rule::OURS, 0, 1);
    let told = Told {
        limit: Some(10_000),
        remaining: Some(9_999),
        full_in: Some(Duration::from_millis(8_640)),
    };
    limit.heed(Dimension::Requests, told, None, at(0));
    assert_eq!(limit.rate(Dimension::Requests), Some(Rate(6_944)));
    assert_eq!(limit.room(Ask::default(), at(0)), Room::Now);
    let mut minute = Limit::twin(Numbers::default(), Rule::OURS, 0, 1);
    let told = Told {
        full_in: Some(Duration::from_millis(6)),
        ..told
    };
    minute.heed(Dimension::Requests, told, None, at(0));
    assert_eq!(
        minute.rate(Dimension::Requests),
        Some(Rate::per_minute(10_000))
    );
}

#[test]
fn a_refusal_without_numbers_is_learned_from_once() {
    let mut limit = Limit::twin(Numbers::default(), Rule::OURS, 0, 1);
    let mut sent = 0;
    for ms in (0..60_000).step_by(500) {
        let _never_settled = limit.reserve(input(100), at(ms));
        sent += 1;
    }
    for _ in 0..20 {
        limit.refused(None, false, at(59_900));
    }
    let learned = limit.rate(Dimension::Requests).expect("learned");
    assert_eq!(learned, Rate::per_minute(sent).permille(700));
    assert!(limit.rate(Dimension::Tokens).is_some());
    // A minute of use at nearly all of it: six clean slots of ten seconds, 2 % each, but for those it takes to see it.
    for ms in (60_000..125_000).step_by(100) {
        if limit.room(input(100), at(ms)) == Room::Now {
            let _never_settled = limit.reserve(input(100), at(ms));
        }
    }
    let grown = limit.rate(Dimension::Requests).expect("learned");
    assert!(
        grown > learned.permille(1_060) && grown < learned.permille(1_140),
        "{grown:?} of {learned:?}"
    );
    // Where numbers were told, they are the correction.
    limit.refused(None, true, at(200_000));
    assert_eq!(limit.rate(Dimension::Requests), Some(grown));
    limit.refused(Some(Duration::from_millis(200)), false, at(200_000));
    assert_eq!(
        limit.rate(Dimension::Requests),
        Some(grown.permille(900)),
        "a short wait is a small mistake"
    );
}

/// FIELD-BUGS 29.
#[test]
fn after_a_refusal_or_a_silence_traffic_grows_slowly() {
    let rule = Rule {
        ramp: Some(Ramp {
            from: 250,
            over: Duration::from_secs(30),
        }),
        ..Rule::OURS
    };
    let mut limit = Limit::twin(requests(600), rule, 0, 1);
    assert_eq!(fit(&mut limit, at(0)), 600, "at first nothing holds it");
    // Ten minutes of silence fill the bucket, but only a quarter of it is to be used at once.
    let silence = 600_000;
    let mut last = 150;
    assert_eq!(fit(&mut limit, at(silence)), 1 + last - 1);
    for second in 1..40 {
        let sent = fit(&mut limit, at(silence + second * 1_000));
        assert!(sent <= 10, "{sent} in second {second}");
        if second == 20 {
            assert!((6..=8).contains(&sent), "{sent} half way");
        }
        last = sent;
    }
    assert_eq!(last, 10, "the whole rate again");
}

/// A provider's bucket, as simple as it can be written: what happened, gone through from the beginning for each question.
struct Naive {
    per_minute: u64,
    burst: u64,
    drawn: Vec<(u64, i128)>,
}

impl Naive {
    fn level(&self, now_ms: u64) -> f64 {
        let (mut level, mut at) = (self.burst as f64, 0);
        let rate = self.per_minute as f64 / 60_000.0;
        for (then, tokens) in &self.drawn {
            level = (level + rate * (then - at) as f64).min(self.burst as f64);
            level = (level - *tokens as f64).min(self.burst as f64);
            at = *then;
        }
        (level + rate * (now_ms - at) as f64).min(self.burst as f64)
    }

    fn admits(&mut self, tokens: u64, now_ms: u64) -> bool {
        // Floats differ from the truth in the last digits.
        let fits = self.level(now_ms) + 1e-6 >= tokens as f64;
        if fits {
            self.drawn.push((now_ms, i128::from(tokens)));
        }
        fits
    }
}

/// How the provider of each rule counts, written down apart from it: at the start, and at the end.
type Counting = (fn(u64, u64, u64, u64) -> u64, fn(u64, u64, u64, u64) -> u64);

/// The rules, and what their providers do, of (input, read, output, most).
fn providers() -> [(&'static str, Rule, Counting); 3] {
    let anthropic = Rule {
        output: Held::Nothing,
        output_times: 0,
        reads_in_tokens: false,
        ..Rule::OURS
    };
    [
        ("anthropic", anthropic, (|i, _, _, _| i, |i, _, _, _| i)),
        (
            "bedrock",
            Rule::BEDROCK,
            (|i, r, _, m| i + r + m, |i, _, o, _| i + 5 * o),
        ),
        (
            "openai",
            Rule::OPENAI,
            (|i, r, _, m| (i + r).max(m), |i, r, _, m| (i + r).max(m)),
        ),
    ]
}

/// What is let through by our twin, a provider that counts by its own rule never refuses; and no window, of whatever length, has more than
/// a burst and what flowed meanwhile. With estimates of the input that are too high by up to a half, calls that are never sent, and calls
/// that end in any order.
#[test]
fn a_provider_never_refuses_what_its_twin_lets_through_in_any_window() {
    for (name, rule, (at_start, at_end)) in providers() {
        for seed in 0..60 {
            run_twin(name, rule, (at_start, at_end), seed);
        }
    }
}

fn run_twin(name: &str, rule: Rule, (at_start, at_end): Counting, seed: u64) {
    let mut rng = Rng::seeded(seed);
    let per_minute = 10_000 + rng.below(100_000);
    let seconds = 1 + rng.below(60);
    let numbers = Numbers {
        tokens: Some(per_minute),
        burst: Some(Duration::from_secs(seconds)),
        ..Numbers::default()
    };
    let mut twin = Limit::twin(numbers, rule, 0, 1);
    let mut provider = Naive {
        per_minute,
        burst: (per_minute * seconds).div_ceil(60),
        drawn: Vec::new(),
    };
    let mut open: Vec<(Reservation, [u64; 4])> = Vec::new();
    let (mut now, mut sent) = (0, 0);
    for step in 0..400 {
        now += rng.below(300);
        if rng.below(3) == 0 && !open.is_empty() {
            let at_random = rng.below(open.len() as u64) as usize;
            let (held, [i, r, o, m]) = open.swap_remove(at_random);
            let used = Used {
                input: Tokens(i),
                cache_read: Tokens(r),
                output: Tokens(o),
            };
            twin.settle(held, Some(used), at(now));
            let more = i128::from(at_end(i, r, o, m)) - i128::from(at_start(i, r, o, m));
            provider.drawn.push((now, more));
            continue;
        }
        let most = 1 + rng.below(provider.burst / 8 + 1);
        let (i, r) = (1 + rng.below(most), rng.below(most));
        // Five times the output is no more than what was held for it.
        let o = rng.below(most / 5 + 1);
        let ask = Ask {
            input: Tokens(i + rng.below(i / 2 + 1)),
            cache_read: Tokens(r),
            output: Tokens(o),
            output_most: Some(Tokens(most)),
        };
        if twin.room(ask, at(now)) != Room::Now || rule.hold(&ask).tokens > provider.burst {
            continue;
        }
        let held = twin.reserve(ask, at(now));
        if rng.below(8) == 0 {
            twin.settle(held, None, at(now));
            continue;
        }
        let admitted = provider.admits(at_start(i, r, o, most), now);
        assert!(admitted, "{name}, seed {seed}, step {step}: refused");
        sent += 1;
        open.push((held, [i, r, o, most]));
    }
    assert!(sent > 50, "{name}, seed {seed}: {sent} sent");
    check_windows(&provider, &mut rng, (name, seed));
    for (held, _) in open {
        twin.settle(held, None, at(now));
    }
    assert_eq!(twin.in_flight(), 0);
}

fn check_windows(provider: &Naive, rng: &mut Rng, what: (&str, u64)) {
    let events = &provider.drawn;
    for _ in 0..200 {
        let from = rng.below(events.len() as u64) as usize;
        let length = rng.below(events.len() as u64) as usize;
        let window = &events[from..(from + length + 1).min(events.len())];
        let drawn: i128 = window.iter().map(|(_, tokens)| tokens).sum();
        let time = window[window.len() - 1].0 - window[0].0;
        let most = provider.burst + (provider.per_minute * time).div_ceil(60_000);
        assert!(drawn <= i128::from(most), "{what:?}: {drawn} of {most}");
    }
}

#[test]
fn what_is_admitted_never_exceeds_a_minute_plus_what_refilled() {
    for seed in 0..50 {
        let mut rng = Rng::seeded(seed);
        let per_minute = 1 + rng.below(1_000);
        let (mut bucket, mut now, mut admitted) = (Bucket::full(per_minute), 0, 0_u64);
        for _ in 0..2_000 {
            now += rng.below(200);
            let want = 1 + rng.below(per_minute.min(20));
            if bucket.room(want, at(now)) == Room::Now {
                bucket.draw(want, at(now));
                admitted += want;
            }
            let most = per_minute + per_minute * now / 60_000 + 1;
            assert!(admitted <= most, "seed {seed}: {admitted} of {most}");
        }
    }
}

#[test]
fn classes_match_by_stars() {
    for (pattern, name, is) in [
        ("claude-sonnet-*", "claude-sonnet-4-5", true),
        ("claude-sonnet-*", "claude-opus-4-5", false),
        ("*", "", true),
        ("gpt-5", "gpt-5", true),
        ("gpt-5", "gpt-5.1", false),
        ("*-mini*", "gpt-5-mini-2", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("ab*b", "ab", false),
    ] {
        assert_eq!(of_class(pattern, name), is, "{pattern} {name}");
    }
}
