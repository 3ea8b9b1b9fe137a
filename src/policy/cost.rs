//! What serving a request somewhere is expected to cost: one sum of money, term by term.
//!
//! `input + output + delay + headroom + risk + future`. All terms are nano-dollars, so that each can be shown beside the others and the least
//! sum is the decision. Knows no tables: what is believed of caches, lengths, times and failures comes as values.

use crate::base::{NanoUsd, Tokens};
use crate::canon::{CacheTtl, Usage};
use crate::policy::bill::{Price, bill};
use crate::policy::estimate::{FirstToken, Pace};
use std::time::Duration;

/// Input tokens of so many bytes of prompt. Four bytes a token is the providers' own rule of thumb for English; what is wrong with it is
/// settled from the provider's usage, and the same for all candidates.
#[must_use]
pub fn tokens_of_bytes(bytes: usize) -> Tokens {
    Tokens((bytes as u64).div_ceil(4))
}

/// Output to be expected: half of what the client allows, at most so much as most answers have. Before anything was seen of the model.
#[must_use]
pub fn output_of(max_output: Option<u64>) -> Tokens {
    // 500: the order of magnitude of answers in the Azure 2023 conversation trace (mean 211) and of agents (mean 400 to 600).
    Tokens(max_output.map_or(500, |most| (most / 2).min(500)))
}

/// How likely a conversation's next turn still finds its prompt warm. Of 44,758 gaps between requests of agents' sessions 93 % were under five
/// minutes (Claude Code traces).
pub const NEXT_IS_WARM: f64 = 0.93;

/// The sum, term by term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The prompt: what is read from the cache, written to it, and neither.
    pub input: NanoUsd,
    pub output: NanoUsd,
    /// What the time is worth until the answer is whole, once it is sent.
    pub delay: NanoUsd,
    /// The shadow price of the limits' headroom that it takes.
    pub headroom: NanoUsd,
    /// What a failure costs, times how likely it is.
    pub risk: NanoUsd,
    /// What the conversation's later turns are expected to cost, given where its prompt then lies.
    pub future: NanoUsd,
}

impl Terms {
    /// What is billed for this request alone.
    #[must_use]
    pub fn bill(&self) -> NanoUsd {
        self.input + self.output
    }

    #[must_use]
    pub fn total(&self) -> NanoUsd {
        self.named().into_iter().map(|(_, term)| term).sum()
    }

    /// Each term with its name, in the order of the sum.
    #[must_use]
    pub fn named(&self) -> [(&'static str, NanoUsd); 6] {
        [
            ("input", self.input),
            ("output", self.output),
            ("delay", self.delay),
            ("headroom", self.headroom),
            ("risk", self.risk),
            ("future", self.future),
        ]
    }
}

/// What is known of a request at one place before it is answered.
#[derive(Clone, Copy, Debug)]
pub struct Prospect<'a> {
    pub price: &'a Price,
    /// The whole prompt.
    pub input: Tokens,
    /// The longest prefix that should be in the cache there.
    pub cached: Tokens,
    /// How likely it is in fact, from 0 to 1.
    pub warm: f64,
    /// Up to where the prompt will be in the cache afterwards, and by which lifetime that is billed; zero where nothing is written.
    pub written: Tokens,
    pub ttl: Option<CacheTtl>,
    pub output: Tokens,
    /// Of the place: when its answers begin, and how fast they go on.
    pub first: &'a FirstToken,
    pub pace: &'a Pace,
    /// How much longer it takes for those who are ahead; 1 is no longer.
    pub crowded: f64,
    /// How likely a call fails there, from 0 to 1.
    pub fails: f64,
    /// What a second is worth.
    pub second: NanoUsd,
}

