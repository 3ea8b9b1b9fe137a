//! Promises towards clients.

use super::rig::{
    Options, Rig, limits, on_both, pause, post, read_until, some, until, upstream, whole,
};
use crate::net::runtime::clock;
use bytes::Bytes;
use std::io::{Read, Write};
use std::time::Duration;

#[test]
fn an_answer_known_whole_has_its_length_and_the_connection_is_kept() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        let mut client = rig.connect();
        for _ in 0..3 {
            client
                .write_all(&post("/echo", b"hello", ""))
                .expect("sent");
            let head = read_until(&mut client, "\r\n\r\n");
            assert!(
                head.contains("content-length: 5") && head.contains("x-by: brain"),
                "{head}"
            );
            read_until(&mut client, "hello");
        }
        assert_eq!(rig.heads(), 3);
        drop(client);
        rig.is_clean();
    });
}

#[test]
fn a_client_that_leaves_while_nothing_is_written_is_missed_within_a_second() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        for (path, more) in [
            ("/silent", ""),
            ("/open", ""),
            ("/silent", "GET /echo HTTP/1.1\r\n\r\n"),
        ] {
            let before = rig.gone();
            let mut client = rig.connect();
            let bytes = [&post(path, b"", "")[..], more.as_bytes()].concat();
            client.write_all(&bytes).expect("sent");
            until("the request arrives", || rig.standing().clients == 1);
            pause(50);
            drop(client);
            let left = clock().instant;
            until("the shard is told", || rig.gone() == before + 1);
            assert!(
                clock().instant - left < Duration::from_secs(1),
                "{path} {more}"
            );
        }
        rig.is_clean();
    });
}

#[test]
fn a_request_sent_in_any_two_parts_is_the_same_request() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        let bytes = post("/echo", b"0123456789", "x-a: b\r\n");
        let mut client = rig.connect();
        for cut in 1..bytes.len() {
            client.write_all(&bytes[..cut]).expect("sent");
            pause(1);
            client.write_all(&bytes[cut..]).expect("sent");
            read_until(&mut client, "0123456789");
        }
        drop(client);
        rig.is_clean();
    });
}

#[test]
fn a_websocket_echoes_raw_bytes_and_closes_when_the_shard_does() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        let mut client = rig.connect();
        let ask = "GET /ws HTTP/1.1\r\nhost: h\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\nfirst";
        client.write_all(ask.as_bytes()).expect("sent");
        let head = read_until(&mut client, "\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(head.contains("sec-websocket-accept: accepted"), "{head}");
        read_until(&mut client, "first");
        client.write_all(&[7; 300_000]).expect("sent");
        let mut back = vec![0; 300_000];
        client.read_exact(&mut back).expect("the echo");
        assert!(back.iter().all(|&byte| byte == 7));
        client.write_all(b"good bye").expect("sent");
        let mut rest = String::new();
        client.read_to_string(&mut rest).expect("a clean end");
        assert_eq!(rest, "good bye");
        drop(client);
        let client = rig.connect();
        (&client).write_all(ask.as_bytes()).expect("sent");
        until("it is open", || rig.standing().clients == 1);
        drop(client);
        rig.is_clean();
        assert_eq!(rig.gone(), 2);
    });
}

#[test]
fn a_drain_lets_answers_finish_and_cuts_what_is_too_late() {
    on_both(|on| {
        let slow = upstream(|_, mut stream| {
            super::rig::request(&mut stream);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
                .expect("sent");
            pause(400);
            stream.write_all(b"cd").expect("sent");
        });
        let rig = Rig::to(on, slow);
        let mut idle = rig.connect();
        idle.write_all(&post("/echo", b"x", "")).expect("sent");
        read_until(&mut idle, "\r\n\r\nx");
        let (mut finishing, mut stuck) = (rig.connect(), rig.connect());
        finishing.write_all(&post("/call", b"", "")).expect("sent");
        stuck.write_all(&post("/open", b"", "")).expect("sent");
        read_until(&mut finishing, "ab");
        read_until(&mut stuck, "a\r\n");
        rig.begin_drain(Duration::from_millis(1500));
        assert_eq!(some(&mut idle, &mut [0; 8]).expect("a clean end"), 0);
        read_until(&mut finishing, "cd");
        until("the drain ends", || rig.drained().is_some());
        assert_eq!(rig.drained().map(|drained| drained.cut), Some(1));
        assert!(
            std::net::TcpStream::connect(rig.addr).is_err(),
            "the listener is closed"
        );
        rig.is_clean();
    });
}

