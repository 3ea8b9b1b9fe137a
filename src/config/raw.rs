//! The configuration as written: every field optional and with its place. One struct and one reader a section; a reader is also
//! the list of the section's fields (`read::outline`). No defaults here: `resolve` has them.

use crate::base::{ByteCount, NanoUsd, Tokens};
use crate::canon::controls::{CacheMode as CacheMarks, PRIORITIES, Priority};
use crate::config::problem::Place;
use crate::config::read::{At, Fields, TOKENS_MAX, Words};
use crate::config::{Http2, LogFormat, LogLevel, OnDisconnect, RuntimeChoice};
use crate::policy::choose::Strategy;
use std::time::Duration;

mod models;
mod rules;
pub use models::*;
pub use rules::*;

type F<'r, 'p, 'n> = Fields<'r, 'p, 'n>;

pub struct RawConfig {
    pub data_dir: Option<At<String>>,
    pub server: Option<RawServer>,
    pub limits: Option<RawLimits>,
    pub log: Option<RawLog>,
    pub ledger: Option<RawLedger>,
    pub spool: Option<RawSpool>,
    pub redis: Option<RawRedis>,
    pub timeouts: Option<RawTimeouts>,
    pub routing: Option<RawRouting>,
    pub video: Option<RawVideo>,
    pub tenants: Vec<RawTenant>,
    pub providers: Vec<RawProvider>,
    pub prices: Vec<RawPriceEntry>,
    pub limit_rules: Vec<RawLimitRule>,
    pub cache_rules: Vec<RawCacheRule>,
    pub seal_rules: Vec<RawSealRule>,
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
        spool: f.section("spool", spool),
        redis: f.section("redis", redis),
        timeouts: f.section("timeouts", timeouts),
        routing: f.section("routing", routing),
        video: f.section("video", video),
        tenants: f.list("tenants", tenant),
        providers: f.list("providers", provider),
        prices: f.list("prices", price_entry),
        limit_rules: f.list("limit_rules", limit_rule),
        cache_rules: f.list("cache_rules", cache_rule),
        seal_rules: f.list("seal_rules", seal_rule),
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
    pub issued_max: Option<At<u64>>,
    pub prefixes_max: Option<At<u64>>,
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
        issued_max: f.count("issued_max", 0, 10 * MILLION),
        prefixes_max: f.count("prefixes_max", 1, 100 * MILLION),
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
    pub rows_kept_days: Option<At<u64>>,
    pub minutes_kept_days: Option<At<u64>>,
    pub hours_kept_days: Option<At<u64>>,
}

fn ledger(f: &mut F<'_, '_, '_>) -> RawLedger {
    RawLedger {
        commit_every: f.duration("commit_every", Duration::from_millis(1), MINUTE),
        commit_rows: f.count("commit_rows", 1, MILLION),
        backlog_rows_max: f.count("backlog_rows_max", 1, 100 * MILLION),
        // A week: what is recovered after a crash must be known for a repetition.
        rows_kept_days: f.count("rows_kept_days", 7, 36_500),
        minutes_kept_days: f.count("minutes_kept_days", 1, 36_500),
        hours_kept_days: f.count("hours_kept_days", 1, 36_500),
    }
}

pub struct RawSpool {
    pub enabled: Option<At<bool>>,
    pub bytes_max: Option<At<ByteCount>>,
    pub segment_bytes: Option<At<ByteCount>>,
    pub sync_every: Option<At<Duration>>,
    pub disk_free_min: Option<At<ByteCount>>,
    pub abandoned_max: Option<At<u64>>,
}

fn spool(f: &mut F<'_, '_, '_>) -> RawSpool {
    RawSpool {
        enabled: f.bool("enabled"),
        bytes_max: f.size("bytes_max", 64 << 20, 64 << 40),
        segment_bytes: f.size("segment_bytes", 1 << 20, 1 << 30),
        sync_every: f.duration("sync_every", Duration::from_millis(1), MINUTE),
        disk_free_min: f.size("disk_free_min", 0, 64 << 40),
        abandoned_max: f.count("abandoned_max", 0, MILLION),
    }
}

