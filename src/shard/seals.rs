//! Conversations that carry what only its maker can read (FIELD-BUGS 48, 49): they stay where it can be read, or leave it behind, and say so.
//!
//! Who made a seal is learned as answers bring it, by a keyed hash in the table of `issued`, and told to the other shards; what nobody remembers is
//! known by its looks, or shown and left out when it is refused. Two kinds of places are told apart. One that only passes over a seal may be
//! chosen like any other, at the price of thinking anew. One that refuses the call for it is no candidate while the seal's own can be
//! asked, be that after a wait: a limit does not move a conversation. Where nobody there can be asked any more, the request goes on elsewhere without
//! exactly what is refused there. Nothing of that is remembered: the client's history still holds all, so the next request finds its way back.
//!
//! Cost: requests without such things pay one test of a flag, answers what `protocol::dialect::seals` says.

use crate::base::{EndpointId, NanoUsd, Now, PoolId, TokenPrice, Tokens};
use crate::canon::controls::Rebind;
use crate::canon::{DialectName, Fault, FaultClass, Maker, Seal};
use crate::config::{self, Config};
use crate::policy::candidate::Candidate;
use crate::policy::retry::{AttemptError, Next};
use crate::policy::seals::{Distance, Reading, SealRule};
use crate::protocol::dialect::splice::Edit;
use crate::protocol::dialect::{Dropped, seals};
use crate::shard::Output;
use crate::shard::desk::Desk;
use crate::shard::exchange::{Attempt, Exchange};
use crate::shard::gossip::News;
use crate::shard::issued::{Found, Name, Place, PlaceName};
use crate::shard::relay::Relay;
use crate::shard::task::Task;
use bytes::Bytes;
use smallvec::SmallVec;

/// The seals of a request.
#[derive(Debug)]
pub(super) struct Seals {
    /// In the conversation's order, each with the place that made it, where that is remembered and still configured.
    all: Vec<(Seal, Option<Place>)>,
    /// It goes where not all of them are read.
    rebound: bool,
    /// A provider refused what it was believed to take: only what it is known to have made is shown to anybody.
    doubted: bool,
    /// What the place that is asked now is not shown.
    gone: Vec<u128>,
}

impl Seals {
    /// What becomes of a seal at an endpoint and pool.
    fn reading(
        &self,
        config: &Config,
        (seal, made): &(Seal, Option<Place>),
        at: (EndpointId, PoolId),
    ) -> Reading {
        let endpoint = &config.endpoints[at.0.0 as usize];
        let Some(rule) = &endpoint.seals else {
            return Reading::Read;
        };
        let known = made.and_then(|place| {
            let maker = &config.endpoints[place.endpoint.0 as usize];
            Some((maker.seals.as_ref()?, distance(config, place, at)))
        });
        let reading = match known {
            Some((made, distance)) => rule.reading(made, distance),
            None => rule.reading_of(seal.maker),
        };
        let at_home = known.is_some_and(|(_, d)| d.same_account && d.same_model);
        match self.doubted && !at_home {
            true => Reading::Refused,
            false => reading,
        }
    }

    /// The worst that becomes of what counts: of the newest alone, since that is what the model is in the middle of; of all, where the client wants
    /// none left out; and always of what the conversation cannot do without.
    fn standing(&self, config: &Config, all: bool, at: (EndpointId, PoolId)) -> Standing {
        let refused =
            |entry: &&(Seal, Option<Place>)| self.reading(config, entry, at) == Reading::Refused;
        if self
            .all
            .iter()
            .filter(|(s, _)| s.needed || all)
            .any(|e| refused(&e))
        {
            return Standing::Never;
        }
        let newest = self.all.iter().rfind(|(seal, _)| !seal.needed);
        match newest {
            Some(entry) if refused(&entry) => Standing::Rebound,
            _ => Standing::Bound,
        }
    }
}

