//! A second call beside one that is late: when it pays, who is told, and what is billed.

use super::*;

const BOTH: fn() -> String = || two_providers(POOL, POOL_1);

impl Rig {
    /// The attempts that were cut off since the last look, and those that were begun.
    fn cut_and_called(&mut self) -> (Vec<AttemptId>, Vec<AttemptId>) {
        let (mut cut, mut called) = (Vec::new(), Vec::new());
        for output in self.take() {
            match output {
                Output::Cancel { attempt } => cut.push(attempt),
                Output::Call(call) => called.push(call.attempt),
                _ => {}
            }
        }
        (cut, called)
    }

    /// A streamed request, late enough for a second call: both attempts.
    fn hedged(&mut self, ask: fn(&mut Self) -> ClientId) -> (ClientId, AttemptId, AttemptId) {
        let client = ask(self);
        let first = self.call();
        self.secs(6);
        let second = self.call();
        (client, first, second)
    }

    fn stream_whole(&mut self, attempt: AttemptId) {
        self.stream(attempt);
        for piece in [FIRST, STOP, USAGE, DONE] {
            self.say(attempt, piece);
        }
        self.end(attempt);
    }

    /// Number, outcome, decision, input, whether it is estimated, and whether it is the last, in the order of the attempts.
    fn booked(&self) -> Vec<(u8, Outcome, &'static str, u64, bool, bool)> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|row| row.attempt);
        let booked = |row: &&LedgerRow| {
            let usage = &row.usage;
            let input = usage.input_total().0;
            let is = (row.attempt, row.outcome, row.decision, input);
            (is.0, is.1, is.2, is.3, usage.estimated, row.last)
        };
        rows.iter().map(booked).collect()
    }
}

fn ask(rig: &mut Rig) -> ClientId {
    rig.chat(ASK_STREAM)
}

#[test]
fn a_second_call_begins_when_the_time_it_saves_is_worth_its_price() {
    let mut rig = Rig::new(&BOTH());
    ask(&mut rig);
    rig.call();
    // 400 tokens at $10 a million are four seconds at $0.001.
    rig.secs(4);
    assert_eq!(rig.calls().len(), 0, "late, and not yet worth it");
    rig.secs(2);
    assert_eq!(rig.calls().len(), 1);
    rig.secs(1);
    assert_eq!(rig.calls().len(), 0, "one is enough");
}

/// FIELD-BUGS 54.
#[test]
fn who_answers_first_is_told_and_the_other_is_cut_off_with_its_row() {
    for second_wins in [false, true] {
        let mut rig = Rig::new(&BOTH());
        let (client, first, second) = rig.hedged(ask);
        let (winner, loser) = match second_wins {
            true => (second, first),
            false => (first, second),
        };
        rig.stream(winner);
        assert_eq!(rig.cut_and_called(), (vec![loser], vec![]));
        // What still comes of it is nobody's.
        rig.stream(loser);
        rig.say(loser, FIRST);
        for piece in [FIRST, STOP, USAGE, DONE] {
            rig.say(winner, piece);
        }
        rig.end(winner);
        // Its head is out since the first comment.
        let (_, _, body) = rig.told(client);
        assert_eq!(body.matches("\"hi\"").count(), 1, "{body}");
        assert!(body.ends_with(DONE), "{body}");
        let (lost, won) = ((true, Outcome::Cancelled), (false, Outcome::Done));
        let booked = rig.booked();
        assert_eq!((booked[0].2, booked[1].2), ("cheapest", "hedge"));
        let of = |at: usize| (booked[at].4, booked[at].1);
        let both = if second_wins {
            [lost, won]
        } else {
            [won, lost]
        };
        assert_eq!([of(0), of(1)], both, "{booked:?}");
        assert!(
            booked.iter().all(|row| row.3 > 0),
            "both are billed: {booked:?}"
        );
        rig.rests();
    }
}

#[test]
fn where_one_of_two_fails_the_other_is_all_there_is() {
    let failures: [fn(&mut Rig, AttemptId); 3] = [
        |rig, attempt| rig.refuse(attempt, 503, &[], "{}"),
        |rig, attempt| {
            rig.on(Input::UpstreamFailed {
                attempt,
                why: UpstreamFault::Reset,
            })
        },
        // The first to call is the first whose time is over.
        |rig, _| rig.secs(5),
    ];
    for fail in failures {
        let mut rig = Rig::new(&BOTH());
        let (client, first, second) = rig.hedged(ask);
        fail(&mut rig, first);
        let (_, called) = rig.cut_and_called();
        assert!(called.is_empty(), "no third call");
        rig.stream_whole(second);
        assert!(rig.told(client).2.ends_with(DONE));
        let booked = rig.booked();
        assert_eq!((booked.len(), booked[1].1), (2, Outcome::Done));
        assert!(matches!(booked[0].1, Outcome::Failed(_)), "{booked:?}");
        rig.rests();
    }
}

