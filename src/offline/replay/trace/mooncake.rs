//! Mooncake's traces (FAST 25): one request a line in arrival order, with an id for each 512-token block of its prompt.
//!
//! The ids are common to the whole file, so prompts of different users share what they share. There is no session in the file: requests
//! with the same opener (the first two blocks; the first alone is nearly always the service's system text) are taken for one, which
//! is what a router can see of a conversation.

use super::{BlockId, Lines, Prompt, Request, Run, Session, Stop, Stream, Trace, TraceError};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// As published with the traces.
const BLOCK_TOKENS: u32 = 512;
const OPENER_BLOCKS: u32 = 2;

/// A line as published: kvcache-ai/Mooncake, FAST25-release/traces, read 2026-11.
#[derive(Deserialize)]
struct Line {
    timestamp: u64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u32>,
}

/// Reads `first` and the lines after it.
pub fn read(first: String, mut lines: Lines) -> Result<Trace, TraceError> {
    let mut trace = Trace {
        block_tokens: BLOCK_TOKENS,
        models: vec!["mooncake".into()],
        ..Trace::default()
    };
    // Streams of a session lie side by side, so sessions are complete only at the end of the file.
    let mut sessions: BTreeMap<u64, Vec<(Duration, Request)>> = BTreeMap::new();
    let mut next = Some(first);
    while let Some(text) = next {
        let line: Line = serde_json::from_str(&text).map_err(|e| lines.wrong(e.to_string()))?;
        let at = Duration::from_millis(line.timestamp);
        let (opener, request) = request(&line).map_err(|what| lines.wrong(what))?;
        sessions.entry(opener).or_default().push((at, request));
        next = lines.next()?;
    }
    for (opener, requests) in sessions {
        push(&mut trace, opener, requests);
    }
    Ok(trace)
}

fn push(trace: &mut Trace, opener: u64, requests: Vec<(Duration, Request)>) {
    let session = trace.sessions.len() as u32;
    let streams = trace.streams.len() as u32;
    for (begins, request) in requests {
        let index = trace.requests.len() as u32;
        trace.requests.push(request);
        trace.streams.push(Stream {
            session,
            begins,
            requests: index..index + 1,
        });
    }
    trace.sessions.push(Session {
        key: super::key(&format!("mooncake {opener}")),
        kin: super::key(&format!("mooncake {opener}")),
        starts: Some(Duration::ZERO),
        streams: streams..trace.streams.len() as u32,
    });
}

fn request(line: &Line) -> Result<(u64, Request), String> {
    let blocks = line.input_length.div_ceil(BLOCK_TOKENS) as usize;
    if line.hash_ids.len() != blocks {
        return Err(format!(
            "{} hash_ids for {} tokens, which are {blocks} blocks of {BLOCK_TOKENS}",
            line.hash_ids.len(),
            line.input_length
        ));
    }
    let prompt = Prompt::of(line.hash_ids.iter().map(|id| Run {
        first: BlockId(u64::from(*id)),
        blocks: 1,
    }));
    let opener = prompt.prefix(OPENER_BLOCKS.min(prompt.blocks()));
    let request = Request {
        gap: Duration::ZERO,
        model: 0,
        stop: Stop::Unknown,
        prompt_tokens: line.input_length,
        output_tokens: line.output_length,
        head_blocks: 1.min(prompt.blocks()),
        is_after_tool: false,
        position: prompt.blocks(),
        prompt,
    };
    Ok((opener.map_or(u64::MAX, |id| id.0), request))
}
