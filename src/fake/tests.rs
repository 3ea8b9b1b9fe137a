//! What the fake promises.

use super::limit::{Bucket, go_duration, http_date, rfc3339};
use super::*;
use crate::base::{Rng, WallTime};
use serde_json::{Value, json};

const SECOND: u64 = 1_000_000_000;

pub(super) fn at(seconds: u64) -> Now {
    Now {
        instant: Instant(seconds * SECOND),
        wall: WallTime(1_764_000_000_000_000_000 + (seconds * SECOND) as i64),
    }
}

pub(super) fn quick() -> Settings {
    Settings {
        output_tokens: 4,
        ..Settings::default()
    }
}

pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<&'static str, String>,
    pub(super) body: Vec<u8>,
    pub(super) last: Step,
}

impl Got {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    fn data(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().filter_map(|l| l.strip_prefix("data: "));
        lines.filter_map(|l| serde_json::from_str(l).ok()).collect()
    }
}

fn handle(fake: &mut Fake, now: Now, path: &str, body: &str) -> ReplyId {
    let method = if path.contains("/models") {
        "GET"
    } else {
        "POST"
    };
    let header = |name: &str| match name {
        "authorization" => Some("Bearer k"),
        "anthropic-version" if path.contains("messages") => Some("2023-06-01"),
        _ => None,
    };
    fake.handle(
        now,
        &Request {
            method,
            path,
            header: &header,
            body: body.as_bytes(),
        },
    )
}

pub(super) fn drain(fake: &mut Fake, id: ReplyId, mut now: Now) -> Got {
    let mut got = Got {
        status: 0,
        headers: BTreeMap::new(),
        body: Vec::new(),
        last: Step::End,
    };
    for _ in 0..100_000 {
        match fake.next(id, now) {
            Step::Wait(until) => {
                assert!(until > now.instant, "waits for what is past");
                now.instant = until;
            }
            Step::Head { status, headers } => {
                got.status = status;
                got.headers = headers.into_iter().collect();
            }
            Step::Bytes(bytes) => {
                assert!(!bytes.is_empty());
                got.body.extend_from_slice(&bytes);
            }
            last => {
                got.last = last;
                if got.last == Step::Stall {
                    fake.hung_up(id, now);
                }
                return got;
            }
        }
    }
    panic!("never ends");
}

fn ask(fake: &mut Fake, now: Now, path: &str, body: &Value) -> Got {
    let id = handle(fake, now, path, &body.to_string());
    drain(fake, id, now)
}

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

fn chat(text: &str) -> Value {
    json!({"model": "gpt-5.4", "messages": [{"role": "user", "content": text}]})
}

fn messages(text: &str) -> Value {
    json!({"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": text}]})
}

fn with(mut body: Value, more: Value) -> Value {
    for (key, value) in more.as_object().expect("an object") {
        body[key] = value.clone();
    }
    body
}

#[test]
fn a_chat_answer_has_the_documented_shape() {
    let got = ask(&mut Fake::new(quick()), at(0), CHAT, &chat("hi"));
    let body = got.json();
    assert_eq!(
        body,
        json!({
            "id": body["id"], "object": "chat.completion", "created": 1_764_000_000, "model": "gpt-5.4",
            "service_tier": "default", "system_fingerprint": "fp_5709c0fake",
            "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
                "message": {"role": "assistant", "content": "You said: hi 1", "refusal": null, "annotations": []}}],
            "usage": {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}
        })
    );
    assert!(got.headers["x-request-id"].starts_with("req_"));
}

#[test]
fn a_messages_answer_has_the_documented_shape() {
    let got = ask(&mut Fake::new(quick()), at(0), MESSAGES, &messages("hi"));
    let body = got.json();
    assert_eq!(
        body,
        json!({
            "id": body["id"], "type": "message", "role": "assistant", "model": "claude-x",
            "content": [{"type": "text", "text": "You said: hi 1"}], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 1, "output_tokens": 4, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens_details": {"thinking_tokens": 0}, "service_tier": "standard"}
        })
    );
}

