//! From a request to the answer that it will get: who asks, for what, within which limits, out of which cache.

use super::answer::{answer, letters};
use super::ask::{Ask, Wrong};
use super::book::{Billed, Ended, Entry, Wire};
use super::cache::{Split, Writes};
use super::fault::{Faults, OUTPUT_MAX};
use super::json::{Tree, quoted};
use super::limit::{Bucket, Buckets, go_duration, rfc3339};
use super::prompt::Prompt;
use super::refuse::Refusal;
use super::reply::{Body, Headers, Live};
use super::voice::Voice;
use super::{Fake, Request, chat_ask, messages_ask};
use crate::base::{Instant, Now};
use base64::Engine as _;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What is known of a request before its body is read.
struct Caller<'a> {
    wire: Wire,
    path: &'a str,
    key: String,
    organisation: String,
    request_id: String,
    salt: u64,
}

impl Fake {
    pub(super) fn serve(&mut self, now: Now, request: &Request<'_>) -> Live {
        let mut faults = self.faults.draw();
        faults.set_from_headers(request.header);
        let path = request.path.split('?').next().unwrap_or("");
        let wire = wire_of(path, request);
        let salt = xxh3_64_with_seed(&self.count.to_le_bytes(), self.settings.seed);
        let start = if wire == Wire::Chat {
            "req_"
        } else {
            "req_011C"
        };
        let mut caller = Caller {
            wire,
            path,
            key: String::new(),
            organisation: String::new(),
            request_id: format!("{start}{}", letters(salt, 20)),
            salt,
        };
        let served = self
            .authorise(&mut caller, request)
            .and_then(|()| self.dispatch(now, &caller, request, &mut faults));
        served.unwrap_or_else(|refusal| refused(now.instant, &caller, refusal, faults))
    }

