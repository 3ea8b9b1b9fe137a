//! Bytes in memory against a bound, counted until the last who holds them lets go.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of clients' requests that are in memory, whoever holds them. Clones count together. Atomic because a slice may be dropped on
/// another thread than counted it.
#[derive(Clone, Debug, Default)]
pub struct Budget(Arc<AtomicU64>);

/// There is no room for so many bytes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget;

impl Budget {
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Room for nothing yet.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold {
            taken: Arc::clone(&self.0),
            bytes: 0,
        }
    }

    /// The same bytes, counted until their last slice is dropped. `Err` where that would be more than `bound` in all.
    pub fn keep(&self, bytes: Bytes, bound: u64) -> Result<Bytes, OverBudget> {
        let mut hold = self.hold();
        hold.grow(bytes.len() as u64, bound)?;
        Ok(hold.keep(bytes))
    }
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub struct Hold {
    taken: Arc<AtomicU64>,
    bytes: u64,
}

impl Hold {
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `more` bytes, unless all together would be over `bound`.
    pub fn grow(&mut self, more: u64, bound: u64) -> Result<(), OverBudget> {
        if self.taken.load(Ordering::Relaxed).saturating_add(more) > bound {
            return Err(OverBudget);
        }
        self.taken.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        Ok(())
    }

    /// Holds `bytes` from now on. To hold less always succeeds.
    pub fn resize(&mut self, bytes: u64, bound: u64) -> Result<(), OverBudget> {
        if bytes > self.bytes {
            return self.grow(bytes - self.bytes, bound);
        }
        self.taken.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        self.bytes = bytes;
        Ok(())
    }

    /// `bytes`, which carry what is held until their last slice is dropped, wherever that is.
    #[must_use]
    pub fn keep(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _hold: self })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes with what they hold of the budget.
struct Held {
    bytes: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back_with_the_last_slice() {
        let budget = Budget::default();
        let kept = budget.keep(Bytes::from_static(b"12345678"), 10);
        let kept = kept.expect("there is room");
        let slice = kept.slice(2..4);
        assert_eq!(budget.keep(Bytes::from_static(b"123"), 10), Err(OverBudget));
        drop(kept);
        assert_eq!((&slice[..], budget.taken()), (&b"34"[..], 8));
        drop(slice);
        assert_eq!(budget.taken(), 0);
        let mut hold = budget.hold();
        assert_eq!(hold.resize(7, 10), Ok(()));
        assert_eq!(hold.resize(11, 10), Err(OverBudget));
        assert_eq!((hold.bytes(), budget.taken()), (7, 7));
        assert_eq!(hold.resize(3, 2), Ok(()), "less is always allowed");
        drop(hold);
        assert_eq!(budget.taken(), 0);
    }
}
