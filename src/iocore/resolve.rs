//! Names → addresses, by the system's resolver in the I/O core's blocking threads, with a small cache.
//!
//! Asked by mail from any executor. While a name cannot be looked up, its last addresses go on being given.

use crate::base::{Instant, Now};
use crate::iocore::lane::{Lane, Receiver, Sender};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::sync::oneshot;

type Answer = io::Result<Vec<SocketAddr>>;

/// One question, and where its answer goes.
#[derive(Debug)]
pub struct Question {
    host: String,
    port: u16,
    answer: oneshot::Sender<Answer>,
}

/// Asks the I/O core; cheap to clone.
#[derive(Clone, Debug)]
pub struct Resolver(Sender<Question>);

impl Resolver {
    /// A resolver and the questions it will ask.
    #[must_use]
    pub fn new() -> (Self, Receiver<Question>) {
        // 1,024 names asked for at once are more than any configuration has origins.
        let (sender, receiver) = Lane::new(1_024);
        (Self(sender), receiver)
    }

    /// The addresses of `host`, in the system's order. An address is its own answer, without a hop. An error when there is none,
    /// when too many lookups wait, or when the I/O core is gone.
    pub async fn lookup(&self, host: &str, port: u16) -> Answer {
        let bare = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let (answer, wanted) = oneshot::channel();
        let question = Question {
            host: host.to_owned(),
            port,
            answer,
        };
        self.0
            .try_send(question)
            .map_err(|_| io::Error::new(io::ErrorKind::WouldBlock, "too many lookups wait"))?;
        wanted
            .await
            .map_err(|_| io::Error::other("the I/O core is gone"))?
    }
}

/// What was learned, and when.
#[derive(Debug, Default)]
struct Cache(BTreeMap<(String, u16), (Instant, Vec<SocketAddr>)>);

/// getaddrinfo tells no lifetime; 30 s is what providers' load balancers commonly give.
const FRESH: Duration = Duration::from_secs(30);
const NAMES_MAX: usize = 1_024;
/// Of a lookup; a resolver that hangs must not take a place for ever.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cache {
    fn fresh(&self, now: Instant, key: &(String, u16)) -> Option<Vec<SocketAddr>> {
        let (at, addresses) = self.0.get(key)?;
        (now.since(*at) < FRESH).then(|| addresses.clone())
    }

    /// What to answer after a lookup: the news, or what was known before if there is an error.
    fn learned(&mut self, now: Instant, key: (String, u16), answer: Answer) -> Answer {
        match answer {
            Ok(addresses) => {
                if self.0.len() >= NAMES_MAX && !self.0.contains_key(&key) {
                    self.0.pop_first();
                }
                self.0.insert(key, (now, addresses.clone()));
                Ok(addresses)
            }
            Err(error) => self.0.get(&key).map(|(_, old)| old.clone()).ok_or(error),
        }
    }
}

/// Answers questions for as long as it is polled; at most eight lookups at once, the rest wait in the lane.
pub async fn serve(mut questions: Receiver<Question>, clock: impl Fn() -> Now) {
    let mut cache = Cache::default();
    let mut running = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            question = questions.receive(), if running.len() < 8 => {
                let key = (question.host, question.port);
                if let Some(addresses) = cache.fresh(clock().instant, &key) {
                    // Nobody may be waiting any more, which is no fault.
                    let _ = question.answer.send(Ok(addresses));
                } else {
                    running.spawn(async move { (ask(&key).await, key, question.answer) });
                }
            }
            Some(Ok((found, key, answer))) = running.join_next() => {
                let _ = answer.send(cache.learned(clock().instant, key, found));
            }
        }
    }
}

async fn ask(key: &(String, u16)) -> Answer {
    let lookup = tokio::net::lookup_host((key.0.as_str(), key.1));
    let found: Vec<SocketAddr> = tokio::time::timeout(PATIENCE, lookup)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the name was not resolved in time"))??
        .collect();
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_addresses_are_given_while_lookups_fail() {
        let (mut cache, key) = (Cache::default(), ("a".to_owned(), 1));
        let old = vec![SocketAddr::from(([127, 0, 0, 1], 1))];
        let bad = || Err(io::Error::other("down"));
        assert!(cache.learned(Instant(0), key.clone(), bad()).is_err());
        assert_eq!(
            cache.learned(Instant(0), key.clone(), Ok(old.clone())).ok(),
            Some(old.clone())
        );
        assert_eq!(cache.fresh(Instant(0) + FRESH, &key), None);
        assert_eq!(
            cache.learned(Instant(0) + FRESH, key, bad()).ok(),
            Some(old)
        );
    }
}
