//! What HTTP/1.1 asks of who answers.

use super::rig::{Options, Rig, on_both, pause, post, read_until, some, until, upstream, whole};
use std::io::{Read, Write};

#[test]
fn requests_sent_in_one_go_are_answered_in_their_order() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        let mut client = rig.connect();
        let mut asked = Vec::new();
        let mut want = Vec::new();
        for n in 0..200 {
            let body = format!("<{n}>").repeat(n + 1);
            asked.extend(post("/echo", body.as_bytes(), ""));
            want.extend_from_slice(body.as_bytes());
        }
        asked.extend(post("/echo", b"", "connection: close\r\n"));
        let mut sending = client.try_clone().expect("a second handle");
        let send = move || sending.write_all(&asked).expect("sent");
        let sent = std::thread::Builder::new().spawn(send).expect("a thread");
        let mut all = Vec::new();
        client.read_to_end(&mut all).expect("a clean end");
        sent.join().expect("no panic");
        let text = String::from_utf8(all).expect("text");
        let heads = text.matches("HTTP/1.1 200 OK\r\n").count();
        let bodies: String = text
            .split("\r\n\r\n")
            .skip(1)
            .map(|part| part.split("HTTP/1.1").next().unwrap_or_default())
            .collect();
        assert_eq!(heads, 201);
        assert!(bodies.as_bytes() == want, "bodies out of order");
        rig.is_clean();
    });
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks_and_is_kept_only_when_it_asks() {
    on_both(|on| {
        let slow = upstream(|_, mut stream| {
            super::rig::request(&mut stream);
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n";
            stream.write_all(head).expect("sent");
            pause(30);
            stream.write_all(b"2\r\ncd\r\n0\r\n\r\n").expect("sent");
        });
        let rig = Rig::to(on, slow);
        let ask = |path: &str, more: &str| {
            let mut client = rig.connect();
            let head = format!("POST {path} HTTP/1.0\r\n{more}content-length: 2\r\n\r\nhi");
            client.write_all(head.as_bytes()).expect("sent");
            client
        };
        let (head, body) = whole(&mut ask("/call", "connection: keep-alive\r\n"));
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert_eq!(body, b"abcd");
        let (head, body) = whole(&mut ask("/echo", ""));
        assert!(head.contains("connection: close\r\n"), "{head}");
        assert_eq!(body, b"hi");
        let mut kept = ask("/echo", "connection: keep-alive\r\n");
        for _ in 0..2 {
            let head = read_until(&mut kept, "\r\n\r\nhi");
            assert!(head.contains("connection: keep-alive\r\n"), "{head}");
            let again =
                b"POST /echo HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi";
            kept.write_all(again).expect("sent");
        }
        read_until(&mut kept, "\r\n\r\nhi");
        drop(kept);
        rig.is_clean();
    });
}

#[test]
fn an_answer_to_head_has_its_length_and_no_body() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        let mut client = rig.connect();
        let ask = b"HEAD /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello";
        client.write_all(ask).expect("sent");
        let head = read_until(&mut client, "\r\n\r\n");
        assert!(head.contains("content-length: 5\r\n"), "{head}");
        let next = post("/echo", b"next", "connection: close\r\n");
        client.write_all(&next).expect("sent");
        let (head, body) = whole(&mut client);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body, b"next");
        rig.is_clean();
    });
}

#[test]
fn an_answer_that_can_have_no_body_has_none_and_the_connection_is_kept() {
    on_both(|on| {
        let nothing = upstream(|_, mut stream| {
            while super::rig::request(&mut stream).is_some() {
                let head = b"HTTP/1.1 204 No Content\r\n\r\n";
                stream.write_all(head).expect("sent");
            }
        });
        let rig = Rig::to(on, nothing);
        let mut client = rig.connect();
        for _ in 0..2 {
            client.write_all(&post("/call", b"", "")).expect("sent");
            let head = read_until(&mut client, "\r\n\r\n");
            assert!(head.starts_with("HTTP/1.1 204 No Content\r\n"), "{head}");
            assert!(!head.contains("transfer-encoding") && !head.contains("content-length"));
        }
        let next = post("/echo", b"next", "connection: close\r\n");
        client.write_all(&next).expect("sent");
        assert_eq!(whole(&mut client).1, b"next");
        rig.is_clean();
    });
}

/// RFC 9110, 6.6.1 and 5.6.7.
#[test]
fn an_answer_says_its_date() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        let mut client = rig.connect();
        let asked = post("/echo", b"", "connection: close\r\n");
        client.write_all(&asked).expect("sent");
        let (head, _) = whole(&mut client);
        let date = head.lines().find_map(|line| line.strip_prefix("date: "));
        let said = httpdate::parse_http_date(date.expect("a date")).expect("well formed");
        let said = said
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after it");
        let now = crate::net::runtime::clock().wall.seconds().unsigned_abs();
        assert!(now.abs_diff(said.as_secs()) <= 5, "{head}");
    });
}

/// What was not read of a body would be taken for the next request.
#[test]
fn a_body_that_is_not_read_ends_the_connection_and_the_answer_arrives() {
    on_both(|on| {
        let rig = Rig::start(on, Options::default());
        let mut client = rig.connect();
        let refused = format!(
            "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
            2 << 20
        );
        client.write_all(refused.as_bytes()).expect("sent");
        let head = read_until(&mut client, "\r\n\r\nno");
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
        assert!(head.contains("connection: close\r\n"), "{head}");
        // It is read away, so that no reset overtakes the answer.
        client.write_all(&[b'x'; 100_000]).expect("still read");
        client
            .shutdown(std::net::Shutdown::Write)
            .expect("half closed");
        assert_eq!(some(&mut client, &mut [0; 8]).expect("a clean end"), 0);
        rig.is_clean();
    });
}

#[test]
fn a_stream_that_is_broken_off_has_no_last_chunk() {
    on_both(|on| {
        let broken = upstream(|_, mut stream| {
            super::rig::request(&mut stream);
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
            stream.write_all(head).expect("sent");
            pause(100);
        });
        let rig = Rig::to(on, broken);
        let mut client = rig.connect();
        client.write_all(&post("/call", b"", "")).expect("sent");
        let mut all = Vec::new();
        // The end may come as a reset.
        let _ = client.read_to_end(&mut all);
        let text = String::from_utf8_lossy(&all);
        assert!(text.contains("4\r\nhalf\r\n"), "{text}");
        assert!(!text.contains("0\r\n\r\n"), "{text}");
        drop(client);
        rig.is_clean();
    });
}

#[test]
fn a_client_that_reads_nothing_pauses_who_answers_and_gets_it_all_later() {
    on_both(|on| {
        const BYTES: usize = 8 << 20;
        let large = upstream(|_, mut stream| {
            super::rig::request(&mut stream);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("sent");
            stream.write_all(&vec![b'y'; BYTES]).expect("sent");
        });
        let rig = Rig::to(on, large);
        let mut client = rig.connect();
        let asked = post("/call", b"", "connection: close\r\n");
        client.write_all(&asked).expect("sent");
        until("the provider is paused", || rig.paused() > 0);
        let (_, body) = whole(&mut client);
        assert_eq!(body.iter().filter(|&&byte| byte == b'y').count(), BYTES);
        rig.is_clean();
    });
}
