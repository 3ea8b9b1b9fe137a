//! One limit of a pool: a scope of the provider's, and a class of models, with all that is counted there.
//!
//! Drawn and settled by the provider's `Rule`; corrected by what its headers and refusals say. What nobody configured is learned from
//! them. Who else draws on it is known by the lease (`leased`), where it is shared at all.

use crate::base::{Instant, Now, Tokens};
use crate::policy::capacity::bucket::{Bucket, Rate, scaled};
use crate::policy::capacity::day::{Daily, MINUTES_A_DAY};
use crate::policy::capacity::gauge::Gauge;
use crate::policy::capacity::learn::{self, Start};
use crate::policy::capacity::leased::{Leased, Refused, Seat};
use crate::policy::capacity::rule::{Draw, Held, Rule};
use crate::policy::capacity::{Ask, Room, Used};
use std::time::Duration;

/// What a limit counts by the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    Requests,
    /// Input and output together.
    Tokens,
    Input,
    Output,
}

/// A limit's numbers, as configured, for the whole instance. `None` is unlimited or unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub requests: Option<u64>,
    pub tokens: Option<u64>,
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub concurrent: Option<u64>,
    pub requests_day: Option<u64>,
    pub tokens_day: Option<u64>,
    /// How much of a minute may come at once; `None`: as the rule has it.
    pub burst: Option<Duration>,
}

/// What a provider says of one thing that it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    /// From now until it is full again.
    pub full_in: Option<Duration>,
}

/// The buckets of one limit over a class of models.
#[derive(Clone, Debug)]
pub struct Limit {
    rule: Rule,
    burst: Option<Duration>,
    share: Share,
    pub(super) gauges: [Gauge; 4],
    /// What this shard may draw by, where others draw on the same; `None` where all of it is here.
    pub(super) lease: Option<Box<Leased>>,
    /// Requests, then tokens.
    days: [Option<Daily>; 2],
    concurrent: Option<u64>,
    in_flight: u64,
    /// The provider said so (429): nothing is sent before.
    closed_until: Instant,
    start: Start,
    /// When rates were cut last: those that were refused together are one refusal.
    cut_at: Option<Instant>,
    learns: bool,
}

/// A hold on a limit; to be given back to `settle`, exactly once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a reservation that is not settled is headroom lost for ever"]
pub struct Reservation {
    ask: Ask,
    draw: Draw,
    /// Output that was charged as it came.
    produced: u64,
    /// What had been drawn of each bucket when this was sent, and when that was.
    marks: [u64; 4],
    at: Instant,
    /// What was left was told in its answer, which counts all that it took of that bucket: no more is drawn in the end.
    told: [bool; 4],
}

#[derive(Clone, Copy, Debug)]
struct Share {
    shard: u16,
    shards: u16,
}

impl Limit {
    /// The part of `shard` (from 0) of `shards` in a limit of our own, that of a tenant.
    #[must_use]
    pub fn share(of: Numbers, shard: u16, shards: u16) -> Self {
        Self {
            learns: false,
            ..Self::twin(of, Rule::OURS, shard, shards)
        }
    }

    /// The same as `share`, leased from what all shards together have.
    #[must_use]
    pub fn leased_share(of: Numbers, seat: &Seat) -> Self {
        let mut limit = Self::leased_twin(of, Rule::OURS, seat);
        limit.learns = false;
        // Where no rate is limited nothing is leased; a provider's may turn out to be.
        if limit.gauges.iter().all(|gauge| gauge.bucket.is_none()) {
            limit.lease = None;
        }
        limit
    }

    /// The same as `twin`, leased likewise. What is counted at once or by the day is split: a place that a broken shard had, or a day's
    /// request, flows back to nobody. With one shard there is nobody to lease from, and no need.
    #[must_use]
    pub fn leased_twin(of: Numbers, rule: Rule, seat: &Seat) -> Self {
        let mut limit = Self::twin(of, rule, 0, 1);
        if seat.is_shared() {
            let share = Share {
                shard: seat.shard,
                shards: seat.shards,
            };
            limit.days = share.days(of, rule);
            limit.concurrent = of.concurrent.map(|n| share.part(n));
            limit.lease = Some(Box::new(Leased::new(seat, limit.limits())));
        }
        limit
    }

