//! `stokehold explain`: why a request goes where it goes. Of a request in a file, through a shard of its own that calls nobody; or of one that
//! was served, as the running router remembers it.

use super::operator;
use crate::base::{ClientId, Instant, Now, ShardId, Slot, TenantId};
use crate::config::{ClientKey, Config, OnDisconnect, Rights};
use crate::shard::{ClientHead, Explained, Headers, Input, Output, Setup, Shard};
use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The body of a request, as a client would send it
    #[arg(required_unless_present = "id", value_name = "FILE")]
    request: Option<PathBuf>,
    /// Where the client would send it
    #[arg(long, default_value = "/v1/chat/completions", value_name = "PATH")]
    path: String,
    /// A header of the request, such as x-stokehold-priority=batch
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// Whose request it is: a tenant's id; without it the first
    #[arg(long)]
    tenant: Option<String>,
    /// A request that was answered before it: what it left in caches counts. May be given several times, the oldest first
    #[arg(long, value_name = "FILE")]
    after: Vec<PathBuf>,
    /// How long each of those was before the next
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    apart: u64,
    /// Of a request that was served: its x-stokehold-id, or latest
    #[arg(long, conflicts_with_all = ["request", "after"], value_name = "ID")]
    id: Option<String>,
    /// The running router's port for operators; without it, as the configuration has it
    #[arg(long, requires = "id", value_name = "ADDRESS")]
    operator: Option<SocketAddr>,
}

/// Writes the decision as a table or as JSON.
pub fn run(args: &Args, config: Config, as_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let explained = match &args.id {
        Some(id) => served(args, id, &config)?,
        None => asked(args, config)?,
    };
    if as_json {
        writeln!(out, "{}", serde_json::to_string_pretty(&explained)?)?;
        return Ok(());
    }
    write(&explained, out)
}

/// The running router's own memory.
fn served(args: &Args, id: &str, config: &Config) -> anyhow::Result<Explained> {
    if id.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        bail!(
            "--id: an id as x-stokehold-id tells it, such as stk_0123456789abcdef000000000001, or latest"
        );
    }
    let path = format!("/admin/v1/decisions/{id}");
    let (status, body) = operator::ask(config, args.operator, ("GET", &path), None)?;
    if status != 200 {
        bail!("{body}");
    }
    serde_json::from_str(&body).context("the router's answer")
}

/// A shard that calls nobody, and looks at what it would.
fn asked(args: &Args, config: Config) -> anyhow::Result<Explained> {
    let mut desk = Desk::new(args, config)?;
    for file in &args.after {
        desk.ask(file, &args.path)?;
        desk.answered(Duration::from_secs(args.apart))
            .with_context(|| file.display().to_string())?;
    }
    let file = args.request.as_ref().context("a request's file")?;
    desk.ask(file, &args.path)?;
    let explained = desk
        .shard
        .explain(None)
        .filter(|_| desk.refusal().is_none());
    explained.ok_or_else(|| anyhow!(desk.refusal().unwrap_or_else(|| NOTHING.to_owned())))
}

const NOTHING: &str = "nothing was decided: this path asks no model anything";

/// One client at one shard, whose time is ours.
struct Desk {
    shard: Shard,
    now: Now,
    headers: Headers,
    clients: u32,
    out: Vec<Output>,
}

/// What the made-up client shows: it exists nowhere but here.
const KEY: &str = "explain";

impl Desk {
    fn new(args: &Args, mut config: Config) -> anyhow::Result<Self> {
        let tenant = match &args.tenant {
            None => 0,
            Some(name) => {
                let mut tenants = config.tenants.iter();
                let found = tenants.position(|tenant| tenant.name == *name);
                found.ok_or_else(|| anyhow!("--tenant: there is no tenant {name:?}"))?
            }
        };
        let tenant_of = config.tenants.get_mut(tenant);
        // What was asked before is called off when its answer has begun, which leaves it in the cache and nothing else.
        tenant_of
            .context("the configuration has no tenant")?
            .on_disconnect = OnDisconnect::Cancel;
        config.client_keys.push(ClientKey {
            name: KEY.to_owned(),
            tenant: TenantId(tenant as u16),
            sha256: Sha256::digest(KEY).into(),
            rights: Rights::default(),
        });
        // Nobody is called, so nobody needs a credential.
        config.pools.iter_mut().for_each(|pool| pool.keys.clear());
        let mut headers = vec![("authorization", "Bearer explain")];
        for header in &args.headers {
            let named = header.split_once('=').filter(|(name, _)| !name.is_empty());
            headers.push(named.ok_or_else(|| anyhow!("--header: NAME=VALUE, not {header:?}"))?);
        }
        Ok(Self {
            shard: Shard::new(Setup {
                config: Arc::new(config),
                id: ShardId(0),
                shards: 1,
                seed: 0,
                secret: [0; 32],
                restarts: 0,
            }),
            now: Now {
                instant: Instant(1_000_000_000_000),
                wall: super::usage::now(),
            },
            headers: headers.into_iter().collect(),
            clients: 0,
            out: Vec::new(),
        })
    }

