//! Start and stop of everything: the configuration from disk, then I/O core, shards, listeners; and the reverse.
//!
//! Shards share nothing: each gets a copy of the configuration of its own, so that not even a reference count is fought over.

mod files;
pub use files::{default_config, read_config};
/// The built-in providers.
pub mod fakes;
/// One shard's life on its executor.
mod keyring;
mod serving;
/// What shards have counted, as Prometheus reads it.
mod metrics;

use crate::base::{OriginId, ShardId};
use crate::config::{Config, Loaded, Problem};
use crate::fake::Book;
use crate::iocore::claim::Claim;
use crate::iocore::keys::Keys;
use crate::iocore::notify;
use crate::iocore::prefixes;
use crate::iocore::run::{IoCore, Setup, Signal};
use crate::iocore::secret;
use crate::net::runtime::{Chosen, Kind, bind, choose};
use crate::net::threads::{self, Shards};
use crate::net::tls::{self, Origins};
use crate::shard::Input;
use anyhow::{Context, anyhow};
use fakes::Fakes;
use keyring::{Keyring, Order};
use serving::{Serving, Shared};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

/// A running router.
#[derive(Debug)]
pub struct Node {
    addresses: Vec<SocketAddr>,
    operator: SocketAddr,
    chosen: Chosen,
    shards: Shards,
    shared: Arc<Shared>,
    iocore: IoCore,
    fakes: Fakes,
    signals: mpsc::Receiver<Signal>,
    root: PathBuf,
    config: Arc<Config>,
    drain: Duration,
}

