//! What one endpoint charges, as values.

use crate::base::{NanoUsd, TokenPrice, Tokens, WallTime};

/// What one endpoint charges, for one model. A price that is `None` falls back as its line says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Price {
    pub input: TokenPrice,
    pub output: TokenPrice,
    /// Falls back to `input`.
    pub cache_read: Option<TokenPrice>,
    /// Each falls back to `cache_read`.
    pub cache_read_audio: Option<TokenPrice>,
    pub cache_read_image: Option<TokenPrice>,
    /// Each falls back to `input`: providers that write for free charge the input price once.
    pub cache_write_5m: Option<TokenPrice>,
    pub cache_write_30m: Option<TokenPrice>,
    pub cache_write_1h: Option<TokenPrice>,
    pub cache_write_12h: Option<TokenPrice>,
    /// For a token that is kept for an hour; `None` is free.
    pub cache_storage_hour: Option<TokenPrice>,
    /// Each falls back to `input` or `output`.
    pub input_audio: Option<TokenPrice>,
    pub output_audio: Option<TokenPrice>,
    pub input_image: Option<TokenPrice>,
    pub output_image: Option<TokenPrice>,
    pub input_video: Option<TokenPrice>,
    pub output_video: Option<TokenPrice>,
    /// For a minute of sound that was heard; `None` is free (its tokens are not).
    pub audio_minute: Option<NanoUsd>,
    /// For one picture that was made; `None` is free (its tokens are not).
    pub output_image_each: Option<NanoUsd>,
    /// For a second of video that was made, by resolution.
    pub video_second: Vec<(String, NanoUsd)>,
    /// For one call; `None` is free.
    pub web_search: Option<NanoUsd>,
    pub web_fetch: Option<NanoUsd>,
    /// Steps by the length of the prompt, in ascending order.
    pub long_context: Vec<LongContext>,
    /// What a service tier multiplies all token prices by, by the provider's word for the tier.
    pub tiers: Vec<Tier>,
    /// What this endpoint's place multiplies all token prices by (regional hosts and inference profiles).
    pub surcharge: Times,
    /// What the place named in the answer multiplies all token prices by (Anthropic's `inference_geo`).
    pub geo: Vec<(String, Times)>,
    /// What holds instead from a day on, in ascending order.
    pub changes: Vec<(WallTime, Price)>,
}

impl Price {
    /// The price that holds at `now`.
    #[must_use]
    pub fn on(&self, now: WallTime) -> &Self {
        let begun = self.changes.iter().rev().find(|(from, _)| *from <= now);
        begun.map_or(self, |(_, price)| price)
    }
}

/// A step in a price list by prompt length (OpenAI from 272K tokens, Gemini and xAI from 200K, Claude Haiku 5.5 from 100K).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongContext {
    /// Over this many tokens, of those that count.
    pub over: Tokens,
    pub counts: Counted,
    pub part: Part,
    /// Of every price of the prompt, cached or not.
    pub input_times: Times,
    /// Of every price of the output, all of it.
    pub output_times: Times,
}

/// Which tokens of a prompt count towards a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counted {
    /// All input: uncached, read from a cache and written to one.
    #[default]
    Input,
    /// All but what was read from a cache.
    Uncached,
}

/// What of the prompt costs more once it has passed a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    #[default]
    Whole,
    /// Only the tokens beyond the step; what was read from a cache stands first, then what was written to it.
    Excess,
}

/// A service tier.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tier {
    /// The provider's word for it, in `service_tier` or `speed`.
    pub name: String,
    /// Of every token price that has no figure of its own below.
    pub times: Times,
    pub input: Option<TokenPrice>,
    pub output: Option<TokenPrice>,
    pub cache_read: Option<TokenPrice>,
    pub cache_read_audio: Option<TokenPrice>,
}

/// A multiple of a price, in millionths, so that 1.1 is exactly that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Times(u64);

impl Times {
    pub const ONE: Self = Self(1_000_000);

    /// Rounded to a millionth; `None` if negative, not finite or over a million.
    #[must_use]
    pub fn of(times: f64) -> Option<Self> {
        let millionths = (times * 1e6).round();
        (millionths.is_finite() && (0.0..=1e12).contains(&millionths))
            .then_some(Self(millionths as u64))
    }

    #[must_use]
    pub fn millionths(self) -> u64 {
        self.0
    }

    /// Both, one after the other. Products of a price list's multiples (0.5 · 1.1 · 1.5) are whole millionths; others are rounded half up.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        // Nearly always, and a division of 128 bits costs as much as all else of a line.
        if self == Self::ONE {
            return other;
        }
        if other == Self::ONE {
            return self;
        }
        let product = (u128::from(self.0) * u128::from(other.0) + 500_000) / 1_000_000;
        Self(u64::try_from(product).unwrap_or(u64::MAX))
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::ONE
    }
}
