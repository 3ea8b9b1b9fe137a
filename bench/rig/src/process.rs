//! A program under measurement: started on one core, its CPU time and memory read from /proc, ended by its pid.
//!
//! CPU time is that of all threads and of child processes that are alive (nginx's worker): nanoseconds from `schedstat` where the
//! kernel has it, else clock ticks from `stat`, which are 10 ms each.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Process {
    pub name: String,
    child: Child,
}

/// Time to listen after the start, and to end after being told.
const PATIENCE: Duration = Duration::from_secs(10);

impl Process {
    /// Starts `program` on core `core`; what it prints goes to `log`.
    pub fn start(
        name: &str,
        core: usize,
        program: &Path,
        arguments: &[&str],
        log: &Path,
    ) -> Result<Self> {
        let log = fs::File::create(log)?;
        // `taskset` becomes the program, so the pid is the program's.
        let child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start taskset (util-linux)")?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// Waits until it listens at `at`. Errors: it ended, with what it said; it does not.
    pub fn wait_listening(&mut self, at: SocketAddr, log: &Path) -> Result<()> {
        let begun = Instant::now();
        while TcpStream::connect_timeout(&at, Duration::from_millis(200)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                let said = fs::read_to_string(log).unwrap_or_default();
                bail!("{} ended with {status}: {}", self.name, said.trim());
            }
            if begun.elapsed() > PATIENCE {
                bail!("{} does not listen at {at}", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// CPU time since it began.
    pub fn cpu(&self) -> Result<Duration> {
        let family = family(self.child.id());
        let times = family.iter().map(|pid| cpu_of(*pid));
        times
            .sum::<Result<Duration>>()
            .with_context(|| format!("CPU time of {}", self.name))
    }

    /// Bytes of memory that it holds now.
    pub fn resident(&self) -> Result<u64> {
        let pages = family(self.child.id()).into_iter().map(resident_of);
        pages
            .sum::<Result<u64>>()
            .with_context(|| format!("memory of {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = self.child.id() as i32;
        // One that is gone already cannot be told, and is reaped below.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process and its children.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|c| c.parse().ok());
    std::iter::once(pid).chain(children).collect()
}

fn cpu_of(pid: u32) -> Result<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
    let mut nanos = 0;
    for task in tasks {
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            return ticks_of(pid);
        };
        nanos += text
            .split(' ')
            .next()
            .and_then(|n| n.parse::<u64>().ok())
            .context("a number in schedstat")?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// User and system time, fields 14 and 15 (proc(5)); the name in field 2 may hold spaces.
fn ticks_of(pid: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(')').context("a name in stat")?;
    let field = |at: usize| rest.split_whitespace().nth(at - 3)?.parse::<u64>().ok();
    let ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
    Ok(Duration::from_millis(ticks.context("times in stat")? * 10))
}

fn resident_of(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("VmRSS")? << 10)
}

/// Keeps this process on one core.
pub fn pin(core: usize) -> Result<()> {
    let mut cores = nix::sched::CpuSet::new();
    cores.set(core)?;
    nix::sched::sched_setaffinity(Pid::from_raw(0), &cores).context("pin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let shell = Path::new("/bin/sh");
        let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 60";
        let process = Process::start("sh", 0, shell, &["-c", busy], &log).unwrap();
        let begun = Instant::now();
        while process.cpu().unwrap().is_zero() || process.resident().unwrap() == 0 {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = process.child.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn what_ends_early_is_told_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let arguments = ["-c", "echo no coal; exit 3"];
        let mut process = Process::start("sh", 0, Path::new("/bin/sh"), &arguments, &log).unwrap();
        // Nobody listens at the port of discard.
        let error = process.wait_listening("127.0.0.1:9".parse().unwrap(), &log);
        assert!(error.unwrap_err().to_string().contains("no coal"));
    }

    #[test]
    fn ticks_are_read_past_a_name() {
        assert!(ticks_of(std::process::id()).is_ok());
    }
}
