use super::{read, write};
use crate::base::{Json, Str, Tokens};
use crate::canon::{
    Block, BlockKind, DialectName, Effort, Extra, Fault, OutputFormat, Reasoning, ReasoningMode,
    Request, Role, Sampling, Source, Tool, ToolChoice, ToolInput, ToolKind, Turn,
};
use crate::protocol::dialect::{Dropped, Rules, Target, read_request, write_request};
use bytes::Bytes;
use serde_json::{Value, json};

fn of(body: Value) -> Request {
    read(&Bytes::from(body.to_string())).expect("right")
}

fn written(request: &Request, rules: &Rules) -> Result<(Value, Dropped), Fault> {
    let target = Target {
        model: "up",
        stream: request.stream,
        max_output_default: 1,
        rules,
    };
    write(request, &target)
        .map(|(bytes, dropped)| (serde_json::from_slice(&bytes).expect("JSON"), dropped))
}

/// What is written of `body` after it was read.
fn again(body: Value) -> Value {
    written(&of(body), &Rules::default()).expect("sayable").0
}

fn fault(body: Value) -> Fault {
    read(&Bytes::from(body.to_string())).expect_err("wrong")
}

fn user(blocks: Vec<Block>) -> Request {
    Request {
        model: "m".into(),
        turns: vec![Turn {
            role: Role::User,
            blocks,
            name: None,
        }],
        ..Request::default()
    }
}

#[test]
fn every_item_comes_back_as_it_was() {
    let items = json!([
        {"role": "user", "content": [
            {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "high"},
            {"type": "input_image", "image_url": "https://x/y.png"},
            {"type": "input_image", "file_id": "file-1"},
            {"type": "input_file", "file_data": "data:application/pdf;base64,BBBB", "filename": "a.pdf"},
            {"type": "input_file", "file_url": "https://x/y.pdf"},
            {"type": "input_file", "file_id": "file-2"},
            {"type": "input_audio", "input_audio": {"data": "CC", "format": "wav"}}]},
        {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "gA"},
        {"type": "message", "role": "assistant", "phase": "commentary", "content": "looking"},
        {"type": "message", "role": "assistant", "phase": "final_answer", "content": [
            {"type": "output_text", "text": "t", "annotations": [{"type": "url_citation", "url": "u", "title": "n", "start_index": 0, "end_index": 1}]},
            {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "free"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "r"}, {"type": "input_image", "file_id": "file-3"}]},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
        {"type": "computer_call_output", "call_id": "c3", "output": {"type": "computer_screenshot", "file_id": "f"}},
        {"type": "item_reference", "id": "msg_1"},
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"},
        {"role": "system", "content": "later"},
        {"role": "user", "content": "go on"}]);
    assert_eq!(again(json!({"model": "m", "input": items}))["input"], items);
}

#[test]
fn every_field_comes_back_as_it_was() {
    let mut body = json!({"model": "m", "input": [{"role": "user", "content": "a"}], "max_output_tokens": 9, "temperature": 0.5, "top_p": 0.25, "top_logprobs": 2,
        "parallel_tool_calls": false, "reasoning": {"effort": "high", "summary": "detailed", "context": "all_turns"},
        "text": {"format": {"type": "json_schema", "name": "n", "description": "d", "schema": {"type": "object"}, "strict": true}, "verbosity": "low"},
        "include": ["message.output_text.logprobs"], "metadata": {"a": "b"}, "user": "u", "service_tier": "flex", "prompt_cache_key": "k",
        "prompt_cache_options": {"mode": "explicit"}, "store": false, "background": false, "truncation": "auto", "max_tool_calls": 3, "stream": true,
        "stream_options": {"include_obfuscation": false}, "context_management": [{"type": "compaction"}], "new_field": [1.50],
        "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true, "defer_loading": true},
            {"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}}, {"type": "web_search", "search_context_size": "low"}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]}});
    let written = again(body.clone());
    body["model"] = "up".into();
    assert_eq!(written, body);
}

#[test]
fn every_form_of_tool_choice_comes_back() {
    for choice in [
        json!("none"),
        json!("auto"),
        json!("required"),
        json!({"type": "function", "name": "f"}),
        json!({"type": "custom", "name": "f"}),
        json!({"type": "mcp", "server_label": "s"}),
        json!({"type": "web_search"}),
        json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "s"}]}),
    ] {
        let written = again(json!({"model": "m", "input": "a", "tool_choice": choice}));
        assert_eq!(written["tool_choice"], choice);
    }
}

