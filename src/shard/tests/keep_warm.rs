//! Asking again before a cache entry expires: when, at what price, and when no more.

use super::decide::{CLAUDE, message_with, messages, two_pools};
use super::*;

/// Reads cost a twentieth, so that a ping pays from a chance of 4.2 % on.
const CHEAP: &str = "price: {input: 5, output: 25, cache_read: 0.25, cache_write_5m: 6.25, cache_write_1h: 10}, \
     cache: {mode: breakpoints, min_tokens: 1_024, ttls: [5m, 1h]}";

fn warm(price: &str, limits: &str, keep: &str) -> String {
    let tenant = format!("- {{id: a, cache_marks: client, keep_warm: {{{keep}}}, ");
    two_pools("anthropic", price, limits, "").replace("- {id: a, ", &tenant)
}

impl Rig {
    /// A turn of three, answered: its attempt.
    fn turn_of_three(&mut self, body: &str) -> AttemptId {
        self.ask_with("/v1/messages", body, &[("x-api-key", "sk-a")]);
        let (attempt, _) = self.sent();
        self.answer_with(attempt, &message_with((10, 0, 6_000)));
        self.take();
        attempt
    }

    /// Calls that come within `seconds`, each answered as a read.
    fn pings(&mut self, seconds: u64) -> usize {
        let mut count = 0;
        for _ in 0..seconds {
            self.secs(1);
            for call in self.calls() {
                count += 1;
                self.answer_with(call.attempt, &message_with((10, 6_000, 0)));
                self.take();
            }
        }
        count
    }
}

#[test]
fn a_question_is_asked_again_before_its_entry_expires() {
    let mut rig = Rig::new(&warm(CLAUDE, "", "pings: 3"));
    rig.turn_of_three(&messages("one", 3));
    rig.secs(279);
    assert!(rig.calls().is_empty());
    rig.secs(2);
    let calls = rig.calls();
    let [call] = &calls[..] else {
        panic!("{} calls", calls.len())
    };
    let said = String::from_utf8(call.body.concat()).expect("UTF-8");
    let (head, rest) = said.split_once(',').expect("members");
    assert_eq!(head, "{\"max_tokens\":1");
    let asked = messages("one", 3);
    let (_, asked) = asked.split_once("\"messages\"").expect("messages");
    assert!(
        rest.ends_with(asked),
        "the prompt is the same to the byte: {}",
        &rest[..80]
    );
    rig.answer_with(call.attempt, &message_with((10, 6_000, 0)));
    let row = rig.rows.last().expect("a row");
    assert_eq!((row.decision, row.outcome), ("keep-warm", Outcome::Done));
    assert_eq!(row.usage.cache_read, Some(Tokens(6_000)));
    assert!(row.cost > NanoUsd::ZERO && row.last && row.attempt == 1);
    assert_eq!(rig.rows[0].tenant, row.tenant);
    // The conversation goes on after what would have been the end of its entry.
    rig.secs(100);
    let client = rig.ask_with(
        "/v1/messages",
        &messages("one", 5),
        &[("x-api-key", "sk-a")],
    );
    let (attempt, _) = rig.sent();
    rig.answer_with(attempt, &message_with((10, 6_000, 4_000)));
    let (_, headers, _) = rig.told(client);
    let expected = header(&headers, "x-stokehold-cached-tokens-expected");
    let expected: u64 = expected.and_then(|n| n.parse().ok()).expect("a count");
    assert!(expected > 5_000, "{expected}");
}

#[test]
fn it_is_asked_again_as_long_as_that_is_expected_to_pay() {
    // After a person's turn 14 % go on within the next five minutes, then 6 %: reads at a tenth pay from 8.7 % on, at a twentieth from 4.2 %.
    for (price, pings) in [(CLAUDE, 1), (CHEAP, 3)] {
        let mut rig = Rig::new(&warm(price, "", "pings: 5"));
        rig.turn_of_three(&messages("one", 3));
        assert_eq!(rig.pings(3_600), pings);
        rig.rests();
    }
    let mut rig = Rig::new(&warm(CHEAP, "", "pings: 2"));
    rig.turn_of_three(&messages("one", 3));
    assert_eq!(rig.pings(3_600), 2, "no more than allowed");
}

