//! Answers: from a provider of each dialect to a client of each, streamed and whole; and what a client sends back of them.

use super::ask::json;
use super::lines::{of_answer, of_request};
use super::{CLIENTS, Fate, Fates, PROVIDERS};
use crate::base::Tokens;
use crate::canon::{BlockStart, Citation, Delta, DialectName, Event, StopReason, ToolKind, Usage};
use crate::protocol::dialect::tests::tell::{
    folded, given_back, of_sse, of_whole, streamed, whole,
};
use crate::protocol::dialect::{Rules, Target, read_request, write_request};
use bytes::Bytes;
use serde_json::{Value, json as value};

/// Builds an answer block by block.
struct Said {
    events: Vec<Event>,
    blocks: u32,
}

impl Said {
    fn new() -> Self {
        let started = Event::Started {
            id: "answer_1".into(),
            model: "m".into(),
            created: Some(1_790_000_000),
        };
        Self {
            events: vec![started],
            blocks: 0,
        }
    }

    fn block_of(mut self, choice: u32, block: BlockStart, deltas: Vec<Delta>) -> Self {
        let index = self.blocks;
        self.blocks += 1;
        self.events.push(Event::BlockStart {
            index,
            choice,
            block,
        });
        let deltas = deltas.into_iter();
        self.events
            .extend(deltas.map(|delta| Event::BlockDelta { index, delta }));
        self.events.push(Event::BlockStop { index });
        self
    }

    fn block(self, block: BlockStart, deltas: Vec<Delta>) -> Self {
        self.block_of(0, block, deltas)
    }

