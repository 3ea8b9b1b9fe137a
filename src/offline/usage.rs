//! `stokehold usage`: what was spent, by whom and where, while the router runs or not. Reads the ledger and nothing else.

use crate::base::WallTime;
use crate::iocore::calendar;
use crate::iocore::ledger::{self, Dimension, Group, Query, Reader, Totals};
use anyhow::{Context, anyhow, bail};
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data directory, as `data_dir` in the configuration
    #[arg(long, default_value = "./data", env = "STOKEHOLD_DATA_DIR")]
    data_dir: PathBuf,
    /// From: an age (24h, 7d) or a UTC date (2026-11-01, 2026-11-01T12:30)
    #[arg(long, default_value = "24h")]
    since: String,
    /// Up to and without
    #[arg(long, default_value = "now")]
    until: String,
    /// tenant, client_key, model, provider, endpoint, pool, key, dialect, outcome, minute, hour, day: one or several
    #[arg(long, value_delimiter = ',', default_value = "model")]
    by: Vec<String>,
    /// Only what has one of these values, such as tenant=a or model=x,y; again for another dimension
    #[arg(long = "only", value_name = "DIMENSION=VALUE,…")]
    only: Vec<String>,
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    #[arg(long)]
    csv: bool,
}

/// Writes the report; an error says what to do when there is no ledger yet.
pub fn run(args: Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let now = now();
    let by = args
        .by
        .iter()
        .map(|name| dimension(name))
        .collect::<Result<Vec<_>, _>>()?;
    let query = Query {
        since: calendar::parse(&args.since, now).map_err(|why| anyhow!("--since: {why}"))?,
        until: calendar::parse(&args.until, now).map_err(|why| anyhow!("--until: {why}"))?,
        by,
        only: args
            .only
            .iter()
            .map(|text| filter(text))
            .collect::<Result<_, _>>()?,
    };
    if query.until <= query.since {
        bail!("--since: it must lie before --until");
    }
    let path = ledger::path(&args.data_dir);
    let reader = Reader::open(&path).with_context(|| path.display().to_string())?;
    let report = reader
        .report(&query)
        .with_context(|| path.display().to_string())?;
    let groups = &report.groups;
    let mut all = Totals::default();
    groups.iter().for_each(|group| all.add(&group.totals));
    if args.json {
        writeln!(out, "{}", report.json(&query.by, |_| true))?;
        return Ok(());
    }
    let mut table = table(&query, groups);
    if args.csv {
        for line in table {
            writeln!(
                out,
                "{}",
                line.iter()
                    .map(|cell| csv(cell))
                    .collect::<Vec<_>>()
                    .join(",")
            )?;
        }
        return Ok(());
    }
    let mut names = vec![String::new(); query.by.len()];
    if let Some(first) = names.first_mut() {
        *first = "total".to_owned();
    }
    table.push(line(&Group { names, totals: all }));
    let (since, until) = (
        calendar::rfc3339(report.since),
        calendar::rfc3339(report.until),
    );
    writeln!(out, "{since} to {until}")?;
    aligned(&table, query.by.len(), out)
}

/// `tenant=a,b`.
fn filter(text: &str) -> anyhow::Result<(Dimension, Vec<String>)> {
    let (name, values) = text
        .split_once('=')
        .ok_or_else(|| anyhow!("--only: `{text}` is no dimension=value"))?;
    let dimension = dimension(name).map_err(|_| anyhow!("--only: there is no `{name}`"))?;
    if dimension.is_time() {
        bail!("--only: {name} is a time: --since and --until choose it");
    }
    Ok((dimension, values.split(',').map(str::to_owned).collect()))
}

fn dimension(name: &str) -> anyhow::Result<Dimension> {
    let known = Dimension::ALL.map(Dimension::as_str).join(", ");
    Dimension::ALL
        .into_iter()
        .find(|d| d.as_str() == name)
        .ok_or_else(|| anyhow!("--by: `{name}` is none of {known}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a command asks the time once, to know what `24h` means"
)]
pub(super) fn now() -> WallTime {
    let wall = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX))
}

fn table(query: &Query, groups: &[Group]) -> Vec<Vec<String>> {
    let heads = [
        "attempts",
        "exchanges",
        "failed",
        "input",
        "cache_read",
        "cache_write",
        "output",
        "reasoning",
        "images",
        "video_s",
        "first_byte_ms",
        "total_ms",
        "usd",
    ];
    let names = query.by.iter().map(|d| d.as_str());
    let mut table = vec![names.chain(heads).map(str::to_owned).collect()];
    table.extend(groups.iter().map(line));
    table
}

fn line(group: &Group) -> Vec<String> {
    let totals = &group.totals;
    let writes: i64 = totals
        .iter()
        .filter(|(name, _)| name.starts_with("cache_write"))
        .map(|(_, n)| n)
        .sum();
    let count = |name| totals.get(name).to_string();
    let ms = |time: Option<std::time::Duration>| {
        time.map_or_else(|| "-".to_owned(), |t| t.as_millis().to_string())
    };
    let mut line = group.names.clone();
    line.extend(
        [
            "attempts",
            "exchanges",
            "failed",
            "input_uncached",
            "cache_read",
        ]
        .map(count),
    );
    line.push(writes.to_string());
    line.extend(["output", "reasoning", "output_images"].map(count));
    line.push(seconds(totals.get("output_video_millis")));
    line.extend([
        ms(totals.first_byte()),
        ms(totals.total()),
        totals.cost().to_string(),
    ]);
    line
}

/// Whole where it is whole, as videos are.
fn seconds(millis: i64) -> String {
    match millis % 1_000 {
        0 => (millis / 1_000).to_string(),
        _ => format!("{:.3}", millis as f64 / 1_000.0),
    }
}

pub(super) fn aligned(
    table: &[Vec<String>],
    names: usize,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let width = |at: usize| {
        table
            .iter()
            .map(|line| line[at].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table[0].len()).map(width).collect();
    for line in table {
        let cells = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(at, (cell, width))| {
                if at < names {
                    format!("{cell:width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  "))?;
    }
    Ok(())
}

/// RFC 4180: quoted where it must be.
fn csv(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}
