//! YAML → values, once. No other room knows that YAML exists, and no other has defaults.
//!
//! `raw` is what was written, every field optional and with its place; `resolve` makes the values below of it or says all that is
//! wrong at once; it opens no file and reads no environment itself, both are arguments of `load`. A reload makes a new `Config` and mails it to the shards; nothing is edited in place. In reading order.

pub mod problem;
pub use problem::{Place, Problem};
mod env;
mod load;
mod raw;
mod read;
mod secret;
mod source;
pub use source::{AwsFrom, AwsRole, AwsSource, GoogleFrom, GoogleSource, KeySource};
mod template;
pub use template::Template;
mod url;
pub use url::{BaseUrl, parse as parse_url};
mod value;
/// Client keys that are asked for at run time.
pub mod wish;
/// Provider keys at rest.
pub mod vault;
mod yaml;
pub use load::{Loaded, fields, load, parse_for_tests};
pub use secret::Outside;
mod resolve;
pub use resolve::hash as hash_client_key;
mod catalogue;
mod health;
mod prices;
mod providers;
/// How providers count against their limits.
/// Rules that are laid over those that are built in.
mod entries;
/// How prompt caches behave.
mod caching;
mod rules;
/// What only its maker can read.
mod seals;
#[cfg(test)]
mod tests;

use crate::base::{
    ByteCount, ClientKeyId, EndpointId, KeyId, ModelId, NanoUsd, OriginId, PoolId, ProviderId,
    Secret, Str, TenantId, Tokens, WallTime,
};
use crate::canon::DialectName;
pub use crate::canon::OnDisconnect;
use crate::canon::controls::{CacheMode as CacheMarks, Priority};
use crate::policy::bill::Price;
use crate::policy::capacity::{Rule, of_class};
use crate::policy::choose::{Strategy, Weighing};
use crate::policy::prefix;
use crate::policy::seals::SealRule;
use crate::protocol::dialect::Rules;
use crate::protocol::provider::{self, ProviderKind};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything a node needs to know, checked. Ids are positions in these tables.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which reading of the files this is: 0 at the start, one more at each reload. Ids mean the same under the same number.
    pub generation: u64,
    pub server: Server,
    pub data_dir: PathBuf,
    pub limits: Limits,
    pub log: Log,
    pub ledger: Ledger,
    pub spool: Spool,
    /// Where several instances meet; `None`: this one is alone.
    pub redis: Option<Redis>,
    pub tenants: Vec<Tenant>,
    pub client_keys: Vec<ClientKey>,
    pub providers: Vec<Provider>,
    pub origins: Vec<Origin>,
    pub pools: Vec<Pool>,
    pub keys: Vec<Key>,
    pub models: Vec<Model>,
    pub endpoints: Vec<Endpoint>,
    /// By `EndpointId`: `provider/name`, as answers, logs and the ledger say it.
    pub endpoint_names: Vec<Str>,
    /// Every name and alias a client may say → the model.
    pub model_names: BTreeMap<String, ModelId>,
    pub routing: Routing,
    pub video: Video,
    /// The built-in fake providers to start, one a `kind: fake` provider without a `base_url`.
    pub fakes: Vec<FakeProvider>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    pub listen: Vec<SocketAddr>,
    pub operator: SocketAddr,
    /// The key operators show as a bearer token; without one the operator port must be on loopback.
    pub operator_key: Option<Secret>,
    /// How many shards. `auto` is one a core less the I/O core, at least one.
    pub shards: u16,
    pub runtime: RuntimeChoice,
    /// Whether shards are pinned to cores; false on shared hosts and where there are more shards than cores.
    pub pin: bool,
    pub tls: Option<Tls>,
    /// Listen backlog.
    pub backlog: u32,
    /// How long a drain waits for running exchanges.
    pub drain: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// io_uring where the kernel allows it, else epoll.
    Auto,
    IoUring,
    Epoll,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Jobs that run at a provider for minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Video {
    /// How often a shard asks how a job of its stands: for its bill, and for who waits on a native stream.
    pub poll: Duration,
    /// How long it goes on asking; then what was asked for is written down as an estimate.
    pub wait: Duration,
}