#[test]
fn a_conversation_that_goes_on_needs_nobody() {
    let mut rig = Rig::new(&warm(CLAUDE, "", "pings: 3"));
    rig.turn_of_three(&messages("one", 3));
    rig.secs(200);
    rig.turn_of_three(&messages("one", 5));
    assert_eq!(rig.pings(270), 0, "the first question is forgotten");
    assert_eq!(rig.pings(20), 1, "the second is not");
}

#[test]
fn a_ping_that_wrote_what_it_should_have_read_is_the_last() {
    let mut rig = Rig::new(&warm(CHEAP, "", "pings: 3"));
    rig.turn_of_three(&messages("one", 3));
    rig.secs(281);
    let (attempt, _) = rig.sent();
    rig.answer_with(attempt, &message_with((10, 0, 6_000)));
    rig.take();
    assert_eq!(rig.pings(3_600), 0);
    rig.rests();
}

#[test]
fn a_ping_that_fails_is_not_repeated() {
    let mut rig = Rig::new(&warm(CHEAP, "", "pings: 3"));
    rig.turn_of_three(&messages("one", 3));
    rig.secs(281);
    let (attempt, _) = rig.sent();
    rig.refuse(attempt, 529, &[], "{}");
    assert_eq!(rig.pings(3_600), 0);
    rig.rests();
}

#[test]
fn nobody_is_pinged_who_did_not_ask_for_it_or_cannot_be() {
    let thinks = messages("one", 3).replace(
        "\"max_tokens\":100",
        "\"max_tokens\":2000,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}",
    );
    let unmarked = messages("one", 3).replace(r#","cache_control":{"type":"ephemeral"}"#, "");
    let plain = messages("one", 3);
    for (yaml, body, why) in [
        (two_pools("anthropic", CLAUDE, "", ""), &plain, "by default"),
        (warm(CLAUDE, "", "pings: 0"), &plain, "none allowed"),
        (
            warm(CLAUDE, "", "pings: 3, usd_max: 0.001"),
            &plain,
            "too dear: 6,000 tokens at $0.5 a million are $0.003",
        ),
        (
            warm(CLAUDE, "", "pings: 3, bytes_max: 1KiB"),
            &plain,
            "no room",
        ),
        (warm(CLAUDE, "", "pings: 3"), &thinks, "thinks in a budget"),
        (
            warm(CLAUDE, "", "pings: 3"),
            &unmarked,
            "nothing is in a cache",
        ),
    ] {
        let mut rig = Rig::new(&yaml);
        rig.turn_of_three(body);
        assert_eq!(rig.pings(600), 0, "{why}");
        rig.rests();
    }
}

#[test]
fn who_has_no_headroom_is_not_waited_for() {
    let mut rig = Rig::new(&warm(CLAUDE, "{concurrent: 1}", "pings: 3"));
    rig.turn_of_three(&messages("one", 3));
    rig.secs(279);
    for who in ["other", "another"] {
        rig.ask_with("/v1/messages", &messages(who, 1), &[("x-api-key", "sk-b")]);
    }
    assert_eq!(rig.calls().len(), 2);
    rig.secs(1);
    assert!(rig.calls().is_empty());
    assert_eq!(rig.shard.standing().waiting, 0);
}

#[test]
fn a_new_configuration_and_the_end_of_the_node_forget_all_questions() {
    let yaml = warm(CLAUDE, "", "pings: 3");
    let mut rig = Rig::new(&yaml);
    rig.turn_of_three(&messages("one", 3));
    rig.reload(&yaml, 1);
    assert_eq!(rig.pings(600), 0);
    let mut rig = Rig::new(&yaml);
    rig.turn_of_three(&messages("one", 3));
    rig.on(Input::Drain);
    assert_eq!(rig.pings(600), 0);
    rig.rests();
}
