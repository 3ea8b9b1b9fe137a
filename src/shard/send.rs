//! Phase 3: encode, begin the attempt; retry lands here.

use crate::base::{AttemptId, EndpointId, KeyId, Now, Secret, Str};
use crate::canon::{DialectName, Fault, FaultClass};
use crate::config;
use crate::policy::choose::Decision;
use crate::protocol::dialect::numbers::{Form, Question, Sides};
use crate::protocol::dialect::{self, Rules, Target, seals, splice};
use crate::protocol::provider::hints::Hints;
use crate::protocol::provider::vertex;
use crate::protocol::provider::{
    Asking, CallHead, ClientHeaders, Credential, Envelope, Operation, ProviderKind, Signing, form,
};
use crate::shard::desk::Desk;
use crate::shard::exchange::{Attempt, Deadline, Exchange, Limit, OpenAttempt, Phase, Written};
use crate::shard::input::Slices;
use crate::shard::task::Task;
use crate::shard::{Call, Headers, Output};
use bytes::Bytes;

impl Exchange {
    /// Begins an attempt where `decision` says. `Err`: this endpoint cannot be asked this, and nothing was begun.
    pub fn send(
        &mut self,
        desk: &mut Desk,
        now: Now,
        decision: &Decision,
        out: &mut Vec<Output>,
    ) -> Result<Phase, Fault> {
        let config = self.config.clone();
        let endpoint = &config.endpoints[decision.endpoint.0 as usize];
        let provider = &config.providers[endpoint.provider.0 as usize];
        let dialect = self.dialect_at(provider, endpoint)?;
        let streams = self.streams_to(dialect);
        self.issues = self.is_kept_by(provider.kind, dialect)?;
        self.steered = self.steer(desk, decision.endpoint, dialect);
        self.unseal_for(decision.endpoint, decision.pool);
        let (head, body) = self.question_for(decision.endpoint, dialect, streams)?;
        let rules = endpoint.cache.rules.as_ref();
        let kept = self.keeps_question(dialect, rules);
        let question = kept.then(|| Box::new((head.clone(), body.clone())));
        self.went_on(desk);
        let Some(id) = desk.new_attempt(self.id) else {
            return Err(Fault::new(FaultClass::Internal, "no room for an attempt"));
        };
        self.write_row(desk, false, out);
        self.begun_attempt(desk);
        let place = (decision.endpoint, decision.key);
        let open = OpenAttempt {
            number: self.tally.attempts,
            endpoint: decision.endpoint,
            pool: decision.pool,
            key: decision.key,
            began: now,
            decision: decision.reason,
        };
        self.open = Some(open);
        self.note_call(desk, open, now, out);
        self.push_call(desk, id, place, (head, body), now, out);
        let (at, pool) = (decision.endpoint, decision.pool);
        let foreseen = self.foresee(
            desk,
            at,
            pool,
            (decision.cached, decision.best),
            now.instant,
        );
        let epoch = desk.epoch(self.epoch);
        let hold = match &self.kept {
            // No limit of the model is drawn on.
            Some(_) => epoch.hold_nothing(pool),
            None => epoch.hold(at, pool, decision.ask, now.instant),
        };
        epoch.used_key(pool);
        epoch.forecast.took_turn(endpoint.model);
        let generation = decision
            .key
            .map_or(0, |key| epoch.credentials.generation(key));
        let patience = epoch.patience();
        if let Some(breaker) = epoch.breaker(decision.endpoint, decision.pool) {
            breaker.called(now.instant, patience);
        }
        let timeouts = config.models[endpoint.model.0 as usize].timeouts;
        let total_at = (now.instant + timeouts.total).min(self.gives_up_at());
        let at = (now.instant + timeouts.connect).min(total_at);
        let attempt = Box::new(Attempt {
            id,
            number: self.tally.attempts,
            endpoint: decision.endpoint,
            pool: decision.pool,
            key: decision.key,
            credential: generation,
            dialect,
            hold: Some(hold),
            question,
            foreseen,
            timeouts,
            began: now,
            queued: self.tally.queued,
            gated: self.tally.gated,
            decision: decision.reason,
            sent: false,
            streams,
            status: None,
            first_byte: None,
            first_token: None,
            upstream_id: Str::new(),
            refusal: Headers::default(),
            hints: Hints::default(),
            deadline: Deadline {
                at,
                total_at,
                what: Limit::Connect,
            },
        });
        self.watch(desk, &attempt, decision);
        Ok(Phase::Calling(attempt))
    }

