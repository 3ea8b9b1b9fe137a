//! Google Cloud: Claude in its own grammar, Gemini in Google's, open models in Chat Completions (`providers/vertex.md` 2, 4 and 10,
//! `providers/gemini.md` 1 and 8).
//!
//! Tokens are bought elsewhere; here they are only sent. Betas that Google does not take are left out, since one unknown name fails the call.

use crate::canon::DialectName;
use crate::protocol::provider::call::in_path;
use crate::protocol::provider::{Asking, CallHead, Envelope, Operation, Place, Tongue, gemini};
use std::borrow::Cow;

/// The host of a location: global, of several regions, or of one.
#[must_use]
pub fn host(place: &Place) -> String {
    match location(place) {
        "global" => "aiplatform.googleapis.com".to_owned(),
        // Not `us-aiplatform`: vertex.md 2.
        several @ ("us" | "eu") => format!("aiplatform.{several}.rep.googleapis.com"),
        region => format!("{region}-aiplatform.googleapis.com"),
    }
}

fn location(place: &Place) -> &str {
    place.region.as_deref().unwrap_or("global")
}

/// Whose model it is, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Claude,
    Google,
    /// Served under `endpoints/openapi`, named `publisher/model`.
    Open,
}

fn family(model: &str) -> Family {
    let name = model.rsplit('/').next().unwrap_or(model);
    if name.starts_with("claude") {
        return Family::Claude;
    }
    match model.split_once('/') {
        // `google/gemini-…` is how the OpenAI-compatible path wants it named; `models/…` and full names are Google's own.
        Some(("google" | "models" | "publishers" | "projects" | "tunedModels", _)) | None
            if !name.ends_with("-maas") =>
        {
            Family::Google
        }
        _ => Family::Open,
    }
}

pub(super) fn tongue(model: &str) -> Tongue {
    match family(model) {
        Family::Claude => Tongue::only(&[DialectName::Messages]),
        Family::Google => gemini::TONGUE,
        Family::Open => Tongue::only(&[DialectName::Chat]),
    }
}

#[must_use]
pub fn call(asking: &Asking<'_>) -> CallHead {
    match asking.dialect {
        DialectName::Messages => claude(asking),
        DialectName::Chat | DialectName::Responses => {
            let path = format!("{}endpoints/openapi/chat/completions", root(asking.place));
            CallHead::post(path, asking.stream)
        }
        DialectName::Gemini
        | DialectName::Native
        | DialectName::Completions
        | DialectName::Converse => google(asking),
    }
}

/// `/v1/projects/…/locations/…/`; without a project the express mode's root, which knows Google's own models alone.
fn root(place: &Place) -> String {
    match &place.project {
        Some(project) => format!(
            "/v1/projects/{}/locations/{}/",
            in_path(project),
            in_path(location(place))
        ),
        None => "/v1/".to_owned(),
    }
}

/// `projects/…/locations/…/publishers/google/`, as operations are named.
pub(super) fn operations_root(place: &Place) -> String {
    match &place.project {
        Some(project) => format!(
            "projects/{project}/locations/{}/publishers/google/",
            location(place)
        ),
        None => "publishers/google/".to_owned(),
    }
}

/// `projects/…/locations/…/`, as cached prefixes are named; empty in the express mode.
pub(super) fn caches_root(place: &Place) -> String {
    root(place)["/v1/".len()..].to_owned()
}

fn claude(asking: &Asking<'_>) -> CallHead {
    let name = asking.model.rsplit('/').next().unwrap_or(asking.model);
    let (model, method) = match (asking.operation, asking.stream) {
        (Operation::CountTokens, _) => (Cow::Borrowed("count-tokens"), "rawPredict"),
        (_, true) => (in_path(name), "streamRawPredict"),
        (_, false) => (in_path(name), "rawPredict"),
    };
    let root = root(asking.place);
    let path = format!("{root}publishers/anthropic/models/{model}:{method}");
    let mut head = CallHead::post(path, asking.stream);
    if let Some(betas) = asking.client.anthropic_beta.and_then(known_betas) {
        head.add("anthropic-beta", betas);
    }
    head
}

/// Whether an embedding model knows `:predict` alone, as Google's older ones do.
#[must_use]
pub fn predicts(model: &str) -> bool {
    !gemini::bare(model).starts_with("gemini-embedding-2")
}

