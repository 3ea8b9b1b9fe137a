//! Jobs that make video: started by one request, asked about by many, billed once.

use super::*;
use crate::base::NanoUsd;
use crate::canon::FaultClass;
use serde_json::Value;

const JOB: &str =
    r#"{"instances":[{"prompt":"a cat"}],"parameters":{"durationSeconds":6,"resolution":"1080p"}}"#;
const BEGUN: &str = r#"{"name":"models/veo-3/operations/op1"}"#;
const HALF: &str = r#"{"name":"models/veo-3/operations/op1","metadata":{"progressPercent":50}}"#;
const DONE: &str = r#"{"name":"models/veo-3/operations/op1","done":true,"response":{"generateVideoResponse":{"generatedSamples":[{"video":{"uri":"https://g.test/v1beta/files/file1:download?alt=media"}}]}}}"#;
const FAILED: &str = r#"{"name":"models/veo-3/operations/op1","done":true,"error":{"code":13,"message":"broken camera"}}"#;
const WITHHELD: &str = r#"{"name":"models/veo-3/operations/op1","done":true,"response":{"generateVideoResponse":{"raiMediaFilteredCount":1,"raiMediaFilteredReasons":["not nice"]}}}"#;
const CLOUD: &str = "projects/p/locations/us-east5/publishers/google/";

fn yaml(kind: &str, more: &str) -> String {
    format!(
        "server: {{listen: 127.0.0.1:8080, operator: 127.0.0.1:8081, shards: 1}}\n{LIMITS}{TENANTS}\
         video: {{poll: 10s, wait: 10m}}\n\
         providers:\n- {{id: f0, kind: {kind}, base_url: http://f0.test, {more}pools: [{{id: p0, keys: [{{id: k0, secret: sk-0-end}}, {{id: k1, secret: sk-1-end}}]}}]}}\n\
         models:\n\
         - {{id: veo, takes: [images, video], gives: [video], {TIMEOUTS}, endpoints: [{{provider: f0, name: veo-3, price: {{input: 0, output: 0, video_second: [{{resolution: 720p, usd: 0.1}}, {{resolution: 1080p, usd: 0.4}}]}}}}]}}\n\
         - {{id: m0, endpoints: [{{provider: f0, name: m0, {PRICE}}}], {TIMEOUTS}}}\n"
    )
}

impl Rig {
    fn films(kind: &str) -> Self {
        let more = match kind {
            "vertex" => "project: p, region: us-east5, ",
            _ => "",
        };
        Self::new(&yaml(kind, more))
    }

    pub(super) fn ask_by(&mut self, method: &str, path: &str, key: &str, body: &str) -> ClientId {
        let client = self.client();
        let bearer = format!("Bearer {key}");
        let shown = [("authorization", &*bearer), ("host", "us.test")];
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut head = Self::head(path, &shown);
        head.method = Bytes::copy_from_slice(method.as_bytes());
        head.query = Bytes::copy_from_slice(query.as_bytes());
        self.on(Input::Head { client, head });
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.on(Input::Body { client, body });
        client
    }

    /// The one call made since the last look, with its method, path, body and key.
    #[track_caller]
    pub(super) fn called(&mut self) -> (AttemptId, String, String, String) {
        let calls = self.calls();
        let [call] = &calls[..] else {
            panic!("{calls:?}")
        };
        let attempt = call.attempt;
        self.on(Input::Sent { attempt });
        let key = call.headers.iter().find(|(_, v)| v.contains("-end"));
        (
            attempt,
            format!("{} {}", call.method, call.path),
            String::from_utf8(call.body.concat()).expect("text"),
            key.map_or(String::new(), |(_, v)| v.to_string()),
        )
    }

    /// The provider answers with this JSON.
    pub(super) fn says(&mut self, attempt: AttemptId, body: &str) {
        self.up(attempt, 200, &[("content-type", "application/json")]);
        self.say(attempt, body);
        self.end(attempt);
    }

    /// Starts a job as a client of Gemini; which key it was started with.
    fn film(&mut self) -> (ClientId, String) {
        let client = self.ask_by("POST", "/v1beta/models/veo:predictLongRunning", "sk-a", JOB);
        let (attempt, _, _, key) = self.called();
        self.says(attempt, BEGUN);
        (client, key)
    }

