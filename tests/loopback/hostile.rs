//! Clients that mean harm, or are broken: whatever they send in whatever phase, the process stays healthy, bounded, and serves others.
//!
//! Against the program itself, so that its memory is its own.

use super::client::{Conn, dial, is_served, request};
use super::client_h2::{self, h2c};
use super::house::{KEY, Plan, Program, figure, is_empty, on_both, on_both_crossed, until};
use super::words::Ask;
use bytes::Bytes;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Short times, so that a test sees them pass.
const LIMITS: &str = "{header_time: 700ms, body_time: 700ms, keep_alive: 2s, header_bytes_max: 32KiB, header_count_max: 64, body_bytes_max: 1MiB, bodies_bytes_max: 16MiB, connections_max: 2_000}";

fn open(plan: &Plan) -> Program {
    let program = Program::start(&Plan {
        limits: LIMITS.to_owned(),
        tenant: ", on_disconnect: cancel".to_owned(),
        ..plan.clone()
    });
    is_served(program.at);
    program
}

/// What every attack must leave: nothing broken, nothing held, little more memory, and service.
fn is_unharmed(program: &mut Program, before: u64) {
    is_served(program.at);
    is_empty(program.operator);
    for figure_that_is_zero in [
        "broken_promises_total",
        "task_panics_total",
        "shard_restarts",
    ] {
        assert_eq!(
            figure(program.operator, figure_that_is_zero),
            0.0,
            "{figure_that_is_zero}"
        );
    }
    let grown = program.memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more than before");
    assert_eq!(program.ended(), None, "{}", program.said());
    is_served(program.at);
}

