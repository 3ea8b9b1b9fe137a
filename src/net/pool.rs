//! Connections to origins that are kept: idle ones of HTTP/1.1, last in first out, and those of HTTP/2 with their streams.
//!
//! Bounded: `upstream_idle_max` idle connections an origin, for `upstream_idle`; `upstream_h2_streams` streams a connection, or what
//! the peer allows if that is less. While it is unknown what an origin speaks, and for HTTP/2 always, there is one dial at a
//! time, which all who wait share: a thousand calls to a cold origin must not make a thousand handshakes.

use super::dial::{Link, Names, dial};
use super::h2_client::Shared;
use super::run::{Core, WeakCore};
use super::runtime::{Runtime, clock};
use super::tls::{Origins, Prepared};
use crate::base::{Instant, OriginId};
use crate::config::Http2;
use crate::shard::UpstreamFault;
use futures_lite::AsyncRead;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(super) struct Pools<R: Runtime> {
    pools: RefCell<Vec<Rc<Pool<R>>>>,
}

/// What is kept of one origin.
pub(super) struct Pool<R: Runtime> {
    pub(super) prepared: Arc<Prepared>,
    pub(super) names: RefCell<Names>,
    idle: RefCell<Vec<Idle<R>>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    speaks: Cell<Speaks>,
    dialing: RefCell<Option<Rc<Dialing>>>,
}

struct Idle<R: Runtime> {
    link: Link<R>,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Unknown,
    Http1,
    Http2,
}

/// A dial that several calls wait for.
#[derive(Default)]
struct Dialing {
    done: RefCell<Option<Result<(), UpstreamFault>>>,
    wakers: RefCell<Vec<Waker>>,
}

/// A connection for one call.
pub(super) enum Route<R: Runtime> {
    /// `reused`: it served others before.
    Http1 {
        link: Link<R>,
        reused: bool,
    },
    Http2(Lease),
}

/// A place among a connection's streams, given back when dropped.
pub(super) struct Lease(pub(super) Rc<Shared>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.since.set(clock().instant);
    }
}

impl<R: Runtime> Pools<R> {
    pub(super) fn new(origins: Origins) -> Self {
        let pools = origins
            .iter()
            .map(|origin| Rc::new(Pool::new(origin)))
            .collect();
        Self {
            pools: RefCell::new(pools),
        }
    }

    pub(super) fn get(&self, origin: OriginId) -> Option<Rc<Pool<R>>> {
        self.pools
            .borrow()
            .get(usize::from(origin.0))
            .map(Rc::clone)
    }

    /// Keeps the connections of origins that did not change; gives back the rest, to be dropped outside of any borrow.
    pub(super) fn replace(&self, origins: Origins) -> Vec<Rc<Pool<R>>> {
        let before = self.pools.take();
        let now = origins.iter().map(|new| {
            // An origin with a certificate file is always taken anew: what the file holds may have changed.
            let same =
                |old: &&Rc<Pool<R>>| old.prepared.origin == new.origin && new.origin.ca.is_none();
            before
                .iter()
                .find(same)
                .map_or_else(|| Rc::new(Pool::new(new)), Rc::clone)
        });
        self.pools.replace(now.collect());
        before
    }