    fn on(&mut self, input: Input) {
        self.shard.on(self.now, input, &mut self.out);
    }

    fn client(&self) -> ClientId {
        ClientId(Slot {
            index: self.clients,
            generation: 0,
        })
    }

    fn ask(&mut self, file: &PathBuf, path: &str) -> anyhow::Result<()> {
        let body = std::fs::read(file).with_context(|| file.display().to_string())?;
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        self.out.clear();
        self.clients += 1;
        let client = self.client();
        let head = ClientHead {
            method: Bytes::from_static(b"POST"),
            path: Bytes::copy_from_slice(path.as_bytes()),
            query: Bytes::copy_from_slice(query.as_bytes()),
            headers: self.headers.clone(),
            content_length: Some(body.len() as u64),
            websocket: false,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        self.on(Input::Head { client, head });
        if self.refusal().is_none() {
            let body = Bytes::from(body);
            self.on(Input::Body { client, body });
        }
        Ok(())
    }

    /// Why it was refused, where it was.
    fn refusal(&self) -> Option<String> {
        self.out.iter().find_map(|output| match output {
            Output::Respond { body, .. } => Some(String::from_utf8_lossy(body).into_owned()),
            _ => None,
        })
    }

    /// The answer of what was asked last begins, and is called off; `time` goes by.
    fn answered(&mut self, time: Duration) -> anyhow::Result<()> {
        let called = self.out.iter().find_map(|output| match output {
            Output::Call(call) => Some(call.attempt),
            _ => None,
        });
        let Some(attempt) = called else {
            bail!(
                "{}",
                self.refusal().unwrap_or_else(|| "it would wait".to_owned())
            );
        };
        self.on(Input::Sent { attempt });
        let headers = [("content-type", "text/event-stream")]
            .into_iter()
            .collect();
        self.on(Input::UpstreamHead {
            attempt,
            status: 200,
            headers,
        });
        let bytes = Bytes::from_static(b": begins\n\n");
        self.on(Input::UpstreamBytes { attempt, bytes });
        let client = self.client();
        self.on(Input::ClientGone { client });
        self.now.instant = self.now.instant + time;
        self.now.wall.0 += i64::try_from(time.as_nanos()).unwrap_or(0);
        self.on(Input::Tick);
        Ok(())
    }
}

fn write(explained: &Explained, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "{} for {} of {}: {} (strategy {}, a second is worth ${})",
        explained.model,
        explained.exchange,
        explained.tenant,
        explained.decision,
        explained.strategy,
        explained.second_usd
    )?;
    let heads = [
        "",
        "endpoint",
        "pool",
        "total $",
        "input",
        "output",
        "delay",
        "headroom",
        "risk",
        "future",
        "wait",
        "cached/input",
        "under way",
        "room",
        "why",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for c in &explained.candidates {
        let usd = |usd: f64| format!("{usd:.9}");
        let mark = if c.chosen { ">" } else { "" };
        table.push(vec![
            mark.to_owned(),
            c.endpoint.clone(),
            c.pool.clone(),
            usd(c.total_usd),
            usd(c.input_usd),
            usd(c.output_usd),
            usd(c.delay_usd),
            usd(c.headroom_usd),
            usd(c.risk_usd),
            usd(c.future_usd),
            usd(c.wait_usd),
            format!("{}/{}", c.cached_tokens, c.input_tokens),
            c.in_flight.to_string(),
            c.room.clone(),
            c.why.clone(),
        ]);
    }
    super::usage::aligned(&table, 3, out)?;
    for left in &explained.left_out {
        writeln!(out, "left out: {}: {}", left.endpoint, left.why)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_for_tests;

    const HOUSE: &str = "tenants: [{id: t, keys: [{id: k, secret: sk}]}, {id: u, strategy: round_robin, keys: [{id: l, secret: sl}]}]\n\
        providers:\n\
        - {id: dear, kind: anthropic, pools: [{id: p, keys: [{id: a, secret: s}]}]}\n\
        - {id: cheap, kind: anthropic, pools: [{id: q, keys: [{id: b, secret: s2}]}]}\n\
        models: [{id: m, endpoints: [\n\
          {provider: dear, price: {input: 5, output: 25, cache_read: 0.5, cache_write_5m: 6.25}, cache: {mode: breakpoints, min_tokens: 1_024, ttls: [5m]}},\n\
          {provider: cheap, price: {input: 4, output: 20}, cache: {mode: none}}]}]\n";

    fn file(folder: &tempfile::TempDir, name: &str, turns: usize) -> PathBuf {
        let turn = |n: usize| {
            let role = if n.is_multiple_of(2) {
                "user"
            } else {
                "assistant"
            };
            let mark = if n + 1 == turns {
                r#","cache_control":{"type":"ephemeral"}"#
            } else {
                ""
            };
            let text = format!("{n} ").repeat(10_000);
            format!(r#"{{"role":"{role}","content":[{{"type":"text","text":"{text}"{mark}}}]}}"#)
        };
        let turns: Vec<String> = (0..turns).map(turn).collect();
        let body = format!(
            r#"{{"model":"m","max_tokens":9,"messages":[{}]}}"#,
            turns.join(",")
        );
        let path = folder.path().join(name);
        std::fs::write(&path, body).expect("written");
        path
    }

    fn args(request: PathBuf, after: Vec<PathBuf>) -> Args {
        Args {
            request: Some(request),
            path: "/v1/messages".to_owned(),
            headers: Vec::new(),
            tenant: None,
            after,
            apart: 60,
            id: None,
            operator: None,
        }
    }

    fn text(args: &Args) -> Result<String, String> {
        let mut out = Vec::new();
        match run(args, parse_for_tests(HOUSE), false, &mut out) {
            Ok(()) => Ok(String::from_utf8(out).expect("text")),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    #[test]
    fn all_candidates_are_told_with_each_term_and_why_the_rest_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let one = file(&folder, "one", 1);
        let cold = text(&args(one, Vec::new())).expect("a table");
        let rows: Vec<&str> = cold.lines().collect();
        assert!(
            rows[0].starts_with("m for stk_") && rows[0].contains("cheapest"),
            "{cold}"
        );
        assert!(
            rows[2].starts_with('>') && rows[2].contains("cheap/m"),
            "{cold}"
        );
        assert!(
            rows[3].contains("dear/m") && rows[3].contains("more, most of it input"),
            "{cold}"
        );
    }

    #[test]
    fn what_was_asked_before_is_warm_and_its_age_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let only = HOUSE.replace(
            "{provider: cheap, price: {input: 4, output: 20}, cache: {mode: none}}",
            "",
        );
        let (one, three) = (file(&folder, "one", 1), file(&folder, "three", 3));
        let read = |apart| {
            let args = Args {
                apart,
                ..args(three.clone(), vec![one.clone()])
            };
            let mut out = Vec::new();
            run(&args, parse_for_tests(&only), true, &mut out).expect("JSON");
            let told: Explained = serde_json::from_slice(&out).expect("JSON");
            told.candidates[0].cached_tokens
        };
        assert!(read(60) > 4_000, "{}", read(60));
        assert_eq!(read(400), 0);
    }

    #[test]
    fn what_cannot_be_explained_says_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wrong");
        std::fs::write(&path, r#"{"model":"nothing","max_tokens":9,"messages":[]}"#)
            .expect("written");
        let told = text(&args(path, Vec::new())).expect_err("no such model");
        assert!(told.contains("nothing"), "{told}");
        let one = file(&folder, "one", 1);
        let stranger = Args {
            tenant: Some("x".to_owned()),
            ..args(one.clone(), Vec::new())
        };
        assert!(
            text(&stranger)
                .expect_err("no tenant")
                .contains("no tenant \"x\"")
        );
        let other = Args {
            tenant: Some("u".to_owned()),
            ..args(one, Vec::new())
        };
        assert!(text(&other).expect("a table").contains("round_robin"));
        assert!(
            text(&args("/nowhere".into(), Vec::new()))
                .expect_err("no file")
                .contains("/nowhere")
        );
    }
}