impl Node {
    /// Starts everything; returns once clients can connect. Port 0 in the configuration takes any free one.
    pub fn start(loaded: Loaded) -> anyhow::Result<Self> {
        let Loaded {
            mut config, root, ..
        } = loaded;
        // Before any socket: the kernel would give a second router on the same ports its share of connections, only to lose them.
        let claim = Claim::take(&config.data_dir)
            .with_context(|| format!("data_dir {}", config.data_dir.display()))?;
        let secret = secret::instance(&config.data_dir).context("the instance's secret")?;
        let prefixes = prefixes::read(&config.data_dir);
        let keys = Keys::open(&config.data_dir).context("the client keys")?;
        let chosen = choose(config.server.runtime).map_err(|why| anyhow!(why))?;
        let fakes = fakes::start(&config).context("the built-in fake providers")?;
        fakes.fill_in(&mut config);
        let origins =
            Origins::prepare(&config.origins).map_err(|wrong| anyhow!(wrong.join("\n")))?;
        let tls = config
            .server
            .tls
            .as_ref()
            .map(tls::server)
            .transpose()
            .map_err(|why| anyhow!(why))?;
        let (listeners, addresses) = listen(&config)?;
        let operator = bind(config.server.operator, 64)
            .with_context(|| format!("operator {}", config.server.operator))?;
        let operator_address = operator.local_addr()?;
        let keyring = Keyring::new(keys, config);
        let config = Arc::new(keyring.merged().context("the client keys")?);
        let (order, orders) = mpsc::channel();
        let (tell, signals) = mpsc::channel();
        let shards = config.server.shards;
        let (rooms, room_news): (Vec<_>, Vec<_>) = (0..shards)
            .map(|_| tokio::sync::watch::channel(config.ledger.backlog_rows_max))
            .unzip();
        let (mut iocore, lanes) = IoCore::start(Setup {
            config: config.clone(),
            claim,
            shards,
            // A shard that is gone needs no room.
            on_room: Box::new(move |shard, rows| {
                let _ = rooms[usize::from(shard.0)].send(rows);
            }),
            // Nobody listens once the node stops.
            on_signal: Box::new(move |signal| {
                let _ = tell.send(signal);
            }),
            tick: None,
            log_to: Box::new(std::io::stderr()),
        })
        .context("the ledger")?;
        let shared = Arc::new(Shared::new(serving::Parts {
            config: config.clone(),
            origins,
            tls,
            listeners,
            operator,
            resolver: iocore.resolver(),
            credentials: iocore.credentials(),
            servers: iocore.servers(),
            mailboxes: iocore.mailboxes(),
            link: iocore.link(),
            lanes,
            told: iocore.take_told(),
            room_news,
            ledger: iocore.counters(),
            secret,
            prefixes,
            keyring: order,
        }));
        let served = Arc::downgrade(&shared);
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || keyring.work(&served, &orders))
            .context("a thread for client keys")?;
        let serving = Arc::new(Serving(Arc::clone(&shared)));
        let running = threads::start(shards, config.server.pin, chosen.kind, serving)?;
        shared.wait_until_listening(usize::from(shards));
        notify::ready().context("systemd's notify socket")?;
        Ok(Self {
            addresses,
            operator: operator_address,
            chosen,
            shards: running,
            shared,
            iocore,
            fakes,
            signals,
            root,
            drain: config.server.drain,
            config,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    #[must_use]
    pub fn operator(&self) -> SocketAddr {
        self.operator
    }

    #[must_use]
    pub fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// What the built-in fakes have billed so far, by fake of the configuration, read on their threads.
    #[must_use]
    pub fn fake_books(&self) -> Vec<Book> {
        self.fakes.books()
    }

    /// Gives one shard an input, as if the network had: for tests of what becomes of a shard that cannot be believed any more.
    pub fn inject(&self, shard: ShardId, input: Input) {
        self.shared.inject(shard, input);
    }

    /// The configuration in force, with the ports that were given.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Reads the configuration again and serves by it from the next request on; running ones end under the old. With problems, nothing
    /// changes. What is fixed at the start (addresses, shards, runtime, TLS files, ledger) waits for a restart.
    pub fn reload(&mut self) -> Result<(), Vec<String>> {
        let told =
            |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let Loaded { mut config, .. } = read_config(&self.root).map_err(told)?;
        self.fakes.carry_over(&self.config, &mut config)?;
        keep_origins(&self.config, &mut config);
        let origins = Origins::prepare(&config.origins)?;
        let (done, served) = tokio::sync::oneshot::channel();
        let order = Order::Serve(Box::new(config), origins, done);
        let ended = || vec!["the thread of the client keys has ended".to_owned()];
        self.shared.keyring().send(order).map_err(|_| ended())?;
        self.config = served
            .blocking_recv()
            .map_err(|_| vec!["the client keys cannot be read; the log says why".to_owned()])?;
        self.iocore.reload(&self.config);
        Ok(())
    }

    /// Takes nothing new, lets what runs end within the drain time, writes down what is to be written, and ends.
    pub fn stop(self) -> anyhow::Result<()> {
        // Not being heard is no reason not to stop.
        let _ = notify::stopping();
        // Answers whose clients are gone may take as long as the drain lets them; then come the cuts.
        let ended = self.shards.stop(self.drain + Duration::from_secs(5));
        let unwritten = self.iocore.stop();
        self.fakes.stop();
        if let Some(known) = self.shared.left()
            && let Err(error) = prefixes::write(&self.config.data_dir, &known)
        {
            tracing::warn!(%error, "what is known of warm prompts could not be written: it is learned anew");
        }
        if unwritten > 0 {
            return Err(anyhow!(
                "{unwritten} rows of the ledger could not be written"
            ));
        }
        ended.map_err(|threads::StillRunning| anyhow!("a shard did not end in time"))
    }
}

/// Serves until a signal tells it to stop. SIGHUP reads the configuration again.
///
/// # Errors
/// What keeps it from starting, or what went wrong at its end.
#[expect(clippy::print_stderr, reason = "the start line is for people")]
pub fn serve(loaded: Loaded) -> anyhow::Result<()> {
    let notes = loaded.notes.clone();
    let mut node = Node::start(loaded)?;
    notes.iter().for_each(|note| eprintln!("note: {note}"));
    eprint!("{}", node.greeting());
    // Any other signal, or that nobody can send one any more, ends it.
    while let Ok(Signal::Hangup) = node.signals.recv() {
        match node.reload() {
            Ok(()) => eprintln!("configuration read again"),
            Err(problems) => eprintln!("configuration not changed:\n{}", problems.join("\n")),
        }
    }
    eprintln!("draining for at most {} s", node.drain.as_secs());
    node.stop()
}

impl Node {
    /// What a person sees first: where it listens, and a line that works.
    fn greeting(&self) -> String {
        use std::fmt::Write as _;
        let mut said = String::new();
        let shards = self.config.server.shards;
        let (address, operator) = (self.address(), self.operator);
        // A String takes all.
        let _ = writeln!(
            said,
            "stokehold {} on http://{address}, {shards} shard{} on {}: {}",
            env!("CARGO_PKG_VERSION"),
            if shards == 1 { "" } else { "s" },
            match self.chosen.kind {
                Kind::IoUring => "io_uring",
                Kind::Epoll => "epoll",
            },
            self.chosen.why
        );
        let _ = writeln!(
            said,
            "operator port: http://{operator}/ (healthz, readyz, metrics)"
        );
        let fake = self.config.models.iter().find(|m| {
            m.endpoints.iter().any(|e| {
                let endpoint = &self.config.endpoints[usize::from(e.0)];
                self.config
                    .fakes
                    .iter()
                    .any(|f| f.provider == endpoint.provider)
            })
        });
        if let Some(model) = fake {
            let _ = writeln!(
                said,
                "try: curl http://{address}/v1/chat/completions -H 'authorization: Bearer sk-demo' -H 'content-type: application/json' \\\n  -d '{{\"model\": \"{}\", \"messages\": [{{\"role\": \"user\", \"content\": \"hello\"}}]}}'",
                model.name
            );
        }
        said
    }
}

/// Lets every origin of `old` keep its place, so that an exchange that began under it never calls another host: new ones are put behind.
fn keep_origins(old: &Config, new: &mut Config) {
    let mut kept = old.origins.clone();
    let places: Vec<OriginId> = new
        .origins
        .iter()
        .map(|origin| {
            let at = kept
                .iter()
                .position(|known| known == origin)
                .unwrap_or_else(|| {
                    kept.push(origin.clone());
                    kept.len() - 1
                });
            // The configuration bounds providers to less than that, and a reload adds no more than their number.
            OriginId(u16::try_from(at).unwrap_or(u16::MAX))
        })
        .collect();
    for provider in &mut new.providers {
        provider.origin = places[usize::from(provider.origin.0)];
    }
    for fake in &mut new.fakes {
        fake.origin = places[usize::from(fake.origin.0)];
    }
    new.origins = kept;
}

/// Each shard its own socket at each address: the kernel spreads connections over them.
fn listen(config: &Config) -> anyhow::Result<(Vec<Vec<std::net::TcpListener>>, Vec<SocketAddr>)> {
    let mut by_shard: Vec<Vec<_>> = (0..config.server.shards).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for address in &config.server.listen {
        let mut at = *address;
        for listeners in &mut by_shard {
            let listener =
                bind(at, config.server.backlog).with_context(|| format!("listen {at}"))?;
            // With port 0 the first shard's socket says which port the others take.
            at = listener.local_addr()?;
            listeners.push(listener);
        }
        addresses.push(at);
    }
    Ok((by_shard, addresses))
}