    fn text(self, pieces: &[&'static str]) -> Self {
        let deltas = pieces.iter().map(|p| Delta::Text((*p).into())).collect();
        self.block(BlockStart::Text, deltas)
    }

    fn thought(self) -> Self {
        let deltas = vec![
            Delta::Thinking("it will ".into()),
            Delta::Thinking("rain".into()),
            Delta::Signature("c2lnbmF0dXJl".into()),
        ];
        self.block(BlockStart::Thinking, deltas)
    }

    fn call(self, id: &'static str, name: &'static str, pieces: &[&'static str]) -> Self {
        let start = BlockStart::ToolCall {
            id: id.into(),
            name: name.into(),
            kind: ToolKind::Function,
        };
        let deltas = pieces
            .iter()
            .map(|p| Delta::ToolInput((*p).into()))
            .collect();
        self.block(start, deltas)
    }

    fn ends(self, reason: StopReason) -> Vec<Event> {
        self.ends_each(&[reason], None)
    }

    fn ends_each(mut self, reasons: &[StopReason], sequence: Option<&'static str>) -> Vec<Event> {
        for (choice, reason) in (0..).zip(reasons) {
            self.events.push(Event::Stop {
                choice,
                reason: reason.clone(),
                sequence: sequence.map(Into::into),
            });
        }
        self.events.push(Event::Usage(Box::new(Usage {
            input_uncached: Some(Tokens(100)),
            cache_read: Some(Tokens(40)),
            cache_write_5m: Some(Tokens(0)),
            output: Some(Tokens(30)),
            reasoning: Some(Tokens(10)),
            ..Usage::default()
        })));
        self.events.push(Event::Done);
        self.events
    }
}

fn cited() -> Vec<Event> {
    let citation = Citation {
        dialect: DialectName::Messages,
        json: json(
            r#"{"type":"web_search_result_location","url":"https://a.example","title":"A","cited_text":"t","encrypted_index":"e"}"#,
        ),
        url: Some("https://a.example".into()),
        title: Some("A".into()),
        cited_text: Some("t".into()),
    };
    let deltas = vec![Delta::Text("A says so".into()), Delta::Citation(citation)];
    Said::new()
        .block(BlockStart::Text, deltas)
        .ends(StopReason::EndTurn)
}

fn pictured() -> Vec<Event> {
    let image = BlockStart::Image {
        media_type: Some("image/png".into()),
        url: None,
    };
    Said::new()
        .text(&["look:"])
        .block(image, vec![Delta::Base64("iVBORw0KGgo=".into())])
        .ends(StopReason::EndTurn)
}

fn spoken() -> Vec<Event> {
    let audio = BlockStart::Audio {
        id: Some("audio_1".into()),
        format: Some("wav".into()),
    };
    let deltas = vec![
        Delta::Base64("UklGRg==".into()),
        Delta::Transcript("hello".into()),
    ];
    Said::new().block(audio, deltas).ends(StopReason::EndTurn)
}

fn free_text() -> Vec<Event> {
    let call = BlockStart::ToolCall {
        id: "call_1".into(),
        name: "run".into(),
        kind: ToolKind::Custom,
    };
    Said::new()
        .block(call, vec![Delta::ToolInput("ls -l".into())])
        .ends(StopReason::ToolUse)
}

/// As Google makes them: thought about, and the first of those made at once is signed.
fn signed_calls() -> Vec<Event> {
    let call = |id: &'static str| BlockStart::ToolCall {
        id: id.into(),
        name: "weather".into(),
        kind: ToolKind::Function,
    };
    let input = || Delta::ToolInput("{\"city\":\"Bonn\"}".into());
    let signed = vec![Delta::Signature("c2lnbmF0dXJl".into()), input()];
    Said::new()
        .block(call("call_1"), signed)
        .block(call("call_2"), vec![input()])
        .ends(StopReason::ToolUse)
}

fn two() -> Vec<Event> {
    let text = |t: &'static str| vec![Delta::Text(t.into())];
    Said::new()
        .block_of(0, BlockStart::Text, text("one"))
        .block_of(1, BlockStart::Text, text("two"))
        .ends_each(&[StopReason::EndTurn, StopReason::MaxTokens], None)
}

pub fn all() -> Vec<(&'static str, Vec<Event>)> {
    let plain = || Said::new().text(&["Hé", "llo \u{1f600}\n\n", "\"you\""]);
    vec![
        ("text", plain().ends(StopReason::EndTurn)),
        ("nothing", Said::new().ends(StopReason::EndTurn)),
        ("cut by the limit", plain().ends(StopReason::MaxTokens)),
        (
            "cut by a sequence",
            plain().ends_each(&[StopReason::StopSequence], Some("END")),
        ),
        ("filtered", plain().ends(StopReason::ContentFilter)),
        ("window full", plain().ends(StopReason::ContextWindow)),
        ("paused", plain().ends(StopReason::Pause)),
        (
            "thinking",
            Said::new()
                .thought()
                .text(&["rain"])
                .ends(StopReason::EndTurn),
        ),
        (
            "thinking in secret",
            Said::new()
                .block(
                    BlockStart::RedactedThinking {
                        data: "c2VjcmV0".into(),
                    },
                    Vec::new(),
                )
                .text(&["rain"])
                .ends(StopReason::EndTurn),
        ),
        (
            "parallel calls",
            Said::new()
                .text(&["let me see"])
                .call("call_1", "weather", &["{\"city\":", "\"Bonn\"}"])
                .call("call_2", "time", &["{}"])
                .ends(StopReason::ToolUse),
        ),
        (
            "thinking and a call",
            Said::new()
                .thought()
                .call("call_1", "weather", &["{\"city\":\"Bonn\"}"])
                .ends(StopReason::ToolUse),
        ),
        ("signed calls", signed_calls()),
        ("free text call", free_text()),
        (
            "refusal",
            Said::new()
                .block(
                    BlockStart::Refusal,
                    vec![Delta::Refusal("I will not".into())],
                )
                .ends(StopReason::Refusal),
        ),
        ("citation", cited()),
        ("picture", pictured()),
        ("sound", spoken()),
        ("two answers", two()),
    ]
}

fn fate(events: &[Event], back: &[Event], told: Vec<String>) -> Fate {
    let back = given_back(folded(back));
    Fate::of(&of_answer(&folded(events)), &of_answer(&back), told)
}

/// What is decoded of `events` written in `to`, streamed and whole.
fn both(to: DialectName, events: &[Event], what: &str) -> [(Vec<Event>, Vec<String>); 2] {
    let (bytes, told) = streamed(to, events);
    let stream = of_sse(to, &bytes).unwrap_or_else(|e| panic!("{what} in {to:?}: {e}"));
    let whole =
        of_whole(to, &whole(to, events)).unwrap_or_else(|e| panic!("{what} in {to:?}: {e}"));
    [(stream, told.clone()), (whole, told)]
}

pub(super) fn fates(fates: &mut Fates) {
    for (name, events) in all() {
        for to in CLIENTS.into_iter().chain([DialectName::Converse]) {
            let [stream, whole] = both(to, &events, name);
            for (kind, (back, told)) in [("stream", stream), ("whole", whole)] {
                fates.insert((kind, name, to.as_str()), fate(&events, &back, told));
            }
        }
    }
}

/// A client is told what the provider said, less what the provider's dialect and then the client's cannot say.
#[test]
fn an_answer_comes_back_by_every_pair_of_dialects() {
    let mut pairs = std::collections::BTreeSet::new();
    for (name, events) in all() {
        for provider in PROVIDERS {
            for (said, _) in both(provider, &events, name) {
                for client in CLIENTS {
                    let what = format!("{name}: {} to {}", provider.as_str(), client.as_str());
                    pairs.insert((provider.as_str(), client.as_str()));
                    let lost = |back: &[Event]| match fate(&events, back, Vec::new()) {
                        Fate::Arrives { lost, .. } => lost,
                        Fate::Refused(_) => Vec::new(),
                    };
                    let mut known = lost(&said);
                    known.extend(
                        both(client, &events, &what)
                            .iter()
                            .flat_map(|(b, _)| lost(b)),
                    );
                    for (heard, told) in both(client, &said, &what) {
                        assert!(folded(&heard).done, "{what}");
                        let news = lost(&heard).iter().any(|line| !known.contains(line));
                        let pair = fate(&events, &heard, told);
                        assert!(!news || !pair.is_silent(), "{what}: {pair}");
                    }
                }
            }
        }
    }
    assert_eq!(pairs.len(), 25);
}

/// What a client of `dialect` sends back of an answer, and the result of its call, as that API's documentation asks: the answer's own items, untouched.
/// A `bare` client knows of a call no more than its id, its name and what it was called with, as many do.
fn sent_back(dialect: DialectName, answer: &Value, bare: bool) -> Value {
    let mut answer = answer.clone();
    match dialect {
        DialectName::Chat => {
            let message = &mut answer["choices"][0]["message"];
            let calls = message["tool_calls"].as_array_mut().expect("calls");
            if bare {
                calls
                    .iter_mut()
                    .for_each(|call| drop(call["extra_content"].take()));
            }
            let id = calls[0]["id"].clone();
            value!({"model": "m", "messages": [{"role": "user", "content": "rain?"}, message,
                {"role": "tool", "tool_call_id": id, "content": "yes"}]})
        }
        DialectName::Messages => {
            let content = answer["content"].as_array().expect("blocks");
            let call = content
                .iter()
                .find(|b| b["type"] == "tool_use")
                .expect("a call");
            value!({"model": "m", "max_tokens": 9, "messages": [
                {"role": "user", "content": "rain?"}, {"role": "assistant", "content": content},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "yes"}]}]})
        }
        DialectName::Responses => {
            let mut input = vec![value!({"role": "user", "content": "rain?"})];
            input.extend(answer["output"].as_array().cloned().unwrap_or_default());
            let call = input
                .iter_mut()
                .find(|item| item["type"] == "function_call");
            let call = call.expect("a call");
            if bare {
                call["extra_content"].take();
            }
            let id = call["call_id"].clone();
            input.push(value!({"type": "function_call_output", "call_id": id, "output": "yes"}));
            value!({"model": "m", "input": input})
        }
        DialectName::Gemini => {
            let content = answer["candidates"][0]["content"].clone();
            let part = value!({"functionResponse": {"id": "call_1", "name": "weather", "response": {"output": "yes"}}});
            value!({"contents": [{"role": "user", "parts": [{"text": "rain?"}]}, content, {"role": "user", "parts": [part]}]})
        }
        DialectName::Native | DialectName::Completions | DialectName::Converse => {
            let result = value!({"type": "tool_result", "id": "call_1", "content": "yes"});
            value!({"model": "m", "input": [{"role": "user", "content": "rain?"},
                {"role": "assistant", "content": answer["blocks"]}, {"role": "user", "content": [result]}]})
        }
    }
}

