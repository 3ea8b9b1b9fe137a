//! One router to a data directory: two would count the same limits apart and write one ledger in turns.
//!
//! An advisory lock (`flock(2)`) on a file of its own, since SQLite's locks come and go with each commit. The kernel lets go of it when
//! the process ends in whatever way, so nothing stale is ever left; the number in the file is for people, and is not believed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// The data directory is ours for as long as this lives.
#[derive(Debug)]
pub struct Claim {
    _locked: File,
}

impl Claim {
    /// Makes the folder where it is missing, and claims it. An error says who has it, or why it cannot be claimed.
    pub fn take(data_dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(data_dir)?;
        let path = data_dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            // What the owner wrote is read before it is known whether the file is ours.
            .truncate(false)
            .open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(data_dir, &mut file)),
            Err(TryLockError::Error(error)) => {
                let why = format!("{} cannot be locked: {error}", path.display());
                return Err(io::Error::new(error.kind(), why));
            }
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _locked: file })
    }
}

fn taken(data_dir: &Path, file: &mut File) -> io::Error {
    let mut said = String::new();
    // A number that cannot be read is left out of the message, no more.
    let _ = file.rewind();
    let _ = file.take(20).read_to_string(&mut said);
    let who = said
        .trim()
        .parse::<u32>()
        .map_or(String::new(), |pid| format!(" (process {pid})"));
    let folder = data_dir.display();
    io::Error::new(
        io::ErrorKind::AddrInUse,
        format!(
            "another router{who} runs on the data directory {folder}: stop it first, or give this one a `data_dir` of its own"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_owner_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("not/there/yet");
        let first = Claim::take(&data).expect("nobody has it");
        let told = Claim::take(&data).expect_err("it is taken").to_string();
        assert!(
            told.contains(&format!("(process {})", std::process::id()))
                && told.contains("another router")
                && told.contains("not/there/yet"),
            "{told}"
        );
        drop(first);
        std::fs::write(data.join("lock"), "left by one that died").expect("written");
        let second = Claim::take(&data).expect("it was let go");
        let told = std::fs::read_to_string(data.join("lock")).expect("readable");
        assert_eq!(told, format!("{}\n", std::process::id()));
        drop(second);
    }
}