/// Whether a request may go to a place for the sake of its seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Its newest is read there, or passed over.
    Bound,
    /// Only without it.
    Rebound,
    Never,
}

fn distance(config: &Config, made: Place, (endpoint, pool): (EndpointId, PoolId)) -> Distance {
    let of = |endpoint: EndpointId| &config.endpoints[endpoint.0 as usize];
    let kind = |e: &config::Endpoint| config.providers[e.provider.0 as usize].kind;
    let (maker, reader) = (of(made.endpoint), of(endpoint));
    let scope = |pool: PoolId| &config.pools[pool.0 as usize].cache_scope;
    Distance {
        same_provider: kind(maker) == kind(reader),
        same_account: made.pool == pool
            || (maker.provider == reader.provider && scope(made.pool) == scope(pool)),
        same_model: maker.model == reader.model || maker.name == reader.name,
    }
}

impl Desk {
    /// A seal as the table knows it: of one tenant, and of no use to who sees the table.
    fn seal_name(&self, tenant: &str, digest: u128) -> Name {
        let digest = digest.to_le_bytes();
        let parts = [&b"seal"[..], tenant.as_bytes(), &digest[..]];
        Name::keyed(self.caches.secret().hint(&parts))
    }
}

impl Exchange {
    /// Finds the seals of the request, and who made them.
    pub fn look_up_seals(&mut self, desk: &mut Desk) {
        if self.task != Task::Generate || !self.asked.peek.has_thinking || self.kept.is_some() {
            return;
        }
        let found = match &self.request {
            Some(request) if self.dialect == DialectName::Native => seals::of_request(request),
            _ => seals::of_body(self.dialect, &self.body),
        };
        if found.is_empty() {
            return;
        }
        let tenant = &self.config.tenants[self.tenant.0 as usize].name;
        let all = found.into_iter().map(|seal| {
            let name = desk.seal_name(tenant, seal.digest);
            let made = match desk.signed.find(name) {
                Found::Here { place, .. } => desk.epoch(self.epoch).place_named(place),
                Found::Anothers | Found::Unknown => None,
            };
            (seal, made)
        });
        self.seals = Some(Box::new(Seals {
            all: all.collect(),
            rebound: false,
            doubted: false,
            gone: Vec::new(),
        }));
    }

    /// The answer brought seals: they are this place's.
    pub fn learn_seals(
        &self,
        desk: &mut Desk,
        attempt: &Attempt,
        relay: &mut Relay,
        out: &mut Vec<Output>,
    ) {
        if relay.seals.is_empty() {
            return;
        }
        let place = PlaceName::of(&self.config, crate::shard::kept::place_of(attempt));
        let tenant = &self.config.tenants[self.tenant.0 as usize].name;
        for digest in relay.seals.drain(..) {
            let name = desk.seal_name(tenant, digest);
            // A body that is read in two ways brings it twice.
            if matches!(desk.signed.find(name), Found::Here { place: known, .. } if known == place)
            {
                continue;
            }
            desk.signed.learn(name, place, false);
            if desk.shards > 1 {
                self.tell_others(News::Signed { name, place }, out);
            }
        }
    }

    /// Whether answers of this place may bring any. Chat Completions of those who made it, or took it over, has no place for them.
    pub fn watches_seals(&self, endpoint: &config::Endpoint, dialect: DialectName) -> bool {
        let speaks = |rule: &SealRule| {
            dialect != DialectName::Chat || !matches!(rule.by, Maker::OpenAi | Maker::Xai)
        };
        self.task == Task::Generate && endpoint.seals.as_ref().is_some_and(speaks)
    }

    /// Whether it may go there for the sake of its seals.
    pub(super) fn may_read(&self, endpoint: EndpointId, pool: PoolId) -> bool {
        let Some(seals) = &self.seals else {
            return true;
        };
        match seals.standing(&self.config, self.stays_whole(), (endpoint, pool)) {
            Standing::Bound => true,
            Standing::Rebound => seals.rebound,
            Standing::Never => false,
        }
    }