/// Bounds towards clients and within a shard. Counts are for each shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub connections_max: usize,
    pub exchanges_max: usize,
    /// Streams one HTTP/2 connection may have open.
    pub h2_streams_max: u32,
    pub header_bytes_max: usize,
    pub header_count_max: usize,
    pub body_bytes_max: ByteCount,
    /// All request bodies of a shard that are in memory together.
    pub bodies_bytes_max: ByteCount,
    /// From a connection's (or the last answer's) end to the whole head of the next request.
    pub header_time: Duration,
    /// From a request's head to the end of its body.
    pub body_time: Duration,
    /// An idle connection is kept open this long.
    pub keep_alive: Duration,
    /// A quiet SSE stream is sent a comment this often.
    pub sse_comment: Duration,
    /// Bytes waiting for one client from which its upstream is paused; it resumes at half.
    pub client_buffer_bytes: usize,
    /// How long a client may leave its buffer full before it is dropped (its answer is kept).
    pub slow_client: Duration,
    /// The longest event a provider may send, and the largest answer that is not streamed.
    pub event_bytes_max: usize,
    pub answer_bytes_max: usize,
    /// Upstream connections a shard keeps idle for one origin, and for how long.
    pub upstream_idle_max: usize,
    pub upstream_idle: Duration,
    /// Streams opened on one upstream HTTP/2 connection before another is made.
    pub upstream_h2_streams: u32,
    /// Requests that wait for headroom.
    pub queue_max: usize,
    pub queue_time: Duration,
    /// Names of stored answers and jobs whose issuer a shard remembers.
    pub issued_max: usize,
    /// Prefixes of prompts that one shard remembers, to know where they lie warm.
    pub prefixes_max: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `error warn info debug trace`
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    /// Rows are committed together after this time,
    pub commit_every: Duration,
    /// or when this many wait.
    pub commit_rows: usize,
    /// Rows that may wait for the disk, for each shard; at the bound admission is refused.
    pub backlog_rows_max: usize,
    /// Days that single attempts are kept,
    pub rows_kept_days: u32,
    /// and sums by the minute, and by the hour. Those by the day are for ever.
    pub minutes_kept_days: u32,
    pub hours_kept_days: u32,
}

/// Where answers are safe, and found again.
#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    /// Without it nothing of an answer is kept beside what it cost.
    pub enabled: bool,
    /// On disk, all shards together; at the bound new requests are refused.
    pub bytes_max: ByteCount,
    /// Of one file; each shard has one that it writes and one that is prepared.
    pub segment_bytes: ByteCount,
    /// How often what was written is brought to the disk itself: what a loss of power may cost.
    pub sync_every: Duration,
    /// What else is on the disk is left so much.
    pub disk_free_min: ByteCount,
    /// Answers that are remembered, all shards together.
    pub answers_max: usize,
    /// Answers of one shard that are finished for nobody at the same time; further ones are cancelled when their clients leave.
    pub abandoned_max: usize,
}

/// What instances share their limits over.
#[derive(Clone, Debug, PartialEq)]
pub struct Redis {
    /// May hold a password.
    pub url: Secret,
    /// Counts before one in the address.
    pub password: Option<Secret>,
    /// Instances of one namespace share; all keys begin with it.
    pub namespace: String,
    /// Of connecting and of each command.
    pub timeout: Duration,
    /// An instance that never heard of the others takes a part of the tenth that is left over for so many.
    pub instances_max: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    pub name: String,
    pub limits: TenantLimits,
    pub on_disconnect: OnDisconnect,
    /// Whether what it asks is kept beside the answers.
    pub keep_prompts: bool,
    /// Who places cache marks and names conversations to providers, unless a request says otherwise.
    pub cache_marks: CacheMarks,
    /// Asking again before cache entries expire.
    pub keep_warm: KeepWarm,
    /// Who is chosen for its requests; `None`: as for all.
    pub strategy: Option<Strategy>,
}

