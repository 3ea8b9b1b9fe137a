//! One shard's life on its executor: a core, its listeners, and the news that reach it from other threads.

use crate::base::{Instant, Now, ShardId};
use crate::config::Config;
use crate::iocore::credentials::Table;
use crate::iocore::lane::Receiver;
use crate::iocore::ledger;
use crate::iocore::redis::{Counts, Mailbox};
use crate::iocore::resolve::Resolver;
use crate::iocore::run::{Counters, Letter, ShardLanes};
use crate::iocore::servers;
use crate::net;
use crate::net::accept;
use crate::net::admin::{self, Admin};
use crate::net::drain::{cut, drain};
use crate::net::ring::{self, MeshEnd};
use crate::net::run::{Core, Resolving, Setup};
use crate::net::runtime::{Runtime, clock};
use crate::net::threads::{Life, Main};
use crate::net::tls::Origins;
use crate::node::keyring::Order;
use crate::node::metrics::{self, Watching};
use crate::shard::{self, Explained, Gossip, Input, Mail, Meters, Output, Shard};
use crossbeam::queue::ArrayQueue;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};

/// What all shards are made of. Outlives a shard that is started again.
#[derive(Debug)]
pub struct Shared {
    serve_by: watch::Sender<(Arc<Config>, Origins)>,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// By shard. Taken out when a shard begins to drain: as long as any handle is open, the kernel takes connections.
    listeners: Vec<ArrayQueue<Vec<TcpListener>>>,
    operator: TcpListener,
    resolver: Resolver,
    lanes: Vec<ShardLanes>,
    /// A shard takes its end when it starts and lays it back when it ends.
    told: Vec<ArrayQueue<Receiver<Letter>>>,
    room_news: Vec<watch::Receiver<usize>>,
    credentials: watch::Receiver<Table>,
    servers: watch::Receiver<servers::Table>,
    mailboxes: Arc<[Mailbox]>,
    link: Option<Arc<Counts>>,
    /// A shard takes its end when it starts and lays it back when it ends.
    mesh: Vec<ArrayQueue<MeshEnd<Gossip>>>,
    shown: Vec<watch::Sender<Shown>>,
    injected: watch::Sender<Option<(ShardId, Input)>>,
    listening: watch::Sender<usize>,
    ledger: Counters,
    /// By shard: what operators ask of it.
    questions: Vec<Questions>,
    seed: u64,
    secret: [u8; 32],
    prefixes: Option<Vec<u8>>,
    /// What the first shard knew of them when it ended: by then all know the same.
    keyring: mpsc::Sender<Order>,
    left: ArrayQueue<Vec<u8>>,
}

/// What a shard shows of itself.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    pub meters: Meters,
    pub open: shard::Standing,
    pub sockets: net::run::Standing,
    /// How often it was started again.
    pub restarts: u32,
}

/// Budgets go on from what the ledger has of this day and month. Some milliseconds, once a shard's life, before it serves anybody.
fn remember_spending(shard: &mut Shard, config: &Config) {
    let now = clock();
    let spent = ledger::Reader::open(&ledger::path(&config.data_dir))
        .and_then(|reader| reader.spent(now.wall));
    match spent {
        Ok(spent) => shard.remember(&spent, now),
        Err(error) => {
            tracing::error!(%error, "what was spent before is not known: budgets begin anew")
        }
    }
}

/// What `Shared` is made of.
pub struct Parts {
    pub config: Arc<Config>,
    pub origins: Origins,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub listeners: Vec<Vec<TcpListener>>,
    pub operator: TcpListener,
    pub resolver: Resolver,
    pub credentials: watch::Receiver<Table>,
    pub servers: watch::Receiver<servers::Table>,
    /// What Redis says to each shard.
    pub mailboxes: Arc<[Mailbox]>,
    pub link: Option<Arc<Counts>>,
    pub lanes: Vec<ShardLanes>,
    pub told: Vec<Receiver<Letter>>,
    pub room_news: Vec<watch::Receiver<usize>>,
    pub ledger: Counters,
    /// What fingerprints are keyed with.
    pub secret: [u8; 32],
    /// What an earlier router knew of warm prompts.
    pub prefixes: Option<Vec<u8>>,
    /// Who makes and takes client keys.
    pub keyring: mpsc::Sender<Order>,
}

