//! A reasoning item ⇄ canon's thinking and the signature that lets its issuer read it back.
//!
//! Canon has one text and one opaque signature; an item has an id, summaries, contents and `encrypted_content`, and must come back
//! unmodified (OpenAI docs, reasoning, read 2026-08). So the signature is the item itself without its texts (a `Seal`, as JSON): it
//! survives a client of any dialect, and writes the same item again. The other way, another issuer's signature travels to a client
//! of this dialect as `encrypted_content` behind a prefix, and is that signature again when it comes back.

use crate::base::{Json, Str};
use crate::canon::BlockKind;
use crate::protocol::json;
use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Ahead of a thinking block's signature of another dialect.
const SIGNED: &str = "stokehold.signature.";
/// Ahead of another dialect's redacted thinking.
const REDACTED: &str = "stokehold.redacted.";
/// What ids begin with that we made for thinking which its provider did not name.
pub(super) const MADE: &str = "rs_made_";
/// Between the parts of an item, when they are told as one text.
pub(super) const BREAK: &str = "\n\n";

/// Where a part of the text stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    #[serde(rename = "s")]
    Summary,
    #[serde(rename = "c")]
    Content,
    /// The same words in both lists, as some clients send them.
    #[serde(rename = "b")]
    Both,
}

/// An item without its texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Seal {
    /// The item's id; empty where it had none. Also what tells a seal from others' signatures.
    pub rs: String,
    /// Bytes of each part, in the order in which they are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<(Part, usize)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_content: Option<String>,
    /// Fields of other speakers (`format` of OpenRouter).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub more: Map<String, Value>,
}

/// A reasoning item as canon has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Thought {
    pub text: String,
    /// `None`: nobody but us made it, and nobody needs it back.
    pub signature: Option<Str>,
    pub redacted: bool,
}

impl Seal {
    /// The seal in a signature; `None` for a signature of another issuer.
    pub(super) fn of(signature: &str) -> Option<Self> {
        let is_ours = signature.starts_with("{\"rs\":");
        is_ours.then(|| serde_json::from_str(signature).ok())?
    }

    pub(super) fn signature(&self) -> Str {
        Str::from(serde_json::to_string(self).expect("strings and numbers"))
    }

    /// What the item is without its texts.
    pub(super) fn of_item(item: &Map<String, Value>) -> Self {
        const KNOWN: [&str; 6] = [
            "id",
            "type",
            "summary",
            "content",
            "encrypted_content",
            "status",
        ];
        let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
        let more = item
            .iter()
            .filter(|(n, v)| !KNOWN.contains(&n.as_str()) && !v.is_null());
        Self {
            rs: text("id").unwrap_or_default(),
            parts: Vec::new(),
            encrypted_content: text("encrypted_content").filter(|e| !e.is_empty()),
            more: more.map(|(n, v)| (n.clone(), v.clone())).collect(),
        }
    }

    /// Whether anyone can do anything with it: without a key to the issuer's memory and without words it says nothing.
    fn is_made_up(&self) -> bool {
        self.encrypted_content.is_none()
            && self.more.is_empty()
            && (self.rs.is_empty() || self.rs.starts_with(MADE))
            && self.parts.iter().all(|(part, _)| *part == Part::Summary)
    }

    /// What canon is told of it: another issuer's signature where that is what it holds.
    pub(super) fn thought(self, text: String) -> Thought {
        let sealed = self.encrypted_content.as_deref().unwrap_or_default();
        if let Some(data) = sealed.strip_prefix(REDACTED) {
            return Thought {
                text,
                signature: Some(Str::from(data)),
                redacted: true,
            };
        }
        if let Some(signature) = sealed.strip_prefix(SIGNED) {
            return Thought {
                text,
                signature: Some(Str::from(signature)),
                redacted: false,
            };
        }
        let redacted = text.is_empty();
        let signature = (!self.is_made_up()).then(|| self.signature());
        Thought {
            text,
            signature,
            redacted,
        }
    }

