//! What is under way, in the order of its time; and the shapes that seeds draw.

use super::clients::Plan;
use super::films;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::time::Duration;
use stokehold::base::{AttemptId, ClientId, Instant, Rng};
use stokehold::config::Config;
use stokehold::fake::{Engine, FaultScript, Faults, ReplyId};
use stokehold::shard::stored::{Asker, Told};
use stokehold::shard::{Call, Input};

pub enum What {
    Arrive {
        shard: usize,
        plan: Box<Plan>,
    },
    In {
        shard: usize,
        input: Input,
    },
    Deliver {
        shard: usize,
        attempt: AttemptId,
        input: Input,
    },
    Body {
        shard: usize,
        client: ClientId,
    },
    Leave {
        shard: usize,
        client: ClientId,
    },
    Read {
        shard: usize,
        client: ClientId,
    },
    Tick {
        shard: usize,
    },
    CallArrives {
        shard: usize,
        attempt: AttemptId,
        request: Box<Call>,
    },
    Poll {
        shard: usize,
        attempt: AttemptId,
    },
    HungUp {
        fake: usize,
        reply: ReplyId,
    },
    Reset {
        shard: usize,
        attempt: AttemptId,
    },
    LedgerRoom(usize),
    /// The store's reply.
    Stored {
        shard: usize,
        asker: Asker,
        told: Box<Told>,
    },
    /// On a WebSocket.
    Say {
        shard: usize,
        client: ClientId,
        text: String,
    },
    Goodbye {
        shard: usize,
        client: ClientId,
    },
    Reload,
    /// An own server is asked how it is.
    Server {
        which: usize,
    },
    /// What it says of that changes.
    Feels {
        which: usize,
        engine: Engine,
    },
    /// A shard is lost with all it held, and another takes its place.
    Crash {
        shard: usize,
    },
}

/// Ties go to who came first.
#[derive(Default)]
pub struct Events {
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    whats: Vec<Option<What>>,
    free: Vec<usize>,
    count: u64,
}

impl Events {
    pub fn push(&mut self, at: Instant, what: What) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.whats.push(None);
            self.whats.len() - 1
        });
        self.whats[place] = Some(what);
        self.count += 1;
        self.heap.push(Reverse((at, self.count, place)));
    }

    pub fn pop(&mut self) -> Option<(Instant, What)> {
        loop {
            let Reverse((at, _, place)) = self.heap.pop()?;
            self.free.push(place);
            if let Some(what) = self.whats[place].take() {
                return Some((at, what));
            }
        }
    }
}

impl Events {
    /// A shard's calls are no more, and its successor begins to number anew.
    pub fn forget_calls(&mut self, of: usize) {
        for what in &mut self.whats {
            let gone = match what {
                Some(
                    What::Deliver { shard, .. }
                    | What::CallArrives { shard, .. }
                    | What::Poll { shard, .. }
                    | What::Reset { shard, .. },
                ) => *shard == of,
                _ => false,
            };
            if gone {
                *what = None;
            }
        }
    }
}

