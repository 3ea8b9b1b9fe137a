//! A file as memory: the one place of this room where the compiler's word is not enough.
//!
//! What is copied there is the kernel's from that moment on: a process that dies loses none of it, and no call is made. The room on the disk
//! is taken before (`fallocate`), so that no write can find the disk full, which would be a SIGBUS. Nobody else shortens these files: they lie
//! in a folder that this process has claimed.

use memmap2::{MmapMut, MmapOptions};
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Makes a file of `bytes` zeros whose room is taken, and maps it. `Err` where the disk has not so much.
pub fn make(path: &Path, bytes: usize) -> io::Result<(File, MmapMut)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
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
    fallocate(file.as_raw_fd(), FallocateFlags::empty(), 0, whole).map_err(io::Error::from)
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
