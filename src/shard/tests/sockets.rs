//! Many requests on one WebSocket.

use super::*;
use crate::protocol::framing::websocket::{Message, Side, Socket, write_masked};
use bytes::BytesMut;

fn open(rig: &mut Rig, headers: &[(&str, &str)]) -> ClientId {
    open_at(rig, "/api/v1/ws", headers)
}

pub(super) fn open_at(rig: &mut Rig, path: &str, headers: &[(&str, &str)]) -> ClientId {
    let client = rig.client();
    let mut all = vec![
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    all.extend_from_slice(headers);
    let head = ClientHead {
        method: Bytes::from_static(b"GET"),
        websocket: true,
        ..Rig::head(path, &all)
    };
    rig.on(Input::Head { client, head });
    client
}

pub(super) fn send(rig: &mut Rig, client: ClientId, message: &Message) {
    let mut out = BytesMut::new();
    write_masked(message, [1, 2, 3, 4], &mut out);
    rig.on(Input::SocketBytes {
        client,
        bytes: out.freeze(),
    });
}

pub(super) fn text(rig: &mut Rig, client: ClientId, text: &str) {
    send(rig, client, &Message::Text(text.into()));
}

fn ask(rig: &mut Rig, client: ClientId, id: &str) {
    let body = format!(r#"{{"type":"request","request_id":"{id}","model":"m0","input":"hi"}}"#);
    text(rig, client, &body);
}

/// The texts that `client` was sent since the last look, and whether the socket ended.
pub(super) fn heard(rig: &mut Rig, client: ClientId) -> (Vec<String>, bool) {
    let (messages, ended) = heard_all(rig, client);
    let text = |message| match message {
        Message::Text(text) => Some(text.to_string()),
        _ => None,
    };
    (messages.into_iter().filter_map(text).collect(), ended)
}

pub(super) fn heard_all(rig: &mut Rig, client: ClientId) -> (Vec<Message>, bool) {
    let (mut socket, mut ended) = (Socket::new(Side::Client, 1 << 20), false);
    for output in rig.take() {
        match output {
            Output::Write { client: c, bytes } if c == client => {
                assert!(!ended, "nothing follows the end");
                socket.feed(bytes);
            }
            Output::End { client: c } | Output::Abort { client: c } if c == client => ended = true,
            _ => {}
        }
    }
    let mut messages = Vec::new();
    while let Some(message) = socket.next().expect("frames") {
        messages.push(message);
    }
    (messages, ended)
}

pub(super) fn calls_of(rig: &mut Rig) -> Vec<AttemptId> {
    let calls: Vec<AttemptId> = rig
        .out
        .iter()
        .filter_map(|o| match o {
            Output::Call(call) => Some(call.attempt),
            _ => None,
        })
        .collect();
    for attempt in &calls {
        rig.on(Input::Sent { attempt: *attempt });
    }
    calls
}

#[test]
fn requests_on_one_socket_end_each_with_its_own_last_word() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = open(&mut rig, &[]);
    ask(&mut rig, client, "one");
    ask(&mut rig, client, "two");
    ask(&mut rig, client, "one");
    let calls = calls_of(&mut rig);
    assert_eq!(calls.len(), 2, "an id that runs is refused");
    rig.stream(calls[0]);
    rig.say(calls[0], &format!("{FIRST}{STOP}{USAGE}{DONE}"));
    rig.refuse(calls[1], 400, &[], "{}");
    rig.end(calls[0]);
    let (texts, ended) = heard(&mut rig, client);
    let last = |id: &str, kind: &str| {
        texts
            .iter()
            .filter(|t| t.contains(&format!("\"request_id\":\"{id}\"")) && t.contains(kind))
            .count()
    };
    assert_eq!(last("one", "\"type\":\"response.done\""), 1, "{texts:?}");
    assert_eq!(last("two", "\"type\":\"error\""), 1, "{texts:?}");
    assert!(!ended);
    // Its id is free again.
    ask(&mut rig, client, "one");
    let calls = calls_of(&mut rig);
    assert_eq!(calls.len(), 1);
    text(&mut rig, client, r#"{"type":"cancel","request_id":"one"}"#);
    assert!(rig.out.contains(&Output::Cancel { attempt: calls[0] }));
    let (texts, _) = heard(&mut rig, client);
    assert!(texts.iter().any(|t| t.contains("cancelled")), "{texts:?}");
    rig.on(Input::ClientGone { client });
    rig.rests();
}

/// A goodbye is a client that leaves: nothing is written after it.
#[test]
fn after_a_goodbye_answers_are_finished_for_nobody() {
    for goodbye in [
        Message::Close(Some((1000, "".into()))),
        Message::Binary(Bytes::from_static(b"x")),
    ] {
        let mut rig = Rig::new(&one_provider("openai", POOL));
        let client = open(&mut rig, &[]);
        ask(&mut rig, client, "one");
        let call = calls_of(&mut rig)[0];
        rig.stream(call);
        rig.say(call, FIRST);
        send(&mut rig, client, &goodbye);
        rig.say(call, &format!("{STOP}{USAGE}{DONE}"));
        rig.end(call);
        let (_, ended) = heard(&mut rig, client);
        assert!(ended);
        assert_eq!(rig.rows[0].outcome, Outcome::Done);
        rig.on(Input::ClientGone { client });
        rig.rests();
    }
}

#[test]
fn a_socket_that_is_not_read_is_dropped_whole() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = open(&mut rig, &[]);
    ask(&mut rig, client, "one");
    ask(&mut rig, client, "two");
    let calls = calls_of(&mut rig);
    rig.stream(calls[0]);
    rig.say(calls[0], FIRST);
    rig.on(Input::Congested { client });
    // What begins on a full socket is paused from its beginning.
    rig.stream(calls[1]);
    assert!(rig.out.contains(&Output::Pause { attempt: calls[1] }));
    ask(&mut rig, client, "three");
    let third = *calls_of(&mut rig).last().expect("a call");
    rig.stream(third);
    assert!(rig.out.contains(&Output::Pause { attempt: third }));
    rig.secs(5);
    assert!(rig.out.contains(&Output::Abort { client }));
    for call in [calls[0], calls[1], third] {
        assert!(
            rig.out.contains(&Output::Resume { attempt: call }),
            "{call:?}"
        );
        rig.say(call, &format!("{FIRST}{STOP}{USAGE}{DONE}"));
        rig.end(call);
    }
    assert!(heard(&mut rig, client).1);
    assert!(rig.rows.iter().all(|row| row.outcome == Outcome::Done));
    rig.rests();
}

#[test]
fn a_stranger_may_neither_guess_twice_nor_ask() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = open(&mut rig, &[("authorization", "")]);
    ask(&mut rig, client, "one");
    assert!(calls_of(&mut rig).is_empty());
    text(&mut rig, client, r#"{"type":"auth","api_key":"wrong"}"#);
    assert!(heard(&mut rig, client).1);
    assert_eq!(rig.shard.meters().unauthenticated, 1);
    rig.on(Input::ClientGone { client });
    // Nor fill the memory before showing a key.
    let client = open(&mut rig, &[("authorization", "")]);
    text(&mut rig, client, &"x".repeat(1 << 20));
    assert!(heard(&mut rig, client).1);
    rig.on(Input::ClientGone { client });
    let client = open(&mut rig, &[("authorization", "")]);
    text(&mut rig, client, r#"{"type":"auth","api_key":"sk-a"}"#);
    let long = format!(
        r#"{{"type":"request","request_id":"r","model":"m0","input":"{}"}}"#,
        "x".repeat(1 << 20)
    );
    text(&mut rig, client, &long);
    assert_eq!(calls_of(&mut rig).len(), 1);
}

#[test]
fn controls_of_the_upgrade_hold_for_its_requests() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = open(&mut rig, &[("x-stokehold-on-disconnect", "cancel")]);
    ask(&mut rig, client, "one");
    let attempt = calls_of(&mut rig)[0];
    rig.on(Input::ClientGone { client });
    assert!(rig.out.contains(&Output::Cancel { attempt }));
    rig.rests();
    let client = open(&mut rig, &[("x-stokehold-priority", "high")]);
    assert_eq!(rig.told(client).0, 400);
}
