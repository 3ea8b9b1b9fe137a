//! What is decided about a request: where it goes, what is cached, and what happens while nothing comes. The one seam of a replay: the
//! baselines sit behind it, and so does any policy to compare with them.

use super::cache::{Ask, Hit, Mark};
use super::endpoint::{Endpoint, Served};
use crate::base::Instant;
use std::time::Duration;

/// Marks of one request: four at most, but for caches that match at marks exactly.
pub type Marks = smallvec::SmallVec<[Mark; 4]>;

/// A request to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its place in the trace.
    pub index: usize,
    /// The same for all requests of a conversation.
    pub session: u64,
    /// The same for all requests that begin alike; `None` when nothing is known of the head.
    pub head: Option<u64>,
    /// With marks where a cache would be of use (head and tail), all of the short lifetime.
    pub ask: Ask<'a>,
    /// Endpoints that refused this request since it last waited.
    pub refused: &'a [bool],
}

/// The endpoints as they truly are. A policy that is to be judged on what a router can see uses `in_flight` only, and what it is told.
#[derive(Clone, Copy, Debug)]
pub struct Pools<'a> {
    pub endpoints: &'a [Endpoint],
    /// Requests sent and not yet ended.
    pub in_flight: &'a [u32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Send(usize),
    /// Ask again after this time.
    Wait(Duration),
    /// All have refused: ask again when the first says one may.
    Refused,
}

/// What to do with a conversation that has been idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    Rest,
    /// Read its prompt once more, so that it lives on.
    Ping,
    /// Read it once more, and mark it with the long lifetime.
    Lengthen,
}

/// A policy as a replay sees it.
pub trait Policy {
    /// Where `asked` goes.
    fn choose(&mut self, now: Instant, asked: &Asked<'_>, pools: &Pools<'_>) -> Choice;

    /// What is cached of it there, where `hit` is what the endpoint holds. Called once, right before it is sent.
    fn marks(&mut self, asked: &Asked<'_>, hit: &Hit) -> Marks;

    /// The endpoint took it.
    fn served(&mut self, now: Instant, asked: &Asked<'_>, endpoint: usize, served: &Served);

    /// The endpoint did not take it: for a limit, with the time that its header told, or because it is down.
    fn refused(
        &mut self,
        _now: Instant,
        _asked: &Asked<'_>,
        _endpoint: usize,
        _retry_after: Option<Duration>,
    ) {
    }

    /// The conversation has been idle since `asked`, or since the `pings`th ping after it, nearly as long as the short lifetime. Its marks
    /// are those it was sent with.
    fn idle(&mut self, asked: &Asked<'_>, pings: u32) -> Idle;
}