/// Letters that wait for a shard; more are lost, at the price of a failed call.
const MESH_CAPACITY: usize = 1_024;
/// How often a shard shows what it has counted.
const SHOW_EVERY: Duration = Duration::from_secs(1);

impl Shared {
    pub fn new(parts: Parts) -> Self {
        let shards = parts.config.server.shards;
        Self {
            serve_by: watch::channel((parts.config, parts.origins)).0,
            tls: parts.tls,
            listeners: parts.listeners.into_iter().map(lay).collect(),
            operator: parts.operator,
            resolver: parts.resolver,
            credentials: parts.credentials,
            servers: parts.servers,
            mailboxes: parts.mailboxes,
            link: parts.link,
            lanes: parts.lanes,
            told: parts.told.into_iter().map(lay).collect(),
            room_news: parts.room_news,
            mesh: ring::mesh(shards, MESH_CAPACITY)
                .into_iter()
                .map(lay)
                .collect(),
            shown: (0..shards)
                .map(|_| watch::channel(Shown::default()).0)
                .collect(),
            injected: watch::channel(None).0,
            listening: watch::channel(0).0,
            ledger: parts.ledger,
            questions: (0..shards).map(|_| Questions::default()).collect(),
            seed: seed(),
            secret: parts.secret,
            prefixes: parts.prefixes,
            keyring: parts.keyring,
            left: ArrayQueue::new(1),
        }
    }

    /// New requests are served by `config` from now on.
    pub fn reload(&self, config: Arc<Config>, origins: Origins) {
        self.serve_by.send_replace((config, origins));
    }

    /// What is called by the configuration in force.
    pub fn origins(&self) -> Origins {
        self.serve_by.borrow().1.clone()
    }

    /// Who makes and takes client keys; does what is ordered, one after the other.
    pub fn keyring(&self) -> &mpsc::Sender<Order> {
        &self.keyring
    }

    /// Gives one shard an input from outside. Of two in quick succession the first may be lost.
    pub fn inject(&self, shard: ShardId, input: Input) {
        self.injected.send_replace(Some((shard, input)));
    }

    /// Blocks until so many shards take connections, at most some seconds: one that cannot is being started again.
    pub fn wait_until_listening(&self, shards: usize) {
        let mut listening = self.listening.subscribe();
        let waiting = async {
            listening
                .wait_for(|count| *count >= shards)
                .await
                .map(|_| ())
        };
        let limit = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(())
        };
        // Without a runtime for the limit there is none, and the first shard decides.
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
        {
            let _ = runtime.block_on(futures_lite::future::or(waiting, limit));
        }
    }

    /// What the router knew of warm prompts when it ended.
    pub fn left(&self) -> Option<Vec<u8>> {
        self.left.pop()
    }

    /// Why an exchange went where it went: the newest that any shard knows of. A shard that is being started again is waited for.
    async fn explain(&self, exchange: Option<String>) -> Option<Explained> {
        let mut found: Option<Explained> = None;
        for shard in &self.questions {
            let told = shard.ask(exchange.clone()).await;
            let newest = |told: &Explained| found.as_ref().is_none_or(|f| f.at_ms < told.at_ms);
            found = told.filter(newest).or(found);
        }
        found
    }

    fn servers(&self) -> Vec<Watching> {
        let told = self.servers.borrow().clone();
        told.iter().map(|told| Watching::of(told)).collect()
    }

    fn shown(&self) -> Vec<Shown> {
        self.shown
            .iter()
            .map(|shown| shown.borrow().clone())
            .collect()
    }
}

/// What operators ask of one shard.
#[derive(Debug)]
struct Questions {
    waiting: ArrayQueue<Question>,
    came: Notify,
}

/// Which exchange, and who wants to know.
type Question = (Option<String>, oneshot::Sender<Option<Explained>>);

/// Operators who wait for one shard; more are told nothing.
const QUESTIONS_MAX: usize = 16;

impl Default for Questions {
    fn default() -> Self {
        Self {
            waiting: ArrayQueue::new(QUESTIONS_MAX),
            came: Notify::new(),
        }
    }
}

impl Questions {
    async fn ask(&self, exchange: Option<String>) -> Option<Explained> {
        let (tell, told) = oneshot::channel();
        self.waiting.push((exchange, tell)).ok()?;
        self.came.notify_one();
        // A shard that falls answers in its next life.
        told.await.ok().flatten()
    }
}

