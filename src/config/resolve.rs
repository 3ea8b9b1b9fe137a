//! As written → as used: defaults, units, bounds across fields. The only home of defaults.
//!
//! Sections that stand for themselves are here, providers in `providers`, models and prices in `catalogue`.

use crate::base::{ByteCount, ClientKeyId, NanoUsd, TenantId};
use crate::canon::DialectName;
use crate::canon::controls::{CacheMode as CacheMarks, Priority};
use crate::config::caching::Caching;
use crate::config::catalogue;
use crate::config::problem::{Place, Problems, suggestion};
use crate::config::providers;
use crate::config::raw::{self, RawConfig};
use crate::config::read::{At, Names};
use crate::config::rules::Rules;
use crate::config::seals::Sealing;
use crate::config::secret::{self, Outside};
use crate::config::value;
use crate::config::{
    ClientKey, Config, Endpoint, KeepWarm, Ledger, Limits, Log, LogFormat, LogLevel, OnDisconnect,
    Redis, Rights, Routing, RuntimeChoice, Server, Spool, Tenant, TenantLimits, Timeouts, Tls,
    Video,
};
use crate::policy::choose::Strategy;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What the resolvers share.
pub struct Resolving<'a> {
    pub problems: &'a mut Problems,
    pub notes: &'a mut Vec<String>,
    pub outside: Outside<'a>,
    /// Cores of the machine.
    pub cores: usize,
}

/// The configuration that `raw` means. Where problems were added it is not to be used.
pub fn resolve(raw: RawConfig, r: &mut Resolving<'_>) -> Config {
    let timeouts = timeouts(raw.timeouts, DEFAULT_TIMEOUTS);
    let (tenants, client_keys) = tenants(raw.tenants, r);
    let rules = Rules::of(raw.limit_rules, r.problems);
    let providers = providers::all(raw.providers, &rules, r);
    let optional = raw.optional_providers.unwrap_or_default();
    let caching = Caching::of(raw.cache_rules, r.problems);
    let sealing = Sealing::of(raw.seal_rules, r.problems);
    let listed = (raw.prices, caching, sealing);
    let catalogue = catalogue::resolve(raw.models, listed, optional, &providers, timeouts, r);
    let place = |e: &Endpoint| {
        let provider = &providers.providers[usize::from(e.provider.0)].name;
        format!("{provider}/{}", e.name).into()
    };
    let endpoint_names = catalogue.endpoints.iter().map(place).collect();
    Config {
        generation: 0,
        server: server(raw.server, r),
        data_dir: PathBuf::from(
            raw.data_dir
                .map_or_else(|| DATA_DIR.to_owned(), |d| d.value),
        ),
        limits: limits(raw.limits, r),
        log: log(raw.log),
        ledger: ledger(raw.ledger),
        spool: spool(raw.spool),
        redis: raw.redis.and_then(|raw| redis(raw, r)),
        tenants,
        client_keys,
        providers: providers.providers,
        origins: providers.origins,
        pools: providers.pools,
        keys: providers.keys,
        models: catalogue.models,
        endpoint_names,
        endpoints: catalogue.endpoints,
        model_names: catalogue.names,
        routing: routing(raw.routing, r),
        video: video(raw.video),
        fakes: providers.fakes,
    }
}

/// A value or its default.
pub fn or<T>(at: Option<At<T>>, default: T) -> T {
    at.map_or(default, |a| a.value)
}

/// The position a new row of a table will have; ids are 16 bits wide.
pub fn next_id(len: usize, place: Place, problems: &mut Problems) -> u16 {
    u16::try_from(len).unwrap_or_else(|_| {
        problems.add(
            place,
            "over 65,536 of one kind",
            "fewer; ids are 16 bits wide",
        );
        u16::MAX
    })
}

