//! Our own dialect: the unified form of canon's requests, and event blocks over SSE and WebSocket.
//!
//! Has a word for everything canon has, so nothing is dropped in either direction. In reading order.

mod answer;
mod blocks;
pub mod errors;
pub mod events;
pub mod request;
pub mod schema;
pub mod socket;
mod usage;
