//! Prompt caches of real calls: what the fake's own book says was read and written, with a router in front that has three organisations to
//! choose from.

use super::client::{Answer, Conn, request};
use super::house::{House, KEY, fake, quick, until};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use stokehold::fake::Settings;
use stokehold::node::fakes::Fakes;

/// Three organisations at one provider, whose caches and limits have nothing in common.
fn provider(settings: Settings) -> (Fakes, SocketAddr) {
    let keys = (0..3).map(|n| (format!("s{n}"), format!("organisation-{n}")));
    fake(Settings {
        keys: Some(keys.collect()),
        ..settings
    })
}

fn yaml(data: &Path, at: SocketAddr, shards: u16, more: &str) -> String {
    let pool = |n: u8| format!("{{id: p{n}, keys: [{{id: k{n}, secret: s{n}}}]}}");
    format!(
        "server: {{listen: \"127.0.0.1:0\", operator: \"127.0.0.1:0\", shards: {shards}, pin: false}}\n\
         data_dir: {}\nlog: {{level: error}}\nledger: {{commit_every: 10ms}}\n{more}\
         tenants:\n  - {{id: t, cache_marks: client, keys: [{{id: k, secret: {KEY}}}]}}\n\
         providers:\n  - {{id: claude, kind: anthropic, base_url: \"http://{at}\", pools: [{}, {}, {}]}}\n\
         models:\n  - {{id: m, endpoints: [{{provider: claude, price: {{input: 5, output: 25, cache_read: 0.5, cache_write_5m: 6.25}}, \
         cache: {{mode: breakpoints, min_tokens: 1_024, ttls: [5m]}}}}]}}\n",
        data.display(),
        pool(0),
        pool(1),
        pool(2)
    )
}

/// Turns of so many bytes; the last is marked.
fn conversation(who: usize, turns: usize, bytes: usize) -> Value {
    let turn = |n: usize| {
        let text = format!("{who} said {n}, ").repeat(bytes / 12);
        let mut block = json!({"type": "text", "text": text});
        if n + 1 == turns {
            block["cache_control"] = json!({"type": "ephemeral"});
        }
        let role = if n.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        json!({"role": role, "content": [block]})
    };
    let turns: Vec<Value> = (0..turns).map(turn).collect();
    json!({"model": "m", "max_tokens": 12, "messages": turns})
}

fn asked(body: &Value) -> Vec<u8> {
    let authorization = format!("Bearer {KEY}");
    let headers = [
        ("authorization", &*authorization),
        ("content-type", "application/json"),
    ];
    request(
        "POST",
        "/v1/messages",
        &headers,
        body.to_string().as_bytes(),
    )
}

fn ask(at: SocketAddr, body: &Value) -> Answer {
    // Each over a connection of its own, so that every shard has some of them.
    let mut client = Conn::plain(at);
    client.send(&asked(body));
    let answer = client.answer();
    assert_eq!(answer.head.status, 200, "{}", answer.text());
    answer
}

fn expected(answer: &Answer) -> u64 {
    let said = answer.head.header("x-stokehold-cached-tokens-expected");
    said.expect("it is said").parse().expect("a count")
}

