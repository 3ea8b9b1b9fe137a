//! A second call beside one that is late: begun where the time it should save is worth its price, settled when either begins to answer.
//!
//! An exchange with two calls has one of them in its phase and the other as its rival; which is which changes with every word from either
//! (`turn_to`), so that each step knows one call only. The head of an answer decides: the other call is cut off, billed by what is known of it, and
//! has its row. Nothing is begun beside a call whose head is here, that is about something kept at one place, or whose client named a price.

use crate::base::{AttemptId, Instant, Now, Str, Tokens};
use crate::canon::DialectName;
use crate::policy::candidate::Candidate;
use crate::policy::capacity::Room;
use crate::policy::choose::Decision;
use crate::policy::retry;
use crate::shard::desk::Desk;
use crate::shard::exchange::{Attempt, Exchange, LastFailure, OpenAttempt, Phase};
use crate::shard::marks::Steered;
use crate::shard::task::Task;
use crate::shard::{Outcome, Output};
use std::mem::{swap, take};
use std::time::Duration;

/// The other of two calls, and what the exchange knows of the call in its phase.
#[derive(Debug)]
pub(super) struct Rival {
    pub attempt: Box<Attempt>,
    pub open: Option<OpenAttempt>,
    dropped: Vec<String>,
    steered: Steered,
}

/// Calls that a shard may begin beside others at once, where none was for long.
const SAVED_UP: f64 = 10.0;

impl Desk {
    /// An exchange has begun: so much of a second call is allowed for it.
    pub fn allow_hedge(&mut self, share: f64) {
        self.hedges = (self.hedges + share).min(SAVED_UP);
    }

    fn may_hedge(&self) -> bool {
        self.hedges >= 1.0 && !self.draining && self.has_room_for_another_row()
    }
}

impl Exchange {
    /// A call goes out: when it would be late, and a second one is thought of. Costs nothing where there is one place.
    pub fn watch(&mut self, desk: &mut Desk, attempt: &Attempt, asked: &Decision) {
        self.hedge_at = Instant::NEVER;
        if self.rival.is_some() || !self.may_have_rival() {
            return;
        }
        let epoch = desk.epoch(self.epoch);
        let tempo = epoch.forecast.tempo(attempt.endpoint);
        let late = tempo.first.overdue(asked.ask.input);
        // The first byte of an answer that is not streamed comes with its last.
        let whole = match attempt.streams {
            true => Duration::ZERO,
            false => tempo.pace.expected(asked.ask.output),
        };
        self.hedge_at = attempt.began.instant + late + whole;
    }

    fn may_have_rival(&self) -> bool {
        let routing = &self.config.routing;
        let is_kept = self.dialect == DialectName::Responses && !self.asked.peek.unkept;
        self.task == Task::Generate
            && routing.hedge_budget > 0.0
            && self.second().0 > 0
            && self.tally.attempts < routing.attempts_max
            && self.video.is_none()
            && self.cached.is_none()
            && self.pin.is_none()
            // What is left out for one place is told of the answer.
            && self.seals.is_none()
            && !is_kept
            && !self.issues
            && self.controls.max_cost.is_none()
            && self.has_choice(&self.config.models[self.model().0 as usize].endpoints)
    }

    /// The call in the phase is late: begins a second one where that pays by now, or sees when it would.
    pub fn hedge(
        &mut self,
        desk: &mut Desk,
        first: Box<Attempt>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.hedge_at = Instant::NEVER;
        if !desk.may_hedge() {
            return Phase::Calling(first);
        }
        let Some((decision, pays_at)) = self.second_place(desk, &first, now.instant) else {
            return Phase::Calling(first);
        };
        if now.instant < pays_at {
            if pays_at < first.deadline.at {
                self.hedge_at = pays_at;
            }
            return Phase::Calling(first);
        }
        self.rival = Some(Box::new(Rival {
            attempt: first,
            open: self.open.take(),
            dropped: take(&mut self.dropped),
            steered: take(&mut self.steered),
        }));
        match self.send(desk, now, &decision, out) {
            Ok(phase) => {
                desk.hedges -= 1.0;
                desk.meters.hedges += 1;
                phase
            }
            // It cannot be asked there.
            Err(_) => {
                self.tally.incapable.push(decision.endpoint);
                let first = self.rival.take().map(|rival| self.alone(*rival));
                first.map_or(Phase::Settled, Phase::Calling)
            }
        }
    }