fn server(raw: Option<raw::RawServer>, r: &mut Resolving<'_>) -> Server {
    // An empty section reads as one with every field left out.
    let Some(raw) = raw else {
        return Server {
            listen: vec![LISTEN],
            operator: OPERATOR,
            operator_key: None,
            shards: shards_auto(r.cores),
            runtime: RuntimeChoice::Auto,
            pin: shards_auto(r.cores) as usize <= r.cores,
            tls: None,
            backlog: BACKLOG,
            drain: DRAIN,
        };
    };
    let listen = listen(raw.listen.as_deref(), raw.place, r.problems);
    let shards = shards(raw.shards.as_ref(), r);
    let pin = pin(raw.pin.as_ref(), shards, r);
    let operator_key = raw
        .operator_key
        .as_ref()
        .and_then(|k| secret::find(k, r.outside, r.problems));
    let operator = raw.operator.as_ref();
    let address = operator
        .and_then(|o| address(o, r.problems))
        .unwrap_or(OPERATOR);
    let operator_place = operator.map_or(raw.place, |o| o.place);
    guard_operator(
        address,
        operator_place,
        operator_key.is_some(),
        &listen,
        r.problems,
    );
    Server {
        listen,
        operator: address,
        operator_key,
        shards,
        runtime: or(raw.runtime, RuntimeChoice::Auto),
        pin,
        tls: raw.tls.and_then(|t| tls(&t, r)),
        backlog: or(raw.backlog.map(|b| b.map(|n| n as u32)), BACKLOG),
        drain: or(raw.drain, DRAIN),
    }
}

fn tls(raw: &raw::RawTls, r: &mut Resolving<'_>) -> Option<Tls> {
    let (certificate, key) = (raw.certificate.as_ref()?, raw.key.as_ref()?);
    Some(Tls {
        certificate: pem(certificate, r),
        key: pem(key, r),
    })
}

/// The path of a PEM file, which is looked into so that `check` finds what would keep the node from starting.
pub fn pem(path: &At<String>, r: &mut Resolving<'_>) -> PathBuf {
    let found = PathBuf::from(&path.value);
    match (r.outside.read)(&found) {
        Ok(text) if text.contains("-----BEGIN ") => {}
        Ok(_) => {
            let what = format!("{} is not PEM", found.display());
            r.problems
                .add(path.place, what, "a file with a line `-----BEGIN …-----`");
        }
        Err(error) => {
            let what = format!("cannot read {}: {error}", found.display());
            r.problems
                .add(path.place, what, "a file this user may read");
        }
    }
    found
}

/// The operator port can reload and drain: without a key it is for this machine only.
fn guard_operator(
    address: SocketAddr,
    place: Place,
    keyed: bool,
    listen: &[SocketAddr],
    problems: &mut Problems,
) {
    if !keyed && !address.ip().is_loopback() {
        let what = format!("server.operator is {address} without server.operator_key");
        problems.add(place, what, "an address on loopback, or a key");
    }
    if address.port() != 0 && listen.contains(&address) {
        let what = format!("server.operator is {address}, where clients are served");
        problems.add(place, what, "a port of its own");
    }
}

fn listen(raw: Option<&[At<String>]>, place: Place, problems: &mut Problems) -> Vec<SocketAddr> {
    let Some(raw) = raw else {
        return vec![LISTEN];
    };
    if raw.is_empty() {
        problems.add(place, "server.listen is empty", "at least one address");
    }
    let mut found: Vec<SocketAddr> = Vec::new();
    for text in raw {
        let Some(one) = address(text, problems) else {
            continue;
        };
        if one.port() != 0 && found.contains(&one) {
            problems.add(
                text.place,
                format!("{one} is there twice"),
                "each address once",
            );
        }
        found.push(one);
    }
    found
}

fn address(text: &At<String>, problems: &mut Problems) -> Option<SocketAddr> {
    let parsed = text.value.parse().ok();
    if parsed.is_none() {
        let right = "an IP address and a port, such as 127.0.0.1:8080 or [::]:8080";
        problems.add(text.place, "not an address to listen at", right);
    }
    parsed
}

