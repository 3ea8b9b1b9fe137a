//! Several shards and one limit: messages late, lost and doubled, loads askew, against one bucket for all.

use super::leased::shard_of;
use super::*;
use crate::base::{Instant, Rng};
use crate::policy::lease::Reply;
use std::collections::{BTreeMap, VecDeque};

const SHARDS: u16 = 4;

fn at(ms: u64) -> Instant {
    Instant(ms * 1_000_000)
}

fn seat(shard: u16, life: u64, recovers: bool) -> Seat {
    Seat {
        shard,
        shards: SHARDS,
        life: life * 100 + u64::from(shard),
        hosts: shard == HOST,
        recovers,
        instances: None,
    }
}

const HOST: u16 = 1;

#[derive(Clone)]
enum Letter {
    Word(Box<Word>),
    Reply(Box<Reply>),
    Recall,
}

#[derive(Clone, Copy)]
struct Post {
    delay_ms: u64,
    lost_percent: u64,
    doubled_percent: u64,
}

const GOOD: Post = Post {
    delay_ms: 1,
    lost_percent: 0,
    doubled_percent: 0,
};

struct Node {
    limit: Limit,
    queue: VecDeque<(u64, u64)>,
    open: BTreeMap<(u64, u64), (Reservation, u64)>,
}

struct World {
    rng: Rng,
    post: Post,
    numbers: Numbers,
    rule: Rule,
    nodes: Vec<Node>,
    letters: BTreeMap<(u64, u64), (u16, Letter)>,
    count: u64,
    now: u64,
    /// (when, tokens): drawn, and below zero given back.
    spent: Vec<(u64, i64)>,
    waits: Vec<u64>,
    said: u64,
}

impl World {
    /// `leased`, or else each shard with an even part.
    fn new(seed: u64, numbers: Numbers, rule: Rule, post: Post, leased: bool) -> Self {
        let limit = |shard| match leased {
            true => Limit::leased_twin(numbers, rule, &seat(shard, 1, false)),
            false => Limit::twin(numbers, rule, shard, SHARDS),
        };
        Self {
            rng: Rng::seeded(seed),
            post,
            numbers,
            rule,
            nodes: (0..SHARDS)
                .map(|shard| Node {
                    limit: limit(shard),
                    queue: VecDeque::new(),
                    open: BTreeMap::new(),
                })
                .collect(),
            letters: BTreeMap::new(),
            count: 0,
            now: 0,
            spent: Vec::new(),
            waits: Vec::new(),
            said: 0,
        }
    }

    fn send(&mut self, to: u16, letter: Letter) {
        self.said += 1;
        let twice = u64::from(self.rng.below(100) < self.post.doubled_percent);
        for _ in 0..=twice {
            if self.rng.below(100) < self.post.lost_percent {
                continue;
            }
            let late = self.post.delay_ms > 1 && self.rng.below(20) == 0;
            let most = if late { 3_000 } else { self.post.delay_ms };
            let when = self.now + 1 + self.rng.below(most);
            self.count += 1;
            self.letters
                .insert((when, self.count), (to, letter.clone()));
        }
    }

    fn tick(&mut self) {
        self.now += 1;
        while let Some(first) = self.letters.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            let (to, letter) = first.remove();
            self.receive(to, letter);
        }
        for shard in 0..SHARDS {
            self.settle(shard);
            self.serve(shard);
            self.speak(shard);
        }
    }

    fn receive(&mut self, to: u16, letter: Letter) {
        let now = at(self.now);
        let limit = &mut self.nodes[usize::from(to)].limit;
        match letter {
            Letter::Recall => limit.recall(),
            Letter::Reply(reply) => {
                limit.hear(&reply, now);
            }
            Letter::Word(word) => {
                let reply = limit.answer(&word, now);
                if let Some(reply) = reply {
                    self.send(shard_of(reply.holder), Letter::Reply(Box::new(reply)));
                }
                self.call_back();
            }
        }
    }

    fn call_back(&mut self) {
        for holder in self.nodes[usize::from(HOST)].limit.hoarders() {
            self.send(shard_of(holder), Letter::Recall);
        }
    }

    fn speak(&mut self, shard: u16) {
        let now = at(self.now);
        match self.nodes[usize::from(shard)].limit.speak(now) {
            Spoken::Nothing => {}
            Spoken::Ask(word) => self.send(HOST, Letter::Word(word)),
            Spoken::Answered => {
                self.call_back();
                self.serve(shard);
            }
        }
    }

    fn serve(&mut self, shard: u16) {
        let now = at(self.now);
        let node = &mut self.nodes[usize::from(shard)];
        node.limit.unpark();
        while let Some((tokens, since)) = node.queue.front().copied() {
            let ask = Ask {
                input: Tokens(tokens),
                ..Ask::default()
            };
            if node.limit.room(ask, now) != Room::Now {
                let behind = node.queue.len() as u64 - 1;
                node.limit.park(ask, at(since), behind, now);
                break;
            }
            let held = node.limit.reserve(ask, now);
            node.queue.pop_front();
            self.count += 1;
            let until = self.now + 1 + self.rng.below(2_000);
            node.open.insert((until, self.count), (held, tokens));
            self.spent.push((self.now, tokens as i64));
            self.waits.push(self.now - since);
        }
    }

    /// What was used is up to a fifth less than was thought.
    fn settle(&mut self, shard: u16) {
        let now = at(self.now);
        let node = &mut self.nodes[usize::from(shard)];
        while let Some(first) = node.open.first_entry() {
            if first.key().0 > self.now {
                return;
            }
            let (held, tokens) = first.remove();
            let used = tokens - self.rng.below(tokens / 5 + 1);
            let of = Used {
                input: Tokens(used),
                ..Used::default()
            };
            node.limit.settle(held, Some(of), now);
            self.spent.push((self.now, used as i64 - tokens as i64));
        }
    }

    /// No window has more than one bucket would let through.
    fn check(&self, seed: u64) {
        let per_minute = self.numbers.tokens.expect("limited");
        let burst = Rate::per_minute(per_minute).within(self.numbers.burst.expect("given"));
        let (mut largest, mut before) = (0_i128, 0);
        for (when, tokens) in &self.spent {
            let flowed = i128::from(per_minute) * i128::from(when - before);
            largest = (largest - flowed).max(0) + i128::from(*tokens) * 60_000;
            largest = largest.max(0);
            before = *when;
            let over = largest - i128::from(burst) * 60_000;
            assert!(over <= 0, "seed {seed}: over the limit by {over} at {when}");
        }
    }

    fn served(&self, from: u64) -> i64 {
        let after = self.spent.iter().filter(|(when, _)| *when >= from);
        after.map(|(_, tokens)| tokens).sum()
    }
}

