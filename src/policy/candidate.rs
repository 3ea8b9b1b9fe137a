//! Who could serve a request.

use crate::base::{EndpointId, Instant, KeyId, NanoUsd, PoolId, Tokens};
use crate::policy::capacity::{Ask, Room};
use crate::policy::cost::Terms;
use std::time::Duration;

/// One way to serve a request: an endpoint, through a pool, with a key; all that `choose` reads is looked up already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub endpoint: EndpointId,
    pub pool: PoolId,
    /// `None` for own machines that want no key.
    pub key: Option<KeyId>,
    /// What serving it there is expected to cost.
    pub terms: Terms,
    /// What it is expected to draw on the limits there.
    pub ask: Ask,
    /// Of the prompt, what is expected to be read from the cache there.
    pub cached: Tokens,
    /// What that saves against a place that knows nothing of it.
    pub saves: NanoUsd,
    /// Requests under way there: those that an own server counts itself, where its count is fresh, else our calls in this pool.
    pub in_flight: u64,
    pub room: Room,
    /// The prompt of another request under way there is waited for, by the name of what it writes; `room` is when that can be read.
    pub gate: Option<u64>,
    /// How long it is likely to take until an exchange settles there, for `Room::WhenFreed`.
    pub frees_in: Duration,
    /// When its breaker, or what an own server says of itself, lets it be called again; `None` is now.
    pub shut_until: Option<Instant>,
    /// Place in the client's `x-stokehold-providers: order=…`; all the same where the client gave none.
    pub preference: u16,
    /// This exchange failed here before.
    pub tried: bool,
    /// How much this place is the conversation's own, by rendezvous: the highest is.
    pub affinity: u64,
    /// Its place in turn, for `round_robin`: the lowest is next.
    pub turn: u64,
}

impl Candidate {
    /// How long until it has room, as far as is known; `None` where waiting does not help.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match self.room {
            Room::Now => Some(Duration::ZERO),
            Room::In(wait) => Some(wait),
            Room::WhenFreed => Some(self.frees_in),
            Room::Never => None,
        }
    }
}
