//! Answers that were begun are found again: by who left, by another shard, after a restart, and after the program was killed.

use super::books::rows;
use super::client::{Answer, Conn, request};
use super::house::{House, KEY, Plan, Program, fake, on_both, quick, until};
use super::words::{Ask, DIALECTS, Dialect, read};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use stokehold::fake::{Ended, Settings};

fn key() -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {KEY}"))]
}

fn get(at: SocketAddr, path: &str) -> Answer {
    let headers = key();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, &**v)).collect();
    Conn::plain(at).get(path, &headers)
}

fn id_of(answer: &Answer) -> String {
    answer
        .head
        .header("x-stokehold-id")
        .expect("an id")
        .to_owned()
}

/// A stream without the numbers that a resumed one adds where its dialect has none.
fn bare(dialect: Dialect, text: &str) -> String {
    let own = dialect == Dialect::Native;
    let lines = text.lines().filter(|l| own || !l.starts_with("id: "));
    lines.collect::<Vec<_>>().join("\n")
}

fn numbers(text: &str) -> Vec<u64> {
    let of = |line: &str| line.strip_prefix("id: ")?.trim().parse().ok();
    text.lines().filter_map(of).collect()
}

#[test]
fn an_answer_is_fetched_and_resumed_over_sockets_from_any_shard_also_after_a_restart() {
    on_both(|plan| {
        let mut house = House::open(&plan);
        let mut seen: Vec<(Dialect, String, String)> = Vec::new();
        for dialect in DIALECTS {
            let told = house
                .connect()
                .ask(&Ask::new(dialect, "own", "a story").streamed());
            seen.push((dialect, id_of(&told), told.text()));
        }
        for restarted in [false, true] {
            if restarted {
                house.reopen(&plan);
            }
            for (dialect, id, text) in &seen {
                let at = format!("/api/v1/responses/{id}/events");
                // Each connection lands on some shard.
                for _ in 0..3 {
                    let whole = get(house.at, &at);
                    assert_eq!(whole.head.status, 200, "{}", whole.text());
                    assert_eq!(bare(*dialect, &whole.text()), bare(*dialect, text));
                }
                let whole = get(house.at, &at).text();
                let numbers = numbers(&whole);
                let middle = numbers[numbers.len() / 2];
                let rest = get(house.at, &format!("{at}?after={middle}")).text();
                assert!(
                    whole.ends_with(&rest) && rest.len() < whole.len(),
                    "{dialect:?}"
                );
                let found = get(house.at, &format!("/api/v1/responses/{id}"));
                let found: Value = serde_json::from_str(&found.text()).expect("JSON");
                assert_eq!(found["status"], "complete", "{found}");
                assert_eq!(found["response"]["usage"]["output_tokens"], 12, "{found}");
                assert_eq!(found["attempts"][0]["outcome"], "done", "{found}");
                assert_eq!(
                    found["attempts"].as_array().map(Vec::len),
                    Some(1),
                    "{found}"
                );
            }
        }
        house.is_well();
    });
}

#[test]
fn one_key_is_paid_once_however_many_ask_at_the_same_moment() {
    on_both(|plan| {
        let house = House::open(&plan);
        for dialect in DIALECTS {
            for stream in [false, true] {
                let ask = Ask::new(dialect, "own", "once")
                    .with("idempotency-key", &format!("{dialect:?}-{stream}"));
                let ask = if stream { ask.streamed() } else { ask };
                let mut conns: Vec<Conn> = (0..6).map(|_| house.connect()).collect();
                let before = house.book().accepted();
                for conn in &mut conns {
                    conn.send(&ask.http1());
                }
                let told: Vec<Answer> = conns.iter_mut().map(Conn::answer).collect();
                for answer in &told {
                    assert_eq!(answer.head.status, 200, "{}", answer.text());
                    assert_eq!(answer.text(), told[0].text());
                    assert!(read(&ask, answer).ended);
                }
                assert_eq!(house.book().accepted(), before + 1, "{dialect:?}");
            }
        }
        house.is_well();
    });
}