/// One a core less the I/O core, at least one.
fn shards_auto(cores: usize) -> u16 {
    u16::try_from(cores.saturating_sub(1).max(1)).map_or(SHARDS_MAX, |n| n.min(SHARDS_MAX))
}

fn shards(raw: Option<&At<String>>, r: &mut Resolving<'_>) -> u16 {
    let Some(raw) = raw.filter(|s| s.value != "auto") else {
        return shards_auto(r.cores);
    };
    match raw.value.parse::<u16>() {
        Ok(n) if (1..=SHARDS_MAX).contains(&n) => n,
        _ => {
            let right = format!("auto, or a whole number from 1 to {SHARDS_MAX}");
            r.problems
                .add(raw.place, "server.shards is not a number of shards", right);
            1
        }
    }
}

fn pin(raw: Option<&At<bool>>, shards: u16, r: &mut Resolving<'_>) -> bool {
    let fits = usize::from(shards) <= r.cores;
    if raw.is_some_and(|p| p.value) && !fits {
        let cores = r.cores;
        r.notes.push(format!(
            "{shards} shards are not pinned: there are {cores} cores"
        ));
    }
    fits && raw.is_none_or(|p| p.value)
}

fn limits(raw: Option<raw::RawLimits>, r: &mut Resolving<'_>) -> Limits {
    let d = DEFAULT_LIMITS;
    let Some(raw) = raw else {
        return d;
    };
    let count = |at: Option<At<u64>>, default: usize| at.map_or(default, |a| a.value as usize);
    let size =
        |at: Option<At<ByteCount>>, default: usize| at.map_or(default, |a| a.value.0 as usize);
    let body_place = raw
        .body_bytes_max
        .as_ref()
        .or(raw.bodies_bytes_max.as_ref())
        .map(|a| a.place);
    let limits = Limits {
        connections_max: count(raw.connections_max, d.connections_max),
        exchanges_max: count(raw.exchanges_max, d.exchanges_max),
        h2_streams_max: count(raw.h2_streams_max, d.h2_streams_max as usize) as u32,
        header_bytes_max: size(raw.header_bytes_max, d.header_bytes_max),
        header_count_max: count(raw.header_count_max, d.header_count_max),
        body_bytes_max: or(raw.body_bytes_max, d.body_bytes_max),
        bodies_bytes_max: or(raw.bodies_bytes_max, d.bodies_bytes_max),
        header_time: or(raw.header_time, d.header_time),
        body_time: or(raw.body_time, d.body_time),
        keep_alive: or(raw.keep_alive, d.keep_alive),
        sse_comment: or(raw.sse_comment, d.sse_comment),
        client_buffer_bytes: size(raw.client_buffer_bytes, d.client_buffer_bytes),
        slow_client: or(raw.slow_client, d.slow_client),
        event_bytes_max: size(raw.event_bytes_max, d.event_bytes_max),
        answer_bytes_max: size(raw.answer_bytes_max, d.answer_bytes_max),
        upstream_idle_max: count(raw.upstream_idle_max, d.upstream_idle_max),
        upstream_idle: or(raw.upstream_idle, d.upstream_idle),
        upstream_h2_streams: count(raw.upstream_h2_streams, d.upstream_h2_streams as usize) as u32,
        queue_max: count(raw.queue_max, d.queue_max),
        queue_time: or(raw.queue_time, d.queue_time),
        issued_max: count(raw.issued_max, d.issued_max),
        prefixes_max: count(raw.prefixes_max, d.prefixes_max),
    };
    if limits.body_bytes_max > limits.bodies_bytes_max {
        let what = format!(
            "limits.body_bytes_max ({}) is over limits.bodies_bytes_max ({})",
            value::show_size(limits.body_bytes_max.0),
            value::show_size(limits.bodies_bytes_max.0)
        );
        r.problems.add(
            body_place.unwrap_or_default(),
            what,
            "room for one body at least",
        );
    }
    limits
}

