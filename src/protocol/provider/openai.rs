//! OpenAI itself, hosts in its style (Azure), and the fake provider where it speaks Chat Completions (`providers/openai.md` 1).
//!
//! Only method, path and headers: the body is the dialect's, the host is the configuration's. `OpenAI-Organization`, `OpenAI-Project` and
//! Azure's `api-key` are headers of the configuration, its `api-version` a query of it.

use crate::canon::DialectName;
use crate::protocol::provider::call::in_path;
use crate::protocol::provider::{Asking, CallHead, Deed, Operation, Tongue, anthropic};
use std::borrow::Cow;

/// A call of Chat Completions, Responses, embeddings or the count of tokens.
#[must_use]
pub fn call(asking: &Asking<'_>) -> CallHead {
    let mut head = compatible(asking);
    // A beta that the client asked for by name is the client's to ask for (`OpenAI-Beta`, OpenAI docs, read 2026-08).
    head.pass("openai-beta", asking.client.openai_beta);
    head
}

/// What all speakers of OpenAI's paths want: JSON there, JSON or a stream back. Where they also speak Messages it is under the same root, with
/// its version.
pub(super) fn compatible(asking: &Asking<'_>) -> CallHead {
    if let Some(head) = video(asking) {
        return head;
    }
    if let Operation::Kept(deed) = asking.operation {
        return kept(asking, deed);
    }
    let path = match (asking.operation, asking.dialect) {
        (Operation::CountTokens, DialectName::Messages) => "/v1/messages/count_tokens",
        (Operation::CountTokens, _) => "/v1/responses/input_tokens",
        (Operation::Embed | Operation::EmbedMany, _) => "/v1/embeddings",
        (Operation::Transcribe, _) => "/v1/audio/transcriptions",
        (Operation::Translate, _) => "/v1/audio/translations",
        (Operation::VideoStart, _) => "/v1/videos",
        (_, DialectName::Responses) => "/v1/responses",
        (_, DialectName::Messages) => "/v1/messages",
        (_, DialectName::Completions) => "/v1/completions",
        (_, _) => "/v1/chat/completions",
    };
    let mut head = CallHead::post(rooted(asking, path.into()), asking.stream);
    if asking.dialect == DialectName::Messages {
        anthropic::speak(&mut head, asking.client);
    }
    head
}

/// Calls about a video that was ordered. The name of its bytes may have a query, which says what of it is wanted.
fn video(asking: &Asking<'_>) -> Option<CallHead> {
    let name = asking.operation_name;
    let of = |id: &str| format!("/v1/videos/{}", in_path(id));
    let (method, path) = match (asking.operation, name.split_once('?')) {
        (Operation::VideoPoll, _) => ("GET", of(name)),
        (Operation::VideoDelete, _) => ("DELETE", of(name)),
        (Operation::VideoContent, None) => ("GET", of(name) + "/content"),
        (Operation::VideoContent, Some((id, query))) => {
            ("GET", format!("{}/content?{query}", of(id)))
        }
        _ => return None,
    };
    let mut head = CallHead::get(rooted(asking, path.into()));
    head.method = method;
    if asking.operation == Operation::VideoContent {
        head.headers.clear();
    }
    Some(head)
}

/// OpenAI API reference, responses, read 2026-11.
fn kept(asking: &Asking<'_>, deed: Deed) -> CallHead {
    let (method, after) = match deed {
        Deed::Fetch => ("GET", ""),
        Deed::Delete => ("DELETE", ""),
        Deed::Cancel => ("POST", "/cancel"),
        Deed::Inputs => ("GET", "/input_items"),
    };
    let id = in_path(asking.operation_name);
    let path = rooted(asking, format!("/v1/responses/{id}{after}").into());
    match deed {
        Deed::Cancel => CallHead::post(path, false),
        Deed::Fetch | Deed::Delete | Deed::Inputs => CallHead::bare(method, path, asking.stream),
    }
}

/// `path` without `/v1` where the base URL has something else in its stead.
pub(super) fn rooted(asking: &Asking<'_>, path: Cow<'static, str>) -> Cow<'static, str> {
    match path {
        path if !asking.place.unversioned => path,
        Cow::Borrowed(path) => Cow::Borrowed(path.strip_prefix("/v1").unwrap_or(path)),
        Cow::Owned(path) => Cow::Owned(path.strip_prefix("/v1").unwrap_or(&path).to_owned()),
    }
}

/// What a model is asked in. Models that reason keep their reasoning over turns only through Responses, so that is best for clients of other
/// dialects; it has no stop sequences or penalties, which those models refuse in Chat Completions too.
pub(super) fn tongue(model: &str) -> Tongue {
    use DialectName::{Chat, Completions, Responses};
    if completions_only(model) {
        Tongue::only(&[Completions])
    } else if responses_only(model) {
        Tongue::only(&[Responses])
    } else if model.contains("audio") || model.contains("search-preview") {
        // Audio out and the search models exist in Chat Completions alone (OpenAI docs, read 2026-08).
        Tongue::only(&[Chat])
    } else if reasons(model) {
        Tongue::only(&[Responses, Chat])
    } else {
        Tongue {
            well: &[Chat, Responses],
            // OpenAI refuses its chat models there; hosts in its style may serve theirs.
            also: &[Completions],
        }
    }
}

