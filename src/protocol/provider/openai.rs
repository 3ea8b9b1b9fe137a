//! OpenAI itself, and the fake provider where it speaks Chat Completions.
//!
//! Only method, path and headers: the body is the dialect's, the host is the configuration's.

use crate::base::Secret;
use crate::protocol::provider::{CallHead, ClientHeaders};

/// A call of Chat Completions. The base URL is the host's (`https://api.openai.com`), without `/v1`.
#[must_use]
pub fn call(key: Option<&Secret>, client: &ClientHeaders<'_>, stream: bool) -> CallHead {
    let mut head = bearer_call(key, stream);
    // A beta that the client asked for by name is the client's to ask for (`OpenAI-Beta`, OpenAI docs, read 2026-08).
    if let Some(beta) = client.openai_beta {
        head.headers.push(("openai-beta", beta.to_owned()));
    }
    head
}

/// What all speakers of Chat Completions want: JSON there, JSON or a stream back, and a bearer token if there is a key.
pub(super) fn bearer_call(key: Option<&Secret>, stream: bool) -> CallHead {
    let accept = if stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("accept", accept.to_owned()),
    ];
    if let Some(key) = key {
        headers.push(("authorization", format!("Bearer {}", key.expose())));
    }
    CallHead {
        method: "POST",
        path: "/v1/chat/completions".to_owned(),
        headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_carries_the_key_and_the_beta() {
        let key = Secret::new("sk-1".to_owned());
        let client = ClientHeaders {
            openai_beta: Some("x=1"),
            anthropic_beta: Some("not for OpenAI"),
            ..ClientHeaders::default()
        };
        let head = call(Some(&key), &client, true);
        assert_eq!(
            (head.method, head.path.as_str()),
            ("POST", "/v1/chat/completions")
        );
        assert_eq!(
            head.headers,
            [
                ("content-type", "application/json".to_owned()),
                ("accept", "text/event-stream".to_owned()),
                ("authorization", "Bearer sk-1".to_owned()),
                ("openai-beta", "x=1".to_owned()),
            ]
        );
        let plain = call(None, &ClientHeaders::default(), false);
        assert_eq!(plain.headers[1].1, "application/json");
        assert_eq!(plain.headers.len(), 2);
    }
}
