//! The conversations that are asked, in canon.

use crate::base::{Json, Str, Tokens};
use crate::canon::{
    Block, BlockKind, CacheMark, CacheTtl, Citation, DialectName, Effort, OutputFormat, Reasoning,
    ReasoningMode, Request, Role, Sampling, Source, Tool, ToolChoice, ToolInput, ToolKind, Turn,
};

pub fn json(text: &'static str) -> Json {
    Json::parse(Str::from_static(text)).expect("JSON")
}

pub fn turn(role: Role, blocks: Vec<Block>) -> Turn {
    Turn {
        role,
        blocks,
        name: None,
    }
}

fn user(blocks: Vec<Block>) -> Turn {
    turn(Role::User, blocks)
}

fn model(blocks: Vec<Block>) -> Turn {
    turn(Role::Assistant, blocks)
}

fn call(id: &'static str, name: &'static str, input: &'static str) -> Block {
    Block::plain(BlockKind::ToolCall {
        id: id.into(),
        name: name.into(),
        input: ToolInput::Json(json(input)),
        kind: ToolKind::Function,
    })
}

fn result(id: &'static str, name: &'static str, content: Vec<Block>, is_error: bool) -> Block {
    Block::plain(BlockKind::ToolResult {
        id: id.into(),
        name: Some(name.into()),
        content,
        is_error,
    })
}

fn base64(media_type: &'static str, data: &'static str) -> Source {
    Source::Base64 {
        media_type: media_type.into(),
        data: data.into(),
    }
}

fn at(url: &'static str, media_type: Option<&'static str>) -> Source {
    Source::Url {
        url: url.into(),
        media_type: media_type.map(Str::from_static),
    }
}

fn image(source: Source, detail: Option<&'static str>) -> Block {
    Block::plain(BlockKind::Image {
        source,
        detail: detail.map(Str::from_static),
    })
}

fn document(source: Source, title: Option<&'static str>) -> Block {
    Block::plain(BlockKind::Document {
        source,
        title: title.map(Str::from_static),
        context: None,
        citations: None,
    })
}

fn tool(name: &'static str) -> Tool {
    Tool::Function {
        name: name.into(),
        description: Some("looks something up".into()),
        schema: Some(json(
            r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#,
        )),
        strict: None,
        mark: None,
        extra: Vec::new(),
    }
}

fn asked(turns: Vec<Turn>) -> Request {
    Request {
        model: "asked".into(),
        turns,
        sampling: Sampling {
            max_output: Some(Tokens(4_000)),
            ..Sampling::default()
        },
        stream_usage: true,
        ..Request::default()
    }
}

fn hello() -> Request {
    asked(vec![user(vec![Block::text("hello")])])
}

fn thinks(mode: Option<ReasoningMode>, effort: Option<Effort>) -> Request {
    Request {
        reasoning: Some(Reasoning {
            mode,
            effort,
            shown: None,
        }),
        ..hello()
    }
}

fn sampled(sampling: Sampling) -> Request {
    Request {
        sampling: Sampling {
            max_output: Some(Tokens(4_000)),
            ..sampling
        },
        ..hello()
    }
}

fn several_turns() -> Request {
    Request {
        system: vec![Block::text("be brief")],
        ..asked(vec![
            user(vec![Block::text("hello"), Block::text("are you there?")]),
            model(vec![Block::text("yes")]),
            user(vec![Block::text("good \"day\" \u{1f600}")]),
        ])
    }
}

