//! A limit that all shards of an instance share: a lease of it at each shard, and at one of them, the host, who grants.
//!
//! The buckets of a `Limit` that is leased are the whole instance's, at the host as well as at its guests: what is left there is told with
//! each reply, and what this shard draws is taken off meanwhile. So what headroom is worth, and when there will be some, is known of the
//! instance; whether a call may go now is known by what is held here, and nobody is asked. Only the host learns: what a guest hears from
//! the provider it passes on with its next ask.
//!
//! Where several instances share it, the host leases what it grants from (`Branch`), and its `Central` has what it was granted, not what
//! flows in.

use crate::base::Instant;
use crate::policy::capacity::pool::{Dimension, Limit, Told};
use crate::policy::capacity::{Bucket, Room};
use crate::policy::lease::{
    Amounts, Ask, Branch, Central, DIMENSIONS, Holder, HolderId, Limits, Reply, Sums, Terms, UpAsk,
    UpReply,
};
use std::time::Duration;

/// A shard's place in a limit that is shared.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    pub shard: u16,
    pub shards: u16,
    /// Different in every life of every shard, and for every limit that ever was there.
    pub life: u64,
    /// This shard grants.
    pub hosts: bool,
    /// It has granted before, in a life that it has forgotten.
    pub recovers: bool,
    /// It is shared with other instances, so many at most.
    pub instances: Option<u64>,
}

/// What one shard has of it.
#[derive(Clone, Debug)]
pub(super) struct Leased {
    holder: Holder,
    /// `None` at a guest.
    host: Option<Host>,
    news: News,
    /// It is looked at from time to time.
    awake: bool,
}

#[derive(Clone, Debug)]
struct Host {
    epoch: u64,
    recovers: bool,
    /// Made when the first ask comes: before, nobody holds anything.
    central: Option<Box<Central>>,
    /// What of all that was spent has been learned from.
    seen: Amounts,
    /// To who grants to instances.
    branch: Option<Box<Branch>>,
}

/// What a guest has heard from the provider since its last ask.
#[derive(Clone, Copy, Debug, Default)]
struct News {
    told: [Option<Heard>; DIMENSIONS],
    refused: Option<Refused>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    told: Told,
    /// What had been drawn of the bucket when the call was sent that this answers, and when that was; `None` if that is not known.
    sent: Option<(u64, Instant)>,
}

/// The provider refused: the wait it wants, and whether it named numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub retry_after: Option<Duration>,
    pub told: bool,
}

/// What the provider said of one thing, and what this shard has drawn of it since it sent the call that was answered, so long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    pub told: Told,
    pub since: u64,
    pub age: Duration,
}

/// A guest's word to the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Word {
    pub ask: Ask,
    pub told: [Option<Passed>; DIMENSIONS],
    pub refused: Option<Refused>,
}

/// What came of looking whether there is something to say.
#[derive(Debug, PartialEq)]
pub enum Spoken {
    Nothing,
    /// To the host.
    Ask(Box<Word>),
    /// This is the host, and has answered itself.
    Answered,
}

impl Seat {
    /// Somebody else draws on it, too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shards > 1 || self.instances.is_some()
    }

    fn holder(&self) -> HolderId {
        HolderId(self.life << 16 | u64::from(self.shard))
    }
}

/// The shard that a holder is at.
#[must_use]
pub fn shard_of(holder: HolderId) -> u16 {
    (holder.0 & 0xffff) as u16
}

impl Leased {
    pub fn new(seat: &Seat, limits: Limits) -> Self {
        let host = Host {
            epoch: seat.life.max(1),
            recovers: seat.recovers,
            central: None,
            seen: [0; DIMENSIONS],
            branch: seat
                .instances
                .map(|most| Box::new(Branch::new(seat.holder(), limits, most))),
        };
        let terms = match seat.instances {
            Some(_) => Terms::below_instances(limits),
            None => Terms::of(limits),
        };
        Self {
            holder: Holder::new(seat.holder(), terms),
            host: seat.hosts.then_some(host),
            news: News::default(),
            awake: false,
        }
    }

    pub fn hosts(&self) -> bool {
        self.host.is_some()
    }

    fn branch(&self) -> Option<&Branch> {
        self.host.as_ref()?.branch.as_deref()
    }

