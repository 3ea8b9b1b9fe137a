//! The client's bytes for a provider of the same dialect, with the few changes that must be.

use super::ruled::ruled;
use super::{Peek, envelope, ids};
use crate::canon::{DialectName, Fault};
use crate::protocol::dialect::{Dropped, Rules};
use bytes::Bytes;
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::ops::Range;

/// The body for a provider of the same dialect: the client's bytes, with the model's name replaced and, where the dialect must be asked
/// for it, usage switched on. At most a few slices; nothing of the content is copied. `peek` must be of this very `body`.
pub fn splice_request(
    dialect: DialectName,
    body: &Bytes,
    peek: &Peek,
    model: &str,
) -> Result<SmallVec<[Bytes; 4]>, Fault> {
    let (edits, _) = edits(dialect, body, peek, model)?;
    Ok(apply(body, edits))
}

/// As `splice_request`, with the model's rules applied and, where its provider wants another `shape`, in that: what `envelope` removes and
/// inserts. Beside the body comes what was left out or bounded by rule, as `write_request` tells it. `Err` names what the model does not take.
pub fn own_words(
    dialect: DialectName,
    body: &Bytes,
    peek: &Peek,
    model: &str,
    rules: &Rules,
    shape: Option<(&[&str], &str)>,
) -> Result<(SmallVec<[Bytes; 8]>, Dropped), Fault> {
    own_words_with(dialect, body, peek, model, (rules, Vec::new()), shape)
}

/// As `own_words`, with further edits of the body (`marks`), which overlap none of what rules and the model's name change: they stand behind
/// blocks, or ahead of all members.
pub fn own_words_with(
    dialect: DialectName,
    body: &Bytes,
    peek: &Peek,
    model: &str,
    (rules, further): (&Rules, Vec<Edit>),
    shape: Option<(&[&str], &str)>,
) -> Result<(SmallVec<[Bytes; 8]>, Dropped), Fault> {
    // Where the envelope takes the model's name out, nothing is written over it before.
    let unnamed = shape.is_some_and(|(remove, _)| remove.contains(&"model"));
    let model = if unnamed { &*peek.model } else { model };
    let (mut edits, unsigned) = edits(dialect, body, peek, model)?;
    let (ruled, mut told) = ruled(dialect, body, peek, rules)?;
    edits.extend(ruled);
    edits.extend(further);
    if unsigned {
        told.push("signature".to_owned());
    }
    // What is put in at a place comes before what is taken out from there on.
    edits.sort_by_key(|e| (e.at.start, e.at.end));
    let slices = apply(body, edits);
    let slices = match shape {
        None => slices.into_iter().collect(),
        Some((remove, insert)) => {
            let whole = match &slices[..] {
                [one] => one.clone(),
                several => several.concat().into(),
            };
            envelope(&whole, remove, insert)?
        }
    };
    Ok((slices, told))
}

/// What changes, by place; and whether a call's signature leaves with what was packed into its id.
fn edits(
    dialect: DialectName,
    body: &Bytes,
    peek: &Peek,
    model: &str,
) -> Result<(SmallVec<[Edit; 2]>, bool), Fault> {
    let mut edits: SmallVec<[Edit; 2]> = SmallVec::new();
    // Gemini's model and stream stand in the path, and usage always comes.
    if dialect != DialectName::Gemini && peek.model != model {
        let name = serde_json::to_string(model).expect("a string always serialises");
        edits.push(Edit {
            at: peek.model_at.clone(),
            with: name.into(),
        });
    }
    // OpenAI docs, Chat Completions streaming, read 2026-08: the usage chunk comes only when asked for; without it a stream has no price.
    let asks = matches!(dialect, DialectName::Chat | DialectName::Completions);
    if asks && peek.stream && !peek.stream_usage {
        edits.push(ask_usage(body, peek)?);
    }
    let mut unsigned = false;
    if peek.packed_ids {
        let (shorter, lost) = ids::shortened(body);
        edits.extend(shorter);
        unsigned = lost;
    }
    edits.sort_by_key(|e| e.at.start);
    Ok((edits, unsigned))
}

/// A change of a body: what stands at `at` gives way to `with`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub at: Range<usize>,
    pub with: Bytes,
}

impl Edit {
    #[must_use]
    pub fn insert(at: usize, with: impl Into<Bytes>) -> Self {
        Self {
            at: at..at,
            with: with.into(),
        }
    }
}

pub(super) fn apply(body: &Bytes, edits: SmallVec<[Edit; 2]>) -> SmallVec<[Bytes; 4]> {
    let mut slices = SmallVec::new();
    let mut done = 0;
    for edit in edits {
        if done < edit.at.start {
            slices.push(body.slice(done..edit.at.start));
        }
        if !edit.with.is_empty() {
            slices.push(edit.with);
        }
        done = edit.at.end;
    }
    if done < body.len() {
        slices.push(body.slice(done..));
    }
    // Many slices cost a write more than a copy does.
    if slices.len() > SLICES_MAX {
        return std::iter::once(Bytes::from(slices.concat())).collect();
    }
    slices
}

/// More than rules and a model's name ever make: only a long conversation of packed ids does.
const SLICES_MAX: usize = 32;

