//! The ledger while its disk is slow, locked or was left by an earlier life: nobody who asks notices, and all is counted once.

use super::books::rows;
use super::client::Conn;
use super::house::{House, KEY, Plan, on_both, on_both_crossed, until};
use super::words::{Ask, Dialect};
use rusqlite::Connection;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

fn status(at: SocketAddr, text: &str) -> u16 {
    // A connection each: so the kernel spreads them over the shards.
    let ask = Ask::new(Dialect::Chat, "own", text);
    Conn::plain(at).ask(&ask).head.status
}

fn another_program(ledger: &Path) -> Connection {
    let other = Connection::open(ledger).expect("a ledger");
    other.busy_timeout(Duration::from_secs(5)).expect("patient");
    other
}

fn exchanges_and_attempts(ledger: &Path) -> (i64, i64) {
    let base = another_program(ledger);
    let sql = "SELECT count(*), count(DISTINCT exchange || attempt) FROM attempt";
    base.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("counted")
}

/// FIELD-BUGS 59: the ledger's file is another program's for seconds; all are answered meanwhile, as quickly as ever, and counted afterwards.
#[test]
fn field_59_a_locked_ledger_holds_up_nobody_and_catches_up() {
    on_both(|plan| {
        const COUNT: i64 = 60;
        let mut house = House::open(&plan);
        assert_eq!(status(house.at, "before"), 200);
        until("the first is written", || {
            house.figure("ledger_rows_written_total") >= 1.0
        });
        let other = another_program(&house.ledger());
        other.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let begun = Instant::now();
        for number in 0..COUNT {
            assert_eq!(status(house.at, &format!("ask {number}")), 200);
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "they waited");
        until("it was tried", || {
            house.figure("ledger_commits_failed_total") >= 1.0
        });
        assert_eq!(house.figure("ledger_rows_written_total"), 1.0);
        other.execute_batch("COMMIT").expect("let go");
        until("it caught up", || {
            house.figure("ledger_rows_written_total") == (COUNT + 1) as f64
        });
        house.stop();
        assert_eq!(
            exchanges_and_attempts(&house.ledger()),
            (COUNT + 1, COUNT + 1)
        );
    });
}

/// FIELD-BUGS 62: somebody takes the file again and again, a fifth of a second each time, as a slow disk would hold up each commit.
#[test]
fn field_62_a_busy_ledger_refuses_nobody() {
    on_both_crossed(|plan| {
        let mut house = House::open(&plan);
        let ledger = house.ledger();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            let other = another_program(&ledger);
            while stopped.try_recv().is_err() {
                other.execute_batch("BEGIN IMMEDIATE").expect("locked");
                std::thread::sleep(Duration::from_millis(200));
                other.execute_batch("COMMIT").expect("let go");
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        const COUNT: usize = 120;
        for number in 0..COUNT {
            assert_eq!(status(house.at, &format!("ask {number}")), 200);
        }
        stop.send(()).expect("it listens");
        other.join().expect("no panic");
        house.stop();
        assert_eq!(rows(&house.ledger()).len(), COUNT);
        let all = COUNT as i64;
        assert_eq!(exchanges_and_attempts(&house.ledger()), (all, all));
    });
}

/// What was spent today is spent after a restart too, and by all shards together once.
#[test]
fn budgets_hold_over_a_restart() {
    on_both(|plan| {
        let folder = tempfile::tempdir().expect("a folder");
        let tenant = ", limits: {usd_per_day: 0.002}".to_owned();
        let plan = Plan { tenant, ..plan };
        let open = || House::configured(|_| plan.yaml(&folder.path().join("data")));
        let mut house = open();
        let (mut served, mut refused) = (0, 0);
        while refused < 24 {
            match status(house.at, "hello") {
                200 => (served, refused) = (served + 1, 0),
                429 => refused += 1,
                other => panic!("status {other}"),
            }
            assert!(served < 500, "it never ends");
        }
        assert!(served > 3, "{served}");
        house.stop();
        let mut house = open();
        for _ in 0..24 {
            assert_eq!(status(house.at, "hello"), 429);
        }
        house.stop();
        // Half of it spent is not all of it spent.
        let twice = Plan {
            tenant: ", limits: {usd_per_day: 0.008}".to_owned(),
            ..plan.clone()
        };
        let mut house = House::configured(|_| twice.yaml(&folder.path().join("data")));
        assert_eq!(status(house.at, "hello"), 200);
        house.stop();
    });
}

/// A tenant asks what it has spent, and is told its own alone.
#[test]
fn a_tenant_is_told_what_it_spent_and_no_other() {
    on_both_crossed(|plan| {
        let house = House::configured(|data| {
            let yaml = plan.yaml(data);
            let other = "tenants:\n  - {id: other, keys: [{id: ko, secret: sk-other}]}\n";
            yaml.replacen("tenants:\n", other, 1)
        });
        for number in 0..5 {
            assert_eq!(status(house.at, &format!("ask {number}")), 200);
        }
        until("they are written", || {
            house.figure("ledger_rows_written_total") >= 5.0
        });
        let get = |key: &str, query: &str| {
            let shown = format!("Bearer {key}");
            let path = format!("/api/v1/usage{query}");
            let answer = house.connect().get(&path, &[("authorization", &shown)]);
            let body: serde_json::Value = serde_json::from_str(&answer.text()).expect("JSON");
            (answer.head.status, body)
        };
        let (status, told) = get(KEY, "?since=1h&by=model,outcome");
        assert_eq!(status, 200, "{told}");
        assert_eq!(
            (&told["tenant"], &told["total"]["attempts"]),
            (&"t".into(), &5.into())
        );
        assert_eq!(told["groups"].as_array().map(Vec::len), Some(1), "{told}");
        assert_eq!(
            (&told["groups"][0]["model"], &told["groups"][0]["outcome"]),
            (&"own".into(), &"done".into())
        );
        assert!(told["total"]["cost"].as_i64() > Some(0), "{told}");
        assert!(told["total"].get("provider_cost").is_none(), "{told}");
        let (status, told) = get("sk-other", "?by=model");
        assert_eq!(
            (status, &told["total"]["attempts"]),
            (200, &0.into()),
            "{told}"
        );
        for (query, names) in [
            ("?by=key", "by: `key` is none of"),
            ("?since=soon", "since: `soon`"),
            ("?since=now", "since: it must lie before until"),
        ] {
            let (status, told) = get(KEY, query);
            assert_eq!(status, 400, "{told}");
            assert!(told.to_string().contains(names), "{told}");
        }
        assert_eq!(get("sk-nobody", "").0, 401);
    });
}
