//! From a request to the answer that it will get: who asks, for what, within which limits, out of which cache.

use super::answer::{answer, letters};
use super::ask::{Ask, Wrong};
use super::book::{Billed, Wire};
use super::cache::{Split, Writes};
use super::fault::{Faults, OUTPUT_MAX};
use super::head::{blank, limit_headers, plain, refused};
use super::json::Tree;
use super::limit::Buckets;
use super::manner::Manner;
use super::refuse::Refusal;
use super::reply::{Body, Headers, Live};
use super::route::{Deed, Framing, Platform, Route, query_value, route};
use super::voice::Voice;
use super::{
    Fake, Request, aws, chat_ask, converse_ask, gemini_ask, messages_ask, responses_ask, text_ask,
};
use crate::base::Now;
use base64::Engine as _;
use bytes::Bytes;
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What is known of a request before its body is read.
pub(super) struct Caller<'a> {
    pub wire: Wire,
    pub route: Route,
    pub manner: Manner,
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub host: &'a str,
    pub key: String,
    pub organisation: String,
    pub request_id: String,
    pub salt: u64,
}

impl Fake {
    pub(super) fn serve(&mut self, now: Now, request: &Request<'_>) -> Live {
        let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
        let google =
            (request.header)("x-goog-api-key").is_some() || query_value(query, "key").is_some();
        let versioned = (request.header)("anthropic-version").is_some();
        let route = route(path, query, google, versioned);
        // How it feels is scripted apart: whoever asks for that does not use up what answers are to meet.
        let mut faults = match route.is_feeling() {
            true => Faults::default(),
            false => self.faults.draw(),
        };
        faults.set_from_headers(request.header);
        let salt = xxh3_64_with_seed(&self.count.to_le_bytes(), self.settings.seed);
        let start = match (route.wire, route.platform) {
            (_, Platform::Bedrock) => "",
            (Wire::Messages, _) => "req_011C",
            _ => "req_",
        };
        let mut caller = Caller {
            wire: route.wire,
            manner: self.settings.manner,
            route,
            method: request.method,
            path,
            query,
            host: (request.header)("host").unwrap_or("localhost"),
            key: String::new(),
            organisation: String::new(),
            request_id: format!("{start}{}", letters(salt, 20)),
            salt,
        };
        let served = self
            .authorise(now, &mut caller, request)
            .and_then(|()| self.dispatch(now, &caller, request, &mut faults));
        let live = served.unwrap_or_else(|refusal| refused(now.instant, &caller, refusal, faults));
        self.bill(now);
        live
    }

    /// Writes what was made without a listener into the book.
    pub(super) fn bill(&mut self, now: Now) {
        let kept = self.shelf.bills(now.instant);
        for entry in self.store.bills(now.instant).into_iter().chain(kept) {
            self.book.write(entry);
        }
    }

