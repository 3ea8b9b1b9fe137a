//! The file and those it includes → one tree → `Config`.
//!
//! Files and environment come as functions, so that this room stays free of I/O. A file included twice, even by itself, is refused.

use crate::config::Config;
use crate::config::env::{Env, substitute};
use crate::config::problem::{Place, Problem, Problems};
use crate::config::raw;
use crate::config::read;
use crate::config::resolve::{self, Resolving};
use crate::config::secret::{Outside, ReadFile};
use crate::config::yaml::{self, Entry, Node, NodeKind};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// A configuration without a problem.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// The first file, for reading it again.
    pub root: PathBuf,
    /// Every file read, the first one first.
    pub files: Vec<String>,
    /// What is right but worth knowing: keys left out, providers not used.
    pub notes: Vec<String>,
}

/// Reads the configuration at `root` and all it includes.
///
/// `read` gives a file's text (an error of kind `InvalidData` for what is not UTF-8), `env` a variable of the environment, `cores`
/// the cores of the machine, for `shards: auto`. Errors are every problem there is, by file and line.
pub fn load(
    root: &str,
    read: ReadFile<'_>,
    env: Env<'_>,
    cores: usize,
) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Problems::default();
    let outside = Outside {
        read,
        env,
        data_dir: resolve::DATA_DIR,
    };
    let tree = gather(root, outside, &mut problems);
    let files = problems.files.clone();
    let mut notes = Vec::new();
    let raw = read::read(&tree, &mut problems, raw::config);
    let config = raw.map(|raw| {
        let data_dir = raw.data_dir.as_ref().map(|d| d.value.clone());
        let outside = Outside {
            data_dir: data_dir.as_deref().unwrap_or(resolve::DATA_DIR),
            ..outside
        };
        let mut resolving = Resolving {
            problems: &mut problems,
            notes: &mut notes,
            outside,
            cores,
        };
        resolve::resolve(raw, &mut resolving)
    });
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded {
            config,
            root: PathBuf::from(root),
            files,
            notes,
        }),
        _ => Err(problems.sorted()),
    }
}

/// The configuration that `yaml` describes, as a file of its own without an environment, on a machine of 4 cores.
///
/// # Panics
/// With every problem, if there is one: it is for tests, also those outside this crate.
#[must_use]
pub fn parse_for_tests(yaml: &str) -> Config {
    let read = |path: &Path| match path.to_str() {
        Some("test.yaml") => Ok(yaml.to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    match load("test.yaml", &read, &|_| None, 4) {
        Ok(loaded) => loaded.config,
        Err(problems) => {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("not a configuration:\n{}", told.join("\n"))
        }
    }
}

/// Every field a configuration can have, as `providers.pools.id`.
#[must_use]
pub fn fields() -> Vec<String> {
    read::outline(raw::config)
        .into_iter()
        .map(|(path, _)| path)
        .collect()
}

/// A file still to be read, and where it was named.
struct Wanted {
    path: PathBuf,
    by: Option<Place>,
}

/// Reads all files, the including before the included, and merges them into one section.
fn gather(root: &str, outside: Outside<'_>, problems: &mut Problems) -> Node {
    let mut merged = Vec::new();
    let mut seen: BTreeMap<PathBuf, Option<Place>> = BTreeMap::new();
    // Last in, first out: the first included file is read next, with all it includes.
    let mut wanted = vec![Wanted {
        path: PathBuf::from(root),
        by: None,
    }];
    while let Some(next) = wanted.pop() {
        let plain = plain(&next.path);
        if let Some(first) = seen.get(&plain) {
            let right = match first {
                Some(first) => format!("the other is at {}: keep one", problems.name_of(*first)),
                None => "it is where reading began: remove this".to_owned(),
            };
            let what = format!("{} is included twice", next.path.display());
            problems.add(next.by.unwrap_or_default(), what, right);
            continue;
        }
        seen.insert(plain, next.by);
        if seen.len() > FILES_MAX {
            problems.add(
                next.by.unwrap_or_default(),
                "over 256 files",
                "fewer, larger ones",
            );
            break;
        }
        let Some(tree) = one(&next, outside, problems) else {
            continue;
        };
        let mut includes = includes(&tree, &next.path);
        includes.reverse();
        wanted.append(&mut includes);
        merge(&mut merged, tree, problems);
    }
    Node {
        place: Place::default(),
        kind: NodeKind::Map(merged),
    }
}

fn one(wanted: &Wanted, outside: Outside<'_>, problems: &mut Problems) -> Option<Node> {
    let text = match (outside.read)(&wanted.path) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("cannot read {}: {error}", wanted.path.display());
            let right =
                "a file this user may read, in UTF-8; a path in `include:` is relative to its file";
            // Where nothing was read yet, the file itself is the place.
            if problems.files.is_empty() {
                problems.files.push(wanted.path.display().to_string());
            }
            problems.add(wanted.by.unwrap_or_default(), what, right);
            return None;
        }
    };
    let file = u16::try_from(problems.files.len()).unwrap_or(u16::MAX);
    problems.files.push(wanted.path.display().to_string());
    let mut tree = yaml::parse(&text, file, problems)?;
    listed(&mut tree);
    substitute(&mut tree, outside.env, problems);
    if !matches!(tree.kind, NodeKind::Map(_) | NodeKind::Null) {
        let what = format!("the file is {}", tree.noun());
        problems.add(tree.place, what, "a section: `field: value`");
        return None;
    }
    Some(tree)
}

