//! Answers that a provider keeps: who can be asked for one, what it is asked, and when its bill is written.
//!
//! An answer of Responses that is kept is good at the account that made it: it is fetched, cancelled and deleted there and gone on from
//! (`previous_response_id`) there. Where the issuer is not remembered, a router of one tenant asks every account that keeps answers in turn;
//! one of several tenants says 404, since nobody may find another's.
//!
//! The bill: an ask after a kept answer costs nothing and has no row in the ledger. An answer made in the background is billed when its
//! usage is first seen, by whoever sees it, in a row under the answer's own id; the ledger takes a row of one id once, so that two who see
//! it at the same moment, or one who sees it again after a restart, write it once all the same. Its creation has a row without usage. One that
//! was called off and says no usage is billed its prompt, as an estimate.

use crate::base::{Instant, NanoUsd, Now, Str, TenantId, Tokens};
use crate::canon::{Fault, FaultClass, Usage};
use crate::config::{Config, LogLevel};
use crate::policy::bill::bill;
use crate::policy::capacity::Ask;
use crate::policy::choose::Decision;
use crate::policy::cost::Terms;
use crate::policy::retry::{AttemptError, Next};
use crate::protocol::provider::Deed;
use crate::shard::credentials::FETCH_TIME;
use crate::shard::desk::{Desk, Epoch};
use crate::shard::exchange::{Attempt, Exchange, LastFailure, ModelIdOrNone, Phase};
use crate::shard::gossip::News;
use crate::shard::issued::{Found, Name, Place, PlaceName, keys_of};
use crate::shard::line::Claims;
use crate::shard::relay::Relay;
use crate::shard::route::{Headroom, no_working_key};
use crate::shard::settle::used;
use crate::shard::{LedgerRow, Mail, Outcome, Output, Under};
use smallvec::smallvec;
use std::time::Duration;

/// What a client asks of an answer that its provider keeps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub deed: Deed,
    pub id: Str,
    /// As the client wrote it, without a key that it shows there.
    pub query: Str,
}

/// How far that has come.
#[derive(Debug)]
pub(super) struct Kept {
    pub wanted: Wanted,
    /// Who is asked, in this order; one where the issuer is known.
    places: Vec<Place>,
    at: usize,
    /// The issuer is known.
    known: bool,
    /// Looked for once more after other shards had time to tell.
    waited: bool,
    /// What somebody failed with who may keep it.
    unsure: Option<LastFailure>,
}

/// What another shard has learned arrives within this.
const GOSSIP_TIME: Duration = Duration::from_millis(100);

impl Kept {
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            places: Vec::new(),
            at: 0,
            known: false,
            waited: false,
            unsure: None,
        }
    }
}

impl Exchange {
    fn name_of(&self, id: &str) -> Name {
        Name::of(&self.config.tenants[self.tenant.0 as usize].name, id)
    }

    /// Finds who keeps what the request names, if it names anything.
    pub fn locate(&mut self, desk: &mut Desk) -> Result<(), Fault> {
        if self.kept.is_some() {
            return self.locate_kept(desk);
        }
        let Some(previous) = &self.asked.peek.previous else {
            return Ok(());
        };
        match desk.issued.find(self.name_of(previous)) {
            Found::Here { place, .. } => self.pin = desk.epoch(self.epoch).place_named(place),
            Found::Anothers => {
                let message = format!("Previous response with id '{previous}' not found.");
                let fault = Fault::invalid("previous_response_id", message);
                return Err(fault.with_code("previous_response_not_found"));
            }
            // It goes where it goes, and is refused there if it is unknown there.
            Found::Unknown => {}
        }
        Ok(())
    }

