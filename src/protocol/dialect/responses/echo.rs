//! What a response object repeats of its request.
//!
//! OpenAI writes the request's values into every response object, so clients read there what was in force (OpenAI API reference, Response
//! object, read 2026-11). Where a provider of another dialect answers, the object is ours, and so is this. Values are the client's own
//! JSON; what was not said has the API's default where that is a word, and null where it is a number of the model's that nobody here knows.
//! Does not say what was left out on the way: `x-stokehold-dropped` does.

use crate::base::Str;
use crate::protocol::dialect::chat::request::node::Node;
use crate::protocol::json;
use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Members of a response object, with a leading comma. Cost: one walk over the body's top level and a copy of what is repeated.
#[derive(Clone, Debug)]
pub struct Echo {
    members: Bytes,
    /// A service tier was asked for, so the object names the one that served it.
    pub(super) tier: bool,
}

/// What is repeated, in OpenAI's order, and what stands there where nothing was said.
const FIELDS: [(&str, &str); 19] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("prompt_cache_key", "null"),
    ("prompt_cache_options", ""),
    ("prompt_cache_retention", ""),
    ("reasoning", "{\"effort\":null,\"summary\":null}"),
    ("safety_identifier", "null"),
    ("temperature", "null"),
    ("text", "{\"format\":{\"type\":\"text\"}}"),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "null"),
    ("truncation", "\"disabled\""),
    ("user", "null"),
];

impl Default for Echo {
    /// Of a request that says nothing.
    fn default() -> Self {
        Self::from(&BTreeMap::new())
    }
}

impl Echo {
    /// Of a request's body. One that is no JSON object has been refused before, so it says nothing here.
    #[must_use]
    pub fn of(body: &Bytes) -> Self {
        Self::from(&said(body, None))
    }

    /// The same where the client said another `previous_response_id` than the body holds.
    #[must_use]
    pub fn going_on(body: &Bytes, previous: Option<&str>) -> Self {
        let mut said = said(body, Some("previous_response_id"));
        if let Some(previous) = previous {
            let mut text = BytesMut::new();
            json::string(previous, &mut text);
            said.insert(
                "previous_response_id".to_owned(),
                String::from_utf8_lossy(&text).into_owned(),
            );
        }
        Self::from(&said)
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.members);
    }

    fn from(said: &BTreeMap<String, String>) -> Self {
        let mut out = BytesMut::new();
        for (name, default) in FIELDS {
            let value = said.get(name).map_or(default, |value| value);
            if !value.is_empty() {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                out.extend_from_slice(value.as_bytes());
            }
        }
        Self {
            members: out.freeze(),
            tier: said.contains_key("service_tier"),
        }
    }
}

/// The members that are repeated, as JSON; of two of one name the later, as the request is read.
fn said(body: &Bytes, but: Option<&str>) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    let Ok(text) = Str::try_from(body.clone()) else {
        return said;
    };
    let Ok(raw) = serde_json::from_str::<&RawValue>(&text) else {
        return said;
    };
    let root = Node::root(&text, raw);
    let Ok(members) = root.members() else {
        return said;
    };
    for (name, raw) in &members.0 {
        let repeated = FIELDS.iter().any(|(n, _)| *n == &*name.0) || &*name.0 == "service_tier";
        if !repeated || but == Some(&*name.0) {
            continue;
        }
        match raw.get() {
            "null" => drop(said.remove(&*name.0)),
            value => drop(said.insert(name.0.to_string(), completed(&name.0, value))),
        }
    }
    said
}

/// A value with the members that the API writes though they were not said.
fn completed(name: &str, value: &str) -> String {
    match name {
        "reasoning" => with(value, &[("effort", "null"), ("summary", "null")]),
        "text" => with(value, &[("format", "{\"type\":\"text\"}")]),
        "tools" => {
            let tools: Vec<&RawValue> = serde_json::from_str(value).unwrap_or_default();
            let tools: Vec<String> = tools.iter().map(|tool| whole_tool(tool.get())).collect();
            format!("[{}]", tools.join(","))
        }
        _ => value.to_owned(),
    }
}

