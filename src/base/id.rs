//! Names of things as small integers: an index into a table of the configuration or of one shard.
//!
//! What the operator wrote (`org-a`, `claude-sonnet-4.5`) is looked up once, when the configuration is
//! read; nothing on the hot path compares strings.

use crate::base::bounded::Slot;

/// A provider of the configuration, by its position there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderId(pub u16);

/// One place a model can be called, by its position in `Config::endpoints`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u16);

/// A capacity pool, by its position in `Config::pools`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub u16);

/// A credential we hold with a provider, by its position in `Config::keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u16);

/// A model that clients may name, by its position in `Config::models`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub u16);

/// Scheme, host and port that connections are pooled by, by its position in `Config::origins`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginId(pub u16);

/// A tenant, by its position in `Config::tenants`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(pub u16);

/// A credential that a client shows us, by its position in `Config::client_keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKeyId(pub u32);

/// One executor pinned to a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// One HTTP request of a client, or one WebSocket; given out by whoever drives the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub Slot);

/// The life of one request from first byte to settled; given out by the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub Slot);

/// One try at one endpoint within an exchange; given out by the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId(pub Slot);