fn give<R: Runtime>(core: &Core<R>, held: &Table) {
    for one in held.iter() {
        core.inject(Input::Credential(Arc::clone(one)));
    }
}

fn tell<R: Runtime>(core: &Core<R>, told: &servers::Told) {
    core.inject(Input::Server(Arc::new(told.news())));
}

/// A place that holds one thing, for whoever takes it out.
fn lay<T>(thing: T) -> ArrayQueue<T> {
    let place = ArrayQueue::new(1);
    // The place is new and empty.
    let _ = place.push(thing);
    place
}

/// Different in every process: names of exchanges are made of it.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    #[expect(
        clippy::disallowed_types,
        reason = "the one place where chance is wanted: the standard library's own entropy"
    )]
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

/// The shards' main.
#[derive(Debug)]
pub struct Serving(pub Arc<Shared>);

impl Main for Serving {
    fn run<R: Runtime>(
        self: Arc<Self>,
        runtime: R,
        life: Life,
    ) -> impl Future<Output = ()> + 'static {
        let shared = Arc::clone(&self.0);
        async move { Shift::start(runtime, shared, life).work().await }
    }
}

/// One life of a shard.
struct Shift<R: Runtime> {
    core: Core<R>,
    shard: Rc<RefCell<Shard>>,
    runtime: R,
    shared: Arc<Shared>,
    life: Life,
    broken: Rc<Broken>,
}

/// Says to the main task that the shard's state cannot be believed any more.
#[derive(Default)]
struct Broken {
    is: Cell<bool>,
    notify: Notify,
}

impl<R: Runtime> Shift<R> {
    fn start(runtime: R, shared: Arc<Shared>, life: Life) -> Self {
        let (config, origins) = shared.serve_by.borrow().clone();
        let config = Arc::new((*config).clone());
        let index = usize::from(life.shard.0);
        let shard = Rc::new(RefCell::new(Shard::new(shard::Setup {
            config: config.clone(),
            id: life.shard,
            shards: config.server.shards,
            seed: shared.seed ^ (u64::from(life.shard.0) << 48) ^ (u64::from(life.restarts) << 32),
            secret: shared.secret,
            restarts: life.restarts,
        })));
        if let Some(known) = &shared.prefixes {
            shard.borrow_mut().restore(known, clock());
        }
        remember_spending(&mut shard.borrow_mut(), &config);
        let lanes = Rc::new(RefCell::new(shared.lanes[index].another()));
        let mesh = MeshPlace::take(&shared, life.shard);
        let broken = Rc::new(Broken::default());
        let (post, tell) = (Rc::clone(&lanes), mesh.clone());
        let core = Core::start(
            runtime.clone(),
            Setup {
                brain: Rc::<RefCell<Shard>>::clone(&shard),
                limits: config.limits.clone(),
                origins,
                resolve: resolve(shared.resolver.clone()),
                post: Box::new(move |mail| post.borrow_mut().post(mail)),
                tell: Box::new(move |to, gossip| tell.tell(to, gossip)),
                on_broken: on_broken(Rc::clone(&shard), Rc::clone(&lanes), Rc::clone(&broken)),
            },
        );
        let shift = Self {
            core,
            shard,
            runtime,
            shared,
            life,
            broken,
        };
        shift.hear_told(lanes.borrow().life());
        shift.hear_of_room(lanes);
        shift.hear_of_reloads();
        shift.hear_of_credentials();
        shift.hear_of_servers();
        shift.hear_of_leases();
        shift.hear_gossip(mesh);
        shift.hear_injected();
        shift.hear_questions();
        shift.show_meters();
        shift
    }

    fn hear_of_room(&self, lanes: Rc<RefCell<ShardLanes>>) {
        let mut news = self.shared.room_news[self.index()].clone();
        let core = self.core.clone();
        // What room there is now, whatever the last life was told.
        news.mark_changed();
        self.runtime.spawn(async move {
            while news.changed().await.is_ok() {
                lanes.borrow_mut().flush();
                let room = lanes.borrow().room();
                core.inject(Input::LedgerRoom(room));
            }
        });
    }