fn google(asking: &Asking<'_>) -> CallHead {
    let root = root(asking.place);
    if let Operation::Cached(deed) = asking.operation {
        // A whole name says its project and location itself: the project by its number, as Google writes it.
        let whole = asking.operation_name.starts_with("projects/");
        let root = if whole { "/v1/" } else { &*root };
        return gemini::cached(deed, root, asking.operation_name);
    }
    if asking.operation == Operation::VideoPoll {
        // The operation's name begins with the model's, whatever model the client names when it asks.
        let operation = asking.operation_name;
        let model = operation.split_once("/operations/").map(|(model, _)| model);
        let path = match model.filter(|m| m.starts_with("projects/")) {
            Some(model) => format!("/v1/{}:fetchPredictOperation", in_path(model)),
            None => format!(
                "{root}publishers/google/models/{}:fetchPredictOperation",
                in_path(gemini::bare(asking.model))
            ),
        };
        return CallHead::post(path, false);
    }
    let model = in_path(gemini::bare(asking.model));
    let method = match asking.operation {
        Operation::Embed | Operation::EmbedMany if predicts(asking.model) => "predict",
        operation => gemini::method(operation, asking.stream),
    };
    let path = format!("{root}publishers/google/models/{model}:{method}");
    CallHead::post(path, asking.stream)
}

/// Claude is named by the path and versioned by the body (vertex.md 4); a count of tokens keeps the model (10).
pub(super) fn envelope(asking: &Asking<'_>) -> Option<Envelope> {
    if asking.dialect != DialectName::Messages {
        return None;
    }
    let remove: &[&str] = match (asking.operation, asking.stream) {
        (Operation::CountTokens, _) => &["anthropic_version"],
        (_, true) => &["model", "anthropic_version"],
        // `:rawPredict` refuses to be told how to stream.
        (_, false) => &["model", "anthropic_version", "stream"],
    };
    // A client that speaks the newer version is bound by its rules already; no third value is taken.
    let insert = match asking.client.anthropic_version {
        Some("2026-10-21") => r#""anthropic_version":"2026-10-21""#,
        _ => r#""anthropic_version":"vertex-2023-10-16""#,
    };
    Some(Envelope {
        remove,
        insert: Cow::Borrowed(insert),
    })
}

/// Those of a client's betas that Google takes, under Google's names (vertex.md 4, after litellm 1.109.1); `None` where none is left.
fn known_betas(betas: &str) -> Option<String> {
    let mut out = String::with_capacity(betas.len());
    for beta in betas.split(',').map(str::trim) {
        let name = match beta {
            "advanced-tool-use-2025-11-20" => "tool-search-tool-2025-10-19",
            other => other,
        };
        if BETAS.contains(&name) && !out.split(',').any(|had| had == name) {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(name);
        }
    }
    (!out.is_empty()).then_some(out)
}