    fn authorise(
        &self,
        now: Now,
        caller: &mut Caller<'_>,
        request: &Request<'_>,
    ) -> Result<(), Refusal> {
        if request.body.len() > self.settings.body_max {
            return Err(Refusal::too_large(caller.wire));
        }
        let project = caller.route.project.clone();
        caller.organisation = project.unwrap_or_else(|| "org-fake".to_owned());
        if caller.route.is_open() {
            return Ok(());
        }
        let authorization = (request.header)("authorization").unwrap_or("");
        if authorization.starts_with("AWS4-") && !self.settings.aws.is_empty() {
            let key = aws::check(&self.settings.aws, request, now.wall.seconds());
            let key = key.map_err(|(kind, said)| Refusal::signature(kind, said))?;
            (caller.key, caller.organisation) = (key.access_key.clone(), key.account.clone());
            return Ok(());
        }
        let own = (request.header)("x-api-key").filter(|_| caller.wire == Wire::Messages);
        let google = (request.header)("x-goog-api-key").or(query_value(caller.query, "key"));
        let key = authorization
            .strip_prefix("Bearer ")
            .or(own)
            .or(google.filter(|_| caller.wire == Wire::Gemini));
        let key = key.map(str::trim).filter(|key| !key.is_empty());
        if let (Platform::Vertex, Some(_)) = (caller.route.platform, &self.settings.google) {
            let good = key.is_some_and(|key| self.issued.holds(key, now.wall.seconds()));
            caller.key = key.unwrap_or("").to_owned();
            return good.then_some(()).ok_or_else(Refusal::no_token);
        }
        if caller.route.platform == Platform::Bedrock
            && !self.settings.aws.is_empty()
            && self.settings.keys.is_none()
        {
            return Err(Refusal::signature(
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            ));
        }
        // Without a list of keys nobody looks at them, as own machines are run.
        caller.key = match (key, &self.settings.keys) {
            (Some(key), _) => key.to_owned(),
            (None, None) => String::new(),
            (None, Some(_)) => return Err(Refusal::no_key(caller.wire)),
        };
        if let Some(keys) = &self.settings.keys {
            let found = keys.iter().find(|(known, _)| *known == caller.key);
            let found = found.ok_or_else(|| Refusal::wrong_key(caller.wire))?;
            caller.organisation = found.1.clone();
        }
        Ok(())
    }

    fn dispatch(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        request: &Request<'_>,
        faults: &mut Faults,
    ) -> Result<Live, Refusal> {
        if caller.route.deed == Deed::Nothing {
            return Err(Refusal::no_path(caller.wire, request.method, caller.path));
        }
        if !caller.route.methods().contains(&request.method) {
            return Err(Refusal::wrong_method(request.method, caller.path));
        }
        let tree = Tree::parse(request.body).unwrap_or(Tree::Null);
        let named = caller.route.model.as_deref().or(tree.text_of("model"));
        if let Some(model) = named {
            model
                .split('+')
                .skip(1)
                .for_each(|directive| faults.set(directive));
        }
        match caller.route.deed {
            Deed::Answer | Deed::GoOn | Deed::Count => {
                self.answered(now, caller, request, &tree, faults)
            }
            Deed::Transcribe | Deed::Translate => self.heard(now.instant, caller, request, faults),
            Deed::Embed | Deed::EmbedMany | Deed::Predict => {
                scripted(caller.wire, faults)?;
                self.embedded(now.instant, caller, &tree, faults)
            }
            _ => {
                scripted(caller.wire, faults)?;
                self.fetched(now, caller, request, &tree, faults)
            }
        }
    }

