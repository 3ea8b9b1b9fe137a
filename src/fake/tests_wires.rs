//! What the fake promises in the dialects besides Chat and Messages.

use super::tests::{Got, at, drain, quick};
use super::*;
use serde_json::{Value, json};

fn send(fake: &mut Fake, now: Now, method: &str, path: &str, body: &Value) -> Got {
    let body = match body {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let header = |name: &str| match name {
        "authorization" => Some("Bearer k"),
        "metadata-flavor" => Some("Google"),
        _ => None,
    };
    let request = Request {
        method,
        path,
        header: &header,
        body: body.as_bytes(),
    };
    let id = fake.handle(now, &request);
    drain(fake, id, now)
}

fn post(fake: &mut Fake, path: &str, body: &Value) -> Got {
    send(fake, at(0), "POST", path, body)
}

const FLASH: &str = "/v1beta/models/gemini-3.8-flash";
const CLAUDE: &str = "/model/anthropic.claude-x%3A0";

fn gemini(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

fn converse(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": text}]}]})
}

/// Every dialect bills what it says, streamed or not.
#[test]
fn every_wire_is_booked_with_the_tokens_it_told() {
    let cases = [
        (
            "/v1/responses",
            json!({"model": "m", "input": "hi"}),
            "/usage/output_tokens",
            Wire::Responses,
        ),
        (
            &format!("{FLASH}:generateContent"),
            gemini("hi"),
            "/usageMetadata/candidatesTokenCount",
            Wire::Gemini,
        ),
        (
            &format!("{CLAUDE}/converse"),
            converse("hi"),
            "/usage/outputTokens",
            Wire::Converse,
        ),
    ];
    for (path, body, told, wire) in cases {
        let mut fake = Fake::new(quick());
        let got = post(&mut fake, path, &body);
        assert_eq!(got.status, 200, "{}", got.text());
        let entry = fake.book().entries().last().expect("booked").clone();
        assert_eq!(
            got.json().pointer(told),
            Some(&json!(entry.billed.output)),
            "{path}"
        );
        assert_eq!(
            (entry.wire, entry.told, entry.billed.output),
            (wire, true, 4),
            "{path}"
        );
    }
}

/// Of its own call it wants its own signature; of a stranger's it takes what Google takes.
#[test]
fn a_signature_that_was_given_is_missed_when_it_does_not_come_back() {
    let mut fake = Fake::new(quick());
    let path = format!("{FLASH}:generateContent");
    let tools =
        json!([{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}]);
    let mut asked = gemini("use tool f twice");
    asked["tools"] = tools.clone();
    let content = post(&mut fake, &path, &asked).json()["candidates"][0]["content"].clone();
    let mut back = |change: &dyn Fn(&mut Value)| {
        let mut content = content.clone();
        content["parts"].as_array_mut().expect("parts").truncate(1);
        change(&mut content["parts"][0]);
        let id = &content["parts"][0]["functionCall"]["id"];
        let result =
            json!({"functionResponse": {"id": id, "name": "f", "response": {"output": "x"}}});
        let said = asked["contents"][0].clone();
        let body = json!({"tools": tools, "contents": [said, content, {"role": "user", "parts": [result]}]});
        let got = post(&mut fake, &path, &body);
        (got.status, got.text())
    };
    let lost = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";
    assert_eq!(back(&|_| ()).0, 200);
    for change in [
        &|part: &mut Value| drop(part["thoughtSignature"].take()) as _,
        &|part: &mut Value| part["thoughtSignature"] = lost.into(),
    ] as [&dyn Fn(&mut Value); 2]
    {
        let (status, text) = back(change);
        assert_eq!(status, 400);
        assert!(text.contains("missing a thought_signature"), "{text}");
    }
    let stranger = back(&|part| {
        part["functionCall"]["id"] = "toolu_1".into();
        part["thoughtSignature"] = lost.into();
    });
    assert_eq!(stranger.0, 200, "{}", stranger.1);
}

#[test]
fn a_background_response_is_billed_once_when_it_is_done_or_cancelled() {
    let mut fake = Fake::new(Settings {
        first_token: Duration::from_secs(1),
        between_tokens: Duration::from_secs(1),
        ..quick()
    });
    let body = json!({"model": "m", "input": "hi", "background": true});
    let first = post(&mut fake, "/v1/responses", &body).json();
    assert_eq!(first["status"], "queued");
    let path = format!("/v1/responses/{}", first["id"].as_str().expect("an id"));
    let polled = send(&mut fake, at(2), "GET", &path, &Value::Null).json();
    assert_eq!(polled["status"], "in_progress");
    assert_eq!(fake.book().totals().output, 0, "not done yet");
    for _ in 0..2 {
        let done = send(&mut fake, at(9), "GET", &path, &Value::Null).json();
        assert_eq!(done["usage"]["output_tokens"], 4);
    }
    assert_eq!(fake.book().totals().output, 4);
    let id = post(&mut fake, "/v1/responses", &body).json()["id"].clone();
    let cancel = format!("/v1/responses/{}/cancel", id.as_str().expect("an id"));
    let got = send(&mut fake, at(2), "POST", &cancel, &Value::Null).json();
    assert_eq!(got["status"], "cancelled");
    fake.settle_background(at(60));
    assert_eq!(fake.book().totals().output, 4 + 2, "as far as it came");
}

#[test]
fn frames_are_whole_after_any_tearing_and_faults_hold_on_every_wire() {
    let plain = converse("hi");
    let torn = converse("hi [[fake: torn=2]]");
    for body in [plain, torn] {
        let mut fake = Fake::new(quick());
        let got = post(&mut fake, &format!("{CLAUDE}/converse-stream"), &body);
        let (mut rest, mut frames) = (&got.body[..], 0);
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[..4].try_into().expect("four bytes")) as usize;
            let (frame, after) = rest.split_at(length);
            let crc = u32::from_be_bytes(frame[length - 4..].try_into().expect("four bytes"));
            assert_eq!(crc, aws::crc32(&frame[..length - 4]));
            (rest, frames) = (after, frames + 1);
        }
        assert!(frames >= 7, "{frames} frames only");
    }
    for (path, body) in [
        (
            "/v1/responses".to_owned(),
            json!({"model": "m", "input": "[[fake: cut_after=40]]", "stream": true}),
        ),
        (
            format!("{FLASH}:streamGenerateContent?alt=sse"),
            gemini("[[fake: cut_after=40]]"),
        ),
        (
            format!("{CLAUDE}/converse-stream"),
            converse("[[fake: cut_after=40]]"),
        ),
    ] {
        let mut fake = Fake::new(quick());
        let got = post(&mut fake, &path, &body);
        assert_eq!((got.body.len(), got.last), (40, Step::Reset), "{path}");
        assert_eq!(
            fake.book().entries().last().expect("booked").ended,
            Ended::Cut
        );
    }
}