const BETAS: [&str; 15] = [
    "tool-search-tool-2025-10-19",
    "compact-2026-01-12",
    "compact-2026-09-04",
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "dangerous-tool-use-2026-09-03",
    "interleaved-thinking-2025-05-14",
    "mid-conversation-tool-changes-2026-07-01",
    "per-turn-control-2026-07-01",
    "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18",
    "inline-tools-2026-09-15",
    "web-search-2025-03-05",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::provider::tests::asking;
    use crate::protocol::provider::{ClientHeaders, ProviderKind};

    fn place(region: &str) -> Place {
        Place {
            region: Some(region.to_owned()),
            project: Some("p1".to_owned()),
            ..Place::default()
        }
    }

    #[test]
    fn a_location_has_its_host() {
        for (region, wanted) in [
            ("global", "aiplatform.googleapis.com"),
            ("us", "aiplatform.us.rep.googleapis.com"),
            ("eu", "aiplatform.eu.rep.googleapis.com"),
            ("us-east5", "us-east5-aiplatform.googleapis.com"),
        ] {
            assert_eq!(host(&place(region)), wanted);
        }
        assert_eq!(host(&Place::default()), "aiplatform.googleapis.com");
    }

    #[test]
    fn a_cached_prefix_is_asked_after_in_its_project() {
        use crate::protocol::provider::CacheDeed::{Create, Delete};
        let place = place("us-east5");
        let name = "projects/77/locations/us-east5/cachedContents/9";
        for (deed, name, path) in [
            (
                Create,
                "",
                "/v1/projects/p1/locations/us-east5/cachedContents",
            ),
            (
                Delete,
                name,
                "/v1/projects/77/locations/us-east5/cachedContents/9",
            ),
            (
                Delete,
                "cachedContents/9",
                "/v1/projects/p1/locations/us-east5/cachedContents/9",
            ),
        ] {
            let head = call(&Asking {
                operation: Operation::Cached(deed),
                operation_name: name,
                place: &place,
                ..asking("gemini-3.8-flash", DialectName::Gemini)
            });
            assert_eq!(&*head.path, path);
        }
        assert_eq!(caches_root(&place), "projects/p1/locations/us-east5/");
    }

    #[test]
    fn every_call_has_its_path() {
        use DialectName::{Chat, Gemini, Messages};
        use Operation::{CountTokens, Embed, Generate, VideoPoll, VideoStart};
        let place = place("us-east5");
        let root = "/v1/projects/p1/locations/us-east5/";
        for (operation, dialect, stream, model, path) in [
            (
                Generate,
                Messages,
                true,
                "claude-opus-5-5",
                "publishers/anthropic/models/claude-opus-5-5:streamRawPredict",
            ),
            (
                Generate,
                Messages,
                false,
                "claude-sonnet-4-5@20250929",
                "publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
            ),
            (
                CountTokens,
                Messages,
                false,
                "claude-opus-5-5",
                "publishers/anthropic/models/count-tokens:rawPredict",
            ),
            (
                Generate,
                Gemini,
                true,
                "gemini-3.8-flash",
                "publishers/google/models/gemini-3.8-flash:streamGenerateContent?alt=sse",
            ),
            (
                Generate,
                Gemini,
                false,
                "google/gemini-3.8-flash",
                "publishers/google/models/gemini-3.8-flash:generateContent",
            ),
            (
                CountTokens,
                Gemini,
                false,
                "gemini-3.8-flash",
                "publishers/google/models/gemini-3.8-flash:countTokens",
            ),
            (
                Generate,
                Chat,
                true,
                "deepseek-ai/deepseek-v3.2-maas",
                "endpoints/openapi/chat/completions",
            ),
            (
                Embed,
                Gemini,
                false,
                "gemini-embedding-001",
                "publishers/google/models/gemini-embedding-001:predict",
            ),
            (
                Embed,
                Gemini,
                false,
                "gemini-embedding-2",
                "publishers/google/models/gemini-embedding-2:embedContent",
            ),
            (
                VideoStart,
                Gemini,
                false,
                "veo-3.1-generate-001",
                "publishers/google/models/veo-3.1-generate-001:predictLongRunning",
            ),
            (
                VideoPoll,
                Gemini,
                false,
                "x",
                "publishers/google/models/veo-3.1-generate-001:fetchPredictOperation",
            ),
        ] {
            let head = call(&Asking {
                operation,
                stream,
                place: &place,
                operation_name: "projects/p1/locations/us-east5/publishers/google/models/veo-3.1-generate-001/operations/u-1",
                ..asking(model, dialect)
            });
            assert_eq!(
                (head.method, &*head.path),
                ("POST", &*format!("{root}{path}"))
            );
        }
        let express = call(&asking("gemini-3.8-flash", Gemini));
        assert_eq!(
            express.path,
            "/v1/publishers/google/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
        );
    }

    #[test]
    fn each_family_is_asked_in_its_own_grammar() {
        use DialectName::{Chat, Gemini, Messages, Responses};
        for (model, client, preferred, wanted) in [
            ("claude-opus-5-5", Chat, None, Messages),
            ("gemini-3.8-flash", Chat, None, Gemini),
            ("google/gemini-3.8-flash", Chat, Some(Chat), Chat),
            ("veo-3.1-generate-001", Messages, None, Gemini),
            ("moonshotai/kimi-k2-thinking-maas", Messages, None, Chat),
            ("openai/gpt-oss-120b-maas", Responses, None, Chat),
            ("claude-opus-5-5", Chat, Some(Chat), Messages),
        ] {
            let kind = ProviderKind::Vertex;
            let dialect = kind.dialect_for(client, model, &Place::default(), preferred);
            assert_eq!(dialect, wanted, "{model} for {client:?}");
        }
    }

    #[test]
    fn claude_is_named_by_the_path_and_versioned_by_the_body() {
        let of = |operation, stream, version| {
            let client = ClientHeaders {
                anthropic_version: version,
                ..ClientHeaders::default()
            };
            envelope(&Asking {
                operation,
                stream,
                client: &client,
                ..asking("claude-opus-5-5", DialectName::Messages)
            })
            .expect("an envelope")
        };
        let old = r#""anthropic_version":"vertex-2023-10-16""#;
        let streamed = of(Operation::Generate, true, Some("2023-06-01"));
        assert_eq!(
            (streamed.remove, &*streamed.insert),
            (&["model", "anthropic_version"][..], old)
        );
        let whole = of(Operation::Generate, false, None);
        assert_eq!(whole.remove, ["model", "anthropic_version", "stream"]);
        let count = of(Operation::CountTokens, false, Some("2026-10-21"));
        assert_eq!(count.remove, ["anthropic_version"]);
        assert_eq!(&*count.insert, r#""anthropic_version":"2026-10-21""#);
        assert_eq!(
            envelope(&asking("gemini-3.8-flash", DialectName::Gemini)),
            None
        );
    }

    #[test]
    fn betas_that_google_refuses_are_left_out() {
        for (said, sent) in [
            (
                "context-1m-2025-08-07, fast-mode-2026-02-01",
                Some("context-1m-2025-08-07"),
            ),
            (
                "advanced-tool-use-2025-11-20,tool-search-tool-2025-10-19",
                Some("tool-search-tool-2025-10-19"),
            ),
            ("files-api-2025-04-14", None),
        ] {
            let client = ClientHeaders {
                anthropic_beta: Some(said),
                ..ClientHeaders::default()
            };
            let head = call(&Asking {
                client: &client,
                ..asking("claude-opus-5-5", DialectName::Messages)
            });
            assert_eq!(head.header("anthropic-beta"), sent);
            assert_eq!(head.header("anthropic-version"), None);
        }
    }
}