/// How a tenant's prompts are kept in caches between its requests.
#[derive(Clone, Debug, PartialEq)]
pub struct KeepWarm {
    /// After the last request of a conversation; 0 is never.
    pub pings: u8,
    /// No single one may cost more.
    pub usd_max: NanoUsd,
    /// Bytes of requests that each core holds for it.
    pub bytes_max: u64,
}

impl Default for KeepWarm {
    fn default() -> Self {
        Self {
            pings: 0,
            usd_max: NanoUsd(100_000_000),
            bytes_max: 64 << 20,
        }
    }
}

/// `None` is unlimited.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TenantLimits {
    pub rpm: Option<u64>,
    pub tpm: Option<Tokens>,
    pub concurrent: Option<u64>,
    /// By UTC days and months, each from its beginning.
    pub usd_per_day: Option<NanoUsd>,
    pub usd_per_month: Option<NanoUsd>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ClientKey {
    pub name: String,
    pub tenant: TenantId,
    /// SHA-256 of the key; the key itself is not kept.
    pub sha256: [u8; 32],
    pub rights: Rights,
}

/// What a client key may do, within what its tenant may.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rights {
    /// Models by the names that clients use, `*` for any run of characters. Empty: all; so are the next two.
    pub models: Vec<String>,
    /// Providers by their ids.
    pub providers: Vec<String>,
    /// APIs that it may be shown to.
    pub dialects: Vec<DialectName>,
    pub limits: TenantLimits,
    /// Of requests that do not say it themselves.
    pub priority: Option<Priority>,
    /// From then on it is refused.
    pub expires: Option<WallTime>,
}

impl Rights {
    #[must_use]
    pub fn allow_model(&self, name: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|m| of_class(m, name))
    }

    #[must_use]
    pub fn allow_provider(&self, name: &str) -> bool {
        self.providers.is_empty() || self.providers.iter().any(|p| p == name)
    }

    #[must_use]
    pub fn allow_dialect(&self, dialect: DialectName) -> bool {
        self.dialects.is_empty() || self.dialects.contains(&dialect)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    pub name: String,
    pub kind: ProviderKind,
    pub origin: OriginId,
    /// Path of the base URL, without a slash at its end; put before a call's path.
    pub base_path: String,
    /// Region, project and host family.
    pub place: provider::Place,
    /// Headers added to every call, lower-case names; for Azure-style hosts and gateways in between.
    pub headers: Vec<(String, Template)>,
    /// Added to every call's query, names and texts as they are meant (not yet percent-encoded).
    pub query: Vec<(String, Template)>,
    /// Whether it is told which requests belong together, where the client does not say so.
    pub cache_hints: bool,
    /// How an own server is asked how it is; `None` where nobody asks.
    pub health: Option<Health>,
}

/// How an own server is asked for its health and its load, by the I/O core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// From the beginning of one poll to that of the next.
    pub every: Duration,
    /// The longest wait for one answer; a poll asks for two pages.
    pub timeout: Duration,
    /// Polls without a good answer after which it counts as down.
    pub failures: u32,
    /// Its health page; `None` looks for it where engines have it.
    pub path: Option<String>,
}

impl Health {
    /// What is older than this says nothing any more: three polls, each as long as it may take.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        self.every.max(self.timeout * 2) * 3
    }
}

impl Provider {
    /// True where the file says itself where the key goes: then the kind's own header must not show it as well (Azure takes a bearer for a
    /// token of Entra's, whatever `api-key` says).
    #[must_use]
    pub fn places_secret(&self) -> bool {
        let both = self.headers.iter().chain(&self.query);
        both.into_iter().any(|(_, value)| value.wants_secret())
    }
}

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub host: String,
    pub port: u16,
    pub tls: bool,
    pub http2: Http2,
    /// A PEM file of certificates to trust beside the system's.
    pub ca: Option<PathBuf>,
}

impl Origin {
    /// As the `host` header and `:authority` say it: with the port, unless that is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let host = if bare.contains(':') {
            format!("[{bare}]")
        } else {
            bare.to_owned()
        };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2 {
    /// By ALPN where there is TLS, else HTTP/1.1.
    Auto,
    /// HTTP/2 also without TLS (prior knowledge).
    Always,
    Never,
}

