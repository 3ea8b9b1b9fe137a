//! Cache marks and hints on the client's behalf: what is decided when a prompt is read, and what of it is written when it is sent.
//!
//! Where marks go is `policy::marks`, keys are `policy::hints`, spellings are `protocol`: here they meet. Whether the router helps at all is said
//! by the request's `x-stokehold-cache`, else by its tenant. The marks are part of the reading, so that what is expected of a cache, and what is
//! remembered of it, counts them; they are written only where the body goes to an endpoint that takes them.

use crate::base::EndpointId;
use crate::canon::controls::CacheMode as Marking;
use crate::canon::{CacheMark, CacheTtl, DialectName, Fault};
use crate::config::{CacheMode, Endpoint};
use crate::policy::bill::Price;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::hints::{Conversation, Keys};
use crate::policy::marks::{Arrival, Life, MARKS_MAX, Offer, Prompt};
use crate::policy::prefix::Matching;
use crate::policy::retry::{AttemptError, Next};
use crate::protocol::dialect::elements::Elements;
use crate::protocol::dialect::splice::Edit;
use crate::protocol::dialect::splice::marks::{self, Spelling, Written};
use crate::protocol::provider::steering::Circle;
use crate::shard::desk::Desk;
use crate::shard::exchange::{Attempt, Exchange};
use crate::shard::forecast::Reading;
use crate::shard::task::Task;
use bytes::Bytes;
use smallvec::SmallVec;
use std::fmt::Write as _;
use std::time::Duration;

/// What is asked for on the client's behalf in one reading of its prompt.
#[derive(Debug, Default)]
pub(super) struct Help {
    /// The body that was read, and the edits that mark it.
    body: Bytes,
    edits: Vec<Edit>,
    spelling: Option<Spelling>,
    marks: SmallVec<[Written; 4]>,
    /// Places in the prompt where marks could be, to know the same prompt again.
    spots: usize,
    /// The provider's own mark at the end is to be switched off.
    mute: bool,
    /// What the prompt has in common with others, and how many keys they share.
    family: Option<(Fingerprint, u32)>,
}

/// What tells a provider which requests belong together.
#[derive(Clone, Debug, Default)]
pub(super) struct Steered {
    /// For the provider's header.
    pub header: Option<String>,
    /// For the body, where the client says nothing of the kind.
    member: Option<(&'static str, String)>,
}

impl Exchange {
    /// Who marks and names this request.
    fn marking(&self) -> Marking {
        let tenant = &self.config.tenants[self.tenant.0 as usize];
        match self.controls.cache.unwrap_or(tenant.cache_marks) {
            Marking::Auto if self.tally.unhelped => Marking::Client,
            said => said,
        }
    }

    /// Where a provider refuses what we added: once more, without it. An organisation's policy may forbid caches (`providers/vertex.md` 7), and a host may
    /// not know a field; the client asked for neither. Known by the word, which all that we add has in its name.
    pub(super) fn without_help(
        &mut self,
        desk: &mut Desk,
        attempt: &Attempt,
        error: AttemptError,
        fault: &Fault,
    ) -> Option<Next> {
        let is_ours = error == AttemptError::Rejected
            && fault.message.to_ascii_lowercase().contains("cache")
            && self.is_helped(attempt.endpoint)
            && desk.has_room_for_another_row();
        if !is_ours {
            return None;
        }
        self.tally.unhelped = true;
        desk.meters.unhelped += 1;
        for reading in self
            .readings
            .iter_mut()
            .flat_map(|readings| readings.iter_mut())
        {
            let help = reading.help.take();
            for mark in help.iter().flat_map(|help| &help.marks) {
                reading.bounds[mark.spot].mark = None;
            }
        }
        Some(Next::AgainIn(Duration::ZERO))
    }

    fn is_helped(&self, id: EndpointId) -> bool {
        let reading = self.reading(&self.config.endpoints[id.0 as usize]);
        let help = reading.and_then(|(reading, _)| reading.help.as_ref());
        let is_marked = help.is_some_and(|help| help.mute || !help.marks.is_empty());
        self.marking() == Marking::Auto && (is_marked || self.steered.member.is_some())
    }