/// `per_minute` tokens, of which ten seconds' worth may come at once.
fn tokens(per_minute: u64) -> Numbers {
    Numbers {
        tokens: Some(per_minute),
        requests: Some(60_000),
        burst: Some(Duration::from_secs(10)),
        ..Numbers::default()
    }
}

/// FIELD-BUGS 21, over the shards of one instance, whatever happens to messages and to shards.
#[test]
fn no_window_has_more_over_all_shards_than_the_limit_allows() {
    let mut served = 0;
    for seed in 0..24 {
        let mut rng = Rng::seeded(seed ^ 0xca11);
        let numbers = tokens(60_000 + rng.below(6_000_000));
        let post = Post {
            delay_ms: 1 + rng.below(60),
            lost_percent: rng.below(20),
            doubled_percent: rng.below(20),
        };
        let mut world = World::new(seed, numbers, Rule::OURS, post, true);
        let most = numbers.tokens.expect("limited") / 6 / 100;
        for step in 0..10_000 {
            if rng.below(20) == 0 {
                // Three in four at one shard.
                let shard = rng.below(16).saturating_sub(12) as usize;
                let now = world.now;
                world.nodes[shard]
                    .queue
                    .push_back((1 + rng.below(most), now));
            }
            world.tick();
            if rng.below(5_000) == 0 {
                // A shard breaks and begins anew, and has forgotten all; it may be the host.
                let shard = rng.below(u64::from(SHARDS)) as u16;
                let seat = seat(shard, 2 + step, true);
                let node = &mut world.nodes[usize::from(shard)];
                for (held, _) in std::mem::take(&mut node.open).into_values() {
                    node.limit.settle(held, None, at(0));
                }
                node.limit = Limit::leased_twin(numbers, world.rule, &seat);
            }
        }
        world.check(seed);
        served += world.waits.len();
    }
    assert!(served > 4_000, "{served} calls: too few to say anything");
}

