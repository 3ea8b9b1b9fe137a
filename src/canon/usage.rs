//! What an answer used, in one normal form, whatever a provider counts inside of what.

use crate::base::{Json, NanoUsd, Tokens};

/// Tokens of one attempt. `None` was not said by the provider, which is not zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Input that was neither read from nor written to a cache.
    pub input_uncached: Option<Tokens>,
    pub cache_read: Option<Tokens>,
    pub cache_write_5m: Option<Tokens>,
    pub cache_write_30m: Option<Tokens>,
    pub cache_write_1h: Option<Tokens>,
    pub cache_write_12h: Option<Tokens>,
    /// All output, reasoning included.
    pub output: Option<Tokens>,
    /// The part of `output` that was reasoning.
    pub reasoning: Option<Tokens>,
    /// The parts of input and output that were audio or images, where they have a price of their own.
    pub input_audio: Option<Tokens>,
    pub output_audio: Option<Tokens>,
    pub input_image: Option<Tokens>,
    pub output_image: Option<Tokens>,
    pub input_video: Option<Tokens>,
    pub output_video: Option<Tokens>,
    /// The parts of `cache_read` that were audio or images, where reading them back has a price of its own (Gemini, OpenAI's image models).
    pub cache_read_audio: Option<Tokens>,
    pub cache_read_image: Option<Tokens>,
    /// Sound that was heard, in milliseconds, where it costs by its length.
    pub input_audio_millis: Option<u64>,
    /// Pictures that were made, where they cost by the piece.
    pub output_images: Option<u64>,
    /// Video that was made, all samples together, in milliseconds; and its resolution by the provider's word (`720p`, `4k`).
    pub output_video_millis: Option<u64>,
    pub output_video_resolution: Option<crate::base::Str>,
    /// Calls of server tools that cost by the call.
    pub web_searches: Option<u64>,
    pub web_fetches: Option<u64>,
    /// What the provider itself says this cost.
    pub provider_cost: Option<NanoUsd>,
    /// The tier that was really used (`priority`, `flex`, `batch`, …), which may change the price.
    pub service_tier: Option<crate::base::Str>,
    /// How fast it was asked to be, by the provider's word (Anthropic's `speed: fast`), which may change the price.
    pub speed: Option<crate::base::Str>,
    /// Where it was computed, by the provider's word (Anthropic's `inference_geo: us`), which may change the price.
    pub geo: Option<crate::base::Str>,
    /// True when we counted because the provider did not say.
    pub estimated: bool,
    /// The provider's own usage object, for what is not lifted above.
    pub raw: Option<Json>,
}

impl Usage {
    /// All input, cached or not.
    #[must_use]
    pub fn input_total(&self) -> Tokens {
        self.cache_write_total()
            + self.cache_read.unwrap_or_default()
            + self.input_uncached.unwrap_or_default()
    }

    #[must_use]
    pub fn cache_write_total(&self) -> Tokens {
        [
            self.cache_write_5m,
            self.cache_write_30m,
            self.cache_write_1h,
            self.cache_write_12h,
        ]
        .into_iter()
        .flatten()
        .sum()
    }

    /// Later words replace earlier ones, field by field; what the later does not say stays.
    pub fn update(&mut self, later: &Self) {
        fn take<T: Clone>(into: &mut Option<T>, from: &Option<T>) {
            if from.is_some() {
                into.clone_from(from);
            }
        }
        take(&mut self.input_uncached, &later.input_uncached);
        take(&mut self.cache_read, &later.cache_read);
        take(&mut self.cache_write_5m, &later.cache_write_5m);
        take(&mut self.cache_write_30m, &later.cache_write_30m);
        take(&mut self.cache_write_1h, &later.cache_write_1h);
        take(&mut self.cache_write_12h, &later.cache_write_12h);
        take(&mut self.output, &later.output);
        take(&mut self.reasoning, &later.reasoning);
        take(&mut self.input_audio, &later.input_audio);
        take(&mut self.output_audio, &later.output_audio);
        take(&mut self.input_image, &later.input_image);
        take(&mut self.output_image, &later.output_image);
        take(&mut self.input_video, &later.input_video);
        take(&mut self.output_video, &later.output_video);
        take(&mut self.cache_read_audio, &later.cache_read_audio);
        take(&mut self.cache_read_image, &later.cache_read_image);
        take(&mut self.input_audio_millis, &later.input_audio_millis);
        take(&mut self.output_images, &later.output_images);
        take(&mut self.output_video_millis, &later.output_video_millis);
        take(
            &mut self.output_video_resolution,
            &later.output_video_resolution,
        );
        take(&mut self.web_searches, &later.web_searches);
        take(&mut self.web_fetches, &later.web_fetches);
        take(&mut self.provider_cost, &later.provider_cost);
        take(&mut self.service_tier, &later.service_tier);
        take(&mut self.speed, &later.speed);
        take(&mut self.geo, &later.geo);
        take(&mut self.raw, &later.raw);
        self.estimated = later.estimated;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_words_replace_and_silence_does_not() {
        let mut usage = Usage {
            input_uncached: Some(Tokens(10)),
            output: Some(Tokens(1)),
            ..Usage::default()
        };
        usage.update(&Usage {
            output: Some(Tokens(7)),
            ..Usage::default()
        });
        assert_eq!(
            (usage.input_uncached, usage.output),
            (Some(Tokens(10)), Some(Tokens(7)))
        );
    }

    #[test]
    fn input_is_the_sum_of_its_parts() {
        let usage = Usage {
            input_uncached: Some(Tokens(1)),
            cache_read: Some(Tokens(20)),
            cache_write_5m: Some(Tokens(300)),
            cache_write_1h: Some(Tokens(4000)),
            ..Usage::default()
        };
        assert_eq!(usage.input_total(), Tokens(4321));
    }
}