    /// The best place beside that of `first`, and when a call there pays.
    fn second_place(
        &self,
        desk: &mut Desk,
        first: &Attempt,
        now: Instant,
    ) -> Option<(Decision, Instant)> {
        let candidates = self.candidates(desk, now);
        let is_fit = |c: &&Candidate| {
            (c.endpoint, c.pool) != (first.endpoint, first.pool)
                && c.room == Room::Now
                && c.gate.is_none()
                && !c.tried
                && c.shut_until.is_none_or(|until| until <= now)
        };
        // Where the conversation goes on is decided by who answers.
        let price = |c: &Candidate| c.terms.total() + crate::base::NanoUsd(-c.terms.future.0);
        let best = candidates
            .iter()
            .filter(is_fit)
            .min_by_key(|c| (c.preference, price(c), c.endpoint, c.pool))?;
        let pace = desk.epoch(self.epoch).forecast.tempo(first.endpoint).pace;
        let rest = match first.streams {
            true => pace.expected(best.ask.output),
            false => Duration::ZERO,
        };
        let after = retry::hedges_at(Duration::ZERO, rest, price(best), self.second())?;
        let decision = Decision {
            endpoint: best.endpoint,
            pool: best.pool,
            key: best.key,
            terms: best.terms,
            ask: best.ask,
            cached: best.cached,
            best: best.cached,
            reason: "hedge",
        };
        Some((decision, first.began.instant + after))
    }

    /// What happens next is about `attempt`: that call is the one in the phase.
    pub fn turn_to(&mut self, attempt: AttemptId) {
        let Some(rival) = &mut self.rival else {
            return;
        };
        if let Phase::Calling(first) = &mut self.phase
            && rival.attempt.id == attempt
        {
            swap(first, &mut rival.attempt);
            swap(&mut self.open, &mut rival.open);
            swap(&mut self.dropped, &mut rival.dropped);
            swap(&mut self.steered, &mut rival.steered);
        }
    }

    /// A time has come: where it is the other call's, that one is in the phase.
    pub fn turn_to_late(&mut self, now: Instant) {
        let other = self.rival.as_ref().map(|rival| &rival.attempt);
        if let Some(late) = other.filter(|a| now >= a.deadline.at).map(|a| a.id) {
            self.turn_to(late);
        }
    }

    /// The call in the phase has begun to answer, or nobody wants an answer any more: the other one ends, with its row.
    pub fn end_rival(&mut self, desk: &mut Desk, now: Now, out: &mut Vec<Output>) {
        let Some(rival) = self.rival.take() else {
            return;
        };
        let attempt = rival.attempt;
        out.push(Output::Cancel {
            attempt: attempt.id,
        });
        let usage = self.usage_of_failed(&attempt, None);
        self.unprobed(desk, &attempt, now);
        // It took so long at the least.
        let waited = now.instant - attempt.began.instant;
        let input = attempt.foreseen.as_ref().map_or(self.asked.ask.input, |f| {
            Tokens(f.input().0.saturating_sub(f.read.0))
        });
        if attempt.streams {
            let forecast = &mut desk.epoch(self.epoch).forecast;
            forecast.saw_silence(attempt.endpoint, input, waited);
        }
        let open = self.open.take();
        self.settle_attempt(desk, attempt, usage, Str::new(), Outcome::Cancelled, now);
        self.open = open;
        self.write_row(desk, false, out);
    }

    /// The call in the phase has failed and settled: the other one is what is left. `Err` gives the failure back where there
    /// is none.
    pub fn rival_left(
        &mut self,
        desk: &mut Desk,
        failure: LastFailure,
        out: &mut Vec<Output>,
    ) -> Result<Phase, LastFailure> {
        let Some(rival) = self.rival.take() else {
            return Err(failure);
        };
        self.write_row(desk, false, out);
        self.last = Some(failure);
        Ok(Phase::Calling(self.alone(*rival)))
    }

    fn alone(&mut self, rival: Rival) -> Box<Attempt> {
        self.open = rival.open;
        self.dropped = rival.dropped;
        self.steered = rival.steered;
        rival.attempt
    }
}
