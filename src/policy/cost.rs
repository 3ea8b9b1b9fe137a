//! What serving a request somewhere is expected to cost.

use crate::base::{NanoUsd, Tokens};
use crate::canon::Usage;
use crate::policy::bill::{Price, bill};

/// What is known of a request before it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub input: Tokens,
    pub output: Tokens,
}

/// Input tokens of so many bytes of prompt. Four bytes a token is the providers' own rule of thumb for English; what is wrong with it is
/// settled from the provider's usage, and the same for all candidates.
#[must_use]
pub fn tokens_of_bytes(bytes: usize) -> Tokens {
    Tokens((bytes as u64).div_ceil(4))
}

/// Output to be expected: half of what the client allows, at most so much as most answers have.
#[must_use]
pub fn output_of(max_output: Option<u64>) -> Tokens {
    // 500: the order of magnitude of answers in the Azure 2023 conversation trace (mean 211) and of agents (mean 400 to 600).
    Tokens(max_output.map_or(500, |most| (most / 2).min(500)))
}

/// The bill to be expected: nothing read from a cache, nothing written.
#[must_use]
pub fn expected(of: Expected, price: &Price) -> NanoUsd {
    let usage = Usage {
        input_uncached: Some(of.input),
        output: Some(of.output),
        ..Usage::default()
    };
    bill(&usage, price)
}
