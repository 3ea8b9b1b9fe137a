//! Scenarios: programs side by side on the same work, in rounds that take turns.
//!
//! The measured program has one core to itself; load and upstream share the other. Figures of one round belong together: a ratio is
//! taken within a round, and the median of the rounds is what is told.

use crate::ask::Ask;
use crate::load::{self, Plan};
use crate::process::{self, Process};
use crate::subject::{self, Subject, Upstream};
use crate::tally::Report;
use crate::workload::Workload;
use crate::{bounds, streams, table};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(clap::Subcommand)]
enum Scenario {
    /// CPU a request and added latency: the router, nginx and nothing
    Overhead(Overhead),
    /// Many paced streams at once through the router
    Streams(streams::Args),
}

/// Where things run.
#[derive(clap::Args)]
pub struct Place {
    /// The router's binary, a release build
    #[arg(long, value_name = "PATH")]
    pub stokehold: Option<PathBuf>,
    /// The router's runtime: auto, io_uring or epoll
    #[arg(long, default_value = "auto", value_parser = ["auto", "io_uring", "epoll"])]
    pub runtime: String,
    /// The core of what is measured
    #[arg(long, default_value_t = 0)]
    pub core: usize,
    /// The core of load and upstream
    #[arg(long, default_value_t = 1)]
    pub load_core: usize,
    /// Ends everything after this time
    #[arg(long, default_value = "10m", value_parser = bounds::duration)]
    pub time_limit: Duration,
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
struct Overhead {
    #[command(flatten)]
    place: Place,
    /// nginx's binary [default: as found, else it is left out]
    #[arg(long, value_name = "PATH")]
    nginx: Option<PathBuf>,
    /// Leave nginx out
    #[arg(long)]
    no_nginx: bool,
    /// The workload [default: bench/canonical.yaml, as built in]
    #[arg(long, value_name = "PATH")]
    workload: Option<PathBuf>,
}

pub fn main(args: &Args) -> Result<()> {
    match &args.scenario {
        Scenario::Overhead(args) => {
            let result = bounds::run(args.place.time_limit, overhead(args))?;
            match args.place.json {
                true => println!("{}", serde_json::to_string_pretty(&result)?),
                false => print!("{}", result.text()),
            }
            result.sound()
        }
        Scenario::Streams(args) => streams::main(args),
    }
}

/// An upstream on the load's core, and a folder for all files; both go when this is dropped.
pub struct Stage {
    pub folder: tempfile::TempDir,
    pub upstream: SocketAddr,
    pub echo: Process,
}

impl Stage {
    /// `arguments` are those of `rig echo`, but for the address and the time limit.
    pub fn set(place: &Place, arguments: &[&str]) -> Result<Self> {
        bounds::files(65_536)?;
        process::pin(place.load_core)?;
        let folder = tempfile::Builder::new().prefix("rig-").tempdir()?;
        let upstream = subject::free_address()?;
        let (listen, log) = (upstream.to_string(), folder.path().join("echo.log"));
        let limit = format!("{}s", place.time_limit.as_secs() + 30);
        let mut all = vec!["echo", "--listen", &listen, "--time-limit", &limit];
        all.extend_from_slice(arguments);
        let rig = std::env::current_exe()?;
        let mut echo = Process::start("echo", place.load_core, &rig, &all, &log)?;
        echo.wait_listening(upstream, &log)?;
        Ok(Self {
            folder,
            upstream,
            echo,
        })
    }

    pub fn stokehold(&self, place: &Place, program: &Path, wire: Upstream) -> Result<Subject> {
        let folder = self.folder.path().join("stokehold");
        std::fs::create_dir(&folder)?;
        let (core, runtime) = (place.core, place.runtime.as_str());
        Subject::stokehold(program, core, self.upstream, wire, runtime, &folder)
    }

