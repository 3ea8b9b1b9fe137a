//! Anthropic's own endpoint: headers, versions, betas (`providers/anthropic.md` 1.1 and 1.3).
//!
//! Of the client's headers only the version and the betas pass: the body is written for that version where it came from such a client.

use crate::base::Secret;
use crate::protocol::provider::{CallHead, ClientHeaders};

/// `POST /v1/messages`.
#[must_use]
pub fn call(key: Option<&Secret>, client: &ClientHeaders<'_>, stream: bool) -> CallHead {
    let mut headers = vec![("content-type", "application/json".to_owned())];
    let accept = if stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    headers.push(("accept", accept.to_owned()));
    if let Some(key) = key {
        headers.push(credential(key.expose()));
    }
    let version = client.anthropic_version.unwrap_or(VERSION);
    headers.push(("anthropic-version", version.to_owned()));
    if let Some(beta) = client.anthropic_beta {
        headers.push(("anthropic-beta", beta.to_owned()));
    }
    CallHead {
        method: "POST",
        path: "/v1/messages".to_owned(),
        headers,
    }
}

// The version that still takes sampling parameters, which clients of other dialects send (1.3).
const VERSION: &str = "2023-06-01";

/// Tokens of OAuth travel as a bearer; keys in their own header, which every version takes.
fn credential(key: &str) -> (&'static str, String) {
    if key.starts_with("sk-ant-oat") {
        ("authorization", format!("Bearer {key}"))
    } else {
        ("x-api-key", key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(call: &'a CallHead, name: &str) -> Option<&'a str> {
        let found = call.headers.iter().find(|(n, _)| *n == name)?;
        Some(&found.1)
    }

    #[test]
    fn the_key_stands_in_its_header_and_the_version_is_given() {
        let key = Secret::new("sk-ant-api-1".to_owned());
        let head = call(Some(&key), &ClientHeaders::default(), true);
        assert_eq!((head.method, &*head.path), ("POST", "/v1/messages"));
        assert_eq!(header(&head, "x-api-key"), Some("sk-ant-api-1"));
        assert_eq!(header(&head, "anthropic-version"), Some("2023-06-01"));
        assert_eq!(header(&head, "accept"), Some("text/event-stream"));
        assert_eq!(header(&head, "anthropic-beta"), None);
        assert_eq!(header(&head, "authorization"), None);
    }

    #[test]
    fn the_clients_version_and_betas_pass() {
        let client = ClientHeaders {
            anthropic_version: Some("2026-10-21"),
            anthropic_beta: Some("a,b"),
            ..ClientHeaders::default()
        };
        let head = call(None, &client, false);
        assert_eq!(header(&head, "anthropic-version"), Some("2026-10-21"));
        assert_eq!(header(&head, "anthropic-beta"), Some("a,b"));
        assert_eq!(header(&head, "accept"), Some("application/json"));
        assert_eq!(header(&head, "x-api-key"), None);
    }

    #[test]
    fn a_token_of_oauth_is_a_bearer() {
        let key = Secret::new("sk-ant-oat01-x".to_owned());
        let head = call(Some(&key), &ClientHeaders::default(), false);
        assert_eq!(
            header(&head, "authorization"),
            Some("Bearer sk-ant-oat01-x")
        );
        assert_eq!(header(&head, "x-api-key"), None);
    }
}