#[test]
fn streams_say_every_token_once_and_end_with_their_mark() {
    let mut fake = Fake::new(quick());
    let asked = with(
        chat("hi"),
        json!({"stream": true, "stream_options": {"include_usage": true}, "n": 2}),
    );
    let got = ask(&mut fake, at(0), CHAT, &asked);
    assert!(got.text().ends_with("data: [DONE]\n\n"));
    let said: String = got
        .data()
        .iter()
        .filter(|d| d["choices"][0]["index"] == 0)
        .filter_map(|d| {
            d["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(said, "You said: hi 1");
    assert_eq!(
        got.data().last().expect("usage")["usage"]["completion_tokens"],
        8
    );
    let got = ask(
        &mut fake,
        at(0),
        MESSAGES,
        &with(messages("hi"), json!({"stream": true})),
    );
    let kinds: Vec<String> = got
        .data()
        .iter()
        .map(|d| d["type"].as_str().expect("a type").to_owned())
        .collect();
    assert_eq!(
        kinds,
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
}

#[test]
fn tools_are_called_when_asked_for_and_results_are_quoted() {
    let mut fake = Fake::new(Settings {
        output_tokens: 20,
        ..quick()
    });
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}}});
    let tools =
        json!({"tools": [{"type": "function", "function": {"name": "get", "parameters": schema}}]});
    let body = ask(
        &mut fake,
        at(0),
        CHAT,
        &with(chat("use tool get twice"), tools),
    )
    .json();
    let calls = &body["choices"][0]["message"]["tool_calls"];
    assert_eq!(
        (
            calls.as_array().map(Vec::len),
            &body["choices"][0]["finish_reason"]
        ),
        (Some(2), &json!("tool_calls"))
    );
    assert_eq!(
        calls[1]["function"]["arguments"],
        "{\"city\":\"text\",\"days\":3}"
    );
    assert_ne!(calls[0]["id"], calls[1]["id"]);
    let tools =
        json!({"tools": [{"name": "get", "input_schema": schema}], "tool_choice": {"type": "any"}});
    let body = ask(&mut fake, at(0), MESSAGES, &with(messages("go"), tools)).json();
    assert_eq!(
        (&body["content"][0]["input"]["days"], &body["stop_reason"]),
        (&json!(3), &json!("tool_use"))
    );
    let turn = json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "rain"}]}]});
    let body = ask(&mut fake, at(0), MESSAGES, &with(messages(""), turn)).json();
    assert!(
        body["content"][0]["text"]
            .as_str()
            .expect("text")
            .starts_with("The tool said: rain")
    );
}

#[test]
fn the_request_steers_the_answer() {
    let mut fake = Fake::new(Settings {
        output_tokens: 20,
        ..quick()
    });
    let image = json!({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A".repeat(90) + "=="}}]}]});
    let table = [
        (json!({"max_tokens": 3}), "You said: hi", "max_tokens"),
        (
            json!({"stop_sequences": [" 3"]}),
            "You said: hi 1 2",
            "stop_sequence",
        ),
        (
            json!({"messages": [{"role": "user", "content": "please refuse"}]}),
            "I cannot help with that.",
            "refusal",
        ),
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "array", "items": {"type": "boolean"}}}}}),
            "[true]",
            "end_turn",
        ),
        (
            with(image, json!({"max_tokens": 7})),
            "I see 1 image/png of 67 bytes.",
            "max_tokens",
        ),
    ];
    for (more, text, stop) in table {
        let body = ask(&mut fake, at(0), MESSAGES, &with(messages("hi"), more)).json();
        assert_eq!(
            (
                body["content"][0]["text"].as_str(),
                body["stop_reason"].as_str()
            ),
            (Some(text), Some(stop))
        );
    }
    let body = ask(
        &mut fake,
        at(0),
        MESSAGES,
        &with(messages("hi"), json!({"thinking": {"type": "adaptive"}})),
    )
    .json();
    assert_eq!(body["content"][0]["type"], "thinking");
    let mut thought = body["content"][0].clone();
    thought["thinking"] = json!("changed");
    let turns = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": [thought]}, {"role": "user", "content": "b"}]});
    assert_eq!(
        ask(&mut fake, at(0), MESSAGES, &with(messages(""), turns)).status,
        400
    );
    let body = ask(
        &mut fake,
        at(0),
        CHAT,
        &with(chat("hi"), json!({"reasoning_effort": "low"})),
    )
    .json();
    assert_eq!(
        body["usage"]["completion_tokens_details"]["reasoning_tokens"],
        8
    );
}

