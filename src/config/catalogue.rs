//! Models, where each can be called, and at what price.

use crate::base::{EndpointId, ModelId, PoolId, ProviderId};
use crate::config::problem::Problems;
use crate::config::providers::{self, Providers};
use crate::config::raw::{self, RawCache, RawPrice, RawRules};
use crate::config::read::{At, Names};
use crate::config::resolve::{self, Resolving, next_id};
use crate::config::value;
use crate::config::yaml::Scalar;
use crate::config::{CacheRules, Endpoint, Model, Retired, Takes, Timeouts};
use crate::policy::bill::{LongContext, Price};
use crate::protocol::dialect::Rules;
use crate::protocol::provider::ProviderKind;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Default)]
pub struct Catalogue {
    pub models: Vec<Model>,
    pub endpoints: Vec<Endpoint>,
    pub names: BTreeMap<String, ModelId>,
}

/// The price list, by kind of provider and name of model.
struct Prices {
    list: BTreeMap<(ProviderKind, String), (Price, CacheRules)>,
}

pub fn resolve(
    models: Vec<raw::RawModel>,
    prices: Vec<raw::RawPriceEntry>,
    providers: &Providers,
    timeouts: Timeouts,
    r: &mut Resolving<'_>,
) -> Catalogue {
    let prices = Prices::of(prices, r.problems);
    let mut making = Making {
        out: Catalogue::default(),
        taken: Names::default(),
        prices,
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
    providers: &'a Providers,
    timeouts: Timeouts,
}

impl Making<'_> {
    fn model(&mut self, raw: raw::RawModel, r: &mut Resolving<'_>) {
        let Some(id) = raw.id else {
            return;
        };
        let model = ModelId(next_id(self.out.models.len(), id.place, r.problems));
        let aliases = raw.aliases.unwrap_or_default();
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
            if let Some(endpoint) = self.endpoint(one, model, &id, raw.rules.as_ref(), r) {
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
            context: raw.context.map(|a| a.value),
            output_max: raw.output_max.map(|a| a.value),
            retired: raw.retired.and_then(|g| retired(g, r.problems)),
            timeouts: resolve::timeouts(raw.timeouts, self.timeouts),
        });
    }

    /// The endpoint, or `None` if its provider is inactive or there was a problem.
    fn endpoint(
        &self,
        raw: &raw::RawEndpoint,
        model: ModelId,
        id: &At<String>,
        rules_of_model: Option<&RawRules>,
        r: &mut Resolving<'_>,
    ) -> Option<Endpoint> {
        let provider = self.provider(raw.provider.as_ref()?, r.problems)?;
        let kind = self.providers.providers.get(usize::from(provider.0))?.kind;
        let name = raw.name.as_ref().map_or(&id.value, |n| &n.value);
        let (price, cache) = self.price(raw, kind, name, &id.value, r.problems);
        let pools = self.pools(raw, provider, r.problems);
        if pools.is_empty() {
            return None;
        }
        Some(Endpoint {
            model,
            provider,
            pools,
            name: name.clone(),
            price,
            rules: rules(raw.rules.as_ref(), rules_of_model),
            cache,
        })
    }

    fn provider(&self, name: &At<String>, problems: &mut Problems) -> Option<ProviderId> {
        let Some(found) = self.providers.ids.get(&name.value) else {
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
        kind: ProviderKind,
        name: &str,
        model: &str,
        problems: &mut Problems,
    ) -> (Price, CacheRules) {
        let listed = self
            .prices
            .find(kind, name)
            .or_else(|| self.prices.find(kind, model));
        let own = raw.price.as_ref().map(price);
        let paid = matches!(kind, ProviderKind::Anthropic | ProviderKind::OpenAi);
        if own.is_none() && listed.is_none() && paid {
            let what = format!(
                "no price for {name:?} at a provider of kind {}",
                kind.as_str()
            );
            problems.add(raw.place, what, "an entry in prices:, or price: here");
        }
        let cache = raw.cache.as_ref().map(|c| cache(c, problems));
        let (listed_price, listed_cache) = listed.cloned().unwrap_or_default();
        (own.unwrap_or(listed_price), cache.unwrap_or(listed_cache))
    }
}

