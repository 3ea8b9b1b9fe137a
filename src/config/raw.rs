//! The configuration as written: every field optional and with its place. One struct and one reader a section; a reader is also
//! the list of the section's fields (`read::outline`). No defaults here: `resolve` has them.

use crate::base::{ByteCount, NanoUsd, TokenPrice, Tokens};
use crate::config::problem::Place;
use crate::config::read::{At, Fields, TOKENS_MAX, Words};
use crate::config::{
    CacheMode, CacheScope, Http2, LogFormat, LogLevel, OnDisconnect, RuntimeChoice,
};
use crate::policy::bill::{Counted, Part};
use std::time::Duration;

type F<'r, 'p, 'n> = Fields<'r, 'p, 'n>;

pub struct RawConfig {
    pub data_dir: Option<At<String>>,
    pub server: Option<RawServer>,
    pub limits: Option<RawLimits>,
    pub log: Option<RawLog>,
    pub ledger: Option<RawLedger>,
    pub timeouts: Option<RawTimeouts>,
    pub routing: Option<RawRouting>,
    pub tenants: Vec<RawTenant>,
    pub providers: Vec<RawProvider>,
    pub prices: Vec<RawPriceEntry>,
    pub models: Vec<RawModel>,
    /// Providers that models may name though nobody has configured them.
    pub optional_providers: Option<Vec<At<String>>>,
}

pub fn config(f: &mut F<'_, '_, '_>) -> RawConfig {
    // Read and followed before the files are merged (`load`); asked for here so that it is a known field.
    f.texts("include");
    RawConfig {
        data_dir: f.text("data_dir"),
        server: f.section("server", server),
        limits: f.section("limits", limits),
        log: f.section("log", log),
        ledger: f.section("ledger", ledger),
        timeouts: f.section("timeouts", timeouts),
        routing: f.section("routing", routing),
        tenants: f.list("tenants", tenant),
        providers: f.list("providers", provider),
        prices: f.list("prices", price_entry),
        models: f.list("models", model),
        optional_providers: f.texts("optional_providers"),
    }
}

pub struct RawServer {
    pub place: Place,
    pub listen: Option<Vec<At<String>>>,
    pub operator: Option<At<String>>,
    pub operator_key: Option<At<String>>,
    pub shards: Option<At<String>>,
    pub runtime: Option<At<RuntimeChoice>>,
    pub pin: Option<At<bool>>,
    pub tls: Option<RawTls>,
    pub backlog: Option<At<u64>>,
    pub drain: Option<At<Duration>>,
}

fn server(f: &mut F<'_, '_, '_>) -> RawServer {
    RawServer {
        place: f.place,
        listen: f.texts("listen"),
        operator: f.text("operator"),
        operator_key: f.secret("operator_key"),
        shards: f.text("shards"),
        runtime: f.word("runtime", RUNTIMES),
        pin: f.bool("pin"),
        tls: f.section("tls", tls),
        backlog: f.count("backlog", 1, 65_535),
        drain: f.duration("drain", Duration::ZERO, DAY),
    }
}

pub struct RawTls {
    pub certificate: Option<At<String>>,
    pub key: Option<At<String>>,
}

fn tls(f: &mut F<'_, '_, '_>) -> RawTls {
    let (certificate, key) = (f.text("certificate"), f.text("key"));
    RawTls {
        certificate: f.required("certificate", certificate),
        key: f.required("key", key),
    }
}

pub struct RawLimits {
    pub connections_max: Option<At<u64>>,
    pub exchanges_max: Option<At<u64>>,
    pub h2_streams_max: Option<At<u64>>,
    pub header_bytes_max: Option<At<ByteCount>>,
    pub header_count_max: Option<At<u64>>,
    pub body_bytes_max: Option<At<ByteCount>>,
    pub bodies_bytes_max: Option<At<ByteCount>>,
    pub header_time: Option<At<Duration>>,
    pub body_time: Option<At<Duration>>,
    pub keep_alive: Option<At<Duration>>,
    pub sse_comment: Option<At<Duration>>,
    pub client_buffer_bytes: Option<At<ByteCount>>,
    pub slow_client: Option<At<Duration>>,
    pub event_bytes_max: Option<At<ByteCount>>,
    pub answer_bytes_max: Option<At<ByteCount>>,
    pub upstream_idle_max: Option<At<u64>>,
    pub upstream_idle: Option<At<Duration>>,
    pub upstream_h2_streams: Option<At<u64>>,
    pub queue_max: Option<At<u64>>,
    pub queue_time: Option<At<Duration>>,
}

