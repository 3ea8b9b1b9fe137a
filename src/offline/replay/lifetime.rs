//! How long prompts stay cached, as others decide it: which lifetime is asked for, and what is done while a conversation is idle.
//!
//! The learned ones know how long conversations paused on the training half, by why the answer before ended. The clairvoyant ones know the
//! pause to come. Sessions that choose once for all their requests are in `row`, which picks them from two runs.

use super::book::Prices;
use super::cache::{Hit, Life, Lives};
use super::policy::{Asked, Idle, Marks};
use super::trace::{Half, Stop, Trace, span};
use std::rc::Rc;
use std::time::Duration;

/// A lifetime policy, and what it must know.
#[derive(Clone, Debug)]
pub enum Lifetime {
    /// Never asks for caching.
    Nothing,
    Always(Life),
    /// Short, renewed by at most so many pings.
    Pings(u32),
    /// Short, renewed while a return in the next window is likely enough to pay for the ping.
    HazardPings(Known),
    /// Short, renewed exactly when that pays; not written when nobody returns.
    ClairvoyantPings(Known),
    /// Short; one ping asks for the long lifetime when the short one is about to end.
    Lengthen,
    /// Long when the learned chance of a pause beyond the short lifetime makes it pay.
    Adaptive(Known),
    /// As `Adaptive`, and `Lengthen` where it chose short and it pays.
    AdaptiveLengthen(Known),
    /// The lifetime that the next pause needs; not written when nobody returns.
    Clairvoyant(Known),
}

/// What a policy knows of pauses, and the prices it weighs them with.
#[derive(Clone, Debug)]
pub struct Known {
    pub prices: Prices,
    pub lives: Lives,
    pub pauses: Rc<Pauses>,
    /// Of each request of the trace: how long until its prompt is read again.
    pub next: Rc<Vec<Option<Duration>>>,
}

impl Known {
    /// From the training half of `trace`; the clairvoyant part from all of it.
    #[must_use]
    pub fn of(trace: &Trace, prices: Prices, lives: Lives) -> Self {
        let next = trace.reuse_gaps();
        Self {
            prices,
            lives,
            pauses: Rc::new(Pauses::learned(trace, &next)),
            next: Rc::new(next),
        }
    }

    #[must_use]
    pub fn at(&self, prices: Prices) -> Self {
        Self {
            prices,
            ..self.clone()
        }
    }
}

/// Pauses seen after each reason to stop, sorted; those that never ended are only counted.
#[derive(Clone, Debug, Default)]
pub struct Pauses {
    ended: [Vec<Duration>; 3],
    endless: [usize; 3],
}

impl Pauses {
    fn learned(trace: &Trace, next: &[Option<Duration>]) -> Self {
        let mut pauses = Self::default();
        for stream in &trace.streams {
            if trace.half(stream.session) == Half::Test {
                continue;
            }
            for index in span(&stream.requests) {
                let kind = kind(trace.requests[index].stop);
                match next[index] {
                    Some(gap) => pauses.ended[kind].push(gap),
                    None => pauses.endless[kind] += 1,
                }
            }
        }
        pauses
            .ended
            .iter_mut()
            .for_each(|gaps| gaps.sort_unstable());
        pauses
    }

    /// The chance that a pause after `stop` ends in (`from`, `to`], given that it is longer than `past`; 0 without experience.
    #[must_use]
    pub fn chance(&self, stop: Stop, past: Duration, from: Duration, to: Duration) -> f64 {
        let kind = kind(stop);
        let gaps = &self.ended[kind];
        let beyond = |t: Duration| gaps.len() - gaps.partition_point(|gap| *gap <= t);
        let all = beyond(past) + self.endless[kind];
        let within = beyond(from) - beyond(to);
        within as f64 / all.max(1) as f64
    }
}

fn kind(stop: Stop) -> usize {
    match stop {
        Stop::EndTurn => 0,
        Stop::ToolUse => 1,
        Stop::Unknown => 2,
    }
}

/// Pings are sent so long before the end of the lifetime.
pub const MARGIN: Duration = Duration::from_secs(20);

