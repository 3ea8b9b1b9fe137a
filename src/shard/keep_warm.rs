//! Asking again before a prompt's cache entry expires, for tenants that want it (`keep_warm`, off by default).
//!
//! What was sent last of a conversation is kept as it went out, and when its entry has twenty seconds left it is sent once more to the same
//! place with the same key, byte for byte but for an answer of one token. Only where that is expected to pay: the chance that the conversation
//! goes on before the next expiry, times what writing the prompt anew costs more than reading it, must be over the price of reading it now
//! (ROUTING 1.6: for hazards that fall, looking one step ahead is optimal). Each is an exchange of its own with a row of its own.
//!
//! Given up: when the conversation goes on (whoever hears of it), when a ping wrote more than it read, failed, or found no headroom at once, after
//! so many as the tenant allows, and with a new configuration. Never made where the request thinks within a budget, which one token of answer
//! would not leave room for. Bounded in bytes for each tenant and core; what does not fit is not kept warm.

use crate::base::{ClientKeyId, Instant, ModelId, Now, TenantId, Tokens};
use crate::canon::controls::Priority;
use crate::canon::{CacheTtl, Controls, DialectName, Fault, FaultClass, Usage};
use crate::config::Config;
use crate::policy::bill::bill;
use crate::policy::capacity::Ask;
use crate::policy::marks::{Class, Gaps};
use crate::policy::prefix::{Matching, Rules};
use crate::protocol::dialect::splice::{self, Peek};
use crate::protocol::provider::CallHead;
use crate::shard::admit::Opened;
use crate::shard::desk::Desk;
use crate::shard::exchange::{
    Attempt, Down, Exchange, Happening, ModelIdOrNone, PassingHeaders, Readings,
};
use crate::shard::forecast::Reading;
use crate::shard::input::Slices;
use crate::shard::issued::Place;
use crate::shard::paths::Line;
use crate::shard::task::Task;
use crate::shard::{Output, Shard};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// A question as it went out, and what it takes to ask it again.
#[derive(Debug)]
pub(super) struct Warmer {
    config: Arc<Config>,
    tenant: TenantId,
    client_key: ClientKeyId,
    model: ModelId,
    place: Place,
    head: CallHead,
    body: Slices,
    streams: bool,
    /// How the cache sees it: one.
    readings: Readings,
    /// When the last request that read or wrote the entry was sent, and how long that lets it live.
    touched: Instant,
    life: Duration,
    /// When the conversation's own last request was sent.
    asked: Instant,
    /// So often it may still be asked.
    left: u8,
}

/// The questions that are kept, by conversation.
#[derive(Debug, Default)]
pub(super) struct Warmers {
    by_conversation: HashMap<u64, Warmer, crate::base::FixedHasher>,
    due: BTreeSet<(Instant, u64)>,
}

/// Before an entry expires: time for a call to arrive, and for clocks to differ.
const MARGIN: Duration = Duration::from_secs(20);
/// Nobody pays to keep what is likelier gone than there.
const STILL_THERE: f64 = 0.5;

impl Warmers {
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub fn clear(&mut self) {
        self.by_conversation.clear();
        self.due.clear();
    }

    /// The conversation has gone on.
    fn forget(&mut self, conversation: u64) {
        if let Some(warmer) = self.by_conversation.remove(&conversation) {
            self.due.remove(&(warmer.due(), conversation));
        }
    }

    /// Keeps a question, where its tenant has room for it.
    fn keep(&mut self, conversation: u64, warmer: Warmer) {
        self.forget(conversation);
        let most = warmer.config.tenants[warmer.tenant.0 as usize]
            .keep_warm
            .bytes_max;
        let kept = self.by_conversation.values();
        let of_tenant = kept.filter(|kept| kept.tenant == warmer.tenant);
        let bytes: usize = of_tenant.map(Warmer::bytes).sum();
        if (bytes + warmer.bytes()) as u64 <= most {
            self.due.insert((warmer.due(), conversation));
            self.by_conversation.insert(conversation, warmer);
        }
    }

    fn take_due(&mut self, now: Instant) -> Option<Warmer> {
        let (at, conversation) = self.due.first().copied()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        self.by_conversation.remove(&conversation)
    }
}

impl Warmer {
    fn due(&self) -> Instant {
        self.touched + self.life.saturating_sub(MARGIN)
    }

    fn bytes(&self) -> usize {
        let body: usize = self.body.iter().map(bytes::Bytes::len).sum();
        let bounds: usize = self.readings.iter().map(|r| r.bounds.len()).sum();
        body + bounds * size_of::<crate::policy::fingerprint::Boundary>() + 512
    }

