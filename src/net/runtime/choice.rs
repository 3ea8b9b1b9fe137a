//! Which runtime serves: what the operator asked for, what the kernel allows, and why.

use crate::config::RuntimeChoice;
use crate::net::ring_flags;
use std::io;

/// An implementation of the seam.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    IoUring,
    Epoll,
}

/// What serves, and why, as the start line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub kind: Kind,
    pub why: String,
}

/// Decides once, at the start. `Err` when io_uring was asked for by name and is not to be had: an operator who insists would
/// rather not start than measure something else.
pub fn choose(choice: RuntimeChoice) -> Result<Chosen, String> {
    decide(choice, io_uring_available)
}

fn decide(
    choice: RuntimeChoice,
    available: impl FnOnce() -> Result<(), String>,
) -> Result<Chosen, String> {
    let chosen = |kind, why: &str| Chosen {
        kind,
        why: why.to_owned(),
    };
    match choice {
        RuntimeChoice::Epoll => Ok(chosen(Kind::Epoll, "the configuration asks for it")),
        RuntimeChoice::IoUring => match available() {
            Ok(()) => Ok(chosen(Kind::IoUring, "the configuration asks for it")),
            Err(why) => Err(format!("server.runtime is io_uring, but {why}")),
        },
        RuntimeChoice::Auto => Ok(match available() {
            Ok(()) => chosen(Kind::IoUring, "the kernel allows it"),
            Err(why) => chosen(Kind::Epoll, &why),
        }),
    }
}

/// Whether this process can run on io_uring: asks the kernel for a ring, then makes an executor and throws it away. The error
/// says who forbids it and what would allow it. Costs a few milliseconds and a thread.
pub fn io_uring_available() -> Result<(), String> {
    ring_flags::try_ring().map_err(|error| {
        let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        refusal(&error, sysctl.as_deref().map(str::trim))
    })?;
    // glommio needs more of the kernel than a ring, and some of it it asks for with a panic.
    let tried = std::thread::Builder::new()
        .name("try-io-uring".to_owned())
        .spawn(|| super::glommio::executor("try-io-uring").map(drop));
    match tried.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) | Err(error) => Err(format!("an executor cannot be made: {error}")),
        Ok(Err(_)) => Err("an executor cannot be made: the kernel lacks what it needs".to_owned()),
    }
}

/// Why the kernel gave no ring, in the operator's words. `sysctl` is `kernel.io_uring_disabled`, when there is one (Linux 6.6).
fn refusal(error: &io::Error, sysctl: Option<&str>) -> String {
    match (error.raw_os_error(), sysctl) {
        (Some(libc::ENOSYS), _) => {
            "the kernel has no io_uring, or one whose waits cannot be bounded (it needs Linux 5.11)"
                .to_owned()
        }
        (Some(libc::EPERM), Some("2")) => {
            "kernel.io_uring_disabled is 2: the host forbids io_uring to everyone".to_owned()
        }
        (Some(libc::EPERM), Some("1")) => "kernel.io_uring_disabled is 1: only CAP_SYS_ADMIN and \
             the group of kernel.io_uring_group may use io_uring"
            .to_owned(),
        (Some(libc::EPERM | libc::EACCES), _) => {
            "io_uring is forbidden (EPERM), as by a container's seccomp profile".to_owned()
        }
        (Some(libc::ENOMEM), _) => {
            "the memlock limit is too low for a ring (LimitMEMLOCK, ulimit -l)".to_owned()
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => {
            "there are no descriptors left for a ring (LimitNOFILE, ulimit -n)".to_owned()
        }
        _ => format!("the kernel refuses a ring: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_falls_back_and_says_why() {
        let no = || Err("it is forbidden".to_owned());
        let auto = decide(RuntimeChoice::Auto, no).expect("epoll always serves");
        assert_eq!(
            (auto.kind, auto.why.as_str()),
            (Kind::Epoll, "it is forbidden")
        );
        let auto = decide(RuntimeChoice::Auto, || Ok(())).expect("allowed");
        assert_eq!(auto.kind, Kind::IoUring);
    }

    #[test]
    fn who_insists_on_io_uring_is_refused_rather_than_given_epoll() {
        let refused = decide(RuntimeChoice::IoUring, || Err("it is forbidden".to_owned()));
        assert_eq!(
            refused,
            Err("server.runtime is io_uring, but it is forbidden".to_owned())
        );
    }

    #[test]
    fn who_asks_for_epoll_is_not_made_to_try_io_uring() {
        let epoll = decide(RuntimeChoice::Epoll, || {
            unreachable!("it was not asked for")
        });
        assert_eq!(epoll.map(|chosen| chosen.kind), Ok(Kind::Epoll));
    }

    #[test]
    fn a_refusal_names_who_forbids_and_what_would_help() {
        let said = |number, sysctl| refusal(&io::Error::from_raw_os_error(number), sysctl);
        assert!(said(libc::EPERM, Some("2")).contains("io_uring_disabled is 2"));
        assert!(said(libc::EPERM, Some("1")).contains("io_uring_group"));
        assert!(said(libc::EPERM, Some("0")).contains("seccomp"));
        assert!(said(libc::EPERM, None).contains("seccomp"));
        assert!(said(libc::ENOMEM, None).contains("memlock"));
        assert!(said(libc::ENOSYS, None).contains("Linux 5.11"));
        assert!(said(libc::EINVAL, None).contains("refuses"));
    }
}