    pub(super) fn json(&mut self, client: ClientId) -> (u16, Value) {
        let (status, _, body) = self.told(client);
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }
}

#[test]
fn a_job_has_one_row_with_the_seconds_that_were_made_though_nobody_comes_back() {
    let mut rig = Rig::films("gemini");
    let client = rig.ask_by("POST", "/v1beta/models/veo:predictLongRunning", "sk-a", JOB);
    let (attempt, line, body, key) = rig.called();
    assert_eq!(line, "POST /v1beta/models/veo-3:predictLongRunning");
    assert_eq!(body, JOB, "bytes pass");
    rig.says(attempt, BEGUN);
    let (status, said) = rig.json(client);
    assert_eq!(
        (status, &said["name"]),
        (200, &"models/veo/operations/op1".into())
    );
    assert!(rig.rows.is_empty(), "what it costs is not known yet");
    for told in [HALF, HALF, DONE] {
        rig.secs(9);
        assert!(rig.calls().is_empty(), "not before its time");
        rig.secs(1);
        let (attempt, line, _, same) = rig.called();
        assert_eq!(
            (&*line, &same),
            ("GET /v1beta/models/veo-3/operations/op1", &key)
        );
        rig.says(attempt, told);
    }
    let row = &rig.rows[0];
    assert_eq!(
        (row.usage.output_video_millis, row.cost),
        (Some(6_000), NanoUsd(2_400_000_000))
    );
    assert_eq!(
        (row.outcome, row.attempt, row.usage.estimated),
        (Outcome::Done, 1, false)
    );
    assert_eq!(&*row.upstream_id, "models/veo-3/operations/op1");
    assert_eq!((rig.rows.len(), rig.shard.meters().video_questions), (1, 3));
    rig.secs(100);
    assert!(rig.calls().is_empty());
    rig.rests();
}

#[test]
fn whoever_asks_is_told_under_his_own_name_and_fetches_the_file_through_us() {
    let mut rig = Rig::films("gemini");
    let (_, key) = rig.film();
    // The other key's turn has come; the job is the first one's.
    for said in [HALF, DONE] {
        rig.take();
        let client = rig.ask_by("GET", "/v1beta/models/veo/operations/op1", "sk-a", "");
        let (attempt, line, _, same) = rig.called();
        assert_eq!(
            (&*line, &same),
            ("GET /v1beta/models/veo-3/operations/op1", &key)
        );
        rig.says(attempt, said);
        let (status, told) = rig.json(client);
        assert_eq!(
            (status, &told["name"]),
            (200, &"models/veo/operations/op1".into())
        );
        if said == DONE {
            let samples = &told["response"]["generateVideoResponse"]["generatedSamples"];
            assert_eq!(
                samples[0]["video"]["uri"],
                "http://us.test/v1beta/files/file1:download?alt=media"
            );
        }
    }
    let client = rig.ask_by("GET", "/v1beta/files/file1:download?alt=media", "sk-a", "");
    let (attempt, line, _, same) = rig.called();
    assert_eq!(
        (&*line, &same),
        ("GET /v1beta/files/file1:download?alt=media", &key)
    );
    rig.up(attempt, 200, &[("content-type", "video/mp4")]);
    rig.say(attempt, "some");
    rig.on(Input::Congested { client });
    assert!(rig.take().contains(&Output::Pause { attempt }));
    rig.on(Input::Eased { client });
    rig.say(attempt, "thing");
    rig.end(attempt);
    let (_, _, body) = rig.told(client);
    assert_eq!(body, "thing", "the first part was told already");
    let free = rig
        .rows
        .iter()
        .all(|row| row.cost == NanoUsd::ZERO && row.outcome == Outcome::Done);
    assert!(rig.rows.len() == 3 && free, "{:?}", rig.rows);
    rig.secs(10);
    let (attempt, ..) = rig.called();
    rig.says(attempt, DONE);
    assert_eq!(rig.rows[3].cost, NanoUsd(2_400_000_000));
    rig.rests();
}

