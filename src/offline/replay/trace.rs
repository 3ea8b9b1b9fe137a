//! What was asked, by whom and when: one value for every trace, whatever file it comes from.
//!
//! A trace holds no text. A prompt is a chain of block ids, and an id names its block, all before it and the model: two prompts share a
//! prefix exactly as far as their ids agree. Kept as runs of consecutive ids, half of the coding-agent trace (48 million blocks) is
//! 75,000 runs, about 2 MB. Nothing here knows of caches, prices or routing.

/// Azure's public traces: arrival times and sizes only.
mod azure;
/// Coding-agent sessions with difference-coded block ids and sub-agents.
mod claude_code;
/// Requests made up to fan out over one prefix.
mod fan;
/// Mooncake's public traces: requests in arrival order with ids of 512-token blocks.
mod mooncake;

pub use fan::Fan;

use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every request of a file, in sessions, each of one or more streams.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Tokens a block id stands for.
    pub block_tokens: u32,
    /// True when the prompts of the file say nothing of what they share.
    pub sizes_only: bool,
    pub sessions: Vec<Session>,
    pub streams: Vec<Stream>,
    pub requests: Vec<Request>,
    pub models: Vec<Box<str>>,
}

/// Requests of one origin: what a router can be sticky to.
#[derive(Clone, Debug)]
pub struct Session {
    /// The same in every run: hash of the source's own name for it.
    pub key: u64,
    /// The same for sessions that are copies or branches of one another: they must not be learned from and judged on.
    pub kin: u64,
    /// `None` when the source knows no absolute time: the run places it.
    pub starts: Option<Duration>,
    pub streams: Range<u32>,
}

/// Requests that follow one another: the next is sent a recorded gap after the one before it really started.
#[derive(Clone, Debug)]
pub struct Stream {
    pub session: u32,
    /// From the start of the session.
    pub begins: Duration,
    pub requests: Range<u32>,
}

#[derive(Clone, Debug)]
pub struct Request {
    /// From the start of the request before it in the stream; of the first, from the stream's beginning.
    pub gap: Duration,
    pub model: u16,
    pub stop: Stop,
    pub prompt: Prompt,
    /// Exact, where the ids count whole blocks only.
    pub prompt_tokens: u32,
    pub output_tokens: u32,
    /// Leading blocks that sessions with the same tools and system text share; 0 when unknown.
    pub head_blocks: u32,
    /// A tool's result is what came last.
    pub is_after_tool: bool,
    /// Content elements up to the end of the prompt, as a provider with a look-back counts them.
    pub position: u32,
}

/// Why the answer ended, where the source says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stop {
    EndTurn,
    ToolUse,
    Unknown,
}

/// A block, all before it, and the model: equal ids are equal prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u64);

/// Consecutive ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub first: BlockId,
    pub blocks: u32,
}

/// A chain of block ids, as runs. At least one block, but for the shortest prompts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt(Box<[Run]>);

impl Run {
    /// The ids from the first up to and without the end.
    #[must_use]
    pub fn ids(&self) -> Range<u64> {
        self.first.0..self.first.0 + u64::from(self.blocks)
    }
}