impl Prospect<'_> {
    /// What the prompt costs where nothing of it is in the cache.
    fn cold(&self) -> NanoUsd {
        self.prompt_with(Tokens::ZERO)
    }

    /// What it costs with the cache as it is believed to be, where it is `cold` without.
    fn prompt(&self, cold: NanoUsd) -> NanoUsd {
        if self.cached == Tokens::ZERO || self.warm <= 0.0 {
            return cold;
        }
        weighed(self.prompt_with(self.cached), cold, self.warm)
    }

    fn prompt_with(&self, read: Tokens) -> NanoUsd {
        let written = Tokens(self.written.0.saturating_sub(read.0));
        let uncached = Tokens(self.input.0.saturating_sub(read.0.max(self.written.0)));
        bill(&prompt_usage(read, written, self.ttl, uncached), self.price)
    }

    /// Tokens that are expected to be read from the cache.
    #[must_use]
    pub fn read(&self) -> Tokens {
        Tokens((self.cached.0 as f64 * self.warm.clamp(0.0, 1.0)) as u64)
    }

    /// All terms but headroom and future, which need more than one place; and what the cache is expected to save of the prompt's price. Two bills,
    /// three where something is cached.
    #[must_use]
    pub fn terms(&self) -> (Terms, NanoUsd) {
        let output = Usage {
            output: Some(self.output),
            ..Usage::default()
        };
        let begins = self.begins();
        let cold = self.cold();
        let input = self.prompt(cold);
        let saves = NanoUsd(cold.0 - input.0);
        let terms = Terms {
            input,
            output: bill(&output, self.price),
            delay: worth(begins + self.pace.expected(self.output), self.second),
            headroom: NanoUsd::ZERO,
            risk: self.risk(begins, saves),
            future: NanoUsd::ZERO,
        };
        (terms, saves)
    }

    fn begins(&self) -> Duration {
        let uncached = Tokens(self.input.0.saturating_sub(self.read().0));
        self.first.expected(uncached).mul_f64(self.crowded.max(1.0))
    }

    /// A failed call cost the time that it took, and the next place has the prompt cold.
    fn risk(&self, begins: Duration, saves: NanoUsd) -> NanoUsd {
        let lost = worth(begins, self.second) + NanoUsd(saves.0.max(0));
        NanoUsd((lost.0 as f64 * self.fails.clamp(0.0, 1.0)) as i64)
    }

    /// What one more turn of the conversation costs where its prompt lies warm: all of it read, what it grew by written.
    #[must_use]
    pub fn turn(&self, warm: f64) -> NanoUsd {
        let next = Self {
            input: self.input + self.output,
            cached: self.written,
            warm,
            written: if self.written == Tokens::ZERO {
                Tokens::ZERO
            } else {
                self.input + self.output
            },
            ..*self
        };
        let (terms, _) = next.terms();
        terms.bill() + terms.delay
    }

    /// What it costs to come here later with the conversation's prompt, which lies elsewhere: all of it written instead of read.
    #[must_use]
    pub fn arrival(&self) -> NanoUsd {
        if self.written == Tokens::ZERO {
            return NanoUsd::ZERO;
        }
        let warm = self.prompt_with(self.written);
        NanoUsd((self.cold().0 - warm.0).max(0))
    }
}

/// Whether a prompt that another request is writing just now is worth waiting for, and how long that is likely to take: its answer begins after
/// `begins` at the mean, and `age` of that has passed. `now` is the sum without waiting, `then` with what it writes warm.
#[must_use]
pub fn hold(
    (now, then): (NanoUsd, NanoUsd),
    begins: Duration,
    age: Duration,
    second: NanoUsd,
) -> Option<Duration> {
    // First bytes have a long tail: what is overdue takes a quarter of its mean more, again and again.
    let left = begins.saturating_sub(age).max(begins / 4);
    (then + worth(left, second) < now).then_some(left)
}