    /// An answer came: where it came only without what we would have added, that is not added there for a while.
    pub(super) fn answered_unhelped(&self, desk: &mut Desk, attempt: &Attempt) {
        if self.tally.unhelped {
            let until = attempt.began.instant + UNHELPED;
            let epoch = desk.epoch(self.epoch);
            epoch.forecast.leave_alone(attempt.endpoint, until);
        }
    }

    /// Decides what to ask of the caches that see a prompt as `reading` does, which was read from `body` just now for that endpoint. `is_again`: this
    /// request was counted already.
    pub(super) fn help(
        &self,
        desk: &mut Desk,
        reading: &mut Reading,
        (id, dialect): (EndpointId, DialectName),
        body: Bytes,
        is_again: bool,
    ) {
        if desk
            .epoch(self.epoch)
            .forecast
            .is_left_alone(id, self.begun.instant)
        {
            return;
        }
        match self.marking() {
            Marking::Client => return,
            Marking::Off => {
                reading
                    .bounds
                    .iter_mut()
                    .for_each(|bound| bound.mark = None);
                return;
            }
            Marking::Auto => {}
        }
        let mut help = Help {
            family: self.family(desk, (id, dialect), &body),
            ..Help::default()
        };
        if let Some((spelling, offer)) = self.offer(id, dialect)
            && reading.tokens >= offer.min_tokens
        {
            self.mark(desk, reading, &mut help, &offer, is_again);
            let elements = desk.caches.elements();
            help.edits = marks::marking(dialect, elements, spelling, &help.marks);
            help.spelling = Some(spelling);
        }
        if help.family.is_some() || help.mute || !help.marks.is_empty() {
            help.body = body;
            reading.help = Some(Box::new(help));
        }
    }

    fn mark(
        &self,
        desk: &mut Desk,
        reading: &mut Reading,
        help: &mut Help,
        offer: &Offer,
        is_again: bool,
    ) {
        let caches = &mut desk.caches;
        let spots: Vec<_> = caches.elements().spots().collect();
        let (count, nested) = caches.elements().marks();
        let name = self.config.tenants[self.tenant.0 as usize].name.as_bytes();
        let prompt = Prompt {
            bounds: &reading.bounds,
            spots: &spots,
            marks: count,
            nested,
        };
        let arrival = Arrival {
            prompt: &prompt,
            conversation: reading.opener,
            tenant: caches.secret().hint(&[b"tenant", name])[0],
            is_retry: is_again,
        };
        let placed = caches.keeper.decide(&arrival, offer, self.begun.instant);
        for mark in &placed.marks {
            reading.bounds[mark.spot].mark = Some(CacheMark { ttl: mark.ttl });
            help.marks.push(Written {
                spot: mark.spot,
                ttl: mark.ttl,
            });
        }
        (help.spots, help.mute) = (spots.len(), placed.mute);
        desk.meters.cache_marks += placed.marks.len() as u64;
    }

    /// Of a provider that keeps families of prompts together.
    fn family(
        &self,
        desk: &mut Desk,
        (id, dialect): (EndpointId, DialectName),
        body: &Bytes,
    ) -> Option<(Fingerprint, u32)> {
        let endpoint = &self.config.endpoints[id.0 as usize];
        let provider = &self.config.providers[endpoint.provider.0 as usize];
        let steering = provider.kind.steering(dialect, &endpoint.name);
        let wanted = matches!(steering.body, Some((_, Circle::Family)));
        if !wanted || !provider.cache_hints {
            return None;
        }
        let salt = desk.epoch(self.epoch).forecast.salt(self.tenant);
        let family = desk.caches.family(body, &salt);
        let keys = desk
            .caches
            .rates
            .keys(family, desk.shards, self.begun.instant);
        Some((family, keys))
    }

