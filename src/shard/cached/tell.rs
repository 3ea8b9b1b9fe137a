//! What comes back about prefixes: told to the client in its own names, remembered, and written down when it is over.

use super::paths::said;
use super::table::{Ended, between};
use super::{Held, cached, name_of};
use crate::base::{EndpointId, NanoUsd, Now, Str, TenantId, WallTime};
use crate::canon::{DialectName, Fault, FaultClass, Usage};
use crate::policy::bill::storage;
use crate::protocol::dialect::gemini::cached::{Told, bare_model};
use crate::protocol::provider::CacheDeed;
use crate::shard::desk::Desk;
use crate::shard::exchange::{Attempt, Down, Exchange, Phase};
use crate::shard::gossip::News;
use crate::shard::issued::{Place, PlaceName};
use crate::shard::kept::Bill;
use crate::shard::relay::Relay;
use crate::shard::task::Task;
use crate::shard::{CACHE_STORAGE, Gossip, LedgerRow, Mail, Outcome, Output, Under, stream};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

impl Exchange {
    /// A provider's answer to a call about a prefix is whole.
    pub fn cache_answered(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        mut relay: Box<Relay>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        attempt.first_byte.get_or_insert(now.instant);
        let body = relay.take_whole();
        let deed = match self.task {
            Task::Cached(deed) => deed,
            _ => CacheDeed::Get,
        };
        if deed == CacheDeed::Delete {
            return self.cache_deleted(desk, attempt, body, now, out);
        }
        let Some(told) = cached::read_told(&body) else {
            let fault = relay.no_answer(&body, "no cached prefix");
            return self.attempt_failed(desk, attempt, Some(relay), now, fault.into(), out);
        };
        match deed {
            CacheDeed::Create => self.cache_made(desk, attempt, &told, &body, now, out),
            _ => self.cache_shown(desk, attempt, &told, &body, now, out),
        }
    }

    fn cache_made(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        told: &Told,
        body: &Bytes,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let asked = self
            .cached
            .as_ref()
            .and_then(|case| case.creation.as_ref().map(|creation| creation.lives));
        let place = Place {
            endpoint: attempt.endpoint,
            pool: attempt.pool,
            key: attempt.key,
        };
        let lives = lives(told, now.wall).or(asked).unwrap_or_default();
        let held = self.held(told, body, place, (now.wall, lives), now.wall);
        let held = Arc::new(held);
        self.remember(desk, &held, true, now, out);
        let answer = self.in_clients_names(body, &held.id, &held.model_name);
        let usage = self.creation_usage(told.tokens);
        self.answer_cached(&attempt, answer.unwrap_or_else(|| body.clone()), out);
        self.close_cached(desk, attempt, usage, told.name.clone(), now, out)
    }

    /// What is to be known of a prefix that is kept at `place`, from `begun` on for so long.
    fn held(
        &self,
        told: &Told,
        body: &Bytes,
        place: Place,
        (begun, lives): (WallTime, Duration),
        now: WallTime,
    ) -> Held {
        let id = cached::id_of(&told.name).unwrap_or_default();
        let tenant = &self.config.tenants[self.tenant.0 as usize].name;
        let usage = self.creation_usage(told.tokens);
        Held {
            name: name_of(tenant, id),
            id: id.into(),
            upstream: Str::from(&*told.name),
            // A copy: a slice would keep the whole request.
            model_name: Str::from(&*self.asked.peek.model),
            place: PlaceName::of(&self.config, place),
            object: cached::without_prefix(body).unwrap_or_default(),
            tokens: usage.input_uncached.unwrap_or_default(),
            begun,
            expires: begun + lives,
            told: now,
            under: Under(self.config.clone()),
            tenant: self.tenant,
            client_key: self.client_key,
            model: self.config.endpoints[place.endpoint.0 as usize].model,
            endpoint: place.endpoint,
            pool: place.pool,
            key: place.key,
        }
    }

    fn remember(
        &self,
        desk: &mut Desk,
        held: &Arc<Held>,
        mine: bool,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        desk.cached.learn(Arc::clone(held), mine, now);
        // One that had to leave for it is written down.
        desk.heed_caches(now, out);
        self.tell_others(News::Cached(Arc::clone(held)), out);
    }

    /// How a prefix stands, as it was asked after or changed.
    fn cache_shown(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        told: &Told,
        body: &Bytes,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let known = self.cached.as_ref().and_then(|case| case.held.clone());
        let held = match known {
            Some(held) => Some(Held {
                object: cached::without_prefix(body).unwrap_or_default(),
                tokens: told.tokens.unwrap_or(held.tokens),
                expires: match lives(told, now.wall) {
                    Some(lives) => held.begun + lives,
                    None => held.expires,
                },
                told: now.wall,
                ..(*held).clone()
            }),
            None => self.adopted(&attempt, told, body, now),
        };
        let answer = match &held {
            Some(held) => self.in_clients_names(body, &held.id, &held.model_name),
            None => {
                let id = cached::id_of(&told.name).unwrap_or_default();
                self.in_clients_names(body, id, &told.model)
            }
        };
        if let Some(held) = held {
            // Whoever made it owes the row; of one from before a restart, whoever finds it.
            let mine = self.pin.is_none();
            self.remember(desk, &Arc::new(held), mine, now, out);
        }
        self.answer_cached(&attempt, answer.unwrap_or_else(|| body.clone()), out);
        self.close_cached(desk, attempt, Usage::default(), Str::new(), now, out)
    }