#[test]
fn instructions_lead_and_stay_out_of_what_is_stored() {
    let request = of(
        json!({"model": "m", "instructions": "one", "input": [{"role": "developer", "content": "two"}, {"role": "user", "content": "a"}]}),
    );
    assert_eq!(request.system, [Block::text("one"), Block::text("two")]);
    let body = written(&request, &Rules::default()).expect("sayable").0;
    assert_eq!(
        body["input"][0],
        json!({"role": "system", "content": [{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}]})
    );
    let goes_on = again(
        json!({"model": "m", "instructions": "one", "previous_response_id": "resp_1", "input": [{"role": "developer", "content": "two"}, {"role": "user", "content": "a"}]}),
    );
    assert_eq!(
        (&goes_on["instructions"], &goes_on["input"][0]),
        (&json!("one"), &json!({"role": "system", "content": "two"}))
    );
    assert_eq!(goes_on["previous_response_id"], "resp_1");
    let no_input = again(json!({"model": "m", "prompt": {"id": "p"}}));
    assert_eq!(no_input.get("input"), None);
}

#[test]
fn what_is_wrong_is_refused_with_its_path() {
    for (body, field) in [
        (json!({"input": "a"}), "model"),
        (json!({"model": "m"}), "input"),
        (json!({"model": "m", "input": 3}), "input"),
        (
            json!({"model": "m", "input": [{"role": "cat", "content": "a"}]}),
            "input[0].role",
        ),
        (
            json!({"model": "m", "input": [{"role": "user", "content": [{"type": "input_text"}]}]}),
            "input[0].content[0].text",
        ),
        (
            json!({"model": "m", "input": [{"type": "function_call", "name": "f"}]}),
            "input[0].call_id",
        ),
        (
            json!({"model": "m", "input": "a", "tools": [{"type": "function"}]}),
            "tools[0].name",
        ),
        (
            json!({"model": "m", "input": "a", "max_output_tokens": "x"}),
            "max_output_tokens",
        ),
    ] {
        assert_eq!(fault(body.clone()).field.as_deref(), Some(field), "{body}");
    }
}

#[test]
fn what_this_api_cannot_say_is_refused_by_name_unless_dropped() {
    let sampling = |s: Sampling| Request {
        sampling: s,
        ..user(vec![Block::text("a")])
    };
    let cases = [
        (
            "stop",
            sampling(Sampling {
                stop: vec!["x".into()],
                ..Sampling::default()
            }),
        ),
        (
            "seed",
            sampling(Sampling {
                seed: Some(1),
                ..Sampling::default()
            }),
        ),
        (
            "top_k",
            sampling(Sampling {
                top_k: Some(1),
                ..Sampling::default()
            }),
        ),
        (
            "presence_penalty",
            sampling(Sampling {
                presence_penalty: Some(1.0),
                ..Sampling::default()
            }),
        ),
        (
            "logit_bias",
            sampling(Sampling {
                logit_bias: Some(Json::parse("{\"1\":2}".into()).expect("json")),
                ..Sampling::default()
            }),
        ),
        (
            "choices",
            sampling(Sampling {
                choices: Some(2),
                ..Sampling::default()
            }),
        ),
        (
            "video",
            user(vec![
                Block::text("a"),
                Block::plain(BlockKind::Video {
                    source: Source::Url {
                        url: "u".into(),
                        media_type: None,
                    },
                }),
            ]),
        ),
        (
            "other_blocks",
            user(vec![
                Block::text("a"),
                Block::plain(BlockKind::Other {
                    dialect: DialectName::Gemini,
                    json: Json::empty_object(),
                }),
            ]),
        ),
    ];
    for (name, request) in cases {
        let fault = written(&request, &Rules::default()).expect_err(name);
        assert!(fault.field.is_some(), "{name}");
        let rules = Rules {
            drop: vec![name.to_owned()],
            ..Rules::default()
        };
        let (_, dropped) = written(&request, &rules).expect(name);
        assert_eq!(dropped, [name]);
    }
    let one = sampling(Sampling {
        choices: Some(1),
        frequency_penalty: Some(0.0),
        ..Sampling::default()
    });
    written(&one, &Rules::default()).expect("says nothing that matters");
    let refuse = Rules {
        refuse: vec!["temperature".to_owned()],
        ..Rules::default()
    };
    let hot = sampling(Sampling {
        temperature: Some(1.0),
        ..Sampling::default()
    });
    assert_eq!(
        written(&hot, &refuse)
            .expect_err("refused")
            .field
            .as_deref(),
        Some("temperature")
    );
}

