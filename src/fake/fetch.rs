//! All that is asked besides answers: lists of models, stored answers, videos, credentials, and how an engine feels.

use super::answer::letters;
use super::ask::{Ask, Wrong};
use super::book::Wire;
use super::fault::Faults;
use super::head::{blank, plain, typed};
use super::inputs;
use super::json::{Tree, quoted};
use super::manner::Manner;
use super::refuse::Refusal;
use super::reply::{Body, Live};
use super::route::{Deed, Platform, query_value};
use super::serve::Caller;
use super::store::{Stored, last_bill};
use super::tokens;
use super::voice_responses::Standing;
use super::{Fake, Request};
use crate::base::Now;
use bytes::Bytes;
use std::sync::Arc;

/// The longest prompt of every model, in tokens.
const CONTEXT: u64 = 200_000;

impl Fake {
    pub(super) fn fetched(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        request: &Request<'_>,
        tree: &Tree<'_>,
        faults: &Faults,
    ) -> Result<Live, Refusal> {
        let json = |body: String| Ok(plain(now.instant, caller, body, faults));
        match &caller.route.deed {
            Deed::Models => json(self.models(caller)),
            Deed::Model(name) => {
                let name = self.known_model(caller.wire, name)?;
                json(model(caller, name))
            }
            Deed::Stored(id) if caller.method == "DELETE" => {
                let gone = self.forget(now, caller, id);
                gone.ok_or_else(|| no_response(id))?;
                json(format!(
                    "{{\"id\":{},\"object\":\"response\",\"deleted\":true}}",
                    quoted(id)
                ))
            }
            Deed::Stored(id) => self.stored(now, caller, id, faults),
            Deed::Cancel(id) => self.cancel(now, caller, id, faults),
            Deed::Inputs(id) => {
                let stored = self.store.get(id, &caller.organisation);
                let stored = stored.ok_or_else(|| no_response(id))?;
                let page = inputs::page(&stored.input, id, caller.query);
                json(page.map_err(Refusal::bad_request)?)
            }
            Deed::Deferred(id) => self.deferred(now, caller, id, faults),
            Deed::Video
            | Deed::VideoPoll
            | Deed::Operation(_)
            | Deed::File(_)
            | Deed::Videos
            | Deed::VideoObject(_)
            | Deed::VideoContent(_) => self.cinema(now, caller, request, tree, faults),
            Deed::Caches | Deed::Cache(_) => self.shelved(now, caller, tree, faults),
            _ => self.engine_or_credentials(now, caller, request, faults),
        }
    }

    fn models(&self, caller: &Caller<'_>) -> String {
        let default = ["fake-large".to_owned(), "fake-small".to_owned()];
        let models = self.settings.models.as_deref().unwrap_or(&default);
        let list: Vec<String> = models.iter().map(|name| model(caller, name)).collect();
        let list = list.join(",");
        let edge = |name: Option<&String>| name.map_or("null".to_owned(), |n| quoted(n));
        match caller.wire {
            Wire::Messages => format!(
                "{{\"data\":[{list}],\"has_more\":false,\"first_id\":{},\"last_id\":{}}}",
                edge(models.first()),
                edge(models.last())
            ),
            Wire::Gemini if caller.route.platform == Platform::Vertex => {
                format!("{{\"publisherModels\":[{list}]}}")
            }
            Wire::Gemini => format!("{{\"models\":[{list}]}}"),
            _ if caller.path.ends_with("/language-models") => format!("{{\"models\":[{list}]}}"),
            _ => format!("{{\"object\":\"list\",\"data\":[{list}]}}"),
        }
    }

    /// Keeps what may be fetched again, and turns an answer that nobody waits for into its name.
    pub(super) fn kept(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        ask: &Ask<'_>,
        mut live: Live,
    ) -> Live {
        let deferred = ask.deferred && caller.manner == Manner::Xai;
        let wanted = deferred || (caller.wire == Wire::Responses && ask.responses.store);
        let Body::Said {
            voice,
            items,
            stream,
        } = &live.body
        else {
            return live;
        };
        if !wanted {
            return live;
        }
        let absent = deferred || (ask.responses.background && !stream);
        // A stream in the background goes on without its listener, and is billed here as well.
        let detached = absent || ask.responses.background;
        let mut conversation = b"[".to_vec();
        conversation.extend_from_slice(&ask.responses.conversation);
        if caller.wire == Wire::Responses {
            let output = voice.output();
            if !output.is_empty() && conversation.len() > 1 {
                conversation.push(b',');
            }
            conversation.extend_from_slice(output.as_bytes());
        }
        conversation.push(b']');
        let stored = Stored {
            organisation: caller.organisation.clone(),
            voice: Arc::clone(voice),
            items: Arc::clone(items),
            first: live.start + live.first,
            between: live.between,
            cancelled: None,
            conversation,
            input: ask.responses.conversation.clone(),
            pending: detached.then(|| live.entry.clone()),
            resumable: ask.responses.background && *stream,
        };
        let id = voice.id.clone();
        let body = match deferred {
            true => format!("{{\"request_id\":{}}}", quoted(&id)),
            false => voice.response(Standing::Queued),
        };
        for gone in self.store.keep(id, stored) {
            if let Some(entry) = last_bill(gone, now.instant) {
                self.book.write(entry);
            }
        }
        live.booked = !detached;
        if absent {
            self.cache.commit(&mut live.writes, now.instant);
            live.body = Body::Fixed(Bytes::from(body));
        }
        live
    }

