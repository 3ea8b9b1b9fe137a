//! What clients do wrong, on purpose or not.

use super::rig::{On, Options, Rig, limits, on_both, pause, post, some, until, whole};
use crate::base::ByteCount;
use std::io::{Read, Write};

fn status(on: On, bytes: &[u8]) -> String {
    let rig = Rig::start(on, Options::default());
    let mut client = rig.connect();
    client.write_all(bytes).expect("sent");
    let (head, _) = whole(&mut client);
    rig.is_clean();
    rig.is_well();
    head.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_body_said_to_be_too_large_is_refused_before_it_is_sent() {
    on_both(|on| {
        let said = b"POST /echo HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 1000000000\r\n\r\n";
        assert_eq!(status(on, said), "HTTP/1.1 413 Payload Too Large");
    });
}

#[test]
fn a_chunked_body_that_grows_too_large_is_refused_and_the_answer_arrives() {
    on_both(|on| {
        let mut bytes =
            b"POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..40 {
            bytes.extend_from_slice(b"10000\r\n");
            bytes.resize(bytes.len() + 0x10000, b'x');
            bytes.extend_from_slice(b"\r\n");
        }
        assert_eq!(status(on, &bytes), "HTTP/1.1 413 Payload Too Large");
    });
}

#[test]
fn a_client_that_expects_100_is_told_to_go_on() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        let mut client = rig.connect();
        let head =
            "POST /echo HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
        client.write_all(head.as_bytes()).expect("sent");
        super::rig::read_until(&mut client, "HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(b"ok").expect("sent");
        super::rig::read_until(&mut client, "\r\n\r\nok");
        drop(client);
        rig.is_clean();
    });
}

#[test]
fn a_body_that_takes_too_long_is_refused() {
    on_both(|on| {
        let half = b"POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nhalf";
        assert_eq!(status(on, half), "HTTP/1.1 408 Request Timeout");
    });
}

#[test]
fn bodies_beyond_the_memory_of_all_are_refused_and_given_back() {
    on_both(|on| {
        let small = crate::config::Limits {
            bodies_bytes_max: ByteCount(1000),
            ..limits()
        };
        let rig = Rig::start(
            on,
            Options {
                limits: small,
                ..Options::default()
            },
        );
        let mut client = rig.connect();
        client
            .write_all(&post("/echo", &[b'x'; 2000], "connection: close\r\n"))
            .expect("sent");
        assert!(whole(&mut client).0.starts_with("HTTP/1.1 503"));
        rig.is_clean();
        rig.is_well();
        rig.is_clean();
    });
}

#[test]
fn heads_too_large_too_many_and_garbage_end_the_connection_and_nothing_else() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1000));
        let large = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200_000));
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let floods = format!("{preface}{}", "\0\0\0\u{1}\0\0\0\0\u{1}".repeat(100));
        let cases: [&[u8]; 7] = [
            many.as_bytes(),
            large.as_bytes(),
            floods.as_bytes(),
            b"\0\x01\x02garbage",
            &[0x16, 3, 1, 0, 5, 1, 0, 0],
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /echo HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        ];
        for case in cases {
            let mut client = rig.connect();
            let _ = client.write_all(case);
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer);
            let shown = String::from_utf8_lossy(&case[..case.len().min(40)]).into_owned();
            assert!(!answer.starts_with(b"HTTP/1.1 200"), "{shown}");
        }
        assert_eq!(rig.heads(), 0);
        rig.is_clean();
        rig.is_well();
    });
}

#[test]
fn a_head_that_never_ends_and_silence_are_closed_in_time() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        for begun in ["", "P", "POST /echo HTTP/1.1\r\nhost: h\r\n", "PRI * HT"] {
            let mut client = rig.connect();
            client.write_all(begun.as_bytes()).expect("sent");
            let began = crate::net::runtime::clock().instant;
            let _ = some(&mut client, &mut [0; 64]);
            let took = crate::net::runtime::clock().instant - began;
            assert!(
                (500..2500).contains(&took.as_millis()),
                "{begun:?}: {took:?}"
            );
        }
        rig.is_clean();
    });
}

#[test]
fn a_client_that_resets_at_any_point_leaves_nothing_behind() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        let bytes = [
            post("/echo", b"0123456789", ""),
            post("/silent", b"xyz", ""),
        ]
        .concat();
        for cut in 0..bytes.len() {
            let client = rig.connect();
            (&client).write_all(&bytes[..cut]).expect("sent");
            if cut % 3 == 0 {
                pause(2);
            }
            // A linger of zero makes the close a reset.
            let socket = socket2::Socket::from(client);
            socket
                .set_linger(Some(std::time::Duration::ZERO))
                .expect("an option");
            drop(socket);
        }
        until("all is over", || rig.standing().connections == 0);
        rig.is_clean();
        rig.is_well();
    });
}