    /// What the I/O core tells this life of the shard.
    fn hear_told(&self, life: u32) {
        let core = self.core.clone();
        let place = Told::take(&self.shared, self.life.shard);
        self.runtime.spawn(async move {
            while let Some(letter) = place.hear().await {
                if letter.life.is_none_or(|to| to == life) {
                    core.inject(letter.input);
                }
            }
        });
    }

    fn hear_of_reloads(&self) {
        let mut news = self.shared.serve_by.subscribe();
        let core = self.core.clone();
        let (credentials, servers) = (self.shared.credentials.clone(), self.shared.servers.clone());
        self.runtime.spawn(async move {
            while news.changed().await.is_ok() {
                let (config, origins) = news.borrow_and_update().clone();
                core.reload(Arc::new((*config).clone()), origins);
                // What came for it before it was served by would have found nobody.
                let held = credentials.borrow().clone();
                give(&core, &held);
                let told = servers.borrow().clone();
                told.iter().for_each(|told| tell(&core, told));
            }
        });
    }

    fn hear_of_credentials(&self) {
        let mut news = self.shared.credentials.clone();
        let core = self.core.clone();
        // What is held now, whatever the last life was told.
        news.mark_changed();
        self.runtime.spawn(async move {
            while news.changed().await.is_ok() {
                let held = news.borrow_and_update().clone();
                give(&core, &held);
            }
        });
    }

    /// Each server's news once: one poll of one server is no reason to tell of all.
    fn hear_of_servers(&self) {
        let mut news = self.shared.servers.clone();
        let core = self.core.clone();
        // What is known now, whatever the last life was told.
        news.mark_changed();
        self.runtime.spawn(async move {
            let mut heard = servers::Table::default();
            while news.changed().await.is_ok() {
                let table = news.borrow_and_update().clone();
                let is_new = |told: &&Arc<servers::Told>| {
                    !heard.iter().any(|known| Arc::ptr_eq(known, told))
                };
                table
                    .iter()
                    .filter(is_new)
                    .for_each(|told| tell(&core, told));
                heard = table;
            }
        });
    }

    /// A letter that comes while the shard is being started again finds a holder that is gone, and is ignored.
    fn hear_of_leases(&self) {
        let (mailboxes, index) = (Arc::clone(&self.shared.mailboxes), self.index());
        let core = self.core.clone();
        self.runtime.spawn(async move {
            loop {
                let letter = mailboxes[index].take().await;
                core.inject(Input::Lease(letter));
            }
        });
    }

    fn hear_gossip(&self, mesh: MeshPlace) {
        let core = self.core.clone();
        self.runtime.spawn(async move {
            while let Some(gossip) = mesh.hear().await {
                core.inject(Input::Gossip(gossip));
            }
        });
    }

    fn hear_injected(&self) {
        // What an earlier life was given counts as seen.
        let mut news = self.shared.injected.subscribe();
        let (core, shard) = (self.core.clone(), self.life.shard);
        self.runtime.spawn(async move {
            while news.changed().await.is_ok() {
                let injected = news.borrow_and_update().clone();
                if let Some((to, input)) = injected
                    && to == shard
                {
                    core.inject(input);
                }
            }
        });
    }

    fn hear_questions(&self) {
        let (shard, shared, index) = (
            Rc::clone(&self.shard),
            Arc::clone(&self.shared),
            self.index(),
        );
        let questions = move || shared.questions[index].waiting.pop();
        let came = Arc::clone(&self.shared);
        self.runtime.spawn(async move {
            loop {
                while let Some((exchange, tell)) = questions() {
                    // Who asked may have left.
                    let _ = tell.send(shard.borrow().explain(exchange.as_deref()));
                }
                came.questions[index].came.notified().await;
            }
        });
    }

    fn show_meters(&self) {
        let (shard, shared, runtime, index) = (
            Rc::clone(&self.shard),
            Arc::clone(&self.shared),
            self.runtime.clone(),
            self.index(),
        );
        let (core, restarts) = (self.core.clone(), self.life.restarts);
        self.runtime.spawn(async move {
            loop {
                runtime.sleep(SHOW_EVERY).await;
                let shown = Shown {
                    meters: shard.borrow().meters().clone(),
                    open: shard.borrow().standing(),
                    sockets: core.standing(),
                    restarts,
                };
                shared.shown[index].send_replace(shown);
            }
        });
    }

    fn index(&self) -> usize {
        usize::from(self.life.shard.0)
    }

