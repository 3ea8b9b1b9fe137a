//! The ledger, the metrics and the fakes' own books agree.

use super::client::Conn;
use super::client_h2::{self, h2c};
use super::house::{House, Plan, on_both, on_both_crossed, until};
use super::words::{Ask, DIALECTS, Dialect, read};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use stokehold::fake::{Ended, Entry};

/// One attempt as it was written down.
#[derive(Clone, Debug)]
pub struct Row {
    pub attempt: i64,
    pub last: bool,
    pub outcome: String,
    pub upstream_id: String,
    pub cost: i64,
    pub estimated: bool,
    /// Uncached, read, written for 5 minutes, for an hour, output.
    pub tokens: [u64; 5],
}

pub fn rows(ledger: &Path) -> Vec<Row> {
    let base = Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let base = base.expect("a ledger");
    let sql = "SELECT attempt, last, (SELECT text FROM name WHERE id = outcome), upstream_id, cost, estimated,
        ifnull(input_uncached,0), ifnull(cache_read,0), ifnull(cache_write_5m,0), ifnull(cache_write_1h,0), ifnull(output,0)
        FROM attempt ORDER BY exchange, attempt";
    let mut statement = base.prepare(sql).expect("SQL");
    let read = |row: &rusqlite::Row<'_>| {
        let mut tokens = [0; 5];
        for (at, count) in tokens.iter_mut().enumerate() {
            *count = row.get::<_, i64>(6 + at)? as u64;
        }
        Ok(Row {
            attempt: row.get(0)?,
            last: row.get(1)?,
            outcome: row.get(2)?,
            upstream_id: row.get(3)?,
            cost: row.get(4)?,
            estimated: row.get(5)?,
            tokens,
        })
    };
    let rows = statement.query_map([], read).expect("rows");
    rows.collect::<Result<_, _>>().expect("rows")
}

/// What an entry costs by the price list of these tests, in nano-dollars: a dollar a million tokens is 1,000 a token.
fn priced(tokens: [u64; 5]) -> i64 {
    let prices = [1_000, 100, 1_250, 2_000, 5_000];
    let sum: u64 = tokens.iter().zip(prices).map(|(t, p)| t * p).sum();
    i64::try_from(sum).expect("not that dear")
}

fn charged(entry: &Entry) -> [u64; 5] {
    let b = entry.billed;
    [b.uncached, b.read, b.written_5m, b.written_1h, b.output]
}

/// One of a mixed load: every dialect, whole and streamed, long prompts that are cached, and refusals.
fn mixed(number: usize) -> Ask {
    let dialect = DIALECTS[number % 3];
    let text = match number % 7 {
        0 => format!("[[fake: torn output_tokens={}]]", 1 + number % 40),
        1 => "word ".repeat(3_000),
        2 => "[[fake: unknown_event]] and so on".to_owned(),
        3 => "[[fake: status=400]]".to_owned(),
        _ => format!("ask number {number}"),
    };
    let mut ask = Ask::new(dialect, "own", &text);
    if dialect == Dialect::Messages && number.is_multiple_of(2) {
        let system = "You are careful. ".repeat(600);
        let ttl = if number.is_multiple_of(4) { "5m" } else { "1h" };
        let mark = json!({"type": "ephemeral", "ttl": ttl});
        ask.body["system"] = json!([{"type": "text", "text": system, "cache_control": mark}]);
    }
    if number % 5 < 3 { ask.streamed() } else { ask }
}

/// Asks all, over several connections of both versions at once; how many were answered with 200.
fn load(at: SocketAddr, count: usize) -> usize {
    const CLIENTS: usize = 8;
    std::thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|client| {
            scope.spawn(move || {
                let mine = (client..count).step_by(CLIENTS).map(mixed);
                if client.is_multiple_of(2) {
                    return mine.map(|ask| over_http1(at, &ask)).sum::<usize>();
                }
                h2c(at, async |mut send| {
                    let mut answered = 0;
                    for ask in mine {
                        let answer = client_h2::ask(&mut send, &ask).await.expect("an answer");
                        answered += usize::from(is_right(&ask, &answer));
                    }
                    answered
                })
            })
        });
        let clients: Vec<_> = clients.collect();
        clients
            .into_iter()
            .map(|c| c.join().expect("no panic"))
            .sum()
    })
}

fn over_http1(at: SocketAddr, ask: &Ask) -> usize {
    // A connection each: so the kernel spreads them over the shards.
    usize::from(is_right(ask, &Conn::plain(at).ask(ask)))
}

fn is_right(ask: &Ask, answer: &super::client::Answer) -> bool {
    let said = read(ask, answer);
    let fine = answer.head.status == 200;
    assert_eq!(
        fine,
        said.ended && said.error.is_none(),
        "{ask:?}: {}",
        answer.text()
    );
    fine
}

