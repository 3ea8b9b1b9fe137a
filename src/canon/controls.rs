//! What a client says to the router, not to the model: by `x-stokehold-*` headers in every dialect, by fields in the native one.

use crate::base::{NanoUsd, Str};
use crate::canon::Fault;
use std::time::Duration;

/// What a request asks of the router. What is `None` was not said, and the tenant's or the router's default holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Controls {
    /// Requests of one conversation carry the same.
    pub session: Option<Str>,
    pub priority: Option<Priority>,
    /// From the request's arrival: after it nothing more is tried.
    pub deadline: Option<Duration>,
    pub on_disconnect: Option<OnDisconnect>,
    pub providers: ProviderWishes,
    /// No endpoint that is expected to cost more.
    pub max_cost: Option<NanoUsd>,
    pub cache: Option<CacheMode>,
    pub idempotency_key: Option<Str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    Interactive,
    Batch,
}

/// What becomes of an answer whose client is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisconnect {
    /// It is paid for: read it to its end and keep it.
    Finish,
    /// Stop the provider, and bill what was used.
    Cancel,
}

/// Whether the router may place cache marks for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    Auto,
    Off,
    /// Only the client's own marks.
    Client,
}

/// Which providers may serve, by their names in the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProviderWishes {
    /// Empty: all.
    pub allow: Vec<Str>,
    pub deny: Vec<Str>,
    /// The first that has room serves; those not named come last.
    pub order: Vec<Str>,
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
}

impl Controls {
    /// Reads the `x-stokehold-*` headers and `idempotency-key`; names must be in lower case. `Err` names the header and what would be right.
    pub fn from_headers<'a>(
        headers: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Fault> {
        let mut controls = Self::default();
        for (name, value) in headers {
            match name.strip_prefix("x-stokehold-") {
                Some(control) => controls.set(control, name, value.trim())?,
                None if name == "idempotency-key" => {
                    controls.idempotency_key = Some(named(name, value.trim())?)
                }
                None => {}
            }
        }
        Ok(controls)
    }

    fn set(&mut self, control: &str, header: &str, value: &str) -> Result<(), Fault> {
        match control {
            "session" => self.session = Some(named(header, value)?),
            "priority" => self.priority = Some(one_of(header, value, &PRIORITIES)?),
            "deadline" => self.deadline = Some(duration(header, value)?),
            "on-disconnect" => self.on_disconnect = Some(one_of(header, value, &ON_DISCONNECT)?),
            "providers" => self.providers = providers(header, value)?,
            "max-cost-usd" => self.max_cost = Some(usd(header, value)?),
            "cache" => self.cache = Some(one_of(header, value, &CACHE_MODES)?),
            _ => {
                let known =
                    "session, priority, deadline, on-disconnect, providers, max-cost-usd, cache";
                return Err(Fault::invalid(
                    header,
                    format!("this header is not known; known are x-stokehold-{{{known}}}"),
                ));
            }
        }
        Ok(())
    }

    /// These, and where they say nothing, `under`.
    #[must_use]
    pub fn over(self, under: Self) -> Self {
        let no_wishes = self.providers == ProviderWishes::default();
        Self {
            session: self.session.or(under.session),
            priority: self.priority.or(under.priority),
            deadline: self.deadline.or(under.deadline),
            on_disconnect: self.on_disconnect.or(under.on_disconnect),
            providers: if no_wishes {
                under.providers
            } else {
                self.providers
            },
            max_cost: self.max_cost.or(under.max_cost),
            cache: self.cache.or(under.cache),
            idempotency_key: self.idempotency_key.or(under.idempotency_key),
        }
    }
}

const PRIORITIES: [(&str, Priority); 2] = [
    ("interactive", Priority::Interactive),
    ("batch", Priority::Batch),
];
const ON_DISCONNECT: [(&str, OnDisconnect); 2] = [
    ("finish", OnDisconnect::Finish),
    ("cancel", OnDisconnect::Cancel),
];
const CACHE_MODES: [(&str, CacheMode); 3] = [
    ("auto", CacheMode::Auto),
    ("off", CacheMode::Off),
    ("client", CacheMode::Client),
];

fn one_of<T: Copy>(header: &str, value: &str, known: &[(&str, T)]) -> Result<T, Fault> {
    let found = known
        .iter()
        .find(|(word, _)| *word == value)
        .map(|(_, is)| *is);
    found.ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        Fault::invalid(
            header,
            format!("`{}` is none of {}", shown(value), words.join(", ")),
        )
    })
}