    fn locate_kept(&mut self, desk: &mut Desk) -> Result<(), Fault> {
        let Some(mut kept) = self.kept.take() else {
            return Ok(());
        };
        let found = desk.issued.find(self.name_of(&kept.wanted.id));
        let issuer = match found {
            Found::Here { place, .. } => desk.epoch(self.epoch).place_named(place),
            Found::Anothers | Found::Unknown => None,
        };
        kept.known = issuer.is_some();
        kept.places = match issuer {
            Some(place) => vec![place],
            None if self.config.tenants.len() > 1 => Vec::new(),
            None => accounts(&self.config),
        };
        let before = kept.places.len();
        kept.places.retain(|place| {
            let provider = self.config.endpoints[place.endpoint.0 as usize].provider;
            let name = &self.config.providers[provider.0 as usize].name;
            self.controls.providers.preference(name).is_some()
        });
        let denied = before > 0 && kept.places.is_empty();
        self.kept = Some(kept);
        if denied {
            let message = "none of the providers that this allows keeps the answer";
            return Err(Fault::invalid("x-stokehold-providers", message));
        }
        Ok(())
    }

    fn kept_place(&self) -> Option<Place> {
        let kept = self.kept.as_ref()?;
        kept.places.get(kept.at).copied()
    }

    /// Asks who is next to be asked.
    pub fn route_kept(
        &mut self,
        desk: &mut Desk,
        now: Now,
        since: Instant,
        out: &mut Vec<Output>,
    ) -> Phase {
        while let Some(place) = self.kept_place() {
            let endpoint = &self.config.endpoints[place.endpoint.0 as usize];
            self.asked.model = ModelIdOrNone(Some(endpoint.model));
            let known = self.kept.as_ref().is_some_and(|kept| kept.known);
            match self.kept_decision(desk, place, now.instant) {
                Some(decision) if !self.tally.incapable.contains(&place.endpoint) => {
                    return self.go(desk, now, since, &decision, out);
                }
                None if known
                    && desk
                        .epoch(self.epoch)
                        .awaits_credential(place.pool, now.instant) =>
                {
                    let headroom = Headroom {
                        time: Some(FETCH_TIME),
                        freed: true,
                        claims: smallvec![Epoch::credential_claim(place.pool)],
                        yields: false,
                    };
                    return self.wait(desk, now, since, headroom, out);
                }
                _ => self.kept_elsewhere(Some(unasked())),
            }
        }
        self.kept_nowhere(desk, now, out)
    }

    /// Asking there, if its key can be used.
    fn kept_decision(&self, desk: &mut Desk, place: Place, now: Instant) -> Option<Decision> {
        let epoch = desk.epoch(self.epoch);
        let live = place.key.is_none_or(|key| {
            !epoch.is_dead(key, now)
                && !self.tally.dead_keys.contains(&key)
                && epoch.credentials.is_ready(key, now)
        });
        let known = self.kept.as_ref().is_some_and(|kept| kept.known);
        live.then(|| Decision {
            endpoint: place.endpoint,
            pool: place.pool,
            key: place.key,
            terms: Terms::default(),
            // It draws on no limit of the model.
            ask: Ask::default(),
            cached: Tokens::ZERO,
            best: Tokens::ZERO,
            reason: if known { "issuer" } else { "search" },
        })
    }

    /// The next is to be asked. `failure`: why this one could not say whether it keeps the answer.
    fn kept_elsewhere(&mut self, failure: Option<LastFailure>) {
        if let Some(kept) = &mut self.kept {
            kept.at += 1;
            if failure.is_some() {
                kept.unsure = failure;
            }
        }
        // Each account is asked for the first time.
        self.tally.attempts = 0;
        self.tally.keys_refused = 0;
    }