    /// What it costs to think anew what cannot be read there: the newest thought, at the price of output. A seal is about as long as what it hides,
    /// in base64.
    pub(super) fn rethinking(&self, at: (EndpointId, PoolId), output: TokenPrice) -> NanoUsd {
        let Some(seals) = &self.seals else {
            return NanoUsd::ZERO;
        };
        match seals.all.iter().rfind(|(seal, _)| !seal.needed) {
            Some(entry) if seals.reading(&self.config, entry, at) != Reading::Read => {
                let tokens = Tokens(u64::from(entry.0.bytes) * 3 / 4 / BYTES_PER_TOKEN);
                NanoUsd::of_pico(tokens.times(output))
            }
            _ => NanoUsd::ZERO,
        }
    }

    /// The client wants nothing of its conversation left out.
    fn stays_whole(&self) -> bool {
        self.controls.rebind == Some(Rebind::Never)
    }

    /// Nobody who reads its newest seal can be asked: from now on it may go where that is not read. False where that helps nobody.
    pub(super) fn rebind(&mut self, desk: &mut Desk, now: Now) -> bool {
        match &mut self.seals {
            Some(seals) if !seals.rebound => seals.rebound = true,
            _ => return false,
        }
        let bound = |c: &Candidate| match &self.seals {
            Some(seals) => {
                let at = (c.endpoint, c.pool);
                seals.standing(&self.config, self.stays_whole(), at) == Standing::Bound
            }
            None => true,
        };
        let helps = self
            .candidates(desk, now.instant)
            .iter()
            .any(|c| !c.tried && !bound(c));
        if let Some(seals) = &mut self.seals {
            seals.rebound = helps;
        }
        desk.meters.rebound += u64::from(helps);
        helps
    }

    /// What follows a failure, where the conversation is bound: a limit is waited out, and the last attempt is not spent where nobody answers.
    pub(super) fn next_bound(
        &mut self,
        desk: &mut Desk,
        attempt: &Attempt,
        (error, should_retry): (AttemptError, Option<bool>),
        now: Now,
    ) -> Next {
        let next = self.next(desk, attempt, error, should_retry, now);
        let most = self.config.routing.attempts_max;
        let leaves = match (next, error) {
            (Next::GiveUp, AttemptError::Rejected) | (Next::Elsewhere, _) => false,
            (Next::AgainIn(_), AttemptError::Limited { .. }) => false,
            (Next::AgainIn(_), _) => self.tally.attempts.saturating_add(1) >= most,
            (Next::GiveUp, _) => true,
        };
        if leaves && !self.saw && self.rebind(desk, now) {
            return self.next(desk, attempt, error, should_retry, now);
        }
        next
    }

    /// A provider refused a seal of which nobody knew better: once, the request goes on without those that nobody is known to read.
    pub(super) fn doubt(
        &mut self,
        desk: &mut Desk,
        attempt: &Attempt,
        error: AttemptError,
        fault: &Fault,
    ) -> Option<Next> {
        if error != AttemptError::Rejected
            || self.saw
            || !speaks_of_seals(fault)
            || self.stays_whole()
            || !desk.has_room_for_another_row()
        {
            return None;
        }
        let at = (attempt.endpoint, attempt.pool);
        let config = self.config.clone();
        let seals = self.seals.as_mut().filter(|seals| !seals.doubted)?;
        let left_out = |seals: &Seals| {
            let refused = |e: &&(Seal, Option<Place>)| {
                !e.0.needed && seals.reading(&config, e, at) == Reading::Refused
            };
            seals.all.iter().filter(refused).count()
        };
        let before = left_out(seals);
        (seals.doubted, seals.rebound) = (true, true);
        if left_out(seals) == before {
            // All that it was shown is its own: the conversation was changed, which is for the client to know.
            return None;
        }
        desk.meters.rebound += 1;
        Some(Next::AgainIn(std::time::Duration::ZERO))
    }

