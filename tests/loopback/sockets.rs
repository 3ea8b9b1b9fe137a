//! Many requests on one WebSocket. The client is tungstenite's.

use super::client::dial;
use super::house::{House, KEY, Plan, on_both_crossed, until};
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{HandshakeError, Message, WebSocket};

pub type Socket = WebSocket<Patient>;

/// A socket that goes on when a signal interrupts it, as the process's own timers do now and then.
#[derive(Debug)]
pub struct Patient(pub TcpStream);

impl Read for Patient {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(into) {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.0.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn open(house: &House, header: Option<&str>) -> Socket {
    open_at(house.at, "/api/v1/ws", header).expect("opens")
}

/// `Err` is the status with which the upgrade is refused.
pub fn open_at(at: SocketAddr, path: &str, header: Option<&str>) -> Result<Socket, u16> {
    open_on(dial(at), at, path, header)
}

/// The same on a connection that is there.
pub fn open_on(
    stream: TcpStream,
    at: SocketAddr,
    path: &str,
    header: Option<&str>,
) -> Result<Socket, u16> {
    let mut ask = format!("ws://{at}{path}")
        .into_client_request()
        .expect("a request");
    if let Some(key) = header {
        let value = format!("Bearer {key}").parse().expect("a value");
        ask.headers_mut().insert("authorization", value);
    }
    match tungstenite::client(ask, Patient(stream)) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            Err(answer.status().as_u16())
        }
        Err(other) => panic!("{other}"),
    }
}

pub fn say(socket: &mut Socket, message: &Value) {
    socket
        .send(Message::text(message.to_string()))
        .expect("sent");
}

pub fn hear(socket: &mut Socket) -> Value {
    loop {
        match socket.read().expect("a message") {
            Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn request(id: &str, text: &str) -> Value {
    json!({"type": "request", "request_id": id, "model": "own", "input": text})
}

/// Reads until each of `ids` has had its last event; gives those, in the order they came.
fn ends(socket: &mut Socket, mut ids: Vec<&str>) -> Vec<Value> {
    let mut ends = Vec::new();
    while !ids.is_empty() {
        let event = hear(socket);
        let of = event["request_id"].as_str().expect("whose it is");
        assert!(ids.contains(&of), "after its end, or of nobody: {event}");
        if event["type"] == "response.done" || event["type"] == "error" {
            ids.retain(|id| *id != of);
            ends.push(event);
        }
    }
    ends
}

#[test]
fn one_socket_authenticates_runs_many_requests_at_once_and_goes_on_after_errors() {
    on_both_crossed(|plan| {
        let house = House::open(&plan);
        let mut socket = open(&house, None);
        say(&mut socket, &request("early", "hello"));
        assert_eq!(hear(&mut socket)["error"]["class"], "unauthenticated");
        // Who guesses keys gets one guess a connection.
        say(&mut socket, &json!({"type": "auth", "api_key": "sk-wrong"}));
        let closed = loop {
            match socket.read() {
                Ok(Message::Close(why)) => break why,
                Ok(_) => {}
                Err(why) => panic!("{why}"),
            }
        };
        assert_eq!(closed.expect("a reason").code, CloseCode::Policy);
        let mut socket = open(&house, None);
        say(&mut socket, &json!({"type": "auth", "api_key": KEY}));
        assert_eq!(hear(&mut socket)["type"], "auth.ok");
        let ids: Vec<String> = (0..20).map(|n| format!("r{n}")).collect();
        for id in &ids {
            say(&mut socket, &request(id, "hello"));
        }
        let ended = ends(&mut socket, ids.iter().map(|id| &**id).collect());
        assert!(
            ended.iter().all(|e| e["type"] == "response.done"),
            "{ended:?}"
        );
        socket.send(Message::text("{")).expect("sent");
        assert_eq!(hear(&mut socket)["type"], "error");
        say(
            &mut socket,
            &json!({"type": "request", "request_id": "no", "model": "no-such", "input": "x"}),
        );
        assert_eq!(
            ends(&mut socket, vec!["no"])[0]["error"]["class"],
            "model_not_found"
        );
        say(
            &mut socket,
            &request("fails", "[[fake: error_event_after=2]]"),
        );
        assert_eq!(ends(&mut socket, vec!["fails"])[0]["type"], "error");
        say(&mut socket, &request("again", "hello"));
        assert_eq!(ends(&mut socket, vec!["again"])[0]["type"], "response.done");
        socket.close(None).expect("said");
        while socket.read().is_ok() {}
        house.is_well();
    });
}

#[test]
fn a_cancelled_request_ends_upstream_and_the_others_of_its_socket_go_on() {
    on_both_crossed(|plan| {
        let house = House::open(&plan);
        let mut socket = open(&house, Some(KEY));
        say(
            &mut socket,
            &request("long", "[[fake: between_tokens=20 output_tokens=1000]]"),
        );
        say(
            &mut socket,
            &request("other", "[[fake: between_tokens=20 output_tokens=30]]"),
        );
        while hear(&mut socket)["type"] != "block.delta" {}
        say(
            &mut socket,
            &json!({"type": "cancel", "request_id": "long"}),
        );
        let ended = ends(&mut socket, vec!["long", "other"]);
        assert_eq!(ended[0]["request_id"], "long", "{ended:?}");
        assert_eq!(ended[1]["type"], "response.done", "{ended:?}");
        until("the provider is left", || {
            house
                .book()
                .entries()
                .any(|e| e.ended == stokehold::fake::Ended::HungUp)
        });
        say(
            &mut socket,
            &json!({"type": "cancel", "request_id": "long"}),
        );
        assert_eq!(hear(&mut socket)["error"]["class"], "not_found");
        drop(socket);
        house.is_well();
    });
}

#[test]
fn a_socket_that_is_lost_ends_what_it_ran_when_its_tenant_wants_that() {
    on_both_crossed(|plan| {
        let tenant = ", on_disconnect: cancel".to_owned();
        let house = House::open(&Plan { tenant, ..plan });
        let mut socket = open(&house, Some(KEY));
        for n in 0..5 {
            let text = "[[fake: stall_after=2]]";
            say(&mut socket, &request(&format!("r{n}"), text));
        }
        until("all run", || house.figure("calls_open") == 5.0);
        drop(socket);
        until("all were left", || {
            let book = house.book();
            book.entries().count() == 5
        });
        house.is_well();
    });
}