#[test]
fn google_streams_one_json_array_without_sse_and_caches_prefixes() {
    let mut fake = Fake::new(quick());
    let long = gemini(&"word ".repeat(2_000));
    let got = post(&mut fake, &format!("{FLASH}:streamGenerateContent"), &long);
    let all = got.json();
    let last = all.as_array().and_then(|a| a.last()).expect("chunks");
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    let again = post(&mut fake, &format!("{FLASH}:generateContent"), &long).json();
    assert!(again["usageMetadata"]["cachedContentTokenCount"].as_u64() > Some(1_024));
}

#[test]
fn limits_are_refused_in_googles_and_in_amazons_words() {
    let limits = Limits {
        rpm: Some(1),
        ..Limits::default()
    };
    let mut fake = Fake::new(Settings { limits, ..quick() });
    let path = format!("{FLASH}:generateContent");
    post(&mut fake, &path, &gemini("hi"));
    let error = post(&mut fake, &path, &gemini("hi")).json()["error"].clone();
    assert_eq!(error["status"], "RESOURCE_EXHAUSTED");
    let kinds: Vec<&str> = error["details"]
        .as_array()
        .expect("details")
        .iter()
        .filter_map(|d| d["@type"].as_str())
        .collect();
    assert!(
        kinds.iter().any(|k| k.ends_with("RetryInfo"))
            && kinds.iter().any(|k| k.ends_with("QuotaFailure"))
    );
    let path = format!("{CLAUDE}/converse");
    post(&mut fake, &path, &converse("hi"));
    let got = post(&mut fake, &path, &converse("hi"));
    assert_eq!(
        (got.status, got.headers["x-amzn-errortype"].as_str()),
        (429, "ThrottlingException")
    );
}

