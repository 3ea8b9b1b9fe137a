//! How providers count against their limits, how their prompt caches behave, and what only they can read, as written.

use super::F;
use crate::canon::Maker;
use crate::config::CacheMode;
use crate::config::read::{At, Words};
use crate::config::rules::Reads;
use crate::policy::capacity::DayEnd;
use crate::policy::capacity::rule::{Counted, Failed, Held};
use crate::policy::seals::{Reading, Within};
use std::time::Duration;

pub struct RawLimitRule {
    pub kind: Option<At<String>>,
    pub models: Option<Vec<At<String>>>,
    pub cache_reads: Option<At<Reads>>,
    pub output: Option<At<Held>>,
    pub output_times: Option<At<u64>>,
    pub settles: Option<At<Counted>>,
    pub failed_calls: Option<At<Failed>>,
    pub requests_burst: Option<At<Duration>>,
    pub tokens_burst: Option<At<Duration>>,
    pub guard: Option<At<f64>>,
    pub day: Option<At<DayEnd>>,
    pub rounding: Option<At<u64>>,
    pub tokens_header: Option<At<bool>>,
    pub ramp_from: Option<At<f64>>,
    pub ramp: Option<At<Duration>>,
    pub source: Option<At<String>>,
    pub read: Option<At<String>>,
}

pub(super) fn limit_rule(f: &mut F<'_, '_, '_>) -> RawLimitRule {
    let kind = f.text("kind");
    RawLimitRule {
        kind: f.required("kind", kind),
        models: f.texts("models"),
        cache_reads: f.word("cache_reads", READS),
        output: f.word("output", HELD),
        output_times: f.count("output_times", 0, 100),
        settles: f.word("settles", COUNTED),
        failed_calls: f.word("failed_calls", FAILED),
        requests_burst: f.duration("requests_burst", super::TENTH, super::HOUR),
        tokens_burst: f.duration("tokens_burst", super::TENTH, super::HOUR),
        guard: f.number("guard", 0.0, 0.5),
        day: f.word("day", DAYS),
        rounding: f.count("rounding", 1, super::MILLION),
        tokens_header: f.bool("tokens_header"),
        ramp_from: f.number("ramp_from", 0.01, 1.0),
        ramp: f.duration("ramp", Duration::ZERO, super::HOUR),
        source: f.text("source"),
        read: f.text("read"),
    }
}

pub struct RawCacheRule {
    pub kind: Option<At<String>>,
    pub mode: Option<At<CacheMode>>,
    pub models: Option<Vec<At<String>>>,
    pub look_back: Option<At<u64>>,
    pub implicit: Option<At<bool>>,
    pub blocks: Option<At<u64>>,
    pub refreshes: Option<At<bool>>,
    pub long_protects: Option<At<bool>>,
    pub ttl: Option<At<Duration>>,
    pub source: Option<At<String>>,
    pub read: Option<At<String>>,
}

pub(super) fn cache_rule(f: &mut F<'_, '_, '_>) -> RawCacheRule {
    let (kind, mode) = (f.text("kind"), f.word("mode", super::models::CACHE_MODES));
    RawCacheRule {
        kind: f.required("kind", kind),
        mode: f.required("mode", mode),
        models: f.texts("models"),
        look_back: f.count("look_back", 1, 1_000),
        implicit: f.bool("implicit"),
        blocks: f.count("blocks", 0, super::MILLION),
        refreshes: f.bool("refreshes"),
        long_protects: f.bool("long_protects"),
        ttl: f.duration("ttl", Duration::from_secs(1), super::MONTH),
        source: f.text("source"),
        read: f.text("read"),
    }
}

pub struct RawSealRule {
    pub kind: Option<At<String>>,
    pub models: Option<Vec<At<String>>>,
    pub by: Option<At<Maker>>,
    pub within: Option<At<Within>>,
    pub beyond: Option<At<Reading>>,
    pub other_model: Option<At<Reading>>,
    pub foreign: Option<At<Reading>>,
    pub source: Option<At<String>>,
    pub read: Option<At<String>>,
}

pub(super) fn seal_rule(f: &mut F<'_, '_, '_>) -> RawSealRule {
    let kind = f.text("kind");
    RawSealRule {
        kind: f.required("kind", kind),
        models: f.texts("models"),
        by: f.word("by", MAKERS),
        within: f.word("within", WITHIN),
        beyond: f.word("beyond", READINGS),
        other_model: f.word("other_model", READINGS),
        foreign: f.word("foreign", READINGS),
        source: f.text("source"),
        read: f.text("read"),
    }
}

const MAKERS: &Words<Maker> = &[
    ("anthropic", Maker::Anthropic),
    ("openai", Maker::OpenAi),
    ("xai", Maker::Xai),
    ("google", Maker::Google),
    ("amazon", Maker::Amazon),
    ("openrouter", Maker::OpenRouter),
];
const WITHIN: &Words<Within> = &[
    ("anywhere", Within::Anywhere),
    ("provider", Within::Provider),
    ("account", Within::Account),
];
const READINGS: &Words<Reading> = &[
    ("read", Reading::Read),
    ("ignored", Reading::Ignored),
    ("refused", Reading::Refused),
];
const READS: &Words<Reads> = &[
    ("free", Reads::Free),
    ("tokens", Reads::Tokens),
    ("counted", Reads::Counted),
    ("held", Reads::Held),
];
const HELD: &Words<Held> = &[
    ("produced", Held::Nothing),
    ("expected", Held::Expected),
    ("max", Held::Most),
    ("larger", Held::Larger),
];
const COUNTED: &Words<Counted> = &[("used", Counted::Used), ("held", Counted::AsHeld)];
const FAILED: &Words<Failed> = &[("request", Failed::Request), ("held", Failed::AsHeld)];
const DAYS: &Words<DayEnd> = &[
    ("rolling", DayEnd::Rolling),
    ("utc", DayEnd::Utc),
    ("pacific", DayEnd::Pacific),
];
