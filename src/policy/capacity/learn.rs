//! Rates that nobody told: found by trying, and given up when a provider refuses.
//!
//! Up by 2 % for each ten seconds that were clean and used over 80 %, down to 0.7 at a refusal that names no number (0.9 where it asks for
//! less than a second). Growing on use alone means that a limit which is not the one that binds stays where it is. `Pace` is the same for
//! limits that are known: what a provider does not keep to is learned too, but never above what is known.

use crate::base::Instant;
use crate::policy::capacity::bucket::{Rate, scaled};
use crate::policy::capacity::rule::Ramp;
use std::time::Duration;

/// What was drawn of late, in slots of ten seconds, and how the last of them went.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    slots: [u64; SLOTS],
    /// The slot that is being filled, counted from the beginning of time.
    at: u64,
    /// There was a refusal in it.
    refused: bool,
}

/// What a slot that has ended says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub drawn: u64,
    pub clean: bool,
}

impl Recent {
    /// Comes to the slot of `now`; the one before it, if it has just ended.
    pub fn turn(&mut self, now: Instant) -> Option<Ended> {
        let slot = now.0 / SLOT;
        let gone = slot.saturating_sub(self.at);
        if gone == 0 {
            return None;
        }
        let ended = Ended {
            drawn: self.slots[place(self.at)],
            clean: !std::mem::take(&mut self.refused),
        };
        for passed in 1..=gone.min(SLOTS as u64) {
            self.slots[place(self.at + passed)] = 0;
        }
        self.at = slot;
        (gone == 1).then_some(ended)
    }

    pub fn drew(&mut self, tokens: u64) {
        let slot = &mut self.slots[place(self.at)];
        *slot = slot.saturating_add(tokens);
    }

    pub fn refused(&mut self) {
        self.refused = true;
    }

    /// Drawn in the last minute, or nearly.
    #[must_use]
    pub fn in_minute(&self) -> u64 {
        self.slots.iter().sum()
    }
}

/// The rate after a clean slot that drew so much: 2 % more if it used over 80 %, but no more than `most`.
#[must_use]
pub fn grown(rate: Rate, ended: Ended, most: Option<Rate>) -> Rate {
    let whole = rate.0 / SLOTS_A_MINUTE;
    let used = ended.drawn.saturating_mul(1_000);
    if !ended.clean || used < scaled(whole, 8, 10) {
        return rate;
    }
    // At least one token a minute more, so that what was cut to little comes back.
    let grown = Rate(rate.permille(1_020).0.max(rate.0 + 1_000));
    most.map_or(grown, |most| grown.min(most))
}

/// The rate after a refusal that named no number.
#[must_use]
pub fn cut(rate: Rate, retry_after: Option<Duration>) -> Rate {
    let soon = retry_after.is_some_and(|wait| wait < Duration::from_secs(1));
    let cut = rate.permille(if soon { 900 } else { 700 });
    Rate(cut.0.max(FLOOR.0.min(rate.0)))
}

/// The first guess at a limit that nobody knows: 0.7 of what was drawn in the minute before it was refused. `None` where that was too
/// little to say anything.
#[must_use]
pub fn first_guess(drawn: u64, least: u64) -> Option<Rate> {
    (drawn >= least).then(|| Rate::per_minute(drawn).permille(700))
}

/// A slow start: after a refusal was waited out, or after a long silence, what may be sent grows to the whole over some time.
/// Providers refuse steep growth as such (Anthropic `ramp_limit_exceeded`, OpenAI `slow_down`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    began: Option<Instant>,
    last: Option<Instant>,
}

impl Start {
    /// It begins anew at `at`.
    pub fn again(&mut self, at: Instant) {
        self.began = Some(at);
    }

    /// Something is about to be sent: true if it is the first after a long silence, so that the start begins anew.
    pub fn sent(&mut self, now: Instant) -> bool {
        let silent = self.last.is_some_and(|last| now.since(last) >= SILENCE);
        self.last = Some(now);
        if silent {
            self.again(now);
        }
        silent
    }

    /// How much may be used at `now`, in thousandths; `None` when the start is over.
    #[must_use]
    pub fn permille(&self, ramp: Ramp, now: Instant) -> Option<u64> {
        let gone = now.since(self.began?);
        if gone >= ramp.over {
            return None;
        }
        let more = 1_000u64.saturating_sub(ramp.from);
        let (gone, over) = (gone.as_millis() as u64, ramp.over.as_millis() as u64);
        Some(ramp.from + scaled(more, gone, over))
    }

    /// Ends it when its time is over; true if it had to.
    pub fn end(&mut self, ramp: Ramp, now: Instant) -> bool {
        let over = self.began.is_some() && self.permille(ramp, now).is_none();
        if over {
            self.began = None;
        }
        over
    }
}

fn place(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}

const SLOTS: usize = 6;
const SLOTS_A_MINUTE: u64 = 6;
/// Ten seconds.
const SLOT: u64 = 10_000_000_000;
/// Providers do not say how long; five minutes is what their caches take for one.
const SILENCE: Duration = Duration::from_secs(300);
/// Six a minute: less would take longer to recover than anybody waits.
const FLOOR: Rate = Rate(6_000);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant(s * 1_000_000_000)
    }

    #[test]
    fn a_clean_full_slot_grows_the_rate_and_a_refusal_cuts_it() {
        let rate = Rate::per_minute(600);
        let ended = |drawn, clean| Ended { drawn, clean };
        // A sixth of 600 is 100, of which 80 are the eighty per cent.
        assert_eq!(grown(rate, ended(80, true), None), Rate(612_000));
        assert_eq!(grown(rate, ended(79, true), None), rate);
        assert_eq!(grown(rate, ended(100, false), None), rate);
        let most = Some(Rate::per_minute(605));
        assert_eq!(grown(rate, ended(100, true), most), Rate(605_000));
        assert_eq!(cut(rate, None), Rate(420_000));
        assert_eq!(cut(rate, Some(Duration::from_millis(500))), Rate(540_000));
        assert_eq!(cut(Rate(7_000), None), Rate(6_000));
        assert_eq!(first_guess(100, 10), Some(Rate(70_000)));
        assert_eq!(first_guess(9, 10), None);
    }

    #[test]
    fn the_last_minute_forgets_what_is_older() {
        let mut recent = Recent::default();
        for s in 0..120 {
            recent.turn(at(s));
            recent.drew(1);
        }
        assert_eq!(recent.in_minute(), 60);
        assert_eq!(
            recent.turn(at(120)),
            Some(Ended {
                drawn: 10,
                clean: true
            })
        );
        assert_eq!(recent.turn(at(1_000)), None, "a silence says nothing");
        assert_eq!(recent.in_minute(), 0);
    }

    /// FIELD-BUGS 29.
    #[test]
    fn a_start_is_slow_and_then_over() {
        let ramp = Ramp {
            from: 250,
            over: Duration::from_secs(30),
        };
        let mut start = Start::default();
        assert!(!start.sent(at(0)) && start.permille(ramp, at(0)).is_none());
        assert!(start.sent(at(301)), "after a silence");
        assert_eq!(start.permille(ramp, at(301)), Some(250));
        assert_eq!(start.permille(ramp, at(316)), Some(625));
        assert!(!start.end(ramp, at(330)) && start.end(ramp, at(331)));
    }
}
