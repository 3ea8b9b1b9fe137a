//! Requests that mean the same, written differently, have the same elements; requests that differ in a byte that a model reads have not.

use super::*;
use crate::base::Rng;
use crate::canon::CacheTtl;

type Told = Vec<(ElementKind, String)>;

fn elements(dialect: DialectName, body: &str) -> Told {
    let mut elements = Elements::new();
    elements
        .read(dialect, body.as_bytes())
        .unwrap_or_else(|_| panic!("unread: {body}"));
    let tell = |e: Element<'_>| (e.kind, String::from_utf8_lossy(e.bytes).into_owned());
    elements.iter(body.as_bytes()).map(tell).collect()
}

fn marks(dialect: DialectName, body: &str) -> Vec<Option<Option<CacheTtl>>> {
    let mut elements = Elements::new();
    elements.read(dialect, body.as_bytes()).expect("JSON");
    let found = elements.iter(body.as_bytes());
    let ends = found.filter(|e| e.kind.ends_prefix());
    ends.map(|e| e.mark.map(|m| m.ttl)).collect()
}

const SPOKEN: [DialectName; 5] = [
    DialectName::Messages,
    DialectName::Chat,
    DialectName::Responses,
    DialectName::Gemini,
    DialectName::Converse,
];

/// What is asked: its content alone, free of how it is written.
#[derive(Clone)]
pub(crate) struct Ask {
    tools: Vec<String>,
    system: Vec<String>,
    /// Texts and tool calls in turns, the user's first.
    turns: Vec<Vec<String>>,
}

impl Ask {
    pub(crate) fn of(rng: &mut Rng) -> Self {
        let some = |rng: &mut Rng, least: u64, most: u64| -> Vec<String> {
            (0..least + rng.below(most)).map(|_| word(rng)).collect()
        };
        Self {
            tools: some(rng, 0, 3),
            system: some(rng, 1, 2),
            turns: (0..1 + rng.below(5)).map(|_| some(rng, 1, 3)).collect(),
        }
    }