    /// Everybody was asked.
    fn kept_nowhere(&mut self, desk: &mut Desk, now: Now, out: &mut Vec<Output>) -> Phase {
        let Some(kept) = &mut self.kept else {
            let fault = Fault::new(FaultClass::Internal, "nothing was asked for");
            return self.refuse(desk, now, &fault, out);
        };
        if kept.places.is_empty() && !kept.waited && desk.shards > 1 {
            kept.waited = true;
            let until = now.instant + GOSSIP_TIME;
            self.line_up(desk, until, Claims::new(), false);
            return Phase::Waiting {
                since: now.instant,
                until,
            };
        }
        if let Some(unsure) = kept.unsure.take() {
            return self.give_up(desk, now, unsure, out);
        }
        if let Some(last) = self.last.take() {
            return self.give_up(desk, now, last, out);
        }
        let fault = not_known(&kept.wanted.id, self.config.tenants.len() > 1);
        self.refuse(desk, now, &fault, out)
    }

    /// After the wait for what other shards know.
    pub fn look_again(&mut self, desk: &mut Desk) -> Result<(), Fault> {
        match &self.kept {
            Some(kept) if kept.waited && kept.places.is_empty() => self.locate_kept(desk),
            _ => Ok(()),
        }
    }

    /// What follows a failed ask after a kept answer; `None` where the ordinary rules hold.
    pub fn kept_next(
        &mut self,
        desk: &mut Desk,
        error: AttemptError,
        failure: &LastFailure,
    ) -> Option<Next> {
        let kept = self.kept.as_ref()?;
        if kept.known {
            if error == AttemptError::NotThere {
                desk.issued.forget(self.name_of(&kept.wanted.id));
                return Some(Next::GiveUp);
            }
            return None;
        }
        // Who finds something wrong with the request knows the answer.
        if self.saw || error == AttemptError::Rejected {
            return Some(Next::GiveUp);
        }
        self.kept_elsewhere((error != AttemptError::NotThere).then(|| failure.clone()));
        Some(Next::Elsewhere)
    }

    /// The provider gave its answer a name under which it keeps it.
    pub fn learn(
        &mut self,
        desk: &mut Desk,
        attempt: &Attempt,
        relay: &Relay,
        out: &mut Vec<Output>,
    ) {
        if relay.upstream_id.is_empty() || !relay.passes() {
            return;
        }
        self.issues = false;
        let name = self.name_of(&relay.upstream_id);
        let place = PlaceName::of(&self.config, place_of(attempt));
        let owed = self.asked.peek.background;
        desk.issued.learn(name, place, owed);
        self.tell_others(News::Issued { name, place, owed }, out);
        if owed {
            let input = self.asked.ask.input;
            desk.issued.expect(name, input);
            self.tell_others(News::Expected { name, input }, out);
        }
    }

    /// True where the attempt's own row holds no usage: what was used stands under the answer's own id, once it is known.
    pub fn is_billed_apart(&self) -> bool {
        self.kept.is_some() || self.asked.peek.background
    }

