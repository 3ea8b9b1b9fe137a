//! Own machines that speak Chat Completions: SGLang, vLLM, llama.cpp and their like.
//!
//! Beside its path and token a self-hosted engine is told nothing: no beta of OpenAI's exists there.

use crate::base::Secret;
use crate::protocol::provider::{CallHead, ClientHeaders, openai};

/// A call of Chat Completions; engines started without `--api-key` want no token (SGLang 0.5.23, vLLM 0.33, read 2026-11). The base
/// URL is the host's, without `/v1`.
#[must_use]
pub fn call(key: Option<&Secret>, _client: &ClientHeaders<'_>, stream: bool) -> CallHead {
    openai::bearer_call(key, stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_without_a_key_is_shown_none() {
        let client = ClientHeaders {
            openai_beta: Some("x=1"),
            ..ClientHeaders::default()
        };
        let head = call(None, &client, true);
        let names: Vec<_> = head.headers.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["content-type", "accept"]);
        assert_eq!(head.path, "/v1/chat/completions");
    }
}
