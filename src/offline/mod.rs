//! Commands that serve no traffic.

/// Is this configuration right? Every problem, with its place.
pub mod check;
/// Why a request goes where it goes.
pub mod explain;
/// A workload through simulated endpoints: what each policy would have cost.
pub mod keys;
/// Questions to the running router.
mod operator;
pub mod replay;
/// What was spent.
pub mod usage;
/// Provider keys at rest.
pub mod vault;