/// An answer that its issuer signed, as that writes it: Google signs the call, the others the thought.
fn signed_by(provider: DialectName) -> Vec<Event> {
    let answer = match provider {
        DialectName::Gemini => {
            value!({"responseId": "a", "modelVersion": "m", "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
            {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Bonn"}}, "thoughtSignature": SIGNATURE}]}}]})
        }
        DialectName::Responses => {
            value!({"id": "a", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "it will rain"}], "encrypted_content": SIGNATURE},
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": "{\"city\":\"Bonn\"}", "status": "completed"}]})
        }
        DialectName::Converse => {
            value!({"stopReason": "tool_use", "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "it will rain", "signature": SIGNATURE}}},
            {"toolUse": {"toolUseId": "call_1", "name": "weather", "input": {"city": "Bonn"}}}]}}})
        }
        _ => {
            value!({"id": "a", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use", "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}, "content": [
            {"type": "thinking", "thinking": "it will rain", "signature": SIGNATURE},
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Bonn"}}]})
        }
    };
    of_whole(provider, answer.to_string().as_bytes()).expect("as documented")
}

pub const SIGNATURE: &str = "c2lnbmF0dXJl";

/// What an answer's issuer is shown again by a client of `client`, and what the client was told was left out.
pub fn comes_back(provider: DialectName, client: DialectName) -> (Vec<String>, Vec<String>) {
    let said = signed_by(provider);
    let back = asked_again(provider, (provider, client), &whole(client, &said), false);
    (back, streamed(client, &said).1)
}