/// One limit scope of a provider: all its keys draw on the same limits and see the same cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    pub name: String,
    pub provider: ProviderId,
    /// Pools with the same scope share a prompt cache.
    pub cache_scope: String,
    pub keys: Vec<KeyId>,
    pub limits: Vec<PoolLimit>,
}

/// A provider's limit over a class of models. `None` is unlimited or unknown.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct PoolLimit {
    /// Model names with `*` for any run of characters; matched against the endpoint's name and the model's.
    pub models: Vec<String>,
    pub rpm: Option<u64>,
    /// All tokens.
    pub tpm: Option<Tokens>,
    /// Input tokens, without cache reads.
    pub itpm: Option<Tokens>,
    pub otpm: Option<Tokens>,
    pub concurrent: Option<u64>,
    /// Requests and tokens a day.
    pub rpd: Option<u64>,
    pub tpd: Option<Tokens>,
    /// How much of a minute may come at once; `None`: as the rule has it.
    pub burst: Option<Duration>,
    /// How the provider counts.
    pub rule: Rule,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub name: String,
    pub pool: PoolId,
    pub source: KeySource,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub name: String,
    pub aliases: Vec<String>,
    pub endpoints: Vec<EndpointId>,
    pub takes: Takes,
    pub gives: Gives,
    /// Input and output together.
    pub context: Option<Tokens>,
    pub output_max: Option<Tokens>,
    pub retired: Option<Retired>,
    pub timeouts: Timeouts,
    /// What is uncertain or special about it, for people.
    pub note: Option<String>,
}

/// What a model can be given beside text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    pub images: bool,
    pub documents: bool,
    pub audio: bool,
    pub video: bool,
    pub tools: bool,
}

/// What a model answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gives {
    pub text: bool,
    pub images: bool,
    pub audio: bool,
    pub video: bool,
    pub embeddings: bool,
}

/// A model that its provider has switched off, or will.
#[derive(Clone, Debug, PartialEq)]
pub struct Retired {
    /// `2026-07-23`
    pub on: String,
    /// The first moment of that day, UTC.
    pub from: WallTime,
    pub successor: Option<String>,
}

impl Retired {
    /// Whether the day has come.
    #[must_use]
    pub fn is_over(&self, now: WallTime) -> bool {
        self.from <= now
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// From the request's last byte to the answer's first.
    pub first_byte: Duration,
    /// The longest silence between two events.
    pub stall: Duration,
    pub total: Duration,
}

/// One place a model can be called.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub model: ModelId,
    pub provider: ProviderId,
    /// The pools that serve it.
    pub pools: Vec<PoolId>,
    /// The provider's id of the model.
    pub name: String,
    pub price: Price,
    /// What is uncertain about the price, for people.
    pub price_note: Option<String>,
    /// The grammars it takes, where it takes fewer than its provider has (`responses` alone at OpenAI's pro models); empty: all.
    pub speaks: Vec<DialectName>,
    /// The first moment at which this place no longer serves the model, though others may.
    pub retired_from: Option<WallTime>,
    pub rules: Rules,
    pub cache: CacheRules,
    /// What it makes that only it can read, and what it does with others'; `None` where there is no such thing.
    pub seals: Option<SealRule>,
}

impl Endpoint {
    /// The dialect to call it in, where its provider would be called in `preferred`.
    #[must_use]
    pub fn dialect(&self, preferred: DialectName) -> DialectName {
        match self.speaks.first() {
            Some(first) if !self.speaks.contains(&preferred) => *first,
            _ => preferred,
        }
    }

    /// Whether this place has stopped serving the model.
    #[must_use]
    pub fn is_retired(&self, now: WallTime) -> bool {
        self.retired_from.is_some_and(|from| from <= now)
    }
}

