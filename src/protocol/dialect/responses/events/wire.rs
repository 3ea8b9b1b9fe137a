//! One event of a stream, numbered and framed: SSE with its name, or a bare text on a WebSocket.

use crate::base::Str;
use crate::protocol::framing::websocket;
use crate::protocol::json;
use bytes::BytesMut;

#[derive(Debug)]
pub(super) struct Wire {
    /// Of the next event; the first has 0.
    sequence: u64,
    bare: bool,
    /// The client's lane on a WebSocket.
    stream_id: Option<Str>,
    /// Nothing is written: only what adds up to the whole answer counts.
    mute: bool,
    scratch: BytesMut,
}

impl Wire {
    pub(super) fn new(bare: bool, stream_id: Option<Str>, mute: bool) -> Self {
        Self {
            sequence: 0,
            bare,
            stream_id,
            mute,
            scratch: BytesMut::new(),
        }
    }

    /// The first `events` were written by others.
    pub(super) fn skip(&mut self, events: u64) {
        self.sequence = events;
    }

    pub(super) fn has_begun(&self) -> bool {
        self.sequence > 0
    }

    /// Appends one event; `fill` adds its members.
    pub(super) fn emit(
        &mut self,
        kind: &str,
        out: &mut BytesMut,
        fill: impl FnOnce(&mut BytesMut),
    ) {
        let number = self.sequence;
        self.sequence += 1;
        if self.mute {
            return;
        }
        if self.bare {
            self.scratch.clear();
            object(
                kind,
                number,
                self.stream_id.as_ref(),
                &mut self.scratch,
                fill,
            );
            websocket::write_text_bytes(&self.scratch, out);
            return;
        }
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        object(kind, number, None, out, fill);
        out.extend_from_slice(b"\n\n");
    }
}

fn object(
    kind: &str,
    number: u64,
    lane: Option<&Str>,
    out: &mut BytesMut,
    fill: impl FnOnce(&mut BytesMut),
) {
    let start = out.len();
    out.extend_from_slice(b"{");
    json::field("type", kind, out);
    json::key("sequence_number", out);
    json::integer(number, out);
    if let Some(lane) = lane {
        json::field("stream_id", lane, out);
    }
    fill(out);
    out.extend_from_slice(b"}");
    // JSON of others may be spread over lines, which SSE's `data:` may not; between its tokens a space is as good.
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}
