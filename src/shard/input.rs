//! Everything that can happen to a shard.

use crate::base::{AttemptId, ClientId, ExchangeId, Str};
use crate::config::{Config, KeySource};
use crate::protocol::provider::Credential;
use crate::shard::stored::{Asker, Told};
use crate::shard::{Gossip, LeaseReply, ServerNews};
use bytes::Bytes;
use smallvec::SmallVec;
use std::net::IpAddr;
use std::sync::Arc;

pub use crate::base::Headers;

/// The head of a client's request.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientHead {
    /// `GET`, `POST`, …
    pub method: Bytes,
    /// Percent-encoded, as received, without the query.
    pub path: Bytes,
    /// After the `?`; empty when there was none.
    pub query: Bytes,
    pub headers: Headers,
    /// What the body's length is said to be; `None` for chunked.
    pub content_length: Option<u64>,
    /// The client asks for a WebSocket (`Upgrade: websocket` on HTTP/1.1).
    pub websocket: bool,
    pub peer: IpAddr,
}

/// What happens to a shard. Ids that are gone are ignored: a timer, a byte or a goodbye may be under way when an exchange settles.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client's request has begun. The shard answers with `ReadBody` or with a `Respond`.
    Head { client: ClientId, head: ClientHead },
    /// The whole body, after `ReadBody`. Several slices when it came in several and was not worth joining.
    Body { client: ClientId, body: Bytes },
    /// The body did not come whole: over the limit, too slow, or garbage in its framing. The client is still there to be told.
    BodyFailed { client: ClientId, why: BodyFault },
    /// Bytes of a WebSocket, after `Upgrade`.
    SocketBytes { client: ClientId, bytes: Bytes },
    /// The client closed or reset; nothing more will reach it.
    ClientGone { client: ClientId },
    /// More bytes than `client_buffer_bytes` wait for this client.
    Congested { client: ClientId },
    /// Half of that or less wait now.
    Eased { client: ClientId },

    /// The call is on its way: connected, and the request written whole.
    Sent { attempt: AttemptId },
    /// Status and headers of the provider's answer.
    UpstreamHead {
        attempt: AttemptId,
        status: u16,
        headers: Headers,
    },
    /// Bytes of the provider's answer, all that one readiness brought.
    UpstreamBytes { attempt: AttemptId, bytes: Bytes },
    /// The provider's answer ended as HTTP says an answer ends.
    UpstreamEnd { attempt: AttemptId },
    /// It did not.
    UpstreamFailed {
        attempt: AttemptId,
        why: UpstreamFault,
    },

    /// The time given by `Shard::next_timer` has come (or passed; or not: early ticks do no harm).
    Tick,
    /// A new configuration; running exchanges end under the one they began with.
    Config(Arc<Config>),
    /// The I/O core can take ledger rows again up to this many.
    LedgerRoom(usize),
    /// What the I/O core holds of a source whose credentials expire, after every change.
    Credential(Arc<Held>),
    /// What a poll of an own server came to.
    Server(Arc<ServerNews>),
    /// What the store says to who asked it.
    Told { asker: Asker, told: Box<Told> },
    /// Somebody who may wants this answer no more.
    Stop { exchange: ExchangeId, name: Str },
    /// Whether the spool has room for answers of new requests.
    SpoolRoom(bool),
    /// What who grants to instances said of a limit that this shard hosts.
    Lease(Box<LeaseReply>),
    /// What another shard has learned.
    Gossip(Gossip),
    /// Take no new exchanges: the node is leaving.
    Drain,
}

/// A source's credential. Named by the source itself, since the ids of keys change with the configuration and sources do not.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub source: KeySource,
    /// One more with each credential; 0 while there never was one.
    pub generation: u64,
    /// `None` after a failure where there is none that is still good.
    pub credential: Option<Credential>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    TooLarge,
    TooSlow,
    /// The bodies of this shard fill its memory bound.
    NoMemory,
    Malformed,
}

/// Why a call came to nothing, as far as the network can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamFault {
    /// The name has no address.
    Resolve(String),
    /// Refused, unreachable.
    Connect(String),
    /// The certificate or the handshake.
    Tls(String),
    /// Reset or closed before the answer's end.
    Reset,
    /// Not HTTP.
    Malformed(String),
    /// The pool of connections is at its bound.
    Full,
}

/// The slices of a body that is to be sent.
pub type Slices = SmallVec<[Bytes; 4]>;