/// A node of one to three fakes, each with one or two pools of one to three keys, with or without limits.
pub fn config(rng: &mut Rng) -> Config {
    let mut yaml = String::from(
        "server: {listen: 127.0.0.1:8080, operator: 127.0.0.1:8081, shards: 1}\n\
         limits: {queue_time: 20s, client_buffer_bytes: 2KiB, slow_client: 5s, sse_comment: 1s}\n\
         tenants:\n- {id: a, keep_warm: {pings: 2}, keys: [{id: a1, secret: sk-a}]}\n- {id: b, on_disconnect: cancel, limits: {concurrent: 9}, keys: [{id: b1, secret: sk-b}]}\n\
         providers:\n",
    );
    let fakes = 1 + rng.below(3);
    let mut caches = Vec::new();
    for f in 0..fakes {
        // The fake speaks both wire formats; the kind says which of them a provider is asked in.
        let kind = ["fake", "openai", "anthropic", "selfhosted"][rng.below(4) as usize];
        caches.push(match kind {
            "fake" | "anthropic" => "{mode: breakpoints, min_tokens: 1_024, ttls: [5m, 1h]}",
            _ => "{mode: prefix, min_tokens: 1_024, block_tokens: 128}",
        });
        writeln!(
            yaml,
            "- id: f{f}\n  kind: {kind}\n  base_url: http://f{f}.test\n  pools:"
        )
        .unwrap();
        for p in 0..1 + rng.below(2) {
            let keys: Vec<String> = (0..1 + rng.below(3))
                .map(|k| format!("{{id: f{f}p{p}k{k}, secret: sk-{f}{p}{k}-end}}"))
                .collect();
            writeln!(yaml, "  - id: f{f}p{p}\n    keys: [{}]", keys.join(", ")).unwrap();
            let limits = match rng.below(4) {
                0 => format!("[{{rpm: {}}}]", 30 + rng.below(300)),
                1 => format!("[{{concurrent: {}}}]", 4 + rng.below(8)),
                2 => format!(
                    "[{{models: [\"m*\"], rpm: {}, concurrent: {}}}]",
                    60 + rng.below(600),
                    6 + rng.below(8)
                ),
                _ => "[]".to_owned(),
            };
            writeln!(yaml, "    limits: {limits}").unwrap();
        }
    }
    yaml.push_str(&films::provider(rng));
    yaml.push_str("video: {poll: 5s, wait: 5m}\n");
    let strategies = [
        "session_affinity",
        "round_robin",
        "least_used",
        "thresholds",
    ];
    if rng.once_in(4) {
        let strategy = strategies[rng.below(4) as usize];
        writeln!(yaml, "routing: {{strategy: {strategy}}}").unwrap();
    } else {
        // Patient, usual, or in a hurry: what is waited for differs.
        let second = ["0", "0.001", "0.1"][rng.below(3) as usize];
        writeln!(yaml, "routing: {{value_of_second: {second}}}").unwrap();
    }
    yaml.push_str("models:\n");
    yaml.push_str(&films::model());
    for m in 0..2 {
        let endpoints: Vec<String> = (0..fakes)
            .map(|f| {
                let input = 1 + rng.below(5);
                format!(
                    "{{provider: f{f}, name: m{m}, price: {{input: {input}, output: {}, cache_read: 0.1, cache_write_5m: {}, cache_write_1h: {}}}, cache: {}}}",
                    input * 5,
                    input as f64 * 1.25,
                    input * 2,
                    caches[f as usize]
                )
            })
            .collect();
        writeln!(
            yaml,
            "- id: m{m}\n  takes: [images, documents, tools]\n  endpoints: [{}]\n  timeouts: {{connect: 2s, first_byte: 10s, stall: 5s, total: 120s}}",
            endpoints.join(", ")
        )
        .unwrap();
    }
    stokehold::config::parse_for_tests(&yaml)
}

/// What one provider does wrong in this run.
pub fn provider_faults(rng: &mut Rng, script: &mut FaultScript) {
    let fault = |directive: &str| {
        let mut faults = Faults::default();
        directive.split(' ').for_each(|d| faults.set(d));
        faults
    };
    let some = [
        "status=429 retry_after=2",
        "status=429",
        "status=500",
        "status=503",
        "status=529",
        "status=401",
        "status=400",
        "stall_after=2",
        "stall_after=0",
        "cut_after=300",
        "cut_after=1",
        "torn=3",
        "slow_first_byte=3000",
        "slow_first_byte=30000",
        "error_event_after=1",
        "error_event_after=4",
        "no_terminal",
        "html_502",
        "empty_body",
        "wrong_content_type",
        "unknown_event",
    ];
    for _ in 0..1 + rng.below(4) {
        let directive = some[rng.below(some.len() as u64) as usize];
        script.chance(0.02 + rng.unit() / 5.0, fault(directive));
    }
    if rng.once_in(3) {
        script.next(1 + rng.below(5) as usize, &fault("status=503"));
    }
}

/// A moment within the life of an answer.
pub fn moment(rng: &mut Rng) -> Duration {
    Duration::from_millis(match rng.below(3) {
        0 => rng.below(5),
        1 => rng.below(500),
        _ => rng.below(10_000),
    })
}
