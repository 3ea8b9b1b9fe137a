//! Marks change no element and no other byte, stand where they may, and leave as they came.

use super::*;
use crate::base::Rng;
use crate::canon::ElementKind;
use crate::protocol::dialect::elements::tests::Ask;

const SPELLINGS: [(DialectName, Spelling); 4] = [
    (DialectName::Messages, Spelling::CacheControl),
    (DialectName::Converse, Spelling::CachePoint),
    (DialectName::Chat, Spelling::Breakpoint),
    (DialectName::Responses, Spelling::Breakpoint),
];

type Told = Vec<(ElementKind, Vec<u8>, u32)>;

fn read(dialect: DialectName, body: &[u8]) -> Elements {
    let mut elements = Elements::new();
    elements.read(dialect, body).expect("JSON");
    elements
}

fn told_of(dialect: DialectName, body: &[u8]) -> Told {
    let elements = read(dialect, body);
    let tell = |e: crate::canon::Element<'_>| (e.kind, e.bytes.to_vec(), e.weight);
    elements.iter(body).map(tell).collect()
}

fn joined(body: &Bytes, edits: Vec<Edit>) -> Bytes {
    edited(body, edits).concat().into()
}

fn json(body: &[u8]) -> serde_json::Value {
    serde_json::from_slice(body)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(body)))
}

/// Marks behind some of the spots that bear one, with a lifetime or without.
fn some_marks(elements: &Elements, rng: &mut Rng) -> Vec<Written> {
    let spots = elements.spots().enumerate();
    let free = spots.filter(|(_, spot)| spot.bears && spot.mark.is_none());
    let all: Vec<_> = free.map(|(spot, _)| spot).collect();
    let drawn = all.into_iter().filter(|_| rng.once_in(2));
    let ttls = [None, Some(CacheTtl::Hours1)];
    let spots: Vec<_> = drawn.collect();
    let mut mark = |spot| Written {
        spot,
        ttl: ttls[rng.below(2) as usize],
    };
    spots.into_iter().map(&mut mark).collect()
}

#[test]
fn marks_change_no_element_are_all_found_again_and_leave_every_other_byte() {
    let mut rng = Rng::seeded(41);
    let (mut written, mut alone) = (0, 0);
    for round in 0..6_000 {
        let (dialect, spelling) = SPELLINGS[round % SPELLINGS.len()];
        let body: Bytes = Ask::of(&mut rng).written(dialect, &mut rng).into();
        let elements = read(dialect, &body);
        let marks = some_marks(&elements, &mut rng);
        let edits = marking(dialect, &elements, spelling, &marks);
        let pieces: usize = edits.iter().map(|e| e.with.len()).sum();
        let marked = joined(&body, edits.clone());
        json(&marked);
        let text = String::from_utf8_lossy(&marked);
        // What was put in, taken out again by its place, leaves the bytes that were.
        let mut back = marked.to_vec();
        let mut sorted = edits.clone();
        sorted.sort_by_key(|e| e.at.start);
        for edit in &sorted {
            let at = edit.at.start;
            assert_eq!(
                back.drain(at..at + edit.with.len()).count(),
                edit.with.len()
            );
        }
        assert_eq!(
            (back, marked.len() - pieces),
            (body.to_vec(), body.len()),
            "{text}"
        );
        assert_eq!(told_of(dialect, &body), told_of(dialect, &marked), "{text}");
        let after = read(dialect, &marked);
        let asked: Vec<_> = marks.iter().map(|m| (m.spot, m.ttl)).collect();
        let was: Vec<_> = elements.spots().map(|s| s.mark).collect();
        let new = after.spots().enumerate().filter(|(i, _)| was[*i].is_none());
        let found: Vec<_> = new.filter_map(|(i, s)| Some((i, s.mark?.ttl))).collect();
        assert_eq!(found, asked, "{text}");
        assert_eq!(after.marks().0, elements.marks().0 + marks.len(), "{text}");
        written += marks.len();
        alone += edits.len() - marks.len();
    }
    assert!(written > 5_000 && alone > 500, "{written} {alone}");
}

#[test]
fn unmarking_leaves_no_mark_no_other_change_and_what_was_there_before() {
    let mut rng = Rng::seeded(42);
    let (mut left, mut same) = (0, 0);
    for round in 0..6_000 {
        let (dialect, spelling) = SPELLINGS[round % SPELLINGS.len()];
        let body: Bytes = Ask::of(&mut rng).written(dialect, &mut rng).into();
        let plain = joined(&body, unmarking(&body));
        let text = String::from_utf8_lossy(&plain);
        assert_eq!(json(&plain), without(json(&body)), "{text}");
        assert_eq!(read(dialect, &plain).marks(), (0, false), "{text}");
        assert_eq!(told_of(dialect, &body), told_of(dialect, &plain), "{text}");
        assert!(unmarking(&plain).is_empty(), "{text}");
        left += usize::from(plain != body);
        // Ours leave as they came; a text that became a list stays one.
        let elements = read(dialect, &plain);
        let within: Vec<_> = some_marks(&elements, &mut rng)
            .into_iter()
            .filter(|m| !matches!(elements.door(m.spot), Some(Door::Alone { .. })))
            .collect();
        let marked = joined(&plain, marking(dialect, &elements, spelling, &within));
        assert_eq!(joined(&marked, unmarking(&marked)), plain);
        same += within.len();
    }
    assert!(left > 2_000 && same > 5_000, "{left} {same}");
}

