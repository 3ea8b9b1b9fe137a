//! How a request is to be handled, beside what it asks: the same words as headers of every dialect and as fields of the native one.

use crate::base::{NanoUsd, Str};
use crate::canon::Fault;
use std::time::Duration;

/// What the client said; `None` and empty lists were not said, and the configuration's default holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Controls {
    /// Requests of one session should meet the same warm caches.
    pub session: Option<Str>,
    pub priority: Option<Priority>,
    /// From the request's arrival to the end of its answer.
    pub deadline: Option<Duration>,
    pub on_disconnect: Option<OnDisconnect>,
    pub providers: ProviderWishes,
    /// The request is refused rather than expected to cost more.
    pub max_cost: Option<NanoUsd>,
    pub cache: Option<CacheMode>,
    pub rebind: Option<Rebind>,
    /// Same key, same tenant: the running or finished answer instead of a second one.
    pub idempotency_key: Option<Str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    Interactive,
    Batch,
}

/// What becomes of an answer whose client has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisconnect {
    Finish,
    Cancel,
}

/// Who places cache marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// The router, beside the client's own.
    Auto,
    /// Nobody: the client's are taken out.
    Off,
    /// The client alone.
    Client,
}

/// Whether a conversation may go on where what its provider made for itself alone is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebind {
    /// Without it, where nobody who reads it can be asked.
    Allow,
    /// It is refused instead.
    Never,
}

/// Providers by the configuration's ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderWishes {
    /// None but these; empty: all.
    pub allow: Vec<Str>,
    pub deny: Vec<Str>,
    /// These first, in this order, whatever the others would cost.
    pub order: Vec<Str>,
}

/// The words of each choice, in headers and in the native dialect.
pub const PRIORITIES: &[(&str, Priority)] = &[
    ("interactive", Priority::Interactive),
    ("batch", Priority::Batch),
];
pub const ON_DISCONNECT: &[(&str, OnDisconnect)] = &[
    ("finish", OnDisconnect::Finish),
    ("cancel", OnDisconnect::Cancel),
];
pub const REBINDS: &[(&str, Rebind)] = &[("allow", Rebind::Allow), ("never", Rebind::Never)];
pub const CACHE_MODES: &[(&str, CacheMode)] = &[
    ("auto", CacheMode::Auto),
    ("off", CacheMode::Off),
    ("client", CacheMode::Client),
];

