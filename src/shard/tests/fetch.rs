//! Who comes back for an answer finds it, the same to the byte, from any event on; and nobody else's.

use super::*;
use crate::base::Str;
use crate::shard::stored::State;

const BIG: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m0\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" and more \\\"of\\\" {it}\"},\"finish_reason\":null}]}\n\n";

const PIECES: [&str; 6] = [FIRST, BIG, BIG, STOP, USAGE, DONE];

/// How clients of each dialect ask for a stream, and where.
fn asks() -> Vec<(&'static str, &'static str, String)> {
    let message = r#""messages":[{"role":"user","content":"hello"}]"#;
    vec![
        ("/v1/chat/completions", "", ASK_STREAM.to_owned()),
        (
            "/v1/messages",
            "",
            format!(r#"{{"model":"m0","max_tokens":50,"stream":true,{message}}}"#),
        ),
        (
            "/v1/responses",
            "",
            r#"{"model":"m0","stream":true,"input":"hello"}"#.to_owned(),
        ),
        (
            "/v1beta/models/m0:streamGenerateContent",
            "alt=sse",
            r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#.to_owned(),
        ),
        (
            "/v1beta/models/m0:streamGenerateContent",
            "",
            r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#.to_owned(),
        ),
        (
            "/api/v1/stream",
            "",
            r#"{"model":"m0","input":"hello"}"#.to_owned(),
        ),
    ]
}

impl Rig {
    fn get(&mut self, path: &str, query: &str, headers: &[(&str, &str)]) -> ClientId {
        self.ask_for("GET", path, query, headers)
    }

    fn ask_for(
        &mut self,
        method: &'static str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
    ) -> ClientId {
        let client = self.client();
        let head = ClientHead {
            method: Bytes::from_static(method.as_bytes()),
            query: Bytes::copy_from_slice(query.as_bytes()),
            ..Self::head(path, headers)
        };
        self.on(Input::Head { client, head });
        client
    }

    fn asked(&mut self, path: &str, query: &str, body: &str, headers: &[(&str, &str)]) -> ClientId {
        let client = self.ask_for("POST", path, query, headers);
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.on(Input::Body { client, body });
        client
    }

    /// The id of the only answer that is stored.
    #[track_caller]
    fn only(&self) -> String {
        assert_eq!(self.store.answers.len(), 1);
        self.store.answers.keys().next().expect("one").clone()
    }

    /// What all are told since the last look, by client.
    fn all_told(&mut self) -> std::collections::BTreeMap<ClientId, String> {
        let mut told = std::collections::BTreeMap::<ClientId, String>::new();
        for output in self.take() {
            let (client, bytes) = match output {
                Output::Respond { client, body, .. } => (client, body),
                Output::Write { client, bytes } => (client, bytes),
                _ => continue,
            };
            let all = told.entry(client).or_default();
            all.push_str(&String::from_utf8_lossy(&bytes));
        }
        told
    }
}

/// A provider that speaks chat alone.
fn chatting() -> String {
    one_provider("openai", POOL).replace("name: m0,", "name: m0, speaks: [chat],")
}

/// Events of a stream, each with its number.
fn events(text: &str) -> Vec<(u64, String)> {
    let all = text.split("\n\n").flat_map(|part| part.split("\r\n\r\n"));
    all.filter(|event| !event.trim().is_empty() && !event.starts_with(':'))
        .map(|event| {
            let event = event.trim_start_matches(['\r', '\n']);
            let number = event.lines().find_map(|line| line.strip_prefix("id: "));
            let number = number.expect("a number").parse().expect("a number");
            (number, event.to_owned())
        })
        .collect()
}

#[test]
fn field_39_a_stream_is_resumed_after_each_of_its_events_while_it_runs_and_when_it_has_ended() {
    for (path, query, body) in asks() {
        for joins in 0..=PIECES.len() {
            let mut rig = Rig::new(&chatting());
            let first = rig.asked(path, query, &body, &[]);
            let attempt = rig.call();
            rig.stream(attempt);
            let mut tail = None;
            let mut told = rig.all_told();
            for (nth, piece) in PIECES.iter().enumerate() {
                if nth == joins {
                    let id = rig.only();
                    tail = Some(rig.get(&format!("/api/v1/responses/{id}/events"), "", &[]));
                }
                rig.say(attempt, piece);
                for (client, more) in rig.all_told() {
                    told.entry(client).or_default().push_str(&more);
                }
            }
            rig.end(attempt);
            for (client, more) in rig.all_told() {
                told.entry(client).or_default().push_str(&more);
            }
            let id = rig.only();
            let at = format!("/api/v1/responses/{id}/events");
            let again = rig.get(&at, "", &[]);
            let whole = rig.told(again);
            assert_eq!(whole.0, 200, "{path}");
            let numbered = events(&whole.2);
            assert!(numbered.len() >= 3, "{path}: {}", whole.2);
            // The same bytes as were sent, but for the numbers and the frame of an array.
            if !(path.ends_with("streamGenerateContent") && query.is_empty()) {
                let bare = |text: &str| -> String {
                    let plain = path.starts_with("/api/");
                    let lines = text.lines().filter(|l| plain || !l.starts_with("id: "));
                    lines.collect::<Vec<_>>().join("\n")
                };
                assert_eq!(bare(&whole.2), bare(&told[&first]), "{path}");
            }
            if let Some(tail) = tail {
                assert_eq!(told[&tail], whole.2, "{path}, joined at {joins}");
            }
            let (mut before, mut after) = (None::<u64>, numbered.iter());
            loop {
                let client = match before {
                    None => rig.get(&at, "", &[]),
                    Some(n) if n % 2 == 0 => rig.get(&at, &format!("after={n}"), &[]),
                    Some(n) => rig.get(&at, "", &[("last-event-id", &n.to_string())]),
                };
                let got = events(&rig.told(client).2);
                assert_eq!(got, after.as_slice(), "{path}, after {before:?}");
                match after.next() {
                    Some((number, _)) => before = Some(*number),
                    None => break,
                }
            }
            rig.rests();
        }
    }
}

#[test]
fn the_same_key_asks_no_provider_twice_whether_the_first_runs_or_has_ended() {
    for (path, query, body) in asks() {
        for joins in 0..=PIECES.len() {
            let mut rig = Rig::new(&chatting());
            let key = [("idempotency-key", "once")];
            let first = rig.asked(path, query, &body, &key);
            let attempt = rig.call();
            rig.stream(attempt);
            let (mut second, mut told) = (None, rig.all_told());
            for (nth, piece) in PIECES.iter().enumerate() {
                if nth == joins {
                    second = Some(rig.asked(path, query, &body, &key));
                }
                rig.say(attempt, piece);
                let outs = rig.all_told();
                for (client, more) in outs {
                    told.entry(client).or_default().push_str(&more);
                }
            }
            rig.end(attempt);
            for (client, more) in rig.all_told() {
                told.entry(client).or_default().push_str(&more);
            }
            let second = second.unwrap_or_else(|| {
                let second = rig.asked(path, query, &body, &key);
                assert!(!rig.out.iter().any(|o| matches!(o, Output::Call(_))));
                for (client, more) in rig.all_told() {
                    told.entry(client).or_default().push_str(&more);
                }
                second
            });
            assert_eq!(told[&second], told[&first], "{path}, joined at {joins}");
            assert_eq!(rig.rows.len(), 1, "one call, one row");
            rig.rests();
        }
    }
}

#[test]
fn a_key_of_another_request_is_refused_and_of_one_that_was_refused_free_again() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let key = [("idempotency-key", "k")];
    rig.asked("/v1/chat/completions", "", ASK, &key);
    let attempt = rig.call();
    let other = ASK.replace("hello", "other");
    let client = rig.asked("/v1/chat/completions", "", &other, &key);
    let told = rig.told(client);
    assert_eq!(told.0, 400, "{}", told.2);
    assert!(told.2.contains("idempotency"), "{}", told.2);
    // Another tenant's key of the same name is another key.
    let mine = [("idempotency-key", "k"), ("authorization", "Bearer sk-b")];
    rig.asked("/v1/chat/completions", "", ASK, &mine);
    let others = rig.call();
    rig.answer(others);
    rig.refuse(
        attempt,
        400,
        &[],
        r#"{"error":{"message":"no","type":"invalid_request_error"}}"#,
    );
    rig.take();
    rig.asked("/v1/chat/completions", "", ASK, &key);
    let attempt = rig.call();
    rig.answer(attempt);
    let client = rig.asked("/v1/chat/completions", "", ASK, &key);
    let told = rig.told(client);
    assert_eq!((told.0, &*told.2), (200, WHOLE));
    assert_eq!(header(&told.1, "x-stokehold-replayed"), Some("true"));
    rig.rests();
}