    /// Appends the item. `text` is what the parts say, one after the other.
    pub(super) fn write(&self, text: &str, status: bool, out: &mut BytesMut) {
        let (mut summary, mut content) = (Vec::new(), Vec::new());
        for (part, piece) in self.pieces(text) {
            if part != Part::Content {
                summary.push(piece);
            }
            if part != Part::Summary {
                content.push(piece);
            }
        }
        json::comma(out);
        out.extend_from_slice(b"{");
        if !self.rs.is_empty() {
            json::field("id", &self.rs, out);
        }
        json::field("type", "reasoning", out);
        texts("summary", "summary_text", &summary, out);
        if !content.is_empty() {
            texts("content", "reasoning_text", &content, out);
        }
        if let Some(sealed) = &self.encrypted_content {
            json::field("encrypted_content", sealed, out);
        }
        if status {
            json::field("status", "completed", out);
        }
        for (name, value) in &self.more {
            json::comma(out);
            json::string(name, out);
            out.extend_from_slice(b":");
            out.extend_from_slice(value.to_string().as_bytes());
        }
        out.extend_from_slice(b"}");
    }

    /// The text in its parts; one summary where the lengths do not add up, since somebody changed it.
    pub(super) fn pieces<'t>(&self, text: &'t str) -> Vec<(Part, &'t str)> {
        let (mut rest, mut pieces) = (text, Vec::new());
        for (at, (part, bytes)) in self.parts.iter().enumerate() {
            let after_break = if at == 0 {
                Some(rest)
            } else {
                rest.strip_prefix(BREAK)
            };
            let cut = after_break.and_then(|r| r.split_at_checked(*bytes));
            let Some((piece, left)) = cut else {
                return whole(text);
            };
            pieces.push((*part, piece));
            rest = left;
        }
        if rest.is_empty() { pieces } else { whole(text) }
    }
}

fn whole(text: &str) -> Vec<(Part, &str)> {
    vec![(Part::Summary, text)]
}

fn texts(name: &str, kind: &str, pieces: &[&str], out: &mut BytesMut) {
    json::key(name, out);
    out.extend_from_slice(b"[");
    for piece in pieces {
        json::comma(out);
        out.extend_from_slice(b"{");
        json::field("type", kind, out);
        json::field("text", piece, out);
        out.extend_from_slice(b"}");
    }
    out.extend_from_slice(b"]");
}

/// The parts of an item in the order in which they are told, summaries first.
pub(super) fn parts_of(item: &Map<String, Value>) -> Vec<(Part, String)> {
    let list = |name: &str| -> Vec<String> {
        let entries = item
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let texts = entries.filter_map(|e| e.get("text").and_then(Value::as_str));
        texts.filter(|t| !t.is_empty()).map(str::to_owned).collect()
    };
    let (summary, content) = (list("summary"), list("content"));
    if summary == content {
        return summary.into_iter().map(|t| (Part::Both, t)).collect();
    }
    let told = summary.into_iter().map(|t| (Part::Summary, t));
    told.chain(content.into_iter().map(|t| (Part::Content, t)))
        .collect()
}

/// Its maker's own words within a signature that this module wrapped, and whether that was an item; `None` for one that it did not wrap.
pub(in crate::protocol::dialect) fn words(signature: &str) -> Option<(Cow<'_, str>, bool)> {
    let within = [SIGNED, REDACTED]
        .iter()
        .find_map(|prefix| signature.strip_prefix(prefix));
    if let Some(within) = within {
        return Some((Cow::Borrowed(within), false));
    }
    let seal = Seal::of(signature)?;
    Some((Cow::Owned(seal.encrypted_content.unwrap_or(seal.rs)), true))
}

