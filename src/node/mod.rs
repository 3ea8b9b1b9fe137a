//! Start and stop of everything: the configuration from disk, then I/O core, shards, listeners; and the reverse.

mod files;
pub use files::{default_config, read_config};
pub mod fakes;

use crate::config::Loaded;

/// Serves until told to stop.
///
/// # Errors
/// What keeps it from starting, or what ended it early.
pub fn serve(loaded: Loaded) -> anyhow::Result<()> {
    anyhow::bail!(
        "serving is not wired: {} models are configured",
        loaded.config.models.len()
    )
}
