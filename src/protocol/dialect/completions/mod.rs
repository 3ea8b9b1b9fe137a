//! OpenAI's Completions, the API before Chat Completions (OpenAI API reference, completions, read 2026-11): a text goes in, what follows comes out.
//!
//! Own machines, gateways and a few old models of OpenAI speak it. Asked of any other model, the prompt is one user's message, and the reply is
//! told as what follows; several prompts, and prompts in tokens, only pass. Refusals are Chat Completions' own. In reading order.

mod read;
pub use read::read;
mod write;
pub(super) use write::is_one_text;
pub use write::write;
mod decode;
pub use decode::Decoder;
mod encode;
pub use encode::{Encoder, write_whole};
mod logprobs;
#[cfg(test)]
mod tests;
