//! Usage × prices → money, to the nano-dollar.
//!
//! All arithmetic is on integers: tokens, pico-dollars a token, millionths of a multiple. Nothing is rounded on the way; the sum of all
//! lines is rounded once, half up, to the nano-dollar. Knows nothing of where a price was read, nor of what the provider itself says an
//! answer cost: both figures are kept side by side by whoever asked.

mod price;
mod unit;
pub use price::{Counted, LongContext, Part, Price, Tier, Times};
pub use unit::{Unit, atto_a_token, unit_prices};
#[cfg(test)]
mod tests;

use crate::base::{NanoUsd, TokenPrice, Tokens};
use crate::canon::Usage;
use std::time::Duration;

/// What `usage` costs at `price`. The price must be the one of the day (`Price::on`).
#[must_use]
pub fn bill(usage: &Usage, price: &Price) -> NanoUsd {
    let rates = Rates::of(usage, price);
    let tokens = rates.prompt(usage).saturating_add(rates.output(usage));
    of_atto(tokens)
        + calls(usage.web_searches, price.web_search)
        + calls(usage.web_fetches, price.web_fetch)
        + calls(usage.output_images, price.output_image_each)
        + video(usage, price)
        + audio(usage, price)
}

/// What it costs to keep `tokens` in a cache that is paid by the hour (Gemini's `cachedContents`) for so long.
#[must_use]
pub fn storage(tokens: Tokens, kept: Duration, price: &Price) -> NanoUsd {
    let hourly = tokens.times(price.cache_storage_hour.unwrap_or_default());
    NanoUsd::of_pico(hourly.saturating_mul(kept.as_millis()) / MILLIS_AN_HOUR)
}

/// A price and what it is multiplied by.
type Rate = (TokenPrice, Times);

/// A price list at one usage: the multiples that its tier, its place and the length of its prompt call for.
struct Rates<'a> {
    price: &'a Price,
    /// The tier that was really used, or the speed: no provider has both at once.
    tier: Option<&'a Tier>,
    /// What the place multiplies every token price by.
    place: Times,
    /// What tier and place multiply the listed token prices by.
    times: Times,
    /// What the whole prompt, and the whole output, are multiplied by for the prompt's length.
    whole_prompt: Times,
    output: Times,
    /// From which position in the prompt on it costs how much more.
    excess: Vec<(u64, Times)>,
}

impl<'a> Rates<'a> {
    fn of(usage: &Usage, price: &'a Price) -> Self {
        let by_name = |name: &Option<crate::base::Str>| {
            let name = name.as_deref()?;
            price.tiers.iter().find(|t| t.name == name)
        };
        let tier = by_name(&usage.service_tier).or_else(|| by_name(&usage.speed));
        let geo = usage.geo.as_deref();
        let geo = price.geo.iter().find(|(name, _)| Some(&**name) == geo);
        let place = price.surcharge.and(geo.map_or(Times::ONE, |(_, t)| *t));
        let mut rates = Self {
            price,
            tier,
            place,
            times: place.and(tier.map_or(Times::ONE, |t| t.times)),
            whole_prompt: Times::ONE,
            output: Times::ONE,
            excess: Vec::new(),
        };
        for step in &price.long_context {
            rates.step(step, usage);
        }
        rates
    }

    /// Steps stand in ascending order: the last one passed counts for the whole, each for its part of the excess.
    fn step(&mut self, step: &LongContext, usage: &Usage) {
        let counted = match step.counts {
            Counted::Input => usage.input_total(),
            Counted::Uncached => usage.input_total() - usage.cache_read.unwrap_or_default(),
        };
        if counted <= step.over {
            return;
        }
        self.output = step.output_times;
        match step.part {
            Part::Whole => self.whole_prompt = step.input_times,
            Part::Excess => self.excess.push((step.over.0, step.input_times)),
        }
    }

    fn prompt(&self, usage: &Usage) -> u128 {
        let mut start: u64 = 0;
        let lines = self.prompt_lines(usage).into_iter();
        lines.fold(0, |sum: u128, (_, tokens, rate)| {
            let line = self.line(start, tokens, rate);
            start = start.saturating_add(tokens.0);
            sum.saturating_add(line)
        })
    }

    /// The prompt in the order in which it stands: what was read from the cache, what was written to it, the rest.
    fn prompt_lines(&self, usage: &Usage) -> [(Unit, Tokens, Rate); 11] {
        let (p, of) = (self.price, |t: Option<Tokens>| t.unwrap_or_default());
        let own = |f: fn(&Tier) -> Option<TokenPrice>| self.tier.and_then(f);
        let input = self.rate(own(|t| t.input), Some(p.input), (p.input, self.times));
        let read = self.rate(own(|t| t.cache_read), p.cache_read, input);
        let read_audio = self.rate(own(|t| t.cache_read_audio), p.cache_read_audio, read);
        let or_input = |listed| self.rate(None, listed, input);
        // Audio, images and video are parts of their line: they are taken out before the rest is priced.
        let (audio, image) = (of(usage.cache_read_audio), of(usage.cache_read_image));
        let plain_read = of(usage.cache_read) - audio - image;
        let parts = [usage.input_audio, usage.input_image, usage.input_video];
        let plain_in = of(usage.input_uncached) - parts.into_iter().flatten().sum();
        [
            (Unit::CacheRead, plain_read, read),
            (Unit::CacheReadAudio, audio, read_audio),
            (
                Unit::CacheReadImage,
                image,
                self.rate(None, p.cache_read_image, read),
            ),
            (
                Unit::CacheWrite5m,
                of(usage.cache_write_5m),
                or_input(p.cache_write_5m),
            ),
            (
                Unit::CacheWrite30m,
                of(usage.cache_write_30m),
                or_input(p.cache_write_30m),
            ),
            (
                Unit::CacheWrite1h,
                of(usage.cache_write_1h),
                or_input(p.cache_write_1h),
            ),
            (
                Unit::CacheWrite12h,
                of(usage.cache_write_12h),
                or_input(p.cache_write_12h),
            ),
            (
                Unit::InputAudio,
                of(usage.input_audio),
                or_input(p.input_audio),
            ),
            (
                Unit::InputImage,
                of(usage.input_image),
                or_input(p.input_image),
            ),
            (
                Unit::InputVideo,
                of(usage.input_video),
                or_input(p.input_video),
            ),
            (Unit::Input, plain_in, input),
        ]
    }

