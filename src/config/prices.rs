//! The price list, and how each provider's prompt cache works.
//!
//! An entry is for a kind of provider and its own name of a model; several with different `from` days make a history. What a region
//! costs more is in the entry and added by the catalogue, which knows where an endpoint is.

use crate::base::{TokenPrice, WallTime};
use crate::config::CacheRules;
use crate::config::problem::Problems;
use crate::config::providers;
use crate::config::raw::{self, RawCache, RawPrice};
use crate::config::read::{At, Names};
use crate::config::value;
use crate::config::yaml::Scalar;
use crate::policy::bill::{LongContext, Price, Tier, Times};
use crate::protocol::provider::ProviderKind;
use std::collections::BTreeMap;
use std::time::Duration;

/// The price list, by kind of provider and name of model.
#[derive(Default)]
pub struct Prices {
    list: BTreeMap<(ProviderKind, String), Listed>,
}

/// What the list says of one model at one kind of provider.
#[derive(Clone, Default)]
pub struct Listed {
    pub price: Price,
    /// Of all token prices where the place is a region.
    pub regional_times: Times,
    /// What holds instead from a day on, in ascending order, and what a region costs more then.
    pub later: Vec<(WallTime, Price, Times)>,
    pub cache: CacheRules,
    pub note: Option<String>,
}

impl Listed {
    /// The price with its history, where the place is a region with what that costs more.
    pub fn priced(self, regional: bool) -> Price {
        let surcharge = |times: Times| if regional { times } else { Times::ONE };
        let changed = |(from, price, times): (WallTime, Price, Times)| {
            let surcharge = surcharge(times);
            (from, Price { surcharge, ..price })
        };
        Price {
            surcharge: surcharge(self.regional_times),
            changes: self.later.into_iter().map(changed).collect(),
            ..self.price
        }
    }

    fn change(&mut self, from: WallTime, price: Price, regional_times: Times) {
        self.later.push((from, price, regional_times));
        self.later.sort_by_key(|(from, ..)| *from);
    }
}

impl Prices {
    pub fn of(raw: Vec<raw::RawPriceEntry>, problems: &mut Problems) -> Self {
        let mut taken = Names::default();
        let mut prices = Self::default();
        // Those without a day are what the others change.
        let (later, first): (Vec<_>, Vec<_>) = raw.into_iter().partition(|e| e.from.is_some());
        for entry in first.into_iter().chain(later) {
            prices.entry(entry, &mut taken, problems);
        }
        prices
    }

    fn entry(
        &mut self,
        entry: raw::RawPriceEntry,
        taken: &mut Names,
        problems: &mut Problems,
    ) -> Option<()> {
        checked(&entry, problems);
        let (price, regional_times) = price(&entry.price, problems);
        let cache = entry.cache.as_ref().map(|c| cache(c, problems));
        let kind = entry.kind.as_ref();
        let kind = kind.and_then(|k| providers::kind(k, problems));
        let (kind, model) = (kind?, entry.model?);
        let from = entry.from.as_ref();
        let name = format!("{}/{}", kind.as_str(), model.value);
        let both = At {
            value: from.map_or_else(
                || name.clone(),
                |from| format!("{name} from {}", from.value).replace(' ', "_"),
            ),
            place: model.place,
        };
        taken.claim("price of", &both, problems);
        let Some(from) = from else {
            let listed = Listed {
                price,
                regional_times,
                later: Vec::new(),
                cache: cache.unwrap_or_default(),
                note: entry.note.map(|n| n.value),
            };
            self.list.insert((kind, model.value), listed);
            return None;
        };
        let Some(day) = value::day(&from.value) else {
            problems.add(
                from.place,
                "not a day",
                "the first day it holds, such as 2026-11-23",
            );
            return None;
        };
        let Some(base) = self.list.get_mut(&(kind, model.value)) else {
            let right = "an entry without from:, for the days before";
            problems.add(from.place, format!("{name} has no price to change"), right);
            return None;
        };
        if let Some(cache) = &entry.cache {
            let right = "in the entry without from:";
            problems.add(cache.place, "cache rules do not change by the day", right);
        }
        if let Some(note) = entry.note {
            let told = format!("from {}: {}", from.value, note.value);
            let before = base.note.take().map(|n| n + "; ").unwrap_or_default();
            base.note = Some(before + &told);
        }
        base.change(day, price, regional_times);
        None
    }

    /// The entry for a provider's own name, at Bedrock also without the inference profile before it.
    pub fn find(&self, kind: ProviderKind, name: &str) -> Option<&Listed> {
        let find = |name: &str| self.list.get(&(kind, name.to_owned()));
        find(name).or_else(|| match kind {
            ProviderKind::Bedrock => find(base_of(name)),
            _ => None,
        })
    }
}

