//! Requests that fan out: groups of identical prefixes that arrive almost at once, as parallel workers and batches make them.

use super::{BlockId, Prompt, Request, Run, Session, Stop, Stream, Trace};
use crate::base::Rng;
use std::time::Duration;

/// What to make up.
#[derive(Clone, Copy, Debug)]
pub struct Fan {
    pub groups: u32,
    /// Requests of a group.
    pub members: u32,
    /// Tokens that all members of a group begin with.
    pub head_tokens: u32,
    /// Tokens that each member has of its own.
    pub own_tokens: u32,
    pub output_tokens: u32,
    /// Members arrive evenly drawn from this time after their group begins.
    pub within: Duration,
    /// From one group's beginning to the next.
    pub between: Duration,
    pub seed: u64,
}

impl Default for Fan {
    /// The case of ROUTING 4.5: eight at once over 20,000 tokens.
    fn default() -> Self {
        Self {
            groups: 50,
            members: 8,
            head_tokens: 20_000,
            own_tokens: 256,
            output_tokens: 200,
            within: Duration::from_secs(2),
            between: Duration::from_secs(600),
            seed: 1,
        }
    }
}

const BLOCK_TOKENS: u32 = 64;

impl Fan {
    /// A trace with a session a group and a stream a member.
    #[must_use]
    pub fn trace(&self) -> Trace {
        let mut rng = Rng::seeded(self.seed);
        let mut trace = Trace {
            block_tokens: BLOCK_TOKENS,
            models: vec!["fan".into()],
            ..Trace::default()
        };
        for group in 0..self.groups {
            let streams = trace.streams.len() as u32;
            let starts = self.between * group;
            for member in 0..self.members {
                let begins = self.within.mul_f64(rng.unit());
                self.push(&mut trace, group, member, begins);
            }
            trace.sessions.push(Session {
                key: super::key(&format!("fan {} {group}", self.seed)),
                kin: super::key(&format!("fan {} {group}", self.seed)),
                starts: Some(starts),
                streams: streams..trace.streams.len() as u32,
            });
        }
        trace
    }

    fn push(&self, trace: &mut Trace, group: u32, member: u32, begins: Duration) {
        let index = trace.requests.len() as u32;
        let head = Run {
            first: BlockId(u64::from(group) << 32),
            blocks: self.head_tokens / BLOCK_TOKENS,
        };
        // Groups take the lower names; each member one of the upper.
        let name = u64::from(self.groups) + u64::from(group) * u64::from(self.members);
        let own = Run {
            first: BlockId((name + u64::from(member)) << 32),
            blocks: self.own_tokens / BLOCK_TOKENS,
        };
        trace.requests.push(Request {
            gap: Duration::ZERO,
            model: 0,
            stop: Stop::EndTurn,
            prompt: Prompt::of([head, own]),
            prompt_tokens: (head.blocks + own.blocks) * BLOCK_TOKENS,
            output_tokens: self.output_tokens,
            head_blocks: head.blocks,
            is_after_tool: false,
            position: 2,
        });
        trace.streams.push(Stream {
            session: group,
            begins,
            requests: index..index + 1,
        });
    }
}
