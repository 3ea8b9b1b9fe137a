//! What tells a provider which requests belong together, so that it sends them where their cache is.
//!
//! Keys are made, not told: a keyed hash of the tenant and of how a conversation (or a family of prompts) begins. The same for each request of it,
//! in every process with the same secret; nobody without it, no other tenant above all, can make one, and nothing of a prompt can be read from
//! one. Who asks for which kind of key, and by what name, is the provider's (`protocol::provider`).

use crate::base::Instant;
use crate::policy::fingerprint::{Fingerprint, InstanceSecret};

/// What a conversation is known by.
#[derive(Clone, Copy, Debug)]
pub enum Conversation<'a> {
    /// The client's own name for it.
    Named(&'a str),
    /// How it begins.
    Opener(Fingerprint),
}

/// Whose keys they are: no two tenants, and no two places, have one in common.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    pub secret: &'a InstanceSecret,
    pub tenant: &'a str,
    /// Provider and model, since the same key at two of them would show that they serve the same client.
    pub place: &'a str,
}

impl Keys<'_> {
    /// One for each conversation: xAI, Fireworks, OpenRouter and balancers of own machines keep what has one key on one machine.
    #[must_use]
    pub fn conversation(&self, of: Conversation<'_>) -> String {
        match of {
            Conversation::Named(name) => self.key(b"n", name.as_bytes(), 0),
            Conversation::Opener(opener) => self.key(b"c", &bytes(opener), 0),
        }
    }

    /// One for a family of prompts that begin alike, or one of several among which its conversations are divided, each always with the same.
    #[must_use]
    pub fn family(&self, family: Fingerprint, conversation: Fingerprint, keys: u32) -> String {
        let number = slot(conversation.tag, keys);
        self.key(b"f", &bytes(family), number)
    }

    /// 32 hexadecimal digits: fits a header, and the 64 characters that public clients keep to.
    fn key(&self, kind: &[u8], of: &[u8], number: u32) -> String {
        let (tenant, place) = (self.tenant.as_bytes(), self.place.as_bytes());
        let [a, b] = self
            .secret
            .hint(&[kind, tenant, place, of, &number.to_le_bytes()]);
        format!("{a:016x}{b:016x}")
    }
}

fn bytes(of: Fingerprint) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&of.chain.to_le_bytes());
    bytes[8..].copy_from_slice(&of.tag.to_le_bytes());
    bytes
}

/// Which of `keys` a conversation has: jump consistent hash (Lamping and Veach, 2014), so that one key more moves no more conversations than the
/// new one takes.
fn slot(name: u64, keys: u32) -> u32 {
    let (mut name, mut at, mut next) = (name, 0_i64, 0_i64);
    while next < i64::from(keys) {
        at = next;
        name = name.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let draw = ((name >> 33) + 1) as f64;
        next = ((at + 1) as f64 * ((1_u64 << 31) as f64 / draw)) as i64;
    }
    u32::try_from(at).unwrap_or(0)
}

/// How often each family is asked, to say how many keys it needs. Bounded: sets of four, of which the one asked longest ago gives way.
#[derive(Debug)]
pub struct Rates {
    rates: Vec<Rate>,
    sets: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    name: u64,
    /// Nanoseconds; 0 keys is no rate.
    seen: u64,
    /// Requests, fading.
    count: f64,
    keys: u32,
}

const WAYS: usize = 4;
/// A request counts a third after so many seconds. Long, since each change of the number costs some conversations their cache.
const FADES_SECONDS: f64 = 300.0;
/// OpenAI docs, prompt caching, read 2026-09: about so many a minute of one prefix and key go to one machine.
pub const RPM_A_KEY: f64 = 15.0;
/// Keys are given up when the rate has fallen to this part of what the others could take.
const SLACK: f64 = 0.6;
const KEYS_MAX: u32 = 1_024;

impl Rates {
    /// Holds at most `capacity` families, 32 bytes each. Memory is taken with the first.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            rates: Vec::new(),
            sets: (capacity / WAYS).max(1),
        }
    }

    /// A request of `family` goes out at `now`; `shards` like this one see as many. How many keys the family should have.
    pub fn keys(&mut self, family: Fingerprint, shards: u16, now: Instant) -> u32 {
        if self.rates.is_empty() {
            self.rates = vec![Rate::default(); self.sets * WAYS];
        }
        let set = ((u128::from(family.chain) * self.sets as u128) >> 64) as usize * WAYS;
        let set = &mut self.rates[set..set + WAYS];
        let is = |rate: &Rate| rate.keys > 0 && rate.name == family.chain;
        let at = match set.iter().position(is) {
            Some(at) => at,
            None => {
                let oldest = (0..WAYS).min_by_key(|at| (set[*at].keys > 0, set[*at].seen));
                let at = oldest.unwrap_or(0);
                set[at] = Rate {
                    name: family.chain,
                    seen: now.0,
                    count: 0.0,
                    keys: 1,
                };
                at
            }
        };
        set[at].asked(f64::from(shards.max(1)), now)
    }
}

