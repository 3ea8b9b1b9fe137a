//! The loop of a core: an input goes into the shard, what the shard wants done is done.
//!
//! Deliberately holds no rule: it reads the clock once an input, steps the shard under a borrow that ends before the first output
//! is performed, and takes inputs that performing causes from a queue, never by recursion.

use super::clients::Clients;
use super::conn::Connections;
use super::pool::Pools;
use super::runtime::{Runtime, clock};
use super::spare::Spare;
use super::tls::Origins;
use super::upstream::Calls;
use super::wheel::{Sleep, Wheel};
use crate::base::{Budget, Instant, Now, ShardId};
use crate::config::{Config, Limits};
use crate::shard::{Gossip, Input, Mail, Output, Shard};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// What the loop drives: the shard, and in tests a script.
pub trait Steps {
    /// As `Shard::on`.
    fn on(&mut self, now: Now, input: Input, out: &mut Vec<Output>);
    /// As `Shard::next_timer`.
    fn next_timer(&self) -> Option<Instant>;
    /// As `Shard::bodies`.
    fn bodies(&self) -> Budget {
        Budget::default()
    }
}

impl Steps for Shard {
    fn on(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        Shard::on(self, now, input, out);
    }
    fn next_timer(&self) -> Option<Instant> {
        Shard::next_timer(self)
    }
    fn bodies(&self) -> Budget {
        Shard::bodies(self)
    }
}

/// A name's addresses; the error is for the log.
pub type Resolving = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, String>>>>;

/// Asks whoever resolves names. Never blocks.
pub type Resolve = Rc<dyn Fn(&str) -> Resolving>;

/// Takes a letter to one other shard, or to all.
pub type Tell = Box<dyn FnMut(Option<ShardId>, Gossip)>;

/// What a core is made of.
pub struct Setup {
    /// The node keeps its own handle, to read meters between steps.
    pub brain: Rc<RefCell<dyn Steps>>,
    pub limits: Limits,
    /// By `OriginId`.
    pub origins: Origins,
    pub resolve: Resolve,
    /// Takes mail to the I/O core; must not step the core.
    pub post: Box<dyn FnMut(Mail)>,
    /// Takes letters to the other shards; must not step the core.
    pub tell: Tell,
    /// The shard panicked: its state can no longer be believed. The core takes no further step; the node makes a new one.
    pub on_broken: Box<dyn FnOnce()>,
}

/// A handle on one core's loop; cheap to clone.
pub struct Core<R: Runtime>(Rc<Inner<R>>);

impl<R: Runtime> Clone for Core<R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<R: Runtime> std::fmt::Debug for Core<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("standing", &self.standing())
            .finish()
    }
}

/// What a core consists of; of use to this room only.
pub struct Inner<R: Runtime> {
    pub(super) runtime: R,
    pub(super) wheel: Wheel,
    pub(super) clients: Clients,
    pub(super) connections: Connections,
    pub(super) bodies: Budget,
    pub(super) calls: Calls,
    pub(super) pools: Pools<R>,
    pub(super) resolve: Resolve,
    /// What one readiness can bring. One a core, not one a connection: an idle stream should hold no buffer.
    pub(super) scratch: RefCell<Box<[u8]>>,
    /// A buffer for heads, of requests and of answers, on their way out.
    pub(super) head: Spare,
    limits: RefCell<Rc<Limits>>,
    brain: Rc<RefCell<dyn Steps>>,
    inputs: RefCell<VecDeque<Input>>,
    /// Kept between steps for its capacity.
    outputs: RefCell<Vec<Output>>,
    stepping: Cell<bool>,
    broken: Cell<bool>,
    on_broken: Cell<Option<Box<dyn FnOnce()>>>,
    post: RefCell<Box<dyn FnMut(Mail)>>,
    tell: RefCell<Tell>,
    alarm: RefCell<Sleep>,
    armed: Cell<Instant>,
    steps: Cell<u64>,
}

/// What a core holds open; all zero (but idle connections) when nothing is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub connections: usize,
    pub clients: usize,
    pub calls: usize,
    pub body_bytes: u64,
    pub upstream_idle: usize,
    pub upstream_h2: usize,
}

impl<R: Runtime> std::ops::Deref for Core<R> {
    type Target = Inner<R>;
    fn deref(&self) -> &Inner<R> {
        &self.0
    }
}

impl<R: Runtime> Core<R> {
    /// Starts a core on the executor of this thread: its wheel, its alarm and the sweeper of idle connections.
    #[must_use]
    pub fn start(runtime: R, setup: Setup) -> Self {
        let wheel = Wheel::start(&runtime);
        let alarm = wheel.sleep_until(Instant::NEVER);
        let bodies = setup.brain.borrow().bodies();
        let core = Self(Rc::new(Inner {
            clients: Clients::new(setup.limits.connections_max, setup.limits.exchanges_max),
            connections: Connections::default(),
            bodies,
            calls: Calls::default(),
            pools: Pools::new(setup.origins),
            resolve: setup.resolve,
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
            head: Spare::default(),
            limits: RefCell::new(Rc::new(setup.limits)),
            brain: setup.brain,
            inputs: RefCell::default(),
            outputs: RefCell::default(),
            stepping: Cell::new(false),
            broken: Cell::new(false),
            on_broken: Cell::new(Some(setup.on_broken)),
            post: RefCell::new(setup.post),
            tell: RefCell::new(setup.tell),
            alarm: RefCell::new(alarm),
            armed: Cell::new(Instant::NEVER),
            steps: Cell::new(0),
            wheel,
            runtime,
        }));
        core.runtime.spawn(ticking(Rc::downgrade(&core.0)));
        core.runtime.spawn(super::pool::sweeping(core.weak()));
        core.arm();
        core
    }

