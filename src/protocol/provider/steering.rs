//! How each provider is told which requests belong together, and how it takes cache marks.
//!
//! Only which words go where: who says them, and what they are, is the router's. Headers are written by each kind's `call`.

use super::ProviderKind;
use crate::canon::DialectName;
use crate::protocol::dialect::splice::marks::Spelling;

/// Where a provider looks for what requests have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    /// A header that names the conversation (`Asking::affinity`).
    pub header: Option<&'static str>,
    /// A member of the body, and what it names.
    pub body: Option<(&'static str, Circle)>,
    /// Members by which a client steers by itself: where it says one, nothing is added.
    pub own: &'static [&'static str],
}

/// What shares one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circle {
    Conversation,
    /// All prompts that begin alike, so that they share what they begin with; several keys where they come often.
    Family,
}

/// Headers by which clients name their conversations, in the order in which one is believed.
pub const CLIENT_HEADERS: [&str; 4] = [
    "x-session-id",
    "x-grok-conv-id",
    "x-session-affinity",
    "x-smg-routing-key",
];

const KEY: &str = "prompt_cache_key";

impl ProviderKind {
    /// How it is steered in `dialect`.
    ///
    /// OpenAI docs, prompt caching, read 2026-09: a key and the prompt's first tokens choose the machine; different keys share no entries, so a key
    /// for each conversation would cost what instructions have in common. xAI docs, maximizing cache hits, read 2026-10: one for each
    /// conversation, a header in Chat and the key in Responses. Fireworks docs, prompt caching, read 2026-08: the key before `user` before the
    /// header. OpenRouter docs, prompt caching, read 2026-08: `session_id` or the header; the key goes on to models of OpenAI.
    #[must_use]
    pub fn steering(self, dialect: DialectName, model: &str) -> Steering {
        use DialectName::{Chat, Responses};
        let speaks_openai = matches!(dialect, Chat | Responses);
        let of = |header, body, own| Steering { header, body, own };
        match self {
            Self::OpenAi if speaks_openai => of(None, Some((KEY, Circle::Family)), &[KEY]),
            Self::Xai if dialect == Chat => of(Some("x-grok-conv-id"), None, &[KEY]),
            Self::Xai if dialect == Responses => {
                of(None, Some((KEY, Circle::Conversation)), &[KEY])
            }
            Self::Fireworks => {
                let body = speaks_openai.then_some((KEY, Circle::Conversation));
                of(Some("x-session-affinity"), body, &[KEY, "user"])
            }
            Self::OpenRouter => {
                let is_openais = speaks_openai && model.starts_with("openai/");
                let body = is_openais.then_some((KEY, Circle::Family));
                of(Some("x-session-id"), body, &[KEY, "session_id"])
            }
            Self::SelfHosted => of(Some("x-smg-routing-key"), None, &[]),
            _ => Steering::default(),
        }
    }

    /// How a mark is spelled in `dialect`; `None` where none is taken, or nobody says so.
    #[must_use]
    pub fn marks(self, dialect: DialectName) -> Option<Spelling> {
        use DialectName::{Chat, Converse, Messages, Responses};
        match (self, dialect) {
            (
                Self::Anthropic | Self::Bedrock | Self::Vertex | Self::OpenRouter | Self::Fake,
                Messages,
            ) => Some(Spelling::CacheControl),
            (Self::Bedrock, Converse) => Some(Spelling::CachePoint),
            // `providers/openrouter.md` 1: parts of messages take Anthropic's marks.
            (Self::OpenRouter, Chat) => Some(Spelling::CacheControl),
            (Self::OpenAi, Chat | Responses) => Some(Spelling::Breakpoint),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_is_steered_where_it_looks() {
        use DialectName::{Chat, Gemini, Messages, Responses};
        use ProviderKind::{Anthropic, Fireworks, OpenAi, OpenRouter, SelfHosted, Xai};
        let (talk, family) = (Circle::Conversation, Circle::Family);
        for (kind, dialect, model, header, body) in [
            (OpenAi, Chat, "gpt-6", None, Some(family)),
            (OpenAi, Responses, "gpt-6", None, Some(family)),
            (Xai, Chat, "grok-4.7", Some("x-grok-conv-id"), None),
            (Xai, Responses, "grok-4.7", None, Some(talk)),
            (Xai, Messages, "grok-4.7", None, None),
            (Fireworks, Chat, "k", Some("x-session-affinity"), Some(talk)),
            (Fireworks, Messages, "k", Some("x-session-affinity"), None),
            (OpenRouter, Chat, "anthropic/c", Some("x-session-id"), None),
            (
                OpenRouter,
                Chat,
                "openai/g",
                Some("x-session-id"),
                Some(family),
            ),
            (SelfHosted, Chat, "q", Some("x-smg-routing-key"), None),
            (Anthropic, Messages, "c", None, None),
            (ProviderKind::Gemini, Gemini, "g", None, None),
        ] {
            let steering = kind.steering(dialect, model);
            assert_eq!(steering.header, header, "{kind:?} {dialect:?}");
            assert_eq!(
                steering.body.map(|(_, circle)| circle),
                body,
                "{kind:?} {dialect:?}"
            );
            let header = steering.header.is_none_or(|h| CLIENT_HEADERS.contains(&h));
            let own = steering
                .body
                .is_none_or(|(name, _)| steering.own.contains(&name));
            assert!(header && own, "a client's own is seen: {kind:?}");
        }
    }

    /// The table and the calls agree on the header.
    #[test]
    fn the_header_of_a_call_is_the_one_of_the_table() {
        use crate::protocol::provider::{Asking, tests::asking};
        for kind in ProviderKind::ALL {
            for dialect in [
                DialectName::Chat,
                DialectName::Responses,
                DialectName::Messages,
            ] {
                let head = kind.call(&Asking {
                    affinity: Some("the-conversation"),
                    ..asking("model", dialect)
                });
                let said = head.headers.iter().find(|(_, v)| *v == "the-conversation");
                let header = kind.steering(dialect, "model").header;
                assert_eq!(
                    said.map(|(name, _)| &**name),
                    header,
                    "{kind:?} {dialect:?}"
                );
            }
        }
    }
}
