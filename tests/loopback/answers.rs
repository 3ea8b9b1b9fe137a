//! Each version of HTTP, each dialect, on one port.

use super::client::{Answer, Conn, request};
use super::client_h2::{self, h2_tls, h2c};
use super::house::{House, KEY, Plan, on_both};
use super::words::{Ask, DIALECTS, Dialect, error_of, read};
use std::path::PathBuf;
use std::time::Instant;

/// A certificate for `localhost` in `folder`, and what to write into `server:`.
pub fn certificate(folder: &std::path::Path) -> (PathBuf, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
    let (pem, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&pem, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let server = format!(
        ", tls: {{certificate: {}, key: {}}}",
        pem.display(),
        key.display()
    );
    (pem, server)
}

/// Whole and streamed, in every dialect.
fn asks() -> Vec<Ask> {
    let plain = DIALECTS.map(|d| Ask::new(d, "own", "tell me a story"));
    let streamed = plain.clone().map(Ask::streamed);
    plain.into_iter().chain(streamed).collect()
}

fn is_answered(ask: &Ask, answer: &Answer) -> String {
    let said = read(ask, answer);
    assert_eq!(answer.head.status, 200, "{ask:?}: {}", answer.text());
    assert!(answer.head.header("x-stokehold-id").is_some(), "{ask:?}");
    assert!(
        said.ended && said.error.is_none(),
        "{ask:?}: {}",
        answer.text()
    );
    assert_eq!(said.output_tokens, 12, "{ask:?}: {}", answer.text());
    assert!(!said.text.is_empty(), "{ask:?}: {}", answer.text());
    said.text
}

#[test]
fn every_dialect_is_answered_whole_and_streamed_over_http1_and_h2c_on_one_port() {
    on_both(|plan| {
        let house = House::open(&plan);
        let mut kept = house.connect();
        let one: Vec<_> = asks()
            .iter()
            .map(|a| is_answered(a, &kept.ask(a)))
            .collect();
        let two = h2c(house.at, async |mut send| {
            let mut said = Vec::new();
            for ask in asks() {
                let answer = client_h2::ask(&mut send, &ask).await.expect("an answer");
                said.push(is_answered(&ask, &answer));
            }
            said
        });
        assert_eq!(one.len(), two.len());
        drop(kept);
        house.is_well();
    });
}

#[test]
fn every_dialect_is_answered_whole_and_streamed_over_tls_in_the_version_that_was_agreed_on() {
    on_both(|plan| {
        let folder = tempfile::tempdir().expect("a folder");
        let (pem, server) = certificate(folder.path());
        let house = House::open(&Plan { server, ..plan });
        let mut kept = Conn::tls(house.at, &pem);
        for ask in asks() {
            is_answered(&ask, &kept.ask(&ask));
        }
        h2_tls(house.at, &pem, async |mut send| {
            for ask in asks() {
                let answer = client_h2::ask(&mut send, &ask).await.expect("an answer");
                is_answered(&ask, &answer);
            }
        });
        drop(kept);
        super::house::is_empty(house.operator);
    });
}

#[test]
fn requests_in_one_write_are_answered_in_their_order() {
    on_both(|plan| {
        let house = House::open(&plan);
        let mut client = house.connect();
        let slow = Ask::chat("own", "[[fake: first_token=200 output_tokens=3]]");
        let quick = Ask::chat("own", "[[fake: first_token=0 output_tokens=5]]");
        let both = [slow.http1(), quick.http1(), slow.http1()].concat();
        client.send(&both);
        let tokens = [&slow, &quick, &slow].map(|a| read(a, &client.answer()).output_tokens);
        assert_eq!(tokens, [3, 5, 3]);
    });
}

#[test]
fn a_quiet_stream_gets_comments() {
    on_both(|plan| {
        let limits = "{sse_comment: 100ms}".to_owned();
        let house = House::open(&Plan { limits, ..plan });
        for dialect in DIALECTS {
            let ask = Ask::new(
                dialect,
                "own",
                "[[fake: between_tokens=300 output_tokens=3]]",
            );
            let ask = ask.streamed();
            let answer = house.connect().ask(&ask);
            let comments = answer.text().matches(": keep-alive\n\n").count();
            assert!(comments >= 2, "{dialect:?} {comments}: {}", answer.text());
            assert_eq!(read(&ask, &answer).output_tokens, 3);
        }
        let whole = Ask::chat("own", "[[fake: first_token=400]]");
        assert!(!house.connect().ask(&whole).text().contains("keep-alive"));
    });
}

#[test]
fn an_upgrade_where_no_websocket_is_served_is_refused_at_once_with_426() {
    on_both(|plan| {
        let house = House::open(&plan);
        let upgrade = [
            ("authorization", &*format!("Bearer {KEY}")),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let mut times = Vec::new();
        for _ in 0..21 {
            let mut client = house.connect();
            let begun = Instant::now();
            let answer = client.get("/v1/chat/completions", &upgrade);
            times.push(begun.elapsed());
            assert_eq!(answer.head.status, 426, "{}", answer.text());
        }
        times.sort();
        assert!(times[10].as_micros() < 5_000, "{times:?}");
    });
}

#[test]
fn what_is_not_served_is_refused_in_the_dialect_of_its_path() {
    on_both(|plan| {
        let house = House::open(&plan);
        let key = format!("Bearer {KEY}");
        let headers = [("authorization", &*key)];
        let cases = [
            ("GET", "/v1/chat/completions", 405, Dialect::Chat),
            ("POST", "/v1/models", 405, Dialect::Chat),
            ("POST", "/v1/nothing", 404, Dialect::Chat),
            ("GET", "/v1/messages", 405, Dialect::Messages),
            ("POST", "/v1/messages/nothing", 404, Dialect::Messages),
            ("GET", "/api/v1/generate", 405, Dialect::Native),
            ("GET", "/api/v1/nothing", 404, Dialect::Native),
            ("GET", "/", 404, Dialect::Native),
        ];
        let mut client = house.connect();
        for (method, path, status, dialect) in cases {
            client.send(&request(method, path, &headers, b""));
            let answer = client.answer();
            assert_eq!(
                answer.head.status,
                status,
                "{method} {path}: {}",
                answer.text()
            );
            let body = serde_json::from_slice(&answer.body).expect("JSON");
            assert!(!error_of(dialect, &body).is_empty());
        }
    });
}

#[test]
fn wrong_keys_models_and_bodies_are_refused_before_any_call_and_the_connection_goes_on() {
    on_both(|plan| {
        let house = House::open(&plan);
        let mut client = house.connect();
        for dialect in DIALECTS {
            let path = Ask::new(dialect, "own", "").path();
            let key = format!("Bearer {KEY}");
            let right = [("authorization", &*key)];
            let unknown = Ask::new(dialect, "no-such", "hello").body.to_string();
            let cases = [
                (&[("authorization", "Bearer wrong")][..], &unknown[..], 401),
                (&[], &unknown, 401),
                (&right, &unknown, 404),
                (&right, "{", 400),
            ];
            for (headers, body, status) in cases {
                client.send(&request("POST", path, headers, body.as_bytes()));
                let answer = client.answer();
                assert_eq!(answer.head.status, status, "{path}: {}", answer.text());
                let body = serde_json::from_slice(&answer.body).expect("JSON");
                error_of(dialect, &body);
            }
        }
        assert_eq!(house.figure("attempts_total"), 0.0);
        drop(client);
        house.is_well();
    });
}