#[test]
fn refusals_name_the_field_in_the_dialects_envelope() {
    let mut fake = Fake::new(Settings {
        models: Some(vec!["gpt-5.4".into(), "claude-x".into()]),
        ..quick()
    });
    let table = [
        (
            CHAT,
            json!({"model": "gpt-5.4"}),
            400,
            "Missing required parameter: 'messages'.",
        ),
        (
            CHAT,
            with(chat("x"), json!({"temperature": 3})),
            400,
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
        ),
        (
            CHAT,
            with(chat("x"), json!({"model": "no"})),
            404,
            "The model `no` does not exist or you do not have access to it.",
        ),
        (
            MESSAGES,
            json!({"model": "claude-x", "messages": []}),
            400,
            "max_tokens: Field required",
        ),
        (
            MESSAGES,
            with(messages("x"), json!({"foo": 1})),
            400,
            "foo: Extra inputs are not permitted",
        ),
        (
            MESSAGES,
            messages("[[fake: status=529]]"),
            529,
            "Overloaded",
        ),
        (
            CHAT,
            chat("[[fake: status=500]]"),
            500,
            "The server had an error while processing your request. Sorry about that!",
        ),
    ];
    for (path, body, status, message) in table {
        let got = ask(&mut fake, at(0), path, &body);
        assert_eq!(
            (got.status, got.json()["error"]["message"].as_str()),
            (status, Some(message))
        );
        assert_eq!(got.json()["type"] == "error", path == MESSAGES);
    }
    assert_eq!(
        (fake.book().totals(), fake.book().refused()[&400]),
        (Billed::default(), 4)
    );
}

fn cached(ttl: &str, tail: &str) -> Value {
    with(
        messages(tail),
        json!({"system": [{"type": "text", "text": "s".repeat(8_000), "cache_control": {"type": "ephemeral", "ttl": ttl}}]}),
    )
}

#[test]
fn breakpoints_are_read_after_the_first_byte_and_until_they_expire() {
    let mut fake = Fake::new(quick());
    let read = |fake: &mut Fake, second, ttl| {
        let usage = ask(fake, at(second), MESSAGES, &cached(ttl, "x")).json()["usage"].clone();
        (
            usage["cache_read_input_tokens"].as_u64(),
            usage["cache_creation_input_tokens"].as_u64(),
        )
    };
    let leader = handle(&mut fake, at(0), MESSAGES, &cached("5m", "x").to_string());
    let follower = handle(&mut fake, at(0), MESSAGES, &cached("5m", "y").to_string());
    for id in [leader, follower] {
        assert_eq!(
            drain(&mut fake, id, at(0)).json()["usage"]["cache_creation_input_tokens"],
            2_000
        );
    }
    assert_eq!(read(&mut fake, 299, "5m"), (Some(2_000), Some(0)));
    assert_eq!(
        read(&mut fake, 598, "5m"),
        (Some(2_000), Some(0)),
        "refreshed by the read"
    );
    assert_eq!(
        read(&mut fake, 898, "5m"),
        (Some(0), Some(2_000)),
        "expired"
    );
    let other = with(cached("5m", "x"), json!({"model": "claude-y"}));
    assert_eq!(
        ask(&mut fake, at(899), MESSAGES, &other).json()["usage"]["cache_read_input_tokens"],
        0
    );
    let short = with(
        messages("x"),
        json!({"cache_control": {"type": "ephemeral"}}),
    );
    assert_eq!(
        ask(&mut fake, at(899), MESSAGES, &short).json()["usage"]["cache_creation_input_tokens"],
        0
    );
    assert_eq!(read(&mut fake, 5_000, "1h"), (Some(0), Some(2_000)));
    assert_eq!(read(&mut fake, 8_000, "1h"), (Some(2_000), Some(0)));
}

