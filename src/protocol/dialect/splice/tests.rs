//! Requests that pass, drawn at random: white space, key order, escapes, spellings of numbers, unknown fields, depth. What arrives is what was
//! said, byte for byte, but for what is documented to change.
//!
//! The requests are drawn together with what must arrive, so nothing here reads JSON the way the code under test does.

use super::*;
use crate::base::Rng;
use crate::canon::Fault;
use crate::protocol::dialect::{Rules, read_request};
use bytes::Bytes;

const PASSING: [DialectName; 4] = [
    DialectName::Chat,
    DialectName::Messages,
    DialectName::Responses,
    DialectName::Gemini,
];

/// One member of an object, its name and value as they are spelled.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    value: String,
}

/// Draws JSON in all the ways it may be written.
struct Draw(Rng);

impl Draw {
    fn one_of<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.0.below(from.len() as u64) as usize]
    }

    fn chance(&mut self, times: u64) -> bool {
        self.0.once_in(times)
    }

    fn space(&mut self) -> &'static str {
        if self.chance(2) {
            return "";
        }
        self.one_of(&[" ", "\n", "\t", "\r\n  ", "   "])
    }

    /// A string with its quotes; every escape of RFC 8259, surrogate pairs and characters of each length.
    fn string(&mut self) -> String {
        const PIECES: [&str; 22] = [
            "a",
            "Z",
            " ",
            "ü",
            "😀",
            "漢",
            "\\n",
            "\\\"",
            "\\\\",
            "\\/",
            "/",
            "\\u0041",
            "\\ud83d\\ude00",
            "\\u00fC",
            "\\b\\f\\r\\t",
            "\\u0000",
            "{",
            "]",
            ",",
            ":",
            "\u{7f}",
            "\u{2028}",
        ];
        let length = match self.0.below(40) {
            0 => 3_000,
            1..=6 => 0,
            n => n / 3,
        };
        let inner: String = (0..length).map(|_| self.one_of(&PIECES)).collect();
        format!("\"{inner}\"")
    }

    /// `name` as a JSON string, now and then with a letter escaped.
    fn name(&mut self, name: &str) -> String {
        if name.is_empty() || !self.chance(8) {
            return format!("\"{name}\"");
        }
        let at = self.0.below(name.len() as u64) as usize;
        let letter = name.as_bytes()[at];
        format!("\"{}\\u{letter:04x}{}\"", &name[..at], &name[at + 1..])
    }

    fn number(&mut self) -> String {
        let long = "9".repeat(60);
        self.one_of(&[
            "0",
            "-0",
            "1.0",
            "1e2",
            "1E+2",
            "1e-7",
            "-12.5E-3",
            "18446744073709551616",
            "0.30000000000000004",
            &long,
        ])
        .to_owned()
    }

    fn value(&mut self, depth: u64) -> String {
        match self.0.below(if depth == 0 { 5 } else { 8 }) {
            0 => self.one_of(&["true", "false"]).to_owned(),
            1 => "null".to_owned(),
            2 => self.number(),
            3 | 4 => self.string(),
            5 | 6 => {
                let count = self.0.below(4);
                let items: Vec<String> = (0..count).map(|_| self.value(depth - 1)).collect();
                self.list(&items)
            }
            _ => {
                let mut members = Vec::new();
                for _ in 0..self.0.below(4) {
                    // A name may well stand twice.
                    let name = self.one_of(&["a", "b", "model", "stream", "", "temperature"]);
                    let name = self.name(name);
                    let value = self.value(depth - 1);
                    members.push(Member { name, value });
                }
                self.object(&members)
            }
        }
    }

    fn list(&mut self, items: &[String]) -> String {
        let mut out = format!("[{}", self.space());
        for (i, item) in items.iter().enumerate() {
            out += if i > 0 { "," } else { "" };
            out += &format!("{}{item}{}", self.space(), self.space());
        }
        out + "]"
    }

    fn object(&mut self, members: &[Member]) -> String {
        let mut out = format!("{{{}", self.space());
        for (i, Member { name, value }) in members.iter().enumerate() {
            out += if i > 0 { "," } else { "" };
            out += &format!(
                "{}{name}{}:{}{value}{}",
                self.space(),
                self.space(),
                self.space(),
                self.space()
            );
        }
        out + "}"
    }

    fn member(&mut self, name: &str, value: impl Into<String>) -> Member {
        Member {
            name: self.name(name),
            value: value.into(),
        }
    }

    /// Fields that no dialect knows, and their values.
    fn unknown(&mut self, most: u64) -> Vec<Member> {
        (0..self.0.below(most + 1))
            .map(|_| {
                let name = self.one_of(&["x", "x_vendor", "_", "zz\\n", "ключ"]);
                let value = match self.0.below(60) {
                    0 => deep(3_000),
                    _ => self.value(4),
                };
                Member {
                    name: format!("\"{name}\""),
                    value,
                }
            })
            .collect()
    }

    fn shuffle(&mut self, members: &mut [Member]) {
        for i in (1..members.len()).rev() {
            members.swap(i, self.0.below(i as u64 + 1) as usize);
        }
    }
}