fn limits(f: &mut F<'_, '_, '_>) -> RawLimits {
    RawLimits {
        connections_max: f.count("connections_max", 1, MILLION),
        exchanges_max: f.count("exchanges_max", 1, MILLION),
        h2_streams_max: f.count("h2_streams_max", 1, 1 << 20),
        header_bytes_max: f.size("header_bytes_max", KIB, MIB),
        header_count_max: f.count("header_count_max", 10, 1_000),
        body_bytes_max: f.size("body_bytes_max", KIB, GIB),
        bodies_bytes_max: f.size("bodies_bytes_max", KIB, 1024 * GIB),
        header_time: f.duration("header_time", TENTH, HOUR),
        body_time: f.duration("body_time", TENTH, HOUR),
        keep_alive: f.duration("keep_alive", TENTH, DAY),
        sse_comment: f.duration("sse_comment", TENTH, HOUR),
        client_buffer_bytes: f.size("client_buffer_bytes", KIB, GIB),
        slow_client: f.duration("slow_client", TENTH, DAY),
        event_bytes_max: f.size("event_bytes_max", KIB, GIB),
        answer_bytes_max: f.size("answer_bytes_max", KIB, GIB),
        upstream_idle_max: f.count("upstream_idle_max", 0, MILLION),
        upstream_idle: f.duration("upstream_idle", TENTH, DAY),
        upstream_h2_streams: f.count("upstream_h2_streams", 1, 10_000),
        queue_max: f.count("queue_max", 0, MILLION),
        queue_time: f.duration("queue_time", Duration::ZERO, DAY),
    }
}

pub struct RawLog {
    pub level: Option<At<LogLevel>>,
    pub format: Option<At<LogFormat>>,
}

fn log(f: &mut F<'_, '_, '_>) -> RawLog {
    RawLog {
        level: f.word("level", LEVELS),
        format: f.word("format", FORMATS),
    }
}

pub struct RawLedger {
    pub commit_every: Option<At<Duration>>,
    pub commit_rows: Option<At<u64>>,
    pub backlog_rows_max: Option<At<u64>>,
}

fn ledger(f: &mut F<'_, '_, '_>) -> RawLedger {
    RawLedger {
        commit_every: f.duration("commit_every", Duration::from_millis(1), MINUTE),
        commit_rows: f.count("commit_rows", 1, MILLION),
        backlog_rows_max: f.count("backlog_rows_max", 1, 100 * MILLION),
    }
}

#[derive(Default)]
pub struct RawTimeouts {
    pub connect: Option<At<Duration>>,
    pub first_byte: Option<At<Duration>>,
    pub stall: Option<At<Duration>>,
    pub total: Option<At<Duration>>,
}

fn timeouts(f: &mut F<'_, '_, '_>) -> RawTimeouts {
    RawTimeouts {
        connect: f.duration("connect", Duration::from_millis(1), HOUR),
        first_byte: f.duration("first_byte", Duration::from_millis(1), DAY),
        stall: f.duration("stall", Duration::from_millis(1), DAY),
        total: f.duration("total", Duration::from_millis(1), DAY),
    }
}

pub struct RawRouting {
    pub attempts_max: Option<At<u64>>,
    pub retry_budget: Option<At<f64>>,
    pub backoff: Option<At<Duration>>,
    pub backoff_max: Option<At<Duration>>,
    pub dead_key: Option<At<Duration>>,
    pub breaker_failures: Option<At<u64>>,
    pub breaker_open: Option<At<Duration>>,
}

fn routing(f: &mut F<'_, '_, '_>) -> RawRouting {
    RawRouting {
        attempts_max: f.count("attempts_max", 1, 20),
        retry_budget: f.number("retry_budget", 0.0, 1.0),
        backoff: f.duration("backoff", Duration::from_millis(1), MINUTE),
        backoff_max: f.duration("backoff_max", Duration::from_millis(1), HOUR),
        dead_key: f.duration("dead_key", TENTH, MONTH),
        breaker_failures: f.count("breaker_failures", 1, 10_000),
        breaker_open: f.duration("breaker_open", TENTH, DAY),
    }
}

pub struct RawTenant {
    pub id: Option<At<String>>,
    pub keys: Vec<RawClientKey>,
    pub limits: Option<RawTenantLimits>,
    pub on_disconnect: Option<At<OnDisconnect>>,
}

fn tenant(f: &mut F<'_, '_, '_>) -> RawTenant {
    let id = f.text("id");
    RawTenant {
        id: f.required("id", id),
        keys: f.list("keys", client_key),
        limits: f.section("limits", tenant_limits),
        on_disconnect: f.word("on_disconnect", DISCONNECTS),
    }
}

pub struct RawClientKey {
    pub place: Place,
    pub id: Option<At<String>>,
    pub secret: Option<At<String>>,
    pub sha256: Option<At<String>>,
}

fn client_key(f: &mut F<'_, '_, '_>) -> RawClientKey {
    let id = f.text("id");
    RawClientKey {
        place: f.place,
        id: f.required("id", id),
        secret: f.secret("secret"),
        sha256: f.secret("sha256"),
    }
}

pub struct RawTenantLimits {
    pub rpm: Option<At<u64>>,
    pub tpm: Option<At<Tokens>>,
    pub concurrent: Option<At<u64>>,
    pub usd_per_day: Option<At<NanoUsd>>,
}