    /// The same of a provider's limit, which counts by `rule` and may turn out to be other than it was thought. What does not divide goes
    /// to the first shards; a shard that has a part of a rate can hold one token at least.
    #[must_use]
    pub fn twin(of: Numbers, rule: Rule, shard: u16, shards: u16) -> Self {
        let share = Share { shard, shards };
        let mut limit = Self {
            rule,
            burst: of.burst,
            share,
            gauges: Default::default(),
            lease: None,
            days: share.days(of, rule),
            concurrent: of.concurrent.map(|n| share.part(n)),
            in_flight: 0,
            closed_until: Instant::default(),
            start: Start::default(),
            cut_at: None,
            learns: true,
        };
        for (of, dimension) in [
            (of.requests, Dimension::Requests),
            (of.tokens, Dimension::Tokens),
            (of.input, Dimension::Input),
            (of.output, Dimension::Output),
        ] {
            let rate = of.map(|n| limit.part_of(Rate::per_minute(n)));
            if let Some(rate) = rate {
                let bucket = of.map(|n| Bucket::new(rate, limit.burst_of(dimension, n)));
                limit.gauges[dimension as usize] = Gauge {
                    bucket,
                    configured: Some(rate),
                    aim: rate,
                    ..Gauge::default()
                };
            }
        }
        limit
    }

    /// This shard's part of a rate, less what is left alone.
    fn part_of(&self, whole: Rate) -> Rate {
        Rate(self.share.part(whole.permille(1_000 - self.rule.guard).0))
    }

    /// This shard's part of what may come at once, of `n` a minute.
    fn burst_of(&self, dimension: Dimension, n: u64) -> u64 {
        let time = self.burst.unwrap_or(match dimension {
            Dimension::Requests => self.rule.requests_burst,
            Dimension::Tokens | Dimension::Input | Dimension::Output => self.rule.tokens_burst,
        });
        self.share.part(Rate::per_minute(n).within(time))
    }

    /// Whether `ask` could be reserved at `now`.
    #[must_use]
    pub fn room(&self, ask: Ask, now: Instant) -> Room {
        let room = self.room_of_all(ask, now);
        match &self.lease {
            Some(lease) => room.max(lease.room(self.wants(ask), now)),
            None => room,
        }
    }

    /// Whether all shards together have room, and only this one has not leased enough of it.
    #[must_use]
    pub fn only_lease_lacks(&self, ask: Ask, now: Instant) -> bool {
        self.lease.is_some() && self.room_of_all(ask, now) == Room::Now
    }

    fn room_of_all(&self, ask: Ask, now: Instant) -> Room {
        let mut room = match self.concurrent {
            Some(0) => return Room::Never,
            Some(most) if self.in_flight >= most => Room::WhenFreed,
            _ if now < self.closed_until => Room::In(self.closed_until - now),
            _ => Room::Now,
        };
        let wants = self.wants(ask);
        let [_, tokens, ..] = wants;
        for (gauge, want) in self.gauges.iter().zip(wants) {
            if let Some(bucket) = &gauge.bucket {
                room = room.max(bucket.room(want, now));
            }
        }
        for (day, want) in self.days.iter().zip([1, tokens]) {
            if let Some(day) = day {
                room = room.max(day.room(want, now));
            }
        }
        room
    }

    /// What has to be there of each. Output may be counted as it is produced: then it is enough that some is left.
    pub(super) fn wants(&self, ask: Ask) -> [u64; 4] {
        let draw = self.rule.hold(&ask);
        [1, draw.tokens, draw.input, draw.output.max(1)]
    }

