//! What this instance keeps secret over restarts: the key of its fingerprints.
//!
//! 32 random bytes in a file of the data directory that only its owner may read. Losing it costs what is known of warm prompts, no more; who
//! learns it could make two prompts of one tenant look alike, and so route one to where the other lies.

use ring::rand::{SecureRandom, SystemRandom};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const NAME: &str = "secret";

/// Reads the secret of the instance whose data is in `folder`, or makes one. Whoever calls has claimed the folder.
pub fn instance(folder: &Path) -> io::Result<[u8; 32]> {
    let path = folder.join(NAME);
    match fs::read(&path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(secret) => return Ok(secret),
            // Torn by a full disk: another is as good.
            Err(_) => tracing::warn!(file = %path.display(), "not 32 bytes: made anew"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let why = format!("{}: {error}", path.display());
            return Err(io::Error::new(error.kind(), why));
        }
    }
    let mut secret = [0; 32];
    let drawn = SystemRandom::new().fill(&mut secret);
    drawn.map_err(|_| io::Error::other("the system gives no random bytes"))?;
    // Whole or not at all.
    let new = folder.join("secret.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_secret_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = instance(folder.path()).expect("made");
        assert_ne!(first, [0; 32]);
        assert_eq!(instance(folder.path()).expect("read"), first);
        let path = folder.path().join(NAME);
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, b"torn").expect("written");
        let second = instance(folder.path()).expect("made anew");
        assert_ne!(second, first);
        assert_eq!(instance(folder.path()).expect("read"), second);
    }
}
