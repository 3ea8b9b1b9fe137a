use super::*;
use crate::base::{Json, Rng, Tokens};
use crate::canon::*;
use crate::protocol::dialect::{Dropped, Rules, Target};
use bytes::Bytes;
use serde_json::{Value, json};

fn read_value(value: &Value) -> Result<Request, Fault> {
    read(&Bytes::from(value.to_string()))
}

fn asked(message: Value) -> Request {
    read_value(&json!({"model": "m", "messages": [message]})).expect("a request")
}

fn write_with(request: &Request, rules: &Rules, stream: bool) -> Result<(Value, Dropped), Fault> {
    let target = Target {
        model: &request.model,
        stream,
        max_output_default: 1,
        rules,
    };
    let (bytes, dropped) = write(request, &target)?;
    let (again, _) = write(request, &target)?;
    assert_eq!(bytes, again, "the same request is the same bytes");
    Ok((
        serde_json::from_slice(&bytes).expect("what we write is JSON"),
        dropped,
    ))
}

fn written(request: &Request) -> (Value, Dropped) {
    write_with(request, &Rules::default(), false).expect("sayable")
}

/// Everything that this dialect can say, in its newer forms.
fn everything() -> Value {
    json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": [
                {"type": "text", "text": "be \"good\"\n", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
                {"type": "text", "text": "é", "prompt_cache_breakpoint": {"mode": "explicit"}}]},
            {"role": "user", "name": "ann", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "https://a.b/c.png", "detail": "high"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,CC"},
                 "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
                {"type": "video_url", "video_url": {"url": "https://a.b/v.mp4"}},
                {"type": "audio_url", "audio_url": {"url": "https://a.b/v.ogg"}},
                {"type": "new_kind", "x": 1}]},
            {"role": "assistant", "content": "calling", "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1.0}"}},
                {"id": "toolu_2", "type": "custom", "custom": {"name": "g", "input": "free text"}},
                {"id": "call_3", "type": "function", "function": {"name": "f", "arguments": "not json"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "42"},
            {"role": "tool", "name": "g", "tool_call_id": "toolu_2", "content": [
                {"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
            {"role": "tool", "tool_call_id": "call_3", "content": ""},
            {"role": "system", "content": "now be brief"},
            {"role": "user", "content": "go on"},
            {"role": "assistant", "content": null, "refusal": "no"},
            {"role": "user", "content": "why?"},
            {"role": "assistant", "content": "so", "audio": {"id": "audio_1"}, "prefix": true}
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true, "x_new": [1]}},
            {"type": "custom", "custom": {"name": "g", "description": "e", "format": {"type": "text"}}},
            {"type": "brand_new", "y": 2}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
            {"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}]}},
        "parallel_tool_calls": false,
        "max_completion_tokens": 100, "temperature": 0.3, "top_p": 0.9, "top_k": 5, "stop": ["a", "b"], "seed": -7,
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "logit_bias": {"1": 2}, "logprobs": true, "top_logprobs": 3,
        "n": 2, "verbosity": "low", "reasoning_effort": "xhigh",
        "response_format": {"type": "json_schema", "json_schema": {"name": "r", "description": "d", "schema": {"type": "object"}, "strict": true}},
        "prompt_cache_key": "k", "prompt_cache_options": {"mode": "explicit"}, "user": "u", "safety_identifier": "s",
        "metadata": {"a": "b"}, "service_tier": "flex", "store": true, "min_p": 0.1,
        "stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false}
    })
}

#[test]
fn everything_said_is_said_again() {
    let value = everything();
    let request = read_value(&value).expect("a request");
    let (out, dropped) = write_with(&request, &Rules::default(), true).expect("sayable");
    assert_eq!(dropped, Vec::<String>::new());
    assert_eq!(out, value);
    assert_eq!(read_value(&out).expect("a request"), request);
}

