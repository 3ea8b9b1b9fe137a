//! The price lists that were collected by hand, row by row against the files that we ship.
//!
//! They lie outside of the repository: in the folder that STOKEHOLD_FACTS names, else in `../shared/providers`; without one there is
//! nothing to compare. A million tokens of each kind cost what a row says, so the bill is checked together with the data.

use super::{dollars, endpoint, everything, kind_of, today, tokens};
use crate::canon::Usage;
use crate::config::{Config, Endpoint};
use crate::policy::bill::bill;
use std::collections::BTreeMap;
use std::path::PathBuf;

type Row = BTreeMap<String, String>;

/// The rows of a list, by column; `None` when the folder is not there.
fn rows(file: &str) -> Option<Vec<Row>> {
    let named = std::env::var_os("STOKEHOLD_FACTS").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/providers");
    let folder = named.clone().unwrap_or(beside);
    if named.is_none() && !folder.is_dir() {
        println!("no price lists at {}: nothing compared", folder.display());
        return None;
    }
    let text = std::fs::read_to_string(folder.join(file)).expect(file);
    let mut lines = text.lines().filter(|l| !l.starts_with('#'));
    let head = cells(lines.next().expect("a header"));
    let row = |l| head.iter().cloned().zip(cells(l)).collect();
    Some(lines.map(row).collect())
}

/// One line of comma-separated values, quoted where a comma is in one.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            _ => cells.last_mut().expect("one at least").push(c),
        }
    }
    cells
}

fn figure(row: &Row, column: &str) -> Option<f64> {
    row[column].parse().ok()
}

/// What a million tokens of one kind cost, with `over` more tokens read from the cache to pass a step; those cost nothing here.
fn check(what: &str, endpoint: &Endpoint, usage: Usage, usd: f64) {
    let cost = bill(&usage, endpoint.price.on(today()));
    assert_eq!(cost, dollars(usd), "{} {what}", endpoint.name);
}

const MILLION: u64 = 1_000_000;

/// Kinds of tokens with the column that prices a million of them.
fn kinds() -> [(&'static str, Usage); 5] {
    let none = Usage::default;
    [
        (
            "input",
            Usage {
                input_uncached: tokens(MILLION),
                ..none()
            },
        ),
        (
            "output",
            Usage {
                output: tokens(MILLION),
                ..none()
            },
        ),
        (
            "cache_write_5m",
            Usage {
                cache_write_5m: tokens(MILLION),
                ..none()
            },
        ),
        (
            "cache_write_1h",
            Usage {
                cache_write_1h: tokens(MILLION),
                ..none()
            },
        ),
        (
            "cache_read",
            Usage {
                cache_read: tokens(MILLION),
                ..none()
            },
        ),
    ]
}

/// Short prompts, so that no step is passed: a hundredth of a million is under every one.
fn short(usage: &Usage) -> Usage {
    let cut = |t: Option<crate::base::Tokens>| t.map(|t| crate::base::Tokens(t.0 / 100));
    Usage {
        input_uncached: cut(usage.input_uncached),
        cache_write_5m: cut(usage.cache_write_5m),
        cache_write_1h: cut(usage.cache_write_1h),
        cache_write_30m: cut(usage.cache_write_30m),
        cache_write_12h: cut(usage.cache_write_12h),
        cache_read: cut(usage.cache_read),
        output: cut(usage.output),
        input_audio: cut(usage.input_audio),
        ..usage.clone()
    }
}

#[test]
fn claude_costs_what_the_collected_list_says() {
    let Some(rows) = rows("pricing-anthropic.csv") else {
        return;
    };
    let config = everything();
    for row in &rows {
        let place = claude_place(&config, row);
        let geo = row["scope"]
            .starts_with("inference_geo=us")
            .then(|| "us".into());
        assert_eq!(
            place.cache.min_tokens.0 as f64,
            figure(row, "min_cache_tokens").expect("it")
        );
        for (column, usage) in kinds() {
            let usd = figure(row, column).expect("a price");
            let usage = Usage {
                geo: geo.clone(),
                ..usage
            };
            check(column, place, short(&usage), usd / 100.0);
            let batch = Usage {
                service_tier: Some("batch".into()),
                ..short(&usage)
            };
            check("batch", place, batch, usd / 200.0);
            // A million tokens pass every step; output does not count towards one.
            if let (Some(long), false) = (figure(row, &format!("lc_{column}")), column == "output")
            {
                check("beyond the step", place, usage, long);
            }
        }
    }
    println!("{} rows of Claude prices checked", rows.len());
    assert!(!rows.is_empty(), "an empty list");
}

fn claude_place<'c>(config: &'c Config, row: &Row) -> &'c Endpoint {
    let regional = row["scope"] == "regional_or_multiregion";
    let provider = match row["platform"].as_str() {
        "vertex" if regional => "vertex-us",
        other => other,
    };
    endpoint(config, provider, &row["model_id"])
}