    /// Takes hold of `ask`. To be called after `room` said `Now`. A comparison and a subtraction for each thing that is limited, once for
    /// the bucket and once for the lease; nobody is asked and nothing is allocated.
    pub fn reserve(&mut self, ask: Ask, now: Instant) -> Reservation {
        self.in_flight += 1;
        if self.lease.is_none() {
            self.pace(now);
        }
        let draw = self.rule.hold(&ask);
        let mut marks = [0; 4];
        let draws = [1, draw.tokens, draw.input, draw.output];
        let mut taken = draws;
        for (d, gauge) in self.gauges.iter_mut().enumerate() {
            marks[d] = gauge.draw(draws[d], self.learns, now);
            match &gauge.bucket {
                Some(bucket) if self.learns => taken[d] = draws[d].min(bucket.burst()),
                _ => {}
            }
        }
        match &mut self.lease {
            Some(lease) => lease.take(taken),
            // What is leased is counted by who grants it.
            None => self.note_drawn(draws),
        }
        self.draw_days([1, draw.tokens], now);
        Reservation {
            ask,
            draw,
            produced: 0,
            marks,
            at: now,
            told: [false; 4],
        }
    }

    /// So much output has come of a call so far; for providers that count it as it is produced. What is not told here is counted by `settle`.
    pub fn produced(&mut self, held: &mut Reservation, so_far: Tokens, now: Instant) {
        if self.rule.output == Held::Most || so_far.0 <= held.produced {
            return;
        }
        let more = so_far.0 - held.produced;
        held.produced = so_far.0;
        self.gauges[Dimension::Output as usize].draw(more, false, now);
        match &mut self.lease {
            Some(lease) => lease.charge([0, 0, 0, more]),
            None => self.note_drawn([0, 0, 0, more]),
        }
    }

    fn note_drawn(&mut self, draws: [u64; 4]) {
        for (gauge, tokens) in self.gauges.iter_mut().zip(draws) {
            gauge.recent.drew(tokens);
        }
    }

    /// Gives the hold back for what was used; `None` for a call that never reached the provider.
    pub fn settle(&mut self, held: Reservation, used: Option<Used>, now: Instant) {
        let Reservation {
            ask,
            draw,
            produced,
            told,
            ..
        } = held;
        self.in_flight = self.in_flight.saturating_sub(1);
        let (requests, counted) = match used {
            None => (0, Draw::default()),
            Some(used) => (1, self.rule.count(&ask, &used)),
        };
        let owed = |held: u64, counted: u64| i128::from(held) - i128::from(counted);
        let tokens = owed(draw.tokens, counted.tokens);
        let back = [
            1 - requests,
            tokens,
            owed(draw.input, counted.input),
            owed(draw.output + produced, counted.output),
        ];
        let back = std::array::from_fn(|d| if told[d] { back[d].max(0) } else { back[d] });
        for (gauge, back) in self.gauges.iter_mut().zip(back) {
            gauge.give(back, now);
        }
        if let Some(lease) = &mut self.lease {
            lease.settle(back);
        }
        for (day, back) in self.days.iter_mut().zip([1 - requests, tokens]) {
            if let Some(day) = day {
                day.give(back, now);
            }
        }
    }

    fn draw_days(&mut self, draws: [u64; 2], now: Instant) {
        for (day, tokens) in self.days.iter_mut().zip(draws) {
            if let Some(day) = day {
                day.give(-i128::from(tokens), now);
            }
        }
    }

    /// Whether it has to be told the date.
    #[must_use]
    pub fn counts_days(&self) -> bool {
        self.days.iter().any(Option::is_some)
    }

    /// Tells the date, for what is counted by the day; wanted about once a second.
    pub fn heed_calendar(&mut self, now: Now) {
        for day in self.days.iter_mut().flatten() {
            if let Daily::Fixed(day) = day {
                day.heed_calendar(now);
            }
        }
    }

    /// The provider refused for its limit: nothing is sent before `until`; a longer wait is never shortened.
    pub fn close_until(&mut self, until: Instant) {
        self.closed_until = self.closed_until.max(until);
    }

