//! A call whose arguments come in pieces, as Vertex sends them where that is asked for: gathered until it is whole.
//!
//! Each piece names its place by a path of RFC 9535 (`$.foo.bar[0]`), and several pieces may belong to one string. A place that cannot be
//! is passed over, since the provider's word for the end still comes.

use crate::base::Str;
use crate::protocol::dialect::gemini::schema::{FunctionCall, PartialArg, some_text, text};
use serde_json::{Map, Value};

/// The call under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub id: Option<Str>,
    pub name: Str,
    pub signature: Option<Str>,
    arguments: Value,
}

impl Pending {
    /// Begins one, with what arguments it brings.
    pub(super) fn new(call: &FunctionCall<'_>, name: Str, body: &Str) -> Self {
        let given = call.args.and_then(|r| serde_json::from_str(r.get()).ok());
        Self {
            id: some_text(body, call.id),
            name,
            signature: None,
            arguments: given.unwrap_or_else(|| Value::Object(Map::new())),
        }
    }

    pub(super) fn feed(&mut self, call: &FunctionCall<'_>, body: &Str) {
        for piece in call.partial_args.iter().flatten() {
            if let Some(path) = some_text(body, piece.json_path) {
                self.place(&path, piece, body);
            }
        }
    }

    fn place(&mut self, path: &str, piece: &PartialArg<'_>, body: &Str) {
        let Some(at) = steps(path).and_then(|steps| walk(&mut self.arguments, &steps)) else {
            return;
        };
        let value = |raw: &serde_json::value::RawValue| serde_json::from_str(raw.get()).ok();
        if let Some(more) = text(body, piece.string_value) {
            match at {
                Value::String(said) => said.push_str(&more),
                other => *other = Value::String(more.to_string()),
            }
        } else if let Some(given) = piece.number_value.or(piece.bool_value).and_then(value) {
            *at = given;
        } else if piece.null_value.is_some() {
            *at = Value::Null;
        }
    }

    /// The arguments as JSON text.
    pub(super) fn text(&self) -> Str {
        Str::from(self.arguments.to_string())
    }
}

enum Step<'p> {
    Name(&'p str),
    Index(usize),
}

// More is no argument list of a function.
const STEPS_MAX: usize = 64;

/// `$.a['b'][0]` → a, b, 0. `None` for what is no such path.
fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == STEPS_MAX {
            return None;
        }
        let (step, after) = if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            (Step::Name(&after[..end]), &after[end..])
        } else {
            bracketed(rest.strip_prefix('[')?)?
        };
        steps.push(step);
        rest = after;
    }
    Some(steps)
}

/// What stands within brackets, and what follows them.
fn bracketed(inside: &str) -> Option<(Step<'_>, &str)> {
    for quote in ["'", "\""] {
        if let Some(name) = inside.strip_prefix(quote) {
            let end = name.find(quote)?;
            return Some((Step::Name(&name[..end]), name[end + 1..].strip_prefix(']')?));
        }
    }
    let (index, after) = inside.split_once(']')?;
    Some((Step::Index(index.parse().ok()?), after))
}

/// The place at the end of `steps`, made where it is not there yet. Lists grow by one at a time.
fn walk<'v>(root: &'v mut Value, steps: &[Step<'_>]) -> Option<&'v mut Value> {
    let mut at = root;
    for step in steps {
        at = match step {
            Step::Name(name) => {
                if at.is_null() {
                    *at = Value::Object(Map::new());
                }
                at.as_object_mut()?.entry(*name).or_insert(Value::Null)
            }
            Step::Index(index) => {
                if at.is_null() {
                    *at = Value::Array(Vec::new());
                }
                let list = at.as_array_mut()?;
                if *index == list.len() {
                    list.push(Value::Null);
                }
                list.get_mut(*index)?
            }
        };
    }
    Some(at)
}