    /// A prefix from before a restart, at the endpoint of this account that has its model.
    fn adopted(&mut self, attempt: &Attempt, told: &Told, body: &Bytes, now: Now) -> Option<Held> {
        let provider = self.config.endpoints[attempt.endpoint.0 as usize].provider;
        let at = self.config.endpoints.iter().position(|e| {
            e.provider == provider
                && e.pools.contains(&attempt.pool)
                && bare_model(&e.name) == &*told.model
        })?;
        let endpoint = EndpointId(u16::try_from(at).ok()?);
        let place = Place {
            endpoint,
            pool: attempt.pool,
            key: attempt.key,
        };
        let model = self.config.endpoints[at].model;
        self.asked.peek.model = Str::from(&*self.config.models[model.0 as usize].name);
        let life = (told.created.unwrap_or(now.wall), lives(told, now.wall)?);
        Some(self.held(told, body, place, life, now.wall))
    }

    fn cache_deleted(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        body: Bytes,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.end_cache(desk, false, now, out);
        // Google answers `{}`; whatever it says has no name in it.
        let said = match body.is_empty() {
            true => Bytes::from_static(b"{}"),
            false => body,
        };
        self.answer_cached(&attempt, said, out);
        self.close_cached(desk, attempt, Usage::default(), Str::new(), now, out)
    }

    fn end_cache(&self, desk: &mut Desk, estimated: bool, now: Now, out: &mut Vec<Output>) {
        let held = self.cached.as_ref().and_then(|case| case.held.as_ref());
        if let Some(held) = held {
            desk.cached.end(held.name, estimated, now);
            desk.heed_caches(now, out);
        }
    }

    /// A question about a prefix failed: one that its provider knows no more has ended, at some time.
    pub fn cache_failed(&self, desk: &mut Desk, fault: &Fault, now: Now, out: &mut Vec<Output>) {
        if self.follows_cache() && fault.class == FaultClass::NotFound {
            self.end_cache(desk, true, now, out);
        }
    }

    fn answer_cached(&mut self, attempt: &Attempt, body: Bytes, out: &mut Vec<Output>) {
        self.saw = true;
        self.ended = true;
        self.head_sent = true;
        if let Down::Http(client) = self.down {
            let head = self.response_head(Some(attempt), 200, stream::JSON, &[]);
            out.push(Output::Respond {
                client,
                head,
                body,
                end: true,
            });
        }
    }

    fn close_cached(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        usage: Usage,
        name: Str,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.succeeded(desk, &attempt);
        self.settle_attempt(desk, attempt, usage, name, Outcome::Done, now);
        desk.meters.exchanges_done += 1;
        self.settled(desk, now, out)
    }

    /// One page of what is kept for this tenant.
    pub(super) fn tell_caches(
        &mut self,
        desk: &mut Desk,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let page = match self.page_of_caches(desk, now.wall) {
            Ok(page) => page,
            Err(fault) => return self.refuse(desk, now, &fault, out),
        };
        self.ended = true;
        if let Down::Http(client) = self.down {
            let head = self.response_head(None, 200, stream::JSON, &[]);
            out.push(Output::Respond {
                client,
                head,
                body: page,
                end: true,
            });
        }
        desk.meters.exchanges_done += 1;
        self.settled(desk, now, out)
    }

    fn page_of_caches(&self, desk: &Desk, now: WallTime) -> Result<Bytes, Fault> {
        let query = self.cached.as_ref().map_or("", |case| &*case.wanted.query);
        let size = page_size(query)?;
        let after = said(query, "pageToken").map(|token| after(&token));
        let after = match after {
            Some(None) => return Err(Fault::invalid("pageToken", "this is no page of this list")),
            Some(Some(after)) => Some(after),
            None => None,
        };
        let tenant = &self.config.tenants[self.tenant.0 as usize].name;
        let own = desk.cached.of_tenant(tenant, now);
        let mut rest = own.into_iter().filter(|held| {
            let after = after.as_ref();
            after.is_none_or(|(begun, id)| (held.begun, &*held.id) > (*begun, &**id))
        });
        let page: Vec<_> = rest.by_ref().take(size).collect();
        let last = page.last().filter(|_| rest.next().is_some());
        let next = last.map(|held| format!("{}.{}", held.begun.0, held.id));
        let told = page
            .iter()
            .filter_map(|held| self.in_clients_names(&held.object, &held.id, &held.model_name));
        let told: Vec<Bytes> = told.collect();
        Ok(cached::write_list(&told, next.as_deref()))
    }
}