    /// Whether so much is held here. Where it is not, how long the host is likely to take: as long as it has taken already.
    pub fn room(&self, amounts: Amounts, now: Instant) -> Room {
        if self.holder.fits(amounts, now) {
            return Room::Now;
        }
        let waited = self.holder.waits_since().map_or(ROUND_TRIP, |at| now - at);
        Room::In(waited.clamp(ROUND_TRIP, Duration::from_secs(1)))
    }

    pub fn take(&mut self, amounts: Amounts) {
        self.holder.take(amounts);
    }

    pub fn charge(&mut self, amounts: Amounts) {
        self.holder.charge(amounts);
    }

    /// Gives back or, below zero, takes what a call was found to have used.
    pub fn settle(&mut self, back: [i128; DIMENSIONS]) {
        let size = |n: i128| u64::try_from(n.unsigned_abs()).unwrap_or(u64::MAX);
        self.holder
            .charge(back.map(|n| if n < 0 { size(n) } else { 0 }));
        self.holder
            .refund(back.map(|n| if n > 0 { size(n) } else { 0 }));
    }

    /// The provider said something here, which the host shall hear.
    pub fn hear_told(&mut self, dimension: Dimension, told: Told, sent: Option<(u64, Instant)>) {
        self.news.told[dimension as usize] = Some(Heard { told, sent });
    }

    pub fn hear_refused(&mut self, refused: Refused) {
        self.news.refused = Some(refused);
        self.holder.press(false);
    }

    pub fn press(&mut self) {
        self.holder.press(false);
    }
}

impl Host {
    fn central(&mut self, limits: Limits, now: Instant) -> &mut Central {
        let (epoch, recovers) = (self.epoch, self.recovers);
        let fed = self.branch.is_some();
        self.central.get_or_insert_with(|| {
            let terms = Terms::of(limits);
            Box::new(match recovers {
                _ if fed => Central::fed(Terms::below_instances(limits), epoch, now),
                true => Central::recovered(terms, epoch, now),
                false => Central::new(terms, epoch, now),
            })
        })
    }
}

impl Limit {
    /// Something was taken, given back or heard here: true if it is to be looked at (`speak`), now or from now on. Some comparisons.
    #[must_use]
    pub fn stirs(&mut self, now: Instant) -> bool {
        let Some(lease) = &mut self.lease else {
            return false;
        };
        !std::mem::replace(&mut lease.awake, true) || lease.holder.is_due(now)
    }

    /// When it is to be looked at next. Never: it is asleep from now on, until it is stirred.
    #[must_use]
    pub fn wakes_at(&mut self) -> Instant {
        let Some(lease) = &mut self.lease else {
            return Instant::NEVER;
        };
        let above = lease.branch().map_or(Instant::NEVER, Branch::due_at);
        let at = lease.holder.due_at().min(above);
        lease.awake = at != Instant::NEVER;
        at
    }

    /// What is to be said at `now` to who grants to instances; `None` also where nobody does, and at a guest.
    pub fn speak_up(&mut self, now: Instant) -> Option<UpAsk> {
        let limits = self.limits();
        let host = self.lease.as_mut()?.host.as_mut()?;
        host.branch.as_ref()?;
        host.central(limits, now);
        let (branch, central) = (host.branch.as_mut()?, host.central.as_mut()?);
        branch.ask(central, limits, now)
    }

    /// What they said; true if it is the answer to the last ask.
    pub fn hear_up(&mut self, told: &UpReply, now: Instant) -> bool {
        let limits = self.limits();
        let Some(host) = self.lease.as_mut().and_then(|lease| lease.host.as_mut()) else {
            return false;
        };
        host.central(limits, now);
        let (Some(branch), Some(central)) = (&mut host.branch, &mut host.central) else {
            return false;
        };
        if branch.id() != told.reply.holder {
            return false;
        }
        let before = central.lacks().1.is_some();
        let heard = branch.hear(told, central, now);
        if let Some(lease) = self.lease.as_mut().filter(|_| before) {
            // Whoever waits here may try at once.
            lease.holder.press(false);
        }
        heard
    }

