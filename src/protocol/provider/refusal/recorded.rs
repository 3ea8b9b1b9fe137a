//! Walks recordings of real refusals, where there are any: `STOKEHOLD_RECORDINGS`, else `../shared/recordings`.
//!
//! Each is read to the class that its status and words mean, by a table that shares nothing with the reader; the numbers are printed.

use crate::base::{Headers, WallTime};
use crate::canon::{DialectName, FaultClass};
use crate::protocol::provider::ProviderKind;
use crate::protocol::provider::hints;
use base64::Engine;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn recordings() -> Vec<(String, Value)> {
    let folder = std::env::var_os("STOKEHOLD_RECORDINGS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings"),
        PathBuf::from,
    );
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("no recordings at {}: nothing to compare", folder.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read(&path).expect("a file");
        let value = serde_json::from_slice(&text).expect("json");
        (
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned(),
            value,
        )
    };
    files.into_iter().map(read).collect()
}

fn kind_of(provider: &str) -> ProviderKind {
    match provider {
        "anthropic" => ProviderKind::Anthropic,
        "openai" | "azure" => ProviderKind::OpenAi,
        "bedrock" | "bedrock_mantle" => ProviderKind::Bedrock,
        "vertex" => ProviderKind::Vertex,
        "gemini" => ProviderKind::Gemini,
        "xai" => ProviderKind::Xai,
        "fireworks" => ProviderKind::Fireworks,
        "openrouter" => ProviderKind::OpenRouter,
        _ => ProviderKind::SelfHosted,
    }
}

fn dialect_of(api: &str) -> DialectName {
    match api.rsplit('.').next().unwrap_or(api) {
        "messages" | "invoke" | "invoke_stream" | "count_tokens" => DialectName::Messages,
        "responses" => DialectName::Responses,
        "generate" | "stream" => DialectName::Gemini,
        "converse" | "converse_stream" => DialectName::Converse,
        _ => DialectName::Chat,
    }
}

fn headers_of(response: &Value) -> Headers {
    let fields = response["headers"].as_object().into_iter().flatten();
    fields
        .map(|(name, value)| (name, value.as_str().unwrap_or_default()))
        .collect()
}

fn body_of(response: &Value) -> Vec<u8> {
    match (response["body"].as_str(), response["body_base64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(coded)) => base64::engine::general_purpose::STANDARD
            .decode(coded)
            .expect("base64"),
        (None, None) => Vec::new(),
    }
}

/// What a person makes of it, first match first: status (0: any), a word, the class.
const MEANING: [(u16, &str, FaultClass); 22] = [
    (400, "api key not valid", FaultClass::Unauthenticated),
    (400, "incorrect api key", FaultClass::Unauthenticated),
    (400, "credit balance", FaultClass::Billing),
    (400, "context length", FaultClass::ContextTooLong),
    (400, "context size", FaultClass::ContextTooLong),
    (400, "prompt is too long", FaultClass::ContextTooLong),
    (
        400,
        "model identifier is invalid",
        FaultClass::ModelNotFound,
    ),
    (400, "model_not_found", FaultClass::ModelNotFound),
    (400, "content_policy", FaultClass::ContentPolicy),
    (400, "content_filter", FaultClass::ContentPolicy),
    (400, "", FaultClass::Invalid),
    (401, "", FaultClass::Unauthenticated),
    (402, "", FaultClass::Billing),
    (403, "security token", FaultClass::Unauthenticated),
    (404, "model", FaultClass::ModelNotFound),
    (404, "deployment", FaultClass::ModelNotFound),
    (413, "", FaultClass::TooLarge),
    (429, "insufficient_quota", FaultClass::Billing),
    (429, "", FaultClass::RateLimited),
    (500, "", FaultClass::UpstreamBroken),
    (503, "", FaultClass::Overloaded),
    (529, "", FaultClass::Overloaded),
];

#[test]
fn every_recorded_refusal_means_what_its_status_and_words_mean() {
    let mut counts: BTreeMap<(u16, String), usize> = BTreeMap::new();
    let (mut read, mut unknown) = (0, Vec::new());
    for (name, recording) in recordings() {
        let response = &recording["response"];
        let status = u16::try_from(response["status"].as_u64().unwrap_or(200)).expect("a status");
        if status < 300 {
            continue;
        }
        let api = recording["api"].as_str().unwrap_or_default();
        let kind = kind_of(recording["provider"].as_str().unwrap_or_default());
        let (headers, body) = (headers_of(response), body_of(response));
        let hints = kind.hints(&headers, WallTime(1_795_399_200_000_000_000));
        let fault = kind.fault(dialect_of(api), status, &headers, &body, &hints);
        let words = String::from_utf8_lossy(&body).to_lowercase();
        let meaning = MEANING
            .iter()
            .find(|(s, word, _)| *s == status && words.contains(word));
        match meaning {
            Some((_, _, class)) => assert_eq!(fault.class, *class, "{name}: {words}"),
            None => unknown.push(format!("{name}: {status} {:?}", fault.class)),
        }
        assert!(
            !fault.message.is_empty() && !fault.message.contains("without a reason"),
            "{name}"
        );
        assert_eq!(fault.upstream_status, Some(status), "{name}");
        *counts
            .entry((status, format!("{:?}", fault.class)))
            .or_default() += 1;
        read += 1;
    }
    println!("{read} recorded refusals read: {counts:?}; beyond the table: {unknown:?}");
}

/// No recorded answer is taken for a failure, and no recorded failure under 200 for an answer.
#[test]
fn no_recorded_answer_is_taken_for_a_failure() {
    let mut answers = 0;
    for (name, recording) in recordings() {
        let response = &recording["response"];
        let whole = recording["stream"].as_bool() == Some(false);
        if response["status"].as_u64() != Some(200) || !whole {
            continue;
        }
        let kind = kind_of(recording["provider"].as_str().unwrap_or_default());
        let (headers, body) = (headers_of(response), body_of(response));
        let fault =
            kind.fault_in_success(DialectName::Chat, &headers, &body, &hints::Hints::default());
        assert_eq!(fault, None, "{name}");
        answers += 1;
    }
    println!("{answers} recorded answers are none of them a failure");
}

/// Every header of the recordings that speaks of a limit is one that is read, or one that says nothing of what is left.
#[test]
fn every_recorded_limit_is_read() {
    let (mut read, mut passed) = (0, BTreeMap::<String, usize>::new());
    for (name, recording) in recordings() {
        let headers = headers_of(&recording["response"]);
        for header in headers.iter() {
            let named = String::from_utf8_lossy(header.0).into_owned();
            let of_limits = ["-limit", "-remaining", "-reset"]
                .iter()
                .any(|w| named.contains(w))
                && named.contains("ratelimit");
            if !of_limits && !named.starts_with("retry-after") {
                continue;
            }
            let hints = hints::read(&Headers::from([header]), WallTime(0));
            if hints == hints::Hints::default() {
                *passed.entry(named).or_default() += 1;
            } else {
                read += 1;
            }
        }
        assert_eq!(
            hints::read(&headers, WallTime(0)).read_at,
            WallTime(0),
            "{name}"
        );
    }
    println!("{read} recorded limit headers read; passed over: {passed:?}");
    let known = |n: &str| {
        n.contains("input-images") || n.contains("abusepenalty") || n == "x-ratelimit-limit"
    };
    let unread: Vec<_> = passed.keys().filter(|n| !known(n)).collect();
    assert!(unread.is_empty(), "{unread:?}");
}
