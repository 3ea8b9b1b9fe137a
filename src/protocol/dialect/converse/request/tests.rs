use super::*;
use crate::base::{Json, Str, Tokens};
use crate::canon::{
    Block, BlockKind, CacheMark, CacheTtl, DialectName, Effort, Extra, Fault, OutputFormat,
    Reasoning, ReasoningMode, Request, Role, Source, Tool, ToolChoice, ToolInput, ToolKind, Turn,
};
use crate::protocol::dialect::{Dropped, Rules, Target};
use bytes::Bytes;
use serde_json::{Value, json};

fn user(blocks: Vec<Block>) -> Request {
    Request {
        turns: vec![turn(Role::User, blocks)],
        ..Request::default()
    }
}

fn turn(role: Role, blocks: Vec<Block>) -> Turn {
    Turn {
        role,
        blocks,
        name: None,
    }
}

fn written_by(request: &Request, model: &str, rules: &Rules) -> Result<(Value, Dropped), Fault> {
    let target = Target {
        model,
        stream: true,
        max_output_default: 4096,
        rules,
    };
    let (bytes, dropped) = write(request, &target)?;
    Ok((serde_json::from_slice(&bytes).expect("JSON"), dropped))
}

fn written(request: &Request) -> Result<(Value, Dropped), Fault> {
    written_by(request, "us.anthropic.claude-opus-5", &Rules::default())
}

fn field_of(result: Result<(Value, Dropped), Fault>) -> String {
    result.expect_err("cannot be said").field.expect("a field")
}

fn function(name: &str, mark: Option<CacheMark>) -> Tool {
    Tool::Function {
        name: name.into(),
        description: Some("d".into()),
        schema: Some(Json::empty_object()),
        strict: None,
        mark,
        extra: Vec::new(),
    }
}

/// Every member that Converse has: what is read is written the same, to the byte of each value.
#[test]
fn what_converse_says_is_read_and_said_again() {
    let body = json!({
        "toolConfig": {
            "tools": [
                {"toolSpec": {"name": "f", "description": "d", "inputSchema": {"json": {"type": "object"}}, "strict": true}},
                {"cachePoint": {"type": "default"}},
                {"systemTool": {"name": "nova_grounding"}}
            ],
            "toolChoice": {"tool": {"name": "f"}}
        },
        "system": [{"text": "s"}, {"cachePoint": {"type": "default", "ttl": "1h"}}, {"guardContent": {"text": {"text": "g"}}}],
        "messages": [
            {"role": "user", "content": [
                {"text": "a"},
                {"image": {"format": "png", "source": {"bytes": "aGk="}}},
                {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://b/k"}}}},
                {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://b/k", "bucketOwner": "1"}}}},
                {"document": {"format": "pdf", "name": "d 1", "source": {"bytes": "aGk="}, "context": "c", "citations": {"enabled": true}}},
                {"document": {"format": "md", "name": "d 2", "source": {"text": "hi"}}},
                {"document": {"format": "txt", "name": "d 3", "source": {"content": [{"text": "p"}]}}},
                {"video": {"format": "three_gp", "source": {"bytes": "aGk="}}},
                {"audio": {"format": "wav", "source": {"bytes": "aGk="}}},
                {"guardContent": {"text": {"text": "q", "qualifiers": ["query"]}}},
                {"searchResult": {"source": "s", "title": "t", "content": [{"text": "x"}]}},
                {"newBlock": {"x": 1}},
                {"cachePoint": {"type": "default", "ttl": "5m"}}
            ]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
                {"reasoningContent": {"redactedContent": "RXRr"}},
                {"citationsContent": {"content": [{"text": "said"}], "citations": [{"title": "t", "location": {"web": {"url": "u"}}}]}},
                {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}},
                {"toolUse": {"toolUseId": "t2", "name": "g", "input": {}, "type": "server_tool_use"}},
                {"toolResult": {"toolUseId": "t2", "content": [{"json": {"x": 1}}], "type": "g_result", "status": "success"}}
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "t1", "content": [
                    {"text": "r"}, {"json": {"a": [1.0]}},
                    {"image": {"format": "gif", "source": {"bytes": "aGk="}}},
                    {"document": {"format": "csv", "name": "d 4", "source": {"bytes": "aGk="}}},
                    {"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://b/v"}}}}
                ], "status": "error"}}
            ]}
        ],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topP": 0.25, "stopSequences": ["x"]},
        "additionalModelRequestFields": {
            "top_k": 5,
            "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
            "thinking": {"type": "adaptive", "display": "omitted"},
            "anthropic_beta": ["b"]
        },
        "outputConfig": {
            "effort": "high",
            "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{\"type\":\"object\"}", "name": "n", "description": "d"}}}
        },
        "requestMetadata": {"k": "v"},
        "serviceTier": {"type": "flex"},
        "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
        "performanceConfig": {"latency": "optimized"},
        "additionalModelResponseFieldPaths": ["/stop_sequence"]
    });
    let request = read(&Bytes::from(body.to_string())).expect("right");
    assert!(
        request.model.is_empty() && !request.stream,
        "both stand in the path"
    );
    assert_eq!(
        request.system[0].mark,
        Some(CacheMark {
            ttl: Some(CacheTtl::Hours1)
        })
    );
    assert_eq!(request.parallel_tools, Some(false));
    assert_eq!(request.sampling.top_k, Some(5));
    let redacted = BlockKind::RedactedThinking { data: "Etk".into() };
    assert_eq!(
        request.turns[1].blocks[1].kind, redacted,
        "as every other way to Claude has it"
    );
    let (said, dropped) = written(&request).expect("sayable");
    assert_eq!(said, body);
    assert_eq!(dropped, Dropped::new());
}

