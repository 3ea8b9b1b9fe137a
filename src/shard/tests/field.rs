//! What went wrong in the field with caches and pools (FIELD-BUGS A and B), each as a conversation with a shard.

use super::decide::{CLAUDE, message_with, messages, two_pools};
use super::*;

impl Rig {
    /// One exchange that bills what an ideal cache would; the pool it went to.
    fn turn_ideally(
        &mut self,
        who: &str,
        turns: usize,
        known: &mut [Vec<(String, usize)>; 2],
    ) -> u16 {
        self.ask_with("/v1/messages", &messages(who, turns), &[]);
        let (attempt, pool) = self.sent();
        let kept = &mut known[usize::from(pool)];
        let had = kept
            .iter()
            .filter(|(w, _)| w == who)
            .map(|(_, n)| *n)
            .max()
            .unwrap_or(0);
        kept.push((who.to_owned(), turns));
        let (read, written) = (had as u64 * 2_000, (turns - had) as u64 * 2_000);
        self.answer_with(attempt, &message_with((0, read, written)));
        pool
    }
}

/// FIELD-BUGS 1, 2, 8 and 16: out of the box, ten turns over two pools read nine times.
#[test]
fn out_of_the_box_a_conversation_reads_in_all_turns_but_its_first() {
    let mut rig = Rig::new(&two_pools("anthropic", CLAUDE, "", ""));
    let mut known = [Vec::new(), Vec::new()];
    let pools: Vec<u16> = (0..10)
        .map(|n| {
            rig.secs(20);
            // Somebody else begins in between, and loads are never even.
            rig.turn_ideally(&format!("x{n:02}"), 1, &mut known);
            rig.turn_ideally("one", n * 2 + 1, &mut known)
        })
        .collect();
    assert!(pools.iter().all(|pool| *pool == pools[0]), "{pools:?}");
}

/// FIELD-BUGS 14 and 17: twenty conversations of eight turns cost what they must, and both pools have their part of them.
#[test]
fn many_conversations_cost_little_more_than_ideally_and_use_both_pools() {
    let mut rig = Rig::new(&two_pools("anthropic", CLAUDE, "", ""));
    let mut known = [Vec::new(), Vec::new()];
    let mut calls = [0_u32; 2];
    for turn in 0..8 {
        for who in 0..20 {
            rig.secs(1);
            let pool = rig.turn_ideally(&format!("{who:03}"), turn * 2 + 1, &mut known);
            calls[usize::from(pool)] += 1;
        }
    }
    let (read, written) = rig.rows.iter().fold((0, 0), |(read, written), row| {
        let of = |tokens: Option<Tokens>| tokens.unwrap_or_default().0;
        (
            read + of(row.usage.cache_read),
            written + of(row.usage.cache_write_5m),
        )
    });
    // Fifteen turns are written once each, and each request reads what the one before it had.
    let ideal = (20 * 15 * 2_000, 20 * 2_000 * (1 + 3 + 5 + 7 + 9 + 11 + 13));
    let cost = |(written, read): (u64, u64)| written as f64 * 1.25 + read as f64 * 0.1;
    let ratio = cost((written, read)) / cost(ideal);
    assert!(ratio <= 1.05, "{ratio}: {written} written, {read} read");
    assert!(
        calls.iter().all(|calls| (40..=120).contains(calls)),
        "{calls:?}"
    );
}

/// FIELD-BUGS 3: a warm place that is shut is left at once.
#[test]
fn a_warm_place_whose_breaker_is_open_is_left_at_once() {
    let routing = "routing: {breaker_failures: 1, attempts_max: 2}\n";
    let mut rig = Rig::new(&two_pools("anthropic", CLAUDE, "", routing));
    let mut known = [Vec::new(), Vec::new()];
    let first = rig.turn_ideally("one", 1, &mut known);
    rig.messages_now("one", 3);
    let (attempt, pool) = rig.sent();
    assert_eq!(pool, first);
    rig.refuse(attempt, 503, &[], "{}");
    let (attempt, pool) = rig.sent();
    assert_ne!(pool, first, "the retry");
    rig.answer_with(attempt, &message_with((0, 0, 6_000)));
    assert_ne!(
        rig.turn_ideally("two", 1, &mut known),
        first,
        "and everybody else"
    );
}

/// FIELD-BUGS 7, 18 and 34: a limit that is reached is waited out where that is cheaper, left where it is not, and the conversation returns.
#[test]
fn a_conversation_outlives_a_limit_of_its_warm_place() {
    let mut rig = Rig::new(&two_pools("anthropic", CLAUDE, "", ""));
    let mut known = [Vec::new(), Vec::new()];
    let first = rig.turn_ideally("one", 20, &mut known);
    // A pause of a second: 40,000 tokens are not written anew for that.
    rig.messages_now("one", 22);
    let (attempt, pool) = rig.sent();
    assert_eq!(pool, first);
    rig.refuse(attempt, 429, &[("retry-after", "1")], TOO_MANY);
    let at_once = rig.calls();
    if let [call] = &at_once[..] {
        // What failed here may go elsewhere at once; the next turn finds its way back.
        rig.answer_with(call.attempt, &message_with((0, 0, 44_000)));
    } else {
        rig.secs(2);
        let (attempt, pool) = rig.sent();
        assert_eq!(pool, first);
        rig.answer_with(attempt, &message_with((0, 40_000, 4_000)));
    }
    rig.secs(3);
    // An hour without it is another matter: nobody waits that long.
    rig.messages_now("two", 1);
    let (attempt, pool) = rig.sent();
    rig.refuse(attempt, 429, &[("retry-after", "3600")], TOO_MANY);
    let (attempt, other) = rig.sent();
    assert_ne!(other, pool);
    rig.answer_with(attempt, &message_with((0, 0, 2_000)));
}

/// FIELD-BUGS 12: after a pause of six minutes nothing is warm at five minutes' life, and everything at an hour's.
#[test]
fn a_pause_is_outlived_as_long_as_the_request_asked_for() {
    for (ttl, minutes, warm) in [
        ("5m", 1, true),
        ("5m", 6, false),
        ("1h", 11, true),
        ("1h", 61, false),
    ] {
        let mut rig = Rig::new(&two_pools("anthropic", CLAUDE, "", ""));
        let marked = |turns| {
            let mark = format!(r#""cache_control":{{"type":"ephemeral","ttl":"{ttl}"}}"#);
            messages("one", turns).replace(r#""cache_control":{"type":"ephemeral"}"#, &mark)
        };
        rig.ask_with("/v1/messages", &marked(1), &[]);
        let (attempt, _) = rig.sent();
        rig.answer_with(attempt, &message_with((0, 0, 2_000)));
        rig.secs(60 * minutes);
        let client = rig.ask_with("/v1/messages", &marked(3), &[]);
        let (attempt, _) = rig.sent();
        rig.answer_with(attempt, &message_with((0, 0, 6_000)));
        let (_, headers, _) = rig.told(client);
        let expected = header(&headers, "x-stokehold-cached-tokens-expected");
        let expected: u64 = expected.expect("said").parse().expect("a count");
        assert_eq!(
            expected > 1_500,
            warm,
            "{ttl} after {minutes} minutes: {expected}"
        );
    }
}

impl Rig {
    fn messages_now(&mut self, who: &str, turns: usize) -> ClientId {
        self.ask_with("/v1/messages", &messages(who, turns), &[])
    }
}