#[test]
fn vertex_takes_only_tokens_that_were_issued_and_are_alive() {
    let google = GoogleAccount {
        email: "a@b".into(),
        audience: "https://token".into(),
        verify: Verify(std::sync::Arc::new(|_, signature| signature == b"good")),
        token_seconds: 60,
    };
    let mut fake = Fake::new(Settings {
        google: Some(google),
        ..quick()
    });
    let encode = |bytes: &[u8]| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    };
    let wall = at(0).wall.seconds();
    let mut order = |aud: &str, signature: &[u8], iat: i64| {
        let claims = json!({"iss": "a@b", "aud": aud, "scope": "s", "iat": iat, "exp": iat + 3600});
        let jwt = format!(
            "{}.{}.{}",
            encode(br#"{"alg":"RS256"}"#),
            encode(claims.to_string().as_bytes()),
            encode(signature)
        );
        let form = format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={jwt}"
        );
        send(&mut fake, at(0), "POST", "/token", &Value::String(form))
    };
    assert_eq!(order("https://other", b"good", wall).status, 400);
    assert_eq!(order("https://token", b"bad", wall).status, 400);
    assert_eq!(
        order("https://token", b"good", wall + 1_000).status,
        400,
        "from the future"
    );
    assert_eq!(
        order("https://token", b"good", wall - 4_000).status,
        400,
        "long over"
    );
    let token = order("https://token", b"good", wall).json();
    let bearer = format!(
        "Bearer {}",
        token["access_token"].as_str().expect("a token")
    );
    let mut ask = |now: Now, bearer: &str| {
        let header = |name: &str| (name == "authorization").then_some(bearer);
        let body = gemini("hi").to_string();
        let path = "/v1/projects/p/locations/global/publishers/google/models/gemini-3.8-flash:generateContent";
        let id = fake.handle(
            now,
            &Request {
                method: "POST",
                path,
                header: &header,
                body: body.as_bytes(),
            },
        );
        drain(&mut fake, id, now).status
    };
    assert_eq!(ask(at(59), &bearer), 200);
    assert_eq!(ask(at(60), &bearer), 401, "expired");
    assert_eq!(ask(at(0), "Bearer k"), 401);
}

#[test]
fn manners_tell_reasoning_and_cost_each_in_their_own_way() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "reasoning_effort": "minimal"});
    let cases = [
        (
            "xai",
            "/choices/0/message/reasoning_content",
            "/usage/cost_in_usd_ticks",
        ),
        (
            "fireworks",
            "/choices/0/message/reasoning_content",
            "/usage/prompt_tokens_details/cached_tokens",
        ),
        (
            "openrouter",
            "/choices/0/message/reasoning_details/0/text",
            "/usage/cost",
        ),
        (
            "vllm",
            "/choices/0/message/reasoning",
            "/usage/prompt_tokens_details/cached_tokens",
        ),
        (
            "sglang",
            "/choices/0/message/reasoning_content",
            "/usage/reasoning_tokens",
        ),
    ];
    for (manner, thought, told) in cases {
        let manner: Manner = manner.parse().expect("a manner");
        let mut fake = Fake::new(Settings {
            manner,
            cache_report: true,
            ..quick()
        });
        let got = post(&mut fake, "/v1/chat/completions", &body).json();
        let said = got.pointer(thought).and_then(Value::as_str);
        assert_eq!(said, Some("Let me think: 1"), "{manner:?}: {got}");
        assert!(got.pointer(told).is_some(), "{manner:?}: {got}");
    }
    let mut fake = Fake::new(Settings {
        manner: Manner::Vllm,
        ..quick()
    });
    let metrics = send(&mut fake, at(0), "GET", "/metrics", &Value::Null).text();
    assert!(metrics.contains("vllm:kv_cache_usage_perc"), "{metrics}");
    let models = send(&mut fake, at(0), "GET", "/v1/models", &Value::Null).json();
    assert!(models["data"][0]["max_model_len"].is_u64());
}