    /// The answer was seen as far as `relay` saw it: what that leaves for the attempt's row. Writes the bill apart where there is one.
    pub fn usage_at_end(
        &mut self,
        desk: &mut Desk,
        attempt: &Attempt,
        relay: &Relay,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Usage {
        if !self.is_billed_apart() {
            return self.heard(
                attempt,
                relay,
                relay.usage_or_estimate(self.asked.ask.input),
            );
        }
        if self.kept.is_some() {
            self.see_kept(desk, attempt, relay, now, out);
        } else if relay.upstream_id.is_empty() {
            // Without a name it can neither be asked for again nor have a row of its own.
            return relay.usage_or_estimate(self.asked.ask.input);
        } else if relay.usage != Usage::default() {
            let (id, usage) = (relay.upstream_id.clone(), relay.usage.clone());
            self.pay(desk, (attempt, place_of(attempt)), &id, usage, now, out);
        }
        Usage::default()
    }

    fn see_kept(
        &mut self,
        desk: &mut Desk,
        attempt: &Attempt,
        relay: &Relay,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        let Some(kept) = &self.kept else { return };
        let (deed, id) = (kept.wanted.deed, kept.wanted.id.clone());
        let name = self.name_of(&id);
        if deed == Deed::Delete && relay.done {
            self.pay_deleted(desk, attempt, &id, now, out);
            return desk.issued.forget(name);
        }
        let Some(seen) = relay.kept().filter(|seen| *seen.id == *id) else {
            return;
        };
        let owed = match desk.issued.find(name) {
            Found::Here { owed, .. } => owed,
            // Before a restart, or too long ago: the ledger knows whether it was written down.
            Found::Unknown => seen.background,
            Found::Anothers => false,
        };
        if !owed {
            return;
        }
        let expected = desk.issued.expected(name);
        let guess = || seen.called_off.then(|| guessed(expected)).flatten();
        let Some(usage) = seen.usage.clone().or_else(guess) else {
            return;
        };
        match priced(&self.config, place_of(attempt), &seen.model) {
            Some(place) => self.pay(desk, (attempt, place), &id, usage, now, out),
            None => {
                let fault = Fault::new(
                    FaultClass::Internal,
                    format!("no endpoint has the model of the answer {id}"),
                );
                let message = "a kept answer cannot be priced";
                self.log(desk, now.wall, LogLevel::Error, message, &fault, out);
            }
        }
    }

    /// An answer that goes before anybody heard what it cost was made all the same: its prompt is billed.
    fn pay_deleted(
        &mut self,
        desk: &mut Desk,
        attempt: &Attempt,
        id: &Str,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        let name = self.name_of(id);
        let owed = matches!(desk.issued.find(name), Found::Here { owed: true, .. });
        if let (true, Some(usage)) = (owed, guessed(desk.issued.expected(name))) {
            self.pay(desk, (attempt, place_of(attempt)), id, usage, now, out);
        }
    }

    /// Writes down what an answer made in the background has cost. Where the ledger has no room the answer stays owed.
    fn pay(
        &mut self,
        desk: &mut Desk,
        (attempt, place): (&Attempt, Place),
        id: &Str,
        usage: Usage,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        let name = self.name_of(id);
        let paid = matches!(desk.issued.find(name), Found::Here { owed: false, .. });
        if paid || !desk.has_room_for_another_row() {
            return;
        }
        let config = self.config.clone();
        let endpoint = &config.endpoints[place.endpoint.0 as usize];
        let cost = bill(&usage, endpoint.price.on(self.begun.wall));
        self.add_up(Some(used(&usage)), cost);
        desk.meters.used(&usage, cost);
        desk.ledger_room = desk.ledger_room.saturating_sub(1);
        let total = now.instant - attempt.began.instant;
        out.push(Output::Post(Mail::Ledger(Box::new(LedgerRow {
            under: Under(config.clone()),
            exchange: id.clone(),
            attempt: 1,
            last: true,
            started: attempt.began.wall,
            tenant: self.tenant,
            client_key: self.client_key,
            model: endpoint.model,
            endpoint: place.endpoint,
            pool: place.pool,
            key: place.key,
            dialect: self.dialect,
            streamed: self.streams(),
            outcome: Outcome::Done,
            status: attempt.status,
            upstream_id: id.clone(),
            usage: usage.clone(),
            cost,
            queued: Duration::ZERO,
            first_byte: None,
            total,
            decision: "background",
            session: self.controls.session.clone(),
            priced: self.begun.wall,
            gated: Duration::ZERO,
            first_token: None,
            cached_expected: None,
        }))));
        desk.issued
            .learn(name, PlaceName::of(&config, place), false);
        let (epoch, tenant) = (self.epoch, self.tenant);
        desk.remember(Bill {
            name,
            epoch,
            tenant,
            usage,
            cost,
        });
        let by = desk.shard;
        let place = PlaceName::of(&config, place);
        self.tell_others(News::Paid { name, place, by }, out);
    }
}

/// What this shard has counted as spent on a kept answer, for as long as another may have done the same.
#[derive(Debug)]
pub(super) struct Bill {
    name: Name,
    epoch: u32,
    tenant: TenantId,
    usage: Usage,
    cost: NanoUsd,
}

impl Bill {
    pub fn new(name: Name, epoch: u32, tenant: TenantId, usage: Usage, cost: NanoUsd) -> Self {
        Self {
            name,
            epoch,
            tenant,
            usage,
            cost,
        }
    }
}

/// Bills that are remembered. Two shards see the same usage only while news of it are under way, so a few do.
const BILLS_MAX: usize = 64;

impl Desk {
    pub(super) fn remember(&mut self, bill: Bill) {
        if self.shards < 2 {
            return;
        }
        if self.bills.len() >= BILLS_MAX {
            self.bills.pop_front();
        }
        self.bills.push_back(bill);
    }

