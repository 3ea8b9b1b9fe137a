//! Same dialect on both sides: bytes pass, only usage and stop are lifted.

use crate::base::Str;
use crate::canon::{DialectName, Event, Fault, Malformed};
use crate::protocol::framing::sse::SseEvent;
use bytes::Bytes;
use smallvec::SmallVec;
use std::ops::Range;

/// What must be known of a request to route it, read in one pass without building its content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peek {
    pub model: Str,
    /// Where the JSON string of `model` lies in the body, its quotes included.
    pub model_at: Range<usize>,
    pub stream: bool,
    pub max_output: Option<u64>,
    /// The client asked for a final usage message (always true in dialects that always send it).
    pub stream_usage: bool,
    pub images: bool,
    pub documents: bool,
    pub audio: bool,
    pub video: bool,
    pub tools: bool,
    /// Bytes of content that become input tokens (text, tools), images and other data left out.
    pub prompt_bytes: usize,
}

/// Reads what routing needs. `Err` names the field that is wrong or missing (`model`, `messages`, …), also for a body that is not JSON.
pub fn peek(_dialect: DialectName, _body: &Bytes) -> Result<Peek, Fault> {
    Ok(Peek::default())
}

/// The body for a provider of the same dialect: the client's bytes, with the model's name replaced and, where the dialect must be asked
/// for it, usage switched on. At most a few slices; nothing of the content is copied.
pub fn splice_request(
    _dialect: DialectName,
    _body: &Bytes,
    _peek: &Peek,
    _model: &str,
) -> Result<SmallVec<[Bytes; 4]>, Fault> {
    Ok(SmallVec::new())
}

/// Watches an answer that passes by, and lifts what must be known.
#[derive(Debug)]
pub struct Lift;

/// What becomes of an event that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// On to the client as it is.
    Forward,
    /// For us alone (a usage message that the client did not ask for).
    Strip,
    /// The provider says that it broke off: the shard ends the stream in the client's words.
    Broken,
}

impl Lift {
    /// `stream_usage`: whether the client asked for the usage message.
    #[must_use]
    pub fn new(_dialect: DialectName, _stream_usage: bool) -> Self {
        Self
    }

    /// Appends to `out` only what is lifted: `Started`, `Usage`, `Stop`, `Done`, `Error`. Costs a scan of an ordinary delta, no parse.
    pub fn event(&mut self, _sse: &SseEvent, _out: &mut Vec<Event>) -> Result<Pass, Malformed> {
        Ok(Pass::Forward)
    }

    /// As `Decoder::finish`.
    pub fn finish(&mut self, _out: &mut Vec<Event>) -> Result<(), Malformed> {
        Ok(())
    }
}
