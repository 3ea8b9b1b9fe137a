//! Decisions: functions of values; the time is an argument. Cannot see JSON, providers' names or sockets.
//!
//! What is known (`capacity`, `warmth`, `estimate`, `health`, `server`) comes together in one sum of money (`cost`), by which candidates are
//! chosen (`choose`) and, when that failed, chosen again (`retry`).

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
/// What only its maker can read.
pub mod seals;
pub mod server;
pub mod warmth;
