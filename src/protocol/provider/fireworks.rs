//! Fireworks: OpenAI's paths and Anthropic's under one root, and a header for affinity (`providers/fireworks.md` 1 and 4).

use crate::canon::DialectName;
use crate::protocol::provider::{Asking, CallHead, Tongue, openai};

/// Chat Completions is what its models are served in; the other two are served beside it.
pub const TONGUE: Tongue = Tongue::only(&[
    DialectName::Chat,
    DialectName::Responses,
    DialectName::Messages,
    DialectName::Completions,
]);

#[must_use]
pub fn call(asking: &Asking<'_>) -> CallHead {
    let mut head = openai::compatible(asking);
    head.steer("x-session-affinity", asking.affinity);
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::provider::tests::asking;

    #[test]
    fn each_dialect_has_its_path_and_a_session_its_replica() {
        for (dialect, path, version) in [
            (DialectName::Chat, "/v1/chat/completions", None),
            (DialectName::Responses, "/v1/responses", None),
            (DialectName::Messages, "/v1/messages", Some("2023-06-01")),
        ] {
            let head = call(&Asking {
                affinity: Some("s1"),
                ..asking("accounts/fireworks/models/kimi-k3", dialect)
            });
            assert_eq!(&*head.path, path);
            assert_eq!(head.header("x-session-affinity"), Some("s1"));
            assert_eq!(head.header("anthropic-version"), version);
        }
    }
}
