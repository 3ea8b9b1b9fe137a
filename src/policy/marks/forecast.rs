//! How likely what is written to a cache is read, as values.

use crate::canon::CacheTtl;
use smallvec::SmallVec;

/// What is expected to follow a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// When the next request of the conversation comes.
    pub next: Gaps,
    /// The same of those after it.
    pub later: Gaps,
    /// The spot behind which the conversation's longest entry should lie, warm.
    pub warm: Option<usize>,
    /// The same of its longest entry with the long life.
    pub base: Option<usize>,
    /// Tokens that lay in short entries alone, times the probability each time that a pause would outlast these and not a long one; since `base`.
    pub exposed: f64,
    /// What the last requests ended with was not there in the ones that followed: an entry at the end would never be read.
    pub tail_breaks: bool,
    /// How often new conversations begin with this prompt's heads, in the order of their spots. What was never seen before is not among them.
    pub heads: SmallVec<[HeadPace; 4]>,
}

/// The probability that another request of the conversation comes within a lifetime, for each that there is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gaps(pub [f64; CacheTtl::ALL.len()]);

impl Gaps {
    #[must_use]
    pub fn within(&self, ttl: CacheTtl) -> f64 {
        self.0[ttl as usize]
    }

    /// The probability that a pause between the two lifetimes comes before one beyond both, or the end, where requests follow each other so.
    #[must_use]
    pub fn pauses(&self, (short, long): (CacheTtl, CacheTtl)) -> f64 {
        let (soon, late) = (self.within(short), self.within(long));
        (late - soon) / (1.0 - soon).max(f64::MIN_POSITIVE)
    }
}

/// A head, and how long it takes from one new conversation that begins with it to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadPace {
    pub spot: usize,
    pub mean_gap_seconds: f64,
    /// New conversations seen, this one included.
    pub starts: u8,
}

impl HeadPace {
    /// Of a head that was never seen, which comes again within the shortest lifetime with probability `p`.
    #[must_use]
    pub(super) fn unseen(spot: usize, p: f64) -> Self {
        let life = CacheTtl::Minutes5.life().as_secs_f64();
        Self {
            spot,
            mean_gap_seconds: -life / (1.0 - p.clamp(1e-6, 1.0 - 1e-6)).ln(),
            starts: 1,
        }
    }

    /// The probability that another conversation begins with it within a lifetime, if they come by chance.
    #[must_use]
    pub fn within(&self, ttl: CacheTtl) -> f64 {
        // What was seen once comes again at once or not at all: nothing is known of longer times.
        let ttl = if self.starts > 1 {
            ttl
        } else {
            CacheTtl::Minutes5
        };
        1.0 - (-ttl.life().as_secs_f64() / self.mean_gap_seconds.max(1.0)).exp()
    }
}

/// Kinds of requests, by which it is learned when the next one comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The first of its conversation, without tools: most are the only one.
    Opening,
    /// The same with tools: agents begin so, and so do extractions.
    OpeningWithTools,
    /// A person said something in a conversation.
    AfterWords,
    /// The same, and what was said is much of the prompt: a new text to talk of, or the conversation told anew.
    AfterMuch,
    /// A program brought a tool's result.
    AfterTool,
    /// No request, but how one begins that begins like none before: whether another conversation begins so, as when an agent fans out.
    NewHead,
}

impl Class {
    pub(super) const COUNT: usize = 6;

    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Opening,
        Self::OpeningWithTools,
        Self::AfterWords,
        Self::AfterMuch,
        Self::AfterTool,
        Self::NewHead,
    ];

    /// What is believed before anything was seen. After an answer that ends a turn 40.5 % of agents' next requests come later than five minutes,
    /// after one that calls a tool 3 % (sessions of a coding agent); of openings without tools few are gone on with.
    pub(super) fn before(self) -> Gaps {
        Gaps(match self {
            Self::Opening => [0.15, 0.25, 0.28, 0.30, 0.32],
            Self::OpeningWithTools => [0.50, 0.60, 0.65, 0.70, 0.72],
            Self::AfterWords => [0.50, 0.62, 0.70, 0.75, 0.78],
            Self::NewHead => [0.10, 0.12, 0.15, 0.20, 0.25],
            Self::AfterMuch => [0.30, 0.40, 0.45, 0.48, 0.50],
            Self::AfterTool => [0.90, 0.93, 0.95, 0.96, 0.97],
        })
    }
}

/// When the next request comes after one of each class, as it was seen: for each lifetime, of how many it came within it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits([[Seen; CacheTtl::ALL.len()]; Class::COUNT]);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    came: f32,
    all: f32,
}

impl Default for Habits {
    fn default() -> Self {
        Self([[Seen::default(); CacheTtl::ALL.len()]; Class::COUNT])
    }
}

impl Habits {
    /// Of one request, once for each lifetime: whether the next came within it.
    pub(super) fn saw(&mut self, class: usize, ttl: CacheTtl, came: bool) {
        if let Some(seen) = self.0.get_mut(class).map(|of| &mut of[ttl as usize]) {
            seen.came = seen.came * FADE + f32::from(u8::from(came));
            seen.all = seen.all * FADE + 1.0;
        }
    }

    pub(super) fn gaps(&self, class: Class) -> Gaps {
        let (before, mut gaps) = (class.before(), Gaps::default());
        let mut least = 0.0_f64;
        for ttl in CacheTtl::ALL {
            let at = ttl as usize;
            let seen = self.0[class as usize][at];
            let came = f64::from(seen.came) + BELIEVED * before.0[at];
            // What came within five minutes came within an hour, though that is learned later.
            least = least.max(came / (f64::from(seen.all) + BELIEVED));
            gaps.0[at] = least;
        }
        gaps
    }
}

/// Observations that the prior is worth.
const BELIEVED: f64 = 4.0;
/// An observation counts half after 230 others.
const FADE: f32 = 0.997;