#[test]
fn the_others_cost_what_the_collected_list_says() {
    let Some(rows) = rows("pricing-other.csv") else {
        return;
    };
    let config = everything();
    let mut checked = 0;
    for row in rows.iter().filter(|r| r["model_id"] != "*") {
        let place = other_place(&config, row);
        if row["model_id"].starts_with("veo") {
            seconds(row, place);
        } else {
            plain(row, place);
            long(row, place);
            tiers(row, place);
        }
        checked += 1;
    }
    println!("{checked} rows of other prices checked");
    assert_eq!(
        checked,
        rows.len() - 1,
        "every row but the one that says prices are asked for"
    );
}

fn other_place<'c>(config: &'c Config, row: &Row) -> &'c Endpoint {
    let found = config
        .endpoints
        .iter()
        .find(|e| e.name == row["model_id"] && kind_of(config, e).as_str() == row["provider"]);
    found.unwrap_or_else(|| panic!("{} is not in the catalogue", row["model_id"]))
}

/// The columns of the list with the usage that a million of them is.
fn columns() -> [(&'static str, Usage); 6] {
    let [(_, input), (_, output), _, _, (_, cached)] = kinds();
    [
        ("input_per_mtok", input.clone()),
        ("output_per_mtok", output),
        ("cached_input_per_mtok", cached),
        (
            "cache_write_per_mtok",
            Usage {
                cache_write_30m: tokens(MILLION),
                ..Usage::default()
            },
        ),
        (
            "cache_write_long_per_mtok",
            Usage {
                cache_write_12h: tokens(MILLION),
                ..Usage::default()
            },
        ),
        (
            "audio_input_per_mtok",
            Usage {
                input_audio: tokens(MILLION),
                ..input
            },
        ),
    ]
}

fn plain(row: &Row, place: &Endpoint) {
    for (column, usage) in columns() {
        if let Some(usd) = figure(row, column) {
            check(column, place, short(&usage), usd / 100.0);
        }
    }
}

fn long(row: &Row, place: &Endpoint) {
    let Some(over) = figure(row, "long_ctx_threshold") else {
        return;
    };
    assert_eq!(place.price.long_context[0].over.0 as f64, over);
    let prompt = |n| Usage {
        input_uncached: tokens(n),
        ..Usage::default()
    };
    let input = figure(row, "long_input_per_mtok").expect("a price");
    check("long input", place, prompt(MILLION), input);
    let with_output = Usage {
        output: tokens(MILLION),
        ..prompt(MILLION)
    };
    let output = figure(row, "long_output_per_mtok").expect("a price");
    check("long output", place, with_output, input + output);
    if let Some(cached) = figure(row, "long_cached_per_mtok") {
        let read = Usage {
            cache_read: tokens(MILLION),
            ..Usage::default()
        };
        check("long cached", place, read, cached);
    }
}

/// `fast/priority in 2.5 out 20 cached 0.25; flex in 0.625 out 5`, and the columns of batches.
fn tiers(row: &Row, place: &Endpoint) {
    let [input, output, cached, ..] = columns().map(|(_, usage)| short(&usage));
    for part in row["other_prices"].split(';').map(str::trim) {
        let words: Vec<&str> = part.split(' ').collect();
        let ["fast/priority" | "priority" | "flex", "in", ..] = words[..] else {
            continue;
        };
        for name in words[0].split('/') {
            let of = |usage: &Usage| Usage {
                service_tier: Some(name.into()),
                ..usage.clone()
            };
            for pair in words[1..].chunks(2) {
                let usage = match pair[0] {
                    "in" => of(&input),
                    "out" => of(&output),
                    _ => of(&cached),
                };
                check(
                    part,
                    place,
                    usage,
                    pair[1].parse::<f64>().expect("a price") / 100.0,
                );
            }
        }
    }
    let batch = |usage: &Usage| Usage {
        service_tier: Some("batch".into()),
        ..usage.clone()
    };
    for (column, usage) in [
        ("batch_input_per_mtok", input),
        ("batch_output_per_mtok", output),
    ] {
        if let Some(usd) = figure(row, column) {
            check(column, place, batch(&usage), usd / 100.0);
        }
    }
}

/// `USD/s: 720p/1080p 0.40; 4k 0.60 (with audio)`; without a resolution, both of the small ones.
fn seconds(row: &Row, place: &Endpoint) {
    let said = row["other_prices"].trim_start_matches("USD/s:");
    for part in said.split(';') {
        let words: Vec<&str> = part
            .split_whitespace()
            .take_while(|w| !w.starts_with('('))
            .collect();
        let (resolutions, usd) = match words[..] {
            [resolutions, usd] => (resolutions, usd),
            _ => ("720p/1080p", words[0]),
        };
        for resolution in resolutions.split('/') {
            let usage = Usage {
                output_video_millis: Some(1_000),
                output_video_resolution: Some(resolution.into()),
                ..Usage::default()
            };
            check(resolution, place, usage, usd.parse().expect("a price"));
        }
    }
}
