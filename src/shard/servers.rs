//! What is known of own servers: who is asked how it is, and what came of it.
//!
//! One place a process asks (the I/O core), every shard is told. Servers are named by provider and address, since ids change with the
//! configuration. At the decision all this is one look into an array.

use crate::base::{Instant, PoolId, ProviderId};
use crate::config::{self, Config, KeySource};
use crate::policy::server::{Report, Server, State};
use crate::protocol::provider::{ProviderKind, form};
use crate::shard::desk::{Desk, Epoch};
use smallvec::SmallVec;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Which server: the same name at another address is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    pub provider: String,
    /// Scheme, host, port and path prefix: what pages are asked for under.
    pub base: String,
}

/// A server that is asked how it is, and with what.
#[derive(Clone, PartialEq, Eq)]
pub struct Watched {
    pub name: ServerName,
    pub health: config::Health,
    /// Lower-case names. Values may be secrets.
    pub headers: Vec<(String, String)>,
    /// Added to each page's own query; percent-encoded. May be a secret.
    pub query: String,
    /// Certificates to trust beside the system's.
    pub ca: Option<PathBuf>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({} at {})", self.name.provider, self.name.base)
    }
}

/// What one poll of a server came to, so long ago.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerNews {
    pub name: ServerName,
    pub report: Report,
    pub age: Duration,
}

/// The servers of a configuration that are asked. Of several keys the first is shown.
#[must_use]
pub fn watched(config: &Config) -> Vec<Watched> {
    (0..config.providers.len())
        .filter_map(|at| one(config, ProviderId(at as u16)))
        .collect()
}

fn one(config: &Config, id: ProviderId) -> Option<Watched> {
    let provider = &config.providers[usize::from(id.0)];
    let health = provider.health.clone()?;
    // One without a key that is in use is not called at all.
    let first = pools(config, id).into_iter().next()?;
    let keys = &config.pools[usize::from(first.0)].keys;
    let secret = keys
        .iter()
        .find_map(|key| match &config.keys[usize::from(key.0)].source {
            KeySource::Secret(secret) => Some(secret.expose()),
            KeySource::None | KeySource::Aws(_) | KeySource::Google(_) => None,
        });
    let mut headers = Vec::new();
    if let Some(secret) = secret.filter(|_| !provider.places_secret()) {
        headers.push(("authorization".to_owned(), format!("Bearer {secret}")));
    }
    for (name, value) in &provider.headers {
        headers.retain(|(known, _)| known != name);
        headers.push((name.clone(), value.fill(secret)));
    }
    let mut query = String::new();
    for (name, value) in &provider.query {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        form::encode(&value.fill(secret), &mut query);
    }
    let origin = &config.origins[usize::from(provider.origin.0)];
    Some(Watched {
        name: name_of(config, id),
        health,
        headers,
        query,
        ca: origin.ca.clone(),
    })
}

fn name_of(config: &Config, id: ProviderId) -> ServerName {
    let provider = &config.providers[usize::from(id.0)];
    let origin = &config.origins[usize::from(provider.origin.0)];
    let scheme = if origin.tls { "https" } else { "http" };
    ServerName {
        provider: provider.name.clone(),
        base: format!("{scheme}://{}{}", origin.authority(), provider.base_path),
    }
}

fn pools(config: &Config, of: ProviderId) -> SmallVec<[PoolId; 1]> {
    let pools = config.pools.iter().enumerate();
    pools
        .filter(|(_, pool)| pool.provider == of)
        .map(|(at, _)| PoolId(at as u16))
        .collect()
}

/// By provider of one configuration.
#[derive(Debug)]
pub(super) struct Servers(Vec<Place>);

#[derive(Debug)]
struct Place {
    /// `None` for who is not asked.
    watched: Option<(ServerName, Duration)>,
    /// Through which it is called.
    pools: SmallVec<[PoolId; 1]>,
    server: Server,
}

impl Servers {
    pub fn new(config: &Config) -> Self {
        let place = |at: usize| {
            let id = ProviderId(at as u16);
            let health = config.providers[at].health.as_ref();
            Place {
                watched: health.map(|health| (name_of(config, id), health.stale_after())),
                pools: pools(config, id),
                server: Server::default(),
            }
        };
        Self((0..config.providers.len()).map(place).collect())
    }

    /// What is known of a server that both configurations have is known under both.
    pub fn inherit(&mut self, from: &Self) {
        for place in self.0.iter_mut().filter(|place| place.watched.is_some()) {
            let same = from.0.iter().find(|old| old.watched == place.watched);
            if let Some(old) = same {
                place.server = old.server;
            }
        }
    }

    /// Its place, and how long what is heard of it is believed.
    fn find(&self, name: &ServerName) -> Option<(usize, Duration)> {
        let mut places = self.0.iter().enumerate();
        places.find_map(|(at, place)| {
            let (known, stale_after) = place.watched.as_ref()?;
            (known == name).then_some((at, *stale_after))
        })
    }
}

impl Epoch {
    /// Takes news of a server; true where it may be called again and could not before.
    fn take_server(&mut self, now: Instant, news: &ServerNews) -> bool {
        let Some((at, stale_after)) = self.servers.find(&news.name) else {
            return false;
        };
        let calls = self.calls_through(&self.servers.0[at].pools);
        let server = &mut self.servers.0[at].server;
        let was_shut = server.shut_until(now).is_some();
        let believed_until = now + stale_after.saturating_sub(news.age);
        server.hear(news.report, believed_until, calls);
        was_shut && server.shut_until(now).is_none()
    }

    fn calls_through(&self, pools: &[PoolId]) -> u64 {
        pools.iter().map(|pool| self.pool_calls(*pool)).sum()
    }

    /// Until when an own server shall be left alone, if others can be asked.
    pub fn server_shut_until(&self, provider: ProviderId, now: Instant) -> Option<Instant> {
        self.servers.0[usize::from(provider.0)]
            .server
            .shut_until(now)
    }

    /// Requests that a new one through `pool` would share its provider with: an own server's count, where there is a fresh one.
    pub fn ahead(&self, provider: ProviderId, pool: PoolId, now: Instant) -> u64 {
        let place = &self.servers.0[usize::from(provider.0)];
        match place.server.report(now) {
            Some(report) if report.figures.queue().is_some() => {
                place.server.ahead(now, self.calls_through(&place.pools))
            }
            _ => self.pool_calls(pool),
        }
    }

    /// How many times longer the first token takes at an own server with so many ahead; 1 elsewhere.
    pub fn crowded(&self, provider: ProviderId, ahead: u64, crowding: f64) -> f64 {
        let kind = self.config.providers[usize::from(provider.0)].kind;
        match kind {
            ProviderKind::SelfHosted => 1.0 + crowding * ahead as f64,
            _ => 1.0,
        }
    }
}

impl Desk {
    /// News of an own server, for every configuration that has it. Who waits has a turn when it may be called again.
    pub fn take_server(&mut self, now: Instant, news: &ServerNews) {
        for epoch in &mut self.epochs {
            if epoch.take_server(now, news) {
                self.line.stir();
            }
        }
    }
}

impl ServerNews {
    /// `true` and `false` where it is heard of, nothing while it is not.
    #[must_use]
    pub fn is_up(&self) -> Option<bool> {
        match self.report.state {
            State::Unknown => None,
            State::Well => Some(true),
            State::Draining | State::Down => Some(false),
        }
    }
}