/// What `to` is asked after an answer of `issuer`, which a client of `client` was told as `answer`.
fn asked_again(
    to: DialectName,
    (issuer, client): (DialectName, DialectName),
    answer: &[u8],
    bare: bool,
) -> Vec<String> {
    let what = format!("{} by way of {}", issuer.as_str(), client.as_str());
    let answer: Value = serde_json::from_slice(answer).expect("JSON");
    let asked = Bytes::from(sent_back(client, &answer, bare).to_string());
    let request = read_request(client, &asked).unwrap_or_else(|f| panic!("{what}: {f:?}"));
    let rules = Rules::default();
    let target = Target {
        model: "anthropic.claude-sonnet-4-6",
        stream: false,
        max_output_default: 99,
        rules: &rules,
    };
    let (bytes, _) = write_request(to, &request, &target).expect("sayable");
    let back = read_request(to, &bytes).expect("what we write we read");
    of_request(&back)
}

#[test]
fn a_signature_comes_back_to_its_issuer_through_every_client() {
    for provider in [
        DialectName::Messages,
        DialectName::Responses,
        DialectName::Gemini,
        DialectName::Converse,
    ] {
        for client in CLIENTS {
            let (back, told) = comes_back(provider, client);
            let what = format!("{provider:?} by way of {client:?}: {back:?}");
            let call = "assistant call call_1 weather {\"city\":\"Bonn\"}".to_owned();
            assert!(back.contains(&call), "{what}");
            let kept = back.iter().any(|line| line.contains(SIGNATURE));
            assert!(kept, "{what}");
            assert!(
                !told.iter().any(|name| name == "signature"),
                "{what} {told:?}"
            );
        }
    }
}

