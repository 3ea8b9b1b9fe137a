//! Holders and a central bucket in a small world: messages late, lost and doubled, holders that vanish, a centre that forgets.

use super::*;
use crate::base::Rng;
use std::collections::{BTreeMap, VecDeque};

const TOKENS: usize = 1;

fn at(ms: u64) -> Instant {
    Instant(ms * 1_000_000)
}

/// Requests and tokens are limited; tokens hold ten seconds' worth.
fn terms(tokens_per_minute: u64) -> Terms {
    let tokens = Rate::per_minute(tokens_per_minute);
    Terms::of([
        Some((Rate::per_minute(60_000), 10_000)),
        Some((tokens, tokens_per_minute / 6)),
        None,
        None,
    ])
}

fn call(tokens: u64) -> Amounts {
    [1, tokens, 0, 0]
}

enum Letter {
    Ask(Ask),
    Reply(Reply),
    Recall(HolderId),
}

/// How the messages go.
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

struct World {
    rng: Rng,
    terms: Terms,
    central: Central,
    holders: BTreeMap<HolderId, Holder>,
    queues: BTreeMap<HolderId, VecDeque<(u64, Instant)>>,
    letters: BTreeMap<(u64, u64), Letter>,
    count: u64,
    now: u64,
    post: Post,
    /// (when, tokens): what was spent, and below zero what was refunded.
    spent: Vec<(u64, i64)>,
    waits: Vec<(u64, u64)>,
    asks: u64,
}

impl World {
    fn new(seed: u64, terms: Terms, holders: u64, post: Post) -> Self {
        let ids = (0..holders).map(HolderId);
        Self {
            rng: Rng::seeded(seed),
            terms,
            central: Central::new(terms, 1, at(0)),
            holders: ids.clone().map(|id| (id, Holder::new(id, terms))).collect(),
            queues: ids.map(|id| (id, VecDeque::new())).collect(),
            letters: BTreeMap::new(),
            count: 0,
            now: 0,
            post,
            spent: Vec::new(),
            waits: Vec::new(),
            asks: 0,
        }
    }

    fn arrive(&mut self, holder: HolderId, tokens: u64) {
        let queue = self.queues.entry(holder).or_default();
        queue.push_back((tokens, at(self.now)));
    }

    fn send(&mut self, letter: Letter) {
        if self.rng.below(100) < self.post.lost_percent {
            return;
        }
        // One in twenty is so late that leases end meanwhile.
        let late = self.post.delay_ms > 1 && self.rng.below(20) == 0;
        let most = if late { 3_000 } else { self.post.delay_ms };
        let when = self.now + 1 + self.rng.below(most);
        self.count += 1;
        self.letters.insert((when, self.count), letter);
    }