/// A function has these two, null or not (SDK 3.54.0, `FunctionTool`). Whether it was strict is the provider's to say, so it is not claimed.
fn whole_tool(tool: &str) -> String {
    let kind = serde_json::from_str::<BTreeMap<String, &RawValue>>(tool)
        .ok()
        .and_then(|tool| Some(tool.get("type")?.get() == "\"function\""));
    match kind {
        Some(true) => with(tool, &[("parameters", "null"), ("strict", "null")]),
        _ => tool.to_owned(),
    }
}

/// An object with what it lacks of `defaults`.
fn with(object: &str, defaults: &[(&str, &str)]) -> String {
    let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(object) else {
        return object.to_owned();
    };
    let Some(inner) = object.trim_ascii().strip_suffix('}') else {
        return object.to_owned();
    };
    let mut whole = inner.trim_ascii_end().to_owned();
    for (name, value) in defaults.iter().filter(|(n, _)| !members.contains_key(*n)) {
        if !whole.ends_with('{') {
            whole.push(',');
        }
        whole.push_str(&format!("\"{name}\":{value}"));
    }
    whole.push('}');
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(echo: &Echo) -> Value {
        let mut out = BytesMut::from("{\"object\":\"response\"");
        echo.write(&mut out);
        out.extend_from_slice(b"}");
        serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {out:?}"))
    }

    #[test]
    fn a_response_repeats_what_its_request_said() {
        let body = json!({"model": "m", "input": "x", "instructions": "be\nbrief", "max_output_tokens": 9, "max_tool_calls": 2,
            "metadata": {"a": "b"}, "parallel_tool_calls": false, "previous_response_id": "resp_1", "prompt_cache_key": "k",
            "prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "implicit"}, "reasoning": {"effort": "low"},
            "safety_identifier": "s", "temperature": 0.5, "text": {"verbosity": "low"}, "tool_choice": "required",
            "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}], "top_logprobs": 3, "top_p": 0.25,
            "truncation": "auto", "user": "u", "service_tier": "flex", "stream": true});
        let echo = Echo::of(&body.to_string().into());
        let mut want = body;
        let object = want.as_object_mut().expect("an object");
        for name in ["model", "input", "stream", "service_tier"] {
            object.remove(name);
        }
        want["object"] = json!("response");
        want["reasoning"]["summary"] = Value::Null;
        want["text"]["format"] = json!({"type": "text"});
        want["tools"][0] =
            json!({"type": "function", "name": "f", "parameters": null, "strict": null});
        assert_eq!(told(&echo), want);
        assert!(echo.tier);
    }

    #[test]
    fn what_was_not_said_has_the_defaults_and_never_breaks_the_object() {
        let plain = told(&Echo::default());
        assert_eq!(plain["tools"], json!([]));
        assert_eq!(plain["tool_choice"], "auto");
        assert!(plain.get("prompt_cache_retention").is_none());
        for body in ["", "[]", "{", "{\"tools\":null,\"text\":null}", "\u{fe}"] {
            assert_eq!(told(&Echo::of(&Bytes::from(body))), plain, "{body}");
        }
        let wrong = Echo::of(&Bytes::from_static(
            br#"{"tools": 7, "reasoning": {}, "text": [ ], "user": "a", "user": "b"}"#,
        ));
        assert_eq!(told(&wrong)["user"], "b");
        assert_eq!(
            told(&wrong)["reasoning"],
            json!({"effort": null, "summary": null})
        );
    }

    /// On a WebSocket the body holds what the provider is asked, which may go on with less than the client said.
    #[test]
    fn what_an_answer_goes_on_with_is_what_the_client_said() {
        let body = Bytes::from_static(br#"{"previous_response_id":"resp_upstream"}"#);
        let of = |previous| told(&Echo::going_on(&body, previous))["previous_response_id"].clone();
        assert_eq!(of(Some("resp_stk_1")), "resp_stk_1");
        assert_eq!(of(None), Value::Null);
    }
}
