//! Models, where each can be called, and at what price.

use crate::base::{EndpointId, ModelId, PoolId, ProviderId, Tokens, WallTime};
use crate::canon::DialectName;
use crate::config::caching::Caching;
use crate::config::prices::{self, Listed, Prices};
use crate::config::problem::Problems;
use crate::config::providers::Providers;
use crate::config::raw::{self, RawRules};
use crate::config::read::{At, Names};
use crate::config::resolve::{self, Resolving, next_id};
use crate::config::seals::Sealing;
use crate::config::value;
use crate::config::yaml::Scalar;
use crate::config::{Endpoint, Gives, Model, Provider, Retired, Takes, Timeouts};
use crate::protocol::dialect::Rules;
use crate::protocol::provider::ProviderKind;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Catalogue {
    pub models: Vec<Model>,
    pub endpoints: Vec<Endpoint>,
    pub names: BTreeMap<String, ModelId>,
}

pub fn resolve(
    models: Vec<raw::RawModel>,
    (prices, caching, sealing): (Vec<raw::RawPriceEntry>, Caching, Sealing),
    optional: Vec<At<String>>,
    providers: &Providers,
    timeouts: Timeouts,
    r: &mut Resolving<'_>,
) -> Catalogue {
    let prices = Prices::of(prices, r.problems);
    let mut making = Making {
        out: Catalogue::default(),
        taken: Names::default(),
        prices,
        caching,
        sealing,
        optional: optional.into_iter().map(|p| p.value).collect(),
        providers,
        timeouts,
    };
    let mut successors = Vec::new();
    for raw in models {
        successors.extend(raw.retired.as_ref().and_then(|g| g.successor.clone()));
        making.model(raw, r);
    }
    for successor in successors {
        if !making.out.names.contains_key(&successor.value) {
            let what = format!("successor {:?} is not in the catalogue", successor.value);
            let known: Vec<&str> = making.out.names.keys().map(String::as_str).collect();
            r.problems.add(
                successor.place,
                what,
                near(&successor.value, &known, "models"),
            );
        }
    }
    making.out
}

struct Making<'a> {
    out: Catalogue,
    taken: Names,
    prices: Prices,
    caching: Caching,
    sealing: Sealing,
    /// Providers that may be named though there is none of the name.
    optional: BTreeSet<String>,
    providers: &'a Providers,
    timeouts: Timeouts,
}