/// Promise 3: all that could be read is, whichever core a request comes in at.
#[test]
fn conversations_read_all_that_they_could_whichever_core_they_come_in_at() {
    let (fakes, at) = provider(quick());
    let house = House::configured(|data| yaml(data, at, 2, ""));
    const TURNS: usize = 6;
    std::thread::scope(|scope| {
        for who in 0..12 {
            let at = house.at;
            scope.spawn(move || {
                for turn in 0..TURNS {
                    ask(at, &conversation(who, turn * 2 + 1, 8_000));
                    // What became warm is told to the other core meanwhile.
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    let book = fakes.books().remove(0);
    let billed = book.totals();
    let all = billed.uncached + billed.read + billed.written_5m;
    let ratio = billed.read as f64 / all as f64;
    // Turns of 1, 3, … 11 parts, each of which could read all but the last two.
    let could = (1 + 3 + 5 + 7 + 9) as f64 / (1 + 3 + 5 + 7 + 9 + 11) as f64;
    assert!(ratio > could - 0.02, "{ratio} of {could}: {billed:?}");
    assert!(book.refused().is_empty());
    let organisations: std::collections::BTreeSet<_> =
        book.entries().map(|e| e.organisation.clone()).collect();
    assert!(organisations.len() > 1, "not all at one");
    let operator = Conn::plain(house.operator).get("/metrics", &[]).text();
    assert!(
        operator.contains("stokehold_cache_tokens_expected_total"),
        "{operator}"
    );
}

/// ROUTING 1.5: many at once with one cold prompt pay for one write on each core.
#[test]
fn many_at_once_with_one_cold_prompt_write_it_once_a_core() {
    let (fakes, at) = provider(Settings {
        first_token: Duration::from_millis(300),
        ..quick()
    });
    let house = House::configured(|data| yaml(data, at, 1, ""));
    let head = "what all of them have in common, ".repeat(80_000 / 33);
    std::thread::scope(|scope| {
        for n in 0..40 {
            let (head, at) = (&head, house.at);
            scope.spawn(move || {
                let body = json!({
                    "model": "m", "max_tokens": 12,
                    "system": [{"type": "text", "text": head, "cache_control": {"type": "ephemeral"}}],
                    "messages": [{"role": "user", "content": format!("question {n}")}],
                });
                ask(at, &body);
            });
        }
    });
    let books = fakes.books();
    let entries: Vec<_> = books[0].entries().collect();
    let wrote = entries.iter().filter(|e| e.billed.written_5m > 0).count();
    let read = entries.iter().filter(|e| e.billed.read > 0).count();
    assert_eq!((wrote, read), (1, 39));
    until("its figures show it", || {
        house.figure("requests_gated_total") >= 39.0
    });
}

#[test]
fn what_is_warm_is_known_after_a_restart_and_a_decision_can_be_asked_for() {
    let (_fakes, at) = provider(quick());
    let folder = tempfile::tempdir().expect("a folder");
    let open = || House::configured(|_| yaml(folder.path(), at, 2, ""));
    let mut house = open();
    assert_eq!(expected(&ask(house.at, &conversation(1, 1, 8_000))), 0);
    house.stop();
    let house = open();
    let answer = ask(house.at, &conversation(1, 3, 8_000));
    assert!(expected(&answer) > 1_500, "{}", expected(&answer));
    assert_eq!(answer.head.header("x-stokehold-decision"), Some("warm"));
    let id = answer.head.header("x-stokehold-id").expect("an id");
    let told = Conn::plain(house.operator).get(&format!("/admin/v1/decisions/{id}"), &[]);
    let told: Value = serde_json::from_slice(&told.body).expect("JSON");
    assert_eq!(
        (&told["decision"], &told["exchange"]),
        (&json!("warm"), &json!(id))
    );
    let candidates = told["candidates"].as_array().expect("three");
    assert_eq!(candidates.len(), 3);
    assert!(candidates[0]["chosen"].as_bool() == Some(true), "{told}");
    assert!(
        candidates[1]["why"]
            .as_str()
            .is_some_and(|why| why.contains("more, most of it input")),
        "{told}"
    );
    let mut operator = Conn::plain(house.operator);
    let latest = operator.get("/admin/v1/decisions/latest", &[]);
    let latest: Value = serde_json::from_slice(&latest.body).expect("JSON");
    assert_eq!(latest["exchange"], json!(id));
    assert_eq!(
        operator.get("/admin/v1/decisions/stk_0", &[]).head.status,
        404
    );
}

/// The fake refuses what is over its limits; a twin that is right never lets it, and leaves little of them unused.
#[test]
fn a_provider_at_its_limits_never_has_to_refuse() {
    let mut settings = quick();
    settings.limits.rpm = Some(30);
    let (fakes, at) = provider(settings);
    let limited = |n: u8| {
        (
            format!("secret: s{n}}}]"),
            format!("secret: s{n}}}], limits: [{{rpm: 30, burst: 60s}}]"),
        )
    };
    let house = House::configured(|data| {
        let plain = yaml(data, at, 1, "limits: {queue_time: 20s}\n");
        (0..3)
            .map(limited)
            .fold(plain, |yaml, (from, to)| yaml.replace(&from, &to))
    });
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        for who in 0..23 {
            let at = house.at;
            scope.spawn(move || {
                for turn in 0..4 {
                    ask(at, &conversation(who * 10 + turn, 1, 400));
                }
            });
        }
    });
    let book = fakes.books().remove(0);
    assert_eq!(book.accepted(), 92);
    assert!(book.refused().is_empty(), "{:?}", book.refused());
    // 90 at once, less a fiftieth that is left alone; the rest comes at 88 a minute.
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    until("the ledger has them", || {
        house.figure("ledger_rows_written_total") >= 92.0
    });
}
