//! The rows: what is asked, what is answered, and what may be done beside.

use crate::canon::DialectName;

/// Something that a request may say: a conversation of `ask`, and the words by which its line is known, alternatives with `|` between.
pub struct Feature {
    pub title: &'static str,
    pub said: &'static str,
    pub mark: &'static str,
}

const fn row(title: &'static str, said: &'static str, mark: &'static str) -> Feature {
    Feature { title, said, mark }
}

pub const REQUESTS: &[Feature] = &[
    row(
        "conversation of several turns",
        "several turns",
        "assistant text yes",
    ),
    row("streaming", "streamed", "user text hello"),
    row("system", "several turns", "system text be brief"),
    row(
        "instruction in the middle",
        "late instruction",
        "system text from now on",
    ),
    row("tools", "tool loop", "tool weather"),
    row("calls at the same time", "tool loop", "call call_2 time"),
    row("failed tool", "tool loop", "result call_2 error"),
    row("tool choice: any", "some tool", "tool_choice Required"),
    row("tool choice: this one", "this tool", "tool_choice Named"),
    row(
        "tool choice: one of these",
        "one of these tools",
        "tool_choice Allowed",
    ),
    row("tool choice: none", "no tool", "tool_choice None"),
    row("one call at a time", "one tool at a time", "parallel false"),
    row("tool of free text", "free text tool", "custom tool run"),
    row("picture", "picture", "image image/png"),
    row(
        "picture at an address",
        "picture at an address",
        "image at ",
    ),
    row("how closely to look", "picture in detail", "detail high"),
    row(
        "picture as a tool's result",
        "picture as a result",
        "result call_1 image",
    ),
    row("PDF", "PDF", "document application/pdf"),
    row("PDF at an address", "PDF at an address", "document at "),
    row("text as a document", "text as a document", "document text"),
    row("file by its id", "file by its id", "document file"),
    row("audio", "audio", "audio audio/wav"),
    row("video", "video", "video video/mp4"),
    row("video at an address", "video at an address", "video at "),
    row("JSON by a schema", "structured output", "format JsonSchema"),
    row("any JSON object", "any JSON object", "format JsonObject"),
    row("stop sequences", "stop sequences", "stop END"),
    row("temperature", "warmth", "temperature 0.5"),
    row("top p", "nucleus", "top_p"),
    row("top k", "top k", "top_k"),
    row("seed", "seed", "seed 7"),
    row("penalties", "penalties", "presence"),
    row("logit bias", "bias", "bias"),
    row("log probabilities", "log probabilities", "logprobs"),
    row("several answers (n)", "two answers", "choices 2"),
    row("verbosity", "verbosity", "verbosity low"),
    row("effort of thinking", "effort", "effort High"),
    row("budget of thinking", "budget", "thinks Budget"),
    row("no thinking", "no thinking", "thinks Off|effort None"),
    row("cache marks", "cache marks", "marked"),
    row("citations sent back", "cited before", "cites"),
    row("refusal sent back", "refused before", "refuses"),
    row("id of the end user", "named user", "user user-1"),
];

/// Something that an answer may hold: an answer of `answers`, and the words by which its line is known.
pub const ANSWERS: &[Feature] = &[
    row("answer: text", "text", "text Hé"),
    row(
        "answer: calls at the same time",
        "parallel calls",
        "call call_2",
    ),
    row("answer: thinking", "thinking", "thinks it will rain"),
    row(
        "answer: thinking in secret",
        "thinking in secret",
        "thinks in secret",
    ),
    row(
        "answer: refusal",
        "refusal",
        "refuses|stops Refusal|stops ContentFilter",
    ),
    row("answer: citations", "citation", "cites"),
    row("answer: picture", "picture", "image"),
    row("answer: sound", "sound", "audio"),
    row("answer: which stop sequence", "cut by a sequence", "at END"),
    row("answer: cached tokens", "text", "usage cached 40"),
    row("answer: tokens of thinking", "text", "usage reasoning"),
];

/// Something else than an answer, at a path of its own.
pub struct Operation {
    pub title: &'static str,
    pub client: DialectName,
    pub method: &'static str,
    pub path: &'static str,
    pub body: &'static str,
}

const fn at(
    title: &'static str,
    client: DialectName,
    path: &'static str,
    body: &'static str,
) -> Operation {
    Operation {
        title,
        client,
        method: "POST",
        path,
        body,
    }
}

pub const OPERATIONS: &[Operation] = &[
    at(
        "count tokens",
        DialectName::Messages,
        "/v1/messages/count_tokens",
        r#"{"model":"m0","messages":[{"role":"user","content":"hello"}]}"#,
    ),
    at(
        "count tokens",
        DialectName::Responses,
        "/v1/responses/input_tokens",
        r#"{"model":"m0","input":"hello"}"#,
    ),
    at(
        "count tokens",
        DialectName::Gemini,
        "/v1beta/models/m0:countTokens",
        r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#,
    ),
    at(
        "embeddings",
        DialectName::Chat,
        "/v1/embeddings",
        r#"{"model":"vectors","input":["a","b"]}"#,
    ),
    at(
        "embedding of one text",
        DialectName::Gemini,
        "/v1beta/models/vectors:embedContent",
        r#"{"content":{"parts":[{"text":"a"}]}}"#,
    ),
    at(
        "embeddings of several texts",
        DialectName::Gemini,
        "/v1beta/models/vectors:batchEmbedContents",
        r#"{"requests":[{"model":"models/vectors","content":{"parts":[{"text":"a"}]}},{"model":"models/vectors","content":{"parts":[{"text":"b"}]}}]}"#,
    ),
    at(
        "earlier answer by its id",
        DialectName::Responses,
        "/v1/responses",
        r#"{"model":"m0","input":"and?","previous_response_id":"resp_1"}"#,
    ),
    at(
        "answer in the background",
        DialectName::Responses,
        "/v1/responses",
        r#"{"model":"m0","input":"hello","background":true,"store":true}"#,
    ),
    at(
        "tool of the provider",
        DialectName::Responses,
        "/v1/responses",
        r#"{"model":"m0","input":"hello","tools":[{"type":"web_search"}]}"#,
    ),
    at(
        "tool of the provider",
        DialectName::Messages,
        "/v1/messages",
        r#"{"model":"m0","max_tokens":9,"messages":[{"role":"user","content":"hello"}],"tools":[{"type":"web_search_20260318","name":"web_search"}]}"#,
    ),
    at(
        "tool of the provider",
        DialectName::Gemini,
        "/v1beta/models/m0:generateContent",
        r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}],"tools":[{"googleSearch":{}}]}"#,
    ),
    at(
        "video by a prompt",
        DialectName::Chat,
        "/v1/videos",
        r#"{"model":"film","prompt":"a cat"}"#,
    ),
    at(
        "video by a prompt",
        DialectName::Gemini,
        "/v1beta/models/film:predictLongRunning",
        r#"{"instances":[{"prompt":"a cat"}]}"#,
    ),
];