/// How an endpoint's prompt cache works.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheRules {
    pub mode: CacheMode,
    pub min_tokens: Tokens,
    /// Lifetimes it offers, the default first.
    pub ttls: Vec<Duration>,
    /// Who shares its entries; `None` is unknown.
    pub scope: Option<CacheScope>,
    /// Marks one request may set; `None` is unknown.
    pub marks_max: Option<u64>,
    /// What is cached is a multiple of this; `None` is unknown.
    pub block_tokens: Option<Tokens>,
    /// How it is found and how long it lives; `None` where there is none, or nobody says.
    pub rules: Option<prefix::Rules>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    #[default]
    None,
    /// At marks of the client (Anthropic).
    Breakpoints,
    /// By itself, in blocks of a prefix (OpenAI up to 5.5, SGLang, vLLM).
    Prefix,
    /// By itself, and at marks or objects of the client as well (OpenAI from 5.6 on, Gemini).
    Both,
}

/// The widest circle of callers that read each other's cache entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheScope {
    Key,
    Workspace,
    Project,
    Account,
    Organisation,
    /// One machine: requests must be led to it.
    Replica,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// Attempts of one exchange, the first included.
    pub attempts_max: u8,
    /// Share of exchanges that may be in a second or later attempt; beyond it no retry is made.
    pub retry_budget: f64,
    /// Share of exchanges that may have a second attempt beside a first that is late; 0 is never.
    pub hedge_budget: f64,
    /// First wait before the same endpoint is tried again; doubles up to the next.
    pub backoff: Duration,
    pub backoff_max: Duration,
    /// A key whose credential was refused is left out this long.
    pub dead_key: Duration,
    /// One whose money is spent, this long.
    pub spent_key: Duration,
    /// Consecutive failures after which an endpoint's pool is left out, and for how long.
    pub breaker_failures: u32,
    pub breaker_open: Duration,
    /// Who is chosen of those that could serve.
    pub strategy: Strategy,
    /// What a second is worth until an answer is whole: of requests in general, and of those of priority `batch`.
    pub second: NanoUsd,
    pub second_batch: NanoUsd,
    /// How steep the price of headroom is, as a multiple of the price of the tokens it is taken for.
    pub headroom: f64,
    /// Places whose sums are this close, as a share of the least, count as alike.
    pub alike: f64,
    /// How much longer each request ahead makes the next one wait at an own server, as a share.
    pub crowding: f64,
    /// For the strategy `thresholds`: a cache that saves more than this binds, one that saves less than that does not count.
    pub strong_affinity: NanoUsd,
    pub weak_affinity: NanoUsd,
    /// Decisions that a shard keeps to be explained.
    pub decisions_kept: usize,
}

impl Routing {
    /// How candidates are weighed by `strategy`, where a second is worth so much and nobody better is waited for longer than `patience`.
    #[must_use]
    pub fn weighing(&self, strategy: Strategy, second: NanoUsd, patience: Duration) -> Weighing {
        Weighing {
            strategy,
            second,
            alike: self.alike,
            strong: self.strong_affinity,
            weak: self.weak_affinity,
            patience,
        }
    }

    /// The weight of headroom in thousandths.
    #[must_use]
    pub fn headroom_permille(&self) -> u64 {
        (self.headroom * 1_000.0) as u64
    }
}

/// A built-in provider to try things out with.
#[derive(Clone, Debug, PartialEq)]
pub struct FakeProvider {
    pub provider: ProviderId,
    /// Its origin's port is given by the node when it has bound one.
    pub origin: OriginId,
    pub first_token: Duration,
    pub between_tokens: Duration,
    pub output_tokens: u64,
    /// Limits it enforces, with headers and 429s as the real ones.
    pub rpm: Option<u64>,
    pub itpm: Option<Tokens>,
    pub otpm: Option<Tokens>,
}

impl Config {
    /// The client key with this SHA-256, compared without a hint of where they differ. One map lookup is the shard's; this is the table.
    #[must_use]
    pub fn client_key(&self, id: ClientKeyId) -> Option<&ClientKey> {
        self.client_keys.get(id.0 as usize)
    }

    /// SHA-256 of a client key → the key: what a shard looks credentials up in. Built anew by each call; keep it.
    #[must_use]
    pub fn client_keys_by_hash(&self) -> BTreeMap<[u8; 32], ClientKeyId> {
        resolve::keys_by_hash(&self.client_keys)
    }
}
