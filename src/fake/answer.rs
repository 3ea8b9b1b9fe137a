//! What the fake answers: a function of what was asked, one token a piece.

use super::ask::{Ask, Choice, Tool};
use super::book::Wire;
use super::json::{Tree, quote, quoted};
use base64::Engine as _;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Counted and never shown.
    Hidden,
    Thinking {
        shown: bool,
    },
    Text,
    Refusal,
    Tool {
        id: String,
        name: String,
        custom: bool,
    },
}

/// A block, and where each of its tokens ends.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub kind: Kind,
    pub text: String,
    pub cuts: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    End,
    Length,
    Sequence(String),
    Tool,
    Refusal,
}

/// One choice of an answer.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub blocks: Vec<Block>,
    pub stop: Stop,
}

impl Block {
    /// Cuts `text` before every space that follows a word, so that a word is a token.
    fn words(kind: Kind, text: String) -> Self {
        let bytes = text.as_bytes();
        let mut cuts: Vec<u32> = (1..bytes.len())
            .filter(|&at| bytes[at] == b' ' && bytes[at - 1] != b' ')
            .map(|at| at as u32)
            .collect();
        if !text.is_empty() {
            cuts.push(bytes.len() as u32);
        }
        Self { kind, text, cuts }
    }

    /// Cuts about every eight bytes, as arguments come.
    fn eights(kind: Kind, text: String) -> Self {
        let mut cuts = Vec::new();
        let mut last = 0;
        for (at, _) in text.char_indices().skip(1) {
            if at - last >= 8 {
                cuts.push(at as u32);
                last = at;
            }
        }
        cuts.push(text.len() as u32);
        Self { kind, text, cuts }
    }

    pub(super) fn piece(&self, at: usize) -> &str {
        let start = if at == 0 {
            0
        } else {
            self.cuts[at - 1] as usize
        };
        &self.text[start..self.cuts[at] as usize]
    }

    pub(super) fn tokens(&self) -> u64 {
        self.cuts.len() as u64
    }

    fn shorten(&mut self, bytes: usize) {
        self.text.truncate(bytes);
        self.cuts.retain(|&cut| (cut as usize) < bytes);
        if bytes > 0 {
            self.cuts.push(bytes as u32);
        }
    }

    fn keep_tokens(&mut self, tokens: usize) {
        self.cuts.truncate(tokens);
        let end = self.cuts.last().map_or(0, |&cut| cut as usize);
        self.text.truncate(end);
    }

    pub(super) fn reasons(&self) -> bool {
        matches!(self.kind, Kind::Hidden | Kind::Thinking { .. })
    }
}

impl Said {
    pub(super) fn tokens(&self) -> u64 {
        self.blocks.iter().map(Block::tokens).sum()
    }

    fn limit(&mut self, max: u64) {
        if self.tokens() <= max {
            return;
        }
        let mut left = max as usize;
        for block in &mut self.blocks {
            block.keep_tokens(left);
            left -= block.cuts.len();
        }
        self.blocks.retain(|b| !b.cuts.is_empty());
        self.stop = Stop::Length;
    }

    fn stop_at(&mut self, stops: &[&str]) {
        let Some(block) = self.blocks.iter_mut().find(|b| b.kind == Kind::Text) else {
            return;
        };
        let found = stops
            .iter()
            .filter(|stop| !stop.is_empty())
            .filter_map(|stop| Some((block.text.find(stop)?, *stop)))
            .min();
        if let Some((at, stop)) = found {
            block.shorten(at);
            self.stop = Stop::Sequence(stop.to_owned());
        }
    }
}

