//! Prefixes that a provider keeps under a name: made, read, prolonged, listed and deleted; paid when they are made and when they end.

use super::*;
use crate::base::{NanoUsd, Tokens};
use serde_json::{Value, json};

const MAKE: &str = r#"{"model":"models/fast","contents":[{"role":"user","parts":[{"text":"a long book"}]}],"ttl":"3600s"}"#;
const READ: &str = r#"{"contents":[{"role":"user","parts":[{"text":"and now?"}]}],"cachedContent":"cachedContents/c1"}"#;
const USED: &str = r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":4110,"cachedContentTokenCount":4100,"candidatesTokenCount":2,"totalTokenCount":4112},"modelVersion":"gemini-x","responseId":"r1"}"#;
const PRICE_OF: &str = "price: {input: 1, output: 5, cache_read: 0.1, cache_storage_hour: 4.5}";
/// 4,100 tokens read at 1 dollar a million, and kept for an hour at 4.5.
const MADE: NanoUsd = NanoUsd(4_100_000);
const AN_HOUR: NanoUsd = NanoUsd(18_450_000);
const GONE: &str = r#"{"error":{"code":403,"message":"CachedContent not found (or permission denied)","status":"PERMISSION_DENIED"}}"#;

/// What a provider says of a prefix that ends so many seconds after its beginning.
fn object(name: &str, model: &str, seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3_600, seconds % 3_600 / 60);
    format!(
        r#"{{"name":"{name}","model":"{model}","displayName":"book","createTime":"2026-09-21T00:00:00Z","updateTime":"2026-09-21T00:00:00Z","expireTime":"2026-09-21T{hours:02}:{minutes:02}:00Z","usageMetadata":{{"totalTokenCount":4100}}}}"#
    )
}

fn kept(seconds: u64) -> String {
    object("cachedContents/c1", "models/gemini-x", seconds)
}

/// The Gemini API before Vertex AI, and one that keeps nothing; `fast` and `slow` are other models.
fn yaml(tenants: &str, providers: &str) -> String {
    format!(
        "server: {{listen: 127.0.0.1:8080, operator: 127.0.0.1:8081, shards: 1}}\n{LIMITS}{tenants}\
         providers:\n{providers}\
         models:\n\
         - {{id: fast, takes: [tools], endpoints: [{{provider: g, name: gemini-x, {PRICE_OF}}}], {TIMEOUTS}}}\n\
         - {{id: also-fast, endpoints: [{{provider: g, name: gemini-x, {PRICE_OF}}}], {TIMEOUTS}}}\n\
         - {{id: slow, endpoints: [{{provider: g, name: gemini-y, {PRICE_OF}}}], {TIMEOUTS}}}\n"
    )
}

const GEMINI: &str = "- {id: g, kind: gemini, base_url: http://g.test, pools: [{id: p0, keys: [{id: k0, secret: sk-0-end}, {id: k1, secret: sk-1-end}]}]}\n";
const VERTEX: &str = "- {id: g, kind: vertex, base_url: http://g.test, project: p, region: us-east5, pools: [{id: p0, keys: [{id: k0, secret: sk-0-end}]}]}\n";
const ALONE: &str = "tenants: [{id: a, keys: [{id: a1, secret: sk-a}]}]\n";

impl Rig {
    fn google() -> Self {
        Self::new(&yaml(TENANTS, GEMINI))
    }

    /// Makes a prefix as tenant `a`; which key it was made with.
    fn make(&mut self) -> String {
        let client = self.ask_by("POST", "/v1beta/cachedContents", "sk-a", MAKE);
        let (attempt, _, _, key) = self.called();
        self.says(attempt, &kept(3_600));
        assert_eq!(self.json(client).0, 200);
        key
    }

    fn read_by(&mut self, key: &str, model: &str, body: &str) -> ClientId {
        let path = format!("/v1beta/models/{model}:generateContent");
        self.ask_by("POST", &path, key, body)
    }

    /// Status and reason of what is refused without a call.
    #[track_caller]
    fn refused(&mut self, client: ClientId) -> (u16, String) {
        let calls = self.out.iter().filter(|o| matches!(o, Output::Call(_)));
        assert_eq!(calls.count(), 0, "nobody is asked");
        let (status, said) = self.json(client);
        let message = said["error"]["message"].as_str().expect("Google's shape");
        (status, message.to_owned())
    }

