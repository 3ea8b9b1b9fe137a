//! Phase 3: encode, begin the attempt; retry lands here.

use crate::base::{Now, OriginId, Secret};
use crate::canon::{DialectName, Fault, FaultClass};
use crate::config;
use crate::policy::choose::Decision;
use crate::protocol::dialect::{self, Target, splice};
use crate::protocol::provider::hints::Hints;
use crate::protocol::provider::{CallHead, ClientHeaders, Credential, form};
use crate::shard::desk::Desk;
use crate::shard::exchange::{Attempt, Deadline, Exchange, Limit, OpenAttempt, Phase};
use crate::shard::input::Slices;
use crate::shard::{Call, Output};

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
        let dialect = provider.kind.dialect_for(self.dialect);
        // A client that takes the answer whole still gets it sooner told that it stalls when it is streamed to us; bytes that pass are asked for as they will leave.
        let streams = self.streams() || dialect != self.dialect;
        let body = self.body_for(endpoint, dialect, streams)?;
        let Some(id) = desk.new_attempt(self.id) else {
            return Err(Fault::new(FaultClass::Internal, "no room for an attempt"));
        };
        self.write_row(desk, false, out);
        self.begun_attempt(desk);
        let credential = decision
            .key
            .and_then(|key| desk.credential(self.epoch, key));
        let shown = credential.and_then(text_of);
        // Where the file says itself where the key goes, the kind's own header does not show it as well.
        let own = shown.filter(|_| !provider.places_secret());
        let head = provider
            .kind
            .call(dialect, own, &self.client_headers(), streams);
        let method = head.method;
        let path = path(provider, &head.path, shown);
        let headers = headers(provider, head, shown);
        out.push(Output::Call(Box::new(Call {
            attempt: id,
            origin: origin(provider),
            method,
            path,
            headers,
            body,
        })));
        let epoch = desk.epoch(self.epoch);
        let hold = epoch.hold(
            decision.endpoint,
            decision.pool,
            self.asked.ask,
            now.instant,
        );
        epoch.used_key(decision.pool);
        let generation = decision
            .key
            .map_or(0, |key| epoch.credentials.generation(key));
        let patience = epoch.patience();
        if let Some(breaker) = epoch.breaker(decision.endpoint, decision.pool) {
            breaker.called(now.instant, patience);
        }
        self.open = Some(OpenAttempt {
            number: self.tally.attempts,
            endpoint: decision.endpoint,
            pool: decision.pool,
            key: decision.key,
            began: now,
            decision: decision.reason,
        });
        let timeouts = config.models[endpoint.model.0 as usize].timeouts;
        let total_at = (now.instant + timeouts.total).min(self.gives_up_at());
        let at = (now.instant + timeouts.connect).min(total_at);
        Ok(Phase::Calling(Box::new(Attempt {
            id,
            number: self.tally.attempts,
            endpoint: decision.endpoint,
            pool: decision.pool,
            key: decision.key,
            credential: generation,
            dialect,
            hold,
            timeouts,
            began: now,
            queued: self.tally.queued,
            decision: decision.reason,
            sent: false,
            streams,
            status: None,
            first_byte: None,
            upstream_id: String::new(),
            hints: Hints::default(),
            deadline: Deadline {
                at,
                total_at,
                what: Limit::Connect,
            },
        })))
    }

    fn begun_attempt(&mut self, desk: &mut Desk) {
        self.tally.attempts = self.tally.attempts.saturating_add(1);
        desk.meters.attempts += 1;
        if self.tally.attempts > 1 {
            desk.meters.retries += 1;
            if !self.tally.counted_as_retrying {
                self.tally.counted_as_retrying = true;
                desk.retrying += 1;
            }
        }
    }

    /// The body as this endpoint shall read it: the client's bytes where the dialect is the same, else written from canon.
    fn body_for(
        &mut self,
        endpoint: &config::Endpoint,
        dialect: DialectName,
        streams: bool,
    ) -> Result<Slices, Fault> {
        self.dropped.clear();
        if dialect == self.dialect {
            return splice::splice_request(dialect, &self.body, &self.asked.peek, &endpoint.name);
        }
        if self.request.is_none() {
            self.request = Some(Box::new(dialect::read_request(self.dialect, &self.body)?));
        }
        let Some(request) = &self.request else {
            return Err(Fault::new(FaultClass::Internal, "the request was not read"));
        };
        let model = &self.config.models[endpoint.model.0 as usize];
        let target = Target {
            model: &endpoint.name,
            stream: streams,
            max_output_default: model
                .output_max
                .map_or(MAX_OUTPUT_DEFAULT, |most| most.0.min(MAX_OUTPUT_DEFAULT)),
            rules: &endpoint.rules,
        };
        let (body, dropped) = dialect::write_request(dialect, request, &target)?;
        self.dropped = dropped;
        Ok(Slices::from_iter([body]))
    }

    fn client_headers(&self) -> ClientHeaders<'_> {
        ClientHeaders {
            anthropic_version: self.passing.anthropic_version.as_deref(),
            anthropic_beta: self.passing.anthropic_beta.as_deref(),
            openai_beta: self.passing.openai_beta.as_deref(),
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

fn origin(provider: &config::Provider) -> OriginId {
    provider.origin
}

fn path(provider: &config::Provider, path: &str, shown: Option<&Secret>) -> String {
    let mut whole = format!("{}{path}", provider.base_path);
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

fn headers(
    provider: &config::Provider,
    head: CallHead,
    shown: Option<&Secret>,
) -> Vec<(String, String)> {
    let own = head
        .headers
        .into_iter()
        .filter(|(name, _)| !provider.headers.iter().any(|(n, _)| n == name));
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let written = provider.headers.iter();
    let written =
        written.map(|(name, value)| (name.clone(), value.fill(shown.map(Secret::expose))));
    own.chain(written).collect()
}
