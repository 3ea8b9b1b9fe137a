//! Promises towards providers.

use super::rig::{
    On, Options, Rig, on_both, pause, plain, post, read_until, request, some, until, upstream,
    whole,
};
use crate::config::{Http2, Origin, Tls};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nfirst,\r\n6\r\nsecond\r\n0\r\n\r\n";

fn ask(rig: &Rig, path: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut client = rig.connect();
    client
        .write_all(&post(path, body, "connection: close\r\n"))
        .expect("sent");
    whole(&mut client)
}

/// Data of a chunked body.
fn data(body: &[u8]) -> Vec<u8> {
    let mut reader = crate::net::framing::Reader::new("POST");
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let fed = reader.feed(&[head, body].concat()).expect("good chunks");
    assert!(fed.done, "{}", String::from_utf8_lossy(body));
    fed.data.to_vec()
}

#[test]
fn an_answer_cut_anywhere_between_writes_is_the_same_answer() {
    on_both(|on| {
        let cuts = upstream(|_, mut stream| {
            let mut cut = 0;
            while request(&mut stream).is_some() {
                cut += 1;
                let (head, tail) = CHUNKED.split_at(cut);
                stream.write_all(head).expect("sent");
                pause(2);
                stream.write_all(tail).expect("sent");
            }
        });
        let rig = Rig::to(on, cuts);
        for cut in 1..CHUNKED.len() {
            let (head, body) = ask(&rig, "/call", b"ask");
            assert!(head.starts_with("HTTP/1.1 200"), "cut at {cut}: {head}");
            let body = if head.contains("chunked") {
                data(&body)
            } else {
                body
            };
            assert_eq!(body, b"first,second", "cut at {cut}");
        }
        rig.is_clean();
        assert_eq!(rig.standing().upstream_idle, 1, "one connection served all");
    });
}

#[test]
fn a_large_request_arrives_whole_and_the_connection_is_reused() {
    on_both(|on| {
        let connections = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&connections);
        let echo = upstream(move |_, mut stream| {
            seen.fetch_add(1, Ordering::Relaxed);
            while let Some((head, body)) = request(&mut stream) {
                assert!(
                    head.starts_with("POST /call HTTP/1.1\r\nhost: 127.0.0.1:"),
                    "{head}"
                );
                assert!(head.contains("x-test: yes\r\n"), "{head}");
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(answer.as_bytes()).expect("sent");
                stream.write_all(&body).expect("sent");
            }
        });
        let rig = Rig::to(on, echo);
        for length in [0, 1, 1000, 32 << 10, (32 << 10) + 1, 900_000] {
            let body: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let (head, back) = ask(&rig, "/call", &body);
            let back = if head.contains("chunked") {
                data(&back)
            } else {
                back
            };
            assert_eq!(back.len(), length);
            assert_eq!(back, body);
        }
        assert_eq!(connections.load(Ordering::Relaxed), 1);
        rig.is_clean();
    });
}

#[test]
fn a_connection_that_died_while_idle_is_replaced_without_a_word() {
    on_both(|on| {
        // Each connection answers once and is closed at once.
        let fickle = upstream(|_, mut stream| {
            request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        });
        let rig = Rig::to(on, fickle);
        for _ in 0..10 {
            let (head, body) = ask(&rig, "/call", b"ask");
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert!(String::from_utf8_lossy(&body).contains("ok"));
            pause(20);
        }
        assert_eq!(rig.failed(), 0);
        rig.is_clean();
    });
}

/// It may have been worked on, and paid for: that is the shard's to write down and to decide.
#[test]
fn a_request_that_was_written_whole_is_never_sent_again_without_a_word() {
    on_both(|on| {
        // Each connection answers once and is closed when the next request has come.
        let fickle = upstream(|_, mut stream| {
            request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            let _ = request(&mut stream);
        });
        let rig = Rig::to(on, fickle);
        let (head, _) = ask(&rig, "/call", b"ask");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        pause(20);
        let (head, _) = ask(&rig, "/call", b"ask");
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
        assert_eq!(rig.failed(), 1);
        rig.is_clean();
    });
}

#[test]
fn an_answer_cut_short_breaks_the_client_off_and_is_never_whole() {
    on_both(|on| {
        let cut = upstream(|_, mut stream| {
            request(&mut stream);
            let at = CHUNKED.len() - 9;
            let _ = stream.write_all(&CHUNKED[..at]);
            pause(30);
        });
        let rig = Rig::to(on, cut);
        let mut client = rig.connect();
        client.write_all(&post("/call", b"ask", "")).expect("sent");
        let mut all = Vec::new();
        let _ = client.read_to_end(&mut all);
        let all = String::from_utf8(all).expect("text");
        assert!(
            all.contains("first,") && !all.ends_with("0\r\n\r\n"),
            "{all}"
        );
        assert_eq!(rig.failed(), 1);
        drop(client);
        rig.is_clean();
        rig.is_well();
    });
}

#[test]
fn a_provider_that_is_away_or_talks_nonsense_is_a_fault_that_says_so() {
    on_both(|on| {
        let nobody = "127.0.0.1:1".parse().expect("an address");
        let (head, body) = ask(&Rig::to(on, nobody), "/call", b"");
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
        assert!(String::from_utf8_lossy(&body).starts_with("Connect("));
        let nonsense = upstream(|_, mut stream| {
            request(&mut stream);
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n\r\n");
        });
        let (_, body) = ask(&Rig::to(on, nonsense), "/call", b"");
        assert!(String::from_utf8_lossy(&body).starts_with("Malformed("));
        let closes = upstream(|_, mut stream| {
            request(&mut stream);
        });
        let (_, body) = ask(&Rig::to(on, closes), "/call", b"");
        assert_eq!(String::from_utf8_lossy(&body), "Reset");
    });
}

