//! xAI: OpenAI's paths, and a header that keeps a conversation where its cache is (`providers/xai.md` 1 and 5).

use crate::canon::DialectName;
use crate::protocol::provider::call::in_path;
use crate::protocol::provider::{Asking, CallHead, Operation, Tongue, openai};

/// Both of OpenAI's grammars. Responses is best for clients of other dialects where the model reasons, since only there its reasoning can be
/// sent back; agents of several models speak nothing else. `/messages` is being given up and asked for only by who prefers it.
pub(super) fn tongue(model: &str) -> Tongue {
    use DialectName::{Chat, Messages, Responses};
    if model.contains("multi-agent") {
        return Tongue::only(&[Responses]);
    }
    let well: &'static [DialectName] = if model.contains("non-reasoning") {
        &[Chat, Responses]
    } else {
        &[Responses, Chat]
    };
    Tongue {
        well,
        also: &[Messages],
    }
}

#[must_use]
pub fn call(asking: &Asking<'_>) -> CallHead {
    match asking.operation {
        Operation::VideoStart => return CallHead::post("/v1/videos/generations", false),
        Operation::VideoPoll => {
            return CallHead::get(format!("/v1/videos/{}", in_path(asking.operation_name)));
        }
        _ => {}
    }
    let mut head = openai::compatible(asking);
    // Responses has a field of the body for it (`prompt_cache_key`).
    if asking.dialect == DialectName::Chat {
        head.steer("x-grok-conv-id", asking.affinity);
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::provider::tests::asking;
    use crate::protocol::provider::{Place, ProviderKind};

    #[test]
    fn a_conversation_stays_where_its_cache_is() {
        for (dialect, path, id) in [
            (DialectName::Chat, "/v1/chat/completions", Some("c1")),
            (DialectName::Responses, "/v1/responses", None),
        ] {
            let head = call(&Asking {
                affinity: Some("c1"),
                ..asking("grok-4.7", dialect)
            });
            assert_eq!((&*head.path, head.header("x-grok-conv-id")), (path, id));
        }
    }

    #[test]
    fn a_model_is_asked_in_what_keeps_its_reasoning() {
        use DialectName::{Chat, Messages, Responses};
        for (model, client, preferred, wanted) in [
            ("grok-4.7", Chat, None, Chat),
            ("grok-4.7", Messages, None, Responses),
            ("grok-4.7", Messages, Some(Chat), Chat),
            ("grok-4.7", Messages, Some(Messages), Messages),
            ("grok-4.20-non-reasoning", Messages, None, Chat),
            ("grok-4.20-multi-agent-0309", Chat, Some(Chat), Responses),
        ] {
            let kind = ProviderKind::Xai;
            let dialect = kind.dialect_for(client, model, &Place::default(), preferred);
            assert_eq!(dialect, wanted, "{model} for {client:?}");
        }
    }

    #[test]
    fn videos_have_paths_of_their_own() {
        let of = |operation| {
            let head = call(&Asking {
                operation,
                operation_name: "r1",
                ..asking("grok-imagine-video-1.5", DialectName::Chat)
            });
            (head.method, head.path)
        };
        assert_eq!(
            of(Operation::VideoStart),
            ("POST", "/v1/videos/generations".into())
        );
        assert_eq!(of(Operation::VideoPoll), ("GET", "/v1/videos/r1".into()));
    }
}
