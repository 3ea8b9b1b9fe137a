//! Nodes: in this process, or the program itself as a child.

#![allow(
    clippy::disallowed_types,
    reason = "what a child says is read on a thread of its own"
)]

use super::client::{self, Conn};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use stokehold::fake::{Book, Settings};
use stokehold::net::runtime::io_uring_available;
use stokehold::node::fakes::{Fakes, serve_at};
use stokehold::node::{self, Node};
use tempfile::TempDir;

/// What clients show.
pub const KEY: &str = "sk-loopback";
/// What opens the vault of a program.
pub const VAULT_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A configuration being written.
#[derive(Clone, Debug)]
pub struct Plan {
    pub runtime: &'static str,
    pub shards: u16,
    /// More of `server:`, with a comma before it.
    pub server: String,
    /// `limits:` in braces.
    pub limits: String,
    /// More of the tenant, with a comma before it.
    pub tenant: String,
    /// The built-in provider's `fake:`, in braces.
    pub fake: String,
    /// Providers at addresses of their own: name and lines beside it. They come before the built-in one.
    pub others: Vec<(String, String)>,
    /// More sections.
    pub more: String,
}

impl Plan {
    pub fn new(runtime: &'static str, shards: u16) -> Self {
        Self {
            runtime,
            shards,
            server: String::new(),
            limits: "{}".to_owned(),
            tenant: String::new(),
            fake: "{first_token: 5ms, between_tokens: 1ms, output_tokens: 12}".to_owned(),
            others: Vec::new(),
            more: String::new(),
        }
    }

    /// A provider that listens at `at`, asked before the built-in one.
    pub fn other(mut self, name: &str, at: SocketAddr, more: &str) -> Self {
        self.others.push((
            name.to_owned(),
            format!("kind: fake, base_url: \"http://{at}\"{more}"),
        ));
        self
    }

    /// `m` is served by all providers, `own` by the built-in one only, and each other provider `x` serves `at-x` alone.
    pub fn yaml(&self, data: &Path) -> String {
        let mut providers = String::new();
        let mut models = String::new();
        let mut all = String::new();
        for (name, lines) in &self.others {
            providers += &format!("  - {{id: {name}, {lines}}}\n");
            models += &format!(
                "  - {{id: at-{name}, endpoints: [{{provider: {name}, name: m}}], takes: [tools]}}\n"
            );
            all += &format!("{{provider: {name}}}, ");
        }
        let Self {
            runtime,
            shards,
            server,
            limits,
            tenant,
            fake,
            more,
            ..
        } = self;
        format!(
            "server: {{listen: \"127.0.0.1:0\", operator: \"127.0.0.1:0\", shards: {shards}, runtime: {runtime}, pin: false{server}}}\n\
             data_dir: {}\nlog: {{level: warn}}\nledger: {{commit_every: 10ms}}\nlimits: {limits}\n\
             tenants:\n  - {{id: t, keys: [{{id: k, secret: {KEY}}}]{tenant}}}\n\
             providers:\n{providers}  - {{id: own, kind: fake, fake: {fake}}}\n\
             models:\n{models}  - {{id: own, endpoints: [{{provider: own, name: m}}], takes: [tools]}}\n  - {{id: m, endpoints: [{all}{{provider: own}}], takes: [tools]}}\n\
             prices:\n  - {{kind: fake, model: m, input: 1, output: 5, cache_read: 0.1, cache_write_5m: 1.25, cache_write_1h: 2, cache: {{mode: breakpoints, min_tokens: 1_024, ttls: [5m, 1h]}}, source: made up, read: 2026-11-23}}\n{more}",
            data.display()
        )
    }
}

/// Runs a promise on epoll with twice as many shards as this machine has cores, and on io_uring, where the kernel allows it, with as
/// many.
pub fn on_both(promise: impl Fn(Plan)) {
    promise(Plan::new("epoll", 4));
    if io_uring_available().is_ok() {
        promise(Plan::new("io_uring", 2));
    }
}

/// The same the other way round, so that over all tests each runtime is seen with each count.
pub fn on_both_crossed(promise: impl Fn(Plan)) {
    promise(Plan::new("epoll", 2));
    if io_uring_available().is_ok() {
        promise(Plan::new("io_uring", 4));
    }
}

/// A node in this process.
pub struct House {
    node: Option<Node>,
    pub folder: TempDir,
    pub at: SocketAddr,
    pub operator: SocketAddr,
}

impl House {
    pub fn open(plan: &Plan) -> Self {
        Self::configured(|data| plan.yaml(data))
    }

    /// As `yaml` says, which is told where data may lie.
    pub fn configured(yaml: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("stokehold.yaml");
        std::fs::write(&file, yaml(&folder.path().join("data"))).expect("written");
        let loaded = node::read_config(&file).unwrap_or_else(|problems| {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("not a configuration:\n{}", told.join("\n"))
        });
        let node = Node::start(loaded).expect("starts");
        Self {
            at: node.address(),
            operator: node.operator(),
            node: Some(node),
            folder,
        }
    }

    pub fn node(&mut self) -> &mut Node {
        self.node.as_mut().expect("not stopped yet")
    }

    pub fn connect(&self) -> Conn {
        Conn::plain(self.at)
    }

    pub fn book(&self) -> Book {
        let node = self.node.as_ref().expect("not stopped yet");
        node.fake_books().remove(0)
    }

