//! Decisions: functions of values; the time is an argument. Cannot see JSON, providers' names or sockets.
//!
//! The decision of this stage is simple: who is eligible, then the cheapest by price, then the least used. It stands where the sum of all
//! expected costs will stand (`cost`, `choose`). In reading order.

pub mod admission;
pub mod belief;
pub mod bill;
pub mod candidate;
pub mod capacity;
pub mod choose;
pub mod cost;
/// What answers have been like.
pub mod estimate;
pub mod fingerprint;
pub mod health;
/// What tells a provider which requests belong together.
pub mod hints;
pub mod lease;
/// Where to ask a provider to cache.
pub mod marks;
pub mod prefix;
pub mod retry;
pub mod server;
