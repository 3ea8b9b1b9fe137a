//! Every recording, told to a client and asked of a provider of each dialect.
//!
//! - An answer is decoded, however the network cuts it; written again in its own dialect, streamed and whole, nothing is lost; told in
//!   every other, the same text, tool calls, stop reason and usage come back (`answers`).
//! - A request is written again in its own dialect as the JSON it was, but for spellings that are listed with their reasons; asked of every
//!   other provider, it says the same or is refused by the name of a field (`requests`).
//! - A refusal is the same failure in every client's dialect (`refusals`).
//! - What no pair of codecs speaks is checked for what it is (`others`).
//!
//! A loss is excused only where it is named, and only what the name says. Every file is counted; one that fails is a failure. What one
//! dialect promises about its own recordings in detail stands in its `recorded.rs`.

mod answers;
mod asked;
mod normal;
mod others;
mod refusals;
mod requests;
mod spellings;
mod told;

use super::folder::{Recording, recordings};
use crate::canon::DialectName;
use std::collections::BTreeMap;

const CLIENTS: [DialectName; 5] = [
    DialectName::Native,
    DialectName::Chat,
    DialectName::Messages,
    DialectName::Responses,
    DialectName::Gemini,
];

const PROVIDERS: [DialectName; 5] = [
    DialectName::Chat,
    DialectName::Messages,
    DialectName::Responses,
    DialectName::Gemini,
    DialectName::Converse,
];

/// What came of one check: a word to count by, or what was wrong.
type Outcome = Result<&'static str, String>;

/// What was done to the recordings, and how it went.
#[derive(Default)]
struct Tally {
    /// By (what was done, API, dialect, outcome): how many files.
    counts: BTreeMap<(&'static str, String, &'static str, &'static str), usize>,
    wrong: Vec<String>,
    /// Checks of the recording at hand.
    checks: usize,
}

impl Tally {
    fn note(&mut self, recording: &Recording, what: &'static str, to: &'static str, of: Outcome) {
        self.checks += 1;
        match of {
            Ok(word) => {
                let key = (what, recording.api().to_owned(), to, word);
                *self.counts.entry(key).or_default() += 1;
            }
            Err(why) => self
                .wrong
                .push(format!("{}: {what} {to}: {why}", recording.name)),
        }
    }

    fn walk(&mut self, recording: &Recording) {
        self.checks = 0;
        match recording.dialect() {
            Some(dialect) => {
                answers::check(recording, dialect, self);
                requests::check(recording, dialect, self);
            }
            None => others::check(recording, self),
        }
        if self.checks == 0 {
            let why = "nothing of it was checked".to_owned();
            self.note(recording, "none", "-", Err(why));
        }
    }

    fn print(&self, files: usize) {
        for ((what, api, dialect, outcome), files) in &self.counts {
            println!("{what} {api} -> {dialect}: {outcome} {files}");
        }
        let mut sums: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
        for ((what, _, dialect, outcome), files) in &self.counts {
            *sums.entry((what, dialect, outcome)).or_default() += files;
        }
        for ((what, dialect, outcome), files) in &sums {
            println!("all {what} -> {dialect}: {outcome} {files}");
        }
        println!("{files} recordings ran");
    }
}

#[test]
fn every_recording_is_said_again_without_loss_or_names_what_it_lost() {
    let (mut tally, files) = (Tally::default(), recordings());
    files.iter().for_each(|recording| tally.walk(recording));
    tally.print(files.len());
    assert!(
        tally.wrong.is_empty(),
        "{} wrong:\n{}",
        tally.wrong.len(),
        tally.wrong.join("\n")
    );
}