#[test]
fn a_breakpoint_looks_back_over_twenty_blocks() {
    for (more, read) in [(19, true), (20, false)] {
        let mut fake = Fake::new(quick());
        let blocks = |count: usize| {
            let blocks: Vec<Value> = (0..count)
                .map(|n| json!({"type": "text", "text": format!("{n}").repeat(5_000)}))
                .collect();
            with(
                messages(""),
                json!({"messages": [{"role": "user", "content": blocks}], "cache_control": {"type": "ephemeral"}}),
            )
        };
        ask(&mut fake, at(0), MESSAGES, &blocks(1));
        let usage = ask(&mut fake, at(1), MESSAGES, &blocks(1 + more)).json()["usage"].clone();
        assert_eq!(
            usage["cache_read_input_tokens"] != 0,
            read,
            "{more} blocks more"
        );
    }
}

#[test]
fn a_prefix_is_read_in_steps_of_128_tokens() {
    let mut fake = Fake::new(quick());
    let long = "p".repeat(4 * 1_300);
    let cached = |fake: &mut Fake, second, text: &str| {
        ask(fake, at(second), CHAT, &chat(text)).json()["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a count")
    };
    assert_eq!(cached(&mut fake, 0, &long), 0);
    assert_eq!(cached(&mut fake, 1, &format!("{long} more")), 1_280);
    assert_eq!(cached(&mut fake, 602, &long), 0, "idle for ten minutes");
    assert_eq!(cached(&mut fake, 603, "short"), 0);
}

#[test]
fn a_bucket_agrees_with_a_naive_one() {
    let mut rng = Rng::seeded(5);
    for limit in [1, 7, 60, 30_000] {
        let (mut bucket, mut naive, mut now) =
            (Bucket::full(limit, Instant(0)), limit as f64, 0_u64);
        for _ in 0..2_000 {
            let step = rng.below(2 * SECOND);
            now += step;
            naive = (naive + limit as f64 * step as f64 / 60e9).min(limit as f64);
            let asked = rng.below(limit / 8 + 2);
            let wait = bucket.wait(asked, Instant(now)).as_secs_f64();
            let expected = ((asked.min(limit) as f64 - naive) * 60.0 / limit as f64).max(0.0);
            assert!(
                (wait - expected).abs() < 1e-3,
                "limit {limit}: {wait} for {expected}"
            );
            if wait == 0.0 {
                bucket.take(asked, Instant(now));
                naive -= asked as f64;
            }
        }
    }
}

#[test]
fn a_limited_caller_who_waits_as_told_is_let_in() {
    let limits = Limits {
        rpm: Some(2),
        tpm: Some(1_000_000),
        ..Limits::default()
    };
    let mut fake = Fake::new(Settings { limits, ..quick() });
    assert_eq!(
        ask(&mut fake, at(0), CHAT, &chat("a")).headers["x-ratelimit-remaining-requests"],
        "1"
    );
    ask(&mut fake, at(0), CHAT, &chat("a"));
    let got = ask(&mut fake, at(0), CHAT, &chat("a"));
    assert_eq!(
        (
            got.status,
            got.headers["retry-after"].as_str(),
            got.headers["x-ratelimit-reset-requests"].as_str()
        ),
        (429, "30", "1m0s")
    );
    assert!(
        got.json()["error"]["message"]
            .as_str()
            .expect("text")
            .ends_with("Limit 2, Used 2, Requested 1. Please try again in 30s.")
    );
    assert_eq!(ask(&mut fake, at(30), CHAT, &chat("a")).status, 200);
    assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
    assert_eq!(
        (
            go_duration(Duration::from_millis(360_000)),
            rfc3339(951_782_400)
        ),
        ("6m0s".into(), "2000-02-29T00:00:00Z".into())
    );
}