/// Sends these bytes whatever becomes of them; all that came back until the connection's end.
fn said_to(at: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = dial(at);
    // The other side may close before it has read all.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(more: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\n{more}\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn requests_that_say_two_things_at_once_are_refused_and_what_follows_them_is_never_a_second_request()
 {
    on_both(|plan| {
        let mut program = open(&plan);
        let before = program.memory();
        let second = "GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n";
        let smuggled = format!("0\r\n\r\n{second}");
        let cases = [
            (
                "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
                smuggled.clone(),
            ),
            (
                "content-length: 4\r\ntransfer-encoding: chunked\r\n",
                smuggled.clone(),
            ),
            (
                "content-length: 4\r\ncontent-length: 50\r\n",
                smuggled.clone(),
            ),
            ("content-length: 4, 50\r\n", smuggled.clone()),
            ("content-length: +4\r\n", smuggled.clone()),
            ("content-length: -1\r\n", smuggled.clone()),
            (
                "content-length: 99999999999999999999999\r\n",
                smuggled.clone(),
            ),
            ("transfer-encoding: chunked, identity\r\n", smuggled.clone()),
            ("transfer-encoding: xchunked\r\n", smuggled.clone()),
            ("transfer-encoding : chunked\r\n", smuggled.clone()),
            (
                "transfer-encoding: chunked\r\n",
                format!("-1\r\n\r\n{second}"),
            ),
            (
                "transfer-encoding: chunked\r\n",
                format!("0x4\r\nabcd\r\n{smuggled}"),
            ),
            (
                "transfer-encoding: chunked\r\n",
                format!("fffffffffffffffff\r\nabcd\r\n{smuggled}"),
            ),
            (
                "transfer-encoding: chunked\r\n",
                format!("4\r\nabcdef\r\n{smuggled}"),
            ),
            (
                "transfer-encoding: chunked\r\n",
                format!("zz\r\n\r\n{second}"),
            ),
            (
                "x-folded: a\r\n b\r\ncontent-length: 4\r\n",
                smuggled.clone(),
            ),
            ("no-colon\r\ncontent-length: 4\r\n", smuggled.clone()),
            ("nul: a\0b\r\ncontent-length: 4\r\n", smuggled.clone()),
        ];
        for (headers, body) in cases {
            let answer = said_to(program.at, &post(headers, &body));
            assert!(answer.len() < 10_000, "{headers}");
            assert!(
                !answer.contains("HTTP/1.1 200"),
                "{headers:?} {body:?}: {answer}"
            );
            // One refusal, or none: nothing was taken for a second request.
            assert!(
                answer.matches("HTTP/1.1 ").count() <= 1,
                "{headers:?} {body:?}: {answer}"
            );
        }
        is_unharmed(&mut program, before);
    });
}

/// RFC 9112, 6.1: `chunked` is applied once, and a coding that is not understood is refused by 501. The connection ends there, so that what
/// follows is never a second request, whoever stands before us and reads the end elsewhere.
#[test]
fn codings_beside_chunked_are_refused_and_end_the_connection() {
    on_both_crossed(|plan| {
        let mut program = open(&plan);
        let before = program.memory();
        let last = "0\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
        for coding in [
            "transfer-encoding: chunked, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: identity, chunked, chunked\r\n",
            "transfer-encoding: identity, chunked\r\n",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
        ] {
            let answer = said_to(program.at, &post(coding, last));
            assert!(answer.starts_with("HTTP/1.1 501 "), "{coding:?}: {answer}");
            assert!(answer.contains("connection: close\r\n"), "{answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        }
        let chunked = "2\r\n{}\r\n0\r\n\r\n";
        let answer = said_to(
            program.at,
            &post(
                "connection: close\r\ntransfer-encoding: Chunked\r\n",
                chunked,
            ),
        );
        // Read as the empty request that it is.
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        is_unharmed(&mut program, before);
    });
}

#[test]
fn bodies_and_heads_too_large_too_slow_or_never_whole_are_ended_in_time() {
    on_both(|plan| {
        let mut program = open(&plan);
        let before = program.memory();
        let at = program.at;
        let large = said_to(
            at,
            &post("content-length: 1073741824\r\n", &"x".repeat(2 << 20)),
        );
        // A reset may overtake the answer, since we do not read on.
        assert!(large.is_empty() || large.contains(" 413 "), "{large}");
        let many = said_to(at, &post(&"x-many: 1\r\n".repeat(5_000), ""));
        assert!(!many.contains(" 200 "), "{many}");
        let wide = said_to(
            at,
            &post(&format!("x-wide: {}\r\n", "y".repeat(1 << 20)), ""),
        );
        assert!(!wide.contains(" 200 "), "{wide}");
        let long = said_to(
            at,
            format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "a".repeat(1 << 20)).as_bytes(),
        );
        assert!(!long.contains(" 200 "), "{long}");
        let begun = Instant::now();
        let halves = [
            Vec::new(),
            b"POST /v1/chat".to_vec(),
            post("", "")[..40].to_vec(),
            post("content-length: 100\r\n", "{\"model\":"),
            post("transfer-encoding: chunked\r\n", "5\r\nab"),
            b"PRI * HTTP/2.0\r\n".to_vec(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            vec![0x16, 3, 1, 2, 0, 1],
        ];
        std::thread::scope(|scope| {
            for half in &halves {
                scope.spawn(move || {
                    let answer = said_to(at, half);
                    assert!(!answer.contains(" 200 "), "{answer}");
                });
            }
            scope.spawn(move || dribble(at, &post("content-length: 1000\r\n", &"z".repeat(1_000))));
            scope.spawn(move || dribble(at, &post(&"x-slow: 1\r\n".repeat(50), "")));
        });
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "{:?}",
            begun.elapsed()
        );
        is_unharmed(&mut program, before);
    });
}

/// A byte every 20 ms until the other side has enough of it.
fn dribble(at: SocketAddr, bytes: &[u8]) {
    let mut stream = dial(at);
    let begun = Instant::now();
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        assert!(
            begun.elapsed() < Duration::from_secs(6),
            "it may dribble for ever"
        );
    }
}

#[test]
fn garbage_at_the_port_ends_its_own_connection_and_nothing_else() {
    on_both_crossed(|plan| {
        let mut program = open(&plan);
        let before = program.memory();
        let mut rng = stokehold::base::Rng::seeded(7);
        for _ in 0..60 {
            let length = 1 + rng.below(3_000) as usize;
            let noise: Vec<u8> = (0..length).map(|_| rng.below(256) as u8).collect();
            let begins: [&[u8]; 4] = [
                b"",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                &[0x16, 3, 1],
                b"GET / HTTP/1.1\r\n",
            ];
            let begin = begins[rng.below(4) as usize];
            let mut stream = dial(program.at);
            let _ = stream.write_all(&[begin, &noise].concat());
            let _ = stream.shutdown(Shutdown::Write);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.len() < 10_000);
        }
        is_unharmed(&mut program, before);
    });
}

#[test]
fn garbage_instead_of_tls_ends_its_own_connection_and_nothing_else() {
    on_both_crossed(|plan| {
        let folder = tempfile::tempdir().expect("a folder");
        let (pem, server) = super::answers::certificate(folder.path());
        let limits = LIMITS.to_owned();
        let program = Program::start(&Plan {
            server,
            limits,
            ..plan
        });
        let hello = [0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            &[0x16, 3, 1, 0xff, 0xff, 1],
            &hello,
            &[0x80; 5_000],
            b"",
        ] {
            let answer = said_to(program.at, bytes);
            assert!(!answer.contains(" 200 "), "{answer}");
        }
        let ask = Ask::chat("own", "hello");
        assert_eq!(Conn::tls(program.at, &pem).ask(&ask).head.status, 200);
        is_empty(program.operator);
        assert_eq!(figure(program.operator, "task_panics_total"), 0.0);
    });
}