    /// Gives the shard an input from outside of this room: a ring from another thread, or the node.
    pub fn inject(&self, input: Input) {
        self.step(input);
    }

    /// Serves by a new configuration. Connections that are open go on under the limits they began with.
    pub fn reload(&self, config: Arc<Config>, origins: Origins) {
        *self.limits.borrow_mut() = Rc::new(config.limits.clone());
        drop(self.pools.replace(origins));
        self.step(Input::Config(config));
    }

    #[must_use]
    pub fn standing(&self) -> Standing {
        let (upstream_idle, upstream_h2) = self.pools.standing();
        Standing {
            connections: self.connections.len(),
            clients: self.clients.len(),
            calls: self.calls.len(),
            body_bytes: self.bodies.taken(),
            upstream_idle,
            upstream_h2,
        }
    }

    /// Inputs taken so far; the I/O core watches that it moves.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// True once the shard has panicked.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    pub(super) fn limits(&self) -> Rc<Limits> {
        Rc::clone(&self.limits.borrow())
    }

    pub(super) fn weak(&self) -> WeakCore<R> {
        WeakCore(Rc::downgrade(&self.0))
    }

    /// Takes `input`, and whatever performing its outputs causes, unless a step is under way: then that one will take it.
    pub(super) fn step(&self, input: Input) {
        self.inputs.borrow_mut().push_back(input);
        if self.broken.get() || self.stepping.replace(true) {
            return;
        }
        let mut outputs = self.outputs.take();
        loop {
            let Some(input) = self.inputs.borrow_mut().pop_front() else {
                break;
            };
            self.think(input, &mut outputs);
            for output in outputs.drain(..) {
                self.perform(output);
            }
        }
        self.outputs.replace(outputs);
        self.stepping.set(false);
        self.arm();
    }

    /// One step of the shard. A panic in it goes on to the caller's task, after this core was closed for good.
    fn think(&self, input: Input, outputs: &mut Vec<Output>) {
        self.steps.set(self.steps.get() + 1);
        let now = clock();
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            self.brain.borrow_mut().on(now, input, outputs);
        }));
        if let Err(panic) = stepped {
            self.broken.set(true);
            if let Some(hook) = self.on_broken.take() {
                hook();
            }
            self.inputs.borrow_mut().clear();
            resume_unwind(panic);
        }
    }

    fn perform(&self, output: Output) {
        match output {
            Output::ReadBody { client, bytes_max } => self.clients.read_body(client, bytes_max),
            Output::Respond {
                client,
                head,
                body,
                end,
            } => {
                self.clients.respond(client, head, body, end);
            }
            Output::Write { client, bytes } => self.write(client, bytes),
            Output::End { client } => self.clients.end(client),
            Output::Abort { client } => self.clients.abort(client),
            Output::Upgrade { client, accept } => self.clients.upgrade(client, accept),
            Output::Call(call) => self.call(call),
            Output::Cancel { attempt } => self.calls.cancel(attempt),
            Output::Pause { attempt } => self.calls.pause(attempt, true),
            Output::Resume { attempt } => self.calls.pause(attempt, false),
            Output::Post(mail) => (self.post.borrow_mut())(mail),
            Output::Tell(gossip) => (self.tell.borrow_mut())(None, gossip),
            Output::TellOne { shard, gossip } => (self.tell.borrow_mut())(Some(shard), gossip),
        }
    }

    fn write(&self, client: crate::base::ClientId, bytes: bytes::Bytes) {
        let bound = self.limits.borrow().client_buffer_bytes;
        if self.clients.write(client, bytes, bound) {
            // A step is under way, so this waits its turn.
            self.step(Input::Congested { client });
        }
    }

    /// Sets the alarm when it should ring earlier than it is set to. A ring too early does no harm.
    fn arm(&self) {
        let Ok(brain) = self.brain.try_borrow() else {
            return;
        };
        let next = brain.next_timer().unwrap_or(Instant::NEVER);
        if next < self.armed.get() {
            self.armed.set(next);
            self.alarm.borrow_mut().reset(next);
        }
    }
}

/// 64 KiB: four TLS records, and what a fast network has ready at once.
const SCRATCH_BYTES: usize = 64 << 10;

/// What a task that must not keep its core alive holds.
pub(super) struct WeakCore<R: Runtime>(Weak<Inner<R>>);

impl<R: Runtime> WeakCore<R> {
    pub(super) fn upgrade(&self) -> Option<Core<R>> {
        self.0.upgrade().map(Core)
    }
}

/// Brings `Input::Tick` when the alarm rings; ends with the core.
async fn ticking<R: Runtime>(core: Weak<Inner<R>>) {
    loop {
        let rang = poll_fn(|cx| match core.upgrade() {
            Some(core) => Pin::new(&mut *core.alarm.borrow_mut())
                .poll(cx)
                .map(|()| true),
            None => std::task::Poll::Ready(false),
        });
        let (true, Some(core)) = (rang.await, core.upgrade().map(Core)) else {
            return;
        };
        core.armed.set(Instant::NEVER);
        core.alarm.borrow_mut().reset(Instant::NEVER);
        core.step(Input::Tick);
    }
}