    /// Another shard has counted the same bill, and its count stands: the ledger holds one row, so meters and the tenant's day must too.
    pub(super) fn take_back(&mut self, name: Name) {
        let Some(at) = self.bills.iter().position(|bill| bill.name == name) else {
            return;
        };
        let Some(bill) = self.bills.remove(at) else {
            return;
        };
        self.meters.withhold(&bill.usage, bill.cost);
        // Under another configuration the tenant's number may be somebody else's.
        if self.newest().number == bill.epoch {
            self.newest().tenant(bill.tenant).give_back(bill.cost);
        }
    }
}

/// What an answer is billed that was called off and never says what it used: its prompt, which the provider has read.
fn guessed(input: Tokens) -> Option<Usage> {
    (input > Tokens::ZERO).then(|| Usage {
        input_uncached: Some(input),
        estimated: true,
        ..Usage::default()
    })
}

pub(super) fn place_of(attempt: &Attempt) -> Place {
    Place {
        endpoint: attempt.endpoint,
        pool: attempt.pool,
        key: attempt.key,
    }
}

/// The endpoint at the account of `place` whose model an answer says it is of, which may add a date to the name it was asked by.
fn priced(config: &Config, place: Place, model: &str) -> Option<Place> {
    let at = &config.endpoints[place.endpoint.0 as usize];
    let fits = |name: &str| {
        model
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    // The issuer itself, where it is known, whatever its provider calls the model now.
    if fits(&at.name) {
        return Some(place);
    }
    let all = config.endpoints.iter().enumerate();
    let same = all.filter(|(_, e)| e.provider == at.provider && e.pools.contains(&place.pool));
    let best = same
        .filter(|(_, e)| fits(&e.name))
        .max_by_key(|(_, e)| e.name.len());
    best.map(|(number, _)| Place {
        endpoint: crate::base::EndpointId(number as u16),
        ..place
    })
}

/// One place for each key that may have issued a kept answer, in the order of the configuration.
fn accounts(config: &Config) -> Vec<Place> {
    let mut found: Vec<Place> = Vec::new();
    for (number, endpoint) in config.endpoints.iter().enumerate() {
        let kind = config.providers[endpoint.provider.0 as usize].kind;
        for pool in endpoint.pools.iter().filter(|_| kind.keeps_answers()) {
            for key in keys_of(config, *pool) {
                if !found.iter().any(|p| (p.pool, p.key) == (*pool, key)) {
                    found.push(Place {
                        endpoint: crate::base::EndpointId(number as u16),
                        pool: *pool,
                        key,
                    });
                }
            }
        }
    }
    found
}

fn unasked() -> LastFailure {
    let message = "a provider that may keep this answer cannot be asked at the moment";
    no_working_key(message).after(Duration::from_secs(5)).into()
}

/// The same words whether it is another's or nobody's.
fn not_known(id: &str, several: bool) -> Fault {
    let why = if several {
        "it was issued to somebody else, before this router last started, or too many answers ago, and with several tenants only what is remembered is served"
    } else {
        "no provider of this router keeps answers"
    };
    Fault::new(
        FaultClass::NotFound,
        format!("Response with id '{id}' not found: {why}."),
    )
}