fn log(raw: Option<raw::RawLog>) -> Log {
    let (level, format) = raw.map_or((None, None), |l| (l.level, l.format));
    Log {
        level: or(level, LogLevel::Info),
        format: or(format, LogFormat::Text),
    }
}

fn ledger(raw: Option<raw::RawLedger>) -> Ledger {
    let d = DEFAULT_LEDGER;
    raw.map_or(d.clone(), |l| Ledger {
        commit_every: or(l.commit_every, d.commit_every),
        commit_rows: l.commit_rows.map_or(d.commit_rows, |n| n.value as usize),
        backlog_rows_max: l
            .backlog_rows_max
            .map_or(d.backlog_rows_max, |n| n.value as usize),
        rows_kept_days: l
            .rows_kept_days
            .map_or(d.rows_kept_days, |n| n.value as u32),
        minutes_kept_days: l
            .minutes_kept_days
            .map_or(d.minutes_kept_days, |n| n.value as u32),
        hours_kept_days: l
            .hours_kept_days
            .map_or(d.hours_kept_days, |n| n.value as u32),
    })
}

fn spool(raw: Option<raw::RawSpool>) -> Spool {
    let d = DEFAULT_SPOOL;
    raw.map_or(d.clone(), |s| Spool {
        enabled: or(s.enabled, d.enabled),
        bytes_max: or(s.bytes_max, d.bytes_max),
        segment_bytes: or(s.segment_bytes, d.segment_bytes),
        sync_every: or(s.sync_every, d.sync_every),
        disk_free_min: or(s.disk_free_min, d.disk_free_min),
        answers_max: s.answers_max.map_or(d.answers_max, |n| n.value as usize),
        abandoned_max: s
            .abandoned_max
            .map_or(d.abandoned_max, |n| n.value as usize),
    })
}

/// `None` also for a section that is left empty, and for an address that stands for nothing.
fn redis(raw: raw::RawRedis, r: &mut Resolving<'_>) -> Option<Redis> {
    let Some(written) = &raw.url else {
        let place = raw.place;
        let (what, right) = ("redis without an address", "url: redis://host:6379");
        let given = raw.password.is_some() || raw.namespace.is_some() || raw.timeout.is_some();
        if given {
            r.problems.add(place, what, right);
        }
        return None;
    };
    let url = secret::find(written, r.outside, r.problems)?;
    let kind = url.expose().split_once("://").map_or("", |(kind, _)| kind);
    if kind != "redis" {
        let what = match kind {
            "rediss" => "redis over TLS is not built in",
            _ => "not an address of Redis",
        };
        let right = "redis://[user:password@]host:6379[/0]; for another machine a private network, or a local stunnel";
        r.problems.add(written.place, what, right);
        return None;
    }
    let namespace = or(raw.namespace.clone(), "stokehold".to_owned());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if namespace.is_empty() || namespace.len() > 64 || !namespace.bytes().all(plain) {
        let place = raw.namespace.as_ref().map_or(raw.place, |n| n.place);
        let right = "1 to 64 letters, digits, dots, dashes and underscores";
        r.problems
            .add(place, "a namespace that cannot be part of a key", right);
    }
    Some(Redis {
        url,
        password: raw
            .password
            .as_ref()
            .and_then(|p| secret::find(p, r.outside, r.problems)),
        namespace,
        timeout: or(raw.timeout, Duration::from_millis(500)),
        instances_max: raw.instances_max.map_or(16, |n| n.value),
    })
}

/// `raw` over `under`.
pub fn timeouts(raw: Option<raw::RawTimeouts>, under: Timeouts) -> Timeouts {
    let raw = raw.unwrap_or_default();
    Timeouts {
        connect: or(raw.connect, under.connect),
        first_byte: or(raw.first_byte, under.first_byte),
        stall: or(raw.stall, under.stall),
        total: or(raw.total, under.total),
    }
}