/// `include: a.yaml` as a list, so that the includes of several files append.
fn listed(tree: &mut Node) {
    let NodeKind::Map(entries) = &mut tree.kind else {
        return;
    };
    for entry in entries.iter_mut().filter(|e| e.key == "include") {
        if matches!(entry.value.kind, NodeKind::Scalar(_)) {
            let place = entry.value.place;
            let alone = std::mem::replace(
                &mut entry.value,
                Node {
                    place,
                    kind: NodeKind::Null,
                },
            );
            entry.value.kind = NodeKind::List(vec![alone]);
        }
    }
}

/// The files that `tree`, read from `path`, includes. A wrong type is told when the whole is read.
fn includes(tree: &Node, path: &Path) -> Vec<Wanted> {
    let NodeKind::Map(entries) = &tree.kind else {
        return Vec::new();
    };
    let Some(entry) = entries.iter().find(|e| e.key == "include") else {
        return Vec::new();
    };
    let items = match &entry.value.kind {
        NodeKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    let beside = path.parent().unwrap_or(Path::new(""));
    let wanted = |node: &Node| match &node.kind {
        NodeKind::Scalar(s) => Some(Wanted {
            path: beside.join(&s.text),
            by: Some(node.place),
        }),
        _ => None,
    };
    items.iter().filter_map(wanted).collect()
}

/// Adds what `tree` says: lists append, sections merge, anything else may be said once.
fn merge(into: &mut Vec<Entry>, tree: Node, problems: &mut Problems) {
    let NodeKind::Map(entries) = tree.kind else {
        return;
    };
    for entry in entries {
        let Some(there) = into.iter_mut().find(|e| e.key == entry.key) else {
            into.push(entry);
            continue;
        };
        match (&mut there.value.kind, entry.value.kind) {
            (_, NodeKind::Null) => {}
            (NodeKind::List(items), NodeKind::List(more)) => items.extend(more),
            (NodeKind::Map(fields), kind @ NodeKind::Map(_)) => {
                let node = Node {
                    place: entry.value.place,
                    kind,
                };
                merge(fields, node, problems);
            }
            (NodeKind::Null, kind) => {
                there.place = entry.place;
                there.value = Node {
                    place: entry.value.place,
                    kind,
                };
            }
            _ => {
                let what = format!("field {:?} is in two files", entry.key);
                let right = format!(
                    "the other is at {}: keep one",
                    problems.name_of(there.place)
                );
                problems.add(entry.place, what, right);
            }
        }
    }
}

/// The path without `.` and `a/..`, so that two ways of writing one file are seen as one. Links are not followed: that would be I/O.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some() => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

const FILES_MAX: usize = 256;
