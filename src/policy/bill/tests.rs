use super::*;
use crate::base::WallTime;

fn usd(per_million: f64) -> TokenPrice {
    TokenPrice::of_usd_per_million(per_million).expect("a price")
}

fn times(n: f64) -> Times {
    Times::of(n).expect("a multiple")
}

fn dollars(n: f64) -> NanoUsd {
    NanoUsd::of_usd(n).expect("money")
}

fn tokens(n: u64) -> Option<Tokens> {
    Some(Tokens(n))
}

fn sonnet() -> Price {
    Price {
        input: usd(3.0),
        output: usd(15.0),
        cache_read: Some(usd(0.3)),
        cache_write_5m: Some(usd(3.75)),
        cache_write_1h: Some(usd(6.0)),
        ..Price::default()
    }
}

fn tier(name: &str, by: f64) -> Tier {
    Tier {
        name: name.to_owned(),
        times: times(by),
        ..Tier::default()
    }
}

fn step(over: u64, input: f64, output: f64) -> LongContext {
    LongContext {
        over: Tokens(over),
        counts: Counted::Input,
        part: Part::Whole,
        input_times: times(input),
        output_times: times(output),
    }
}

#[test]
fn each_kind_of_token_is_charged_once() {
    let usage = Usage {
        input_uncached: tokens(1_000),
        cache_read: tokens(10_000),
        cache_write_5m: tokens(2_000),
        cache_write_1h: tokens(500),
        output: tokens(100),
        reasoning: tokens(60),
        ..Usage::default()
    };
    // 3.0e-3 + 3.0e-3 + 7.5e-3 + 3.0e-3 + 1.5e-3 dollars
    assert_eq!(bill(&usage, &sonnet()), NanoUsd(18_000_000));
}

#[test]
fn audio_and_images_replace_their_share_of_the_plain_tokens() {
    let price = Price {
        input: usd(0.3),
        output: usd(2.5),
        cache_read: Some(usd(0.03)),
        cache_read_audio: Some(usd(0.1)),
        input_audio: Some(usd(1.0)),
        output_image: Some(usd(30.0)),
        ..Price::default()
    };
    let usage = Usage {
        input_uncached: tokens(1_000),
        input_audio: tokens(400),
        // No price of its own: as plain input.
        input_image: tokens(100),
        cache_read: tokens(500),
        cache_read_audio: tokens(200),
        output: tokens(1_300),
        output_image: tokens(1_290),
        ..Usage::default()
    };
    // (600 · 0.3 + 400 · 1 + 300 · 0.03 + 200 · 0.1 + 10 · 2.5 + 1290 · 30) / 10⁶ dollars
    assert_eq!(bill(&usage, &price), dollars(0.039334));
}

#[test]
fn a_long_prompt_lifts_the_whole_request_and_cached_tokens_count() {
    let price = Price {
        long_context: vec![step(272_000, 2.0, 1.5)],
        ..sonnet()
    };
    let usage = |read, fresh| Usage {
        cache_read: tokens(read),
        input_uncached: tokens(fresh),
        output: tokens(1_000),
        ..Usage::default()
    };
    assert_eq!(
        bill(&usage(0, 272_000), &price),
        NanoUsd(816_000_000 + 15_000_000)
    );
    assert_eq!(
        bill(&usage(0, 272_001), &price),
        NanoUsd(1_632_006_000 + 22_500_000)
    );
    // 272,000 read and one more token: 272,000 · 0.6 + 6 + 1,000 · 22.5 millionths of a dollar.
    assert_eq!(
        bill(&usage(272_000, 1), &price),
        NanoUsd(163_200_000 + 6_000 + 22_500_000)
    );
    let uncached = LongContext {
        counts: Counted::Uncached,
        ..step(272_000, 2.0, 1.5)
    };
    let price = Price {
        long_context: vec![uncached],
        ..sonnet()
    };
    assert_eq!(
        bill(&usage(272_000, 1), &price),
        NanoUsd(81_600_000 + 3_000 + 15_000_000)
    );
}