    fn gossip(&mut self) -> Vec<Gossip> {
        let told = |o: Output| match o {
            Output::Tell(gossip) => Some(gossip),
            _ => None,
        };
        self.take().into_iter().filter_map(told).collect()
    }

    fn hears(&mut self, news: &[Gossip]) {
        news.iter().for_each(|g| self.on(Input::Gossip(g.clone())));
    }

    fn costs(&self) -> Vec<(&str, NanoUsd)> {
        self.rows.iter().map(|r| (r.decision, r.cost)).collect()
    }
}

#[test]
fn a_prefix_is_made_under_the_providers_model_and_told_under_the_clients() {
    let mut rig = Rig::google();
    let client = rig.ask_by("POST", "/v1beta/cachedContents", "sk-a", MAKE);
    let (attempt, line, body, _) = rig.called();
    assert_eq!(line, "POST /v1beta/cachedContents");
    let sent: Value = serde_json::from_str(&body).expect("JSON");
    let mut wanted: Value = serde_json::from_str(MAKE).expect("JSON");
    wanted["model"] = "models/gemini-x".into();
    assert_eq!(sent, wanted);
    rig.says(attempt, &kept(3_600));
    let (status, told) = rig.json(client);
    assert_eq!((status, &told["name"]), (200, &"cachedContents/c1".into()));
    assert_eq!(told["model"], "models/fast");
    assert_eq!(
        (
            &told["displayName"],
            &told["usageMetadata"]["totalTokenCount"]
        ),
        (&"book".into(), &4_100.into())
    );
    let row = &rig.rows[0];
    assert_eq!(row.usage.input_uncached, Some(Tokens(4_100)));
    assert_eq!(
        (row.cost, row.usage.estimated, &*row.upstream_id),
        (MADE, false, "cachedContents/c1")
    );
    rig.rests();
}

#[test]
fn whoever_names_a_prefix_is_sent_to_who_keeps_it_with_its_key() {
    let mut rig = Rig::google();
    let key = rig.make();
    for path in [
        "/v1beta/models/fast:generateContent",
        "/v1beta/models/also-fast:generateContent",
        "/v1beta/models/fast:countTokens",
        "/v1beta/models/fast:streamGenerateContent?alt=sse",
    ] {
        rig.take();
        let client = rig.ask_by("POST", path, "sk-a", READ);
        let (attempt, line, body, same) = rig.called();
        assert!(line.contains("/v1beta/models/gemini-x:"), "{line}");
        assert_eq!(
            (body.as_str(), &same),
            (READ, &key),
            "bytes pass, with the issuer's key"
        );
        if path.ends_with(":generateContent") {
            rig.says(attempt, USED);
            assert_eq!(rig.json(client).0, 200);
            let row = rig.rows.last().expect("a row");
            // Ten at the full price, 4,100 at a tenth, two of output.
            assert_eq!(row.usage.cache_read, Some(Tokens(4_100)));
            assert_eq!(row.cost, NanoUsd(10_000 + 410_000 + 10_000));
        }
    }
}

#[test]
fn keeping_a_prefix_is_paid_once_when_it_ends_by_itself() {
    let mut rig = Rig::google();
    rig.make();
    rig.secs(3_599);
    assert_eq!(rig.rows.len(), 1, "its time has not come");
    rig.secs(1);
    assert_eq!(rig.costs()[1..], [("cache storage", AN_HOUR)]);
    let row = &rig.rows[1];
    assert_eq!(
        (&*row.exchange, row.total),
        ("cachedContents/c1", Duration::from_secs(3_600))
    );
    assert_eq!((row.usage.estimated, row.last), (false, true));
    rig.take();
    let client = rig.read_by("sk-a", "fast", READ);
    let (status, message) = rig.refused(client);
    assert!(
        status == 404 && message.contains("has expired"),
        "{message}"
    );
    let client = rig.ask_by("GET", "/v1beta/cachedContents/c1", "sk-a", "");
    assert_eq!(rig.refused(client).0, 404);
    rig.secs(8_000);
    assert_eq!(rig.rows.len(), 2);
    assert_eq!(
        rig.shard.next_timer(),
        None,
        "nothing is remembered any more"
    );
    assert_eq!(rig.shard.meters().cost, MADE + AN_HOUR);
    rig.rests();
}