/// Choice `index` of the answer; `salt` makes ids differ between requests.
pub(super) fn answer(ask: &Ask<'_>, wire: Wire, tokens: u64, index: usize, salt: u64) -> Said {
    let mut said = Said {
        blocks: Vec::new(),
        stop: Stop::End,
    };
    if let Some(count) = ask.thinking {
        let kind = match wire {
            Wire::Chat if !ask.thinking_shown => Kind::Hidden,
            _ => Kind::Thinking {
                shown: ask.thinking_shown,
            },
        };
        said.blocks
            .push(Block::words(kind, numbered("Let me think:", count)));
    }
    let calls = calls(ask);
    if ask.said.contains("please refuse") {
        let text = "I cannot help with that.".to_owned();
        let kind = match wire {
            Wire::Chat | Wire::Responses => Kind::Refusal,
            Wire::Messages | Wire::Gemini | Wire::Converse => Kind::Text,
        };
        said.blocks.push(Block::words(kind, text));
        said.stop = Stop::Refusal;
    } else if !calls.is_empty() {
        said.stop = Stop::Tool;
        for (at, tool) in calls.iter().enumerate() {
            said.blocks
                .push(call(tool, wire, salt.wrapping_add((index * 8 + at) as u64)));
        }
    } else {
        said.blocks.push(text_block(ask, tokens, index));
        said.stop_at(&ask.stops);
    }
    said.limit(ask.max_tokens.unwrap_or(u64::MAX));
    said
}

fn text_block(ask: &Ask<'_>, tokens: u64, index: usize) -> Block {
    if let Some(schema) = ask.schema {
        return Block::eights(Kind::Text, example(schema));
    }
    if ask.json_object {
        let text = format!("{{\"you_said\":{}}}", quoted(&ask.said));
        return Block::eights(Kind::Text, text);
    }
    Block::words(Kind::Text, prose(ask, tokens, index))
}

/// What was seen, then what was said, as far as `tokens` allow, then numbers up to `tokens`.
fn prose(ask: &Ask<'_>, tokens: u64, index: usize) -> String {
    let mut words: Vec<String> = Vec::new();
    let push = |words: &mut Vec<String>, text: &str| {
        words.extend(text.split_ascii_whitespace().map(str::to_owned))
    };
    if index > 0 {
        push(&mut words, &format!("(choice {index})"));
    }
    for result in &ask.results {
        push(&mut words, &format!("The tool said: {result}"));
    }
    if !ask.media.is_empty() {
        push(&mut words, &format!("I see {}.", grouped(&ask.media)));
    }
    let kept = words.len();
    if !ask.said.is_empty() {
        push(&mut words, "You said:");
        let room = (tokens as usize).saturating_sub(words.len());
        words.extend(
            ask.said
                .split_ascii_whitespace()
                .take(room)
                .map(str::to_owned),
        );
    }
    words.truncate(kept.max(tokens as usize));
    let more = (tokens as usize).saturating_sub(words.len());
    let mut text = words.join(" ");
    for number in 1..=more {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(itoa::Buffer::new().format(number));
    }
    text
}

fn grouped(media: &[String]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in media {
        *counts.entry(one.trim_start_matches("1 ")).or_default() += 1;
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(what, n)| format!("{n} {what}"))
        .collect();
    parts.join(" and ")
}

fn numbered(start: &str, tokens: u64) -> String {
    let mut text = start.to_owned();
    for number in 1..=tokens.saturating_sub(3) {
        text.push(' ');
        text.push_str(itoa::Buffer::new().format(number));
    }
    text
}

/// The tools to call, in order; the same one twice when the user says so.
fn calls<'a>(ask: &'a Ask<'a>) -> Vec<&'a Tool<'a>> {
    let named = |name: &str| ask.tools.iter().find(|t| t.name == name);
    let wanted = || {
        let (_, rest) = ask.said.split_once("use tool ")?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        named(&rest[..end.unwrap_or(rest.len())])
    };
    let tool = match ask.choice {
        Choice::Never => None,
        Choice::Named(name) => named(name),
        Choice::Any => wanted().or_else(|| ask.tools.first()),
        // What a tool said is answered with text, or a loop would never end.
        Choice::Auto if !ask.results.is_empty() => None,
        Choice::Auto => wanted(),
    };
    let times = if ask.said.contains("twice") && !ask.one_call {
        2
    } else {
        1
    };
    tool.map_or_else(Vec::new, |tool| vec![tool; times])
}