    /// A call waits here since `since`, and `behind` it so many others; false if it is not for what is held here that it waits.
    pub fn park(
        &mut self,
        ask: crate::policy::capacity::Ask,
        since: Instant,
        behind: u64,
        now: Instant,
    ) -> bool {
        let wants = self.wants(ask);
        let Some(lease) = &mut self.lease else {
            return false;
        };
        let lacks = !lease.holder.fits(wants, now);
        if lacks {
            lease.holder.park(Some((wants, since)), behind);
        }
        lacks
    }

    /// A call that stands in no line would like to go soon.
    pub fn wish(&mut self, ask: crate::policy::capacity::Ask, now: Instant) {
        let wants = self.wants(ask);
        if let Some(lease) = &mut self.lease
            && !lease.holder.fits(wants, now)
        {
            lease.holder.wish(wants);
        }
    }

    /// Nobody waits here any more.
    pub fn unpark(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.holder.park(None, 0);
        }
    }

    /// Somebody elsewhere waits for what is held here.
    pub fn recall(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.holder.press(true);
        }
    }

    /// Says to the host what is to be said at `now`.
    pub fn speak(&mut self, now: Instant) -> Spoken {
        let Some(ask) = self.lease.as_mut().and_then(|l| l.holder.ask(now)) else {
            return Spoken::Nothing;
        };
        let Some(lease) = self.lease.as_mut().filter(|lease| !lease.hosts()) else {
            let word = Word {
                ask,
                told: [None; DIMENSIONS],
                refused: None,
            };
            if let Some(reply) = self.answer(&word, now) {
                self.hear(&reply, now);
            }
            return Spoken::Answered;
        };
        let news = std::mem::take(&mut lease.news);
        let told = std::array::from_fn(|d| {
            let heard = news.told[d]?;
            let drawn = self.gauges[d].bucket.as_ref().map_or(0, Bucket::drawn);
            Some(Passed {
                told: heard.told,
                since: heard.sent.map_or(0, |(mark, _)| drawn.wrapping_sub(mark)),
                age: heard.sent.map_or(Duration::ZERO, |(_, at)| now - at),
            })
        });
        Spoken::Ask(Box::new(Word {
            ask,
            told,
            refused: news.refused,
        }))
    }

    /// The host's answer; `None` from who is not the host, and to what a later ask has overtaken.
    pub fn answer(&mut self, word: &Word, now: Instant) -> Option<Reply> {
        let limits = self.limits();
        let lease = self.lease.as_mut()?;
        let unheard = lease.host.as_mut()?.central(limits, now).unheard(&word.ask);
        for (passed, dimension) in word.told.iter().zip(DIMENSION) {
            if let Some(Passed { told, since, age }) = *passed {
                let others = self.others_beside(word.ask.holder, dimension, age);
                // What this ask itself says was spent is taken off when it is heard.
                let unheard = i128::from(unheard[dimension as usize]);
                let since = i128::from(since) + i128::from(others) - unheard;
                self.correct(dimension, told, since, now);
            }
        }
        if let Some(refused) = word.refused {
            self.refused(refused.retry_after, refused.told, now);
        }
        let ask = &word.ask;
        if ask.parked.is_some() || ask.want != [0; DIMENSIONS] {
            self.as_host(now, |limit| limit.pace(now));
        }
        let host = self.lease.as_mut()?.host.as_mut()?;
        let central = host.central.as_mut()?;
        if let Some(branch) = &mut host.branch {
            branch.note(ask);
            branch.meet(central, now);
        }
        let reply = central.hear(ask, now)?;
        if let Some(branch) = &mut host.branch {
            branch.meet(central, now);
        }
        let drawn = central.drawn();
        let seen = std::mem::replace(&mut host.seen, drawn);
        for d in 0..DIMENSIONS {
            self.gauges[d].recent.drew(drawn[d].wrapping_sub(seen[d]));
        }
        self.replicate(&reply, now);
        Some(reply)
    }

    /// Who shall be told that others wait for what they hold.
    #[must_use]
    pub fn hoarders(&self) -> Vec<HolderId> {
        let host = self.lease.as_ref().and_then(|lease| lease.host.as_ref());
        let central = host.and_then(|host| host.central.as_ref());
        central.map_or_else(Vec::new, |central| central.hoarders().collect())
    }

    /// What the host said; true if it is the answer to the last ask.
    pub fn hear(&mut self, reply: &Reply, now: Instant) -> bool {
        let Some(lease) = &mut self.lease else {
            return false;
        };
        if reply.holder != lease.holder.id() || !lease.holder.hear(reply, now) {
            return false;
        }
        self.replicate(reply, now);
        true
    }

    /// Takes what the instance has left, less what is not told yet of here, for what is in the buckets.
    fn replicate(&mut self, reply: &Reply, now: Instant) {
        let Some(lease) = &self.lease else { return };
        let (hosts, unsaid) = (lease.hosts(), lease.holder.unsaid());
        for (d, limit) in reply.limits.iter().enumerate() {
            let Some((rate, burst)) = limit else { continue };
            let bucket = &mut self.gauges[d].bucket;
            let bucket = bucket.get_or_insert_with(|| Bucket::new(*rate, *burst));
            if !hosts {
                bucket.set_rate(*rate, now);
                bucket.set_burst(*burst, now);
            }
            let left = i128::from(reply.left[d]) - i128::from(unsaid[d]) * 1_000;
            bucket.set_thousandths(left, now);
        }
    }

    /// Does something to the buckets that changes what can be granted.
    pub(super) fn as_host(&mut self, now: Instant, what: impl FnOnce(&mut Self)) {
        let (before, levels) = (self.limits(), self.levels(now));
        what(self);
        let (after, limits) = (self.levels(now), self.limits());
        let Some(host) = self.lease.as_mut().and_then(|lease| lease.host.as_mut()) else {
            return;
        };
        if let Some(branch) = &mut host.branch {
            for (d, (before, after)) in levels.into_iter().zip(after).enumerate() {
                // Up it goes by what flows, where all of it is.
                if let Some(after) = after
                    && before.is_none_or(|before| after < before)
                {
                    branch.lower(d, u64::try_from(after.max(0)).unwrap_or(u64::MAX));
                }
            }
            return;
        }
        let central = host.central(before, now);
        for d in 0..DIMENSIONS {
            if let (Some(before), Some(after)) = (levels[d], after[d])
                && before != after
            {
                central.shift(d, after - before, now);
            }
        }
        central.set_limits(limits, now);
        for d in 0..DIMENSIONS {
            if let (None, Some(after), Some((_, burst))) = (levels[d], after[d], limits[d]) {
                central.shift(d, after - i128::from(burst), now);
            }
        }
    }

    fn levels(&self, now: Instant) -> [Option<i128>; DIMENSIONS] {
        std::array::from_fn(|d| self.gauges[d].bucket.as_ref().map(|b| b.level(now)))
    }

    pub(super) fn limits(&self) -> Limits {
        std::array::from_fn(|d| {
            let bucket = self.gauges[d].bucket.as_ref()?;
            Some((bucket.rate(), bucket.burst()))
        })
    }

    /// What all others than this shard have drawn in `time`, about.
    pub(super) fn others_within(&self, dimension: Dimension, time: Duration) -> u64 {
        let lease = self.lease.as_ref();
        lease.map_or(0, |lease| {
            self.others_beside(lease.holder.id(), dimension, time)
        })
    }

    /// What all others than `holder` have drawn in `time`, about.
    fn others_beside(&self, holder: HolderId, dimension: Dimension, time: Duration) -> u64 {
        let host = self.lease.as_ref().and_then(|lease| lease.host.as_ref());
        let central = host.and_then(|host| host.central.as_ref());
        let a_second = central.map_or([0; DIMENSIONS], |c| c.demand_beside(holder));
        let elsewhere = host.and_then(|host| host.branch.as_ref());
        let elsewhere = elsewhere.map_or([0; DIMENSIONS], |branch| branch.others());
        let a_second = a_second[dimension as usize] + elsewhere[dimension as usize];
        (a_second as f64 * time.as_secs_f64()) as u64
    }

    /// What this shard holds of what is leased; a debt is below zero. `None` where nothing is leased.
    #[must_use]
    pub fn leased(&self) -> Option<Sums> {
        self.lease.as_ref().map(|lease| lease.holder.held())
    }
}

const DIMENSION: [Dimension; DIMENSIONS] = [
    Dimension::Requests,
    Dimension::Tokens,
    Dimension::Input,
    Dimension::Output,
];

/// Between two shards; NET.md has 0.1 ms where one is idle and a millisecond where both are busy.
const ROUND_TRIP: Duration = Duration::from_millis(2);
