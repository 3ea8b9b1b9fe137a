//! What the codec promises by itself; recordings show the rest.

use crate::base::Tokens;
use crate::canon::{
    Block, Delta, DialectName, Event, FaultClass, Fold, Request, Role, StopReason, Turn, Usage,
};
use crate::protocol::dialect::tests::folder::{of_sse, of_whole};
use crate::protocol::dialect::{
    Closing, Dropped, Encoder, Opening, Rules, Target, read_request, write_answer, write_request,
};
use DialectName::{Chat, Completions, Converse, Gemini, Messages, Responses};
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

fn read(body: &Value) -> Request {
    read_request(Completions, &Bytes::from(body.to_string())).expect("well-formed")
}

/// What is written for a provider of `to`, or the field at fault.
fn written(to: DialectName, request: &Request) -> Result<(Value, Dropped), Option<String>> {
    let rules = Rules::default();
    let target = Target {
        model: "m",
        stream: request.stream,
        max_output_default: 99,
        rules: &rules,
    };
    let (body, dropped) = write_request(to, request, &target).map_err(|fault| fault.field)?;
    Ok((serde_json::from_slice(&body).expect("JSON"), dropped))
}

#[test]
fn every_parameter_goes_on_to_a_provider_of_the_same_api() {
    let asked = json!({
        "model": "m", "prompt": "a \"b\"\n", "max_tokens": 5, "temperature": 0.5, "top_p": 0.25, "stop": ["x"], "seed": 7,
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "logit_bias": {"5": 1}, "n": 2, "logprobs": 3, "user": "u",
        "stream": true, "stream_options": {"include_usage": true, "x": 1}, "suffix": "end", "echo": true, "best_of": 3, "min_p": 0.5,
    });
    let request = read(&asked);
    assert!(request.stream && request.stream_usage);
    assert_eq!(written(Completions, &request), Ok((asked, vec![])));
}

/// LangChain sends all of them with every request.
#[test]
fn what_says_no_more_than_the_defaults_shuts_no_provider_out() {
    let asked = json!({
        "model": "m", "prompt": ["only"], "max_tokens": 50, "n": 1, "best_of": 1, "echo": false, "suffix": null, "logit_bias": {},
        "presence_penalty": 0, "frequency_penalty": 0.0, "logprobs": null, "seed": null, "stream": false, "temperature": 0.5,
    });
    let request = read(&asked);
    for to in [Chat, Messages, Responses, Gemini, Converse] {
        let (body, dropped) = written(to, &request).expect("it can be asked");
        assert_eq!(dropped, Vec::<String>::new(), "{to:?}");
        assert!(body.to_string().contains("only"), "{to:?}");
    }
}

#[test]
fn what_only_this_api_can_be_asked_is_refused_by_its_name_elsewhere() {
    for (field, value) in [
        ("prompt", json!(["a", "b"])),
        ("prompt", json!([15, 2])),
        ("prompt", json!([[15], [2]])),
        ("suffix", json!("end")),
        ("echo", json!(true)),
        ("best_of", json!(2)),
    ] {
        let mut asked = json!({"model": "m", "prompt": "p", "max_tokens": 20});
        asked[field] = value;
        let request = read(&asked);
        assert_eq!(
            written(Completions, &request),
            Ok((asked, vec![])),
            "{field}"
        );
        for to in [Chat, Messages, Responses, Gemini, Converse] {
            assert_eq!(
                written(to, &request),
                Err(Some(field.to_owned())),
                "{field} {to:?}"
            );
        }
    }
}

#[test]
fn a_wrong_request_is_refused_by_the_name_of_its_field() {
    for (asked, field) in [
        (json!({"prompt": "p"}), "model"),
        (json!({"model": "m"}), "prompt"),
        (json!({"model": "m", "prompt": 5}), "prompt"),
        (json!({"model": "m", "prompt": []}), "prompt"),
        (json!({"model": "m", "prompt": ["a", {}]}), "prompt"),
        (
            json!({"model": "m", "prompt": "p", "logprobs": true}),
            "logprobs",
        ),
        (json!({"model": "m", "prompt": "p", "stop": [1]}), "stop[0]"),
    ] {
        let fault = read_request(Completions, &Bytes::from(asked.to_string())).expect_err(field);
        assert_eq!(
            (fault.class, fault.field.as_deref()),
            (FaultClass::Invalid, Some(field))
        );
    }
}

