//! Responses over a WebSocket. The client is tungstenite's.

use super::client::dial;
use super::house::{House, KEY, Plan, on_both, on_both_crossed, until};
use super::leaving::narrow;
use super::sockets::{Socket, hear, open_at, open_on, say};
use serde_json::{Value, json};
use std::net::SocketAddr;
use stokehold::fake::Ended;
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::CloseCode;

fn open(at: SocketAddr) -> Socket {
    open_at(at, "/v1/responses", Some(KEY)).expect("opens")
}

fn create(lane: &str, input: &str) -> Value {
    json!({"type": "response.create", "stream_id": lane, "model": "own", "input": input, "store": false})
}

/// Reads until each of `lanes` has had its last event; gives those, in the order they came.
fn ends(socket: &mut Socket, mut lanes: Vec<&str>) -> Vec<Value> {
    let mut ends = Vec::new();
    while !lanes.is_empty() {
        let event = hear(socket);
        let of = event["stream_id"].as_str().expect("whose it is");
        let at = lanes.iter().position(|lane| *lane == of);
        let at = at.unwrap_or_else(|| panic!("after its end, or of nobody: {event}"));
        let error = event["type"] == "error" && !event["status"].is_null();
        if error || event["type"] == "response.completed" || event["type"] == "response.failed" {
            lanes.remove(at);
            ends.push(event);
        }
    }
    ends
}

fn text_of(end: &Value) -> &str {
    let output = end["response"]["output"].as_array();
    let output = output.unwrap_or_else(|| panic!("a whole answer: {end}"));
    let message = output.iter().find(|item| item["type"] == "message");
    message
        .and_then(|m| m["content"][0]["text"].as_str())
        .unwrap_or_default()
}

#[test]
fn one_socket_runs_lanes_at_once_and_goes_on_with_their_answers() {
    on_both_crossed(|plan| {
        let house = House::open(&plan);
        let refused = open_at(house.at, "/v1/responses", None).expect_err("no key");
        assert_eq!(refused, 401);
        // FIELD-BUGS 67: elsewhere an upgrade is refused by the one status at which clients fall back to HTTP.
        let elsewhere =
            open_at(house.at, "/v1/chat/completions", Some(KEY)).expect_err("no socket");
        assert_eq!(elsewhere, 426);
        let mut socket = open(house.at);
        let lanes: Vec<String> = (0..20).map(|n| format!("lane-{n}")).collect();
        for lane in &lanes {
            say(&mut socket, &create(lane, &format!("hello {lane}")));
        }
        let ended = ends(&mut socket, lanes.iter().map(|lane| &**lane).collect());
        for end in &ended {
            let lane = end["stream_id"].as_str().expect("a lane");
            assert!(text_of(end).contains(&format!("hello {lane}")), "{end}");
            let mut next = create(lane, "more");
            next["previous_response_id"] = end["response"]["id"].clone();
            say(&mut socket, &next);
        }
        let again = ends(&mut socket, lanes.iter().map(|lane| &**lane).collect());
        let input = |end: &Value| end["response"]["usage"]["input_tokens"].as_u64();
        assert!(
            again.iter().all(|end| input(end) > input(&ended[0])),
            "{again:?}"
        );
        // What is kept is counted, and given back with the connection.
        until("it is shown", || house.figure("body_bytes_held") > 0.0);
        socket.send(Message::text("{")).expect("sent");
        assert_eq!(hear(&mut socket)["status"], 400);
        say(
            &mut socket,
            &create("fails", "[[fake: error_event_after=2]]"),
        );
        // By one event where nothing of the answer was told yet, else by the answer's own bad end.
        let failed = &ends(&mut socket, vec!["fails"])[0];
        assert_ne!(failed["type"], "response.completed", "{failed}");
        say(&mut socket, &create("fails", "hello"));
        assert_eq!(
            ends(&mut socket, vec!["fails"])[0]["type"],
            "response.completed"
        );
        socket.close(None).expect("said");
        while socket.read().is_ok() {}
        house.is_well();
    });
}

