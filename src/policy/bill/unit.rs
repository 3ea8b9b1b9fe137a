//! What one of each thing that was billed has cost, so that a bill can be checked when the price list is another.

use super::{Price, Rates, Times, video_second};
use crate::base::{NanoUsd, TokenPrice, Tokens};
use crate::canon::Usage;

/// What a price is of. The numbers are written down: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Unit {
    Input = 0,
    CacheRead = 1,
    CacheReadAudio = 2,
    CacheReadImage = 3,
    CacheWrite5m = 4,
    CacheWrite30m = 5,
    CacheWrite1h = 6,
    CacheWrite12h = 7,
    InputAudio = 8,
    InputImage = 9,
    InputVideo = 10,
    Output = 11,
    OutputAudio = 12,
    OutputImage = 13,
    OutputVideo = 14,
    WebSearch = 15,
    WebFetch = 16,
    OutputImageEach = 17,
    VideoSecond = 18,
    AudioMinute = 19,
    /// No price: from which token of the prompt on the next one multiplies.
    ExcessOver = 20,
    ExcessTimes = 21,
    CacheStorageHour = 22,
}

impl Unit {
    pub const ALL: [Self; 23] = [
        Self::Input,
        Self::CacheRead,
        Self::CacheReadAudio,
        Self::CacheReadImage,
        Self::CacheWrite5m,
        Self::CacheWrite30m,
        Self::CacheWrite1h,
        Self::CacheWrite12h,
        Self::InputAudio,
        Self::InputImage,
        Self::InputVideo,
        Self::Output,
        Self::OutputAudio,
        Self::OutputImage,
        Self::OutputVideo,
        Self::WebSearch,
        Self::WebFetch,
        Self::OutputImageEach,
        Self::VideoSecond,
        Self::AudioMinute,
        Self::ExcessOver,
        Self::ExcessTimes,
        Self::CacheStorageHour,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheRead => "cache_read",
            Self::CacheReadAudio => "cache_read_audio",
            Self::CacheReadImage => "cache_read_image",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite30m => "cache_write_30m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::CacheWrite12h => "cache_write_12h",
            Self::InputAudio => "input_audio",
            Self::InputImage => "input_image",
            Self::InputVideo => "input_video",
            Self::Output => "output",
            Self::OutputAudio => "output_audio",
            Self::OutputImage => "output_image",
            Self::OutputVideo => "output_video",
            Self::WebSearch => "web_search",
            Self::WebFetch => "web_fetch",
            Self::OutputImageEach => "output_image_each",
            Self::VideoSecond => "video_second",
            Self::AudioMinute => "audio_minute",
            Self::ExcessOver => "excess_over",
            Self::ExcessTimes => "excess_times",
            Self::CacheStorageHour => "cache_storage_hour",
        }
    }

    /// How many decimals its number has: dollars for a million tokens, dollars for one of anything else, a multiple, a count.
    #[must_use]
    pub fn decimals(self) -> u32 {
        match self {
            Self::WebSearch
            | Self::WebFetch
            | Self::OutputImageEach
            | Self::VideoSecond
            | Self::AudioMinute => 9,
            Self::ExcessTimes => 6,
            Self::ExcessOver => 0,
            _ => 12,
        }
    }
}

/// Tells each unit price that `bill` uses for this: of a token in atto-dollars (10⁻¹⁸), tier, place and length of the prompt in it; of all else in
/// nano-dollars. Nothing is told of what was not used.
pub fn unit_prices(usage: &Usage, price: &Price, each: &mut impl FnMut(Unit, u64)) {
    let rates = Rates::of(usage, price);
    for (unit, tokens, (price, times)) in rates.prompt_lines(usage) {
        if tokens > Tokens::ZERO {
            each(unit, atto(price, times.and(rates.whole_prompt)));
        }
    }
    for (unit, tokens, (price, times)) in rates.output_lines(usage) {
        if tokens > Tokens::ZERO {
            each(unit, atto(price, times.and(rates.output)));
        }
    }
    for (over, times) in &rates.excess {
        each(Unit::ExcessOver, *over);
        each(Unit::ExcessTimes, times.millionths());
    }
    let mut piece = |unit, count: Option<u64>, each_one: Option<NanoUsd>| {
        if count.unwrap_or(0) > 0 {
            each(unit, each_one.unwrap_or_default().0.unsigned_abs());
        }
    };
    piece(Unit::WebSearch, usage.web_searches, price.web_search);
    piece(Unit::WebFetch, usage.web_fetches, price.web_fetch);
    let picture = price.output_image_each;
    piece(Unit::OutputImageEach, usage.output_images, picture);
    let (second, millis) = (video_second(usage, price), usage.output_video_millis);
    piece(Unit::VideoSecond, millis, Some(second));
    let minute = price.audio_minute.filter(|minute| *minute > NanoUsd::ZERO);
    if minute.is_some() {
        piece(Unit::AudioMinute, usage.input_audio_millis, minute);
    }
}

/// In atto-dollars.
#[must_use]
pub fn atto_a_token(price: TokenPrice) -> u64 {
    atto(price, Times::ONE)
}

fn atto(TokenPrice(pico): TokenPrice, times: Times) -> u64 {
    pico.saturating_mul(times.millionths())
}