/// A body less its marks, by a tree: what `unmarking` does on bytes. Input of tools and schemas are not looked into.
fn without(mut value: serde_json::Value) -> serde_json::Value {
    fn clean(value: &mut serde_json::Value) {
        let Some(object) = value.as_object_mut() else {
            return;
        };
        object.retain(|name, _| name != "cache_control" && name != "prompt_cache_breakpoint");
        for name in [
            "tools",
            "system",
            "instructions",
            "messages",
            "content",
            "input",
            "toolConfig",
        ] {
            match object.get_mut(name) {
                Some(serde_json::Value::Array(items)) => {
                    items.retain(|i| i.as_object().is_none_or(|o| !o.contains_key("cachePoint")));
                    items.iter_mut().for_each(clean);
                }
                Some(inner) => clean(inner),
                None => {}
            }
        }
    }
    clean(&mut value);
    value
}

#[test]
fn marks_are_written_as_each_api_spells_them() {
    let cases = [
        (
            DialectName::Messages,
            Spelling::CacheControl,
            r#"{"system":"s","tools":[{"name":"t","input_schema":{}}],"messages":[{"role":"user","content":[{"type":"text","text":"u" } ]}]}"#,
            r#"{"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}],"tools":[{"name":"t","input_schema":{},"cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":[{"type":"text","text":"u","cache_control":{"type":"ephemeral","ttl":"1h"} } ]}]}"#,
        ),
        (
            DialectName::Converse,
            Spelling::CachePoint,
            r#"{"system":[{"text":"s"}],"toolConfig":{"tools":[{"toolSpec":{"name":"t"}}]},"messages":[{"role":"user","content":[{"text":"u"}]}]}"#,
            r#"{"system":[{"text":"s"},{"cachePoint":{"type":"default","ttl":"1h"}}],"toolConfig":{"tools":[{"toolSpec":{"name":"t"}},{"cachePoint":{"type":"default","ttl":"1h"}}]},"messages":[{"role":"user","content":[{"text":"u"},{"cachePoint":{"type":"default","ttl":"1h"}}]}]}"#,
        ),
        (
            DialectName::Chat,
            Spelling::Breakpoint,
            r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"u"}]}]}"#,
            r#"{"messages":[{"role":"system","content":[{"type":"text","text":"s","prompt_cache_breakpoint":{"mode":"explicit","ttl":"1h"}}]},{"role":"user","content":[{"type":"text","text":"u","prompt_cache_breakpoint":{"mode":"explicit","ttl":"1h"}}]}]}"#,
        ),
        (
            DialectName::Responses,
            Spelling::Breakpoint,
            r#"{"instructions":"i","input":[{"role":"developer","content":"d"},{"role":"user","content":[{"type":"input_text","text":"u"}]}]}"#,
            r#"{"instructions":"i","input":[{"role":"developer","content":[{"type":"input_text","text":"d","prompt_cache_breakpoint":{"mode":"explicit","ttl":"1h"}}]},{"role":"user","content":[{"type":"input_text","text":"u","prompt_cache_breakpoint":{"mode":"explicit","ttl":"1h"}}]}]}"#,
        ),
    ];
    for (dialect, spelling, before, after) in cases {
        let body = Bytes::from_static(before.as_bytes());
        let elements = read(dialect, &body);
        let all: Vec<_> = (0..elements.spots().count())
            .map(|spot| Written {
                spot,
                ttl: Some(CacheTtl::Hours1),
            })
            .collect();
        let marked = joined(&body, marking(dialect, &elements, spelling, &all));
        assert_eq!(String::from_utf8_lossy(&marked), after);
    }
}

