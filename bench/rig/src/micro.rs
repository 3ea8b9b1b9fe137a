//! Pieces of the decision by themselves: nanoseconds each takes here, and the instructions it is, which are the same every time.
//!
//! Instructions are counted by running this program under callgrind with some repetitions and with twice as many: what the second run is dearer
//! by is the piece alone. Without valgrind on the path that column is empty. Not for what needs sockets: that is `compare`.

use crate::table;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant as Clock};
use stokehold::base::{EndpointId, Instant, NanoUsd, Now, PoolId, TokenPrice, Tokens, WallTime};
use stokehold::canon::{CacheMark, DialectName};
use stokehold::policy::bill::Price;
use stokehold::policy::candidate::Candidate;
use stokehold::policy::capacity::{Ask, Limit, Numbers, Room, Rule, Used};
use stokehold::policy::choose::{Strategy, Weighing, choose};
use stokehold::policy::cost::{Prospect, Terms};
use stokehold::policy::estimate::{FirstToken, Pace};
use stokehold::policy::fingerprint::{Blocks, Boundary, Chain, InstanceSecret, Salt, ScopeKey};
use stokehold::policy::prefix::{Asked, Matching, Rules};
use stokehold::policy::warmth::Warmth;
use stokehold::protocol::dialect::elements::Elements;

#[derive(clap::Args)]
pub struct Args {
    /// One piece alone, by its name
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Do it so often and print nothing: for an instruction counter
    #[arg(long, value_name = "N", requires = "only")]
    times: Option<u32>,
    /// Time for each piece
    #[arg(long, value_name = "MS", default_value_t = 500)]
    milliseconds: u64,
    /// Count no instructions
    #[arg(long)]
    no_instructions: bool,
}

/// A piece: its name, and what makes it ready.
struct Piece {
    name: &'static str,
    what: &'static str,
    /// Repetitions under the instruction counter.
    counted: u32,
    make: fn() -> Box<dyn FnMut()>,
}

const PIECES: [Piece; 11] = [
    Piece {
        name: "scan-4k",
        what: "read and hash a chat of 4 KB, in blocks",
        counted: 2_000,
        make: || scan(DialectName::Chat, 4_000),
    },
    Piece {
        name: "scan-600k",
        what: "read and hash an agent's 600 KB, at elements",
        counted: 50,
        make: || scan(DialectName::Messages, 600_000),
    },
    Piece {
        name: "lookup-marks",
        what: "the longest warm prefix at marks, among 100,000 conversations",
        counted: 20_000,
        make: || Box::new(live(Kind::Marks).lookups()),
    },
    Piece {
        name: "lookup-blocks",
        what: "the longest warm prefix in blocks of 128, among 100,000 conversations",
        counted: 20_000,
        make: || Box::new(live(Kind::Blocks).lookups()),
    },
    Piece {
        name: "write-marks",
        what: "a turn goes out and its answer begins, at marks",
        counted: 20_000,
        make: || Box::new(live(Kind::Marks).writes()),
    },
    Piece {
        name: "write-blocks",
        what: "a turn goes out and its answer begins, in blocks",
        counted: 5_000,
        make: || Box::new(live(Kind::Blocks).writes()),
    },
    Piece {
        name: "sum",
        what: "the terms of one place",
        counted: 100_000,
        make: sum,
    },
    Piece {
        name: "limits",
        what: "room, reservation and settlement of a call at one limit",
        counted: 50_000,
        make: limits,
    },
    Piece {
        name: "choose-2",
        what: "the least of 2 places",
        counted: 100_000,
        make: || chosen(2),
    },
    Piece {
        name: "choose-8",
        what: "the least of 8 places",
        counted: 50_000,
        make: || chosen(8),
    },
    Piece {
        name: "choose-64",
        what: "the least of 64 places",
        counted: 10_000,
        make: || chosen(64),
    },
];

