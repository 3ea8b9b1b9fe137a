//! Answers that a provider keeps: asked for where they were made, seen by their tenant alone, billed once.

use super::*;
use serde_json::{Value, json};

const CREATE: &str = r#"{"model":"m0","input":"hello"}"#;
const BACKGROUND: &str = r#"{"model":"m0","input":"hello","background":true}"#;
const STREAMED: &str = r#"{"model":"m0","input":"hello","background":true,"stream":true}"#;

/// One provider with a pool of two keys; `tenants` as YAML.
fn two_keys(kind: &str, tenants: &str) -> String {
    let pool = "{id: p0, keys: [{id: k0, secret: sk-0-end}, {id: k1, secret: sk-1-end}]}";
    one_provider(kind, pool).replace(TENANTS, tenants)
}

const ALONE: &str = "tenants:\n- {id: a, keys: [{id: a1, secret: sk-a}]}\n";

fn object(id: &str, status: &str, background: bool) -> String {
    let usage = match status {
        "completed" => json!({"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}),
        _ => Value::Null,
    };
    json!({
        "id": id, "object": "response", "created_at": 1, "status": status, "background": background, "model": "m0",
        "output": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "hi", "annotations": []}]}],
        "usage": usage,
    })
    .to_string()
}

fn said(name: &str, number: u64, response: &str) -> String {
    format!(
        "event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number},\"response\":{response}}}\n\n"
    )
}

/// The one call made since the last look, and with which key.
#[track_caller]
fn called(rig: &mut Rig) -> (AttemptId, Call) {
    let mut calls = rig.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    let call = calls.remove(0);
    let attempt = call.attempt;
    rig.on(Input::Sent { attempt });
    (attempt, call)
}

fn key_of(call: &Call) -> String {
    let found = call.headers.iter().find(|(n, _)| n == "authorization");
    found.expect("a key").1.to_string()
}

fn answer(rig: &mut Rig, attempt: AttemptId, status: u16, body: &str) {
    rig.up(attempt, status, &[("content-type", "application/json")]);
    rig.say(attempt, body);
    rig.end(attempt);
}

fn ask(rig: &mut Rig, method: &str, path: &str, query: &str, key: &str) -> ClientId {
    let client = rig.client();
    let head = ClientHead {
        method: Bytes::copy_from_slice(method.as_bytes()),
        query: Bytes::copy_from_slice(query.as_bytes()),
        ..Rig::head(path, &[("authorization", key)])
    };
    rig.on(Input::Head { client, head });
    rig.on(Input::Body {
        client,
        body: Bytes::new(),
    });
    client
}

fn get(rig: &mut Rig, id: &str) -> ClientId {
    ask(
        rig,
        "GET",
        &format!("/v1/responses/{id}"),
        "",
        "Bearer sk-a",
    )
}

/// Creates an answer `id`, and says with which key.
fn created(rig: &mut Rig, body: &str, id: &str, status: &str) -> String {
    rig.ask_with("/v1/responses", body, &[]);
    let (attempt, call) = called(rig);
    let background = body.contains("background");
    answer(rig, attempt, 200, &object(id, status, background));
    key_of(&call)
}

