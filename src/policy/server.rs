//! What an own server says of itself, and how long that is believed.
//!
//! Values only: who asks and how often is the I/O core's. Old news say nothing: a server that nobody has heard of for `stale_after` is
//! neither well nor down, and its load is what we count ourselves.

use crate::base::{Instant, Tokens};

/// Whether a server takes work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not heard of yet.
    #[default]
    Unknown,
    Well,
    /// It says itself that it takes nothing new: starting, or about to stop.
    Draining,
    /// It did not answer, or wrongly, several times in a row.
    Down,
}

/// What a server counts. `None` is what it does not say, which is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Requests in its batch.
    pub running: Option<u64>,
    /// Requests that wait for a place in it.
    pub waiting: Option<u64>,
    /// Input of those that wait and that no cache holds: the work before a new request's first token.
    pub waiting_uncached: Option<Tokens>,
    /// Requests that fit into the batch.
    pub running_max: Option<u64>,
    /// Share of the KV cache in use, 0 to 1.
    pub kv_use: Option<f64>,
    /// What the KV cache holds.
    pub kv_max: Option<Tokens>,
    /// Share of the prompts' tokens that its prefix cache had, 0 to 1, of late.
    pub hit_rate: Option<f64>,
}

impl Figures {
    /// Requests that a new one would share the server with.
    #[must_use]
    pub fn queue(&self) -> Option<u64> {
        match (self.running, self.waiting) {
            (None, None) => None,
            (running, waiting) => Some(running.unwrap_or(0).saturating_add(waiting.unwrap_or(0))),
        }
    }
}

/// What one poll came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    pub state: State,
    pub figures: Figures,
}

/// One server, as one shard knows it. The expected-cost sum will read `report`; the decision of today reads the two numbers below.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Server {
    report: Report,
    believed_until: Instant,
    /// Calls of this shard that were under way there when the report came, and so are in its figures.
    calls_then: u64,
}

impl Server {
    /// Takes a report that is to be believed until then; `calls` of ours are under way at the server now.
    pub fn hear(&mut self, report: Report, believed_until: Instant, calls: u64) {
        (self.report, self.believed_until, self.calls_then) = (report, believed_until, calls);
    }

    /// What is known at `now`.
    #[must_use]
    pub fn report(&self, now: Instant) -> Option<&Report> {
        (now < self.believed_until).then_some(&self.report)
    }

    /// Until when nothing is to be sent there, if others can be asked; by then there is other news, or this is too old.
    #[must_use]
    pub fn shut_until(&self, now: Instant) -> Option<Instant> {
        match self.report(now)?.state {
            State::Draining | State::Down => Some(self.believed_until),
            State::Unknown | State::Well => None,
        }
    }

    /// Requests that a new one would share it with, where `calls` of ours are under way: the server's own count, and what this shard has
    /// begun and ended since. Without that, all that comes between two polls would go to whoever was the least busy at the first.
    #[must_use]
    pub fn ahead(&self, now: Instant, calls: u64) -> u64 {
        let queue = self.report(now).and_then(|report| report.figures.queue());
        queue.map_or(calls, |queue| {
            queue.saturating_add(calls).saturating_sub(self.calls_then)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant(s * 1_000_000_000)
    }

    fn heard(state: State, running: Option<u64>, waiting: Option<u64>, calls: u64) -> Server {
        let mut server = Server::default();
        let figures = Figures {
            running,
            waiting,
            ..Figures::default()
        };
        server.hear(Report { state, figures }, at(15), calls);
        server
    }

    #[test]
    fn a_server_is_shut_while_it_is_down_or_drains_and_no_longer_than_that_is_news() {
        for (state, shut) in [
            (State::Unknown, None),
            (State::Well, None),
            (State::Draining, Some(at(15))),
            (State::Down, Some(at(15))),
        ] {
            let server = heard(state, None, None, 0);
            assert_eq!(server.shut_until(at(14)), shut, "{state:?}");
            assert_eq!(server.shut_until(at(15)), None, "{state:?}");
        }
        assert_eq!(Server::default().shut_until(at(0)), None);
    }

    #[test]
    fn its_own_count_stands_for_ours_while_it_is_fresh() {
        let server = heard(State::Well, Some(7), Some(3), 2);
        assert_eq!(server.ahead(at(14), 2), 10);
        assert_eq!(server.ahead(at(14), 5), 13, "three more since");
        assert_eq!(server.ahead(at(14), 0), 8, "two fewer since");
        assert_eq!(server.ahead(at(15), 5), 5, "too old");
        let idle = heard(State::Well, Some(1), None, 4);
        assert_eq!(idle.ahead(at(1), 0), 0, "ours had ended when it counted");
    }

    #[test]
    fn a_server_that_counts_nothing_is_not_an_idle_one() {
        assert_eq!(heard(State::Well, None, None, 1).ahead(at(1), 6), 6);
        assert_eq!(heard(State::Well, None, Some(4), 0).ahead(at(1), 0), 4);
        assert_eq!(Server::default().ahead(at(1), 3), 3);
    }
}