/// Ends the connection with a reset instead of a goodbye.
fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("an option");
}

#[test]
fn resets_in_every_phase_of_a_request_leave_nothing_behind() {
    on_both(|plan| {
        let mut program = open(&plan);
        let before = program.memory();
        let text = "[[fake: first_token=30 between_tokens=10 output_tokens=20]]";
        let whole = Ask::chat("own", text).streamed().http1();
        for cut in (0..whole.len()).step_by(7) {
            let mut stream = dial(program.at);
            stream.write_all(&whole[..cut]).expect("sent");
            reset(stream);
        }
        // And at times while it is answered, alone and with another waiting behind it.
        for wait in (0..240).step_by(12) {
            let mut stream = dial(program.at);
            let twice = [&whole[..], &whole].concat();
            stream
                .write_all(if wait % 24 == 0 { &whole } else { &twice })
                .expect("sent");
            std::thread::sleep(Duration::from_millis(wait));
            if wait % 3 == 0 {
                reset(stream)
            } else {
                drop(stream)
            }
        }
        is_unharmed(&mut program, before);
    });
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// `:method POST`, `:scheme http`, `:path /`, of HPACK's static table (RFC 7541, appendix A).
const HEADERS: &[u8] = &[0x83, 0x86, 0x84];

/// Sends for as long as the other side takes it, at most so many times; its memory stays bounded.
fn flood(program: &mut Program, what: &str, piece: impl Fn(u32) -> Vec<u8>, times: u32) {
    let before = program.memory();
    let mut stream = dial(program.at);
    // What comes back is read, so that nobody waits for us.
    let mut back = stream.try_clone().expect("a handle");
    let reading = std::thread::spawn(move || {
        let mut some = [0; 64 << 10];
        while matches!(back.read(&mut some), Ok(1..)) {}
    });
    let mut sent = stream.write_all(PREFACE);
    for n in 0..times {
        if sent.is_err() {
            break;
        }
        sent = stream.write_all(&piece(n));
    }
    is_served(program.at);
    let grown = program.memory().saturating_sub(before);
    assert!(grown < 48 << 20, "{what}: {grown} bytes");
    let _ = stream.shutdown(Shutdown::Both);
    reading.join().expect("no panic");
}

#[test]
fn floods_of_http2_frames_are_bounded_and_others_are_served() {
    on_both(|plan| {
        let mut program = open(&plan);
        let before = program.memory();
        let id = |n: u32| 2 * n + 1;
        let opened = |n: u32| frame(1, 4, id(n), HEADERS);
        flood(
            &mut program,
            "rapid reset",
            |n| [opened(n), frame(3, 0, id(n), &[0, 0, 0, 8])].concat(),
            20_000,
        );
        flood(&mut program, "many streams", opened, 20_000);
        flood(&mut program, "pings", |_| frame(6, 0, 0, &[7; 8]), 100_000);
        flood(
            &mut program,
            "settings",
            |_| frame(4, 0, 0, &[0, 3, 0, 0, 0, 9]),
            100_000,
        );
        flood(
            &mut program,
            "empty data",
            |n| {
                if n == 0 {
                    opened(0)
                } else {
                    frame(0, 0, 1, &[])
                }
            },
            100_000,
        );
        // A literal header field without indexing, of 16,000 bytes (RFC 7541, 6.2.2).
        let wide = [&[0, 1, b'x', 0x7f, 0x81, 0x7c][..], &[b'y'; 16_000]].concat();
        flood(
            &mut program,
            "continuations",
            |n| {
                if n == 0 {
                    frame(1, 0, 1, HEADERS)
                } else {
                    frame(9, 0, 1, &wide)
                }
            },
            2_000,
        );
        flood(
            &mut program,
            "priorities",
            |n| frame(2, 0, id(n), &[0, 0, 0, 0, 1]),
            100_000,
        );
        flood(
            &mut program,
            "window updates",
            |_| frame(8, 0, 0, &[0, 0, 0, 1]),
            100_000,
        );
        flood(
            &mut program,
            "unknown frames",
            |_| frame(0xfa, 0, 0, &[1; 1_000]),
            20_000,
        );
        is_unharmed(&mut program, before);
    });
}

#[test]
fn huge_headers_and_bodies_of_http2_are_refused_and_the_connection_goes_on() {
    on_both(|plan| {
        let mut program = open(&plan);
        let before = program.memory();
        h2c(program.at, async |mut send| {
            let wide = Ask::chat("own", "hello").with("x-wide", &"y".repeat(100_000));
            // A refusal of this one stream, by status or by reset.
            let refused = client_h2::ask(&mut send, &wide).await;
            assert!(
                refused.as_ref().map_or(true, |a| a.head.status == 431),
                "{refused:?}"
            );
        });
        h2c(program.at, async |mut send| {
            let large = Ask::chat("own", &"x".repeat(3 << 20));
            let refused = client_h2::ask(&mut send, &large).await;
            assert!(
                refused.as_ref().map_or(true, |a| a.head.status == 413),
                "{refused:?}"
            );
            let answer = client_h2::ask(&mut send, &Ask::chat("own", "hello")).await;
            assert_eq!(answer.expect("an answer").head.status, 200);
            // A body that never ends is given up in time.
            let request = http::Request::post("http://h/v1/chat/completions")
                .header("authorization", format!("Bearer {KEY}"));
            let (answer, mut body) = send
                .send_request(request.body(()).expect("a request"), false)
                .expect("sent");
            body.send_data(Bytes::from_static(b"{\"model\":"), false)
                .expect("sent");
            let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
            let answer = answer.expect("in time");
            assert!(
                answer.as_ref().map_or(true, |a| a.status() == 408),
                "{answer:?}"
            );
        });
        is_unharmed(&mut program, before);
    });
}

#[test]
fn websocket_violations_end_their_socket_with_the_right_code_and_nothing_else() {
    on_both_crossed(|plan| {
        let mut program = open(&plan);
        let before = program.memory();
        let mask = [0; 4];
        let masked =
            |first: u8, length: &[u8], payload: &[u8]| [&[first], length, &mask, payload].concat();
        let cases: [(&str, Vec<u8>, u16); 9] = [
            ("unmasked", [&[0x81, 2][..], b"{}"].concat(), 1002),
            ("reserved bit", masked(0xc1, &[0x82], b"{}"), 1002),
            ("reserved opcode", masked(0x83, &[0x82], b"{}"), 1002),
            (
                "continuation of nothing",
                masked(0x80, &[0x82], b"{}"),
                1002,
            ),
            ("long ping", masked(0x89, &[0xfe, 0, 200], &[0; 200]), 1002),
            ("ping in pieces", masked(0x09, &[0x80], b""), 1002),
            ("not UTF-8", masked(0x81, &[0x82], &[0xff, 0xfe]), 1007),
            ("binary", masked(0x82, &[0x82], b"{}"), 1003),
            (
                "a message of 16 EiB",
                masked(0x81, &[0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255], b""),
                1009,
            ),
        ];
        for (what, bytes, code) in cases {
            let mut client = Conn::plain(program.at);
            client.send(&request(
                "GET",
                "/api/v1/ws",
                &[
                    ("authorization", &*format!("Bearer {KEY}")),
                    ("connection", "Upgrade"),
                    ("upgrade", "websocket"),
                    ("sec-websocket-version", "13"),
                    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ],
                b"",
            ));
            let head = client.head();
            assert_eq!(head.status, 101);
            // RFC 6455, 1.3 has this answer to this key.
            assert_eq!(
                head.header("sec-websocket-accept"),
                Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            );
            client.send(&bytes);
            let said = client.rest();
            assert_eq!(said.first(), Some(&0x88), "{what}: {said:?}");
            let told = u16::from_be_bytes([said[2], said[3]]);
            assert_eq!(told, code, "{what}");
        }
        is_unharmed(&mut program, before);
    });
}

#[test]
fn connections_beyond_the_bound_are_closed_at_once_and_places_are_given_again() {
    on_both(|plan| {
        let limits = "{connections_max: 3}".to_owned();
        let program = Program::start(&Plan {
            limits,
            ..plan.clone()
        });
        let most = 3 * usize::from(plan.shards);
        let mut open: Vec<TcpStream> = (0..60).map(|_| dial(program.at)).collect();
        open.iter()
            .for_each(|s| s.set_nonblocking(true).expect("an option"));
        let mut lives = |s: &mut TcpStream| {
            let read = s.read(&mut [0; 8]);
            read.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
        };
        until("the rest is closed", || {
            open.retain_mut(&mut lives);
            open.len() <= most
        });
        assert!(!open.is_empty());
        drop(open);
        until("places are free", || {
            Conn::plain(program.at)
                .try_send(&Ask::chat("own", "x").http1())
                .is_ok()
                && figure(program.operator, "connections_open") <= 1.0
        });
        is_served(program.at);
    });
}
