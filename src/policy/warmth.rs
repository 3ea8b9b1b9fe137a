//! What is believed of prompt caches: which prefixes lie where (`prefix`), and how far that holds (`belief`).
//!
//! Asked before a request is sent, told when it is, when its answer begins, and when it is billed. Knows no prices: `cost` does.

use crate::base::{FixedHasher, Instant, Now, Tokens};
use crate::canon::{CacheTtl, ElementKind};
use crate::policy::belief::{Belief, Drift};
use crate::policy::fingerprint::{At, Boundary, ScopeKey};
use crate::policy::prefix::{Asked, Begun, Found, Head, Index, Matching, Torn};
use std::collections::HashMap;
use std::time::Duration;

/// The caches that one shard knows of.
#[derive(Debug)]
pub struct Warmth {
    index: Index,
    beliefs: HashMap<(ScopeKey, u64), Belief, FixedHasher>,
}

/// What is expected of one place's cache for one prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    /// The longest prefix that can be read, and how likely it is there.
    pub found: Option<Found>,
    pub warm: f64,
    /// A longer one that another request is writing just now.
    pub pending: Option<Found>,
    /// How likely that can be read when its writer's answer has begun.
    pub pending_warm: f64,
    /// Up to where the prompt will be in the cache afterwards.
    pub written: Tokens,
    /// By which lifetime that is billed.
    pub ttl: Option<CacheTtl>,
}

impl Expected {
    /// Tokens of the prompt that the cache holds if the expectation holds.
    #[must_use]
    pub fn cached(&self) -> Tokens {
        self.found.map_or(Tokens::ZERO, |found| found.tokens)
    }
}

/// Caches with a belief of their own; those beyond are believed as promised. One is 400 bytes, and there are as many as pools times models times
/// lifetimes.
const BELIEFS_MAX: usize = 16_384;

impl Warmth {
    /// Remembers at most so many prefixes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            index: Index::new(capacity),
            beliefs: HashMap::default(),
        }
    }

    /// What the cache at one place has of a prompt. Costs a lookup or two.
    #[must_use]
    pub fn expect(&self, asked: &Asked<'_>, now: Instant) -> Expected {
        let found = self.index.lookup(asked, now, true);
        let longest = self.index.lookup(asked, now, false);
        let tokens = found.map_or(Tokens::ZERO, |f| f.tokens);
        let (written, ttl) = written(asked);
        let pending = longest.filter(|l| !l.is_warm && l.tokens > tokens);
        Expected {
            found,
            warm: found.map_or(0.0, |found| self.warm(asked.scope, &found)),
            pending,
            pending_warm: pending.map_or(0.0, |found| self.warm(asked.scope, &found)),
            written,
            ttl,
        }
    }

    fn warm(&self, scope: ScopeKey, found: &Found) -> f64 {
        self.believed(scope, found.age, found.life)
    }

    /// How likely an entry of `age` is there whose life is `life`.
    #[must_use]
    pub fn believed(&self, scope: ScopeKey, age: Duration, life: Duration) -> f64 {
        match self.beliefs.get(&(scope, life.as_secs())) {
            Some(belief) => belief.warm(age, life),
            None => Belief::new().warm(age, life),
        }
    }

    /// Whether a prompt goes on with a conversation: more of it is known than what many share.
    #[must_use]
    pub fn goes_on(&self, asked: &Asked<'_>, expected: &Expected) -> bool {
        let shared = |bound: &&Boundary| matches!(bound.at, At::Element(kind) if matches!(kind, ElementKind::Tool | ElementKind::System));
        let head = asked.bounds.iter().rev().find(shared);
        expected.cached() > head.map_or(Tokens::ZERO, |bound| bound.tokens())
    }

    /// A request goes out. Give the result back to `warmed` or `failed`, once.
    pub fn begin(&mut self, asked: &Asked<'_>, now: Instant) -> Begun {
        self.index.begin(asked, now)
    }

    /// Its answer has begun.
    pub fn warmed(&mut self, begun: &Begun, now: Instant) {
        self.index.warm(begun, now);
    }

    /// It failed before its answer began.
    pub fn failed(&mut self, begun: &Begun) {
        self.index.failed(begun);
    }

    /// It was billed: `read` tokens came from the cache. `Some` where the promise of a lifetime turns out broken by this.
    pub fn billed(
        &mut self,
        scope: ScopeKey,
        expected: &Expected,
        begun: &Begun,
        read: Tokens,
    ) -> Option<Drift> {
        let found = expected.found?;
        let held = self.index.billed(&found, begun, read);
        let key = (scope, found.life.as_secs());
        if self.beliefs.len() >= BELIEFS_MAX && !self.beliefs.contains_key(&key) {
            return None;
        }
        let belief = self.beliefs.entry(key).or_default();
        let before = belief.drift(found.life);
        belief.observe(found.age, found.life, held);
        let after = belief.drift(found.life);
        // The alarm is for the change, not for each request under it.
        after.filter(|_| before.is_none())
    }

    /// Forgets what has expired. Bounded work, for quiet times.
    pub fn expire(&mut self, now: Instant) -> usize {
        self.index.expire(now)
    }

    /// Whether there is something to tell the other shards.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.index.has_news()
    }

    /// Prefixes that have become warm since the last call.
    pub fn news(&mut self, now: Now) -> Vec<Head> {
        self.index.news(now)
    }

    /// What another shard knows of a prefix.
    pub fn hear(&mut self, head: &Head, now: Now) {
        self.index.hear(head, now);
    }

    /// What is warm, as bytes that survive a restart.
    #[must_use]
    pub fn snapshot(&self, now: Now) -> Vec<u8> {
        self.index.snapshot(now)
    }

    /// Takes in what was stored; how many prefixes are still alive.
    pub fn restore(&mut self, bytes: &[u8], now: Now) -> Result<usize, Torn> {
        self.index.restore(bytes, now)
    }

    /// Prefixes that are remembered, and bytes that they take.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.index.len(), self.index.memory())
    }
}

