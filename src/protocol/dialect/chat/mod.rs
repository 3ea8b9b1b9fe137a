//! OpenAI Chat Completions, and its many speakers.

pub mod errors;
pub mod events;
#[cfg(test)]
mod recorded;
pub mod request;
mod schema;
