//! What one tenant may do.

use crate::base::{Instant, NanoUsd, WallTime};
use crate::policy::capacity::{Ask, Limit, Numbers, Reservation, Room, Seat, Used};
use std::time::Duration;

/// One tenant's standing at one shard: its share of the tenant's limits.
#[derive(Clone, Debug)]
pub struct Allowance {
    limit: Limit,
    budget: Budget,
    day: i64,
    month: i64,
    spent: NanoUsd,
    spent_in_month: NanoUsd,
}

/// Money that may be spent in a UTC day and in a UTC month; `None` is any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    pub day: Option<NanoUsd>,
    pub month: Option<NanoUsd>,
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many at once, or in a minute.
    Rate { wait: Option<Duration> },
    /// The instance has room, and this shard must be granted some of it first.
    Soon { wait: Duration },
    /// The money of the day or of the month is spent; the wait is until midnight UTC, or until the first of the next month.
    Budget { wait: Duration },
}

impl Allowance {
    /// `numbers` and `budget` are the tenant's for the whole instance.
    #[must_use]
    pub fn share(numbers: Numbers, budget: Budget, seat: &Seat) -> Self {
        let share = |usd: NanoUsd| NanoUsd(usd.0 / i64::from(seat.shards));
        Self {
            limit: Limit::leased_share(numbers, seat),
            budget: Budget {
                day: budget.day.map(share),
                month: budget.month.map(share),
            },
            day: 0,
            month: 0,
            spent: NanoUsd::ZERO,
            spent_in_month: NanoUsd::ZERO,
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
        let until = |end: i64| Refusal::Budget {
            wait: Duration::from_nanos((end - wall.0).unsigned_abs()),
        };
        if self
            .budget
            .month
            .is_some_and(|most| self.spent_in_month >= most)
        {
            return Err(until(month_of(wall.0.div_euclid(DAY)).1 * DAY));
        }
        if self.budget.day.is_some_and(|most| self.spent >= most) {
            return Err(until((wall.0.div_euclid(DAY) + 1) * DAY));
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
        self.charge(cost, wall);
        self.limit.settle(held, used, now);
    }

    /// Adds the cost of what outlasted its request.
    pub fn charge(&mut self, cost: NanoUsd, wall: WallTime) {
        self.turn_day(wall);
        self.spent += cost;
        self.spent_in_month += cost;
    }

    /// Takes out a cost that was added twice; what a new day has forgotten is not owed to it.
    pub fn give_back(&mut self, cost: NanoUsd) {
        let less = |spent: NanoUsd| NanoUsd((spent.0 - cost.0).max(0));
        self.spent = less(self.spent);
        self.spent_in_month = less(self.spent_in_month);
    }

    /// Adds what was spent before this shard began, in the day and month of `wall`.
    pub fn remember(&mut self, day: NanoUsd, month: NanoUsd, wall: WallTime) {
        self.turn_day(wall);
        self.spent += day;
        self.spent_in_month += month;
    }

    /// Goes on from what another has spent, whose limits were changed.
    pub fn go_on_from(&mut self, other: &Self) {
        self.day = other.day;
        self.month = other.month;
        self.spent = other.spent;
        self.spent_in_month = other.spent_in_month;
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
            let (month, _) = month_of(day);
            if month > self.month {
                self.month = month;
                self.spent_in_month = NanoUsd::ZERO;
            }
        }
    }
}

/// Which month a day is of, counted from the year 0, and the day that the next one begins on. Days since 1970-01-01 (Gregorian calendar).
fn month_of(day: i64) -> (i64, i64) {
    // Years that begin in March have their leap day at the end (`days_from_civil`, Howard Hinnant, "chrono-compatible low-level date algorithms").
    let days = day + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_based = (5 * of_year + 2) / 153;
    let first_of_next = (153 * (march_based + 1) + 2) / 5;
    let leap = (year + 1) % 4 == 0 && ((year + 1) % 100 != 0 || (year + 1) % 400 == 0);
    // February ends the year: the sum does not know how long it is.
    let next = if march_based == 11 {
        365 + i64::from(leap)
    } else {
        first_of_next
    };
    ((era * 400 + year) * 12 + march_based, day - of_year + next)
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
        instances: None,
    };

