//! The configuration from disk and from the process's environment.

use crate::config::{self, Loaded, Problem};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The file to read where none is named: beside the working directory's sources, else the system's. `None` if neither is there.
#[must_use]
pub fn default_config() -> Option<PathBuf> {
    ["./config/stokehold.yaml", "/etc/stokehold/stokehold.yaml"]
        .into_iter()
        .map(PathBuf::from)
        .find(|p| p.is_file())
}

/// The configuration at `root`, from disk and the process's environment, for this machine's cores.
///
/// # Errors
/// Every problem there is; also that a file cannot be read.
pub fn read_config(root: &Path) -> Result<Loaded, Vec<Problem>> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let env = |name: &str| std::env::var(name).ok();
    config::load(&root.to_string_lossy(), &read_file, &env, cores)
}

/// A file whole, up to a bound: `include: /dev/zero` must not fill the memory.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// One more than `config` takes, so that it can tell that a file is too long.
const FILE_BYTES_MAX: u64 = (4 << 20) + 1;
