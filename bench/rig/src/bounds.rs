//! What every command is held to: loopback, a time limit, as many files as may be had.

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::time::Duration;

/// `0ms`, `1.5s`, `2m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let end = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or("say a unit: ms, s or m")?;
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| "not a number".to_owned())?;
    let times = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err("units are us, ms, s and m".to_owned()),
    };
    Duration::try_from_secs_f64(number * times).map_err(|why| why.to_string())
}

/// An address on loopback. Anything else is refused: this is no tool to load other people's machines with.
pub fn loopback(text: &str) -> Result<SocketAddr, String> {
    let at: SocketAddr = text.parse().map_err(|_| "not an address:port")?;
    if at.ip().is_loopback() {
        Ok(at)
    } else {
        Err(format!("{at} is not on loopback"))
    }
}

/// Address and path of an `http://` URL on loopback; without a path an empty one.
pub fn url(text: &str) -> Result<(SocketAddr, String), String> {
    let rest = text
        .strip_prefix("http://")
        .ok_or("an http:// URL, please")?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let authority = authority.replace("localhost", "127.0.0.1");
    Ok((loopback(&authority)?, path.to_owned()))
}

/// Raises the limit of open files to at least `wanted`, if the hard limit allows; how many there are then.
pub fn files(wanted: u64) -> Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("limit of open files")?;
    if soft >= wanted {
        return Ok(soft);
    }
    // Root may raise the hard limit too.
    if hard < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        return Ok(wanted);
    }
    let most = wanted.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, most, hard).context("raise the limit of open files")?;
    Ok(most)
}

/// The same, and an error if there are fewer.
pub fn need_files(wanted: u64) -> Result<()> {
    let have = files(wanted)?;
    ensure!(
        have >= wanted,
        "{wanted} files must be open at once, {have} may be"
    );
    Ok(())
}

/// A runtime of one thread, with a time limit on what runs there. A signal ends it too, so that children are ended by their owners.
pub fn run<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(async {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            done = work => done,
            () = tokio::time::sleep(limit) => anyhow::bail!("stopped at the time limit of {limit:?}"),
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
            _ = terminate.recv() => anyhow::bail!("terminated"),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_taken() {
        assert!(loopback("127.0.0.1:80").is_ok());
        assert!(loopback("[::1]:80").is_ok());
        assert!(loopback("10.0.0.1:80").is_err());
        assert!(loopback("0.0.0.0:80").is_err());
        assert!(url("http://192.0.2.1:80/v1").is_err());
        let (at, path) = url("http://localhost:8080/v1/messages").unwrap();
        assert_eq!(at.to_string(), "127.0.0.1:8080");
        assert_eq!(path, "/v1/messages");
    }

    #[test]
    fn durations_say_their_unit() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("0ms"), Ok(Duration::ZERO));
        assert!(duration("5").is_err());
        assert!(duration("5h").is_err());
    }

    #[test]
    fn what_takes_too_long_is_stopped() {
        let never = std::future::pending::<Result<()>>();
        assert!(run(Duration::from_millis(5), never).is_err());
    }
}