    /// Head and body of a call to `endpoint`, without its credential. `Err`: this endpoint cannot be asked this.
    fn question_for(
        &mut self,
        id: EndpointId,
        dialect: DialectName,
        streams: bool,
    ) -> Result<(CallHead, Slices), Fault> {
        if let Some(call) = self.ping_call() {
            return Ok(call);
        }
        let config = self.config.clone();
        let endpoint = &config.endpoints[id.0 as usize];
        let provider = &config.providers[endpoint.provider.0 as usize];
        let name = match &self.kept {
            Some(kept) => kept.wanted.id.clone(),
            None if self.is_about_cache() => self.upstream_cache(provider),
            None => self.video_name(provider, endpoint)?,
        };
        let affinity = self.steered.header.clone();
        let client = self.client_headers();
        let asking = Asking {
            operation: self.operation_in(dialect),
            dialect,
            stream: streams,
            model: &endpoint.name,
            place: &provider.place,
            client: &client,
            affinity: affinity.as_deref(),
            operation_name: &name,
        };
        let (mut head, envelope) = (provider.kind.call(&asking), provider.kind.envelope(&asking));
        let body = match &self.video {
            Some(case) => {
                self.video_head(case, dialect, &mut head);
                self.video_body(case, provider, endpoint, &name)?
            }
            None => {
                self.transcript_head(&mut head);
                self.body_for(id, dialect, streams, envelope.as_ref())?
            }
        };
        Ok((head, body))
    }

    fn push_call(
        &self,
        desk: &mut Desk,
        attempt: AttemptId,
        (endpoint, key): (EndpointId, Option<KeyId>),
        (head, body): (CallHead, Slices),
        now: Now,
        out: &mut Vec<Output>,
    ) {
        let provider = self.config.endpoints[endpoint.0 as usize].provider;
        let provider = &self.config.providers[provider.0 as usize];
        let credential = key.and_then(|key| desk.credential(self.epoch, key));
        let origin = &self.config.origins[provider.origin.0 as usize];
        let query = self.kept.as_ref().map_or("", |kept| &kept.wanted.query);
        let head = addressed(provider, origin, (head, query), credential, &body, now);
        out.push(Output::Call(Box::new(Call {
            attempt,
            origin: provider.origin,
            method: head.method,
            path: head.path.into_owned(),
            headers: head.headers,
            body,
        })));
    }

    /// Another call within an attempt, with the same key. `Err`: there can be none, and nothing was begun.
    pub fn call_again(
        &mut self,
        desk: &mut Desk,
        attempt: &mut Attempt,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let question = self.question_for(attempt.endpoint, attempt.dialect, attempt.streams)?;
        self.ask_again(desk, attempt, question, now, out)
    }

    /// The same of another path, which the provider gave us.
    pub fn call_path(
        &mut self,
        desk: &mut Desk,
        attempt: &mut Attempt,
        path: String,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let question = self.question_for(attempt.endpoint, attempt.dialect, attempt.streams)?;
        let (mut head, body) = question;
        let provider = self.config.endpoints[attempt.endpoint.0 as usize].provider;
        let base = &*self.config.providers[provider.0 as usize].base_path;
        head.path = path.strip_prefix(base).unwrap_or(&path).to_owned().into();
        self.ask_again(desk, attempt, (head, body), now, out)
    }

