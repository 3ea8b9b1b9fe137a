//! What was known of warm prompts, over a restart: one file of the data directory.
//!
//! Written when the router ends in order and read when it starts; a router that is killed begins without, and learns each conversation again
//! with its next turn. Bytes of the index's own making, which checks them itself; whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

const NAME: &str = "prefixes";
/// Far more than the largest index writes; what is larger is not ours.
const BYTES_MAX: u64 = 1 << 32;

/// What the last router left in `folder`; `None` where it left nothing, or nothing that can be read.
#[must_use]
pub fn read(folder: &Path) -> Option<Vec<u8>> {
    let path = folder.join(NAME);
    let bytes = fs::metadata(&path).ok().filter(|m| m.len() <= BYTES_MAX);
    bytes.and_then(|_| match fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "not read: warm prompts are learned anew");
            None
        }
    })
}

/// Leaves `bytes` for the next router.
pub fn write(folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = folder.join("prefixes.new");
    let mut file = fs::File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_router_leaves_the_next_one_finds() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read(folder.path()), None);
        write(folder.path(), b"warm").expect("written");
        assert_eq!(read(folder.path()).as_deref(), Some(&b"warm"[..]));
        write(folder.path(), b"").expect("written");
        assert_eq!(read(folder.path()).as_deref(), Some(&b""[..]));
        assert!(write(Path::new("/nowhere"), b"x").is_err());
    }
}