    fn nginx(&self, place: &Place, program: &Path) -> Result<Subject> {
        let folder = self.folder.path().join("nginx");
        std::fs::create_dir(&folder)?;
        Subject::nginx(program, place.core, self.upstream, &folder)
    }
}

/// A program's figures of one round. Times are in microseconds.
#[derive(Clone, Debug, Serialize)]
struct Sample {
    /// Of all its threads, a request; `None` where nothing stands between.
    cpu_us: Option<f64>,
    /// Of the upstream, a request: what keeps it from being the bottleneck.
    upstream_cpu_us: f64,
    load: Report,
}

#[derive(Debug, Serialize)]
struct Series {
    case: String,
    subject: &'static str,
    rounds: Vec<Sample>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    rig: &'static str,
    workload_hash: String,
    workload: Workload,
    machine: Machine,
    runtime: String,
    series: Vec<Series>,
    resident_bytes: Vec<(&'static str, u64)>,
}

/// What a figure must not be without.
#[derive(Debug, Serialize)]
pub struct Machine {
    kernel: String,
    cpu: String,
    cores: usize,
    /// Processes ready to run, averaged over a minute, before the first round: more than 0.2 is not quiet.
    load_average: String,
}

impl Machine {
    #[must_use]
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu.lines().find(|line| line.starts_with("model name"));
        let average = read("/proc/loadavg");
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: cpu
                .and_then(|line| line.split(": ").nth(1))
                .unwrap_or("unknown")
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load_average: average.split(' ').next().unwrap_or("").to_owned(),
        }
    }
}

async fn overhead(args: &Overhead) -> Result<Outcome> {
    let (workload, workload_hash) = Workload::read(args.workload.as_deref())?;
    let machine = Machine::here();
    let (bytes, chunks) = (workload.body_bytes.to_string(), workload.chunks.to_string());
    let stage = Stage::set(&args.place, &["--body-bytes", &bytes, "--chunks", &chunks])?;
    let mut subjects = vec![Subject::direct(stage.upstream)];
    if let Some(program) = nginx(args) {
        subjects.push(stage.nginx(&args.place, &program)?);
    }
    if let Some(program) = &args.place.stokehold {
        subjects.push(stage.stokehold(&args.place, program, Upstream::Http1)?);
    }
    let mut bench = Bench {
        workload: &workload,
        stage: &stage,
        subjects: &subjects,
        series: Vec::new(),
    };
    bench.warm_up().await?;
    for round in 0..workload.rounds {
        eprintln!("round {} of {}", round + 1, workload.rounds);
        bench.round().await?;
    }
    let series = bench.series;
    let mut resident_bytes = Vec::new();
    for subject in &subjects {
        if let Some(process) = &subject.process {
            resident_bytes.push((subject.name, process.resident()?));
        }
    }
    Ok(Outcome {
        rig: env!("CARGO_PKG_VERSION"),
        workload_hash,
        workload,
        machine,
        runtime: args.place.runtime.clone(),
        series,
        resident_bytes,
    })
}

fn nginx(args: &Overhead) -> Option<PathBuf> {
    if args.no_nginx {
        return None;
    }
    let found = args.nginx.clone().or_else(|| subject::find("nginx"));
    if found.is_none() {
        eprintln!("nginx is not installed: compared without it");
    }
    found
}

struct Bench<'a> {
    workload: &'a Workload,
    stage: &'a Stage,
    subjects: &'a [Subject],
    series: Vec<Series>,
}