    /// The question with an answer of one token; `None` where it cannot be asked so.
    fn body(&self) -> Option<Slices> {
        let whole: bytes::Bytes = self.body.concat().into();
        // Anthropic docs, extended thinking, read 2026-08: `budget_tokens` must be less than `max_tokens`, and another budget is another cache.
        if memchr::memmem::find(&whole, b"\"budget_tokens\"").is_some() {
            return None;
        }
        let slices = splice::envelope(&whole, &["max_tokens"], "\"max_tokens\":1").ok()?;
        Some(slices.into_iter().collect())
    }
}

impl Shard {
    /// Asks again what is about to expire.
    pub(super) fn keep_warm(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(warmer) = self.desk.warmers.take_due(now.instant) {
            self.ping(now, warmer, out);
        }
    }

    fn ping(&mut self, now: Now, mut warmer: Warmer, out: &mut Vec<Output>) {
        let may = self
            .desk
            .may_begin(self.exchanges.len(), self.exchanges.is_full());
        if may.is_err() || !self.desk.is_worth_keeping(&warmer, now) {
            return;
        }
        let Some(body) = warmer.body() else {
            return;
        };
        warmer.body = body;
        let opened = Opened {
            down: Down::Gone,
            line: Line::new(DialectName::Messages, Task::Generate),
            key: warmer.client_key,
            controls: Controls {
                priority: Some(Priority::Batch),
                ..Controls::default()
            },
            video: None,
            passing: PassingHeaders::default(),
        };
        let Ok(id) = self.begin_exchange(now, opened) else {
            return;
        };
        if let Some(exchange) = self.exchanges.get_mut(id.0) {
            exchange.warmer = Some(Box::new(warmer));
        }
        self.desk.meters.pings += 1;
        self.step(id, Happening::Body(bytes::Bytes::new()), now, out);
    }
}

impl Desk {
    /// Whether one more read of what a question left in the cache is expected to save more than it costs.
    fn is_worth_keeping(&mut self, warmer: &Warmer, now: Now) -> bool {
        if !Arc::ptr_eq(&warmer.config, self.config()) {
            return false;
        }
        let number = self.newest().number;
        let config = &warmer.config;
        let endpoint = &config.endpoints[warmer.place.endpoint.0 as usize];
        let at = endpoint.pools.iter().position(|p| *p == warmer.place.pool);
        let (Some(rules), Some(at), Some(reading)) =
            (endpoint.cache.rules.as_ref(), at, warmer.readings.first())
        else {
            return false;
        };
        let forecast = &self.epoch(number).forecast;
        let scope = forecast.scope(warmer.place.endpoint, at);
        let weight = forecast.tempo(warmer.place.endpoint).weight;
        let asked = reading.asked(scope, rules);
        let expected = self.caches.warmth.expect(&asked, now.instant);
        let Some(found) = expected.found.filter(|_| expected.warm >= STILL_THERE) else {
            return false;
        };
        // Whoever used it since, on whatever core, keeps it himself.
        if found.expires > now.instant + MARGIN + MARGIN {
            return false;
        }
        let tenant = &config.tenants[warmer.tenant.0 as usize];
        let name = self
            .caches
            .secret()
            .hint(&[b"tenant", tenant.name.as_bytes()])[0];
        let class = reading.class.unwrap_or(Class::AfterWords);
        let gaps = self.caches.keeper.gaps(name, class);
        let price = endpoint.price.on(now.wall);
        let cached = weight.of(found.tokens);
        let uncached = Tokens(weight.of(reading.tokens).0.saturating_sub(cached.0));
        let read = Usage {
            cache_read: Some(cached),
            ..Usage::default()
        };
        let ping = Usage {
            input_uncached: Some(uncached),
            output: Some(Tokens(1)),
            ..read.clone()
        };
        let ping = bill(&ping, price);
        let written = written(cached, CacheTtl::of(warmer.life));
        let lost = bill(&written, price).0 - bill(&read, price).0;
        ping <= tenant.keep_warm.usd_max
            && goes_on(&gaps, now.instant - warmer.asked, warmer.life) * lost as f64 > ping.0 as f64
    }
}

/// Of a prompt that would have to be written again.
fn written(tokens: Tokens, ttl: Option<CacheTtl>) -> Usage {
    let mut usage = Usage::default();
    let line = match ttl {
        None | Some(CacheTtl::Minutes5) => &mut usage.cache_write_5m,
        Some(CacheTtl::Minutes30) => &mut usage.cache_write_30m,
        Some(CacheTtl::Hours1) => &mut usage.cache_write_1h,
        Some(CacheTtl::Hours12 | CacheTtl::Hours24) => &mut usage.cache_write_12h,
    };
    *line = Some(tokens);
    usage
}

/// How likely a conversation that has been silent for `silent` goes on within `life`.
fn goes_on(gaps: &Gaps, silent: Duration, life: Duration) -> f64 {
    let (until_now, then) = (gaps.by(silent), gaps.by(silent + life));
    (then - until_now) / (1.0 - until_now).max(1e-6)
}