pub fn main(args: &Args) -> anyhow::Result<()> {
    let wanted = |piece: &&Piece| args.only.as_ref().is_none_or(|name| name == piece.name);
    let pieces: Vec<&Piece> = PIECES.iter().filter(wanted).collect();
    if pieces.is_empty() {
        let names: Vec<&str> = PIECES.iter().map(|piece| piece.name).collect();
        bail!("there is no such piece; there are {}", names.join(", "));
    }
    if let (Some(times), [piece]) = (args.times, &pieces[..]) {
        let mut step = (piece.make)();
        (0..times).for_each(|_| step());
        return Ok(());
    }
    let mut rows = Vec::new();
    for piece in pieces {
        let times = timed(piece, Duration::from_millis(args.milliseconds));
        let instructions = match args.no_instructions {
            true => None,
            false => counted(piece)?,
        };
        rows.push(vec![
            piece.name.to_owned(),
            format!("{:.0}", times.median),
            format!("{:.0}", times.p99),
            instructions.map_or_else(String::new, |n| n.to_string()),
            piece.what.to_owned(),
        ]);
    }
    let head = ["piece", "ns", "p99 ns", "instructions", "what"];
    print!("{}", table::text(&head, &rows));
    for kind in [Kind::Marks, Kind::Blocks] {
        let live = live(kind);
        let (entries, bytes) = live.warmth.size();
        let each = bytes as f64 / CONVERSATIONS as f64;
        println!(
            "{CONVERSATIONS} live conversations, {kind:?}: {entries} entries, {:.1} MiB, {each:.0} bytes a conversation",
            bytes as f64 / f64::from(1 << 20)
        );
    }
    Ok(())
}

struct Times {
    median: f64,
    p99: f64,
}

/// By batches that take a tenth of a millisecond or one step, whichever is longer: the clock itself costs some 30 ns.
fn timed(piece: &Piece, time: Duration) -> Times {
    let mut step = (piece.make)();
    let clock = Clock::now();
    let mut warm_up = 0_u32;
    while clock.elapsed() < time / 5 {
        step();
        warm_up += 1;
    }
    let each = clock.elapsed() / warm_up.max(1);
    let batch = (Duration::from_micros(100).as_nanos() / each.as_nanos().max(1)).clamp(1, 100_000);
    let mut batches: Vec<f64> = Vec::new();
    let clock = Clock::now();
    while clock.elapsed() < time {
        let from = Clock::now();
        (0..batch).for_each(|_| step());
        batches.push(from.elapsed().as_nanos() as f64 / batch as f64);
    }
    batches.sort_by(f64::total_cmp);
    let at = |share: f64| batches[((batches.len() - 1) as f64 * share) as usize];
    Times {
        median: at(0.5),
        p99: at(0.99),
    }
}

/// Instructions of one step; `None` where there is no valgrind.
fn counted(piece: &Piece) -> anyhow::Result<Option<u64>> {
    let program = std::env::current_exe().context("where this program is")?;
    let collected = |times: u32| -> anyhow::Result<Option<u64>> {
        let run = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&program)
            .args(["micro", "--only", piece.name, "--times", &times.to_string()])
            .stdin(Stdio::null())
            .output();
        let output = match run {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.context("valgrind")?,
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let count = said
            .lines()
            .find_map(|line| line.split("Collected : ").nth(1));
        let count = count.with_context(|| format!("valgrind counted nothing: {said}"))?;
        Ok(Some(count.trim().parse().context("a count")?))
    };
    let (Some(once), Some(twice)) = (collected(piece.counted)?, collected(2 * piece.counted)?)
    else {
        return Ok(None);
    };
    Ok(Some(twice.saturating_sub(once) / u64::from(piece.counted)))
}

const SECRET: [u8; 32] = [7; 32];
const START: u64 = 1_000_000_000_000;

/// Sentences that are no two the same.
fn text(bytes: usize, seed: u64) -> String {
    let mut text = String::with_capacity(bytes + 32);
    let mut n = seed;
    while text.len() < bytes {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let _ = write!(text, "word{} and \\\"so\\\" on, ", n >> 40);
    }
    text
}