#[test]
fn a_file_that_breaks_off_is_never_taken_for_whole() {
    let mut rig = Rig::films("gemini");
    rig.film();
    let client = rig.ask_by("GET", "/v1beta/files/x:download", "sk-a", "");
    // Two tenants, and nobody knows the file.
    assert_eq!(rig.json(client).0, 404);
    let mut rig = Rig::new(&yaml("gemini", "").replace(
        TENANTS,
        "tenants: [{id: a, keys: [{id: a1, secret: sk-a}]}]\n",
    ));
    let client = rig.ask_by("GET", "/v1beta/files/x:download", "sk-a", "");
    let (attempt, ..) = rig.called();
    rig.up(attempt, 200, &[("content-type", "video/mp4")]);
    rig.say(attempt, "some");
    rig.secs(1);
    rig.on(Input::UpstreamFailed {
        attempt,
        why: UpstreamFault::Reset,
    });
    let out = rig.take();
    assert!(out.contains(&Output::Abort { client }), "{out:?}");
    let writes = out.iter().filter(|o| matches!(o, Output::Write { .. }));
    assert_eq!(writes.count(), 0, "no event of ours among a file's bytes");
    rig.rests();
}

#[test]
fn what_lies_elsewhere_is_fetched_with_the_key_at_home_alone() {
    let mut rig = Rig::new(&yaml("gemini", "").replace(
        TENANTS,
        "tenants: [{id: a, keys: [{id: a1, secret: sk-a}]}]\n",
    ));
    let client = rig.ask_by("GET", "/v1beta/files/x:download", "sk-a", "");
    let (attempt, _, _, key) = rig.called();
    rig.up(
        attempt,
        302,
        &[("location", "http://f0.test/download/x?alt=media")],
    );
    let (attempt, line, _, same) = rig.called();
    assert_eq!((&*line, same), ("GET /download/x?alt=media", key));
    rig.up(attempt, 302, &[("location", "https://elsewhere.test/x")]);
    let (status, headers, _) = rig.told(client);
    assert_eq!(
        (status, header(&headers, "location")),
        (302, Some("https://elsewhere.test/x"))
    );
    rig.rests();
}

#[test]
fn another_tenants_job_is_nobodys() {
    let mut rig = Rig::films("gemini");
    rig.film();
    for path in [
        "/v1beta/models/veo/operations/op1",
        "/v1beta/models/veo/operations/unknown",
        "/v1beta/operations/op1",
    ] {
        rig.take();
        let client = rig.ask_by("GET", path, "sk-b", "");
        assert_eq!(rig.json(client).0, 404, "{path}");
        assert!(rig.calls().is_empty());
    }
    let client = rig.ask_by("GET", "/v1beta/operations/op1", "sk-a", "");
    let (attempt, ..) = rig.called();
    rig.says(attempt, HALF);
    assert_eq!(rig.json(client).1["name"], "operations/op1");
}

#[test]
fn nothing_made_costs_nothing() {
    for (said, class) in [
        (FAILED, FaultClass::Internal),
        (WITHHELD, FaultClass::ContentPolicy),
    ] {
        let mut rig = Rig::films("gemini");
        rig.film();
        rig.secs(10);
        let (attempt, ..) = rig.called();
        rig.says(attempt, said);
        let row = &rig.rows[0];
        assert!(
            matches!(row.outcome, Outcome::Failed(_)),
            "{class:?}: {row:?}"
        );
        assert_eq!(
            (row.usage.output_video_millis, row.cost),
            (Some(0), NanoUsd::ZERO)
        );
        rig.rests();
    }
}

