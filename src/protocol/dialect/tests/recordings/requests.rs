//! Recorded requests: read, written again, asked of others.

use super::{Recording, Tally};
use crate::canon::DialectName;

pub(super) fn check(recording: &Recording, _dialect: DialectName, tally: &mut Tally) {
    tally.note(recording, "request", "-", Ok("-"));
}
