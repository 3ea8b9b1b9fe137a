//! Providers, their origins, pools and keys.
//!
//! A key without a secret is left out and a provider without keys is inactive: naming every provider in the file and giving the keys
//! by environment is how the file that we ship works.

use crate::base::{KeyId, OriginId, PoolId, ProviderId, Tokens};
use crate::config::problem::Problems;
use crate::config::raw;
use crate::config::read::{At, Names};
use crate::config::resolve::{self, Resolving, next_id, or};
use crate::config::secret;
use crate::config::url::{self, BaseUrl};
use crate::config::{FakeProvider, Http2, Key, Origin, Pool, PoolLimit, Provider};
use crate::protocol::provider::ProviderKind;
use std::collections::BTreeMap;
use std::time::Duration;

/// Tables whose ids are positions, and what the catalogue looks up in them.
#[derive(Default)]
pub struct Providers {
    pub providers: Vec<Provider>,
    pub origins: Vec<Origin>,
    pub pools: Vec<Pool>,
    pub keys: Vec<Key>,
    pub fakes: Vec<FakeProvider>,
    /// Names as written → the provider; also those that could not be resolved, so that one mistake is told once.
    pub ids: BTreeMap<String, Option<ProviderId>>,
    /// (provider, pool's name) → the pool, or `None` where it was left out for want of keys.
    pub pool_ids: BTreeMap<(ProviderId, String), Option<PoolId>>,
}

impl Providers {
    /// True if the provider has a pool with a key in it.
    pub fn is_active(&self, id: ProviderId) -> bool {
        self.pools.iter().any(|p| p.provider == id)
    }
}

/// Names that must be unique over all providers, since logs and tables name pools and keys without their provider.
#[derive(Default)]
struct Taken {
    providers: Names,
    pools: Names,
    keys: Names,
}

pub fn all(raw: Vec<raw::RawProvider>, r: &mut Resolving<'_>) -> Providers {
    let mut out = Providers::default();
    let mut taken = Taken::default();
    for one in raw {
        let Some(id) = one.id.clone() else {
            continue;
        };
        taken.providers.claim("provider", &id, r.problems);
        let found = provider(one, &id, &mut out, &mut taken, r);
        out.ids.entry(id.value).or_insert(found);
    }
    out
}

fn provider(
    raw: raw::RawProvider,
    id: &At<String>,
    out: &mut Providers,
    taken: &mut Taken,
    r: &mut Resolving<'_>,
) -> Option<ProviderId> {
    let kind = kind(raw.kind.as_ref()?, r.problems);
    let provider = ProviderId(next_id(out.providers.len(), raw.place, r.problems));
    // Pools are read also where the kind is wrong, so that their problems are told in the same go.
    let needs_secret =
        kind.is_some_and(|k| !matches!(k, ProviderKind::SelfHosted | ProviderKind::Fake));
    pools(&raw, provider, needs_secret, id, out, taken, r);
    let kind = kind?;
    let (origin, base_path) = origin(&raw, kind, out, r)?;
    fake(&raw, kind, provider, origin, out, r.problems);
    out.providers.push(Provider {
        name: id.value.clone(),
        kind,
        origin,
        base_path,
        headers: headers(raw.headers.unwrap_or_default(), r.problems),
    });
    if !out.is_active(provider) {
        let name = &id.value;
        r.notes
            .push(format!("provider {name} has no key: it is not used"));
    }
    Some(provider)
}

/// The kind by its word.
pub fn kind(word: &At<String>, problems: &mut Problems) -> Option<ProviderKind> {
    let found = ProviderKind::ALL.iter().find(|k| k.as_str() == word.value);
    if found.is_none() {
        let known = ProviderKind::ALL.map(ProviderKind::as_str);
        let what = format!("unknown kind {:?}", word.value);
        let right = crate::config::problem::suggestion(&word.value, &known);
        problems.add(word.place, what, right);
    }
    found.copied()
}

fn origin(
    raw: &raw::RawProvider,
    kind: ProviderKind,
    out: &mut Providers,
    r: &mut Resolving<'_>,
) -> Option<(OriginId, String)> {
    let url = base_url(raw, kind, r.problems)?;
    if let Some(ca) = raw.ca.as_ref().filter(|_| !url.tls) {
        r.problems
            .add(ca.place, "ca without TLS", "an https:// base_url, or no ca");
    }
    let origin = Origin {
        host: url.host,
        port: url.port,
        tls: url.tls,
        http2: raw.http2.as_ref().map_or(Http2::Auto, |h| h.value),
        ca: raw.ca.as_ref().map(|c| resolve::pem(c, r)),
    };
    // Two built-in fakes have one address here and two ports later.
    let known = out
        .origins
        .iter()
        .position(|o| *o == origin && origin.port != 0);
    let at = known.unwrap_or(out.origins.len());
    let id = OriginId(next_id(at, raw.place, r.problems));
    if known.is_none() {
        out.origins.push(origin);
    }
    // Libraries of OpenAI's API are given `…/v1`; our calls' paths begin with it.
    let path = url.path.strip_suffix("/v1").unwrap_or(&url.path);
    Some((id, path.to_owned()))
}

