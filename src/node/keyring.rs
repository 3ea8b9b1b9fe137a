//! Client keys at run time: one thread that has their file, makes and takes them, and serves by them from the next request on.
//!
//! A changed set of keys is a configuration of its own for the shards, so that one swap is all they know of it; a file that is read again goes
//! through here as well, and gets the keys that were made since.

use super::serving::Shared;
use crate::base::TenantId;
use crate::config::wish::Wish;
use crate::config::{ClientKey, Config};
use crate::iocore::keys::{Keys, Secret, Stored};
use crate::net::admin::KeyAsk;
use crate::net::runtime::clock;
use crate::net::tls::Origins;
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

/// What is asked of the thread.
pub enum Order {
    /// The file was read again.
    Serve(Box<Config>, Origins, oneshot::Sender<Arc<Config>>),
    Keys(KeyAsk, oneshot::Sender<Told>),
}

/// A status of HTTP and a text of JSON.
pub type Told = (u16, String);

/// The keys and what they are laid over.
#[derive(Debug)]
pub struct Keyring {
    keys: Keys,
    /// As the file has it.
    base: Config,
    generation: u64,
}

impl Keyring {
    pub fn new(keys: Keys, base: Config) -> Self {
        Self {
            keys,
            generation: base.generation,
            base,
        }
    }

    /// The configuration with the keys that were made since.
    pub fn merged(&self) -> anyhow::Result<Config> {
        let mut config = self.base.clone();
        config.generation = self.generation;
        for stored in self.keys.all()? {
            lay_over(&mut config, &stored);
        }
        Ok(config)
    }

    /// Does what is ordered until nobody can order any more.
    pub fn work(mut self, shared: &Weak<Shared>, orders: &mpsc::Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            match order {
                Order::Serve(base, origins, done) => {
                    self.base = *base;
                    // Who reads the file again is told what is served by; that he has gone changes nothing.
                    match self.serve(&shared, Some(origins)) {
                        Ok(config) => drop(done.send(config)),
                        Err(error) => {
                            tracing::error!(%error, "the client keys cannot be read: what is served by stays")
                        }
                    }
                }
                Order::Keys(ask, tell) => drop(tell.send(self.answer(&ask, &shared))),
            }
        }
    }

    fn serve(&mut self, shared: &Shared, origins: Option<Origins>) -> anyhow::Result<Arc<Config>> {
        self.generation += 1;
        let config = Arc::new(self.merged()?);
        let origins = origins.unwrap_or_else(|| shared.origins());
        shared.reload(Arc::clone(&config), origins);
        Ok(config)
    }

    fn answer(&mut self, ask: &KeyAsk, shared: &Shared) -> Told {
        match self.done(ask, shared) {
            Ok((status, told)) => (status, told.to_string()),
            Err(error) => (400, json!({"error": format!("{error:#}")}).to_string()),
        }
    }

    fn done(&mut self, ask: &KeyAsk, shared: &Shared) -> anyhow::Result<(u16, Value)> {
        let now = clock().wall;
        match ask {
            KeyAsk::List => Ok((200, json!({"keys": self.list()?}))),
            KeyAsk::Create(body) => {
                let wish: Wish = serde_json::from_slice(body).context("the body")?;
                wish.rights()
                    .and_then(|_| wish.fits(&self.base))
                    .map_err(anyhow::Error::msg)?;
                let made = self.keys.create(&wish, now)?;
                self.serve(shared, None)?;
                Ok((201, shown(&made)))
            }
            KeyAsk::Rotate(name, body) => {
                let how: Rotation = match body.is_empty() {
                    true => Rotation::default(),
                    false => serde_json::from_slice(body).context("the body")?,
                };
                let overlap = Duration::from_secs(how.overlap_seconds);
                let made = self.keys.rotate(name, overlap, now)?;
                self.serve(shared, None)?;
                Ok((200, shown(&made)))
            }
            KeyAsk::Revoke(name) => {
                let gone = self.keys.revoke(name, now)?;
                self.serve(shared, None)?;
                Ok((200, json!(gone)))
            }
        }
    }

    /// Those of the file, which only the file changes, and those that were made.
    fn list(&self) -> anyhow::Result<Vec<Value>> {
        let tenant = |key: &ClientKey| &self.base.tenants[usize::from(key.tenant.0)].name;
        let of_file = self.base.client_keys.iter().map(
            |key| json!({"name": key.name, "source": "file", "rights": {"tenant": tenant(key)}}),
        );
        let mut all: Vec<Value> = of_file.collect();
        for stored in self.keys.all()? {
            let mut one = json!(stored);
            one["source"] = json!("made");
            all.push(one);
        }
        Ok(all)
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// So long the key before is good as well.
    #[serde(default)]
    overlap_seconds: u64,
}

/// With the key's text, this once.
fn shown((stored, secret): &(Stored, Secret)) -> Value {
    let mut told = json!(stored);
    told["key"] = json!(secret.0);
    told
}

/// A key whose tenant is configured no more is good for nothing until it is again.
fn lay_over(config: &mut Config, stored: &Stored) {
    let tenant = config
        .tenants
        .iter()
        .position(|t| t.name == stored.rights.tenant);
    let (Some(tenant), Ok(rights), None) = (tenant, stored.rights.rights(), stored.revoked) else {
        return;
    };
    // The configuration bounds tenants to what an id can count.
    let tenant = TenantId(tenant as u16);
    if let Some((sha256, until)) = stored.before {
        let mut rights = rights.clone();
        rights.expires = Some(rights.expires.map_or(until, |end| end.min(until)));
        config.client_keys.push(ClientKey {
            name: stored.name.clone(),
            tenant,
            sha256,
            rights,
        });
    }
    config.client_keys.push(ClientKey {
        name: stored.name.clone(),
        tenant,
        sha256: stored.sha256,
        rights,
    });
}
