//! AWS Bedrock Converse.

pub mod errors;
pub mod events;
pub mod request;
