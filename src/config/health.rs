//! How own servers are asked how they are: `health:` of a provider.

use crate::config::Health;
use crate::config::problem::Problems;
use crate::config::raw::RawHealth;
use crate::config::read::At;
use crate::config::resolve::or;
use crate::protocol::provider::ProviderKind;
use std::time::Duration;

/// Own servers are asked unless `every: 0s` says otherwise; nobody else is.
pub fn of(raw: Option<&RawHealth>, kind: ProviderKind, problems: &mut Problems) -> Option<Health> {
    let own = kind == ProviderKind::SelfHosted;
    if let (Some(raw), false) = (raw, own) {
        let what = format!("health: on a provider of kind {}", kind.as_str());
        problems.add(raw.place, what, "leave it out: only own servers are asked");
    }
    let (every, timeout) = (
        raw.and_then(|r| r.every.clone()),
        raw.and_then(|r| r.timeout.clone()),
    );
    let soon = |every: &&At<Duration>| !every.value.is_zero() && every.value < EVERY_MIN;
    if let Some(every) = every.as_ref().filter(soon) {
        let right = "0s for never, or 100ms and more";
        problems.add(every.place, "health.every is too short", right);
    }
    let path = raw.and_then(|r| r.path.as_ref());
    if let Some(path) = path.filter(|path| !is_path(&path.value)) {
        let right = "such as /health; the base URL's own path is put before it";
        problems.add(path.place, "health.path is no path", right);
    }
    let every = or(every, EVERY);
    (own && !every.is_zero()).then(|| Health {
        every,
        timeout: or(timeout, TIMEOUT),
        failures: raw
            .and_then(|r| r.failures.as_ref())
            .map_or(FAILURES, |n| n.value as u32),
        path: path.map(|path| path.value.clone()),
    })
}

fn is_path(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'#';
    text.starts_with('/') && text.bytes().all(plain)
}

/// Load signals are worth asking for every 1 to 5 s (`providers/selfhosted.md` 4).
const EVERY: Duration = Duration::from_secs(5);
/// A page that costs no generation answers in milliseconds; a busy Python process may need a second.
const TIMEOUT: Duration = Duration::from_secs(2);
/// One lost connection is no dead server; fifteen seconds of silence are.
const FAILURES: u32 = 3;
/// More often would be a load of its own.
const EVERY_MIN: Duration = Duration::from_millis(100);
