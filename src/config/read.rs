//! A section of the tree, read field by field.
//!
//! A reader asks for each field it knows by name and kind; what is left over is unknown. So the readers are the only list of fields:
//! run over nothing with `outline`, they tell every knob there is, which is what the tests walk.

use crate::base::{ByteCount, NanoUsd, TokenPrice, Tokens};
use crate::config::problem::{Place, Problems, suggestion};
use crate::config::value;
use crate::config::yaml::{Entry, Node, NodeKind, Scalar};
use std::collections::BTreeMap;
use std::time::Duration;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
}

impl<T> At<T> {
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At {
            value: f(self.value),
            place: self.place,
        }
    }
}

/// What a field holds, for the outline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    Text,
    Secret,
    Bool,
    Count,
    Number,
    Duration,
    Size,
    Usd,
    Price,
    Word,
    Texts,
    Pairs,
    Section,
    List,
}

/// What all readers share: the problems so far, and the outline if one is drawn.
pub struct Reading<'p> {
    pub problems: &'p mut Problems,
    outline: Option<Vec<(String, Shape)>>,
}

/// Every field that `section` knows, as `providers.pools.id`, sections before what is in them.
pub fn outline<R>(section: fn(&mut Fields<'_, '_, '_>) -> R) -> Vec<(String, Shape)> {
    let mut problems = Problems::default();
    let mut reading = Reading {
        problems: &mut problems,
        outline: Some(Vec::new()),
    };
    let mut fields = Fields::new(&mut reading, Place::default(), &[], String::new());
    section(&mut fields);
    reading.outline.unwrap_or_default()
}

/// Reads the whole tree by `section`.
pub fn read<R>(
    root: &Node,
    problems: &mut Problems,
    section: fn(&mut Fields<'_, '_, '_>) -> R,
) -> Option<R> {
    let mut reading = Reading {
        problems,
        outline: None,
    };
    enter(&mut reading, root, String::new(), section)
}

/// The fields of one section.
pub struct Fields<'r, 'p, 'n> {
    reading: &'r mut Reading<'p>,
    pub place: Place,
    entries: &'n [Entry],
    known: Vec<&'static str>,
    path: String,
}

fn enter<R>(
    reading: &mut Reading<'_>,
    node: &Node,
    path: String,
    section: fn(&mut Fields<'_, '_, '_>) -> R,
) -> Option<R> {
    let NodeKind::Map(entries) = &node.kind else {
        let what = format!("{} is {}", named(&path), node.noun());
        reading
            .problems
            .add(node.place, what, "a section: `field: value`");
        return None;
    };
    let mut fields = Fields::new(reading, node.place, entries, path);
    let raw = section(&mut fields);
    fields.leftovers();
    Some(raw)
}

impl<'r, 'p, 'n> Fields<'r, 'p, 'n> {
    fn new(reading: &'r mut Reading<'p>, place: Place, entries: &'n [Entry], path: String) -> Self {
        Self {
            reading,
            place,
            entries,
            known: Vec::new(),
            path,
        }
    }

    pub fn text(&mut self, name: &'static str) -> Option<At<String>> {
        let scalar = self.scalar(name, Shape::Text, "a text")?;
        Some(scalar.map(|s| s.text.clone()))
    }

    /// As `text`, but no problem ever shows its value.
    pub fn secret(&mut self, name: &'static str) -> Option<At<String>> {
        let scalar = self.scalar(name, Shape::Secret, "a text")?;
        Some(scalar.map(|s| s.text.clone()))
    }

    pub fn bool(&mut self, name: &'static str) -> Option<At<bool>> {
        self.parsed(name, Shape::Bool, "`true` or `false`", value::bool)
    }

    /// Whole numbers of `low` to `high`.
    pub fn count(&mut self, name: &'static str, low: u64, high: u64) -> Option<At<u64>> {
        let right = format!("a whole number from {low} to {high}, such as 1_000");
        self.parsed(name, Shape::Count, &right, |s| value::count(s, low, high))
    }

    pub fn tokens(&mut self, name: &'static str) -> Option<At<Tokens>> {
        Some(self.count(name, 0, TOKENS_MAX)?.map(Tokens))
    }

    pub fn number(&mut self, name: &'static str, low: f64, high: f64) -> Option<At<f64>> {
        let right = format!("a number from {low} to {high}");
        self.parsed(name, Shape::Number, &right, |s| value::number(s, low, high))
    }

    /// Times of `low` to `high`.
    pub fn duration(
        &mut self,
        name: &'static str,
        low: Duration,
        high: Duration,
    ) -> Option<At<Duration>> {
        let (l, h) = (value::show_duration(low), value::show_duration(high));
        let right = format!("a time from {l} to {h}, such as 250ms, 30s, 5m or 1h");
        self.parsed(name, Shape::Duration, &right, |s| {
            value::duration(s).filter(|d| (low..=high).contains(d))
        })
    }

    pub fn size(&mut self, name: &'static str, low: u64, high: u64) -> Option<At<ByteCount>> {
        let (l, h) = (value::show_size(low), value::show_size(high));
        let right = format!("a size from {l} to {h}, such as 64KiB or 32MiB");
        self.parsed(name, Shape::Size, &right, |s| {
            value::size(s).filter(|b| (low..=high).contains(&b.0))
        })
    }

    pub fn usd(&mut self, name: &'static str) -> Option<At<NanoUsd>> {
        self.parsed(name, Shape::Usd, "dollars, such as 50 or 0.01", |s| {
            value::number(s, 0.0, 1e9).and_then(NanoUsd::of_usd)
        })
    }

    pub fn price(&mut self, name: &'static str) -> Option<At<TokenPrice>> {
        let right = "dollars per million tokens, such as 3 or 0.075";
        self.parsed(name, Shape::Price, right, |s| {
            value::number(s, 0.0, 1e6).and_then(TokenPrice::of_usd_per_million)
        })
    }

    /// One of a closed set of words.
    pub fn word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<At<T>> {
        let known: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
        let scalar = self.scalar(name, Shape::Word, &known.join(" | "))?;
        let found = words.iter().find(|(w, _)| *w == scalar.value.text);
        if found.is_none() {
            let shown = self.shown(name);
            let what = format!("{} is {shown}", self.full(name));
            let right = suggestion(&scalar.value.text, &known);
            self.reading.problems.add(scalar.place, what, right);
        }
        found.map(|(_, t)| At {
            value: *t,
            place: scalar.place,
        })
    }

    /// A list of texts, or one text alone.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<At<String>>> {
        let node = self.take(name, Shape::Texts)?;
        let items = match &node.kind {
            NodeKind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match &item.kind {
                NodeKind::Scalar(s) => texts.push(At {
                    value: s.text.clone(),
                    place: item.place,
                }),
                _ => self.mistyped(name, item, "a text or a list of texts"),
            }
        }
        Some(texts)
    }

    /// Free names with a text each, in the order of the file; no problem shows their values.
    pub fn pairs(&mut self, name: &'static str) -> Option<Vec<(At<String>, At<String>)>> {
        let node = self.take(name, Shape::Pairs)?;
        let NodeKind::Map(entries) = &node.kind else {
            self.mistyped(name, node, "a section of `name: text`");
            return None;
        };
        let mut pairs = Vec::with_capacity(entries.len());
        for entry in entries {
            let NodeKind::Scalar(s) = &entry.value.kind else {
                self.mistyped(name, &entry.value, "a section of `name: text`");
                continue;
            };
            let key = At {
                value: entry.key.clone(),
                place: entry.place,
            };
            pairs.push((
                key,
                At {
                    value: s.text.clone(),
                    place: entry.value.place,
                },
            ));
        }
        Some(pairs)
    }

    pub fn section<R>(
        &mut self,
        name: &'static str,
        section: fn(&mut Fields<'_, '_, '_>) -> R,
    ) -> Option<R> {
        let path = self.full(name);
        match self.take(name, Shape::Section) {
            Some(node) => enter(self.reading, node, path, section),
            None => self.draw(path, section),
        }
    }

    /// A list of sections; without it, no item.
    pub fn list<R>(
        &mut self,
        name: &'static str,
        section: fn(&mut Fields<'_, '_, '_>) -> R,
    ) -> Vec<R> {
        let path = self.full(name);
        let Some(node) = self.take(name, Shape::List) else {
            self.draw(path, section);
            return Vec::new();
        };
        let NodeKind::List(items) = &node.kind else {
            self.mistyped(name, node, "a list: `- field: value`");
            return Vec::new();
        };
        items
            .iter()
            .filter_map(|item| enter(self.reading, item, path.clone(), section))
            .collect()
    }

    /// True where the field stands in the file, even with nothing in it.
    #[must_use]
    pub fn is_written(&self, name: &str) -> bool {
        self.entries.iter().any(|e| e.key == name)
    }

    /// Notes a problem with the section as a whole.
    pub fn problem(&mut self, what: impl Into<String>, right: &str) {
        if self.reading.outline.is_none() {
            self.reading.problems.add(self.place, what, right);
        }
    }

    /// `value` if it is there; else the problem that it is missing.
    pub fn required<T>(&mut self, name: &'static str, value: Option<At<T>>) -> Option<At<T>> {
        // A field that is there but wrong has been told already.
        if value.is_none()
            && !self
                .entries
                .iter()
                .any(|e| e.key == name && !is_null(&e.value))
        {
            let section = named(&self.path);
            self.problem(format!("{section} has no {name}"), "add it");
        }
        value
    }

    /// In an outline, goes into a section that is not written.
    fn draw<R>(&mut self, path: String, section: fn(&mut Fields<'_, '_, '_>) -> R) -> Option<R> {
        if self.reading.outline.is_some() {
            section(&mut Fields::new(self.reading, self.place, &[], path));
        }
        None
    }

    fn parsed<T>(
        &mut self,
        name: &'static str,
        shape: Shape,
        right: &str,
        parse: impl Fn(&Scalar) -> Option<T>,
    ) -> Option<At<T>> {
        let scalar = self.scalar(name, shape, right)?;
        let Some(value) = parse(scalar.value) else {
            let what = format!("{} is {}", self.full(name), self.shown(name));
            self.reading.problems.add(scalar.place, what, right);
            return None;
        };
        Some(At {
            value,
            place: scalar.place,
        })
    }

    fn scalar(&mut self, name: &'static str, shape: Shape, right: &str) -> Option<At<&'n Scalar>> {
        let node = self.take(name, shape)?;
        match &node.kind {
            NodeKind::Scalar(s) => Some(At {
                value: s,
                place: node.place,
            }),
            _ => {
                self.mistyped(name, node, right);
                None
            }
        }
    }

    /// The field's value if it is written and not null, which is the same as left out.
    fn take(&mut self, name: &'static str, shape: Shape) -> Option<&'n Node> {
        self.known.push(name);
        let full = self.full(name);
        if let Some(outline) = &mut self.reading.outline {
            outline.push((full, shape));
        }
        let entry = self.entries.iter().find(|e| e.key == name)?;
        (!is_null(&entry.value)).then_some(&entry.value)
    }

    fn mistyped(&mut self, name: &str, node: &Node, right: &str) {
        let what = format!("{} is {}", self.full(name), node.noun());
        self.reading.problems.add(node.place, what, right);
    }

    fn shown(&self, name: &str) -> String {
        let entry = self.entries.iter().find(|e| e.key == name);
        entry.map_or_else(String::new, |e| e.value.shown())
    }

    fn full(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    fn leftovers(self) {
        for entry in self.entries {
            if !self.known.contains(&entry.key.as_str()) {
                let key: String = entry.key.chars().take(60).collect();
                let what = format!("unknown field {key:?} in {}", named(&self.path));
                let right = suggestion(&entry.key, &self.known);
                self.reading.problems.add(entry.place, what, right);
            }
        }
    }
}

/// Lower-case words and what they stand for.
pub type Words<T> = [(&'static str, T)];

/// Names to the place where each was first used, to find the second.
#[derive(Default)]
pub struct Names(BTreeMap<String, Place>);

impl Names {
    /// Takes `name`, or adds the problem that another has it.
    ///
    /// Names are shown in headers, logs and metrics, so they are visible letters, and not too many.
    pub fn claim(&mut self, what: &str, name: &At<String>, problems: &mut Problems) -> bool {
        let plain = name.value.bytes().all(|b| b.is_ascii_graphic());
        if !plain || !(1..=NAME_BYTES_MAX).contains(&name.value.len()) {
            let told = format!("not a name for a {what}");
            problems.add(
                name.place,
                told,
                "1 to 200 visible letters of ASCII, no blanks",
            );
            return false;
        }
        let Some(first) = self.0.get(&name.value) else {
            self.0.insert(name.value.clone(), name.place);
            return true;
        };
        let told = format!("{what} {:?} is there twice", name.value);
        let right = format!("the other is at {}: rename one", problems.name_of(*first));
        problems.add(name.place, told, right);
        false
    }
}

fn is_null(node: &Node) -> bool {
    matches!(node.kind, NodeKind::Null)
}

fn named(path: &str) -> &str {
    if path.is_empty() { "the file" } else { path }
}

const NAME_BYTES_MAX: usize = 200;
/// More than any window or any minute's limit, and far from where sums saturate.
pub const TOKENS_MAX: u64 = 1_000_000_000_000;