fn call(tool: &Tool<'_>, wire: Wire, salt: u64) -> Block {
    let long = |start: &str| format!("{start}{}", letters(salt, 22));
    let id = match wire {
        Wire::Chat | Wire::Responses => long("call_"),
        Wire::Messages => long("toolu_01"),
        Wire::Gemini => google_id(&letters(salt, 7)),
        Wire::Converse => long("tooluse_"),
    };
    let text = match (tool.custom, tool.schema) {
        (true, _) => "free text".to_owned(),
        (false, Some(schema)) => example(schema),
        (false, None) => "{}".to_owned(),
    };
    Block::eights(
        Kind::Tool {
            id,
            name: tool.name.to_owned(),
            custom: tool.custom,
        },
        text,
    )
}

/// Google's ids are short. The last letter follows from the others, so that a call that we made is known when it comes back.
fn google_id(start: &str) -> String {
    format!("{start}{}", letters(xxh3_64(start.as_bytes()), 1))
}

/// Whether the id of a call is one that we gave out in Google's words; one in 62 of other ids of its length is taken for one too.
pub(super) fn is_google_id(id: &str) -> bool {
    id.len() == 8 && id.is_char_boundary(7) && google_id(&id[..7]) == id
}

/// `count` letters and digits that look random and are a function of `seed`.
pub(super) fn letters(seed: u64, count: usize) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut state = seed;
    (0..count)
        .map(|at| {
            if at % 8 == 0 {
                state = xxh3_64(&state.to_le_bytes());
            }
            let letter = ALPHABET[(state % 62) as usize];
            state /= 62;
            char::from(letter)
        })
        .collect()
}

/// What our signatures begin with, before base64; 6 bytes, so that it is 8 letters of the text.
const SIGNED: &[u8; 6] = b"fake01";

/// The signature of a thinking block that shows `text`.
pub(super) fn signature(text: &str) -> String {
    let mut bytes = SIGNED.to_vec();
    bytes.extend_from_slice(&xxh3_64(text.as_bytes()).to_le_bytes());
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Whether we made `signed`, or it was made to look so.
pub(super) fn is_ours(signed: &str) -> bool {
    signed.starts_with(&base64::engine::general_purpose::STANDARD.encode(SIGNED))
}

/// A block that we signed and somebody changed. Signatures of others are taken, as older models take them.
pub(super) fn forged(text: &str, signed: &str) -> bool {
    signed.is_empty() || (is_ours(signed) && signed != signature(text))
}

/// JSON that fits `schema`, as far as its keywords are the usual ones.
pub(super) fn example(schema: &Tree<'_>) -> String {
    let mut out = Vec::new();
    Example { root: schema }.write(&mut out, schema, 0);
    String::from_utf8(out).expect("JSON is written from strings only")
}

struct Example<'a> {
    root: &'a Tree<'a>,
}

/// Deeper than this only what is required is written, so that recursive schemas end.
const OPTIONAL_DEPTH: usize = 4;
const DEPTH_MAX: usize = 24;

