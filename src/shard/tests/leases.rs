//! Limits that several shards share.

use super::*;

/// All shards of a node.
struct Node(Vec<Rig>);

impl Node {
    fn new(yaml: &str, shards: u16) -> Self {
        let rig = |id| Rig::at(yaml, ShardId(id), shards);
        Self((0..shards).map(rig).collect())
    }

    /// Brings each letter to whom it is for, until nothing is said any more; how many they were.
    fn carry(&mut self) -> usize {
        let mut carried = 0;
        loop {
            let mut letters = Vec::new();
            for rig in &mut self.0 {
                for output in std::mem::take(&mut rig.out) {
                    match output {
                        Output::TellOne { shard, gossip } => letters.push((shard, gossip)),
                        other => rig.out.push(other),
                    }
                }
            }
            if letters.is_empty() {
                return carried;
            }
            carried += letters.len();
            for (to, gossip) in letters {
                self.0[usize::from(to.0)].on(Input::Gossip(gossip));
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 10 {
            for rig in &mut self.0 {
                rig.later(Duration::from_millis(10));
            }
            self.carry();
        }
    }

    /// Calls that are made when `count` clients ask at `shard`, within the time of some letters.
    fn sent(&mut self, shard: usize, count: usize) -> Vec<Call> {
        for _ in 0..count {
            self.0[shard].chat(ASK);
        }
        self.carry();
        self.pass(Duration::from_millis(50));
        self.0[shard].calls()
    }
}

const EVEN: u16 = 4;

#[test]
fn one_shard_may_use_all_that_the_others_leave() {
    let yaml = one_provider("openrouter", &pool_of("{rpm: 60}"));
    for shard in 0..usize::from(EVEN) {
        let mut node = Node::new(&yaml, EVEN);
        let sent = node.sent(shard, 70).len();
        // 2 % are left alone of the rate, not of what may come at once.
        assert_eq!(sent, 60, "shard {shard}");
        // What flows in is served as it comes; later the calls that nobody answers would be made again.
        node.pass(Duration::from_millis(1_900));
        assert_eq!(node.0[shard].calls().len(), 1);
    }
}

#[test]
fn three_a_minute_are_served_by_any_of_four_shards() {
    let mut node = Node::new(&one_provider("openrouter", &pool_of("{rpm: 3}")), EVEN);
    let sent: Vec<usize> = (0..4).map(|shard| node.sent(shard, 1).len()).collect();
    assert_eq!(sent, [1, 1, 1, 0]);
}

/// A client with one connection is at one shard, and has all of its tenant's limit there.
#[test]
fn a_tenant_at_one_shard_has_its_whole_limit() {
    let tenant = "- {id: a, limits: {rpm: 20}, keys: [{id: a1, secret: sk-a}]}";
    let yaml = one_provider("openrouter", POOL);
    let yaml = yaml.replace("- {id: a, keys: [{id: a1, secret: sk-a}]}", tenant);
    for shard in 0..usize::from(EVEN) {
        let mut node = Node::new(&yaml, EVEN);
        assert_eq!(node.sent(shard, 20).len(), 20, "shard {shard}");
        let client = node.0[shard].chat(ASK);
        node.carry();
        let (status, headers, _) = node.0[shard].told(client);
        assert_eq!(status, 429, "the twenty-first is refused and does not wait");
        assert_eq!(header(&headers, "retry-after"), Some("3"));
        let other = (shard + 1) % usize::from(EVEN);
        let client = node.0[other].chat(ASK);
        node.carry();
        assert_eq!(node.0[other].told(client).0, 429, "nor elsewhere");
    }
}

/// A host that does not answer: a pool's request waits its time, and one that its tenant's limits hold up is refused soon.
#[test]
fn a_shard_that_nobody_answers_refuses_in_time() {
    let tenant = "- {id: a, limits: {rpm: 20}, keys: [{id: a1, secret: sk-a}]}";
    let yaml = one_provider("openrouter", POOL);
    let yaml = yaml.replace("- {id: a, keys: [{id: a1, secret: sk-a}]}", tenant);
    let mut refused = 0;
    for shard in 0..EVEN {
        let mut rig = Rig::at(&yaml, ShardId(shard), EVEN);
        let client = rig.chat(ASK);
        if rig.out.iter().any(|o| matches!(o, Output::Call(_))) {
            // It grants itself.
            continue;
        }
        let letters = |rig: &Rig| {
            let told = |o: &&Output| matches!(o, Output::TellOne { .. });
            rig.out.iter().filter(told).count()
        };
        for _ in 0..90 {
            rig.later(Duration::from_millis(10));
        }
        assert!((10..=60).contains(&letters(&rig)), "asks, but not wildly");
        rig.secs(1);
        assert_eq!(rig.told(client).0, 429);
        refused += 1;
        rig.rests();
    }
    assert_eq!(refused, EVEN - 1, "one is the host");
}

/// What the provider says to one holds for all.
#[test]
fn what_is_left_is_what_all_have_left() {
    let mut node = Node::new(&one_provider("openrouter", &pool_of("{rpm: 1000}")), EVEN);
    let calls = node.sent(1, 1);
    let call = calls[0].attempt;
    let rig = &mut node.0[1];
    rig.on(Input::Sent { attempt: call });
    rig.up(
        call,
        200,
        &[
            ("content-type", "application/json"),
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "8"),
        ],
    );
    rig.say(call, WHOLE);
    rig.end(call);
    node.carry();
    node.pass(Duration::from_millis(300));
    let at_once: usize = (0..4).map(|shard| node.sent(shard, 8).len()).sum();
    let later: usize = node.0.iter_mut().map(|rig| rig.calls().len()).sum();
    assert_eq!(at_once + later, 8);
}

#[test]
fn one_shard_alone_leases_nothing() {
    let yaml = one_provider("openrouter", &pool_of("{rpm: 60}"));
    let mut node = Node::new(&yaml, 1);
    assert_eq!(node.sent(0, 60).len(), 60);
    assert_eq!(node.carry(), 0);
}

/// Nothing is left to be said, and no timer runs, when all have rested for a while.
#[test]
fn shards_at_rest_are_silent() {
    let mut node = Node::new(&one_provider("openrouter", &pool_of("{rpm: 600}")), EVEN);
    for shard in 0..4 {
        for call in node.sent(shard, 5) {
            let rig = &mut node.0[shard];
            rig.on(Input::Sent {
                attempt: call.attempt,
            });
            rig.answer(call.attempt);
        }
    }
    node.pass(Duration::from_secs(60));
    for rig in &node.0 {
        assert_eq!(rig.shard.next_timer(), None);
        rig.rests();
    }
}