fn checked(entry: &raw::RawPriceEntry, problems: &mut Problems) {
    if let Some(read) = entry
        .read
        .as_ref()
        .filter(|d| value::day(&d.value).is_none())
    {
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
}

/// An inference profile's id, out of the ARN that it may be written as.
pub fn profile_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The foundation model's id, without the inference profile before it (AWS, "Supported Regions and models for inference profiles").
fn base_of(name: &str) -> &str {
    let profile = profile_of(name);
    match profile.split_once('.') {
        Some((prefix, base)) if PROFILES.contains(&prefix) => base,
        _ => profile,
    }
}

/// The price, and what a region multiplies it by.
pub fn price(raw: &RawPrice, problems: &mut Problems) -> (Price, Times) {
    let usd = |at: &Option<At<TokenPrice>>| at.as_ref().map(|a| a.value);
    let regional = raw.regional_times.as_ref().and_then(|t| Times::of(t.value));
    let price = Price {
        input: usd(&raw.input).unwrap_or_default(),
        output: usd(&raw.output).unwrap_or_default(),
        cache_read: usd(&raw.cache_read),
        cache_read_audio: usd(&raw.cache_read_audio),
        cache_read_image: usd(&raw.cache_read_image),
        cache_write_5m: usd(&raw.cache_write_5m),
        cache_write_30m: usd(&raw.cache_write_30m),
        cache_write_1h: usd(&raw.cache_write_1h),
        cache_write_12h: usd(&raw.cache_write_12h),
        cache_storage_hour: usd(&raw.cache_storage_hour),
        input_audio: usd(&raw.input_audio),
        output_audio: usd(&raw.output_audio),
        input_image: usd(&raw.input_image),
        output_image: usd(&raw.output_image),
        input_video: usd(&raw.input_video),
        output_video: usd(&raw.output_video),
        audio_minute: raw.audio_minute.as_ref().map(|a| a.value),
        output_image_each: raw.output_image_each.as_ref().map(|a| a.value),
        video_second: raw.video_second.iter().filter_map(video_second).collect(),
        web_search: raw.web_search.as_ref().map(|a| a.value),
        web_fetch: raw.web_fetch.as_ref().map(|a| a.value),
        long_context: steps(&raw.long_context, problems),
        tiers: raw.tiers.iter().filter_map(tier).collect(),
        surcharge: Times::ONE,
        geo: raw.geo.iter().filter_map(geo).collect(),
        changes: Vec::new(),
    };
    (price, regional.unwrap_or_default())
}

fn video_second(raw: &raw::RawVideoSecond) -> Option<(String, crate::base::NanoUsd)> {
    Some((
        raw.resolution.as_ref()?.value.clone(),
        raw.usd.as_ref()?.value,
    ))
}

fn geo(raw: &raw::RawGeo) -> Option<(String, Times)> {
    let times = Times::of(raw.times.as_ref()?.value)?;
    Some((raw.name.as_ref()?.value.clone(), times))
}

/// The steps in ascending order; two at one place are a slip.
fn steps(raw: &[raw::RawLongContext], problems: &mut Problems) -> Vec<LongContext> {
    let mut steps: Vec<LongContext> = Vec::with_capacity(raw.len());
    for one in raw {
        let Some(step) = long_context(one) else {
            continue;
        };
        if let (Some(over), true) = (&one.over, steps.iter().any(|s| s.over == step.over)) {
            let what = format!("two steps over {} tokens", step.over.0);
            problems.add(over.place, what, "each length once");
        }
        steps.push(step);
    }
    steps.sort_by_key(|s| s.over);
    steps
}

fn long_context(raw: &raw::RawLongContext) -> Option<LongContext> {
    Some(LongContext {
        over: raw.over.as_ref()?.value,
        counts: raw.counts.as_ref().map(|c| c.value).unwrap_or_default(),
        part: raw.part.as_ref().map(|p| p.value).unwrap_or_default(),
        input_times: Times::of(raw.input_times.as_ref()?.value)?,
        output_times: Times::of(raw.output_times.as_ref()?.value)?,
    })
}

fn tier(raw: &raw::RawTier) -> Option<Tier> {
    let usd = |at: &Option<At<TokenPrice>>| at.as_ref().map(|a| a.value);
    Some(Tier {
        name: raw.name.as_ref()?.value.clone(),
        times: Times::of(raw.times.as_ref()?.value)?,
        input: usd(&raw.input),
        output: usd(&raw.output),
        cache_read: usd(&raw.cache_read),
        cache_read_audio: usd(&raw.cache_read_audio),
    })
}

pub fn cache(raw: &RawCache, problems: &mut Problems) -> CacheRules {
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
        scope: raw.scope.as_ref().map(|s| s.value),
        marks_max: raw.marks_max.as_ref().map(|m| m.value),
        block_tokens: raw.block_tokens.as_ref().map(|b| b.value),
        // The catalogue finds them, which knows whose cache it is.
        rules: None,
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

/// What stands before a foundation model's id in the id of a system-defined inference profile.
const PROFILES: [&str; 8] = ["global", "us", "eu", "jp", "apac", "au", "ca", "us-gov"];
