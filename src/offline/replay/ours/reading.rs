//! A prompt of a trace as a router reads one: where its turns end, who said them, and what is asked of the cache.
//!
//! A trace tells block ids. What a router reads from the body (tools, instructions, turns) is put together from what the trace says of the head, from
//! the ends of the prompts that this one goes on from, each followed by the model's answer, and from whether a tool's result came last.

use crate::base::{FixedHasher, Instant, Tokens};
use crate::canon::{CacheMark, CacheTtl, ElementKind, Spot};
use crate::offline::replay::cache::{Life, Mark};
use crate::offline::replay::policy::{Asked, Marks};
use crate::policy::fingerprint::{At, BYTES_PER_TOKEN, Boundary, Fingerprint};
use crate::policy::marks::{Arrival, Doorkeeper, Offer, Prompt};
use crate::policy::prefix::{Matching, Rules};
use std::collections::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// What is asked of caches.
#[derive(Clone, Debug)]
pub enum Marking {
    /// Wherever a cache would be of use, always so long.
    Always(Life),
    /// What `policy::marks` says of such an offer.
    Placed(Offer),
}

/// A prompt, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub bounds: Vec<Boundary>,
    /// Of a cache that keeps blocks: those that are written. Of others all of `bounds`, of which the marked are.
    pub written: usize,
    pub marks: Marks,
}

/// What has been read so far.
pub(super) struct Reader {
    marking: Marking,
    keeper: Doorkeeper,
    /// Positions of the ends of prompts that were sent, by their last block.
    ends: HashMap<u64, u32, FixedHasher>,
    /// Of a cache that keeps blocks: those that were sent.
    seen: HashSet<u64, FixedHasher>,
}

/// Where something ends in a prompt.
#[derive(Clone, Copy)]
struct End {
    blocks: u32,
    position: u32,
    kind: ElementKind,
    is_models: bool,
}

const KEPT: usize = 1 << 16;
const PREFIX: u64 = 1;
const ANSWER: u64 = 2;
const OPENER: u64 = 3;

impl Reader {
    pub fn new(marking: Marking) -> Self {
        Self {
            marking,
            keeper: Doorkeeper::new(KEPT),
            ends: HashMap::default(),
            seen: HashSet::default(),
        }
    }

    /// Reads a prompt that has just come, and decides what to ask of the cache.
    pub fn read(&mut self, asked: &Asked<'_>, rules: &Rules, now: Instant) -> Reading {
        let is_blocks = matches!(rules.matching, Matching::Blocks(_));
        let ends = self.ends_in(asked, is_blocks);
        let marks = self.marks(asked, &ends, is_blocks, now);
        if is_blocks {
            let upto = marks.last().map_or(0, |mark| mark.blocks);
            return Reading {
                bounds: blocks_of(asked),
                written: upto as usize,
                marks,
            };
        }
        let bounds = ends.iter().filter_map(|end| bound(asked, end, &marks));
        let bounds: Vec<Boundary> = bounds.collect();
        Reading {
            written: bounds.len(),
            bounds,
            marks,
        }
    }

    /// It was sent: others may go on from it.
    pub fn sent(&mut self, asked: &Asked<'_>, rules: &Rules) {
        let request = asked.ask.request;
        let is_blocks = matches!(rules.matching, Matching::Blocks(_));
        let blocks = whole_blocks(asked, is_blocks);
        if let Some(id) = request.prompt.prefix(blocks) {
            self.ends.insert(id.0, request.position);
        }
        if is_blocks {
            let ids = request.prompt.runs().iter().flat_map(|run| run.ids());
            self.seen.extend(ids);
        }
    }

    /// The ends that a router would see, in order.
    fn ends_in(&self, asked: &Asked<'_>, is_blocks: bool) -> Vec<End> {
        let request = asked.ask.request;
        let (head, last) = (request.head_blocks, whole_blocks(asked, is_blocks));
        let mut ends = Vec::new();
        let mut push = |blocks, position, kind, is_models| {
            ends.push(End {
                blocks,
                position,
                kind,
                is_models,
            });
        };
        if (1..last).contains(&head) {
            // The traces of agents have tools, those of chats none.
            if !is_blocks && head > 1 {
                push(1, 1, ElementKind::Tool, false);
            }
            push(head, 1, ElementKind::System, false);
        }
        let shared = if is_blocks { self.shared(asked) } else { 0 };
        let ids = request.prompt.runs().iter().flat_map(|run| run.ids());
        for (blocks, id) in (1..last).zip(ids).skip(head as usize) {
            let known = self.ends.get(&id);
            // A turn said anew: up to there it is as it was.
            let is_branch = blocks == shared;
            let Some(position) = known.copied().or(is_branch.then_some(blocks)) else {
                continue;
            };
            push(blocks, position, ElementKind::Text, false);
            push(blocks, position + 1, ElementKind::Text, true);
        }
        let newest = match request.is_after_tool {
            true => ElementKind::ToolResult,
            false => ElementKind::Text,
        };
        push(last, request.position, newest, false);
        ends
    }