#[test]
fn every_fault_ends_and_is_booked_as_what_it_was() {
    let table = [
        ("stall_after=3", Step::Stall, Ended::HungUp),
        ("cut_after=700", Step::Reset, Ended::Cut),
        ("torn", Step::End, Ended::Complete),
        ("error_event_after=3", Step::End, Ended::Cut),
        ("no_terminal", Step::End, Ended::Cut),
        ("slow_first_byte=900", Step::End, Ended::Complete),
        ("unknown_event", Step::End, Ended::Complete),
        ("wrong_content_type", Step::End, Ended::Complete),
        ("empty_body", Step::End, Ended::Complete),
    ];
    for (fault, last, ended) in table {
        for (path, body) in [(CHAT, chat("a b c d")), (MESSAGES, messages("a b c d"))] {
            let mut fake = Fake::new(Settings {
                output_tokens: 12,
                ..quick()
            });
            let body = with(body, json!({"stream": true, "model": format!("m+{fault}")}));
            let got = ask(&mut fake, at(0), path, &body);
            assert_eq!((got.status, &got.last), (200, &last), "{fault} {path}");
            let entry = fake.book().entries().next().expect("booked").clone();
            assert_eq!(entry.ended, ended, "{fault} {path}");
            assert_eq!(entry.model, "m");
            assert_eq!(
                entry.told,
                ended == Ended::Complete && path == MESSAGES && fault != "empty_body",
                "{fault} {path}"
            );
            assert_eq!(
                entry.billed.output == 12,
                ended == Ended::Complete && fault != "empty_body" || fault == "no_terminal",
                "{fault} {path}"
            );
            if fault.starts_with("cut") {
                assert_eq!(got.body.len(), 700);
            }
            assert_eq!(fake.open(), 0);
        }
    }
}

#[test]
fn who_hangs_up_pays_for_what_was_produced() {
    let mut fake = Fake::new(Settings {
        first_token: Duration::from_secs(1),
        between_tokens: Duration::from_secs(1),
        output_tokens: 9,
        ..quick()
    });
    let id = handle(
        &mut fake,
        at(0),
        CHAT,
        &with(chat("hi"), json!({"stream": true})).to_string(),
    );
    assert_eq!(fake.next(id, at(0)), Step::Wait(Instant(SECOND)));
    fake.hung_up(id, at(3));
    let entry = fake.book().entries().next().expect("booked");
    assert_eq!(
        (
            entry.billed.output,
            entry.billed.uncached,
            entry.ended,
            entry.told
        ),
        (3, 2, Ended::HungUp, false)
    );
    assert_eq!(fake.next(id, at(4)), Step::End);
}

