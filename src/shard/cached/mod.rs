//! Prefixes that Google keeps under a name (`cachedContents`): made, asked after, prolonged, deleted, and read by requests that name them.
//!
//! Such a name is good at one account of one provider, for one model. It is remembered with its tenant, endpoint, pool and key in a table
//! that shards tell each other of (`table`); whoever names it later is sent there and nowhere else, whatever that costs: nobody else has the
//! prefix. Another tenant's name is as unknown as nobody's. After a restart nothing is remembered: where there is one tenant, those who can
//! have made it are asked, and what they say is remembered again; with several it is 404.
//!
//! A list is told from the table, without a call: an account holds other tenants' prefixes too, and all changes pass here.
//!
//! | who asks | name of a prefix | name of its model |
//! |---|---|---|
//! | clients of the Gemini API | `cachedContents/ID` | `models/NAME` |
//! | clients of Google Cloud | `projects/P/locations/L/cachedContents/ID`, with their own P and L | `projects/P/…/models/NAME` |
//!
//! Whichever of them made it, and whichever provider keeps it: the last part is the provider's own.
//!
//! The bill has two parts. What creation reads is billed at the price of input, in the row of the attempt that asked for it, by the count
//! that the provider gives. Keeping it is billed by the token and hour, in one row for each prefix under the provider's name of it, **when it
//! ends**: for the time that it was kept, which is what the provider bills. Written down at creation, for the time that was asked for, it
//! would be too much for each prefix that is deleted early, and need a second row for each that is prolonged; a ledger has no rows that give
//! back. The price of waiting is that a shard must be there at the end: one that is told to stop writes what is owed up to the end of each
//! prefix, as an estimate (the provider keeps it all the same), as for a video whose end is not seen; so does one whose table is full, for the
//! oldest. Of a process that dies, the ledger misses what was being kept. The shard that made a prefix owes its row, and the one that deletes
//! it before its time writes it instead; the ledger takes a row of one name once, should both. A change of the time costs nothing itself.
//! Reading a prefix is billed as the provider's usage says (`cache_read`), like any cached token.
//!
//! The time is our own clock's from the provider's answer on, and the length is the provider's own: so clocks that differ do not show.

pub(super) mod paths;
mod table;
mod tell;

pub(super) use table::{Held, Table};

use crate::base::{EndpointId, Instant, NanoUsd, Now, Str, Tokens, WallTime};
use crate::canon::{Fault, FaultClass, Usage};
use crate::config;
use crate::policy::bill::storage;
use crate::policy::capacity::Ask as Draw;
use crate::policy::cost;
use crate::protocol::dialect::gemini::cached::{self, Creation, bare_model};
use crate::protocol::dialect::splice::Peek;
use crate::protocol::provider::{CacheDeed, Operation, ProviderKind};
use crate::shard::Output;
use crate::shard::desk::Desk;
use crate::shard::exchange::{Exchange, ModelIdOrNone, Phase};
use crate::shard::input::Slices;
use crate::shard::issued::{Name, Place};
use crate::shard::line::Claims;
use crate::shard::task::Task;
use bytes::{Bytes, BytesMut};
use paths::Wanted;
use std::sync::Arc;
use std::time::Duration;

/// What an exchange knows of the prefix that it is about, or that it reads.
#[derive(Debug)]
pub(super) struct Case {
    wanted: Wanted,
    /// What shall be made.
    creation: Option<Creation>,
    held: Option<Arc<Held>>,
    /// It was looked for, and whoever may keep it is known.
    sought: bool,
    /// Looked for once more after other shards had time to tell.
    waited: bool,
}

/// What another shard has learned arrives within this.
const GOSSIP_TIME: Duration = Duration::from_millis(100);

impl Case {
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            creation: None,
            held: None,
            sought: false,
            waited: false,
        }
    }
}

impl Exchange {
    /// Whether it is about a prefix itself, and not only reads one.
    pub fn is_about_cache(&self) -> bool {
        matches!(self.task, Task::Cached(_) | Task::CacheList)
    }

    /// Whether a prefix is asked after that was made before: that costs nothing, and its model may be retired.
    pub fn follows_cache(&self) -> bool {
        self.is_about_cache() && !self.makes_cache()
    }

    pub fn makes_cache(&self) -> bool {
        self.task == Task::Cached(CacheDeed::Create)
    }

    /// What a request about a prefix asks for, and where it makes one, of which model.
    pub fn understand_cached(&mut self) -> Result<(), Fault> {
        match self.task {
            Task::Cached(CacheDeed::Create) => {}
            Task::Cached(CacheDeed::Update) => {
                return cached::read_change(&self.body, self.begun.wall).map(|_| ());
            }
            _ => return Ok(()),
        }
        let creation = cached::read_creation(&self.body, self.begun.wall)?;
        let model = self.model_named(&creation.model)?;
        self.asked.model = ModelIdOrNone(Some(model));
        let peek = Peek {
            model: creation.model.clone(),
            stream: false,
            ..creation.peek.clone()
        };
        let Some(case) = &mut self.cached else {
            return Err(Fault::new(FaultClass::Internal, "no prefix is spoken of"));
        };
        case.creation = Some(creation);
        self.can_take(&peek)?;
        self.asked.ask = Draw {
            input: cost::tokens_of_bytes(peek.prompt_bytes),
            output_most: Some(Tokens::ZERO),
            ..Draw::default()
        };
        self.asked.peek = peek;
        Ok(())
    }

