//! Draining, reloading, breaking, starting again.

use super::books::rows;
use super::client::{Conn, is_served};
use super::house::{
    House, KEY, Plan, Program, fake, figure, on_both, on_both_crossed, quick, until,
};
use super::words::{Ask, Dialect, read};
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stokehold::base::{PoolId, ShardId};
use stokehold::node::{self, Node};
use stokehold::shard::Input;

/// An answer that takes about two seconds, of which the first piece has come.
fn running(at: SocketAddr) -> (Conn, Ask) {
    let text = "[[fake: between_tokens=50 output_tokens=40]]";
    let ask = Ask::new(Dialect::Messages, "own", text).streamed();
    let mut client = Conn::plain(at);
    client.send(&ask.http1());
    (client, ask)
}

/// The answer comes to its right end.
fn is_unharmed((client, ask): &mut (Conn, Ask)) {
    let answer = client.answer();
    let said = read(ask, &answer);
    assert!(said.ended && said.error.is_none(), "{}", answer.text());
    assert_eq!(said.output_tokens, 40);
}

fn is_closed(at: SocketAddr) -> bool {
    TcpStream::connect(at).is_err()
}

fn says_draining(operator: SocketAddr) -> bool {
    let answer = Conn::plain(operator).get("/readyz", &[]);
    answer.head.status == 503 && answer.text() == "draining\n"
}

#[test]
fn a_stop_lets_streams_finish_refuses_connections_and_says_that_it_drains() {
    on_both(|plan| {
        let mut house = House::open(&plan);
        let mut streams: Vec<_> = (0..4).map(|_| running(house.at)).collect();
        let mut idle = house.connect();
        assert_eq!(idle.ask(&Ask::chat("own", "hello")).head.status, 200);
        until("all run", || house.figure("calls_open") == 4.0);
        let (at, operator) = (house.at, house.operator);
        std::thread::scope(|scope| {
            let stopping = scope.spawn(move || {
                house.stop();
                house
            });
            until("it drains", || says_draining(operator));
            until("new connections are refused", || is_closed(at));
            assert!(idle.rest().is_empty(), "an idle connection is closed");
            streams.iter_mut().for_each(is_unharmed);
            let house = stopping.join().expect("stops");
            let rows = rows(&house.ledger());
            assert_eq!(rows.len(), 5);
            assert!(rows.iter().all(|row| row.outcome == "done"), "{rows:?}");
        });
    });
}

#[test]
fn what_outlives_the_drain_is_cut_and_written_down_as_what_it_is() {
    on_both(|plan| {
        let server = ", drain: 300ms".to_owned();
        let mut house = House::open(&Plan { server, ..plan });
        let mut stuck = house.connect();
        let ask = Ask::chat("own", "[[fake: stall_after=3]]").streamed();
        stuck.send(&ask.http1());
        stuck.until_said("data:");
        let begun = Instant::now();
        house.stop();
        assert!(
            begun.elapsed() < Duration::from_secs(6),
            "{:?}",
            begun.elapsed()
        );
        assert!(
            !stuck.rest().ends_with(b"0\r\n\r\n"),
            "a cut answer never looks whole"
        );
        let rows = rows(&house.ledger());
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_ne!(rows[0].outcome, "done");
    });
}

#[test]
fn the_program_drains_at_sigterm_and_ends_well() {
    on_both_crossed(|plan| {
        let mut program = Program::start(&plan);
        let mut stream = running(program.at);
        until("it runs", || figure(program.operator, "calls_open") == 1.0);
        program.signal("TERM");
        until("it drains", || says_draining(program.operator));
        until("new connections are refused", || is_closed(program.at));
        is_unharmed(&mut stream);
        let mut code = None;
        until("it ends", || {
            code = program.ended();
            code.is_some()
        });
        assert_eq!(code, Some(0), "{}", program.said());
        let rows = rows(&program.folder.path().join("data/ledger.sqlite"));
        assert_eq!((rows.len(), &*rows[0].outcome), (1, "done"));
    });
}

