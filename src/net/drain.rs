//! Stop taking, finish, leave.

use super::conn::Leaving;
use super::run::Core;
use super::runtime::Runtime;
use crate::shard::Input;
use futures_lite::future::or;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had to be cut, because their answers took longer than the limit.
    pub cut: usize,
}

/// Takes nothing new, tells idle connections to go (`connection: close`, GOAWAY), waits until the running answers are out or
/// `limit` has passed, then cuts the rest, which the shard is told of. The listeners close at once.
pub async fn drain<R: Runtime>(core: &Core<R>, limit: Duration) -> Drained {
    core.inject(Input::Drain);
    core.connections.tell(Leaving::Finish);
    let late = core.wheel.sleep(limit);
    or(empty(core), late).await;
    let cut = core.connections.len();
    core.connections.tell(Leaving::Now);
    // Every connection sees it at its next turn.
    or(empty(core), core.wheel.sleep(CUT_TIME)).await;
    Drained { cut }
}

/// Cuts everything, of a core that takes no further step: clients, whose answers nobody writes any more, and calls, whose answers nobody
/// reads. To be awaited before its executor ends, so that their last words come in order; what is held open beside, such as idle connections to
/// providers, goes with the executor's tasks (`threads`).
pub async fn cut<R: Runtime>(core: &Core<R>) {
    core.calls.cancel_all();
    core.connections.tell(Leaving::Now);
    or(empty(core), core.wheel.sleep(CUT_TIME)).await;
}

const CUT_TIME: Duration = Duration::from_secs(2);

async fn empty<R: Runtime>(core: &Core<R>) {
    poll_fn(|cx| {
        core.connections.watch(cx);
        if core.connections.len() == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