fn routing(raw: Option<raw::RawRouting>, r: &mut Resolving<'_>) -> Routing {
    let d = DEFAULT_ROUTING;
    let Some(raw) = raw else {
        return d;
    };
    let place = raw
        .backoff
        .as_ref()
        .or(raw.backoff_max.as_ref())
        .map(|a| a.place);
    let (strong, weak) = (raw.strong_affinity, raw.weak_affinity);
    let affinity = weak.as_ref().or(strong.as_ref()).map(|a| a.place);
    let affinity = affinity.unwrap_or_default();
    let routing = Routing {
        attempts_max: raw.attempts_max.map_or(d.attempts_max, |n| n.value as u8),
        retry_budget: or(raw.retry_budget, d.retry_budget),
        hedge_budget: or(raw.hedge_budget, d.hedge_budget),
        backoff: or(raw.backoff, d.backoff),
        backoff_max: or(raw.backoff_max, d.backoff_max),
        dead_key: or(raw.dead_key, d.dead_key),
        spent_key: or(raw.spent_key, d.spent_key),
        breaker_failures: raw
            .breaker_failures
            .map_or(d.breaker_failures, |n| n.value as u32),
        breaker_open: or(raw.breaker_open, d.breaker_open),
        strategy: or(raw.strategy, d.strategy),
        second: or(raw.value_of_second, d.second),
        second_batch: or(raw.value_of_second_batch, d.second_batch),
        headroom: or(raw.headroom_weight, d.headroom),
        alike: or(raw.alike, d.alike),
        crowding: or(raw.crowding, d.crowding),
        strong_affinity: or(strong, d.strong_affinity),
        weak_affinity: or(weak, d.weak_affinity),
        decisions_kept: raw
            .decisions_kept
            .map_or(d.decisions_kept, |n| n.value as usize),
    };
    if routing.weak_affinity > routing.strong_affinity {
        let what = format!(
            "routing.weak_affinity ({}) is over routing.strong_affinity ({})",
            routing.weak_affinity, routing.strong_affinity
        );
        r.problems
            .add(affinity, what, "the weak one at most the strong one");
    }
    if routing.backoff > routing.backoff_max {
        let what = format!(
            "routing.backoff ({}) is over routing.backoff_max ({})",
            value::show_duration(routing.backoff),
            value::show_duration(routing.backoff_max)
        );
        r.problems.add(
            place.unwrap_or_default(),
            what,
            "the first wait at most the longest",
        );
    }
    routing
}

fn tenants(raw: Vec<raw::RawTenant>, r: &mut Resolving<'_>) -> (Vec<Tenant>, Vec<ClientKey>) {
    let (mut names, mut key_names) = (Names::default(), Names::default());
    let mut hashes = BTreeMap::new();
    let (mut tenants, mut keys) = (Vec::new(), Vec::new());
    if raw.is_empty() {
        r.notes
            .push("there is no tenant: every request is refused".to_owned());
    }
    for one in raw {
        let Some(id) = one.id else {
            continue;
        };
        names.claim("tenant", &id, r.problems);
        let tenant = TenantId(next_id(tenants.len(), id.place, r.problems));
        for key in one.keys {
            let Some(found) = client_key(key, tenant, &mut key_names, r) else {
                continue;
            };
            if let Some(first) = hashes.insert(found.value.sha256, found.place) {
                let right = format!(
                    "the other is at {}: each client key once",
                    r.problems.name_of(first)
                );
                r.problems
                    .add(found.place, "the same client key is there twice", right);
            }
            keys.push(found.value);
        }
        tenants.push(Tenant {
            name: id.value,
            limits: one.limits.map_or_else(TenantLimits::default, tenant_limits),
            on_disconnect: or(one.on_disconnect, OnDisconnect::Finish),
            keep_prompts: or(one.keep_prompts, false),
            cache_marks: or(one.cache_marks, CacheMarks::Auto),
            keep_warm: one.keep_warm.map_or_else(KeepWarm::default, keep_warm),
            strategy: one.strategy.map(|s| s.value),
        });
    }
    (tenants, keys)
}

