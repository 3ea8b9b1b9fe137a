//! A file as memory: the one place of this room where the compiler's word is not enough.
//!
//! What is copied there is the kernel's from that moment on: a process that dies loses none of it, and no call is made. The room on the disk
//! is taken before (`fallocate`), so that no write can find the disk full, which would be a SIGBUS. Nobody else shortens these files: they lie
//! in a folder that this process has claimed.

use memmap2::{MmapMut, MmapOptions};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Makes a file of `bytes` zeros whose room is taken, and maps it. `Err` where the disk has not so much.
pub fn make(path: &Path, bytes: usize) -> io::Result<(File, MmapMut)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        // What tenants were told is nobody else's on this machine.
        .mode(0o600)
        .open(path)?;
    let made = take_room(&file, bytes).and_then(|()| map(&file, bytes));
    match made {
        Ok(map) => Ok((file, map)),
        Err(error) => {
            // What is left of it is nobody's.
            let _ = std::fs::remove_file(path);
            Err(error)
        }
    }
}

fn take_room(file: &File, bytes: usize) -> io::Result<()> {
    let whole = i64::try_from(bytes).map_err(io::Error::other)?;
    match fallocate(file.as_raw_fd(), FallocateFlags::empty(), 0, whole) {
        // Some file systems cannot; there zeros take the room.
        Err(Errno::EOPNOTSUPP) => fill(file, bytes),
        taken => taken.map_err(io::Error::from),
    }
}

fn fill(mut file: &File, bytes: usize) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let some = left.min(zeros.len());
        file.write_all(&zeros[..some])?;
        left -= some;
    }
    Ok(())
}

#[expect(
    unsafe_code,
    reason = "a mapping is sound while nobody shortens the file: see above"
)]
fn map(file: &File, bytes: usize) -> io::Result<MmapMut> {
    // SAFETY: the file is new, ours alone by `create_new` in a claimed folder, `bytes` long, and never shortened; it is read through other
    // descriptors only up to where the writer has said that it is written.
    unsafe { MmapOptions::new().len(bytes).map_mut(file) }
}