impl<'a> Example<'a> {
    fn write(&self, out: &mut Vec<u8>, schema: &'a Tree<'a>, depth: usize) {
        if depth > DEPTH_MAX {
            return out.extend_from_slice(b"null");
        }
        if let Some(fixed) = schema
            .get("const")
            .or_else(|| schema.get("enum")?.items().first())
        {
            return fixed.write(out, "");
        }
        if let Some(target) = schema.text_of("$ref").and_then(|to| self.find(to)) {
            return self.write(out, target, depth + 1);
        }
        let options = ["anyOf", "oneOf", "allOf"]
            .iter()
            .find_map(|key| schema.get(key));
        if let Some(options) = options.map(Tree::items) {
            // The last one deep down: a recursive schema usually has its way out there.
            let one = if depth > OPTIONAL_DEPTH {
                options.last()
            } else {
                options.first()
            };
            return match one {
                Some(one) => self.write(out, one, depth + 1),
                None => out.extend_from_slice(b"null"),
            };
        }
        let kind = schema.get("type");
        let kind = kind.and_then(|k| k.text().or_else(|| k.items().first()?.text()));
        let default = if schema.get("properties").is_some() {
            "object"
        } else {
            "string"
        };
        // Google's own schemas shout their types.
        match kind.unwrap_or(default).to_ascii_lowercase().as_str() {
            "object" => self.object(out, schema, depth),
            "array" => self.array(out, schema, depth),
            "integer" | "number" => out.extend_from_slice(number(schema).to_string().as_bytes()),
            "boolean" => out.extend_from_slice(b"true"),
            "null" => out.extend_from_slice(b"null"),
            _ => text(out, schema),
        }
    }

    fn find(&self, to: &str) -> Option<&'a Tree<'a>> {
        let path = to.strip_prefix('#')?;
        path.split('/')
            .skip(1)
            .try_fold(self.root, |at, key| at.get(key))
    }

    fn object(&self, out: &mut Vec<u8>, schema: &'a Tree<'a>, depth: usize) {
        let required = schema.get("required").map(Tree::items).unwrap_or_default();
        let properties = schema
            .get("properties")
            .map(Tree::entries)
            .unwrap_or_default();
        out.push(b'{');
        let mut first = true;
        for (key, value) in properties {
            if depth > OPTIONAL_DEPTH && !required.iter().any(|r| r.text() == Some(key)) {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            quote(out, key);
            out.push(b':');
            self.write(out, value, depth + 1);
        }
        out.push(b'}');
    }

    fn array(&self, out: &mut Vec<u8>, schema: &'a Tree<'a>, depth: usize) {
        let least = schema
            .get("minItems")
            .and_then(Tree::whole)
            .unwrap_or(0)
            .min(16);
        let count = if depth > OPTIONAL_DEPTH {
            least
        } else {
            least.max(1)
        };
        out.push(b'[');
        for at in 0..count {
            if at > 0 {
                out.push(b',');
            }
            match schema.get("items") {
                Some(items) => self.write(out, items, depth + 1),
                None => out.extend_from_slice(b"\"item\""),
            }
        }
        out.push(b']');
    }
}

fn number(schema: &Tree<'_>) -> i64 {
    let of = |key: &str| schema.get(key).and_then(Tree::number);
    let low = of("minimum").or_else(|| of("exclusiveMinimum").map(|n| n + 1.0));
    let high = of("maximum").or_else(|| of("exclusiveMaximum").map(|n| n - 1.0));
    let wanted = low.unwrap_or(1.0).ceil();
    let fitting = high.map_or(wanted, |high| wanted.min(high.floor()));
    fitting as i64
}

fn text(out: &mut Vec<u8>, schema: &Tree<'_>) {
    let mut text = match schema.text_of("format") {
        Some("date") => "2026-01-01".to_owned(),
        Some("date-time") => "2026-01-01T00:00:00Z".to_owned(),
        Some("email") => "someone@example.com".to_owned(),
        Some("uri") => "https://example.com/".to_owned(),
        Some("uuid") => "00000000-0000-4000-8000-000000000000".to_owned(),
        _ => "text".to_owned(),
    };
    let least = schema
        .get("minLength")
        .and_then(Tree::whole)
        .unwrap_or(0)
        .min(1_000) as usize;
    while text.len() < least {
        text.push('x');
    }
    if let Some(most) = schema.get("maxLength").and_then(Tree::whole) {
        text.truncate(most as usize);
    }
    quote(out, &text);
}
