//! YAML text → a tree whose every node knows its place.
//!
//! Deliberately a part of YAML: no anchors and aliases (a page of them can name gigabytes), no tags, one document, keys that are
//! words. Bounded by size, depth and count of nodes before anything is built.

use crate::config::problem::{Place, Problems};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// One node as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub place: Place,
    pub kind: NodeKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// Nothing, `~` or `null`.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file; keys are unique.
    Map(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// With variables put in.
    pub text: String,
    /// The text of the file, where variables were put in: what problems show, since a variable may hold a secret.
    pub written: Option<String>,
    /// True in quotes: then it is a text and nothing else.
    pub quoted: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

impl Node {
    /// `a list`, for problems.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match &self.kind {
            NodeKind::Null => "nothing",
            NodeKind::Scalar(_) => "a single value",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a section",
        }
    }

    /// What a problem may show of the value: as in the file, and shortened.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.kind {
            NodeKind::Scalar(s) => {
                let text = s.written.as_ref().unwrap_or(&s.text);
                let short: String = text.chars().take(SHOWN_MAX).collect();
                let more = if short.len() < text.len() { "…" } else { "" };
                format!("{:?}", format!("{short}{more}"))
            }
            _ => self.noun().to_owned(),
        }
    }
}

/// The tree of `text`, or `None` with at least one problem added.
pub fn parse(text: &str, file: u16, problems: &mut Problems) -> Option<Node> {
    if text.len() > FILE_BYTES_MAX {
        let at = Place {
            file,
            ..Place::default()
        };
        problems.add(at, "file is over 4 MiB", "split it by include");
        return None;
    }
    // The parser takes a NUL for the end of the file and would drop the rest without a word.
    if let Some(at) = text.find('\0') {
        let line = text[..at].matches('\n').count() + 1;
        let what = "a NUL character";
        problems.add(
            place(file, line, 0),
            what,
            "text, without control characters",
        );
        return None;
    }
    let mut builder = Builder::new(file, problems);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => match builder.event(event, span) {
                Step::On => {}
                Step::Stop => return None,
            },
            Err(error) => {
                let mark = *error.marker();
                let at = place(file, mark.line(), mark.col());
                builder.problems.add(
                    at,
                    format!("not YAML: {}", error.info()),
                    "mend the line or the one above it (spaces for indentation, no tabs)",
                );
                return None;
            }
        }
    }
    builder.finish()
}

enum Step {
    On,
    /// A bound was passed: nothing further is read of this file.
    Stop,
}

/// An open list or section.
struct Open {
    place: Place,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    /// With the key whose value is next.
    Map(Vec<Entry>, Option<(String, Place)>),
}

/// Builds the tree without recursion: depth costs a place on `open`.
struct Builder<'p> {
    file: u16,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
    problems: &'p mut Problems,
    bad: bool,
}

