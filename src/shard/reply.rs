//! What answers without a provider: the catalogue, and refusals before there is an exchange.

use crate::base::{ClientId, ClientKeyId, EndpointId, Str, WallTime};
use crate::canon::{DialectName, Fault, FaultClass};
use crate::config::{Config, Model};
use crate::protocol::dialect;
use crate::shard::desk::whole_seconds;
use crate::shard::stream::{JSON, request_id_header};
use crate::shard::{Output, ResponseHead};
use bytes::Bytes;
use serde_json::{Value, json};

/// Says no, in the client's dialect. `id`: what the client may name when it asks why.
pub(super) fn refuse(
    client: ClientId,
    dialect: DialectName,
    fault: &Fault,
    id: &str,
    out: &mut Vec<Output>,
) {
    refuse_in(client, (dialect, false), fault, id, out);
}

/// The same to who may have asked for an array.
pub(super) fn refuse_in(
    client: ClientId,
    (dialect, array): (DialectName, bool),
    fault: &Fault,
    id: &str,
    out: &mut Vec<Output>,
) {
    let (status, body) = dialect::write_error(dialect, fault, id);
    let body = in_array(array, body);
    let mut head = head(status, dialect, id);
    head.headers.extend(retry_after(fault));
    if fault.class == FaultClass::UpgradeRequired {
        head.headers
            .push(("upgrade", Str::from_static("websocket")));
    }
    if fault.class == FaultClass::MethodNotAllowed {
        head.headers.push(("allow", allowed(&fault.message)));
    }
    if fault.class == FaultClass::Unauthenticated {
        head.headers
            .push(("www-authenticate", Str::from_static("Bearer")));
    }
    out.push(Output::Respond {
        client,
        head,
        body,
        end: true,
    });
}

/// A refusal for who reads an array: Google wraps it so too where a stream was asked for without `alt=sse`.
pub(super) fn in_array(array: bool, body: Bytes) -> Bytes {
    if !array {
        return body;
    }
    [&b"["[..], &body, &b"]"[..]].concat().into()
}

/// The methods that `paths` says would do, the words in capitals after its "use"; HEAD is served wherever GET is. RFC 9110, 15.5.6: a 405
/// must say them.
fn allowed(message: &str) -> Str {
    let (_, would_do) = message.rsplit_once("use ").unwrap_or_default();
    let is_method = |word: &&str| word.len() > 2 && word.bytes().all(|b| b.is_ascii_uppercase());
    let words = would_do.split(|c: char| !c.is_ascii_alphabetic());
    let mut methods: Vec<&str> = words.filter(is_method).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.join(", ").into()
}

/// `retry-after` where another try can succeed later; whole seconds, rounded up (RFC 9110, 10.2.3).
pub(super) fn retry_after(fault: &Fault) -> Vec<(&'static str, Str)> {
    fault
        .retry_after
        .map(|wait| ("retry-after", whole_seconds(wait).max(1).to_string().into()))
        .into_iter()
        .collect()
}

/// The models a client may name, in the listing of its dialect.
pub(super) fn models(
    client: ClientId,
    dialect: DialectName,
    (config, key): (&Config, ClientKeyId),
    now: WallTime,
    out: &mut Vec<Output>,
) {
    let rights = &config.client_keys[key.0 as usize].rights;
    let offered: Vec<&Model> = config
        .models
        .iter()
        .filter(|m| offered(m, config, now) && rights.allow_model(&m.name))
        .collect();
    let list: Vec<Value> = offered.iter().map(|m| entry(m, dialect, config)).collect();
    let ends = (
        offered.first().map(|m| &m.name),
        offered.last().map(|m| &m.name),
    );
    let body = match dialect {
        DialectName::Chat
        | DialectName::Responses
        | DialectName::Completions
        | DialectName::Converse => {
            json!({"object": "list", "data": list})
        }
        DialectName::Messages => {
            json!({"data": list, "has_more": false, "first_id": ends.0, "last_id": ends.1})
        }
        DialectName::Native | DialectName::Gemini => json!({"models": list}),
    };
    answer(client, dialect, &body, out);
}

pub(super) fn model(
    client: ClientId,
    dialect: DialectName,
    (config, key): (&Config, ClientKeyId),
    name: &str,
    id: &str,
    now: WallTime,
    out: &mut Vec<Output>,
) {
    let known = config
        .model_names
        .get(name)
        .map(|id| &config.models[id.0 as usize])
        .filter(|m| offered(m, config, now))
        .filter(|m| {
            let rights = &config.client_keys[key.0 as usize].rights;
            rights.allow_model(name) || rights.allow_model(&m.name)
        });
    match known {
        Some(model) => answer(client, dialect, &entry(model, dialect, config), out),
        None => {
            let shown: String = name.chars().take(100).collect();
            let message = format!("the model `{shown}` does not exist here");
            refuse(
                client,
                dialect,
                &Fault::new(FaultClass::ModelNotFound, message).with_code("model_not_found"),
                id,
                out,
            );
        }
    }
}

/// Whether some place still serves the model at `now`.
fn offered(model: &Model, config: &Config, now: WallTime) -> bool {
    let lives = |id: &EndpointId| !config.endpoints[id.0 as usize].is_retired(now);
    let over = model.retired.as_ref().is_some_and(|r| r.is_over(now));
    !over && model.endpoints.iter().any(lives)
}

