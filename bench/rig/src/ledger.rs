//! The ledger alone: rows as the router writes them, in batches as it commits them, into a file. Tells rows a second and CPU a row.
//!
//! No shard, no lane and no thread but this one, so what is told is the writer and SQLite and nothing else; in the router the same work is
//! done on the I/O core's side, where it takes no time from shards but CPU from the machine. The file lies where temporary files lie:
//! on a disk that syncs slowly the rate is lower, the CPU is not.

use anyhow::{Context as _, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stokehold::base::{
    ClientKeyId, EndpointId, KeyId, ModelId, NanoUsd, PoolId, TenantId, Tokens, WallTime,
};
use stokehold::canon::{DialectName, FaultClass, Usage};
use stokehold::config::{Config, parse_for_tests};
use stokehold::iocore::ledger::{Query, Reader, Writer};
use stokehold::shard::{LedgerRow, Outcome, Under};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Rows in all
    #[arg(long, default_value_t = 100_000)]
    pub rows: u32,
    /// Rows a commit; the router's default
    #[arg(long, default_value_t = 1_000)]
    pub batch: usize,
    /// Write into this file, which must not be there yet, instead of a temporary one
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub rows: u32,
    pub took: Duration,
    /// Of this thread, user and system.
    pub cpu: Duration,
    /// Of the slowest commit.
    pub slowest: Duration,
    pub bytes: u64,
    /// The sum of what the rows cost, read back: a row lost or written twice would change it.
    pub cost: i64,
}

/// Two tenants with four keys, three models at two providers each: about what a report groups by.
const YAML: &str = "server: {listen: 127.0.0.1:8080, operator: 127.0.0.1:8081, shards: 1}\n\
tenants: [{id: t, keys: [{id: t1, secret: sk-t1}, {id: t2, secret: sk-t2}]}, {id: u, keys: [{id: u1, secret: sk-u1}, {id: u2, secret: sk-u2}]}]\n\
providers:\n\
- {id: a, kind: openai, base_url: http://127.0.0.1:9001, pools: [{id: p, keys: [{id: k, secret: sk-x}]}]}\n\
- {id: b, kind: openai, base_url: http://127.0.0.1:9002, pools: [{id: q, keys: [{id: l, secret: sk-y}]}]}\n\
models:\n\
- {id: m0, endpoints: [{provider: a, price: {input: 1, output: 5}}, {provider: b, price: {input: 1, output: 5}}]}\n\
- {id: m1, endpoints: [{provider: a, price: {input: 1, output: 5}}, {provider: b, price: {input: 1, output: 5}}]}\n\
- {id: m2, endpoints: [{provider: a, price: {input: 1, output: 5}}, {provider: b, price: {input: 1, output: 5}}]}\n";

pub fn main(args: &Args) -> anyhow::Result<()> {
    let figures = run(args)?;
    let rows = f64::from(figures.rows);
    println!(
        "{} rows in batches of {}: {:.0} rows/s, {:.2} CPU µs a row, slowest commit {:.1} ms, {:.0} bytes a row, {} nano-dollars",
        figures.rows,
        args.batch,
        rows / figures.took.as_secs_f64(),
        figures.cpu.as_secs_f64() * 1e6 / rows,
        figures.slowest.as_secs_f64() * 1e3,
        figures.bytes as f64 / rows,
        figures.cost
    );
    Ok(())
}

/// Writes and measures, and reads back what was written.
pub fn run(args: &Args) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir()?;
    let file = args.file.clone();
    let file = file.unwrap_or_else(|| folder.path().join("ledger.sqlite"));
    ensure!(!file.exists(), "{} is there already", file.display());
    let mut writer = Writer::open(&file, Duration::ZERO)?;
    let config = Arc::new(parse_for_tests(YAML));
    let mut figures = Figures {
        rows: args.rows,
        took: Duration::ZERO,
        cpu: Duration::ZERO,
        slowest: Duration::ZERO,
        bytes: 0,
        cost: 0,
    };
    let mut from = 0;
    while from < args.rows {
        let count = (args.rows - from).min(u32::try_from(args.batch.max(1))?);
        // Made outside of what is measured: in the router a shard makes them.
        let rows: Vec<_> = (from..from + count).map(|n| row(&config, n)).collect();
        let (began, cpu) = (Instant::now(), cpu()?);
        let committed = writer.commit(&rows)?;
        let took = began.elapsed();
        figures.cpu += self::cpu()?.saturating_sub(cpu);
        figures.took += took;
        figures.slowest = figures.slowest.max(took);
        ensure!(committed.written == rows.len(), "{committed:?}");
        from += count;
    }
    drop(writer);
    figures.bytes = std::fs::metadata(&file)?.len();
    figures.cost = read_back(&file, args.rows)?;
    Ok(figures)
}

fn read_back(file: &Path, rows: u32) -> anyhow::Result<i64> {
    let query = Query {
        since: WallTime(0),
        until: WallTime(i64::MAX),
        by: vec![],
        tenant: None,
    };
    let groups = Reader::open(file)?.report(&query)?;
    let totals = &groups.first().context("one sum")?.totals;
    let (attempts, cost) = (totals.get("attempts"), totals.get("cost"));
    let want: i64 = (0..rows).map(|n| cost_of(n).0).sum();
    ensure!(
        (attempts, cost) == (i64::from(rows), want),
        "{attempts} rows that cost {cost}, where {rows} that cost {want} were written"
    );
    Ok(cost)
}

fn cpu() -> anyhow::Result<Duration> {
    let used = getrusage(UsageWho::RUSAGE_THREAD)?;
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec() as u64, 0) + Duration::from_micros(time.tv_usec() as u64)
    };
    Ok(of(used.user_time()) + of(used.system_time()))
}

fn cost_of(number: u32) -> NanoUsd {
    NanoUsd(i64::from(250_000 + number % 1_000))
}

/// A row like that of an answered request, every fortieth of a refused one; ten a second, so that hours pass.
fn row(config: &Arc<Config>, number: u32) -> Box<LedgerRow> {
    let of = |count: u32| u16::try_from(number % count).unwrap_or_default();
    let failed = number % 40 == 39;
    Box::new(LedgerRow {
        under: Under(config.clone()),
        exchange: format!(
            "x{:020x}",
            u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        )
        .into(),
        attempt: 1,
        last: true,
        started: WallTime(1_790_000_000_000_000_000 + i64::from(number) * 100_000_000),
        tenant: TenantId(of(2)),
        client_key: ClientKeyId(number % 4),
        model: ModelId(of(3)),
        endpoint: EndpointId(of(6)),
        pool: PoolId(of(2)),
        key: Some(KeyId(of(2))),
        dialect: DialectName::Chat,
        streamed: number.is_multiple_of(2),
        outcome: if failed {
            Outcome::Failed(FaultClass::Overloaded)
        } else {
            Outcome::Done
        },
        status: Some(if failed { 503 } else { 200 }),
        upstream_id: format!("chatcmpl-{number:032}").into(),
        usage: Usage {
            input_uncached: Some(Tokens(250)),
            cache_read: Some(Tokens(1_024)),
            output: Some(Tokens(120)),
            ..Usage::default()
        },
        cost: cost_of(number),
        queued: Duration::ZERO,
        first_byte: Some(Duration::from_millis(240)),
        total: Duration::from_millis(2_300),
        decision: "cheapest",
        session: None,
        priced: WallTime(1_790_000_000_000_000_000),
        gated: Duration::ZERO,
        first_token: Some(Duration::from_millis(310)),
        cached_expected: Some(Tokens(500)),
    })
}