    fn output(&self, usage: &Usage) -> u128 {
        let lines = self.output_lines(usage).into_iter();
        lines.fold(0, |sum, (_, tokens, (price, times))| {
            sum.saturating_add(atto(tokens.0, price, times.and(self.output)))
        })
    }

    fn output_lines(&self, usage: &Usage) -> [(Unit, Tokens, Rate); 4] {
        let (p, of) = (self.price, |t: Option<Tokens>| t.unwrap_or_default());
        let own = self.tier.and_then(|t| t.output);
        let output = self.rate(own, Some(p.output), (p.output, self.times));
        let or_output = |listed| self.rate(None, listed, output);
        let parts = [usage.output_audio, usage.output_image, usage.output_video];
        let plain = of(usage.output) - parts.into_iter().flatten().sum();
        [
            (Unit::Output, plain, output),
            (
                Unit::OutputAudio,
                of(usage.output_audio),
                or_output(p.output_audio),
            ),
            (
                Unit::OutputImage,
                of(usage.output_image),
                or_output(p.output_image),
            ),
            (
                Unit::OutputVideo,
                of(usage.output_video),
                or_output(p.output_video),
            ),
        ]
    }

    /// The tier's own figure, which has its multiple in it but not the place's; else the listed price; else what `falls_back` says.
    fn rate(&self, own: Option<TokenPrice>, listed: Option<TokenPrice>, falls_back: Rate) -> Rate {
        match (own, listed) {
            (Some(own), _) => (own, self.place),
            (None, Some(listed)) => (listed, self.times),
            (None, None) => falls_back,
        }
    }

    /// `tokens` that begin at position `start` of the prompt.
    fn line(&self, start: u64, tokens: Tokens, (price, times): Rate) -> u128 {
        if tokens == Tokens(0) {
            return 0;
        }
        if self.excess.is_empty() {
            return atto(tokens.0, price, times.and(self.whole_prompt));
        }
        let end = start.saturating_add(tokens.0);
        let times = times.and(self.whole_prompt);
        let mut sum = 0_u128;
        let mut from = (0, Times::ONE);
        for next in self.excess.iter().copied().chain([(u64::MAX, Times::ONE)]) {
            let piece = end.min(next.0).saturating_sub(start.max(from.0));
            sum = sum.saturating_add(atto(piece, price, times.and(from.1)));
            from = next;
        }
        sum
    }
}

/// In 10⁻¹⁸ dollars: pico-dollars times millionths.
fn atto(tokens: u64, price: TokenPrice, times: Times) -> u128 {
    Tokens(tokens)
        .times(price)
        .saturating_mul(u128::from(times.millionths()))
}

/// Rounds half up, once for a whole bill. Beyond the range of the type it is the largest value.
fn of_atto(atto: u128) -> NanoUsd {
    const HALF: u64 = 500_000_000;
    // Up to eighteen dollars a bill fits a machine word, whose division is many times cheaper.
    let nano = match u64::try_from(atto) {
        Ok(atto) if atto <= u64::MAX - HALF => u128::from((atto + HALF) / 1_000_000_000),
        _ => atto.saturating_add(u128::from(HALF)) / 1_000_000_000,
    };
    NanoUsd(i64::try_from(nano).unwrap_or(i64::MAX))
}

fn calls(count: Option<u64>, each: Option<NanoUsd>) -> NanoUsd {
    let nano = i128::from(count.unwrap_or(0)) * i128::from(each.unwrap_or_default().0);
    NanoUsd(i64::try_from(nano).unwrap_or(i64::MAX))
}

/// Seconds of video at the price of their resolution; one that is not listed costs as the dearest, since a bill too low is never noticed.
fn video(usage: &Usage, price: &Price) -> NanoUsd {
    let Some(millis) = usage.output_video_millis else {
        return NanoUsd::ZERO;
    };
    let nano = u128::from(millis) * u128::from(video_second(usage, price).0.unsigned_abs());
    NanoUsd(i64::try_from((nano + 500) / 1_000).unwrap_or(i64::MAX))
}

fn video_second(usage: &Usage, price: &Price) -> NanoUsd {
    let named = usage.output_video_resolution.as_deref();
    let listed = price.video_second.iter();
    let exact = listed.clone().find(|(name, _)| Some(&**name) == named);
    let second = exact.map_or_else(|| listed.map(|(_, p)| *p).max(), |(_, p)| Some(*p));
    second.unwrap_or_default()
}

/// Sound by its length, rounded half up to the nano-dollar.
fn audio(usage: &Usage, price: &Price) -> NanoUsd {
    let minute = price.audio_minute.unwrap_or_default().0.unsigned_abs();
    let nano = u128::from(usage.input_audio_millis.unwrap_or(0)) * u128::from(minute);
    NanoUsd(i64::try_from((nano + 30_000) / 60_000).unwrap_or(i64::MAX))
}

const MILLIS_AN_HOUR: u128 = 3_600_000;
