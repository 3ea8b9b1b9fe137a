//! The pieces of the rig together, on tiny numbers, in one process: so that no bench rots.

#![allow(clippy::unwrap_used, reason = "a failed test is meant to panic")]

use rig::ask::Ask;
use rig::canned::Dialect;
use rig::load::{self, Plan};
use rig::tally::Report;
use rig::{bounds, echo, ledger, subject};
use std::net::SocketAddr;
use std::time::Duration;
use stokehold::net::runtime::bind;

fn plan(to: SocketAddr) -> Plan {
    Plan {
        to,
        ask: Ask {
            dialect: Dialect::Chat,
            model: subject::model(Dialect::Chat),
            key: subject::KEY.to_owned(),
            stream: false,
            body_bytes: 1_024,
            prefix: String::new(),
        },
        concurrency: 4,
        requests: 40,
        time: Duration::from_secs(5),
        rate: None,
        pace: None,
        h2c: None,
        ramp: Duration::ZERO,
        limit: Duration::from_secs(5),
    }
}

/// Loads an echo that says `settings` with each of `plans`.
fn against_echo(settings: echo::Settings, plans: impl Fn(SocketAddr) -> Vec<Plan>) -> Vec<Report> {
    bounds::run(Duration::from_secs(20), async {
        let listener = bind("127.0.0.1:0".parse()?, 128)?;
        let plans = plans(listener.local_addr()?);
        let serving = tokio::task::spawn_local(echo::serve(listener, settings));
        let mut reports = Vec::new();
        for plan in plans {
            reports.push(load::run(plan).await?.report());
        }
        serving.abort();
        Ok(reports)
    })
    .unwrap()
}

const AT_ONCE: echo::Settings = echo::Settings {
    body_bytes: 1_024,
    chunks: 50,
    first_token: Duration::ZERO,
    between: Duration::ZERO,
};

#[test]
fn both_protocols_bring_the_same_answers() {
    for dialect in [Dialect::Chat, Dialect::Messages] {
        for stream in [false, true] {
            let reports = against_echo(AT_ONCE, |to| {
                let mut one = plan(to);
                (one.ask.dialect, one.ask.stream) = (dialect, stream);
                let mut two = one.clone();
                two.h2c = Some(2);
                vec![one, two]
            });
            for report in &reports {
                assert_eq!((report.asked, report.done), (40, 40), "{report:?}");
                assert_eq!(report.answers_hash, reports[0].answers_hash);
                assert_eq!(report.sent_bytes, 40 * 1_024);
            }
            assert!(stream || reports[0].body_bytes == 40 * 1_024);
        }
    }
}

#[test]
fn an_open_loop_asks_at_its_rate() {
    let reports = against_echo(AT_ONCE, |to| {
        let mut one = plan(to);
        (one.rate, one.requests, one.time) = (Some(500.0), u64::MAX, Duration::from_millis(200));
        vec![one]
    });
    assert_eq!((reports[0].asked, reports[0].done), (100, 100));
}

#[test]
fn paced_streams_are_read_as_they_come_and_stalls_are_counted() {
    let paced = echo::Settings {
        chunks: 3,
        between: Duration::from_millis(30),
        ..AT_ONCE
    };
    for h2c in [None, Some(1)] {
        let reports = against_echo(paced, |to| {
            let mut one = plan(to);
            (one.ask.stream, one.h2c, one.requests) = (true, h2c, 4);
            // Ten times 1 ms is less than what the upstream waits between two pieces.
            one.pace = Some(Duration::from_millis(1));
            vec![one]
        });
        assert_eq!(reports[0].done, 4, "{:?}", reports[0]);
        // Five pauses between the six events of each of four streams; a loaded machine may bring two events at once.
        assert!(reports[0].stalls >= 4 && reports[0].gap_us.count >= reports[0].stalls);
        assert!(reports[0].first_byte_us.max < reports[0].latency_us.p50);
    }
}

#[test]
fn what_fails_is_counted_by_kind() {
    let reports = against_echo(AT_ONCE, |to| {
        let mut lost = plan(to);
        lost.ask.prefix = "/v1/chat/completions/nowhere".to_owned();
        lost.ask.dialect = Dialect::Messages;
        lost.requests = 3;
        let mut refused = plan("127.0.0.1:9".parse().unwrap());
        refused.requests = 2;
        vec![lost, refused]
    });
    assert_eq!(reports[0].done, 3, "a prefix is put before the path");
    assert_eq!(reports[1].failures["connect"], 2);
}

#[test]
fn what_is_unfinished_at_the_limit_is_told() {
    let slow = echo::Settings {
        first_token: Duration::from_secs(60),
        ..AT_ONCE
    };
    let reports = against_echo(slow, |to| {
        let mut one = plan(to);
        one.limit = Duration::from_millis(100);
        vec![one]
    });
    assert_eq!(reports[0].failures["unfinished"], 4);
}

#[test]
fn the_ledger_has_every_row_that_was_measured() {
    let args = ledger::Args {
        rows: 250,
        batch: 100,
        file: None,
    };
    let figures = ledger::run(&args).unwrap();
    // 250 rows from a quarter of a million nano-dollars on, each one dearer than the one before.
    assert_eq!(figures.cost, 250 * 250_000 + 249 * 250 / 2);
    assert!(figures.slowest <= figures.took && figures.bytes > 0);
}
