//! Usage and money, both ways.

use super::blocks::{boolean, optional, raw};
use super::schema::Fields;
use crate::base::{NanoUsd, Tokens};
use crate::canon::{Fault, Usage};
use crate::protocol::json;
use bytes::BytesMut;

/// Each count by its name.
fn counts(usage: &mut Usage) -> [(&'static str, &mut Option<Tokens>); 16] {
    [
        ("input_uncached_tokens", &mut usage.input_uncached),
        ("cache_read_tokens", &mut usage.cache_read),
        ("cache_write_5m_tokens", &mut usage.cache_write_5m),
        ("cache_write_30m_tokens", &mut usage.cache_write_30m),
        ("cache_write_1h_tokens", &mut usage.cache_write_1h),
        ("cache_write_12h_tokens", &mut usage.cache_write_12h),
        ("output_tokens", &mut usage.output),
        ("reasoning_tokens", &mut usage.reasoning),
        ("input_audio_tokens", &mut usage.input_audio),
        ("output_audio_tokens", &mut usage.output_audio),
        ("input_image_tokens", &mut usage.input_image),
        ("output_image_tokens", &mut usage.output_image),
        ("input_video_tokens", &mut usage.input_video),
        ("output_video_tokens", &mut usage.output_video),
        ("cache_read_audio_tokens", &mut usage.cache_read_audio),
        ("cache_read_image_tokens", &mut usage.cache_read_image),
    ]
}

/// Appends the fields of a usage object. `input_tokens` is the sum of its parts, for who does not care for caches.
pub fn write(usage: &Usage, out: &mut BytesMut) {
    json::key("input_tokens", out);
    json::integer(usage.input_total().0, out);
    for (name, count) in counts(&mut usage.clone()) {
        if let Some(count) = count {
            json::key(name, out);
            json::integer(count.0, out);
        }
    }
    for (name, calls) in [
        ("web_searches", usage.web_searches),
        ("web_fetches", usage.web_fetches),
        ("input_audio_millis", usage.input_audio_millis),
        ("output_images", usage.output_images),
        ("output_video_millis", usage.output_video_millis),
    ] {
        if let Some(calls) = calls {
            json::key(name, out);
            json::integer(calls, out);
        }
    }
    if let Some(cost) = usage.provider_cost {
        json::key("provider_cost_nano_usd", out);
        json::integer(cost.0, out);
    }
    for (name, word) in [
        ("output_video_resolution", &usage.output_video_resolution),
        ("service_tier", &usage.service_tier),
        ("speed", &usage.speed),
        ("geo", &usage.geo),
    ] {
        optional(name, word, out);
    }
    if usage.estimated {
        boolean("estimated", true, out);
    }
    if let Some(theirs) = &usage.raw {
        raw("raw", theirs.get(), out);
    }
}

/// Fields to come are passed over.
pub fn read(mut f: Fields<'_>) -> Result<Usage, Fault> {
    let mut usage = Usage::default();
    for (name, count) in counts(&mut usage) {
        *count = f.whole(name)?.map(Tokens);
    }
    usage.web_searches = f.whole("web_searches")?;
    usage.web_fetches = f.whole("web_fetches")?;
    usage.provider_cost = f.whole("provider_cost_nano_usd")?.map(NanoUsd);
    usage.input_audio_millis = f.whole("input_audio_millis")?;
    usage.output_images = f.whole("output_images")?;
    usage.output_video_millis = f.whole("output_video_millis")?;
    usage.output_video_resolution = f.text("output_video_resolution")?;
    usage.service_tier = f.text("service_tier")?;
    usage.speed = f.text("speed")?;
    usage.geo = f.text("geo")?;
    usage.estimated = f.boolean("estimated")?.unwrap_or(false);
    usage.raw = f.json("raw");
    Ok(usage)
}

/// Appends a cost twice: as dollars to read, exact to the last digit, and as a whole number to add up.
pub fn write_cost(cost: NanoUsd, out: &mut BytesMut) {
    raw("cost_usd", &cost.to_string(), out);
    json::key("cost_nano_usd", out);
    json::integer(cost.0, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_costs_comes_back() {
        let mut usage = Usage {
            web_searches: Some(1),
            web_fetches: Some(2),
            input_audio_millis: Some(1_500),
            output_images: Some(3),
            output_video_millis: Some(8_000),
            output_video_resolution: Some("4k".into()),
            provider_cost: Some(NanoUsd(5)),
            service_tier: Some("batch".into()),
            speed: Some("fast".into()),
            geo: Some("us".into()),
            ..Usage::default()
        };
        for (at, (_, count)) in (1..).zip(counts(&mut usage)) {
            *count = Some(Tokens(at));
        }
        let mut out = BytesMut::from("{");
        write(&usage, &mut out);
        out.extend_from_slice(b"}");
        let body = crate::base::Str::try_from(out.freeze()).expect("text");
        let fields = Fields::top(&body).expect("an object");
        assert_eq!(read(fields).expect("what we wrote"), usage);
    }
}