#[test]
fn of_several_steps_the_last_passed_counts() {
    let price = Price {
        long_context: vec![step(100, 2.0, 2.0), step(1_000, 5.0, 3.0)],
        ..sonnet()
    };
    let cost = |n| {
        let usage = Usage {
            input_uncached: tokens(n),
            output: tokens(1),
            ..Usage::default()
        };
        bill(&usage, &price)
    };
    assert_eq!(cost(100), NanoUsd(300_000 + 15_000));
    assert_eq!(cost(1_000), NanoUsd(6_000_000 + 30_000));
    assert_eq!(cost(1_001), NanoUsd(15_015_000 + 45_000));
}

#[test]
fn an_excess_step_lifts_only_what_lies_beyond_it() {
    let excess = |over, by| LongContext {
        part: Part::Excess,
        ..step(over, by, 1.0)
    };
    let price = Price {
        long_context: vec![excess(1_000, 2.0), excess(2_000, 4.0)],
        ..sonnet()
    };
    let usage = Usage {
        cache_read: tokens(900),
        cache_write_5m: tokens(300),
        input_uncached: tokens(1_300),
        ..Usage::default()
    };
    // Read 900 · 0.3; written 100 · 3.75 + 200 · 7.5; the rest from 1,200: 800 · 6, then from 2,000: 500 · 12.
    let millionths = 900.0 * 0.3 + 100.0 * 3.75 + 200.0 * 7.5 + 800.0 * 6.0 + 500.0 * 12.0;
    assert_eq!(bill(&usage, &price), dollars(millionths / 1e6));
}

#[test]
fn a_tier_multiplies_and_an_unknown_one_does_not() {
    let price = Price {
        tiers: vec![tier("priority", 2.0), tier("fast", 1.8)],
        ..sonnet()
    };
    let usage = |tier: &str, speed: Option<&str>| Usage {
        output: tokens(10),
        service_tier: Some(tier.into()),
        speed: speed.map(Into::into),
        ..Usage::default()
    };
    assert_eq!(bill(&usage("priority", None), &price), NanoUsd(300_000));
    assert_eq!(bill(&usage("new", None), &price), NanoUsd(150_000));
    assert_eq!(
        bill(&usage("standard", Some("fast")), &price),
        NanoUsd(270_000)
    );
}

#[test]
fn a_tiers_own_figures_stand_for_its_multiple() {
    let own = Tier {
        input: Some(usd(1.2)),
        cache_read: Some(usd(0.6)),
        cache_read_audio: Some(usd(0.7)),
        ..tier("priority", 4.0)
    };
    let price = Price {
        tiers: vec![own],
        surcharge: times(1.1),
        ..sonnet()
    };
    let usage = Usage {
        input_uncached: tokens(1_000_000),
        cache_read: tokens(1_000_000),
        output: tokens(1_000_000),
        service_tier: Some("priority".into()),
        ..Usage::default()
    };
    assert_eq!(bill(&usage, &price), dollars(1.1 * (1.2 + 0.6 + 60.0)));
    let audio = Usage {
        cache_read_audio: tokens(500_000),
        ..usage
    };
    assert_eq!(
        bill(&audio, &price),
        dollars(1.1 * (1.2 + 0.3 + 0.35 + 60.0))
    );
}

#[test]
fn places_and_tiers_and_long_prompts_multiply() {
    let price = Price {
        long_context: vec![step(10, 2.0, 1.5)],
        tiers: vec![tier("batch", 0.5)],
        geo: vec![("us".to_owned(), times(1.1))],
        ..sonnet()
    };
    let usage = Usage {
        input_uncached: tokens(1_000),
        output: tokens(1_000),
        service_tier: Some("batch".into()),
        geo: Some("us".into()),
        ..Usage::default()
    };
    // 3 · 2 · 0.5 · 1.1 = 3.3 and 15 · 1.5 · 0.5 · 1.1 = 12.375 dollars a million.
    assert_eq!(bill(&usage, &price), NanoUsd(3_300_000 + 12_375_000));
}

