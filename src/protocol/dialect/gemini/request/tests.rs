//! Requests of both directions, in small cases.

use super::{read, write};
use crate::base::{Json, Str, Tokens};
use crate::canon::{
    Block, BlockKind, DialectName, Effort, Extra, Fault, OutputFormat, Reasoning, ReasoningMode,
    Request, Role, Sampling, Source, Tool, ToolChoice, ToolInput, ToolKind, Turn,
};
use crate::protocol::dialect::{Rules, Target};
use bytes::Bytes;
use serde_json::{Value, json};

fn told(value: &Value) -> Request {
    read(&Bytes::from(value.to_string())).expect("right")
}

fn written_by(request: &Request, rules: &Rules) -> Result<(Value, Vec<String>), Fault> {
    let target = Target {
        model: "gemini-pro",
        stream: true,
        max_output_default: 1,
        rules,
    };
    let (bytes, dropped) = write(request, &target)?;
    Ok((serde_json::from_slice(&bytes).expect("JSON"), dropped))
}

fn written(request: &Request) -> (Value, Vec<String>) {
    written_by(request, &Rules::default()).expect("can be said")
}

fn older() -> Rules {
    Rules {
        thinking_budget: true,
        ..Rules::default()
    }
}

fn turn(role: Role, blocks: Vec<Block>) -> Turn {
    Turn {
        role,
        blocks,
        name: None,
    }
}

fn user(blocks: Vec<Block>) -> Request {
    Request {
        turns: vec![turn(Role::User, blocks)],
        ..Request::default()
    }
}

fn call(id: &'static str, name: &'static str) -> Block {
    Block::plain(BlockKind::ToolCall {
        id: id.into(),
        name: name.into(),
        input: ToolInput::Json(Json::empty_object()),
        kind: ToolKind::Function,
    })
}

fn result(id: &'static str, content: Vec<Block>, is_error: bool) -> Block {
    Block::plain(BlockKind::ToolResult {
        id: id.into(),
        name: None,
        content,
        is_error,
    })
}

fn image() -> Block {
    Block::plain(BlockKind::Image {
        source: Source::Base64 {
            media_type: "image/png".into(),
            data: "AAAA".into(),
        },
        detail: None,
    })
}

/// Everything that canon has a word for.
fn full() -> Value {
    json!({
        "tools": [
            {"functionDeclarations": [
                {"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}, "behavior": "BLOCKING"},
                {"name": "g"},
            ]},
            {"googleSearch": {}},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}},
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [
                {"text": "look"},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
                {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
                {"fileData": {"mimeType": "video/mp4", "fileUri": "https://x.example/v.mp4"}},
                {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/v.mp4"}, "videoMetadata": {"fps": 2}},
            ]},
            {"role": "model", "parts": [
                {"text": "hm", "thought": true},
                {"functionCall": {"id": "k1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "g", "args": {}}},
                {"executableCode": {"language": "PYTHON", "code": "1"}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "k1", "name": "f", "response": {"output": "done"}}},
                {"functionResponse": {"name": "g", "response": {"a": [1, 2]}, "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}},
                {"text": "go on"},
            ]},
        ],
        "generationConfig": {
            "maxOutputTokens": 9, "temperature": 0.5, "topP": 0.9, "topK": 40, "stopSequences": ["END"], "seed": 7,
            "presencePenalty": 0.1, "frequencyPenalty": 0.2, "responseLogprobs": true, "logprobs": 3, "candidateCount": 2,
            "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": true},
            "responseMimeType": "application/json", "responseJsonSchema": {"type": "object"},
            "speechConfig": {"a": 1},
        },
        "safetySettings": [{"category": "C", "threshold": "OFF"}],
        "cachedContent": "cachedContents/a",
        "labels": {"k": "v"},
        "serviceTier": "flex",
    })
}

#[test]
fn what_gemini_says_it_says_again() {
    let asked = full();
    let request = told(&asked);
    let (again, dropped) = written(&request);
    assert_eq!(dropped, Vec::<String>::new());
    assert_eq!(again, asked);
    assert_eq!(told(&again), request);
}

#[test]
fn both_spellings_are_the_same_request() {
    let snake = json!({
        "system_instruction": {"parts": {"text": "s"}},
        "contents": {"parts": [{"inline_data": {"mime_type": "image/png", "data": "AA-_"}}]},
        "generation_config": {"max_output_tokens": "9", "thinking_config": {"include_thoughts": true, "thinking_budget": 5}},
        "tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": {}}]}],
        "tool_config": {"function_calling_config": {"mode": "NONE"}},
        "cached_content": null,
    });
    let camel = json!({
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "AA+/"}}]}],
        "generationConfig": {"maxOutputTokens": 9, "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 5}},
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
    });
    let (mut a, mut b) = (told(&snake), told(&camel));
    // In the order in which their fields stand.
    a.extra.clear();
    b.extra.clear();
    assert_eq!(a, b);
    assert_eq!(a.sampling.max_output, Some(Tokens(9)));
}