/// What is left of the models before chat (OpenAI docs, models, read 2026-11).
fn completions_only(model: &str) -> bool {
    let base = ["babbage-002", "davinci-002"];
    model.starts_with("gpt-3.5-turbo-instruct") || base.contains(&model)
}

/// `providers/pricing-other.csv` and `openai.md` 0: the pro, codex and deep-research models, and gpt-6-astra, whose tools need it.
fn responses_only(model: &str) -> bool {
    let dated = |name: &str| {
        model
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("-2"))
    };
    let pro = model.ends_with("-pro") || model.contains("-pro-");
    (pro && reasons(model))
        || (reasons(model) && model.contains("-codex"))
        || model.contains("-deep-research")
        || model.starts_with("computer-use-preview")
        || dated("gpt-6-astra")
}

fn reasons(model: &str) -> bool {
    let o_series = model.strip_prefix('o').is_some_and(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        digits > 0 && matches!(rest.as_bytes().get(digits), None | Some(b'-'))
    });
    let chat_models = model.contains("-chat-latest");
    o_series || ((model.starts_with("gpt-5") || model.starts_with("gpt-6")) && !chat_models)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::provider::tests::asking;
    use crate::protocol::provider::{ClientHeaders, Place, ProviderKind};

    #[test]
    fn a_call_carries_the_beta_that_is_for_openai() {
        let client = ClientHeaders {
            openai_beta: Some("x=1"),
            anthropic_beta: Some("not for OpenAI"),
            ..ClientHeaders::default()
        };
        let head = call(&Asking {
            client: &client,
            ..asking("gpt-5", DialectName::Chat)
        });
        let headers: Vec<(&str, &str)> = head.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(
            (head.method, &*head.path, &headers[..]),
            (
                "POST",
                "/v1/chat/completions",
                &[
                    ("content-type", "application/json"),
                    ("accept", "text/event-stream"),
                    ("openai-beta", "x=1"),
                ][..]
            )
        );
    }

    #[test]
    fn every_operation_has_its_path() {
        use DialectName::{Chat, Responses};
        for (operation, dialect, method, path) in [
            (Operation::Generate, Responses, "POST", "/v1/responses"),
            (
                Operation::CountTokens,
                Responses,
                "POST",
                "/v1/responses/input_tokens",
            ),
            (Operation::Embed, Chat, "POST", "/v1/embeddings"),
            (Operation::VideoStart, Chat, "POST", "/v1/videos"),
            (Operation::VideoPoll, Chat, "GET", "/v1/videos/video_1%3F"),
            (
                Operation::VideoDelete,
                Chat,
                "DELETE",
                "/v1/videos/video_1%3F",
            ),
            (
                Operation::VideoContent,
                Chat,
                "GET",
                "/v1/videos/video_1/content?",
            ),
            (
                Operation::Kept(Deed::Fetch),
                Responses,
                "GET",
                "/v1/responses/video_1%3F",
            ),
            (
                Operation::Kept(Deed::Delete),
                Responses,
                "DELETE",
                "/v1/responses/video_1%3F",
            ),
            (
                Operation::Kept(Deed::Cancel),
                Responses,
                "POST",
                "/v1/responses/video_1%3F/cancel",
            ),
            (
                Operation::Kept(Deed::Inputs),
                Responses,
                "GET",
                "/v1/responses/video_1%3F/input_items",
            ),
        ] {
            let head = call(&Asking {
                operation,
                operation_name: "video_1?",
                ..asking("m", dialect)
            });
            assert_eq!((head.method, &*head.path), (method, path));
        }
    }

    #[test]
    fn a_host_in_azures_style_has_its_own_root() {
        let place = Place {
            unversioned: true,
            ..Place::default()
        };
        for (operation, path) in [
            (Operation::Generate, "/chat/completions"),
            (Operation::VideoPoll, "/videos/v"),
        ] {
            let head = call(&Asking {
                place: &place,
                operation,
                operation_name: "v",
                ..asking("deployment", DialectName::Chat)
            });
            assert_eq!(head.path, path);
        }
    }

    #[test]
    fn a_model_is_asked_in_what_it_answers() {
        use DialectName::{Chat, Gemini, Messages, Responses};
        for (model, client, wanted) in [
            ("gpt-5.4", Chat, Chat),
            ("gpt-5.4", Responses, Responses),
            ("gpt-5.4", Messages, Responses),
            ("o3", Gemini, Responses),
            ("o4-mini-2025-04-16", Messages, Responses),
            ("gpt-4.1", Messages, Chat),
            ("omni-moderation", Messages, Chat),
            ("my-deployment", Messages, Chat),
            ("gpt-5.5-pro", Chat, Responses),
            ("gpt-5.4-pro-2026-03-05", Chat, Responses),
            ("gpt-6-astra", Chat, Responses),
            ("gpt-6.2-astra", Chat, Chat),
            ("gpt-4o-audio-preview", Responses, Chat),
            ("gpt-5-chat-latest", Messages, Chat),
        ] {
            let dialect = ProviderKind::OpenAi.dialect_for(client, model, &Place::default(), None);
            assert_eq!(dialect, wanted, "{model} for {client:?}");
        }
    }
}