    /// An answer, or the count of what it would cost.
    fn answered(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        request: &Request<'_>,
        tree: &Tree<'_>,
        faults: &mut Faults,
    ) -> Result<Live, Refusal> {
        let counting = caller.route.deed == Deed::Count;
        let unpacked = unpacked(caller, tree)?;
        let inner = unpacked.as_deref().map(Tree::parse);
        let tree = match &inner {
            Some(inner) => inner.as_ref().unwrap_or(&Tree::Null),
            None => tree,
        };
        let before = self.before(caller, tree)?;
        let before = before.as_deref().map(Tree::parse);
        let before = before.as_ref().and_then(Option::as_ref).map(Tree::items);
        let written = converse_ask::schema(tree);
        let written = written.map(|text| Tree::parse(text.as_bytes()));
        if caller.wire == Wire::Converse && written.as_ref().is_some_and(Option::is_none) {
            return Err(Refusal::bad_request(Wrong::plain(
                "The JSON schema of outputConfig is no JSON.",
            )));
        }
        let version = (request.header)("anthropic-version").unwrap_or("");
        let (model, stream) = (
            caller.route.model.as_deref().unwrap_or(""),
            caller.route.stream.unwrap_or(false),
        );
        let mut ask = match (caller.wire, caller.route.platform) {
            (Wire::Chat, _) if caller.route.deed == Deed::GoOn => text_ask::read(tree),
            (Wire::Chat, _) => chat_ask::read(tree, caller.manner),
            (Wire::Responses, _) => {
                let lenient = counting || caller.manner != Manner::Plain;
                responses_ask::read(tree, before.unwrap_or_default(), lenient)
            }
            (Wire::Gemini, _) if counting => {
                gemini_ask::read(gemini_ask::counted(tree), model, false)
            }
            (Wire::Gemini, _) => gemini_ask::read(tree, model, stream),
            (Wire::Converse, _) if inner.is_some() => {
                messages_ask::read_in_path(tree, model, false, caller.route.platform)
            }
            (Wire::Converse, _) if counting => {
                let input = tree.get("input").and_then(|i| i.get("converse"));
                converse_ask::read(input.unwrap_or(&Tree::Null), model, false)
            }
            (Wire::Converse, _) => converse_ask::read(tree, model, stream),
            (Wire::Messages, platform @ (Platform::Vertex | Platform::Bedrock)) if !counting => {
                messages_ask::read_in_path(tree, model, stream, platform)
            }
            (Wire::Messages, Platform::Own) if version.is_empty() => {
                Err(Wrong::plain("anthropic-version: header is required"))
            }
            (Wire::Messages, _) => messages_ask::read(tree, version, counting),
        }
        .map_err(Refusal::bad_request)?;
        if caller.wire == Wire::Converse && ask.schema.is_none() {
            ask.schema = written.as_ref().and_then(Option::as_ref);
        }
        faults.set_from_text(&ask.said);
        ask.model = self.known_model(caller.wire, ask.model)?;
        scripted(caller.wire, faults)?;
        if let Some(name) = ask.kept {
            ask.kept_tokens = self.shelf.reads(now.instant, caller, name, ask.model)?;
        }
        if counting {
            let tokens = ask.prompt.tokens() + ask.kept_tokens;
            let body = match (caller.wire, caller.route.platform) {
                (Wire::Responses, _) => {
                    format!("{{\"object\":\"response.input_tokens\",\"input_tokens\":{tokens}}}")
                }
                (Wire::Gemini, _) => {
                    let kept = match ask.kept_tokens {
                        0 => String::new(),
                        kept => format!("\"cachedContentTokenCount\":{kept},"),
                    };
                    format!(
                        "{{\"totalTokens\":{tokens},{kept}\"promptTokensDetails\":[{{\"modality\":\"TEXT\",\"tokenCount\":{tokens}}}]}}"
                    )
                }
                (_, Platform::Bedrock) => format!("{{\"inputTokens\":{tokens}}}"),
                _ => format!("{{\"input_tokens\":{tokens}}}"),
            };
            return Ok(plain(now.instant, caller, body, faults));
        }
        self.admit(now, caller, &ask, faults)
    }

    /// The conversation that `previous_response_id` names.
    fn before(&mut self, caller: &Caller<'_>, tree: &Tree<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        let id = tree.text_of("previous_response_id");
        let Some(id) = id.filter(|_| caller.wire == Wire::Responses) else {
            return Ok(None);
        };
        let stored = self.store.get(id, &caller.organisation);
        let stored = stored.filter(|s| !s.conversation.is_empty());
        let stored = stored.ok_or_else(|| {
            Refusal::bad_request(Wrong::new(
                "previous_response_id",
                "previous_response_not_found",
                format!("Previous response with id '{id}' not found."),
            ))
        })?;
        Ok(Some(stored.conversation.clone()))
    }

