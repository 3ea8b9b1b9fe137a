//! What went wrong in the field with caches and pools (FIELD-BUGS A, B and J), each as a conversation with a shard.

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

/// FIELD-BUGS 10: a prefix is tools, then instructions, then the conversation, and is written so.
#[test]
fn what_is_translated_keeps_the_order_in_which_it_is_cached() {
    let mut rig = Rig::new(&two_pools("anthropic", CLAUDE, "", ""));
    let ask = r#"{"model":"m0","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hello"}],"tools":[{"type":"function","function":{"name":"go","parameters":{"type":"object"}}}]}"#;
    rig.chat(ask);
    let calls = rig.calls();
    let body = String::from_utf8(calls[0].body.concat()).expect("UTF-8");
    let at = |member: &str| {
        body.find(member)
            .unwrap_or_else(|| panic!("{member}: {body}"))
    };
    let places = [at("\"tools\""), at("\"system\""), at("\"messages\"")];
    assert!(places.is_sorted(), "{body}");
}

/// FIELD-BUGS 32: a decision tells who was asked with which account, and what the headroom of each was worth; the ledger has the key.
#[test]
fn a_decision_tells_accounts_and_headroom_and_the_ledger_the_key() {
    let mut rig = Rig::new(&two_pools("anthropic", CLAUDE, "{rpm: 60}", ""));
    for n in 0..20 {
        let who = format!("w{n:02}");
        rig.ask_with("/v1/messages", &messages(&who, 1), &[]);
        let (attempt, _) = rig.sent();
        rig.answer_with(attempt, &message_with((0, 0, 2_000)));
        rig.secs(1);
    }
    let told = rig.shard.explain(None).expect("the newest");
    let pools: Vec<&str> = told.candidates.iter().map(|c| c.pool.as_str()).collect();
    assert!(pools.contains(&"p0") && pools.contains(&"p1"), "{pools:?}");
    assert_eq!(told.candidates.iter().filter(|c| c.chosen).count(), 1);
    assert!(
        told.candidates.iter().any(|c| c.headroom_usd > 0.0),
        "{told:?}"
    );
    let last = rig.rows.last().expect("a row");
    let key = last.key.expect("a key");
    assert!(last.under.0.keys[usize::from(key.0)].name.starts_with('k'));
}

/// FIELD-BUGS 33: what an answer took is missing from the limit when its stream has ended.
#[test]
fn what_is_left_of_a_limit_is_less_after_an_answer() {
    let mut rig = Rig::new(&one_provider("anthropic", &pool_of("{itpm: 10_000}")));
    let ask = |rig: &mut Rig| {
        let body = r#"{"model":"m0","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
        rig.ask_with("/v1/messages", body, &[]);
        rig.calls().len()
    };
    assert_eq!(ask(&mut rig), 1);
    let attempt = AttemptId(Slot {
        index: 0,
        generation: 0,
    });
    rig.on(Input::Sent { attempt });
    rig.answer_with(attempt, &message_with((11_000, 0, 0)));
    assert_eq!(ask(&mut rig), 0, "the prompt was larger than it looked");
    rig.secs(10);
    assert!(!rig.calls().is_empty(), "it flows back");
}

/// FIELD-BUGS 70: a burst that begins alike does not lie at the one machine that was first.
#[test]
fn a_burst_over_one_prefix_is_spread_over_own_machines() {
    let machine =
        |n: u8| format!("- {{id: s{n}, kind: selfhosted, base_url: 'http://s{n}.test/v1'}}\n");
    let at = |n: u8| format!("{{provider: s{n}}}");
    let yaml = format!(
        "server: {{listen: 127.0.0.1:8080, operator: 127.0.0.1:8081, shards: 1}}\n{TENANTS}routing: {{hedge_budget: 0}}\nproviders:\n{}models:\n- {{id: m0, endpoints: [{}]}}\n",
        (0..4).map(machine).collect::<String>(),
        (0..4).map(at).collect::<Vec<_>>().join(", ")
    );
    let mut rig = Rig::new(&yaml);
    let text = "the same beginning ".repeat(1_000);
    let mut loads = [0_u32; 4];
    for n in 0..800 {
        rig.chat(&format!(
            r#"{{"model":"m0","messages":[{{"role":"system","content":"{text}"}},{{"role":"user","content":"{n}"}}]}}"#
        ));
        for call in rig.calls() {
            loads[usize::from(call.origin.0)] += 1;
            rig.on(Input::Sent {
                attempt: call.attempt,
            });
            rig.stream(call.attempt);
            rig.say(call.attempt, FIRST);
        }
    }
    let sum: u32 = loads.iter().sum();
    let most = *loads.iter().max().expect("four");
    assert!(sum >= 700, "{loads:?}");
    assert!(f64::from(most) <= 1.3 * f64::from(sum) / 4.0, "{loads:?}");
}