impl Lifetime {
    /// `asked`'s marks, with the lifetime of each.
    #[must_use]
    pub fn marks(&self, asked: &Asked<'_>, hit: &Hit) -> Marks {
        let tail = match self {
            Self::Nothing => return Marks::new(),
            Self::Always(life) => Some(*life),
            Self::Pings(_) | Self::HazardPings(_) | Self::Lengthen => Some(Life::Short),
            Self::ClairvoyantPings(known) => known.pings_due(asked).map(|_| Life::Short),
            Self::Adaptive(known) | Self::AdaptiveLengthen(known) => {
                Some(known.learned(asked, hit))
            }
            Self::Clairvoyant(known) => known.needed(asked),
        };
        let mut marks = Marks::from_slice(asked.ask.marks);
        match tail {
            // What nobody returns for is not written, but the mark that reads is needed all the same.
            None => {
                let head = asked.ask.request.head_blocks;
                if let Some(tail) = marks.last_mut() {
                    tail.blocks = hit.blocks.max(head).min(tail.blocks);
                }
                marks.dedup_by_key(|mark| mark.blocks);
                marks.retain(|mark| mark.blocks > 0);
            }
            // Long must come before short, so those before the tail are long too.
            Some(life) => marks.iter_mut().for_each(|mark| mark.life = life),
        }
        marks
    }

    /// What to do when `asked` was the last of its stream for nearly the short lifetime, or for that after the `pings`th ping.
    #[must_use]
    pub fn idle(&self, asked: &Asked<'_>, pings: u32) -> Idle {
        match self {
            Self::Nothing | Self::Always(_) | Self::Adaptive(_) | Self::Clairvoyant(_) => {
                Idle::Rest
            }
            Self::Pings(most) if pings < *most => Idle::Ping,
            Self::Pings(_) => Idle::Rest,
            Self::HazardPings(known) if known.return_pays(asked, pings) => Idle::Ping,
            Self::HazardPings(_) => Idle::Rest,
            Self::ClairvoyantPings(known)
                if known.pings_due(asked).is_some_and(|due| pings < due) =>
            {
                Idle::Ping
            }
            Self::ClairvoyantPings(_) => Idle::Rest,
            Self::Lengthen if pings == 0 => Idle::Lengthen,
            Self::Lengthen => Idle::Rest,
            Self::AdaptiveLengthen(known) if pings == 0 && known.lengthening_pays(asked) => {
                Idle::Lengthen
            }
            Self::AdaptiveLengthen(_) => Idle::Rest,
        }
    }
}

impl Known {
    /// ROUTING 1.6: long when q (w5 − r) R > (w1h − w5) D.
    fn learned(&self, asked: &Asked<'_>, hit: &Hit) -> Life {
        let request = asked.ask.request;
        let past = Duration::ZERO;
        let chance = self
            .pauses
            .chance(request.stop, past, self.lives.short, self.lives.long);
        let all = f64::from(request.prompt_tokens);
        let new = all - f64::from(asked.ask.tokens(hit.blocks));
        let saved = chance * (self.prices.write_short - self.prices.read) * all;
        if saved > (self.prices.write_long - self.prices.write_short) * new {
            Life::Long
        } else {
            Life::Short
        }
    }

    /// The lifetime that the next pause needs; `None` when the prompt is not read again in time.
    fn needed(&self, asked: &Asked<'_>) -> Option<Life> {
        let pause = self.next[asked.index]?;
        if pause < self.lives.short {
            Some(Life::Short)
        } else {
            (pause < self.lives.long).then_some(Life::Long)
        }
    }

    /// Pings that carry the prompt to its next reading; `None` when that costs more than writing it again, or there is none.
    fn pings_due(&self, asked: &Asked<'_>) -> Option<u32> {
        let pause = self.next[asked.index]?;
        let each = self.lives.short - MARGIN;
        let beyond = pause.saturating_sub(self.lives.short - Duration::from_nanos(1));
        let due = beyond.as_nanos().div_ceil(each.as_nanos()) as f64;
        let worth = (self.prices.write_short - self.prices.read) / self.prices.read;
        (due < worth).then_some(due as u32)
    }

    /// ROUTING 1.6: ping while the hazard of a return in the window it buys exceeds r n / ((w − r) R).
    fn return_pays(&self, asked: &Asked<'_>, pings: u32) -> bool {
        let each = self.lives.short - MARGIN;
        let past = each * (pings + 1);
        let from = past + MARGIN;
        let stop = asked.ask.request.stop;
        let chance = self.pauses.chance(stop, past, from, from + each);
        chance > self.prices.read / (self.prices.write_short - self.prices.read)
    }

    fn lengthening_pays(&self, asked: &Asked<'_>) -> bool {
        let request = asked.ask.request;
        if asked
            .ask
            .marks
            .last()
            .is_none_or(|mark| mark.life == Life::Long)
        {
            return false;
        }
        let past = self.lives.short - MARGIN;
        let chance =
            self.pauses
                .chance(request.stop, past, self.lives.short, past + self.lives.long);
        let all = f64::from(request.prompt_tokens);
        let cost =
            self.prices.read * all + self.prices.write_long * f64::from(request.output_tokens);
        chance * (self.prices.write_short - self.prices.read) * all > cost
    }
}
