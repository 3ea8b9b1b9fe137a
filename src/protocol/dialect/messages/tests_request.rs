//! Promises of `request`: what a client said is kept, what a provider is told obeys its rules.

use super::request::{read, write};
use super::tests_events::random_json;
use crate::base::{Json, Rng, Str, Tokens};
use crate::canon::{
    Block, BlockKind, CacheHints, CacheMark, CacheTtl, Citation, DialectName, Effort, Extra,
    OutputFormat, Reasoning, ReasoningMode, Request, Role, Source, Tool, ToolChoice, ToolInput,
    ToolKind, Turn,
};
use crate::protocol::dialect::{Rules, Target};
use bytes::Bytes;
use serde_json::{Value, json};

fn js(text: &str) -> Json {
    Json::parse(Str::from(text)).expect("json")
}

fn target(rules: &Rules) -> Target<'_> {
    Target {
        model: "m",
        stream: false,
        max_output_default: 4096,
        rules,
    }
}

fn rules(drop: &[&str], refuse: &[&str]) -> Rules {
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    Rules {
        drop: owned(drop),
        refuse: owned(refuse),
        ..Rules::default()
    }
}

fn written_by(request: &Request, rules: &Rules) -> (Value, Vec<String>) {
    let (bytes, dropped) = write(request, &target(rules)).expect("a request this API takes");
    (serde_json::from_slice(&bytes).expect("json"), dropped)
}

fn written(request: &Request) -> (Value, Vec<String>) {
    written_by(request, &Rules::default())
}

fn refused(request: &Request) -> String {
    let fault = write(request, &target(&Rules::default())).expect_err("a refusal");
    fault.field.expect("a field")
}

fn turn(role: Role, blocks: Vec<Block>) -> Turn {
    Turn {
        role,
        blocks,
        name: None,
    }
}

fn asked(turns: Vec<Turn>) -> Request {
    Request {
        model: "m".into(),
        turns,
        stream_usage: true,
        ..Request::default()
    }
}

fn said(text: &str) -> Request {
    asked(vec![turn(Role::User, vec![Block::text(text)])])
}

fn call(id: &str) -> Block {
    Block::plain(BlockKind::ToolCall {
        id: id.into(),
        name: "f".into(),
        input: ToolInput::Json(js("{\"z\": 1.0, \"a\":2}")),
        kind: ToolKind::Function,
    })
}

fn result(id: &str, content: Vec<Block>) -> Block {
    Block::plain(BlockKind::ToolResult {
        id: id.into(),
        name: None,
        content,
        is_error: false,
    })
}

fn function(name: &str) -> Tool {
    Tool::Function {
        name: name.into(),
        description: None,
        schema: Some(js("{\"type\":\"object\"}")),
        strict: None,
        mark: None,
        extra: Vec::new(),
    }
}

fn document(source: Source) -> Block {
    Block::plain(BlockKind::Document {
        source,
        title: Some("t".into()),
        context: Some("c".into()),
        citations: Some(true),
    })
}

fn marked(ttl: Option<CacheTtl>, block: Block) -> Block {
    Block {
        mark: Some(CacheMark { ttl }),
        ..block
    }
}

fn extra(name: &str, value: &str) -> Extra {
    Extra {
        dialect: DialectName::Messages,
        name: name.into(),
        value: js(value),
    }
}