fn base_url(
    raw: &raw::RawProvider,
    kind: ProviderKind,
    problems: &mut Problems,
) -> Option<BaseUrl> {
    if let Some(text) = &raw.base_url {
        return match url::parse(&text.value) {
            Ok(url) => Some(url),
            Err(why) => {
                let right = "such as https://api.example.com or http://10.0.0.5:8000/v1";
                problems.add(text.place, format!("base_url {why}"), right);
                None
            }
        };
    }
    let default = match kind {
        ProviderKind::Anthropic => "https://api.anthropic.com",
        ProviderKind::OpenAi => "https://api.openai.com/v1",
        ProviderKind::Gemini => "https://generativelanguage.googleapis.com",
        ProviderKind::Xai => "https://api.x.ai/v1",
        ProviderKind::Fireworks => "https://api.fireworks.ai/inference/v1",
        ProviderKind::OpenRouter => "https://openrouter.ai/api/v1",
        ProviderKind::Bedrock | ProviderKind::Vertex => return None,
        ProviderKind::Fake => return Some(fake_url()),
        ProviderKind::SelfHosted => {
            problems.add(
                raw.place,
                "a selfhosted provider without base_url",
                "where it is, such as http://10.0.0.5:8000/v1",
            );
            return None;
        }
    };
    url::parse(default).ok()
}

/// A built-in fake listens on loopback, at a port that is known when it is bound.
fn fake_url() -> BaseUrl {
    BaseUrl {
        tls: false,
        host: "127.0.0.1".to_owned(),
        port: 0,
        path: String::new(),
    }
}

fn fake(
    raw: &raw::RawProvider,
    kind: ProviderKind,
    provider: ProviderId,
    origin: OriginId,
    out: &mut Providers,
    problems: &mut Problems,
) {
    let built_in = kind == ProviderKind::Fake && raw.base_url.is_none();
    match (&raw.fake, built_in) {
        (Some(knobs), false) => {
            let what = "fake: on a provider that is not built in";
            problems.add(
                knobs.place,
                what,
                "kind: fake without base_url, or no fake:",
            );
        }
        (None, false) => {}
        (knobs, true) => out
            .fakes
            .push(fake_provider(knobs.as_ref(), provider, origin)),
    }
}

fn fake_provider(
    knobs: Option<&raw::RawFake>,
    provider: ProviderId,
    origin: OriginId,
) -> FakeProvider {
    let get = |f: fn(&raw::RawFake) -> Option<At<Duration>>, default: u64| {
        or(knobs.and_then(f), Duration::from_millis(default))
    };
    let tokens = |f: fn(&raw::RawFake) -> Option<At<Tokens>>| knobs.and_then(f).map(|a| a.value);
    FakeProvider {
        provider,
        origin,
        first_token: get(|k| k.first_token.clone(), 200),
        between_tokens: get(|k| k.between_tokens.clone(), 20),
        output_tokens: or(knobs.and_then(|k| k.output_tokens.clone()), 64),
        rpm: knobs.and_then(|k| k.rpm.clone()).map(|a| a.value),
        itpm: tokens(|k| k.itpm.clone()),
        otpm: tokens(|k| k.otpm.clone()),
    }
}

fn pools(
    raw: &raw::RawProvider,
    provider: ProviderId,
    needs_secret: bool,
    id: &At<String>,
    out: &mut Providers,
    taken: &mut Taken,
    r: &mut Resolving<'_>,
) {
    if raw.pools.is_empty() && !needs_secret {
        // Own machines and fakes need no key: one pool, one empty credential.
        taken.pools.claim("pool", id, r.problems);
        let pool = PoolId(next_id(out.pools.len(), raw.place, r.problems));
        let key = KeyId(next_id(out.keys.len(), raw.place, r.problems));
        out.keys.push(Key {
            name: id.value.clone(),
            pool,
            secret: None,
        });
        out.pools.push(Pool {
            name: id.value.clone(),
            provider,
            cache_scope: id.value.clone(),
            keys: vec![key],
            limits: Vec::new(),
        });
        out.pool_ids
            .insert((provider, id.value.clone()), Some(pool));
        return;
    }
    let mut seen = BTreeMap::new();
    for one in &raw.pools {
        pool(one, provider, needs_secret, &mut seen, out, taken, r);
    }
}

