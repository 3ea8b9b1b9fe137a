//! `stokehold replay`: a trace through simulated endpoints, the known policies side by side.

use super::reference::{Lifetimes, OURS, Question, ROUTINGS};
use super::row::Table;
use super::scenario::{Admission, Drifts, Fanning};
use super::trace::{Half, Trace};
use crate::base::NanoUsd;
use crate::config;
use anyhow::{Context, ensure};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The trace: coding-agent sessions, Mooncake requests, or Azure's CSV; plain or gzipped
    #[arg(long, value_name = "FILE", required_unless_present = "fan")]
    trace: Option<PathBuf>,
    /// Pools with a cache and limits each
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pools: u16,
    /// Input tokens that the pools let through together, in multiples of what one shared pool would have needed; without it all
    #[arg(long, value_name = "TIMES")]
    limits: Option<f64>,
    /// Probability that a provider has lost a cached prompt when it is read
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.0)]
    loss: f64,
    /// What a second of a request's time is worth to stokehold, in dollars; without it as routing.value_of_second has it by default
    #[arg(long, value_name = "USD")]
    value_of_second: Option<f64>,
    /// How dear the last headroom of a limit is to stokehold, in prices of the tokens it is taken for; without it as by default
    #[arg(long, value_name = "TIMES")]
    headroom_weight: Option<f64>,
    /// Write the table as a page for a browser, with pictures, to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Placements of the sessions in time to add up
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    seeds: u16,
    /// Only one half of the sessions, split by a hash: what was learned or tuned on the other is judged on it
    #[arg(long, value_name = "HALF", conflicts_with_all = ["lifetimes", "fan", "drift", "admission", "goals"])]
    half: Option<Half>,
    /// Compare how long prompts are kept, in one pool without limits, instead of where requests go
    #[arg(long, group = "question", conflicts_with_all = ["pools", "limits", "loss"])]
    lifetimes: bool,
    /// Requests that fan out over a shared beginning, made up: 8 within two seconds, and 100 at once
    #[arg(long, group = "question", conflicts_with_all = ["trace", "limits", "loss"])]
    fan: bool,
    /// Providers that lose entries or cut a lifetime without a word: how soon that is believed
    #[arg(long, group = "question", conflicts_with_all = ["limits", "loss"])]
    drift: bool,
    /// Of a trace of chats: what is worth writing to a cache
    #[arg(long, group = "question", conflicts_with_all = ["pools", "limits", "loss"])]
    admission: bool,
    /// Every goal that the trace can show, each with its figure
    #[arg(long, group = "question", conflicts_with_all = ["pools", "limits", "loss"])]
    goals: bool,
    /// Price of a cached token as a multiple of an input token
    #[arg(
        long,
        value_name = "TIMES",
        default_value_t = 0.1,
        requires = "lifetimes"
    )]
    read_price: f64,
    /// Believe that a prompt kept for an hour does not outlive a part of it kept for five minutes: see ROUTING 1.6
    #[arg(long, requires = "lifetimes")]
    long_does_not_protect: bool,
}

