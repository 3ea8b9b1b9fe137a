//! Where one event ends and the next begins.

pub mod sse;
pub mod websocket;