/// Where the last entry ends that the request writes or keeps alive, and what lifetime it asks for.
fn written(asked: &Asked<'_>) -> (Tokens, Option<CacheTtl>) {
    let (bounds, rules) = (asked.bounds, asked.rules);
    let Some(last) = bounds.last() else {
        return (Tokens::ZERO, None);
    };
    let at = match rules.matching {
        Matching::Breakpoints { implicit: true, .. } | Matching::Blocks(_) | Matching::Whole => {
            Some(last)
        }
        Matching::Breakpoints { .. } => bounds.iter().rev().find(|bound| bound.mark.is_some()),
    };
    let tokens = at.map_or(Tokens::ZERO, |bound| rules.cached(bound.tokens()));
    let asked_for = at.and_then(|bound| bound.mark).and_then(|mark| mark.ttl);
    (tokens, Some(asked_for.unwrap_or_else(|| class(rules.ttl))))
}

/// By which lifetime a cache bills that promises `life`.
fn class(life: Duration) -> CacheTtl {
    match life.as_secs() / 60 {
        0..=14 => CacheTtl::Minutes5,
        15..=44 => CacheTtl::Minutes30,
        45..=359 => CacheTtl::Hours1,
        360..=1_079 => CacheTtl::Hours12,
        _ => CacheTtl::Hours24,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{CacheMark, Element, ElementKind};
    use crate::policy::fingerprint::{Chain, InstanceSecret};
    use crate::policy::prefix::Rules;

    const MARKS: Rules = Rules {
        matching: Matching::Breakpoints {
            look_back: 20,
            implicit: false,
        },
        min_tokens: Tokens(100),
        ttl: Duration::from_secs(300),
        refreshes: true,
        long_protects: false,
    };

    struct Prompt {
        bounds: Vec<Boundary>,
    }

    /// Turns of 400 bytes each, the last marked.
    fn prompt(secret: &InstanceSecret, turns: usize) -> Prompt {
        let mut chain = Chain::new();
        chain.begin(&secret.salt("tenant"), None);
        let texts: Vec<String> = (0..turns).map(|n| format!("{n:0400}")).collect();
        for (n, text) in texts.iter().enumerate() {
            chain.feed(&Element {
                kind: ElementKind::Turn,
                bytes: b"user",
                weight: 0,
                mark: None,
            });
            chain.feed(&Element {
                kind: ElementKind::Text,
                bytes: text.as_bytes(),
                weight: 400,
                mark: (n + 1 == turns).then_some(CacheMark { ttl: None }),
            });
        }
        chain.end();
        Prompt {
            bounds: chain.boundaries().to_vec(),
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    #[test]
    fn what_was_written_is_expected_when_it_has_begun_and_doubted_when_it_was_not_there() {
        let secret = InstanceSecret::new(&[7; 32]);
        let scope = secret.scope("anthropic", "workspace", "model");
        let mut warmth = Warmth::new(1_000);
        let first = prompt(&secret, 2);
        let asked = |prompt: &'static Prompt| Asked {
            bounds: &prompt.bounds,
            scope,
            rules: &MARKS,
        };
        let (first, second): (&'static Prompt, &'static Prompt) = (
            Box::leak(Box::new(first)),
            Box::leak(Box::new(prompt(&secret, 3))),
        );
        let cold = warmth.expect(&asked(first), at(0));
        assert_eq!((cold.cached(), cold.written), (Tokens::ZERO, Tokens(200)));
        assert_eq!(cold.ttl, Some(CacheTtl::Minutes5));
        let begun = warmth.begin(&asked(first), at(0));
        let meanwhile = warmth.expect(&asked(second), at(1));
        assert_eq!(meanwhile.found, None);
        assert_eq!(meanwhile.pending.map(|p| p.tokens), Some(Tokens(200)));
        warmth.warmed(&begun, at(2));
        let warm = warmth.expect(&asked(second), at(3));
        assert_eq!((warm.cached(), warm.written), (Tokens(200), Tokens(300)));
        assert!(warm.warm > 0.9 && warm.pending.is_none());
        assert!(warmth.goes_on(&asked(second), &warm));
        assert!(!warmth.goes_on(&asked(first), &cold));
        // Again and again it is not there.
        let mut alarms = 0;
        for n in 0..10 {
            let now = at(10 + n);
            let begun = warmth.begin(&asked(second), now);
            warmth.warmed(&begun, now);
            let expected = warmth.expect(&asked(second), now);
            let begun = warmth.begin(&asked(second), now);
            warmth.warmed(&begun, now);
            alarms += usize::from(
                warmth
                    .billed(scope, &expected, &begun, Tokens::ZERO)
                    .is_some(),
            );
        }
        assert_eq!(alarms, 1, "once for the change");
        assert!(warmth.expect(&asked(second), at(30)).warm < 0.5);
    }

    #[test]
    fn lifetimes_are_billed_by_their_class() {
        let minutes = |n: u64| class(Duration::from_secs(n * 60));
        assert_eq!(minutes(5), CacheTtl::Minutes5);
        assert_eq!(minutes(30), CacheTtl::Minutes30);
        assert_eq!(minutes(60), CacheTtl::Hours1);
        assert_eq!(minutes(720), CacheTtl::Hours12);
    }
}
