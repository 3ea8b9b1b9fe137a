//! Capacity pools: what an exchange holds of a provider's limit from the moment it is sent until it settles.
//!
//! A limit here is a twin of the provider's own: a continuous bucket for each thing that it counts, filled, drawn and corrected by the
//! provider's own rule, so that what would be refused there waits here. A reservation is taken before a call is made and settled once; a
//! bucket may go below zero by what an estimate was too low, and is then waited out. Where an instance has several shards, each admits by
//! what it has leased of the instance's limit. In reading order.

pub mod bucket;
/// Why something is left alone, and until when.
pub mod closed;
pub mod day;
mod gauge;
pub mod learn;
/// A limit that shards share.
pub mod leased;
pub mod pool;
/// What headroom is worth.
pub mod price;
pub mod rule;

#[cfg(test)]
mod leased_tests;
#[cfg(test)]
mod tests;

pub use bucket::{Bucket, Rate};
pub use closed::{Closed, Why};
pub use day::DayEnd;
pub use leased::{Seat, Spoken, Word};
pub use pool::{Dimension, Limit, Numbers, Reservation, Told};
pub use price::Worth;
pub use rule::Rule;

use crate::base::Tokens;
use std::time::Duration;

/// What a call is expected to draw, whoever is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Input that is not read from a cache; what is written to one counts.
    pub input: Tokens,
    /// Input that a cache should have.
    pub cache_read: Tokens,
    /// Output to be expected.
    pub output: Tokens,
    /// The most that the client, or else the model, allows; `None` is unknown.
    pub output_most: Option<Tokens>,
}

/// What it drew in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Input without cache reads.
    pub input: Tokens,
    pub cache_read: Tokens,
    pub output: Tokens,
}

/// Whether there is headroom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    Now,
    /// If nobody else takes it before.
    In(Duration),
    /// When a running exchange has settled.
    WhenFreed,
    /// This shard has no share of the limit.
    Never,
}

/// Whether `name` is of the class `pattern`, in which `*` stands for any run of characters.
#[must_use]
pub fn of_class(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|head| name.strip_prefix(head)) else {
        return false;
    };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}