#[test]
fn a_prefix_that_is_deleted_is_paid_for_the_time_that_it_was_kept() {
    let mut rig = Rig::google();
    let key = rig.make();
    rig.secs(1_800);
    rig.take();
    let client = rig.ask_by("DELETE", "/v1beta/cachedContents/c1", "sk-a", "");
    let (attempt, line, body, same) = rig.called();
    assert_eq!(
        (&*line, &*body, same),
        ("DELETE /v1beta/cachedContents/c1", "", key)
    );
    rig.says(attempt, "{}");
    assert_eq!(rig.json(client), (200, json!({})));
    let half = NanoUsd(AN_HOUR.0 / 2);
    let stored: Vec<_> = rig
        .costs()
        .into_iter()
        .filter(|(why, _)| *why == "cache storage")
        .collect();
    assert_eq!(stored, [("cache storage", half)]);
    for path in ["/v1beta/cachedContents/c1", "/v1beta/cachedContents/other"] {
        let client = rig.ask_by("GET", path, "sk-a", "");
        assert_eq!(rig.refused(client).0, 404);
    }
    rig.secs(10_000);
    let all: i64 = rig.rows.iter().map(|row| row.cost.0).sum();
    assert_eq!(all, MADE.0 + half.0, "once");
    rig.rests();
}

#[test]
fn a_change_of_the_time_prolongs_what_is_paid() {
    let mut rig = Rig::google();
    rig.make();
    rig.secs(600);
    rig.take();
    let path = "/v1beta/cachedContents/c1?updateMask=ttl";
    let client = rig.ask_by(
        "PATCH",
        path,
        "sk-a",
        r#"{"name":"cachedContents/c1","ttl":"6600s"}"#,
    );
    let (attempt, line, body, _) = rig.called();
    assert_eq!(line, "PATCH /v1beta/cachedContents/c1?updateMask=ttl");
    assert_eq!(
        serde_json::from_str::<Value>(&body).expect("JSON"),
        json!({"ttl": "6600s"})
    );
    rig.says(attempt, &kept(7_200));
    let (status, told) = rig.json(client);
    assert_eq!((status, &told["model"]), (200, &"models/fast".into()));
    rig.secs(6_599);
    assert!(rig.costs().iter().all(|(why, _)| *why != "cache storage"));
    rig.secs(1);
    assert_eq!(
        rig.costs().last(),
        Some(&("cache storage", NanoUsd(2 * AN_HOUR.0)))
    );
    // Nothing else of it can be changed.
    let client = rig.ask_by(
        "PATCH",
        "/v1beta/cachedContents/c1",
        "sk-a",
        r#"{"displayName":"x"}"#,
    );
    assert_eq!(rig.refused(client).0, 400);
    rig.rests();
}