#[test]
fn a_conversation_of_another_dialect_is_not_kept_and_brings_its_reasoning_along() {
    let mut request = user(vec![Block::text("a")]);
    request.reasoning = Some(Reasoning {
        mode: Some(ReasoningMode::Budget(Tokens(8_000))),
        effort: None,
        shown: None,
    });
    request.tools = vec![Tool::Function {
        name: "f".into(),
        description: None,
        schema: None,
        strict: None,
        mark: None,
        extra: Vec::new(),
    }];
    let (body, _) = written(&request, &Rules::default()).expect("sayable");
    assert_eq!(
        (&body["store"], &body["include"]),
        (&json!(false), &json!(["reasoning.encrypted_content"]))
    );
    assert_eq!(
        body["reasoning"],
        json!({"effort": "medium", "summary": "auto"})
    );
    assert_eq!(
        body["tools"][0],
        json!({"type": "function", "name": "f", "parameters": null, "strict": false})
    );
    request.reasoning = Some(Reasoning {
        mode: None,
        effort: Some(Effort::ExtraHigh),
        shown: None,
    });
    let (body, _) = written(&request, &Rules::default()).expect("sayable");
    assert_eq!(body["reasoning"], json!({"effort": "xhigh"}));
}

#[test]
fn only_the_issuers_thinking_is_sent_back() {
    let signed = |signature: Option<&str>| Block {
        signature: signature.map(Str::from),
        ..Block::plain(BlockKind::Thinking { text: "hm".into() })
    };
    for signature in [None, Some("ErUB")] {
        let mut request = user(vec![Block::text("a")]);
        request.turns.push(Turn {
            role: Role::Assistant,
            blocks: vec![signed(signature), Block::text("b")],
            name: None,
        });
        let (body, dropped) = written(&request, &Rules::default()).expect("sayable");
        assert_eq!(dropped, ["thinking"]);
        assert_eq!(body["input"].as_array().map(Vec::len), Some(2));
    }
    let sealed = of(
        json!({"model": "m", "input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA"}]}),
    );
    let mut elsewhere = sealed.clone();
    elsewhere.extra.clear();
    let (body, _) = written(&elsewhere, &Rules::default()).expect("sayable");
    assert_eq!(
        body["input"][0],
        json!({"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gA"})
    );
}

#[test]
fn errors_of_tools_and_text_documents_are_said_as_text() {
    let mut request = user(vec![Block::plain(BlockKind::ToolResult {
        id: "c".into(),
        name: None,
        content: vec![Block::text("boom")],
        is_error: true,
    })]);
    request.turns.insert(
        0,
        Turn {
            role: Role::Assistant,
            blocks: vec![Block::plain(BlockKind::ToolCall {
                id: "c".into(),
                name: "f".into(),
                input: ToolInput::Json(Json::empty_object()),
                kind: ToolKind::Function,
            })],
            name: None,
        },
    );
    request.turns.push(Turn {
        role: Role::User,
        blocks: vec![Block::plain(BlockKind::Document {
            source: Source::Text {
                media_type: "text/plain".into(),
                text: "body".into(),
            },
            title: Some("t".into()),
            context: None,
            citations: None,
        })],
        name: None,
    });
    let (body, dropped) = written(&request, &Rules::default()).expect("sayable");
    assert_eq!(dropped, ["tool_result.is_error"]);
    assert_eq!(
        body["input"][1],
        json!({"type": "function_call_output", "call_id": "c", "output": "boom"})
    );
    assert_eq!(
        body["input"][2]["content"],
        json!([{"type": "input_text", "text": "t"}, {"type": "input_text", "text": "body"}])
    );
}