    fn authorise(&self, caller: &mut Caller<'_>, request: &Request<'_>) -> Result<(), Refusal> {
        let bearer = (request.header)("authorization").and_then(|a| a.strip_prefix("Bearer "));
        let own = (request.header)("x-api-key").filter(|_| caller.wire == Wire::Messages);
        let key = bearer.or(own).map(str::trim).filter(|key| !key.is_empty());
        // Without a list of keys nobody looks at them, as own machines are run.
        caller.key = match (key, &self.settings.keys) {
            (Some(key), _) => key.to_owned(),
            (None, None) => String::new(),
            (None, Some(_)) => return Err(Refusal::no_key(caller.wire)),
        };
        caller.organisation = match &self.settings.keys {
            None => "org-fake".to_owned(),
            Some(keys) => {
                let found = keys.iter().find(|(known, _)| *known == caller.key);
                found
                    .ok_or_else(|| Refusal::wrong_key(caller.wire))?
                    .1
                    .clone()
            }
        };
        if request.body.len() > self.settings.body_max {
            return Err(Refusal::too_large(caller.wire));
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
        let path = caller.path;
        let post = if path.ends_with("/v1/models") || path.contains("/v1/models/") {
            "GET"
        } else {
            "POST"
        };
        let known = [
            "/v1/chat/completions",
            "/v1/embeddings",
            "/v1/messages",
            "/v1/messages/count_tokens",
            "/v1/models",
        ];
        if !known.iter().any(|k| path.ends_with(k)) && !path.contains("/v1/models/") {
            return Err(Refusal::no_path(caller.wire, request.method, path));
        }
        if request.method != post {
            return Err(Refusal::wrong_method(request.method, path));
        }
        if post == "GET" {
            scripted(caller.wire, faults)?;
            let body = self.models(caller)?;
            return Ok(plain(now.instant, caller, body, faults));
        }
        let tree = Tree::parse(request.body).unwrap_or(Tree::Null);
        if let Some(model) = tree.text_of("model") {
            model
                .split('+')
                .skip(1)
                .for_each(|directive| faults.set(directive));
        }
        if path.ends_with("/v1/embeddings") {
            scripted(caller.wire, faults)?;
            return self.embedded(now.instant, caller, &tree, faults);
        }
        let version = (request.header)("anthropic-version").unwrap_or("");
        let counting = path.ends_with("/count_tokens");
        let mut ask = match caller.wire {
            Wire::Chat => chat_ask::read(&tree),
            Wire::Messages if version.is_empty() => {
                Err(Wrong::plain("anthropic-version: header is required"))
            }
            Wire::Messages => messages_ask::read(&tree, version, counting),
        }
        .map_err(Refusal::bad_request)?;
        faults.set_from_text(&ask.said);
        ask.model = self.known_model(caller.wire, ask.model)?;
        scripted(caller.wire, faults)?;
        if counting {
            let body = format!("{{\"input_tokens\":{}}}", ask.prompt.tokens());
            return Ok(plain(now.instant, caller, body, faults));
        }
        self.admit(now, caller, &ask, faults)
    }

    /// The model without directives.
    fn known_model<'a>(&self, wire: Wire, model: &'a str) -> Result<&'a str, Refusal> {
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
            Wire::Chat => self.cache.by_prefix(at, scope, ask.model, &ask.prompt),
            Wire::Messages => {
                self.cache
                    .by_breakpoints(at, scope ^ schema_hash(ask), ask.model, &ask.prompt)
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
            Wire::Chat => {
                buckets.admit_chat(ask.prompt.tokens().max(ask.max_tokens.unwrap_or(0)), at)
            }
            Wire::Messages => buckets.admit_messages(ask.prompt.tokens() - split.read, at),
        };
        let limits = limit_headers(caller.wire, buckets, now);
        if let Err(short) = admitted {
            let mut refusal =
                Refusal::limited(caller.wire, &short, &caller.organisation, ask.model);
            refusal.headers.extend(limits);
            return Err(refusal);
        }
        let mut live = self.said(now, caller, ask, faults, (split, writes));
        live.class = class;
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
        let id = match caller.wire {
            Wire::Chat => format!("chatcmpl-{}", letters(caller.salt ^ 1, 29)),
            Wire::Messages => format!("msg_01{}", letters(caller.salt ^ 1, 22)),
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
        };
        voice.chunk_start();
        let items = voice.plan(faults.unknown_event);
        let kind = if ask.stream {
            "text/event-stream; charset=utf-8"
        } else {
            "application/json"
        };
        let mut live = blank(now.instant, caller, 200, kind, faults.clone());
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
            voice,
            items,
            stream: ask.stream,
        };
        if faults.empty_body {
            live.body = Body::Fixed(Bytes::new());
            live.entry.billed = Billed::default();
        }
        live
    }

    fn models(&self, caller: &Caller<'_>) -> Result<String, Refusal> {
        let default = ["fake-large".to_owned(), "fake-small".to_owned()];
        let models = self.settings.models.as_deref().unwrap_or(&default);
        let one = |name: &str| match caller.wire {
            Wire::Chat => format!(
                "{{\"id\":{},\"object\":\"model\",\"created\":1764000000,\"owned_by\":\"system\"}}",
                quoted(name)
            ),
            Wire::Messages => format!(
                "{{\"type\":\"model\",\"id\":{0},\"display_name\":{0},\"created_at\":\"2025-11-24T00:00:00Z\",\"lifecycle\":\"active\"}}",
                quoted(name)
            ),
        };
        if let Some((_, name)) = caller.path.split_once("/v1/models/") {
            return Ok(one(self.known_model(caller.wire, name)?));
        }
        let list: Vec<String> = models.iter().map(|name| one(name)).collect();
        let edge = |name: Option<&String>| name.map_or("null".to_owned(), |n| quoted(n));
        Ok(match caller.wire {
            Wire::Chat => format!("{{\"object\":\"list\",\"data\":[{}]}}", list.join(",")),
            Wire::Messages => format!(
                "{{\"data\":[{}],\"has_more\":false,\"first_id\":{},\"last_id\":{}}}",
                list.join(","),
                edge(models.first()),
                edge(models.last())
            ),
        })
    }

    fn embedded(
        &self,
        start: Instant,
        caller: &Caller<'_>,
        tree: &Tree<'_>,
        faults: &Faults,
    ) -> Result<Live, Refusal> {
        let (body, tokens) = self.embed(tree)?;
        let mut live = plain(start, caller, body, faults);
        live.booked = true;
        let model = tree.text_of("model").unwrap_or("");
        live.entry.model = self.known_model(caller.wire, model)?.to_owned();
        // What comes back empty is not charged.
        live.entry.billed.uncached = if faults.empty_body { 0 } else { tokens };
        Ok(live)
    }

    /// Vectors that are a function of the text, of length one, and the tokens they cost.
    fn embed(&self, body: &Tree<'_>) -> Result<(String, u64), Refusal> {
        let missing = |field: &str| {
            Refusal::bad_request(Wrong::new(
                field,
                "missing_required_parameter",
                format!("Missing required parameter: '{field}'."),
            ))
        };
        let model = self.known_model(
            Wire::Chat,
            body.text_of("model").ok_or_else(|| missing("model"))?,
        )?;
        let input = body.get("input").ok_or_else(|| missing("input"))?;
        let one_text =
            input.text().is_some() || input.items().first().is_some_and(|i| i.whole().is_some());
        let inputs = if one_text {
            std::slice::from_ref(input)
        } else {
            input.items()
        };
        let size = body.get("dimensions").and_then(Tree::whole).unwrap_or(8);
        if inputs.is_empty() || inputs.len() > 2_048 || size == 0 || size > 3_072 {
            return Err(Refusal::bad_request(Wrong::new(
                "input",
                "invalid_value",
                "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
            )));
        }
        let packed = body.text_of("encoding_format") == Some("base64");
        let mut tokens = 0;
        let mut data = Vec::new();
        for (index, text) in inputs.iter().enumerate() {
            let mut prompt = Prompt::default();
            match text.text() {
                Some(text) => prompt.push(text.as_bytes()),
                None => prompt.push_tree(text),
            }
            tokens += prompt.tokens();
            let mut written = Vec::new();
            text.write(&mut written, "");
            let vector = written_vector(&written, size, packed);
            data.push(format!(
                "{{\"object\":\"embedding\",\"index\":{index},\"embedding\":{vector}}}"
            ));
        }
        let body = format!(
            "{{\"object\":\"list\",\"data\":[{}],\"model\":{},\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}}}",
            data.join(","),
            quoted(model)
        );
        Ok((body, tokens))
    }
}

