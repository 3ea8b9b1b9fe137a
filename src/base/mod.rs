//! The words: ids, units, time, text, secrets and bounded containers that every other room speaks in.
//!
//! Deliberately knows nothing of language models, bytes on a wire, clocks or sockets. In reading order.

mod id;
pub use id::{
    AttemptId, ClientId, ClientKeyId, EndpointId, ExchangeId, KeyId, ModelId, OriginId, PoolId,
    ProviderId, ShardId, TenantId,
};
mod unit;
pub use unit::{ByteCount, NanoUsd, TokenPrice, Tokens};
mod time;
pub use time::{Instant, Now, WallTime};
mod rng;
pub use rng::Rng;
mod bounded;
pub use bounded::{BoundedMap, BoundedQueue, FixedHasher, Full, Slab, Slot};
mod budget;
pub use budget::{Budget, Hold, OverBudget};
mod headers;
pub use headers::Headers;
mod text;
pub use text::{Json, NotJson, Str, slice_of};
mod secret;
pub use secret::Secret;
mod must;
pub use must::{Broken, must};