impl Bench<'_> {
    fn plan(&self, subject: &Subject, stream: bool) -> Plan {
        Plan {
            to: subject.at,
            ask: Ask {
                dialect: self.workload.dialect,
                model: subject::model(self.workload.dialect),
                key: subject::KEY.to_owned(),
                stream,
                body_bytes: self.workload.body_bytes,
                prefix: String::new(),
            },
            concurrency: self.workload.concurrency,
            requests: match stream {
                false => self.workload.requests,
                true => self.workload.stream_requests,
            },
            time: PHASE,
            rate: None,
            pace: None,
            h2c: None,
            ramp: Duration::ZERO,
            limit: PHASE,
        }
    }

    async fn warm_up(&self) -> Result<()> {
        for subject in self.subjects {
            for stream in [false, true] {
                let mut plan = self.plan(subject, stream);
                plan.requests = self.workload.warm_up_requests;
                let report = load::run(plan).await?.report();
                ensure!(
                    report.failures.is_empty(),
                    "{} failed while warming up: {:?}",
                    subject.name,
                    report.failures
                );
            }
        }
        Ok(())
    }

    /// Every case, and within it every subject in turn.
    async fn round(&mut self) -> Result<()> {
        for (case, stream) in [(WHOLE, false), (STREAM, true)] {
            for subject in self.subjects {
                let plan = self.plan(subject, stream);
                let sample = self.measure(subject, plan).await?;
                self.keep(case, subject.name, sample);
            }
        }
        let Some(rate) = self.rate() else {
            return Ok(());
        };
        for &connections in &self.workload.latency_connections {
            let case = format!("{OPEN}, {connections} connections");
            for subject in self.subjects {
                let mut plan = self.plan(subject, false);
                plan.concurrency = connections;
                plan.requests = u64::MAX;
                plan.rate = Some(rate);
                plan.time = Duration::from_secs_f64(self.workload.latency_seconds);
                let sample = self.measure(subject, plan).await?;
                self.keep(&case, subject.name, sample);
            }
        }
        Ok(())
    }

    /// Asks a second of the open loop: a share of what the last subject did in the first round, the same for all.
    fn rate(&self) -> Option<f64> {
        if self.workload.latency_seconds <= 0.0 {
            return None;
        }
        let last = self.subjects.last()?.name;
        let mut of = self.series.iter();
        let series = of.find(|s| s.case == WHOLE && s.subject == last)?;
        Some(series.rounds.first()?.load.requests_per_second * self.workload.latency_load)
    }

    async fn measure(&self, subject: &Subject, plan: Plan) -> Result<Sample> {
        let cpu = || subject.process.as_ref().map(Process::cpu).transpose();
        let (before, upstream_before) = (cpu()?, self.stage.echo.cpu()?);
        let load = load::run(plan).await?.report();
        // Rows and logs that are behind belong to the work.
        if subject.process.is_some() {
            tokio::time::sleep(AFTERWORK).await;
        }
        let (after, upstream_after) = (cpu()?, self.stage.echo.cpu()?);
        ensure!(load.done > 0, "{} answered nothing", subject.name);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / load.done as f64;
        // A process that ended in between takes its time along: then nothing is known.
        let spent = before
            .zip(after)
            .and_then(|(before, after)| after.checked_sub(before));
        Ok(Sample {
            cpu_us: spent.map(each),
            upstream_cpu_us: each(upstream_after - upstream_before),
            load,
        })
    }

    fn keep(&mut self, case: &str, subject: &'static str, sample: Sample) {
        let mut series = self.series.iter_mut();
        match series.find(|s| s.case == case && s.subject == subject) {
            Some(series) => series.rounds.push(sample),
            None => self.series.push(Series {
                case: case.to_owned(),
                subject,
                rounds: vec![sample],
            }),
        }
    }
}

const WHOLE: &str = "whole answers";
const STREAM: &str = "streams at once";
const OPEN: &str = "open loop";
/// The longest that one program's part of a round may take.
const PHASE: Duration = Duration::from_secs(60);
/// Longer than rows wait for their commit (200 ms by default).
const AFTERWORK: Duration = Duration::from_millis(400);

impl Outcome {
    /// Errors: something failed, or answers differ; the figures are told before.
    fn sound(&self) -> Result<()> {
        for series in &self.series {
            let failed = series.rounds.iter().find(|s| !s.load.failures.is_empty());
            if let Some(sample) = failed {
                let (case, subject) = (&series.case, series.subject);
                anyhow::bail!("{case}: {subject} failed: {:?}", sample.load.failures);
            }
            // Open loops differ in how many they ask.
            if series.case.starts_with(OPEN) {
                continue;
            }
            let direct = self.of(&series.case, "direct").context("direct ran")?;
            for (ours, theirs) in series.rounds.iter().zip(&direct.rounds) {
                ensure!(
                    ours.load.answers_hash == theirs.load.answers_hash,
                    "{}: answers by {} differ from those of the upstream",
                    series.case,
                    series.subject
                );
            }
        }
        Ok(())
    }

    fn of(&self, case: &str, subject: &str) -> Option<&Series> {
        let mut series = self.series.iter();
        series.find(|s| s.case == case && s.subject == subject)
    }

