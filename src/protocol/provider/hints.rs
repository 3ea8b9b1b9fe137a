//! Rate-limit headers → what is left and when it returns.
//!
//! One total function for all families of headers, since gateways in between speak any of them. What does not parse was not said. Decides
//! nothing: how long to wait is policy's. What a refusal's body adds is read by `refusal`. Google and AWS say nothing in headers.

use crate::base::WallTime;
use crate::protocol::provider::Headers;
use crate::protocol::provider::when::{seconds, until, wait};
use std::time::Duration;

/// What an answer's headers say about limits. `None`: not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    /// When this was read: what a refusal's body says of a day is relative to it.
    pub read_at: WallTime,
    pub requests: Option<Limit>,
    /// All tokens, or whichever token limit is tightest.
    pub tokens: Option<Limit>,
    /// Input that no cache held.
    pub input_tokens: Option<Limit>,
    pub output_tokens: Option<Limit>,
    /// All input, cached or not (Fireworks).
    pub prompt_tokens: Option<Limit>,
    /// Anthropic's Priority Tier and fast mode, which have budgets of their own: input, output.
    pub priority: [Option<Limit>; 2],
    pub fast: [Option<Limit>; 2],
    /// A fixed window that ends all at once, unlike a bucket that refills: with nothing left, only its end helps (OpenRouter, Together).
    pub window: Option<Limit>,
    /// `x-ratelimit-over-limit`: answered, but above what the account is promised (Fireworks).
    pub over_limit: Option<bool>,
    pub retry_after: Option<Duration>,
    /// `x-should-retry`, which the official clients obey over everything else.
    pub should_retry: Option<bool>,
}

/// One bucket as the provider sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    /// From now until the bucket is full again.
    pub full_in: Option<Duration>,
}

/// Reads all headers that speak of limits, whoever wrote them. `now` is what dates are relative to. One pass, without an allocation.
#[must_use]
pub fn read(headers: &Headers, now: WallTime) -> Hints {
    let mut told = Told::default();
    for (name, value) in headers.iter() {
        told.header(name, value, now);
    }
    told.hints(now)
}

/// The buckets that are spoken of under names of their own.
#[derive(Clone, Copy)]
enum Bucket {
    Requests,
    RequestsDay,
    Tokens,
    /// A project's own limit may be below the organisation's (OpenAI docs, rate limits, read 2026-08).
    ProjectTokens,
    TokensDay,
    AnthropicRequests,
    AnthropicTokens,
    Input,
    Output,
    Prompt,
    UncachedPrompt,
    Generated,
    PriorityInput,
    PriorityOutput,
    FastInput,
    FastOutput,
    Window,
}

const BUCKETS: usize = Bucket::Window as usize + 1;

#[derive(Clone, Copy)]
enum Part {
    Limit,
    Remaining,
    Reset,
}

/// What was found so far.
#[derive(Default)]
struct Told {
    buckets: [Limit; BUCKETS],
    retry_after: Option<Duration>,
    retry_after_ms: Option<Duration>,
    /// Anthropic's subscriptions: refused until then.
    unified_rejected: bool,
    unified_reset: Option<Duration>,
    should_retry: Option<bool>,
    over_limit: Option<bool>,
}

impl Told {
    fn header(&mut self, name: &[u8], value: &[u8], now: WallTime) {
        // The longest name of ours has 48 letters; most headers are passed over by their first.
        let mut low = [0u8; 64];
        let Some(low) = low.get_mut(..name.len()) else {
            return;
        };
        if !matches!(name.first(), Some(b'x' | b'X' | b'r' | b'R' | b'a' | b'A')) {
            return;
        }
        low.copy_from_slice(name);
        low.make_ascii_lowercase();
        let (Ok(name), Ok(value)) = (std::str::from_utf8(low), std::str::from_utf8(value)) else {
            return;
        };
        let value = value.trim();
        match name {
            "retry-after" => self.retry_after = wait(value, now),
            "retry-after-ms" => self.retry_after_ms = seconds(value).map(|ms| ms / 1_000),
            "x-should-retry" => self.should_retry = yes(value),
            "x-ratelimit-over-limit" => self.over_limit = yes(value),
            "anthropic-ratelimit-unified-status" => self.unified_rejected = value == "rejected",
            "anthropic-ratelimit-unified-reset" => self.unified_reset = until(value, now),
            _ => {
                if let Some((bucket, part)) = bucket(name) {
                    self.buckets[bucket as usize].take(part, value, now);
                }
            }
        }
    }

