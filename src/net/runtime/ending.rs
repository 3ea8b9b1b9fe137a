//! How all tasks of an executor are ended, each dropped where it stands.
//!
//! glommio leaves unfinished tasks as they are when its executor ends, and with them the sockets they hold, what the ring was asked for
//! those, and all memory behind. Costs each task a place in a table, and each of its polls one look at it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// The tasks of this thread's executor.
#[derive(Default)]
struct Tasks {
    ending: bool,
    running: usize,
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

thread_local! {
    static TASKS: RefCell<Tasks> = RefCell::default();
}

/// A task that runs to its end, or until all are ended.
pub(super) struct Mortal<F> {
    place: Place,
    task: F,
}

impl<F: Future<Output = ()> + Unpin> Mortal<F> {
    pub(super) fn new(task: F) -> Self {
        Self {
            place: Place::take(),
            task,
        }
    }
}

impl<F: Future<Output = ()> + Unpin> Future for Mortal<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.place.is_over(cx) {
            return Poll::Ready(());
        }
        Pin::new(&mut self.task).poll(cx)
    }
}

/// A task's place in the table, free again when it is dropped.
struct Place(usize);

impl Place {
    fn take() -> Self {
        TASKS.with_borrow_mut(|tasks| {
            tasks.running += 1;
            let at = tasks.free.pop().unwrap_or_else(|| {
                tasks.wakers.push(None);
                tasks.wakers.len() - 1
            });
            Self(at)
        })
    }

    /// Whether all shall end; if not, `cx` is woken when they shall.
    fn is_over(&self, cx: &Context<'_>) -> bool {
        let (over, before) = TASKS.with_borrow_mut(|tasks| {
            let waker = &mut tasks.wakers[self.0];
            let known = waker.as_ref().is_some_and(|w| w.will_wake(cx.waker()));
            let before = match tasks.ending || known {
                true => None,
                false => waker.replace(cx.waker().clone()),
            };
            (tasks.ending, before)
        });
        // Outside of the borrow: a waker may be the last to hold a task, whose drop comes back here.
        drop(before);
        over
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waker = TASKS.with_borrow_mut(|tasks| {
            tasks.running -= 1;
            tasks.free.push(self.0);
            tasks.wakers[self.0].take()
        });
        drop(waker);
    }
}

/// Tells all tasks of this thread to end; each does in its next turn. To be followed by `all_ended`.
pub(super) fn end() {
    let wakers: Vec<Waker> = TASKS.with_borrow_mut(|tasks| {
        tasks.ending = true;
        tasks.wakers.iter_mut().filter_map(Option::take).collect()
    });
    wakers.into_iter().for_each(Waker::wake);
}

/// Whether no task is left.
pub(super) fn all_ended() -> bool {
    TASKS.with_borrow(|tasks| tasks.running == 0)
}

/// Another executor may run on this thread.
pub(super) fn begin_anew() {
    TASKS.with_borrow_mut(|tasks| tasks.ending = false);
}