#[test]
fn canon_is_what_was_meant() {
    let request = read_value(&everything()).expect("a request");
    assert_eq!(request.system.len(), 2);
    assert_eq!(
        request.system[0].mark,
        Some(CacheMark {
            ttl: Some(CacheTtl::Hours12)
        })
    );
    let roles: Vec<Role> = request.turns.iter().map(|t| t.role).collect();
    use Role::{Assistant, System, User};
    assert_eq!(
        roles,
        [
            User, Assistant, User, System, User, Assistant, User, Assistant
        ]
    );
    // Three tool messages are one turn.
    assert_eq!(request.turns[2].blocks.len(), 3);
    assert!(matches!(&request.turns[1].blocks[1].kind,
        BlockKind::ToolCall { input: ToolInput::Json(j), .. } if j.get() == "{\"a\": 1.0}"));
    assert!(matches!(&request.turns[1].blocks[3].kind,
        BlockKind::ToolCall { input: ToolInput::Text(t), .. } if t == "not json"));
    assert!(matches!(&request.turns[0].blocks[2].kind,
        BlockKind::Image { source: Source::Base64 { media_type, data }, .. } if media_type == "image/png" && data == "AAAA"));
    assert_eq!(request.sampling.max_output, Some(Tokens(100)));
    assert_eq!(request.sampling.choices, Some(2));
    assert!(request.stream && request.stream_usage);
    let names: Vec<&str> = request.extra.iter().map(|e| &*e.name).collect();
    assert_eq!(
        names,
        ["min_p", "safety_identifier", "store", "stream_options"]
    );
}

#[test]
fn legacy_functions_become_tools() {
    let request = read_value(&json!({
        "model": "m", "max_tokens": 5,
        "functions": [{"name": "f", "parameters": {}}], "function_call": {"name": "f"},
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": ""}},
            {"role": "function", "name": "f", "content": "r"}]
    }))
    .expect("a request");
    assert_eq!(
        request.tool_choice,
        Some(ToolChoice::Named {
            name: "f".into(),
            custom: false
        })
    );
    let (out, _) = written(&request);
    assert_eq!(
        out["messages"][1]["tool_calls"][0]["function"]["arguments"],
        "{}"
    );
    assert_eq!(
        out["messages"][1]["tool_calls"][0]["id"],
        out["messages"][2]["tool_call_id"]
    );
    assert_eq!(out["max_completion_tokens"], 5);
    assert_eq!(out["tools"][0]["function"]["name"], "f");
}

#[test]
fn a_fault_names_the_field() {
    let message =
        |m: Value| json!({"model": "m", "messages": [{"role": "user", "content": "x"}, m]});
    for (value, field) in [
        (json!({"messages": []}), "model"),
        (json!({"model": "m"}), "messages"),
        (json!({"model": "m", "messages": []}), "messages"),
        (
            json!({"model": 5, "messages": [{"role": "user", "content": "x"}]}),
            "model",
        ),
        (
            message(json!({"role": "king", "content": ""})),
            "messages[1].role",
        ),
        (message(json!({"role": "user"})), "messages[1].content"),
        (message(json!(7)), "messages[1]"),
        (
            message(
                json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": 3}}]}),
            ),
            "messages[1].content[0].image_url.url",
        ),
        (
            message(
                json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}),
            ),
            "messages[1].content[0].image_url.url",
        ),
        (
            message(json!({"role": "user", "content": [{"type": "text"}]})),
            "messages[1].content[0].text",
        ),
        (
            message(json!({"role": "tool", "content": "x"})),
            "messages[1].tool_call_id",
        ),
        (
            message(json!({"role": "function", "name": "f", "content": "x"})),
            "messages[1].name",
        ),
        (
            message(json!({"role": "assistant", "tool_calls": [{"id": "a", "type": "function"}]})),
            "messages[1].tool_calls[0].function",
        ),
        (
            json!({"model": "m", "messages": [], "temperature": "hot"}),
            "temperature",
        ),
        (
            json!({"model": "m", "messages": [], "tools": [{"type": "function", "function": {}}]}),
            "tools[0].function.name",
        ),
        (
            json!({"model": "m", "messages": [], "tool_choice": "perhaps"}),
            "tool_choice",
        ),
        (
            json!({"model": "m", "messages": [], "stop": [1]}),
            "stop[0]",
        ),
        (
            json!({"model": "m", "messages": [], "stream_options": {"include_usage": 1}}),
            "stream_options.include_usage",
        ),
    ] {
        let fault = read_value(&value).expect_err("wrong");
        assert_eq!(fault.class, FaultClass::Invalid);
        assert_eq!(
            fault.field.as_deref(),
            Some(field),
            "{value}: {}",
            fault.message
        );
    }
}

