//! One row for each attempt; what it says.

use super::*;

/// The client leaves, or the time runs out, between two attempts: the first was the last after all.
#[test]
fn the_last_row_says_so_also_when_a_second_try_never_came() {
    for how in 0..3 {
        let mut rig = Rig::new(&one_provider("openai", POOL));
        let client = rig.ask_with(
            "/v1/chat/completions",
            ASK,
            &[("x-stokehold-deadline", "10s")],
        );
        let call = rig.call();
        rig.refuse(call, 429, &[("retry-after", "5")], TOO_MANY);
        match how {
            0 => rig.on(Input::ClientGone { client }),
            1 => {
                rig.reload(&one_provider("openai", POOL), 1);
                rig.on(Input::ClientGone { client });
            }
            _ => {
                rig.secs(6);
                let call = rig.call();
                rig.answer(call);
            }
        }
        let last: Vec<bool> = rig.rows.iter().map(|row| row.last).collect();
        assert_eq!(
            last,
            if how == 2 {
                vec![false, true]
            } else {
                vec![true]
            }
        );
        rig.rests();
    }
}

/// A shard that can be believed no more still says what it began.
#[test]
fn interrupted_attempts_have_their_rows_once_each() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    rig.chat(ASK_STREAM);
    let call = rig.call();
    rig.stream(call);
    rig.chat(ASK);
    let waits = rig.call();
    rig.refuse(waits, 500, &[], "");
    let mut out = Vec::new();
    rig.shard.interrupted(rig.now, &mut out);
    let mut rows: Vec<LedgerRow> = out
        .into_iter()
        .filter_map(|o| match o {
            Output::Post(Mail::Ledger(row)) => Some(*row),
            _ => None,
        })
        .collect();
    rows.extend(rig.rows.clone());
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.last), "{rows:?}");
    let open = rows.iter().find(|row| row.status.is_none()).expect("open");
    assert!(open.usage.estimated && open.cost.0 > 0, "{open:?}");
}

#[test]
fn nothing_is_begun_that_could_not_be_written_down() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    rig.on(Input::LedgerRoom(2));
    // Heads whose bodies are still on their way count.
    for admitted in [true, true, false] {
        let client = rig.client();
        rig.on(Input::Head {
            client,
            head: Rig::head("/v1/chat/completions", &[]),
        });
        let reads = rig
            .take()
            .iter()
            .any(|o| matches!(o, Output::ReadBody { .. }));
        assert_eq!(reads, admitted);
    }
}

/// Anthropic's running sum: the last word counts, not the sum of words.
#[test]
fn a_bill_is_made_of_the_last_word_about_usage() {
    let mut rig = Rig::new(&one_provider("anthropic", POOL));
    let ask =
        r#"{"model":"m0","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#;
    rig.ask_with("/v1/messages", ask, &[]);
    let call = rig.call();
    rig.stream(call);
    rig.say(call, concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"m0\",\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":100,\"output_tokens\":1}}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"input_tokens\":120,\"cache_read_input_tokens\":7,\"output_tokens\":30}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
    rig.end(call);
    let row = &rig.rows[0];
    // 120 × 1 + 7 × 1 + 30 × 5 dollars a million
    assert_eq!(row.cost.0, 277_000, "{row:?}");
    assert!(!row.usage.estimated);
    rig.rests();
}

/// What the provider was asked before its time ran out it may bill; nobody says so, hence the estimate.
#[test]
fn a_call_that_timed_out_is_billed_as_an_estimate_and_a_refusal_is_not() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    rig.chat(ASK_STREAM);
    rig.call();
    rig.secs(11);
    assert!(rig.rows[0].usage.estimated && rig.rows[0].cost.0 > 0);
    rig.chat(ASK_STREAM);
    let call = rig.call();
    rig.refuse(call, 400, &[], "{}");
    assert_eq!(rig.rows[1].cost.0, 0);
    rig.rests();
}
