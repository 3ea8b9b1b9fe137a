//! Azure's traces of a chat service: when, how much in, how much out. Nothing of what prompts share, so each prompt is its own.

use super::{BlockId, Lines, Prompt, Request, Run, Session, Stop, Stream, Trace, TraceError};
use std::time::Duration;

/// The first line of such a file.
pub const HEADING: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";
/// Any size does, as no block is met twice; that of the agent trace keeps rounding alike.
const BLOCK_TOKENS: u32 = 64;

/// Reads what follows the heading.
pub fn read(mut lines: Lines) -> Result<Trace, TraceError> {
    let mut trace = Trace {
        block_tokens: BLOCK_TOKENS,
        sizes_only: true,
        models: vec!["azure".into()],
        ..Trace::default()
    };
    let mut first = None;
    while let Some(line) = lines.next()? {
        let (at, input, output) = row(&line).map_err(|what| lines.wrong(what))?;
        let begins = at.checked_sub(*first.get_or_insert(at));
        let begins = begins.ok_or_else(|| lines.wrong("is earlier than the first line"))?;
        push(&mut trace, begins, input, output);
    }
    Ok(trace)
}

fn push(trace: &mut Trace, begins: Duration, input: u32, output: u32) {
    let index = trace.requests.len() as u32;
    let run = Run {
        first: BlockId(u64::from(index) << 32),
        blocks: input / BLOCK_TOKENS,
    };
    trace.requests.push(Request {
        gap: Duration::ZERO,
        model: 0,
        stop: Stop::Unknown,
        prompt: Prompt::of([run]),
        prompt_tokens: input,
        output_tokens: output,
        head_blocks: 0,
        is_after_tool: false,
        position: 1,
    });
    trace.streams.push(Stream {
        session: index,
        begins,
        requests: index..index + 1,
    });
    trace.sessions.push(Session {
        key: super::key(&format!("azure {index}")),
        kin: super::key(&format!("azure {index}")),
        starts: Some(Duration::ZERO),
        streams: index..index + 1,
    });
}

fn row(line: &str) -> Result<(Duration, u32, u32), String> {
    let cells: Vec<&str> = line.split(',').collect();
    let [at, input, output] = cells[..] else {
        return Err(format!("{} cells instead of 3", cells.len()));
    };
    let tokens = |cell: &str| {
        let count = cell.parse::<u32>();
        count.map_err(|_| format!("`{cell}` is no number of tokens"))
    };
    let at = time(at).ok_or_else(|| format!("`{at}` is no time such as 2023-11-16 18:15:46.68"))?;
    Ok((at, tokens(input)?, tokens(output)?))
}

/// `2023-11-16 18:15:46.6805900` as time since a day that does not matter: only differences are used.
fn time(text: &str) -> Option<Duration> {
    let (date, clock) = text.split_once(' ')?;
    let date: Vec<u64> = numbers(date, '-')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let clock: Vec<u64> = numbers(clock, ':')?;
    let (&[year, month, day], &[hour, minute, second]) = (&date[..], &clock[..]) else {
        return None;
    };
    let within = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !within || hour > 23 || minute > 59 || second > 60 || year > 9999 {
        return None;
    }
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Duration::from_secs(seconds) + super::seconds(fraction)?)
}

fn numbers(text: &str, between: char) -> Option<Vec<u64>> {
    text.split(between).map(|n| n.parse().ok()).collect()
}

/// Days since the first of March of year 0 in the Gregorian calendar, with the year beginning in March so that the leap day is last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.saturating_sub(1), month + 9)
    };
    // 153 days in each five months from March: 31, 30, 31, 30, 31.
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1
}