#[test]
fn nobody_finds_another_tenants_answer() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    rig.chat(ASK_STREAM);
    let attempt = rig.call();
    rig.stream(attempt);
    rig.say(attempt, FIRST);
    let id = rig.only();
    let b = [("authorization", "Bearer sk-b")];
    let paths = |id: &str| {
        vec![
            ("GET", format!("/api/v1/responses/{id}"), 404),
            ("GET", format!("/api/v1/responses/{id}/events"), 404),
            ("POST", format!("/api/v1/responses/{id}/cancel"), 404),
            ("DELETE", format!("/api/v1/responses/{id}"), 404),
            ("GET", format!("/v1/responses/{id}"), 404),
            ("POST", format!("/v1/responses/{id}/cancel"), 404),
            ("DELETE", format!("/v1/responses/{id}"), 404),
        ]
    };
    for running in [true, false] {
        if !running {
            for piece in &PIECES[1..] {
                rig.say(attempt, piece);
            }
            rig.end(attempt);
        }
        for (method, path, status) in paths(&id) {
            rig.take();
            let others = rig.ask_for(method, &path, "", &b);
            let others = rig.told(others);
            let nobodys = path.replace(&id, "stk_0000000000000000000000000000");
            let unknown = rig.ask_for(method, &nobodys, "", &b);
            let unknown = rig.told(unknown);
            assert_eq!((others.0, unknown.0), (status, status), "{method} {path}");
            let same = unknown.2.replace("stk_0000000000000000000000000000", &id);
            let strip = |text: &str| {
                let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
                value["error"]["message"].to_string()
            };
            assert_eq!(strip(&others.2), strip(&same), "another's is as nobody's");
        }
        let list = rig.get("/api/v1/responses", "", &b);
        assert_eq!(rig.told(list).2, r#"{"answers":[],"more":false}"#);
    }
    let own = rig.get("/api/v1/responses", "", &[]);
    assert!(rig.told(own).2.contains(&id));
    rig.rests();
}