/// A model of this API alone takes one user's words, and nothing that chat has beside.
#[test]
fn a_conversation_is_no_prompt() {
    let words = |role, text: &'static str| Turn {
        role,
        blocks: vec![Block::text(text)],
        name: None,
    };
    let mut request = Request {
        turns: vec![words(Role::User, "hi")],
        ..Request::default()
    };
    let (body, _) = written(Completions, &request).expect("one text");
    assert_eq!(body, json!({"model": "m", "prompt": "hi"}));
    request.sampling.logprobs = Some(true);
    assert_eq!(
        written(Completions, &request),
        Err(Some("logprobs".to_owned()))
    );
    request.sampling.logprobs = None;
    request.system.push(Block::text("be brief"));
    assert_eq!(
        written(Completions, &request),
        Err(Some("system".to_owned()))
    );
    request.system.clear();
    request.turns.push(words(Role::Assistant, "hello"));
    assert_eq!(
        written(Completions, &request),
        Err(Some("messages".to_owned()))
    );
}

fn opening(stream_usage: bool) -> Opening {
    Opening {
        id: "cmpl-1".into(),
        model: "m".into(),
        created: 9,
        stream_usage,
        ..Opening::default()
    }
}

/// In the dialect of the client, as a stream and whole.
fn told(events: &[Event]) -> (BytesMut, Bytes, Vec<String>) {
    let (mut encoder, mut out) = (Encoder::new(Completions, opening(true)), BytesMut::new());
    let mut fold = Fold::default();
    for event in events {
        encoder.event(event, &mut out);
        fold.event(event);
    }
    let closing = Closing::default();
    encoder.finish(&closing, &mut out);
    let whole = write_answer(Completions, fold.answer(), &opening(true), &closing);
    (out, whole, encoder.dropped().to_vec())
}

const STREAM: &str = "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":9,\"model\":\"m\",\"choices\":[{\"text\":\"a\\n\\\"é\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n\
    data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":9,\"model\":\"m\",\"choices\":[{\"text\":\"other\",\"index\":1,\"logprobs\":{\"tokens\":[\"other\"]},\"finish_reason\":\"length\"}],\"usage\":null}\n\n\
    data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":9,\"model\":\"m\",\"choices\":[{\"text\":\"b\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_reason\":\"\\n\"}],\"usage\":null}\n\n\
    data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":9,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":3,\"total_tokens\":7}}\n\n\
    data: [DONE]\n\n";

#[test]
fn a_stream_reads_the_same_however_it_is_cut_and_says_all_again() {
    let events = of_sse(Completions, STREAM.as_bytes(), usize::MAX).expect("whole");
    for piece in 1..STREAM.len() {
        let cut = of_sse(Completions, STREAM.as_bytes(), piece);
        assert_eq!(cut.as_ref(), Ok(&events), "in pieces of {piece}");
    }
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    let answer = fold.into_answer();
    let texts: Vec<(u32, &str)> = answer.blocks.iter().map(|b| (b.choice, &*b.text)).collect();
    assert_eq!(texts, [(0, "a\n\"éb"), (1, "other")]);
    assert_eq!(
        answer.stops,
        [
            (1, StopReason::MaxTokens, None),
            (0, StopReason::StopSequence, Some("\n".into()))
        ]
    );
    assert_eq!(
        (answer.usage.input_total(), answer.usage.output),
        (Tokens(4), Some(Tokens(3)))
    );
    let (stream, whole, dropped) = told(&events);
    assert!(dropped.is_empty());
    for again in [
        of_sse(Completions, &stream, usize::MAX),
        of_whole(Completions, &whole),
    ] {
        let mut fold = Fold::default();
        again
            .expect("what we write we read")
            .iter()
            .for_each(|e| fold.event(e));
        let got = fold.into_answer();
        let texts = |answer: &crate::canon::Answer| {
            let mut texts: Vec<(u32, String)> = answer
                .blocks
                .iter()
                .map(|b| (b.choice, b.text.clone()))
                .collect();
            texts.sort();
            texts
        };
        assert_eq!(texts(&got), texts(&answer));
        assert_eq!(got.others, answer.others);
        assert_eq!(got.usage.output, answer.usage.output);
    }
}