#[test]
fn another_tenants_prefix_is_nobodys() {
    let mut rig = Rig::google();
    rig.make();
    rig.take();
    for (method, body) in [("GET", ""), ("DELETE", ""), ("PATCH", r#"{"ttl":"9s"}"#)] {
        let client = rig.ask_by(method, "/v1beta/cachedContents/c1", "sk-b", body);
        let (status, message) = rig.refused(client);
        let client = rig.ask_by(method, "/v1beta/cachedContents/never", "sk-b", body);
        assert_eq!(
            (status, &message),
            (404, &rig.refused(client).1),
            "the same words"
        );
    }
    let client = rig.read_by("sk-b", "fast", READ);
    assert_eq!(rig.refused(client).0, 404);
    let client = rig.ask_by("GET", "/v1beta/cachedContents", "sk-b", "");
    assert_eq!(rig.json(client), (200, json!({})));
    assert_eq!(rig.rows.len(), 1);
    rig.rests();
}

#[test]
fn a_prefix_of_another_model_and_what_is_no_name_are_refused() {
    let mut rig = Rig::google();
    rig.make();
    rig.take();
    let client = rig.read_by("sk-a", "slow", READ);
    let (status, message) = rig.refused(client);
    assert_eq!(status, 400);
    assert!(
        message.contains("(models/slow) and CachedContent (models/fast) has to be the same"),
        "{message}"
    );
    let client = rig.read_by(
        "sk-a",
        "fast",
        &READ.replace("cachedContents/c1", "models/x"),
    );
    assert_eq!(rig.refused(client).0, 400);
    let client = rig.ask_by("PUT", "/v1beta/cachedContents/c1", "sk-a", "");
    assert_eq!(rig.refused(client).0, 405);
    for body in [
        "{}",
        r#"{"model":"models/none"}"#,
        r#"{"model":"models/fast","ttl":"long"}"#,
    ] {
        let client = rig.ask_by("POST", "/v1beta/cachedContents", "sk-a", body);
        assert!(matches!(rig.refused(client).0, 400 | 404), "{body}");
    }
    rig.rests();
}

#[test]
fn a_list_has_the_tenants_own_page_by_page() {
    let mut rig = Rig::google();
    for n in 1..=3 {
        rig.secs(1);
        rig.take();
        rig.ask_by("POST", "/v1beta/cachedContents", "sk-a", MAKE);
        let (attempt, ..) = rig.called();
        rig.says(
            attempt,
            &object(&format!("cachedContents/c{n}"), "models/gemini-x", 3_600),
        );
    }
    let names = |said: &Value| -> Vec<String> {
        let list = said["cachedContents"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        list.iter()
            .map(|c| c["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    rig.take();
    let client = rig.ask_by("GET", "/v1beta/cachedContents?pageSize=2", "sk-a", "");
    let (_, first) = rig.json(client);
    assert_eq!(names(&first), ["cachedContents/c1", "cachedContents/c2"]);
    assert_eq!(first["cachedContents"][0]["model"], "models/fast");
    let token = first["nextPageToken"].as_str().expect("more");
    let path = format!("/v1beta/cachedContents?pageSize=2&pageToken={token}");
    let client = rig.ask_by("GET", &path, "sk-a", "");
    let (_, second) = rig.json(client);
    assert_eq!(
        (names(&second), second.get("nextPageToken")),
        (vec!["cachedContents/c3".to_owned()], None)
    );
    for wrong in ["pageToken=7", "pageSize=-1"] {
        let client = rig.ask_by(
            "GET",
            &format!("/v1beta/cachedContents?{wrong}"),
            "sk-a",
            "",
        );
        assert_eq!(rig.refused(client).0, 400);
    }
    rig.secs(3_600);
    let client = rig.ask_by("GET", "/v1beta/cachedContents", "sk-a", "");
    assert_eq!(
        rig.json(client).1,
        json!({}),
        "what has ended is not listed"
    );
    rig.rests();
}

#[test]
fn clients_of_google_cloud_are_told_their_own_project_whoever_keeps_it() {
    let root = "projects/mine/locations/europe-west4";
    let upstream = "projects/77/locations/us-east5/cachedContents/9";
    for (providers, path, upstream, model) in [
        (
            GEMINI,
            "/v1beta/cachedContents",
            "cachedContents/9",
            "models/gemini-x",
        ),
        (
            VERTEX,
            "/v1/projects/p/locations/us-east5/cachedContents",
            upstream,
            "projects/p/locations/us-east5/publishers/google/models/gemini-x",
        ),
    ] {
        let mut rig = Rig::new(&yaml(TENANTS, providers));
        let make = MAKE.replace(
            "models/fast",
            &format!("{root}/publishers/google/models/fast"),
        );
        let client = rig.ask_by(
            "POST",
            &format!("/v1beta1/{root}/cachedContents"),
            "sk-a",
            &make,
        );
        let (attempt, line, body, _) = rig.called();
        assert_eq!(line, format!("POST {path}"));
        let sent: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(sent["model"], model);
        rig.says(attempt, &object(upstream, model, 3_600));
        let (_, told) = rig.json(client);
        let name = format!("{root}/cachedContents/9");
        assert_eq!(told["name"], *name);
        assert_eq!(
            told["model"],
            format!("{root}/publishers/google/models/fast")
        );
        // Read by either name, from either door, it is the provider's own.
        for name in [&*name, "cachedContents/9", "9"] {
            let read = READ.replace("cachedContents/c1", name);
            rig.read_by("sk-a", "fast", &read);
            let (_, _, body, _) = rig.called();
            assert_eq!(body, READ.replace("cachedContents/c1", upstream));
        }
        let client = rig.ask_by("GET", "/v1beta/cachedContents", "sk-a", "");
        let (_, list) = rig.json(client);
        assert_eq!(list["cachedContents"][0]["name"], "cachedContents/9");
    }
}

#[test]
fn the_pin_outlives_a_reload_and_ends_with_its_endpoint() {
    let mut rig = Rig::google();
    let key = rig.make();
    let more = "- {id: e, kind: openai, base_url: http://e.test, pools: [{id: q, keys: [{id: k9, secret: x}]}]}\n";
    rig.reload(&yaml(TENANTS, &format!("{more}{GEMINI}")), 2);
    for _ in 0..3 {
        rig.take();
        rig.read_by("sk-a", "fast", READ);
        assert_eq!(rig.called().3, key);
    }
    let other = GEMINI
        .replace("id: k0", "id: k2")
        .replace("id: k1", "id: k3");
    rig.reload(&yaml(TENANTS, &other), 3);
    let client = rig.read_by("sk-a", "fast", READ);
    let (status, message) = rig.refused(client);
    assert!(
        status == 404 && message.contains("this router has no more"),
        "{message}"
    );
    // What it was begun under is what it is paid by.
    rig.secs(3_600);
    let row = rig
        .rows
        .iter()
        .find(|row| row.decision == "cache storage")
        .expect("a row");
    assert_eq!((row.cost, row.under.0.generation), (AN_HOUR, 0));
}

#[test]
fn all_shards_know_a_prefix_and_its_row_is_written_once() {
    let mut here = Rig::of(&yaml(TENANTS, GEMINI), 2);
    let mut there = Rig::at(&yaml(TENANTS, GEMINI), ShardId(1), 2);
    let client = here.ask_by("POST", "/v1beta/cachedContents", "sk-a", MAKE);
    let (attempt, _, _, key) = here.called();
    here.says(attempt, &kept(3_600));
    let told = here.take();
    let at = |wanted: &dyn Fn(&Output) -> bool| told.iter().position(wanted);
    let news = at(&|o| matches!(o, Output::Tell(_)));
    let answer = at(&|o| matches!(o, Output::Respond { client: c, .. } if *c == client));
    assert!(
        news < answer,
        "others hear of it before its client can ask them"
    );
    // One that asks before the news is there waits for it.
    let early = there.read_by("sk-a", "fast", READ);
    assert!(there.calls().is_empty());
    let news: Vec<Gossip> = told
        .into_iter()
        .filter_map(|o| match o {
            Output::Tell(gossip) => Some(gossip),
            _ => None,
        })
        .collect();
    there.hears(&news);
    there.later(Duration::from_millis(100));
    let (attempt, _, _, same) = there.called();
    assert_eq!(same, key);
    there.says(attempt, USED);
    assert_eq!(there.json(early).0, 200);
    let nobody = there.read_by("sk-b", "fast", READ);
    there.later(Duration::from_millis(100));
    assert_eq!(there.refused(nobody).0, 404);
    here.pass(there.now.instant.since(here.now.instant));
    // Prolonged by one, deleted by the other.
    there.ask_by(
        "PATCH",
        "/v1beta/cachedContents/c1",
        "sk-a",
        r#"{"ttl":"7200s"}"#,
    );
    let (attempt, ..) = there.called();
    there.says(attempt, &kept(7_200));
    here.hears(&there.gossip());
    here.secs(3_600);
    there.secs(3_600);
    assert_eq!(here.rows.len(), 1, "it lives on");
    there.take();
    there.ask_by("DELETE", "/v1beta/cachedContents/c1", "sk-a", "");
    let (attempt, ..) = there.called();
    there.says(attempt, "{}");
    here.hears(&there.gossip());
    here.secs(9_000);
    there.secs(9_000);
    let stored = |rig: &Rig| {
        rig.rows
            .iter()
            .filter(|r| r.decision == "cache storage")
            .count()
    };
    assert_eq!((stored(&here), stored(&there)), (0, 1));
    let row = there
        .rows
        .iter()
        .find(|r| r.decision == "cache storage")
        .expect("a row");
    assert_eq!(row.total.as_secs(), 3_600);
}

#[test]
fn two_shards_that_both_see_the_end_count_it_once() {
    let mut here = Rig::of(&yaml(TENANTS, GEMINI), 2);
    let mut there = Rig::at(&yaml(TENANTS, GEMINI), ShardId(1), 2);
    here.make_quietly();
    there.hears(&here.gossip());
    for rig in [&mut here, &mut there] {
        rig.secs(1_800);
        rig.take();
        rig.ask_by("DELETE", "/v1beta/cachedContents/c1", "sk-a", "");
        let (attempt, ..) = rig.called();
        rig.says(attempt, "{}");
    }
    let (first, second) = (here.gossip(), there.gossip());
    there.hears(&first);
    here.hears(&second);
    let rows: Vec<_> = [&here, &there]
        .iter()
        .flat_map(|rig| rig.rows.iter().filter(|r| r.decision == "cache storage"))
        .map(|row| (row.exchange.clone(), row.attempt, row.cost))
        .collect();
    assert!(
        rows.len() == 2 && rows[0] == rows[1],
        "the ledger takes one: {rows:?}"
    );
    let half = NanoUsd(AN_HOUR.0 / 2);
    let counted = here.shard.meters().cost + there.shard.meters().cost;
    // What was counted twice is taken out of what is counted next.
    assert_eq!(counted, MADE + half + half);
    there.chat_of_google();
    let counted = here.shard.meters().cost + there.shard.meters().cost;
    assert!(
        counted < MADE + half + half + NanoUsd(430_000),
        "{counted:?}"
    );
}

impl Rig {
    fn make_quietly(&mut self) {
        self.ask_by("POST", "/v1beta/cachedContents", "sk-a", MAKE);
        let (attempt, ..) = self.called();
        self.says(attempt, &kept(3_600));
    }

    /// An answer that costs something.
    fn chat_of_google(&mut self) {
        self.take();
        self.read_by(
            "sk-a",
            "fast",
            &READ.replace(r#","cachedContent":"cachedContents/c1""#, ""),
        );
        let (attempt, ..) = self.called();
        self.says(attempt, USED);
    }
}

#[test]
fn one_that_stops_writes_what_was_promised_as_an_estimate() {
    let mut rig = Rig::google();
    rig.make();
    rig.secs(60);
    let mut lost = Vec::new();
    rig.shard.interrupted(rig.now, &mut lost);
    let row = match &lost[..] {
        [Output::Post(Mail::Ledger(row))] => row.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((row.cost, row.usage.estimated), (AN_HOUR, true));
    rig.on(Input::Drain);
    assert_eq!(rig.costs()[1..], [("cache storage", AN_HOUR)]);
    assert!(rig.rows[1].usage.estimated);
    rig.secs(8_000);
    assert_eq!(rig.rows.len(), 2);
    rig.rests();
}

#[test]
fn a_full_table_lets_the_oldest_go_and_writes_its_row() {
    let small = yaml(TENANTS, GEMINI).replace("limits: {", "limits: {issued_max: 1, ");
    let mut rig = Rig::new(&small);
    rig.make();
    rig.take();
    rig.ask_by("POST", "/v1beta/cachedContents", "sk-a", MAKE);
    let (attempt, ..) = rig.called();
    rig.says(
        attempt,
        &object("cachedContents/c2", "models/gemini-x", 3_600),
    );
    let row = rig
        .rows
        .iter()
        .find(|r| r.decision == "cache storage")
        .expect("a row");
    assert_eq!(
        (&*row.exchange, row.cost, row.usage.estimated),
        ("cachedContents/c1", AN_HOUR, true)
    );
    rig.take();
    let client = rig.read_by("sk-a", "fast", READ);
    assert_eq!(rig.refused(client).0, 404);
    rig.secs(3_600);
    assert_eq!(rig.rows.len(), 4);
}

#[test]
fn rows_wait_for_room_in_the_ledger() {
    let mut rig = Rig::google();
    rig.make();
    rig.on(Input::LedgerRoom(0));
    rig.secs(3_610);
    assert_eq!(rig.rows.len(), 1);
    rig.on(Input::LedgerRoom(5));
    rig.secs(1);
    assert_eq!(rig.costs()[1..], [("cache storage", AN_HOUR)]);
}

#[test]
fn what_its_provider_knows_no_more_kills_no_key_and_has_ended() {
    let mut rig = Rig::google();
    let key = rig.make();
    rig.take();
    let client = rig.read_by("sk-a", "fast", READ);
    let attempt = rig.call();
    rig.refuse(attempt, 403, &[("content-type", "application/json")], GONE);
    let (status, said) = rig.json(client);
    assert_eq!(
        (status, &said["error"]["status"]),
        (403, &"PERMISSION_DENIED".into()),
        "its own words"
    );
    rig.secs(900);
    let client = rig.ask_by("GET", "/v1beta/cachedContents/c1", "sk-a", "");
    let (attempt, _, _, same) = rig.called();
    assert_eq!(same, key, "the key lives");
    rig.refuse(attempt, 404, &[("content-type", "application/json")], GONE);
    assert_eq!(rig.json(client).0, 404);
    let row = rig
        .rows
        .iter()
        .find(|r| r.decision == "cache storage")
        .expect("a row");
    assert_eq!((row.total.as_secs(), row.usage.estimated), (900, true));
    let client = rig.read_by("sk-a", "fast", READ);
    assert_eq!(rig.refused(client).0, 404);
    rig.rests();
}

#[test]
fn after_a_restart_the_only_tenant_finds_his_prefixes_again() {
    let mut rig = Rig::new(&yaml(ALONE, GEMINI));
    let client = rig.ask_by("GET", "/v1beta/cachedContents/c1", "sk-a", "");
    let (attempt, line, _, key) = rig.called();
    assert_eq!(line, "GET /v1beta/cachedContents/c1");
    // It is 14:13 there.
    let living = kept(3_600).replace("T00:", "T14:").replace("T01:", "T15:");
    rig.says(attempt, &living);
    assert_eq!(rig.json(client).1["model"], "models/fast");
    for _ in 0..2 {
        rig.take();
        rig.read_by("sk-a", "fast", READ);
        assert_eq!(rig.called().3, key, "known again");
    }
    rig.secs(3_600);
    assert_eq!(
        rig.costs().last(),
        Some(&("cache storage", AN_HOUR)),
        "from its beginning"
    );
    let mut rig = Rig::new(&yaml(ALONE, GEMINI));
    rig.read_by("sk-a", "fast", READ);
    assert_eq!(
        rig.called().2,
        READ,
        "it goes where it goes, and is refused there"
    );
}

#[test]
fn a_prefix_is_made_though_its_client_leaves() {
    let mut rig = Rig::google();
    let client = rig.ask_by("POST", "/v1beta/cachedContents", "sk-b", MAKE);
    let (attempt, ..) = rig.called();
    rig.on(Input::ClientGone { client });
    assert!(!rig.take().contains(&Output::Cancel { attempt }));
    rig.says(attempt, &kept(3_600));
    rig.take();
    let client = rig.ask_by("GET", "/v1beta/cachedContents", "sk-b", "");
    assert_eq!(
        rig.json(client).1["cachedContents"][0]["name"],
        "cachedContents/c1"
    );
    rig.secs(3_600);
    assert_eq!(rig.costs(), [("only", MADE), ("cache storage", AN_HOUR)]);
    rig.rests();
}

#[test]
fn who_may_spend_less_makes_none() {
    let mut rig = Rig::google();
    let client = rig.client();
    let head = Rig::head(
        "/v1beta/cachedContents",
        &[("x-stokehold-max-cost-usd", "0.00001")],
    );
    rig.on(Input::Head { client, head });
    let body = Bytes::from(MAKE.replace("3600s", "36000000s"));
    rig.on(Input::Body { client, body });
    assert_eq!(rig.refused(client).0, 400);
    rig.rests();
}

#[test]
fn a_provider_that_keeps_none_is_not_asked() {
    let other = "- {id: g, kind: openrouter, base_url: http://g.test, pools: [{id: p0, keys: [{id: k0, secret: sk-0-end}]}]}\n";
    let mut rig = Rig::new(&yaml(TENANTS, other));
    let client = rig.ask_by("POST", "/v1beta/cachedContents", "sk-a", MAKE);
    let (status, message) = rig.refused(client);
    assert!(
        status == 400 && message.contains("keeps no prefixes"),
        "{message}"
    );
    assert!(rig.rows.is_empty());
    rig.rests();
}

#[test]
fn keeping_a_prefix_is_spent_of_its_tenants_day() {
    // More than making it costs, and less than both.
    let tenants = TENANTS.replace("{id: a,", "{id: a, limits: {usd_per_day: 0.01},");
    let mut rig = Rig::new(&yaml(&tenants, GEMINI));
    rig.make();
    let client = rig.ask_by("GET", "/v1beta/cachedContents", "sk-a", "");
    assert_eq!(rig.json(client).0, 200, "there is money left");
    rig.secs(3_600);
    rig.take();
    let client = rig.ask_by("GET", "/v1beta/cachedContents", "sk-a", "");
    let (status, message) = rig.refused(client);
    assert!(status == 429 && message.contains("spent"), "{message}");
    rig.rests();
}