/// Zipf over four shards at 0.95 and 1.2 of the limit, in many calls and in few, small and large: as much as by one bucket for all, where even
/// parts serve four fifths of it. Measured: 0.998 to 1.001 of one bucket with 20 to 33 letters a second; at 1.2, where somebody always waits,
/// 0.996 to 1.003 with 140 to 222.
#[test]
fn a_load_askew_is_served_as_by_one_bucket() {
    for (seed, a_second, load) in [
        (1, 100, 95),
        (2, 10, 95),
        (3, 2, 95),
        (4, 100, 120),
        (5, 5, 120),
    ] {
        let mean = 10_500;
        let numbers = tokens(a_second * mean * 60 * 9 / 10 * 100 / load);
        let mut worlds = [true, false].map(|l| World::new(seed, numbers, Rule::OURS, GOOD, l));
        let mut one = Limit::twin(numbers, Rule::OURS, 0, 1);
        let mut line: VecDeque<u64> = VecDeque::new();
        let (mut central, mut rng) = (0, Rng::seeded(seed));
        for now in 0..60_000 {
            if rng.below(1_000) < a_second {
                let mut at = rng.below(25);
                let who = [12_u64, 6, 4, 3].iter().position(|w| {
                    let here = at < *w;
                    at = at.saturating_sub(*w);
                    here
                });
                let tokens = 1_000 << rng.below(6);
                for world in &mut worlds {
                    world.nodes[who.expect("of 25")]
                        .queue
                        .push_back((tokens, now));
                }
                line.push_back(tokens);
            }
            worlds.iter_mut().for_each(World::tick);
            while let Some(tokens) = line.front().copied() {
                let ask = Ask {
                    input: Tokens(tokens),
                    ..Ask::default()
                };
                if one.room(ask, at(now + 1)) != Room::Now {
                    break;
                }
                let held = one.reserve(ask, at(now + 1));
                let used = tokens - tokens / 10;
                let of = Used {
                    input: Tokens(used),
                    ..Used::default()
                };
                one.settle(held, Some(of), at(now + 1));
                line.pop_front();
                central += if now >= 20_000 { used } else { 0 };
            }
        }
        let [leased, split] = worlds
            .each_ref()
            .map(|w| w.served(20_000) as f64 / central as f64);
        worlds[0].check(seed);
        let mut waits = worlds[0].waits.clone();
        waits.sort_unstable();
        let p99 = waits[waits.len() * 99 / 100];
        let words = worlds[0].said as f64 / 60.0;
        let told = format!(
            "{a_second} a second: leased {leased:.3}, split {split:.3} of one bucket; p99 wait {p99} ms, {words:.0} letters a second"
        );
        assert!(leased >= 0.95, "{told}");
        assert!(load > 100 || split < 0.85, "{told}");
        assert!(words < if load > 100 { 400.0 } else { 80.0 }, "{told}");
    }
}

/// Three a minute over four shards: none of them has a share of its own, and each is served.
#[test]
fn a_limit_smaller_than_its_shards_serves_each_of_them() {
    let numbers = Numbers {
        requests: Some(3),
        ..Numbers::default()
    };
    let mut world = World::new(1, numbers, Rule::OURS, GOOD, true);
    for shard in 0..4 {
        world.nodes[shard].queue.push_back((1, 0));
    }
    for _ in 0..2_000 {
        world.tick();
    }
    assert_eq!(world.waits.len(), 3, "a minute's worth");
    for _ in 0..20_000 {
        world.tick();
    }
    assert_eq!(world.waits.len(), 4, "twenty seconds later one more");
}

/// Nothing is said when there is nothing to say.
#[test]
fn who_has_no_use_for_it_gives_all_back_and_is_silent() {
    let mut world = World::new(1, tokens(600_000), Rule::OURS, GOOD, true);
    for shard in 0..4 {
        for _ in 0..50 {
            world.nodes[shard].queue.push_back((100, 0));
        }
    }
    for _ in 0..30_000 {
        world.tick();
    }
    let said = world.said;
    for node in &mut world.nodes {
        assert_eq!(node.limit.leased().map(|held| held[1]), Some(0));
        assert_eq!(node.limit.wakes_at(), Instant::NEVER);
    }
    for _ in 0..10_000 {
        world.tick();
    }
    assert_eq!(world.said, said);
}

/// What is told to one shard holds for all: its provider has less than we thought, and later it refuses.
#[test]
fn what_one_shard_hears_holds_for_all() {
    let numbers = Numbers {
        requests: Some(600),
        ..Numbers::default()
    };
    let mut world = World::new(1, numbers, Rule::OURS, GOOD, true);
    let guest = |shard: u16| usize::from(shard);
    world.nodes[0].queue.push_back((1, 0));
    for _ in 0..10 {
        world.tick();
    }
    let told = Told {
        remaining: Some(5),
        limit: Some(60),
        ..Told::default()
    };
    let now = at(world.now);
    world.nodes[0]
        .limit
        .heed(Dimension::Requests, told, None, now);
    for _ in 0..500 {
        world.tick();
    }
    for shard in 0..SHARDS {
        for _ in 0..20 {
            let now = world.now;
            world.nodes[guest(shard)].queue.push_back((1, now));
        }
    }
    let before = world.waits.len();
    for _ in 0..2_000 {
        world.tick();
    }
    let sent = world.waits.len() - before;
    // Five, and one a second since.
    assert!((5..=9).contains(&sent), "{sent}");
    for node in &world.nodes {
        let rate = node.limit.rate(Dimension::Requests);
        assert_eq!(rate, Some(Rate::per_minute(60)));
        let empty = node.limit.emptiness(Dimension::Requests, at(world.now));
        assert!(empty > Some(900_000), "{empty:?}: the instance is empty");
    }
}

/// With one shard nothing is leased: nobody is asked and nothing waits.
#[test]
fn one_shard_has_all_of_it() {
    let seat = Seat {
        shards: 1,
        ..seat(0, 1, false)
    };
    let mut limit = Limit::leased_twin(tokens(600_000), Rule::OURS, &seat);
    let ask = Ask {
        input: Tokens(100_000),
        ..Ask::default()
    };
    assert_eq!(limit.room(ask, at(0)), Room::Now);
    let held = limit.reserve(ask, at(0));
    assert!(!limit.stirs(at(0)) && limit.leased().is_none());
    assert_eq!(limit.speak(at(0)), Spoken::Nothing);
    limit.settle(held, None, at(0));
}