/// Two calls at once, one of which fails, then a third, then the question goes on.
fn tool_loop() -> Request {
    Request {
        tools: vec![tool("weather"), tool("time")],
        ..asked(vec![
            user(vec![Block::text("weather and time in Bonn?")]),
            model(vec![
                Block::text("let me see"),
                call("call_1", "weather", r#"{"city":"Bonn"}"#),
                call("call_2", "time", r#"{"city":"Bonn","precise":true}"#),
            ]),
            user(vec![
                result("call_1", "weather", vec![Block::text("rain")], false),
                result("call_2", "time", vec![Block::text("no clock")], true),
            ]),
            model(vec![call("call_3", "time", r#"{"city":"Cologne"}"#)]),
            user(vec![
                result("call_3", "time", vec![Block::text("noon")], false),
                Block::text("so?"),
            ]),
        ])
    }
}

fn pictured_result() -> Request {
    let seen = vec![
        Block::text("a map"),
        image(base64("image/png", "iVBORw0KGgo="), None),
    ];
    Request {
        tools: vec![tool("look")],
        ..asked(vec![
            user(vec![Block::text("look")]),
            model(vec![call("call_1", "look", r#"{"city":"Bonn"}"#)]),
            user(vec![result("call_1", "look", seen, false)]),
        ])
    }
}

fn signed() -> Request {
    let mut thought = Block::plain(BlockKind::Thinking {
        text: "the user wants rain".into(),
    });
    thought.signature = Some("c2lnbmF0dXJl".into());
    Request {
        tools: vec![tool("weather")],
        reasoning: Some(Reasoning {
            mode: Some(ReasoningMode::Adaptive),
            effort: Some(Effort::High),
            shown: None,
        }),
        ..asked(vec![
            user(vec![Block::text("rain?")]),
            model(vec![
                thought,
                call("call_1", "weather", r#"{"city":"Bonn"}"#),
            ]),
            user(vec![result(
                "call_1",
                "weather",
                vec![Block::text("yes")],
                false,
            )]),
        ])
    }
}

fn refused_before() -> Request {
    asked(vec![
        user(vec![Block::text("do harm")]),
        model(vec![Block::plain(BlockKind::Refusal {
            text: "I will not".into(),
        })]),
        user(vec![Block::text("do good")]),
    ])
}

fn cited_before() -> Request {
    let cited = Citation {
        dialect: DialectName::Messages,
        json: json(
            r#"{"type":"web_search_result_location","url":"https://a.example","title":"A","cited_text":"t","encrypted_index":"e"}"#,
        ),
        url: Some("https://a.example".into()),
        title: Some("A".into()),
        cited_text: Some("t".into()),
    };
    asked(vec![
        user(vec![Block::text("who says so?")]),
        model(vec![Block::plain(BlockKind::Text {
            text: "A does".into(),
            citations: vec![cited],
        })]),
        user(vec![Block::text("and?")]),
    ])
}

fn marked() -> Request {
    let mut system = Block::text("a long instruction");
    system.mark = Some(CacheMark {
        ttl: Some(CacheTtl::Hours1),
    });
    let mut long = Block::text("a long text");
    long.mark = Some(CacheMark { ttl: None });
    Request {
        system: vec![system],
        ..asked(vec![user(vec![long, Block::text("and?")])])
    }
}

fn free_text() -> Request {
    let custom = |id: &'static str, text: &'static str| {
        Block::plain(BlockKind::ToolCall {
            id: id.into(),
            name: "run".into(),
            input: ToolInput::Text(text.into()),
            kind: ToolKind::Custom,
        })
    };
    Request {
        tools: vec![Tool::Custom {
            name: "run".into(),
            description: Some("runs a line".into()),
            format: None,
        }],
        ..asked(vec![
            user(vec![Block::text("list")]),
            model(vec![custom("call_1", "ls -l")]),
            user(vec![result(
                "call_1",
                "run",
                vec![Block::text("a b")],
                false,
            )]),
        ])
    }
}

fn chosen(choice: ToolChoice, parallel: Option<bool>) -> Request {
    Request {
        tools: vec![tool("weather"), tool("time")],
        tool_choice: Some(choice),
        parallel_tools: parallel,
        ..hello()
    }
}

fn structured() -> Request {
    Request {
        output_format: Some(OutputFormat::JsonSchema {
            name: Some("answer".into()),
            description: None,
            schema: json(
                r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}"#,
            ),
            strict: Some(true),
        }),
        ..hello()
    }
}

fn late_instruction() -> Request {
    asked(vec![
        user(vec![Block::text("hello")]),
        model(vec![Block::text("hi")]),
        turn(Role::System, vec![Block::text("from now on in French")]),
        user(vec![Block::text("again")]),
    ])
}

fn named_speaker() -> Request {
    Request {
        user: Some("user-1".into()),
        ..hello()
    }
}

fn others_tool() -> Request {
    Request {
        tools: vec![Tool::Other {
            dialect: DialectName::Messages,
            json: json(r#"{"type":"web_search_20260318","name":"web_search","max_uses":3}"#),
        }],
        ..hello()
    }
}

fn unknown_block() -> Request {
    let block = BlockKind::Other {
        dialect: DialectName::Messages,
        json: json(r#"{"type":"hologram","x":1}"#),
    };
    asked(vec![user(vec![
        Block::text("what is this?"),
        Block::plain(block),
    ])])
}

/// Every conversation by its name.
pub fn all() -> Vec<(&'static str, Request)> {
    let png = || base64("image/png", "iVBORw0KGgo=");
    let said = |block: Block| asked(vec![user(vec![Block::text("what is this?"), block])]);
    vec![
        ("several turns", several_turns()),
        ("tool loop", tool_loop()),
        ("picture as a result", pictured_result()),
        ("signed thinking", signed()),
        ("picture", said(image(png(), None))),
        ("picture in detail", said(image(png(), Some("high")))),
        (
            "picture at an address",
            said(image(at("https://a.example/a.png", None), None)),
        ),
        (
            "PDF",
            said(document(
                base64("application/pdf", "JVBERi0="),
                Some("a.pdf"),
            )),
        ),
        (
            "PDF at an address",
            said(document(
                at("https://a.example/a.pdf", Some("application/pdf")),
                None,
            )),
        ),
        (
            "text as a document",
            said(document(
                Source::Text {
                    media_type: "text/plain".into(),
                    text: "long".into(),
                },
                Some("a.txt"),
            )),
        ),
        (
            "audio",
            said(Block::plain(BlockKind::Audio {
                source: base64("audio/wav", "UklGRg=="),
                format: Some("wav".into()),
            })),
        ),
        (
            "video",
            said(Block::plain(BlockKind::Video {
                source: base64("video/mp4", "AAAAIGZ0eXA="),
            })),
        ),
        (
            "video at an address",
            said(Block::plain(BlockKind::Video {
                source: at("https://a.example/a.mp4", Some("video/mp4")),
            })),
        ),
        ("structured output", structured()),
        (
            "any JSON object",
            Request {
                output_format: Some(OutputFormat::JsonObject),
                ..hello()
            },
        ),
        (
            "stop sequences",
            sampled(Sampling {
                stop: vec!["END".into(), "\n\n".into()],
                temperature: Some(0.5),
                ..Sampling::default()
            }),
        ),
        (
            "warmth",
            sampled(Sampling {
                temperature: Some(0.5),
                ..Sampling::default()
            }),
        ),
        (
            "nucleus",
            sampled(Sampling {
                top_p: Some(0.5),
                ..Sampling::default()
            }),
        ),
        (
            "top k",
            sampled(Sampling {
                top_k: Some(7),
                ..Sampling::default()
            }),
        ),
        (
            "seed",
            sampled(Sampling {
                seed: Some(7),
                ..Sampling::default()
            }),
        ),
        (
            "penalties",
            sampled(Sampling {
                presence_penalty: Some(0.5),
                frequency_penalty: Some(0.25),
                ..Sampling::default()
            }),
        ),
        (
            "log probabilities",
            sampled(Sampling {
                logprobs: Some(true),
                top_logprobs: Some(3),
                ..Sampling::default()
            }),
        ),
        (
            "two answers",
            sampled(Sampling {
                choices: Some(2),
                ..Sampling::default()
            }),
        ),
        (
            "bias",
            sampled(Sampling {
                logit_bias: Some(json(r#"{"50256":-100}"#)),
                ..Sampling::default()
            }),
        ),
        (
            "verbosity",
            sampled(Sampling {
                verbosity: Some("low".into()),
                ..Sampling::default()
            }),
        ),
        ("refused before", refused_before()),
        ("cited before", cited_before()),
        ("effort", thinks(None, Some(Effort::High))),
        ("least effort", thinks(None, Some(Effort::Minimal))),
        ("greatest effort", thinks(None, Some(Effort::Max))),
        (
            "budget",
            thinks(Some(ReasoningMode::Budget(Tokens(2_048))), None),
        ),
        ("no thinking", thinks(Some(ReasoningMode::Off), None)),
        ("cache marks", marked()),
        ("free text tool", free_text()),
        ("some tool", chosen(ToolChoice::Required, None)),
        ("no tool", chosen(ToolChoice::None, None)),
        ("one tool at a time", chosen(ToolChoice::Auto, Some(false))),
        (
            "this tool",
            chosen(
                ToolChoice::Named {
                    name: "time".into(),
                    custom: false,
                },
                None,
            ),
        ),
        (
            "one of these tools",
            chosen(
                ToolChoice::Allowed {
                    names: vec!["time".into()],
                    required: true,
                },
                None,
            ),
        ),
        ("late instruction", late_instruction()),
        ("named user", named_speaker()),
        ("tool of one provider", others_tool()),
        ("unknown block", unknown_block()),
        (
            "file by its id",
            said(document(
                Source::File {
                    id: "file-1".into(),
                },
                None,
            )),
        ),
        ("greeting", hello()),
        (
            "streamed",
            Request {
                stream: true,
                ..hello()
            },
        ),
    ]
}