#[test]
fn what_codex_always_says_goes_to_every_dialect() {
    let request = of(
        json!({"model": "m", "instructions": "i", "store": false, "stream": true, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k",
        "parallel_tool_calls": true, "tool_choice": "auto", "reasoning": {"effort": "medium", "summary": "auto"}, "text": {"verbosity": "low"}, "client_metadata": {"a": "b"},
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}, {"type": "message", "role": "assistant", "phase": "commentary", "content": [{"type": "output_text", "text": "b"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "r"}],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": false}]}),
    );
    let rules = Rules {
        drop: vec!["verbosity".to_owned()],
        ..Rules::default()
    };
    let target = Target {
        model: "up",
        stream: true,
        max_output_default: 9,
        rules: &rules,
    };
    for dialect in [
        DialectName::Chat,
        DialectName::Messages,
        DialectName::Native,
    ] {
        let (bytes, _) = write_request(dialect, &request, &target).expect("sayable");
        let there = read_request(dialect, &bytes).expect("right");
        let calls = there
            .turns
            .iter()
            .flat_map(|t| &t.blocks)
            .filter(|b| matches!(b.kind, BlockKind::ToolCall { .. }));
        assert_eq!(calls.count(), 1, "{dialect:?}");
    }
}

#[test]
fn fields_that_chat_shares_go_there_and_come_from_there() {
    let request = of(
        json!({"model": "m", "input": "a", "safety_identifier": "s", "prompt_cache_retention": "24h", "text": {"format": {"type": "json_object"}}}),
    );
    let rules = Rules::default();
    let target = Target {
        model: "up",
        stream: false,
        max_output_default: 9,
        rules: &rules,
    };
    let (bytes, dropped) = write_request(DialectName::Chat, &request, &target).expect("sayable");
    let body: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(
        (&body["safety_identifier"], &body["prompt_cache_retention"]),
        (&json!("s"), &json!("24h"))
    );
    assert_eq!((body.get("store"), dropped), (None, Vec::<String>::new()));
    // Who asked for it is told that nobody keeps this one.
    let asked = json!({"model": "m", "input": "a", "store": true});
    let asked = read_request(DialectName::Responses, &Bytes::from(asked.to_string()));
    let asked = asked.expect("right");
    for dialect in [
        DialectName::Chat,
        DialectName::Messages,
        DialectName::Gemini,
        DialectName::Converse,
    ] {
        let (_, dropped) = write_request(dialect, &asked, &target).expect("sayable");
        assert_eq!(dropped, ["store"], "{dialect:?}");
    }
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "a"}], "store": true, "stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false}});
    let request = read_request(DialectName::Chat, &Bytes::from(chat.to_string())).expect("right");
    let (body, _) = written(&request, &rules).expect("sayable");
    assert_eq!(
        (&body["store"], &body["stream_options"]),
        (&json!(true), &json!({"include_obfuscation": false}))
    );
    assert_eq!(request.output_format, None::<OutputFormat>);
}

#[test]
fn another_dialects_field_is_refused_by_name() {
    let mut request = user(vec![Block::text("a")]);
    request.extra.push(Extra {
        dialect: DialectName::Messages,
        name: "mcp_servers".into(),
        value: Json::of(&[1]),
    });
    assert_eq!(
        written(&request, &Rules::default())
            .expect_err("foreign")
            .field
            .as_deref(),
        Some("mcp_servers")
    );
    request.extra.clear();
    request.tool_choice = Some(ToolChoice::Required);
    assert_eq!(
        written(&request, &Rules::default()).expect("sayable").0["tool_choice"],
        "required"
    );
}