impl Prices {
    fn of(raw: Vec<raw::RawPriceEntry>, problems: &mut Problems) -> Self {
        let mut taken = Names::default();
        let mut list = BTreeMap::new();
        for entry in raw {
            if let Some(read) = entry.read.as_ref().filter(|d| !value::is_date(&d.value)) {
                problems.add(
                    read.place,
                    "not a day",
                    "the day the source was read, such as 2026-11-23",
                );
            }
            if let Some(source) = entry.source.as_ref().filter(|s| s.value.trim().is_empty()) {
                problems.add(
                    source.place,
                    "a price without its source",
                    "where it can be read again",
                );
            }
            let kind = entry
                .kind
                .as_ref()
                .and_then(|k| providers::kind(k, problems));
            let (Some(kind), Some(model)) = (kind, entry.model) else {
                continue;
            };
            let both = At {
                value: format!("{}/{}", kind.as_str(), model.value),
                place: model.place,
            };
            taken.claim("price of", &both, problems);
            let cache = entry
                .cache
                .as_ref()
                .map(|c| cache(c, problems))
                .unwrap_or_default();
            list.insert((kind, model.value), (price(&entry.price), cache));
        }
        Self { list }
    }

    fn find(&self, kind: ProviderKind, name: &str) -> Option<&(Price, CacheRules)> {
        self.list.get(&(kind, name.to_owned()))
    }
}

fn price(raw: &RawPrice) -> Price {
    let usd = |at: &Option<At<crate::base::TokenPrice>>| at.as_ref().map(|a| a.value);
    Price {
        input: usd(&raw.input).unwrap_or_default(),
        output: usd(&raw.output).unwrap_or_default(),
        cache_read: usd(&raw.cache_read),
        cache_write_5m: usd(&raw.cache_write_5m),
        cache_write_30m: usd(&raw.cache_write_30m),
        cache_write_1h: usd(&raw.cache_write_1h),
        cache_write_12h: usd(&raw.cache_write_12h),
        input_audio: usd(&raw.input_audio),
        output_audio: usd(&raw.output_audio),
        input_image: usd(&raw.input_image),
        output_image: usd(&raw.output_image),
        web_search: raw.web_search.as_ref().map(|a| a.value),
        web_fetch: raw.web_fetch.as_ref().map(|a| a.value),
        long_context: raw.long_context.as_ref().and_then(long_context),
        tiers: raw.tiers.iter().filter_map(tier).collect(),
    }
}

fn long_context(raw: &raw::RawLongContext) -> Option<LongContext> {
    Some(LongContext {
        over: raw.over.as_ref()?.value,
        input_times: raw.input_times.as_ref()?.value,
        output_times: raw.output_times.as_ref()?.value,
    })
}

fn tier(raw: &raw::RawTier) -> Option<(String, f64)> {
    Some((raw.name.as_ref()?.value.clone(), raw.times.as_ref()?.value))
}

fn cache(raw: &RawCache, problems: &mut Problems) -> CacheRules {
    let mut ttls = Vec::new();
    for text in raw.ttls.as_deref().unwrap_or_default() {
        match ttl(&text.value) {
            Some(ttl) => ttls.push(ttl),
            None => problems.add(
                text.place,
                "not a lifetime",
                "such as 5m or 1h, the default first",
            ),
        }
    }
    CacheRules {
        mode: raw.mode.as_ref().map(|m| m.value).unwrap_or_default(),
        min_tokens: raw.min_tokens.as_ref().map(|t| t.value).unwrap_or_default(),
        ttls,
    }
}

fn ttl(text: &str) -> Option<Duration> {
    let scalar = Scalar {
        text: text.to_owned(),
        written: None,
        quoted: false,
    };
    value::duration(&scalar).filter(|d| !d.is_zero())
}

/// The endpoint's own rules over the model's, field by field.
fn rules(own: Option<&RawRules>, of_model: Option<&RawRules>) -> Rules {
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
    Rules {
        drop: texts(|r| &r.drop_params),
        refuse: texts(|r| &r.refuse_params),
        thinking_budget: flag(|r| &r.thinking_budget),
        legacy_max_tokens: flag(|r| &r.legacy_max_tokens),
    }
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

fn retired(raw: raw::RawRetired, problems: &mut Problems) -> Option<Retired> {
    let on = raw.on?;
    if !value::is_date(&on.value) {
        problems.add(on.place, "not a day", "such as 2026-07-23");
    }
    Some(Retired {
        on: on.value,
        successor: raw.successor.map(|s| s.value),
    })
}

/// `did you mean "x"?`, or how many there are to choose from: a catalogue is too long to list.
fn near(word: &str, known: &[&str], what: &str) -> String {
    match crate::config::problem::nearest(word, known) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if known.len() <= 8 => format!("known: {}", known.join(", ")),
        None => format!("one of the {} {what} of this configuration", known.len()),
    }
}
