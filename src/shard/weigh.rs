//! Who could serve an exchange, and what each would cost: all that `choose` reads, looked up.

use crate::base::{EndpointId, Instant, KeyId, NanoUsd, Now, PoolId, Tokens};
use crate::canon::controls::Priority;
use crate::canon::{DialectName, FaultClass, Usage};
use crate::config::{self, LogLevel};
use crate::policy::belief::Drift;
use crate::policy::bill::{Price, bill};
use crate::policy::candidate::Candidate;
use crate::policy::capacity::{Ask, Room, Worth};
use crate::policy::choose::{Strategy, Weighing};
use crate::policy::cost::{self, Prospect, Terms};
use crate::policy::prefix::Rules;
use crate::policy::warmth::Expected;
use crate::shard::desk::Desk;
use crate::shard::exchange::{Attempt, Exchange};
use crate::shard::forecast::{Foreseen, Reading, Tempo, blocks};
use crate::shard::task::Task;
use crate::shard::{LogLine, Outcome, settle};
use smallvec::SmallVec;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(super) type Candidates = SmallVec<[Candidate; 4]>;

/// What is the same for all places of an endpoint.
struct Site<'a> {
    id: EndpointId,
    config: &'a config::Endpoint,
    /// How its caches see the prompt, and their rules.
    reading: Option<(&'a Reading, &'a Rules)>,
    input: Tokens,
    output: Tokens,
    second: NanoUsd,
    /// That are expected to follow; 0 where there is nothing to choose.
    turns: f64,
}

/// What a place would cost, beside its terms.
struct Weighed {
    terms: Terms,
    ask: Ask,
    cached: Tokens,
    saves: NanoUsd,
    /// Requests that are under way there.
    ahead: u64,
    /// Of one more turn there, and of coming there later.
    later: (NanoUsd, NanoUsd),
    frees_in: Duration,
    gate: Option<Gate>,
}

/// A leader's first byte that is waited for.
struct Gate {
    name: u64,
    opens_in: Duration,
}

impl Exchange {
    /// Reads the prompt as the caches of its model's endpoints see it, once an exchange. A pass over the body for each kind of them: nearly
    /// always one.
    pub fn read_prompt(&mut self, desk: &mut Desk) {
        // What an earlier answer holds is not in the body.
        if self.readings.is_some()
            || self.task != Task::Generate
            || self.video.is_some()
            || self.asked.peek.server_state
        {
            return;
        }
        let config = self.config.clone();
        let model = &config.models[self.model().0 as usize];
        let mut readings: SmallVec<[Reading; 1]> = SmallVec::new();
        for id in &model.endpoints {
            let endpoint = &config.endpoints[id.0 as usize];
            let Some(rules) = &endpoint.cache.rules else {
                continue;
            };
            if let Some(reading) = self.read_for(desk, *id, endpoint, rules, &readings) {
                readings.push(reading);
            }
        }
        if readings.is_empty() && self.strategy() == Strategy::SessionAffinity {
            let salt = desk.epoch(self.epoch).forecast.salt(self.tenant);
            let said = (self.dialect, &self.body[..]);
            readings.extend(desk.caches.read(said, None, &salt, None));
        }
        self.readings = Some(Box::new(readings));
    }

    fn read_for(
        &mut self,
        desk: &mut Desk,
        id: EndpointId,
        endpoint: &config::Endpoint,
        rules: &Rules,
        known: &[Reading],
    ) -> Option<Reading> {
        let provider = &self.config.providers[endpoint.provider.0 as usize];
        if endpoint.is_retired(self.begun.wall)
            || self.controls.providers.preference(&provider.name).is_none()
        {
            return None;
        }
        let dialect = self.dialect_at(provider, endpoint).ok()?;
        if known.iter().any(|r| r.is_for(dialect, rules)) {
            return None;
        }
        let salt = desk.epoch(self.epoch).forecast.salt(self.tenant);
        let body = if self.passes(endpoint, dialect) {
            self.body.clone()
        } else {
            let streams = self.streams_to(dialect);
            self.written(id, dialect, streams).ok()?
        };
        let beta = self.passing.anthropic_beta.as_deref();
        let beta = beta.filter(|_| dialect == DialectName::Messages);
        let mut reading = desk
            .caches
            .read((dialect, &body), blocks(rules), &salt, beta)?;
        if self.keeps_question(dialect, Some(rules)) {
            reading.class = Some(desk.caches.class_of(&reading.bounds));
        }
        self.help(desk, &mut reading, (id, dialect), body, !known.is_empty());
        Some(reading)
    }

