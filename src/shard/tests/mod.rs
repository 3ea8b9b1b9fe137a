//! A shard stepped by hand: inputs in, outputs looked at. Sorted by what the promises are about.

mod answers;
mod arrays;
mod cached;
mod clients;
mod completions;
mod credentials;
mod days;
mod decide;
mod fetch;
mod field;
mod hedge;
mod kept;
mod keep_warm;
mod keys;
mod lanes;
mod leases;
mod ledger;
mod limits;
mod marks;
mod matrix;
mod queue;
mod reload;
mod seals;
mod servers;
mod sockets;
/// Shared with the simulator, which knows these names by another path.
mod named {
    pub use crate::base::{ExchangeId, Str};
    pub use crate::canon::{DialectName, Usage};
    pub use crate::shard::stored::*;
}
#[allow(dead_code, reason = "the simulator asks more of it")]
mod store;
mod video;

use super::*;
use crate::base::{NanoUsd, Slot, Tokens, WallTime};
use crate::config::parse_for_tests;
use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// A shard with one clock, and all that it ever asked for.
struct Rig {
    shard: Shard,
    now: Now,
    /// Since the last `take`.
    out: Vec<Output>,
    rows: Vec<LedgerRow>,
    store: store::Store,
    clients: u32,
}

/// A node with one tenant; `rest` is the YAML of tenants, limits and routing beside it, then providers and models.
const TENANTS: &str = "tenants:\n\
    - {id: a, keys: [{id: a1, secret: sk-a}]}\n\
    - {id: b, on_disconnect: cancel, keys: [{id: b1, secret: sk-b}]}\n";
const LIMITS: &str = "limits: {queue_time: 20s, slow_client: 5s, sse_comment: 3s}\n";
const TIMEOUTS: &str = "timeouts: {connect: 2s, first_byte: 10s, stall: 4s, total: 60s}";
const PRICE: &str = "price: {input: 1, output: 5}";

/// One provider `f0` with these pools, which serves the models `m0` and `m1`.
fn one_provider(kind: &str, pools: &str) -> String {
    format!(
        "server: {{listen: 127.0.0.1:8080, operator: 127.0.0.1:8081, shards: 1}}\n{LIMITS}{TENANTS}\
         providers:\n- {{id: f0, kind: {kind}, base_url: http://f0.test, pools: [{pools}]}}\n\
         models:\n\
         - {{id: m0, takes: [tools], endpoints: [{{provider: f0, name: m0, {PRICE}}}], {TIMEOUTS}}}\n\
         - {{id: m1, takes: [tools], endpoints: [{{provider: f0, name: m1, {PRICE}}}], {TIMEOUTS}}}\n"
    )
}

/// Two providers, the first the cheaper.
fn two_providers(first: &str, second: &str) -> String {
    format!(
        "server: {{listen: 127.0.0.1:8080, operator: 127.0.0.1:8081, shards: 1}}\n{LIMITS}{TENANTS}\
         providers:\n- {{id: f0, kind: openai, base_url: http://f0.test, pools: [{first}]}}\n\
         - {{id: f1, kind: openai, base_url: http://f1.test, pools: [{second}]}}\n\
         models:\n- {{id: m0, takes: [tools], {TIMEOUTS}, endpoints: [{{provider: f0, name: m0, {PRICE}}}, \
         {{provider: f1, name: m0, price: {{input: 2, output: 10}}}}]}}\n"
    )
}

const POOL: &str = "{id: p0, keys: [{id: k0, secret: sk-0-end}]}";
const POOL_1: &str = "{id: p1, keys: [{id: k1, secret: sk-1-end}]}";

fn pool_of(limits: &str) -> String {
    format!("{{id: p0, keys: [{{id: k0, secret: sk-0-end}}], limits: [{limits}]}}")
}

const ASK: &str = r#"{"model":"m0","messages":[{"role":"user","content":"hello"}]}"#;
const ASK_STREAM: &str =
    r#"{"model":"m0","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
const WHOLE: &str = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m0","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}}"#;
const FIRST: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m0\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":null}]}\n\n";
const STOP: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m0\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m0\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2,\"total_tokens\":12}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const TOO_MANY: &str =
    r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}"#;

impl Rig {
    fn new(yaml: &str) -> Self {
        Self::of(yaml, 1)
    }

    fn of(yaml: &str, shards: u16) -> Self {
        Self::at(yaml, ShardId(0), shards)
    }

    fn at(yaml: &str, id: ShardId, shards: u16) -> Self {
        let setup = Setup {
            config: Arc::new(parse_for_tests(yaml)),
            id,
            shards,
            seed: 7,
            secret: [7; 32],
            restarts: 0,
        };
        let start = 1_000_000_000_000;
        Self {
            shard: Shard::new(setup),
            now: Now {
                instant: Instant(start),
                wall: WallTime(1_790_000_000_000_000_000),
            },
            out: Vec::new(),
            rows: Vec::new(),
            store: store::Store::default(),
            clients: 0,
        }
    }

    fn on(&mut self, input: Input) {
        let from = self.out.len();
        self.shard.on(self.now, input, &mut self.out);
        for output in self.out.split_off(from) {
            match output {
                Output::Post(Mail::Spool(note)) => self.store.note(note),
                Output::Post(Mail::Ask(question)) => self.store.ask(*question),
                output => {
                    if let Output::Post(Mail::Ledger(row)) = &output {
                        if let Some(kept) = self.store.answers.get_mut(&*row.exchange) {
                            kept.usage = row.usage.clone();
                        }
                        self.rows.push((**row).clone());
                    }
                    self.out.push(output);
                }
            }
        }
        for (asker, told) in self.store.tell() {
            let told = Box::new(told);
            self.on(Input::Told { asker, told });
        }
    }

