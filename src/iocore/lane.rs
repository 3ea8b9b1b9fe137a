//! One lane between threads: a bounded lock-free ring and a wake-up.
//!
//! Neither side ever blocks or takes a lock. A full ring gives the thing back: whether that means to keep it (durable lane) or to
//! count it as dropped (lossy lane) is the sender's owner to say. Any number of senders, one receiver.

use crossbeam::queue::ArrayQueue;
use futures_util::task::AtomicWaker;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Makes lanes; has no value of its own.
#[derive(Debug)]
pub struct Lane<T>(std::marker::PhantomData<T>);

#[derive(Debug)]
struct Ring<T> {
    queue: ArrayQueue<T>,
    receiver: AtomicWaker,
}

/// The writing end.
#[derive(Debug)]
pub struct Sender<T>(Arc<Ring<T>>);

/// The reading end: the only one, since there is one waker.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Ring<T>>);

impl<T> Lane<T> {
    /// A lane of `capacity` things (at least one), whose memory is taken at once.
    #[must_use]
    #[expect(
        clippy::new_ret_no_self,
        reason = "a lane is its two ends, as a channel is"
    )]
    pub fn new(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let ring = Arc::new(Ring {
            queue: ArrayQueue::new(capacity.max(1)),
            receiver: AtomicWaker::new(),
        });
        (Sender(ring.clone()), Receiver(ring))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Sender<T> {
    /// Sends, or gives `thing` back when the lane is full. A system call only when the receiver sleeps.
    pub fn try_send(&self, thing: T) -> Result<(), T> {
        self.0.queue.push(thing)?;
        self.0.receiver.wake();
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// The oldest thing, `None` when there is none just now.
    #[must_use]
    pub fn try_receive(&self) -> Option<T> {
        self.0.queue.pop()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.queue.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.queue.is_empty()
    }

    /// True when something is there; otherwise the task of `cx` is woken by the next thing sent. The waker is registered before
    /// the second look, since a thing sent between look and registration would wake nobody.
    #[must_use]
    pub fn poll_waiting(&self, cx: &mut Context<'_>) -> bool {
        if !self.is_empty() {
            return true;
        }
        self.0.receiver.register(cx.waker());
        !self.is_empty()
    }

    /// The oldest thing, waiting for one. Dropping the future loses nothing.
    pub async fn receive(&mut self) -> T {
        poll_fn(|cx| match self.try_receive() {
            Some(thing) => Poll::Ready(thing),
            None if self.poll_waiting(cx) => {
                // Another look will find it; the task asks for that look itself.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Pending,
        })
        .await
    }
}

/// Waits until at least one of `lanes` has something.
pub async fn any_waiting<'a, T: 'a>(lanes: impl Iterator<Item = &'a Receiver<T>> + Clone) {
    poll_fn(|cx| {
        // Not `any`: every lane must have the waker, or its thing would be seen only after another's.
        let waiting = lanes
            .clone()
            .map(|lane| lane.poll_waiting(cx))
            // All of them, so that each knows whom to wake.
            .filter(|waiting| *waiting)
            .count()
            > 0;
        if waiting {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn a_full_lane_gives_the_thing_back() {
        let (sender, receiver) = Lane::new(2);
        assert_eq!((sender.try_send(1), sender.try_send(2)), (Ok(()), Ok(())));
        assert_eq!(sender.try_send(3), Err(3));
        assert_eq!(receiver.try_receive(), Some(1));
        assert_eq!(sender.try_send(3), Ok(()));
        assert_eq!((receiver.len(), receiver.is_empty()), (2, false));
    }

    #[test]
    fn every_thing_sent_from_several_threads_arrives_once() {
        let (sender, mut receiver) = Lane::new(8);
        let threads: Vec<_> = (0..3_u64)
            .map(|thread| {
                let sender = sender.clone();
                std::thread::Builder::new()
                    .spawn(move || send_all(&sender, thread * 10_000..(thread + 1) * 10_000))
                    .expect("a thread")
            })
            .collect();
        let mut seen: Vec<u64> = block_on(async {
            let mut seen = Vec::new();
            while seen.len() < 30_000 {
                seen.push(receiver.receive().await);
            }
            seen
        });
        for thread in threads {
            thread.join().expect("sent all");
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..30_000));
    }

    fn send_all(sender: &Sender<u64>, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let mut number = number;
            while let Err(back) = sender.try_send(number) {
                number = back;
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn whoever_waits_on_several_lanes_hears_of_each() {
        let lanes = [Lane::new(1), Lane::new(1)];
        for (sender, _) in &lanes {
            let sender = sender.clone();
            let thread = std::thread::Builder::new()
                .spawn(move || sender.try_send('x'))
                .expect("a thread");
            block_on(any_waiting(lanes.iter().map(|(_, receiver)| receiver)));
            assert_eq!(thread.join().expect("ran"), Ok(()));
            assert!(lanes.iter().any(|(_, r)| r.try_receive() == Some('x')));
        }
    }
}