    fn ask_again(
        &mut self,
        desk: &mut Desk,
        attempt: &mut Attempt,
        question: (CallHead, Slices),
        now: Now,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        desk.end_attempt(attempt.id);
        let Some(id) = desk.new_attempt(self.id) else {
            return Err(Fault::new(FaultClass::Internal, "no room for a call"));
        };
        attempt.id = id;
        desk.meters.video_questions += 1;
        let place = (attempt.endpoint, attempt.key);
        self.push_call(desk, id, place, question, now, out);
        let epoch = desk.epoch(self.epoch);
        let hold = epoch.hold(attempt.endpoint, attempt.pool, self.asked.ask, now.instant);
        attempt.hold = Some(hold);
        attempt.credential = attempt
            .key
            .map_or(0, |key| epoch.credentials.generation(key));
        attempt.deadline = Deadline {
            at: now.instant + attempt.timeouts.connect,
            total_at: now.instant + attempt.timeouts.total,
            what: Limit::Connect,
        };
        Ok(())
    }

    fn begun_attempt(&mut self, desk: &mut Desk) {
        self.tally.attempts = self.tally.attempts.saturating_add(1);
        desk.meters.attempts += 1;
        if self.tally.attempts == 1 {
            desk.allow_hedge(self.config.routing.hedge_budget);
        } else if self.rival.is_none() {
            desk.meters.retries += 1;
            if !self.tally.counted_as_retrying {
                self.tally.counted_as_retrying = true;
                desk.retrying += 1;
            }
        }
    }

    /// Whether the answer of this attempt is kept by its provider, to be asked for later. `Err`: it shall be, and is not.
    fn is_kept_by(&self, kind: ProviderKind, dialect: DialectName) -> Result<bool, Fault> {
        if self.task != Task::Generate || self.dialect != DialectName::Responses {
            return Ok(false);
        }
        let peek = &self.asked.peek;
        let keeps = dialect == DialectName::Responses && kind.keeps_answers();
        if peek.background && !keeps {
            let message = "no provider of this model makes answers in the background; leave it out, or say false";
            return Err(Fault::invalid("background", message));
        }
        Ok(keeps && (peek.background || !peek.unkept))
    }

    /// OpenAI's embeddings may have several inputs, for which Google has a method of its own.
    fn operation_in(&self, dialect: DialectName) -> Operation {
        if let Some(case) = &self.video {
            return case.operation;
        }
        if self.task == Task::Embed
            && dialect == DialectName::Gemini
            && self.dialect != DialectName::Gemini
        {
            return Operation::EmbedMany;
        }
        self.task.operation()
    }

    /// In whose words this endpoint is asked: the client's own where it speaks them, so that bytes pass.
    pub fn dialect_at(
        &self,
        provider: &config::Provider,
        endpoint: &config::Endpoint,
    ) -> Result<DialectName, Fault> {
        let (kind, name, place) = (provider.kind, &*endpoint.name, &provider.place);
        if self.kept.is_some() {
            return Ok(DialectName::Responses);
        }
        if self.transcribes() {
            return self.transcript_dialect(provider);
        }
        if self.is_about_cache() {
            self.can_keep(provider, endpoint)?;
            return Ok(DialectName::Gemini);
        }
        if self.task == Task::Generate {
            let preferred = endpoint.speaks.first().copied();
            let found = kind.dialect_for(self.dialect, name, place, preferred);
            return Ok(endpoint.dialect(found));
        }
        if let Some(case) = &self.video {
            return self.video_dialect(case, provider);
        }
        let operation = self.task.operation();
        let googles = matches!(kind, ProviderKind::Gemini | ProviderKind::Vertex);
        let speaks = |dialect: DialectName| match self.task.is_embedding() {
            true => googles == (dialect == DialectName::Gemini),
            false => kind.speaks(dialect, name, place),
        };
        let offers = |dialect: &DialectName| kind.offers(operation, *dialect) && speaks(*dialect);
        let known: &[DialectName] = if self.task.is_embedding() {
            &[DialectName::Chat, DialectName::Gemini]
        } else {
            &[
                DialectName::Messages,
                DialectName::Responses,
                DialectName::Gemini,
                DialectName::Converse,
            ]
        };
        let own = known.iter().filter(|d| **d == self.dialect);
        let found = own.chain(known).copied().find(offers);
        found.ok_or_else(|| {
            let what = if self.task.is_embedding() {
                "embed"
            } else {
                "count tokens"
            };
            let message = format!(
                "the provider {} does not {what} for this model",
                provider.name
            );
            Fault::invalid("model", message)
        })
    }

