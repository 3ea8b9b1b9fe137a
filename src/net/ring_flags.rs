//! Sets one flag on the rings that glommio makes, and a time on its waits. The one file with `unsafe`.
//!
//! glommio 0.9.0 makes its rings without `IORING_SETUP_COOP_TASKRUN`, so that the kernel interrupts the thread for every completion:
//! 71 to 81 thousand reschedule interrupts where 1.0 to 1.5 thousand do. The flag cannot be passed through glommio, but
//! the linker can be told (`build.rs`, `--wrap`) that whoever calls liburing's `io_uring_queue_init_params` means the function
//! here. Goes when a published glommio sets the flag itself: `the_rings_of_an_executor_are_cooperative` then passes without it.
//! In the same way whoever waits without a time by `io_uring_wait_cqes` waits for as long as `park` allows, which says why.
//!
//! Deliberately does nothing else. A package that links this library needs the same linker arguments, else the linker says that
//! `__real_io_uring_queue_init_params` is missing.
#![allow(unsafe_code)]

use super::park;
use std::cell::Cell;
use std::ffi::{c_int, c_long, c_uint, c_void};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many rings of this process were made with the flag, since it began.
#[must_use]
pub fn cooperative_rings() -> usize {
    COOPERATIVE.load(Ordering::Relaxed)
}

/// How many rings of this process the kernel made only without the flag (before Linux 5.19).
#[must_use]
pub fn refused_rings() -> usize {
    REFUSED.load(Ordering::Relaxed)
}

/// As `cooperative_rings`, of the calling thread only.
#[must_use]
pub fn cooperative_rings_here() -> usize {
    HERE.get()
}

/// Asks the kernel for a ring of four entries and gives it back. The error is the kernel's, or that its rings cannot be waited on
/// for a time (`IORING_FEAT_EXT_ARG`, Linux 5.11): older ones need a request for it, which glommio would take for its own.
pub fn try_ring() -> io::Result<()> {
    let mut params = Params([0; 30]);
    // SAFETY: the kernel reads and writes the 120 bytes of `struct io_uring_params` that `params` is, and keeps no pointer.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4 as c_long, &raw mut params) };
    let fd = c_int::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made above and nobody else knows of it.
    unsafe { libc::close(fd) };
    if params.0[FEATURES] & EXT_ARG == 0 {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    }
    Ok(())
}

/// Refers to the wrapper, so that no linker leaves it out of a program that makes executors.
pub(crate) fn keep_linked() {
    std::hint::black_box(__wrap_io_uring_queue_init_params as *const c_void);
    std::hint::black_box(__wrap_io_uring_wait_cqes as *const c_void);
}

/// `struct __kernel_timespec` of the kernel.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// `struct io_uring_params` of the kernel: 120 bytes, the third word is `flags`, the sixth `features` (`man io_uring_setup`).
#[repr(C)]
#[derive(Clone, Copy)]
struct Params([u32; 30]);

const FLAGS: usize = 2;
const COOP_TASKRUN: u32 = 1 << 8;
const FEATURES: usize = 5;
const EXT_ARG: u32 = 1 << 8;

static COOPERATIVE: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static HERE: Cell<usize> = const { Cell::new(0) };
}

unsafe extern "C" {
    /// liburing's own function, under the name that `--wrap` gives it.
    fn __real_io_uring_queue_init_params(
        entries: c_uint,
        ring: *mut c_void,
        params: *mut Params,
    ) -> c_int;

    /// As above.
    fn __real_io_uring_wait_cqes(
        ring: *mut c_void,
        completion: *mut *mut c_void,
        count: c_uint,
        time: *mut Timespec,
        signals: *mut c_void,
    ) -> c_int;
}

/// What liburing's callers get in place of `io_uring_queue_init_params`: 0, or the negative error number.
///
/// # Safety
/// As liburing's own: both pointers are valid for the call and nobody else uses what they point to.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_io_uring_queue_init_params(
    entries: c_uint,
    ring: *mut c_void,
    params: *mut Params,
) -> c_int {
    // SAFETY: the caller's promise, passed on; liburing reads `params` before it returns and keeps neither pointer.
    unsafe {
        let asked = *params;
        // Rings with flags of their own (polled I/O) stay as they are, and so do probes, which have two entries.
        if asked.0[FLAGS] != 0 || entries <= 2 {
            return __real_io_uring_queue_init_params(entries, ring, params);
        }
        (*params).0[FLAGS] = COOP_TASKRUN;
        let made = __real_io_uring_queue_init_params(entries, ring, params);
        if made != -libc::EINVAL {
            if made == 0 {
                COOPERATIVE.fetch_add(1, Ordering::Relaxed);
                // A thread that is ending has no counter any more, and makes no rings.
                let _ = HERE.try_with(|here| here.set(here.get() + 1));
            }
            return made;
        }
        *params = asked;
        REFUSED.fetch_add(1, Ordering::Relaxed);
        __real_io_uring_queue_init_params(entries, ring, params)
    }
}

/// What liburing's callers get in place of `io_uring_wait_cqes`: as its own, but who gives no time is told `EINTR` when `park`'s has
/// passed. In this program that is glommio as it goes to sleep, in an executor that runs, which `park` relies on.
///
/// # Safety
/// As liburing's own: all pointers but the last two are valid for the call, and nobody else uses what they point to.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_io_uring_wait_cqes(
    ring: *mut c_void,
    completion: *mut *mut c_void,
    count: c_uint,
    time: *mut Timespec,
    signals: *mut c_void,
) -> c_int {
    if !time.is_null() {
        // SAFETY: the caller's promise, passed on.
        return unsafe { __real_io_uring_wait_cqes(ring, completion, count, time, signals) };
    }
    let bound = park::begin();
    let mut time = Timespec {
        seconds: bound.as_secs().cast_signed(),
        nanoseconds: i64::from(bound.subsec_nanos()),
    };
    // SAFETY: the caller's promise, passed on; liburing keeps no pointer to `time` on a kernel with EXT_ARG, which `try_ring` asked for.
    let waited =
        unsafe { __real_io_uring_wait_cqes(ring, completion, count, &raw mut time, signals) };
    let timed_out = waited == -libc::ETIME;
    park::end(timed_out);
    // glommio panics at an error that it does not know, and takes this one for a wake.
    if timed_out { -libc::EINTR } else { waited }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rings_of_an_executor_are_cooperative() {
        if crate::net::runtime::io_uring_available().is_err() {
            return;
        }
        let (before, before_here) = (cooperative_rings(), cooperative_rings_here());
        let executor = crate::net::runtime::glommio::executor("flags").expect("an executor");
        // The main ring and the one for latency; the third polls and is left alone.
        assert_eq!(cooperative_rings_here() - before_here + refused_rings(), 2);
        assert!(cooperative_rings() + refused_rings() >= before + 2);
        assert_eq!(executor.run(async { 1 + 1 }), 2);
    }
}