impl Prompt {
    /// Joins runs that continue one another.
    #[must_use]
    pub fn of(runs: impl IntoIterator<Item = Run>) -> Self {
        let mut joined: Vec<Run> = Vec::new();
        for run in runs.into_iter().filter(|run| run.blocks > 0) {
            match joined.last_mut() {
                Some(last) if last.ids().end == run.first.0 => last.blocks += run.blocks,
                _ => joined.push(run),
            }
        }
        Self(joined.into())
    }

    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.0
    }

    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.0.iter().map(|run| run.blocks).sum()
    }

    /// The id that names the first `blocks` blocks; `None` for 0 or more than there are. Costs one step a run.
    #[must_use]
    pub fn prefix(&self, blocks: u32) -> Option<BlockId> {
        let mut left = blocks.checked_sub(1)?;
        for run in &self.0 {
            if left < run.blocks {
                return Some(BlockId(run.first.0 + u64::from(left)));
            }
            left -= run.blocks;
        }
        None
    }

    /// How many leading blocks both have.
    #[must_use]
    pub fn shared(&self, other: &Self) -> u32 {
        let mut shared = 0;
        let (mut mine, mut theirs) = (self.0.iter().copied(), other.0.iter().copied());
        let (mut a, mut b) = (mine.next(), theirs.next());
        while let (Some(x), Some(y)) = (a, b) {
            if x.first != y.first {
                break;
            }
            let step = x.blocks.min(y.blocks);
            shared += step;
            a = x.after(step).or_else(|| mine.next());
            b = y.after(step).or_else(|| theirs.next());
        }
        shared
    }

    /// The first `blocks` of this one, then `more`.
    #[must_use]
    pub fn extended(&self, blocks: u32, more: impl IntoIterator<Item = Run>) -> Self {
        Self::of(self.leading(blocks).chain(more))
    }

    /// Runs of the first `blocks` blocks.
    fn leading(&self, blocks: u32) -> impl Iterator<Item = Run> {
        let mut left = blocks;
        self.0.iter().map_while(move |run| {
            let take = run.blocks.min(left);
            left -= take;
            (take > 0).then_some(Run {
                blocks: take,
                ..*run
            })
        })
    }

    /// Runs of what follows the first `blocks` blocks.
    fn trailing(&self, blocks: u32) -> impl Iterator<Item = Run> {
        let mut skip = blocks;
        self.0.iter().filter_map(move |run| {
            let step = run.blocks.min(skip);
            skip -= step;
            run.after(step)
        })
    }
}

impl Run {
    /// What is left after `blocks`, if anything.
    fn after(self, blocks: u32) -> Option<Self> {
        (blocks < self.blocks).then(|| Self {
            first: BlockId(self.first.0 + u64::from(blocks)),
            blocks: self.blocks - blocks,
        })
    }
}

impl Request {
    /// Tokens of the first `blocks` blocks, all of them when these are all blocks: what is left over belongs to the last.
    #[must_use]
    pub fn tokens(&self, blocks: u32, block_tokens: u32) -> u32 {
        if blocks >= self.prompt.blocks() {
            self.prompt_tokens
        } else {
            blocks.saturating_mul(block_tokens).min(self.prompt_tokens)
        }
    }
}

impl Trace {
    /// Reads `path`, plain or gzipped, in whichever of the three formats it is: told by its first line.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let mut lines = Lines::open(path)?;
        let first = lines.next()?.ok_or_else(|| lines.wrong("is empty"))?;
        let trace = if first.starts_with(azure::HEADING) {
            azure::read(lines)
        } else if first.contains("\"hash_ids\"") {
            mooncake::read(first, lines)
        } else if first.contains("\"block_size\"") {
            claude_code::read(first, lines)
        } else {
            Err(lines.wrong("is none of the formats known"))
        }?;
        trace.checked(path)
    }

    fn checked(self, path: &Path) -> Result<Self, TraceError> {
        if self.requests.is_empty() {
            return Err(TraceError::new(path, None, "holds no request"));
        }
        Ok(self)
    }

    /// Whether its requests have times of their own and no turns: chats. Otherwise agents' sessions, which a run places in time.
    #[must_use]
    pub fn is_of_chats(&self) -> bool {
        self.sessions.iter().all(|session| session.starts.is_some())
    }

    /// Which half of a split by hash a session is in. The same in every run and for every trace that names it so.
    #[must_use]
    pub fn half(&self, session: u32) -> Half {
        // The lowest bits place sessions and pools elsewhere; a bit of the middle is independent of them.
        match self.sessions[session as usize].kin >> 32 & 1 {
            0 => Half::Train,
            _ => Half::Test,
        }
    }

    /// For each request, how long after its start the whole of its prompt is next part of another prompt of its session, as recorded;
    /// `None` when never. What only a clairvoyant can know of a request in advance.
    #[must_use]
    pub fn reuse_gaps(&self) -> Vec<Option<Duration>> {
        let mut gaps = vec![None; self.requests.len()];
        for session in &self.sessions {
            self.reuse_within(session, &mut gaps);
        }
        gaps
    }

    fn reuse_within(&self, session: &Session, gaps: &mut [Option<Duration>]) {
        let mut waiting: BTreeMap<u64, (usize, Duration)> = BTreeMap::new();
        for (index, at) in self.in_order(session) {
            let prompt = &self.requests[index].prompt;
            for run in prompt.runs() {
                let met: Vec<u64> = waiting.range(run.ids()).map(|(id, _)| *id).collect();
                for id in met {
                    if let Some((earlier, then)) = waiting.remove(&id) {
                        gaps[earlier] = Some(at.saturating_sub(then));
                    }
                }
            }
            if let Some(tail) = prompt.prefix(prompt.blocks()) {
                waiting.insert(tail.0, (index, at));
            }
        }
    }

    /// The requests of a session with their recorded start, by time.
    fn in_order(&self, session: &Session) -> Vec<(usize, Duration)> {
        let mut order = Vec::new();
        for stream in &self.streams[span(&session.streams)] {
            let mut at = stream.begins;
            for index in span(&stream.requests) {
                at += self.requests[index].gap;
                order.push((index, at));
            }
        }
        order.sort_by_key(|(index, at)| (*at, *index));
        order
    }
}