    /// The provider refused a call for a limit, and wants a wait (`retry_after`) or did not say; `told` where it named numbers, which correct
    /// better than a guess.
    pub fn refused(&mut self, retry_after: Option<Duration>, told: bool, now: Instant) {
        if !self.learns {
            return;
        }
        match &mut self.lease {
            Some(lease) if !lease.hosts() => lease.hear_refused(Refused { retry_after, told }),
            Some(_) => self.as_host(now, |limit| limit.refuse(retry_after, told, now)),
            None => self.refuse(retry_after, told, now),
        }
    }

    fn refuse(&mut self, retry_after: Option<Duration>, told: bool, now: Instant) {
        if let Some(ramp) = self.rule.ramp {
            // From when it is open again; where only other limits were closed, from now.
            self.start.again(self.closed_until.max(now));
            self.lower_to(ramp.from, now);
        }
        for gauge in &mut self.gauges {
            gauge.turn(now);
            gauge.recent.refused();
        }
        let again = self.cut_at.is_some_and(|at| now.since(at) < ONE_REFUSAL);
        if told || again {
            return;
        }
        self.cut_at = Some(now);
        self.guess(now);
        for gauge in &mut self.gauges {
            if gauge.bucket.is_some() {
                gauge.aim = learn::cut(gauge.aim, retry_after);
            }
        }
        self.apply(now);
    }

    /// Makes buckets for what nobody knows, from what was sent in the minute before a refusal. Only of requests and of tokens together:
    /// every provider limits one of them, and which of them it was shows in which grows back.
    fn guess(&mut self, now: Instant) {
        if self.gauges.iter().any(|g| g.bucket.is_some()) {
            return;
        }
        let sent = self.gauges[Dimension::Requests as usize].recent.in_minute();
        if sent < GUESS_REQUESTS {
            return;
        }
        for dimension in [Dimension::Requests, Dimension::Tokens] {
            let drawn = self.gauges[dimension as usize].recent.in_minute();
            let Some(rate) = learn::first_guess(drawn, 1) else {
                continue;
            };
            let burst = scaled(rate.0, 1, 1_000);
            let burst = match dimension {
                Dimension::Requests => Rate::per_minute(burst).within(self.rule.requests_burst),
                _ => burst,
            };
            let gauge = &mut self.gauges[dimension as usize];
            // The cut that follows takes the seven tenths.
            gauge.aim = Rate::per_minute(drawn);
            let mut bucket = Bucket::new(rate, burst);
            bucket.lower(0, now);
            gauge.bucket = Some(bucket);
        }
    }

    /// The provider says in an answer how much it allows and has left, for all shards together. `sent`: the call that this answers; what was
    /// sent after it may not be in the provider's count yet and is taken off.
    pub fn heed(
        &mut self,
        dimension: Dimension,
        told: Told,
        sent: Option<&mut Reservation>,
        now: Instant,
    ) {
        if dimension == Dimension::Tokens && !self.rule.tokens_told {
            return;
        }
        let d = dimension as usize;
        let drawn = self.gauges[d].bucket.as_ref().map_or(0, Bucket::drawn);
        let sent_at = sent.as_ref().map(|held| (held.marks[d], held.at));
        let since = sent_at.map_or(0, |(mark, _)| drawn.wrapping_sub(mark));
        match &self.lease {
            Some(lease) if lease.hosts() => {
                let age = sent_at.map_or(Duration::ZERO, |(_, at)| now - at);
                let others = self.others_within(dimension, age);
                self.correct(dimension, told, i128::from(since) + i128::from(others), now);
            }
            Some(_) => self.pass_on(dimension, told, since, sent_at, now),
            None => self.correct(dimension, told, i128::from(since), now),
        }
        if let Some(held) = sent {
            // Output goes on being produced.
            held.told[d] |= self.gauges[d].bucket.is_some()
                && told.remaining.is_some()
                && self.learns
                && dimension != Dimension::Output;
        }
    }