    /// Finds who keeps the prefix that the request is about or reads, if there is any. `Some`: it goes no further, or not yet. Costs a look
    /// at two fields where no prefix is named.
    pub fn find_cached(
        &mut self,
        desk: &mut Desk,
        now: Now,
        since: Instant,
        out: &mut Vec<Output>,
    ) -> Option<Phase> {
        if self.cached.is_none() {
            let name = self.asked.peek.cached.as_deref()?;
            let Some(id) = cached::id_of(name) else {
                let fault = Fault::invalid("cachedContent", "this is no name of a cached prefix");
                return Some(self.refuse(desk, now, &fault, out));
            };
            self.cached = Some(Box::new(Case::new(Wanted {
                id: id.into(),
                ..Wanted::default()
            })));
        }
        match (self.task, &self.cached) {
            (Task::CacheList, _) => return Some(self.tell_caches(desk, now, out)),
            (Task::Cached(CacheDeed::Create), _) => return None,
            (_, Some(case)) if case.sought => return None,
            _ => {}
        }
        match self.seek_cached(desk, now) {
            Ok(true) => None,
            Ok(false) => {
                let until = now.instant + GOSSIP_TIME;
                self.line_up(desk, until, Claims::new(), false);
                Some(Phase::Waiting { since, until })
            }
            Err(fault) => Some(self.refuse(desk, now, &fault, out)),
        }
    }

    /// `Ok(false)`: other shards may know.
    fn seek_cached(&mut self, desk: &mut Desk, now: Now) -> Result<bool, Fault> {
        let Some(case) = &mut self.cached else {
            return Ok(true);
        };
        let tenant = &self.config.tenants[self.tenant.0 as usize].name;
        let held = desk.cached.find(name_of(tenant, &case.wanted.id)).cloned();
        if held.is_none() && desk.shards > 1 && !std::mem::replace(&mut case.waited, true) {
            return Ok(false);
        }
        case.sought = true;
        case.held.clone_from(&held);
        match held {
            Some(held) => self.pin_to(desk, &held, now.wall)?,
            None if self.config.tenants.len() > 1 => return Err(unknown()),
            // Whoever made it is asked by the way; the others refuse.
            None if self.is_about_cache() => {
                let model = self.first_that_keeps().ok_or_else(unknown)?;
                self.asked.model = ModelIdOrNone(Some(model));
            }
            None => {}
        }
        Ok(true)
    }

    fn pin_to(&mut self, desk: &mut Desk, held: &Held, now: WallTime) -> Result<(), Fault> {
        if held.is_over(now) {
            let message = "CachedContent has expired; make it again, or send the whole prompt";
            return Err(Fault::new(FaultClass::NotFound, message).with_code("cache_expired"));
        }
        let Some(place) = desk.epoch(self.epoch).place_named(held.place) else {
            let message = "CachedContent is kept at an endpoint or with a key that this router has no more; make it again, or send the whole prompt";
            return Err(Fault::new(FaultClass::NotFound, message).with_code("cache_issuer_gone"));
        };
        self.pin = Some(place);
        if self.is_about_cache() {
            let model = self.config.endpoints[place.endpoint.0 as usize].model;
            self.asked.model = ModelIdOrNone(Some(model));
            self.asked.peek.model = held.model_name.clone();
            return Ok(());
        }
        let endpoints = &self.config.models[self.model().0 as usize].endpoints;
        if !endpoints.iter().any(|e| self.reads_same(place, *e)) {
            // Google's own words for it, with the names that the client uses.
            let message = format!(
                "Model used by GenerateContent request (models/{}) and CachedContent (models/{}) has to be the same.",
                self.asked.peek.model, held.model_name
            );
            return Err(Fault::invalid("model", message).with_code("cache_of_another_model"));
        }
        self.name_upstream(&held.upstream);
        Ok(())
    }

    /// Writes the provider's name of the prefix into the request, where it is another than the client's.
    fn name_upstream(&mut self, upstream: &str) {
        let peek = &mut self.asked.peek;
        if peek.cached.as_deref() == Some(upstream) {
            return;
        }
        let at = peek.cached_at.clone();
        let mut body = BytesMut::with_capacity(self.body.len() + upstream.len());
        body.extend_from_slice(&self.body[..at.start]);
        crate::protocol::json::string(upstream, &mut body);
        let end = body.len();
        body.extend_from_slice(&self.body[at.end..]);
        self.body = body.freeze();
        peek.cached = Some(upstream.into());
        peek.cached_at = at.start..end;
    }

    /// Whether a prefix that `pin` keeps can be read at `endpoint`: at the same account, by the same model. True where there is no prefix.
    pub fn reads_cache_of(&self, pin: Place, endpoint: EndpointId) -> bool {
        self.cached.is_none() || self.reads_same(pin, endpoint)
    }

