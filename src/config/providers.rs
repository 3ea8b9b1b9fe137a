//! Providers, their origins, pools and keys.
//!
//! A key without a secret is left out and a provider without keys is inactive: naming every provider in the file and giving the keys
//! by environment is how the file that we ship works.

use crate::base::{KeyId, OriginId, PoolId, ProviderId, Tokens};
use crate::config::health;
use crate::config::problem::Problems;
use crate::config::raw;
use crate::config::read::{At, Names};
use crate::config::resolve::{self, Resolving, next_id, or};
use crate::config::rules::Rules;
use crate::config::source::{self, KeySource, Wanted};
use crate::config::template::Template;
use crate::config::url::{self, BaseUrl};
use crate::config::{FakeProvider, Http2, Key, Origin, Pool, PoolLimit, Provider};
use crate::protocol::provider::{self, ProviderKind};
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

pub fn all(raw: Vec<raw::RawProvider>, rules: &Rules, r: &mut Resolving<'_>) -> Providers {
    let mut out = Providers::default();
    let mut taken = Taken::default();
    for one in raw {
        let Some(id) = one.id.clone() else {
            continue;
        };
        taken.providers.claim("provider", &id, r.problems);
        let found = provider(one, (&id, rules), &mut out, &mut taken, r);
        out.ids.entry(id.value).or_insert(found);
    }
    out
}

fn provider(
    raw: raw::RawProvider,
    (id, rules): (&At<String>, &Rules),
    out: &mut Providers,
    taken: &mut Taken,
    r: &mut Resolving<'_>,
) -> Option<ProviderId> {
    let kind = kind(raw.kind.as_ref()?, r.problems);
    let provider = ProviderId(next_id(out.providers.len(), raw.place, r.problems));
    let region = region(&raw, kind, r);
    let owner = Owner {
        id: provider,
        kind,
        region: region.as_deref(),
        rules,
    };
    // Pools are read also where the kind is wrong, so that their problems are told in the same go.
    pools(&raw, owner, id, out, taken, r);
    let kind = kind?;
    let place = place(&raw, kind, region, provider, out, r.problems);
    let (origin, base_path) = origin(&raw, kind, &place, out, r)?;
    fake(&raw, kind, provider, origin, out, r.problems);
    let made = Provider {
        name: id.value.clone(),
        kind,
        origin,
        base_path,
        place,
        headers: headers(raw.headers.unwrap_or_default(), r.problems),
        query: query(raw.query.unwrap_or_default(), r.problems),
        cache_hints: cache_hints(
            raw.cache_hints.as_ref(),
            kind,
            &out.origins,
            origin,
            r.problems,
        ),
        health: health::of(raw.health.as_ref(), kind, r.problems),
    };
    guard_places(&made, provider, raw.place, out, r.problems);
    out.providers.push(made);
    if !out.is_active(provider) {
        let name = &id.value;
        r.notes
            .push(format!("provider {name} has no key: it is not used"));
    }
    Some(provider)
}

/// Whose pools and keys are read.
#[derive(Clone, Copy)]
struct Owner<'a> {
    id: ProviderId,
    /// `None` where it was wrong.
    kind: Option<ProviderKind>,
    region: Option<&'a str>,
    rules: &'a Rules,
}

impl Owner<'_> {
    fn needs_key(self) -> bool {
        self.kind.is_some_and(source::needs_key)
    }
}

/// Where the provider is called, as far as that is a name: as written, or for AWS as its own clients find it.
fn region(
    raw: &raw::RawProvider,
    kind: Option<ProviderKind>,
    r: &mut Resolving<'_>,
) -> Option<String> {
    if let Some(region) = &raw.region {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if region.value.is_empty() || !region.value.bytes().all(plain) {
            let right = "such as us-east-1, europe-west1, eu or global";
            r.problems.add(region.place, "not a region", right);
            return None;
        }
        return Some(region.value.clone());
    }
    let env = |name: &str| (r.outside.env)(name).filter(|v| !v.is_empty());
    match kind {
        Some(ProviderKind::Bedrock) => env("AWS_REGION").or_else(|| env("AWS_DEFAULT_REGION")),
        // Where Google recommends to call (providers/vertex.md 2).
        Some(ProviderKind::Vertex) => Some("global".to_owned()),
        _ => None,
    }
}