pub struct RawRedis {
    pub place: Place,
    pub url: Option<At<String>>,
    pub password: Option<At<String>>,
    pub namespace: Option<At<String>>,
    pub timeout: Option<At<Duration>>,
    pub instances_max: Option<At<u64>>,
}

fn redis(f: &mut F<'_, '_, '_>) -> RawRedis {
    RawRedis {
        place: f.place,
        url: f.secret("url"),
        password: f.secret("password"),
        namespace: f.text("namespace"),
        timeout: f.duration(
            "timeout",
            Duration::from_millis(10),
            Duration::from_millis(500),
        ),
        instances_max: f.count("instances_max", 1, 1_000),
    }
}

pub struct RawVideo {
    pub poll: Option<At<Duration>>,
    pub wait: Option<At<Duration>>,
}

fn video(f: &mut F<'_, '_, '_>) -> RawVideo {
    RawVideo {
        poll: f.duration("poll", TENTH, HOUR),
        wait: f.duration("wait", Duration::from_secs(1), DAY),
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
    pub hedge_budget: Option<At<f64>>,
    pub backoff: Option<At<Duration>>,
    pub backoff_max: Option<At<Duration>>,
    pub dead_key: Option<At<Duration>>,
    pub spent_key: Option<At<Duration>>,
    pub breaker_failures: Option<At<u64>>,
    pub breaker_open: Option<At<Duration>>,
    pub strategy: Option<At<Strategy>>,
    pub value_of_second: Option<At<NanoUsd>>,
    pub value_of_second_batch: Option<At<NanoUsd>>,
    pub headroom_weight: Option<At<f64>>,
    pub alike: Option<At<f64>>,
    pub crowding: Option<At<f64>>,
    pub strong_affinity: Option<At<NanoUsd>>,
    pub weak_affinity: Option<At<NanoUsd>>,
    pub decisions_kept: Option<At<u64>>,
}

fn routing(f: &mut F<'_, '_, '_>) -> RawRouting {
    RawRouting {
        attempts_max: f.count("attempts_max", 1, 20),
        retry_budget: f.number("retry_budget", 0.0, 1.0),
        hedge_budget: f.number("hedge_budget", 0.0, 1.0),
        backoff: f.duration("backoff", Duration::from_millis(1), MINUTE),
        backoff_max: f.duration("backoff_max", Duration::from_millis(1), HOUR),
        dead_key: f.duration("dead_key", TENTH, MONTH),
        spent_key: f.duration("spent_key", TENTH, MONTH),
        breaker_failures: f.count("breaker_failures", 1, 10_000),
        breaker_open: f.duration("breaker_open", TENTH, DAY),
        strategy: f.word("strategy", STRATEGIES),
        value_of_second: f.usd("value_of_second"),
        value_of_second_batch: f.usd("value_of_second_batch"),
        headroom_weight: f.number("headroom_weight", 0.0, 100.0),
        alike: f.number("alike", 0.0, 1.0),
        crowding: f.number("crowding", 0.0, 100.0),
        strong_affinity: f.usd("strong_affinity"),
        weak_affinity: f.usd("weak_affinity"),
        decisions_kept: f.count("decisions_kept", 0, 100_000),
    }
}

pub struct RawTenant {
    pub id: Option<At<String>>,
    pub keys: Vec<RawClientKey>,
    pub limits: Option<RawTenantLimits>,
    pub on_disconnect: Option<At<OnDisconnect>>,
    pub keep_prompts: Option<At<bool>>,
    pub cache_marks: Option<At<CacheMarks>>,
    pub keep_warm: Option<RawKeepWarm>,
    pub strategy: Option<At<Strategy>>,
}

fn tenant(f: &mut F<'_, '_, '_>) -> RawTenant {
    let id = f.text("id");
    RawTenant {
        id: f.required("id", id),
        keys: f.list("keys", client_key),
        limits: f.section("limits", tenant_limits),
        on_disconnect: f.word("on_disconnect", DISCONNECTS),
        keep_prompts: f.bool("keep_prompts"),
        cache_marks: f.word("cache_marks", crate::canon::controls::CACHE_MODES),
        keep_warm: f.section("keep_warm", keep_warm),
        strategy: f.word("strategy", STRATEGIES),
    }
}

pub struct RawKeepWarm {
    pub pings: Option<At<u64>>,
    pub usd_max: Option<At<NanoUsd>>,
    pub bytes_max: Option<At<ByteCount>>,
}

fn keep_warm(f: &mut F<'_, '_, '_>) -> RawKeepWarm {
    RawKeepWarm {
        pings: f.count("pings", 0, 100),
        usd_max: f.usd("usd_max"),
        bytes_max: f.size("bytes_max", KIB, GIB),
    }
}

pub struct RawClientKey {
    pub place: Place,
    pub id: Option<At<String>>,
    pub secret: Option<At<String>>,
    pub sha256: Option<At<String>>,
    pub models: Option<Vec<At<String>>>,
    pub providers: Option<Vec<At<String>>>,
    pub dialects: Option<Vec<At<String>>>,
    pub limits: Option<RawTenantLimits>,
    pub priority: Option<At<Priority>>,
    pub expires: Option<At<String>>,
}

fn client_key(f: &mut F<'_, '_, '_>) -> RawClientKey {
    let id = f.text("id");
    RawClientKey {
        place: f.place,
        id: f.required("id", id),
        secret: f.secret("secret"),
        sha256: f.secret("sha256"),
        models: f.texts("models"),
        providers: f.texts("providers"),
        dialects: f.texts("dialects"),
        limits: f.section("limits", tenant_limits),
        priority: f.word("priority", PRIORITIES),
        expires: f.text("expires"),
    }
}

pub struct RawTenantLimits {
    pub rpm: Option<At<u64>>,
    pub tpm: Option<At<Tokens>>,
    pub concurrent: Option<At<u64>>,
    pub usd_per_day: Option<At<NanoUsd>>,
    pub usd_per_month: Option<At<NanoUsd>>,
}

fn tenant_limits(f: &mut F<'_, '_, '_>) -> RawTenantLimits {
    RawTenantLimits {
        rpm: f.count("rpm", 0, TOKENS_MAX),
        tpm: f.tokens("tpm"),
        concurrent: f.count("concurrent", 0, MILLION),
        usd_per_day: f.usd("usd_per_day"),
        usd_per_month: f.usd("usd_per_month"),
    }
}

pub struct RawProvider {
    pub place: Place,
    pub id: Option<At<String>>,
    pub kind: Option<At<String>>,
    pub base_url: Option<At<String>>,
    pub unversioned: Option<At<bool>>,
    pub region: Option<At<String>>,
    pub project: Option<At<String>>,
    /// Bedrock's: true for the hosts that speak OpenAI's and Anthropic's APIs.
    pub mantle: Option<At<bool>>,
    pub http2: Option<At<Http2>>,
    pub ca: Option<At<String>>,
    pub headers: Option<Vec<(At<String>, At<String>)>>,
    pub query: Option<Vec<(At<String>, At<String>)>>,
    pub cache_hints: Option<At<bool>>,
    pub pools: Vec<RawPool>,
    pub health: Option<RawHealth>,
    pub fake: Option<RawFake>,
}

fn provider(f: &mut F<'_, '_, '_>) -> RawProvider {
    let (id, kind) = (f.text("id"), f.text("kind"));
    RawProvider {
        place: f.place,
        id: f.required("id", id),
        kind: f.required("kind", kind),
        base_url: f.text("base_url"),
        unversioned: f.bool("unversioned"),
        region: f.text("region"),
        project: f.text("project"),
        mantle: f.word("api", BEDROCK_APIS),
        http2: f.word("http2", HTTP2S),
        ca: f.text("ca"),
        headers: f.pairs("headers"),
        query: f.pairs("query"),
        cache_hints: f.bool("cache_hints"),
        pools: f.list("pools", pool),
        health: f.section("health", health),
        fake: f.section("fake", fake),
    }
}

pub struct RawHealth {
    pub place: Place,
    pub every: Option<At<Duration>>,
    pub timeout: Option<At<Duration>>,
    pub failures: Option<At<u64>>,
    pub path: Option<At<String>>,
}

fn health(f: &mut F<'_, '_, '_>) -> RawHealth {
    RawHealth {
        place: f.place,
        every: f.duration("every", Duration::ZERO, HOUR),
        timeout: f.duration("timeout", TENTH, MINUTE),
        failures: f.count("failures", 1, 1_000),
        path: f.text("path"),
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
    pub aws: Option<RawAws>,
    pub google: Option<RawGoogle>,
}

fn key(f: &mut F<'_, '_, '_>) -> RawKey {
    let id = f.text("id");
    let secret = f.secret("secret");
    RawKey {
        place: f.place,
        id: f.required("id", id),
        has_secret: f.is_written("secret"),
        secret,
        aws: f.section("aws", aws),
        google: f.section("google", google),
    }
}

pub struct RawAws {
    pub place: Place,
    pub profile: Option<At<String>>,
    pub credentials_file: Option<At<String>>,
    pub config_file: Option<At<String>>,
    pub access_key_id: Option<At<String>>,
    pub secret_access_key: Option<At<String>>,
    pub session_token: Option<At<String>>,
    pub role_arn: Option<At<String>>,
    pub external_id: Option<At<String>>,
    pub session_name: Option<At<String>>,
    pub region: Option<At<String>>,
    pub token_url: Option<At<String>>,
    pub metadata_url: Option<At<String>>,
}

fn aws(f: &mut F<'_, '_, '_>) -> RawAws {
    RawAws {
        place: f.place,
        profile: f.text("profile"),
        credentials_file: f.text("credentials_file"),
        config_file: f.text("config_file"),
        access_key_id: f.secret("access_key_id"),
        secret_access_key: f.secret("secret_access_key"),
        session_token: f.secret("session_token"),
        role_arn: f.text("role_arn"),
        external_id: f.secret("external_id"),
        session_name: f.text("session_name"),
        region: f.text("region"),
        token_url: f.text("token_url"),
        metadata_url: f.text("metadata_url"),
    }
}

pub struct RawGoogle {
    pub place: Place,
    pub service_account: Option<At<String>>,
    pub metadata: Option<At<bool>>,
    pub token_url: Option<At<String>>,
    pub metadata_url: Option<At<String>>,
}

fn google(f: &mut F<'_, '_, '_>) -> RawGoogle {
    RawGoogle {
        place: f.place,
        // It may be the key's own JSON.
        service_account: f.secret("service_account"),
        metadata: f.bool("metadata"),
        token_url: f.text("token_url"),
        metadata_url: f.text("metadata_url"),
    }
}

pub struct RawPoolLimit {
    pub models: Option<Vec<At<String>>>,
    pub rpm: Option<At<u64>>,
    pub tpm: Option<At<Tokens>>,
    pub itpm: Option<At<Tokens>>,
    pub otpm: Option<At<Tokens>>,
    pub concurrent: Option<At<u64>>,
    pub rpd: Option<At<u64>>,
    pub tpd: Option<At<Tokens>>,
    pub burst: Option<At<Duration>>,
}

fn pool_limit(f: &mut F<'_, '_, '_>) -> RawPoolLimit {
    RawPoolLimit {
        models: f.texts("models"),
        rpm: f.count("rpm", 1, TOKENS_MAX),
        tpm: f.tokens("tpm"),
        itpm: f.tokens("itpm"),
        otpm: f.tokens("otpm"),
        concurrent: f.count("concurrent", 1, MILLION),
        rpd: f.count("rpd", 1, TOKENS_MAX),
        tpd: f.tokens("tpd"),
        burst: f.duration("burst", TENTH, HOUR),
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
const STRATEGIES: &Words<Strategy> = &[
    ("least_cost", Strategy::LeastCost),
    ("session_affinity", Strategy::SessionAffinity),
    ("round_robin", Strategy::RoundRobin),
    ("least_used", Strategy::LeastUsed),
    ("thresholds", Strategy::Thresholds),
];
const BEDROCK_APIS: &Words<bool> = &[("runtime", false), ("mantle", true)];
const HTTP2S: &Words<Http2> = &[
    ("auto", Http2::Auto),
    ("always", Http2::Always),
    ("never", Http2::Never),
];
const TENTH: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MILLION: u64 = 1_000_000;