fn deep(levels: usize) -> String {
    format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
}

/// A request as drawn.
struct Asked {
    members: Vec<Member>,
    stream: bool,
    /// What `stream_options` must say when it arrives; `None` where none was said.
    options: Option<String>,
}

impl Draw {
    fn request(&mut self, dialect: DialectName) -> Asked {
        let (mut members, mut options) = (self.unknown(3), None);
        let stream = self.chance(2);
        members.push(self.conversation(dialect));
        if dialect == DialectName::Gemini {
            let config = self.config();
            members.extend(config);
        } else {
            members.push(self.member("model", "\"THE MODEL\""));
            let stream = if stream { "true" } else { "false" };
            members.push(self.member("stream", stream));
            members.extend(self.parameters(dialect));
        }
        if dialect == DialectName::Chat && self.chance(2) {
            let (said, arrives) = self.stream_options();
            members.push(self.member("stream_options", said));
            options = Some(arrives);
        }
        if self.chance(3) {
            let tools = self.tools();
            members.push(self.member("tools", tools));
        }
        self.shuffle(&mut members);
        Asked {
            members,
            stream,
            options,
        }
    }

    fn conversation(&mut self, dialect: DialectName) -> Member {
        let name = match dialect {
            DialectName::Gemini => "contents",
            DialectName::Responses => "input",
            _ => "messages",
        };
        if dialect == DialectName::Responses && self.chance(5) {
            let text = self.string();
            return self.member(name, text);
        }
        let count = self.0.below(4);
        let turns: Vec<String> = (0..count).map(|_| self.turn(dialect)).collect();
        let list = self.list(&turns);
        self.member(name, list)
    }

    fn turn(&mut self, dialect: DialectName) -> String {
        let (field, roles): (_, &[&str]) = match dialect {
            DialectName::Gemini => ("parts", &["\"user\"", "\"model\""]),
            DialectName::Messages => ("content", &["\"user\"", "\"assistant\""]),
            _ => ("content", &["\"user\"", "\"assistant\"", "\"system\""]),
        };
        let role = self.one_of(roles);
        let mut members = self.unknown(2);
        members.push(self.member("role", role));
        let content = if dialect != DialectName::Gemini && self.chance(2) {
            self.string()
        } else {
            let count = self.0.below(4);
            let blocks: Vec<String> = (0..count).map(|_| self.block(dialect)).collect();
            self.list(&blocks)
        };
        members.push(self.member(field, content));
        self.shuffle(&mut members);
        self.object(&members)
    }