    /// Time goes by, and the shard is woken when it wants to be.
    fn later(&mut self, time: Duration) {
        let until = self.now.instant + time;
        while let Some(at) = self.shard.next_timer().filter(|at| *at <= until) {
            self.pass(at.since(self.now.instant));
            self.on(Input::Tick);
        }
        self.pass(until.since(self.now.instant));
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant = self.now.instant + time;
        self.now.wall = self.now.wall + time;
    }

    fn secs(&mut self, seconds: u64) {
        self.later(Duration::from_secs(seconds));
    }

    fn client(&mut self) -> ClientId {
        self.clients += 1;
        ClientId(Slot {
            index: self.clients,
            generation: 0,
        })
    }

    fn head(path: &str, headers: &[(&str, &str)]) -> ClientHead {
        let bytes = |s: &str| Bytes::copy_from_slice(s.as_bytes());
        let mut all = vec![("authorization", "Bearer sk-a")];
        for (name, value) in headers {
            all.retain(|(n, _)| n != name);
            all.push((name, value));
        }
        ClientHead {
            method: bytes("POST"),
            path: bytes(path),
            query: Bytes::new(),
            headers: all.into_iter().collect(),
            content_length: None,
            websocket: false,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    fn ask_with(&mut self, path: &str, body: &str, headers: &[(&str, &str)]) -> ClientId {
        let client = self.client();
        let head = Self::head(path, headers);
        self.on(Input::Head { client, head });
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.on(Input::Body { client, body });
        client
    }

    fn chat(&mut self, body: &str) -> ClientId {
        self.ask_with("/v1/chat/completions", body, &[])
    }

    fn of_b(&mut self, body: &str) -> ClientId {
        let key = [("authorization", "Bearer sk-b")];
        self.ask_with("/v1/chat/completions", body, &key)
    }

    fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// Calls made since the last look.
    fn calls(&mut self) -> Vec<Call> {
        let calls = |o: Output| match o {
            Output::Call(call) => Some(*call),
            _ => None,
        };
        self.take().into_iter().filter_map(calls).collect()
    }

    /// The one call made since the last look.
    #[track_caller]
    fn call(&mut self) -> AttemptId {
        let out = format!("{:?}", self.out);
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{out}");
        self.on(Input::Sent {
            attempt: calls[0].attempt,
        });
        calls[0].attempt
    }

    fn up(&mut self, attempt: AttemptId, status: u16, headers: &[(&str, &str)]) {
        let bytes = |s: &str| Bytes::copy_from_slice(s.as_bytes());
        let headers = headers.iter().map(|(n, v)| (bytes(n), bytes(v))).collect();
        self.on(Input::UpstreamHead {
            attempt,
            status,
            headers,
        });
    }

    fn say(&mut self, attempt: AttemptId, text: &str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.on(Input::UpstreamBytes { attempt, bytes });
    }

    fn end(&mut self, attempt: AttemptId) {
        self.on(Input::UpstreamEnd { attempt });
    }

    /// The provider refuses.
    fn refuse(&mut self, attempt: AttemptId, status: u16, headers: &[(&str, &str)], body: &str) {
        self.up(attempt, status, headers);
        self.say(attempt, body);
        self.end(attempt);
    }

    /// The provider answers, not streamed.
    fn answer(&mut self, attempt: AttemptId) {
        self.up(attempt, 200, &[("content-type", "application/json")]);
        self.say(attempt, WHOLE);
        self.end(attempt);
    }

    fn stream(&mut self, attempt: AttemptId) {
        self.up(attempt, 200, &[("content-type", "text/event-stream")]);
    }

    /// What `client` was told since the last look: status, headers, body.
    fn told(&mut self, client: ClientId) -> (u16, Vec<(&'static str, String)>, String) {
        let mut told = (0, Vec::new(), String::new());
        for output in self.take() {
            match output {
                Output::Respond {
                    client: c,
                    head,
                    body,
                    ..
                } if c == client => {
                    told.0 = head.status;
                    told.1 = head
                        .headers
                        .into_iter()
                        .map(|(n, v)| (n, v.to_string()))
                        .collect();
                    told.2.push_str(&String::from_utf8_lossy(&body));
                }
                Output::Write { client: c, bytes } if c == client => {
                    told.2.push_str(&String::from_utf8_lossy(&bytes));
                }
                _ => {}
            }
        }
        told
    }

    /// At rest nothing is held, and each exchange has one last row, its last.
    fn rests(&self) {
        assert_eq!(self.shard.standing(), Standing::default());
        assert_eq!(self.shard.bodies().taken(), 0, "bytes of bodies");
        let mut last: std::collections::BTreeMap<&str, bool> = std::collections::BTreeMap::new();
        for row in &self.rows {
            let before = last.insert(&row.exchange, row.last);
            assert_ne!(before, Some(true), "a row after the last: {row:?}");
        }
        assert!(last.values().all(|last| *last), "{:?}", self.rows);
    }

    fn reload(&mut self, yaml: &str, generation: u64) {
        let mut config = parse_for_tests(yaml);
        config.generation = generation;
        self.on(Input::Config(Arc::new(config)));
    }
}

fn header<'a>(headers: &'a [(&'static str, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, v)| v.as_str())
}