#[test]
fn a_field_that_is_wrong_is_named() {
    for (body, field) in [
        (json!({"messages": 3}), "messages"),
        (
            json!({"messages": [{"role": "x", "content": []}]}),
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "user"}]}),
            "messages[0].content",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{}]}]}),
            "messages[0].content[0]",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"text": 1}]}]}),
            "messages[0].content[0].text",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"toolUse": {}}]}]}),
            "messages[0].content[0].toolUse.toolUseId",
        ),
        (
            json!({"inferenceConfig": {"maxTokens": "x"}}),
            "inferenceConfig.maxTokens",
        ),
        (
            json!({"toolConfig": {"toolChoice": {}}}),
            "toolConfig.toolChoice",
        ),
        (
            json!({"toolConfig": {"tools": [{"toolSpec": {}}]}}),
            "toolConfig.tools[0].toolSpec.name",
        ),
        (json!({"serviceTier": {}}), "serviceTier.type"),
    ] {
        let fault = read(&Bytes::from(body.to_string())).expect_err("wrong");
        assert_eq!(fault.field.as_deref(), Some(field));
    }
    assert!(read(&Bytes::from_static(b"[")).is_err());
}

#[test]
fn what_this_api_cannot_say_is_refused_by_name_unless_dropped() {
    let ask = |change: fn(&mut Request)| {
        let mut request = user(vec![Block::text("hi")]);
        change(&mut request);
        request
    };
    let other = |dialect, name: &str| Extra {
        dialect,
        name: name.into(),
        value: Json::empty_object(),
    };
    let mut strange = ask(|_| {});
    strange
        .extra
        .push(other(DialectName::Chat, "web_search_options"));
    let cases = [
        ("seed", ask(|r| r.sampling.seed = Some(1))),
        ("n", ask(|r| r.sampling.choices = Some(2))),
        (
            "presence_penalty",
            ask(|r| r.sampling.presence_penalty = Some(0.5)),
        ),
        ("logprobs", ask(|r| r.sampling.logprobs = Some(true))),
        (
            "response_format",
            ask(|r| r.output_format = Some(OutputFormat::JsonObject)),
        ),
        ("web_search_options", strange),
    ];
    for (name, request) in cases {
        assert_eq!(field_of(written(&request)), name);
        let rules = Rules {
            drop: vec![name.to_owned()],
            ..Rules::default()
        };
        let (_, dropped) = written_by(&request, "m", &rules).expect("dropped");
        assert_eq!(dropped, [name]);
    }
    let hot = ask(|r| r.sampling.temperature = Some(1.5));
    assert_eq!(field_of(written(&hot)), "temperature");
    let rules = Rules {
        refuse: vec!["temperature".to_owned()],
        ..Rules::default()
    };
    let warm = ask(|r| r.sampling.temperature = Some(0.5));
    assert_eq!(field_of(written_by(&warm, "m", &rules)), "temperature");
}

#[test]
fn sources_that_bedrock_cannot_fetch_are_refused() {
    let image = |source| {
        user(vec![Block::plain(BlockKind::Image {
            source,
            detail: None,
        })])
    };
    let url = |url: &str| Source::Url {
        url: url.into(),
        media_type: None,
    };
    for source in [
        url("https://x/y.png"),
        url("s3://b/unknown"),
        Source::File { id: "f".into() },
        Source::Base64 {
            media_type: "image/tiff".into(),
            data: "aGk=".into(),
        },
        Source::Text {
            media_type: "text/plain".into(),
            text: "t".into(),
        },
    ] {
        assert_eq!(
            field_of(written(&image(source))),
            "messages[0].content[0].source"
        );
    }
    for (given, source) in [
        ("data:image/png;base64,aGk=", json!({"bytes": "aGk="})),
        (
            "s3://b/k.png",
            json!({"s3Location": {"uri": "s3://b/k.png"}}),
        ),
    ] {
        let (said, _) = written(&image(url(given))).expect("sayable");
        let wanted = json!({"image": {"format": "png", "source": source}});
        assert_eq!(said["messages"][0]["content"][0], wanted);
    }
}