#[test]
fn who_leaves_a_stream_and_comes_back_misses_nothing() {
    on_both(|plan| {
        let slow = Plan {
            fake: "{first_token: 5ms, between_tokens: 10ms, output_tokens: 40}".to_owned(),
            ..plan
        };
        let house = House::open(&slow);
        for (dialect, wait) in DIALECTS.into_iter().zip([0, 30, 100]) {
            let ask = Ask::new(dialect, "own", "a long story").streamed();
            let mut conn = house.connect();
            conn.send(&ask.http1());
            let head = conn.head();
            let id = head.header("x-stokehold-id").expect("an id").to_owned();
            std::thread::sleep(Duration::from_millis(wait));
            drop(conn);
            // It still runs: the rest comes as it is made.
            let begun = Instant::now();
            let tail = get(house.at, &format!("/api/v1/responses/{id}/events"));
            assert!(read(&ask, &tail).ended, "{}", tail.text());
            assert_eq!(read(&ask, &tail).output_tokens, 40);
            assert!(begun.elapsed() > Duration::from_millis(100), "it ran");
            let again = get(house.at, &format!("/api/v1/responses/{id}/events"));
            assert_eq!(again.text(), tail.text());
        }
        house.is_well();
    });
}

/// What a client of the kill test saw before its connection broke.
struct Seen {
    ask: Ask,
    id: Option<String>,
    bytes: String,
}

/// The program is killed at some moment under load, `times` over the same data; after each everything that was seen is there.
fn kills(times: u32, seed: u64) {
    let settings = Settings {
        first_token: Duration::from_millis(3),
        between_tokens: Duration::from_millis(2),
        ..quick()
    };
    let (fakes, at) = fake(settings);
    let plan = Plan::new("epoll", 2).other("away", at, "");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut program = Program::start(&plan);
    let mut served = 0;
    for nth in 0..times {
        let (tell, told) = mpsc::channel();
        let threads: Vec<_> = (0..6)
            .map(|n| {
                let (tell, at, first) = (tell.clone(), program.at, nth * 7 + n);
                std::thread::Builder::new()
                    .spawn(move || ask_on(at, first, &tell))
                    .expect("a thread")
            })
            .collect();
        drop(tell);
        std::thread::sleep(Duration::from_micros(rng.u64(20_000..120_000)));
        let folder = program.kill();
        let seen: Vec<Seen> = told.iter().collect();
        for thread in threads {
            thread.join().expect("ended");
        }
        program = Program::start_in(folder, &plan);
        let known = seen.iter().filter(|s| s.id.is_some()).count();
        for one in &seen {
            found_again(program.at, one, nth);
        }
        served += known;
    }
    assert!(served > 0 || times < 5, "nobody was served");
    // Every call that the fake was paid for has its row; what came whole, to the token.
    // One that is killed but once may have been killed before anything was whole.
    until("the fake has heard of an end", || {
        let book = fakes.books().remove(0);
        times < 5 || book.entries().any(|e| e.ended == Ended::Complete)
    });
    let folder = program.kill();
    let rows = rows(&folder.path().join("data/ledger.sqlite"));
    let mut by_id: BTreeMap<&str, Vec<&super::books::Row>> = BTreeMap::new();
    for row in &rows {
        by_id.entry(&row.upstream_id).or_default().push(row);
    }
    let book = fakes.books().remove(0);
    let (mut exact, mut partial) = (0, 0);
    for entry in book.entries() {
        let billed = entry.billed;
        let tokens = [
            billed.uncached,
            billed.read,
            billed.written_5m,
            billed.written_1h,
            billed.output,
        ];
        match by_id.get(&*entry.id) {
            Some(found) => {
                assert_eq!(found.len(), 1, "{entry:?}: once");
                let row = found[0];
                if row.outcome == "done" {
                    assert_eq!(row.tokens, tokens, "{entry:?} {row:?}");
                    exact += 1;
                }
            }
            // It was out when the program died: its row is by estimate, and says so.
            None => partial += 1,
        }
    }
    let interrupted = rows.iter().filter(|r| r.outcome != "done").count();
    assert!(
        rows.iter()
            .filter(|r| r.outcome != "done")
            .all(|r| r.estimated)
    );
    assert!(
        partial <= interrupted,
        "{partial} calls without a row of {interrupted}"
    );
    assert!(exact > 0 || times < 5);
}

