//! A buffer that is passed from one head to the next.

use std::cell::Cell;

/// One a core, since heads are written one after the other: who finds it gone begins a new one.
#[derive(Default)]
pub(super) struct Spare(Cell<Vec<u8>>);

/// A buffer that grew larger is not kept.
const KEPT_BYTES_MAX: usize = 64 << 10;

impl Spare {
    /// An empty buffer.
    pub(super) fn take(&self) -> Vec<u8> {
        self.0.take()
    }

    /// Forgets what is in `buffer`: another's head, with a credential in it, must not be found by who takes it next.
    pub(super) fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() <= KEPT_BYTES_MAX {
            self.0.set(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_what_was_written_before_is_found_by_who_comes_next() {
        let spare = Spare::default();
        spare.give(b"authorization: secret".to_vec());
        let next = spare.take();
        assert!(next.is_empty() && next.capacity() > 0);
        spare.give(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert_eq!(spare.take().capacity(), 0);
    }
}