    pub fn ledger(&self) -> PathBuf {
        self.folder.path().join("data/ledger.sqlite")
    }

    /// Ends the node; everything is written down then.
    pub fn stop(&mut self) {
        let node = self.node.take().expect("not stopped yet");
        node.stop().expect("stops in time, all written");
    }

    /// Stops, and starts again over the same data.
    pub fn reopen(&mut self, plan: &Plan) {
        self.stop();
        let file = self.folder.path().join("stokehold.yaml");
        std::fs::write(&file, plan.yaml(&self.folder.path().join("data"))).expect("written");
        let loaded = node::read_config(&file).expect("a configuration");
        let node = Node::start(loaded).expect("starts");
        (self.at, self.operator) = (node.address(), node.operator());
        self.node = Some(node);
    }

    /// A figure of `/metrics`; 0 when it is not there.
    pub fn figure(&self, name: &str) -> f64 {
        figure(self.operator, name)
    }

    /// Nothing of a client, a call or a body is left, and the next request is served.
    pub fn is_well(&self) {
        is_empty(self.operator);
        client::is_served(self.at);
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(node) = self.node.take()
            && !std::thread::panicking()
        {
            node.stop().expect("stops in time, all written");
        }
    }
}

/// The program itself.
pub struct Program {
    child: Child,
    pub folder: TempDir,
    pub at: SocketAddr,
    pub operator: SocketAddr,
    said: Arc<Mutex<String>>,
}

impl Program {
    pub fn start(plan: &Plan) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), plan)
    }

    /// Over what lies in `folder`.
    pub fn start_in(folder: TempDir, plan: &Plan) -> Self {
        let file = folder.path().join("stokehold.yaml");
        std::fs::write(&file, plan.yaml(&folder.path().join("data"))).expect("written");
        let mut child = Command::new(program())
            .args(["serve", "--config"])
            .arg(&file)
            .env("STOKEHOLD_VAULT_KEY", VAULT_KEY)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program");
        let said = Arc::new(Mutex::new(String::new()));
        let (heard, stderr) = (Arc::clone(&said), child.stderr.take().expect("piped"));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *heard.lock().expect("whole") += &(line + "\n");
            }
        });
        let address = |after: &str| {
            let said = said.lock().expect("whole");
            let (_, rest) = said.split_once(after)?;
            let end = rest.find([',', '/'])?;
            rest[..end].parse::<SocketAddr>().ok()
        };
        until("it says where it listens", || {
            address(" on http://").is_some() && address("operator port: http://").is_some()
        });
        let at = address(" on http://").expect("just seen");
        let operator = address("operator port: http://").expect("just seen");
        Self {
            child,
            folder,
            at,
            operator,
            said,
        }
    }

    /// Ends it where it stands, and gives back what it leaves.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().expect("ours");
        let _ = self.child.wait();
        let empty = tempfile::tempdir().expect("a folder");
        std::mem::replace(&mut self.folder, empty)
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill").success());
    }

    pub fn said(&self) -> String {
        self.said.lock().expect("whole").clone()
    }

    /// Resident memory in bytes, without the pages of files: those of the spool's segments are the disk's cache, and go when they are wanted.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find(|l| l.starts_with("RssAnon:"));
        let number = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok());
        number.expect("a number of kB") * 1024
    }

    /// Its exit code, once it has ended by itself.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().expect("ours").and_then(|s| s.code())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the program is: said at run time where it was moved after its build.
pub fn program() -> std::ffi::OsString {
    let path = std::env::var_os("CARGO_BIN_EXE_stokehold");
    path.unwrap_or_else(|| env!("CARGO_BIN_EXE_stokehold").into())
}

/// A fake provider at a port of its own.
pub fn fake(settings: Settings) -> (Fakes, SocketAddr) {
    let fakes = serve_at("127.0.0.1:0".parse().expect("an address"), settings).expect("a port");
    let at = fakes.addresses[0];
    (fakes, at)
}

/// As the built-in ones of these tests.
pub fn quick() -> Settings {
    Settings {
        first_token: Duration::from_millis(5),
        between_tokens: Duration::from_millis(1),
        output_tokens: 12,
        ..Settings::default()
    }
}

/// An address at which nobody listens.
pub fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

/// Waits for `holds`, at most a minute. A busy machine is slow, and nothing that passes waits longer for it.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A figure of `/metrics`, summed over its labels.
pub fn figure(operator: SocketAddr, name: &str) -> f64 {
    let page = Conn::plain(operator).get("/metrics", &[]).text();
    let name = format!("stokehold_{name}");
    assert!(page.contains(&name), "no {name} in {page}");
    let value = |line: &str| {
        let rest = line.strip_prefix(&name)?;
        let labelled = rest.starts_with([' ', '{']);
        labelled.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    };
    page.lines().filter_map(value).sum()
}

/// Nothing of a client, a call or a body is left. Shards show themselves once a second.
pub fn is_empty(operator: SocketAddr) {
    const OPEN: [&str; 6] = [
        "connections_open",
        "clients_open",
        "body_bytes_held",
        "calls_open",
        "exchanges_open",
        "exchanges_waiting",
    ];
    until("all is given back", || {
        OPEN.iter().all(|name| figure(operator, name) == 0.0)
    });
}
