//! A model's rules on the client's own bytes: the same parameters are left out, bounded and refused as where a request is written from canon.
//!
//! Only the top level and the objects that hold parameters (`generationConfig`, `text`, `reasoning`, `output_config`) are looked into. What a rule
//! says of content is not for here: `Rules::reach_content` tells that such a request is to be written from canon. `thinking_budget` changes
//! nothing either: who speaks a provider's own grammar says in it how the model shall think.

use super::request::Edit;
use crate::canon::{DialectName, Fault};
use crate::protocol::dialect::rules::{PARAMETERS, idles};
use crate::protocol::dialect::splice::Peek;
use crate::protocol::dialect::{Dropped, Rules};
use bytes::Bytes;
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::ops::Range;

/// What changes in `body`, by place, and what of it the client is told. Costs one pass where a rule may bite, and nothing where none can.
/// `Err`: a parameter that the model does not take.
pub(super) fn ruled(
    dialect: DialectName,
    body: &Bytes,
    peek: &Peek,
    rules: &Rules,
) -> Result<(Vec<Edit>, Dropped), Fault> {
    if !rules.may_bite(dialect, peek) {
        return Ok((Vec::new(), Dropped::new()));
    }
    let text = std::str::from_utf8(body).expect("peek read this body, and takes UTF-8 alone");
    let mut scan = Scan {
        dialect,
        rules,
        text,
        edits: Vec::new(),
        told: Dropped::new(),
    };
    scan.object(text, "")?;
    Ok((scan.edits, scan.told))
}

impl Rules {
    /// Whether bytes that pass must be looked at. Most models have no rule but an output limit, and most requests stay within it.
    fn may_bite(&self, dialect: DialectName, peek: &Peek) -> bool {
        let beyond = |(name, low, high): &(String, f64, f64)| match peek.max_output {
            _ if name != "max_output" => true,
            Some(asked) => (asked as f64) < *low || (asked as f64) > *high,
            None => false,
        };
        !self.drop.is_empty()
            || !self.refuse.is_empty()
            || (self.legacy_max_tokens && dialect == DialectName::Chat)
            || self.clamp.iter().any(beyond)
    }

    /// Whether a rule drops or refuses a kind of content that the request has, which bytes that pass cannot be rid of.
    #[must_use]
    pub fn reach_content(&self, peek: &Peek) -> bool {
        let ruled = |name: &str| self.drops(name) || self.refuses(name);
        [
            (peek.images, "images"),
            (peek.documents, "documents"),
            (peek.audio, "audio"),
            (peek.video, "video"),
        ]
        .iter()
        .any(|(there, name)| *there && ruled(name))
    }
}

/// What becomes of one member.
enum Verdict {
    Stays,
    Leaves,
    Instead(String),
}

struct Member<'a> {
    name: String,
    key: Range<usize>,
    value: Range<usize>,
    text: &'a str,
}

struct Scan<'a> {
    dialect: DialectName,
    rules: &'a Rules,
    /// The whole body.
    text: &'a str,
    edits: Vec<Edit>,
    told: Dropped,
}

impl<'a> Scan<'a> {
    /// `within`: the path of `object`, empty at the top.
    fn object(&mut self, object: &'a str, within: &str) -> Result<(), Fault> {
        let members = self.members(object);
        let newer = within.is_empty() && members.iter().any(|m| m.name == NEWER);
        let mut left = Vec::with_capacity(members.len());
        for member in &members {
            let path = match within {
                "" => member.name.clone(),
                _ => format!("{within}.{}", member.name),
            };
            let legacy = self.dialect == DialectName::Chat && self.rules.legacy_max_tokens;
            let verdict = match &*path {
                OLDER if legacy && newer => Verdict::Leaves,
                path => self.verdict(path, member.text)?,
            };
            left.push(matches!(verdict, Verdict::Leaves));
            match verdict {
                Verdict::Instead(with) => self.edit(member.value.clone(), with),
                Verdict::Stays if holds_parameters(self.dialect, &path) => {
                    self.object(member.text, &path)?;
                }
                Verdict::Stays | Verdict::Leaves => {}
            }
            if path == NEWER && legacy && !left[left.len() - 1] {
                self.rename(member);
            }
        }
        self.cut(&members, &left);
        Ok(())
    }

    /// The newer name of Chat's limit, where only the older is taken; its value may have been bounded beside.
    fn rename(&mut self, member: &Member<'_>) {
        self.edit(member.key.clone(), format!("\"{OLDER}\""));
    }