#[test]
fn the_ledger_equals_the_books_of_the_provider_to_the_nano_dollar_and_each_attempt_is_there_once() {
    on_both(|plan| {
        const COUNT: usize = 280;
        let mut house = House::open(&plan);
        let answered = load(house.at, COUNT);
        assert!(answered > COUNT / 2 && answered < COUNT, "{answered}");
        let book = house.book();
        house.stop();
        let rows = rows(&house.ledger());
        assert_eq!(rows.len(), COUNT, "one attempt each");
        assert!(rows.iter().all(|row| row.last && row.attempt == 1));
        let entries: Vec<&Entry> = book.entries().collect();
        assert_eq!(entries.len(), COUNT);
        let mut by_id: BTreeMap<&str, &Row> = BTreeMap::new();
        for row in &rows {
            let twice = by_id.insert(&row.upstream_id, row);
            assert!(twice.is_none(), "{row:?} {twice:?}");
        }
        for entry in &entries {
            let row = by_id.get(entry.id.as_str());
            let row = row.unwrap_or_else(|| panic!("{entry:?} is not in the ledger"));
            assert_eq!(row.tokens, charged(entry), "{entry:?} {row:?}");
            assert_eq!(row.cost, priced(charged(entry)), "{entry:?} {row:?}");
            let done = entry.ended == Ended::Complete;
            assert_eq!(row.outcome == "done", done, "{entry:?} {row:?}");
            assert!(!row.estimated, "{entry:?} {row:?}");
        }
        let billed: i64 = entries.iter().map(|e| priced(charged(e))).sum();
        assert_eq!(rows.iter().map(|row| row.cost).sum::<i64>(), billed);
        let cached: u64 = entries
            .iter()
            .map(|e| e.billed.read + e.billed.written_1h)
            .sum();
        assert!(billed > 0 && cached > 0, "a load that shows nothing");
    });
}

#[test]
fn health_readiness_and_figures_tell_what_was_sent() {
    on_both_crossed(|plan| {
        const COUNT: usize = 42;
        let house = House::open(&plan);
        let answered = load(house.at, COUNT) as f64;
        let wrong = [("authorization", "Bearer wrong")];
        assert_eq!(house.connect().get("/v1/models", &wrong).head.status, 401);
        until("all is counted", || {
            house.figure("exchanges_done_total") >= answered
        });
        house.is_well();
        until("the last is counted", || {
            house.figure("exchanges_done_total") > answered
        });
        let (done, all) = (answered + 1.0, COUNT as f64 + 1.0);
        let figure = |name| house.figure(name);
        assert_eq!(figure("exchanges_begun_total"), all);
        assert_eq!(figure("exchanges_done_total"), done);
        assert_eq!(figure("exchanges_failed_total"), all - done);
        assert_eq!(figure("attempts_total"), all);
        assert_eq!(figure("attempts_done_total"), done);
        assert_eq!(figure("attempts_failed_total"), all - done);
        assert_eq!(figure("attempt_seconds_count"), all);
        assert_eq!(figure("retries_total"), 0.0);
        assert_eq!(figure("unauthenticated_total"), 1.0);
        assert_eq!(figure("broken_promises_total"), 0.0);
        assert_eq!(figure("shard_restarts"), 0.0);
        assert_eq!(figure("shards"), f64::from(plan.shards));
        let totals = house.book().totals();
        assert_eq!(figure("tokens_output_total"), totals.output as f64);
        assert_eq!(figure("tokens_cache_read_total"), totals.read as f64);
        until("the ledger has them", || {
            house.figure("ledger_rows_written_total") == all
        });
        let mut operator = Conn::plain(house.operator);
        for (path, said) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
            let answer = operator.get(path, &[]);
            assert_eq!((answer.head.status, &*answer.text()), (200, said));
        }
        assert_eq!(operator.get("/nothing", &[]).head.status, 404);
    });
}

#[test]
fn figures_want_the_operators_key_where_there_is_one_and_probes_do_not() {
    on_both_crossed(|plan| {
        let server = ", operator_key: operators-secret".to_owned();
        let house = House::open(&Plan { server, ..plan });
        let mut operator = Conn::plain(house.operator);
        for shown in [
            "",
            "Bearer ",
            "Bearer operators-secre",
            "Bearer operators-secrets",
        ] {
            let answer = operator.get("/metrics", &[("authorization", shown)]);
            assert_eq!(answer.head.status, 401, "{shown}");
            assert!(!answer.text().contains("stokehold_"), "{shown}");
        }
        let right = [("authorization", "Bearer operators-secret")];
        assert_eq!(operator.get("/metrics", &right).head.status, 200);
        for probe in ["/healthz", "/readyz"] {
            assert_eq!(operator.get(probe, &[]).head.status, 200);
        }
    });
}
