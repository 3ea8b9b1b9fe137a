//! Real shards, fake time, fake network, fake providers, a fake I/O core; one thread, no socket, no sleep.
//!
//! A seed draws the shape of the node, its traffic and which faults exist; checkers, not examples, say what must hold. A failure
//! prints its seed; `STOKEHOLD_SEED=n` repeats it alone, `STOKEHOLD_SEEDS=n` runs so many.

mod checks;
mod clients;
mod films;
mod kept;
mod network;
mod servers;
/// Shared with the tests of the shard, which know these names by another path.
mod named {
    pub use stokehold::base::{ExchangeId, Str};
    pub use stokehold::canon::{DialectName, Usage};
    pub use stokehold::shard::stored::*;
}
#[path = "../../src/shard/tests/store.rs"]
#[allow(dead_code, reason = "the other tests ask more of it")]
mod store;
mod world;

use world::World;

/// Seeds a run of the suite tries.
const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = number("STOKEHOLD_SEED") {
        World::drawn(seed).run();
        return;
    }
    let seeds = number("STOKEHOLD_SEEDS").unwrap_or(SEEDS);
    let mut sum = world::Sum::default();
    for seed in 0..seeds {
        let ran = std::panic::catch_unwind(|| World::drawn(seed).run());
        match ran {
            Ok(one) => sum.add(&one),
            Err(_) => panic!("seed {seed} broke a promise; repeat it with STOKEHOLD_SEED={seed}"),
        }
    }
    println!("{seeds} seeds: {sum:?}");
    // A simulation in which nothing goes wrong shows nothing.
    assert!(
        sum.answered > seeds
            && sum.apart > 0
            && sum.failed > 0
            && sum.retried > 0
            && sum.gone > 0
            && sum.waited > 0
            && sum.on_lanes > 0,
        "{sum:?}"
    );
    assert!(sum.gated > 0 && sum.expected > 0 && sum.read > 0, "{sum:?}");
    assert!(
        sum.hedged > seeds / 100 && sum.pinged > seeds / 10,
        "{sum:?}"
    );
    assert!(sum.films > seeds && sum.fetched > 0, "{sum:?}");
    assert!(sum.shut_servers > seeds && sum.loads > seeds, "{sum:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 14, 159] {
        assert_eq!(
            World::drawn(seed).run(),
            World::drawn(seed).run(),
            "seed {seed}"
        );
    }
}