    fn forget(&mut self, now: Now, caller: &Caller<'_>, id: &str) -> Option<()> {
        self.store.get(id, &caller.organisation)?;
        let gone = self.store.forget(id)?;
        if let Some(entry) = last_bill(gone, now.instant) {
            self.book.write(entry);
        }
        Some(())
    }

    /// A stored answer, whole as far as it is, or its events after a number.
    fn stored(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        id: &str,
        faults: &Faults,
    ) -> Result<Live, Refusal> {
        let stored = self.store.get(id, &caller.organisation);
        let stored = stored.ok_or_else(|| no_response(id))?;
        let standing = stored.standing(now.instant);
        if let (Standing::Done, Some(entry)) = (standing, &mut stored.pending) {
            entry.told = true;
        } else if standing == Standing::Done {
            self.book.told_later(id);
        }
        if query_value(caller.query, "stream") != Some("true") {
            let body = stored.voice.response(standing);
            return Ok(plain(now.instant, caller, body, faults));
        }
        if !stored.resumable {
            return Err(Refusal::bad_request(Wrong::new(
                "stream",
                "invalid_value",
                "Streaming is only available for background responses that were created with `stream: true`.",
            )));
        }
        let kind = "text/event-stream; charset=utf-8";
        let mut live = blank(now.instant, caller, 200, kind, faults.clone());
        live.run.after = query_value(caller.query, "starting_after").and_then(|n| n.parse().ok());
        live.body = Body::Said {
            voice: Arc::clone(&stored.voice),
            items: Arc::clone(&stored.items),
            stream: true,
        };
        // It began in the past, and is told from there.
        let ahead = stored.first.since(now.instant);
        live.start = if ahead.is_zero() {
            stored.first
        } else {
            now.instant
        };
        live.first = ahead;
        live.between = stored.between;
        Ok(live)
    }

    fn cancel(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        id: &str,
        faults: &Faults,
    ) -> Result<Live, Refusal> {
        let stored = self.store.get(id, &caller.organisation);
        let stored = stored.ok_or_else(|| no_response(id))?;
        if !stored.voice.background {
            return Err(Refusal::bad_request(Wrong::plain(
                "Cannot cancel a synchronous response.",
            )));
        }
        if stored.standing(now.instant) != Standing::Done {
            stored.cancelled = stored.cancelled.or(Some(now.instant));
        }
        let body = stored.voice.response(stored.standing(now.instant));
        Ok(plain(now.instant, caller, body, faults))
    }

    /// 202 while it is made, then the answer, once.
    fn deferred(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        id: &str,
        faults: &Faults,
    ) -> Result<Live, Refusal> {
        let missing = || Refusal::not_found(format!("Deferred completion {id} not found"));
        let stored = self
            .store
            .get(id, &caller.organisation)
            .ok_or_else(missing)?;
        if stored.standing(now.instant) != Standing::Done {
            return Ok(blank(
                now.instant,
                caller,
                202,
                "application/json",
                faults.clone(),
            ));
        }
        if let Some(entry) = &mut stored.pending {
            entry.told = true;
        } else {
            self.book.told_later(id);
        }
        let body = stored.voice.whole();
        self.bill(now);
        self.store.forget(id);
        Ok(typed(now.instant, caller, "application/json", body, faults))
    }

    fn engine_or_credentials(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        request: &Request<'_>,
        faults: &Faults,
    ) -> Result<Live, Refusal> {
        let json = |body: String| Ok(plain(now.instant, caller, body, faults));
        let wall = now.wall.seconds();
        match caller.route.deed {
            Deed::Version => json("{\"version\":\"0.33.0\"}".to_owned()),
            Deed::Health | Deed::Metrics | Deed::Load => Ok(self.feels(now, caller, faults)),
            Deed::GoogleToken => {
                let Some(account) = self.settings.google.clone() else {
                    return Err(Refusal::no_path(caller.wire, request.method, caller.path));
                };
                match tokens::assertion(&account, request.body, wall) {
                    Ok(()) => {
                        let token = letters(caller.salt ^ 2, 40);
                        json(self.issued.google(&token, wall, account.token_seconds))
                    }
                    Err((error, said)) => {
                        let mut live =
                            blank(now.instant, caller, 400, "application/json", faults.clone());
                        let body = format!(
                            "{{\"error\":\"{error}\",\"error_description\":{}}}",
                            quoted(said)
                        );
                        live.body = Body::Fixed(Bytes::from(body));
                        Ok(live)
                    }
                }
            }
            Deed::GoogleMetadata => {
                if (request.header)("metadata-flavor") != Some("Google") {
                    return Err(Refusal::signature(
                        "forbidden",
                        "Missing required header: Metadata-Flavor",
                    ));
                }
                let seconds = self
                    .settings
                    .google
                    .as_ref()
                    .map_or(3_599, |g| g.token_seconds);
                let token = letters(caller.salt ^ 2, 40);
                let mut live = plain(
                    now.instant,
                    caller,
                    self.issued.google(&token, wall, seconds),
                    faults,
                );
                if let Some((_, headers)) = &mut live.head {
                    headers.push(("metadata-flavor", "Google".to_owned()));
                }
                Ok(live)
            }
            _ => self.aws_credentials(now, caller, request, faults),
        }
    }

