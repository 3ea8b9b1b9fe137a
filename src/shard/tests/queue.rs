//! Waiting for headroom.

use super::*;

fn narrow() -> String {
    one_provider("openai", &pool_of("{concurrent: 1}"))
}

/// Who is served after the running one: by the client's key in the calls' order.
fn order(rig: &mut Rig, first: AttemptId, clients: &[ClientId]) -> Vec<usize> {
    let mut served = Vec::new();
    let mut call = first;
    rig.take();
    loop {
        rig.answer(call);
        let mut next = None;
        for output in rig.take() {
            match output {
                Output::Respond { client, .. } => {
                    served.extend(clients.iter().position(|c| *c == client));
                }
                Output::Call(c) => next = Some(c.attempt),
                _ => {}
            }
        }
        match next {
            Some(attempt) => {
                rig.on(Input::Sent { attempt });
                call = attempt;
            }
            None => return served,
        }
    }
}

#[test]
fn one_tenants_crowd_does_not_delay_anothers_request() {
    let mut rig = Rig::new(&narrow());
    rig.chat(ASK);
    let first = rig.call();
    let mut clients: Vec<ClientId> = (0..5).map(|_| rig.chat(ASK)).collect();
    clients.push(rig.of_b(ASK));
    let served = order(&mut rig, first, &clients);
    assert_eq!(served, [5, 0, 1, 2, 3, 4]);
    rig.rests();
}

#[test]
fn interactive_goes_before_batch_and_each_in_the_order_it_came() {
    let mut rig = Rig::new(&narrow());
    rig.chat(ASK);
    let first = rig.call();
    let batch = [("x-stokehold-priority", "batch")];
    let clients = [
        rig.ask_with("/v1/chat/completions", ASK, &batch),
        rig.chat(ASK),
        rig.ask_with("/v1/chat/completions", ASK, &batch),
        rig.chat(ASK),
    ];
    assert_eq!(order(&mut rig, first, &clients), [1, 3, 0, 2]);
    rig.rests();
}

/// Being looked at and not served costs nobody a place.
#[test]
fn a_large_request_is_not_overtaken_by_small_ones_behind_it() {
    let yaml = one_provider("openai", &pool_of("{tpm: 6000}"));
    let mut rig = Rig::new(&yaml);
    let large = ASK.replace("hello", &"word ".repeat(1_200));
    rig.chat(&large);
    let call = rig.call();
    rig.up(call, 200, &[("content-type", "application/json")]);
    rig.say(call, &WHOLE.replace(":10,", ":6000,"));
    rig.end(call);
    rig.take();
    let second = rig.chat(&large.replace("}]", "}],\"max_completion_tokens\":4"));
    for _ in 0..100 {
        rig.chat(ASK);
        rig.pass(Duration::from_millis(450));
        rig.on(Input::Tick);
    }
    let first_call = rig.calls().remove(0);
    assert!(
        first_call.body.iter().map(Bytes::len).sum::<usize>() > 5_000,
        "{second:?}"
    );
}

/// Its own wish makes it wait, not the others'.
#[test]
fn who_waits_for_one_provider_does_not_hold_up_who_can_be_served_by_another() {
    let mut rig = Rig::new(&two_providers(&pool_of("{concurrent: 1}"), POOL_1));
    rig.chat(ASK);
    let first = rig.call();
    let only = [("x-stokehold-providers", "allow=f0")];
    rig.ask_with("/v1/chat/completions", ASK, &only);
    assert!(rig.calls().is_empty());
    rig.chat(ASK);
    let elsewhere = rig.call();
    rig.answer(elsewhere);
    rig.answer(first);
    let last = rig.call();
    rig.answer(last);
    rig.rests();
}

/// A back-off is nobody else's.
#[test]
fn who_waits_after_a_failure_does_not_hold_up_newcomers_nor_come_back_sooner() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    rig.chat(ASK);
    let call = rig.call();
    rig.refuse(call, 503, &[("retry-after", "5")], "");
    rig.chat(ASK);
    let other = rig.call();
    rig.answer(other);
    assert!(rig.calls().is_empty(), "not sooner than asked");
    rig.secs(6);
    let again = rig.call();
    rig.answer(again);
    rig.rests();
}

/// A deadline shorter than the queue's time is a reason to wait shorter, not to refuse.
#[test]
fn a_newcomer_waits_as_long_as_it_can_behind_others() {
    let mut rig = Rig::new(&narrow());
    rig.chat(ASK);
    let first = rig.call();
    rig.chat(ASK);
    let client = rig.ask_with(
        "/v1/chat/completions",
        ASK,
        &[("x-stokehold-deadline", "5s")],
    );
    assert_eq!(rig.told(client).0, 0);
    rig.secs(6);
    let (status, headers, _) = rig.told(client);
    assert_eq!(status, 429);
    assert!(header(&headers, "retry-after").is_some());
    rig.answer(first);
    let second = rig.call();
    rig.answer(second);
    rig.rests();
}

/// One place is shut for long, another is merely busy.
#[test]
fn a_busy_place_is_waited_for_though_another_is_shut_for_long() {
    let mut rig = Rig::new(&two_providers(&pool_of("{concurrent: 1}"), POOL_1));
    rig.chat(ASK);
    let first = rig.call();
    rig.ask_with(
        "/v1/chat/completions",
        ASK,
        &[("x-stokehold-providers", "allow=f1")],
    );
    let limited = rig.call();
    rig.refuse(limited, 429, &[("retry-after", "900")], TOO_MANY);
    let client = rig.chat(ASK);
    assert_eq!(rig.told(client).0, 0, "waits");
    rig.answer(first);
    let second = rig.call();
    rig.answer(second);
    assert_eq!(rig.told(client).0, 200);
    rig.rests();
}

#[test]
fn who_waits_and_leaves_or_runs_out_of_time_leaves_nothing_behind() {
    let mut rig = Rig::new(&narrow());
    rig.chat(ASK);
    let first = rig.call();
    let leaves = rig.chat(ASK);
    let waits = rig.chat(ASK);
    assert_eq!(rig.shard.standing().waiting, 2);
    rig.on(Input::ClientGone { client: leaves });
    assert_eq!(rig.shard.standing().waiting, 1);
    rig.secs(21);
    assert_eq!(rig.told(waits).0, 429);
    rig.answer(first);
    rig.rests();
}

#[test]
fn the_queue_is_bounded_and_says_so() {
    let yaml = narrow().replace("queue_time", "queue_max: 2, queue_time");
    let mut rig = Rig::new(&yaml);
    let clients: Vec<ClientId> = (0..4).map(|_| rig.chat(ASK)).collect();
    assert_eq!(rig.shard.standing().waiting, 2);
    assert_eq!(rig.told(clients[3]).0, 429);
}

/// Each settlement looks at as many as it serves, and one more.
#[test]
fn a_long_queue_is_served_whole_in_order() {
    let yaml = one_provider("openai", &pool_of("{concurrent: 2}"));
    let mut rig = Rig::new(&yaml);
    let clients: Vec<ClientId> = (0..1_000).map(|_| rig.chat(ASK)).collect();
    let calls = rig.calls();
    assert_eq!(calls.len(), 2);
    rig.on(Input::Sent {
        attempt: calls[1].attempt,
    });
    let served = order(&mut rig, calls[0].attempt, &clients[2..]);
    assert_eq!(served, (0..998).collect::<Vec<_>>());
    rig.answer(calls[1].attempt);
    rig.rests();
}