impl Exchange {
    /// A question goes out for this tenant: kept beside its attempt, should it be worth asking again. Slices of what is sent; nothing is copied.
    pub fn keeps_question(&self, dialect: DialectName, rules: Option<&Rules>) -> bool {
        let tenant = &self.config.tenants[self.tenant.0 as usize];
        let marked = rules.is_some_and(|rules| {
            rules.refreshes && matches!(rules.matching, Matching::Breakpoints { .. })
        });
        tenant.keep_warm.pings > 0
            && self.warmer.is_none()
            && self.task == Task::Generate
            && self.video.is_none()
            && dialect == DialectName::Messages
            && marked
    }

    /// A request of its conversation goes out: nobody needs to keep it warm.
    pub fn went_on(&self, desk: &mut Desk) {
        if desk.warmers.due.is_empty() || self.warmer.is_some() {
            return;
        }
        for reading in self.readings.iter().flat_map(|readings| readings.iter()) {
            desk.warmers.forget(reading.opener.tag);
        }
    }

    /// What is asked by a ping: nothing of a client's.
    pub fn understand_ping(&mut self) -> Result<(), Fault> {
        let Some(warmer) = &self.warmer else {
            return Err(Fault::new(
                FaultClass::Internal,
                "there is no such question",
            ));
        };
        self.tenant = warmer.tenant;
        self.asked.model = ModelIdOrNone(Some(warmer.model));
        self.asked.ask = Ask {
            input: warmer.readings.first().map_or(Tokens::ZERO, |r| r.tokens),
            output: Tokens(1),
            output_most: Some(Tokens(1)),
            ..Ask::default()
        };
        self.asked.peek = Peek {
            model: self.config.models[warmer.model.0 as usize]
                .name
                .clone()
                .into(),
            stream: warmer.streams,
            ..Peek::default()
        };
        self.pin = Some(warmer.place);
        Ok(())
    }

    /// The reading of a ping's prompt is its question's.
    pub fn read_ping(&mut self) {
        if let Some(warmer) = &mut self.warmer {
            let readings = std::mem::take(&mut warmer.readings);
            self.readings = Some(Box::new(readings));
        }
    }

    /// An answer is whole: whether its question is kept, to be asked again before its entry expires.
    pub fn keep_question(&mut self, desk: &mut Desk, attempt: &mut Attempt, usage: &Usage) {
        let tenant = &self.config.tenants[self.tenant.0 as usize];
        let endpoint = &self.config.endpoints[attempt.endpoint.0 as usize];
        let Some(rules) = endpoint.cache.rules.as_ref() else {
            return;
        };
        let (before, question) = (self.warmer.take(), attempt.question.take());
        let is_again = before.is_some();
        let wrote_more = usage.cache_write_total() > usage.cache_read.unwrap_or_default();
        if desk.draining || (is_again && wrote_more) {
            return;
        }
        let Some(readings) = &mut self.readings else {
            return;
        };
        let is_its = |r: &Reading| r.is_for(attempt.dialect, rules);
        let Some(at) = readings.iter().position(is_its) else {
            return;
        };
        let reading = &readings[at];
        let Some(mark) = reading.bounds.iter().rev().find_map(|bound| bound.mark) else {
            return;
        };
        let touched = attempt.began.instant;
        let (conversation, life) = (reading.opener.tag, rules.life(mark.ttl));
        if before.is_none() && question.is_none() {
            return;
        }
        // Nobody reads it any more once the answer is whole but who learns from the bill, which needs no bounds.
        let readings: Readings = std::iter::once(readings.swap_remove(at)).collect();
        let warmer = match (before, question) {
            (Some(before), _) => Warmer {
                readings,
                touched,
                left: before.left.saturating_sub(1),
                ..*before
            },
            (None, Some(question)) => Warmer {
                config: self.config.clone(),
                tenant: self.tenant,
                client_key: self.client_key,
                model: self.model(),
                place: Place {
                    endpoint: attempt.endpoint,
                    pool: attempt.pool,
                    key: attempt.key,
                },
                head: question.0,
                body: question.1,
                streams: attempt.streams,
                readings,
                touched,
                life,
                asked: touched,
                left: tenant.keep_warm.pings,
            },
            (None, None) => return,
        };
        if warmer.left > 0 {
            desk.warmers.keep(conversation, warmer);
        }
    }

    /// The call of a ping.
    pub fn ping_call(&self) -> Option<(CallHead, Slices)> {
        let warmer = self.warmer.as_ref()?;
        Some((warmer.head.clone(), warmer.body.clone()))
    }

    /// Whether it was begun for nobody but a cache.
    pub fn is_ping(&self) -> bool {
        self.warmer.is_some()
    }
}