/// A whole item, as a client sends it back or a provider's body has it.
pub(super) fn read(json: &Json) -> Option<Thought> {
    let item: Map<String, Value> = json.read()?;
    let mut seal = Seal::of_item(&item);
    let parts = parts_of(&item);
    seal.parts = parts
        .iter()
        .map(|(part, text)| (*part, text.len()))
        .collect();
    let texts: Vec<String> = parts.into_iter().map(|(_, text)| text).collect();
    Some(seal.thought(texts.join(BREAK)))
}

/// The item's block in a request.
pub(super) fn block(thought: Thought) -> crate::canon::Block {
    let plain = crate::canon::Block::plain;
    match (thought.redacted, thought.signature) {
        (true, Some(data)) => plain(BlockKind::RedactedThinking { data }),
        (_, signature) => crate::canon::Block {
            signature,
            ..plain(BlockKind::Thinking {
                text: Str::from(thought.text),
            })
        },
    }
}

/// What a client of this dialect is given of thinking: an item under the id that its deltas had, and whatever signature it has behind a prefix.
pub(super) fn seal_for_client(
    signature: Option<&str>,
    redacted: bool,
    id: String,
    bytes: usize,
) -> Seal {
    let prefix = if redacted { REDACTED } else { SIGNED };
    let part = if bytes == 0 {
        Vec::new()
    } else {
        vec![(Part::Summary, bytes)]
    };
    Seal {
        rs: id,
        parts: part,
        encrypted_content: signature.map(|s| format!("{prefix}{s}")),
        more: Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str) -> Json {
        Json::parse(Str::from(text)).expect("json")
    }

    #[test]
    fn an_item_comes_back_as_it_was() {
        for text in [
            r#"{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"ö\n\nb"}],"encrypted_content":"gAAA"}"#,
            r#"{"id":"rs_2","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"c"}]}"#,
            r#"{"id":"rs_3","type":"reasoning","summary":[{"type":"summary_text","text":"a"}],"content":[{"type":"reasoning_text","text":"c"}],"format":"x"}"#,
            r#"{"id":"rs_4","type":"reasoning","summary":[{"type":"summary_text","text":"a"}],"content":[{"type":"reasoning_text","text":"a"}]}"#,
            r#"{"type":"reasoning","summary":[],"encrypted_content":"gAAA"}"#,
        ] {
            let thought = read(&item(text)).expect("an object");
            let signature = thought.signature.expect("sealed");
            let mut out = BytesMut::new();
            Seal::of(&signature)
                .expect("a seal")
                .write(&thought.text, false, &mut out);
            let value = |t: &[u8]| serde_json::from_slice::<Value>(t).expect("json");
            assert_eq!(value(&out), value(text.as_bytes()));
        }
    }

    #[test]
    fn another_issuers_signature_comes_back_as_it_was() {
        for redacted in [false, true] {
            let text = if redacted { "" } else { "hm" };
            let seal = seal_for_client(Some("ErUB=="), redacted, format!("{MADE}x_0"), text.len());
            let mut out = BytesMut::new();
            seal.write(text, true, &mut out);
            let written = String::from_utf8(out.to_vec()).expect("UTF-8");
            let thought = read(&item(&written)).expect("an object");
            assert_eq!(thought.signature.as_deref(), Some("ErUB=="));
            assert_eq!((&*thought.text, thought.redacted), (text, redacted));
        }
        let unsigned = seal_for_client(None, false, format!("{MADE}x_0"), 2);
        let mut out = BytesMut::new();
        unsigned.write("hm", true, &mut out);
        let thought = read(&item(std::str::from_utf8(&out).expect("UTF-8"))).expect("an object");
        assert_eq!((thought.signature, &*thought.text), (None, "hm"));
    }

    #[test]
    fn a_changed_text_is_one_summary() {
        let seal = Seal {
            parts: vec![(Part::Content, 5)],
            ..Seal::default()
        };
        assert_eq!(seal.pieces("abc"), [(Part::Summary, "abc")]);
        assert_eq!(seal.pieces("abcdef"), [(Part::Summary, "abcdef")]);
    }
}
