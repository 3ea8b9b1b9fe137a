//! Loops of tools with a model of Google's, by clients of every dialect that know of a call its id, its name and what it is called with.
//!
//! The fake gives a signature with the first call of a step, and refuses the next turn without it, or with Google's word for a lost one in its place.

use super::client::{Answer, request};
use super::house::{House, KEY, fake, quick};
use super::words::events;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

/// Google, and whom a conversation may go on with, all of them played by the fake at `at`.
fn yaml(data: &Path, at: SocketAddr) -> String {
    let provider = |name: &str, kind: &str, base: &str| {
        format!(
            "  - {{id: {name}, kind: {kind}, base_url: \"http://{at}{base}\", pools: [{{id: pool-{name}, keys: [{{id: key-{name}, secret: s}}]}}]}}\n"
        )
    };
    let model = |name: &str, provider: &str, theirs: &str| {
        format!(
            "  - {{id: {name}, endpoints: [{{provider: {provider}, name: {theirs}, price: {{input: 1, output: 5}}}}], takes: [tools]}}\n"
        )
    };
    format!(
        "server: {{listen: \"127.0.0.1:0\", operator: \"127.0.0.1:0\", shards: 2, pin: false}}\n\
         data_dir: {}\nlog: {{level: warn}}\n\
         tenants:\n  - {{id: t, keys: [{{id: k, secret: {KEY}}}]}}\n\
         providers:\n{}{}{}{}\
         models:\n{}{}{}{}",
        data.display(),
        provider("google", "gemini", ""),
        provider("anthropic", "anthropic", ""),
        provider("openai", "openai", ""),
        provider("own", "selfhosted", "/v1"),
        model("gemini", "google", "gemini-3.8-flash"),
        model("claude", "anthropic", "claude-sonnet-4-5"),
        model("gpt", "openai", "gpt-6-sol"),
        model("qwen", "own", "qwen"),
    )
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Client {
    Chat,
    Messages,
    Responses,
    Native,
}

const CLIENTS: [Client; 4] = [
    Client::Chat,
    Client::Messages,
    Client::Responses,
    Client::Native,
];

/// What a client remembers of a call.
#[derive(Clone, Debug)]
struct Call {
    id: String,
    name: String,
    input: String,
    /// In our own dialect a call is one object, its signature in it, and goes back so.
    signature: Option<String>,
}

impl Client {
    fn path(self, stream: bool) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Messages => "/v1/messages",
            Self::Responses => "/v1/responses",
            Self::Native if stream => "/api/v1/stream",
            Self::Native => "/api/v1/generate",
        }
    }

    fn body(self, model: &str, turns: Vec<Value>, stream: bool) -> Value {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        let mut body = match self {
            Self::Chat => json!({"messages": turns, "tools": [
                {"type": "function", "function": {"name": "weather", "parameters": schema}}]}),
            Self::Messages => json!({"messages": turns, "max_tokens": 500, "tools": [
                {"name": "weather", "input_schema": schema}]}),
            Self::Responses => json!({"input": turns, "store": false, "tools": [
                {"type": "function", "name": "weather", "parameters": schema}]}),
            Self::Native => json!({"input": turns, "tools": [
                {"type": "function", "name": "weather", "schema": schema}]}),
        };
        body["model"] = model.into();
        if self != Self::Native {
            body["stream"] = stream.into();
        }
        body
    }

    /// The calls and their results, as this client says them.
    fn back(self, calls: &[Call]) -> Vec<Value> {
        let input = |call: &Call| -> Value { serde_json::from_str(&call.input).expect("JSON") };
        match self {
            Self::Chat => {
                let said = calls.iter().map(|c| {
                    json!({"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.input}})
                });
                let said: Vec<Value> = said.collect();
                let mut turns =
                    vec![json!({"role": "assistant", "content": null, "tool_calls": said})];
                turns.extend(
                    calls
                        .iter()
                        .map(|c| json!({"role": "tool", "tool_call_id": c.id, "content": "sunny"})),
                );
                turns
            }
            Self::Messages => {
                let said = calls.iter().map(
                    |c| json!({"type": "tool_use", "id": c.id, "name": c.name, "input": input(c)}),
                );
                let results = calls.iter().map(
                    |c| json!({"type": "tool_result", "tool_use_id": c.id, "content": "sunny"}),
                );
                vec![
                    json!({"role": "assistant", "content": said.collect::<Vec<_>>()}),
                    json!({"role": "user", "content": results.collect::<Vec<_>>()}),
                ]
            }
            Self::Responses => {
                let said = calls.iter().map(
                    |c| json!({"type": "function_call", "call_id": c.id, "name": c.name, "arguments": c.input}),
                );
                let results = calls.iter().map(
                    |c| json!({"type": "function_call_output", "call_id": c.id, "output": "sunny"}),
                );
                said.chain(results).collect()
            }
            Self::Native => {
                let said = calls.iter().map(|c| {
                    let mut said =
                        json!({"type": "tool_call", "id": c.id, "name": c.name, "input": input(c)});
                    if let Some(signature) = &c.signature {
                        said["signature"] = signature.as_str().into();
                    }
                    said
                });
                let results = calls
                    .iter()
                    .map(|c| json!({"type": "tool_result", "id": c.id, "content": "sunny"}));
                vec![
                    json!({"role": "assistant", "content": said.collect::<Vec<_>>()}),
                    json!({"role": "user", "content": results.collect::<Vec<_>>()}),
                ]
            }
        }
    }

    /// The calls of an answer, put together as simple clients do.
    fn calls(self, answer: &Answer, stream: bool) -> Vec<Call> {
        let mut calls = Vec::new();
        if !stream {
            let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
            self.whole(&body, &mut calls);
            return calls;
        }
        for (_, data) in events(&answer.text()) {
            if data != "[DONE]" {
                let event: Value = serde_json::from_str(&data).expect("JSON");
                self.piece(&event, &mut calls);
            }
        }
        calls
    }

    fn whole(self, body: &Value, calls: &mut Vec<Call>) {
        let list = match self {
            Self::Chat => &body["choices"][0]["message"]["tool_calls"],
            Self::Messages => &body["content"],
            Self::Responses => &body["output"],
            Self::Native => &body["blocks"],
        };
        for item in list.as_array().expect("a list") {
            match (self, item["type"].as_str().expect("a type")) {
                (Self::Chat, "function") => {
                    let function = &item["function"];
                    calls.push(call(
                        &item["id"],
                        &function["name"],
                        text(&function["arguments"]),
                    ));
                }
                (Self::Messages, "tool_use") => {
                    calls.push(call(&item["id"], &item["name"], item["input"].to_string()));
                }
                (Self::Responses, "function_call") => {
                    calls.push(call(
                        &item["call_id"],
                        &item["name"],
                        text(&item["arguments"]),
                    ));
                }
                (Self::Native, "tool_call") => {
                    let mut call = call(&item["id"], &item["name"], item["input"].to_string());
                    call.signature = item["signature"].as_str().map(str::to_owned);
                    calls.push(call);
                }
                _ => {}
            }
        }
    }

    fn piece(self, event: &Value, calls: &mut Vec<Call>) {
        match (self, event["type"].as_str().unwrap_or_default()) {
            (Self::Chat, _) => {
                let pieces = event["choices"][0]["delta"]["tool_calls"].as_array();
                for piece in pieces.into_iter().flatten() {
                    let function = &piece["function"];
                    if piece.get("id").is_some() {
                        calls.push(call(&piece["id"], &function["name"], String::new()));
                    }
                    let last = calls.last_mut().expect("begun");
                    last.input += function["arguments"].as_str().unwrap_or_default();
                }
            }
            (Self::Messages, "content_block_start") => {
                let block = &event["content_block"];
                if block["type"] == "tool_use" {
                    calls.push(call(&block["id"], &block["name"], String::new()));
                }
            }
            (Self::Messages, "content_block_delta") => {
                if let Some(json) = event["delta"]["partial_json"].as_str() {
                    calls.last_mut().expect("begun").input += json;
                }
            }
            (Self::Responses, "response.output_item.done") => {
                self.whole(&json!({"output": [event["item"]]}), calls);
            }
            (Self::Native, "response.done") => self.whole(&event["response"], calls),
            _ => {}
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn call(id: &Value, name: &Value, input: String) -> Call {
    Call {
        id: text(id),
        name: text(name),
        input,
        signature: None,
    }
}

fn ask(house: &House, client: Client, body: &Value, stream: bool) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let headers = [
        ("authorization", &*bearer),
        ("content-type", "application/json"),
    ];
    let mut conn = house.connect();
    conn.send(&request(
        "POST",
        client.path(stream),
        &headers,
        body.to_string().as_bytes(),
    ));
    conn.answer()
}

/// Whether the client is told that a signature was left out.
fn is_told(answer: &Answer) -> bool {
    let told = answer.head.header("x-stokehold-dropped");
    told.is_some_and(|told| told.split(", ").any(|name| name == "signature"))
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

const WANTED: &str = "use tool weather twice";
const ANSWERED: &str = "The tool said: sunny";

/// A conversation up to the results of two calls that Google's model made.
fn two_calls(house: &House, client: Client, stream: bool) -> Vec<Call> {
    let first = client.body("gemini", vec![user(WANTED)], stream);
    let answer = ask(house, client, &first, stream);
    assert_eq!(answer.head.status, 200, "{client:?}: {}", answer.text());
    let calls = client.calls(&answer, stream);
    assert_eq!(calls.len(), 2, "{client:?}: {}", answer.text());
    calls
}

fn house() -> (House, stokehold::node::fakes::Fakes) {
    let (fakes, at) = fake(quick());
    (House::configured(|data| yaml(data, at)), fakes)
}

/// Two steps, each with a signature of its own, and text at the end: all that was said is said again every time.
#[test]
fn a_loop_of_tools_with_googles_model_keeps_its_signatures_in_every_dialect() {
    let (mut house, _fakes) = house();
    for client in CLIENTS {
        for stream in [false, true] {
            let mut turns = vec![user(WANTED)];
            for step in 0..2 {
                let body = client.body("gemini", turns.clone(), stream);
                let answer = ask(&house, client, &body, stream);
                let what = format!("{client:?}, step {step}: {}", answer.text());
                assert_eq!(answer.head.status, 200, "{what}");
                assert!(!is_told(&answer), "{what}");
                let calls = client.calls(&answer, stream);
                assert_eq!(calls.len(), 2, "{what}");
                turns.extend(client.back(&calls));
                let body = client.body("gemini", turns.clone(), false);
                let answer = ask(&house, client, &body, false);
                assert_eq!(answer.head.status, 200, "{client:?}: {}", answer.text());
                assert!(answer.text().contains(ANSWERED), "{}", answer.text());
                turns.push(json!({"role": "assistant", "content": ANSWERED}));
                turns.push(user(WANTED));
            }
        }
    }
    house.is_well_and_stops();
}

/// What the test above shows is the signature's doing.
#[test]
fn a_signature_that_a_client_loses_is_missed() {
    let (mut house, _fakes) = house();
    for client in CLIENTS {
        let mut calls = two_calls(&house, client, true);
        for call in &mut calls {
            let kept = call.id.split("_stokehold_sig_").next().expect("an id");
            call.id = kept.to_owned();
            call.signature = None;
        }
        let mut turns = vec![user(WANTED)];
        turns.extend(client.back(&calls));
        let answer = ask(&house, client, &client.body("gemini", turns, false), false);
        assert_eq!(answer.head.status, 400, "{client:?}: {}", answer.text());
        assert!(
            answer.text().contains("thought_signature"),
            "{}",
            answer.text()
        );
    }
    house.is_well_and_stops();
}

/// By bytes that pass, and by translation: the fake refuses ids that do not fit, and the client is told what is left out.
#[test]
fn a_conversation_goes_on_with_a_model_of_another_provider() {
    let (mut house, _fakes) = house();
    for client in CLIENTS {
        let calls = two_calls(&house, client, false);
        for model in ["claude", "gpt", "qwen"] {
            let mut turns = vec![user(WANTED)];
            turns.extend(client.back(&calls));
            let answer = ask(&house, client, &client.body(model, turns, false), false);
            let what = format!("{client:?} to {model}: {}", answer.text());
            assert_eq!(answer.head.status, 200, "{what}");
            assert!(answer.text().contains(ANSWERED), "{what}");
            assert!(is_told(&answer), "{what}");
        }
    }
    house.is_well_and_stops();
}

impl House {
    fn is_well_and_stops(&mut self) {
        super::house::is_empty(self.operator);
        self.stop();
    }
}
