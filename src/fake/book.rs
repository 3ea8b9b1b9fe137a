//! What the fake billed: the other side of every ledger test. Totals are exact for ever; of entries the last few are kept.

use std::collections::{BTreeMap, VecDeque};

/// Which dialect was spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Chat,
    Messages,
    Responses,
    Gemini,
    Converse,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Complete,
    /// We broke it off after its head: an error event, a reset, an end without end mark.
    Cut,
    /// The caller went away.
    HungUp,
    /// Answered with this status; costs nothing.
    Refused(u16),
}

/// Tokens that were charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Billed {
    pub uncached: u64,
    pub read: u64,
    pub written_5m: u64,
    pub written_1h: u64,
    /// All output, reasoning included.
    pub output: u64,
    pub reasoning: u64,
    /// Of all videos of a job together.
    pub video_seconds: u64,
    /// Tokens that were kept under a name, times milliseconds.
    pub kept_token_millis: u64,
    /// Of sound that is paid by its length.
    pub audio_millis: u64,
}

impl Billed {
    fn add(&mut self, other: &Self) {
        self.uncached += other.uncached;
        self.read += other.read;
        self.written_5m += other.written_5m;
        self.written_1h += other.written_1h;
        self.output += other.output;
        self.reasoning += other.reasoning;
        self.video_seconds += other.video_seconds;
        self.kept_token_millis += other.kept_token_millis;
        self.audio_millis += other.audio_millis;
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As the caller saw it in the body; the request id of a refusal.
    pub id: String,
    pub key: String,
    pub organisation: String,
    pub model: String,
    pub wire: Wire,
    pub billed: Billed,
    pub ended: Ended,
    /// The final usage was handed to the caller.
    pub told: bool,
}

/// All that was billed.
#[derive(Clone, Debug)]
pub struct Book {
    last: VecDeque<Entry>,
    kept: usize,
    totals: Billed,
    accepted: u64,
    refused: BTreeMap<u16, u64>,
}

impl Book {
    pub(super) fn new(kept: usize) -> Self {
        Self {
            last: VecDeque::new(),
            kept,
            totals: Billed::default(),
            accepted: 0,
            refused: BTreeMap::new(),
        }
    }

    /// What was billed to an answer that nobody is listening to any more.
    pub(super) fn told_later(&mut self, id: &str) {
        if let Some(entry) = self.last.iter_mut().rev().find(|e| e.id == id) {
            entry.told = true;
        }
    }

    pub(super) fn write(&mut self, entry: Entry) {
        match entry.ended {
            Ended::Refused(status) => *self.refused.entry(status).or_default() += 1,
            Ended::Complete | Ended::Cut | Ended::HungUp => self.accepted += 1,
        }
        self.totals.add(&entry.billed);
        if self.last.len() >= self.kept {
            self.last.pop_front();
        }
        if self.kept > 0 {
            self.last.push_back(entry);
        }
    }

    /// The last entries, oldest first, in the order in which they ended.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.last.iter()
    }

    /// Over every request since the beginning that has ended.
    #[must_use]
    pub fn totals(&self) -> Billed {
        self.totals
    }

    /// Requests that were answered with 200, to whatever end.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Refusals by status.
    #[must_use]
    pub fn refused(&self) -> &BTreeMap<u16, u64> {
        &self.refused
    }
}
