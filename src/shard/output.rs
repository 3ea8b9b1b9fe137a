//! Everything a shard can ask for.

use crate::base::{
    AttemptId, ClientId, ClientKeyId, EndpointId, KeyId, ModelId, NanoUsd, OriginId, PoolId,
    ShardId, Str, TenantId, Tokens, WallTime,
};
use crate::canon::{DialectName, FaultClass, Usage};
use crate::config::{Config, KeySource, LogLevel};
use crate::policy::bill::{Unit, atto_a_token, unit_prices};
use crate::protocol::provider::HeaderList;
use crate::shard::input::Slices;
use crate::shard::stored::{Note, Question};
use crate::shard::{Gossip, LeaseAsk};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// What a shard wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Read the client's body, up to this many bytes, and bring it as `Input::Body`.
    ReadBody {
        client: ClientId,
        bytes_max: u64,
    },
    /// The answer's head and the first of its body. With `end` that is all of it.
    Respond {
        client: ClientId,
        head: ResponseHead,
        body: Bytes,
        end: bool,
    },
    /// More of the body, or of a WebSocket.
    Write {
        client: ClientId,
        bytes: Bytes,
    },
    /// The body is whole (on a WebSocket: close the connection once all is written).
    End {
        client: ClientId,
    },
    /// Break the connection (HTTP/2: reset the stream): the client must not take what it has for whole.
    Abort {
        client: ClientId,
    },
    /// Accept a WebSocket, with this `Sec-WebSocket-Accept`.
    Upgrade {
        client: ClientId,
        accept: String,
    },

    /// Call a provider.
    Call(Box<Call>),
    /// Drop the call: close the HTTP/1.1 connection, or reset the HTTP/2 stream. No more inputs about it.
    Cancel {
        attempt: AttemptId,
    },
    /// Stop reading this call's answer until `Resume`.
    Pause {
        attempt: AttemptId,
    },
    Resume {
        attempt: AttemptId,
    },

    /// To all other shards; may be lost.
    Tell(Gossip),
    /// To one other shard; may be lost.
    TellOne {
        shard: ShardId,
        gossip: Gossip,
    },
    /// To the I/O core.
    Post(Mail),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ResponseHead {
    pub status: u16,
    /// Names in lower case. Neither `content-length` nor `transfer-encoding`, `connection` or `date`: HTTP's own are added by who writes.
    pub headers: Vec<(&'static str, Str)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub attempt: AttemptId,
    pub origin: OriginId,
    pub method: &'static str,
    /// Path and query, whole.
    pub path: String,
    /// Names in lower case; without `host`, `content-length`, `connection`. Values may be credentials: never logged.
    pub headers: HeaderList,
    pub body: Slices,
}

/// What goes to the I/O core, by lane.
#[derive(Clone, Debug, PartialEq)]
pub enum Mail {
    /// Durable: never dropped. The shard keeps within the room it was told of, and refuses new exchanges beyond.
    Ledger(Box<LedgerRow>),
    /// Durable, and done when the mail is taken: what is posted after it may speak of it.
    Spool(Note),
    /// Asks the store; the reply comes as `Input::Told`. Waits where it must, as many as there are who ask.
    Ask(Box<Question>),
    /// A provider refused the credential of this generation: it shall be fetched anew now. Lossy: whoever waits is bounded by time.
    Refresh {
        source: Box<KeySource>,
        generation: u64,
    },
    /// To who grants to instances. Lossy: the next says all of it again.
    Lease(Box<LeaseAsk>),
    /// Lossy: dropped and counted when the ring is full.
    Log(Box<LogLine>),
}

/// One attempt, as it is written down: exactly one row for each attempt that was begun.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerRow {
    pub under: Under,
    /// Id of the exchange as the client knows it (`x-stokehold-id`).
    pub exchange: Str,
    /// From 1.
    pub attempt: u8,
    /// True in an exchange's last row.
    pub last: bool,
    pub started: WallTime,
    pub tenant: TenantId,
    pub client_key: ClientKeyId,
    pub model: ModelId,
    pub endpoint: EndpointId,
    pub pool: PoolId,
    pub key: Option<KeyId>,
    pub dialect: DialectName,
    pub streamed: bool,
    pub outcome: Outcome,
    pub status: Option<u16>,
    /// The provider's own id of the answer or request.
    pub upstream_id: Str,
    pub usage: Usage,
    pub cost: NanoUsd,
    /// Waiting for anything of ours: a tenant's rates, headroom, a credential, a leader.
    pub queued: Duration,
    /// From the call to the answer's first byte.
    pub first_byte: Option<Duration>,
    pub total: Duration,
    /// Why this endpoint, in a few words.
    pub decision: &'static str,
    /// What the client calls the conversation (`x-stokehold-session`).
    pub session: Option<Str>,
    /// When its price list was that of the day.
    pub priced: WallTime,
    /// The part of `queued` that it waited for another request to write the prompt that both begin with.
    pub gated: Duration,
    /// From the call to the first piece of the answer's content; `None` where the answer came whole, or none came.
    pub first_token: Option<Duration>,
    /// Tokens of the prompt that were expected to be read from a cache; `None` where nothing was known of one.
    pub cached_expected: Option<Tokens>,
}

impl LedgerRow {
    /// The unit prices that its cost is made of, for as much of its configuration as there is.
    pub fn unit_prices(&self, each: &mut impl FnMut(Unit, u64)) {
        let endpoints = &self.under.0.endpoints;
        let Some(endpoint) = endpoints.get(usize::from(self.endpoint.0)) else {
            return;
        };
        let price = endpoint.price.on(self.priced);
        if self.decision == CACHE_STORAGE {
            let hour = price.cache_storage_hour.unwrap_or_default();
            return each(Unit::CacheStorageHour, atto_a_token(hour));
        }
        unit_prices(&self.usage, price, each);
    }
}

/// What the row of a prefix says that was kept by the hour.
pub const CACHE_STORAGE: &str = "cache storage";

/// The configuration whose tables a row's ids are places in.
#[derive(Clone)]
pub struct Under(pub Arc<Config>);

impl PartialEq for Under {
    fn eq(&self, other: &Self) -> bool {
        self.0.generation == other.0.generation
    }
}

impl std::fmt::Debug for Under {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    Done,
    /// The provider refused or failed; the class says how.
    Failed(FaultClass),
    /// Given up by us because its client was gone and wanted that, or because another call of its exchange answered first.
    Cancelled,
}

/// One line of the log. Never prompt text, never a key.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    pub at: WallTime,
    pub level: LogLevel,
    /// What happened, as a constant: what varies goes into `fields`.
    pub message: &'static str,
    pub fields: Vec<(&'static str, String)>,
}