fn keep_warm(raw: raw::RawKeepWarm) -> KeepWarm {
    let d = KeepWarm::default();
    KeepWarm {
        pings: raw.pings.map_or(d.pings, |pings| pings.value as u8),
        usd_max: or(raw.usd_max, d.usd_max),
        bytes_max: raw.bytes_max.map_or(d.bytes_max, |bytes| bytes.value.0),
    }
}

fn tenant_limits(raw: raw::RawTenantLimits) -> TenantLimits {
    TenantLimits {
        rpm: raw.rpm.map(|a| a.value),
        tpm: raw.tpm.map(|a| a.value),
        concurrent: raw.concurrent.map(|a| a.value),
        usd_per_day: raw.usd_per_day.map(|a| a.value),
        usd_per_month: raw.usd_per_month.map(|a| a.value),
    }
}

fn client_key(
    raw: raw::RawClientKey,
    tenant: TenantId,
    names: &mut Names,
    r: &mut Resolving<'_>,
) -> Option<At<ClientKey>> {
    let id = raw.id?;
    names.claim("client key", &id, r.problems);
    let rights = rights(
        Wished {
            models: raw.models,
            providers: raw.providers,
            dialects: raw.dialects,
            limits: raw.limits,
            priority: raw.priority,
            expires: raw.expires,
        },
        r.problems,
    );
    let sha256 = match (&raw.secret, &raw.sha256) {
        (Some(secret), None) => {
            let Some(secret) = secret::find(secret, r.outside, r.problems) else {
                r.notes
                    .push(format!("client key {} has no secret: left out", id.value));
                return None;
            };
            hash(secret.expose())
        }
        (None, Some(hex)) => {
            let parsed = value::sha256(&hex.value);
            if parsed.is_none() {
                let right = "64 hexadecimal digits, as of `printf %s \"$KEY\" | sha256sum`";
                r.problems.add(hex.place, "not a SHA-256", right);
            }
            parsed?
        }
        _ => {
            let what = format!("client key {:?} needs one of secret and sha256", id.value);
            r.problems.add(raw.place, what, "give exactly one");
            return None;
        }
    };
    Some(At {
        value: ClientKey {
            name: id.value,
            tenant,
            sha256,
            rights,
        },
        place: id.place,
    })
}

/// What a file says of a key's rights.
struct Wished {
    models: Option<Vec<At<String>>>,
    providers: Option<Vec<At<String>>>,
    dialects: Option<Vec<At<String>>>,
    limits: Option<raw::RawTenantLimits>,
    priority: Option<At<Priority>>,
    expires: Option<At<String>>,
}

fn rights(wished: Wished, problems: &mut Problems) -> Rights {
    let texts = |list: Option<Vec<At<String>>>| -> Vec<String> {
        list.into_iter().flatten().map(|text| text.value).collect()
    };
    let mut dialects = Vec::new();
    for word in wished.dialects.into_iter().flatten() {
        match SERVED.iter().find(|d| d.as_str() == word.value) {
            Some(dialect) => dialects.push(*dialect),
            None => {
                let what = format!("{:?} is no API of this router", word.value);
                let known = SERVED.map(DialectName::as_str);
                problems.add(word.place, what, suggestion(&word.value, &known));
            }
        }
    }
    let expires = wished.expires.and_then(|day| {
        let read = value::day(&day.value);
        if read.is_none() {
            let what = format!("expires is {:?}", day.value);
            problems.add(day.place, what, "a day such as 2027-01-31");
        }
        read
    });
    Rights {
        models: texts(wished.models),
        providers: texts(wished.providers),
        dialects,
        limits: wished
            .limits
            .map_or_else(TenantLimits::default, tenant_limits),
        priority: wished.priority.map(|word| word.value),
        expires,
    }
}

/// APIs that clients are served in.
pub const SERVED: [DialectName; 6] = [
    DialectName::Native,
    DialectName::Chat,
    DialectName::Responses,
    DialectName::Completions,
    DialectName::Messages,
    DialectName::Gemini,
];