#[test]
fn calls_without_ids_are_given_some_that_google_never_sees() {
    let request = told(&json!({"contents": [
        {"role": "model", "parts": [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "g"}}, {"functionCall": {"name": "f"}}]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "g", "response": {}}},
            {"functionResponse": {"name": "f", "response": {"output": "1"}}},
            {"functionResponse": {"name": "f", "response": {"output": "2"}}},
        ]},
    ]}));
    let ids = |turn: &Turn| -> Vec<Str> {
        let ids = turn.blocks.iter().map(|b| match &b.kind {
            BlockKind::ToolCall { id, .. } | BlockKind::ToolResult { id, .. } => id.clone(),
            other => panic!("{other:?}"),
        });
        ids.collect()
    };
    assert_eq!(ids(&request.turns[0]), ["gcall_1", "gcall_2", "gcall_3"]);
    assert_eq!(ids(&request.turns[1]), ["gcall_2", "gcall_1", "gcall_3"]);
    let (value, _) = written(&request);
    assert!(!value.to_string().contains("gcall_"), "{value}");
}

#[test]
fn a_first_call_without_a_signature_is_given_googles_word_for_none() {
    let mut request = user(vec![Block::text("a")]);
    request
        .turns
        .push(turn(Role::Assistant, vec![call("1", "f"), call("2", "g")]));
    let signatures = |request: &Request, rules: &Rules| -> Vec<Value> {
        let (value, _) = written_by(request, rules).expect("can be said");
        let parts = value["contents"][1]["parts"]
            .as_array()
            .expect("parts")
            .clone();
        parts
            .iter()
            .map(|p| p["thoughtSignature"].clone())
            .collect()
    };
    let none = json!("c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=");
    assert_eq!(
        signatures(&request, &Rules::default()),
        [none.clone(), Value::Null]
    );
    // Models that think by budget do not ask for it.
    assert_eq!(signatures(&request, &older()), [Value::Null, Value::Null]);
    let (value, _) = written(&request);
    assert_eq!(told(&value).turns[1].blocks[0].signature, None);
    request.turns[1].blocks[0].signature = Some("s".into());
    assert_eq!(
        signatures(&request, &Rules::default()),
        [json!("s"), Value::Null]
    );
}