#[test]
fn the_sum_is_rounded_once() {
    let price = Price {
        input: TokenPrice(400),
        output: TokenPrice(400),
        cache_read: Some(TokenPrice(400)),
        ..Price::default()
    };
    let usage = |n| Usage {
        input_uncached: tokens(n),
        cache_read: tokens(1),
        output: tokens(1),
        ..Usage::default()
    };
    // 1,200 and 1,600 pico-dollars: rounded line by line both would be nothing.
    assert_eq!(bill(&usage(1), &price), NanoUsd(1));
    assert_eq!(bill(&usage(2), &price), NanoUsd(2));
}

#[test]
fn searches_and_pictures_cost_by_the_piece() {
    let price = Price {
        web_search: Some(NanoUsd(10_000_000)),
        output_image_each: Some(NanoUsd(40_000_000)),
        ..sonnet()
    };
    let usage = Usage {
        web_searches: Some(3),
        output_images: Some(2),
        ..Usage::default()
    };
    assert_eq!(bill(&usage, &price), NanoUsd(110_000_000));
}

#[test]
fn video_costs_by_the_second_and_resolution() {
    let price = Price {
        video_second: vec![
            ("1080p".to_owned(), dollars(0.4)),
            ("4k".to_owned(), dollars(0.6)),
        ],
        ..Price::default()
    };
    let cost = |resolution: Option<&str>| {
        let usage = Usage {
            output_video_millis: Some(8_000),
            output_video_resolution: resolution.map(Into::into),
            ..Usage::default()
        };
        bill(&usage, &price)
    };
    assert_eq!(cost(Some("1080p")), dollars(3.2));
    assert_eq!(cost(Some("4k")), dollars(4.8));
    // What nobody listed costs as the dearest.
    assert_eq!(cost(None), dollars(4.8));
}

#[test]
fn sound_costs_by_the_minute_to_the_nano_dollar() {
    let price = Price {
        audio_minute: Some(dollars(0.006)),
        ..Price::default()
    };
    for (millis, nano) in [(0, 0), (1, 100), (1_000, 100_000), (90_500, 9_050_000)] {
        let usage = Usage {
            input_audio_millis: Some(millis),
            ..Usage::default()
        };
        assert_eq!(bill(&usage, &price), NanoUsd(nano));
    }
    assert_eq!(bill(&Usage::default(), &price), NanoUsd(0));
}

#[test]
fn what_a_cache_keeps_costs_by_the_hour() {
    let price = Price {
        cache_storage_hour: Some(usd(4.5)),
        ..Price::default()
    };
    let half_an_hour = Duration::from_secs(1_800);
    assert_eq!(
        storage(Tokens(1_000_000), half_an_hour, &price),
        dollars(2.25)
    );
    assert_eq!(
        storage(Tokens(1_000_000), half_an_hour, &sonnet()),
        NanoUsd::ZERO
    );
}

#[test]
fn a_price_holds_until_the_day_of_the_next() {
    let later = Price {
        input: usd(1.0),
        ..Price::default()
    };
    let price = Price {
        changes: vec![(WallTime(1_000), later.clone())],
        ..sonnet()
    };
    assert_eq!(price.on(WallTime(999)), &price);
    assert_eq!(price.on(WallTime(1_000)), &later);
}

#[test]
fn nonsense_saturates() {
    let usage = Usage {
        input_uncached: tokens(u64::MAX),
        output: tokens(u64::MAX),
        ..Usage::default()
    };
    assert_eq!(bill(&usage, &sonnet()), NanoUsd(i64::MAX));
}
