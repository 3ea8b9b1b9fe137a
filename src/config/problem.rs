//! Where in which file, what is wrong, what would be right.
//!
//! Problems are collected, never thrown: an operator mends all of them in one go. Their texts hold no value of a secret and none
//! that came from the environment (`Node::shown`).

use std::fmt;

/// A place in one of the files read. Lines and columns count from 1; line 0 is the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Position in the list of files read.
    pub file: u16,
    pub line: u32,
    pub column: u32,
}

/// Something the operator has to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub what: String,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for Problem {
    /// `config/stokehold.yaml:3:5: unknown field "listn" in server: did you mean "listen"?`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}: {}", self.what, self.right)
    }
}

/// What has been found so far, and the names of the files it was found in.
#[derive(Debug, Default)]
pub struct Problems {
    pub files: Vec<String>,
    found: Vec<(Place, String, String)>,
}

impl Problems {
    /// Notes what is wrong at `place` and what would be right. Beyond a bound only the first are kept: a file of nothing but
    /// errors is told well enough by a thousand of them.
    pub fn add(&mut self, place: Place, what: impl Into<String>, right: impl Into<String>) {
        if self.found.len() < PROBLEMS_MAX {
            self.found.push((place, what.into(), right.into()));
        }
    }

    /// So far; a reader that must know whether what it called had a problem compares.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// `dev.yaml:3`, for texts that name a second place.
    #[must_use]
    pub fn name_of(&self, place: Place) -> String {
        format!("{}:{}", self.file(place), place.line)
    }

    fn file(&self, place: Place) -> &str {
        self.files
            .get(usize::from(place.file))
            .map_or("configuration", String::as_str)
    }

    /// All of them in the order of files, lines and columns.
    #[must_use]
    pub fn sorted(mut self) -> Vec<Problem> {
        let mut found = std::mem::take(&mut self.found);
        found.sort();
        found.dedup();
        let told = |(place, what, right): (Place, String, String)| Problem {
            file: self.file(place).to_owned(),
            line: place.line,
            column: place.column,
            what,
            right,
        };
        found.into_iter().map(told).collect()
    }
}

/// `; did you mean "x"?` where one of `known` is near, and the list of them.
#[must_use]
pub fn suggestion(word: &str, known: &[&str]) -> String {
    let list = known.join(", ");
    match nearest(word, known) {
        Some(near) => format!("did you mean \"{near}\"? known: {list}"),
        None => format!("known: {list}"),
    }
}

/// The one of `known` with the fewest edits from `word`, if these are at most a third of its letters (and two at least).
#[must_use]
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // An edit distance costs the product of the lengths; nobody means a known name by a word this long.
    if word.len() > 64 {
        return None;
    }
    known
        .iter()
        .map(|k| (edits(word, k), *k))
        .filter(|(d, k)| *d <= (k.chars().count() / 3).max(2) && *d < k.chars().count())
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Letters to insert, remove or replace to make `b` of `a` (Levenshtein), one row of the table at a time.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

const PROBLEMS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_none() {
        let known = ["listen", "operator", "shards", "tls"];
        assert_eq!(nearest("listn", &known), Some("listen"));
        assert_eq!(nearest("operater", &known), Some("operator"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("x", &known), None);
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", "abc"), 0);
    }
}
