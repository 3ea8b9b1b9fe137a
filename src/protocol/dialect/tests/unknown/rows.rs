//! Ordinary answers of each dialect, and what nobody knows put into them.

use crate::canon::DialectName;
use DialectName::{Chat, Completions, Converse, Gemini, Messages, Native, Responses};

/// Where rows put an event of their own; a comment of SSE otherwise.
pub const HERE: &str = ": here\n\n";

/// `before after`, four tokens of it, and its end.
pub fn stream(dialect: DialectName) -> String {
    let events: &[(&str, &str)] = match dialect {
        Completions => &[
            (
                "",
                r#"{"id":"a","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"before ","finish_reason":null}]}"#,
            ),
            (HERE, ""),
            (
                "",
                r#"{"id":"a","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"after","finish_reason":"stop"}]}"#,
            ),
            (
                "",
                r#"{"id":"a","object":"text_completion","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14}}"#,
            ),
            ("", "[DONE]"),
        ],
        Chat => &[
            (
                "",
                r#"{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"before "},"finish_reason":null}]}"#,
            ),
            (HERE, ""),
            (
                "",
                r#"{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"after"},"finish_reason":null}]}"#,
            ),
            (
                "",
                r#"{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            ),
            (
                "",
                r#"{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14}}"#,
            ),
            ("", "[DONE]"),
        ],
        Messages => &[
            (
                "message_start",
                r#"{"type":"message_start","message":{"id":"a","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":1}}}"#,
            ),
            (
                "content_block_start",
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            ),
            (
                "content_block_delta",
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"before "}}"#,
            ),
            (HERE, ""),
            (
                "content_block_delta",
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"after"}}"#,
            ),
            (
                "content_block_stop",
                r#"{"type":"content_block_stop","index":0}"#,
            ),
            (
                "message_delta",
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":4}}"#,
            ),
            ("message_stop", r#"{"type":"message_stop"}"#),
        ],
        Responses => &[
            (
                "response.created",
                r#"{"type":"response.created","sequence_number":0,"response":{"id":"a","object":"response","created_at":1,"model":"m","status":"in_progress","output":[]}}"#,
            ),
            (
                "response.output_item.added",
                r#"{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"msg_1","type":"message","role":"assistant","status":"in_progress","content":[]}}"#,
            ),
            (
                "response.content_part.added",
                r#"{"type":"response.content_part.added","sequence_number":2,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}"#,
            ),
            (
                "response.output_text.delta",
                r#"{"type":"response.output_text.delta","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"before "}"#,
            ),
            (HERE, ""),
            (
                "response.output_text.delta",
                r#"{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"after"}"#,
            ),
            (
                "response.output_text.done",
                r#"{"type":"response.output_text.done","sequence_number":5,"item_id":"msg_1","output_index":0,"content_index":0,"text":"before after"}"#,
            ),
            (
                "response.output_item.done",
                r#"{"type":"response.output_item.done","sequence_number":6,"output_index":0,"item":{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"before after","annotations":[]}]}}"#,
            ),
            (
                "response.completed",
                r#"{"type":"response.completed","sequence_number":7,"response":{"id":"a","object":"response","created_at":1,"model":"m","status":"completed","output":[{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"before after","annotations":[]}]}],"usage":{"input_tokens":10,"output_tokens":4,"total_tokens":14}}}"#,
            ),
        ],
        Gemini => &[
            (
                "",
                r#"{"responseId":"a","modelVersion":"m","candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"before "}]}}]}"#,
            ),
            (HERE, ""),
            (
                "",
                r#"{"responseId":"a","modelVersion":"m","candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"after"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":4,"totalTokenCount":14}}"#,
            ),
        ],
        Converse => &[
            ("messageStart", r#"{"role":"assistant"}"#),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":0,"delta":{"text":"before "}}"#,
            ),
            (HERE, ""),
            (
                "contentBlockDelta",
                r#"{"contentBlockIndex":0,"delta":{"text":"after"}}"#,
            ),
            ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
            ("messageStop", r#"{"stopReason":"end_turn"}"#),
            (
                "metadata",
                r#"{"usage":{"inputTokens":10,"outputTokens":4,"totalTokens":14},"metrics":{"latencyMs":1}}"#,
            ),
        ],
        Native => &[
            (
                "response.created",
                r#"{"type":"response.created","seq":1,"response_id":"a","model":"m","created":1}"#,
            ),
            (
                "block.start",
                r#"{"type":"block.start","seq":2,"index":0,"choice":0,"block":{"type":"text"}}"#,
            ),
            (
                "block.delta",
                r#"{"type":"block.delta","seq":3,"index":0,"delta":{"type":"text","text":"before "}}"#,
            ),
            (HERE, ""),
            (
                "block.delta",
                r#"{"type":"block.delta","seq":4,"index":0,"delta":{"type":"text","text":"after"}}"#,
            ),
            ("block.stop", r#"{"type":"block.stop","seq":5,"index":0}"#),
            (
                "usage",
                r#"{"type":"usage","seq":6,"usage":{"input_uncached_tokens":10,"output_tokens":4}}"#,
            ),
            (
                "stop",
                r#"{"type":"stop","seq":7,"choice":0,"reason":"end_turn"}"#,
            ),
            ("response.done", r#"{"type":"response.done","seq":8}"#),
        ],
    };
    let said = |(name, data): &(&str, &str)| match *name {
        HERE => HERE.to_owned(),
        "" => format!("data: {data}\n\n"),
        name => format!("event: {name}\ndata: {data}\n\n"),
    };
    events.iter().map(said).collect()
}

/// The same answer in one body.
pub fn body(dialect: DialectName) -> String {
    match dialect {
        Completions => r#"{"id":"a","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"before after","finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14}}"#,
        Chat => r#"{"id":"a","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"before after"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14}}"#,
        Messages => r#"{"id":"a","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"before after"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":4}}"#,
        Responses => r#"{"id":"a","object":"response","created_at":1,"model":"m","status":"completed","output":[{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"before after","annotations":[]}]}],"usage":{"input_tokens":10,"output_tokens":4,"total_tokens":14}}"#,
        Gemini => r#"{"responseId":"a","modelVersion":"m","candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"before after"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":4,"totalTokenCount":14}}"#,
        Converse => r#"{"output":{"message":{"role":"assistant","content":[{"text":"before after"}]}},"stopReason":"end_turn","usage":{"inputTokens":10,"outputTokens":4,"totalTokens":14},"metrics":{"latencyMs":1}}"#,
        Native => r#"{"status":"done","id":"a","model":"m","created":1,"blocks":[{"type":"text","text":"before after"}],"stops":[{"choice":0,"reason":"end_turn"}],"usage":{"input_uncached_tokens":10,"output_tokens":4}}"#,
    }
    .to_owned()
}

/// What is put in: in the stream where `.1` stands, in its place; the same of the body for `.2`. An empty pair: it has no such form.
pub type Row = (
    &'static str,
    DialectName,
    (&'static str, &'static str),
    (&'static str, &'static str),
);

pub const NEITHER: (&str, &str) = ("", "");

/// Things that add nothing to what canon says, or say it in a block or event of their own.
pub const ROWS: &[Row] = &[
    // Names of events. SSE itself has fields to come, too (WHATWG HTML, 9.2.6: ignore them).
    (
        "event",
        Chat,
        (
            HERE,
            "event: hologram\ndata: {\"object\":\"hologram\",\"x\":1}\n\n",
        ),
        NEITHER,
    ),
    (
        "event",
        Messages,
        (
            HERE,
            "event: hologram\ndata: {\"type\":\"hologram\",\"x\":1}\n\n",
        ),
        NEITHER,
    ),
    (
        "event without a name",
        Messages,
        (HERE, "data: {\"type\":\"hologram\",\"x\":1}\n\n"),
        NEITHER,
    ),
    (
        "event",
        Responses,
        (
            HERE,
            "event: response.hologram.delta\ndata: {\"type\":\"response.hologram.delta\",\"output_index\":9,\"delta\":{\"x\":1}}\n\n",
        ),
        NEITHER,
    ),
    (
        "event",
        Gemini,
        (HERE, "event: hologram\ndata: {\"hologram\":{\"x\":1}}\n\n"),
        NEITHER,
    ),
    (
        "event",
        Converse,
        (HERE, "event: hologramEvent\ndata: {\"x\":1}\n\n"),
        NEITHER,
    ),
    (
        "event",
        Native,
        (
            HERE,
            "event: hologram\ndata: {\"type\":\"hologram\",\"x\":1}\n\n",
        ),
        NEITHER,
    ),
    (
        "field of SSE",
        Chat,
        (HERE, "retry: 5\nhologram: 1\n\n: nothing\n\n"),
        NEITHER,
    ),
    (
        "field of SSE",
        Messages,
        (HERE, "retry: 5\nhologram: 1\n\n"),
        NEITHER,
    ),
    ("empty event", Gemini, (HERE, "data: {}\n\n"), NEITHER),
    // Fields at each level.
    (
        "field",
        Chat,
        (
            r#""content":"after""#,
            r#""hologram":{"usage":1,"error":2},"content":"after""#,
        ),
        (
            r#""role":"assistant","#,
            r#""role":"assistant","hologram":[1],"#,
        ),
    ),
    (
        "field at the top",
        Chat,
        (
            r#"{"id":"a","#,
            r#"{"hologram":null,"obfuscation":"xx","id":"a","#,
        ),
        (r#"{"id":"a","#, r#"{"hologram":{"a":1},"id":"a","#),
    ),
    (
        "field of a choice",
        Chat,
        (
            r#"{"index":0,"delta""#,
            r#"{"hologram":1,"index":0,"delta""#,
        ),
        (
            r#"{"index":0,"message""#,
            r#"{"hologram":1,"index":0,"message""#,
        ),
    ),
    (
        "field",
        Messages,
        (
            r#"{"type":"text_delta","#,
            r#"{"type":"text_delta","hologram":{"a":1},"#,
        ),
        (
            r#"{"type":"text","#,
            r#"{"type":"text","hologram":{"a":1},"#,
        ),
    ),
    (
        "field at the top",
        Messages,
        (
            r#""content":[],"#,
            r#""content":[],"hologram":7,"container":null,"#,
        ),
        (r#"{"id":"a","#, r#"{"hologram":7,"id":"a","#),
    ),
    (
        "field",
        Responses,
        (
            r#""delta":"after""#,
            r#""delta":"after","hologram":1,"obfuscation":"x""#,
        ),
        (
            r#""text":"before after","#,
            r#""text":"before after","hologram":{"a":1},"#,
        ),
    ),
    (
        "field at the top",
        Responses,
        (r#"{"id":"a","#, r#"{"hologram":{"a":1},"id":"a","#),
        (r#"{"id":"a","#, r#"{"hologram":{"a":1},"id":"a","#),
    ),
    (
        "field",
        Gemini,
        (r#"{"text":"after""#, r#"{"hologram":1,"text":"after""#),
        (r#"{"text":"before"#, r#"{"hologram":1,"text":"before"#),
    ),
    (
        "field at the top",
        Gemini,
        (r#"{"responseId":"#, r#"{"hologram":{"a":1},"responseId":"#),
        (r#"{"responseId":"#, r#"{"hologram":{"a":1},"responseId":"#),
    ),
    (
        "field of a candidate",
        Gemini,
        (r#"{"index":0,"#, r#"{"hologram":{"a":1},"index":0,"#),
        (r#"{"index":0,"#, r#"{"hologram":{"a":1},"index":0,"#),
    ),
    (
        "field",
        Converse,
        (r#"{"text":"after"}"#, r#"{"text":"after","p":"abcdef"}"#),
        (r#"{"text":"before"#, r#"{"hologram":1,"text":"before"#),
    ),
    (
        "field at the top",
        Converse,
        (r#"{"stopReason":"#, r#"{"hologram":{"a":1},"stopReason":"#),
        (r#"{"output":"#, r#"{"hologram":{"a":1},"output":"#),
    ),
    (
        "field",
        Native,
        (
            r#"{"type":"text","text":"after""#,
            r#"{"hologram":1,"type":"text","text":"after""#,
        ),
        (r#"{"type":"text","#, r#"{"type":"text","hologram":1,"#),
    ),
    // Blocks.
    (
        "block",
        Messages,
        (
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"hologram\",\"x\":[1]}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"hologram_delta\",\"y\":2}}\n\nevent: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
        ),
        (
            r#""content":[{"#,
            r#""content":[{"type":"hologram","x":[1]},{"#,
        ),
    ),
    (
        "block",
        Responses,
        (
            HERE,
            "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"id\":\"h_1\",\"type\":\"hologram\",\"x\":[1]}}\n\nevent: response.hologram.delta\ndata: {\"type\":\"response.hologram.delta\",\"item_id\":\"h_1\",\"output_index\":1,\"delta\":\"x\"}\n\nevent: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"id\":\"h_1\",\"type\":\"hologram\",\"x\":[1]}}\n\n",
        ),
        (
            r#""output":[{"#,
            r#""output":[{"id":"h_1","type":"hologram","x":[1]},{"#,
        ),
    ),
    (
        "part of a message",
        Responses,
        (
            r#"[{"type":"output_text","text":"before after","annotations":[]}]"#,
            r#"[{"type":"output_text","text":"before after","annotations":[]},{"type":"output_hologram","x":1}]"#,
        ),
        (
            r#""content":[{"#,
            r#""content":[{"type":"output_hologram","x":1},{"#,
        ),
    ),
    (
        "block",
        Gemini,
        (
            HERE,
            "data: {\"candidates\":[{\"index\":0,\"content\":{\"role\":\"model\",\"parts\":[{\"hologram\":{\"x\":1}}]}}]}\n\n",
        ),
        (r#""parts":[{"#, r#""parts":[{"hologram":{"x":1}},{"#),
    ),
    (
        "block",
        Converse,
        (
            "event: contentBlockStop\ndata: {\"contentBlockIndex\":0}\n\n",
            "event: contentBlockStop\ndata: {\"contentBlockIndex\":0}\n\nevent: contentBlockStart\ndata: {\"contentBlockIndex\":1,\"start\":{\"hologram\":{\"x\":1}}}\n\nevent: contentBlockDelta\ndata: {\"contentBlockIndex\":1,\"delta\":{\"hologram\":{\"y\":1}}}\n\nevent: contentBlockStop\ndata: {\"contentBlockIndex\":1}\n\n",
        ),
        (r#""content":[{"#, r#""content":[{"hologram":{"x":1}},{"#),
    ),
    (
        "block",
        Native,
        (
            "event: block.stop\ndata: {\"type\":\"block.stop\",\"seq\":5,\"index\":0}\n\n",
            "event: block.stop\ndata: {\"type\":\"block.stop\",\"seq\":5,\"index\":0}\n\nevent: block.start\ndata: {\"type\":\"block.start\",\"index\":1,\"choice\":0,\"block\":{\"type\":\"hologram\",\"x\":1}}\n\nevent: block.stop\ndata: {\"type\":\"block.stop\",\"index\":1}\n\n",
        ),
        (r#""blocks":[{"#, r#""blocks":[{"type":"hologram","x":1},{"#),
    ),
    // Deltas within a known block.
    (
        "delta",
        Chat,
        (
            HERE,
            "data: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"hologram\":\"x\"},\"finish_reason\":null}]}\n\n",
        ),
        NEITHER,
    ),
    (
        "delta",
        Messages,
        (
            HERE,
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"hologram_delta\",\"y\":2}}\n\n",
        ),
        NEITHER,
    ),
    (
        "delta",
        Converse,
        (
            HERE,
            "event: contentBlockDelta\ndata: {\"contentBlockIndex\":0,\"delta\":{\"hologram\":{\"y\":1}}}\n\n",
        ),
        NEITHER,
    ),
    (
        "delta",
        Native,
        (
            HERE,
            "event: block.delta\ndata: {\"type\":\"block.delta\",\"index\":0,\"delta\":{\"type\":\"hologram\",\"y\":2}}\n\n",
        ),
        NEITHER,
    ),
    // Calls of a kind that is new.
    (
        "kind of call",
        Chat,
        (
            HERE,
            "data: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"h\",\"type\":\"hologram\",\"hologram\":{\"x\":1}}]},\"finish_reason\":null}]}\n\n",
        ),
        (
            r#""role":"assistant","#,
            r#""role":"assistant","tool_calls":[{"id":"h","type":"hologram","hologram":{"x":1}}],"#,
        ),
    ),
    // Annotations.
    (
        "annotation",
        Responses,
        (
            HERE,
            "event: response.output_text.annotation.added\ndata: {\"type\":\"response.output_text.annotation.added\",\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"annotation_index\":0,\"annotation\":{\"type\":\"hologram_citation\",\"x\":1}}\n\n",
        ),
        (
            r#""annotations":[]"#,
            r#""annotations":[{"type":"hologram_citation","x":1}]"#,
        ),
    ),
    (
        "annotation",
        Chat,
        NEITHER,
        (
            r#""role":"assistant","#,
            r#""role":"assistant","annotations":[{"type":"hologram_citation","x":1}],"#,
        ),
    ),
    (
        "citation",
        Messages,
        (
            HERE,
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"citations_delta\",\"citation\":{\"type\":\"hologram_location\",\"x\":1}}}\n\n",
        ),
        (
            r#"{"type":"text","#,
            r#"{"type":"text","citations":[{"type":"hologram_location","x":1}],"#,
        ),
    ),
    // Models.
    (
        "model",
        Chat,
        (r#""model":"m""#, r#""model":"hologram-9-ultra""#),
        (r#""model":"m""#, r#""model":"hologram-9-ultra""#),
    ),
    (
        "model",
        Messages,
        (r#""model":"m""#, r#""model":"hologram-9-ultra""#),
        (r#""model":"m""#, r#""model":"hologram-9-ultra""#),
    ),
    (
        "model",
        Responses,
        (r#""model":"m""#, r#""model":"hologram-9-ultra""#),
        (r#""model":"m""#, r#""model":"hologram-9-ultra""#),
    ),
    (
        "model",
        Gemini,
        (
            r#""modelVersion":"m""#,
            r#""modelVersion":"hologram-9-ultra""#,
        ),
        (
            r#""modelVersion":"m""#,
            r#""modelVersion":"hologram-9-ultra""#,
        ),
    ),
    // Counters.
    (
        "counter",
        Chat,
        (
            r#""total_tokens":14"#,
            r#""total_tokens":14,"hologram_tokens":3,"prompt_tokens_details":{"hologram_tokens":1},"completion_tokens_details":{"hologram":{"a":1}}"#,
        ),
        (
            r#""total_tokens":14"#,
            r#""total_tokens":14,"hologram_tokens":3,"prompt_tokens_details":{"hologram_tokens":1}"#,
        ),
    ),
    (
        "counter",
        Messages,
        (
            r#""usage":{"output_tokens":4}"#,
            r#""usage":{"output_tokens":4,"hologram_tokens":3,"cache_creation":{"ephemeral_9d_input_tokens":0},"server_tool_use":{"hologram_requests":2}}"#,
        ),
        (
            r#""output_tokens":4"#,
            r#""output_tokens":4,"hologram_tokens":3,"server_tool_use":{"hologram_requests":2}"#,
        ),
    ),
    (
        "counter",
        Responses,
        (
            r#""total_tokens":14"#,
            r#""total_tokens":14,"hologram_tokens":3,"input_tokens_details":{"hologram_tokens":1}"#,
        ),
        (
            r#""total_tokens":14"#,
            r#""total_tokens":14,"hologram_tokens":3,"input_tokens_details":{"hologram_tokens":1}"#,
        ),
    ),
    (
        "counter",
        Gemini,
        (
            r#""totalTokenCount":14"#,
            r#""totalTokenCount":14,"hologramTokenCount":3,"promptTokensDetails":[{"modality":"HOLOGRAM","tokenCount":2}]"#,
        ),
        (
            r#""totalTokenCount":14"#,
            r#""totalTokenCount":14,"hologramTokenCount":3,"promptTokensDetails":[{"modality":"HOLOGRAM","tokenCount":2}]"#,
        ),
    ),
    (
        "counter",
        Converse,
        (
            r#""totalTokens":14"#,
            r#""totalTokens":14,"hologramTokens":3,"serverToolUsage":{"x":1}"#,
        ),
        (
            r#""totalTokens":14"#,
            r#""totalTokens":14,"hologramTokens":3,"serverToolUsage":{"x":1}"#,
        ),
    ),
    (
        "counter",
        Native,
        (
            r#""output_tokens":4"#,
            r#""output_tokens":4,"hologram_tokens":3"#,
        ),
        (
            r#""output_tokens":4"#,
            r#""output_tokens":4,"hologram_tokens":3"#,
        ),
    ),
    // Words in known places.
    (
        "role",
        Chat,
        (r#""role":"assistant""#, r#""role":"oracle""#),
        (r#""role":"assistant""#, r#""role":"oracle""#),
    ),
    (
        "role",
        Gemini,
        (r#""role":"model""#, r#""role":"oracle""#),
        (r#""role":"model""#, r#""role":"oracle""#),
    ),
    (
        "service tier",
        Chat,
        (r#"{"id":"a","#, r#"{"service_tier":"hologram","id":"a","#),
        (r#"{"id":"a","#, r#"{"service_tier":"hologram","id":"a","#),
    ),
    (
        "service tier",
        Responses,
        (r#"{"id":"a","#, r#"{"service_tier":"hologram","id":"a","#),
        (r#"{"id":"a","#, r#"{"service_tier":"hologram","id":"a","#),
    ),
    (
        "service tier",
        Gemini,
        (
            r#""totalTokenCount":14"#,
            r#""totalTokenCount":14,"trafficType":"HOLOGRAM""#,
        ),
        (
            r#""totalTokenCount":14"#,
            r#""totalTokenCount":14,"trafficType":"HOLOGRAM""#,
        ),
    ),
    (
        "status of an item",
        Responses,
        (
            r#""status":"completed","content""#,
            r#""status":"hologram","content""#,
        ),
        (
            r#""status":"completed","content""#,
            r#""status":"hologram","content""#,
        ),
    ),
    (
        "phase of a message",
        Responses,
        (
            r#""role":"assistant","status":"completed""#,
            r#""role":"assistant","phase":"hologram","status":"completed""#,
        ),
        (
            r#""role":"assistant","#,
            r#""role":"assistant","phase":"hologram","#,
        ),
    ),
];

/// Stop reasons to come.
pub const STOPS: &[(DialectName, &str, &str)] = &[
    (
        Chat,
        r#""finish_reason":"stop""#,
        r#""finish_reason":"satiated""#,
    ),
    (
        Messages,
        r#""stop_reason":"end_turn""#,
        r#""stop_reason":"satiated""#,
    ),
    (
        Gemini,
        r#""finishReason":"STOP""#,
        r#""finishReason":"SATIATED""#,
    ),
    (
        Converse,
        r#""stopReason":"end_turn""#,
        r#""stopReason":"satiated""#,
    ),
    (Native, r#""reason":"end_turn""#, r#""reason":"satiated""#),
];

/// A stream's own error with a type or status that nobody knows, in place of the rest.
pub const ERRORS: &[(DialectName, &str)] = &[
    (
        Chat,
        "data: {\"error\":{\"message\":\"all is lost\",\"type\":\"hologram_error\",\"code\":\"h1\",\"new\":1}}\n\n",
    ),
    (
        Messages,
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"hologram_error\",\"message\":\"all is lost\",\"new\":1}}\n\n",
    ),
    (
        Responses,
        "event: error\ndata: {\"type\":\"error\",\"code\":\"hologram\",\"message\":\"all is lost\",\"param\":null,\"new\":1}\n\n",
    ),
    (
        Responses,
        "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"a\",\"model\":\"m\",\"status\":\"failed\",\"output\":[],\"error\":{\"code\":\"hologram\",\"message\":\"all is lost\"}}}\n\n",
    ),
    (
        Gemini,
        "data: {\"error\":{\"code\":599,\"message\":\"all is lost\",\"status\":\"HOLOGRAM\",\"details\":[{\"@type\":\"x\"}]}}\n\n",
    ),
    (
        Converse,
        "event: hologramException\ndata: {\"message\":\"all is lost\"}\n\n",
    ),
    (
        Native,
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"class\":\"hologram\",\"message\":\"all is lost\"}}\n\n",
    ),
];