    /// A guest obeys at once, and the host hears of it: soon, where it makes much of a difference.
    fn pass_on(
        &mut self,
        dimension: Dimension,
        told: Told,
        since: u64,
        sent: Option<(u64, Instant)>,
        now: Instant,
    ) {
        let Some(lease) = &mut self.lease else { return };
        lease.hear_told(dimension, told, sent);
        let bucket = self.gauges[dimension as usize].bucket.as_mut();
        if let (Some(bucket), Some(remaining)) = (bucket, told.remaining) {
            let before = bucket.level(now);
            bucket.lower(i128::from(remaining) - i128::from(since), now);
            if before - bucket.level(now) > i128::from(bucket.burst() / 16) {
                lease.press();
            }
        }
    }

    /// Takes what the provider said for true, less `since` that was drawn after what it answered was sent.
    pub(super) fn correct(&mut self, dimension: Dimension, told: Told, since: i128, now: Instant) {
        match self.lease {
            Some(_) => self.as_host(now, |limit| limit.believe(dimension, told, since, now)),
            None => self.believe(dimension, told, since, now),
        }
    }

    fn believe(&mut self, dimension: Dimension, told: Told, since: i128, now: Instant) {
        if let Some(limit) = told.limit.filter(|_| self.learns) {
            self.heed_limit(dimension, limit, told, now);
        }
        let Some(bucket) = &mut self.gauges[dimension as usize].bucket else {
            return;
        };
        let Some(remaining) = told.remaining else {
            return;
        };
        let rounding = match dimension {
            Dimension::Requests => 1,
            _ => self.rule.rounding.max(1),
        };
        // To the nearest thousand: it may be half of one less.
        let least = match remaining % rounding {
            0 => remaining.saturating_sub(rounding / 2),
            _ => remaining,
        };
        let shards = u64::from(self.share.shards.max(1));
        let left = i128::from(least / shards).max(left_by_time(&told, shards));
        let to = left - since;
        bucket.lower(to, now);
        // Of output nobody can say how much of what is under way was counted.
        if self.learns && dimension != Dimension::Output {
            bucket.lift(to, now);
        }
    }

    /// What is told is no reason to go above what was configured: others may draw on the same limit.
    fn heed_limit(&mut self, dimension: Dimension, limit: u64, told: Told, now: Instant) {
        let daily = is_daily(limit, &told);
        let whole = match daily {
            true => Rate(Rate::per_minute(limit).0 / MINUTES_A_DAY),
            false => Rate::per_minute(limit),
        };
        let rate = self.part_of(whole);
        let burst = match daily {
            true => self.share.part(limit),
            false => self.burst_of(dimension, limit),
        };
        let gauge = &mut self.gauges[dimension as usize];
        if gauge.told != Some(rate) {
            gauge.told = Some(rate);
            // A limit of the day beside one of the minute binds when it is nearly used up, and then by what is left.
            if gauge.bucket.is_none() && rate.0 > 0 {
                gauge.bucket = Some(Bucket::new(rate, burst));
                gauge.aim = rate;
            } else if gauge.configured.is_none()
                && let Some(bucket) = &mut gauge.bucket
            {
                bucket.set_burst(burst, now);
            }
        }
        let most = gauge.most().unwrap_or(rate);
        // Down at once, up by an eighth of the way.
        let up = most.0.saturating_sub(gauge.aim.0).div_ceil(8);
        gauge.aim = Rate(gauge.aim.0.min(most.0) + up);
        self.apply(now);
    }

    /// Comes to `now`: rates grow after clean slots, and a slow start goes on.
    pub(super) fn pace(&mut self, now: Instant) {
        if !self.learns {
            return;
        }
        let mut changed = false;
        for gauge in &mut self.gauges {
            changed |= gauge.turn(now);
        }
        if let Some(ramp) = self.rule.ramp {
            if self.start.sent(now) {
                self.lower_to(ramp.from, now);
            }
            changed |= self.start.end(ramp, now) || self.start.permille(ramp, now).is_some();
        }
        if changed {
            self.apply(now);
        }
    }

