//! Many paced streams at once through the router, over h2c on both sides: stalls, and the memory it takes.
//!
//! Load and upstream share a core and must keep the pace themselves: the same is run without the router first, and stalls there are
//! the rig's own.

use crate::ask::Ask;
use crate::bounds;
use crate::canned::Dialect;
use crate::compare::{Machine, Place, Stage};
use crate::load::{self, Plan, STALL_TIMES};
use crate::process::Process;
use crate::subject::{self, Subject, Upstream};
use crate::table;
use crate::tally::Report;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::cell::Cell;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Streams at once
    #[arg(long, default_value_t = 10_000)]
    streams: usize,
    /// Between two pieces of a stream
    #[arg(long, default_value = "1s", value_parser = bounds::duration)]
    pace: Duration,
    /// Pieces of each stream
    #[arg(long, default_value_t = 20)]
    chunks: usize,
    /// Streams begin spread over this time
    #[arg(long, default_value = "5s", value_parser = bounds::duration)]
    ramp: Duration,
    /// Streams on one connection
    #[arg(long, default_value_t = 500)]
    streams_per_connection: usize,
    #[arg(long, value_enum, default_value = "chat")]
    dialect: Dialect,
    /// Leave out the same without the router
    #[arg(long)]
    no_direct: bool,
}

#[derive(Debug, Serialize)]
struct Outcome {
    machine: Machine,
    streams: usize,
    pace_ms: u128,
    subjects: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    subject: &'static str,
    load: Report,
    /// Before the first stream, and the most while they ran.
    resident_idle_bytes: Option<u64>,
    resident_most_bytes: Option<u64>,
    /// Of one core.
    cpu_share: Option<f64>,
}

pub fn main(args: &Args) -> Result<()> {
    let outcome = bounds::run(args.place.time_limit, run(args))?;
    match args.place.json {
        true => println!("{}", serde_json::to_string_pretty(&outcome)?),
        false => print!("{}", outcome.text()),
    }
    let failed = outcome.subjects.iter().any(|s| !s.load.failures.is_empty());
    ensure!(!failed, "streams failed");
    Ok(())
}

async fn run(args: &Args) -> Result<Outcome> {
    let program = args.place.stokehold.as_ref();
    let program = program.context("--stokehold PATH is wanted")?;
    let machine = Machine::here();
    let between = format!("{}ms", args.pace.as_millis());
    let chunks = args.chunks.to_string();
    let arguments = ["--chunks", &chunks, "--between", &between];
    let stage = Stage::set(&args.place, &arguments)?;
    let mut subjects = Vec::new();
    if !args.no_direct {
        subjects.push(Subject::direct(stage.upstream));
    }
    subjects.push(stage.stokehold(&args.place, program, Upstream::Http2)?);
    let mut lines = Vec::new();
    for subject in &subjects {
        eprintln!("{} streams, {}", args.streams, subject.name);
        lines.push(line(args, subject).await?);
    }
    Ok(Outcome {
        machine,
        streams: args.streams,
        pace_ms: args.pace.as_millis(),
        subjects: lines,
    })
}

async fn line(args: &Args, subject: &Subject) -> Result<Line> {
    let process = subject.process.as_ref();
    let resident = || process.map(Process::resident).transpose();
    let idle = resident()?;
    let cpu = || process.map(Process::cpu).transpose();
    let before = cpu()?;
    let most = Cell::new(idle);
    let watch = async {
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            most.set(most.get().max(resident()?));
        }
    };
    let load = tokio::select! {
        load = load::run(plan(args, subject)) => load?,
        stopped = watch => { let never: Result<()> = stopped; never?; anyhow::bail!("unwatched") }
    };
    let spent = before.zip(cpu()?).map(|(before, after)| after - before);
    Ok(Line {
        subject: subject.name,
        cpu_share: spent.map(|spent| spent.as_secs_f64() / load.elapsed.as_secs_f64()),
        load: load.report(),
        resident_idle_bytes: idle,
        resident_most_bytes: most.get(),
    })
}

fn plan(args: &Args, subject: &Subject) -> Plan {
    // As long as a stream takes without a stall, and half as long again.
    let long = args.pace * u32::try_from(args.chunks + 4).unwrap_or(u32::MAX);
    Plan {
        to: subject.at,
        ask: Ask {
            dialect: args.dialect,
            model: subject::model(args.dialect),
            key: subject::KEY.to_owned(),
            stream: true,
            body_bytes: 1_024,
            prefix: String::new(),
        },
        concurrency: args.streams,
        requests: args.streams as u64,
        time: args.ramp + long,
        rate: None,
        pace: Some(args.pace),
        h2c: Some(args.streams.div_ceil(args.streams_per_connection.max(1))),
        ramp: args.ramp,
        limit: args.ramp + long.mul_f64(1.5) + Duration::from_secs(10),
    }
}

impl Outcome {
    fn text(&self) -> String {
        let mut text = format!(
            "{} streams at once, a piece every {} ms; stalled: silent over {STALL_TIMES} times that\n",
            self.streams, self.pace_ms
        );
        let head = [
            "",
            "done",
            "failed",
            "stalls",
            "gap p50 ms",
            "gap p99 ms",
            "gap max ms",
            "idle MiB",
            "most MiB",
            "KiB each",
            "of a core",
        ];
        let rows: Vec<_> = self.subjects.iter().map(|l| self.row(l)).collect();
        text += &table::text(&head, &rows);
        for line in &self.subjects {
            for (kind, count) in &line.load.failures {
                text += &format!("{}: {count} {kind}\n", line.subject);
            }
        }
        text
    }

    fn row(&self, line: &Line) -> Vec<String> {
        let mib = |bytes: Option<u64>| {
            bytes.map_or("-".to_owned(), |b| format!("{:.1}", b as f64 / 1_048_576.0))
        };
        let grown = line.resident_most_bytes.zip(line.resident_idle_bytes);
        let each = grown.map(|(most, idle)| (most - idle) as f64 / 1_024.0 / self.streams as f64);
        let ms = |us: f64| format!("{:.1}", us / 1e3);
        vec![
            line.subject.to_owned(),
            line.load.done.to_string(),
            line.load.failures.values().sum::<u64>().to_string(),
            line.load.stalls.to_string(),
            ms(line.load.gap_us.p50),
            ms(line.load.gap_us.p99),
            ms(line.load.gap_us.max),
            mib(line.resident_idle_bytes),
            mib(line.resident_most_bytes),
            each.map_or("-".to_owned(), |kib| format!("{kib:.1}")),
            line.cpu_share
                .map_or("-".to_owned(), |share| format!("{share:.2}")),
        ]
    }
}