/// Asks one thing after the other until the connection breaks.
fn ask_on(at: SocketAddr, first: u32, tell: &mpsc::Sender<Seen>) {
    for n in first.. {
        let dialect = DIALECTS[n as usize % DIALECTS.len()];
        let ask = Ask::new(dialect, "at-away", &format!("story {n}"));
        let ask = if n % 4 == 3 { ask } else { ask.streamed() };
        let Ok(stream) = std::net::TcpStream::connect(at) else {
            return;
        };
        let mut conn = Conn::over(stream);
        if conn.try_send(&ask.http1()).is_err() {
            return;
        }
        let Ok(head) = conn.try_head() else {
            let _ = tell.send(Seen {
                ask,
                id: None,
                bytes: String::new(),
            });
            return;
        };
        let id = head.header("x-stokehold-id").map(str::to_owned);
        let (mut bytes, mut whole) = (Vec::new(), true);
        loop {
            match conn.piece(&head) {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                Ok(None) => break,
                Err(_) => {
                    whole = false;
                    break;
                }
            }
            if head.header("transfer-encoding").is_none() {
                break;
            }
        }
        let bytes = String::from_utf8(bytes).expect("UTF-8");
        let _ = tell.send(Seen { ask, id, bytes });
        if !whole {
            return;
        }
    }
}

fn found_again(at: SocketAddr, seen: &Seen, nth: u32) {
    let Some(id) = &seen.id else {
        return;
    };
    let found = get(at, &format!("/api/v1/responses/{id}"));
    assert_eq!(found.head.status, 200, "kill {nth}, {id}: {}", found.text());
    let told: Value = serde_json::from_str(&found.text()).expect("JSON");
    let state = told["status"].as_str().expect("a state").to_owned();
    assert!(
        ["complete", "interrupted"].contains(&&*state),
        "kill {nth}: {told}"
    );
    assert!(
        told["attempts"].as_array().is_some_and(|a| !a.is_empty()),
        "its bill: {told}"
    );
    if !seen.ask.stream {
        if !seen.bytes.is_empty() {
            assert_eq!(state, "complete", "kill {nth}: a whole answer was seen");
        }
        return;
    }
    let events = get(at, &format!("/api/v1/responses/{id}/events"));
    let dialect = seen.ask.dialect;
    let (again, seen) = (bare(dialect, &events.text()), bare(dialect, &seen.bytes));
    assert!(
        again.starts_with(seen.trim_end()),
        "kill {nth}: what was seen is there\n{seen}\n{again}"
    );
}

#[test]
fn a_program_that_is_killed_twenty_times_loses_nothing_that_was_sent_or_paid_for() {
    kills(20, 1);
}

/// Two hundred, for who asks for it: STOKEHOLD_KILLS=200.
#[test]
fn a_program_may_be_killed_as_often_as_one_likes() {
    let times = std::env::var("STOKEHOLD_KILLS").ok();
    kills(times.and_then(|n| n.parse().ok()).unwrap_or(1), 2);
}

#[test]
fn a_cancel_from_another_connection_stops_the_call_and_keeps_what_came() {
    on_both(|plan| {
        let slow = Plan {
            fake: "{first_token: 5ms, between_tokens: 20ms, output_tokens: 500}".to_owned(),
            ..plan
        };
        let house = House::open(&slow);
        let mut conn = house.connect();
        conn.send(&Ask::chat("own", "a very long story").streamed().http1());
        let head = conn.head();
        let id = head.header("x-stokehold-id").expect("an id").to_owned();
        let at = format!("/api/v1/responses/{id}");
        let headers = key();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, &**v)).collect();
        let mut other = house.connect();
        other.send(&request("POST", &format!("{at}/cancel"), &headers, b""));
        let told = other.answer();
        assert_eq!(told.head.status, 200, "{}", told.text());
        let body = conn.body(&head).expect("it ends as HTTP says");
        assert!(String::from_utf8_lossy(&body).contains("cancelled"));
        until("it is written down", || {
            let found: Value = serde_json::from_str(&get(house.at, &at).text()).expect("JSON");
            found["status"] == "cancelled"
        });
        let mut other = house.connect();
        other.send(&request("DELETE", &at, &headers, b""));
        assert_eq!(other.answer().head.status, 200);
        assert_eq!(get(house.at, &at).head.status, 404);
        house.is_well();
    });
}
