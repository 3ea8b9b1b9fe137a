//! Mail between threads: a bounded ring and a wake, without a lock.
//!
//! Many senders, one receiver; any executor on either side, or none on the sender's. At the capacity a letter comes back to who
//! sent it, at once: a sender never waits, since two shards that wait for each other would stand for ever. What to do
//! with a letter that came back is the sender's rule; `LossySender` is the rule "drop and count".

use crate::base::ShardId;
use crossbeam::queue::ArrayQueue;
use futures_util::task::AtomicWaker;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::task::{Context, Poll};

/// A ring that holds at most `capacity` letters, at least one; its memory is taken now.
#[must_use]
pub fn ring<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        letters: ArrayQueue::new(capacity.max(1)),
        receiver: AtomicWaker::new(),
        senders: AtomicUsize::new(1),
        full: AtomicU64::new(0),
        lost: AtomicU64::new(0),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

#[derive(Debug)]
struct Shared<T> {
    letters: ArrayQueue<T>,
    receiver: AtomicWaker,
    senders: AtomicUsize,
    full: AtomicU64,
    lost: AtomicU64,
}

/// The end that sends; a clone sends into the same ring.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Leaves `letter` for the receiver and wakes it. Never blocks. `Err` gives it back when the ring is full; the receiver is
    /// woken then too, since it has work at hand.
    pub fn try_send(&self, letter: T) -> Result<(), T> {
        let left = self.0.letters.push(letter);
        if left.is_err() {
            self.0.full.fetch_add(1, Ordering::Relaxed);
        }
        // The letter must be seen before the question whether anybody sleeps, as the receiver asks in the other order.
        fence(Ordering::SeqCst);
        self.0.receiver.wake();
        left
    }

    /// How often a letter came back, since the ring was made.
    #[must_use]
    pub fn times_full(&self) -> u64 {
        self.0.full.load(Ordering::Relaxed)
    }

    /// This end with the rule that a letter for which there is no room is dropped and counted.
    #[must_use]
    pub fn lossy(self) -> LossySender<T> {
        LossySender(self)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The last one: the receiver should learn that nothing comes any more.
            self.0.receiver.wake();
        }
    }
}

/// A sender for what may be lost: log lines, samples.
#[derive(Clone, Debug)]
pub struct LossySender<T>(Sender<T>);

impl<T> LossySender<T> {
    /// Leaves `letter`, or drops and counts it when the ring is full.
    pub fn send(&self, letter: T) {
        if self.0.try_send(letter).is_err() {
            self.0.0.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many letters of all lossy senders of this ring were dropped.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.0.lost.load(Ordering::Relaxed)
    }
}

/// The end that receives. One task waits at a time; a letter is never lost when its waiting is dropped.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// The next letter; `None` when there is none and the last sender has gone.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if let Some(letter) = self.0.letters.pop() {
            return Poll::Ready(Some(letter));
        }
        self.0.receiver.register(cx.waker());
        fence(Ordering::SeqCst);
        // Read before the last look: what the last sender left was there before it went.
        let ended = self.0.senders.load(Ordering::Acquire) == 0;
        match self.0.letters.pop() {
            Some(letter) => Poll::Ready(Some(letter)),
            None if ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Appends at most as many letters as the ring holds, in order, and says how many; never waits. Bounded, so that fast senders
    /// cannot keep a shard from its sockets.
    pub fn drain(&mut self, into: &mut Vec<T>) -> usize {
        let before = into.len();
        let most = self.0.letters.capacity();
        into.extend(std::iter::from_fn(|| self.0.letters.pop()).take(most));
        into.len() - before
    }

    /// As `recv` for all that is there: waits until there is one at least. `false` as `recv`'s `None`.
    pub async fn recv_all(&mut self, into: &mut Vec<T>) -> bool {
        let Some(first) = self.recv().await else {
            return false;
        };
        into.push(first);
        self.drain(into);
        true
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.letters.is_empty()
    }
}

