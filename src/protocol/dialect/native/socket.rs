//! outline: replaced by the native dialect's own
use crate::base::{Secret, Str};
use crate::canon::Fault;
use bytes::Bytes;
pub enum ClientMessage {
    Auth { api_key: Secret },
    Request { request_id: Str, body: Bytes },
    Cancel { request_id: Str },
    Resume { response_id: Str, after: u64 },
}
pub fn read(_text: &Str) -> Result<ClientMessage, (Option<Str>, Fault)> {
    Err((None, Fault::invalid("type", "outline")))
}
