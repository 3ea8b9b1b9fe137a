//! Client keys that are made, rotated and revoked while the router runs: over the operators' port, by the command, and over a restart.

use super::client::{Answer, Conn, request};
use super::house::{House, KEY, Plan, Program, on_both, until};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use stokehold::node::{self, Node};

fn operator(at: SocketAddr, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let kind = [("content-type", "application/json")];
    let mut conn = Conn::plain(at);
    conn.send(&request(method, path, &kind, body.to_string().as_bytes()));
    let answer = conn.answer();
    let told = serde_json::from_slice(&answer.body);
    (
        answer.head.status,
        told.unwrap_or_else(|_| json!(answer.text())),
    )
}

fn make(at: SocketAddr, wish: Value) -> (String, String) {
    let (status, told) = operator(at, "POST", "/admin/v1/keys", &wish);
    assert_eq!(status, 201, "{told}");
    let text = |name: &str| told[name].as_str().expect(name).to_owned();
    (text("name"), text("key"))
}

fn ask(at: SocketAddr, key: &str, model: &str) -> Answer {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
    let shown = format!("Bearer {key}");
    let headers = [
        ("authorization", &*shown),
        ("content-type", "application/json"),
    ];
    let mut conn = Conn::plain(at);
    let body = body.to_string();
    conn.send(&request(
        "POST",
        "/v1/chat/completions",
        &headers,
        body.as_bytes(),
    ));
    conn.answer()
}

fn status(at: SocketAddr, key: &str) -> u16 {
    ask(at, key, "own").head.status
}

#[test]
fn a_key_is_good_from_the_answer_that_tells_it_until_it_is_revoked() {
    on_both(|plan| {
        let mut house = House::open(&plan);
        let (at, desk) = (house.at, house.operator);
        let (name, key) = make(desk, json!({"tenant": "t", "name": "ci"}));
        assert_eq!(name, "ci");
        // Shards hear of it one after the other.
        until("it is known", || (0..8).all(|_| status(at, &key) == 200));
        let (code, told) = operator(desk, "GET", "/admin/v1/keys", &Value::Null);
        assert_eq!(code, 200);
        let listed = told["keys"].as_array().expect("a list");
        assert_eq!((listed.len(), &listed[1]["name"]), (2, &json!("ci")));
        assert!(!told.to_string().contains(&key), "told once");
        assert!(!told.to_string().contains(KEY));
        // Rotated: both are good for a while.
        let overlap = json!({"overlap_seconds": 3_600});
        let (code, told) = operator(desk, "POST", "/admin/v1/keys/ci/rotate", &overlap);
        let second = told["key"].as_str().expect("a key").to_owned();
        assert_eq!(code, 200, "{told}");
        until("the second is known", || {
            (0..8).all(|_| status(at, &second) == 200)
        });
        assert_eq!(status(at, &key), 200, "within the overlap");
        // A file that is read again takes none away.
        house.node().reload().expect("reads again");
        assert_eq!(status(at, &second), 200);
        let (code, told) = operator(desk, "DELETE", "/admin/v1/keys/ci", &Value::Null);
        assert_eq!((code, told["revoked"].is_number()), (200, true), "{told}");
        until("both are refused", || {
            (0..8).all(|_| status(at, &key) == 401 && status(at, &second) == 401)
        });
        assert_eq!(status(at, KEY), 200, "the file's own");
        house.is_well();
    });
}

#[test]
fn what_is_made_is_there_after_a_restart() {
    let mut house = House::open(&Plan::new("epoll", 2));
    let (_, key) = make(house.operator, json!({"tenant": "t"}));
    house.stop();
    let file = house.folder.path().join("stokehold.yaml");
    let loaded = node::read_config(&file).expect("as before");
    let node = Node::start(loaded).expect("starts again");
    assert_eq!(status(node.address(), &key), 200);
    node.stop().expect("stops");
}

