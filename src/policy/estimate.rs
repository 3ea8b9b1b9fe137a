//! What answers have been like, to say what the next will be: how long, how soon it begins, how fast it goes on.
//!
//! Learned from what was billed and seen, forgotten at the pace of what comes after; before anything was seen, what public traces say.
//! Knows nothing of who asked: whoever keeps these values decides what they are kept by.

use crate::base::Tokens;
use std::time::Duration;

/// Lengths of answers: a histogram whose buckets grow by a fifth, and whose past fades. 300 bytes.
#[derive(Clone, Debug)]
pub struct Lengths {
    counts: [f32; BUCKETS],
    total: f32,
}

/// Four buckets to a doubling, up to half a million tokens.
const BUCKETS: usize = 76;
const A_DOUBLING: f64 = 4.0;
/// After so many answers the older half counts half.
const FADES_AT: f32 = 512.0;
/// What is believed before anything was seen weighs as much as so many answers.
const BELIEVED: f32 = 4.0;
/// Median 217, p90 878 in agents' sessions; median 129, p90 424 in chats (Azure 2023, Claude Code traces).
const BEFORE: [(u64, f32); 3] = [(130, 0.3), (260, 0.4), (880, 0.3)];

impl Default for Lengths {
    fn default() -> Self {
        let mut lengths = Self {
            counts: [0.0; BUCKETS],
            total: 0.0,
        };
        for (tokens, share) in BEFORE {
            lengths.add(Tokens(tokens), share * BELIEVED);
        }
        lengths
    }
}

impl Lengths {
    /// An answer had so many tokens.
    pub fn saw(&mut self, tokens: Tokens) {
        if self.total >= FADES_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2.0);
            self.total /= 2.0;
        }
        self.add(tokens, 1.0);
    }

    fn add(&mut self, tokens: Tokens, weight: f32) {
        self.counts[bucket(tokens)] += weight;
        self.total += weight;
    }

    /// The mean of answers of which none may be longer than `most`.
    #[must_use]
    pub fn expected(&self, most: Option<Tokens>) -> Tokens {
        let most = most.map_or(f64::INFINITY, |most| most.0 as f64);
        let sum: f64 = self
            .occupied()
            .map(|(at, count)| middle(at).min(most) * count)
            .sum();
        Tokens((sum / f64::from(self.total)).round() as u64)
    }

    /// So many tokens or fewer has the share `share` of answers, none longer than `most`.
    #[must_use]
    pub fn quantile(&self, share: f64, most: Option<Tokens>) -> Tokens {
        let wanted = share.clamp(0.0, 1.0) * f64::from(self.total);
        let mut passed = 0.0;
        let mut last = 0;
        for (at, count) in self.occupied() {
            (passed, last) = (passed + count, at);
            if passed >= wanted {
                break;
            }
        }
        let tokens = Tokens(middle(last).round() as u64);
        most.map_or(tokens, |most| tokens.min(most))
    }

    fn occupied(&self) -> impl Iterator<Item = (usize, f64)> {
        let all = self.counts.iter().enumerate();
        all.filter(|(_, count)| **count > 0.0)
            .map(|(at, count)| (at, f64::from(*count)))
    }
}

fn bucket(tokens: Tokens) -> usize {
    let place = ((tokens.0 as f64 + 1.0).log2() * A_DOUBLING) as usize;
    place.min(BUCKETS - 1)
}

/// Of the lengths that a bucket stands for.
fn middle(bucket: usize) -> f64 {
    ((bucket as f64 + 0.5) / A_DOUBLING).exp2() - 1.0
}

/// When the first token comes: a fixed part, and a part for each token that is not read from a cache. Recursive least squares with a
/// memory of a hundred answers; what is far off counts as no more than a little off, since queues of a provider have long tails.
#[derive(Clone, Copy, Debug)]
pub struct FirstToken {
    /// Seconds.
    fixed: f64,
    /// Seconds for each thousand tokens.
    each: f64,
    /// The inverse of what was seen, as least squares keeps it: symmetric.
    spread: [f64; 3],
    /// How far off answers usually are, in seconds.
    off: f64,
}

impl FirstToken {
    /// One second, and 20,000 tokens a second.
    pub const UNSEEN: Self = Self {
        fixed: 1.0,
        each: 0.05,
        spread: [1.0, 0.0, 0.01],
        off: 0.5,
    };
}

impl Default for FirstToken {
    fn default() -> Self {
        Self::UNSEEN
    }
}

/// Of what was known, so much is left after one more answer.
const KEPT: f64 = 0.99;
/// Answers that are further off than so many times what is usual are taken as that far off.
const FAR: f64 = 4.0;