    /// The body as this endpoint shall read it: the client's bytes where the dialect is the same, else written from canon.
    fn body_for(
        &mut self,
        id: EndpointId,
        dialect: DialectName,
        streams: bool,
        envelope: Option<&Envelope>,
    ) -> Result<Slices, Fault> {
        let config = self.config.clone();
        let endpoint = &config.endpoints[id.0 as usize];
        self.dropped.clear();
        if self.kept.is_some() {
            return Ok(Slices::from_iter(
                [self.body.clone()].into_iter().filter(|b| !b.is_empty()),
            ));
        }
        if self.transcribes() {
            return self.transcript_body(endpoint);
        }
        let provider = &self.config.providers[endpoint.provider.0 as usize];
        if let Some(body) = self.cached_body(provider, endpoint)? {
            return Ok(body);
        }
        let target = self.target(endpoint, streams);
        let sides = self.question().map(|q| self.sides(q, endpoint, dialect));
        if let Some(sides) = sides.filter(|sides| !sides.pass()) {
            let (body, dropped) = sides.request(&self.body, &target)?;
            self.dropped = dropped;
            return shaped(body, envelope);
        }
        if self.passes(endpoint, dialect) {
            return self.own_words((id, endpoint), dialect, envelope);
        }
        if self.asked.peek.server_state && dialect != self.dialect {
            let message = "the request names what is kept at one provider (an earlier answer, a file or a cached prefix), and this model is not served there in the same dialect";
            return Err(Fault::new(FaultClass::Invalid, message));
        }
        let body = self.written(id, dialect, streams)?;
        let edits = self.helping(id, dialect, &body);
        shaped(splice::marks::edited_whole(body, edits), envelope)
    }

    /// Whether the client's bytes go to this endpoint as they are, but for what must change.
    pub fn passes(&self, endpoint: &config::Endpoint, dialect: DialectName) -> bool {
        let peek = &self.asked.peek;
        // A rule on content cannot be kept by bytes that pass; what is kept at one provider can be asked for in no other form.
        let ruled = !peek.server_state && endpoint.rules.reach_content(peek);
        dialect == self.dialect && !self.is_sealed() && !ruled
    }

    /// Whether the provider is asked for a stream. A client that takes the answer whole still gets it sooner told that it stalls when it is
    /// streamed to us; bytes that pass are asked for as they will leave.
    pub fn streams_to(&self, dialect: DialectName) -> bool {
        match self.task {
            Task::Generate => self.streams() || dialect != self.dialect,
            Task::Kept(_) | Task::Transcribe | Task::Translate => self.streams(),
            _ => self.carries(),
        }
    }

