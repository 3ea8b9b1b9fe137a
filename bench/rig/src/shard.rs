//! The pure part of a request: a shard stepped by hand, without socket, runtime or ledger, so that an instruction counter sees nothing
//! else. Prints how many exchanges were done.
//!
//! `valgrind --tool=callgrind target/release/rig shard --requests 2000` counts the same instructions every time.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use stokehold::base::{AttemptId, ClientId, Instant, Now, ShardId, Slot, WallTime};
use stokehold::config::parse_for_tests;
use stokehold::shard::{ClientHead, Headers, Input, Output, Setup, Shard};

#[derive(clap::Args)]
pub struct Args {
    /// Exchanges, one after the other
    #[arg(long, default_value_t = 1_000)]
    requests: u32,
    /// Stream the answers, in as many events as this
    #[arg(long, value_name = "EVENTS")]
    stream: Option<u32>,
}

const YAML: &str = "server: {listen: 127.0.0.1:8080, operator: 127.0.0.1:8081, shards: 1}\n\
tenants: [{id: t, keys: [{id: t1, secret: sk-t}]}]\n\
providers: [{id: up, kind: openai, base_url: http://127.0.0.1:9001, pools: [{id: p, keys: [{id: k, secret: sk-x}]}]}]\n\
models: [{id: m, endpoints: [{provider: up, price: {input: 1, output: 5}}]}]\n";

pub fn main(args: &Args) -> anyhow::Result<()> {
    let mut stand = Stand {
        shard: Shard::new(Setup {
            config: Arc::new(parse_for_tests(YAML)),
            id: ShardId(0),
            shards: 1,
            seed: 7,
            secret: [7; 32],
            restarts: 0,
        }),
        now: Now {
            instant: Instant(1_000_000_000_000),
            wall: WallTime(1_790_000_000_000_000_000),
        },
        out: Vec::new(),
        ask: ask(args.stream.is_some()),
        answer: answer(args.stream),
        streamed: args.stream.is_some(),
    };
    for number in 0..args.requests {
        stand.exchange(number)?;
    }
    let done = stand.shard.meters().exchanges_done;
    ensure!(
        done == u64::from(args.requests),
        "{done} exchanges were done"
    );
    println!("{done}");
    Ok(())
}

struct Stand {
    shard: Shard,
    now: Now,
    out: Vec<Output>,
    ask: Bytes,
    answer: Vec<Bytes>,
    streamed: bool,
}

impl Stand {
    fn on(&mut self, input: Input) {
        self.now.instant = self.now.instant + std::time::Duration::from_micros(10);
        self.shard.on(self.now, input, &mut self.out);
    }

    /// What `net` gives and takes for one request.
    fn exchange(&mut self, number: u32) -> anyhow::Result<()> {
        let slot = Slot {
            index: 1,
            generation: number,
        };
        let client = ClientId(slot);
        self.on(Input::Head {
            client,
            head: head(),
        });
        self.out.clear();
        let body = self.ask.clone();
        self.on(Input::Body { client, body });
        let attempt = self.attempt().context("no call was made")?;
        self.out.clear();
        self.on(Input::Sent { attempt });
        let headers = upstream_headers(self.streamed);
        self.on(Input::UpstreamHead {
            attempt,
            status: 200,
            headers,
        });
        for at in 0..self.answer.len() {
            let bytes = self.answer[at].clone();
            self.on(Input::UpstreamBytes { attempt, bytes });
            self.out.clear();
        }
        self.on(Input::UpstreamEnd { attempt });
        self.out.clear();
        Ok(())
    }

    fn attempt(&self) -> Option<AttemptId> {
        self.out.iter().find_map(|output| match output {
            Output::Call(call) => Some(call.attempt),
            _ => None,
        })
    }
}

fn head() -> ClientHead {
    ClientHead {
        method: Bytes::from_static(b"POST"),
        path: Bytes::from_static(b"/v1/chat/completions"),
        query: Bytes::new(),
        headers: Headers::from([
            ("host", "127.0.0.1:8080"),
            ("accept", "application/json"),
            ("content-type", "application/json"),
            ("user-agent", "OpenAI/Python 3.54.0"),
            ("x-stainless-lang", "python"),
            ("authorization", "Bearer sk-t"),
            ("content-length", "1100"),
        ]),
        content_length: Some(1_100),
        websocket: false,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

fn upstream_headers(streamed: bool) -> Headers {
    let kind = if streamed {
        "text/event-stream; charset=utf-8"
    } else {
        "application/json"
    };
    Headers::from([
        ("content-type", kind),
        ("x-request-id", "req_0123456789abcdef"),
        ("x-ratelimit-remaining-requests", "9999"),
    ])
}

/// About 1 KB.
fn ask(stream: bool) -> Bytes {
    let words = "word ".repeat(200);
    let stream = if stream {
        ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"
    } else {
        ""
    };
    format!(
        "{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":\"{words}\"}}]{stream}}}"
    )
    .into()
}

/// The pieces in which the answer comes.
fn answer(stream: Option<u32>) -> Vec<Bytes> {
    const USAGE: &str = r#""usage":{"prompt_tokens":250,"completion_tokens":120,"total_tokens":370,"prompt_tokens_details":{"cached_tokens":0}}"#;
    let Some(events) = stream else {
        let words = "word ".repeat(120);
        return vec![format!(
            r#"{{"id":"chatcmpl-x","object":"chat.completion","created":1764000000,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{words}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],{USAGE}}}"#
        ).into()];
    };
    let chunk = |choices: &str, usage: &str| -> Bytes {
        format!(
            "data: {{\"id\":\"chatcmpl-x\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"m\",\"choices\":[{choices}],{usage}}}\n\n"
        )
        .into()
    };
    let word = r#"{"index":0,"delta":{"content":"word "},"finish_reason":null}"#;
    let mut pieces: Vec<Bytes> = (0..events).map(|_| chunk(word, "\"usage\":null")).collect();
    pieces.push(chunk(
        r#"{"index":0,"delta":{},"finish_reason":"stop"}"#,
        "\"usage\":null",
    ));
    pieces.push(chunk("", USAGE));
    pieces.push(Bytes::from_static(b"data: [DONE]\n\n"));
    pieces
}
