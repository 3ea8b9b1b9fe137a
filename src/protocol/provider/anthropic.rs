//! Anthropic's own endpoint: headers, versions, betas (`providers/anthropic.md` 1.1 and 1.3).
//!
//! Of the client's headers only the version and the betas pass: the body is written for that version where it came from such a client.

use crate::base::Secret;
use crate::protocol::provider::{Asking, CallHead, ClientHeaders, Operation};

/// `POST /v1/messages`, or its count of tokens.
#[must_use]
pub fn call(asking: &Asking<'_>) -> CallHead {
    let path = match asking.operation {
        Operation::CountTokens => "/v1/messages/count_tokens",
        _ => "/v1/messages",
    };
    let mut head = CallHead::post(path, asking.stream);
    speak(&mut head, asking.client);
    head.pass("anthropic-beta", asking.client.anthropic_beta);
    head
}

/// The version header, which every speaker of Messages under its own URL wants.
pub(super) fn speak(head: &mut CallHead, client: &ClientHeaders<'_>) {
    match client.anthropic_version {
        Some(version) => head.add("anthropic-version", version.to_owned()),
        None => head.add("anthropic-version", VERSION),
    }
}

// The version that still takes sampling parameters, which clients of other dialects send (1.3).
const VERSION: &str = "2023-06-01";

/// Tokens of OAuth travel as a bearer; keys in their own header, which every version takes.
pub fn sign(head: &mut CallHead, key: &Secret) {
    if key.expose().starts_with("sk-ant-oat") {
        head.bearer(key);
    } else {
        head.add("x-api-key", key.expose().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::DialectName;
    use crate::protocol::provider::tests::asking;

    #[test]
    fn the_key_stands_in_its_header_and_the_version_is_given() {
        let mut head = call(&asking("m", DialectName::Messages));
        sign(&mut head, &Secret::new("sk-ant-api-1".to_owned()));
        assert_eq!((head.method, &*head.path), ("POST", "/v1/messages"));
        assert_eq!(head.header("x-api-key"), Some("sk-ant-api-1"));
        assert_eq!(head.header("anthropic-version"), Some("2023-06-01"));
        assert_eq!(head.header("accept"), Some("text/event-stream"));
        assert_eq!(head.header("anthropic-beta"), None);
        assert_eq!(head.header("authorization"), None);
    }

    #[test]
    fn the_clients_version_and_betas_pass() {
        let client = ClientHeaders {
            anthropic_version: Some("2026-10-21"),
            anthropic_beta: Some("a,b"),
            ..ClientHeaders::default()
        };
        let head = call(&Asking {
            client: &client,
            stream: false,
            operation: Operation::CountTokens,
            ..asking("m", DialectName::Messages)
        });
        assert_eq!(&*head.path, "/v1/messages/count_tokens");
        assert_eq!(head.header("anthropic-version"), Some("2026-10-21"));
        assert_eq!(head.header("anthropic-beta"), Some("a,b"));
        assert_eq!(head.header("accept"), Some("application/json"));
        assert_eq!(head.header("x-api-key"), None);
    }

    #[test]
    fn a_token_of_oauth_is_a_bearer() {
        let mut head = call(&asking("m", DialectName::Messages));
        sign(&mut head, &Secret::new("sk-ant-oat01-x".to_owned()));
        assert_eq!(head.header("authorization"), Some("Bearer sk-ant-oat01-x"));
        assert_eq!(head.header("x-api-key"), None);
    }
}
