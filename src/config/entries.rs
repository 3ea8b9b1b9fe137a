//! Rules by kind of provider, as lists of entries that are laid over each other: those that are built in, then those of the configuration.

use crate::config::problem::Problems;
use crate::config::raw::{self, RawConfig};
use crate::config::read::{self, At};
use crate::config::{providers, value, yaml};
use crate::policy::capacity::of_class;
use crate::protocol::provider::ProviderKind;

/// What every entry says of itself.
pub struct Said<'a> {
    pub kind: Option<&'a At<String>>,
    pub source: Option<&'a At<String>>,
    pub read: Option<&'a At<String>>,
}

/// The entries of the file `shipped`, then `own`, each with its kind of provider; those of kinds that nobody knows are told and left out.
pub fn all<E>(
    shipped: &str,
    section: impl FnOnce(RawConfig) -> Vec<E>,
    own: Vec<E>,
    said: impl Fn(&E) -> Said<'_>,
    problems: &mut Problems,
) -> Vec<(ProviderKind, E)> {
    let mut named = Vec::new();
    // A test of each file finds no problem in it.
    let mut unseen = Problems::default();
    for entry in raw_of(shipped, &mut unseen).map_or_else(Vec::new, section) {
        let kind = said(&entry).kind;
        if let Some(kind) = kind.and_then(|k| providers::kind(k, &mut unseen)) {
            named.push((kind, entry));
        }
    }
    for entry in own {
        check(&said(&entry), problems);
        let kind = said(&entry).kind;
        if let Some(kind) = kind.and_then(|k| providers::kind(k, problems)) {
            named.push((kind, entry));
        }
    }
    named
}

/// A file that is built in, as written.
pub fn raw_of(shipped: &str, problems: &mut Problems) -> Option<RawConfig> {
    let tree = yaml::parse(shipped, 0, problems)?;
    read::read(&tree, problems, raw::config)
}

/// Whether an entry is of a model: its patterns name it, or it has none.
pub fn names(patterns: Option<&[At<String>]>, model: &str) -> bool {
    patterns.is_none_or(|patterns| patterns.iter().any(|p| of_class(&p.value, model)))
}

/// Whether it can be told where an entry is from.
pub fn check(said: &Said<'_>, problems: &mut Problems) {
    if let Some(read) = said.read
        && value::day(&read.value).is_none()
    {
        let right = "the day the source was read, such as 2026-11-23";
        problems.add(read.place, "not a day", right);
    }
    if let Some(source) = said.source
        && source.value.trim().is_empty()
    {
        let right = "where it can be read again";
        problems.add(source.place, "a rule without its source", right);
    }
}

/// What an entry says over what those before it said.
pub fn set<T: Copy>(to: &mut T, from: &Option<At<T>>) {
    if let Some(from) = from {
        *to = from.value;
    }
}