    fn text(&self) -> String {
        let mut text = format!(
            "workload {}, {} rounds; {}, {} cores, Linux {}, load average {} before\n",
            self.workload_hash,
            self.workload.rounds,
            self.machine.cpu,
            self.machine.cores,
            self.machine.kernel,
            self.machine.load_average
        );
        for case in [WHOLE, STREAM] {
            text += &format!("\n{case}, {} at once\n", self.workload.concurrency);
            text += &self.cpu_table(case);
        }
        for connections in &self.workload.latency_connections {
            let case = format!("{OPEN}, {connections} connections");
            if self.of(&case, "direct").is_some() {
                text += &format!("\n{case}: latency in ms, added over direct\n");
                text += &self.latency_table(&case);
            }
        }
        for (name, bytes) in &self.resident_bytes {
            text += &format!(
                "\nmemory of {name} afterwards: {:.1} MiB",
                *bytes as f64 / 1_048_576.0
            );
        }
        text + "\n"
    }

    fn cpu_table(&self, case: &str) -> String {
        let head = [
            "",
            "CPU µs",
            "× nginx",
            "× nginx by round",
            "a second",
            "p50 ms",
            "p99 ms",
            "upstream µs",
        ];
        let rows: Vec<_> = self
            .series
            .iter()
            .filter(|series| series.case == case)
            .map(|series| {
                let ratios = self.ratios(series);
                let by_round: Vec<String> = ratios.iter().map(|r| format!("{r:.2}")).collect();
                let of = |figure: fn(&Sample) -> f64| median(series.rounds.iter().map(figure));
                let cpu = median(series.rounds.iter().filter_map(|s| s.cpu_us));
                vec![
                    series.subject.to_owned(),
                    said(cpu, 1),
                    said(median(ratios.iter().copied()), 2),
                    by_round.join(" "),
                    said(of(|s| s.load.requests_per_second), 0),
                    said(of(|s| s.load.latency_us.p50 / 1e3), 3),
                    said(of(|s| s.load.latency_us.p99 / 1e3), 3),
                    said(of(|s| s.upstream_cpu_us), 1),
                ]
            })
            .collect();
        table::text(&head, &rows)
    }

    /// CPU against nginx, round by round.
    fn ratios(&self, series: &Series) -> Vec<f64> {
        let Some(nginx) = self.of(&series.case, "nginx") else {
            return Vec::new();
        };
        let pairs = series.rounds.iter().zip(&nginx.rounds);
        pairs
            .filter_map(|(ours, theirs)| Some(ours.cpu_us? / theirs.cpu_us?))
            .collect()
    }

    fn latency_table(&self, case: &str) -> String {
        let head = [
            "",
            "p50",
            "p99",
            "p99.9",
            "added p50",
            "added p99",
            "a second",
            "CPU µs",
        ];
        let rows = self.series.iter().filter(|series| series.case == case);
        let rows: Vec<_> = rows
            .map(|series| {
                let of = |figure: fn(&Sample) -> f64| median(series.rounds.iter().map(figure));
                let added = |figure: fn(&Sample) -> f64| self.added(series, figure);
                vec![
                    series.subject.to_owned(),
                    said(of(|s| s.load.latency_us.p50 / 1e3), 3),
                    said(of(|s| s.load.latency_us.p99 / 1e3), 3),
                    said(of(|s| s.load.latency_us.p999 / 1e3), 3),
                    said(added(|s| s.load.latency_us.p50 / 1e3), 3),
                    said(added(|s| s.load.latency_us.p99 / 1e3), 3),
                    said(of(|s| s.load.requests_per_second), 0),
                    said(median(series.rounds.iter().filter_map(|s| s.cpu_us)), 1),
                ]
            })
            .collect();
        table::text(&head, &rows)
    }

    /// A figure less the direct one of the same round: the median.
    fn added(&self, series: &Series, figure: fn(&Sample) -> f64) -> Option<f64> {
        let direct = self.of(&series.case, "direct")?;
        let pairs = series.rounds.iter().zip(&direct.rounds);
        median(pairs.map(|(ours, theirs)| figure(ours) - figure(theirs)))
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(figures[middle]),
        _ => Some(f64::midpoint(figures[middle - 1], figures[middle])),
    }
}

fn said(figure: Option<f64>, places: usize) -> String {
    figure.map_or("-".to_owned(), |figure| format!("{figure:.places$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