impl FirstToken {
    /// An answer to a prompt with so much that was not cached began after `time`.
    pub fn saw(&mut self, uncached: Tokens, time: Duration) {
        let x = thousands(uncached);
        let off = time.as_secs_f64() - self.fixed - self.each * x;
        self.off += 0.05 * (off.abs().min(FAR * 4.0 * self.off) - self.off);
        let off = off.clamp(-FAR * self.off, FAR * self.off);
        let [a, b, c] = self.spread;
        let (to_fixed, to_each) = (a + b * x, b + c * x);
        // Never below what is kept, but for what rounding makes of a sum of squares.
        let scale = KEPT + (to_fixed + to_each * x).max(0.0);
        self.fixed += off * to_fixed / scale;
        self.each += off * to_each / scale;
        self.spread = [
            (a - to_fixed * to_fixed / scale) / KEPT,
            (b - to_fixed * to_each / scale) / KEPT,
            (c - to_each * to_each / scale) / KEPT,
        ];
        self.bound_spread();
        // Neither part is below zero, and both together still say what this answer taught.
        let said = (self.fixed + self.each * x).max(0.0);
        if self.each < 0.0 {
            (self.fixed, self.each) = (said, 0.0);
        } else if self.fixed < 0.0 {
            (self.fixed, self.each) = (0.0, said / x.max(1e-3));
        }
    }

    /// Prompts that are all alike teach one of the two numbers only; what is unknown of the other must not grow without end. What it
    /// says of both together is kept possible: otherwise squares turn negative, and what is learned has no bound.
    fn bound_spread(&mut self) {
        let [a, b, c] = self.spread.map(|s| if s.is_finite() { s } else { 0.0 });
        let (a, c) = (a.clamp(1e-9, 10.0), c.clamp(1e-12, 1.0));
        let most = (a * c).sqrt();
        self.spread = [a, b.clamp(-most, most), c];
    }

    /// From when on it is overdue: later than nearly all.
    #[must_use]
    pub fn overdue(&self, uncached: Tokens) -> Duration {
        self.expected(uncached) + Duration::from_secs_f64((FAR * self.off).clamp(0.0, 600.0))
    }

    /// When it is to be expected; never before the fixed part, which is never below zero.
    #[must_use]
    pub fn expected(&self, uncached: Tokens) -> Duration {
        let seconds = self.fixed + self.each * thousands(uncached);
        Duration::from_secs_f64(seconds.min(600.0))
    }
}

fn thousands(tokens: Tokens) -> f64 {
    tokens.0 as f64 / 1000.0
}

/// Time from one token to the next, once an answer has begun.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    seconds: f64,
}

impl Pace {
    /// Fifty tokens a second.
    pub const UNSEEN: Self = Self { seconds: 0.02 };
}

impl Default for Pace {
    fn default() -> Self {
        Self::UNSEEN
    }
}

impl Pace {
    /// So many tokens came in `time` after the first. Longer answers say more.
    pub fn saw(&mut self, tokens: Tokens, time: Duration) {
        if tokens.0 < 2 {
            return;
        }
        let each = time.as_secs_f64() / tokens.0 as f64;
        let weight = (tokens.0 as f64 / 4000.0).min(0.2);
        self.seconds += weight * (each.min(5.0) - self.seconds);
    }

    #[must_use]
    pub fn expected(&self, tokens: Tokens) -> Duration {
        Duration::from_secs_f64((self.seconds * tokens.0 as f64).min(3600.0))
    }
}

/// How requests of one kind go: how long their answers are, and whether their conversations go on.
#[derive(Clone, Debug, Default)]
pub struct Habit {
    pub lengths: Lengths,
    /// Share of requests that go on with a conversation; the same share has another after it.
    goes_on: f64,
}

/// What one request says of whether conversations go on, against all before it.
const GOES_ON_WEIGHT: f64 = 0.02;
/// No conversation is expected to go on for longer: prices and models change, and a mean over few says little.
const TURNS_MAX: f64 = 20.0;

impl Habit {
    /// A request came, and went on with a conversation or began one.
    pub fn saw_begin(&mut self, goes_on: bool) {
        let new = f64::from(u8::from(goes_on));
        self.goes_on += GOES_ON_WEIGHT * (new - self.goes_on);
    }

    /// Turns that are expected to follow a request.
    #[must_use]
    pub fn turns(&self) -> f64 {
        let goes_on = self.goes_on.clamp(0.0, 0.99);
        (goes_on / (1.0 - goes_on)).min(TURNS_MAX)
    }
}

/// What a token that we count by bytes is in a provider's tokens: 1 is four bytes a token. Texts and tokenizers differ by a half either way.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    times: f64,
}

impl Default for Weight {
    fn default() -> Self {
        Self { times: 1.0 }
    }
}

impl Weight {
    /// A prompt that was counted as `counted` was billed as `billed`. Long prompts say more.
    pub fn saw(&mut self, counted: Tokens, billed: Tokens) {
        if counted == Tokens::ZERO || billed == Tokens::ZERO {
            return;
        }
        let times = (billed.0 as f64 / counted.0 as f64).clamp(0.1, 10.0);
        let weight = (counted.0 as f64 / 50_000.0).clamp(0.001, 0.1);
        self.times += weight * (times - self.times);
    }

