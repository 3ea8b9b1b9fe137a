//! Google's API for developers (`providers/gemini.md` 1, 8 and 10).
//!
//! Its version is `v1beta`, since `v1` knows fewer fields. The key goes into a header, never into the query, where logs would keep it.

use crate::base::Secret;
use crate::canon::DialectName;
use crate::protocol::provider::call::in_path;
use crate::protocol::provider::{Asking, CacheDeed, CallHead, Operation, Tongue};

/// Its own grammar; the OpenAI-compatible path loses thought signatures' places and most of the usage.
pub const TONGUE: Tongue = Tongue {
    well: &[DialectName::Gemini],
    also: &[DialectName::Chat],
};

#[must_use]
pub fn call(asking: &Asking<'_>) -> CallHead {
    if asking.dialect == DialectName::Chat {
        let path = match asking.operation {
            Operation::Embed => "/v1beta/openai/embeddings",
            _ => "/v1beta/openai/chat/completions",
        };
        return CallHead::post(path, asking.stream);
    }
    if asking.operation == Operation::VideoPoll {
        return CallHead::get(format!("/v1beta/{}", in_path(asking.operation_name)));
    }
    if asking.operation == Operation::VideoContent {
        let file = in_path(asking.operation_name);
        let mut head = CallHead::get(format!("/v1beta/files/{file}:download?alt=media"));
        head.headers.clear();
        return head;
    }
    if let Operation::Cached(deed) = asking.operation {
        return cached(deed, "/v1beta/", asking.operation_name);
    }
    let (folder, model) = match asking.model.split_once('/') {
        Some(("tunedModels", model)) => ("tunedModels", model),
        _ => ("models", bare(asking.model)),
    };
    let method = method(asking.operation, asking.stream);
    let path = format!("/v1beta/{folder}/{}:{method}", in_path(model));
    CallHead::post(path, asking.stream)
}

/// A call about a cached prefix below `root`, by its whole name and perhaps a query (Gemini API reference, Caching, read 2026-11).
pub(super) fn cached(deed: CacheDeed, root: &str, name: &str) -> CallHead {
    let (name, query) = name.split_once('?').unwrap_or((name, ""));
    let mark = if query.is_empty() { "" } else { "?" };
    let named = || format!("{root}{}{mark}{query}", in_path(name));
    match deed {
        CacheDeed::Create => CallHead::post(format!("{root}cachedContents"), false),
        CacheDeed::Get => CallHead::get(named()),
        CacheDeed::Update => CallHead {
            method: "PATCH",
            ..CallHead::post(named(), false)
        },
        CacheDeed::Delete => CallHead::bare("DELETE", named(), false),
    }
}

/// The name alone, without `models/` or `google/` before it.
pub(super) fn bare(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or(model)
}

/// Without `alt=sse` a stream is one JSON array, written piece by piece.
pub(super) fn method(operation: Operation, stream: bool) -> &'static str {
    match (operation, stream) {
        (Operation::Generate, true) => "streamGenerateContent?alt=sse",
        (Operation::Generate, false) => "generateContent",
        (Operation::CountTokens, _) => "countTokens",
        (Operation::Embed, _) => "embedContent",
        (Operation::EmbedMany, _) => "batchEmbedContents",
        (Operation::VideoStart, _) => "predictLongRunning",
        // The last two have no method of a model's: `call` and `offers` know.
        (Operation::VideoPoll | Operation::VideoContent | Operation::VideoDelete, _) => {
            "fetchPredictOperation"
        }
        // Nobody asks this of Google: it keeps no answers in Responses.
        // Caches have paths of their own.
        (
            Operation::Kept(_)
            | Operation::Transcribe
            | Operation::Translate
            | Operation::Cached(_),
            _,
        ) => "generateContent",
    }
}

/// A key's header; the OpenAI-compatible path takes it as OpenAI's clients send it.
pub fn sign(head: &mut CallHead, key: &Secret) {
    if head.path.contains("/openai/") || head.path.contains("/openapi/") {
        head.bearer(key);
    } else {
        head.add("x-goog-api-key", key.expose().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::provider::tests::asking;

    #[test]
    fn every_operation_has_its_path() {
        use Operation::{CountTokens, Embed, EmbedMany, Generate, VideoPoll, VideoStart};
        for (operation, stream, model, method, path) in [
            (
                Generate,
                true,
                "gemini-3.8-flash",
                "POST",
                "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse",
            ),
            (
                Generate,
                false,
                "models/gemini-3.8-flash",
                "POST",
                "/v1beta/models/gemini-3.8-flash:generateContent",
            ),
            (
                Generate,
                false,
                "tunedModels/mine",
                "POST",
                "/v1beta/tunedModels/mine:generateContent",
            ),
            (
                CountTokens,
                false,
                "gemini-3.8-flash",
                "POST",
                "/v1beta/models/gemini-3.8-flash:countTokens",
            ),
            (
                Embed,
                false,
                "gemini-embedding-001",
                "POST",
                "/v1beta/models/gemini-embedding-001:embedContent",
            ),
            (
                EmbedMany,
                false,
                "gemini-embedding-001",
                "POST",
                "/v1beta/models/gemini-embedding-001:batchEmbedContents",
            ),
            (
                VideoStart,
                false,
                "veo-3.1",
                "POST",
                "/v1beta/models/veo-3.1:predictLongRunning",
            ),
            (
                VideoPoll,
                false,
                "veo-3.1",
                "GET",
                "/v1beta/models/veo-3.1/operations/op1",
            ),
        ] {
            let head = call(&Asking {
                operation,
                stream,
                operation_name: "models/veo-3.1/operations/op1",
                ..asking(model, DialectName::Gemini)
            });
            assert_eq!((head.method, &*head.path), (method, path));
        }
    }

    #[test]
    fn a_cached_prefix_is_asked_after_by_its_name() {
        for (deed, name, method, path) in [
            (CacheDeed::Create, "", "POST", "/v1beta/cachedContents"),
            (
                CacheDeed::Get,
                "cachedContents/a",
                "GET",
                "/v1beta/cachedContents/a",
            ),
            (
                CacheDeed::Update,
                "cachedContents/a?updateMask=ttl",
                "PATCH",
                "/v1beta/cachedContents/a?updateMask=ttl",
            ),
            (
                CacheDeed::Delete,
                "cachedContents/a",
                "DELETE",
                "/v1beta/cachedContents/a",
            ),
        ] {
            let head = call(&Asking {
                operation: Operation::Cached(deed),
                operation_name: name,
                ..asking("gemini-3.8-flash", DialectName::Gemini)
            });
            assert_eq!((head.method, &*head.path), (method, path));
            let has_body = head.header("content-type").is_some();
            assert_eq!(has_body, matches!(method, "POST" | "PATCH"), "{method}");
        }
    }

    #[test]
    fn the_key_is_a_header_and_never_in_the_path() {
        let key = Secret::new("AIza-1".to_owned());
        let mut head = call(&asking("gemini-3.8-flash", DialectName::Gemini));
        sign(&mut head, &key);
        assert_eq!(head.header("x-goog-api-key"), Some("AIza-1"));
        assert!(!head.path.contains("AIza"), "{}", head.path);
        let mut head = call(&asking("gemini-3.8-flash", DialectName::Chat));
        sign(&mut head, &key);
        assert_eq!(&*head.path, "/v1beta/openai/chat/completions");
        assert_eq!(head.header("authorization"), Some("Bearer AIza-1"));
        assert_eq!(head.header("x-goog-api-key"), None);
    }
}
