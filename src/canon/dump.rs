//! The readable form that golden tests compare: one line a thing, long data shortened to its length and hash.

use crate::canon::{Event, Request};
use std::fmt::Write as _;

/// One field or block a line.
#[must_use]
pub fn dump_request(request: &Request) -> String {
    let mut out = String::new();
    let r = request;
    line(&mut out, "model", &r.model);
    for block in &r.system {
        line(&mut out, "system", block);
    }
    for turn in &r.turns {
        line(&mut out, "turn", &(turn.role, &turn.name));
        for block in &turn.blocks {
            line(&mut out, "  block", block);
        }
    }
    for tool in &r.tools {
        line(&mut out, "tool", tool);
    }
    line(&mut out, "tool_choice", &(&r.tool_choice, r.parallel_tools));
    line(&mut out, "sampling", &r.sampling);
    line(&mut out, "reasoning", &r.reasoning);
    line(&mut out, "output_format", &r.output_format);
    line(&mut out, "cache", &r.cache);
    line(&mut out, "stream", &(r.stream, r.stream_usage));
    line(&mut out, "notes", &(&r.user, &r.metadata, &r.service_tier));
    for extra in &r.extra {
        line(&mut out, "extra", extra);
    }
    out
}

/// One event a line.
#[must_use]
pub fn dump_events(events: &[Event]) -> String {
    let mut out = String::new();
    for event in events {
        line(&mut out, "event", event);
    }
    out
}

fn line(out: &mut String, name: &str, value: &dyn std::fmt::Debug) {
    let said = format!("{value:?}");
    out.push_str(name);
    out.push_str(": ");
    shorten(&said, out);
    out.push('\n');
}

/// Copies `said`, with each quoted run over `SHOWN_MAX` bytes cut to its head, its length and its hash.
fn shorten(said: &str, out: &mut String) {
    for (i, part) in said.split('"').enumerate() {
        if i > 0 {
            out.push('"');
        }
        if part.len() <= SHOWN_MAX {
            out.push_str(part);
            continue;
        }
        let head: String = part.chars().take(40).collect();
        let hash = xxhash_rust::xxh3::xxh3_64(part.as_bytes());
        write!(out, "{head}… {} bytes {hash:016x}", part.len()).expect("a String takes all");
    }
}

// Longer than any text of the golden cases, shorter than any image of them.
const SHOWN_MAX: usize = 400;
