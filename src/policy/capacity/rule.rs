//! What a provider's limits count, as a value: one rule for each kind of provider, from the configuration (`config/limits.yaml`).
//!
//! Three questions, each answered differently by each provider: what is held when a call is sent, what is counted when it has ended, and
//! what a failed call costs. Knows no provider by name.

use crate::base::Tokens;
use crate::policy::capacity::day::DayEnd;
use crate::policy::capacity::{Ask, Used};
use std::time::Duration;

/// What is held of the output when a call is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Held {
    /// Output is counted as it is produced; that some is left is enough to begin (Anthropic).
    Nothing,
    /// What is to be expected: ours, where a provider does not say.
    #[default]
    Expected,
    /// The most that the client allows, beside the input (Bedrock).
    Most,
    /// The most that the client allows, in place of the input where that is less (OpenAI).
    Larger,
}

/// What is counted in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Counted {
    /// What was really used.
    #[default]
    Used,
    /// What was to be held, with the input as it was found to be: nothing comes back for a short answer (OpenAI).
    AsHeld,
}

/// What a call that failed is counted as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Failed {
    /// All that was held stays drawn.
    AsHeld,
    /// A request, and the tokens that it used, which are mostly none.
    #[default]
    Request,
}

/// How steeply traffic may grow again after a refusal or a long silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ramp {
    /// Where it begins, in thousandths of the limit.
    pub from: u64,
    /// Until the whole limit is used.
    pub over: Duration,
}

/// How a provider counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What a cache is expected to have is held all the same (Bedrock).
    pub reads_held: bool,
    /// What a cache had counts to the tokens together, and to the input.
    pub reads_in_tokens: bool,
    pub reads_in_input: bool,
    pub output: Held,
    /// What one token of output counts where input and output are counted together (Bedrock: 5 for Claude).
    pub output_times: u64,
    pub counted: Counted,
    pub failed: Failed,
    /// How much of a minute's requests, and of its tokens, may come at once.
    pub requests_burst: Duration,
    pub tokens_burst: Duration,
    /// Thousandths of each limit that are left alone, for what clocks and estimates differ by.
    pub guard: u64,
    pub day: DayEnd,
    /// What is said to be left of tokens is rounded to so many.
    pub rounding: u64,
    /// What headers say of "tokens" is of tokens together, not of whichever limit is tightest (Anthropic).
    pub tokens_told: bool,
    pub ramp: Option<Ramp>,
}

impl Default for Rule {
    fn default() -> Self {
        Self::OURS
    }
}

/// What a call draws on each bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draw {
    pub tokens: u64,
    pub input: u64,
    pub output: u64,
}

impl Rule {
    /// How a tenant's limits count: a minute's worth at once, cache reads not as input, output when it is known.
    pub const OURS: Self = Self {
        reads_held: false,
        reads_in_tokens: true,
        reads_in_input: false,
        output: Held::Expected,
        output_times: 1,
        counted: Counted::Used,
        failed: Failed::Request,
        requests_burst: MINUTE,
        tokens_burst: MINUTE,
        guard: 0,
        day: DayEnd::Utc,
        rounding: 1,
        tokens_told: true,
        ramp: None,
    };

    /// What is held of `ask`.
    #[must_use]
    pub fn hold(&self, ask: &Ask) -> Draw {
        let with = |reads: bool| match reads || self.reads_held {
            true => ask.input + ask.cache_read,
            false => ask.input,
        };
        self.held(ask, with(self.reads_in_tokens), with(self.reads_in_input))
    }

    fn held(&self, ask: &Ask, of_tokens: Tokens, of_input: Tokens) -> Draw {
        let most = ask.output_most.unwrap_or(ask.output);
        let (tokens, output) = match self.output {
            Held::Nothing => (of_tokens, Tokens::ZERO),
            // Buckets of output alone are for what was produced.
            Held::Expected => (of_tokens + ask.output, Tokens::ZERO),
            Held::Most => (of_tokens + most, most),
            Held::Larger => (of_tokens.max(most), Tokens::ZERO),
        };
        Draw {
            tokens: tokens.0,
            input: of_input.0,
            output: output.0,
        }
    }

    /// What `used` counts in the end, of what was asked.
    #[must_use]
    pub fn count(&self, ask: &Ask, used: &Used) -> Draw {
        if *used == Used::default() {
            return match self.failed {
                Failed::AsHeld => self.hold(ask),
                Failed::Request => Draw::default(),
            };
        }
        let with = |reads: bool| match reads {
            true => used.input + used.cache_read,
            false => used.input,
        };
        let (of_tokens, of_input) = (with(self.reads_in_tokens), with(self.reads_in_input));
        match self.counted {
            Counted::AsHeld => Draw {
                output: used.output.0,
                ..self.held(ask, of_tokens, of_input)
            },
            Counted::Used => {
                let output = used.output.0.saturating_mul(self.output_times);
                Draw {
                    tokens: of_tokens.0.saturating_add(output),
                    input: of_input.0,
                    output: used.output.0,
                }
            }
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// Those of two providers, for tests; what serves is read from `config/limits.yaml`.
#[cfg(test)]
impl Rule {
    pub(super) const BEDROCK: Self = Self {
        reads_held: true,
        reads_in_tokens: false,
        output: Held::Most,
        output_times: 5,
        ..Self::OURS
    };
    pub(super) const OPENAI: Self = Self {
        reads_in_tokens: true,
        reads_in_input: true,
        output: Held::Larger,
        counted: Counted::AsHeld,
        failed: Failed::AsHeld,
        ..Self::OURS
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask = Ask {
        input: Tokens(1_000),
        cache_read: Tokens(9_000),
        output: Tokens(300),
        output_most: Some(Tokens(4_000)),
    };
    const USED: Used = Used {
        input: Tokens(1_100),
        cache_read: Tokens(8_900),
        output: Tokens(200),
    };

    fn draw(tokens: u64, input: u64, output: u64) -> Draw {
        Draw {
            tokens,
            input,
            output,
        }
    }

    /// FIELD-BUGS 22 and 31: each provider's own rule, of one and the same call.
    #[test]
    fn each_way_of_counting_holds_and_counts_as_its_provider_does() {
        let anthropic = Rule {
            reads_in_tokens: false,
            output: Held::Nothing,
            ..Rule::OURS
        };
        for (name, rule, held, counted, failed) in [
            (
                "anthropic",
                anthropic,
                draw(1_000, 1_000, 0),
                draw(1_300, 1_100, 200),
                draw(0, 0, 0),
            ),
            (
                "bedrock",
                Rule::BEDROCK,
                draw(14_000, 10_000, 4_000),
                draw(2_100, 1_100, 200),
                draw(0, 0, 0),
            ),
            (
                "openai",
                Rule::OPENAI,
                draw(10_000, 10_000, 0),
                draw(10_000, 10_000, 200),
                draw(10_000, 10_000, 0),
            ),
            (
                "ours",
                Rule::OURS,
                draw(10_300, 1_000, 0),
                draw(10_200, 1_100, 200),
                draw(0, 0, 0),
            ),
        ] {
            assert_eq!(rule.hold(&ASK), held, "{name}");
            assert_eq!(rule.count(&ASK, &USED), counted, "{name}");
            assert_eq!(rule.count(&ASK, &Used::default()), failed, "{name}");
        }
        let short = Ask {
            input: Tokens(10),
            cache_read: Tokens(0),
            ..ASK
        };
        assert_eq!(
            Rule::OPENAI.hold(&short).tokens,
            4_000,
            "the larger of the two"
        );
    }
}