    fn aws_credentials(
        &self,
        now: Now,
        caller: &Caller<'_>,
        request: &Request<'_>,
        faults: &Faults,
    ) -> Result<Live, Refusal> {
        let header = |name: &str| (request.header)(name);
        let text = |body: String| {
            Ok(typed(
                now.instant,
                caller,
                "text/plain",
                body.into_bytes(),
                faults,
            ))
        };
        let nothing = || Refusal::no_path(caller.wire, caller.method, caller.path);
        let key = self.settings.aws.first().ok_or_else(nothing)?;
        let session = format!("imds-{}", self.settings.seed);
        let denied = || Refusal::signature("UnauthorizedException", "Unauthorized");
        let wall = now.wall.seconds();
        match caller.route.deed {
            Deed::AwsImdsToken => match header("x-aws-ec2-metadata-token-ttl-seconds") {
                Some(_) => text(session),
                None => Err(Refusal::bad_request(Wrong::plain("a life is required"))),
            },
            // IMDSv2: nothing without the session's token.
            Deed::AwsImdsRoles | Deed::AwsImdsRole
                if header("x-aws-ec2-metadata-token") != Some(&session) =>
            {
                Err(denied())
            }
            Deed::AwsImdsRoles => text("fake-role".to_owned()),
            Deed::AwsImdsRole => text(tokens::aws_credentials(key, wall)),
            Deed::AwsContainer => Ok(plain(
                now.instant,
                caller,
                tokens::aws_credentials(key, wall),
                faults,
            )),
            _ => {
                let as_json = header("accept").is_some_and(|a| a.contains("json"));
                let body = tokens::assumed(key, request.body, as_json, wall);
                let body = body
                    .ok_or_else(|| Refusal::bad_request(Wrong::plain("InvalidParameterValue")))?;
                let kind = if as_json {
                    "application/json"
                } else {
                    "text/xml"
                };
                Ok(typed(now.instant, caller, kind, body.into_bytes(), faults))
            }
        }
    }
}

fn no_response(id: &str) -> Refusal {
    Refusal::not_found(format!("Response with id '{id}' not found."))
}

/// One entry of the list of models.
fn model(caller: &Caller<'_>, name: &str) -> String {
    let name = quoted(name);
    match (caller.wire, caller.manner) {
        (Wire::Messages, _) => format!(
            "{{\"type\":\"model\",\"id\":{name},\"display_name\":{name},\"created_at\":\"2025-11-24T00:00:00Z\",\"lifecycle\":\"active\"}}"
        ),
        (Wire::Gemini, _) => {
            let root = match caller.route.platform {
                Platform::Vertex => "publishers/google/models/",
                _ => "models/",
            };
            format!(
                "{{\"name\":\"{root}{},\"displayName\":{name},\"inputTokenLimit\":{CONTEXT},\"outputTokenLimit\":65536,\"supportedGenerationMethods\":[\"generateContent\",\"countTokens\"]}}",
                &name[1..]
            )
        }
        (_, Manner::Vllm | Manner::Sglang) => format!(
            "{{\"id\":{name},\"object\":\"model\",\"created\":1764000000,\"owned_by\":\"own\",\"root\":{name},\"max_model_len\":{CONTEXT}}}"
        ),
        (_, Manner::OpenRouter) => format!(
            "{{\"id\":{name},\"canonical_slug\":{name},\"name\":{name},\"created\":1764000000,\"context_length\":{CONTEXT},\"architecture\":{{\"modality\":\"text->text\",\"input_modalities\":[\"text\"],\"output_modalities\":[\"text\"],\"tokenizer\":\"Other\",\"instruct_type\":null}},\"pricing\":{{\"prompt\":\"0.000002\",\"completion\":\"0.00001\",\"input_cache_read\":\"0.0000005\"}},\"top_provider\":{{\"context_length\":{CONTEXT},\"max_completion_tokens\":65536,\"is_moderated\":false}},\"per_request_limits\":null,\"supported_parameters\":[\"tools\",\"max_tokens\"],\"default_parameters\":null}}"
        ),
        _ => format!(
            "{{\"id\":{name},\"object\":\"model\",\"created\":1764000000,\"owned_by\":\"system\"}}"
        ),
    }
}