    fn a_day(usd: i64) -> Budget {
        Budget {
            day: Some(NanoUsd(usd)),
            month: None,
        }
    }

    #[test]
    fn months_begin_where_calendars_have_them() {
        // 1970-01-01, 1972-02-28 (a leap year), 2000-02-29, 2026-11-24, 2100-02-28 (none).
        for (day, next) in [
            (0, 31),
            (788, 790),
            (11_016, 11_017),
            (20_781, 20_788),
            (47_540, 47_541),
        ] {
            let (month, ends) = month_of(day);
            assert_eq!(ends, next, "day {day}");
            assert_eq!(month_of(next - 1).0, month, "day {day}");
            assert_eq!(month_of(next).0, month + 1, "day {day}");
        }
    }

    #[test]
    fn the_months_money_comes_back_on_the_first() {
        let budget = Budget {
            day: None,
            month: Some(NanoUsd(100)),
        };
        let mut tenant = Allowance::share(Numbers::default(), budget, &ALONE);
        let on = |day: i64| WallTime(DAY * day);
        tenant.charge(NanoUsd(60), on(20_781));
        assert!(tenant.admit(Ask::default(), Instant(0), on(20_782)).is_ok());
        tenant.charge(NanoUsd(40), on(20_783));
        let refused = tenant.admit(Ask::default(), Instant(0), on(20_784));
        let wait = Duration::from_nanos(4 * DAY.unsigned_abs());
        assert_eq!(refused, Err(Refusal::Budget { wait }));
        assert!(tenant.admit(Ask::default(), Instant(0), on(20_788)).is_ok());
    }

    #[test]
    fn the_days_money_comes_back_at_midnight() {
        let mut tenant = Allowance::share(Numbers::default(), a_day(100), &ALONE);
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
    fn what_was_spent_before_a_restart_is_spent() {
        let budget = Budget {
            day: Some(NanoUsd(100)),
            month: Some(NanoUsd(1_000)),
        };
        let (today, tomorrow) = (WallTime(DAY * 20_781), WallTime(DAY * 20_782));
        let mut tenant = Allowance::share(Numbers::default(), budget, &ALONE);
        tenant.remember(NanoUsd(60), NanoUsd(960), today);
        assert!(tenant.admit(Ask::default(), Instant(0), today).is_ok());
        tenant.charge(NanoUsd(40), today);
        let refused = tenant.admit(Ask::default(), Instant(0), today);
        assert!(matches!(refused, Err(Refusal::Budget { .. })));
        // The month's money is gone as well, tomorrow too; under another budget it would do.
        let refused = tenant.admit(Ask::default(), Instant(0), tomorrow);
        assert!(matches!(refused, Err(Refusal::Budget { .. })));
        let mut more = Allowance::share(Numbers::default(), a_day(150), &ALONE);
        more.go_on_from(&tenant);
        assert!(more.admit(Ask::default(), Instant(0), tomorrow).is_ok());
        more.charge(NanoUsd(150), tomorrow);
        assert!(more.admit(Ask::default(), Instant(0), tomorrow).is_err());
    }

    #[test]
    fn what_is_charged_later_counts_for_its_day() {
        let mut tenant = Allowance::share(Numbers::default(), a_day(100), &ALONE);
        tenant.charge(NanoUsd(100), WallTime(DAY * 5));
        let refused = tenant.admit(Ask::default(), Instant(0), WallTime(DAY * 5));
        assert!(matches!(refused, Err(Refusal::Budget { .. })));
        let next = tenant.admit(Ask::default(), Instant(0), WallTime(DAY * 6));
        assert!(next.is_ok(), "a new day");
    }
}