    /// Leading blocks that were sent before.
    fn shared(&self, asked: &Asked<'_>) -> u32 {
        let runs = asked.ask.request.prompt.runs().iter();
        let ids = runs.flat_map(|run| run.ids());
        ids.take_while(|id| self.seen.contains(id)).count() as u32
    }

    fn marks(&mut self, asked: &Asked<'_>, ends: &[End], is_blocks: bool, now: Instant) -> Marks {
        let offer = match &self.marking {
            Marking::Always(life) => {
                let at_most = whole_blocks(asked, false);
                let marks = asked.ask.marks.iter().filter(|m| m.blocks <= at_most);
                return marks
                    .map(|mark| Mark {
                        life: *life,
                        ..*mark
                    })
                    .collect();
            }
            Marking::Placed(offer) => *offer,
        };
        let spots: Vec<Spot> = ends.iter().map(End::spot).collect();
        let bounds = ends.iter().filter_map(|end| bound(asked, end, &[]));
        let bounds: Vec<Boundary> = bounds.collect();
        let prompt = Prompt {
            bounds: &bounds,
            spots: &spots,
            marks: 0,
            nested: false,
        };
        let arrival = Arrival {
            prompt: &prompt,
            conversation: conversation(asked, ends, is_blocks),
            tenant: 1,
            is_retry: false,
        };
        let placed = self.keeper.decide(&arrival, &offer, now);
        let mark = |placed: &crate::policy::marks::Mark| {
            let end = ends[placed.spot];
            let is_long = placed.ttl.is_some() && placed.ttl == offer.long.map(|long| long.ttl);
            Mark {
                blocks: end.blocks,
                position: end.position,
                life: if is_long { Life::Long } else { Life::Short },
            }
        };
        placed.marks.iter().map(mark).collect()
    }
}

impl End {
    fn spot(&self) -> Spot {
        Spot {
            kind: self.kind,
            mark: None,
            bears: !self.is_models && self.kind != ElementKind::Tool,
            is_models: self.is_models,
        }
    }
}

/// The name of a conversation: how it begins, of what a router sees.
fn conversation(asked: &Asked<'_>, ends: &[End], is_blocks: bool) -> Fingerprint {
    if is_blocks {
        return named(asked.session, OPENER);
    }
    let is_turn = |end: &&End| !matches!(end.kind, ElementKind::Tool | ElementKind::System);
    let first = ends.iter().find(is_turn).map_or(0, |end| end.blocks);
    let id = asked.ask.request.prompt.prefix(first);
    named(id.map_or(0, |id| id.0), OPENER)
}

/// Blocks that a cache of blocks keeps: the last is left out where it is not full.
fn whole_blocks(asked: &Asked<'_>, is_blocks: bool) -> u32 {
    let request = asked.ask.request;
    let blocks = request.prompt.blocks();
    let is_full = request.prompt_tokens >= blocks.saturating_mul(asked.ask.block_tokens);
    if is_blocks && !is_full {
        blocks.saturating_sub(1)
    } else {
        blocks
    }
}

fn blocks_of(asked: &Asked<'_>) -> Vec<Boundary> {
    let block = |blocks: u32| {
        let id = asked.ask.request.prompt.prefix(blocks)?;
        Some(boundary(
            asked,
            (blocks, blocks),
            named(id.0, PREFIX),
            At::Block,
        ))
    };
    (1..=asked.ask.request.prompt.blocks())
        .filter_map(block)
        .collect()
}

fn bound(asked: &Asked<'_>, end: &End, marks: &[Mark]) -> Option<Boundary> {
    let id = asked.ask.request.prompt.prefix(end.blocks)?;
    let name = named(id.0, if end.is_models { ANSWER } else { PREFIX });
    let mark = marks
        .iter()
        .find(|mark| mark.blocks == end.blocks && !end.is_models);
    let ttl = |mark: &Mark| match mark.life {
        Life::Short => CacheTtl::Minutes5,
        Life::Long => CacheTtl::Hours1,
    };
    let at = (end.blocks, end.position);
    Some(Boundary {
        mark: mark.map(|mark| CacheMark {
            ttl: Some(ttl(mark)),
        }),
        ..boundary(asked, at, name, At::Element(end.kind))
    })
}

fn boundary(
    asked: &Asked<'_>,
    (blocks, position): (u32, u32),
    fingerprint: Fingerprint,
    at: At,
) -> Boundary {
    let tokens = Tokens(u64::from(asked.ask.tokens(blocks)));
    Boundary {
        fingerprint,
        bytes: u32::try_from(tokens.0 * BYTES_PER_TOKEN).unwrap_or(u32::MAX),
        position: position.try_into().unwrap_or(u16::MAX),
        at,
        ends_turn: blocks == asked.ask.request.prompt.blocks(),
        mark: None,
    }
}

fn named(id: u64, purpose: u64) -> Fingerprint {
    let hash = xxh3_128_with_seed(&id.to_le_bytes(), purpose);
    Fingerprint {
        chain: hash as u64,
        tag: (hash >> 64) as u64,
    }
}