/// A client of HTTP/2 by prior knowledge, on a runtime of the test's own thread.
fn http2<T>(rig: &Rig, script: impl AsyncFnOnce(h2::client::SendRequest<Bytes>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime.expect("a runtime"), async {
        let stream = tokio::net::TcpStream::connect(rig.addr)
            .await
            .expect("connects");
        let (send, connection) = h2::client::handshake(stream).await.expect("shakes hands");
        let running = tokio::task::spawn_local(async move { drop(connection.await) });
        let send = send.ready().await.expect("ready");
        let done = tokio::time::timeout(Duration::from_secs(20), script(send)).await;
        running.abort();
        done.expect("in time")
    })
}

fn get(path: &str) -> http::Request<()> {
    http::Request::post(format!("http://h{path}"))
        .body(())
        .expect("a request")
}

#[test]
fn a_thousand_streams_of_one_connection_are_all_answered() {
    on_both(|on| {
        let rig = Rig::start(
            on,
            Options {
                limits: limits(),
                ..Options::default()
            },
        );
        http2(&rig, async |mut send| {
            let mut open = Vec::new();
            for n in 0..1000 {
                send = send.ready().await.expect("ready");
                let (answer, mut body) = send.send_request(get("/echo"), false).expect("sent");
                open.push((
                    n,
                    answer,
                    body.send_data(Bytes::from(format!("body {n}")), true),
                ));
            }
            for (n, answer, sent) in open {
                sent.expect("sent");
                let mut body = answer.await.expect("an answer").into_body();
                let mut all = Vec::new();
                while let Some(data) = body.data().await {
                    let data = data.expect("data");
                    let _ = body.flow_control().release_capacity(data.len());
                    all.extend_from_slice(&data);
                }
                assert_eq!(all, format!("body {n}").as_bytes());
            }
        });
        assert_eq!(rig.heads(), 1000);
        rig.is_clean();
    });
}

#[test]
fn a_reset_stream_and_a_lost_connection_of_http2_are_missed_within_a_second() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        http2(&rig, async |mut send| {
            let (silent, mut body) = send.send_request(get("/silent"), false).expect("sent");
            let (open, _) = send.send_request(get("/open"), true).expect("sent");
            let open = open.await.expect("an answer");
            assert_eq!(rig.gone(), 0);
            body.send_reset(h2::Reason::CANCEL);
            drop((silent, open));
            tokio::time::sleep(Duration::from_millis(900)).await;
            assert_eq!(rig.gone(), 2);
            let kept = send.send_request(get("/silent"), true).expect("sent");
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(kept);
        });
        let left = clock().instant;
        until("the shard is told", || rig.gone() == 3);
        assert!(clock().instant - left < Duration::from_secs(1));
        rig.is_clean();
    });
}

#[test]
fn a_connection_beyond_the_bound_is_closed_at_once() {
    on_both(|on| {
        let few = crate::config::Limits {
            connections_max: 2,
            ..limits()
        };
        let rig = Rig::start(
            on,
            Options {
                limits: few,
                ..Options::default()
            },
        );
        let kept = [rig.connect(), rig.connect()];
        until("both are in", || rig.standing().connections == 2);
        let mut third = rig.connect();
        assert!(matches!(some(&mut third, &mut [0; 8]), Ok(0) | Err(_)));
        drop(kept);
        until("both are out", || rig.standing().connections == 0);
        rig.is_well();
        let (head, _) = {
            let mut client = rig.connect();
            client
                .write_all(&post("/echo", b"", "connection: close\r\n"))
                .expect("sent");
            whole(&mut client)
        };
        assert!(head.starts_with("HTTP/1.1 200"));
    });
}
