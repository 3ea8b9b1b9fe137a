//! Models and prices as written.

use super::{F, RawTimeouts, timeouts};
use crate::base::{NanoUsd, TokenPrice, Tokens};
use crate::config::problem::Place;
use crate::config::read::{At, Words};
use crate::config::{CacheMode, CacheScope};
use crate::policy::bill::{Counted, Part};

/// An entry of the price list: for the model of this name at providers of this kind.
pub struct RawPriceEntry {
    pub kind: Option<At<String>>,
    pub model: Option<At<String>>,
    /// The first day on which it holds; without it, from ever.
    pub from: Option<At<String>>,
    pub price: RawPrice,
    pub cache: Option<RawCache>,
    pub source: Option<At<String>>,
    pub read: Option<At<String>>,
    /// What is not certain about it.
    pub note: Option<At<String>>,
}

pub(super) fn price_entry(f: &mut F<'_, '_, '_>) -> RawPriceEntry {
    let (kind, model) = (f.text("kind"), f.text("model"));
    let (source, read) = (f.text("source"), f.text("read"));
    RawPriceEntry {
        kind: f.required("kind", kind),
        model: f.required("model", model),
        from: f.text("from"),
        price: price(f),
        cache: f.section("cache", cache),
        // A price nobody can check again is not a price.
        source: f.required("source", source),
        read: f.required("read", read),
        note: f.text("note"),
    }
}

#[derive(Clone, Default)]
pub struct RawPrice {
    pub input: Option<At<TokenPrice>>,
    pub output: Option<At<TokenPrice>>,
    pub cache_read: Option<At<TokenPrice>>,
    pub cache_read_audio: Option<At<TokenPrice>>,
    pub cache_read_image: Option<At<TokenPrice>>,
    pub cache_write_5m: Option<At<TokenPrice>>,
    pub cache_write_30m: Option<At<TokenPrice>>,
    pub cache_write_1h: Option<At<TokenPrice>>,
    pub cache_write_12h: Option<At<TokenPrice>>,
    pub cache_storage_hour: Option<At<TokenPrice>>,
    pub input_audio: Option<At<TokenPrice>>,
    pub output_audio: Option<At<TokenPrice>>,
    pub input_image: Option<At<TokenPrice>>,
    pub output_image: Option<At<TokenPrice>>,
    pub input_video: Option<At<TokenPrice>>,
    pub output_video: Option<At<TokenPrice>>,
    pub audio_minute: Option<At<NanoUsd>>,
    pub output_image_each: Option<At<NanoUsd>>,
    pub video_second: Vec<RawVideoSecond>,
    pub web_search: Option<At<NanoUsd>>,
    pub web_fetch: Option<At<NanoUsd>>,
    pub long_context: Vec<RawLongContext>,
    pub tiers: Vec<RawTier>,
    pub regional_times: Option<At<f64>>,
    pub geo: Vec<RawGeo>,
}

fn price(f: &mut F<'_, '_, '_>) -> RawPrice {
    let (input, output) = (f.price("input"), f.price("output"));
    RawPrice {
        input: f.required("input", input),
        output: f.required("output", output),
        cache_read: f.price("cache_read"),
        cache_read_audio: f.price("cache_read_audio"),
        cache_read_image: f.price("cache_read_image"),
        cache_write_5m: f.price("cache_write_5m"),
        cache_write_30m: f.price("cache_write_30m"),
        cache_write_1h: f.price("cache_write_1h"),
        cache_write_12h: f.price("cache_write_12h"),
        cache_storage_hour: f.price("cache_storage_hour"),
        input_audio: f.price("input_audio"),
        output_audio: f.price("output_audio"),
        input_image: f.price("input_image"),
        output_image: f.price("output_image"),
        input_video: f.price("input_video"),
        output_video: f.price("output_video"),
        audio_minute: f.usd("audio_minute"),
        output_image_each: f.usd("output_image_each"),
        video_second: f.list("video_second", video_second),
        web_search: f.usd("web_search"),
        web_fetch: f.usd("web_fetch"),
        long_context: f.list("long_context", long_context),
        tiers: f.list("tiers", tier),
        regional_times: f.number("regional_times", 0.0, 100.0),
        geo: f.list("geo", geo),
    }
}

#[derive(Clone)]
pub struct RawVideoSecond {
    pub resolution: Option<At<String>>,
    pub usd: Option<At<NanoUsd>>,
}

fn video_second(f: &mut F<'_, '_, '_>) -> RawVideoSecond {
    let (resolution, usd) = (f.text("resolution"), f.usd("usd"));
    RawVideoSecond {
        resolution: f.required("resolution", resolution),
        usd: f.required("usd", usd),
    }
}

#[derive(Clone)]
pub struct RawGeo {
    pub name: Option<At<String>>,
    pub times: Option<At<f64>>,
}

fn geo(f: &mut F<'_, '_, '_>) -> RawGeo {
    let (name, times) = (f.text("name"), f.number("times", 0.0, 100.0));
    RawGeo {
        name: f.required("name", name),
        times: f.required("times", times),
    }
}

#[derive(Clone)]
pub struct RawLongContext {
    pub over: Option<At<Tokens>>,
    pub counts: Option<At<Counted>>,
    pub part: Option<At<Part>>,
    pub input_times: Option<At<f64>>,
    pub output_times: Option<At<f64>>,
}

fn long_context(f: &mut F<'_, '_, '_>) -> RawLongContext {
    let (over, input_times, output_times) = (
        f.tokens("over"),
        f.number("input_times", 0.0, 100.0),
        f.number("output_times", 0.0, 100.0),
    );
    RawLongContext {
        over: f.required("over", over),
        counts: f.word("counts", COUNTED),
        part: f.word("part", PARTS),
        input_times: f.required("input_times", input_times),
        output_times: f.required("output_times", output_times),
    }
}

