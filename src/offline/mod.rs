//! Commands that serve no traffic.

/// Is this configuration right? Every problem, with its place.
pub mod check;
/// What was spent.
pub mod usage;