/// The future of each place: so many more turns there, or at another from the next turn on, whichever is less. In place, by the order of `of`.
/// `of`: what a turn costs there, and what it costs to come there later.
pub fn futures(turns: f64, of: &[(NanoUsd, NanoUsd)], tell: &mut impl FnMut(usize, NanoUsd)) {
    let stay = |turn: NanoUsd| turn.0 as f64 * turns;
    for (at, (turn, _)) in of.iter().enumerate() {
        let elsewhere = of.iter().enumerate().filter(|(other, _)| *other != at);
        let moved = elsewhere.map(|(_, (turn, arrival))| {
            // Who never comes again does not move.
            arrival.0 as f64 * turns.min(1.0) + stay(*turn)
        });
        let least = moved.fold(stay(*turn), f64::min);
        tell(at, NanoUsd(least.min(9e18) as i64));
    }
}

/// What so much time is worth.
#[must_use]
pub fn worth(time: Duration, second: NanoUsd) -> NanoUsd {
    NanoUsd((time.as_secs_f64() * second.0 as f64).min(9e18) as i64)
}

fn weighed(one: NanoUsd, other: NanoUsd, share: f64) -> NanoUsd {
    let share = share.clamp(0.0, 1.0);
    NanoUsd((one.0 as f64 * share + other.0 as f64 * (1.0 - share)).round() as i64)
}

