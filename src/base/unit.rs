//! Numbers that must not be mixed up: tokens, money, bytes.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

/// A count of tokens. Sums saturate: a count beyond 2⁶⁴ is a provider's nonsense, not a reason to fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tokens(pub u64);

/// A size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteCount(pub u64);

/// Money in billionths of a US dollar. Negative only in differences. 2⁶³ of them are nine billion dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NanoUsd(pub i64);

/// What one token costs, in pico-dollars (10⁻¹²): a price list's "$ per million tokens" times 10⁶, so that
/// a cache read at 0.025 of $0.075 per million is still a whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenPrice(pub u64);

impl Tokens {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// What these tokens cost at `price`, in pico-dollars; exact, since 2⁶⁴ · 2⁶⁴ fits.
    #[must_use]
    pub fn times(self, price: TokenPrice) -> u128 {
        u128::from(self.0) * u128::from(price.0)
    }
}

impl NanoUsd {
    pub const ZERO: Self = Self(0);

    /// Rounds half up, once for a whole bill: rounding each line would add up to a wrong sum. Beyond the
    /// range of the type it is the largest value.
    #[must_use]
    pub fn of_pico(pico: u128) -> Self {
        Self(i64::try_from((pico + 500) / 1_000).unwrap_or(i64::MAX))
    }

    /// From a decimal number of dollars, rounded half away from zero; `None` if it is not finite or too large.
    #[must_use]
    pub fn of_usd(usd: f64) -> Option<Self> {
        let nano = (usd * 1e9).round();
        // 2⁶³ as a float is exact, and one more than the largest i64.
        (nano.is_finite() && nano.abs() < 9_223_372_036_854_775_808.0).then_some(Self(nano as i64))
    }

    #[must_use]
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e9
    }

    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl TokenPrice {
    /// From a price list's dollars per million tokens; `None` if negative, not finite or absurd (over
    /// a million dollars per million tokens).
    #[must_use]
    pub fn of_usd_per_million(usd: f64) -> Option<Self> {
        let pico = (usd * 1e6).round();
        (pico.is_finite() && (0.0..=1e12).contains(&pico)).then_some(Self(pico as u64))
    }

    #[must_use]
    pub fn usd_per_million(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// This price times a multiplier of a price list (`0.1` of a cache read), rounded to a pico-dollar.
    #[must_use]
    pub fn scaled(self, by: f64) -> Self {
        Self((self.0 as f64 * by).round().max(0.0) as u64)
    }
}

impl Add for Tokens {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Tokens {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Tokens {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::ZERO, Add::add)
    }
}

impl Add for NanoUsd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.saturating_add(other)
    }
}

impl AddAssign for NanoUsd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::ZERO, Add::add)
    }
}

impl std::fmt::Display for NanoUsd {
    /// Dollars with nine decimals: every nano-dollar shows.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nano = self.0.unsigned_abs();
        write!(
            f,
            "{sign}{}.{:09}",
            nano / 1_000_000_000,
            nano % 1_000_000_000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_list_becomes_exact_money() {
        let price = TokenPrice::of_usd_per_million(0.075).expect("a price");
        assert_eq!(price, TokenPrice(75_000));
        assert_eq!(price.scaled(0.025), TokenPrice(1_875));
        assert_eq!(
            NanoUsd::of_pico(Tokens(1_000_000).times(price)),
            NanoUsd(75_000_000)
        );
    }

    #[test]
    fn a_bill_is_rounded_once_and_half_up() {
        assert_eq!(NanoUsd::of_pico(1_499), NanoUsd(1));
        assert_eq!(NanoUsd::of_pico(1_500), NanoUsd(2));
        assert_eq!(NanoUsd::of_pico(u128::MAX / 2), NanoUsd(i64::MAX));
    }

    #[test]
    fn money_prints_every_nano() {
        assert_eq!(NanoUsd(-1).to_string(), "-0.000000001");
        assert_eq!(NanoUsd(12_000_000_034).to_string(), "12.000000034");
    }

    #[test]
    fn nonsense_is_no_price() {
        for usd in [-1.0, f64::NAN, f64::INFINITY, 1e30] {
            assert_eq!(TokenPrice::of_usd_per_million(usd), None, "{usd}");
        }
        assert_eq!(NanoUsd::of_usd(f64::NAN), None);
        assert_eq!(NanoUsd::of_usd(1e12), None);
    }
}
