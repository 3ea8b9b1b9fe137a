//! `${NAME}` and `${NAME:-default}` within values, never within keys.
//!
//! In `headers:` and `query:` of a provider `${secret}` is left as it is: there it stands for the key in use.
//!
//! `$$` is a dollar sign; any other `$` stands for itself. What comes from the environment is not looked into again.

use crate::config::problem::{Place, Problems};
use crate::config::yaml::{Node, NodeKind, Scalar};

/// Looks up a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Puts variables into every value of the tree.
pub fn substitute(node: &mut Node, env: Env<'_>, problems: &mut Problems) {
    within(node, false, env, problems);
}

/// `templates`: this is where `${secret}` stands for a key.
fn within(node: &mut Node, templates: bool, env: Env<'_>, problems: &mut Problems) {
    let place = node.place;
    match &mut node.kind {
        NodeKind::Null => {}
        NodeKind::Scalar(scalar) => {
            if scalar.text.contains('$') {
                let env = |name: &str| match name {
                    "secret" if templates => Some("${secret}".to_owned()),
                    _ => env(name),
                };
                fill(scalar, place, &env, problems);
            }
        }
        NodeKind::List(items) => {
            for item in items {
                within(item, templates, env, problems);
            }
        }
        NodeKind::Map(entries) => {
            for entry in entries {
                let templates = templates || TEMPLATES.contains(&entry.key.as_str());
                within(&mut entry.value, templates, env, problems);
            }
        }
    }
}

const TEMPLATES: [&str; 2] = ["headers", "query"];

fn fill(scalar: &mut Scalar, place: Place, env: Env<'_>, problems: &mut Problems) {
    let mut out = String::new();
    let mut rest = scalar.text.as_str();
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(tail) = after.strip_prefix('{') {
            let Some(end) = tail.find('}') else {
                problems.add(place, "`${` without its `}`", "write `${NAME}` or `$$`");
                return;
            };
            variable(&tail[..end], place, env, &mut out, problems);
            rest = &tail[end + 1..];
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    scalar.written = Some(std::mem::replace(&mut scalar.text, out));
}

fn variable(inner: &str, place: Place, env: Env<'_>, out: &mut String, problems: &mut Problems) {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_name(name) {
        let right = "letters, digits and `_`, not a digit first";
        problems.add(place, "not a name of a variable", right);
        return;
    }
    // As in a shell, `:-` stands in for an empty variable as well as for a missing one.
    let found = env(name).filter(|v| default.is_none() || !v.is_empty());
    match (found.as_deref(), default) {
        (Some(value), _) | (None, Some(value)) => out.push_str(value),
        (None, None) => {
            let right = format!("set it, or write ${{{name}:-default}}");
            problems.add(place, format!("variable {name} is not set"), right);
        }
    }
}

/// True for what a shell takes as a variable's name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
}