    /// In the provider's tokens.
    #[must_use]
    pub fn of(&self, counted: Tokens) -> Tokens {
        Tokens((counted.0 as f64 * self.times).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn near(got: f64, want: f64, part: f64) {
        assert!((got / want - 1.0).abs() < part, "{got} for {want}");
    }

    #[test]
    fn lengths_come_to_what_was_seen_and_follow_a_change() {
        let mut lengths = Lengths::default();
        near(lengths.expected(None).0 as f64, 420.0, 0.15);
        let mut rng = Rng::seeded(1);
        for mean in [2_000.0, 60.0] {
            let mut sum = 0.0;
            for _ in 0..4_000 {
                let tokens = (-rng.unit().max(1e-9).ln() * mean) as u64;
                lengths.saw(Tokens(tokens));
                sum += tokens as f64;
            }
            near(lengths.expected(None).0 as f64, sum / 4_000.0, 0.15);
            // Of an exponential distribution.
            near(lengths.quantile(0.5, None).0 as f64, mean * 0.693, 0.25);
            near(lengths.quantile(0.9, None).0 as f64, mean * 2.303, 0.25);
        }
    }

    #[test]
    fn no_length_is_above_what_the_client_allows() {
        let mut lengths = Lengths::default();
        for tokens in [0, 1, 1 << 20, u64::MAX] {
            lengths.saw(Tokens(tokens));
        }
        assert!(lengths.expected(Some(Tokens(10))) <= Tokens(10));
        assert_eq!(lengths.quantile(1.0, Some(Tokens(10))), Tokens(10));
        assert_eq!(lengths.expected(Some(Tokens(0))), Tokens(0));
    }

    #[test]
    fn the_first_token_is_expected_by_what_is_not_cached() {
        let mut rng = Rng::seeded(2);
        let mut first = FirstToken::default();
        for round in 0..600 {
            let uncached = rng.below(150_000);
            let noise = 0.1 * (rng.unit() - 0.5);
            // One in thirty waits in a queue for half a minute.
            let queue = if round % 30 == 0 { 30.0 } else { 0.0 };
            let seconds = 0.4 + uncached as f64 / 8_000.0 + noise + queue;
            first.saw(Tokens(uncached), Duration::from_secs_f64(seconds));
        }
        for uncached in [0, 10_000, 150_000] {
            let want = 0.4 + uncached as f64 / 8_000.0;
            let got = first.expected(Tokens(uncached)).as_secs_f64();
            assert!((got - want).abs() < 0.3 + 0.1 * want, "{got} for {want}");
        }
    }

    #[test]
    fn prompts_that_are_all_alike_break_nothing() {
        let mut first = FirstToken::default();
        for _ in 0..100_000 {
            first.saw(Tokens(5_000), Duration::from_millis(700));
        }
        near(first.expected(Tokens(5_000)).as_secs_f64(), 0.7, 0.05);
        for _ in 0..300 {
            first.saw(Tokens(100_000), Duration::from_secs(10));
            first.saw(Tokens(0), Duration::from_millis(500));
        }
        near(first.expected(Tokens(100_000)).as_secs_f64(), 10.0, 0.1);
    }

    #[test]
    fn the_pace_follows_what_is_seen() {
        let mut pace = Pace::default();
        for _ in 0..200 {
            pace.saw(Tokens(400), Duration::from_secs(4));
            pace.saw(Tokens(1), Duration::from_secs(60));
        }
        near(pace.expected(Tokens(1_000)).as_secs_f64(), 10.0, 0.02);
    }

    #[test]
    fn tokens_are_weighed_as_they_are_billed() {
        let mut weight = Weight::default();
        for _ in 0..100 {
            weight.saw(Tokens(40_000), Tokens(52_000));
            weight.saw(Tokens(10), Tokens(1_000));
            weight.saw(Tokens(0), Tokens(9));
        }
        near(weight.of(Tokens(1_000)).0 as f64, 1_300.0, 0.1);
    }

    #[test]
    fn prompts_that_are_all_alike_teach_for_ever_and_break_nothing() {
        let mut rng = Rng::seeded(5);
        for tokens in [1, 250, 5_000, 200_000] {
            let mut first = FirstToken::UNSEEN;
            for _ in 0..300_000 {
                let noise = 0.001 * rng.unit();
                first.saw(Tokens(tokens), Duration::from_secs_f64(0.000_2 + noise));
            }
            let expected = first.expected(Tokens(tokens)).as_secs_f64();
            assert!((0.0..0.01).contains(&expected), "{tokens}: {first:?}");
            // And something else is believed soon.
            for _ in 0..300 {
                first.saw(Tokens(tokens * 3), Duration::from_secs(2));
            }
            near(first.expected(Tokens(tokens * 3)).as_secs_f64(), 2.0, 0.2);
        }
    }

    #[test]
    fn as_many_turns_follow_as_conversations_have_in_the_end() {
        let mut habit = Habit::default();
        assert_eq!(habit.turns(), 0.0, "nothing was seen");
        for request in 0..2_000 {
            // Conversations of five: four of five requests go on.
            habit.saw_begin(request % 5 > 0);
        }
        near(habit.turns(), 4.0, 0.15);
        (0..2_000).for_each(|_| habit.saw_begin(true));
        assert_eq!(habit.turns(), TURNS_MAX);
    }
}
