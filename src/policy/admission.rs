//! What one tenant may do.

use crate::base::{Instant, NanoUsd, WallTime};
use crate::policy::capacity::{Ask, Limit, Numbers, Reservation, Room, Seat, Used};
use std::time::Duration;

/// One tenant's standing at one shard: its share of the tenant's limits.
#[derive(Clone, Debug)]
pub struct Allowance {
    limit: Limit,
    usd_per_day: Option<NanoUsd>,
    day: i64,
    spent: NanoUsd,
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many at once, or in a minute.
    Rate { wait: Option<Duration> },
    /// The instance has room, and this shard must be granted some of it first.
    Soon { wait: Duration },
    /// The day's money is spent; the wait is until midnight UTC.
    Budget { wait: Duration },
}

impl Allowance {
    /// `numbers` and `usd_per_day` are the tenant's for the whole instance.
    #[must_use]
    pub fn share(numbers: Numbers, usd_per_day: Option<NanoUsd>, seat: &Seat) -> Self {
        Self {
            limit: Limit::leased_share(numbers, seat),
            usd_per_day: usd_per_day.map(|usd| NanoUsd(usd.0 / i64::from(seat.shards))),
            day: 0,
            spent: NanoUsd::ZERO,
        }
    }

    /// Takes hold of `ask`, or says why not.
    pub fn admit(
        &mut self,
        ask: Ask,
        now: Instant,
        wall: WallTime,
    ) -> Result<Reservation, Refusal> {
        self.turn_day(wall);
        if self.usd_per_day.is_some_and(|most| self.spent >= most) {
            let into_day = wall.0.rem_euclid(DAY);
            return Err(Refusal::Budget {
                wait: Duration::from_nanos((DAY - into_day).unsigned_abs()),
            });
        }
        match self.limit.room(ask, now) {
            Room::Now => Ok(self.limit.reserve(ask, now)),
            Room::In(wait) if self.limit.only_lease_lacks(ask, now) => Err(Refusal::Soon { wait }),
            Room::In(wait) => Err(Refusal::Rate { wait: Some(wait) }),
            Room::WhenFreed | Room::Never => Err(Refusal::Rate { wait: None }),
        }
    }

    /// Gives the hold back, for what was used (`None`: nothing was sent) and spent.
    pub fn settle(
        &mut self,
        held: Reservation,
        used: Option<Used>,
        cost: NanoUsd,
        now: Instant,
        wall: WallTime,
    ) {
        self.turn_day(wall);
        self.spent += cost;
        self.limit.settle(held, used, now);
    }

    /// Adds the cost of what outlasted its request.
    pub fn charge(&mut self, cost: NanoUsd, wall: WallTime) {
        self.turn_day(wall);
        self.spent += cost;
    }

    /// Takes out a cost that was added twice; what a new day has forgotten is not owed to it.
    pub fn give_back(&mut self, cost: NanoUsd) {
        self.spent = NanoUsd((self.spent.0 - cost.0).max(0));
    }

    /// For who looks after its lease.
    pub fn limit(&mut self) -> &mut Limit {
        &mut self.limit
    }

    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.limit.in_flight()
    }

    fn turn_day(&mut self, wall: WallTime) {
        let day = wall.0.div_euclid(DAY);
        // A calendar that jumps back does not give the money back.
        if day > self.day {
            self.day = day;
            self.spent = NanoUsd::ZERO;
        }
    }
}

/// Nanoseconds of a day.
const DAY: i64 = 86_400_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Seat = Seat {
        shard: 0,
        shards: 1,
        life: 1,
        hosts: true,
        recovers: false,
    };

    #[test]
    fn the_days_money_comes_back_at_midnight() {
        let mut tenant = Allowance::share(Numbers::default(), Some(NanoUsd(100)), &ALONE);
        let evening = WallTime(DAY * 5 + DAY - 10);
        let held = tenant
            .admit(Ask::default(), Instant(0), evening)
            .expect("money left");
        tenant.settle(held, None, NanoUsd(100), Instant(0), evening);
        let wait = Duration::from_nanos(10);
        assert_eq!(
            tenant.admit(Ask::default(), Instant(0), evening),
            Err(Refusal::Budget { wait })
        );
        let held = tenant
            .admit(Ask::default(), Instant(10), evening + wait)
            .expect("a new day");
        tenant.settle(held, None, NanoUsd::ZERO, Instant(10), evening + wait);
        assert_eq!(tenant.in_flight(), 0);
    }

    #[test]
    fn what_is_charged_later_counts_for_its_day() {
        let mut tenant = Allowance::share(Numbers::default(), Some(NanoUsd(100)), &ALONE);
        tenant.charge(NanoUsd(100), WallTime(DAY * 5));
        let refused = tenant.admit(Ask::default(), Instant(0), WallTime(DAY * 5));
        assert!(matches!(refused, Err(Refusal::Budget { .. })));
        let next = tenant.admit(Ask::default(), Instant(0), WallTime(DAY * 6));
        assert!(next.is_ok(), "a new day");
    }
}
