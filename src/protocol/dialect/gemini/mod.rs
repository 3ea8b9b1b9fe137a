//! Gemini generateContent.

pub mod errors;
pub mod events;
pub mod request;