    async fn work(self) {
        let place = &self.shared.listeners[self.index()];
        let kept = place.pop().unwrap_or_default();
        let listeners: Vec<_> = kept.iter().map(|l| self.taken_over(l)).collect();
        // The place is empty: they were here. A next life takes them from there again.
        let _ = place.push(kept);
        for listener in listeners {
            let Some(listener) = listener else {
                return;
            };
            let tls = self.shared.tls.clone();
            self.runtime
                .spawn(accept::listen(self.core.clone(), listener, tls));
        }
        if self.index() == 0
            && let Some(listener) = self.taken_over(&self.shared.operator)
        {
            self.runtime
                .spawn(admin::listen(self.core.clone(), listener, self.admin()));
        }
        if self.life.restarts == 0 {
            self.shared.listening.send_modify(|count| *count += 1);
        }
        let stopped = async {
            self.life.stop.asked().await;
            false
        };
        let broke = async {
            while !self.broken.is.get() {
                self.broken.notify.notified().await;
            }
            true
        };
        if futures_lite::future::or(broke, stopped).await {
            cut(&self.core).await;
            // The supervisor starts a new life; what this one held is written down by now.
            std::panic::resume_unwind(Box::new("the shard broke a promise"));
        }
        self.finish().await;
    }

    /// The listener of this life: the socket itself stays with `Shared`, so that a restart loses no connection in its backlog.
    fn taken_over(&self, listener: &TcpListener) -> Option<R::Listener> {
        let own = listener.try_clone().ok()?;
        self.runtime.listen(own).ok()
    }

    fn admin(&self) -> Admin {
        let config = self.shared.serve_by.borrow().0.clone();
        let (shared, stop) = (Arc::clone(&self.shared), self.life.stop.clone());
        let ledger = shared.ledger.clone();
        let asked = Arc::clone(&self.shared);
        Admin {
            key: config.server.operator_key.clone(),
            ready: Box::new(move || {
                if stop.is_asked() {
                    return Err("draining".to_owned());
                }
                ledger.trouble().map_or(Ok(()), Err)
            }),
            explain: Box::new(move |exchange| {
                let asked = Arc::clone(&asked);
                Box::pin(async move {
                    let told = asked.explain(exchange).await?;
                    serde_json::to_string_pretty(&told).ok()
                })
            }),
            keys: Box::new({
                let shared = Arc::clone(&self.shared);
                move |ask| {
                    let (tell, told) = oneshot::channel();
                    // A thread that has ended tells nobody.
                    let _ = shared.keyring.send(Order::Keys(ask, tell));
                    Box::pin(async move { told.await.ok() })
                }
            }),
            metrics: Box::new(move || {
                let servers = shared.servers();
                let mut page = metrics::text(&shared.shown(), &shared.ledger, &servers);
                page.push_str(
                    &shared
                        .link
                        .as_deref()
                        .map_or_else(String::new, metrics::link),
                );
                page
            }),
        }
    }

    /// Connections first, then the answers that nobody waits for any more but that are paid for.
    async fn finish(self) {
        let limit = self.shared.serve_by.borrow().0.server.drain;
        let deadline = clock().instant + limit;
        drop(self.shared.listeners[self.index()].pop());
        drain(&self.core, limit).await;
        while self.shard.borrow().standing().exchanges > 0 && clock().instant < deadline {
            self.runtime.sleep(Duration::from_millis(20)).await;
        }
        // What still runs is written down as interrupted.
        let mut out = Vec::new();
        self.shard.borrow().interrupted(clock(), &mut out);
        let mut lanes = self.shared.lanes[self.index()].another();
        post(&mut lanes, out);
        self.shared
            .listening
            .send_modify(|count| *count = count.saturating_sub(1));
        if self.index() == 0 {
            // The place is empty, or holds what an earlier life of this shard knew.
            self.shared
                .left
                .force_push(self.shard.borrow().snapshot(clock()));
            self.outlive_others(deadline).await;
        }
    }

    /// The operator's port is served here: it tells of a drain for as long as any shard drains. One that broke meanwhile is not waited for
    /// beyond `deadline`.
    async fn outlive_others(&self, deadline: Instant) {
        let mut others = self.shared.listening.subscribe();
        let ended = async { drop(others.wait_for(|count| *count == 0).await) };
        let late = self.runtime.sleep(deadline - clock().instant);
        futures_lite::future::or(ended, late).await;
    }
}

