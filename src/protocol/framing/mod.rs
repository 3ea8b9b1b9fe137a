//! Where one event ends and the next begins.

pub mod eventstream;
pub mod sse;
pub mod websocket;