/// Streamed and whole, to a client that gives back ids alone; and another provider sees neither the signature nor a longer id.
#[test]
fn googles_signature_comes_back_with_the_id_of_its_call_and_to_nobody_else() {
    let said = signed_by(DialectName::Gemini);
    for client in [
        DialectName::Chat,
        DialectName::Messages,
        DialectName::Responses,
    ] {
        let (stream, told) = streamed(client, &said);
        assert!(told.is_empty(), "{told:?}");
        let told_whole = whole(client, &said);
        let heard = of_sse(client, &stream).expect("what we write we read");
        // What the client has put together of the stream is what it would be told whole.
        let of_stream = whole_of(client, &folded(&heard));
        for answer in [&told_whole, &of_stream] {
            for to in PROVIDERS {
                let issuer = DialectName::Gemini;
                let back = asked_again(to, (issuer, client), answer, true);
                let what = format!("{client:?} to {to:?}: {back:?}");
                let call = "assistant call call_1 weather {\"city\":\"Bonn\"}".to_owned();
                assert!(back.contains(&call), "{what}");
                assert!(
                    back.iter()
                        .any(|l| l.contains("result") && l.contains("call_1 ")),
                    "{what}"
                );
                assert!(!back.iter().any(|l| l.contains("stokehold")), "{what}");
                let kept = back.iter().any(|line| line.contains(SIGNATURE));
                assert_eq!(kept, to == issuer, "{what}");
            }
        }
    }
}

/// An answer as a client has it, in its own words: nothing of it is packed anew, since no signature stands beside the ids.
fn whole_of(client: DialectName, answer: &crate::canon::Answer) -> Bytes {
    let mut bare = answer.clone();
    bare.blocks.iter_mut().for_each(|b| b.signature = None);
    crate::protocol::dialect::write_answer(
        client,
        &bare,
        &super::super::tell::opening(&bare),
        &Default::default(),
    )
}

/// Google signs the first of several calls made at once, and no other (Gemini docs, thought signatures, read 2026-11); each goes back as it came.
#[test]
fn of_parallel_calls_each_keeps_its_own_and_the_others_none() {
    let part = |id: &str, signed: bool| {
        let mut part = value!({"functionCall": {"id": id, "name": "weather", "args": {}}});
        if signed {
            part["thoughtSignature"] = SIGNATURE.into();
        }
        part
    };
    let answer = value!({"responseId": "a", "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
        part("call_1", true), part("call_2", false), part("call_3", false)]}}]});
    let said = of_whole(DialectName::Gemini, answer.to_string().as_bytes()).expect("right");
    for client in CLIENTS {
        let heard: Value = serde_json::from_slice(&whole(client, &said)).expect("JSON");
        let asked = Bytes::from(sent_back(client, &heard, false).to_string());
        let request = read_request(client, &asked).expect("right");
        let calls = request.turns[1]
            .blocks
            .iter()
            .filter_map(|b| match &b.kind {
                crate::canon::BlockKind::ToolCall { id, .. } => {
                    Some((&**id, b.signature.as_deref()))
                }
                _ => None,
            });
        let wanted = [
            ("call_1", Some(SIGNATURE)),
            ("call_2", None),
            ("call_3", None),
        ];
        assert_eq!(calls.collect::<Vec<_>>(), wanted, "{client:?}");
    }
}

/// What no id holds is told as left out, where the dialect has no place of its own for it.
#[test]
fn a_signature_beyond_the_bound_is_left_out_openly() {
    let long = "A".repeat(40 << 10);
    let answer = value!({"responseId": "a", "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
        {"functionCall": {"id": "call_1", "name": "weather", "args": {}}, "thoughtSignature": long}]}}]});
    let said = of_whole(DialectName::Gemini, answer.to_string().as_bytes()).expect("right");
    for client in CLIENTS {
        let (stream, told) = streamed(client, &said);
        let heard = folded(&of_sse(client, &stream).expect("right"));
        let kept = heard.blocks[0].signature.as_deref() == Some(&long);
        assert_eq!(kept, client != DialectName::Messages, "{client:?}");
        let wanted: &[String] = if kept { &[] } else { &["signature".to_owned()] };
        assert_eq!(told, wanted, "{client:?}");
        let BlockStart::ToolCall { id, .. } = &heard.blocks[0].start else {
            panic!("{heard:?}");
        };
        assert_eq!(id, "call_1", "{client:?}");
    }
}