/// Sets of limits that are kept.
const CLASSES_MAX: usize = 4_096;

fn written_vector(text: &[u8], size: u64, packed: bool) -> String {
    let raw: Vec<f64> = (0..size)
        .map(|at| (xxh3_64_with_seed(text, at) % 2_001) as f64 / 1_000.0 - 1.0)
        .collect();
    let length = raw
        .iter()
        .map(|x| x * x)
        .sum::<f64>()
        .sqrt()
        .max(f64::MIN_POSITIVE);
    let vector = raw.iter().map(|x| (x / length) as f32);
    if packed {
        let bytes: Vec<u8> = vector.flat_map(f32::to_le_bytes).collect();
        return quoted(&base64::engine::general_purpose::STANDARD.encode(bytes));
    }
    let numbers: Vec<String> = vector.map(|x| format!("{x}")).collect();
    format!("[{}]", numbers.join(","))
}

fn wire_of(path: &str, request: &Request<'_>) -> Wire {
    let messages = path.contains("/v1/messages") || (request.header)("anthropic-version").is_some();
    if messages && !path.ends_with("/chat/completions") && !path.ends_with("/embeddings") {
        Wire::Messages
    } else {
        Wire::Chat
    }
}

/// A change of the format is a change of everything (Anthropic docs, read 2026-08).
fn schema_hash(ask: &Ask<'_>) -> u64 {
    let mut written = Vec::new();
    if let Some(schema) = ask.schema {
        schema.write(&mut written, "");
    }
    xxh3_64(&written)
}

fn scripted(wire: Wire, faults: &Faults) -> Result<(), Refusal> {
    match faults.status.or(faults.html_502.then_some(502)) {
        Some(status) => Err(Refusal::scripted(wire, status, faults.retry_after)),
        None => Ok(()),
    }
}