fn tenant_limits(f: &mut F<'_, '_, '_>) -> RawTenantLimits {
    RawTenantLimits {
        rpm: f.count("rpm", 0, TOKENS_MAX),
        tpm: f.tokens("tpm"),
        concurrent: f.count("concurrent", 0, MILLION),
        usd_per_day: f.usd("usd_per_day"),
    }
}

pub struct RawProvider {
    pub place: Place,
    pub id: Option<At<String>>,
    pub kind: Option<At<String>>,
    pub base_url: Option<At<String>>,
    pub http2: Option<At<Http2>>,
    pub ca: Option<At<String>>,
    pub headers: Option<Vec<(At<String>, At<String>)>>,
    pub pools: Vec<RawPool>,
    pub fake: Option<RawFake>,
}

fn provider(f: &mut F<'_, '_, '_>) -> RawProvider {
    let (id, kind) = (f.text("id"), f.text("kind"));
    RawProvider {
        place: f.place,
        id: f.required("id", id),
        kind: f.required("kind", kind),
        base_url: f.text("base_url"),
        http2: f.word("http2", HTTP2S),
        ca: f.text("ca"),
        headers: f.pairs("headers"),
        pools: f.list("pools", pool),
        fake: f.section("fake", fake),
    }
}

pub struct RawPool {
    pub id: Option<At<String>>,
    pub cache_scope: Option<At<String>>,
    pub keys: Vec<RawKey>,
    pub limits: Vec<RawPoolLimit>,
}

fn pool(f: &mut F<'_, '_, '_>) -> RawPool {
    let id = f.text("id");
    RawPool {
        id: f.required("id", id),
        cache_scope: f.text("cache_scope"),
        keys: f.list("keys", key),
        limits: f.list("limits", pool_limit),
    }
}

pub struct RawKey {
    pub place: Place,
    pub id: Option<At<String>>,
    pub secret: Option<At<String>>,
    /// True where `secret` is written, also where it came to nothing.
    pub has_secret: bool,
}

fn key(f: &mut F<'_, '_, '_>) -> RawKey {
    let id = f.text("id");
    let secret = f.secret("secret");
    RawKey {
        place: f.place,
        id: f.required("id", id),
        has_secret: f.is_written("secret"),
        secret,
    }
}

pub struct RawPoolLimit {
    pub models: Option<Vec<At<String>>>,
    pub rpm: Option<At<u64>>,
    pub tpm: Option<At<Tokens>>,
    pub itpm: Option<At<Tokens>>,
    pub otpm: Option<At<Tokens>>,
    pub concurrent: Option<At<u64>>,
}

fn pool_limit(f: &mut F<'_, '_, '_>) -> RawPoolLimit {
    RawPoolLimit {
        models: f.texts("models"),
        rpm: f.count("rpm", 1, TOKENS_MAX),
        tpm: f.tokens("tpm"),
        itpm: f.tokens("itpm"),
        otpm: f.tokens("otpm"),
        concurrent: f.count("concurrent", 1, MILLION),
    }
}

pub struct RawFake {
    pub place: Place,
    pub first_token: Option<At<Duration>>,
    pub between_tokens: Option<At<Duration>>,
    pub output_tokens: Option<At<u64>>,
    pub rpm: Option<At<u64>>,
    pub itpm: Option<At<Tokens>>,
    pub otpm: Option<At<Tokens>>,
}

fn fake(f: &mut F<'_, '_, '_>) -> RawFake {
    RawFake {
        place: f.place,
        first_token: f.duration("first_token", Duration::ZERO, HOUR),
        between_tokens: f.duration("between_tokens", Duration::ZERO, HOUR),
        output_tokens: f.count("output_tokens", 1, MILLION),
        rpm: f.count("rpm", 1, TOKENS_MAX),
        itpm: f.tokens("itpm"),
        otpm: f.tokens("otpm"),
    }
}

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

fn price_entry(f: &mut F<'_, '_, '_>) -> RawPriceEntry {
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

fn model(f: &mut F<'_, '_, '_>) -> RawModel {
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

const RUNTIMES: &Words<RuntimeChoice> = &[
    ("auto", RuntimeChoice::Auto),
    ("io_uring", RuntimeChoice::IoUring),
    ("epoll", RuntimeChoice::Epoll),
];
const LEVELS: &Words<LogLevel> = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
const FORMATS: &Words<LogFormat> = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const DISCONNECTS: &Words<OnDisconnect> = &[
    ("finish", OnDisconnect::Finish),
    ("cancel", OnDisconnect::Cancel),
];
const HTTP2S: &Words<Http2> = &[
    ("auto", Http2::Auto),
    ("always", Http2::Always),
    ("never", Http2::Never),
];
const CACHE_MODES: &Words<CacheMode> = &[
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

const TENTH: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MILLION: u64 = 1_000_000;