fn video(raw: Option<raw::RawVideo>) -> Video {
    let d = DEFAULT_VIDEO;
    raw.map_or(d, |raw| Video {
        poll: or(raw.poll, d.poll),
        wait: or(raw.wait, d.wait),
    })
}

/// SHA-256 of a client key, as `Config::client_keys` holds it.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The client keys by their hash.
#[must_use]
pub fn keys_by_hash(keys: &[ClientKey]) -> BTreeMap<[u8; 32], ClientKeyId> {
    // Over 2³² keys do not fit into a file of 4 MiB.
    let id = |i: usize| ClientKeyId(u32::try_from(i).unwrap_or(u32::MAX));
    keys.iter()
        .enumerate()
        .map(|(i, k)| (k.sha256, id(i)))
        .collect()
}

const LISTEN: SocketAddr = SocketAddr::new(LOOPBACK, 8080);
const OPERATOR: SocketAddr = SocketAddr::new(LOOPBACK, 8081);
const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const SHARDS_MAX: u16 = 1_024;
const BACKLOG: u32 = 4_096;
const DRAIN: Duration = Duration::from_secs(30);

/// Why each is as it is stands beside it in `config/example.yaml`.
const DEFAULT_LIMITS: Limits = Limits {
    connections_max: 20_000,
    exchanges_max: 20_000,
    h2_streams_max: 1_000,
    header_bytes_max: 64 << 10,
    header_count_max: 100,
    body_bytes_max: ByteCount(32 << 20),
    bodies_bytes_max: ByteCount(512 << 20),
    header_time: Duration::from_secs(15),
    body_time: Duration::from_secs(120),
    keep_alive: Duration::from_secs(75),
    sse_comment: Duration::from_secs(15),
    client_buffer_bytes: 256 << 10,
    slow_client: Duration::from_secs(60),
    event_bytes_max: 16 << 20,
    answer_bytes_max: 64 << 20,
    upstream_idle_max: 256,
    upstream_idle: Duration::from_secs(60),
    upstream_h2_streams: 100,
    queue_max: 10_000,
    queue_time: Duration::from_secs(30),
    issued_max: 65_536,
    prefixes_max: 524_288,
};

/// Where all that is kept lies, unless it is said.
pub const DATA_DIR: &str = "./data";

const DEFAULT_LEDGER: Ledger = Ledger {
    commit_every: Duration::from_millis(200),
    commit_rows: 1_000,
    backlog_rows_max: 100_000,
    rows_kept_days: 400,
    minutes_kept_days: 14,
    hours_kept_days: 400,
};

const DEFAULT_SPOOL: Spool = Spool {
    enabled: true,
    bytes_max: ByteCount(4 << 30),
    segment_bytes: ByteCount(16 << 20),
    sync_every: Duration::from_millis(100),
    disk_free_min: ByteCount(512 << 20),
    answers_max: 100_000,
    abandoned_max: 1_000,
};

const DEFAULT_TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(300),
    stall: Duration::from_secs(60),
    total: Duration::from_secs(1_800),
};

const DEFAULT_VIDEO: Video = Video {
    poll: Duration::from_secs(10),
    wait: Duration::from_secs(3_600),
};

impl Default for Routing {
    fn default() -> Self {
        DEFAULT_ROUTING
    }
}

const DEFAULT_ROUTING: Routing = Routing {
    attempts_max: 3,
    retry_budget: 0.2,
    hedge_budget: 0.02,
    backoff: Duration::from_millis(250),
    backoff_max: Duration::from_secs(8),
    dead_key: Duration::from_secs(600),
    spent_key: Duration::from_secs(3_600),
    breaker_failures: 5,
    breaker_open: Duration::from_secs(15),
    strategy: Strategy::LeastCost,
    second: NanoUsd(1_000_000),
    second_batch: NanoUsd(10_000),
    headroom: 0.5,
    alike: 0.01,
    crowding: 0.05,
    strong_affinity: NanoUsd(250_000_000),
    weak_affinity: NanoUsd(50_000_000),
    decisions_kept: 256,
};