/// The configuration at `file` with `from` replaced by `to`.
fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).expect("there");
    assert!(text.contains(from), "{text}");
    std::fs::write(file, text.replace(from, to)).expect("written");
}

fn status(at: SocketAddr, key: &str, body_bytes: usize) -> u16 {
    let text = "x".repeat(body_bytes);
    let body = Ask::chat("own", &text).body.to_string();
    let shown = format!("Bearer {key}");
    let mut client = Conn::plain(at);
    let headers = [("authorization", &*shown)];
    client.send(&super::client::request(
        "POST",
        "/v1/chat/completions",
        &headers,
        body.as_bytes(),
    ));
    client.head().status
}

#[test]
fn a_reload_gives_keys_and_limits_to_the_next_request_and_harms_no_running_one() {
    on_both(|plan| {
        let mut program = Program::start(&plan);
        let file = program.folder.path().join("stokehold.yaml");
        let mut stream = running(program.at);
        until("it runs", || figure(program.operator, "calls_open") == 1.0);
        assert_eq!(status(program.at, "sk-new", 10), 401);
        assert_eq!(status(program.at, KEY, 50_000), 200);
        edit(&file, "limits: {}", "limits: {body_bytes_max: 10KiB}");
        edit(&file, &format!("secret: {KEY}"), "secret: sk-new");
        program.signal("HUP");
        until("it is read", || {
            program.said().contains("configuration read again")
        });
        // Shards hear of it on their own time.
        until("the new key is known", || {
            status(program.at, "sk-new", 10) == 200
        });
        until("the old key is not", || {
            (0..8).all(|_| status(program.at, KEY, 10) == 401)
        });
        assert!((0..8).all(|_| status(program.at, "sk-new", 50_000) == 413));
        edit(&file, "limits: {body", "limits: {body_typo: 1, body");
        program.signal("HUP");
        until("it is refused", || {
            program.said().contains("configuration not changed")
        });
        until("it says why", || program.said().contains("body_typo"));
        assert!((0..8).all(|_| status(program.at, "sk-new", 10) == 200));
        is_unharmed(&mut stream);
        assert_eq!(program.ended(), None);
    });
}

/// A configuration that cannot be: its endpoint names a pool that is not there. No file gives one.
fn impossible(house: &mut House) -> Input {
    let mut config = house.node().config().clone();
    config.endpoints[0].pools = vec![PoolId(u16::MAX)];
    Input::Config(Arc::new(config))
}

#[test]
fn a_shard_that_panics_is_started_again_its_exchanges_are_written_down_and_the_others_go_on() {
    on_both(|plan| {
        let mut house = House::open(&plan);
        const STREAMS: usize = 24;
        let mut streams: Vec<_> = (0..STREAMS).map(|_| running(house.at)).collect();
        until("all run", || house.figure("calls_open") == STREAMS as f64);
        let broken = impossible(&mut house);
        house.node().inject(ShardId(1), broken);
        let (begun, mut finished) = (Instant::now(), 0);
        for (client, ask) in &mut streams {
            let Ok(head) = client.try_head() else {
                continue;
            };
            // Cut, or whole: never an end that looks right and is not.
            if let Ok(body) = client.body(&head) {
                let said = read(ask, &super::client::Answer { head, body });
                assert!(said.ended && said.output_tokens == 40);
                finished += 1;
            }
        }
        assert!((1..STREAMS).contains(&finished), "{finished} of {STREAMS}");
        // Those that are cut see it at once, and not by their own patience.
        assert!(
            begun.elapsed() < Duration::from_secs(12),
            "{:?}",
            begun.elapsed()
        );
        until("it is started again", || {
            house.figure("shard_restarts") == 1.0
        });
        // So many connections reach every shard.
        (0..40).for_each(|_| is_served(house.at));
        // Those that were not cut are kept open until here.
        drop(streams);
        super::house::is_empty(house.operator);
        house.stop();
        let rows = rows(&house.ledger());
        let done = rows.iter().filter(|row| row.outcome == "done").count();
        assert_eq!(done, finished + 40);
        assert_eq!(
            rows.len(),
            STREAMS + 40,
            "each attempt once, the broken ones too"
        );
        let lost = rows.iter().filter(|row| row.outcome != "done");
        assert!(
            lost.clone().all(|row| row.last),
            "{:?}",
            lost.collect::<Vec<_>>()
        );
    });
}