    fn verdict(&mut self, path: &str, value: &str) -> Result<Verdict, Fault> {
        if STRUCTURE.contains(&path) || value == "null" {
            return Ok(Verdict::Stays);
        }
        let name = parameter(self.dialect, path).unwrap_or(path);
        if name == "stop" && value.trim_start_matches('[').trim_start() == "]" {
            return Ok(Verdict::Stays);
        }
        let number = number(self.dialect, value);
        if self.rules.drops(name) || self.rules.drops(path) {
            self.tell(name.to_owned());
            return Ok(Verdict::Leaves);
        }
        if self.rules.refuses(name) || self.rules.refuses(path) {
            if idles(name, number, value) {
                self.tell(name.to_owned());
                return Ok(Verdict::Leaves);
            }
            let message = format!("the model does not take `{path}`; leave it out");
            return Err(Fault::invalid(path, message).with_code("unsupported_parameter"));
        }
        let Some(asked) = number.filter(|_| PARAMETERS.contains(&name)) else {
            return Ok(Verdict::Stays);
        };
        let sent = self.rules.clamped(name, asked);
        if sent == asked {
            return Ok(Verdict::Stays);
        }
        self.tell(format!("{name}={sent}"));
        Ok(Verdict::Instead(spelled(name, sent)))
    }

    fn tell(&mut self, what: String) {
        if !self.told.contains(&what) {
            self.told.push(what);
        }
    }

    fn edit(&mut self, at: Range<usize>, with: String) {
        self.edits.push(Edit {
            at,
            with: with.into(),
        });
    }

    /// Takes out what left: with the comma before it, or where nothing that stays is before it, up to what follows.
    fn cut(&mut self, members: &[Member<'_>], left: &[bool]) {
        let mut before: Option<usize> = None;
        for (i, member) in members.iter().enumerate() {
            if !left[i] {
                before = Some(member.value.end);
                continue;
            }
            let at = match (before, members.get(i + 1)) {
                (Some(end), _) => {
                    before = Some(member.value.end);
                    end..member.value.end
                }
                (None, Some(next)) => member.key.start..next.key.start,
                (None, None) => member.key.start..member.value.end,
            };
            self.edit(at, String::new());
        }
    }

    /// Empty for what is no object: the provider says so in its own words.
    fn members(&self, object: &'a str) -> Vec<Member<'a>> {
        let mut json = serde_json::Deserializer::from_str(object);
        let found = json.deserialize_map(Raw).unwrap_or_default();
        let at = |raw: &RawValue| {
            let start = raw.get().as_ptr() as usize - self.text.as_ptr() as usize;
            start..start + raw.get().len()
        };
        let member = |(key, value): (&'a RawValue, &'a RawValue)| Member {
            name: serde_json::from_str(key.get()).unwrap_or_default(),
            key: at(key),
            value: at(value),
            text: value.get(),
        };
        found.into_iter().map(member).collect()
    }
}

struct Raw;

impl<'de> Visitor<'de> for Raw {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(entry) = map.next_entry()? {
            found.push(entry);
        }
        Ok(found)
    }
}

/// Counts are written as whole numbers, whatever the bound's type.
fn spelled(name: &str, sent: f64) -> String {
    match name {
        "max_output" | "top_k" | "top_logprobs" | "choices" => format!("{}", sent as u64),
        _ => serde_json::to_string(&sent).expect("bounds are finite"),
    }
}

/// The number that `value` spells. Google takes numbers as strings too (protobuf's JSON mapping, read 2026-08).
fn number(dialect: DialectName, value: &str) -> Option<f64> {
    let text = match dialect {
        DialectName::Gemini => value.trim_matches('"'),
        _ => value,
    };
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// What makes a request one, and what the router itself sets: no rule takes it out.
const STRUCTURE: &[&str] = &[
    "model",
    "stream",
    "stream_options",
    "messages",
    "input",
    "contents",
];

const OLDER: &str = "max_tokens";
const NEWER: &str = "max_completion_tokens";

fn holds_parameters(dialect: DialectName, path: &str) -> bool {
    match dialect {
        DialectName::Gemini => matches!(path, "generationConfig" | "generation_config"),
        DialectName::Responses => matches!(path, "text" | "reasoning"),
        DialectName::Messages => path == "output_config",
        DialectName::Chat
        | DialectName::Native
        | DialectName::Completions
        | DialectName::Converse => false,
    }
}

/// Canon's name of a field, where a rule would say that; a rule may also say the field's own.
fn parameter(dialect: DialectName, path: &str) -> Option<&'static str> {
    match dialect {
        DialectName::Chat | DialectName::Completions => of_chat(path),
        DialectName::Messages => of_messages(path),
        DialectName::Responses => of_responses(path),
        DialectName::Gemini => of_gemini(path.split_once('.')?.1),
        // No client's bytes pass in these.
        DialectName::Native | DialectName::Converse => None,
    }
}

/// OpenAI API reference, Chat Completions, read 2026-08; `top_k` is what own machines take beside.
fn of_chat(path: &str) -> Option<&'static str> {
    Some(match path {
        OLDER | NEWER => "max_output",
        "temperature" => "temperature",
        "top_p" => "top_p",
        "top_k" => "top_k",
        "stop" => "stop",
        "seed" => "seed",
        "presence_penalty" => "presence_penalty",
        "frequency_penalty" => "frequency_penalty",
        "logit_bias" => "logit_bias",
        "logprobs" => "logprobs",
        "top_logprobs" => "top_logprobs",
        "n" => "choices",
        "verbosity" => "verbosity",
        "reasoning_effort" => "reasoning",
        "response_format" => "output_format",
        _ => return None,
    })
}