impl Rate {
    fn asked(&mut self, shards: f64, now: Instant) -> u32 {
        let passed = now.since(Instant(self.seen)).as_secs_f64();
        self.count = self.count * (-passed / FADES_SECONDS).exp() + 1.0;
        self.seen = self.seen.max(now.0);
        let rpm = self.count / FADES_SECONDS * 60.0 * shards;
        let needed = |rpm: f64| ((rpm / RPM_A_KEY).ceil() as u32).clamp(1, KEYS_MAX);
        // More at once where they are needed, fewer only when they clearly are not.
        let (most, least) = (needed(rpm / SLACK), needed(rpm));
        self.keys = self.keys.clamp(least, most.max(least));
        self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn print(n: u64) -> Fingerprint {
        let mut rng = Rng::seeded(n);
        Fingerprint {
            chain: rng.bits(),
            tag: rng.bits(),
        }
    }

    fn seconds(n: f64) -> Instant {
        Instant((n * 1e9) as u64)
    }

    #[test]
    fn a_key_is_the_same_each_time_and_no_other_tenant_place_or_secret_has_it() {
        let secrets = [[1; 32], [2; 32]].map(|s| InstanceSecret::new(&s));
        let mut all = std::collections::BTreeSet::new();
        let mut made = 0;
        for secret in &secrets {
            for tenant in ["a", "b", "ab"] {
                for place in ["xai/m", "b/xai", "/m"] {
                    let keys = Keys {
                        secret,
                        tenant,
                        place,
                    };
                    for of in 0..4 {
                        let of = print(of);
                        let all_of = [
                            keys.conversation(Conversation::Opener(of)),
                            keys.conversation(Conversation::Named(&of.tag.to_string())),
                            keys.family(of, print(9), 1),
                        ];
                        assert_eq!(all_of[0], keys.conversation(Conversation::Opener(of)));
                        for key in all_of {
                            assert!(key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit()));
                            all.insert(key);
                            made += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(all.len(), made);
        // Nothing of the fingerprint itself is shown.
        let one = print(0);
        let shown = format!("{:016x}", one.tag);
        assert!(all.iter().all(|key| !key.contains(&shown)));
    }

    #[test]
    fn one_key_more_moves_no_more_conversations_than_it_takes() {
        for keys in 1..20_u32 {
            let moved = (0..2_000)
                .filter(|n| {
                    let name = print(*n).tag;
                    let (before, after) = (slot(name, keys), slot(name, keys + 1));
                    assert!(before < keys && (after == before || after == keys));
                    before != after
                })
                .count();
            let share = moved as f64 / 2_000.0 * f64::from(keys + 1);
            assert!((0.7..1.3).contains(&share), "{keys}: {share}");
        }
    }

    /// ROUTING 1.7: keys = ceil(rpm / 15).
    #[test]
    fn a_family_has_as_many_keys_as_its_rate_needs_over_all_shards() {
        for (rpm, shards, wanted) in [
            (6.0, 1, 1),
            (12.0, 1, 1),
            (40.0, 1, 3),
            (40.0, 4, 11),
            (600.0, 1, 40),
        ] {
            let mut rates = Rates::new(64);
            let mut keys = 0;
            for i in 0..(rpm * 40.0) as u32 {
                keys = rates.keys(print(1), shards, seconds(f64::from(i) * 60.0 / rpm));
            }
            let near = f64::from(keys) / f64::from(wanted);
            assert!(
                (0.99..1.15).contains(&near),
                "{rpm} {shards}: {keys} of {wanted}"
            );
        }
    }

    #[test]
    fn the_number_of_keys_does_not_flap() {
        let (mut rates, mut rng) = (Rates::new(64), Rng::seeded(3));
        let (mut now, mut changes, mut last) = (0.0, 0, 0);
        for i in 0..20_000 {
            // 44 a minute on average, by chance: three keys, at times four.
            now += -rng.unit().max(1e-9).ln() * 60.0 / 44.0;
            let keys = rates.keys(print(1), 1, seconds(now));
            changes += u32::from(keys != last && i > 2_000);
            last = keys;
        }
        assert!(changes <= 6, "{changes} in six hours");
        // It falls when the family is hardly asked any more.
        for _ in 0..20 {
            now += 600.0;
            last = rates.keys(print(1), 1, seconds(now));
        }
        assert_eq!(last, 1);
    }

    #[test]
    fn families_beyond_the_capacity_begin_again_and_time_may_stand() {
        let mut rates = Rates::new(8);
        for n in 0..10_000 {
            assert!((1..=KEYS_MAX).contains(&rates.keys(print(n % 400), 64, Instant(5))));
        }
        assert_eq!(rates.rates.len(), 8);
    }
}
