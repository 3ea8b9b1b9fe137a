//! Commands that serve no traffic.

/// Is this configuration right?
pub mod check;
pub mod usage;