/// All that this dialect can say.
fn everything() -> Request {
    let image = |source| {
        Block::plain(BlockKind::Image {
            source,
            detail: None,
        })
    };
    let base64 = |media_type: &str| Source::Base64 {
        media_type: media_type.into(),
        data: "QUJD".into(),
    };
    let url = || Source::Url {
        url: "https://h/x".into(),
        media_type: None,
    };
    let other = |json: &str| {
        Block::plain(BlockKind::Other {
            dialect: DialectName::Messages,
            json: js(json),
        })
    };
    let user = vec![
        image(base64("image/png")),
        image(url()),
        image(Source::File {
            id: "file_1".into(),
        }),
        document(base64("application/pdf")),
        document(url()),
        document(Source::Text {
            media_type: "text/plain".into(),
            text: "abc\n\"".into(),
        }),
        document(Source::Blocks(vec![Block::text("in")])),
        other(
            r#"{"type":"search_result","source":"s","title":"t","content":[{"type":"text","text":"x"}]}"#,
        ),
        other(r#"{"type":"container_upload","file_id":"f"}"#),
        marked(Some(CacheTtl::Minutes5), Block::text("go")),
    ];
    let cited = Block::plain(BlockKind::Text {
        text: "so".into(),
        citations: vec![Citation {
            dialect: DialectName::Messages,
            json: js(
                r#"{"type":"web_search_result_location","url":"u","title":"t","cited_text":"c","encrypted_index":"e"}"#,
            ),
            url: Some("u".into()),
            title: Some("t".into()),
            cited_text: Some("c".into()),
        }],
    });
    let assistant = vec![
        Block {
            signature: Some("sig".into()),
            ..Block::plain(BlockKind::Thinking { text: "hm".into() })
        },
        Block::plain(BlockKind::RedactedThinking { data: "zz".into() }),
        cited,
        Block::plain(BlockKind::ToolCall {
            id: "srvtoolu_1".into(),
            name: "web_search".into(),
            input: ToolInput::Json(js("{\"q\":1}")),
            kind: ToolKind::Server,
        }),
        other(
            r#"{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","encrypted_content":"E"}]}"#,
        ),
        call("toolu_1"),
        other(
            r#"{"type":"tool_use","id":"toolu_2","name":"f","input":{},"caller":{"type":"code_execution_20260120","tool_id":"s"}}"#,
        ),
    ];
    let results = vec![
        result(
            "toolu_1",
            vec![
                Block::text("r"),
                image(base64("image/png")),
                other(r#"{"type":"tool_reference","tool_name":"f"}"#),
            ],
        ),
        Block::plain(BlockKind::ToolResult {
            id: "toolu_2".into(),
            name: None,
            content: Vec::new(),
            is_error: true,
        }),
        Block::text("and"),
    ];
    let mut request = asked(vec![
        turn(Role::User, user),
        turn(Role::Assistant, assistant),
        turn(Role::User, results),
        turn(Role::System, vec![Block::text("be brief")]),
        turn(Role::Assistant, vec![Block::text("ok")]),
        turn(Role::User, vec![Block::text("end")]),
    ]);
    request.system = vec![marked(
        Some(CacheTtl::Hours1),
        Block::text("sys \"q\" \u{2028}"),
    )];
    request.tools = vec![
        Tool::Function {
            name: "f".into(),
            description: Some("d".into()),
            schema: Some(js(
                "{\"type\":\"object\", \"properties\":{\"z\":{},\"a\":{}}}",
            )),
            strict: Some(true),
            mark: Some(CacheMark { ttl: None }),
            extra: vec![
                extra("defer_loading", "true"),
                extra("input_examples", "[{\"z\":1}]"),
            ],
        },
        Tool::Other {
            dialect: DialectName::Messages,
            json: js(r#"{"type":"web_search_20260318","name":"web_search","max_uses":2}"#),
        },
    ];
    request.tool_choice = Some(ToolChoice::Named {
        name: "f".into(),
        custom: false,
    });
    request.parallel_tools = Some(false);
    request.sampling.max_output = Some(Tokens(9000));
    request.sampling.temperature = Some(0.5);
    request.sampling.top_p = Some(0.9);
    request.sampling.top_k = Some(5);
    request.sampling.stop = vec!["END".into(), "\n\nH:".into()];
    request.reasoning = Some(Reasoning {
        mode: Some(ReasoningMode::Adaptive),
        effort: Some(Effort::ExtraHigh),
        shown: Some(false),
    });
    request.output_format = Some(OutputFormat::JsonSchema {
        name: None,
        description: None,
        schema: js("{\"type\":\"object\",\"b\":1,\"a\":2}"),
        strict: None,
    });
    request.cache = CacheHints {
        automatic: Some(CacheMark {
            ttl: Some(CacheTtl::Minutes5),
        }),
        ..CacheHints::default()
    };
    request.user = Some("u-1".into());
    request.service_tier = Some("standard_only".into());
    request.extra = vec![
        extra(
            "output_config.task_budget",
            "{\"type\":\"tokens\",\"total\":5}",
        ),
        extra("thinking.block_binding", "{\"x\":1}"),
        extra("inference_geo", "\"us\""),
        extra("container", "{\"id\":\"c\"}"),
        extra("unheard_of", "[1, 2]"),
    ];
    request
}

fn sorted(mut request: Request) -> Request {
    request.extra.sort_by(|a, b| a.name.cmp(&b.name));
    request
}

#[test]
fn all_that_can_be_said_is_read_as_it_was_written() {
    let request = everything();
    let (bytes, dropped) = write(&request, &target(&Rules::default())).expect("sayable");
    assert_eq!(dropped, Vec::<String>::new());
    let again = read(&bytes).expect("readable");
    assert_eq!(sorted(again.clone()), sorted(request));
    let (twice, _) = write(&again, &target(&Rules::default())).expect("sayable");
    assert_eq!(read(&twice).map(sorted), Ok(sorted(again)));
    let text = std::str::from_utf8(&bytes).expect("UTF-8");
    let at = |what: &str| text.find(what).expect(what);
    assert!(at("\"tools\":") < at("\"system\":") && at("\"system\":") < at("\"messages\":"));
    assert!(
        text.contains("{\"z\": 1.0, \"a\":2}"),
        "key order and numbers stay to the byte"
    );
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let (first, _) = write(&everything(), &target(&Rules::default())).expect("sayable");
    for _ in 0..1_000 {
        let (again, _) = write(&everything(), &target(&Rules::default())).expect("sayable");
        assert_eq!(first, again);
    }
}

#[test]
fn each_form_of_thinking_is_read_as_it_was_written() {
    for (mode, by_budget) in [
        (ReasoningMode::Off, false),
        (ReasoningMode::Adaptive, false),
        (ReasoningMode::BetweenTools, false),
        (ReasoningMode::Budget(Tokens(2000)), true),
    ] {
        let mut request = said("x");
        request.sampling.max_output = Some(Tokens(4000));
        let shown = (mode == ReasoningMode::Adaptive).then_some(true);
        request.reasoning = Some(Reasoning {
            mode: Some(mode),
            effort: None,
            shown,
        });
        let rules = Rules {
            thinking_budget: by_budget,
            ..Rules::default()
        };
        let (bytes, _) = write(&request, &target(&rules)).expect("sayable");
        assert_eq!(read(&bytes), Ok(request));
    }
}

#[test]
fn what_is_wrong_is_named_with_its_path() {
    let base = |field: &str, value: Value| {
        let mut body =
            json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]});
        body[field] = value;
        body
    };
    let content = |block: Value| {
        base(
            "messages",
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": [block]}]),
        )
    };
    let cases = [
        (json!({"model": "m", "messages": []}), "max_tokens"),
        (json!({"max_tokens": 1, "messages": []}), "model"),
        (json!({"model": "m", "max_tokens": 1}), "messages"),
        (base("messages", json!([])), "messages"),
        (
            base("messages", json!([{"role": "bot", "content": "x"}])),
            "messages[0].role",
        ),
        (
            base("messages", json!([{"role": "user"}])),
            "messages[0].content",
        ),
        (base("max_tokens", json!(-1)), "max_tokens"),
        (base("temperature", json!("hot")), "temperature"),
        (base("stop_sequences", json!(["a", 1])), "stop_sequences[1]"),
        (
            base("tools", json!([{"name": "f"}])),
            "tools[0].input_schema",
        ),
        (
            base("tool_choice", json!({"type": "some"})),
            "tool_choice.type",
        ),
        (
            base("thinking", json!({"type": "enabled"})),
            "thinking.budget_tokens",
        ),
        (
            base("cache_control", json!({"type": "ephemeral", "ttl": "2h"})),
            "cache_control.ttl",
        ),
        (base("system", json!(5)), "system"),
        (
            content(json!({"type": "image"})),
            "messages[2].content[0].source",
        ),
        (
            content(json!({"type": "image", "source": {"type": "base64", "data": "x"}})),
            "messages[2].content[0].source.media_type",
        ),
        (
            content(json!({"type": "tool_use", "id": "a", "name": "f", "input": "x"})),
            "messages[2].content[0].input",
        ),
        (
            content(
                json!({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text"}]}),
            ),
            "messages[2].content[0].content[0].text",
        ),
        (content(json!({"text": "x"})), "messages[2].content[0].type"),
    ];
    for (body, field) in cases {
        let fault = read(&Bytes::from(body.to_string())).expect_err(field);
        assert_eq!(fault.field.as_deref(), Some(field), "{body}");
    }
    for body in ["", "[]", "{", "\"x\"", "{\"model\":}"] {
        assert!(read(&Bytes::from(body)).is_err(), "{body}");
    }
    assert!(read(&Bytes::from_static(b"\xff{}")).is_err());
}

#[test]
fn turns_of_one_role_in_a_row_are_one() {
    let body = json!({"model": "m", "max_tokens": 1, "messages": [
        {"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]}]});
    let request = read(&Bytes::from(body.to_string())).expect("readable");
    assert_eq!(
        request.turns,
        [turn(Role::User, vec![Block::text("a"), Block::text("b")])]
    );
}

#[test]
fn results_stand_first_and_together_after_their_call() {
    let request = asked(vec![
        turn(Role::User, vec![Block::text("q")]),
        turn(
            Role::Assistant,
            vec![Block::text(""), call("call.1"), call("b")],
        ),
        turn(Role::System, vec![Block::text("hurry")]),
        turn(
            Role::User,
            vec![
                Block::text("by the way"),
                result("call.1", vec![Block::text("")]),
            ],
        ),
        turn(Role::User, vec![result("b", vec![Block::text("2")])]),
    ]);
    let (body, dropped) = written(&request);
    assert_eq!(dropped, Vec::<String>::new());
    let messages = &body["messages"];
    assert_eq!(messages.as_array().expect("array").len(), 3);
    let kinds: Vec<_> = messages[2]["content"]
        .as_array()
        .expect("array")
        .iter()
        .map(|b| b["type"].as_str().expect("type"))
        .collect();
    assert_eq!(kinds, ["tool_result", "tool_result", "text", "text"]);
    // Ids of other issuers are made to fit, alike on both sides; empty text is left out.
    assert_eq!(messages[1]["content"][0]["id"], "call_1");
    assert_eq!(
        messages[2]["content"][0],
        json!({"type": "tool_result", "tool_use_id": "call_1"})
    );
    assert_eq!(
        messages[2]["content"][2]["text"],
        "<system>\nhurry\n</system>"
    );
}

#[test]
fn instructions_in_the_middle_stay_where_the_api_takes_them() {
    let request = asked(vec![
        turn(Role::User, vec![Block::text("q")]),
        turn(Role::System, vec![Block::text("s1")]),
        turn(Role::Assistant, vec![Block::text("a")]),
        turn(Role::System, vec![Block::text("s2")]),
        turn(Role::User, vec![Block::text("q2")]),
        turn(Role::System, vec![Block::text("s3")]),
    ]);
    let roles = |body: &Value| -> Vec<String> {
        body["messages"]
            .as_array()
            .expect("array")
            .iter()
            .map(|m| m["role"].as_str().expect("role").to_owned())
            .collect()
    };
    let (body, _) = written(&request);
    assert_eq!(
        roles(&body),
        ["user", "system", "assistant", "user", "system"]
    );
    assert_eq!(
        body["messages"][3]["content"][0]["text"],
        "<system>\ns2\n</system>"
    );
    let (body, _) = written_by(&request, &rules(&[], &["system_turns"]));
    assert_eq!(roles(&body), ["user", "assistant", "user"]);
}

#[test]
fn the_assistant_never_begins() {
    let (body, _) = written(&asked(vec![turn(
        Role::Assistant,
        vec![Block::text("hello")],
    )]));
    assert_eq!(
        (&body["messages"][0]["role"], &body["messages"][1]["role"]),
        (&json!("user"), &json!("assistant"))
    );
    assert_eq!(refused(&asked(Vec::new())), "messages");
}

#[test]
fn what_this_api_does_not_have_is_refused_or_dropped_by_rule() {
    type Set = fn(&mut Request);
    let cases: [(&str, Set); 9] = [
        ("n", |r| r.sampling.choices = Some(2)),
        ("seed", |r| r.sampling.seed = Some(1)),
        ("presence_penalty", |r| {
            r.sampling.presence_penalty = Some(0.1)
        }),
        ("frequency_penalty", |r| {
            r.sampling.frequency_penalty = Some(0.1)
        }),
        ("logit_bias", |r| {
            r.sampling.logit_bias = Some(js("{\"5\":1}"))
        }),
        ("logprobs", |r| r.sampling.logprobs = Some(true)),
        ("top_logprobs", |r| r.sampling.top_logprobs = Some(2)),
        ("verbosity", |r| r.sampling.verbosity = Some("low".into())),
        ("response_format", |r| {
            r.output_format = Some(OutputFormat::JsonObject)
        }),
    ];
    for (name, set) in cases {
        let mut request = said("x");
        set(&mut request);
        assert_eq!(refused(&request), name);
        let (plain, _) = written(&said("x"));
        let (body, dropped) = written_by(&request, &rules(&[name], &[]));
        assert_eq!((body, dropped), (plain, vec![name.to_owned()]));
    }
    let mut request = said("x");
    request.sampling.temperature = Some(1.5);
    assert_eq!(refused(&request), "temperature");
    request.sampling.temperature = Some(1.0);
    let fault =
        write(&request, &target(&rules(&[], &["temperature"]))).expect_err("refused by rule");
    assert_eq!(fault.field.as_deref(), Some("temperature"));
    let (body, dropped) = written_by(&request, &rules(&["temperature"], &["temperature"]));
    assert_eq!(
        (&body["temperature"], dropped),
        (&Value::Null, vec!["temperature".to_owned()])
    );
    // What would happen anyway is no ask.
    request = said("x");
    request.sampling.choices = Some(1);
    request.sampling.presence_penalty = Some(0.0);
    request.sampling.logprobs = Some(false);
    request.tool_choice = Some(ToolChoice::Auto);
    assert_eq!(written(&request), written(&said("x")));
}

#[test]
fn sound_and_film_are_refused_by_place() {
    let source = Source::Base64 {
        media_type: "audio/wav".into(),
        data: "A".into(),
    };
    let block = Block::plain(BlockKind::Audio {
        source,
        format: None,
    });
    let request = asked(vec![turn(Role::User, vec![Block::text("x"), block])]);
    assert_eq!(refused(&request), "messages[0].content[1]");
    let (body, dropped) = written_by(&request, &rules(&["audio"], &[]));
    assert_eq!(
        body["messages"][0]["content"]
            .as_array()
            .expect("array")
            .len(),
        1
    );
    assert_eq!(dropped, ["audio"]);
}

#[test]
fn data_urls_become_base64_and_text_files_text() {
    let url = |url: &str| Source::Url {
        url: url.into(),
        media_type: None,
    };
    let image = |source| {
        Block::plain(BlockKind::Image {
            source,
            detail: Some("auto".into()),
        })
    };
    let csv = Source::Base64 {
        media_type: "text/csv".into(),
        data: "YSxi".into(),
    };
    let request = asked(vec![turn(
        Role::User,
        vec![image(url("data:image/png;base64,QUJD")), document(csv)],
    )]);
    let (body, _) = written(&request);
    let content = &body["messages"][0]["content"];
    assert_eq!(
        content[0]["source"],
        json!({"type": "base64", "media_type": "image/png", "data": "QUJD"})
    );
    assert_eq!(
        content[1]["source"],
        json!({"type": "text", "media_type": "text/plain", "data": "a,b"})
    );
    for source in [
        url("data:image/png,raw"),
        Source::Text {
            media_type: "t".into(),
            text: "x".into(),
        },
    ] {
        let request = asked(vec![turn(Role::User, vec![image(source)])]);
        assert_eq!(refused(&request), "messages[0].content[0].source");
    }
    let zip = Source::Base64 {
        media_type: "application/zip".into(),
        data: "QUJD".into(),
    };
    assert_eq!(
        refused(&asked(vec![turn(Role::User, vec![document(zip)])])),
        "messages[0].content[0].source"
    );
}

#[test]
fn thinking_of_another_issuer_is_left_out_and_told() {
    let thought = Block::plain(BlockKind::Thinking { text: "hm".into() });
    let request = asked(vec![
        turn(Role::User, vec![Block::text("q")]),
        turn(Role::Assistant, vec![thought, Block::text("a")]),
        turn(Role::User, vec![Block::text("q")]),
    ]);
    let (body, dropped) = written(&request);
    assert_eq!(
        body["messages"][1]["content"],
        json!([{"type": "text", "text": "a"}])
    );
    assert_eq!(dropped, ["thinking"]);
}

#[test]
fn never_more_than_four_marks() {
    for automatic in [false, true] {
        let mut request = said("x");
        request.tools = vec![Tool::Function {
            name: "f".into(),
            description: None,
            schema: None,
            strict: None,
            mark: Some(CacheMark { ttl: None }),
            extra: Vec::new(),
        }];
        request.system = vec![marked(None, Block::text("s"))];
        request.turns[0].blocks = (0..7)
            .map(|i| marked(None, Block::text(i.to_string())))
            .collect();
        request.cache.automatic = automatic.then_some(CacheMark { ttl: None });
        let (body, dropped) = written(&request);
        assert_eq!(body.to_string().matches("cache_control").count(), 4);
        assert!(
            body["tools"][0]["cache_control"].is_object(),
            "the shared front stays"
        );
        assert!(
            body["messages"][0]["content"][6]["cache_control"].is_object(),
            "so does the end"
        );
        assert_eq!(dropped, ["cache_control"]);
    }
}

#[test]
fn an_effort_is_a_word_or_a_budget() {
    let with = |mode, effort, max: u64| {
        let mut request = said("x");
        request.sampling.max_output = Some(Tokens(max));
        request.reasoning = Some(Reasoning {
            mode,
            effort,
            shown: None,
        });
        request
    };
    let budget = Rules {
        thinking_budget: true,
        ..Rules::default()
    };
    let (body, _) = written(&with(None, Some(Effort::High), 100));
    assert_eq!(
        (&body["thinking"]["type"], &body["output_config"]["effort"]),
        (&json!("adaptive"), &json!("high"))
    );
    let (body, _) = written(&with(None, Some(Effort::Minimal), 100));
    assert_eq!(body["output_config"]["effort"], "low");
    for rules in [&Rules::default(), &budget] {
        let (body, _) = written_by(&with(None, Some(Effort::None), 5000), rules);
        assert_eq!(
            (&body["thinking"], &body["output_config"]),
            (&json!({"type": "disabled"}), &Value::Null)
        );
    }
    for (effort, max, tokens) in [
        (Effort::Low, 64_000, 2_048),
        (Effort::Medium, 64_000, 8_192),
        (Effort::High, 10_000, 5_000),
        (Effort::Max, 64_000, 32_000),
        (Effort::High, 1_025, 1_024),
    ] {
        let (body, _) = written_by(&with(None, Some(effort), max), &budget);
        assert_eq!(
            body["thinking"],
            json!({"type": "enabled", "budget_tokens": tokens})
        );
    }
    let (body, dropped) = written_by(&with(None, Some(Effort::High), 1_024), &budget);
    assert_eq!(
        (&body["thinking"], dropped),
        (&Value::Null, vec!["reasoning_effort".to_owned()])
    );
    for n in [1_023, 4_000] {
        let request = with(Some(ReasoningMode::Budget(Tokens(n))), None, 4_000);
        let fault = write(&request, &target(&budget)).expect_err("out of range");
        assert_eq!(fault.field.as_deref(), Some("thinking.budget_tokens"));
    }
}

#[test]
fn tools_of_other_dialects_find_a_form() {
    let mut request = said("x");
    request.tools = vec![
        function("a"),
        Tool::Custom {
            name: "b".into(),
            description: Some("d".into()),
            format: Some(js("{\"type\":\"grammar\"}")),
        },
    ];
    request.tool_choice = Some(ToolChoice::Allowed {
        names: vec!["b".into()],
        required: true,
    });
    request.turns.push(turn(
        Role::Assistant,
        vec![
            Block::plain(BlockKind::ToolCall {
                id: "1".into(),
                name: "b".into(),
                input: ToolInput::Text("free \"text\"".into()),
                kind: ToolKind::Custom,
            }),
            Block::plain(BlockKind::ToolCall {
                id: "2".into(),
                name: "a".into(),
                input: ToolInput::Text("{\"broken".into()),
                kind: ToolKind::Function,
            }),
            Block::plain(BlockKind::ToolCall {
                id: "3".into(),
                name: "a".into(),
                input: ToolInput::Text(" {\"x\":1}".into()),
                kind: ToolKind::Function,
            }),
            Block::plain(BlockKind::ToolCall {
                id: "4".into(),
                name: "a".into(),
                input: ToolInput::Text(Str::new()),
                kind: ToolKind::Function,
            }),
        ],
    ));
    let (body, dropped) = written(&request);
    assert_eq!(dropped, ["tools[1].custom.format"]);
    assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "b"}));
    assert_eq!(
        body["tools"].as_array().expect("array").len(),
        2,
        "the prefix stays"
    );
    assert_eq!(
        body["tools"][1]["input_schema"]["required"],
        json!(["input"])
    );
    let inputs: Vec<_> = body["messages"][1]["content"]
        .as_array()
        .expect("array")
        .iter()
        .map(|b| &b["input"])
        .collect();
    assert_eq!(
        inputs,
        [
            &json!({"input": "free \"text\""}),
            &json!({"raw": "{\"broken"}),
            &json!({"x": 1}),
            &json!({})
        ]
    );

    request.tool_choice = Some(ToolChoice::Allowed {
        names: vec!["b".into()],
        required: false,
    });
    let (body, _) = written(&request);
    assert_eq!(
        (&body["tools"][0]["name"], &body["tool_choice"]["type"]),
        (&json!("b"), &json!("auto"))
    );
    request.tool_choice = Some(ToolChoice::Allowed {
        names: vec!["c".into()],
        required: false,
    });
    assert_eq!(refused(&request), "tool_choice");
}

#[test]
fn no_bytes_and_no_json_make_the_reader_panic() {
    let mut rng = Rng::seeded(11);
    let (good, _) = write(&everything(), &target(&Rules::default())).expect("sayable");
    for _ in 0..2_000 {
        let mut bytes = good.to_vec();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.bits() as u8;
        }
        if let Ok(request) = read(&Bytes::from(bytes)) {
            let _ = write(&request, &target(&Rules::default()));
        }
        let block = random_json(&mut rng, 4);
        let body = format!(
            "{{\"model\":\"m\",\"max_tokens\":1,\"messages\":[{{\"role\":\"user\",\"content\":[{block}]}}],\"tools\":[{block}],\"thinking\":{block}}}"
        );
        if let Ok(request) = read(&Bytes::from(body)) {
            let _ = write(&request, &target(&Rules::default()));
        }
    }
    let deep = format!(
        "{{\"model\":\"m\",\"max_tokens\":1,\"messages\":{}1{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(read(&Bytes::from(deep)).is_err());
    let nest = (0..200).fold("\"x\"".to_owned(), |inner, _| {
        format!("[{{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":{inner}}}]")
    });
    let body = format!(
        "{{\"model\":\"m\",\"max_tokens\":1,\"messages\":[{{\"role\":\"user\",\"content\":{nest}}}]}}"
    );
    assert!(read(&Bytes::from(body)).is_err());
}