    pub(super) fn reading<'a>(
        &'a self,
        endpoint: &'a config::Endpoint,
    ) -> Option<(&'a Reading, &'a Rules)> {
        let rules = endpoint.cache.rules.as_ref()?;
        let provider = &self.config.providers[endpoint.provider.0 as usize];
        let dialect = self.dialect_at(provider, endpoint).ok()?;
        let mut readings = self.readings.as_ref()?.iter();
        Some((readings.find(|r| r.is_for(dialect, rules))?, rules))
    }

    /// Everything `choose` needs, looked up: one candidate for each endpoint and pool that may serve this.
    pub fn candidates(&self, desk: &mut Desk, now: Instant) -> Candidates {
        let mut found = Candidates::new();
        // Who is asked for a kept answer is not chosen by price.
        if self.kept.is_some() {
            return found;
        }
        let model = self.model();
        let endpoints = &self.config.models[model.0 as usize].endpoints;
        let mut later: SmallVec<[(NanoUsd, NanoUsd); 4]> = SmallVec::new();
        let turns = match self.readings {
            Some(_) if self.has_choice(endpoints) => {
                let forecast = &desk.epoch(self.epoch).forecast;
                forecast.habit(self.tenant, model).turns()
            }
            _ => 0.0,
        };
        for endpoint in endpoints {
            let config = &self.config.endpoints[endpoint.0 as usize];
            let Some(preference) = self.preference(*endpoint, config) else {
                continue;
            };
            let site = self.site(desk, *endpoint, config, turns);
            for pool in &config.pools {
                if !self.may_draw(*pool) || !self.may_read(*endpoint, *pool) {
                    continue;
                }
                let Some(key) = self.key(desk, *pool, now) else {
                    continue;
                };
                let weighed = self.weigh(desk, &site, *pool, now);
                later.push(weighed.later);
                let claim = desk.epoch(self.epoch).claim(*endpoint, *pool);
                let claimed = desk.line.is_claimed(claim, self.is_batch());
                let epoch = desk.epoch(self.epoch);
                let room = epoch.room(*endpoint, *pool, weighed.ask, now);
                let room = match &weighed.gate {
                    Some(gate) => room.max(Room::In(gate.opens_in)),
                    None => room,
                };
                found.push(Candidate {
                    endpoint: *endpoint,
                    pool: *pool,
                    key,
                    terms: weighed.terms,
                    ask: weighed.ask,
                    cached: weighed.cached,
                    saves: weighed.saves,
                    in_flight: weighed.ahead,
                    // Others come first.
                    room: if claimed {
                        room.max(Room::WhenFreed)
                    } else {
                        room
                    },
                    gate: weighed.gate.map(|gate| gate.name),
                    // Who is ahead has to have room first.
                    frees_in: weighed.frees_in + ahead_of_room(room),
                    shut_until: epoch.shut_until(*endpoint, *pool, now),
                    preference,
                    tried: self.tally.failed_at.contains(&(*endpoint, *pool)),
                    affinity: self.affinity(config, *pool),
                    turn: 0,
                });
            }
        }
        let forecast = &desk.epoch(self.epoch).forecast;
        let count = found.len();
        for (place, candidate) in found.iter_mut().enumerate() {
            candidate.turn = forecast.turn(model, place, count);
        }
        if turns > 0.0 {
            cost::futures(turns, &later, &mut |at, future| {
                found[at].terms.future = future;
            });
        }
        found
    }

    /// Whether there is more than one place.
    pub(super) fn has_choice(&self, endpoints: &[EndpointId]) -> bool {
        let pools = |id: &EndpointId| self.config.endpoints[id.0 as usize].pools.len();
        endpoints.iter().map(pools).sum::<usize>() > 1
    }

    /// The place of its provider in what the client wants; `None` where it is not to be asked at all.
    fn preference(&self, endpoint: EndpointId, config: &config::Endpoint) -> Option<u16> {
        let provider = &self.config.providers[config.provider.0 as usize].name;
        let preference = self.controls.providers.preference(provider)?;
        if !self.rights().allow_provider(provider) {
            return None;
        }
        let follows = match &self.video {
            Some(case) if !case.may_ask(endpoint) => return None,
            Some(case) => case.follows(),
            None => self.follows_cache(),
        };
        // Of what was made before its end one may ask after it.
        let is_over = config.is_retired(self.begun.wall) && !follows;
        let elsewhere = self
            .pin
            .is_some_and(|pin| !self.is_pinned_to(pin, endpoint));
        let left_out = is_over || elsewhere || self.tally.incapable.contains(&endpoint);
        (!left_out).then_some(preference)
    }

    fn may_draw(&self, pool: PoolId) -> bool {
        let video = self.video.as_ref().is_none_or(|case| case.may_draw(pool));
        video && self.pin.is_none_or(|pin| pin.pool == pool)
    }

    fn site<'a>(
        &'a self,
        desk: &mut Desk,
        id: EndpointId,
        config: &'a config::Endpoint,
        turns: f64,
    ) -> Site<'a> {
        let ask = self.asked.ask;
        let reading = self.reading(config);
        let forecast = &desk.epoch(self.epoch).forecast;
        let counted = reading.map_or(ask.input, |(reading, _)| reading.tokens);
        let output = match self.task {
            Task::Generate => forecast
                .habit(self.tenant, self.model())
                .lengths
                .expected(ask.output_most),
            _ => ask.output,
        };
        Site {
            id,
            config,
            reading,
            input: forecast.tempo(id).weight.of(counted),
            output,
            second: self.second(),
            turns,
        }
    }

    fn weigh(&self, desk: &mut Desk, site: &Site<'_>, pool: PoolId, now: Instant) -> Weighed {
        let price = site.config.price.on(self.begun.wall);
        let place = site.config.pools.iter().position(|p| *p == pool);
        let place = place.expect("a pool of this endpoint");
        // What the cache behind it holds of the prompt.
        let expected = site
            .reading
            .map_or_else(Expected::default, |(reading, rules)| {
                let scope = desk.epoch(self.epoch).forecast.scope(site.id, place);
                desk.caches.warmth.expect(&reading.asked(scope, rules), now)
            });
        let may_wait = desk.line.len() < self.config.limits.queue_max;
        let epoch = desk.epoch(self.epoch);
        let tempo = *epoch.forecast.tempo(site.id);
        let ahead = epoch.ahead(site.config.provider, pool, now);
        let prospect = Prospect {
            price,
            input: site.input,
            cached: tempo.weight.of(expected.cached()).min(site.input),
            warm: expected.warm,
            written: tempo.weight.of(expected.written).min(site.input),
            ttl: expected.ttl,
            output: site.output,
            first: &tempo.first,
            pace: &tempo.pace,
            crowded: epoch.crowded(site.config.provider, ahead, self.config.routing.crowding),
            fails: epoch.forecast.fails(site.id, place, now),
            second: site.second,
        };
        let gate = match may_wait {
            true => self.gate(&prospect, &expected, &tempo, now),
            false => None,
        };
        let prospect = match &gate {
            Some((warm, _)) => *warm,
            None => prospect,
        };
        let read = prospect.read();
        let ask = Ask {
            input: Tokens(site.input.0.saturating_sub(read.0)),
            cache_read: read,
            output: site.output,
            ..self.asked.ask
        };
        let (mut terms, saves) = match &self.video {
            Some(case) => {
                let output = case.cost(site.config, self.begun);
                let terms = Terms {
                    output,
                    ..Terms::default()
                };
                (terms, NanoUsd::ZERO)
            }
            None => prospect.terms(),
        };
        terms.risk += self.rethinking((site.id, pool), price.output);
        // A prefix that is kept under a name is paid for by the hour.
        terms.input += self.storage_to_come(site.config);
        let worth = Worth {
            input: price.input,
            output: price.output,
            request: terms.bill(),
            weight: self.config.routing.headroom_permille(),
            most: NanoUsd(i64::MAX),
        };
        terms.headroom = epoch.shadow(site.id, pool, &ask, &worth, now);
        let lasts = tempo.first.expected(ask.input) + tempo.pace.expected(site.output);
        Weighed {
            terms,
            ask,
            cached: read,
            saves,
            ahead,
            later: match self.goes_on(site) {
                false => (NanoUsd::ZERO, NanoUsd::ZERO),
                true => (
                    prospect.turn(site.reading.map_or(0.0, |_| cost::NEXT_IS_WARM)),
                    prospect.arrival(),
                ),
            },
            frees_in: lasts / u32::try_from(ahead).unwrap_or(u32::MAX).max(1),
            gate: gate.map(|(_, gate)| gate),
        }
    }

    /// Whether it is cheaper to wait for the first byte of a request that writes what this one could read.
    fn gate<'p>(
        &self,
        prospect: &Prospect<'p>,
        expected: &Expected,
        tempo: &Tempo,
        now: Instant,
    ) -> Option<(Prospect<'p>, Gate)> {
        let pending = expected.pending?;
        let cached = tempo.weight.of(pending.tokens).min(prospect.input);
        let warm = Prospect {
            cached,
            warm: expected.pending_warm,
            ..*prospect
        };
        let sums = (prospect.terms().0.total(), warm.terms().0.total());
        let begins = tempo.first.expected(cached);
        let opens_in = cost::hold(sums, begins, pending.age, prospect.second)?;
        // Who has not so long goes as it is.
        let patience = self.config.limits.queue_time.min(self.gives_up_at() - now);
        if opens_in >= patience {
            return None;
        }
        let name = pending.name.chain;
        Some((warm, Gate { name, opens_in }))
    }

    /// Whether its later turns make a difference between places.
    fn goes_on(&self, site: &Site<'_>) -> bool {
        site.turns > 0.0 && self.video.is_none()
    }

    /// The call is about to go out: what is expected of its cache, which is told what it writes. `None` where nothing is known of caches.
    pub fn foresee(
        &self,
        desk: &mut Desk,
        endpoint: EndpointId,
        pool: PoolId,
        tokens: (Tokens, Tokens),
        now: Instant,
    ) -> Option<Box<Foreseen>> {
        let config = &self.config.endpoints[endpoint.0 as usize];
        let (reading, rules) = self.reading(config)?;
        let place = config.pools.iter().position(|p| *p == pool)?;
        let forecast = &mut desk.epoch(self.epoch).forecast;
        let scope = forecast.scope(endpoint, place);
        let asked = reading.asked(scope, rules);
        let warmth = &mut desk.caches.warmth;
        let expected = warmth.expect(&asked, now);
        let goes_on = warmth.goes_on(&asked, &expected);
        let begun = warmth.begin(&asked, now);
        if self.tally.attempts <= 1 && !self.is_ping() {
            let forecast = &mut desk.epoch(self.epoch).forecast;
            forecast.saw_begin(self.tenant, self.model(), goes_on);
        }
        let input = reading.tokens;
        Some(Box::new(Foreseen::new(
            scope, expected, begun, input, tokens,
        )))
    }

    /// The first byte of an answer has come: what its request wrote can be read.
    pub fn answer_began(&self, desk: &mut Desk, attempt: &mut Attempt, now: Now) {
        if attempt.first_byte.is_some() {
            return;
        }
        attempt.first_byte = Some(now.instant);
        if let Some(foreseen) = &mut attempt.foreseen {
            foreseen.warmed(&mut desk.caches.warmth, now.instant);
            // Whoever waits for what it wrote.
            desk.line.stir();
        }
    }

    /// What an attempt that ends tells of caches, lengths, times and failures. What was expected of its cache, for its row.
    pub fn learn_from(
        &self,
        desk: &mut Desk,
        attempt: &mut Attempt,
        usage: &Usage,
        outcome: Outcome,
        now: Now,
    ) -> Option<Tokens> {
        let (endpoint, pool) = (attempt.endpoint, attempt.pool);
        let epoch = desk.epoch(self.epoch);
        if let (Some(place), Some(failed)) = (epoch.place(endpoint, pool), blames(outcome)) {
            epoch
                .forecast
                .saw_call(endpoint, place, failed, now.instant);
        }
        let is_told = outcome == Outcome::Done
            && self.task == Task::Generate
            && !usage.estimated
            && usage.input_total() > Tokens::ZERO;
        if is_told {
            let counted = attempt.foreseen.as_ref().map(|f| f.input());
            let times = attempt.first_byte.filter(|_| attempt.streams);
            let times = times.map(|at| (at - attempt.began.instant, now.instant - at));
            let who = (self.tenant, self.model());
            let forecast = &mut desk.epoch(self.epoch).forecast;
            // One token says nothing of how long answers are.
            if !self.is_ping() {
                forecast.saw_answer(who, endpoint, settle::used(usage), counted, times);
            }
        }
        let foreseen = attempt.foreseen.as_mut()?;
        match outcome {
            Outcome::Done => foreseen.warmed(&mut desk.caches.warmth, now.instant),
            Outcome::Failed(_) | Outcome::Cancelled => foreseen.failed(&mut desk.caches.warmth),
        }
        if is_told {
            let (input, read) = (usage.input_total(), usage.cache_read.unwrap_or_default());
            let drift = foreseen.billed(&mut desk.caches.warmth, input, read);
            let price = self.config.endpoints[endpoint.0 as usize]
                .price
                .on(self.begun.wall);
            let missed = Tokens(foreseen.best.min(input).0.saturating_sub(read.0));
            desk.meters
                .foreseen(foreseen.read, read, regret(missed, price));
            if let Some(drift) = drift {
                desk.meters.cache_drifts += 1;
                desk.alarms.push(self.drifted(attempt, drift, now));
            }
        }
        attempt.foreseen.as_ref().map(|foreseen| foreseen.read)
    }

    fn drifted(&self, attempt: &Attempt, drift: Drift, now: Now) -> LogLine {
        LogLine {
            at: now.wall,
            level: LogLevel::Warn,
            message: "a prompt cache does not keep what its provider promises",
            fields: vec![
                ("endpoint", self.endpoint_name(attempt).to_string()),
                ("promised_s", drift.promised.as_secs().to_string()),
                ("believed_s", drift.believed.as_secs().to_string()),
            ],
        }
    }

    /// What this exchange's time is worth, a second.
    pub(super) fn second(&self) -> NanoUsd {
        match self.controls.priority {
            Some(Priority::Batch) => self.config.routing.second_batch,
            Some(Priority::Interactive) | None => self.config.routing.second,
        }
    }

    fn strategy(&self) -> Strategy {
        let tenant = &self.config.tenants[self.tenant.0 as usize];
        tenant.strategy.unwrap_or(self.config.routing.strategy)
    }

    /// How its candidates are weighed, where it may wait until `until`.
    pub fn weighing(&self, until: Instant, now: Instant) -> Weighing {
        let routing = &self.config.routing;
        routing.weighing(self.strategy(), self.second(), until - now)
    }

    /// How much a place is the conversation's own: highest random weight over the places' names, so that one that goes moves only its own.
    fn affinity(&self, endpoint: &config::Endpoint, pool: PoolId) -> u64 {
        let seed = match (&self.controls.session, &self.readings) {
            (Some(session), _) => xxh3_64_with_seed(session.as_bytes(), 0),
            (None, Some(readings)) if self.has_own_place(endpoint, readings) => {
                readings[0].opener.tag
            }
            // Nothing tells its conversation from others, or nothing of it will be kept.
            (None, _) => return 0,
        };
        let provider = &self.config.providers[endpoint.provider.0 as usize].name;
        let pool = &self.config.pools[pool.0 as usize].name;
        let named = xxh3_64_with_seed(provider.as_bytes(), seed);
        let named = xxh3_64_with_seed(endpoint.name.as_bytes(), named);
        xxh3_64_with_seed(pool.as_bytes(), named)
    }

    /// Whether it makes a difference where the conversation begins: where its prompt is long enough to be cached, or strategy has it so.
    fn has_own_place(&self, endpoint: &config::Endpoint, readings: &[Reading]) -> bool {
        let Some(first) = readings.first() else {
            return false;
        };
        let rules = endpoint.cache.rules.as_ref();
        let kept = rules.is_some_and(|rules| rules.cached(first.tokens) > Tokens::ZERO);
        kept || self.strategy() == Strategy::SessionAffinity
    }

    /// The pool's next live key, in turn; outer `None` when it has keys and all are dead, inner `None` when it needs none.
    fn key(&self, desk: &mut Desk, pool: PoolId, now: Instant) -> Option<Option<KeyId>> {
        let keys = &self.config.pools[pool.0 as usize].keys;
        if keys.is_empty() {
            return Some(None);
        }
        let epoch = desk.epoch(self.epoch);
        let first = epoch.next_key(pool, keys.len());
        let turn = (0..keys.len()).map(|i| (first + i) % keys.len());
        let live = |at: &usize| {
            !epoch.is_dead(keys[*at], now)
                && !self.tally.dead_keys.contains(&keys[*at])
                && epoch.credentials.is_ready(keys[*at], now)
        };
        // Another key may be of another organisation, which does not see what the first one's keeps.
        let own = |at: &usize| self.pin.is_none_or(|pin| pin.key == Some(keys[*at]));
        let issuer = self.video.as_ref().and_then(|case| case.key());
        let ordered = issuer.and_then(|key| keys.iter().position(|k| *k == key));
        let mut turn = ordered.into_iter().chain(turn);
        let at = turn.find(|at| own(at) && live(at))?;
        Some(Some(keys[at]))
    }

    /// Other candidates that could be called now and have not failed this exchange.
    pub fn others(&self, desk: &mut Desk, now: Instant, failed: (EndpointId, PoolId)) -> usize {
        let usable = |c: &&Candidate| {
            !c.tried
                && (c.endpoint, c.pool) != failed
                && c.room == Room::Now
                && self.affords(c)
                && c.shut_until.is_none_or(|until| until <= now)
        };
        self.candidates(desk, now).iter().filter(usable).count()
    }

    /// Candidates left for a key that was refused: the same place with another key counts, and room can be waited for.
    pub fn others_or_keys(&self, desk: &mut Desk, now: Instant) -> usize {
        let usable = |c: &&Candidate| !c.tried && c.room != Room::Never && self.affords(c);
        self.candidates(desk, now).iter().filter(usable).count()
    }

    pub fn affords(&self, candidate: &Candidate) -> bool {
        self.controls
            .max_cost
            .is_none_or(|most| candidate.terms.bill() <= most)
    }
}