    fn block(&mut self, dialect: DialectName) -> String {
        let mut members = self.unknown(2);
        let text = self.string();
        members.push(self.member("text", text));
        if dialect != DialectName::Gemini {
            let kind = self.one_of(&["\"text\"", "\"input_text\"", "\"hologram\"", "null"]);
            members.push(self.member("type", kind));
        }
        self.shuffle(&mut members);
        self.object(&members)
    }

    fn tools(&mut self) -> String {
        let mut members = self.unknown(2);
        let schema = self.value(5);
        members.push(self.member("name", "\"f\""));
        members.push(self.member("input_schema", schema));
        let tool = self.object(&members);
        self.list(&[tool])
    }

    /// Parameters with values that every dialect takes, in several spellings.
    fn parameters(&mut self, dialect: DialectName) -> Vec<Member> {
        let (limit, stop) = match dialect {
            DialectName::Messages => ("max_tokens", Some("stop_sequences")),
            DialectName::Responses => ("max_output_tokens", None),
            _ => ("max_completion_tokens", Some("stop")),
        };
        let mut members = Vec::new();
        if dialect == DialectName::Messages || self.chance(2) {
            let most = self.one_of(&["1", "64", "65", "100000"]);
            members.push(self.member(limit, most));
        }
        for name in ["temperature", "top_p"] {
            if self.chance(2) {
                let value = self.one_of(&["0", "1", "1.0", "0.25", "10e-1", "0.70", "5E-1"]);
                members.push(self.member(name, value));
            }
        }
        if let Some(name) = stop.filter(|_| self.chance(3)) {
            members.push(self.member(name, "[\"END\" , \"\\u0041\"]"));
        }
        if dialect == DialectName::Chat && self.chance(3) {
            members.push(self.member("seed", "7"));
        }
        members
    }

    fn config(&mut self) -> Option<Member> {
        if self.chance(3) {
            return None;
        }
        let mut inside = self.unknown(2);
        for (name, values) in [
            ("maxOutputTokens", ["1", "64", "100000"]),
            ("temperature", ["0", "1.0", "0.70"]),
            ("topP", ["1", "0.5", "5E-1"]),
            ("seed", ["7", "8", "9"]),
        ] {
            if self.chance(2) {
                let value = self.one_of(&values);
                inside.push(self.member(name, value));
            }
        }
        self.shuffle(&mut inside);
        let object = self.object(&inside);
        Some(self.member("generationConfig", object))
    }

    /// As said, and as it must arrive where usage is to be asked for.
    fn stream_options(&mut self) -> (String, String) {
        if self.chance(4) {
            return ("null".to_owned(), "{\"include_usage\":true}".to_owned());
        }
        let said = self.one_of(&["true", "false", "null"]);
        let mut members = self.unknown(2);
        let stands = self.chance(2);
        if stands {
            members.push(self.member("include_usage", said));
        }
        let text = self.object(&members);
        let wanted = match members.iter().find(|m| m.value == said && stands) {
            // Escaped or not, this is the only member whose name begins so.
            Some(_) => None,
            None if members.is_empty() => Some(text.replacen('{', "{\"include_usage\":true", 1)),
            None => Some(text.replacen('{', "{\"include_usage\":true,", 1)),
        };
        let wanted = wanted.unwrap_or_else(|| switched(&text, &members));
        (text, wanted)
    }
}

/// `text` with `include_usage` true, which is the last of `members`.
fn switched(text: &str, members: &[Member]) -> String {
    let last = members.last().expect("include_usage stands last");
    let at = text.rfind(&last.name).expect("its name stands there");
    let (head, tail) = text.split_at(at + last.name.len());
    head.to_owned() + &tail.replacen(&last.value, "true", 1)
}

/// The members in the order drawn, spelled once more with `change` made.
fn assembled(draw: &mut Draw, asked: &Asked) -> (String, Vec<String>) {
    let body = draw.object(&asked.members);
    let names = asked.members.iter().map(|m| serde_json::from_str(&m.name));
    let names = names.map(|n| n.expect("a name is a string")).collect();
    (body, names)
}