#[test]
fn where_both_fail_the_client_is_told_so() {
    let mut rig = Rig::new(&BOTH());
    let (client, first, second) = rig.hedged(ask);
    rig.refuse(second, 500, &[], "{}");
    rig.refuse(
        first,
        400,
        &[],
        r#"{"error":{"message":"no","type":"invalid_request_error"}}"#,
    );
    let (_, _, body) = rig.told(client);
    assert!(body.contains("\"error\""), "{body}");
    rig.rests();
}

#[test]
fn a_client_that_leaves_ends_both_calls() {
    let mut rig = Rig::new(&BOTH());
    let (client, first, second) = rig.hedged(|rig| rig.of_b(ASK_STREAM));
    rig.on(Input::ClientGone { client });
    let (mut cut, _) = rig.cut_and_called();
    cut.sort();
    assert_eq!(cut, [first, second]);
    let booked = rig.booked();
    assert!(
        booked
            .iter()
            .all(|row| row.1 == Outcome::Cancelled && row.4),
        "{booked:?}"
    );
    rig.rests();
}

#[test]
fn after_a_fault_of_ours_both_calls_have_a_row() {
    let mut rig = Rig::new(&BOTH());
    rig.hedged(ask);
    let mut out = Vec::new();
    rig.shard.interrupted(rig.now, &mut out);
    let row = |o: &Output| match o {
        Output::Post(Mail::Ledger(row)) => Some((row.attempt, row.last)),
        _ => None,
    };
    let mut rows: Vec<_> = out.iter().filter_map(row).collect();
    rows.sort();
    assert_eq!(rows, [(1, false), (2, true)]);
}

#[test]
fn nobody_is_asked_twice_who_has_time_or_a_price_or_no_choice() {
    let batch: fn(&mut Rig) -> ClientId = |rig| {
        let batch = [("x-stokehold-priority", "batch")];
        rig.ask_with("/v1/chat/completions", ASK_STREAM, &batch)
    };
    let priced: fn(&mut Rig) -> ClientId = |rig| {
        let most = [("x-stokehold-max-cost-usd", "1")];
        rig.ask_with("/v1/chat/completions", ASK_STREAM, &most)
    };
    // Kept by its provider, who would keep two.
    let kept: fn(&mut Rig) -> ClientId =
        |rig| rig.ask_with("/v1/responses", r#"{"model":"m0","input":"hello"}"#, &[]);
    let never = BOTH().replace("providers:\n", "routing: {hedge_budget: 0}\nproviders:\n");
    let one = one_provider("openai", POOL);
    for (yaml, ask) in [
        (BOTH(), batch),
        (BOTH(), priced),
        (BOTH(), kept),
        (never, ask),
        (one, ask),
    ] {
        let mut rig = Rig::new(&yaml);
        ask(&mut rig);
        rig.call();
        rig.secs(9);
        assert_eq!(rig.calls().len(), 0, "{yaml}");
    }
}

#[test]
fn an_answer_that_is_not_streamed_is_late_when_all_of_it_is() {
    let mut rig = Rig::new(&BOTH());
    let client = rig.chat(ASK);
    let first = rig.call();
    rig.secs(10);
    assert_eq!(rig.calls().len(), 0, "400 tokens take eight seconds");
    rig.secs(5);
    let second = rig.call();
    rig.up(second, 200, &[("content-type", "application/json")]);
    assert_eq!(rig.cut_and_called().0, [first]);
    rig.say(second, WHOLE);
    rig.end(second);
    let (status, headers, _) = rig.told(client);
    let decision = header(&headers, "x-stokehold-decision");
    assert_eq!((status, decision), (200, Some("hedge")));
    rig.rests();
}

#[test]
fn of_many_late_calls_few_are_asked_twice() {
    let mut rig = Rig::new(&BOTH());
    for _ in 0..100 {
        ask(&mut rig);
    }
    let calls = rig.calls();
    assert_eq!(calls.len(), 100);
    for call in calls {
        rig.on(Input::Sent {
            attempt: call.attempt,
        });
    }
    rig.secs(9);
    // One is saved up, and a hundred requests bring two.
    assert_eq!(rig.calls().len(), 3);
}