/// One shard's place in the mesh: a way to each other shard, and its own letter box.
#[derive(Debug)]
pub struct MeshEnd<T> {
    pub own: ShardId,
    to: Vec<Option<Sender<(ShardId, T)>>>,
    pub inbox: Receiver<(ShardId, T)>,
}

impl<T> MeshEnd<T> {
    /// Leaves `letter` for shard `to`. `Err` gives it back when that shard's box is full, or `to` is this shard or none.
    pub fn try_send(&self, to: ShardId, letter: T) -> Result<(), T> {
        match self.to.get(usize::from(to.0)).and_then(Option::as_ref) {
            Some(sender) => sender
                .try_send((self.own, letter))
                .map_err(|(_, back)| back),
            None => Err(letter),
        }
    }

    /// The other shards, in order.
    pub fn others(&self) -> impl Iterator<Item = ShardId> {
        let here = self.to.iter().zip(0..);
        here.filter_map(|(to, index)| to.as_ref().map(|_| ShardId(index)))
    }
}

/// Connects `shards` shards, each with a box of `capacity` letters which all others share.
#[must_use]
pub fn mesh<T: Send>(shards: u16, capacity: usize) -> Vec<MeshEnd<T>> {
    let (senders, boxes): (Vec<_>, Vec<_>) = (0..shards).map(|_| ring(capacity)).unzip();
    let ends = (0..shards).zip(boxes).map(|(own, inbox)| MeshEnd {
        own: ShardId(own),
        to: (0..shards)
            .map(|other| (other != own).then(|| senders[usize::from(other)].clone()))
            .collect(),
        inbox,
    });
    ends.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn a_letter_without_room_comes_back_and_is_counted() {
        let (to, mut from) = ring(2);
        assert_eq!((to.try_send(1), to.try_send(2)), (Ok(()), Ok(())));
        assert_eq!((to.try_send(3), to.times_full()), (Err(3), 1));
        let lossy = to.lossy();
        lossy.send(4);
        assert_eq!(lossy.lost(), 1);
        let mut got = Vec::new();
        assert_eq!((from.drain(&mut got), got), (2, vec![1, 2]));
    }

    #[test]
    fn letters_left_before_the_last_sender_went_are_received() {
        let (to, mut from) = ring(4);
        assert!(block_on(poll_once(from.recv())).is_none());
        to.try_send(1).expect("room");
        drop(to);
        assert_eq!(block_on(from.recv()), Some(1));
        assert_eq!(block_on(from.recv()), None);
    }

    /// Fails when a wake can fall between the look and the sleep.
    #[test]
    fn no_wake_is_lost_between_threads_and_each_senders_order_holds() {
        const EACH: u64 = 20_000;
        let (to, mut from) = ring(8);
        let senders = (0..2_u64).map(|sender| {
            let to = to.clone();
            let send = move || {
                for n in 0..EACH {
                    while to.try_send((sender, n)).is_err() {
                        std::thread::yield_now();
                    }
                }
            };
            std::thread::Builder::new().spawn(send).expect("a thread")
        });
        let senders: Vec<_> = senders.collect();
        drop(to);
        let mut next = [0, 0];
        while let Some((sender, n)) = block_on(from.recv()) {
            assert_eq!(next[sender as usize], n);
            next[sender as usize] += 1;
        }
        assert_eq!(next, [EACH, EACH]);
        senders
            .into_iter()
            .for_each(|thread| thread.join().expect("no panic"));
    }

    #[test]
    fn each_shard_reaches_each_other_and_not_itself() {
        let mut ends = mesh(3, 4);
        for end in &ends {
            assert_eq!(end.others().count(), 2);
            for other in end.others() {
                end.try_send(other, end.own.0).expect("room");
            }
            assert_eq!(end.try_send(end.own, 9), Err(9));
            assert_eq!(end.try_send(ShardId(3), 9), Err(9));
        }
        for end in &mut ends {
            let mut got = Vec::new();
            assert_eq!(end.inbox.drain(&mut got), 2);
            assert!(
                got.iter()
                    .all(|(from, letter)| from.0 == *letter && *from != end.own)
            );
        }
    }
}
