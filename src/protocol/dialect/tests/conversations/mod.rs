//! Whole conversations between every client's dialect and every provider's: five by five.
//!
//! A conversation is written once, in canon. It is encoded as a client of one dialect would say it, decoded, encoded for a provider of another,
//! and decoded as that provider would: what arrives is what was said. Answers take the same way back, streamed and whole. What a dialect cannot
//! carry stands in `carried.txt`, a line for each conversation and dialect, which a test makes (`UPDATE_GOLDEN=1` writes it: read the difference):
//! a refusal that names the field, or what is lost and by which names that is told. A loss that nobody is told of fails, and a pair can lose no
//! more than its two dialects do.

pub(crate) mod answers;
pub(crate) mod ask;
pub(crate) mod lines;
mod requests;

use super::tell::CLIENTS;
use crate::canon::DialectName;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// What providers speak.
const PROVIDERS: [DialectName; 5] = [
    DialectName::Chat,
    DialectName::Messages,
    DialectName::Responses,
    DialectName::Gemini,
    DialectName::Converse,
];

/// What becomes of a conversation, or an answer, in one dialect.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    /// Refused, with the field at fault.
    Refused(String),
    Arrives {
        /// Lines that did not come back.
        lost: Vec<String>,
        /// Lines that came back and were not said: what stands for something lost, or a default.
        came: Vec<String>,
        /// By what names a loss is told.
        told: Vec<String>,
    },
}

impl Fate {
    fn of(said: &[String], back: &[String], told: Vec<String>) -> Self {
        let without = |from: &[String], all: &[String]| {
            let mut left = all.to_vec();
            let mut rest = Vec::new();
            for line in from {
                match left.iter().position(|l| l == line) {
                    Some(at) => drop(left.remove(at)),
                    None => rest.push(line.clone()),
                }
            }
            rest
        };
        Self::Arrives {
            lost: without(said, back),
            came: without(back, said),
            told,
        }
    }

    /// Something is lost, nothing stands in its place, and nobody is told.
    fn is_silent(&self) -> bool {
        matches!(self, Self::Arrives { lost, came, told } if came.len() < lost.len() && told.is_empty())
    }
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(field) => write!(f, "refused at {field}"),
            Self::Arrives { lost, came, told } => {
                let mut parts = Vec::new();
                for (word, list) in [("loses", lost), ("brings", came), ("tells", told)] {
                    if !list.is_empty() {
                        parts.push(format!("{word} {}", list.join(" + ")));
                    }
                }
                f.write_str(if parts.is_empty() { "same" } else { "" })?;
                f.write_str(&parts.join("; "))
            }
        }
    }
}

/// By kind (`request`, `stream`, `whole`), what was said and dialect.
type Fates = BTreeMap<(&'static str, &'static str, &'static str), Fate>;

/// Losses of which nobody is told, and why that is right.
const SILENT: &[(&str, &str, &str, &str)] = &[
    (
        "request",
        "no tool",
        "converse",
        "has no word for none: who may call nothing is told of no tool",
    ),
    (
        "request",
        "signed thinking",
        "gemini",
        "its models decide themselves how much; the effort arrives",
    ),
    (
        "stream",
        "cut by a sequence",
        "chat",
        "has one word for every good end",
    ),
    (
        "whole",
        "cut by a sequence",
        "chat",
        "has one word for every good end",
    ),
    (
        "stream",
        "cut by a sequence",
        "gemini",
        "has one word for every good end",
    ),
    (
        "whole",
        "cut by a sequence",
        "gemini",
        "has one word for every good end",
    ),
    (
        "stream",
        "cut by a sequence",
        "responses",
        "has one word for every good end",
    ),
    (
        "whole",
        "cut by a sequence",
        "responses",
        "has one word for every good end",
    ),
    (
        "stream",
        "refusal",
        "gemini",
        "a refusal is a filter's there, and its words are text",
    ),
    (
        "whole",
        "refusal",
        "gemini",
        "a refusal is a filter's there, and its words are text",
    ),
];

#[test]
fn what_each_dialect_carries_is_what_its_table_says() {
    let mut fates = Fates::new();
    requests::fates(&mut fates);
    answers::fates(&mut fates);
    let mut text = String::new();
    for ((kind, name, dialect), fate) in &fates {
        let fate = fate.to_string().replace('\n', "\\n");
        writeln!(text, "{kind} | {name} | {dialect} | {fate}").expect("a String takes all");
    }
    let path = Path::new(file!()).with_file_name("carried.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the folder can be written");
        return;
    }
    let kept = include_str!("carried.txt");
    for (kept, now) in kept.lines().zip(text.lines()) {
        assert_eq!(kept, now);
    }
    assert_eq!(kept.lines().count(), text.lines().count());
}

#[test]
fn no_loss_is_silent_but_those_that_change_nothing() {
    let mut fates = Fates::new();
    requests::fates(&mut fates);
    answers::fates(&mut fates);
    let known = |key: &(&str, &str, &str)| {
        let same = |s: &(&str, &str, &str, &str)| (s.0, s.1, s.2) == *key && !s.3.is_empty();
        SILENT.iter().any(same)
    };
    // No client speaks Converse, so nobody is there to be told of what its answers lack.
    let answers = |key: &(&str, &str, &str)| key.0 != "request" && key.2 == "converse";
    for (key, fate) in fates.iter().filter(|(key, _)| !answers(key)) {
        assert!(!fate.is_silent() || known(key), "{key:?}: {fate}");
    }
}
