//! What no pair of codecs speaks.

use super::{Recording, Tally};

pub(super) fn check(recording: &Recording, tally: &mut Tally) {
    tally.note(recording, "other", "-", Ok("-"));
}