    fn hints(&self, now: WallTime) -> Hints {
        use Bucket as B;
        let get = |bucket: Bucket| {
            let limit = self.buckets[bucket as usize];
            (limit != Limit::default()).then_some(limit)
        };
        let tightest_of = |names: &[Bucket]| names.iter().fold(None, |t, n| tightest(t, get(*n)));
        let unified = self.unified_reset.filter(|_| self.unified_rejected);
        Hints {
            read_at: now,
            requests: tightest_of(&[B::Requests, B::RequestsDay, B::AnthropicRequests, B::Window]),
            tokens: tightest_of(&[
                B::Tokens,
                B::ProjectTokens,
                B::TokensDay,
                B::AnthropicTokens,
            ]),
            input_tokens: get(B::Input)
                .or_else(|| get(B::UncachedPrompt).map(|l| l.a_minute(900_000))),
            output_tokens: get(B::Output).or_else(|| get(B::Generated).map(|l| l.a_minute(36_000))),
            prompt_tokens: get(B::Prompt).map(|l| l.a_minute(3_600_000)),
            priority: [get(B::PriorityInput), get(B::PriorityOutput)],
            fast: [get(B::FastInput), get(B::FastOutput)],
            window: get(B::Window),
            over_limit: self.over_limit,
            // In the order of the official clients: `retry-after-ms`, `retry-after` as a number, as a date (SDK 3.54.0, read 2026-11).
            retry_after: self.retry_after_ms.or(self.retry_after).or(unified),
            should_retry: self.should_retry,
        }
    }
}

impl Limit {
    fn take(&mut self, part: Part, value: &str, now: WallTime) {
        match part {
            Part::Limit => self.limit = count(value),
            Part::Remaining => self.remaining = count(value),
            Part::Reset => self.full_in = until(value, now),
        }
    }

    /// Fireworks documents tokens a second and enforces tokens a minute; which of them a header means shows against what every account begins
    /// with, `start` a minute (fireworks.md 5): limits grow and shrink, but not by sixty.
    fn a_minute(self, start: u64) -> Self {
        if self.limit.is_none_or(|limit| limit >= start / 10) {
            return self;
        }
        Self {
            limit: self.limit.map(|n| n * 60),
            remaining: self.remaining.map(|n| n.saturating_mul(60)),
            ..self
        }
    }
}

/// Which bucket's which part a header speaks of.
fn bucket(name: &str) -> Option<(Bucket, Part)> {
    if let Some(rest) = name.strip_prefix("x-ratelimit-") {
        let (part, rest) = [
            ("limit", Part::Limit),
            ("remaining", Part::Remaining),
            ("reset", Part::Reset),
        ]
        .into_iter()
        .find_map(|(word, part)| Some((part, rest.strip_prefix(word)?)))?;
        return Some((named_last(rest)?, part));
    }
    let rest = name.strip_prefix("anthropic-")?;
    let (family, rest) = rest.split_once('-')?;
    let (bucket, part) = rest.rsplit_once('-')?;
    let part = match part {
        "limit" => Part::Limit,
        "remaining" => Part::Remaining,
        "reset" => Part::Reset,
        _ => return None,
    };
    let bucket = match (family, bucket) {
        ("ratelimit", "requests") => Bucket::AnthropicRequests,
        ("ratelimit", "tokens") => Bucket::AnthropicTokens,
        ("ratelimit", "input-tokens") => Bucket::Input,
        ("ratelimit", "output-tokens") => Bucket::Output,
        ("priority", "input-tokens") => Bucket::PriorityInput,
        ("priority", "output-tokens") => Bucket::PriorityOutput,
        ("fast", "input-tokens") => Bucket::FastInput,
        ("fast", "output-tokens") => Bucket::FastOutput,
        _ => return None,
    };
    Some((bucket, part))
}