    /// The model without directives.
    pub(super) fn known_model<'a>(&self, wire: Wire, model: &'a str) -> Result<&'a str, Refusal> {
        let model = model.split('+').next().unwrap_or(model);
        match &self.settings.models {
            Some(known) if !known.iter().any(|k| k == model) => Err(Refusal::no_model(wire, model)),
            _ => Ok(model),
        }
    }

    fn admit(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        ask: &Ask<'_>,
        faults: &mut Faults,
    ) -> Result<Live, Refusal> {
        let open = self.open.get(&caller.organisation).copied().unwrap_or(0);
        if self
            .settings
            .limits
            .concurrent
            .is_some_and(|most| open >= most)
        {
            return Err(Refusal::crowded(caller.wire));
        }
        let mut named = caller.organisation.clone().into_bytes();
        for part in [ask.model.as_bytes(), &ask.scope] {
            named.push(0);
            named.extend_from_slice(part);
        }
        let (scope, at) = (xxh3_64(&named), now.instant);
        let (split, writes) = match caller.wire {
            Wire::Messages | Wire::Converse => {
                self.cache
                    .by_breakpoints(at, scope ^ schema_hash(ask), ask.model, &ask.prompt)
            }
            // What follows a prefix that is kept under a name is cached nowhere.
            Wire::Gemini if ask.kept.is_some() => {
                let split = Split {
                    uncached: ask.prompt.tokens(),
                    read: ask.kept_tokens,
                    ..Split::default()
                };
                (split, Writes::new())
            }
            Wire::Chat | Wire::Responses | Wire::Gemini => {
                self.cache.by_prefix(at, scope, ask.model, &ask.prompt)
            }
        };
        let class = self.class(ask.model);
        let limits = self.settings.limits;
        // Only a caller who makes up names of models gets there; what they used is then forgotten.
        if self.buckets.len() >= CLASSES_MAX {
            self.buckets.clear();
        }
        let buckets = self
            .buckets
            .entry((caller.organisation.clone(), class.clone()))
            .or_insert_with(|| Buckets::new(&limits, at));
        let admitted = match caller.wire {
            // The larger of the two is charged up front (OpenAI rate limits, read 2026-08).
            Wire::Chat | Wire::Responses => {
                buckets.admit_chat(ask.prompt.tokens().max(ask.max_tokens.unwrap_or(0)), at)
            }
            Wire::Messages | Wire::Gemini | Wire::Converse => {
                buckets.admit_messages(split.uncached + split.written_5m + split.written_1h, at)
            }
        };
        let limits = match caller.route.platform {
            Platform::Own => limit_headers(caller.wire, buckets, now),
            _ => Headers::new(),
        };
        if let Err(short) = admitted {
            let mut refusal =
                Refusal::limited(caller.wire, &short, &caller.organisation, ask.model);
            refusal.headers.extend(limits);
            return Err(refusal);
        }
        let mut live = self.said(now, caller, ask, faults, (split, writes));
        live.class = class;
        live = self.kept(now, caller, ask, live);
        if let Some((_, headers)) = &mut live.head {
            headers.extend(limits);
        }
        Ok(live)
    }

    fn class(&self, model: &str) -> String {
        let classes = self.settings.classes.iter();
        let found = classes
            .filter(|(start, _)| model.starts_with(start.as_str()))
            .map(|(_, class)| class)
            .next();
        found.map_or_else(|| model.to_owned(), Clone::clone)
    }

    fn said(
        &self,
        now: Now,
        caller: &Caller<'_>,
        ask: &Ask<'_>,
        faults: &Faults,
        (split, writes): (Split, Writes),
    ) -> Live {
        let tokens = faults
            .output_tokens
            .unwrap_or(self.settings.output_tokens)
            .min(OUTPUT_MAX);
        let choices = (0..ask.n).map(|index| answer(ask, caller.wire, tokens, index, caller.salt));
        let random = |length: usize| letters(caller.salt ^ 1, length);
        let id = match (caller.wire, caller.route.platform) {
            (Wire::Chat, _) if ask.text => format!("cmpl-{}", random(29)),
            (Wire::Chat, _) => format!("{}{}", caller.manner.id_start(), random(29)),
            (Wire::Messages, Platform::Bedrock) => format!("msg_bdrk_01{}", random(22)),
            (Wire::Messages, Platform::Vertex) => format!("msg_vrtx_01{}", random(22)),
            (Wire::Messages, _) => format!("msg_01{}", random(22)),
            (Wire::Responses, _) => format!("resp_{}", random(40)),
            (Wire::Gemini, _) => random(22),
            // Converse gives its answers no name.
            (Wire::Converse, _) => caller.request_id.clone(),
        };
        let framing = match ask.stream {
            true => caller.route.framing,
            false => Framing::Sse,
        };
        let mut voice = Voice {
            wire: caller.wire,
            id: id.clone(),
            model: ask.model.to_owned(),
            created: now.wall.seconds(),
            said: choices.collect(),
            split,
            include_usage: ask.include_usage,
            start: String::new(),
            platform: caller.route.platform,
            framing,
            manner: caller.manner,
            cache_report: self.settings.cache_report,
            echo: ask.responses.echo.clone(),
            background: ask.responses.background,
            encrypted: ask.responses.encrypted,
            draws: ask.draws,
            perf: ask.perf,
            text: ask.text,
        };
        voice.chunk_start();
        let items = voice.plan(faults.unknown_event);
        let kind = match (ask.stream, framing) {
            (true, Framing::Sse) => "text/event-stream; charset=utf-8",
            (true, Framing::Aws) => "application/vnd.amazon.eventstream",
            _ => "application/json",
        };
        let mut live = blank(now.instant, caller, 200, kind, faults.clone());
        if let (Manner::Fireworks, false, Some((_, headers))) =
            (caller.manner, ask.stream, &mut live.head)
        {
            headers.push(("fireworks-prompt-tokens", ask.prompt.tokens().to_string()));
            headers.push(("fireworks-cached-prompt-tokens", split.read.to_string()));
            headers.push(("fireworks-server-time-to-first-token", "0.01".to_owned()));
        }
        live.first = faults.first_token.unwrap_or(self.settings.first_token)
            + faults.slow_first_byte.unwrap_or_default();
        live.between = faults
            .between_tokens
            .unwrap_or(self.settings.between_tokens);
        live.booked = true;
        live.writes = writes;
        live.entry.id = id;
        live.entry.model = ask.model.to_owned();
        live.entry.billed = Billed {
            uncached: split.uncached,
            read: split.read,
            written_5m: split.written_5m,
            written_1h: split.written_1h,
            ..Billed::default()
        };
        live.body = Body::Said {
            voice: Arc::new(voice),
            items: items.into(),
            stream: ask.stream,
        };
        if faults.empty_body {
            live.body = Body::Fixed(Bytes::new());
            live.entry.billed = Billed::default();
        }
        live
    }
}