/// A name that is stored and compared: bounded, and printable.
fn named(header: &str, value: &str) -> Result<Str, Fault> {
    if value.is_empty() || value.len() > 256 || value.chars().any(char::is_control) {
        return Err(Fault::invalid(
            header,
            "must be 1 to 256 printable characters",
        ));
    }
    Ok(Str::from(value))
}

/// `30s`, `1500ms`, `5m`; a bare number is seconds.
fn duration(header: &str, value: &str) -> Result<Duration, Fault> {
    let digits = value.len()
        - value
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
            .len();
    let (number, unit) = value.split_at(digits);
    let times = match unit {
        "ms" => Some(0.001),
        "s" | "" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let seconds = number
        .parse::<f64>()
        .ok()
        .zip(times)
        .map(|(n, times)| n * times);
    // A day: longer than any answer, and short enough that sums of it do not overflow.
    let fits = seconds.filter(|s| s.is_finite() && *s > 0.0 && *s <= 86_400.0);
    fits.map(Duration::from_secs_f64).ok_or_else(|| {
        Fault::invalid(
            header,
            format!(
                "`{}` is no time; write it as 30s, 1500ms or 5m, at most 24h",
                shown(value)
            ),
        )
    })
}

fn usd(header: &str, value: &str) -> Result<NanoUsd, Fault> {
    let usd = value
        .parse::<f64>()
        .ok()
        .and_then(NanoUsd::of_usd)
        .filter(|usd| usd.0 >= 0);
    usd.ok_or_else(|| {
        Fault::invalid(
            header,
            format!(
                "`{}` is no amount of dollars; write it as 0.25",
                shown(value)
            ),
        )
    })
}

/// `allow=a,b; deny=c; order=b,a`; a bare list is `allow`.
fn providers(header: &str, value: &str) -> Result<ProviderWishes, Fault> {
    let mut wishes = ProviderWishes::default();
    for part in value
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (word, list) = part.split_once('=').unwrap_or(("allow", part));
        let into = match word.trim() {
            "allow" => &mut wishes.allow,
            "deny" => &mut wishes.deny,
            "order" => &mut wishes.order,
            other => {
                let message = format!(
                    "`{}` is none of allow, deny, order; write allow=a,b; deny=c; order=b,a",
                    shown(other)
                );
                return Err(Fault::invalid(header, message));
            }
        };
        into.extend(
            list.split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(Str::from),
        );
    }
    Ok(wishes)
}

fn shown(value: &str) -> String {
    value.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &'static str)]) -> Result<Controls, Fault> {
        Controls::from_headers(headers.iter().copied())
    }

    #[test]
    fn every_header_is_read() {
        let controls = read(&[
            ("x-stokehold-session", "s-1"),
            ("x-stokehold-priority", "batch"),
            ("x-stokehold-deadline", "1500ms"),
            ("x-stokehold-on-disconnect", "cancel"),
            ("x-stokehold-providers", "allow=a,b; deny=c; order=b,a"),
            ("x-stokehold-max-cost-usd", "0.25"),
            ("x-stokehold-cache", "off"),
            ("idempotency-key", "k"),
            ("accept", "*/*"),
        ])
        .expect("all are right");
        assert_eq!(controls.deadline, Some(Duration::from_millis(1500)));
        assert_eq!(controls.on_disconnect, Some(OnDisconnect::Cancel));
        assert_eq!(controls.max_cost, Some(NanoUsd(250_000_000)));
        assert_eq!(controls.providers.preference("a"), Some(1));
        assert_eq!(controls.providers.preference("b"), Some(0));
        assert_eq!(controls.providers.preference("c"), None);
        assert_eq!(controls.providers.preference("d"), None, "not allowed");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (header, value) in [
            ("x-stokehold-priority", "high"),
            ("x-stokehold-deadline", "soon"),
            ("x-stokehold-deadline", "-1s"),
            ("x-stokehold-deadline", "1e400"),
            ("x-stokehold-max-cost-usd", "NaN"),
            ("x-stokehold-max-cost-usd", "-1"),
            ("x-stokehold-session", ""),
            ("x-stokehold-providers", "like=a"),
            ("x-stokehold-colour", "red"),
        ] {
            let fault = read(&[(header, value)]).expect_err(value);
            assert_eq!(fault.field.as_deref(), Some(header));
        }
    }
}