    /// What this endpoint's cache offers who marks, and how a mark is spelled there; `None` where none is taken.
    fn offer(&self, id: EndpointId, dialect: DialectName) -> Option<(Spelling, Offer)> {
        let endpoint = &self.config.endpoints[id.0 as usize];
        let provider = &self.config.providers[endpoint.provider.0 as usize];
        let spelling = provider.kind.marks(dialect)?;
        Some((
            spelling,
            offer_of(endpoint, endpoint.price.on(self.begun.wall))?,
        ))
    }

    /// How the provider of an attempt is told what belongs together. The client's own word for it passes as it is, to whom it is meant for.
    pub(super) fn steer(&self, desk: &mut Desk, id: EndpointId, dialect: DialectName) -> Steered {
        let mut steered = Steered::default();
        if self.task != Task::Generate {
            return steered;
        }
        let endpoint = &self.config.endpoints[id.0 as usize];
        let provider = &self.config.providers[endpoint.provider.0 as usize];
        let steering = provider.kind.steering(dialect, &endpoint.name);
        let own = self.passing.conversation.as_ref();
        steered.header = own
            .filter(|(name, _)| Some(*name) == steering.header)
            .map(|(_, value)| value.clone());
        let is_left_alone = desk
            .epoch(self.epoch)
            .forecast
            .is_left_alone(id, self.begun.instant);
        if self.marking() != Marking::Auto || !provider.cache_hints || is_left_alone {
            return steered;
        }
        let reading = self.reading(endpoint).map(|(reading, _)| reading);
        let named = self.controls.session.as_deref();
        let named = named.or_else(|| own.map(|(_, value)| &**value));
        let opener = reading.map(|reading| Conversation::Opener(reading.opener));
        let Some(conversation) = named.map(Conversation::Named).or(opener) else {
            return steered;
        };
        let keys = Keys {
            secret: desk.caches.secret(),
            tenant: &self.config.tenants[self.tenant.0 as usize].name,
            place: &format!("{}/{}", provider.name, endpoint.name),
        };
        if steering.header.is_some() && steered.header.is_none() {
            steered.header = Some(keys.conversation(conversation));
        }
        let family = reading.and_then(|reading| reading.help.as_ref()?.family);
        steered.member = steering.body.and_then(|(name, circle)| match circle {
            _ if forbids(endpoint, name) => None,
            Circle::Conversation => Some((name, keys.conversation(conversation))),
            Circle::Family if self.goes_on_elsewhere() => None,
            Circle::Family => {
                let (family, count) = family?;
                Some((name, keys.family(family, reading?.opener, count)))
            }
        });
        steered
    }

    /// A request that goes on from this answer by its name would not show how the prompt begins, and have another key: worse than none, since
    /// different keys share nothing.
    fn goes_on_elsewhere(&self) -> bool {
        self.dialect == DialectName::Responses && !self.asked.peek.unkept
    }

