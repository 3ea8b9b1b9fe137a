//! Own machines: SGLang, vLLM, llama.cpp and their like (`providers/selfhosted.md`).
//!
//! Beside path, token and the id that its own balancer steers by, a self-hosted engine is told nothing: no beta of OpenAI's exists there.

use crate::canon::DialectName;
use crate::protocol::provider::{Asking, CallHead, Tongue, openai};

/// Chat Completions is what they all speak. SGLang 0.5.23 and vLLM 0.33 (read 2026-11) also serve Responses and Messages, others do not, and the
/// name of the kind does not say which engine it is: the endpoint does.
pub const TONGUE: Tongue = Tongue {
    well: &[DialectName::Chat, DialectName::Completions],
    also: &[DialectName::Responses, DialectName::Messages],
};

/// Engines started without `--api-key` want no token. SGLang's policy `routing-key` reads the id; others pass over it.
#[must_use]
pub fn call(asking: &Asking<'_>) -> CallHead {
    let mut head = openai::compatible(asking);
    head.steer("x-smg-routing-key", asking.affinity);
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::provider::tests::asking;
    use crate::protocol::provider::{ClientHeaders, Operation, Place, ProviderKind};

    #[test]
    fn an_engine_without_a_key_is_shown_none() {
        let client = ClientHeaders {
            openai_beta: Some("x=1"),
            ..ClientHeaders::default()
        };
        let head = call(&Asking {
            client: &client,
            ..asking("qwen", DialectName::Chat)
        });
        let names: Vec<_> = head.headers.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["content-type", "accept"]);
        assert_eq!(head.path, "/v1/chat/completions");
    }

    #[test]
    fn an_engine_is_asked_in_what_its_endpoint_says_it_speaks() {
        use DialectName::{Chat, Gemini, Messages, Responses};
        for (client, preferred, wanted) in [
            (Chat, None, Chat),
            (Messages, None, Chat),
            (Messages, Some(Messages), Messages),
            (Chat, Some(Messages), Chat),
            (Gemini, Some(Responses), Responses),
            (Responses, Some(Gemini), Chat),
        ] {
            let dialect =
                ProviderKind::SelfHosted.dialect_for(client, "m", &Place::default(), preferred);
            assert_eq!(dialect, wanted, "{client:?}, {preferred:?}");
        }
    }

    #[test]
    fn a_count_of_tokens_is_asked_of_vllm_as_of_anthropic() {
        let head = call(&Asking {
            operation: Operation::CountTokens,
            affinity: Some("k"),
            ..asking("m", DialectName::Messages)
        });
        assert_eq!(&*head.path, "/v1/messages/count_tokens");
        assert_eq!(head.header("x-smg-routing-key"), Some("k"));
    }
}