fn pool(
    raw: &raw::RawPool,
    provider: ProviderId,
    needs_secret: bool,
    seen: &mut BTreeMap<[u8; 32], String>,
    out: &mut Providers,
    taken: &mut Taken,
    r: &mut Resolving<'_>,
) {
    let Some(id) = &raw.id else {
        return;
    };
    taken.pools.claim("pool", id, r.problems);
    let pool = PoolId(next_id(out.pools.len(), id.place, r.problems));
    let limits = raw.limits.iter().map(|l| limit(l, r.problems)).collect();
    let mut keys = Vec::new();
    for raw in &raw.keys {
        let Some(key) = key(raw, pool, needs_secret, seen, taken, r) else {
            continue;
        };
        keys.push(KeyId(next_id(out.keys.len(), raw.place, r.problems)));
        out.keys.push(key);
    }
    if raw.keys.is_empty() && !needs_secret {
        taken.keys.claim("key", id, r.problems);
        keys.push(KeyId(next_id(out.keys.len(), id.place, r.problems)));
        out.keys.push(Key {
            name: id.value.clone(),
            pool,
            secret: None,
        });
    }
    let used = (!keys.is_empty()).then_some(pool);
    out.pool_ids.insert((provider, id.value.clone()), used);
    if used.is_none() {
        return;
    }
    out.pools.push(Pool {
        name: id.value.clone(),
        provider,
        cache_scope: raw.cache_scope.as_ref().unwrap_or(id).value.clone(),
        keys,
        limits,
    });
}

fn key(
    raw: &raw::RawKey,
    pool: PoolId,
    needs_secret: bool,
    seen: &mut BTreeMap<[u8; 32], String>,
    taken: &mut Taken,
    r: &mut Resolving<'_>,
) -> Option<Key> {
    let id = raw.id.as_ref()?;
    taken.keys.claim("key", id, r.problems);
    if !raw.has_secret && !needs_secret {
        return Some(Key {
            name: id.value.clone(),
            pool,
            secret: None,
        });
    }
    let Some(written) = &raw.secret else {
        let what = format!("key {:?} has no secret", id.value);
        r.problems.add(
            raw.place,
            what,
            "\"${NAME:-}\", env:NAME, file:/path or credential:NAME",
        );
        return None;
    };
    let Some(secret) = secret::find(written, r.outside, r.problems) else {
        r.notes
            .push(format!("key {} has no secret: left out", id.value));
        return None;
    };
    // One credential in two pools would be counted against two limits where the provider has one.
    let hash = crate::config::resolve::hash(secret.expose());
    if let Some(other) = seen.insert(hash, id.value.clone()) {
        let what = format!("key {:?} is the same secret as key {other:?}", id.value);
        r.problems.add(written.place, what, "each credential once");
    }
    Some(Key {
        name: id.value.clone(),
        pool,
        secret: Some(secret),
    })
}

fn limit(raw: &raw::RawPoolLimit, problems: &mut Problems) -> PoolLimit {
    let models = raw.models.clone().unwrap_or_default();
    for glob in &models {
        if !is_glob(&glob.value) {
            let what = format!("{:?} is not a pattern of model names", glob.value);
            problems.add(
                glob.place,
                what,
                "letters of a model's name, and `*` for any run of characters",
            );
        }
    }
    let mut models: Vec<String> = models.into_iter().map(|m| m.value).collect();
    if models.is_empty() {
        models.push("*".to_owned());
    }
    PoolLimit {
        models,
        rpm: raw.rpm.as_ref().map(|a| a.value),
        tpm: raw.tpm.as_ref().map(|a| a.value),
        itpm: raw.itpm.as_ref().map(|a| a.value),
        otpm: raw.otpm.as_ref().map(|a| a.value),
        concurrent: raw.concurrent.as_ref().map(|a| a.value),
    }
}

/// `?`, `[` and `{` mean something in other tools' patterns; here they would quietly match nothing.
fn is_glob(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/@*+".contains(&b);
    !text.is_empty() && text.bytes().all(letter)
}

fn headers(raw: Vec<(At<String>, At<String>)>, problems: &mut Problems) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::with_capacity(raw.len());
    for (name, value) in raw {
        let lower = name.value.to_ascii_lowercase();
        // RFC 9110, section 5.6.2: a token.
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if lower.is_empty() || !lower.bytes().all(token) {
            problems.add(name.place, "not a header's name", "letters, digits and `-`");
        } else if OURS.contains(&lower.as_str()) {
            problems.add(
                name.place,
                format!("header {lower} is set by the router"),
                "leave it out",
            );
        } else if out.iter().any(|(n, _)| *n == lower) {
            problems.add(
                name.place,
                format!("header {lower} is there twice"),
                "each header once",
            );
        } else if !value
            .value
            .bytes()
            .all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic())
        {
            problems.add(
                value.place,
                format!("header {lower} has a letter no header can carry"),
                "visible ASCII letters and blanks",
            );
        } else {
            out.push((lower, value.value));
        }
    }
    out
}

/// They frame the message or belong to one connection (RFC 9110, section 7.6.1): a value from a file could only break the call.
const OURS: [&str; 10] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
];