#[test]
fn who_waits_natively_hears_of_progress_and_is_told_where_the_video_is() {
    let mut rig = Rig::films("gemini");
    let ask = r#"{"model":"veo","input":"a cat","video":{"seconds":6,"resolution":"720p"}}"#;
    let client = rig.ask_by("POST", "/api/v1/stream", "sk-a", ask);
    let (attempt, _, body, _) = rig.called();
    let asked: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (
            &asked["instances"][0]["prompt"],
            &asked["parameters"]["durationSeconds"]
        ),
        (&"a cat".into(), &6.into())
    );
    rig.says(attempt, BEGUN);
    let (status, _, begun) = rig.told(client);
    assert!(
        status == 200 && begun.contains("response.created"),
        "{begun}"
    );
    for said in [HALF, HALF] {
        rig.secs(10);
        let (attempt, ..) = rig.called();
        rig.says(attempt, said);
    }
    let (_, _, told) = rig.told(client);
    assert_eq!(
        told.matches(r#""percent":50"#).count(),
        0,
        "told when it was new, and taken by `called`"
    );
    rig.secs(10);
    let (attempt, ..) = rig.called();
    rig.says(attempt, DONE);
    let (_, _, told) = rig.told(client);
    for part in [
        r#""type":"video""#,
        "http://us.test/v1/videos/vid_",
        "/content",
        r#""output_video_millis":6000"#,
        "response.done",
        r#""cost_nano_usd":600000000"#,
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(
        (rig.rows.len(), rig.rows[0].cost),
        (1, NanoUsd(600_000_000))
    );
    rig.rests();
}

#[test]
fn a_native_answer_in_one_piece_comes_when_the_video_does() {
    let mut rig = Rig::films("gemini");
    let client = rig.ask_by(
        "POST",
        "/api/v1/generate",
        "sk-a",
        r#"{"model":"veo","input":"a cat"}"#,
    );
    let (attempt, ..) = rig.called();
    rig.says(attempt, BEGUN);
    rig.secs(10);
    let (attempt, ..) = rig.called();
    rig.says(attempt, DONE);
    let (status, said) = rig.json(client);
    assert_eq!(
        (status, &said["blocks"][0]["type"]),
        (200, &"video".into()),
        "{said}"
    );
    rig.rests();
    for (body, said) in [(FAILED, 500), (WITHHELD, 400)] {
        let client = rig.ask_by(
            "POST",
            "/api/v1/generate",
            "sk-a",
            r#"{"model":"veo","input":"a cat"}"#,
        );
        let (attempt, ..) = rig.called();
        rig.says(attempt, BEGUN);
        rig.secs(10);
        let (attempt, ..) = rig.called();
        rig.says(attempt, body);
        let (status, told) = rig.json(client);
        assert!(status >= 400, "{said}: {status} {told}");
        rig.rests();
    }
}

#[test]
fn a_client_that_leaves_changes_nothing_of_the_bill() {
    for (key, outcome) in [("sk-a", Outcome::Done), ("sk-b", Outcome::Cancelled)] {
        let mut rig = Rig::films("gemini");
        let client = rig.ask_by(
            "POST",
            "/api/v1/stream",
            key,
            r#"{"model":"veo","input":"a cat"}"#,
        );
        let (attempt, ..) = rig.called();
        rig.says(attempt, BEGUN);
        rig.on(Input::ClientGone { client });
        assert!(
            !rig.take()
                .iter()
                .any(|o| matches!(o, Output::Cancel { .. }))
        );
        rig.secs(10);
        let (attempt, ..) = rig.called();
        rig.says(attempt, DONE);
        assert_eq!(
            (rig.rows[0].outcome, rig.rows[0].cost),
            (outcome, NanoUsd(800_000_000))
        );
        rig.rests();
    }
}

#[test]
fn where_the_end_is_not_seen_what_was_ordered_is_written_down_as_an_estimate() {
    // The node stops.
    let mut rig = Rig::films("gemini");
    rig.film();
    rig.on(Input::Drain);
    assert!(rig.rows[0].usage.estimated);
    assert_eq!(rig.rows[0].cost, NanoUsd(2_400_000_000));
    rig.rests();
    // The provider does not say for too long.
    let mut rig = Rig::films("gemini");
    rig.film();
    let mut asked = 0;
    while rig.rows.is_empty() {
        rig.secs(10);
        for call in rig.calls() {
            asked += 1;
            rig.on(Input::Sent {
                attempt: call.attempt,
            });
            rig.refuse(call.attempt, 503, &[], "{}");
        }
        assert!(asked < 100);
    }
    assert!((12..70).contains(&asked), "less and less often: {asked}");
    assert_eq!(
        (rig.rows.len(), rig.rows[0].cost),
        (1, NanoUsd(2_400_000_000))
    );
    rig.rests();
    // The shard is lost.
    let mut rig = Rig::films("gemini");
    rig.film();
    let mut out = Vec::new();
    rig.shard.interrupted(rig.now, &mut out);
    let [Output::Post(Mail::Ledger(row))] = &out[..] else {
        panic!("{out:?}")
    };
    assert!(row.usage.estimated && row.cost == NanoUsd(2_400_000_000));
}

#[test]
fn openais_clients_order_ask_and_fetch_at_google() {
    let mut rig = Rig::films("vertex");
    let client = rig.ask_by(
        "POST",
        "/v1/videos",
        "sk-a",
        r#"{"model":"veo","prompt":"a cat","seconds":"4","size":"720x1280"}"#,
    );
    let (attempt, line, body, _) = rig.called();
    assert_eq!(
        line,
        format!("POST /v1/{CLOUD}models/veo-3:predictLongRunning")
    );
    let asked: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        asked["parameters"],
        serde_json::json!({"durationSeconds": 4, "resolution": "720p", "aspectRatio": "9:16"})
    );
    let name = format!("{CLOUD}models/veo-3/operations/op-1");
    rig.says(attempt, &format!(r#"{{"name":"{name}"}}"#));
    let (_, object) = rig.json(client);
    assert_eq!(
        (&object["status"], &object["seconds"], &object["size"]),
        (&"queued".into(), &"4".into(), &"720x1280".into())
    );
    let id = object["id"].as_str().expect("an id").to_owned();
    let done = format!(
        r#"{{"name":"{name}","done":true,"response":{{"videos":[{{"bytesBase64Encoded":"aGVsbG8=","mimeType":"video/mp4"}}]}}}}"#
    );
    let running = format!(r#"{{"name":"{name}"}}"#);
    for (said, status) in [(&running, "queued"), (&done, "completed")] {
        let client = rig.ask_by("GET", &format!("/v1/videos/{id}"), "sk-a", "");
        let (attempt, line, body, _) = rig.called();
        assert_eq!(
            line,
            format!("POST /v1/{CLOUD}models/veo-3:fetchPredictOperation")
        );
        assert_eq!(body, format!(r#"{{"operationName":"{name}"}}"#));
        rig.says(attempt, said);
        let (_, object) = rig.json(client);
        assert_eq!(
            (&object["id"], &object["status"], &object["seconds"]),
            (&id.as_str().into(), &status.into(), &"4".into())
        );
    }
    for (said, status, body) in [(&running, 409, None), (&done, 200, Some("hello"))] {
        let client = rig.ask_by("GET", &format!("/v1/videos/{id}/content"), "sk-a", "");
        let (attempt, ..) = rig.called();
        rig.says(attempt, said);
        let (told, headers, bytes) = rig.told(client);
        assert_eq!(told, status);
        if let Some(body) = body {
            assert_eq!(
                (header(&headers, "content-type"), &*bytes),
                (Some("video/mp4"), body)
            );
        }
    }
    let client = rig.ask_by("DELETE", &format!("/v1/videos/{id}"), "sk-a", "");
    assert_eq!(rig.json(client).0, 400);
    rig.secs(10);
    let (attempt, ..) = rig.called();
    rig.says(attempt, &done);
    let priced: Vec<_> = rig
        .rows
        .iter()
        .filter(|row| row.cost > NanoUsd::ZERO)
        .collect();
    assert_eq!((priced.len(), priced[0].cost), (1, NanoUsd(400_000_000)));
    rig.rests();
}

#[test]
fn a_form_passes_to_who_reads_it_and_is_translated_for_who_does_not() {
    let kind = "multipart/form-data; boundary=b";
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nveo\r\n--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na cat\r\n--b--\r\n";
    let mut rig = Rig::films("openai");
    let client = rig.ask_with("/v1/videos", form, &[("content-type", kind)]);
    let call = rig.calls().pop().expect("a call");
    let said = String::from_utf8(call.body.concat()).expect("text");
    assert_eq!(said, form.replace("veo", "veo-3"));
    assert!(
        call.headers
            .iter()
            .any(|(n, v)| n == "content-type" && v == kind)
    );
    let attempt = call.attempt;
    rig.on(Input::Sent { attempt });
    let object = r#"{"id":"video_1","object":"video","status":"queued","model":"veo-3","progress":0,"seconds":"12","size":"1792x1024","created_at":1}"#;
    rig.says(attempt, object);
    assert_eq!(rig.told(client).2, object, "bytes pass");
    let client = rig.ask_by(
        "GET",
        "/v1/videos/video_1/content?variant=thumbnail",
        "sk-a",
        "",
    );
    let (attempt, line, ..) = rig.called();
    assert_eq!(line, "GET /v1/videos/video_1/content?variant=thumbnail");
    rig.up(attempt, 200, &[("content-type", "image/webp")]);
    rig.say(attempt, "webp");
    rig.end(attempt);
    let (_, headers, body) = rig.told(client);
    assert_eq!(
        (header(&headers, "content-type"), &*body),
        (Some("image/webp"), "webp")
    );
    rig.secs(10);
    let (attempt, line, ..) = rig.called();
    assert_eq!(line, "GET /v1/videos/video_1");
    rig.says(attempt, &object.replace("queued", "completed"));
    // 12 s as the provider says, at the price of a resolution of 1024 lines.
    assert_eq!(rig.rows[1].cost, NanoUsd(4_800_000_000));
    let client = rig.ask_by("DELETE", "/v1/videos/video_1", "sk-a", "");
    let (attempt, line, ..) = rig.called();
    assert_eq!(line, "DELETE /v1/videos/video_1");
    rig.says(attempt, r#"{"id":"video_1","deleted":true}"#);
    assert_eq!(rig.json(client).1["deleted"], true);
    rig.rests();

    let mut rig = Rig::films("gemini");
    rig.ask_with("/v1/videos", form, &[("content-type", kind)]);
    let (_, line, body, _) = rig.called();
    assert_eq!(line, "POST /v1beta/models/veo-3:predictLongRunning");
    assert_eq!(
        body,
        r#"{"instances":[{"prompt":"a cat"}],"parameters":{}}"#
    );
}

#[test]
fn what_makes_no_video_and_what_makes_nothing_else_is_told_apart() {
    let mut rig = Rig::films("gemini");
    for (path, body) in [
        ("/v1beta/models/m0:predictLongRunning", JOB),
        ("/v1/videos", r#"{"model":"m0","prompt":"a"}"#),
        (
            "/v1/chat/completions",
            r#"{"model":"veo","messages":[{"role":"user","content":"a"}]}"#,
        ),
        (
            "/v1beta/models/veo:generateContent",
            r#"{"contents":[{"parts":[{"text":"a"}]}]}"#,
        ),
        (
            "/api/v1/generate",
            r#"{"model":"veo","input":"a","tools":[{"name":"f"}]}"#,
        ),
    ] {
        let client = rig.ask_by("POST", path, "sk-a", body);
        let (status, said) = rig.json(client);
        assert_eq!(status, 400, "{path}: {said}");
    }
    // A bound on the cost knows what a second costs.
    let client = rig.client();
    let mut head = Rig::head(
        "/v1beta/models/veo:predictLongRunning",
        &[("x-stokehold-max-cost-usd", "1")],
    );
    head.method = Bytes::from_static(b"POST");
    rig.on(Input::Head { client, head });
    rig.on(Input::Body {
        client,
        body: Bytes::from_static(JOB.as_bytes()),
    });
    assert_eq!(rig.json(client).0, 400, "6 s at 0.4 USD are more than 1");
    rig.rests();
}

#[test]
fn a_job_that_runs_holds_no_room_and_its_cost_counts_for_its_tenants_day() {
    let pools = "{id: p0, limits: [{concurrent: 1}], keys: [{id: k0, secret: sk-0-end}]}";
    let narrow = yaml("gemini", "").replace(
        "- {id: a, keys",
        "- {id: a, limits: {concurrent: 1, usd_per_day: 2}, keys",
    );
    let (before, after) = narrow.split_once("pools: [").expect("pools");
    let (_, after) = after.split_once("}]}]}\n").expect("their end");
    let mut rig = Rig::new(&format!("{before}pools: [{pools}]}}\n{after}"));
    rig.film();
    for said in [HALF, DONE] {
        rig.take();
        let client = rig.ask_by("GET", "/v1beta/models/veo/operations/op1", "sk-a", "");
        let (attempt, ..) = rig.called();
        rig.says(attempt, said);
        assert_eq!(rig.json(client).0, 200);
    }
    rig.secs(10);
    let (attempt, ..) = rig.called();
    rig.says(attempt, DONE);
    let client = rig.ask_by("POST", "/v1beta/models/veo:predictLongRunning", "sk-a", JOB);
    assert_eq!(rig.json(client).0, 429, "2.4 USD of 2 are spent");
    rig.rests();
}