    /// As JSON, with marks and short forms as `style` draws them.
    pub(crate) fn written(&self, dialect: DialectName, style: &mut Rng) -> String {
        use DialectName::{Converse, Gemini, Messages, Responses};
        let tools = self.tools.iter().map(|t| {
            let schema = format!(r#"{{"properties":{{"cache_control":{{"title":{t}}}}}}}"#);
            match dialect {
                Converse => format!(
                    r#"{{"toolSpec":{{"name":{t},"inputSchema":{schema}}}}}{}"#,
                    point(style)
                ),
                Gemini => format!(r#"{{"functionDeclarations":[{{"name":{t},"x":{schema}}}]}}"#),
                _ => marked(
                    &format!(r#""name":{t},"input_schema":{schema}"#),
                    dialect,
                    style,
                ),
            }
        });
        let tools: Vec<String> = tools.collect();
        let tools = tools.join(",");
        let system = self.content(&self.system, "system", dialect, style);
        let turns = self.turns.iter().enumerate().map(|(n, turn)| {
            let role = match (n % 2, dialect) {
                (0, _) => "user",
                (_, Gemini) => "model",
                _ => "assistant",
            };
            let parts = if dialect == Gemini {
                "parts"
            } else {
                "content"
            };
            let said = self.content(turn, role, dialect, style);
            if style.once_in(3) {
                format!(r#"{{"{parts}":{said},"role":"{role}"}}"#)
            } else {
                format!(r#"{{"role":"{role}","{parts}":{said}}}"#)
            }
        });
        let turns = turns.collect::<Vec<_>>().join(",");
        let mut members = match dialect {
            Messages => vec![
                format!(r#""tools":[{tools}]"#),
                format!(r#""system":{system}"#),
                format!(r#""messages":[{turns}]"#),
                r#""thinking":{"type":"adaptive"}"#.to_owned(),
            ],
            Responses => vec![
                format!(r#""tools":[{tools}]"#),
                format!(r#""instructions":{system}"#),
                format!(r#""input":[{turns}]"#),
            ],
            Gemini => vec![
                format!(r#""tools":[{tools}]"#),
                format!(r#""systemInstruction":{{"parts":{system}}}"#),
                format!(r#""contents":[{turns}]"#),
            ],
            Converse => vec![
                format!(r#""toolConfig":{{"tools":[{tools}]}}"#),
                format!(r#""system":{system}"#),
                format!(r#""messages":[{turns}]"#),
            ],
            _ => vec![
                format!(r#""tools":[{tools}]"#),
                format!(r#""messages":[{{"role":"system","content":{system}}},{turns}]"#),
                r#""response_format":{"type":"json_object"}"#.to_owned(),
            ],
        };
        members.push(format!(r#""max_tokens":{}"#, style.below(9)));
        members.push(format!(r#""model":{}"#, word(style)));
        for last in (1..members.len()).rev() {
            members.swap(last, style.below(last as u64 + 1) as usize);
        }
        spaced(&format!("{{{}}}", members.join(",")), style)
    }

    fn content(
        &self,
        blocks: &[String],
        role: &str,
        dialect: DialectName,
        style: &mut Rng,
    ) -> String {
        use DialectName::{Converse, Gemini, Responses};
        if let ([only], false) = (blocks, matches!(dialect, Gemini | Converse))
            && (style.once_in(2) || (dialect == Responses && role == "system"))
        {
            return only.clone();
        }
        let kind = match (dialect, role) {
            (Responses, "assistant") => "output_text",
            (Responses, _) => "input_text",
            _ => "text",
        };
        let block = |text: &String| match dialect {
            Gemini => format!(r#"{{"text":{text}}}"#),
            Converse => format!(r#"{{"text":{text}}}{}"#, point(style)),
            _ => marked(&format!(r#""type":"{kind}","text":{text}"#), dialect, style),
        };
        let blocks: Vec<String> = blocks.iter().map(block).collect();
        format!("[{}]", blocks.join(","))
    }
}

/// A string of JSON, with what is hard to pass over.
fn word(rng: &mut Rng) -> String {
    let pieces = [
        "a",
        "b ",
        "\\\"",
        "\\\\",
        "\\n",
        "é",
        "{",
        "]",
        " : ",
        "0123456789abcdef",
    ];
    let inner: String = (0..1 + rng.below(9))
        .map(|_| pieces[rng.below(pieces.len() as u64) as usize])
        .collect();
    format!("\"{inner}\"")
}

/// An object of these members, and perhaps a mark at either end.
fn marked(members: &str, dialect: DialectName, style: &mut Rng) -> String {
    let name = match dialect {
        DialectName::Messages => "cache_control",
        _ => "prompt_cache_breakpoint",
    };
    let says = [
        r#"{"type":"ephemeral"}"#,
        r#"{"ttl":"1h","type":"ephemeral"}"#,
        "null",
    ];
    let says = says[style.below(3) as usize];
    match style.below(4) {
        0 => format!(r#"{{"{name}":{says},{members}}}"#),
        1 => format!(r#"{{{members},"{name}":{says}}}"#),
        _ => format!("{{{members}}}"),
    }
}

fn point(style: &mut Rng) -> &'static str {
    let points = [r#",{"cachePoint":{"type":"default"}}"#, ""];
    points[style.below(2) as usize]
}

/// The same JSON with other space between its parts; half the time none.
fn spaced(json: &str, style: &mut Rng) -> String {
    if style.once_in(2) {
        return json.to_owned();
    }
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for c in json.chars() {
        if inside {
            inside = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
            out.push(c);
            continue;
        }
        inside = c == '"';
        if "{}[]:,".contains(c) && style.once_in(3) {
            out.push_str([" ", "\n  ", "\t", "\r\n"][style.below(4) as usize]);
        }
        out.push(c);
        if "{}[]:,".contains(c) && style.once_in(3) {
            out.push(' ');
        }
    }
    out
}

#[test]
fn space_marks_short_forms_and_the_order_of_members_change_no_element() {
    let mut rng = Rng::seeded(1);
    for round in 0..1_500 {
        let ask = Ask::of(&mut rng);
        for dialect in SPOKEN {
            let one = ask.written(dialect, &mut rng);
            let two = ask.written(dialect, &mut rng);
            let (a, b) = (elements(dialect, &one), elements(dialect, &two));
            assert_eq!(a, b, "round {round}:\n{one}\n{two}");
        }
    }
}

#[test]
fn a_changed_word_changes_its_element_and_no_other() {
    let mut rng = Rng::seeded(2);
    for round in 0..1_500 {
        let ask = Ask::of(&mut rng);
        let mut other = ask.clone();
        let fields = [&mut other.tools, &mut other.system];
        let mut words: Vec<&mut String> = fields.into_iter().flatten().collect();
        words.extend(other.turns.iter_mut().flatten());
        let at = rng.below(words.len() as u64) as usize;
        words[at].insert(1, 'Z');
        for dialect in SPOKEN {
            let one = ask.written(dialect, &mut rng);
            let two = other.written(dialect, &mut rng);
            let (a, b) = (elements(dialect, &one), elements(dialect, &two));
            assert_eq!(a.len(), b.len());
            let differ = a.iter().zip(&b).filter(|(a, b)| a != b).count();
            assert_eq!(differ, 1, "round {round}:\n{one}\n{two}");
        }
    }
}

#[test]
fn a_conversation_that_goes_on_keeps_the_elements_it_had() {
    let mut rng = Rng::seeded(3);
    for round in 0..1_500 {
        let long = Ask::of(&mut rng);
        let mut short = long.clone();
        short.turns.truncate(1 + rng.below(4) as usize);
        for dialect in SPOKEN {
            let before = elements(dialect, &short.written(dialect, &mut rng));
            let after = elements(dialect, &long.written(dialect, &mut rng));
            assert!(after.starts_with(&before), "round {round} {dialect:?}");
        }
    }
}

#[test]
fn marks_are_told_where_they_stand_and_for_how_long() {
    let body = r#"{"messages":[{"role":"user","content":[
        {"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}},
        {"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"r","cache_control":{"type":"ephemeral"}}]},
        {"type":"text","text":"b","cache_control":null}]}],
      "system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],
      "tools":[{"name":"f","input_schema":{}}]}"#;
    assert_eq!(
        marks(DialectName::Messages, body),
        [None, Some(None), Some(Some(CacheTtl::Hours1)), None, None]
    );
    let told = elements(DialectName::Messages, body);
    let result =
        r#"{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"r"}]}"#;
    assert!(
        told.contains(&(ElementKind::ToolResult, result.to_owned())),
        "{told:?}"
    );
    let body = r#"{"cache_control":{"type":"ephemeral"},"messages":[{"role":"user","content":"a"},
        {"role":"assistant","content":[{"type":"text","text":"b"},{"type":"thinking","thinking":"t","signature":"s"}]}]}"#;
    assert_eq!(marks(DialectName::Messages, body), [None, Some(None), None]);
    let body = r#"{"messages":[{"role":"user","content":[{"text":"a"},{"cachePoint":{"type":"default","ttl":"1h"}},{"text":"b"}]}]}"#;
    let hour = Some(Some(CacheTtl::Hours1));
    assert_eq!(marks(DialectName::Converse, body), [hour, None]);
}

/// What a tool takes or a model said may be named like a mark, and is none.
#[test]
fn what_is_only_called_like_a_mark_counts() {
    let with = |input: &str| {
        let body = format!(
            r#"{{"messages":[{{"role":"assistant","content":[{{"type":"tool_use","id":"t","name":"f","input":{input}}}]}}]}}"#
        );
        elements(DialectName::Messages, &body)
    };
    assert_ne!(
        with(r#"{"cache_control":1}"#),
        with(r#"{"cache_control":2}"#)
    );
}

#[test]
fn each_dialect_is_read_in_its_providers_order() {
    use ElementKind::*;
    let kinds = |dialect, body: &str| -> Vec<ElementKind> {
        elements(dialect, body)
            .into_iter()
            .map(|(kind, _)| kind)
            .collect()
    };
    let chat = r#"{"messages":[{"role":"developer","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}}]},
        {"role":"assistant","content":null,"reasoning_content":"r","tool_calls":[{"id":"c"}]},{"role":"tool","tool_call_id":"c","content":"out"}],
        "response_format":{"type":"json_object"},"tools":[{"type":"function"}],"reasoning_effort":"low","temperature":1}"#;
    assert_eq!(
        kinds(DialectName::Chat, chat),
        [
            Param, Tool, Schema, Param, System, Turn, Text, Media, Turn, Thinking, ToolCall, Turn,
            Param, ToolResult
        ]
    );
    let responses = r#"{"input":[{"type":"message","role":"user","content":"a"},{"type":"reasoning","encrypted_content":"e","summary":[]},
        {"type":"function_call","name":"f","arguments":"{}","call_id":"c"},{"type":"function_call_output","call_id":"c","output":"o"}],
        "instructions":"s","text":{"verbosity":"low"},"tools":[{"type":"web_search"}]}"#;
    assert_eq!(
        kinds(DialectName::Responses, responses),
        [
            Tool, Schema, System, Turn, Text, Thinking, ToolCall, ToolResult
        ]
    );
    let gemini = r#"{"contents":[{"parts":[{"text":"a"},{"inlineData":{"data":"QQ=="}}]},{"role":"model","parts":[{"text":"t","thought":true},{"functionCall":{"name":"f"}}]},
        {"role":"user","parts":[{"functionResponse":{"name":"f"}}]}],"systemInstruction":{"parts":[{"text":"s"}]},
        "generationConfig":{"temperature":1,"thinkingConfig":{"thinkingBudget":1},"responseSchema":{}},"toolConfig":{},"tools":[{}]}"#;
    assert_eq!(
        kinds(DialectName::Gemini, gemini),
        [
            Param, Tool, Schema, System, Param, Turn, Text, Media, Turn, Thinking, ToolCall, Turn,
            ToolResult
        ]
    );
    assert_eq!(
        kinds(DialectName::Completions, r#"{"prompt":"p"}"#),
        [Turn, Text]
    );
    assert_eq!(kinds(DialectName::Native, r#"{"a":1}"#), [Other]);
}

#[test]
fn a_picture_weighs_what_providers_count_wherever_it_lies() {
    let data = "A".repeat(500_000);
    let image = format!(r#"{{"type":"image","source":{{"type":"base64","data":"{data}"}}}}"#);
    let within =
        format!(r#"{{"type":"tool_result","content":[{image},{{"type":"text","text":"t"}}]}}"#);
    for block in [image, within] {
        let body = format!(r#"{{"messages":[{{"role":"user","content":[{block}]}}]}}"#);
        let mut elements = Elements::new();
        elements
            .read(DialectName::Messages, body.as_bytes())
            .expect("JSON");
        let weight = elements
            .iter(body.as_bytes())
            .last()
            .expect("a block")
            .weight;
        assert!((6_400..6_500).contains(&weight), "{weight}");
        let has_param = elements.iter(body.as_bytes()).any(|e| e.bytes == b"media");
        assert!(
            has_param,
            "pictures anywhere change how messages are cached"
        );
    }
    let text = format!(r#"{{"type":"document","source":{{"type":"text","data":"{data}"}}}}"#);
    let body = format!(r#"{{"messages":[{{"role":"user","content":[{text}]}}]}}"#);
    let mut elements = Elements::new();
    elements
        .read(DialectName::Messages, body.as_bytes())
        .expect("JSON");
    assert!(
        elements
            .iter(body.as_bytes())
            .last()
            .expect("a block")
            .weight
            > 500_000
    );
}

#[test]
fn what_is_no_body_is_unread_and_never_panics() {
    let mut rng = Rng::seeded(4);
    let ask = Ask::of(&mut rng);
    for _ in 0..20_000 {
        let dialect = SPOKEN[rng.below(5) as usize];
        let mut body = ask.written(dialect, &mut rng).into_bytes();
        let at = rng.below(body.len() as u64) as usize;
        match rng.below(3) {
            0 => body.truncate(at),
            1 => body[at] = b"{}[]\":,\\n"[rng.below(9) as usize],
            _ => drop(body.remove(at)),
        }
        let mut elements = Elements::new();
        let read = elements.read(dialect, &body);
        assert!(read.is_ok() || elements.iter(&body).next().is_none());
    }
    assert_eq!(Elements::new().read(DialectName::Chat, b"[]"), Err(Unread));
}