/// Anthropic docs, Messages API, read 2026-08.
fn of_messages(path: &str) -> Option<&'static str> {
    Some(match path {
        "max_tokens" => "max_output",
        "temperature" => "temperature",
        "top_p" => "top_p",
        "top_k" => "top_k",
        "stop_sequences" => "stop",
        "thinking" | "output_config.effort" => "reasoning",
        "output_config.format" | "output_format" => "output_format",
        _ => return None,
    })
}

/// OpenAI API reference, Responses, read 2026-08.
fn of_responses(path: &str) -> Option<&'static str> {
    Some(match path {
        "max_output_tokens" => "max_output",
        "temperature" => "temperature",
        "top_p" => "top_p",
        "top_logprobs" => "top_logprobs",
        "text.verbosity" => "verbosity",
        "text.format" => "output_format",
        _ => return None,
    })
}

/// Gemini API docs, GenerationConfig, read 2026-08. Both spellings are taken there.
fn of_gemini(field: &str) -> Option<&'static str> {
    Some(match field {
        "maxOutputTokens" | "max_output_tokens" => "max_output",
        "temperature" => "temperature",
        "topP" | "top_p" => "top_p",
        "topK" | "top_k" => "top_k",
        "stopSequences" | "stop_sequences" => "stop",
        "seed" => "seed",
        "presencePenalty" | "presence_penalty" => "presence_penalty",
        "frequencyPenalty" | "frequency_penalty" => "frequency_penalty",
        "responseLogprobs" | "response_logprobs" => "logprobs",
        "logprobs" => "top_logprobs",
        "candidateCount" | "candidate_count" => "choices",
        "thinkingConfig" | "thinking_config" => "reasoning",
        "responseSchema"
        | "response_schema"
        | "responseJsonSchema"
        | "response_json_schema"
        | "responseMimeType"
        | "response_mime_type" => "output_format",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::dialect::splice::{own_words, peek};

    fn rules(drop: &[&str], refuse: &[&str], clamp: &[(&str, f64, f64)]) -> Rules {
        let texts = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Rules {
            clamp: clamp
                .iter()
                .map(|(n, l, h)| ((*n).to_owned(), *l, *h))
                .collect(),
            drop: texts(drop),
            refuse: texts(refuse),
            ..Rules::default()
        }
    }

    fn sent(dialect: DialectName, body: &str, rules: &Rules) -> Result<(String, Dropped), Fault> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let peek = peek(dialect, &body).expect("right");
        let (slices, told) = own_words(dialect, &body, &peek, "n", rules, None)?;
        let text = String::from_utf8(slices.concat()).expect("UTF-8");
        Ok((text, told))
    }

    #[test]
    fn what_is_dropped_takes_one_comma_with_it_wherever_it_stands() {
        let both = rules(&["temperature", "seed"], &[], &[]);
        for (body, wanted) in [
            (
                r#"{"temperature":1, "model":"m","messages":[]}"#,
                r#"{"model":"n","messages":[]}"#,
            ),
            (
                r#"{ "seed" : 1 ,"temperature":1, "model":"m","messages":[]}"#,
                r#"{ "model":"n","messages":[]}"#,
            ),
            (
                r#"{"model":"m" , "temp\u0065rature":2 ,"messages":[],"seed":7}"#,
                r#"{"model":"n" ,"messages":[]}"#,
            ),
            (
                r#"{"model":"m","temperature":1,"seed":2,"messages":[],"temperature":3}"#,
                r#"{"model":"n","messages":[]}"#,
            ),
        ] {
            let (text, _) = sent(DialectName::Chat, body, &both).expect("sayable");
            assert_eq!(text, wanted, "{body}");
        }
        let streamed = r#"{"messages":[],"model":"m", "temperature":1,"stream":true}"#;
        let (text, told) = sent(DialectName::Chat, streamed, &both).expect("sayable");
        let wanted =
            r#"{"messages":[],"model":"n","stream_options":{"include_usage":true},"stream":true}"#;
        assert_eq!((&*text, &*told), (wanted, &["temperature".to_owned()][..]));
    }

    #[test]
    fn numbers_are_bounded_where_each_dialect_has_them() {
        let bounds = rules(
            &[],
            &[],
            &[("max_output", 0.0, 64.0), ("temperature", 0.0, 1.0)],
        );
        for (dialect, body, wanted) in [
            (
                DialectName::Chat,
                r#"{"model":"n","messages":[],"max_tokens":65,"temperature":1.50}"#,
                r#"{"model":"n","messages":[],"max_tokens":64,"temperature":1.0}"#,
            ),
            (
                DialectName::Messages,
                r#"{"model":"n","messages":[],"max_tokens":100,"temperature":1e0}"#,
                r#"{"model":"n","messages":[],"max_tokens":64,"temperature":1e0}"#,
            ),
            (
                DialectName::Responses,
                r#"{"model":"n","input":"a","max_output_tokens": 100 ,"temperature":-1}"#,
                r#"{"model":"n","input":"a","max_output_tokens": 64 ,"temperature":0.0}"#,
            ),
            (
                DialectName::Gemini,
                r#"{"contents":[],"generationConfig":{"maxOutputTokens":"100","temperature":2},"x":{"temperature":9}}"#,
                r#"{"contents":[],"generationConfig":{"maxOutputTokens":64,"temperature":1.0},"x":{"temperature":9}}"#,
            ),
        ] {
            let (text, told) = sent(dialect, body, &bounds).expect("sayable");
            assert_eq!(text, wanted);
            assert!(told.contains(&"max_output=64".to_owned()), "{told:?}");
        }
    }

    #[test]
    fn what_a_model_does_not_take_is_refused_unless_it_asks_for_nothing() {
        let strict = rules(&[], &["temperature", "top_p", "user", "verbosity"], &[]);
        let fault = sent(
            DialectName::Chat,
            r#"{"model":"m","messages":[],"temperature":0.5}"#,
            &strict,
        )
        .expect_err("refused");
        assert_eq!(
            (fault.field.as_deref(), fault.code.as_deref()),
            (Some("temperature"), Some("unsupported_parameter"))
        );
        let idle = r#"{"model":"m","messages":[],"temperature":1.0,"top_p":null}"#;
        let (text, told) = sent(DialectName::Chat, idle, &strict).expect("asks for nothing");
        assert_eq!(text, r#"{"model":"n","messages":[],"top_p":null}"#);
        assert_eq!(told, ["temperature"]);
        let nested = r#"{"model":"m","input":"a","text":{"verbosity":"low"}}"#;
        let fault = sent(DialectName::Responses, nested, &strict).expect_err("refused");
        assert_eq!(fault.field.as_deref(), Some("text.verbosity"));
    }

    #[test]
    fn older_speakers_of_chat_are_told_the_limit_by_its_older_name() {
        let older = Rules {
            legacy_max_tokens: true,
            clamp: vec![("max_output".to_owned(), 0.0, 9.0)],
            ..Rules::default()
        };
        for (body, wanted) in [
            (
                r#"{"model":"m","messages":[],"max_completion_tokens":10}"#,
                r#"{"model":"n","messages":[],"max_tokens":9}"#,
            ),
            (
                r#"{"max_tokens":7,"model":"m","messages":[],"max_completion_tokens":8}"#,
                r#"{"model":"n","messages":[],"max_tokens":8}"#,
            ),
            (
                r#"{"max_tokens":7,"model":"m","messages":[]}"#,
                r#"{"max_tokens":7,"model":"n","messages":[]}"#,
            ),
        ] {
            let (text, _) = sent(DialectName::Chat, body, &older).expect("sayable");
            assert_eq!(text, wanted);
        }
    }

    #[test]
    fn what_frames_a_request_no_rule_takes_out() {
        let wild = rules(STRUCTURE, STRUCTURE, &[]);
        let body = r#"{"model":"m","messages":[],"stream":true,"stream_options":{}}"#;
        let (text, told) = sent(DialectName::Chat, body, &wild).expect("sayable");
        let wanted =
            r#"{"model":"n","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;
        assert_eq!((&*text, told.len()), (wanted, 0));
    }

    #[test]
    fn content_that_a_rule_names_is_not_passed() {
        let body = Bytes::from_static(
            br#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}"#,
        );
        let peek = peek(DialectName::Chat, &body).expect("right");
        assert!(rules(&["images"], &[], &[]).reach_content(&peek));
        assert!(!rules(&["audio"], &[], &[]).reach_content(&peek));
    }
}