fn post(lanes: &mut ShardLanes, out: Vec<Output>) {
    for output in out {
        if let Output::Post(mail) = output {
            lanes.post(mail);
        }
    }
    lanes.flush();
}

fn on_broken(
    shard: Rc<RefCell<Shard>>,
    lanes: Rc<RefCell<ShardLanes>>,
    broken: Rc<Broken>,
) -> Box<dyn FnOnce()> {
    Box::new(move || {
        let now: Now = clock();
        let mut out: Vec<Output> = Vec::new();
        // The panic has ended the step's borrow; a second panic here would only lose what could not be saved.
        if let Ok(shard) = shard.try_borrow() {
            shard.interrupted(now, &mut out);
        }
        let mails = out.into_iter().filter_map(|o| {
            if let Output::Post(mail) = o {
                Some(mail)
            } else {
                None
            }
        });
        let mails: Vec<Mail> = mails.collect();
        if let Ok(mut lanes) = lanes.try_borrow_mut() {
            mails.into_iter().for_each(|mail| lanes.post(mail));
            lanes.flush();
        }
        broken.is.set(true);
        broken.notify.notify_one();
    })
}

fn resolve(resolver: Resolver) -> Rc<dyn Fn(&str) -> Resolving> {
    Rc::new(move |host| {
        let (resolver, host) = (resolver.clone(), host.to_owned());
        Box::pin(async move {
            let found = resolver.lookup(&host, 0).await;
            found
                .map(|found| found.into_iter().map(|a| a.ip()).collect())
                .map_err(|why| why.to_string())
        })
    })
}

/// Where a shard hears from the I/O core, laid back when it ends.
struct Told {
    end: RefCell<Option<Receiver<Letter>>>,
    shared: Arc<Shared>,
    shard: ShardId,
}

impl Told {
    fn take(shared: &Arc<Shared>, shard: ShardId) -> Self {
        Self {
            end: RefCell::new(shared.told[usize::from(shard.0)].pop()),
            shared: Arc::clone(shared),
            shard,
        }
    }

    async fn hear(&self) -> Option<Letter> {
        std::future::poll_fn(|cx| {
            let end = self.end.borrow();
            let Some(end) = &*end else {
                return std::task::Poll::Ready(None);
            };
            match end.try_receive() {
                Some(letter) => std::task::Poll::Ready(Some(letter)),
                None if end.poll_waiting(cx) => {
                    // Another look will find it; the task asks for that look itself.
                    cx.waker().wake_by_ref();
                    std::task::Poll::Pending
                }
                None => std::task::Poll::Pending,
            }
        })
        .await
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(end) = self.end.borrow_mut().take() {
            // The place is empty: its end was here.
            let _ = self.shared.told[usize::from(self.shard.0)].push(end);
        }
    }
}

/// A shard's end of the mesh, laid back when all who hold it are gone.
#[derive(Clone)]
struct MeshPlace(Rc<Lent>);

struct Lent {
    end: RefCell<Option<MeshEnd<Gossip>>>,
    shared: Arc<Shared>,
    shard: ShardId,
}

impl MeshPlace {
    fn take(shared: &Arc<Shared>, shard: ShardId) -> Self {
        let end = RefCell::new(shared.mesh[usize::from(shard.0)].pop());
        Self(Rc::new(Lent {
            end,
            shared: Arc::clone(shared),
            shard,
        }))
    }

    /// To one shard, or to all others.
    fn tell(&self, to: Option<ShardId>, gossip: Gossip) {
        if let Some(end) = &*self.0.end.borrow() {
            for other in end
                .others()
                .filter(|other| to.is_none_or(|to| to == *other))
            {
                // A full box loses it: gossip saves a call, no more.
                let _ = end.try_send(other, gossip.clone());
            }
        }
    }

    async fn hear(&self) -> Option<Gossip> {
        std::future::poll_fn(|cx| match &mut *self.0.end.borrow_mut() {
            Some(end) => end
                .inbox
                .poll_recv(cx)
                .map(|letter| letter.map(|(_, gossip)| gossip)),
            None => std::task::Poll::Ready(None),
        })
        .await
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(end) = self.end.borrow_mut().take() {
            // The place is empty: its end was here.
            let _ = self.shared.mesh[usize::from(self.shard.0)].push(end);
        }
    }
}