/// What must arrive: the body with the model's name, and in Chat the asking for usage, changed at their places and nowhere else.
fn wanted(
    dialect: DialectName,
    asked: &Asked,
    names: &[String],
    body: &str,
    model: &str,
) -> String {
    if dialect == DialectName::Gemini {
        return body.to_owned();
    }
    let model = serde_json::to_string(model).expect("a string");
    let ask = dialect == DialectName::Chat && asked.stream;
    let at = names.iter().position(|n| n == "stream_options");
    let mut out = body.to_owned();
    let mut name = model;
    match (ask, at, &asked.options) {
        (true, Some(at), Some(options)) => {
            let said = &asked.members[at];
            let from = place(body, asked, at);
            let tail = out.split_off(from);
            out += &tail.replacen(&said.value, options, 1);
        }
        (true, ..) => name += ",\"stream_options\":{\"include_usage\":true}",
        (false, ..) => {}
    }
    out.replacen("\"THE MODEL\"", &name, 1)
}

/// Where the value of the member at `index` may be looked for: behind all members before it.
fn place(body: &str, asked: &Asked, index: usize) -> usize {
    let mut at = 1;
    for member in &asked.members[..index] {
        at += body[at..].find(&member.name).expect("in order") + member.name.len();
        at += body[at..].find(&member.value).expect("in order") + member.value.len();
    }
    let name = &asked.members[index].name;
    at + body[at..].find(name).expect("in order") + name.len()
}

fn own(dialect: DialectName, body: &str, rules: &Rules) -> Result<String, Fault> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let peek = peek(dialect, &body)?;
    let (slices, _) = own_words(dialect, &body, &peek, "up \"stream\"", rules, None)?;
    Ok(String::from_utf8(slices.concat()).expect("UTF-8"))
}

// All tests together in about two seconds of a debug build.
const CASES: u64 = 600;

#[test]
fn a_request_that_passes_arrives_as_it_was_said() {
    for dialect in PASSING {
        for seed in 0..CASES {
            let mut draw = Draw(Rng::seeded(seed));
            let asked = draw.request(dialect);
            let (body, names) = assembled(&mut draw, &asked);
            let got = own(dialect, &body, &Rules::default());
            let got =
                got.unwrap_or_else(|fault| panic!("{dialect:?} seed {seed}: {fault:?}\n{body}"));
            let wanted = wanted(dialect, &asked, &names, &body, "up \"stream\"");
            assert!(
                got == wanted,
                "{dialect:?} seed {seed}:\n{body}\n{got}\n{wanted}"
            );
        }
    }
}

/// The top level of `text`, names and values as spelled.
fn members_of(text: &str) -> Vec<(String, String)> {
    use serde_json::value::RawValue;
    struct All;
    impl<'de> serde::de::Visitor<'de> for All {
        type Value = Vec<(String, String)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                found.push((name.get().to_owned(), value.get().to_owned()));
            }
            Ok(found)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    serde::Deserializer::deserialize_map(&mut json, All).expect("an object")
}

#[test]
fn an_envelope_takes_out_and_puts_in_whole_members_alone() {
    let shape: (&[&str], &str) = (&["model", "stream"], "\"anthropic_version\":\"v\"");
    for seed in 0..CASES {
        let mut draw = Draw(Rng::seeded(seed));
        let asked = draw.request(DialectName::Messages);
        let (text, names) = assembled(&mut draw, &asked);
        let body = Bytes::copy_from_slice(text.as_bytes());
        let peek = peek(DialectName::Messages, &body).expect("right");
        let rules = Rules::default();
        let (slices, _) = own_words(
            DialectName::Messages,
            &body,
            &peek,
            "up",
            &rules,
            Some(shape),
        )
        .expect("nothing stands twice");
        let got = members_of(&String::from_utf8(slices.concat()).expect("UTF-8"));
        let mut wanted = vec![("\"anthropic_version\"".to_owned(), "\"v\"".to_owned())];
        for (member, name) in asked.members.iter().zip(&names) {
            if name != "model" && name != "stream" {
                wanted.push((member.name.clone(), member.value.clone()));
            }
        }
        assert_eq!(got, wanted, "seed {seed}: {text}");
    }
}