fn blank(start: Instant, caller: &Caller<'_>, status: u16, kind: &str, faults: Faults) -> Live {
    let kind = if faults.wrong_content_type {
        "text/plain"
    } else {
        kind
    };
    let mut headers: Headers = vec![("content-type", kind.to_owned())];
    match caller.wire {
        Wire::Chat => {
            headers.push(("x-request-id", caller.request_id.clone()));
            headers.push(("openai-version", "2020-10-01".to_owned()));
            headers.push(("openai-organization", caller.organisation.clone()));
            headers.push(("openai-processing-ms", "1".to_owned()));
        }
        Wire::Messages => {
            headers.push(("request-id", caller.request_id.clone()));
            headers.push(("anthropic-organization-id", caller.organisation.clone()));
        }
    }
    Live {
        entry: Entry {
            id: caller.request_id.clone(),
            key: caller.key.clone(),
            organisation: caller.organisation.clone(),
            model: String::new(),
            wire: caller.wire,
            billed: Billed::default(),
            ended: Ended::Complete,
            told: false,
        },
        booked: false,
        class: String::new(),
        head: Some((status, headers)),
        body: Body::Fixed(Bytes::new()),
        start,
        first: Duration::ZERO,
        between: Duration::ZERO,
        faults,
        writes: Writes::new(),
        request_id: caller.request_id.clone(),
        cut: false,
        at: 0,
        produced: 0,
        events: 0,
        bytes: 0,
        queue: VecDeque::new(),
        last: None,
    }
}

fn plain(start: Instant, caller: &Caller<'_>, body: String, faults: &Faults) -> Live {
    let mut live = blank(start, caller, 200, "application/json", faults.clone());
    live.body = Body::Fixed(if faults.empty_body {
        Bytes::new()
    } else {
        Bytes::from(body)
    });
    live
}

fn refused(start: Instant, caller: &Caller<'_>, refusal: Refusal, faults: Faults) -> Live {
    let html = faults.html_502 && refusal.status == 502;
    let kind = if html {
        "text/html"
    } else {
        "application/json"
    };
    let mut live = blank(start, caller, refusal.status, kind, faults);
    live.booked = true;
    live.entry.ended = Ended::Refused(refusal.status);
    let body = match html {
        true => "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n".to_owned(),
        false => refusal.body(caller.wire, &caller.request_id),
    };
    live.body = Body::Fixed(Bytes::from(body));
    if let Some((_, headers)) = &mut live.head {
        headers.extend(refusal.headers);
    }
    live
}

fn limit_headers(wire: Wire, buckets: &mut Buckets, now: Now) -> Headers {
    let mut headers = Headers::new();
    let families: [(&mut Option<Bucket>, [&'static str; 3]); 4] = [
        (
            &mut buckets.requests,
            match wire {
                Wire::Chat => [
                    "x-ratelimit-limit-requests",
                    "x-ratelimit-remaining-requests",
                    "x-ratelimit-reset-requests",
                ],
                Wire::Messages => [
                    "anthropic-ratelimit-requests-limit",
                    "anthropic-ratelimit-requests-remaining",
                    "anthropic-ratelimit-requests-reset",
                ],
            },
        ),
        (
            &mut buckets.input,
            [
                "anthropic-ratelimit-input-tokens-limit",
                "anthropic-ratelimit-input-tokens-remaining",
                "anthropic-ratelimit-input-tokens-reset",
            ],
        ),
        (
            &mut buckets.output,
            [
                "anthropic-ratelimit-output-tokens-limit",
                "anthropic-ratelimit-output-tokens-remaining",
                "anthropic-ratelimit-output-tokens-reset",
            ],
        ),
        (
            &mut buckets.tokens,
            [
                "x-ratelimit-limit-tokens",
                "x-ratelimit-remaining-tokens",
                "x-ratelimit-reset-tokens",
            ],
        ),
    ];
    for (bucket, names) in families {
        let theirs = names[0].starts_with('x') == (wire == Wire::Chat);
        let Some(bucket) = bucket.as_mut().filter(|_| theirs) else {
            continue;
        };
        let (left, wait) = (
            bucket.remaining(now.instant),
            bucket.until_full(now.instant),
        );
        // Token counts of Messages are rounded to the nearest thousand (Anthropic docs, read 2026-08).
        let rounded = wire == Wire::Messages && names[0].contains("tokens");
        let left = if rounded {
            (left + 500) / 1_000 * 1_000
        } else {
            left
        };
        let reset = match wire {
            Wire::Chat => go_duration(wait),
            Wire::Messages => {
                rfc3339((now.wall + wait + Duration::from_nanos(999_999_999)).seconds())
            }
        };
        for (name, value) in
            names
                .into_iter()
                .zip([bucket.limit().to_string(), left.to_string(), reset])
        {
            headers.push((name, value));
        }
    }
    headers
}
