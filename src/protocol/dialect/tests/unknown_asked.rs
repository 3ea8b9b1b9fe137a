//! What a client says and this was not written for: fields, blocks, tools and words that nobody knows, anywhere in a request.
//!
//! To a provider of the same dialect the bytes pass. To others it is refused by its place, or left out and named, or its word is passed on: it
//! never vanishes.

use crate::canon::DialectName;
use crate::protocol::dialect::splice::{own_words, peek};
use crate::protocol::dialect::{Rules, Target, read_request, write_request};
use DialectName::{Chat, Completions, Converse, Gemini, Messages, Native, Responses};
use bytes::Bytes;

/// An ordinary request that has each place.
fn ordinary(dialect: DialectName) -> &'static str {
    match dialect {
        Chat => {
            r#"{"model":"m","max_tokens":19,"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"hi"}]},{"role":"assistant","content":"a","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"r"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"tool_choice":"auto"}"#
        }
        Messages => {
            r#"{"model":"m","max_tokens":19,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]},{"role":"assistant","content":[{"type":"tool_use","id":"c","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"r"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"auto"}}"#
        }
        Responses => {
            r#"{"model":"m","max_output_tokens":19,"instructions":"s","input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"r"}],"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":false}],"tool_choice":"auto"}"#
        }
        Gemini => {
            r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[{"text":"hi"}]},{"role":"model","parts":[{"functionCall":{"id":"c","name":"f","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"id":"c","name":"f","response":{"output":"r"}}}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT"}}]}],"generationConfig":{"maxOutputTokens":19},"toolConfig":{"functionCallingConfig":{"mode":"AUTO"}}}"#
        }
        Native | Completions | Converse => {
            r#"{"model":"m","max_output_tokens":19,"system":"s","input":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"tools":[{"type":"function","name":"f","schema":{"type":"object"}}]}"#
        }
    }
}

/// What is put in place of what; every one of them says `hologram`.
type Row = (DialectName, &'static str, &'static str);