#[test]
fn amazons_credentials_are_handed_out_as_its_servers_do() {
    let mut fake = Fake::new(Settings {
        aws: vec![AwsKey {
            access_key: "AKID".into(),
            secret: "s".into(),
            session_token: Some("t".into()),
            account: "1".into(),
        }],
        ..quick()
    });
    let role = "/latest/meta-data/iam/security-credentials/fake-role";
    assert_eq!(
        send(&mut fake, at(0), "GET", role, &Value::Null).status,
        403,
        "IMDSv1 is off"
    );
    let got = send(&mut fake, at(0), "GET", "/v2/credentials", &Value::Null).json();
    assert_eq!(
        (&got["AccessKeyId"], &got["Token"]),
        (&json!("AKID"), &json!("t"))
    );
    let form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn&RoleSessionName=x&WebIdentityToken=w";
    let got = post(&mut fake, "/", &json!(form)).text();
    assert!(got.contains("<SessionToken>t</SessionToken>"), "{got}");
    assert_eq!(
        post(&mut fake, "/", &json!("Action=AssumeRole")).status,
        400
    );
    let unsigned = post(&mut fake, &format!("{CLAUDE}/converse"), &converse("hi"));
    assert_eq!(unsigned.status, 403);
}

#[test]
fn a_prefix_is_kept_under_a_name_and_billed_when_it_is_made_and_when_it_ends() {
    let later = |seconds: u64| {
        let after = Duration::from_secs(seconds);
        Now {
            instant: at(0).instant + after,
            wall: at(0).wall + after,
        }
    };
    let mut fake = Fake::new(quick());
    let text = "word ".repeat(2_000);
    let prefix = |ttl: &str| {
        json!({"model": "models/gemini-3.8-flash", "ttl": ttl, "displayName": "book",
            "contents": [{"role": "user", "parts": [{"text": text}]}]})
    };
    let all = "/v1beta/cachedContents";
    let made = post(&mut fake, all, &prefix("60s")).json();
    let name = made["name"].as_str().expect("a name").to_owned();
    let tokens = made["usageMetadata"]["totalTokenCount"]
        .as_u64()
        .expect("tokens");
    assert_eq!(fake.book().totals().uncached, tokens);
    let ask =
        json!({"cachedContent": name, "contents": [{"role": "user", "parts": [{"text": "hi"}]}]});
    let path = format!("{FLASH}:generateContent");
    let used = post(&mut fake, &path, &ask).json()["usageMetadata"].clone();
    assert_eq!(used["cachedContentTokenCount"], tokens);
    let count = post(&mut fake, &format!("{FLASH}:countTokens"), &ask).json();
    assert_eq!(count["totalTokens"], used["promptTokenCount"]);
    let error = |got: Got| {
        got.json()["error"]["message"]
            .as_str()
            .expect("an error")
            .to_owned()
    };
    let other = path.replace("3.8", "3.7");
    assert!(error(post(&mut fake, &other, &ask)).contains("has to be the same"));
    let mut twice = ask.clone();
    twice["tools"] = json!([]);
    assert!(error(post(&mut fake, &path, &twice)).contains("can not be used with"));
    let small =
        json!({"model": "models/gemini-3.8-flash", "contents": [{"parts": [{"text": "hi"}]}]});
    assert!(error(post(&mut fake, all, &small)).contains("too small"));
    // Prolonged by half a minute at its half, and then it ends by itself.
    let one = format!("/v1beta/{name}");
    let changed = send(&mut fake, later(30), "PATCH", &one, &json!({"ttl": "60s"})).json();
    assert_ne!(changed["expireTime"], made["expireTime"]);
    assert_eq!(
        send(&mut fake, later(89), "GET", &one, &Value::Null).json(),
        changed
    );
    assert!(error(send(&mut fake, later(90), "GET", &one, &Value::Null)).contains("not found"));
    assert_eq!(fake.book().totals().kept_token_millis, tokens * 90_000);
    assert_eq!(
        error(send(&mut fake, later(91), "POST", &path, &ask)),
        "CachedContent not found (or permission denied)"
    );
    // Deleted, one is billed for the time that it was kept.
    let made = send(&mut fake, later(100), "POST", all, &prefix("3600s")).json();
    let list = send(&mut fake, later(101), "GET", all, &Value::Null).json();
    assert_eq!(list["cachedContents"], json!([made]));
    let one = format!("/v1beta/{}", made["name"].as_str().expect("a name"));
    assert_eq!(
        send(&mut fake, later(110), "DELETE", &one, &Value::Null).json(),
        json!({})
    );
    assert_eq!(fake.book().totals().kept_token_millis, tokens * 100_000);
    fake.settle_background(later(9_999));
    assert_eq!(
        fake.book().totals().kept_token_millis,
        tokens * 100_000,
        "once"
    );
}