    /// Settles what the place that is to be asked is not shown.
    pub(super) fn unseal_for(&mut self, endpoint: EndpointId, pool: PoolId) {
        let Some(mut seals) = self.seals.take() else {
            return;
        };
        let refused = seals.all.iter().filter(|entry| {
            !entry.0.needed
                && seals.reading(&self.config, entry, (endpoint, pool)) == Reading::Refused
        });
        seals.gone = refused.map(|(seal, _)| seal.digest).collect();
        self.seals = Some(seals);
    }

    /// What the place that is asked now is not shown.
    pub(super) fn gone(&self) -> &[u128] {
        self.seals.as_ref().map_or(&[], |seals| &seals.gone)
    }

    /// The same as changes of the client's bytes.
    pub(super) fn cut_seals(&self, body: &Bytes) -> (Vec<Edit>, Dropped) {
        match self.gone() {
            [] => (Vec::new(), Dropped::new()),
            gone => seals::cut(self.dialect, body, &|seal| gone.contains(&seal.digest)),
        }
    }

    /// Why there is no candidate, where that is for the sake of its seals.
    pub(super) fn why_unread(&self) -> Option<Fault> {
        let seals = self.seals.as_ref()?;
        let endpoints = &self.config.models[self.model().0 as usize].endpoints;
        let wanted = endpoints.iter().filter(|endpoint| {
            let provider = self.config.endpoints[endpoint.0 as usize].provider;
            let name = &self.config.providers[provider.0 as usize].name;
            self.controls.providers.preference(name).is_some()
        });
        let places = wanted.flat_map(|endpoint| {
            let pools = &self.config.endpoints[endpoint.0 as usize].pools;
            pools.iter().map(|pool| (*endpoint, *pool))
        });
        let places: SmallVec<[_; 8]> = places.collect();
        let whole = self.stays_whole();
        let serves =
            |at: &(EndpointId, PoolId)| seals.standing(&self.config, whole, *at) != Standing::Never;
        if places.is_empty() || places.iter().any(serves) {
            return None;
        }
        let mut makers = seals.all.iter().rev().filter_map(|(_, made)| *made);
        let of = makers.next().map_or("another provider", |made| {
            let provider = self.config.endpoints[made.endpoint.0 as usize].provider;
            &self.config.providers[provider.0 as usize].name
        });
        let needed = seals.all.iter().any(|(seal, _)| seal.needed);
        let why = match (whole, needed) {
            (true, false) => {
                "and x-stokehold-rebind: never forbids to go on without it; say allow, or leave it out"
            }
            _ => "and holds what was said before, so that nobody else can go on from it",
        };
        let message = format!(
            "the conversation carries reasoning that {of} alone can read, which does not serve this model here, {why}"
        );
        let field = match self.dialect {
            DialectName::Responses | DialectName::Native => "input",
            DialectName::Gemini => "contents",
            _ => "messages",
        };
        Some(Fault::invalid(field, message).with_code("reasoning_unreadable"))
    }
}

/// Providers' words for a seal that they do not take: "Invalid `signature` in `thinking` block" (Anthropic), "Corrupted thought signature" (Google),
/// "The encrypted content … could not be verified", `invalid_encrypted_content` (OpenAI). Read 2026-08 to 2026-11.
fn speaks_of_seals(fault: &Fault) -> bool {
    let message = fault.message.to_ascii_lowercase();
    let code = fault.code.as_deref().unwrap_or_default();
    fault.class == FaultClass::Invalid
        && (code == "invalid_encrypted_content"
            || ["signature", "encrypted content", "encrypted_content"]
                .iter()
                .any(|word| message.contains(word)))
}

/// As everywhere where bytes are made tokens of.
const BYTES_PER_TOKEN: u64 = 4;