impl Controls {
    /// Reads the `x-stokehold-…` headers and `idempotency-key`; other headers are passed over. Names in any case. `Err` names the header:
    /// unknown, said twice, or with a value that is none of its own.
    pub fn from_headers<N, V>(headers: impl IntoIterator<Item = (N, V)>) -> Result<Self, Fault>
    where
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut controls = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in headers {
            let Some(name) = ours(name.as_ref()) else {
                continue;
            };
            if seen.contains(&name) {
                return Err(Fault::invalid(
                    name.as_str(),
                    format!("the header {name} stands twice"),
                ));
            }
            let value = std::str::from_utf8(value.as_ref()).unwrap_or("").trim();
            controls.header(&name, value)?;
            seen.push(name);
        }
        Ok(controls)
    }

    fn header(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        let wrong =
            |right: &str| Fault::invalid(name, format!("the header {name} must be {right}"));
        match name {
            "idempotency-key" => self.idempotency_key = Some(id(value).ok_or_else(|| wrong(ID))?),
            "x-stokehold-session" => self.session = Some(id(value).ok_or_else(|| wrong(ID))?),
            "x-stokehold-priority" => {
                self.priority =
                    Some(word(value, PRIORITIES).ok_or_else(|| wrong("interactive or batch"))?);
            }
            "x-stokehold-on-disconnect" => {
                self.on_disconnect =
                    Some(word(value, ON_DISCONNECT).ok_or_else(|| wrong("finish or cancel"))?);
            }
            "x-stokehold-cache" => {
                self.cache =
                    Some(word(value, CACHE_MODES).ok_or_else(|| wrong("auto, off or client"))?);
            }
            "x-stokehold-rebind" => {
                self.rebind = Some(word(value, REBINDS).ok_or_else(|| wrong("allow or never"))?);
            }
            "x-stokehold-deadline" => {
                self.deadline = Some(duration(value).ok_or_else(|| {
                    wrong("a whole number over 0 with its unit: 1500ms, 30s or 2m")
                })?);
            }
            "x-stokehold-max-cost-usd" => {
                self.max_cost =
                    Some(usd(value).ok_or_else(|| wrong("a number of dollars, as 0.25"))?);
            }
            "x-stokehold-providers" => {
                self.providers = ProviderWishes::parse(value).ok_or_else(|| {
                    wrong("lists of provider ids, as allow=a,b; deny=c; order=b,a")
                })?;
            }
            _ => {
                return Err(Fault::invalid(
                    name,
                    format!(
                        "unknown header {name}; known are x-stokehold-session, -priority, -deadline, -on-disconnect, -providers, \
                         -max-cost-usd, -cache, -rebind"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// What `self` says, and where it says nothing, what `other` says: the body's words stand over the headers'.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        let silent = self.providers == ProviderWishes::default();
        Self {
            session: self.session.or(other.session),
            priority: self.priority.or(other.priority),
            deadline: self.deadline.or(other.deadline),
            on_disconnect: self.on_disconnect.or(other.on_disconnect),
            providers: if silent {
                other.providers
            } else {
                self.providers
            },
            max_cost: self.max_cost.or(other.max_cost),
            cache: self.cache.or(other.cache),
            rebind: self.rebind.or(other.rebind),
            idempotency_key: self.idempotency_key.or(other.idempotency_key),
        }
    }
}

impl ProviderWishes {
    /// The place of `provider` in the client's order, lower first; `None` when the client does not want it.
    #[must_use]
    pub fn preference(&self, provider: &str) -> Option<u16> {
        let names = |list: &[Str]| list.iter().any(|name| **name == *provider);
        if names(&self.deny) || (!self.allow.is_empty() && !names(&self.allow)) {
            return None;
        }
        let place = self
            .order
            .iter()
            .position(|name| **name == *provider)
            .unwrap_or(self.order.len());
        Some(u16::try_from(place).unwrap_or(u16::MAX))
    }

    /// `allow=a,b; deny=c; order=b,a`, each list once at most.
    fn parse(value: &str) -> Option<Self> {
        let mut wishes = Self::default();
        for part in value.split(';') {
            let (name, ids) = part.split_once('=')?;
            let list = match name.trim() {
                "allow" => &mut wishes.allow,
                "deny" => &mut wishes.deny,
                "order" => &mut wishes.order,
                _ => return None,
            };
            if !list.is_empty() {
                return None;
            }
            for provider in ids.split(',') {
                list.push(id(provider.trim())?);
            }
        }
        Some(wishes)
    }
}

/// The header's name in lower case, if it is one of ours.
fn ours(name: &[u8]) -> Option<String> {
    const PREFIX: &[u8] = b"x-stokehold-";
    let prefixed = name
        .get(..PREFIX.len())
        .is_some_and(|p| p.eq_ignore_ascii_case(PREFIX));
    (prefixed || name.eq_ignore_ascii_case(b"idempotency-key"))
        .then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

fn word<T: Copy>(value: &str, words: &[(&str, T)]) -> Option<T> {
    words
        .iter()
        .find(|(word, _)| value.eq_ignore_ascii_case(word))
        .map(|(_, meaning)| *meaning)
}

const ID: &str = "1 to 256 visible characters";

/// An id that a client chose: bounded, since it is kept.
#[must_use]
pub fn id(value: &str) -> Option<Str> {
    let fits = (1..=256).contains(&value.len()) && value.chars().all(|c| !c.is_control());
    fits.then(|| Str::from(value))
}

fn duration(value: &str) -> Option<Duration> {
    let (number, milliseconds) = if let Some(n) = value.strip_suffix("ms") {
        (n, 1)
    } else if let Some(n) = value.strip_suffix('s') {
        (n, 1_000)
    } else {
        (value.strip_suffix('m')?, 60_000)
    };
    // `u64::from_str` would take a plus sign.
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let wait = number.parse::<u64>().ok()?.checked_mul(milliseconds)?;
    (wait > 0).then(|| Duration::from_millis(wait))
}

fn usd(value: &str) -> Option<NanoUsd> {
    NanoUsd::of_usd(value.parse().ok()?).filter(|cost| *cost >= NanoUsd::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_is_read() {
        let controls = Controls::from_headers([
            ("content-type", "x"),
            ("X-Stokehold-Session", " s1 "),
            ("x-stokehold-priority", "batch"),
            ("x-stokehold-deadline", "2m"),
            ("x-stokehold-on-disconnect", "cancel"),
            ("x-stokehold-providers", "allow=a, b; order=b"),
            ("x-stokehold-max-cost-usd", "0.25"),
            ("x-stokehold-cache", "off"),
            ("x-stokehold-rebind", "never"),
            ("Idempotency-Key", "k"),
        ]);
        let expected = Controls {
            session: Some("s1".into()),
            priority: Some(Priority::Batch),
            deadline: Some(Duration::from_secs(120)),
            on_disconnect: Some(OnDisconnect::Cancel),
            providers: ProviderWishes {
                allow: vec!["a".into(), "b".into()],
                deny: vec![],
                order: vec!["b".into()],
            },
            max_cost: Some(NanoUsd(250_000_000)),
            cache: Some(CacheMode::Off),
            rebind: Some(Rebind::Never),
            idempotency_key: Some("k".into()),
        };
        assert_eq!(controls, Ok(expected.clone()));
        assert_eq!(Controls::default().over(expected.clone()), expected);
        assert_eq!(expected.clone().over(Controls::default()), expected);
    }

    #[test]
    fn a_bad_value_names_its_header_and_what_would_be_right() {
        for (name, value, right) in [
            ("x-stokehold-session", "", "visible"),
            ("x-stokehold-priority", "high", "interactive or batch"),
            ("x-stokehold-deadline", "30", "1500ms"),
            ("x-stokehold-deadline", "+3s", "1500ms"),
            ("x-stokehold-deadline", "0s", "1500ms"),
            ("x-stokehold-deadline", "99999999999999999999s", "1500ms"),
            ("x-stokehold-on-disconnect", "stop", "finish or cancel"),
            ("x-stokehold-providers", "a,b", "allow=a,b"),
            ("x-stokehold-providers", "allow=", "allow=a,b"),
            ("x-stokehold-max-cost-usd", "-1", "dollars"),
            ("x-stokehold-max-cost-usd", "NaN", "dollars"),
            ("x-stokehold-cache", "on", "auto, off or client"),
            ("x-stokehold-rebind", "yes", "allow or never"),
            ("x-stokehold-sesion", "a", "known are"),
        ] {
            let fault = Controls::from_headers([(name, value)]).expect_err(name);
            assert_eq!(fault.field.as_deref(), Some(name), "{value}");
            assert!(
                fault.message.contains(name) && fault.message.contains(right),
                "{}",
                fault.message
            );
        }
        Controls::from_headers([("idempotency-key", "a"), ("Idempotency-Key", "b")])
            .expect_err("twice");
    }
}