#[test]
fn thinking_is_read_with_its_signatures_and_left_out_openly() {
    let request = asked(
        json!({"role": "assistant", "content": "hi", "reasoning_content": "oneétwo",
        "reasoning_details": [
            {"type": "reasoning.text", "signature": "s1", "index": 0, "text_bytes": 5},
            {"type": "reasoning.encrypted", "data": "zz", "index": 1},
            {"type": "reasoning.text", "signature": "s2", "index": 2, "text_bytes": 3}]}),
    );
    let thought = |text: &'static str, s: &'static str| Block {
        signature: Some(s.into()),
        ..Block::plain(BlockKind::Thinking { text: text.into() })
    };
    assert_eq!(
        request.turns[0].blocks,
        [
            thought("oneé", "s1"),
            Block::plain(BlockKind::RedactedThinking { data: "zz".into() }),
            thought("two", "s2"),
            Block::text("hi")
        ]
    );
    let (out, dropped) = written(&request);
    assert_eq!(
        (dropped, &out["messages"][0]["content"]),
        (vec!["thinking".to_owned()], &json!("hi"))
    );
    // OpenRouter says the same text twice.
    let request = asked(
        json!({"role": "assistant", "content": "hi", "reasoning": "ab",
        "reasoning_details": [{"type": "reasoning.text", "text": "ab", "signature": "s"}]}),
    );
    assert_eq!(
        request.turns[0].blocks,
        [thought("ab", "s"), Block::text("hi")]
    );
}

#[test]
fn images_of_tool_results_follow_in_a_users_message() {
    let mut request = asked(json!({"role": "user", "content": "x"}));
    let image = Block::plain(BlockKind::Image {
        source: Source::Url {
            url: "http://i".into(),
            media_type: None,
        },
        detail: None,
    });
    request.turns[0].blocks = vec![
        Block::text("before"),
        Block::plain(BlockKind::ToolResult {
            id: "toolu_1".into(),
            name: None,
            content: vec![Block::text("see"), image],
            is_error: true,
        }),
    ];
    let (out, dropped) = written(&request);
    assert_eq!(
        out["messages"],
        json!([
        {"role": "tool", "tool_call_id": "toolu_1", "content": "see"},
        {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "http://i"}}, {"type": "text", "text": "before"}]}])
    );
    assert_eq!(dropped, ["tool_result.is_error"]);
}

#[test]
fn what_cannot_be_said_is_refused_or_dropped_by_rule() {
    let plain = asked(json!({"role": "user", "content": "x"}));
    let with = |block: BlockKind| {
        let mut request = plain.clone();
        request.turns[0].blocks.push(Block::plain(block));
        request
    };
    let document = with(BlockKind::Document {
        source: Source::Url {
            url: "http://d".into(),
            media_type: None,
        },
        title: None,
        context: None,
        citations: None,
    });
    let other = with(BlockKind::Other {
        dialect: DialectName::Messages,
        json: Json::empty_object(),
    });
    let file = with(BlockKind::Image {
        source: Source::File { id: "f".into() },
        detail: None,
    });
    let mut tool = plain.clone();
    tool.tools = vec![Tool::Other {
        dialect: DialectName::Messages,
        json: Json::empty_object(),
    }];
    let mut extra = plain.clone();
    extra.extra = vec![Extra {
        dialect: DialectName::Messages,
        name: "container".into(),
        value: Json::empty_object(),
    }];
    for (request, name) in [
        (document, "documents"),
        (other, "other_blocks"),
        (file, "images"),
        (tool, "server_tools"),
        (extra, "container"),
    ] {
        let fault = write_with(&request, &Rules::default(), false).expect_err("not sayable");
        assert!(
            fault.class == FaultClass::Invalid && fault.field.is_some(),
            "{fault:?}"
        );
        let rules = Rules {
            drop: vec![name.to_owned()],
            ..Rules::default()
        };
        let (_, dropped) = write_with(&request, &rules, false).expect("dropped");
        assert_eq!(dropped, [name]);
    }
}