/// Connections of this process to `at` that are not closed by us. The table is that of the whole machine, where another program may still hold one
/// to who listened at that port before.
fn connections_to(at: SocketAddr) -> usize {
    let own: BTreeSet<String> = open_links()
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("Linux");
    let to = format!("0100007F:{:04X}", at.port());
    let open = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // proc_net_tcp(5): the remote address is the third, the state the fourth; 01 is established, 08 closed by the other side alone. The
        // tenth is the socket's inode.
        fields.get(2) == Some(&&*to)
            && matches!(fields.get(3), Some(&"01" | &"08"))
            && fields.get(9).is_some_and(|inode| own.contains(*inode))
    };
    table.lines().filter(open).count()
}

/// What the files of this process are.
fn open_links() -> impl Iterator<Item = String> {
    let open = std::fs::read_dir("/proc/self/fd").expect("Linux");
    open.flatten()
        .filter_map(|f| std::fs::read_link(f.path()).ok())
        .map(|link| link.to_string_lossy().into_owned())
}

/// The connections to `at` are those that `kept` shows.
fn only_what_is_shown(house: &House, at: SocketAddr, kept: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let (open, shown) = (connections_to(at), house.figure(kept));
        if open as f64 == shown {
            return;
        }
        assert!(Instant::now() < end, "{open} are open, {kept}: {shown}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sockets and rings that this process has open. Not all files: glommio 0.9.0 keeps an eventfd of each executor that there ever was.
fn sockets_and_rings() -> usize {
    let counts = |link: &String| link.starts_with("socket:") || link.contains("[io_uring]");
    open_links().filter(counts).count()
}

/// What `count` says once it has said the same for a fifth of a second.
fn settled(count: impl Fn() -> usize) -> usize {
    let (mut last, mut same) = (count(), 0);
    until("it settles", || {
        let now = count();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same >= 40
    });
    last
}

#[test]
fn a_shard_that_panics_leaves_no_connection_and_no_ring_behind() {
    const NAME: &str =
        "loopback::life::a_shard_that_panics_leaves_no_connection_and_no_ring_behind";
    // What is open is counted for a whole process, so this one has no other test in it.
    if !is_alone_with(NAME) {
        return;
    }
    on_both(|plan| {
        for (more, kept) in [("", "upstream_idle"), (", http2: always", "upstream_h2")] {
            let (fakes, far) = fake(quick());
            let mut house = House::open(&plan.clone().other("far", far, more));
            // Many at once, so that each shard keeps some.
            let ask_many = |at: SocketAddr| {
                let ask = Ask::chat("at-far", "hello");
                let mut clients: Vec<Conn> = (0..24).map(|_| Conn::plain(at)).collect();
                clients
                    .iter_mut()
                    .for_each(|client| client.send(&ask.http1()));
                let status = |client: &mut Conn| client.answer().head.status;
                assert!(clients.iter_mut().all(|client| status(client) == 200));
            };
            ask_many(house.at);
            let mut first = None;
            for restarts in 1..=3 {
                let broken = impossible(&mut house);
                house.node().inject(ShardId(1), broken);
                until("it is started again", || {
                    house.figure("shard_restarts") == f64::from(restarts)
                });
                super::house::is_empty(house.operator);
                // Only those of shards that live.
                only_what_is_shown(&house, far, kept);
                ask_many(house.at);
                super::house::is_empty(house.operator);
                only_what_is_shown(&house, far, kept);
                // Both ends of each are in this process. What is just being closed goes away by itself; what was left behind never does.
                let beside = || sockets_and_rings().saturating_sub(2 * connections_to(far));
                let first = *first.get_or_insert_with(|| settled(beside));
                until("no more is open than after the first", || beside() <= first);
            }
            house.stop();
            fakes.stop();
        }
    });
}

/// True in the process that runs the test `name` alone; in another it starts that one, and fails if that fails.
fn is_alone_with(name: &str) -> bool {
    const ALONE: &str = "STOKEHOLD_TEST_ALONE";
    if std::env::var_os(ALONE).is_some_and(|alone| alone == name) {
        return true;
    }
    let mut alone = Command::new(std::env::current_exe().expect("a program"));
    alone
        .args([name, "--exact", "--nocapture"])
        .env(ALONE, name)
        // Its shards panic on purpose; what matters is the one line that says why the test did.
        .env("RUST_BACKTRACE", "0");
    let ended = alone.output().expect("starts");
    let said = String::from_utf8_lossy(&ended.stdout);
    let why = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success() && said.contains("1 passed"),
        "{said}{why}"
    );
    false
}

#[test]
fn a_second_router_on_the_same_data_is_refused_before_it_takes_a_connection() {
    on_both(|plan| {
        let mut house = House::open(&plan);
        // As a configuration is: both would listen at the same port, and the kernel would let them.
        let port = format!("127.0.0.1:{}", house.at.port());
        let file = house.folder.path().join("stokehold.yaml");
        edit(
            &file,
            "listen: \"127.0.0.1:0\"",
            &format!("listen: \"{port}\""),
        );
        let loaded = || node::read_config(&file).expect("right");
        let told = format!("{:#}", Node::start(loaded()).expect_err("one is enough"));
        let process = format!("(process {})", std::process::id());
        assert!(
            told.contains("another router") && told.contains(&process) && told.contains("data_dir"),
            "{told}"
        );
        (0..20).for_each(|_| is_served(house.at));
        house.stop();
        let next = Node::start(loaded()).expect("the first has let go");
        is_served(next.address());
        next.stop().expect("stops");
    });
}

#[test]
fn a_ledger_that_cannot_be_written_is_said_to_whoever_asks_and_nothing_of_it_is_lost() {
    on_both_crossed(|plan| {
        let house = House::open(&plan);
        let damage = |sql: &str| {
            let base = rusqlite::Connection::open(house.ledger()).expect("a ledger");
            base.busy_timeout(Duration::from_secs(5)).expect("patient");
            base.execute_batch(sql).expect("done");
        };
        let ready = || {
            let answer = Conn::plain(house.operator).get("/readyz", &[]);
            (answer.head.status, answer.text())
        };
        assert_eq!(ready(), (200, "ready\n".to_owned()));
        damage("ALTER TABLE attempt RENAME TO gone");
        assert_eq!(
            house.connect().ask(&Ask::chat("own", "hello")).head.status,
            200
        );
        let why = "the ledger cannot be written: no such table: attempt";
        until("it is told", || {
            let (status, text) = ready();
            status == 503 && text.starts_with(why)
        });
        damage("ALTER TABLE gone RENAME TO attempt");
        until("all is well", || ready().0 == 200);
        assert_eq!(rows(&house.ledger()).len(), 1);
    });
}

#[test]
fn who_asks_by_a_wrong_method_is_told_the_right_one() {
    on_both_crossed(|plan| {
        let house = House::open(&plan);
        for (at, path, allow) in [
            (house.at, "/v1/chat/completions", "POST"),
            (house.at, "/v1/messages", "POST"),
            (house.operator, "/metrics", "GET"),
        ] {
            let method = if allow == "GET" { "POST" } else { "GET" };
            let mut client = Conn::plain(at);
            client.send(&super::client::request(method, path, &[], b""));
            let head = client.head();
            assert_eq!((head.status, head.header("allow")), (405, Some(allow)));
        }
    });
}