#[test]
fn results_of_other_dialects_stand_together_and_first() {
    let mut request = user(vec![Block::text("a")]);
    request
        .turns
        .push(turn(Role::Assistant, vec![call("1", "f"), call("2", "g")]));
    request
        .turns
        .push(turn(Role::System, vec![Block::text("note")]));
    request.turns.push(turn(
        Role::User,
        vec![result("1", vec![Block::text("x"), Block::text("y")], false)],
    ));
    request.turns.push(turn(
        Role::User,
        vec![
            result("2", vec![Block::text("bad"), image()], true),
            Block::text("b"),
        ],
    ));
    let (value, _) = written(&request);
    assert_eq!(value["contents"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        value["contents"][2]["parts"],
        json!([
            {"functionResponse": {"id": "1", "name": "f", "response": {"output": "x\ny"}}},
            {"functionResponse": {"id": "2", "name": "g", "response": {"error": "bad"}, "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}},
            {"text": "note"},
            {"text": "b"},
        ])
    );
    // Older models take no image within a result.
    let (value, _) = written_by(&request, &older()).expect("can be said");
    assert_eq!(
        value["contents"][2]["parts"][2],
        json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})
    );
    let back = told(&written(&request).0);
    let BlockKind::ToolResult {
        is_error, content, ..
    } = &back.turns[2].blocks[1].kind
    else {
        panic!("{back:?}");
    };
    assert!(*is_error && content.len() == 2);
}

#[test]
fn a_result_without_its_call_is_refused() {
    let fault = written_by(&user(vec![result("1", vec![], false)]), &Rules::default())
        .expect_err("no call");
    assert_eq!(fault.field.as_deref(), Some("messages[0].content[0]"));
}

#[test]
fn thinking_is_asked_for_in_the_words_of_the_models_generation() {
    let asked = |mode, effort, shown| Request {
        reasoning: Some(Reasoning {
            mode,
            effort,
            shown,
        }),
        ..user(vec![Block::text("a")])
    };
    let budget = |n| Some(ReasoningMode::Budget(Tokens(n)));
    for (request, new, old) in [
        (
            asked(None, Some(Effort::Low), None),
            json!({"thinkingLevel": "LOW", "includeThoughts": true}),
            json!({"thinkingBudget": 2048, "includeThoughts": true}),
        ),
        (
            asked(None, Some(Effort::None), None),
            json!({"thinkingLevel": "LOW"}),
            json!({"thinkingBudget": 0}),
        ),
        (
            asked(Some(ReasoningMode::Off), None, None),
            json!({"thinkingLevel": "LOW"}),
            json!({"thinkingBudget": 0}),
        ),
        (
            asked(Some(ReasoningMode::Adaptive), None, Some(false)),
            json!({}),
            json!({"thinkingBudget": -1}),
        ),
        (
            asked(budget(9_000), None, Some(true)),
            json!({"thinkingLevel": "MEDIUM", "includeThoughts": true}),
            json!({"thinkingBudget": 9000, "includeThoughts": true}),
        ),
        (
            asked(None, Some(Effort::Max), Some(false)),
            json!({"thinkingLevel": "HIGH"}),
            json!({"thinkingBudget": 24576}),
        ),
    ] {
        assert_eq!(
            written(&request).0["generationConfig"]["thinkingConfig"],
            new
        );
        let (value, _) = written_by(&request, &older()).expect("can be said");
        assert_eq!(value["generationConfig"]["thinkingConfig"], old);
    }
    assert_eq!(
        written(&asked(Some(ReasoningMode::Off), None, None)).1,
        ["reasoning.off"]
    );
}

#[test]
fn choices_have_their_modes() {
    let with = |choice| Request {
        tools: vec![Tool::Function {
            name: "f".into(),
            description: None,
            schema: None,
            strict: None,
            mark: None,
            extra: Vec::new(),
        }],
        tool_choice: Some(choice),
        ..user(vec![Block::text("a")])
    };
    let named = ToolChoice::Named {
        name: "f".into(),
        custom: false,
    };
    let allowed = |required| ToolChoice::Allowed {
        names: vec!["f".into(), "g".into()],
        required,
    };
    for (choice, config) in [
        (ToolChoice::Auto, json!({"mode": "AUTO"})),
        (ToolChoice::None, json!({"mode": "NONE"})),
        (ToolChoice::Required, json!({"mode": "ANY"})),
        (named, json!({"mode": "ANY", "allowedFunctionNames": ["f"]})),
        (
            allowed(true),
            json!({"mode": "ANY", "allowedFunctionNames": ["f", "g"]}),
        ),
        (
            allowed(false),
            json!({"mode": "VALIDATED", "allowedFunctionNames": ["f", "g"]}),
        ),
    ] {
        let request = with(choice);
        let (value, _) = written(&request);
        assert_eq!(value["toolConfig"]["functionCallingConfig"], config);
        assert_eq!(told(&value).tool_choice, request.tool_choice);
    }
    // What canon has no word for goes on whole.
    let config =
        json!({"functionCallingConfig": {"mode": "VALIDATED"}, "retrievalConfig": {"a": 1}});
    let request = told(&json!({"contents": [{"parts": [{"text": "a"}]}], "toolConfig": config}));
    assert_eq!(written(&request).0["toolConfig"], config);
}

#[test]
fn old_schemas_are_read_as_json_schema() {
    let request = told(&json!({
        "contents": [{"parts": [{"text": "a"}]}],
        "tools": {"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}]},
        "generationConfig": {"responseMimeType": "application/json", "responseSchema": {"type": "STRING", "nullable": true}},
    }));
    let Tool::Function {
        schema: Some(schema),
        ..
    } = &request.tools[0]
    else {
        panic!("{request:?}");
    };
    assert_eq!(
        schema.get(),
        r#"{"properties":{"a":{"type":"string"}},"type":"object"}"#
    );
    let Some(OutputFormat::JsonSchema { schema, .. }) = &request.output_format else {
        panic!("{request:?}");
    };
    assert_eq!(schema.get(), r#"{"type":["string","null"]}"#);
}

#[test]
fn documents_of_other_dialects_are_bytes_or_text() {
    let document = |source, title: Option<&'static str>| {
        Block::plain(BlockKind::Document {
            source,
            title: title.map(Str::from_static),
            context: Some("context".into()),
            citations: None,
        })
    };
    let pdf = Source::Base64 {
        media_type: "application/pdf".into(),
        data: "AAAA".into(),
    };
    let text = Source::Text {
        media_type: "text/plain".into(),
        text: "body".into(),
    };
    let blocks = Source::Blocks(vec![Block::text("in"), image()]);
    let (value, dropped) = written(&user(vec![
        document(pdf, Some("t.pdf")),
        document(text, Some("t")),
        document(blocks, None),
    ]));
    assert_eq!(dropped, ["title"]);
    assert_eq!(
        value["contents"][0]["parts"],
        json!([
            {"text": "context"},
            {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
            {"text": "t"}, {"text": "context"}, {"text": "body"},
            {"text": "context"}, {"text": "in"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        ])
    );
}

#[test]
fn sources_of_every_kind_find_their_place_or_are_refused() {
    let image = |source| {
        user(vec![Block::plain(BlockKind::Image {
            source,
            detail: Some("high".into()),
        })])
    };
    let url = |url: &'static str| Source::Url {
        url: url.into(),
        media_type: None,
    };
    for (source, part) in [
        (
            url("https://x.example/a.png?b"),
            json!({"mimeType": "image/png", "fileUri": "https://x.example/a.png?b"}),
        ),
        (
            url("https://x.example/a"),
            json!({"mimeType": "image/jpeg", "fileUri": "https://x.example/a"}),
        ),
        (
            Source::File {
                id: "files/a".into(),
            },
            json!({"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a"}),
        ),
    ] {
        let (value, _) = written(&image(source));
        let written = &value["contents"][0]["parts"][0];
        assert_eq!(written["fileData"], part);
        assert_eq!(written["mediaResolution"]["level"], "MEDIA_RESOLUTION_HIGH");
    }
    let fault = written_by(
        &image(Source::File {
            id: "file-abc".into(),
        }),
        &Rules::default(),
    )
    .expect_err("another's file");
    assert_eq!(fault.field.as_deref(), Some("messages[0].content[0]"));
    let (_, dropped) =
        written_by(&image(url("https://x.example/a.png")), &older()).expect("can be said");
    assert_eq!(dropped, ["detail"]);
}

#[test]
fn what_has_no_word_is_refused_by_name_or_dropped_by_rule() {
    let base = || user(vec![Block::text("a")]);
    let sampled = |sampling| Request { sampling, ..base() };
    let extra = Extra {
        dialect: DialectName::Chat,
        name: "x".into(),
        value: Json::empty_object(),
    };
    let custom = Tool::Custom {
        name: "c".into(),
        description: None,
        format: None,
    };
    let foreign = Tool::Other {
        dialect: DialectName::Messages,
        json: Json::empty_object(),
    };
    for (request, rule, field) in [
        (
            sampled(Sampling {
                logit_bias: Some(Json::empty_object()),
                ..Sampling::default()
            }),
            "logit_bias",
            "logit_bias",
        ),
        (
            Request {
                parallel_tools: Some(false),
                ..base()
            },
            "parallel_tool_calls",
            "parallel_tool_calls",
        ),
        (
            Request {
                extra: vec![extra],
                ..base()
            },
            "x",
            "x",
        ),
        (
            Request {
                tools: vec![custom],
                ..base()
            },
            "custom_tools",
            "tools[0]",
        ),
        (
            Request {
                tools: vec![foreign],
                ..base()
            },
            "server_tools",
            "tools[0]",
        ),
        (
            Request {
                service_tier: Some("scale".into()),
                ..base()
            },
            "service_tier",
            "service_tier",
        ),
    ] {
        let fault = written_by(&request, &Rules::default()).expect_err(rule);
        assert_eq!(fault.field.as_deref(), Some(field));
        let rules = Rules {
            drop: vec![rule.to_owned()],
            ..Rules::default()
        };
        let (value, dropped) = written_by(&request, &rules).expect("dropped");
        assert_eq!(dropped, [rule]);
        assert_eq!(
            value,
            json!({"contents": [{"role": "user", "parts": [{"text": "a"}]}]})
        );
    }
    let rules = Rules {
        refuse: vec!["temperature".to_owned()],
        ..Rules::default()
    };
    let warm = sampled(Sampling {
        temperature: Some(1.0),
        ..Sampling::default()
    });
    assert_eq!(
        written_by(&warm, &rules)
            .expect_err("refused")
            .field
            .as_deref(),
        Some("temperature")
    );
    let many = sampled(Sampling {
        stop: vec!["a".into(); 6],
        ..Sampling::default()
    });
    assert_eq!(
        written_by(&many, &Rules::default())
            .expect_err("too many")
            .field
            .as_deref(),
        Some("stop")
    );
}

#[test]
fn instructions_alone_are_what_the_user_says() {
    let request = Request {
        system: vec![Block::text("do it")],
        ..Request::default()
    };
    assert_eq!(
        written(&request).0,
        json!({"contents": [{"role": "user", "parts": [{"text": "do it"}]}]})
    );
}

#[test]
fn what_is_wrong_is_named_with_its_path() {
    for (body, field) in [
        (json!({}), "contents"),
        (json!({"contents": []}), "contents"),
        (
            json!({"contents": [{"role": "system"}]}),
            "contents[0].role",
        ),
        (
            json!({"contents": [{"parts": [{"text": 7}]}]}),
            "contents[0].parts[0].text",
        ),
        (
            json!({"contents": [{"parts": [{"inlineData": {"data": ""}}]}]}),
            "contents[0].parts[0].inlineData.mimeType",
        ),
        (
            json!({"contents": [{"parts": [{"functionCall": {"name": "f", "args": []}}]}]}),
            "contents[0].parts[0].functionCall.args",
        ),
        (
            json!({"contents": [{}], "generationConfig": {"topK": 1.5}}),
            "generationConfig.topK",
        ),
        (
            json!({"contents": [{}], "tools": [{"functionDeclarations": [{}]}]}),
            "tools[0].functionDeclarations[0].name",
        ),
    ] {
        let fault = read(&Bytes::from(body.to_string())).expect_err("wrong");
        assert_eq!(fault.field.as_deref(), Some(field), "{body}");
    }
}

#[test]
fn results_without_ids_of_googles_own_follow_the_order_of_their_calls() {
    let mut request = user(vec![Block::text("a")]);
    let calls = vec![call("gcall_r_0_0", "f"), call("gcall_r_0_1", "f")];
    request.turns.push(turn(Role::Assistant, calls));
    let second = result("gcall_r_0_1", vec![Block::text("2")], false);
    let first = result("gcall_r_0_0", vec![Block::text("1")], false);
    request.turns.push(turn(Role::User, vec![second, first]));
    let (value, _) = written(&request);
    assert_eq!(
        value["contents"][2]["parts"],
        json!([
            {"functionResponse": {"name": "f", "response": {"output": "1"}}},
            {"functionResponse": {"name": "f", "response": {"output": "2"}}},
        ])
    );
}