    /// The edits of `body`, in the words of that endpoint, that mark it and name it as was decided; or that take the client's marks out.
    pub(super) fn helping(&self, id: EndpointId, dialect: DialectName, body: &Bytes) -> Vec<Edit> {
        if self.task != Task::Generate {
            return Vec::new();
        }
        let endpoint = &self.config.endpoints[id.0 as usize];
        let provider = &self.config.providers[endpoint.provider.0 as usize];
        let offer = self.offer(id, dialect);
        let mutes = offer
            .is_some_and(|(spelling, offer)| spelling == Spelling::Breakpoint && offer.implicit);
        let (mut edits, mute) = match self.marking() {
            Marking::Client => return Vec::new(),
            Marking::Off => (marks::unmarking(body), true),
            Marking::Auto => {
                let help = self.reading(endpoint).and_then(|(r, _)| r.help.as_deref());
                match (help, offer) {
                    (Some(help), Some(offer)) => (help.edits_of(dialect, body, offer), help.mute),
                    _ => (Vec::new(), false),
                }
            }
        };
        let mut members = String::new();
        let steering = provider.kind.steering(dialect, &endpoint.name);
        if let Some((name, key)) = &self.steered.member
            && !marks::told(body, steering.own).contains(&true)
        {
            // A key is hexadecimal digits. Writing into a string cannot fail.
            let _ = write!(members, "\"{name}\":\"{key}\",");
        }
        // OpenAI docs, prompt caching, read 2026-09: without breakpoints nothing is cached, and no write is billed.
        if mute && mutes && !marks::told(body, &[OPTIONS])[0] && !forbids(endpoint, OPTIONS) {
            let _ = write!(members, "\"{OPTIONS}\":{{\"mode\":\"explicit\"}},");
        }
        if !members.is_empty() {
            edits.extend(marks::ahead(body, members));
        }
        edits
    }
}

/// So long an endpoint that refused marks or hints is given none.
const UNHELPED: Duration = Duration::from_secs(3_600);
const OPTIONS: &str = "prompt_cache_options";

/// Whether the model's rules leave a parameter out, or refuse it.
fn forbids(endpoint: &Endpoint, name: &str) -> bool {
    let rules = &endpoint.rules;
    rules.drop.iter().chain(&rules.refuse).any(|n| n == name)
}

impl Help {
    /// The edits that mark `body` as an endpoint of that offer takes it. The same body, or one that was written for another endpoint and is read
    /// once more.
    fn edits_of(&self, dialect: DialectName, body: &Bytes, offer: (Spelling, Offer)) -> Vec<Edit> {
        let (spelling, offer) = offer;
        if self.marks.is_empty() {
            return Vec::new();
        }
        let long = offer.long.map(|life| life.ttl);
        let takes = |ttl: &Option<CacheTtl>| ttl.is_none() || *ttl == long;
        let is_same = self.body.as_ptr() == body.as_ptr() && self.body.len() == body.len();
        if is_same
            && self.spelling == Some(spelling)
            && self.marks.iter().all(|mark| takes(&mark.ttl))
        {
            return self.edits.clone();
        }
        let mut elements = Elements::new();
        let is_read = elements.read(dialect, body).is_ok();
        if !is_read || elements.spots().count() != self.spots {
            return Vec::new();
        }
        let of = |mark: &Written| Written {
            ttl: mark.ttl.filter(|ttl| takes(&Some(*ttl))),
            ..*mark
        };
        let marks: SmallVec<[Written; 4]> = self.marks.iter().map(of).collect();
        marks::marking(dialect, &elements, spelling, &marks)
    }
}

/// What marks cost and save at an endpoint; `None` where its cache knows none, or costs nothing that could be compared.
fn offer_of(endpoint: &Endpoint, price: &Price) -> Option<Offer> {
    let cache = &endpoint.cache;
    if !matches!(cache.mode, CacheMode::Breakpoints | CacheMode::Both) {
        return None;
    }
    let rules = cache.rules?;
    let Matching::Breakpoints {
        look_back,
        implicit,
    } = rules.matching
    else {
        return None;
    };
    let input = price.input.usd_per_million();
    if input <= 0.0 {
        return None;
    }
    let part = |of: Option<crate::base::TokenPrice>| of.map(|p| p.usd_per_million() / input);
    let write = |ttl: CacheTtl| {
        part(match ttl {
            CacheTtl::Minutes5 => price.cache_write_5m,
            CacheTtl::Minutes30 => price.cache_write_30m,
            CacheTtl::Hours1 => price.cache_write_1h,
            CacheTtl::Hours12 => price.cache_write_12h,
            CacheTtl::Hours24 => None,
        })
    };
    let mut ttls = cache.ttls.iter().filter_map(|life| CacheTtl::of(*life));
    let short = ttls.next()?;
    // A lifetime whose price nobody says is not asked for.
    let long = ttls.find_map(|ttl| Some((ttl, write(ttl)?)));
    Some(Offer {
        marks_max: cache.marks_max.map_or(MARKS_MAX, |most| most as usize),
        min_tokens: cache.min_tokens,
        look_back,
        implicit,
        read: part(price.cache_read).unwrap_or(1.0),
        short: Life {
            ttl: short,
            write: write(short).unwrap_or(1.0),
        },
        long: long.map(|(ttl, write)| Life { ttl, write }),
        long_protects: rules.long_protects,
    })
}