fn drawn_rules(draw: &mut Draw) -> Rules {
    let mut rules = Rules::default();
    for name in ["temperature", "top_p", "seed", "stop", "max_output"] {
        match draw.0.below(5) {
            0 => rules.drop.push(name.to_owned()),
            1 => rules.refuse.push(name.to_owned()),
            2 if name == "max_output" => rules.clamp.push((name.to_owned(), 2.0, 64.0)),
            2 if name != "seed" && name != "stop" => {
                rules.clamp.push((name.to_owned(), 0.25, 0.5));
            }
            _ => {}
        }
    }
    rules
}

/// The parameters that are read from what arrives are those that `Rules::apply` leaves of what was said, and a request is refused where the
/// writers of other dialects would refuse it; what no rule names stays as it was spelled.
#[test]
fn rules_do_to_bytes_what_they_do_to_canon() {
    let (mut bitten, mut refused) = (0, 0);
    for dialect in PASSING {
        for seed in 0..CASES {
            let mut draw = Draw(Rng::seeded(seed));
            let asked = draw.request(dialect);
            let (text, _) = assembled(&mut draw, &asked);
            let rules = drawn_rules(&mut draw);
            let body = Bytes::copy_from_slice(text.as_bytes());
            let Ok(mut request) = read_request(dialect, &body) else {
                continue;
            };
            let told = rules.apply(&mut request);
            let peek = peek(dialect, &body).expect("what is read whole can be peeked at");
            let got = own_words(dialect, &body, &peek, "up", &rules, None);
            let (slices, said) = match got {
                Ok(got) => got,
                Err(fault) => {
                    let asks = rules
                        .refuse
                        .iter()
                        .any(|name| asks_for(&request.sampling, name));
                    assert!(asks, "{dialect:?} seed {seed}: {fault:?}\n{text}");
                    refused += 1;
                    continue;
                }
            };
            let passed = String::from_utf8(slices.concat()).expect("UTF-8");
            let mut sorted = [said, told];
            sorted.iter_mut().for_each(|names| names.sort());
            assert_eq!(sorted[0], sorted[1], "{dialect:?} seed {seed}\n{text}");
            bitten += usize::from(!sorted[0].is_empty());
            for name in &rules.refuse {
                let refused = asks_for(&request.sampling, name);
                assert!(!refused, "{dialect:?} seed {seed}: {name}\n{text}");
            }
            let unlimited = request.sampling.max_output.is_none();
            if dialect == DialectName::Messages && unlimited {
                // The provider says that it wants a limit; the rule that drops it is at fault.
                continue;
            }
            let again = read_request(dialect, &Bytes::from(passed.clone())).expect("still right");
            assert_eq!(
                again.sampling, request.sampling,
                "{dialect:?} seed {seed}\n{text}\n{passed}"
            );
            untouched(dialect, seed, &text, &passed);
        }
    }
    assert!(
        bitten > 300 && refused > 60,
        "only {bitten} met a rule, {refused} were refused"
    );
}

fn asks_for(sampling: &crate::canon::Sampling, name: &str) -> bool {
    match name {
        "temperature" => sampling.temperature.is_some(),
        "top_p" => sampling.top_p.is_some(),
        "seed" => sampling.seed.is_some(),
        "stop" => !sampling.stop.is_empty(),
        "max_output" => sampling.max_output.is_some(),
        _ => false,
    }
}