fn place(
    raw: &raw::RawProvider,
    kind: ProviderKind,
    region: Option<String>,
    provider: ProviderId,
    out: &Providers,
    problems: &mut Problems,
) -> provider::Place {
    use ProviderKind::{Bedrock, Vertex};
    let misplaced = [
        (
            "region",
            raw.region.as_ref().map(|a| a.place),
            &[Bedrock, Vertex][..],
        ),
        ("project", raw.project.as_ref().map(|a| a.place), &[Vertex]),
        ("api", raw.mantle.as_ref().map(|a| a.place), &[Bedrock]),
    ];
    for (field, at, kinds) in misplaced {
        if let Some(at) = at.filter(|_| !kinds.contains(&kind)) {
            let what = format!("{field}: on a provider of kind {}", kind.as_str());
            problems.add(at, what, "leave it out");
        }
    }
    if kind == Bedrock && region.is_none() && raw.region.is_none() {
        let right = "region: us-east-1, or AWS_REGION in the environment";
        problems.add(raw.place, "a bedrock provider without region", right);
    }
    let written = raw.project.as_ref().map(|p| p.value.clone());
    let project = written.filter(|p| !p.is_empty()).or_else(|| {
        let keys = out
            .pools
            .iter()
            .filter(|p| p.provider == provider)
            .flat_map(|p| &p.keys);
        keys.into_iter()
            .find_map(|key| match &out.keys[key.0 as usize].source {
                KeySource::Google(google) => google.project.clone(),
                _ => None,
            })
    });
    // An inactive provider may stand in the file without its project, as without its key.
    if kind == Vertex && project.is_none() && out.is_active(provider) {
        let right = "project: the id of the Google Cloud project";
        problems.add(raw.place, "a vertex provider without project", right);
    }
    provider::Place {
        region,
        project,
        mantle: raw.mantle.as_ref().is_some_and(|m| m.value),
        unversioned: raw.unversioned.as_ref().is_some_and(|u| u.value),
    }
}

/// A key that signs has no text that could be put into a header.
fn guard_places(
    made: &Provider,
    id: ProviderId,
    place: crate::config::Place,
    out: &Providers,
    problems: &mut Problems,
) {
    let signs = |key: &KeyId| matches!(out.keys[key.0 as usize].source, KeySource::Aws(_));
    let mut keys = out
        .pools
        .iter()
        .filter(|p| p.provider == id)
        .flat_map(|p| &p.keys);
    if made.places_secret() && keys.any(signs) {
        let what = format!("{}: ${{secret}} with a key that signs", made.name);
        problems.add(place, what, "a key with secret: or google:");
    }
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
    place: &provider::Place,
    out: &mut Providers,
    r: &mut Resolving<'_>,
) -> Option<(OriginId, String)> {
    let url = base_url(raw, kind, place, r.problems)?;
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
    // Libraries of OpenAI's API are given `…/v1`; our calls' paths begin with it, unless the path stands in its place.
    let versioned = Some("/v1").filter(|_| !place.unversioned);
    let path = versioned
        .and_then(|v1| url.path.strip_suffix(v1))
        .unwrap_or(&url.path);
    Some((id, path.to_owned()))
}

fn base_url(
    raw: &raw::RawProvider,
    kind: ProviderKind,
    place: &provider::Place,
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
    match kind {
        ProviderKind::Fake => Some(fake_url()),
        ProviderKind::SelfHosted => {
            problems.add(
                raw.place,
                "a selfhosted provider without base_url",
                "where it is, such as http://10.0.0.5:8000/v1",
            );
            None
        }
        // Without a region, which has been told, there is no host.
        _ => url::parse(&url::usual(kind, place)?).ok(),
    }
}