    fn reads_same(&self, pin: Place, endpoint: EndpointId) -> bool {
        let of = |e: EndpointId| &self.config.endpoints[e.0 as usize];
        let (at, kept) = (of(endpoint), of(pin.endpoint));
        at.provider == kept.provider
            && at.pools.contains(&pin.pool)
            && bare_model(&at.name) == bare_model(&kept.name)
    }

    /// The first model at a provider that keeps prefixes.
    fn first_that_keeps(&self) -> Option<crate::base::ModelId> {
        let config = &self.config;
        let keeps = |e: &&config::Endpoint| {
            let kind = config.providers[e.provider.0 as usize].kind;
            matches!(kind, ProviderKind::Gemini | ProviderKind::Vertex)
        };
        config.endpoints.iter().find(keeps).map(|e| e.model)
    }

    /// What keeping the prefix that shall be made is expected to cost at `endpoint`; nothing for any other request.
    pub fn storage_to_come(&self, endpoint: &config::Endpoint) -> NanoUsd {
        let creation = self.cached.as_ref().and_then(|case| case.creation.as_ref());
        creation.map_or(NanoUsd::ZERO, |creation| {
            let price = endpoint.price.on(self.begun.wall);
            storage(self.asked.ask.input, creation.lives, price)
        })
    }

    /// Whether `provider` can be asked about prefixes. `Err` where it keeps none.
    pub fn can_keep(
        &self,
        provider: &config::Provider,
        endpoint: &config::Endpoint,
    ) -> Result<(), Fault> {
        use crate::canon::DialectName::Gemini;
        let Task::Cached(deed) = self.task else {
            return Ok(());
        };
        let kind = provider.kind;
        let speaks = kind.speaks(Gemini, &endpoint.name, &provider.place);
        if kind.offers(Operation::Cached(deed), Gemini) && speaks {
            return Ok(());
        }
        let message = format!(
            "the provider {} keeps no prefixes of this model under a name",
            provider.name
        );
        Err(Fault::invalid("model", message))
    }

    /// The provider's own name of the prefix that is asked about, with the query; empty where none is.
    pub fn upstream_cache(&self, provider: &config::Provider) -> Str {
        let (Some(case), true) = (&self.cached, self.follows_cache()) else {
            return Str::new();
        };
        let name = match &case.held {
            Some(held) => held.upstream.clone(),
            None => {
                let root = provider.kind.caches_root(&provider.place);
                cache_name(&root, &case.wanted.id)
            }
        };
        match case.wanted.query.is_empty() {
            true => name,
            false => format!("{name}?{}", case.wanted.query).into(),
        }
    }

    /// The body of a call about a prefix; `None` for any other.
    pub fn cached_body(
        &self,
        provider: &config::Provider,
        endpoint: &config::Endpoint,
    ) -> Result<Option<Slices>, Fault> {
        let Task::Cached(deed) = self.task else {
            return Ok(None);
        };
        let slices = match deed {
            CacheDeed::Create => {
                let root = provider.kind.operations_root(&provider.place);
                let name = endpoint.name.rsplit('/').next().unwrap_or_default();
                cached::write_creation(&self.body, &format!("{root}models/{name}"))?
            }
            CacheDeed::Update => cached::write_change(&self.body)?,
            CacheDeed::Get | CacheDeed::Delete => return Ok(Some(Slices::new())),
        };
        Ok(Some(slices.into_iter().filter(|s| !s.is_empty()).collect()))
    }

    /// The names by which this client knows a prefix and its model.
    fn names_for(&self, id: &str, model: &str) -> (Str, Str) {
        let root = self.cached.as_ref().map_or("", |case| &*case.wanted.root);
        let publisher = match root.is_empty() {
            true => "",
            false => "publishers/google/",
        };
        let model = format!("{root}{publisher}models/{model}");
        (cache_name(root, id), model.into())
    }

    /// A provider's object in this client's names.
    fn in_clients_names(&self, object: &Bytes, id: &str, model: &str) -> Option<Bytes> {
        let (name, model) = self.names_for(id, model);
        cached::retell(object, &name, &model)
    }

    /// What is billed of a prefix that was made: `tokens` as the provider counted them, else as they were reckoned.
    fn creation_usage(&self, tokens: Option<Tokens>) -> Usage {
        Usage {
            input_uncached: Some(tokens.unwrap_or(self.asked.ask.input)),
            estimated: tokens.is_none(),
            ..Usage::default()
        }
    }
}

fn cache_name(root: &str, id: &str) -> Str {
    format!("{root}cachedContents/{id}").into()
}

fn name_of(tenant: &str, id: &str) -> Name {
    Name::of(tenant, &cache_name("", id))
}

/// Google's own words, which do not tell what is another's from what is nobody's (`providers/gemini.md` 6).
fn unknown() -> Fault {
    let message = "CachedContent not found (or permission denied): it was never made by this tenant, was deleted, has expired, or was made before this router last started";
    Fault::new(FaultClass::NotFound, message).with_code("cache_unknown")
}
