//! Usage × prices → money.

use crate::base::{NanoUsd, TokenPrice, Tokens};
use crate::canon::Usage;

/// What one endpoint charges, for one model. A price that is `None` falls back as its line says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Price {
    pub input: TokenPrice,
    pub output: TokenPrice,
    /// Falls back to `input`.
    pub cache_read: Option<TokenPrice>,
    /// Each falls back to `input`: providers that write for free charge the input price once.
    pub cache_write_5m: Option<TokenPrice>,
    pub cache_write_30m: Option<TokenPrice>,
    pub cache_write_1h: Option<TokenPrice>,
    pub cache_write_12h: Option<TokenPrice>,
    /// Each falls back to `input` or `output`.
    pub input_audio: Option<TokenPrice>,
    pub output_audio: Option<TokenPrice>,
    pub input_image: Option<TokenPrice>,
    pub output_image: Option<TokenPrice>,
    /// For one call; `None` is free.
    pub web_search: Option<NanoUsd>,
    pub web_fetch: Option<NanoUsd>,
    /// From this many input tokens on, the whole request costs these multiples.
    pub long_context: Option<LongContext>,
    /// What a service tier multiplies all token prices by, by the provider's word for the tier.
    pub tiers: Vec<(String, f64)>,
}

/// A step in a price list by prompt length (OpenAI from 272K tokens, Gemini from 200K).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongContext {
    /// Over this many input tokens.
    pub over: Tokens,
    pub input_times: f64,
    pub output_times: f64,
}

/// What `usage` costs at `price`. Exact but for one rounding to the nano-dollar at the end.
#[must_use]
pub fn bill(usage: &Usage, price: &Price) -> NanoUsd {
    let (in_times, out_times) = multipliers(usage, price);
    let input = |p: Option<TokenPrice>| scaled(p.unwrap_or(price.input), in_times);
    let output = |p: Option<TokenPrice>| scaled(p.unwrap_or(price.output), out_times);
    let of = |t: Option<Tokens>| t.unwrap_or_default();

    // Audio and images are parts of the uncached input and of the output: they are taken out before the rest is priced.
    let plain_in = of(usage.input_uncached) - of(usage.input_audio) - of(usage.input_image);
    let plain_out = of(usage.output) - of(usage.output_audio) - of(usage.output_image);
    let pico = plain_in.times(input(None))
        + of(usage.input_audio).times(input(price.input_audio))
        + of(usage.input_image).times(input(price.input_image))
        + of(usage.cache_read).times(input(price.cache_read))
        + of(usage.cache_write_5m).times(input(price.cache_write_5m))
        + of(usage.cache_write_30m).times(input(price.cache_write_30m))
        + of(usage.cache_write_1h).times(input(price.cache_write_1h))
        + of(usage.cache_write_12h).times(input(price.cache_write_12h))
        + plain_out.times(output(None))
        + of(usage.output_audio).times(output(price.output_audio))
        + of(usage.output_image).times(output(price.output_image));
    NanoUsd::of_pico(pico)
        + calls(usage.web_searches, price.web_search)
        + calls(usage.web_fetches, price.web_fetch)
}

fn multipliers(usage: &Usage, price: &Price) -> (f64, f64) {
    let tier = usage
        .service_tier
        .as_ref()
        .and_then(|tier| price.tiers.iter().find(|(name, _)| *name == **tier))
        .map_or(1.0, |(_, times)| *times);
    match price.long_context {
        Some(long) if usage.input_total() > long.over => {
            (tier * long.input_times, tier * long.output_times)
        }
        _ => (tier, tier),
    }
}

fn scaled(price: TokenPrice, times: f64) -> TokenPrice {
    // Most requests have no multiplier, and a float would lose nothing here but time.
    if times == 1.0 {
        price
    } else {
        price.scaled(times)
    }
}

fn calls(count: Option<u64>, each: Option<NanoUsd>) -> NanoUsd {
    let nano = i128::from(count.unwrap_or(0)) * i128::from(each.unwrap_or_default().0);
    NanoUsd(i64::try_from(nano).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sonnet() -> Price {
        let input = TokenPrice::of_usd_per_million(3.0).expect("a price");
        Price {
            input,
            output: TokenPrice::of_usd_per_million(15.0).expect("a price"),
            cache_read: Some(input.scaled(0.1)),
            cache_write_5m: Some(input.scaled(1.25)),
            cache_write_1h: Some(input.scaled(2.0)),
            ..Price::default()
        }
    }

    #[test]
    fn each_kind_of_token_is_charged_once() {
        let usage = Usage {
            input_uncached: Some(Tokens(1_000)),
            cache_read: Some(Tokens(10_000)),
            cache_write_5m: Some(Tokens(2_000)),
            cache_write_1h: Some(Tokens(500)),
            output: Some(Tokens(100)),
            reasoning: Some(Tokens(60)),
            ..Usage::default()
        };
        // 3.0e-3 + 3.0e-3 + 7.5e-3 + 3.0e-3 + 1.5e-3 dollars
        assert_eq!(bill(&usage, &sonnet()), NanoUsd(18_000_000));
    }

    #[test]
    fn a_long_prompt_lifts_the_whole_request() {
        let long = LongContext {
            over: Tokens(272_000),
            input_times: 2.0,
            output_times: 1.5,
        };
        let price = Price {
            long_context: Some(long),
            ..sonnet()
        };
        let usage = |n| Usage {
            input_uncached: Some(Tokens(n)),
            output: Some(Tokens(1_000)),
            ..Usage::default()
        };
        assert_eq!(
            bill(&usage(272_000), &price),
            NanoUsd(816_000_000 + 15_000_000)
        );
        assert_eq!(
            bill(&usage(272_001), &price),
            NanoUsd(1_632_006_000 + 22_500_000)
        );
    }

    #[test]
    fn a_tier_multiplies_and_an_unknown_one_does_not() {
        let price = Price {
            tiers: vec![("priority".to_owned(), 2.0)],
            ..sonnet()
        };
        let usage = |tier: &str| Usage {
            output: Some(Tokens(10)),
            service_tier: Some(tier.into()),
            ..Usage::default()
        };
        assert_eq!(bill(&usage("priority"), &price), NanoUsd(300_000));
        assert_eq!(bill(&usage("new"), &price), NanoUsd(150_000));
    }

    #[test]
    fn searches_cost_by_the_call() {
        let price = Price {
            web_search: Some(NanoUsd(10_000_000)),
            ..sonnet()
        };
        let usage = Usage {
            web_searches: Some(3),
            ..Usage::default()
        };
        assert_eq!(bill(&usage, &price), NanoUsd(30_000_000));
    }
}