#[derive(Clone)]
pub struct RawTier {
    pub name: Option<At<String>>,
    pub times: Option<At<f64>>,
    pub input: Option<At<TokenPrice>>,
    pub output: Option<At<TokenPrice>>,
    pub cache_read: Option<At<TokenPrice>>,
    pub cache_read_audio: Option<At<TokenPrice>>,
}

fn tier(f: &mut F<'_, '_, '_>) -> RawTier {
    let (name, times) = (f.text("name"), f.number("times", 0.0, 100.0));
    RawTier {
        name: f.required("name", name),
        times: f.required("times", times),
        input: f.price("input"),
        output: f.price("output"),
        cache_read: f.price("cache_read"),
        cache_read_audio: f.price("cache_read_audio"),
    }
}

#[derive(Clone)]
pub struct RawCache {
    pub place: Place,
    pub mode: Option<At<CacheMode>>,
    pub min_tokens: Option<At<Tokens>>,
    pub ttls: Option<Vec<At<String>>>,
    pub scope: Option<At<CacheScope>>,
    pub marks_max: Option<At<u64>>,
    pub block_tokens: Option<At<Tokens>>,
}

fn cache(f: &mut F<'_, '_, '_>) -> RawCache {
    let mode = f.word("mode", CACHE_MODES);
    RawCache {
        place: f.place,
        mode: f.required("mode", mode),
        min_tokens: f.tokens("min_tokens"),
        ttls: f.texts("ttls"),
        scope: f.word("scope", CACHE_SCOPES),
        marks_max: f.count("marks_max", 0, 1_000),
        block_tokens: f.tokens("block_tokens"),
    }
}

pub struct RawModel {
    pub id: Option<At<String>>,
    pub aliases: Option<Vec<At<String>>>,
    pub endpoints: Vec<RawEndpoint>,
    pub takes: Option<Vec<At<String>>>,
    pub gives: Option<Vec<At<String>>>,
    pub context: Option<At<Tokens>>,
    pub output_max: Option<At<Tokens>>,
    pub retired: Option<RawRetired>,
    pub timeouts: Option<RawTimeouts>,
    pub rules: Option<RawRules>,
    pub note: Option<At<String>>,
}

pub(super) fn model(f: &mut F<'_, '_, '_>) -> RawModel {
    let id = f.text("id");
    RawModel {
        id: f.required("id", id),
        aliases: f.texts("aliases"),
        endpoints: f.list("endpoints", endpoint),
        takes: f.texts("takes"),
        gives: f.texts("gives"),
        context: f.tokens("context"),
        output_max: f.tokens("output_max"),
        retired: f.section("retired", retired),
        timeouts: f.section("timeouts", timeouts),
        rules: f.section("rules", rules),
        note: f.text("note"),
    }
}

pub struct RawEndpoint {
    pub place: Place,
    pub provider: Option<At<String>>,
    pub name: Option<At<String>>,
    pub pools: Option<Vec<At<String>>>,
    pub speaks: Option<Vec<At<String>>>,
    pub regional: Option<At<bool>>,
    pub output_max: Option<At<Tokens>>,
    pub retired: Option<At<String>>,
    pub price: Option<RawPrice>,
    pub cache: Option<RawCache>,
    pub rules: Option<RawRules>,
}

fn endpoint(f: &mut F<'_, '_, '_>) -> RawEndpoint {
    let provider = f.text("provider");
    RawEndpoint {
        place: f.place,
        provider: f.required("provider", provider),
        name: f.text("name"),
        pools: f.texts("pools"),
        speaks: f.texts("speaks"),
        regional: f.bool("regional"),
        output_max: f.tokens("output_max"),
        retired: f.text("retired"),
        price: f.section("price", price),
        cache: f.section("cache", cache),
        rules: f.section("rules", rules),
    }
}

pub struct RawRetired {
    pub on: Option<At<String>>,
    pub successor: Option<At<String>>,
}

fn retired(f: &mut F<'_, '_, '_>) -> RawRetired {
    let on = f.text("on");
    RawRetired {
        on: f.required("on", on),
        successor: f.text("successor"),
    }
}

pub struct RawRules {
    pub clamp: Option<Vec<(At<String>, At<String>)>>,
    pub drop_params: Option<Vec<At<String>>>,
    pub refuse_params: Option<Vec<At<String>>>,
    pub thinking_budget: Option<At<bool>>,
    pub legacy_max_tokens: Option<At<bool>>,
}

fn rules(f: &mut F<'_, '_, '_>) -> RawRules {
    RawRules {
        clamp: f.pairs("clamp"),
        drop_params: f.texts("drop_params"),
        refuse_params: f.texts("refuse_params"),
        thinking_budget: f.bool("thinking_budget"),
        legacy_max_tokens: f.bool("legacy_max_tokens"),
    }
}

pub(super) const CACHE_MODES: &Words<CacheMode> = &[
    ("none", CacheMode::None),
    ("breakpoints", CacheMode::Breakpoints),
    ("prefix", CacheMode::Prefix),
    ("both", CacheMode::Both),
];
const CACHE_SCOPES: &Words<CacheScope> = &[
    ("key", CacheScope::Key),
    ("workspace", CacheScope::Workspace),
    ("project", CacheScope::Project),
    ("account", CacheScope::Account),
    ("organisation", CacheScope::Organisation),
    ("replica", CacheScope::Replica),
];
const COUNTED: &Words<Counted> = &[("input", Counted::Input), ("uncached", Counted::Uncached)];
const PARTS: &Words<Part> = &[("whole", Part::Whole), ("excess", Part::Excess)];
