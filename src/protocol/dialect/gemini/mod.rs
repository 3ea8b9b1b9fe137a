//! Google's generateContent, streamGenerateContent and what stands beside them, on the Gemini API and on Vertex AI.
//!
//! The model and whether to stream stand in the URL, so nothing here reads or writes them. Both spellings of a field's name are read,
//! as Google's JSON parser does (`maxOutputTokens`, `max_output_tokens`); what is written is camelCase.

mod node;
pub mod request;
pub(super) use request::{NO_SIGNATURE, is_no_signature};
pub(in crate::protocol::dialect) mod schema;
pub mod events;
pub mod array;
pub mod errors;
pub mod count;
pub mod cached;
pub mod video;
pub mod video_name;
pub mod video_native;
mod video_openai;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests_cross;