/// The bucket of `x-ratelimit-limit…` and its like, by what follows.
fn named_last(rest: &str) -> Option<Bucket> {
    Some(match rest {
        "" => Bucket::Window,
        // Mistral, then Cerebras.
        "-requests" | "-req-minute" | "-requests-minute" => Bucket::Requests,
        "-requests-day" | "-requests-hour" => Bucket::RequestsDay,
        "-tokens" | "-tokens-minute" => Bucket::Tokens,
        "-project-tokens" | "-tokens_usage_based" => Bucket::ProjectTokens,
        "-tokens-day" | "-tokens-hour" => Bucket::TokensDay,
        "-tokens-prompt" => Bucket::Prompt,
        "-tokens-cache-adjusted-prompt" => Bucket::UncachedPrompt,
        "-tokens-generated" => Bucket::Generated,
        _ => return None,
    })
}

fn yes(word: &str) -> Option<bool> {
    match word {
        w if w.eq_ignore_ascii_case("true") || w.eq_ignore_ascii_case("yes") => Some(true),
        w if w.eq_ignore_ascii_case("false") || w.eq_ignore_ascii_case("no") => Some(false),
        _ => None,
    }
}

/// The one with less left; where that is not said, the one with the lower limit.
fn tightest(a: Option<Limit>, b: Option<Limit>) -> Option<Limit> {
    let (Some(x), Some(y)) = (a, b) else {
        return a.or(b);
    };
    let room = |l: Limit| l.remaining.or(l.limit).unwrap_or(u64::MAX);
    Some(if room(y) < room(x) { y } else { x })
}

