//! One answer under way: what it does next at a given time, and what it cost when it ends.

use super::book::{Ended, Entry};
use super::cache::Writes;
use super::fault::Faults;
use super::voice::{Item, Run, Voice};
use crate::base::Instant;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Names and values, in order.
pub(super) type Headers = Vec<(&'static str, String)>;

/// What an answer does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time; asking earlier gives the same.
    Wait(Instant),
    Head {
        status: u16,
        headers: Vec<(&'static str, String)>,
    },
    Bytes(Bytes),
    /// The body ended as it should on the wire.
    End,
    /// The connection breaks.
    Reset,
    /// Nothing will ever come; the caller has to hang up.
    Stall,
}

/// What the body is made of.
pub(super) enum Body {
    /// Already written, and sent at once after the head.
    Fixed(Bytes),
    /// Said token by token; streamed or whole.
    Said {
        voice: Arc<Voice>,
        items: Arc<[Item]>,
        stream: bool,
    },
}

pub(super) struct Live {
    pub entry: Entry,
    /// Answers that cost nothing and are no refusal (models, counts) are not booked.
    pub booked: bool,
    pub class: String,
    pub head: Option<(u16, Headers)>,
    pub body: Body,
    pub start: Instant,
    pub first: Duration,
    pub between: Duration,
    pub faults: Faults,
    pub writes: Writes,
    pub request_id: String,
    /// Broken off by a fault after the head.
    pub cut: bool,
    pub at: usize,
    pub run: Run,
    pub produced: u64,
    pub events: u64,
    pub bytes: u64,
    pub queue: VecDeque<Bytes>,
    pub last: Option<Step>,
}

impl Live {
    fn token_at(&self, ordinal: u64) -> Instant {
        let nanos = (self.between.as_nanos() as u64).saturating_mul(ordinal);
        self.start + self.first + Duration::from_nanos(nanos)
    }

    fn head_at(&self) -> Instant {
        match &self.body {
            Body::Said {
                voice,
                stream: false,
                ..
            } => self.token_at(voice.tokens().saturating_sub(1)),
            Body::Said { .. } => self.token_at(0),
            Body::Fixed(_) => self.start + self.faults.slow_first_byte.unwrap_or_default(),
        }
    }

    pub(super) fn step(&mut self, now: Instant) -> Step {
        if self.head.is_some() && now < self.head_at() {
            return Step::Wait(self.head_at());
        }
        if let Some((status, headers)) = self.head.take() {
            return Step::Head { status, headers };
        }
        if self.queue.is_empty() && self.last.is_none() {
            let mut out = Vec::new();
            if let Some(until) = self.produce(now, &mut out)
                && out.is_empty()
                && self.queue.is_empty()
            {
                return Step::Wait(until);
            }
            self.give(out);
        }
        match (self.queue.pop_front(), &self.last) {
            (Some(bytes), _) => Step::Bytes(bytes),
            (None, Some(last)) => last.clone(),
            (None, None) => Step::Wait(now),
        }
    }

    /// Appends all that is due; the time of what comes next, if anything does.
    fn produce(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Instant> {
        while self.last.is_none() {
            let Body::Said {
                items,
                stream: true,
                ..
            } = &self.body
            else {
                self.whole(out);
                return None;
            };
            let Some(&item) = items.get(self.at) else {
                self.last = Some(Step::End);
                break;
            };
            let token = matches!(item, Item::Piece(..));
            let due = self.token_at(if token {
                self.produced
            } else {
                self.produced.saturating_sub(1)
            });
            if now < due {
                return Some(due);
            }
            self.event(item, out);
        }
        None
    }

    /// A body that is one event.
    fn whole(&mut self, out: &mut Vec<u8>) {
        self.last = Some(Step::End);
        if self.faults.stall_after == Some(0) {
            self.last = Some(Step::Stall);
            return;
        }
        let bytes = match &self.body {
            Body::Fixed(bytes) => bytes.clone(),
            Body::Said { voice, .. } => Bytes::from(voice.whole()),
        };
        self.entry.told = matches!(self.body, Body::Said { .. }) || self.entry.billed.uncached > 0;
        if self.faults.torn.is_some() {
            // The first bytes one by one: a body of one event has no more to tear.
            let torn = bytes.len().min(64);
            self.give_torn(&bytes.slice(..torn));
            self.give(bytes[torn..].to_vec());
        } else if self.faults.cut_after.is_some() {
            out.extend_from_slice(&bytes);
        } else {
            self.queue.push_back(bytes);
        }
        self.queue.retain(|bytes| !bytes.is_empty());
    }

    fn event(&mut self, item: Item, out: &mut Vec<u8>) {
        let Body::Said { voice, .. } = &self.body else {
            return;
        };
        let (voice, began) = (Arc::clone(voice), self.run);
        if self.faults.no_terminal && item.is_terminal() {
            (self.last, self.cut) = (Some(Step::End), true);
            return;
        }
        let before = out.len();
        voice.item(item, &mut self.run, out);
        if out.len() > before {
            if self.faults.stall_after == Some(self.events) {
                out.truncate(before);
                self.last = Some(Step::Stall);
                return;
            }
            if self.faults.error_event_after == Some(self.events) {
                out.truncate(before);
                self.run = began;
                voice.error_event(&mut self.run, out, &self.request_id);
                (self.last, self.cut) = (Some(Step::End), true);
                return;
            }
        }
        let tells = voice.tells(item);
        self.at += 1;
        self.produced += u64::from(matches!(item, Item::Piece(..)));
        self.after_event(before, tells, out);
    }

    fn after_event(&mut self, before: usize, tells: bool, out: &mut Vec<u8>) {
        let written = out.len() - before;
        if written > 0 && self.faults.torn == Some(self.events) {
            let frame = Bytes::copy_from_slice(&out[before..]);
            out.truncate(before);
            self.give(std::mem::take(out));
            self.give_torn(&frame);
        }
        self.events += u64::from(written > 0);
        let sent = self.bytes + out.len() as u64;
        // Usage that a cut takes away again was not told.
        self.entry.told |= tells && self.faults.cut_after.is_none_or(|cut| sent <= cut);
        if self.faults.cut_after.is_some_and(|cut| sent >= cut) && self.last.is_none() {
            self.last = Some(Step::Reset);
        }
    }

    fn give_torn(&mut self, frame: &Bytes) {
        for at in 0..frame.len() {
            self.give(vec![frame[at]]);
        }
    }

    fn give(&mut self, mut out: Vec<u8>) {
        if let Some(cut) = self.faults.cut_after {
            let room = cut.saturating_sub(self.bytes);
            if out.len() as u64 > room {
                out.truncate(room as usize);
                self.entry.told =
                    self.entry.told && matches!(&self.body, Body::Said { stream: true, .. });
                self.last = Some(Step::Reset);
            }
        }
        self.bytes += out.len() as u64;
        if !out.is_empty() {
            self.queue.push_back(Bytes::from(out));
        }
    }

    /// How it ends when the caller goes away now: who has it all and does not wait for the end has not left early.
    pub(super) fn left(&self) -> Ended {
        match &self.last {
            Some(Step::Reset) => Ended::Cut,
            _ if self.cut => Ended::Cut,
            Some(Step::End) if self.queue.is_empty() => Ended::Complete,
            _ => Ended::HungUp,
        }
    }

    /// What to write into the book; nothing for what costs nothing.
    pub(super) fn into_entry(self, now: Instant, ended: Ended) -> Option<Entry> {
        let produced = self.produced_by(now, ended);
        let mut entry = self.entry;
        if !self.booked {
            return None;
        }
        if let (Body::Said { voice, items, .. }, false) =
            (&self.body, matches!(entry.ended, Ended::Refused(_)))
        {
            entry.ended = ended;
            entry.billed.output = produced;
            let pieces = items.iter().filter(|i| matches!(i, Item::Piece(..)));
            let reasoning = pieces
                .take(produced as usize)
                .filter(|i| voice.reasons(**i));
            entry.billed.reasoning = reasoning.count() as u64;
        }
        if let (Body::Fixed(_), Ended::Complete) = (&self.body, entry.ended) {
            entry.ended = ended;
        }
        Some(entry)
    }

    /// Output tokens made by `now`, whether or not anybody read them.
    fn produced_by(&self, now: Instant, ended: Ended) -> u64 {
        let Body::Said { voice, stream, .. } = &self.body else {
            return 0;
        };
        let total = voice.tokens();
        if ended == Ended::Complete {
            return total;
        }
        // What breaks off of itself stops producing there; a caller who leaves stops it at that time.
        let broke_off = ended == Ended::Cut || self.last == Some(Step::Stall);
        if *stream && broke_off {
            return self.produced;
        }
        let begun = self.start + self.first;
        if now < begun {
            return 0;
        }
        let between = self.between.as_nanos() as u64;
        let by_time = (now.since(begun).as_nanos() as u64).checked_div(between);
        by_time
            .map_or(total, |n| (n + 1).min(total))
            .max(self.produced)
    }
}