    /// Idle connections of HTTP/1.1, and connections of HTTP/2.
    pub(super) fn standing(&self) -> (usize, usize) {
        let pools = self.pools.borrow();
        let count = |pool: &Rc<Pool<R>>| (pool.idle.borrow().len(), pool.shared.borrow().len());
        pools
            .iter()
            .map(count)
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

impl<R: Runtime> Pool<R> {
    fn new(prepared: &Arc<Prepared>) -> Self {
        let origin = &prepared.origin;
        let speaks = match origin.http2 {
            Http2::Always => Speaks::Http2,
            Http2::Auto if origin.tls => Speaks::Unknown,
            Http2::Auto | Http2::Never => Speaks::Http1,
        };
        Self {
            prepared: Arc::clone(prepared),
            names: RefCell::default(),
            idle: RefCell::default(),
            shared: RefCell::default(),
            speaks: Cell::new(speaks),
            dialing: RefCell::default(),
        }
    }

    /// A connection for one call. With `fresh`, none that has idled.
    pub(super) async fn checkout(
        self: &Rc<Self>,
        core: &Core<R>,
        fresh: bool,
    ) -> Result<Route<R>, UpstreamFault> {
        loop {
            if let Some(lease) = self.lease(core.limits().upstream_h2_streams) {
                return Ok(Route::Http2(lease));
            }
            if !fresh && let Some(link) = self.idle_link().await {
                return Ok(Route::Http1 { link, reused: true });
            }
            if self.speaks.get() != Speaks::Http1 {
                self.dial_shared(core).await?;
                // An HTTP/1.1 origin was found out, and its first connection went to the idle ones: that one is fresh.
                if self.speaks.get() == Speaks::Http1
                    && let Some(link) = self.idle_link().await
                {
                    return Ok(Route::Http1 {
                        link,
                        reused: false,
                    });
                }
                continue;
            }
            let (link, http2) = dial(core, self).await?;
            if !http2 {
                return Ok(Route::Http1 {
                    link,
                    reused: false,
                });
            }
            self.speaks.set(Speaks::Http2);
            self.share(core, link).await?;
        }
    }

    /// Keeps a connection that has served an answer, or closes it when enough are idle.
    pub(super) fn keep(&self, link: Link<R>, idle_max: usize) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < idle_max {
            let since = clock().instant;
            idle.push(Idle { link, since });
        }
    }

    /// The connection that idled least and is alive: none of its bytes are unread, and it has not ended. Costs a read each.
    async fn idle_link(&self) -> Option<Link<R>> {
        loop {
            let mut link = self.idle.borrow_mut().pop()?.link;
            if poll_fn(|cx| Poll::Ready(is_quiet(&mut link, cx))).await {
                return Some(link);
            }
        }
    }

    /// The fullest connection of HTTP/2 that has room, so that the others can run empty and be closed.
    fn lease(&self, streams_max: u32) -> Option<Lease> {
        let shared = self.shared.borrow();
        let open = shared.iter().filter(|link| link.has_room(streams_max));
        let link = open.max_by_key(|link| link.streams.get())?;
        link.streams.set(link.streams.get() + 1);
        Some(Lease(Rc::clone(link)))
    }

    async fn share(self: &Rc<Self>, core: &Core<R>, link: Link<R>) -> Result<(), UpstreamFault> {
        let (shared, running) = Shared::begin(link, core.limits().upstream_h2_streams).await?;
        let shared = Rc::new(shared);
        self.shared.borrow_mut().push(Rc::clone(&shared));
        let pool = Rc::clone(self);
        core.runtime.spawn(async move {
            running.await;
            shared.closed.set(true);
            pool.shared
                .borrow_mut()
                .retain(|link| !Rc::ptr_eq(link, &shared));
        });
        Ok(())
    }

    /// Joins the dial that is under way, or begins one. Its task is its own: the first who waits may be cancelled.
    async fn dial_shared(self: &Rc<Self>, core: &Core<R>) -> Result<(), UpstreamFault> {
        let known = self.dialing.borrow().clone();
        let dialing = known.unwrap_or_else(|| {
            let dialing = Rc::new(Dialing::default());
            *self.dialing.borrow_mut() = Some(Rc::clone(&dialing));
            let (pool, core) = (Rc::clone(self), core.clone());
            let end = EndOfDial {
                pool: Rc::clone(self),
                dialing: Rc::clone(&dialing),
            };
            core.runtime.clone().spawn(async move {
                let done = pool.dial_for_all(&core).await;
                end.dialing.done.replace(Some(done));
                drop(end);
            });
            dialing
        });
        poll_fn(|cx| {
            if let Some(done) = &*dialing.done.borrow() {
                return Poll::Ready(done.clone());
            }
            dialing.wakers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    async fn dial_for_all(self: &Rc<Self>, core: &Core<R>) -> Result<(), UpstreamFault> {
        let late = core.wheel.sleep(SHARED_DIAL_MAX);
        let dialing = async {
            let (link, http2) = dial(core, self).await?;
            if http2 {
                self.speaks.set(Speaks::Http2);
                return self.share(core, link).await;
            }
            self.speaks.set(Speaks::Http1);
            self.keep(link, usize::MAX);
            Ok(())
        };
        futures_lite::future::or(dialing, async {
            late.await;
            Err(UpstreamFault::Connect("timed out".to_owned()))
        })
        .await
    }

    /// Closes what has idled too long or has ended meanwhile.
    fn sweep(&self, now: Instant, idle_time: Duration, cx: &mut Context<'_>) {
        let idle = self.idle.take();
        let fresh =
            |idle: &mut Idle<R>| now.since(idle.since) < idle_time && is_quiet(&mut idle.link, cx);
        let mut idle = idle;
        idle.retain_mut(fresh);
        let newer = self.idle.replace(idle);
        self.idle.borrow_mut().extend(newer);
        let old =
            |link: &Rc<Shared>| link.streams.get() == 0 && now.since(link.since.get()) >= idle_time;
        // The connection's own task ends when nobody can open a stream any more.
        let gone: Vec<_> = self
            .shared
            .borrow_mut()
            .extract_if(.., |link| old(link))
            .collect();
        gone.iter().for_each(|link| link.close());
    }
}

/// A dial that nobody's cancel ends must end by itself; shards wait less.
const SHARED_DIAL_MAX: Duration = Duration::from_secs(30);

/// However a shared dial ends, also by a panic, those who wait are told.
struct EndOfDial<R: Runtime> {
    pool: Rc<Pool<R>>,
    dialing: Rc<Dialing>,
}

impl<R: Runtime> Drop for EndOfDial<R> {
    fn drop(&mut self) {
        let broken = || Err(UpstreamFault::Connect("the dial broke off".to_owned()));
        self.dialing.done.borrow_mut().get_or_insert_with(broken);
        self.pool.dialing.take();
        let wakers = self.dialing.wakers.take();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Whether an idle connection has nothing to say. An end, an error or a byte nobody asked for makes it useless. (TLS takes
/// session tickets in without a word.)
fn is_quiet<R: Runtime>(link: &mut Link<R>, cx: &mut Context<'_>) -> bool {
    let mut byte = [0; 1];
    Pin::new(link).poll_read(cx, &mut byte).is_pending()
}

/// Looks after idle connections; ends with the core.
pub(super) async fn sweeping<R: Runtime>(core: WeakCore<R>) {
    loop {
        let Some(here) = core.upgrade() else {
            return;
        };
        let idle_time = here.limits().upstream_idle;
        let pause = (idle_time / 4).clamp(Duration::from_millis(50), Duration::from_secs(5));
        let sleep = here.wheel.sleep(pause);
        drop(here);
        sleep.await;
        let Some(here) = core.upgrade() else {
            return;
        };
        let pools = here.pools.pools.borrow().clone();
        let now = clock().instant;
        poll_fn(|cx| {
            pools.iter().for_each(|pool| pool.sweep(now, idle_time, cx));
            Poll::Ready(())
        })
        .await;
    }
}