/// Members that no rule of `drawn_rules` names, and that are not the model or the stream's options, are as they were, in their order.
fn untouched(dialect: DialectName, seed: u64, before: &str, after: &str) {
    const TOUCHED: [&str; 11] = [
        "model",
        "stream_options",
        "temperature",
        "top_p",
        "seed",
        "stop",
        "stop_sequences",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "generationConfig",
    ];
    let rest = |text: &str| -> Vec<(String, String)> {
        let mut members = members_of(text);
        members.retain(|(name, _)| {
            let name: String = serde_json::from_str(name).expect("a string");
            !TOUCHED.contains(&&*name)
        });
        members
    };
    assert_eq!(rest(before), rest(after), "{dialect:?} seed {seed}");
}

#[test]
fn a_field_that_we_route_on_and_that_stands_twice_is_refused_by_name() {
    let once = [
        (
            DialectName::Chat,
            &["model", "stream", "messages", "tools", "max_tokens"][..],
        ),
        (
            DialectName::Messages,
            &["model", "stream", "messages", "system", "max_tokens"],
        ),
        (
            DialectName::Responses,
            &[
                "model",
                "stream",
                "input",
                "instructions",
                "max_output_tokens",
            ],
        ),
        (
            DialectName::Gemini,
            &["contents", "tools", "generationConfig", "systemInstruction"],
        ),
    ];
    for (dialect, fields) in once {
        for (field, seed) in fields.iter().flat_map(|f| (0..40).map(move |s| (f, s))) {
            let mut draw = Draw(Rng::seeded(seed));
            let mut asked = draw.request(dialect);
            let name = |m: &Member| serde_json::from_str::<String>(&m.name).expect("a string");
            let value = match *field {
                "model" => "\"m\"",
                "stream" => "true",
                "system" | "instructions" => "\"s\"",
                "max_tokens" | "max_output_tokens" => "1",
                "generationConfig" | "systemInstruction" => "{}",
                _ => "[]",
            };
            asked.members.retain(|m| name(m) != *field);
            for _ in 0..2 {
                let twin = draw.member(field, value);
                asked.members.push(twin);
            }
            draw.shuffle(&mut asked.members);
            let (body, _) = assembled(&mut draw, &asked);
            let fault = own(dialect, &body, &Rules::default()).expect_err(&body);
            assert_eq!(fault.field.as_deref(), Some(*field), "{fault:?} {body}");
        }
    }
}

/// A cache matches on the rendered prompt, and providers render tools, then instructions, then turns; a router that moved them would miss.
#[test]
fn tools_instructions_and_turns_stay_in_the_order_in_which_they_were_said() {
    let said = [
        (
            DialectName::Chat,
            r#"{"tools":[],"messages":[{"role":"system","content":"s"}],"model":"m"}"#,
        ),
        (
            DialectName::Messages,
            r#"{"messages":[],"tools":[],"max_tokens":1,"system":"s","model":"m"}"#,
        ),
        (
            DialectName::Responses,
            r#"{"instructions":"s","input":[],"tools":[],"model":"m"}"#,
        ),
        (
            DialectName::Gemini,
            r#"{"contents":[],"tools":[],"systemInstruction":{"parts":[]}}"#,
        ),
    ];
    for (dialect, body) in said {
        let got = own(dialect, body, &Rules::default()).expect("right");
        let name = if dialect == DialectName::Gemini {
            "\"m\""
        } else {
            "\"up \\\"stream\\\"\""
        };
        assert_eq!(got, body.replace("\"m\"", name));
    }
}

#[test]
fn nesting_is_bounded_only_where_we_look() {
    // Unknown fields are skipped without recursion; content is walked, within serde_json's 128 levels.
    for (levels, fine) in [(100, true), (200, false)] {
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":{}}}]}}"#,
            deep(levels)
        );
        assert_eq!(
            own(DialectName::Chat, &body, &Rules::default()).is_ok(),
            fine,
            "{levels}"
        );
    }
    let body = format!(r#"{{"x":{},"model":"m","messages":[]}}"#, deep(50_000));
    let got = own(DialectName::Chat, &body, &Rules::default()).expect("nobody looks");
    assert!(got.contains(&deep(50_000)));
}
