//! Commands that serve no traffic.

pub mod usage;
