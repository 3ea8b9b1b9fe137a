//! Prices, places and models that have their days. The clock of these tests begins on 2026-09-21, some ten hours before midnight.

use super::*;
use crate::base::EndpointId;

const UNTIL_TOMORROW: u64 = 36_000;

/// Asks, answers, and tells where it was sent and what it cost.
fn asked(rig: &mut Rig) -> (EndpointId, i64) {
    rig.chat(ASK);
    let call = rig.call();
    rig.answer(call);
    let row = rig.rows.last().expect("a row");
    (row.endpoint, row.cost.0)
}

#[test]
fn a_place_that_has_stopped_serving_the_model_is_not_asked() {
    let ends = "{provider: f0, retired: 2026-09-22,";
    let mut rig = Rig::new(&two_providers(POOL, POOL_1).replace("{provider: f0,", ends));
    assert_eq!(asked(&mut rig).0, EndpointId(0));
    rig.secs(UNTIL_TOMORROW);
    assert_eq!(asked(&mut rig).0, EndpointId(1));
}

#[test]
fn a_model_that_every_place_has_retired_is_told_so() {
    let ends = "{provider: f0, retired: 2026-09-21,";
    let mut rig = Rig::new(&one_provider("openai", POOL).replace("{provider: f0,", ends));
    let client = rig.chat(ASK);
    let (status, _, body) = rig.told(client);
    assert_eq!(status, 404, "{body}");
    assert!(body.contains("retired by every provider"), "{body}");
}

#[test]
fn a_model_is_served_until_the_day_of_its_end() {
    let ends = "{id: m0, retired: {on: 2026-09-22, successor: m1},";
    let mut rig = Rig::new(&one_provider("openai", POOL).replace("{id: m0,", ends));
    asked(&mut rig);
    rig.secs(UNTIL_TOMORROW);
    let client = rig.chat(ASK);
    let (status, _, body) = rig.told(client);
    assert_eq!(status, 404, "{body}");
    assert!(body.contains("on 2026-09-22; use `m1`"), "{body}");
}

#[test]
fn an_answer_costs_what_the_day_asks() {
    let listed = "prices:\n\
        - {kind: openai, model: m0, input: 1, output: 5, source: s, read: 2026-09-01}\n\
        - {kind: openai, model: m0, from: 2026-09-22, input: 2, output: 10, source: s, read: 2026-09-01}\n\
        - {kind: openai, model: m1, input: 1, output: 5, source: s, read: 2026-09-01}\n";
    let yaml = one_provider("openai", POOL).replace(&format!(", {PRICE}"), "") + listed;
    let mut rig = Rig::new(&yaml);
    // 10 tokens in and 2 out.
    assert_eq!(asked(&mut rig).1, 20_000);
    rig.secs(UNTIL_TOMORROW);
    assert_eq!(asked(&mut rig).1, 40_000);
}

/// Chat Completions is what the client and the provider speak, and the model does not.
#[test]
fn a_model_is_called_in_a_dialect_it_takes() {
    let speaks = "{provider: f0, speaks: [messages],";
    let mut rig = Rig::new(&one_provider("openai", POOL).replace("{provider: f0,", speaks));
    rig.chat(ASK);
    let calls = rig.calls();
    assert_eq!(calls.len(), 1);
    let body: Vec<u8> = calls[0].body.iter().flat_map(|b| b.to_vec()).collect();
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("\"max_tokens\""), "{body}");
}
