//! One core's state, without I/O: (now, input) → outputs. The phases of an exchange in order: `admit`, `route`, `send`, `stream`,
//! `settle`. Knows no socket, clock or runtime: `net` and the simulator drive it alike.

mod input;
pub use input::{BodyFault, ClientHead, Headers, Input, Slices, UpstreamFault};
mod output;
pub use output::{Call, LedgerRow, LogLine, Mail, Outcome, Output, ResponseHead};

use crate::base::{Instant, Now, ShardId};
use crate::config::Config;
use std::sync::Arc;

/// One core's exchanges, pools, breakers and random numbers.
#[derive(Debug)]
pub struct Shard {
    config: Arc<Config>,
}

/// What a shard is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    pub config: Arc<Config>,
    pub id: ShardId,
    /// How many shards share the instance's budgets.
    pub shards: u16,
    /// Different in every process and shard; the same seed repeats a run.
    pub seed: u64,
}

impl Shard {
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            config: setup.config,
        }
    }

    /// Takes one input at `now` and appends to `out` what shall be done.
    pub fn on(&mut self, _now: Now, _input: Input, _out: &mut Vec<Output>) {
        let _ = &self.config;
    }

    /// When `Input::Tick` is wanted next; `None` when nothing is waited for.
    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        None
    }
}