/// Anthropic docs, prompt caching, read 2026-08: a mark there is a 400.
#[test]
fn what_cannot_bear_a_mark_is_given_none() {
    let bears = |dialect, body: &str| -> Vec<bool> {
        let elements = read(dialect, body.as_bytes());
        elements.spots().map(|s| s.bears).collect()
    };
    let message =
        |blocks: &str| format!(r#"{{"messages":[{{"role":"user","content":{blocks}}}]}}"#);
    for (block, can) in [
        (r#"{"type":"text","text":"x"}"#, true),
        (r#"{"type":"text","text":""}"#, false),
        (r#"{"type":"text","text":" \n\t"}"#, false),
        (r#"{"type":"text","text":"x","cache_control":null}"#, false),
        (
            r#"{"type":"thinking","thinking":"x","signature":"s"}"#,
            false,
        ),
        (r#"{"type":"redacted_thinking","data":"x"}"#, false),
        (
            r#"{"type":"tool_use","id":"i","name":"n","input":{}}"#,
            true,
        ),
        (
            r#"{"type":"tool_result","tool_use_id":"i","content":"x"}"#,
            true,
        ),
        (
            r#"{"type":"web_search_tool_result","tool_use_id":"i","content":[]}"#,
            true,
        ),
        (
            r#"{"type":"server_tool_use","id":"i","name":"n","input":{}}"#,
            false,
        ),
        (
            r#"{"type":"image","source":{"type":"url","url":"u"}}"#,
            true,
        ),
        (r#"{"type":"container_upload","file_id":"f"}"#, false),
        (r#"{"type":"new_thing","text":"x"}"#, false),
    ] {
        let body = message(&format!("[{block}]"));
        assert_eq!(bears(DialectName::Messages, &body)[0], can, "{block}");
    }
    assert_eq!(bears(DialectName::Messages, &message("\"\"")), [false]);
    assert_eq!(bears(DialectName::Messages, &message("\"x\"")), [true]);
    let tools =
        r#"{"tools":[{"name":"a","defer_loading":true},{"type":"bash_20250124","name":"bash"}]}"#;
    assert_eq!(bears(DialectName::Messages, tools), [false, true]);
    let converse = r#"{"messages":[{"role":"assistant","content":[{"reasoningContent":{}},{"text":" "},{"toolUse":{}},{"video":{}}]}]}"#;
    assert_eq!(
        bears(DialectName::Converse, converse),
        [false, false, true, false]
    );
    // Only a developer's message bears one there.
    let responses = r#"{"instructions":"i","input":"u"}"#;
    assert_eq!(bears(DialectName::Responses, responses), [false, false]);
    assert_eq!(
        bears(
            DialectName::Gemini,
            r#"{"contents":[{"parts":[{"text":"x"}]}]}"#
        ),
        [false]
    );
}

#[test]
fn a_spot_says_whose_it_is() {
    let whose = |dialect, body: &str| -> Vec<bool> {
        let elements = read(dialect, body.as_bytes());
        elements.spots().map(|s| s.is_models).collect()
    };
    let messages = r#"{"system":"s","messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"b"}]},{"role":"user","content":"c"}]}"#;
    assert_eq!(
        whose(DialectName::Messages, messages),
        [false, false, true, true, false]
    );
    let items = r#"{"input":[{"role":"user","content":"a"},{"type":"reasoning","summary":[]},{"type":"function_call","name":"f"},{"type":"function_call_output","output":"o"}]}"#;
    assert_eq!(
        whose(DialectName::Responses, items),
        [false, true, true, false]
    );
}

#[test]
fn marks_within_blocks_and_for_the_whole_request_are_counted() {
    for (body, count) in [
        (
            r#"{"cache_control":{"type":"ephemeral"},"messages":[{"role":"user","content":"a"}]}"#,
            (1, false),
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"i","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}]}]}"#,
            (1, true),
        ),
        (
            r#"{"system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}},{"type":"text","text":"y","cache_control":null}],"messages":[]}"#,
            (1, false),
        ),
    ] {
        assert_eq!(
            read(DialectName::Messages, body.as_bytes()).marks(),
            count,
            "{body}"
        );
        let bytes = Bytes::copy_from_slice(body.as_bytes());
        let plain = joined(&bytes, unmarking(&bytes));
        assert_eq!(read(DialectName::Messages, &plain).marks(), (0, false));
        assert_eq!(json(&plain), without(json(body.as_bytes())));
    }
}

#[test]
fn what_is_told_at_the_top_is_seen_and_what_is_added_stands_first() {
    let body = Bytes::from_static(br#" { "model":"m","messages":[{"role":"user","content":"\"user\""}],"prompt_cache_key":null}"#);
    let names = ["prompt_cache_key", "user", "session_id"];
    assert_eq!(told(&body, &names)[..], [true, false, false]);
    let edit = ahead(&body, "\"user\":\"x\",".to_owned()).expect("an object");
    let added = joined(&body, vec![edit]);
    assert_eq!(json(&added)["user"], "x");
    assert_eq!(told(&added, &names)[..], [true, true, false]);
}

#[test]
fn what_is_no_body_is_left_as_it_is() {
    let mut rng = Rng::seeded(43);
    for _ in 0..20_000 {
        let mut bytes = br#"{"messages":[{"content":[{"cachePoint":{},"cache_control":{"#.to_vec();
        bytes.extend((0..rng.below(30)).map(|_| b"{}[]\"\\:, acontent"[rng.below(17) as usize]));
        let body = Bytes::from(bytes);
        let edits = unmarking(&body);
        assert!(
            edits
                .iter()
                .all(|e| e.at.start <= e.at.end && e.at.end <= body.len())
        );
        let _ = edited(&body, edits);
    }
}