/// Asks for the usage chunk, leaving every other byte as it was.
fn ask_usage(body: &Bytes, peek: &Peek) -> Result<Edit, Fault> {
    let Some(at) = peek.stream_options_at.clone() else {
        // Right behind the model's name, which is always there.
        let end = peek.model_at.end;
        let with = Bytes::from_static(b",\"stream_options\":{\"include_usage\":true}");
        return Ok(Edit { at: end..end, with });
    };
    let wrong = || Fault::invalid("stream_options", "stream_options must be an object");
    let text = std::str::from_utf8(&body[at.clone()]).map_err(|_| wrong())?;
    if text == "null" {
        return Ok(Edit {
            at,
            with: Bytes::from_static(b"{\"include_usage\":true}"),
        });
    }
    let options = stream_options(text).ok_or_else(wrong)?;
    Ok(match options.include_usage {
        Some(said) => {
            let start = at.start + (said.as_ptr() as usize - text.as_ptr() as usize);
            Edit {
                at: start..start + said.len(),
                with: Bytes::from_static(b"true"),
            }
        }
        // Behind the opening brace.
        None if options.empty => Edit {
            at: at.start + 1..at.start + 1,
            with: Bytes::from_static(b"\"include_usage\":true"),
        },
        None => Edit {
            at: at.start + 1..at.start + 1,
            with: Bytes::from_static(b"\"include_usage\":true,"),
        },
    })
}

/// What `stream_options` says.
pub(super) struct StreamOptions<'a> {
    /// As written.
    pub include_usage: Option<&'a str>,
    pub empty: bool,
}

/// `None`: not an object, or `include_usage` stands twice.
pub(super) fn stream_options(text: &str) -> Option<StreamOptions<'_>> {
    #[derive(serde::Deserialize)]
    struct Schema<'a> {
        // Whatever else stands there is the provider's to read. A field that stands twice is an error of serde's own.
        #[serde(borrow, default, deserialize_with = "present")]
        include_usage: Option<&'a RawValue>,
    }
    // serde reads structs from arrays too.
    let inside = text.strip_prefix('{')?;
    let schema: Schema<'_> = serde_json::from_str(text).ok()?;
    let empty = inside.trim_start().starts_with('}');
    Some(StreamOptions {
        include_usage: schema.include_usage.map(RawValue::get),
        empty,
    })
}

/// A `null` that is there, and has a place, too.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    serde::Deserialize::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::dialect::splice::peek;

    fn spliced(dialect: DialectName, body: &str, model: &str) -> (String, usize) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let peek = peek(dialect, &body).expect("right");
        let slices = splice_request(dialect, &body, &peek, model).expect("right");
        let count = slices.len();
        (String::from_utf8(slices.concat()).expect("UTF-8"), count)
    }

    #[test]
    fn what_need_not_change_is_the_body_itself() {
        let body = Bytes::from_static(
            br#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
        );
        let peek = peek(DialectName::Chat, &body).expect("right");
        let slices = splice_request(DialectName::Chat, &body, &peek, "m").expect("right");
        assert_eq!((slices.len(), slices[0].as_ptr()), (1, body.as_ptr()));
    }

    #[test]
    fn only_the_model_and_the_asking_for_usage_change() {
        let cases = [
            (
                r#"{"model":"m","messages":[]}"#,
                r#"{"model":"new \"x\"","messages":[]}"#,
            ),
            (
                r#"{"messages":[], "model" : "m" ,"stream":true}"#,
                r#"{"messages":[], "model" : "new \"x\"","stream_options":{"include_usage":true} ,"stream":true}"#,
            ),
            (
                r#"{"stream_options":null,"messages":[],"model":"m","stream":true}"#,
                r#"{"stream_options":{"include_usage":true},"messages":[],"model":"new \"x\"","stream":true}"#,
            ),
            (
                r#"{"stream_options":{ },"messages":[],"model":"m","stream":true}"#,
                r#"{"stream_options":{"include_usage":true },"messages":[],"model":"new \"x\"","stream":true}"#,
            ),
            (
                r#"{"model":"m","messages":[],"stream":true,"stream_options":{ "include_obfuscation":false}}"#,
                r#"{"model":"new \"x\"","messages":[],"stream":true,"stream_options":{"include_usage":true, "include_obfuscation":false}}"#,
            ),
            (
                r#"{"model":"m","messages":[],"stream":true,"stream_options":{"a":1,"include_usage": false }}"#,
                r#"{"model":"new \"x\"","messages":[],"stream":true,"stream_options":{"a":1,"include_usage": true }}"#,
            ),
            (
                r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":null}}"#,
                r#"{"model":"new \"x\"","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
            ),
        ];
        for (before, after) in cases {
            let (text, _) = spliced(DialectName::Chat, before, "new \"x\"");
            assert_eq!(text, after);
            serde_json::from_str::<serde_json::Value>(&text).expect("still JSON");
        }
    }

    #[test]
    fn messages_requests_change_their_model_alone() {
        let body = r#"{"model":"m","max_tokens":1,"messages":[],"stream":true}"#;
        assert_eq!(
            spliced(DialectName::Messages, body, "n"),
            (body.replace("\"m\"", "\"n\""), 3)
        );
    }
}