#[test]
fn garbage_gets_an_envelope_and_the_same_seed_the_same_bytes() {
    let run = |seed| {
        let mut fake = Fake::new(Settings { seed, ..quick() });
        fake.faults().chance(
            0.2,
            Faults {
                status: Some(503),
                ..Faults::default()
            },
        );
        let mut rng = Rng::seeded(9);
        let mut all = Vec::new();
        for n in 0..2_000 {
            let (path, body) = if rng.once_in(2) {
                (CHAT, chat("hi"))
            } else {
                (MESSAGES, messages("hi"))
            };
            let mut body = with(body, json!({"stream": rng.once_in(2)}))
                .to_string()
                .into_bytes();
            for _ in 0..rng.below(4) {
                let at = rng.below(body.len() as u64) as usize;
                body[at] = b"{}[]\",:x0"[rng.below(9) as usize];
            }
            let text = String::from_utf8(body).expect("ASCII");
            let id = handle(&mut fake, at(n), path, &text);
            let got = drain(&mut fake, id, at(n));
            if got.status != 200 {
                assert!(got.json()["error"]["message"].is_string(), "{text}");
            }
            all.extend_from_slice(&got.body);
        }
        all
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn models_counts_and_embeddings_answer_in_shape() {
    let mut fake = Fake::new(quick());
    assert_eq!(
        ask(&mut fake, at(0), "/v1/models", &json!({})).json()["data"][0]["object"],
        "model"
    );
    let counted = json!({"model": "m", "messages": [{"role": "user", "content": "12345678"}]});
    assert_eq!(
        ask(&mut fake, at(0), "/v1/messages/count_tokens", &counted).json(),
        json!({"input_tokens": 2})
    );
    let asked = json!({"model": "e", "input": ["a", "b"], "dimensions": 3});
    let body = ask(&mut fake, at(0), "/v1/embeddings", &asked).json();
    assert_eq!(
        (
            body["data"][1]["embedding"].as_array().map(Vec::len),
            &body["usage"]["total_tokens"]
        ),
        (Some(3), &json!(2))
    );
    let entry = fake.book().entries().next().expect("booked");
    assert_eq!((entry.billed.uncached, entry.told), (2, true));
}

#[test]
fn what_is_read_from_the_cache_is_free_of_the_input_limit() {
    let limits = Limits {
        itpm: Some(3_000),
        otpm: Some(6),
        ..Limits::default()
    };
    let mut fake = Fake::new(Settings { limits, ..quick() });
    assert_eq!(
        ask(&mut fake, at(0), MESSAGES, &cached("5m", "x")).status,
        200
    );
    let again = ask(&mut fake, at(0), MESSAGES, &cached("5m", "x"));
    assert_eq!(
        (
            again.status,
            again.headers["anthropic-ratelimit-input-tokens-remaining"].as_str()
        ),
        (200, "1000")
    );
    let output = ask(&mut fake, at(0), MESSAGES, &cached("5m", "x"));
    let text = output.json()["error"]["message"]
        .as_str()
        .expect("text")
        .to_owned();
    assert_eq!(
        (output.status, output.headers["retry-after"].as_str()),
        (429, "30"),
        "two tokens too many, and one to begin"
    );
    assert!(text.contains("6 output tokens per minute"));
    let input = ask(
        &mut fake,
        at(31),
        MESSAGES,
        &with(
            cached("5m", "x"),
            json!({"model": "claude-y", "system": "t".repeat(16_000)}),
        ),
    );
    assert_eq!(
        (input.status, input.headers.get("retry-after")),
        (429, None),
        "larger than the limit will never fit"
    );
    assert_eq!(fake.book().refused()[&429], 2);
}

#[test]
fn mixed_lives_are_written_where_their_marks_stand() {
    let mut fake = Fake::new(quick());
    let block = |ttl: &str, letter: &str| json!({"type": "text", "text": letter.repeat(8_000), "cache_control": {"type": "ephemeral", "ttl": ttl}});
    let body = with(
        messages("tail"),
        json!({"system": [block("1h", "a"), block("5m", "b")]}),
    );
    let usage = ask(&mut fake, at(0), MESSAGES, &body).json()["usage"].clone();
    assert_eq!(
        usage["cache_creation"],
        json!({"ephemeral_5m_input_tokens": 2_000, "ephemeral_1h_input_tokens": 2_000})
    );
    assert_eq!(usage["input_tokens"], 1);
    let usage = ask(&mut fake, at(600), MESSAGES, &body).json()["usage"].clone();
    assert_eq!(
        (
            &usage["cache_read_input_tokens"],
            &usage["cache_creation_input_tokens"]
        ),
        (&json!(2_000), &json!(2_000))
    );
    let wrong = with(
        messages("x"),
        json!({"system": [block("5m", "a"), block("1h", "b")]}),
    );
    assert_eq!(ask(&mut fake, at(0), MESSAGES, &wrong).status, 400);
    let five = json!({"system": [block("5m", "a"), block("5m", "b"), block("5m", "c"), block("5m", "d"), block("5m", "e")]});
    let said = ask(&mut fake, at(0), MESSAGES, &with(messages("x"), five)).json();
    assert_eq!(
        said["error"]["message"],
        "A maximum of 4 blocks with cache_control may be provided. Found 5."
    );
}

#[test]
fn who_leaves_after_the_end_mark_has_not_left_early() {
    let mut fake = Fake::new(quick());
    let id = handle(
        &mut fake,
        at(0),
        CHAT,
        &with(chat("hi"), json!({"stream": true})).to_string(),
    );
    assert!(matches!(
        fake.next(id, at(9)),
        Step::Head { status: 200, .. }
    ));
    let Step::Bytes(all) = fake.next(id, at(9)) else {
        panic!("all that is due comes at once")
    };
    assert!(all.ends_with(b"data: [DONE]\n\n"));
    fake.hung_up(id, at(9));
    assert_eq!(
        fake.book().entries().next().expect("booked").ended,
        Ended::Complete
    );
}

#[test]
fn keys_bodies_and_crowds_are_refused_and_organisations_share_nothing() {
    let keys = Some(vec![("k".into(), "one".into()), ("l".into(), "two".into())]);
    let limits = Limits {
        concurrent: Some(1),
        ..Limits::default()
    };
    let mut fake = Fake::new(Settings {
        keys,
        limits,
        body_max: 10_000,
        ..quick()
    });
    let with_key = |fake: &mut Fake, key: &'static str, body: &str| {
        let header = |name: &str| match name {
            "x-api-key" => Some(key).filter(|k| !k.is_empty()),
            "anthropic-version" => Some("2023-06-01"),
            _ => None,
        };
        let body = body.as_bytes();
        let id = fake.handle(
            at(0),
            &Request {
                method: "POST",
                path: MESSAGES,
                header: &header,
                body,
            },
        );
        drain(fake, id, at(0))
    };
    let body = cached("5m", "x").to_string();
    assert_eq!(
        with_key(&mut fake, "", &body).json()["error"]["message"],
        "x-api-key header is required"
    );
    assert_eq!(
        with_key(&mut fake, "no", &body).json()["error"]["type"],
        "authentication_error"
    );
    assert_eq!(
        with_key(&mut fake, "k", &"x".repeat(10_001)).json()["error"]["type"],
        "request_too_large"
    );
    for key in ["k", "l"] {
        assert_eq!(
            with_key(&mut fake, key, &body).json()["usage"]["cache_creation_input_tokens"],
            2_000,
            "{key}"
        );
    }
    handle(&mut fake, at(0), CHAT, &chat("held open").to_string());
    assert_eq!(ask(&mut fake, at(0), CHAT, &chat("x")).status, 429);
    assert_eq!(with_key(&mut fake, "l", &body).status, 200);
}

#[test]
fn a_script_is_followed_and_healed() {
    let mut fake = Fake::new(quick());
    let html = Faults {
        html_502: true,
        ..Faults::default()
    };
    fake.faults().next(2, &html);
    for status in [502, 502, 200] {
        let got = ask(&mut fake, at(0), CHAT, &chat("x"));
        assert_eq!(
            (got.status, got.headers["content-type"] == "text/html"),
            (status, status == 502)
        );
    }
    fake.faults().chance(1.0, html);
    assert_eq!(ask(&mut fake, at(0), MESSAGES, &messages("x")).status, 502);
    fake.faults().heal();
    assert_eq!(ask(&mut fake, at(0), MESSAGES, &messages("x")).status, 200);
}