#[test]
fn a_socket_of_responses_that_is_lost_ends_what_it_ran_when_its_tenant_wants_that() {
    on_both(|plan| {
        let tenant = ", on_disconnect: cancel".to_owned();
        let house = House::open(&Plan { tenant, ..plan });
        let mut socket = open(house.at);
        for n in 0..5 {
            say(
                &mut socket,
                &create(&format!("l{n}"), "[[fake: stall_after=2]]"),
            );
            say(&mut socket, &create(&format!("l{n}"), "never begun"));
        }
        until("all run", || house.figure("calls_open") == 5.0);
        drop(socket);
        until("all were left", || {
            house
                .book()
                .entries()
                .filter(|e| e.ended == Ended::HungUp)
                .count()
                == 5
        });
        house.is_well();
        assert_eq!(
            house.book().entries().count(),
            6,
            "five, and the one that showed it is well"
        );
    });
}

#[test]
fn a_stop_lets_a_socket_finish_its_answer_and_says_goodbye() {
    on_both_crossed(|plan| {
        let mut house = House::open(&plan);
        let (mut socket, mut idle) = (open(house.at), open(house.at));
        let long = "[[fake: between_tokens=20 output_tokens=40]]";
        say(&mut socket, &create("a", long));
        while hear(&mut socket)["type"] != "response.output_text.delta" {}
        std::thread::scope(|scope| {
            let stopping = scope.spawn(move || {
                house.stop();
                house
            });
            assert_eq!(goodbye(&mut idle), CloseCode::Away);
            assert_eq!(
                ends(&mut socket, vec!["a"])[0]["type"],
                "response.completed"
            );
            assert_eq!(goodbye(&mut socket), CloseCode::Away);
            stopping.join().expect("stops");
        });
    });
}

fn goodbye(socket: &mut Socket) -> CloseCode {
    loop {
        match socket.read().expect("a goodbye") {
            Message::Close(why) => return why.expect("a reason").code,
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A client that sends faster than it reads is not read any more, and when it reads again nothing is missing.
#[test]
fn a_socket_that_is_not_read_holds_its_answers_back() {
    on_both(|plan| {
        let limits = "{client_buffer_bytes: 16KiB, slow_client: 20s}".to_owned();
        let house = House::open(&Plan { limits, ..plan });
        let narrow = narrow(house.at);
        let mut socket = open_on(narrow, house.at, "/v1/responses", Some(KEY)).expect("opens");
        let lanes: Vec<String> = (0..8).map(|n| format!("l{n}")).collect();
        for lane in &lanes {
            // More in all than the kernel keeps for a connection.
            let text = "[[fake: between_tokens=0 output_tokens=12000]]";
            say(&mut socket, &create(lane, text));
        }
        // How many run at once depends on who is first; that some stand still for as long as nobody reads does not.
        until("some are held back", || {
            let open = house.figure("calls_open");
            std::thread::sleep(std::time::Duration::from_secs(1));
            open > 0.0 && house.figure("calls_open") == open
        });
        let ended = ends(&mut socket, lanes.iter().map(|lane| &**lane).collect());
        for end in &ended {
            assert_eq!(
                end["response"]["usage"]["output_tokens"], 12_000,
                "{}",
                end["type"]
            );
        }
        drop(socket);
        house.is_well();
    });
}

/// Codex CLI asks for compression and names the version of the mode; neither is in the way.
#[test]
fn an_upgrade_with_what_codex_adds_is_served() {
    let house = House::open(&Plan::new("epoll", 1));
    let mut ask = format!("ws://{}/v1/responses", house.at)
        .into_client_request()
        .expect("a request");
    for (name, value) in [
        ("authorization", &*format!("Bearer {KEY}")),
        ("openai-beta", "responses_websockets=2026-02-06"),
        (
            "sec-websocket-extensions",
            "permessage-deflate; client_max_window_bits",
        ),
    ] {
        ask.headers_mut().insert(
            http::HeaderName::from_bytes(name.as_bytes()).expect("a name"),
            value.parse().expect("a value"),
        );
    }
    let (mut socket, answer) =
        tungstenite::client(ask, super::sockets::Patient(dial(house.at))).expect("opens");
    assert!(!answer.headers().contains_key("sec-websocket-extensions"));
    let mut message = create("", "hello");
    message
        .as_object_mut()
        .expect("an object")
        .remove("stream_id");
    message["stream"] = json!(true);
    say(&mut socket, &message);
    let last = loop {
        let event = hear(&mut socket);
        assert!(event.get("stream_id").is_none());
        if event["type"] == "response.completed" {
            break event;
        }
    };
    assert!(text_of(&last).contains("hello"), "{last}");
    say(
        &mut socket,
        &json!({"type": "response.processed", "response_id": last["response"]["id"]}),
    );
    drop(socket);
    house.is_well();
}