    /// Gives buckets the rates that are aimed at, less what a slow start holds back.
    fn apply(&mut self, now: Instant) {
        let permille = self.rule.ramp.and_then(|r| self.start.permille(r, now));
        for gauge in &mut self.gauges {
            if let Some(bucket) = &mut gauge.bucket {
                bucket.set_rate(gauge.aim.permille(permille.unwrap_or(1_000)), now);
            }
        }
    }

    fn lower_to(&mut self, permille: u64, now: Instant) {
        for bucket in self.gauges.iter_mut().filter_map(|g| g.bucket.as_mut()) {
            // One token at least, so that a small limit can try.
            let most = scaled(bucket.burst(), permille, 1_000).max(1);
            bucket.lower(i128::from(most), now);
        }
    }

    /// Exchanges that hold a reservation.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// How empty each bucket is, in millionths; `None` where nothing is limited.
    #[must_use]
    pub fn emptiness(&self, dimension: Dimension, now: Instant) -> Option<u64> {
        let bucket = self.gauges[dimension as usize].bucket.as_ref()?;
        Some(bucket.emptiness(now))
    }

    /// The same of places for calls at once.
    #[must_use]
    pub fn crowding(&self) -> Option<u64> {
        let most = self.concurrent.filter(|most| *most > 0)?;
        Some(scaled(self.in_flight.min(most), 1_000_000, most))
    }

    /// The same of the day's requests and tokens.
    #[must_use]
    pub fn days_emptiness(&self, now: Instant) -> [Option<u64>; 2] {
        [0, 1].map(|i: usize| self.days[i].as_ref().map(|day| day.emptiness(now)))
    }

    /// Tokens a minute that this shard may draw at present.
    #[must_use]
    pub fn rate(&self, dimension: Dimension) -> Option<Rate> {
        let bucket = self.gauges[dimension as usize].bucket.as_ref()?;
        Some(bucket.rate())
    }
}

impl Share {
    /// This shard's part of what is counted by the day.
    fn days(self, of: Numbers, rule: Rule) -> [Option<Daily>; 2] {
        [of.requests_day, of.tokens_day].map(|n| n.map(|n| Daily::new(self.part(n), rule.day)))
    }

    /// What does not divide goes to the first shards.
    fn part(self, n: u64) -> u64 {
        let shards = u64::from(self.shards.max(1));
        n / shards + u64::from(u64::from(self.shard) < n % shards)
    }
}

/// Whether a limit is one of the day: OpenAI's headers name one limit of requests, of the minute or of the day, and a time until all is
/// back. What is gone, by that time, is the rate at which it comes back.
fn is_daily(limit: u64, told: &Told) -> bool {
    let (Some(remaining), Some(full_in)) = (told.remaining, told.full_in) else {
        return false;
    };
    let gone = u128::from(limit.saturating_sub(remaining));
    // Nanoseconds that the missing would take at `limit` a minute; a day has 1,440 of them, and what lies between is rounding.
    let by_minute = gone * 60_000_000_000 / u128::from(limit.max(1));
    gone > 0 && full_in.as_nanos() > by_minute * 100 && full_in > Duration::from_secs(5)
}

/// One share of what is left by when all will be back. That is a moment, where `remaining` is of the one at which the call was let in: a long prompt's
/// answer begins seconds later, and what flowed since is there again. Where a provider tells a time from then on instead, this says the same again.
fn left_by_time(told: &Told, shards: u64) -> i128 {
    let (Some(limit), Some(full_in)) = (told.limit, told.full_in) else {
        return i128::MIN;
    };
    let missing = Rate::per_minute(limit).within(full_in);
    (i128::from(limit) - i128::from(missing)).div_euclid(i128::from(shards))
}

/// Calls that are refused within one slot were sent before anybody could know.
const ONE_REFUSAL: Duration = Duration::from_secs(10);
/// Fewer requests than these in a minute say nothing about a limit.
const GUESS_REQUESTS: u64 = 10;