fn prompt_usage(read: Tokens, written: Tokens, ttl: Option<CacheTtl>, uncached: Tokens) -> Usage {
    let some = |tokens: Tokens| (tokens > Tokens::ZERO).then_some(tokens);
    let mut usage = Usage {
        input_uncached: some(uncached),
        cache_read: some(read),
        ..Usage::default()
    };
    let line = match ttl {
        None => &mut usage.cache_write_5m,
        Some(CacheTtl::Minutes5) => &mut usage.cache_write_5m,
        Some(CacheTtl::Minutes30) => &mut usage.cache_write_30m,
        Some(CacheTtl::Hours1) => &mut usage.cache_write_1h,
        Some(CacheTtl::Hours12 | CacheTtl::Hours24) => &mut usage.cache_write_12h,
    };
    *line = some(written);
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::TokenPrice;

    /// $5 and $25 a million; a tenth for what is read, a quarter more for what is written.
    fn price() -> Price {
        Price {
            input: TokenPrice(5_000_000),
            output: TokenPrice(25_000_000),
            cache_read: Some(TokenPrice(500_000)),
            cache_write_5m: Some(TokenPrice(6_250_000)),
            cache_write_1h: Some(TokenPrice(10_000_000)),
            ..Price::default()
        }
    }

    const FIRST: FirstToken = FirstToken::UNSEEN;
    const PACE: Pace = Pace::UNSEEN;

    fn prospect(price: &Price) -> Prospect<'_> {
        Prospect {
            price,
            input: Tokens(100_000),
            cached: Tokens(90_000),
            warm: 1.0,
            written: Tokens(100_000),
            ttl: Some(CacheTtl::Minutes5),
            output: Tokens(400),
            first: &FIRST,
            pace: &PACE,
            crowded: 1.0,
            fails: 0.0,
            second: NanoUsd::ZERO,
        }
    }

    #[test]
    fn the_input_is_what_is_read_what_is_written_and_the_rest() {
        let price = price();
        let warm = prospect(&price);
        // 90,000 at $0.5 and 10,000 at $6.25 a million.
        assert_eq!(warm.terms().0.input, NanoUsd(45_000_000 + 62_500_000));
        let cold = Prospect { warm: 0.0, ..warm };
        assert_eq!(cold.terms().0.input, NanoUsd(625_000_000));
        let half = Prospect { warm: 0.5, ..warm };
        assert_eq!(
            half.terms().0.input,
            NanoUsd((107_500_000 + 625_000_000) / 2)
        );
        let unmarked = Prospect {
            written: Tokens::ZERO,
            ..cold
        };
        assert_eq!(unmarked.terms().0.input, NanoUsd(500_000_000));
        let hour = Prospect {
            ttl: Some(CacheTtl::Hours1),
            ..cold
        };
        assert_eq!(hour.terms().0.input, NanoUsd(1_000_000_000));
        assert_eq!(warm.terms().0.output, NanoUsd(10_000_000));
        assert_eq!(warm.terms().0.bill(), NanoUsd(117_500_000));
    }

    #[test]
    fn time_has_its_price_and_a_cache_saves_time() {
        let price = price();
        let second = NanoUsd(10_000_000);
        let warm = Prospect {
            second,
            ..prospect(&price)
        };
        let cold = Prospect { warm: 0.0, ..warm };
        // 90,000 tokens of prefill less, at 20,000 a second.
        let saved = worth(Duration::from_millis(4_500), second);
        assert_eq!(cold.terms().0.delay, warm.terms().0.delay + saved);
        let crowded = Prospect {
            crowded: 2.0,
            ..warm
        };
        assert!(crowded.terms().0.delay > warm.terms().0.delay);
    }

    #[test]
    fn what_fails_costs_its_time_and_the_cold_prompt_elsewhere() {
        let price = price();
        let sure = prospect(&price);
        assert_eq!(sure.terms().0.risk, NanoUsd::ZERO);
        let shaky = Prospect { fails: 0.1, ..sure };
        // A tenth of $0.625 less $0.1075.
        assert_eq!(shaky.terms().0.risk, NanoUsd(51_750_000));
    }

    #[test]
    fn a_conversation_that_goes_on_begins_where_its_turns_are_cheap() {
        let cached = price();
        let plain = Price {
            input: TokenPrice(4_500_000),
            output: TokenPrice(25_000_000),
            ..Price::default()
        };
        let first = Prospect {
            cached: Tokens::ZERO,
            warm: 0.0,
            ..prospect(&cached)
        };
        let other = Prospect {
            price: &plain,
            written: Tokens::ZERO,
            ttl: None,
            ..first
        };
        assert!(
            first.terms().0.total() > other.terms().0.total(),
            "a write costs"
        );
        let of = [
            (first.turn(0.97), first.arrival()),
            (other.turn(0.97), other.arrival()),
        ];
        let mut sums = [first.terms().0.total(), other.terms().0.total()];
        futures(3.0, &of, &mut |at, future| sums[at] += future);
        assert!(sums[0] < sums[1], "{sums:?}");
        let mut sums = [first.terms().0.total(), other.terms().0.total()];
        futures(0.0, &of, &mut |at, future| sums[at] += future);
        assert!(sums[0] > sums[1], "one that does not go on: {sums:?}");
    }

    #[test]
    fn a_prompt_that_another_writes_is_waited_for_while_that_is_cheaper() {
        let second = NanoUsd(10_000_000);
        let (cold, warm) = (NanoUsd(125_000_000), NanoUsd(10_000_000));
        let hold = |begins, age| {
            let (begins, age) = (Duration::from_millis(begins), Duration::from_millis(age));
            hold((cold, warm), begins, age, second).map(|time| time.as_millis())
        };
        // ROUTING 1.5: 20,000 tokens at $5 a million and $0.01 a second are worth 11.5 s.
        assert_eq!(hold(2_000, 500), Some(1_500));
        assert_eq!(hold(11_000, 0), Some(11_000));
        assert_eq!(hold(12_000, 0), None);
        assert_eq!(hold(12_000, 1_000), Some(11_000));
        assert_eq!(hold(2_000, 60_000), Some(500), "overdue");
    }

    #[test]
    fn the_future_is_never_dearer_than_moving_later() {
        let of = [(NanoUsd(100), NanoUsd(5)), (NanoUsd(10), NanoUsd(30))];
        let mut told = Vec::new();
        futures(10.0, &of, &mut |_, future| told.push(future));
        assert_eq!(told, [NanoUsd(130), NanoUsd(100)]);
    }
}