#[test]
fn a_key_may_do_what_it_was_made_for() {
    let house = House::open(&Plan::new("epoll", 1));
    let (at, desk) = (house.at, house.operator);
    let (_, narrow) = make(desk, json!({"tenant": "t", "models": ["ow*"], "rpm": 2}));
    let refused = ask(at, &narrow, "m");
    assert_eq!(refused.head.status, 403, "{}", refused.text());
    assert!(
        refused.text().contains("model_not_allowed"),
        "{}",
        refused.text()
    );
    let shown = format!("Bearer {narrow}");
    let models = Conn::plain(at).get("/v1/models", &[("authorization", &shown)]);
    let models: Value = serde_json::from_slice(&models.body).expect("JSON");
    let names: Vec<&str> = models["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|m| m["id"].as_str())
        .collect();
    assert_eq!(names, ["own"]);
    let told = [
        status(at, &narrow),
        status(at, &narrow),
        status(at, &narrow),
    ];
    assert_eq!(told, [200, 200, 429], "two a minute");
    assert_eq!(status(at, KEY), 200, "the tenant has no such limit");
    let (_, elsewhere) = make(desk, json!({"tenant": "t", "dialects": ["messages"]}));
    assert_eq!(status(at, &elsewhere), 403);
    let (_, over) = make(desk, json!({"tenant": "t", "expires": "2020-01-01"}));
    assert_eq!(status(at, &over), 401);
    let (_, poor) = make(desk, json!({"tenant": "t", "usd_per_month": 0.000_000_001}));
    assert_eq!([status(at, &poor), status(at, &poor)], [200, 429]);
}

#[test]
fn wishes_that_cannot_be_met_say_which_field_and_why() {
    let house = House::open(&Plan::new("epoll", 1));
    for (wish, named) in [
        (json!({}), "tenant"),
        (json!({"tenant": "nobody"}), "there are t"),
        (json!({"tenant": "t", "models": ["gpt-*"]}), "models"),
        (json!({"tenant": "t", "providers": ["x"]}), "there are own"),
        (json!({"tenant": "t", "dialects": ["soap"]}), "chat"),
        (json!({"tenant": "t", "expires": "soon"}), "2027-01-31"),
        (json!({"tenant": "t", "priority": "high"}), "batch"),
        (json!({"tenant": "t", "usd_per_day": -1}), "usd_per_day"),
        (json!({"tenant": "t", "name": "k"}), "already"),
        (json!({"tenant": "t", "name": "a b"}), "letters"),
        (json!({"tenant": "t", "rmp": 3}), "rmp"),
    ] {
        let (status, told) = operator(house.operator, "POST", "/admin/v1/keys", &wish);
        let error = told["error"].as_str().unwrap_or_default();
        assert!(status == 400 && error.contains(named), "{wish}: {told}");
    }
    let gone = operator(
        house.operator,
        "DELETE",
        "/admin/v1/keys/nobody",
        &Value::Null,
    );
    assert_eq!(gone.0, 400, "{}", gone.1);
    // A form, as a page in a browser can send.
    let mut conn = Conn::plain(house.operator);
    let form = [("content-type", "text/plain")];
    conn.send(&request(
        "POST",
        "/admin/v1/keys",
        &form,
        br#"{"tenant":"t"}"#,
    ));
    assert_eq!(conn.answer().head.status, 415);
}

#[test]
fn the_command_makes_lists_rotates_and_revokes() {
    let program = Program::start(&Plan::new("epoll", 1));
    let desk = program.operator.to_string();
    let file = program.folder.path().join("stokehold.yaml");
    let keys = |args: &[&str]| -> (bool, String) {
        let ran = Command::new(env!("CARGO_BIN_EXE_stokehold"))
            .args(["keys", "--operator", &desk])
            .args(args)
            .arg("--config")
            .arg(&file)
            .output()
            .expect("the program");
        let said = [ran.stdout, ran.stderr].concat();
        (
            ran.status.success(),
            String::from_utf8(said).expect("UTF-8"),
        )
    };
    let made = keys(&[
        "create", "--tenant", "t", "--name", "ci", "--models", "own,m", "--rpm", "60",
    ]);
    assert!(made.0, "{}", made.1);
    let key = made.1.split([' ', '\n']).nth(1).expect("a key").to_owned();
    assert!(key.starts_with("sk-stk-"), "{}", made.1);
    assert_eq!(status(program.at, &key), 200);
    let (_, listed) = keys(&["list"]);
    let line = listed.lines().find(|line| line.starts_with("ci "));
    let line = line.expect("it is listed");
    assert!(
        line.contains(&key[46..]) && line.contains("\"rpm\":60"),
        "{listed}"
    );
    assert!(listed.contains("of the file") && !listed.contains(&key));
    let (good, rotated) = keys(&["rotate", "ci", "--json"]);
    let rotated: Value = serde_json::from_str(&rotated).expect("JSON");
    assert!(good && rotated["key"].is_string(), "{rotated}");
    assert_eq!(status(program.at, &key), 401, "no overlap was wanted");
    assert!(keys(&["revoke", "ci"]).1.contains("revoked"));
    let (good, said) = keys(&["create", "--tenant", "nobody"]);
    assert!(!good && said.contains("there are t"), "{said}");
}
