//! Who could serve a request.

use crate::base::{EndpointId, Instant, KeyId, NanoUsd, PoolId};
use crate::policy::capacity::Room;

/// One way to serve a request: an endpoint, through a pool, with a key; all that `choose` reads is looked up already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub endpoint: EndpointId,
    pub pool: PoolId,
    /// `None` for own machines that want no key.
    pub key: Option<KeyId>,
    /// What serving it there is expected to cost.
    pub cost: NanoUsd,
    /// Requests under way there: those that an own server counts itself, where its count is fresh, else our calls in this pool.
    pub in_flight: u64,
    pub room: Room,
    /// When its breaker, or what an own server says of itself, lets it be called again; `None` is now.
    pub shut_until: Option<Instant>,
    /// Place in the client's `x-stokehold-providers: order=…`; all the same where the client gave none.
    pub preference: u16,
    /// This exchange failed here before.
    pub tried: bool,
}
