//! Gemini's stream as one JSON array, for clients that do not say `alt=sse`: valid JSON whatever happens.

use super::*;
use serde_json::Value;

const PATH: &str = "/v1beta/models/m0:streamGenerateContent";
const BODY: &str = r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#;

/// The beginning, the rest, and an error event of each kind's own dialect.
const KINDS: [(&str, &str, &str, &str); 2] = [
    (
        "gemini",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}],\"role\":\"model\"},\"index\":0}]}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\" you\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2,\"totalTokenCount\":5}}\r\n\r\n",
        "data: {\"error\":{\"code\":503,\"message\":\"gone\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n",
    ),
    (
        "anthropic",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m0\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" you\"}}\n\nevent: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":2}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"gone\"}}\n\n",
    ),
];

/// Status, content type and elements of what `client` was told.
fn elements(rig: &mut Rig, client: ClientId) -> (u16, String, Vec<Value>) {
    let (status, headers, text) = rig.told(client);
    let kind = header(&headers, "content-type").expect("a kind").to_owned();
    let elements = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    (status, kind, elements)
}

fn text_of(elements: &[Value]) -> String {
    let part = |e: &Value| e["candidates"][0]["content"]["parts"][0]["text"].clone();
    let parts = elements.iter().map(part);
    parts
        .filter_map(|p| p.as_str().map(str::to_owned))
        .collect()
}

#[test]
fn an_array_is_whole_json_under_its_own_content_type() {
    for (kind, first, rest, _) in KINDS {
        let mut rig = Rig::new(&one_provider(kind, POOL));
        let client = rig.ask_with(PATH, BODY, &[]);
        let call = rig.call();
        rig.stream(call);
        rig.say(call, &format!("{first}{rest}"));
        rig.end(call);
        let (status, of, said) = elements(&mut rig, client);
        assert_eq!((status, &*of), (200, "application/json; charset=UTF-8"));
        assert_eq!(text_of(&said), "hi you", "{kind}: {said:?}");
        let last = said.last().expect("a last element");
        assert_eq!(last["candidates"][0]["finishReason"], "STOP", "{kind}");
        rig.rests();
    }
}

/// Before the first element, between two, and never after the last bracket.
#[test]
fn a_quiet_array_is_kept_alive_by_white_space() {
    for (kind, first, rest, _) in KINDS {
        let mut rig = Rig::new(&one_provider(kind, POOL));
        let client = rig.ask_with(PATH, BODY, &[]);
        let call = rig.call();
        rig.secs(4);
        rig.stream(call);
        rig.say(call, first);
        rig.later(Duration::from_millis(3_500));
        let alive = |o: &&Output| match o {
            Output::Respond { body, .. } => &body[..] == b"\n",
            Output::Write { bytes, .. } => &bytes[..] == b"\n",
            _ => false,
        };
        assert_eq!(rig.out.iter().filter(alive).count(), 2, "{:?}", rig.out);
        rig.say(call, rest);
        rig.secs(1);
        rig.end(call);
        let (_, of, said) = elements(&mut rig, client);
        assert_eq!(of, "application/json; charset=UTF-8");
        assert_eq!(text_of(&said), "hi you", "{kind}");
        rig.rests();
    }
}

#[test]
fn an_array_that_fails_ends_with_googles_own_error() {
    for (kind, first, _, error) in KINDS {
        for kept_alive in [false, true] {
            let mut rig = Rig::new(&one_provider(kind, POOL));
            let client = rig.ask_with(PATH, BODY, &[]);
            let call = rig.call();
            if kept_alive {
                rig.secs(4);
            }
            rig.stream(call);
            rig.say(call, first);
            rig.say(call, error);
            let (status, _, said) = elements(&mut rig, client);
            assert_eq!(status, 200);
            assert_eq!(text_of(&said), "hi", "{kind}");
            let last = &said.last().expect("a last element")["error"];
            assert_eq!(last["status"], "UNAVAILABLE", "{kind}: {last}");
            assert!(last["code"].is_u64() && last["message"].is_string());
            rig.rests();
        }
    }
}

/// The head is out with the first white space: what follows is told within the array.
#[test]
fn a_refusal_is_an_element_whether_the_head_is_out_or_not() {
    let refusals = [
        r#"{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}"#,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"no"}}"#,
    ];
    for ((kind, ..), refusal) in KINDS.into_iter().zip(refusals) {
        for (wait, status) in [(0, 400), (4, 200)] {
            let mut rig = Rig::new(&one_provider(kind, POOL));
            let client = rig.ask_with(PATH, BODY, &[]);
            let call = rig.call();
            rig.secs(wait);
            rig.refuse(call, 400, &[], refusal);
            let (told, _, said) = elements(&mut rig, client);
            assert_eq!((told, said.len()), (status, 1), "{kind}: {said:?}");
            assert_eq!(said[0]["error"]["status"], "INVALID_ARGUMENT", "{kind}");
            rig.rests();
        }
    }
}

#[test]
fn a_refusal_of_our_own_is_an_element_too() {
    let mut rig = Rig::new(&one_provider("gemini", POOL));
    for (key, status) in [("Bearer wrong", 401), ("Bearer sk-a", 404)] {
        let path = "/v1beta/models/nope:streamGenerateContent";
        let client = rig.ask_with(path, BODY, &[("authorization", key)]);
        let (told, of, said) = elements(&mut rig, client);
        assert_eq!((told, said.len()), (status, 1));
        assert_eq!(of, "application/json");
        assert_eq!(said[0]["error"]["code"], status);
    }
    rig.rests();
}
