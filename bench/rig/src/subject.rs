//! What stands between load and upstream: the router, nginx, or nothing. Each with a configuration written for one measurement.

use crate::canned::Dialect;
use crate::process::Process;
use anyhow::{Context, Result};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// The client key that all of them are asked with.
pub const KEY: &str = "sk-bench";
const MODEL: &str = "bench-model";

/// The model to ask for, so that the router's upstream speaks the same dialect.
#[must_use]
pub fn model(dialect: Dialect) -> String {
    match dialect {
        Dialect::Chat => MODEL.to_owned(),
        Dialect::Messages => format!("{MODEL}-messages"),
    }
}

pub struct Subject {
    pub name: &'static str,
    pub at: SocketAddr,
    /// `None` where nothing stands between.
    pub process: Option<Process>,
}

/// How the router reaches the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    Http1,
    Http2,
}

impl Subject {
    #[must_use]
    pub fn direct(upstream: SocketAddr) -> Self {
        Self {
            name: "direct",
            at: upstream,
            process: None,
        }
    }

    /// The router at `program`: one shard, everything on, its data in `folder`.
    pub fn stokehold(
        program: &Path,
        core: usize,
        upstream: SocketAddr,
        wire: Upstream,
        runtime: &str,
        folder: &Path,
    ) -> Result<Self> {
        let (at, operator) = (free_address()?, free_address()?);
        let config = folder.join("stokehold.yaml");
        let text = stokehold_yaml(at, operator, upstream, wire, runtime, folder);
        fs::write(&config, text)?;
        let config = config.to_str().context("a path in UTF-8")?;
        let arguments = ["--config", config, "serve"];
        let log = folder.join("stokehold.log");
        let mut process = Process::start("stokehold", core, program, &arguments, &log)?;
        process.wait_listening(at, &log)?;
        Ok(Self {
            name: "stokehold",
            at,
            process: Some(process),
        })
    }

    /// nginx as a plain proxy, one worker, its files in `folder`.
    pub fn nginx(program: &Path, core: usize, upstream: SocketAddr, folder: &Path) -> Result<Self> {
        let at = free_address()?;
        let config = folder.join("nginx.conf");
        fs::write(&config, nginx_conf(at, upstream, folder))?;
        let paths = [&config, folder].map(|p| p.to_str().context("a path in UTF-8"));
        let [config, prefix] = paths;
        let arguments = ["-p", prefix?, "-c", config?, "-e", "stderr"];
        let log = folder.join("nginx.log");
        let mut process = Process::start("nginx", core, program, &arguments, &log)?;
        process.wait_listening(at, &log)?;
        Ok(Self {
            name: "nginx",
            at,
            process: Some(process),
        })
    }
}

/// An address on loopback that was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The program of this name on the path, or where system programs are.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

fn stokehold_yaml(
    at: SocketAddr,
    operator: SocketAddr,
    upstream: SocketAddr,
    wire: Upstream,
    runtime: &str,
    folder: &Path,
) -> String {
    let http2 = match wire {
        Upstream::Http1 => "never",
        Upstream::Http2 => "always",
    };
    let data = folder.join("data");
    // Pinned from outside, with its I/O core, so that all it costs is on one core. Limits are on, and too wide to be met.
    format!(
        "data_dir: {data:?}
server: {{listen: \"{at}\", operator: \"{operator}\", shards: 1, pin: false, runtime: {runtime}}}
limits: {{connections_max: 60_000, exchanges_max: 60_000, h2_streams_max: 2_000, upstream_h2_streams: 2_000}}
log: {{level: warn}}
tenants:
  - id: bench
    keys: [{{id: bench-1, secret: {KEY}}}]
    limits: {{rpm: 100_000_000, tpm: 1_000_000_000_000, concurrent: 100_000, usd_per_day: 1_000_000}}
providers:
  - {{id: echo-openai, kind: openai, base_url: \"http://{upstream}\", http2: {http2}, pools: [{{id: openai-1, keys: [{{id: k1, secret: sk-upstream-1}}]}}]}}
  - {{id: echo-anthropic, kind: anthropic, base_url: \"http://{upstream}\", http2: {http2}, pools: [{{id: anthropic-1, keys: [{{id: k2, secret: sk-upstream-2}}]}}]}}
models:
  - {{id: {MODEL}, endpoints: [{{provider: echo-openai}}]}}
  - {{id: {MODEL}-messages, endpoints: [{{provider: echo-anthropic, name: {MODEL}}}]}}
prices:
  - {{kind: openai, model: {MODEL}, input: 1, output: 5, source: made up, read: 2026-11-23}}
  - {{kind: anthropic, model: {MODEL}, input: 1, output: 5, source: made up, read: 2026-11-23}}
"
    )
}

/// Limits on requests a connection are raised, since a proxy that reconnects is not what is compared.
fn nginx_conf(at: SocketAddr, upstream: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
events {{ worker_connections 32768; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  client_body_buffer_size 1m;
  client_max_body_size 64m;
  upstream echo {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen {at} backlog=4096;
    tcp_nodelay on;
    location / {{
      proxy_pass http://echo;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering off;
    }}
  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_router_takes_the_configuration_written_for_it() {
        let at: SocketAddr = "127.0.0.1:18080".parse().unwrap();
        let operator: SocketAddr = "127.0.0.1:18081".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        for wire in [Upstream::Http1, Upstream::Http2] {
            let text = stokehold_yaml(at, operator, at, wire, "auto", folder.path());
            let path = folder.path().join("stokehold.yaml");
            fs::write(&path, text).unwrap();
            let loaded = stokehold::node::read_config(&path);
            assert!(loaded.is_ok(), "{:?}", loaded.err());
        }
    }
}
