//! OpenRouter: three grammars under one root, sticky sessions, and the names of programs (`providers/openrouter.md` 1 and 5).

use crate::canon::DialectName;
use crate::protocol::provider::{Asking, CallHead, Tongue, openai};

/// Chat Completions is the one that its `reasoning_details` and costs are documented for, so it is best for clients of other dialects.
pub const TONGUE: Tongue = Tongue::only(&[
    DialectName::Chat,
    DialectName::Messages,
    DialectName::Responses,
    DialectName::Completions,
]);

#[must_use]
pub fn call(asking: &Asking<'_>) -> CallHead {
    let mut head = openai::compatible(asking);
    head.steer("x-session-id", asking.affinity);
    let client = asking.client;
    head.pass("http-referer", client.openrouter_referer);
    head.pass("x-openrouter-title", client.openrouter_title);
    if asking.dialect == DialectName::Messages {
        head.pass("x-anthropic-beta", client.anthropic_beta);
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::provider::ClientHeaders;
    use crate::protocol::provider::tests::asking;

    #[test]
    fn a_call_says_which_session_and_which_program() {
        let client = ClientHeaders {
            openrouter_referer: Some("https://app.example"),
            openrouter_title: Some("App"),
            anthropic_beta: Some("b"),
            ..ClientHeaders::default()
        };
        for (dialect, path, beta) in [
            (DialectName::Chat, "/v1/chat/completions", None),
            (DialectName::Responses, "/v1/responses", None),
            (DialectName::Messages, "/v1/messages", Some("b")),
        ] {
            let head = call(&Asking {
                client: &client,
                affinity: Some("s"),
                ..asking("anthropic/claude-sonnet-5", dialect)
            });
            assert_eq!(&*head.path, path);
            assert_eq!(head.header("x-session-id"), Some("s"));
            assert_eq!(head.header("http-referer"), Some("https://app.example"));
            assert_eq!(head.header("x-openrouter-title"), Some("App"));
            assert_eq!(head.header("x-anthropic-beta"), beta);
        }
    }
}