    /// The body in the endpoint's own dialect, by way of canon. Written once for an endpoint, however often it is asked for.
    pub fn written(
        &mut self,
        id: EndpointId,
        dialect: DialectName,
        streams: bool,
    ) -> Result<Bytes, Fault> {
        let is_it = |w: &&Written| {
            (w.endpoint, w.dialect, w.streams) == (id, dialect, streams) && w.gone == self.gone()
        };
        if let Some(written) = self.written.as_deref().filter(is_it) {
            self.dropped.clone_from(&written.dropped);
            return Ok(written.body.clone());
        }
        if self.request.is_none() {
            self.request = Some(Box::new(dialect::read_request(self.dialect, &self.body)?));
        }
        let Some(request) = &self.request else {
            return Err(Fault::new(FaultClass::Internal, "the request was not read"));
        };
        let config = self.config.clone();
        let target = self.target(&config.endpoints[id.0 as usize], streams);
        let gone = self.gone().to_vec();
        let (body, dropped) = match &gone[..] {
            [] => dialect::write_request(dialect, request, &target)?,
            _ => {
                let mut without = (**request).clone();
                let mut told = seals::leave_out(&mut without, &|seal| gone.contains(&seal.digest));
                let (body, dropped) = dialect::write_request(dialect, &without, &target)?;
                let new = dropped.into_iter().filter(|name| !told.contains(name));
                let new: Vec<String> = new.collect();
                told.extend(new);
                (body, told)
            }
        };
        self.dropped.clone_from(&dropped);
        self.written = Some(Box::new(Written {
            endpoint: id,
            dialect,
            streams,
            body: body.clone(),
            dropped,
            gone,
        }));
        Ok(body)
    }

    /// Reasoning of another issuer that this router sealed for a client of Responses: OpenAI could not read it.
    fn is_sealed(&self) -> bool {
        self.dialect == DialectName::Responses
            && self.asked.peek.has_thinking
            && memchr::memmem::find(&self.body, b"\"stokehold.").is_some()
    }

    /// The client's own bytes, with what must change.
    fn own_words(
        &mut self,
        (id, endpoint): (EndpointId, &config::Endpoint),
        dialect: DialectName,
        envelope: Option<&Envelope>,
    ) -> Result<Slices, Fault> {
        let (mut edits, left_out) = self.cut_seals(&self.body);
        edits.extend(self.helping(id, dialect, &self.body));
        let none = Rules::default();
        // Only what is asked of a model has parameters that a rule could name.
        let rules = match self.task {
            Task::Generate => &endpoint.rules,
            _ => &none,
        };
        let (body, peek) = (&self.body, &self.asked.peek);
        let shape = envelope.map(|e| (e.remove, &*e.insert));
        let ruled = (rules, edits);
        let (slices, told) =
            splice::own_words_with(dialect, body, peek, &endpoint.name, ruled, shape)?;
        self.dropped = told;
        for name in left_out {
            if !self.dropped.contains(&name) {
                self.dropped.push(name);
            }
        }
        Ok(slices.into_iter().collect())
    }

    fn target<'a>(&'a self, endpoint: &'a config::Endpoint, stream: bool) -> Target<'a> {
        let model = &self.config.models[endpoint.model.0 as usize];
        Target {
            model: &endpoint.name,
            stream,
            max_output_default: model
                .output_max
                .map_or(MAX_OUTPUT_DEFAULT, |most| most.0.min(MAX_OUTPUT_DEFAULT)),
            rules: &endpoint.rules,
        }
    }

    /// What is asked, where its answer is numbers.
    pub fn question(&self) -> Option<Question> {
        match self.task {
            Task::Generate
            | Task::Transcribe
            | Task::Translate
            | Task::Video(_)
            | Task::Kept(_)
            | Task::Cached(_)
            | Task::CacheList => None,
            Task::CountTokens => Some(Question::Count),
            Task::Embed => Some(Question::Embed),
            Task::EmbedMany => Some(Question::EmbedMany),
        }
    }

    pub fn sides(
        &self,
        question: Question,
        endpoint: &config::Endpoint,
        dialect: DialectName,
    ) -> Sides {
        let provider = &self.config.providers[endpoint.provider.0 as usize];
        let form = match provider.kind {
            ProviderKind::Vertex
                if question != Question::Count && vertex::predicts(&endpoint.name) =>
            {
                Form::Predict
            }
            ProviderKind::Vertex => Form::Vertex,
            ProviderKind::Bedrock if !provider.place.mantle => Form::Bedrock,
            _ => Form::Plain,
        };
        Sides {
            question,
            client: self.dialect,
            provider: dialect,
            form,
        }
    }