#[test]
fn field_35_36_40_who_leaves_at_once_finds_the_whole_answer_and_its_usage_later() {
    for leaves in 0..4 {
        let mut rig = Rig::new(&one_provider("openai", POOL));
        let client = rig.chat(ASK_STREAM);
        let gone = Input::ClientGone { client };
        let attempt = rig.call();
        for step in 0..4 {
            if step == leaves {
                rig.on(gone.clone());
            }
            match step {
                0 => rig.stream(attempt),
                1 => rig.say(attempt, FIRST),
                2 => PIECES[1..].iter().for_each(|piece| rig.say(attempt, piece)),
                _ => rig.end(attempt),
            }
        }
        let id = rig.only();
        rig.take();
        let client = rig.get(&format!("/api/v1/responses/{id}"), "", &[]);
        let told = rig.told(client);
        assert_eq!(told.0, 200, "left at {leaves}");
        let found: serde_json::Value = serde_json::from_str(&told.2).expect("JSON");
        assert_eq!(found["status"], "complete", "left at {leaves}");
        let text = found["response"]["blocks"][0]["text"].as_str();
        assert_eq!(text, Some("hi and more \"of\" {it} and more \"of\" {it}"));
        assert_eq!(found["response"]["usage"]["output_tokens"], 2, "{found}");
        assert_eq!(rig.rows.len(), 1);
        rig.rests();
    }
}