/// Sets of limits that are kept.
const CLASSES_MAX: usize = 4_096;

/// The body inside a body: Bedrock counts what would be sent to `invoke`, packed as base64.
fn unpacked(caller: &Caller<'_>, tree: &Tree<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    let counting = (caller.route.platform, &caller.route.deed) == (Platform::Bedrock, &Deed::Count);
    let input = tree.get("input").filter(|_| counting);
    let Some(packed) = input.and_then(|i| i.get("invokeModel")) else {
        return Ok(None);
    };
    let data = packed.text_of("body").unwrap_or("");
    let decoded = base64::engine::general_purpose::STANDARD.decode(data);
    decoded
        .map(Some)
        .map_err(|_| Refusal::bad_request(Wrong::plain("The body is no base64.")))
}

/// A change of the format is a change of everything (Anthropic docs, read 2026-08).
fn schema_hash(ask: &Ask<'_>) -> u64 {
    let mut written = Vec::new();
    if let Some(schema) = ask.schema {
        schema.write(&mut written, "");
    }
    xxh3_64(&written)
}

pub(super) fn scripted(wire: Wire, faults: &Faults) -> Result<(), Refusal> {
    match faults.status.or(faults.html_502.then_some(502)) {
        Some(status) => Err(Refusal::scripted(wire, status, faults.retry_after)),
        None => Ok(()),
    }
}