/// Writes the table to `out`, as JSON if asked; an error names the file and line, or the argument, and what would be right.
pub fn run(args: &Args, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    ensure!(
        (0.0..=1.0).contains(&args.loss),
        "--loss {}: a probability lies between 0 and 1",
        args.loss
    );
    ensure!(
        args.limits
            .is_none_or(|limits| limits.is_finite() && limits > 0.0),
        "--limits must be above 0, such as 1.3"
    );
    ensure!(
        (0.0..1.0).contains(&args.read_price),
        "--read-price {}: a read costs less than a plain token, so from 0 to below 1",
        args.read_price
    );
    for (name, weight) in [
        ("--value-of-second", args.value_of_second),
        ("--headroom-weight", args.headroom_weight),
    ] {
        ensure!(
            weight.is_none_or(|weight| (0.0..=1e6).contains(&weight)),
            "{name}: 0 or more, such as 0.01"
        );
    }
    let table = match &args.trace {
        None => args.fanning().table(),
        Some(path) => args.table(&read(path)?),
    };
    if let Some(path) = &args.html {
        std::fs::write(path, table.page()).with_context(|| path.display().to_string())?;
    }
    if json {
        serde_json::to_writer_pretty(&mut *out, &table)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", table.text())?;
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Trace> {
    let trace = Trace::read(path)?;
    ensure!(
        !trace.sizes_only,
        "{}: tells sizes and times only, so no policy could differ in what it finds cached; take coding-agent sessions or Mooncake \
         requests",
        path.display()
    );
    Ok(trace)
}

impl Args {
    fn routing(&self) -> config::Routing {
        let mut routing = config::Routing::default();
        if let Some(second) = self.value_of_second.and_then(NanoUsd::of_usd) {
            routing.second = second;
        }
        routing.headroom = self.headroom_weight.unwrap_or(routing.headroom);
        routing
    }

    fn seeds(&self) -> Vec<u64> {
        (1..=u64::from(self.seeds)).collect()
    }

    fn fanning(&self) -> Fanning {
        Fanning {
            pools: usize::from(self.pools),
            seeds: self.seeds(),
            routing: self.routing(),
        }
    }

    fn drifts(&self) -> Drifts {
        Drifts {
            pools: usize::from(self.pools),
            seeds: self.seeds(),
            routing: self.routing(),
        }
    }

    fn lifetimes(&self, long_protects: bool) -> Lifetimes {
        Lifetimes {
            read: self.read_price,
            long_protects,
            seeds: self.seeds(),
            ..Lifetimes::default()
        }
    }

    fn admission(&self) -> Admission {
        Admission {
            routing: self.routing(),
            ..Admission::default()
        }
    }

    fn question(&self, limits: Option<f64>) -> Question {
        Question {
            pools: usize::from(self.pools),
            limits,
            loss: self.loss,
            seeds: self.seeds(),
            routing: self.routing(),
            half: self.half,
            ..Question::default()
        }
    }

    fn table(&self, trace: &Trace) -> Table {
        match () {
            () if self.lifetimes => self.lifetimes(!self.long_does_not_protect).table(trace),
            () if self.drift => self.drifts().table(trace),
            () if self.admission => self.admission().table(trace),
            () if self.goals => self.goals(trace),
            () => self
                .question(self.limits)
                .table(trace, &ROUTINGS, &mut progress),
        }
    }

    /// All questions with a goal, of each the row that is ours.
    fn goals(&self, trace: &Trace) -> Table {
        let routing = |limits| self.question(limits).table(trace, &[], &mut |_, _| {});
        let tables = match trace.is_of_chats() {
            true => vec![self.admission().table(trace)],
            false => vec![
                routing(None),
                routing(Some(1.3)),
                self.lifetimes(true).table(trace),
                self.lifetimes(false).table(trace),
                self.drifts().table(trace),
                self.fanning().table(),
            ],
        };
        let mut all = Table {
            title: "what is to be shown".to_owned(),
            ..Table::default()
        };
        for table in tables {
            let ours = table
                .rows
                .into_iter()
                .filter(|row| row.policy.contains(OURS));
            all.rows.extend(ours.map(|mut row| {
                row.policy = format!("{}: {}", table.title, row.policy);
                row
            }));
            all.goals.extend(table.goals);
        }
        all
    }
}

/// A bar on the terminal, if standard error is one.
#[expect(clippy::print_stderr, reason = "for people at a terminal")]
fn progress(done: usize, all: usize) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let (full, empty) = ("█".repeat(done * 2), "·".repeat((all - done) * 2));
    eprint!("\r{full}{empty} {done} of {all} ways");
    if done == all {
        // The table follows.
        eprint!("\r\u{1b}[2K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn said(arguments: &[&str], json: bool) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        std::fs::write(&path, TRACE).unwrap();
        let path = path.display().to_string();
        let all = ["replay", "--trace", &path]
            .into_iter()
            .chain(arguments.iter().copied());
        let cli = Cli::try_parse_from(all).map_err(|e| e.to_string())?;
        let mut out = Vec::new();
        run(&cli.args, json, &mut out).map_err(|e| e.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    const TRACE: &str = r#"{"timestamp": 0, "input_length": 1024, "output_length": 5, "hash_ids": [0, 1]}
{"timestamp": 30000, "input_length": 1536, "output_length": 6, "hash_ids": [0, 1, 2]}"#;

    #[test]
    fn the_table_and_the_json_say_the_same() {
        let text = said(&["--seeds", "1"], false).unwrap();
        assert!(text.contains("one shared pool"), "{text}");
        let json: serde_json::Value =
            serde_json::from_str(&said(&["--seeds", "1"], true).unwrap()).unwrap();
        assert_eq!(json["rows"].as_array().unwrap().len(), ROUTINGS.len() + 2);
        // 1,024 tokens are written at 1.25 and read at 0.1, the last 512 are written.
        let shared = json["rows"].as_array().unwrap().last().unwrap();
        let paid = (1024.0 * 1.25 + 1024.0 * 0.1 + 512.0 * 1.25) / 1e6 / 0.002;
        assert!((shared["input_mtok_per_thousand"].as_f64().unwrap() - paid).abs() < 1e-9);
        assert!(
            said(&["--lifetimes"], false)
                .unwrap()
                .contains("clairvoyant lifetime")
        );
    }

    #[test]
    fn goals_are_told_with_their_figures_and_a_fan_needs_no_trace() {
        let text = said(&["--goals"], false).unwrap();
        assert!(text.contains("chat: to no cache at all"), "{text}");
        let json: serde_json::Value =
            serde_json::from_str(&said(&["--admission"], true).unwrap()).unwrap();
        assert_eq!(json["goals"][1]["bound"]["at_most"], 1.0);
        // Two requests are no chat: what is said of the figure is right, whatever it is.
        let figure = json["goals"][1]["figure"].as_f64().unwrap();
        assert_eq!(json["goals"][1]["is_met"], figure <= 1.0, "{json}");
        assert!(Cli::try_parse_from(["replay", "--fan"]).is_ok());
        assert!(Cli::try_parse_from(["replay"]).is_err());
        assert!(said(&["--fan"], false).is_err(), "it is made up");
    }

    #[test]
    fn wrong_arguments_are_answered_with_what_would_be_right() {
        assert!(
            said(&["--loss", "2"], false)
                .unwrap_err()
                .contains("between 0 and 1")
        );
        assert!(
            said(&["--limits", "0"], false)
                .unwrap_err()
                .contains("such as 1.3")
        );
        assert!(
            said(&["--lifetimes", "--read-price", "1"], false)
                .unwrap_err()
                .contains("less than")
        );
        assert!(said(&["--pools", "0"], false).is_err());
        assert!(
            said(&["--read-price", "0.2"], false).is_err(),
            "it needs --lifetimes"
        );
    }
}
