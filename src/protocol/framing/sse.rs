//! `text/event-stream` (WHATWG HTML, section 9.2, read 2026-11), both ways.

use bytes::{Bytes, BytesMut};

/// One event as it lay in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event:` field; empty when there was none.
    pub name: Bytes,
    /// The `data:` lines, joined by a line feed; a slice when there was one line.
    pub data: Bytes,
    /// The `id:` field, if any.
    pub id: Option<Bytes>,
    /// The whole event as received, its empty line included: what passes when both sides speak the same dialect.
    pub raw: Bytes,
}
/// placeholder so that the outline compiles; the decoder is written next.
pub type Buffer = BytesMut;