    fn client_headers(&self) -> ClientHeaders<'_> {
        ClientHeaders {
            anthropic_version: self.passing.anthropic_version.as_deref(),
            anthropic_beta: self.passing.anthropic_beta.as_deref(),
            openai_beta: self.passing.openai_beta.as_deref(),
            openrouter_referer: self.passing.openrouter_referer.as_deref(),
            openrouter_title: self.passing.openrouter_title.as_deref(),
        }
    }

    /// Connected and written whole.
    pub fn sent(&mut self, mut attempt: Box<Attempt>, now: Now) -> Phase {
        attempt.sent = true;
        // An answer that is not streamed has its first byte when all of it is thought out: only the total bounds it.
        let wait = if attempt.streams {
            attempt.timeouts.first_byte
        } else {
            attempt.timeouts.total
        };
        attempt.deadline.at = (now.instant + wait).min(attempt.deadline.total_at);
        attempt.deadline.what = Limit::FirstByte;
        Phase::Calling(attempt)
    }
}

/// What Messages is told where the client gave no limit and the catalogue no smaller one: enough for nearly all answers, and not so much that
/// providers which reserve it would refuse.
const MAX_OUTPUT_DEFAULT: u64 = 8_192;

/// The body in its provider's envelope, if it has one.
fn shaped(body: Bytes, envelope: Option<&Envelope>) -> Result<Slices, Fault> {
    match envelope {
        Some(envelope) => {
            let slices = splice::envelope(&body, envelope.remove, &envelope.insert)?;
            Ok(slices.into_iter().collect())
        }
        None => Ok(Slices::from_iter([body])),
    }
}

/// The head with the base URL's path, what the configuration adds, and the credential.
fn addressed(
    provider: &config::Provider,
    origin: &config::Origin,
    (mut head, query): (CallHead, &str),
    credential: Option<&Credential>,
    body: &[Bytes],
    now: Now,
) -> CallHead {
    let shown = credential.and_then(text_of);
    if !query.is_empty() {
        head.path = format!("{}?{query}", head.path).into();
    }
    if !provider.query.is_empty() {
        head.path = queried(provider, &head.path, shown).into();
    }
    // Where the file says itself where the key goes, the kind's own header does not show it as well.
    if !(shown.is_some() && provider.places_secret()) {
        // Only a signature covers the host.
        let host = match credential {
            Some(Credential::Aws(_)) => origin.authority(),
            _ => String::new(),
        };
        let signing = Signing {
            host: &host,
            base_path: &provider.base_path,
            body,
            now: now.wall,
            place: &provider.place,
        };
        provider.kind.sign(&mut head, credential, &signing);
    }
    if !provider.base_path.is_empty() {
        head.path = format!("{}{}", provider.base_path, head.path).into();
    }
    for (name, value) in &provider.headers {
        head.headers.retain(|(n, _)| n != name);
        let value = value.fill(shown.map(Secret::expose));
        head.headers.push((name.clone().into(), value.into()));
    }
    head
}

fn queried(provider: &config::Provider, path: &str, shown: Option<&Secret>) -> String {
    let mut whole = path.to_owned();
    for (name, value) in &provider.query {
        whole.push(if whole.contains('?') { '&' } else { '?' });
        whole.push_str(name);
        whole.push('=');
        form::encode(&value.fill(shown.map(Secret::expose)), &mut whole);
    }
    whole
}

/// What a header can show of a credential; a key that signs has no such text.
fn text_of(credential: &Credential) -> Option<&Secret> {
    match credential {
        Credential::Key(secret) | Credential::Bearer(secret) => Some(secret),
        Credential::Aws(_) => None,
    }
}