#[test]
fn an_answer_that_was_cut_is_not_whole() {
    let cut = &STREAM[..STREAM.find("data: [DONE]").expect("there")];
    assert!(of_sse(Completions, cut.as_bytes(), 64).is_ok());
    let first = &STREAM[..STREAM.find("\n\n").expect("there") + 2];
    assert!(of_sse(Completions, first.as_bytes(), 64).is_err());
    let done = format!("{first}data: [DONE]\n\n");
    assert!(of_sse(Completions, done.as_bytes(), 64).is_err());
}

#[test]
fn a_failure_within_a_stream_is_told() {
    let failed =
        "data: {\"error\":{\"message\":\"no room\",\"type\":\"server_error\",\"code\":503}}\n\n";
    let events = of_sse(Completions, failed.as_bytes(), 9).expect("a failure is told");
    assert!(
        matches!(&events[..], [Event::Error(fault)] if fault.message == "no room"),
        "{events:?}"
    );
}

/// A wrong base URL or path must show, and not be read as an answer without a word.
#[test]
fn the_answer_of_another_api_is_refused_by_each() {
    let text = r#"{"id":"c","object":"text_completion","created":9,"model":"m","choices":[{"text":"a","index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let chat = r#"{"id":"c","object":"chat.completion","created":9,"model":"m","choices":[{"message":{"role":"assistant","content":"a"},"index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    for (dialect, own, other) in [(Chat, chat, text), (Completions, text, chat)] {
        assert!(of_whole(dialect, own.as_bytes()).is_ok(), "{dialect:?}");
        assert!(of_whole(dialect, other.as_bytes()).is_err(), "{dialect:?}");
        let lifted = |body: &'static str| {
            use crate::protocol::dialect::splice::lift_whole;
            lift_whole(
                dialect,
                &Bytes::from_static(body.as_bytes()),
                &mut Vec::new(),
            )
        };
        assert!(lifted(own).is_ok());
        assert!(lifted(other).is_err(), "{dialect:?}");
    }
    let words = r#"{"id":"x","object":"response","status":"completed","output":"words"}"#;
    assert!(of_whole(Responses, words.as_bytes()).is_err());
    for body in [text, chat] {
        let events = of_whole(Responses, body.as_bytes()).expect("a failure");
        assert!(matches!(events.last(), Some(Event::Error(_))), "{body}");
    }
}

#[test]
fn chats_logprobs_come_as_this_apis_lists_and_what_has_no_words_is_named() {
    let json = r#"{"content":[{"token":"é","logprob":-0.5,"top_logprobs":[{"token":"e","logprob":-1.5}]},{"token":"b","logprob":-2,"top_logprobs":[]}]}"#;
    let chat = format!(
        r#"{{"id":"c","choices":[{{"index":0,"message":{{"content":"éb","reasoning_content":"hm"}},"logprobs":{json},"finish_reason":"stop"}}]}}"#
    );
    let events = of_whole(Chat, chat.as_bytes()).expect("an answer");
    let (stream, whole, dropped) = told(&events);
    assert_eq!(dropped, ["thinking"]);
    let whole: Value = serde_json::from_slice(&whole).expect("JSON");
    let lists = json!({
        "tokens": ["é", "b"], "token_logprobs": [-0.5, -2], "top_logprobs": [{"e": -1.5}, {}], "text_offset": [0, 1],
    });
    assert_eq!(whole["choices"][0]["logprobs"], lists);
    assert_eq!(whole["choices"][0]["text"], "éb");
    assert!(String::from_utf8_lossy(&stream).contains(&format!("\"logprobs\":{lists}")));
}

#[test]
fn usage_ends_a_stream_only_where_it_was_asked_for() {
    let events = [
        Event::BlockStart {
            index: 0,
            choice: 0,
            block: crate::canon::BlockStart::Text,
        },
        Event::BlockDelta {
            index: 0,
            delta: Delta::Text("x".into()),
        },
        Event::Usage(Box::new(Usage {
            output: Some(Tokens(1)),
            ..Usage::default()
        })),
    ];
    for asked in [true, false] {
        let (mut encoder, mut out) = (Encoder::new(Completions, opening(asked)), BytesMut::new());
        events.iter().for_each(|e| encoder.event(e, &mut out));
        encoder.finish(&Closing::default(), &mut out);
        let text = String::from_utf8_lossy(&out);
        assert_eq!(text.contains("usage"), asked, "{text}");
        assert!(text.ends_with("data: [DONE]\n\n"));
    }
}