/// Indices of a range of `u32`.
#[must_use]
pub fn span(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// Learned policies learn on one half of the sessions and are judged on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Half {
    Train,
    Test,
}

/// A trace could not be read: where, what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceError {
    file: PathBuf,
    line: Option<u64>,
    what: String,
}

impl TraceError {
    fn new(file: &Path, line: Option<u64>, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}; {REMEDY}", self.what)
    }
}

impl std::error::Error for TraceError {}

const REMEDY: &str = "a trace is a file, plain or .gz, of coding-agent sessions (a JSON object a line with id, block_size, requests), \
    Mooncake requests (a JSON object a line with timestamp, input_length, output_length, hash_ids), or Azure's CSV \
    (TIMESTAMP,ContextTokens,GeneratedTokens): mend the line or fetch the file again";

/// The lines of a file, with the place for what is said of them.
struct Lines {
    from: BufReader<Box<dyn Read>>,
    path: PathBuf,
    /// Of the line read last, from 1.
    number: u64,
}

/// A line of the longest session known is 3 MB; a file that is one endless line is refused before it fills the memory.
const LINE_BYTES_MAX: u64 = 256 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

impl Lines {
    fn open(path: &Path) -> Result<Self, TraceError> {
        let failed = |e: std::io::Error| TraceError::new(path, None, format!("cannot read: {e}"));
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let zipped = file.fill_buf().map_err(failed)?.starts_with(&GZIP_MAGIC);
        let from: Box<dyn Read> = if zipped {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        Ok(Self {
            from: BufReader::new(from),
            path: path.to_owned(),
            number: 0,
        })
    }

    /// The next line that is not blank, without its end; `None` after the last.
    fn next(&mut self) -> Result<Option<String>, TraceError> {
        loop {
            let mut line = String::new();
            self.number += 1;
            let read = (&mut self.from).take(LINE_BYTES_MAX).read_line(&mut line);
            let bytes = read.map_err(|e| self.wrong(format!("cannot read: {e}")))?;
            if bytes == 0 {
                return Ok(None);
            }
            if bytes as u64 == LINE_BYTES_MAX {
                return Err(self.wrong(format!("a line of over {LINE_BYTES_MAX} bytes")));
            }
            let line = line.trim();
            if !line.is_empty() {
                return Ok(Some(line.to_owned()));
            }
        }
    }

    fn wrong(&self, what: impl Into<String>) -> TraceError {
        TraceError::new(&self.path, Some(self.number), what)
    }
}

/// Seconds of a trace as a duration, to the nanosecond; `None` when they are no time.
fn seconds(s: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(s).ok()
}

/// A name of the source as a number, the same in every run.
fn key(name: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(name.as_bytes())
}

#[cfg(test)]
mod tests;
