//! Our figures beside those of ROUTING 4.4, where the traces are: `STOKEHOLD_TRACES`, else `../shared/traces`.
//!
//! Ratios must agree within 5 %. The traces hold half of the sessions that those figures are of, one placement there, three here.

use super::*;
use crate::offline::replay::scenario::{Admission, Drifts, Fanning};
use std::path::PathBuf;

const AGENTS: &str = "claude_code_sessions_a.jsonl.gz";
const CHAT: &str = "mooncake_conversation_first_half.jsonl.gz";
const SERVICE: &str = "azure_2023_conv.csv.gz";

/// The trace `file`; `None`, with a message, when there is no folder of traces.
fn trace(file: &str) -> Option<Trace> {
    let folder = std::env::var_os("STOKEHOLD_TRACES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/traces"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        println!(
            "skipped: no traces at {} (STOKEHOLD_TRACES names the folder)",
            folder.display()
        );
        return None;
    }
    let trace = Trace::read(&folder.join(file)).unwrap();
    println!(
        "{file}: {} requests of {} sessions",
        trace.requests.len(),
        trace.sessions.len()
    );
    Some(trace)
}

/// Fails for each row whose ratio is not within `off` of the reference.
fn agree(table: &Table, expected: &[(&str, f64)], off: f64) {
    println!("{}", table.text());
    let wrong: Vec<String> = expected
        .iter()
        .filter_map(|(policy, reference)| {
            let ours = table.row(policy).unwrap().ratio;
            let apart = ours / reference - 1.0;
            (apart.abs() > off).then(|| format!("{policy}: {ours:.3} instead of {reference}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn some(names: &[&str]) -> Vec<(&'static str, Routing)> {
    ROUTINGS
        .into_iter()
        .filter(|(name, _)| names.contains(name))
        .collect()
}

#[test]
fn the_traces_are_read_whole() {
    // The figures of the traces' README.
    let Some(agents) = trace(AGENTS) else { return };
    assert_eq!(
        (agents.sessions.len(), agents.requests.len()),
        (356, 24_081)
    );
    let blocks: u64 = agents
        .requests
        .iter()
        .map(|r| u64::from(r.prompt.blocks()))
        .sum();
    assert_eq!(blocks, 48_364_696);
    let chat = trace(CHAT).unwrap();
    assert_eq!(chat.requests.len(), 5606);
    let service = trace(SERVICE).unwrap();
    assert_eq!(service.requests.len(), 19_366);
}

#[test]
fn routing_without_limits_agrees() {
    let Some(trace) = trace(AGENTS) else { return };
    let question = Question {
        seeds: vec![1],
        ..Question::default()
    };
    let table = question.table(&trace, &ROUTINGS, &mut |_, _| {});
    let expected = [
        ("head hash + bounded load", 1.79),
        ("SGLang cache_aware", 1.012),
        ("LMetric", 1.013),
        ("session rendezvous", 1.006),
        ("OpenRouter-like", 1.006),
        ("greedy longest prefix", 1.0),
        ("expected cost, lambda 0", 1.0),
    ];
    agree(&table, &expected, 0.05);
    // What scatters a session over pools finds an old entry only within the provider's look-back. The trace has kinds of content elements
    // and not their number, so ours reach farther back than in truth, and find more. Round robin is 3.27 without any look-back, 3.54 with
    // the documented 20 elements and 4.04 with 10; the session hash 1.66, 1.72 and 1.83: the reference lies between for both, and so
    // it does with 4 and 16 pools. ROUTING 4.6 says that look-back was left out there, so this is likely, not proven.
    let scattered = [
        ("round robin", 3.76),
        ("least busy", 3.74),
        ("session hash + bounded load", 1.78),
    ];
    agree(&table, &scattered, 0.08);
    let ours = table.row(OURS).unwrap();
    assert!(ours.ratio <= 1.002, "{}", ours.ratio);
    assert_eq!(ours.refusals_per_request, 0.0);
}

/// FIELD-BUGS 19: what spills over under load still finds most of its prompt warm.
#[test]
fn routing_under_limits_agrees() {
    let Some(trace) = trace(AGENTS) else { return };
    let question = Question {
        limits: Some(1.3),
        seeds: vec![1],
        ..Question::default()
    };
    let expected = [
        ("session rendezvous", 1.174),
        ("OpenRouter-like", 1.032),
        ("SGLang cache_aware", 1.034),
        ("LMetric", 1.031),
        ("expected cost, lambda 0", 1.0),
        ("expected cost + shadow price", 1.005),
    ];
    let table = question.table(
        &trace,
        &some(&expected.map(|(name, _)| name)),
        &mut |_, _| {},
    );
    agree(&table, &expected, 0.05);
    for known in ["expected cost, lambda 0", "expected cost + shadow price"] {
        assert_eq!(
            table.row(known).unwrap().refusals_per_request,
            0.0,
            "it sees the buckets"
        );
    }
    // With what a router sees.
    let ours = table.row(OURS).unwrap();
    assert!(ours.ratio <= 1.01, "{}", ours.ratio);
    assert!(ours.cached_ratio >= 0.8, "{}", ours.cached_ratio);
    assert!(
        ours.refusals_per_request <= 0.001,
        "{}",
        ours.refusals_per_request
    );
    assert!(ours.delay_p99_seconds <= 0.5, "{}", ours.delay_p99_seconds);
    assert!(table.goals.len() == 3 && table.goals.iter().all(|goal| goal.is_met));
}

/// A part of the sessions: what is asked of each is a few seconds' work.
fn part(mut trace: Trace) -> Trace {
    trace.sessions.truncate(80);
    trace
}

#[test]
fn broken_promises_are_believed_within_fifty_bills_that_could_tell() {
    let Some(trace) = trace(AGENTS) else { return };
    let drifts = Drifts {
        pools: 2,
        seeds: vec![1],
        routing: config::Routing::default(),
    };
    let table = drifts.table(&part(trace));
    println!("{}", table.text());
    let told = |what: &str| {
        let mut goals = table.goals.iter();
        goals.find(|goal| goal.what.contains(what)).unwrap().is_met
    };
    assert!(told("evictions of 2 %") && told("evictions of 10 %") && told("could tell"));
}

#[test]
fn of_those_that_come_at_once_one_writes_and_the_others_read() {
    let fanning = Fanning {
        pools: 4,
        seeds: vec![1],
        routing: config::Routing::default(),
    };
    let table = fanning.table();
    println!("{}", table.text());
    assert!(table.goals.len() == 3 && table.goals.iter().all(|goal| goal.is_met));
}

/// The goal of 55 % is missed: see docs/routing.md. A tree fitted to the very half that it is judged on comes to 47 to 50 %.
#[test]
fn chats_never_cost_more_than_without_a_cache() {
    let Some(trace) = trace(CHAT) else { return };
    for long in [false, true] {
        let question = Admission {
            long,
            ..Admission::default()
        };
        let table = question.table(&trace);
        println!("{}", table.text());
        assert!(table.row(OURS).unwrap().ratio <= 1.0);
        assert!(table.row(OURS).unwrap().ratio < table.row("always").unwrap().ratio + 0.01);
        let saved = 1.0 - table.row("admission oracle").unwrap().ratio;
        assert!((saved - 0.219).abs() < 0.01, "{saved}");
    }
}

/// A provider that loses entries: who sees only what it is told stays near who sees the caches and the buckets.
#[test]
fn ours_stands_losses_without_a_collapse() {
    let Some(trace) = trace(AGENTS) else { return };
    for (loss, most) in [(0.02, 1.03), (0.1, 1.1)] {
        let question = Question {
            limits: Some(1.3),
            seeds: vec![1],
            loss,
            ..Question::default()
        };
        let known = "expected cost + shadow price";
        let table = question.table(&trace, &some(&[known]), &mut |_, _| {});
        let ratio = table.row(OURS).unwrap().ratio / table.row(known).unwrap().ratio;
        assert!(ratio <= most, "{loss}: {ratio}");
    }
}

#[test]
fn lost_entries_cost_what_they_should() {
    let Some(trace) = trace(AGENTS) else { return };
    for (loss, ratio) in [(0.02, 1.105), (0.1, 1.53)] {
        let question = Question {
            loss,
            seeds: vec![1],
            ..Question::default()
        };
        let name = "expected cost, lambda 0";
        agree(
            &question.table(&trace, &some(&[name]), &mut |_, _| {}),
            &[(name, ratio)],
            0.05,
        );
    }
}

#[test]
fn routing_of_chat_agrees() {
    let Some(trace) = trace(CHAT) else { return };
    let question = Question {
        seeds: vec![1],
        ..Question::default()
    };
    let expected = [
        ("round robin", 1.26),
        ("session hash + bounded load", 1.10),
        ("SGLang cache_aware", 1.031),
        ("LMetric", 1.006),
        ("greedy longest prefix", 1.0),
    ];
    let table = question.table(
        &trace,
        &some(&expected.map(|(name, _)| name)),
        &mut |_, _| {},
    );
    agree(&table, &expected, 0.05);
}

#[test]
fn lifetimes_agree_where_a_long_entry_protects_its_prefix() {
    let Some(trace) = trace(AGENTS) else { return };
    let table = Lifetimes {
        seeds: vec![1],
        ..Lifetimes::default()
    }
    .table(&trace);
    let expected = [
        (SHORT, 1.355),
        (LONG, 1.196),
        ("5m + 3 pings", 1.225),
        ("5m + hazard pings", 1.225),
        ("session-level, learned", 1.198),
        ("session-level, hindsight", 1.130),
        (CLAIRVOYANT_PINGS, 1.100),
        ("lazy upgrade ping", 1.054),
        ("adaptive, learned", 1.042),
        ("adaptive + upgrade", 1.033),
        (CLAIRVOYANT, 1.0),
    ];
    agree(&table, &expected, 0.05);
    assert!(table.goals.len() == 1 && table.goals[0].is_met);
}

#[test]
fn lifetimes_agree_where_it_does_not() {
    let Some(trace) = trace(AGENTS) else { return };
    let question = Lifetimes {
        long_protects: false,
        seeds: vec![1],
        ..Lifetimes::default()
    };
    let table = question.table(&trace);
    // To clairvoyant pings at 19.60.
    let expected = [
        (SHORT, 1.232),
        (LONG, 1.087),
        ("5m + 3 pings", 1.114),
        ("session-level, hindsight", 1.027),
    ];
    agree(&table, &expected, 0.05);
    let adaptive = table.row("adaptive, learned").unwrap().ratio;
    assert!(
        adaptive > table.row(SHORT).unwrap().ratio,
        "it pays for hours that it does not get"
    );
    // Near who knows all and pings is not reached: what pauses are to come cannot be told. As good as an hour always is.
    assert!(table.row(OURS).unwrap().ratio <= table.row(LONG).unwrap().ratio + 0.005);
    let documented = &table.goals[1];
    assert!(documented.is_met, "{documented:?}");
}