/// A conversation of turns of 4 KB, the last marked.
fn body(dialect: DialectName, bytes: usize, seed: u64) -> Bytes {
    let turns = (bytes / 4_000).max(1);
    let turn = |n: usize| {
        let role = if n.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        let text = text(3_900, seed + n as u64);
        match dialect {
            DialectName::Messages => {
                let mark = if n + 1 == turns {
                    r#","cache_control":{"type":"ephemeral"}"#
                } else {
                    ""
                };
                format!(
                    r#"{{"role":"{role}","content":[{{"type":"text","text":"{text}"{mark}}}]}}"#
                )
            }
            _ => format!(r#"{{"role":"{role}","content":"{text}"}}"#),
        }
    };
    let turns: Vec<String> = (0..turns).map(turn).collect();
    let messages = turns.join(",");
    format!(r#"{{"model":"m","max_tokens":100,"messages":[{messages}]}}"#).into()
}

fn blocks() -> Blocks {
    Blocks {
        size: Tokens(128),
        after: Tokens(1_024),
    }
}

struct Reader {
    elements: Elements,
    chain: Chain,
    salt: Salt,
}

impl Reader {
    fn new() -> Self {
        Self {
            elements: Elements::new(),
            chain: Chain::new(),
            salt: InstanceSecret::new(&SECRET).salt("t"),
        }
    }

    fn read(&mut self, dialect: DialectName, body: &[u8], blocks: Option<Blocks>) -> &[Boundary] {
        let read = self.elements.read(dialect, body);
        assert!(read.is_ok(), "the body is a prompt");
        self.chain.begin(&self.salt, blocks);
        for element in self.elements.iter(body) {
            self.chain.feed(&element);
        }
        self.chain.end();
        self.chain.boundaries()
    }
}

fn scan(dialect: DialectName, bytes: usize) -> Box<dyn FnMut()> {
    let body = body(dialect, bytes, 1);
    let mut reader = Reader::new();
    let blocks = (dialect == DialectName::Chat).then(blocks);
    Box::new(move || {
        black_box(reader.read(dialect, &body, blocks));
    })
}

const CONVERSATIONS: usize = 100_000;

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// An agent at Claude: three turns of 4 KB, each marked at its end.
    Marks,
    /// The same at an OpenAI model.
    Blocks,
}

/// As many conversations as one core has in five minutes at 300 a second.
struct Live {
    warmth: Warmth,
    rules: Rules,
    scope: ScopeKey,
    /// Some of them, their next turn.
    next: Vec<Box<[Boundary]>>,
    now: Instant,
}

fn live(kind: Kind) -> Live {
    let matching = match kind {
        Kind::Marks => Matching::Breakpoints {
            look_back: 20,
            implicit: false,
        },
        Kind::Blocks => Matching::Blocks(blocks()),
    };
    let rules = Rules {
        matching,
        min_tokens: Tokens(1_024),
        ttl: Duration::from_secs(300),
        refreshes: true,
        long_protects: true,
    };
    let (dialect, cut) = match kind {
        Kind::Marks => (DialectName::Messages, None),
        Kind::Blocks => (DialectName::Chat, Some(blocks())),
    };
    let secret = InstanceSecret::new(&SECRET);
    let mut live = Live {
        warmth: Warmth::new(1 << 24),
        rules,
        scope: secret.scope("p", "org", "m"),
        next: Vec::new(),
        now: Instant(START),
    };
    // One prompt is read, and renamed for each conversation: reading is measured elsewhere.
    let whole = body(dialect, 16_000, 1);
    let mut reader = Reader::new();
    let model: Vec<Boundary> = reader.read(dialect, &whole, cut).to_vec();
    for conversation in 0..CONVERSATIONS {
        let bounds: Vec<Boundary> = model.iter().map(|b| renamed(b, conversation)).collect();
        for turn in 1..=3 {
            live.turn(&upto(&bounds, turn, kind));
        }
        if conversation % 100 == 0 {
            live.next.push(upto(&bounds, 4, kind).into());
        }
    }
    live
}

fn renamed(bound: &Boundary, conversation: usize) -> Boundary {
    let mut bound = *bound;
    let name = (conversation as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bound.fingerprint.chain ^= name;
    bound.fingerprint.tag ^= name.rotate_left(32);
    bound
}

/// What a prompt of so many of its turns has, its end marked.
fn upto(bounds: &[Boundary], turns: usize, kind: Kind) -> Vec<Boundary> {
    let bytes = turns as u32 * 4_000;
    let mut upto: Vec<Boundary> = bounds
        .iter()
        .filter(|b| b.bytes <= bytes)
        .copied()
        .collect();
    upto.iter_mut().for_each(|b| b.mark = None);
    if let (Kind::Marks, Some(last)) = (kind, upto.last_mut()) {
        last.mark = Some(CacheMark { ttl: None });
    }
    upto
}

impl Live {
    fn turn(&mut self, bounds: &[Boundary]) {
        let asked = Asked {
            bounds,
            scope: self.scope,
            rules: &self.rules,
        };
        let begun = self.warmth.begin(&asked, self.now);
        self.warmth.warmed(&begun, self.now);
        // Gossip takes them.
        black_box(self.warmth.news(Now {
            instant: self.now,
            wall: WallTime(1_790_000_000_000_000_000),
        }));
    }

    fn lookups(self) -> impl FnMut() {
        let mut at = 0;
        let now = self.now + Duration::from_secs(1);
        move || {
            at = (at + 1) % self.next.len();
            let asked = Asked {
                bounds: &self.next[at],
                scope: self.scope,
                rules: &self.rules,
            };
            let expected = self.warmth.expect(&asked, now);
            assert!(expected.cached() > Tokens(2_000), "it is warm");
            black_box(expected);
        }
    }

    fn writes(mut self) -> impl FnMut() {
        let mut at = 0;
        let next = std::mem::take(&mut self.next);
        move || {
            at = (at + 1) % next.len();
            self.turn(&next[at]);
        }
    }
}

fn price() -> Price {
    Price {
        input: TokenPrice(5_000_000),
        output: TokenPrice(25_000_000),
        cache_read: Some(TokenPrice(500_000)),
        cache_write_5m: Some(TokenPrice(6_250_000)),
        ..Price::default()
    }
}

fn sum() -> Box<dyn FnMut()> {
    let (price, first, pace) = (price(), FirstToken::UNSEEN, Pace::UNSEEN);
    Box::new(move || {
        let prospect = Prospect {
            price: &price,
            input: Tokens(20_000),
            cached: Tokens(18_000),
            warm: 0.97,
            written: Tokens(20_000),
            ttl: None,
            output: Tokens(400),
            first: &first,
            pace: &pace,
            crowded: 1.0,
            fails: 0.01,
            second: NanoUsd(1_000_000),
        };
        black_box(black_box(&prospect).terms());
    })
}

fn limits() -> Box<dyn FnMut()> {
    let numbers = Numbers {
        requests: Some(60_000_000),
        tokens: Some(u64::from(u32::MAX)),
        ..Numbers::default()
    };
    let mut limit = Limit::twin(numbers, Rule::OURS, 0, 1);
    let mut now = Instant(START);
    let ask = Ask {
        input: Tokens(2_000),
        output: Tokens(400),
        ..Ask::default()
    };
    Box::new(move || {
        now = now + Duration::from_micros(10);
        black_box(limit.room(ask, now));
        let held = limit.reserve(ask, now);
        let used = Used {
            input: Tokens(2_100),
            cache_read: Tokens::ZERO,
            output: Tokens(300),
        };
        limit.settle(held, Some(used), now);
    })
}

fn chosen(places: u16) -> Box<dyn FnMut()> {
    let place = |n: u16| Candidate {
        endpoint: EndpointId(n),
        pool: PoolId(n),
        key: None,
        terms: Terms {
            input: NanoUsd(1_000_000 + i64::from(n % 7) * 10_000),
            output: NanoUsd(10_000_000),
            delay: NanoUsd(9_000_000),
            ..Terms::default()
        },
        ask: Ask::default(),
        cached: Tokens(u64::from(n)),
        saves: NanoUsd::ZERO,
        in_flight: u64::from(n),
        room: Room::Now,
        gate: None,
        frees_in: Duration::from_secs(1),
        shut_until: None,
        preference: 0,
        tried: false,
        affinity: u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        turn: u64::from(n),
    };
    let places: Vec<Candidate> = (0..places).map(place).collect();
    let weighing = Weighing {
        strategy: Strategy::LeastCost,
        second: NanoUsd(1_000_000),
        alike: 0.01,
        strong: NanoUsd(250_000_000),
        weak: NanoUsd(50_000_000),
        patience: Duration::from_secs(30),
    };
    Box::new(move || {
        black_box(choose(black_box(&places), &weighing, Instant(START)));
    })
}