const ROWS: &[Row] = &[
    // At the top.
    (Chat, r#"{"model":"#, r#"{"hologram":{"a":1},"model":"#),
    (Messages, r#"{"model":"#, r#"{"hologram":{"a":1},"model":"#),
    (Responses, r#"{"model":"#, r#"{"hologram":{"a":1},"model":"#),
    (
        Gemini,
        r#"{"systemInstruction":"#,
        r#"{"hologram":{"a":1},"systemInstruction":"#,
    ),
    (Native, r#"{"model":"#, r#"{"hologram":{"a":1},"model":"#),
    // In a turn.
    (
        Chat,
        r#"{"role":"user","#,
        r#"{"hologram":1,"role":"user","#,
    ),
    (
        Messages,
        r#"{"role":"user","#,
        r#"{"hologram":1,"role":"user","#,
    ),
    (
        Responses,
        r#"{"role":"user","#,
        r#"{"hologram":1,"role":"user","#,
    ),
    (
        Gemini,
        r#"{"role":"user","#,
        r#"{"hologram":1,"role":"user","#,
    ),
    (
        Native,
        r#"{"role":"user","#,
        r#"{"hologram":1,"role":"user","#,
    ),
    (Chat, r#""role":"user""#, r#""role":"hologram""#),
    (Messages, r#""role":"user""#, r#""role":"hologram""#),
    (Responses, r#""role":"user""#, r#""role":"hologram""#),
    (Native, r#""role":"user""#, r#""role":"hologram""#),
    // In a block.
    (
        Chat,
        r#"{"type":"text","#,
        r#"{"hologram":1,"type":"text","#,
    ),
    (
        Messages,
        r#"{"type":"text","text":"hi""#,
        r#"{"hologram":1,"type":"text","text":"hi""#,
    ),
    (
        Messages,
        r#"{"type":"text","text":"s""#,
        r#"{"hologram":1,"type":"text","text":"s""#,
    ),
    (
        Responses,
        r#"{"type":"input_text","#,
        r#"{"hologram":1,"type":"input_text","#,
    ),
    (Gemini, r#"{"text":"hi""#, r#"{"hologram":1,"text":"hi""#),
    (
        Native,
        r#"{"type":"text","#,
        r#"{"hologram":1,"type":"text","#,
    ),
    // Blocks of a new type.
    (
        Chat,
        r#"{"type":"text","text":"hi"}"#,
        r#"{"type":"text","text":"hi"},{"type":"hologram","x":1}"#,
    ),
    (
        Messages,
        r#"{"type":"text","text":"hi"}"#,
        r#"{"type":"text","text":"hi"},{"type":"hologram","x":1}"#,
    ),
    (
        Responses,
        r#"{"type":"input_text","text":"hi"}"#,
        r#"{"type":"input_text","text":"hi"},{"type":"input_hologram","x":1}"#,
    ),
    (
        Responses,
        r#"{"type":"function_call","#,
        r#"{"type":"hologram_call","id":"h"},{"type":"function_call","#,
    ),
    (
        Gemini,
        r#"{"text":"hi"}"#,
        r#"{"text":"hi"},{"hologram":{"x":1}}"#,
    ),
    (
        Native,
        r#"{"type":"text","text":"hi"}"#,
        r#"{"type":"text","text":"hi"},{"type":"hologram"}"#,
    ),
    // In calls and results.
    (Chat, r#"{"id":"c","#, r#"{"hologram":1,"id":"c","#),
    (
        Chat,
        r#""type":"function","function":{"name":"f","arguments""#,
        r#""type":"hologram","function":{"name":"f","arguments""#,
    ),
    (
        Chat,
        r#"{"role":"tool","#,
        r#"{"hologram":1,"role":"tool","#,
    ),
    (
        Messages,
        r#"{"type":"tool_use","#,
        r#"{"hologram":1,"type":"tool_use","#,
    ),
    (
        Messages,
        r#"{"type":"tool_result","#,
        r#"{"hologram":1,"type":"tool_result","#,
    ),
    (
        Messages,
        r#""content":"r""#,
        r#""content":[{"type":"hologram"}]"#,
    ),
    (
        Responses,
        r#"{"type":"function_call","#,
        r#"{"hologram":1,"type":"function_call","#,
    ),
    (
        Responses,
        r#"{"type":"function_call_output","#,
        r#"{"hologram":1,"type":"function_call_output","#,
    ),
    (
        Gemini,
        r#""functionCall":{"#,
        r#""functionCall":{"hologram":1,"#,
    ),
    (
        Gemini,
        r#""functionResponse":{"#,
        r#""functionResponse":{"hologram":1,"#,
    ),
    // Tools.
    (
        Chat,
        r#""tools":["#,
        r#""tools":[{"type":"hologram","x":1},"#,
    ),
    (
        Chat,
        r#"{"type":"function","function":{"name":"f","parameters""#,
        r#"{"hologram":1,"type":"function","function":{"name":"f","parameters""#,
    ),
    (
        Chat,
        r#"{"name":"f","parameters""#,
        r#"{"hologram":1,"name":"f","parameters""#,
    ),
    (
        Messages,
        r#""tools":["#,
        r#""tools":[{"type":"hologram_20990101","name":"h"},"#,
    ),
    (
        Messages,
        r#"{"name":"f","input_schema""#,
        r#"{"hologram":1,"name":"f","input_schema""#,
    ),
    (
        Responses,
        r#""tools":["#,
        r#""tools":[{"type":"hologram","x":1},"#,
    ),
    (
        Responses,
        r#"{"type":"function","name""#,
        r#"{"hologram":1,"type":"function","name""#,
    ),
    (Gemini, r#""tools":["#, r#""tools":[{"hologram":{}},"#),
    (
        Gemini,
        r#"{"name":"f","parameters""#,
        r#"{"hologram":1,"name":"f","parameters""#,
    ),
    (
        Native,
        r#"{"type":"function","#,
        r#"{"hologram":1,"type":"function","#,
    ),
    // Words in known places.
    (
        Chat,
        r#""tool_choice":"auto""#,
        r#""tool_choice":"hologram""#,
    ),
    (Messages, r#"{"type":"auto"}"#, r#"{"type":"hologram"}"#),
    (
        Responses,
        r#""tool_choice":"auto""#,
        r#""tool_choice":{"type":"hologram"}"#,
    ),
    (Gemini, r#""mode":"AUTO""#, r#""mode":"HOLOGRAM""#),
    (
        Chat,
        r#"{"model":"#,
        r#"{"response_format":{"type":"hologram"},"model":"#,
    ),
    (
        Chat,
        r#"{"model":"#,
        r#"{"service_tier":"hologram","model":"#,
    ),
    (
        Chat,
        r#"{"model":"#,
        r#"{"modalities":["text","hologram"],"model":"#,
    ),
    (
        Messages,
        r#"{"model":"#,
        r#"{"thinking":{"type":"hologram"},"model":"#,
    ),
    (
        Messages,
        r#"{"model":"#,
        r#"{"output_config":{"hologram":1},"model":"#,
    ),
    (
        Messages,
        r#"{"model":"#,
        r#"{"service_tier":"hologram","model":"#,
    ),
    (
        Messages,
        r#"{"model":"#,
        r#"{"metadata":{"hologram":"x"},"model":"#,
    ),
    (
        Responses,
        r#"{"model":"#,
        r#"{"reasoning":{"hologram":1},"model":"#,
    ),
    (
        Responses,
        r#"{"model":"#,
        r#"{"text":{"hologram":1},"model":"#,
    ),
    (
        Responses,
        r#"{"model":"#,
        r#"{"text":{"format":{"type":"hologram"}},"model":"#,
    ),
    (
        Responses,
        r#"{"model":"#,
        r#"{"include":["hologram"],"model":"#,
    ),
    (
        Responses,
        r#"{"model":"#,
        r#"{"truncation":"hologram","model":"#,
    ),
    (
        Gemini,
        r#"{"maxOutputTokens":19"#,
        r#"{"hologram":1,"maxOutputTokens":19"#,
    ),
    (
        Gemini,
        r#"{"maxOutputTokens":19"#,
        r#"{"thinkingConfig":{"hologram":1},"maxOutputTokens":19"#,
    ),
    (
        Gemini,
        r#"{"maxOutputTokens":19"#,
        r#"{"responseModalities":["HOLOGRAM"],"maxOutputTokens":19"#,
    ),
    (
        Gemini,
        r#""toolConfig":{"#,
        r#""toolConfig":{"hologram":1,"#,
    ),
    (
        Gemini,
        r#"{"systemInstruction":"#,
        r#"{"safetySettings":[{"category":"HOLOGRAM"}],"systemInstruction":"#,
    ),
];

const TARGETS: [DialectName; 5] = [Chat, Messages, Responses, Gemini, Converse];

fn is_named(text: &str) -> bool {
    text.to_ascii_lowercase().contains("hologram")
}

/// What became of it on the way to a provider of `to`; `None`: it vanished.
fn fate(from: DialectName, to: DialectName, body: &Bytes) -> Option<String> {
    let request = match read_request(from, body) {
        Ok(request) => request,
        // No clue is better than its place, which is a path or the sentence's first word.
        Err(fault) => return fault.field.map(|field| format!("unread at {field}")),
    };
    let rules = Rules::default();
    let target = Target {
        model: "anthropic.claude-sonnet-4-6",
        stream: false,
        max_output_default: 19,
        rules: &rules,
    };
    match write_request(to, &request, &target) {
        Err(fault) => fault.field.map(|field| format!("refused at {field}")),
        Ok((written, dropped)) => {
            let written = String::from_utf8_lossy(&written).into_owned();
            // A word that is new is told by the name of its field.
            let told = dropped.iter().any(|name| is_named(name) || name != "store");
            match (is_named(&written), told) {
                (true, _) => Some("passed on".to_owned()),
                (false, true) => Some(format!("left out as {dropped:?}")),
                (false, false) => None,
            }
        }
    }
}

#[test]
fn what_is_unknown_in_a_request_never_vanishes() {
    let mut silent = Vec::new();
    for (from, here, there) in ROWS {
        let body = ordinary(*from).replacen(here, there, 1);
        assert!(is_named(&body), "{here} does not stand in {from:?}");
        let body = Bytes::from(body);
        for to in TARGETS {
            match fate(*from, to, &body) {
                Some(fate) => println!("{from:?} to {to:?}: {there}: {fate}"),
                None => silent.push(format!("{from:?} to {to:?}: {there}")),
            }
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn what_is_unknown_in_a_request_passes_to_a_provider_of_the_same_dialect() {
    for (dialect, here, there) in ROWS.iter().filter(|row| row.0 != Native) {
        let body = Bytes::from(ordinary(*dialect).replacen(here, there, 1));
        let peek = peek(*dialect, &body).unwrap_or_else(|f| panic!("{dialect:?} {there}: {f:?}"));
        let rules = Rules::default();
        let (slices, told) = own_words(*dialect, &body, &peek, &peek.model.clone(), &rules, None)
            .expect("nothing to refuse");
        assert_eq!((slices.concat(), told.len()), (body.to_vec(), 0), "{there}");
    }
}

#[test]
fn the_ordinary_request_is_sayable_everywhere() {
    for from in [Chat, Messages, Responses, Gemini, Native] {
        let body = Bytes::from_static(ordinary(from).as_bytes());
        let request = read_request(from, &body).expect("ordinary");
        let rules = Rules::default();
        let target = Target {
            model: "anthropic.claude-sonnet-4-6",
            stream: false,
            max_output_default: 19,
            rules: &rules,
        };
        for to in TARGETS {
            let (_, dropped) = write_request(to, &request, &target).expect("ordinary");
            assert!(
                dropped.iter().all(|name| name == "store"),
                "{from:?} to {to:?}: {dropped:?}"
            );
        }
    }
}