/// Whether the provider is told which requests belong together. What others serve in OpenAI's style may refuse a field that it does not know, so
/// there the operator has to say that it is taken.
fn cache_hints(
    raw: Option<&At<bool>>,
    kind: ProviderKind,
    origins: &[Origin],
    origin: OriginId,
    problems: &mut Problems,
) -> bool {
    use ProviderKind::{Fireworks, OpenAi, OpenRouter, SelfHosted, Xai};
    let takes = matches!(kind, OpenAi | Xai | Fireworks | OpenRouter | SelfHosted);
    if let Some(at) = raw.filter(|_| !takes) {
        let what = format!("cache_hints: on a provider of kind {}", kind.as_str());
        problems.add(at.place, what, "leave it out, it takes none");
    }
    let host = origins.get(origin.0 as usize).map_or("", |o| &o.host);
    let is_openai = host == "api.openai.com" || host.ends_with(".api.openai.com");
    takes && raw.map_or(kind != OpenAi || is_openai, |at| at.value)
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
    owner: Owner<'_>,
    id: &At<String>,
    out: &mut Providers,
    taken: &mut Taken,
    r: &mut Resolving<'_>,
) {
    let provider = owner.id;
    if raw.pools.is_empty() && !owner.needs_key() && owner.kind.is_some() {
        // Own machines and fakes need no key: one pool, one empty credential.
        taken.pools.claim("pool", id, r.problems);
        let pool = PoolId(next_id(out.pools.len(), raw.place, r.problems));
        let key = KeyId(next_id(out.keys.len(), raw.place, r.problems));
        out.keys.push(Key {
            name: id.value.clone(),
            pool,
            source: KeySource::None,
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
    let mut seen = Vec::new();
    for one in &raw.pools {
        pool(one, owner, &mut seen, out, taken, r);
    }
}

fn pool(
    raw: &raw::RawPool,
    owner: Owner<'_>,
    seen: &mut Seen,
    out: &mut Providers,
    taken: &mut Taken,
    r: &mut Resolving<'_>,
) {
    let Some(id) = &raw.id else {
        return;
    };
    taken.pools.claim("pool", id, r.problems);
    let pool = PoolId(next_id(out.pools.len(), id.place, r.problems));
    let limits = raw.limits.iter();
    let limits = limits.map(|l| limit(l, owner, r.problems)).collect();
    let mut keys = Vec::new();
    for raw in &raw.keys {
        let Some(key) = key(raw, pool, owner, seen, taken, r) else {
            continue;
        };
        keys.push(KeyId(next_id(out.keys.len(), raw.place, r.problems)));
        out.keys.push(key);
    }
    if raw.keys.is_empty() && !owner.needs_key() {
        taken.keys.claim("key", id, r.problems);
        keys.push(KeyId(next_id(out.keys.len(), id.place, r.problems)));
        out.keys.push(Key {
            name: id.value.clone(),
            pool,
            source: KeySource::None,
        });
    }
    let used = (!keys.is_empty()).then_some(pool);
    out.pool_ids.insert((owner.id, id.value.clone()), used);
    if used.is_none() {
        return;
    }
    out.pools.push(Pool {
        name: id.value.clone(),
        provider: owner.id,
        cache_scope: raw.cache_scope.as_ref().unwrap_or(id).value.clone(),
        keys,
        limits,
    });
}

/// Sources of a provider, and the key that has each.
type Seen = Vec<(KeySource, String)>;

fn key(
    raw: &raw::RawKey,
    pool: PoolId,
    owner: Owner<'_>,
    seen: &mut Seen,
    taken: &mut Taken,
    r: &mut Resolving<'_>,
) -> Option<Key> {
    let id = raw.id.as_ref()?;
    taken.keys.claim("key", id, r.problems);
    let wanted = Wanted {
        raw,
        name: &id.value,
        kind: owner.kind,
        region: owner.region,
    };
    let source = source::find(&wanted, r)?;
    // One credential in two pools would be counted against two limits where the provider has one.
    let twin = seen
        .iter()
        .find(|(s, _)| *s == source && *s != KeySource::None);
    if let Some((_, other)) = twin {
        let what = format!("key {:?} is the same secret as key {other:?}", id.value);
        let place = raw.secret.as_ref().map_or(raw.place, |s| s.place);
        r.problems.add(place, what, "each credential once");
    }
    seen.push((source.clone(), id.value.clone()));
    Some(Key {
        name: id.value.clone(),
        pool,
        source,
    })
}

fn limit(raw: &raw::RawPoolLimit, owner: Owner<'_>, problems: &mut Problems) -> PoolLimit {
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
    let rule = owner.kind.map(|kind| owner.rules.find(kind, &models));
    PoolLimit {
        rule: rule.unwrap_or_default(),
        models,
        rpm: raw.rpm.as_ref().map(|a| a.value),
        tpm: raw.tpm.as_ref().map(|a| a.value),
        itpm: raw.itpm.as_ref().map(|a| a.value),
        otpm: raw.otpm.as_ref().map(|a| a.value),
        concurrent: raw.concurrent.as_ref().map(|a| a.value),
        rpd: raw.rpd.as_ref().map(|a| a.value),
        tpd: raw.tpd.as_ref().map(|a| a.value),
        burst: raw.burst.as_ref().map(|a| a.value),
    }
}

/// `?`, `[` and `{` mean something in other tools' patterns; here they would quietly match nothing.
fn is_glob(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/@*+".contains(&b);
    !text.is_empty() && text.bytes().all(letter)
}

fn headers(raw: Vec<(At<String>, At<String>)>, problems: &mut Problems) -> Vec<(String, Template)> {
    let mut out: Vec<(String, Template)> = Vec::with_capacity(raw.len());
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
            out.push((lower, Template::parse(&value.value)));
        }
    }
    out
}

/// Any text can be percent-encoded, so only names are looked at.
fn query(raw: Vec<(At<String>, At<String>)>, problems: &mut Problems) -> Vec<(String, Template)> {
    let mut out: Vec<(String, Template)> = Vec::with_capacity(raw.len());
    for (name, value) in raw {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~$".contains(&b);
        if name.value.is_empty() || !name.value.bytes().all(plain) {
            let right = "letters, digits, `-`, `_`, `.` and `$`";
            problems.add(name.place, "not a name of a query", right);
        } else if out.iter().any(|(n, _)| *n == name.value) {
            let what = format!("query {} is there twice", name.value);
            problems.add(name.place, what, "each name once");
        } else {
            out.push((name.value, Template::parse(&value.value)));
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
