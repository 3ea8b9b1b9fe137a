//! The shadow price of headroom: what is lost when a call takes the place that another will need.
//!
//! A convex barrier: nothing while a bucket is full, the price of the tokens themselves (times a weight) when it is empty, by the square in
//! between; so an idle pool costs nothing and one that runs dry is left to those who gain the most by it. It never says more than what
//! serving the call elsewhere, or later, would cost.

use crate::base::{Instant, NanoUsd, TokenPrice};
use crate::policy::capacity::{Ask, Dimension, Limit};

/// What the decision knows of a call's worth at one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worth {
    pub input: TokenPrice,
    pub output: TokenPrice,
    /// One place for a request: what the call is expected to cost.
    pub request: NanoUsd,
    /// How steep the barrier is, in thousandths of the price of what is taken; 300 to 1,000 did well on traces.
    pub weight: u64,
    /// The value of the alternative: (price at the next best − price here) + what waiting costs. Nothing is worth more.
    pub most: NanoUsd,
}

impl Limit {
    /// The price of what `ask` takes of this limit's headroom at `now`. Some divisions for each thing that is limited.
    #[must_use]
    pub fn shadow(&self, ask: &Ask, worth: &Worth, now: Instant) -> NanoUsd {
        let draw = self.rule().hold(ask);
        let request = u128::from(worth.request.0.max(0).unsigned_abs()) * 1_000;
        let of_input = |tokens: u64| crate::base::Tokens(tokens).times(worth.input);
        let output = ask.output.times(worth.output);
        let [requests_day, tokens_day] = self.days_emptiness(now);
        let taken = [
            (self.emptiness(Dimension::Requests, now), request),
            (
                self.emptiness(Dimension::Tokens, now),
                of_input(draw.tokens),
            ),
            (self.emptiness(Dimension::Input, now), of_input(draw.input)),
            (self.emptiness(Dimension::Output, now), output),
            (self.crowding(), request),
            (requests_day, request),
            (tokens_day, of_input(draw.tokens)),
        ];
        let pico: u128 = taken
            .into_iter()
            .map(|(empty, pico)| barrier(empty.unwrap_or(0), pico))
            .sum();
        let weighed = pico.saturating_mul(u128::from(worth.weight)) / 1_000;
        NanoUsd::of_pico(weighed).min(worth.most.max(NanoUsd::ZERO))
    }
}

/// `pico` times the square of how empty the bucket is, in millionths.
fn barrier(empty: u64, pico: u128) -> u128 {
    let square = u128::from(empty) * u128::from(empty) / 1_000_000;
    pico.saturating_mul(square) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Tokens;
    use crate::policy::capacity::{Numbers, Rule};

    const WORTH: Worth = Worth {
        // $5 and $25 a million.
        input: TokenPrice(5_000_000),
        output: TokenPrice(25_000_000),
        request: NanoUsd(1_000_000),
        weight: 1_000,
        most: NanoUsd(i64::MAX),
    };

    fn ask(input: u64) -> Ask {
        Ask {
            input: Tokens(input),
            ..Ask::default()
        }
    }

    #[test]
    fn headroom_costs_nothing_when_full_and_its_tokens_price_when_gone() {
        let numbers = Numbers {
            input: Some(100_000),
            ..Numbers::default()
        };
        let mut limit = Limit::twin(numbers, Rule::OURS, 0, 1);
        let price = |limit: &Limit| limit.shadow(&ask(10_000), &WORTH, Instant(0));
        assert_eq!(price(&limit), NanoUsd::ZERO);
        let mut last = NanoUsd::ZERO;
        for _ in 0..10 {
            let held = limit.reserve(ask(10_000), Instant(0));
            let now = price(&limit);
            assert!(now > last, "dearer the emptier: {now} after {last}");
            last = now;
            let _never_settled = held;
        }
        // 10,000 tokens at $5 a million.
        assert_eq!(last, NanoUsd(50_000_000));
        let capped = Worth {
            most: NanoUsd(7),
            ..WORTH
        };
        assert_eq!(
            limit.shadow(&ask(10_000), &capped, Instant(0)),
            NanoUsd(7),
            "no more than the alternative"
        );
    }

    #[test]
    fn each_thing_that_is_limited_has_its_price_and_what_a_cache_has_costs_none() {
        let numbers = Numbers {
            requests: Some(10),
            concurrent: Some(10),
            output: Some(1_000),
            requests_day: Some(10),
            ..Numbers::default()
        };
        let rule = Rule {
            output: crate::policy::capacity::rule::Held::Nothing,
            reads_in_tokens: false,
            ..Rule::OURS
        };
        let mut limit = Limit::twin(numbers, rule, 0, 1);
        for _ in 0..5 {
            let _never_settled = limit.reserve(Ask::default(), Instant(0));
        }
        let cached = Ask {
            cache_read: Tokens(100_000),
            ..Ask::default()
        };
        // A quarter of a request's worth for each of requests, places and the day's.
        assert_eq!(limit.shadow(&cached, &WORTH, Instant(0)), NanoUsd(750_000));
    }
}