impl Making<'_> {
    fn model(&mut self, raw: raw::RawModel, r: &mut Resolving<'_>) {
        let Some(id) = raw.id.clone() else {
            return;
        };
        let model = ModelId(next_id(self.out.models.len(), id.place, r.problems));
        let aliases = raw.aliases.clone().unwrap_or_default();
        for name in std::iter::once(&id).chain(&aliases) {
            if self.taken.claim("model name", name, r.problems) {
                self.out.names.insert(name.value.clone(), model);
            }
        }
        if raw.endpoints.is_empty() {
            let what = format!("model {:?} has no endpoint", id.value);
            r.problems.add(id.place, what, "endpoints: [{provider: …}]");
        }
        let mut endpoints = Vec::new();
        for one in &raw.endpoints {
            if let Some(endpoint) = self.endpoint(one, model, &raw, &id, r) {
                endpoints.push(EndpointId(next_id(
                    self.out.endpoints.len(),
                    one.place,
                    r.problems,
                )));
                self.out.endpoints.push(endpoint);
            }
        }
        self.out.models.push(Model {
            name: id.value,
            aliases: aliases.into_iter().map(|a| a.value).collect(),
            endpoints,
            takes: takes(raw.takes.unwrap_or_default(), r.problems),
            gives: gives(raw.gives, r.problems),
            context: raw.context.map(|a| a.value),
            output_max: raw.output_max.map(|a| a.value),
            retired: raw.retired.and_then(|g| retired(g, r.problems)),
            timeouts: resolve::timeouts(raw.timeouts, self.timeouts),
            note: raw.note.map(|n| n.value),
        });
    }

    /// The endpoint, or `None` if its provider is inactive or there was a problem.
    fn endpoint(
        &self,
        raw: &raw::RawEndpoint,
        model: ModelId,
        of: &raw::RawModel,
        id: &At<String>,
        r: &mut Resolving<'_>,
    ) -> Option<Endpoint> {
        // Everything is read before the first `?`, so that a place that is not used is checked as well.
        let (own, rules_of_model) = (raw.rules.as_ref(), of.rules.as_ref());
        let limit = raw.output_max.as_ref().or(of.output_max.as_ref());
        let rules = rules(own, rules_of_model, limit.map(|l| l.value), r.problems);
        let speaks = speaks(raw.speaks.as_deref().unwrap_or_default(), r.problems);
        let retired = raw.retired.as_ref();
        let retired_from = retired.and_then(|on| day(on, r.problems));
        let provider = self.provider(raw.provider.as_ref()?, r.problems)?;
        let known = self.providers.providers.get(usize::from(provider.0))?;
        let name = raw.name.as_ref().map_or(&id.value, |n| &n.value);
        let listed = self.price(raw, known, name, &id.value, r.problems);
        let regional = self.is_regional(raw, known, name);
        let pools = self.pools(raw, provider, r.problems);
        if pools.is_empty() {
            return None;
        }
        Some(Endpoint {
            model,
            provider,
            pools,
            name: name.clone(),
            price_note: listed.note.clone(),
            speaks,
            retired_from,
            rules,
            cache: listed.cache.clone(),
            seals: self.sealing.find(known.kind, name),
            price: listed.priced(regional),
        })
    }

    fn provider(&self, name: &At<String>, problems: &mut Problems) -> Option<ProviderId> {
        let Some(found) = self.providers.ids.get(&name.value) else {
            if self.optional.contains(&name.value) {
                return None;
            }
            let known: Vec<&str> = self.providers.ids.keys().map(String::as_str).collect();
            let what = format!("unknown provider {:?}", name.value);
            problems.add(name.place, what, near(&name.value, &known, "providers"));
            return None;
        };
        *found
    }

    /// The named pools, or all of the provider; without those that have no key.
    fn pools(
        &self,
        raw: &raw::RawEndpoint,
        provider: ProviderId,
        problems: &mut Problems,
    ) -> Vec<PoolId> {
        let of_provider = |((p, name), pool): (&(ProviderId, String), &Option<PoolId>)| {
            (*p == provider).then_some((name.clone(), *pool))
        };
        let all: BTreeMap<String, Option<PoolId>> = self
            .providers
            .pool_ids
            .iter()
            .filter_map(of_provider)
            .collect();
        let Some(named) = &raw.pools else {
            return all.into_values().flatten().collect();
        };
        let mut pools = Vec::new();
        for name in named {
            match all.get(&name.value) {
                Some(Some(pool)) if !pools.contains(pool) => pools.push(*pool),
                Some(_) => {}
                None => {
                    let known: Vec<&str> = all.keys().map(String::as_str).collect();
                    let what = format!("unknown pool {:?} of this provider", name.value);
                    problems.add(name.place, what, near(&name.value, &known, "pools"));
                }
            }
        }
        pools
    }

    /// What stands at the endpoint, else what the price list says for the provider's name of the model, else for ours.
    fn price(
        &self,
        raw: &raw::RawEndpoint,
        provider: &Provider,
        name: &str,
        model: &str,
        problems: &mut Problems,
    ) -> Listed {
        let kind = provider.kind;
        let listed = self
            .prices
            .find(kind, name)
            .or_else(|| self.prices.find(kind, model));
        let own = raw.price.as_ref().map(|p| prices::price(p, problems));
        let free = matches!(kind, ProviderKind::SelfHosted | ProviderKind::Fake);
        if own.is_none() && listed.is_none() && !free {
            let what = format!(
                "no price for {name:?} at a provider of kind {}",
                kind.as_str()
            );
            problems.add(raw.place, what, "an entry in prices:, or price: here");
        }
        let cache = raw.cache.as_ref().map(|c| prices::cache(c, problems));
        let mut found = listed.cloned().unwrap_or_default();
        if let Some((price, regional_times)) = own {
            found = Listed {
                price,
                regional_times,
                cache: found.cache,
                ..Listed::default()
            };
        }
        found.cache = cache.unwrap_or(found.cache);
        found.cache.rules = self.caching.find(kind, name, &found.cache);
        found
    }

    /// As it is written at the endpoint, else as its name and its provider's host tell.
    fn is_regional(&self, raw: &raw::RawEndpoint, provider: &Provider, name: &str) -> bool {
        let host = &self.providers.origins[usize::from(provider.origin.0)].host;
        let derived = || is_regional(provider.kind, name, host);
        raw.regional.as_ref().map_or_else(derived, |r| r.value)
    }
}