#[test]
fn an_answer_is_asked_for_with_the_key_that_made_it_and_bytes_pass() {
    for kind in ["openai", "xai", "fireworks"] {
        let mut rig = Rig::new(&two_keys(kind, TENANTS));
        let keys: Vec<String> = ["r1", "r2", "r3"]
            .map(|id| created(&mut rig, CREATE, id, "completed"))
            .to_vec();
        assert_ne!(keys[0], keys[1], "keys take turns");
        let rows = rig.rows.len();
        for (id, key) in ["r1", "r2", "r3"].iter().zip(&keys) {
            for (method, below, query) in [
                ("GET", "", "include%5B%5D=x&key=no"),
                ("POST", "/cancel", ""),
                ("GET", "/input_items", "limit=2&order=asc"),
                ("DELETE", "", ""),
            ] {
                let path = format!("/v1/responses/{id}{below}");
                let client = ask(&mut rig, method, &path, query, "Bearer sk-a");
                let (attempt, call) = called(&mut rig);
                let query = query.strip_suffix("&key=no").unwrap_or(query);
                let mark = if query.is_empty() { "" } else { "?" };
                assert!(
                    call.path.ends_with(&format!("{path}{mark}{query}")),
                    "{}",
                    call.path
                );
                assert_eq!((call.method, &key_of(&call)), (method, key));
                assert!(call.body.is_empty());
                answer(&mut rig, attempt, 200, r#"{"strange":  [1.50]}"#);
                let (status, _, text) = rig.told(client);
                assert_eq!((status, &*text), (200, r#"{"strange":  [1.50]}"#));
            }
        }
        assert_eq!(rig.rows.len(), rows, "asks cost nothing and have no rows");
        rig.rests();
    }
}

#[test]
fn a_providers_refusal_passes_and_what_it_forgot_is_forgotten() {
    let mut rig = Rig::new(&two_keys("openai", TENANTS));
    created(&mut rig, CREATE, "r1", "completed");
    let gone = r#"{"error":{"message":"Response with id 'r1' not found.","type":"invalid_request_error","param":null,"code":null}}"#;
    let client = get(&mut rig, "r1");
    let (attempt, _) = called(&mut rig);
    answer(&mut rig, attempt, 404, gone);
    let (status, _, text) = rig.told(client);
    assert_eq!((status, &*text), (404, gone));
    let client = get(&mut rig, "r1");
    let (status, _, text) = rig.told(client);
    assert_eq!(status, 404, "{text}");
    rig.rests();
}

#[test]
fn tenants_never_see_each_others_answers() {
    let mut rig = Rig::of(&two_keys("openai", TENANTS), 2);
    created(&mut rig, CREATE, "r1", "completed");
    let mut words = Vec::new();
    for (id, key) in [
        ("r1", "Bearer sk-b"),
        ("r9", "Bearer sk-b"),
        ("r9", "Bearer sk-a"),
    ] {
        for (method, below) in [
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/cancel"),
            ("GET", "/input_items"),
        ] {
            let path = format!("/v1/responses/{id}{below}");
            let client = ask(&mut rig, method, &path, "", key);
            // What another shard knows would have come by then.
            rig.secs(1);
            let (status, _, text) = rig.told(client);
            assert_eq!(status, 404, "{text}");
            words.push(text.replace(id, "ID"));
        }
    }
    words.iter_mut().for_each(|w| w.truncate(100));
    words.dedup();
    assert_eq!(
        words.len(),
        1,
        "what is another's is as unknown as what is nobody's: {words:?}"
    );
    let body = r#"{"model":"m0","input":"x","previous_response_id":"r1"}"#;
    let client = rig.ask_with("/v1/responses", body, &[("authorization", "Bearer sk-b")]);
    let (status, _, text) = rig.told(client);
    assert_eq!(status, 400);
    assert!(text.contains("previous_response_not_found"), "{text}");
    rig.rests();
}

#[test]
fn what_another_shard_issued_is_known_here_also_after_a_reload() {
    let yaml = two_keys("openai", TENANTS);
    let (mut here, mut there) = (Rig::of(&yaml, 2), Rig::of(&yaml, 2));
    here.ask_with("/v1/responses", CREATE, &[]);
    let (attempt, call) = called(&mut here);
    here.up(attempt, 200, &[("content-type", "application/json")]);
    here.say(attempt, &object("r1", "completed", false));
    here.end(attempt);
    let told: Vec<Gossip> = here
        .take()
        .into_iter()
        .filter_map(|o| match o {
            Output::Tell(gossip) => Some(gossip),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 1);
    there.reload(&yaml.replace("sse_comment: 3s", "sse_comment: 4s"), 5);
    for gossip in told {
        there.on(Input::Gossip(gossip));
    }
    get(&mut there, "r1");
    let (attempt, again) = called(&mut there);
    assert_eq!(key_of(&again), key_of(&call));
    answer(&mut there, attempt, 200, &object("r1", "completed", false));
    there.rests();
}

/// After a restart, or when it was too long ago.
#[test]
fn one_tenant_asks_each_account_until_one_knows() {
    let unknown = r#"{"error":{"message":"not found","type":"invalid_request_error"}}"#;
    for (second, status) in [(200, 200), (404, 404), (400, 400), (503, 503)] {
        let mut rig = Rig::new(&two_keys("openai", ALONE));
        let client = get(&mut rig, "r1");
        let (attempt, first) = called(&mut rig);
        answer(&mut rig, attempt, 404, unknown);
        let (attempt, next) = called(&mut rig);
        assert_ne!(key_of(&first), key_of(&next));
        let body = match second {
            200 => object("r1", "completed", false),
            _ => unknown.to_owned(),
        };
        answer(&mut rig, attempt, second, &body);
        let (told, _, text) = rig.told(client);
        assert_eq!(told, status, "{text}");
        assert_eq!(rig.rows, []);
        rig.rests();
    }
    // Who fails to say is not taken for one who does not know.
    let mut rig = Rig::new(&two_keys("openai", ALONE));
    let client = get(&mut rig, "r1");
    let (attempt, _) = called(&mut rig);
    answer(&mut rig, attempt, 503, unknown);
    let (attempt, _) = called(&mut rig);
    answer(&mut rig, attempt, 404, unknown);
    let (told, ..) = rig.told(client);
    assert_eq!(told, 503);
    rig.rests();
    let mut rig = Rig::new(&one_provider("anthropic", POOL).replace(TENANTS, ALONE));
    let client = get(&mut rig, "r1");
    let (told, _, text) = rig.told(client);
    assert_eq!(told, 404);
    assert!(
        text.contains("no provider of this router keeps answers"),
        "{text}"
    );
}

#[test]
fn an_answer_in_the_background_is_billed_when_its_usage_is_first_seen_and_once() {
    let mut rig = Rig::new(&two_keys("openai", TENANTS));
    created(&mut rig, BACKGROUND, "r1", "queued");
    assert_eq!(rig.rows.len(), 1);
    assert_eq!(rig.rows[0].usage, crate::canon::Usage::default());
    for (status, rows) in [
        ("queued", 1),
        ("in_progress", 1),
        ("completed", 2),
        ("completed", 2),
    ] {
        let client = get(&mut rig, "r1");
        let (attempt, _) = called(&mut rig);
        let body = object("r1", status, true);
        answer(&mut rig, attempt, 200, &body);
        assert_eq!(rig.told(client).2, body);
        assert_eq!(rig.rows.len(), rows, "{status}");
    }
    let bill = &rig.rows[1];
    assert_eq!((&*bill.exchange, bill.attempt, bill.last), ("r1", 1, true));
    assert_eq!(bill.usage.output, Some(crate::base::Tokens(2)));
    // Ten at one dollar a million, two at five.
    assert_eq!(bill.cost, crate::base::NanoUsd(20_000));
    assert_eq!(rig.shard.meters().cost, crate::base::NanoUsd(20_000));
    rig.rests();
}

fn gossip(rig: &mut Rig) -> Vec<Gossip> {
    let told = rig.take().into_iter().filter_map(|o| match o {
        Output::Tell(gossip) => Some(gossip),
        _ => None,
    });
    told.collect()
}

/// The ledger takes the row once; what the shards count between them must not be more.
#[test]
fn what_two_shards_hear_at_once_is_counted_once() {
    let yaml = two_keys("openai", TENANTS);
    let mut rigs = [0, 1].map(|id| Rig::at(&yaml, crate::base::ShardId(id), 2));
    for id in ["r1", "r2"] {
        created(&mut rigs[0], BACKGROUND, id, "queued");
        for news in gossip(&mut rigs[0]) {
            rigs[1].on(Input::Gossip(news));
        }
        // Neither has heard of the other when it sees what the answer cost; of the second only one sees it.
        let seen = if id == "r1" { 0..2 } else { 1..2 };
        for rig in &mut rigs[seen] {
            get(rig, id);
            let (attempt, _) = called(rig);
            answer(rig, attempt, 200, &object(id, "completed", true));
        }
        let [first, second] = &mut rigs;
        let (one, two) = (gossip(first), gossip(second));
        two.into_iter()
            .for_each(|news| first.on(Input::Gossip(news)));
        one.into_iter()
            .for_each(|news| second.on(Input::Gossip(news)));
    }
    let costs = rigs.each_ref().map(|rig| rig.shard.meters().cost.0);
    assert_eq!(costs.iter().sum::<i64>(), 40_000, "{costs:?}");
    let tokens = rigs
        .each_ref()
        .map(|rig| rig.shard.meters().tokens_output.0);
    assert_eq!(tokens.iter().sum::<u64>(), 4, "{tokens:?}");
    rigs.iter().for_each(Rig::rests);
}

/// It was made, and nobody will ever hear what it cost.
#[test]
fn an_answer_that_is_deleted_before_its_bill_is_billed_its_prompt() {
    let mut rig = Rig::new(&two_keys("openai", TENANTS));
    for (id, seen, rows) in [("r1", false, 2), ("r2", true, 4)] {
        created(&mut rig, BACKGROUND, id, "queued");
        if seen {
            get(&mut rig, id);
            let (attempt, _) = called(&mut rig);
            answer(&mut rig, attempt, 200, &object(id, "completed", true));
        }
        let path = format!("/v1/responses/{id}");
        ask(&mut rig, "DELETE", &path, "", "Bearer sk-a");
        let (attempt, _) = called(&mut rig);
        let gone = format!(r#"{{"id":"{id}","object":"response","deleted":true}}"#);
        answer(&mut rig, attempt, 200, &gone);
        assert_eq!(rig.rows.len(), rows, "{id}");
        assert_eq!(rig.rows[rows - 1].usage.estimated, !seen, "{id}");
    }
    rig.rests();
}

/// A foreign body: a row under no name would stand for all of its kind, and the ledger takes a row of one name once.
#[test]
fn an_answer_in_the_background_without_a_name_is_billed_with_its_request() {
    let mut rig = Rig::new(&two_keys("openai", TENANTS));
    for rows in 1..3 {
        rig.ask_with("/v1/responses", BACKGROUND, &[]);
        let (attempt, _) = called(&mut rig);
        let nameless = object("r", "completed", true).replace(r#""id":"r","#, "");
        answer(&mut rig, attempt, 200, &nameless);
        assert_eq!(rig.rows.len(), rows);
        let row = &rig.rows[rows - 1];
        assert_eq!(row.cost, crate::base::NanoUsd(20_000));
        assert!(!row.exchange.is_empty());
    }
    rig.rests();
}

/// The provider has read the prompt, and says nothing of it.
#[test]
fn an_answer_that_is_called_off_is_billed_its_prompt_as_an_estimate() {
    let mut rig = Rig::new(&two_keys("openai", TENANTS));
    created(&mut rig, BACKGROUND, "r1", "queued");
    for _ in 0..2 {
        ask(
            &mut rig,
            "POST",
            "/v1/responses/r1/cancel",
            "",
            "Bearer sk-a",
        );
        let (attempt, _) = called(&mut rig);
        answer(&mut rig, attempt, 200, &object("r1", "cancelled", true));
    }
    assert_eq!(rig.rows.len(), 2);
    let usage = &rig.rows[1].usage;
    assert!(usage.estimated && usage.input_uncached > Some(crate::base::Tokens(0)));
    rig.rests();
}

/// Nothing is remembered then; the ledger takes the row of an id once.
#[test]
fn after_a_restart_the_bill_has_the_same_name() {
    let mut rig = Rig::new(&two_keys("openai", ALONE));
    for rows in [1, 1] {
        get(&mut rig, "r1");
        let (attempt, _) = called(&mut rig);
        answer(&mut rig, attempt, 200, &object("r1", "completed", true));
        assert_eq!(rig.rows.len(), rows);
    }
    assert_eq!((&*rig.rows[0].exchange, rig.rows[0].attempt), ("r1", 1));
    // In the foreground it was billed when it was made.
    get(&mut rig, "r2");
    let (attempt, _) = called(&mut rig);
    answer(&mut rig, attempt, 200, &object("r2", "completed", false));
    assert_eq!(rig.rows.len(), 1);
    rig.rests();
}

#[test]
fn a_stream_is_resumed_where_it_runs_and_billed_by_whoever_hears_its_end() {
    let mut rig = Rig::new(&two_keys("openai", TENANTS));
    let client = rig.ask_with(
        "/v1/responses",
        STREAMED,
        &[("x-stokehold-on-disconnect", "cancel")],
    );
    let (attempt, call) = called(&mut rig);
    rig.stream(attempt);
    let begun = object("r1", "in_progress", true);
    rig.say(attempt, &said("response.created", 0, &begun));
    rig.on(Input::ClientGone { client });
    assert_eq!(rig.rows.len(), 1);
    assert_eq!(
        rig.rows[0].usage,
        crate::canon::Usage::default(),
        "it goes on at the provider"
    );
    let query = "stream=true&starting_after=0";
    let done = said("response.completed", 2, &object("r1", "completed", true));
    let delta = "event: response.output_text.delta\ndata: {\"sequence_number\":1}\n\n";
    for rows in [2, 2] {
        let client = ask(&mut rig, "GET", "/v1/responses/r1", query, "Bearer sk-a");
        let (attempt, again) = called(&mut rig);
        assert!(
            again
                .path
                .ends_with("/v1/responses/r1?stream=true&starting_after=0")
        );
        assert_eq!(key_of(&again), key_of(&call));
        rig.stream(attempt);
        rig.say(attempt, delta);
        rig.say(attempt, &done);
        rig.end(attempt);
        let (status, headers, text) = rig.told(client);
        assert_eq!(status, 200);
        assert!(
            header(&headers, "content-type").is_some_and(|k| k.starts_with("text/event-stream"))
        );
        assert_eq!(text, format!("{delta}{done}"));
        assert_eq!(rig.rows.len(), rows);
    }
    assert_eq!(&*rig.rows[1].exchange, "r1");
    // After the last event nothing comes, which is an answer; a stream that is cut is none.
    let client = ask(&mut rig, "GET", "/v1/responses/r1", query, "Bearer sk-a");
    let (attempt, _) = called(&mut rig);
    rig.stream(attempt);
    rig.end(attempt);
    let whole = |o: &Output| matches!(o, Output::Respond { end: true, .. });
    assert!(rig.out.iter().any(whole), "{:?}", rig.out);
    let (status, headers, text) = rig.told(client);
    assert_eq!((status, &*text), (200, ""));
    assert!(header(&headers, "content-type").is_some_and(|k| k.starts_with("text/event-stream")));
    let client = ask(&mut rig, "GET", "/v1/responses/r1", query, "Bearer sk-a");
    let (attempt, _) = called(&mut rig);
    rig.stream(attempt);
    rig.say(attempt, delta);
    rig.end(attempt);
    let (_, _, text) = rig.told(client);
    assert!(text.contains("event: error"), "{text}");
    rig.rests();
}

#[test]
fn who_hears_a_background_stream_to_its_end_is_billed_then() {
    let mut rig = Rig::new(&two_keys("openai", TENANTS));
    rig.ask_with("/v1/responses", STREAMED, &[]);
    let (attempt, _) = called(&mut rig);
    rig.stream(attempt);
    rig.say(
        attempt,
        &said("response.created", 0, &object("r1", "in_progress", true)),
    );
    rig.say(
        attempt,
        &said("response.completed", 1, &object("r1", "completed", true)),
    );
    rig.end(attempt);
    let costs: Vec<i64> = rig.rows.iter().map(|r| r.cost.0).collect();
    assert_eq!(costs.iter().sum::<i64>(), 20_000, "{costs:?}");
    get(&mut rig, "r1");
    let (attempt, _) = called(&mut rig);
    answer(&mut rig, attempt, 200, &object("r1", "completed", true));
    assert_eq!(rig.rows.len(), 2);
    rig.rests();
}

#[test]
fn an_answer_goes_on_at_the_account_that_keeps_it() {
    let both = |model: &str| {
        format!(
            "server: {{listen: 127.0.0.1:8080, operator: 127.0.0.1:8081, shards: 1}}\n{LIMITS}{TENANTS}\
             providers:\n- {{id: f0, kind: openai, base_url: http://f0.test, pools: [{POOL}]}}\n\
             - {{id: f1, kind: openai, base_url: http://f1.test, pools: [{POOL_1}]}}\n\
             models:\n- {{id: m0, takes: [tools], {TIMEOUTS}, endpoints: [{{provider: f0, name: m0, price: {{input: 2, output: 10}}}}, \
             {{provider: f1, name: m0, {PRICE}}}]}}\n{model}"
        )
    };
    let mut rig = Rig::new(&both(&format!(
        "- {{id: m1, {TIMEOUTS}, endpoints: [{{provider: f1, name: m1, {PRICE}}}]}}\n"
    )));
    // The dearer one, since the client wants it.
    rig.ask_with(
        "/v1/responses",
        CREATE,
        &[("x-stokehold-providers", "order=f0")],
    );
    let (attempt, call) = called(&mut rig);
    answer(&mut rig, attempt, 200, &object("r1", "completed", false));
    let goes_on = r#"{"model":"m0","input":"x","previous_response_id":"r1"}"#;
    for _ in 0..3 {
        rig.ask_with("/v1/responses", goes_on, &[]);
        let (attempt, next) = called(&mut rig);
        assert_eq!(key_of(&next), key_of(&call));
        answer(&mut rig, attempt, 200, &object("r2", "completed", false));
    }
    // Another's failure is no reason to go where nobody knows it.
    rig.ask_with("/v1/responses", goes_on, &[]);
    let (attempt, _) = called(&mut rig);
    rig.refuse(attempt, 503, &[], "");
    rig.secs(1);
    let (attempt, again) = called(&mut rig);
    assert_eq!(key_of(&again), key_of(&call));
    answer(&mut rig, attempt, 200, &object("r3", "completed", false));
    let client = rig.ask_with("/v1/responses", &goes_on.replace("m0", "m1"), &[]);
    let (status, _, text) = rig.told(client);
    assert_eq!(status, 400);
    assert!(text.contains("kept by f0"), "{text}");
    rig.rests();
}

#[test]
fn in_the_background_works_only_who_keeps_answers() {
    for kind in ["anthropic", "gemini", "openrouter"] {
        let mut rig = Rig::new(&one_provider(kind, POOL));
        let client = rig.ask_with("/v1/responses", BACKGROUND, &[]);
        let (status, _, text) = rig.told(client);
        assert_eq!(status, 400, "{kind}: {text}");
        assert!(text.contains("\"param\":\"background\""), "{kind}: {text}");
        rig.rests();
    }
}

#[test]
fn what_shall_not_be_kept_is_not_remembered() {
    let mut rig = Rig::new(&two_keys("openai", TENANTS));
    let body = r#"{"model":"m0","input":"hello","store":false}"#;
    created(&mut rig, body, "r1", "completed");
    let tells = |o: &&Output| matches!(o, Output::Tell(_));
    assert_eq!(rig.out.iter().filter(tells).count(), 0);
    let client = get(&mut rig, "r1");
    assert_eq!(rig.told(client).0, 404);
    rig.rests();
}

/// A key's providers are its providers also for what they keep: what another key of its tenant had made there it cannot fetch.
#[test]
fn a_key_that_may_not_use_a_provider_fetches_nothing_from_it() {
    let tenants = "tenants:\n- {id: a, keys: [{id: a1, secret: sk-a}, {id: a2, secret: sk-else, providers: [other]}]}\n";
    let yaml = two_keys("openai", tenants);
    let other = "- {id: other, kind: anthropic, base_url: \"https://other.example\", pools: [{id: p, keys: [{id: k, secret: sk-x}]}]}\n";
    let at = yaml.find("providers:\n").expect("a section") + "providers:\n".len();
    let yaml = format!("{}{other}{}", &yaml[..at], &yaml[at..]);
    let mut rig = Rig::new(&yaml);
    created(&mut rig, CREATE, "r1", "completed");
    for (method, below) in [("GET", ""), ("POST", "/cancel"), ("DELETE", "")] {
        let client = ask(
            &mut rig,
            method,
            &format!("/v1/responses/r1{below}"),
            "",
            "Bearer sk-else",
        );
        let (told, _, text) = rig.told(client);
        assert_eq!(told, 403, "{text}");
        assert!(text.contains("may not be used with the provider"), "{text}");
    }
    ask(&mut rig, "GET", "/v1/responses/r1", "", "Bearer sk-a");
    let (attempt, _) = called(&mut rig);
    answer(&mut rig, attempt, 200, &object("r1", "completed", false));
}