#[test]
fn a_slow_reader_pauses_its_provider_and_gets_every_byte_in_the_end() {
    // More than the kernel's buffers of two connections hold.
    const BYTES: usize = 48 << 20;
    on_both(|on| {
        let flood = upstream(|_, mut stream| {
            request(&mut stream);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("sent");
            for _ in 0..BYTES >> 16 {
                stream.write_all(&[b'x'; 1 << 16]).expect("sent");
            }
        });
        let rig = Rig::to(on, flood);
        let mut client = rig.connect();
        let socket = socket2::SockRef::from(&client);
        socket.set_recv_buffer_size(64 << 10).expect("an option");
        client
            .write_all(&post("/call", b"", "connection: close\r\n"))
            .expect("sent");
        until("the provider is paused", || rig.paused() > 0);
        pause(300);
        let held = rig.bytes();
        pause(200);
        assert_eq!(rig.bytes(), held, "nothing is read while paused");
        assert!(held < (BYTES / 2) as u64, "{held}");
        let (_, body) = whole(&mut client);
        let count = body.iter().filter(|&&byte| byte == b'x').count();
        assert_eq!(count, BYTES);
        rig.is_clean();
    });
}

#[test]
fn a_cancelled_call_closes_its_connection() {
    on_both(|on| {
        let closed = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&closed);
        let silent = upstream(move |_, mut stream| {
            request(&mut stream);
            if let Ok(0) | Err(_) = some(&mut stream, &mut [0; 1]) {
                seen.fetch_add(1, Ordering::Relaxed);
            }
        });
        let rig = Rig::to(on, silent);
        let mut client: TcpStream = rig.connect();
        client.write_all(&post("/call", b"ask", "")).expect("sent");
        until("the call is out", || rig.standing().calls == 1);
        pause(50);
        drop(client);
        until("the provider sees it", || {
            closed.load(Ordering::Relaxed) == 1
        });
        rig.is_clean();
    });
}

/// A certificate for 127.0.0.1, and the origin that trusts it.
fn certified(dir: &Path) -> Tls {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("made");
    let tls = Tls {
        certificate: dir.join("cert.pem"),
        key: dir.join("key.pem"),
    };
    std::fs::write(&tls.certificate, made.cert.pem()).expect("written");
    std::fs::write(&tls.key, made.signing_key.serialize_pem()).expect("written");
    tls
}

fn behind(on: On, tls: Option<Tls>, origin: impl Fn(Origin) -> Origin) -> (Rig, Rig) {
    let back = Rig::start(
        on,
        Options {
            tls,
            ..Options::default()
        },
    );
    let origin = Some(origin(plain(back.addr)));
    let front = Rig::start(
        on,
        Options {
            origin,
            ..Options::default()
        },
    );
    (front, back)
}

/// `front` serves HTTP/1.1 and calls `back`, which echoes: a hundred at once, then a large one.
fn echoes_through(front: &Rig, back: &Rig) {
    let mut clients: Vec<TcpStream> = (0..100).map(|_| front.connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client
            .write_all(&post("/echo2", format!("n{n}.").as_bytes(), ""))
            .expect("sent");
    }
    for (n, client) in clients.iter_mut().enumerate() {
        read_until(client, &format!("n{n}."));
    }
    drop(clients);
    let (head, body) = ask(front, "/echo2", &[b'z'; 900_000]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body.iter().filter(|&&byte| byte == b'z').count() == 900_000);
    front.is_clean();
    // The front may know of the end before the back has looked.
    until("the back is done too", || back.standing().clients == 0);
}

#[test]
fn tls_with_http2_on_both_ends_is_chosen_by_alpn_and_shared_by_calls() {
    on_both(|on| {
        let dir = tempfile::tempdir().expect("a folder");
        let tls = certified(dir.path());
        let ca = tls.certificate.clone();
        let trusted = move |origin| Origin {
            tls: true,
            ca: Some(ca.clone()),
            ..origin
        };
        let (front, back) = behind(on, Some(tls), trusted);
        echoes_through(&front, &back);
        let standing = front.standing();
        assert!((1..=3).contains(&standing.upstream_h2), "{standing:?}");
    });
}

#[test]
fn tls_with_http1_keeps_idle_connections() {
    on_both(|on| {
        let dir = tempfile::tempdir().expect("a folder");
        let tls = certified(dir.path());
        let ca = tls.certificate.clone();
        let never = move |origin| Origin {
            tls: true,
            ca: Some(ca.clone()),
            http2: Http2::Never,
            ..origin
        };
        let (front, back) = behind(on, Some(tls), never);
        echoes_through(&front, &back);
        until("some idle", || front.standing().upstream_idle > 0);
        assert_eq!(front.standing().upstream_h2, 0);
    });
}

#[test]
fn http2_without_tls_is_spoken_where_the_origin_is_said_to() {
    on_both(|on| {
        let (front, back) = behind(on, None, |origin| Origin {
            http2: Http2::Always,
            ..origin
        });
        echoes_through(&front, &back);
        assert!(front.standing().upstream_h2 >= 1);
    });
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    on_both(|on| {
        let dir = tempfile::tempdir().expect("a folder");
        let (front, _back) = behind(on, Some(certified(dir.path())), |origin| Origin {
            tls: true,
            ..origin
        });
        let (head, body) = ask(&front, "/echo2", b"");
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
        assert!(String::from_utf8_lossy(&body).starts_with("Tls("));
    });
}