/// Whether a place is one of those for which providers charge more: a region or a group of them instead of the whole world.
fn is_regional(kind: ProviderKind, name: &str, host: &str) -> bool {
    match kind {
        // The AWS price list: `global.` profiles cost as Anthropic's own API, geographic ones and the bare name more (read 2026-11).
        ProviderKind::Bedrock => !prices::profile_of(name).starts_with("global."),
        // Google Agent Platform pricing: the global endpoint has no surcharge, regional and multi-regional ones have (read 2026-11).
        ProviderKind::Vertex => {
            host != "aiplatform.googleapis.com" && host.ends_with(".googleapis.com")
        }
        // OpenAI's residency hosts (`eu.api.openai.com`; read 2026-11).
        ProviderKind::OpenAi => host.ends_with(".api.openai.com"),
        ProviderKind::Anthropic
        | ProviderKind::Gemini
        | ProviderKind::Xai
        | ProviderKind::Fireworks
        | ProviderKind::OpenRouter
        | ProviderKind::SelfHosted
        | ProviderKind::Fake => false,
    }
}

/// The endpoint's own rules over the model's, field by field. The output limit is a bound like any other, and the narrower wins.
fn rules(
    own: Option<&RawRules>,
    of_model: Option<&RawRules>,
    output_max: Option<Tokens>,
    problems: &mut Problems,
) -> Rules {
    let texts = |f: fn(&RawRules) -> &Option<Vec<At<String>>>| {
        let found = own
            .and_then(|r| f(r).as_ref())
            .or(of_model.and_then(|r| f(r).as_ref()));
        found
            .map(|l| l.iter().map(|t| t.value.clone()).collect())
            .unwrap_or_default()
    };
    let flag = |f: fn(&RawRules) -> &Option<At<bool>>| {
        let found = own
            .and_then(|r| f(r).as_ref())
            .or(of_model.and_then(|r| f(r).as_ref()));
        found.is_some_and(|b| b.value)
    };
    let written = own
        .and_then(|r| r.clamp.as_ref())
        .or(of_model.and_then(|r| r.clamp.as_ref()));
    let mut clamp: Vec<(String, f64, f64)> = written
        .into_iter()
        .flatten()
        .filter_map(|(name, range)| bounds(name, range, problems))
        .collect();
    let limit = output_max.filter(|_| !clamp.iter().any(|(name, ..)| name == "max_output"));
    // 0 asks Claude to warm its cache and say nothing.
    clamp.extend(limit.map(|most| ("max_output".to_owned(), 0.0, most.0 as f64)));
    Rules {
        clamp,
        drop: texts(|r| &r.drop_params),
        refuse: texts(|r| &r.refuse_params),
        thinking_budget: flag(|r| &r.thinking_budget),
        legacy_max_tokens: flag(|r| &r.legacy_max_tokens),
    }
}