#[test]
fn documents_are_named_as_converse_takes_it_and_each_once() {
    let document = |title: &str| {
        Block::plain(BlockKind::Document {
            source: Source::Base64 {
                media_type: "application/json".into(),
                data: "e30=".into(),
            },
            title: Some(title.into()),
            context: None,
            citations: None,
        })
    };
    let (said, _) = written(&user(vec![document("a.json"), document("a.json")])).expect("sayable");
    let content = &said["messages"][0]["content"];
    assert_eq!(content[0]["document"]["name"], "a-json");
    assert_eq!(content[1]["document"]["name"], "a-json 2");
    assert_eq!(content[0]["document"]["format"], "txt");
}

#[test]
fn of_many_marks_the_first_and_the_last_three_stay_and_no_mark_is_lost_in_a_result() {
    let mark = Some(CacheMark { ttl: None });
    let marked = |text: &str| Block {
        mark,
        ..Block::text(text)
    };
    let mut request = user((0..5).map(|i| marked(&i.to_string())).collect());
    request.tools.push(function("f", mark));
    let (said, dropped) = written(&request).expect("sayable");
    let kinds = |v: &Value| -> String {
        let items = v.as_array().expect("an array").iter();
        items
            .map(|b| {
                if b["cachePoint"].is_object() {
                    '|'
                } else {
                    'x'
                }
            })
            .collect()
    };
    assert_eq!(kinds(&said["toolConfig"]["tools"]), "x|");
    assert_eq!(kinds(&said["messages"][0]["content"]), "xxx|x|x|");
    assert_eq!(dropped, ["cache_control"]);

    // One that stands as it was read takes its place.
    let point = Json::parse(Str::from_static(r#"{"cachePoint":{"type":"new"}}"#)).expect("JSON");
    request.turns[0].blocks.push(Block::plain(BlockKind::Other {
        dialect: DialectName::Converse,
        json: point,
    }));
    let (said, _) = written(&request).expect("sayable");
    assert_eq!(kinds(&said["messages"][0]["content"]), "xxxx|x||");

    let result = Block::plain(BlockKind::ToolResult {
        id: "t".into(),
        name: None,
        content: vec![marked("r")],
        is_error: false,
    });
    let (said, _) = written(&user(vec![result])).expect("sayable");
    assert_eq!(kinds(&said["messages"][0]["content"]), "x|");
    let content = &said["messages"][0]["content"][0]["toolResult"]["content"];
    assert_eq!(kinds(content), "x");
}

#[test]
fn turns_stand_in_the_order_that_bedrock_demands() {
    let result = Block::plain(BlockKind::ToolResult {
        id: "a|b".into(),
        name: None,
        content: Vec::new(),
        is_error: false,
    });
    let call = Block::plain(BlockKind::ToolCall {
        id: "a|b".into(),
        name: "f".into(),
        input: ToolInput::Text("not json".into()),
        kind: ToolKind::Function,
    });
    let mut request = user(vec![Block::text(" "), Block::text("hi")]);
    request.tools.push(function("f", None));
    request
        .turns
        .insert(0, turn(Role::Assistant, vec![Block::text("hello")]));
    request
        .turns
        .push(turn(Role::User, vec![Block::text("more")]));
    request.turns.push(turn(Role::Assistant, vec![call]));
    request
        .turns
        .push(turn(Role::User, vec![Block::text("so"), result]));
    let (said, _) = written(&request).expect("sayable");
    assert_eq!(
        said["messages"],
        json!([
            {"role": "user", "content": [{"text": "(The assistant begins the conversation.)"}]},
            {"role": "assistant", "content": [{"text": "hello"}]},
            {"role": "user", "content": [{"text": "hi"}, {"text": "more"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "a_b", "name": "f", "input": {"raw": "not json"}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "a_b", "content": []}}, {"text": "so"}]}
        ])
    );
}

#[test]
fn a_choice_of_none_leaves_the_tools_out_or_is_refused_beside_calls() {
    let mut request = user(vec![Block::text("hi")]);
    request.tools.push(function("f", None));
    request.tool_choice = Some(ToolChoice::None);
    let (said, _) = written(&request).expect("sayable");
    assert_eq!(said.get("toolConfig"), None);
    request.turns[0]
        .blocks
        .push(Block::plain(BlockKind::ToolResult {
            id: "t".into(),
            name: None,
            content: Vec::new(),
            is_error: false,
        }));
    assert_eq!(field_of(written(&request)), "tool_choice");
    request.tool_choice = Some(ToolChoice::Allowed {
        names: vec!["f".into()],
        required: true,
    });
    let (said, _) = written(&request).expect("sayable");
    assert_eq!(
        said["toolConfig"]["toolChoice"],
        json!({"tool": {"name": "f"}})
    );
    request.tool_choice = Some(ToolChoice::Allowed {
        names: vec!["g".into()],
        required: false,
    });
    assert_eq!(field_of(written(&request)), "tool_choice");
}

#[test]
fn each_maker_is_asked_to_think_in_its_own_words() {
    let mut request = user(vec![Block::text("hi")]);
    request.reasoning = Some(Reasoning {
        mode: None,
        effort: Some(Effort::High),
        shown: None,
    });
    request.sampling.top_k = Some(7);
    let more = |model: &str, rules: &Rules| {
        let (said, _) = written_by(&request, model, rules).expect("sayable");
        (
            said["additionalModelRequestFields"].clone(),
            said["outputConfig"]["effort"].clone(),
        )
    };
    let rules = Rules::default();
    assert_eq!(
        more("anthropic.claude-opus-5", &rules),
        (
            json!({"top_k": 7, "thinking": {"type": "adaptive"}}),
            json!("high")
        )
    );
    let budget = Rules {
        thinking_budget: true,
        ..Rules::default()
    };
    assert_eq!(
        more("anthropic.claude-sonnet-4-5", &budget).0["thinking"],
        json!({"type": "enabled", "budget_tokens": 2048})
    );
    assert_eq!(
        more("us.amazon.nova-2-lite-v1:0", &rules).0,
        json!({"inferenceConfig": {"topK": 7}, "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}})
    );
    assert_eq!(
        field_of(written_by(&request, "meta.llama3", &rules)),
        "top_k"
    );
    request.sampling.top_k = None;
    assert_eq!(
        field_of(written_by(&request, "meta.llama3", &rules)),
        "reasoning_effort"
    );
    let (said, _) = written_by(&request, "openai.gpt-oss-20b-1:0", &rules).expect("sayable");
    assert_eq!(
        said["additionalModelRequestFields"],
        json!({"reasoning_effort": "high"})
    );
}

#[test]
fn a_budget_over_the_default_limit_stands_where_no_limit_was_given() {
    let mut request = user(vec![Block::text("hi")]);
    request.reasoning = Some(Reasoning {
        mode: Some(ReasoningMode::Budget(Tokens(9_000))),
        effort: None,
        shown: None,
    });
    let rules = Rules {
        thinking_budget: true,
        ..Rules::default()
    };
    let (said, _) = written_by(&request, "claude", &rules).expect("sayable");
    assert_eq!(
        said["additionalModelRequestFields"]["thinking"]["budget_tokens"],
        9_000
    );
    request.sampling.max_output = Some(Tokens(9_000));
    assert_eq!(
        field_of(written_by(&request, "claude", &rules)),
        "thinking.budget_tokens"
    );
}

#[test]
fn hints_are_left_out_and_told() {
    let mut request = user(vec![Block::text("hi")]);
    request.user = Some("u".into());
    request.cache.key = Some("k".into());
    request.metadata = Some(Json::parse(Str::from_static("{\"n\":1}")).expect("JSON"));
    request.service_tier = Some("scale".into());
    request.turns[0]
        .blocks
        .push(Block::plain(BlockKind::Thinking { text: "t".into() }));
    let (_, mut dropped) = written(&request).expect("sayable");
    dropped.sort();
    let wanted = [
        "metadata",
        "prompt_cache_key",
        "service_tier",
        "thinking",
        "user",
    ];
    assert_eq!(dropped, wanted);
}

#[test]
fn a_block_of_another_dialect_is_refused_where_it_stands() {
    let block = Block::plain(BlockKind::Other {
        dialect: DialectName::Messages,
        json: Json::empty_object(),
    });
    assert_eq!(
        field_of(written(&user(vec![block]))),
        "messages[0].content[0]"
    );
    let mut request = user(vec![Block::text("hi")]);
    request.tools.push(Tool::Other {
        dialect: DialectName::Messages,
        json: Json::empty_object(),
    });
    assert_eq!(field_of(written(&request)), "tools[0]");
    assert_eq!(field_of(written(&Request::default())), "messages");
}