/// A whole number, which some gateways write as `100.0` or, overdrawn, below zero.
fn count(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| {
        let n: f64 = text.parse().ok()?;
        // A cast of a float saturates: below zero is zero.
        n.is_finite().then_some(n as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    /// 2026-11-23T02:00:00Z
    const NOW: WallTime = WallTime(1_795_399_200_000_000_000);

    fn hints(headers: &[(&str, &str)]) -> Hints {
        read(&headers.iter().copied().collect(), NOW)
    }

    fn secs(s: f64) -> Option<Duration> {
        Some(Duration::from_secs_f64(s))
    }

    #[test]
    fn openai_headers_are_read() {
        let got = hints(&[
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-reset-requests", "6ms"),
            ("x-ratelimit-limit-tokens", "30000000"),
            ("x-ratelimit-remaining-tokens", "29999000"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ]);
        assert_eq!(
            got.requests,
            Some(Limit {
                limit: Some(10_000),
                remaining: Some(9_999),
                full_in: secs(0.006)
            })
        );
        assert_eq!(
            got.tokens,
            Some(Limit {
                limit: Some(30_000_000),
                remaining: Some(29_999_000),
                full_in: secs(360.0)
            })
        );
        assert_eq!((got.retry_after, got.should_retry), (None, None));
    }

    #[test]
    fn the_tightest_token_limit_wins() {
        let own = |remaining| {
            hints(&[
                ("x-ratelimit-limit-tokens", "1000"),
                ("x-ratelimit-remaining-tokens", "500"),
                ("x-ratelimit-limit-project-tokens", "800"),
                ("x-ratelimit-remaining-project-tokens", remaining),
                ("x-ratelimit-reset-project-tokens", "3s"),
            ])
            .tokens
            .expect("said")
        };
        assert_eq!((own("20").limit, own("20").full_in), (Some(800), secs(3.0)));
        assert_eq!((own("501").limit, own("501").full_in), (Some(1000), None));
    }

    #[test]
    fn anthropic_headers_are_read_against_the_wall_clock() {
        let got = hints(&[
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "2026-11-23T02:00:01Z"),
            ("anthropic-ratelimit-input-tokens-limit", "2000000"),
            ("anthropic-ratelimit-input-tokens-remaining", "1000000"),
            (
                "anthropic-ratelimit-input-tokens-reset",
                "2026-11-23T02:00:30Z",
            ),
            ("anthropic-ratelimit-output-tokens-limit", "400000"),
            ("anthropic-ratelimit-output-tokens-remaining", "0"),
            (
                "anthropic-ratelimit-output-tokens-reset",
                "2026-11-23T03:00:30.5+01:00",
            ),
            ("anthropic-ratelimit-tokens-limit", "2400000"),
            ("anthropic-ratelimit-tokens-remaining", "1"),
            ("anthropic-ratelimit-tokens-reset", "2026-11-22T00:00:00Z"),
        ]);
        assert_eq!(got.requests, limit(4_000, 3_999, secs(1.0)));
        assert_eq!(got.input_tokens, limit(2_000_000, 1_000_000, secs(30.0)));
        assert_eq!(got.output_tokens, limit(400_000, 0, secs(30.5)));
        // Past resets are now.
        assert_eq!(got.tokens, limit(2_400_000, 1, secs(0.0)));
    }

    fn limit(
        limit: impl Into<Option<u64>>,
        remaining: impl Into<Option<u64>>,
        full_in: Option<Duration>,
    ) -> Option<Limit> {
        Some(Limit {
            limit: limit.into(),
            remaining: remaining.into(),
            full_in,
        })
    }

    #[test]
    fn budgets_of_the_priority_tier_and_of_fast_mode_are_apart() {
        let got = hints(&[
            ("anthropic-priority-input-tokens-limit", "10000"),
            ("anthropic-priority-input-tokens-remaining", "9618"),
            (
                "anthropic-priority-input-tokens-reset",
                "2026-11-23T02:00:30Z",
            ),
            ("anthropic-priority-output-tokens-remaining", "6000"),
            ("anthropic-fast-output-tokens-limit", "5"),
            ("anthropic-ratelimit-input-tokens-limit", "7"),
        ]);
        assert_eq!(got.priority[0], limit(10_000, 9_618, secs(30.0)));
        assert_eq!(got.priority[1], limit(None, 6_000, None));
        assert_eq!(got.fast, [None, limit(5, None, None)]);
        assert_eq!(
            (got.input_tokens, got.output_tokens),
            (limit(7, None, None), None)
        );
    }

    #[test]
    fn a_subscription_that_is_used_up_says_until_when() {
        let of = |status| {
            hints(&[
                ("anthropic-ratelimit-unified-status", status),
                ("anthropic-ratelimit-unified-reset", "1795399260"),
            ])
            .retry_after
        };
        assert_eq!((of("rejected"), of("allowed")), (secs(60.0), None));
    }

    #[test]
    fn fireworks_counts_prompts_with_and_without_the_cache() {
        for (prompt, uncached, generated) in
            [("60000", "15000", "600"), ("3600000", "900000", "36000")]
        {
            let got = hints(&[
                ("x-ratelimit-limit-tokens-prompt", prompt),
                ("x-ratelimit-limit-tokens-cache-adjusted-prompt", uncached),
                (
                    "x-ratelimit-remaining-tokens-cache-adjusted-prompt",
                    uncached,
                ),
                ("x-ratelimit-limit-tokens-generated", generated),
                ("x-ratelimit-over-limit", "yes"),
            ]);
            assert_eq!(got.prompt_tokens, limit(3_600_000, None, None), "{prompt}");
            assert_eq!(got.input_tokens, limit(900_000, 900_000, None));
            assert_eq!(got.output_tokens, limit(36_000, None, None));
            assert_eq!((got.over_limit, got.tokens), (Some(true), None));
        }
    }

    #[test]
    fn a_window_ends_at_a_point_in_time() {
        // OpenRouter: milliseconds since 1970; Together: seconds from now.
        for (reset, wanted) in [("1795399230000", secs(30.0)), ("2", secs(2.0))] {
            let got = hints(&[
                ("X-RateLimit-Limit", "20"),
                ("X-RateLimit-Remaining", "0"),
                ("X-RateLimit-Reset", reset),
            ]);
            assert_eq!(got.window, limit(20, 0, wanted));
            assert_eq!(got.requests, got.window);
        }
    }

    #[test]
    fn other_speakers_names_for_the_same_are_read() {
        let mistral = hints(&[
            ("x-ratelimit-limit-req-minute", "100"),
            ("x-ratelimit-remaining-req-minute", "98"),
            ("x-ratelimit-limit-tokens-minute", "100000"),
            ("x-ratelimit-remaining-tokens-minute", "99403"),
            ("x-ratelimit-tokens-query-cost", "266"),
        ]);
        assert_eq!(mistral.requests, limit(100, 98, None));
        assert_eq!(mistral.tokens, limit(100_000, 99_403, None));
        let azure = hints(&[
            ("x-ratelimit-limit-requests", "50"),
            ("x-ratelimit-remaining-requests", "49"),
            ("x-ratelimit-reset-requests", "1"),
            ("x-ratelimit-renewalperiod-requests", "60"),
            ("x-ratelimit-abusepenalty-active", "False"),
            ("retry-after-ms", "250"),
            ("retry-after", "1"),
        ]);
        assert_eq!(azure.requests, limit(50, 49, secs(1.0)));
        assert_eq!(azure.retry_after, secs(0.25));
        let groq = hints(&[
            ("x-ratelimit-limit-requests", "14400"),
            ("x-ratelimit-reset-requests", "2m59.56s"),
            ("x-ratelimit-reset-tokens", "7.66s"),
        ]);
        assert_eq!(groq.requests, limit(14_400, None, secs(179.56)));
        assert_eq!(groq.tokens, limit(None, None, secs(7.66)));
        let xai = hints(&[
            ("x-ratelimit-limit-tokens", "10000000"),
            ("x-ratelimit-remaining-tokens", "10000000"),
        ]);
        assert_eq!(xai.tokens, limit(10_000_000, 10_000_000, None));
        let cerebras = hints(&[
            ("x-ratelimit-remaining-requests-day", "3"),
            ("x-ratelimit-remaining-tokens-minute", "9"),
        ]);
        assert_eq!(
            (cerebras.requests, cerebras.tokens),
            (limit(None, 3, None), limit(None, 9, None))
        );
    }

    /// FIELD-BUGS 31: the limit on output was ignored and that on input taken for all tokens.
    #[test]
    fn input_and_output_are_never_taken_for_all_tokens() {
        let got = hints(&[
            ("anthropic-ratelimit-input-tokens-remaining", "5"),
            ("anthropic-ratelimit-output-tokens-remaining", "6"),
        ]);
        assert_eq!(got.tokens, None);
        assert_eq!(got.input_tokens.and_then(|l| l.remaining), Some(5));
        assert_eq!(got.output_tokens.and_then(|l| l.remaining), Some(6));
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        for (name, text, wanted) in [
            ("retry-after", "6", secs(6.0)),
            ("retry-after", "0.25", secs(0.25)),
            ("retry-after", " 3 ", secs(3.0)),
            ("retry-after", "-1", secs(0.0)),
            ("Retry-After", "6", secs(6.0)),
            ("retry-after-ms", "1500", secs(1.5)),
            ("retry-after-ms", "12.5", secs(0.0125)),
            ("retry-after", "Mon, 23 Nov 2026 02:00:10 GMT", secs(10.0)),
            ("retry-after", "Monday, 23-Nov-26 02:00:10 GMT", secs(10.0)),
            ("retry-after", "Mon Nov 23 02:00:10 2026", secs(10.0)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", secs(0.0)),
            ("retry-after", "soon", None),
            ("retry-after", "NaN", None),
            ("retry-after", "inf", None),
            ("retry-after", "1e300", None),
            ("retry-after", "", None),
        ] {
            assert_eq!(hints(&[(name, text)]).retry_after, wanted, "{name}: {text}");
        }
        let both = hints(&[("retry-after", "9"), ("retry-after-ms", "8500")]);
        assert_eq!(both.retry_after, secs(8.5));
        let first_wrong = hints(&[("retry-after", "9"), ("retry-after-ms", "x")]);
        assert_eq!(first_wrong.retry_after, secs(9.0));
    }

    #[test]
    fn should_retry_is_a_word() {
        for (text, wanted) in [("true", Some(true)), ("False", Some(false)), ("1", None)] {
            assert_eq!(hints(&[("x-should-retry", text)]).should_retry, wanted);
        }
    }

    #[test]
    fn counts_may_be_floats_or_overdrawn() {
        assert_eq!(
            (count("100.0"), count("-5"), count("x"), count("")),
            (Some(100), Some(0), None, None)
        );
    }

    #[test]
    fn no_header_panics() {
        let mut rng = Rng::seeded(11);
        for _ in 0..20_000 {
            let text: String = (0..rng.below(30))
                .map(|_| {
                    let from = b"0123456789.:-+TZ smhdu\xc2GMTNovjan,e";
                    char::from(from[rng.below(from.len() as u64) as usize])
                })
                .collect();
            let _ = hints(&[("retry-after", &text), ("x-ratelimit-reset-tokens", &text)]);
            let _ = hints(&[("anthropic-ratelimit-tokens-reset", &text)]);
        }
    }
}