/// Gemini API reference, `cachedContents.list`, read 2026-11: at most 1000.
fn page_size(query: &str) -> Result<usize, Fault> {
    const DEFAULT: usize = 100;
    match said(query, "pageSize").map(|size| size.parse::<usize>()) {
        None | Some(Ok(0)) => Ok(DEFAULT),
        Some(Ok(size)) => Ok(size.min(1_000)),
        Some(Err(_)) => Err(Fault::invalid(
            "pageSize",
            "pageSize must be a whole number",
        )),
    }
}

/// What a token of a page says: beginning and id of the last of the page before.
fn after(token: &str) -> Option<(WallTime, String)> {
    let (begun, id) = token.split_once('.')?;
    Some((WallTime(begun.parse().ok()?), id.to_owned()))
}

/// How long a prefix lives in all, by the provider's own two times, or from now on where it says one; `None` where it says none.
fn lives(told: &Told, now: WallTime) -> Option<Duration> {
    Some(between(told.created.unwrap_or(now), told.expires?))
}

impl Desk {
    /// Writes the rows of prefixes that have ended, as far as the ledger has room.
    pub fn heed_caches(&mut self, now: Now, out: &mut Vec<Output>) {
        loop {
            let room = self.has_room_for_another_row();
            let Some(ended) = self.cached.due(now, room) else {
                return;
            };
            self.pay_storage(&ended, now, out);
        }
    }

    /// Writes what is owed for all that is kept: this shard will not see its end.
    pub fn leave_caches(&mut self, now: Now, out: &mut Vec<Output>) {
        self.cached.leave(now);
        self.heed_caches(now, out);
    }

    fn pay_storage(&mut self, ended: &Ended, now: Now, out: &mut Vec<Output>) {
        let row = ended.row();
        let (name, usage, cost) = (ended.held.name, row.usage.clone(), row.cost);
        self.meters.used(&usage, cost);
        self.ledger_room = self.ledger_room.saturating_sub(1);
        out.push(Output::Post(Mail::Ledger(Box::new(row))));
        if let Some(tenant) = self.tenant_of(&ended.held) {
            let newest = self.newest();
            newest.tenant(tenant).charge(cost, now.wall);
            let bill = Bill::new(name, newest.number, tenant, usage, cost);
            self.remember(bill);
        }
        // Of one whose time was over the others know it.
        if !ended.held.is_over(ended.at) {
            let by = self.shard;
            out.push(Output::Tell(Gossip {
                under: self.config().generation,
                news: News::CacheEnded { name, by },
            }));
        }
    }

    /// Whose it is under the configuration of today; `None` for one that is gone.
    fn tenant_of(&self, held: &Held) -> Option<TenantId> {
        let name = &held.under.0.tenants[held.tenant.0 as usize].name;
        let tenants = &self.newest().config.tenants;
        let at = tenants.iter().position(|tenant| tenant.name == *name)?;
        u16::try_from(at).ok().map(TenantId)
    }

    /// The rows that are owed when this shard's state can no longer be believed.
    pub fn owed_caches(&self, out: &mut Vec<Output>) {
        for held in self.cached.owed() {
            let ended = Ended {
                held: Arc::clone(held),
                at: held.expires,
                estimated: true,
            };
            out.push(Output::Post(Mail::Ledger(Box::new(ended.row()))));
        }
    }
}

impl Ended {
    /// The one row of a prefix: what it cost to keep it. Its tokens were billed when it was made, and stand in no column here: they would be
    /// counted twice.
    fn row(&self) -> LedgerRow {
        let held = &*self.held;
        let endpoint = &held.under.0.endpoints[held.endpoint.0 as usize];
        let kept = held.kept_until(self.at);
        let cost: NanoUsd = storage(held.tokens, kept, endpoint.price.on(held.begun));
        LedgerRow {
            under: held.under.clone(),
            exchange: held.upstream.clone(),
            attempt: 1,
            last: true,
            started: held.begun,
            tenant: held.tenant,
            client_key: held.client_key,
            model: held.model,
            endpoint: held.endpoint,
            pool: held.pool,
            key: held.key,
            dialect: DialectName::Gemini,
            streamed: false,
            outcome: Outcome::Done,
            status: None,
            upstream_id: held.upstream.clone(),
            usage: Usage {
                estimated: self.estimated,
                ..Usage::default()
            },
            cost,
            queued: Duration::ZERO,
            first_byte: None,
            total: kept,
            decision: CACHE_STORAGE,
            session: None,
            priced: held.begun,
            gated: Duration::ZERO,
            first_token: None,
            cached_expected: None,
        }
    }
}