fn entry(model: &Model, dialect: DialectName, config: &Config) -> Value {
    let (context, output) = (model.context.map(|t| t.0), model.output_max.map(|t| t.0));
    match dialect {
        // What stands beside OpenAI's own four fields is OpenRouter's way of saying what a model can take (its docs, read 2026-08); official
        // clients keep what they do not know.
        DialectName::Chat
        | DialectName::Responses
        | DialectName::Completions
        | DialectName::Converse => json!({
            "id": model.name, "object": "model", "created": 0, "owned_by": owner(model, config),
            "context_length": context, "max_output_tokens": output,
            "architecture": {"input_modalities": taken(model), "output_modalities": given(model)},
            "supports_tools": model.takes.tools,
        }),
        DialectName::Messages => json!({
            "type": "model", "id": model.name, "display_name": model.name, "created_at": "1970-01-01T00:00:00Z",
            "lifecycle": "active",
            "max_input_tokens": context, "max_tokens": output,
            // All of them or none, says the schema (Anthropic docs, read 2026-08); and most are not known of a model.
            "capabilities": null,
        }),
        // Gemini API reference, models, read 2026-08.
        DialectName::Gemini => json!({
            "name": format!("models/{}", model.name), "baseModelId": model.name, "version": "1",
            "displayName": model.name, "inputTokenLimit": context, "outputTokenLimit": output,
            "supportedGenerationMethods": methods(model),
        }),
        DialectName::Native => json!({
            "id": model.name, "aliases": model.aliases, "context_tokens": context, "output_tokens_max": output,
            "takes": {
                "images": model.takes.images, "documents": model.takes.documents, "audio": model.takes.audio,
                "video": model.takes.video, "tools": model.takes.tools,
            },
            "gives": given(model),
            "providers": providers(model, config),
        }),
    }
}

fn methods(model: &Model) -> Vec<&'static str> {
    if model.gives.embeddings {
        return vec!["embedContent", "batchEmbedContents"];
    }
    if model.gives.video && !model.gives.text {
        return vec!["predictLongRunning"];
    }
    vec!["generateContent", "streamGenerateContent", "countTokens"]
}

fn taken(model: &Model) -> Vec<&'static str> {
    let takes = model.takes;
    let words = [
        (true, "text"),
        (takes.images, "image"),
        (takes.documents, "file"),
        (takes.audio, "audio"),
        (takes.video, "video"),
    ];
    said(&words)
}

fn given(model: &Model) -> Vec<&'static str> {
    let gives = model.gives;
    let words = [
        (gives.text, "text"),
        (gives.images, "image"),
        (gives.audio, "audio"),
        (gives.video, "video"),
        (gives.embeddings, "embeddings"),
    ];
    said(&words)
}

fn said(words: &[(bool, &'static str)]) -> Vec<&'static str> {
    let of = |(is, word): &(bool, &'static str)| is.then_some(*word);
    words.iter().filter_map(of).collect()
}

fn providers(model: &Model, config: &Config) -> Vec<String> {
    let of = |e: &crate::base::EndpointId| config.endpoints[e.0 as usize].provider;
    model
        .endpoints
        .iter()
        .map(|e| config.providers[of(e).0 as usize].name.clone())
        .collect()
}

fn owner(model: &Model, config: &Config) -> String {
    providers(model, config)
        .into_iter()
        .next()
        .unwrap_or_default()
}

fn answer(client: ClientId, dialect: DialectName, body: &Value, out: &mut Vec<Output>) {
    let body = Bytes::from(body.to_string());
    out.push(Output::Respond {
        client,
        head: head(200, dialect, ""),
        body,
        end: true,
    });
}

fn head(status: u16, dialect: DialectName, id: &str) -> ResponseHead {
    let mut headers = vec![("content-type", Str::from_static(JSON))];
    if !id.is_empty() {
        headers.push(("x-stokehold-id", id.into()));
        headers.push((request_id_header(dialect), id.into()));
    }
    ResponseHead { status, headers }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Slot;
    use crate::shard::paths::{self, Ask};

    #[test]
    fn who_asks_by_a_wrong_method_is_told_the_right_ones() {
        for (method, path, want) in [
            ("GET", "/v1/chat/completions", "POST"),
            ("PUT", "/v1/messages", "POST"),
            ("PATCH", "/api/v1/stream", "POST"),
            ("POST", "/v1/models", "GET, HEAD"),
            ("DELETE", "/v1/models/m", "GET, HEAD"),
            ("POST", "/v1/responses/resp_1", "GET, DELETE, HEAD"),
        ] {
            let asked = paths::read(method.as_bytes(), path.as_bytes(), paths::Beside::default());
            let Ask::Refused { dialect, fault } = asked else {
                panic!("{method} {path} is served")
            };
            let mut out = Vec::new();
            let client = ClientId(Slot {
                index: 0,
                generation: 0,
            });
            refuse(client, dialect, &fault, "x", &mut out);
            let [Output::Respond { head, .. }] = &out[..] else {
                panic!("one answer")
            };
            let allow = head.headers.iter().find(|(name, _)| *name == "allow");
            assert_eq!(head.status, 405);
            assert_eq!(
                allow.map(|(_, said)| &**said),
                Some(want),
                "{method} {path}"
            );
        }
    }
}