#[test]
fn an_answer_that_was_interrupted_ends_with_an_error_of_its_dialect() {
    for (path, query, body) in asks() {
        let mut rig = Rig::new(&chatting());
        rig.asked(path, query, &body, &[]);
        let attempt = rig.call();
        rig.stream(attempt);
        rig.say(attempt, FIRST);
        rig.say(attempt, BIG);
        let id = rig.only();
        rig.take();
        rig.store.answers.get_mut(&id).expect("it").state = State::Interrupted;
        let client = rig.get(&format!("/api/v1/responses/{id}/events"), "", &[]);
        let told = events(&rig.told(client).2);
        let (number, last) = told.last().expect("events");
        assert!(last.contains("interrupted"), "{path}: {last}");
        assert_eq!(
            told.iter().filter(|(n, _)| n == number).count(),
            1,
            "{path}"
        );
        let client = rig.get(&format!("/api/v1/responses/{id}"), "", &[]);
        let told = rig.told(client).2;
        assert!(
            told.contains("hi and more"),
            "{path}: the partial is there: {told}"
        );
    }
}

#[test]
fn a_running_answer_is_cancelled_by_its_id_and_a_finished_one_deleted() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let first = rig.chat(ASK_STREAM);
    let attempt = rig.call();
    rig.stream(attempt);
    rig.say(attempt, FIRST);
    let id = rig.only();
    rig.take();
    let at = format!("/api/v1/responses/{id}");
    let client = rig.ask_for("DELETE", &at, "", &[]);
    assert_eq!(rig.told(client).0, 404, "it runs");
    let client = rig.ask_for("POST", &format!("{at}/cancel"), "", &[]);
    assert_eq!(rig.told(client).0, 200);
    let exchange = rig.store.answers[&id].exchange();
    let name = Str::from(&*id);
    rig.on(Input::Stop { exchange, name });
    let out = rig.take();
    assert!(out.contains(&Output::Cancel { attempt }));
    assert!(
        out.iter()
            .any(|o| matches!(o, Output::End { client } if *client == first))
    );
    assert_eq!(rig.store.answers[&id].state, State::Cancelled);
    let client = rig.ask_for("DELETE", &at, "", &[]);
    assert_eq!(rig.told(client).0, 200);
    let client = rig.get(&at, "", &[]);
    assert_eq!(rig.told(client).0, 404);
    rig.rests();
}

#[test]
fn responses_finds_an_answer_of_ours_as_its_own_clients_ask() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    rig.asked("/v1/chat/completions", "", ASK, &[]);
    let attempt = rig.call();
    let id = rig.only();
    rig.take();
    let at = format!("/v1/responses/{id}");
    let client = rig.get(&at, "", &[]);
    assert!(rig.told(client).2.contains(r#""status":"in_progress""#));
    rig.answer(attempt);
    rig.take();
    let client = rig.get(&at, "", &[]);
    let told = rig.told(client).2;
    assert!(
        told.contains(r#""object":"response""#) && told.contains(r#""text":"hi""#),
        "{told}"
    );
    assert!(told.contains(r#""status":"completed""#), "{told}");
    // What was one body is streamed as the native dialect would have.
    let client = rig.get(&format!("/api/v1/responses/{id}/events"), "", &[]);
    let told = events(&rig.told(client).2);
    assert!(told[0].1.contains("response.created"), "{told:?}");
    assert!(told.last().expect("events").1.contains("response.done"));
    rig.rests();
}

#[test]
fn no_more_than_so_many_answers_are_finished_for_nobody() {
    let yaml =
        one_provider("openai", POOL).replace("tenants:", "spool: {abandoned_max: 2}\ntenants:");
    let mut rig = Rig::new(&yaml);
    let clients: Vec<ClientId> = (0..3).map(|_| rig.chat(ASK_STREAM)).collect();
    let calls = rig.calls();
    let mut cancelled = 0;
    for client in clients {
        rig.on(Input::ClientGone { client });
        cancelled += rig
            .take()
            .iter()
            .filter(|o| matches!(o, Output::Cancel { .. }))
            .count();
    }
    assert_eq!(cancelled, 1);
    for call in &calls {
        rig.answer(call.attempt);
    }
    rig.rests();
}

#[test]
fn while_the_spool_is_full_nothing_is_begun() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    rig.on(Input::SpoolRoom(false));
    let client = rig.chat(ASK);
    let told = rig.told(client);
    assert_eq!(told.0, 503);
    assert!(told.2.contains("spool is full"), "{}", told.2);
    assert!(header(&told.1, "retry-after").is_some());
    rig.on(Input::SpoolRoom(true));
    rig.chat(ASK);
    let attempt = rig.call();
    rig.answer(attempt);
    rig.rests();
}