impl<'p> Builder<'p> {
    fn new(file: u16, problems: &'p mut Problems) -> Self {
        Self {
            file,
            open: Vec::new(),
            root: None,
            nodes: 0,
            documents: 0,
            problems,
            bad: false,
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Step {
        let at = place(self.file, span.start.line(), span.start.col());
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => return self.document(at),
            Event::Alias(_) => {
                self.refuse(at, "aliases are not read", "write the value again");
                return self.put(at, NodeKind::Null);
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.plain(at, anchor, tag.is_some());
                return self.put(at, scalar(&text, style));
            }
            Event::SequenceStart(anchor, tag) => {
                self.plain(at, anchor, tag.is_some());
                return self.opened(at, OpenKind::List(Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                self.plain(at, anchor, tag.is_some());
                return self.opened(at, OpenKind::Map(Vec::new(), None));
            }
            Event::SequenceEnd | Event::MappingEnd => return self.closed(),
        }
        Step::On
    }

    fn document(&mut self, at: Place) -> Step {
        self.documents += 1;
        if self.documents == 1 {
            return Step::On;
        }
        self.refuse(
            at,
            "a second document",
            "one file is one document: remove `---`",
        );
        Step::Stop
    }

    fn plain(&mut self, at: Place, anchor: usize, tagged: bool) {
        if anchor > 0 {
            self.refuse(at, "anchors are not read", "remove it");
        }
        if tagged {
            self.refuse(at, "tags are not read", "remove it");
        }
    }

    fn refuse(&mut self, at: Place, what: &str, right: &str) {
        self.problems.add(at, what, right);
        self.bad = true;
    }

    fn opened(&mut self, place: Place, kind: OpenKind) -> Step {
        if self.open.len() >= DEPTH_MAX {
            let what = format!("nested deeper than {DEPTH_MAX}");
            self.refuse(place, &what, "no section is nested that deep");
            return Step::Stop;
        }
        self.open.push(Open { place, kind });
        Step::On
    }

    fn closed(&mut self) -> Step {
        let Some(open) = self.open.pop() else {
            return Step::On;
        };
        let kind = match open.kind {
            OpenKind::List(items) => NodeKind::List(items),
            OpenKind::Map(entries, _) => NodeKind::Map(entries),
        };
        self.put(open.place, kind)
    }

    /// Gives a finished node to what is open around it.
    fn put(&mut self, place: Place, kind: NodeKind) -> Step {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            self.refuse(place, "over 200,000 values", "split the file by include");
            return Step::Stop;
        }
        let node = Node { place, kind };
        let Some(Open { kind, .. }) = self.open.last_mut() else {
            self.root = Some(node);
            return Step::On;
        };
        match kind {
            OpenKind::List(items) => items.push(node),
            OpenKind::Map(entries, _) if entries.len() >= FIELDS_MAX => {
                self.refuse(place, "over 1,000 fields in one section", "fewer");
                return Step::Stop;
            }
            OpenKind::Map(entries, key) => match key.take() {
                Some((name, at)) => entries.push(Entry {
                    key: name,
                    place: at,
                    value: node,
                }),
                None => match node.kind {
                    NodeKind::Scalar(s) => *key = Some((s.text, place)),
                    _ => {
                        // Its value still comes, and is dropped with the whole tree.
                        *key = Some((String::new(), place));
                        self.refuse(place, "a key that is not a word", "write a field's name");
                    }
                },
            },
        }
        Step::On
    }

    fn finish(mut self) -> Option<Node> {
        let empty = Node {
            place: place(self.file, 1, 0),
            kind: NodeKind::Map(Vec::new()),
        };
        let mut root = self.root.take().unwrap_or(empty);
        self.unique(&mut root);
        (!self.bad).then_some(root)
    }

    /// Refuses a key written twice in one section. Recursion is bounded by `DEPTH_MAX`.
    fn unique(&mut self, node: &mut Node) {
        match &mut node.kind {
            NodeKind::Null | NodeKind::Scalar(_) => {}
            NodeKind::List(items) => items.iter_mut().for_each(|n| self.unique(n)),
            NodeKind::Map(entries) => {
                let mut seen = std::collections::BTreeMap::new();
                let mut kept = Vec::with_capacity(entries.len());
                for mut entry in std::mem::take(entries) {
                    self.unique(&mut entry.value);
                    if let Some(first) = seen.insert(entry.key.clone(), entry.place) {
                        let what = format!("field {:?} written twice", entry.key);
                        let right =
                            format!("the other is at {}: keep one", self.problems.name_of(first));
                        self.problems.add(entry.place, what, right);
                    } else {
                        kept.push(entry);
                    }
                }
                *entries = kept;
            }
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> NodeKind {
    let quoted = !matches!(style, ScalarStyle::Plain);
    // The null of YAML's core schema.
    if !quoted && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return NodeKind::Null;
    }
    NodeKind::Scalar(Scalar {
        text: text.to_owned(),
        written: None,
        quoted,
    })
}

fn place(file: u16, line: usize, column: usize) -> Place {
    Place {
        file,
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1),
    }
}

const FILE_BYTES_MAX: usize = 4 << 20;
/// The deepest section of the schema is at 8; the rest is room.
const DEPTH_MAX: usize = 32;
/// Sections are searched field by field, so that what they cost grows with the square of this.
const FIELDS_MAX: usize = 1_000;
const NODES_MAX: usize = 200_000;
const SHOWN_MAX: usize = 60;