impl Attempt {
    /// Tokens of its prompt that are expected to be read from a cache.
    pub fn cached_expected(&self) -> Option<Tokens> {
        self.foreseen.as_ref().map(|foreseen| foreseen.read)
    }
}

/// What is known of a wait for room.
fn ahead_of_room(room: Room) -> Duration {
    match room {
        Room::In(wait) => wait,
        Room::Now | Room::WhenFreed | Room::Never => Duration::ZERO,
    }
}

/// Whether an outcome says of a place that it fails calls; `None` where it says nothing of that.
fn blames(outcome: Outcome) -> Option<bool> {
    match outcome {
        Outcome::Done => Some(false),
        Outcome::Failed(
            FaultClass::UpstreamBroken
            | FaultClass::Unavailable
            | FaultClass::Overloaded
            | FaultClass::UpstreamTimeout,
        ) => Some(true),
        Outcome::Failed(_) | Outcome::Cancelled => None,
    }
}

/// What it cost that so many tokens were paid for in full that some place was expected to have in its cache.
fn regret(missed: Tokens, price: &Price) -> NanoUsd {
    if missed == Tokens::ZERO {
        return NanoUsd::ZERO;
    }
    let uncached = Usage {
        input_uncached: Some(missed),
        ..Usage::default()
    };
    let read = Usage {
        cache_read: Some(missed),
        ..Usage::default()
    };
    NanoUsd((bill(&uncached, price).0 - bill(&read, price).0).max(0))
}