/// `temperature: 0..1`, of a parameter that is a number.
fn bounds(
    name: &At<String>,
    range: &At<String>,
    problems: &mut Problems,
) -> Option<(String, f64, f64)> {
    if !Rules::CLAMPED.contains(&name.value.as_str()) {
        let what = format!("{:?} cannot be clamped", name.value);
        let right = crate::config::problem::suggestion(&name.value, &Rules::CLAMPED);
        problems.add(name.place, what, right);
        return None;
    }
    let number = |text: &str| {
        let scalar = Scalar {
            text: text.trim().to_owned(),
            written: None,
            quoted: false,
        };
        value::number(&scalar, -1e12, 1e12)
    };
    let both = range.value.split_once("..");
    let ends = both.and_then(|(low, high)| Some((number(low)?, number(high)?)));
    let Some((low, high)) = ends.filter(|(low, high)| low <= high) else {
        problems.add(
            range.place,
            "not a range",
            "the least and the most, such as 0..1 or 1..64_000",
        );
        return None;
    };
    Some((name.value.clone(), low, high))
}

fn speaks(words: &[At<String>], problems: &mut Problems) -> Vec<DialectName> {
    let mut found = Vec::new();
    for word in words {
        let dialect = DIALECTS.iter().find(|d| d.as_str() == word.value);
        match dialect {
            Some(dialect) => found.push(*dialect),
            None => {
                let what = format!("unknown dialect {:?}", word.value);
                let known = DIALECTS.map(DialectName::as_str);
                let right = crate::config::problem::suggestion(&word.value, &known);
                problems.add(word.place, what, right);
            }
        }
    }
    found
}

fn day(on: &At<String>, problems: &mut Problems) -> Option<WallTime> {
    let day = value::day(&on.value);
    if day.is_none() {
        problems.add(on.place, "not a day", "such as 2026-07-23");
    }
    day
}

fn takes(words: Vec<At<String>>, problems: &mut Problems) -> Takes {
    let mut takes = Takes::default();
    for word in words {
        match word.value.as_str() {
            "images" => takes.images = true,
            "documents" => takes.documents = true,
            "audio" => takes.audio = true,
            "video" => takes.video = true,
            "tools" => takes.tools = true,
            other => {
                let known = ["images", "documents", "audio", "video", "tools"];
                let what = format!("unknown word {other:?} in models.takes");
                problems.add(
                    word.place,
                    what,
                    crate::config::problem::suggestion(other, &known),
                );
            }
        }
    }
    takes
}

/// Without the word, text.
fn gives(words: Option<Vec<At<String>>>, problems: &mut Problems) -> Gives {
    let mut gives = Gives {
        text: words.is_none(),
        images: false,
        audio: false,
        video: false,
        embeddings: false,
    };
    for word in words.into_iter().flatten() {
        match word.value.as_str() {
            "text" => gives.text = true,
            "images" => gives.images = true,
            "audio" => gives.audio = true,
            "video" => gives.video = true,
            "embeddings" => gives.embeddings = true,
            other => {
                let known = ["text", "images", "audio", "video", "embeddings"];
                let what = format!("unknown word {other:?} in models.gives");
                let right = crate::config::problem::suggestion(other, &known);
                problems.add(word.place, what, right);
            }
        }
    }
    gives
}

fn retired(raw: raw::RawRetired, problems: &mut Problems) -> Option<Retired> {
    let on = raw.on?;
    let from = day(&on, problems)?;
    Some(Retired {
        on: on.value,
        from,
        successor: raw.successor.map(|s| s.value),
    })
}

/// The dialects that providers speak.
const DIALECTS: [DialectName; 6] = [
    DialectName::Chat,
    DialectName::Messages,
    DialectName::Responses,
    DialectName::Gemini,
    DialectName::Completions,
    DialectName::Converse,
];

/// `did you mean "x"?`, or how many there are to choose from: a catalogue is too long to list.
fn near(word: &str, known: &[&str], what: &str) -> String {
    match crate::config::problem::nearest(word, known) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if known.len() <= 8 => format!("known: {}", known.join(", ")),
        None => format!("one of the {} {what} of this configuration", known.len()),
    }
}
