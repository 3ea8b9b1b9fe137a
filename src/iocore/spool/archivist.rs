//! Between the spool and the archive: what ended goes there in batches, and who asks for what is there waits beside, so that a slow archive holds
//! up nobody who asks for what is here.

use super::index::{Entry, Whose};
use super::keeper::Asked;
use crate::shard::stored::{Told, What};
use bytes::Bytes;
use std::collections::VecDeque;

/// What comes back.
#[derive(Debug, Default)]
pub struct Done {
    /// Safe in the archive.
    pub stored: Vec<Whose>,
    pub told: Vec<(Asked, Told)>,
}

/// A question that the spool cannot answer.
#[derive(Debug)]
pub struct Missing {
    pub asked: Asked,
}

impl Missing {
    #[must_use]
    pub fn of(asked: Asked) -> Self {
        Self { asked }
    }
}

/// Answers that are stored together.
#[derive(Debug, Default)]
pub struct Batch {
    pub answers: Vec<Whose>,
    pub bytes: usize,
}

impl Batch {
    pub fn add(&mut self, whose: Whose, _entry: &Entry, sent: Bytes, _prompt: Option<Bytes>) {
        self.bytes += sent.len();
        self.answers.push(whose);
    }
}

/// Questions that may wait for the archive.
const QUESTIONS_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub struct Archivist {
    ended: VecDeque<Whose>,
    asks: VecDeque<Missing>,
}

impl Archivist {
    pub fn note(&mut self, ended: Vec<Whose>) {
        self.ended.extend(ended);
    }

    /// The next that goes into a batch of so many bytes and answers.
    pub fn next(&mut self, _bytes: usize, _answers: usize) -> Option<Whose> {
        None
    }

    pub fn send(&mut self, _batch: Batch) {}

    /// Gives the question back where too many wait.
    pub fn ask(&mut self, missing: Missing) -> Result<(), Missing> {
        if self.asks.len() >= QUESTIONS_MAX {
            return Err(missing);
        }
        self.asks.push_back(missing);
        Ok(())
    }

    pub async fn done(&mut self) -> Done {
        if self.asks.is_empty() {
            return std::future::pending().await;
        }
        let told = self.asks.drain(..).map(|missing| {
            let told = unknown(&missing.asked.question.what);
            (missing.asked, told)
        });
        Done {
            stored: Vec::new(),
            told: told.collect(),
        }
    }

    /// Nothing is archived.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        true
    }

    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.asks.is_empty()
    }
}

/// What is said of an answer that is nowhere.
fn unknown(what: &What) -> Told {
    match what {
        What::Claim { .. } | What::Unclaim { .. } => Told::Free,
        What::Look { .. } => Told::Found(None),
        What::Read { .. } => Told::Piece(None),
        What::List { .. } => Told::Listed {
            answers: Vec::new(),
            more: false,
        },
        // No answers: the keeper has it made.
        What::Usage { .. } => Told::Unreadable("no report is made here".to_owned()),
        What::Cancel { .. } | What::Delete { .. } => Told::Done(false),
    }
}