#[test]
fn rules_of_the_model_hold() {
    let mut request = asked(json!({"role": "user", "content": "x"}));
    request.sampling.seed = Some(1);
    request.sampling.max_output = Some(Tokens(9));
    let refuse = Rules {
        refuse: vec!["seed".into()],
        legacy_max_tokens: true,
        ..Rules::default()
    };
    let fault = write_with(&request, &refuse, false).expect_err("refused");
    assert_eq!(fault.field.as_deref(), Some("seed"));
    let both = Rules {
        drop: vec!["seed".into()],
        ..refuse
    };
    let (out, dropped) = write_with(&request, &both, true).expect("dropped");
    assert_eq!(
        (dropped, &out["max_tokens"]),
        (vec!["seed".to_owned()], &json!(9))
    );
    assert_eq!(out["stream_options"], json!({"include_usage": true}));
    assert!(out.get("seed").is_none());
}

#[test]
fn budgets_become_words() {
    for (mode, word) in [
        (ReasoningMode::Off, json!("none")),
        (ReasoningMode::Budget(Tokens(1024)), json!("low")),
        (ReasoningMode::Budget(Tokens(8_000)), json!("medium")),
        (ReasoningMode::Budget(Tokens(20_000)), json!("high")),
        (ReasoningMode::Budget(Tokens(100_000)), json!("xhigh")),
        (ReasoningMode::Adaptive, Value::Null),
    ] {
        let mut request = asked(json!({"role": "user", "content": "x"}));
        request.reasoning = Some(Reasoning {
            mode: Some(mode),
            effort: None,
            shown: None,
        });
        assert_eq!(written(&request).0["reasoning_effort"], word, "{mode:?}");
    }
}

#[test]
fn text_stays_a_slice_of_the_body() {
    let body =
        Bytes::from_static(br#"{"model":"m","messages":[{"role":"user","content":"plain"}]}"#);
    let request = read(&body).expect("a request");
    let BlockKind::Text { text, .. } = &request.turns[0].blocks[0].kind else {
        panic!("text");
    };
    assert!(body.as_ptr_range().contains(&text.as_ptr()));
}

#[test]
fn no_body_panics() {
    let mut rng = Rng::seeded(17);
    let good = everything().to_string().into_bytes();
    for _ in 0..3_000 {
        let mut bad = good.clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bad.len() as u64) as usize;
            bad[at] = b"{}[]\",:0nt\\\xff"[rng.below(12) as usize];
        }
        let _ = read(&Bytes::from(bad));
    }
    let deep = format!(r#"{{"model":"m","messages":{}"#, "[".repeat(200_000));
    assert!(read(&Bytes::from(deep)).is_err());
    let nested = format!(
        r#"{{"model":"m","messages":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(read(&Bytes::from(nested)).is_err());
}

/// As answers tell them (`images` of OpenRouter), and as clients send those back.
#[test]
fn pictures_that_an_assistant_made_are_read() {
    let body = r#"{"model":"m","messages":[{"role":"assistant","content":null,"images":[{"type":"image_url","index":0,"image_url":{"url":"data:image/png;base64,AAAA"}}]},{"role":"user","content":"larger"}]}"#;
    let request = read(&Bytes::from_static(body.as_bytes())).expect("right");
    let BlockKind::Image { source, .. } = &request.turns[0].blocks[0].kind else {
        panic!("{request:?}");
    };
    let wanted = Source::Base64 {
        media_type: "image/png".into(),
        data: "AAAA".into(),
    };
    assert_eq!(*source, wanted);
}
