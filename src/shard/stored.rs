//! Answers as the router itself stores them: what the spool is told of each as it comes, what is asked of the store, and what it says.
//!
//! Not those that a provider keeps (`kept`). What is stored of an answer is exactly what its client was sent, in its own dialect, so that it
//! can be said again from any event on; a client that left is told nothing, and its answer is stored all the same. The store lies behind the
//! I/O core; a shard asks it by mail and goes on.

use crate::base::{ClientKeyId, ExchangeId, ModelId, NanoUsd, Slot, Str, TenantId, WallTime};
use crate::canon::{DialectName, Usage};
use crate::shard::{LedgerRow, Under};
use bytes::Bytes;
use std::time::Duration;

/// What the spool is told, in order, before the client hears of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// An exchange is about to call a provider for the first time.
    Begun(Box<Begun>),
    /// An attempt begins: its row, if nothing more should be heard of it.
    Called {
        exchange: ExchangeId,
        row: Box<LedgerRow>,
    },
    /// A piece of the answer; `at`: the bytes of it before this one.
    Sent {
        exchange: ExchangeId,
        at: u64,
        bytes: Bytes,
    },
    /// Nothing more comes.
    Ended {
        exchange: ExchangeId,
        state: State,
        status: u16,
        kind: Str,
        at: WallTime,
    },
}

/// What is known of an answer when it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Begun {
    pub under: Under,
    pub exchange: ExchangeId,
    /// As the client knows it.
    pub name: Str,
    pub tenant: TenantId,
    pub client_key: ClientKeyId,
    pub model: ModelId,
    pub dialect: DialectName,
    pub form: Form,
    pub started: WallTime,
    pub session: Str,
    /// Under which it is found again instead of being asked for anew, and what was asked.
    pub claim: Option<Claim>,
    /// Where the tenant keeps its prompts.
    pub prompt: Option<Bytes>,
}

/// A client's own key of a request, and what it asks, each as a hash that depends on the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub key: [u8; 32],
    pub asked: [u8; 32],
}

/// How what was sent is cut into events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One body.
    Whole,
    /// Server-sent events.
    Sse,
    /// Messages of a WebSocket.
    Frames,
    /// Elements of one JSON array.
    Array,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    Complete,
    /// It broke off, or no provider gave one; what came is there.
    Failed,
    Cancelled,
    /// The router itself was interrupted.
    Interrupted,
}

impl Form {
    pub const ALL: [Self; 4] = [Self::Whole, Self::Sse, Self::Frames, Self::Array];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Sse => "sse",
            Self::Frames => "frames",
            Self::Array => "array",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.as_str() == name)
    }
}

impl State {
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Complete,
        Self::Failed,
        Self::Cancelled,
        Self::Interrupted,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// Who asks the store, and is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Asker {
    Exchange(ExchangeId),
    /// A client that came back for an answer.
    Fetch(Slot),
}

/// One question; whoever asks has no other open.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub asker: Asker,
    /// Whose answers are meant, by name: nobody finds another's.
    pub tenant: Str,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// May this request be asked of a provider, or is there an answer to it?
    Claim { claim: Claim, name: Str },
    /// It is not asked after all. There is no reply.
    Unclaim { key: [u8; 32] },
    /// What is known of an answer; with all that was sent of it, where that is wanted.
    Look { id: Str, whole: bool },
    /// What was sent after so many bytes. While nothing has been and more may come, the reply waits.
    Read { id: Str, from: u64 },
    /// Those before `before` (the newest where it is empty), newest first.
    List { before: Str, most: u16 },
    /// Stop it where it runs.
    Cancel { id: Str },
    /// Forget it everywhere.
    Delete { id: Str },
    /// What was spent, by the words of the request.
    Usage { since: Str, until: Str, by: Str },
}

/// What the store says.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Nobody has asked this before: go on.
    Free,
    /// There is an answer, or there will be; `same`: to the same request.
    Taken { id: Str, same: bool },
    /// `None`: it knows of none of this tenant.
    Found(Option<Box<Found>>),
    /// What was sent. `None`: it is gone meanwhile.
    Piece(Option<Piece>),
    /// JSON objects, one an answer, and whether there are more.
    Listed { answers: Vec<Str>, more: bool },
    /// Whether there was one.
    Done(bool),
    /// What was spent, as JSON; or which parameter is wrong, and why.
    Usage(Result<Str, (&'static str, String)>),
    /// The store cannot be read at the moment; why, without anything secret.
    Unreadable(String),
}

/// What is known of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub id: Str,
    pub dialect: DialectName,
    pub form: Form,
    pub state: State,
    /// HTTP's, once it is known; 200 before.
    pub status: u16,
    /// `content-type`
    pub kind: Str,
    pub about: About,
    /// What the list says of it: a JSON object.
    pub summary: Str,
    /// All that was sent so far, where it was asked for.
    pub sent: Option<Bytes>,
}

/// What a whole answer says of itself beside its words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    pub model: Str,
    /// Seconds since 1970.
    pub created: i64,
    /// Of the last attempt, where one has ended.
    pub endpoint: Str,
    pub decision: Str,
    pub usage: Usage,
    /// Of all attempts.
    pub cost: NanoUsd,
    pub total: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub bytes: Bytes,
    /// From where the next piece is to be read.
    pub next: u64,
    /// Nothing comes after this piece: how it ended.
    pub end: Option<State>,
}
