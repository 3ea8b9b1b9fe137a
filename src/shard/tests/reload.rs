//! A new configuration while old exchanges run.

use super::*;

#[test]
fn what_was_held_under_the_old_configuration_still_counts_and_goes_back() {
    let yaml = one_provider("openai", &pool_of("{concurrent: 1}"));
    let mut rig = Rig::new(&yaml);
    rig.chat(ASK);
    let old = rig.call();
    rig.reload(&yaml, 1);
    let client = rig.chat(ASK);
    assert!(rig.calls().is_empty(), "the provider still sees the first");
    rig.answer(old);
    let new = rig.call();
    rig.answer(new);
    assert_eq!(rig.told(client).0, 200);
    assert_eq!(
        rig.rows
            .iter()
            .map(|r| r.under.0.generation)
            .collect::<Vec<_>>(),
        [0, 1]
    );
    rig.rests();
}

/// Else a reload would be a gift.
#[test]
fn money_spent_under_the_old_configuration_is_spent() {
    let yaml = one_provider("openai", POOL)
        .replace("{id: a, ", "{id: a, limits: {usd_per_day: 0.00001}, ");
    let mut rig = Rig::new(&yaml);
    rig.chat(ASK);
    let old = rig.call();
    rig.reload(&yaml, 1);
    rig.answer(old);
    rig.take();
    let client = rig.chat(ASK);
    let (status, _, text) = rig.told(client);
    assert_eq!(status, 429, "{text}");
    rig.rests();
}

#[test]
fn who_waits_under_an_old_configuration_is_served_under_it() {
    let yaml = one_provider("openai", &pool_of("{concurrent: 1}"));
    let mut rig = Rig::new(&yaml);
    rig.chat(ASK);
    let first = rig.call();
    let client = rig.chat(ASK);
    rig.reload(&yaml, 1);
    rig.reload(&yaml, 2);
    rig.answer(first);
    let second = rig.call();
    rig.answer(second);
    assert_eq!(rig.told(client).0, 200);
    rig.rests();
}

#[test]
fn what_a_provider_closed_stays_closed_over_a_reload() {
    let yaml = one_provider("openai", POOL);
    let mut rig = Rig::new(&yaml);
    rig.chat(ASK);
    let call = rig.call();
    rig.refuse(call, 429, &[("retry-after", "400")], TOO_MANY);
    rig.take();
    rig.reload(&yaml, 1);
    rig.chat(ASK);
    assert!(rig.calls().is_empty());
    rig.rests();
}

#[test]
fn news_of_another_configuration_is_not_heeded() {
    let yaml = one_provider("openai", POOL);
    let mut rig = Rig::new(&yaml);
    rig.chat(ASK);
    let call = rig.call();
    rig.refuse(call, 429, &[("retry-after", "400")], TOO_MANY);
    let news = rig
        .take()
        .into_iter()
        .find_map(|o| match o {
            Output::Tell(gossip) => Some(gossip),
            _ => None,
        })
        .expect("news");
    for (generation, heeded) in [(0, true), (1, false)] {
        let mut other = Rig::new(&yaml);
        if generation > 0 {
            other.reload(&yaml, generation);
        }
        other.on(Input::Gossip(news.clone()));
        other.chat(ASK);
        assert_eq!(other.calls().is_empty(), heeded);
    }
}