    fn tick(&mut self) {
        self.now += 1;
        self.deliver();
        let ids: Vec<HolderId> = self.holders.keys().copied().collect();
        for id in ids {
            self.serve(id);
            let asked = self.holders.get_mut(&id).and_then(|h| h.ask(at(self.now)));
            if let Some(ask) = asked {
                self.asks += 1;
                if self.rng.below(100) < self.post.doubled_percent {
                    self.send(Letter::Ask(ask));
                }
                self.send(Letter::Ask(ask));
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(first) = self.letters.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            match first.remove() {
                Letter::Ask(ask) => {
                    let reply = self.central.hear(&ask, at(self.now));
                    for d in [0, TOKENS] {
                        let most = self.terms.limits[d].expect("limited").1;
                        let potential = self.central.potential(d);
                        assert!(potential <= i128::from(most), "{potential} of {most}");
                    }
                    if let Some(reply) = reply {
                        if self.rng.below(100) < self.post.doubled_percent {
                            self.send(Letter::Reply(reply));
                        }
                        self.send(Letter::Reply(reply));
                    }
                    let hoarders: Vec<HolderId> = self.central.hoarders().collect();
                    for id in hoarders {
                        self.send(Letter::Recall(id));
                    }
                }
                Letter::Recall(id) => {
                    if let Some(holder) = self.holders.get_mut(&id) {
                        holder.press(true);
                    }
                }
                Letter::Reply(reply) => {
                    if let Some(holder) = self.holders.get_mut(&reply.holder) {
                        holder.hear(&reply, at(self.now));
                    }
                }
            }
        }
    }

    /// Admits in the order of arrival what fits.
    fn serve(&mut self, id: HolderId) {
        let (Some(holder), Some(queue)) = (self.holders.get_mut(&id), self.queues.get_mut(&id))
        else {
            return;
        };
        while let Some((tokens, since)) = queue.front().copied() {
            if !holder.admit(call(tokens), at(self.now)) {
                break;
            }
            queue.pop_front();
            self.spent.push((self.now, tokens as i64));
            let waited = (at(self.now) - since).as_millis() as u64;
            self.waits.push((tokens, waited));
        }
        let first = queue.front().copied();
        let behind = queue.len().saturating_sub(1) as u64;
        holder.park(first.map(|(tokens, since)| (call(tokens), since)), behind);
    }

    /// No window, wherever it begins and ends, has more than the burst and what flowed in it: the largest of all windows that end at each
    /// event is carried along.
    fn check(&self, seed: u64) {
        let (rate, burst) = self.terms.limits[TOKENS].expect("limited");
        let (mut largest, mut before) = (0_i128, 0);
        for (when, tokens) in &self.spent {
            let flowed = i128::from(rate.0) * i128::from((when - before) * 1_000_000);
            largest = (largest - flowed).max(0) + i128::from(*tokens) * 60_000_000_000_000;
            largest = largest.max(0);
            before = *when;
            let over = largest - i128::from(burst) * 60_000_000_000_000;
            assert!(over <= 0, "seed {seed}: over the limit by {over} at {when}");
        }
    }

    fn total(&self, from: u64, to: u64) -> i64 {
        let within = |(when, _): &&(u64, i64)| (from..to).contains(when);
        self.spent.iter().filter(within).map(|(_, t)| t).sum()
    }
}

/// The proof obligation: whatever happens to messages, holders and the centre, all of them together spend no more in any window than one
/// bucket lets through.
#[test]
fn no_window_has_more_than_one_bucket_would_let_through() {
    let mut spent = 0;
    for seed in 0..20 {
        let mut rng = Rng::seeded(seed ^ 0xface);
        let terms = terms(60_000 + rng.below(6_000_000));
        let (_, burst) = terms.limits[TOKENS].expect("limited");
        let post = Post {
            delay_ms: 1 + rng.below(100),
            lost_percent: rng.below(20),
            doubled_percent: rng.below(10),
        };
        let holders = 2 + rng.below(7);
        let mut world = World::new(seed, terms, holders, post);
        let mut names = holders;
        let mut refunds: BTreeMap<(u64, u64), (HolderId, u64)> = BTreeMap::new();
        for step in 0..10_000 {
            if rng.below(20) == 0 {
                let at_random = rng.below(world.holders.len() as u64) as usize;
                let id = *world.holders.keys().nth(at_random).expect("one");
                let most = if rng.below(200) == 0 {
                    burst
                } else {
                    burst / 50
                };
                world.arrive(id, 1 + rng.below(most));
                // An estimate that turns out too high.
                let back = (world.now + rng.below(3_000), step);
                refunds.insert(back, (id, 0));
            }
            world.tick();
            settle(&mut world, &mut refunds, &mut rng);
            if rng.below(4_000) == 0 {
                // A holder vanishes with all that it held; another comes.
                let gone = *world.holders.keys().next().expect("one");
                world.holders.remove(&gone);
                world.queues.remove(&gone);
                names += 1;
                let id = HolderId(names);
                world.holders.insert(id, Holder::new(id, terms));
            }
            if rng.below(10_000) == 0 {
                let epoch = 2 + step;
                world.central = Central::recovered(terms, epoch, at(world.now));
            }
        }
        world.check(seed);
        spent += world.spent.len();
    }
    assert!(spent > 4_000, "{spent} calls: too few to say anything");
}

/// Gives back a part of what some earlier call of the same holder took.
fn settle(world: &mut World, refunds: &mut BTreeMap<(u64, u64), (HolderId, u64)>, rng: &mut Rng) {
    while let Some(first) = refunds.first_entry() {
        if first.key().0 > world.now {
            return;
        }
        let (id, _) = first.remove();
        // The last that was spent, by whoever it was: its holder is the one that is asked.
        let Some((_, tokens)) = world.spent.last().copied().filter(|(_, t)| *t > 1) else {
            continue;
        };
        let Some(holder) = world.holders.get_mut(&id) else {
            continue;
        };
        let back = rng.below(tokens as u64 / 2 + 1);
        let mut amounts = [0; DIMENSIONS];
        amounts[TOKENS] = back;
        holder.refund(amounts);
        world.spent.push((world.now, -(back as i64)));
    }
}

/// One bucket and one queue, for comparison.
struct One {
    bucket: crate::policy::capacity::Bucket,
    queue: VecDeque<u64>,
    spent: Vec<(u64, i64)>,
}

impl One {
    fn tick(&mut self, now: u64) {
        use crate::policy::capacity::Room;
        while let Some(tokens) = self.queue.front().copied() {
            if self.bucket.room(tokens, at(now)) != Room::Now {
                return;
            }
            self.queue.pop_front();
            self.bucket.draw(tokens, at(now));
            self.spent.push((now, tokens as i64));
        }
    }
}

/// Sixteen holders with Zipf demand at 0.95 of the limit, at few and at many calls a second.
#[test]
fn nearly_all_that_one_bucket_would_serve_is_served() {
    for (seed, per_second) in [(1, 240), (2, 40)] {
        let mean = 10_500;
        let terms = terms(per_second * mean * 60 * 100 / 95);
        let (rate, burst) = terms.limits[TOKENS].expect("limited");
        let mut world = World::new(seed, terms, 16, GOOD);
        let mut one = One {
            bucket: crate::policy::capacity::Bucket::new(rate, burst),
            queue: VecDeque::new(),
            spent: Vec::new(),
        };
        let mut rng = Rng::seeded(seed);
        let weights: Vec<u64> = (1..=16).map(|k| 720_720 / k).collect();
        let sum: u64 = weights.iter().sum();
        for now in 0..30_000 {
            if rng.below(1_000) < per_second {
                let mut at = rng.below(sum);
                let who = weights.iter().position(|w| {
                    let here = at < *w;
                    at = at.saturating_sub(*w);
                    here
                });
                // 1,000 to 32,000, as often each: 10,500 in the mean.
                let tokens = 1_000 << rng.below(6);
                world.arrive(HolderId(who.unwrap_or(0) as u64), tokens);
                one.queue.push_back(tokens);
            }
            world.tick();
            one.tick(now + 1);
        }
        world.check(seed);
        let ours = world.total(10_000, 30_001) as f64;
        let central: i64 = one
            .spent
            .iter()
            .filter(|(when, _)| *when >= 10_000)
            .map(|(_, t)| t)
            .sum();
        let share = ours / central as f64;
        assert!(share >= 0.95, "{per_second} a second: {share:.3}");
        let mut waits: Vec<u64> = world.waits.iter().map(|w| w.1).collect();
        waits.sort_unstable();
        let p99 = waits[waits.len() * 99 / 100];
        assert!(p99 <= 500, "{per_second} a second: p99 wait {p99} ms");
        let asks = world.asks as f64 / 30.0 / 16.0;
        assert!(asks < 20.0, "{asks:.1} asks a second and holder");
    }
}

/// One call of most of a burst among small ones that alone would use up the limit: it is served in the order in which it came.
#[test]
fn a_large_call_is_not_starved_by_small_ones() {
    let terms = terms(6_000_000);
    let (_, burst) = terms.limits[TOKENS].expect("limited");
    let mut world = World::new(9, terms, 8, GOOD);
    let mut rng = Rng::seeded(9);
    let large = burst * 8 / 10;
    for now in 0..50_000 {
        // 1.2 times the limit in calls of 1,000.
        if rng.below(1_000) < 120 {
            world.arrive(HolderId(1 + rng.below(7)), 1_000);
        }
        if now == 20_000 {
            world.arrive(HolderId(0), large);
        }
        world.tick();
    }
    world.check(9);
    let wait = world.waits.iter().find(|(tokens, _)| *tokens == large);
    let (_, wait) = wait.expect("served at all");
    // One queue would have it wait for what was before it (a fifth of 20 s) and for its own size to flow in: eight seconds.
    assert!(*wait < 20_000, "{wait} ms");
}

/// What is not needed comes back, so that others can have it.
#[test]
fn surplus_returns_and_a_vanished_holders_part_is_lost_for_no_longer_than_it_takes_to_refill() {
    let terms = terms(600_000);
    let (_, burst) = terms.limits[TOKENS].expect("limited");
    let mut world = World::new(3, terms, 2, GOOD);
    for step in 0..4_000 {
        if step % 10 == 0 {
            world.arrive(HolderId(0), 50);
        }
        world.tick();
    }
    assert!(world.holders[&HolderId(0)].held()[TOKENS] > 0);
    for _ in 0..20_000 {
        world.tick();
    }
    assert_eq!(world.holders[&HolderId(0)].held()[TOKENS], 0, "idle");
    world.arrive(HolderId(1), burst);
    for _ in 0..100 {
        world.tick();
    }
    assert_eq!(
        world.spent.last(),
        Some(&(world.spent.last().expect("one").0, burst as i64))
    );
}

/// What is used beyond what was taken is owed, and paid by what flows in.
#[test]
fn a_debt_is_paid_before_anything_is_granted() {
    let terms = terms(60_000);
    let mut world = World::new(4, terms, 1, GOOD);
    world.arrive(HolderId(0), 10_000);
    for _ in 0..100 {
        world.tick();
    }
    assert_eq!(world.spent.len(), 1, "the whole burst");
    let mut more = [0; DIMENSIONS];
    more[TOKENS] = 5_000;
    let holder = world.holders.get_mut(&HolderId(0)).expect("there");
    holder.charge(more);
    world.arrive(HolderId(0), 1_000);
    // A thousand a second: five seconds for the debt, and one for the call, less what has flowed.
    for _ in 0..5_500 {
        world.tick();
    }
    assert_eq!(world.spent.len(), 1, "still in debt");
    for _ in 0..1_000 {
        world.tick();
    }
    assert_eq!(world.spent.len(), 2, "paid");
}

/// A holder that nobody answers stops when its lease ends, before it is taken away from it.
#[test]
fn a_lease_that_is_not_renewed_ends_at_its_holder() {
    let terms = terms(600_000);
    let mut world = World::new(5, terms, 1, GOOD);
    for _ in 0..10 {
        world.arrive(HolderId(0), 100);
        for _ in 0..50 {
            world.tick();
        }
    }
    let now = world.now;
    let mut alone = world.holders[&HolderId(0)].clone();
    assert!(alone.admit(call(1), at(now)));
    assert!(!alone.admit(call(1), at(now) + terms.lease));
}
