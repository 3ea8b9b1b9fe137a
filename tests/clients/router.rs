//! A router in this process before the fake, which it takes for a provider of the wire format that a test wants.

use super::{FAKE_KEY, FAULTS, FAULTY, MODEL};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use stokehold::node::{self, Node};
use tempfile::TempDir;

/// A running router, and the folder with its configuration and ledger.
pub struct Router {
    node: Node,
    folder: TempDir,
}

/// The key of its one client.
pub const CLIENT_KEY: &str = "sk-client";

impl Router {
    /// Calls the fake at `upstream` as a provider of `kind`.
    pub fn before(upstream: SocketAddr, kind: &str, shards: usize) -> Self {
        Self::start(&configuration(upstream, kind, shards))
    }

    /// Serves by `yaml`, in which `DATA` stands for a new folder.
    pub fn start(yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stokehold.yaml");
        let data = folder.path().join("data");
        fs::write(&file, yaml.replace("DATA", data.to_str().unwrap())).unwrap();
        let loaded = node::read_config(&file).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let node = Node::start(loaded).unwrap();
        Self { node, folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.node.address()
    }

    /// Ends it, which must go well.
    pub fn stop(self) {
        self.node.stop().unwrap();
        self.folder.close().unwrap();
    }
}

/// One provider for what works and one for each kind of fault, all of them the same fake: a limit or a breaker of one shall not be felt
/// by the others. Waits are short, since tests wait too.
fn configuration(upstream: SocketAddr, kind: &str, shards: usize) -> String {
    let mut yaml = format!(
        "server: {{listen: 127.0.0.1:0, operator: 127.0.0.1:0, shards: {shards}, pin: false, drain: 5s}}\n\
         data_dir: DATA\n\
         log: {{level: error}}\n\
         routing: {{attempts_max: 2, backoff: 20ms, breaker_open: 500ms}}\n\
         tenants: [{{id: tests, keys: [{{id: tests-1, secret: {CLIENT_KEY}}}]}}]\n"
    );
    let names: Vec<String> = std::iter::once(MODEL.to_owned())
        .chain(FAULTS.iter().map(|fault| format!("{FAULTY}-{fault}")))
        .collect();
    let mut list = |section: &str, line: &dyn Fn(&str) -> String| {
        let _ = writeln!(yaml, "{section}:");
        for name in &names {
            let _ = writeln!(yaml, "  - {{{}}}", line(name));
        }
    };
    list("providers", &|name| {
        format!(
            "id: at-{name}, kind: {kind}, base_url: 'http://{upstream}', pools: [{{id: pool-{name}, keys: [{{id: key-{name}, secret: {FAKE_KEY}}}]}}]"
        )
    });
    list("models", &|name| {
        format!(
            "id: {name}, endpoints: [{{provider: at-{name}}}], takes: [images, documents, tools], context: 200_000, output_max: 64_000"
        )
    });
    let cache = match kind {
        "anthropic" => "{mode: breakpoints, min_tokens: 1_024, ttls: [5m, 1h]}",
        _ => "{mode: prefix, min_tokens: 1_024, ttls: [5m]}",
    };
    list("prices", &|name| {
        format!(
            "kind: {kind}, model: {name}, input: 1, output: 5, cache_read: 0.1, cache: {cache}, source: made up, read: 2026-11-23"
        )
    });
    yaml
}
